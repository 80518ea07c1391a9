"""Families of weights: moments, gradients and divergences against differences, quadrature and enumeration."""

import numpy as np
import pytest
from sbnn_oracles import differences
from scipy.integrate import quad
from scipy.stats import norm

from sk_epsnn.sbnn.weights import GaussianFamily, LevelFamily, Prior, tanh

FAMILIES = {
    "gaussian": (GaussianFamily(0), Prior(0.3, 0.5)),
    "with a rest": (GaussianFamily(0, has_rest=True), Prior(0.0, 0.5)),
    "levels": (LevelFamily(0, 0.7), Prior(0.0, 1.0)),
    "levels with a gain": (LevelFamily(0, 0.7, has_gain=True), Prior((0.2, -0.1), np.full(3, 0.8))),
}


def started(family):
    mean = np.random.default_rng(0).standard_normal((3, 5))
    return {name: array.astype(np.float64) for name, array in family.start(mean, 4.0).items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_go_back_to_parameters(name):
    family, _ = FAMILIES[name]
    parameters = started(family)
    to_mean, to_variance = np.random.default_rng(1).standard_normal((2, 3, 5))

    def loss():
        mean, variance = family.moments(parameters)
        return (to_mean * mean).sum() + (to_variance * variance).sum()

    gradient = family.pulled(parameters, family.moments(parameters), to_mean, to_variance)
    assert set(gradient) == set(parameters)
    for key, array in parameters.items():
        expected = differences(loss, array)
        if family.has_rest:
            expected[:, -2] = 0.0
        np.testing.assert_allclose(gradient[key], expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_of_divergences(name):
    family, prior = FAMILIES[name]
    parameters = started(family)
    gradient = family.divergence_gradient(parameters, prior)
    for key, slope in gradient.items():
        expected = differences(lambda: family.divergence(parameters, prior), parameters[key])
        if family.has_rest and key.startswith("mean"):
            expected[:, -2] = 0.0
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-8)


def test_divergence_of_gaussian_weights_by_quadrature():
    family = GaussianFamily(0)
    parameters = {"mean0": np.array([[0.4]]), "log_sd0": np.array([[-0.7]])}
    q, p = norm(0.4, np.exp(-0.7)), norm(0.1, 0.9)
    expected = quad(lambda w: q.pdf(w) * (q.logpdf(w) - p.logpdf(w)), -6, 6)[0]
    assert family.divergence(parameters, Prior(0.1, 0.81)) == pytest.approx(expected, rel=1e-9)


def test_divergence_of_levels_by_enumeration():
    family = LevelFamily(0, 0.5)
    parameters = {
        "logit0": np.array([[0.8, -1.5]]),
        "bias0": np.array([0.3]),
        "bias_log_sd0": np.array([np.log(0.6)]),
    }
    up, before = 1 / (1 + np.exp(-2 * parameters["logit0"])), 1 / (1 + np.exp(-2 * 0.2))
    expected = (up * np.log(up / before) + (1 - up) * np.log((1 - up) / (1 - before))).sum()
    expected += 0.5 * ((0.3 - 0.2) ** 2 / 0.9 + 0.36 / 0.9 - 1 - np.log(0.36 / 0.9))
    assert family.divergence(parameters, Prior(0.2, 0.9)) == pytest.approx(expected, rel=1e-12)
    mean, variance = family.moments(parameters)
    np.testing.assert_allclose(mean[:, :-1], 0.5 * (2 * up - 1))
    np.testing.assert_allclose(variance[:, :-1], 0.25 * 4 * up * (1 - up))


def test_a_learned_variance_is_the_best():
    family = GaussianFamily(0)
    parameters = started(family)
    prior = family.prior(parameters, Prior(0.2, 1.0, True))
    best = family.divergence(parameters, prior)
    assert prior.variance != 1.0
    for factor in (0.9, 1.1):
        assert family.divergence(parameters, prior._replace(variance=factor * prior.variance)) > best
    assert family.prior(parameters, Prior(0.2, 1.0)).variance == 1.0


def test_the_posterior_is_the_next_prior():
    for name, (family, prior) in FAMILIES.items():
        parameters = started(family)
        later = family.becomes_prior(parameters, prior)
        assert family.divergence(parameters, later) == pytest.approx(0.0, abs=1e-12), name
        for slope in family.divergence_gradient(parameters, later).values():
            np.testing.assert_allclose(slope, 0.0, atol=1e-12)


def test_points_have_no_divergence():
    family = GaussianFamily(2, is_noisy=False)
    parameters = started(family)
    assert list(parameters) == ["mean2"]
    assert family.moments(parameters).variance is None
    assert family.divergence(parameters, Prior(0.0, 1.0)) == 0
    assert family.divergence_gradient(parameters, Prior(0.0, 1.0)) == {}


def test_starts():
    mean = np.random.default_rng(0).standard_normal((30, 50))
    gaussian = GaussianFamily(0)
    moments = gaussian.moments(gaussian.start(mean, 8.0))
    assert np.square(moments.mean[:, :-1]).mean() / moments.variance.mean() == pytest.approx(8.0)
    levels = LevelFamily(0, 0.1, has_gain=True)
    moments = levels.moments(levels.start(mean, 8.0))
    np.testing.assert_allclose(moments.mean[:, :-1] ** 2 + moments.variance[:, :-1], 0.01)
    np.testing.assert_array_equal(np.sign(moments.mean), np.sign(mean))


def test_hyperbolic_tangent():
    x = np.array([-400.0, -2.0, 0.0, 0.5, 300.0])
    np.testing.assert_allclose(tanh(x), np.tanh(x), rtol=1e-12, atol=1e-16)
