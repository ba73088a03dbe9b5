"""The surfaces of several runs, measured alike: the same directions, the same episodes, the same rows."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corruptbench.algos.agent import State
from corruptbench.bars import progress
from corruptbench.corrupting import data_of
from corruptbench.errors import Diverged, UsageError
from corruptbench.evaluate import FINAL_EPISODES
from corruptbench.landscape.comparable import common_environment, require_same
from corruptbench.landscape.losses import fixed_batch, loss_of, objective_of
from corruptbench.landscape.surface import Grid, Lines, Measure, Surface, lines, mean_return, plane
from corruptbench.tables.labels import run_names
from corruptbench.trained import Trained
from corruptbench.types import Batch, Environment, TransitionDataset

log = logging.getLogger(__name__)

MOST = {"directions": 100, "episodes": FINAL_EPISODES, "points": 50}
"""Largest numbers; a plane has (2 points + 1)^2 points."""
SMALLEST_RADIUS, LARGEST_RADIUS = 1e-6, 10.0


@dataclass(frozen=True)
class Settings:
    """How surfaces are measured; raises UsageError for what makes no sense."""

    directions: int = 10
    episodes: int = 20  # of each point, the first ones of the final evaluation
    radius: float = 0.4  # how far the lines go each way, as a share of every unit's norm
    points: int = 8  # from 0 to the radius
    plane: bool = False  # of directions 0 and 1

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise UsageError(f"--{name} is {getattr(self, name)}, allowed is 1 to {most}")
        if not SMALLEST_RADIUS <= self.radius <= LARGEST_RADIUS:
            raise UsageError(f"--radius is {self.radius:g}, allowed is {SMALLEST_RADIUS:g} to {LARGEST_RADIUS:g}")

    @property
    def grid(self) -> Grid:
        return Grid(self.radius, self.points)

    @property
    def count(self) -> int:
        """Points of one surface."""
        side = 2 * self.points
        return 1 + self.directions * side + self.plane * (side + 1) ** 2


@dataclass(frozen=True)
class Measured:
    """A run's surfaces."""

    run: Trained
    name: str  # unlike those of the other runs
    environment: Environment
    returns: Surface  # mean returns
    objective: str | None  # of the losses
    losses: dict[str, Surface]  # by the data of the batch, "corrupted" and "clean"; empty where none were asked for

    @property
    def scores(self) -> Surface:
        """Normalized scores, or returns where the environment has no references."""
        low, high = self.environment.reference_min, self.environment.reference_max
        if low is None or high is None:
            return self.returns
        lines, plane = self.returns.lines.values, self.returns.plane
        return Surface(
            Lines(100 * (lines - low) / (high - low)), None if plane is None else 100 * (plane - low) / (high - low)
        )


def measure(
    runs: Sequence[Trained],
    settings: Settings,
    *,
    loss: bool = False,
    objective: str | None = None,
    results: Path = Path("results"),
    clean: TransitionDataset | None = None,
) -> list[Measured]:
    """The reward surface of each run's policy, and with ``loss`` the loss surface of an objective of its networks.

    The objective is that of the critics where none is named. Everything is checked before anything is measured: raises
    UsageError for runs that cannot be compared or have no such objective, DataError for an environment that cannot be
    made here, and as :func:`corruptbench.corrupting.data_of`, which says what ``clean`` is, does for their data.
    """
    env = common_environment(runs)
    require_same(runs, [run.model.agent.acting for run in runs])
    wanted = [objective_of(run.model.agent, objective) for run in runs] if loss else []
    require_same(runs if loss else [], [(found.group,) for found in wanted])
    batches = [_batches(run, results, clean) if loss else {} for run in runs]

    found = []
    for i, (run, name) in enumerate(zip(runs, run_names([run.record for run in runs]), strict=True)):
        model = run.model
        returns = _surface(name, model.state, model.agent.acting, settings, mean_return(model, env, settings.episodes))
        losses = {}
        for data, batch in batches[i].items():
            what = f"{name}: {wanted[i].name} on {data} data"
            losses[data] = _surface(what, model.state, [wanted[i].group], settings, loss_of(model, wanted[i], batch))
        found.append(Measured(run, name, env, returns, wanted[i].name if loss else None, losses))
    return found


def _batches(run: Trained, results: Path, clean: TransitionDataset | None) -> dict[str, Batch]:
    """The fixed batch of what a run was trained on, and of the clean data where those are others."""
    clean, corrupted = data_of(run.record, results, clean)
    found = {"corrupted": corrupted.dataset} if corrupted.dataset.sha256 != clean.sha256 else {}
    found["clean"] = clean
    return {name: fixed_batch(data, run.model.normalisation) for name, data in found.items()}


def _surface(what: str, state: State, groups: Sequence[str], settings: Settings, measure: Measure) -> Surface:
    """Lines and, if asked for, the plane; says first how long it will take, by the time of the point at w."""
    begin = time.perf_counter()
    try:
        (center,) = measure([state])
    except Diverged as error:
        raise Diverged(f"{what}, at the run's own weights: {error}") from error
    seconds = settings.count * (time.perf_counter() - begin)
    log.info("%s: %d points, about %s", what, settings.count, _duration(seconds))
    with progress(total=settings.count, initial=1, unit="point", leave=False) as bar:
        try:
            found = lines(state, groups, settings.grid, settings.directions, center, measure, bar.update)
            return Surface(found, plane(state, groups, settings.grid, measure, bar.update) if settings.plane else None)
        except Diverged as error:
            raise Diverged(
                f"{what}, within the radius {settings.radius:g}: {error}; a smaller one stays nearer"
            ) from error


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
