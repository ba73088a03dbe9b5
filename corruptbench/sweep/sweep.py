"""Doing the jobs of a sweep: whatever a run does to itself, the others go on."""

import contextlib
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from corruptbench.bars import progress
from corruptbench.errors import IntegrityError, ResourceError
from corruptbench.records import RECORD, RunRecord
from corruptbench.stopping import SIGNALS
from corruptbench.store import check_manifest
from corruptbench.sweep.jobs import Job
from corruptbench.sweep.pace import hours, in_words, measured
from corruptbench.workers import as_they_end

Launcher = Callable[[Sequence[Job]], Generator[tuple[int, int], None, None]]
"""Does each job and yields its number and the exit code of its process as it ends, minus the signal where one ended it;
closing it ends those under way."""

RETRIES = 2
"""How often a run is begun again whose process was killed. It goes on from its checkpoint."""


def here(jobs: Sequence[Job], *, out: Path, workers: int) -> Generator[tuple[int, int], None, None]:
    """The launcher of this machine, with results in ``out``: each job is a process of its own."""
    return as_they_end([[*job.command, "--out", str(out)] for job in jobs], workers)


@dataclass(frozen=True)
class Swept:
    """What became of a job: its record, or the exit code of a process that left none."""

    job: Job
    code: int

    @property
    def ok(self) -> bool:
        return self.job.record is not None and self.job.record.outcome == "ok"

    @property
    def words(self) -> str:
        """``41.2``, ``diverged: ...`` or ``lost, exit code 3``."""
        record = self.job.record
        if record is None:
            return f"lost, {f'signal {-self.code}' if self.code < 0 else f'exit code {self.code}'}"
        if record.outcome != "ok":
            return f"{record.outcome}: {record.reason}"
        if record.score is None:
            return "trained, not scored"
        normalized, raw = record.score["normalized_mean"], record.score["return_mean"]
        return f"{normalized:.1f}" if normalized is not None else f"return {raw:.1f}"


def sweep(jobs: Sequence[Job], launch: Launcher, out: Path, workers: int) -> list[Swept]:
    """Does every job that has no record yet, so many at a time; what became of all jobs, in their order.

    A run that fails leaves a record that says so; one whose process is killed is begun again; one that ends without a
    record is lost, and said so. Raises ResourceError as soon as a run lacks disk or memory: the others would, too.
    """
    swept = [Swept(job, 0) for job in jobs]
    left = [number for number, job in enumerate(jobs) if job.record is None]
    with _View(swept, out, workers) as view:
        for last in (False,) * RETRIES + (True,):
            killed = []
            with contextlib.closing(launch([jobs[number] for number in left])) as ends:
                for index, code in ends:
                    job = jobs[left[index]]
                    if code == ResourceError.exit_code:
                        raise ResourceError(f"{job.label} lacks disk or memory, and the sweep stops here")
                    swept[left[index]] = ended = Swept(replace(job, record=_record(job, out)), code)
                    if was_killed(ended) and not last:
                        killed.append(left[index])
                        view.say(f"{job.label}: {ended.words}, to be begun again")
                    else:
                        view.ended(job, ended)
            left = killed
    return swept


def was_killed(ended: Swept) -> bool:
    """Whether a signal ended a run, and nothing that it did."""
    return ended.job.record is None and (ended.code < 0 or ended.code in (128 + number for number in SIGNALS))


def _record(job: Job, out: Path) -> RunRecord | None:
    assert job.run_id is not None
    folder = out / job.run_id
    try:
        check_manifest(folder)
        return RunRecord.read(folder / RECORD)
    except IntegrityError:
        return None


class _View:
    """A bar, and a line for each run that ended: its score, how many are done, and about how long the rest takes."""

    def __init__(self, swept: Sequence[Swept], out: Path, workers: int) -> None:
        self.swept, self.out, self.workers = swept, out, workers  # the list is the sweep's own, and changes
        self.left = [each.job for each in swept if each.job.record is None]
        self.failed = 0
        self.bar = progress(total=len(swept), initial=len(swept) - len(self.left), unit="run", desc="sweep")

    def __enter__(self) -> "_View":
        self.show()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def ended(self, job: Job, ended: Swept) -> None:
        self.left.remove(job)
        self.failed += not ended.ok
        self.bar.update()
        self.say(f"{ended.job.label}: {ended.words}")
        self.show()

    def say(self, text: str) -> None:
        rest = hours(self.left, measured((each.job for each in self.swept), self.out), self.workers)
        about = f", about {in_words(rest)} left" if rest else ""
        self.bar.write(f"[{len(self.swept) - len(self.left)}/{len(self.swept)}{about}] {text}", file=sys.stderr)

    def show(self) -> None:
        running = min(self.workers, len(self.left))
        self.bar.set_postfix_str(f"{running} running, {self.failed} failed")
