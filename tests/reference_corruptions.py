"""Section 2 of the protocol written slowly: one row, one coordinate, one step at a time.

Nothing here imports the product's corruptions, and nothing is vectorised: it is what the fast code is compared with.
"""

import hashlib
import math
import statistics
import sys
from fractions import Fraction

import numpy as np
import torch

FIELDS = {"obs": "observations", "act": "actions", "rew": "rewards", "dyn": "next_observations"}
HASHED = ("observations", "actions", "rewards", "next_observations", "terminations")
PGD_STEPS = 40
RELEASED_STEPS = 100


def slow_uniforms(seed, element, purpose, count):
    """``count`` uniforms in [0, 1) of the stream ``cb2026/<seed>/<element>/<purpose>``, as Python floats."""
    text = "cb2026/" + str(seed) + "/" + element + "/" + purpose
    digest = hashlib.sha256(text.encode("ascii")).digest()
    generator = np.random.PCG64(int.from_bytes(digest, "big"))
    return [(int(generator.random_raw()) >> 11) * 2.0**-53 for _ in range(count)]


def slow_rows(seed, element, rate, count):
    """The mask of touched rows, ``count`` Python bools: u_i < rate."""
    return [u < rate for u in slow_uniforms(seed, element, "rows", count)]


def slow_std(values):
    """Population standard deviation per column, a list; two passes, each summed in float64 row after row.

    A vector ``(N,)`` counts as one column.
    """
    table = [[float(x) for x in row] for row in np.asarray(values).reshape(len(values), -1)]
    deviations = []
    for column in range(len(table[0])):
        total = 0.0
        for row in table:
            total += row[column]
        mean = total / len(table)
        total = 0.0
        for row in table:
            deviation = row[column] - mean
            total += deviation * deviation
        deviations.append(math.sqrt(total / len(table)))
    return deviations


def slow_noise(seed, element, purpose, scale, rows, columns):
    """lambda = scale (2u - 1) for all rows in row order: a list of ``rows`` lists of ``columns`` floats."""
    uniforms = iter(slow_uniforms(seed, element, purpose, rows * columns))
    return [[scale * (2.0 * next(uniforms) - 1.0) for _ in range(columns)] for _ in range(rows)]


def slow_random(dataset, seed, element, rate, scale, clip=False):
    """The field of ``element`` under its random corruption, and the mask of touched rows."""
    clean = getattr(dataset, FIELDS[element])
    corrupted = np.array(clean)
    touched = slow_rows(seed, element, rate, len(clean))
    if element == "rew":
        noise = slow_noise(seed, element, "noise", scale, len(clean), 1)
        for i in range(len(clean)):
            if touched[i]:
                corrupted[i] = np.float32(30.0 * noise[i][0])
        return corrupted, np.array(touched)
    std = slow_std(clean)
    noise = slow_noise(seed, element, "noise", scale, len(clean), len(std))
    for i in range(len(clean)):
        for j in range(len(std)):
            if touched[i]:
                value = float(clean[i, j]) + noise[i][j] * std[j]
                corrupted[i, j] = np.float32(min(max(value, -1.0), 1.0) if clip else value)
    return corrupted, np.array(touched)


def slow_reward_attack(dataset, seed, rate, scale):
    """The rewards under rew-adv, -scale r, and the mask of touched rows."""
    corrupted = np.array(dataset.rewards)
    touched = slow_rows(seed, "rew", rate, len(corrupted))
    for i in range(len(corrupted)):
        if touched[i]:
            corrupted[i] = np.float32(-scale * float(dataset.rewards[i]))
    return corrupted, np.array(touched)


def attacked_value(surrogate, element, dataset, i, x):
    """Q of row ``i`` with ``x`` (one float64 tensor) in place of the attacked field: a tensor of no dimension."""
    if element == "obs":
        action = torch.tensor(dataset.actions[i : i + 1], dtype=torch.float64)
        return surrogate.value(x[None], action)[0]
    if element == "act":
        observation = torch.tensor(dataset.observations[i : i + 1], dtype=torch.float64)
        return surrogate.value(observation, x[None])[0]
    if element == "dyn":
        return surrogate.value(x[None], surrogate.policy(x[None]))[0]
    raise ValueError(element)


def slow_pgd_row(surrogate, element, dataset, i, std, start, scale):
    """The z of row ``i`` with the lowest value among the start and 40 projected sign-gradient steps."""
    clean = torch.tensor(getattr(dataset, FIELDS[element])[i], dtype=torch.float64)
    std = torch.tensor(std, dtype=torch.float64)
    z = torch.tensor(start, dtype=torch.float64)
    best, best_value = None, math.inf
    for step in range(PGD_STEPS + 1):
        z = z.detach().requires_grad_(True)
        value = attacked_value(surrogate, element, dataset, i, clean + z * std)
        if value.item() < best_value:
            best, best_value = z.detach().clone(), value.item()
        if step < PGD_STEPS:
            (gradient,) = torch.autograd.grad(value, z)
            moved = z.detach() - 2.5 * scale / PGD_STEPS * torch.sign(gradient)
            z = torch.clamp(moved, -scale, scale)
    return best.tolist()


def slow_released(value, start, radius, steps):
    """The last iterate of the published loop: a new Adam in every step, which takes one step, and is thrown away.

    ``value`` maps ``(rows, d)`` to ``(rows,)``; ``start`` is ``(rows, d)``, perhaps outside the box.
    """
    z = start
    for _ in range(steps):
        z = torch.nn.Parameter(z.detach().clone())
        optimizer = torch.optim.Adam([z], lr=0.01 * radius)
        optimizer.zero_grad()
        loss = value(z).sum()
        loss.backward()
        optimizer.step()
        z = torch.clamp(z.detach(), -radius, radius)
    return z


def slow_released_row(surrogate, element, dataset, i, std, start, scale):
    """The z of row ``i`` after the published loop, whose start is multiplied by std, once too often."""
    clean = torch.tensor(getattr(dataset, FIELDS[element])[i], dtype=torch.float64)
    std = torch.tensor(std, dtype=torch.float64)

    def value(z):
        return attacked_value(surrogate, element, dataset, i, clean + z[0] * std)[None]

    first = torch.tensor(start, dtype=torch.float64) * std
    return slow_released(value, first[None], scale, RELEASED_STEPS)[0].tolist()


def slow_attack(dataset, surrogate, seed, element, rate, scale, clip=False, solve_row=slow_pgd_row, touched=None):
    """The field of ``element`` under its attack, the mask of touched rows, and z (NaN in rows that are not touched).

    The rows are those of the stream, or the mask ``touched``.
    """
    clean = getattr(dataset, FIELDS[element])
    corrupted, z = np.array(clean), np.full(clean.shape, np.nan)
    if touched is None:
        touched = slow_rows(seed, element, rate, len(clean))
    std = slow_std(clean)
    starts = slow_noise(seed, element, "start", scale, len(clean), len(std))
    for i in range(len(clean)):
        if touched[i]:
            z[i] = solve_row(surrogate, element, dataset, i, std, starts[i], scale)
            for j in range(len(std)):
                value = float(clean[i, j]) + z[i, j] * std[j]
                corrupted[i, j] = np.float32(min(max(value, -1.0), 1.0) if clip else value)
    return corrupted, np.array(touched), z


def slow_along_trajectories(dataset, observations, touched):
    """Next observations where touched states became ``observations``, and the mask of those that followed them."""
    following, mask = np.array(dataset.next_observations), np.zeros(len(touched), bool)
    for i in range(len(touched) - 1):
        same_episode = dataset.episodes[i] == dataset.episodes[i + 1]
        leads_there = dataset.next_observations[i].tolist() == dataset.observations[i + 1].tolist()
        if same_episode and leads_there and touched[i + 1]:
            following[i] = observations[i + 1]
            mask[i] = True
    return following, mask


def slow_quantile(u):
    """The standard normal's inverse distribution function at u + 2^-54, of the lower tail, which floats resolve."""
    p = Fraction(u) + Fraction(1, 2**54)
    if p > Fraction(1, 2):
        return -statistics.NormalDist().inv_cdf(float(1 - p))
    return statistics.NormalDist().inv_cdf(float(p))


def slow_gauss(dataset, seed, element, rate, scale, clip=False, quantile=slow_quantile):
    """The field of ``element`` under Gaussian noise, float64 before its one rounding, and the mask of touched rows."""
    clean = getattr(dataset, FIELDS[element])
    values, std = clean.astype(np.float64), slow_std(clean)
    touched = slow_rows(seed, element, rate, len(clean))
    uniforms = iter(slow_uniforms(seed, element, "noise", len(clean) * len(std)))
    for i in range(len(clean)):
        for j in range(len(std)):
            u = next(uniforms)
            if touched[i]:
                value = float(clean[i, j]) + scale / math.sqrt(3.0) * quantile(u) * std[j]
                values[i, j] = min(max(value, -1.0), 1.0) if clip else value
    return values, np.array(touched)


def slow_zero(dataset, seed, element, rate):
    """The field of ``element`` with zeros in the touched rows, and their mask."""
    corrupted = np.array(getattr(dataset, FIELDS[element]))
    touched = slow_rows(seed, element, rate, len(corrupted))
    for i in range(len(corrupted)):
        if touched[i]:
            corrupted[i] = 0.0
    return corrupted, np.array(touched)


def slow_swap(dataset, seed, element, rate):
    """The field of ``element`` with touched rows exchanged, and their mask.

    Every row has one uniform of ``noise``: the first touched row gets the values of the touched row with the lowest,
    the second those of the one with the second lowest, and so on.
    """
    clean = getattr(dataset, FIELDS[element])
    corrupted, touched = np.array(clean), slow_rows(seed, element, rate, len(clean))
    uniforms = slow_uniforms(seed, element, "noise", len(clean))
    receivers = [i for i in range(len(clean)) if touched[i]]
    givers = sorted(receivers, key=lambda i: (uniforms[i], i))
    for receiver, giver in zip(receivers, givers, strict=True):
        corrupted[receiver] = clean[giver]
    return corrupted, np.array(touched)


def slow_row_returns(dataset):
    """Each row's episode return, a list of Python floats: the sum over all rows of the same episode."""
    returns = []
    for i in range(len(dataset)):
        total = 0.0
        for k in range(len(dataset)):
            if dataset.episodes[k] == dataset.episodes[i]:
                total += float(dataset.rewards[k])
        returns.append(total)
    return returns


def slow_advantage(surrogate, dataset, i):
    """Q(s, a) - Q(s, pi(s)) of row ``i``, a Python float."""
    s = torch.tensor(dataset.observations[i : i + 1], dtype=torch.float64)
    a = torch.tensor(dataset.actions[i : i + 1], dtype=torch.float64)
    return float(surrogate.value(s, a)[0] - surrogate.value(s, surrogate.policy(s))[0])


def slow_highest(figures, rate):
    """The mask of the round(rate N) highest figures; of equal ones the earlier rows."""
    ranked = sorted(range(len(figures)), key=lambda i: (-figures[i], i))
    chosen = ranked[: round(rate * len(figures))]
    return np.array([i in chosen for i in range(len(figures))])


def slow_sha256(dataset):
    """The content hash: per field the ASCII line ``name dtype shape`` and its little-endian bytes, value by value."""
    digest = hashlib.sha256()
    for name in HASHED:
        values = getattr(dataset, name)
        shape = "x".join(str(size) for size in values.shape)
        digest.update((name + " " + str(values.dtype) + " " + shape + "\n").encode("ascii"))
        for index in np.ndindex(*values.shape):
            raw = values[index].tobytes()
            digest.update(raw if sys.byteorder == "little" else raw[::-1])
    return digest.hexdigest()
