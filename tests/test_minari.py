"""Minari's datasets against Minari's own reader, every way they can be unsound or hostile, and the way back."""

import errno
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import types
import warnings
from contextlib import suppress
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
from builders_steps import DAMAGE, damaged
from gymnasium.spaces import Box, Dict, Discrete, Text, Tuple, flatten
from hypothesis import given, settings

from corruptbench.data import minari as ours
from corruptbench.data.minari import remote, tables
from corruptbench.errors import (
    CorruptBenchError,
    DataError,
    IntegrityError,
    NetworkError,
    ResourceError,
    UsageError,
    shown,
)

ID = "mujoco/hopper/tiny-v0"
FIELDS = ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts")
WIDE = Box(-np.inf, np.inf, (4,), np.float64)
ACTIONS = Box(-1, 1, (2,), np.float32)
DICT = Dict({"position": WIDE, "goals": Dict({"b": Box(-1, 1, (1,)), "a": Box(-1, 1, (2, 2))})})


@pytest.fixture
def root(tmp_path):
    return tmp_path / "datasets"


@pytest.fixture
def read(tmp_path, root):
    return lambda dataset_id=ID, **options: ours.read(dataset_id, root=root, cache=tmp_path / "cache", **options)


def episode(rng, space, length, ending="terminal", **changed):
    """Arrays as Minari's buffer takes them; ``neither``: no flag at the end."""

    def visited(space):
        if isinstance(space, Dict):
            return {key: visited(below) for key, below in space.spaces.items()}
        return rng.normal(size=(length + 1, *space.shape)).astype(space.dtype)

    last = np.arange(length) == length - 1
    arrays = {
        "observations": visited(space),
        "actions": rng.uniform(-1, 1, (length, 2)).astype(np.float32),
        "rewards": rng.normal(size=length),
        "terminations": last & (ending in ("terminal", "both")),
        "truncations": last & (ending in ("timeout", "both")),
    }
    return arrays | changed


def made(root, episodes, space=WIDE, actions=ACTIONS, dataset_id=ID, **options):
    """A dataset of Minari's own making; the path of its data."""
    import minari

    root.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        buffers = [minari.data_collector.EpisodeBuffer(**arrays) for arrays in episodes]
        minari.create_dataset_from_buffers(
            dataset_id, buffers, observation_space=space, action_space=actions, **options
        )
    return root / dataset_id / "data"


def tiny(root, space=WIDE, **options):
    rng = np.random.default_rng(0)
    lengths = [(3, "terminal"), (1, "timeout"), (5, "neither"), (2, "both"), (4, "timeout")]
    lengths += [(2, "timeout")] * 7  # twelve in all: episode_10 is not the second one
    return made(root, [episode(rng, space, *end) for end in lengths], space, **options)


def slow(data, space=WIDE):
    """Minari's own reader, one step at a time."""
    import minari

    rows = {name: [] for name in FIELDS}
    for found in minari.MinariDataset(data).iterate_episodes():
        count = len(found.rewards)
        for t in range(count):
            if isinstance(space, Dict):
                here, there = (flatten(space, _step(found.observations, i)).astype(np.float64) for i in (t, t + 1))
            else:
                here, there = found.observations[t], found.observations[t + 1]
            terminal, truncated = bool(found.terminations[t]), bool(found.truncations[t])
            values = (here, found.actions[t], found.rewards[t], there, terminal)
            timeout = truncated or (t == count - 1 and not terminal)
            for name, value in zip(FIELDS, (*values, timeout), strict=True):
                rows[name].append(value)
    return {name: np.array(values) for name, values in rows.items()}


def _step(observations, i):
    return {key: _step(below, i) if isinstance(below, dict) else below[i] for key, below in observations.items()}


def assert_same(fields, expected):
    assert tuple(fields) == FIELDS
    for name in FIELDS:
        assert fields[name].dtype == expected[name].dtype, name
        assert fields[name].shape == expected[name].shape, name
        assert fields[name].tobytes() == expected[name].tobytes(), name


def message(error, call, *arguments, **options):
    with pytest.raises(error) as raised:
        call(*arguments, **options)
    assert type(raised.value) is error
    text = str(raised.value)
    assert "\n" not in text
    return text


def change(data, **values):
    """Sets keys of metadata.json, takes away those that are None."""
    path = data / "metadata.json"
    metadata = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in metadata.items() if value is not None}))


# Rows


@pytest.mark.parametrize("space", [WIDE, DICT], ids=["box", "dict"])
def test_rows_are_those_of_minari(root, read, space):
    data = tiny(root, space)
    fields, _ = read()
    assert_same(fields, slow(data, space))
    assert len(fields["rewards"]) == 29
    assert fields["observations"].shape == (29, 4 if space is WIDE else 9)
    # By hand: episodes of 3, 1, 5, 2, 4 and seven times 2 steps, the third without a flag, the fourth with both.
    assert np.flatnonzero(fields["terminals"]).tolist() == [2, 10]
    assert np.flatnonzero(fields["timeouts"]).tolist() == [3, 8, 10, 14, *range(16, 29, 2)]


def test_types_are_as_stored(root, read):
    rng = np.random.default_rng(1)
    whole = [episode(rng, WIDE, 3, rewards=np.array([1, 2, 3])), episode(rng, WIDE, 2, rewards=np.array([4, 5]))]
    data = made(root, whole)
    fields, _ = read()
    assert {name: str(fields[name].dtype) for name in FIELDS} == {
        "observations": "float64",
        "actions": "float32",
        "rewards": "int64",
        "next_observations": "float64",
        "terminals": "bool",
        "timeouts": "bool",
    }
    assert fields["rewards"].tolist() == [1, 2, 3, 4, 5]
    with h5py.File(data / "main_data.hdf5", "a") as file:  # as Minari stores rewards that are whole by chance
        del file["episode_1/rewards"]
        file["episode_1/rewards"] = [4.5, 5.5]
    shutil.rmtree(root.parent / "cache")
    fields, _ = read()
    assert fields["rewards"].tolist() == [1, 2, 3, 4.5, 5.5]


def test_infos_are_never_read(root, read):
    data = tiny(root)
    with h5py.File(data / "main_data.hdf5", "a") as file:
        file["episode_0/infos/x"] = h5py.ExternalLink("nowhere.hdf5", "/x")
    assert len(read()[0]["rewards"]) == 29


OTHERS = ["arrow", "parquet"]


@pytest.mark.parametrize("space", [WIDE, DICT], ids=["box", "dict"])
@pytest.mark.parametrize("stored_as", OTHERS)
def test_other_formats_go_through_minari(root, read, stored_as, space):
    data = tiny(root, space, data_format=stored_as)
    fields, sha256 = read()
    assert_same(fields, slow(data, space))
    tables = sorted(path for path in data.rglob(f"*.{stored_as}"))
    assert len(tables) == 12
    said = subprocess.run(["sha256sum", *(t.relative_to(data) for t in tables)], cwd=data, capture_output=True)
    assert sha256 == hashlib.sha256(said.stdout).hexdigest()
    change(data, total_steps=30)
    assert message(DataError, read) == f"{data}: its total_steps are 29, and metadata.json says 30"
    change(data, total_steps=29, minari_version="99.0.0")
    assert message(DataError, read).startswith(f"{data}: not readable by Minari: ValueError: The installed Minari ")
    for target in (root.parent, data / "0"):  # Arrow would follow either, and what lies there is not noted
        (data / "more").symlink_to(target)
        assert message(DataError, read) == f"{data / 'more'}: it is no regular file, and tables lie in such ones"
        (data / "more").unlink()
    odd = data / "a\nb"
    odd.touch()
    expected = f"{data}: {odd.name!r} is no name of a table: letters, digits, ., - and _ are allowed"
    assert message(DataError, read) == expected
    odd.unlink()
    with suppress(OSError):  # where the file system takes such a name
        Path(os.fsdecode(os.fsencode(data) + b"/\xff")).touch()
        assert "is no name of a table" in message(DataError, read)


@pytest.mark.parametrize("stored_as", OTHERS)
def test_other_formats_stay_what_they_were(root, read, tmp_path, stored_as):
    data = tiny(root, data_format=stored_as)
    read()
    table = next(data.glob(f"4/*.{stored_as}"))
    whole = table.read_bytes()
    (data / "4" / "metadata.json").write_text("{}")  # says nothing of the data, and is not noted
    read()
    rng = np.random.default_rng(0)
    for number in range(20):
        table.write_bytes(damaged(whole, 0, [(int(rng.integers(len(whole))), int(rng.integers(8)))]))
        assert message(IntegrityError, read).startswith(f"{data}: its SHA-256 begins with ")
        if number < 2:
            with suppress(CorruptBenchError):  # as unknown data it is read, or refused with a sentence
                ours.read(ID, root=root, cache=tmp_path / f"nothing noted {number}")
    table.unlink()
    assert message(IntegrityError, read).startswith(f"{data}: its SHA-256 begins with ")
    table.write_bytes(whole)
    read()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded where the system has /proc")
@pytest.mark.parametrize("stored_as", OTHERS)
def test_a_small_table_that_unpacks_to_much(root, read, monkeypatch, stored_as):
    """Ten million rows of zeros, 500 MB, in the place of four."""
    import pyarrow
    from pyarrow import dataset, ipc, parquet

    data = tiny(root, data_format=stored_as)
    path, count = next(data.glob(f"4/*.{stored_as}")), 10_000_000
    columns = {}
    for field in dataset.dataset(path, format=stored_as).schema:
        if pyarrow.types.is_fixed_size_list(field.type):
            zeros = np.zeros(count * field.type.list_size, field.type.value_type.to_pandas_dtype())
            columns[field.name] = pyarrow.FixedSizeListArray.from_arrays(zeros, field.type.list_size)
        else:
            columns[field.name] = np.zeros(count, field.type.to_pandas_dtype())
    table = pyarrow.table(columns)
    if stored_as == "arrow":
        with ipc.new_file(path, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as file:
            file.write_batch(table.to_batches()[0])
    else:
        parquet.write_table(table, path, compression="zstd", row_group_size=count)
    size = sum(each.stat().st_size for each in data.rglob(f"*.{stored_as}"))
    assert size < 1 << 19
    monkeypatch.setattr(tables, "ROOM", 1 << 27)
    monkeypatch.setattr(tables, "available_memory", lambda: None)
    most = (1 << 27) + 200 * size
    assert message(DataError, read) == f"{data}: its {stored_as} files unpack to more than {most} bytes of memory"
    monkeypatch.setattr(tables, "available_memory", lambda: most - 1)  # of this machine, and no fault of theirs
    expected = (
        f"{data}: its {stored_as} files unpack to more than {most - 1} bytes of memory, which are all that is free"
    )
    assert message(ResourceError, read) == expected


def test_what_crashes_arrow_is_a_sentence(root, read, monkeypatch, tmp_path):
    data = tiny(root, data_format="arrow")
    (tmp_path / "pyarrow.py").write_text("import os\nprint('out of order', flush=True)\nos.abort()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tables, "available_memory", lambda: None)
    most = tables.ROOM + 200 * sum(each.stat().st_size for each in data.rglob("*.arrow"))
    expected = f"{data}: reading its arrow files within {most} bytes of memory ended with SIGABRT; it last wrote: "
    assert message(DataError, read) == f"{expected}'out of order'"


def test_no_room_for_what_was_read(root, read, monkeypatch, tmp_path):
    tiny(root, data_format="arrow")
    (tmp_path / "safe").mkdir()
    (tmp_path / "safe" / "sitecustomize.py").write_text(
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "safe")
    assert message(ResourceError, read).endswith(": could not be written: File too large")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert "no process to read it could be provided for: " in message(ResourceError, read)


def test_episodes_that_minari_reads_in_pieces(root, read):
    rng = np.random.default_rng(0)
    data = made(root, [episode(rng, WIDE, 40_000), episode(rng, WIDE, 5)], data_format="arrow")
    expected = f"{data}: Minari reads episodes of more than 32767 steps wrongly from arrow: use HDF5"
    assert message(DataError, read) == expected
    made(root, [episode(rng, WIDE, 32_767), episode(rng, WIDE, 5)], dataset_id="most/x-v0", data_format="arrow")
    assert len(read("most/x-v0")[0]["rewards"]) == 32_772


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_the_child_ends_with_its_parent(root, tmp_path):
    tiny(root, data_format="arrow")
    (tmp_path / "slow").mkdir()
    body = f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))"
    (tmp_path / "slow" / "pyarrow.py").write_text(f"import os, pathlib, time\n{body}\ntime.sleep(60)\n")
    code = f"import pathlib; from corruptbench.data.minari import read; read({ID!r}, root=pathlib.Path({str(root)!r}), "
    code += f"cache=pathlib.Path({str(tmp_path)!r}))"
    paths = os.pathsep.join([str(tmp_path / "slow"), *sys.path])
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths})
    written = tmp_path / "pid"
    while not (written.is_file() and written.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{written.read_text()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_other_formats_need_pyarrow(root, read, monkeypatch, tmp_path):
    data = tiny(root, data_format="parquet")
    (tmp_path / "pyarrow.py").write_text("raise ImportError\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert message(UsageError, read) == f"{data}: parquet data need pyarrow: pip install 'minari[arrow]'"


# Nothing is run


@pytest.mark.parametrize("stored_as", ["hdf5", *OTHERS])
@pytest.mark.parametrize("spaces", ["given", "missing"])
def test_an_entry_point_is_never_called(root, read, tmp_path, monkeypatch, stored_as, spaces):
    canary = tmp_path / "canary"
    (tmp_path / "hostile_module.py").write_text(f"open({str(canary)!r}, 'w').close()\nmake = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    data = tiny(root, data_format=stored_as)
    spec = gymnasium.envs.registration.EnvSpec(id="Hostile-v0", entry_point="hostile_module:make").to_json()
    change(data, env_spec=spec, eval_env_spec=spec)
    if spaces == "missing":  # Minari would make the environment to learn them
        change(data, observation_space=None)
        assert message(DataError, read) == f"{data / 'metadata.json'}: the key 'observation_space' is missing"
    else:
        assert len(read()[0]["rewards"]) == 29
    assert not canary.exists()
    with pytest.raises(TypeError):  # what it would have been
        gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(spec))
    assert canary.exists()
    del sys.modules["hostile_module"]


def test_reading_hdf5_does_not_even_import_minari(root, tmp_path):
    tiny(root)
    code = (
        "import sys, pathlib; from corruptbench.data.minari import read\n"
        f"read({ID!r}, root=pathlib.Path({str(root)!r}), cache=pathlib.Path({str(tmp_path)!r}))\n"
        "assert 'minari' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Ids and places


@pytest.mark.parametrize(
    "name",
    ["", "-v0/", "/etc/x-v0", "../x-v0", "a/../x-v0", "a//x-v0", "./x-v0", "a b-v0", "x-v0\0", "x-v0\n", "é-v0",
     "x-v٣", "x-v", "x.y-v0", "~/x-v0", "C:\\x-v0", "x" * 198 + "-v0"],
)  # fmt: skip
@pytest.mark.parametrize("call", ["read", "write"])
def test_what_is_no_id(root, read, name, call):
    expected = (
        f"{shown(name)} is no Minari id: allowed are names of letters, digits, - and _ with / between them and "
        "a version at the end, as mujoco/hopper/medium-v0, up to 200 characters"
    )
    if name == "x-v":
        expected = "minari:x-v lacks the version at its end, as in minari:x-v-v0"
    assert message(UsageError, read if call == "read" else put(root), name) == expected
    assert not root.exists()


def test_an_id_without_its_version(root, read):
    for call in (read, put(root)):
        expected = "minari:mujoco/hopper lacks the version at its end, as in minari:mujoco/hopper-v0"
        assert message(UsageError, call, "mujoco/hopper") == expected


def test_a_dataset_that_is_not_there(root, read):
    assert message(DataError, read) == f"minari:{ID} is not in {root}: --download fetches it"
    tiny(root, dataset_id="mujoco/hopper/tiny-v1")
    expected = f"minari:{ID} is not in {root} (did you mean 'mujoco/hopper/tiny-v1'?): --download fetches it"
    assert message(DataError, read) == expected


def test_local_ids(root, monkeypatch):
    assert ours.local_ids(root) == []
    names = ["a_b-v2", "mujoco/hopper/tiny-v0", "mujoco/hopper/tiny-v10"]
    for name in (*names, ".hidden/x-v0", "no-version", "."):
        (root / name / "data").mkdir(parents=True)
        (root / name / "data" / "metadata.json").touch()
    (root / "data" / "metadata.json").unlink()
    (root / "half-v0" / "data").mkdir(parents=True)
    (root / "linked-v0").symlink_to(root / "a_b-v2")
    assert ours.local_ids(root) == names
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    assert ours.local_ids() == names
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    monkeypatch.setenv("HOME", str(root))
    assert ours.default_root() == root / ".minari" / "datasets"


@pytest.mark.parametrize("linked", ["main_data.hdf5", "metadata.json", "data", "dataset", "namespace", "circle"])
def test_links_that_leave_the_root(root, read, tmp_path, linked):
    data = tiny(root)
    place = {"data": data, "dataset": data.parent, "namespace": root / "mujoco"}.get(linked, data / linked)
    if linked == "circle":
        place = data / "metadata.json"
        place.unlink()
        place.symlink_to(place)
    else:
        shutil.move(place, tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
    shown = place if place.parent == data else data
    assert message(DataError, read) == f"{shown}: a link on the way to it does not stay below {root}"


def test_links_inside_the_root_and_to_it_are_followed(root, read, tmp_path):
    data = tiny(root)
    shutil.move(data / "main_data.hdf5", root / "store")
    (data / "main_data.hdf5").symlink_to(root / "store")
    shutil.move(root, tmp_path / "disk")
    root.symlink_to(tmp_path / "disk")
    assert len(read()[0]["rewards"]) == 29


@pytest.mark.parametrize("name", ["main_data.hdf5", "metadata.json"])
@pytest.mark.parametrize("instead", ["nothing", "a folder", "a pipe"])
def test_a_file_that_is_none(root, read, name, instead):
    path = tiny(root) / name
    path.unlink()
    if instead == "a folder":
        path.mkdir()
    elif instead == "a pipe":
        os.mkfifo(path)
    assert message(DataError, read) == f"{path}: there is no such file"


# SHA-256


def test_the_file_is_the_one_of_the_first_read(root, read, tmp_path):
    path = tiny(root) / "main_data.hdf5"
    record = tmp_path / "cache" / "sha256" / "minari" / "mujoco/hopper/tiny-v0.json"
    _, sha256 = read()
    assert json.loads(record.read_text())["sha256"] == sha256
    assert read()[1] == sha256
    with h5py.File(path, "a") as file:
        file["episode_0/rewards"][0] += 1
    assert message(IntegrityError, read).startswith(f"{path}: ")
    path.write_bytes(b"not at all")  # what was recorded is asked before anything is read
    assert message(IntegrityError, read).startswith(f"{path}: ")


def test_a_file_that_cannot_be_read_is_not_recorded(root, read, tmp_path):
    path = tiny(root) / "main_data.hdf5"
    content = path.read_bytes()
    path.write_bytes(content[:3000])
    message(DataError, read)
    assert not (tmp_path / "cache").exists()
    path.write_bytes(content)
    assert len(read()[0]["rewards"]) == 29


# Metadata


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "not readable as JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b'{"a": 1, "a": 2}', "not readable as JSON: a key stands twice"),
        (b'{"a": NaN}', "not readable as JSON: NaN is not a number"),
        (b"[" * 100_000, "not readable as JSON: lists and objects lie more than 64 deep in each other"),
        (b"\xff", "not readable as JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"[]", "it is no JSON object"),
        (b"{}", "the key 'observation_space' is missing"),
    ],
)  # fmt: skip
def test_metadata_that_cannot_be_read(root, read, content, problem):
    path = tiny(root) / "metadata.json"
    path.write_bytes(content)
    assert message(DataError, read) == f"{path}: {problem}"


@pytest.mark.parametrize("key", ["observation_space", "action_space"])
@pytest.mark.parametrize(
    "value",
    ["{", "[]", "3", "{}", '{"type": "Box"}', '{"type": "Box", "shape": 3}', '{"type": "Box", "shape": [-1]}',
     '{"type": "Box", "shape": [1.5]}', '{"type": "Box", "shape": [true]}', '{"type": "Dict"}',
     '{"type": "Dict", "subspaces": {"a/b": {"type": "Box", "shape": [1]}}}', "[" * 100_000, 5,
     '{"type": "Dict", "subspaces": {".": {"type": "Box", "shape": [1]}}}'],
)  # fmt: skip
def test_spaces_that_are_none(root, read, key, value):
    data = tiny(root)
    change(data, **{key: value})
    assert message(DataError, read) == f"{data / 'metadata.json'}: {key} describes no space"


@pytest.mark.parametrize("value", ['{"type": "Box", "shape": [0]}', '{"type": "Dict", "subspaces": {}}'])
def test_spaces_without_values(root, read, value):
    data = tiny(root)
    change(data, observation_space=value)
    assert message(DataError, read) == f"{data / 'metadata.json'}: observation_space has no values"


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        (Discrete(3), "observations is Discrete"),
        (Text(3), "observations is Text"),
        (Tuple([WIDE, WIDE]), "observations is Tuple"),
        (Box(0, 255, (64, 64, 3), np.uint8), "observations is an image"),
        (Dict({"a": WIDE, "b": Discrete(3)}), "observations/b is Discrete"),
    ],
    ids=str,
)
def test_spaces_that_are_refused(root, read, space, problem):
    from minari.serialization import serialize_space

    data = tiny(root)
    change(data, observation_space=serialize_space(space))
    expected = f"{data / 'metadata.json'}: {problem}, and only a Box or a Dict of them can be read"
    assert message(DataError, read) == expected


def test_actions_are_a_box(root, read):
    from minari.serialization import serialize_space

    data = tiny(root)
    change(data, action_space=serialize_space(Discrete(3)))
    expected = f"{data / 'metadata.json'}: actions is Discrete, and only a Box or a Dict of them can be read"
    assert message(DataError, read) == expected
    change(data, action_space=serialize_space(Dict({"a": ACTIONS})))
    expected = f"{data / 'metadata.json'}: actions are a Dict, and only a Box can be read"
    assert message(DataError, read) == expected


@pytest.mark.parametrize("value", ["zarr", None, 3, ["hdf5"]])
def test_an_unknown_format(root, read, value):
    data = tiny(root)
    change(data, data_format=value)
    if value is None:  # change takes it away, and HDF5 is what Minari began with
        assert len(read()[0]["rewards"]) == 29
        return
    expected = f"{data / 'metadata.json'}: data_format is {value!r}, allowed are arrow, hdf5, parquet"
    assert message(DataError, read) == expected


@pytest.mark.parametrize(("key", "found"), [("total_episodes", 12), ("total_steps", 29)])
@pytest.mark.parametrize("value", [0, 13, "12", [12]])
def test_totals_that_do_not_agree(root, read, key, found, value):
    data = tiny(root)
    change(data, **{key: value})
    expected = f"{data / 'main_data.hdf5'}: its {key} are {found}, and metadata.json says {value!r}"
    assert message(DataError, read) == expected


def test_totals_may_be_missing(root, read):
    change(tiny(root), total_steps=None, total_episodes=None)
    assert len(read()[0]["rewards"]) == 29


# The file


@pytest.fixture
def broken(root, read):
    """Changes episode_3 of a tiny dataset (two steps) and returns what reading says of it, after file and episode."""

    def refusal(space=WIDE, **values):
        path = tiny(root, space) / "main_data.hdf5"
        with h5py.File(path, "a") as file:
            for name, value in values.items():
                place = f"episode_3/{name}" if name != "episode" else "episode_3"
                del file[place]
                if value is not None:
                    file[place] = value
        text = message(DataError, read)
        assert text.startswith(f"{path}: ")
        return text.removeprefix(f"{path}: ")

    return refusal


@pytest.mark.parametrize("name", ["observations", "actions", "rewards", "terminations", "truncations"])
def test_arrays_that_are_missing_or_none(broken, root, name):
    assert broken(**{name: None}) == f"episode_3: {name} is missing"
    shutil.rmtree(root)
    assert broken(**{name: h5py.SoftLink(f"/episode_2/{name}")}) == (
        f"episode_3: {name} is a link to something else, and only data in the file itself are read"
    )
    shutil.rmtree(root)
    assert broken(**{name: h5py.ExternalLink("/etc/passwd", "/x")}) == (
        f"episode_3: {name} is a link to something else, and only data in the file itself are read"
    )
    shutil.rmtree(root)
    assert broken(**{name: np.dtype("f4")}) == f"episode_3: {name} is no array"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("observations", np.zeros((2, 4)), "observations has shape (2, 4), and 2 rewards need (3, 4)"),
        ("observations", np.zeros((4, 4)), "observations has shape (4, 4), and 2 rewards need (3, 4)"),
        ("observations", np.zeros((3, 5)), "observations has shape (3, 5), and 2 rewards need (3, 4)"),
        ("observations", np.zeros(12), "observations has shape (12,), and 2 rewards need (3, 4)"),
        ("actions", np.zeros((3, 2)), "actions has shape (3, 2), and 2 rewards need (2, 2)"),
        ("actions", 1.0, "actions has shape (), and 2 rewards need (2, 2)"),
        ("actions", h5py.Empty("f4"), "actions has shape None, and 2 rewards need (2, 2)"),
        ("terminations", np.zeros(1, bool), "terminations has shape (1,), and 2 rewards need (2,)"),
        ("truncations", np.zeros((2, 1), bool), "truncations has shape (2, 1), and 2 rewards need (2,)"),
        ("rewards", np.zeros((2, 1)), "rewards has shape (2, 1), and 2 rewards need (2,)"),
        ("actions", np.zeros((2, 2), complex), "actions is complex128, and only numbers can be read"),
        ("actions", np.full((2, 2), b"ab"), "actions is |S2, and only numbers can be read"),
        ("rewards", ["a", "b"], "rewards is object, and only numbers can be read"),
        ("terminations", np.array([0, 2]), "terminations has values that are neither 0 nor 1"),
        ("truncations", np.array([0, np.nan]), "truncations has values that are neither 0 nor 1"),
        ("truncations", np.array([0, 2], np.uint8).view(bool), "truncations has values that are neither 0 nor 1"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit(broken, name, value, problem):
    assert broken(**{name: value}) == f"episode_3: {problem}"


@pytest.mark.parametrize("value", [np.zeros(0), 1.0, h5py.Empty("f4")], ids=["none", "scalar", "empty"])
def test_an_episode_without_steps(broken, value):
    assert broken(rewards=value) == "episode_3 has no step"


def test_flags_may_be_numbers(root, read):
    data = tiny(root)
    expected = slow(data)
    with h5py.File(data / "main_data.hdf5", "a") as file:
        for name in ("terminations", "truncations"):
            values = file[f"episode_3/{name}"][...].astype(np.float32)
            del file[f"episode_3/{name}"]
            file[f"episode_3/{name}"] = values
    assert_same(read()[0], expected)


@pytest.mark.parametrize("field", ["terminations", "truncations"])
def test_an_episode_that_goes_on_after_its_end(broken, field):
    flags = np.zeros(2, bool)
    flags[0] = True
    assert broken(**{field: flags}) == "episode_3: it goes on after a step that is terminated or truncated"


def test_two_ids_have_two_notes(root, read):
    """``one__two`` and ``one/two`` are two datasets."""
    noted = []
    for seed, dataset_id in enumerate(("one__two-v0", "one/two-v0")):
        made(root, [episode(np.random.default_rng(seed), WIDE, 3)], dataset_id=dataset_id)
        noted.append(read(dataset_id)[1])
        assert read(dataset_id)[1] == noted[-1]
    assert noted[0] != noted[1]


def test_dict_observations_that_do_not_fit(broken, root):
    assert broken(DICT, **{"observations/goals/a": None}) == "episode_3/observations/goals: a is missing"
    shutil.rmtree(root)
    assert broken(DICT, **{"observations/goals": np.zeros(3)}) == "episode_3/observations: goals is no group"
    shutil.rmtree(root)
    assert broken(DICT, **{"observations/goals": h5py.SoftLink("/episode_2/observations/goals")}) == (
        "episode_3/observations: goals is a link to something else, and only data in the file itself are read"
    )
    shutil.rmtree(root)
    assert broken(DICT, **{"observations/goals/a": np.zeros((3, 4))}) == (
        "episode_3: observations/goals/a has shape (3, 4), and 2 rewards need (3, 2, 2)"
    )


def test_episodes_that_are_missing_or_none(broken, root):
    assert broken(episode=None) == "episode_3 is missing, and 11 episodes are there"
    shutil.rmtree(root)
    assert broken(episode=np.zeros(3)) == "episode_3 is no group"
    shutil.rmtree(root)
    assert broken(episode=h5py.SoftLink("/episode_2")) == (
        "episode_3 is a link to something else, and only data in the file itself are read"
    )


def test_no_episode(root, read):
    path = tiny(root) / "main_data.hdf5"
    h5py.File(path, "w").close()
    assert message(DataError, read) == f"{path}: there is no episode in it"


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_data_in_another_file(root, read, tmp_path, kind):
    path = tiny(root) / "main_data.hdf5"
    (tmp_path / "secret").write_bytes(bytes(1000))
    with h5py.File(path, "a") as file:
        del file["episode_3/rewards"]
        if kind == "external":
            file.create_dataset("episode_3/rewards", (2,), "f8", external=[(str(tmp_path / "secret"), 0, 16)])
        else:
            layout = h5py.VirtualLayout((2,), "f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret"), "x", (2,))
            file.create_virtual_dataset("episode_3/rewards", layout)
    expected = f"{path}: episode_3: rewards lies in another file, and only data in the file itself are read"
    assert message(DataError, read) == expected


def test_more_data_than_the_file_can_hold(root, read):
    data = tiny(root)
    path, count = data / "main_data.hdf5", 10**12
    with h5py.File(path, "a") as file:
        for name, shape in (("observations", (count + 1, 4)), ("rewards", (count,))):
            del file[f"episode_3/{name}"]
            file.create_dataset(f"episode_3/{name}", shape, "f8", chunks=True)
    change(data, total_steps=None)
    claimed = 8 * (count + 27) * 9
    expected = f"{path}: it claims {claimed} bytes of data, and {path.stat().st_size} cannot hold them"
    assert message(DataError, read) == expected


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A dataset's root and the bytes of its file."""
    root = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(0)
    data = made(root, [episode(rng, WIDE, length) for length in (3, 5)])
    return root, data / "main_data.hdf5", (data / "main_data.hdf5").read_bytes()


@settings(max_examples=60, deadline=None)
@given(**DAMAGE)
def test_fuzzed_files(sound, tmp_path_factory, cut, flips):
    """An error of ours or data, never another exception; what was read once before is never other data."""
    root, path, content = sound
    cache = tmp_path_factory.mktemp("cache")
    path.write_bytes(content)
    clean, _ = ours.read(ID, root=root, cache=cache)
    bad = damaged(content, cut, flips)
    path.write_bytes(bad)
    try:
        found, _ = ours.read(ID, root=root, cache=cache)
        assert bad == content
        assert all(np.array_equal(found[field], clean[field]) for field in FIELDS)
    except IntegrityError:
        assert bad != content
    with suppress(CorruptBenchError, MemoryError):
        ours.read(ID, root=root, cache=tmp_path_factory.mktemp("unknown"))


def test_damaged_files(root, read):
    path = tiny(root) / "main_data.hdf5"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    path.write_bytes(whole[: len(whole) // 2])
    assert message(DataError, read).startswith(f"{path}: not readable as HDF5: ")
    path.write_bytes(b"")
    assert message(DataError, read).startswith(f"{path}: not readable as HDF5: ")
    for _ in range(60):  # what still can be read is read, everything else is one sentence
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 200):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        shutil.rmtree(root.parent / "cache", ignore_errors=True)
        problem = None
        try:
            read()
        except DataError as error:
            problem = str(error)
        assert problem is None or (problem.startswith(f"{path}: ") and "\n" not in problem)


# Downloading


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for huggingface_hub, whose host is a local port."""

    def at(port):
        package = types.ModuleType("huggingface_hub")
        constants = types.ModuleType("huggingface_hub.constants")
        constants.ENDPOINT = f"http://127.0.0.1:{port}"
        monkeypatch.setitem(sys.modules, "huggingface_hub", package)
        monkeypatch.setitem(sys.modules, "huggingface_hub.constants", constants)

    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return at


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def closed():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_download_needs_the_extra(read, monkeypatch, root):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "huggingface_hub.constants", raising=False)
    expected = f"--download of minari:{ID} needs huggingface_hub: pip install 'corruptbench[hub]'"
    assert message(UsageError, read, download=True) == expected
    tiny(root)
    assert len(read(download=True)[0]["rewards"]) == 29  # what is there is not downloaded


def test_no_network(read, hub, closed, root, monkeypatch):
    hub(closed)
    monkeypatch.setattr("minari.download_dataset", lambda name: pytest.fail("it would retry for long"))
    begin = time.perf_counter()
    text = message(NetworkError, read, download=True)
    assert time.perf_counter() - begin < 3
    expected = f"minari:{ID} was not downloaded: 127.0.0.1:{closed} cannot be reached ([Errno 111] Connection refused)"
    assert text == expected.replace("111", str(errno.ECONNREFUSED))
    assert not root.exists()


def test_a_network_that_never_answers(read, hub, server, monkeypatch):
    def never(*_):
        time.sleep(0.4)
        raise TimeoutError

    hub(server)
    monkeypatch.setattr(remote, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(remote.socket, "create_connection", never)
    expected = f"minari:{ID} was not downloaded: 127.0.0.1:{server} cannot be reached (no answer in 0.1 seconds)"
    assert message(NetworkError, read, download=True) == expected


def test_a_proxy_is_asked_in_the_place_of_the_host(read, hub, server, closed, monkeypatch):
    hub(server)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed}")
    text = message(NetworkError, read, download=True)
    assert text.startswith(f"minari:{ID} was not downloaded: 127.0.0.1:{closed} cannot be reached (")


def test_a_download(read, hub, server, root, tmp_path, monkeypatch, capsys):
    hub(server)
    monkeypatch.setenv("MINARI_DATASETS_PATH", "as before")
    monkeypatch.setenv("MINARI_REMOTE", "gcp://of-somebody-else")
    tiny(tmp_path / "remote")
    (tmp_path / "remote" / "mujoco" / ".cache").mkdir()

    def download(name):
        assert os.environ["MINARI_REMOTE"] == "hf://farama-minari"
        assert ".minari" not in os.environ["MINARI_DATASETS_PATH"]
        print("Downloading ...")
        warnings.warn("there is a newer version", stacklevel=1)
        shutil.copytree(tmp_path / "remote", os.environ["MINARI_DATASETS_PATH"], dirs_exist_ok=True)

    monkeypatch.setattr("minari.download_dataset", download)
    fields, _ = read(download=True)
    assert len(fields["rewards"]) == 29
    assert capsys.readouterr() == ("", "")
    assert os.environ["MINARI_DATASETS_PATH"] == "as before"
    assert os.environ["MINARI_REMOTE"] == "gcp://of-somebody-else"
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert found == [
        "mujoco/hopper/namespace_metadata.json",
        f"{ID}/data/main_data.hdf5",
        f"{ID}/data/metadata.json",
        "mujoco/namespace_metadata.json",
    ]


@pytest.mark.parametrize(
    ("raised", "error", "problem"),
    [
        (ValueError("Couldn't find any version"), DataError, "cannot be downloaded: Couldn't find any version"),
        (ConnectionError("reset\nby peer"), NetworkError, "was not downloaded: ConnectionError: reset by peer"),
        (None, NetworkError, "was not downloaded: nothing came"),
    ],
)
def test_a_download_that_fails_leaves_nothing(read, hub, server, root, monkeypatch, raised, error, problem):
    def download(name):
        half = root / os.environ["MINARI_DATASETS_PATH"] / "half"
        half.mkdir()
        if raised:
            raise raised

    hub(server)
    monkeypatch.setattr("minari.download_dataset", download)
    assert message(error, read, download=True) == f"minari:{ID} {problem}"
    assert list(root.iterdir()) == []


# Writing


def flat(*episodes, do=4, dtype=np.float64, seed=0):
    """Fields of episodes (number of steps, how they end)."""
    rng = np.random.default_rng(seed)
    parts = [episode(rng, Box(-np.inf, np.inf, (do,), dtype), *end) for end in episodes]
    fields = {name: [part[name] for part in parts] for name in ("actions", "rewards")}
    fields["observations"] = [part["observations"][:-1] for part in parts]
    fields["next_observations"] = [part["observations"][1:] for part in parts]
    fields["terminals"] = [part["terminations"] for part in parts]
    fields["timeouts"] = [part["truncations"] for part in parts]
    return {name: np.concatenate(fields[name]) for name in FIELDS}


def put(root, **changed):
    options = {"env_id": "Hopper-v5", "action_low": -1, "action_high": [1, 2], "description": "a test"} | changed

    def write(dataset_id=ID, fields=None, **more):
        fields = flat((3, "terminal"), (2, "timeout")) if fields is None else fields
        return ours.write(dataset_id, fields, root=root, **options, **more)

    return write


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back(root, read, monkeypatch, dtype, capsys):
    monkeypatch.setattr(gymnasium, "make", lambda *_, **__: pytest.fail("an environment was made"))
    fields = flat((3, "terminal"), (1, "timeout"), (1, "both"), (40, "timeout"), *[(2, "terminal")] * 9, dtype=dtype)
    assert put(root)(fields=fields) == root / ID
    assert_same(read()[0], fields)
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in root.iterdir()) == ["mujoco"]


def test_minari_reads_what_was_written(root, monkeypatch):
    import minari

    fields = flat((3, "terminal"), (2, "timeout"), dtype=np.float32)
    put(root)(fields=fields, author="A", author_email="a@b", algorithm_name="x", code_permalink="y")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    assert list(minari.list_local_datasets()) == [ID]
    dataset = minari.load_dataset(ID)
    assert (dataset.total_episodes, dataset.total_steps) == (2, 5)
    assert dataset.observation_space == Box(-np.inf, np.inf, (4,), np.float32)
    assert dataset.action_space == Box(np.float32([-1, -1]), np.float32([1, 2]))
    assert dataset.env_spec == gymnasium.spec("Hopper-v5")
    metadata = dataset.storage.metadata
    assert (metadata["env_id"], metadata["description"]) == ("Hopper-v5", "a test")
    assert (metadata["author"], metadata["author_email"]) == ({"A"}, {"a@b"})
    assert (metadata["algorithm_name"], metadata["code_permalink"]) == ("x", "y")
    assert_same(slow(root / ID / "data") | {}, fields)
    minari.namespace.create_namespace("mujoco/other")  # what a namespace lacks would be made anew
    assert "mujoco/hopper" in minari.namespace.list_local_namespaces()


def test_an_environment_that_gymnasium_does_not_know(root, read):
    put(root, env_id="D4RL/AntMaze")()
    metadata = json.loads((root / ID / "data" / "metadata.json").read_text())
    assert metadata["env_id"] == "D4RL/AntMaze"
    assert "env_spec" not in metadata
    assert len(read()[0]["rewards"]) == 5


def test_a_last_episode_that_is_cut_ends_there(root, read):
    fields = flat((3, "terminal"), (2, "neither"))
    put(root)(fields=fields)
    found = read()[0]
    assert found.pop("timeouts").tolist() == [False, False, False, False, True]
    assert all(found[name].tobytes() == fields[name].tobytes() for name in found)


def test_fields_are_left_as_they_were(root):
    fields = flat((3, "terminal"), (2, "neither"))
    before = {name: values.copy() for name, values in fields.items()}
    put(root)(fields=fields)
    assert_same(fields, before)


def test_an_id_that_is_taken(root):
    put(root)()
    before = (root / ID / "data" / "metadata.json").read_bytes()
    expected = f"minari:{ID} is in {root} already, and nothing is overwritten: choose another id"
    assert message(UsageError, put(root)) == expected
    assert (root / ID / "data" / "metadata.json").read_bytes() == before


def test_an_id_that_minari_refuses(root):
    expected = "minari:a/x-v0: Minari's namespaces have two characters and more"
    assert message(UsageError, ours.check_target, "a/x-v0", root) == expected
    ours.check_target("x-v0", root)
    ours.check_target("ab/x-v0", root)


def test_observations_that_do_not_go_on(root):
    fields = flat((3, "terminal"), (4, "timeout"))
    fields["next_observations"][[2, 4, 5], 1] += 1  # row 2 ends an episode
    expected = (
        f"minari:{ID}: the next observation is not the following row's observation in 2 of 5 rows (40.0 %), the first "
        "is row 4, and Minari stores none of their own"
    )
    assert message(DataError, put(root), fields=fields) == expected
    assert not root.exists()


def test_a_signed_zero_is_another_byte(root):
    fields = flat((3, "terminal"), (4, "timeout"))
    fields["next_observations"][0], fields["observations"][1] = 0.0, -0.0
    expected = (
        f"minari:{ID}: the next observation is not the following row's observation in 1 of 5 rows (20.0 %), the first "
        "is row 0, and Minari stores none of their own"
    )
    assert message(DataError, put(root), fields=fields) == expected


def test_nothing_to_write(root):
    fields = {name: values[:0] for name, values in flat((3, "terminal")).items()}
    assert message(DataError, put(root), fields=fields) == f"minari:{ID}: there is nothing to write"


def test_writing_where_it_is_not_possible(root):
    root.write_text("a file")
    assert message(ResourceError, put(root)).startswith(f"{root / ID}: could not be written: ")


def test_writing_through_a_link(root, tmp_path):
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "mujoco").symlink_to(tmp_path / "elsewhere")
    assert message(DataError, put(root)) == f"{root / ID}: a link on the way to it does not stay below {root}"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_interrupted_write_leaves_nothing(root, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("minari.create_dataset_from_buffers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(root)()
    assert list(root.iterdir()) == []
    assert "MINARI_REMOTE" not in os.environ
