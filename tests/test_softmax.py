"""The softmax of Gaussian potentials: its bound and its expectation, against dense quadrature and other solutions."""

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, roots_hermite
from scipy.special import softmax as exact_softmax

from sk_epsnn import softmax as module
from sk_epsnn.numerics import log_expected_sigmoid
from sk_epsnn.softmax import log_expected_softmax, log_sum_exp, softmax, tilted, tilted_bound

SPREADS = pytest.mark.parametrize("spread", [0.0, 1e-3, 0.3, 4, 50, 1000])
WIDTHS = pytest.mark.parametrize("n_units", [2, 3, 10, 200])


def potentials(n_units, spread, seed=0, n_rows=6):
    rng = np.random.default_rng(seed)
    return 3 * rng.standard_normal((n_rows, n_units)), spread * rng.random((n_rows, n_units))


def by_quadrature(mean, variance, n_nodes=60):
    """Expected softmax of three potentials by a product of Gauss-Hermite rules."""
    x, w = roots_hermite(n_nodes)
    nodes = np.sqrt(2) * np.stack(np.meshgrid(x, x, x, indexing="ij"), -1).reshape(-1, 3)
    weights = (w[:, None, None] * w[:, None] * w).reshape(-1) / np.pi**1.5
    return np.array(
        [weights @ exact_softmax(m + np.sqrt(v) * nodes, axis=1) for m, v in zip(mean, variance, strict=True)]
    )


def test_softmax_and_its_normaliser():
    mean, _ = potentials(5, 0)
    np.testing.assert_allclose(softmax(mean), exact_softmax(mean, axis=1), rtol=1e-12)
    np.testing.assert_allclose(log_sum_exp(mean)[:, 0], logsumexp(mean, axis=1), rtol=1e-12)


@WIDTHS
@SPREADS
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
def test_tilted_is_a_fixed_point(n_units, spread, dtype, tolerance):
    """Both ways find it; in the precision of the potentials, which are of the size of the variance."""
    mean, variance = (part.astype(dtype) for part in potentials(n_units, spread))
    for p in (tilted(mean, variance), module._tilted_safely(mean, variance)):
        assert p.dtype == dtype
        wide, spreads = p.astype(float), variance.astype(float)
        again = exact_softmax(mean + (0.5 - wide) * spreads, axis=1)
        np.testing.assert_allclose(again, wide, atol=tolerance * (1 + spread))


def test_the_fixed_point_is_where_the_bound_is_least():
    mean, variance = potentials(4, 5)
    p = tilted(mean, variance)
    least = tilted_bound(mean, variance, p)
    rng = np.random.default_rng(0)
    for size in (1e-3, 0.1, 1.0):
        other = p + size * rng.standard_normal(p.shape)
        assert (tilted_bound(mean, variance, other) > least).all()


def test_the_bound_of_known_potentials_is_exact():
    mean, _ = potentials(6, 0)
    zero = np.zeros_like(mean)
    np.testing.assert_allclose(tilted_bound(mean, zero, tilted(mean, zero)), log_sum_exp(mean), rtol=1e-12)


@pytest.mark.parametrize("z", [-700.0, -30.0, -2.0, 0.0, 0.99, 1.0, 1.01, 5.0, 300.0, 1e6])
def test_wright_omega(z):
    (w,) = module._wright_omega(np.array([z]))
    np.testing.assert_allclose(w + np.log(w), z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spread", [1e-3, 0.1, 1, 5])
def test_expected_softmax_by_quadrature(spread):
    mean, variance = potentials(3, spread)
    found = np.exp(log_expected_softmax(mean, variance))
    np.testing.assert_allclose(found, by_quadrature(mean, variance), atol=3e-5)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)


@pytest.mark.parametrize("spread", [0.01, 1, 30, 400])
def test_two_units_are_a_sigmoid_of_their_difference(spread):
    mean, variance = potentials(2, spread, n_rows=40)
    found = log_expected_softmax(mean, variance)
    expected = log_expected_sigmoid(mean[:, 0] - mean[:, 1], variance.sum(1))[0]
    np.testing.assert_allclose(np.exp(found[:, 0]), np.exp(expected), atol=3e-5)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-2, atol=1e-3)


def test_a_known_potential_among_known_ones_is_the_softmax():
    mean, variance = potentials(5, 0)
    np.testing.assert_array_equal(log_expected_softmax(mean, variance), mean - log_sum_exp(mean))
    np.testing.assert_allclose(log_expected_softmax(mean, variance + 1e-12), log_softmax(mean, axis=1), atol=2e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_next_to_impossible_has_a_logarithm(dtype):
    """However far behind: no probability is 0, and far ones are those of narrow potentials."""
    mean = np.array([[0.0, -50.0, -500.0, -5000.0]], dtype)
    found = log_expected_softmax(mean, np.full_like(mean, 1e-2))
    assert np.isfinite(found).all() and found.dtype == dtype
    np.testing.assert_allclose(found, mean, atol=0.02, rtol=1e-3)


def test_equal_potentials_share_alike_however_wide():
    for variance in (1e-6, 1.0, 1e4, 1e8):
        found = log_expected_softmax(np.zeros((2, 7)), np.full((2, 7), variance))
        np.testing.assert_allclose(found, -np.log(7), atol=1e-9)


def test_many_classes_and_rows_in_parts(monkeypatch):
    mean, variance = potentials(30, 3, n_rows=50)
    whole = log_expected_softmax(mean, variance)
    monkeypatch.setattr(module, "_CHUNK", 90)
    parts = log_expected_softmax(mean, variance)
    np.testing.assert_allclose(parts, whole, rtol=1e-9, atol=1e-12)
    assert log_expected_softmax(mean[:0], variance[:0]).shape == (0, 30)


def test_no_row_depends_on_the_rows_beside_it():
    mean, variance = potentials(5, 60, n_rows=40)
    variance[::2] *= 0.01
    whole = log_expected_softmax(mean, variance)
    alone = np.vstack([log_expected_softmax(mean[i : i + 1], variance[i : i + 1]) for i in range(40)])
    np.testing.assert_allclose(alone, whole, rtol=1e-9, atol=1e-12)


def test_arrays_of_another_library():
    xp = pytest.importorskip("array_api_strict")
    for spread in (0.5, 80.0):
        mean, variance = potentials(4, spread)
        for function in (tilted, log_expected_softmax):
            there = function(xp.asarray(mean), xp.asarray(variance))
            assert type(there) is type(xp.asarray(mean))
            np.testing.assert_allclose(np.asarray(there), function(mean, variance), rtol=1e-9, atol=1e-12)


def test_single_and_double_precision_agree():
    mean, variance = potentials(10, 20, n_rows=200)
    single = log_expected_softmax(mean.astype(np.float32), variance.astype(np.float32))
    np.testing.assert_allclose(np.exp(single), np.exp(log_expected_softmax(mean, variance)), atol=2e-6)
    assert np.isfinite(single).all()
