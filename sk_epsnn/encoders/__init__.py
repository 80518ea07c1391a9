"""Encoders that turn real-valued features, and signals over time, into firing rates or spikes.

The encoders of rows code every row, or every step of a sample, on its own. Where their spikes are random they are
reproducible: the random numbers come from a counter-based hash of the fitted seed, the values in the row, its step and
the output column, so `transform` has no hidden state.
"""

from sk_epsnn.encoders._delta import DeltaSpikeEncoder
from sk_epsnn.encoders._encoder import Encoder
from sk_epsnn.encoders._latency import LatencySpikeEncoder
from sk_epsnn.encoders._patch import PatchSpikeEncoder
from sk_epsnn.encoders._population import PopulationEncoder
from sk_epsnn.encoders._rate import RateSpikeEncoder

__all__ = [
    "DeltaSpikeEncoder",
    "Encoder",
    "LatencySpikeEncoder",
    "PatchSpikeEncoder",
    "PopulationEncoder",
    "RateSpikeEncoder",
]
