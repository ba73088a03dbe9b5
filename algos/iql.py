"""Implicit Q-learning (Kostrikov, Nair & Levine 2022, arXiv 2110.06169), with the deterministic actor of section 3."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from numpy.random import PCG64
from torch import Tensor

from corruptbench.algos.agent import Info, State
from corruptbench.algos.implicit import ImplicitAgent, Targets, cost_of_sam
from corruptbench.algos.networks import Params, clone
from corruptbench.registry import ALGORITHMS
from corruptbench.types import Batch


@ALGORITHMS.register("iql")
@dataclass(frozen=True)
class IQL(ImplicitAgent):
    """Implicit Q-learning: expectile value, clipped twin critics, advantage-weighted actor.

    q = min_k Qtarget_k(s, a),  A = q - V(s),  y = r + discount (1 - d) V(s')
    L_V = mean |expectile - 1(q - V(s) < 0)| (q - V(s))^2
    L_Q = mean_k mean (y - Q_k(s, a))^2
    L_actor = mean min(exp(beta A), 100) |pi(s) - a|^2
    """

    def init(self, observation_dim: int, action_dim: int, streams: Callable[[str], PCG64]) -> State:
        critic = self.init_mlp(streams("critic"), (observation_dim + action_dim, *self.hidden, 1), ensemble=(2,))
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
        return Targets(q, y, q - self.values(state["value"], batch.observations))

    def critic_loss(self, critic: Params, batch: Batch, targets: Targets) -> tuple[Tensor, Info]:
        q = self.q_values(critic, batch.observations, batch.actions)
        squared = (targets.y.unsqueeze(-2) - q).square()
        return squared.mean((-2, -1)), {"q": q.mean((-2, -1)), "rows": squared.mean(-2)}

    @property
    def sam_cost(self) -> Fraction:
        """1.6: see :func:`cost_of_sam`."""
        return cost_of_sam(critics=2)
