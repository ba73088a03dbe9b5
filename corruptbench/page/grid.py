"""A suite's summary as a grid: one dataset, learners down, threat models across."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from corruptbench.tables.labels import label, threat
from corruptbench.tables.listing import Row

CLEAN = "none"
FLAGS = {
    "surrogate-weak": "the attack lowered its surrogate's value less than random noise of the same budget did",
    "transfer-weak": "the learner did better under the attack than under random noise of the same budget "
    "(the 95 % interval of the difference, paired by unit, lies above 0)",
    "worst": "the attack of the ensemble under which the learner's mean is lowest",
}
"""What a flag of the summary says (section 2)."""


@dataclass(frozen=True)
class Threat:
    """A threat model of a table."""

    name: str  # as --corrupt spells it, without its rate and its scale
    rate: str
    scale: str

    @classmethod
    def of(cls, row: Row) -> "Threat":
        return cls(threat(row), row["rate"], row["scale"])

    @property
    def detail(self) -> str:
        return "" if self.name == CLEAN else f"rate {self.rate}, scale {self.scale}"


def learner(row: Row) -> str:
    """What stays the same along a grid's line: an oracle's settings differ by cell, so they are no part of it."""
    return label(row if row["track"] == "universal" else {**row, "options": ""})


class Change(NamedTuple):
    """What corruption cost or brought a learner, over the units that it has with it and without it."""

    points: float  # below 0 for a loss
    units: int
    whole: bool  # these are all units of both


@dataclass(frozen=True)
class Entry:
    """A row of the summary, and what its learner lost or gained against its clean score."""

    row: Row
    change: Change | None  # None for the clean score itself, and where there is nothing to compare

    @property
    def score(self) -> str:
        """The mean with one decimal, as a grid has room for; the row has them all."""
        return _shown(f"{float(self.row['mean']):.1f}") if self.row["mean"] else ""

    @property
    def shown_change(self) -> str:
        if self.change is None:
            return ""
        of = "" if self.change.whole else f" ({self.change.units} unit{'s' * (self.change.units != 1)})"
        return _shown(f"{self.change.points:+.1f}") + of

    @property
    def notes(self) -> list[str]:
        """The audit's flags and an ensemble's worst attack, without the words for how many units there are."""
        return [flag for flag in self.row["flags"].split(";") if flag.partition("=")[0] in FLAGS]


@dataclass(frozen=True)
class Grid:
    """The rows of one dataset by learner and threat model; what never ran has none, and a place."""

    dataset: str
    environment: str
    learners: tuple[str, ...]
    threats: tuple[Threat, ...]
    entries: dict[tuple[str, Threat], list[Entry]]  # two rows where settings differ that a learner's name leaves out

    def at(self, learner: str, threat: Threat) -> list[Entry]:
        return self.entries.get((learner, threat), [])

    @property
    def highest(self) -> float:
        """The best mean, which has the strongest colour."""
        means = [float(entry.row["mean"]) for line in self.entries.values() for entry in line if entry.row["mean"]]
        return max([0.0, *means])

    def share(self, entry: Entry) -> float:
        """A mean as a share of the best one, from 0 to 1."""
        return max(0.0, float(entry.row["mean"])) / self.highest if entry.row["mean"] and self.highest else 0.0


def grid(
    rows: Sequence[Row],
    learners: Iterable[str],
    threats: Iterable[Threat],
    change: Callable[[Row], Change | None],
) -> Grid:
    """The grid of one dataset's rows. The given learners have a line and the given threat models a column in any case.

    An ensemble's worst case comes after the attacks that it is made of.
    """
    entries: dict[tuple[str, Threat], list[Entry]] = defaultdict(list)
    for row in rows:
        entries[learner(row), Threat.of(row)].append(Entry(row, change(row)))
    return Grid(
        rows[0]["dataset"],
        rows[0]["environment"],
        tuple(learners),
        tuple(dict.fromkeys([*threats, *(where for _, where in entries)])),
        dict(entries),
    )


def _shown(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")
