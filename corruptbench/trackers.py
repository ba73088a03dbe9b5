"""Where a run tells how it goes while it trains, beside its record: TensorBoard, or Weights & Biases.

Nothing is sent anywhere unless the user's own environment says so: ``WANDB_MODE`` is ``offline`` by default.
"""

import importlib.util
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from corruptbench.errors import UsageError, sentence, unknown
from corruptbench.records import RunRecord
from corruptbench.spec import RunSpec

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """What a run tells: points of its curve, and its end."""

    def point(self, step: int, values: Mapping[str, float]) -> None:
        """Scores and losses at a step."""

    def end(self, record: RunRecord | None) -> None:
        """The record, None where the run was stopped and will go on."""


class TensorBoard:
    """Event files in ``folder/<run id>``, one for each process that worked on the run."""

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder / spec.run_id))

    def point(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"curve/{name}", value, step)
        self.writer.flush()

    def end(self, record: RunRecord | None) -> None:
        if record is not None:
            for name, value in (record.score or {}).items():
                if value is not None:
                    self.writer.add_scalar(f"score/{name}", value, record.step)
            self.writer.add_text("outcome", record.outcome, record.step)
            self.writer.add_text("command", record.command, record.step)
        self.writer.close()


class WandB:
    """A run of the project ``corruptbench`` that has the run's id, below ``folder``."""

    def __init__(self, spec: RunSpec, folder: Path) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self.run: Any = wandb.init(
            project="corruptbench",
            id=spec.run_id,
            name=f"{spec.algorithm.name} {spec.corruption.name} {spec.dataset} unit {spec.unit}",
            config=spec.to_json(),
            dir=str(folder),
            mode=mode,
            resume="allow",
            settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
        )

    def point(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def end(self, record: RunRecord | None) -> None:
        if record is not None:
            self.run.summary.update({"outcome": record.outcome, **(record.score or {})})
        self.run.finish(exit_code=0 if record is not None and record.outcome == "ok" else 1)


TRACKERS: dict[str, Callable[[RunSpec, Path], Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB}
"""By the name of the package that each needs."""


def check(name: str) -> None:
    """Raises UsageError for an unknown tracker and for one whose package is missing."""
    if name not in TRACKERS:
        raise unknown("tracker", name, TRACKERS)
    if importlib.util.find_spec(name) is None:
        raise UsageError(f"--log {name} needs {name}: pip install 'corruptbench[{name}]'")


class Telling:
    """A tracker that cannot hurt a run: what breaks in it is told once, and the run goes on without."""

    def __init__(self, name: str | None, spec: RunSpec, folder: Path) -> None:
        self.name = name
        self.tracker: Tracker | None = None
        if name is not None:
            self._try(lambda: setattr(self, "tracker", TRACKERS[name](spec, folder)))

    def point(self, values: Mapping[str, float | int | None]) -> None:
        """A row of the curve: its ``step``, and what was measured there."""
        found = {name: float(value) for name, value in values.items() if value is not None and name != "step"}
        if (tracker := self.tracker) is not None:
            self._try(lambda: tracker.point(int(values["step"] or 0), found))

    def end(self, record: RunRecord | None) -> None:
        if (tracker := self.tracker) is not None:
            self.tracker = None
            self._try(lambda: tracker.end(record))

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:
            log.warning("--log %s: %s; the run goes on without it", self.name, sentence(error))
            self.tracker = None
