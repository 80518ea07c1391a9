"""What every weight prior is, and the Gaussian that stands for it at the start."""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from sk_epsnn._arrays import Array
from sk_epsnn._sklearn import Interval, Option, StrOptions
from sk_epsnn.weights import GaussianWeights, IndependentWeights, JointWeights

#: A tilted density counts as proper when it is no wider than the prior divided by (about) this.
MARGIN = 1e-6
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
AUTO = StrOptions({"auto"})


class Tilted(NamedTuple):
    """Log-normaliser in nats, mean and variance of ``p0(omega) exp(shift omega - precision omega**2 / 2)``."""

    log_z: Array
    mean: Array
    variance: Array


class WeightPrior(Option):
    """Base class: the density p0 of one weight, measured in a unit that the layer sets.

    A subclass sets ``name`` and gives `tilted` and, unless every cavity will do, `proper`. Parameters are those of a
    scikit-learn estimator: keyword-only, stored as they are, and validated by `check`. The constructor of a subclass
    takes `variance` and `anchor` too if users shall set them.

    Attributes
    ----------
    variance : "auto", float or array-like of shape (n_layers,)
        Square of the unit in which a weight is measured, see `GaussianPrior`.
    anchor : "auto" or float
        Size of the random start of hidden layers, see `GaussianPrior`.
    name : str
        Entry in the registry `PRIORS`.
    conjugate : bool
        Whether the prior is Gaussian, so that it needs no site update.
    sparse : bool
        Whether a weight can be exactly zero, so that `activation_probability` means something.
    learns_each : bool
        Whether every input of a single layer has a variance that is learned.
    active_share : float
        Share of the weights that are not 0; an automatic variance is for them alone.
    """

    name: str
    conjugate: bool = False
    sparse: bool = False
    learns_each: bool = False
    active_share: float = 1.0
    variance: Any = "auto"
    anchor: Any = "auto"
    _parameter_constraints: dict[str, list[Any]] = {
        "variance": [AUTO, POSITIVE, "array-like"],
        "anchor": [AUTO, NOT_NEGATIVE],
    }

    def proper(self, precision: Array, shift: Array) -> Array:
        """Where p0 times the cavity has a finite integral, by a safe margin.

        Parameters
        ----------
        precision, shift : array
            Finite natural parameters of the cavity of ``omega``; the precision may be zero or negative.

        Returns
        -------
        proper : array of bool
        """
        raise NotImplementedError

    def tilted(self, precision: Array, shift: Array) -> Tilted:
        """Normaliser and moments of ``p0(omega) exp(shift omega - precision omega**2 / 2)``.

        Parameters
        ----------
        precision, shift : array
            Natural parameters of the cavity of ``omega``, where `proper`.

        Returns
        -------
        tilted : Tilted
            With ``mean = dlog_z/dshift`` and ``variance = d2log_z/dshift2``.
        """
        raise NotImplementedError

    def activation_probability(self, precision: Array, shift: Array) -> Array:
        """Probability that the weight is not zero, given the cavity of ``omega``; only if ``sparse``."""
        raise NotImplementedError(f"{type(self).__name__} gives no weight a probability of being zero.")

    def moments(self) -> tuple[float, float]:
        """Mean and variance of ``omega`` under the prior itself."""
        flat = self.tilted(np.zeros(1), np.zeros(1))
        return float(flat.mean[0]), float(flat.variance[0])

    def density(self, mean: Array, variance: Array, joint: bool) -> GaussianWeights:
        """The Gaussian q0(W) that a layer starts from, with the moments of the prior.

        Parameters
        ----------
        mean : array of shape (n_out, n_in)
            Where the prior of each weight is moved to.
        variance : array of shape (n_out, n_in)
            Square of the unit of each weight.
        joint : bool
            Whether the posterior of a unit's weights will be a joint Gaussian.
        """
        unit_mean, unit_variance = self.moments()
        mean = mean + np.sqrt(variance) * unit_mean
        precision = 1 / (variance * unit_variance)
        if not joint:
            return IndependentWeights(precision, mean)
        matrices: Any = np.zeros((*precision.shape, precision.shape[1]))
        diagonal = np.arange(precision.shape[1])
        matrices[:, diagonal, diagonal] = precision
        return JointWeights(matrices, mean)


def tilted_gaussian(variance: float, precision: Array, shift: Array) -> Tilted:
    """Normaliser and moments of ``N(omega; 0, variance)`` times a cavity."""
    spread = 1 + variance * precision
    mean = variance * shift / spread
    return Tilted(0.5 * (shift * mean - np.log1p(variance * precision)), mean, variance / spread)
