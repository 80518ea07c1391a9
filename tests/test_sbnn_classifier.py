"""SBNNClassifier: learning, uncertainty, streams, files, other arrays, sequences."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.model_selection import GridSearchCV, train_test_split

from sk_epsnn import (
    LIF,
    ConvergenceDisplay,
    Convolution,
    EPSNNClassifier,
    GaussianPrior,
    Rao,
    SBNNClassifier,
    WeightPosteriorDisplay,
    predict_uncertainty,
    to_nir,
)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, random_state=0)


@pytest.fixture(scope="module")
def fitted(digits):
    X, _, y, _ = digits
    return SBNNClassifier(50, max_iter=60, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def blobs():
    return make_blobs(200, 5, centers=3, cluster_std=3.0, random_state=0)


def short(**parameters):
    return SBNNClassifier(**{"hidden_layer_sizes": 6, "max_iter": 20, "random_state": 0, **parameters})


def test_digits_are_learned(fitted, digits):
    _, X, _, y = digits
    assert fitted.score(X, y) > 0.95
    probability = fitted.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_allclose(np.log(probability), fitted.predict_log_proba(X), atol=1e-9)
    assert -np.log(probability[np.arange(len(y)), y]).mean() < 0.2
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[probability.argmax(axis=1)])


def test_parts_of_the_uncertainty(fitted, digits):
    _, X, _, _ = digits
    total, aleatoric, epistemic = fitted.predict_uncertainty(X)
    np.testing.assert_allclose(total, aleatoric + epistemic)
    assert (epistemic >= 0).all() and (aleatoric >= 0).all()
    strange = np.random.default_rng(0).permuted(X, axis=1)
    assert np.median(fitted.predict_uncertainty(strange).epistemic) > 5 * np.median(epistemic)
    np.testing.assert_allclose(predict_uncertainty(fitted, X).total, total)


def test_moments_say_what_drawn_networks_say(fitted, digits):
    _, X, _, y = digits
    drawn = clone(fitted).set_params(n_draws=100).fit(digits[0], digits[2])
    np.testing.assert_allclose(drawn.coefs_[0], fitted.coefs_[0], err_msg="training is the same")
    X = X[:200]
    probability = drawn.predict_proba(X)
    assert np.abs(probability - fitted.predict_proba(X)).mean() < 0.01
    total, aleatoric, epistemic = drawn.predict_uncertainty(X)
    # Moments take the outputs of a network, which read the same spikes, for independent.
    assert np.corrcoef(epistemic, fitted.predict_uncertainty(X).epistemic)[0, 1] > 0.9
    alone = np.concatenate([drawn.predict_proba(X[k : k + 1]) for k in range(2)])
    np.testing.assert_allclose(alone, probability[:2], rtol=1e-9)


def test_fitted_attributes(fitted):
    assert [c.shape for c in fitted.coefs_] == [(64, 50), (50, 10)]
    assert [c.shape for c in fitted.coefs_variance_] == [(64, 50), (50, 10)]
    assert [c.shape for c in fitted.intercepts_variance_] == [(50,), (10,)]
    assert all((variance >= 0).all() for variance in fitted.coefs_variance_)
    assert fitted.gradient_bias_.shape == fitted.spike_rates_.shape == fitted.signal_gain_.shape == (1,)
    assert 0 < fitted.spike_rates_[0] < 1 and fitted.gradient_bias_[0] > 0 and fitted.signal_gain_[0] > 0
    assert fitted.elbo_ < 0
    assert fitted.elbo_curve_.shape == (fitted.n_iter_,) == (60,)
    assert fitted.elbo_curve_[-1] > fitted.elbo_curve_[0]
    assert (fitted.n_layers_, fitted.n_outputs_) == (3, 10)
    assert not hasattr(fitted, "coef_") and not hasattr(fitted, "levels_")
    assert not hasattr(SBNNClassifier(), "coefs_")


def test_weights_in_the_space_of_the_inputs_are_those_of_the_network(fitted, digits):
    """A network of the posterior means, by hand, is the frozen one."""
    _, X, _, _ = digits
    frozen = fitted.freeze("mean")
    spikes = (X @ frozen.coefs_[0] + frozen.intercepts_[0] >= 0).astype(float)
    potentials = spikes @ frozen.coefs_[1] + frozen.intercepts_[1]
    np.testing.assert_allclose(frozen.predict_potentials(X).mean, potentials, atol=1e-4)
    np.testing.assert_allclose(frozen.predict_uncertainty(X).epistemic, 0, atol=1e-12)
    with pytest.raises(ValueError, match="frozen"):
        frozen.partial_fit(X[:5], frozen.predict(X[:5]))
    with pytest.raises(ValueError, match="'mode', 'mean' or 'sample'"):
        fitted.freeze("best")


def test_drawn_networks_differ(fitted, digits):
    _, X, _, y = digits
    samples = [fitted.freeze("sample", seed) for seed in (0, 1, 0)]
    assert not np.array_equal(samples[0].coefs_[0], samples[1].coefs_[0])
    np.testing.assert_array_equal(samples[0].coefs_[0], samples[2].coefs_[0])
    assert samples[0].score(X, y) > 0.85


def test_binary_weights_are_levels(digits):
    X, X_test, y, y_test = digits
    model = SBNNClassifier(50, weights="binary", max_iter=60, random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.94
    frozen = model.freeze()
    assert all(len(np.unique(np.abs(coef).round(6))) == 1 for coef in frozen.coefs_)
    assert frozen.score(X_test, y_test) > 0.9
    assert all(len(np.unique(np.abs(c).round(6))) == 1 for c in model.freeze("sample", 0).coefs_)
    for coef, variance, level in zip(model.coefs_, model.coefs_variance_, frozen.coefs_, strict=True):
        np.testing.assert_allclose(coef**2 + variance, level**2, rtol=1e-4)


@pytest.mark.parametrize("n_hidden", [(), (8,), (8, 8, 8)])
def test_two_classes_and_depths(n_hidden):
    X, y = make_blobs(150, 4, centers=2, cluster_std=2.0, random_state=1)
    labels = np.array(["no", "yes"])[y]
    model = SBNNClassifier(n_hidden, max_iter=60, random_state=0).fit(X, labels)
    assert model.score(X, labels) > 0.95
    assert model.predict_proba(X).shape == (150, 2)
    if not n_hidden:
        assert model.coef_.shape == (1, 4)


def test_streams_of_rows(blobs):
    X, y = blobs
    model = short()
    for start in range(0, 200, 20):
        model.partial_fit(X[start : start + 20], y[start : start + 20], classes=[0, 1, 2])
    assert model.score(X, y) > 0.85
    assert model.n_iter_ == 10
    with pytest.raises(ValueError, match="not in classes"):
        model.partial_fit(X[:1], [7])
    with pytest.raises(ValueError, match="classes must be passed"):
        short().partial_fit(X, y)


def test_a_stream_makes_the_posterior_narrower(blobs):
    X, y = blobs
    model = short().fit(X, y)
    before = sum(variance.sum() for variance in model.coefs_variance_)
    model.partial_fit(X, y)
    assert sum(variance.sum() for variance in model.coefs_variance_) < before


def test_warm_start_goes_on(blobs):
    X, y = blobs
    once = short(max_iter=60).fit(X, y)
    model = short(warm_start=True).fit(X, y)
    first = model.elbo_curve_[-1]
    model.fit(X, y)
    assert model.n_iter_ == 40
    assert model.elbo_curve_[-1] > first
    assert abs(model.elbo_curve_[-1] - once.elbo_curve_[-1]) < 0.3
    with pytest.raises(ValueError, match="cannot take another hidden_layer_sizes"):
        model.set_params(hidden_layer_sizes=7).fit(X, y)


def test_files(fitted, digits, tmp_path):
    X = digits[1]
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))
    skops = pytest.importorskip("skops.io")
    path = tmp_path / "model.skops"
    skops.dump(fitted, path)
    loaded = skops.load(path, trusted=skops.get_untrusted_types(file=path))
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


def test_sparse_rows_and_single_precision(blobs):
    X, y = blobs
    dense = short().fit(X, y)
    rows = sparse.csr_array(X)
    np.testing.assert_allclose(short().fit(rows, y).predict_proba(rows), dense.predict_proba(X), rtol=1e-3, atol=1e-4)
    single = short().fit(X.astype(np.float32), y)
    assert single.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_weights_of_rows(blobs):
    X, y = blobs
    kept = y != 2
    weighted = short().fit(X, np.where(kept, y, 0), sample_weight=kept.astype(float))
    np.testing.assert_array_equal(weighted.predict_proba(X), short().fit(X[kept], y[kept]).predict_proba(X))
    heavy = short(class_weight={0: 1.0, 1: 1.0, 2: 30.0}).fit(X, y)
    assert (heavy.predict(X) == 2).mean() > (short().fit(X, y).predict(X) == 2).mean()


def test_a_search_reaches_inside(blobs):
    X, y = blobs
    grid = {"inference__width": [0.5, 1.0], "prior__spectral_exponent": [0.0, 1.0]}
    search = GridSearchCV(short(inference=Rao(), prior=GaussianPrior(), max_iter=3), grid, cv=2).fit(X, y)
    assert set(search.best_params_) == set(grid)


def test_displays_and_graphs(fitted, digits):
    pytest.importorskip("matplotlib")
    WeightPosteriorDisplay.from_estimator(fitted)
    ConvergenceDisplay.from_estimator(fitted)
    pytest.importorskip("nir")
    assert list(to_nir(fitted).nodes) == ["input", "affine", "threshold", "affine_1", "output"]
    deep = SBNNClassifier((8, 8, 8), max_iter=1, random_state=0).fit(digits[0], digits[2])
    with pytest.raises(ValueError, match="Stream"):
        to_nir(deep)


# ---------------------------------------------------------------------- steps in time


def trains(n=240, n_steps=8, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    rate = 0.1 + 0.5 * (np.arange(6)[None, None] // 2 == y[:, None, None])
    return (rng.random((n, n_steps, 6)) < rate).astype(float), y


def test_sequences_are_learned():
    X, y = trains()
    model = SBNNClassifier(12, activation=LIF(leak=0.8), max_iter=60, random_state=0).fit(X, y)
    X_test, y_test = trains(seed=1)
    assert model.score(X_test, y_test) > 0.9
    assert model.settings_["n_draws"].value == 30
    assert model.n_steps_in_ == 8
    total, aleatoric, epistemic = model.predict_uncertainty(X_test)
    np.testing.assert_allclose(total, aleatoric + epistemic)
    np.testing.assert_array_equal(model.leak_, [0.8, 0.8])


def test_steps_after_the_end_say_nothing():
    X, y = trains()
    X[:100, 5:] = np.nan
    model = SBNNClassifier(6, activation="lif", max_iter=5, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X[:100, :5]), model.predict_proba(X[:100]), rtol=1e-6)


@pytest.mark.parametrize(
    "neuron, message",
    [(LIF(reset=1.0), "reset or is recurrent"), (LIF(recurrent=True), "reset or is"), (LIF(readout="each"), "each")],
)
def test_neurons_that_an_sbnn_has_not(neuron, message):
    X, y = trains(20)
    with pytest.raises(ValueError, match=message):
        SBNNClassifier(6, activation=neuron).fit(X, y)


def test_it_knows_as_much_as_networks_of_other_principles(digits):
    X, X_test, y, y_test = digits
    other = EPSNNClassifier(50, random_state=0).fit(X, y)
    model = SBNNClassifier(50, random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > other.score(X_test, y_test) - 0.02


def test_convolutions():
    X, y = load_digits(return_X_y=True)
    clf = SBNNClassifier(Convolution(16, 3, pool=2), max_iter=40, random_state=0).fit(X[:300], y[:300])
    assert clf.score(X[300:], y[300:]) > 0.85
    assert clf.coefs_[0].shape == (9, 16) and not clf.settings_["residual"].value
    np.testing.assert_array_equal(clf.freeze().predict_proba(X[:5]).shape, (5, 10))
