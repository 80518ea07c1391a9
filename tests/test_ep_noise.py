"""What held-out rows decide, against the density that they maximise; the choice of a temperature by a tiny trainer."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from states import random_state, state_of, with_layer

from sk_epsnn.course import Course, Rows
from sk_epsnn.ep.evidence import NoiseEvidence
from sk_epsnn.ep.noise import HeldOut, choose_on_held_out, judged_noise, learned_noise
from sk_epsnn.ep.passes import predict
from sk_epsnn.messages import observed
from sk_epsnn.network import Batch
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.training import Progress, Report, Trainer, absorb_in_turn
from sk_epsnn.weights import IndependentWeights, JointWeights


def linear_posterior(seed=0):
    """Joint weights of one unit."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((3, 8))
    return JointWeights((root @ root.T)[None] * 4, rng.standard_normal((1, 3)))


def linear_state():
    """Its power is no matter to rows that are held out."""
    return state_of([linear_posterior()], [], GaussianOutput(np.array([0.5])), constant=False, power=0.3)


def held_out_batch(state, n=40):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, 3))
    y = x @ state.layers[0].posterior.mean.T + np.sqrt(0.5) * rng.standard_normal((n, 1))
    return Batch(observed(x), y, np.linspace(0.5, 2, n))


def spread_of(state, x):
    return np.einsum("nj,jk,nk->n", x, np.linalg.inv(state.layers[0].posterior.precision[0]), x)


def test_held_out_rows_say_the_noise_that_makes_them_most_probable():
    state = linear_state()
    held_out = held_out_batch(state)
    variance, score = judged_noise(state, held_out, NoiseEvidence(1e-9, 1e-9, 0.0, np.zeros(1)))
    x, y, mean = held_out.inputs.mean, held_out.target[:, 0], state.layers[0].posterior.mean[0]
    spread = spread_of(state, x)

    def density(log_variance):
        return norm.logpdf(y, x @ mean, np.sqrt(spread + np.exp(log_variance))) @ held_out.sample_weight

    best = minimize_scalar(lambda v: -density(v), bounds=(-6, 3), method="bounded", options={"xatol": 1e-9})
    assert np.log(variance[0]) == pytest.approx(best.x, abs=1e-5)
    assert score == pytest.approx(-best.fun / held_out.mass, rel=1e-9)


def test_score_is_summed_over_the_outputs():
    state = random_state([3, 2], output="gaussian", constant=False)
    rng = np.random.default_rng(2)
    batch = Batch(observed(rng.standard_normal((30, 3))), rng.standard_normal((30, 2)), np.ones(30))
    variance, score = judged_noise(state, batch, NoiseEvidence.none_yet(np.zeros(2)))
    mean, spread, _ = predict(state, batch.inputs, state.moments(np.dtype(float)))
    expected = norm.logpdf(batch.target, mean, np.sqrt(spread + variance)).sum() / 30
    assert variance.shape == (2,)
    assert score == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_learned_noise_is_a_fixed_point(power):
    """Second moments of the noise, each output and row by its own tilted Gaussian, make up the estimate."""
    state = linear_state()
    batch = held_out_batch(state)
    before = NoiseEvidence(1.0, 0.1, 10.0, np.array([3.0]))
    after = learned_noise(state, before, batch, power)
    x, y = batch.inputs.mean, batch.target[:, 0]
    v, spread = after.variance[0], spread_of(state, x)
    # Posterior of the potential given y, the likelihood raised to the power: precision-weighted, row by row.
    precision = 1 / spread + power / v
    center = (x @ state.layers[0].posterior.mean[0] / spread + power * y / v) / precision
    squares = batch.sample_weight @ ((y - center) ** 2 + 1 / precision)
    assert after.mass == pytest.approx(10 + batch.mass, rel=1e-14)
    assert (0.1 + 3.0 + squares) / (1 + 10 + batch.mass) == pytest.approx(v, rel=1e-9)


# The choice


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
    held_out = HeldOut(12, ((0.5, 0.2, 0.1), (0.4,)), 4)
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
    choose(trainer, HeldOut(12, ((0.5, 0.2), (0.4,)), 1), ONE_BATCH)
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
    end, _ = choose(trainer, HeldOut(12, (), 4), ONE_BATCH)
    assert end.history["temperature"] == [1.0]
    assert {state.layers[0].temperature for state, _, _ in trainer.seen} == {1.0}
    assert end.state.posteriors[-1].mean[0, -1] == 0.0 and end.state.mass > 0


@pytest.mark.parametrize(("tol", "passes"), [(1e-8, 4), (1.0, 2)])
def test_passes_end_when_objective_and_noise_have_settled(tol, passes):
    """The objective grows by 1 in every pass, the noise moves, by far, in the first one only."""
    trainer = Bias(BIASES)
    choose(trainer, HeldOut(12, ((0.2,),), 4), replace(ONE_BATCH, tol=tol))
    assert len(trainer.seen) == passes


class Late(Bias):
    """Finds its bias in the second pass."""

    def absorb(self, state, batch, total_mass, rng=None):
        found, report = super().absorb(state, batch, total_mass, rng)
        return (found if len(self.seen) > 1 else state), report


def test_a_noise_that_moves_has_not_settled():
    trainer = Late(BIASES)
    choose(trainer, HeldOut(12, ((0.2,),), 4), replace(ONE_BATCH, tol=1.0))
    assert len(trainer.seen) == 3


@pytest.mark.parametrize("n_shards", [1, 2])
def test_the_rest_of_the_rows_are_learned_from_in_batches(n_shards):
    rows = rows_for_choice()
    trainer = Bias(BIASES)
    choose(trainer, HeldOut(12, ((0.2,),), 1), replace(ONE_BATCH, batch_size=7, n_shards=n_shards), rows=rows)
    seen = np.concatenate([batch.X[:, 0] for _, batch, _ in trainer.seen])
    assert len(seen) == len(np.unique(seen)) == 38
    assert max(batch.n_samples for _, batch, _ in trainer.seen) == 7
    total = rows.sample_weight[seen.astype(int)].sum()
    np.testing.assert_allclose([mass for _, _, mass in trainer.seen], total, rtol=1e-12)
    for _, batch, _ in trainer.seen:
        np.testing.assert_array_equal(batch.target, rows.target[batch.X[:, 0].astype(int)])
