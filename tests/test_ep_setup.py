"""What a posterior starts from, by what it says of the data's potentials: sizes, balance, evenness, lattices."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import norm, qmc
from states import OBSERVED, design

from sk_epsnn.connections import Dense
from sk_epsnn.course import Rows
from sk_epsnn.ep.passes import forward
from sk_epsnn.ep.setup import START_STRENGTH, holds_spikes, largest_to_square, set_up
from sk_epsnn.network import Layer, Network
from sk_epsnn.neurons import Heaviside, Sigmoid
from sk_epsnn.outputs import HeavisideOutput, SigmoidOutput
from sk_epsnn.priors import GaussianPrior, LaplacePrior
from sk_epsnn.weights import Grid, IndependentWeights, JointWeights, LevelWeights

FLOAT = np.dtype(float)
CONSTANT = pytest.mark.parametrize("constant", [False, True])
BINARY = Grid((-1.0, 1.0), (np.log(0.5), np.log(0.5)))
SKEWED = Grid((-1.0, 0.0, 3.0), tuple(np.log([0.2, 0.5, 0.3])))


def network_of(sizes, constant=True, output=None, neuron=None):
    neuron = neuron or Sigmoid()
    hidden = tuple(Layer(Dense(n), neuron) for n in sizes[1:-1])
    return Network(hidden, Dense(sizes[-1]), output or SigmoidOutput(), constant, sizes[0])


def make_rows(n=200, n_in=5, seed=0):
    """Correlated columns of different sizes, away from 0, with weights."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, n_in)) @ rng.standard_normal((n_in, n_in)) * np.arange(1, n_in + 1) + 0.5
    return Rows(x, np.ones((n, 1)), rng.uniform(0.5, 2, n))


def spikes_for(n=200, n_in=6, seed=0):
    rng = np.random.default_rng(seed)
    return Rows((rng.random((n, n_in)) < 0.4).astype(float), np.ones((n, 1)), np.ones(n))


def start(sizes, plan, rows=None, seed=0, **options):
    return set_up(network_of(sizes, **options), plan, rows or make_rows(), np.random.RandomState(seed))


def average(rows, values):
    return rows.sample_weight @ values / rows.sample_weight.sum()


# Sizes


@CONSTANT
@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_potentials_have_their_prior_variance(constant, rotate, exponent):
    """On average over the data, whatever the units of the inputs and the shape of the prior."""
    rows = make_rows()
    plan = design(2, rotate=rotate, spectral_exponent=exponent, hidden_variance=3.0, output_variance=2.0)
    state = start([5, 4, 2], plan, rows, constant=constant)
    entered = state.network.enter(rows.X)
    variances = [layer.prior.moments(1.0, FLOAT).variance for layer in state.layers]
    # Rows shrink the spectrum towards its mean by one sample's worth: nothing for an isotropic prior.
    tolerance = 1e-9 if exponent == 0 else 0.02
    found = average(rows, entered.mean**2) @ variances[0].T
    np.testing.assert_allclose(found, 3.0, rtol=tolerance)
    # Half of the hidden spikes fire; without their prior means every weight counts with p^2 + p (1 - p).
    n = 4 + constant
    np.testing.assert_allclose(0.5 * n * variances[1], 2.0, rtol=1e-12)


def test_bias_has_its_share():
    rows = make_rows()
    state = start([5, 2], design(bias_share=0.25, output_variance=2.0, center=True), rows)
    np.testing.assert_allclose(state.layers[0].prior.moments(1.0, FLOAT).variance[:, -1], 0.5, rtol=1e-12)


@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_spectral_priors_follow_the_second_moments(floor):
    """Variances along the axes are a power of the moments, in units of their mean, with a floor added to these."""
    rows = make_rows()
    plan = design(2, rotate=True, center=True, spectral_exponent=0.7, spectral_floor=floor)
    state = start([5, 3, 2], plan, rows)
    moment = average(rows, state.network.enter(rows.X).mean ** 2)[:5]
    variance = state.layers[0].prior.moments(1.0, FLOAT).variance[:, :5]
    # One sample of weight 1 is like the average axis.
    mass = rows.sample_weight.sum()
    moment = (mass * moment + moment.mean()) / (mass + 1)
    ratio = variance / (moment / moment.mean() + floor) ** 0.7
    np.testing.assert_allclose(ratio / ratio[0, 0], 1, rtol=1e-9)
    assert variance.max() / variance.min() > 3
    other = start([5, 3, 2], replace(plan, spectral_exponent=0.0), rows).layers[0].prior.precision[:, :5]
    assert np.ptp(other) < 1e-9 * other.max()


def test_given_variances_are_of_the_raw_inputs():
    """A potential of a raw row has the variance that such weights give it."""
    rows = make_rows()
    state = start([5, 3, 2], design(2, prior_variances=(0.7, 0.3), rotate=True, center=False), rows)
    entered, (first, last) = state.network.enter(rows.X).mean, state.moments(FLOAT)
    expected = 0.7 * ((rows.X**2).sum(1) + 1)
    np.testing.assert_allclose((entered**2 @ first.variance.T), np.tile(expected[:, None], 3), rtol=1e-9)
    np.testing.assert_allclose(last.variance, 0.3, rtol=1e-12)


def test_layers_have_their_own_temperature_and_family():
    plan = design(3, temperatures=(0.1, 0.2, 0.3), joint=(False, True, False), power=0.4)
    state = start([5, 4, 3, 2], plan)
    assert [layer.temperature for layer in state.layers] == [0.1, 0.2, 0.3]
    families = [type(layer.posterior) for layer in state.layers]
    assert families == [IndependentWeights, JointWeights, IndependentWeights]
    assert (state.power, state.gain, state.mass, state.noise) == (0.4, 1.0, 0.0, None)


# Starts


@pytest.mark.parametrize("anchor", [0.0, 0.6])
def test_hidden_neurons_start_apart(anchor):
    """The prior moves only if it is anchored."""
    state = start([5, 16, 2], design(2, anchor=anchor), constant=False)
    first, last = state.layers
    np.testing.assert_array_equal(first.prior.mean, first.posterior.mean if anchor else 0)
    np.testing.assert_array_equal(last.posterior.mean, 0)
    assert len(np.unique(first.posterior.mean[:, 0])) == 16
    size = first.posterior.mean * np.sqrt(first.prior.precision)
    # Sixteen standard normal numbers that fill their quantiles: their root mean square is known to a few percent.
    np.testing.assert_allclose(np.sqrt((size**2).mean()), anchor or START_STRENGTH, rtol=0.1)


@pytest.mark.parametrize("rotate, center", [(False, None), (True, True), (True, False)])
def test_weights_add_nothing_to_potentials_on_average(rotate, center):
    """What is left of the average over the data is the random bias alone, also where the constant is on no axis."""
    rows = make_rows()
    state = start([5, 64, 2], design(2, rotate=rotate, center=center), rows._replace(X=rows.X + 3))
    basis, first = state.network.basis, state.layers[0]
    assert basis.constant == (not rotate or bool(center))
    mean = average(rows, state.network.enter(rows.X + 3).mean) @ first.posterior.mean.T
    bias = np.append(np.zeros(5), 1.0) if basis.constant else basis.offset
    sd = START_STRENGTH * np.sqrt((1 / first.prior.precision) @ bias**2)
    if basis.constant:
        np.testing.assert_array_equal(np.sort((64 * norm.cdf(mean / sd)).astype(int)), np.arange(64))
    np.testing.assert_allclose(np.sqrt(((mean / sd) ** 2).mean()), 1, rtol=0.1)


def test_later_biases_are_balanced_for_spikes_of_one_half():
    state = start([5, 8, 6, 2], design(3))
    mean = state.layers[1].posterior.mean
    np.testing.assert_allclose(mean @ np.append(np.full(8, 0.5), 1.0), 0, rtol=0, atol=1e-14)
    assert np.ptp(mean[:, 0]) > 0


def test_random_starts_fill_their_quantiles():
    """Of 32 neurons one weight lies in each 32nd of its normal distribution (a Sobol sequence, scrambled)."""
    state = start([5, 32, 2], design(2), constant=False)
    first = state.layers[0]
    quantile = norm.cdf(first.posterior.mean * np.sqrt(first.prior.precision) / START_STRENGTH)
    for column in quantile.T:
        np.testing.assert_array_equal(np.sort((32 * column).astype(int)), np.arange(32))


def test_more_weights_than_sobol_sequences_have_axes():
    n_in = qmc.Sobol.MAXDIM + 1
    x = np.zeros((2, n_in))
    x[0, ::2] = x[1, 1::2] = 1.0
    state = start([n_in, 2, 1], design(2, anchor=1.0), Rows(x, np.ones((2, 1)), np.ones(2)), constant=False)
    numbers = state.layers[0].posterior.mean * np.sqrt(state.layers[0].prior.precision)
    # Standard errors are .5 % of the standard deviation.
    np.testing.assert_allclose([numbers.mean(), numbers.std()], [0, 1], rtol=0, atol=0.03)


def test_the_seed_decides():
    one, same, other = (start([5, 4, 2], design(2), seed=seed).layers[0].posterior.mean for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize("rotate", [False, True])
def test_nothing_random_on_axes_without_extent(rotate):
    rows = make_rows(n_in=3)
    x = np.hstack([rows.X, np.zeros((200, 2))])
    state = start([5, 8, 2], design(2, rotate=rotate, center=True), rows._replace(X=x), constant=True)
    varies = state.network.basis.varies
    assert varies.sum() == 3
    mean = state.layers[0].posterior.mean[:, :5]
    np.testing.assert_array_equal(mean[:, ~varies], 0)
    assert (mean[:, varies] != 0).all()


def test_potentials_of_hidden_neurons_tell_rows_apart():
    """A start at the prior's mean would give every hidden neuron the same spikes."""
    rows = make_rows()
    state = start([5, 6, 2], design(2), rows)
    up = forward(state, state.network.enter(rows.X), state.moments(FLOAT))
    assert (np.ptp(up.spikes[0].probability, axis=1) > 0.01).all()


# Priors that are not Gaussian


@CONSTANT
def test_rules_go_with_priors_that_are_not_gaussian(constant):
    """The site starts as the Gaussian of the prior's moments; Laplace's variance is twice the square of its scale."""
    prior = LaplacePrior(scale=0.6)
    state = start([5, 2], design(prior=prior, prior_variances=(0.5,)), constant=constant)
    (layer,) = state.layers
    assert layer.rule.prior is prior and layer.rule.constant == constant
    scale = state.network.basis.scale[0]
    unit = np.full((2, 5 + constant), np.sqrt(0.5) * scale)
    if constant:
        unit[:, -1] = np.sqrt(0.5)
    np.testing.assert_allclose(layer.rule.unit, unit, rtol=1e-12)
    np.testing.assert_allclose(1 / layer.prior.precision, 2 * 0.36 * unit**2, rtol=1e-12)
    assert start([5, 2], design(prior=GaussianPrior()), constant=constant).layers[0].rule is None


# Weights on levels


@CONSTANT
@pytest.mark.parametrize("grid", [BINARY, SKEWED], ids=["binary", "skewed"])
def test_output_gain_gives_potentials_their_variance(constant, grid):
    """On average over the data, at the prior's probabilities; a mean that levels have is not counted."""
    rows = make_rows()
    state = start([5, 2], design(grid=grid, output_variance=2.0, bias_share=0.25), rows, constant=constant)
    (layer,) = state.layers
    entered = state.network.enter(rows.X).mean
    variance = layer.prior.moments(1.0, FLOAT).variance
    found = average(rows, entered[:, :5] ** 2) @ variance[:, :5].T
    np.testing.assert_allclose(found, 2.0, rtol=1e-9)
    np.testing.assert_allclose(layer.posterior.levels, state.gain * np.array(grid.levels), rtol=1e-14)
    if constant:
        # A bias adds its share to what the weights make.
        np.testing.assert_allclose(variance[:, 5], 0.25 * 2.0, rtol=1e-9)
    np.testing.assert_allclose(layer.prior.probabilities(), np.tile(np.exp(grid.log_probabilities), (2, 5, 1)))


def test_gain_may_be_given_and_hidden_levels_have_none():
    state = start([5, 4, 2], design(2, grid=SKEWED, gain=0.5))
    assert state.gain == 0.5
    assert state.layers[0].prior.levels == SKEWED.levels
    np.testing.assert_allclose(state.layers[1].prior.levels, [-0.5, 0, 1.5], rtol=1e-14)
    assert all(isinstance(layer.posterior, LevelWeights) for layer in state.layers)


def test_levels_act_on_the_inputs_as_they_are():
    rows = make_rows()
    large = rows._replace(X=64 * rows.X)
    levels, free = (start([5, 2], plan, large).network for plan in (design(grid=BINARY, center=False), design()))
    np.testing.assert_array_equal(levels.enter(large.X).mean[:, :5], large.X)
    assert np.abs(free.enter(large.X).mean).max() < 10 < np.abs(large.X).max()


def test_gain_counts_hidden_spikes_as_half():
    state = start([5, 8, 2], design(2, grid=BINARY, output_variance=3.0))
    assert state.gain**2 * 8 / 2 == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize("anchor", [0.0, 0.6])
def test_hidden_levels_start_balanced_and_apart(anchor):
    rows = make_rows()
    state = start([5, 16, 8, 2], design(3, grid=BINARY, anchor=anchor), rows)
    first, second, last = (layer.posterior for layer in state.layers)
    np.testing.assert_allclose(average(rows, state.network.enter(rows.X).mean) @ first.mean.T, 0, atol=1e-9)
    np.testing.assert_allclose(second.mean @ np.append(np.full(16, 0.5), 1.0), 0, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(last.mean, 0)
    for layer in state.layers[:2]:
        prior = layer.prior.mean
        np.testing.assert_array_equal(prior, layer.posterior.mean if anchor else 0)
    quantile = norm.cdf(first.shift[:, :5] / (anchor or START_STRENGTH))
    for column in quantile.T:
        np.testing.assert_array_equal(np.sort((16 * column).astype(int)), np.arange(16))


def test_given_variance_is_that_of_a_bias():
    state = start([5, 2], design(grid=BINARY, prior_variances=(0.7,)))
    np.testing.assert_allclose(state.layers[0].prior.moments(1.0, FLOAT).variance[:, -1], 0.7, rtol=1e-12)


LATTICE_CASES = {
    "thresholds": (dict(constant=False, output=OBSERVED["heaviside"], neuron=Heaviside()), [True, True]),
    "sigmoid neurons": (dict(constant=False, output=OBSERVED["heaviside"], neuron=Sigmoid()), [False, True]),
    "sigmoid outputs": (dict(constant=False, output=SigmoidOutput(), neuron=Heaviside()), [True, False]),
    "noisy outputs": (dict(constant=False, output=HeavisideOutput(), neuron=Heaviside()), [True, False]),
    "biases": (dict(constant=True, output=OBSERVED["heaviside"], neuron=Heaviside()), [False, False]),
}


@pytest.mark.parametrize("case", sorted(LATTICE_CASES))
@pytest.mark.parametrize("of_spikes", [False, True])
def test_potentials_on_a_lattice(case, of_spikes):
    """Where thresholds without noise or bias read whole spikes, in the first layer those of the data."""
    options, expected = LATTICE_CASES[case]
    rows = spikes_for() if of_spikes else make_rows(n_in=6)
    state = start([6, 4, 2], design(2, grid=BINARY, gain=0.5), rows, **options)
    found = [layer.lattice is not None for layer in state.layers]
    assert found == [expected[0] and of_spikes, expected[1]]
    if found[1]:
        assert state.layers[1].lattice == (1.0, True)


# Refusals and helpers


@pytest.mark.parametrize(
    "plan",
    [
        design(prior_variances=(1e250,)),
        design(prior_variances=(1e-250,)),
        design(temperatures=(1e-200,)),
        design(grid=BINARY, gain=1e200),
    ],
    ids=["wide", "narrow", "cold", "large levels"],
)
def test_extreme_priors_are_refused(plan):
    with pytest.raises(ValueError, match="out of the range of float64 arithmetic"):
        start([5, 2], plan)


def test_limits_are_those_of_the_dtype():
    rows = make_rows()
    single = rows._replace(X=rows.X.astype(np.float32))
    plan = design(prior_variances=(1e-25,))
    start([5, 2], plan, rows)
    with pytest.raises(ValueError, match="out of the range of float32 arithmetic"):
        start([5, 2], plan, single)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squares_of_what_is_not_refused_can_be_summed(dtype):
    limit = largest_to_square(float(np.finfo(dtype).max))
    with np.errstate(over="ignore"):
        assert np.isfinite(dtype(1000) * dtype(limit) ** 2) and np.isfinite(dtype(1 / limit) ** -2)
        # Nor does it refuse much that would not overflow soon.
        assert np.isinf(dtype(limit) ** 3)


def test_spikes_are_zeros_and_ones():
    x = (np.random.default_rng(0).random((9000, 2)) < 0.5).astype(float)
    assert holds_spikes(x) and holds_spikes(sparse.csr_array(x))
    for value in (0.5, -1.0, 2.0):
        other = x.copy()
        # In the last chunk that is looked at.
        other[8999, 1] = value
        assert not holds_spikes(other) and not holds_spikes(sparse.csr_array(other))


def test_spikes_keep_their_size():
    """A basis that may rescale leaves spikes as they are."""
    rows = spikes_for()
    state = start([6, 2], design(rotate=False, center=False), rows)
    np.testing.assert_array_equal(state.network.enter(rows.X).mean[:, :6], rows.X)
    scaled = rows._replace(X=100 * rows.X)
    entered = start([6, 2], design(rotate=False, center=False), scaled).network.enter(scaled.X).mean
    assert entered[:, :6].max() < 4


def test_the_network_that_comes_in_stays_as_it_is():
    network = network_of([5, 2])
    state = set_up(network, design(), make_rows(), np.random.RandomState(0))
    assert network.basis is None
    assert replace(state.network, basis=None) == network
