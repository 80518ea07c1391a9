"""How neurons whose own spikes act on them follow what is uncertain: along the path through their traces.

To first order in the deviations from what is expected, with ``w`` the weight of a neuron's own trace and ``p'`` the
slope of its probability, the trace follows the weights by ``e_t = (leak + (1 - leak) p'_t w) e_(t-1) +
(1 - leak) p'_t x_t``, and so does everything else that comes to a spike, its own noise too. See `Feedback`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sk_epsnn._arrays import (
    Array,
    clip,
    concat,
    copy_of,
    is_any,
    new_identity,
    permute_dims,
    reshape,
    smallest_normal,
    sqrt,
    stack,
    sum_over,
    where,
    zeros_like,
)
from sk_epsnn.connections import FedBack, Feedback, Sensitivity
from sk_epsnn.connections.base import in_parts
from sk_epsnn.ep.between_rows import ORDER, SharedRows, quadratic
from sk_epsnn.messages import Inputs, Potentials, SpikeMoments, WeightMoments
from sk_epsnn.neurons import Neuron

#: Largest standard deviation of a trace.
MOST_SD = 0.5
#: Least factor by which what neurons do to each other changes a variance.
LEAST_FACTOR = 0.05


class Paths:
    """How the traces of some samples follow what is uncertain, step by step.

    Attributes
    ----------
    variance : array of shape (n, n_units)
        Of the traces.
    covariance : array of shape (n, n_units)
        Of the potentials of this step, from outside and not from spikes of their own, with the traces.
    """

    def __init__(self, feedback: Feedback, weights: WeightMoments, neuron: Neuron, zero: Array):
        self.leak, self.weight, self.weights = feedback.leak, feedback.weight, weights
        self.is_uncertain = is_any(weights.variance > 0)
        # Covariances of the traces with the weights of their neurons, shape (n, n_units, n_in), and the variance that
        # they have from these; what they owe to uncertain inputs, which go up and down together, in standard
        # deviations; and the variance from spikes, each for itself.
        self.with_weights = zero[:, :, None] * zeros_like(weights.mean)
        self.from_weights = self.from_inputs = self.noise = zero
        # For each order of the covariance of two spikes: what all steps together would be if their potentials were the
        # same, and the sum of squares.
        self.orders, self.threshold_noise = [(zero, zero)] * ORDER, neuron.threshold_noise
        self.variance = self.covariance = self._weight_part = self._input_sd = zero

    def __copy__(self) -> Paths:
        copied = object.__new__(Paths)
        vars(copied).update({**vars(self), "with_weights": copy_of(self.with_weights)})
        return copied

    def beyond(self, independent: Array) -> Array:
        """Variance of the traces beyond that of independent steps."""
        return self.variance - independent

    def enter(self, inputs: Inputs, potentials: Potentials) -> Array:
        """What their own traces add to the variances of potentials, beside their own variance."""
        rest = potentials.variance - potentials.from_weights - self.weight**2 * self.variance
        self._input_sd = sqrt(clip(rest, min=0.0))
        if self.is_uncertain:
            self._weight_part = (self.with_weights @ inputs.mean[:, :, None])[:, :, 0]
        self.covariance = self._weight_part + self._input_sd * self.from_inputs
        return 2 * self.weight * self.covariance

    def go_on(self, inputs: Inputs, potentials: Potentials, spikes: SpikeMoments) -> None:
        """The spikes enter the traces."""
        gain, slope = 1 - self.leak, spikes.first
        new = gain * slope
        stays = self.leak + new * self.weight
        if self.is_uncertain:
            both = 2 * stays * new * self._weight_part
            self.from_weights = clip(
                stays * stays * self.from_weights + both + new * new * potentials.from_weights, min=0.0
            )
            # In place: there are as many as weights, for every sample.
            entering = self._uncertain(inputs)
            entering *= new[:, :, None]
            self.with_weights *= stays[:, :, None]
            self.with_weights += entering
        self.from_inputs = stays * self.from_inputs + new * self._input_sd
        unexplained = spread_of(spikes.probability) - slope * slope * potentials.variance
        self.noise = stays * stays * self.noise + gain * gain * clip(unexplained, min=0.0)
        first = self.from_inputs**2 + self.from_weights
        self._next_orders(stays, potentials, slope)
        self.variance = clip(first + self.noise + self._higher_orders(first), min=0.0)

    def _uncertain(self, inputs: Inputs) -> Array:
        """``Sigma_i x`` of every sample and unit."""
        covariance = self.weights.covariance
        if covariance is None:
            return inputs.mean[:, None, :] * self.weights.variance
        return stack([inputs.mean @ covariance[i, :, :] for i in range(covariance.shape[0])], axis=1)

    def _higher_orders(self, first: Array) -> Array:
        """Those of the covariance of two spikes, see `sk_epsnn.ep.between_rows`."""
        one, *others = [together * together - alone for together, alone in self.orders]
        correlation = (first - self.orders[0][1]) / clip(one, min=smallest_normal(one))
        correlation = clip(correlation, min=-1.0, max=1.0)
        total, power = zeros_like(first), correlation
        for pairs in others:
            power = power * correlation
            total = total + power * pairs
        return total

    def _next_orders(self, stays: Array, potentials: Potentials, slope: Array) -> None:
        """Normalised Hermite polynomials times the density at the threshold, one order after another."""
        gain, sd = 1 - self.leak, sqrt(potentials.variance + self.threshold_noise)
        threshold, before, polynomial = potentials.mean / sd, 0.0, gain * slope * sd
        orders, square = [], stays * stays
        for order, (together, alone) in enumerate(self.orders, start=1):
            part = polynomial / math.sqrt(order)
            together = clip(stays * together + part, min=-MOST_SD, max=MOST_SD)
            orders.append((together, square * alone + part * part))
            following = (threshold * polynomial - math.sqrt(order - 1) * before) / math.sqrt(order)
            before, polynomial = polynomial, following
        self.orders = orders


@dataclass(frozen=True)
class SequentialRows(SharedRows):
    """`SharedRows` of neurons whose own earlier spikes act on them.

    Attributes
    ----------
    feedback : Feedback
    spread : array of shape (n_samples * n_rows, n_units)
        Variance of every spike.
    columns : slice or None
        Where the traces of the layer's spikes are among ``below``.
    above : array of shape (n_out, fan_in)
        Mean weights of the layer that the entries go to.
    """

    feedback: Feedback
    spread: Array
    columns: slice | None
    above: Array

    def variance(self, weights: WeightMoments) -> Array:
        """Variance that the gathered entries have beyond that of independent rows.

        What neurons do to each other makes the entries go up and down together. Where these have one row for each
        sample, their variances share the factor by which that changes the variance of the potentials above.
        """
        first, of_spikes = self._first_order(weights), self.sum_of_variances(self.spread)
        beyond = self._with_higher_orders(first, weights)
        alone = self.connection.gather_variance(self._by_sample(self.spread))
        total = clip(beyond + of_spikes, min=0.0)
        if self.columns is None or not self.connection.sums_up:
            return total - alone
        square = self.above[:, : alone.shape[1]] ** 2
        apart, size = sum_over((first + of_spikes) @ square.T, axis=1), sum_over(total @ square.T, axis=1)
        more = sum_over(self._of_potentials(weights, self.above[:, : alone.shape[1]]), axis=1) - apart
        factor = 1 + where(size > 0, more / where(size > 0, size, 1.0), 0.0)
        return clip(factor, min=LEAST_FACTOR)[:, None] * total - alone

    def _of_potentials(self, weights: WeightMoments, above: Array) -> Array:
        """Variance of potentials that are sums of the entries, to first order along all paths between neurons.

        Shape (n_samples, n_out), with weights ``above`` of shape (n_out, n_columns).
        """
        slopes, unexplained = (by_step(part, self.n_rows) for part in (self.slopes, self._unexplained()))
        below, uncertain = (
            by_step(part, self.n_rows) for part in (self.below.mean, sqrt(self._without_own(self.below.variance)))
        )
        size, results = super()._input_size(weights), []
        between = Feedback(self.feedback.leak, weights.mean[:, self.columns])
        for unit in range(above.shape[0]):
            entries = zeros_like(self.slopes[:: self.n_rows, :1]) + above[unit, :]
            # What every spike is to the potential, by itself and through all spikes that it acts on.
            shares = between.back(slopes, by_step(super()._shares(entries), self.n_rows))
            total = sum_over(sum_over(shares * shares * unexplained, axis=2), axis=1)
            paths = permute_dims(slopes * shares, (0, 2, 1))
            for part in in_parts(paths.shape[0], paths.shape[1] * below.shape[2]):
                of_weights = quadratic(paths[part, :, :] @ below[part, :, :], weights)
                of_inputs = (paths[part, :, :] @ uncertain[part, :, :]) ** 2 * size
                total[part] += sum_over(of_weights + sum_over(of_inputs, axis=2), axis=1)
            results.append(total)
        return stack(results, axis=1)

    def _unexplained(self) -> Array:
        """Variance of every spike that that of its potential does not explain, to first order."""
        return clip(self.spread - self.slopes * self.slopes * self.potentials.variance, min=0.0)

    def _without_own(self, values: Array) -> Array:
        """The same with zeros in the columns of the layer's own spikes, which the paths lead through."""
        values = copy_of(values)
        values[:, self.columns] = 0.0
        return values

    def _own_variance(self, weights: WeightMoments) -> Array:
        return self.slopes * self.slopes * self.potentials.variance

    def _input_size(self, weights: WeightMoments) -> Array:
        size = super()._input_size(weights)
        if self.columns is None:
            return size
        # What a neuron's own trace does to it is in the path that all of this follows.
        size, own = copy_of(size), size[:, self.columns]
        size[:, self.columns] = own - own * _identity_like(own)
        return size

    def _sums(self, values: Array) -> Array:
        return self._fed_back.sums(by_step(values, self.n_rows))

    def sum_of_variances(self, values: Array) -> Array:
        """Variances of the gathered entries, when so much variance enters every spike by itself."""
        return self._fed_back.variances(by_step(values, self.n_rows))

    @cached_property
    def _fed_back(self) -> FedBack:
        return self.connection.fed_back(by_step(self.slopes, self.n_rows), self.feedback)

    def _shares(self, messages: Array) -> Array:
        shares, slopes = (by_step(part, self.n_rows) for part in (super()._shares(messages), self.slopes))
        return reshape(self.feedback.back(slopes, shares), self.slopes.shape)

    def _sensitivities(self, below: Array) -> Iterator[Sensitivity]:
        slopes, below = (by_step(part, self.n_rows) for part in (self.slopes, below))
        return self.connection.sensitivities(slopes, below, self.feedback)


@dataclass(frozen=True)
class RunningRows(SequentialRows):
    """`SequentialRows` of one step, of a `Running` connection: paths are followed forward, along all of those so far.

    They are kept as derivatives of the sums and traces of all neurons in the weights of each.
    """

    def _of_potentials(self, weights: WeightMoments, above: Array) -> Array:
        n_entries, n_units = above.shape[1], self.slopes.shape[1]
        stays, new = self._of_step(weights)
        noise = (new * self._unexplained()[:, None, :]) @ permute_dims(new, (0, 2, 1))
        covariance = self.connection.last(zeros_like(noise))
        covariance = stays @ covariance @ permute_dims(stays, (0, 2, 1)) + noise
        self.connection.keep(covariance)
        below = concat([self.below.mean, sqrt(self._without_own(self.below.variance))], axis=1)
        entering = (new * self.slopes[:, None, :])[:, :, :, None] * below[:, None, None, :]
        paths = self.connection.last(zeros_like(entering))
        paths = reshape(stays @ reshape(paths, (*paths.shape[:2], -1)), paths.shape) + entering
        self.connection.keep(paths)

        of_noise = sum_over((above @ covariance[:, :n_entries, :n_entries]) * above, axis=2)
        to_above = reshape(paths[:, :n_entries, :, :], (paths.shape[0], n_entries, -1))
        to_above = reshape(above @ to_above, (-1, n_units, below.shape[1]))
        known, size = self.below.mean.shape[1], SharedRows._input_size(self, weights)
        of_weights = quadratic(to_above[:, :, :known], weights)
        of_inputs = sum_over(to_above[:, :, known:] ** 2 * size, axis=2)
        return of_noise + reshape(sum_over(of_weights + of_inputs, axis=1), of_noise.shape)

    def _of_step(self, weights: WeightMoments) -> tuple[Array, Array]:
        """What all sums and traces are made of: those of the step before, and what comes to spikes from outside."""
        leak, between, slopes = self.feedback.leak, weights.mean[:, self.columns], self.slopes
        kept, share = self.connection.shares(slopes)
        one = _identity_like(between)
        of_sums = reshape(kept + zeros_like(slopes)[:, None, :], (slopes.shape[0], -1))
        share = reshape(share + zeros_like(slopes)[:, None, :], (slopes.shape[0], -1))
        to_sums = concat([one] * (share.shape[1] // one.shape[0])) * share[:, :, None]
        new = concat([to_sums, (1 - leak) * one + zeros_like(to_sums[:, : one.shape[0], :])], axis=1)
        of_own = concat([of_sums, leak + zeros_like(slopes)], axis=1)
        back = new @ (slopes[:, :, None] * between)
        before = concat([zeros_like(new[:, :, :1]) + zeros_like(share)[:, None, :], back], axis=2)
        return before + of_own[:, :, None] * _identity_like(of_own), new


def by_step(rows: Array, n_steps: int) -> Array:
    """Rows of samples, shape (n_samples * n_steps, n), in the shape (n_samples, n_steps, n)."""
    return reshape(rows, (-1, n_steps, rows.shape[1]))


def spread_of(probability: Array) -> Array:
    """Variance of a spike of this probability."""
    return probability - probability * probability


def _identity_like(like: Array) -> Array:
    """The unit matrix of as many columns."""
    return new_identity(like, like.shape[1], like.dtype)
