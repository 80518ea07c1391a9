"""Prior variances learned from the evidence of the data, and the noise of Gaussian outputs with them.

The weights of a group have the prior ``N(0, c u)``: ``u`` is what a variance is measured in, and one factor ``c`` is
learned for the group: of all units, or of each apart where noises depend on the inputs. With the Gaussian that the data
amount to held as it is, the posterior and its evidence are known for every ``c``; the evidence is greatest where

    c (k + sum (1 - s / (c u))) = k + sum m^2 / u,

with ``m`` and ``s`` the posterior means and variances and an inverse-gamma hyperprior of ``k`` pseudo-weights at
``c = 1``. The sum on the left is how many weights the data determine [1]_. A noise variance ``v`` is likewise the
squared residuals divided by the number of rows less that of the weights they determine. Both are iterated.

With a factor for each input (automatic relevance determination) there are as many factors as there are inputs, and the
evidence alone keeps each that is larger than one standard error. The hyperprior of such a factor is that of a standard
deviation ``sqrt(c)`` which is half-normal with the variance 1 [2]_, of density ``c^(-1/2) exp(-c / 2)``, so that

    c^2 + c (1 + sum (1 - s / (c u))) = sum m^2 / u.

A factor then falls to 0 unless its weight is beyond 2.4 standard errors.

References
----------
.. [1] D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4, 1992.
.. [2] A. Gelman, "Prior distributions for variance parameters in hierarchical models", Bayesian Analysis 1, 2006.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sk_epsnn._arrays import (
    Array,
    absolute,
    clip,
    concat,
    largest,
    log,
    ones_like,
    repeat_rows,
    sqrt,
    sum_over,
    total_of,
)
from sk_epsnn.weights import Weights

#: Pseudo-weights of the hyperprior of a factor that all weights share.
LAYER_MASS = 0.01
#: Iterations with the data's Gaussian held, at most, and the change of a logarithm at which they end.
MOST_STEPS, SETTLED = 20, 1e-2
#: Longest change of a factor in one iteration, and the factors that there may be.
_LONGEST, _LEAST, _MOST = 10.0, 1e-8, 1e8


@dataclass(frozen=True)
class LearnedVariance:
    """Prior variances of the weights into one layer that are learned.

    Attributes
    ----------
    unit : array of shape (n_groups, n_in)
        Variance of each weight where its factor is 1, for groups of equally many units that follow each other.
    factor : array of shape (n_groups, n_in)
        What has been learned of it.
    constant : bool
        Whether the last column is a bias, whose prior stays as it is.
    each : bool
        Whether every input has a factor of its own (automatic relevance determination), or all have one; in each group.
    """

    unit: Array
    factor: Array
    constant: bool
    each: bool

    def known(self, posterior: Weights) -> Array:
        """How much of every weight the data determine, from 0 to 1, shape (n_out, n_in); a bias counts as well."""
        variance = _variance(posterior)
        return clip(1 - variance / _of_units(self.unit * self.factor, variance.shape[0]), 0.0, 1.0)

    def improved(self, posterior: Weights) -> LearnedVariance:
        """One iteration."""
        n = self.unit.shape[1] - self.constant
        known = self.known(posterior)[:, :n]
        size = (posterior.mean * posterior.mean / _of_units(self.unit, known.shape[0]))[:, :n]
        known, size = (self._of_groups(part) for part in (known, size))
        if self.each:
            # The positive root, in a form without cancellation.
            best = 2 * size / (1 + known + sqrt((1 + known) ** 2 + 4 * size))
        else:
            best = (LAYER_MASS + size) / (LAYER_MASS + known)
        factor = self.factor + 0.0
        old = factor[:, :n]
        factor[:, :n] = clip(old * clip(best / old, 1 / _LONGEST, _LONGEST), _LEAST, _MOST)
        return replace(self, factor=factor)

    def _of_groups(self, part: Array) -> Array:
        """Sums over the units of each group, and over the inputs that share a factor, shape (n_groups, n_in)."""
        n_groups = self.unit.shape[0]
        n_units = part.shape[0] // n_groups
        groups = [part[k * n_units : (k + 1) * n_units, :] for k in range(n_groups)]
        if self.each:
            return concat([sum_over(group, axis=0, keepdims=True) for group in groups])
        return concat([ones_like(group[:1, :]) * total_of(group) for group in groups])

    def but_for(self, other: LearnedVariance, n_groups: int) -> LearnedVariance:
        """The same but for the groups from so many on, which are those of another."""
        factor = concat([self.factor[:n_groups, :], other.factor[n_groups:, :]], axis=0)
        return replace(self, factor=factor)

    @property
    def is_new(self) -> bool:
        """Whether nothing has been learned yet."""
        return bool(float(largest(absolute(log(self.factor)))) == 0)

    def change(self, other: LearnedVariance, n_units: int) -> Array:
        """Precisions to add to a prior of these variances for one of those of another, shape (n_units, n_in)."""
        return _of_units(1 / (other.unit * other.factor) - 1 / (self.unit * self.factor), n_units)

    def is_near(self, other: LearnedVariance) -> bool:
        """Whether iterations have settled."""
        return float(largest(absolute(log(other.factor / self.factor)))) < SETTLED


def _of_units(part: Array, n_units: int) -> Array:
    """What every group has, for each of its units."""
    return repeat_rows(part, n_units // part.shape[0])


def _variance(weights: Weights) -> Array:
    """Variance of every weight, shape (n_out, n_in)."""
    return weights.moments(1.0, "float64").variance
