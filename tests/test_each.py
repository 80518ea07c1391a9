"""A target for every step: static networks on rows and on traces, derivatives, draws, absent steps, searches, streams."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from states import design

from sk_epsnn import (
    LIF,
    AverageEP,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianPrior,
    Newton,
    PopulationEncoder,
    SigmoidLIF,
    Stochastic,
    merge,
    to_nir,
)
from sk_epsnn.connections import Filter, Recurrent
from sk_epsnn.course import Rows
from sk_epsnn.ep import mixing
from sk_epsnn.ep.energy import data_energy
from sk_epsnn.ep.passes import backward, forward
from sk_epsnn.ep.setup import set_up
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.estimators._each import labels_of_steps, numbers_of_steps, reads_each, with_last
from sk_epsnn.network import Layer, Network
from sk_epsnn.outputs import GaussianOutput, HeteroscedasticOutput, SigmoidOutput, SoftmaxOutput

N_STEPS, N_FEATURES = 8, 3
EACH = LIF(leak=0.6, readout="each")


def traces(X, leak):
    """``x_t = leak x_(t-1) + (1 - leak) v_t``, absent steps as zeros."""
    result = [np.zeros_like(X[:, 0])]
    for t in range(X.shape[1]):
        result.append(leak * result[-1] + (1 - leak) * np.nan_to_num(X[:, t]))
    return np.stack(result[1:], axis=1)


def signals(leak=0.6, n_samples=30, seed=0):
    """Signals that end, weights of the samples, and what is linear in the traces at every step."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, N_STEPS, N_FEATURES))
    ends = rng.integers(2, N_STEPS + 1, n_samples)
    X[np.arange(N_STEPS) >= ends[:, None]] = np.nan
    trace = traces(X, leak)
    return X, trace[..., 0] - trace[..., 1] + 0.1 * rng.standard_normal(trace.shape[:2]), rng.uniform(0.5, 2, n_samples)


def labels(level):
    return np.digitize(level, [-0.4, 0.3])


MODELS = {
    "real": (EPSNNRegressor, {}),
    "varying noise": (EPSNNRegressor, {"noise_variance": "heteroscedastic"}),
    "two classes": (EPSNNClassifier, {}),
    "three classes": (EPSNNClassifier, {}),
    "thresholds": (EPSNNClassifier, {"output_activation": "heaviside"}),
}


def targets(name, level):
    if MODELS[name][0] is EPSNNRegressor:
        return level
    return (level > 0).astype(int) if name == "two classes" else labels(level)


def said(model, X):
    """Predictions that the tests compare."""
    if isinstance(model, EPSNNClassifier):
        return model.predict_proba(X)
    return np.stack([*model.predict(X, return_std=True), model.predict_uncertainty(X).epistemic], axis=-1)


# ---------------------------------------------------------------------- networks of rows


@pytest.mark.parametrize("hidden", [(), 5], ids=["single", "hidden"])
@pytest.mark.parametrize("leak", [0.0, 0.6])
@pytest.mark.parametrize("name", MODELS)
def test_is_the_static_network_on_rows(name, leak, hidden):
    """On traces of the inputs without hidden layers, and without a leak on the steps, each of which is a row then."""
    if hidden and leak > 0:
        pytest.skip("hidden neurons leak too")
    kind, parameters = MODELS[name]
    X, level, weight = signals(leak)
    y, present = targets(name, level), ~np.isnan(X[..., 0])
    parameters = {**parameters, "hidden_layer_sizes": hidden, "shuffle": False, "random_state": 0, "batch_size": 240}
    if hidden:
        parameters |= {"inference": Newton(n_sweeps=3), "max_iter": 2}
    rows, weights = traces(X, leak)[present], np.repeat(weight, present.sum(1))
    static = kind(**parameters).fit(rows, y[present], sample_weight=weights)
    model = kind(**parameters, activation=LIF(leak=leak, readout="each")).fit(X, y, sample_weight=weight)
    found = said(model, X)
    np.testing.assert_allclose(found[present], said(static, rows), rtol=1e-7, atol=1e-8)
    assert np.isnan(found[~present]).all()
    assert model.history_["energy"] == pytest.approx(static.history_["energy"], rel=1e-9)
    assert model.score(X, y, weight) == pytest.approx(static.score(rows, y[present], weights))


@pytest.mark.parametrize("name", ["real", "three classes"])
def test_steps_without_a_target_and_weights_of_classes(name):
    """Under a prior that is the same whatever the rows are, as if these rows were not there, or counted so much."""
    kind, _ = MODELS[name]
    X, level, weight = signals()
    y, known = targets(name, level).astype(float), ~np.isnan(X[..., 0])
    known[:, 1] = known[3] = False
    y[~known] = np.nan
    parameters = {"prior": GaussianPrior(variance=2.0), "shuffle": False, "batch_size": 240}
    if kind is EPSNNClassifier:
        parameters["class_weight"] = {0: 1.0, 1: 3.0, 2: 0.5}
    rows = traces(X, 0.6)[known]
    static = kind(**parameters).fit(rows, y[known], sample_weight=np.repeat(weight[:, None], N_STEPS, 1)[known])
    model = kind(**parameters, activation=EACH).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(said(model, X)[known], said(static, rows), rtol=1e-7, atol=1e-9)
    if kind is EPSNNClassifier:
        balanced = model.set_params(class_weight="balanced").fit(X, y)
        static.set_params(class_weight="balanced").fit(rows, y[known])
        np.testing.assert_allclose(said(balanced, X)[known], said(static, rows), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("inference", [Newton(n_sweeps=2), Stochastic(n_passes=3)], ids=["newton", "stochastic"])
@pytest.mark.parametrize("kind", [EPSNNRegressor, EPSNNClassifier])
def test_what_is_not_there_does_not_matter(kind, inference):
    """Targets after the end of a sample, and hidden layers with a memory."""
    X, level, _ = signals()
    y = level if kind is EPSNNRegressor else labels(level)
    other, absent = y.astype(float), np.isnan(X[..., 0])
    other[absent] = np.where(np.arange(absent.sum()) % 2, np.nan, np.inf)
    model = kind(5, activation=EACH, inference=inference, max_iter=3, random_state=0)
    found, expected = (clone(model).fit(X, each) for each in (other, y))
    np.testing.assert_array_equal(said(found, X), said(expected, X))
    assert found.score(X, other) == expected.score(X, y)


# ---------------------------------------------------------------------- messages


NEURONS = {
    "lif": LIF(0.7),
    "no leak": LIF(0.0),
    "sigmoid": SigmoidLIF(0.7),
    "reset": LIF(0.7, reset=0.7),
    "recurrent": LIF(0.7, recurrent=True),
}


def state_of(neuron, sizes, output, n_out, X):
    """Hidden weights as they start, of a tenth of their prior variance, and small random ones of the outputs."""
    hidden, width = [], N_FEATURES
    for size in sizes:
        kind = Recurrent if neuron.reset or neuron.recurrent else Filter
        extra = (neuron.recurrent,) if kind is Recurrent else ()
        hidden.append(Layer(kind(size, width, neuron.leak, *extra), neuron))
        width = size
    network = Network(tuple(hidden), Filter(n_out, width, neuron.leak), output, True, X.shape[1])
    rows = Rows(X, np.ones((*X.shape[:1], N_STEPS, network.n_targets)), np.ones(len(X)), np.ones((len(X), N_STEPS)))
    options = design(len(sizes) + 1, anchor=0.5, hidden_variance=9.0)
    state = set_up(network, options, rows, np.random.RandomState(0))
    densities = []
    for index, layer in enumerate(state.layers):
        mean, variance = layer.posterior.mean, 0.1 / layer.posterior.precision
        if index == len(sizes):
            mean = 0.2 * np.random.default_rng(1).normal(size=mean.shape)
        densities.append(GaussianPrior().density(mean, variance, False))
    return state.with_posteriors(densities)


def gaussian(rng, n):
    return rng.standard_normal((n, 2))


def signs(rng, n):
    return rng.choice([-1.0, 1.0], (n, 2))


def one_of_three(rng, n):
    return np.where(np.arange(3) == rng.integers(0, 3, (n, 1)), 1.0, -1.0)


OUTPUTS = {
    "sigmoid": (SigmoidOutput(), 2, signs),
    "softmax": (SoftmaxOutput(), 3, one_of_three),
    "real": (GaussianOutput(np.full(2, 0.3)), 2, gaussian),
    "varying noise": (HeteroscedasticOutput(np.full(2, 0.3), varies=True), 4, gaussian),
}


@pytest.mark.parametrize(
    ("neuron", "sizes", "output"),
    [
        *((neuron, (24,), "sigmoid") for neuron in NEURONS),
        *(("lif", (24,), output) for output in OUTPUTS if output != "sigmoid"),
        *((neuron, (16, 16), "sigmoid") for neuron in ("lif", "recurrent")),
    ],
)
def test_messages_are_derivatives_of_log_z(neuron, sizes, output):
    """In the means of the first weights, by central differences with the terms between steps held."""
    rng, n_samples = np.random.default_rng(5), 40
    units, n_out, draw = OUTPUTS[output]
    X = rng.standard_normal((n_samples, N_STEPS * N_FEATURES))
    state = state_of(NEURONS[neuron], sizes, units, n_out, X)
    target = draw(rng, n_samples * N_STEPS).reshape(n_samples, N_STEPS, -1)
    weight, step_weight = rng.uniform(0.5, 2, n_samples), rng.choice([0.0, 0.5, 1.0], (n_samples, N_STEPS))
    batch, weights = state.network.batch(X, target, weight, step_weight), state.moments("float64")
    up = forward(state, batch.inputs, weights)
    down = backward(state, up, batch.target, weights, UpdateCounts(), step_weight=batch.step_weight)
    message = down.messages[0].times(np.repeat(weight, N_STEPS))
    noise = mixing.spike_noise(message, up.inputs[0])
    gradient = mixing.mean_gradient(message, up.inputs[0], weights[0].mean, noise)
    found, expected = [], []
    for place in rng.permutation(gradient.size)[:40]:
        values = []
        for step in (1e-4, -1e-4):
            mean = weights[0].mean.copy()
            mean.flat[place] += step
            ahead = forward(state, batch.inputs, [weights[0].with_mean(mean), *weights[1:]], held=up)
            values.append(data_energy(state, batch, ahead.potentials[-1]))
        found.append(gradient.flat[place])
        expected.append((values[0] - values[1]) / 2e-4)
    print(neuron, sizes, output, np.corrcoef(found, expected)[0, 1], np.polyfit(expected, found, 1)[0])
    assert np.corrcoef(found, expected)[0, 1] > 0.999
    assert np.polyfit(expected, found, 1)[0] == pytest.approx(1, abs=0.02)


# ---------------------------------------------------------------------- draws


@pytest.mark.parametrize(
    "activation",
    [LIF(0.8, readout="each"), SigmoidLIF(0.8, readout="each"), LIF(0.5, recurrent=True, readout="each")],
    ids=["lif", "sigmoid", "recurrent"],
)
def test_predictive_variance_is_that_of_networks_drawn_from_the_posterior(activation):
    X, y = cues(100, 0)
    model = EPSNNClassifier(12, activation=activation, inference=Stochastic(n_passes=5), random_state=0).fit(X, y)
    found = model.predict_potentials(X[:40])
    drawn = [model.freeze("sample", random_state=seed).predict_potentials(X[:40]) for seed in range(300)]
    means, variances = (np.stack(part) for part in zip(*drawn, strict=True))
    exact = means.var(0) + variances.mean(0)
    print(
        activation,
        np.median(found.variance / exact, axis=(0, 2)),
        np.sqrt(np.mean((found.mean - means.mean(0)) ** 2 / exact)),
    )
    assert np.median(found.variance / exact) == pytest.approx(1, abs=0.12)
    assert np.sqrt(np.mean((found.mean - means.mean(0)) ** 2 / exact)) < 0.25


# ---------------------------------------------------------------------- what there is to learn


def cues(n_samples, seed, n_steps=20):
    """Which of two channels has had a pulse last, among others that say nothing."""
    rng = np.random.default_rng(seed)
    X = (rng.random((n_samples, n_steps, 4)) < 0.08).astype(float)
    X[..., 1] *= 1 - X[..., 0]
    X[:, 0, :2] = np.eye(2)[rng.integers(0, 2, n_samples)]
    cue = np.where(X[..., :2].any(axis=2), X[..., 1], -1)
    y = np.array([[row[: t + 1][row[: t + 1] >= 0][-1] for t in range(n_steps)] for row in cue])
    return X, y.astype(int)


def test_remembers_which_cue_came_last():
    (X, y), (X_test, y_test) = cues(150, 0), cues(100, 1)
    activation = LIF(0.5, recurrent=True, readout="each")
    model = EPSNNClassifier(20, activation=activation, inference=Stochastic(n_passes=15), random_state=0).fit(X, y)
    static = EPSNNClassifier(20, random_state=0).fit(X.reshape(-1, 4), y.ravel())
    print(static.score(X_test.reshape(-1, 4), y_test.ravel()), model.score(X_test, y_test))
    assert static.score(X_test.reshape(-1, 4), y_test.ravel()) < 0.7
    assert model.score(X_test, y_test) > 0.9
