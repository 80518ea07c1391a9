"""The estimators."""

from sk_epsnn.estimators._classifier import EPSNNClassifier
from sk_epsnn.estimators._gem_base import SpikeTrains
from sk_epsnn.estimators._gem_classifier import CompartmentUncertainty, GEMSNNClassifier
from sk_epsnn.estimators._gem_regressor import GEMSNNRegressor
from sk_epsnn.estimators._merge import merge
from sk_epsnn.estimators._nested import predict_uncertainty, predict_with_std
from sk_epsnn.estimators._regressor import EPSNNRegressor
from sk_epsnn.estimators._stream import ClassifierStream, RegressorStream
from sk_epsnn.estimators._uncertainty import PotentialMoments, Uncertainty

__all__ = [
    "ClassifierStream",
    "EPSNNClassifier",
    "EPSNNRegressor",
    "CompartmentUncertainty",
    "GEMSNNClassifier",
    "GEMSNNRegressor",
    "PotentialMoments",
    "RegressorStream",
    "SpikeTrains",
    "Uncertainty",
    "merge",
    "predict_uncertainty",
    "predict_with_std",
]
