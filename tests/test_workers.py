"""Runs side by side: each in its own process, with the results of runs that were alone."""

import signal
import time

import pytest

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
    monkeypatch.setattr(workers.tqdm, "update", lambda bar: (_ for _ in ()).throw(KeyboardInterrupt))
    slow = ["run", *ARGUMENTS, "--corrupt", "none", "--steps", "1000000", "--out", str(tmp_path)]
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        side_by_side([["--version"], slow], 2)
    assert time.monotonic() - begin < 60
    assert all(process.poll() is not None for process, _ in started)
    assert started[1][0].returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)  # before it could listen, or after


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
