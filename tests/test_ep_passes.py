"""Forward and backward pass against closed forms, all spike patterns, finite differences and fixed-seed draws."""

from dataclasses import replace

import numpy as np
import oracles
import pytest
from potentials import GRID, grid
from scipy.special import expit, logit
from scipy.stats import norm
from states import OBSERVED, STATE_FAMILIES, Steps, random_rows, random_state, random_targets, with_layer, with_levels

from sk_epsnn.connections import Dense
from sk_epsnn.ep import mixing
from sk_epsnn.ep.passes import (
    backward,
    by_sample,
    forward,
    log_partition,
    neuron_message,
    potentials,
    predict,
    predict_spread,
    row_weights,
)
from sk_epsnn.ep.sites import LOG_RATIO_BOUND, UpdateCounts
from sk_epsnn.ep.state import KNOWN_VARIANCE_FLOOR, VARIANCE_FLOOR
from sk_epsnn.messages import SpikeMoments, observed
from sk_epsnn.network import Layer
from sk_epsnn.neurons import NEURONS
from sk_epsnn.weights import IndependentWeights, JointWeights, find_lattice

#: Those with a memory have the same laws.
LAWS = sorted(name for name, neuron in NEURONS.items() if not neuron.has_memory)
EVERY = pytest.mark.parametrize("name", LAWS)
HIDDEN = pytest.mark.parametrize("hidden", LAWS)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
FLOAT = np.dtype(float)


def fire_probability(hidden, mean, variance):
    """``P(v = 1)`` of each unit given the moments of its potential, by quadrature."""
    law = oracles.SPIKE_LAWS[hidden]
    pairs = np.broadcast_arrays(mean, variance)
    flat = [
        oracles.expectation(law.probability, m, s, law.breaks) for m, s in zip(*(p.ravel() for p in pairs), strict=True)
    ]
    return np.reshape(flat, pairs[0].shape)


def one_unit_moments(weights, x):
    """Mean and variance of every potential for one known input."""
    return weights.mean @ x, weights.variance @ x**2


# Upward


def test_one_layer():
    state, x = random_state([4, 3]), random_rows(6, 4)
    weights = state.moments(FLOAT)
    last = predict(state, observed(x), weights)
    for n in range(6):
        mean, variance = one_unit_moments(weights[0], x[n])
        np.testing.assert_allclose(last.mean[n], mean, rtol=1e-12)
        np.testing.assert_allclose(last.variance[n], variance, rtol=1e-12)
    np.testing.assert_array_equal(last.from_weights, last.variance)


def test_potentials_have_a_floor():
    state = random_state([4, 3])
    silent = potentials(state, 0, observed(np.zeros((2, 4))), state.moments(FLOAT)[0])
    np.testing.assert_array_equal(silent.variance, VARIANCE_FLOOR)
    np.testing.assert_array_equal(silent.from_weights, 0)


def test_potentials_take_a_known_mean():
    state, x = random_state([4, 3]), random_rows(2, 4)
    weights = state.moments(FLOAT)[0]
    known = np.full((2, 3), 7.0)
    given, computed = potentials(state, 0, observed(x), weights, known), potentials(state, 0, observed(x), weights)
    assert given.mean is known
    np.testing.assert_array_equal(given.variance, computed.variance)


@HIDDEN
@pytest.mark.parametrize("constant", [False, True])
def test_two_layers_against_all_patterns(hidden, constant):
    """Given the input, the spikes of one hidden layer are independent: mean and variance of the output are exact.

    Only its Gaussian shape is an approximation. Largest error of the output probability over these 5 rows and 2
    units, 6 hidden units with weights 1/sqrt(fan_in): measured .021 (heaviside) and .013 (sigmoid).
    """
    state, x = random_state([4, 6, 2], hidden, "heaviside", constant=constant), random_rows(5, 4)
    first, last = state.moments(FLOAT)
    up = forward(state, observed(x), [first, last])
    for n in range(5):
        probability = fire_probability(hidden, *one_unit_moments(first, x[n]))
        np.testing.assert_allclose(up.spikes[0].probability[n], probability, rtol=0, atol=1e-8)
        patterns, mass = oracles.spike_patterns(probability)
        if constant:
            patterns = np.hstack([patterns, np.ones((len(patterns), 1))])
        for i in range(2):
            exact = oracles.potential_moments(patterns, mass, last.mean[i], np.diag(last.variance[i]))
            found = up.potentials[1].mean[n, i], up.potentials[1].variance[n, i]
            np.testing.assert_allclose(found, exact, rtol=1e-7)
            if constant:  # without it a silent layer leaves no potential at all
                fires = mass @ norm.cdf(patterns @ last.mean[i] / np.sqrt(patterns**2 @ last.variance[i]))
                np.testing.assert_allclose(norm.cdf(found[0] / np.sqrt(found[1])), fires, rtol=0, atol=0.03)


def test_three_layers_against_all_patterns():
    """Spikes of a second hidden layer share their inputs, which the pass ignores: means and variances approximate.

    Measured for 7 and 5 hidden units, 4 rows, 2 outputs: probabilities of the second layer within .018, output
    means within .009 and variances within 2 % (the shared part of the variance is missing).
    """
    state, x = random_state([3, 7, 5, 2], "heaviside"), random_rows(4, 3)
    weights = state.moments(FLOAT)
    up = forward(state, observed(x), weights)
    for n in range(4):
        below, mass = oracles.spike_patterns(fire_probability("heaviside", *one_unit_moments(weights[0], x[n])))
        below = np.hstack([below, np.ones((len(below), 1))])
        fires = norm.cdf(below @ weights[1].mean.T / np.sqrt(below @ weights[1].variance.T))
        np.testing.assert_allclose(up.spikes[1].probability[n], mass @ fires, rtol=0, atol=0.03)
        total = np.zeros((2, 2))
        for chance, probability in zip(mass, fires, strict=True):
            patterns, share = oracles.spike_patterns(probability)
            patterns = np.hstack([patterns, np.ones((len(patterns), 1))])
            for i in range(2):
                center = patterns @ weights[2].mean[i]
                total[i] += chance * np.array([share @ center, share @ (center**2 + patterns @ weights[2].variance[i])])
        variance = total[:, 1] - total[:, 0] ** 2
        np.testing.assert_allclose(up.potentials[2].mean[n], total[:, 0], rtol=0, atol=0.015)
        np.testing.assert_allclose(up.potentials[2].variance[n], variance, rtol=0.04)


def test_forward_takes_known_first_potentials():
    state, x = random_state([4, 5, 2]), random_rows(3, 4)
    weights = state.moments(FLOAT)
    other = potentials(state, 0, observed(x + 1), weights[0])
    up = forward(state, observed(x), weights, first=other)
    assert up.potentials[0] is other
    expected = predict(state, observed(x + 1), weights)
    np.testing.assert_array_equal(up.potentials[1].mean, expected.mean)


@HIDDEN
def test_forward_multiplies_in_the_messages_from_above(hidden):
    state, x = random_state([4, 5, 2], hidden), random_rows(3, 4)
    weights = state.moments(FLOAT)
    ratio = np.random.default_rng(3).uniform(-3, 3, (3, 5))
    plain, cavity = forward(state, observed(x), weights), forward(state, observed(x), weights, log_ratios=[ratio])
    p = plain.spikes[0].probability
    expected = p * np.exp(ratio) / (p * np.exp(ratio) + 1 - p)
    np.testing.assert_allclose(cavity.inputs[1].mean[:, :5], expected, rtol=1e-9)
    # What the hidden layer itself predicts is untouched: the message goes into its spikes, not into its moments.
    np.testing.assert_array_equal(cavity.spikes[0].probability, p)
    nothing = forward(state, observed(x), weights, log_ratios=[np.zeros((3, 5))])
    np.testing.assert_allclose(nothing.potentials[1].mean, plain.potentials[1].mean, rtol=1e-12)


def test_forward_survives_certain_spikes():
    state, x = random_state([4, 5, 2], spread=1e-6), 50 * random_rows(3, 4)
    up = forward(state, observed(x), state.moments(FLOAT), log_ratios=[np.full((3, 5), -LOG_RATIO_BOUND)])
    assert np.isfinite(up.potentials[1].mean).all()
    np.testing.assert_allclose(up.inputs[1].mean[:, :5], expit(logit(up.spikes[0].probability)), rtol=0, atol=1e-3)


@pytest.mark.parametrize("output", [*sorted(OBSERVED), "gaussian"])
def test_float32_is_kept(output):
    state, x = random_state([4, 5, 3, 2], output=output), random_rows(6, 4).astype(np.float32)
    weights = state.moments(x.dtype)
    up = forward(state, observed(x), weights, log_ratios=[np.ones((6, 5), np.float32), np.ones((6, 3), np.float32)])
    log_z, down, log_ratios, _ = backward(state, up, random_targets(6, 2).astype(np.float32), weights, UpdateCounts())
    spread = predict_spread(state, observed(x), weights)
    flat = [log_z, *log_ratios, *spread]
    spikes = [(entering.mean, entering.square, entering.variance) for entering in up.inputs[1:]]
    flat += [part for group in (*spikes, *up.potentials, *up.spikes, *down) for part in group]
    assert {part.dtype for part in flat} == {np.dtype(np.float32)}


# Downward


@HIDDEN
@pytest.mark.parametrize("output, power", [("sigmoid", 1.0), ("sigmoid", 0.0), ("gaussian", 0.5), ("heaviside", 1.0)])
def test_log_partition_is_that_of_the_backward_pass(hidden, output, power):
    state, x = random_state([4, 5, 2], hidden, output, power=power), random_rows(6, 4)
    weights, target = state.moments(FLOAT), random_targets(6, 2)
    up = forward(state, observed(x), weights)
    log_z, down, log_ratios, _ = backward(state, up, target, weights, UpdateCounts())
    last = up.potentials[-1]
    np.testing.assert_allclose(log_partition(state, last, target), log_z, rtol=1e-12)
    each = state.network.output.log_partition(last.mean, last.variance, target, power)
    np.testing.assert_allclose(log_z, each.sum(1), rtol=1e-12)
    assert [part.g.shape for part in down] == [(6, 5), (6, 2)]
    assert [ratio.shape for ratio in log_ratios] == [(6, 5)]


def plain_log_ratio(down, weights, probability):
    """Message of a dense layer to its spikes, to first order in each unit's share, written out."""
    n = probability.shape[1]
    mean, variance = weights.mean[:, :n], weights.variance[:, :n]
    return down.g @ mean - (0.5 - probability) * (down.gamma @ mean**2) - 0.5 * (down.kappa @ variance)


def test_messages_come_in_the_order_of_the_layers():
    state, x = random_state([4, 5, 3, 2]), random_rows(6, 4)
    weights = state.moments(FLOAT)
    up = forward(state, observed(x), weights)
    _, down, log_ratios, _ = backward(state, up, random_targets(6, 2), weights, UpdateCounts())
    assert [ratio.shape for ratio in log_ratios] == [(6, 5), (6, 3)]
    assert [part.g.shape for part in down] == [(6, 5), (6, 3), (6, 2)]
    for index in (0, 1):
        expected = plain_log_ratio(down[index + 1], weights[index + 1], up.spikes[index].probability)
        np.testing.assert_allclose(log_ratios[index], expected, rtol=1e-12)


def total_log_z(state, weights, x, target, index, mean):
    moved = list(weights)
    moved[index] = weights[index]._replace(mean=mean)
    return float(log_partition(state, predict(state, observed(x), moved), target).sum())


@pytest.mark.parametrize("output, power", [("sigmoid", 0.0), ("gaussian", 0.0)])
def test_gradient_in_the_last_layer_is_exact(output, power):
    """Power 0 keeps kappa positive, so that nothing of the cost of uncertain spikes is clipped."""
    state, x = random_state([4, 6, 2], "sigmoid", output, power=power), random_rows(5, 4)
    weights, target = state.moments(FLOAT), random_targets(5, 2)
    up = forward(state, observed(x), weights)
    _, down, _, _ = backward(state, up, target, weights, UpdateCounts())
    noise = mixing.spike_noise(down[1], up.inputs[1])
    found = mixing.mean_gradient(down[1], up.inputs[1], weights[1].mean, noise)
    exact = oracles.gradient(lambda mean: total_log_z(state, weights, x, target, 1, mean), weights[1].mean)
    np.testing.assert_allclose(found, exact, rtol=1e-7, atol=1e-9)


@HIDDEN
@pytest.mark.parametrize("output, power", [("sigmoid", 1.0), ("sigmoid", 0.0), ("heaviside", 1.0), ("gaussian", 1.0)])
def test_gradient_in_the_first_layer(hidden, output, power):
    """The message that reaches the first layer is the gradient of log Z, up to the size of one unit's share.

    200 hidden units, so each message to a spike is of order 1/sqrt(200). Measured: cosine above .999, length
    within 1 %; both errors shrink with the width (800 units: .99996). Power 0 with little noise sends the largest
    messages and is the least accurate: noise 0.3 gave .97 with 200 units and .994 with 800.
    """
    state, x = random_state([3, 200, 2], hidden, output, power=power), random_rows(8, 3)
    weights, target = state.moments(FLOAT), random_targets(8, 2)
    up = forward(state, observed(x), weights)
    _, down, _, _ = backward(state, up, target, weights, UpdateCounts())
    found = mixing.mean_gradient(down[0], up.inputs[0], weights[0].mean, 0.0)
    exact = oracles.gradient(lambda mean: total_log_z(state, weights, x, target, 0, mean), weights[0].mean)
    sizes = np.linalg.norm(found), np.linalg.norm(exact)
    assert (found * exact).sum() / (sizes[0] * sizes[1]) > 0.998
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=0.02)


def test_backward_counts_bounded_messages():
    state, x = random_state([4, 3, 1], output="gaussian"), random_rows(20, 4)
    weights = state.moments(FLOAT)
    up = forward(state, observed(x), weights)
    counts = UpdateCounts()
    _, down, (ratio,), _ = backward(state, up, np.full((20, 1), 200.0), weights, counts)
    plain = plain_log_ratio(down[1], weights[1], up.spikes[0].probability)
    assert np.abs(ratio).max() == LOG_RATIO_BOUND
    assert counts == UpdateCounts(bounded_log_ratios=int((np.abs(plain) > LOG_RATIO_BOUND).sum()))
    assert counts.bounded_log_ratios > 0


# Spread of the predictions


@HIDDEN
@pytest.mark.parametrize("sizes", [[4, 2], [4, 6, 2], [4, 6, 5, 2]], ids=["1 layer", "2 layers", "3 layers"])
def test_spread_sums_to_the_predicted_variance(hidden, sizes):
    state, x = random_state(sizes, hidden), random_rows(7, 4)
    weights = state.moments(FLOAT)
    plain, spread = predict(state, observed(x), weights), predict_spread(state, observed(x), weights)
    np.testing.assert_array_equal(spread.mean, plain.mean)
    np.testing.assert_allclose(spread.epistemic + spread.aleatoric, plain.variance, rtol=1e-12)
    assert (spread.epistemic >= 0).all()
    assert (spread.aleatoric >= 0).all()
    if hidden == "heaviside" or len(sizes) == 2:
        np.testing.assert_array_equal(spread.aleatoric, 0)
    else:
        assert (spread.aleatoric > 0).all()


@pytest.mark.parametrize("joint", [False, True])
def test_spread_against_draws(joint):
    """Variance over weights of the mean potential, and mean over weights of its variance, from the definition."""
    state, x = random_state([3, 5, 1], "sigmoid", spread=4.0), random_rows(2, 3)
    first, last = (layer.posterior for layer in state.layers)
    if joint:
        root = np.random.default_rng(4).standard_normal((1, 6, 6))
        last = JointWeights(root @ root.swapaxes(1, 2) + np.eye(6), last.mean)
        state = with_layer(state, 1, prior=last, posterior=last)
    spread = predict_spread(state, observed(x), state.moments(FLOAT))
    rng, n_draws = np.random.default_rng(5), 200_000
    w1 = first.mean + rng.standard_normal((n_draws, 5, 3)) / np.sqrt(first.precision)
    covariance = np.linalg.inv(last.precision[0]) if joint else np.diag(1 / last.precision[0])
    w2 = rng.multivariate_normal(last.mean[0], covariance, n_draws)
    for n in range(2):
        fires = expit(w1 @ x[n])
        center = (w2[:, :5] * fires).sum(1) + w2[:, 5]
        noise = (w2[:, :5] ** 2 * fires * (1 - fires)).sum(1)
        # Monte Carlo errors of 200,000 draws: .3 % of a variance, less of a mean.
        np.testing.assert_allclose(spread.epistemic[n, 0], center.var(), rtol=0.015)
        np.testing.assert_allclose(spread.aleatoric[n, 0], noise.mean(), rtol=0.01)
        np.testing.assert_allclose(spread.mean[n, 0], center.mean(), rtol=0, atol=0.01)


# Known weights


@pytest.mark.parametrize("family", sorted(STATE_FAMILIES))
@HIDDEN
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_known_network_has_the_most_probable_weights(family, hidden, dtype):
    """A threshold is then exact; a sigmoid leaves the variance of its spikes."""
    state, x = STATE_FAMILIES[family](random_state([4, 6, 2], hidden)), random_rows(30, 4).astype(dtype)
    known = state.known()
    assert known.is_known and not state.is_known
    first, last = (layer.posterior.mode() for layer in state.layers)
    weights = known.moments(x.dtype)
    for moments, most in zip(weights, (first, last), strict=True):
        np.testing.assert_array_equal(moments.mean, most.astype(dtype))
        np.testing.assert_array_equal(moments.variance, 0)
        assert moments.covariance is None
    up = forward(known, observed(x), weights)
    potential = x @ first.T
    exact = potential >= 0 if hidden == "heaviside" else expit(potential)
    # The mixture of probits is within 1e-8 of a sigmoid.
    rtol = 3e-8 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(up.spikes[0].probability, exact, rtol=0, atol=0 if hidden == "heaviside" else rtol)
    found = up.potentials[1]
    np.testing.assert_allclose(found.mean, exact @ last[:, :6].T + last[:, 6], rtol=rtol, atol=10 * rtol)
    expected = (exact * (1 - exact)) @ (last[:, :6] ** 2).T if hidden == "sigmoid" else np.zeros((30, 2))
    np.testing.assert_allclose(found.variance, np.maximum(expected, KNOWN_VARIANCE_FLOOR), rtol=100 * rtol)
    assert {part.dtype for part in found} == {np.dtype(dtype)}


def test_ties_of_known_weights_fire():
    """Every pattern of four input spikes, weights -1 and 1, no bias: a potential of 0 fires, silence included."""
    state = with_levels(random_state([4, 6, 3], "heaviside", "heaviside", constant=False)).known()
    x, _ = oracles.spike_patterns(np.full(4, 0.5))
    first, last = (layer.posterior.mean for layer in state.layers)
    potential = x @ first.T
    hidden = potential >= 0
    output = hidden @ last.T
    assert (potential == 0).any() and (output == 0).any()
    # Spikes that are known have no variance, like the weights.
    inputs = Dense(6).spikes(x, False)
    up = forward(state, inputs, state.moments(FLOAT))
    np.testing.assert_array_equal(up.spikes[0].probability, hidden)
    target = np.where(output >= 0, 1.0, -1.0)
    np.testing.assert_allclose(log_partition(state, up.potentials[-1], target), 0, rtol=0, atol=1e-12)


def test_potentials_on_a_lattice():
    """Only a layer's own lattice counts, it moves the mean alone, and not a mean that is known already."""
    state = with_levels(random_state([4, 6, 2], constant=False), levels=(-0.5, 0.5, 1.5))
    state = with_layer(state, 0, lattice=None)
    weights = state.moments(FLOAT)
    probability = np.random.default_rng(7).uniform(0.1, 0.9, (5, 6))
    probability[4] = [1, 0, 1, 0, 0, 0]
    inputs = Dense(2).spikes(probability, False)
    found = potentials(state, 1, inputs, weights[1])
    for n in range(5):
        patterns, mass = oracles.spike_patterns(probability[n])
        even = mass @ (patterns.sum(1) % 2 == 0)
        for i in range(2):
            mean, variance = oracles.potential_moments(
                patterns, mass, weights[1].mean[i], np.diag(weights[1].variance[i])
            )
            np.testing.assert_allclose(found.mean[n, i], mean + 0.5 * even, rtol=1e-12)
            np.testing.assert_allclose(found.variance[n, i], variance, rtol=1e-12)
    known = np.full((5, 2), 7.0)
    assert potentials(state, 1, inputs, weights[1], known).mean is known
    binary = observed(np.eye(4))
    np.testing.assert_allclose(potentials(state, 0, binary, weights[0]).mean, weights[0].mean.T, rtol=1e-13)
    state = with_layer(state, 0, lattice=find_lattice(np.array([-1.0, 0.0, 1.0])))
    np.testing.assert_allclose(potentials(state, 0, binary, weights[0]).mean, weights[0].mean.T + 0.5, rtol=1e-13)


# Layers that read their inputs in several rows


def in_stretches(seed=9):
    """Layers of 3 and 2 neurons, each along stretches of their inputs, and the dense network that does the same.

    Twelve inputs in stretches of 4 give 3 rows of 3 spikes, these in stretches of 3 again 3 rows of 2 spikes.
    """
    tied = random_state([4, 3, 2, 2], "sigmoid", constant=False, seed=seed)
    hidden = (Layer(Steps(3, 4), NEURONS["sigmoid"]()), Layer(Steps(2, 3), NEURONS["sigmoid"]()))
    rng = np.random.default_rng(seed)
    last = IndependentWeights(rng.uniform(2, 9, (2, 6)), rng.standard_normal((2, 6)))
    tied = with_layer(tied, 2, prior=last, posterior=last)
    tied = replace(tied, network=replace(tied.network, hidden=hidden, n_inputs=12))
    dense = random_state([12, 9, 6, 2], "sigmoid", constant=False)
    for index, layer in enumerate(tied.layers[:2]):
        mean, variance = (np.kron(np.eye(3), part) for part in layer.moments(FLOAT)[:2])
        # Weights that the neurons do not have are known to be 0, as far as a precision can say it.
        with np.errstate(divide="ignore"):
            wide = IndependentWeights(np.where(variance > 0, 1 / variance, 1e30), mean)
        dense = with_layer(dense, index, prior=wide, posterior=wide)
    return tied, with_layer(dense, 2, prior=last, posterior=last)


def test_stretches_are_a_dense_network_with_weights_of_0():
    """Means, variances and messages of every row are those of the neurons of a dense layer that has the same ones."""
    tied, dense = in_stretches()
    x, target = random_rows(5, 12), random_targets(5, 2)
    assert tied.network.n_rows == (3, 3, 1) and dense.network.sizes == tied.network.sizes == (12, 9, 6)
    rng = np.random.default_rng(10)
    ratios = [rng.uniform(-2, 2, (5, 9)), rng.uniform(-2, 2, (5, 6))]
    found, expected = [], []
    for state, collected, first in ((tied, found, x.reshape(15, 4)), (dense, expected, x)):
        weights = state.moments(FLOAT)
        for log_ratios in (None, ratios):
            up = forward(state, observed(first), weights, log_ratios=log_ratios)
            log_z, down, below, _ = backward(state, up, target, weights, UpdateCounts())
            collected += [part.reshape(5, -1) for here in up.potentials for part in here]
            collected += [log_z, *below, *(part.reshape(5, -1) for message in down for part in message)]
        collected += [*predict_spread(state, observed(first), weights)]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_spread_of_a_readout_in_stretches():
    """Where the stretches of all layers are the same ones, every stretch might as well be a sample of its own."""
    tied, _ = in_stretches()
    tied = replace(tied, network=replace(tied.network, hidden=tied.network.hidden[:1], readout=Steps(2, 3)))
    tied = tied.with_layers(tied.layers[:2])
    x = random_rows(5, 12).reshape(15, 4)
    alone = replace(tied, network=replace(tied.network, n_inputs=4))
    for a, b in zip(
        predict_spread(tied, observed(x), tied.moments(FLOAT)),
        predict_spread(alone, observed(x), alone.moments(FLOAT)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        assert a.shape == (15, 2)


def test_rows_have_the_weight_of_their_sample():
    tied, _ = in_stretches()
    weight = np.array([0.5, 2.0])
    several = np.array([0.5, 0.5, 0.5, 2.0, 2.0, 2.0])
    for found, expected in zip(row_weights(tied, weight), (several, several, weight), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_by_sample_keeps_the_order():
    values = np.arange(12.0).reshape(6, 2)
    wide = by_sample(values, 6)
    np.testing.assert_array_equal(wide, [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])
    np.testing.assert_array_equal(by_sample(wide, 2), values)
    assert by_sample(values, 2) is values


# Messages through every registered neuron: moments of the tilted distribution, derivatives, limits, symmetry


@EVERY
@pytest.mark.parametrize("log_ratio", [-10.0, -2.0, -0.3, 0.1, 1.5, 8.0])
def test_neuron_message(name, log_ratio):
    law, neuron = oracles.SPIKE_LAWS[name], NEURONS[name]()
    pairs = [(m, s) for m, s in GRID if abs(m) < 6 * np.sqrt(s)]
    mean, variance = grid(pairs)
    down = neuron_message(neuron.forward(mean, variance), np.full_like(mean, log_ratio))
    g, gamma, kappa = (part[:, 0] for part in down)
    for row, (m, s) in enumerate(pairs):
        sd = np.sqrt(s)
        _, first, second = oracles.hidden_spike(law, m, s, log_ratio)
        # Probabilities are off by 2e-9 (mixture of probits), which exp(10) multiplies where a spike is refused.
        atol = 2e-9 * np.exp(abs(log_ratio)) + 1e-9
        np.testing.assert_allclose((m + s * g[row] - first) / sd, 0, rtol=0, atol=10 * atol, err_msg=f"{m} {s}")
        np.testing.assert_allclose((s - s**2 * gamma[row] - second) / s, 0, rtol=0, atol=50 * atol, err_msg=f"{m} {s}")
        # Heat equation: the second derivative in M is twice the first in S.
        np.testing.assert_allclose(kappa[row], gamma[row] - g[row] ** 2, rtol=1e-9, atol=1e-12)


@EVERY
@pytest.mark.parametrize("log_ratio", [-9.0, -2.0, -1e-3, 1e-4, 0.7, 4.0, 9.0])
def test_neuron_message_in_float32(name, log_ratio):
    """As in float64, but for rounding, beside the largest message there can be."""
    mean, variance = (part.astype(np.float32) for part in grid([(m, s) for m, s in GRID if abs(m) < 4 * np.sqrt(s)]))
    moments = NEURONS[name]().forward(*(part.astype(np.float64) for part in (mean, variance)))
    single = SpikeMoments(*(part.astype(np.float32) for part in moments))
    exact = neuron_message(moments, np.full(mean.shape, log_ratio))
    for found, expected in zip(neuron_message(single, np.full_like(mean, log_ratio)), exact, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=2e-3 if abs(log_ratio) > 5 else 2e-5, atol=1e-30)


@EVERY
@pytest.mark.parametrize("log_ratio", [-4.0, -0.5, 2.0])
def test_neuron_message_by_differences(name, log_ratio):
    law, neuron = oracles.SPIKE_LAWS[name], NEURONS[name]()
    pairs = [(-1.5, 0.8), (0.0, 0.3), (0.6, 4.0), (2.0, 1.0)]
    mean, variance = grid(pairs)
    down = neuron_message(neuron.forward(mean, variance), np.full_like(mean, log_ratio))
    for row, (m, s) in enumerate(pairs):
        exact = oracles.derivatives(lambda a, b: oracles.hidden_spike(law, a, b, log_ratio)[0], m, s)
        np.testing.assert_allclose([float(d[row, 0]) for d in down], exact, rtol=2e-5, atol=1e-6)


@EVERY
def test_message_of_nothing_is_nothing(name):
    neuron = NEURONS[name]()
    mean, variance = grid(GRID)
    for part in neuron_message(neuron.forward(mean, variance), np.zeros_like(mean)):
        np.testing.assert_array_equal(part, 0)


@EVERY
def test_sign_flip(name):
    """With ``P(v = 1 | -u) = P(v = 0 | u)``, flipping M and the log-ratio flips g only."""
    neuron = NEURONS[name]()
    mean, variance = grid(GRID)
    log_ratio = np.linspace(-9, 9, len(GRID))[:, None]
    one = neuron_message(neuron.forward(mean, variance), log_ratio)
    other = neuron_message(neuron.forward(-mean, variance), -log_ratio)
    scale = np.sqrt(variance)
    for a, b, sign, unit in zip(one, other, (-1, 1, 1), (scale, scale**2, scale**2), strict=True):
        np.testing.assert_allclose(a * unit, sign * b * unit, rtol=1e-7, atol=3e-5)


@EVERY
@pytest.mark.parametrize("sign", [-1, 1])
def test_certain_message_is_an_observed_spike(name, sign):
    """A log-ratio of +-30 clamps the spike: the message of the output block of the same name."""
    if name not in OBSERVED:
        pytest.skip("no observed output has this law")
    neuron = NEURONS[name]()
    pairs = [(m, s) for m in (-1.5, 0.2, 2.0) for s in (0.5, 4.0)]
    mean, variance = grid(pairs)
    down = neuron_message(neuron.forward(mean, variance), np.full_like(mean, 30.0 * sign))
    _, observed = OBSERVED[name].evidence(mean, variance, np.full_like(mean, sign), 1)
    for part, clamped in zip(down, observed, strict=True):
        np.testing.assert_allclose(part, clamped, rtol=1e-6, atol=1e-6)


@EVERY
@DTYPES
@pytest.mark.parametrize("variance", [1e-7, 1e-3, 1.0, 1e6])
def test_messages_of_extremes_stay_finite(name, dtype, variance):
    neuron = NEURONS[name]()
    pairs = [(z * np.sqrt(variance), variance) for z in (-1e4, -100, -30, -9, -5, 0, 5, 9, 30, 100, 1e4)]
    mean, variances = grid(pairs, dtype)
    moments = neuron.forward(mean, variances)
    for log_ratio in (-10, 10):
        down = neuron_message(moments, np.full_like(mean, log_ratio))
        for part in down:
            assert part.dtype == dtype
            assert np.isfinite(part).all()
