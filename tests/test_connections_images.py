"""Convolutions and pooled maps against SciPy's correlation, loops and shifts; in estimators; what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import correlate2d
from scipy.stats import pearsonr
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sk_epsnn import (
    Convolution,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianPrior,
    GEMSNNClassifier,
    Newton,
    Stochastic,
)
from sk_epsnn.connections import Dense, Pooled


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 2), (2, 1), (3, 0)])
def test_a_map_is_a_correlation(stride, padding):
    """As in PyTorch, and unlike `scipy.signal.convolve2d`, kernels are not turned around."""
    rng = np.random.default_rng(0)
    images, kernels = rng.normal(size=(2, 6, 7, 3)), rng.normal(size=(4, 3, 3, 3))
    connection = Convolution(4, 3, stride, padding).reading((6, 7, 3))
    maps = connection.gather(images.reshape(2, -1)) @ kernels.reshape(4, -1).T
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    for image, found in zip(padded, maps.reshape(2, *connection.map_shape), strict=True):
        for channel, kernel in enumerate(kernels):
            expected = sum(correlate2d(image[:, :, c], kernel[:, :, c], mode="valid") for c in range(3))
            np.testing.assert_allclose(found[:, :, channel], expected[::stride, ::stride], rtol=1e-12)


def test_the_sum_of_a_window_with_padding():
    """A question that is asked of libraries time and again: ones of 3 x 3 over an image of ones."""
    connection = Convolution(1, 3, padding=1).reading((4, 4, 1))
    sums = connection.gather(np.ones((1, 16))).sum(axis=1).reshape(4, 4)
    np.testing.assert_array_equal(sums, [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]])


def test_pooling_leaves_out_what_does_not_fill_a_region():
    maps = np.arange(30.0).reshape(1, 5, 6, 1)
    pooled = Pooled(Dense(1), (5, 6, 1), pool=2)
    assert pooled.pooled_shape == (2, 3, 1)
    expected = maps[0, :4, :, 0].reshape(2, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(pooled.gather(maps.reshape(1, -1)), expected.reshape(1, -1))
    assert not pooled.scatter(np.ones((1, 6)), 30).reshape(5, 6)[4].any()


def test_shifted_images_give_shifted_maps():
    rng = np.random.default_rng(1)
    image, kernel = np.zeros((10, 10)), rng.normal(size=(1, 9))
    image[2:6, 2:6] = rng.uniform(size=(4, 4))
    connection = Convolution(1, 3, stride=2).reading((10, 10, 1))
    here, there = (
        (connection.gather(each.reshape(1, -1)) @ kernel.T).reshape(connection.map_shape[:2])
        for each in (image, np.roll(image, 2, axis=1))
    )
    np.testing.assert_allclose(there[:, 1:], here[:, :-1], rtol=1e-12)


def test_a_kernel_of_the_whole_image_is_a_dense_layer(digits):
    """The same weights predict the same, but for rounding."""
    dense = EPSNNClassifier(10, max_iter=2, random_state=0).fit(digits.X, digits.y)
    other = clone(dense).fit(digits.X, digits.y)
    state = other._progress.state
    network = state.network.over((Convolution(10, 8).reading((8, 8, 1)), state.network.readout), 64)
    other._progress = replace(other._progress, state=replace(state, network=network))
    np.testing.assert_allclose(other.predict_proba(digits.X_test), dense.predict_proba(digits.X_test), rtol=1e-10)


LAYERS = {
    "one": Convolution(8, 3, pool=2),
    "two and dense": (Convolution(6, 3), Convolution(8, 3, pool=2), 20),
    "padding": (Convolution(12, 3, padding=1, pool=2), Convolution(16, 2, padding=1)),
}


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_learns_digits(layers, digits):
    inference = Stochastic(temperature=0.3, learning_rate=0.5, validation_fraction=0)
    model = EPSNNClassifier(layers, random_state=0, inference=inference).fit(digits.X, digits.y)
    # A dense layer of 8 neurons has .79, one of 100 .83.
    assert model.score(digits.X_test, digits.y_test) > 0.8
    assert model.coefs_[0].shape[0] == 9 and model.coefs_variance_[0].shape == model.coefs_[0].shape
    spread = model.predict_uncertainty(digits.X_test)
    assert np.all(spread.epistemic >= 0) and np.all(np.isfinite(spread.total))


@pytest.mark.parametrize(
    "options",
    [
        {"weights": "binary"},
        {"weights": "binary", "fit_intercept": False},
        {"fit_intercept": False},
        {"prior": "laplace"},
        {"inference": Newton(n_sweeps=5)},
        {"activation": "sigmoid"},
        {"n_shards": 2},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*diverged and were refused:sklearn.exceptions.ConvergenceWarning")
def test_with_other_options(options, digits):
    options = {"inference": Stochastic(n_passes=20, learning_rate=0.5, validation_fraction=0), **options}
    model = EPSNNClassifier(LAYERS["one"], random_state=0, max_iter=20, **options).fit(digits.X, digits.y)
    assert model.score(digits.X_test, digits.y_test) > 0.6
    first, second = (clone(model).set_params(max_iter=2).fit(digits.X, digits.y) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(digits.X_test), second.predict_proba(digits.X_test))


def test_signals_colors_regressors_streams_and_files():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 30))
    X[:, 10:13] += (y := rng.integers(0, 2, 200))[:, None] * [2.0, -2.0, 2.0]
    signals = EPSNNClassifier(Convolution(3, 5, pool=2), random_state=0, max_iter=5).fit(X[:100], y[:100])
    assert signals.network_.connections[0].map_shape == (1, 26, 3)
    assert signals.score(X[100:], y[100:]) > 0.8
    colors = Convolution(3, 2, image_shape=(3, 5, 2))
    model = EPSNNRegressor(colors, random_state=0, max_iter=3, inference=Newton(validation_fraction=0))
    model.fit(X, X[:, 0] + X[:, 1])
    assert model.coefs_[0].shape == (8, 3) and pearsonr(model.predict(X), X[:, 0] + X[:, 1]).statistic > 0.5
    stream = EPSNNClassifier(colors, random_state=0)
    for rows in (slice(0, 100), slice(100, 200)):
        stream.partial_fit(X[rows], y[rows], classes=[0, 1])
    again = pickle.loads(pickle.dumps(stream))
    np.testing.assert_array_equal(again.predict_proba(X), stream.predict_proba(X))


def test_grid_search_over_layers(digits):
    grid = {"hidden_layer_sizes": [Convolution(4, 3, pool=2), (Convolution(4, 5), 5)]}
    search = GridSearchCV(EPSNNClassifier(random_state=0, max_iter=1), grid, cv=2).fit(digits.X, digits.y)
    assert search.best_score_ > 0.3


def test_what_does_not_fit_is_refused(digits):
    def fails(layers, match, X=digits.X):
        with pytest.raises(ValueError, match=match):
            EPSNNClassifier(layers).fit(X, digits.y)

    fails(Convolution(4, 9), "kernels larger than the images")
    fails((Convolution(4, 5, pool=2), Convolution(4, 3)), "kernels larger than the images")
    fails(Convolution(4, 5, pool=5), "smaller than its regions")
    fails(Convolution(4, 3, image_shape=(7, 8)), r"image_shape=\(7, 8\) must be")
    fails((Convolution(4, 3), Convolution(4, 3, image_shape=(4, 9, 4))), "leave image_shape='auto'")
    fails(Convolution(4, 0), "size")
    fails((16, Convolution(4, 3)), "neurons that are no image")
    fails(Convolution(4, 3), r"X\.reshape", digits.X.reshape(-1, 8, 8))
    with pytest.raises(ValueError, match="numbers of neurons"):
        GEMSNNClassifier((Convolution(4, 3),)).fit(digits.X, digits.y)
    with pytest.raises(ValueError, match="spectral_exponent=1.0 has no effect on convolutions"):
        EPSNNClassifier(Convolution(4, 3), prior=GaussianPrior(spectral_exponent=1.0)).fit(digits.X, digits.y)


def test_images_that_are_all_alike():
    model = EPSNNClassifier(Convolution(4, 3), max_iter=2, random_state=0).fit(np.ones((40, 64)), np.arange(40) % 2)
    np.testing.assert_allclose(model.predict_proba(np.ones((1, 64))), 0.5, atol=0.1)
