"""Every registered prior: the density that a layer starts from."""

import numpy as np
import pytest
from scipy.stats import norm

from sk_epsnn.priors import PRIORS, WeightPrior
from sk_epsnn.weights import IndependentWeights, JointWeights

EVERY = pytest.mark.parametrize("name", sorted(PRIORS))
JOINT = pytest.mark.parametrize("joint", [False, True])
#: log-density of one weight with the prior's mean and variance; a new prior needs its own entry.
LOG_DENSITY = {"gaussian": lambda w, mean, variance: norm.logpdf(w, mean, np.sqrt(variance))}


def arguments():
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 4)), rng.uniform(0.2, 5.0, (3, 4))


def test_registry_names():
    assert all(issubclass(c, WeightPrior) and c.name == name for name, c in PRIORS.items())
    assert set(LOG_DENSITY) == set(PRIORS)


@EVERY
@JOINT
def test_moments_are_those_asked_for(name, joint):
    mean, variance = arguments()
    density = PRIORS[name]().density(mean, variance, joint)
    assert type(density) is (JointWeights if joint else IndependentWeights)
    moments = density.moments(1.0, np.dtype(float))
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-12)
    if joint:
        off_diagonal = moments.covariance * (1 - np.eye(4))
        np.testing.assert_array_equal(off_diagonal, 0)
        assert moments.covariance.shape == (3, 4, 4)


@EVERY
@JOINT
def test_density_is_the_prior(name, joint):
    """Differences of log q0 between two points, from the natural parameters, are those of the prior."""
    mean, variance = arguments()
    density = PRIORS[name]().density(mean, variance, joint)
    a, b = np.random.default_rng(1).standard_normal((2, 3, 4))
    log_ratio = ((a - b) * (density.shift - 0.5 * density.times(a + b))).sum()
    expected = (LOG_DENSITY[name](a, mean, variance) - LOG_DENSITY[name](b, mean, variance)).sum()
    np.testing.assert_allclose(log_ratio, expected, rtol=1e-12)


@EVERY
def test_units_and_inputs_are_not_mixed_up(name):
    """A wide layer and a narrow one: the matrices are (n_out, n_in, n_in)."""
    density = PRIORS[name]().density(np.zeros((2, 5)), np.arange(1.0, 11.0).reshape(2, 5), True)
    assert density.precision.shape == (2, 5, 5)
    np.testing.assert_allclose(np.diagonal(density.precision[1]), 1 / np.arange(6.0, 11.0), rtol=1e-15)
