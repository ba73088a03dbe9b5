"""A submission as it was read: its runs, each at its place in the suite's grid, and what is damaged."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from corruptbench import command, run, settings
from corruptbench.algos.agent import Agent
from corruptbench.corrupting import corruption_of
from corruptbench.corruptions.corruption import Corruption
from corruptbench.errors import CorruptBenchError, IntegrityError, UsageError
from corruptbench.learners import learner_fields
from corruptbench.records import RECORD, RunRecord, contradiction, read_run, run_folders
from corruptbench.registry import ALGORITHMS, source_sha256
from corruptbench.spec import RunSpec
from corruptbench.store import LINK, Finding
from corruptbench.suites import Suite, threat_key
from corruptbench.tables import labels
from corruptbench.tables.listing import run_row, shown_name
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
    def label(self) -> str:
        """``riql+sam rho=0.1``, as tables name a learner, without its track and what the track's preset sets."""
        algorithm, optimizer = self.spec.algorithm.name, self.spec.optimizer.name
        preset = preset_of(algorithm, self.spec.track)
        set_there = [f"{algorithm}.{name}" for name in (preset_settings(preset, self) if preset else ())]
        own = [
            f"{name}={value}"
            for name, value in self.record.options.items()
            if name.startswith((f"{algorithm}.", f"{optimizer}.")) and name not in set_there
        ]
        return labels.label({**run_row(self.record), "track": UNIVERSAL, "options": ";".join(sorted(own))})

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

    name: str  # riql+sam, riql (oracle)
    track: str
    runs: tuple[Run, ...]


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
            if run.threat and run.spec.dataset in suite.dataset_ids and run.spec.unit in range(suite.units)
        )

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The rows of a leaderboard that the runs in the grid make up.

        The suite's own rows are one each; all other runs of an algorithm, an optimizer and a track are one.

        Where a preset has no settings for a cell, as for clean data, its runs are those of the universal track: they
        belong to both, and are no row of their own where nothing else is there.
        """
        groups: dict[str, list[Run]] = defaultdict(list)
        for one in self.placed:
            groups[self._entry_of(one)].append(one)
        found, lent = [], set()
        for name, runs in sorted(groups.items()):
            borrowed = self._borrowed(runs)
            found.append(Entry(name, runs[0].spec.track, (*runs, *borrowed)))
            lent |= {one.name for one in borrowed}
        return tuple(entry for entry in found if any(one.name not in lent for one in entry.runs))

    def _borrowed(self, runs: list[Run]) -> list[Run]:
        """The universal runs that are a track's too: of the same learners, in cells that its preset leaves alone."""
        preset = preset_of(runs[0].spec.algorithm.name, runs[0].spec.track)
        learners = {one.label for one in runs}
        usual = [one for one in self.placed if one.spec.track == UNIVERSAL and one.label in learners]
        return [one for one in usual if preset and not preset_settings(preset, one)]

    def _entry_of(self, one: Run) -> str:
        """The name of a run's entry, which the suite's own runs share with no others."""
        if one.spec.track == UNIVERSAL and one.label in self._own:
            return one.label
        name = one.learner if one.spec.track == UNIVERSAL else f"{one.learner} ({one.spec.track})"
        return f"{name} with other settings" if name in self._own else name

    @cached_property
    def _own(self) -> set[str]:
        """The suite's own rows that have a run, as tables label them."""
        at_hand = {one.spec.algorithm.name for one in self.placed if one.agent is not None}
        named = tuple(text for text in self.suite.algorithms if learner_fields(text)["algo"] in at_hand)
        rows = replace(self.suite, algorithms=named).rows()
        return {labels.label(row) for row in rows} & {one.label for one in self.placed if one.spec.track == UNIVERSAL}

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
    """The preset that an algorithm's track stands for, None where there is none, as for the universal one."""
    for name in settings.names("presets") if track != UNIVERSAL else ():
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
