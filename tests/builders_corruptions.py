"""Datasets and surrogates for the tests of the corruptions; each is a function of its arguments alone."""

import numpy as np
import torch
from torch import Tensor

from corruptbench.types import Environment, TransitionDataset


def dataset_of(observations, actions, rewards, next_observations, terminations) -> TransitionDataset:
    """A dataset in episodes of 40 rows; floats are rounded to float32."""
    return TransitionDataset(
        id="test:corruptions",
        environment=Environment(id="Test-v0", model=""),
        observations=np.asarray(observations).astype(np.float32),
        actions=np.asarray(actions).astype(np.float32),
        rewards=np.asarray(rewards).astype(np.float32),
        next_observations=np.asarray(next_observations).astype(np.float32),
        terminations=np.asarray(terminations, dtype=bool),
        episodes=np.arange(len(rewards), dtype=np.int64) // 40,
    )


def transitions(rows: int = 300, do: int = 4, da: int = 3, seed: int = 0) -> TransitionDataset:
    """Dimensions with means and scales of their own; no field, and no column of one, resembles another."""
    rng = np.random.default_rng(seed)
    observations = rng.uniform(-3, 3, do) + rng.uniform(0.2, 2, do) * rng.normal(size=(rows, do))
    following = rng.uniform(-3, 3, do) + rng.uniform(0.2, 2, do) * rng.normal(size=(rows, do))
    actions = np.tanh(rng.normal(size=(rows, da)) * rng.uniform(0.5, 2, da))
    return dataset_of(observations, actions, rng.normal(1, 2, rows), following, rng.uniform(size=rows) < 0.1)


def awkward_transitions(rows: int = 300) -> TransitionDataset:
    """Few rows of hard numbers: a constant column, a far mean with a small spread, tiny and huge values, zeros."""
    rng = np.random.default_rng(1)
    mean, spread = np.array([1, 1000, 0, 0]), np.array([0, 0.01, 1e-12, 1e6])
    observations = mean + spread * rng.normal(size=(rows, 4))
    actions = np.stack([np.sign(rng.normal(size=rows)), np.zeros(rows)], axis=1)
    rewards = np.where(rng.uniform(size=rows) < 0.5, 0.0, 1.0)
    return dataset_of(observations, actions, rewards, observations[::-1] + 1, np.ones(rows))


def integer_transitions(rows: int = 257, do: int = 4, da: int = 2) -> TransitionDataset:
    """The dataset of the golden hashes, made from integers alone: any language can build it.

    Field k (observations 0, actions 1, rewards 2, next observations 3) holds in row i and column j
    ((7919 i + 104729 j + 15485863 k) mod 2001 - 1000) / 1000; every 50th row, 49, 99, ..., is terminal.
    """

    def field(k, columns):
        numbers = [[7919 * i + 104729 * j + 15485863 * k for j in range(columns)] for i in range(rows)]
        return [[(number % 2001 - 1000) / 1000 for number in row] for row in numbers]

    rewards = [row[0] for row in field(2, 1)]
    return dataset_of(field(0, do), field(1, da), rewards, field(3, do), [i % 50 == 49 for i in range(rows)])


class NetworkSurrogate:
    """The minimum of two fixed random tanh networks, and a tanh policy.

    It computes in float64 and answers in the precision of its input, so a slow version in float64 and a fast one in
    float32 differ by the rounding of their inputs only.
    """

    sha256 = "0" * 64

    def __init__(self, do: int = 4, da: int = 3, seed: int = 0, hidden: int = 16) -> None:
        generator = torch.Generator().manual_seed(seed)

        def random(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.networks = [(random(do + da, hidden) / 2, random(hidden), random(hidden)) for _ in range(2)]
        self.actor = random(do, da) / 2

    def value(self, observations: Tensor, actions: Tensor) -> Tensor:
        x = torch.cat([observations, actions], dim=-1).double()
        values = [torch.tanh(x @ w + b) @ v for w, b, v in self.networks]
        return torch.minimum(*values).to(observations.dtype)

    def critics(self, observations: Tensor, actions: Tensor) -> Tensor:
        x = torch.cat([observations, actions], dim=-1).double()
        return torch.stack([torch.tanh(x @ w + b) @ v for w, b, v in self.networks], -1).to(observations.dtype)

    def policy(self, observations: Tensor) -> Tensor:
        return torch.tanh(observations.double() @ self.actor).to(observations.dtype)


class LinearSurrogate:
    """Q(s, a) = w.s + v.a with pi(s) = P s: the minimum over a box is the corner against the gradient's sign.

    d Q / d s = w,  d Q / d a = v,  d Q(s', P s') / d s' = w + P^T v
    """

    sha256 = "1" * 64

    def __init__(self, w, v, p) -> None:
        self.w, self.v, self.p = (torch.tensor(x, dtype=torch.float64) for x in (w, v, p))

    def value(self, observations: Tensor, actions: Tensor) -> Tensor:
        return (observations.double() @ self.w + actions.double() @ self.v).to(observations.dtype)

    def policy(self, observations: Tensor) -> Tensor:
        return (observations.double() @ self.p.T).to(observations.dtype)

    def gradient(self, element: str) -> np.ndarray:
        return {"obs": self.w, "act": self.v, "dyn": self.w + self.p.T @ self.v}[element].numpy()


class ValleySurrogate:
    """Q(s, a) = |s - centre|^2, whose minimum lies inside the box: an iterate jumps over it again and again."""

    sha256 = "2" * 64

    def __init__(self, centre: float) -> None:
        self.centre = centre

    def value(self, observations: Tensor, actions: Tensor) -> Tensor:
        return (observations.double() - self.centre).square().sum(-1).to(observations.dtype)

    def policy(self, observations: Tensor) -> Tensor:
        return observations


class ConstantSurrogate:
    """Q = 7 everywhere: no attack can lower it, and none has done worse than noise."""

    sha256 = "3" * 64

    def value(self, observations: Tensor, actions: Tensor) -> Tensor:
        return 0 * observations.sum(-1) + 0 * actions.sum(-1) + 7

    def policy(self, observations: Tensor) -> Tensor:
        return 0 * observations[..., :1]


class MisleadingSurrogate(ConstantSurrogate):
    """Q = sum of s, with the gradient turned round: an attack climbs, so it keeps the point that it started from."""

    sha256 = "4" * 64

    def value(self, observations: Tensor, actions: Tensor) -> Tensor:
        total = observations.sum(-1)
        return 2 * total.detach() - total


class Float32Surrogate:
    """Q = sum of s and a in float32, like a trained surrogate: it fails on float64, and it keeps what it was asked."""

    sha256 = "5" * 64

    def __init__(self, do: int, da: int) -> None:
        self.w, self.v, self.p = torch.ones(do), torch.ones(da), torch.full((do, da), 0.1)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def value(self, observations: Tensor, actions: Tensor) -> Tensor:
        self.seen.append((observations.detach(), actions.detach()))
        return observations @ self.w + actions @ self.v

    def policy(self, observations: Tensor) -> Tensor:
        return observations @ self.p
