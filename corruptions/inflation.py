"""Attacks that raise a surrogate's value, so that bad rows look good: obs-inflate, act-inflate, dyn-inflate."""

from dataclasses import dataclass

from corruptbench.corruptions.attack import OnActions, OnDynamics, OnObservations, ValueAttack
from corruptbench.registry import CORRUPTIONS


@dataclass(frozen=True)
class Inflation(ValueAttack):
    """The solver of section 2 on -Q."""

    mode = "inflate"
    raises = True


@CORRUPTIONS.register("obs-inflate")
@dataclass(frozen=True)
class ObservationInflation(Inflation, OnObservations):
    """Observations moved to raise Q(s + z * std(s), a)."""


@CORRUPTIONS.register("act-inflate")
@dataclass(frozen=True)
class ActionInflation(Inflation, OnActions):
    """Actions moved to raise Q(s, a + z * std(a))."""


@CORRUPTIONS.register("dyn-inflate")
@dataclass(frozen=True)
class DynamicsInflation(Inflation, OnDynamics):
    """Next observations moved to raise Q(s' + z * std(s'), pi(s' + z * std(s')))."""
