"""What the data say of the noise, against the evidence that it maximises; sums and powers of factors."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from sk_epsnn.ep.evidence import NOISE_PRIOR_MASS, NOISE_START, Evidence, NoiseEvidence


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_factors_multiply_by_adding():
    rng = np.random.default_rng(0)
    a, b = (Evidence(rng.standard_normal((2, 3)), rng.standard_normal((2, 3))) for _ in range(2))
    assert_same(a.plus(b), (a.precision + b.precision, a.shift + b.shift))
    assert_same(a.minus(b), (a.precision - b.precision, a.shift - b.shift))
    assert_same(a.times(0.3), (0.3 * a.precision, 0.3 * a.shift))


@pytest.mark.parametrize("power", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.3])
def test_noise_maximises_the_power_ep_evidence(power, spread):
    rng = np.random.default_rng(1)
    residual = np.sqrt(0.3 + spread) * rng.standard_normal((400, 1))
    spreads = np.full((400, 1), spread)
    # A prior of no weight: the estimate is the maximum of the evidence itself.
    noise = NoiseEvidence(1e-12, 1e-14, 0.0, np.zeros(1)).absorb(residual, spreads, np.ones(400), power)

    def cost(log_v):
        v = np.exp(log_v)
        total = v + power * spread
        return (0.5 * residual**2 / total + 0.5 / power * np.log1p(power * spread / v) + 0.5 * np.log(v)).sum()

    best = np.exp(minimize_scalar(cost, bounds=(-12, 5), method="bounded", options={"xatol": 1e-10}).x)
    np.testing.assert_allclose(noise.variance[0], best, rtol=1e-4)


def test_noise_of_certain_potentials_is_a_mean_square():
    """Weighted, each output its own, on top of the prior's observations and of those before."""
    rng = np.random.default_rng(2)
    residual, weight = rng.standard_normal((50, 2)) * [1.0, 3.0], rng.uniform(0.1, 2, 50)
    before = NoiseEvidence(2.0, 0.6, 5.0, np.array([1.0, 4.0]))
    after = before.absorb(residual, np.zeros((50, 2)), weight, 1.0)
    squares = [1.0, 4.0] + weight @ residual**2
    assert after.mass == pytest.approx(5 + weight.sum(), rel=1e-14)
    np.testing.assert_allclose(after.squares, squares, rtol=1e-12)
    np.testing.assert_allclose(after.variance, (0.6 + squares) / (2 + 5 + weight.sum()), rtol=1e-12)
    np.testing.assert_array_equal(before.squares, [1.0, 4.0])


def test_weights_of_rows_count_them():
    rng = np.random.default_rng(3)
    residual, spread, times = rng.standard_normal((20, 1)), rng.uniform(0, 1, (20, 1)), rng.integers(1, 4, 20)
    start = NoiseEvidence.none_yet(np.zeros(1))
    weighted = start.absorb(residual, spread, times.astype(float), 0.5)
    repeated = start.absorb(np.repeat(residual, times, 0), np.repeat(spread, times, 0), np.ones(times.sum()), 0.5)
    np.testing.assert_allclose(weighted.variance, repeated.variance, rtol=1e-10)


def test_noise_statistics_forget_as_the_weights_do():
    noise = NoiseEvidence(1.0, 0.1, 10.0, np.array([2.0]))
    half = noise.cavity(0.5)
    assert half.mass == 5.0
    np.testing.assert_array_equal(half.squares, [1.0])
    np.testing.assert_allclose(noise.variance, [2.1 / 11], rtol=1e-12)


def test_before_the_data_the_noise_is_that_of_the_prior():
    start = NoiseEvidence.none_yet(np.zeros(3))
    np.testing.assert_allclose(start.variance, NOISE_START, rtol=1e-14)
    assert (start.prior_mass, start.mass) == (NOISE_PRIOR_MASS, 0.0)
    lighter = NoiseEvidence.none_yet(np.zeros(3), 1e-4)
    np.testing.assert_allclose(lighter.variance, NOISE_START, rtol=1e-14)
    assert lighter.prior_mass == 1e-4


def test_known_noise_has_its_variance_and_as_many_observations():
    """What comes later moves it as it would move the mean of so many squares, the prior's among them."""
    start = NoiseEvidence(2.0, 0.6, 1.0, np.array([9.0, 9.0]))
    known = start.known(np.array([0.5, 3.0]), 40.0)
    np.testing.assert_allclose(known.variance, [0.5, 3.0], rtol=1e-14)
    assert (known.prior_mass, known.prior_squares, known.mass) == (2.0, 0.6, 40.0)
    later = known.absorb(np.full((10, 2), 2.0), np.zeros((10, 2)), np.ones(10), 1.0)
    np.testing.assert_allclose(later.variance, (42 * np.array([0.5, 3.0]) + 40) / 52, rtol=1e-12)


def test_observations_are_added_and_taken_out_but_never_the_prior():
    a = NoiseEvidence(1.0, 0.1, 10.0, np.array([2.0, 3.0]))
    b = NoiseEvidence(5.0, 0.7, 4.0, np.array([1.0, 0.5]))
    both = a.plus(b)
    assert (both.prior_mass, both.prior_squares, both.mass) == (1.0, 0.1, 14.0)
    np.testing.assert_array_equal(both.squares, [3.0, 3.5])
    back = both.plus(b, -1)
    assert back.mass == a.mass
    np.testing.assert_array_equal(back.squares, a.squares)
