"""Prior variances learned from evidence, against the evidence itself."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal

from sk_epsnn.ep import learned_prior
from sk_epsnn.ep.learned_prior import with_learned_variance
from sk_epsnn.ep.state import LayerState
from sk_epsnn.weights import IndependentWeights, JointWeights

NOISE = 0.3


def linear(joint, n_features=30, constant=False):
    """Posterior of a linear layer of one unit, exact where the columns are orthogonal or the weights joint."""
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.standard_normal((80, n_features)))[0] * np.sqrt(80)
    if constant:
        x[:, -1] = 1.0
    y = x @ rng.standard_normal(n_features) * 0.4 + np.sqrt(NOISE) * rng.standard_normal(80)
    prior = np.ones(n_features)
    gram, shift = x.T @ x / NOISE, x.T @ y / NOISE
    if joint:
        precision = np.diag(prior) + gram
        layer = LayerState(
            JointWeights(np.diag(prior)[None], np.zeros((1, n_features))),
            JointWeights(precision[None], np.linalg.solve(precision, shift)[None]),
            1.0,
        )
    else:
        precision = prior + np.diag(gram)
        layer = LayerState(
            IndependentWeights(prior[None], np.zeros((1, n_features))),
            IndependentWeights(precision[None], (shift / precision)[None]),
            1.0,
        )
    return x, y, layer


def learned(layer, constant, times=200):
    """The fixed point; the posterior of a linear layer moves with its prior."""
    for _ in range(times):
        evidence = layer.evidence()
        layer = with_learned_variance(layer, constant)
        layer = layer.with_evidence(evidence)
    return layer


def variance_of(layer):
    precision = layer.prior.precision[0]
    return 1 / (np.diag(precision) if precision.ndim == 2 else precision)


@pytest.mark.parametrize("joint", [False, True])
def test_the_fixed_point_is_the_most_probable_variance(joint, monkeypatch):
    monkeypatch.setattr(learned_prior, "PSEUDO_WEIGHTS", 0.0)
    x, y, layer = linear(joint)
    found = variance_of(learned(layer, False))

    def evidence(log_variance):
        covariance = np.exp(log_variance) * x @ x.T + NOISE * np.eye(len(y))
        return multivariate_normal.logpdf(y, np.zeros(len(y)), covariance)

    best = minimize_scalar(lambda v: -evidence(v), bounds=(-6, 3), method="bounded", options={"xatol": 1e-8})
    np.testing.assert_allclose(found, np.exp(best.x), rtol=1e-4)


@pytest.mark.parametrize("joint", [False, True])
def test_a_bias_keeps_its_prior(joint):
    _, _, layer = linear(joint, constant=True)
    found = variance_of(learned(layer, True))
    assert found[-1] == 1.0 and np.ptp(found[:-1]) < 1e-12 and found[0] != 1.0


def test_what_the_data_say_stays_and_so_do_the_means():
    _, _, layer = linear(True)
    after = with_learned_variance(layer, False)
    np.testing.assert_allclose(after.evidence().precision, layer.evidence().precision, atol=1e-9)
    np.testing.assert_array_equal(after.posterior.mean, layer.posterior.mean)


def test_pseudo_weights_hold_a_layer_of_few_weights_back():
    _, _, layer = linear(False)
    far = replace(layer, posterior=IndependentWeights(layer.posterior.precision, 0 * layer.posterior.mean))
    factor = variance_of(with_learned_variance(far, False))[0]
    size = (1 / far.posterior.precision).sum()
    assert factor == pytest.approx(max(((4 + size) / 34) ** 2, 0.25), rel=1e-12)


def test_a_cold_layer_weighs_its_means_by_the_temperature():
    _, _, layer = linear(False)
    cold = replace(layer, temperature=0.5)
    square = 2 * layer.posterior.mean**2 + 1 / layer.posterior.precision
    expected = ((4 + square.sum()) / 34) ** 2
    assert variance_of(with_learned_variance(cold, False))[0] == pytest.approx(min(max(expected, 0.25), 4), rel=1e-12)
