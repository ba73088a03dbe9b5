"""The gate: everything it refuses, warns of and repairs, each in a small file made here, with its whole message."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress

import h5py
import numpy as np
import pytest
from builders_steps import DAMAGE, damaged, slow_d4rl_rows, steps_of, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corruptbench.cli import main
from corruptbench.data import load, load_rows, read_hdf5
from corruptbench.data.flat import open_flat
from corruptbench.data.gate import admit
from corruptbench.data.rows import timeouts_by_count
from corruptbench.environments import environment, space
from corruptbench.errors import CorruptBenchError, DataError, IntegrityError, ResourceError, UsageError

HOPPER = environment("Hopper-v5")
BOX = space(HOPPER)
EPISODES = ((3, "terminal"), (4, "timeout"), (5, "terminal"))


def made(tmp_path, layout="next_observations", **changes):
    """A file of three episodes with some fields exchanged, None for one that is left out."""
    steps = {**steps_of(*EPISODES), **changes}
    return write(tmp_path / "x.hdf5", {k: v for k, v in steps.items() if v is not None}, layout)


def passed(path, **options):
    """Rows and report of a file for Hopper."""
    with open_flat(path) as columns:
        return admit(columns, str(path), BOX, "Hopper-v5", **options)


def refused(path, **options):
    with pytest.raises(DataError) as raised:
        passed(path, **options)
    return str(raised.value)


# Refused


def test_actions_in_other_units(tmp_path):
    actions = steps_of(*EPISODES)["actions"]
    actions[[4, 7], 1] = 10.5, -200
    path = made(tmp_path, actions=actions)
    assert refused(path) == (
        f"{path}: actions has 2 values beyond 10 times their bounds, the first in row 4, the largest 200 times: "
        "they are in other units"
    )


def test_flags_are_0_or_1(tmp_path):
    flags = steps_of(*EPISODES)["terminals"].astype(np.float32)
    flags[[5, 6]] = 0.5, 2
    path = made(tmp_path, terminals=flags)
    assert refused(path) == f"{path}: terminals has 2 values that are neither 0 nor 1, the first in row 5"


@pytest.mark.parametrize("kind", ["hdf5", "npz"])
def test_a_bool_on_disk_may_be_any_byte(tmp_path, kind):
    steps = steps_of(*EPISODES)
    raw = steps["terminals"].view(np.uint8).copy()
    raw[4] = 2
    steps["terminals"] = raw.view(bool)
    path = write(tmp_path / "x.hdf5", steps) if kind == "hdf5" else npz(tmp_path / "x.npz", steps)
    assert refused(path) == f"{path}: terminals has 1 values that are neither 0 nor 1, the first in row 4"


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.hdf5")
    assert refused(tmp_path / "pipe.hdf5") == f"{tmp_path / 'pipe.hdf5'}: there is no such file"


def test_a_path_that_is_none(tmp_path):
    with pytest.raises(UsageError) as raised:
        load("file:", HOPPER)
    assert str(raised.value) == "--dataset file:: a file's path follows the colon"
    with pytest.raises(ResourceError, match=r"could not be read: File name too long$"):
        load(f"file:{'x' * 300}/x.hdf5", HOPPER)


def test_every_episode_is_bad(tmp_path):
    rewards = steps_of(*EPISODES)["rewards"]
    rewards[[0, 5, 10]] = np.nan
    path = made(tmp_path, rewards=rewards)
    assert refused(path, on_nonfinite="drop-episode") == f"{path}: every episode has a value that is not finite"


def test_what_to_do_with_nonfinite_values_is_one_of_two_words(tmp_path):
    with pytest.raises(UsageError) as raised:
        passed(made(tmp_path), on_nonfinite="drop-row")
    assert str(raised.value) == "--on-nonfinite is 'drop-row', allowed are refuse and drop-episode"


def test_timeouts_may_only_be_missing_where_a_horizon_stands_in(tmp_path):
    path = made(tmp_path, timeouts=None)
    assert refused(path) == f"{path}: the key 'timeouts' is missing"
    rows, report = passed(path, horizon=4, d4rl=True)
    assert report.repairs["timeouts_counted"] == {"horizon": 4, "count": 2}
    assert rows.terminations.sum() == 1  # the file's last row, a terminal one, is dropped


def test_an_environment_that_nobody_knows(tmp_path):
    path = made(tmp_path)
    with pytest.raises(DataError) as raised:
        load(f"file:{path}")
    assert str(raised.value) == f"--dataset file:{path}: a file needs the environment it belongs to, as --env Hopper-v5"


# Warned of


def test_a_sound_file_has_nothing_to_report(tmp_path):
    rows, report = passed(made(tmp_path))
    assert report.to_json() == {"warnings": {}, "repairs": {}}
    assert report.sentences == []
    assert len(rows) == 12


def test_actions_a_little_out_of_bounds(tmp_path):
    actions = steps_of(*EPISODES)["actions"]
    actions[[4, 7], 1] = 1.5, -9.5
    _, report = passed(made(tmp_path, actions=actions))
    assert report.warnings == {"actions_out_of_bounds": {"count": 2, "largest": 9.5}}
    assert report.sentences == [
        "warning: 2 action values lie outside their bounds, the first in row 4, the largest at 9.5 times the bound"
    ]


def test_next_observations_that_do_not_continue(tmp_path):
    following = steps_of(*EPISODES)["next_observations"]
    following[0] += 1  # inside the first episode
    following[2] += 1  # where it ends: nothing follows there
    _, report = passed(made(tmp_path, next_observations=following))
    assert report.warnings == {"discontinuous": {"count": 1, "share": 1 / 9}}
    assert report.sentences == [
        "warning: the next observation is not the following row's observation in 1 of 9 rows (11.1 %), "
        "the first is row 0"
    ]


def test_features_that_never_change(tmp_path):
    observations = steps_of(*EPISODES)["observations"]
    observations[:, [0, 3, 4, 5, 9]] = 7
    path = made(tmp_path, "neither", observations=observations, rewards=np.ones(12))
    _, report = passed(path)
    assert report.warnings["constant"] == {"observations": [0, 3, 4, 5, 9], "rewards": [0]}
    assert report.repairs["std_floor"] == {"observations": [0, 3, 4, 5, 9]}
    assert report.sentences[-2:] == [
        "warning: features that never change: observations 0, 3-5, 9, rewards 0",
        "repaired: a standard deviation of 0 becomes 0.001 where observations are normalised",
    ]


# Repaired


def test_other_types_and_columns(tmp_path):
    steps = steps_of(*EPISODES)
    path = made(
        tmp_path,
        observations=steps["observations"].astype(np.float64),
        rewards=steps["rewards"].astype(np.float64)[:, None],
        terminals=steps["terminals"].astype(np.int8),
    )
    rows, report = passed(path)
    assert report.repairs == {
        "converted": {"fields": {"observations": "float64", "rewards": "float64", "terminals": "int8"}},
        "squeezed": {"fields": ["rewards"]},
    }
    assert report.sentences == [
        "repaired: stored in another type than float32 or bool: "
        "observations (float64), rewards (float64), terminals (int8)",
        "repaired: a second axis of one value was taken away: rewards",
    ]
    assert np.array_equal(rows.observations, steps["observations"])
    assert rows.rewards.shape == (12,)


def test_terminal_and_timeout_counts_as_terminal(tmp_path):
    steps = steps_of((3, "both"), (4, "timeout"), (2, "both"), (2, "terminal"))
    path = write(tmp_path / "x.hdf5", steps)
    rows, report = passed(path)
    assert report.repairs == {"terminal_and_timeout": {"count": 2}}
    assert report.sentences == ["repaired: 2 steps are both terminal and timeout, and count as terminal"]
    assert np.flatnonzero(rows.terminations).tolist() == [2, 8, 10]
    rows, report = passed(path, d4rl=True)
    assert np.flatnonzero(rows.terminations).tolist() == []  # dropped, and so is the last row
    assert report.sentences == ["repaired: 2 steps are both terminal and timeout, and D4RL's rule drops them"]


@pytest.mark.parametrize("field", ["observations", "actions", "rewards", "next_observations"])
def test_dropping_episodes_is_asked_for_and_recorded(tmp_path, field):
    values = steps_of(*EPISODES)[field]
    values[5] = np.nan  # in the second episode
    path = made(tmp_path, **{field: values})
    rows, report = passed(path, on_nonfinite="drop-episode")
    assert report.repairs["dropped_episodes"] == {"episodes": 1, "rows": 4}
    assert "repaired: 1 episodes with values that are not finite were dropped, 4 rows" in report.sentences
    kept = [0, 1, 2, 7, 8, 9, 10, 11]
    clean, _ = passed(made(tmp_path))
    for name in ("observations", "actions", "rewards", "next_observations", "terminations"):
        assert np.array_equal(getattr(rows, name), getattr(clean, name)[kept]), name
    assert rows.episodes.tolist() == [0, 0, 0, 2, 2, 2, 2, 2]


def test_a_dropped_episode_is_not_said_to_be_discontinuous(tmp_path):
    observations = steps_of(*EPISODES)["observations"]
    observations[5, 0] = np.nan
    _, report = passed(made(tmp_path, observations=observations), on_nonfinite="drop-episode")
    assert report.warnings == {}


def test_nothing_is_dropped_where_all_is_finite(tmp_path):
    rows, report = passed(made(tmp_path), on_nonfinite="drop-episode")
    assert len(rows) == 12
    assert report.repairs == {}


# Rows of D4RL's qlearning_dataset


@pytest.mark.parametrize("layout", ["next_observations", "neither"])
@pytest.mark.parametrize("last", ["terminal", "timeout", "both", "cut"])
def test_d4rl_rows(tmp_path, layout, last):
    steps = steps_of((3, "terminal"), (4, "timeout"), (2, "both"), (1, "timeout"), (1, "terminal"), (3, last))
    rows, _ = passed(write(tmp_path / "x.hdf5", steps, layout), d4rl=True)
    slow = slow_d4rl_rows(steps, stored=layout == "next_observations")
    assert len(rows) == len(slow)
    for i, (s, a, r, following, d, episode) in enumerate(slow):
        assert np.array_equal(rows.observations[i], s)
        assert np.array_equal(rows.actions[i], a)
        assert (rows.rewards[i], rows.terminations[i], rows.episodes[i]) == (r, d, episode)
        assert np.array_equal(rows.next_observations[i], following)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 7))
def test_timeouts_by_count(terminals, horizon):
    """As D4RL counts, whose counter is moved on after a terminal has set it back, and not after a timeout."""
    expected, step = [], 0
    for terminal in terminals:
        final = step == horizon - 1
        expected.append(final)
        if final:
            step = 0
            continue
        if terminal:
            step = 0
        step += 1
    assert timeouts_by_count(np.array(terminals), horizon).tolist() == expected


# npz


def npz(path, fields, compressed=True):
    (np.savez_compressed if compressed else np.savez)(path, **fields)
    return path


@pytest.mark.parametrize("compressed", [True, False])
def test_npz_is_read_as_hdf5_is(tmp_path, compressed):
    steps = steps_of(*EPISODES)
    path = npz(tmp_path / "x.npz", steps, compressed)
    assert load(f"file:{path}", HOPPER).sha256 == read_hdf5(write(tmp_path / "y.hdf5", steps), "y", HOPPER).sha256


def test_npz_in_fortran_order(tmp_path):
    steps = steps_of(*EPISODES)
    other = {name: np.asfortranarray(values) for name, values in steps.items()}
    assert passed(npz(tmp_path / "x.npz", other))[0].observations.tolist() == steps["observations"].tolist()


def test_npz_with_objects_is_never_unpickled(tmp_path):
    canary = tmp_path / "canary"

    class Trap:
        def __reduce__(self):
            return (open, (str(canary), "w"))

    steps = {**steps_of(*EPISODES), "rewards": np.array([Trap()] * 12, dtype=object)}
    path = npz(tmp_path / "x.npz", steps)
    assert refused(path) == f"{path}: rewards is object, and only numbers can be read"
    assert not canary.exists()


def test_npz_whose_header_claims_more_than_there_is(tmp_path):
    path = npz(tmp_path / "x.npz", steps_of(*EPISODES))
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "y.npz", "w") as new:
        for name in old.namelist():
            new.writestr(name, buffer.getvalue() + b"\0" * 48 if name == "rewards.npy" else old.read(name))
    path = tmp_path / "y.npz"
    assert refused(path) == f"{path}: rewards has 48 bytes, and its header says (1000000000000,) of float32"


def test_npz_bomb(tmp_path):
    path = npz(tmp_path / "x.npz", {k: v for k, v in steps_of(*EPISODES).items() if k != "final_observations"})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("final_observations.npy", b"\0" * (1 << 23))
        claimed = sum(member.file_size for member in archive.infolist())
    size = path.stat().st_size
    assert size < 4000
    assert refused(path) == f"{path}: it claims {claimed} bytes of data, and {size} cannot hold them"


# Hostile HDF5


def test_hdf5_that_claims_more_than_it_can_hold(tmp_path):
    path = made(tmp_path, rewards=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("rewards", shape=(10**13,), dtype="f4", chunks=(1024,))  # nothing of it is stored
    size = path.stat().st_size
    claimed = 12 * (11 * 2 + 3) * 4 + 2 * 12 + 4 * 10**13
    assert refused(path) == f"{path}: it claims {claimed} bytes of data, and {size} cannot hold them"


@pytest.mark.parametrize("kind", ["soft", "external"])
def test_links_to_elsewhere(tmp_path, kind):
    other = write(tmp_path / "other.hdf5", steps_of(*EPISODES))
    path = made(tmp_path, rewards=None)
    with h5py.File(path, "a") as file:
        file["rewards"] = h5py.SoftLink("/terminals") if kind == "soft" else h5py.ExternalLink(other, "/rewards")
    expected = f"{path}: rewards is a link to something else, and only data in the file itself are read"
    assert refused(path) == expected


def test_data_in_another_file(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(range(48)))
    path = made(tmp_path, rewards=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("rewards", shape=(12,), dtype="f4", external=[(str(secret), 0, 48)])
    expected = f"{path}: rewards lies in another file, and only data in the file itself are read"
    assert refused(path) == expected


def test_a_virtual_dataset(tmp_path):
    other = write(tmp_path / "other.hdf5", steps_of(*EPISODES))
    layout = h5py.VirtualLayout(shape=(12,), dtype="f4")
    layout[:] = h5py.VirtualSource(other, "rewards", shape=(12,))
    path = made(tmp_path, rewards=None)
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("rewards", layout)
    assert refused(path) == f"{path}: rewards lies in another file, and only data in the file itself are read"


# A file that says what it is


def test_a_sum_beside_a_file_is_checked(tmp_path):
    path = made(tmp_path)
    subprocess.run(f"sha256sum {path.name} > {path.name}.sha256", shell=True, check=True, cwd=tmp_path)
    loaded = load_rows(f"file:{path}", HOPPER)
    assert loaded.file_sha256 == (tmp_path / "x.hdf5.sha256").read_text().split()[0]
    content = bytearray(path.read_bytes())
    content[-3] ^= 4  # a bit of the data, which HDF5 itself does not notice
    path.write_bytes(content)
    read_hdf5(path, "x", HOPPER)
    with pytest.raises(IntegrityError) as raised:
        load(f"file:{path}", HOPPER)
    expected = (tmp_path / "x.hdf5.sha256").read_text()[:16]
    assert str(raised.value).startswith(f"{path}: its SHA-256 is ")
    assert str(raised.value).endswith(f"..., and x.hdf5.sha256 says {expected}...")
    for text in ("", "SHA256 (x.hdf5) = abc", "ä"):
        (tmp_path / "x.hdf5.sha256").write_text(text)
        with pytest.raises(IntegrityError, match=r"x\.hdf5\.sha256: it holds no SHA-256 as sha256sum writes it$"):
            load(f"file:{path}", HOPPER)


# Names


@pytest.mark.parametrize("name", ["../hopper-replay", "/etc/passwd", "hopper-replay/../hopper-replay", "."])
def test_names_of_shipped_datasets_are_looked_up_and_no_paths(name):
    with pytest.raises(UsageError, match=r"^unknown dataset "):
        load(name)


def test_nul(tmp_path):
    with pytest.raises(UsageError) as raised:
        load("file:x\0.hdf5", HOPPER)
    assert str(raised.value) == "--dataset 'file:x\\x00.hdf5' has a character in it that cannot be printed"


def test_an_unknown_source():
    with pytest.raises(UsageError) as raised:
        load("d4r:hopper-medium-v2")
    assert str(raised.value) == "unknown source of data 'd4r': known are d4rl, file, minari (did you mean 'd4rl'?)"


# Fuzz

FUZZED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a file of each kind, and the SHA-256 of its data."""
    folder = tmp_path_factory.mktemp("sound")
    steps = steps_of(*EPISODES)
    paths = {"hdf5": write(folder / "x.hdf5", steps), "npz": npz(folder / "x.npz", steps)}
    return {kind: (path.read_bytes(), load(f"file:{path}", HOPPER).sha256) for kind, path in paths.items()}


@pytest.mark.parametrize("kind", ["hdf5", "npz"])
@FUZZED
@given(**DAMAGE)
def test_damaged_files(sound, tmp_path, kind, cut, flips):
    """An error of ours or data, never another exception; with the sum beside the file never other data."""
    content, sha256 = sound[kind]
    path = tmp_path / f"x.{kind}"
    path.write_bytes(damaged(content, cut, flips))
    (tmp_path / f"{path.name}.sha256").unlink(missing_ok=True)
    with suppress(CorruptBenchError, MemoryError):
        load(f"file:{path}", HOPPER)
    (tmp_path / f"{path.name}.sha256").write_text(hashlib.sha256(content).hexdigest())
    try:
        assert load(f"file:{path}", HOPPER).sha256 == sha256
        assert path.read_bytes() == content
    except IntegrityError:
        assert path.read_bytes() != content


# The command


def run(*arguments, capsys):
    code = main(["data", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_check_prints_what_the_gate_saw(tmp_path, capsys):
    actions = steps_of(*EPISODES)["actions"]
    actions[4, 1] = 1.5
    path = made(tmp_path, actions=actions)
    code, out, _ = run("check", f"file:{path}", "--env", "Hopper-v5", capsys=capsys)
    assert code == 0
    assert out.splitlines()[:2] == [
        "file:x.hdf5: sound, 12 transitions for Hopper-v5",
        "warning: 1 action values lie outside their bounds, the first in row 4, the largest at 1.5 times the bound",
    ]
    code, out, _ = run("check", f"file:{path}", "--env", "Hopper-v5", "--json", capsys=capsys)
    assert json.loads(out)["warnings"] == {"actions_out_of_bounds": {"count": 1, "largest": 1.5}}


def test_every_verb_tells_what_the_gate_warned_of(tmp_path, capsys):
    actions = steps_of(*EPISODES)["actions"]
    actions[4, 1] = 1.5
    path = made(tmp_path, actions=actions)
    for verb in (("info", f"file:{path}"), ("convert", f"file:{path}", tmp_path / "y.hdf5")):
        code, _, err = run(*verb, "--env", "Hopper-v5", capsys=capsys)
        assert code == 0
        assert "file:x.hdf5: warning: 1 action values lie outside their bounds" in err
    source = ["--dataset", f"file:{path}", "--env", "Hopper-v5"]
    assert main(["corrupt", *source, "--corrupt", "rew-adv", "--out", str(tmp_path / "z.hdf5")]) == 0
    assert "file:x.hdf5: warning: 1 action values lie outside their bounds" in capsys.readouterr().err


def test_check_refuses_with_3(tmp_path, capsys):
    path = made(tmp_path, rewards=None)
    code, out, err = run("check", f"file:{path}", "--env", "Hopper-v5", capsys=capsys)
    assert (code, out) == (3, "")
    assert err == f"corruptbench data: {path}: the key 'rewards' is missing\n"


def test_check_drops_only_when_told(tmp_path, capsys):
    rewards = steps_of(*EPISODES)["rewards"]
    rewards[5] = np.inf
    path = made(tmp_path, rewards=rewards)
    code, _, err = run("check", f"file:{path}", "--env", "Hopper-v5", capsys=capsys)
    assert code == 3
    assert err.endswith("rewards has 1 values that are not finite in float32, the first in row 5\n")
    code, out, _ = run("check", f"file:{path}", "--env", "Hopper-v5", "--on-nonfinite", "drop-episode", capsys=capsys)
    assert code == 0
    assert "repaired: 1 episodes with values that are not finite were dropped, 4 rows" in out


def test_a_command_in_a_process_of_its_own(tmp_path):
    """Exit codes as a shell sees them, and no traceback."""
    path = made(tmp_path, rewards=None)
    command = [sys.executable, "-m", "corruptbench", "data", "check", f"file:{path}", "--env", "Hopper-v5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"corruptbench data: {path}: the key 'rewards' is missing\n"
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("drop", [False, True])
def test_float32_of_an_npz_is_copied_before_rows_are_taken_out(tmp_path, drop):
    """Its arrays are read-only, and without next observations the timeout rows are dropped in place."""
    steps = {
        name: values.astype(np.float32) if values.dtype == float else values
        for name, values in steps_of(*EPISODES).items()
    }
    if drop:
        steps["rewards"] = steps["rewards"].astype(np.float32)
        steps["rewards"][5] = np.nan
    for name in ("next_observations", "final_observations"):
        steps.pop(name, None)
    np.savez(tmp_path / "x.npz", **steps)
    found = load(
        f"file:{tmp_path / 'x.npz'}", environment("Hopper-v5"), on_nonfinite="drop-episode" if drop else "refuse"
    )
    assert 0 < len(found) < len(steps["rewards"])
