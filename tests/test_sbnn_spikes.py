"""Estimates of the slope of a spike against enumeration: of one spike in closed form, of a network by all patterns."""

import numpy as np
import pytest
from sbnn_oracles import dense, differences, estimates, exact_loss, some_weights, target_of
from scipy.integrate import quad
from scipy.stats import norm

from sk_epsnn.sbnn import spikes
from sk_epsnn.sbnn.options import GRADIENTS, Concrete, Rao, ReinMax, StraightThrough

POTENTIALS = np.array([-2.5, -0.4, 0.0, 1.1])


def expected_slope(fire, derivative, a):
    """Mean over the noise of the estimate for a loss of this derivative, by quadrature on both sides of the jump."""

    def integrand(noise):
        fired = fire(np.array([[a]]), np.array([[noise]]))
        return float(fired.slope[0, 0] * derivative(fired.spikes[0, 0]) * norm.pdf(noise))

    parts = [quad(integrand, *ends, epsabs=1e-12, limit=200)[0] for ends in ((-12, -a), (-a, 12))]
    return sum(parts)


@pytest.mark.parametrize("a", POTENTIALS)
@pytest.mark.parametrize("fire", [spikes.straight_through, spikes.reinmax, Rao(width=0.5).fire])
def test_importance_weighted_estimates_are_exact_where_the_loss_is_linear(fire, a):
    assert expected_slope(fire, lambda t: 3.0, a) == pytest.approx(3 * norm.pdf(a), rel=1e-7)


@pytest.mark.parametrize("a", POTENTIALS)
def test_the_trapezoid_is_exact_where_the_loss_is_quadratic(a):
    # f(t) = t^2 - 4 t: f(1) - f(0) = -3.
    slope = expected_slope(spikes.reinmax, lambda t: 2 * t - 4, a)
    assert slope == pytest.approx(-3 * norm.pdf(a), rel=1e-7)


@pytest.mark.parametrize("a", POTENTIALS)
def test_the_bias_is_that_of_the_mass_at_one(a):
    # f'' = 2: the bias is phi(a) (pi_1 - 1/2) f''.
    for fire, mass in ((spikes.straight_through, norm.cdf(a)), (Rao(width=1.0).fire, norm.cdf(a / np.sqrt(2)))):
        bias = expected_slope(fire, lambda t: 2 * t, a) - norm.pdf(a)
        assert bias == pytest.approx(norm.pdf(a) * 2 * (mass - 0.5), rel=1e-6, abs=1e-9)


def test_widths_of_rao_lead_from_the_trapezoid_to_straight_through():
    a, noise = np.random.default_rng(0).standard_normal((2, 50, 3))
    np.testing.assert_allclose(spikes.rao(a, noise, 1e-9).slope, spikes.reinmax(a, noise).slope, rtol=1e-7)
    np.testing.assert_allclose(spikes.rao(a, noise, 1e9).slope, spikes.straight_through(a, noise).slope, rtol=1e-7)


def test_the_trapezoid_is_reinmax_with_two_classes():
    """ReinMax as it is published: ``2 J(pi_1) g - J(pi) g / 2``, ``pi_1`` the mean of the softmax and the sample."""
    logit = np.linspace(-3, 3, 7)
    pi = np.stack([1 / (1 + np.exp(logit)), 1 / (1 + np.exp(-logit))], axis=1)
    for outcome in (0, 1):
        one_hot = np.eye(2)[np.full(len(logit), outcome)]
        middle = 0.5 * (pi + one_hot)
        g = np.array([0.0, 1.0])  # derivative in the indicator of a spike

        def jacobian_times(p, g=g):
            return p * g - p * (p @ g)[:, np.newaxis]

        published = (2 * jacobian_times(middle) - 0.5 * jacobian_times(pi))[:, 1]
        # Ours: the slope of P times the weight of the outcome, with P' = P (1 - P) of a logistic spike.
        slope = pi[:, 0] * pi[:, 1]
        np.testing.assert_allclose(published, slope * 0.5 / pi[:, outcome], rtol=1e-12)
        a, noise = norm.ppf(pi[:, 1]), np.where(outcome, 9.0, -9.0)
        np.testing.assert_allclose(
            spikes.reinmax(a, noise).slope / norm.pdf(a), published / slope, rtol=1e-9, err_msg=f"outcome {outcome}"
        )


def test_relaxed_spikes_have_the_slope_of_what_they_are():
    a, noise, step = np.linspace(-2, 2, 9), np.linspace(0.5, -0.5, 9), 1e-6
    above, below = (spikes.concrete(a + sign * step, noise, 0.7, False).spikes for sign in (1, -1))
    fired = spikes.concrete(a, noise, 0.7, False)
    np.testing.assert_allclose(fired.slope, (above - below) / (2 * step), rtol=1e-7)
    hard = spikes.concrete(a, noise, 0.7, True)
    np.testing.assert_array_equal(hard.spikes, a + noise >= 0)
    np.testing.assert_array_equal(hard.slope, fired.slope)


def test_spikes_without_noise():
    u = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    np.testing.assert_allclose(spikes.fast_sigmoid(u, 25.0).slope, 1 / (1 + 25 * np.abs(u)) ** 2)
    np.testing.assert_array_equal(spikes.clipped_identity(u).slope, [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(spikes.fast_sigmoid(u, 25.0).spikes, [0, 0, 1, 1, 1])


def relative_bias_and_sd(sizes, gradient, seeds=(0, 1, 2), **weights):
    """Root of the summed squares over networks, relative to the exact gradient; sd of one draw."""
    bias = size = variance = 0.0
    for seed in seeds:
        network = dense(sizes)
        moments = some_weights(network, seed=seed, **weights)
        x, target = np.array([1.0, 0, 1, 1, 1])[: sizes[0] + 1], target_of(seed % sizes[-1], sizes[-1])
        x[-1] = 1.0
        exact = differences(lambda: exact_loss(network, moments, x, target), moments[0].mean)  # noqa: B023
        draws = estimates(network, gradient, moments, x, target, n_batches=100, n_rows=400, seed=seed)[:, 0]
        noise = draws.var(axis=0).sum()
        bias += np.square(draws.mean(axis=0) - exact).sum() - noise / len(draws)
        size, variance = size + np.square(exact).sum(), variance + 400 * noise
    return np.sqrt(max(bias, 0.0) / size), np.sqrt(variance / size)


def test_bias_and_variance_of_a_layer_trade_off():
    """One hidden layer: straight-through, Rao and the trapezoid in the order of their laws."""
    laws = [StraightThrough(), Rao(width=1.0), Rao(width=0.5), ReinMax()]
    table = np.array([relative_bias_and_sd((4, 4, 2), law, ratio=20.0) for law in laws])
    assert (np.diff(table[:, 0]) < 0).all()
    assert (np.diff(table[:, 1]) > 0).all()
    assert table[3, 0] < 0.02
    assert relative_bias_and_sd((4, 4, 2), Concrete(width=1.0, hard=True), ratio=20.0)[0] > 0.15


def test_noise_of_the_weights_is_what_makes_gradients_right():
    """Two narrow layers: a tenth of the noise makes the bias several times as large."""
    noisy, calm = (relative_bias_and_sd((4, 3, 3, 2), ReinMax(), ratio=r, scale=3.0)[0] for r in (1.0, 20.0))
    assert noisy < 0.3
    assert calm > 2 * noisy


def test_the_trapezoid_agrees_with_enumeration():
    network = dense((4, 4, 2))
    weights = some_weights(network, ratio=5.0, seed=3)
    x, target = np.array([1.0, 0, 1, 1, 1]), target_of(1, 2)
    draws = estimates(network, ReinMax(), weights, x, target, n_batches=100, n_rows=2000)
    error = draws.std(axis=0) / np.sqrt(len(draws))
    for kind, array in enumerate(weights[0]):
        exact = differences(lambda: exact_loss(network, weights, x, target), array)
        # Third derivatives leave a bias of about a hundredth.
        assert (np.abs(draws[:, kind].mean(axis=0) - exact) < 5 * error[kind] + 0.02 * np.abs(exact).max()).all()


def test_names():
    assert set(GRADIENTS) == {"straight_through", "rao", "reinmax", "concrete", "surrogate"}
    assert all(kind().name == name for name, kind in GRADIENTS.items())
