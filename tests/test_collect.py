"""Collecting a dataset: what is recorded and kept, going on after a kill, and SAC against torch's autograd and Adam."""

import csv
import dataclasses
import hashlib
import itertools
import json
import logging
import math
import shutil
import sys

import gymnasium
import h5py
import numpy as np
import pytest
import torch
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from corruptbench import checkpoints as checkpoints_module
from corruptbench.checkpoints import Checkpoints
from corruptbench.cli import collect as command
from corruptbench.cli.parser import Parser, Verb
from corruptbench.collect import replay as module
from corruptbench.collect.card import write_dataset
from corruptbench.collect.config import CollectConfig, Evaluation
from corruptbench.collect.explorers import learning_inputs
from corruptbench.collect.replay import collect, identity_of
from corruptbench.collect.sac import SAC, AdamEach, SACConfig, sample
from corruptbench.collect.steps import Replay, episodes_kept, write_hdf5
from corruptbench.data import read_hdf5
from corruptbench.environments import environment, make
from corruptbench.errors import DataError, Diverged, UsageError
from corruptbench.rng import seed_from, stream
from corruptbench.store import check_manifest, parse_json, sha256_file
from corruptbench.types import Batch
from corruptbench.versions import processor, versions

FILES = ["README.md", "card.json", "data.hdf5", "episodes.csv", "evaluations.csv", "returns.png"]
FIELDS = ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts")
TINY = SACConfig(hidden=(32, 32), batch_size=32, random_steps=300)
SHORT = CollectConfig(max_steps=700, transitions=400, eval_every=200, eval_episodes=2, sac=TINY)


def config_of(config=SHORT, **changes):
    return CollectConfig(**{**vars(config), **changes})


def recorded(replay):
    """The steps of a replay, without the room left over."""
    return {name: getattr(replay, name)[: replay.size] for name in FIELDS}


def same(first, second):
    """Whether two replays hold the same steps, to the bit."""
    a, b = recorded(first), recorded(second)
    return all(np.array_equal(a[name], b[name]) for name in FIELDS)


def digest(run):
    """SHA-256 over the recorded fields and the evaluations of a collection."""
    found = hashlib.sha256()
    for values in recorded(run[0]).values():
        found.update(values.tobytes())
    found.update(np.array(run[1], np.float64).tobytes())
    return found.hexdigest()


def ends_of(replay):
    return np.flatnonzero(replay.terminals[: replay.size] | replay.timeouts[: replay.size])


def written(folder, config, run, name="short"):
    folder.mkdir()
    write_dataset(folder, name, config, *run, "corruptbench data collect --env X --out DIR")
    return folder


@pytest.fixture(scope="module")
def short():
    torch.manual_seed(1)  # of nothing that is used
    return collect(SHORT, engine="eager")


@pytest.fixture
def registered():
    """Registers environments for one test."""
    names = []

    def register(entry_point, **settings):
        names.append(f"CorruptBenchTest/{entry_point.__name__}-v0")
        gymnasium.register(names[-1], entry_point=entry_point, **settings)
        return names[-1]

    yield register
    for name in names:
        del gymnasium.registry[name]


# Collecting

PINNED = "a79a62dd1986bd6fc6023174410124b669bcbac7866edb02533d470ee7604261"
"""Of ``SHORT``, by the collector that made ``hopper-replay``. ``python tests/test_collect.py`` makes it again."""
PINNED_ON = ("AVX2 AuthenticAMD", {"torch": "2.13.0", "numpy": "2.4.6", "gymnasium": "1.4.0", "mujoco": "4.0.0"})


def test_the_collector_is_the_one_that_made_the_shipped_data(short):
    stack = {package: number for package, number in versions().items() if package != "corruptbench"}
    if (processor().rpartition(" ")[0], stack) != PINNED_ON:
        pytest.skip("bytes are promised on the same stack and kind of CPU only")
    assert digest(short) == PINNED


def test_collecting_twice_gives_the_same_bytes(tmp_path, short):
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = collect(SHORT, engine="eager")
    assert torch.equal(torch.get_rng_state(), state)
    assert same(again[0], short[0])
    assert again[1] == short[1]
    first, second = written(tmp_path / "a", SHORT, short), written(tmp_path / "b", SHORT, again)
    assert sorted(path.name for path in first.iterdir()) == FILES
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_another_seed_gives_other_bytes(tmp_path, short):
    config = config_of(seed=1, max_steps=400)
    other = collect(config, engine="eager")
    assert not np.isin(other[0].observations[:400], short[0].observations).all(1).any()
    assert not np.isin(other[0].actions[:300], short[0].actions).all(1).any()
    first = written(tmp_path / "a", SHORT, short) / "data.hdf5"
    assert first.read_bytes() != (written(tmp_path / "b", config, other) / "data.hdf5").read_bytes()


@pytest.mark.parametrize(("name", "seed"), [("Hopper-v5", 0), ("Pendulum-v1", 3)])
def test_what_is_recorded_is_what_the_environment_did(short, name, seed):
    """The recorded actions taken once more, from the reset of the seed: the same steps come of it."""
    replay = short[0]
    if name != "Hopper-v5":
        config = config_of(env=name, seed=seed, max_steps=450, target_return=0.0)
        replay, _ = collect(config, engine="eager")
    env = make(environment(name))
    observation, _ = env.reset(seed=seed_from(f"collect/{seed}/env"))
    for i in range(replay.size):
        assert np.array_equal(replay.observations[i], np.float32(observation))
        observation, reward, terminal, timeout, _ = env.step(replay.actions[i])
        assert np.array_equal(replay.next_observations[i], np.float32(observation))
        assert replay.rewards[i] == np.float32(reward)
        assert replay.terminals[i] == terminal
        assert replay.timeouts[i] == (not terminal and (timeout or i == replay.size - 1))
        if terminal or timeout:
            observation, _ = env.reset()
    env.close()


def test_the_learner_learns_and_explores(short):
    replay, evaluations = short
    assert [e.step for e in evaluations] == [200, 400, 600]
    assert evaluations[0].mean_return != evaluations[2].mean_return
    random, learned = replay.actions[:300], replay.actions[300:700]
    assert np.abs(random).max() <= 1
    assert np.abs(learned).max() <= 1
    assert random.min() < -0.97
    assert random.max() > 0.97
    assert abs(float(random.mean())) < 0.06  # 0 +- 0.02
    assert float(random.std()) == pytest.approx(1 / math.sqrt(3), abs=0.04)  # of U(-1, 1)
    assert (np.diff(replay.actions[:700], axis=0) != 0).all(1).all()


def test_updates_move_the_policy(monkeypatch):
    """Before the first update the evaluated policy stands still, afterwards it does not."""
    config = config_of(max_steps=350, eval_every=50)
    _, evaluations = collect(config, engine="eager")
    before, after = evaluations[:6], evaluations[6:]
    assert len({e.mean_return for e in before}) == 1  # the same policy from the same states
    assert {e.mean_return for e in after}.isdisjoint({before[0].mean_return})


def test_actions_are_in_the_units_of_the_environment():
    config = config_of(env="Pendulum-v1", max_steps=250, eval_every=1000)
    replay, evaluations = collect(config, engine="eager")
    assert evaluations == []
    assert 1.9 < np.abs(replay.actions).max() <= 2  # of the box [-2, 2], not [-1, 1]
    assert ends_of(replay).tolist() == [199, 249]
    assert not replay.terminals.any()


def test_only_vectors_can_be_collected():
    with pytest.raises(DataError) as error:
        collect(config_of(env="FrozenLake-v1"), engine="eager")
    assert "FrozenLake-v1 has Discrete(4) for actions" in str(error.value)


INF = np.inf
BOX = gymnasium.spaces.Box(-1, 1, (2,))


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (
            gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8),
            BOX,
            "observes Box(0, 255, (4, 4, 3), uint8), and only one-dimensional Boxes can be collected",
        ),
        (
            gymnasium.spaces.Dict({"a": BOX}),
            BOX,
            "observes Dict('a': Box(-1.0, 1.0, (2,), float32)), and only one-dimensional Boxes can be collected",
        ),
        (
            gymnasium.spaces.MultiDiscrete([2, 3]),
            BOX,
            "observes MultiDiscrete([2 3]), and only one-dimensional Boxes can be collected",
        ),
        (
            BOX,
            gymnasium.spaces.Box(-1, 1, (2, 3)),
            "has Box(-1.0, 1.0, (2, 3), float32) for actions, "
            "and only one-dimensional Boxes of floats can be collected",
        ),
        (
            BOX,
            gymnasium.spaces.Box(0, 3, (2,), np.int64),
            "has Box(0, 3, (2,), int64) for actions, and only one-dimensional Boxes of floats can be collected",
        ),
        (
            BOX,
            gymnasium.spaces.Box(0, np.array([0, 1], np.float32)),
            "has Box(0.0, [0. 1.], (2,), float32) for actions, and one of them has a single value only",
        ),
        (
            BOX,
            gymnasium.spaces.Box(-INF, INF, (2,)),
            "has Box(-inf, inf, (2,), float32) for actions, and only a bounded Box can be used",
        ),
    ],
    ids=["picture", "dict", "multi-discrete", "matrix", "int actions", "no choice", "unbounded"],
)
@pytest.mark.parametrize("policy", ["sac", "random"])
def test_what_cannot_be_collected(registered, observations, actions, message, policy):
    class Odd(gymnasium.Env):
        observation_space, action_space = observations, actions

    name = registered(Odd)
    with pytest.raises(DataError) as error:
        collect(config_of(env=name, policy=policy), engine="eager")
    assert str(error.value) == f"{name} {message}"


class Counting(gymnasium.Env):
    """A walk that never ends; how it begins is ``np_random``'s, and where the step leads is the action's."""

    observation_space = gymnasium.spaces.Box(-INF, INF, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 3, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.normal(size=2)
        return self.place, {}

    def step(self, action):
        assert action in self.action_space
        self.place = self.place + action
        return self.place, float(action[0]), False, False, {}


class Whole(Counting):
    observation_space = gymnasium.spaces.Box(0, 255, (2,), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.integers(0, 255, 2).astype(np.uint8), {}

    def step(self, action):
        _, *rest = super().step(action)
        return np.uint8(self.place % 256), *rest


@pytest.mark.parametrize("kind", [Counting, Whole])
def test_boxes_of_other_types(registered, kind):
    config = config_of(env=registered(kind, max_episode_steps=50), max_steps=400, target_return=None)
    replay, evaluations = collect(config, engine="eager")
    assert ends_of(replay).tolist() == list(range(49, 400, 50))
    assert [e.mean_length for e in evaluations] == [50, 50]
    assert np.array_equal(replay.next_observations[:49], replay.observations[1:50])
    if kind is Whole:
        assert np.array_equal(replay.observations, replay.observations.astype(np.uint8))
    assert (replay.actions.min() < -0.9, replay.actions.max() > 2.9) == (True, True)


def test_episodes_that_never_end(registered, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    name = registered(Counting)
    config = config_of(env=name, max_steps=410, target_return=None, eval_steps=17)
    replay, evaluations = collect(config, engine="eager", checkpoints=Checkpoints(tmp_path / "x.partial", 100))
    assert ends_of(replay).tolist() == [409]
    assert replay.timeouts[409]
    assert [e.mean_length for e in evaluations] == [17, 17]
    assert caplog.messages[0] == (
        f"{name} has no time limit: an episode that does not end is cut off at step 410, in an evaluation after 17 "
        "steps, and there are checkpoints only where an episode ends"
    )
    assert not list(tmp_path.iterdir())


def test_a_return_that_is_no_number(registered):
    class Lost(Counting):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, math.nan, *rest

    config = config_of(env=registered(Lost, max_episode_steps=10))
    with pytest.raises(Diverged) as error:
        collect(config, engine="eager")
    assert str(error.value) == "step 200: the mean return of the policy is nan"


def test_unknown_policy():
    with pytest.raises(UsageError) as error:
        collect(config_of(policy="randm"))
    assert str(error.value) == "unknown policy 'randm': known are random, sac (did you mean 'random'?)"


def test_random_actions_are_uniform_in_the_box():
    config = config_of(env="Pendulum-v1", policy="random", max_steps=2000)
    replay, evaluations = collect(config, engine="eager")
    assert evaluations == []
    assert ends_of(replay).tolist() == list(range(199, 2000, 200))
    assert np.abs(replay.actions).max() <= 2
    counts = np.histogram(replay.actions, 4, (-2, 2))[0]
    assert (np.abs(counts - 500) < 100).all()  # 500 +- 19
    sac, _ = collect(dataclasses.replace(config, policy="sac", max_steps=200), engine="eager")
    assert not np.isin(sac.actions, replay.actions).any()  # a stream of its own


# When it stops


@pytest.fixture
def scripted(monkeypatch):
    """Evaluations that return what the test says, and no updates."""

    def collect_with(returns, **changes):
        values = iter(returns)
        monkeypatch.setattr(module, "evaluate", lambda agent, config, step, *rest: Evaluation(step, next(values), 1.0))
        idle = SACConfig(hidden=(8,), random_steps=10**6)
        return collect(
            CollectConfig(**{"max_steps": 3000, "transitions": 1, "eval_every": 50, "sac": idle, **changes}),
            engine="eager",
        )

    return collect_with


@pytest.mark.parametrize(
    ("returns", "changes", "found_at"),
    [
        ([100.0] * 60, {"target_return": 100.0}, 150),  # three evaluations are needed, and 100 is enough
        ([100.0] * 60, {"target_return": 100.0, "eval_window": 1}, 50),
        ([1e9, 0.0, 0.0, 200.0, 99.0, 1.0], {"target_return": 100.0}, 150),  # a window full, whatever filled it
        ([0.0, 0.0, 150.0, 149.0, 0.0, 152.0], {"target_return": 100.0}, 300),  # (149 + 0 + 152) / 3
        ([0.0, 90.0, 109.0, 91.0], {"target_return": 100.0, "eval_window": 2}, 200),
        ([1e9] * 60, {"target_return": 100.0, "transitions": 420}, 450),  # not before there is enough
        ([1e9, 1e9, 1e9] + [0.0] * 57, {"target_return": 1e9 + 1, "max_steps": 444}, None),
    ],
)
def test_collecting_ends_with_the_episode_in_which_the_policy_is_medium(scripted, returns, changes, found_at):
    replay, evaluations = scripted(returns, **changes)
    ends = ends_of(replay)
    assert ends[-1] == replay.size - 1
    if found_at is None:
        assert replay.size == changes["max_steps"]
        assert len(evaluations) == 8
        return
    assert evaluations[-1].step == found_at
    assert replay.size >= found_at
    assert not ((ends >= found_at - 1) & (ends < replay.size - 1)).any()  # the first end from there on
    assert replay.terminals[replay.size - 1]  # Hopper fell, nobody cut it off


def test_the_last_episode_is_cut_off_at_the_limit(scripted):
    replay, _ = scripted([0.0] * 60, max_steps=333)
    assert replay.size == 333
    assert replay.terminals[332] != replay.timeouts[332]
    whole = replay.timeouts[:332]
    assert not whole.any()


def test_an_episode_that_ends_at_the_limit_is_not_cut_off(scripted):
    longer, _ = scripted([0.0] * 60, max_steps=333)
    end = int(np.flatnonzero(longer.terminals)[3])
    replay, _ = scripted([0.0] * 60, max_steps=end + 1)
    assert replay.size == end + 1
    assert replay.terminals[end]
    assert not replay.timeouts.any()  # one or the other


def test_a_medium_policy_stays_medium(scripted):
    """Pendulum's episodes have 200 steps: found at 150, later evaluations below the target don't undo it."""
    replay, evaluations = scripted([1e9] * 3 + [-1e9] * 57, env="Pendulum-v1", target_return=0.0)
    assert [e.step for e in evaluations] == [50, 100, 150, 200]
    assert replay.size == 200
    assert ends_of(replay).tolist() == [199]


# What is kept


def random_replay(lengths, seed=0, observation_dim=11, action_dim=3):
    """A replay of episodes of these lengths whose steps follow each other, ending in every way."""
    rng = np.random.default_rng(seed)
    replay = Replay(observation_dim, action_dim, sum(lengths) + 5)  # room is left over, as in a short collection
    for length in lengths:
        states = rng.normal(size=(length + 1, observation_dim))
        terminal = bool(rng.random() < 0.7)
        for i in range(length):
            last = i == length - 1
            action = rng.uniform(-1, 1, action_dim)
            reward = float(rng.normal())
            replay.add(states[i], action, reward, states[i + 1], last and terminal, last and not terminal)
    return replay


def random_lengths(rng):
    kind = rng.integers(4)
    count = int(rng.integers(1, 60))
    if kind == 0:
        return [int(n) for n in rng.integers(1, 30, count)]
    if kind == 1:
        return [1 + int(1000 * rng.random() ** 8) for _ in range(count)]  # most are short, a few long
    if kind == 2:
        return [int(rng.integers(1, 9))] * count
    return sorted(int(n) for n in rng.integers(1, 300, count))  # a learner that gets better


def test_episodes_kept_are_whole_enough_and_evenly_drawn():
    rng = np.random.default_rng(0)
    partly = 0
    for _ in range(400):
        lengths = random_lengths(rng)
        bounds = np.cumsum([0, *lengths])
        size, wanted = sum(lengths), int(rng.integers(1, sum(lengths) + 3))
        replay = Replay(1, 1, size + 5)
        replay.size = size
        replay.terminals[bounds[1::2] - 1] = True
        replay.timeouts[bounds[2::2] - 1] = True
        kept = episodes_kept(replay, wanted)
        assert (kept.shape, kept.dtype) == ((size,), bool)
        whole = [kept[a:b] for a, b in itertools.pairwise(bounds)]
        assert all(episode.all() or not episode.any() for episode in whole)
        target, longest = min(wanted, size), max(lengths)
        assert target <= kept.sum() < target + longest
        share = target / size
        for seen in bounds[1:].tolist():  # as evenly at every point of the course
            assert share * seen - 1e-9 <= kept[:seen].sum() < share * seen + longest
        partly += 0 < kept.sum() < size
    assert partly > 300


def test_everything_is_kept_where_no_more_was_collected():
    replay = random_replay([5, 1, 7])
    for wanted in (13, 14, 10**6):
        assert episodes_kept(replay, wanted).tolist() == [True] * 13


def test_episodes_kept_by_hand():
    replay = random_replay([4] * 6)
    first_of_each = episodes_kept(replay, 12)[::4]
    assert first_of_each.tolist() == [True, False, True, False, True, False]
    assert episodes_kept(replay, 1)[::4].tolist() == [True] + [False] * 5


# Writing


@pytest.mark.parametrize("wanted", [1, 60, 200, 10**6])
@pytest.mark.parametrize("name", ["Hopper-v5", "Pendulum-v1"])
def test_round_trip(tmp_path, name, wanted):
    do, da, half = {"Hopper-v5": (11, 3, 1), "Pendulum-v1": (3, 1, 2)}[name]
    replay = random_replay([3, 1, 40, 17, 1, 90, 2, 60], 5, do, da)
    kept = episodes_kept(replay, wanted)
    write_hdf5(tmp_path / "x.hdf5", replay, kept)
    dataset = read_hdf5(tmp_path / "x.hdf5", "x", environment(name))
    steps = {field: values[kept] for field, values in recorded(replay).items()}
    assert len(dataset) == kept.sum()
    assert np.array_equal(dataset.observations, steps["observations"])
    assert np.array_equal(dataset.next_observations, steps["next_observations"])
    assert np.array_equal(dataset.actions, steps["actions"] / np.float32(half))
    assert np.array_equal(dataset.rewards, steps["rewards"])
    assert np.array_equal(dataset.terminations, steps["terminals"])
    over = (steps["terminals"] | steps["timeouts"]).astype(int)
    assert np.array_equal(dataset.episodes, np.cumsum(over) - over)
    with h5py.File(tmp_path / "x.hdf5") as file:
        assert sorted(file) == ["actions", "final_observations", "observations", "rewards", "terminals", "timeouts"]
        types = {field: file[field].dtype for field in file}
        assert {types.pop("terminals"), types.pop("timeouts")} == {np.dtype(bool)}
        assert set(types.values()) == {np.dtype(np.float32)}


def test_round_trip_of_a_collection(tmp_path, short):
    replay = short[0]
    dataset = read_hdf5(written(tmp_path / "x", SHORT, short) / "data.hdf5", "x", environment("Hopper-v5"))
    kept = episodes_kept(replay, SHORT.transitions)
    assert 400 <= kept.sum() < 700
    for field in ("observations", "actions", "rewards", "next_observations"):
        assert np.array_equal(getattr(dataset, field), getattr(replay, field)[: replay.size][kept]), field


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_card_and_tables(tmp_path, short):
    replay, evaluations = short
    folder = written(tmp_path / "x", SHORT, short, "my-data")
    card = parse_json((folder / "card.json").read_text())
    kept = episodes_kept(replay, SHORT.transitions)
    dataset = read_hdf5(folder / "data.hdf5", "my-data", environment("Hopper-v5"))
    bounds = [0, *(ends_of(replay) + 1).tolist()]
    episodes = [(a + 1, b - a, sum(replay.rewards[a:b].tolist()), int(kept[a])) for a, b in itertools.pairwise(bounds)]
    returns = [total for _, _, total, is_kept in episodes if is_kept]
    mean = sum(returns) / len(returns)
    assert card == {
        "name": "my-data",
        "environment": "Hopper-v5",
        "command": "corruptbench data collect --env X --out DIR",
        "seed": 0,
        "versions": versions(),
        "sha256": sha256_file(folder / "data.hdf5"),
        "content_sha256": dataset.sha256,
        "transitions": int(kept.sum()),
        "episodes": len(returns),
        "return_mean": round(mean, 2),
        "return_min": round(min(returns), 2),
        "return_max": round(max(returns), 2),
        "normalized_mean": round(100 * (mean + 20.272305) / (3234.3 + 20.272305), 2),
        "steps_collected": 700,
        "final_evaluations": [round(e.mean_return, 2) for e in evaluations],
        "policy": "sac",
        "ended": "max-steps",
    }
    rows = read_table(folder / "episodes.csv")
    assert [int(row["first_step"]) for row in rows] == [e[0] for e in episodes]
    assert [int(row["steps"]) for row in rows] == [e[1] for e in episodes]
    assert [int(row["kept"]) for row in rows] == [e[3] for e in episodes]
    assert {row["kept"] for row in rows} == {"0", "1"}
    assert [float(row["return"]) for row in rows] == pytest.approx([e[2] for e in episodes], abs=0.0006)
    rows = read_table(folder / "evaluations.csv")
    assert list(rows[0]) == ["step", "mean_return", "mean_length"]
    assert [int(row["step"]) for row in rows] == [200, 400, 600]
    assert [float(row["mean_return"]) for row in rows] == pytest.approx([e.mean_return for e in evaluations], abs=6e-4)
    assert [float(row["mean_length"]) for row in rows] == pytest.approx([e.mean_length for e in evaluations], abs=0.06)


def test_readme(tmp_path, short):
    folder = written(tmp_path / "x", SHORT, short, "my-data")
    card, text = parse_json((folder / "card.json").read_text()), (folder / "README.md").read_text()
    assert text.startswith("# my-data\n")
    for part in (
        f"{card['transitions']:,} transitions in {card['episodes']:,} episodes of Hopper-v5",
        "| command | `corruptbench data collect --env X --out DIR` |",
        f"torch {card['versions']['torch']}",
        "| steps collected | 700 |",
        f"mean {card['return_mean']} (normalized {card['normalized_mean']}), from {card['return_min']} to",
        f"| SHA-256 of `data.hdf5` | `{card['sha256']}` |",
        f"| SHA-256 of the content | `{card['content_sha256']}` |",
        "![returns over time](returns.png)",
        "300 uniform actions first",
        "batch 32 a step",
        "1281.5 (normalized score 40)",
        "evaluations of 2 episodes, one every 200 steps",
        "until 400 transitions are reached",
    ):
        assert part in " ".join(text.split()), part
    assert "{" not in text
    assert (folder / "returns.png").read_bytes().startswith(b"\x89PNG")


def test_readme_tells_of_the_networks_that_were_trained(tmp_path, short):
    text = (written(tmp_path / "x", SHORT, short) / "README.md").read_text()
    assert "256 units" not in text  # the learner of this one has 32


def test_without_matplotlib(tmp_path, short, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # as if the extra were not installed
    folder = written(tmp_path / "x", SHORT, short)
    assert sorted(path.name for path in folder.iterdir()) == [name for name in FILES if name != "returns.png"]
    assert "returns.png" not in (folder / "README.md").read_text()


def test_without_references_and_evaluations(tmp_path):
    config = config_of(env="Pendulum-v1", max_steps=220, eval_every=1000, target_return=-200.0)
    folder = written(tmp_path / "x", config, collect(config, engine="eager"))
    card, text = parse_json((folder / "card.json").read_text()), (folder / "README.md").read_text()
    assert card["normalized_mean"] is None
    assert card["final_evaluations"] == []
    assert card["episodes"] == 2
    assert "normalized" not in text
    assert "-200.0 of the deterministic policy" in text
    assert read_table(folder / "evaluations.csv") == []


# Going on after a kill

FAST = SACConfig(hidden=(16, 16), batch_size=16, random_steps=200)
RESUMED = {  # the first ends at a target, with the episode after its evaluation at step 400
    "Hopper-v5": config_of(target_return=-1e9, transitions=350, eval_every=100, eval_episodes=1, sac=FAST),
    "Pendulum-v1": config_of(
        env="Pendulum-v1", target_return=None, max_steps=450, eval_every=300, eval_episodes=1, sac=FAST
    ),
    "random": config_of(policy="random", target_return=None, transitions=500, max_steps=500),
}


def killed_at(monkeypatch, size, config, checkpoints):
    """Collects until the step after ``size`` is recorded, as a kill would end it; the steps taken."""
    add, taken = Replay.add, []

    def add_or_die(self, *step):
        if self.size == size:
            raise KeyboardInterrupt
        taken.append(self.size)
        add(self, *step)

    with monkeypatch.context() as patch:
        patch.setattr(Replay, "add", add_or_die)
        with pytest.raises(KeyboardInterrupt):
            collect(config, engine="eager", checkpoints=checkpoints)
    return taken


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", RESUMED)
def test_a_killed_collection_ends_in_the_same_bytes(tmp_path, monkeypatch, caplog, kind):
    caplog.set_level(logging.INFO)
    config, checkpoints = RESUMED[kind], Checkpoints(tmp_path / "x.partial", 60)
    whole = collect(config, engine="eager")
    begun = [killed_at(monkeypatch, size, config, checkpoints)[0] for size in (50, 250, 390, 395)]
    assert begun[:2] == [0, 0]  # no checkpoint is made before step 60
    assert 180 <= begun[2] <= 250
    assert begun[3] == 200 if kind == "Pendulum-v1" else 300 <= begun[3] <= 390
    assert {size - 1 for size in begun[2:]} <= set(ends_of(whole[0]).tolist())
    run = collect(config, engine="eager", checkpoints=checkpoints)
    assert same(run[0], whole[0])
    assert run[1] == whole[1]
    assert len(names(checkpoints.folder)) == 2
    assert len([message for message in caplog.messages if message.startswith("goes on from")]) == 3
    first, second = written(tmp_path / "a", config, whole), written(tmp_path / "b", config, run)
    for name in names(first):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    checkpoints.remove()
    assert names(tmp_path) == ["a", "b"]


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """A collection that was killed at step 380, with its last two checkpoints."""
    checkpoints = Checkpoints(tmp_path_factory.mktemp("partial") / "x.partial", 100)
    with pytest.MonkeyPatch.context() as patch:
        killed_at(patch, 380, RESUMED["Hopper-v5"], checkpoints)
    return checkpoints.folder


def copied(partial, tmp_path):
    shutil.copytree(partial, tmp_path / "x.partial")
    return Checkpoints(tmp_path / "x.partial", 100)


def test_checkpoints_are_folders_with_a_manifest(partial):
    steps = sorted(int(name.removeprefix("step-")) for name in names(partial))
    assert len(steps) == 2
    assert 200 <= steps[0] < 300 <= steps[1] < 380
    for step in steps:
        check_manifest(partial / f"step-{step}")
        assert names(partial / f"step-{step}") == ["arrays.safetensors", "manifest.json", "state.json"]
        content = parse_json((partial / f"step-{step}" / "state.json").read_text())
        config = RESUMED["Hopper-v5"]
        assert content["identity"] == json.loads(json.dumps(identity_of(config, "eager")))
        assert [e[0] for e in content["notes"]["evaluations"]] == list(range(100, step + 1, 100))


def test_a_damaged_checkpoint_is_passed_over(partial, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    checkpoints, config = copied(partial, tmp_path), RESUMED["Hopper-v5"]
    older, newer = sorted(checkpoints.folder.iterdir())
    path = newer / "arrays.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    run = collect(config, engine="eager", checkpoints=checkpoints)
    assert digest(run) == digest(collect(config, engine="eager"))
    assert caplog.messages[:2] == [
        f"a damaged checkpoint is passed over: {path}: its content is not what {newer / 'manifest.json'} says was "
        "written",
        f"goes on from the checkpoint {older}",
    ]


def test_with_all_checkpoints_damaged_collecting_begins_anew(partial, tmp_path, monkeypatch):
    checkpoints = copied(partial, tmp_path)
    for folder in checkpoints.folder.iterdir():
        (folder / "state.json").unlink()
    assert killed_at(monkeypatch, 130, RESUMED["Hopper-v5"], checkpoints)[0] == 0


def test_a_damaged_checkpoint_is_made_again(partial, tmp_path, monkeypatch):
    checkpoints = copied(partial, tmp_path)
    newer = max(checkpoints.folder.iterdir())
    (newer / "arrays.safetensors").unlink()
    killed_at(monkeypatch, 380, RESUMED["Hopper-v5"], checkpoints)
    check_manifest(newer)
    assert names(checkpoints.folder) == names(partial)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"target_return": 21.0}, "target_return -1000000000.0, and this command has 21.0"),
        ({"seed": 1}, "seed 0, and this command has 1"),
        ({"max_steps": 1400}, "max_steps 700, and this command has 1400"),
        (
            {"sac": dataclasses.replace(FAST, hidden=(16, 32))},
            "sac.hidden [16, 16], and this command has [16, 32]",
        ),
    ],
)
def test_a_checkpoint_belongs_to_its_collection(partial, tmp_path, change, difference):
    checkpoints = copied(partial, tmp_path)
    with pytest.raises(UsageError) as error:
        collect(dataclasses.replace(RESUMED["Hopper-v5"], **change), engine="eager", checkpoints=checkpoints)
    assert str(error.value) == (
        f"{checkpoints.folder} holds a checkpoint made with {difference}: go on with what made it, or remove "
        f"{checkpoints.folder} to begin anew"
    )
    assert names(checkpoints.folder) == names(partial)


def test_a_checkpoint_belongs_to_its_engine_and_versions(partial, monkeypatch):
    checkpoints, config = Checkpoints(partial, 100), RESUMED["Hopper-v5"]
    identity = identity_of(config, "eager")
    assert checkpoints.newest(identity).arrays["replay.rewards"].shape >= (300,)
    for changed, key in (({"engine": "compiled"}, "engine"), ({"versions": {"torch": "1"}}, "versions.corruptbench")):
        with pytest.raises(UsageError, match=f"made with {key} "):
            checkpoints.newest({**identity, **changed})


def test_a_kill_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """What was there stays whole; what the kill left half written is no checkpoint and goes with the others."""
    checkpoints, config = Checkpoints(tmp_path / "x.partial", 100), RESUMED["Hopper-v5"]
    save = checkpoints_module.save

    def killed(arrays):
        if len(arrays["replay.rewards"]) >= 200:
            half = checkpoints.folder / ".step-200.0123456789abcdef"  # nobody cleans up
            half.mkdir()
            (half / "arrays.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt
        return save(arrays)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints_module, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            collect(config, engine="eager", checkpoints=checkpoints)
    (left,) = (name for name in names(checkpoints.folder) if not name.startswith("."))
    assert 100 <= killed_at(monkeypatch, 250, config, checkpoints)[0] == int(left.removeprefix("step-")) < 200
    (checkpoints.folder / "notes.txt").write_text("the user's own")
    checkpoints.remove()
    assert names(checkpoints.folder) == ["notes.txt"]


def test_no_checkpoint_of_an_environment_that_carries_more_on(registered, tmp_path, caplog):
    class Curriculum(Counting):
        episodes = 0

        def reset(self, *, seed=None, options=None):
            self.episodes += 1
            place, info = super().reset(seed=seed)
            return place * self.episodes, info

    name = registered(Curriculum, max_episode_steps=40)
    checkpoints = Checkpoints(tmp_path / "x.partial", 100)
    collect(config_of(env=name, policy="random", max_steps=220), checkpoints=checkpoints)
    assert caplog.messages == [
        f"step {step}: no checkpoint, for {name} carries more from episode to episode than its random generator's state"
        for step in (120, 200)
    ]
    assert not list(tmp_path.iterdir())


def test_the_state_of_a_stream_is_all_of_it():
    """Normals in float32 take half a word each: the other half is part of the state."""
    for count in range(1, 40):
        before = np.random.Generator(stream(3, "x"))
        before.standard_normal(count, np.float32)
        after = np.random.Generator(stream(4, "y"))
        after.bit_generator.state = parse_json(json.dumps(before.bit_generator.state))
        for generator in (before, after):
            generator.uniform(-1, 1, 3)
        assert np.array_equal(before.standard_normal(7, np.float32), after.standard_normal(7, np.float32))
        assert before.integers(2**32, dtype=np.uint32) == after.integers(2**32, dtype=np.uint32)


# The command


def options_of(*words):
    parser = Parser("corruptbench data", "")
    command.add(parser.add_subparsers(dest="verb", required=True, parser_class=Verb))
    return parser.parse_args(["collect", *words])


def asked(*words):
    options = options_of("--name", "x", "--out", "x", *words)
    return command.config_of(options, environment(options.env))


HOPPER, PENDULUM = ("--env", "Hopper-v5"), ("--env", "Pendulum-v1")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (HOPPER, CollectConfig(target_return=-20.272305 + 0.4 * (3234.3 + 20.272305))),
        ((*HOPPER, "--target-score", "0", "--seed", "3"), CollectConfig(target_return=-20.272305, seed=3)),
        ((*HOPPER, "--target-return", "7", "--max-steps", "9"), CollectConfig(target_return=7.0, max_steps=9)),
        (
            (*PENDULUM, "--steps", "500"),
            CollectConfig("Pendulum-v1", target_return=None, transitions=500, max_steps=500),
        ),
        (
            (*PENDULUM, "--steps", "500", "--transitions", "20", "--policy", "random"),
            CollectConfig("Pendulum-v1", target_return=None, transitions=20, max_steps=500, policy="random"),
        ),
    ],
)
def test_what_a_command_asks_for(words, expected):
    assert asked(*words) == expected


NUMBERS = "--steps, --max-steps, --transitions and --checkpoint-every are numbers of steps, 1 and above"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (*HOPPER, "--target-score", "1", "--target-return", "2"),
            "--target-score and --target-return both say when to end, so give one of them",
        ),
        (
            (*HOPPER, "--target-return", "0", "--steps", "2"),
            "--target-return and --steps both say when to end, so give one of them",
        ),
        (
            (*HOPPER, "--steps", "2", "--max-steps", "3"),
            "--max-steps is the upper end for a target, and --steps has none",
        ),
        ((*HOPPER, "--policy", "random"), "--policy random gets no better, so say --steps and no target"),
        (
            PENDULUM,
            "Pendulum-v1 has no references for a --target-score, so say --target-return or --steps",
        ),
        (
            (*PENDULUM, "--target-score", "40"),
            "Pendulum-v1 has no references for a --target-score, so say --target-return or --steps",
        ),
        ((*HOPPER, "--target-return", "nan"), "the target is nan, allowed is any finite number"),
        ((*HOPPER, "--steps", "0"), NUMBERS),
        ((*HOPPER, "--max-steps", "0"), NUMBERS),
        ((*HOPPER, "--transitions", "0"), NUMBERS),
        ((*HOPPER, "--checkpoint-every", "0"), NUMBERS),
    ],
)
def test_contradictions(words, message):
    with pytest.raises(UsageError) as error:
        asked(*words)
    assert str(error.value) == f"collect: {message}"


def run_command(out, *words):
    words = ("--name", "mine", "--out", str(out), *words)
    return command.main(options_of(*words), ["collect", *words])


def test_a_command_that_is_repeated_after_a_kill(tmp_path, monkeypatch, capsys):
    words = (*PENDULUM, "--policy", "random", "--steps", "450", "--checkpoint-every", "100")
    assert run_command(tmp_path / "whole", *words) == 0
    card = parse_json((tmp_path / "whole" / "card.json").read_text())
    out = tmp_path / "whole"
    assert capsys.readouterr().out == (
        "mine: 450 transitions in 3 episodes of Pendulum-v1\n"
        "ended         after 450 steps, as many as were asked for\n"
        f"episodes      mean return {card['return_mean']}, from {card['return_min']} to {card['return_max']}\n"
        f"\n{out}\n"
        f"corruptbench run --algo iql --corrupt obs-random --dataset file:{out}/data.hdf5 --env Pendulum-v1\n"
    )
    add = Replay.add
    with monkeypatch.context() as patch:
        patch.setattr(Replay, "add", lambda self, *step: add(self, *step) if self.size < 300 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_command(tmp_path / "again", *words)
    assert names(tmp_path) == ["again.partial", "whole"]
    assert names(tmp_path / "again.partial") == ["step-200"]
    assert run_command(tmp_path / "again", *words) == 0
    assert names(tmp_path) == ["again", "whole"]
    assert names(out) == ["README.md", "card.json", "data.hdf5", "episodes.csv", "manifest.json", "returns.png"]
    for name in names(out):
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    with pytest.raises(UsageError) as error:
        run_command(out, *words)
    assert str(error.value) == f"collect: --out {out} exists already, and nothing is overwritten"


def test_the_card_of_random_actions(tmp_path):
    config = config_of(env="Pendulum-v1", policy="random", target_return=None, max_steps=450, transitions=450)
    folder = written(tmp_path / "x", config, collect(config))
    card, text = parse_json((folder / "card.json").read_text()), (folder / "README.md").read_text()
    assert (card["policy"], card["ended"], card["final_evaluations"]) == ("random", "steps", [])
    assert "450 transitions in 3 episodes of Pendulum-v1: what 450 steps of uniform\nrandom actions led to" in text
    for absent in ("SAC", "medium", "evaluations", "drawn evenly", "{"):
        assert absent not in text, absent
    assert "1. Pendulum-v1 with" in text
    assert "\n2. The actions are uniform in the environment's box, whatever is observed.\n3. Each episode's" in text


@pytest.mark.parametrize(
    ("changes", "ended", "parts", "absent"),
    [
        (
            {"target_return": 20.0},
            "target",
            (
                "what a SAC learner saw from its\nfirst step until it was a medium policy, in",
                "one every 200 steps.\n4.",
            ),
            "not reached",
        ),
        (
            {},
            "max-steps",
            (
                "saw from its\nfirst step to step 700, where collecting ended before it was a medium policy, in the",
                "one every 200 steps. Here it was not reached.\n4. Whole",
            ),
            "until it was",
        ),
        (
            {"target_return": None, "transitions": 700},
            "steps",
            ("saw in its\nfirst 700 steps, as many as were asked for, in", "temperature.\n3. Each"),
            "medium",
        ),
    ],
)
def test_the_card_says_how_collecting_ended(tmp_path, changes, ended, parts, absent):
    config = config_of(**changes)
    evaluations = [Evaluation(step, 30.0, 20.0) for step in (200, 400, 600)]
    folder = written(tmp_path / "x", config, (random_replay([100] * 7), evaluations))
    text = (folder / "README.md").read_text()
    assert parse_json((folder / "card.json").read_text())["ended"] == ended
    for part in parts:
        assert part in text, part
    assert absent not in text


# SAC


def double(*groups):
    return [[p.double() for p in params] for params in groups]


def test_log_probability_is_that_of_the_squashed_gaussian():
    agent = SAC(5, 3, 0, SACConfig(hidden=(16, 16)))
    (actor,) = double(agent.actor)
    rng = np.random.default_rng(0)
    observations = torch.from_numpy(rng.normal(size=(200, 5)) * 4)
    noise = torch.from_numpy(rng.normal(size=(200, 3)))
    actions, log_prob = sample(actor, observations, noise)
    mean, std = slow_heads(actor, observations)
    expected, density = slow_sample(mean, std, noise)
    torch.testing.assert_close(actions, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_prob, density, rtol=1e-10, atol=1e-10)
    single, log_prob32 = sample([p.float() for p in actor], observations.float(), noise.float())
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(log_prob32.double(), density, rtol=1e-4, atol=1e-4)


def test_log_probability_of_actions_at_the_edge():
    """tanh(u) is 1 in float32 from u = 9 on; the density must go on falling."""
    actor = [torch.zeros(2, 2), torch.tensor([[0.0, 0.0]])]  # mean 0, std 1 whatever is observed
    u = torch.tensor([[0.0], [5.0], [-15.0], [40.0]])
    actions, log_prob = sample(actor, torch.zeros(4, 2), u)
    exact = [-x * x / 2 - math.log(2 * math.pi) / 2 - slow_log_slope(x) for x in (0.0, 5.0, -15.0, 40.0)]
    assert log_prob.tolist() == pytest.approx(exact, rel=1e-5)
    assert actions[:, 0].tolist() == pytest.approx([0.0, math.tanh(5), -1.0, 1.0])


def slow_log_slope(u):
    """log(1 - tanh(u)^2) = log(4 / (e^u + e^-u)^2)."""
    return math.log(4) - 2 * (abs(u) + math.log1p(math.exp(-2 * abs(u))))


def test_density_is_one_in_all():
    actor = [torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[0.3, -0.7]], dtype=torch.float64)]
    noise = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
    actions, log_prob = sample(actor, torch.zeros(len(noise), 1, dtype=torch.float64), noise)
    assert float(torch.trapezoid(log_prob.exp(), actions[:, 0])) == pytest.approx(1, abs=1e-5)


def test_spread_is_limited():
    actor = [torch.zeros(1, 4), torch.tensor([[0.5, 0.5, 50.0, -50.0]])]  # log std of 50 and of -50
    actions, _ = sample(actor, torch.zeros(1, 1), torch.tensor([[0.1, 1e6]]))
    expected = [math.tanh(0.5 + 0.1 * math.exp(2)), math.tanh(0.5 + 1e6 * math.exp(-20))]
    assert actions[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_the_policy_without_noise_is_the_mode():
    agent = SAC(5, 3, 0, SACConfig(hidden=(16, 16)))
    observations = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32))
    mode = agent.act(observations)
    assert torch.equal(mode, agent.act(observations, torch.zeros(7, 3)))
    torch.testing.assert_close(mode, torch.tanh(slow_heads(agent.actor, observations)[0]))
    assert not torch.equal(mode, agent.act(observations, torch.ones(7, 3)))


def test_seeds_and_networks_of_sac():
    first, again, other = (SAC(5, 3, seed, SACConfig(hidden=(16, 8))) for seed in (0, 0, 1))
    assert [p.shape for p in first.actor] == [(5, 16), (1, 16), (16, 8), (1, 8), (8, 6), (1, 6)]
    assert [p.shape for p in first.critic] == [(2, 8, 16), (2, 1, 16), (2, 16, 8), (2, 1, 8), (2, 8, 1), (2, 1, 1)]
    assert not torch.equal(first.critic[0][0], first.critic[0][1])  # twins of one shape, not of one value
    for group in ("actor", "critic"):
        pairs = list(zip(getattr(first, group), getattr(again, group), getattr(other, group), strict=True))
        assert all(torch.equal(a, b) and not torch.equal(a, c) for a, b, c in pairs)
    assert all(torch.equal(a, b) and a is not b for a, b in zip(first.critic, first.target_critic, strict=True))
    assert float(first.log_alpha[0]) == 0


def slow_mlp(params, x):
    """A network written with torch's own linear layer, whose weights are the other way round."""
    for i in range(0, len(params), 2):
        x = torch.nn.functional.linear(x, params[i].T, params[i + 1].reshape(-1))
        if i + 2 < len(params):
            x = torch.nn.functional.relu(x)
    return x


def slow_heads(actor, observations):
    out = slow_mlp(actor, observations)
    half = out.shape[1] // 2
    return out[:, :half], torch.exp(torch.clip(out[:, half:], -20, 2))


def slow_sample(mean, std, noise):
    """Actions and log-density of torch's TransformedDistribution; the cache spares it the inverse of tanh."""
    squash = TanhTransform(cache_size=1)
    distribution = TransformedDistribution(Normal(mean, std), [squash])
    actions = squash(mean + std * noise)
    return actions, distribution.log_prob(actions).sum(1)


class SlowSAC:
    """Haarnoja et al. 2018 with autograd, torch.optim.Adam and a list of two critics; all losses as in the paper."""

    def __init__(self, agent, config):
        def leaves(params):
            return [p.detach().clone().requires_grad_() for p in params]

        self.config = config
        self.actor = leaves(agent.actor)
        self.critics = [leaves([p[k] for p in agent.critic]) for k in range(2)]
        self.targets = [[p.detach().clone() for p in critic] for critic in self.critics]
        self.log_alpha = agent.log_alpha[0].detach().clone().requires_grad_()
        groups = ([p for critic in self.critics for p in critic], self.actor, [self.log_alpha])
        self.critic_adam, self.actor_adam, self.alpha_adam = (
            torch.optim.Adam(group, lr=config.learning_rate) for group in groups
        )

    def update(self, batch, noise):
        s, a, r, following, d = batch
        alpha = self.log_alpha.exp().detach()
        with torch.no_grad():
            next_a, next_log_prob = slow_sample(*slow_heads(self.actor, following), noise[0])
            inputs = torch.cat([following, next_a], 1)
            next_q = torch.minimum(*(slow_mlp(target, inputs)[:, 0] for target in self.targets))
            y = r + self.config.discount * (1 - d) * (next_q - alpha * next_log_prob)
        inputs = torch.cat([s, a], 1)
        values = [slow_mlp(critic, inputs)[:, 0] for critic in self.critics]
        self.step(self.critic_adam, sum(((q - y) ** 2).mean() for q in values))

        new_a, log_prob = slow_sample(*slow_heads(self.actor, s), noise[1])
        inputs = torch.cat([s, new_a], 1)
        q = torch.minimum(*(slow_mlp(critic, inputs)[:, 0] for critic in self.critics))
        self.step(self.actor_adam, (alpha * log_prob - q).mean(), self.actor)

        target_entropy = -a.shape[1]
        self.step(self.alpha_adam, -(self.log_alpha * (log_prob.detach() + target_entropy)).mean())
        rate = self.config.target_rate
        for target, critic in zip(self.targets, self.critics, strict=True):
            for t, p in zip(target, critic, strict=True):
                t.copy_((1 - rate) * t + rate * p.detach())
        return torch.stack(values).mean()

    def step(self, optimizer, loss, params=None):
        optimizer.zero_grad()
        loss.backward(inputs=params)
        optimizer.step()


def random_batch(rng, size=64, do=5, da=2):
    def normal(*shape):
        return torch.from_numpy(rng.normal(size=shape))

    actions = torch.from_numpy(rng.uniform(-1, 1, (size, da)))
    ended = torch.from_numpy((rng.random(size) < 0.3).astype(float))
    return Batch(normal(size, do), actions, normal(size) * 3, normal(size, do), ended), normal(2, size, da)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_sac_updates_are_those_of_autograd(dtype, tolerance):
    config = SACConfig(hidden=(24, 16), learning_rate=3e-3, discount=0.9, target_rate=0.05)
    agent = SAC(5, 2, 0, config)
    agent.log_alpha = [torch.full((1,), -1.2)]
    for name in ("actor", "critic", "target_critic", "log_alpha"):
        setattr(agent, name, [p.to(dtype) for p in getattr(agent, name)])
    agent.actor_adam, agent.critic_adam = AdamEach(agent.actor), AdamEach(agent.critic)
    agent.alpha_adam = AdamEach(agent.log_alpha)
    slow = SlowSAC(agent, config)
    rng = np.random.default_rng(0)
    for number in range(1, 6):
        batch, noise = random_batch(rng)
        batch, noise = Batch(*(field.to(dtype) for field in batch)), noise.to(dtype)
        sign = agent.update(batch, noise, torch.tensor(float(number), dtype=torch.float64))
        torch.testing.assert_close(sign, slow.update(batch, noise), rtol=tolerance, atol=tolerance)
    pairs = [
        (agent.actor, slow.actor),
        (agent.log_alpha, [slow.log_alpha]),
        *(([p[k] for p in agent.critic], slow.critics[k]) for k in range(2)),
        *(([p[k] for p in agent.target_critic], slow.targets[k]) for k in range(2)),
    ]
    for found, expected in pairs:
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b.detach(), rtol=tolerance, atol=tolerance)


def test_a_batch_is_in_units_of_the_box():
    config = config_of(env="Pendulum-v1")
    replay = random_replay([50, 50], 0, 3, 1)
    replay.actions *= 2  # the box of Pendulum
    center, half = np.zeros(1, np.float32), np.full(1, 2, np.float32)
    exploration = np.random.default_rng(0)
    batch, noise, number = learning_inputs(replay, config, 400, center, half, exploration)
    assert [tuple(field.shape) for field in batch] == [(32, 3), (32, 1), (32,), (32, 3), (32,)]
    assert (tuple(noise.shape), float(number)) == ((2, 32, 1), 100.0)  # the 100th update comes 100 steps after 300
    rows = [int(np.flatnonzero((replay.observations[:100] == s.numpy()).all(1))[0]) for s in batch.observations]
    assert np.array_equal(batch.actions[:, 0], replay.actions[rows, 0] / 2)
    assert np.array_equal(batch.rewards, replay.rewards[rows])
    assert np.array_equal(batch.next_observations, replay.next_observations[rows])
    assert np.array_equal(batch.terminations, replay.terminals[rows].astype(np.float32))
    assert max(rows) < replay.size


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(digest(collect(SHORT, engine="eager")))
