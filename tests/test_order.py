"""Streams that are sorted by class are noticed, those whose classes are rare are not taken for such."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.stats import betabinom
from sklearn.datasets import load_digits

from sk_epsnn import EPSNNClassifier
from sk_epsnn.estimators._order import LabelOrder


def first_call(labels, n_classes, batch, before=()):
    """The call after which a stream looks sorted, None where it never does."""
    order = LabelOrder.of(np.asarray(before, int), n_classes)
    for call, start in enumerate(range(0, len(labels), batch)):
        order = order.after(labels[start : start + batch])
        if order.looks_sorted:
            return call
    return None


def drawn(frequencies, n, seed):
    frequencies = np.array(frequencies) / np.sum(frequencies)
    return np.random.default_rng(seed).choice(len(frequencies), n, p=frequencies)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("batch", [20, 50, 100])
def test_the_first_call_of_one_class(n_classes, batch):
    labels = np.repeat(np.arange(n_classes), 200)
    assert first_call(labels, n_classes, batch) == 0


@pytest.mark.parametrize("batch", [1, 4])
def test_small_calls_in_a_row(batch):
    """At the latest when as many rows of a second class have come as are worth a word."""
    assert first_call(np.repeat(np.arange(10), 60), 10, batch) * batch in range(65, 75)
    assert first_call(np.repeat(np.arange(10), 600), 10, batch) * batch in range(95, 105)


def test_classes_that_meet_within_a_call():
    """Of the first call a few rows are of the next class: those might be rare, but the second call says otherwise."""
    labels = np.concatenate([np.full(99, 0), np.full(99, 1), np.full(99, 2)])
    assert first_call(labels, 10, 100) == 1


def test_after_rows_in_random_order():
    """It takes a good share of what is known."""
    mixed = np.tile(np.arange(5), 100)
    assert first_call(np.full(90, 3), 5, 10, before=mixed) is None
    assert first_call(np.full(110, 3), 5, 10, before=mixed) == 9


@pytest.mark.parametrize("n_classes", [2, 4, 10])
@pytest.mark.parametrize("batch", [1, 7, 50])
def test_random_order_is_no_sorted_stream(n_classes, batch):
    alarms = [first_call(drawn(np.ones(n_classes), 500, seed), n_classes, batch) for seed in range(40)]
    assert sum(call is not None for call in alarms) <= 3


@pytest.mark.parametrize("frequencies", [(0.8, 0.2), (0.95, 0.05), (0.9, 0.05, 0.05), (0.7, *[0.3 / 9] * 9)])
@pytest.mark.parametrize("batch", [1, 100, 300])
def test_rare_classes_are_no_sorted_stream(frequencies, batch):
    alarms = [first_call(drawn(frequencies, 500, seed), len(frequencies), batch) for seed in range(40)]
    assert sum(call is not None for call in alarms) <= 6


def test_the_tail_against_scipy():
    """Where exactly a run of a class becomes improbable, given what came before."""
    for n_before in (40, 200):
        before = np.repeat([0, 1, 2], [n_before // 2, n_before // 4, n_before // 4])
        share = next(
            n
            for n in range(max(10, n_before // 5), 200)
            if (3 + n_before) * betabinom.sf(n - 1, n, 1 / 3 + n_before // 2, 2 / 3 + n_before // 2) < 0.1
        )
        order = LabelOrder.of(before, 3)
        assert not order.after(np.zeros(share - 1, int)).looks_sorted
        assert order.after(np.zeros(share, int)).looks_sorted


def stream(model, X, y, batch, classes=None):
    """Messages of the warnings, call by call."""
    messages = []
    for start in range(0, len(X), batch):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.partial_fit(X[start : start + batch], y[start : start + batch], classes=classes)
        assert all(warning.filename == __file__ for warning in caught)
        messages.append([str(warning.message) for warning in caught])
    return messages


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_one_warning_in_a_stream(hidden, digits):
    X, y = digits
    order = np.argsort(y, kind="stable")
    model = EPSNNClassifier(hidden, max_iter=3, random_state=0)
    first, *others = stream(model, X[order[:200]], y[order[:200]], 25, classes=range(10))
    assert len(first) == 1 and "The last 25 rows" in first[0] and "class 0." in first[0]
    assert others == [[]] * 7
    # A fit starts anew, and so does its stream, which knows what was fitted.
    model.fit(X, y)
    assert stream(model, X[order[:30]], y[order[:30]], 30) == [[]]
    zeros = np.resize(np.flatnonzero(y == 0), 90)
    (message,) = stream(model, X[zeros], y[zeros], 90)[0]
    assert "rows are all, or all but a few, of class 0" in message


def test_named_classes_rows_without_weight_and_files(digits):
    X, y = digits
    names = np.array(["zero", "other"])[(y > 0).astype(int)]
    model = EPSNNClassifier(4, random_state=0)
    first = y == 0
    kept = first | (np.arange(400) < 40)
    with pytest.warns(UserWarning, match="all but a few, of class zero. .* random order"):
        model.partial_fit(X[kept], names[kept], classes=np.unique(names), sample_weight=first[kept].astype(float))
    again = pickle.loads(pickle.dumps(model))
    again.partial_fit(X[first], names[first])  # it has been said


@pytest.mark.parametrize(("hidden", "n_classes"), [((20,), 10), ((), 10), ((), 2)])
def test_sorted_streams_are_learned_badly(hidden, n_classes):
    """What the warning says is true; many classes in one layer suffer little."""
    X, y = load_digits(return_X_y=True)
    X, y, rng = X / 16, y * n_classes // 10, np.random.default_rng(0)
    train, test = np.arange(800), np.arange(800, 1797)
    scores = []
    for order in (rng.permutation(train), np.argsort(y[train], kind="stable")):
        model = EPSNNClassifier(hidden, random_state=0)
        messages = stream(model, X[order], y[order], 80, classes=np.arange(n_classes))
        scores.append(model.score(X[test], y[test]))
        assert sum(map(len, messages)) == len(scores) - 1
    assert scores[0] > scores[1] + (0.01 if not hidden and n_classes == 10 else 0.1)
