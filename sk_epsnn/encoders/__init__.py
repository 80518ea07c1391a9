"""Encoders that turn real-valued features into firing rates or spikes.

Both encoders code every row on its own. Their spikes are random but reproducible: the random numbers come from a
counter-based hash of the fitted seed, the values in the row and the output column, so `transform` has no hidden state.
"""

from sk_epsnn.encoders._population import PopulationEncoder
from sk_epsnn.encoders._rate import RateSpikeEncoder

__all__ = ["PopulationEncoder", "RateSpikeEncoder"]
