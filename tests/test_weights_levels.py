"""Weights on levels by enumeration."""

from itertools import product

import numpy as np
import pytest
from families import (
    CONSTANT,
    EVERY_GRID,
    GRIDS,
    N_IN,
    N_OUT,
    enumerated_moments,
    level_laws,
    level_weights,
    random_naturals,
)

from sk_epsnn.weights import LOG_ODDS_BOUND, find_lattice


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
    assert all(np.isfinite(part).all() for part in (weights.mean, weights.variance, weights.slope))
    assert (levels[0] <= weights.mean[:, : weights.n_discrete]).all()
    assert (weights.mean[:, : weights.n_discrete] <= levels[-1]).all()


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


@pytest.mark.parametrize(
    "levels, spacing, alternates",
    [
        ([-1, 1], 2, True),
        ([-0.3, 0.3], 0.6, True),
        ([-0.5, 0.5, 1.5], 1, True),
        ([0.25, 0.75], 0.5, True),
        ([-1, -1 / 3, 1 / 3, 1], 2 / 3, True),
        ([0, 1], 1, False),
        ([-1, 0, 1], 1, False),
        ([-2, -1], 1, False),
        (0.1 * np.linspace(-1, 1, 9), 0.025, False),
    ],
)
def test_find_lattice(levels, spacing, alternates):
    """Checked on all sums of up to four levels: neighbours are one spacing apart, 0 is in line with them or is not."""
    lattice = find_lattice(np.array(levels, float))
    assert lattice.spacing == pytest.approx(spacing, rel=1e-12)
    assert lattice.alternates is alternates
    for n_spikes in (1, 2, 3, 4):
        sums = np.unique(np.round([sum(chosen) for chosen in product(levels, repeat=n_spikes)], 9))
        np.testing.assert_allclose(np.diff(sums), spacing, rtol=1e-6)
        away = sums[0] / spacing
        in_line = abs(away - round(away)) < 1e-6
        assert in_line == (n_spikes % 2 == 0 or not alternates)


@pytest.mark.parametrize("levels", [[0, 1, np.sqrt(2)], [-1, 0, 1 + 1e-6], [0.3, 1.3], [-1, np.sqrt(2)]], ids=str)
def test_no_lattice(levels):
    """Uneven grids, and even ones of which neither one level nor two can sum up to a multiple of the spacing."""
    assert find_lattice(np.array(levels, float)) is None
