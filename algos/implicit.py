"""What IQL and its relatives share: V, Q_k and pi, their settings, and the losses that are the same for all of them."""

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from corruptbench.algos.agent import Agent, Info, Objective
from corruptbench.algos.losses import expectile_loss, weighted_regression_loss
from corruptbench.algos.networks import Params
from corruptbench.types import Batch


class Targets(NamedTuple):
    q: Tensor  # (batch,) statistic of the target critics at (s, a)
    y: Tensor  # (batch,) what the critics regress on
    advantage: Tensor  # (batch,) q - V(s)


@dataclass(frozen=True)
class ImplicitAgent(Agent):
    """An expectile value, critics with targets, an advantage-weighted actor (IQL, arXiv 2110.06169).

    L_V = mean |expectile - 1(q - V(s) < 0)| (q - V(s))^2
    L_actor = mean min(exp(beta A), 100) |pi(s) - a|^2
    """

    expectile: float = 0.7  # tau
    beta: float = 3.0  # inverse temperature of the advantage weights
    discount: float = 0.99  # gamma
    target_rate: float = 0.005  # share of the critics that moves into their targets each step

    sam_on: ClassVar[tuple[str, ...]] = ("V", "Q")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("expectile", 0 < self.expectile < 1, "above 0 and under 1")
        self.require("beta", 0 <= self.beta < float("inf"), "0 and above")
        self.require("discount", 0 <= self.discount <= 1, "0 to 1")
        self.require("target_rate", 0 <= self.target_rate <= 1, "0 to 1")

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (
            Objective("V", "value", self.value_loss, rows=True),
            Objective("Q", "critic", self.critic_loss, rows=True),
            Objective("actor", "actor", self.actor_loss, cosine=True, rows=True),
        )

    def value_loss(self, value: Params, batch: Batch, targets: Targets) -> tuple[Tensor, Info]:
        v = self.values(value, batch.observations)
        rows = expectile_loss(targets.q - v, self.expectile)
        return rows.mean(-1), {"v": v.mean(-1), "rows": rows}

    @abstractmethod
    def critic_loss(self, critic: Params, batch: Batch, targets: Targets) -> tuple[Tensor, Info]:
        """L_Q, the critics towards y, with the loss of each row."""

    def actor_loss(self, actor: Params, batch: Batch, targets: Targets) -> tuple[Tensor, Info]:
        policy = torch.tanh(self.mlp(actor, batch.observations))
        rows = weighted_regression_loss(policy, batch.actions, targets.advantage, self.beta)
        return rows.mean(-1), {"rows": rows}

    @property
    def target_networks(self) -> dict[str, tuple[str, float]]:
        return {"target_critic": ("critic", self.target_rate)}

    def values(self, value: Params, observations: Tensor) -> Tensor:
        """V(s), ``(..., batch)``."""
        return self.mlp(value, observations).squeeze(-1)

    def q_statistic(self, critic: Params, observations: Tensor, actions: Tensor) -> Tensor:
        """The statistic of Q_k(s, a), ``(..., batch)``: what V is trained against, and what an attack lowers."""
        return self.statistic(self.q_values(critic, observations, actions))


def cost_of_sam(critics: int) -> Fraction:
    """What an update with SAM on V and Q costs, in updates without, for K critics: 24/15 for two, 45/27 for five.

    In passes of one network (forwards 1, forwards and back 3): K target critics and V(s') forwards, V, K critics and
    the actor forwards and back, V(s) shared with V's own loss; SAM adds V and the K critics once more.
    """
    plain = critics + 1 + 3 * (1 + critics + 1)
    return Fraction(plain + 3 * (1 + critics), plain)
