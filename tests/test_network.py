"""Forward and backward pass against closed forms, all spike patterns, finite differences and fixed-seed draws."""

import numpy as np
import oracles
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from sk_epsnn.ep import mixing
from sk_epsnn.ep.sites import LOG_RATIO_BOUND, UpdateCounts
from sk_epsnn.messages import observed, spikes
from sk_epsnn.network import FROZEN_VARIANCE_FLOOR, PRIOR_DAMPING, VARIANCE_FLOOR, Layer, Network, PriorRule
from sk_epsnn.neurons import NEURONS
from sk_epsnn.outputs import SPIKING_OUTPUTS, GaussianOutput
from sk_epsnn.priors import BernoulliGaussianPrior, GaussianPrior, LaplacePrior
from sk_epsnn.weights import IndependentWeights, JointWeights, LevelWeights, find_lattice

HIDDEN = pytest.mark.parametrize("hidden", sorted(NEURONS))
FLOAT = np.dtype(float)


def make_network(sizes, hidden="heaviside", output="sigmoid", *, seed=0, constant=True, power=1.0, spread=1.0):
    """Random means, variances of ``spread`` over the number of inputs; no constant is added to the first ones."""
    rng = np.random.default_rng(seed)
    layers = []
    for index, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        fan_in = n_in + (constant and index > 0)
        mean = rng.standard_normal((n_out, fan_in)) / np.sqrt(fan_in)
        variance = spread * rng.uniform(0.3, 1, (n_out, fan_in)) / fan_in
        density = GaussianPrior().density(mean, variance, False)
        layers.append(Layer(density, density, 1.0))
    neurons = [NEURONS[hidden]() for _ in sizes[2:]]
    if output == "gaussian":
        return Network(layers, neurons, GaussianOutput(np.full(sizes[-1], 0.3)), constant, power)
    return Network(layers, neurons, SPIKING_OUTPUTS[output](), constant, power)


def rows(n, n_in, seed=1):
    return np.random.default_rng(seed).standard_normal((n, n_in))


def targets(n, n_out, seed=2):
    return np.where(np.random.default_rng(seed).random((n, n_out)) < 0.5, -1.0, 1.0)


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
    network, x = make_network([4, 3]), rows(6, 4)
    weights = network.moments(FLOAT)
    last = network.predict(observed(x), weights)
    for n in range(6):
        mean, variance = one_unit_moments(weights[0], x[n])
        np.testing.assert_allclose(last.mean[n], mean, rtol=1e-12)
        np.testing.assert_allclose(last.variance[n], variance, rtol=1e-12)
    np.testing.assert_array_equal(last.from_weights, last.variance)


def test_potentials_have_a_floor():
    network = make_network([4, 3])
    silent = network.potentials(0, observed(np.zeros((2, 4))), network.moments(FLOAT)[0])
    np.testing.assert_array_equal(silent.variance, VARIANCE_FLOOR)
    np.testing.assert_array_equal(silent.from_weights, 0)


def test_potentials_take_a_known_mean():
    network, x = make_network([4, 3]), rows(2, 4)
    weights = network.moments(FLOAT)[0]
    known = np.full((2, 3), 7.0)
    given, computed = network.potentials(0, observed(x), weights, known), network.potentials(0, observed(x), weights)
    assert given.mean is known
    np.testing.assert_array_equal(given.variance, computed.variance)


@HIDDEN
@pytest.mark.parametrize("constant", [False, True])
def test_two_layers_against_all_patterns(hidden, constant):
    """Given the input, the spikes of one hidden layer are independent: mean and variance of the output are exact.

    Only its Gaussian shape is an approximation. Largest error of the output probability over these 5 rows and 2
    units, 6 hidden units with weights 1/sqrt(fan_in): measured .021 (heaviside) and .013 (sigmoid).
    """
    network, x = make_network([4, 6, 2], hidden, "heaviside", constant=constant), rows(5, 4)
    first, last = network.moments(FLOAT)
    up = network.forward(observed(x), [first, last])
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
    network, x = make_network([3, 7, 5, 2], "heaviside"), rows(4, 3)
    weights = network.moments(FLOAT)
    up = network.forward(observed(x), weights)
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
    network, x = make_network([4, 5, 2]), rows(3, 4)
    weights = network.moments(FLOAT)
    other = network.potentials(0, observed(x + 1), weights[0])
    up = network.forward(observed(x), weights, first=other)
    assert up.potentials[0] is other
    expected = network.predict(observed(x + 1), weights)
    np.testing.assert_array_equal(up.potentials[1].mean, expected.mean)


@HIDDEN
def test_forward_multiplies_in_the_messages_from_above(hidden):
    network, x = make_network([4, 5, 2], hidden), rows(3, 4)
    weights = network.moments(FLOAT)
    ratio = np.random.default_rng(3).uniform(-3, 3, (3, 5))
    plain, cavity = network.forward(observed(x), weights), network.forward(observed(x), weights, log_ratios=[ratio])
    p = plain.spikes[0].probability
    expected = p * np.exp(ratio) / (p * np.exp(ratio) + 1 - p)
    np.testing.assert_allclose(cavity.inputs[1].mean[:, :5], expected, rtol=1e-9)
    # What the hidden layer itself predicts is untouched: the message goes into its spikes, not into its moments.
    np.testing.assert_array_equal(cavity.spikes[0].probability, p)
    nothing = network.forward(observed(x), weights, log_ratios=[np.zeros((3, 5))])
    np.testing.assert_allclose(nothing.potentials[1].mean, plain.potentials[1].mean, rtol=1e-12)


def test_forward_survives_certain_spikes():
    network, x = make_network([4, 5, 2], spread=1e-6), 50 * rows(3, 4)
    up = network.forward(observed(x), network.moments(FLOAT), log_ratios=[np.full((3, 5), -LOG_RATIO_BOUND)])
    assert np.isfinite(up.potentials[1].mean).all()
    np.testing.assert_allclose(up.inputs[1].mean[:, :5], expit(logit(up.spikes[0].probability)), rtol=0, atol=1e-3)


def test_layer_temperature_scales_the_variance():
    network = make_network([4, 5, 2])
    cold = Network(
        [Layer(layer.prior, layer.posterior, 0.1) for layer in network.layers],
        network.hidden,
        network.output,
        network.constant,
        network.power,
    )
    for warm, cool in zip(network.moments(FLOAT), cold.moments(FLOAT), strict=True):
        np.testing.assert_allclose(cool.variance, 0.1 * warm.variance, rtol=1e-12)
        np.testing.assert_array_equal(cool.mean, warm.mean)


@pytest.mark.parametrize("output", [*sorted(SPIKING_OUTPUTS), "gaussian"])
def test_float32_is_kept(output):
    network, x = make_network([4, 5, 3, 2], output=output), rows(6, 4).astype(np.float32)
    weights = network.moments(x.dtype)
    up = network.forward(observed(x), weights, log_ratios=[np.ones((6, 5), np.float32), np.ones((6, 3), np.float32)])
    log_z, down, log_ratios = network.backward(up, targets(6, 2).astype(np.float32), weights, UpdateCounts())
    spread = network.predict_spread(observed(x), weights)
    flat = [log_z, *log_ratios, *spread]
    spikes = [(entering.mean, entering.square, entering.variance) for entering in up.inputs[1:]]
    flat += [part for group in (*spikes, *up.potentials, *up.spikes, *down) for part in group]
    assert {part.dtype for part in flat} == {np.dtype(np.float32)}


# Downward


@HIDDEN
@pytest.mark.parametrize("output, power", [("sigmoid", 1.0), ("sigmoid", 0.0), ("gaussian", 0.5), ("heaviside", 1.0)])
def test_log_partition_is_that_of_the_backward_pass(hidden, output, power):
    network, x = make_network([4, 5, 2], hidden, output, power=power), rows(6, 4)
    weights, target = network.moments(FLOAT), targets(6, 2)
    up = network.forward(observed(x), weights)
    log_z, down, log_ratios = network.backward(up, target, weights, UpdateCounts())
    last = up.potentials[-1]
    np.testing.assert_allclose(network.log_partition(last, target), log_z, rtol=1e-12)
    each = network.output.log_partition(last.mean, last.variance, target, power)
    np.testing.assert_allclose(log_z, each.sum(1), rtol=1e-12)
    assert [part.g.shape for part in down] == [(6, 5), (6, 2)]
    assert [ratio.shape for ratio in log_ratios] == [(6, 5)]


def test_messages_come_in_the_order_of_the_layers():
    network, x = make_network([4, 5, 3, 2]), rows(6, 4)
    weights = network.moments(FLOAT)
    up = network.forward(observed(x), weights)
    _, down, log_ratios = network.backward(up, targets(6, 2), weights, UpdateCounts())
    assert [ratio.shape for ratio in log_ratios] == [(6, 5), (6, 3)]
    assert [part.g.shape for part in down] == [(6, 5), (6, 3), (6, 2)]
    for index in (0, 1):
        expected = mixing.log_ratio_below(down[index + 1], weights[index + 1], up.spikes[index].probability)
        np.testing.assert_allclose(log_ratios[index], expected, rtol=1e-12)


def total_log_z(network, weights, x, target, index, mean):
    moved = list(weights)
    moved[index] = weights[index]._replace(mean=mean)
    return float(network.log_partition(network.predict(observed(x), moved), target).sum())


@pytest.mark.parametrize("output, power", [("sigmoid", 0.0), ("gaussian", 0.0)])
def test_gradient_in_the_last_layer_is_exact(output, power):
    """Power 0 keeps kappa positive, so that nothing of the cost of uncertain spikes is clipped."""
    network, x = make_network([4, 6, 2], "sigmoid", output, power=power), rows(5, 4)
    weights, target = network.moments(FLOAT), targets(5, 2)
    up = network.forward(observed(x), weights)
    _, down, _ = network.backward(up, target, weights, UpdateCounts())
    noise = mixing.spike_noise(down[1], up.inputs[1])
    found = mixing.mean_gradient(down[1], up.inputs[1], weights[1].mean, noise)
    exact = oracles.gradient(lambda mean: total_log_z(network, weights, x, target, 1, mean), weights[1].mean)
    np.testing.assert_allclose(found, exact, rtol=1e-7, atol=1e-9)


@HIDDEN
@pytest.mark.parametrize("output, power", [("sigmoid", 1.0), ("sigmoid", 0.0), ("heaviside", 1.0), ("gaussian", 1.0)])
def test_gradient_in_the_first_layer(hidden, output, power):
    """The message that reaches the first layer is the gradient of log Z, up to the size of one unit's share.

    200 hidden units, so each message to a spike is of order 1/sqrt(200). Measured: cosine above .999, length
    within 1 %; both errors shrink with the width (800 units: .99996). Power 0 with little noise sends the largest
    messages and is the least accurate: noise 0.3 gave .97 with 200 units and .994 with 800.
    """
    network, x = make_network([3, 200, 2], hidden, output, power=power), rows(8, 3)
    weights, target = network.moments(FLOAT), targets(8, 2)
    up = network.forward(observed(x), weights)
    _, down, _ = network.backward(up, target, weights, UpdateCounts())
    found = mixing.mean_gradient(down[0], up.inputs[0], weights[0].mean, 0.0)
    exact = oracles.gradient(lambda mean: total_log_z(network, weights, x, target, 0, mean), weights[0].mean)
    sizes = np.linalg.norm(found), np.linalg.norm(exact)
    assert (found * exact).sum() / (sizes[0] * sizes[1]) > 0.998
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=0.02)


def test_backward_counts_bounded_messages():
    network, x = make_network([4, 3, 1], output="gaussian"), rows(20, 4)
    weights = network.moments(FLOAT)
    up = network.forward(observed(x), weights)
    counts = UpdateCounts()
    _, down, (ratio,) = network.backward(up, np.full((20, 1), 200.0), weights, counts)
    plain = mixing.log_ratio_below(down[1], weights[1], up.spikes[0].probability)
    assert np.abs(ratio).max() == LOG_RATIO_BOUND
    assert counts == UpdateCounts(bounded_log_ratios=int((np.abs(plain) > LOG_RATIO_BOUND).sum()))
    assert counts.bounded_log_ratios > 0


# Spread of the predictions


@HIDDEN
@pytest.mark.parametrize("sizes", [[4, 2], [4, 6, 2], [4, 6, 5, 2]], ids=["1 layer", "2 layers", "3 layers"])
def test_spread_sums_to_the_predicted_variance(hidden, sizes):
    network, x = make_network(sizes, hidden), rows(7, 4)
    weights = network.moments(FLOAT)
    plain, spread = network.predict(observed(x), weights), network.predict_spread(observed(x), weights)
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
    network, x = make_network([3, 5, 1], "sigmoid", spread=4.0), rows(2, 3)
    first, last = (layer.posterior for layer in network.layers)
    if joint:
        root = np.random.default_rng(4).standard_normal((1, 6, 6))
        last = JointWeights(root @ root.swapaxes(1, 2) + np.eye(6), last.mean)
        network.layers[1] = Layer(last, last, 1.0)
    spread = network.predict_spread(observed(x), network.moments(FLOAT))
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


# Frozen weights


def with_levels(network, seed=6, levels=(-1.0, 1.0), constant=False):
    """The same network with random weights on levels in place of Gaussian ones, on a lattice if there is one."""
    rng, grid = np.random.default_rng(seed), np.array(levels)
    layers = []
    for index, layer in enumerate(network.layers):
        shape = layer.prior.mean.shape
        law = np.full(len(grid), -np.log(len(grid)))
        density = LevelWeights(
            rng.uniform(0.5, 2, shape), rng.standard_normal(shape), grid, law, constant and index > 0
        )
        layers.append(Layer(density, density, 1.0, lattice=None if constant else find_lattice(grid)))
    return Network(layers, network.hidden, network.output, network.constant, network.power)


def with_joint(network):
    """The same network with matrices of precision."""
    layers = []
    for layer in network.layers:
        matrices = np.stack([np.diag(row) + 0.1 * np.outer(row, row) for row in layer.posterior.precision])
        posterior = JointWeights(matrices, layer.posterior.mean)
        layers.append(Layer(layer.prior, posterior, 1.0))
    return Network(layers, network.hidden, network.output, network.constant, network.power)


FAMILIES = {"independent": lambda n: n, "joint": with_joint, "levels": lambda n: with_levels(n, constant=True)}


@pytest.mark.parametrize("family", sorted(FAMILIES))
@HIDDEN
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_frozen_network_has_the_most_probable_weights(family, hidden, dtype):
    """A threshold is then exact; a sigmoid leaves the variance of its spikes."""
    network, x = FAMILIES[family](make_network([4, 6, 2], hidden)), rows(30, 4).astype(dtype)
    frozen = network.frozen()
    assert frozen.is_frozen and not network.is_frozen
    first, last = (layer.posterior.mode() for layer in network.layers)
    weights = frozen.moments(x.dtype)
    for moments, most in zip(weights, (first, last), strict=True):
        np.testing.assert_array_equal(moments.mean, most.astype(dtype))
        np.testing.assert_array_equal(moments.variance, 0)
        assert moments.covariance is None
    up = frozen.forward(observed(x), weights)
    potential = x @ first.T
    exact = potential >= 0 if hidden == "heaviside" else expit(potential)
    # The mixture of probits is within 1e-8 of a sigmoid.
    rtol = 3e-8 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(up.spikes[0].probability, exact, rtol=0, atol=0 if hidden == "heaviside" else rtol)
    found = up.potentials[1]
    np.testing.assert_allclose(found.mean, exact @ last[:, :6].T + last[:, 6], rtol=rtol, atol=10 * rtol)
    expected = (exact * (1 - exact)) @ (last[:, :6] ** 2).T if hidden == "sigmoid" else np.zeros((30, 2))
    np.testing.assert_allclose(found.variance, np.maximum(expected, FROZEN_VARIANCE_FLOOR), rtol=100 * rtol)
    assert {part.dtype for part in found} == {np.dtype(dtype)}


def test_frozen_network_keeps_the_rest():
    network = with_levels(make_network([4, 6, 2], constant=False, power=0.5))
    rule = PriorRule(LaplacePrior(), np.ones((6, 4)), False)
    network.layers[0] = Layer(
        network.layers[0].prior, network.layers[0].posterior, 0.3, rule, network.layers[0].lattice
    )
    posteriors = [layer.posterior for layer in network.layers]
    frozen = network.frozen()
    assert (frozen.hidden, frozen.output) == (network.hidden, network.output)
    assert (frozen.constant, frozen.power) == (False, 0.5)
    for before, after in zip(network.layers, frozen.layers, strict=True):
        assert (after.prior, after.temperature, after.lattice) == (before.prior, before.temperature, before.lattice)
        assert after.rule is None
    # Nor does it touch the network it came from.
    assert all(layer.posterior is q for layer, q in zip(network.layers, posteriors, strict=True))
    assert network.layers[0].rule is rule
    assert network.variance_floor == VARIANCE_FLOOR
    again = frozen.frozen()
    assert again.is_frozen
    np.testing.assert_array_equal(again.moments(FLOAT)[0].mean, frozen.moments(FLOAT)[0].mean)


def test_ties_of_a_frozen_network_fire():
    """Every pattern of four input spikes, weights -1 and 1, no bias: a potential of 0 fires, silence included."""
    network = with_levels(make_network([4, 6, 3], "heaviside", "heaviside", constant=False)).frozen()
    x, _ = oracles.spike_patterns(np.full(4, 0.5))
    first, last = (layer.posterior.mean for layer in network.layers)
    potential = x @ first.T
    hidden = potential >= 0
    output = hidden @ last.T
    assert (potential == 0).any() and (output == 0).any()
    # Spikes that are known have no variance, like the weights.
    inputs = spikes(x, False)
    up = network.forward(inputs, network.moments(FLOAT))
    np.testing.assert_array_equal(up.spikes[0].probability, hidden)
    target = np.where(output >= 0, 1.0, -1.0)
    np.testing.assert_allclose(network.log_partition(up.potentials[-1], target), 0, rtol=0, atol=1e-12)


def test_potentials_on_a_lattice():
    """Only a layer's own lattice counts, it moves the mean alone, and not a mean that is known already."""
    network = with_levels(make_network([4, 6, 2], constant=False), levels=(-0.5, 0.5, 1.5))
    network.layers[0].lattice = None
    weights = network.moments(FLOAT)
    probability = np.random.default_rng(7).uniform(0.1, 0.9, (5, 6))
    probability[4] = [1, 0, 1, 0, 0, 0]
    inputs = spikes(probability, False)
    found = network.potentials(1, inputs, weights[1])
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
    assert network.potentials(1, inputs, weights[1], known).mean is known
    binary = observed(np.eye(4))
    np.testing.assert_allclose(network.potentials(0, binary, weights[0]).mean, weights[0].mean.T, rtol=1e-13)
    network.layers[0].lattice = find_lattice(np.array([-1.0, 0.0, 1.0]))
    np.testing.assert_allclose(network.potentials(0, binary, weights[0]).mean, weights[0].mean.T + 0.5, rtol=1e-13)


# Priors that are not Gaussian

JOINT = pytest.mark.parametrize("joint", [False, True])


def ruled_layer(prior, constant, joint=False, seed=8):
    """Two units of three inputs with units of their own, a site for the prior, and data that know something."""
    rng = np.random.default_rng(seed)
    unit = rng.uniform(0.5, 3, (2, 3))
    site = IndependentWeights.from_natural(rng.uniform(0.1, 1, (2, 3)), 0.3 * rng.standard_normal((2, 3)))
    data_shift = 3 * rng.standard_normal((2, 3))
    if not joint:
        data = rng.uniform(0.2, 3, (2, 3))
        posterior = IndependentWeights.from_natural(site.precision + data, site.shift + data_shift)
        return Layer(site, posterior, 1.0, PriorRule(prior, unit, constant)), data
    root = rng.standard_normal((2, 3, 5)) / 2
    data = root @ root.swapaxes(1, 2)
    diagonal = np.stack([np.diag(row) for row in site.precision])
    posterior = JointWeights.from_natural(diagonal + data, site.shift + data_shift)
    site = JointWeights(diagonal, site.mean)
    return Layer(site, posterior, 1.0, PriorRule(prior, unit, constant)), data


def matrices(weights):
    return weights.precision if weights.precision.ndim == 3 else np.stack([np.diag(row) for row in weights.precision])


def cavity_of(layer, i, j):
    """What the data and the other weights say of one weight: its marginal density over its own site."""
    covariance = np.linalg.inv(matrices(layer.posterior)[i])
    precision = 1 / covariance[j, j]
    site = matrices(layer.prior)[i, j, j], matrices(layer.prior)[i, j, j] * layer.prior.mean[i, j]
    return precision - site[0], precision * layer.posterior.mean[i, j] - site[1], *site


def laplace_posterior(layer, i, j):
    """Moments of prior times cavity by quadrature, the prior that of a weight in its unit."""
    size = layer.rule.prior.scale * layer.rule.unit[i, j]
    precision, shift, *_ = cavity_of(layer, i, j)
    return oracles.natural_tilted(lambda w: -np.abs(w) / size, precision, shift, (0.0, shift / precision), size)


@JOINT
@pytest.mark.parametrize("constant", [False, True])
def test_refreshed_prior_matches_moments(joint, constant):
    """Half way from the old site to the one that gives cavity times site the moments of cavity times prior."""
    layer, _ = ruled_layer(LaplacePrior(scale=0.6), constant, joint)
    counts = UpdateCounts()
    new = layer.with_refreshed_prior(counts)
    assert counts == UpdateCounts()
    assert type(new.prior) is type(new.posterior) is (JointWeights if joint else IndependentWeights)
    for i, j in np.ndindex(2, 3):
        precision, shift, *old = cavity_of(layer, i, j)
        if constant and j == 2:
            expected = old
        else:
            tilted = laplace_posterior(layer, i, j)
            free = 1 / tilted.variance - precision, tilted.mean / tilted.variance - shift
            assert free[0] > 0
            expected = [(1 - PRIOR_DAMPING) * a + PRIOR_DAMPING * b for a, b in zip(old, free, strict=True)]
        np.testing.assert_allclose(cavity_of(new, i, j)[2:], expected, rtol=1e-7, atol=1e-9)
    # What the data say stays as it was.
    for before, after in (
        (matrices(layer.posterior) - matrices(layer.prior), matrices(new.posterior) - matrices(new.prior)),
        (layer.posterior.shift - layer.prior.shift, new.posterior.shift - new.prior.shift),
    ):
        np.testing.assert_allclose(after, before, rtol=1e-10, atol=1e-12)


def test_prior_refreshed_often_gives_the_exact_posterior():
    """Independent weights under a Gaussian likelihood: the tilted density of each is its posterior."""
    layer, data = ruled_layer(LaplacePrior(scale=0.6), False)
    shift = layer.posterior.shift - layer.prior.shift
    for _ in range(60):
        layer = layer.with_refreshed_prior(UpdateCounts())
    for i, j in np.ndindex(2, 3):
        size = 0.6 * layer.rule.unit[i, j]
        exact = oracles.natural_tilted(lambda w, size=size: -np.abs(w) / size, data[i, j], shift[i, j], (0.0,), size)
        np.testing.assert_allclose(layer.posterior.mean[i, j], exact.mean, rtol=1e-8)
        np.testing.assert_allclose(1 / layer.posterior.precision[i, j], exact.variance, rtol=1e-8)


def test_refreshed_prior_keeps_the_rest():
    layer, _ = ruled_layer(LaplacePrior(), False)
    layer.temperature = 0.3
    before = [part.copy() for q in (layer.prior, layer.posterior) for part in (q.precision, q.mean)]
    new = layer.with_refreshed_prior(UpdateCounts())
    assert (new.temperature, new.rule, new.lattice) == (0.3, layer.rule, None)
    for a, b in zip(
        before, (part for q in (layer.prior, layer.posterior) for part in (q.precision, q.mean)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    plain = make_network([4, 3]).layers[0]
    assert plain.with_refreshed_prior(UpdateCounts()) is plain


@JOINT
@pytest.mark.parametrize("constant", [False, True])
def test_activation_probability_of_a_layer(joint, constant):
    """Bayes' rule between the slab, integrated over the cavity, and the spike at 0; a bias has no such probability."""
    prior = BernoulliGaussianPrior(active_probability=0.3, slab_variance=2.0)
    layer, _ = ruled_layer(prior, constant, joint)
    found = layer.activation_probability()
    assert found.shape == (2, 3 - constant)
    for i, j in np.ndindex(found.shape):
        precision, shift, *_ = cavity_of(layer, i, j)
        slab = norm(0, np.sqrt(2.0) * layer.rule.unit[i, j])
        on = np.log(0.3) + oracles.natural_tilted(slab.logpdf, precision, shift, (0.0, shift / precision)).log_mass
        np.testing.assert_allclose(found[i, j], expit(on - np.log(0.7)), rtol=1e-9)
    assert np.ptp(found) > 0.1
