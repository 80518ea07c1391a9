"""Beside other libraries: files of skops, streams of river, threads that predict at once."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn import config_context
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sk_epsnn import (
    AverageEP,
    DeltaSpikeEncoder,
    EPSNNClassifier,
    EPSNNRegressor,
    HeavisideOutput,
    LaplacePrior,
    LatencySpikeEncoder,
    Levels,
    Newton,
    PatchSpikeEncoder,
    PopulationEncoder,
    RateSpikeEncoder,
)

#: Of few passes: how well they learn is not asked here.
ESTIMATORS = {
    "one layer": EPSNNClassifier(max_iter=3, random_state=0),
    "hidden layers": EPSNNClassifier((8, 6), activation=["heaviside", "sigmoid"], max_iter=3, random_state=0),
    "binary": EPSNNClassifier(8, weights="binary", max_iter=3, random_state=0),
    "spike and slab": EPSNNClassifier(prior="bernoulli_gaussian", max_iter=3, random_state=np.random.RandomState(0)),
    "threshold": EPSNNClassifier(output_activation="heaviside", max_iter=3, random_state=0),
    "options": EPSNNClassifier(
        output_activation=HeavisideOutput(noise_variance=2.0),
        weights=Levels([-1, 0, 0.5], gain=0.3),
        inference=AverageEP(damping=0.1),
        max_iter=3,
        random_state=0,
    ),
    "pipeline": make_pipeline(
        MinMaxScaler(), RateSpikeEncoder(random_state=0), EPSNNClassifier(max_iter=3, random_state=0)
    ),
    "regressor": EPSNNRegressor(8, max_iter=3, random_state=0),
    "encoded regressor": make_pipeline(PopulationEncoder(), EPSNNRegressor(max_iter=3, random_state=0)),
}
EVERY = pytest.mark.parametrize("name", ESTIMATORS)


@cache
def fitted(name):
    """An estimator, fitted once for all tests, and rows that it has not seen."""
    model = ESTIMATORS[name]
    X, y = load_diabetes(return_X_y=True) if "regressor" in name else load_digits(return_X_y=True)
    return model.fit(X[:200], y[:200]), X[200:400]


class Stranger:
    """A type that nobody was told to trust."""


@EVERY
def test_skops_keeps_the_model(name):
    io = pytest.importorskip("skops.io", reason="skops is not installed")
    model, X = fitted(name)
    file = io.dumps(model)
    unknown = io.get_untrusted_types(data=file)
    assert all(of.startswith("sk_epsnn.") for of in unknown)
    loaded = io.loads(file, trusted=unknown)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_skops_refuses_what_is_not_trusted():
    io = pytest.importorskip("skops.io", reason="skops is not installed")
    model, _ = fitted("one layer")
    known = io.get_untrusted_types(data=io.dumps(model))
    model.note = Stranger()
    try:
        file = io.dumps(model)
    finally:
        del model.note
    with pytest.raises(io.exceptions.UntrustedTypesFoundException, match="Stranger"):
        io.loads(file, trusted=known)
    with pytest.raises(io.exceptions.UntrustedTypesFoundException, match="EPSNNClassifier"):
        io.loads(file)


def test_river_learns_row_by_row_what_partial_fit_does():
    river = pytest.importorskip("river.compat", reason="river is not installed")
    X, y = load_digits(return_X_y=True)
    X = X / 16
    classes = np.arange(10)
    stream = river.convert_sklearn_to_river(EPSNNClassifier(random_state=0), classes=classes)
    plain = EPSNNClassifier(random_state=0)
    for row, label in zip(X[:40], y[:40], strict=True):
        stream.learn_one(dict(enumerate(row)), label)
        plain.partial_fit(row[None], [label], classes=classes)
    told = stream.predict_proba_one(dict(enumerate(X[40])))
    np.testing.assert_array_equal([told[label] for label in classes], plain.predict_proba(X[40:41])[0])


def test_river_learns_batches_of_a_regression():
    river = pytest.importorskip("river.compat", reason="river is not installed")
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    stream = river.convert_sklearn_to_river(EPSNNRegressor(random_state=0))
    for start in range(0, 300, 50):
        stream.learn_many(X[start : start + 50], y[start : start + 50])
    predicted = stream.predict_many(X[300:])
    assert isinstance(predicted, pd.Series)
    assert np.corrcoef(predicted, y[300:])[0, 1] > 0.6


@EVERY
def test_threads_predict_at_once(name):
    model, X = fitted(name)
    expected = model.predict(X)
    with ThreadPoolExecutor(8) as pool:
        for predicted in pool.map(lambda _: model.predict(X), range(24)):
            np.testing.assert_array_equal(predicted, expected)


@pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])
def test_weights_are_routed_through_a_search_to_fit_and_score(kind):
    """Rows of weight 0, with nonsense for targets, change nothing: fits and scores both got the weights."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:200] / 16, y[:200] % 3
    rng = np.random.default_rng(0)
    nonsense = np.concatenate([y, rng.permutation(y)])
    weight = np.repeat([1.0, 0.0], 200)
    folds = [(np.arange(100), np.arange(100, 200))]
    with_nonsense = [(np.r_[train, 200:300], np.r_[test, 300:400]) for train, test in folds]
    with config_context(enable_metadata_routing=True):
        model = kind(inference=Newton(), random_state=0, shuffle=False, batch_size=1000)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        grid = {"inference__temperature": [0.2, 1.0]}
        plain = GridSearchCV(model, grid, cv=folds).fit(X, y)
        search = GridSearchCV(model, grid, cv=with_nonsense).fit(np.vstack([X, X]), nonsense, sample_weight=weight)
    scores = [each.cv_results_["mean_test_score"] for each in (plain, search)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-6)


@EVERY
def test_html_shows_the_estimator(name):
    html = ESTIMATORS[name]._repr_html_()
    assert "EPSNN" in html and "hidden_layer_sizes" in html


@pytest.mark.parametrize(
    "thing",
    [
        EPSNNClassifier(),
        EPSNNRegressor(),
        PopulationEncoder(),
        RateSpikeEncoder(),
        LatencySpikeEncoder(),
        DeltaSpikeEncoder(),
        PatchSpikeEncoder(),
        LaplacePrior(),
        Newton(),
        AverageEP(),
        Levels((-1, 1)),
        HeavisideOutput(),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_html_links_to_the_page_of_the_class(thing):
    name = type(thing).__name__
    page = f"https://sk-epsnn.readthedocs.io/en/latest/generated/sk_epsnn.{name}.html"
    assert page in thing._repr_html_()
    # The page is made from this line.
    assert f"\n   {name}\n" in (Path(__file__).parents[1] / "docs" / "api.md").read_text()


def test_names_of_features_go_through_encoder_and_estimator():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = make_pipeline(PopulationEncoder(n_neurons=3), EPSNNRegressor(random_state=0)).set_output(transform="pandas")
    model.fit(X, y)
    np.testing.assert_array_equal(model[-1].feature_names_in_, model[0].get_feature_names_out())
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X.rename(columns={"bmi": "other"}))
    assert isinstance(model[0].transform(X), pd.DataFrame)
