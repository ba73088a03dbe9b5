"""Rules on the data: the dataset, environment and surrogate of our own table, and the hashes of what was corrupted."""

import re
from collections import Counter, defaultdict
from functools import cache
from typing import Any

from corruptbench.contents import SURROGATE_CARD
from corruptbench.corrupting import corrupt, made_with
from corruptbench.data import ASSETS, home, load, shipped
from corruptbench.rng import unit_seeds
from corruptbench.store import read_json
from corruptbench.submission.reading import Found, Run, Submission, most_common
from corruptbench.types import TransitionDataset


def environment(submission: Submission) -> Found:
    """A policy is scored in the environment that our table has for its dataset, with our table's references."""
    for run in submission.runs:
        found, needed = run.spec.environment, home(run.spec.dataset)
        if found.references_supplied:
            yield run.name, "its reference scores were supplied by hand, and those of our table are needed"
        elif needed is None:
            yield run.name, f"its dataset {run.spec.dataset} has no environment in our table"
        elif found != needed:
            odd = next(name for name in vars(needed) if getattr(found, name) != getattr(needed, name))
            words = f"{getattr(found, odd)}, and {run.spec.dataset} has {getattr(needed, odd)}"
            yield run.name, f"the {odd.replace('_', ' ')} of its environment is {words}"


def dataset(submission: Submission) -> Found:
    """The clean data are those that the package ships; of a dataset from elsewhere, the same in all runs."""
    contents = {name: card["content_sha256"] for name, card in shipped().items()}
    for run in submission.runs:
        spec = run.spec
        usual = contents.get(spec.dataset) or _usual(submission, lambda other: other.spec.dataset_sha256, spec.dataset)
        if spec.dataset_sha256 != usual:
            yield (
                run.name,
                f"the SHA-256 of its {spec.dataset} is {spec.dataset_sha256[:16]}..., needed is {usual[:16]}...",
            )


def surrogate(submission: Submission) -> Found:
    """An attack is computed against the dataset's surrogate: the shipped one, elsewhere the same in all runs."""
    for run in submission.runs:
        if run.corruption is None or not run.threat:
            continue
        found, needed = run.spec.corruption.surrogate_sha256, None
        if run.corruption.needs_surrogate and run.spec.dataset in shipped():
            needed = read_json(ASSETS / run.spec.dataset / SURROGATE_CARD)["sha256"]
        elif run.corruption.needs_surrogate:
            needed = _usual_surrogate(submission, run)
        if found != needed:
            words = f"{(found or 'nothing')[:16]}, needed is {(needed or 'nothing')[:16]}"
            yield run.name, f"the SHA-256 of the surrogate that it was attacked with is {words}"


def _usual(submission: Submission, value: Any, of: str) -> Any:
    """What most runs on a dataset have."""
    return most_common(value(run) for run in submission.runs if run.spec.dataset == of)


def _usual_surrogate(submission: Submission, run: Run) -> str | None:
    attacks = [other for other in submission.runs if other.corruption and other.corruption.needs_surrogate]
    return most_common(r.spec.corruption.surrogate_sha256 for r in attacks if r.spec.dataset == run.spec.dataset)


Key = tuple[str, str, int]
"""Dataset, threat model and unit."""


def corrupted(submission: Submission) -> Found:
    """All algorithms see the same corrupted data, which the benchmark finds too, and no two units or cells share any.

    Clean and randomly corrupted data of a shipped dataset are made again here, because they are the same bytes on any
    machine (section 6 A). Those of an attack depend on software and processor: they are compared where these are the
    same, with each other and with the shipped records.
    """
    wrong = {}
    hashes: dict[Key, set[str]] = defaultdict(set)
    shipped_ones = {voice: (value, "the shipped records") for voice, (value, _) in _voices(submission.shipped).items()}
    seen = {**_voices(submission.placed), **shipped_ones}
    for run in submission.placed:
        found = run.record.corruption["sha256"]
        if found is None and run.record.outcome == "failed":
            continue
        if not re.fullmatch("[0-9a-f]{64}", found or ""):
            wrong[run.name] = "it names no SHA-256 of the data that it was trained on"
            continue
        needed = expected(run)
        if needed is None:
            needed, whose = seen[_voice(run)]
        else:
            whose = "this dataset, threat model and unit"
        if found != needed:
            wrong[run.name] = f"the SHA-256 of its corrupted data is {found[:16]}..., and {whose} have {needed[:16]}..."
        elif run.spec.corruption.name != "none":
            hashes[_key(run)].add(found)
    yield from wrong.items()
    owners: dict[str, list[Key]] = defaultdict(list)
    for key, values in sorted(hashes.items()):
        for value in values:
            owners[value].append(key)
    for value, (first, *others) in sorted(owners.items()):
        for other in others:
            where, what = ("{}, {}, unit {}".format(*key) for key in (other, first))
            yield where, f"the SHA-256 of its corrupted data is {value[:16]}..., which is that of {what}"


def _key(run: Run) -> Key:
    return run.spec.dataset, run.threat or "", run.spec.unit or 0


def _voice(run: Run) -> tuple[object, ...]:
    """What the bytes of an attack depend on."""
    spec = run.spec
    data = (spec.dataset_sha256, spec.corruption_seed, spec.corruption.surrogate_sha256)
    return (*_key(run), *data, *made_with(run.record))


def _voices(runs: tuple[Run, ...]) -> dict[tuple[object, ...], tuple[str, str]]:
    """What most runs say that an attack's data are, and who says so."""
    counts: dict[tuple[object, ...], Counter[str]] = defaultdict(Counter)
    for run in runs:
        if run.threat and run.record.corruption["sha256"]:
            counts[_voice(run)][run.record.corruption["sha256"]] += 1
    found = {}
    for voice, votes in counts.items():
        usual = most_common(votes.elements())
        found[voice] = usual, f"{votes[usual]} of the {votes.total()} runs of this cell and unit"
    return found


def expected(run: Run) -> str | None:
    """The SHA-256 of corrupted data that are the same everywhere, None for an attack and a dataset from elsewhere."""
    if run.corruption is None or run.corruption.needs_surrogate or run.spec.dataset not in shipped():
        return None
    assert run.threat is not None
    assert run.spec.unit is not None
    return _made(run.spec.dataset, run.threat, run.spec.unit)


@cache
def _made(dataset: str, threat: str, unit: int) -> str:
    return corrupt(_clean(dataset), threat, unit_seeds(unit)[1]).dataset.sha256


@cache
def _clean(name: str) -> TransitionDataset:
    return load(name)
