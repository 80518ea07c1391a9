"""Stochastic EP: evidence is counted once, streams and single batches agree, noise is learned."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from states import design, linear_batch, plain_basis, state_of, uncentred_rows, with_layer, with_levels

from sk_epsnn.connections import Dense
from sk_epsnn.course import Course, Rows
from sk_epsnn.ep.evidence import NOISE_START, NoiseEvidence
from sk_epsnn.ep.held_out import HeldOut, Stop
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.ep.trainer import EPTrainer, Schedule, SweepTrainer
from sk_epsnn.network import Network
from sk_epsnn.outputs import GaussianOutput, SigmoidOutput
from sk_epsnn.priors import GaussianPrior, LaplacePrior
from sk_epsnn.training import Progress

NOISE = 0.5
NEWTON = SweepTrainer(design(), False, schedule=Schedule("newton", n_sweeps=30, damping=0.7, tol=0.0))
AVERAGE = SweepTrainer(design(), False, schedule=Schedule("average_ep", n_sweeps=500, damping=0.2, tol=1e-10))


def linear_state(n_in, n_out=1, *, joint=True, output=None, power=0.0, variance=1.5):
    """One layer without a bias that is given."""
    prior = GaussianPrior().density(np.zeros((n_out, n_in)), np.full((n_out, n_in), variance), joint)
    return state_of([prior], [], output or GaussianOutput(np.full(n_out, NOISE)), constant=False, power=power)


def make_data(n, n_in, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, n_in))
    y = x @ rng.standard_normal((n_in, 1)) + np.sqrt(NOISE) * rng.standard_normal((n, 1))
    return x, y


def rows_of(x, y, chosen=slice(None)):
    return Rows(x[chosen], y[chosen], np.ones(len(x[chosen])))


def posterior_of(x, y):
    precision = np.eye(x.shape[1]) / 1.5 + x.T @ x / NOISE
    return precision, np.linalg.solve(precision, x.T @ y / NOISE)[:, 0]


# Evidence


@pytest.mark.parametrize("total", [90.0, np.inf])
def test_one_pass_in_batches_is_exact_for_a_gaussian_layer(total):
    x, y = make_data(90, 4)
    state = linear_state(4)
    for start, stop in ((0, 30), (30, 31), (31, 90)):
        state, _ = NEWTON.absorb(state, rows_of(x, y, slice(start, stop)), total)
    precision, mean = posterior_of(x, y)
    q = state.layers[0].posterior
    np.testing.assert_allclose(q.precision[0], precision, rtol=1e-9)
    np.testing.assert_allclose(q.mean[0], mean, rtol=1e-7)
    assert state.mass == 90


def test_further_passes_do_not_count_evidence_twice():
    x, y = make_data(80, 3)
    state = linear_state(3)
    for _ in range(25):
        for start in range(0, 80, 20):
            state, _ = NEWTON.absorb(state, rows_of(x, y, slice(start, start + 20)), 80.0)
    precision, mean = posterior_of(x, y)
    q = state.layers[0].posterior
    assert state.mass == pytest.approx(80)
    # Stochastic EP remembers an average factor: right size, right mean up to the spread between batches.
    np.testing.assert_allclose(np.trace(q.precision[0]), np.trace(precision), rtol=0.15)
    np.testing.assert_allclose(q.mean[0], mean, atol=0.15)


def test_a_single_batch_is_plain_ep_however_often_it_is_seen():
    x, y = make_data(50, 3)
    once, _ = NEWTON.absorb(linear_state(3), rows_of(x, y), 50.0)
    twice, _ = NEWTON.absorb(once, rows_of(x, y), 50.0)
    for name in ("precision", "mean"):
        a, b = (getattr(s.layers[0].posterior, name) for s in (once, twice))
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_stream_counts_repeated_rows_as_new():
    x, y = make_data(50, 3)
    state = linear_state(3)
    for _ in range(2):
        state, _ = NEWTON.absorb(state, rows_of(x, y), np.inf)
    precision, mean = posterior_of(np.vstack([x, x]), np.vstack([y, y]))
    np.testing.assert_allclose(state.layers[0].posterior.precision[0], precision, rtol=1e-9)
    np.testing.assert_allclose(state.layers[0].posterior.mean[0], mean, rtol=1e-7)


@pytest.mark.parametrize("joint", [True, False])
def test_faded_evidence_counts_by_its_power(joint):
    """Two batches with the first faded are the prior times the first likelihood to a power times the second."""
    x, y = make_data(60, 3 if joint else 1)
    state, _ = NEWTON.absorb(linear_state(x.shape[1], joint=joint), rows_of(x, y, slice(40)), np.inf)
    state, _ = NEWTON.absorb(NEWTON.faded(state, 0.3), rows_of(x, y, slice(40, 60)), np.inf)
    w = np.repeat([0.3, 1.0], [40, 20])[:, None]
    precision = np.eye(x.shape[1]) / 1.5 + (w * x).T @ x / NOISE
    q = state.layers[0].posterior
    np.testing.assert_allclose(q.precision[0].ravel(), precision.ravel(), rtol=1e-9)
    np.testing.assert_allclose(q.mean[0], np.linalg.solve(precision, (w * x).T @ y / NOISE)[:, 0], rtol=1e-7)
    assert state.mass == 0.3 * 40 + 20


def test_both_schedules_stream():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((400, 4))
    y = np.where(rng.random((400, 2)) < expit(x @ rng.standard_normal((4, 2))), 1.0, -1.0)
    start = linear_state(4, 2, joint=False, output=SigmoidOutput(), power=1.0, variance=1.0)
    ends = []
    for trainer in (NEWTON, AVERAGE):
        state = start
        for first in range(0, 400, 100):
            state, report = trainer.absorb(state, rows_of(x, y, slice(first, first + 100)), np.inf)
            assert len(report.steps) == 1
        assert state.counts.rejected_batches == 0
        ends.append(state.layers[0].posterior)
    sd = 1 / np.sqrt(ends[0].precision)
    assert (np.abs(ends[0].mean - ends[1].mean) < 0.3 * sd).all()
    np.testing.assert_allclose(ends[0].precision, ends[1].precision, rtol=0.05)


def test_absorb_leaves_the_old_state_alone():
    x, y = make_data(40, 3)
    state = replace(linear_state(3), noise=NoiseEvidence(1.0, 0.1, 0.0, np.zeros(1)))
    before = state.layers[0].posterior.precision.copy(), state.noise.squares.copy(), state.mass
    new, _ = NEWTON.absorb(state, rows_of(x, y), 40.0)
    assert new is not state
    np.testing.assert_array_equal(state.layers[0].posterior.precision, before[0])
    np.testing.assert_array_equal(state.noise.squares, before[1])
    assert state.mass == before[2]


def test_refused_batch_changes_nothing_but_the_count():
    x, y = uncentred_rows(1)
    state = linear_state(41, joint=False, output=SigmoidOutput(), power=1.0, variance=1.0)
    hasty = replace(AVERAGE, schedule=replace(AVERAGE.schedule, damping=0.7, n_sweeps=100))
    new, report = hasty.absorb(state, rows_of(x, y), 300.0)
    assert np.isfinite(report.objective)
    assert new.counts == replace(new.counts, rejected_batches=1)
    assert replace(new, counts=UpdateCounts()) == state
    assert new.mass == 0


def test_a_prior_that_is_not_gaussian_is_refreshed_by_a_batch():
    """One weight whose data say much: half of the way of its site, seen from the new posterior."""
    x, y = make_data(40, 2)
    trainer = replace(NEWTON, design=design(prior=LaplacePrior()))
    state = trainer.start(network_of(2), rows_of(x, y), np.random.RandomState(0))
    plain, _ = NEWTON.absorb(with_layer(state, 0, rule=None), rows_of(x, y), 40.0)
    new, _ = trainer.absorb(state, rows_of(x, y), 40.0)
    expected = replace(plain.layers[0], rule=state.layers[0].rule).with_refreshed_prior(UpdateCounts())
    np.testing.assert_array_equal(new.layers[0].prior.precision, expected.prior.precision)
    np.testing.assert_array_equal(new.layers[0].posterior.mean, expected.posterior.mean)
    assert (expected.prior.precision != state.layers[0].prior.precision).any()


# Noise


def test_a_stream_judges_the_noise_before_it_learns():
    """The second batch by the posterior of the first, its evidence that of a plain prediction."""
    x, y = make_data(80, 3)
    state = replace(linear_state(3), noise=NoiseEvidence(1.0, 0.1, 0.0, np.zeros(1)))
    first, _ = NEWTON.absorb(state, rows_of(x, y, slice(40)), np.inf)
    second, _ = NEWTON.absorb(first, rows_of(x, y, slice(40, 80)), np.inf)
    q = first.layers[0].posterior
    spread = np.einsum("nj,jk,nk->n", x[40:], np.linalg.inv(q.precision[0]), x[40:])[:, None]
    expected = first.noise.absorb(y[40:] - x[40:] @ q.mean.T, spread, np.ones(40), 1.0)
    np.testing.assert_allclose(second.noise.squares, expected.squares, rtol=1e-9)
    assert (first.noise.mass, second.noise.mass) == (40, 80)
    np.testing.assert_array_equal(second.network.output.noise_variance, second.noise.variance)
    # The first batch had nobody but itself.
    q, power = first.layers[0].posterior, state.power
    spread = np.einsum("nj,jk,nk->n", x[:40], np.linalg.inv(q.precision[0]), x[:40])[:, None]
    own = state.noise.absorb(y[:40] - x[:40] @ q.mean.T, spread, np.ones(40), power)
    np.testing.assert_allclose(first.noise.squares, own.squares, rtol=1e-9)


def test_further_passes_take_their_share_of_the_noise_out():
    x, y = make_data(40, 3)
    state = replace(linear_state(3), noise=NoiseEvidence(1.0, 0.1, 0.0, np.zeros(1)))
    for _ in range(3):
        state, _ = NEWTON.absorb(state, rows_of(x, y), 40.0)
    assert (state.noise.mass, state.mass) == (40, 40)


# The verbs of a trainer


def test_what_trainers_share_cannot_learn():
    with pytest.raises(TypeError, match="abstract method"):
        EPTrainer(design(), False)


def network_of(n_in, n_out=1, output=None, constant=False):
    return Network((), Dense(n_out), output or GaussianOutput(np.full(n_out, NOISE)), constant, n_in)


def test_start_is_the_prior_of_the_design():
    x, y = make_data(30, 3)
    state = NEWTON.start(network_of(3), rows_of(x, y), np.random.RandomState(0))
    assert (state.mass, state.noise) == (0, None)
    np.testing.assert_array_equal(state.network.output.noise_variance, NOISE)
    learner = replace(NEWTON, learns_noise=True)
    state = learner.start(network_of(3, 2), Rows(x, np.hstack([y, y]), np.ones(30)), np.random.RandomState(0))
    np.testing.assert_allclose(state.network.output.noise_variance, [NOISE_START] * 2, rtol=1e-14)
    assert state.noise.mass == 0


HELD_OUT = HeldOut(10, ((Stop(None, 3),),), ((1.0, 1.0),))


def test_noise_that_held_out_rows_judged_stays_until_a_stream_adds_to_it():
    trainer = replace(NEWTON, learns_noise=True, held_out=HELD_OUT)
    state = replace(linear_state(3), noise=None)
    ended = trainer.finish(state, 60.0)
    np.testing.assert_allclose(ended.noise.variance, NOISE, rtol=1e-14)
    assert ended.noise.mass == 60
    resumed = trainer.resume(ended, 60)
    assert resumed.noise is None and resumed.layers is ended.layers
    np.testing.assert_array_equal(resumed.network.output.noise_variance, NOISE)


def test_without_held_out_rows_nothing_is_prepared_resumed_or_finished():
    state = replace(linear_state(3), noise=NoiseEvidence.none_yet(np.zeros(1)))
    progress, course = Progress(state), Course(10, False, 1, 0.0, True)
    rows = rows_of(*make_data(20, 3))
    assert NEWTON.prepare(progress, rows, course, np.random.RandomState(0), print) is progress
    assert NEWTON.resume(state, 20) is state and NEWTON.finish(state, 20.0) is state
    spiking = linear_state(3, output=SigmoidOutput())
    assert replace(NEWTON, held_out=HELD_OUT).finish(spiking, 20.0) is spiking


def test_predictions_of_a_linear_layer_are_those_of_bayes():
    x, y = make_data(60, 3)
    state, _ = NEWTON.absorb(linear_state(3), rows_of(x, y, slice(40)), 40.0)
    precision, mean = posterior_of(x[:40], y[:40])
    predict = NEWTON.predictor(state, x.dtype)
    found = predict(x[40:])
    np.testing.assert_allclose(found.mean[:, 0], x[40:] @ mean, rtol=1e-7)
    spread = np.einsum("nj,jk,nk->n", x[40:], np.linalg.inv(precision), x[40:])
    np.testing.assert_allclose(found.epistemic[:, 0], spread, rtol=1e-8)
    np.testing.assert_array_equal(found.aleatoric, 0)
    assert NEWTON.predictor(state, np.float32)(x.astype(np.float32)).mean.dtype == np.float32


def test_known_weights_are_the_mode_the_mean_or_a_draw():
    state = with_layer(linear_state(2, joint=False), 0, temperature=0.25)
    state, _ = NEWTON.absorb(state, rows_of(*make_data(40, 2)), 40.0)
    q = state.layers[0].posterior
    for weights in ("mode", "mean"):
        known = NEWTON.known(state, weights)
        assert known.is_known
        np.testing.assert_array_equal(known.posteriors[0].mean, q.mean)
    rng = np.random.RandomState(0)
    draws = np.array([NEWTON.known(state, "sample", rng).posteriors[0].mean for _ in range(4000)])
    sd = np.sqrt(0.25 / q.precision)
    # Monte Carlo errors of 4000 draws: 1.6 % of a standard deviation, 1.1 % of its size.
    np.testing.assert_allclose((draws.mean(0) - q.mean) / sd, 0, rtol=0, atol=0.07)
    np.testing.assert_allclose(draws.std(0) / sd, 1, rtol=0.05)


def test_means_of_levels_are_on_no_lattice():
    state = with_levels(linear_state(4, output=SigmoidOutput()))
    assert state.layers[0].lattice is not None
    for weights, lattice in (("mode", state.layers[0].lattice), ("mean", None)):
        known = NEWTON.known(state, weights)
        assert known.layers[0].lattice is lattice
        most = getattr(state.layers[0].posterior, weights)
        np.testing.assert_array_equal(known.posteriors[0].mean, most() if callable(most) else most)
    draw = NEWTON.known(state, "sample", np.random.RandomState(0)).posteriors[0].mean
    assert set(np.unique(draw)) == {-1.0, 1.0}


def test_shards_of_a_linear_layer_add_up_exactly():
    x, y = make_data(60, 3)
    shards = [rows_of(x, y, slice(k, None, 3)) for k in range(3)]
    batches = [[slice(None)]] * 3
    state, report = NEWTON.absorb_apart(linear_state(3), shards, batches, 60.0, None)
    precision, mean = posterior_of(x, y)
    np.testing.assert_allclose(state.layers[0].posterior.precision[0], precision, rtol=1e-9)
    np.testing.assert_allclose(state.layers[0].posterior.mean[0], mean, rtol=1e-7)
    assert state.mass == 60 and len(report.steps) == 3


def test_a_matrix_without_an_inverse_is_refused():
    x, y = make_data(40, 1)
    rows = Rows(np.repeat(x, 3, axis=1), y, np.full(40, 1e40))
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="smaller values of sample_weight"):
        NEWTON.absorb(linear_state(3), rows, 40.0)


def test_a_weight_without_a_variance_is_refused():
    """So cold, and so precise a prior, that the product is no number of float64."""
    state = with_layer(linear_state(2, joint=False, variance=1e-305), 0, temperature=1e-20)
    learned, _ = NEWTON.absorb(state, rows_of(*make_data(40, 2)), 40.0)
    with pytest.raises(ValueError, match="smaller values of sample_weight"):
        NEWTON.check(learned)


def test_other_errors_are_not_taken_for_it():
    x, y = make_data(40, 2)
    with pytest.raises(ValueError, match="broadcast"):
        NEWTON.absorb(linear_state(3), rows_of(x, y), 40.0)


def test_schedules_go_by_their_name():
    state, batch = linear_state(3, joint=False), linear_batch(40, 3, 1, "gaussian")
    cavities = state.posteriors
    slow = Schedule("average_ep", 3, 0.1, 0.0).work(replace(state, step=0.125), batch, cavities)
    fast = Schedule("newton", 1, 0.1, 0.0).work(replace(state, step=0.125), batch, cavities)
    assert (slow.step, fast.step) == (0.1, 0.25)


def test_basis_is_that_of_the_network():
    """A batch of rows enters through the network's own coordinates."""
    x, y = make_data(40, 3)
    state = linear_state(3)
    doubled = replace(plain_basis(3, False), scale=np.full(3, 0.5))
    wide = replace(state, network=replace(state.network, basis=doubled))
    a, _ = NEWTON.absorb(wide, rows_of(x, y), 40.0)
    b, _ = NEWTON.absorb(state, rows_of(2 * x, y), 40.0)
    np.testing.assert_array_equal(a.layers[0].posterior.mean, b.layers[0].posterior.mean)
