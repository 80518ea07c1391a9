"""Training by steps on mini-batches: rates that are tried, passes that are undone, and what estimators make of it."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from states import design, linear_batch, one_layer, output_of, priors_of, random_state, with_layer

from sk_epsnn import BernoulliGaussianPrior, EPSNNClassifier, EPSNNRegressor, GaussianPrior, Stochastic, merge
from sk_epsnn.ep import stochastic_trainer
from sk_epsnn.ep.energy import energy, log_evidence
from sk_epsnn.ep.stochastic import Diverged, arrived, begin, natural_step
from sk_epsnn.ep.stochastic_trainer import (
    LEAST_TRIAL,
    LONGEST_RATE,
    MOST_HALVINGS,
    NEARLY,
    SLACK,
    TRIAL_BATCHES,
    WAY_PER_TRIAL,
    StochasticTrainer,
)
from sk_epsnn.estimators import _planner_ep
from sk_epsnn.training import Course, Progress, Rows, one_pass

N_ROWS = 240
COURSE = Course(batch_size=20, equal_batches=False, n_passes=4, tol=0.0, shuffle=False)


def seeded(seed=0):
    return np.random.RandomState(seed)


def trainer_of(n_passes=4, rate=None, **options):
    return StochasticTrainer(design(), False, n_passes=n_passes, learning_rate=rate, **options)


def problem(kind="sigmoid", hidden=False, n_rows=N_ROWS):
    """A state, the rows to train it on, and the same as a batch, whose last input is the constant."""
    state = random_state([5, 8, 2], output=kind) if hidden else one_layer(5, 2, output_of(kind, 2))
    batch = linear_batch(n_rows, 5, 2, kind)
    return state, Rows(batch.inputs.mean[:, :-1], batch.target, batch.sample_weight), batch


def run(trainer, state, rows, n_passes=1, course=COURSE):
    progress, rng = Progress(state), seeded()
    shards, objectives = course.shards(rows, rng), []
    for _ in range(n_passes):
        progress, objective = one_pass(trainer, progress, shards, course, rng)
        objectives.append(objective)
    return progress, objectives


def energy_of(state, batch):
    return energy(state, batch, state.posteriors, priors_of(state))


def walked(state, batch, rate, n_batches, n_passes=4):
    """By hand; None if it diverges."""
    state = begin(state, rate)
    with np.errstate(all="ignore"):
        try:
            for k in range(n_batches):
                state, _, _ = natural_step(state, batch.take(slice(20 * k, 20 * k + 20)), batch.mass, n_passes)
        except (Diverged, np.linalg.LinAlgError):
            return None
    return state


# The first rate


def cold(state):
    return state


def badly_scaled(state):
    """Variances of the first layer a thousand times too large, and everything hot: the second order is no guide."""
    first = state.layers[0]
    wide = type(first.prior)(1e-3 * first.prior.precision, 30 * first.prior.mean)
    return with_layer(state, 0, prior=wide, posterior=wide, temperature=3.0)


@pytest.mark.parametrize(("change", "hidden"), [(cold, False), (cold, True), (badly_scaled, True)])
def test_the_longest_rate_is_taken_whose_energy_is_nearly_the_best(change, hidden):
    """1, 1/2, 1/4, ... until that no longer helps, by the energy after the first batches."""
    state, rows, batch = problem(hidden=hidden)
    state = change(state)
    n_batches = N_ROWS // 20
    n_tried = max(LEAST_TRIAL, 4 * n_batches // WAY_PER_TRIAL)
    assert n_tried < min(n_batches, TRIAL_BATCHES)
    rates = [LONGEST_RATE / 2**k for k in range(MOST_HALVINGS)]
    tried = [walked(state, batch, rate, n_tried) for rate in rates]
    energies = [-np.inf if end is None else energy_of(end, batch) for end in tried]
    last = next(k for k in range(MOST_HALVINGS) if np.isfinite(energies[k]) and not energies[k + 1] > energies[k])
    best = next(k for k in range(last + 1) if energies[k] >= energies[last] - NEARLY * abs(energies[last]))
    progress, (objective,) = run(trainer_of(), state, rows)
    end = walked(state, batch, rates[best], n_batches)
    assert progress.history["step"][0] == rates[best]
    assert objective * batch.mass == pytest.approx(energy_of(end, batch), rel=1e-9)
    np.testing.assert_allclose(progress.state.posteriors[0].mean, end.posteriors[0].mean, rtol=1e-9)


def test_rates_are_tried_on_the_first_batches_only(monkeypatch):
    """The rest of the pass is gone once, from the best end."""
    seen, step = [], natural_step

    def counted(state, batch, *rest):
        seen.append((state.walk.rate, state.walk.n_steps))
        return step(state, batch, *rest)

    monkeypatch.setattr(stochastic_trainer, "natural_step", counted)
    state, rows, _ = problem()
    progress, _ = run(trainer_of(n_passes=30), state, rows, course=replace(COURSE, batch_size=8))
    tried = {rate for rate, n in seen if n == 0}
    assert len(tried) >= 2 and max(tried) == LONGEST_RATE
    assert sum(n >= TRIAL_BATCHES for _, n in seen) == 240 // 8 - TRIAL_BATCHES
    assert len(progress.history["step"]) == 30
    assert progress.state.counts.halved_rates == 0


def test_a_rate_that_is_given_is_not_tried():
    state, rows, batch = problem()
    progress, _ = run(trainer_of(rate=0.125), state, rows)
    assert progress.history["step"][0] == 0.125
    end = walked(state, batch, 0.125, 12)
    np.testing.assert_allclose(progress.state.posteriors[0].mean, end.posteriors[0].mean, rtol=1e-9)


# Passes that are undone


def diverging(above):
    """Steps that are not finite at rates above a limit."""

    def instead(state, batch, total_mass, n_passes):
        if state.walk.rate > above:
            raise Diverged
        return natural_step(state, batch, total_mass, n_passes)

    return instead


@pytest.mark.parametrize("error", ["diverges", "singular", "worse"])
def test_a_pass_that_fails_is_undone_and_goes_at_half_the_rate(error, monkeypatch):
    """In the third pass: what two passes have learned is kept, and counted is one halving."""
    state, rows, batch = problem()
    trainer = trainer_of(rate=0.25)
    two, _ = run(trainer, state, rows, 2)

    def failing(state, batch, total_mass, n_passes):
        after, evidence, rate = natural_step(state, batch, total_mass, n_passes)
        if state.walk.rate > 0.2 and state.walk.n_steps == 30:
            if error == "diverges":
                raise Diverged
            if error == "singular":
                raise np.linalg.LinAlgError
            q = after.layers[0].posterior
            after = with_layer(after, 0, posterior=q.with_mean(-9 * q.mean))
        return after, evidence, rate

    monkeypatch.setattr(stochastic_trainer, "natural_step", failing)
    three, objectives = run(trainer, state, rows, 3)
    assert three.state.counts.halved_rates == 1
    assert three.state.walk.rate == 0.125
    np.testing.assert_allclose(three.history["step"][:24], two.history["step"], rtol=1e-12)
    assert three.history["step"][24] == pytest.approx(0.5 * 0.25 * 0.1**0.5)
    assert objectives[2] >= objectives[1] - SLACK * 3
    # It is the pass from there at half the rate and half the velocity.
    halved = replace(two.state.walk, rate=0.125)
    halved = replace(halved, layers=tuple(replace(way, velocity=0.5 * way.velocity) for way in halved.layers))
    by_hand = replace(two.state, walk=halved)
    for k in range(12):
        by_hand, _, _ = natural_step(by_hand, batch.take(slice(20 * k, 20 * k + 20)), batch.mass, 4)
    np.testing.assert_allclose(three.state.posteriors[0].mean, by_hand.posteriors[0].mean, rtol=1e-9)


@pytest.mark.parametrize(("limit", "halvings"), [(0.6, 1), (0.13, 3)])
def test_rates_are_halved_until_a_pass_is_finite(limit, halvings, monkeypatch):
    monkeypatch.setattr(stochastic_trainer, "natural_step", diverging(limit))
    state, rows, _ = problem()
    progress, _ = run(trainer_of(rate=1.0), state, rows)
    assert progress.state.counts.halved_rates == halvings
    assert progress.history["step"][0] == 0.5**halvings
    # Where the rate is tried, it is tried until then, and nothing has to be undone.
    progress, _ = run(trainer_of(), state, rows)
    assert progress.state.counts.halved_rates == 0 and progress.history["step"][0] <= limit


def test_where_no_rate_helps_the_posterior_stays(monkeypatch):
    monkeypatch.setattr(stochastic_trainer, "natural_step", diverging(0.0))
    state, rows, batch = problem()
    for rate in (None, 0.5):
        progress, objectives = run(trainer_of(rate=rate), state, rows, 3)
        assert progress.state.posteriors == state.posteriors
        assert progress.state.counts.halved_rates == MOST_HALVINGS
        assert progress.state.counts.rejected_batches == 1
        np.testing.assert_allclose(objectives, energy_of(state, batch) / batch.mass, rtol=1e-9)
        assert progress.history["step"] == [0.0] * 3


def test_the_last_pass_ends_in_the_average_where_that_is_no_worse(monkeypatch):
    state, rows, batch = problem()
    trainer = trainer_of(n_passes=2, rate=0.125)
    progress, objectives = run(trainer, state, rows, 2)
    assert progress.state.counts.halved_rates == 0
    plain = begin(state, 0.125)
    for k in range(24):
        k = k % 12
        plain, _, _ = natural_step(plain, batch.take(slice(20 * k, 20 * k + 20)), batch.mass, 2)
    choices = [energy_of(plain, batch), energy_of(arrived(plain), batch)]
    assert objectives[1] * batch.mass == pytest.approx(max(choices), rel=1e-9)
    assert choices[0] != choices[1]

    def far(state):
        q = state.layers[0].posterior
        return with_layer(state, 0, posterior=q.with_mean(5 - q.mean))

    monkeypatch.setattr(stochastic_trainer, "arrived", far)
    progress, objectives = run(trainer, state, rows, 2)
    assert objectives[1] * batch.mass == pytest.approx(choices[0], rel=1e-9)
    np.testing.assert_allclose(progress.state.posteriors[0].mean, plain.posteriors[0].mean, rtol=1e-9)


def test_energies_of_many_rows_are_judged_from_some(monkeypatch):
    """Evenly spaced, and counting for all."""
    monkeypatch.setattr(stochastic_trainer, "CHECKED_ROWS", 60)
    state, rows, batch = problem()
    progress, (objective,) = run(trainer_of(rate=0.125), state, rows)
    judges = batch.take(np.unique(np.linspace(0, N_ROWS - 1, 60).astype(int)))
    end = progress.state
    cost = log_evidence(end, batch, end.posteriors) - energy_of(end, batch)
    expected = log_evidence(end, judges, end.posteriors) * N_ROWS / 60 - cost
    assert objective * N_ROWS == pytest.approx(expected, rel=1e-9)


def test_what_only_the_steps_need_is_forgotten_at_the_end():
    state, rows, _ = problem()
    progress, _ = run(trainer_of(), state, rows, 2)
    assert progress.state.walk is not None
    ended = trainer_of().finish(progress.state, N_ROWS)
    assert ended.walk is None and ended.mass == N_ROWS
    assert trainer_of().resume(progress.state, N_ROWS).walk is None


def test_shards_go_apart_from_one_start_and_meet():
    """A Gaussian layer: one full-batch step of each shard, in closed form, and their mean in natural parameters."""
    state, rows, batch = problem("gaussian")
    rows, batch = rows._replace(target=0.2 * rows.target), replace(batch, target=0.2 * batch.target)
    course = replace(COURSE, batch_size=1000, n_shards=3)
    progress, _ = run(trainer_of(rate=0.5, n_passes=10), state, rows, course=course)
    ends = []
    for k in range(3):
        end, _, _ = natural_step(begin(state, 0.5), batch.take(slice(80 * k, 80 * k + 80)), batch.mass, 10)
        ends.append(end.posteriors[0])
    precision = np.mean([q.precision for q in ends], axis=0)
    shift = np.mean([q.precision * q.mean for q in ends], axis=0)
    np.testing.assert_allclose(progress.state.posteriors[0].precision, precision, rtol=1e-9)
    np.testing.assert_allclose(progress.state.posteriors[0].mean, shift / precision, rtol=1e-9)
    assert len(progress.history["step"]) == 3


# Estimators

X = np.random.default_rng(0).normal(size=(N_ROWS, 4))
SIGNAL = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
LABELS = (SIGNAL > -0.5).astype(int) + (SIGNAL > 0.5)
TARGETS = SIGNAL + 0.2 * np.random.default_rng(1).normal(size=N_ROWS)
KINDS = {EPSNNClassifier: LABELS, EPSNNRegressor: TARGETS}
KIND = pytest.mark.parametrize("kind", KINDS)
#: Little enough that many fits are affordable.
SHORT = {"n_passes": 4, "temperature": 0.5}


def model_of(kind, hidden=8, *, inference=(), **options):
    short = Stochastic(**{**SHORT, **dict(inference)})
    return kind(hidden, inference=short, **{"random_state": 0, "batch_size": 40, **options})


def said(model, rows=X):
    """Predictions and their uncertainties, in float64."""
    first = model.predict_log_proba(rows) if isinstance(model, EPSNNClassifier) else model.predict(rows)[:, None]
    parts = model.predict_uncertainty(rows)
    return np.hstack([first, *(np.asarray(part)[:, None] for part in parts)]).astype(np.float64)


def all_rows(kind):
    return {"validation_fraction": 0, "final_sweeps": 1}


@KIND
@pytest.mark.parametrize("n_shards", [1, 4])
def test_the_same_bits_wherever_it_runs(kind, n_shards):
    y = KINDS[kind]
    one, two = (model_of(kind, n_shards=n_shards, n_jobs=n_jobs).fit(X, y) for n_jobs in (None, 2))
    np.testing.assert_array_equal(said(one), said(two))
    assert one.history_ == two.history_
    other = model_of(kind, n_shards=n_shards, random_state=1).fit(X, y)
    assert (said(other) != said(one)).any()


@KIND
def test_shards_learn_about_as_much(kind):
    one, four = (
        model_of(kind, n_shards=n, inference={"n_passes": 10, "final_sweeps": 0}).fit(X, KINDS[kind]) for n in (1, 4)
    )
    assert four.score(X, KINDS[kind]) > one.score(X, KINDS[kind]) - 0.15


@KIND
@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
def test_sparse_rows_are_dense_rows(kind, container):
    spikes, y = np.where(X > 0.5, 1.0, 0.0), KINDS[kind]
    dense, model = (model_of(kind).fit(rows, y) for rows in (spikes, container(spikes)))
    np.testing.assert_allclose(said(model, container(spikes)), said(dense, spikes), rtol=1e-7, atol=1e-9)


@KIND
def test_single_precision_gives_nearly_the_same(kind, monkeypatch):
    """Whether the rows are in it, or hidden layers work in it."""
    y = KINDS[kind]
    double = model_of(kind).fit(X, y)
    rows = model_of(kind).fit(X.astype(np.float32), y)
    monkeypatch.setattr(_planner_ep, "SINGLE_ROWS", 0)
    inside = model_of(kind).fit(X, y)
    for model, at in ((rows, X.astype(np.float32)), (inside, X)):
        assert np.sqrt(np.mean((said(model, at) - said(double)) ** 2)) < 0.02 * np.std(said(double))
        np.testing.assert_allclose(model.history_["energy"], double.history_["energy"], atol=0.02)
    assert (said(inside) != said(double)).any()
    assert inside._progress.state.posteriors[0].precision.dtype == np.float64


@KIND
def test_weight_two_is_the_row_twice(kind):
    """Exactly where all rows are one batch; in mini-batches, whose rows are others, it is as good a model."""
    weight = np.random.default_rng(5).integers(0, 3, N_ROWS)
    repeated, y = (X.repeat(weight, axis=0), KINDS[kind].repeat(weight)), KINDS[kind]
    inference = {**all_rows(kind), "n_passes": 12}
    model, other = (model_of(kind, batch_size=1000, inference=inference) for _ in range(2))
    model.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(said(model), said(other.fit(repeated[0], repeated[1])), rtol=1e-6, atol=1e-8)
    few, other = (model_of(kind, batch_size=60, inference=inference) for _ in range(2))
    few.fit(X, y, sample_weight=weight)
    assert few._progress.state.mass == other.fit(*repeated)._progress.state.mass == weight.sum()
    assert few.score(*repeated) > other.score(*repeated) - 0.1


@KIND
def test_rows_without_weight_are_not_there(kind):
    weight = (np.arange(N_ROWS) % 3 > 0).astype(float)
    y = np.where(weight > 0, KINDS[kind], KINDS[kind][::-1])
    model = model_of(kind).fit(np.where(weight[:, None] > 0, X, 1e6), y, sample_weight=weight)
    other = model_of(kind).fit(X[weight > 0], y[weight > 0])
    np.testing.assert_array_equal(said(model), said(other))


@pytest.mark.parametrize("kind", KINDS)
def test_a_learning_rate_far_too_large_ends_well(kind):
    """Passes are undone until they are fit to go on from, and what was learned is more than nothing."""
    model = model_of(kind, inference={"learning_rate": 100.0, "n_passes": 10, **all_rows(kind)}).fit(X, KINDS[kind])
    assert model.update_counts_["halved_rates"] > 0
    assert np.isfinite(said(model)).all()
    chance = np.mean(LABELS == np.bincount(LABELS).argmax()) if kind is EPSNNClassifier else 0.0
    assert model.score(X, KINDS[kind]) > chance + 0.05


@KIND
def test_where_no_step_helps_the_fit_says_what_it_knows(kind, monkeypatch):
    """The prior; and warns."""
    monkeypatch.setattr(stochastic_trainer, "natural_step", diverging(0.0))
    model = model_of(kind, inference={**all_rows(kind), "final_sweeps": 0})
    with pytest.warns(ConvergenceWarning, match="1 updates of inference='stochastic' .* smaller learning_rate"):
        model.fit(X, KINDS[kind])
    assert model.update_counts_["halved_rates"] == MOST_HALVINGS
    assert np.isfinite(said(model)).all()
    assert set(model.history_["step"]) == {0.0}


@KIND
def test_history_has_every_pass_and_every_step(kind):
    y, inference = KINDS[kind], {**all_rows(kind), "final_sweeps": 2}
    model = model_of(kind, inference=inference).fit(X, y)
    assert model.n_iter_ == 4 + 1
    assert len(model.history_["energy"]) == 5
    assert len(model.history_["step"]) == 4 * 6 + 1
    rates = model.history_["step"][:24]
    assert all(a >= b for a, b in zip(rates[:-1], rates[1:], strict=True))
    assert model_of(kind, inference=inference, max_iter=3).fit(X, y).n_iter_ == 3
    assert model.history_["energy"][-1] > model.history_["energy"][0]


class Recorder:
    """A callback of scikit-learn that stops after so many passes."""

    def __init__(self, stop_after=None):
        self.stop_after, self.n_passes, self.n_begun = stop_after, 0, 0

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.n_begun += context.task_name == "pass"

    def on_fit_task_end(self, estimator, context, **told):
        if context.task_name == "pass":
            self.n_passes += 1
            return self.n_passes == self.stop_after

    def teardown(self, estimator, context):
        pass


@KIND
@pytest.mark.parametrize("stop_after", [1, 3, 5, None])
def test_callbacks_are_told_of_every_pass_and_stop_any_stage(kind, stop_after):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks since 1.9")
    recorder = Recorder(stop_after)
    model = model_of(kind, inference=all_rows(kind)).set_callbacks(recorder).fit(X, KINDS[kind])
    assert recorder.n_begun == recorder.n_passes == model.n_iter_ == (stop_after or 5)
    assert np.isfinite(said(model)).all() and model._progress.state.walk is None
    model.set_callbacks().partial_fit(X, KINDS[kind])


# What comes after a fit


@KIND
def test_a_stream_may_follow(kind):
    """It learns by sweeps, and what was automatic stays as it was."""
    y = KINDS[kind]
    model = kind(8, inference="stochastic", random_state=0).fit(X[:160], y[:160])
    settings, before = model.settings_, model.score(X[160:], y[160:])
    variance = model.coefs_variance_[0].mean()
    model.partial_fit(X[160:], y[160:])
    for name in ("inference__temperature", "inference__power", "prior__variance", "prior__anchor"):
        assert model.settings_[name] == settings[name]
    assert model.n_iter_ > 5 and model._progress.state.mass == N_ROWS
    assert model.score(X[160:], y[160:]) > before
    assert model.coefs_variance_[0].mean() < variance


@KIND
def test_a_warm_start_goes_on_and_loses_no_energy(kind):
    y = KINDS[kind]
    model = model_of(kind, warm_start=True, inference={"n_passes": 8, **all_rows(kind)}).fit(X, y)
    before, n_iter, score = model.history_["energy"][-1], model.n_iter_, model.score(X, y)
    model.fit(X, y)
    assert model.n_iter_ == 2 * n_iter
    assert model.history_["energy"][-1] > before - 0.02
    assert model.score(X, y) > score - 0.02


@KIND
def test_what_was_learned_apart_can_be_merged(kind):
    y = KINDS[kind]
    start = model_of(kind, inference={"n_passes": 8}).fit(X[:120], y[:120])
    parts = [deepcopy(start).partial_fit(X[rows], y[rows]) for rows in (slice(120, 180), slice(180, 240))]
    merged = merge(start, parts)
    assert merged._progress.state.mass == N_ROWS
    assert merged.score(X, y) > start.score(X, y) - 0.05


def test_a_copy_is_not_fitted():
    model = model_of(EPSNNClassifier, inference={"final_sweeps": 0})
    assert clone(model.fit(X, LABELS)).get_params()["inference__final_sweeps"] == 0
    assert not hasattr(clone(model), "n_iter_")


# It learns


NETWORKS = {
    "one hidden layer": {"hidden_layer_sizes": 30},
    "two": {"hidden_layer_sizes": (20, 15)},
    "three": {"hidden_layer_sizes": (20, 15, 15)},
    "four": {"hidden_layer_sizes": (20, 15, 15, 15)},
    "sigmoid neurons": {"hidden_layer_sizes": 30, "activation": "sigmoid"},
    "binary weights": {"hidden_layer_sizes": 30, "weights": "binary"},
    "ternary weights": {"hidden_layer_sizes": 30, "weights": "ternary"},
    "spike and slab": {"hidden_layer_sizes": 30, "prior": BernoulliGaussianPrior()},
    "laplace": {"hidden_layer_sizes": 30, "prior": "laplace"},
    "prior of numbers": {"hidden_layer_sizes": 30, "prior": GaussianPrior(variance=1.0)},
    "no intercept": {"hidden_layer_sizes": 30, "fit_intercept": False},
    "no hidden layer": {"hidden_layer_sizes": ()},
}


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_classifiers_learn_digits(options, digits):
    """300 rows of ten classes, of which chance knows 10 %; Newton has 82 to 88 % in the shallow ones."""
    model = EPSNNClassifier(inference="stochastic", random_state=0, **options).fit(digits.X, digits.y)
    assert model.score(digits.X_test, digits.y_test) > 0.7
    assert np.isfinite(model.history_["step"]).all()


def test_thresholds_learn_digits(digits):
    model = EPSNNClassifier(30, inference="stochastic", output_activation="heaviside", random_state=0)
    assert model.fit(digits.X, digits.y).score(digits.X_test, digits.y_test) > 0.75


@pytest.mark.parametrize("fraction", [0, "auto"])
@pytest.mark.parametrize("name", ["one hidden layer", "sigmoid neurons", "laplace"])
def test_regressors_learn_a_curve_and_its_noise(name, fraction):
    """In training, or from held-out rows: of 0.04, where the signal has 1.4. Hidden layers fit the rows they see."""
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(600, 3))
    signal = np.sin(2 * rows[:, 0]) + rows[:, 1] * rows[:, 2]
    y = signal + 0.2 * rng.normal(size=600)
    inference = Stochastic(validation_fraction=fraction)
    model = EPSNNRegressor(inference=inference, random_state=0, **NETWORKS[name]).fit(rows[:400], y[:400])
    assert model.score(rows[400:], y[400:]) > 0.4
    noise = model.noise_variance_
    assert (0.002 if fraction == 0 else 0.02) < noise < 0.7
    mean, std = model.predict(rows[400:], return_std=True)
    assert 0.5 < np.sqrt(np.mean(((mean - y[400:]) / std) ** 2)) < 2


@pytest.mark.parametrize("name", ["two", "ternary weights"])
def test_regressors_that_need_many_rows(name):
    """With 400 rows these stay near their prior; regressors are trained so on their own from 4,000 rows on."""
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(4500, 3))
    y = np.sin(2 * rows[:, 0]) + rows[:, 1] * rows[:, 2] + 0.2 * rng.normal(size=4500)
    model = EPSNNRegressor(random_state=0, **NETWORKS[name]).fit(rows[:4000], y[:4000])
    assert model.settings_["inference"].value == "stochastic"
    assert model.score(rows[4000:], y[4000:]) > 0.5


def test_nothing_is_warned_of(digits, recwarn):
    EPSNNClassifier(20, random_state=0).fit(digits.X, digits.y)
    assert not [w for w in recwarn if issubclass(w.category, ConvergenceWarning | RuntimeWarning)]
