"""Bayesian spiking neural networks trained by Expectation Propagation, as scikit-learn estimators."""

from sk_epsnn._version import __version__
from sk_epsnn.encoders import (
    DeltaSpikeEncoder,
    LatencySpikeEncoder,
    PatchSpikeEncoder,
    PopulationEncoder,
    RateSpikeEncoder,
)
from sk_epsnn.ep.options import AverageEP, Newton, Stochastic
from sk_epsnn.estimators import (
    ClassifierStream,
    EPSNNClassifier,
    EPSNNRegressor,
    PotentialMoments,
    RegressorStream,
    Uncertainty,
    merge,
    predict_uncertainty,
    predict_with_std,
)
from sk_epsnn.export import register_onnx_converters, to_nir
from sk_epsnn.neurons import LIF, Heaviside, Sigmoid, SigmoidLIF
from sk_epsnn.outputs import HeavisideOutput
from sk_epsnn.plotting import (
    ConvergenceDisplay,
    PredictionBandDisplay,
    ReliabilityDisplay,
    SpikeRasterDisplay,
    WeightPosteriorDisplay,
)
from sk_epsnn.priors import (
    ARDPrior,
    BernoulliGaussianPrior,
    GaussianMixturePrior,
    GaussianPrior,
    LaplacePrior,
    WeightPrior,
)
from sk_epsnn.weights import Levels

__all__ = [
    "ARDPrior",
    "AverageEP",
    "ClassifierStream",
    "BernoulliGaussianPrior",
    "ConvergenceDisplay",
    "DeltaSpikeEncoder",
    "EPSNNClassifier",
    "EPSNNRegressor",
    "GaussianMixturePrior",
    "GaussianPrior",
    "LIF",
    "SigmoidLIF",
    "Heaviside",
    "HeavisideOutput",
    "LaplacePrior",
    "LatencySpikeEncoder",
    "Levels",
    "Newton",
    "PatchSpikeEncoder",
    "PopulationEncoder",
    "PotentialMoments",
    "PredictionBandDisplay",
    "RateSpikeEncoder",
    "RegressorStream",
    "ReliabilityDisplay",
    "Sigmoid",
    "SpikeRasterDisplay",
    "Stochastic",
    "Uncertainty",
    "WeightPosteriorDisplay",
    "WeightPrior",
    "__version__",
    "merge",
    "predict_uncertainty",
    "predict_with_std",
    "register_onnx_converters",
    "to_nir",
]
