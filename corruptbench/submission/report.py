"""What came of a validation: the tier, every reason, and what could not be checked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corruptbench.submission.reading import Reason, Run, Submission
from corruptbench.submission.reevaluation import Checked, reevaluate
from corruptbench.submission.reproduction import reproduce
from corruptbench.submission.rules import reasons, unchecked


@dataclass
class Report:
    """Grows with each tier that is asked for."""

    submission: Submission
    broken: list[Reason]
    reevaluation: Checked | None = None
    reproduction: Checked | None = None
    sample: list[Run] = field(default_factory=list)
    sample_seed: int | None = None

    @classmethod
    def of(cls, submission: Submission) -> "Report":
        """With all rules."""
        return cls(submission, reasons(submission))

    def add_reevaluation(self) -> None:
        self.reevaluation = reevaluate(self.submission)

    def add_reproduction(self, runs: list[Run], seed: int, out: Path, plugin_timeout: float) -> None:
        self.reproduction = reproduce(self.submission, runs, out, plugin_timeout)
        self.sample, self.sample_seed = runs, seed

    @property
    def reasons(self) -> list[Reason]:
        """Those of the rules, and what running again spoke against, without damaged files."""
        again = [checked for checked in (self.reevaluation, self.reproduction) if checked]
        return sorted([*self.broken, *(reason for checked in again for reason in checked.reasons)])

    @property
    def accepted(self) -> bool:
        return not self.reasons and not self.submission.damage

    @property
    def tier(self) -> str | None:
        """The highest one that was reached in whole, None for a submission that is refused."""
        if not self.accepted:
            return None
        for name, checked in (("reproduced", self.reproduction), ("re-evaluated", self.reevaluation)):
            if checked and checked.done:
                return name
        return "reported"

    @property
    def unchecked(self) -> list[str]:
        """What nobody looked at, as sentences."""
        notes = unchecked(self.submission)
        for name, checked in (("re-evaluated", self.reevaluation), ("reproduced", self.reproduction)):
            if checked:
                for why, count in sorted(checked.missing.items()):
                    notes.append(f"{count} run{'s were' if count > 1 else ' was'} not {name}: {why}")
        return notes

    @property
    def lines(self) -> list[str]:
        """For people: damaged files, reasons, what was run again, what was not checked, the rows it would have."""
        lines = [str(found) for found in self.submission.damage] + [str(reason) for reason in self.reasons]
        if self.reevaluation:
            lines.append(f"re-evaluated: {self.reevaluation}")
        if self.reproduction:
            lines.append(f"reproduced: {self.reproduction}; --sample-seed {self.sample_seed}")
        lines += [f"not checked: {note}" for note in self.unchecked]
        if self.accepted:
            lines += [self._row(name, **values) for name, values in self.rows.items()]
        return lines

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows of a table that it makes up: runs, units, failures, and what that many units are enough for."""
        rows = {}
        for entry in self.submission.entries:
            n = 1 + max(run.spec.unit or 0 for run in entry.runs)
            failed = sum(run.record.outcome != "ok" for run in entry.runs)
            rows[entry.name] = {"runs": len(entry.runs), "units": n, "failed": failed, "standing": standing(n)}
        return rows

    @staticmethod
    def _row(name: str, runs: int, units: int, failed: int, standing: str) -> str:
        return f"{name}: {runs} runs, units 0 to {units - 1}, {failed} failed or diverged; {standing}"

    @property
    def verdict(self) -> str:
        selected = self.submission.suite
        count = len(self.submission.runs)
        what = f"{count} run{'s' * (count != 1)} for {selected.name}-{selected.version}"
        if self.accepted:
            return f"{what}, accepted, tier: {self.tier}"
        damaged, broken = len(self.submission.damage), len(self.reasons)
        counts = [f"{broken} reason{'s' * (broken != 1)}"] * bool(broken)
        counts += [f"{damaged} damaged file{'s' * (damaged != 1)}"] * bool(damaged)
        return f"{what}, refused for {' and '.join(counts)}"

    def to_json(self) -> dict[str, Any]:
        selected = self.submission.suite
        return {
            "suite": selected.name,
            "version": selected.version,
            "runs": len(self.submission.runs),
            "accepted": self.accepted,
            "tier": self.tier,
            "damage": [{"path": found.path.as_posix(), "what": found.what} for found in self.submission.damage],
            "reasons": [reason._asdict() for reason in self.reasons],
            "not_checked": self.unchecked,
            "rows": self.rows,
            "reevaluation": _counts(self.reevaluation),
            "reproduction": _counts(self.reproduction),
            "sample": [run.name for run in self.sample],
            "sample_seed": self.sample_seed,
        }


def standing(units: int) -> str:
    """What a number of units is enough for (section 5)."""
    return "ranked" if units >= 10 else "preliminary" if units >= 5 else "incomplete: 5 units are needed for a rank"


def _counts(checked: Checked | None) -> dict[str, int] | None:
    return None if checked is None else {name: getattr(checked, name) for name in ("wanted", "exact", "near")}
