"""Every parameter does something: another value changes the result, or is refused by name."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sk_epsnn import (
    ARDPrior,
    AverageEP,
    BernoulliGaussianPrior,
    DeltaSpikeEncoder,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianMixturePrior,
    GaussianPrior,
    HeavisideOutput,
    LaplacePrior,
    LatencySpikeEncoder,
    Levels,
    Newton,
    PatchSpikeEncoder,
    PopulationEncoder,
    RateSpikeEncoder,
    Stochastic,
)

N_ROWS = 72
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N_ROWS, 3)) @ np.array([[2.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.4]]) + 0.3
SIGNAL = X @ np.array([1.0, -1.0, 0.5]) + 0.5 * np.sin(2 * X[:, 0])
LABELS = (SIGNAL + 0.5 * RNG.normal(size=N_ROWS) > 0).astype(int) + (SIGNAL > 1.5)
TARGETS = SIGNAL + 0.3 * RNG.normal(size=N_ROWS)

#: Batches of half the rows, so that their order and their number matter.
COURSE = {"batch_size": 36, "max_iter": 2, "random_state": 0}
#: What estimators have said, by all of their parameters.
SAID = {}


def short(kind, **options):
    """An estimator that takes a moment: held-out rows would try a dozen fits of a hidden layer of a regressor."""
    settings = {**COURSE, **options}
    if kind is EPSNNRegressor and "hidden_layer_sizes" in options and "weights" not in options:
        settings.setdefault("inference", Newton(validation_fraction=0))
    return kind(**settings)


def classifier(**options):
    return short(EPSNNClassifier, **options)


def regressor(**options):
    return short(EPSNNRegressor, **options)


#: Estimators in which a parameter, of theirs or of an object, is to have an effect or to be refused.
SHARED = {
    "hidden_layer_sizes": (4, [{}]),
    "activation": ("sigmoid", [{"hidden_layer_sizes": 4}, {}]),
    "weights": ("binary", [{}, {"hidden_layer_sizes": 4}, {"prior": "laplace"}]),
    "prior": ("laplace", [{}, {"hidden_layer_sizes": 4}, {"weights": "binary"}]),
    "inference": ("average_ep", [{}, {"hidden_layer_sizes": 4}]),
    "fit_intercept": (False, [{}, {"hidden_layer_sizes": 4}, {"weights": "binary"}]),
    "batch_size": (17, [{}, {"hidden_layer_sizes": 4}]),
    "max_iter": (1, [{}, {"hidden_layer_sizes": 4}, {"max_iter": None}, {"max_iter": None, "hidden_layer_sizes": 4}]),
    # Each temperature that held-out rows try gets two passes anyway.
    "tol": (50.0, [{"max_iter": 3}, {"max_iter": 3, "hidden_layer_sizes": 4, "inference": Newton(temperature=1.0)}]),
    "shuffle": (False, [{}, {"hidden_layer_sizes": 4}]),
    "n_shards": (3, [{}, {"hidden_layer_sizes": 4}]),
    "random_state": (1, [{}, {"hidden_layer_sizes": 4}]),
}
#: These have meanings of their own, and tests below.
OWN_MEANING = {"forgetting", "warm_start", "n_jobs", "verbose"}
PARAMETERS = {
    EPSNNClassifier: {
        **SHARED,
        "output_activation": ("heaviside", [{}, {"hidden_layer_sizes": 4}, {"weights": "binary"}]),
        "class_weight": ({0: 4.0}, [{}, {"hidden_layer_sizes": 4}]),
    },
    EPSNNRegressor: {**SHARED, "noise_variance": (2.0, [{}, {"hidden_layer_sizes": 4}, {"weights": "binary"}])},
}
ONE = {}
HIDDEN = {"hidden_layer_sizes": 4}
BINARY = {"weights": "binary"}
BINARY_HIDDEN = {"weights": "binary", "hidden_layer_sizes": 4}
THRESHOLD = {"output_activation": "heaviside"}
EVERYWHERE = [(make, options) for make in (classifier, regressor) for options in (ONE, HIDDEN, BINARY, BINARY_HIDDEN)]
CONTINUOUS = [(make, options) for make in (classifier, regressor) for options in (ONE, HIDDEN)]


#: Option object: where it goes, another value of each parameter, and the estimators that take it.
_SCALE = {"variance": (0.05, CONTINUOUS), "anchor": (0.9, CONTINUOUS)}
_INFERENCE = {
    # One sweep solves a single Gaussian layer.
    "n_sweeps": (1, [pair for pair in EVERYWHERE if pair != (regressor, ONE)]),
    "power": (0.6, [*EVERYWHERE, (classifier, THRESHOLD)]),
    "temperature": (0.05, EVERYWHERE),
    "validation_fraction": (0, EVERYWHERE),
}
OPTIONS = {
    GaussianPrior: (
        "prior",
        {
            "variance": (0.05, [*EVERYWHERE, (classifier, {**BINARY, "fit_intercept": False})]),
            "anchor": (0.9, EVERYWHERE),
            "spectral_exponent": (0.8, EVERYWHERE),
        },
    ),
    ARDPrior: ("prior", {"variance": (0.05, [(classifier, ONE), (regressor, ONE)])}),
    BernoulliGaussianPrior: (
        "prior",
        {**_SCALE, "active_probability": (0.05, CONTINUOUS), "slab_variance": (0.02, CONTINUOUS)},
    ),
    LaplacePrior: ("prior", {**_SCALE, "scale": (0.1, CONTINUOUS)}),
    GaussianMixturePrior: (
        "prior",
        {
            **_SCALE,
            "weights": ((0.1, 0.9), CONTINUOUS),
            "means": ((0.5, -0.5), CONTINUOUS),
            "variances": ((0.1, 0.01), CONTINUOUS),
        },
    ),
    # True or False, whichever it is not.
    Newton: (
        "inference",
        {
            **_INFERENCE,
            # A joint Gaussian with equal variances is the same in any axes, as long as the bias is apart.
            "rotate_inputs": ("other", [pair for pair in EVERYWHERE if pair != (regressor, ONE)]),
        },
    ),
    Stochastic: (
        "inference",
        {
            "n_passes": (1, EVERYWHERE),
            "learning_rate": (0.03, EVERYWHERE),
            # More than one pass in all, or there are none; the first one solves a single layer of a regressor.
            "final_sweeps": (
                1,
                [
                    (make, {**options, "max_iter": None})
                    for make, options in EVERYWHERE
                    if make is classifier or "hidden_layer_sizes" in options
                ],
            ),
            **{name: entry for name, entry in _INFERENCE.items() if name != "n_sweeps"},
            "rotate_inputs": ("other", [pair for pair in EVERYWHERE if pair != (regressor, ONE)]),
        },
    ),
    AverageEP: (
        "inference",
        {
            **_INFERENCE,
            "rotate_inputs": ("other", EVERYWHERE),
            "damping": (0.02, CONTINUOUS),
        },
    ),
    Levels: (
        "weights",
        {
            "values": ((-1.0, 0.2, 1.0), CONTINUOUS),
            "probabilities": ((0.2, 0.7, 0.1), CONTINUOUS),
            "gain": (0.1, CONTINUOUS),
        },
    ),
    HeavisideOutput: ("output_activation", {"noise_variance": (3.0, [(classifier, o) for o in (ONE, HIDDEN, BINARY)])}),
}
#: Shorter courses, where it is another parameter that is asked about.
FEWER = {AverageEP: {"n_sweeps": 20}, Stochastic: {"n_passes": 4}}
REQUIRED = {Levels: {"values": (-1.0, 0.0, 1.0)}}
ENCODERS = {
    PopulationEncoder: {
        "n_neurons": 5,
        "tuning": "gaussian",
        "width": 2.5,
        "centers": "quantile",
        "out_of_range": "extend",
        "feature_range": (-9.0, 9.0),
        "output": "rates",
        "random_state": 1,
    },
    RateSpikeEncoder: {"feature_range": (-9.0, 9.0), "n_steps": 3, "layout": "steps", "random_state": 1},
    LatencySpikeEncoder: {"n_steps": 5, "tau": 4.0, "threshold": 0.6, "feature_range": (-9.0, 9.0)},
    DeltaSpikeEncoder: {"threshold": 0.1},
    PatchSpikeEncoder: {
        "image_shape": (4, 16),
        "n_channels": 3,
        "kernel_size": 2,
        "stride": 2,
        "padding": 0,
        "pool_size": 2,
        "firing_rate": 0.3,
        "output": "spikes",
        "random_state": 1,
    },
}


def target(model):
    return LABELS if isinstance(model, EPSNNClassifier) else TARGETS


def said(model):
    """Predictions and uncertainties side by side."""
    first = model.predict_log_proba(X) if isinstance(model, EPSNNClassifier) else model.predict(X)[:, None]
    return np.hstack([first, *(part[:, None] for part in model.predict_uncertainty(X))])


def fitted(model):
    with warnings.catch_warnings():
        # Refused batches are a result like any other here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return clone(model).fit(X, target(model))


def assert_matters(model, changed, name):
    """The change is seen well above rounding, or refused with the name of the parameter at fault."""
    try:
        after = said(fitted(changed))
    except ValueError as error:
        assert name in str(error)
        return "refused"
    key = type(model), repr(sorted(model.get_params().items()))
    if key not in SAID:
        SAID[key] = said(fitted(model))
    before = SAID[key]
    assert np.abs(after - before).max() > 1e-5 * np.abs(before).max(), f"{name} has no effect on {model!r}"
    return "changes"


def test_every_parameter_has_an_entry():
    for kind, entries in PARAMETERS.items():
        assert set(entries) | OWN_MEANING == set(kind().get_params(deep=False)), kind
    for option, (_, entries) in OPTIONS.items():
        assert set(entries) == set(option(**REQUIRED.get(option, {})).get_params()), option
    for encoder, entries in ENCODERS.items():
        # The same values in another container, tested with the encoder.
        assert set(entries) == set(encoder().get_params()) - {"sparse_output"}, encoder


@pytest.mark.parametrize(
    ("kind", "name", "value", "options"),
    [
        (kind, name, value, options)
        for kind, entries in PARAMETERS.items()
        for name, (value, where) in entries.items()
        for options in where
    ],
)
def test_parameters_of_the_estimators(kind, name, value, options):
    model = short(kind, **options)
    assert_matters(model, clone(model).set_params(**{name: value}), name)


@pytest.mark.parametrize(
    ("option", "name"), [(option, name) for option, (_, entries) in OPTIONS.items() for name in entries]
)
def test_parameters_of_the_objects(option, name):
    """In every estimator that takes the object; being refused in all of them would not do."""
    owner, entries = OPTIONS[option]
    value, where = entries[name]
    seen = [assert_option_matters(option, owner, name, value, make, options) for make, options in where]
    assert "changes" in seen


def assert_option_matters(option, owner, name, value, make, options):
    start = REQUIRED.get(option, {})
    if owner == "inference" and name != "validation_fraction" and make is regressor and "hidden_layer_sizes" in options:
        start = {"validation_fraction": 0}
    if option in FEWER and name not in FEWER[option]:
        start = {**start, **FEWER[option]}
    model = make(**{**options, owner: option(**start)})
    if value == "other":
        value = not fitted(model).settings_[f"{owner}__{name}"].value
    changed = clone(model).set_params(**{f"{owner}__{name}": value})
    return assert_matters(model, changed, name)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, value) for kind, entries in ENCODERS.items() for name, value in entries.items()],
)
def test_parameters_of_the_encoders(kind, name, value):
    encoder = kind(**({"random_state": 0} if "random_state" in ENCODERS[kind] else {}))
    inputs = np.tile(X, 22)[:, :64] if kind is PatchSpikeEncoder else X
    first, other = (clone(encoder).set_params(**more).fit_transform(inputs) for more in ({}, {name: value}))
    assert first.shape != other.shape or (first != other).any()
    if name != "random_state":
        return
    rates = [PopulationEncoder(output="rates", random_state=seed).fit_transform(X) for seed in (0, 1)]
    np.testing.assert_array_equal(*rates)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_axes_do_not_matter_to_one_joint_gaussian(make):
    prior = GaussianPrior(variance=0.5)
    models = [make(prior=prior, inference=Newton(rotate_inputs=rotate)) for rotate in (False, True)]
    np.testing.assert_allclose(*(said(fitted(model)) for model in models), rtol=1e-6, atol=1e-9)


# ---------------------------------------------------------------------- meanings of their own

KIND = pytest.mark.parametrize("kind", PARAMETERS)
LAYERS = pytest.mark.parametrize("options", [ONE, HIDDEN, BINARY], ids=str)


@KIND
@LAYERS
def test_forgetting_is_for_streams(kind, options):
    first = {"classes": [0, 1, 2]} if kind is EPSNNClassifier else {}
    results = []
    for forgetting in (1.0, 0.5):
        model = short(kind, forgetting=forgetting, **options)
        for start in (0, 24, 48):
            rows = slice(start, start + 24)
            model.partial_fit(X[rows], target(model)[rows], **first)
        results.append(said(model))
        results.append(said(short(kind, forgetting=forgetting, **options).fit(X, target(model))))
    assert np.abs(results[0] - results[2]).max() > 1e-3
    np.testing.assert_array_equal(results[1], results[3])


@KIND
@LAYERS
def test_n_jobs_changes_no_result(kind, options):
    models = [short(kind, n_jobs=n_jobs, n_shards=2, **options) for n_jobs in (None, 2)]
    np.testing.assert_array_equal(*(said(model.fit(X, target(model))) for model in models))


@KIND
@LAYERS
def test_verbose_prints_and_changes_no_result(kind, options, capsys):
    results, printed = [], []
    for verbose in (0, 1):
        model = short(kind, verbose=verbose, **options)
        results.append(said(model.fit(X, target(model))))
        printed.append(capsys.readouterr().out)
    np.testing.assert_array_equal(*results)
    assert printed[0] == "" and "Iteration 1, energy per sample" in printed[1]


@KIND
@LAYERS
def test_warm_start_goes_on(kind, options):
    cold, warm = (short(kind, warm_start=start, **options, tol=0, max_iter=1) for start in (False, True))
    for model in (cold, warm):
        model.fit(X, target(model)).fit(X, target(model))
    assert (cold.n_iter_, warm.n_iter_) == (1, 2)
    assert np.abs(said(cold) - said(warm)).max() > 1e-6
