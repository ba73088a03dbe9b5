"""Behaviour cloning: regression on the dataset's actions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from numpy.random import PCG64
from torch import Tensor

from corruptbench.algos import Agent, Info, Objective, Params, State, register
from corruptbench.types import Batch


@register("bc")
@dataclass(frozen=True)
class BC(Agent):
    """Regression on the actions: L_actor = mean |pi(s) - a|^2, deterministic tanh actor."""

    def init(self, observation_dim: int, action_dim: int, streams: Callable[[str], PCG64]) -> State:
        return {"actor": self.init_mlp(streams("actor"), (observation_dim, *self.hidden, action_dim))}

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (Objective("actor", "actor", self.actor_loss, cosine=True, rows=True),)

    def actor_loss(self, actor: Params, batch: Batch, targets: None) -> tuple[Tensor, Info]:
        policy = torch.tanh(self.mlp(actor, batch.observations))
        rows = (policy - batch.actions).square().sum(-1)
        return rows.mean(-1), {"rows": rows}
