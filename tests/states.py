"""States of small networks for the tests: weights, batches and designs without any estimator."""

from dataclasses import replace

import numpy as np
from scipy.special import expit

from sk_epsnn.basis import InputBasis
from sk_epsnn.connections import Connection, Dense
from sk_epsnn.ep.design import Design
from sk_epsnn.ep.state import LayerState, State
from sk_epsnn.messages import observed
from sk_epsnn.network import Batch, Layer, Network
from sk_epsnn.neurons import NEURONS
from sk_epsnn.outputs import GaussianOutput, HeavisideOutput, SigmoidOutput
from sk_epsnn.priors import GaussianPrior
from sk_epsnn.weights import JointWeights, LevelWeights, find_lattice

#: Of the Gaussian outputs in `regression`.
NOISE = 0.3
#: The observed counterpart of every neuron that has one.
OBSERVED = {"sigmoid": SigmoidOutput(), "heaviside": HeavisideOutput(noise_variance=0)}


class Steps(Connection):
    """Neurons that read so many inputs at a time, one stretch after another."""

    def __init__(self, n_units, length):
        self.n_units = n_units
        self.length = length

    def n_rows(self, n_inputs):
        return n_inputs // self.length

    def n_columns(self, n_inputs):
        return self.length

    def gather(self, values):
        return values.reshape(-1, self.length)

    def scatter(self, messages, n_inputs):
        return messages.reshape(-1, n_inputs)


def plain_basis(n_inputs, constant):
    """Inputs as they are, a constant 1 appended if there is one."""
    ones = np.ones(n_inputs)
    return InputBasis(None, 0 * ones, ones, constant, ones, 0 * ones, ones > 0)


def state_of(densities, neurons, output, *, constant=True, power=1.0):
    """Fully connected layers whose prior and posterior are the given densities.

    With ``constant`` the last input of every layer is 1; that of the first layer is not made here.
    """
    hidden = tuple(Layer(Dense(q.mean.shape[0]), neuron) for q, neuron in zip(densities, neurons, strict=False))
    n_inputs = densities[0].mean.shape[1] - constant
    readout = Dense(densities[-1].mean.shape[0])
    network = Network(hidden, readout, output, constant, n_inputs, plain_basis(n_inputs, constant))
    assert len(densities) == len(neurons) + 1
    return State(network, tuple(LayerState(q, q, 1.0) for q in densities), power)


def with_layer(state, index, **changes):
    """The same with one layer changed."""
    layers = list(state.layers)
    layers[index] = replace(layers[index], **changes)
    return state.with_layers(layers)


def priors_of(state):
    """Cavities of the first batch."""
    return [layer.prior for layer in state.layers]


# Random weights


def random_state(sizes, hidden="heaviside", output="sigmoid", *, seed=0, constant=True, power=1.0, spread=1.0):
    """Random means, variances of ``spread`` over the number of inputs; no constant is added to the first ones."""
    rng = np.random.default_rng(seed)
    densities = []
    for index, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        fan_in = n_in + (constant and index > 0)
        mean = rng.standard_normal((n_out, fan_in)) / np.sqrt(fan_in)
        variance = spread * rng.uniform(0.3, 1, (n_out, fan_in)) / fan_in
        densities.append(GaussianPrior().density(mean, variance, False))
    units = GaussianOutput(np.full(sizes[-1], 0.3)) if output == "gaussian" else OBSERVED[output]
    return state_of(densities, [NEURONS[hidden]() for _ in sizes[2:]], units, constant=constant, power=power)


def with_levels(state, seed=6, levels=(-1.0, 1.0), constant=False):
    """The same network with random weights on levels in place of Gaussian ones, on a lattice if there is one."""
    rng, grid = np.random.default_rng(seed), np.array(levels)
    layers = []
    for index, layer in enumerate(state.layers):
        shape = layer.prior.mean.shape
        law = np.full(len(grid), -np.log(len(grid)))
        density = LevelWeights(
            rng.uniform(0.5, 2, shape), rng.standard_normal(shape), grid, law, constant and index > 0
        )
        layers.append(LayerState(density, density, 1.0, lattice=None if constant else find_lattice(grid)))
    return state.with_layers(layers)


def with_joint(state):
    """The same network with matrices of precision."""
    layers = []
    for layer in state.layers:
        matrices = np.stack([np.diag(row) + 0.1 * np.outer(row, row) for row in layer.posterior.precision])
        layers.append(replace(layer, posterior=JointWeights(matrices, layer.posterior.mean)))
    return state.with_layers(layers)


STATE_FAMILIES = {"independent": lambda s: s, "joint": with_joint, "levels": lambda s: with_levels(s, constant=True)}


def random_rows(n, n_in, seed=1):
    return np.random.default_rng(seed).standard_normal((n, n_in))


def random_targets(n, n_out, seed=2):
    return np.where(np.random.default_rng(seed).random((n, n_out)) < 0.5, -1.0, 1.0)


# Something to learn


def one_layer(n_in, n_out, output, *, joint=False, power=1.0, variance=1.0):
    prior = GaussianPrior().density(np.zeros((n_out, n_in)), np.full((n_out, n_in), variance), joint)
    return state_of([prior], [], output, power=power)


def two_layers(n_in, n_hidden, n_out, output, seed, hidden="heaviside", power=1.0):
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((n_hidden, n_in))
    first = GaussianPrior().density(means, np.ones((n_hidden, n_in)), False)
    last = GaussianPrior().density(np.zeros((n_out, n_hidden + 1)), np.full((n_out, n_hidden + 1), 0.5), True)
    return state_of([first, last], [NEURONS[hidden]()], output, power=power)


def linear_batch(n, n_in, n_out, kind, seed=0):
    """Targets that depend on the potentials of a linear layer; the last input is the constant."""
    rng = np.random.default_rng(seed)
    x = np.hstack([rng.standard_normal((n, n_in - 1)), np.ones((n, 1))])
    u = x @ rng.standard_normal((n_in, n_out))
    if kind == "gaussian":
        target = u + np.sqrt(NOISE) * rng.standard_normal(u.shape)
    else:
        target = np.where(rng.random(u.shape) < expit(u), 1.0, -1.0)
    return Batch(observed(x), target, np.ones(n))


def output_of(kind, n_out):
    return GaussianOutput(np.full(n_out, NOISE)) if kind == "gaussian" else SigmoidOutput()


def uncentred_rows(n_out):
    """Inputs that are not centred: parallel EP has a spectral radius far above 2 / 0.7 on them."""
    rng = np.random.default_rng(0)
    x = np.hstack([(rng.random((300, 40)) < 0.5).astype(float), np.ones((300, 1))])
    return x, np.where(rng.random((300, n_out)) < 0.5, 1.0, -1.0)


def design(n_layers=1, **changes):
    """A design for continuous weights whose prior is scaled to the data."""
    values = dict(
        prior=GaussianPrior(),
        prior_variances=(None,) * n_layers,
        temperatures=(1.0,) * n_layers,
        anchor=0.0,
        spectral_exponent=0.0,
        spectral_floor=0.0,
        bias_share=0.1,
        hidden_variance=1.0,
        log_noise_variance=4.0,
        output_variance=2.0,
        joint=(False,) * n_layers,
        power=1.0,
        grid=None,
        gain=None,
        rotate=False,
        center=None,
        scaling="all" if changes.get("grid") is None else "none",
    )
    return Design(**{**values, **changes})
