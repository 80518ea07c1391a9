"""A target for every step: static networks on rows and traces, derivatives, draws, absent steps, searches, streams."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from states import design

from sk_epsnn import (
    LIF,
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
from sk_epsnn.ep.held_out import HeldOut, _log_densities, _splits
from sk_epsnn.ep.passes import backward, forward, predict
from sk_epsnn.ep.setup import set_up
from sk_epsnn.ep.sites import UpdateCounts
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


@pytest.mark.parametrize(("leak", "hidden"), [(0.0, ()), (0.6, ()), (0.0, 5)], ids=["no leak", "leak", "hidden"])
@pytest.mark.parametrize("name", MODELS)
def test_is_the_static_network_on_rows(name, leak, hidden):
    """On traces of the inputs without hidden layers, and without a leak on the steps, each of which is a row then."""
    kind, parameters = MODELS[name]
    X, level, weight = signals(leak)
    y, present = targets(name, level), ~np.isnan(X[..., 0])
    parameters = {**parameters, "hidden_layer_sizes": hidden, "shuffle": False, "random_state": 0, "batch_size": 240}
    if hidden:
        prior = GaussianPrior(spectral_exponent=0.5)  # automatic ones are tried on other batches
        parameters |= {"inference": Newton(n_sweeps=3), "max_iter": 2, "prior": prior}
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
    assert np.corrcoef(found, expected)[0, 1] > 0.999
    assert np.polyfit(expected, found, 1)[0] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("output", ["real", "softmax"])
def test_held_out_samples_judge_as_a_whole(output):
    """They are independent, and their steps are not."""
    rng = np.random.default_rng(7)
    units, n_out, draw = OUTPUTS[output]
    X = rng.standard_normal((40, N_STEPS * N_FEATURES))
    state = state_of(NEURONS["lif"], (6,), units, n_out, X)
    target = draw(rng, 40 * N_STEPS).reshape(40, N_STEPS, -1)
    rows = Rows(X, target, rng.uniform(0.5, 2, 40), rng.choice([0.0, 0.5, 1.0], (40, N_STEPS)))
    ((judges, others),) = _splits(state, rows, HeldOut(10, (), ()), np.random.RandomState(0))
    assert judges.n_samples == 10 and others.n_samples == 30 and others.target.shape[:2] == (30, N_STEPS)
    last = predict(state, judges.inputs, state.moments("float64"))
    if output == "real":
        of_steps = norm.logpdf(judges.target, last.mean, np.sqrt(last.variance + 0.3)).sum(axis=1)
    else:
        of_steps = units.log_probability(last.mean, last.variance)[judges.target > 0]
    expected = (of_steps * judges.step_weight).reshape(10, N_STEPS).sum(axis=1)
    np.testing.assert_allclose(_log_densities([state, state], judges), [expected, expected], rtol=1e-6)


# ---------------------------------------------------------------------- what there is to learn


def cues(n_samples, seed, n_steps=15):
    """Which of two channels has had a pulse last, among others that say nothing."""
    rng = np.random.default_rng(seed)
    X = (rng.random((n_samples, n_steps, 4)) < 0.08).astype(float)
    X[..., 1] *= 1 - X[..., 0]
    X[:, 0, :2] = np.eye(2)[rng.integers(0, 2, n_samples)]
    cue = np.where(X[..., :2].any(axis=2), X[..., 1], -1)
    y = np.array([[row[: t + 1][row[: t + 1] >= 0][-1] for t in range(n_steps)] for row in cue])
    return X, y.astype(int)


def walks(n_samples, seed, n_steps=25, n_cells=16):
    """A position that drifts, and the spikes of cells each of which prefers another one."""
    rng = np.random.default_rng(seed)
    drift = 0.12 * rng.standard_normal((n_samples, n_steps)).cumsum(axis=1) + rng.uniform(-1, 1, (n_samples, 1))
    position = np.abs((drift + 1) % 4 - 2) - 1
    tuning = 0.5 * np.exp(-0.5 * ((position[..., None] - np.linspace(-1.1, 1.1, n_cells)) / 0.2) ** 2)
    return (rng.random(tuning.shape) < 0.02 + tuning).astype(float), position


def windows(X, width):
    """The last steps side by side, zeros before the first."""
    before = np.pad(X, ((0, 0), (width - 1, 0), (0, 0)))
    sides = [before[:, lag : lag + X.shape[1]] for lag in range(width)]
    return np.concatenate(sides, axis=2).reshape(-1, width * X.shape[2])


def test_remembers_which_cue_came_last():
    (X, y), (X_test, y_test) = cues(100, 0), cues(100, 1)
    static = EPSNNClassifier(10, random_state=0).fit(X.reshape(-1, 4), y.ravel())
    assert static.score(X_test.reshape(-1, 4), y_test.ravel()) < 0.75
    assert EPSNNClassifier(activation=LIF(readout="each")).fit(X, y).score(X_test, y_test) > 0.93
    parameters = {"activation": LIF(0.5, readout="each"), "inference": Stochastic(n_passes=10), "random_state": 0}
    assert EPSNNClassifier(15, **parameters).fit(X, y).score(X_test, y_test) > 0.9


def test_reads_a_position_from_spikes():
    """Better than a ridge regression on windows of any width, and says how well."""
    (X, y), (X_test, y_test) = walks(60, 0), walks(60, 1)
    ridges = [RidgeCV(np.logspace(-2, 3, 6)).fit(windows(X, width), y.ravel()) for width in (1, 5, 10)]
    best = max(r.score(windows(X_test, w), y_test.ravel()) for r, w in zip(ridges, (1, 5, 10), strict=True))
    model = EPSNNRegressor(12, activation=LIF(0.5, readout="each"), inference="stochastic", random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > best + 0.01 > 0.75
    mean, std = model.predict(X_test, return_std=True)
    assert np.mean(np.abs(y_test - mean) < 1.96 * std) == pytest.approx(0.94, abs=0.04)
    single = EPSNNRegressor(activation=LIF(readout="each")).fit(X, y)
    assert single.score(X_test, y_test) > best - 0.03
    ahead = np.concatenate([y[:, 2:], np.full((60, 2), np.nan)], axis=1)  # two steps ahead
    assert single.fit(X, ahead).score(X_test[:, :-2], y_test[:, 2:]) > 0.6


@pytest.mark.parametrize(
    "activation",
    [LIF(0.8, readout="each"), SigmoidLIF(0.8, readout="each"), LIF(0.7, reset=0.5, readout="each")],
    ids=["lif", "sigmoid", "reset"],
)
def test_predictive_variance_is_that_of_networks_drawn_from_the_posterior(activation):
    X, y = cues(60, 0)
    model = EPSNNClassifier(12, activation=activation, inference=Stochastic(n_passes=4), random_state=0).fit(X, y)
    found = model.predict_potentials(X[:12])
    drawn = [model.freeze("sample", random_state=seed).predict_potentials(X[:12]) for seed in range(100)]
    means, variances = (np.stack(part) for part in zip(*drawn, strict=True))
    exact = means.var(0) + variances.mean(0)
    assert np.median(found.variance / exact) == pytest.approx(1, abs=0.1)
    assert np.sqrt(np.mean((found.mean - means.mean(0)) ** 2 / exact)) < 0.2


# ---------------------------------------------------------------------- estimators


QUICK = {"inference": Newton(n_sweeps=2), "max_iter": 1, "random_state": 0}


def test_shapes():
    X, level, _ = signals()
    two = np.stack([level, -3 * level], axis=2)
    model = EPSNNRegressor(5, activation=EACH, **QUICK).fit(X, two)
    ends = (~np.isnan(X[..., 0])).sum(axis=1)
    present = np.arange(N_STEPS) < ends[:, None]
    mean, std = model.predict(X, return_std=True)
    for part in (mean, std, *model.predict_uncertainty(X), *model.predict_potentials(X)):
        assert part.shape == (30, N_STEPS, 2)
        np.testing.assert_array_equal(np.isfinite(part), np.stack([present] * 2, axis=2))
    assert model.n_outputs_ == 2 and model.noise_variance_.shape == (2,)
    longer = np.concatenate([X[ends == N_STEPS]] * 2, axis=1)
    np.testing.assert_allclose(model.predict(longer)[:, :N_STEPS], mean[ends == N_STEPS], rtol=1e-9)
    model = EPSNNClassifier(5, activation=EACH, **QUICK).fit(X.astype(np.float32), labels(level))
    assert model.predict_proba(X.astype(np.float32)).dtype == np.float32
    for part in model.predict_uncertainty(X):
        assert part.shape == (30, N_STEPS)


def test_labels_of_any_type():
    X, level, _ = signals()
    words = np.array(["low", "middle", "high"])[labels(level)]
    absent = np.isnan(X[..., 0])
    model = EPSNNClassifier(activation=EACH).fit(X, words)
    given = words.astype(object)
    given[absent] = None
    given[2, 0] = np.nan
    with_gap = EPSNNClassifier(activation=EACH).fit(X, given.tolist())
    np.testing.assert_array_equal(with_gap.classes_, ["high", "low", "middle"])
    found, ends = model.predict(X), (~absent).sum(axis=1)
    assert found.shape == (30, N_STEPS)
    expected = model.classes_[np.nan_to_num(model.predict_proba(X)).argmax(axis=2)]
    for row, best, end in zip(found, expected, ends, strict=True):
        np.testing.assert_array_equal(row[:end], best[:end])
        assert (row[end:] == best[end - 1]).all()
    score = np.mean(found[~absent] == words[~absent])
    assert model.score(X, given) == pytest.approx(score, abs=0.01) and model.score(X, words) == pytest.approx(score)
    unseen = np.where(words == "low", "lowest", words)
    assert model.score(X, unseen) < score
    empty = np.where(np.arange(30)[:, None, None] == 4, np.nan, X)
    assert (model.predict(empty)[4] == "high").all()


def test_in_searches_pipelines_and_files():
    X, position = walks(40, 0)
    y = labels(position)
    for kind, target in ((EPSNNRegressor, position), (EPSNNClassifier, y)):
        model = kind(activation=EACH)
        X_train, X_test, y_train, y_test = train_test_split(X, target, random_state=0)
        search = GridSearchCV(model, {"activation__leak": [0.0, 0.6]}, cv=2).fit(X_train, y_train)
        assert search.best_params_ == {"activation__leak": 0.6} and search.score(X_test, y_test) > 0.6
        assert cross_val_score(model, X, target, cv=3).min() > 0.6
        assert cross_val_predict(model, X, target, cv=KFold(2)).shape == y.shape
        pipeline = make_pipeline(PopulationEncoder(3, output="rates"), clone(model)).fit(X_train, y_train)
        assert pipeline.score(X_test, y_test) > 0.5
        again = pickle.loads(pickle.dumps(search.best_estimator_))
        np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert cross_val_score(EPSNNRegressor(activation=EACH), X, position, cv=2, scoring="r2").min() > 0.5


@pytest.mark.parametrize("kind", [EPSNNRegressor, EPSNNClassifier])
@pytest.mark.parametrize(
    "activation",
    [EACH, LIF(0.0, readout="each"), [LIF(0.0), EACH], LIF(0.6, reset=1.0, recurrent=True, readout="each")],
    ids=["leak", "none", "two", "recurrent"],
)
def test_a_stream_says_what_predictions_say_of_each_step(kind, activation):
    X, level, _ = signals()
    y = level if kind is EPSNNRegressor else labels(level)
    hidden = (4,) * (len(activation) if isinstance(activation, list) else 1)
    model = kind(hidden, activation=activation, **QUICK).fit(X, y)
    uncertainty, stream = model.predict_uncertainty(X), model.stream(30)
    whole = model.predict_proba(X) if kind is EPSNNClassifier else np.stack(model.predict(X, return_std=True), axis=-1)
    for t in range(N_STEPS):
        found = stream.step(X[:, t])
        found = found if kind is EPSNNClassifier else np.stack(found, axis=-1)
        np.testing.assert_allclose(found, whole[:, t], rtol=1e-9, atol=1e-12)
        for mine, theirs in zip(stream.predict_uncertainty(), uncertainty, strict=True):
            np.testing.assert_allclose(mine, theirs[:, t], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("kind", [EPSNNRegressor, EPSNNClassifier])
def test_learns_batch_after_batch(kind):
    X, position = walks(60, 0)
    y, options = (position, {}) if kind is EPSNNRegressor else (labels(position), {"classes": [0, 1, 2]})
    model = kind(activation=EACH)
    model.partial_fit(X[:30], y[:30], **options)
    before = model.score(X[30:], y[30:])
    model.partial_fit(X[30:35, :20], y[30:35, :20])  # shorter ones
    model.partial_fit(X[35:], y[35:])
    assert model.score(X[30:], y[30:]) > max(before, 0.6)
    one_by_one = kind(activation=EACH)
    for n in range(40):
        one_by_one.partial_fit(X[n : n + 1], y[n : n + 1], **(options if n == 0 else {}))
    assert one_by_one.score(X[40:], y[40:]) > 0.6


def test_known_regression_adds_up():
    """Linear outputs of known noise: batches, merged parts and all at once are the same posterior."""
    X, level, _ = signals(n_samples=60)
    parameters = {"activation": EACH, "noise_variance": 0.1, "prior": GaussianPrior(variance=1.0)}
    whole = EPSNNRegressor(**parameters).fit(X, level)
    base = EPSNNRegressor(**parameters).partial_fit(X[:32], level[:32])
    parts = [deepcopy(base).partial_fit(X[rows], level[rows]) for rows in (slice(32, 40), slice(40, 60))]
    np.testing.assert_allclose(said(merge(base, parts), X), said(whole, X), rtol=1e-6)


def test_graph_gives_the_potential_of_every_step():
    nir = pytest.importorskip("nir")
    X, level, _ = signals()
    model = EPSNNRegressor(5, activation=EACH, **QUICK).fit(X, level).freeze()
    graph = to_nir(model)
    kinds = [type(node) for node in graph.nodes.values()]
    assert kinds == [nir.Input, nir.LI, nir.Affine, nir.Threshold, nir.LI, nir.Affine, nir.Output]
    dt = graph.metadata["dt"]
    values = X[~np.isnan(X).any(axis=(1, 2))]
    expected = model.predict(values)
    for node in list(graph.nodes.values())[1:-1]:
        if isinstance(node, nir.LI):
            gain = dt / node.tau
            state, steps = 0.0, []
            for t in range(N_STEPS):
                state = state + gain * (node.r * values[:, t] - state)
                steps.append(state)
            values = np.stack(steps, axis=1)
        elif isinstance(node, nir.Affine):
            values = values @ node.weight.T + node.bias
        else:
            values = np.where(values > node.threshold, 1.0, 0.0)
    np.testing.assert_allclose(values[..., 0], expected, rtol=1e-9)


# ---------------------------------------------------------------------- what is refused


WRONG = {
    "one for each sample": (EPSNNRegressor, EACH, (30,), r"shape \(n_samples, n_steps\).*n_steps=8.*readout='mean' or"),
    "steps": (EPSNNRegressor, EACH, (30, 7), "n_steps=8 of X"),
    "labels": (EPSNNClassifier, EACH, (30,), "target for every step"),
    "outputs of labels": (EPSNNClassifier, EACH, (30, 8, 2), r"shape \(30, 8, 2\)"),
    "each label": (EPSNNClassifier, LIF(0.5), (30, 8), r"LIF\(readout='each'\)"),
    "each target": (EPSNNRegressor, LIF(0.5), (30, 8, 2), r"LIF\(readout='each'\)"),
    "samples": (EPSNNRegressor, EACH, (29, 8), "inconsistent"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_targets_of_another_shape(wrong):
    kind, activation, shape, message = WRONG[wrong]
    X, level, _ = signals()
    model = kind(activation=activation)
    y = np.arange(np.prod(shape)).reshape(shape) % 3
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "n_features_in_")


def test_bad_targets():
    X, level, _ = signals()
    two = np.stack([level, level], axis=2)
    two[0, 0, 1] = np.nan
    with pytest.raises(ValueError, match="some of its outputs"):
        EPSNNRegressor(activation=EACH).fit(X, two)
    with pytest.raises(ValueError, match="no step has a target"):
        EPSNNRegressor(activation=EACH).fit(X, np.full(level.shape, np.nan))
    level[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        EPSNNRegressor(activation=EACH).fit(X, level)
    with pytest.raises(ValueError, match="only one class"):
        EPSNNClassifier(activation=EACH).fit(X, np.where(np.isnan(X[..., 0]), 1, 0))
    with pytest.raises(ValueError, match="remembers steps in time"):
        EPSNNRegressor(5, activation=EACH).fit(X[:, 0], level[:, 1])
    model = EPSNNClassifier(activation=EACH).fit(X, labels(level))
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="holds labels"):
        model.partial_fit(X, labels(level) + 1)
    np.testing.assert_array_equal(model.predict_proba(X), before)
