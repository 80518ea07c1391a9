"""Damping, bounds and the counters that make them visible."""

from dataclasses import fields

import numpy as np
import pytest

from sk_epsnn.sites import (
    LOG_RATIO_BOUND,
    Derivatives,
    UpdateCounts,
    bound_log_ratio,
    bound_precision,
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


def test_derivatives_times_weighs_samples():
    """A sample of weight 3 says what three copies of it say; weight 0 says nothing."""
    rng = np.random.default_rng(0)
    message = Derivatives(*rng.standard_normal((3, 4, 2)))
    weight = np.array([3.0, 0.0, 1.0, 0.5])
    for part, weighted in zip(message, message.times(weight), strict=True):
        for n in range(4):
            np.testing.assert_allclose(weighted[n], weight[n] * part[n], rtol=1e-15)
