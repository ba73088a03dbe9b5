"""What strangers hand in does no harm, and is refused by one line, soon and in little memory.

A canary file shows that nothing ran. What is not promised: a plug-in is code that its user trusts.
"""

import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import hostile_files
import numpy as np
import pytest

from corruptbench import corrupting, surrogates
from corruptbench.cli import main
from corruptbench.csv_text import fused, to_csv
from corruptbench.data import cache, download, flat, load_rows
from corruptbench.data.d4rl import DATASETS, file_of
from corruptbench.environments import environment
from corruptbench.errors import DataError, IntegrityError, ResourceError, UsageError
from corruptbench.names import is_class, is_id, is_name
from corruptbench.records import RunRecord
from corruptbench.registry import ALGORITHMS, CORRUPTIONS
from corruptbench.spec import RunSpec
from corruptbench.store import read_json
from corruptbench.tables.listing import run_row
from corruptbench.weights import load_weights
from corruptbench.yaml_files import read_yaml

HOPPER = environment("Hopper-v5")
RECORDS = Path(__file__).parents[2] / "leaderboard" / "records"


@pytest.fixture
def canary(tmp_path):
    """A file that must never appear."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


@contextmanager
def in_time(seconds=2.0):
    """Processor time, which other work on the machine does not lengthen; a wait without end is ended by a signal."""

    def stop(*_):
        raise AssertionError("it waited for something")

    before, begin = signal.signal(signal.SIGALRM, stop), time.process_time()
    signal.alarm(300)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - begin < seconds


def refused(error, call, *arguments):
    """The one line with which a call is refused."""
    with in_time(), pytest.raises(error) as raised:
        call(*arguments)
    line = str(raised.value)
    assert line.isprintable()
    assert len(line) < 1000
    return line


# YAML

CORE = {
    "3e-4": 3e-4,
    "-1.5E+3": -1500.0,
    "12": 12,
    "010": 10,
    "+7": 7,
    "true": True,
    "False": False,
    "~": None,
    "": None,
    "'3'": "3",
    "no": "no",
    "on": "on",
    "12:30:00": "12:30:00",
    "2026-01-01": "2026-01-01",
    "1_000": "1_000",
    "0x1F": "0x1F",
    ".inf": ".inf",
    ".nan": ".nan",
    "<<": "<<",
    "[a, 1]": ["a", 1],
    "&a [1]": [1],
    "{b: &b 2, c: *b}": {"b": 2, "c": 2},
}


@pytest.mark.parametrize(("text", "value"), CORE.items(), ids=[repr(text) for text in CORE])
def test_yaml_is_what_version_1_2_says(text, value, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(f"a: {text}\n")
    found = read_yaml(path)["a"]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("name", hostile_files.hostile_yaml(""))
def test_hostile_yaml_is_refused_with_its_file(name, canary, tmp_path, capsys):
    content = hostile_files.hostile_yaml(canary)[name]
    path = tmp_path / "x.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = refused(UsageError, read_yaml, path)
    assert line.startswith(f"{path}: not readable as YAML: ")
    assert main(["run", "--config", str(path)]) == 2
    assert capsys.readouterr().err == f"corruptbench run: {line}\n"


def test_the_line_of_a_config_is_named(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\nb:\n  c: 1\na: 2\n")
    assert refused(UsageError, read_yaml, path) == f"{path}: not readable as YAML: line 4: 'a' stands twice"


# JSON


@pytest.mark.parametrize("name", hostile_files.hostile_json())
def test_hostile_json_is_refused_with_its_file(name, tmp_path):
    content = hostile_files.hostile_json()[name]
    path = tmp_path / "record.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (read_json, RunRecord.read):
        assert refused(IntegrityError, read, path).startswith(f"{path}: not readable as JSON: ")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "record.json")
    assert refused(IntegrityError, read_json, tmp_path / "record.json").endswith("not readable as JSON: it is no file")


def exchanged(value, keys, new):
    """A JSON value with another one in one place."""
    if not keys:
        return new
    return {**value, keys[0]: exchanged(value.get(keys[0]), keys[1:], new)}


@pytest.mark.parametrize(
    ("keys", "new"),
    [
        (("spec", "dataset"), "file:../../x"),
        (("spec", "dataset"), "=cmd"),
        (("spec", "algorithm", "name"), "<script>"),
        (("spec", "corruption", "name"), "a|b"),
        (("spec", "corruption", "rate"), "0.3"),
        (("spec", "steps"), True),
        (("spec", "optimizer", "name"), "@SUM"),
        (("spec", "optimizer", "on"), ["V\n"]),
        (("spec", "optimizer", "options"), {"a;b": 1}),
        (("spec", "optimizer", "options"), ["alpha"]),
        (("spec", "track"), "../x"),
        (("spec", "environment", "id"), "-5"),
        (("command",), "corruptbench run\x1b[2J"),
        (("options",), {"a": "1;corruption.preset=x"}),
        (("options",), {"a": 1}),
        (("corruption",), {}),
        (("corruption", "audit"), []),
        (("versions",), {}),
        (("versions", "torch"), "\x1b[2J"),
        (("versions", "torch"), 2),
        (("spec", "dataset_sha256"), "\x1b[2J"),
        (("spec", "corruption", "surrogate_sha256"), "a\nb"),
        (("execution", "cpu"), []),
        (("execution", "cpu"), "AVX2\x1b[2J"),
        (("execution",), {}),
        (("score",), {"return_mean": "x"}),
        (("evaluation",), {"returns": 3}),
    ],
)
def test_a_record_with_hostile_values_reaches_no_table(keys, new, tmp_path):
    """Its id is right, so whoever made it knew what they did."""
    source = next(RECORDS.glob("*/record.json"))
    value = exchanged(read_json(source), keys, new)
    path = tmp_path / "record.json"
    with suppress(TypeError):  # of a spec that is none
        value["run_id"] = RunSpec.from_json(value["spec"]).run_id
    path.write_text(json.dumps(value))
    assert refused(IntegrityError, RunRecord.read, path).startswith(f"{path}: not a record of schema 1: ")


# Names

IDS = (
    "", ".", "..", "...", "../x", "../../etc/passwd", "x/../../y", "/etc/passwd", "//x", "x//y", "x/", "~/x", "~root",
    "C:\\x", "..\\x", "\\\\host\\x", "x\0y", "x\ny", "x\ry", "x\ty", "x\x1b[2J", "x\u2028y", "x\u202ey", "x\u200by",
    "x" * 300, "x" * 100_000, "\u043ebs-random", "\uff49\uff51\uff4c", "i\u0307ql", "\udcff", "CON", "nul.hdf5",
    "COM1.npz", "=cmd", "=cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "-5", "-x", "<script>",
    "<img src=x onerror=alert(1)>", "a|b", "a,b", "a;b", "a\"b", "a'b", "$(touch x)", "`touch x`", "%2e%2e%2f",
    "{{7*7}}", "%s%n", "file:x", "os:system",
)  # fmt: skip
"""Traversals, absolute paths, control and invisible characters, look-alikes, devices, formulas, markup, commands."""

FLAGS = {
    "algo": ["run", "--corrupt=none", "--algo={}"],
    "corrupt": ["run", "--algo=bc", "--corrupt={}"],
    "class of a corruption": ["run", "--algo=bc", "--corrupt={}:X"],
    "dataset": ["run", "--algo=bc", "--corrupt=none", "--dataset={}"],
    "file": ["run", "--algo=bc", "--corrupt=none", "--env=Hopper-v5", "--dataset=file:{}"],
    "d4rl": ["run", "--algo=bc", "--corrupt=none", "--dataset=d4rl:{}"],
    "minari": ["run", "--algo=bc", "--corrupt=none", "--env=Hopper-v5", "--dataset=minari:{}"],
    "env": ["run", "--algo=bc", "--corrupt=none", "--env={}"],
    "optimizer": ["run", "--algo=bc", "--corrupt=none", "--optimizer={}"],
    "sam-on": ["run", "--algo=bc", "--corrupt=none", "--sam", "--sam-on={}", "--dataset=file:SMALL", "--env=Hopper-v5"],
    "preset": ["run", "--algo=bc", "--corrupt=none", "--preset={}", "--dataset=file:SMALL", "--env=Hopper-v5"],
    "option": ["run", "--algo=bc", "--corrupt=obs-random:{}=1"],
    "surrogate": [
        "corrupt",
        "--corrupt=obs-adv:surrogate={}",
        "--dataset=file:SMALL",
        "--env=Hopper-v5",
        "--out=OUT.h5",
    ],
    "out": ["corrupt", "--corrupt=none", "--out=minari:{}"],
    "info": ["data", "info", "./{}"],
    "collect": ["data", "collect", "--env=Hopper-v5", "--out=OUT", "--name={}"],
    "suite": ["leaderboard", "build", "--records=.", "--out=OUT", "--suite={}"],
    "source": ["data", "list", "--", "{}"],
}


@pytest.mark.parametrize("flag", FLAGS)
def test_hostile_ids_are_refused_by_one_line_and_leave_nothing(flag, small_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("CORRUPTBENCH_CACHE", str(tmp_path / "cache"))
    for name in IDS if flag != "surrogate" else IDS[1:]:  # nothing stands for the dataset's own
        words = [w.replace("SMALL", str(small_file)).replace("OUT", "new").replace("{}", name) for w in FLAGS[flag]]
        with in_time(5):
            try:
                code = main(words)
            except SystemExit as error:  # as argparse has it
                code = error.code
        output = capsys.readouterr()
        assert code in ((1, 2, 3, 4) if name == "os:system" else (2, 3, 4)), name  # 1 is for a class of another kind
        assert output.out == "", name
        line = output.err.encode("utf-8", "backslashreplace").decode()
        assert line.count("\n") == 1, name
        assert line[:-1].isprintable(), name
        assert len(line) < 2100, name
        assert not [path for path in tmp_path.rglob("*") if path.is_file()], name
    assert not (tmp_path / "new").is_file()


@pytest.mark.parametrize("name", ["iql", "obs-random", "my_noise.v2", "_x", "9"])
def test_names_that_are_fine(name):
    assert is_name(name)
    assert is_id(name)


@pytest.mark.parametrize(
    "name", ["hopper-replay", "d4rl:hopper-medium-v2", "minari:D4RL/pen/human-v2", "file:my run.npz"]
)
def test_ids_that_are_fine(name):
    assert is_id(name)


@pytest.mark.parametrize("name", IDS)
def test_a_plugin_registers_no_hostile_name(name):
    for registry in (ALGORITHMS, CORRUPTIONS):
        assert "is no name" in refused(UsageError, registry.register, name)
        assert name not in registry._classes
    assert not is_name(name)
    assert is_class(name) == (name in ("file:x", "os:system"))


def test_a_plugin_has_no_hostile_field(tmp_path, capsys):
    """Python takes letters of any alphabet, and normalises look-alikes of its own."""
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        textwrap.dedent(
            """
            from dataclasses import dataclass
            from corruptbench.corruptions import Corruption, register

            @register("mine")
            @dataclass(frozen=True)
            class Mine(Corruption):
                r\u0430te2: float = 1.0
                def __call__(self, dataset, streams, surrogate=None): ...
            """
        )
    )
    assert main(["run", "--algo", "bc", "--corrupt", "mine", "--plugin", str(plugin)]) == 1
    assert "its field 'r\u0430te2' is no name" in capsys.readouterr().err


# Tables

CELLS = ("=1+1", "+x", "-x", "@SUM(A1)", "\tx", "\rx", "\n=x", "'", "'x", "'=x", "''=x", "-", "=", "--5", "1-1", "+1+1")
NUMBERS = ("-5", "+5", "-0.25", "-1e-3", "-.5", "12", "3.")


def cells(text):
    return [{name: fused(value) for name, value in row.items()} for row in csv.DictReader(io.StringIO(text))]


def test_cells_that_a_spreadsheet_takes_for_formulas_are_defused_and_come_back():
    rows = [{"name": text, "score": number} for text in CELLS for number in NUMBERS]
    text = to_csv(("name", "score"), rows)
    assert cells(text) == rows
    for row in csv.DictReader(io.StringIO(text)):
        assert not row["name"].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert row["score"] in NUMBERS
    assert to_csv(("score",), [{"score": -1.5}]) == "score\n-1.5\n"
    assert cells("name\n'tis\n") == [{"name": "'tis"}]


def test_every_cell_of_a_record_is_as_it_was():
    """Nothing of ours needs an apostrophe, and a negative score is a number."""
    record = RunRecord.read(next(RECORDS.glob("*/record.json")))
    record = dataclasses.replace(record, score={"return_mean": -3.5, "normalized_mean": -0.25})
    row = run_row(record)
    assert "'" not in to_csv(list(row), [row])
    assert row["normalized"] == "-0.2500"


# Data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    yield hostile_files.hostile_data(folder, folder / "canary")
    assert not (folder / "canary").exists()


DATA = (
    "pt", "pickle as HDF5", "pickle as npz", "npz of objects", "npz bomb", "npz by bzip2",
    "npz of many", "external link", "external link to a pipe", "soft link", "soft link in a circle",
    "external storage", "object references", "text", "terabytes", "a gigabyte of nothing", "one chunk", "empty",
)  # fmt: skip


REASONS = {
    "pt": "pickles are not read",
    "npz of objects": "rewards is object, and only numbers can be read",
    "npz bomb": "more than 100 in one are a trap",
    "npz by bzip2": "is packed in another way than numpy does",
    "npz of many": "its list of files has",
    "external link": "rewards is a link to something else",
    "external link to a pipe": "rewards is a link to something else",
    "soft link": "rewards is a link to something else",
    "soft link in a circle": "rewards is a link to something else",
    "external storage": "rewards lies in another file",
    "object references": "rewards is object, and only numbers can be read",
    "text": "rewards is object, and only numbers can be read",
    "terabytes": "cannot hold them",
    "a gigabyte of nothing": "cannot hold them",
    "one chunk": "rewards lies in chunks of 2147483648 bytes, and has 48",
    "header of 50 MB": "its header claims 52428800 bytes",
    "bias that would be broadcast": "the shapes of actor are not those of a network on 11 observed values",
}
"""Why some are refused, where another reason would come too late."""


def test_the_list_of_hostile_data_is_whole(data):
    assert tuple(data) == DATA


@pytest.mark.parametrize("name", DATA)
def test_hostile_data_are_refused_with_their_file(name, data):
    path = data[name]
    error = UsageError if name == "pt" else DataError
    line = refused(error, load_rows, f"file:{path}", HOPPER)
    assert line.startswith("--dataset file:" if name == "pt" else f"{path}: ")
    assert REASONS.get(name, "") in line


def test_a_member_that_unpacks_to_more_than_the_archive_says_is_read_so_far_and_no_further(tmp_path):
    path = hostile_files.lying_npz(tmp_path / "x.npz")
    tracemalloc.start()
    with in_time():
        rows = load_rows(f"file:{path}", HOPPER).rows
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.rewards.tolist() == [1.0] * hostile_files.MANY
    assert used < 50 << 20


def test_the_columns_of_hostile_data_are_sound_but_for_one(tmp_path):
    """So it is what is hostile that was refused."""
    hostile_files._npz(tmp_path / "x.npz")
    hostile_files._hdf5(tmp_path / "x.hdf5", "")
    for name in ("x.npz", "x.hdf5"):
        assert len(load_rows(f"file:{tmp_path / name}", HOPPER).rows) == hostile_files.ROWS


def test_more_than_the_memory_of_the_machine_is_refused(tmp_path, monkeypatch):
    path = hostile_files._hdf5(tmp_path / "x.hdf5", "")
    monkeypatch.setattr(flat, "_memory", lambda: 1000)
    line = refused(ResourceError, load_rows, f"file:{path}", HOPPER)
    assert line == f"{path}: it claims 1272 bytes of data, and this machine has 1000 bytes of memory"
    monkeypatch.undo()
    assert 1 << 28 < flat._memory() < 1 << 50


# Weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    yield hostile_files.hostile_weights(folder, folder / "canary")
    assert not (folder / "canary").exists()


WEIGHTS = (
    "header of 2**63 bytes", "header of 50 MB", "deep header", "truncated", "truncated in its header",
    "offsets out of the file", "nothing", "pickle", "NaN", "float64", "whole numbers", "other inputs",
    "layers that do not fit", "bias that would be broadcast", "a scalar", "no bias", "scale of 0", "no normalisation",
    "a class of a module", "an algorithm that is none", "options that are none", "an unknown option", "pt",
)  # fmt: skip


def test_the_list_of_hostile_weights_is_whole(weights):
    assert tuple(weights) == WEIGHTS


@pytest.mark.parametrize("name", WEIGHTS)
def test_hostile_weights_are_refused_with_their_file(name, weights):
    path = weights[name]
    line = refused(IntegrityError, load_weights, path)
    assert line.startswith(f"{path}: not readable as weights of this project: ")
    assert REASONS.get(name, "") in line


def test_sound_weights_are_read(tmp_path):
    policy = load_weights(hostile_files.weights(tmp_path / "x.safetensors"))
    assert policy(np.ones((2, 11))).shape == (2, 3)


def test_the_header_of_weights_imports_nothing(tmp_path, canary, monkeypatch):
    (tmp_path / "hostile_module.py").write_text(f"open({str(canary)!r}, 'w')\nclass Agent: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = hostile_files.weights(tmp_path / "x.safetensors", algorithm="hostile_module:Agent")
    line = refused(IntegrityError, load_weights, path)
    assert line.endswith("'hostile_module:Agent' is a class that this command does not name, so it is not loaded")
    assert "hostile_module" not in sys.modules


@pytest.mark.parametrize("ending", ["pt", "pth", "pkl", "PICKLE", "ckpt", "joblib"])
def test_pickles_are_refused_by_name(ending, hopper, tmp_path):
    path = tmp_path / f"x.{ending}"
    expected = "pickles are not read, because a pickle can run any command"
    assert refused(UsageError, load_rows, f"file:{path}", HOPPER) == f"--dataset file:{path}: {expected}"
    line = refused(UsageError, surrogates.surrogate_of_run, str(path), hopper, tmp_path)
    assert line == f"surrogate={path}: {expected}"
    assert refused(IntegrityError, load_weights, path).endswith(expected)


def test_the_id_of_a_run_is_no_way_out_of_the_results(hopper, tmp_path, monkeypatch):
    for folder in ("secret", "results", "elsewhere/below"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "secret" / "record.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "elsewhere" / "below")
    for name in ("../secret", "x/../../secret"):
        line = refused(UsageError, surrogates.surrogate_of_run, name, hopper, tmp_path / "results")
        assert line == f"surrogate={name}: no run lies in {name} or in {tmp_path / 'results' / name}"


# Links in the cache


@pytest.fixture
def outside(tmp_path):
    """A folder with a file; both are as they were in the end."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("mine")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == "mine"


ENTRY = DATASETS["hopper-medium-v2"]
CONTENT = bytes(range(256)) * 8


@pytest.fixture
def served(monkeypatch):
    """A server that sends the content, or the rest of it, without a network."""

    class Response(io.BytesIO):
        status, reason, chunked = 200, "OK", False

        def __init__(self, content, headers):
            super().__init__(content)
            self.length, self.headers = len(content), headers

    def ask(url, headers, timeout):
        return Response(CONTENT, {"ETag": '"x"'})

    monkeypatch.setattr(download, "ask", ask)
    monkeypatch.setattr(download, "body", lambda response, size, timeout: iter([response.read()]))


@pytest.mark.parametrize("how", ["symbolic", "hard"])
@pytest.mark.parametrize("name", ["{}.part", "{}.part.json", "{}.lock"])
def test_a_link_where_a_download_writes_is_not_followed(name, how, outside, served, tmp_path):
    target = tmp_path / "cache" / "x.hdf5"
    target.parent.mkdir()
    planted = target.with_name(name.format(f".{target.name}"))
    (planted.symlink_to if how == "symbolic" else planted.hardlink_to)(outside / "file")
    if (how, name) == ("symbolic", "{}.lock"):
        refused(ResourceError, download.fetch, "http://x/x.hdf5", target)
        return
    download.fetch("http://x/x.hdf5", target)
    assert target.read_bytes() == CONTENT
    assert not target.is_symlink()


@pytest.mark.parametrize("how", ["symbolic", "hard"])
def test_a_link_is_no_part_of_a_download_that_goes_on(how, outside, served, tmp_path):
    """Though a note says that it is, with the right length."""
    target = tmp_path / "cache" / "x.hdf5"
    target.parent.mkdir()
    part = target.with_name(".x.hdf5.part")
    (part.symlink_to if how == "symbolic" else part.hardlink_to)(outside / "file")
    for size in (4, len(CONTENT)):
        note = f'{{"url": "http://x/x.hdf5", "validator": "\\"x\\"", "size": {size}}}'
        target.with_name(".x.hdf5.part.json").write_text(note)
        target.unlink(missing_ok=True)
        download.fetch("http://x/x.hdf5", target)
        assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "planted", [f"d4rl/{ENTRY.file_name}", "d4rl", f"sha256/d4rl/{ENTRY.name}.json", "sha256/d4rl", "sha256"]
)
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_in_the_cache_of_datasets_is_refused(planted, dangling, outside, served, tmp_path):
    root = tmp_path / "cache"
    path = root / planted
    path.parent.mkdir(parents=True)
    path.symlink_to(outside / "new" if dangling else outside / "file" if path.suffix else outside)
    line = refused(IntegrityError, lambda: file_of(ENTRY, cache=root))
    assert line == f"{path}: it is a link, and none is followed in the cache; remove it"


@pytest.mark.parametrize("place", ["entry", "folder"])
@pytest.mark.parametrize("kind", ["corrupted", "surrogates"])
def test_a_link_in_the_cache_of_what_was_computed_is_refused(kind, place, outside, hopper, tmp_path, monkeypatch):
    monkeypatch.setenv("CORRUPTBENCH_CACHE", str(tmp_path / "cache"))
    dataset = hopper.replace(id="file:x.hdf5")
    if kind == "surrogates":
        folder = surrogates.cache_folder(dataset)
        attempt = partial(surrogates.surrogate_for, dataset)
    else:
        folder = cache() / "corrupted" / "0"
        monkeypatch.setattr(corrupting, "key_of", lambda key: "0")
        found = corrupting.resolve(hopper, "obs-adv")
        attempt = partial(corrupting.computed_or_cached, found.corruption, found.spec, hopper, 0, found.surrogate)
    path = folder if place == "entry" else folder.parent
    path.parent.mkdir(parents=True)
    path.symlink_to(outside)
    assert refused(IntegrityError, attempt) == f"{path}: it is a link, and none is followed in the cache; remove it"


def test_the_cache_itself_may_be_a_link(served, tmp_path):
    """It is the user who says where it lies."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    with pytest.raises(DataError, match="not readable as HDF5"):  # what was served is none
        file_of(ENTRY, cache=tmp_path / "cache")
    assert (tmp_path / "disk" / "d4rl" / ENTRY.file_name).read_bytes() == CONTENT


# Seconds and memory

MEASURED = """
import json, os, resource, sys, time
from pathlib import Path
import hostile_files
from corruptbench.data import load_rows
from corruptbench.environments import environment
from corruptbench.errors import CorruptBenchError
from corruptbench.spec import RunSpec
from corruptbench.store import read_json
from corruptbench.weights import load_weights
from corruptbench.yaml_files import read_yaml

folder = Path(sys.argv[1])
env = environment("Hopper-v5")
cases = []
for kind, read, contents in (
    ("yaml", read_yaml, hostile_files.hostile_yaml("canary")), ("json", read_json, hostile_files.hostile_json())
):
    for i, (name, content) in enumerate(contents.items()):
        path = folder / f"{i}.{kind}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        cases.append((f"{kind}: {name}", read, path))
        del content
(folder / "data").mkdir()
(folder / "weights").mkdir()
if not os.fork():  # what makes the files takes memory of its own
    (folder / "data.json").write_text(json.dumps(
        {k: str(v) for k, v in hostile_files.hostile_data(folder / "data", folder / "canary").items()}))
    (folder / "weights.json").write_text(json.dumps(
        {k: str(v) for k, v in hostile_files.hostile_weights(folder / "weights", folder / "canary").items()}))
    os._exit(0)
os.wait()
for name, path in json.loads((folder / "data.json").read_text()).items():
    cases.append((f"data: {name}", lambda path: load_rows(f"file:{path}", env), path))
for name, path in json.loads((folder / "weights.json").read_text()).items():
    cases.append((f"weights: {name}", load_weights, Path(path)))
for name, read, path in cases:
    sys.stdout.flush()
    if not os.fork():
        memory, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            read(path)
            outcome = "read"
        except CorruptBenchError:
            outcome = "refused"
        seconds = time.process_time() - seconds
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
        print(json.dumps([name, outcome, seconds, memory]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has used at most is told in other units elsewhere")
def test_every_refusal_takes_less_than_two_seconds_and_200_mb(tmp_path, canary):
    """Each in a process of its own that has everything imported, so start-up is not counted."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, env=environ, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = (hostile_files.hostile_yaml(""), hostile_files.hostile_json(), DATA, WEIGHTS)
    assert len(found) == sum(map(len, kinds))
    assert [case for case in found if case[1] != "refused" or case[2] >= 2 or case[3] >= 200] == []
