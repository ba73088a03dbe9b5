"""Implicit Q-learning (Kostrikov, Nair & Levine 2022, arXiv 2110.06169), with the deterministic actor of section 3."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from numpy.random import PCG64
from torch import Tensor

from corruptbench.algos.agent import Agent, Info, Objective, State
from corruptbench.algos.losses import expectile_loss, weighted_regression_loss
from corruptbench.algos.networks import Params, clone, init_mlp, mlp
from corruptbench.registry import ALGORITHMS
from corruptbench.types import Batch


class Targets(NamedTuple):
    q: Tensor  # (batch,) statistic of the target critics at (s, a)
    y: Tensor  # (batch,) what the critics regress on
    advantage: Tensor  # (batch,) q - V(s)


@ALGORITHMS.register("iql")
@dataclass(frozen=True)
class IQL(Agent):
    """Implicit Q-learning: expectile value, clipped twin critics, advantage-weighted actor.

    q = min_k Qtarget_k(s, a),  A = q - V(s),  y = r + discount (1 - d) V(s')
    L_V = mean |expectile - 1(q - V(s) < 0)| (q - V(s))^2
    L_Q = mean_k mean (y - Q_k(s, a))^2
    L_actor = mean min(exp(beta A), 100) |pi(s) - a|^2
    """

    expectile: float = 0.7  # tau
    beta: float = 3.0  # inverse temperature of the advantage weights
    discount: float = 0.99  # gamma
    target_rate: float = 0.005  # share of the critics that moves into their targets each step

    sam_on: ClassVar[tuple[str, ...]] = ("V", "Q")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_value_settings(self)

    def init(self, observation_dim: int, action_dim: int, streams: Callable[[str], PCG64]) -> State:
        critic = init_mlp(streams("critic"), (observation_dim + action_dim, *self.hidden, 1), ensemble=(2,))
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
        return Targets(q, y, q - values(state["value"], batch.observations))

    def critic_loss(self, critic: Params, batch: Batch, targets: Targets) -> tuple[Tensor, Info]:
        q = q_values(critic, batch.observations, batch.actions)
        return (targets.y.unsqueeze(-2) - q).square().mean((-2, -1)), {"q": q.mean((-2, -1))}

    @property
    def sam_cost(self) -> Fraction:
        """1.6: see :func:`cost_of_sam`."""
        return cost_of_sam(critics=2)

    @property
    def target_networks(self) -> dict[str, tuple[str, float]]:
        return {"target_critic": ("critic", self.target_rate)}

    def q_statistic(self, critic: Params, observations: Tensor, actions: Tensor) -> Tensor:
        """min_k Q_k(s, a), ``(..., batch)``: what V is trained against, and what an attack on IQL lowers."""
        return self.statistic(q_values(critic, observations, actions))


def cost_of_sam(critics: int) -> Fraction:
    """What an update with SAM on V and Q costs, in updates without, for K critics: 24/15 for two, 45/27 for five.

    In passes of one network (forwards 1, forwards and back 3): K target critics and V(s') forwards, V, K critics and
    the actor forwards and back, V(s) shared with V's own loss; SAM adds V and the K critics once more.
    """
    plain = critics + 1 + 3 * (1 + critics + 1)
    return Fraction(plain + 3 * (1 + critics), plain)


def require_value_settings(agent: Any) -> None:
    """Raises UsageError for settings of IQL and its relatives that make no sense."""
    agent.require("expectile", 0 < agent.expectile < 1, "above 0 and under 1")
    agent.require("beta", 0 <= agent.beta < float("inf"), "0 and above")
    agent.require("discount", 0 <= agent.discount <= 1, "0 to 1")
    agent.require("target_rate", 0 <= agent.target_rate <= 1, "0 to 1")


def value_objective(expectile: float) -> Objective:
    """V towards the expectile of q: L_V."""
    return Objective("V", "value", partial(value_loss, expectile=expectile))


def value_loss(value: Params, batch: Batch, targets: Targets, *, expectile: float) -> tuple[Tensor, Info]:
    v = values(value, batch.observations)
    return expectile_loss(targets.q - v, expectile), {"v": v.mean(-1)}


def actor_objective(beta: float) -> Objective:
    """The deterministic actor towards the dataset's actions, weighted by their advantage: L_actor."""
    return Objective("actor", "actor", partial(actor_loss, beta=beta), cosine=True)


def actor_loss(actor: Params, batch: Batch, targets: Targets, *, beta: float) -> tuple[Tensor, Info]:
    policy = torch.tanh(mlp(actor, batch.observations))
    return weighted_regression_loss(policy, batch.actions, targets.advantage, beta), {}


def values(value: Params, observations: Tensor) -> Tensor:
    """V(s), ``(..., batch)``."""
    return mlp(value, observations).squeeze(-1)


def q_values(critic: Params, observations: Tensor, actions: Tensor) -> Tensor:
    """Every critic's Q(s, a), ``(..., K, batch)``."""
    return mlp(critic, torch.cat([observations, actions], -1).unsqueeze(-3)).squeeze(-1)
