"""The field's usual code for one training step, as the yardstick of ``corruptbench bench``.

One ``nn.Module`` a network, ``torch.optim.Adam``, ``backward`` in eager mode, SAM as a second backward pass, a replay
buffer of one tensor a field: nothing here is fast on purpose, and nothing is slow on purpose.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from corruptbench.types import TransitionDataset


class Critics(nn.Module):
    """K critics, one after the other."""

    def __init__(self, inputs: int, count: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(network(inputs, 1) for _ in range(count))

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        x = torch.cat([observations, actions], -1)
        return torch.stack([member(x).squeeze(-1) for member in self.members])


def network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, outputs))


class PlainLearner:
    """IQL (K = 2, minimum, squared error) or RIQL (K = 5, quantile, Huber) as research code writes it."""

    def __init__(self, algo: str, dataset: TransitionDataset, *, sam: bool, steps: int) -> None:
        self.robust, self.sam = algo == "riql", sam
        fields = ("observations", "actions", "rewards", "next_observations", "terminations")
        self.buffer = [torch.tensor(getattr(dataset, name), dtype=torch.float32) for name in fields]
        observation_dim, action_dim = dataset.observations.shape[1], dataset.actions.shape[1]
        self.value = network(observation_dim, 1)
        self.critics = Critics(observation_dim + action_dim, 5 if self.robust else 2)
        self.targets = Critics(observation_dim + action_dim, 5 if self.robust else 2)
        self.targets.load_state_dict(self.critics.state_dict())
        self.actor = network(observation_dim, action_dim)
        self.value_adam = torch.optim.Adam(self.value.parameters(), lr=3e-4)
        self.critic_adam = torch.optim.Adam(self.critics.parameters(), lr=3e-4)
        self.actor_adam = torch.optim.Adam(self.actor.parameters(), lr=3e-4)
        self.cosine = torch.optim.lr_scheduler.CosineAnnealingLR(self.actor_adam, steps)
        self.random = np.random.default_rng(0)

    def update(self, count: int) -> None:
        """``count`` steps on value, critics, targets and actor."""
        for _ in range(count):
            indices = self.random.integers(0, len(self.buffer[0]), 256)
            self.step(*(field[indices] for field in self.buffer))

    def step(self, s: Tensor, a: Tensor, r: Tensor, following: Tensor, d: Tensor) -> None:
        """One step on a batch."""
        with torch.no_grad():
            q_all = self.targets(s, a)
            q = torch.quantile(q_all, 0.25, dim=0) if self.robust else q_all.min(0).values
            y = r + 0.99 * (1 - d) * self.value(following).squeeze(-1)
            if self.robust:
                y = y.clamp(-100, 1000)
        advantages = []

        def value_loss() -> Tensor:
            u = q - self.value(s).squeeze(-1)
            advantages.append(u.detach())
            return (torch.abs(0.7 - (u < 0).float()) * u**2).mean()

        def critic_loss() -> Tensor:
            u = y - self.critics(s, a)
            if self.robust:
                return nn.functional.smooth_l1_loss(u, torch.zeros_like(u), beta=1.0)
            return (u**2).mean()

        self.minimise(self.value_adam, self.value, value_loss, self.sam)
        self.minimise(self.critic_adam, self.critics, critic_loss, self.sam)
        with torch.no_grad():
            for target, param in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
                target.mul_(0.995).add_(0.005 * param)
        weight = (3 * advantages[0]).exp().clamp(max=100)
        self.minimise(
            self.actor_adam,
            self.actor,
            lambda: (weight * ((torch.tanh(self.actor(s)) - a) ** 2).sum(-1)).mean(),
            False,
        )
        self.cosine.step()

    @staticmethod
    def minimise(adam: torch.optim.Adam, module: nn.Module, loss: Callable[[], Tensor], sam: bool) -> None:
        """Adam's step; with SAM at the gradient of the perturbed weights."""
        adam.zero_grad()
        loss().backward()
        if sam:
            params = [p for p in module.parameters() if p.grad is not None]
            with torch.no_grad():
                old = [p.clone() for p in params]
                norm = torch.stack([p.grad.norm() for p in params]).norm()  # type: ignore[union-attr]
                for p in params:
                    p.add_(p.grad * (0.05 / (norm + 1e-12)))
            adam.zero_grad()
            loss().backward()
            with torch.no_grad():
                for p, original in zip(params, old, strict=True):
                    p.copy_(original)
        adam.step()
