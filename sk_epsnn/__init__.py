"""Bayesian spiking neural networks trained by Expectation Propagation, as scikit-learn estimators."""

from sk_epsnn._version import __version__
from sk_epsnn.connections import Convolution
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
    CompartmentUncertainty,
    EPSNNClassifier,
    EPSNNRegressor,
    GEMSNNClassifier,
    GEMSNNRegressor,
    PotentialMoments,
    RegressorStream,
    SBNNClassifier,
    SBNNRegressor,
    SpikeTrains,
    Uncertainty,
    merge,
    predict_uncertainty,
    predict_with_std,
)
from sk_epsnn.export import register_onnx_converters, to_nir
from sk_epsnn.gem.filters import ExponentialFilter, RaisedCosineFilters
from sk_epsnn.gem.options import GEM, IW, MB, GLMNeuron
from sk_epsnn.neurons import LIF, Heaviside, Sigmoid, SigmoidLIF
from sk_epsnn.optimizers import SGD, Adam
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
from sk_epsnn.sbnn.options import Concrete, Rao, ReinMax, StraightThrough, Surrogate
from sk_epsnn.weights import Levels

__all__ = [
    "ARDPrior",
    "Adam",
    "AverageEP",
    "ClassifierStream",
    "BernoulliGaussianPrior",
    "CompartmentUncertainty",
    "Concrete",
    "ConvergenceDisplay",
    "Convolution",
    "DeltaSpikeEncoder",
    "EPSNNClassifier",
    "EPSNNRegressor",
    "ExponentialFilter",
    "GEM",
    "GEMSNNClassifier",
    "GEMSNNRegressor",
    "GLMNeuron",
    "GaussianMixturePrior",
    "GaussianPrior",
    "LIF",
    "SigmoidLIF",
    "Heaviside",
    "HeavisideOutput",
    "IW",
    "LaplacePrior",
    "LatencySpikeEncoder",
    "Levels",
    "MB",
    "Newton",
    "PatchSpikeEncoder",
    "PopulationEncoder",
    "PotentialMoments",
    "PredictionBandDisplay",
    "RaisedCosineFilters",
    "Rao",
    "RateSpikeEncoder",
    "RegressorStream",
    "ReinMax",
    "ReliabilityDisplay",
    "SBNNClassifier",
    "SBNNRegressor",
    "SGD",
    "Sigmoid",
    "SpikeRasterDisplay",
    "SpikeTrains",
    "Stochastic",
    "StraightThrough",
    "Surrogate",
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
