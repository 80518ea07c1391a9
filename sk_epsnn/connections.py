"""Connections: which inputs a neuron of a layer reads, as an index map around the mixing block ``u = W v``.

`Connection.gather` makes rows from the inputs of a sample, every row is mixed with the same weights, and
`Connection.scatter`, its transpose, takes the messages back. With one row per sample that holds every input this is a
fully connected layer; patches of an image make a convolution, steps in time a filter. The formulas of the mixing block
see rows and columns, and nothing of this.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

from sk_epsnn._arrays import Array, concat, ones_like, zeros_like
from sk_epsnn._sklearn import Interval, Option
from sk_epsnn.messages import InputMessage, Inputs


class Connection(Option):
    """Base class: neurons that read the inputs of a sample in one row or several, with the same weights in each.

    A subclass takes `n_units` as a parameter and gives the geometry: `n_rows`, `n_columns`, `gather` and `scatter`.
    Where a gathered entry is not one input but a weighted sum of several, it sets ``selects = False`` and gives
    `gather_variance` and `scatter_squared`, which do the same with the squares of the coefficients.

    Attributes
    ----------
    n_units : int
        Neurons of a row. The layer gives ``n_rows * n_units`` spikes per sample, those of the first row first.
    selects : bool
        Whether every gathered entry is one of the inputs, as it is.
    is_identity : bool
        Whether a row holds all inputs in their order: sparse rows stay sparse.
    """

    n_units: int
    selects: bool = True
    is_identity: bool = False
    _parameter_constraints: dict[str, list[Any]] = {"n_units": [Interval(Integral, 1, 2**31 - 1, closed="both")]}

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

    def spikes(self, probability: Array, constant: bool) -> Inputs:
        """What independent spikes of a probability, shape (n_samples, n_inputs), are for the neurons of the layer.

        With ``constant`` a column of ones is appended.
        """
        mean = self.gather(probability)
        if constant:
            mean = concat([mean, ones_like(mean[:, :1])], axis=1)
        if self.selects:
            return Inputs(mean, mean - mean * mean)
        variance = self.gather_variance(probability - probability * probability)
        if constant:
            variance = concat([variance, zeros_like(variance[:, :1])], axis=1)
        return Inputs(mean, variance)

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


class Dense(Connection):
    """Every neuron reads every input: the identity, which copies nothing.

    Parameters
    ----------
    n_units : int
        Neurons of the layer.

    Examples
    --------
    >>> from sk_epsnn.connections import Dense
    >>> Dense(3)
    Dense(n_units=3)
    """

    is_identity = True

    def __init__(self, n_units: int):
        self.n_units = n_units

    def gather(self, values: Array) -> Array:
        """The inputs themselves."""
        return values

    def scatter(self, messages: Array, n_inputs: int) -> Array:
        """The messages themselves."""
        return messages
