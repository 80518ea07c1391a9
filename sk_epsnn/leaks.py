"""Leaks that are still to be chosen: which there are to choose from, and a network with one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from sk_epsnn.connections import Filter, Readout

#: Leaks to choose from: none, and time constants that double from 1.4 steps on.
LEAKS = (0.0, 0.5, 0.71, 0.84, 0.92, 0.96, 0.98)


def is_open(network: Any) -> bool:
    """Whether a leak of the network is still to be chosen."""
    return any(_is_open(connection) for connection in network.connections)


def with_leak(network: Any, leak: float) -> Any:
    """The same with this leak wherever one is to be chosen."""
    hidden = tuple(layer._replace(connection=_leaky(layer.connection, leak)) for layer in network.hidden)
    return replace(network, hidden=hidden, readout=_leaky(network.readout, leak))


def leaks(network: Any) -> Iterator[float]:
    """Those whose time constants are no longer than a sample."""
    n_steps = network.n_inputs // (network.connections[0].n_features or 1)
    for leak in LEAKS:
        if leak == 0 or -1 / np.log(leak) <= n_steps:
            yield leak


def _is_open(connection: Any) -> bool:
    return isinstance(connection, Filter | Readout) and isinstance(connection.leak, str)


def _leaky(connection: Any, leak: float) -> Any:
    if not _is_open(connection):
        return connection
    parameters = connection.get_params()
    return type(connection)(**{**parameters, "leak": leak})
