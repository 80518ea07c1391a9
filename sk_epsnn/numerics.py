"""Stable Gaussian integrals and the row-wise linear solver that everything is built on.

All functions are elementwise ufunc expressions or matrix products, keep the floating dtype of their arguments
and never divide by a probability that can underflow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp, ndtr

Array = NDArray[np.floating]

SQRT_2PI = float(np.sqrt(2 * np.pi))
#: A standard normal variable leaves this range with probability 2e-9.
NORMAL_RANGE = 6.0

# Monahan and Stefanski (1992): sigma(u) = sum_k p_k Phi(s_k u) to 2.1e-9, the best scale mixture of 8 probits.
_PROBIT_WEIGHTS = (
    0.003246343272134,
    0.051517477033972,
    0.195077912673858,
    0.315569823632818,
    0.274149576158423,
    0.131076880695470,
    0.027912418727972,
    0.001449567805354,
)
_PROBIT_SLOPES = (
    1.365340806296348,
    1.059523971016916,
    0.830791313765644,
    0.650732166639391,
    0.508135425366489,
    0.396313345166341,
    0.308904252267995,
    0.238212616409306,
)


def normal_pdf(z: Array) -> Array:
    """Standard normal density."""
    return np.exp(-0.5 * z * z) / SQRT_2PI


def hazard(z: Array) -> tuple[Array, Array]:
    """Ratio ``r = phi(z) / Phi(z)`` and the curvature ``c = r (r + z)`` in (0, 1) of ``-log Phi``.

    Stable in the far negative tail, where ``1 - c`` is about ``1 / z**2`` and the naive product loses every digit.
    """
    x = z.astype(np.float64)
    ratio = np.exp(-0.5 * x * x - log_ndtr(x)) / SQRT_2PI
    curvature = ratio * (ratio + x)
    tail = x < -20
    if tail.any():
        t = np.where(tail, -x, 20.0)
        i2 = 1 / (t * t)
        # Asymptotic series of r + z and of 1 - c in powers of 1 / z**2.
        ratio = np.where(tail, t + (1 - i2 * (2 - i2 * (10 - 74 * i2))) / t, ratio)
        curvature = np.where(tail, 1 - i2 * (1 - i2 * (6 - i2 * (50 - 518 * i2))), curvature)
    below_one = 1 - np.finfo(z.dtype).epsneg
    return ratio.astype(z.dtype), np.minimum(curvature, below_one).astype(z.dtype)


def expected_sigmoid(mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """``E sigma(u)`` for ``u ~ N(mean, variance)`` with its first two derivatives in the mean (error below 1e-8)."""
    value = np.zeros_like(mean)
    first = np.zeros_like(mean)
    second = np.zeros_like(mean)
    for p, s in zip(_PROBIT_WEIGHTS, _PROBIT_SLOPES, strict=True):
        r = s / np.sqrt(1 + s * s * variance)
        z = r * mean
        density = (p * r) * normal_pdf(z)
        value += p * ndtr(z)
        first += density
        second -= density * r * z
    return value, first, second


def log_expected_sigmoid(mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """``log E sigma(u)`` for ``u ~ N(mean, variance)`` with its first two derivatives in the mean.

    In the left tail ``sigma(u) = exp(u) sigma(-u)`` turns the integral into ``exp(M + S/2) E sigma(-u)`` under
    ``N(M + S, S)``, where the mixture of probits is accurate again.
    """
    tail = mean < -0.5 * variance
    log_value, slope, second = _log_probit_mixture(np.where(tail, -(mean + variance), mean), variance)
    return (
        np.where(tail, mean + 0.5 * variance + log_value, log_value),
        np.where(tail, 1 - slope, slope),
        second,
    )


def _log_probit_mixture(mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """Logarithm of the mixture behind `expected_sigmoid`, with its first two derivatives."""
    value, first, second = expected_sigmoid(mean, variance)
    tiny = value < 1e3 * np.finfo(value.dtype).tiny
    safe = np.where(tiny, 1, value)
    slope = first / safe
    log_value, second = np.log(safe), second / safe - slope * slope
    if tiny.any():
        log_value[tiny], slope[tiny], second[tiny] = _underflowing_mixture(mean[tiny], variance[tiny])
    return log_value, slope, second


def _underflowing_mixture(mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """The same where the value itself underflows: weights and ratios from logarithms, in float64."""
    p, s = np.array(_PROBIT_WEIGHTS), np.array(_PROBIT_SLOPES)
    r = s / np.sqrt(1 + s * s * variance[:, None].astype(np.float64))
    z = r * mean[:, None]
    log_terms = np.log(p) + log_ndtr(z)
    log_value = logsumexp(log_terms, axis=1)
    share = np.exp(log_terms - log_value[:, None])
    ratio, curvature = hazard(z)
    slope = (share * r * ratio).sum(1)
    # The second derivative of each term is r^2 (ratio^2 - curvature) times the term.
    second = (share * r * r * (ratio * ratio - curvature)).sum(1) - slope * slope
    return log_value, slope, second


def expected_softplus(mean: Array, variance: Array) -> Array:
    """``E log(1 + exp(u))`` for ``u ~ N(mean, variance)`` in closed form (error below 1e-8)."""
    value = np.zeros_like(mean)
    for p, s in zip(_PROBIT_WEIGHTS, _PROBIT_SLOPES, strict=True):
        r = s / np.sqrt(1 + s * s * variance)
        z = r * mean
        value += p * (mean * ndtr(z) + normal_pdf(z) / r)
    return value


@lru_cache(maxsize=64)
def normal_grid(n: int) -> tuple[tuple[float, float], ...]:
    """``2 n + 1`` evenly spaced nodes within +- ``NORMAL_RANGE`` and weights with ``E f(x) = sum w f(x_k)``.

    The trapezoidal rule: for standard normal ``x`` and analytic ``f`` its error falls exponentially with ``n``.
    """
    nodes = np.linspace(-NORMAL_RANGE, NORMAL_RANGE, 2 * n + 1)
    weights = normal_pdf(nodes)
    weights = weights / weights.sum()
    return tuple((float(x), float(w)) for x, w in zip(nodes, weights, strict=True))


@lru_cache(maxsize=8)
def gauss_hermite(n_nodes: int) -> tuple[tuple[float, float], ...]:
    """Nodes and weights with ``E f(x) = sum w f(x_k)`` for standard normal ``x``."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    weights = weights / weights.sum()
    return tuple((float(x), float(w)) for x, w in zip(nodes, weights, strict=True))


def conjugate_gradient(
    operator: Callable[[Array], tuple[Array, Array]],
    target: Array,
    preconditioner: Array,
    n_steps: int,
    tol: float,
) -> tuple[Array, Array]:
    """Solve one positive definite system per row, all rows at once, by preconditioned conjugate gradients.

    The rows are independent, but share the stopping rule: together they are one block diagonal system.

    Parameters
    ----------
    operator : callable
        Maps directions ``v`` of shape (n_rows, n) to ``(A v, X v.T)``, where the second part is any linear image
        of ``v`` that the caller wants for the solution as well (it costs nothing: the product is needed anyway).
    target : array of shape (n_rows, n)
        Right-hand sides.
    preconditioner : array of shape (n_rows, n)
        Diagonal of ``A`` (Jacobi).
    n_steps : int
        At most this many steps.
    tol : float
        Stop when the norm of the preconditioned residuals of all rows has fallen to this fraction.

    Returns
    -------
    solution : array of shape (n_rows, n)
    image : array
        The linear image of the solution, shape (n_samples, n_rows).
    """
    solution = np.zeros_like(target)
    residual = target
    direction = residual / preconditioner
    rho = (residual * direction).sum(1)
    goal = tol * tol * rho.sum()
    image: Array | None = None
    tiny = np.finfo(target.dtype).tiny
    for _ in range(n_steps):
        product, part = operator(direction)
        step = rho / np.maximum((direction * product).sum(1), tiny)
        solution = solution + step[:, None] * direction
        image = step * part if image is None else image + step * part
        residual = residual - step[:, None] * product
        scaled = residual / preconditioner
        rho_new = (residual * scaled).sum(1)
        if rho_new.sum() <= goal:
            break
        direction = scaled + (rho_new / np.maximum(rho, tiny))[:, None] * direction
        rho = rho_new
    assert image is not None
    return solution, image
