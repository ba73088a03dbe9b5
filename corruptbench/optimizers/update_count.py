"""Controls of how far training comes: Adam with the updates that a second pass pays for, or with others."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from corruptbench.algos.agent import Agent
from corruptbench.errors import PluginError
from corruptbench.optimizers.optimizer import Optimizer


@dataclass(frozen=True)
class Matched(Optimizer):
    """Control: Adam with as many more updates as SAM's second pass costs, the cosine stretched over them.

    After t steps of the run there were floor(t sam_cost) updates; steps, curve and checkpoints stay those of the run.
    """

    name: ClassVar[str] = "matched"

    def updates(self, agent: Agent) -> Fraction:
        cost = Fraction(agent.sam_cost)
        if cost < 1:
            raise PluginError(f"algorithm {agent.name!r}: its sam_cost is {float(cost):g}, allowed is 1 and above")
        return cost


@dataclass(frozen=True)
class Double(Optimizer):
    """Control: Adam with twice the updates, the cosine stretched over them."""

    name: ClassVar[str] = "double"

    def updates(self, agent: Agent) -> Fraction:
        return Fraction(2)


@dataclass(frozen=True)
class Half(Optimizer):
    """Control: Adam with half the updates, one in every other step, the cosine as long as they are."""

    name: ClassVar[str] = "half"

    def updates(self, agent: Agent) -> Fraction:
        return Fraction(1, 2)
