"""Parts of KL, Newton terms and steps of every family: closed forms, enumeration, finite differences."""

import numpy as np
import oracles
import pytest
from families import (
    CONSTANT,
    EVERY_GRID,
    FAMILIES,
    GRIDS,
    N_IN,
    N_OUT,
    diagonal_pair,
    enumerated_kl,
    enumerated_moments,
    level_weights,
    log_density,
    matrices,
    random_naturals,
    random_weights,
)

from sk_epsnn.ep.steps import (
    LOG_ODDS_STEP,
    kl_mean_part,
    kl_spread_part,
    mean_cost,
    mean_curvature,
    moved,
    recentred,
    with_site,
)
from sk_epsnn.weights import IndependentWeights, JointWeights, KnownWeights, LevelWeights


@FAMILIES
def test_kl_parts_sum_to_the_divergence(family):
    q, base = random_weights(family, 6), random_weights(family, 7)
    total = 0.0
    for unit in range(N_OUT):
        p, b = matrices(q)[unit], matrices(base)[unit]
        delta = q.mean[unit] - base.mean[unit]
        determinants = np.log(np.linalg.det(p) / np.linalg.det(b))
        total += 0.5 * (np.trace(b @ np.linalg.inv(p)) + delta @ b @ delta - N_IN + determinants)
    parts = kl_mean_part(q, base), kl_spread_part(q, base)
    np.testing.assert_allclose(sum(parts), total, rtol=1e-12)
    assert min(parts) > 0
    assert kl_mean_part(q, q) == 0
    np.testing.assert_allclose(kl_spread_part(q, q), 0, atol=1e-12, rtol=0)


def test_kl_against_its_definition():
    """E[log q - log base] over exact draws of q, one weight: quadrature instead of the closed form."""
    q, base = (
        IndependentWeights(np.array([[2.0]]), np.array([[0.7]])),
        IndependentWeights(np.array([[0.5]]), np.array([[-0.4]])),
    )
    w = np.linspace(-8, 9, 20001)
    log_q, log_base = log_density(q, 0, w[:, None]), log_density(base, 0, w[:, None])
    divergence = np.trapezoid(np.exp(log_q) * (log_q - log_base), w)
    np.testing.assert_allclose(kl_mean_part(q, base) + kl_spread_part(q, base), divergence, rtol=1e-9)


def test_kl_of_joint_weights_with_diagonal_precision_is_that_of_independent_ones():
    (one, one_joint), (base, base_joint) = diagonal_pair(9), diagonal_pair(10)
    np.testing.assert_allclose(kl_mean_part(one_joint, base_joint), kl_mean_part(one, base), rtol=1e-12)
    np.testing.assert_allclose(kl_spread_part(one_joint, base_joint), kl_spread_part(one, base), rtol=1e-12)


@FAMILIES
def test_steps_of_gaussian_weights(family):
    """The mean moves by just what it is asked to, the precision to cavity and site, and neither touches the other."""
    q, cavity = random_weights(family, 46), random_weights(family, 47)
    delta = np.random.default_rng(48).standard_normal((N_OUT, N_IN))
    ahead = moved(q, delta)
    np.testing.assert_array_equal(ahead.mean, q.mean + delta)
    assert ahead.precision is q.precision
    full = with_site(q, cavity, 2 * cavity.precision, 0.3, 1.0)
    np.testing.assert_allclose(full.precision, 3 * cavity.precision, rtol=1e-12, atol=1e-13)
    assert full.mean is q.mean
    back = recentred(q, cavity)
    assert back.precision is q.precision and back.mean is cavity.mean
    # The cost is the gradient of KL in the mean, and the curvature that of the cost.
    cost = oracles.gradient(lambda mean: kl_mean_part(family(q.precision, mean), cavity), q.mean, 1e-3)
    np.testing.assert_allclose(mean_cost(q, cavity, 0.0, 1.0), cost, rtol=1e-7, atol=1e-9)
    assert mean_curvature(q, cavity) is cavity.precision


@EVERY_GRID
@CONSTANT
def test_kl_between_levels(grid, constant):
    one, other = random_naturals(22, constant), random_naturals(23, constant)
    q, base = level_weights(grid, *one, constant), level_weights(grid, *other, constant)
    expected = enumerated_kl(grid, one, other, constant)
    np.testing.assert_allclose(kl_mean_part(q, base), expected, rtol=1e-12)
    assert kl_spread_part(q, base) == 0
    np.testing.assert_allclose(kl_mean_part(q, q), 0, rtol=0, atol=1e-13)


def test_kl_of_a_bias_is_that_of_its_gaussian():
    """Equal weights leave only the biases; what the Gaussian family splits into two parts is in one here."""
    one, other = random_naturals(24, True), random_naturals(25, True)
    for part, same in zip(other, one, strict=True):
        part[:, :-1] = same[:, :-1]
    q, base = level_weights("three", *one, True), level_weights("three", *other, True)
    bias, base_bias = (IndependentWeights.from_natural(p[:, -1:], s[:, -1:]) for p, s in (one, other))
    expected = kl_mean_part(bias, base_bias) + kl_spread_part(bias, base_bias)
    np.testing.assert_allclose(kl_mean_part(q, base), expected, rtol=1e-11)
    closed = [
        oracles.gaussian_kl(one[0][i, -1], bias.mean[i, 0], other[0][i, -1], base_bias.mean[i, 0]) for i in range(N_OUT)
    ]
    np.testing.assert_allclose(kl_mean_part(q, base), sum(closed), rtol=1e-11)


@EVERY_GRID
@CONSTANT
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_mean_cost_is_a_derivative(grid, constant, temperature):
    """Of KL + temperature site variance / 2 in the shift, by differences of the enumerated sum, over the variance."""
    (precision, shift), cavity = random_naturals(26, constant), random_naturals(27, constant)
    site = np.random.default_rng(28).uniform(0, 3, shift.shape)

    def cost(moved):
        _, variance = enumerated_moments(grid, precision, moved, constant)
        return enumerated_kl(grid, (precision, moved), cavity, constant) + temperature * (site * variance).sum() / 2

    _, variance = enumerated_moments(grid, precision, shift, constant)
    expected = oracles.gradient(cost, shift, 1e-3) / variance
    q, base = level_weights(grid, precision, shift, constant), level_weights(grid, *cavity, constant)
    np.testing.assert_allclose(mean_cost(q, base, site, temperature), expected, rtol=1e-7, atol=1e-8)


@EVERY_GRID
@CONSTANT
def test_mean_curvature(grid, constant):
    """With the cavity's precision and no site the cost is the shift less the cavity's: its slope is dshift/dmean."""
    precision, shift = random_naturals(29, constant)
    # Every mean has a shift of its own, so the gradient of their sum is the slope of each.
    slope = oracles.gradient(lambda s: enumerated_moments(grid, precision, s, constant)[0].sum(), shift, 1e-3)
    q, cavity = level_weights(grid, precision, shift, constant), level_weights(grid, precision, 0 * shift, constant)
    np.testing.assert_allclose(mean_curvature(q, cavity), 1 / slope, rtol=1e-8)


@EVERY_GRID
@CONSTANT
def test_moved_by_a_little(grid, constant):
    naturals = random_naturals(30, constant)
    weights = level_weights(grid, *naturals, constant)
    delta, step = np.random.default_rng(31).standard_normal(naturals[0].shape), 1e-4
    ahead, back = moved(weights, step * delta), moved(weights, -step * delta)
    np.testing.assert_allclose((ahead.mean - back.mean) / (2 * step), delta, rtol=1e-5)
    np.testing.assert_array_equal(ahead.precision, weights.precision)
    if constant:
        far = moved(weights, np.full_like(delta, 50.0))
        np.testing.assert_allclose(far.mean[:, -1], weights.mean[:, -1] + 50, rtol=1e-13)


def log_odds_of_the_ends(weights):
    logs = np.log(weights.probabilities())
    return logs[:, :, -1] - logs[:, :, 0]


@EVERY_GRID
@pytest.mark.parametrize("sign", [-1, 1])
def test_longest_step(grid, sign):
    """A precision lengthens it by what takes half a level, for more than two of them."""
    precision, shift = random_naturals(32, False)
    weights = level_weights(grid, precision, shift, False)
    change = log_odds_of_the_ends(moved(weights, np.full_like(shift, sign * 1e3))) - log_odds_of_the_ends(weights)
    levels = GRIDS[grid][0]
    width = levels[-1] - levels[0]
    half_a_level = 0 if len(levels) == 2 else np.abs(precision) * 0.5 * width / (len(levels) - 1)
    np.testing.assert_allclose(change, sign * (LOG_ODDS_STEP + width * half_a_level) * np.ones_like(shift), rtol=1e-9)
    plain = level_weights(grid, 0 * precision, shift, False)
    change = log_odds_of_the_ends(moved(plain, np.full_like(shift, sign * 1e3))) - log_odds_of_the_ends(plain)
    np.testing.assert_allclose(change, sign * LOG_ODDS_STEP, rtol=1e-9)


def test_a_sharp_weight_reaches_the_next_level():
    sharp = LevelWeights(np.full((1, 1), 50.0), np.zeros((1, 1)), np.array([-1.0, 0, 1]), np.log(np.ones(3) / 3), False)
    assert sharp.mode() == 0
    assert moved(sharp, np.ones((1, 1))).mode() == 1
    assert moved(sharp, -np.ones((1, 1))).mode() == -1


@EVERY_GRID
@CONSTANT
def test_with_site_keeps_the_mean_to_first_order(grid, constant):
    (precision, shift), cavity = random_naturals(34, constant), random_naturals(35, constant)
    q, base = level_weights(grid, precision, shift, constant), level_weights(grid, *cavity, constant)
    site, step = np.random.default_rng(36).uniform(0, 3, shift.shape), 1e-4
    ahead, back = (with_site(q, base, site, 0.4, sign * step) for sign in (1, -1))
    np.testing.assert_allclose((ahead.mean - back.mean) / (2 * step), 0, rtol=0, atol=1e-7)
    n = q.n_discrete
    if len(GRIDS[grid][0]) == 2:
        # The square of such a weight says nothing new.
        np.testing.assert_allclose(with_site(q, base, site, 0.4, 1.0).mean[:, :n], q.mean[:, :n], rtol=1e-12)
    else:
        # A site that would not move the mean at all would show nothing.
        naive = q.with_natural(q.precision + step * site, q.shift)
        assert (np.abs(naive.mean - q.mean)[:, :n] > 100 * np.abs(ahead.mean - q.mean)[:, :n]).mean() > 0.9
    if constant:
        np.testing.assert_allclose(with_site(q, base, site, 0.4, 0.7).mean[:, -1], q.mean[:, -1], rtol=1e-13)


@EVERY_GRID
@CONSTANT
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_with_site_settles_on_cavity_and_site(grid, constant, temperature):
    (precision, shift), cavity = random_naturals(37, constant), random_naturals(38, constant)
    q, base = level_weights(grid, precision, shift, constant), level_weights(grid, *cavity, constant)
    site = np.random.default_rng(39).uniform(0, 3, shift.shape)
    full, half = (with_site(q, base, site, temperature, step) for step in (1.0, 0.5))
    n = q.n_discrete if len(GRIDS[grid][0]) == 2 else 0
    expected = cavity[0] + temperature * site
    np.testing.assert_allclose(full.precision[:, n:], expected[:, n:], rtol=1e-13)
    np.testing.assert_allclose(half.precision[:, n:], 0.5 * (expected + precision)[:, n:], rtol=1e-13)
    np.testing.assert_array_equal(full.precision[:, :n], 0)
    again = with_site(full, base, site, temperature, 1.0)
    np.testing.assert_allclose(again.precision, full.precision, rtol=1e-13)
    np.testing.assert_allclose(again.mean, full.mean, rtol=1e-12, atol=1e-13)


@EVERY_GRID
@CONSTANT
@pytest.mark.parametrize("size", [50.0, 1e6])
def test_steps_of_nearly_fixed_weights_are_finite(grid, constant, size):
    """Levels out of reach lie 30 nats below the most probable one: every term of a step stays finite."""
    shift = size * np.array([[-1.0, 1.0, 0.0, 1.0], [1.0, -1.0, 1.0, -1.0]])
    precision = np.array([[0.0, 0.0, size, size], [size, size, 1.0, 2.0]])
    weights = level_weights(grid, precision, shift, constant)
    start = level_weights(grid, *random_naturals(33, constant), constant)
    start = start.with_natural(start.precision[:2], start.shift[:2])
    results = [mean_cost(weights, start, np.ones((2, 4)), 1.0), mean_curvature(weights, start)]
    results += [moved(weights, np.ones((2, 4))).mean, kl_mean_part(weights, start)]
    assert all(np.isfinite(part).all() for part in results)
    assert kl_mean_part(weights, start) > 0


def test_recentred_levels_are_the_other_ones():
    q, other = (level_weights("three", *random_naturals(seed, True), True) for seed in (42, 43))
    assert recentred(q, other) is other
    assert q.variance_follows_mean
    assert not IndependentWeights.variance_follows_mean and not JointWeights.variance_follows_mean


@pytest.mark.parametrize(
    "step",
    [
        lambda q: kl_mean_part(q, q),
        lambda q: kl_spread_part(q, q),
        lambda q: mean_cost(q, q, q.mean, 1.0),
        lambda q: mean_curvature(q, q),
        lambda q: moved(q, q.mean),
        lambda q: with_site(q, q, q.mean, 1.0, 1.0),
        lambda q: recentred(q, q),
    ],
)
def test_known_weights_take_no_steps(step):
    with pytest.raises(TypeError, match="KnownWeights are no family that learns"):
        step(KnownWeights(np.ones((2, 3))))
