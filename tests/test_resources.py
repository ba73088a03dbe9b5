"""Room on the disk and in memory, before and after it runs out."""

import errno
import shutil

import pytest
import torch

from corruptbench import resources
from corruptbench.cli import main
from corruptbench.errors import ResourceError, UsageError
from corruptbench.resources import available_memory, lack_of, require_disk, require_memory


def test_a_disk_with_too_little_room_is_refused_with_both_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10_000, 8_766, 1_234))
    require_disk(tmp_path, 1_234, "a run")
    with pytest.raises(ResourceError) as error:
        require_disk(tmp_path, 1_235, "a run")
    assert str(error.value) == f"{tmp_path}: a run takes 1,235 bytes, and 1,234 are free"


def test_too_little_memory_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(resources, "available_memory", lambda: 1_234)
    require_memory(1_234, "a run")
    with pytest.raises(ResourceError) as error:
        require_memory(1_235, "a run")
    assert str(error.value) == "a run takes 1,235 bytes of memory, and 1,234 are available"
    monkeypatch.setattr(resources, "available_memory", lambda: None)
    require_memory(10**18, "a run")


def test_available_memory_is_between_a_megabyte_and_an_exabyte():
    assert available_memory() is None or 10**6 < available_memory() < 10**18


def test_a_container_has_less_than_the_system(tmp_path, monkeypatch):
    for name, text in {
        "memory.max": "3000\n",
        "memory.current": "2500\n",
        "memory.stat": "anon 10\ninactive_file 300\n",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    if available_memory() is not None:
        assert available_memory() == 800
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory() is None or available_memory() > 10**6


def allocate():
    torch.empty(10**15)


def write():
    raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/x")


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (allocate, "not enough memory: RuntimeError: "),
        (lambda: bytearray(10**18), "not enough memory: MemoryError: "),
        (write, "/somewhere/x: No space left on device"),
    ],
)
def test_what_is_missing_is_told_apart(action, said):
    with pytest.raises((RuntimeError, MemoryError, OSError)) as raised:
        action()
    assert str(lack_of(raised.value)).startswith(said)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not fit"), OSError(errno.ENOENT, "No such file"), UsageError("x"), ValueError()]
)
def test_what_is_broken_is_no_lack(error):
    assert lack_of(error) is None


@pytest.mark.parametrize("short", ["memory", "disk"])
def test_a_run_without_room_is_refused_before_it_trains(short, small_file, tmp_path, monkeypatch, capsys):
    if short == "memory":
        monkeypatch.setattr(resources, "available_memory", lambda: 1_000)
    else:
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10_000, 9_000, 1_000))
    data = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5", "--corrupt", "none"]
    tiny = ["--algo", "bc", "--bc.hidden", "8", "--engine", "eager", "--steps", "5"]
    assert main(["run", *tiny, *data, "--out", str(tmp_path / "out")]) == 5
    said = capsys.readouterr().err.splitlines()[-1]
    assert "1,000 are" in said
    assert list((tmp_path / "out").iterdir()) == []
