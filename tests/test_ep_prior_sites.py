"""The EP update of the site of every registered prior: exact posteriors, bounds, damping, extremes."""

import numpy as np
import pytest
from prior_laws import EVERY, LAWS, cavities, exact

from sk_epsnn.ep.prior_sites import refresh_site
from sk_epsnn.ep.sites import SITE_BOX, UpdateCounts
from sk_epsnn.priors import (
    BernoulliGaussianPrior,
    GaussianPrior,
    LaplacePrior,
)


def settle(prior, unit, tau, nu, damping=0.5, n_updates=60):
    """`refresh_site` to convergence from no site at all, with the counts of the last update."""
    site = np.zeros_like(tau), np.zeros_like(nu)
    for _ in range(n_updates):
        counts = UpdateCounts()
        site = refresh_site(prior, unit, tau, nu, *site, damping, counts)
    return *site, counts


@EVERY
def test_one_weight_posterior(prior):
    """A Gaussian likelihood of one weight: cavity times site has the exact posterior mean and, unbound, variance."""
    unit = 0.3
    tau, nu = cavities(prior)
    tau, nu = tau / unit**2, nu / unit
    precision, shift, counts = settle(prior, unit, tau, nu)
    n_free = 0
    for k in range(len(tau)):
        expected = exact(prior, tau[k] * unit**2, nu[k] * unit)
        mean, variance = unit * expected.mean, unit**2 * expected.variance
        total = tau[k] + precision[k]
        assert (nu[k] + shift[k]) / total == pytest.approx(mean, rel=1e-9, abs=1e-9 * np.sqrt(variance))
        if precision[k] > 0:
            assert 1 / total == pytest.approx(variance, rel=1e-6)
            n_free += 1
        else:
            # As narrow as the box allows, the tilted density being wider than the cavity.
            assert variance > (1 - 1e-9) / tau[k]
    assert counts.bounded_precisions <= len(tau) - n_free
    assert counts.skipped_sites == counts.bounded_shifts == 0
    assert n_free > len(tau) / 2


def test_clamped_sites_keep_the_mean():
    """Ambiguous evidence under a spike-and-slab prior makes the tilted density wider than the cavity."""
    prior = BernoulliGaussianPrior(active_probability=0.3, slab_variance=2.0)
    tau, nu = np.array([30.0]), np.array([13.0])
    expected = exact(prior, 30.0, 13.0)
    assert expected.variance > 1 / 30
    precision, shift, counts = settle(prior, 1.0, tau, nu)
    assert precision[0] == 0
    assert counts == UpdateCounts(bounded_precisions=1)
    np.testing.assert_allclose((nu + shift) / tau, expected.mean, rtol=1e-10)


def test_gaussian_site_is_the_prior():
    """For the conjugate prior the site is the prior itself, whatever the cavity and the unit of each weight."""
    tau, nu = np.array([[0.0, 3.0, -0.1], [1e-6, 20.0, 2.0]]), np.arange(6.0).reshape(2, 3)
    unit = np.array([0.5, 2.0, 1.0])
    precision, shift = refresh_site(
        GaussianPrior(), unit, tau, nu, np.zeros((2, 3)), np.ones((2, 3)), 1.0, UpdateCounts()
    )
    np.testing.assert_allclose(precision, np.tile(1 / unit**2, (2, 1)), rtol=1e-13)
    np.testing.assert_allclose(shift, 0, rtol=0, atol=1e-13)


@pytest.mark.parametrize("prior", [LaplacePrior(), BernoulliGaussianPrior()], ids=str)
def test_the_unit_only_scales(prior):
    """Ten times the unit, all else in that unit: a hundredth of the precisions, a tenth of the shifts."""
    tau, nu, old = np.array([0.5, 4.0, 0.0]), np.array([-1.0, 3.0, 0.2]), np.array([0.1, 0.2, 0.3])
    small = refresh_site(prior, 1.0, tau, nu, old, old, 0.4, UpdateCounts())
    large = refresh_site(prior, 10.0, tau / 100, nu / 10, old / 100, old / 10, 0.4, UpdateCounts())
    np.testing.assert_allclose(large[0], small[0] / 100, rtol=1e-12)
    np.testing.assert_allclose(large[1], small[1] / 10, rtol=1e-12, atol=1e-15)


def test_damping_is_in_natural_parameters():
    prior, tau, nu = LaplacePrior(), np.array([0.5, 2.0]), np.array([1.0, -3.0])
    old = np.array([0.7, 0.0]), np.array([0.0, -1.0])
    full = refresh_site(prior, 1.0, tau, nu, *old, 1.0, UpdateCounts())
    quarter = refresh_site(prior, 1.0, tau, nu, *old, 0.25, UpdateCounts())
    for a, b, c in zip(old, full, quarter, strict=True):
        np.testing.assert_allclose(c, 0.75 * a + 0.25 * b, rtol=1e-14)


@EVERY
def test_improper_cavities_keep_their_site(prior):
    """They, and what is not finite, are left alone and counted; their neighbours are updated all the same."""
    least = LAWS[prior.name](prior).least_precision
    tau = np.array([1.0, least - 0.1, np.nan, 2.0, np.inf])
    nu = np.array([0.5, 0.0, 1.0, np.inf, 0.0])
    old = np.arange(1.0, 6.0), -np.arange(1.0, 6.0)
    before = [x.copy() for x in old]
    counts = UpdateCounts()
    precision, shift = refresh_site(prior, 1.0, tau, nu, *old, 0.5, counts)
    assert counts.skipped_sites == 4
    np.testing.assert_array_equal(precision[1:], old[0][1:])
    np.testing.assert_array_equal(shift[1:], old[1][1:])
    alone = refresh_site(prior, 1.0, tau[:1], nu[:1], old[0][:1], old[1][:1], 0.5, UpdateCounts())
    assert (precision[:1], shift[:1]) == alone
    np.testing.assert_array_equal(old, before)


def test_a_damped_site_keeps_the_product_proper():
    """The cavity has turned improper since the old site was made: half a step would leave the product so."""
    tau, nu = np.array([-0.9, -0.9]), np.array([0.3, 0.3])
    old = np.array([0.5, 0.95]), np.zeros(2)
    precision, _ = refresh_site(GaussianPrior(), 1.0, tau, nu, *old, 0.5, UpdateCounts())
    np.testing.assert_allclose(precision, [1.0, 0.975], rtol=1e-14)


@EVERY
def test_sites_stay_finite_at_the_extremes(prior):
    tau = np.array([0.0, 1e-12, 1e12, 1e12, 1e12, 1e200, 1e-3])
    nu = np.array([0.0, 0.0, 0.0, 1e14, -1e20, 1e200, 1e250])
    precision, shift = refresh_site(prior, 1.0, tau, nu, np.ones(7), np.ones(7), 1.0, UpdateCounts())
    assert (precision >= 0).all() and (precision <= SITE_BOX.most_precision).all()
    assert (np.abs(shift) <= SITE_BOX.most_shift).all()
