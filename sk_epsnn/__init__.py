"""Bayesian spiking neural networks trained by Expectation Propagation, as scikit-learn estimators."""

from sk_epsnn._version import __version__
from sk_epsnn.encoders import PopulationEncoder, RateSpikeEncoder
from sk_epsnn.estimators import EPSNNClassifier, EPSNNRegressor, Uncertainty

__all__ = [
    "EPSNNClassifier",
    "EPSNNRegressor",
    "PopulationEncoder",
    "RateSpikeEncoder",
    "Uncertainty",
    "__version__",
]
