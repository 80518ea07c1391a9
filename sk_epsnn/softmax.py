"""The softmax of independent Gaussian potentials: a bound on its normaliser, and its expectation.

A winner takes all: the class is that of the largest ``u_k + e_k`` with Gumbel noise ``e_k``, whose probabilities are
``softmax(u)``; the potentials are ``u_k ~ N(M_k, S_k)``, independent.

References
----------
.. [1] D. A. Knowles, T. Minka, "Non-conjugate variational message passing for multinomial and binary regression",
   Advances in Neural Information Processing Systems 24, 2011 (the tilted bound).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import log_ndtr

from sk_epsnn._arrays import (
    Array,
    absolute,
    astype,
    clip,
    entries,
    epsilon,
    exp,
    is_any,
    largest,
    like,
    log,
    reshape,
    smallest_normal,
    sqrt,
    sum_over,
    take,
    to_numpy,
    where,
    zeros_like,
)

#: Newton steps of the tilted bound, before rows that have not converged take the safe way, and those of that.
_FAST_STEPS, _SAFE_STEPS, _OMEGA_STEPS = 6, 60, 6
#: Potentials whose expectations are computed at a time: few enough to stay in a processor's cache.
_CHUNK = 40_960
#: And of such for all of the nodes that are worked on together.
_AT_ONCE = 8_192
#: The table of `distribution_table` over ``q = (1 + S)^(-1/2)`` and over ``tau = q t``.
N_SPREADS, FIRST, LAST, PER_UNIT = 65, -8.0, 14.0, 32
#: The integral over the largest perturbed potential: distance of its nodes unless there would be too many, the numbers
#: of them, and where they end, in standard deviations and units of the Gumbel law beyond the largest mean.
STEP, N_NODES, SDS, BELOW, ABOVE = 0.75, (18, 24, 32, 48), 5.5, 3.0, 10.0


def softmax(x: Array) -> Array:
    """Probabilities proportional to ``exp(x)`` in every row."""
    share = exp(x - largest(x, axis=1, keepdims=True))
    return share / sum_over(share, axis=1, keepdims=True)


def log_sum_exp(x: Array) -> Array:
    """``log sum_k exp(x_k)`` of every row, shape (n_rows, 1)."""
    top = largest(x, axis=1, keepdims=True)
    return top + log(sum_over(exp(x - top), axis=1, keepdims=True))


# ---------------------------------------------------------------------- the tilted bound


def tilted(mean: Array, variance: Array) -> Array:
    """The ``p`` at which the bound of `tilted_bound` is least: ``p = softmax(M + (1/2 - p) S)``.

    Newton steps in ``p``, by the formula of Sherman and Morrison an exponential for each class; rows of wide
    potentials, where they fail, take a safe way.
    """
    tolerance = 30 * epsilon(mean)
    p = softmax(mean / sqrt(1 + 0.25 * variance))
    widest = 1 + largest(variance, axis=1, keepdims=True)
    for _ in range(_FAST_STEPS):
        gap = softmax(mean + (0.5 - p) * variance) - p
        # Gaps are seen through S: one of r moves the potentials by S r.
        seen = largest(absolute(gap) * (1 + variance), axis=1, keepdims=True)
        off = seen > tolerance * widest
        if not is_any(off):
            return p
        here = p + gap
        own = 1 / (1 + here * variance)
        gap, share = gap * own, here * own
        p = (
            p
            + gap
            + share * (sum_over(variance * here * gap, axis=1, keepdims=True) / sum_over(share, axis=1, keepdims=True))
        )
        # What a step leaves is of the order of its square.
        if not is_any(off & (seen * seen > tolerance)):
            return p
    rows = np.flatnonzero(to_numpy(off)[:, 0])
    safe = _tilted_safely(take(mean, rows), take(variance, rows))
    result = to_numpy(p).copy()
    result[rows] = to_numpy(safe)
    return like(result, mean)


def _tilted_safely(mean: Array, variance: Array) -> Array:
    """`tilted` for any potentials, by the normaliser ``nu``: ``log p + S p = M + S / 2 - nu`` and ``sum p = 1``.

    Each ``S p`` is Wright's omega function of ``log S + M + S / 2 - nu``. Newton steps in ``log sum p`` find ``nu``,
    which is bracketed.
    """
    tolerance = 20 * epsilon(mean)
    level = mean + 0.5 * variance
    n_units = mean.shape[1]
    # Here the winner alone has a probability of 1 or more, and there none is above its share.
    low = largest(mean - 0.5 * variance, axis=1, keepdims=True)
    high = largest(level - variance / n_units, axis=1, keepdims=True) + float(np.log(n_units))
    log_variance = log(clip(variance, min=smallest_normal(variance)))
    nu = low
    for _ in range(_SAFE_STEPS):
        omega = _wright_omega(log_variance + level - nu)
        p = exp(level - nu - omega)
        total = sum_over(p, axis=1, keepdims=True)
        low, high = where(total >= 1, nu, low), where(total >= 1, high, nu)
        slope = clip(sum_over(p / (1 + omega), axis=1, keepdims=True), min=smallest_normal(mean))
        new = nu + log(clip(total, min=smallest_normal(mean))) * total / slope
        new = where((new >= low) & (new <= high), new, 0.5 * (low + high))
        done = not is_any(absolute(new - nu) > tolerance * (1 + absolute(nu)))
        nu = new
        if done:
            break
    return p / total


def _wright_omega(z: Array) -> Array:
    """The ``w`` with ``w + log w = z``, by Newton steps."""
    far, near = clip(z, min=1.0), exp(clip(z, max=1.0))
    w = where(z > 1, far - log(far) * (1 - 1 / far), near / (1 + near))
    w = clip(w, min=smallest_normal(z))
    for _ in range(_OMEGA_STEPS):
        w = clip(w * (1 + z - log(w)) / (1 + w), min=smallest_normal(z))
    return w


def tilted_bound(mean: Array, variance: Array, p: Array) -> Array:
    """Upper bound on ``E log sum exp(u)``, least at the ``p`` of `tilted` [1]_; shape (n_rows, 1), in nats."""
    return 0.5 * sum_over(p * p * variance, axis=1, keepdims=True) + log_sum_exp(mean + (0.5 - p) * variance)


# ---------------------------------------------------------------------- expectations


def log_expected_softmax(mean: Array, variance: Array) -> Array:
    """``log E softmax(u)``, in nats; probabilities are right to about 2e-5.

    With ``L_k`` the distribution function of ``u_k`` plus a Gumbel variable, ``E softmax_k(u)`` is the integral of
    ``L_k' prod_(j != k) L_j``; each function comes from a table. What is too small for the integral has a bound.
    """
    if not is_any(variance > smallest_normal(variance)):
        return mean - log_sum_exp(mean)
    sd = sqrt(variance)
    low = largest(mean - SDS * sd, axis=1, keepdims=True) - BELOW
    high = largest(mean + SDS * sd, axis=1, keepdims=True) + ABOVE
    # Of the row alone: no prediction may depend on the rows beside it.
    needed = to_numpy(high - low)[:, 0] / STEP
    group = np.searchsorted(N_NODES[:-1], needed)
    n_rows = max(1, _CHUNK // mean.shape[1])
    result = np.empty(mean.shape, to_numpy(mean).dtype)
    for index, n_nodes in enumerate(N_NODES):
        chosen = np.flatnonzero(group == index)
        for begin in range(0, len(chosen), n_rows):
            rows = chosen[begin : begin + n_rows]
            ends = take(low, rows), take(high, rows)
            result[rows] = to_numpy(_by_nodes(take(mean, rows), take(variance, rows), ends, n_nodes))
    return like(result, mean)


def _by_nodes(mean: Array, variance: Array, ends: tuple[Array, Array], n_nodes: int) -> Array:
    """`log_expected_softmax` by so many nodes between two ends of every row."""
    low, high = ends
    step = (high - low) / (n_nodes - 1)
    tables = [astype(like(part, mean), mean.dtype) for part in distribution_table()]
    q = 1 / sqrt(1 + variance)
    spread = q * (N_SPREADS - 1)
    row = clip(_floor(spread), max=float(N_SPREADS - 2))
    between, scale = spread - row, q * PER_UNIT
    n_columns = tables[0].shape[1]
    start, total = row * n_columns, zeros_like(mean)
    flat = [reshape(part, (-1,)) for part in tables]
    nodes = reshape(astype(like(np.arange(n_nodes), mean), mean.dtype), (-1, 1, 1))
    # Several nodes at a time where rows are few, added one by one: a row comes to the same whatever is beside it.
    at_once = max(1, _AT_ONCE // (mean.shape[0] * mean.shape[1]))
    for begin in range(0, n_nodes, at_once):
        some = nodes[begin : min(begin + at_once, n_nodes), ...]
        place = (low + some * step - mean) * scale - FIRST * PER_UNIT
        column = clip(_floor(place), min=0.0, max=float(n_columns - 2))
        along = place - column
        index = reshape(astype(start + column, "int64"), (-1,))
        value, rate = (_between(part, index, n_columns, along, between) for part in flat)
        parts = exp(rate - sum_over(exp(value), axis=2, keepdims=True))
        for k in range(parts.shape[0]):
            total = total + parts[k, ...]
    total = total * q * step
    seen = total > 1e3 * smallest_normal(total)
    result = log(where(seen, total, 1.0))
    if is_any(total <= 1e3 * smallest_normal(total)):
        bound = tilted_bound(mean, variance, tilted(mean, variance))
        result = where(seen, result, mean - bound)
    return result - log_sum_exp(result)


def _between(flat: Array, index: Array, n_columns: int, along: Array, across: Array) -> Array:
    """Bilinear interpolation in a table of flat entries; beyond its columns it goes on as at their end."""
    corners = [reshape(entries(flat, index + shift), along.shape) for shift in (0, 1, n_columns, n_columns + 1)]
    near = corners[0] + along * (corners[1] - corners[0])
    far = corners[2] + along * (corners[3] - corners[2])
    return near + across * (far - near)


def _floor(x: Array) -> Array:
    """Largest whole number that is not above a positive one; others are rounded towards 0."""
    return astype(astype(x, "int64"), x.dtype)


@lru_cache(maxsize=1)
def distribution_table() -> tuple[np.ndarray, np.ndarray]:
    """``log(-log L)`` and ``log(L' / L / q)`` over ``q`` and ``tau = q t``, shape (n_spreads, n_columns) each.

    ``L(t)`` is the distribution function of a Gumbel variable plus a normal one of variance ``S = q^(-2) - 1``. Both
    are smooth, and linear in ``t`` far to the right.
    """
    coarse = np.linspace(FIRST, LAST, round((LAST - FIRST) * 8) + 1)
    fine = np.linspace(FIRST, LAST, round((LAST - FIRST) * PER_UNIT) + 1)
    rows = [_distribution(q, coarse) for q in np.linspace(0, 1, N_SPREADS)]
    tables = (np.array([row[part] for row in rows]) for part in (0, 1))
    value, rate = (CubicSpline(coarse, table, axis=1)(fine) for table in tables)
    return value, rate


def _distribution(q: float, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A row of the table: by quadrature over the Gumbel variable where the normal one is wide, else over that."""
    if q == 0:
        log_below, log_above = log_ndtr(tau), log_ndtr(-tau)
        log_density = -0.5 * tau * tau - 0.5 * np.log(2 * np.pi)
    else:
        sd, t = np.sqrt(max(1 / (q * q) - 1, 0.0)), tau / q
        if sd > 1:
            g = np.arange(-4.5, 45, 0.5)
            log_weight = -g - np.exp(-g) + np.log(0.5)
            z = (t[:, None] - g) / sd
            terms = [log_ndtr(z), log_ndtr(-z), -0.5 * z * z - 0.5 * np.log(2 * np.pi) - np.log(sd)]
        else:
            x = np.arange(-9, 9.01, 0.5)
            log_weight = -0.5 * x * x - 0.5 * np.log(2 * np.pi) + np.log(0.5)
            y = t[:, None] - sd * x
            with np.errstate(over="ignore"):
                e = np.exp(-y)
                above = np.log(-np.expm1(-np.clip(e, 1e-300, None)))
            terms = [-e, above, -e - y]
        log_below, log_above, log_density = (np.logaddexp.reduce(part + log_weight, axis=1) for part in terms)
        log_density = log_density - np.log(q)
    log_below = np.where(log_above < np.log(0.5), np.log1p(-np.exp(np.minimum(log_above, -0.5))), log_below)
    # Where it rounds to 1 the logarithm is what is missing of it.
    log_loss = np.where(log_above < -30, log_above, np.log(-np.minimum(log_below, -1e-300)))
    return log_loss, log_density - log_below
