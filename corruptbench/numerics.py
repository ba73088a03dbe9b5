"""Numbers that are the same on every machine: float64, summed row after row, from + - * / and square roots alone."""

from collections.abc import Iterable, Iterator

import numpy as np

CHUNK = 1 << 16
"""Rows that are handled together, so that what is temporary stays small beside the data."""


def chunks(count: int) -> Iterator[slice]:
    """Slices that cover ``count`` rows in order."""
    return (slice(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK))


def mean_and_std(*blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation (ddof 0) per dimension over all rows of all blocks, in float64.

    Each block is ``(N, d)`` or ``(N,)``, the results are ``(d,)`` or have no axis.
    """
    count = sum(len(block) for block in blocks)
    mean = _sum(_float64(blocks)) / count
    variance = _sum((rows - mean) ** 2 for rows in _float64(blocks)) / count
    return mean, np.sqrt(variance)


def _float64(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        for part in chunks(len(block)):
            yield block[part].astype(np.float64)


def _sum(pieces: Iterable[np.ndarray]) -> np.ndarray:
    """Row after row, not pairwise as ``np.sum``, whose order depends on the processor."""
    total: np.ndarray | float = 0.0
    for rows in pieces:
        rows[0] += total
        total = np.add.accumulate(rows, axis=0)[-1]
    return np.asarray(total)


def episode_returns(rewards: np.ndarray, episodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Undiscounted return ``(episodes,)`` float64 and length ``(episodes,)`` of each episode, in row order."""
    if not len(rewards):
        return np.zeros(0), np.zeros(0, np.int64)
    first = np.ones(len(episodes), bool)
    first[1:] = episodes[1:] != episodes[:-1]
    number = np.cumsum(first) - 1
    return np.bincount(number, weights=rewards.astype(np.float64)), np.bincount(number)


def normal_quantile(uniforms: np.ndarray) -> np.ndarray:
    """The standard normal's inverse distribution function at u + 2^-54, u in [0, 1) in steps of 2^-53.

    Algorithm AS 241, PPND16 (Wichura 1988, Applied Statistics 37), to about 16 digits.
    """
    u = uniforms.astype(np.float64)
    q = u - 0.5 + 2.0**-54
    central = np.abs(q) <= 0.425
    r = 0.180625 - q * q
    near = q * _polynomial(_NEAR[0], r) / _polynomial(_NEAR[1], r)
    tail = np.where(q < 0, u + 2.0**-54, 1 - u - 2.0**-54)
    r = np.sqrt(-_log(np.where(central, 0.5, tail)))
    middle = _polynomial(_MIDDLE[0], r - 1.6) / _polynomial(_MIDDLE[1], r - 1.6)
    far = _polynomial(_FAR[0], r - 5) / _polynomial(_FAR[1], r - 5)
    return np.where(central, near, np.sign(q) * np.where(r <= 5, middle, far))


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """c_0 + c_1 x + c_2 x^2 + ..., by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _log(x: np.ndarray) -> np.ndarray:
    """The natural logarithm: log m + k log 2 for x = m 2^k, with 2 artanh((m - 1) / (m + 1)) as a series for log m.

    The C library's differs in its last bits from machine to machine.
    """
    m, k = np.frexp(x)
    low = m < np.sqrt(0.5)
    m, k = np.where(low, 2 * m, m), k - low
    t = (m - 1) / (m + 1)
    return 2 * t * _polynomial(tuple(1 / (2 * n + 1) for n in range(12)), t * t) + k * 0.6931471805599453


_NEAR = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4,
     3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_MIDDLE = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1, 1.48103976427480074590e-1,
     1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_FAR = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2, 7.86869131145613259100e-4,
     1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip
