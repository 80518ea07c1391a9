"""One noisy spike and estimates of the slope of an expectation in its potential.

A potential ``u ~ N(M, S)`` makes the spike ``b = 1[u >= 0]``, of probability ``P = Phi(a)`` with ``a = M / sqrt(S)``.
For any differentiable ``f``

    d/da E f(b) = phi(a) (f(1) - f(0)) = phi(a) integral_0^1 f'(t) dt,

so that an estimate of the gradient is a way to integrate ``f'`` over [0, 1]. Importance-weighted straight-through
estimators choose a law ``pi`` on [0, 1] for the integral and draw from the law ``p`` of the spike that is there:
``phi(a) w(t) f'(t)`` with ``w = pi / p``. With masses ``pi_1`` and ``1 - pi_1`` at 1 and 0 the bias is ``phi(a) (pi_1 -
1/2) f'' + O(f''')``, and the variance for an ``f`` of slope c ``phi(a)^2 c^2 (pi_1 - P)^2 / (P (1 - P))``.

References
----------
.. [1] J. A. Walker, M. Khajehnejad, A. Razi, "A principled Bayesian framework for training binary and spiking neural
   networks", arXiv:2505.17962, 2025: the family. The laws here are derived, not taken from there.
"""

from __future__ import annotations

from typing import NamedTuple

from sk_epsnn._arrays import Array, absolute, astype, clip, full_like, where
from sk_epsnn.numerics import normal_cdf, normal_cdf_pdf, normal_pdf

#: Probabilities of spikes are kept this far from 0 and 1 where something is divided by them.
_LEAST_PROBABILITY = 1e-6


class Fired(NamedTuple):
    """What neurons do, and how what they do follows their potentials; each of shape (n_rows, n_units).

    Attributes
    ----------
    spikes : array
        0 or 1, or in between where spikes are relaxed.
    slope : array
        What stands for ``phi(a) w``: times the derivative in the spike it is that in ``a``.
    """

    spikes: Array
    slope: Array


def straight_through(a: Array, noise: Array) -> Fired:
    """The spike's own law, ``w = 1``: no variance from weights, and a bias of ``phi(a) (P - 1/2) f''``."""
    return Fired(_spikes(a, noise), normal_pdf(a))


def reinmax(a: Array, noise: Array) -> Fired:
    """Equal masses, the trapezoid rule, exact where ``f`` is quadratic: what ReinMax is for two classes [1]_.

    References
    ----------
    .. [1] L. Liu, C. Dong, X. Liu, B. Yu, J. Gao, "Bridging discrete and backpropagation: straight-through and beyond",
       NeurIPS 2023.
    """
    return _importance_weighted(a, noise, full_like(a, 0.5))


def rao(a: Array, noise: Array, width: float) -> Fired:
    """The spike relaxed to ``Phi((a + e) / width)``, its slope averaged over the noise that gives the same spike.

    In closed form, and divided by the mean of the weight, so that it is exact where ``f`` is linear: masses
    ``Phi(+-a c)`` with ``c = width / sqrt(1 + width^2)``. A width of 0 is `reinmax`, an infinite one
    `straight_through`; this is the Gaussian counterpart of Gumbel-Rao estimators [1]_.

    References
    ----------
    .. [1] M. Paulus, C. Maddison, A. Krause, "Rao-Blackwellizing the straight-through Gumbel-softmax gradient
       estimator", ICLR 2021.
    """
    return _importance_weighted(a, noise, normal_cdf(a * (width / (1 + width * width) ** 0.5)))


def concrete(a: Array, noise: Array, width: float, hard: bool) -> Fired:
    """The spike relaxed to ``z = Phi((a + e) / width)``, and the slope of that.

    ``f`` sees the spike itself where ``hard``, and ``z`` otherwise.
    """
    relaxed, density = normal_cdf_pdf((a + noise) / width)
    return Fired(_spikes(a, noise) if hard else relaxed, density / width)


def fast_sigmoid(potential: Array, slope: float) -> Fired:
    """No noise, and the slope of a fast sigmoid, ``1 / (1 + slope |u|)^2``."""
    return Fired(_spikes(potential, 0), 1 / (1 + slope * absolute(potential)) ** 2)


def clipped_identity(potential: Array) -> Fired:
    """No noise, and a slope of 1 between -1 and 1: plain straight-through."""
    return Fired(_spikes(potential, 0), astype(absolute(potential) < 1, potential.dtype))


def _spikes(a: Array, noise: Array | int) -> Array:
    return astype(a + noise >= 0, a.dtype)


def _importance_weighted(a: Array, noise: Array, mass: Array) -> Fired:
    """Masses ``mass`` at 1 and ``1 - mass`` at 0 for the integral."""
    spikes = _spikes(a, noise)
    probability, density = normal_cdf_pdf(a)
    probability = clip(probability, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    weight = where(spikes > 0, mass / probability, (1 - mass) / (1 - probability))
    return Fired(spikes, density * weight)
