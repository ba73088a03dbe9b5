"""A submission as it was read: its runs, each at its place in the suite's grid, and what is damaged."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from corruptbench import command, run, settings
from corruptbench.algos.agent import Agent
from corruptbench.corrupting import corruption_of
from corruptbench.corruptions.corruption import Corruption
from corruptbench.errors import CorruptBenchError, IntegrityError, UsageError
from corruptbench.records import RECORD, RunRecord, contradiction, read_run, run_folders
from corruptbench.registry import ALGORITHMS, source_sha256
from corruptbench.spec import RunSpec
from corruptbench.store import LINK, Finding
from corruptbench.suites import Suite, threat_key
from corruptbench.tables.listing import shown_name
from corruptbench.tables.reading import LEADERBOARD
from corruptbench.verify import whole

UNIVERSAL = "universal"


class Reason(NamedTuple):
    """Why a submission is refused: the run, file or cell that it concerns, the rule, and what was found."""

    where: str
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


Found = Iterator[tuple[str, str]]
"""Where and what: what a rule yields."""


@dataclass(frozen=True)
class Run:
    """A record that could be read, with the folder that it lies in."""

    folder: Path
    record: RunRecord
    threat: str | None  # as the suite spells it, None for one that the suite has not

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def spec(self) -> RunSpec:
        return self.record.spec

    @property
    def learner(self) -> str:
        """``riql+sam``."""
        return shown_name(self.spec.algorithm.name, self.spec.optimizer.name)

    @cached_property
    def corruption(self) -> Corruption | None:
        """Its threat model, None for one that is not at hand."""
        return corruption_of(self.spec.corruption)

    @cached_property
    def agent(self) -> Agent | None:
        """Its algorithm with its settings, None where a plug-in was not named, or is another one than it was then."""
        spec = self.spec.algorithm
        try:
            cls = ALGORITHMS.known(spec.name)
            found: Agent | None = settings.build(cls, spec.options, spec.name)
        except CorruptBenchError:
            return None
        return found if source_sha256(cls) == spec.source_sha256 else None

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()


@dataclass(frozen=True)
class Entry:
    """The runs of one row of a leaderboard."""

    learner: str
    track: str
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """``riql+sam``, or ``riql (oracle)``."""
        return self.learner if self.track == UNIVERSAL else f"{self.learner} ({self.track})"


@dataclass(frozen=True)
class Submission:
    """Runs and damaged files of a folder, beside the suite that they are for; nothing depends on the files' order."""

    suite: Suite
    runs: tuple[Run, ...]  # by name
    damage: tuple[Finding, ...]  # with paths relative to the folder

    @cached_property
    def placed(self) -> tuple[Run, ...]:
        """The runs that have a place in the suite's grid."""
        suite = self.suite
        return tuple(
            run
            for run in self.runs
            if run.threat and run.spec.dataset in suite.datasets and run.spec.unit in range(suite.units)
        )

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The rows of a leaderboard that the runs in the grid make up.

        Where a preset has no settings for a cell, as for clean data, its runs are those of the universal track: they
        belong to both, and are no row of their own where nothing else is there.
        """
        groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
        for one in self.placed:
            groups[one.learner, one.spec.track].append(one)
        found = {key: Entry(*key, tuple(runs)) for key, runs in groups.items()}
        for (learner, track), entry in list(found.items()):
            usual = groups.get((learner, UNIVERSAL), [])
            name = preset_of(entry.runs[0].spec.algorithm.name, track)
            borrowed = [one for one in usual if name and not preset_settings(name, one)]
            if borrowed:
                found[learner, track] = Entry(learner, track, (*entry.runs, *borrowed))
            if borrowed and len(borrowed) == len(usual):
                found.pop((learner, UNIVERSAL), None)
        return tuple(found[key] for key in sorted(found))

    @cached_property
    def shipped(self) -> tuple[Run, ...]:
        """The benchmark's own runs, for comparison."""
        runs = [(folder, read_run(folder)) for folder in run_folders(LEADERBOARD / "records")]
        return tuple(Run(folder, record, _threat(record.spec, self.suite)) for folder, record in runs)


def most_common(values: Iterable[Any]) -> Any:
    """What stands there most often, whatever the order; of two that do, the one whose text comes first."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], str(value)))


def preset_of(algorithm: str, track: str) -> str | None:
    """The preset that an algorithm's track stands for, None where there is none."""
    for name in settings.names("presets"):
        content = settings.named("presets", name)
        if (content["algorithm"], content["track"]) == (algorithm, track):
            return name
    return None


def preset_settings(name: str, one: Run) -> dict[str, Any]:
    """What a preset sets in a run's cell, nothing where it leaves the cell to the universal settings."""
    if one.corruption is None:
        return {}
    return run.preset(name, one.spec.algorithm.name, one.spec.environment.id, one.corruption)[0]


def read_submission(folder: Path, suite: Suite) -> Submission:
    """Every run's folder below ``folder``; raises UsageError where there is none."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'it is a file' if folder.exists() else 'there is no such folder'}")
    runs, damage = [], []
    for run_folder in run_folders(folder):
        record = None
        if run_folder.is_symlink():
            damage.append(Finding(run_folder, LINK))
            continue
        try:
            record = read_run(run_folder, contradictory=True)
            runs.append(Run(run_folder, record, _threat(record.spec, suite)))
        except IntegrityError:
            pass  # it is among what is wrong
        known = record is not None and contradiction(record)  # a rule says so
        damage += [found for found in whole(run_folder) if not (known and found.path == run_folder / RECORD)]
    if not runs and not damage:
        raise UsageError(f"{folder}: no run lies in it, needed are folders with a {RECORD}")
    shortened = [Finding(path.relative_to(folder), what.replace(f"{folder}/", "")) for path, what in damage]
    return Submission(suite, tuple(runs), tuple(sorted(shortened)))


def _threat(spec: RunSpec, suite: Suite) -> str | None:
    """A spec's threat model as the suite spells it."""
    corruption = corruption_of(spec.corruption)
    if corruption is None:
        return None
    options = tuple(f"{k}={v}" for k, v in sorted(command.changed(corruption, "corruption").items()))
    key = (spec.corruption.name, corruption.rate, corruption.scale, options)
    return next((text for text in suite.threats if threat_key(text) == key), None)
