"""Which inputs a neuron of a layer reads, as an index map around the mixing block ``u = W v``.

`Connection.gather` makes rows from the inputs of a sample, every row is mixed with the same weights, and
`Connection.scatter`, its transpose, takes the messages back. With one row per sample that holds every input this is a
fully connected layer; patches of an image make a convolution, steps in time a filter. The formulas of the mixing block
see rows and columns, and nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from sk_epsnn._arrays import (
    Array,
    astype,
    concat,
    diagonal,
    like,
    ones_like,
    permute_dims,
    reshape,
    stack,
    sum_over,
    zeros_like,
)
from sk_epsnn._sklearn import Interval, Option
from sk_epsnn.messages import InputMessage, Inputs

#: Numbers of the derivatives that are worked on at a time.
CHUNK = 2**18


class Sensitivity(NamedTuple):
    """Derivatives of some gathered entries in the weights of the neurons that they are sums of.

    Attributes
    ----------
    samples : slice
    row : int
    columns : slice
        Which entries: of these samples, in this row of theirs, these columns.
    derivatives : array of shape (n_in_slice, n_units_below, n_columns_below)
    """

    samples: slice
    row: int
    columns: slice
    derivatives: Array


@dataclass(frozen=True)
class Feedback:
    """What earlier spikes of a layer do to later ones, to first order in their deviations ``v`` from what is expected.

    ``v_t = d_t + v'_t w z_(t-1)`` with ``z_t = leak z_(t-1) + (1 - leak) v_t``, where ``d`` is what comes from outside
    and ``v'`` the slope of a spike's probability.

    Attributes
    ----------
    leak : float
        Of the traces ``z``.
    weight : array of shape (n_units,) or (n_units, n_units)
        ``w``, from the trace of its own spikes to the potential of each neuron, or from those of all neurons.
    """

    leak: float
    weight: Array

    def onto(self, traces: Array) -> Array:
        """What traces, of shape (n_samples, n_units), add to the potentials of the next step."""
        return self.weight * traces if self.weight.ndim == 1 else traces @ self.weight.T

    def follow(self, slopes: Array, direct: Array) -> Array:
        """Deviations at every step, of shape (n_samples, n_steps, n_units) as both arguments."""
        trace, steps = zeros_like(direct[:, 0, :]), []
        for step in range(direct.shape[1]):
            steps.append(direct[:, step, :] + slopes[:, step, :] * self.onto(trace))
            trace = self.leak * trace + (1 - self.leak) * steps[-1]
        return stack(steps, axis=1)

    def back(self, slopes: Array, messages: Array) -> Array:
        """Transpose of `follow`: what something that follows the deviations is to those from outside."""
        trace, steps = zeros_like(slopes[:, 0, :]), []
        for step in range(slopes.shape[1] - 1, -1, -1):
            steps.append(messages[:, step, :] + (1 - self.leak) * trace)
            to_potentials = slopes[:, step, :] * steps[-1]
            back = self.weight * to_potentials if self.weight.ndim == 1 else to_potentials @ self.weight
            trace = self.leak * trace + back
        return stack(steps[::-1], axis=1)


class FedBack(NamedTuple):
    """Gathered entries of spikes that feed back on themselves.

    Attributes
    ----------
    sums : callable
        The entries, of what comes to each spike from outside, shape (n_samples, n_rows_below, n_units_below).
    variances : callable
        Their variances, of variances of that, each by itself.
    """

    sums: Callable[[Array], Array]
    variances: Callable[[Array], Array]


class Connection(Option):
    """Base class: neurons that read the inputs of a sample in one row or several, with the same weights in each.

    A subclass takes `n_units` as a parameter and gives the geometry: `n_rows`, `n_columns`, `gather` and `scatter`.
    Where a gathered entry is not one input but a weighted sum of several, it sets ``selects = False`` and gives
    `gather_variance` and `scatter_squared`, which do the same with the squares of the coefficients. Where the inputs
    of such a sum are spikes of one neuron in several rows, `sensitivities` says how it follows that neuron's weights.

    Attributes
    ----------
    n_units : int
        Neurons of a row. The layer gives ``n_rows * n_units`` spikes per sample, those of the first row first.
    selects : bool
        Whether every gathered entry is one of the inputs, as it is.
    is_identity : bool
        Whether a row holds all inputs in their order: sparse rows stay sparse.
    n_features : int or None
        Inputs of a step, where those of a sample are steps in time, or positions of a map, one after another.
    sums_up : bool
        Whether a sample has one row, which sums up all of its steps.
    is_sequential : bool
        Whether spikes of a row act on the potentials of later ones.
    n_own : int
        Weights of a neuron for the earlier spikes of its layer, beside those for ``n_columns`` inputs.
    centered : bool
        Whether spikes of the neurons below are to be read as deviations from `center`.
    center : float or array of shape (n_features,)
        What is taken off each spike of a step before it is gathered.
    reads_patches : bool
        Whether neurons start at shapes that occur in the rows.
    """

    n_units: int
    selects: bool = True
    is_identity: bool = False
    n_features: int | None = None
    sums_up: bool = False
    is_sequential: bool = False
    n_own: int = 0
    centered: bool = False
    center: Any = 0.0
    reads_patches: bool = False
    _parameter_constraints: dict[str, list[Any]] = {"n_units": [Interval(Integral, 1, 2**31 - 1, closed="both")]}

    @property
    def follows_weights(self) -> bool:
        """Whether entries keep the variance that sums over rows owe to weights which these share."""
        return not self.selects

    def n_rows(self, n_inputs: int) -> int:
        """Rows of a sample.

        Raises
        ------
        ValueError
            If so many inputs do not suit the connection; names the remedy.
        """
        return 1

    def n_columns(self, n_inputs: int) -> int:
        """Entries of a row: the fan-in of a neuron, without the constant."""
        return n_inputs

    def gather(self, values: Array) -> Array:
        """Rows of the samples, those of a sample together.

        Parameters
        ----------
        values : array of shape (n_samples, n_inputs)

        Returns
        -------
        rows : array of shape (n_samples * n_rows, n_columns)
        """
        raise NotImplementedError

    def scatter(self, messages: Array, n_inputs: int) -> Array:
        """Transpose of `gather`: sums over the entries that an input went to.

        Parameters
        ----------
        messages : array of shape (n_samples * n_rows, n_columns)
        n_inputs : int

        Returns
        -------
        messages : array of shape (n_samples, n_inputs)
        """
        raise NotImplementedError

    def gather_variance(self, variance: Array) -> Array:
        """Variances of the gathered entries of independent inputs: `gather` with squared coefficients."""
        return self.gather(variance)

    def scatter_squared(self, messages: Array, n_inputs: int) -> Array:
        """Transpose of `gather_variance`."""
        return self.scatter(messages, n_inputs)

    def bound(self, lengths: Array | None) -> Connection:
        """The connection for samples of so many steps each; None where they have all of them.

        Parameters
        ----------
        lengths : integer array of shape (n_samples,), or None
        """
        return self

    def fed_back(self, slopes: Array, feedback: Feedback) -> FedBack:
        """How gathered entries follow spikes of neurons that feed back on themselves, where these are steps.

        Parameters
        ----------
        slopes : array of shape (n_samples, n_rows_below, n_units_below)
        feedback : Feedback
        """
        raise NotImplementedError

    def share(self, n_before: np.ndarray, n_steps: int | None = None) -> np.ndarray:
        """Weight of the next step, where steps come one after another: ``z = (1 - share) z_before + share v``.

        Parameters
        ----------
        n_before : integer array of shape (n_samples,)
            Steps of each sample before that one.
        n_steps : int, optional
            How many there will be, for entries that depend on it.

        Returns
        -------
        share : array of shape (n_samples, n_parts)
            In [0, 1]; a row has `n_parts` entries of every input of a step, side by side.

        Raises
        ------
        NotImplementedError
            If what the connection gathers does not follow from the step before and the new one.
        """
        raise NotImplementedError(f"{type(self).__name__} does not take one step after another.")

    def sensitivities(self, slopes: Array, below: Array, feedback: Feedback | None = None) -> Iterator[Sensitivity]:
        """Derivatives of the gathered entries in the weights of the neurons that they are sums of.

        The rows of these neurons share their weights: an entry that is a sum over rows of the spikes of neuron i,
        ``z_ri = sum_t K_rt v_ti``, has the derivative ``Q_rij = sum_t K_rt v'_ti x_tj`` in the weight to its input j.

        Parameters
        ----------
        slopes : array of shape (n_samples, n_rows_below, n_units_below)
            Derivative ``v'`` of a spike's probability in the mean of its potential.
        below : array of shape (n_samples, n_rows_below, n_columns_below)
            Means ``x`` of what the neurons read.
        feedback : Feedback, optional
            What earlier spikes do to those of the same neuron, where there are steps in time.

        Yields
        ------
        Sensitivity
        """
        if feedback is not None:
            raise NotImplementedError
        n_rows, n_units = slopes.shape[1:]
        n_inputs = n_rows * n_units
        n_entries = self.n_rows(n_inputs) * self.n_columns(n_inputs)
        for samples in in_parts(slopes.shape[0], n_entries * below.shape[2]):
            slope, inputs = slopes[samples, :, :], below[samples, :, :]
            shape = (slope.shape[0], -1, self.n_columns(n_inputs))
            products = (slope * inputs[:, :, j, None] for j in range(inputs.shape[2]))
            traces = [reshape(self.gather(reshape(each, (-1, n_inputs))), shape) for each in products]
            derivatives = stack(traces, axis=3)
            for row in range(derivatives.shape[1]):
                for start in range(0, derivatives.shape[2], n_units):
                    columns = slice(start, start + n_units)
                    yield Sensitivity(samples, row, columns, derivatives[:, row, columns, :])

    def row_weights(self, n_rows: int, n_units: int) -> np.ndarray:
        """Weights of the rows of a layer below, of so many neurons, in the entries that sum up one of them.

        Returns
        -------
        weights : array of shape (1 or n_samples, n_entries, n_rows)
            Entries of the first row above come first.
        """
        gathered = self.gather(np.repeat(np.eye(n_rows), n_units, axis=1))
        by_entry = np.reshape(gathered, (n_rows, -1, n_units))[:, :, 0]
        return by_entry.T[None, :, :]

    def pair_sums(self, directions: Array, n_units: int) -> list[Array]:
        """Sums over pairs of different rows of powers of cosines: ``sum_(s != t) K_s K_t (x_s . x_t)^k``, k = 0, 1, 2.

        Parameters
        ----------
        directions : array of shape (n_samples, n_rows_below, n_columns)
            Vectors ``x`` of unit length.
        n_units : int
            Neurons below.

        Returns
        -------
        sums : list of three arrays of shape (n_samples, n_entries)
            Entries as those of `row_weights`.
        """
        weights = self.row_weights(directions.shape[1], n_units)
        weights = astype(like(weights, directions), directions.dtype)
        cosine = directions @ permute_dims(directions, (0, 2, 1))
        power, sums = ones_like(cosine), []
        for _ in range(3):
            own = sum_over(weights * weights * diagonal(power)[:, None, :], axis=2)
            sums.append(sum_over((weights @ power) * weights, axis=2) - own)
            power = power * cosine
        return sums

    def spikes(self, probability: Array, constant: bool) -> Inputs:
        """What independent spikes of a probability, shape (n_samples, n_inputs), are for the neurons of the layer.

        With ``constant`` a column of ones is appended.
        """
        mean = self.gather(self.deviations(probability))
        if constant:
            mean = concat([mean, ones_like(mean[:, :1])], axis=1)
        if self.selects:
            return Inputs(mean, mean - mean * mean)
        variance = self.gather_variance(probability - probability * probability)
        if constant:
            variance = concat([variance, zeros_like(variance[:, :1])], axis=1)
        return Inputs(mean, variance)

    def deviations(self, spikes: Array) -> Array:
        """Spikes, or their probabilities, of shape (n_samples, n_inputs), less `center`."""
        if not self.centered:
            return spikes
        assert self.n_features is not None
        centers = np.tile(np.broadcast_to(self.center, self.n_features), spikes.shape[1] // self.n_features)
        return spikes - astype(like(centers, spikes), spikes.dtype)

    def log_ratio(self, message: InputMessage, inputs: Inputs, probability: Array) -> Array:
        """Log-ratio ``log q1(v=1)/q1(v=0)`` of the spikes that enter the layer (eq. 30), from all rows and neurons.

        To first order in a neuron's share: ``g - gamma (1/2 - p)`` with the derivatives of ``log Z`` in a spike,
        ``g`` that of first order and ``gamma`` minus that of second.

        Parameters
        ----------
        message : InputMessage
            What came down to the gathered entries.
        inputs : Inputs
            The gathered entries.
        probability : array of shape (n_samples, n_inputs)
            Probability of each spike.

        Returns
        -------
        log_ratio : array of shape (n_samples, n_inputs)
        """
        n_inputs = probability.shape[1]
        if self.selects:
            linear, quadratic, noise = (self.scatter(part, n_inputs) for part in message)
            return linear - (0.5 - probability) * quadratic - 0.5 * noise
        slope = message.linear - message.noise * inputs.mean[:, : message.noise.shape[1]]
        curvature = self.scatter_squared(message.quadratic + message.noise, n_inputs)
        return self.scatter(slope, n_inputs) - (0.5 - probability) * curvature


def in_parts(n_samples: int, size: int) -> Iterator[slice]:
    """Samples to work on together, which take so many numbers each."""
    step = max(1, CHUNK // size)
    for start in range(0, n_samples, step):
        yield slice(start, min(start + step, n_samples))
