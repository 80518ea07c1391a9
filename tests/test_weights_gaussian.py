"""Both Gaussian families against densities written out and against each other."""

import pickle

import numpy as np
import pytest
from families import FAMILIES, N_IN, N_OUT, diagonal_pair, log_density, matrices, random_weights

from sk_epsnn.weights import IndependentWeights, JointWeights


@FAMILIES
def test_natural_parameters_round_trip(family):
    weights = random_weights(family, 0)
    expected = np.stack([p @ m for p, m in zip(matrices(weights), weights.mean, strict=True)])
    np.testing.assert_allclose(weights.shift, expected, rtol=1e-12)
    again = family.from_natural(weights.precision, weights.shift)
    assert type(again) is family
    np.testing.assert_array_equal(again.precision, weights.precision)
    np.testing.assert_allclose(again.mean, weights.mean, rtol=1e-10)


@FAMILIES
@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.9, 1.0, 1.2])
def test_power_blend_is_a_product_of_powers(family, exponent):
    """log of ``base (self/base)**e`` minus the blend's log is the same constant at every point."""
    weights, base = random_weights(family, 1), random_weights(family, 2)
    # A power beyond 1 needs what it extrapolates to be proper: make self the sharper one.
    weights = family(weights.precision + base.precision, weights.mean)
    blend = weights.power_blend(base, exponent)
    points = np.random.default_rng(3).standard_normal((20, N_IN))
    for unit in range(N_OUT):
        one, other = log_density(weights, unit, points), log_density(base, unit, points)
        excess = other + exponent * (one - other) - log_density(blend, unit, points)
        np.testing.assert_allclose(excess, excess[0], rtol=0, atol=1e-9)


@FAMILIES
def test_power_blend_ends(family):
    weights, base = random_weights(family, 1), random_weights(family, 2)
    assert weights.power_blend(base, 1) is weights
    assert weights.power_blend(base, 0) is base


@FAMILIES
def test_cavity_times_removed_factor_is_the_posterior(family):
    """Eq. 33: the cavity of one of B batches, multiplied by 1/B of the data factor, is q again."""
    posterior, prior, n_batches = random_weights(family, 4), random_weights(family, 5), 7
    posterior = family(posterior.precision + prior.precision, posterior.mean)
    cavity = posterior.power_blend(prior, 1 - 1 / n_batches)
    factor = (posterior.precision - prior.precision) / n_batches, (posterior.shift - prior.shift) / n_batches
    again = family.from_natural(cavity.precision + factor[0], cavity.shift + factor[1])
    np.testing.assert_allclose(again.precision, posterior.precision, rtol=1e-12)
    np.testing.assert_allclose(again.mean, posterior.mean, rtol=1e-9)


@FAMILIES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_moments(family, dtype, temperature):
    weights = random_weights(family, 8)
    moments = weights.moments(temperature, np.dtype(dtype))
    covariance = temperature * np.stack([np.linalg.inv(p) for p in matrices(weights)])
    rtol = 1e-10 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(moments.mean, weights.mean, rtol=rtol)
    np.testing.assert_allclose(moments.variance, np.diagonal(covariance, axis1=1, axis2=2), rtol=rtol)
    if family is IndependentWeights:
        assert moments.covariance is None
    else:
        np.testing.assert_allclose(moments.covariance, covariance, rtol=10 * rtol, atol=rtol)
        assert moments.covariance.dtype == dtype
    assert moments.mean.dtype == moments.variance.dtype == dtype
    assert weights.mean.dtype == weights.precision.dtype == np.float64


@pytest.mark.parametrize("exponent", [0.4, 0.95])
def test_joint_with_diagonal_precision_equals_independent(exponent):
    (one, one_joint), (base, base_joint) = diagonal_pair(9), diagonal_pair(10)
    vectors = np.random.default_rng(11).standard_normal((N_OUT, N_IN))
    np.testing.assert_allclose(one_joint.times(vectors), one.times(vectors), rtol=1e-13)
    blend, blend_joint = one.power_blend(base, exponent), one_joint.power_blend(base_joint, exponent)
    np.testing.assert_allclose(matrices(blend_joint), matrices(blend), rtol=1e-13)
    np.testing.assert_allclose(blend_joint.mean, blend.mean, rtol=1e-12)
    moments, moments_joint = (w.moments(0.5, np.dtype(float)) for w in (blend, blend_joint))
    np.testing.assert_allclose(moments_joint.variance, moments.variance, rtol=1e-12)


@FAMILIES
def test_mode_of_a_gaussian_is_its_mean(family):
    weights = random_weights(family, 12)
    np.testing.assert_array_equal(weights.mode(), weights.mean)


@FAMILIES
def test_another_mean(family):
    weights = random_weights(family, 1)
    moved = weights.with_mean(weights.mean + 1)
    assert type(moved) is family
    assert moved.precision is weights.precision
    np.testing.assert_array_equal(moved.mean, weights.mean + 1)


def test_joint_weights_about_another_mean_keep_the_inverse():
    """It is worked out once, however often the mean moves, and files stay without it."""
    weights = random_weights(JointWeights, 1)
    assert "covariance" not in vars(weights.with_mean(weights.mean))
    covariance, log_determinant = weights.covariance, weights.log_determinant
    moved = weights.with_mean(weights.mean + 1)
    assert vars(moved)["covariance"] is covariance and vars(moved)["log_determinant"] == log_determinant
    again = pickle.loads(pickle.dumps(moved))
    assert set(vars(again)) == {"precision", "mean"}
    np.testing.assert_array_equal(again.mean, weights.mean + 1)
    np.testing.assert_allclose(covariance @ weights.precision, [np.eye(N_IN)] * N_OUT, rtol=0, atol=1e-12)
