"""Predictions against enumeration of all spikes, draws of weights, and networks of known weights."""

import numpy as np
import pytest
from sbnn_oracles import dense, over_steps, real, some_weights
from scipy.special import ndtr

from sk_epsnn.messages import observed
from sk_epsnn.sbnn.prediction import draw, moment_spread, needs_draws, network_spread
from sk_epsnn.sbnn.weights import Moments

ROWS = np.column_stack([np.random.default_rng(0).random((6, 4)), np.ones(6)])


def test_moments_of_one_hidden_layer_are_exact():
    """Spikes of different neurons are independent given the inputs: mean and variance are those of all patterns."""
    network = dense((4, 3, 2), output=real(2))
    weights = some_weights(network, ratio=4.0, seed=0)
    spread = moment_spread(network, weights, ROWS)
    fires = ndtr(ROWS @ weights[0].mean.T / np.sqrt(ROWS**2 @ weights[0].variance.T))
    patterns = np.array([[a, b, c, 1.0] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    law = np.where(patterns[:, :-1] > 0, fires[:, None], 1 - fires[:, None]).prod(axis=2)
    mean, inner = patterns @ weights[1].mean.T, patterns @ weights[1].variance.T
    np.testing.assert_allclose(spread.mean, law @ mean)
    np.testing.assert_allclose(spread.epistemic, law @ (mean**2 + inner) - (law @ mean) ** 2, rtol=1e-9)
    assert not spread.aleatoric.any()


def test_drawn_networks_have_the_moments():
    network = dense((4, 3, 2), output=real(2))
    weights = some_weights(network, ratio=4.0, seed=0)
    generator = np.random.default_rng(1)
    spreads = [network_spread(network, draw(weights, generator), observed(ROWS)) for _ in range(4000)]
    exact = moment_spread(network, weights, ROWS)
    means = np.array([spread.mean for spread in spreads])
    np.testing.assert_allclose(means.mean(axis=0), exact.mean, atol=0.03)
    inner = np.mean([spread.epistemic for spread in spreads], axis=0)
    np.testing.assert_allclose(means.var(axis=0) + inner, exact.epistemic, rtol=0.1)


def test_known_weights_make_known_spikes():
    network = dense((4, 3, 3, 2), streams=True)
    weights = [Moments(mean, None) for mean, _ in some_weights(network, ratio=4.0, seed=0)]
    spread = network_spread(network, weights, observed(ROWS))
    first = (ROWS @ weights[0].mean.T >= 0).astype(float)
    second = (np.column_stack([first, np.ones(6)]) @ weights[1].mean.T >= 0).astype(float)
    last = np.column_stack([first + second, np.ones(6)]) @ weights[2].mean.T
    np.testing.assert_allclose(spread.mean, last)
    assert not spread.epistemic.any()


def test_steps_by_hand():
    """Traces of spikes, step after step, and their mean."""
    network = over_steps((2, 3, 2), 3, leak=0.5)
    weights = [Moments(mean, None) for mean, _ in some_weights(network, ratio=4.0, seed=0)]
    X = np.random.default_rng(0).random((4, 3, 2))
    trace, spikes = np.zeros((4, 2)), []
    for step in range(3):
        trace = 0.5 * trace + 0.5 * X[:, step]
        spikes.append(np.column_stack([trace, np.ones(4)]) @ weights[0].mean.T >= 0)
    expected = np.column_stack([np.mean(spikes, axis=0), np.ones(4)]) @ weights[1].mean.T
    traces = network.hidden[0].connection.gather(X.reshape(4, -1))
    rows = observed(np.column_stack([traces, np.ones(12)]))
    np.testing.assert_allclose(network_spread(network, weights, rows).mean, expected)


@pytest.mark.parametrize(
    "network, expected",
    [
        (dense((4, 3, 2)), False),
        (dense((4, 3, 3, 3, 2), streams=True), True),
        (over_steps((2, 3, 2), 3), True),
        (dense((4, 2)), False),
    ],
)
def test_where_draws_are_needed(network, expected):
    assert needs_draws(network) is expected
