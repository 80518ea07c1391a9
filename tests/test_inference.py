"""One batch: both schedules against each other and against exact posteriors."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sk_epsnn.inference import Batch, average_ep, energy, newton

from sk_epsnn.messages import observed
from sk_epsnn.network import Layer, Network
from sk_epsnn.neurons import Heaviside, Sigmoid
from sk_epsnn.outputs import GaussianOutput, HeavisideOutput, SigmoidOutput
from sk_epsnn.priors import GaussianPrior

NOISE = 0.3


def one_layer(n_in, n_out, output, *, joint=False, power=1.0, variance=1.0):
    prior = GaussianPrior().density(np.zeros((n_out, n_in)), np.full((n_out, n_in), variance), joint)
    return Network([Layer(prior, prior, 1.0)], [], output, True, power)


def two_layers(n_in, n_hidden, n_out, output, seed, hidden=Heaviside, power=1.0):
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((n_hidden, n_in))
    first = GaussianPrior().density(means, np.ones((n_hidden, n_in)), False)
    last = GaussianPrior().density(np.zeros((n_out, n_hidden + 1)), np.full((n_out, n_hidden + 1), 0.5), True)
    return Network([Layer(first, first, 1.0), Layer(last, last, 1.0)], [hidden()], output, True, power)


def data(n, n_in, n_out, kind, seed=0):
    rng = np.random.default_rng(seed)
    x = np.hstack([rng.standard_normal((n, n_in - 1)), np.ones((n, 1))])
    u = x @ rng.standard_normal((n_in, n_out))
    if kind == "gaussian":
        target = u + np.sqrt(NOISE) * rng.standard_normal(u.shape)
    else:
        target = np.where(rng.random(u.shape) < expit(u), 1.0, -1.0)
    return Batch(observed(x), target, np.ones(n))


def output_of(kind, n_out):
    return GaussianOutput(np.full(n_out, NOISE)) if kind == "gaussian" else SigmoidOutput()


def cavities_of(network):
    return [layer.prior for layer in network.layers]


@pytest.mark.parametrize("kind", ["gaussian", "sigmoid"])
def test_schedules_share_their_fixed_point(kind):
    network, batch = one_layer(5, 2, output_of(kind, 2)), data(200, 5, 2, kind)
    cavities = cavities_of(network)
    slow = average_ep(network, batch, cavities, damping=0.3, n_sweeps=2000, tol=1e-12, leave_one_out=False)
    fast = newton(network, batch, cavities, step=1.0, n_sweeps=60, tol=0.0)
    assert slow.accepted
    np.testing.assert_allclose(fast.posteriors[0].mean, slow.posteriors[0].mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(fast.posteriors[0].precision, slow.posteriors[0].precision, rtol=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "sigmoid"])
def test_leaving_one_out_matters_less_with_more_samples(kind):
    gaps = []
    for n in (100, 1600):
        network, batch = one_layer(5, 2, output_of(kind, 2)), data(n, 5, 2, kind)
        options = dict(damping=0.3, n_sweeps=2000, tol=1e-12)
        exact = average_ep(network, batch, cavities_of(network), leave_one_out=True, **options).posteriors[0]
        limit = average_ep(network, batch, cavities_of(network), leave_one_out=False, **options).posteriors[0]
        gaps.append(np.abs(exact.mean - limit.mean).max())
    assert 0 < gaps[1] < gaps[0] / 4


def test_average_ep_refuses_to_diverge():
    # Inputs that are not centred: the parallel iteration has a spectral radius far above 2 / 0.7.
    rng = np.random.default_rng(0)
    x = np.hstack([(rng.random((300, 40)) < 0.5).astype(float), np.ones((300, 1))])
    target = np.where(rng.random((300, 2)) < 0.5, 1.0, -1.0)
    network = one_layer(41, 2, SigmoidOutput())
    batch = Batch(observed(x), target, np.ones(300))
    result = average_ep(network, batch, cavities_of(network), damping=0.7, n_sweeps=200, tol=1e-6)
    assert not result.accepted
    assert result.counts.rejected_batches == 1
    assert result.posteriors[0] is network.layers[0].posterior
    # The same problem is no trouble for a smaller step.
    calm = average_ep(network, batch, cavities_of(network), damping=0.02, n_sweeps=500, tol=1e-6)
    assert calm.accepted


@pytest.mark.parametrize("kind", ["gaussian", "sigmoid"])
@pytest.mark.parametrize("power", [0.0, 0.1, 1.0])
def test_newton_never_lowers_the_energy(kind, power):
    batch = data(150, 6, 2, kind)
    network = two_layers(6, 12, 2, output_of(kind, 2), seed=1, power=power)
    cavities = cavities_of(network)
    before = energy(network, batch, cavities, cavities)
    result = newton(network, batch, cavities, step=1.0, n_sweeps=15, tol=0.0)
    assert np.isfinite(result.energy)
    assert result.energy > before
    np.testing.assert_allclose(energy(network, batch, result.posteriors, cavities), result.energy, rtol=1e-9)


def test_newton_gradient_vanishes_at_its_fixed_point():
    """Finite differences of the energy in the means, an oracle that knows nothing of messages."""
    batch = data(120, 4, 1, "sigmoid")
    network = one_layer(4, 1, SigmoidOutput(), joint=True)
    cavities = cavities_of(network)
    result = newton(network, batch, cavities, step=1.0, n_sweeps=60, tol=0.0)
    q = result.posteriors[0]
    for j in range(4):
        shift = np.zeros((1, 4))
        shift[0, j] = 1e-4
        up = energy(network, batch, [type(q)(q.precision, q.mean + shift)], cavities)
        down = energy(network, batch, [type(q)(q.precision, q.mean - shift)], cavities)
        assert abs(up - down) / 2e-4 < 1e-4


@pytest.mark.parametrize("weights", ["ones", "mixed"])
def test_gaussian_layer_is_bayesian_linear_regression(weights):
    n, n_in = 60, 5
    batch = data(n, n_in, 1, "gaussian")
    weight = np.ones(n) if weights == "ones" else np.random.default_rng(1).uniform(0.1, 3, n)
    batch = replace(batch, sample_weight=weight)
    network = one_layer(n_in, 1, output_of("gaussian", 1), joint=True, power=0.0, variance=2.0)
    q = newton(network, batch, cavities_of(network), step=1.0, n_sweeps=5, tol=0.0).posteriors[0]
    x = batch.inputs.mean
    precision = np.eye(n_in) / 2.0 + (x * weight[:, None]).T @ x / NOISE
    mean = np.linalg.solve(precision, x.T @ (weight[:, None] * batch.target) / NOISE)[:, 0]
    np.testing.assert_allclose(q.precision[0], precision, rtol=1e-9)
    np.testing.assert_allclose(q.mean[0], mean, rtol=1e-7, atol=1e-9)


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
        (HeavisideOutput(), lambda margin: np.where(margin >= 0, 0.0, -np.inf), 0.6, 0.5),
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
    network = one_layer(2, 1, output, joint=True)
    q = newton(network, batch, cavities_of(network), step=1.0, n_sweeps=80, tol=0.0).posteriors[0]
    mean, sd = grid_posterior(batch, log_likelihood)
    assert np.abs(q.mean[0] - mean).max() < mean_error * sd.max()
    np.testing.assert_allclose(np.sqrt(np.diag(np.linalg.inv(q.precision[0]))), sd, rtol=sd_error)


@pytest.mark.parametrize("hidden", [Heaviside, Sigmoid])
def test_tiny_network_against_importance_sampling(hidden):
    """Predictive probabilities of a 2-3-1 network, the exact posterior sampled from its prior."""
    rng = np.random.default_rng(0)
    network = two_layers(2, 3, 1, SigmoidOutput(), seed=5, hidden=hidden)
    x = np.hstack([rng.uniform(-2, 2, (12, 1)), np.ones((12, 1))])
    target = np.where(x[:, :1] > 0, 1.0, -1.0)
    batch = Batch(observed(x), target, np.ones(12))
    result = newton(network, batch, cavities_of(network), step=1.0, n_sweeps=100, tol=0.0)
    trained = replace(
        network, layers=[replace(a, posterior=q) for a, q in zip(network.layers, result.posteriors, strict=True)]
    )
    mean, variance, _ = trained.predict(batch.inputs, trained.moments(np.dtype(float)))
    ours = np.exp(SigmoidOutput().log_partition(mean, variance, np.ones_like(mean), 1.0))[:, 0]

    n_draws = 200_000
    first = network.layers[0].prior.mean + rng.standard_normal((n_draws, 3, 2))
    last = np.sqrt(0.5) * rng.standard_normal((n_draws, 4))
    u = np.einsum("dij,nj->dni", first, x)
    fire = (u >= 0) if hidden is Heaviside else rng.random(u.shape) < expit(u)
    probability = expit(np.einsum("dni,di->dn", fire, last[:, :3]) + last[:, 3:])
    likelihood = np.where(target[:, 0] > 0, probability, 1 - probability).prod(1)
    exact = likelihood @ probability / likelihood.sum()
    assert np.abs(ours - exact).max() < 0.12
    assert np.corrcoef(ours, exact)[0, 1] > 0.99
