"""Messages: what they hold of spikes and of known numbers, and what a sample weight makes of them."""

import numpy as np
import pytest
from dense import spikes

from sk_epsnn.messages import Competition, Derivatives, WeightMoments, observed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_spikes(dtype):
    probability = np.random.default_rng(6).uniform(0.02, 0.98, (3, 4)).astype(dtype)
    inputs = spikes(probability, True)
    parts = inputs.mean, inputs.square, inputs.variance
    assert [part.shape for part in parts] == [(3, 5)] * 3
    assert {part.dtype for part in parts} == {np.dtype(dtype)}
    np.testing.assert_array_equal(inputs.mean[:, -1], 1)
    np.testing.assert_array_equal(inputs.variance[:, -1], 0)
    np.testing.assert_allclose(inputs.variance[:, :4], probability * (1 - probability), rtol=1e-5)
    np.testing.assert_allclose(inputs.square, inputs.mean**2, rtol=1e-6)


def test_spikes_are_their_own_squares():
    x = np.random.default_rng(0).integers(2, size=(5, 3)).astype(np.float32)
    assert observed(x).square is x
    np.testing.assert_array_equal(observed(2 * x).square, 4 * x)


def test_derivatives_times_weighs_samples():
    """A sample of weight 3 says what three copies of it say; weight 0 says nothing."""
    rng = np.random.default_rng(0)
    message = Derivatives(*rng.standard_normal((3, 4, 2)))
    weight = np.array([3.0, 0.0, 1.0, 0.5])
    for part, weighted in zip(message, message.times(weight), strict=True):
        for n in range(4):
            np.testing.assert_allclose(weighted[n], weight[n] * part[n], rtol=1e-15)


def test_weight_moments_about_another_mean():
    """In the dtype of the data, the covariances as they were."""
    ones = np.ones((2, 3), np.float32)
    moments = WeightMoments(ones, 2 * ones, None)
    moved = moments.with_mean(np.full((2, 3), 0.1))
    assert moved.mean.dtype == np.float32 and moved.variance is moments.variance and moved.covariance is None
    np.testing.assert_allclose(moved.mean, 0.1, rtol=1e-7)


def test_competition_is_its_matrix_in_every_row():
    """A sample of weight 0 has no curvature, and no numbers that are not finite."""
    rng = np.random.default_rng(0)
    p, sample_weight = rng.dirichlet(np.ones(4), 3), np.array([2.0, 0.0, 0.5])
    potentials = rng.standard_normal((3, 4))
    image = Competition(p).times(sample_weight).image(potentials)
    for n in range(3):
        matrix = sample_weight[n] * (np.diag(p[n]) - np.outer(p[n], p[n]))
        np.testing.assert_allclose(image[n], matrix @ potentials[n], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(Competition(p).image(potentials + 7.0), Competition(p).image(potentials), atol=1e-13)
