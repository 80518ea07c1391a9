"""What a state knows and how it adds up: products and powers of densities by hand, prior sites by quadrature."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import oracles
import pytest
from families import matrices
from scipy.special import expit
from scipy.stats import norm
from states import STATE_FAMILIES, priors_of, random_state, with_layer, with_levels

from sk_epsnn.ep.evidence import Change, Evidence, NoiseEvidence
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.ep.state import PRIOR_DAMPING, VARIANCE_FLOOR, LayerState, PriorRule
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.priors import BernoulliGaussianPrior, LaplacePrior
from sk_epsnn.weights import IndependentWeights, JointWeights

FLOAT = np.dtype(float)
FAMILY = pytest.mark.parametrize("family", sorted(STATE_FAMILIES))


def known_of(state, seed=1):
    """Evidence of every layer, each precision of it positive: a matrix where the weights are joint."""
    rng = np.random.default_rng(seed)
    result = []
    for layer in state.layers:
        shape = layer.prior.shift.shape
        precision = rng.uniform(0.1, 2, shape)
        if isinstance(layer.prior, JointWeights):
            root = rng.standard_normal((*shape, shape[1]))
            precision = root @ root.swapaxes(1, 2)
        result.append(Evidence(precision, rng.standard_normal(shape)))
    return result


def learned(state, seed=1, mass=50.0):
    """A state that holds some evidence."""
    layers = [layer.with_evidence(e) for layer, e in zip(state.layers, known_of(state, seed), strict=True)]
    return replace(state.with_layers(layers), mass=mass)


def untrained(family):
    """Prior and posterior of one family; on three levels, where both natural parameters count."""
    state = random_state([4, 5, 2])
    if family == "levels":
        state = with_levels(state, levels=(-1.0, 0.0, 1.0), constant=True)
    else:
        state = STATE_FAMILIES[family](state)
    return state.with_layers([replace(layer, prior=layer.posterior) for layer in state.layers])


def naturals(weights):
    return weights.precision, weights.shift


def assert_same_density(found, expected, rtol=1e-10):
    for a, b in zip(naturals(found), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-11)


# Parts replaced, the rest kept


def test_layer_temperature_scales_the_variance():
    state = random_state([4, 5, 2])
    cold = state.with_layers([replace(layer, temperature=0.1) for layer in state.layers])
    for warm, cool in zip(state.moments(FLOAT), cold.moments(FLOAT), strict=True):
        np.testing.assert_allclose(cool.variance, 0.1 * warm.variance, rtol=1e-12)
        np.testing.assert_array_equal(cool.mean, warm.mean)


def test_temperatures_and_widths_are_those_of_the_layers():
    state = random_state([4, 5, 3, 2]).at_temperatures([0.2, 0.2, 0.7])
    assert [layer.temperature for layer in state.layers] == [0.2, 0.2, 0.7]
    wide = state.with_widths([3.0, 1.0, 0.5])
    assert [layer.predictive_temperature for layer in wide.layers] == pytest.approx([0.6, 0.2, 0.35], rel=1e-15)
    for width, before, training, predicting in zip(
        (3.0, 1.0, 0.5),
        state.moments("float64"),
        wide.training_moments("float64"),
        wide.moments("float64"),
        strict=True,
    ):
        np.testing.assert_array_equal(training.variance, before.variance)
        np.testing.assert_allclose(predicting.variance, width * before.variance, rtol=1e-14)
    assert wide.posteriors == state.posteriors


def test_a_state_is_not_changed():
    state = random_state([4, 2])
    with pytest.raises(FrozenInstanceError):
        state.mass = 1.0
    with pytest.raises(FrozenInstanceError):
        state.layers[0].temperature = 1.0


def test_noise_variance_is_that_of_the_outputs():
    state = random_state([4, 2], output="gaussian")
    noisy = state.with_noise_variance(np.array([2.0, 3.0]))
    np.testing.assert_array_equal(noisy.network.output.noise_variance, [2.0, 3.0])
    np.testing.assert_array_equal(state.network.output.noise_variance, 0.3)
    assert noisy.layers is state.layers and noisy.network.readout is state.network.readout


def test_other_posteriors_keep_the_rest_of_a_layer():
    state = with_layer(learned(random_state([4, 5, 2])), 0, temperature=0.4)
    other = random_state([4, 5, 2], seed=3).posteriors
    new = state.with_posteriors(other)
    assert all(a is b for a, b in zip(new.posteriors, other, strict=True))
    assert all(a is b for a, b in zip(priors_of(new), priors_of(state), strict=True))
    assert (new.layers[0].temperature, new.mass) == (0.4, 50)
    with pytest.raises(ValueError, match="zip"):
        state.with_posteriors(other[:1])


def test_known_state_keeps_the_rest():
    state = with_levels(random_state([4, 6, 2], constant=False, power=0.5))
    rule = PriorRule(LaplacePrior(), np.ones((6, 4)), False)
    state = with_layer(state, 0, temperature=0.3, rule=rule)
    posteriors = state.posteriors
    known = state.known()
    assert known.network is state.network
    assert (known.network.constant, known.power) == (False, 0.5)
    for before, after in zip(state.layers, known.layers, strict=True):
        assert (after.prior, after.temperature, after.lattice) == (before.prior, before.temperature, before.lattice)
        assert after.rule is None
    # Nor does it touch the state it came from.
    assert all(layer.posterior is q for layer, q in zip(state.layers, posteriors, strict=True))
    assert state.layers[0].rule is rule
    assert state.variance_floor == VARIANCE_FLOOR
    again = known.known()
    assert again.is_known
    np.testing.assert_array_equal(again.moments(FLOAT)[0].mean, known.moments(FLOAT)[0].mean)


def test_weights_may_be_said_to_be_given_ones():
    state = random_state([4, 5, 2])
    given = [np.full((5, 4), 2.0), np.full((2, 6), -1.0)]
    known = state.known(given)
    assert known.is_known
    for moments, weights in zip(known.moments(FLOAT), given, strict=True):
        np.testing.assert_array_equal(moments.mean, weights)
        np.testing.assert_array_equal(moments.variance, 0)


@FAMILY
def test_recentred(family):
    """Means of the other state; covariances of this one, but on levels, where the mean says the variance."""
    start, state = learned(untrained(family), seed=2), learned(untrained(family), seed=3)
    back = state.recentred(start)
    for new, mine, theirs in zip(back.layers, state.layers, start.layers, strict=True):
        np.testing.assert_array_equal(new.posterior.mean, theirs.posterior.mean)
        owner = theirs if family == "levels" else mine
        np.testing.assert_array_equal(new.moments(FLOAT).variance, owner.moments(FLOAT).variance)
        assert new.prior is mine.prior
    assert back.mass == state.mass


# Evidence


@FAMILY
def test_evidence_is_the_posterior_without_the_prior(family):
    state = untrained(family)
    for layer, given in zip(state.layers, known_of(state), strict=True):
        new = layer.with_evidence(given)
        assert_same_density(new.posterior, [a + b for a, b in zip(naturals(layer.prior), given, strict=True)])
        for part, expected in zip(layer.with_evidence(new.evidence()).evidence(), new.evidence(), strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-10, atol=1e-11)
        assert new.prior is layer.prior and layer.posterior is layer.prior


@FAMILY
def test_faded_evidence_is_its_power(family):
    state = learned(untrained(family))
    faded = state.faded(0.3)
    for new, old in zip(faded.layers, state.layers, strict=True):
        expected = [p + 0.3 * (q - p) for p, q in zip(naturals(old.prior), naturals(old.posterior), strict=True)]
        assert_same_density(new.posterior, expected)
    assert faded.mass == 0.3 * 50


def test_fading_reaches_the_noise_and_by_1_changes_nothing():
    noise = NoiseEvidence(1.0, 1.0, 40.0, np.array([3.0, 5.0]))
    state = replace(learned(random_state([4, 2], output="gaussian")), noise=noise)
    assert state.faded(1.0) is state
    faded = state.faded(0.5)
    assert faded.noise.mass == 0.5 * state.noise.mass
    np.testing.assert_array_equal(faded.noise.squares, 0.5 * state.noise.squares)
    assert faded.noise.prior_mass == 1.0
    nothing = replace(state, mass=0.0)
    assert nothing.faded(0.5) is nothing


@FAMILY
@pytest.mark.parametrize("step", [1.0, 0.25])
def test_changes_add_up(family, step):
    """Two states that learned apart from a common start: evidence adds to that of the start, which counts once."""
    start = replace(learned(untrained(family), mass=7.0), counts=UpdateCounts(rejected_steps=1))
    noise = NoiseEvidence(1.0, 0.5, 7.0, np.array([2.0]))
    start = replace(start.with_output(GaussianOutput(noise.variance)), noise=noise)
    more = [known_of(start, seed) for seed in (5, 6)]
    ends = []
    for index, (evidence, mass) in enumerate(zip(more, (10.0, 20.0), strict=True)):
        layers = [a.with_evidence(a.evidence().plus(e)) for a, e in zip(start.layers, evidence, strict=True)]
        noise = NoiseEvidence(1.0, 0.5, 7.0 + mass, np.array([2.0 + mass / 4]))
        counts = UpdateCounts(rejected_steps=1 + index, bounded_shifts=3)
        new = replace(start.with_layers(layers), mass=7 + mass, noise=noise, counts=counts, step=0.5 / (1 + index))
        ends.append(new)
    changes = [end.since(start) for end in ends]
    assert [(change.mass, change.step) for change in changes] == [(10, 0.5), (20, 0.25)]
    assert changes[1].counts == UpdateCounts(rejected_steps=1, bounded_shifts=3)
    total = start.plus(changes, step)
    for index, (new, old) in enumerate(zip(total.layers, start.layers, strict=True)):
        parts = zip(naturals(old.posterior), more[0][index], more[1][index], strict=True)
        assert_same_density(new.posterior, [a + step * (b + c) for a, b, c in parts], rtol=1e-9)
        assert new.prior is old.prior
    assert (total.mass, total.step, total.noise.mass) == (37, 0.25, 37)
    np.testing.assert_allclose(total.noise.squares, [2.0 + 30 / 4], rtol=1e-14)
    np.testing.assert_allclose(total.network.output.noise_variance, [(0.5 + 9.5) / (1 + 37)], rtol=1e-14)
    assert total.counts == UpdateCounts(rejected_steps=2, bounded_shifts=6)


def test_a_sum_refreshes_the_prior_once():
    layer, _ = ruled_layer(LaplacePrior(), False)
    start = random_state([3, 2], constant=False).with_layers([layer])
    nothing = Change([Evidence(np.zeros((2, 3)), np.zeros((2, 3)))], 0.0, None, UpdateCounts(), 1.0)
    total, once = start.plus([nothing, nothing]), layer.with_refreshed_prior(UpdateCounts())
    np.testing.assert_allclose(total.layers[0].prior.precision, once.prior.precision, rtol=1e-12)
    np.testing.assert_allclose(total.layers[0].posterior.mean, once.posterior.mean, rtol=1e-12)
    assert total.noise is None


def test_a_sum_that_is_no_posterior_is_refused():
    start = random_state([4, 2])
    prior = start.layers[0].prior
    change = Change([Evidence(-0.6 * prior.precision, prior.shift)], 1.0, None, UpdateCounts(), 1.0)
    assert start.plus([change]).layers[0].posterior.is_proper
    with pytest.raises(ValueError, match="does not add up to a posterior"):
        start.plus([change, change])
    assert start.plus([change, change], 0.5).layers[0].posterior.is_proper


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
        return LayerState(site, posterior, 1.0, PriorRule(prior, unit, constant)), data
    root = rng.standard_normal((2, 3, 5)) / 2
    data = root @ root.swapaxes(1, 2)
    diagonal = np.stack([np.diag(row) for row in site.precision])
    posterior = JointWeights.from_natural(diagonal + data, site.shift + data_shift)
    site = JointWeights(diagonal, site.mean)
    return LayerState(site, posterior, 1.0, PriorRule(prior, unit, constant)), data


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
    layer = replace(ruled_layer(LaplacePrior(), False)[0], temperature=0.3)
    before = [part.copy() for q in (layer.prior, layer.posterior) for part in (q.precision, q.mean)]
    new = layer.with_refreshed_prior(UpdateCounts())
    assert (new.temperature, new.rule, new.lattice) == (0.3, layer.rule, None)
    for a, b in zip(
        before, (part for q in (layer.prior, layer.posterior) for part in (q.precision, q.mean)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    plain = random_state([4, 3]).layers[0]
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
