"""Runs side by side: each in its own process, with the results of runs that were alone."""

import contextlib
import os
import signal
import subprocess
import time
from functools import partial

import pytest
from tqdm import tqdm

from corruptbench import workers
from corruptbench.cli import main
from corruptbench.workers import side_by_side

ARGUMENTS = ["--algo", "bc", "--steps", "2", "--engine", "eager", "--no-score", "--bc.hidden", "8"]


@pytest.fixture
def started(monkeypatch):
    """Every process that was started, and how many others were under way at its start."""
    found = []
    start = workers._start

    def watched(arguments):
        found.append((start(arguments), sum(process.poll() is None for process, _ in found)))
        return found[-1][0]

    monkeypatch.setattr(workers, "_start", watched)
    return found


def test_exit_codes_in_order_and_no_more_at_once_than_workers(started):
    commands = [["--version"], ["rnu"], ["list", "suites"], ["--version"], ["run", "--algo", "bc"]]
    assert side_by_side(commands, 2) == [0, 2, 0, 0, 2]
    assert len(started) == 5
    assert max(others for _, others in started) == 1


def test_what_ends_it_ends_the_others(started, monkeypatch, tmp_path):
    """A broken progress bar, for instance."""
    monkeypatch.setattr(tqdm, "update", lambda bar: (_ for _ in ()).throw(KeyboardInterrupt))
    slow = ["run", *ARGUMENTS, "--corrupt", "none", "--steps", "1000000", "--out", str(tmp_path)]
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        side_by_side([["--version"], slow], 2)
    assert time.monotonic() - begin < 60
    assert all(process.poll() is not None for process, _ in started)
    assert started[1][0].returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)  # before it could listen, or after


def test_a_worker_draws_no_bar_on_the_terminal_that_it_shares(small_file, tmp_path, monkeypatch):
    """The same process without the variable draws one."""
    data = ["--corrupt", "none", "--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
    monkeypatch.delenv(workers.DISABLE, raising=False)
    assert drawn_by(["run", *ARGUMENTS, *data, "--out", str(tmp_path / "worker")], monkeypatch) == ""
    monkeypatch.setattr(workers, "DISABLE", "ANOTHER_NAME")
    drawn = drawn_by(["run", *ARGUMENTS, *data, "--out", str(tmp_path / "alone")], monkeypatch)
    assert "bc: 100%" in drawn
    assert "2/2" in drawn
    assert len(list(tmp_path.glob("*/*/record.json"))) == 2


def drawn_by(arguments, monkeypatch):
    """What a worker leaves on a terminal that is its standard error."""
    ours, theirs = pytest.importorskip("pty").openpty()
    pytest.importorskip("termios").tcsetwinsize(theirs, (24, 80))  # one without width has no room for a bar
    drawn = b""
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", partial(subprocess.Popen, stderr=theirs))
        process = workers._start(arguments)
    os.close(theirs)
    with process, contextlib.suppress(OSError):  # what a terminal says that nobody writes on any more
        while part := os.read(ours, 4096):
            drawn += part
    os.close(ours)
    return drawn.decode()


def test_an_ensemble_side_by_side_is_the_ensemble(tmp_path, caplog, started):
    """Five members in two workers; the record of one is that of a run alone, and a second call finds all of them."""
    together, alone = tmp_path / "together", tmp_path / "alone"
    ensemble = ["run", *ARGUMENTS, "--corrupt", "rew-auto", "--out", str(together), "--workers", "2"]
    caplog.set_level("INFO", "corruptbench")
    assert main(ensemble) == 0
    found_again = caplog.text.count("holds this run already")
    assert len(started) == 5
    assert found_again == 5
    records = {path.parent.name: path.read_bytes() for path in together.glob("*/record.json")}
    assert len(records) == 5

    assert main(["run", *ARGUMENTS, "--corrupt", "rew-swap", "--out", str(alone)]) == 0
    (path,) = alone.glob("*/record.json")
    assert records[path.parent.name] == path.read_bytes()
