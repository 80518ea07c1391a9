"""What deeper layers over steps start from: how often neurons fire, and how far traces of their spikes spread."""

import numpy as np
import pytest
from states import design

from sk_epsnn.connections import Filter, Readout
from sk_epsnn.course import Rows
from sk_epsnn.ep.setup import set_up
from sk_epsnn.network import Layer, Network
from sk_epsnn.neurons import Heaviside
from sk_epsnn.outputs import SigmoidOutput

N, N_STEPS, LEAK, VARIANCE = 80, 10, 0.9, 3.0
FLOAT = np.dtype(float)


def start(X, weight, leak=LEAK):
    """Twelve neurons that see single steps, eight that remember their spikes."""
    layers = (Layer(Filter(12, 3), Heaviside()), Layer(Filter(8, 12, leak, centers=True), Heaviside()))
    network = Network(layers, Readout(1, 8), SigmoidOutput(), True, X.shape[1])
    plan = design(3, hidden_variance=VARIANCE, bias_share=0.1, center=True, anchor=0.7)
    return set_up(network, plan, Rows(X, np.ones((len(X), 1)), weight), np.random.RandomState(0))


def signals(seed=0, n_steps=N_STEPS):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, n_steps, 3)) + rng.standard_normal((N, 1, 3))
    return X, rng.uniform(0.5, 2, N)


def drawn_spikes(state, X, n_draws=2_000, seed=1):
    """Spikes of the first layer under weights from its start, shape (n_draws, n, n_steps, 12)."""
    moments = state.layers[0].posterior.moments(1.0, FLOAT)
    rng = np.random.default_rng(seed)
    weights = moments.mean + np.sqrt(moments.variance) * rng.standard_normal((n_draws, *moments.mean.shape))
    entered = state.network.enter(X.reshape(len(X), -1)).mean.reshape(*X.shape[:2], -1)
    return np.einsum("nti,dki->dntk", entered, weights) >= 0


def followed(spikes):
    """Traces from nothing, by their recursion."""
    trace, steps = np.zeros_like(spikes[:, :, 0]), []
    for step in range(spikes.shape[2]):
        trace = LEAK * trace + (1 - LEAK) * spikes[:, :, step]
        steps.append(trace)
    return np.stack(steps, axis=2)


def test_centres_are_how_often_neurons_fire_and_potentials_have_their_prior_variance():
    """Averaged over the rows, their steps and draws of the weights below; traces have mean 0 at first."""
    X, weight = signals()
    state = start(X.reshape(N, -1), weight)
    share = weight / weight.sum()
    spikes = drawn_spikes(state, X)
    rates = np.einsum("n,dntk->k", share, spikes) / (len(spikes) * N_STEPS)
    center = state.network.connections[1].center
    np.testing.assert_allclose(center, rates, atol=0.01)
    square = np.einsum("n,dntk->k", share, followed(spikes - center) ** 2) / (len(spikes) * N_STEPS)
    variance = state.layers[1].prior.moments(1.0, FLOAT).variance
    np.testing.assert_allclose(variance[:, :-1] @ square + variance[:, -1], VARIANCE, rtol=0.1)
    np.testing.assert_allclose(variance[:, -1], 0.1 * VARIANCE)
    np.testing.assert_array_equal(state.layers[1].posterior.moments(1.0, FLOAT).mean[:, -1], 0)


@pytest.mark.parametrize("absent", ["steps", "rows"])
def test_what_does_not_count_is_not_measured(absent):
    """Steps after the end of a sample, and rows without weight."""
    X, weight = signals()
    other = signals(seed=1)[0]
    if absent == "steps":
        X[:40, 6:] = np.nan
        state = start(X.reshape(N, -1), weight)
        spikes = drawn_spikes(state, np.where(np.isnan(X), 0.0, X))
        mask = ~np.isnan(X[:, :, 0]) * weight[:, None]
        rates = np.einsum("nt,dntk->k", mask, spikes) / (len(spikes) * mask.sum())
        np.testing.assert_allclose(state.network.connections[1].center, rates, atol=0.01)
        return
    both = np.concatenate([X] + [other] * 6).reshape(7 * N, -1)
    found = start(both, np.concatenate([weight, np.zeros(6 * N)]))
    alone = start(X.reshape(N, -1), weight)
    np.testing.assert_allclose(found.network.connections[1].center, alone.network.connections[1].center, rtol=1e-9)
    np.testing.assert_allclose(
        found.layers[1].prior.moments(1.0, FLOAT).variance, alone.layers[1].prior.moments(1.0, FLOAT).variance
    )


def test_single_spikes_are_read_as_they_are():
    X, weight = signals()
    state = start(X.reshape(N, -1), weight, leak=0.0)
    variance = state.layers[1].prior.moments(1.0, FLOAT).variance
    np.testing.assert_allclose(0.5 * 13 * variance, VARIANCE)
