"""Every registered output against quadrature: log Z, its derivatives, limits and symmetries."""

import numpy as np
import oracles
import pytest
from potentials import GRID, grid
from scipy.special import logsumexp
from scipy.stats import norm
from states import OBSERVED

from sk_epsnn.outputs import SPIKING_OUTPUTS, GaussianOutput, Output
from sk_epsnn.softmax import tilted, tilted_bound

#: Units of a softmax compete, those of the others are free of each other.
FREE = sorted(set(SPIKING_OUTPUTS) - {"softmax"})
OUTPUTS = pytest.mark.parametrize("name", FREE)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
#: An indicator is its own power, and its expected log is minus infinity: power 0 and in between mean nothing here.
POWERLESS = {"heaviside"}


def outputs_and_powers():
    return [(name, power) for name in FREE for power in (0, 0.1, 0.5, 1)]


def quadrature_error(power, variance):
    """Absolute error of log Z, g sqrt(S), gamma S and kappa S that the grid inside the code allows.

    ``0 < power < 1`` is integrated by the trapezoidal rule with steps of 1.5 in u, at most one standard deviation.
    Largest errors measured for |M| <= 4 sqrt(S) and powers .1, .5 and .9: S = 0.05 2e-9 2e-9 2e-9 2e-9;
    0.6 3e-7 8e-7 1e-6 1e-6; 2 5e-5 3e-4 1e-3 1e-3; 9 1e-5 1e-4 2e-3 2e-3; 100 2e-5 2e-4 9e-3 9e-3;
    1000 4e-5 3e-4 .03 .03.
    """
    if power in (0, 1):
        return np.array([1e-7, 1e-7, 1e-6, 1e-6])
    if variance < 1:
        return np.full(4, 1e-8 if variance < 0.1 else 3e-6)
    return np.array([1e-4, 6e-4, 2e-3 + 1e-4 * variance, 2e-3 + 1e-4 * variance])


def evidence(name, pairs, target, power, dtype=np.float64):
    mean, variance = grid(pairs, dtype)
    log_z, down = OBSERVED[name].evidence(mean, variance, np.full_like(mean, target), power)
    return log_z, *down


def test_registry():
    assert set(oracles.SPIKE_LAWS) >= set(FREE)
    assert all(issubclass(c, Output) and c.name == name for name, c in SPIKING_OUTPUTS.items())


@pytest.mark.parametrize("name, power", outputs_and_powers())
@pytest.mark.parametrize("target", [-1, 1])
def test_output_evidence(name, power, target):
    law = oracles.SPIKE_LAWS[name]
    values = np.hstack(evidence(name, GRID, target, power))
    for value, (m, s) in zip(values, GRID, strict=True):
        exact = oracles.observed_spike(law, m, s, target, 1 if name in POWERLESS else power)
        error = (value - np.array(exact)) * np.array([1, np.sqrt(s), s, s])
        # On top of the quadrature: rounding, relative to the size of each number (a tail of z = -36 is in the grid).
        allowed = quadrature_error(power, s) + 1e-9 * np.abs(np.array(exact)) * np.array([1, np.sqrt(s), s, s])
        assert (np.abs(error) < allowed).all(), (m, s, value, exact)


@OUTPUTS
@pytest.mark.parametrize("power", [0, 0.1, 0.5, 1])
def test_output_derivatives_by_differences(name, power):
    """The oracle's log Z, differentiated numerically: no identity between moments and derivatives is trusted."""
    if name in POWERLESS:
        power = 1
    pairs = [(-1.3, 0.6), (0.4, 0.3), (2.0, 0.5)]
    _, *down = evidence(name, pairs, 1, power)
    for row, (m, s) in enumerate(pairs):
        exact = oracles.derivatives(
            lambda a, b: oracles.observed_spike(oracles.SPIKE_LAWS[name], a, b, 1, power).log_z, m, s
        )
        allowed = 2e-7 + quadrature_error(power, s).max() * (0 < power < 1)
        np.testing.assert_allclose([float(d[row, 0]) for d in down], exact, rtol=2e-6, atol=allowed)


@pytest.mark.parametrize("name, power", outputs_and_powers())
def test_output_log_partition_is_that_of_the_evidence(name, power):
    mean, variance = grid(GRID)
    target = np.where(np.arange(len(GRID)) % 2, 1.0, -1.0)[:, None]
    output = OBSERVED[name]
    alone = output.log_partition(mean, variance, target, power)
    np.testing.assert_allclose(alone, output.evidence(mean, variance, target, power)[0], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name, power", outputs_and_powers())
def test_output_sign_flip(name, power):
    """Silence at u is a spike at -u."""
    spike = evidence(name, GRID, 1, power)
    silence = evidence(name, [(-m, s) for m, s in GRID], -1, power)
    for a, b, sign in zip(spike, silence, (1, -1, 1, 1), strict=True):
        np.testing.assert_allclose(a, sign * b, rtol=1e-14, atol=0)


@OUTPUTS
def test_output_spike_and_silence_exhaust_the_probability(name):
    spike, silence = (evidence(name, GRID, target, 1)[0] for target in (1, -1))
    np.testing.assert_allclose(np.exp(spike) + np.exp(silence), 1, rtol=1e-8)


@OUTPUTS
def test_output_log_odds(name):
    """Spike against silence, also where one of them is all but impossible."""
    output = OBSERVED[name]
    mean = np.array([[-300.0, -20.0, -0.3, 0.0, 0.3, 20.0, 300.0]]) * np.ones((4, 1))
    variance = np.array([[1e-6], [0.5], [9.0], [400.0]]) * np.ones(7)
    ones = np.ones_like(mean)
    expected = output.log_partition(mean, variance, ones, 1.0) - output.log_partition(mean, variance, -ones, 1.0)
    np.testing.assert_allclose(output.log_odds(mean, variance), expected, rtol=1e-6, atol=1e-7)


def test_sigmoid_log_odds_of_a_known_potential_are_the_potential():
    mean = np.linspace(-50, 50, 11)[:, None]
    np.testing.assert_array_equal(OBSERVED["sigmoid"].log_odds(mean, np.zeros_like(mean)), mean)


def test_sigmoid_output_power_is_continuous_at_its_ends():
    pairs = [(-1.0, 0.3), (0.5, 0.05), (2.0, 0.5)]
    for end, near in ((0, 1e-5), (1, 1 - 1e-6)):
        for a, b in zip(evidence("sigmoid", pairs, 1, end), evidence("sigmoid", pairs, 1, near), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name, power", outputs_and_powers())
@DTYPES
@pytest.mark.parametrize("variance", [1e-7, 1e-3, 1.0, 100.0, 1e6])
@pytest.mark.parametrize("ratio", [1e4, 100.0, 20.0])
def test_output_extremes_stay_finite(name, power, dtype, variance, ratio):
    pairs = [(sign * ratio * np.sqrt(variance), variance) for sign in (-1, 1)]
    for target in (-1, 1):
        result = evidence(name, pairs, target, power, dtype)
        assert all(np.isfinite(part).all() for part in result)


@pytest.mark.parametrize("name, power", outputs_and_powers())
def test_output_float32(name, power):
    pairs = [(m, s) for m, s in GRID if abs(m) < 8 * np.sqrt(s)]
    single, double = (evidence(name, pairs, 1, power, dtype) for dtype in (np.float32, np.float64))
    for part, a, b in zip(("log Z", "g", "gamma", "kappa"), single, double, strict=True):
        assert a.dtype == np.float32, part
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5, err_msg=part)
    mean, variance = grid(pairs, np.float32)
    assert OBSERVED[name].log_partition(mean, variance, np.ones_like(mean), power).dtype == np.float32


@pytest.mark.parametrize("power", [0.1, 0.5])
def test_sigmoid_output_rule_is_that_of_each_entry(power):
    """The widest sample chooses the nodes for its whole batch: what another is told changes by the error above."""
    alone = evidence("sigmoid", [(0.5, 3.5)], 1, power)
    beside = evidence("sigmoid", [(0.5, 3.5), (0.0, 80.0)], 1, power)
    for a, b in zip(alone, beside, strict=True):
        np.testing.assert_allclose(a[0], b[0], rtol=0, atol=1e-3)


@pytest.mark.parametrize("power", [0.1, 0.5])
def test_sigmoid_output_in_float32_rounds(power):
    """Narrow potentials, which the rule integrates to 1e-8: what is left is the rounding of ``log Z alpha``."""
    pairs = [(m, 0.09) for m in np.linspace(-15, 15, 41)]
    single = evidence("sigmoid", pairs, 1, power, np.float32)
    for row, (m, s) in enumerate(pairs):
        exact = oracles.observed_spike(oracles.SPIKE_LAWS["sigmoid"], m, s, 1, power)
        for value, expected, atol in zip(single, exact, (5e-7 / power, 1e-8, 1e-6, 1e-6), strict=True):
            np.testing.assert_allclose(value[row, 0], expected, rtol=3e-6, atol=atol, err_msg=f"{m}")


@pytest.mark.parametrize("power", [0.1, 0.9])
@DTYPES
def test_sigmoid_output_far_rows_among_many(power, dtype):
    """Rows by the thousand, some so far out that exp(-u) overflows: each is as it is among few."""
    rng = np.random.default_rng(0)
    mean = rng.uniform(-8, 8, (3000, 3)).astype(dtype)
    mean[[5, 2900]] = -2000.0
    variance = rng.uniform(0.5, 9, mean.shape).astype(dtype)
    variance[:, 1] = 9
    target = np.where(rng.random(mean.shape) < 0.5, 1, -1).astype(dtype)
    output = OBSERVED["sigmoid"]
    many = output.evidence(mean, variance, target, power)
    np.testing.assert_array_equal(output.log_partition(mean, variance, target, power), many[0])
    rtol = 3e-5 if dtype == np.float32 else 1e-12
    for rows in (slice(0, 10), slice(1500, 1510), slice(2895, 2905)):
        few = output.evidence(mean[rows], variance[rows], target[rows], power)
        for part, other in zip((many[0], *many[1]), (few[0], *few[1]), strict=True):
            np.testing.assert_allclose(part[rows], other, rtol=rtol, atol=rtol / 10)


@pytest.mark.parametrize("power", [0, 0.1, 0.5, 1])
def test_gaussian_output_evidence(power):
    """``N(y; u, noise)**power`` has slopes without limit, so a rule wide enough replaces the panels at the mode."""
    noise = np.array([0.4, 3.0])
    mean, variance = np.array([[0.3, -1.0], [2.0, 0.5]]), np.array([[0.7, 2.0], [0.05, 9.0]])
    target = np.array([[1.0, 0.2], [0.5, -2.5]])
    log_z, down = GaussianOutput(noise).evidence(mean, variance, target, power)
    for n, i in np.ndindex(2, 2):

        def exact(m, s, n=n, i=i):
            u, w = oracles.gaussian_rule(m, s)
            log_p = norm.logpdf(target[n, i], u, np.sqrt(noise[i]))
            return (w * log_p).sum() if power == 0 else np.log((w * np.exp(power * log_p)).sum()) / power

        m, s = mean[n, i], variance[n, i]
        np.testing.assert_allclose(log_z[n, i], exact(m, s), rtol=1e-11)
        np.testing.assert_allclose([d[n, i] for d in down], oracles.derivatives(exact, m, s), rtol=2e-6, atol=1e-8)


def test_gaussian_output_site_does_not_depend_on_the_cavity():
    """The observation is a Gaussian site of precision 1/noise on u, whatever N(M, S) it meets."""
    rng = np.random.default_rng(0)
    mean, variance = rng.standard_normal((50, 1)), rng.uniform(0.01, 20, (50, 1))
    _, (g, gamma, kappa) = GaussianOutput(np.array([0.8])).evidence(mean, variance, np.full((50, 1), 1.7), 1)
    tau = gamma / (1 - gamma * variance)
    np.testing.assert_allclose(tau, 1 / 0.8, rtol=1e-12)
    np.testing.assert_allclose(g * (1 + tau * variance) + tau * mean, 1.7 / 0.8, rtol=1e-11)
    np.testing.assert_allclose(kappa, gamma - g * g, rtol=1e-12)


@pytest.mark.parametrize("power", [0, 0.5, 1])
def test_gaussian_output_float32(power):
    one = np.ones((3, 2), np.float32)
    log_z, down = GaussianOutput(np.array([0.5, 2.0])).evidence(one, one, -one, power)
    assert {log_z.dtype, *(d.dtype for d in down)} == {np.dtype(np.float32)}


def test_base_refuses():
    one = np.ones((1, 1))
    with pytest.raises(NotImplementedError):
        Output().evidence(one, one, one, 1.0)


# Softmax


def potentials_of(n_units, spread, seed=0, n_rows=5):
    rng = np.random.default_rng(seed)
    target = -np.ones((n_rows, n_units))
    target[np.arange(n_rows), rng.integers(n_units, size=n_rows)] = 1
    return 2 * rng.standard_normal((n_rows, n_units)), spread * rng.random((n_rows, n_units)), target


@pytest.mark.parametrize("n_units", [3, 7, 40])
@pytest.mark.parametrize("spread", [0.01, 1, 30, 1000])
def test_softmax_derivatives_are_those_of_its_bound(n_units, spread):
    """By finite differences, and ``gamma`` is no less than the curvature in each potential."""
    output = SPIKING_OUTPUTS["softmax"]()
    mean, variance, target = potentials_of(n_units, spread)
    log_z, down = output.evidence(mean, variance, target, 0.0)
    assert log_z.shape == (len(mean), 1)
    np.testing.assert_array_equal(log_z, output.log_partition(mean, variance, target, 0.0))
    step = 1e-4
    for k in range(n_units):
        one = step * (np.arange(n_units) == k)
        ahead, behind = (output.evidence(mean + sign * one, variance, target, 0.0)[0][:, 0] for sign in (1, -1))
        np.testing.assert_allclose((ahead - behind) / (2 * step), down.g[:, k], atol=5e-6)
        ahead, behind = (output.evidence(mean + sign * 10 * one, variance, target, 0.0)[0][:, 0] for sign in (1, -1))
        bent = (2 * log_z[:, 0] - ahead - behind) / (10 * step) ** 2
        assert (bent < down.gamma[:, k] + 1e-5).all()
        wide = variance * one
        ahead, behind = (output.evidence(mean, variance + sign * wide, target, 0.0)[0][:, 0] for sign in (1, -1))
        slope = (ahead - behind) / (2 * step * variance[:, k])
        np.testing.assert_allclose(-2 * slope, down.kappa[:, k], atol=5e-6)


def bent(function, at, step=1e-3):
    """Matrix of second derivatives in one row, by finite differences."""
    n = at.shape[1]
    shifts = step * np.eye(n)

    def mixed(a, b):
        return function(at + a + b) - function(at + a - b) - function(at - a + b) + function(at - a - b)

    return np.array([[mixed(a, b) for b in shifts] for a in shifts]) / (4 * step * step)


@pytest.mark.parametrize("spread", [1e-9, 1, 30])
def test_softmax_competition_is_curvature_at_held_tightness(spread):
    """By finite differences; never below the curvature of the bound itself, and the same for small variances."""
    output = SPIKING_OUTPUTS["softmax"]()
    mean, variance, target = potentials_of(4, spread)
    found = output.competition(output.evidence(mean, variance, target, 0.0)[1], target)
    rows = np.stack([found.image(np.tile(row, (len(mean), 1))) for row in np.eye(4)], axis=2)
    p = tilted(mean, variance)
    for n in range(len(mean)):
        m, s, y = (part[n : n + 1] for part in (mean, variance, target))
        held = bent(lambda m, s=s, n=n: tilted_bound(m, s, p[n : n + 1])[0, 0], m)
        np.testing.assert_allclose(rows[n], held, atol=1e-6)
        own = -bent(lambda m, s=s, y=y: output.log_partition(m, s, y, 0.0)[0, 0], m)
        assert np.linalg.eigvalsh(rows[n] - own).min() > -1e-5
        if spread < 1e-6:
            np.testing.assert_allclose(rows[n], own, atol=1e-5)


def test_only_winners_compete():
    for name, kind in SPIKING_OUTPUTS.items():
        mean, variance, target = potentials_of(3, 1)
        output = kind()
        found = output.competition(output.evidence(mean, variance, target, 1.0)[1], target)
        assert (found is None) == (name != "softmax")


def test_softmax_evidence_is_a_lower_bound():
    """Of the expected log likelihood, by 200,000 draws; all but that for narrow potentials."""
    output, rng = SPIKING_OUTPUTS["softmax"](), np.random.default_rng(1)
    for spread, gap in ((0.1, 2e-3), (2.0, 0.1), (20.0, 3.5)):
        mean, variance, target = potentials_of(4, spread)
        log_z = output.log_partition(mean, variance, target, 0.0)[:, 0]
        noise = rng.standard_normal((200_000, 4))
        noise = np.concatenate([noise, -noise])
        for m, v, t, bound in zip(mean, variance, target, log_z, strict=True):
            draws = m + np.sqrt(v) * noise
            exact = (draws[:, t > 0][:, 0] - logsumexp(draws, axis=1)).mean()
            assert exact - gap < bound < exact + 0.01


def test_softmax_log_odds_are_those_of_its_probabilities():
    output = SPIKING_OUTPUTS["softmax"]()
    mean, variance, _ = potentials_of(5, 3)
    p = np.exp(output.log_probability(mean, variance))
    np.testing.assert_allclose(output.log_odds(mean, variance), np.log(p / (1 - p)), atol=1e-9)
