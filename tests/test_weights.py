"""Both Gaussian families against densities written out and against each other; weights on levels by enumeration."""

import numpy as np
import oracles
import pytest
from scipy.stats import multivariate_normal

from sk_epsnn.weights import LOG_ODDS_BOUND, LOG_ODDS_STEP, IndependentWeights, JointWeights, LevelWeights

N_OUT, N_IN = 3, 4
FAMILIES = pytest.mark.parametrize("family", [IndependentWeights, JointWeights])


def random_weights(family, seed):
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((N_OUT, N_IN))
    if family is IndependentWeights:
        return family(rng.uniform(0.3, 4.0, (N_OUT, N_IN)), mean)
    root = rng.standard_normal((N_OUT, N_IN, 2 * N_IN))
    return family(root @ root.swapaxes(1, 2) / N_IN, mean)


def matrices(weights):
    """Precision of each unit as a full matrix."""
    p = weights.precision
    return p if p.ndim == 3 else np.stack([np.diag(row) for row in p])


def log_density(weights, unit, point):
    return multivariate_normal.logpdf(point, weights.mean[unit], np.linalg.inv(matrices(weights)[unit]))


def diagonal_pair(seed):
    independent = random_weights(IndependentWeights, seed)
    return independent, JointWeights(matrices(independent), independent.mean)


@FAMILIES
def test_natural_parameters_round_trip(family):
    weights = random_weights(family, 0)
    expected = np.stack([p @ m for p, m in zip(matrices(weights), weights.mean, strict=True)])
    np.testing.assert_allclose(weights.shift, expected, rtol=1e-12)
    again = family.from_natural(weights.precision, weights.shift)
    assert type(again) is family
    np.testing.assert_array_equal(again.precision, weights.precision)
    np.testing.assert_allclose(again.mean, weights.mean, rtol=1e-10)


@FAMILIES
@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.9, 1.0, 1.2])
def test_power_blend_is_a_product_of_powers(family, exponent):
    """log of ``base (self/base)**e`` minus the blend's log is the same constant at every point."""
    weights, base = random_weights(family, 1), random_weights(family, 2)
    # A power beyond 1 needs what it extrapolates to be proper: make self the sharper one.
    weights = family(weights.precision + base.precision, weights.mean)
    blend = weights.power_blend(base, exponent)
    points = np.random.default_rng(3).standard_normal((20, N_IN))
    for unit in range(N_OUT):
        one, other = log_density(weights, unit, points), log_density(base, unit, points)
        excess = other + exponent * (one - other) - log_density(blend, unit, points)
        np.testing.assert_allclose(excess, excess[0], rtol=0, atol=1e-9)


@FAMILIES
def test_power_blend_ends(family):
    weights, base = random_weights(family, 1), random_weights(family, 2)
    assert weights.power_blend(base, 1) is weights
    assert weights.power_blend(base, 0) is base


@FAMILIES
def test_cavity_times_removed_factor_is_the_posterior(family):
    """Eq. 33: the cavity of one of B batches, multiplied by 1/B of the data factor, is q again."""
    posterior, prior, n_batches = random_weights(family, 4), random_weights(family, 5), 7
    posterior = family(posterior.precision + prior.precision, posterior.mean)
    cavity = posterior.power_blend(prior, 1 - 1 / n_batches)
    factor = (posterior.precision - prior.precision) / n_batches, (posterior.shift - prior.shift) / n_batches
    again = family.from_natural(cavity.precision + factor[0], cavity.shift + factor[1])
    np.testing.assert_allclose(again.precision, posterior.precision, rtol=1e-12)
    np.testing.assert_allclose(again.mean, posterior.mean, rtol=1e-9)


@FAMILIES
def test_kl_parts_sum_to_the_divergence(family):
    q, base = random_weights(family, 6), random_weights(family, 7)
    total = 0.0
    for unit in range(N_OUT):
        p, b = matrices(q)[unit], matrices(base)[unit]
        delta = q.mean[unit] - base.mean[unit]
        determinants = np.log(np.linalg.det(p) / np.linalg.det(b))
        total += 0.5 * (np.trace(b @ np.linalg.inv(p)) + delta @ b @ delta - N_IN + determinants)
    parts = q.kl_mean_part(base), q.kl_spread_part(base)
    np.testing.assert_allclose(sum(parts), total, rtol=1e-12)
    assert min(parts) > 0
    assert q.kl_mean_part(q) == 0
    np.testing.assert_allclose(q.kl_spread_part(q), 0, atol=1e-12, rtol=0)


def test_kl_against_its_definition():
    """E[log q - log base] over exact draws of q, one weight: quadrature instead of the closed form."""
    q, base = (
        IndependentWeights(np.array([[2.0]]), np.array([[0.7]])),
        IndependentWeights(np.array([[0.5]]), np.array([[-0.4]])),
    )
    w = np.linspace(-8, 9, 20001)
    log_q, log_base = log_density(q, 0, w[:, None]), log_density(base, 0, w[:, None])
    divergence = np.trapezoid(np.exp(log_q) * (log_q - log_base), w)
    np.testing.assert_allclose(q.kl_mean_part(base) + q.kl_spread_part(base), divergence, rtol=1e-9)


@FAMILIES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_moments(family, dtype, temperature):
    weights = random_weights(family, 8)
    moments = weights.moments(temperature, np.dtype(dtype))
    covariance = temperature * np.stack([np.linalg.inv(p) for p in matrices(weights)])
    rtol = 1e-10 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(moments.mean, weights.mean, rtol=rtol)
    np.testing.assert_allclose(moments.variance, np.diagonal(covariance, axis1=1, axis2=2), rtol=rtol)
    if family is IndependentWeights:
        assert moments.covariance is None
    else:
        np.testing.assert_allclose(moments.covariance, covariance, rtol=10 * rtol, atol=rtol)
        assert moments.covariance.dtype == dtype
    assert moments.mean.dtype == moments.variance.dtype == dtype
    assert weights.mean.dtype == weights.precision.dtype == np.float64


@pytest.mark.parametrize("exponent", [0.4, 0.95])
def test_joint_with_diagonal_precision_equals_independent(exponent):
    (one, one_joint), (base, base_joint) = diagonal_pair(9), diagonal_pair(10)
    vectors = np.random.default_rng(11).standard_normal((N_OUT, N_IN))
    np.testing.assert_allclose(one_joint.times(vectors), one.times(vectors), rtol=1e-13)
    np.testing.assert_allclose(one_joint.kl_mean_part(base_joint), one.kl_mean_part(base), rtol=1e-12)
    np.testing.assert_allclose(one_joint.kl_spread_part(base_joint), one.kl_spread_part(base), rtol=1e-12)
    blend, blend_joint = one.power_blend(base, exponent), one_joint.power_blend(base_joint, exponent)
    np.testing.assert_allclose(matrices(blend_joint), matrices(blend), rtol=1e-13)
    np.testing.assert_allclose(blend_joint.mean, blend.mean, rtol=1e-12)
    moments, moments_joint = (w.moments(0.5, np.dtype(float)) for w in (blend, blend_joint))
    np.testing.assert_allclose(moments_joint.variance, moments.variance, rtol=1e-12)


# Levels

#: Levels and their prior probabilities.
GRIDS = {
    "two": ([-1.0, 1.0], [0.5, 0.5]),
    "two, off centre": ([-0.5, 2.0], [0.3, 0.7]),
    "three": ([-1.0, 0.0, 1.0], [0.2, 0.7, 0.1]),
    "five, uneven": ([-2.0, -0.5, 0.0, 0.4, 1.5], [0.1, 0.2, 0.3, 0.15, 0.25]),
}
EVERY_GRID = pytest.mark.parametrize("grid", sorted(GRIDS))
MORE_THAN_TWO = pytest.mark.parametrize("grid", [name for name, (levels, _) in GRIDS.items() if len(levels) > 2])
CONSTANT = pytest.mark.parametrize("constant", [False, True])


def level_weights(grid, precision, shift, constant):
    levels, prior = (np.array(part) for part in GRIDS[grid])
    return LevelWeights(precision, shift, levels, np.log(prior), constant)


def random_naturals(seed, constant):
    """Precisions of either sign, that of a bias positive; no level comes near the bound on the log-odds."""
    rng = np.random.default_rng(seed)
    precision, shift = rng.uniform(-1, 3, (N_OUT, N_IN)), rng.uniform(-2, 2, (N_OUT, N_IN))
    if constant:
        precision[:, -1] = rng.uniform(0.3, 3, N_OUT)
    return precision, shift


def level_laws(grid, precision, shift, constant):
    """Enumerated law of every discrete weight, by its index."""
    shape = len(precision), precision.shape[1] - constant
    return {index: oracles.level_law(*GRIDS[grid], precision[index], shift[index]) for index in np.ndindex(shape)}


def enumerated_kl(grid, q, base, constant):
    """KL divergence between two pairs (precision, shift)."""
    one, other = level_laws(grid, *q, constant), level_laws(grid, *base, constant)
    total = sum((one[k].probabilities * np.log(one[k].probabilities / other[k].probabilities)).sum() for k in one)
    if constant:
        for (precision, shift), (base_precision, base_shift) in zip(
            *(np.stack(pair)[:, :, -1].T for pair in (q, base)), strict=True
        ):
            total += oracles.gaussian_kl(precision, shift / precision, base_precision, base_shift / base_precision)
    return total


def enumerated_moments(grid, precision, shift, constant):
    """Mean and variance of every weight, a Gaussian bias among them."""
    mean, variance = shift / precision, 1 / precision
    for index, law in level_laws(grid, precision, shift, constant).items():
        mean[index], variance[index] = law.mean, law.variance
    return mean, variance


@EVERY_GRID
@CONSTANT
def test_levels_by_enumeration(grid, constant):
    """Probabilities, mean, variance and slope, with the precision that was given (two levels fold it away)."""
    naturals = random_naturals(20, constant)
    weights = level_weights(grid, *naturals, constant)
    laws = level_laws(grid, *naturals, constant)
    assert weights.n_discrete == N_IN - constant
    probabilities = weights.probabilities()
    assert probabilities.shape == (N_OUT, N_IN - constant, len(GRIDS[grid][0]))
    for index, law in laws.items():
        np.testing.assert_allclose(probabilities[index], law.probabilities, rtol=1e-12)
        np.testing.assert_allclose(weights.mean[index], law.mean, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(weights.variance[index], law.variance, rtol=1e-10)
        np.testing.assert_allclose(weights.slope[index], law.coskew / law.variance, rtol=1e-9, atol=1e-11)
    if constant:
        precision, shift = (part[:, -1] for part in naturals)
        np.testing.assert_allclose(weights.mean[:, -1], shift / precision, rtol=1e-14)
        np.testing.assert_allclose(weights.variance[:, -1], 1 / precision, rtol=1e-14)
        np.testing.assert_allclose(weights.slope[:, -1], 2 * shift / precision, rtol=1e-14)


@EVERY_GRID
def test_no_evidence_gives_the_prior_probabilities(grid):
    nothing = np.zeros((N_OUT, N_IN))
    probabilities = level_weights(grid, nothing, nothing, False).probabilities()
    np.testing.assert_allclose(probabilities, np.tile(GRIDS[grid][1], (N_OUT, N_IN, 1)), rtol=1e-14)


@pytest.mark.parametrize("grid", ["two", "two, off centre"])
@CONSTANT
def test_two_levels_need_one_natural_parameter(grid, constant):
    precision, shift = random_naturals(21, constant)
    given = precision.copy(), shift.copy()
    weights = level_weights(grid, precision, shift, constant)
    n = weights.n_discrete
    np.testing.assert_array_equal(weights.precision[:, :n], 0)
    np.testing.assert_array_equal(weights.precision[:, n:], precision[:, n:])
    np.testing.assert_array_equal(weights.shift[:, n:], shift[:, n:])
    np.testing.assert_array_equal((precision, shift), given)
    # The log-odds are the prior's plus the shift times the distance of the levels.
    levels, prior = GRIDS[grid]
    log_odds = np.log(prior[1] / prior[0]) + (levels[1] - levels[0]) * weights.shift[:, :n]
    for index, law in level_laws(grid, *given, constant).items():
        np.testing.assert_allclose(np.diff(np.log(law.probabilities))[0], log_odds[index], rtol=1e-10, atol=1e-12)
    again = weights.with_natural(weights.precision, weights.shift)
    np.testing.assert_array_equal(again.mean, weights.mean)


@EVERY_GRID
@CONSTANT
def test_kl_between_levels(grid, constant):
    one, other = random_naturals(22, constant), random_naturals(23, constant)
    q, base = level_weights(grid, *one, constant), level_weights(grid, *other, constant)
    expected = enumerated_kl(grid, one, other, constant)
    np.testing.assert_allclose(q.kl_mean_part(base), expected, rtol=1e-12)
    assert q.kl_spread_part(base) == 0
    np.testing.assert_allclose(q.kl_mean_part(q), 0, rtol=0, atol=1e-13)


def test_kl_of_a_bias_is_that_of_its_gaussian():
    """Equal weights leave only the biases; what the Gaussian family splits into two parts is in one here."""
    one, other = random_naturals(24, True), random_naturals(25, True)
    for part, same in zip(other, one, strict=True):
        part[:, :-1] = same[:, :-1]
    q, base = level_weights("three", *one, True), level_weights("three", *other, True)
    bias, base_bias = (IndependentWeights.from_natural(p[:, -1:], s[:, -1:]) for p, s in (one, other))
    expected = bias.kl_mean_part(base_bias) + bias.kl_spread_part(base_bias)
    np.testing.assert_allclose(q.kl_mean_part(base), expected, rtol=1e-11)
    closed = [
        oracles.gaussian_kl(one[0][i, -1], bias.mean[i, 0], other[0][i, -1], base_bias.mean[i, 0]) for i in range(N_OUT)
    ]
    np.testing.assert_allclose(q.kl_mean_part(base), sum(closed), rtol=1e-11)


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
    np.testing.assert_allclose(q.mean_cost(base, site, temperature), expected, rtol=1e-7, atol=1e-8)


@EVERY_GRID
@CONSTANT
def test_mean_curvature(grid, constant):
    """With the cavity's precision and no site the cost is the shift less the cavity's: its slope is dshift/dmean."""
    precision, shift = random_naturals(29, constant)
    # Every mean has a shift of its own, so the gradient of their sum is the slope of each.
    slope = oracles.gradient(lambda s: enumerated_moments(grid, precision, s, constant)[0].sum(), shift, 1e-3)
    q, cavity = level_weights(grid, precision, shift, constant), level_weights(grid, precision, 0 * shift, constant)
    np.testing.assert_allclose(q.mean_curvature(cavity), 1 / slope, rtol=1e-8)


@EVERY_GRID
@CONSTANT
def test_moved_by_a_little(grid, constant):
    naturals = random_naturals(30, constant)
    weights = level_weights(grid, *naturals, constant)
    delta, step = np.random.default_rng(31).standard_normal(naturals[0].shape), 1e-4
    ahead, back = weights.moved(step * delta), weights.moved(-step * delta)
    np.testing.assert_allclose((ahead.mean - back.mean) / (2 * step), delta, rtol=1e-5)
    np.testing.assert_array_equal(ahead.precision, weights.precision)
    if constant:
        far = weights.moved(np.full_like(delta, 50.0))
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
    change = log_odds_of_the_ends(weights.moved(np.full_like(shift, sign * 1e3))) - log_odds_of_the_ends(weights)
    levels = GRIDS[grid][0]
    width = levels[-1] - levels[0]
    half_a_level = 0 if len(levels) == 2 else np.abs(precision) * 0.5 * width / (len(levels) - 1)
    np.testing.assert_allclose(change, sign * (LOG_ODDS_STEP + width * half_a_level) * np.ones_like(shift), rtol=1e-9)
    plain = level_weights(grid, 0 * precision, shift, False)
    change = log_odds_of_the_ends(plain.moved(np.full_like(shift, sign * 1e3))) - log_odds_of_the_ends(plain)
    np.testing.assert_allclose(change, sign * LOG_ODDS_STEP, rtol=1e-9)


def test_a_sharp_weight_reaches_the_next_level():
    sharp = LevelWeights(np.full((1, 1), 50.0), np.zeros((1, 1)), np.array([-1.0, 0, 1]), np.log(np.ones(3) / 3), False)
    assert sharp.mode() == 0
    assert sharp.moved(np.ones((1, 1))).mode() == 1
    assert sharp.moved(-np.ones((1, 1))).mode() == -1


@EVERY_GRID
@CONSTANT
@pytest.mark.parametrize("size", [50.0, 1e6])
def test_no_weight_is_ever_fixed(grid, constant, size):
    """Levels out of reach lie 30 nats below the most probable one, and everything stays finite."""
    levels, prior = GRIDS[grid]
    shift = size * np.array([[-1.0, 1.0, 0.0, 1.0], [1.0, -1.0, 1.0, -1.0]])
    precision = np.array([[0.0, 0.0, size, size], [size, size, 1.0, 2.0]])
    weights = level_weights(grid, precision, shift, constant)
    logs = np.log(weights.probabilities())
    for i, j in np.ndindex(logs.shape[:2]):
        exact = [np.log(p) + shift[i, j] * a - precision[i, j] * a**2 / 2 for a, p in zip(levels, prior, strict=True)]
        expected = np.maximum(np.array(exact) - max(exact), -LOG_ODDS_BOUND)
        np.testing.assert_allclose(logs[i, j] - logs[i, j].max(), expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(np.exp(logs[i, j]).sum(), 1, rtol=1e-9)
    assert np.ptp(logs, axis=2).max() == pytest.approx(LOG_ODDS_BOUND, abs=1e-9)
    assert (weights.variance > 0).all()
    if len(levels) == 2:
        np.testing.assert_allclose(weights.slope[:, : weights.n_discrete], sum(levels), rtol=0, atol=1e-9)
    start = level_weights(grid, *random_naturals(33, constant), constant)
    start = start.with_natural(start.precision[:2], start.shift[:2])
    results = [weights.mean, weights.variance, weights.slope, weights.mean_cost(start, np.ones((2, 4)), 1.0)]
    results += [weights.mean_curvature(start), weights.moved(np.ones((2, 4))).mean, weights.kl_mean_part(start)]
    assert all(np.isfinite(part).all() for part in results)
    assert (levels[0] <= weights.mean[:, : weights.n_discrete]).all()
    assert (weights.mean[:, : weights.n_discrete] <= levels[-1]).all()
    assert weights.kl_mean_part(start) > 0


@EVERY_GRID
@CONSTANT
def test_with_site_keeps_the_mean_to_first_order(grid, constant):
    (precision, shift), cavity = random_naturals(34, constant), random_naturals(35, constant)
    q, base = level_weights(grid, precision, shift, constant), level_weights(grid, *cavity, constant)
    site, step = np.random.default_rng(36).uniform(0, 3, shift.shape), 1e-4
    ahead, back = (q.with_site(base, site, 0.4, sign * step) for sign in (1, -1))
    np.testing.assert_allclose((ahead.mean - back.mean) / (2 * step), 0, rtol=0, atol=1e-7)
    n = q.n_discrete
    if len(GRIDS[grid][0]) == 2:
        # The square of such a weight says nothing new.
        np.testing.assert_allclose(q.with_site(base, site, 0.4, 1.0).mean[:, :n], q.mean[:, :n], rtol=1e-12)
    else:
        # A site that would not move the mean at all would show nothing.
        naive = q.with_natural(q.precision + step * site, q.shift)
        assert (np.abs(naive.mean - q.mean)[:, :n] > 100 * np.abs(ahead.mean - q.mean)[:, :n]).mean() > 0.9
    if constant:
        np.testing.assert_allclose(q.with_site(base, site, 0.4, 0.7).mean[:, -1], q.mean[:, -1], rtol=1e-13)


@EVERY_GRID
@CONSTANT
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_with_site_settles_on_cavity_and_site(grid, constant, temperature):
    (precision, shift), cavity = random_naturals(37, constant), random_naturals(38, constant)
    q, base = level_weights(grid, precision, shift, constant), level_weights(grid, *cavity, constant)
    site = np.random.default_rng(39).uniform(0, 3, shift.shape)
    full, half = (q.with_site(base, site, temperature, step) for step in (1.0, 0.5))
    n = q.n_discrete if len(GRIDS[grid][0]) == 2 else 0
    expected = cavity[0] + temperature * site
    np.testing.assert_allclose(full.precision[:, n:], expected[:, n:], rtol=1e-13)
    np.testing.assert_allclose(half.precision[:, n:], 0.5 * (expected + precision)[:, n:], rtol=1e-13)
    np.testing.assert_array_equal(full.precision[:, :n], 0)
    again = full.with_site(base, site, temperature, 1.0)
    np.testing.assert_allclose(again.precision, full.precision, rtol=1e-13)
    np.testing.assert_allclose(again.mean, full.mean, rtol=1e-12, atol=1e-13)


@EVERY_GRID
@CONSTANT
@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.9, 1.0, 1.2])
def test_power_blend_of_levels(grid, constant, exponent):
    one, other = random_naturals(40, constant), random_naturals(41, constant)
    if constant:  # a power beyond 1 needs a bias that is sharper than the one it leaves behind
        one[0][:, -1] += other[0][:, -1]
    q, base = level_weights(grid, *one, constant), level_weights(grid, *other, constant)
    blend = q.power_blend(base, exponent)
    laws, base_laws = level_laws(grid, *one, constant), level_laws(grid, *other, constant)
    found = blend.probabilities()
    for index, law in laws.items():
        share = base_laws[index].probabilities * (law.probabilities / base_laws[index].probabilities) ** exponent
        np.testing.assert_allclose(found[index], share / share.sum(), rtol=1e-11)
    for part, a, b in zip((blend.precision, blend.shift), one, other, strict=True):
        if len(GRIDS[grid][0]) > 2:
            np.testing.assert_allclose(part, b + exponent * (a - b), rtol=1e-12, atol=1e-14)
        elif constant:
            np.testing.assert_allclose(part[:, -1], (b + exponent * (a - b))[:, -1], rtol=1e-12, atol=1e-14)
    if exponent in (0, 1):
        assert blend is (q if exponent else base)


def test_recentred_levels_are_the_other_ones():
    q, other = (level_weights("three", *random_naturals(seed, True), True) for seed in (42, 43))
    assert q.recentred(other) is other
    assert q.variance_follows_mean
    assert not IndependentWeights.variance_follows_mean and not JointWeights.variance_follows_mean


@EVERY_GRID
@CONSTANT
def test_mode_of_levels(grid, constant):
    precision, shift = random_naturals(44, constant)
    shift *= 3
    mode = level_weights(grid, precision, shift, constant).mode()
    assert mode.shape == shift.shape
    laws = level_laws(grid, precision, shift, constant)
    for index, law in laws.items():
        assert mode[index] == GRIDS[grid][0][law.probabilities.argmax()]
    assert len(np.unique(mode[:, : N_IN - constant])) > 1
    if constant:
        np.testing.assert_allclose(mode[:, -1], shift[:, -1] / precision[:, -1], rtol=1e-14)


@FAMILIES
def test_mode_of_a_gaussian_is_its_mean(family):
    weights = random_weights(family, 12)
    np.testing.assert_array_equal(weights.mode(), weights.mean)


@EVERY_GRID
@CONSTANT
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_moments_of_levels(grid, constant, dtype, temperature):
    naturals = random_naturals(45, constant)
    moments = level_weights(grid, *naturals, constant).moments(temperature, np.dtype(dtype))
    mean, variance = enumerated_moments(grid, *naturals, constant)
    rtol = 1e-10 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(moments.mean, mean, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(moments.variance, temperature * variance, rtol=rtol)
    assert moments.covariance is None
    assert moments.mean.dtype == moments.variance.dtype == dtype
