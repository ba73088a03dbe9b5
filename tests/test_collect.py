"""Collecting a dataset: what is recorded, what is kept, and SAC against torch's autograd, Adam and distributions."""

import csv
import itertools
import math
import sys

import gymnasium
import h5py
import numpy as np
import pytest
import torch
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from corruptbench.algos.adam import Adam
from corruptbench.collect import replay as module
from corruptbench.collect.card import write_dataset
from corruptbench.collect.replay import CollectConfig, Evaluation, Replay, collect, episodes_kept, write_hdf5
from corruptbench.collect.sac import SAC, Batch, SACConfig, sample
from corruptbench.data import read_hdf5
from corruptbench.environments import environment, make
from corruptbench.errors import DataError
from corruptbench.rng import seed_from
from corruptbench.store import parse_json, sha256_file
from corruptbench.versions import versions

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


# Collecting


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

    class Picture(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)
        action_space = gymnasium.spaces.Box(-1, 1, (2,))

    gymnasium.register("CorruptBenchTest/Picture-v0", entry_point=Picture)
    try:
        with pytest.raises(DataError) as error:
            collect(config_of(env="CorruptBenchTest/Picture-v0"), engine="eager")
    finally:
        del gymnasium.registry["CorruptBenchTest/Picture-v0"]
    assert str(error.value) == (
        "CorruptBenchTest/Picture-v0 observes Box(0, 255, (4, 4, 3), uint8), "
        "and only one-dimensional Boxes can be collected"
    )


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
    agent.actor_adam, agent.critic_adam = Adam(agent.actor), Adam(agent.critic)
    agent.alpha_adam = Adam(agent.log_alpha)
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
    batch, noise, number = module.learning_inputs(replay, config, 400, center, half, exploration)
    assert [tuple(field.shape) for field in batch] == [(32, 3), (32, 1), (32,), (32, 3), (32,)]
    assert (tuple(noise.shape), float(number)) == ((2, 32, 1), 100.0)  # the 100th update comes 100 steps after 300
    rows = [int(np.flatnonzero((replay.observations[:100] == s.numpy()).all(1))[0]) for s in batch.observations]
    assert np.array_equal(batch.actions[:, 0], replay.actions[rows, 0] / 2)
    assert np.array_equal(batch.rewards, replay.rewards[rows])
    assert np.array_equal(batch.next_observations, replay.next_observations[rows])
    assert np.array_equal(batch.terminations, replay.terminals[rows].astype(np.float32))
    assert max(rows) < replay.size
