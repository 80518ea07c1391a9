"""Predictive uncertainty of GEM-SNNs: what it is made of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class CompartmentUncertainty(NamedTuple):
    """Predictive uncertainty and its two parts, ``total = aleatoric + disagreement``.

    Attributes
    ----------
    total : ndarray
        Uncertainty of the prediction.
    aleatoric : ndarray
        What a compartment says by itself, on average.
    disagreement : ndarray
        What compartments disagree on, because they drew other hidden spikes. Weights are points here: this is spike
        noise, and no uncertainty about the weights.
    """

    total: np.ndarray
    aleatoric: np.ndarray
    disagreement: np.ndarray


def entropy(probability: np.ndarray) -> np.ndarray:
    """Entropy in nats along the last axis."""
    return -(probability * np.log(np.maximum(probability, np.finfo(probability.dtype).tiny))).sum(axis=-1)
