"""Forward and backward pass through a network (Algorithm 1 of [1]_). No schedule.

Upward go the means and variances ``(M, S)`` of the potentials, downward the derivatives ``(g, gamma, kappa)`` of
``log Z``.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, Section IV and V-C.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sk_epsnn._arrays import (
    Array,
    clip,
    copy_of,
    epsilon,
    in_chunks,
    is_any,
    minimum,
    repeat_rows,
    reshape,
    sum_over,
    zeros_like,
)
from sk_epsnn.connections import Connection
from sk_epsnn.ep import mixing
from sk_epsnn.ep.between_rows import BetweenRows, SharedRows, between_rows
from sk_epsnn.ep.recurrent import Held, OwnSpikes
from sk_epsnn.ep.sites import UpdateCounts, bound_log_ratio
from sk_epsnn.ep.state import State
from sk_epsnn.messages import Derivatives, Inputs, Potentials, SpikeMoments, Spread, WeightMoments
from sk_epsnn.neurons import Neuron
from sk_epsnn.numerics import expit, expm1, is_single, logit, without_subnormal


class Upward(NamedTuple):
    """What the forward pass leaves behind: one entry per layer, those of the last three lists per hidden layer.

    Where spikes of several rows are summed up, ``shared`` has the rows, and ``common`` the variance that the sums owe
    to weights which rows share; ``own`` has that of layers whose spikes act on their own later ones. Else None.
    """

    inputs: list[Inputs]
    potentials: list[Potentials]
    spikes: list[SpikeMoments]
    shared: list[SharedRows | None]
    common: list[Array | None]
    own: list[Held | None]

    @property
    def holds(self) -> bool:
        """Whether there are terms between rows, which are held where covariances are."""
        return any(each is not None for each in (*self.common, *self.own))


class Downward(NamedTuple):
    """What the backward pass leaves behind.

    Attributes
    ----------
    log_z : array of shape (n_targets,)
        Whatever the weights of the targets.
    messages : list of Derivatives, one per layer
    log_ratios : list of arrays, the messages q1(V) to the hidden spikes, one per hidden layer
    between : list of BetweenRows or None, one per layer
    """

    log_z: Array
    messages: list[Derivatives]
    log_ratios: list[Array]
    between: list[BetweenRows | None]


def potentials(
    state: State, index: int, inputs: Inputs, weights: WeightMoments, mean: Array | None = None
) -> Potentials:
    """Central-limit message to the potentials of a layer (eq. 25); the mean may be known already."""
    is_known = mean is not None
    if is_known:
        from_weights = mixing.weight_part_of_variance(inputs, weights)
    else:
        mean, from_weights = mixing.mean_and_weight_part(inputs, weights)
    variance = from_weights
    if inputs.variance is not None:
        variance = variance + mixing.spike_part_of_variance(inputs, weights)
    if is_any(variance < state.variance_floor):
        variance = clip(variance, min=state.variance_floor)
    lattice = state.layers[index].lattice
    if lattice is not None and not is_known:
        mean = mean + mixing.tie_offset(inputs, lattice)
    return Potentials(mean, variance, from_weights)


def forward(
    state: State,
    inputs: Inputs,
    weights: list[WeightMoments],
    first: Potentials | None = None,
    log_ratios: list[Array] | None = None,
    held: Upward | None = None,
) -> Upward:
    """Forward half of Algorithm 1: mixing (eq. 25), then activation (eq. 31), layer by layer.

    Parameters
    ----------
    state : State
    inputs : Inputs of shape (n_rows, n_in)
        Of the first layer.
    weights : list of WeightMoments
    first : Potentials, optional
        Potentials of the first layer when the caller knows them already (it is the widest product); of no use where
        its spikes act on later ones.
    log_ratios : list of arrays of shape (n_samples, n_spikes), optional
        Messages that came down to the hidden spikes, already raised to the cavity's power (eq. 23); without
        them the pass is predictive (Section V-C).
    held : Upward, optional
        An earlier pass, whose terms between rows are held as covariances are.
    """
    up = to_outputs(state, inputs, weights, first, log_ratios, held)
    known = None if state.network.hidden else first
    up.potentials.append(potentials(state, -1, up.inputs[-1], weights[-1]) if known is None else known)
    return up


def to_outputs(
    state: State,
    inputs: Inputs,
    weights: list[WeightMoments],
    first: Potentials | None = None,
    log_ratios: list[Array] | None = None,
    held: Upward | None = None,
) -> Upward:
    """`forward` up to what the outputs read, without their potentials."""
    network = state.network
    up = Upward([inputs], [], [], [], [], [])
    for index, layer in enumerate(network.hidden):
        _fire(state, up, weights[index], first if index == 0 else None, held)
        probability = without_subnormal(by_sample(up.spikes[index].probability, network.sizes[index + 1]))
        if log_ratios is not None:
            edge = epsilon(probability)
            probability = expit(logit(clip(probability, edge, 1 - edge)) + log_ratios[index])
        connection = network.connections[index + 1].bound(inputs.lengths)
        entering = connection.spikes(probability, network.constant)
        shared = _shared(connection, up, layer.neuron, network.n_rows[index])
        if shared is not None and (own := OwnSpikes.of(state, index)) is not None:
            shared = own.rows(shared, up.spikes[-1], weights[index], weights[index + 1])
        up.shared.append(shared)
        up.common.append(_common(up, weights[index]) if held is None else held.common[index])
        up.inputs.append(_with_common(entering, up.common[-1]))
    return up


def _fire(state: State, up: Upward, weights: WeightMoments, first: Potentials | None, held: Upward | None) -> None:
    """Potentials and spikes of the next hidden layer, whose inputs are the last ones so far."""
    index = len(up.spikes)
    neuron, own = state.network.hidden[index].neuron, OwnSpikes.of(state, index)
    if own is None:
        known = potentials(state, index, up.inputs[index], weights) if first is None else first
        up.potentials.append(known)
        up.spikes.append(in_chunks(neuron.forward, *known[:2]))
        up.own.append(None)
        return
    before, n_steps = None if held is None else held.own[index], state.network.n_rows[index]
    passed = own.forward(
        up.inputs[index], weights, lambda inputs: potentials(state, index, inputs, weights), n_steps, before
    )
    up.inputs[index] = passed.inputs
    up.potentials.append(passed.potentials)
    up.spikes.append(passed.spikes)
    up.own.append(passed.held)


def _shared(connection: Connection, up: Upward, neuron: Neuron, n_rows: int) -> SharedRows | None:
    """The rows of the last layer so far, where a connection sums them up and follows their weights; else None."""
    if not connection.follows_weights:
        return None
    slopes = up.spikes[-1].first
    return SharedRows(connection, up.inputs[-1], up.potentials[-1], slopes, n_rows, neuron.threshold_noise)


def _common(up: Upward, weights: WeightMoments) -> Array | None:
    """Variance that sums of the spikes of the last layer so far owe to weights which its rows share."""
    shared = up.shared[-1]
    return None if shared is None else shared.variance(weights)


def _with_common(inputs: Inputs, common: Array | None) -> Inputs:
    """Gathered spikes with variance that rows have in common."""
    if common is None:
        return inputs
    variance, n_spikes = copy_of(inputs.variance), common.shape[1]
    variance[:, :n_spikes] = clip(variance[:, :n_spikes] + common, min=0.0)
    return Inputs(inputs.mean, variance)


def backward(
    state: State,
    up: Upward,
    target: Array,
    weights: list[WeightMoments],
    counts: UpdateCounts,
    evidence: tuple[Array, Derivatives] | None = None,
    step_weight: Array | None = None,
) -> Downward:
    """Backward half of Algorithm 1: activation, then mixing, from the last layer to the first.

    That of the outputs may be known already. Targets of steps count by ``step_weight``, see `Batch`: what comes down
    from a step that has none says nothing.
    """
    network = state.network
    log_z, message = evidence or network.output.evidence(*up.potentials[-1][:2], target, state.power)
    if step_weight is not None:
        message = message.times(step_weight)
    down = [message]
    log_ratios: list[Array] = []
    between: list[BetweenRows | None] = [None]
    for index in range(len(network.hidden) - 1, -1, -1):
        moments, above = up.spikes[index], index + 1
        probability = by_sample(moments.probability, network.sizes[above])
        below = mixing.to_inputs(down[0], weights[above], network.connections[above].n_columns(network.sizes[above]))
        connection, shared = network.connections[above].bound(up.inputs[0].lengths), up.shared[index]
        ratio = connection.log_ratio(below, up.inputs[above], probability)
        between.insert(0, None if shared is None else between_rows(shared, down[0], below, weights[above]))
        if (own := OwnSpikes.of(state, index)) is not None:
            here = up.inputs[index], moments
            message, ratio = own.backward(ratio, here, weights[index], neuron_message, counts)
        else:
            ratio = bound_log_ratio(ratio, counts)
            message = neuron_message(moments, by_sample(ratio, moments.probability.shape[1]))
        log_ratios.insert(0, ratio)
        down.insert(0, message)
    return Downward(sum_over(log_z, axis=1), down, log_ratios, between)


def neuron_message(moments: SpikeMoments, log_ratio: Array) -> Derivatives:
    """Message to the potential of a neuron, given the log-ratio that came down for its spike (eq. 31).

    ``Z = 1 + p (exp(log_ratio) - 1)`` up to a constant, so everything follows from ``p`` and its derivatives;
    ``kappa`` uses the heat equation ``dp/dS = p'' / 2``.
    """
    if is_single(log_ratio):
        return in_chunks(_message_in_single, *moments, log_ratio)
    p, first, second = moments
    odds = expm1(log_ratio)
    lam = odds / (1 + p * odds)
    g, kappa = without_subnormal(lam * first), without_subnormal(-lam * second)
    return Derivatives(g, without_subnormal(g * g + kappa), kappa)


def _message_in_single(p: Array, first: Array, second: Array, log_ratio: Array) -> Derivatives:
    """`neuron_message` in float32, with one function that is not elementary.

    With ``t = tanh(log_ratio / 4)`` the factor of both derivatives is ``t / ((1 - t)^2 / 4 + p t)``, in which nothing
    cancels at log-ratios near 0.
    """
    factor = 0.25 * log_ratio
    np.tanh(factor, out=factor)
    rest = 1 - factor
    rest *= rest
    rest *= 0.25
    g = p * factor
    rest += g
    factor /= rest
    np.multiply(factor, first, out=g)
    factor *= second
    np.negative(factor, out=factor)
    g, kappa = without_subnormal(g), without_subnormal(factor)
    np.multiply(g, g, out=rest)
    rest += kappa
    return Derivatives(g, without_subnormal(rest), kappa)


def log_partition(state: State, last: Potentials, target: Array) -> Array:
    """``log Z`` of each target, summed over the output units, shape (n_targets,)."""
    log_z = state.network.output.log_partition(*last[:2], target, state.power)
    return sum_over(log_z, axis=1)


def predict(state: State, inputs: Inputs, weights: list[WeightMoments]) -> Potentials:
    """Predictive mean and variance of the output potentials: one forward pass (Section V-C)."""
    return forward(state, inputs, weights).potentials[-1]


def predict_spread(state: State, inputs: Inputs, weights: list[WeightMoments]) -> Spread:
    """Split the predictive variance into weight uncertainty and spike noise, in one pass.

    With ``r = E P(spike|u)^2`` the probability that two networks' worth of spikes, drawn with the same weights,
    both fire, ``S_epistemic = sum_j (m^2 + s) r - m^2 p^2`` and ``S_aleatoric = sum_j (m^2 + s) (p - r)``.
    """
    network, up = state.network, forward(state, inputs, weights)
    mean, variance, _ = up.potentials[-1]
    if not up.spikes:
        return Spread(mean, variance, zeros_like(variance))
    noise = up.spikes[-1].probability - network.hidden[-1].neuron.repeat_probability(up.spikes[-1])
    if (shared := up.shared[-1]) is not None:
        noise = shared.sum_of_variances(noise)
    else:
        noise = network.readout.gather_variance(by_sample(noise, network.sizes[-1]))
    last = weights[-1]
    n_spikes = noise.shape[1]
    square = last.mean[:, :n_spikes] ** 2 + last.variance[:, :n_spikes]
    aleatoric = minimum(noise @ square.T, variance)
    return Spread(mean, variance - aleatoric, aleatoric)


def by_sample(values: Array, n_columns: int) -> Array:
    """The same numbers in rows of so many: those of a sample side by side, or one row after another."""
    return values if values.shape[1] == n_columns else reshape(values, (-1, n_columns))


def row_weights(state: State, sample_weight: Array) -> list[Array]:
    """Weight of every row of every layer, shape (n_samples * n_rows,): that of its sample."""
    return [repeat_rows(sample_weight, n_rows) for n_rows in state.network.n_rows]
