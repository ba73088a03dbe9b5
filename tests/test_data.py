"""Rows of section 1 against a slow loop, every way a file can be unsound, and the shipped data against the physics."""

import csv
import hashlib
import json
import shutil

import gymnasium
import h5py
import numpy as np
import pytest
from builders_steps import ENDINGS, LAYOUTS, steps_of, write

from corruptbench.data import ASSETS, load, load_rows, read_hdf5, shipped, sources
from corruptbench.environments import environment, make
from corruptbench.errors import DataError, IntegrityError, UsageError
from corruptbench.rng import seed_from
from corruptbench.types import HASHED, TransitionDataset

HOPPER, PENDULUM = environment("Hopper-v5"), environment("Pendulum-v1")
NUMBERS = ("observations", "actions", "rewards", "next_observations", "final_observations")


def slow_rows(steps, layout):
    """Section 1, one step at a time: a list of rows (s, a, r, s', d, episode)."""
    rows, episode, count = [], 0, len(steps["rewards"])
    for i in range(count):
        terminal, timeout = bool(steps["terminals"][i]), bool(steps["timeouts"][i])
        over = terminal or timeout
        row = [steps["observations"][i], steps["actions"][i], steps["rewards"][i]]
        if layout == "next_observations":
            rows.append([*row, steps["next_observations"][i], terminal, episode])
        elif layout == "final_observations":
            following = steps["final_observations"][episode] if over else steps["observations"][i + 1]
            rows.append([*row, following, terminal, episode])
        elif not timeout and i != count - 1:
            following = steps["observations"][i] if terminal else steps["observations"][i + 1]
            rows.append([*row, following, terminal, episode])
        episode += over
    return rows


def assert_rows(dataset, rows):
    """Row for row, to the bit."""
    assert len(dataset) == len(rows)
    for i, (s, a, r, following, d, episode) in enumerate(rows):
        assert np.array_equal(dataset.observations[i], s), i
        assert np.array_equal(dataset.actions[i], a), i
        assert dataset.rewards[i] == r, i
        assert np.array_equal(dataset.next_observations[i], following), i
        assert dataset.terminations[i] == d, i
        assert dataset.episodes[i] == episode, i


def message(error, call, *arguments):
    with pytest.raises(error) as raised:
        call(*arguments)
    assert type(raised.value) is error
    text = str(raised.value)
    assert "\n" not in text
    return text


# Rows


@pytest.mark.parametrize(
    ("layout", "last"),
    [(layout, last) for layout in LAYOUTS for last in ENDINGS]
    + [("next_observations", "cut"), ("neither", "cut")],  # a third one is an error
)
@pytest.mark.parametrize("first", ENDINGS)
@pytest.mark.parametrize("second", ENDINGS)
def test_rows(tmp_path, layout, first, second, last):
    steps = steps_of((3, first), (1, second), (1, first), (4, second), (2, last))
    dataset = read_hdf5(write(tmp_path / "x.hdf5", steps, layout), "x", HOPPER)
    rows = slow_rows(steps, layout)
    assert_rows(dataset, rows)
    # The slow loop by hand: 11 steps, all of them but where s' is not known.
    lost = 0
    if layout == "neither":
        timeouts = {"terminal": 0, "timeout": 1, "both": 1, "cut": 0}
        lost = 2 * (timeouts[first] + timeouts[second]) + 1  # the file's last row is dropped whatever it is
    assert len(rows) == 11 - lost


def test_rows_by_hand(tmp_path):
    steps = steps_of((2, "terminal"), (2, "timeout"), (2, "terminal"), (2, "cut"))
    dataset = read_hdf5(write(tmp_path / "x.hdf5", steps, "neither"), "x", HOPPER)
    s = steps["observations"]
    #     0 1 | 2 3 | 4 5 | 6 7      3 ran out of time, 7 is the last one
    assert np.array_equal(dataset.observations, s[[0, 1, 2, 4, 5, 6]])
    assert np.array_equal(dataset.next_observations, s[[1, 1, 3, 5, 5, 7]])  # 1 and 5 ended: s' = s
    assert dataset.terminations.tolist() == [False, True, False, False, True, False]
    assert dataset.episodes.tolist() == [0, 0, 1, 2, 2, 3]
    known = read_hdf5(write(tmp_path / "x.hdf5", steps, "next_observations"), "x", HOPPER)
    assert np.array_equal(known.next_observations, steps["next_observations"])
    assert known.terminations.tolist() == [False, True, False, False, False, True, False, False]
    assert known.episodes.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_stored_next_observations_are_preferred(tmp_path):
    steps = steps_of((3, "terminal"), (2, "timeout"))
    steps["next_observations"] += 1  # of another kind than the following observations
    path = write(tmp_path / "x.hdf5", steps)
    with h5py.File(path, "a") as file:
        file["final_observations"] = steps["final_observations"]
    assert np.array_equal(read_hdf5(path, "x", HOPPER).next_observations, steps["next_observations"])


def test_what_a_dataset_is_made_of(tmp_path):
    path = write(tmp_path / "x.hdf5", steps_of((3, "terminal"), (4, "timeout")))
    dataset = read_hdf5(path, "the name", HOPPER)
    assert (dataset.id, dataset.environment, len(dataset)) == ("the name", HOPPER, 7)
    for name, shape, dtype in [
        ("observations", (7, 11), np.float32),
        ("actions", (7, 3), np.float32),
        ("rewards", (7,), np.float32),
        ("next_observations", (7, 11), np.float32),
        ("terminations", (7,), np.bool_),
        ("episodes", (7,), np.int64),
    ]:
        values = getattr(dataset, name)
        assert (values.shape, values.dtype) == (shape, dtype), name
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0


def test_actions_are_rescaled_from_the_box(tmp_path):
    steps = steps_of((200, "timeout"), widths=(3, 1))
    steps["actions"] = np.linspace(-2, 2, 200, dtype=np.float32)[:, None]
    dataset = read_hdf5(write(tmp_path / "x.hdf5", steps), "x", PENDULUM)
    assert np.array_equal(dataset.actions, steps["actions"] / 2)  # the box is [-2, 2]
    assert dataset.actions[[0, -1], 0].tolist() == [-1, 1]


class Lopsided(gymnasium.Env):
    """An environment whose box is another one in each dimension, and not around 0."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,))
    action_space = gymnasium.spaces.Box(np.array([-1, 0, 5], np.float32), np.array([3, 10, 5.5], np.float32))


def test_actions_are_rescaled_dimension_by_dimension(tmp_path, monkeypatch):
    gymnasium.register("CorruptBenchTest/Lopsided-v0", entry_point=Lopsided)
    env = environment("CorruptBenchTest/Lopsided-v0")
    try:
        steps = steps_of((5, "timeout"), widths=(3, 1))  # observations of 3 dimensions
        low, high = Lopsided.action_space.low.tolist(), Lopsided.action_space.high.tolist()
        shares = [0.0, 0.25, 0.5, 0.9, 1.0]
        steps["actions"] = np.array([[a + u * (b - a) for a, b in zip(low, high, strict=True)] for u in shares])
        dataset = read_hdf5(write(tmp_path / "x.hdf5", steps), "x", env)
        np.testing.assert_allclose(dataset.actions, np.array([[2 * u - 1] * 3 for u in shares]), atol=2e-6)
    finally:
        del gymnasium.registry["CorruptBenchTest/Lopsided-v0"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_float64_and_columns_are_read_as_the_same(tmp_path, layout):
    steps = steps_of((3, "terminal"), (4, "timeout"), (2, "terminal"))
    expected = read_hdf5(write(tmp_path / "a.hdf5", steps, layout), "x", HOPPER)
    other = {name: values.astype(np.float64) for name, values in steps.items()}
    for name in ("rewards", "terminals", "timeouts"):
        other[name] = other[name][:, None]  # (N, 1)
    for found in (other, {**other, "terminals": steps["terminals"].astype(np.uint8)[:, None]}):
        dataset = read_hdf5(write(tmp_path / "b.hdf5", found, layout), "x", HOPPER)
        assert dataset.sha256 == expected.sha256
        assert np.array_equal(dataset.episodes, expected.episodes)
        assert dataset.rewards.shape == (len(dataset),)


def test_other_keys_are_left_alone(tmp_path):
    steps = steps_of((3, "terminal"), (4, "timeout"))
    path = write(tmp_path / "x.hdf5", steps)
    before = read_hdf5(path, "x", HOPPER).sha256
    with h5py.File(path, "a") as file:  # as D4RL's files have them
        file["infos/qpos"] = np.full((7, 6), np.nan)
        file["metadata/algorithm"] = "SAC"
    assert read_hdf5(path, "x", HOPPER).sha256 == before


# Unsound files


@pytest.fixture
def file(tmp_path):
    """Writes steps with some fields exchanged, None for one that is left out, and returns the path."""

    def build(layout="next_observations", **changes):
        steps = {**steps_of((3, "terminal"), (4, "timeout"), (5, "terminal")), **changes}
        return write(tmp_path / "x.hdf5", {k: v for k, v in steps.items() if v is not None}, layout)

    return build


@pytest.mark.parametrize("field", ["observations", "actions", "rewards", "terminals", "timeouts"])
def test_missing_key(file, field):
    path = file(**{field: None})
    assert message(DataError, read_hdf5, path, "x", HOPPER) == f"{path}: the key {field!r} is missing"


def test_nothing_in_it(tmp_path):
    steps = {name: values[:0] for name, values in steps_of((3, "terminal")).items()}
    path = write(tmp_path / "x.hdf5", steps)
    assert message(DataError, read_hdf5, path, "x", HOPPER) == f"{path}: there is nothing in it"


@pytest.mark.parametrize("field", ["actions", "rewards", "terminals", "timeouts", "next_observations"])
@pytest.mark.parametrize("count", [11, 13])
def test_lengths(file, field, count):
    steps = steps_of((3, "terminal"), (4, "timeout"), (6, "terminal"))
    path = file(**{field: steps[field][:count]})
    expected = f"{path}: {field} has {count} rows and observations 12"
    assert message(DataError, read_hdf5, path, "x", HOPPER) == expected


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(file, field, bad):
    values = steps_of((3, "terminal"), (4, "timeout"), (5, "terminal"))[field]
    last, first = len(values) - 1, 1
    values[[first, last]] = bad
    if values.ndim == 2:
        values[first, 0] = 0.0
    count = 1 + 1 if values.ndim == 1 else 2 * values.shape[1] - 1
    path = file("final_observations" if field == "final_observations" else "next_observations", **{field: values})
    expected = f"{path}: {field} has {count} values that are not finite in float32, the first in row {first}"
    assert message(DataError, read_hdf5, path, "x", HOPPER) == expected


def test_a_signalling_nan_is_one_like_others(file):
    """Whose conversion the processor complains of."""
    values = steps_of((3, "terminal"), (4, "timeout"), (5, "terminal"))["rewards"].astype(np.float64)
    values.view(np.uint64)[5] = 0x7FF0000000000001
    path = file(rewards=values)
    expected = f"{path}: rewards has 1 values that are not finite in float32, the first in row 5"
    assert message(DataError, read_hdf5, path, "x", HOPPER) == expected


@pytest.mark.parametrize("field", ["observations", "actions", "rewards", "next_observations"])
def test_values_beyond_float32_are_no_infinity(file, field):
    values = steps_of((3, "terminal"), (4, "timeout"), (5, "terminal"))[field].astype(np.float64)
    values.reshape(12, -1)[5, 0] = 1e39  # finite in float64, and float32 ends at 3.4e38
    path = file(**{field: values})
    expected = f"{path}: {field} has 1 values that are not finite in float32, the first in row 5"
    assert message(DataError, read_hdf5, path, "x", HOPPER) == expected


@pytest.mark.parametrize("field", ["observations", "rewards", "terminals", "next_observations"])
def test_values_that_are_not_numbers(file, field):
    for values, dtype in (
        (np.full(12, b"abc"), "|S3"),
        (np.array(["a"] * 12, dtype=h5py.string_dtype()), "object"),
        (np.zeros(12, np.complex64), "complex64"),
    ):
        path = file(**{field: values})
        expected = f"{path}: {field} is {dtype}, and only numbers can be read"
        assert message(DataError, read_hdf5, path, "x", HOPPER) == expected


@pytest.mark.parametrize("field", ["rewards", "terminals", "timeouts"])
def test_more_than_one_value_a_row(file, field):
    path = file(**{field: np.zeros((12, 2))})
    expected = f"{path}: {field} has 2 values a row, and one is needed"
    assert message(DataError, read_hdf5, path, "x", HOPPER) == expected


@pytest.mark.parametrize("field", ["observations", "actions", "next_observations"])
@pytest.mark.parametrize("shape", [(12,), (12, 3, 1)])
def test_number_of_axes(file, field, shape):
    path = file(**{field: np.zeros(shape)})
    expected = f"{path}: {field} has {len(shape)} axes, and two are needed"
    assert message(DataError, read_hdf5, path, "x", HOPPER) == expected


def test_actions_of_another_environment(file):
    path = file(actions=np.zeros((12, 6)))
    expected = f"{path}: actions has 6 values a row, and Hopper-v5 has 3"
    assert message(DataError, read_hdf5, path, "x", HOPPER) == expected


def test_observations_of_another_environment(file):
    path = file(observations=np.zeros((12, 17)), next_observations=np.zeros((12, 17)))  # of HalfCheetah
    expected = f"{path}: observations has 17 values a row, and Hopper-v5 has 11"
    assert message(DataError, read_hdf5, path, "x", HOPPER) == expected


@pytest.mark.parametrize(("layout", "rows"), [("next_observations", 12), ("final_observations", 3)])
@pytest.mark.parametrize("width", [1, 10, 12])  # one column could be spread over all of them
def test_observations_of_two_widths(file, layout, rows, width):
    path = file(layout, **{layout: np.zeros((rows, width))})
    expected = f"{path}: {layout} has {width} values a row and observations 11"
    assert message(DataError, read_hdf5, path, "x", HOPPER) == expected


def test_final_observations_are_one_an_episode(file):
    final = steps_of((3, "terminal"), (4, "timeout"), (5, "terminal"))["final_observations"]
    path = file("final_observations", final_observations=final[:2])
    assert message(DataError, read_hdf5, path, "x", HOPPER) == f"{path}: 2 final observations, 3 ends"


def test_final_observations_need_an_end_of_the_last_episode(tmp_path):
    path = write(tmp_path / "x.hdf5", steps_of((3, "terminal"), (4, "cut")), "final_observations")
    assert (
        message(DataError, read_hdf5, path, "x", HOPPER)
        == f"{path}: the last step ends no episode, so it has no final observation"
    )


@pytest.mark.parametrize("kind", ["scalar", "group"])
@pytest.mark.parametrize("field", ["observations", "rewards", "next_observations"])
def test_a_key_that_is_no_array(file, field, kind):
    path = file(**{field: None})
    with h5py.File(path, "a") as opened:
        if kind == "group":
            opened.create_group(field)
        else:
            opened[field] = 1.0
    assert message(DataError, read_hdf5, path, "x", HOPPER) == f"{path}: {field} is no array"


def test_not_hdf5(tmp_path, file):
    path = tmp_path / "y.hdf5"
    path.write_bytes(b"not at all")
    assert message(DataError, read_hdf5, path, "x", HOPPER).startswith(f"{path}: not readable as HDF5: ")
    whole = file().read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # half a download
    assert message(DataError, read_hdf5, path, "x", HOPPER).startswith(f"{path}: not readable as HDF5: ")


def test_a_folder_is_no_file(tmp_path):
    assert message(DataError, read_hdf5, tmp_path, "x", HOPPER) == f"{tmp_path}: there is no such file"


def test_no_such_file(tmp_path):
    path = tmp_path / "missing.hdf5"
    assert message(DataError, load, f"file:{path}", HOPPER) == f"{path}: there is no such file"


def test_an_environment_without_a_bounded_box(file):
    env = environment("CartPole-v1")
    text = message(DataError, read_hdf5, file(), "x", env)
    assert text == "CartPole-v1 has Discrete(2) for actions, and only a bounded Box can be used"


# By name


def test_a_file_by_name(file):
    path = file()
    dataset = load(f"file:{path}", HOPPER)
    assert dataset.id == "file:x.hdf5"  # the folder is the reader's own
    assert dataset.sha256 == read_hdf5(path, "another name", HOPPER).sha256


def test_a_file_without_its_environment(file):
    path = file()
    expected = f"--dataset file:{path}: a file needs the environment it belongs to, as --env Hopper-v5"
    assert message(DataError, load, f"file:{path}") == expected


def test_an_unknown_dataset():
    known = ", ".join(sorted(shipped()))
    expected = f"unknown dataset 'hoper-replay': known are {known} (did you mean 'hopper-replay'?)"
    assert message(UsageError, load, "hoper-replay") == expected
    assert message(UsageError, load, "xyzzy") == f"unknown dataset 'xyzzy': known are {known}"
    assert message(UsageError, load, "../hopper-replay").startswith("unknown dataset '../hopper-replay'")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the shipped data that may be changed, in the place of the shipped data."""
    shutil.copytree(ASSETS / "hopper-replay", tmp_path / "assets" / "hopper-replay")
    monkeypatch.setattr(sources, "ASSETS", tmp_path / "assets")
    return tmp_path / "assets" / "hopper-replay"


@pytest.mark.parametrize("change", ["a bit", "shorter", "gone"])
def test_a_shipped_file_that_changed(copied, change):
    path = copied / "data.hdf5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(content if change == "a bit" else content[:-1])
    expected = f"{path}: its content is not what the card of 'hopper-replay' says was shipped"
    assert message(IntegrityError, load, "hopper-replay") == expected


def test_a_shipped_card_that_is_damaged(copied):
    (copied / "card.json").write_text("{")
    assert message(IntegrityError, load, "hopper-replay").startswith(f"{copied / 'card.json'}: not readable as JSON: ")


def test_a_shipped_dataset_in_another_environment(copied):
    supplied = environment("Hopper-v5", 0.0, 1000.0)
    assert load("hopper-replay", supplied).environment == supplied
    assert load("hopper-replay").environment == HOPPER


# The dataset itself


def test_repr_shows_shapes(file):
    assert repr(load(f"file:{file()}", HOPPER)) == (
        "TransitionDataset('file:x.hdf5', Hopper-v5, observations=(12, 11), actions=(12, 3), rewards=(12,), "
        "next_observations=(12, 11), terminations=(12,))"
    )


def test_replace_makes_another_one(file):
    dataset = read_hdf5(file(), "x", HOPPER)
    other = dataset.replace(rewards=np.zeros(12, np.float32))
    assert type(other) is TransitionDataset
    assert dataset.rewards.any()
    assert not other.rewards.any()
    assert not other.rewards.flags.writeable
    assert np.array_equal(other.observations, dataset.observations)
    with pytest.raises(AttributeError):
        dataset.rewards = other.rewards


def slow_sha256(dataset):
    """Section 2: name, dtype, shape, and the bytes of each field."""
    digest = hashlib.sha256()
    for name in ("observations", "actions", "rewards", "next_observations", "terminations"):
        values = getattr(dataset, name)
        shape = "x".join(str(n) for n in values.shape)
        digest.update(f"{name} {'bool' if name == 'terminations' else 'float32'} {shape}\n".encode())
        for value in values.reshape(-1):
            digest.update(bytes([int(value)]) if name == "terminations" else np.array(value, "<f4").tobytes())
    return digest.hexdigest()


def test_content_hash(file):
    assert HASHED == ("observations", "actions", "rewards", "next_observations", "terminations")
    dataset = read_hdf5(file(), "x", HOPPER)
    assert dataset.sha256 == slow_sha256(dataset)
    for name in HASHED:
        values = getattr(dataset, name).copy()
        values.reshape(-1)[-1] = values.reshape(-1)[-1] == 0  # the last one alone
        assert dataset.replace(**{name: values}).sha256 != dataset.sha256, name
    shape = dataset.observations.reshape(11, 12)
    assert dataset.replace(observations=shape).sha256 != dataset.sha256
    assert dataset.replace(rewards=dataset.rewards.astype(np.float64)).sha256 != dataset.sha256


def test_content_hash_is_of_the_content_alone(file):
    dataset = read_hdf5(file(), "x", HOPPER)
    same = [
        dataset.replace(id="y", environment=PENDULUM, provenance={"a": 1}),
        dataset.replace(episodes=dataset.episodes + 1),
        dataset.replace(observations=np.asfortranarray(dataset.observations)),
        dataset.replace(actions=dataset.actions.astype(">f4")),
        dataset.replace(rewards=np.repeat(dataset.rewards, 2)[::2]),
    ]
    assert {other.sha256 for other in same} == {dataset.sha256}


# The shipped data


CARDS = shipped()
every_dataset = pytest.mark.parametrize("name", sorted(CARDS))


def test_hopper_replay_is_shipped():
    assert "hopper-replay" in CARDS


@every_dataset
def test_shipped_files_are_what_their_card_says(name):
    card, folder = CARDS[name], ASSETS / name
    content = (folder / "data.hdf5").read_bytes()
    dataset = load(name)
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert len(content) < 10_000_000
    assert dataset.sha256 == card["content_sha256"]
    assert card["name"] == dataset.id == name
    assert dataset.environment == environment(card["environment"])
    assert len(dataset) == card["transitions"] >= 100_000
    assert len(np.unique(dataset.episodes)) == dataset.episodes[-1] + 1 == card["episodes"]
    starts = np.flatnonzero(np.diff(dataset.episodes, prepend=-1))
    returns = np.add.reduceat(dataset.rewards.astype(np.float64), starts)
    found = [returns.mean(), returns.min(), returns.max(), dataset.environment.normalized(returns.mean())]
    names = ("return_mean", "return_min", "return_max", "normalized_mean")
    np.testing.assert_allclose(found, [card[key] for key in names], atol=0.006)
    # The readme repeats the card, and tables beside it list the same episodes.
    readme = (folder / "README.md").read_text()
    for text in (card["sha256"], card["content_sha256"], f"{card['transitions']:,} transitions", card["command"]):
        assert text in readme
    with (folder / "episodes.csv").open() as file:
        kept = [row for row in csv.DictReader(file) if row["kept"] == "1"]
    assert [int(row["steps"]) for row in kept] == np.bincount(dataset.episodes).tolist()
    np.testing.assert_allclose([float(row["return"]) for row in kept], returns, atol=0.0006)
    assert json.loads((folder / "card.json").read_text()) == card


@every_dataset
def test_shipped_rows(name):
    dataset = load(name)
    for field in ("observations", "actions", "rewards", "next_observations"):
        assert getattr(dataset, field).dtype == np.float32
        assert np.isfinite(getattr(dataset, field)).all()
    assert np.abs(dataset.actions).max() <= 1
    inner = np.diff(dataset.episodes) == 0  # the row below is of the same episode
    assert np.array_equal(dataset.next_observations[:-1][inner], dataset.observations[1:][inner])
    assert not dataset.terminations[:-1][inner].any()
    assert set(np.diff(dataset.episodes).tolist()) == {0, 1}
    # An episode's final observation is its own: neither the last one observed nor the next episode's first.
    ends = np.append(np.flatnonzero(~inner), len(dataset) - 1)
    final = dataset.next_observations[ends]
    assert (final != dataset.observations[ends]).any(1).all()
    assert (final[:-1] != dataset.observations[ends[:-1] + 1]).any(1).all()
    # No state was visited twice, and no action taken twice in a row: a learner explored here.
    assert len(np.unique(dataset.observations, axis=0)) == len(dataset)
    assert (np.diff(dataset.actions, axis=0) != 0).any(1).mean() > 0.99


def test_shipped_transitions_are_physics(hopper):
    """Each stored state is set in MuJoCo and its stored action taken: the stored outcome comes of it."""
    env = make(hopper.environment)
    env.reset(seed=0)
    fresh = np.flatnonzero((np.abs(hopper.observations[:, 5:]) < 10).all(1))  # observed velocities are clipped to 10
    ends = fresh[hopper.terminations[fresh]]
    rng = np.random.default_rng(0)
    chosen = np.concatenate([rng.choice(fresh, 300, replace=False), rng.choice(ends, 30, replace=False)])
    for row in chosen:
        state = hopper.observations[row].astype(np.float64)
        env.unwrapped.set_state(np.concatenate([[0.0], state[:5]]), state[5:])  # x is not observed and changes nothing
        following, reward, terminated, _, _ = env.unwrapped.step(hopper.actions[row])
        np.testing.assert_allclose(following, hopper.next_observations[row], atol=1e-4)
        np.testing.assert_allclose(reward, hopper.rewards[row], atol=1e-4)
        assert terminated == hopper.terminations[row]
    env.close()


def test_shipped_collection_begins_at_its_seed(hopper):
    """The first episodes from the reset of the card's seed on, the environment's own state carried all along."""
    seed = CARDS["hopper-replay"]["seed"]
    env = make(hopper.environment)
    observation, _ = env.reset(seed=seed_from(f"collect/{seed}/env"))
    for row in range(40):
        np.testing.assert_allclose(observation, hopper.observations[row], atol=1e-4)
        observation, _, terminated, _, _ = env.step(hopper.actions[row])
        assert terminated == hopper.terminations[row]
        if terminated:
            observation, _ = env.reset()
    assert hopper.terminations[:40].any()
    env.close()


def test_home_after_a_colon(file, monkeypatch, tmp_path):
    """The shell leaves it alone there."""
    path = file()
    monkeypatch.setenv("HOME", str(path.parent))
    assert len(load_rows(f"file:~/{path.name}", HOPPER).rows) == 12
    assert "~nobody-of-this-name/x.hdf5: " in message(DataError, load_rows, "file:~nobody-of-this-name/x.hdf5", HOPPER)
    path.rename(path.with_name("hopper_medium-v2.hdf5"))
    monkeypatch.setenv("CORRUPTBENCH_CACHE", str(tmp_path / "cache"))
    assert load_rows("d4rl:~/hopper_medium-v2.hdf5").id == "d4rl:hopper-medium-v2"


def test_a_minari_dataset_that_is_not_there_is_missed_before_its_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    expected = f"minari:mujoco/hoper/medium-v0 is not in {tmp_path}: --download fetches it"
    assert message(DataError, load_rows, "minari:mujoco/hoper/medium-v0") == expected
