"""Stable ratios against 60-digit fractions, integrals against quadrature, the solver against a direct one."""

import numpy as np
import oracles
import pytest
from scipy.special import expit, log_expit, ndtr

from sk_epsnn.numerics import (
    conjugate_gradient,
    expected_sigmoid,
    expected_softplus,
    expm1,
    gauss_hermite,
    hazard,
    log_expected_sigmoid,
    log_expected_sigmoid_value,
    normal_cdf,
    normal_cdf_pdf,
    normal_grid,
    normal_pdf,
    without_subnormal,
)

FAR = [-1e6, -1e5, -1e4, -1e3, -300.0, -50.0, -38.5]
NEAR = [-25.0, -20.001, -20.0, -19.999, -10.0, -5.0, -2.0, -1.0, -1e-3, 0.0, 0.5, 2.0, 5.0, 8.0]
MEANS = np.array([-40.0, -15.0, -6.0, -2.5, -1.0, 0.0, 0.3, 1.7, 5.0, 12.0, 40.0])
VARIANCES = np.array([0.05, 0.7, 3.0, 25.0, 400.0, 1e4])
GRID = np.array([(m, s) for m in MEANS for s in VARIANCES])


def columns(dtype=np.float64):
    return GRID[:, 0].astype(dtype), GRID[:, 1].astype(dtype)


def test_normal_pdf():
    z = np.array([-3.0, 0.0, 1.5])
    expected = [0.0044318484119380075, 0.3989422804014327, 0.12951759566589174]
    np.testing.assert_allclose(normal_pdf(z), expected, rtol=1e-14)
    assert normal_pdf(z.astype(np.float32)).dtype == np.float32


def test_normal_cdf_and_pdf_in_float32():
    """Over every size that float32 can tell from 0: absolute errors, and those of the tails relative to them."""
    z = np.concatenate([np.linspace(-15, 15, 300_001), np.linspace(-0.01, 0.01, 2001)]).astype(np.float32)
    value, density = normal_cdf_pdf(z)
    assert value.dtype == density.dtype == np.float32
    x = z.astype(float)
    exact, exact_density = ndtr(x), np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(value, exact, rtol=0, atol=3e-7)
    np.testing.assert_allclose(density, exact_density, rtol=0, atol=1e-7)
    kept = np.abs(x) < 12.9  # beyond, float32 loses digits to its smallest numbers
    allowed = 6e-7 + 8e-8 * x[kept] ** 2
    assert (np.abs(density[kept] / exact_density[kept] - 1) < allowed).all()
    assert (np.abs(value[kept] / exact[kept] - 1) < allowed).all()
    assert np.all((value >= 0) & (value <= 1))
    np.testing.assert_array_equal(normal_cdf(z), value)


def test_normal_cdf_and_pdf_at_the_ends_in_float32():
    z = np.array([0.0, -0.0, np.inf, -np.inf, 1e38, -1e38, 1e-40, np.nan], np.float32)
    value, density = normal_cdf_pdf(z)
    np.testing.assert_array_equal(value, np.array([0.5, 0.5, 1, 0, 1, 0, 0.5, np.nan], np.float32))
    np.testing.assert_allclose(density, [*[1 / np.sqrt(2 * np.pi)] * 2, 0, 0, 0, 0, 1 / np.sqrt(2 * np.pi), np.nan])
    assert normal_cdf_pdf(np.zeros((0, 3), np.float32))[0].shape == (0, 3)


def test_normal_cdf_and_pdf_in_float64():
    z = np.linspace(-30, 30, 601)
    np.testing.assert_array_equal(normal_cdf_pdf(z)[0], ndtr(z))
    np.testing.assert_array_equal(normal_cdf(z), ndtr(z))
    np.testing.assert_allclose(normal_cdf_pdf(z)[1], np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi), rtol=1e-14)


def test_expm1():
    """In float32 as good as rounding, for tiny numbers and for large ones; elsewhere the library's own."""
    sizes = np.logspace(-37, np.log10(88), 20_001)
    x = np.concatenate([np.linspace(-100, 88, 100_001), sizes, -sizes]).astype(np.float32)
    value = expm1(x)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, np.expm1(x.astype(float)), rtol=4e-7, atol=0)
    ends = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1e38], np.float32)
    np.testing.assert_array_equal(expm1(ends), np.array([0, -0.0, np.inf, -1, np.nan, -1], np.float32))
    assert np.signbit(expm1(ends)[1])
    np.testing.assert_array_equal(expm1(x.astype(float)), np.expm1(x.astype(float)))


@pytest.mark.parametrize("z", FAR + NEAR)
def test_hazard(z):
    ratio, curvature = hazard(np.array([z, 1.0]))  # the second entry keeps both branches in play
    expected = oracles.hazard(z)
    # Where the series takes over, at z = -20, its first missing term is 7e-11 of r and 6e-10 of c.
    np.testing.assert_allclose(ratio[0], expected[0], rtol=1e-10)
    np.testing.assert_allclose(curvature[0], expected[1], rtol=1e-9)
    assert 0 < curvature[0] <= 1
    np.testing.assert_allclose([ratio[1], curvature[1]], oracles.hazard(1.0), rtol=1e-13)


def test_hazard_does_not_overflow():
    """Squares of 1e11 lose all digits of the difference that the naive formula exponentiates."""
    z = -np.logspace(9, 13, 400)
    ratio, curvature = hazard(z)
    np.testing.assert_allclose(ratio, -z, rtol=1e-12)
    assert (curvature < 1).all()


@pytest.mark.parametrize("z", [-1e4, -1e3, -300.0, -50.0, -25.0, -20.001])
def test_hazard_keeps_what_is_left_of_the_variance(z):
    """The tilted variance is ``1 - c``, about ``1/z**2``: the naive product has no digit of it at -1e3."""
    exact = 1 - oracles.hazard(z)[1]
    # The first missing term of the series is 6354 / z**8; the 1 in 1 - c is known to 1e-16.
    np.testing.assert_allclose(1 - hazard(np.array([z]))[1][0], exact, rtol=7000 / z**8, atol=2e-16)


def test_hazard_does_not_depend_on_the_other_entries():
    near, far = np.array(NEAR), np.array(FAR)
    together = hazard(np.concatenate([near, far]))
    for part, alone in zip(together, hazard(near), strict=True):
        np.testing.assert_array_equal(part[: len(near)][near >= -20], alone[near >= -20])
    assert all(part.shape == (0,) for part in hazard(np.array([])))


def test_hazard_float32():
    z = np.array([v for v in FAR + NEAR if not -20 <= v < -10], np.float32)
    expected = np.array([oracles.hazard(float(v)) for v in z]).T
    for value, exact in zip(hazard(z), expected, strict=True):
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, exact, rtol=5e-5)


def test_hazard_float32_leaves_a_positive_variance():
    """Between -20 and -10 the rounding of ``r`` is multiplied by ``z**2`` in c, which must stay below 1."""
    z = np.linspace(-20, -10, 201, dtype=np.float32)
    curvature = hazard(z)[1]
    exact = np.array([1 - oracles.hazard(float(v))[1] for v in z])
    assert curvature.max() < 1
    np.testing.assert_allclose(1 - curvature.astype(float), exact, rtol=0.05)


def test_expected_sigmoid():
    value = expected_sigmoid(*columns())
    for k, (m, s) in enumerate(GRID):
        u, w = oracles.gaussian_rule(m, s)
        score = (u - m) / s
        exact = [(w * expit(u) * factor).sum() for factor in (np.ones_like(u), score, score**2 - 1 / s)]
        # The mixture of probits is off by 2.1e-9 at most, uniformly in u. Differentiating a Gaussian once divides
        # by the standard deviation, twice by the variance.
        np.testing.assert_allclose(value[0][k], exact[0], rtol=0, atol=5e-9, err_msg=f"{m} {s}")
        np.testing.assert_allclose(value[1][k], exact[1], rtol=0, atol=1e-8 + 1e-15 / s, err_msg=f"{m} {s}")
        np.testing.assert_allclose(value[2][k], exact[2], rtol=0, atol=5e-8, err_msg=f"{m} {s}")


def test_log_expected_sigmoid():
    value, slope, second = log_expected_sigmoid(*columns())
    for k, (m, s) in enumerate(GRID):
        exact = oracles.observed_spike(oracles.SPIKE_LAWS["sigmoid"], m, s, 1, 1.0)
        np.testing.assert_allclose(value[k], exact.log_z, rtol=0, atol=1e-7, err_msg=f"{m} {s}")
        np.testing.assert_allclose(slope[k], exact.g, rtol=0, atol=1e-7, err_msg=f"{m} {s}")
        np.testing.assert_allclose(second[k], -exact.gamma, rtol=0, atol=3e-7, err_msg=f"{m} {s}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_expected_sigmoid_value_is_that_with_derivatives(dtype):
    mean, variance = columns(dtype)
    far = np.array([-1e4, -300.0, -40.0, 40.0, 300.0], dtype)
    for m, s in ((mean, variance), (far, np.ones_like(far)), (far, 1e4 * np.ones_like(far))):
        value = log_expected_sigmoid_value(m, s)
        assert value.dtype == dtype
        np.testing.assert_array_equal(value, log_expected_sigmoid(m, s)[0])


def test_log_expected_sigmoid_is_continuous_where_the_tail_begins():
    s = np.array([0.3, 4.0, 60.0])
    below, above = (log_expected_sigmoid(-0.5 * s + shift, s) for shift in (-1e-9, 1e-9))
    for left, right, atol in zip(below, above, (1e-8, 2e-6, 1e-8), strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=atol)


def test_log_expected_sigmoid_far_tail():
    """Where the potential is certainly negative, ``E sigma = E exp(u)``."""
    mean, variance = np.array([-200.0, -900.0, -1e5]), np.array([2.0, 30.0, 100.0])
    value, slope, second = log_expected_sigmoid(mean, variance)
    np.testing.assert_allclose(value, mean + 0.5 * variance, rtol=1e-9)
    np.testing.assert_allclose(slope, 1, rtol=1e-8)
    np.testing.assert_allclose(second, 0, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ratio", [-100.0, -45.0, -20.0])
@pytest.mark.parametrize("variance", [1e3, 1e4, 1e6])
def test_log_expected_sigmoid_wide_and_far(ratio, variance, dtype):
    """Many standard deviations out and wider still: finite, and close to the quadrature."""
    mean = ratio * np.sqrt(variance)
    result = log_expected_sigmoid(np.array([mean], dtype), np.array([variance], dtype))
    exact = oracles.observed_spike(oracles.SPIKE_LAWS["sigmoid"], mean, variance, 1, 1.0)
    expected = (exact.log_z, exact.g, -exact.gamma)
    rtol = 1e-6 if dtype == np.float64 else 1e-3
    for value, target in zip(result, expected, strict=True):
        np.testing.assert_allclose(value[0], target, rtol=rtol, atol=3 * rtol)


def test_expected_softplus():
    value = expected_softplus(*columns())
    exact = [oracles.expectation(lambda u: -log_expit(-u), m, s) for m, s in GRID]
    np.testing.assert_allclose(value, exact, rtol=1e-12, atol=1e-8)


@pytest.mark.parametrize("function", [expected_sigmoid, log_expected_sigmoid, expected_softplus])
def test_float32(function):
    single, double = function(*columns(np.float32)), function(*columns())
    if isinstance(double, np.ndarray):
        single, double = (single,), (double,)
    for a, b in zip(single, double, strict=True):
        assert a.dtype == np.float32
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("n_nodes", [1, 5, 12, 20, 40])
def test_gauss_hermite(n_nodes):
    nodes, weights = np.array(gauss_hermite(n_nodes)).T
    moment = 1.0
    for degree in range(0, min(2 * n_nodes, 20), 2):
        np.testing.assert_allclose((weights * nodes**degree).sum(), moment, rtol=1e-11)
        moment *= degree + 1
    for degree in (1, 3):
        np.testing.assert_allclose((weights * nodes**degree).sum(), 0, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", [6, 12, 40])
def test_normal_grid(n):
    nodes, weights = np.array(normal_grid(n)).T
    assert len(nodes) == 2 * n + 1
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-14)
    # A bounded analytic function with its nearest poles at +- i pi / 2, against adaptive quadrature.
    exact = oracles.expectation(lambda u: 1 / (1 + np.exp(-2 * u)) ** 0.3, 0.4, 1.0)
    value = (weights / (1 + np.exp(-2 * (0.4 + nodes))) ** 0.3).sum()
    np.testing.assert_allclose(value, exact, rtol={6: 1e-3, 12: 1e-7, 40: 3e-8}[n])


def definite_systems(n_rows, n, seed, condition=20.0):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((n_rows, n, n)))[0]
    matrices = (basis * np.geomspace(1, condition, n)) @ basis.swapaxes(1, 2)
    return matrices, rng.standard_normal((n_rows, n)), rng.standard_normal((7, n))


@pytest.mark.parametrize("n_steps, tol", [(60, 1e-12), (200, 1e-9)])
def test_conjugate_gradient(n_steps, tol):
    matrices, target, X = definite_systems(4, 15, seed=0)
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    calls = []

    def operator(v):
        calls.append(1)
        return (matrices @ v[:, :, None])[:, :, 0], X @ v.T

    solution, image = conjugate_gradient(operator, target, lambda r: r / diagonal, n_steps, tol)
    expected = np.linalg.solve(matrices, target[:, :, None])[:, :, 0]
    np.testing.assert_allclose(solution, expected, rtol=0, atol=20 * tol)
    np.testing.assert_allclose(image, X @ solution.T, rtol=0, atol=1e-12)
    assert image.shape == (7, 4)
    assert len(calls) < n_steps  # the tolerance ended it


def test_conjugate_gradient_is_exact_after_as_many_steps_as_unknowns():
    matrices, target, X = definite_systems(3, 6, seed=1)
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    solution, image = conjugate_gradient(
        lambda v: ((matrices @ v[:, :, None])[:, :, 0], X @ v.T), target, lambda r: r / diagonal, n_steps=6, tol=0.0
    )
    np.testing.assert_allclose(solution, np.linalg.solve(matrices, target[:, :, None])[:, :, 0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(image, X @ solution.T, rtol=0, atol=1e-12)


def test_conjugate_gradient_waits_for_the_slowest_row():
    """A row that is solved at once (diagonal system) must not end the iteration of the others, nor be spoilt."""
    matrices, target, X = definite_systems(2, 12, seed=2)
    matrices[0] = np.diag(np.arange(1.0, 13.0))
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    solution, _ = conjugate_gradient(
        lambda v: ((matrices @ v[:, :, None])[:, :, 0], X @ v.T), target, lambda r: r / diagonal, n_steps=100, tol=1e-10
    )
    np.testing.assert_allclose(solution, np.linalg.solve(matrices, target[:, :, None])[:, :, 0], rtol=0, atol=1e-8)


def test_conjugate_gradient_stops_by_the_residual_of_all_rows_together():
    """A row of small residual may be far from its own solution: it hardly counts."""
    matrices, target, X = definite_systems(2, 12, seed=5)
    matrices[0], matrices[1] = np.eye(12), 1e-4 * matrices[1]
    target[1] *= 1e-6
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)

    def n_steps(*rows):
        calls = []

        def operator(v):
            calls.append(1)
            return (matrices[[*rows]] @ v[:, :, None])[:, :, 0], X @ v.T

        conjugate_gradient(operator, target[[*rows]], lambda r: r / diagonal[[*rows]], n_steps=100, tol=0.01)
        return len(calls)

    assert n_steps(0) == n_steps(0, 1) == 1
    assert n_steps(1) > 3


def test_conjugate_gradient_zero_target():
    matrices, target, X = definite_systems(2, 5, seed=3)
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    solution, image = conjugate_gradient(
        lambda v: ((matrices @ v[:, :, None])[:, :, 0], X @ v.T),
        np.zeros_like(target),
        lambda r: r / diagonal,
        n_steps=3,
        tol=0.1,
    )
    np.testing.assert_array_equal(solution, 0)
    np.testing.assert_array_equal(image, 0)


def test_conjugate_gradient_float32():
    matrices, target, X = (a.astype(np.float32) for a in definite_systems(3, 8, seed=4))
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    solution, image = conjugate_gradient(
        lambda v: ((matrices @ v[:, :, None])[:, :, 0], X @ v.T), target, lambda r: r / diagonal, n_steps=30, tol=1e-5
    )
    assert solution.dtype == image.dtype == np.float32
    expected = np.linalg.solve(matrices.astype(float), target.astype(float)[:, :, None])[:, :, 0]
    np.testing.assert_allclose(solution, expected, rtol=0, atol=2e-5)


# Numbers too small for their digits


def test_without_subnormal():
    small, large = np.float32([1e-45, -1e-40, 1e-33, 0.0]), np.float32([1e-20, -3e-18, 1.5, -1e30, np.inf])
    assert (without_subnormal(small) == 0).all()
    np.testing.assert_allclose(without_subnormal(large), large, rtol=1e-6)
    assert np.isnan(without_subnormal(np.float32([np.nan])))
    assert large.dtype == without_subnormal(large).dtype
    double = np.array([1e-300, 1e-40])
    assert without_subnormal(double) is double
