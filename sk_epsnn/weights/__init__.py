"""Families of weight posterior: Gaussian, independent or joint per unit, categorical on levels, and known weights."""

from sk_epsnn.weights.base import Weights
from sk_epsnn.weights.gaussian import GaussianWeights, IndependentWeights, JointWeights
from sk_epsnn.weights.grid import NAMED_LEVELS, Grid, Levels
from sk_epsnn.weights.known import KnownWeights
from sk_epsnn.weights.levels import LOG_ODDS_BOUND, Lattice, LevelWeights, find_lattice

__all__ = [
    "LOG_ODDS_BOUND",
    "NAMED_LEVELS",
    "GaussianWeights",
    "Grid",
    "IndependentWeights",
    "JointWeights",
    "KnownWeights",
    "Lattice",
    "LevelWeights",
    "Levels",
    "Weights",
    "find_lattice",
]
