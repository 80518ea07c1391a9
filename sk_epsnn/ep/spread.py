"""How far hidden spikes spread at the start of training: what priors of the layers that read them are scaled by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sk_epsnn._arrays import to_numpy
from sk_epsnn.course import Rows
from sk_epsnn.ep.passes import by_sample, to_outputs
from sk_epsnn.ep.state import LayerState, State
from sk_epsnn.messages import WeightMoments
from sk_epsnn.network import Network, weight_of_rows

#: Rows that are measured, at most.
MEASURED = 500


def measured(network: Network, layers: Sequence[LayerState], rows: Rows) -> tuple[Network, float]:
    """Centre the traces that the layer after these reads.

    Parameters
    ----------
    network : Network
        With coordinates of the inputs.
    layers : sequence of LayerState
        Those below, as training starts from them.
    rows : Rows
        Up to 500 of them are looked at.

    Returns
    -------
    network : Network
        The same, in which the layer knows how often the neurons below fire.
    mean_square : float
        Of the centred traces.
    """
    index, rows = len(layers), rows.some(MEASURED)
    layer = network.hidden[index]
    connection: Any = layer.connection
    connection = connection.centered_at(np.zeros(connection.n_features))
    below = replace(network, hidden=network.hidden[:index], readout=connection)
    inputs = below.enter(to_numpy(rows.X))
    nothing = np.zeros((connection.n_units, below.fan_ins[-1]), inputs.mean.dtype)
    weights = [layer.moments(inputs.mean.dtype) for layer in layers]
    up = to_outputs(State(below, tuple(layers), 1.0), inputs, [*weights, WeightMoments(nothing, nothing, None)])
    share = weight_of_rows(rows.sample_weight, inputs.lengths, below.n_rows[-1])
    share = share / share.sum()
    probability, variance = up.spikes[-1].probability, up.inputs[-1].variance
    assert variance is not None
    connection = connection.centered_at(share @ probability)
    trace = connection.spikes(by_sample(probability, below.sizes[-1]), constant=False).mean
    square = trace**2 + variance[:, : trace.shape[1]]
    hidden = (*network.hidden[:index], layer._replace(connection=connection), *network.hidden[index + 1 :])
    return replace(network, hidden=hidden), float(share @ square.mean(1))
