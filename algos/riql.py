"""Robust IQL (Yang et al. 2024, arXiv 2310.12955): a lower quantile of an ensemble, a Huber loss, clipped targets."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from numpy.random import PCG64
from torch import Tensor

from corruptbench.algos.agent import Info, State
from corruptbench.algos.implicit import ImplicitAgent, Targets, cost_of_sam
from corruptbench.algos.losses import huber_loss, quantile
from corruptbench.algos.networks import Params, clone, uniform
from corruptbench.registry import ALGORITHMS
from corruptbench.types import Batch


@ALGORITHMS.register("riql")
@dataclass(frozen=True)
class RIQL(ImplicitAgent):
    """Robust IQL: the value signal is the alpha-quantile of K critics, which are trained with a Huber loss.

    q = alpha-quantile_k Qtarget_k(s, a),  A = q - V(s),  y = clip(r + discount (1 - d) V(s'), -100, 1000)
    L_V and L_actor as in IQL
    L_Q = mean_k mean l(y - Q_k(s, a)),  l(u) = u^2 / (2 delta) for |u| < delta, else |u| - delta / 2
    """

    critics: int = 5  # K
    alpha: float = 0.25  # quantile over the critics
    delta: float = 1.0  # Huber threshold; 1/sigma^2 in the released code's terms
    target_min: float = -100.0  # bounds of y, from the released code
    target_max: float = 1000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("critics", self.critics >= 1, "1 and above")
        self.require("alpha", 0 <= self.alpha <= 1, "0 to 1")
        self.require("delta", 0 < self.delta < float("inf"), "any number above 0")
        self.require("target_min", self.target_min <= self.target_max, "target_max and below")

    def init(self, observation_dim: int, action_dim: int, streams: Callable[[str], PCG64]) -> State:
        bits = streams("critic")
        critic = self.init_mlp(bits, (observation_dim + action_dim, *self.hidden, 1), ensemble=(self.critics,))
        for bias in critic[1:-2:2]:
            bias.fill_(0.1)
        critic[-2:] = [uniform(bits, 3e-3, *p.shape) for p in critic[-2:]]
        return {
            "value": self.init_mlp(streams("value"), (observation_dim, *self.hidden, 1)),
            "critic": critic,
            "target_critic": clone(critic),
            "actor": self.init_mlp(streams("actor"), (observation_dim, *self.hidden, action_dim)),
        }

    def targets(self, state: State, batch: Batch) -> Targets:
        q = self.q_statistic(state["target_critic"], batch.observations, batch.actions)
        following = self.values(state["value"], batch.next_observations)
        y = batch.rewards + self.discount * (1 - batch.terminations) * following
        y = y.clamp(min=self.target_min).clamp(max=self.target_max)  # one by one: either may be a number of a member
        return Targets(q, y, q - self.values(state["value"], batch.observations))

    def critic_loss(self, critic: Params, batch: Batch, targets: Targets) -> tuple[Tensor, Info]:
        q = self.q_values(critic, batch.observations, batch.actions)
        each = huber_loss(targets.y.unsqueeze(-2) - q, self.delta)
        return each.mean((-2, -1)), {"q": q.mean((-2, -1)), "rows": each.mean(-2)}

    @property
    def sam_cost(self) -> Fraction:
        """5/3 for five critics: see :func:`cost_of_sam`."""
        return cost_of_sam(self.critics)

    def statistic(self, q: Tensor) -> Tensor:
        return quantile(q, self.alpha)
