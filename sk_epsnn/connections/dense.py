"""The fully connected layer."""

from __future__ import annotations

from sk_epsnn._arrays import Array
from sk_epsnn.connections.base import Connection


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
