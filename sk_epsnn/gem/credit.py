"""Rules of credit: how much each compartment's score counts, from what its outputs say of the targets.

All rules multiply the traces ``e_t = sum_(s <= t) kappa^(t - s) score_s`` of every synapse in every compartment by a
number for each compartment and step (Algorithm 1 of [1]_). Over a sequence with weights at rest that is
``sum_s G_s score_s`` with ``G_s = sum_(t >= s) kappa^(t - s) g_t``: a number for each step, sample and compartment
instead of a trace for each weight.

References
----------
.. [1] H. Jang, O. Simeone, "Multi-sample online learning for spiking neural networks based on generalized expectation
   maximization", arXiv:2102.03280, 2021.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from sk_epsnn.gem.filters import decays


class Credit(NamedTuple):
    """Factors of the traces, each of shape (..., n_compartments).

    Attributes
    ----------
    hidden, visible : ndarray
        Of hidden neurons and of outputs.
    """

    hidden: np.ndarray
    visible: np.ndarray


def log_weights(log_likelihood: np.ndarray, kappa: float) -> np.ndarray:
    """``v_t = kappa v_(t-1) + l_t`` along the first axis; shape (n_steps, n_samples, n_compartments)."""
    return _along_steps(decays(kappa, len(log_likelihood)), log_likelihood)


def over_later_steps(factors: np.ndarray, kappa: float) -> np.ndarray:
    """``G_s = sum_(t >= s) kappa^(t - s) g_t`` along the first axis."""
    return _along_steps(decays(kappa, len(factors)).T, factors)


def _along_steps(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    return (matrix.astype(values.dtype) @ values.reshape(len(values), -1)).reshape(values.shape)


def importance(v: np.ndarray) -> np.ndarray:
    """Weights of the compartments, ``softmax(v)`` over the last axis."""
    return softmax(v, axis=-1)


def gem(v: np.ndarray, *, center: bool) -> Credit:
    """Generalized EM: every score counts by the importance of its compartment.

    A score has mean 0 whatever the weights, so that with ``center`` the mean of all compartments, 1 / K, is taken off
    hidden ones: the same expectation, without the noise of equal weights.
    """
    weight = importance(v)
    return Credit(weight - 1 / v.shape[-1] if center else weight, weight)


def mb(v: np.ndarray, baseline: np.ndarray | float | None) -> Credit:
    """Mean of single-sample estimates: hidden scores count by v less a baseline, outputs alike.

    Without a baseline it is the mean of v over the other compartments.
    """
    n = v.shape[-1]
    if baseline is None:
        baseline = (v.sum(axis=-1, keepdims=True) - v) / (n - 1)
    return Credit((v - baseline) / n, np.full_like(v, 1 / n))


def iw(v: np.ndarray) -> Credit:
    """Importance-weighted bound: hidden scores count by what their compartment adds to ``log mean exp v``.

    The signal without a compartment puts the mean of the others in its place.
    """
    n = v.shape[-1]
    others = (v.sum(axis=-1, keepdims=True) - v) / (n - 1)
    without = np.where(np.eye(n, dtype=bool), others[..., np.newaxis], v[..., np.newaxis, :])
    return Credit(logsumexp(v, axis=-1, keepdims=True) - logsumexp(without, axis=-1), importance(v))


def effective_sample_size(v: np.ndarray) -> np.ndarray:
    """``1 / sum w^2`` of the importance weights: from 1, one compartment has all, to K, all have the same."""
    return 1 / np.square(importance(v)).sum(axis=-1)
