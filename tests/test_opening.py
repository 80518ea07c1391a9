"""Streams that begin with few rows: scales and noise come from all of them, however they were grouped into calls."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_iris, make_friedman1

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, merge
from sk_epsnn.course import LEAST_SET_UP, Rows
from sk_epsnn.estimators import _base
from sk_epsnn.estimators._opening import Opening

KIND = pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])
HIDDEN = pytest.mark.parametrize("hidden", [(), (4,)], ids=["one layer", "hidden layer"])
SORTED = pytest.mark.filterwarnings("ignore:The last .* rows are all")


def rows_of(kind, n=64, n_features=3, seed=0):
    """Features in units of their own, far from 0."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_features))
    signal = X[:, 0] - 2 * X[:, 1] + 0.3 * rng.standard_normal(n)
    X = 100 + X * 10.0 ** np.arange(n_features)
    return X, (signal > 0).astype(int) if kind is EPSNNClassifier else 500 + 20 * signal


def stream(model, X, y, size, start=0, **options):
    for begin in range(start, X.shape[0], size):
        rows = slice(begin, begin + size)
        given = {name: values[rows] for name, values in options.items()}
        classes = {"classes": [0, 1]} if isinstance(model, EPSNNClassifier) else {}
        model.partial_fit(X[rows], y[rows], **classes, **given)
    return model


def assert_same(model, other, **tolerance):
    for name in ("coefs_", "intercepts_", "coefs_variance_", "intercepts_variance_"):
        for ours, theirs in zip(getattr(model, name), getattr(other, name), strict=True):
            np.testing.assert_allclose(ours, theirs, **tolerance)
    if isinstance(model, EPSNNRegressor):
        np.testing.assert_allclose(model.noise_variance_, other.noise_variance_, **tolerance)


# ---------------------------------------------------------------------- quality


def in_thousands(rng, X):
    return 1000 + 50 * (X[:, 0] - 2 * X[:, 1]), 5.0


def tiny(rng, X):
    return 1e-6 * X[:, :3].sum(1) - 3, 1e-6


def two_outputs(rng, X):
    return np.column_stack([X[:, 0], 300 * X[:, 1] - 7e4]), np.array([0.2, 40.0])


@pytest.mark.parametrize(
    ("law", "n_features", "size"),
    [
        (in_thousands, 3, 1),
        (in_thousands, 30, 7),
        (tiny, 3, 7),
        (tiny, 30, 1),
        (two_outputs, 3, 1),
        (two_outputs, 30, 7),
    ],
)
def test_noise_after_two_hundred_rows(law, n_features, size):
    rng = np.random.default_rng(n_features)
    X = rng.standard_normal((200, n_features))
    signal, noise = law(rng, X)
    model = stream(EPSNNRegressor(), X, signal + noise * rng.standard_normal(signal.shape), size)
    mean, std = model.predict(X, return_std=True)
    assert np.all(std.mean(0) < 1.5 * noise) and np.all(std.mean(0) > noise / 1.5)
    assert np.all(np.sqrt(np.mean((mean - signal) ** 2, axis=0)) < noise)


@HIDDEN
def test_single_rows_are_learned_as_well_as_all_at_once(hidden):
    X, y = rows_of(EPSNNClassifier, 300, n_features=4)
    scores = []
    for size in (1, 10, 150):
        model = stream(EPSNNClassifier(hidden, random_state=0), X[:150], y[:150], size)
        scores.append(model.score(X[150:], y[150:]))
    assert min(scores) > max(scores) - 0.05


def test_hidden_layers_of_regressors_leave_their_start():
    """Many rows at once, at a random start, would find all weights there."""
    X, y = make_friedman1(400, noise=1.0, random_state=0)
    for size in (5, 50):
        model = stream(EPSNNRegressor(20, random_state=0), X[:1], y[:1], 1)
        model = stream(model, X[:160], y[:160], size, start=1)
        assert model.score(X[160:], y[160:]) > 0.65


@SORTED
@pytest.mark.parametrize(
    ("kind", "hidden", "size"),
    [(EPSNNClassifier, (), 3), (EPSNNClassifier, (4,), 20), (EPSNNRegressor, (), 20), (EPSNNRegressor, (4,), 3)],
)
def test_equal_rows_at_the_start(kind, hidden, size):
    """They have no spread, but for rounding."""
    X, y = rows_of(kind, 300)
    X += 0.1
    X, y, X_test, y_test = X[:150], y[:150], X[150:], y[150:]
    X, y = np.vstack([np.repeat(X[:1], 40, 0), X]), np.append(np.repeat(y[:1], 40), y)
    model = stream(kind(hidden, random_state=0), X, y, size)
    assert model.score(X_test, y_test) > 0.85


@SORTED
@pytest.mark.parametrize("hidden", [(), (20,)], ids=["one layer", "hidden layer"])
def test_sorted_rows_at_the_start(hidden):
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(150)
    X, y, X_test, y_test = X[order[:100]], y[order[:100]], X[order[100:]], y[order[100:]]
    order = np.argsort(y, kind="stable")
    order = np.append(order[:60], np.sort(order[60:]))
    model = EPSNNClassifier(hidden, random_state=0)
    for begin in range(0, 100, 20):
        rows = order[begin : begin + 20]
        model.partial_fit(X[rows], y[rows], classes=range(3))
    assert model.score(X_test, y_test) > 0.9


def test_passes_over_the_rows():
    X, y = rows_of(EPSNNRegressor, 100)
    rows = Rows(X, y, np.ones(100))
    few, many, at_once = (
        Opening(np.random.RandomState(0), (rows.take(slice(n)),), before) for n, before in ((4, 2), (100, 50), (100, 0))
    )
    whole = [slice(None)]
    assert few.passes(True) == few.passes(False) == at_once.passes(True) == at_once.passes(False) == [whole]
    assert many.passes(False) == 20 * [whole]
    batches, then = many.passes(True)
    assert then == whole and [len(batch) for batch in batches] == [34, 33, 33]
    assert sorted(np.concatenate(batches)) == list(range(100)) and max(batches[0]) > 34


# ---------------------------------------------------------------------- what is done with the rows


@KIND
@HIDDEN
@pytest.mark.parametrize("random_state", [0, "instance"])
def test_twice_as_many_rows_are_learned_from_together(kind, hidden, random_state):
    """After 2, 4, 8 and 16 single rows the posterior is that of one call, at its own random start."""
    X, y = rows_of(kind, 16)

    def new():
        return kind(hidden, random_state=np.random.RandomState(3) if random_state else 0)

    single = new()
    for before, n in ((0, 2), (2, 4), (4, 8), (8, 16)):
        stream(single, X[:n], y[:n], 1, start=before)
        at_once = stream(new(), X[:n], y[:n], n)
        assert_same(single, at_once, rtol=0)
        assert single.n_iter_ == len(single.history_["energy"]) == n


@KIND
def test_in_between_the_stream_goes_on(kind):
    """Three rows, the set-up of two: the third is one more row for the posterior of these."""
    X, y = rows_of(kind, 20)
    model = stream(kind(random_state=0), X[:16], y[:16], 1)
    basis = model.network_.basis
    after = stream(deepcopy(model), X[16:17], y[16:17], 1)
    assert after.network_.basis is not None and np.array_equal(after.network_.basis.offset, basis.offset)
    assert after._progress.state.mass == 17
    assert after.coefs_variance_[0].sum() < model.coefs_variance_[0].sum()


@KIND
def test_weights_of_rows_and_forgetting(kind):
    X, y = rows_of(kind, 16)
    weight = np.random.default_rng(0).uniform(0.5, 2, 16)
    faded = weight * 0.9 ** np.arange(15, -1, -1)
    model = stream(kind(forgetting=0.9, random_state=0), X, y, 1, sample_weight=weight)
    assert_same(model, stream(kind(random_state=0), X, y, 16, sample_weight=faded), rtol=1e-9)
    weight[3] = 0
    kept = weight > 0
    model = stream(kind(random_state=0), X[:9], y[:9], 3, sample_weight=weight[:9])
    assert_same(
        model, stream(kind(random_state=0), X[kept][:8], y[kept][:8], 8, sample_weight=weight[kept][:8]), rtol=1e-9
    )


@KIND
def test_sparse_rows_and_other_types_on_the_way(kind):
    X, y = rows_of(kind, 16)
    X[np.abs(X - 100) > 90] = 0
    plain = stream(kind(random_state=0), X, y, 4)
    assert_same(stream(kind(random_state=0), sparse.csr_array(X), y, 4), plain, rtol=1e-9)
    mixed = stream(kind(random_state=0), sparse.csr_array(X[:8]), y[:8], 4)
    assert_same(stream(mixed, X, y, 4, start=8), plain, rtol=1e-9)
    single = stream(kind(random_state=0), X[:8].astype(np.float32), y[:8], 4)
    assert_same(stream(single, X, y, 4, start=8), plain, rtol=1e-3)


@KIND
def test_arrays_of_the_caller_may_change(kind):
    """A loop that reads every batch into the same memory."""
    X, y = rows_of(kind, 16)
    model, buffer, targets = kind(random_state=0), np.empty((4, 3)), np.empty(4, y.dtype)
    for begin in range(0, 16, 4):
        buffer[:], targets[:] = X[begin : begin + 4], y[begin : begin + 4]
        stream(model, buffer, targets, 4)
    assert_same(model, stream(kind(random_state=0), X, y, 4), rtol=0)


@KIND
@HIDDEN
def test_files_and_errors_in_the_opening(kind, hidden, freeze, monkeypatch):
    X, y = rows_of(kind, 16)
    model = stream(kind(hidden, random_state=0), X[:11], y[:11], 1)
    again = pickle.loads(pickle.dumps(model))
    before = freeze(vars(model))
    with pytest.raises(ValueError, match="contains NaN"):
        model.partial_fit(X[11:] * np.nan, y[11:])

    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_base, "learn_from_stream", interrupted)
        model.partial_fit(X[11:], y[11:])  # scales and all that are new by then
    assert freeze(vars(model)) == before
    for each in (model, again):
        stream(each, X, y, 1, start=11)
    assert_same(model, again, rtol=0)


# ---------------------------------------------------------------------- its end


def n_kept(model):
    return 0 if model._opening is None else model._opening.n_rows


@KIND
@pytest.mark.parametrize(("n_features", "enough"), [(3, 128), (40, 256)])
def test_only_few_rows_are_kept(kind, n_features, enough):
    """Until there are 128, and four for every weight of a unit."""
    X, y = rows_of(kind, enough + 8, n_features)
    X = (X - 100) / 10.0 ** np.arange(n_features)
    model, kept = kind(random_state=0), []
    for row in range(0, len(X), 4):
        stream(model, X[row : row + 4], y[row : row + 4], 4)
        kept.append(n_kept(model))
    assert kept == [*range(4, enough, 4), 0, 0, 0]


@KIND
def test_wide_rows_take_no_more_memory(kind):
    rng = np.random.default_rng(0)
    X = sparse.random_array((80, 2**16), density=1e-4, format="csr", rng=rng)
    y = np.arange(80) % 2
    model = stream(kind(random_state=0), X[:31], y[:31], 1)
    assert n_kept(model) == 31
    assert n_kept(stream(model, X[31:32], y[31:32], 1)) == 0


@KIND
@HIDDEN
def test_a_first_call_of_enough_rows_fixes_the_set_up(kind, hidden):
    X, y = rows_of(kind, LEAST_SET_UP + 40)
    model = stream(kind(hidden, random_state=0), X[:LEAST_SET_UP], y[:LEAST_SET_UP], LEAST_SET_UP)
    assert n_kept(model) == 0
    basis = model.network_.basis
    stream(model, X, y, 20, start=LEAST_SET_UP)
    np.testing.assert_array_equal(model.network_.basis.offset, basis.offset)


@KIND
def test_fits_and_frozen_weights_have_no_opening(kind):
    X, y = rows_of(kind)
    model = stream(kind(warm_start=True, random_state=0), X[:5], y[:5], 1)
    assert n_kept(model) == 5 and n_kept(model.freeze()) == 0
    basis = model.network_.basis
    model.fit(X, y)  # what is known is continued
    assert n_kept(model) == 0
    np.testing.assert_array_equal(model.network_.basis.offset, basis.offset)


@KIND
def test_a_fit_in_order_looks_at_as_many_rows(kind):
    """Batches of one row would say nothing of scales."""
    X, y = rows_of(kind)
    options = dict(shuffle=False, max_iter=1, random_state=0)
    single = kind(batch_size=1, **options).fit(X, y)
    basis = kind(batch_size=LEAST_SET_UP, **options).fit(X, y).network_.basis
    np.testing.assert_array_equal(single.network_.basis.offset, basis.offset)
    if kind is EPSNNRegressor:
        assert single._targets.scale[0] == pytest.approx(y[:LEAST_SET_UP].std())


@KIND
def test_merging_after_few_rows(kind):
    """Copies that have brought few rows share the set-up; others have taken it anew, and are refused."""
    X, y = rows_of(kind)
    base = stream(kind(random_state=0), X[:8], y[:8], 8)
    few = [stream(deepcopy(base), X[rows], y[rows], 4) for rows in (slice(8, 12), slice(12, 16))]
    merged = merge(base, few)
    assert merged._progress.state.mass == 16 and n_kept(merged) == 0
    many = stream(deepcopy(base), X[8:40], y[8:40], 32)
    with pytest.raises(ValueError, match="first call of at least 32 rows: fewer do not fix the set-up"):
        merge(base, [many])
