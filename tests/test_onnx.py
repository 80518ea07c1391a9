"""Networks in ONNX: labels equal, probabilities and predictions to float32."""

import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
import toys
from scipy.special import softmax
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_epsnn import (
    LIF,
    Convolution,
    DeltaSpikeEncoder,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianPrior,
    LatencySpikeEncoder,
    Newton,
    PatchSpikeEncoder,
    PopulationEncoder,
    RateSpikeEncoder,
    SBNNClassifier,
    SBNNRegressor,
    SigmoidLIF,
    register_onnx_converters,
)

skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
FloatTensorType = pytest.importorskip("skl2onnx.common.data_types").FloatTensorType
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

CLASSIFIERS = {
    "one layer": {},
    "in the inputs' axes": {"inference": Newton(rotate_inputs=False), "prior": GaussianPrior(spectral_exponent=0)},
    "hidden": {"hidden_layer_sizes": 20},
    "laplace": {"hidden_layer_sizes": 10, "prior": "laplace"},
    "two hidden": {"hidden_layer_sizes": (10, 8), "activation": ["heaviside", "sigmoid"]},
    "without intercept": {"hidden_layer_sizes": 10, "fit_intercept": False},
    "binary": {"hidden_layer_sizes": 20, "weights": "binary"},
    "lattice": {"hidden_layer_sizes": (10, 6), "weights": "binary", "fit_intercept": False},
    # A network that has hardly begun gives classes the same probability.
    "ternary lattice": {
        **{"hidden_layer_sizes": 10, "weights": "ternary", "fit_intercept": False},
        "inference": "newton",
    },
    "spike and slab": {"prior": "bernoulli_gaussian"},
    "by themselves": {"output_activation": "sigmoid"},
    "spikes at random": {"hidden_layer_sizes": 10, "activation": "sigmoid"},
}
CONVOLUTIONS = {
    "one": {"hidden_layer_sizes": Convolution(4, 3, pool=2)},
    "dense behind two": {"hidden_layer_sizes": (Convolution(4, 3, pool=3), Convolution(6, 2), 8), "weights": "binary"},
    "padding": {
        **{"hidden_layer_sizes": (Convolution(4, 3, stride=2, padding=1), Convolution(5, 3, padding=1))},
        **{"activation": ["sigmoid", "heaviside"]},
    },
    "in the inputs' axes": {
        "hidden_layer_sizes": (Convolution(4, 3, padding=1), Convolution(3, 3, stride=2)),
        "inference": Newton(rotate_inputs=False),
    },
    "without intercept": {"hidden_layer_sizes": Convolution(4, 3, padding=1), "fit_intercept": False},
    "lattice": {
        **{"hidden_layer_sizes": (Convolution(4, 3, padding=1, pool=2), Convolution(3, 3))},
        **{"weights": "binary", "fit_intercept": False},
    },
    "image of neurons": {
        **{"hidden_layer_sizes": (25, Convolution(4, 3, image_shape=(5, 5), pool=2))},
        **{"weights": "ternary", "fit_intercept": False},
    },
    "signals": {
        "hidden_layer_sizes": (Convolution(4, 5, pool=2, image_shape=(1, 32, 2)), Convolution(4, 3, padding=1)),
        **{"output_activation": "sigmoid", "weights": "ternary"},
    },
}


@pytest.fixture(scope="module", autouse=True)
def registered():
    register_onnx_converters()


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X > 7).astype(np.float32), y


@pytest.fixture(scope="module")
def fitted(digits):
    """Function that gives one of the classifiers, each fitted once."""

    @cache
    def fit(name, dtype):
        X, y = digits
        return EPSNNClassifier(max_iter=2, random_state=0, **CLASSIFIERS[name]).fit(X[:600].astype(dtype), y[:600])

    return fit


def assert_predicts(label, probability, model, X, atol):
    """The model's probabilities, and labels of the largest: which of two that tie, rounding decides, on each CPU."""
    expected = model.predict_proba(X)
    np.testing.assert_allclose(probability, expected, rtol=0, atol=atol)
    given = np.take_along_axis(expected, np.searchsorted(model.classes_, label)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(given, expected.max(axis=1), rtol=0, atol=2 * atol)


def run(model, X, **options):
    """All outputs of the converted model."""
    graph = skl2onnx.to_onnx(model, X[:1], **options)
    return onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"X": X})


@pytest.mark.parametrize(("dtype", "frozen"), [(np.float32, False), (np.float32, True), (np.float64, False)])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier(name, frozen, dtype, fitted, digits):
    X, model = digits[0].astype(dtype), fitted(name, dtype)
    model = model.freeze() if frozen else model
    label, probability = run(model, X, options={"zipmap": False})
    assert probability.dtype == dtype
    assert_predicts(label, probability, model, X, atol=1e-5)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, digits):
    X, y = digits
    model = EPSNNClassifier(max_iter=1, random_state=0, **CONVOLUTIONS[name]).fit(X[:300], y[:300])
    for each in (model, model.freeze()):
        label, probability = run(each, X, options={"zipmap": False})
        assert np.ptp(probability, axis=0).max() > 1e-3
        assert_predicts(label, probability, each, X, atol=1e-5)


def test_empty_patches_without_intercept():
    """Potentials of exactly 0 of weights that are known, which are no multiples of a lattice: a spike or none."""
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    layers = Convolution(4, 3, pool=2)
    model = EPSNNClassifier(layers, weights="binary", fit_intercept=False, max_iter=1, random_state=0)
    model = model.fit(X[:300], y[:300]).freeze()
    label, probability = run(model, X, options={"zipmap": False})
    assert_predicts(label, probability, model, X, atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_regressor_with_convolutions(frozen, digits):
    """Weights of a kernel are correlated; the estimator is asked in float64, as empty patches are known well."""
    X, y = digits
    layers = (Convolution(4, 3, padding=1, pool=2), Convolution(5, 3, padding=1))
    inference = Newton(n_sweeps=2, validation_fraction=0)
    model = EPSNNRegressor(layers, inference=inference, max_iter=1, random_state=0).fit(X[:300], y[:300])
    assert all(weights.covariance is not None for weights in model._progress.state.moments("float64"))
    model = model.freeze() if frozen else model
    (predicted,) = run(model, X)
    np.testing.assert_allclose(predicted[:, 0], model.predict(X.astype(np.float64)), rtol=0, atol=1e-3)


def test_nodes_of_a_convolution(digits):
    """Those that runtimes have kernels for, in older operators too."""
    X, y = digits
    model = EPSNNClassifier(max_iter=1, random_state=0, **CONVOLUTIONS["dense behind two"]).fit(X[:300], y[:300])
    graph = skl2onnx.to_onnx(model, X[:1], options={"zipmap": False}, target_opset=15)
    kinds = [node.op_type for node in graph.graph.node]
    # Patches, then means and variances; means, and variances of weights and of spikes.
    assert (kinds.count("Conv"), kinds.count("AveragePool")) == (6, 2)
    _, probability = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"X": X})
    np.testing.assert_allclose(probability, model.predict_proba(X), rtol=0, atol=1e-5)
    frozen = [node.op_type for node in skl2onnx.to_onnx(model.freeze(), X[:1]).graph.node]
    assert frozen.count("Conv") == 4


def test_other_readers_of_a_map_are_refused(digits):
    X, y = digits
    layers = (Convolution(4, 3), toys.Patches(4, (12, 12)))
    model = EPSNNClassifier(layers, max_iter=1, random_state=0).fit(X[:100], y[:100])
    with pytest.raises(NotImplementedError, match="Patches cannot be converted to ONNX; .* and convolutions"):
        run(model, X)


def test_far_from_the_boundary(digits):
    """Potentials of a hundred: probabilities of every unit that underflow where they are not taken in logarithms."""
    X, y = digits
    model = EPSNNClassifier(max_iter=1, random_state=0).fit(X[:600], y[:600]).freeze()
    far = 20 * X
    assert np.abs(model.predict_potentials(far).mean).max() > 50
    label, probability = run(model, far, options={"zipmap": False})
    np.testing.assert_array_equal(label, model.predict(far))
    np.testing.assert_allclose(probability, model.predict_proba(far), rtol=0, atol=1e-4)


@pytest.mark.parametrize("n_classes", [3, 30])
@pytest.mark.parametrize("size", [0.0, 0.01, 1.0, 10.0, 300.0])
def test_classes_that_compete(n_classes, size):
    """Potentials known well, hardly, and all but not at all: variances up to a million."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6 * n_classes, 5)).astype(np.float32), np.arange(6 * n_classes) % n_classes
    model = EPSNNClassifier(max_iter=2, random_state=0).fit(X, y)
    X = size * X[:100]
    label, probability = run(model, X, options={"zipmap": False})
    np.testing.assert_allclose(probability, model.predict_proba(X), rtol=0, atol=1e-6)
    best, second = np.sort(model.predict_proba(X), axis=1)[:, :-3:-1].T
    np.testing.assert_array_equal(label[best - second > 1e-5], model.predict(X)[best - second > 1e-5])


def test_the_average_over_draws():
    """What the graph gives is the mean of the probabilities of networks drawn from the posterior."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 4)).astype(np.float32), np.arange(30) % 3
    model = EPSNNClassifier(prior=GaussianPrior(variance=20.0), random_state=0).fit(X, y)
    mean, variance = model.predict_potentials(X)
    assert variance.max() > 3
    draws = mean[:, None] + np.sqrt(variance)[:, None] * rng.standard_normal((30, 40_000, 3))
    _, probability = run(model, X, options={"zipmap": False})
    np.testing.assert_allclose(probability, softmax(draws, axis=2).mean(1), atol=0.01)


@pytest.mark.parametrize("hidden", [(), (6,)])
def test_known_weights_give_a_softmax(hidden, digits):
    """No integral, and no table of one."""
    X, y = digits
    model = EPSNNClassifier(hidden, max_iter=1, random_state=0).fit(X[:300], y[:300]).freeze()
    _, probability = run(model, X, options={"zipmap": False})
    np.testing.assert_allclose(probability, softmax(model.predict_potentials(X).mean, axis=1), atol=1e-6)
    assert len(skl2onnx.to_onnx(model, X[:1]).SerializeToString()) < 50_000


@pytest.mark.parametrize("opset", [15, 18])
def test_older_operators(opset, digits):
    X, y = digits
    model = EPSNNClassifier(max_iter=1, random_state=0, **CLASSIFIERS["lattice"]).fit(X[:300], y[:300])
    _, probability = run(model, X, options={"zipmap": False}, target_opset=opset)
    np.testing.assert_allclose(probability, model.predict_proba(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize("names", [["good", "bad"], [7, 3]])
def test_two_classes_and_a_pipeline(names):
    X, y = load_breast_cancer(return_X_y=True)
    X, y = X.astype(np.float32), np.array(names)[y]
    model = make_pipeline(StandardScaler(), EPSNNClassifier(5, max_iter=10, random_state=0)).fit(X[:300], y[:300])
    label, probability = run(model, X, options={id(model): {"zipmap": False}})
    np.testing.assert_array_equal(label, model.predict(X))
    np.testing.assert_allclose(probability, model.predict_proba(X), rtol=0, atol=1e-5)
    _, named = run(model, X[:5])
    assert set(named[0]) == set(names)


@pytest.mark.parametrize(
    "names",
    {
        "bool": [False, True],
        "int8": np.array([-3, 5], np.int8),
        "uint64": np.array([0, 7], np.uint64),
        "whole floats": [1.0, 2.0],
        "str_": np.array(["no", "yes"]),
        "objects": np.array(["no", "yes"], object),
        "three": ["a", "b", "c"],
        "nullable": [0, 1],
    }.items(),
    ids=lambda item: item[0],
)
def test_labels_of_every_kind(names):
    """Whole numbers become int64, False and True 0 and 1."""
    kind, names = names
    X = np.random.default_rng(0).standard_normal((90, 3)).astype(np.float32)
    index = np.digitize(X[:, 0], [0.0, 0.7][: len(names) - 1])
    y = pd.Series(index, dtype="Int64") if kind == "nullable" else np.asarray(names)[index]
    model = EPSNNClassifier(max_iter=1).fit(X, y)
    label, _ = run(model, X, options={"zipmap": False})
    assert list(label) == list(model.predict(X))
    assert label.dtype == (object if isinstance(model.classes_[0], str) else np.int64)
    _, named = run(model, X[:2])
    assert list(named[0]) == list(model.classes_)


@pytest.mark.parametrize("hidden", [(), (10,)])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_regressor(hidden, n_outputs):
    X, y = load_diabetes(return_X_y=True)
    y = y if n_outputs == 1 else np.column_stack([y, 7 - 3 * y])
    model = EPSNNRegressor(hidden, max_iter=2, random_state=0).fit(X, y)
    (predicted,) = run(model, X.astype(np.float32))
    np.testing.assert_allclose(predicted.reshape(y.shape), model.predict(X), rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tuning", ["raised_cosine", "gaussian"])
def test_population_code(tuning, dtype):
    X, y = load_diabetes(return_X_y=True)
    X = np.ascontiguousarray(X[:, :4], dtype=dtype)
    X[:, 3] = 7  # a constant feature
    encoder = PopulationEncoder(12, tuning=tuning, width=[0.05, 0.1, 0.2, 1.0], output="rates").fit(X[:300])
    encoder.set_params(out_of_range="clip")
    X[300:] *= 2  # beyond the range seen
    (rates,) = run(encoder, X)
    assert rates.dtype == dtype
    np.testing.assert_allclose(rates, encoder.transform(X), rtol=0, atol=1e-5)
    model = make_pipeline(encoder, EPSNNRegressor(8, max_iter=2, random_state=0)).fit(X[:300], y[:300])
    (predicted,) = run(model, X)
    np.testing.assert_allclose(predicted[:, 0], model.predict(X), rtol=1e-3)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("options", [{}, {"hidden_layer_sizes": (20, 15)}, {"weights": "binary"}], ids=str)
def test_variational_classifiers(options, frozen, digits):
    X, y = digits
    model = SBNNClassifier(**{"hidden_layer_sizes": 20, **options}, max_iter=3, random_state=0).fit(X[:600], y[:600])
    model = model.freeze() if frozen else model
    labels, probability = run(model, X, options={"zipmap": False})
    expected = model.predict_proba(X)
    # Where a potential is 0 but for rounding, a spike of known weights is there or not.
    close = np.isclose(probability, expected, rtol=0, atol=1e-4).all(axis=1)
    assert close.mean() > (0.99 if frozen else 0.9999)
    assert (labels == model.predict(X)).mean() > 0.99


def test_variational_regressors():
    X, y = load_diabetes(return_X_y=True)
    X = X.astype(np.float32)
    model = SBNNRegressor(15, max_iter=5, random_state=0).fit(X, y)
    np.testing.assert_allclose(run(model, X)[0][:, 0], model.predict(X), rtol=1e-3)


def test_networks_that_are_drawn_are_refused(digits):
    X, y = digits
    for options, message in (
        ({"n_draws": 5}, "freeze"),
        ({"hidden_layer_sizes": (9, 9, 9), "residual": True}, "freeze"),
    ):
        model = SBNNClassifier(**{"hidden_layer_sizes": 9, **options}, max_iter=1).fit(X[:200], y[:200])
        with pytest.raises(NotImplementedError, match=message):
            run(model, X)
    with pytest.raises(NotImplementedError, match="cannot be converted to ONNX"):
        run(model.freeze(), X)


@pytest.mark.parametrize("output", ["rates", "spikes"])
@pytest.mark.parametrize(("stride", "padding", "pool_size"), [(1, 1, 4), (2, 0, 3), (1, 2, 1)])
def test_patches(output, stride, padding, pool_size, digits):
    """Also regions at the edges, and colors last."""
    encoder = PatchSpikeEncoder(
        (4, 8, 2), n_channels=5, kernel_size=3, stride=stride, padding=padding, pool_size=pool_size, output=output,
        random_state=0,
    )  # fmt: skip
    X, y = digits
    (found,) = run(encoder.fit(X[:200]), X)
    np.testing.assert_allclose(found, encoder.transform(X), rtol=1e-6)
    model = make_pipeline(encoder, EPSNNClassifier(random_state=0)).fit(X[:200], y[:200])
    np.testing.assert_array_equal(run(model, X)[0], model.predict(X))


@pytest.mark.parametrize("out_of_range", ["clip", "extend"])
def test_population_code_of_a_long_tail(out_of_range):
    X = np.random.default_rng(0).lognormal(0, 2, (300, 2))
    X[:, 1] = np.arange(300)
    encoder = PopulationEncoder(12, out_of_range=out_of_range, output="rates").fit(X)
    (rates,) = run(encoder, X)
    np.testing.assert_allclose(rates, encoder.transform(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize("encoder", [PopulationEncoder(3), RateSpikeEncoder()])
def test_spikes_are_refused(encoder, digits):
    X, y = digits
    model = make_pipeline(encoder, EPSNNClassifier(max_iter=1)).fit(X[:100, :5], y[:100])
    with pytest.raises(NotImplementedError, match="convert the estimator alone, or train it on rates"):
        run(model, X[:, :5])


@pytest.mark.parametrize("encoder", [LatencySpikeEncoder(), DeltaSpikeEncoder()])
def test_encoders_over_time_are_refused(encoder, digits):
    with pytest.raises(NotImplementedError, match="convert the estimator alone"):
        run(encoder.fit(digits[0][:20]), digits[0])


@pytest.mark.parametrize(
    "model",
    [
        EPSNNClassifier(3, activation=LIF(0.8), inference=Newton(n_sweeps=2), max_iter=1),
        EPSNNClassifier(3, inference=Newton(n_sweeps=2), max_iter=1),
        EPSNNClassifier(activation=LIF(readout=2), max_iter=1),
        EPSNNRegressor(3, activation=SigmoidLIF(0.8), inference=Newton(n_sweeps=2, validation_fraction=0), max_iter=1),
    ],
    ids=["LIF", "Heaviside", "no hidden layer", "SigmoidLIF"],
)
@pytest.mark.parametrize("flat", [False, True])
def test_networks_over_steps_are_refused(model, flat):
    """Whether the inputs are declared as sequences or as rows."""
    X = np.random.default_rng(0).standard_normal((20, 6, 3)).astype(np.float32)
    model.fit(X, np.arange(20) % 2)
    columns = [None, 18] if flat else [None, 6, 3]
    for each in (model, model.freeze()):
        with pytest.raises(NotImplementedError, match="Readout cannot be converted to ONNX.*to_nir exports LIF"):
            skl2onnx.to_onnx(each, initial_types=[("X", FloatTensorType(columns))])


def test_sequences_are_refused():
    """Even where the shapes would do: as many neurons as features."""
    X = np.random.default_rng(0).standard_normal((20, 5, 4)).astype(np.float32)
    encoder = PopulationEncoder(4, output="rates").fit(X)
    classifier = EPSNNClassifier(max_iter=1).fit(X[:, 0], np.arange(20) % 2)
    for model in (encoder, classifier):
        with pytest.raises(NotImplementedError, match=r"\[None, 5, 4\], with steps in time.*declare rows.*to_nir"):
            run(model, X)
    (rates,) = run(encoder, X[:, 0])
    np.testing.assert_allclose(rates, encoder.transform(X)[:, 0], rtol=0, atol=1e-5)


def test_refusals(digits, monkeypatch):
    X, y = digits
    threshold = EPSNNClassifier(output_activation="heaviside", max_iter=1).fit(X[:300], y[:300])
    with pytest.raises(NotImplementedError, match="output_activation='sigmoid' or 'softmax'.*use to_nir"):
        run(threshold, X)
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"sk_epsnn\[onnx\]"):
        register_onnx_converters()
