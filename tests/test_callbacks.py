"""scikit-learn's callbacks: progress, scores after each pass, stopping; alone, in a pipeline and in a search."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, GEMSNNClassifier, Newton

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks since 1.9")

SCORE = {EPSNNClassifier: "accuracy", EPSNNRegressor: "r2"}
KIND = pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])


@pytest.fixture
def data(kind, blobs, line):
    return blobs if kind is EPSNNClassifier else line


def slow(kind, **params):
    """An estimator that makes three passes."""
    return kind(max_iter=3, tol=0, batch_size=20, random_state=0, **params)


class Recorder:
    """Notes what it is told and stops after so many passes."""

    def __init__(self, stop_after=None, fails=False):
        self.stop_after, self.fails = stop_after, fails
        self.events, self.models = [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"{context.task_name} begins")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.events.append(f"{context.task_name} ends")
        self.data = X, y, metadata
        if context.task_name == "pass":
            self.models.append(fitted_estimator)
            if self.fails:
                raise RuntimeError("the callback failed")
            return len(self.models) == self.stop_after

    def teardown(self, estimator, context):
        self.events.append("teardown")


@KIND
def test_what_callbacks_are_told(kind, data):
    recorder = Recorder()
    model = slow(kind).set_callbacks(recorder).fit(data.X, data.y)
    passes = ["pass begins", "pass ends"] * 3
    assert recorder.events == ["setup", "fit begins", *passes, "fit ends", "teardown"]
    np.testing.assert_array_equal(recorder.data[0], data.X)
    np.testing.assert_array_equal(recorder.data[1], data.y)
    assert recorder.data[2] is None
    weight = np.linspace(0.5, 1, len(data.y))
    model.fit(data.X, data.y, sample_weight=weight)
    np.testing.assert_array_equal(recorder.data[2]["sample_weight"], weight)


@pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])
def test_callbacks_are_told_of_the_steps_of_sequences(kind):
    """A callback may score the model on what it is told."""
    X, y = np.random.default_rng(0).normal(size=(30, 4, 3)), np.arange(30) % 2
    X[5, 2:] = np.nan
    recorder = Recorder()
    slow(kind).set_callbacks(recorder).fit(X, y)
    np.testing.assert_array_equal(recorder.data[0], X)
    assert recorder.models[0].predict(recorder.data[0]).shape == (30,)


@KIND
@pytest.mark.parametrize("hidden", [(), (5,)], ids=["one layer", "hidden layer"])
def test_the_model_after_each_pass_is_that_of_a_shorter_fit(kind, hidden, data):
    """What a callback is given does not change while training goes on."""
    # No row is held out, no temperature is chosen, and no rate falls by the number of passes.
    held_out = kind is EPSNNRegressor and hidden
    options = {"inference": Newton(n_sweeps=3, temperature=0.5, validation_fraction=0 if held_out else "auto")}
    recorder = Recorder()
    slow(kind, hidden_layer_sizes=hidden, **options).set_callbacks(recorder).fit(data.X, data.y)
    for n_passes, then in enumerate(recorder.models, 1):
        shorter = slow(kind, hidden_layer_sizes=hidden, **options).set_params(max_iter=n_passes).fit(data.X, data.y)
        np.testing.assert_array_equal(then.predict(data.X_test), shorter.predict(data.X_test))
        np.testing.assert_array_equal(then.coefs_[0], shorter.coefs_[0])
        assert then.history_ == shorter.history_
        assert then.n_iter_ == n_passes


@KIND
def test_a_callback_stops_training(kind, data):
    model = slow(kind).set_callbacks(Recorder(stop_after=2)).fit(data.X, data.y)
    assert model.n_iter_ == 2 and not model.converged_
    plain = slow(kind).set_params(max_iter=2).fit(data.X, data.y)
    np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])


@KIND
def test_scores_after_each_pass(kind, data):
    monitor = callback.ScoringMonitor(scoring=SCORE[kind])
    model = slow(kind).set_callbacks(monitor).fit(data.X, data.y)
    logs = monitor.get_logs().data
    scores = [log[SCORE[kind]] for log in logs if log["task_name"] == "pass"]
    assert len(scores) == model.n_iter_ == 3
    assert scores[-1] == model.score(data.X, data.y)


@KIND
def test_nested_in_pipeline_and_parallel_search(kind, data):
    monitor = callback.ScoringMonitor(scoring=SCORE[kind])
    pipeline = make_pipeline(StandardScaler(), slow(kind, inference=Newton()).set_callbacks(monitor))
    name = f"{kind.__name__.lower()}__inference__temperature"
    search = GridSearchCV(pipeline, {name: [0.2, 1.0]}, cv=2, n_jobs=2).fit(data.X, data.y)
    logs = monitor.get_logs().data
    # Two settings on two folds, and the best on all rows, three passes each.
    assert sum(log["task_name"] == "pass" for log in logs) == 5 * 3
    assert search.best_estimator_[-1].n_iter_ == 3


@KIND
def test_progress_bar(kind, data, capsys):
    pytest.importorskip("rich", reason="the progress bar of scikit-learn needs rich")
    make_pipeline(StandardScaler(), slow(kind)).set_callbacks(callback.ProgressBar()).fit(data.X, data.y)
    assert kind.__name__ in capsys.readouterr().out


@KIND
def test_failing_callback_leaves_the_model_and_is_torn_down(kind, data):
    model = slow(kind).fit(data.X, data.y)
    before = dict(vars(model))
    predicted = model.predict(data.X_test)
    recorder = Recorder(fails=True)
    with pytest.raises(RuntimeError, match="the callback failed"):
        model.set_callbacks(recorder).fit(data.X[:30], data.y[:30])
    assert recorder.events[-1] == "teardown"
    model.set_callbacks()
    assert vars(model) == before
    np.testing.assert_array_equal(model.predict(data.X_test), predicted)


@KIND
def test_bad_input_tears_down_too(kind, data):
    recorder = Recorder()
    model = slow(kind).set_callbacks(recorder)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.where(data.X > 0, data.X, np.nan), data.y)
    assert recorder.events == ["setup", "teardown"]
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(model, "n_iter_")


@KIND
def test_a_stream_calls_no_callbacks(kind, data):
    recorder = Recorder()
    more = {"classes": [0, 1, 2]} if kind is EPSNNClassifier else {}
    slow(kind).set_callbacks(recorder).partial_fit(data.X, data.y, **more)
    assert recorder.events == []


def test_passes_of_gem_snns(blobs):
    """They are told alike, may be stopped, and each model stays what it was."""
    recorder = Recorder(stop_after=2)
    model = GEMSNNClassifier(5, max_iter=4, n_steps=5, random_state=0).set_callbacks(recorder).fit(blobs.X, blobs.y)
    assert model.n_iter_ == 2
    assert recorder.events == ["setup", "fit begins", *["pass begins", "pass ends"] * 2, "fit ends", "teardown"]
    first, second = (then.predict_proba(blobs.X) for then in recorder.models)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(second, model.predict_proba(blobs.X))
