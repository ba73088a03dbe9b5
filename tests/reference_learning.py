"""Training as section 3 of the protocol writes it, slowly: the version that the product's fast one is compared with.

Nothing of ``algos`` is used but the initial weights and the batches. The critics are a Python list and visited one by
one, gradients come from ``torch.autograd.grad``, Adam is written out, and the numbers of the protocol are written here
again rather than read from an agent, so a default that drifts shows as a difference.

A network is ``[w0, b0, w1, b1, ...]`` with ``w`` ``(inputs, outputs)`` and ``b`` ``(1, outputs)``.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Network = list[Tensor]

DISCOUNT = 0.99
EXPECTILE = 0.7
BETA = 3.0
WEIGHT_MAX = 100.0
TARGET_RATE = 0.005
TARGET_MIN, TARGET_MAX = -100.0, 1000.0
ALPHA, DELTA = 0.25, 1.0
LEARNING_RATE = 3e-4


def forward(network: Network, x: Tensor) -> Tensor:
    """``(batch, inputs)`` -> ``(batch, outputs)``, ReLU between the layers."""
    layers = [(network[i], network[i + 1]) for i in range(0, len(network), 2)]
    for depth, (w, b) in enumerate(layers):
        x = x @ w + b
        if depth < len(layers) - 1:
            x = torch.where(x > 0, x, torch.zeros_like(x))
    return x


def state_value(value: Network, observations: Tensor) -> Tensor:
    """V(s), ``(batch,)``."""
    return forward(value, observations)[:, 0]


def action_value(critic: Network, observations: Tensor, actions: Tensor) -> Tensor:
    """Q_k(s, a) of one critic, ``(batch,)``."""
    return forward(critic, torch.cat([observations, actions], dim=1))[:, 0]


def policy(actor: Network, observations: Tensor) -> Tensor:
    """pi(s), ``(batch, da)``."""
    return torch.tanh(forward(actor, observations))


def quantile(values: Sequence[Tensor], alpha: float) -> Tensor:
    """The alpha-quantile over K critics, ``(batch,)``: between the two order statistics around alpha (K - 1)."""
    ordered = torch.stack(list(values)).sort(dim=0).values  # (K, batch)
    position = alpha * (len(values) - 1)
    below = math.floor(position)
    above = min(below + 1, len(values) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def value_loss(q: Tensor, v: Tensor, expectile: float = EXPECTILE) -> Tensor:
    """mean |tau - 1(q - V(s) < 0)| (q - V(s))^2."""
    u = q - v
    weight = torch.where(u < 0, torch.full_like(u, 1 - expectile), torch.full_like(u, expectile))
    return (weight * u * u).sum() / len(u)


def critic_loss(y: Tensor, qs: Sequence[Tensor], delta: float | None = None) -> Tensor:
    """mean over critics and batch of l(y - Q_k(s, a)); ``delta`` None is IQL's square, a number RIQL's Huber."""
    total = torch.zeros((), dtype=y.dtype)
    for q in qs:
        u = y - q
        if delta is None:
            total = total + (u * u).sum()
        else:
            total = total + torch.where(u.abs() < delta, u * u / (2 * delta), u.abs() - delta / 2).sum()
    return total / (len(qs) * len(y))


def actor_loss(advantage: Tensor, chosen: Tensor, actions: Tensor, beta: float = BETA) -> Tensor:
    """mean min(e^{beta A}, 100) sum_j (pi_j(s) - a_j)^2."""
    weight = torch.exp(beta * advantage).clamp(max=WEIGHT_MAX)
    return (weight * ((chosen - actions) ** 2).sum(dim=1)).sum() / len(actions)


def cloning_loss(chosen: Tensor, actions: Tensor) -> Tensor:
    """mean sum_j (pi_j(s) - a_j)^2, the actor's loss with every weight 1."""
    return ((chosen - actions) ** 2).sum() / len(actions)


class TextbookAdam:
    """Kingma & Ba 2015, algorithm 1, one tensor after the other."""

    def __init__(self, parameters: Network, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        self.beta1, self.beta2, self.eps, self.t = beta1, beta2, eps, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    def step(self, parameters: Network, gradients: Sequence[Tensor], lr: float) -> Network:
        """The parameters after one step."""
        self.t += 1
        moved = []
        for i, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
            self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * g
            self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * g**2
            m_hat = self.m[i] / (1 - self.beta1**self.t)
            v_hat = self.v[i] / (1 - self.beta2**self.t)
            moved.append(p - lr * m_hat / (v_hat.sqrt() + self.eps))
        return moved


def gradient_for_step(loss: Callable[[Network], Tensor], weights: Network, rho: float | None) -> list[Tensor]:
    """The gradient at ``weights``, or under SAM the gradient at ``weights`` + rho g / (|g| + 1e-12).

    ``weights`` holds every tensor of the objective, the K critics one after the other, and |g| is over all of them.
    """

    def gradient(at: Network) -> list[Tensor]:
        at = [w.detach().clone().requires_grad_() for w in at]
        return list(torch.autograd.grad(loss(at), at))

    g = gradient(weights)
    if rho is None:
        return g
    norm = math.sqrt(sum(float((x**2).sum()) for x in g))
    return gradient([w + rho * x / (norm + 1e-12) for w, x in zip(weights, g, strict=True)])


class ReferenceRun:
    """One run: ``algorithm`` is ``iql``, ``riql`` or ``bc``; the objectives in ``sam_on`` take SAM's gradient.

    ``state`` is a learner's, ``{group: [w0, b0, ...]}`` with the K critics on the first axis; it is copied.
    """

    def __init__(
        self,
        algorithm: str,
        state: dict[str, Any],
        steps: int,
        sam_on: Sequence[str] = (),
        rho: float = 0.05,
    ) -> None:
        self.algorithm, self.steps, self.sam_on, self.rho = algorithm, steps, tuple(sam_on), rho
        self.t = 0
        copied = {group: [p.detach().clone().double() for p in params] for group, params in state.items()}
        self.actor = copied["actor"]
        self.actor_adam = TextbookAdam(self.actor)
        if algorithm != "bc":
            self.value = copied["value"]
            self.critics = split(copied["critic"])
            self.target_critics = split(copied["target_critic"])
            self.value_adam = TextbookAdam(self.value)
            self.critic_adams = [TextbookAdam(critic) for critic in self.critics]

    def step(self, batch: Any) -> None:
        """One step of section 3."""
        self.t += 1
        s, a, r, s_next, d = (x.detach().double() for x in batch)
        actor_lr = LEARNING_RATE * (1 + math.cos(math.pi * (self.t - 1) / self.steps)) / 2
        if self.algorithm == "bc":
            gradients = self.gradient("actor", lambda actor: cloning_loss(policy(actor, s), a), self.actor)
            self.actor = self.actor_adam.step(self.actor, gradients, actor_lr)
            return

        # Everything held fixed, from the state at the step's start: nothing below may change it.
        v = state_value(self.value, s)
        v_next = state_value(self.value, s_next)
        targets = [action_value(critic, s, a) for critic in self.target_critics]
        y = r + DISCOUNT * (1 - d) * v_next
        if self.algorithm == "riql":
            q = quantile(targets, ALPHA)
            y = y.clamp(TARGET_MIN, TARGET_MAX)
            delta = DELTA
        else:
            q = torch.minimum(targets[0], targets[1])
            delta = None
        advantage = q - v

        # V
        gradients = self.gradient("V", lambda value: value_loss(q, state_value(value, s)), self.value)
        self.value = self.value_adam.step(self.value, gradients, LEARNING_RATE)

        # Q: the critics' tensors in one list, so that SAM's norm is over the K of them
        size = len(self.critics[0])

        def loss_of_critics(tensors: Network) -> Tensor:
            critics = [tensors[k * size : (k + 1) * size] for k in range(len(self.critics))]
            return critic_loss(y, [action_value(critic, s, a) for critic in critics], delta)

        gradients = self.gradient("Q", loss_of_critics, [p for critic in self.critics for p in critic])
        for k, adam in enumerate(self.critic_adams):
            self.critics[k] = adam.step(self.critics[k], gradients[k * size : (k + 1) * size], LEARNING_RATE)

        # the targets' moving average, towards the critics just updated
        for k, critic in enumerate(self.critics):
            self.target_critics[k] = [
                (1 - TARGET_RATE) * old + TARGET_RATE * new
                for old, new in zip(self.target_critics[k], critic, strict=True)
            ]

        # the actor
        gradients = self.gradient("actor", lambda actor: actor_loss(advantage, policy(actor, s), a), self.actor)
        self.actor = self.actor_adam.step(self.actor, gradients, actor_lr)

    def gradient(self, objective: str, loss: Callable[[Network], Tensor], weights: Network) -> list[Tensor]:
        """The gradient that an objective's step uses."""
        return gradient_for_step(loss, weights, self.rho if objective in self.sam_on else None)

    def state(self) -> dict[str, list[Tensor]]:
        """The weights, laid out as a learner's."""
        if self.algorithm == "bc":
            return {"actor": self.actor}
        return {
            "value": self.value,
            "critic": joined(self.critics),
            "target_critic": joined(self.target_critics),
            "actor": self.actor,
        }


def split(params: Network) -> list[Network]:
    """Tensors with the K critics on the first axis, as K networks of their own."""
    return [[p[k].clone() for p in params] for k in range(len(params[0]))]


def joined(networks: list[Network]) -> Network:
    """The reverse of ``split``."""
    return [torch.stack(tensors) for tensors in zip(*networks, strict=True)]


def relative_distance(a: dict[str, list[Tensor]], b: dict[str, list[Tensor]]) -> float:
    """|a - b| / |b| over all weights of all groups together."""
    assert a.keys() == b.keys()
    ours = torch.cat([p.detach().double().flatten() for group in sorted(a) for p in a[group]])
    theirs = torch.cat([p.detach().double().flatten() for group in sorted(b) for p in b[group]])
    return float((ours - theirs).norm() / theirs.norm())
