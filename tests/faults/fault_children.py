"""Children forked from a warm parent, to be killed: at their n-th file event, by a signal, by a limit of the system."""

import errno
import hashlib
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corruptbench import training
from corruptbench.cli import main
from corruptbench.sweep.jobs import Job

ALGORITHM = ["--algo", "iql", "--iql.hidden", "8,8", "--iql.batch-size", "16"]
STEPS, EVERY = 40, 20


def arguments_for(file: Path, out: Path, *more: str) -> list[str]:
    """A run of 40 steps with tiny networks and a checkpoint every 20, or of another algorithm with its own settings."""
    data = ["--dataset", f"file:{file}", "--env", "Hopper-v5", "--corrupt", "obs-random:rate=0.1"]
    how = ["--engine", "eager", "--steps", str(STEPS), "--checkpoint-every", str(EVERY), "--out", str(out)]
    return ["run", *([] if "--algo" in more else ALGORITHM), *data, *how, *more]


def few_episodes(patch) -> None:
    """Two episodes in place of a hundred, and a curve every 10 steps."""
    for name, value in (("FINAL_EPISODES", 2), ("CURVE_EPISODES", 1), ("CURVE_EVERY", 10)):
        patch.setattr(training, name, value)


SUITE = """\
version: 1
datasets: [hopper-replay]
corruptions: [none, rew-random]
algorithms: [bc]
units: 1
steps: 20
"""


def sweep_arguments(folder: Path, out: Path, *more: str) -> list[str]:
    """A sweep of two short runs, whose suite is written into a folder."""
    path = folder / "two.yaml"
    path.write_text(SUITE)
    return ["sweep", str(path), "--engine", "eager", "--checkpoint-every", "10", "--out", str(out), *more]


def in_turn(jobs: Sequence[Job], *, out: Path, workers: int) -> Generator[tuple[int, int], None, None]:
    """In place of ``corruptbench.sweep.sweep.here``: in this process, so that a kill meets the runs as well."""
    for number, job in enumerate(jobs):
        yield number, main([*job.command, "--out", str(out)])


@dataclass
class Child:
    """A forked process; what it wrote to its standard error lies in a file."""

    pid: int
    errors: Path

    def wait(self, seconds: float = 120) -> int:
        """Its exit code, minus the signal where one ended it; one that does not end in time is killed: an error."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise TimeoutError(f"a child took longer than {seconds} s: {self.said()}")

    def said(self) -> str:
        return self.errors.read_text()


def child(action: Callable[[], int], errors: Path) -> Child:
    """Forks; the child's exit code is what ``action`` returns, 99 where it raises."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # from Python 3.12 on: of threads, which a child has none of
        pid = os.fork()
    if pid:
        return Child(pid, errors)
    code = 99
    try:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        logging.getLogger().handlers.clear()  # pytest's: the command has its own
        code = action()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def command(*arguments: str) -> Callable[[], int]:
    return lambda: main(list(arguments))


def killed_at(event: int, below: Path, action: Callable[[], int]) -> Callable[[], int]:
    """``action``, ended like by ``kill -9`` before its ``event``-th file event below a folder, counted from 1.

    An event is an opening for writing, a folder made, a renaming, a removal or an fsync. Python's audit events tell of
    all but fsync; the product writes no file by other means, with HDF5's as the exception.
    """
    root, seen = f"{below}{os.sep}", 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen == event:
            os.kill(os.getpid(), signal.SIGKILL)

    def is_ours(path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.path.abspath(os.fspath(path)).startswith(root)

    def hook(name: str, values: tuple) -> None:
        if name == "open":
            path, _, flags = values
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and is_ours(path):
                count()
        elif name in ("os.remove", "os.rmdir") and values[1] != -1:
            count()  # a folder is removed by its descriptor, with names that say nothing
        elif name in ("os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"):
            if is_ours(values[0]):
                count()
        elif name == "os.rename" and (is_ours(values[0]) or is_ours(values[1])):
            count()

    def begun() -> int:
        fsync = os.fsync

        def counted(descriptor: int) -> None:
            count()
            fsync(descriptor)

        os.fsync = counted
        sys.addaudithook(hook)  # a child has one for the rest of its life
        return action()

    return begun


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder that is the same whenever the same is done, as timings are not."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("timing.json", "manifest.json")
    }


def damage(path: Path, rng: np.random.Generator) -> None:
    """Turns one bit of a file around."""
    content = bytearray(path.read_bytes())
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def is_full(code: int, child: Child) -> bool:
    """Whether a child ended as one without room does: exit 5 and one sentence that names what the system said."""
    said = child.said().splitlines()
    reasons = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EACCES))
    return code == 5 and any(reason in said[-1] for reason in reasons) and "Traceback" not in child.said()
