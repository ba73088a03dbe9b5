"""How long runs take here, and how much they write: by those that are finished, where there is none by trying out."""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from corruptbench.attempt import Setup
from corruptbench.checkpoints import KEPT
from corruptbench.corrupting import named_corruption
from corruptbench.request import RunRequest
from corruptbench.run import plan
from corruptbench.sweep.jobs import Job
from corruptbench.train import Learner

TRIED_OUT = 3.0
"""Seconds for which a learner is trained to see how fast it is."""


@dataclass(frozen=True)
class Pace:
    """What one learner's step takes, and what is spent beside the steps, in seconds."""

    step: float
    beside: float = 0.0  # of one run: corrupting, evaluating

    def seconds(self, request: RunRequest) -> float:
        return request.steps * self.step + self.beside


def measured(jobs: Iterable[Job], out: Path) -> dict[str, Pace]:
    """Learner -> its pace by the timings of finished runs, the median of them."""
    found: dict[str, list[Pace]] = defaultdict(list)
    for job in jobs:
        if job.record is not None:
            try:
                timing = json.loads((out / job.record.run_id / "timing.json").read_text())
                step = 1 / timing["steps_per_second"]["train"]
                beside = sum(seconds for part, seconds in timing["seconds"].items() if part != "train")
            except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
                continue  # a timing is no result, and may be missing
            found[job.learner].append(Pace(step, beside))
    return {
        learner: Pace(median(pace.step for pace in paces), median(pace.beside for pace in paces))
        for learner, paces in found.items()
    }


def tried_out(learner: Learner, seconds: float = TRIED_OUT) -> Pace:
    """The pace of training for some seconds, once it is compiled."""
    learner.advance(20)
    begin, steps = time.perf_counter(), 0
    while (taken := time.perf_counter() - begin) < seconds:
        learner.advance(20)
        steps += 20
    return Pace(taken / steps)


def learner_of(job: Job, setup: Setup) -> Learner:
    """A job's learner on its clean dataset, to be tried out and weighed."""
    planned = plan(replace(job.request, corrupt="none"), setup=setup)
    steps = job.request.steps
    return Learner(planned.agent, planned.optimizer, planned.dataset, seed=0, steps=steps, engine=setup.engine)


def hours(jobs: Iterable[Job], paces: Mapping[str, Pace], workers: int) -> float | None:
    """Hours of jobs, so many at a time, those of unknown pace at that of the others; None where none is known."""
    if not paces:
        return None
    usual = Pace(median(pace.step for pace in paces.values()), median(pace.beside for pace in paces.values()))
    return sum(paces.get(job.learner, usual).seconds(job.request) for job in jobs) / workers / 3600


def in_words(hours: float) -> str:
    """``1.5 h``, and ``40 min`` below one hour."""
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def disk(jobs: Sequence[Job], states: Mapping[str, int], workers: int) -> int:
    """Bytes that jobs write at most: results, the checkpoints of those under way, and cached attacks.

    ``states`` are the bytes of each learner's weights, targets and Adam's moments.
    """
    attacks = {(job.request.dataset, job.request.corrupt, job.request.unit): job.nbytes for job in jobs}
    attacked = sum(size for (_, corrupt, _), size in attacks.items() if named_corruption(corrupt)[1].needs_surrogate)
    results = sum(states[job.learner] for job in jobs)
    return results + workers * (KEPT + 2) * max(states.values(), default=0) + attacked
