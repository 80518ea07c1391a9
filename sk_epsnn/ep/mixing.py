"""Mixing block ``u = W v`` (Section IV-B of [1]_): every product over (samples x outputs x inputs) lives here.

Messages are sums over samples or over units, hence matrix products; no array of shape (n_samples, n_out, n_in) is
ever formed. Going up, ``(M, S)`` are the mean and variance of each potential; coming down, `Derivatives`.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, eqs. 18-30.
"""

from __future__ import annotations

import numpy as np

from sk_epsnn._arrays import (
    Array,
    array_namespace,
    astype,
    clip,
    concat,
    empty_like,
    epsilon,
    full_like,
    in_chunks,
    product_over,
    sqrt,
    stack,
    sum_over,
    vecdot,
)
from sk_epsnn.messages import Derivatives, InputMessage, Inputs, WeightMoments
from sk_epsnn.numerics import plus_diagonal
from sk_epsnn.weights import Lattice

#: Up to this many units, their covariances are multiplied side by side; beyond, one after another.
FEW_UNITS = 32
#: Up to this many inputs, messages leave a weight's own share out exactly; beyond, to first order in that share.
FEW_INPUTS = 32


def tie_offset(inputs: Inputs, lattice: Lattice) -> Array:
    """Half a spacing, to add to the mean of a potential that is compared with 0, shape (n_samples, 1).

    A Heaviside neuron fires at 0, so the threshold of the Gaussian that stands for a lattice lies midway between 0
    and the value below it. Where 0 is a value for even numbers of spikes only, their probability
    ``(1 + prod_j (1 - 2 p_nj)) / 2`` takes part.
    """
    if not lattice.alternates:
        return full_like(inputs.mean[:, :1], 0.5 * lattice.spacing)
    even = 0.5 + 0.5 * product_over(1 - 2 * inputs.mean, axis=1, keepdims=True)
    return 0.5 * lattice.spacing * even


def potential_mean(inputs: Inputs, mean: Array) -> Array:
    """``M = sum_j m_ij p_nj`` (eq. 25), shape (n_samples, n_out)."""
    return inputs.mean @ mean.T


def weight_part_of_variance(inputs: Inputs, weights: WeightMoments) -> Array:
    """First part of ``S = sum_j [(s_ij + m_ij^2) p_nj - m_ij^2 p_nj^2]`` (eq. 25), from the weights.

    ``p^T Sigma_i p`` for every sample and unit, shape (n_samples, n_out).
    """
    if weights.covariance is None:
        return inputs.square @ weights.variance.T
    p, covariance = inputs.mean, weights.covariance
    n_out, n_in = weights.mean.shape
    if array_namespace(p) is not np or n_out > FEW_UNITS:
        return stack([vecdot(p @ covariance[i, :, :], p) for i in range(n_out)], axis=1)
    side_by_side = np.ascontiguousarray(covariance.transpose(1, 0, 2)).reshape(n_in, n_out * n_in)
    return in_chunks(lambda rows: vecdot((rows @ side_by_side).reshape(-1, n_out, n_in), rows[:, None, :]), p)


def mean_and_weight_part(inputs: Inputs, weights: WeightMoments) -> tuple[Array, Array]:
    """`potential_mean` and `weight_part_of_variance`, in one product where the inputs are their own squares."""
    if weights.covariance is not None or inputs.square is not inputs.mean:
        return potential_mean(inputs, weights.mean), weight_part_of_variance(inputs, weights)
    both = inputs.mean @ concat([weights.mean, weights.variance]).T
    n_out = weights.mean.shape[0]
    return both[:, :n_out], both[:, n_out:]


def spike_part_of_variance(inputs: Inputs, weights: WeightMoments) -> Array | float:
    """Second part of ``S`` (eq. 25), from the spikes: ``sum_j p (1 - p) (m^2 + s)``; 0 for observed inputs."""
    if inputs.variance is None:
        return 0.0
    return inputs.variance @ (weights.mean * weights.mean + weights.variance).T


def to_inputs(down: Derivatives, weights: WeightMoments, n_inputs: int) -> InputMessage:
    """Message to the inputs of a layer, summed over its units, to first order in each unit's share of the potential.

    Eqs. 26-27 applied to ``v``. The noise part, absent when the weight is fixed at its mean, tells the layer below that
    an uncertain weight adds noise.

    Parameters
    ----------
    down : Derivatives of shape (n_rows, n_out)
    weights : WeightMoments of the layer
    n_inputs : int
        Columns of ``weights`` beyond these (the constant) are ignored.
    """
    m, s = weights.mean[:, :n_inputs], weights.variance[:, :n_inputs]
    return InputMessage(down.g @ m, down.gamma @ (m * m), down.kappa @ s)


def spike_noise(down: Derivatives, inputs: Inputs) -> Array | float:
    """``k_ij = sum_n kappa_ni p_nj (1 - p_nj)``: what uncertain spikes cost a large weight; 0 for observed inputs."""
    if inputs.variance is None:
        return 0.0
    return clip(down.kappa, min=0.0).T @ inputs.variance


def mean_gradient(down: Derivatives, inputs: Inputs, mean: Array, noise: Array | float) -> Array:
    """Gradient of the summed ``log Z`` in the weight means, shape (n_out, n_in)."""
    return down.g.T @ inputs.mean - noise * mean


def site_precision(down: Derivatives, inputs: Inputs, noise: Array | float) -> Array:
    """Summed site precisions of independent weights, ``sum_n gamma_ni p_nj^2 + k_ij`` (eqs. 26-29)."""
    return down.gamma.T @ inputs.square + noise


def shared_second_moment(weight: Array, inputs: Inputs) -> Array:
    """``sum_n w_n p_n p_n^T`` of rows that count by a weight each, shape (n_in, n_in)."""
    return (inputs.mean * weight[:, None]).T @ inputs.mean


def joint_site_precision(gamma: Array, inputs: Inputs, noise: Array | float) -> Array:
    """``sum_n gamma_ni p_n p_n^T + diag(k_i)``, shape (n_out, n_in, n_in); no ``gamma`` may be negative.

    In float64 whatever the inputs: rounding must stay below the prior's precision, or the sum has no inverse.
    """
    # A matrix times its own transpose costs half of any other product.
    mean, root = astype(inputs.mean, "float64"), sqrt(astype(gamma, "float64"))
    halves = (mean * root[:, i : i + 1] for i in range(root.shape[1]))
    precision = stack([half.T @ half for half in halves])
    return precision if isinstance(noise, float) else plus_diagonal(precision, astype(noise, "float64"))


def average_messages(
    down: Derivatives, sample_weight: Array, inputs: Inputs, weights: WeightMoments, leave_one_out: float
) -> tuple[Array, Array]:
    """Sum over samples of the messages to independent weights (eqs. 26-29): precision and shift, (n_out, n_in).

    One message has precision ``p^2 / (D - s p^2)`` and shift ``p (mu - M_without_j) / (D - s p^2)`` with
    ``D = t + S``, that is ``gamma = 1/D`` and ``g = (mu - M)/D``: eqs. 26-28 with term j left out of M and S. Where
    there are more than `FEW_INPUTS` inputs the denominator is expanded to first order in ``s p^2 / D``, so that both
    sums are matrix products. ``leave_one_out`` is the power to which a weight's own message is left out of its cavity:
    1 is EP. With 0 the cavity is the whole posterior: the variational limit, or that of many samples and inputs.
    """
    weighted, own = down.times(sample_weight), float(leave_one_out)
    if own > 0 and inputs.mean.shape[1] <= FEW_INPUTS:
        gain, precision = _messages_of_few(weighted, own * down.gamma, inputs, weights.variance)
        return precision, gain + weights.mean * precision
    precision = weighted.gamma.T @ inputs.square
    gain = weighted.g.T @ inputs.mean
    if own > 0:
        cube, others = inputs.square * inputs.mean, own * down.gamma
        gain = gain + weights.variance * ((weighted.g * others).T @ cube)
        precision = precision + weights.variance * ((weighted.gamma * others).T @ (inputs.square * inputs.square))
    return precision, gain + weights.mean * precision


def _messages_of_few(weighted: Derivatives, gamma: Array, inputs: Inputs, variance: Array) -> tuple[Array, Array]:
    """``sum_n g p / (1 - gamma s p^2)`` and ``sum_n gamma p^2 / (1 - gamma s p^2)``, one input at a time."""
    gain, precision = empty_like(variance), empty_like(variance)
    eps = epsilon(variance)
    for j in range(variance.shape[1]):
        p, square = inputs.mean[:, j], inputs.square[:, j, None]
        # What the others leave of the width of a message; the weight's own share is never all of it.
        rest = clip(1 - gamma * square * variance[:, j], min=eps)
        gain[:, j] = p @ (weighted.g / rest)
        precision[:, j] = sum_over(weighted.gamma * square / rest, axis=0)
    return gain, precision
