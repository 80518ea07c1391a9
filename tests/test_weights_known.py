"""Weights that are known: no variance, whatever is asked."""

import pickle

import numpy as np
import pytest

from sk_epsnn.weights import IndependentWeights, JointWeights, KnownWeights, LevelWeights


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_moments_of_known_weights(dtype, temperature):
    mean = np.array([[0.5, -2.0, 0.0]])
    moments = KnownWeights(mean).moments(temperature, np.dtype(dtype))
    np.testing.assert_array_equal(moments.mean, mean)
    np.testing.assert_array_equal(moments.variance, np.zeros((1, 3)))
    assert moments.covariance is None
    assert moments.mean.dtype == moments.variance.dtype == dtype


def test_known_weights_stay_what_they_are():
    """The limit of Gaussian weights of growing precision: mode, draws and products are the weights themselves."""
    mean = np.array([[0.5, -2.0, 0.0], [1.0, 3.0, -0.1]])
    weights, base = KnownWeights(mean), KnownWeights(np.zeros((2, 3)))
    assert weights.is_known and weights.is_proper
    assert weights.mode() is mean
    np.testing.assert_array_equal(weights.sample(1.0, np.random.RandomState(0)), mean)
    assert weights.power_blend(base, 0.3) is weights.power_blend(base, 1) is weights
    assert weights.power_blend(base, 0) is base
    again = pickle.loads(pickle.dumps(weights))
    np.testing.assert_array_equal(again.mean, mean)


def test_only_known_weights_are_known():
    assert not (IndependentWeights.is_known or JointWeights.is_known or LevelWeights.is_known)


def test_known_weights_have_no_natural_parameters():
    with pytest.raises(TypeError, match="no natural parameters"):
        KnownWeights(np.ones((1, 2))).with_natural(np.ones((1, 2)), np.ones((1, 2)))
