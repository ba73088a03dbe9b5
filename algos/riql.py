"""Robust IQL (Yang et al. 2024, arXiv 2310.12955): a lower quantile of an ensemble, a Huber loss, clipped targets."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from numpy.random import PCG64
from torch import Tensor

from corruptbench.algos.agent import Agent, Info, Objective, State
from corruptbench.algos.iql import (
    Targets,
    actor_objective,
    cost_of_sam,
    q_values,
    require_value_settings,
    value_objective,
    values,
)
from corruptbench.algos.losses import huber_loss, quantile
from corruptbench.algos.networks import Params, clone, init_mlp, uniform
from corruptbench.registry import ALGORITHMS
from corruptbench.types import Batch


@ALGORITHMS.register("riql")
@dataclass(frozen=True)
class RIQL(Agent):
    """Robust IQL: the value signal is the alpha-quantile of K critics, which are trained with a Huber loss.

    q = alpha-quantile_k Qtarget_k(s, a),  A = q - V(s),  y = clip(r + discount (1 - d) V(s'), -100, 1000)
    L_V and L_actor as in IQL
    L_Q = mean_k mean l(y - Q_k(s, a)),  l(u) = u^2 / (2 delta) for |u| < delta, else |u| - delta / 2
    """

    critics: int = 5  # K
    alpha: float = 0.25  # quantile over the critics
    delta: float = 1.0  # Huber threshold; 1/sigma^2 in the released code's terms
    expectile: float = 0.7  # tau
    beta: float = 3.0  # inverse temperature of the advantage weights
    discount: float = 0.99  # gamma
    target_rate: float = 0.005  # share of the critics that moves into their targets each step
    target_min: float = -100.0  # bounds of y, from the released code
    target_max: float = 1000.0

    sam_on: ClassVar[tuple[str, ...]] = ("V", "Q")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_value_settings(self)
        self.require("critics", self.critics >= 1, "1 and above")
        self.require("alpha", 0 <= self.alpha <= 1, "0 to 1")
        self.require("delta", 0 < self.delta < float("inf"), "any number above 0")
        self.require("target_min", self.target_min <= self.target_max, "target_max and below")

    def init(self, observation_dim: int, action_dim: int, streams: Callable[[str], PCG64]) -> State:
        bits = streams("critic")
        critic = init_mlp(bits, (observation_dim + action_dim, *self.hidden, 1), ensemble=(self.critics,))
        for bias in critic[1:-2:2]:
            bias.fill_(0.1)
        critic[-2:] = [uniform(bits, 3e-3, *p.shape) for p in critic[-2:]]
        return {
            "value": init_mlp(streams("value"), (observation_dim, *self.hidden, 1)),
            "critic": critic,
            "target_critic": clone(critic),
            "actor": init_mlp(streams("actor"), (observation_dim, *self.hidden, action_dim)),
        }

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (
            value_objective(self.expectile),
            Objective("Q", "critic", self.critic_loss),
            actor_objective(self.beta),
        )

    def targets(self, state: State, batch: Batch) -> Targets:
        q = self.q_statistic(state["target_critic"], batch.observations, batch.actions)
        y = batch.rewards + self.discount * (1 - batch.terminations) * values(state["value"], batch.next_observations)
        return Targets(q, y.clamp(self.target_min, self.target_max), q - values(state["value"], batch.observations))

    def critic_loss(self, critic: Params, batch: Batch, targets: Targets) -> tuple[Tensor, Info]:
        q = q_values(critic, batch.observations, batch.actions)
        return huber_loss(targets.y.unsqueeze(-2) - q, self.delta).mean((-2, -1)), {"q": q.mean((-2, -1))}

    @property
    def sam_cost(self) -> Fraction:
        """5/3 for five critics: see :func:`corruptbench.algos.iql.cost_of_sam`."""
        return cost_of_sam(self.critics)

    @property
    def target_networks(self) -> dict[str, tuple[str, float]]:
        return {"target_critic": ("critic", self.target_rate)}

    def q_statistic(self, critic: Params, observations: Tensor, actions: Tensor) -> Tensor:
        """The alpha-quantile of Q_k(s, a) over the critics, ``(..., batch)``: what V is trained against."""
        return self.statistic(q_values(critic, observations, actions))

    def statistic(self, q: Tensor) -> Tensor:
        return quantile(q, self.alpha)
