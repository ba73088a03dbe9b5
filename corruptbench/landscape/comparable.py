"""What runs must share so that their surfaces can be compared."""

from collections.abc import Sequence

from corruptbench.environments import make
from corruptbench.errors import DataError, UsageError
from corruptbench.landscape.directions import widths
from corruptbench.trained import Trained, known_environment, require_once
from corruptbench.types import Environment


def common_environment(runs: Sequence[Trained]) -> Environment:
    """The environment of the runs, as :func:`corruptbench.trained.known_environment` finds it.

    Raises UsageError for runs of different ones, for one that is none here, and for a run that is named twice,
    DataError for one that cannot be made.
    """
    first = runs[0].record
    env = first.spec.environment
    for record in (run.record for run in runs[1:]):
        if record.spec.environment != env:
            raise UsageError(
                f"run {record.run_id} is scored in {record.spec.environment.id} and run {first.run_id} in {env.id}, "
                "and returns of one environment, with one reference, are compared"
            )
    require_once(run.record.run_id for run in runs)
    known = known_environment(first.spec)
    try:
        make(known).close()
    except DataError as error:
        raise DataError(f"run {first.run_id} has no reward surface: {error}") from error
    return known


def require_same(runs: Sequence[Trained], groups: Sequence[Sequence[str]]) -> None:
    """Raises UsageError unless these groups of each run, in their order, have networks of the same shapes."""
    found = [
        list(widths(run.model.state, names, f"run {run.record.run_id}").values())
        for run, names in zip(runs, groups, strict=True)
    ]
    for run, names, shapes in zip(runs, groups, found, strict=True):
        if names != groups[0] or shapes != found[0]:
            raise UsageError(
                f"run {run.record.run_id} has {_shown(names, shapes)} and run {runs[0].record.run_id} "
                f"{_shown(groups[0], found[0])}, and the same directions need networks of the same shapes"
            )


def _shown(groups: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> str:
    """``actor 11-256-256-3``."""
    return ", ".join(f"{group} {'-'.join(map(str, shape))}" for group, shape in zip(groups, shapes, strict=True))
