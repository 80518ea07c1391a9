"""Displays: what they compute, where they draw it, what they refuse."""

import sys

import numpy as np
import pytest
from matplotlib import colors, rc_context, rcParams
from matplotlib import pyplot as plt
from scipy import sparse
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_epsnn import (
    LIF,
    ConvergenceDisplay,
    Convolution,
    DeltaSpikeEncoder,
    EPSNNClassifier,
    EPSNNRegressor,
    LatencySpikeEncoder,
    Newton,
    PopulationEncoder,
    PredictionBandDisplay,
    RateSpikeEncoder,
    ReliabilityDisplay,
    SpikeRasterDisplay,
    WeightPosteriorDisplay,
)
from sk_epsnn.plotting import PALETTE
from sk_epsnn.plotting._common import NEUTRAL, SHARES, SIGNED, VALUES


@pytest.fixture(scope="module")
def classifier(digits):
    return EPSNNClassifier(12, max_iter=10, random_state=0).fit(digits.X, digits.y)


@pytest.fixture(scope="module")
def convolutional(digits):
    """Kernels of one channel, then of five, then a dense layer."""
    layers = (Convolution(5, 3), Convolution(6, 2, pool=2))
    return EPSNNClassifier(layers, max_iter=2, random_state=0).fit(digits.X[:200], digits.y[:200])


@pytest.fixture(scope="module")
def regressor(line):
    return EPSNNRegressor().fit(line.X, line.y)


@pytest.fixture(scope="module")
def curve():
    """Pipeline from one feature to a curve, with its data."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(150, 1))
    y = np.sin(3 * x[:, 0])
    encoder = PopulationEncoder(10, output="rates")
    return make_pipeline(encoder, EPSNNRegressor(8, max_iter=1, random_state=0)).fit(x, y), x, y


def images_of(axes):
    return np.ma.filled(axes.images[0].get_array(), np.nan)


# ---------------------------------------------------------------------- weights


@pytest.mark.parametrize("layer", [0, 1, -1, -2])
def test_weights_are_those_of_the_layer(classifier, layer):
    display = WeightPosteriorDisplay.from_estimator(classifier, layer=layer, kind="image")
    np.testing.assert_array_equal(images_of(display.ax_[0]), classifier.coefs_[layer].T)
    np.testing.assert_allclose(images_of(display.ax_[1]), np.log(classifier.coefs_variance_[layer].T), rtol=1e-12)
    assert display.figure_ is display.ax_[0].figure


def test_units_are_named_and_chosen(digits):
    model = EPSNNClassifier().fit(digits.X, np.array(list("abcdefghij"))[digits.y])
    display = WeightPosteriorDisplay.from_estimator(model, units=[3, -1])
    assert display.unit_names.tolist() == ["d", "j"]
    np.testing.assert_array_equal(display.mean, model.coefs_[0][:, [3, -1]])
    assert [label.get_text() for label in display.ax_[0].get_yticklabels()] == ["d", "j"]


def test_weights_of_pixels_are_tiled(digits):
    model = EPSNNClassifier().fit(digits.X, digits.y)
    display = WeightPosteriorDisplay.from_estimator(model, image_shape=(8, 8))
    tiled = images_of(display.ax_[0])
    # Ten images in rows of four, a blank line between them.
    assert tiled.shape == (3 * 9 - 1, 4 * 9 - 1)
    np.testing.assert_array_equal(tiled[9:17, 18:26], model.coefs_[0][:, 6].reshape(8, 8))
    assert np.isnan(tiled[8]).all() and np.isnan(tiled[18:, 18:]).all()


def test_image_shape_need_not_be_square():
    mean = np.arange(12.0).reshape(6, 2)
    tiled = images_of(WeightPosteriorDisplay(mean, np.ones((6, 2))).plot(image_shape=(2, 3)).ax_[0])
    np.testing.assert_array_equal(tiled[:, :3], mean[:, 0].reshape(2, 3))
    np.testing.assert_array_equal(tiled[:, 4:], mean[:, 1].reshape(2, 3))


def test_kernels_of_a_convolution_are_images(convolutional):
    display = WeightPosteriorDisplay.from_estimator(convolutional)
    assert display.image_shape == (3, 3, 1)
    for axes, values in zip(display.ax_, (display.mean, np.log(display.variance)), strict=True):
        tiled = images_of(axes)
        assert tiled.shape == (2 * 4 - 1, 3 * 4 - 1)
        np.testing.assert_array_equal(tiled[4:, 4:7], values[:, 4].reshape(3, 3))
    np.testing.assert_array_equal(display.mean, convolutional.coefs_[0])
    np.testing.assert_array_equal(display.variance, convolutional.coefs_variance_[0])
    few = WeightPosteriorDisplay.from_estimator(convolutional, units=[3])
    np.testing.assert_array_equal(images_of(few.ax_[0]), convolutional.coefs_[0][:, 3].reshape(3, 3))
    assert len(WeightPosteriorDisplay.from_estimator(convolutional, kind="bar").ax_[0].patches) == 9 * 5
    # Behind the convolutions is a matrix.
    matrix = WeightPosteriorDisplay.from_estimator(convolutional, layer=-1)
    np.testing.assert_array_equal(images_of(matrix.ax_[0]), convolutional.coefs_[-1].T)


def test_kernels_of_many_channels_are_root_mean_squares(convolutional):
    """Channels are the fastest of the rows of coefs_."""
    means, log_variances = WeightPosteriorDisplay.from_estimator(convolutional, layer=1).ax_
    mean, variance = (part[1][:, 2] for part in (convolutional.coefs_, convolutional.coefs_variance_))
    rms = [np.sqrt(np.mean(mean[5 * pixel : 5 * pixel + 5] ** 2)) for pixel in range(4)]
    np.testing.assert_allclose(images_of(means)[:2, 6:].ravel(), rms, rtol=1e-12)
    average = [np.log(np.mean(variance[5 * pixel : 5 * pixel + 5])) for pixel in range(4)]
    np.testing.assert_allclose(images_of(log_variances)[:2, 6:].ravel(), average, rtol=1e-12)
    assert "root mean square of 5 channels" in means.get_title()
    assert "mean variance of 5 channels" in log_variances.get_title()


def test_few_channels_are_side_by_side():
    mean = np.random.default_rng(0).normal(size=(12, 4))
    display = WeightPosteriorDisplay(mean, np.ones((12, 4)), image_shape=(2, 2, 3)).plot()
    tiled = images_of(display.ax_[0])
    # Two by two images, each of three channels with a blank line between them; two lines between images.
    assert tiled.shape == (2 * 4 - 2, 2 * 10 - 2)
    for channel in range(3):
        expected = mean[channel::3, 0].reshape(2, 2)
        np.testing.assert_array_equal(tiled[:2, 3 * channel : 3 * channel + 2], expected)
    assert np.isnan(tiled[:, [2, 5]]).all()
    assert display.ax_[0].get_title() == "Posterior mean\n3 channels side by side"


def test_kernels_have_no_names_of_features(digits):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(digits.X[:100], columns=[f"pixel {place}" for place in range(64)])
    model = EPSNNClassifier(Convolution(2, 3), max_iter=1, random_state=0).fit(X, digits.y[:100])
    assert WeightPosteriorDisplay.from_estimator(model).input_names.tolist() == list(range(9))


def test_few_weights_are_bars(regressor):
    display = WeightPosteriorDisplay.from_estimator(regressor)
    heights = [[bar.get_height() for bar in axes.patches] for axes in display.ax_]
    np.testing.assert_allclose(heights[0], regressor.coefs_[0][:, 0], rtol=1e-12)
    np.testing.assert_allclose(heights[1], np.log(regressor.coefs_variance_[0][:, 0]), rtol=1e-12)
    (lines,) = (container for container in display.ax_[0].containers if hasattr(container, "has_yerr"))
    segment = lines.lines[2][0].get_segments()[1]
    half = np.sqrt(regressor.coefs_variance_[0][1, 0])
    np.testing.assert_allclose(segment[:, 1], regressor.coefs_[0][1, 0] + half * np.array([-1, 1]), rtol=1e-9)


def test_known_weights_have_no_log_variance(regressor):
    display = WeightPosteriorDisplay.from_estimator(regressor.freeze(), kind="image")
    assert np.isnan(images_of(display.ax_[1])).all()
    assert [text.get_text() for text in display.ax_[1].texts] == ["all weights are known"]


def test_weights_take_the_names_of_features(line):
    pandas = pytest.importorskip("pandas")
    model = EPSNNRegressor().fit(pandas.DataFrame(line.X, columns=["long name", "b", "c"]), line.y)
    display = WeightPosteriorDisplay.from_estimator(model)
    assert [label.get_text() for label in display.ax_[0].get_xticklabels()] == ["long name", "b", "c"]


def test_weights_inside_pipelines_and_searches(line):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), EPSNNRegressor(inference=Newton())),
        {"epsnnregressor__inference__power": [0, 1]},
        cv=2,
    )
    outer = make_pipeline(StandardScaler(), search).fit(line.X, line.y)
    display = WeightPosteriorDisplay.from_estimator(outer)
    np.testing.assert_array_equal(display.mean, search.best_estimator_[-1].coefs_[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 2}, "layer must be an integer from -2 to 1"),
        ({"layer": 0.5}, "layer must be an integer"),
        ({"units": [12]}, "units must be integers from -12 to 11"),
        ({"units": ["a"]}, "units must be integers"),
        ({"kind": "pie"}, "kind must be one of"),
        ({"image_shape": (8, 9)}, "image_shape must be .* Leave it out for the kernels of a Convolution"),
        ({"image_shape": (-8, -8)}, "image_shape must be"),
        ({"image_shape": (8, 8), "kind": "bar"}, "image_shape is for kind='image'"),
        ({"ax": "here"}, "ax must be None or matplotlib axes or 2 of them"),
    ],
)
def test_weights_refuse(classifier, arguments, message):
    with pytest.raises(ValueError, match=message):
        WeightPosteriorDisplay.from_estimator(classifier, **arguments)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("mean", "variance", "names", "message"),
    [
        (np.ones(3), np.ones(3), {}, "must both have shape"),
        (np.ones((3, 1)), np.ones((3, 2)), {}, "must both have shape"),
        (np.ones((1, 1)), -np.ones((1, 1)), {}, "must not be negative"),
        (np.ones((2, 1)), np.ones((2, 1)), {"input_names": ["a"]}, "input_names must hold 2 names"),
        (np.ones((2, 1)), np.ones((2, 1)), {"unit_names": ["a", "b"]}, "unit_names must hold 1 names"),
        (np.ones((2, 1)), np.ones((2, 1)), {"image_shape": (3, 3)}, "image_shape must be .* of 2 inputs in all"),
    ],
)
def test_weights_of_wrong_shape(mean, variance, names, message):
    with pytest.raises(ValueError, match=message):
        WeightPosteriorDisplay(mean, variance, **names)


# ---------------------------------------------------------------------- reliability


def test_reliability_of_every_single_prediction():
    """Enough bins that none holds two different confidences: bins can be checked by hand."""
    probability = np.array([[0.05, 0.95], [0.05, 0.95], [0.05, 0.95], [0.4, 0.6], [0.7, 0.3]])
    display = ReliabilityDisplay.from_predictions([1, 1, 0, 0, 0], probability, n_bins=10)
    np.testing.assert_allclose(display.confidence, [0.6, 0.7, 0.95], rtol=1e-12)
    np.testing.assert_allclose(display.accuracy, [0, 1, 2 / 3], rtol=1e-12)
    assert display.count.tolist() == [1, 1, 3]
    assert display.ece == pytest.approx((0.6 + 0.3 + 3 * (0.95 - 2 / 3)) / 5)
    np.testing.assert_array_equal(display.line_.get_xydata(), np.c_[display.confidence, display.accuracy])


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_reliability_of_calibrated_predictions(strategy):
    """Classes drawn from the predicted probabilities lie on the diagonal."""
    rng = np.random.default_rng(0)
    probability = rng.dirichlet(np.ones(4), size=40_000)
    classes = np.array(["d", "a", "c", "b"])
    y = classes[(rng.uniform(size=(40_000, 1)) > probability.cumsum(axis=1)).sum(axis=1)]
    display = ReliabilityDisplay.from_predictions(y, probability, classes=classes, strategy=strategy, n_bins=8)
    chance = np.sqrt(display.confidence * (1 - display.confidence) / display.count)
    assert (np.abs(display.accuracy - display.confidence) < 4 * chance).all()
    assert display.ece < 0.02
    assert display.count.sum() == 40_000
    assert len(set(display.count)) == 1 or strategy == "uniform"


def test_quantile_bins_keep_the_order():
    confidence = np.array([0.9, 0.6, 0.8, 0.7])
    probability = np.c_[confidence, 1 - confidence]
    display = ReliabilityDisplay.from_predictions([0, 1, 0, 0], probability, strategy="quantile", n_bins=2)
    np.testing.assert_allclose(display.confidence, [0.65, 0.85], rtol=1e-12)
    np.testing.assert_allclose(display.accuracy, [0.5, 1], rtol=1e-12)


def test_reliability_from_any_classifier(digits, classifier):
    display = ReliabilityDisplay.from_estimator(classifier, digits.X_test, digits.y_test)
    by_hand = ReliabilityDisplay.from_predictions(digits.y_test, classifier.predict_proba(digits.X_test))
    assert display.ece == by_hand.ece
    other = LogisticRegression(max_iter=500).fit(digits.X, digits.y)
    both = ReliabilityDisplay.from_estimator(other, digits.X_test, digits.y_test, name="logistic", ax=display.ax_)
    labels = [text.get_text() for text in both.ax_.get_legend().get_texts()]
    assert labels == [
        "perfect calibration",
        f"EPSNNClassifier, ECE {display.ece:.3f}",
        f"logistic, ECE {both.ece:.3f}",
    ]


def test_reliability_of_classes_that_the_test_rows_lack(digits, classifier):
    few = digits.y_test < 3
    display = ReliabilityDisplay.from_estimator(classifier, digits.X_test[few], digits.y_test[few])
    right = classifier.predict(digits.X_test[few]) == digits.y_test[few]
    assert (display.accuracy * display.count).sum() == pytest.approx(right.sum())


@pytest.mark.parametrize(
    ("y", "probability", "arguments", "message"),
    [
        ([0, 1], [[1, 0], [0, 1], [0, 1]], {}, "inconsistent numbers of samples"),
        ([0, 1], [[0.5, 0.5, 0], [1, 0, 0]], {}, "y_proba has 3 columns, but there are 2 classes"),
        ([0, 1], [[2, -1], [1, 0]], {}, "y_proba must hold probabilities"),
        ([0, 1], [[1], [1]], {}, "got one column"),
        ([0, 1], [0.2, 0.8], {}, "got one column"),
        ([0, 1], [[np.nan, 1], [1, 0]], {}, "y_proba contains NaN"),
        ([0, 1], [[0, 1], [1, 0]], {"n_bins": 0}, "n_bins must be a positive integer"),
        ([0, 1], [[0, 1], [1, 0]], {"n_bins": 1.5}, "n_bins must be a positive integer"),
        ([0, 1], [[0, 1], [1, 0]], {"strategy": "equal"}, "strategy must be one of"),
        ([0, 1], [[0, 1], [1, 0]], {"ax": 3}, "ax must be None or matplotlib axes, got 3"),
    ],
)
def test_reliability_refuses(y, probability, arguments, message):
    with pytest.raises(ValueError, match=message):
        ReliabilityDisplay.from_predictions(y, probability, **arguments)


# ---------------------------------------------------------------------- prediction band


def edges(collection):
    """Lower and upper end of a band at each place, ascending."""
    places, ends = collection.get_paths()[0].vertices.T
    inside = np.unique(places)
    return inside, np.array([[ends[places == x].min(), ends[places == x].max()] for x in inside])


def test_band_of_a_curve(curve):
    model, x, y = curve
    display = PredictionBandDisplay.from_estimator(model, x, y, level=0.9)
    mean, std = model.predict(display.x[:, None], return_std=True)
    np.testing.assert_allclose(display.line_.get_ydata(), mean, rtol=1e-12)
    epistemic = np.sqrt(model[-1].predict_uncertainty(model[0].transform(display.x[:, None])).epistemic)
    for collection, sd in zip(display.ax_.collections, (std, epistemic), strict=True):
        places, ends = edges(collection)
        np.testing.assert_allclose(places, display.x, rtol=1e-12)
        np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 2 * norm.isf(0.05) * sd, rtol=1e-6)
    assert (display.x[0], display.x[-1]) == (x.min(), x.max())
    np.testing.assert_array_equal(display.ax_.lines[0].get_xydata(), np.c_[x[:, 0], y])


def test_band_holds_other_features_at_their_medians(line, regressor):
    display = PredictionBandDisplay.from_estimator(regressor, line.X, feature=1, grid=[0.0, 1.0])
    rows = np.tile(np.median(line.X, axis=0), (2, 1))
    rows[:, 1] = [0.0, 1.0]
    np.testing.assert_allclose(display.mean, regressor.predict(rows), rtol=1e-12)
    assert display.ax_.get_xlabel() == "x1"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_band_of_a_data_frame(line, library):
    """Names are passed on, or scikit-learn would warn."""
    frame = pytest.importorskip(library).DataFrame(dict(zip("abc", line.X.T, strict=True)))
    model = make_pipeline(StandardScaler(), EPSNNRegressor()).fit(frame, line.y)
    display = PredictionBandDisplay.from_estimator(model, frame, line.y, feature="b")
    assert display.ax_.get_xlabel() == "b"
    assert display.x[0] == line.X[:, 1].min()


def test_band_of_one_target_of_two(line):
    y = np.c_[line.y, -2 * line.y]
    model = EPSNNRegressor().fit(line.X, y)
    display = PredictionBandDisplay.from_estimator(model, line.X, y, target=1, grid=[0.0])
    row = np.median(line.X, axis=0)
    row[0] = 0
    mean, std = model.predict(row[None], return_std=True)
    assert (display.mean[0], display.std[0]) == (mean[0, 1], std[0, 1])
    np.testing.assert_array_equal(display.y_data, y[:, 1])


def test_band_of_another_regressor(line):
    model = GaussianProcessRegressor(alpha=0.1).fit(line.X, line.y)
    display = PredictionBandDisplay.from_estimator(model, line.X)
    assert display.epistemic_std is None
    assert len(display.ax_.collections) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature": 3}, "feature must be an integer from 0 to 2"),
        ({"feature": "b"}, "feature must be an integer from 0 to 2"),
        ({"target": 1}, "target must be an integer from 0 to 0"),
        ({"level": 1}, "level must be between 0 and 1"),
        ({"y": [1.0]}, "inconsistent numbers of samples"),
    ],
)
def test_band_refuses(line, regressor, arguments, message):
    with pytest.raises(ValueError, match=message):
        PredictionBandDisplay.from_estimator(regressor, line.X, **arguments)


def test_band_needs_standard_deviations(line):
    with pytest.raises(TypeError, match="needs a regressor with predict"):
        PredictionBandDisplay.from_estimator(LinearRegression().fit(line.X, line.y), line.X)


def test_band_data_come_in_pairs():
    with pytest.raises(ValueError, match="x_data and y_data go together"):
        PredictionBandDisplay.from_predictions([0.0], mean=[0.0], std=[1.0], x_data=[0.0])


# ---------------------------------------------------------------------- spike raster


def test_raster_marks_the_spikes():
    spikes = np.array([[0, 1, 0], [1, 0, 1]])
    display = SpikeRasterDisplay.from_predictions(spikes)
    marks = display.ax_.collections[0].get_offsets().data
    assert sorted(map(tuple, marks)) == [(0, 1), (1, 0), (1, 2)]


def test_raster_of_rates_is_an_image(curve):
    model, x, _ = curve
    display = SpikeRasterDisplay.from_estimator(model, x[:30])
    np.testing.assert_array_equal(images_of(display.ax_), model[0].transform(x[:30]).T)


def test_raster_of_an_encoder_and_of_transformers(digits):
    encoder = RateSpikeEncoder(n_steps=2, random_state=0).fit(digits.X)
    expected = encoder.transform(digits.X[:5])
    np.testing.assert_array_equal(SpikeRasterDisplay.from_estimator(encoder, digits.X[:5]).activity, expected)
    chain = make_pipeline(RateSpikeEncoder(n_steps=2, random_state=0)).fit(digits.X)
    np.testing.assert_array_equal(SpikeRasterDisplay.from_estimator(chain, digits.X[:5]).activity, expected)


def test_raster_of_what_a_search_has_chosen(blobs):
    pipeline = make_pipeline(PopulationEncoder(random_state=0), EPSNNClassifier())
    search = GridSearchCV(pipeline, {"populationencoder__n_neurons": [4, 6]}, cv=2).fit(blobs.X, blobs.y)
    expected = search.best_estimator_[0].transform(blobs.X)
    np.testing.assert_array_equal(SpikeRasterDisplay.from_estimator(search, blobs.X).activity, expected)


def test_raster_of_an_encoder_inside_a_pipeline(blobs):
    model = make_pipeline(DeltaSpikeEncoder(), EPSNNClassifier(max_iter=1)).fit(blobs.X, blobs.y)
    expected = model[0].transform(blobs.X)
    np.testing.assert_array_equal(SpikeRasterDisplay.from_estimator(model, blobs.X).activity, expected)


def test_raster_of_sparse_spikes():
    spikes = np.eye(4)
    assert len(SpikeRasterDisplay.from_predictions(sparse.csr_array(spikes)).ax_.collections[0].get_offsets()) == 4


def test_raster_of_a_sample_over_time():
    spikes = np.zeros((2, 4, 3))
    spikes[0, 1, 2] = spikes[1, 0, 1] = spikes[1, 2, 0] = 1
    spikes[1, 3] = np.nan
    for sample, expected, n_steps in ((None, [(1, 2)], 4), (0, [(1, 2)], 4), (-1, [(0, 1), (2, 0)], 3)):
        display = SpikeRasterDisplay.from_predictions(spikes, sample=sample, neuron_names=["a", "b", "c"])
        assert sorted(map(tuple, display.ax_.collections[0].get_offsets().data)) == expected
        assert display.activity.shape == (n_steps, 3)
        assert (display.ax_.get_xlabel(), display.ax_.get_xlim()) == ("step", (-0.5, n_steps - 0.5))
        assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("encoder", "names"),
    [
        (RateSpikeEncoder(n_steps=6, layout="steps", random_state=0), ["first", "second"]),
        (LatencySpikeEncoder(n_steps=6), ["first", "second"]),
    ],
    ids=["rate", "latency"],
)
def test_raster_of_encoders_over_time(encoder, names):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(np.random.default_rng(0).uniform(size=(9, 2)), columns=["first", "second"])
    neurons = make_pipeline(encoder, EPSNNClassifier(activation=LIF(), max_iter=1))
    neurons.fit(X, np.arange(9) % 2)
    display = SpikeRasterDisplay.from_estimator(neurons, X, sample=4)
    np.testing.assert_array_equal(display.activity, neurons[0].transform(X)[4])
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == names
    first = SpikeRasterDisplay.from_estimator(neurons[0], X)
    np.testing.assert_array_equal(first.activity, neurons[0].transform(X)[0])


def test_raster_of_encoded_signals():
    """What comes in has steps too; those after a sample's end are not drawn."""
    X = np.random.default_rng(0).normal(size=(5, 8, 2)).cumsum(axis=1)
    X[3, 5:] = np.nan
    encoder = DeltaSpikeEncoder(threshold=0.5).fit(X)
    display = SpikeRasterDisplay.from_estimator(encoder, X, sample=3)
    np.testing.assert_array_equal(display.activity, encoder.transform(X)[3, :5])
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["x0_on", "x0_off", "x1_on", "x1_off"]
    rates = SpikeRasterDisplay.from_estimator(PopulationEncoder(6, output="rates").fit(X), X, sample=3)
    assert images_of(rates.ax_).shape == (12, 5)


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((3, 2), {"sample": 0}, "sample is for activity of shape .*np.newaxis"),
        ((3, 2, 2), {"sample": 3}, "sample must be an integer from -3 to 2, got 3"),
        ((3, 2, 2), {"sample": "a"}, "sample must be an integer"),
        ((3, 2, 2), {"neuron_names": ["a"]}, "neuron_names must hold 2 names"),
        ((3, 2), {"neuron_names": ["a"]}, "neuron_names must hold 2 names"),
        ((3, 2, 2, 2), {}, "dim 4"),
    ],
)
def test_raster_refuses_arguments(shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        SpikeRasterDisplay.from_predictions(np.zeros(shape), **arguments)


@pytest.mark.parametrize(
    ("steps", "message"),
    [([[np.nan], [np.nan]], "no step"), ([[np.nan], [0.0]], "before their end"), ([[0.0], [2.0]], "rates in")],
)
def test_raster_refuses_steps(steps, message):
    with pytest.raises(ValueError, match=message):
        SpikeRasterDisplay.from_predictions([steps])


@pytest.mark.parametrize("values", [[[0.5, 1.5]], [[-0.5, 1.0]], [[np.nan, 0.0]]])
def test_raster_refuses_other_values(values):
    with pytest.raises(ValueError, match="activity"):
        SpikeRasterDisplay.from_predictions(values)


def test_raster_needs_an_encoder(line, regressor):
    with pytest.raises(TypeError, match="needs a pipeline with an encoder"):
        SpikeRasterDisplay.from_estimator(make_pipeline(StandardScaler(), regressor), line.X)
    with pytest.raises(TypeError, match="needs an encoder"):
        SpikeRasterDisplay.from_estimator(regressor, line.X)


# ---------------------------------------------------------------------- convergence


def test_convergence_is_the_history(classifier):
    display = ConvergenceDisplay.from_estimator(classifier)
    for axes, name in zip(display.ax_[:2], ("energy", "step"), strict=True):
        values = classifier.history_[name]
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.c_[np.arange(1, len(values) + 1), values])


def test_convergence_shows_the_temperatures_tried(curve):
    network = curve[0]
    history = network[-1].history_
    display = ConvergenceDisplay.from_estimator(network)
    np.testing.assert_array_equal(display.ax_[2].lines[0].get_ydata(), history["held_out"])
    assert [text.get_text() for text in display.ax_[2].texts] == [f"{t:g}" for t in history["temperature"]]


def test_convergence_needs_a_history():
    with pytest.raises(ValueError, match="history has no energy and no step"):
        ConvergenceDisplay({"loss": [1.0]})


# ---------------------------------------------------------------------- all of them


def test_one_axes_is_divided(classifier):
    figure, (left, right) = plt.subplots(1, 2)
    display = WeightPosteriorDisplay.from_estimator(classifier, ax=left)
    assert [axes.figure for axes in display.ax_] == [figure, figure]
    assert all(axes.get_subplotspec().get_topmost_subplotspec() == left.get_subplotspec() for axes in display.ax_)
    given = plt.subplots(1, 3)[1]
    assert list(ConvergenceDisplay.from_estimator(classifier, ax=given).ax_) == list(given)
    with pytest.raises(ValueError, match="make 3 with plt.subplots"):
        ConvergenceDisplay.from_estimator(classifier, ax=figure.add_axes([0, 0, 1, 1]))


def test_single_axes_are_used_as_they_are(curve):
    model, x, _ = curve
    _, axes = plt.subplots(1, 2)
    assert PredictionBandDisplay.from_estimator(model, x, ax=axes[0]).ax_ is axes[0]
    assert SpikeRasterDisplay.from_estimator(model, x, ax=axes[1]).ax_ is axes[1]


def draw(display, estimator, data):
    arguments = {
        WeightPosteriorDisplay: (),
        ConvergenceDisplay: (),
        ReliabilityDisplay: (data.X, data.y),
        PredictionBandDisplay: (data.X, data.y),
        SpikeRasterDisplay: (data.X,),
    }
    return display.from_estimator(estimator, *arguments[display])


FITTING = [
    (WeightPosteriorDisplay, EPSNNClassifier()),
    (ConvergenceDisplay, EPSNNRegressor()),
    (ReliabilityDisplay, EPSNNClassifier()),
    (PredictionBandDisplay, EPSNNRegressor()),
    (SpikeRasterDisplay, PopulationEncoder(5)),
]


@pytest.mark.parametrize(("display", "estimator"), FITTING)
def test_unfitted_estimators_are_refused(blobs, display, estimator):
    with pytest.raises(NotFittedError):
        draw(display, clone(estimator), blobs)


@pytest.mark.parametrize("display", [WeightPosteriorDisplay, ConvergenceDisplay])
def test_other_estimators_are_refused(blobs, display):
    with pytest.raises(TypeError, match=f"{display.__name__} needs a network with .*, such as EPSNNClassifier"):
        draw(display, LogisticRegression().fit(blobs.X, blobs.y), blobs)


def test_reliability_needs_probabilities(blobs):
    with pytest.raises(TypeError, match="needs a classifier with predict_proba"):
        draw(ReliabilityDisplay, LinearRegression().fit(blobs.X, blobs.y), blobs)


@pytest.mark.parametrize(("display", "estimator"), FITTING)
def test_without_matplotlib(monkeypatch, blobs, display, estimator):
    fitted = clone(estimator).fit(blobs.X, blobs.y)
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'Pictures need matplotlib: pip install "sk_epsnn\[plot\]"'):
        draw(display, fitted, blobs)


@pytest.mark.parametrize(("display", "estimator"), FITTING)
def test_estimators_are_left_as_they_are(freeze, blobs, display, estimator):
    fitted = clone(estimator).fit(blobs.X, blobs.y)
    before = freeze(fitted)
    draw(display, fitted, blobs).figure_.canvas.draw()
    assert freeze(fitted) == before


def drawn_colors(axes):
    """Colours of all lines, bars, points and bands, without how much they let through, and the maps of images."""
    collections = [color for part in axes.collections for color in part.get_facecolor()]
    lines = [line.get_markeredgecolor() if line.get_linestyle() == "None" else line.get_color() for line in axes.lines]
    lone = lines + [patch.get_facecolor() for patch in axes.patches]
    plain = {colors.to_hex(color).upper() for color in [*lone, *(color[:3] for color in collections)]}
    return plain, {image.get_cmap().name for image in axes.images}


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize(("display", "estimator"), [*FITTING, (SpikeRasterDisplay, RateSpikeEncoder(random_state=0))])
def test_colors_are_those_of_the_palette(blobs, display, estimator, style):
    """Whatever cycle the user has, what is not of the palette is grey or the colour in which the user writes."""
    fitted = clone(estimator).fit(blobs.X, blobs.y)
    with plt.style.context(style), rc_context({"axes.prop_cycle": plt.cycler(color=["#123456"])}):
        before = dict(rcParams)
        axes = np.ravel(draw(display, fitted, blobs).ax_)
        assert dict(rcParams) == before
        plain, maps = (set().union(*parts) for parts in zip(*map(drawn_colors, axes), strict=True))
        writing = colors.to_hex(rcParams["text.color"]).upper()
    assert plain | maps
    assert plain <= {*PALETTE, NEUTRAL, writing}
    assert maps <= {SIGNED, VALUES, SHARES}


def test_displays_that_share_axes_differ():
    probability = np.array([[0.1, 0.9], [0.4, 0.6]])
    ax = plt.subplots()[1]
    shown = [ReliabilityDisplay.from_predictions([1, 0], probability, ax=ax).line_ for _ in range(8)]
    assert [line.get_color() for line in shown[:6]] == list(PALETTE)
    assert {line.get_color() for line in shown} == set(PALETTE)


@pytest.mark.parametrize("name", ["c", "color"])
def test_users_choose_other_colors(regressor, name):
    """By either of the names that matplotlib has for it."""
    red = {name: "red"}
    steps = ConvergenceDisplay.from_estimator(regressor).plot(**red)
    assert [axes.lines[0].get_color() for axes in steps.ax_] == ["red", "red"]
    band = PredictionBandDisplay([0.0, 1.0], [0.0, 1.0], [1.0, 1.0]).plot(**red)
    reliability = ReliabilityDisplay(np.array([0.9]), np.array([0.8]), np.array([10])).plot(**red)
    assert {colors.to_hex(each.line_.get_color()) for each in (band, reliability)} == {"#ff0000"}
    spikes = SpikeRasterDisplay([[0, 1], [1, 0]]).plot(**red).ax_.collections[0]
    assert colors.to_hex(spikes.get_facecolor()[0]) == "#ff0000"
