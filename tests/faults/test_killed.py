"""Killed at any moment, the same command goes on and ends in the bytes it would have ended in."""

import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from builders import random_dataset
from fault_children import (
    EVERY,
    STEPS,
    arguments_for,
    child,
    command,
    damage,
    few_episodes,
    hashes,
    in_turn,
    is_full,
    killed_at,
    sweep_arguments,
)

from corruptbench import resume, train
from corruptbench.checkpoints import Checkpoints
from corruptbench.cli import main
from corruptbench.optimizers import optimizer_for
from corruptbench.records import read_records
from corruptbench.registry import ALGORITHMS
from corruptbench.store import check_manifest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    few_episodes(monkeypatch)


@pytest.fixture(scope="module")
def reference(small_file, tmp_path_factory):
    """The run's folder as a command that nobody disturbed leaves it."""
    out = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch:
        few_episodes(patch)
        assert main(arguments_for(small_file, out)) == 0
    (folder,) = out.iterdir()
    return folder


def sound(out, reference):
    """Whether the results are those of the reference, and nothing else is there."""
    assert [path.name for path in out.iterdir()] == [reference.name]
    check_manifest(out / reference.name)
    assert hashes(out) == hashes(reference.parent)


# At every file event


def test_a_run_killed_at_every_file_event_ends_in_the_same_bytes(small_file, tmp_path, reference):
    resumed = 0
    for event in range(1, 1_000):
        out = tmp_path / f"{event}"
        killed = child(killed_at(event, out, command(*arguments_for(small_file, out))), tmp_path / "killed")
        code = killed.wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL, killed.said()
        if out.exists():
            assert all(record.outcome == "ok" for record in read_records(out))
            assert main(["verify", str(out)]) == 0
        again = child(command(*arguments_for(small_file, out)), tmp_path / "again")
        assert again.wait() == 0, again.said()
        resumed += "goes on from the checkpoint" in again.said()
        sound(out, reference)
    assert event > 50  # there were many
    assert resumed > 10


def test_a_table_killed_at_every_file_event_is_built_the_same(tmp_path, reference):
    def build(out):
        return ["leaderboard", "build", "--records", str(reference.parent), "--suite", "core", "--out", str(out)]

    assert main(build(tmp_path / "whole")) == 0
    for event in range(1, 1_000):
        out = tmp_path / f"{event}"
        code = child(killed_at(event, out, command(*build(out))), tmp_path / "killed").wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert main(build(out)) == 0
        assert hashes(out) == hashes(tmp_path / "whole")
    assert event > 10


# At a random time, and by signals


def begun(out, runs=1):
    """Waits until the first checkpoint stands."""
    deadline = time.monotonic() + 60
    while len(list(out.glob(".*/step-*"))) < runs:
        assert time.monotonic() < deadline, "no checkpoint in a minute"
        time.sleep(0.002)


LONG = ("--algo", "bc", "--bc.hidden", "8,8", "--steps", "1500", "--checkpoint-every", "300")
"""Long enough to be met on the way."""


@pytest.fixture(scope="module")
def long_reference(small_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("long")
    with pytest.MonkeyPatch.context() as patch:
        few_episodes(patch)
        patch.setattr("corruptbench.training.CURVE_EVERY", 5_000)
        assert main(arguments_for(small_file, out, *LONG)) == 0
    (folder,) = out.iterdir()
    return folder


@pytest.fixture
def long(monkeypatch):
    monkeypatch.setattr("corruptbench.training.CURVE_EVERY", 5_000)


def test_kills_at_random_times(small_file, tmp_path, long_reference, long):
    """scripts/random_kills.py does it a hundred times, with whole commands."""
    arguments, rng = arguments_for(small_file, tmp_path / "out", *LONG), np.random.default_rng(0)
    for _ in range(4):
        victim = child(command(*arguments), tmp_path / "said")
        begun(tmp_path / "out")
        time.sleep(rng.uniform(0, 0.3))
        os.kill(victim.pid, signal.SIGKILL)
        assert victim.wait() == -signal.SIGKILL, victim.said()
    assert main(arguments) == 0
    sound(tmp_path / "out", long_reference)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_within_ten_seconds(small_file, tmp_path, long_reference, long, number):
    arguments = arguments_for(small_file, tmp_path / "out", *LONG)
    victim = child(command(*arguments), tmp_path / "said")
    begun(tmp_path / "out")
    begin = time.monotonic()
    os.kill(victim.pid, number)
    assert victim.wait() == 128 + number, victim.said()
    assert time.monotonic() - begin < 10
    assert victim.said().splitlines()[-1] == f"corruptbench run: stopped by {number.name}"
    (work,) = (tmp_path / "out").iterdir()
    steps = sorted(int(path.name.removeprefix("step-")) for path in work.glob("step-*"))
    again = child(command(*arguments), tmp_path / "again")
    assert again.wait() == 0
    assert f"goes on from the checkpoint {work / f'step-{steps[-1]}'}" in again.said()
    sound(tmp_path / "out", long_reference)


def test_a_second_ctrl_c_ends_the_process_there_and_then(tmp_path):
    from corruptbench.stopping import deferred, stoppable

    def busy():
        with stoppable(), deferred():
            (tmp_path / "busy").touch()
            while True:
                time.sleep(0.01)

    victim = child(busy, tmp_path / "said")
    while not (tmp_path / "busy").exists():
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGINT)
    time.sleep(0.2)
    os.kill(victim.pid, signal.SIGTERM)  # a parent that stops its workers: no second Ctrl-C
    time.sleep(0.2)
    assert os.waitpid(victim.pid, os.WNOHANG) == (0, 0)
    os.kill(victim.pid, signal.SIGINT)
    assert victim.wait(5) == 128 + signal.SIGINT


def test_handlers_are_put_back(tmp_path, capsys):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["list", "suites"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_workers_end_with_a_parent_that_is_killed(small_file, tmp_path):
    """Their standard input ends, and so do they."""
    forever = (*LONG, "--steps", "1000000", "--corrupt", "rew-auto", "--workers", "2")
    arguments = arguments_for(small_file, tmp_path / "out", *forever)
    parent = child(command(*arguments), tmp_path / "said")
    begun(tmp_path / "out", 2)
    found = subprocess.run(["pgrep", "-P", str(parent.pid)], capture_output=True, text=True, check=True)
    workers = [int(pid) for pid in found.stdout.split()]
    assert len(workers) == 2
    os.kill(parent.pid, signal.SIGKILL)
    assert parent.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # an orphan that nobody has waited for yet is no living process
        return file.read().rpartition(")")[2].split()[0] != "Z"


# What a checkpoint has to hold


@pytest.mark.parametrize("name", ["bc", "iql", "riql"])
def test_a_resume_that_forgets_one_piece_of_state_is_found_out(name, tmp_path):
    """Each piece in turn is left as a new learner has it: the weights at the end are others."""

    def learner(name):
        agent = ALGORITHMS.get(name)(hidden=(8, 8), batch_size=16)
        return train.Learner(agent, optimizer_for(agent, "sam"), random_dataset(), seed=3, steps=20, engine="eager")

    def trained(forget=None):
        first, second = learner(name), learner(name)
        first.advance(10)
        arrays = {key: values.copy() for key, values in first.arrays().items()}
        kept = {**arrays, **({forget: learner(name).arrays()[forget]} if forget in arrays else {})}
        second.restore(0 if forget == "step" else first.step, kept)
        second.advance(10)
        return {key: values.tobytes() for key, values in second.arrays().items() if not key.startswith("loss.")}

    whole = learner(name)
    whole.advance(20)
    expected = {key: v.tobytes() for key, v in whole.arrays().items() if not key.startswith("loss.")}
    assert trained() == expected
    assert set(ALGORITHMS.get(name)().acting or ["actor"]) <= {key.partition(".")[2] for key in expected}
    for forget in [*expected, "step"]:
        assert trained(forget) != expected, f"{forget} could be forgotten"


def test_the_curve_goes_on_where_it_stood(small_file, tmp_path, reference, monkeypatch):
    """A run stopped at the very step of a point of the curve, before the point was measured."""
    reach = resume.Training.reach

    def stopped(self, step, on_step):
        reach(self, step, on_step)
        if step == 30:
            self.save()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resume.Training, "reach", stopped)
        with pytest.raises(KeyboardInterrupt):
            main(arguments_for(small_file, tmp_path))
    assert main(arguments_for(small_file, tmp_path)) == 0
    sound(tmp_path, reference)


def test_what_was_stopped_without_scores_is_trained_anew_with_them(small_file, tmp_path, reference, monkeypatch):
    """Its checkpoint has no curve, and the points before it could not be measured any more."""
    save = resume.Resumable.save

    def stopped(self):
        save(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resume.Resumable, "save", stopped)
        with pytest.raises(KeyboardInterrupt):
            main(arguments_for(small_file, tmp_path, "--no-score"))
    assert main(arguments_for(small_file, tmp_path)) == 0
    sound(tmp_path, reference)


@pytest.fixture
def stopped(small_file, tmp_path, monkeypatch):
    """Results of the run that stopped at step 35, with checkpoints of the steps 20 and 35."""
    out, advance = tmp_path / "out", train.Learner.advance

    def until_35(self, count, on_step):
        if self.step + count > 35:
            advance(self, 35 - self.step, on_step)
            os.kill(os.getpid(), signal.SIGTERM)
            on_step()
        return advance(self, count, on_step)

    with monkeypatch.context() as patch:
        patch.setattr(train.Learner, "advance", until_35)
        assert main(arguments_for(small_file, out)) == 143
    return out


@pytest.mark.parametrize("name", ["arrays.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(name, stopped, small_file, reference, caplog):
    (work,) = stopped.iterdir()
    assert sorted(path.name for path in work.iterdir()) == [f"step-{EVERY}", "step-35"]
    damage(work / "step-35" / name, np.random.default_rng(3))
    caplog.set_level("INFO", "corruptbench")
    assert main(arguments_for(small_file, stopped)) == 0
    assert f"a damaged checkpoint is passed over: {work / 'step-35'}" in caplog.text
    assert f"goes on from the checkpoint {work / f'step-{EVERY}'}" in caplog.text
    sound(stopped, reference)


def test_another_number_of_threads_begins_anew(stopped, small_file, caplog):
    """It would give other bytes than either number alone."""
    (work,) = stopped.iterdir()
    found = Checkpoints(work, EVERY)._all()
    assert main(arguments_for(small_file, stopped, "--threads", "2")) == 0
    assert f"{work} holds a checkpoint made with execution.threads 1, and this command has 2" in caplog.text
    assert len(found) == 2
    assert [path.name for path in stopped.iterdir()] == [work.name[1:]]


def test_a_failed_run_keeps_its_training(small_file, tmp_path, reference, monkeypatch):
    """A simulator that breaks costs the evaluation and no more."""
    with monkeypatch.context() as patch:
        patch.setattr("corruptbench.training.FINAL_EPISODES", -1)  # np.zeros of a negative size raises
        assert main(arguments_for(small_file, tmp_path)) == 1
    (failed,) = read_records(tmp_path)
    assert (failed.outcome, failed.step) == ("failed", STEPS)
    with monkeypatch.context() as patch:
        patch.setattr(train.Learner, "advance", None)  # no step is taken
        assert main(arguments_for(small_file, tmp_path)) == 0
    sound(tmp_path, reference)


# Several at once


def test_eight_processes_with_the_same_run_train_it_once(small_file, tmp_path, reference):
    out = tmp_path / "out"
    crowd = [child(command(*arguments_for(small_file, out)), tmp_path / f"said{i}") for i in range(8)]
    running = set(range(8))
    while running:
        running -= {i for i in running if os.waitid(os.P_PID, crowd[i].pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)}
        if out.exists():
            assert [record.outcome for record in read_records(out)] in ([], ["ok"])
    assert [one.wait() for one in crowd] == [0] * 8, "\n".join(one.said() for one in crowd)
    assert sum("holds this run already" not in one.said() for one in crowd) == 1  # one trained it
    sound(out, reference)


def test_eight_processes_with_the_same_sweep_train_each_run_once(small_file, tmp_path, monkeypatch):
    monkeypatch.setattr("corruptbench.sweep.sweep.here", in_turn)
    data = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
    alone, out = tmp_path / "alone", tmp_path / "out"
    assert main(sweep_arguments(tmp_path, alone, *data)) == 0
    sweep = command(*sweep_arguments(tmp_path, out, *data))  # it writes the suite: before anyone reads it
    crowd = [child(sweep, tmp_path / f"said{i}") for i in range(8)]
    running = set(range(8))
    while running:
        running -= {i for i in running if os.waitid(os.P_PID, crowd[i].pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)}
        if out.exists():
            assert {record.outcome for record in read_records(out)} <= {"ok"}
    assert [one.wait() for one in crowd] == [0] * 8, "\n".join(one.said() for one in crowd)
    done = sum(len(re.findall(r"^\[[0-9]/2.*\] bc ", one.said(), re.MULTILINE)) for one in crowd)
    assert done - sum(one.said().count("holds this run already") for one in crowd) == 2
    assert hashes(out) == hashes(alone)
    assert len(list(out.iterdir())) == 2


# No room


def test_a_limit_on_the_size_of_files_in_rising_steps(small_file, tmp_path, reference):
    import resource

    out, codes = tmp_path / "out", []
    for size in (0, 100, 1_000, 3_000, 10_000, 30_000, 10_000_000):

        def limited(size=size):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # not the log: it is a file as well
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            return main(arguments_for(small_file, out))

        codes.append(child(limited, tmp_path / "said").wait())
    assert codes[:2] == [5, 5]
    assert set(codes) == {0, 5}
    assert codes[-1] == 0
    sound(out, reference)


CANNOT_MOUNT = 77


def mount(where, options, flags=0):
    """A tmpfs of this process's own, or another size of it (MS_REMOUNT, 0x20); False where the system has none to give.

    Only for a child: it gets a namespace for its mounts.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not flags & 0x20:
        user = os.geteuid() != 0
        if libc.unshare(0x00020000 | (0x10000000 if user else 0)):  # CLONE_NEWNS, CLONE_NEWUSER
            return False
        if libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None):  # MS_REC | MS_PRIVATE
            return False
    return not libc.mount(b"tmpfs", bytes(where), b"tmpfs", flags, options)


def test_a_small_disk(small_file, tmp_path, reference):
    """A tmpfs of 32 KB, then of 8 MB with what the first left: exit 5 with a sentence, then the run goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def on_a_small_disk():
        if not mount(disk, b"size=32k"):
            return CANNOT_MOUNT
        small = main(arguments_for(small_file, disk / "out"))
        left = sorted(path.name for path in (disk / "out").iterdir() if not path.name.startswith("."))
        if small != 5 or left:
            return 10
        if not mount(disk, b"size=8m", 0x20):
            return CANNOT_MOUNT
        if main(arguments_for(small_file, disk / "out")):
            return 11
        return 0 if hashes(disk / "out") == hashes(reference.parent) else 12

    one = child(on_a_small_disk, tmp_path / "said")
    code = one.wait()
    if code == CANNOT_MOUNT:
        pytest.skip("not tested: a small tmpfs could not be mounted here")
    assert code == 0, one.said()
    assert re.search(r"\d bytes, and [\d,]+ are free|No space left on device", one.said())


def test_output_to_a_full_device(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("not tested: this system has no /dev/full")

    def printing():
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        return main(["list", "suites"])

    one = child(printing, tmp_path / "said")
    assert is_full(one.wait(), one), one.said()


def test_a_folder_that_is_not_ours_to_write_is_refused_before_anything_is_trained(small_file, tmp_path):
    """Root writes into any folder, so for root it is a mount that is read only."""
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o555)

    def begun():
        if os.geteuid() == 0 and not mount(out, b"size=32k", 1):  # MS_RDONLY
            return CANNOT_MOUNT
        return main(arguments_for(small_file, out))

    one = child(begun, tmp_path / "said")
    code = one.wait()
    if code == CANNOT_MOUNT:
        pytest.skip("not tested: a read-only folder could not be mounted here")
    assert is_full(code, one), one.said()
    assert "cannot be written to" in one.said()
    assert list(out.iterdir()) == []
