"""Natural-gradient steps on mini-batches towards the fixed point of average EP.

A batch of mass ``b`` out of ``N`` stands for all rows: its messages count ``N / b`` times, and the cavity of every
layer is its prior. The means step along the gradient of EP's energy divided by a running average of its curvature, with
momentum and a rate that falls geometrically; the precisions are those of the prior and of a running average of the
sites. With all rows in one batch, no momentum and rate 1 this is a step of `sk_epsnn.ep.newton` with directions that
are not exact, and both have the same fixed points. No step is checked here: `sk_epsnn.ep.stochastic_trainer` does that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sk_epsnn._arrays import Array, astype, clip, concat, total_of, zeros_like
from sk_epsnn.ep import mixing
from sk_epsnn.ep.between_rows import weighted
from sk_epsnn.ep.energy import summed
from sk_epsnn.ep.evidence import kept_share
from sk_epsnn.ep.natural import (
    Averages,
    advanced,
    alike,
    at,
    coordinate,
    direction,
    following,
    mean_change,
    measured,
    over_all_rows,
)
from sk_epsnn.ep.newton import step_curvatures
from sk_epsnn.ep.passes import backward, forward, row_weights
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.ep.state import LayerState, State
from sk_epsnn.ep.steps import mean_cost
from sk_epsnn.messages import Inputs, Potentials, WeightMoments
from sk_epsnn.network import Batch
from sk_epsnn.weights import GaussianWeights, Weights

#: A step of a layer may promise this gain, in nats per unit of weight, at most: what promises more is no longer
#: described by its slope and curvature. (An untrained classifier of ten outputs can gain 10 log 2 = 7.)
MOST_GAIN = 5.0
#: Share of the velocity that a step keeps.
MOMENTUM = 0.9
#: The rate at the end, as a share of the first.
LAST_RATE = 0.1
#: Sites and curvatures are measured in the first batches, and then in every so manieth.
EVERY = 4
#: Measurements that a running average remembers, at the start and at the end.
MEMORY, LAST_MEMORY = 5.0, 20.0
#: The means of this last share of the steps are averaged.
AVERAGED = 0.2
#: A prior that is not Gaussian acts after this share of the steps; before, the Gaussian of its moments does. It makes
#: weights small long before a deep network has found out which it needs, and the signals would die.
GAUSSIAN_SHARE = 0.5
#: Layers of at most so many inputs have one matrix of curvature for all units, unless they are in principal axes ...
SHARED_FAN_IN = 2048
#: ... whose eigenvectors are renewed with every measurement up to so many inputs, else before these steps.
OFTEN_FAN_IN = 256
RARELY = {0, *(EVERY * 4**k for k in range(12))}


@dataclass(frozen=True)
class LayerWalk:
    """Where a layer is on its way.

    Attributes
    ----------
    velocity : array of shape (n_out, n_in)
        Last step, in the coordinates of the family, see `sk_epsnn.ep.natural`.
    averages : Averages or None
        None before the first batch.
    site : array or None
        Site precision that an earlier way has ended with.
    last : array of shape (n_out, n_in) or None
        Average of the coordinates over the last steps so far.
    """

    velocity: Array
    averages: Averages | None = None
    site: Array | None = None
    last: Array | None = None


@dataclass(frozen=True)
class Walk:
    """What the steps remember beside the posterior.

    Attributes
    ----------
    layers : tuple of LayerWalk
    rate : float
        First rate.
    n_steps : int
    n_averaged : int
        Steps whose coordinates are in ``last``.
    passes : float
        Passes over the rows so far.
    energy : (float, float) or None
        What `StochasticTrainer` found at the end of the last pass: energy of all rows in nats, and the size of its
        parts; None where it has to look.
    """

    layers: tuple[LayerWalk, ...]
    rate: float
    n_steps: int = 0
    n_averaged: int = 0
    passes: float = 0.0
    energy: tuple[float, float] | None = None


def begin(state: State, rate: float) -> State:
    """The state at the start of its way; what an earlier way has found out of the precisions is kept."""
    layers = [LayerWalk(zeros_like(layer.posterior.mean), site=_known_site(state, layer)) for layer in state.layers]
    n_steps = 0 if state.mass == 0 else EVERY * int(MEMORY)
    return replace(state, walk=Walk(tuple(layers), rate, n_steps))


def _known_site(state: State, layer: LayerState) -> Array | None:
    """Site precision that the posterior holds; that of discrete weights says little."""
    if state.mass == 0 or layer.posterior.variance_follows_mean:
        return None
    return layer.posterior.precision - layer.prior.precision


def went_on(walk: Walk | None, share: float = 1.0) -> Walk | None:
    """A way that goes on from the end of another, with other rows or at another temperature.

    Its first rate is this share of that of the other: with `LAST_RATE` the one that was its last.
    """
    if walk is None or walk.rate == 0:
        return None
    layers = tuple(replace(way, velocity=zeros_like(way.velocity), last=None) for way in walk.layers)
    return replace(walk, layers=layers, rate=share * walk.rate, n_averaged=0, passes=0.0, energy=None)


class Diverged(ArithmeticError):
    """Numbers are no longer finite."""


def natural_step(state: State, batch: Batch, total_mass: float, n_passes: float) -> tuple[State, float, float]:
    """One step.

    Parameters
    ----------
    state : State
        With a walk.
    batch : Batch
    total_mass : float
        Sum of the weights of all rows, for which the batch stands.
    n_passes : float
        Passes over them that the way takes.

    Returns
    -------
    state : State
    log_z : float
        Summed log evidence of the batch before the step, in nats.
    rate : float
        That of the step.

    Raises
    ------
    Diverged
        If the evidence of the batch is not finite.
    """
    walk, counts = state.walk, replace(state.counts)
    assert walk is not None
    done = min(1.0, walk.passes / n_passes)
    rate = walk.rate * LAST_RATE**done
    weights = state.training_moments(batch.target.dtype)
    share = _share(walk.n_steps, done)
    heard = [_hear(state, block, weights, counts, share is not None) for block in state.network.blocks(batch)]
    evidence = sum(each.evidence for each in heard)
    if not math.isfinite(evidence):
        raise Diverged
    scale = total_mass / batch.mass
    layers, ways = [], []
    for index, (layer, way) in enumerate(zip(state.layers, walk.layers, strict=True)):
        if share is not None:
            new = over_all_rows([each.measured[index] for each in heard], scale)
            layer, way = _with_averages(layer, way, new, share, walk.n_steps)
            if layer.rule is not None and done >= GAUSSIAN_SHARE:
                layer, way = _with_refreshed_prior(layer, way, counts)
        of_rows = scale * sum(each.gradients[index] for each in heard)
        layer, way = _stepped(layer, way, _gradient(layer, way, of_rows), rate, total_mass)
        layers.append(layer)
        ways.append(_averaged(layer, way, walk.n_averaged) if done >= 1 - AVERAGED else way)
    walk = replace(
        walk,
        layers=tuple(ways),
        n_steps=walk.n_steps + 1,
        n_averaged=walk.n_averaged + (done >= 1 - AVERAGED),
        passes=walk.passes + batch.mass / total_mass,
    )
    state = replace(state.with_layers(layers), walk=walk, counts=counts, mass=total_mass)
    return _with_learned_noise(state, batch, [each.last for each in heard]), evidence, rate


class _Heard(NamedTuple):
    """What a block of rows says: everything but the last entry adds up.

    Attributes
    ----------
    evidence : float
        Summed, in nats.
    gradients : list of arrays of shape (n_out, n_in)
        Of the summed evidence in the means of every layer.
    measured : list of Averages
        One per layer; none where nothing is measured.
    last : Potentials
        Of the outputs.
    """

    evidence: float
    gradients: list[Array]
    measured: list[Averages]
    last: Potentials


def _hear(state: State, batch: Batch, weights: list[WeightMoments], counts: UpdateCounts, measures: bool) -> _Heard:
    """Forward and backward through a block of rows, and what comes of it."""
    up = forward(state, batch.inputs, weights)
    log_z, messages, _, between = backward(state, up, batch.target, weights, counts, step_weight=batch.step_weight)
    heard, rows = _Heard(summed(batch, log_z), [], [], up.potentials[-1]), row_weights(state, batch.sample_weight)
    curvatures = step_curvatures(state, messages, batch.step_weight) if measures else []
    for index, (weight, inputs, mean) in enumerate(zip(rows, up.inputs, (part.mean for part in weights), strict=True)):
        message = messages[index].times(weight)
        noise = mixing.spike_noise(message, inputs)
        heard.gradients.append(mixing.mean_gradient(message, inputs, mean, noise))
        if measures:
            curvature, common = weight[:, None] * curvatures[index], weighted(between, index, rows)
            posterior, shares = state.layers[index].posterior, _shares(state, index, inputs)
            heard.measured.append(measured(posterior, message, curvature, inputs, noise, common, shares))
    return heard


def _share(n_steps: int, done: float) -> float | None:
    """Share of the averages that a measurement before this step takes; None where nothing is measured."""
    if n_steps >= EVERY and n_steps % EVERY:
        return None
    # What the first batches say is about the random start, and is forgotten soon.
    return max(1 / (MEMORY + done * (LAST_MEMORY - MEMORY)), 1 / (1 + n_steps // EVERY))


def _shares(state: State, index: int, inputs: Inputs) -> bool:
    """Whether the units of a layer share one matrix of curvature."""
    basis = state.network.basis
    assert basis is not None
    in_principal_axes = index == 0 and basis.rotation is not None and state.network.own_columns(0) is None
    return not in_principal_axes and not inputs.stays_sparse and inputs.mean.shape[1] <= SHARED_FAN_IN


def _with_averages(
    layer: LayerState, way: LayerWalk, new: Averages, share: float, n_steps: int
) -> tuple[LayerState, LayerWalk]:
    """A measurement goes into the averages; the precision follows them."""
    before = way.averages
    if before is None:
        before = new if way.site is None else new._replace(site=way.site)
    averages = before.towards(new, share)
    if averages.axes is None or averages.site.shape[1] <= OFTEN_FAN_IN or n_steps in RARELY:
        averages = averages.turned()
    posterior = following(layer.posterior, layer.prior, averages.site, layer.temperature)
    return replace(layer, posterior=posterior), replace(way, averages=averages)


def _with_refreshed_prior(layer: LayerState, way: LayerWalk, counts: UpdateCounts) -> tuple[LayerState, LayerWalk]:
    """What stands for a prior follows the posterior; a velocity made under a wider one shrinks.

    What moved a weight freely would carry it far beyond what a sharper prior allows.
    """
    before = _own_precision(layer.posterior)
    layer = layer.with_refreshed_prior(counts)
    kept = clip(before / _own_precision(layer.posterior), max=1.0)
    return layer, replace(way, velocity=way.velocity * kept)


def _own_precision(density: Weights) -> Array:
    """Precision of each weight on its own, shape (n_out, n_in), of a Gaussian."""
    assert isinstance(density, GaussianWeights)
    return density.marginals()[0]


def _gradient(layer: LayerState, way: LayerWalk, of_rows: Array) -> Array:
    """Gradient of the energy of all rows in the means, in float64, given that of their evidence."""
    assert way.averages is not None
    cost = mean_cost(layer.posterior, layer.prior, way.averages.site, layer.temperature)
    return astype(of_rows, "float64") - cost


def _stepped(
    layer: LayerState, way: LayerWalk, gradient: Array, rate: float, total_mass: float
) -> tuple[LayerState, LayerWalk]:
    """A step along the natural gradient, with what is left of the velocity."""
    assert way.averages is not None
    towards = direction(layer.posterior, layer.prior, way.averages, gradient)
    promised = total_of(gradient * mean_change(layer.posterior, towards)) / total_mass
    if rate * promised > MOST_GAIN:
        rate = MOST_GAIN / promised
    velocity = MOMENTUM * way.velocity + ((1 - MOMENTUM) * rate) * towards
    return replace(layer, posterior=advanced(layer.posterior, velocity)), replace(way, velocity=velocity)


def _averaged(layer: LayerState, way: LayerWalk, n_averaged: int) -> LayerWalk:
    """The coordinate of a layer goes into the average over so many steps before."""
    here = coordinate(layer.posterior)
    return replace(way, last=here if way.last is None else way.last + (here - way.last) / (n_averaged + 1))


def _with_learned_noise(state: State, batch: Batch, last: Sequence[Potentials]) -> State:
    """The batch, as it was predicted before the step in one block or several, goes into a noise that is learned."""
    if state.noise is None:
        return state
    exponent = kept_share(state.noise.mass, state.mass, batch.mass)
    # In the first pass batches are new, and truly predicted: the evidence of a prediction is the plain one.
    power = 1.0 if exponent == 1 else state.power
    mean, variance = (state.network.output.targeted(concat(parts)) for parts in list(zip(*last, strict=True))[:2])
    noise = state.noise.cavity(exponent).absorb(batch.target - mean, variance, batch.weight, power)
    return state.with_noise(noise)


def arrived(state: State) -> State:
    """The state at the average of its last coordinates."""
    walk = state.walk
    assert walk is not None
    if walk.n_averaged == 0:
        return state
    pairs = zip(state.layers, walk.layers, strict=True)
    return state.with_posteriors([at(layer.posterior, way.last) for layer, way in pairs])


def mean_of(states: Sequence[State], start: State) -> State:
    """Average of states that went apart from one start, in natural parameters; counts add up."""
    first = states[0]
    if len(states) == 1:
        return first
    layers = [_mean_layer(same) for same in zip(*(state.layers for state in states), strict=True)]
    ways = [_mean_way(same) for same in zip(*(state.walk.layers for state in states), strict=True)]
    counts = start.counts
    for state in states:
        counts = counts.plus(state.counts.since(start.counts))
    result = replace(first.with_layers(layers), walk=replace(first.walk, layers=tuple(ways)), counts=counts)
    if first.noise is None:
        return result
    mass, squares = (_mean([getattr(state.noise, name) for state in states]) for name in ("mass", "squares"))
    return result.with_noise(replace(first.noise, mass=mass, squares=squares))


def _mean_layer(layers: Sequence[LayerState]) -> LayerState:
    first = layers[0]
    prior = first.prior if first.rule is None else _mean_density([layer.prior for layer in layers])
    return replace(first, prior=prior, posterior=_mean_density([layer.posterior for layer in layers]))


def _mean_density(densities: Sequence[Weights]) -> Weights:
    precision, shift = (_mean([getattr(density, name) for density in densities]) for name in ("precision", "shift"))
    return densities[0].with_natural(precision, shift)


def _mean_way(ways: Sequence[LayerWalk]) -> LayerWalk:
    parts = zip(*alike([way.averages for way in ways if way.averages is not None]), strict=True)
    averages = Averages(*(_mean(same) for same in list(parts)[:-1])).turned()
    velocity, last = (_mean([getattr(way, name) for way in ways]) for name in ("velocity", "last"))
    return LayerWalk(velocity, averages, last=last)


def _mean(parts: Sequence[Any]) -> Any:
    """Average of arrays or numbers; None if there are none."""
    return None if parts[0] is None else sum(parts[1:], parts[0]) / len(parts)
