"""What held-out rows decide, by tiny trainers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from states import random_state, state_of, with_layer

from sk_epsnn.course import Course, Rows
from sk_epsnn.ep.evidence import NoiseEvidence
from sk_epsnn.ep.held_out import HeldOut, Stop, _splits, choose_on_held_out
from sk_epsnn.outputs import SigmoidOutput, SoftmaxOutput
from sk_epsnn.training import Progress, Report, Trainer, absorb_in_turn
from sk_epsnn.weights import IndependentWeights, JointWeights


class Bias(Trainer):
    """Learns nothing but a bias that depends on the hidden temperature: the best one is nearest to the targets.

    It notes the state and the rows of every batch, and its objective grows by 1 with each.
    """

    def __init__(self, biases):
        self.biases = biases
        self.seen = []

    def start(self, network, rows, rng):
        raise AssertionError("starts elsewhere")

    predictor = known = start

    def for_passes(self, n_passes):
        return self

    def towards(self, state, stop, *, goes_on):
        return state if stop.temperatures is None else state.at_temperatures(stop.temperatures)

    def absorb(self, state, batch, total_mass, rng=None):
        self.seen.append((state, batch, total_mass))
        bias = self.biases[state.layers[0].temperature]
        old = state.layers[-1].posterior
        readout = IndependentWeights(old.precision, np.append(np.zeros(old.mean.shape[1] - 1), bias)[None])
        state = with_layer(replace(state, mass=total_mass), len(state.layers) - 1, posterior=readout)
        return state, Report(float(len(self.seen)), [0.5])

    def absorb_apart(self, state, shards, batches, total_mass, n_jobs):
        for rows, chosen in zip(shards, batches, strict=True):
            state, report = absorb_in_turn(self, state, rows, chosen, total_mass)
        return state, report


SPREAD = 1e-6
TARGET = 2.0


def start_of():
    """A hidden layer, readout weights that are all but known, and a noise that is being learned."""
    first = IndependentWeights(np.ones((3, 2)), np.ones((3, 2)))
    last = IndependentWeights(np.full((1, 4), 4 / SPREAD), np.zeros((1, 4)))
    state = random_state([2, 3, 1], output="gaussian", constant=True)
    # The second input of the first layer is the constant.
    state = state.with_posteriors([first, last])
    return replace(state, noise=NoiseEvidence.none_yet(np.zeros(1)))


def rows_for_choice(n=50):
    rng = np.random.default_rng(3)
    target = TARGET + 0.1 * rng.standard_normal((n, 1))
    return Rows(np.arange(float(n))[:, None], target, rng.uniform(0.5, 2, n))


AS_THEY_ARE = ((1.0, 1.0),)


def heated(paths, n_passes):
    """Twelve rows that judge paths of hidden temperatures."""
    stops = tuple(tuple(Stop((hidden, 1.0), n_passes) for hidden in path) for path in paths)
    return HeldOut(12, stops, AS_THEY_ARE)


def choose(trainer, held_out, course, start=None, rows=None):
    told = []
    rows = rows or rows_for_choice()
    progress = Progress(start or start_of())
    result = choose_on_held_out(trainer, progress, rows, held_out, course, np.random.RandomState(0), told.append)
    return result, told


ONE_BATCH = Course(1000, False, 9, 1e-8, True)
BIASES = {1.0: 0.0, 0.5: 1.0, 0.2: 1.9, 0.1: 3.0, 0.4: 1.2}


def score_at(bias, rows, noise):
    """Log density per unit of weight of rows predicted by a bias whose own variance is negligible."""
    density = norm.logpdf(rows.target[:, 0], bias, np.sqrt(noise))
    return rows.sample_weight @ density / rows.sample_weight.sum()


def judges_of(trainer, rows):
    """Rows that were never learned from."""
    learned = np.unique(np.concatenate([batch.X[:, 0] for _, batch, _ in trainer.seen]))
    return rows.take(np.setdiff1d(np.arange(len(rows.target)), learned.astype(int)))


def test_the_temperature_that_predicts_best_is_chosen():
    trainer, rows = Bias(BIASES), rows_for_choice()
    held_out = heated(((0.5, 0.2, 0.1), (0.4,)), 4)
    end, told = choose(trainer, held_out, ONE_BATCH, rows=rows)
    judges = judges_of(trainer, rows)
    assert judges.n_samples == 12
    np.testing.assert_array_equal(end.history["temperature"], [0.5, 0.2, 0.1, 0.4])
    assert end.state.layers[0].temperature == 0.2
    assert end.state.layers[-1].temperature == 1.0
    assert end.state.posteriors[-1].mean[0, -1] == 1.9
    # Each score is that of the bias with the mean square as noise, where the prior hardly counts.
    expected = []
    for bias in (1.0, 1.9, 3.0, 1.2):
        noise = judges.sample_weight @ (judges.target[:, 0] - bias) ** 2 / judges.sample_weight.sum()
        expected.append(score_at(bias, judges, noise))
    np.testing.assert_allclose(end.history["held_out"], expected, rtol=1e-3)
    assert np.argmax(expected) == 1
    noise = judges.sample_weight @ (judges.target[:, 0] - 1.9) ** 2 / judges.sample_weight.sum()
    np.testing.assert_allclose(end.state.network.output.noise_variance, noise, rtol=1e-3)
    assert [line.split(",")[0] for line in told] == [f"Hidden temperature {t:g}" for t in (0.5, 0.2, 0.1, 0.4)]


def test_paths_start_anew_and_steps_go_on():
    trainer = Bias(BIASES)
    choose(trainer, heated(((0.5, 0.2), (0.4,)), 1), ONE_BATCH)
    first, second, third = (state for state, _, _ in trainer.seen)
    assert [state.layers[0].temperature for state in (first, second, third)] == [0.5, 0.2, 0.4]
    # The readout before the batch: untrained, that of the step before, untrained.
    assert [state.posteriors[-1].mean[0, -1] for state in (first, second, third)] == [0, 1.0, 0]
    assert [state.mass > 0 for state in (first, second, third)] == [False, True, False]
    assert all(state.noise is None for state, _, _ in trainer.seen)
    # What the judges said after the first step is the noise of the second.
    assert second.network.output.noise_variance != first.network.output.noise_variance
    assert third.network.output.noise_variance == first.network.output.noise_variance


def test_without_heating_the_temperature_stays():
    trainer = Bias(BIASES)
    end, _ = choose(trainer, HeldOut(12, ((Stop(None, 4),),), AS_THEY_ARE), ONE_BATCH)
    assert end.history["temperature"] == [1.0]
    assert {state.layers[0].temperature for state, _, _ in trainer.seen} == {1.0}
    assert end.state.posteriors[-1].mean[0, -1] == 0.0 and end.state.mass > 0


@pytest.mark.parametrize(("tol", "passes"), [(1e-8, 4), (1.0, 2)])
def test_passes_end_when_objective_and_noise_have_settled(tol, passes):
    """The objective grows by 1 in every pass, the noise moves, by far, in the first one only."""
    trainer = Bias(BIASES)
    choose(trainer, heated(((0.2,),), 4), replace(ONE_BATCH, tol=tol))
    assert len(trainer.seen) == passes


class Late(Bias):
    """Finds its bias in the second pass."""

    def absorb(self, state, batch, total_mass, rng=None):
        found, report = super().absorb(state, batch, total_mass, rng)
        return (found if len(self.seen) > 1 else state), report


def test_a_noise_that_moves_has_not_settled():
    trainer = Late(BIASES)
    choose(trainer, heated(((0.2,),), 4), replace(ONE_BATCH, tol=1.0))
    assert len(trainer.seen) == 3


@pytest.mark.parametrize("n_shards", [1, 2])
def test_the_rest_of_the_rows_are_learned_from_in_batches(n_shards):
    rows = rows_for_choice()
    trainer = Bias(BIASES)
    choose(trainer, heated(((0.2,),), 1), replace(ONE_BATCH, batch_size=7, n_shards=n_shards), rows=rows)
    seen = np.concatenate([batch.X[:, 0] for _, batch, _ in trainer.seen])
    assert len(seen) == len(np.unique(seen)) == 38
    assert max(batch.n_samples for _, batch, _ in trainer.seen) == 7
    total = rows.sample_weight[seen.astype(int)].sum()
    np.testing.assert_allclose([mass for _, _, mass in trainer.seen], total, rtol=1e-12)
    for _, batch, _ in trainer.seen:
        np.testing.assert_array_equal(batch.target, rows.target[batch.X[:, 0].astype(int)])


# Classes: widths, folds, and the way that is gone again


class Still(Bias):
    """Learns nothing; notes the rows of every batch."""

    def __init__(self):
        super().__init__({})

    def absorb(self, state, batch, total_mass, rng=None):
        self.seen.append((state, batch, total_mass))
        return replace(state, mass=total_mass), Report(float(len(self.seen)), [0.5])


WIDTHS = ((1.0,), (3.0,), (0.3,), (0.1,))


def unsure_state():
    """One sigmoid unit of two joint weights, all but certain of its sign: what counts is how wide it is said to be."""
    return state_of([JointWeights(np.eye(2)[None] / 4, np.array([[1.5, 0.5]]))], [], SigmoidOutput(), constant=False)


def rows_of_classes(n, strength, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    y = np.where(strength * (x @ [1.5, 0.5]) + rng.logistic(size=n) > 0, 1.0, -1.0)
    return Rows(x, y[:, None], rng.uniform(0.5, 2, n))


def log_densities(state, rows):
    """Log probability of every class at each width, by dense quadrature over the potential."""
    x, y = rows.X, rows.target[:, 0]
    nodes = np.linspace(-8, 8, 2001)
    mean, sd = y * (x @ state.layers[0].posterior.mean[0]), np.sqrt(4 * (x * x).sum(axis=1))
    return np.array(
        [
            np.log(
                expit(mean[:, None] + np.sqrt(width) * sd[:, None] * nodes) @ norm.pdf(nodes) * (nodes[1] - nodes[0])
            )
            for (width,) in WIDTHS
        ]
    )


def choose_widths(strength, caution, n_folds=2):
    state, trainer, rows = unsure_state(), Still(), rows_of_classes(120, strength)
    held_out = HeldOut(60, ((Stop(None, 1),),), WIDTHS, n_folds=n_folds, anew=True, caution=caution)
    end, _ = choose(trainer, held_out, replace(ONE_BATCH, tol=0.0), start=state, rows=rows)
    return end, trainer, rows, log_densities(state, rows) * rows.sample_weight / rows.sample_weight.sum()


@pytest.mark.parametrize(("strength", "best"), [(0.1, 1), (0.5, 2), (40.0, 3)])
def test_widths_are_those_that_predict_the_classes_best(strength, best):
    """Folds hold out every row once, so that the scores are those of all rows."""
    end, _, _, densities = choose_widths(strength, 0.0)
    assert densities.sum(axis=1).argmax() == best
    assert end.state.layers[0].width == WIDTHS[best][0]
    assert end.history["held_out"] == [pytest.approx(densities[best].sum(), abs=2e-3)]


def test_other_widths_must_gain_more_than_their_standard_errors():
    _, _, rows, densities = choose_widths(1.0, 0.0)
    weight = rows.sample_weight
    gain = (densities[2] - densities[0]) * weight.sum() / weight
    mean = gain @ weight / weight.sum()
    error = np.sqrt(((gain - mean) ** 2) @ weight**2) / weight.sum()
    assert mean > 0
    for caution, width in [(0.98 * mean / error, 0.3), (1.02 * mean / error, 1.0)]:
        assert choose_widths(1.0, caution)[0].state.layers[0].width == width


def test_every_row_is_held_out_once():
    end, trainer, rows, _ = choose_widths(1.0, 0.0)
    first, second = (batch.X for _, batch, _ in trainer.seen)
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])[:, 0]), np.sort(rows.X[:, 0]))
    # Of each class as many are in both parts, but for one.
    fires = [(batch.target > 0).sum() for _, batch, _ in trainer.seen]
    assert abs(fires[0] - fires[1]) <= 1
    # Training with all rows is yet to come.
    assert end.state.mass == 0


def test_all_rows_lead_to_the_stop_before_the_best_one():
    trainer, rows = Bias(BIASES), rows_for_choice()
    held_out = replace(heated(((0.5, 0.2, 0.1), (0.4,)), 4), anew=True)
    end, _ = choose(trainer, held_out, ONE_BATCH, rows=rows)
    # Steps at .5 with all rows; what is left is the way at .2, which predicts best.
    ways = [(state.layers[0].temperature, batch.n_samples) for state, batch, _ in trainer.seen[-4:]]
    assert ways == [(0.5, 50)] * 4
    assert end.state.layers[0].temperature == 0.2 and end.state.posteriors[-1].mean[0, -1] == BIASES[0.5]
    first, _ = choose(Bias(BIASES), replace(heated(((0.2, 0.1),), 4), anew=True), ONE_BATCH, rows=rows)
    assert first.state.layers[0].temperature == 0.2 and first.state.mass == 0


def test_classes_have_their_share_of_rows_that_are_held_out():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [100, 40, 10])
    rows = Rows(np.arange(150.0)[:, None], np.where(label[:, None] == np.arange(3), 1.0, -1.0), np.ones(150))
    state = state_of([random_state([1, 3], constant=False).posteriors[0]], [], SoftmaxOutput(), constant=False)
    trainer, held_out = Still(), HeldOut(30, ((Stop(None, 1),),), ((1.0,),))
    choose(trainer, held_out, ONE_BATCH, start=state, rows=rows.take(rng.permutation(150)))
    learned = trainer.seen[0][1].X[:, 0].astype(int)
    np.testing.assert_array_equal(np.bincount(label[learned]), [80, 32, 8])


@pytest.mark.parametrize("n_folds", [1, 2])
def test_every_class_has_a_judge(n_folds):
    """A class of fewer rows than one in so many judges is one that counts as its share of them."""
    state = random_state([3, 2, 3])
    counts = np.array([60, 39, 1])
    label = np.random.default_rng(0).permutation(np.repeat(np.arange(3), counts))
    target = np.where(label[:, None] == np.arange(3), 1.0, -1.0)
    rows = Rows(np.random.default_rng(1).standard_normal((100, 2)), target, np.full(100, 2.0))
    n_rows = 20 if n_folds == 1 else 50
    for judges, others in _splits(state, rows, HeldOut(n_rows, (), (), n_folds), np.random.RandomState(0)):
        weights = judges.sample_weight @ (judges.target > 0)
        np.testing.assert_allclose(weights, 2 * counts * n_rows / 100, atol=1 + (n_folds - 1))
        assert weights[2] > 0 and (weights[2] == 2 * n_rows / 100 or n_folds == 2)
        assert judges.target.shape[0] + others.n_samples == 100


def start_of_classes(n_classes):
    return state_of([random_state([3, n_classes], constant=False).posteriors[0]], [], SoftmaxOutput(), constant=False)


def test_no_row_judges_that_is_the_only_one_of_its_class():
    state = start_of_classes(4)
    label = np.array([0] * 30 + [1] + [2] * 30 + [3])
    rows = Rows(np.zeros((62, 3)), np.where(label[:, None] == np.arange(4), 1.0, -1.0), np.ones(62))
    for n_rows in (15, 31):
        held_out = HeldOut(n_rows, (), (), every_class=False)
        ((judges, others),) = _splits(state, rows, held_out, np.random.RandomState(0))
        assert set(judges.target.argmax(axis=1)) == {0, 2} and len(judges.target) in (n_rows - 1, n_rows, n_rows + 1)
        assert set(others.target.argmax(axis=1)) == {0, 1, 2, 3}
        assert len(judges.target) + others.n_samples == 62 and set(judges.sample_weight) == {1.0}


def test_nothing_is_chosen_without_judges():
    state = start_of_classes(20)
    rows = Rows(np.zeros((20, 3)), 2.0 * np.eye(20) - 1, np.ones(20))
    held_out = HeldOut(10, ((Stop(None, 1),),), ((1.0,), (0.1,)), every_class=False)
    progress = Progress(state)
    found = choose_on_held_out(None, progress, rows, held_out, None, np.random.RandomState(0), print)
    assert found is progress
