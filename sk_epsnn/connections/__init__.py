"""Connections: which inputs the neurons of a layer read, around the mixing block ``u = W v``."""

from sk_epsnn.connections.base import Connection, Dense, Sensitivity
from sk_epsnn.connections.running import Running, running
from sk_epsnn.connections.temporal import Filter, Readout

__all__ = ["Connection", "Dense", "Filter", "Readout", "Running", "Sensitivity", "running"]
