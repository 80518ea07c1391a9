"""Stable Gaussian integrals and the row-wise linear solver that everything is built on.

All functions are elementwise ufunc expressions or matrix products, keep the floating dtype of their arguments
and never divide by a probability that can underflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from scipy import special as scipy_special

from sk_epsnn._arrays import (
    Array,
    astype,
    clip,
    epsilon,
    exp,
    is_any,
    largest,
    log,
    maximum,
    new_array,
    new_identity,
    smallest_normal,
    special,
    sqrt,
    sum_over,
    where,
    zeros_like,
)
from sk_epsnn._arrays import expm1 as exact_expm1

expit, logit, xlogy = special(scipy_special.expit), special(scipy_special.logit), special(scipy_special.xlogy)
ndtr, log_ndtr = special(scipy_special.ndtr), special(scipy_special.log_ndtr)

SQRT_2PI = float(np.sqrt(2 * np.pi))
#: A standard normal variable leaves this range with probability 2e-9.
NORMAL_RANGE = 6.0

# Monahan and Stefanski (1992): sigma(u) = sum_k p_k Phi(s_k u) to 2.1e-9, the best scale mixture of 8 probits.
PROBIT_WEIGHTS = (
    0.003246343272134,
    0.051517477033972,
    0.195077912673858,
    0.315569823632818,
    0.274149576158423,
    0.131076880695470,
    0.027912418727972,
    0.001449567805354,
)
PROBIT_SLOPES = (
    1.365340806296348,
    1.059523971016916,
    0.830791313765644,
    0.650732166639391,
    0.508135425366489,
    0.396313345166341,
    0.308904252267995,
    0.238212616409306,
)


#: In arrays of so few numbers a call of NumPy costs more than its work: all probits are worked out at once.
FEW = 1024

#: ``Phi(-a) = phi(a) M(a)`` for ``a >= 0``, where the Mills ratio ``M`` is a polynomial in ``1 / (1 + MILLS_STEP a)``
#: without a constant: the fit on [0, 15] of least relative error, 1.1e-7; coefficients of the first power first.
MILLS_STEP = 0.305
MILLS = (
    0.304911278,
    0.306887634,
    0.259831625,
    0.301312953,
    -0.091172541,
    0.460980235,
    -0.380746415,
    0.0913093575,
)
#: Beyond this ``phi`` is 0 in float32.
BEYOND = 20.0


#: Added and taken away again, this leaves nothing of much smaller numbers.
_AWAY = np.float32(1e-25)


def is_single(array: Array) -> bool:
    """Whether an array has forms in float32 that are faster than the exact ones: NumPy's alone.

    NumPy has vector instructions for exp, log and tanh in float32, and SciPy none for its functions.
    """
    return type(array) is np.ndarray and array.dtype == np.float32


def without_subnormal(array: Array) -> Array:
    """The array, in float32 without entries below 1e-32: those below 1e-38 make matrix products several times slower.

    No entry changes by more than 1e-32, or half a unit in its last place.
    """
    if not is_single(array):
        return array
    result = array + _AWAY
    result -= _AWAY
    return result


def plus_diagonal(matrices: Array, values: Array) -> Array:
    """Matrices with numbers added to their diagonals; shapes (n_out, n, n) and (n_out, n)."""
    return matrices + values[:, :, None] * new_identity(matrices, values.shape[1])


def normal_pdf(z: Array) -> Array:
    """Standard normal density."""
    return exp(-0.5 * z * z) / SQRT_2PI


def normal_cdf_pdf(z: Array) -> tuple[Array, Array]:
    """``Phi(z)`` and ``phi(z)``.

    In float32 from one exponential: absolute errors below 3e-7, relative ones of the smaller of ``Phi(z)`` and
    ``Phi(-z)`` below ``6e-7 + 8e-8 z**2``, as that of any exponential of a rounded square.
    """
    if not is_single(z):
        return ndtr(z), normal_pdf(z)
    size = np.abs(z)
    np.minimum(size, BEYOND, out=size)
    density = size * size
    density *= -0.5
    np.exp(density, out=density)
    density *= 1 / SQRT_2PI
    size *= MILLS_STEP
    size += 1
    np.reciprocal(size, out=size)
    tail = size * MILLS[-1]
    for coefficient in MILLS[-2::-1]:
        tail += coefficient
        tail *= size
    tail *= density
    # The tail below 0, the rest above; `where` is slower than everything before it, as its branches cannot be foreseen.
    np.subtract((z > 0).astype(z.dtype), tail, out=tail)
    return np.abs(tail, out=tail), density


def normal_cdf(z: Array) -> Array:
    """``Phi(z)``, in float32 that of `normal_cdf_pdf`."""
    return normal_cdf_pdf(z)[0] if is_single(z) else ndtr(z)


def expm1(x: Array) -> Array:
    """``exp(x) - 1``; in float32 as ``tanh(x / 2) (exp(x) + 1)``, which has no cancellation (relative error 4e-7)."""
    if not is_single(x):
        return exact_expm1(x)
    result = np.exp(x)
    result += 1
    result *= np.tanh(0.5 * x)
    return result


def hazard(z: Array) -> tuple[Array, Array]:
    """Ratio ``r = phi(z) / Phi(z)`` and the curvature ``c = r (r + z)`` in (0, 1) of ``-log Phi``.

    Stable in the far negative tail, where ``1 - c`` is about ``1 / z**2`` and the naive product loses every digit.
    """
    x = astype(z, "float64")
    tail = x < -20
    near = where(tail, 0.0, x)
    ratio = exp(-0.5 * near * near - log_ndtr(near)) / SQRT_2PI
    curvature = ratio * (ratio + near)
    if is_any(tail):
        t = where(tail, -x, 20.0)
        i2 = 1 / (t * t)
        # Asymptotic series of r + z and of 1 - c in powers of 1 / z**2.
        ratio = where(tail, t + (1 - i2 * (2 - i2 * (10 - 74 * i2))) / t, ratio)
        curvature = where(tail, 1 - i2 * (1 - i2 * (6 - i2 * (50 - 518 * i2))), curvature)
    below_one = 1 - 0.5 * epsilon(z)
    return astype(ratio, z.dtype), astype(clip(curvature, max=below_one), z.dtype)


def _probits(mean: Array, variance: Array) -> Iterator[tuple[Array | float, Array]]:
    """Weights and slopes of the mixture for ``E sigma(u)``: one after another, or all at once along a first axis."""
    if type(mean) is not np.ndarray or mean.size > FEW:
        for p, s in zip(PROBIT_WEIGHTS, PROBIT_SLOPES, strict=True):
            yield p, s / sqrt(1 + s * s * variance)
        return
    numbers = PROBIT_WEIGHTS, PROBIT_SLOPES, [s * s for s in PROBIT_SLOPES]
    weights, slopes, squares = np.array(numbers, mean.dtype).reshape(3, -1, *(1,) * mean.ndim)
    yield weights, slopes / np.sqrt(1 + squares * variance)


def _add(terms: Array, total: Array) -> None:
    """Add terms in place, if they have a first axis more one after another, which gives the same bits."""
    for term in terms if terms.ndim > total.ndim else (terms,):
        total += term


def expected_sigmoid(mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """``E sigma(u)`` for ``u ~ N(mean, variance)`` with its first two derivatives in the mean (error below 1e-8)."""
    value, first, second = zeros_like(mean), zeros_like(mean), zeros_like(mean)
    for p, r in _probits(mean, variance):
        z = r * mean
        probability, density = normal_cdf_pdf(z)
        density = (p * r) * density
        _add(p * probability, value)
        _add(density, first)
        _add(-density * r * z, second)
    # The weights sum to a little more than 1.
    return clip(value, max=1.0), first, second


def log_expected_sigmoid(mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """``log E sigma(u)`` for ``u ~ N(mean, variance)`` with its first two derivatives in the mean.

    In the left tail ``sigma(u) = exp(u) sigma(-u)`` turns the integral into ``exp(M + S/2) E sigma(-u)`` under
    ``N(M + S, S)``, where the mixture of probits is accurate again.
    """
    inner, exponent = _without_left_tail(mean, variance)
    log_value, slope, second = _log_probit_mixture(inner, variance)
    return exponent + log_value, where(exponent < 0, 1 - slope, slope), second


def log_expected_sigmoid_value(mean: Array, variance: Array) -> Array:
    """The value of `log_expected_sigmoid` alone, bit for bit, without the work for its derivatives."""
    inner, exponent = _without_left_tail(mean, variance)
    value = zeros_like(inner)
    for p, r in _probits(inner, variance):
        _add(p * normal_cdf(r * inner), value)
    tiny = _underflows(value, variance)
    log_value = log(clip(where(tiny, 1.0, value), max=1.0))
    if is_any(tiny):
        log_value[tiny] = _underflowing_mixture(inner[tiny], variance[tiny])[0]
    return exponent + log_value


def _without_left_tail(mean: Array, variance: Array) -> tuple[Array, Array]:
    """Means with those of ``sigma(-u)`` in the left tail, ``M < -S/2``, and the exponent there, elsewhere 0.

    See `log_expected_sigmoid`.
    """
    return maximum(mean, -(mean + variance)), clip(mean + 0.5 * variance, max=0.0)


def _underflows(value: Array, variance: Array) -> Array:
    """Where a mixture or its derivatives, which are smaller by up to the variance, underflow."""
    return value < 1e3 * smallest_normal(value) * (1 + variance)


def _log_probit_mixture(mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """Logarithm of the mixture behind `expected_sigmoid`, with its first two derivatives."""
    value, first, second = expected_sigmoid(mean, variance)
    tiny = _underflows(value, variance)
    safe = where(tiny, 1.0, value)
    slope = first / safe
    log_value, second = log(safe), second / safe - slope * slope
    if is_any(tiny):
        log_value[tiny], slope[tiny], second[tiny] = _underflowing_mixture(mean[tiny], variance[tiny])
    return log_value, slope, second


def _underflowing_mixture(mean: Array, variance: Array) -> tuple[Array, Array, Array]:
    """The same where the value itself underflows: weights and ratios from logarithms, in float64."""
    dtype = mean.dtype
    p, s = (new_array(mean, numbers, "float64") for numbers in (PROBIT_WEIGHTS, PROBIT_SLOPES))
    r = s / sqrt(1 + s * s * astype(variance[:, None], "float64"))
    z = r * astype(mean[:, None], "float64")
    log_terms = log(p) + log_ndtr(z)
    # Shares that sum to 1 however large the logarithms are, and a variance without cancellation.
    top = largest(log_terms, axis=1, keepdims=True)
    share = exp(log_terms - top)
    total = sum_over(share, axis=1, keepdims=True)
    share = share / total
    log_value = (top + log(total))[:, 0]
    ratio, curvature = hazard(z)
    slope = sum_over(share * r * ratio, axis=1)
    # The logarithm of each term has slope r ratio and curvature r^2 curvature.
    spread = r * ratio - slope[:, None]
    second = sum_over(share * (spread * spread - r * r * curvature), axis=1)
    return astype(log_value, dtype), astype(slope, dtype), astype(second, dtype)


def expected_softplus(mean: Array, variance: Array) -> Array:
    """``E log(1 + exp(u))`` for ``u ~ N(mean, variance)`` in closed form (error below 1e-8)."""
    value = zeros_like(mean)
    for p, r in _probits(mean, variance):
        probability, density = normal_cdf_pdf(r * mean)
        _add(p * (mean * probability + density / r), value)
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
    preconditioner: Callable[[Array], Array],
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
    preconditioner : callable
        Maps residuals ``r``, of shape (n_rows, n), to about ``A^-1 r``, such as ``r`` by the diagonal of ``A``; linear,
        symmetric and positive definite.
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
    solution = zeros_like(target)
    residual = target
    direction = preconditioner(residual)
    rho = sum_over(residual * direction, axis=1)
    goal = tol * tol * sum_over(rho)
    image: Array | None = None
    tiny = smallest_normal(target)
    for _ in range(n_steps):
        product, part = operator(direction)
        step = rho / clip(sum_over(direction * product, axis=1), min=tiny)
        solution = solution + step[:, None] * direction
        image = step * part if image is None else image + step * part
        residual = residual - step[:, None] * product
        scaled = preconditioner(residual)
        rho_new = sum_over(residual * scaled, axis=1)
        if sum_over(rho_new) <= goal:
            break
        direction = scaled + (rho_new / clip(rho, min=tiny))[:, None] * direction
        rho = rho_new
    assert image is not None
    return solution, image
