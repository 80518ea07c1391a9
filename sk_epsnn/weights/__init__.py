"""Families of weight posterior: Gaussian, independent or joint per unit, categorical on levels, and known weights."""

from sk_epsnn.weights.base import Weights
from sk_epsnn.weights.gaussian import GaussianWeights, IndependentWeights, JointWeights
from sk_epsnn.weights.known import KnownWeights
from sk_epsnn.weights.levels import LOG_ODDS_BOUND, Lattice, LevelWeights, find_lattice

__all__ = [
    "LOG_ODDS_BOUND",
    "GaussianWeights",
    "IndependentWeights",
    "JointWeights",
    "KnownWeights",
    "Lattice",
    "LevelWeights",
    "Weights",
    "find_lattice",
]
