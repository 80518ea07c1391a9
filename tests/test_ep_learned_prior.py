"""Prior variances learned from evidence, against the evidence itself."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal

from sk_epsnn.ep import learned_prior
from sk_epsnn.ep.learned_prior import LearnedVariance
from sk_epsnn.ep.state import LayerState
from sk_epsnn.weights import IndependentWeights, JointWeights

NOISE = 0.3


def linear(joint, n_features=30, constant=False, each=False):
    """Posterior of a linear layer of one unit, exact where the columns are orthogonal or the weights joint."""
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.standard_normal((80, n_features)))[0] * np.sqrt(80)
    if constant:
        x[:, -1] = 1.0
    y = x @ rng.standard_normal(n_features) * 0.4 + np.sqrt(NOISE) * rng.standard_normal(80)
    prior, gram, shift = np.ones(n_features), x.T @ x / NOISE, x.T @ y / NOISE
    none = np.zeros((1, n_features))
    if joint:
        precision = np.diag(prior) + gram
        densities = JointWeights(np.diag(prior)[None], none), JointWeights.from_natural(precision[None], shift[None])
    else:
        precision = prior + np.diag(gram)
        densities = IndependentWeights(prior[None], none), IndependentWeights.from_natural(precision[None], shift[None])
    return x, y, LayerState(*densities, 1.0, learned=LearnedVariance(prior[None], prior[None], constant, each))


def variance_of(layer):
    precision = layer.prior.precision[0]
    return 1 / (np.diag(precision) if precision.ndim == 2 else precision)


@pytest.fixture
def no_hyperprior(monkeypatch):
    monkeypatch.setattr(learned_prior, "LAYER_MASS", 0.0)
    monkeypatch.setattr("sk_epsnn.ep.state.MOST_STEPS", 200)
    monkeypatch.setattr(learned_prior, "SETTLED", 1e-9)


@pytest.mark.parametrize("joint", [False, True])
def test_the_fixed_point_is_the_most_probable_variance(joint, no_hyperprior):
    x, y, layer = linear(joint)
    found = variance_of(layer.with_learned_variance())

    def evidence(log_variance):
        covariance = np.exp(log_variance) * x @ x.T + NOISE * np.eye(len(y))
        return multivariate_normal.logpdf(y, np.zeros(len(y)), covariance)

    best = minimize_scalar(lambda v: -evidence(v), bounds=(-6, 3), method="bounded", options={"xatol": 1e-8})
    np.testing.assert_allclose(found, np.exp(best.x), rtol=1e-4)


@pytest.mark.parametrize("joint", [False, True])
def test_a_bias_keeps_its_prior(joint):
    _, _, layer = linear(joint, constant=True)
    found = variance_of(layer.with_learned_variance())
    assert found[-1] == pytest.approx(1.0, rel=1e-12) and np.ptp(found[:-1]) < 1e-12 and abs(found[0] - 1) > 0.1


def test_what_the_data_say_stays():
    _, _, layer = linear(True)
    after = layer.with_learned_variance()
    np.testing.assert_allclose(after.evidence().precision, layer.evidence().precision, atol=1e-9)
    np.testing.assert_allclose(after.evidence().shift, layer.evidence().shift, atol=1e-9)


def test_each_input_has_a_variance_of_its_own():
    """Orthogonal columns: the fixed point of one input is that of its own evidence, with one pseudo-weight at 1."""
    _, _, layer = linear(False, each=True)
    layer = replace(layer, learned=replace(layer.learned, constant=False))
    for _ in range(60):
        layer = layer.with_learned_variance()
    data, variance = layer.evidence(), variance_of(layer)
    spread = 1 / (data.precision[0] + 1 / variance)
    mean = spread * data.shift[0]
    np.testing.assert_allclose(variance * (1 + 1 - spread / variance), 1 + mean**2, rtol=0.03)
