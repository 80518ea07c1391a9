"""Mutual information of class and weights against a rule of many points, on potentials of every width."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, log_softmax, xlogy
from scipy.stats import norm, qmc
from states import OBSERVED

from sk_epsnn.estimators._uncertainty import _NARROW, _normal_rule, class_uncertainty
from sk_epsnn.messages import Spread


def rows_of(n_units, widest, seed, n=200):
    """Potentials of which some leave the class open and others do not, and their epistemic variances."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(0.3, 5, (n, 1)) * rng.standard_normal((n, n_units))
    return mean, widest * rng.uniform(0.3, 1, (n, n_units))


def mutual_information(mean, variance):
    """By 2**12 points that the code does not know."""
    engine = qmc.MultivariateNormalQMC(np.zeros(mean.shape[1]), rng=np.random.default_rng(99))
    average, entropy = 0.0, 0.0
    for part in np.split(engine.random(2**12), 16):
        log_p = log_softmax(mean + part[:, None, :] * np.sqrt(variance), axis=2)
        average, entropy = average + np.exp(log_p).mean(axis=0) / 16, entropy - (np.exp(log_p) * log_p).sum(axis=(0, 2))
    return -xlogy(average, average).sum(axis=1) - entropy / 2**12


def epistemic(mean, variance, dtype=np.float64):
    spread = Spread(*(part.astype(dtype) for part in (mean, variance, np.zeros_like(mean))))
    return class_uncertainty(OBSERVED["sigmoid"], spread).epistemic


@pytest.mark.parametrize(
    ("n_units", "widest", "most", "root_mean_square"),
    [
        # 64 points whose coordinates are not turned have root mean square errors of .0020, .0037, .0067 and .017 here,
        (10, 0.25, 3e-3, 8e-4),
        (10, 0.5, 1e-2, 2.6e-3),
        (10, 1.0, 3e-2, 7e-3),
        (10, 3.0, 7e-2, 1.9e-2),
        # and of .0016, .0051 and .012 here.
        (3, 0.25, 2e-3, 6e-4),
        (3, 1.0, 1.5e-2, 4e-3),
        (3, 3.0, 2e-2, 6e-3),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_epistemic_part_of_many_classes(n_units, widest, most, root_mean_square, dtype):
    mean, variance = rows_of(n_units, widest, seed=n_units)
    error = epistemic(mean, variance, dtype) - mutual_information(mean, variance)
    assert np.abs(error).max() < most
    assert np.sqrt(np.mean(error**2)) < root_mean_square


@pytest.mark.parametrize("widest", [0.2, 0.9, 9.0])
def test_epistemic_part_of_two_classes(widest):
    mean, variance = rows_of(1, widest, seed=1, n=8)

    def entropy(p):
        return -xlogy(p, p) - xlogy(1 - p, 1 - p)

    for m, sd, ours in zip(mean[:, 0], np.sqrt(variance[:, 0]), epistemic(mean, variance), strict=True):

        def average(f, m=m, sd=sd):
            return quad(lambda u: f(expit(u)) * norm.pdf(u, m, sd), m - 10 * sd, m + 10 * sd, limit=200)[0]

        assert ours == pytest.approx(entropy(average(lambda p: p)) - average(entropy), abs=2e-6)


def test_epistemic_part_of_a_row_is_its_own():
    """Narrow and wide rows take different rules, and come back where they were."""
    mean, variance = rows_of(4, 4 * _NARROW**2, seed=2, n=40)
    variance[::3] *= 0.1
    together = epistemic(mean, variance)
    alone = [epistemic(mean[n : n + 1], variance[n : n + 1])[0] for n in range(40)]
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(epistemic(mean[::3], variance[::3]), together[::3], rtol=1e-12, atol=1e-15)


def test_epistemic_part_of_potentials_that_are_all_but_unknown():
    mean, variance = rows_of(5, 1e6, seed=3, n=20)
    found = epistemic(mean, variance, np.float32)
    assert np.isfinite(found).all() and (found > 0.1).all() and (found <= np.log(5) + 1e-6).all()


@pytest.mark.parametrize("n_nodes", [32, 64, 128])
@pytest.mark.parametrize("n_units", [1, 2, 10, 16, 32, 100])
def test_normal_rule(n_units, n_nodes):
    nodes, weights = _normal_rule(n_units, n_nodes)
    assert nodes.shape == (n_nodes, n_units) and len(weights) == n_nodes
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-13)
    np.testing.assert_allclose(weights @ nodes, 0, atol=1e-13)
    second = (nodes * weights[:, None]).T @ nodes
    np.testing.assert_allclose(np.diagonal(second), 1, rtol=1e-12)
    if n_units < n_nodes // 2:
        np.testing.assert_allclose(second, np.eye(n_units), rtol=0, atol=1e-12)
