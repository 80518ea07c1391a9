"""Independent oracles: integrals on Gauss-Legendre panels, 60-digit fractions, enumeration of spikes, differences.

Nothing here calls the package. Everything is scalar or loops in float64: slow, plain and accurate.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, logsumexp

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")


# Integrals


def panels(low: float, high: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the 20-point Gauss-Legendre rule on equal panels no wider than ``width``."""
    edges = np.linspace(low, high, max(int(np.ceil((high - low) / width)), 1) + 1)
    half = 0.5 * np.diff(edges)[:, None]
    return ((edges[:-1, None] + half) + half * _NODES).ravel(), (half * _WEIGHTS).ravel()


def gaussian_rule(mean: float, variance: float, breaks: tuple[float, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights with ``E f(u) = sum w f(u)`` for ``u ~ N(mean, variance)``, 12 standard deviations each way.

    Panels are at most 1 wide, so that functions with poles at +-i pi are integrated to rounding error;
    jumps of ``f`` belong in ``breaks``.
    """
    sd = np.sqrt(variance)
    inner = [b for b in breaks if abs(b - mean) < 12 * sd]
    edges = [mean - 12 * sd, *sorted(inner), mean + 12 * sd]
    parts = [panels(a, b, min(sd, 1.0)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    u, w = (np.concatenate(part) for part in zip(*parts, strict=True))
    return u, w * np.exp(-0.5 * (u - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance)


def expectation(function: Callable, mean: float, variance: float, breaks: tuple[float, ...] = ()) -> float:
    """``E f(u)`` for ``u ~ N(mean, variance)``; absolute accuracy about 1e-14 of the size of ``f``."""
    u, w = gaussian_rule(mean, variance, breaks)
    return float((w * function(u)).sum())


class Tilted(NamedTuple):
    """``log E f(u)**power`` and the mean and variance of ``N(u; M, S) f(u)**power``."""

    log_mass: float
    mean: float
    variance: float


def tilted(
    log_f: Callable, mean: float, variance: float, power: float = 1.0, support: tuple[float, float] = (-np.inf, np.inf)
) -> Tilted:
    """Moments of a Gaussian times a power of a log-concave ``f`` whose log has slopes within +-1.

    The panels follow the integrand: from its mode to where it has fallen by exp(-45), both ways, so that relative
    accuracy (about 1e-13) holds however small the mass is.
    """

    def height(u):
        return power * log_f(u) - 0.5 * (u - mean) ** 2 / variance

    sd = np.sqrt(variance)
    low, high = np.clip([mean - power * variance, mean + power * variance], *support)
    mode = low
    if high > low:
        found = minimize_scalar(lambda u: -height(u), bounds=(low, high), method="bounded", options={"xatol": 1e-9})
        mode = max((low, high, float(found.x)), key=height)
    ends = [_fall(height, mode, step, bound) for step, bound in ((-sd, support[0]), (sd, support[1]))]
    parts = [panels(*sorted((mode, end)), width=min(abs(end - mode) / 8, 1.0)) for end in ends if end != mode]
    u, w = (np.concatenate(part) for part in zip(*parts, strict=True))
    top = height(mode)
    density = w * np.exp(height(u) - top)
    mass = density.sum()
    # Relative to the mode, so that the variance does not suffer from a distant origin.
    first = (density * (u - mode)).sum() / mass
    second = (density * (u - mode - first) ** 2).sum() / mass
    return Tilted(float(top + np.log(mass) - 0.5 * np.log(2 * np.pi * variance)), float(mode + first), float(second))


def _fall(height: Callable, mode: float, step: float, bound: float) -> float:
    """Where a concave function has fallen by 45 from its mode, at most ``bound``."""
    top, end = height(mode), mode + step
    while top - height(end) < 45 and (bound - end) * step > 0:
        end = mode + 2 * (end - mode)
    inside, outside = mode, end
    for _ in range(20):
        middle = 0.5 * (inside + outside)
        inside, outside = (middle, outside) if top - height(middle) < 45 else (inside, middle)
    return float(min(outside, bound) if step > 0 else max(outside, bound))


# Spiking neurons


class SpikeLaw(NamedTuple):
    """A spiking neuron: ``log P(v | u)`` on the potentials that allow ``v``, and where that range ends."""

    log_fires: Callable
    log_silent: Callable
    threshold: float | None

    def log_probability(self, target: int) -> Callable:
        """``log P(v | u)`` inside `support`; ``target`` is +1 for a spike and -1 for silence."""
        return self.log_fires if target > 0 else self.log_silent

    def support(self, target: int) -> tuple[float, float]:
        """Potentials at which the neuron can do ``target``."""
        if self.threshold is None:
            return -np.inf, np.inf
        return (self.threshold, np.inf) if target > 0 else (-np.inf, self.threshold)

    def probability(self, u: np.ndarray) -> np.ndarray:
        """``P(v = 1 | u)``."""
        fires = np.exp(self.log_fires(u))
        return fires if self.threshold is None else np.where(u >= self.threshold, fires, 0.0)

    @property
    def breaks(self) -> tuple[float, ...]:
        """Potentials at which the probability jumps."""
        return () if self.threshold is None else (self.threshold,)


#: One entry per registered activation; `tilted` needs log-probabilities that are concave with slopes within +-1.
SPIKE_LAWS = {
    "heaviside": SpikeLaw(np.zeros_like, np.zeros_like, 0.0),
    "sigmoid": SpikeLaw(log_expit, lambda u: log_expit(-u), None),
    "lif": SpikeLaw(np.zeros_like, np.zeros_like, 0.0),
    "sigmoid_lif": SpikeLaw(log_expit, lambda u: log_expit(-u), None),
}


class Evidence(NamedTuple):
    """``log Z`` with ``g = dlogZ/dM``, ``gamma = -d2logZ/dM2`` and ``kappa = -2 dlogZ/dS``."""

    log_z: float
    g: float
    gamma: float
    kappa: float


def observed_spike(law: SpikeLaw, mean: float, variance: float, target: int, power: float) -> Evidence:
    """``(1/power) log E P(target|u)**power`` with its derivatives from the moments of the tilted density.

    Power 0 is the limit ``E log P(target|u)``. The derivatives are those of the Gaussian density, integrated.
    """
    log_p = law.log_probability(target)
    if power == 0:
        u, w = gaussian_rule(mean, variance)
        value, score = w * log_p(u), (u - mean) / variance
        curvature = (value * (score**2 - 1 / variance)).sum()
        return Evidence(float(value.sum()), float((value * score).sum()), -float(curvature), -float(curvature))
    t = tilted(log_p, mean, variance, power, law.support(target))
    shift = t.mean - mean
    return Evidence(
        t.log_mass / power,
        shift / variance / power,
        (variance - t.variance) / variance**2 / power,
        (variance - t.variance - shift**2) / variance**2 / power,
    )


def hidden_spike(law: SpikeLaw, mean: float, variance: float, log_ratio: float) -> tuple[float, float, float]:
    """``log E[P(1|u) exp(log_ratio) + P(0|u)]`` and the mean and variance of that tilted density."""
    u, w = gaussian_rule(mean, variance, law.breaks)
    fires = law.probability(u)
    density = w * (fires * np.exp(log_ratio) + 1 - fires)
    mass = density.sum()
    first = (density * u).sum() / mass
    return float(np.log(mass)), float(first), float((density * (u - first) ** 2).sum() / mass)


# Differences


def derivatives(function: Callable[[float, float], float], mean: float, variance: float) -> tuple[float, float, float]:
    """``(df/dM, -d2f/dM2, -2 df/dS)`` by central differences of order four."""
    step, wide = 2e-3 * np.sqrt(variance), 2e-2 * np.sqrt(variance)
    slope = _slope([function(mean + k * step, variance) for k in (-2, -1, 1, 2)], step)
    f = [function(mean + k * wide, variance) for k in (-2, -1, 0, 1, 2)]
    second = (-f[0] + 16 * f[1] - 30 * f[2] + 16 * f[3] - f[4]) / (12 * wide**2)
    step = 2e-3 * variance
    spread = _slope([function(mean, variance + k * step) for k in (-2, -1, 1, 2)], step)
    return slope, -second, -2 * spread


def gradient(function: Callable[[np.ndarray], float], point: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Gradient of a scalar function of an array, by central differences of order four."""
    result = np.empty_like(point)
    for index in np.ndindex(point.shape):
        values = []
        for k in (-2, -1, 1, 2):
            moved = point.copy()
            moved[index] += k * step
            values.append(function(moved))
        result[index] = _slope(values, step)
    return result


def _slope(f: list[float], step: float) -> float:
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)


# Normal distribution to 60 digits


def hazard(z: float) -> tuple[float, float]:
    """``r = phi(z)/Phi(z)`` and ``c = r (r + z)``, rounded from 60 digits.

    Left of -2 by the continued fraction ``r + z = 1/(t + 2/(t + 3/(t + ...)))`` with ``t = -z``, elsewhere by the
    power series of ``Phi``.
    """
    with localcontext(prec=80):
        x = Decimal(z)
        if z <= -2:
            t, tail = -x, Decimal(0)
            for k in range(1000, 1, -1):
                tail = k / (t + tail)
            excess = 1 / (t + tail)
            ratio = t + excess
            return float(ratio), float(ratio * excess)
        density = (-x * x / 2).exp() / (2 * _PI).sqrt()
        term, series, k = x, x, 1
        while abs(term) > Decimal(10) ** -75:
            k += 2
            term = term * x * x / k
            series += term
        ratio = density / (Decimal("0.5") + density * series)
        return float(ratio), float(ratio * (ratio + x))


# Mixing, one unit


def spike_patterns(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All 0/1 patterns of independent spikes, shape (2**n, n), and their probabilities."""
    patterns = np.array(list(product((0.0, 1.0), repeat=len(probability))))
    return patterns, np.where(patterns > 0, probability, 1 - probability).prod(1)


def potential_moments(patterns: np.ndarray, mass: np.ndarray, mean: np.ndarray, covariance: np.ndarray):
    """Mean and variance of ``u = w v`` with ``w ~ N(mean, covariance)`` and ``v`` from a list of patterns."""
    center = patterns @ mean
    spread = np.einsum("kj,jl,kl->k", patterns, covariance, patterns)
    total = mass @ center
    return float(total), float(mass @ (spread + (center - total) ** 2))


def log_site_mass(mean, variance, tau, nu):
    """``log E exp(nu u - tau u**2 / 2)`` for ``u ~ N(mean, variance)`` (A.1 of the formula book)."""
    width = 1 + tau * variance
    return -0.5 * np.log(width) + (nu * mean + 0.5 * nu**2 * variance - 0.5 * tau * mean**2) / width


def log_ratios(mean, variance, probability, tau, nu, exact: bool) -> np.ndarray:
    """Message of one Gaussian site on ``u`` to every spike: ``log Z(v_j = 1) - log Z(v_j = 0)``.

    ``exact`` sums over the patterns of the other spikes; otherwise their potential is taken as Gaussian.
    """
    result = np.empty(len(mean))
    for j in range(len(mean)):
        rest = np.arange(len(mean)) != j
        if exact:
            patterns, mass = spike_patterns(probability[rest])
        else:
            patterns, mass = None, np.ones(1)
        sides = []
        for spike in (1, 0):
            if exact:
                center = patterns @ mean[rest] + spike * mean[j]
                spread = patterns @ variance[rest] + spike * variance[j]
            else:
                p, m, s = probability[rest], mean[rest], variance[rest]
                center = np.array([m @ p + spike * mean[j]])
                spread = np.array([p @ (s + (1 - p) * m**2) + spike * variance[j]])
            sides.append(logsumexp(log_site_mass(center, spread, tau, nu), b=mass))
        result[j] = sides[0] - sides[1]
    return result


# Weight priors


def natural_tilted(
    log_density: Callable, precision: float, shift: float, points: tuple[float, ...], scale: float = 1.0
) -> Tilted:
    """Log-mass and moments of ``exp(log_density(w) + shift w - precision w**2 / 2)`` over the line.

    Kinks and candidate modes belong in ``points``. Panels start out in powers of two around these, ``scale`` times
    1e-9 to 1e15, and are halved until the logarithm changes by less than 3 on each that matters.
    """

    def height(w):
        return log_density(w) + shift * w - 0.5 * precision * w * w

    distances = scale * 2.0 ** np.arange(-30, 50)
    edges = np.unique(np.concatenate([[p, *(p - distances), *(p + distances)] for p in points]))
    for _ in range(200):
        heights = height(edges[:-1, None] + np.diff(edges)[:, None] * np.linspace(0, 1, 5))
        relevant = heights.max(1) > heights.max() - 60
        split = relevant & (np.ptp(heights, axis=1) > 3)
        if not split.any():
            break
        edges = np.sort(np.concatenate([edges, 0.5 * (edges[:-1] + edges[1:])[split]]))
    half = 0.5 * np.diff(edges)[relevant, None]
    w, weight = (edges[:-1][relevant, None] + half + half * _NODES).ravel(), (half * _WEIGHTS).ravel()
    top = height(w).max()
    density = weight * np.exp(height(w) - top)
    mass = density.sum()
    mean = (density * w).sum() / mass
    return Tilted(float(np.log(mass) + top), float(mean), float((density * (w - mean) ** 2).sum() / mass))


def with_point_mass(slab: Tilted, active_probability: float) -> Tilted:
    """Log-mass and moments when the slab has only ``active_probability``, and the rest lies exactly at zero."""
    log_z = np.logaddexp(np.log1p(-active_probability), np.log(active_probability) + slab.log_mass)
    active = np.exp(np.log(active_probability) + slab.log_mass - log_z)
    mean = active * slab.mean
    return Tilted(log_z, mean, active * (slab.variance + (slab.mean - mean) ** 2) + (1 - active) * mean**2)


def kl_to_gaussian(mean: float, variance: float, precision: float, shift: float) -> float:
    """``KL(t || N)`` for a Gaussian in natural parameters, up to a constant of the density t with these moments."""
    second = variance + mean**2
    return 0.5 * precision * second - shift * mean - 0.5 * np.log(precision) + shift**2 / (2 * precision)


def closest_site(mean: float, variance: float, cavity: tuple[float, float], box: tuple[float, float, float]):
    """Least KL over a box of site precisions and shifts, and where: nested bounded searches of a convex function."""
    least, most, most_shift = box
    least = max(least, 1e-9 - cavity[0])

    def best_shift(precision):
        return float(np.clip(precision * mean - cavity[1], -most_shift, most_shift))

    def cost(site):
        return kl_to_gaussian(mean, variance, cavity[0] + site, cavity[1] + best_shift(cavity[0] + site))

    found = minimize_scalar(cost, bounds=(least, most), method="bounded", options={"xatol": 1e-12, "maxiter": 2000})
    site = min((least, most, float(found.x)), key=cost)
    return cost(site), site, best_shift(cavity[0] + site)


# Weights on levels


class LevelLaw(NamedTuple):
    """Log-mass, probabilities and moments of a weight on levels; ``coskew`` is ``Cov(w, w**2)``."""

    log_mass: float
    probabilities: np.ndarray
    mean: float
    variance: float
    coskew: float


def level_law(levels, prior, precision: float, shift: float) -> LevelLaw:
    """``prior_k exp(shift a_k - precision a_k**2 / 2)``, level by level."""
    logs = [np.log(p) + shift * a - precision * a**2 / 2 for a, p in zip(levels, prior, strict=True)]
    log_mass = float(logsumexp(logs))
    probabilities = np.exp(np.array(logs) - log_mass)
    first, second, third = (sum(q * a**k for a, q in zip(levels, probabilities, strict=True)) for k in (1, 2, 3))
    return LevelLaw(log_mass, probabilities, first, second - first**2, third - first * second)


def gaussian_kl(precision: float, mean: float, base_precision: float, base_mean: float) -> float:
    """``KL(N(mean, 1/precision) || N(base_mean, 1/base_precision))``."""
    ratio = base_precision / precision
    return 0.5 * (ratio - 1 - np.log(ratio) + base_precision * (mean - base_mean) ** 2)


def potential_distribution(levels, level_probabilities, spike_probabilities) -> dict[float, float]:
    """Probability of every value of ``sum_j w_j v_j``, one input after another; values are rounded to 1e-9."""
    law = {0.0: 1.0}
    for shares, fires in zip(level_probabilities, spike_probabilities, strict=True):
        steps = [(0.0, 1 - fires), *((a, fires * share) for a, share in zip(levels, shares, strict=True))]
        longer: dict[float, float] = {}
        for (value, mass), (step, share) in product(law.items(), steps):
            key = round(value + step, 9)
            longer[key] = longer.get(key, 0.0) + mass * share
        law = longer
    return law
