"""Newton steps over one batch against exact posteriors: linear regression, a grid, importance sampling."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.special import expit
from states import NOISE, linear_batch, one_layer, output_of, priors_of, random_state, two_layers, with_levels

from sk_epsnn._arrays import converted, to_numpy
from sk_epsnn.ep import newton as module
from sk_epsnn.ep.energy import energy
from sk_epsnn.ep.newton import _Ascent, newton
from sk_epsnn.ep.passes import predict
from sk_epsnn.ep.steps import kl_mean_part
from sk_epsnn.messages import observed
from sk_epsnn.network import Batch
from sk_epsnn.outputs import HeavisideOutput, SigmoidOutput, SoftmaxOutput
from sk_epsnn.outputs import softmax as softmax_output
from sk_epsnn.weights import IndependentWeights

KIND = pytest.mark.parametrize("kind", ["gaussian", "sigmoid"])


@KIND
@pytest.mark.parametrize("power", [0.0, 0.1, 1.0])
def test_newton_never_lowers_the_energy(kind, power):
    batch = linear_batch(150, 6, 2, kind)
    state = two_layers(6, 12, 2, output_of(kind, 2), seed=1, power=power)
    cavities = priors_of(state)
    before = energy(state, batch, cavities, cavities)
    result = newton(state, batch, cavities, step=1.0, n_sweeps=15, tol=0.0)
    assert np.isfinite(result.energy)
    assert result.energy > before
    np.testing.assert_allclose(energy(state, batch, result.posteriors, cavities), result.energy, rtol=1e-9)


def test_newton_on_levels_raises_the_energy_that_it_tells():
    """The variance of such weights follows the mean, so no part of the forward pass can be kept."""
    batch = linear_batch(150, 6, 2, "sigmoid")
    state = with_levels(random_state([6, 12, 2]), levels=(-1.0, 0.0, 1.0), constant=True)
    cavities = priors_of(state)
    result = newton(state, batch, cavities, step=1.0, n_sweeps=15, tol=0.0)
    assert result.energy > energy(state, batch, cavities, cavities) + 1
    np.testing.assert_allclose(energy(state, batch, result.posteriors, cavities), result.energy, rtol=1e-9)


@pytest.mark.parametrize("levels", [False, True])
def test_forward_pass_belongs_to_the_means_that_moved(levels, monkeypatch):
    """Without the precisions, which are tried after: what is kept of the pass before must still be right."""
    monkeypatch.setattr(_Ascent, "_move_precisions", lambda *args: None)
    batch, state = linear_batch(150, 6, 2, "sigmoid"), random_state([6, 12, 2])
    if levels:
        state = with_levels(state, levels=(-1.0, 0.0, 1.0), constant=True)
    cavities = priors_of(state)
    result = newton(state, batch, cavities, step=1.0, n_sweeps=1, tol=0.0)
    assert np.abs(result.posteriors[0].mean - cavities[0].mean).max() > 0.01
    np.testing.assert_allclose(energy(state, batch, result.posteriors, cavities), result.energy, rtol=1e-9)


def test_evidence_of_many_is_worked_out_once_for_each_trial(monkeypatch):
    """That of the start, of the means that moved, and of the precisions that followed; none once more for messages."""
    calls, won = [], softmax_output._won
    monkeypatch.setattr(softmax_output, "_won", lambda *args: [calls.append(1), won(*args)][1])
    rng = np.random.default_rng(0)
    X, label = rng.normal(size=(60, 3)), rng.integers(0, 4, 60)
    batch = Batch(observed(X), 2.0 * np.eye(4)[label] - 1, np.ones(60))
    state = one_layer(3, 4, SoftmaxOutput(), joint=True)
    for n_sweeps in (1, 2):
        calls.clear()
        result = newton(state, batch, priors_of(state), step=1.0, n_sweeps=n_sweeps, tol=0.0)
        assert result.counts.shortened_steps == result.counts.rejected_steps == result.counts.rejected_precisions == 0
        assert len(calls) == 1 + 2 * n_sweeps
    np.testing.assert_allclose(energy(state, batch, result.posteriors, priors_of(state)), result.energy, rtol=1e-9)


@pytest.mark.parametrize(("whole", "n_lengths"), [(True, 3), (False, 9)])
def test_lengths_that_are_tried_before_a_move_is_given_up(whole, n_lengths):
    """Precisions give up sooner: the next sweep has a better direction for them."""
    batch, state = linear_batch(30, 3, 1, "sigmoid"), one_layer(3, 1, SigmoidOutput(), joint=True)
    ascent, lengths = _Ascent(state, batch, priors_of(state)), []

    def worse(length):
        lengths.append(length)
        return ascent.here._replace(data_energy=-np.inf)

    assert ascent._search(worse, [np.zeros((30, 1))], 0.4, whole=whole) == 0
    assert lengths == [0.4 / 2**k for k in range(n_lengths)]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("loss", [0.5, 1e4])
def test_single_precision_rows_do_not_make_what_weights_cost_rough(loss, whole):
    """A weight far from a prior that is next to flat, as one that is not Gaussian may leave it, costs 10^12 nats."""
    batch, state = linear_batch(30, 3, 1, "sigmoid").in_dtype("float32"), one_layer(3, 1, SigmoidOutput())
    far = IndependentWeights(np.array([[1e-12, 1.0, 1.0]]), np.array([[1.5e12, 0.0, 0.0]]))
    ascent = _Ascent(state, batch, [far])
    assert 1e12 < kl_mean_part(state.posteriors[0], far) < 2e12

    def worse(length):
        return ascent.here._replace(data_energy=ascent.here.data_energy - loss)

    assert ascent._search(worse, [np.zeros((30, 1), np.float32)], 0.4, whole=whole) == 0


def test_newton_gradient_vanishes_at_its_fixed_point():
    """Finite differences of the energy in the means, an oracle that knows nothing of messages."""
    batch = linear_batch(120, 4, 1, "sigmoid")
    state = one_layer(4, 1, SigmoidOutput(), joint=True)
    cavities = priors_of(state)
    result = newton(state, batch, cavities, step=1.0, n_sweeps=60, tol=0.0)
    q = result.posteriors[0]
    for j in range(4):
        shift = np.zeros((1, 4))
        shift[0, j] = 1e-4
        up = energy(state, batch, [type(q)(q.precision, q.mean + shift)], cavities)
        down = energy(state, batch, [type(q)(q.precision, q.mean - shift)], cavities)
        assert abs(up - down) / 2e-4 < 1e-4


@pytest.mark.parametrize("weights", ["ones", "mixed"])
def test_gaussian_layer_is_bayesian_linear_regression(weights):
    n, n_in = 60, 5
    batch = linear_batch(n, n_in, 1, "gaussian")
    weight = np.ones(n) if weights == "ones" else np.random.default_rng(1).uniform(0.1, 3, n)
    batch = replace(batch, sample_weight=weight)
    state = one_layer(n_in, 1, output_of("gaussian", 1), joint=True, power=0.0, variance=2.0)
    q = newton(state, batch, priors_of(state), step=1.0, n_sweeps=5, tol=0.0).posteriors[0]
    x = batch.inputs.mean
    precision = np.eye(n_in) / 2.0 + (x * weight[:, None]).T @ x / NOISE
    mean = np.linalg.solve(precision, x.T @ (weight[:, None] * batch.target) / NOISE)[:, 0]
    np.testing.assert_allclose(q.precision[0], precision, rtol=1e-9)
    np.testing.assert_allclose(q.mean[0], mean, rtol=1e-7, atol=1e-9)


def test_steps_start_from_twice_the_last_one():
    """A linear layer is solved by one full step; half of it, which is what a quarter doubles to, goes half the way."""
    batch = linear_batch(60, 5, 1, "gaussian")
    state = one_layer(5, 1, output_of("gaussian", 1), joint=True, power=0.0)
    full, half, more = (newton(state, batch, priors_of(state), step=s, n_sweeps=1, tol=0.0) for s in (1.0, 0.25, 0.5))
    assert (full.step, half.step, more.step) == (1.0, 0.5, 1.0)
    np.testing.assert_allclose(half.posteriors[0].mean, 0.5 * full.posteriors[0].mean, rtol=1e-9)
    np.testing.assert_array_equal(more.posteriors[0].mean, full.posteriors[0].mean)


def test_sweeps_end_when_they_gain_little():
    """With any gain below the tolerance, the first sweep is the last."""
    batch = linear_batch(120, 4, 1, "sigmoid")
    state = one_layer(4, 1, SigmoidOutput(), joint=True)
    once, patient, content = (
        newton(state, batch, priors_of(state), step=1.0, n_sweeps=n, tol=tol)
        for n, tol in ((1, 0.0), (60, 0.0), (60, 100.0))
    )
    np.testing.assert_array_equal(content.posteriors[0].mean, once.posteriors[0].mean)
    assert patient.energy > once.energy + 1e-6


# Units that compete


def ordered_bins(n=210, n_bins=7):
    """One feature, whose bins in their order are the classes, and the constant."""
    x = np.linspace(-1, 1, n)
    label = np.minimum((x + 1) / 2 * n_bins, n_bins - 1).astype(int)
    weight = np.random.default_rng(0).uniform(0.5, 2, n)
    return Batch(observed(np.stack([x, np.ones(n)], axis=1)), 2.0 * np.eye(n_bins)[label] - 1, weight)


def each_alone(monkeypatch):
    """Let every class have a curvature of its own only."""
    monkeypatch.setattr(SoftmaxOutput, "competition", lambda *args: None)


def differences(function, at, step):
    """Gradient and matrix of second derivatives by finite differences, flat."""
    units = step * np.eye(at.size).reshape(-1, *at.shape)
    slope = np.array([function(at + e) - function(at - e) for e in units]) / (2 * step)
    bent = [
        function(at + a + b) - function(at + a - b) - function(at - a + b) + function(at - a - b)
        for a, b in product(units, units)
    ]
    return slope, np.reshape(bent, (at.size, at.size)) / (4 * step**2)


@pytest.mark.parametrize("joint", [True, False])
def test_direction_of_competing_units_is_that_of_a_dense_solve(joint, monkeypatch):
    """Of the energy of means whose variances are next to nothing, by finite differences that know of no message."""
    found = []
    monkeypatch.setattr(_Ascent, "_move_means", lambda self, solutions, *args: found.extend(solutions) or 0.0)
    monkeypatch.setattr(_Ascent, "_move_precisions", lambda *args: None)
    monkeypatch.setattr(module, "COMPETING_TOL", 1e-9)
    rng = np.random.default_rng(2)
    X, weight = rng.standard_normal((40, 3)), rng.uniform(0.1, 2, 40)
    batch = Batch(observed(X), 2.0 * np.eye(4)[rng.integers(0, 4, 40)] - 1, weight)
    state = one_layer(3, 4, SoftmaxOutput(), joint=joint, power=0.0)
    sharp = type(state.posteriors[0])(1e8 * state.posteriors[0].precision, rng.standard_normal((4, 3)))
    cavities, state = priors_of(state), state.with_posteriors([sharp])

    def of(mean):
        return energy(state, batch, [sharp.with_mean(mean)], cavities)

    newton(state, batch, cavities, step=1.0, n_sweeps=1, tol=0.0)
    slope, hessian = differences(of, sharp.mean, 2e-3)
    expected = np.linalg.solve(-hessian, slope).reshape(4, 3)
    np.testing.assert_allclose(found[0].delta, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(found[0].image, X @ found[0].delta.T, atol=1e-10)
    alone = np.linalg.solve(-hessian * np.kron(np.eye(4), np.ones((3, 3))), slope).reshape(4, 3)
    assert np.abs(alone - expected).max() > 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("joint", [True, False])
def test_ordered_classes_settle_in_few_sweeps(joint, monkeypatch):
    """Where every class follows a curvature of its own alone, many times as many sweeps get less far."""
    batch, state = ordered_bins(), one_layer(2, 7, SoftmaxOutput(), joint=joint, power=0.0, variance=40.0)

    def result(n_sweeps):
        return newton(state, batch, priors_of(state), step=1.0, n_sweeps=n_sweeps, tol=0.0)

    few, settled = result(10), result(40)
    assert few.energy > settled.energy - 1e-3
    assert few.counts.shortened_steps == few.counts.rejected_steps == 0
    each_alone(monkeypatch)
    assert result(80).energy < few.energy - 1


def test_competing_weights_on_levels_move_one_by_one(monkeypatch):
    batch = ordered_bins()
    state = with_levels(one_layer(2, 7, SoftmaxOutput(), power=0.0), levels=(-1.0, 0.0, 1.0), constant=True)
    together = newton(state, batch, priors_of(state), step=1.0, n_sweeps=3, tol=0.0)
    each_alone(monkeypatch)
    alone = newton(state, batch, priors_of(state), step=1.0, n_sweeps=3, tol=0.0)
    assert together.energy == alone.energy > energy(state, batch, priors_of(state), priors_of(state)) + 1
    np.testing.assert_array_equal(together.posteriors[0].shift, alone.posteriors[0].shift)


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("spoilt", [np.nan, -1.0])
def test_direction_that_rounding_has_spoilt_is_not_followed(joint, spoilt, monkeypatch):
    """Numbers that are not finite, or a direction that leads down."""
    solved = module.conjugate_gradient
    monkeypatch.setattr(module, "conjugate_gradient", lambda *args: tuple(spoilt * part for part in solved(*args)))
    batch, state = ordered_bins(), one_layer(2, 7, SoftmaxOutput(), joint=joint, power=0.0)
    result = newton(state, batch, priors_of(state), step=1.0, n_sweeps=5, tol=0.0)
    assert result.counts.rejected_steps == 0
    assert result.energy > energy(state, batch, priors_of(state), priors_of(state)) + 10
    np.testing.assert_allclose(energy(state, batch, result.posteriors, priors_of(state)), result.energy, rtol=1e-9)


@pytest.mark.parametrize("joint", [True, False])
def test_competing_units_on_arrays_of_another_library(joint):
    xp = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    batch, state = ordered_bins(), one_layer(2, 7, SoftmaxOutput(), joint=joint, power=0.0)
    there = converted((state, batch, priors_of(state)), lambda array: xp.asarray(np.asarray(array)))
    ours = newton(state, batch, priors_of(state), step=1.0, n_sweeps=5, tol=0.0)
    theirs = newton(*there, step=1.0, n_sweeps=5, tol=0.0)
    assert type(theirs.posteriors[0].mean) is type(xp.asarray(np.zeros(1)))
    np.testing.assert_allclose(theirs.energy, ours.energy, rtol=1e-9)
    np.testing.assert_allclose(to_numpy(theirs.posteriors[0].mean), ours.posteriors[0].mean, rtol=1e-6, atol=1e-9)


def test_competing_units_behind_spikes_raise_the_energy():
    """A hidden layer below, in single precision as well."""
    batch = ordered_bins()
    state = two_layers(2, 12, 7, SoftmaxOutput(), seed=1, power=0.0)
    cavities = priors_of(state)
    for rows, tolerance in ((batch, 1e-9), (batch.in_dtype("float32"), 1e-4)):
        result = newton(state, rows, cavities, step=1.0, n_sweeps=15, tol=0.0)
        assert result.energy > energy(state, rows, cavities, cavities) + 50
        np.testing.assert_allclose(energy(state, rows, result.posteriors, cavities), result.energy, rtol=tolerance)


# Two weights and three neurons whose posterior is known


def grid_posterior(batch, log_likelihood, half_width=7.0, points=141):
    """Moments of a posterior over two weights with prior N(0, I), by brute force."""
    axis = np.linspace(-half_width, half_width, points)
    w = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    log_p = -0.5 * (w**2).sum(1) + log_likelihood(batch.inputs.mean @ w.T * batch.target).sum(0)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ w
    return mean, np.sqrt(p @ (w - mean) ** 2)


@pytest.mark.parametrize(
    ("output", "log_likelihood", "mean_error", "sd_error"),
    [
        (SigmoidOutput(), lambda margin: -np.logaddexp(0, -margin), 0.15, 0.1),
        # The cavity shared by all samples costs a Heaviside output a fraction of a standard deviation.
        (HeavisideOutput(noise_variance=0), lambda margin: np.where(margin >= 0, 0.0, -np.inf), 0.6, 0.5),
    ],
    ids=["sigmoid", "heaviside"],
)
def test_two_weights_against_a_grid(output, log_likelihood, mean_error, sd_error):
    rng = np.random.default_rng(3)
    x = np.hstack([rng.standard_normal((40, 1)), np.ones((40, 1))])
    u = x @ np.array([[1.2], [-0.4]])
    target = (
        np.where(u >= 0, 1.0, -1.0)
        if output.name == "heaviside"
        else np.where(rng.random(u.shape) < expit(u), 1.0, -1.0)
    )
    batch = Batch(observed(x), target, np.ones(40))
    state = one_layer(2, 1, output, joint=True)
    q = newton(state, batch, priors_of(state), step=1.0, n_sweeps=80, tol=0.0).posteriors[0]
    mean, sd = grid_posterior(batch, log_likelihood)
    assert np.abs(q.mean[0] - mean).max() < mean_error * sd.max()
    np.testing.assert_allclose(np.sqrt(np.diag(np.linalg.inv(q.precision[0]))), sd, rtol=sd_error)


@pytest.mark.parametrize("hidden", ["heaviside", "sigmoid"])
def test_tiny_network_against_importance_sampling(hidden):
    """Predictive probabilities of a 2-3-1 network, the exact posterior sampled from its prior."""
    rng = np.random.default_rng(0)
    state = two_layers(2, 3, 1, SigmoidOutput(), seed=5, hidden=hidden)
    x = np.hstack([rng.uniform(-2, 2, (12, 1)), np.ones((12, 1))])
    target = np.where(x[:, :1] > 0, 1.0, -1.0)
    batch = Batch(observed(x), target, np.ones(12))
    result = newton(state, batch, priors_of(state), step=1.0, n_sweeps=100, tol=0.0)
    trained = state.with_posteriors(result.posteriors)
    mean, variance, _ = predict(trained, batch.inputs, trained.moments(np.dtype(float)))
    ours = np.exp(SigmoidOutput().log_partition(mean, variance, np.ones_like(mean), 1.0))[:, 0]

    n_draws = 200_000
    first = state.layers[0].prior.mean + rng.standard_normal((n_draws, 3, 2))
    last = np.sqrt(0.5) * rng.standard_normal((n_draws, 4))
    u = np.einsum("dij,nj->dni", first, x)
    fire = (u >= 0) if hidden == "heaviside" else rng.random(u.shape) < expit(u)
    probability = expit(np.einsum("dni,di->dn", fire, last[:, :3]) + last[:, 3:])
    likelihood = np.where(target[:, 0] > 0, probability, 1 - probability).prod(1)
    exact = likelihood @ probability / likelihood.sum()
    assert np.abs(ours - exact).max() < 0.12
    assert np.corrcoef(ours, exact)[0, 1] > 0.99
