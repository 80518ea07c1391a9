"""Fits whose shards are worked on by the processes of a dask cluster, and streams out of core."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from joblib import parallel_config

from sk_epsnn import EPSNNClassifier, Newton

pytestmark = [
    # dask's own calls of what others have renamed.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
distributed = pytest.importorskip("distributed", reason='needs pip install "sk_epsnn[dask]"')

MIB = 2**20


def cluster(**options):
    return distributed.LocalCluster(processes=True, threads_per_worker=1, dashboard_address=":0", **options)


@pytest.fixture(scope="module")
def client():
    with cluster(n_workers=2) as workers, distributed.Client(workers) as client:
        yield client


def model():
    return EPSNNClassifier((5,), n_shards=4, max_iter=12, tol=0, random_state=0)


def test_worker_processes_give_the_same_result(client, blobs):
    expected = model().fit(blobs.X, blobs.y).predict_log_proba(blobs.X_test)
    with parallel_config(backend="dask"):
        fitted = model().fit(blobs.X, blobs.y)
    np.testing.assert_array_equal(fitted.predict_log_proba(blobs.X_test), expected)


def test_a_killed_worker_changes_nothing(client, blobs):
    expected = model().fit(blobs.X, blobs.y).predict_log_proba(blobs.X_test)
    workers = client.run(os.getpid)
    training = model()
    passes = []

    def kill_one():
        while not hasattr(training, "history_") or len(training.history_["energy"]) < 2:
            time.sleep(0.001)
        os.kill(next(iter(workers.values())), signal.SIGKILL)
        passes.append(len(training.history_["energy"]))

    killer = threading.Thread(target=kill_one)
    killer.start()
    with parallel_config(backend="dask"):
        training.fit(blobs.X, blobs.y)
    killer.join()
    assert passes[0] < training.n_iter_ == 12, "the worker outlived the fit"
    np.testing.assert_array_equal(training.predict_log_proba(blobs.X_test), expected)


def test_incremental_learns_from_more_than_fits_into_memory():
    pytest.importorskip("dask_ml")
    import dask.array as da
    from dask_ml.wrappers import Incremental

    limit = 512 * MIB
    with cluster(n_workers=1, memory_limit=limit) as workers, distributed.Client(workers):
        X = da.random.default_rng(0).standard_normal((280_000, 250), chunks=(10_000, 250))
        assert X.nbytes > limit
        w = np.random.default_rng(1).standard_normal(250)
        y = (X @ w > 0).astype(int)
        # Each of the 28 chunks is seen once: one sweep over it tells as much as ten.
        wrapper = Incremental(EPSNNClassifier(inference=Newton(n_sweeps=1)), assume_equal_chunks=True).fit(
            X, y, classes=[0, 1]
        )
        X_test = X[:1000].compute()
    assert wrapper.estimator_._progress.state.mass == 280_000
    assert wrapper.estimator_.score(X_test, X_test @ w > 0) > 0.95
