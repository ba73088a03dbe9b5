"""Evaluation against a plain loop of one episode after the other, and the environments it uses (section 4)."""

import hashlib
import math
import os
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.registration import EnvSpec

from corruptbench import evaluate as module
from corruptbench import simulation
from corruptbench.environments import ENVIRONMENTS, environment, make
from corruptbench.errors import DataError, Diverged, PluginError, UsageError
from corruptbench.evaluate import CURVE_EPISODES, FINAL_EPISODES, Evaluation, evaluate
from corruptbench.types import Environment

HOPPER, CHEETAH, PENDULUM = environment("Hopper-v5"), environment("HalfCheetah-v5"), environment("Pendulum-v1")
DIMENSIONS = {"Pendulum-v1": (3, 1)}
DIMENSIONS |= {f"Hopper-{version}": (11, 3) for version in ("v4", "v5")}
DIMENSIONS |= {f"{name}-{version}": (17, 6) for name in ("Walker2d", "HalfCheetah") for version in ("v4", "v5")}


class RowByRow:
    """A deterministic policy computed one row at a time, so the size of a batch cannot move its last bits.

    Its actions are multiples of 1/64: rescaling and clipping them is exact in whatever order it is written.
    """

    def __init__(self, env, gain=3.0, seed=0):
        do, da = DIMENSIONS[env.id]
        self.weights = np.random.default_rng(seed).normal(size=(do, da)) * gain

    def one(self, observation):
        sums = [sum(float(o) * w for o, w in zip(observation, column, strict=True)) for column in self.weights.T]
        return np.array([round(math.sin(s) * 64) / 64 for s in sums])

    def __call__(self, observations):
        return np.stack([self.one(observation) for observation in observations])


def slow_seed(episode):
    return int(hashlib.sha256(f"cb2026/episode/{episode}".encode()).hexdigest()[:8], 16)


def slow_evaluation(act, env, episodes):
    """Gymnasium's own loop, one episode after the other; ``act`` maps an observation to an action in [-1, 1]."""
    returns, lengths = [], []
    for episode in range(episodes):
        made = gymnasium.make(env.id)
        box = made.action_space
        observation, _ = made.reset(seed=slow_seed(episode))
        total, length, over = 0.0, 0, False
        while not over:
            share = (np.clip(act(observation), -1, 1) + 1) / 2
            action = (box.low + share * (box.high - box.low)).astype(np.float32)
            observation, reward, terminated, truncated, _ = made.step(action)
            total, length, over = total + float(reward), length + 1, terminated or truncated
        made.close()
        returns.append(total)
        lengths.append(length)
    return returns, lengths


@pytest.fixture(params=["batch", "loop"])
def way(request, monkeypatch):
    """Both ways of simulating, one after the other."""
    if request.param == "loop":
        monkeypatch.setattr(simulation, "Batch", None)
    return request.param


@pytest.fixture
def stepped(monkeypatch, way):
    """Records the actions of every step that an evaluation takes, one list an episode."""
    actions = []

    def recording(environment, count, threads):
        world = simulation.simulation(environment, count, threads)
        actions.extend([] for _ in range(count))
        step = world.step

        def watched(running, chosen):
            for i, action in zip(running, chosen, strict=True):
                actions[i].append(action.copy())
            return step(running, chosen)

        world.step = watched
        return world

    monkeypatch.setattr(module, "simulation", recording)
    return actions


def constant(value, env):
    return lambda observations: np.full((len(observations), DIMENSIONS[env.id][1]), value)


# Against a loop


@pytest.mark.parametrize(
    ("name", "episodes"), [("Hopper-v5", 9), ("Walker2d-v5", 4), ("HalfCheetah-v5", 1), ("Pendulum-v1", 3)]
)
def test_evaluation_is_the_plain_loop(name, episodes, way):
    env = environment(name)
    policy = RowByRow(env)
    found = evaluate(policy, env, episodes)
    returns, lengths = slow_evaluation(policy.one, env, episodes)
    assert found.returns == returns
    assert found.lengths == lengths
    assert found.return_mean == pytest.approx(sum(returns) / episodes, rel=1e-12)
    assert len(set(returns)) == episodes


def test_hopper_episodes_end_at_different_times():
    """Or the comparison above would not notice an episode that goes on after its end."""
    assert len(set(evaluate(RowByRow(HOPPER), HOPPER, 9).lengths)) > 2


def test_episodes_have_their_own_seeds():
    found = evaluate(RowByRow(HOPPER), HOPPER, 6)
    assert found.seeds == [slow_seed(e) for e in range(6)]
    fewer = evaluate(RowByRow(HOPPER), HOPPER, 2)
    assert found.returns[:2] == fewer.returns
    assert evaluate(RowByRow(HOPPER), HOPPER, 6) == found  # nothing is carried from one evaluation to the next


def test_episodes_are_plain_numbers():
    found = evaluate(RowByRow(HOPPER), HOPPER, 2)
    for values, kind in ((found.returns, float), (found.lengths, int), (found.seeds, int)):
        assert [type(value) for value in values] == [kind, kind]
    assert Evaluation([1.0, 4.0], [1, 1], [0, 1]).return_mean == 2.5
    assert (FINAL_EPISODES, CURVE_EPISODES) == (100, 10)


def test_all_episodes_are_one_batch():
    """Also when some have ended: the batch size moves the last bits of a policy."""
    batches, policy = [], RowByRow(HOPPER)

    def watched(observations):
        batches.append(observations.copy())
        return policy(observations)

    found = evaluate(watched, HOPPER, 5)
    assert {batch.shape for batch in batches} == {(5, 11)}
    assert len(batches) == max(found.lengths)
    first = int(np.argmin(found.lengths))
    ended = [batch[first] for batch in batches[min(found.lengths) :]]
    assert len(ended) > 0
    assert all(np.array_equal(observation, ended[0]) for observation in ended)


# The batch and the loop


WALKERS = [f"{name}-{version}" for name in ("Hopper", "HalfCheetah", "Walker2d") for version in ("v4", "v5")]


def kick(rng, env, running):
    """Actions that differ from step to step, many of them at their bounds, so that walkers leap and fall."""
    return rng.choice([-1.0, -0.3, 0.2, 1.0], size=(len(running), DIMENSIONS[env.id][1])).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", [*WALKERS, "D4RL/Hopper", "D4RL/Walker2d", "D4RL/HalfCheetah"])
def test_the_batch_is_the_loop_to_the_last_bit(name, threads):
    env, count = environment(name), 6
    worlds = simulation.simulation(env, count, threads), simulation.GymnasiumLoop(env, count)
    assert isinstance(worlds[0], simulation.MujocoBatch)
    seeds = [slow_seed(e) for e in range(count)]
    assert np.array_equal(*(world.reset(seeds) for world in worlds))
    rng, running, lengths = np.random.default_rng(0), np.arange(count), np.zeros(count, int)
    while len(running):
        actions = kick(rng, env, running)
        fast, slow = (world.step(running, actions) for world in worlds)
        assert all(np.array_equal(a, b) for a, b in zip(fast, slow, strict=True))
        assert all(a.dtype == b.dtype for a, b in zip(fast, slow, strict=True))
        lengths[running] += 1
        running = running[~fast[2]]
    falls = "HalfCheetah" not in name
    assert (lengths < 1000).all() if falls else (lengths == 1000).all()
    if falls:
        assert len(set(lengths)) > 2
    for world in worlds:
        world.close()


@pytest.mark.parametrize("name", ["Hopper-v5", "Walker2d-v4"])
def test_a_walker_that_never_falls_meets_the_time_limit(name, monkeypatch):
    env = environment(name)
    world = simulation.simulation(env, 2)
    monkeypatch.setattr(world, "_healthy", lambda position, velocity: np.ones(len(position), bool))
    world.reset([0, 1])
    zero = np.zeros((2, DIMENSIONS[env.id][1]), np.float32)
    ends = [world.step(np.arange(2), zero)[2] for _ in range(1000)]
    world.close()
    assert not np.any(ends[:-1])
    assert ends[-1].all()


BOUNDS = {
    "Hopper": [(1, 0.69), (2, 0.21), (2, -0.21), (3, 100.1), (5, -100.1)],
    "Walker2d": [(1, 0.79), (1, 2.01), (2, 1.01), (2, -1.01)],
}


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize(("name", "index", "value"), [(name, *bound) for name in BOUNDS for bound in BOUNDS[name]])
def test_every_bound_of_a_walkers_health(name, version, index, value):
    """By hand: a coordinate is set beyond its bound, and the two ways agree that the walker has fallen."""
    env = environment(f"{name}-{version}")
    world, made = simulation.simulation(env, 1), make(env).unwrapped
    made.reset(seed=0)
    world.reset([0])
    position = world.position.copy()
    assert world._healthy(position, world.velocity).all()
    position[0, index] = value
    made.data.qpos[:] = position[0]
    assert not made.is_healthy
    assert not world._healthy(position, world.velocity).any()


def test_what_the_batch_does_not_serve_goes_through_the_loop():
    assert isinstance(simulation.simulation(PENDULUM, 1), simulation.GymnasiumLoop)
    assert isinstance(simulation.simulation(environment("Ant-v5"), 1), simulation.GymnasiumLoop)


def test_another_environment_under_a_known_name_goes_through_the_loop(monkeypatch):
    class Other(HopperEnv):
        pass

    monkeypatch.setitem(gymnasium.registry, "Hopper-v5", EnvSpec("Hopper-v5", entry_point=Other))
    assert isinstance(simulation.simulation(HOPPER, 1), simulation.GymnasiumLoop)


def hopper(wrappers=(), **settings):
    return EnvSpec(
        "CorruptBenchTest/Hopper-v0",
        "gymnasium.envs.mujoco.hopper_v5:HopperEnv",
        max_episode_steps=200,
        kwargs=settings,
        additional_wrappers=wrappers,
    )


def stronger():
    """An entry point that is no class, but makes one."""
    made = HopperEnv()
    made._forward_reward_weight = 3.0
    return made


HALF = np.full(3, 0.5, np.float32)
VARIANTS = {
    "reward": hopper(forward_reward_weight=2.0, healthy_reward=0.0),
    "end": hopper(terminate_when_unhealthy=False),
    "observation": hopper(exclude_current_positions_from_observation=False),
    "model": hopper(xml_file="walker2d.xml", healthy_angle_range=(-1.0, 1.0)),
    "action wrapper": hopper((gymnasium.wrappers.RescaleAction.wrapper_spec(min_action=-HALF, max_action=HALF),)),
    "observation wrapper": hopper((gymnasium.wrappers.TimeAwareObservation.wrapper_spec(),)),
    "entry point": replace(hopper(), entry_point=stronger),
}


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    """A registered environment that has a walker's class and is another one."""
    spec = VARIANTS[request.param]
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    return environment(spec.id)


def test_a_variant_of_a_walker_goes_through_the_loop(variant):
    """With its own rewards, ends, observations and actions; the batch has those of the plain one."""
    made = make(variant)
    gain = np.random.default_rng(0).normal(size=(made.observation_space.shape[0], made.action_space.shape[0]))
    made.close()

    def policy(observations):
        return np.stack([np.sin(observation @ gain) for observation in observations])

    assert isinstance(simulation.simulation(variant, 2), simulation.GymnasiumLoop)
    found = evaluate(policy, variant, 2)
    returns, lengths = slow_evaluation(lambda observation: policy(observation[None])[0], variant, 2)
    assert (found.returns, found.lengths) == (returns, lengths)


def test_a_walker_with_another_time_limit_is_a_batch(monkeypatch):
    spec = replace(hopper(), max_episode_steps=7)
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    assert isinstance(simulation.simulation(environment(spec.id), 1), simulation.MujocoBatch)
    assert evaluate(lambda s: np.zeros((len(s), 3)), environment(spec.id), 2).lengths == [7, 7]


# Actions


@pytest.mark.parametrize(("beyond", "bound"), [(5.0, 1.0), (-7.0, -1.0), (1.0000001, 1.0)])
def test_actions_are_clipped(beyond, bound):
    found = evaluate(constant(beyond, CHEETAH), CHEETAH, 1)
    assert found == evaluate(constant(bound, CHEETAH), CHEETAH, 1)


def test_halfcheetah_charges_for_the_raw_action():
    """Why actions are clipped: unclipped ones move nothing further and cost more."""
    rewards = []
    for size in (1.0, 5.0):
        made = gymnasium.make("HalfCheetah-v5")
        made.reset(seed=0)
        rewards.append(float(made.step(np.full(6, size, np.float32))[1]))
        made.close()
    assert rewards[0] - rewards[1] == pytest.approx(0.1 * 6 * (25 - 1), rel=1e-4)


def test_actions_are_rescaled_to_the_box(stepped):
    values = np.linspace(-1.5, 1.5, 13)
    turn = iter(np.resize(values, 10_000))
    evaluate(lambda observations: np.full((1, 1), next(turn)), PENDULUM, 1)
    found = np.array(stepped[0])
    assert found.dtype == np.float32
    assert found.shape == (200, 1)
    np.testing.assert_allclose(found[:, 0], np.clip(2 * np.resize(values, 200), -2, 2), atol=1e-6)


def test_actions_may_be_float32():
    policy = RowByRow(HOPPER)
    assert evaluate(lambda s: policy(s).astype(np.float32), HOPPER, 3) == evaluate(policy, HOPPER, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_never_reaches_the_environment(stepped, bad):
    def policy(observations):
        actions = np.zeros((3, 3), np.float32)
        if len(stepped[0]) == 4:
            actions[1, 2] = bad
        return actions

    with pytest.raises(Diverged) as error:
        evaluate(policy, HOPPER, 3)
    assert str(error.value) == "the policy returned an action that is not finite, after 4 steps of evaluation"
    assert [len(actions) for actions in stepped] == [4, 4, 4]


def test_not_finite_from_the_start(stepped):
    with pytest.raises(Diverged, match=r"^the policy returned an action that is not finite, after 0 steps of"):
        evaluate(constant(np.nan, HOPPER), HOPPER, 2)
    assert stepped == [[], []]


def test_actions_for_episodes_that_ended_do_not_matter(stepped):
    policy = RowByRow(HOPPER)
    lengths = evaluate(policy, HOPPER, 6).lengths
    steps = iter(range(1000))

    def nan_where_ended(observations):
        step = next(steps)
        actions = policy(observations)
        actions[np.array(lengths) <= step] = np.nan
        return actions

    assert min(lengths) < max(lengths)
    assert evaluate(nan_where_ended, HOPPER, 6).lengths == lengths


@pytest.mark.parametrize("shape", [(4, 2), (3, 3), (4,), (4, 3, 1), (3,), (1, 3)])
def test_actions_of_the_wrong_shape(stepped, shape):
    with pytest.raises(PluginError) as error:
        evaluate(lambda observations: np.zeros(shape), HOPPER, 4)
    assert str(error.value) == f"the policy returned actions {shape}, needed is (4, 3)"
    assert stepped == [[]] * 4


# Scores


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("Hopper-v5", -20.272305, 3234.3),
        ("HalfCheetah-v5", -280.178953, 12135.0),
        ("Walker2d-v5", 1.629008, 4592.3),
    ],
)
def test_normalized_score(name, low, high):
    env = environment(name)
    assert (env.reference_min, env.reference_max, env.references_supplied) == (low, high, False)
    assert env.normalized(low) == 0
    assert env.normalized(high) == pytest.approx(100)
    assert env.normalized(1000.0) == pytest.approx(100 * (1000 - low) / (high - low), rel=1e-15)
    assert env.normalized(low - (high - low)) == pytest.approx(-100)  # scores are not clipped


def test_no_references_no_normalized_score():
    assert Environment("Pendulum-v1", "") == PENDULUM
    assert PENDULUM.normalized(-150.0) is None
    assert environment("Pendulum-v1", -1500.0, 0.0).normalized(-150.0) == 90


# Environments


def test_the_table_of_environments():
    """The model file of each row is the one that is simulated; robotics and what cannot be scored aside."""
    for name, env in ENVIRONMENTS.items():
        if env.model and not name.startswith("Adroit"):
            made = make(env)
            assert Path(made.unwrapped.fullpath).name == env.model
            assert env.contact_margin == (0.5 if name.startswith("D4RL/") else 1.0)
            made.close()


def test_references_of_the_users_own():
    env = environment("Hopper-v5", 0.0, 3000.0)
    assert env == Environment("Hopper-v5", "hopper.xml", 1.0, 0.0, 3000.0, True)
    assert environment("Hopper-v5") == ENVIRONMENTS["Hopper-v5"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("Hoper-v5",), "--env 'Hoper-v5' is no Gymnasium environment (did you mean 'Hopper-v5'?)"),
        (("hopper-v5",), "--env 'hopper-v5' is no Gymnasium environment (did you mean 'Hopper-v5'?)"),
        (("",), "--env '' is no Gymnasium environment"),
        (("0123456789",), "--env '0123456789' is no Gymnasium environment"),
        (("Hopper-v5", 0.0), "--ref-min and --ref-max belong together: give both or none"),
        (("Hopper-v5", None, 1.0), "--ref-min and --ref-max belong together: give both or none"),
        (("Hopper-v5", 2.0, 1.0), "--ref-min 2.0 and --ref-max 1.0: the first must be the lower one"),
        (("Hopper-v5", 1.0, 1.0), "--ref-min 1.0 and --ref-max 1.0: the first must be the lower one"),
        (("Pendulum-v1", math.nan, 1.0), "--ref-min nan and --ref-max 1.0: the first must be the lower one"),
        (("Pendulum-v1", 0.0, math.inf), "--ref-min 0.0 and --ref-max inf: the first must be the lower one"),
        (("Pendulum-v1", -math.inf, 0.0), "--ref-min -inf and --ref-max 0.0: the first must be the lower one"),
    ],
)
def test_environments_that_are_none(arguments, text):
    with pytest.raises(UsageError) as error:
        environment(*arguments)
    assert str(error.value) == text


def test_a_name_imports_nothing(tmp_path, monkeypatch):
    """Gymnasium imports ``module`` of ``module:Id``; a name that came with someone's data must not."""
    (tmp_path / "corruptbench_test_import.py").write_text("raise SystemExit('this was run')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"^--env 'corruptbench_test_import:Hopper-v5' is no Gymnasium environment"):
        environment("corruptbench_test_import:Hopper-v5")


def test_actions_must_be_a_bounded_box(monkeypatch):
    with pytest.raises(DataError) as error:
        make(environment("CartPole-v1"))
    assert str(error.value) == "CartPole-v1 has Discrete(2) for actions, and only a bounded Box can be used"

    class Unbounded(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (3,))
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))

    gymnasium.register("CorruptBenchTest/Unbounded-v0", entry_point=Unbounded)
    try:
        with pytest.raises(DataError) as error:
            make(environment("CorruptBenchTest/Unbounded-v0"))
    finally:
        del gymnasium.registry["CorruptBenchTest/Unbounded-v0"]
    expected = "CorruptBenchTest/Unbounded-v0 has Box(-inf, inf, (1,), float32) for actions, and only a bounded Box"
    assert str(error.value).startswith(expected)


def test_an_environment_whose_package_is_missing():
    """Gymnasium registers several, as phys2d/CartPole-v1, which needs jax."""
    gymnasium.register("CorruptBenchTest/Missing-v0", entry_point="corruptbench_missing_module:Env")
    try:
        with pytest.raises(DataError) as error:
            make(environment("CorruptBenchTest/Missing-v0"))
    finally:
        del gymnasium.registry["CorruptBenchTest/Missing-v0"]
    assert str(error.value) == (
        "CorruptBenchTest/Missing-v0 cannot be made: No module named 'corruptbench_missing_module'"
    )


def margins(env):
    made = make(env)
    found = made.unwrapped.model.geom_margin.copy()
    made.close()
    return found


def test_contact_margin_is_a_factor():
    old = Environment("Hopper-v5", "hopper.xml", 0.5)
    as_it_is = margins(HOPPER)
    assert (as_it_is > 0).all()
    assert np.array_equal(margins(old), as_it_is / 2)
    assert np.array_equal(margins(old), as_it_is / 2)  # of the model file, not of the last one made
    assert np.array_equal(margins(HOPPER), as_it_is)


def test_contact_margin_moves_hopper():
    made = [make(HOPPER), make(Environment("Hopper-v5", "hopper.xml", 0.5))]
    states = []
    for env in made:
        observation, _ = env.reset(seed=0)
        visited = [observation]
        for _ in range(30):
            visited.append(env.step(np.full(3, 0.25, np.float32))[0])
        states.append(np.array(visited))
        env.close()
    assert np.array_equal(states[0][0], states[1][0])
    assert np.abs(states[0] - states[1]).max() > 1e-6
    policy = RowByRow(HOPPER)
    half = evaluate(policy, Environment("Hopper-v5", "hopper.xml", 0.5), 3)
    assert half.returns != evaluate(policy, HOPPER, 3).returns


def test_mujoco_writes_no_log_where_the_user_stands(tmp_path, monkeypatch, way):
    """A state that MuJoCo warns of; without a handler of ours it would write MUJOCO_LOG.TXT."""

    def unstable(env):
        made = make(env)
        reset = made.reset

        def reset_far_out(**keywords):
            result = reset(**keywords)
            bare = made.unwrapped
            bare.set_state(bare.data.qpos, np.full_like(bare.data.qvel, 1e12))
            return result

        made.reset = reset_far_out
        return made

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(simulation, "make_flat" if way == "loop" else "make", unstable)
    found = evaluate(constant(1.0, HOPPER), HOPPER, 2)
    assert len(found.returns) == 2
    assert os.listdir(tmp_path) == []
