"""The sharpness of a trained agent: every measure of every objective, on the data it saw and on clean data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import grad_and_value

from corruptbench.algos.agent import State
from corruptbench.batches import MEASURED_ROWS, measured_rows
from corruptbench.corrupting import data_of
from corruptbench.errors import DataError, UsageError
from corruptbench.resources import keep_freed_memory
from corruptbench.sharpness.activity import activity
from corruptbench.sharpness.curvature import Eigenvalue, Estimate, extremes, fisher_trace, hessian, signs, trace
from corruptbench.sharpness.problem import Problem, has_critics, problems
from corruptbench.sharpness.rise import (
    ADAPTIVE_RADII,
    AVERAGE_RADII,
    AVERAGE_RELATIVE_RADII,
    RADII,
    RELATIVE_RADII,
    Rise,
)
from corruptbench.surrogates import TrainedCritics, surrogate_for
from corruptbench.train import Policy
from corruptbench.trained import Trained
from corruptbench.types import Batch, TransitionDataset

SCHEMA = 1


@dataclass(frozen=True)
class Effort:
    """How much work goes into a report; ``corruptbench bench sharpness`` says how long the defaults take.

    Raises UsageError for numbers that leave nothing to measure, or no standard error.
    """

    rows: int = MEASURED_ROWS  # of the dataset, the same for every run on it
    iterations: int = 12  # of Lanczos
    probes: int = 8  # of Hutchinson
    directions: int = 4  # of average sharpness

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 2 if name in ("probes", "directions") else 1
            if value < least:
                raise UsageError(f"--{name} is {value}, allowed is {least} and above")


Data = Mapping[str, TransitionDataset]
"""``corrupted``, what an agent was trained on, and ``clean``."""


def report_of_run(
    run: Trained, results: Path, effort: Effort, clean: TransitionDataset | None = None, *, exactly: bool = False
) -> dict[str, Any]:
    """The report of a finished run, whose data are made again; ``clean`` and ``exactly`` as in :func:`data_of`."""
    clean, corrupted = data_of(run.record, results, clean, exactly=exactly)
    return report_of(run.model, run.record.spec.steps, {"corrupted": corrupted.dataset, "clean": clean}, effort)


def report_of(model: Policy, step: int, data: Data, effort: Effort) -> dict[str, Any]:
    """The measures after ``step`` steps by data, objective and name, as JSON.

    Where there are critics of s and a, the common loss is their mean squared error to y = r + gamma (1 - d) V(s'), with
    V(s') = min_k Q_k(s', pi(s')) and gamma of the clean dataset's surrogate. Raises DataError for weights at which a
    measure is not finite.
    """
    keep_freed_memory()
    surrogate = surrogate_for(data["clean"]) if has_critics(model.state, data["clean"]) else None
    found: dict[str, Any] = {"schema": SCHEMA, "step": step, **vars(effort), "data": {}}
    for name, dataset in data.items():
        twin = next((other for other in found["data"] if data[other].sha256 == dataset.sha256), None)
        if twin:
            found["data"][name] = found["data"][twin]
        else:
            try:
                measured = _measured(model, dataset, surrogate, effort)
            except DataError as error:
                raise DataError(f"on {name} data, {error}") from error
            _check_finite(measured, f"on {name} data")
            found["data"][name] = {"sha256": dataset.sha256, **measured}
    return found


def _check_finite(found: Any, where: str) -> None:
    if isinstance(found, float) and not math.isfinite(found):
        raise DataError(f"{where} is {found}: only what is finite has a sharpness")
    if isinstance(found, dict | list):
        for name, inner in found.items() if isinstance(found, dict) else enumerate(found):
            _check_finite(inner, f"{where}, {name}")


def _measured(
    model: Policy, dataset: TransitionDataset, surrogate: TrainedCritics | None, effort: Effort
) -> dict[str, Any]:
    """Losses and slopes in float64, whatever takes many passes in the type of the weights."""
    rows = measured_rows(len(dataset), effort.rows)
    dtype = next(iter(model.state.values()))[0].dtype
    batch = model.normalisation.batch(dataset, rows, dtype)
    y = common_targets(dataset, surrogate, rows) if surrogate else None
    exact = problems(model.agent, _double(model.state), Batch(*(x.double() for x in batch)), y)
    kind = model.agent.network_kind
    coarse = problems(model.agent, model.state, batch, None if y is None else y.to(dtype))
    return {
        "objectives": {
            a.name: {**slopes(a, effort), **curvature(b, effort)} for a, b in zip(exact, coarse, strict=True)
        },
        "activity": {group: activity(params, batch, kind) for group, params in model.state.items()},
    }


def slopes(problem: Problem, effort: Effort) -> dict[str, Any]:
    """Loss, lengths, and what the loss rises by within each radius."""
    weights = problem.weights
    length = float(weights.norm())
    gradient, base = grad_and_value(problem.loss)(weights)
    rise = Rise(problem.loss, weights, gradient, float(base))
    with torch.no_grad():
        return {
            "loss": rise.base,
            "gradient_norm": float(gradient.norm()),
            "weight_norm": length,
            "sam": {str(r): rise.sam(r) for r in RADII},
            "sam_relative": {str(r): rise.sam(r * length) for r in RELATIVE_RADII},
            "asam": {str(r): rise.asam(r) for r in ADAPTIVE_RADII},
            "average": {str(r): _named(rise.average(r, effort.directions)) for r in AVERAGE_RADII},
            "average_relative": {
                str(r): _named(rise.average(r * length, effort.directions)) for r in AVERAGE_RELATIVE_RADII
            },
        }


def curvature(problem: Problem, effort: Effort) -> dict[str, Any]:
    """Extreme eigenvalues and trace of the Hessian, trace of the empirical Fisher matrix."""
    product = hessian(problem.loss, problem.weights)
    try:
        lowest, highest = extremes(product, signs(0, problem.weights), effort.iterations)
    except DataError as error:
        raise DataError(f"{problem.name}: {error}") from error
    return {
        "eigenvalue_max": _named(highest),
        "eigenvalue_min": _named(lowest),
        "trace": _named(trace(product, problem.weights, effort.probes)),
        "fisher_trace": fisher_trace(problem),
    }


def _named(found: Eigenvalue | Estimate) -> dict[str, float]:
    return found._asdict()


def common_targets(dataset: TransitionDataset, surrogate: TrainedCritics, rows: np.ndarray) -> Tensor:
    """y of the common loss, ``(rows,)`` float64."""
    with torch.no_grad():
        following = torch.from_numpy(dataset.next_observations[rows])
        value = surrogate.value(following, surrogate.policy(following)).double()
    ended = torch.from_numpy(dataset.terminations[rows]).double()
    gamma: float = surrogate.model.agent.discount  # type: ignore[attr-defined]  # it is IQL
    return torch.from_numpy(dataset.rewards[rows]).double() + gamma * (1 - ended) * value


def _double(state: State) -> State:
    return {group: [p.double() for p in params] for group, params in state.items()}
