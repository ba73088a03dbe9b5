"""The jobs of a sweep as populations: many runs of one algorithm in this process, where a GPU has room for them."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from corruptbench.attempt import Setup
from corruptbench.request import RunRequest
from corruptbench.run import execute_all, loaded, plan
from corruptbench.sweep.jobs import Job


def together(jobs: Sequence[Job], *, out: Path, setup: Setup, size: int) -> Generator[tuple[int, int], None, None]:
    """As :func:`corruptbench.sweep.sweep.here`, with populations of at most ``size`` runs, one after the other."""
    for numbers in populations(jobs, size):
        requests = [jobs[number].request for number in numbers]
        dataset = loaded(requests[0])
        plans = [plan(request, out, setup, dataset=dataset) for request in requests]
        for number, record in zip(numbers, execute_all(plans, out, setup), strict=True):
            yield number, 0 if record.outcome == "ok" else 1


def populations(jobs: Sequence[Job], size: int) -> list[list[int]]:
    """The numbers of jobs that train together: they differ in threat model, unit and radius, and in nothing else."""
    alike: dict[str, list[int]] = {}
    for number, job in enumerate(jobs):
        alike.setdefault(repr(shared(job.request)), []).append(number)
    return [numbers[i : i + size] for numbers in alike.values() for i in range(0, len(numbers), size)]


def shared(request: RunRequest) -> RunRequest:
    """A request without that in which the members of a population differ; a preset depends on the threat model."""
    corrupt = request.corrupt if request.preset else ""
    return replace(request, corrupt=corrupt, unit=None, train_seed=None, corruption_seed=None, rho=None)
