"""Damping, bounds and the counters that make them visible."""

from dataclasses import fields

import numpy as np
import oracles
import pytest
from scipy.optimize import minimize

from sk_epsnn.ep.sites import (
    LOG_RATIO_BOUND,
    SITE_BOX,
    SiteBox,
    UpdateCounts,
    bound_log_ratio,
    bound_precision,
    bound_site,
    damp,
)


@pytest.mark.parametrize("step, expected", [(0.0, [1.0, -4.0]), (0.25, [1.5, -2.5]), (1.0, [3.0, 2.0])])
def test_damp(step, expected):
    old, new = np.array([1.0, -4.0]), np.array([3.0, 2.0])
    np.testing.assert_allclose(damp(old, new, step), expected, rtol=1e-15)
    np.testing.assert_array_equal(old, [1.0, -4.0])


def test_damp_by_one_over_batches_is_a_running_mean():
    """Eq. 34: each batch replaces 1/B of the average factor."""
    messages = np.array([3.0, -1.0, 4.0, 10.0])
    average = np.zeros(())
    for count, message in enumerate(messages, start=1):
        average = damp(average, message, 1 / count)
    np.testing.assert_allclose(average, messages.mean(), rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bound_precision(dtype):
    precision = np.array([[-1.0, 0.0, 2.0], [np.inf, -1e-30, 5.0]], dtype)
    before = precision.copy()
    counts = UpdateCounts(bounded_precisions=3)
    bounded = bound_precision(precision, counts)
    np.testing.assert_array_equal(bounded, [[0, 0, 2], [np.inf, 0, 5]])
    assert bounded.dtype == dtype
    assert counts == UpdateCounts(bounded_precisions=5)
    np.testing.assert_array_equal(precision, before)


def test_bound_precision_keeps_the_closest_gaussian():
    """With the mean of the tilted density kept, zero is the best of all non-negative site precisions in KL."""
    mean, variance, cavity = 0.4, 3.0, 0.5  # tilted density wider than the cavity: the site would be 1/3 - 1/2 < 0
    site = bound_precision(np.array([1 / variance - cavity]), UpdateCounts())

    def divergence(site_precision):
        p = cavity + site_precision
        return 0.5 * (p * variance - np.log(p * variance) - 1)

    grid = np.linspace(0, 2, 401)
    assert divergence(site[0]) <= divergence(grid).min()
    assert np.isfinite(mean)


def site_problems(n=300):
    """Tilted moments and cavities, some of them improper, that leave a small box on every side."""
    rng = np.random.default_rng(0)
    mean = rng.standard_normal(n) * 10 ** rng.uniform(-1, 0.5, n)
    variance = 10 ** rng.uniform(-1, 1, n)
    return mean, variance, rng.uniform(-0.5, 2.0, n), rng.standard_normal(n)


SMALL_BOX = SiteBox(least_precision=0.1, most_precision=2.0, most_shift=1.5)


def test_bound_site_is_the_closest_in_the_box():
    problems = site_problems()
    counts = UpdateCounts()
    precision, shift = bound_site(*problems, counts, SMALL_BOX)
    at_bound = np.zeros((3, 2), int)
    for mean, variance, tau, nu, p, s in zip(*problems, precision, shift, strict=True):
        found = oracles.kl_to_gaussian(mean, variance, tau + p, nu + s)
        least, best_p, best_s = oracles.closest_site(mean, variance, (tau, nu), SMALL_BOX)
        assert found == pytest.approx(least, abs=1e-9)
        low = max(0.1, -tau)
        assert low <= p <= 2 and abs(s) <= 1.5
        # At an end of the box or not, the search decides to 1e-5.
        p_bound, s_bound = np.isclose(best_p, [low, 2.0], atol=1e-5).any(), np.isclose(abs(best_s), 1.5, atol=1e-9)
        at_bound += np.outer([best_p < low + 1e-5, best_p > 2 - 1e-5, not p_bound], [not s_bound, s_bound])
    # Every face and corner of the box, and its inside, occurs.
    assert at_bound.min() > 3
    assert counts == UpdateCounts(bounded_precisions=at_bound[:2].sum(), bounded_shifts=at_bound[:, 1].sum())


def test_bound_site_against_a_general_optimiser():
    """The search above knows which shift is best; this one, over both parameters, does not."""
    problems = [x[:40] for x in site_problems()]
    precision, shift = bound_site(*problems, UpdateCounts(), SMALL_BOX)
    for mean, variance, tau, nu, p, s in zip(*problems, precision, shift, strict=True):
        start = np.array([max(0.1, -tau) + 0.2, 0.0])
        best = minimize(
            lambda x, m=mean, v=variance, t=tau, n=nu: oracles.kl_to_gaussian(m, v, t + x[0], n + x[1]),
            start,
            method="L-BFGS-B",
            bounds=[(max(0.1, 1e-6 - tau), 2.0), (-1.5, 1.5)],
            options={"ftol": 1e-15, "gtol": 1e-10},
        )
        assert oracles.kl_to_gaussian(mean, variance, tau + p, nu + s) == pytest.approx(best.fun, abs=1e-7)


def test_bound_site_inside_is_the_division():
    mean, variance, tau, nu = site_problems(50)
    wide = SiteBox(-1e6, 1e6, 1e6)
    counts = UpdateCounts()
    precision, shift = bound_site(mean, variance, tau, nu, counts, wide)
    inside = 1 / variance - tau > 0
    np.testing.assert_allclose(precision, 1 / variance - tau, rtol=1e-15)
    np.testing.assert_allclose(shift, mean / variance - nu, rtol=0, atol=1e-14)
    assert counts == UpdateCounts()
    boxed = bound_site(mean, variance, tau, nu, counts)
    np.testing.assert_array_equal(boxed[0], np.where(inside, precision, 0))
    np.testing.assert_array_equal(boxed[1][inside], shift[inside])
    assert 0 < counts.bounded_precisions == np.count_nonzero(~inside)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 0)])
def test_bound_site_keeps_the_mean_when_only_the_precision_is_bound(shape):
    """A tilted density wider than the cavity: the site has precision zero and moves the mean all the same."""
    mean, variance, tau, nu = (np.full(shape, x) for x in (0.4, 3.0, 0.5, -1.0))
    counts = UpdateCounts()
    precision, shift = bound_site(mean, variance, tau, nu, counts)
    assert precision.shape == shift.shape == shape
    np.testing.assert_array_equal(precision, 0)
    np.testing.assert_allclose((nu + shift) / (tau + precision), mean, rtol=1e-15)
    assert counts == UpdateCounts(bounded_precisions=int(np.prod(shape)))


def test_bound_site_at_the_extremes():
    """A point mass, a hopelessly improper cavity, a huge mean: finite, proper, within the box, and counted."""
    mean = np.array([0.0, 3.0, -1e5, 1.0, 1e-200, 0.0])
    variance = np.array([0.0, 0.0, 1e-30, 2.0, 1e-300, 1e200])
    tau = np.array([0.0, 5.0, 1.0, -1e13, 0.0, -1e-300])
    nu = np.array([0.0, 1.0, 1.0, 2.0, 0.0, 0.0])
    counts = UpdateCounts()
    precision, shift = bound_site(mean, variance, tau, nu, counts)
    np.testing.assert_allclose(precision[[0, 1, 4]], SITE_BOX.most_precision, rtol=0)
    assert np.isfinite(precision).all() and (precision >= 0).all() and (precision + tau > 0).all()
    assert (np.abs(shift) <= SITE_BOX.most_shift).all()
    np.testing.assert_allclose(((nu + shift) / (tau + precision))[[0, 1, 4]], mean[[0, 1, 4]], rtol=1e-12)
    # The third is nearly a point mass: its shift is cut, and the precision follows to keep the mean.
    assert shift[2] == -SITE_BOX.most_shift
    assert precision[2] == pytest.approx(SITE_BOX.most_shift / 1e5, rel=1e-8)
    assert counts == UpdateCounts(bounded_precisions=3, bounded_shifts=1)


def test_bound_site_tells_rounding_from_a_bound():
    """A site of nearly no precision on a strong cavity is lost in rounding, which is not worth a warning."""
    tau = 10.0 ** np.arange(0, 9)
    true_site = 1e-18 * tau
    counts = UpdateCounts()
    variance = np.nextafter(1 / (tau + true_site), np.inf)
    precision, shift = bound_site(np.ones(9), variance, tau, tau + 0.25, counts)
    assert counts == UpdateCounts()
    assert (precision >= 0).all() and (precision < 1e-14 * tau).all()
    np.testing.assert_allclose(shift, -0.25, rtol=0, atol=1e-6)
    bound_site(np.ones(9), (1 + 1e-11) / tau, tau, tau, counts)
    assert counts == UpdateCounts(bounded_precisions=9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bound_log_ratio(dtype):
    inside = np.array([LOG_RATIO_BOUND, -LOG_RATIO_BOUND, 0.3], dtype)
    counts = UpdateCounts()
    np.testing.assert_array_equal(bound_log_ratio(inside, counts), inside)
    assert counts == UpdateCounts()
    bounded = bound_log_ratio(np.array([np.inf, -1e5, 11.0, 1.0], dtype), counts)
    np.testing.assert_array_equal(bounded, [LOG_RATIO_BOUND, -LOG_RATIO_BOUND, LOG_RATIO_BOUND, 1.0])
    assert bounded.dtype == dtype
    assert counts == UpdateCounts(bounded_log_ratios=3)


def test_counts_plus_adds_every_field():
    names = [field.name for field in fields(UpdateCounts)]
    first = UpdateCounts(**{name: k for k, name in enumerate(names, start=1)})
    second = UpdateCounts(**{name: 10**k for k, name in enumerate(names)})
    total = first.plus(second)
    assert total.as_dict() == {name: k + 1 + 10**k for k, name in enumerate(names)}
    assert first.as_dict() == {name: k for k, name in enumerate(names, start=1)}
    assert total == second.plus(first)
    assert first.plus(UpdateCounts()) == first
