"""Convolutions among the layers: which images, and which maps, each of them reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sk_epsnn.connections import Connection, Convolution, Pooled
from sk_epsnn.patches import find_image_shape


def over_images(connections: Sequence[Connection], n_features: int) -> list[Connection]:
    """The same connections for rows of so many features: each knows the shape of what it reads.

    Raises
    ------
    ValueError
        If a convolution cannot read what comes to it; names the remedy.
    """
    result: list[Connection] = []
    below: Convolution | None = None
    for connection in connections:
        if isinstance(connection, Convolution):
            n_inputs = result[-1].n_units if result else n_features
            connection = _shaped(connection, below, n_inputs, not result)
        result.append(connection if below is None else Pooled(connection, below.map_shape, below.pool))
        below = connection if isinstance(connection, Convolution) else None
    return result


def _shaped(connection: Convolution, below: Convolution | None, n_inputs: int, is_first: bool) -> Convolution:
    """The convolution with the shape of the rows of X, of the map below it, or of a layer that is given one."""
    automatic = isinstance(connection.image_shape, str)
    if below is not None:
        shape = below.pooled_shape
        if automatic or find_image_shape(connection.image_shape, int(np.prod(shape))) == shape:
            return connection.reading(shape)
        raise ValueError(
            f"{connection!r} reads a map of shape {shape}, that of {below!r} after pooling; leave image_shape='auto'."
        )
    if automatic and not is_first:
        raise ValueError(
            f"{connection!r} reads neurons that are no image; put convolutions in front of other layers in "
            "hidden_layer_sizes, or give it an image_shape."
        )
    return connection.reading(find_image_shape(connection.image_shape, n_inputs))
