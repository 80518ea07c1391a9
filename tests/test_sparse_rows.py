"""Rows that stay sparse: their products are those of the rows written out, and a fit is that of dense rows."""

import pickle
import tracemalloc
from copy import deepcopy

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from sk_epsnn import (
    AverageEP,
    BernoulliGaussianPrior,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianPrior,
    LaplacePrior,
    Newton,
    merge,
    register_onnx_converters,
    to_nir,
)
from sk_epsnn._sparse_rows import SparseRows, canonical, occurring_columns
from sk_epsnn.ep import setup

N_COLUMNS, N_ROWS = 2500, 80


def words(n_rows, seed, n_columns=N_COLUMNS, n_words=8):
    """Rows of a few words, some of them far more common than others, and targets that follow from the words."""
    rng = np.random.default_rng(seed)
    places = np.minimum(rng.geometric(0.01, (n_rows, n_words)), n_columns // 4) * 4 - rng.integers(1, 4, (n_rows, 1))
    rows = np.repeat(np.arange(n_rows), n_words)
    X = sparse.csr_array((rng.uniform(0.5, 2, rows.size), (rows, places.ravel())), shape=(n_rows, n_columns))
    X.sum_duplicates()
    return X, X @ np.random.default_rng(0).standard_normal(n_columns)


@pytest.fixture
def even_start(monkeypatch):
    """A start of hidden layers that is the same for every column, however many there are."""

    def same_in_every_column(shape, rng):
        return np.tile(np.random.default_rng(0).standard_normal((shape[0], 1)), shape[1])

    monkeypatch.setattr(setup, "_sobol_normals", same_in_every_column)


AS_THEY_ARE = Newton(rotate_inputs=False)
MODELS = {
    "classifier": EPSNNClassifier(),
    "three classes": EPSNNClassifier(),
    # Dense rows of a regressor would be turned, which sparse ones are not.
    "regressor": EPSNNRegressor(inference=AS_THEY_ARE),
    "no bias": EPSNNRegressor(inference=AS_THEY_ARE, fit_intercept=False),
    "variance": EPSNNClassifier(prior=GaussianPrior(variance=0.3)),
    "average": EPSNNClassifier(inference=AverageEP()),
    "laplace": EPSNNRegressor(prior=LaplacePrior(), max_iter=3),
    "hidden": EPSNNClassifier(6, max_iter=3),
    "sigmoid": EPSNNClassifier((5, 4), activation="sigmoid", max_iter=2),
    "hidden regressor": EPSNNRegressor(6, max_iter=3),
    "shards": EPSNNClassifier(n_shards=3, max_iter=2),
    "shards in order": EPSNNClassifier(n_shards=3, shuffle=False, batch_size=20, max_iter=2),
    "in order": EPSNNRegressor(inference=AS_THEY_ARE, shuffle=False, batch_size=20, max_iter=2),
}
EVERY = pytest.mark.parametrize("name", MODELS)
#: A few that differ in what a stream does.
STREAMS = pytest.mark.parametrize("name", ["three classes", "regressor", "laplace", "hidden", "average"])


def made(name):
    return clone(MODELS[name]).set_params(random_state=0)


def targets(name, values):
    if isinstance(MODELS[name], EPSNNRegressor):
        return values
    return (values > 0).astype(int) + (name == "three classes") * (values > 2)


def assert_same(one, other, X, rtol=1e-6):
    """The model of sparse rows and that of dense ones: what they predict, and all weights."""
    assert one.network_.basis.columns is not None and other.network_.basis.columns is None
    dense = X.toarray()
    for mine, theirs in zip(one.predict_potentials(X), other.predict_potentials(dense), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-8)
    for mine, theirs in zip(one.predict_uncertainty(X), other.predict_uncertainty(dense), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-8)
    for attribute in ("coefs_", "coefs_variance_", "intercepts_", "intercepts_variance_", "map_coefs_"):
        for mine, theirs in zip(getattr(one, attribute), getattr(other, attribute), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-8, err_msg=attribute)
    np.testing.assert_allclose(one.history_["energy"], other.history_["energy"], rtol=rtol)


# The rows


def random_rows(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    entries = sparse.random_array((7, 12), density=0.3, rng=rng, format="csr", dtype=dtype)
    return SparseRows(entries, rng.standard_normal(12).astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products(dtype):
    rows, rng = random_rows(dtype=dtype), np.random.default_rng(1)
    dense = rows.entries.toarray() + rows.offset
    right, left = rng.standard_normal((12, 3)).astype(dtype), rng.standard_normal((4, 7)).astype(dtype)
    tol = {"rtol": 100 * np.finfo(dtype).eps, "atol": 100 * np.finfo(dtype).eps}
    for product, expected in ((rows @ right, dense @ right), (left @ rows, left @ dense)):
        assert product.dtype == rows.dtype == dtype and product.flags.c_contiguous
        np.testing.assert_allclose(product, expected, **tol)
    square = rows * rows
    np.testing.assert_allclose(square.toarray(), dense**2, **tol)
    np.testing.assert_allclose((square * rows).toarray(), dense**3, **tol)
    assert rows.shape == square.shape == dense.shape


def test_canonical_rows_are_those_given():
    twice = sparse.csr_matrix((np.array([1.0, 2.0, 4.0]), np.array([3, 3, 0]), np.array([0, 3])), shape=(1, 5))
    rows = canonical(twice)
    np.testing.assert_array_equal(rows.toarray(), [[4, 0, 0, 3, 0]])
    assert rows.nnz == 2 and twice.nnz == 3  # what was given stays as it is
    once = sparse.csr_array(np.eye(3))
    assert np.shares_memory(canonical(once).data, once.data)


def test_a_column_of_written_zeros_does_not_occur():
    X = sparse.csr_array((np.array([1.0, 0.0, 2.0]), np.array([4, 1, 2]), np.array([0, 2, 3])), shape=(2, 6))
    np.testing.assert_array_equal(occurring_columns(X), [2, 4])
    np.testing.assert_array_equal(occurring_columns(X.toarray()), [2, 4])


# A fit


@EVERY
def test_fit_equals_that_of_dense_rows(name, even_start):
    """New rows have words that no row of the fit has."""
    (X, values), (new, _) = words(N_ROWS, 1), words(50, 2)
    assert len(np.setdiff1d(occurring_columns(new), occurring_columns(X))) > 20
    y = targets(name, values)
    one, other = made(name).fit(X, y), made(name).fit(X.toarray(), y)
    assert_same(one, other, new)
    assert one.coefs_[0].shape[0] == N_COLUMNS
    np.testing.assert_allclose(one.predict(new.toarray()), other.predict(new.toarray()), rtol=1e-6)


@pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])
def test_fit_equals_that_of_the_columns_that_occur(kind):
    """By hand: the rest could as well not be there; and the arrays are no larger than what occurs."""
    X, values = words(N_ROWS, 1)
    y = values if kind is EPSNNRegressor else values > 0
    columns = np.union1d(np.arange(64), occurring_columns(X))
    options = {"random_state": 0, "inference": AS_THEY_ARE}
    one, other = kind(**options).fit(X, y), kind(**options).fit(X[:, columns].toarray(), y)
    for mine, theirs in zip(one.predict_potentials(X), other.predict_potentials(X[:, columns].toarray()), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-8)
    assert one.network_.basis.n_axes == len(columns) + 2  # the other columns, and the bias


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_unknown_words_add_their_prior_variance(temperature):
    X, values = words(N_ROWS, 1)
    variance = 0.7
    inference, prior = Newton(temperature=temperature), GaussianPrior(variance=variance)
    model = EPSNNClassifier(prior=prior, inference=inference).fit(X, values > 0)
    unknown = np.setdiff1d(np.arange(64, N_COLUMNS), occurring_columns(X))[:3]
    more = X[:4].tolil()
    more[:, unknown] = [1.0, -2.0, 0.5]
    before, after = model.predict_potentials(X[:4]), model.predict_potentials(more.tocsr())
    np.testing.assert_allclose(after.mean, before.mean, rtol=1e-10)
    np.testing.assert_allclose(after.variance - before.variance, temperature * variance * 5.25, rtol=1e-8)


def test_dense_rows_and_few_columns_are_as_they_were():
    X, values = words(N_ROWS, 1)
    for rows in (X.toarray(), X[:, :1000], sparse.csr_array(X[:, :1100].toarray() + 1.0)):
        assert EPSNNRegressor(max_iter=1).fit(rows, values).network_.basis.columns is None
    assert EPSNNClassifier(weights="ternary", max_iter=1).fit(X, values > 0).network_.basis.columns is None


def test_places_that_are_written_twice():
    X, values = words(N_ROWS, 1)
    half = sparse.csr_matrix((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)
    models = [EPSNNRegressor(random_state=0).fit(rows, values) for rows in (X, half)]
    for one, other in zip(models[0].predict_potentials(X), models[1].predict_potentials(half), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    assert half.nnz == 2 * X.nnz


def test_single_precision():
    X, values = words(N_ROWS, 1)
    double, single = (EPSNNClassifier(max_iter=2, random_state=0).fit(rows, values > 0) for rows in (X, X.astype("f")))
    result = single.predict_proba(X.astype("f"))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, double.predict_proba(X), rtol=0, atol=1e-3)


def test_memory_follows_the_words():
    """A matrix of rows x columns has 400 MB, a vector of the columns 2 MB."""
    X, values = words(200, 1, n_columns=2**18)
    tracemalloc.start()
    try:
        model = EPSNNClassifier(max_iter=2).fit(X, values > 0)
        model.predict_proba(words(200, 2, n_columns=2**18)[0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6
    assert model.coefs_[0].shape == (2**18, 1)


# Words that come later


@STREAMS
def test_stream_equals_that_of_dense_rows(name, even_start):
    one, other = made(name), made(name)
    first = {} if isinstance(one, EPSNNRegressor) else {"classes": np.unique(targets(name, np.array([-1, 1, 3])))}
    for seed in range(4):
        X, values = words(30, seed)
        known = occurring_columns(X) if seed == 0 else one.network_.basis.columns
        one.partial_fit(X, targets(name, values), **first)
        other.partial_fit(X.toarray(), targets(name, values), **first)
        assert seed == 0 or len(one.network_.basis.columns) > len(known)
    assert_same(one, other, words(50, 9)[0])


@pytest.mark.parametrize("how", ["warm_start", "partial_fit"])
@STREAMS
def test_more_rows_after_a_fit_bring_words(name, how, even_start):
    (X, values), (more, more_values) = words(N_ROWS, 1), words(40, 2)
    one, other = (made(name).fit(rows, targets(name, values)) for rows in (X, X.toarray()))
    for model, rows in ((one, more), (other, more.toarray())):
        if how == "warm_start":
            model.set_params(warm_start=True).fit(rows, targets(name, more_values))
        else:
            model.partial_fit(rows, targets(name, more_values))
    assert_same(one, other, words(50, 9)[0])


def test_a_word_that_comes_later_is_learned():
    X, values = words(N_ROWS, 1)
    word = np.setdiff1d(np.arange(64, N_COLUMNS), occurring_columns(X))[0]
    model = EPSNNRegressor(random_state=0).fit(X, values)
    assert model.coef_[word] == 0
    before = model.coefs_variance_[0][word, 0]
    only = sparse.csr_array((np.ones(50), (np.arange(50), np.full(50, word))), shape=(50, N_COLUMNS))
    model.partial_fit(only, np.full(50, 30.0))
    assert model.predict(only[:1])[0] == pytest.approx(30.0, rel=0.1)
    assert model.coefs_variance_[0][word, 0] < before / 2


@STREAMS
def test_merge_of_different_words(name, even_start):
    X, values = words(N_ROWS, 1)
    results = []
    for convert in (sparse.csr_array, lambda rows: rows.toarray()):
        base = made(name)
        first = {} if isinstance(base, EPSNNRegressor) else {"classes": np.unique(targets(name, np.array([-1, 1, 3])))}
        base.partial_fit(convert(X), targets(name, values), **first)
        parts = []
        for seed in (2, 3):
            rows, more = words(30, seed)
            parts.append(deepcopy(base).partial_fit(convert(rows), targets(name, more)))
        results.append(merge(base, parts))
    assert_same(*results, words(50, 9)[0])


def test_merge_refuses_another_start():
    models = [EPSNNRegressor().partial_fit(*words(30, seed)) for seed in (1, 2)]
    with pytest.raises(ValueError, match="does not come from base"):
        merge(models[0], models[1:])


# What a fitted estimator offers


@pytest.mark.parametrize("weights", ["mean", "mode", "sample"])
@pytest.mark.parametrize("name", ["three classes", "regressor", "hidden"])
def test_frozen_weights_are_those_that_predict(name, weights):
    """Unknown words too: a draw has a weight for each of them."""
    (X, values), (new, _) = words(N_ROWS, 1), words(50, 2)
    frozen = made(name).fit(X, targets(name, values)).freeze(weights, random_state=0)
    spikes = new @ frozen.coefs_[0] + frozen.intercepts_[0]
    for coef, intercept in zip(frozen.coefs_[1:], frozen.intercepts_[1:], strict=True):
        spikes = (spikes >= 0) @ coef + intercept
    if name == "regressor":
        spikes = (spikes - frozen._targets.location) / frozen._targets.scale
    np.testing.assert_allclose(frozen.predict_potentials(new).mean, spikes, rtol=1e-6, atol=1e-8)


def test_a_draw_has_the_prior_of_unknown_words():
    X, values = words(N_ROWS, 1)
    model = EPSNNRegressor(prior=GaussianPrior(variance=0.7), random_state=0).fit(X, values)
    drawn = model.freeze("sample", random_state=0).coefs_[0][:, 0]
    unknown = np.setdiff1d(np.arange(N_COLUMNS), occurring_columns(X))
    assert len(unknown) > 900
    np.testing.assert_allclose(drawn[unknown].var(), 0.7, rtol=0.2)


def test_activation_probabilities():
    X, values = words(N_ROWS, 1)
    models = [EPSNNRegressor(prior=BernoulliGaussianPrior(), max_iter=3, random_state=0) for _ in range(2)]
    one, other = (
        m.fit(rows, values).activation_probabilities_[0] for m, rows in zip(models, (X, X.toarray()), strict=True)
    )
    assert one.shape == (N_COLUMNS, 1)
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def test_pickle():
    (X, values), (new, _) = words(N_ROWS, 1), words(50, 2)
    model = EPSNNClassifier().fit(X, values > 0)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict_proba(new), model.predict_proba(new))
    loaded.partial_fit(new, words(50, 2)[1] > 0)


@pytest.mark.parametrize("name", ["classifier", "regressor", "hidden"])
def test_onnx(name):
    skl2onnx, onnxruntime = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    register_onnx_converters()
    (X, values), (new, _) = words(N_ROWS, 1), words(50, 2)
    model = made(name).fit(X, targets(name, values))
    dense = new.toarray().astype(np.float32)
    options = {} if name == "regressor" else {"options": {"zipmap": False}}
    graph = skl2onnx.to_onnx(model, dense[:1], **options)
    result = onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"X": dense})[-1]
    expected = model.predict(new)[:, None] if name == "regressor" else model.predict_proba(new)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_nir():
    pytest.importorskip("nir")
    X, values = words(N_ROWS, 1)
    model = EPSNNRegressor().fit(X, values)
    affine = next(node for node in to_nir(model).nodes.values() if hasattr(node, "weight"))
    np.testing.assert_allclose(affine.weight[0], model.coef_)
