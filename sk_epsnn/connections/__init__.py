"""Connections: which inputs the neurons of a layer read, around the mixing block ``u = W v``."""

from sk_epsnn.connections.base import Connection, FedBack, Feedback, Sensitivity
from sk_epsnn.connections.dense import Dense
from sk_epsnn.connections.images import Convolution, Pooled
from sk_epsnn.connections.running import Running, running
from sk_epsnn.connections.temporal import Filter, Readout, Recurrent

__all__ = [
    "Connection",
    "Convolution",
    "Dense",
    "FedBack",
    "Feedback",
    "Filter",
    "Pooled",
    "Readout",
    "Recurrent",
    "Running",
    "Sensitivity",
    "running",
]
