"""The commands of a sweep on a Ray cluster: each is a task, and its results come back over the network.

Every machine needs the same versions installed, and the files that ``file:`` and ``--plugin`` name at the same paths;
nothing else is shared. A run is trained below the cache of the machine that it is on, so that a task which Ray begins
again there goes on from its checkpoint.
"""

import os
import signal
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from corruptbench.data import cache
from corruptbench.errors import IntegrityError, NetworkError, UsageError, sentence
from corruptbench.links import without_links
from corruptbench.names import check_name
from corruptbench.records import RUN_ID
from corruptbench.store import MANIFEST, findings, key_of, publish, remove
from corruptbench.sweep.jobs import Job
from corruptbench.sweep.sweep import RETRIES
from corruptbench.workers import PATIENCE, as_they_end


def connect(address: str | None, workers: int | None, threads: int, gpus: int = 0) -> int:
    """Joins the cluster at ``address``, or starts one here; how many runs of so much each it has room for at a time.

    Raises UsageError without Ray or without room for one run, NetworkError where there is no cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError("--launcher ray needs Ray: pip install 'corruptbench[ray]'") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        settings |= {"include_dashboard": False, "num_cpus": None if workers is None else workers * threads}
    try:
        ray.init(address or "local", **settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise NetworkError(f"--address {address}: no Ray cluster could be joined: {sentence(error)}") from error
    resources = ray.cluster_resources()
    found = int(resources.get("CPU", 0)) // threads
    if not found:
        raise UsageError(f"--threads is {threads}, and the Ray cluster has fewer processors")
    if gpus:
        found = min(found, int(resources.get("GPU", 0)) // gpus)
    if not found:
        raise UsageError("--device is 'cuda', and the Ray cluster has no GPU")
    return found if workers is None else min(found, workers)


def on_ray(
    jobs: Sequence[Job], *, out: Path, threads: int, room: int, gpus: int = 0
) -> Generator[tuple[int, int], None, None]:
    """As :func:`corruptbench.sweep.sweep.here`, on the cluster that :func:`connect` joined."""
    import ray

    task = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)(_task)
    waiting = deque(enumerate(jobs))
    running: dict[Any, int] = {}
    try:
        while waiting or running:
            while waiting and len(running) < room:
                number, job = waiting.popleft()
                running[task.remote(job.command)] = number
            (ended,), _ = ray.wait(list(running), num_returns=1)
            number = running.pop(ended)
            try:
                code, runs = ray.get(ended)
            except ray.exceptions.RayTaskError:  # ours: what broke in _task
                raise
            except ray.exceptions.RayError:  # its worker, machine or memory was lost more often than Ray begins again
                code, runs = -signal.SIGKILL, {}
            for run_id, files in runs.items():
                _receive(out, run_id, files)
            yield number, code
    finally:
        for under_way in running:
            ray.cancel(under_way)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=PATIENCE)


def _task(arguments: Sequence[str]) -> tuple[int, dict[str, dict[str, bytes]]]:
    """One command on a worker: its exit code, and what it left, as run id -> file name -> content."""
    out = without_links(cache(), cache() / "ray" / key_of(list(arguments)))
    for folder in _runs(out):
        if any(findings(folder)):  # left by a worker that was lost: refused by the command, and never done again
            remove(folder)
    with closing(as_they_end([[*arguments, "--out", str(out)]], 1)) as ends:
        ((_, code),) = ends
    runs = {folder.name: {path.name: path.read_bytes() for path in folder.iterdir()} for folder in _runs(out)}
    if code in (0, 1):
        remove(out)
    return code, runs


def _runs(out: Path) -> list[Path]:
    return [folder for folder in out.glob("*/") if RUN_ID.fullmatch(folder.name)]


def _receive(out: Path, run_id: str, files: Mapping[str, bytes]) -> None:
    """Publishes a run that came from another machine, once it is what the manifest that came with it says."""

    def write(folder: Path) -> None:
        for name, content in files.items():
            (folder / check_name(name, "a run's file")).write_bytes(content)
        for finding in findings(folder):
            raise IntegrityError(f"{out / run_id}: {finding.path.name} is not what the manifest of its worker says")
        (folder / MANIFEST).unlink()  # publish writes the same

    publish(out / check_name(run_id, "a run"), write, replace=True)
