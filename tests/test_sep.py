"""Stochastic EP: evidence is counted once, streams and single batches agree, noise is learned."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import norm
from sk_epsnn.inference import Batch
from sk_epsnn.sep import Model, NoiseEvidence, Schedule, absorb, judge

from sk_epsnn.messages import observed
from sk_epsnn.network import Layer, Network
from sk_epsnn.outputs import GaussianOutput, SigmoidOutput
from sk_epsnn.priors import GaussianPrior

NOISE = 0.5
NEWTON = Schedule("newton", n_sweeps=30, damping=0.7, tol=0.0)
AVERAGE = Schedule("average_ep", n_sweeps=500, damping=0.2, tol=1e-10)


def gaussian_model(n_in, joint=True, power=0.0, noise=None):
    prior = GaussianPrior().density(np.zeros((1, n_in)), np.full((1, n_in), 1.5), joint)
    output = GaussianOutput(np.array([NOISE]))
    return Model(Network([Layer(prior, prior, 1.0)], [], output, True, power), noise=noise)


def rows(n, n_in, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, n_in))
    y = x @ rng.standard_normal((n_in, 1)) + np.sqrt(NOISE) * rng.standard_normal((n, 1))
    return x, y


def batch_of(x, y, chosen=slice(None)):
    return Batch(observed(x[chosen]), y[chosen], np.ones(len(x[chosen])))


def posterior_of(x, y):
    precision = np.eye(x.shape[1]) / 1.5 + x.T @ x / NOISE
    return precision, np.linalg.solve(precision, x.T @ y / NOISE)[:, 0]


@pytest.mark.parametrize("total", [90.0, np.inf])
def test_one_pass_in_batches_is_exact_for_a_gaussian_layer(total):
    x, y = rows(90, 4)
    model = gaussian_model(4)
    for start, stop in ((0, 30), (30, 31), (31, 90)):
        model, _ = absorb(model, batch_of(x, y, slice(start, stop)), NEWTON, total)
    precision, mean = posterior_of(x, y)
    q = model.network.layers[0].posterior
    np.testing.assert_allclose(q.precision[0], precision, rtol=1e-9)
    np.testing.assert_allclose(q.mean[0], mean, rtol=1e-7)
    assert model.mass == 90


def test_further_passes_do_not_count_evidence_twice():
    x, y = rows(80, 3)
    model = gaussian_model(3)
    for _ in range(25):
        for start in range(0, 80, 20):
            model, _ = absorb(model, batch_of(x, y, slice(start, start + 20)), NEWTON, 80.0)
    precision, mean = posterior_of(x, y)
    q = model.network.layers[0].posterior
    assert model.mass == pytest.approx(80)
    # Stochastic EP remembers an average factor: right size, right mean up to the spread between batches.
    np.testing.assert_allclose(np.trace(q.precision[0]), np.trace(precision), rtol=0.15)
    np.testing.assert_allclose(q.mean[0], mean, atol=0.15)


def test_a_single_batch_is_plain_ep_however_often_it_is_seen():
    x, y = rows(50, 3)
    batch = batch_of(x, y)
    once, _ = absorb(gaussian_model(3), batch, NEWTON, 50.0)
    twice, _ = absorb(once, batch, NEWTON, 50.0)
    for name in ("precision", "mean"):
        a, b = (getattr(m.network.layers[0].posterior, name) for m in (once, twice))
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_stream_counts_repeated_rows_as_new():
    x, y = rows(50, 3)
    model = gaussian_model(3)
    for _ in range(2):
        model, _ = absorb(model, batch_of(x, y), NEWTON, np.inf)
    precision, mean = posterior_of(np.vstack([x, x]), np.vstack([y, y]))
    np.testing.assert_allclose(model.network.layers[0].posterior.precision[0], precision, rtol=1e-9)
    np.testing.assert_allclose(model.network.layers[0].posterior.mean[0], mean, rtol=1e-7)


@pytest.mark.parametrize("joint", [True, False])
def test_faded_evidence_counts_by_its_power(joint):
    """Two batches with the first faded are the prior times the first likelihood to a power times the second."""
    x, y = rows(60, 3 if joint else 1)
    model, _ = absorb(gaussian_model(x.shape[1], joint), batch_of(x, y, slice(40)), NEWTON, np.inf)
    model, _ = absorb(model.faded(0.3), batch_of(x, y, slice(40, 60)), NEWTON, np.inf)
    w = np.repeat([0.3, 1.0], [40, 20])[:, None]
    precision = np.eye(x.shape[1]) / 1.5 + (w * x).T @ x / NOISE
    q = model.network.layers[0].posterior
    np.testing.assert_allclose(q.precision[0].ravel(), precision.ravel(), rtol=1e-9)
    np.testing.assert_allclose(q.mean[0], np.linalg.solve(precision, (w * x).T @ y / NOISE)[:, 0], rtol=1e-7)
    assert model.mass == 0.3 * 40 + 20


def test_fading_reaches_the_noise_and_by_1_changes_nothing():
    noise = NoiseEvidence(1.0, 1.0, 0.0, np.zeros(1))
    x, y = rows(50, 2)
    model, _ = absorb(gaussian_model(2, noise=noise), batch_of(x, y), NEWTON, np.inf)
    assert model.faded(1.0) is model
    faded = model.faded(0.5)
    assert (faded.noise.mass, faded.noise.squares) == (0.5 * model.noise.mass, 0.5 * model.noise.squares)
    assert faded.noise.prior_mass == 1.0


def test_both_schedules_stream():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((400, 4))
    y = np.where(rng.random((400, 2)) < expit(x @ rng.standard_normal((4, 2))), 1.0, -1.0)
    prior = GaussianPrior().density(np.zeros((2, 4)), np.ones((2, 4)), False)
    start = Model(Network([Layer(prior, prior, 1.0)], [], SigmoidOutput(), True, 1.0))
    ends = []
    for schedule in (NEWTON, AVERAGE):
        model = start
        for first in range(0, 400, 100):
            model, result = absorb(model, batch_of(x, y, slice(first, first + 100)), schedule, np.inf)
            assert result.accepted
        ends.append(model.network.layers[0].posterior)
    sd = 1 / np.sqrt(ends[0].precision)
    assert (np.abs(ends[0].mean - ends[1].mean) < 0.3 * sd).all()
    np.testing.assert_allclose(ends[0].precision, ends[1].precision, rtol=0.05)


def test_absorb_leaves_the_old_model_alone():
    x, y = rows(40, 3)
    model = gaussian_model(3, noise=NoiseEvidence(1.0, 0.1, 0.0, np.zeros(1)))
    before = model.network.layers[0].posterior.precision.copy(), model.noise.squares.copy(), model.mass
    new, _ = absorb(model, batch_of(x, y), NEWTON, 40.0)
    assert new is not model
    np.testing.assert_array_equal(model.network.layers[0].posterior.precision, before[0])
    np.testing.assert_array_equal(model.noise.squares, before[1])
    assert model.mass == before[2]


def test_refused_batch_changes_nothing_but_the_count():
    rng = np.random.default_rng(0)
    x = np.hstack([(rng.random((300, 40)) < 0.5).astype(float), np.ones((300, 1))])
    y = np.where(rng.random((300, 1)) < 0.5, 1.0, -1.0)
    prior = GaussianPrior().density(np.zeros((1, 41)), np.ones((1, 41)), False)
    model = Model(Network([Layer(prior, prior, 1.0)], [], SigmoidOutput(), True, 1.0))
    new, result = absorb(model, batch_of(x, y), replace(AVERAGE, damping=0.7, n_sweeps=100), 300.0)
    assert not result.accepted
    assert new.network is model.network
    assert new.mass == 0
    assert new.counts.rejected_batches == 1


@pytest.mark.parametrize("power", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.3])
def test_noise_maximises_the_power_ep_evidence(power, spread):
    rng = np.random.default_rng(1)
    residual = np.sqrt(0.3 + spread) * rng.standard_normal((400, 1))
    spreads = np.full((400, 1), spread)
    # A prior of no weight: the estimate is the maximum of the evidence itself.
    noise = NoiseEvidence(1e-12, 1e-14, 0.0, np.zeros(1)).absorb(residual, spreads, np.ones(400), power)

    def cost(log_v):
        v = np.exp(log_v)
        total = v + power * spread
        return (0.5 * residual**2 / total + 0.5 / power * np.log1p(power * spread / v) + 0.5 * np.log(v)).sum()

    best = np.exp(minimize_scalar(cost, bounds=(-12, 5), method="bounded", options={"xatol": 1e-10}).x)
    np.testing.assert_allclose(noise.variance[0], best, rtol=1e-4)


def test_noise_statistics_forget_as_the_weights_do():
    noise = NoiseEvidence(1.0, 0.1, 10.0, np.array([2.0]))
    half = noise.cavity(0.5)
    assert half.mass == 5.0
    np.testing.assert_array_equal(half.squares, [1.0])
    np.testing.assert_allclose(noise.variance, [2.1 / 11], rtol=1e-12)


def test_held_out_rows_say_the_noise_that_makes_them_most_probable():
    x, y = rows(80, 3)
    model, _ = absorb(gaussian_model(3), batch_of(x, y, slice(0, 40)), NEWTON, 40.0)
    held_out = Batch(observed(x[40:]), y[40:], np.linspace(0.5, 2, 40))
    variance, score = judge(model.network, held_out, NoiseEvidence(1e-9, 1e-9, 0.0, np.zeros(1)))
    mean, covariance = posterior_of(x[:40], y[:40])[1], np.linalg.inv(posterior_of(x[:40], y[:40])[0])
    spread = np.einsum("nj,jk,nk->n", x[40:], covariance, x[40:])

    def density(log_variance):
        return norm.logpdf(y[40:, 0], x[40:] @ mean, np.sqrt(spread + np.exp(log_variance))) @ held_out.sample_weight

    best = minimize_scalar(lambda v: -density(v), bounds=(-6, 3), method="bounded", options={"xatol": 1e-9})
    assert np.log(variance[0]) == pytest.approx(best.x, abs=1e-5)
    assert score == pytest.approx(-best.fun / held_out.mass, rel=1e-9)
