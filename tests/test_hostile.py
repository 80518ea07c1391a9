"""Data that no one would choose: each either gives a model of a stated quality or is refused with a reason."""

import numpy as np
import pytest
from scipy import sparse

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, Stochastic

RNG = np.random.default_rng(0)
WEIGHTS = np.array([1.0, -2.0, 0.5, 0.0, 1.0])
X, X_TEST = RNG.normal(size=(400, 5)), RNG.normal(size=(200, 5))
TARGET, TARGET_TEST = X @ WEIGHTS + 0.1 * RNG.normal(size=400), X_TEST @ WEIGHTS
LABEL, LABEL_TEST = (X @ WEIGHTS > 0).astype(int), (TARGET_TEST > 0).astype(int)
HIDDEN = pytest.mark.parametrize("hidden", [(), (8,)], ids=["no hidden layer", "hidden layer"])
KIND = pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])


def classifier(hidden=(), **options):
    return EPSNNClassifier(hidden, random_state=0, **options)


def regressor(hidden=(), **options):
    return EPSNNRegressor(hidden, random_state=0, **options)


def assert_good(hidden, change, accuracy=0.97, r2=0.95):
    """Both estimators learn from changed inputs, and what they predict is finite, with a positive spread."""
    X_train, X_new = change(X), change(X_TEST)
    # Twenty passes are enough for these rows.
    options = {"inference": Stochastic(n_passes=20)} if hidden else {}
    model = classifier(hidden, **options).fit(X_train, LABEL)
    assert np.isfinite(model.predict_proba(X_new)).all()
    assert np.isfinite(model.predict_uncertainty(X_new)).all()
    assert model.score(X_new, LABEL_TEST) > accuracy
    model = regressor(hidden).fit(X_train, TARGET)
    mean, std = model.predict(X_new, return_std=True)
    assert np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()
    assert model.score(X_new, TARGET_TEST) > r2


# Features


@pytest.mark.parametrize("size", [1e-150, 1e-30, 1e-12, 1e-6, 1e-3, 1e3, 1e6, 1e12, 1e30, 1e100])
def test_scale(size):
    assert_good((), lambda A: A * size)


@pytest.mark.parametrize("size", [1e-150, 1e-6, 1e3, 1e100])
def test_scale_with_a_hidden_layer(size):
    assert_good((8,), lambda A: A * size)


@HIDDEN
@pytest.mark.parametrize("size", [1e-12, 1e6])
def test_scale_float32(hidden, size):
    assert_good(hidden, lambda A: (A * size).astype(np.float32))


@HIDDEN
def test_far_from_the_origin(hidden):
    assert_good(hidden, lambda A: A + 1e6)


@HIDDEN
def test_constant_features(hidden):
    assert_good(hidden, lambda A: np.hstack([A, np.zeros((len(A), 3)), np.full((len(A), 3), 7.0)]))


@HIDDEN
def test_duplicate_features(hidden):
    assert_good(hidden, lambda A: np.hstack([A] * 10), r2=0.85)


@HIDDEN
def test_nothing_but_constants(hidden):
    """The prediction is the average, with the spread of the targets."""
    ones = np.ones((20, 2))
    np.testing.assert_allclose(classifier(hidden).fit(ones, np.arange(20) % 2).predict_proba(ones), 0.5, atol=0.02)
    mean, std = regressor(hidden).fit(ones, np.arange(20.0)).predict(ones, return_std=True)
    np.testing.assert_allclose(mean, 9.5, atol=0.1)
    assert (std > 4).all() and (std < 8).all()


@HIDDEN
def test_one_feature(hidden):
    labels = X[:, 0] > 0.3
    assert classifier(hidden).fit(X[:, :1], labels).score(X_TEST[:, :1], X_TEST[:, 0] > 0.3) > 0.97
    assert regressor(hidden).fit(X[:, :1], X[:, 0]).score(X_TEST[:, :1], X_TEST[:, 0]) > 0.95


@KIND
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inputs_whose_squares_overflow_are_refused(kind, dtype):
    huge = (X * np.sqrt(np.finfo(dtype).max)).astype(dtype)
    with pytest.raises(ValueError, match="Rescale them, for example with sklearn.preprocessing.StandardScaler"):
        kind().fit(huge, LABEL)


def one_hot(n_samples, n_columns, seed):
    """Rows with one of many categories each, some of them common, and what follows from the category."""
    rng = np.random.default_rng(seed)
    meaning = np.random.default_rng(0).integers(2, size=n_columns)
    category = np.minimum(rng.geometric(0.02, size=n_samples), n_columns - 1)
    rows = np.arange(n_samples), category
    return sparse.csr_array((np.ones(n_samples), rows), shape=(n_samples, n_columns)), meaning[category]


def test_one_hot_of_ten_thousand_categories():
    (rows, y), (new, y_new) = one_hot(1000, 10_000, 1), one_hot(1000, 10_000, 2)
    assert classifier(max_iter=3).fit(rows, y).score(new, y_new) > 0.97
    model = regressor(max_iter=3).fit(rows, y)
    mean, std = model.predict(new, return_std=True)
    assert np.isfinite(mean).all() and (std > 0).all()
    assert model.score(new, y_new) > 0.8


def test_hundred_thousand_sparse_features():
    """Far more features than rows: the rows seen are learned, and others are not claimed to be known."""
    rng = np.random.default_rng(0)
    rows = sparse.random_array((100, 100_000), density=1e-3, rng=rng, format="csr")
    potential = rows @ rng.normal(size=100_000)
    assert classifier(max_iter=2).fit(rows, potential > 0).score(rows, potential > 0) > 0.97
    model = regressor(max_iter=2).fit(rows, potential)
    mean, std = model.predict(rows, return_std=True)
    assert np.isfinite(mean).all() and (std > 0).all()
    assert np.corrcoef(mean, potential)[0, 1] > 0.9
    new = sparse.random_array((10, 100_000), density=1e-3, rng=rng, format="csr")
    unseen = model.predict_uncertainty(new).epistemic
    assert unseen.mean() > model.predict_uncertainty(rows).epistemic.mean()


# Rows


@HIDDEN
def test_one_row(hidden):
    """The regressor predicts the only target it knows; the classifier needs to be told of another class."""
    row = [[1.0, 2.0]]
    mean, std = regressor(hidden).fit(row, [3.0]).predict(row, return_std=True)
    np.testing.assert_allclose(mean, 3.0, rtol=1e-6)
    assert np.isfinite(std).all() and (std > 0).all()
    with pytest.raises(ValueError, match="at least 2 classes, but the data has only one class"):
        classifier(hidden).fit(row, ["a"])
    streamed = classifier(hidden).partial_fit(row, ["a"], classes=["b", "a"])
    assert streamed.predict(row) == ["a"]
    assert 0.5 < streamed.predict_proba(row)[0, 0] < 1


@HIDDEN
def test_one_row_of_each_class(hidden):
    rows = [[1.0, 2.0], [3.0, 0.0]]
    np.testing.assert_array_equal(classifier(hidden).fit(rows, [0, 1]).predict(rows), [0, 1])


@KIND
def test_rows_that_contradict_each_other(kind):
    """The same inputs with either answer."""
    rows, y = np.repeat(X[:20], 2, axis=0), np.tile([0, 1], 20)
    model = kind(random_state=0).fit(rows, y)
    result = model.predict_proba(rows)[:, 1] if kind is EPSNNClassifier else model.predict(rows)
    np.testing.assert_allclose(result, 0.5, atol=0.02)


# Classes


def test_five_hundred_classes():
    rng = np.random.default_rng(0)
    centers, y = 3 * rng.normal(size=(500, 20)), np.arange(2000) % 500
    rows, new = (centers[y] + rng.normal(size=(2000, 20)) for _ in range(2))
    model = classifier(max_iter=1).fit(rows, y)
    probability = model.predict_proba(new)
    np.testing.assert_allclose(probability.sum(1), 1, rtol=1e-9)
    assert (model.classes_[probability.argmax(1)] == y).mean() > 0.9


@HIDDEN
def test_one_row_in_a_thousand_is_of_a_class(hidden):
    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(1000, 3)), np.zeros(1000, int)
    rows[0], y[0] = 8.0, 1
    model = classifier(hidden).fit(rows, y)
    assert model.score(rows, y) > 0.998
    assert np.isfinite(model.predict_log_proba(rows)).all()


MIXED = {
    "strings": np.array(["no", "a much longer yes"]),
    "objects": np.array(["no", "yes"], dtype=object),
    "booleans": np.array([False, True]),
    "huge integers": np.array([-(2**62), 2**62]),
    "integral floats": np.array([-1.0, 1e15]),
}


@pytest.mark.parametrize("labels", MIXED.values(), ids=MIXED)
@pytest.mark.parametrize("turned", [False, True], ids=["sorted", "unsorted"])
def test_classes_of_a_stream_in_any_order(labels, turned):
    """Labels of any kind, and classes not sorted: predictions are as with 0 and 1."""
    plain = classifier().partial_fit(X, LABEL, classes=[0, 1])
    model = classifier().partial_fit(X, labels[LABEL], classes=list(labels[::-1] if turned else labels))
    np.testing.assert_array_equal(model.classes_, np.sort(labels))
    np.testing.assert_array_equal(model.predict(X_TEST), labels[plain.predict(X_TEST)])
    assert model.score(X_TEST, labels[LABEL_TEST]) > 0.95


@pytest.mark.filterwarnings("ignore:The last .* rows are all:UserWarning")
def test_unsorted_classes_that_come_late():
    rng = np.random.default_rng(0)
    names, y = np.array(["pear", "apple", "zebra"]), np.arange(300) % 3
    rows = 3 * np.eye(3)[y] + rng.normal(size=(300, 3))
    model = classifier()
    for kind in (0, 1, 2):
        model.partial_fit(rows[y == kind], names[y[y == kind]], classes=["pear", "zebra", "apple"])
    assert list(model.classes_) == ["apple", "pear", "zebra"]
    assert model.score(rows, names[y]) > 0.7


# Targets


@HIDDEN
@pytest.mark.parametrize("size", [1e-100, 1e-12, 1e12, 1e100])
def test_size_of_the_targets(hidden, size):
    model = regressor(hidden).fit(X, size * TARGET)
    mean, std = model.predict(X_TEST, return_std=True)
    assert np.corrcoef(mean / size, TARGET_TEST)[0, 1] > 0.97
    assert np.isfinite(std).all() and (std > 0.01 * size).all() and (std < 10 * size).all()


@HIDDEN
def test_targets_far_from_zero(hidden):
    """Around 1e12, where a float still resolves 1e-4."""
    model = regressor(hidden).fit(X, TARGET + 1e12)
    assert model.score(X_TEST, TARGET_TEST + 1e12) > 0.95


@HIDDEN
@pytest.mark.parametrize("value", [0.0, -1e12, 1e-12])
def test_targets_that_never_change(hidden, value):
    mean, std = regressor(hidden).fit(X, np.full(400, value)).predict(X_TEST, return_std=True)
    np.testing.assert_allclose(mean, value, rtol=1e-9, atol=1e-12 * (value == 0))
    assert np.isfinite(std).all() and (std > 0).all()
    assert (std < 0.1 * (abs(value) or 1)).all()


def test_targets_whose_squares_overflow_are_refused():
    with pytest.raises(ValueError, match="y holds values up to .* Rescale them"):
        regressor().fit(X, 1e150 * TARGET)


# After a refused call


@HIDDEN
@KIND
def test_predictions_after_refused_calls(kind, hidden):
    """A stream of mistakes changes no prediction by a bit, and what comes after it is learned as if it had not been."""
    y = LABEL if kind is EPSNNClassifier else TARGET
    fitted, other = (kind(hidden, random_state=0, max_iter=2).fit(X[:200], y[:200]) for _ in range(2))

    def predictions(model):
        return np.array(model.predict_uncertainty(X_TEST))

    before = predictions(fitted)
    broken = X[200:].copy()
    broken[3, 2] = np.nan
    unknown = np.full(200, 7) if kind is EPSNNClassifier else np.full(200, np.inf)
    mistakes = [(broken, y[200:]), (X[200:, :3], y[200:]), (X[200:], unknown), (X[200:], y[:7]), (X[:0], y[:0])]
    for rows, answers in mistakes:
        with pytest.raises(ValueError, match="NaN|features|labels|infinity|inconsistent|0 sample"):
            fitted.partial_fit(rows, answers)
        np.testing.assert_array_equal(predictions(fitted), before)
    for bad in (broken, X[:, :3]):
        with pytest.raises(ValueError, match="NaN|features"):
            fitted.predict(bad)
    for model in (fitted, other):
        model.partial_fit(X[200:], y[200:])
    np.testing.assert_array_equal(predictions(fitted), predictions(other))


@pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])
def test_hidden_layer_on_more_features_than_are_rotated(kind):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2100))
    y = (X[:, 0] > 0).astype(int)
    model = kind(4, max_iter=1, random_state=0).fit(X, y)
    assert np.isfinite(model.predict(X)).all()


def test_single_class_is_named_plainly():
    with pytest.raises(ValueError, match="only one class: 3\\."):
        EPSNNClassifier().fit(np.eye(4), [3] * 4)
