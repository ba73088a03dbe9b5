"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905), the learner whose replay becomes a dataset.

It is no benchmark algorithm: nothing here is ranked. Twin critics, a squashed Gaussian actor, and a temperature that
is adjusted towards the target entropy -action_dim.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.nn.functional import softplus

from corruptbench.algos.adam import BETA1, BETA2, Adam
from corruptbench.algos.networks import Params, clone, init_mlp, mlp
from corruptbench.rng import stream
from corruptbench.types import Batch

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


@dataclass(frozen=True)
class SACConfig:
    """Settings of the learner: rates and ``discount`` are numbers without unit, a step is one of the environment."""

    hidden: tuple[int, ...] = (256, 256)  # width of each hidden layer
    learning_rate: float = 3e-4  # Adam, for actor, critics and temperature
    batch_size: int = 256
    discount: float = 0.99  # gamma
    target_rate: float = 0.005  # share of the critics that moves into their targets each step
    random_steps: int = 5_000  # uniform actions at the start, before the first update


class AdamEach:
    """Adam on every tensor of a network; ``step`` is the number of the update, from 1, without axes."""

    def __init__(self, params: Params) -> None:
        self.moments = [Adam(p) for p in params]

    def update_(self, params: Params, gradients: Params, step: Tensor, learning_rate: float) -> None:
        rate, root = learning_rate / (1 - BETA1**step), (1 - BETA2**step).sqrt()
        for moments, w, g in zip(self.moments, params, gradients, strict=True):
            moments.update_(w, g, rate, root)


class SAC:
    """State of the learner and its update; noise comes in from outside, so an update is a function of its inputs."""

    def __init__(self, observation_dim: int, action_dim: int, seed: int, config: SACConfig | None = None) -> None:
        self.config = config = config or SACConfig()
        self.action_dim = action_dim
        both = observation_dim + action_dim
        self.actor = init_mlp(stream(seed, "sac", "actor"), (observation_dim, *config.hidden, 2 * action_dim))
        self.critic = init_mlp(stream(seed, "sac", "critic"), (both, *config.hidden, 1), ensemble=(2,))
        self.target_critic = clone(self.critic)
        self.log_alpha = [torch.zeros(1)]
        self.actor_adam, self.critic_adam = AdamEach(self.actor), AdamEach(self.critic)
        self.alpha_adam = AdamEach(self.log_alpha)

    def update(self, batch: Batch, noise: Tensor, step: Tensor) -> Tensor:
        """One gradient step on critics, actor and temperature; ``noise`` is ``(2, batch, da)`` standard normal.

        Returns the mean value of the critics, the batch's sign of life.
        """
        config = self.config
        lr = config.learning_rate
        alpha = self.log_alpha[0].exp()

        next_actions, next_log_prob = sample(self.actor, batch.next_observations, noise[0])
        next_q = q_values(self.target_critic, batch.next_observations, next_actions).amin(0)
        target = batch.rewards + config.discount * (1 - batch.terminations) * (next_q - alpha * next_log_prob)

        def critic_loss(critic: Params) -> tuple[Tensor, Tensor]:
            q = q_values(critic, batch.observations, batch.actions)
            return (q - target).square().mean(-1).sum(), q.mean()

        gradient, (_, q_mean) = grad_and_value(critic_loss, has_aux=True)(self.critic)
        self.critic_adam.update_(self.critic, gradient, step, lr)

        def actor_loss(actor: Params) -> tuple[Tensor, Tensor]:
            actions, log_prob = sample(actor, batch.observations, noise[1])
            q = q_values(self.critic, batch.observations, actions).amin(0)
            return (alpha * log_prob - q).mean(), log_prob

        gradient, (_, log_prob) = grad_and_value(actor_loss, has_aux=True)(self.actor)
        self.actor_adam.update_(self.actor, gradient, step, lr)

        # d/d log_alpha of -log_alpha * (log_prob + target entropy), the target entropy being -action_dim
        self.alpha_adam.update_(self.log_alpha, [-(log_prob - self.action_dim).mean().reshape(1)], step, lr)
        for target, critic in zip(self.target_critic, self.critic, strict=True):
            target.lerp_(critic, config.target_rate)
        return q_mean

    def tensors(self) -> dict[str, Tensor]:
        """The whole state by name, networks, temperature and Adam's moments; all of it is changed in place."""
        groups = {name: getattr(self, name) for name in ("actor", "critic", "target_critic", "log_alpha")}
        for name in ("actor_adam", "critic_adam", "alpha_adam"):
            moments = getattr(self, name).moments
            groups |= {f"{name}.first": [m.first for m in moments], f"{name}.second": [m.second for m in moments]}
        return {f"{name}.{i}": tensor for name, group in groups.items() for i, tensor in enumerate(group)}

    def act(self, observations: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions ``(batch, da)`` in [-1, 1]: sampled with ``noise``, the mode of the Gaussian without."""
        if noise is None:
            return torch.tanh(mlp(self.actor, observations).chunk(2, -1)[0])
        return sample(self.actor, observations, noise)[0]


def q_values(critic: Params, observations: Tensor, actions: Tensor) -> Tensor:
    """Both critics' values, ``(2, batch)``."""
    return mlp(critic, torch.cat([observations, actions], -1)).squeeze(-1)


def sample(actor: Params, observations: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Squashed Gaussian actions ``(batch, da)`` and their log-density ``(batch,)``.

    log pi(a) = log N(u) - sum log(1 - tanh(u)^2), the last term in the form that does not overflow:
    2 (log 2 - u - softplus(-2u)).
    """
    mean, log_std = mlp(actor, observations).chunk(2, -1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    u = mean + log_std.exp() * noise
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    squash = 2 * (math.log(2) - u - softplus(-2 * u))
    return torch.tanh(u), (gaussian - squash).sum(-1)
