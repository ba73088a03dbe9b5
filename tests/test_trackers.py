"""What a run tells a tracker while it trains: its curve and its end, without a word of it in the record."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from corruptbench import attempt, trackers, training
from corruptbench.cli import main
from corruptbench.records import read_records

ARGUMENTS = ["run", "--algo", "bc", "--bc.hidden", "8", "--corrupt", "none", "--engine", "eager", "--steps", "30"]


@pytest.fixture
def words(small_file, tmp_path, monkeypatch):
    """A run of 30 steps with a point of its curve every 10."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    for name, value in (("FINAL_EPISODES", 2), ("CURVE_EPISODES", 1), ("CURVE_EVERY", 10)):
        monkeypatch.setattr(training, name, value)
    return [*ARGUMENTS, "--dataset", f"file:{small_file}", "--env", "Hopper-v5", "--log-to", str(tmp_path / "logs")]


def curve_of(out):
    (path,) = out.glob("*/curve.csv")
    rows = csv.DictReader(path.read_text().splitlines())
    return [{name: float(value) for name, value in row.items()} for row in rows]


class Noted:
    """Keeps what it is told; breaks where it is asked to."""

    def __init__(self, breaks=""):
        self.points, self.ends, self.breaks = [], [], breaks

    def __call__(self, spec, folder):
        if self.breaks == "begin":
            raise ConnectionError("no such host")
        self.spec = spec
        return self

    def point(self, step, values):
        if self.breaks == "point":
            raise ConnectionError("no such host")
        self.points.append({"step": step, **values})

    def end(self, record):
        self.ends.append(record)
        if self.breaks == "end":
            raise ConnectionError("no such host")


@pytest.fixture
def noted(monkeypatch):
    """Maps what shall break to a tracker that stands in for TensorBoard."""

    def made(breaks=""):
        tracker = Noted(breaks)
        monkeypatch.setitem(trackers.TRACKERS, "tensorboard", tracker)
        return tracker

    return made


def test_a_tracker_is_told_the_curve_and_the_record(words, tmp_path, noted):
    tracker = noted()
    assert main([*words, "--out", str(tmp_path / "out"), "--log", "tensorboard"]) == 0
    assert tracker.points == curve_of(tmp_path / "out")
    assert [point["step"] for point in tracker.points] == [10, 20, 30]
    assert [record.text() for record in tracker.ends] == [record.text() for record in read_records(tmp_path / "out")]


@pytest.mark.parametrize("breaks", ["begin", "point", "end"])
def test_a_tracker_that_breaks_costs_nothing_and_changes_nothing(words, tmp_path, noted, caplog, breaks):
    assert main([*words, "--out", str(tmp_path / "plain")]) == 0
    tracker = noted(breaks)
    assert main([*words, "--out", str(tmp_path / "out"), "--log", "tensorboard"]) == 0
    assert caplog.text.count("the run goes on without it") == 1
    assert "--log tensorboard: ConnectionError: no such host" in caplog.text
    assert len(tracker.points) == (3 if breaks == "end" else 0)
    for name in ("record.json", "curve.csv", "policy.safetensors", "agent.safetensors"):
        (plain,), (told,) = (list((tmp_path / folder).glob(f"*/{name}")) for folder in ("plain", "out"))
        assert plain.read_bytes() == told.read_bytes()


def test_a_run_that_is_stopped_ends_its_tracker_without_a_record(words, tmp_path, noted, monkeypatch):
    tracker = noted()

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(attempt, "save_weights", lambda *_: None)
    monkeypatch.setattr(attempt.Attempt, "score", stopped)
    with pytest.raises(KeyboardInterrupt):
        main([*words, "--out", str(tmp_path / "out"), "--log", "tensorboard"])
    assert tracker.ends == [None]


def test_tensorboard_reads_back_what_was_measured(words, tmp_path):
    pytest.importorskip("tensorboard")
    assert main([*words, "--out", str(tmp_path / "out"), "--log", "tensorboard"]) == 0
    (record,) = read_records(tmp_path / "out")
    code = (
        "import json, sys; from tensorboard.backend.event_processing.event_accumulator import EventAccumulator; "
        "found = EventAccumulator(sys.argv[1]); found.Reload(); "
        "print(json.dumps({tag: [[e.step, e.value] for e in found.Scalars(tag)] for tag in found.Tags()['scalars']}))"
    )  # its warnings are its own
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "logs" / record.run_id)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    for point in curve_of(tmp_path / "out"):
        for name in point.keys() - {"step"}:
            assert [point["step"], pytest.approx(point[name], rel=1e-6)] in found[f"curve/{name}"]
    assert found["score/return_mean"] == [[30, pytest.approx(record.score["return_mean"], rel=1e-6)]]


def test_wandb_writes_a_run_offline(words, tmp_path, monkeypatch):
    """In a process of its own, because it starts threads and a service."""
    pytest.importorskip("wandb")
    environment = {"HOME": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path), "WANDB_CACHE_DIR": str(tmp_path)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    command = [sys.executable, "-m", "corruptbench", *words, "--out", str(tmp_path / "out"), "--log", "wandb"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "goes on without it" not in done.stderr
    (record,) = read_records(tmp_path / "out")
    (written,) = (tmp_path / "logs").glob(f"wandb/offline-run-*-{record.run_id}/*.wandb")
    assert record.run_id.encode() in written.read_bytes()
    assert b"normalized_mean" in written.read_bytes()
    assert {path.name for path in Path(tmp_path).iterdir()} >= {"logs", "out"}


@pytest.mark.parametrize(
    ("name", "words_"),
    [("tensorbord", "unknown tracker 'tensorbord'"), ("wandb", "pip install 'corruptbench[wandb]'")],
)
def test_a_tracker_that_is_not_there_is_one_line(words, tmp_path, capsys, monkeypatch, name, words_):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda _: None)
    assert main([*words, "--out", str(tmp_path / "out"), "--log", name]) == 2
    assert words_ in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
