"""What the classifier and the regressor share: data types, weights, streaming, epochs, reproducibility, ecosystem."""

import os
import pickle
import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline

import sk_epsnn
from sk_epsnn import AverageEP, EPSNNClassifier, EPSNNRegressor, GaussianPrior, Newton, PopulationEncoder

HIDDEN = pytest.mark.parametrize("hidden", [(), (5,)], ids=["one layer", "hidden layer"])
KIND = pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])
#: Where it is not asked how well a model learns.
FEW = {"max_iter": 3, "random_state": 0}


@pytest.fixture
def data(kind, blobs, line):
    return blobs if kind is EPSNNClassifier else line


def first_call(kind):
    return {"classes": [0, 1, 2]} if kind is EPSNNClassifier else {}


def values(model, X):
    """Everything a fitted model says about X, side by side."""
    if isinstance(model, EPSNNClassifier):
        parts = [model.predict_log_proba(X)]
    else:
        parts = [part[:, None] for part in model.predict(X, return_std=True)]
    return np.hstack([*parts, *(part[:, None] for part in model.predict_uncertainty(X))])


def all_rows(kind, hidden):
    """Parameters with which no row is held out."""
    return {"inference": Newton(validation_fraction=0)} if kind is EPSNNRegressor and hidden else {}


def assert_same_posterior(model, other, X, rtol):
    for name in ("coefs_", "intercepts_", "coefs_variance_", "intercepts_variance_"):
        for a, b in zip(getattr(model, name), getattr(other, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=0 if rtol == 0 else 1e-9, err_msg=name)
    np.testing.assert_allclose(values(model, X), values(other, X), rtol=rtol, atol=0 if rtol == 0 else 1e-9)


# ---------------------------------------------------------------------- data types


@KIND
@HIDDEN
@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array, sparse.coo_array])
def test_sparse_rows_give_the_same_model(kind, hidden, data, container):
    spikes, spikes_test = (np.where(X > 0.5, 1.0, 0.0) for X in (data.X, data.X_test))
    options = {**FEW, **all_rows(kind, hidden)}
    dense = kind(hidden, **options).fit(spikes, data.y)
    model = kind(hidden, **options).fit(container(spikes), data.y)
    np.testing.assert_allclose(values(model, container(spikes_test)), values(dense, spikes_test), rtol=1e-7, atol=1e-9)
    few = {"inference": Newton(n_sweeps=2)} if hidden else {}
    streams = [
        kind(hidden, random_state=0, **few).partial_fit(X, data.y, **first_call(kind))
        for X in (spikes, container(spikes))
    ]
    np.testing.assert_allclose(values(streams[1], spikes_test), values(streams[0], spikes_test), rtol=1e-7, atol=1e-9)


@KIND
@HIDDEN
def test_float32_is_kept_and_close_to_float64(kind, hidden, data):
    double = kind(hidden, random_state=0, max_iter=2).fit(data.X, data.y)
    single = kind(hidden, random_state=0, max_iter=2).fit(data.X.astype(np.float32), data.y)
    result, expected = values(single, data.X_test.astype(np.float32)), values(double, data.X_test)
    assert result.dtype == np.float32 and expected.dtype == np.float64
    assert single.predict_uncertainty(data.X_test.astype(np.float32)).total.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=2e-2, atol=2e-2)


@KIND
@pytest.mark.parametrize("dtype", [int, bool, np.uint8])
def test_spikes_of_any_number_type(kind, data, dtype):
    spikes = (data.X > 0).astype(dtype)
    model, plain = (kind().fit(X, data.y) for X in (spikes, spikes.astype(float)))
    np.testing.assert_array_equal(values(model, spikes), values(plain, spikes.astype(float)))


@KIND
@HIDDEN
def test_input_is_not_changed(kind, hidden, data):
    X, y = data.X.copy(), data.y.copy()
    X.flags.writeable = y.flags.writeable = False
    kind(hidden, **FEW).fit(X, y).partial_fit(X, y).predict(X)
    np.testing.assert_array_equal(X, data.X)


# ---------------------------------------------------------------------- sample weights


@KIND
@HIDDEN
def test_weight_two_is_the_row_twice_and_weight_zero_its_absence(kind, hidden, data):
    weight = np.random.default_rng(5).integers(0, 3, size=len(data.y))
    repeated = data.X.repeat(weight, axis=0), data.y.repeat(weight)
    size = 2 * len(data.y)
    options = {"batch_size": size, "max_iter": 3, "tol": 0, "random_state": 0, **all_rows(kind, hidden)}
    if kind is EPSNNClassifier and hidden:
        # Short trials go by rows, in batches.
        options["prior"] = GaussianPrior(spectral_exponent=1.0)
    model, other = (kind(hidden, **options) for _ in range(2))
    assert_same_posterior(model.fit(data.X, data.y, sample_weight=weight), other.fit(*repeated), data.X_test, rtol=1e-7)


@KIND
@HIDDEN
def test_weight_in_a_stream_is_a_repetition_too(kind, hidden, data):
    weight = np.random.default_rng(5).integers(0, 3, size=len(data.y))
    model, other = kind(hidden, random_state=0), kind(hidden, random_state=0)
    for rows in np.array_split(np.arange(len(data.y)), 3):
        model.partial_fit(data.X[rows], data.y[rows], sample_weight=weight[rows], **first_call(kind))
        kept = rows.repeat(weight[rows])
        other.partial_fit(data.X[kept], data.y[kept], **first_call(kind))
    assert_same_posterior(model, other, data.X_test, rtol=1e-7)


@KIND
@HIDDEN
@pytest.mark.parametrize(("batch_size", "shuffle"), [("auto", True), (16, True), (16, False)])
def test_rows_without_weight_are_not_seen_at_all(kind, hidden, data, shuffle, batch_size):
    weight = np.random.default_rng(5).integers(0, 2, size=len(data.y)).astype(float)
    weight[:20] = 0
    kept = weight > 0
    X = np.where(kept[:, None], data.X, 1e6)
    y = data.y if kind is EPSNNClassifier else np.where(kept, data.y, -1e6)
    model, other = (kind(hidden, batch_size=batch_size, shuffle=shuffle, **FEW) for _ in range(2))
    assert_same_posterior(
        model.fit(X, y, sample_weight=weight), other.fit(data.X[kept], data.y[kept]), data.X_test, rtol=0
    )


# ---------------------------------------------------------------------- streaming and epochs


@KIND
@HIDDEN
@pytest.mark.parametrize("inference", ["newton", "average_ep"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # both ways, refused batches or not
def test_one_epoch_is_a_loop_of_partial_fit(kind, hidden, inference, data):
    """The set-up, too, may look at the first batch only; the last of the batches is a ragged one."""
    n = len(data.y) - 3
    options = {"hidden_layer_sizes": hidden, "inference": inference, "random_state": 0}
    fitted = kind(max_iter=1, shuffle=False, batch_size=32, **options).fit(data.X[:n], data.y[:n])
    stream = kind(**options)
    for start in range(0, n, 32):
        rows = slice(start, min(start + 32, n))
        stream.partial_fit(data.X[rows], data.y[rows], **first_call(kind))
    assert n % 32 != 0
    assert_same_posterior(fitted, stream, data.X_test, rtol=0)
    assert fitted.history_["step"] == stream.history_["step"]


@KIND
@HIDDEN
def test_stream_of_single_rows(kind, hidden, data):
    model = kind(hidden, random_state=0)
    for row in range(40):
        model.partial_fit(data.X[row : row + 1], data.y[row : row + 1], **first_call(kind))
    assert model.n_iter_ == 40
    assert np.isfinite(values(model, data.X_test)).all()


@KIND
def test_stream_learns(kind, data):
    model = kind()
    scores = []
    for rows in np.array_split(np.arange(len(data.y)), 6):
        scores.append(model.partial_fit(data.X[rows], data.y[rows], **first_call(kind)).score(data.X_test, data.y_test))
    assert scores[-1] > 0.7 and scores[-1] >= scores[0] - 0.05


@cache
def digits_permuted_in_mid_stream(forgetting, hidden):
    """Test accuracies after each of 12 batches; from the eighth on the labels are permuted."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order, permutation = rng.permutation(len(X)), rng.permutation(10)
    model = EPSNNClassifier(hidden, forgetting=forgetting, random_state=0)
    scores = []
    for batch, chosen in enumerate(np.split(order[:1200], 12)):
        labels = y if batch < 7 else permutation[y]
        model.partial_fit(X[chosen], labels[chosen], classes=np.arange(10))
        scores.append(model.score(X[order[1200:]], labels[order[1200:]]))
    return scores


@pytest.mark.parametrize("hidden", [(), (40,)], ids=["one layer", "hidden layer"])
def test_what_is_forgotten_makes_room_for_drift(hidden):
    scores = digits_permuted_in_mid_stream(0.5, hidden)
    assert scores[11] > scores[6] - 0.02
    assert scores[6] > 0.91


def test_without_forgetting_a_single_layer_recovers_slowly():
    assert digits_permuted_in_mid_stream(1.0, ())[11] < digits_permuted_in_mid_stream(0.5, ())[11] - 0.05


@KIND
@HIDDEN
def test_forgetting_one_changes_nothing(kind, hidden, data):
    models = [kind(hidden, random_state=0), kind(hidden, random_state=0, forgetting=1)]
    for model in models:
        for rows in np.array_split(np.arange(len(data.y)), 3):
            model.partial_fit(data.X[rows], data.y[rows], **first_call(kind))
    assert_same_posterior(*models, data.X_test, rtol=0)


@KIND
def test_forgetting_loses_certainty(kind, data):
    """What is forgotten widens the posterior."""
    variances = []
    for forgetting in (1.0, 0.5):
        model = kind(forgetting=forgetting, random_state=0)
        for rows in np.array_split(np.arange(len(data.y)), 3):
            model.partial_fit(data.X[rows], data.y[rows], **first_call(kind))
        variances.append(model.coefs_variance_[0].mean())
    assert variances[1] > 1.05 * variances[0]


@KIND
@HIDDEN
def test_a_stream_can_follow_a_fit(kind, hidden, data):
    model = kind(hidden, **FEW).fit(data.X[:40], data.y[:40])
    before = np.concatenate([variance.ravel() for variance in model.coefs_variance_]).mean()
    model.partial_fit(data.X[40:], data.y[40:])
    assert np.concatenate([variance.ravel() for variance in model.coefs_variance_]).mean() < before


@KIND
@HIDDEN
def test_max_iter_tol_and_history(kind, hidden, data):
    # Of a prior given as a number nothing is learned, and passes end when the energy has settled.
    newton = {"inference": "newton", "prior": GaussianPrior(variance=1.0), **all_rows(kind, hidden)}
    options = {"batch_size": 20, "random_state": 0, **newton}
    model = kind(hidden, max_iter=3, tol=0, **options).fit(data.X, data.y)
    assert model.n_iter_ == 3 and not model.converged_
    assert set(model.history_) == {"energy", "step"}
    assert len(model.history_["energy"]) == 3
    assert len(model.history_["step"]) == 3 * -(-len(data.y) // 20)
    assert all(0 < step <= 1 for step in model.history_["step"])
    loose = kind(hidden, max_iter=30, tol=0.5, random_state=0, **newton).fit(data.X, data.y)
    assert loose.n_iter_ < 30 and loose.converged_
    energy = loose.history_["energy"]
    assert abs(energy[-1] - energy[-2]) < 0.5
    assert all(abs(b - a) >= 0.5 for a, b in zip(energy[:-2], energy[1:-1], strict=True))


@KIND
def test_warm_start_continues(kind, data):
    whole = kind(max_iter=4, tol=0, shuffle=False, batch_size=20).fit(data.X, data.y)
    warm = kind(max_iter=2, tol=0, shuffle=False, batch_size=20, warm_start=True)
    warm.fit(data.X, data.y)
    assert warm.n_iter_ == 2
    warm.fit(data.X, data.y)
    assert warm.n_iter_ == 4 and len(warm.history_["energy"]) == 4
    assert_same_posterior(warm, whole, data.X_test, rtol=0)
    warm.set_params(warm_start=False).fit(data.X, data.y)
    assert warm.n_iter_ == 2


@KIND
def test_verbose_prints_one_line_an_epoch(kind, data, capsys):
    model = kind(max_iter=3, tol=0).fit(data.X, data.y)
    assert capsys.readouterr().out == ""
    model.set_params(verbose=1).fit(data.X, data.y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_ == 3
    for number, (text, energy) in enumerate(zip(lines, model.history_["energy"], strict=True), start=1):
        assert f"Iteration {number}," in text and f"{energy:.6f}" in text
    model.partial_fit(data.X, data.y)
    assert len(capsys.readouterr().out.splitlines()) == 1


@KIND
def test_refit_forgets_what_came_before(kind, data, freeze):
    model = kind((3,), **FEW).fit(data.X[:, :1], data.y)
    model.set_params(hidden_layer_sizes=(), max_iter=2).fit(data.X, data.y)
    fresh = kind(max_iter=2, random_state=0).fit(data.X, data.y)
    assert freeze(vars(model)) == freeze(vars(fresh))


# ---------------------------------------------------------------------- parameters


@KIND
@pytest.mark.parametrize("sizes", [4, (4,), [4], np.array([4])], ids=repr)
def test_hidden_layer_sizes_in_any_form(kind, data, sizes):
    options = {"max_iter": 1, "random_state": 0, **all_rows(kind, (4,))}
    model = kind(sizes, **options).fit(data.X, data.y)
    same = kind((4,), **options).fit(data.X, data.y)
    assert model.n_layers_ == 3
    np.testing.assert_array_equal(values(model, data.X_test), values(same, data.X_test))


@KIND
@pytest.mark.parametrize("name", ["prior__variance", "inference__temperature"])
def test_one_number_stands_for_every_layer(kind, data, name):
    # Thresholds do not depend on the scale of the weights, and so not on the variance of their prior; sigmoids do.
    def with_value(value):
        options = {"inference": Newton(), **all_rows(kind, (4,))}
        model = kind((4,), activation="sigmoid", prior=GaussianPrior(), max_iter=1, random_state=0, **options)
        return model.set_params(**{name: value}).fit(data.X, data.y)

    number, *lists = (with_value(value) for value in (0.5, [0.5, 0.5], (0.5, 0.5), np.array([0.5, 0.5])))
    for other in lists:
        np.testing.assert_array_equal(values(number, data.X_test), values(other, data.X_test))
    for value in ([0.5, 1.5], [1.5, 0.5], "auto"):
        other = with_value(value)
        assert not np.allclose(values(number, data.X_test), values(other, data.X_test), rtol=1e-4, atol=0)


@KIND
def test_temperature_sets_the_variances_that_are_read_out(kind, data):
    """At temperature T a stream of no information, weight close to 0, leaves T times the prior variance."""
    weight = np.full(len(data.y), 1e-9)
    cold, warm = (
        kind(
            prior=GaussianPrior(variance=1.0),
            inference=Newton(temperature=t),
            max_iter=1,
            **({} if kind is EPSNNClassifier else {"noise_variance": 1.0}),
        )
        .fit(data.X, data.y, sample_weight=weight)
        .coefs_variance_[0]
        for t in (0.5, 1.0)
    )
    np.testing.assert_allclose(warm, 1, rtol=1e-5)
    np.testing.assert_allclose(cold, 0.5, rtol=1e-5)


@KIND
@HIDDEN
def test_without_intercept_every_bias_is_exactly_zero(kind, hidden, data):
    options = {**FEW, **all_rows(kind, hidden)}
    model = kind(hidden, fit_intercept=False, **options).fit(data.X, data.y)
    assert all((b == 0).all() for b in [*model.intercepts_, *model.intercepts_variance_])
    assert any((b != 0).any() for b in kind(hidden, **options).fit(data.X, data.y).intercepts_)


# ---------------------------------------------------------------------- reproducibility


@KIND
def test_random_state_decides_the_result(kind, data):
    options = {"hidden_layer_sizes": (5,), "batch_size": 20, "max_iter": 2, **all_rows(kind, (5,))}
    first, again, other = (kind(random_state=seed, **options).fit(data.X, data.y) for seed in (3, 3, 4))
    generator = kind(random_state=np.random.RandomState(3), **options).fit(data.X, data.y)
    np.testing.assert_array_equal(values(first, data.X_test), values(again, data.X_test))
    np.testing.assert_array_equal(values(first, data.X_test), values(generator, data.X_test))
    assert not np.allclose(values(first, data.X_test), values(other, data.X_test), rtol=1e-3, atol=0)


@KIND
@HIDDEN
def test_global_random_state_is_left_alone(kind, hidden, data, freeze):
    before = freeze(np.random.get_state())  # noqa: NPY002
    model = kind(hidden, batch_size=20, **FEW).fit(data.X, data.y)
    values(model.partial_fit(data.X, data.y), data.X_test)
    assert freeze(np.random.get_state()) == before  # noqa: NPY002


@KIND
@HIDDEN
def test_n_jobs_does_not_change_the_result(kind, hidden, data, monkeypatch):
    monkeypatch.setattr("sk_epsnn.network.PREDICT_ROWS", 7)
    one, two = (kind(hidden, n_jobs=n, **FEW).fit(data.X, data.y) for n in (1, 2))
    np.testing.assert_array_equal(values(one, data.X_test), values(two, data.X_test))


@KIND
@HIDDEN
def test_prediction_in_chunks_is_the_same(kind, hidden, data, monkeypatch):
    model = kind(hidden, **FEW, **all_rows(kind, hidden)).fit(data.X, data.y)
    whole = values(model, data.X_test)
    monkeypatch.setattr("sk_epsnn.network.PREDICT_ROWS", 7)
    np.testing.assert_allclose(values(model, data.X_test), whole, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------- scikit-learn and joblib


@KIND
def test_grid_search_over_a_pipeline_with_an_encoder(kind, data):
    pipeline = make_pipeline(PopulationEncoder(output="rates", out_of_range="clip"), kind(max_iter=2))
    step = kind.__name__.lower()
    grid = {"populationencoder__n_neurons": [3, 6], f"{step}__max_iter": [1, 2]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=2).fit(data.X, data.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.score(data.X_test, data.y_test) > 0.5


@KIND
def test_cross_validation_and_clone(kind, data):
    model = kind((3,), max_iter=2, random_state=0, prior=GaussianPrior(variance=[1.0, 2.0]))
    scores = cross_val_score(model, data.X, data.y, cv=2)
    np.testing.assert_array_equal(scores, cross_val_score(clone(model), data.X, data.y, cv=2))
    assert not hasattr(model, "n_iter_")
    assert not hasattr(clone(model.fit(data.X, data.y)), "n_iter_")
    assert repr(clone(model)) == repr(model) and clone(model).prior is not model.prior


def test_calibration(blobs):
    model = CalibratedClassifierCV(EPSNNClassifier(max_iter=2), cv=2).fit(blobs.X, blobs.y)
    np.testing.assert_allclose(model.predict_proba(blobs.X_test).sum(axis=1), 1, rtol=1e-9)
    assert model.score(blobs.X_test, blobs.y_test) > 0.7


def test_one_versus_rest(blobs):
    model = OneVsRestClassifier(EPSNNClassifier(max_iter=2)).fit(blobs.X, blobs.y)
    assert model.score(blobs.X_test, blobs.y_test) > 0.7
    model = OneVsRestClassifier(EPSNNClassifier())
    for rows in np.array_split(np.arange(160), 3):
        model.partial_fit(blobs.X[rows], blobs.y[rows], classes=[0, 1, 2])
    assert model.score(blobs.X_test, blobs.y_test) > 0.7


def test_several_targets_of_a_classifier(blobs):
    Y = np.column_stack([blobs.y, blobs.y == 1])
    model = MultiOutputClassifier(EPSNNClassifier(max_iter=2)).fit(blobs.X, Y)
    single = EPSNNClassifier(max_iter=2).fit(blobs.X, blobs.y)
    np.testing.assert_array_equal(model.predict(blobs.X_test)[:, 0], single.predict(blobs.X_test))


@KIND
def test_return_std_and_probabilities_reach_through_a_pipeline(kind, data):
    model = make_pipeline(PopulationEncoder(n_neurons=4, output="rates"), kind(max_iter=2)).fit(data.X, data.y)
    if kind is EPSNNRegressor:
        assert (model.predict(data.X_test, return_std=True)[1] > 0).all()
    else:
        assert model.predict_proba(data.X_test).shape == (80, 3)


def test_dump_and_load_in_another_process(blobs, line, tmp_path):
    """Both kinds, with and without a hidden layer."""
    models, expected = [], []
    for kind, hidden in product((EPSNNClassifier, EPSNNRegressor), ((), (5,))):
        data = blobs if kind is EPSNNClassifier else line
        model = kind(hidden, **FEW).fit(data.X, data.y)
        models.append((model, data.X_test))
        expected.append(model.predict_proba(data.X_test) if kind is EPSNNClassifier else model.predict(data.X_test))
    joblib.dump(models, tmp_path / "models.joblib")
    code = (
        "import sys, joblib, numpy as np; folder = sys.argv[1]; models = joblib.load(folder + '/models.joblib'); "
        "results = [getattr(m, 'predict_proba' if hasattr(m, 'predict_proba') else 'predict')(X) for m, X in models]; "
        "joblib.dump(results, folder + '/results.joblib')"
    )
    path = os.pathsep.join([str(Path(sk_epsnn.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)], check=True, env={**os.environ, "PYTHONPATH": path}
    )
    for result, before in zip(joblib.load(tmp_path / "results.joblib"), expected, strict=True):
        np.testing.assert_array_equal(result, before)


@KIND
def test_pickle_keeps_everything(kind, data, freeze):
    unfitted = kind((3,), max_iter=2, random_state=0)
    assert freeze(vars(pickle.loads(pickle.dumps(unfitted)))) == freeze(vars(unfitted))
    fitted = unfitted.fit(data.X, data.y)
    copy = pickle.loads(pickle.dumps(fitted))
    assert freeze(vars(copy)) == freeze(vars(fitted))
    # A copy goes on where the original stopped, and does not share its history.
    copy.partial_fit(data.X, data.y)
    assert copy.n_iter_ == fitted.n_iter_ + 1 == len(fitted.history_["energy"]) + 1
    np.testing.assert_array_equal(values(copy, data.X_test), values(fitted.partial_fit(data.X, data.y), data.X_test))


@KIND
@pytest.mark.parametrize("version", ["0.0.0", None])
def test_loading_another_version_warns(kind, data, version):
    fitted = kind(max_iter=1).fit(data.X, data.y)
    state = fitted.__getstate__()
    assert state["_sk_epsnn_version"] == sk_epsnn.__version__
    if version is None:
        del state["_sk_epsnn_version"]
    else:
        state["_sk_epsnn_version"] = version
    loaded = kind()
    with pytest.warns(UserWarning, match="Refit it, or install the version that saved it") as record:
        loaded.__setstate__(state)
    assert (version or "unknown version") in str(record[0].message)
    assert not hasattr(loaded, "_sk_epsnn_version")
    np.testing.assert_array_equal(values(loaded, data.X_test), values(fitted, data.X_test))


def test_a_file_of_an_older_version_loads_with_a_warning():
    """A classifier of two hidden neurons, five rows and what it said of them, pickled with its version set to 0.0.1."""
    with pytest.warns(UserWarning, match="saved by sk_epsnn 0.0.1 and is loaded by"):
        stored = pickle.loads((Path(__file__).parent / "fixtures" / "version_0.0.1.pickle").read_bytes())
    model = stored["model"]
    np.testing.assert_allclose(model.predict_proba(stored["X"]), stored["probability"], rtol=1e-6)
    model.partial_fit(stored["X"], model.predict(stored["X"]))
    assert "EPSNNClassifier" in repr(model)


@KIND
def test_average_ep_that_diverges_is_refused(kind):
    """Uncentred binary inputs, the paper's damping: a warning that says what to do, and no NaN."""
    rng = np.random.default_rng(0)
    X = (rng.random((300, 40)) < 0.5).astype(float)
    y = X[:, :5].sum(1)
    model = kind(
        prior=GaussianPrior(variance=1.0),
        inference=AverageEP(damping=0.7, n_sweeps=100),
        max_iter=2,
        random_state=0,
    )
    target = (y > 2).astype(int) if kind is EPSNNClassifier else y
    with pytest.warns(ConvergenceWarning, match="Use inference='newton'"):
        model.fit(X, target)
    assert model.update_counts_["rejected_batches"] > 0
    assert np.isfinite(model.predict(X).astype(float)).all()
    assert np.isfinite(model.coefs_[0]).all() and (model.coefs_variance_[0] > 0).all()
    calm = kind(inference="newton", prior=GaussianPrior(variance=1.0), random_state=0).fit(X, target)
    assert calm.score(X, target) > 0.9
