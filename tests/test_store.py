"""Files that are whole or absent: what is left when writing them fails, at every point where it can."""

import errno
import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from corruptbench import store
from corruptbench.errors import IntegrityError, ResourceError
from corruptbench.store import (
    MANIFEST,
    beside,
    canonical,
    check_manifest,
    parse_json,
    pretty,
    probe_writable,
    publish,
    read_json,
    sha256_file,
    write_file,
)


def names(folder):
    """Everything below a folder, hidden or not."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def full(*arguments, **keywords):
    raise OSError(errno.ENOSPC, "No space left on device")


def fill(folder, text="one"):
    (folder / "a.txt").write_text(text)
    (folder / "sub").mkdir()
    (folder / "sub" / "b.bin").write_bytes(b"\0\1\2")


# JSON


def test_canonical_is_one_text_for_one_value():
    value = {"b": [1, 2.5, None, True], "a": {"y": "ü", "x": ()}}
    assert canonical(value) == '{"a":{"x":[],"y":"\\u00fc"},"b":[1,2.5,null,true]}'
    assert canonical(dict(reversed(value.items()))) == canonical(value)
    assert canonical(0.1 + 0.2) == "0.30000000000000004"  # floats to the last bit


def test_pretty_is_the_same_value_for_people():
    value = {"b": 1, "a": [1, {"d": None, "c": 2}]}
    assert pretty(value) == '{\n "a": [\n  1,\n  {\n   "c": 2,\n   "d": null\n  }\n ],\n "b": 1\n}\n'
    assert parse_json(pretty(value)) == value


@pytest.mark.parametrize("write", [canonical, pretty])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_only_finite_numbers_are_written(write, number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write({"score": [1.0, number]})


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_only_finite_numbers_are_read(constant):
    with pytest.raises(ValueError, match=f"^{constant} is not a number$"):
        parse_json(f'{{"score": [{constant}]}}')


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"x": {"b": 1, "c": 2, "b": 3}}]'])
def test_a_key_that_stands_twice_is_an_error(text):
    with pytest.raises(ValueError, match=r"^a key stands twice$"):
        parse_json(text)


def test_parse_json_reads_what_json_reads():
    text = '{"a": {"a": 1}, "b": [{"a": 1.5}, {"a": "NaN"}], "c": null}'
    assert parse_json(text) == json.loads(text)


def test_read_json_names_the_file(tmp_path):
    path = tmp_path / "x.json"
    for content in (b'{"a":', b'{"a": NaN}', b"\xff\xfe", b""):
        path.write_bytes(content)
        with pytest.raises(IntegrityError) as error:
            read_json(path)
        assert str(error.value).startswith(f"{path}: not readable as JSON: ")
        assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(IntegrityError) as error:
        read_json(path)
    assert str(error.value) == f"{path}: not readable as JSON: [Errno 2] No such file or directory: '{path}'"
    path.write_bytes('{"ä": 1}'.encode())
    assert read_json(path) == {"ä": 1}


def test_sha256_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


# One file


def test_write_file_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b" / "c.csv"
    write_file(path, b"old")
    write_file(path, b"new\r\n")
    assert path.read_bytes() == b"new\r\n"
    assert names(tmp_path) == ["a", "a/b", "a/b/c.csv"]


@pytest.mark.parametrize("broken", ["replace", "fsync"])
@pytest.mark.parametrize("existing", [False, True])
def test_write_file_leaves_nothing_over_when_it_fails(tmp_path, monkeypatch, broken, existing):
    path = tmp_path / "table.csv"
    if existing:
        path.write_bytes(b"old")
    monkeypatch.setattr(os, broken, full)
    with pytest.raises(ResourceError) as error:
        write_file(path, b"12345")
    assert str(error.value) == f"{path}: 5 bytes could not be written: No space left on device"
    assert names(tmp_path) == (["table.csv"] if existing else [])
    if existing:
        assert path.read_bytes() == b"old"


def test_write_file_says_so_where_its_folder_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "x.csv", tmp_path / "file" / "deeper" / "x.csv"):
        with pytest.raises(ResourceError) as error:
            write_file(path, b"12345")
        assert str(error.value) in (
            f"{path}: 5 bytes could not be written: Not a directory",
            f"{path}: 5 bytes could not be written: File exists",
        )
    assert names(tmp_path) == ["file"]


def test_write_file_leaves_nothing_over_when_it_is_interrupted(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "table.csv", b"12345")
    assert names(tmp_path) == []


def test_write_file_never_shows_half_a_file(tmp_path, monkeypatch):
    """At the time of the rename the new content lies beside the old one, whole."""
    path, seen = tmp_path / "x", []
    path.write_bytes(b"old")
    rename = os.replace

    def watch(source, target):
        assert source.parent == tmp_path  # the same file system, or it is no rename
        seen.append((path.read_bytes(), source.read_bytes()))
        rename(source, target)

    monkeypatch.setattr(os, "replace", watch)
    write_file(path, b"the new content")
    assert seen == [(b"old", b"the new content")]
    assert path.read_bytes() == b"the new content"


# A folder


def entry(content):
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def test_publish_writes_a_manifest_of_every_file(tmp_path):
    folder = tmp_path / "results" / "run"
    publish(folder, fill)
    assert names(tmp_path) == ["results", "results/run"] + [
        f"results/run/{name}" for name in ("a.txt", "manifest.json", "sub", "sub/b.bin")
    ]
    assert MANIFEST == "manifest.json"
    assert (folder / MANIFEST).read_text() == pretty({"a.txt": entry(b"one"), "sub/b.bin": entry(b"\0\1\2")})
    check_manifest(folder)


def test_publish_appears_only_when_whole(tmp_path):
    folder = tmp_path / "run"

    def write(temporary):
        fill(temporary)
        assert not folder.exists()
        assert temporary.parent == tmp_path  # the same file system, or it is no rename
        assert temporary.name.startswith(".run.")

    publish(folder, write)
    check_manifest(folder)


def test_publish_replaces_where_it_is_asked_to(tmp_path):
    folder = tmp_path / "run"
    publish(folder, fill)
    publish(folder, lambda temporary: (temporary / "new.txt").write_text("two"), replace=True)
    assert names(tmp_path) == ["run", "run/manifest.json", "run/new.txt"]
    check_manifest(folder)
    publish(tmp_path / "fresh", fill, replace=True)  # nothing there to give way
    check_manifest(tmp_path / "fresh")


def test_an_existing_whole_folder_wins(tmp_path):
    folder = tmp_path / "run"
    publish(folder, fill)
    publish(folder, lambda temporary: fill(temporary, "two"))
    assert (folder / "a.txt").read_text() == "one"
    assert names(tmp_path) == ["run", "run/a.txt", "run/manifest.json", "run/sub", "run/sub/b.bin"]


def test_an_existing_folder_that_is_not_whole_does_not_win(tmp_path):
    folder = tmp_path / "run"
    publish(folder, fill)
    (folder / "a.txt").write_text("eno")
    with pytest.raises(IntegrityError) as error:
        publish(folder, lambda temporary: fill(temporary, "two"))
    assert str(error.value) == f"{folder / 'a.txt'}: its content is not what {folder / MANIFEST} says was written"
    assert (folder / "a.txt").read_text() == "eno"  # evidence stays where it was found
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("existing", [False, True])
def test_a_write_that_fails_leaves_nothing(tmp_path, replace, existing):
    folder = tmp_path / "run"
    if existing:
        publish(folder, fill)

    def breaks(error):
        def write(temporary):
            fill(temporary, "two")
            raise error

        return write

    full_disk = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ResourceError) as error:
        publish(folder, breaks(full_disk), replace=replace)
    assert str(error.value) == f"{folder}: could not be written: No space left on device"
    for other in (RuntimeError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(other)):
            publish(folder, breaks(other), replace=replace)
    assert [path.name for path in tmp_path.iterdir()] == (["run"] if existing else [])
    if existing:
        assert (folder / "a.txt").read_text() == "one"
        check_manifest(folder)


@pytest.mark.parametrize("broken", ["fsync", "rename", "replace"])
def test_a_disk_that_fails_while_publishing_leaves_nothing(tmp_path, monkeypatch, broken):
    folder = tmp_path / "run"
    monkeypatch.setattr(os, broken, full)
    with pytest.raises(ResourceError) as error:
        publish(folder, fill)
    assert str(error.value).startswith(str(tmp_path))
    assert str(error.value).endswith(" could not be written: No space left on device")
    assert names(tmp_path) == []


def test_publish_where_a_file_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError) as error:
        publish(tmp_path / "file" / "run", fill)
    assert str(error.value) == f"{tmp_path / 'file' / 'run'}: could not be written: File exists"
    assert names(tmp_path) == ["file"]


def test_several_who_publish_at_once_leave_one_whole_folder(tmp_path):
    folder, gate, errors = tmp_path / "run", threading.Barrier(8), []

    def one(number):
        def write(temporary):
            fill(temporary, f"by {number}")
            gate.wait()

        try:
            publish(folder, write)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    check_manifest(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# What killed processes leave


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    table, folder = tmp_path / "table.csv", tmp_path / "run"
    left = [tmp_path / f".table.csv.{'0' * 16}", tmp_path / f".run.{'1' * 16}"]
    others = [tmp_path / ".table.csv.part", tmp_path / f".other.csv.{'2' * 16}", tmp_path / f".run.{'3' * 15}"]
    left[0].write_bytes(b"half")
    left[1].mkdir()
    (left[1] / "a.txt").write_text("half")
    for path in others:
        path.write_text("")
    with beside(table, lambda path: path.touch()) as living, beside(folder, Path.mkdir) as working:
        assert not any(path.exists() for path in left)
        write_file(table, b"new")
        publish(folder, fill)
        assert living.exists()
        assert working.exists()
    assert sorted(tmp_path.iterdir()) == sorted([*others, table, folder])


def test_a_link_in_place_of_a_leftover_leads_nowhere(tmp_path):
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "x").write_text("alive")
    (tmp_path / f".run.{'0' * 16}").symlink_to(canary, target_is_directory=True)
    publish(tmp_path / "run", fill)
    assert (canary / "x").read_text() == "alive"


def test_without_locks_nothing_is_taken_for_a_leftover(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "fcntl", None)
    left = tmp_path / f".x.{'0' * 16}"
    left.write_bytes(b"perhaps somebody's")
    write_file(tmp_path / "x", b"new")
    assert left.exists()
    assert (tmp_path / "x").read_bytes() == b"new"


# What is read back


@pytest.mark.parametrize("name", ["a.txt", "sub/b.bin"])
def test_check_manifest_names_what_is_missing(tmp_path, name):
    publish(tmp_path / "run", fill)
    (tmp_path / "run" / name).unlink()
    with pytest.raises(IntegrityError) as error:
        check_manifest(tmp_path / "run")
    assert str(error.value) == f"{tmp_path / 'run' / name}: the manifest names it and it is missing"


@pytest.mark.parametrize("name", ["a.txt", "sub/b.bin"])
@pytest.mark.parametrize("change", [lambda b: b[:-1] + b"?", lambda b: b + b"\n", lambda b: b[:-1], lambda b: b""])
def test_check_manifest_names_what_changed(tmp_path, name, change):
    folder = tmp_path / "run"
    publish(folder, fill)
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(IntegrityError) as error:
        check_manifest(folder)
    assert str(error.value) == f"{folder / name}: its content is not what {folder / MANIFEST} says was written"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"a.txt": {}}', '{"a.txt": 3}', '{"a.txt": null}'])
def test_check_manifest_reports_a_manifest_that_is_none(tmp_path, content):
    folder = tmp_path / "run"
    publish(folder, fill)
    (folder / MANIFEST).write_text(content)
    with pytest.raises(IntegrityError) as error:
        check_manifest(folder)
    assert str(folder / MANIFEST) in str(error.value)


@pytest.mark.parametrize("name", ["b.txt", "sub/c.txt", "sub/manifest.json"])
def test_check_manifest_names_what_was_added(tmp_path, name):
    folder = tmp_path / "run"
    publish(folder, fill)
    (folder / name).write_text("of somebody else")
    with pytest.raises(IntegrityError) as error:
        check_manifest(folder)
    assert str(error.value) == f"{folder / name}: {folder / MANIFEST} does not name it"


def test_check_manifest_without_one(tmp_path):
    with pytest.raises(IntegrityError) as error:
        check_manifest(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / MANIFEST}: not readable as JSON: ")


def test_probe_writable_makes_the_folder_and_leaves_it_empty(tmp_path):
    probe_writable(tmp_path / "a" / "b")
    probe_writable(tmp_path / "a" / "b")
    assert names(tmp_path) == ["a", "a/b"]


def test_probe_writable_says_why_not(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder, why in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "out", "Not a directory")):
        with pytest.raises(ResourceError) as error:
            probe_writable(folder)
        assert str(error.value) == f"--out {folder}: cannot be written to: {why}"
    assert names(tmp_path) == ["file"]


def test_probe_writable_on_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.touch", full)
    with pytest.raises(ResourceError) as error:
        probe_writable(tmp_path)
    assert str(error.value) == f"--out {tmp_path}: cannot be written to: No space left on device"
    assert names(tmp_path) == []
