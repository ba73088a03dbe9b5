"""Files that were cut, flipped, lost or added: reading them gives the value that was written or names them.

Never another value. ``verify`` names what is damaged, missing or foreign, and nothing else.
"""

import csv
import hashlib
import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from corruptbench import corrupting, surrogates, training
from corruptbench.attempt import Setup
from corruptbench.cli import main
from corruptbench.errors import DataError, IntegrityError, UsageError
from corruptbench.records import RunRecord, each_record
from corruptbench.request import RunRequest
from corruptbench.run import execute, plan
from corruptbench.store import check_manifest, pretty, publish, sha256_file
from corruptbench.tables import reading
from corruptbench.tables.build import sums_of
from corruptbench.tables.listing import RUNS, read_csv, run_row
from corruptbench.tables.reading import LEADERBOARD, read_table, shipped_runs
from corruptbench.verify import Verification

TINY = {"hidden": (4, 4), "batch_size": 8}
IN_A_RUN = ("agent.safetensors", "curve.csv", "manifest.json", "policy.safetensors", "record.json", "timing.json")


@pytest.fixture(scope="module")
def made(small_file, tmp_path_factory):
    """A folder of results with one run. Nothing may change it."""
    out = tmp_path_factory.mktemp("made") / "results"
    request = RunRequest("iql", "obs-random", f"file:{small_file}", env="Hopper-v5", steps=20, algo_options=TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "FINAL_EPISODES", 2)
        patch.setattr(training, "CURVE_EPISODES", 1)
        execute(plan(request), out, Setup(engine="eager"))
    return out


@pytest.fixture
def results(made, tmp_path):
    """A copy, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "results"))


@pytest.fixture
def run(results):
    (folder,) = results.iterdir()
    return folder


@pytest.fixture
def record(run, tmp_path):
    """A run as it is kept in ``leaderboard/records``: the path of its record, beside which the curve lies."""
    folder = tmp_path / "records" / run.name
    folder.mkdir(parents=True)
    for name in ("record.json", "curve.csv"):
        shutil.copy(run / name, folder)
    return folder / "record.json"


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """A copy of the shipped tables, in their place."""
    folder = tmp_path / "leaderboard"
    folder.mkdir()
    contents = {name: (LEADERBOARD / name).read_text() for name in ("core.csv", "core-summary.csv")}
    for name, content in {**contents, "SHA256SUMS": sums_of(contents)}.items():
        (folder / name).write_text(content)
    monkeypatch.setattr(reading, "LEADERBOARD", folder)
    return folder


def named(folder):
    """What ``verify`` finds below a folder: path -> what."""
    verification = Verification(folder)
    found = [(path.relative_to(verification.root).as_posix(), what) for path, what in verification.findings()]
    assert len(dict(found)) == len(found)  # one line a file
    return dict(found)


def cut(content):
    """Everything that is left of a file when it is cut off."""
    return (content[:end] for end in range(len(content)))


def flipped(content, count):
    """A file with one bit flipped, at about ``count`` places."""
    for place in range(0, len(content), max(1, len(content) // count)):
        yield content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


def damages(path):
    """Puts each damaged content into a file, one after the other, with its number, and the right one at the end."""
    content = path.read_bytes()
    for number, damaged in enumerate([*cut(content), *flipped(content, 300)]):
        path.write_bytes(damaged)
        yield number, damaged
    path.write_bytes(content)


def outcome(read, *arguments):
    """What reading gives, or the error that it raises."""
    try:
        return read(*arguments)
    except (DataError, IntegrityError) as error:
        return error


def with_manifest(folder):
    """Makes the manifest say what lies there now, as nobody but ``publish`` should."""
    manifest = {
        path.name: {"sha256": sha256_file(path), "size": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(pretty(manifest))


# A run


def test_what_is_whole_is_whole(results, run, record, tables, capsys):
    for folder in (results, run, record.parent, record.parent.parent, tables):
        assert named(folder) == {}
        assert main(["verify", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{results}: 6 files, no findings"


@pytest.mark.parametrize("name", ["record.json", "curve.csv", "timing.json"])
def test_a_text_of_a_run_that_is_cut_or_flipped_anywhere(name, results, run):
    (right,) = each_record(results)
    what = f"its content is not what {run / 'manifest.json'} says was written"
    for number, _ in damages(run / name):
        if name == "record.json":
            (found,) = each_record(results)
            assert str(found) == f"{run / name}: {what}"
        else:
            assert str(outcome(check_manifest, run)) == f"{run / name}: {what}"
        if number % 40 == 0:
            assert named(results) == {f"{run.name}/{name}": what}
    assert named(results) == {}
    assert list(each_record(results)) == [right]


def test_a_manifest_that_is_cut_or_flipped_anywhere(results, run):
    (right,) = each_record(results)
    for number, damaged in damages(run / "manifest.json"):
        (found,) = each_record(results)
        assert found == right or "manifest.json" in str(found), damaged
        if number % 10 == 0:
            assert any("manifest.json" in f"{path} {what}" for path, what in named(results).items()), damaged
    assert named(results) == {}


@pytest.mark.parametrize("name", ["policy.safetensors", "agent.safetensors"])
def test_weights_with_a_bit_flipped_or_cut(name, results, run, hopper):
    content = (run / name).read_bytes()
    for damaged in [*flipped(content, 40), content[:-1], content[: len(content) // 2], b""]:
        (run / name).write_bytes(damaged)
        assert list(named(results)) == [f"{run.name}/{name}"]
        with pytest.raises(IntegrityError, match=name):
            surrogates.surrogate_of_run(str(run), hopper, results)


def test_what_the_manifest_says_as_well_is_still_read(results, run):
    """Whoever writes a folder anew, manifest and all, has to write what belongs into it."""
    rest = {name: (run / name).read_bytes() for name in IN_A_RUN}
    for name, content in {
        "record.json": rest["record.json"].replace(b'"step": 20', b'"step": "x"'),
        "curve.csv": rest["curve.csv"].replace(b"20,", b"20,nan,", 1),
        "timing.json": b'{"seconds": NaN}',
        "policy.safetensors": b"\x80\x04N.",  # a pickle
        "agent.safetensors": rest["agent.safetensors"].replace(rb"\"algorithm\"", rb"\"algorithn\""),
    }.items():
        assert content != rest[name]
        (run / name).write_bytes(content)
        with_manifest(run)
        assert list(named(results)) == [f"{run.name}/{name}"]
        (run / name).write_bytes(rest[name])
    with_manifest(run)
    moved = run.rename(run.with_name("0" * 16))
    assert named(results) == {
        f"{moved.name}/record.json": f"it is the record of run {run.name}, and its folder is {moved.name}"
    }


def test_a_kept_record_that_is_cut_or_flipped_anywhere(record):
    """Beside it lies no manifest, so its spec's hash, its returns and its layout tell of damage."""
    right = RunRecord.read(record)
    untold = ("options", "version", "command", "corrupted_sha256", "preset")  # nothing else in the record tells them
    for number, damaged in damages(record):
        found = outcome(RunRecord.read, record)
        if isinstance(found, IntegrityError):
            assert str(found).startswith(f"{record}: ")
        else:
            assert found.spec == right.spec
            assert all(run_row(found)[name] == run_row(right)[name] for name in RUNS if name not in untold), damaged
        if number % 40 == 0 and number <= len(damaged):  # cut off
            assert list(named(record.parent)) == ["record.json"]
    record.write_bytes(record.read_bytes()[:-1])
    assert list(named(record.parent)) == ["record.json"]


def test_a_kept_curve_that_is_cut(record):
    path = record.with_name("curve.csv")
    content = path.read_bytes()
    for damaged in cut(content):
        path.write_bytes(damaged)
        assert list(named(record.parent)) == ["curve.csv"]


# What lies in a folder


def _foreign_file(run):
    (run / "notes.txt").write_text("mine")
    return {f"{run.name}/notes.txt": f"{run / 'manifest.json'} does not name it"}


def _foreign_folder(run):
    (run / "plots").mkdir()
    return {f"{run.name}/plots": f"{run / 'manifest.json'} does not name it"}


def _hidden_file(run):
    (run / ".record.json.0123456789abcdef").write_text("{")
    return {f"{run.name}/.record.json.0123456789abcdef": f"{run / 'manifest.json'} does not name it"}


def _missing(name):
    def damage(run):
        (run / name).unlink()
        return {f"{run.name}/{name}": "the manifest names it and it is missing"}

    return damage


def _no_manifest(run):
    (run / "manifest.json").unlink()
    return {f"{run.name}/manifest.json": "it is missing"}


def _empty(run):
    shutil.rmtree(run)
    run.mkdir()
    return {run.name: "it has neither record.json nor manifest.json"}


def _a_file_for_a_folder(run):
    shutil.rmtree(run)
    run.write_text("")
    return {run.name: "it is foreign, no part of what this folder is for"}


def _a_folder_for_a_file(run):
    (run / "curve.csv").unlink()
    (run / "curve.csv").mkdir()
    return {f"{run.name}/curve.csv": "it is a folder, and a file was written"}


def _link_to_a_file(run):
    (run.parent.parent / "elsewhere").write_bytes((run / "curve.csv").read_bytes())
    (run / "curve.csv").unlink()
    (run / "curve.csv").symlink_to(run.parent.parent / "elsewhere")
    return {f"{run.name}/curve.csv": "it is a link or lies behind one, and none is followed"}


def _further_link(run):
    (run / "more").symlink_to(run.parent.parent)
    return {f"{run.name}/more": f"{run / 'manifest.json'} does not name it"}


def _link_to_the_manifest(run):
    (run / "manifest.json").rename(run.parent.parent / "elsewhere")
    (run / "manifest.json").symlink_to(run.parent.parent / "elsewhere")
    return {f"{run.name}/manifest.json": "it is a link or lies behind one, and none is followed"}


def _link_to_the_run(run):
    run.rename(run.parent.parent / "elsewhere")
    run.symlink_to(run.parent.parent / "elsewhere")
    return {run.name: "it is a link or lies behind one, and none is followed"}


def _a_manifest_that_leads_out(run):
    (run.parent.parent / "secret").write_text("x")
    entry = {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
    (run / "manifest.json").write_text(pretty({"../../secret": entry}))
    return {f"{run.name}/manifest.json": "not a manifest: it gives no size and SHA-256 for each file"}


FAULTS = {
    "foreign file": _foreign_file,
    "foreign folder": _foreign_folder,
    "hidden file in a run": _hidden_file,
    **{f"{name} missing": _missing(name) for name in IN_A_RUN if name != "manifest.json"},
    "manifest missing": _no_manifest,
    "empty folder": _empty,
    "a file where a folder should be": _a_file_for_a_folder,
    "a folder where a file should be": _a_folder_for_a_file,
    "link to a file": _link_to_a_file,
    "further link": _further_link,
    "link to the manifest": _link_to_the_manifest,
    "link to the run": _link_to_the_run,
    "a manifest that leads out": _a_manifest_that_leads_out,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_and_stops_nothing(fault, results, run, capsys):
    other = Path(shutil.copytree(run, results / ("f" * 16)))
    (other / "timing.json").unlink()  # so that it has findings of its own, behind the others
    beyond = {f"{other.name}/timing.json", f"{other.name}/record.json"}
    expected = fault(run)
    found = named(results)
    assert {path: what for path, what in found.items() if path not in beyond} == expected
    assert beyond <= found.keys()
    assert main(["verify", str(results)]) == 4
    lines = capsys.readouterr().out.splitlines()
    inside = [f"{path}: {what}".replace(f"{results}{os.sep}", "") for path, what in expected.items()]
    assert set(inside) < set(lines)
    assert lines[-1].endswith(f" {len(found)} findings")


def test_unfinished_work_leftovers_and_locks_are_no_damage(results, run, capsys):
    (results / f".{run.name}.{'0' * 16}").mkdir()
    (results / ".table.csv.0123456789abcdef").write_text("half")
    (results / f"{run.name}.lock").touch()
    publish(results / f".{run.name}" / "step-10", lambda folder: (folder / "state.json").write_text("{}\n"))
    assert main(["verify", str(results)]) == 0
    assert capsys.readouterr().out.endswith(" no findings; 3 unfinished or left over, with a dot in front\n")


def test_a_damaged_checkpoint_is_named(results, run):
    folder = results / f".{run.name}"
    publish(folder / "step-10", lambda folder: (folder / "state.st").write_bytes(bytes(100)))
    content = (folder / "step-10" / "state.st").read_bytes()
    for damaged in [*cut(content), *flipped(content, 100)]:
        (folder / "step-10" / "state.st").write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"state\.st"):
            check_manifest(folder / "step-10")
        assert list(named(results)) == [f".{run.name}/step-10/state.st"]
        assert list(named(folder)) == ["step-10/state.st"]
    (folder / "step-10" / "state.st").write_bytes(content)
    (folder / "step-20").symlink_to("step-10")
    assert list(named(results)) == list(named(results)) == [f".{run.name}/step-20"]


def test_the_findings_as_json(results, run, capsys):
    _foreign_file(run)
    assert main(["verify", str(results), "--json"]) == 4
    printed = capsys.readouterr()
    assert json.loads(printed.out) == [
        {"path": f"{run.name}/notes.txt", "what": f"{run.name}/manifest.json does not name it"}
    ]
    assert printed.err == f"{results}: 7 files, 1 finding\n"


def test_a_folder_of_which_nothing_is_known_is_a_usage_error(tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").touch()
    for name, what in {
        "none": "there is no such folder",
        "file": "it is a file",
        "other": "it holds nothing to verify",
    }.items():
        assert main(["verify", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.startswith(f"corruptbench verify: {tmp_path / name}: {what}")


def test_results_of_which_nothing_is_finished_are_sound(tmp_path, capsys):
    (tmp_path / f".0123456789abcdef.{'0' * 16}").mkdir()
    (tmp_path / f".probe.{'0' * 16}").touch()
    assert main(["verify", str(tmp_path)]) == 0
    summary = f"{tmp_path}: 0 files, no findings; 2 unfinished or left over, with a dot in front\n"
    assert capsys.readouterr().out == summary


# The cache


@pytest.fixture(scope="module")
def full_cache(hopper, tmp_path_factory):
    """A corruption of the shipped dataset, and a surrogate and a note of other data. Nothing may change it."""
    folder = tmp_path_factory.mktemp("full") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORRUPTBENCH_CACHE", str(folder))
        patch.setattr(surrogates, "STEPS", 1)
        patch.setattr(surrogates, "resolve_engine", lambda _: "eager")
        trained = surrogates.write_surrogate
        patch.setattr(surrogates, "write_surrogate", partial(trained, engine="eager"))
        corrupting.corrupt(hopper, "act-adv:rate=0.0001", 0)
        fields = ("observations", "actions", "rewards", "next_observations", "terminations", "episodes")
        few = hopper.replace(id="few", **{name: getattr(hopper, name)[:300] for name in fields})
        surrogates.surrogate_for(few)
    (folder / "d4rl").mkdir()
    data = folder / "d4rl" / "hopper_medium-v2.hdf5"
    data.write_bytes(b"data")
    for name in ("d4rl/hopper-medium-v2", "minari/mujoco/hopper/medium-v0"):
        note = folder / "sha256" / f"{name}.json"
        note.parent.mkdir(parents=True)
        note.write_text(pretty({"sha256": sha256_file(data), "size": 4}))
    return folder, few


@pytest.fixture
def kept(full_cache, tmp_path):
    folder = Path(shutil.copytree(full_cache[0], tmp_path / "kept"))
    (corrupted,) = (folder / "corrupted").iterdir()
    (surrogate,) = (path for path in (folder / "surrogates").iterdir() if path.is_dir())
    return folder, corrupted, surrogate


def test_a_whole_cache(kept):
    folder, corrupted, surrogate = kept
    for where in (folder, folder / "corrupted", folder / "surrogates", corrupted, surrogate):
        assert named(where) == {}


def test_a_cached_corruption_with_a_bit_flipped(kept, hopper):
    folder, corrupted, _ = kept
    right = corrupting.read_cached(corrupted, hopper).dataset.sha256
    for name, count in {"corrupted.safetensors": 10, "corrupted.json": 40, "manifest.json": 40}.items():
        content = (corrupted / name).read_bytes()
        for damaged in [*flipped(content, count), content[:-1], content[: len(content) // 2], b""]:
            (corrupted / name).write_bytes(damaged)
            found = outcome(corrupting.read_cached, corrupted, hopper)
            if isinstance(found, IntegrityError):
                assert name in str(found)
            else:
                assert (name, damaged) == ("manifest.json", content[:-1])  # a line's end alone
                assert found.dataset.sha256 == right
            found = named(folder)
            assert any(name in f"{path} {what}" for path, what in found.items()), damaged
        (corrupted / name).write_bytes(content)
    assert named(folder) == {}


def test_corrupted_data_that_are_not_those_of_their_card(kept):
    """Though the manifest names them: the hash in the card is that of the whole corrupted dataset."""
    folder, corrupted, _ = kept
    arrays = load_file(corrupted / "corrupted.safetensors")
    arrays["actions"] = np.nextafter(arrays["actions"], np.float32(2))
    save_file(arrays, corrupted / "corrupted.safetensors")
    with_manifest(corrupted)
    where = corrupted.relative_to(folder)
    assert named(folder) == {
        f"{where}/corrupted.safetensors": f"its content is not what {corrupted / 'corrupted.json'} says"
    }
    moved = corrupted.rename(corrupted.with_name("0" * 32))
    assert f"corrupted/{moved.name}/corrupted.json" in named(folder)


def test_a_cached_surrogate_with_a_bit_flipped(kept, full_cache):
    folder, _, surrogate = kept
    right = surrogates._read(surrogate, full_cache[1])
    for name, count in {"surrogate.json": 100, "surrogate.safetensors": 20}.items():
        content = (surrogate / name).read_bytes()
        for damaged in [*flipped(content, count), content[:-1], b""]:
            (surrogate / name).write_bytes(damaged)
            found = outcome(surrogates._read, surrogate, full_cache[1])
            if isinstance(found, IntegrityError):
                assert name in str(found)
            else:
                assert found is None or found.sha256 == right.sha256  # with None it is trained again
            assert f"surrogates/{surrogate.name}/{name}" in named(folder)
        (surrogate / name).write_bytes(content)
    assert named(folder) == {}


def test_downloads_notes_and_what_is_foreign_in_a_cache(kept):
    folder, corrupted, surrogate = kept
    (folder / "d4rl" / "hopper_medium-v2.hdf5").write_bytes(b"dada")
    (folder / "d4rl" / "other.hdf5").touch()
    (folder / "d4rl" / ".walker2d_medium-v2.hdf5.part").touch()
    (folder / "sha256" / "d4rl" / "nothing-v2.json").write_text("{}\n")
    (folder / "sha256" / "minari" / "mujoco" / "hopper" / "medium-v0.json").write_text("{}\n")
    (folder / "notes.txt").touch()
    (folder / "corrupted" / "mine").mkdir()
    (corrupted / "manifest.json").unlink()
    shutil.rmtree(surrogate.parent)
    surrogate.parent.touch()
    verification = Verification(folder)
    assert {path.relative_to(folder).as_posix() for path, _ in verification.findings()} == {
        "d4rl/hopper_medium-v2.hdf5",
        "d4rl/other.hdf5",
        "sha256/d4rl/nothing-v2.json",
        "sha256/minari/mujoco/hopper/medium-v0.json",
        "notes.txt",
        "corrupted/mine",
        f"corrupted/{corrupted.name}/manifest.json",
        "surrogates",
    }
    assert verification.unfinished == 1


def test_a_dataset_and_its_card(tmp_path):
    folder = Path(shutil.copytree(surrogates.ASSETS / "hopper-replay", tmp_path / "data"))
    assert named(folder) == {}
    for name in ("data.hdf5", "surrogate.safetensors", "card.json", "surrogate.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1])
        assert list(named(folder)) == [name]
        (folder / name).write_bytes(content)
    (folder / "data.hdf5").unlink()
    (folder / "notes.txt").touch()
    assert named(folder).keys() == {"data.hdf5", "notes.txt"}


# Tables


def test_a_table_that_is_cut_or_flipped_anywhere(tables, tmp_path):
    """It is an error, or where no sum lies beside it the user's own: never numbers that pass for the benchmark's."""
    path, alone = tables / "core.csv", tmp_path / "core.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    (tables / "SHA256SUMS").write_text(sums_of({"core.csv": path.read_text()}))
    (tables / "core-summary.csv").unlink()
    right = shipped_runs()
    assert right == read_table(path).rows
    assert not read_table(path).own
    for number, damaged in damages(path):
        assert str(outcome(shipped_runs)) == f"{path}: its content is not what {tables / 'SHA256SUMS'} says"
        if number % 50 == 0:
            assert named(tables) == {"core.csv": f"its content is not what {tables / 'SHA256SUMS'} says"}
        alone.write_bytes(damaged)
        found = outcome(read_table, alone)
        if isinstance(found, DataError):
            assert str(found).startswith(f"{alone}, line ")
            assert "\n" not in str(found)
        else:
            assert found.own
    assert (named(tables), shipped_runs()) == ({}, right)


def test_sums_that_are_cut_or_flipped_anywhere(tables):
    right = shipped_runs()
    for _, damaged in damages(tables / "SHA256SUMS"):
        found = outcome(shipped_runs)
        if isinstance(found, IntegrityError):
            assert "SHA256SUMS" in str(found)
        else:
            assert found == []
            assert damaged in (b"", b"".join(damaged.splitlines(keepends=True)[:1]))  # lines are gone as a whole
        assert any("SHA256SUMS" in f"{path} {what}" for path, what in named(tables).items()), damaged
    assert shipped_runs() == right


@pytest.mark.parametrize("place", ["records", "again"])
def test_runs_beside_the_tables_are_looked_at(tables, record, place):
    kept = shutil.copytree(record.parent, tables / place / record.parent.name) / "record.json"
    assert named(tables) == {}
    kept.write_text(kept.read_text().replace('"ok"', '"okay"'))
    assert list(named(tables)) == [str(kept.relative_to(tables))]


def test_a_table_that_no_sum_names_is_the_users_own_and_that_is_said(tables, caplog):
    caplog.set_level("INFO")
    mine = Path(shutil.copy(tables / "core.csv", tables / "mine.csv"))
    assert not read_table(tables / "core.csv").own
    assert not caplog.text
    mine.write_text(mine.read_text().replace("37.9763", "97.9763"))
    assert read_table(mine).own
    assert f"{mine}: none of the benchmark's tables, and read as your own" in caplog.text
    assert named(tables) == {"mine.csv": f"{tables / 'SHA256SUMS'} does not name it"}
    assert "97.9763" not in {row["normalized"] for row in shipped_runs()}
    (tables / "core-summary.csv").unlink()
    assert named(tables)["core-summary.csv"] == f"{tables / 'SHA256SUMS'} names it and it is missing"
    with pytest.raises(IntegrityError, match=r"core-summary\.csv: .* names it and it is missing"):
        shipped_runs()
    with pytest.raises(UsageError, match=r"none\.csv: there is no such file"):
        read_table(tables / "none.csv")


def _table(rows):
    header, *others = csv.reader((LEADERBOARD / "core.csv").read_text().splitlines())
    return "".join(",".join(values) + "\n" for values in rows(list(header), [list(row) for row in others[:2]]))


def _second(column):
    """The value of the second run of the table."""
    return [*csv.DictReader((LEADERBOARD / "core.csv").read_text().splitlines())][1][column]


def _with(column, value):
    def rows(header, others):
        others[1][header.index(column)] = value
        return [header, *others]

    return rows


USERS = {
    "empty": (lambda h, o: [], 1, "column 'protocol' is missing"),
    "another column": (lambda h, o: [[*h[:-1], "comand"], *o], 1, "unknown column 'comand' (did you mean 'command'?)"),
    "a column less": (lambda h, o: [h[:-1]], 1, "column 'command' is missing"),
    "a column twice": (lambda h, o: [[*h, "algo"]], 1, "column 'algo' stands twice"),
    "a value less": (lambda h, o: [h, o[0], o[1][:-1]], 3, "it has 23 values, and the header has 24 names"),
    "a value more": (lambda h, o: [h, [*o[0], "x"]], 2, "it has 25 values, and the header has 24 names"),
    "an empty line": (lambda h, o: [h, o[0], [], o[1]], 3, "it has 0 values, and the header has 24 names"),
    "a run twice": (
        lambda h, o: [h, *o, [*o[0][: h.index("run_id")], o[1][h.index("run_id")], *o[0][h.index("run_id") + 1 :]]],
        4,
        f"run {_second('run_id')} stands in line 3 already",
    ),
    "no number": (
        _with("normalized", "12;5"),
        3,
        "normalized is '12;5', needed is a number or nothing",
    ),
    "not a number": (_with("return_mean", "nan"), 3, "return_mean is 'nan', needed is a number or nothing"),
    "no steps": (_with("steps", ""), 3, "steps is '', needed is a whole number"),
    "another outcome": (_with("outcome", "fine"), 3, "outcome is 'fine', needed is one of ok, diverged, failed"),
    "no run id": (_with("run_id", "../x"), 3, "run_id is '../x', needed is a run's 16 hexadecimal digits"),
    "a NUL": (_with("command", "x\0y"), 3, "command holds a NUL character, which no text has"),
    "an open quote": (_with("command", '"x'), 3, "not readable as CSV: unexpected end of data"),
}


@pytest.mark.parametrize(("rows", "line", "message"), USERS.values(), ids=USERS)
def test_a_users_table_is_refused_with_file_and_line(rows, line, message, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(_table(rows))
    with pytest.raises(DataError) as error:
        read_table(path)
    assert str(error.value).startswith(f"{path}, line {line}: {message}")
    assert "\n" not in str(error.value)


def test_a_users_table_in_another_encoding_or_cut_off(tmp_path):
    text = _table(_with("command", "über"))
    path = tmp_path / "mine.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as error:
        read_table(path)
    assert str(error.value) == f"{path}, line 3: not readable as UTF-8: invalid start byte"
    path.write_text(text[:-1])
    with pytest.raises(DataError, match=r"mine\.csv, line 3: no line break ends it, so the file may have been cut off"):
        read_table(path)
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))  # as spreadsheets write it
    assert read_table(path).rows == read_csv(text)


# Building tables


def test_build_names_every_broken_record_and_writes_nothing(results, run, tmp_path, capsys):
    """None vanishes from the table unseen, and none keeps the others from being looked at."""
    for digit, name in zip("0123", ("record.json", "record.json", "manifest.json", "timing.json"), strict=True):
        path = Path(shutil.copytree(run, results / (digit * 16))) / name
        path.write_bytes(path.read_bytes()[:-2]) if digit else None
    (results / ("1" * 16) / "record.json").unlink()
    (results / "notes").mkdir()  # of the user's own
    out = tmp_path / "out"
    assert main(["leaderboard", "build", "--records", str(results), "--out", str(out)]) == 4
    lines = capsys.readouterr().err.splitlines()
    broken = [f"{'0' * 16}/record.json", f"{'1' * 16}/record.json", f"{'2' * 16}/manifest.json"]
    assert [line.partition(": ")[0] for line in lines[:3]] == [str(results / name) for name in broken]
    assert lines[1].endswith(": it is missing")
    assert lines[3:] == ["corruptbench leaderboard: 3 of 5 records are broken, and no table was written"]
    assert not out.exists()


def test_building_again_gives_the_same_bytes(tmp_path):
    for out in ("one", "two"):
        arguments = ["--records", str(LEADERBOARD / "records"), "--suite", "core", "--out", str(tmp_path / out)]
        assert main(["leaderboard", "build", *arguments]) == 0
        assert named(tmp_path / out) == {}
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
