"""Efficient SAM (Du et al. 2022, arXiv 2110.03141)."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

from torch import Tensor
from torch.func import grad_and_value

from corruptbench.algos.agent import Agent
from corruptbench.errors import UsageError
from corruptbench.optimizers.optimizer import Found, Given, Loss, plain_gradient
from corruptbench.optimizers.perturbed import Perturbed, along


@dataclass(frozen=True)
class EfficientSAM(Perturbed):
    """SAM that perturbs some of the weights and looks at the rows that mind it most (Du et al. 2022).

    Stochastic weight perturbation: e = b rho g / (beta (|g|_2 + 1e-12)), g the gradient at w, b 1 with probability beta
    for each parameter and else 0, drawn afresh for each update (the paper's; the authors' code draws it for whole
    tensors). Sharpness-sensitive data selection: the step uses the gradient at w + e of the mean loss of round(gamma
    batch) rows, at least one, those whose loss rose most from w to w + e. Two passes over all rows: to know which ones
    rise takes most of what the selection could save.
    """

    beta: float = 0.6  # share of the parameters that are perturbed
    gamma: float = 0.5  # share of the batch's rows that are selected

    name: ClassVar[str] = "esam"
    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("beta", 0 < self.beta <= 1, "above 0, up to 1")
        self.require("gamma", 0 < self.gamma <= 1, "above 0, up to 1")

    def require_fit(self, agent: Agent) -> None:
        for objective in agent.objectives if self.gamma < 1 else ():
            if objective.name in self.on and not objective.rows:
                raise UsageError(
                    f"--optimizer esam selects rows by their loss, and {objective.name} of {agent.name} gives none by "
                    "row: --esam.gamma 1 selects all"
                )

    def numbers(self, update: int, updates: int, count: int) -> tuple[float, ...]:
        """What a standard normal lies below with probability beta."""
        return (NormalDist().inv_cdf(self.beta) if self.beta < 1 else float("inf"),)

    def gradient(self, loss: Loss, weights: Tensor, given: Given) -> Found:
        """The gradient at w + e on the rows that are selected, and the loss at w."""
        assert given.noise is not None
        gradient, (value, info) = grad_and_value(loss, has_aux=True)(weights)
        drawn = given.noise < given.numbers[0]
        perturbed = weights + drawn * along(gradient, self.rho) / self.beta
        if not isinstance(self.gamma, Tensor) and self.gamma == 1:  # a tensor where members differ in it
            return Found(plain_gradient(loss, perturbed).gradient, value, {})

        def of_selected(w: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            rows = loss(w)[1]["rows"]
            return selected_mean(rows, rows.detach() - info["rows"], self.gamma), {}

        return Found(plain_gradient(of_selected, perturbed).gradient, value, {})


def selected_mean(rows: Tensor, rise: Tensor, share: float | Tensor) -> Tensor:
    """The mean of the rows ``(batch,)`` with the highest ``rise``; of equal ones the first are taken."""
    count = (share * rise.new_full((), len(rise))).round().clamp(min=1)
    place = rise.argsort(descending=True, stable=True).argsort()
    return (rows * (place < count)).sum() / count
