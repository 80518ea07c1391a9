"""Residual streams: what a deep layer reads where it reads the spikes of all layers below."""

from __future__ import annotations

from sk_epsnn._arrays import Array
from sk_epsnn.connections import Connection, Dense


class Stream(Dense):
    """A fully connected layer that reads, of every neuron below, the sum of its spikes and of those of its column.

    The hidden layers below have one width, and neuron k of each writes to stream k: ``h_l = h_(l-1) + b_l``. Gradients
    pass along the streams whatever the layers do.

    Parameters
    ----------
    n_units : int
        Neurons of the layer.
    """

    is_identity = False

    def gather(self, values: Array) -> Array:
        """The inputs themselves."""
        return values


def reads_stream(connection: Connection) -> bool:
    """Whether a connection reads a residual stream rather than the spikes of one layer."""
    return isinstance(connection, Stream)
