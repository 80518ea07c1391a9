"""Old words are refused with the new place, and option objects are parameters like any other."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV

from sk_epsnn import (
    AverageEP,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianPrior,
    HeavisideOutput,
    LaplacePrior,
    Levels,
    Newton,
)

KIND = pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])
#: Old word, a value it had, and what the message has to name.
OLD = {
    "threshold_noise": (1.0, "output_activation=HeavisideOutput(noise_variance=...)"),
    "weight_type": ("binary", "weights='binary', 'ternary' or Levels(values)"),
    "level_probabilities": ([0.5, 0.5], "weights=Levels(values, probabilities=...)"),
    "readout_gain": (1.0, "weights=Levels(values, gain=...)"),
    "prior_variance": (1.0, "prior=GaussianPrior(variance=...)"),
    "prior_anchor": (0.5, "prior=GaussianPrior(anchor=...)"),
    "spectral_exponent": (1.0, "prior=GaussianPrior(spectral_exponent=...)"),
    "input_rotation": (True, "inference=Newton(rotate_inputs=...)"),
    "schedule": ("average_ep", "inference='newton' or 'average_ep'"),
    "n_sweeps": (3, "inference=Newton(n_sweeps=...)"),
    "damping": (0.1, "inference=AverageEP(damping=...)"),
    "power": (0.5, "inference=Newton(power=...)"),
    "temperature": (1.0, "inference=Newton(temperature=...)"),
    "validation_fraction": (0.1, "inference=Newton(validation_fraction=...)"),
}
WORD = pytest.mark.parametrize(("word", "value", "place"), [(word, *rest) for word, rest in OLD.items()], ids=list(OLD))


def with_options():
    return EPSNNClassifier(
        (3,),
        output_activation=HeavisideOutput(noise_variance=0.5),
        weights=Levels([-1, 0, 1], probabilities=[0.2, 0.6, 0.2]),
        prior=GaussianPrior(variance=2.0),
        inference=AverageEP(damping=0.01, n_sweeps=3),
        random_state=0,
    )


@KIND
@WORD
def test_old_words_are_told_their_new_place(kind, word, value, place, blobs, freeze):
    said = f"{kind.__name__} has no parameter {word}: instead of {word} write {place}"
    with pytest.raises(TypeError) as constructed:
        kind(**{word: value})
    model = kind()
    before = freeze(vars(model))
    with pytest.raises(TypeError) as set_later:
        model.set_params(max_iter=3, **{word: value})
    with pytest.raises(TypeError) as searched:
        GridSearchCV(kind(), {word: [value]}, cv=2).fit(blobs.X, blobs.y)
    for raised in (constructed, set_later, searched):
        assert str(raised.value).startswith(said)
    assert freeze(vars(model)) == before
    assert word not in kind().get_params()


@KIND
def test_several_old_words_are_all_told(kind):
    with pytest.raises(TypeError, match="no parameter schedule, damping: instead of schedule .*; instead of damping"):
        kind(schedule="average_ep", damping=0.1)


@KIND
def test_other_words_are_refused_as_ever(kind):
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        kind(colour=1)
    with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
        kind().set_params(colour=1)
    with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
        kind(prior=GaussianPrior()).set_params(prior__colour=1)


def test_places_that_are_named_exist():
    """What the messages say can be written."""
    Levels((-1, 1), probabilities=[0.5, 0.5], gain=1.0)
    GaussianPrior(variance=1.0, anchor=0.5, spectral_exponent=1.0)
    Newton(n_sweeps=3, power=0.5, temperature=1.0, validation_fraction=0.1, rotate_inputs=True)
    AverageEP(n_sweeps=3, damping=0.1, power=0.5, temperature=1.0, validation_fraction=0.1, rotate_inputs=True)
    HeavisideOutput(noise_variance=1.0)


# ---------------------------------------------------------------------- objects as parameters


def test_parameters_of_the_objects_are_parameters_of_the_estimator():
    params = with_options().get_params()
    assert params["output_activation__noise_variance"] == 0.5
    assert params["weights__values"] == [-1, 0, 1] and params["weights__gain"] == "auto"
    assert params["prior__variance"] == 2.0 and params["prior__anchor"] == "auto"
    assert params["inference__damping"] == 0.01 and params["inference__n_sweeps"] == 3
    model = with_options().set_params(inference=Newton(), inference__power=0.3, weights__gain=2.0)
    assert model.inference.power == 0.3 and model.weights.gain == 2.0


def test_a_clone_shares_no_object(freeze):
    model = with_options()
    copy = clone(model)
    assert freeze(vars(copy)) == freeze(vars(model))
    for name in ("output_activation", "weights", "prior", "inference"):
        assert getattr(copy, name) is not getattr(model, name)
    copy.set_params(prior__variance=5.0, output_activation__noise_variance=3.0)
    assert model.prior.variance == 2.0 and model.output_activation.noise_variance == 0.5


def test_repr_is_how_it_was_written():
    names = {each.__name__: each for each in (AverageEP, EPSNNClassifier, GaussianPrior, HeavisideOutput, Levels)}
    model = with_options()
    text = repr(model)
    assert repr(eval(text, names)) == text
    for part in ("HeavisideOutput(noise_variance=0.5)", "GaussianPrior(variance=2.0)", "damping=0.01", "values=[-1"):
        assert part in text


def test_pickle_before_and_after_fit(blobs, freeze):
    model = with_options()
    assert freeze(vars(pickle.loads(pickle.dumps(model)))) == freeze(vars(model))
    model.set_params(inference=Newton()).fit(blobs.X, blobs.y)
    again = pickle.loads(pickle.dumps(model))
    assert freeze(vars(again)) == freeze(vars(model))
    np.testing.assert_array_equal(again.predict_proba(blobs.X), model.predict_proba(blobs.X))


@pytest.mark.parametrize(
    ("start", "name", "values"),
    [
        ({"prior": GaussianPrior()}, "prior__variance", [1e-6, 1.0]),
        ({"inference": Newton()}, "inference__temperature", [0.5, 50.0]),
        ({"weights": Levels((-1, 1))}, "weights__gain", [1e-3, 3.0]),
        ({"output_activation": HeavisideOutput()}, "output_activation__noise_variance", [1.0, 1e3]),
        ({}, "prior", [GaussianPrior(variance=1e-6), LaplacePrior()]),
    ],
    ids=str,
)
def test_a_grid_search_reaches_inside(start, name, values, blobs):
    model = EPSNNClassifier(**start, random_state=0)
    before = repr(model)
    search = GridSearchCV(model, {name: values}, cv=2, scoring="neg_log_loss").fit(blobs.X, blobs.y)
    scores = search.cv_results_["mean_test_score"]
    assert abs(scores[0] - scores[1]) > 1e-3
    best = search.best_estimator_.get_params()[name]
    assert repr(best) == repr(values[int(np.argmax(scores))])
    assert repr(model) == before


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("prior__variance", "GaussianPrior"),
        ("inference__temperature", "Newton"),
        ("weights__gain", "Levels"),
        ("output_activation__noise_variance", "HeavisideOutput"),
    ],
)
def test_a_name_is_no_object(name, example, blobs, freeze):
    model, match = EPSNNClassifier(), f"{name} is a parameter of an object, and .* is none; set .*{example}"
    before = freeze(vars(model))
    with pytest.raises(ValueError, match=match):
        model.set_params(max_iter=3, **{name: 1.0})
    assert freeze(vars(model)) == before
    with pytest.raises(ValueError, match=match):
        GridSearchCV(model, {name: [1.0, 2.0]}, cv=2).fit(blobs.X, blobs.y)


# ---------------------------------------------------------------------- coef_ and intercept_


@pytest.mark.parametrize("n_classes", [2, 3])
def test_coefficients_of_a_classifier_have_the_shapes_of_logistic_regression(n_classes, blobs):
    y = blobs.y if n_classes == 3 else blobs.y > 0
    model, other = (each.fit(blobs.X, y) for each in (EPSNNClassifier(), LogisticRegression()))
    assert model.coef_.shape == other.coef_.shape and model.intercept_.shape == other.intercept_.shape
    np.testing.assert_array_equal(model.coef_, model.coefs_[0].T)
    np.testing.assert_array_equal(model.intercept_, model.intercepts_[0])
    cosine = (model.coef_ * other.coef_).sum() / np.linalg.norm(model.coef_) / np.linalg.norm(other.coef_)
    assert cosine > 0.9


@pytest.mark.parametrize("n_outputs", [None, 1, 2])
def test_coefficients_of_a_regressor_have_the_shapes_of_ridge(n_outputs, line):
    y = line.y if n_outputs is None else np.column_stack([line.y, line.y**2])[:, :n_outputs]
    model, other = (each.fit(line.X, y) for each in (EPSNNRegressor(), Ridge()))
    # A target of one column is a matrix here, in coefficients as in predictions; Ridge has flattened it since 1.6.
    single = n_outputs == 1
    assert np.shape(model.coef_) == ((1, 3) if single else np.shape(other.coef_))
    assert np.shape(model.intercept_) == ((1,) if single else np.shape(other.intercept_))
    np.testing.assert_array_equal(np.atleast_2d(model.coef_), model.coefs_[0].T)
    np.testing.assert_array_equal(np.atleast_1d(model.intercept_), model.intercepts_[0])
    assert n_outputs is not None or isinstance(model.intercept_, float)
    predicted = line.X_test @ np.atleast_2d(model.coef_).T + model.intercept_
    np.testing.assert_allclose(model.predict(line.X_test).reshape(predicted.shape), predicted, rtol=1e-9)


@KIND
@pytest.mark.parametrize("attribute", ["coef_", "intercept_"])
def test_no_coefficients_with_hidden_layers_or_before_fit(kind, attribute, blobs):
    assert not hasattr(kind(), attribute)
    model = kind(3, max_iter=1).fit(blobs.X, blobs.y)
    assert not hasattr(model, attribute)
    with pytest.raises(AttributeError, match=f"{attribute} exists without hidden layers only; coefs_ has"):
        getattr(model, attribute)


@KIND
@pytest.mark.parametrize(
    "select", [lambda model: RFE(model, n_features_to_select=2), SelectFromModel], ids=["RFE", "SFM"]
)
def test_features_are_selected_by_their_coefficients(kind, select):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    y = 2 * X[:, 1] - 3 * X[:, 4] + 0.1 * rng.normal(size=200)
    selector = select(kind(random_state=0)).fit(X, y if kind is EPSNNRegressor else y > 0)
    assert selector.get_support().tolist() == [False, True, False, False, True, False]
