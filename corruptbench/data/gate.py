"""The gate in front of every dataset: unsound data are refused, odd ones reported, and repairs recorded.

Refused is what would make a result wrong: a missing key, shapes and lengths that do not fit, values that are no finite
numbers, actions far outside their box. Nothing is dropped unless ``on_nonfinite`` says ``drop-episode``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from corruptbench.data.flat import FIELDS, FOLLOWING, Column
from corruptbench.data.rows import Rows, Steps, discontinuities, rows_of, timeouts_by_count
from corruptbench.environments import Space
from corruptbench.errors import DataError, UsageError
from corruptbench.numerics import chunks

ON_NONFINITE = ("refuse", "drop-episode")
FAR = 10
"""Actions beyond this many times their bounds are refused: they are in other units, or no actions."""

_FLAGS = ("terminals", "timeouts")


@dataclass
class Report:
    """What the gate saw, as ``kind -> figures`` for the provenance and as sentences for people."""

    warnings: dict[str, dict[str, Any]] = field(default_factory=dict)
    repairs: dict[str, dict[str, Any]] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)

    def warn(self, kind: str, sentence: str, **figures: Any) -> None:
        self.warnings[kind] = figures
        self.sentences.append(f"warning: {sentence}")

    def repaired(self, kind: str, sentence: str, **figures: Any) -> None:
        self.repairs[kind] = figures
        self.sentences.append(f"repaired: {sentence}")

    def to_json(self) -> dict[str, Any]:
        return {"warnings": self.warnings, "repairs": self.repairs}


def admit(
    columns: Mapping[str, Column],
    where: str,
    space: Space,
    env_id: str,
    *,
    d4rl: bool = False,
    horizon: int | None = None,
    on_nonfinite: str = "refuse",
) -> tuple[Rows, Report]:
    """The rows of section 1 and what was seen on the way; raises DataError, naming ``where``, for what is unsound.

    ``d4rl`` takes the rows of D4RL's ``qlearning_dataset``, ``horizon`` stands in for missing timeouts as there.
    """
    if on_nonfinite not in ON_NONFINITE:
        raise UsageError(f"--on-nonfinite is {on_nonfinite!r}, allowed are {' and '.join(ON_NONFINITE)}")
    report = Report()
    _check_columns(columns, where, space, env_id, horizon)
    steps = _read(columns, where, report, refuse=on_nonfinite == "refuse", horizon=horizon)
    both = int((steps.terminals & steps.timeouts).sum())
    if both:
        kept = "D4RL's rule drops them" if d4rl else "count as terminal"
        report.repaired("terminal_and_timeout", f"{both} steps are both terminal and timeout, and {kept}", count=both)
    _check_continuity(steps, report)
    rows = rows_of(steps, where, d4rl=d4rl)
    if on_nonfinite == "drop-episode":
        rows = _drop_nonfinite(rows, where, report)
    _check_actions(rows, where, space, report)
    _check_constants(rows, report)
    return rows, report


def _check_columns(columns: Mapping[str, Column], where: str, space: Space, env_id: str, horizon: int | None) -> None:
    """Keys, lengths, types and widths, before a value is read."""
    missing = [name for name in FIELDS if name not in columns and not (name == "timeouts" and horizon)]
    if missing:
        raise DataError(f"{where}: the key {missing[0]!r} is missing")
    count = columns["observations"].shape[0]
    if count == 0:
        raise DataError(f"{where}: there is nothing in it")
    for name, column in columns.items():
        shape, width = column.shape, int(np.prod(column.shape[1:]))
        if name != "final_observations" and shape[0] != count:
            raise DataError(f"{where}: {name} has {shape[0]} rows and observations {count}")
        if column.dtype.kind not in "fiub":
            raise DataError(f"{where}: {name} is {column.dtype}, and only numbers can be read")
        if name in ("rewards", *_FLAGS):
            if width != 1:
                raise DataError(f"{where}: {name} has {width} values a row, and one is needed")
        elif len(shape) != 2:
            raise DataError(f"{where}: {name} has {len(shape)} axes, and two are needed")
        if name in FOLLOWING and width != columns["observations"].shape[1]:
            observed = columns["observations"].shape[1]
            raise DataError(f"{where}: {name} has {width} values a row and observations {observed}")
    for name, needed in (("actions", len(space.low)), ("observations", space.observations)):
        if needed is not None and columns[name].shape[1] != needed:
            found = columns[name].shape[1]
            raise DataError(f"{where}: {name} has {found} values a row, and {env_id} has {needed}")


def _read(columns: Mapping[str, Column], where: str, report: Report, *, refuse: bool, horizon: int | None) -> Steps:
    """Every column in float32 or bool, piece by piece."""
    found, converted, squeezed = {}, {}, []
    for name, column in columns.items():
        flat = name in ("rewards", *_FLAGS)
        needed = np.dtype(bool if name in _FLAGS else np.float32)
        in_place = isinstance(column, np.ndarray) and column.dtype == needed and column.flags.owndata  # no copy
        values: np.ndarray = column if in_place else np.empty(column.shape, needed)  # type: ignore[assignment]
        values = values.reshape(len(values)) if flat else values
        bad = _Count()
        odd = _Count()
        for part in chunks(len(values)):
            block = column[part]
            block = block.reshape(len(block)) if flat else block
            if name in _FLAGS:
                numbers = np.ascontiguousarray(block).view(np.uint8) if block.dtype == bool else block
                odd.add(part, (numbers != 0) & (numbers != 1))  # a bool on disk may be any byte
                if not in_place:
                    values[part] = numbers == 1
            else:
                if not in_place:
                    with np.errstate(over="ignore", invalid="ignore"):  # not finite in float32, and found below
                        values[part] = block
                finite = np.isfinite(values[part])
                if not finite.all():
                    bad.add(part, ~finite)
        if odd.count:
            raise DataError(
                f"{where}: {name} has {odd.count} values that are neither 0 nor 1, the first in row {odd.first}"
            )
        if bad.count and refuse:
            raise DataError(
                f"{where}: {name} has {bad.count} values that are not finite in float32, the first in row {bad.first}"
            )
        if column.dtype != values.dtype:
            converted[name] = str(column.dtype)
        if flat and len(column.shape) > 1:
            squeezed.append(name)
        found[name] = values
    if converted:
        text = ", ".join(f"{name} ({dtype})" for name, dtype in sorted(converted.items()))
        report.repaired("converted", f"stored in another type than float32 or bool: {text}", fields=converted)
    if squeezed:
        text = ", ".join(sorted(squeezed))
        report.repaired("squeezed", f"a second axis of one value was taken away: {text}", fields=sorted(squeezed))
    if "timeouts" not in found:
        assert horizon is not None
        found["timeouts"] = timeouts_by_count(found["terminals"], horizon)
        count = int(found["timeouts"].sum())
        report.repaired(
            "timeouts_counted", f"no timeouts are stored: every {horizon} steps count as one, {count} in all",
            horizon=horizon, count=count,
        )  # fmt: skip
    return Steps(**found)


@dataclass
class _Count:
    """How many values of a column are bad, and the first row with one."""

    count: int = 0
    first: int | None = None

    def add(self, part: slice, bad: np.ndarray) -> None:
        found = int(bad.sum())
        if found and self.first is None:
            rows = bad.reshape(len(bad), -1).any(1)
            self.first = part.start + int(rows.argmax())
        self.count += found


def _check_continuity(steps: Steps, report: Report) -> None:
    """Whether a stored next observation is the observation of the next row, inside an episode."""
    if steps.next_observations is None:
        return
    found = discontinuities(steps.observations, steps.next_observations, steps.terminals | steps.timeouts)
    if found.count:
        report.warn("discontinuous", found.sentence(), count=found.count, share=found.count / found.inside)


def _drop_nonfinite(rows: Rows, where: str, report: Report) -> Rows:
    """Without the episodes in which a value is not finite."""
    bad = np.zeros(len(rows), bool)
    for part in chunks(len(rows)):
        for values in (rows.observations, rows.actions, rows.rewards[:, None], rows.next_observations):
            bad[part] |= ~np.isfinite(values[part]).all(1)
    if not bad.any():
        return rows
    dropped = np.unique(rows.episodes[bad])
    keep = ~np.isin(rows.episodes, dropped)
    if not keep.any():
        raise DataError(f"{where}: every episode has a value that is not finite")
    report.repaired(
        "dropped_episodes",
        f"{len(dropped)} episodes with values that are not finite were dropped, {int((~keep).sum())} rows",
        episodes=len(dropped),
        rows=int((~keep).sum()),
    )
    return rows.keep(keep)


def _check_actions(rows: Rows, where: str, space: Space, report: Report) -> None:
    """Actions outside their box: a little is reported, far outside is refused."""
    center, half = (space.high + space.low) / 2, (space.high - space.low) / 2
    outside, far, largest = _Count(), _Count(), 0.0
    for part in chunks(len(rows)):
        values = rows.actions[part]
        over = (values < space.low.astype(np.float32)) | (values > space.high.astype(np.float32))
        if over.any():
            size = np.abs(values - center) / half  # 1 at the bound
            largest = max(largest, float(size.max()))
            outside.add(part, over)
            far.add(part, size > FAR)
    if far.count:
        raise DataError(
            f"{where}: actions has {far.count} values beyond {FAR} times their bounds, the first in row {far.first}, "
            f"the largest {largest:.4g} times: they are in other units"
        )
    if outside.count:
        report.warn(
            "actions_out_of_bounds",
            f"{outside.count} action values lie outside their bounds, the first in row {outside.first}, "
            f"the largest at {largest:.4g} times the bound",
            count=outside.count,
            largest=largest,
        )


def _check_constants(rows: Rows, report: Report) -> None:
    """Features that never change, whose standard deviation is 0."""
    constant = {}
    for name in ("observations", "actions", "rewards"):
        values = getattr(rows, name).reshape(len(rows), -1)
        same = np.ones(values.shape[1], bool)
        for part in chunks(len(rows)):
            same &= (values[part] == values[0]).all(0)
        if same.any():
            constant[name] = np.flatnonzero(same).tolist()
    if constant:
        text = ", ".join(f"{name} {_numbers(indices)}" for name, indices in constant.items())
        report.warn("constant", f"features that never change: {text}", **constant)
    if "observations" in constant:
        report.repaired(
            "std_floor",
            "a standard deviation of 0 becomes 0.001 where observations are normalised",
            observations=constant["observations"],
        )


def _numbers(indices: list[int]) -> str:
    """``0, 3-7`` for the first few of some column numbers."""
    return ", ".join(_ranges(indices))


def _ranges(indices: list[int]) -> Iterator[str]:
    first = previous = indices[0]
    for index in [*indices[1:], -1]:
        if index != previous + 1:
            yield str(first) if first == previous else f"{first}-{previous}"
            first = index
        previous = index
