"""How far hidden spikes spread at the start of training: what priors of the layers that read them are scaled by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sk_epsnn._arrays import reshape, to_numpy
from sk_epsnn.connections import Connection
from sk_epsnn.course import Rows
from sk_epsnn.ep.passes import Upward, to_outputs
from sk_epsnn.ep.state import LayerState, State
from sk_epsnn.messages import WeightMoments
from sk_epsnn.network import Network, weight_of_rows

#: Rows that are measured, at most.
MEASURED = 500


def measured(network: Network, layers: Sequence[LayerState], rows: Rows) -> tuple[Network, float]:
    """Centre the traces, or the maps, that the layer after these reads.

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
    connection: Any = network.connections[index]
    connection = connection.centered_at(np.zeros(connection.n_features))
    n_samples = len(rows.sample_weight)
    n_columns = connection.n_columns(network.sizes[index])
    parts: list[tuple[Any, Any, Any]] = [
        (up.spikes[-1].probability, _row_means(up.inputs[-1].variance, n_columns), lengths)
        for up, lengths in below(network, layers, rows, connection)
    ]
    probability, spread = (np.concatenate(same) for same in list(zip(*parts, strict=True))[:2])
    # Samples that have different numbers of steps are looked at together.
    lengths = parts[0][-1]
    connection = connection.centered_at(_shares(rows, lengths, len(probability)) @ probability)
    trace = connection.spikes(reshape(probability, (n_samples, -1)), constant=False).mean
    mean_square = float(_shares(rows, lengths, len(trace)) @ ((trace**2).mean(1) + spread))
    if index == len(network.hidden):
        return replace(network, readout=connection), mean_square
    layer = network.hidden[index]._replace(connection=connection)
    return replace(network, hidden=(*network.hidden[:index], layer, *network.hidden[index + 1 :])), mean_square


def _row_means(values: Any, n_columns: int) -> np.ndarray:
    """Mean of so many columns in every row."""
    return values[:, :n_columns].mean(1)


def below(
    network: Network, layers: Sequence[LayerState], rows: Rows, connection: Connection
) -> Iterator[tuple[Upward, Any]]:
    """What comes to a connection from these layers below it, and how many steps each sample has, if there are any.

    Of some of the samples after others, where there are many.
    """
    cut, X = replace(network, hidden=network.hidden[: len(layers)], readout=connection), to_numpy(rows.X)
    state = State(cut, tuple(layers), 1.0)
    nothing = np.zeros((connection.n_units, cut.fan_ins[-1]), X.dtype)
    weights = [*(layer.moments(X.dtype) for layer in layers), WeightMoments(nothing, nothing, None)]
    for part in cut.parts(X.shape[0]):
        inputs = cut.enter(X[part, :])
        yield to_outputs(state, inputs, weights), inputs.lengths


def _shares(rows: Rows, lengths: Any, n_rows: int) -> np.ndarray:
    """Weights of so many rows in all, of those of the samples; their sum is 1."""
    weight = weight_of_rows(rows.sample_weight, lengths, n_rows // len(rows.sample_weight))
    return weight / weight.sum()
