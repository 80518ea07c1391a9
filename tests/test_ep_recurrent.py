"""Layers whose spikes act on their own later potentials: derivatives of log Z, draws of whole networks, limits."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from states import design

from sk_epsnn import LIF, EPSNNClassifier, EPSNNRegressor, Newton, SigmoidLIF, Stochastic, to_nir
from sk_epsnn._arrays import converted, to_numpy
from sk_epsnn.connections import Filter, Readout, Recurrent
from sk_epsnn.course import Rows
from sk_epsnn.ep import mixing
from sk_epsnn.ep.passes import backward, forward, log_partition, predict, predict_spread
from sk_epsnn.ep.recurrent import OwnSpikes
from sk_epsnn.ep.setup import set_up
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.leaks import with_leak
from sk_epsnn.network import Layer, Network
from sk_epsnn.outputs import SigmoidOutput
from sk_epsnn.priors import GaussianPrior

FLOAT = np.dtype(float)
N_STEPS, N_FEATURES = 8, 3
KINDS = {
    "reset": LIF(leak=0.7, reset=0.7),
    "recurrent": LIF(leak=0.7, recurrent=True),
    "both": LIF(leak=0.7, reset=1.0, recurrent=True),
    "sigmoid reset": SigmoidLIF(leak=0.7, reset=1.0),
    "sigmoid recurrent": SigmoidLIF(leak=0.7, recurrent=True),
}
EVERY = pytest.mark.parametrize("kind", KINDS)


def layer_of(neuron, n_units, width):
    if neuron.reset or neuron.recurrent:
        return Layer(Recurrent(n_units, width, neuron.leak, neuron.recurrent), neuron)
    return Layer(Filter(n_units, width, neuron.leak), neuron)


def signals(n_samples, n_steps=N_STEPS, seed=0):
    return np.random.default_rng(seed).normal(size=(n_samples, n_steps * N_FEATURES))


def state_of(neuron, sizes=(6,), n_out=2, share=0.1, n_steps=N_STEPS, kind=1, scale=2.0):
    """Weights as they start, of this share of their prior variance, and random ones of the outputs."""
    hidden, width = [], N_FEATURES
    for size in sizes:
        hidden.append(layer_of(neuron, size, width))
        width = size
    network = Network(tuple(hidden), Readout(n_out, width, kind, 0.5), SigmoidOutput(), True, n_steps * N_FEATURES)
    X = signals(60, n_steps)
    rows = Rows(X, np.ones((60, n_out)), np.ones(60))
    options = design(len(sizes) + 1, anchor=0.5, hidden_variance=9.0)
    state = set_up(network, options, rows, np.random.RandomState(0))
    densities = []
    for index, layer in enumerate(state.layers):
        mean, variance = layer.posterior.mean, 1 / layer.posterior.precision
        if index == len(sizes):
            mean = scale * np.random.default_rng(1).normal(size=mean.shape)
        densities.append(GaussianPrior().density(mean, share * variance, False))
    return state.with_posteriors(densities)


def passed(state, X, **options):
    weights = state.moments(X.dtype)
    return forward(state, state.network.enter(X), weights, **options), weights


# ---------------------------------------------------------------------- limits


@EVERY
def test_a_single_step_is_the_static_network(kind):
    neuron, X = KINDS[kind], signals(5, 1)
    state = state_of(neuron, n_steps=1)
    static = state_of(type(neuron)(leak=0.7), n_steps=1)
    columns = state.network.own_columns(0)
    kept = [layer.posterior for layer in state.layers]
    if columns is not None:
        parts = (np.delete(part, columns, axis=1) for part in (kept[0].mean, 1 / kept[0].precision))
        kept[0] = GaussianPrior().density(*parts, False)
    static = static.with_posteriors(kept)
    (up, weights), (plain, _) = passed(state, X), passed(static, X)
    for found, expected in zip(up.potentials[-1], plain.potentials[-1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    target = np.ones((5, 2))
    down = backward(state, up, target, weights, UpdateCounts())
    expected = backward(static, plain, target, static.moments(FLOAT), UpdateCounts())
    for found, right in zip(down.messages[0], expected.messages[0], strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("sizes", [(6,), (6, 4)], ids=["one", "two"])
@pytest.mark.parametrize("neuron", [LIF, SigmoidLIF])
def test_a_reset_of_all_but_nothing_is_none(neuron, sizes):
    X = signals(7)
    state, plain = state_of(neuron(0.7, reset=1e-9), sizes), state_of(neuron(0.7), sizes)
    assert state.layers[0].reset == pytest.approx(1e-9 * 3, rel=1e-3)
    (up, weights), (expected, theirs) = passed(state, X), passed(plain, X)
    for found, right in zip(up.potentials[-1], expected.potentials[-1], strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-8)
    target = np.ones((7, 2))
    down = backward(state, up, target, weights, UpdateCounts())
    right = backward(plain, expected, target, theirs, UpdateCounts())
    for mine, their in zip(down.messages[0], right.messages[0], strict=True):
        np.testing.assert_allclose(mine, their, rtol=1e-5, atol=1e-8)
    for joint in (False, True):
        mine, their = (each.between[0].site(joint=joint) for each in (down, right))
        np.testing.assert_allclose(mine, their, rtol=1e-5, atol=1e-8)


# ---------------------------------------------------------------------- messages


@EVERY
@pytest.mark.parametrize("kind_of_readout", [1, "last"])
def test_messages_are_derivatives_of_log_z(kind, kind_of_readout):
    """In the means of the hidden weights, by central differences with the terms between steps held."""
    state, X = state_of(KINDS[kind], (24,), scale=0.5, kind=kind_of_readout), signals(40)
    up, weights = passed(state, X)
    target = np.where(np.random.default_rng(5).random((40, 2)) < 0.5, -1.0, 1.0)
    down = backward(state, up, target, weights, UpdateCounts())
    noise = mixing.spike_noise(down.messages[0], up.inputs[0])
    found = mixing.mean_gradient(down.messages[0], up.inputs[0], weights[0].mean, noise)
    inputs, expected = state.network.enter(X), []
    places = [divmod(place, found.shape[1]) for place in np.random.default_rng(6).permutation(found.size)[:60]]
    for place in places:
        values = []
        for step in (1e-4, -1e-4):
            mean = weights[0].mean.copy()
            mean[place] += step
            last = forward(state, inputs, [weights[0].with_mean(mean), weights[1]], held=up).potentials[-1]
            values.append(log_partition(state, last, target).sum())
        expected.append((values[0] - values[1]) / 2e-4)
    found = np.array([found[place] for place in places])

    assert np.corrcoef(found, expected)[0, 1] > 0.999
    assert np.polyfit(expected, found, 1)[0] == pytest.approx(1, abs=0.01)


# ---------------------------------------------------------------------- draws of whole networks


def draws(state, X, n_draws, seed=0):
    """Mean and variance of the output potentials over weights and spikes."""
    rng, network = np.random.default_rng(seed), state.network
    first, total = network.enter(X).mean, []
    for _ in range(n_draws):
        rows = first
        for index, (weights, layer) in enumerate(zip(state.moments(FLOAT), state.layers, strict=True)):
            drawn = weights.mean + np.sqrt(weights.variance) * rng.standard_normal(weights.mean.shape)
            if index == len(network.hidden):
                break
            spikes = fired(rows.reshape(len(X), -1, rows.shape[1]), drawn, layer.reset, network, index, rng)
            rows = network.connections[index + 1].gather(spikes.reshape(len(X), -1))
            rows = np.hstack([rows, np.ones((len(rows), 1))])
        total.append(rows @ drawn.T)
    return np.mean(total, axis=0), np.var(total, axis=0, ddof=1)


def fired(inputs, weights, reset, network, index, rng):
    """Spikes of a layer at all steps."""
    neuron, columns = network.hidden[index].neuron, network.own_columns(index)
    outer = weights if columns is None else np.delete(weights, columns, axis=1)
    inner = -reset * np.eye(len(weights)) if columns is None else weights[:, columns]
    trace, spikes = np.zeros((len(inputs), len(weights))), []
    for step in range(inputs.shape[1]):
        potential = inputs[:, step] @ outer.T + trace @ inner.T
        threshold = 0.0 if neuron.has_ties else rng.logistic(size=potential.shape)
        spikes.append(np.where(potential >= threshold, 1.0, 0.0))
        trace = neuron.leak * trace + (1 - neuron.leak) * spikes[-1]
    return np.stack(spikes, axis=1)


@EVERY
def test_moments_of_the_outputs_are_those_of_draws(kind):
    state, X = state_of(KINDS[kind], sizes=(12,), share=0.05), signals(30)
    found = predict(state, state.network.enter(X), state.moments(FLOAT))
    mean, variance = draws(state, X, 3000)
    assert np.median(found.variance / variance) == pytest.approx(1, abs=0.1)
    assert np.sqrt(np.mean((found.mean - mean) ** 2 / variance)) < 0.12


def test_neurons_that_drive_each_other_go_up_and_down_together():
    """Alone their variances would add up to two thirds of that of their sum."""
    state, X = state_of(KINDS["recurrent"], sizes=(12,), n_out=1, share=0.05), signals(30)
    first, last = (layer.posterior for layer in state.layers)
    mean = first.mean.copy()
    mean[:, state.network.own_columns(0)] = 0.4
    mean[:, -1] -= 0.4 * 12 / 2
    first = GaussianPrior().density(mean, 1 / first.precision, False)
    last = GaussianPrior().density(np.ones_like(last.mean), 1e-4 * np.ones_like(last.mean), False)
    state = state.with_posteriors([first, last])
    weights = state.moments(FLOAT)
    found = predict(state, state.network.enter(X), weights)
    _, variance = draws(state, X, 2000)
    assert np.median(found.variance / variance) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("kind", ["reset", "recurrent"])
def test_moments_with_two_hidden_layers(kind):
    """Spikes that are uncertain inputs are taken to go up and down together: variances are 1.1 times, with resets 1.2
    times those of draws."""
    state, X = state_of(KINDS[kind], sizes=(12, 10), share=0.05), signals(30)
    found = predict(state, state.network.enter(X), state.moments(FLOAT))
    mean, variance = draws(state, X, 2000)
    assert np.median(found.variance / variance) == pytest.approx(1.1, abs=0.15)
    assert np.sqrt(np.mean((found.mean - mean) ** 2 / variance)) < 0.1


def test_a_reset_takes_from_the_variance_of_potentials():
    """A neuron that its weights make fire is pulled down for it; without that path the variance would be larger."""
    state, X = state_of(LIF(leak=0.7, reset=2.0), sizes=(12,)), signals(30)
    up, _ = passed(state, X)
    assert np.median(up.own[0].potentials[:, 1:]) < 0
    np.testing.assert_array_equal(up.own[0].potentials[:, 0], 0)


@pytest.mark.parametrize("kind", ["sigmoid reset", "sigmoid recurrent"])
def test_known_weights_leave_the_noise_of_spikes(kind):
    state, X = state_of(KINDS[kind], sizes=(12,)).known(), signals(20)
    spread = predict_spread(state, state.network.enter(X), state.moments(FLOAT))
    _, variance = draws(state, X, 3000)
    assert np.median((spread.epistemic + spread.aleatoric) / variance) == pytest.approx(1, abs=0.12)
    assert np.median(spread.aleatoric / variance) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("kind", ["reset", "recurrent"])
def test_known_thresholds_do_what_their_weights_say(kind):
    """Spikes of known weights follow without any doubt, whatever their own traces do."""
    state, X = state_of(KINDS[kind], sizes=(12,)).known(), signals(20)
    found = predict(state, state.network.enter(X), state.moments(FLOAT))
    mean, variance = draws(state, X, 2)
    np.testing.assert_array_equal(variance, 0)
    np.testing.assert_allclose(found.mean, mean, atol=1e-9)
    assert found.variance.max() < 1e-9


# ---------------------------------------------------------------------- where it starts


def test_a_reset_is_in_standard_deviations_of_the_potential():
    state = state_of(LIF(leak=0.7, reset=2.0), sizes=(5, 4))
    # The second layer reads five spikes, half of the time, and a constant, with weights of the variance 2 * 9 / 6.
    assert [layer.reset for layer in state.layers] == pytest.approx([2 * 3, 2 * np.sqrt(3.5 * 3), 0])
    state = state_of(LIF(leak=0.7, reset=2.0, recurrent=True))
    columns = state.network.own_columns(0)
    assert state.layers[0].reset == 0 and (columns.start, columns.stop) == (3, 9)
    # Prior variance 9, half of it for six traces of the layer; half a standard deviation of it at the start.
    own = state.layers[0].prior.mean[:, columns] + 6 * np.eye(6)
    assert np.abs(own).max() < 4 * 0.5 * np.sqrt(9 / 2 / 6)
    np.testing.assert_allclose(1 / state.layers[0].prior.precision[:, columns], 9 / 2 / 6)


@EVERY
def test_neurons_fire_half_of_the_time_at_the_start(kind):
    """Where traces have settled."""
    state = state_of(KINDS[kind], sizes=(30,), n_steps=40)
    up, _ = passed(state, signals(60, 40))
    assert up.spikes[0].probability.reshape(60, 40, 30)[:, 10:].mean() == pytest.approx(0.5, abs=0.06)


# ---------------------------------------------------------------------- estimators


def order(n_samples=150, n_steps=8, seed=0):
    """Two pulses in noise: which of two channels had one first."""
    rng = np.random.default_rng(seed)
    X, y = 0.3 * rng.standard_normal((n_samples, n_steps, 2)), rng.integers(0, 2, n_samples)
    early, late = np.sort([rng.choice(n_steps, 2, replace=False) for _ in range(n_samples)], axis=1).T
    rows = np.arange(n_samples)
    X[rows, early, y] += 2
    X[rows, late, 1 - y] += 2
    return X, y


@pytest.mark.parametrize(
    ("neuron", "inference"),
    [(LIF(0.7, reset=0.3), Stochastic(n_passes=12)), (SigmoidLIF(0.7, recurrent=True), Newton(n_sweeps=4))],
    ids=["reset, stochastic", "recurrent, newton"],
)
def test_estimators_learn(neuron, inference):
    X, y = order()
    model = EPSNNClassifier(10, activation=neuron, inference=inference, random_state=0, max_iter=12).fit(X, y)
    assert model.score(*order(seed=1)) > 0.75
    assert [coef.shape for coef in model.coefs_] == [(2, 10), (10, 1)]
    assert np.isfinite(model.predict_uncertainty(X).total).all()
    first, again = (clone(model).set_params(max_iter=1, n_jobs=n_jobs).fit(X[:60], y[:60]) for n_jobs in (None, 2))
    np.testing.assert_array_equal(again.predict_proba(X), first.predict_proba(X))


QUICK = Stochastic(n_passes=2, validation_fraction=0)


@pytest.mark.parametrize("neuron", [LIF(0.6, reset=1.0), LIF(0.6, recurrent=True)], ids=["reset", "recurrent"])
def test_a_sample_that_ends_is_as_the_shorter_one(neuron):
    X, y = order(60)
    model = EPSNNClassifier((5, 4), activation=neuron, inference=QUICK, random_state=0).fit(X, y)
    padded = X.copy()
    padded[::2, 5:] = np.nan
    found = model.predict_proba(padded)
    np.testing.assert_allclose(found[::2], model.predict_proba(X[::2, :5]), rtol=1e-9)
    np.testing.assert_allclose(found[1::2], model.predict_proba(X[1::2]), rtol=1e-9)


def test_a_leak_is_chosen_for_all_traces():
    network = state_of(LIF(0.7, recurrent=True)).network
    connection = Recurrent(6, N_FEATURES, "auto")
    open_network = replace(network, hidden=(Layer(connection, LIF("auto", recurrent=True)),))
    state = replace(state_of(LIF(0.7, recurrent=True)), network=with_leak(open_network, 0.84))
    assert OwnSpikes.of(state, 0).leak == 0.84 and state.network.fan_ins[0] == N_FEATURES + 6 + 1


def test_graphs_that_have_no_node_for_own_spikes_say_so():
    pytest.importorskip("nir", reason="nir is not installed")
    X, y = order(60)
    inference = Stochastic(n_passes=2)
    model = EPSNNClassifier(5, activation=LIF(0.6, reset=1.0), inference=inference, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="those that leak and do no more .reset=0.0, recurrent=False."):
        to_nir(model.freeze())


def test_recurrent_weights_can_be_read():
    X, y = order(60)
    parameters = {"inference": QUICK, "random_state": 0}
    model = EPSNNClassifier((5, 4), activation=[LIF(0.6, recurrent=True), LIF(0.6)], **parameters).fit(X, y)
    own, none = model.recurrent_coefs_
    assert own.shape == (5, 5) and none is None
    state = model._progress.state
    np.testing.assert_array_equal(own.T, state.moments("float64")[0].mean[:, state.network.own_columns(0)])
    plain = EPSNNClassifier(5, activation=LIF(0.6), **parameters).fit(X, y)
    assert plain.recurrent_coefs_ == [None]


def test_regressors_and_levels_take_a_reset():
    X, y = order(80)
    target = y + 0.1 * X[:, 0, 0]
    model = EPSNNRegressor(6, activation=LIF(0.6, reset=0.5), inference=Stochastic(n_passes=4), random_state=0)
    assert np.isfinite(model.fit(X, target).predict(X)).all()
    discrete = EPSNNClassifier(6, activation=LIF(0.6, reset=0.5), weights="binary", random_state=0)
    discrete.set_params(inference=Stochastic(n_passes=4)).fit(X, y)
    assert discrete._progress.state.layers[0].reset > 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"activation": LIF(reset=-1.0)}, "reset"),
        ({"activation": LIF(recurrent="yes")}, "recurrent"),
        ({"activation": LIF(0.5, recurrent=True), "weights": "binary"}, "set weights='continuous' or recurrent=False"),
        ({"activation": LIF(0.5, reset=1.0), "hidden_layer_sizes": ()}, "set hidden_layer_sizes, or leave reset=0.0"),
        ({"activation": LIF(0.5, recurrent=True), "inference": "average_ep"}, "set inference='stochastic' or 'newton'"),
    ],
    ids=["reset", "recurrent", "levels", "no hidden", "average"],
)
def test_what_is_refused(parameters, message):
    X, y = order(30)
    model = EPSNNClassifier(**{"hidden_layer_sizes": 4, **parameters})
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "classes_")


def test_arrays_of_other_libraries_give_the_same():
    xp = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    state, X = state_of(KINDS["both"], sizes=(6, 4)), signals(7)
    there, results = converted(state, xp.asarray), []
    for here, rows, target in ((state, X, np.ones((7, 2))), (there, xp.asarray(X), xp.asarray(np.ones((7, 2))))):
        up, weights = passed(here, rows)
        down = backward(here, up, target, weights, UpdateCounts())
        spread = predict_spread(here, here.network.enter(rows), weights)
        held = forward(here, here.network.enter(rows), weights, held=up).potentials[-1]
        results.append([*down.messages[0], down.between[0].site(joint=True), *spread, *held])
    for found, expected in zip(*results[::-1], strict=True):
        assert type(found) is type(xp.asarray(0.0))
        np.testing.assert_allclose(to_numpy(found), expected)


def test_a_reset_leaves_no_lattice():
    """Potentials of levels that a reset takes something off are no sums of levels any more."""
    rng = np.random.default_rng(0)
    X, y = (rng.random((40, 5, 3)) < 0.5) * 1.0, rng.integers(0, 2, 40)
    options = {"weights": "binary", "fit_intercept": False, "inference": Stochastic(n_passes=1), "random_state": 0}
    for reset in (0.0, 1.0):
        model = EPSNNClassifier(4, activation=LIF(0.0, reset=reset), **options).fit(X, y)
        assert (model._progress.state.layers[0].lattice is None) == (reset > 0)


def test_a_reset_out_of_range_is_named():
    X, y = order(30)
    for constant in (True, False):
        with pytest.raises(ValueError, match="reset of neurons closer to 1"):
            EPSNNClassifier(4, activation=LIF(0.5, reset=1e300), fit_intercept=constant).fit(X, y)
