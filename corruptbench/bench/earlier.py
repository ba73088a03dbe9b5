"""An earlier result of ``corruptbench bench`` beside this one: what differs between them, and which rows are better."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corruptbench.errors import DataError, UsageError, sentence, shown
from corruptbench.store import parse_json

MORE_IS_BETTER = {"steps/s": True, "rows/s": True, "s": False, "ms": False, "MB at its peak": False}
"""Unit -> whether the bigger of two values is the better one."""


@dataclass(frozen=True)
class Earlier:
    """What ``bench --json`` wrote, as far as a comparison needs it."""

    conditions: dict[str, Any]
    values: dict[tuple[str, str], float]  # by what was measured, and its unit

    @classmethod
    def read(cls, path: Path) -> "Earlier":
        """Raises UsageError for a file that cannot be read, DataError for one that ``bench --json`` does not write."""
        try:
            found = parse_json(path.read_text("utf-8"))
            rows, told = found["rows"], conditions(found["machine"], found["settings"])
            if not isinstance(rows, list) or any(isinstance(value, dict | list) for value in told.values()):
                raise TypeError("a list or an object is in another's place")
            values = {(row["what"], row["unit"]): row["value"] for row in rows if row["value"] is not None}
            unknown = {unit for _, unit in values} - set(MORE_IS_BETTER)
            if unknown:
                raise ValueError(f"unknown unit {_told(unknown.pop())}")
        except OSError as error:
            raise UsageError(f"--against {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"--against {path}: not what bench --json writes: {sentence(error)}") from error
        if not values:
            raise DataError(f"--against {path}: no row with a value is in it")
        for (what, _), value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise DataError(f"--against {path}: {_told(what)} is {_told(value)}, allowed is any number above 0")
        return cls(told, values)

    def differences(self, here: dict[str, Any]) -> list[str]:
        """In words, each of the conditions that are others ``here``."""
        names = dict.fromkeys([*here, *self.conditions])
        both = {name: (self.conditions.get(name), here.get(name)) for name in names}
        return [f"{name} was {_told(then)} and is {_told(now)}" for name, (then, now) in both.items() if then != now]

    def beside(self, row: dict[str, Any]) -> dict[str, Any]:
        """How many times the earlier value, and whether that is better, worse or, in two digits, the same."""
        before = self.values.get((row["what"], row["unit"]))
        if before is None or row["value"] is None:
            return {}
        times = row["value"] / before
        better = (times > 1) == MORE_IS_BETTER[row["unit"]]
        judged = "same" if round(times, 2) == 1 else "better" if better else "worse"
        return {"times_earlier": times, "than_earlier": judged}


def conditions(machine: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """All that figures depend on, in one table."""
    flat = {name: value for name, value in machine.items() if name != "versions"}
    return {**flat, **machine["versions"], **settings}


def _told(value: Any) -> str:
    return shown(value) if isinstance(value, str) else json.dumps(value)[:80]
