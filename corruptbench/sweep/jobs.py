"""The runs that a sweep is made of: the suite's, those chosen of them, each with its id and its command."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from corruptbench import command
from corruptbench.attempt import Setup
from corruptbench.bars import progress
from corruptbench.corrupting import WHITE_BOX, named_corruption
from corruptbench.corruptions.auto import members
from corruptbench.errors import IntegrityError, UsageError, nearest
from corruptbench.learners import learner_fields, learner_text
from corruptbench.records import RunRecord
from corruptbench.request import Plan, RunRequest
from corruptbench.run import finished, lacks_report, loaded, plan, under_way
from corruptbench.surrogates import is_at_hand
from corruptbench.types import TransitionDataset

KEYS: dict[str, Callable[[RunRequest], str]] = {
    "algo": learner_text,
    "corrupt": lambda request: request.corrupt,
    "dataset": lambda request: request.dataset,
    "unit": lambda request: str(request.unit),
}
"""What ``--only`` may name, and how a request is asked for it."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep; what was loaded to plan it is not kept."""

    request: RunRequest
    run_id: str | None  # None while it depends on a surrogate that is still to be trained
    arguments: tuple[str, ...]  # of `corruptbench run`, without the folder of the results
    record: RunRecord | None  # where the run is finished
    nbytes: int  # of its dataset

    @property
    def learner(self) -> str:
        """``riql+sam``, or ``riql+sam:rho=0.1``."""
        return learner_text(self.request)

    @property
    def command(self) -> list[str]:
        """What ``corruptbench`` is called with, but for the folder of the results."""
        return ["run", *self.arguments]

    @property
    def label(self) -> str:
        return f"{self.learner} {self.request.corrupt} {self.request.dataset} unit {self.request.unit}"


def chosen(requests: Iterable[RunRequest], only: Sequence[str], shard: str | None) -> list[RunRequest]:
    """The requests that ``--only KEY=VALUE`` names (of one key either value, of two keys both), and of these a shard.

    An ensemble stands for its members, and a learner's settings come in any order. ``i/n`` takes every n-th one from
    the i-th on, so that n machines divide a suite between them whatever of it is finished. Raises UsageError for a key
    or value that no request has.
    """
    found = list(requests)
    wanted: dict[str, set[str]] = {}
    for text in only:
        key, equals, value = text.partition("=")
        if key not in KEYS or not equals:
            raise UsageError(f"--only {text}: needed is KEY=VALUE with a key of {', '.join(KEYS)}{nearest(key, KEYS)}")
        known = list(dict.fromkeys(KEYS[key](request) for request in found))
        meant = _meant(key, value)
        if not meant <= set(known):
            raise UsageError(f"--only {text}: the suite has {', '.join(known)}{nearest(value, known)}")
        wanted.setdefault(key, set()).update(meant)
    found = [request for request in found if all(KEYS[key](request) in wanted[key] for key in wanted)]
    if shard is None:
        return found
    numbers = shard.split("/")
    if len(numbers) != 2 or not all(number.isascii() and number.isdecimal() for number in numbers):
        raise UsageError(f"--shard is {shard!r}, needed is i/n, as 1/4 for the first quarter")
    i, n = map(int, numbers)
    if not 1 <= i <= n:
        raise UsageError(f"--shard is {shard}, allowed is 1/{n} to {n}/{n}" if n else f"--shard is {shard}: n is 0")
    return found[i - 1 :: n]


def _meant(key: str, value: str) -> set[str]:
    """What ``--only`` means by a value, as :data:`KEYS` spells it; itself where it is no learner or threat model."""
    try:
        if key == "algo":
            return {learner_text(RunRequest(**learner_fields(value), corrupt="none"))}
        return set(members(value)) if key == "corrupt" else {value}
    except UsageError:
        return {value}


def jobs(
    requests: Sequence[RunRequest],
    out: Path,
    setup: Setup,
    plugins: Sequence[Path] = (),
    *,
    recorded: Sequence[Path] = (),
    train: bool = True,
) -> list[Job]:
    """Each request planned, with the record that ``out`` or one of ``recorded`` holds; a damaged one counts as none.

    A surrogate that is not there yet is trained here, before the runs that need it, unless ``train`` is False.
    """
    datasets: dict[str, TransitionDataset] = {}
    more = [f"--plugin={path.resolve()}" for path in plugins]
    more += [f"--{name.replace('_', '-')}={value}" for name, value in command.differing(setup).items()]
    found = []
    for request in progress(requests, desc="planning", unit="run", leave=False, delay=2):
        if request.dataset not in datasets:
            datasets[request.dataset] = loaded(request)
        dataset = datasets[request.dataset]
        arguments = (*request.arguments(), *more)
        if not train and lacks_surrogate(request, dataset):
            found.append(Job(request, None, arguments, None, dataset.nbytes))
            continue
        planned = plan(request, out, setup, dataset=dataset)
        record = record_of(planned, out, setup, recorded)
        found.append(Job(request, planned.spec.run_id, arguments, record, dataset.nbytes))
    return found


def lacks_surrogate(request: RunRequest, dataset: TransitionDataset) -> bool:
    """Whether planning a request would train something first."""
    corruption = named_corruption(request.corrupt)[1]
    if not corruption.needs_surrogate:
        return False
    named = getattr(corruption, "surrogate", "")
    return named == WHITE_BOX or (not named and not is_at_hand(dataset))


def record_of(planned: Plan, out: Path, setup: Setup, recorded: Sequence[Path] = ()) -> RunRecord | None:
    """What ``out`` holds of a run, or else a folder of ``recorded``; None where something is still to be done.

    That may be no more than to measure its sharpness, or to clear its checkpoints away.
    """
    if under_way(planned, out).exists():
        return None
    for place in (out, *recorded):
        folder = place / planned.spec.run_id
        try:
            record = finished(planned, folder)
        except IntegrityError:
            continue
        if record and not lacks_report(record, folder, setup):
            return record
    return None
