"""Threads of matrix products: one where products are small, what the user allows where they are large."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_info, threadpool_limits

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, Newton
from sk_epsnn._sklearn import one_blas_thread
from sk_epsnn.connections import Dense
from sk_epsnn.ep.trainer import EPTrainer, SweepTrainer
from sk_epsnn.estimators import _base
from sk_epsnn.network import Layer, Network
from sk_epsnn.neurons import Heaviside
from sk_epsnn.outputs import SigmoidOutput


def n_threads():
    """Threads of matrix products, at most."""
    return max(info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas")


@pytest.fixture
def two_threads():
    """Whatever the environment says, and though the machine has one core."""
    with threadpool_limits(2, user_api="blas"):
        if n_threads() != 2:
            pytest.skip("The library of matrix products has one thread.")
        yield


@pytest.fixture
def seen(monkeypatch):
    """Threads in every batch that is absorbed, and in every prediction."""
    found = []
    absorb, predictor = SweepTrainer.absorb, EPTrainer.predictor

    def watched(self, *args):
        found.append(n_threads())
        return absorb(self, *args)

    def watched_predictor(self, *args):
        predict = predictor(self, *args)
        return lambda X: (found.append(n_threads()), predict(X))[1]

    monkeypatch.setattr(SweepTrainer, "absorb", watched)
    monkeypatch.setattr(EPTrainer, "predictor", watched_predictor)
    return found


def data(n_rows=40, n_columns=5):
    X = np.random.default_rng(0).standard_normal((n_rows, n_columns))
    return X, X[:, 0]


def test_one_thread_inside_and_the_old_number_afterwards(two_threads):
    with one_blas_thread():
        assert n_threads() == 1
        with one_blas_thread():
            assert n_threads() == 1
        assert n_threads() == 1
    assert n_threads() == 2
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        1 / 0  # noqa: B018
    assert n_threads() == 2


def test_contexts_that_overlap_leave_no_limit_behind(two_threads):
    """The first to come is the first to go: the other must not put the one thread back that it found."""
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    assert n_threads() == 1
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert n_threads() == 2


def test_other_threads_may_set_limits_afterwards():
    """Newer versions of threadpoolctl let a single thread set limits, until it is done with them."""
    if n_threads() == 1:
        pytest.skip("There is one thread only, and nothing to limit.")
    with ThreadPoolExecutor(1) as other:
        other.submit(EPSNNRegressor(max_iter=1).fit, *data()).result()
        with threadpool_limits(1, user_api="blas"):
            assert n_threads() == 1


@pytest.mark.parametrize("limit", [1, 2])
def test_limits_of_the_user_are_kept(limit, seen, monkeypatch, two_threads):
    monkeypatch.setattr(_base, "SEVERAL_THREADS", 0)
    with threadpool_limits(limit, user_api="blas"):
        EPSNNRegressor(max_iter=1).fit(*data()).predict(data()[0])
        assert n_threads() == limit
    assert set(seen) == {limit}


@pytest.mark.parametrize("several", [False, True])
def test_training_and_prediction(several, seen, monkeypatch, two_threads):
    """Of 40 rows x (5 inputs and the bias) x 7 units."""
    monkeypatch.setattr(_base, "SEVERAL_THREADS", 40 * 6 * 7 + 1 - several)
    X, y = data()
    model = EPSNNRegressor(7, max_iter=1, batch_size=40, inference=Newton(validation_fraction=0), random_state=0)
    model.fit(X, y).partial_fit(X, y).predict(X)
    assert len(seen) >= 3 and set(seen) == {1 + several}
    assert n_threads() == 2


def test_the_batch_counts_and_not_all_rows(seen, monkeypatch, two_threads):
    monkeypatch.setattr(_base, "SEVERAL_THREADS", 20 * 6)
    X, y = data()
    for options, expected in (({"batch_size": 20}, 2), ({"batch_size": 19}, 1), ({"n_shards": 3}, 1)):
        seen.clear()
        EPSNNRegressor(max_iter=1, **options).fit(X, y)
        assert set(seen) == {expected}, options


def test_chunks_that_are_predicted_at_once_have_one_thread_each(seen, monkeypatch, two_threads):
    monkeypatch.setattr(_base, "SEVERAL_THREADS", 0)
    X, y = data(2000)
    model = EPSNNRegressor(max_iter=1, n_jobs=2).fit(X, y)
    seen.clear()
    model.predict(X)
    assert seen == [1, 1]
    seen.clear()
    model.set_params(n_jobs=1).predict(X)
    assert seen == [2, 2]
    seen.clear()
    model.predict(X[:1000])
    assert set(seen) == {2}


def test_restored_after_an_error(seen, monkeypatch, two_threads):
    def fails(self, *args):
        assert n_threads() == 1
        raise ZeroDivisionError

    model = EPSNNRegressor().fit(*data())
    monkeypatch.setattr(SweepTrainer, "absorb", fails)
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ZeroDivisionError):
            method(*data())
        assert n_threads() == 2


def test_sparse_rows_count_by_their_entries(seen, monkeypatch, two_threads):
    """Of 30 rows with 4 entries each in 4,000 columns, and a bias."""
    X = sparse.csr_array((np.ones(120), np.arange(120), 4 * np.arange(31)), shape=(30, 4000))
    y = np.arange(30) % 2
    for limit, expected in ((125, 1), (115, 2)):
        monkeypatch.setattr(_base, "SEVERAL_THREADS", limit)
        seen.clear()
        EPSNNClassifier(max_iter=1).fit(X, y)
        assert set(seen) == {expected}


def test_largest_product():
    hidden = Layer(Dense(30), Heaviside())
    network = Network((hidden,), Dense(50), SigmoidOutput(), True, 20)
    assert network.largest_product(10) == 10 * 31 * 50
    assert network.largest_product(10, share=0.5) == 10 * 31 * 50
    wide = Network((hidden,), Dense(2), SigmoidOutput(), False, 20)
    assert wide.largest_product(10) == 10 * 20 * 30
    assert wide.largest_product(10, share=0.5) == 10 * 10 * 30
