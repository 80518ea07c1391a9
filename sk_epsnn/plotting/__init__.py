"""Pictures of posteriors, predictions, inputs and training, as scikit-learn displays; they need matplotlib."""

from sk_epsnn.plotting._band import PredictionBandDisplay
from sk_epsnn.plotting._common import PALETTE
from sk_epsnn.plotting._convergence import ConvergenceDisplay
from sk_epsnn.plotting._raster import SpikeRasterDisplay
from sk_epsnn.plotting._reliability import ReliabilityDisplay
from sk_epsnn.plotting._weights import WeightPosteriorDisplay

__all__ = [
    "PALETTE",
    "ConvergenceDisplay",
    "PredictionBandDisplay",
    "ReliabilityDisplay",
    "SpikeRasterDisplay",
    "WeightPosteriorDisplay",
]
