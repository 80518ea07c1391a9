"""What the rows of a sample have in common: the uncertain weights that they share.

Spikes of one neuron in several rows, such as steps in time, go up and down together as its weights do. Where they are
summed up their variances do not average out. To first order in the covariance of two potentials (Price's theorem), with
the derivatives ``v'`` of the probabilities, an entry ``z = sum_t K_t v_t`` has beyond the variance of independent rows

``E = sum_j s_j Q_j^2 - sum_t (K_t v'_t)^2 S_t``,    ``Q_j = sum_t K_t v'_t x_tj``,

where ``s`` are the variances of the weights and ``S_t`` what they make of the variance of a potential. Without it every
weight is told a fraction of the truth about its curvature, and predictions are far too sure.

Inputs that are uncertain themselves, spikes of a layer below, are taken to go up and down together in all rows:
``sum_j (m_j^2 + s_j) (sum_t K_t v'_t sd_tj)^2`` less its diagonal. Leaky traces all but do so.

Thresholds turn a correlation ``r`` of two potentials into the covariance ``sum_k r^k D_k D'_k / k!`` of two spikes,
``D_k = phi(h) He_(k-1)(h)`` at the threshold ``h`` in standard deviations, of which ``E`` has the first term. The next
ones come with the one ``r`` for all pairs of rows at which the first would be as large, and as if the correlations of
these pairs had a log-normal law up to 1, with the spread that they have for a unit with average variances.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sk_epsnn._arrays import (
    Array,
    absolute,
    clip,
    concat,
    diagonal,
    minimum,
    new_zeros,
    reshape,
    smallest_normal,
    sqrt,
    stack,
    sum_over,
    vecdot,
    where,
)
from sk_epsnn.connections import Connection, Sensitivity
from sk_epsnn.messages import Derivatives, InputMessage, Inputs, Potentials, WeightMoments

#: Terms of the covariance of two spikes in the correlation of their potentials.
ORDER = 4
#: Mean correlations below this say nothing of the others.
LEAST_MEAN = 0.05
#: Pairs of rows that weigh less, beside sums whose weights are 1, are none.
LEAST_COUNT = 1e-6


@dataclass(frozen=True)
class SharedRows:
    """Rows of a layer of neurons whose spikes a connection sums up.

    Attributes
    ----------
    connection : Connection
        That of the layer above.
    below : Inputs of shape (n_samples * n_rows, n_in)
        What the neurons read.
    potentials : Potentials of shape (n_samples * n_rows, n_units)
    slopes : array of shape (n_samples * n_rows, n_units)
        Derivatives of the spike probabilities in the means of the potentials.
    n_rows : int
        Rows of a sample.
    threshold_noise : float
        Variance of the normal noise that makes of a threshold what the neurons are, or nearly so.
    """

    connection: Connection
    below: Inputs
    potentials: Potentials
    slopes: Array
    n_rows: int
    threshold_noise: float

    def variance(self, weights: WeightMoments) -> Array:
        """Variance that the gathered entries have beyond that of independent rows."""
        first = self._first_order(weights)
        return self._with_higher_orders(first, weights)

    def _first_order(self, weights: WeightMoments) -> Array:
        """First order in the covariance of two potentials."""
        total = self._of_entries(self.below.mean, lambda each: quadratic(each, weights))
        if self.below.variance is not None:
            size = self._input_size(weights)
            total = total + self._of_entries(sqrt(self.below.variance), lambda each: vecdot(each * each, size))
        return total - self.sum_of_variances(self._own_variance(weights))

    def _own_variance(self, weights: WeightMoments) -> Array:
        """Variance of every spike that that of its potential explains, to first order."""
        square = self.slopes * self.slopes
        own = square * self.potentials.from_weights
        if self.below.variance is not None:
            own = own + square * (self.below.variance @ self._input_size(weights).T)
        return own

    def _input_size(self, weights: WeightMoments) -> Array:
        """Mean squares of the weights, through which inputs are uncertain."""
        return weights.mean * weights.mean + weights.variance

    def _of_entries(self, below: Array, value: Callable[[Array], Array]) -> Array:
        """What a function makes of the derivatives in the weights of every gathered entry."""
        n_samples = self.slopes.shape[0] // self.n_rows
        n_columns = self.connection.n_columns(self.n_rows * self.slopes.shape[1])
        n_rows = self.connection.n_rows(self.n_rows * self.slopes.shape[1])
        values = new_zeros(self.slopes, (n_samples, n_rows, n_columns))
        for samples, row, columns, derivatives in self._sensitivities(below):
            values[samples, row, columns] = value(derivatives)
        return reshape(values, (-1, n_columns))

    def _with_higher_orders(self, first: Array, weights: WeightMoments) -> Array:
        """The covariances of thresholds whose first term is given."""
        sd = sqrt(self.potentials.variance + self.threshold_noise)
        threshold, before, polynomial = self.potentials.mean / sd, 0.0, self.slopes * sd
        total, power, correlation = first, None, None
        for order in range(1, ORDER + 1):
            part = polynomial / math.sqrt(order)
            pairs = self._sums(part) ** 2 - self.sum_of_variances(part * part)
            if power is None:
                power = correlation = clip(first / clip(pairs, min=smallest_normal(pairs)), min=-1.0, max=1.0)
                mean, spread = self._spread_of_correlations(weights)
            else:
                power = power * correlation
                # As of a log-normal law, but for correlations of 1 at most.
                share = minimum(spread ** (order * (order - 1) // 2), mean ** (1 - order))
                total = total + clip(power * share, min=-1.0, max=1.0) * pairs
            # Normalised Hermite polynomials times the density.
            following = (threshold * polynomial - math.sqrt(order - 1) * before) / math.sqrt(order)
            before, polynomial = polynomial, following
        return total

    def _spread_of_correlations(self, weights: WeightMoments) -> tuple[Array, Array]:
        """Size of the mean correlation of pairs of rows, and the mean square over its square, for every gathered entry.

        Of a unit with the average variances; 1 where the mean says nothing.
        """
        n_units = self.slopes.shape[1]
        inputs = [(self.below.mean, sum_over(weights.variance, axis=0))]
        if self.below.variance is not None:
            inputs.append((sqrt(self.below.variance), sum_over(weights.mean**2 + weights.variance, axis=0)))
        scaled = concat([values * sqrt(size) for values, size in inputs], axis=1)
        directions = scaled / sqrt(clip(vecdot(scaled, scaled), min=smallest_normal(scaled)))[:, None]
        by_row = reshape(directions, (-1, self.n_rows, directions.shape[1]))
        count, total, square = self.connection.pair_sums(by_row, n_units)
        known = (count > LEAST_COUNT) & (absolute(total) > LEAST_MEAN * count)
        mean = where(known, absolute(total) / where(known, count, 1.0), 1.0)
        spread = where(known, clip(square / where(known, count, 1.0) / mean**2, min=1.0), 1.0)
        n_columns = self.connection.n_columns(self.n_rows * n_units)
        return tuple(reshape(stack([part] * n_units, axis=2), (-1, n_columns)) for part in (mean, spread))

    def share_of_pairs(self) -> Array:
        """Share of pairs of different rows in the square of each sum of slopes."""
        whole = self.connection.gather(self._by_sample(self.slopes)) ** 2
        own = self.connection.gather_variance(self._by_sample(self.slopes * self.slopes))
        return clip(1 - own / clip(whole, min=smallest_normal(whole)), min=0.0)

    def curvature(self, cost: Array, *, joint: bool) -> Array:
        """``sum cost Q Q^T`` over samples, rows and entries: of every unit a matrix if joint, else its diagonal.

        Parameters
        ----------
        cost : array of shape (n_samples * n_rows_above, n_columns_above)
            Of every gathered entry, not negative.
        joint : bool

        Returns
        -------
        curvature : array of shape (n_units, n_in) or (n_units, n_in, n_in)
        """
        n_units, n_in = self.slopes.shape[1], self.below.mean.shape[1]
        total = new_zeros(self.slopes, (n_units, n_in, n_in) if joint else (n_units, n_in))
        for weight, derivatives in self._weighted(cost):
            if joint:
                roots = derivatives * sqrt(weight)[:, :, None]
                total = total + stack([roots[:, i, :].T @ roots[:, i, :] for i in range(n_units)])
            else:
                total = total + sum_over(weight[:, :, None] * derivatives * derivatives, axis=0)
        return total

    def own_cost(self, cost: Array) -> Array:
        """What a cost of the gathered entries is to the variance of every potential by itself, shape of ``slopes``."""
        n_inputs = self.n_rows * self.slopes.shape[1]
        return reshape(self.connection.scatter_squared(cost, n_inputs), self.slopes.shape) * self.slopes**2

    def second_moment(self, cost: Array) -> tuple[Array, Array]:
        """Sum of ``cost Q Q^T`` over samples, entries and units, and those of ``cost (sum_t K_t v'_t)^2`` by unit.

        Shapes (n_in, n_in) and (n_units,).
        """
        n_units, n_in = self.slopes.shape[1], self.below.mean.shape[1]
        total = new_zeros(self.slopes, (n_in, n_in))
        for weight, derivatives in self._weighted(cost):
            roots = reshape(derivatives * sqrt(weight)[:, :, None], (-1, n_in))
            total = total + roots.T @ roots
        summed = self._sums(self.slopes)
        by_entry = sum_over(cost * summed * summed, axis=0)
        return total, sum_over(reshape(by_entry, (-1, n_units)), axis=0)

    def image(self, potentials: Array, cost: Array) -> Array:
        """What moves of the potentials meet through the entries that sum them up: ``v' K^T cost K (v' du)``."""
        return self.slopes * self._shares(cost * self._sums(self.slopes * potentials))

    def _sums(self, values: Array) -> Array:
        """Gathered entries, of what is given for each spike."""
        return self.connection.gather(self._by_sample(values))

    def sum_of_variances(self, values: Array) -> Array:
        """Variances of the gathered entries, of variances that are given for each spike."""
        return self.connection.gather_variance(self._by_sample(values))

    def _shares(self, messages: Array) -> Array:
        """Transpose of `_sums`."""
        return reshape(self.connection.scatter(messages, self.n_rows * self.slopes.shape[1]), self.slopes.shape)

    def _by_sample(self, values: Array) -> Array:
        return reshape(values, (-1, self.n_rows * self.slopes.shape[1]))

    def _sensitivities(self, below: Array) -> Iterator[Sensitivity]:
        slopes, below = (reshape(part, (-1, self.n_rows, part.shape[1])) for part in (self.slopes, below))
        return self.connection.sensitivities(slopes, below)

    def _weighted(self, cost: Array) -> Iterator[tuple[Array, Array]]:
        """Costs of entries, shape (n, n_units), and their derivatives, shape (n, n_units, n_in)."""
        n_samples = self.slopes.shape[0] // self.n_rows
        cost = reshape(cost, (n_samples, -1, cost.shape[1]))
        for samples, row, columns, derivatives in self._sensitivities(self.below.mean):
            yield cost[samples, row, columns], derivatives


class BetweenRows(NamedTuple):
    """What comes down to the sums over rows of a hidden layer, for the weights that its rows share.

    Attributes
    ----------
    shared : SharedRows
    curvature : array of shape (n_samples * n_rows_above, n_columns_above)
        Minus the second derivative of ``log Z`` in the mean of each entry, by the means of the weights, as far as it is
        that of different rows together; not negative.
    cost : array of the same shape
        Minus twice the derivative in its variance; not negative.
    """

    shared: SharedRows
    curvature: Array
    cost: Array

    def times(self, weight: Array) -> BetweenRows:
        """The same for rows above that count by a weight each."""
        weight = weight[:, None]
        return BetweenRows(self.shared, weight * self.curvature, weight * self.cost)

    def site(self, *, joint: bool) -> Array:
        """Precision that the terms between rows add to the sites of independent weights, or of joint ones."""
        own = self.shared.own_cost(self.cost).T @ self.shared.below.square
        total = self.shared.curvature(self.cost, joint=joint)
        if not joint:
            return total - own
        # Of the same size on the diagonals, and a precision.
        size = sum_over(diagonal(total), axis=1)
        share = 1 - sum_over(own, axis=1) / where(size > 0, size, 1.0)
        return clip(share, min=0.0)[:, None, None] * total


def between_rows(shared: SharedRows, down: Derivatives, message: InputMessage, weights: WeightMoments) -> BetweenRows:
    """What comes down to the entries of the layer above, whose message to its inputs is known."""
    n_columns = message.quadratic.shape[1]
    square = weights.mean[:, :n_columns] ** 2
    curvature = (clip(down.gamma, min=0.0) @ square) * shared.share_of_pairs()
    return BetweenRows(shared, curvature, clip(message.noise + down.kappa @ square, min=0.0))


def weighted(between: Sequence[BetweenRows | None], index: int, rows: Sequence[Array]) -> BetweenRows | None:
    """What comes down to the sums over rows of a layer, by the weights of the rows of the layer above."""
    here = between[index]
    return None if here is None else here.times(rows[index + 1])


def quadratic(derivatives: Array, weights: WeightMoments) -> Array:
    """``Q_i^T Sigma_i Q_i``, shape (n, n_units)."""
    if weights.covariance is None:
        return vecdot(derivatives * derivatives, weights.variance)
    images = [derivatives[:, i, :] @ weights.covariance[i, :, :] for i in range(derivatives.shape[1])]
    return vecdot(stack(images, axis=1), derivatives)
