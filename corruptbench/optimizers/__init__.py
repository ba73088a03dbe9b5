"""What takes the place of Adam, one file each: any of them on any objective of any algorithm."""

import dataclasses
from typing import Any

from corruptbench import settings
from corruptbench.algos.agent import Agent
from corruptbench.errors import PluginError, UsageError, nearest, shown, unknown
from corruptbench.optimizers.asam import ASAM
from corruptbench.optimizers.averaging import Averaging
from corruptbench.optimizers.esam import EfficientSAM
from corruptbench.optimizers.fsam import FriendlySAM
from corruptbench.optimizers.gsam import GSAM
from corruptbench.optimizers.looksam import LookSAM
from corruptbench.optimizers.msam import MSAM
from corruptbench.optimizers.optimizer import Optimizer
from corruptbench.optimizers.perturbed import Perturbed
from corruptbench.optimizers.random_direction import RandomDirection
from corruptbench.optimizers.sam import SAM
from corruptbench.optimizers.update_count import Double, Half, Matched
from corruptbench.optimizers.weight_decay import WeightDecay
from corruptbench.spec import OptimizerSpec

OPTIMIZERS: dict[str, type[Optimizer]] = {
    cls.name: cls
    for cls in (
        *(Optimizer, SAM, ASAM, GSAM, FriendlySAM, MSAM, LookSAM, EfficientSAM),
        *(RandomDirection, Matched, Double, Half, WeightDecay, Averaging),
    )
}


def optimizer_named(name: str) -> type[Optimizer]:
    """Raises UsageError with the nearest right name for one that there is not."""
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name]


def own_fields(cls: type[Optimizer]) -> dict[str, Any]:
    """Settings that an optimizer has beside its objectives and its radius, with their defaults."""
    return {f.name: f.default for f in dataclasses.fields(cls) if f.name not in ("on", "rho")}


def optimizer_for(
    agent: Agent,
    name: str,
    on: tuple[str, ...] | None = None,
    rho: float | None = None,
    options: dict[str, Any] | None = None,
) -> Optimizer:
    """The optimizer called ``name`` on an agent's objectives; None stands for what is usual, for on and rho.

    ``options`` are its other settings, which may be text. Raises UsageError for an unknown optimizer, objective or
    setting, for a value that makes no sense, for objectives or a radius where the optimizer has none, and for an
    algorithm that lacks what it needs; PluginError for one whose objectives share a group of parameters.
    """
    cls = optimizer_named(name)
    usual = cls.usual(agent)
    if on is not None and not usual:
        raise UsageError(
            "--sam-on names objectives for SAM: add --sam"
            if name == "adam"
            else f"--sam-on makes no sense with --optimizer {name}, which is on all objectives alike"
        )
    if rho is not None and not issubclass(cls, Perturbed):
        radial = [other for other, found in OPTIMIZERS.items() if issubclass(found, Perturbed)]
        raise UsageError(
            "--rho is the radius of SAM: add --sam"
            if name == "adam"
            else f"--rho is a radius, and --optimizer {name} has none: those that do are {', '.join(radial)}"
        )
    own = options or {}
    for key in own:
        if key.replace("-", "_") not in own_fields(cls):
            allowed = ", ".join(sorted(own_fields(cls))) or "none"
            hint = nearest(key, own_fields(cls))
            raise UsageError(f"--optimizer {name}: unknown option {shown(key)}: known are {allowed}{hint}")
    made = settings.build(cls, own, f"--optimizer {name}")
    movers: dict[str, str] = {}
    for objective in agent.objectives:
        other = movers.setdefault(objective.group, objective.name)
        if other != objective.name:
            raise PluginError(
                f"algorithm {agent.name!r}: its objectives {other!r} and {objective.name!r} both move the group "
                f"{objective.group!r}, whose moments Adam keeps for one: make one loss of them, or a group for each"
            )
    known = [objective.name for objective in agent.objectives]
    chosen = on or usual
    for i, wanted in enumerate(chosen):
        if wanted in chosen[:i]:
            raise UsageError(f"--sam-on names {shown(wanted)} twice")
        if wanted not in known:
            raise UsageError(
                f"--sam-on {wanted!r}: {agent.name} has the objectives {', '.join(known)}{nearest(wanted, known)}"
            )
    radius = {} if rho is None else {"rho": rho}
    optimizer = dataclasses.replace(made, on=tuple(k for k in known if k in chosen), **radius)
    optimizer.require_fit(agent)
    return optimizer


def spec_of(optimizer: Optimizer) -> OptimizerSpec:
    """What an optimizer puts into a run's spec."""
    rho = optimizer.rho if isinstance(optimizer, Perturbed) else 0.0
    own = {name: getattr(optimizer, name) for name in own_fields(type(optimizer))}
    return OptimizerSpec(optimizer.name, optimizer.on, rho, own)


def optimizer_of(agent: Agent, spec: OptimizerSpec) -> Optimizer:
    """The inverse of :func:`spec_of`; raises UsageError as :func:`optimizer_for`."""
    return optimizer_for(agent, spec.name, spec.on or None, spec.rho or None, spec.options)
