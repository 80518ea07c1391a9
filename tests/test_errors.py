"""Errors name the remedy, and leave the estimator exactly as it was, Ctrl-C included."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from sk_epsnn import (
    AverageEP,
    BernoulliGaussianPrior,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianMixturePrior,
    GaussianPrior,
    HeavisideOutput,
    LaplacePrior,
    Levels,
    Newton,
    Stochastic,
)
from sk_epsnn.ep.stochastic_trainer import StochasticTrainer
from sk_epsnn.ep.trainer import SweepTrainer
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.priors import WeightPrior

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
LABELS = np.arange(30) % 3
TARGETS = X @ np.array([1.0, -1.0, 0.5])
KINDS = {EPSNNClassifier: LABELS, EPSNNRegressor: TARGETS}
KIND = pytest.mark.parametrize("kind", KINDS)
METHOD = pytest.mark.parametrize("method", ["fit", "partial_fit"])


def with_entry(array, value):
    changed = np.array(array, dtype=np.result_type(array, type(value)))
    changed.flat[4] = value
    return changed


def call(model, method, X, y, **options):
    """Call fit or partial_fit, the latter with the classes if it wants them."""
    if method == "partial_fit" and isinstance(model, EPSNNClassifier):
        options = {"classes": [0, 1, 2], **options}
    return getattr(model, method)(X, y, **options)


def unfitted(kind, **options):
    return kind(max_iter=2, random_state=0, **options)


def fitted(kind, **options):
    return unfitted(kind, **options).fit(X, KINDS[kind])


def assert_refused(model, method, X, y, match, freeze, error=ValueError, **options):
    before = freeze(vars(model))
    with pytest.raises(error, match=match):
        call(model, method, X, y, **options)
    assert freeze(vars(model)) == before


# ---------------------------------------------------------------------- data

BAD_INPUTS = {
    "NaN": (with_entry(X, np.nan), "contains NaN"),
    "infinity": (with_entry(X, np.inf), "contains infinity"),
    "one dimension": (X[:, 0], "Reshape your data"),
    "four dimensions": (X[:, :, None, None], "dim(ension)?s? 4"),
    "complex": (X + 1j, "Complex data not supported"),
    "text": (np.full((30, 3), "spike"), "could not convert string to float|numeric"),
    "lengths differ": (X[:-1], "inconsistent numbers of samples"),
    "no rows": (X[:0], "0 sample"),
    "no features": (X[:, :0], "0 feature"),
}


@KIND
@METHOD
@pytest.mark.parametrize("start", [unfitted, fitted])
@pytest.mark.parametrize(("bad", "match"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_inputs(kind, method, start, bad, match, freeze):
    y = KINDS[kind][: len(bad)] if len(bad) == 0 else KINDS[kind]
    assert_refused(start(kind), method, bad, y, match, freeze)


@KIND
@pytest.mark.parametrize("hidden", [(), (3,)], ids=str)
def test_feature_count_changed(kind, hidden, freeze):
    model = fitted(kind, hidden_layer_sizes=hidden)
    match = "X has 2 features, but .* is expecting 3 features"
    assert_refused(model, "partial_fit", X[:, :2], KINDS[kind], match, freeze)
    assert_refused(model.set_params(warm_start=True), "fit", X[:, :2], KINDS[kind], match, freeze)
    before = freeze(vars(model))
    for method in ("predict", "predict_uncertainty"):
        with pytest.raises(ValueError, match=match):
            getattr(model, method)(X[:, :2])
    assert freeze(vars(model)) == before


@KIND
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_prediction_refuses_what_fit_refuses(kind, bad):
    with pytest.raises(ValueError, match="contains"):
        fitted(kind).predict(with_entry(X, bad))


BAD_WEIGHTS = {
    "negative": (with_entry(np.ones(30), -1.0), "Negative values in data passed to `sample_weight`"),
    "all zero": (np.zeros(30), "at least one non-zero"),
    "NaN": (with_entry(np.ones(30), np.nan), "sample_weight contains NaN"),
    "infinite": (with_entry(np.ones(30), np.inf), "sample_weight contains infinity"),
    "too few": (np.ones(29), r"sample_weight.shape == \(29,\), expected \(30,\)"),
    "two dimensions": (np.ones((30, 2)), "Sample weights must be 1D"),
}


@KIND
@METHOD
@pytest.mark.parametrize("start", [unfitted, fitted])
@pytest.mark.parametrize(("bad", "match"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_sample_weights(kind, method, start, bad, match, freeze):
    assert_refused(start(kind), method, X, KINDS[kind], match, freeze, sample_weight=bad)


@KIND
@METHOD
@pytest.mark.parametrize("start", [unfitted, fitted])
def test_weights_beyond_the_arithmetic(kind, method, start, freeze):
    match = "These rows say more about the weights than float64 arithmetic can keep"
    assert_refused(start(kind), method, X[:2], KINDS[kind][:2], match, freeze, sample_weight=np.full(2, 1e25))


# ---------------------------------------------------------------------- targets

BAD_TARGETS = {
    "NaN": (with_entry(TARGETS, np.nan), "y contains NaN"),
    "infinity": (with_entry(TARGETS, np.inf), "y contains infinity"),
    "None": (np.array([None] * 30), "y contains NaN"),
    "complex": (TARGETS + 1j, "Complex data not supported"),
    "text": (np.full(30, "high"), "could not convert string to float"),
    "three dimensions": (TARGETS[:, None, None], "dim(ension)?s? 3"),
    "nothing": (None, "requires y to be passed"),
}


@METHOD
@pytest.mark.parametrize("start", [unfitted, fitted])
@pytest.mark.parametrize(("bad", "match"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_bad_targets(method, start, bad, match, freeze):
    assert_refused(start(EPSNNRegressor), method, X, bad, match, freeze)


DAYS = np.datetime64("2020-02-28") + np.arange(30)
STAMPS = pd.Series(DAYS, dtype="datetime64[ns]")
NO_NUMBERS = {
    "days": (DAYS, "datetime64"),
    "nanoseconds": (DAYS.astype("datetime64[ns]"), "datetime64"),
    "durations": (DAYS - DAYS[0], "timedelta64"),
    "columns": (np.column_stack([DAYS, DAYS]), "datetime64"),
    "objects of NumPy": (np.array([*DAYS], dtype=object), "datetime64"),
    "dates": (DAYS.tolist(), "date"),
    "times of a day": (DAYS.astype("datetime64[s]").tolist(), "datetime"),
    "one date among numbers": (np.array([*TARGETS[1:], DAYS.tolist()[0]], dtype=object), "date"),
    "seconds": (np.array([timedelta(seconds=s) for s in range(30)]), "timedelta"),
    "series": (STAMPS, "datetime64"),
    "time zones": (STAMPS.dt.tz_localize("Europe/Rome"), "Timestamp"),
    "frame": (pd.DataFrame({"a": STAMPS, "b": STAMPS}), "datetime64"),
    "durations of pandas": (STAMPS - STAMPS[0], "timedelta64"),
    "periods": (STAMPS.dt.to_period("D"), "Period"),
    "complex objects": (np.array([1j] * 30, dtype=object), "complex"),
}


@METHOD
@pytest.mark.parametrize("start", [unfitted, fitted])
@pytest.mark.parametrize(("bad", "name"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_targets_that_are_no_numbers(method, start, bad, name, freeze):
    """scikit-learn would take some of these for numbers of nanoseconds."""
    match = rf"y must hold real numbers, got {name}\. .*/ np.timedelta64\(1, 'D'\)"
    assert_refused(start(EPSNNRegressor), method, X, bad, match, freeze, error=TypeError)


def test_targets_that_are_numbers_in_other_clothes():
    expected = EPSNNRegressor().fit(X, TARGETS).predict(X)
    days = (DAYS - DAYS.min()) / np.timedelta64(1, "D")
    assert np.isfinite(EPSNNRegressor().fit(X, days).predict(X)).all()
    for y in (TARGETS.astype(object), [Fraction(t) for t in TARGETS], pd.Series(TARGETS, dtype="Float64")):
        np.testing.assert_array_equal(EPSNNRegressor().fit(X, y).predict(X), expected)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
def test_number_of_outputs_changed(before, after, freeze):
    model = unfitted(EPSNNRegressor).fit(X, X[:, :before])
    match = f"y has {after} outputs, but the model was fitted with {before}"
    assert_refused(model, "partial_fit", X, X[:, :after], match, freeze)
    assert_refused(model.set_params(warm_start=True), "fit", X, X[:, :after], match, freeze)


@pytest.mark.parametrize("start", [unfitted, fitted])
def test_bad_labels_in_fit(start, freeze):
    model = start(EPSNNClassifier)
    assert_refused(model, "fit", X, np.ones(30), "at least 2 classes, but the data has only one class", freeze)
    assert_refused(model, "fit", X, TARGETS, "Unknown label type: continuous", freeze)
    assert_refused(model, "fit", X, np.column_stack([LABELS, LABELS]), "y should be a 1d array", freeze)
    assert_refused(model, "fit", X, None, "requires y to be passed", freeze)


def test_labels_changed_in_a_warm_start(freeze):
    model = fitted(EPSNNClassifier, warm_start=True)
    assert_refused(model, "fit", X, LABELS % 2, "set warm_start=False to start anew", freeze)


def test_bad_labels_in_a_first_batch(freeze):
    model = unfitted(EPSNNClassifier)
    assert_refused(model, "partial_fit", X, LABELS, "classes must be passed in the first call", freeze, classes=None)
    assert_refused(model, "partial_fit", X, LABELS * 0, "at least 2 classes", freeze, classes=[0])
    assert_refused(model, "partial_fit", X, LABELS, "at least 2 classes, but the data has none", freeze, classes=[])
    for y in (LABELS + 1, LABELS.astype(str), TARGETS):
        assert_refused(model, "partial_fit", X, y, r"name every label in the first call.*classes=", freeze)


def test_bad_labels_in_a_later_batch(freeze):
    model = fitted(EPSNNClassifier)
    for y in (LABELS + 1, np.array(["a", "b", "c"])[LABELS]):
        assert_refused(model, "partial_fit", X, y, r"name every label in the first call.*classes=", freeze)
    for classes in ([0, 1], [0, 1, 2, 3]):
        assert_refused(model, "partial_fit", X, LABELS, "cannot change in a stream", freeze, classes=classes)


# ---------------------------------------------------------------------- parameters

BAD_PARAMETERS = [
    ("hidden_layer_sizes", 0, r"int in the range \[1, inf\)"),
    ("hidden_layer_sizes", (3, 0), "must hold positive integers"),
    ("hidden_layer_sizes", (2.5,), "must hold positive integers"),
    ("hidden_layer_sizes", (2**70,), r"integers below 2\*\*31"),
    ("hidden_layer_sizes", ("a",), "must hold positive integers"),
    ("activation", "relu", "must be a str among .*heaviside"),
    ("weights", "quaternary", "must be a str among .*continuous.* or an instance of 'sk_epsnn.weights.grid.Levels'"),
    ("weights", [-1.0, 1.0], "must be a str among .*continuous.* or an instance of 'sk_epsnn.weights.grid.Levels'"),
    ("activation", ["heaviside"] * 9, "is that of hidden neurons, and there are none"),
    ("prior", "flat", "must be a str among .*gaussian"),
    ("inference", "adam", "among .*average_ep|among .*newton"),
    ("inference", GaussianPrior(), "among .*average_ep|among .*newton"),
    ("fit_intercept", "no", "must be an instance of 'bool'"),
    ("batch_size", 0, r"int in the range \[1, inf\)"),
    ("batch_size", 2.5, r"int in the range \[1, inf\)"),
    ("max_iter", 0, r"int in the range \[1, inf\)"),
    ("forgetting", 0.0, r"float in the range \(0.0, 1.0\]"),
    ("forgetting", 1.5, r"float in the range \(0.0, 1.0\]"),
    ("tol", -1e-3, r"float in the range \[0.0, inf\)"),
    ("n_shards", 0, r"int in the range \[1, inf\)"),
    ("shuffle", "no", "must be an instance of 'bool'"),
    ("warm_start", "no", "must be an instance of 'bool'"),
    ("n_jobs", 1.5, "must be an int in the range"),
    ("random_state", "seed", "random_state"),
    ("verbose", "loud", "verbose"),
]
OF_ONE_KIND = [
    (EPSNNClassifier, "output_activation", "relu", "must be a str among .*sigmoid"),
    (EPSNNClassifier, "output_activation", GaussianOutput(np.ones(1)), "or an instance of .*SpikingOutput"),
    (EPSNNClassifier, "class_weight", "even", "among .*balanced"),
    (EPSNNClassifier, "class_weight", {0: -1.0}, "class_weight must be finite and not negative"),
    (EPSNNClassifier, "class_weight", {0: np.nan}, "class_weight must be finite and not negative"),
    (EPSNNClassifier, "class_weight", {0: 0, 1: 0, 2: 0}, "give one a positive weight"),
    (EPSNNClassifier, "class_weight", {0: 1.0, 7: 2.0}, "not in class_weight"),
    (EPSNNRegressor, "noise_variance", 0.0, r"float in the range \(0.0, inf\)"),
    (EPSNNRegressor, "noise_variance", "big", "among .*auto"),
]


#: Bad parameters of an object, with the parameter of the estimator that takes it.
BAD_OPTIONS = [
    ("weights", Levels([1.0]), "at least two different finite numbers"),
    ("weights", Levels([1.0, 1.0]), "at least two different finite numbers"),
    ("weights", Levels([0.0, np.nan]), "at least two different finite numbers"),
    ("weights", Levels([[0.0, 1.0]]), "at least two different finite numbers"),
    ("weights", Levels(["a", "b"]), "at least two different finite numbers"),
    ("weights", Levels(3), "'values' parameter of Levels must be an array-like"),
    ("weights", Levels((-1, 1), probabilities=[0.5, 0.4]), "must sum to 1"),
    ("weights", Levels((-1, 1), probabilities=[1.0, 0.0]), "one positive number for each"),
    ("weights", Levels((-1, 1), probabilities=[1 / 3] * 3), "each of the 2 levels"),
    ("weights", Levels((-1, 1), probabilities=0.5), "'probabilities' parameter of Levels must be None or an array"),
    ("weights", Levels((-1, 1), gain=0.0), r"'gain'.*float in the range \(0.0, inf\)"),
    ("prior", GaussianPrior(variance=0.0), r"'variance'.*float in the range \(0.0, inf\)"),
    ("prior", GaussianPrior(variance=[1.0, 1.0]), "give one number, or one per layer"),
    ("prior", GaussianPrior(variance=[-1.0]), "must be positive and finite in every layer"),
    ("prior", GaussianPrior(variance=[np.inf]), "must be positive and finite in every layer"),
    ("prior", GaussianPrior(variance="big"), "'variance'.*among .*auto"),
    ("prior", GaussianPrior(anchor=-1.0), r"'anchor'.*float in the range \[0.0, inf\)"),
    ("prior", GaussianPrior(spectral_exponent=-0.5), r"'spectral_exponent'.*float in the range \[0.0, inf\)"),
    ("prior", BernoulliGaussianPrior(active_probability=1.0), r"'active_probability'.*float in the range \(0.0, 1.0\)"),
    ("prior", BernoulliGaussianPrior(slab_variance=-1.0), r"'slab_variance'.*float in the range \(0.0, inf\)"),
    ("prior", LaplacePrior(scale=0.0), r"'scale'.*float in the range \(0.0, inf\)"),
    ("prior", GaussianMixturePrior(weights=(0.5, 0.4)), "weights"),
    ("prior", GaussianMixturePrior(means=(0.0,)), "means"),
    ("prior", GaussianMixturePrior(variances=(1.0, -1.0)), "variances"),
    ("inference", Newton(rotate_inputs="yes"), "'rotate_inputs'.*among .*auto"),
    ("inference", Newton(n_sweeps=0), r"'n_sweeps'.*int in the range \[1, inf\)"),
    ("inference", Newton(power=-0.1), r"'power'.*float in the range \[0.0, 1.0\]"),
    ("inference", Newton(power=1.1), r"'power'.*float in the range \[0.0, 1.0\]"),
    ("inference", Newton(temperature=0.0), r"'temperature'.*float in the range \(0.0, inf\)"),
    ("inference", Newton(temperature=[1.0, 1.0, 1.0]), "give one number, or one per layer"),
    ("inference", Newton(temperature=[np.nan]), "must be positive and finite in every layer"),
    ("inference", Newton(validation_fraction=1.0), r"'validation_fraction'.*float in the range \[0.0, 1.0\)"),
    ("inference", AverageEP(damping=0.0), r"'damping'.*float in the range \(0.0, 1.0\]"),
    ("inference", AverageEP(damping=1.5), r"'damping'.*float in the range \(0.0, 1.0\]"),
    ("inference", Stochastic(n_passes=0), r"'n_passes'.*int in the range \[1, inf\)"),
    ("inference", Stochastic(n_passes="few"), "'n_passes'.*among .*auto"),
    ("inference", Stochastic(learning_rate=0.0), r"'learning_rate'.*float in the range \(0.0, inf\)"),
    ("inference", Stochastic(final_sweeps=-1), r"'final_sweeps'.*int in the range \[0, inf\)"),
    ("output_activation", HeavisideOutput(noise_variance=-1.0), r"'noise_variance'.*float in the range \[0.0, inf\)"),
    ("output_activation", HeavisideOutput(noise_variance=np.nan), r"'noise_variance'.*float in the range \[0.0, inf\)"),
    ("output_activation", HeavisideOutput(noise_variance="loud"), r"'noise_variance'.*float in the range \[0.0, inf\)"),
]


@METHOD
@pytest.mark.parametrize(("kind", "name", "bad", "match"), [(kind, *case) for kind in KINDS for case in BAD_OPTIONS])
def test_bad_options(kind, method, name, bad, match, freeze):
    if name not in kind().get_params(deep=False):
        pytest.skip(f"{kind.__name__} has no {name}")
    assert_refused(unfitted(kind, **{name: bad}), method, X, KINDS[kind], match, freeze)
    if method == "fit":
        assert_refused(fitted(kind).set_params(**{name: bad}), method, X, KINDS[kind], match, freeze)


def test_every_option_has_a_bad_value():
    checked = {type(bad) for _, bad, _ in BAD_OPTIONS}
    for option in checked:
        values = [bad for _, bad, _ in BAD_OPTIONS if type(bad) is option]
        default = Levels((-1, 1)) if option is Levels else option()
        changed = {
            name
            for bad in values
            for name, value in bad.get_params().items()
            if repr(value) != repr(default.get_params()[name])
        }
        shared = {"variance", "anchor"} if issubclass(option, WeightPrior) and option is not GaussianPrior else set()
        shared |= (
            set(Newton().get_params()) & set(option().get_params()) if option in (AverageEP, Stochastic) else set()
        )
        assert changed | shared == set(default.get_params()), option
    assert checked == {
        *(AverageEP, BernoulliGaussianPrior, GaussianMixturePrior, GaussianPrior),
        *(HeavisideOutput, LaplacePrior, Levels, Newton, Stochastic),
    }


@METHOD
@pytest.mark.parametrize(
    ("kind", "name", "bad", "match"), [(kind, *case) for kind in KINDS for case in BAD_PARAMETERS] + OF_ONE_KIND
)
def test_bad_parameters(kind, method, name, bad, match, freeze):
    model = unfitted(kind).set_params(**{name: bad})
    assert_refused(model, method, X, KINDS[kind], match, freeze)
    if method == "fit":
        model = fitted(kind).set_params(**{name: bad})
        assert_refused(model, method, X, KINDS[kind], match, freeze)


@KIND
@pytest.mark.parametrize(
    ("name", "bad"), [("prior", 4), ("weights", 4), ("batch_size", 0), ("forgetting", 0.0), ("inference", "adam")]
)
def test_parameters_that_went_bad_in_a_stream(kind, name, bad, freeze):
    model = fitted(kind).set_params(**{name: bad})
    assert_refused(model, "partial_fit", X, KINDS[kind], f"The {name!r} parameter of {kind.__name__}", freeze)


@KIND
@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"inference": Newton(n_sweeps=0)}, "The 'n_sweeps' parameter of Newton"),
        ({"inference": AverageEP(damping=2.0)}, "The 'damping' parameter of AverageEP"),
        ({"prior": GaussianPrior(anchor=-1)}, "The 'anchor' parameter of GaussianPrior"),
    ],
)
def test_options_that_went_bad_in_a_stream(kind, option, match, freeze):
    assert_refused(fitted(kind).set_params(**option), "partial_fit", X, KINDS[kind], match, freeze)


def test_every_parameter_has_a_bad_value():
    shared = {name for name, *_ in BAD_PARAMETERS}
    for kind in KINDS:
        own = {name for of, name, *_ in OF_ONE_KIND if of is kind}
        assert shared | own == set(kind().get_params())


@KIND
@METHOD
@pytest.mark.parametrize("bad", [["heaviside"] * 9, [], ["heaviside", "relu"], ["relu", "relu"]], ids=str)
def test_activations_for_each_hidden_layer(kind, method, bad, freeze):
    model = unfitted(kind, hidden_layer_sizes=(3, 2), activation=bad)
    match = "one for each of the 2 hidden layers, got"
    assert_refused(model, method, X, KINDS[kind], match, freeze)


@KIND
@pytest.mark.parametrize("option", [{"weights": "binary"}, {"prior": "laplace"}])
def test_no_rotation_of_what_is_not_gaussian(kind, option, freeze):
    model = unfitted(kind, inference=Newton(rotate_inputs=True), **option)
    assert_refused(model, "fit", X, KINDS[kind], "only continuous weights with a Gaussian prior allow", freeze)


@KIND
def test_priors_are_for_continuous_weights(kind, freeze):
    model = unfitted(kind, weights="binary", prior="laplace")
    assert_refused(model, "fit", X, KINDS[kind], "set probabilities of Levels", freeze)


@KIND
def test_a_name_has_no_parameters(kind, freeze):
    model = unfitted(kind, prior="laplace")
    before = freeze(vars(model))
    with pytest.raises(ValueError, match=r"prior__scale is a parameter of an object, and prior='laplace' is none"):
        model.set_params(forgetting=0.5, prior__scale=2.0)
    assert freeze(vars(model)) == before
    assert model.set_params(prior=LaplacePrior(), prior__scale=2.0).prior.scale == 2.0


@KIND
@METHOD
@pytest.mark.parametrize(
    "option",
    [
        {"prior": GaussianPrior(spectral_exponent=1e300)},
        {"inference": Newton(temperature=1e300)},
        {"prior": GaussianPrior(variance=1e-200)},
        {"weights": Levels([1.0, -1e300])},
        {"weights": Levels((-1, 1), gain=1e-207)},
    ],
    ids=str,
)
def test_priors_out_of_range(kind, method, option, freeze):
    assert_refused(unfitted(kind, **option), method, X, KINDS[kind], "closer to 1", freeze)


@KIND
def test_frozen_weights_do_not_learn(kind, freeze):
    frozen = fitted(kind).freeze()
    assert_refused(frozen, "partial_fit", X, KINDS[kind], "before freeze", freeze)


@KIND
def test_spectral_prior_needs_the_principal_axes(kind, freeze):
    model = unfitted(kind, prior=GaussianPrior(spectral_exponent=1.0), inference=Newton(rotate_inputs=False))
    assert_refused(model, "fit", X, KINDS[kind], "leave rotate_inputs='auto' or set spectral_exponent=0", freeze)


@pytest.mark.parametrize("start", [unfitted, fitted])
def test_balanced_weights_need_all_labels(start, freeze):
    model = start(EPSNNClassifier, class_weight="balanced")
    assert_refused(model, "partial_fit", X, LABELS, "compute_class_weight and pass them as a dict", freeze)


# ---------------------------------------------------------------------- state


@KIND
def test_use_before_fit(kind):
    model = kind()
    for method in {"predict", "predict_proba", "predict_log_proba", "predict_uncertainty"} & set(dir(kind)):
        with pytest.raises(NotFittedError, match="Call 'fit' with appropriate arguments"):
            getattr(model, method)(X)
    names = sorted(name for name in dir(kind) if name.endswith("_") and not name.startswith("_"))
    assert {"coefs_", "coef_", "history_", "n_iter_", "settings_", "update_counts_"} <= set(names)
    for name in names:
        with pytest.raises(AttributeError, match=f"not fitted yet, so it has no '{name}'"):
            getattr(model, name)
    assert vars(model) == vars(clone(model))


@KIND
@METHOD
@pytest.mark.parametrize("start", [unfitted, fitted])
@pytest.mark.parametrize("hidden", [(), (3,)], ids=str)
@pytest.mark.parametrize("warm_start", [False, True])
def test_interruption_leaves_the_state_before_the_call(kind, method, start, hidden, warm_start, freeze, monkeypatch):
    """Ctrl-C in the second batch of a fit, or in the batch of a stream."""
    options = {"hidden_layer_sizes": hidden, "batch_size": 12, "warm_start": warm_start}
    model = start(kind, **options)
    calls = []

    def interrupted(absorb):
        def instead(*arguments):
            calls.append(1)
            if method == "partial_fit" or len(calls) == 2:
                raise KeyboardInterrupt
            return absorb(*arguments)

        return instead

    # Whichever of them trains.
    monkeypatch.setattr(SweepTrainer, "_absorb", interrupted(SweepTrainer._absorb))
    monkeypatch.setattr(StochasticTrainer, "absorb", interrupted(StochasticTrainer.absorb))
    before = freeze(vars(model))
    with pytest.raises(KeyboardInterrupt):
        call(model, method, X, KINDS[kind])
    assert freeze(vars(model)) == before
    assert len(calls) == (1 if method == "partial_fit" else 2)
    monkeypatch.undo()
    # It goes on as if nothing had happened.
    other = start(kind, **options)
    assert freeze(vars(call(model, method, X, KINDS[kind]))) == freeze(vars(call(other, method, X, KINDS[kind])))


@KIND
def test_interrupted_stream_keeps_the_batches_before(kind, freeze, monkeypatch):
    model = unfitted(kind)
    call(model, "partial_fit", X[:15], KINDS[kind][:15])
    before, result = freeze(vars(model)), model.predict(X)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(SweepTrainer, "_absorb", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call(model, "partial_fit", X[15:], KINDS[kind][15:])
    assert freeze(vars(model)) == before
    np.testing.assert_array_equal(model.predict(X), result)


@KIND
def test_refused_batches_are_counted_and_warned_of_once(kind, monkeypatch):
    """A warning in the call whose batch was refused, none in the next one."""
    absorb = SweepTrainer._absorb

    def refuse(trainer, state, *arguments):
        _, result = absorb(trainer, state, *arguments)
        return replace(state, counts=replace(state.counts, rejected_batches=state.counts.rejected_batches + 1)), result

    model = fitted(kind)
    before = model.predict(X)
    monkeypatch.setattr(SweepTrainer, "_absorb", refuse)
    with pytest.warns(
        ConvergenceWarning, match="1 update.*Use inference='newton'.*AverageEP with a smaller damping"
    ) as record:
        call(model, "partial_fit", X, KINDS[kind])
    assert record[0].filename == __file__
    np.testing.assert_array_equal(model.predict(X), before)
    assert model.update_counts_["rejected_batches"] == 1
    monkeypatch.undo()
    call(model, "partial_fit", X, KINDS[kind])  # warnings are errors here
