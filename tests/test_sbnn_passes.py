"""The reverse pass against differences of the loss, with relaxed spikes, for which everything is smooth."""

import numpy as np
import pytest
from sbnn_oracles import dense, differences, fixed_noise, over_steps, real, some_weights

from sk_epsnn.sbnn.options import Concrete, Rao, Surrogate
from sk_epsnn.sbnn.passes import backward, forward, spike_share
from sk_epsnn.sbnn.weights import Moments

RELAXED = Concrete(width=1.0)
NETWORKS = {
    "plain": (dense((5, 4, 4, 3)), 1),
    "streams": (dense((5, 4, 4, 4, 3), streams=True), 1),
    "steps": (over_steps((5, 4, 4, 3), 3), 3),
    "real": (dense((5, 4, 2), output=real(2)), 1),
}


def loss_and_gradients(network, weights, rows, target, lengths, penalty):
    """Loss with the same noise at every call, and the gradients by the reverse pass."""
    up = forward(network, RELAXED, weights, rows, lengths, fixed_noise(7))
    log_z, message = network.output.evidence(*up.layers[-1][2:], target, 0.0)
    shares = [spike_share(network, k, up.layers[k], weights[k]) for k in range(1, len(weights))]
    loss = -log_z.sum() + penalty * sum(shares)
    return loss, backward(network, weights, up, lengths, -message.g, 0.5 * message.kappa, penalty)


@pytest.mark.parametrize("penalty", [0.0, 0.7])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_reverse_pass_is_the_derivative(name, penalty):
    network, n_steps = NETWORKS[name]
    weights = some_weights(network, ratio=5.0, seed=1)
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.random((6 * n_steps, network.fan_ins[0] - 1)), np.ones(6 * n_steps)])
    target = rng.standard_normal((6, network.n_targets))
    if name != "real":
        target = np.where(target == target.max(axis=1, keepdims=True), 1.0, -1.0)
    lengths = np.array([3, 3, 2, 3, 1, 3]) if n_steps > 1 else None
    _, slopes = loss_and_gradients(network, weights, rows, target, lengths, penalty)
    for layer, moments in enumerate(weights):
        for kind in (0, 1):
            numbers = differences(
                lambda: loss_and_gradients(network, weights, rows, target, lengths, penalty)[0], moments[kind]
            )
            np.testing.assert_allclose(
                slopes[layer][kind], numbers, rtol=0, atol=1e-6 * np.abs(numbers).max(), err_msg=f"{layer} {kind}"
            )


def test_potentials_have_the_law_of_drawn_weights():
    """Local reparametrisation: a row's potentials are those of weights drawn from the posterior."""
    network = dense((3, 2), output=real(2))
    weights = some_weights(network, ratio=2.0, seed=0)
    rows = np.array([[0.5, -1.0, 2.0, 1.0]])
    up = forward(network, RELAXED, weights, rows, None, fixed_noise(0))
    rng = np.random.default_rng(1)
    drawn = weights[0].mean + np.sqrt(weights[0].variance) * rng.standard_normal((100_000, 2, 4))
    potentials = drawn @ rows[0]
    np.testing.assert_allclose(up.layers[0].mean[0], potentials.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(up.layers[0].variance[0], potentials.var(axis=0), rtol=0.02)


def test_without_noise_nothing_is_random_and_no_variance_has_a_gradient():
    network = dense((4, 3, 2))
    weights = [Moments(mean, None) for mean, _ in some_weights(network, ratio=1.0, seed=0)]
    rows = np.random.default_rng(0).random((5, 5))
    ups = [forward(network, Surrogate(), weights, rows, None, fixed_noise(seed)) for seed in (0, 1)]
    np.testing.assert_array_equal(ups[0].hidden[0].spikes, ups[1].hidden[0].spikes)
    slopes = backward(network, weights, ups[0], None, np.ones((5, 2)), None)
    assert all(slope.variance is None for slope in slopes)
    assert spike_share(network, 1, ups[0].layers[1], weights[1]) == np.inf


def test_share_of_spikes_by_hand():
    network = dense((2, 3, 2), output=real(2))
    weights = some_weights(network, ratio=4.0, seed=0)
    up = forward(network, Rao(), weights, np.ones((4, 3)), None, fixed_noise(0))
    spikes = up.hidden[0].spikes
    variance = np.column_stack([spikes, np.ones(4)]) ** 2 @ weights[1].variance.T
    expected = np.mean(np.square(weights[1].mean[:, :-1]).sum(axis=1) / 4 / variance)
    assert spike_share(network, 1, up.layers[1], weights[1]) == pytest.approx(expected, rel=1e-12)
