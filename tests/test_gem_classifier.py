"""GEMSNNClassifier: labels, encodings, streams, decisions, what a fitted one says."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sk_epsnn import (
    GEM,
    IW,
    MB,
    SGD,
    EPSNNClassifier,
    ExponentialFilter,
    GEMSNNClassifier,
    GLMNeuron,
    RaisedCosineFilters,
    ReliabilityDisplay,
    to_nir,
)

FEW = {"hidden_layer_sizes": 12, "max_iter": 3, "n_steps": 8, "random_state": 0}


def sequences(n=120, n_steps=12, seed=0):
    """Two classes that differ in the order of two bursts, and samples of different lengths."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    X = np.zeros((n, n_steps, 2))
    X[np.arange(n), 2, y], X[np.arange(n), 6, 1 - y] = 1, 1
    X[np.arange(n), 3, y], X[np.arange(n), 7, 1 - y] = 1, 1
    return X, np.array(["left", "right"])[y]


@pytest.fixture(scope="module")
def fitted(digits):
    return GEMSNNClassifier(30, random_state=0).fit(digits.X, digits.y)


def test_digits_are_learned(fitted, digits):
    assert fitted.score(digits.X_test, digits.y_test) > 0.8
    probability = fitted.predict_proba(digits.X_test)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.predict_proba(digits.X_test), probability)
    np.testing.assert_allclose(fitted.predict_proba(digits.X_test[40:50]), probability[40:50], atol=1e-12)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(digits.X_test)), probability)


def test_times_alone_are_learned():
    X, y = sequences()
    model = GEMSNNClassifier(20, random_state=0).fit(X, y)
    assert model.score(*sequences(seed=1)) == 1
    assert model.n_steps_in_ == 12
    assert isinstance(model.settings_["activation__synapse"].value, RaisedCosineFilters)
    assert model.settings_["max_iter"].value == 200


def test_what_follows_the_end_of_a_sequence_does_not_matter():
    X, y = sequences()
    X[::2, 8:] = np.nan
    model = GEMSNNClassifier(**FEW).fit(X, y)
    probability = model.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X[::2, :9])[:, 0], probability[::2, 0], atol=1e-12)
    assert np.isnan(model.sample_spikes(X).hidden[0][0, :, 8:]).all()
    assert not np.isnan(model.sample_spikes(X).outputs[1]).any()


class TestEncode:
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(int)

    def test_auto_looks_at_the_values(self):
        for X, kind in ((self.X, "population"), (np.abs(self.X) / 5, "rates"), (np.tile(self.X, 11), "range")):
            assert GEMSNNClassifier(**FEW).fit(X, self.y)._range.kind == kind

    def test_units_do_not_matter_where_ranges_are_learned(self):
        for encode in ("range", "population"):
            model = GEMSNNClassifier(**FEW, encode=encode).fit(self.X, self.y)
            other = GEMSNNClassifier(**FEW, encode=encode).fit(1000 * self.X + 64, self.y)
            np.testing.assert_allclose(
                model.predict_proba(self.X), other.predict_proba(1000 * self.X + 64), atol=0.02, err_msg=encode
            )

    def test_values_that_are_no_rates_are_refused_by_name(self):
        model = GEMSNNClassifier(**FEW, encode="rates")
        with pytest.raises(ValueError, match=r"values from -.*PopulationEncoder.*MinMaxScaler"):
            model.fit(self.X, self.y)
        assert vars(model) == vars(GEMSNNClassifier(**FEW, encode="rates"))
        model.fit(MinMaxScaler().fit_transform(self.X), self.y)
        with pytest.raises(ValueError, match="encode='rates'"):
            model.predict(2 + self.X)

    def test_later_values_are_clipped(self):
        X = MinMaxScaler().fit_transform(self.X)
        model = GEMSNNClassifier(**FEW).fit(X, self.y)
        np.testing.assert_array_equal(model.predict_proba(5 * X), model.predict_proba(np.minimum(5 * X, 1)))

    def test_none_takes_values_as_they_are(self):
        model = GEMSNNClassifier(**FEW, encode="none").fit(self.X, self.y)
        assert not np.array_equal(model.predict_proba(self.X), model.predict_proba(np.clip(self.X, 0, 1)))

    def test_spikes_of_rows_are_shown_at_every_step(self):
        spikes = (self.X > 0).astype(float)
        rows = GEMSNNClassifier(**FEW, activation=GLMNeuron(synapse="exponential")).fit(spikes, self.y)
        steps = clone(rows).fit(np.repeat(spikes[:, None], 8, axis=1), self.y)
        for one, other in zip(rows.coefs_, steps.coefs_, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


class TestDecisions:
    def test_votes_are_multiples_of_a_share(self, digits):
        model = GEMSNNClassifier(**FEW, decision="votes", n_compartments_predict=4).fit(digits.X, digits.y)
        votes = 5 * model.predict_proba(digits.X_test) - 1 / 10
        np.testing.assert_allclose(votes.sum(axis=1), 4)
        assert (np.abs(60 * votes - np.rint(60 * votes)) < 1e-9).mean() > 0.9  # where no more than six are alike

    def test_temperature_flattens(self, fitted, digits):
        flat = GEMSNNClassifier(30, max_iter=20, random_state=0, temperature=5.0).fit(digits.X, digits.y)
        assert flat.predict_uncertainty(digits.X).total.mean() > fitted.predict_uncertainty(digits.X).total.mean() + 0.2

    def test_held_out_rows_say_the_temperature(self, digits):
        options = {"decision": "likelihood", "max_iter": 10, "n_steps": 20, "random_state": 0}
        plain = GEMSNNClassifier(30, **options).fit(digits.X, digits.y)
        tempered = GEMSNNClassifier(30, **options, temperature="held_out").fit(digits.X, digits.y)
        assert plain.temperature_ == 1
        assert tempered.temperature_ > 2  # steps are no independent evidence
        index = np.arange(len(digits.y_test)), digits.y_test
        nll = [-model.predict_log_proba(digits.X_test)[index].mean() for model in (plain, tempered)]
        assert nll[1] < nll[0]
        for one, other in zip(plain.coefs_, tempered.coefs_, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_temperature_is_refused_where_it_has_no_effect(self, digits):
        with pytest.raises(ValueError, match="no effect on decision='votes'"):
            GEMSNNClassifier(**FEW, decision="votes", temperature=2.0).fit(digits.X, digits.y)
        with pytest.raises(ValueError, match="give partial_fit a number"):
            GEMSNNClassifier(**FEW, temperature="held_out").partial_fit(digits.X, digits.y, classes=np.arange(10))
        with pytest.raises(ValueError, match="needs two rows of every class"):
            GEMSNNClassifier(**FEW, temperature="held_out").fit(digits.X[:20], digits.y[:20])

    @pytest.mark.parametrize("decision", ["steps", "votes", "likelihood"])
    def test_uncertainty_is_the_entropy_of_the_prediction(self, digits, decision):
        model = GEMSNNClassifier(**FEW, decision=decision).fit(digits.X, digits.y)
        probability = model.predict_proba(digits.X_test)
        total, aleatoric, disagreement = model.predict_uncertainty(digits.X_test)
        np.testing.assert_allclose(total, -(probability * np.log(probability)).sum(axis=1), rtol=1e-6)
        np.testing.assert_allclose(aleatoric + disagreement, total)
        assert (aleatoric >= 0).all()
        assert (disagreement >= 0).all()
        assert disagreement.max() > 0


class TestStream:
    def test_parts_are_learned_one_after_another(self, digits):
        model = GEMSNNClassifier(30, random_state=0)
        for part in np.array_split(np.arange(300), 6):
            model.partial_fit(digits.X[part], digits.y[part], classes=np.arange(10))
        assert model.n_iter_ == 6
        for _ in range(4):
            model.partial_fit(digits.X, digits.y)
        assert model.score(digits.X_test, digits.y_test) > 0.6

    def test_every_step_may_move_the_weights(self, digits):
        model = GEMSNNClassifier(30, update="step", random_state=0)
        for _ in range(2):
            model.partial_fit(digits.X, digits.y, classes=np.arange(10))
        assert len(model.history_["step"]) == 2 * 30 * 20
        assert model.score(digits.X_test, digits.y_test) > 0.6

    def test_a_stream_follows_a_fit(self, fitted, digits):
        model = pickle.loads(pickle.dumps(fitted)).partial_fit(digits.X[:10], digits.y[:10])
        assert model.history_["step"][-1] == 1.0
        assert model.n_iter_ == fitted.n_iter_ + 1

    def test_results_do_not_depend_on_how_a_model_was_kept(self, fitted, digits):
        parts = []
        for model in (pickle.loads(pickle.dumps(fitted)), pickle.loads(pickle.dumps(fitted))):
            parts.append(model.partial_fit(digits.X[:50], digits.y[:50]).coefs_)
        for one, other in zip(*parts, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_unknown_labels_leave_the_model_as_it_was(self, fitted, digits):
        model = pickle.loads(pickle.dumps(fitted))
        before = dict(vars(model))
        with pytest.raises(ValueError, match="not in classes"):
            model.partial_fit(digits.X[:5], digits.y[:5] + 90)
        assert vars(model) == before

    def test_the_first_call_names_the_classes(self, digits):
        with pytest.raises(ValueError, match="classes must be passed"):
            GEMSNNClassifier(**FEW).partial_fit(digits.X, digits.y)


class TestWarmStart:
    def test_goes_on(self, digits):
        model = GEMSNNClassifier(**FEW, warm_start=True).fit(digits.X, digits.y)
        first = model.log_likelihood_curve_[-1]
        model.fit(digits.X, digits.y)
        assert model.n_iter_ == 6
        assert model.log_likelihood_curve_[-1] > first

    @pytest.mark.parametrize("change", [{"hidden_layer_sizes": 5}, {"optimizer": "adam"}, {"input_to_output": True}])
    def test_of_another_network_is_refused(self, digits, change):
        model = GEMSNNClassifier(**FEW, warm_start=True).fit(digits.X, digits.y)
        with pytest.raises(ValueError, match="cannot take another"):
            model.set_params(**change).fit(digits.X, digits.y)


def test_weights_of_rows_and_classes(digits):
    X, y = digits.X, digits.y
    heavy = GEMSNNClassifier(**FEW).fit(X, y, sample_weight=np.where(y == 3, 20.0, 1.0))
    plain = GEMSNNClassifier(**FEW).fit(X, y)
    classes = GEMSNNClassifier(**FEW, class_weight={**dict.fromkeys(range(10), 1), 3: 20}).fit(X, y)
    share = [(model.predict(digits.X_test) == 3).mean() for model in (plain, heavy)]
    assert share[1] > share[0]
    np.testing.assert_array_equal(heavy.predict_proba(X), classes.predict_proba(X))
    kept = np.arange(300) % 3 > 0
    without = GEMSNNClassifier(**FEW).fit(X[kept], y[kept])
    absent = GEMSNNClassifier(**FEW).fit(X, y, sample_weight=kept.astype(float))
    np.testing.assert_array_equal(without.coefs_[0], absent.coefs_[0])


def test_the_bound_grows_with_the_compartments(fitted, digits):
    bounds = [fitted.score_log_likelihood(digits.X_test, digits.y_test, n) for n in (1, 4, 16)]
    assert bounds[0] < bounds[1] < bounds[2] < 0
    default = fitted.score_log_likelihood(digits.X_test, digits.y_test)
    assert default == fitted.score_log_likelihood(digits.X_test, digits.y_test, 10)
    with pytest.raises(ValueError, match="not in classes"):
        fitted.score_log_likelihood(digits.X_test, digits.y_test + 1)


def test_spikes_are_those_of_the_predictions(digits):
    model = GEMSNNClassifier((12, 7), max_iter=2, n_steps=8, decision="votes", random_state=0).fit(digits.X, digits.y)
    hidden, outputs = model.sample_spikes(digits.X_test)
    assert [layer.shape for layer in hidden] == [(300, 10, 8, 12), (300, 10, 8, 7)]
    counts = outputs.sum(axis=2)
    best = counts == counts.max(axis=-1, keepdims=True)
    votes = ((best / best.sum(axis=-1, keepdims=True)).sum(axis=1) + 0.1) / 11
    np.testing.assert_allclose(model.predict_proba(digits.X_test), votes, atol=1e-9)
    other = model.sample_spikes(digits.X_test[:5], 3, random_state=1)
    assert other.outputs.shape == (5, 3, 8, 10)
    assert not np.array_equal(other.hidden[0], hidden[0][:5, :3])
    np.testing.assert_allclose(model.spike_rates_, [layer.mean() for layer in hidden], atol=0.05)


def test_what_a_fitted_model_holds(fitted):
    assert [coef.shape for coef in fitted.coefs_] == [(1, 64, 30), (1, 30, 10)]
    assert [bias.shape for bias in fitted.intercepts_] == [(30,), (10,)]
    assert fitted.recurrent_coefs_ == [None, None]
    assert fitted.feedback_coefs_ == [None, None]
    assert fitted.skip_coefs_ is None
    assert (fitted.n_layers_, fitted.n_outputs_, fitted.n_iter_) == (3, 10, 100)
    assert fitted.log_likelihood_curve_[-1] > fitted.log_likelihood_curve_[0]
    assert 1 <= fitted.effective_sample_size_ <= 5
    assert fitted.n_spikes_ == pytest.approx(5 * 30 * fitted.spike_rates_[0])
    assert fitted.communication_ == {"from_outputs": 50, "to_neurons": 200}
    assert fitted.settings_["inference__trace_decay"].value == 0.05
    for name in ("coefs_", "settings_", "n_iter_"):
        with pytest.raises(AttributeError, match="after fit"):
            getattr(GEMSNNClassifier(), name)


def test_every_wiring_learns_and_has_its_weights():
    X, y = sequences()
    neuron = GLMNeuron(synapse=RaisedCosineFilters(n_filters=3, memory=8), delay=1, feedback=True, recurrent=True)
    for update in ("sequence", "step"):
        model = GEMSNNClassifier((6, 5), activation=neuron, input_to_output=True, update=update, max_iter=4).fit(X, y)
        assert model.skip_coefs_.shape == (3, 2, 2)
        assert [None if a is None else a.shape for a in model.recurrent_coefs_] == [(3, 6, 6), (3, 5, 5), None]
        assert [a.shape for a in model.feedback_coefs_] == [(6,), (5,), (2,)]
        assert not np.einsum("fii->fi", model.recurrent_coefs_[0]).any()
        assert model.log_likelihood_curve_[-1] > model.log_likelihood_curve_[0]
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_without_hidden_layers_it_is_a_generalized_linear_model(digits):
    model = GEMSNNClassifier((), max_iter=10, random_state=0).fit(digits.X, digits.y)
    assert model.score(digits.X_test, digits.y_test) > 0.8
    assert model.spike_rates_.shape == (0,)
    assert model.predict_uncertainty(digits.X_test).disagreement.max() < 1e-9


class TestRefusals:
    X, y = np.eye(4).repeat(3, axis=0), np.arange(12) % 2

    @pytest.mark.parametrize(
        "options, text",
        [
            ({"inference": GEM(n_compartments=1)}, "never moves hidden weights.*inference='mb'"),
            ({"inference": IW(n_compartments=1)}, "n_compartments"),
            ({"hidden_layer_sizes": (), "input_to_output": True}, "has already"),
            ({"hidden_layer_sizes": (), "activation": GLMNeuron(recurrent=True)}, "there are none"),
            ({"hidden_layer_sizes": (0,)}, "must be positive"),
            ({"activation": GLMNeuron(delay=2)}, "delay"),
            ({"activation": GLMNeuron(synapse=ExponentialFilter(decay=1.0))}, "decay"),
            ({"optimizer": SGD(learning_rate=-1.0)}, "learning_rate"),
        ],
    )
    def test_parameters_that_do_not_go_together(self, options, text):
        model = GEMSNNClassifier(**options)
        with pytest.raises(ValueError, match=text):
            model.fit(self.X, self.y)
        with pytest.raises(NotFittedError):
            model.predict(self.X)

    @pytest.mark.parametrize("update", ["sequence", "step"])
    def test_steps_that_are_too_long(self, update):
        model = GEMSNNClassifier(**FEW, update=update, optimizer=SGD(learning_rate=1e39))
        with pytest.raises(ValueError, match="no longer finite.*learning_rate"):
            model.fit(self.X, self.y)
        assert not hasattr(model, "classes_")

    def test_targets_for_every_step(self):
        X, y = sequences(20)
        with pytest.raises(ValueError, match=r"one target for each sample: give it the shape \(n_samples,\)\.$"):
            GEMSNNClassifier(**FEW).fit(X, np.repeat(y[:, None], 12, axis=1))

    def test_objects_are_named_before_their_parameters(self):
        with pytest.raises(ValueError, match=r"set inference to one that has it first, such as .*GEM\(\)"):
            GEMSNNClassifier().set_params(inference__n_compartments=3)


@pytest.mark.parametrize("rule", ["gem", "mb", "iw", GEM(center=False), MB(n_compartments=4)], ids=str)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_rule_learns(rule, optimizer, digits):
    model = GEMSNNClassifier(20, inference=rule, optimizer=optimizer, max_iter=8, random_state=0)
    curve = model.fit(digits.X, digits.y).log_likelihood_curve_
    assert curve[-1] > curve[0] + 10


def test_as_published_is_the_authors_wiring():
    model = GEMSNNClassifier.as_published(n_compartments=3, hidden_layer_sizes=8, n_steps=10, random_state=0)
    assert model.activation.delay == 1
    assert not model.inference.center
    X, y = sequences(40)
    model.fit(X, y)
    assert model.network_.skip
    assert model.network_.recurrent
    assert len(model.history_["step"]) == 40 * 12
    assert model.coefs_[0].shape == (8, 2, 8)


def test_searches_reach_inside(digits):
    grid = {"inference__n_compartments": [2, 4], "activation__synapse__decay": [0.0, 0.5]}
    neuron = GLMNeuron(synapse=ExponentialFilter())
    model = GEMSNNClassifier(10, max_iter=1, n_steps=5, activation=neuron, inference=GEM(), random_state=0)
    search = GridSearchCV(model, grid, cv=2, n_jobs=2).fit(digits.X, digits.y)
    assert set(search.best_params_) == set(grid)


def test_pipelines_and_displays(digits):
    model = make_pipeline(MinMaxScaler(), GEMSNNClassifier(**FEW)).fit(digits.X, digits.y)
    display = ReliabilityDisplay.from_estimator(model, digits.X_test, digits.y_test)
    assert display.figure_ is not None


def test_passes_are_told(digits, capsys):
    GEMSNNClassifier(**FEW, verbose=1).fit(digits.X, digits.y)
    assert capsys.readouterr().out.count("nats") == 3


def test_the_first_words_are_those_of_the_other_family():
    mine, other = GEMSNNClassifier().get_params(deep=False), EPSNNClassifier().get_params(deep=False)
    shared = set(mine) & set(other)
    assert {"hidden_layer_sizes", "activation", "inference", "batch_size", "max_iter", "class_weight"} < shared


def test_exports_refuse_by_name(fitted):
    with pytest.raises(TypeError, match="GEMSNNClassifier"):
        to_nir(fitted)


def test_sparse_rows_and_other_arrays_are_refused(digits):
    with pytest.raises(TypeError, match="Sparse data was passed"):
        GEMSNNClassifier(**FEW).fit(sparse.csr_array(digits.X), digits.y)
