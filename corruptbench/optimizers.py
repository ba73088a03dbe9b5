"""How a gradient is taken on each objective; the step itself is always Adam's."""

from dataclasses import dataclass

from torch import Tensor

from corruptbench.algos.agent import Agent
from corruptbench.algos.sam import Loss, plain_gradient, sam_gradient
from corruptbench.errors import UsageError, nearest, unknown

RHO = 0.05
"""Radius of SAM (Foret et al. 2021, arXiv 2010.01412)."""

OPTIMIZERS = {
    "adam": "Adam (Kingma & Ba 2015) on every objective",
    "sam": "Adam with sharpness-aware minimisation (Foret et al. 2021) on the objectives of --sam-on; --rho",
}


@dataclass(frozen=True)
class Optimizer:
    """A rule and the objectives it applies to; the others take the plain gradient."""

    name: str = "adam"
    on: tuple[str, ...] = ()  # objectives, in the agent's order
    rho: float = 0.0  # radius of the perturbation, 0 where there is none

    def gradient(self, objective: str, loss: Loss, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient for the step, ``(P,)``, and the loss at ``weights`` ``(P,)``."""
        if objective in self.on:
            return sam_gradient(loss, weights, self.rho)
        return plain_gradient(loss, weights)


def optimizer_for(agent: Agent, name: str, on: tuple[str, ...] | None = None, rho: float = RHO) -> Optimizer:
    """The optimizer called ``name`` on an agent's objectives; ``on`` None stands for those the algorithm's file names.

    Raises UsageError for an unknown optimizer or objective and for a rho that is not above 0.
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    if name == "adam":
        if on is not None:
            raise UsageError("--sam-on names objectives for SAM: add --sam")
        return Optimizer()
    if not 0 < rho < float("inf"):
        raise UsageError(f"--rho is {rho}, allowed is any number above 0")
    known = [objective.name for objective in agent.objectives]
    chosen = on or agent.sam_on or tuple(known)
    for wanted in chosen:
        if wanted not in known:
            raise UsageError(
                f"--sam-on {wanted!r}: {agent.name} has the objectives {', '.join(known)}{nearest(wanted, known)}"
            )
    return Optimizer(name, tuple(k for k in known if k in chosen), rho)
