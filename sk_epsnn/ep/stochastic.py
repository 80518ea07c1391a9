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
from functools import singledispatch
from typing import Any, NamedTuple

from sk_epsnn._arrays import Array, astype, clip, diagonal, eigenvectors, is_any, smallest_normal, solve, sqrt, sum_over, total_of, zeros_like
from sk_epsnn.ep import mixing
from sk_epsnn.ep.newton import step_curvature
from sk_epsnn.ep.passes import backward, forward, row_weights
from sk_epsnn.ep.sites import UpdateCounts, bound_precision
from sk_epsnn.ep.state import LayerState, State
from sk_epsnn.ep.steps import mean_cost, mean_curvature, moved, with_site
from sk_epsnn.messages import Derivatives, Inputs, Potentials, WeightMoments
from sk_epsnn.network import Batch
from sk_epsnn.weights import JointWeights, LevelWeights, Weights

#: A step of a layer may promise this gain, in nats per unit of weight, at most: what promises more is no longer
#: described by its slope and curvature. (An untrained classifier of ten outputs can gain 10 log 2 = 7.)
MOST_GAIN = 5.0
#: Longest step of a discrete weight, in log-odds between the extreme levels.
LOG_ODDS = 1.0
FREE = 0.1
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
#: Layers of at most so many inputs have one matrix of curvature for all units, unless they are in principal axes ...
SHARED_FAN_IN = 1024
#: ... whose eigenvectors are renewed with every measurement up to so many inputs, else before these steps.
OFTEN_FAN_IN = 256
RARELY = {0, *(EVERY * 4**k for k in range(12))}


class Averages(NamedTuple):
    """Running averages of what batches say of one layer, scaled to all rows.

    Attributes
    ----------
    site : array of shape (n_out, n_in), or (n_out, n_in, n_in) if joint
        Summed precision of the messages to the weights.
    curvature : array of shape (n_out, n_in), (n_out, 1) or (n_out, n_in, n_in), or None
        That of the energy in each mean, or with a shared matrix its size in each unit, or matrices if joint; None
        where it is the site precision.
    noise : array of shape (n_out, n_in) or float
        With a shared matrix: what uncertain spikes add to the curvature.
    shared : array of shape (n_in, n_in) or None
        Matrix of curvature of all units: the second moment of the inputs in rows that count by their curvature, of
        mass 1. Spikes are correlated and not centred, so a diagonal would not do.
    """

    site: Array
    curvature: Array | None
    noise: Array | float = 0.0
    shared: Array | None = None

    def towards(self, new: Averages, share: float) -> Averages:
        """The averages when a measurement takes this share of them."""
        pairs = zip(self, new, strict=True)
        return Averages(*(None if a is None else a + share * (b - a) for a, b in pairs))


@dataclass(frozen=True)
class LayerWalk:
    """Where a layer is on its way.

    Attributes
    ----------
    velocity : array of shape (n_out, n_in)
        Last step, in the coordinates of the family: see `direction`.
    averages : Averages or None
        None before the first batch.
    site : array or None
        Site precision that an earlier way has ended with.
    axes : (array, array) or None
        Eigenvalues and eigenvectors of the shared matrix.
    last : array of shape (n_out, n_in) or None
        Average of the coordinates over the last steps so far.
    """

    velocity: Array
    averages: Averages | None = None
    site: Array | None = None
    axes: tuple[Array, Array] | None = None
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
    """

    layers: tuple[LayerWalk, ...]
    rate: float
    n_steps: int = 0
    n_averaged: int = 0
    passes: float = 0.0


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


@singledispatch
def coordinate(posterior: Weights) -> Array:
    """What the steps move, shape (n_out, n_in): the means of Gaussian weights, on levels their natural parameter."""
    return posterior.mean


@coordinate.register
def _(posterior: LevelWeights) -> Array:
    return posterior.shift


@singledispatch
def advanced(posterior: Weights, change: Array) -> Weights:
    """Density whose coordinate has changed, the precision as it was; on levels by a limited change."""
    return moved(posterior, change)


@advanced.register
def _(posterior: LevelWeights, change: Array) -> LevelWeights:
    width = posterior.levels[-1] - posterior.levels[0]
    change = astype(change, change.dtype)
    n = posterior.n_discrete
    change[:, :n] = clip(change[:, :n], -LOG_ODDS / width, LOG_ODDS / width)
    return posterior.with_natural(posterior.precision, posterior.shift + change)


@singledispatch
def at(posterior: Weights, coordinates: Array) -> Weights:
    """Density at other coordinates, the precision as it was."""
    return type(posterior)(posterior.precision, coordinates)


@at.register
def _(posterior: LevelWeights, coordinates: Array) -> LevelWeights:
    return posterior.with_natural(posterior.precision, coordinates)


@singledispatch
def measured(
    posterior: Weights, message: Derivatives, curvature: Array, inputs: Inputs, scale: float, shares: bool
) -> Averages:
    """What a batch says of the site precision and of the curvature of a layer, ``scale`` times.

    Parameters
    ----------
    posterior : Weights
    message : Derivatives of shape (n_rows, n_out)
    curvature : array of shape (n_rows, n_out)
        In each potential, not negative.
    inputs : Inputs
    scale : float
    shares : bool
        Whether all units share one matrix of curvature; else it is diagonal.
    """
    noise = scale * mixing.spike_noise(message, inputs)
    site = bound_precision(scale * message.gamma.T @ inputs.square + noise, UpdateCounts())
    if not shares:
        return Averages(site, scale * curvature.T @ inputs.square + noise)
    by_unit, by_row = sum_over(curvature, axis=0), sum_over(curvature, axis=1)
    weight = by_row / clip(sum_over(by_row), min=smallest_normal(by_row))
    shared = (inputs.mean * weight[:, None]).T @ inputs.mean
    return Averages(site, scale * by_unit[:, None], noise, shared)


@measured.register
def _(
    posterior: JointWeights, message: Derivatives, curvature: Array, inputs: Inputs, scale: float, shares: bool
) -> Averages:
    noise, gamma = mixing.spike_noise(message, inputs), clip(message.gamma, min=0.0)
    site = scale * mixing.joint_site_precision(gamma, inputs, noise)
    if not is_any(curvature != gamma):
        return Averages(site, None)
    return Averages(site, scale * mixing.joint_site_precision(curvature, inputs, noise))


@singledispatch
def direction(posterior: Weights, cavity: Weights, walk: LayerWalk, gradient: Array) -> Array:
    """Gradient of the energy divided by its curvature, in the coordinates of the family.

    With a shared matrix ``A`` and curvatures ``k`` of the weights' own, ``k^(-1/2) (I + A / k)^(-1) k^(-1/2)`` takes the
    place of the inverse of ``diag(k) + A``, where the inner ``k`` is the same for all weights of a unit.
    """
    return _preconditioned(mean_curvature(posterior, cavity), walk, gradient)


@direction.register
def _(posterior: JointWeights, cavity: JointWeights, walk: LayerWalk, gradient: Array) -> Array:
    curvature = None if walk.averages is None else walk.averages.curvature
    if curvature is None:
        return (posterior.covariance @ gradient[:, :, None])[:, :, 0]
    return solve(mean_curvature(posterior, cavity) + curvature, gradient[:, :, None])[:, :, 0]


@direction.register
def _(posterior: LevelWeights, cavity: LevelWeights, walk: LayerWalk, gradient: Array) -> Array:
    towards = _preconditioned(mean_curvature(posterior, cavity), walk, gradient) / posterior.variance
    if walk.axes is None:
        return towards
    width = posterior.levels[-1] - posterior.levels[0]
    free = posterior.variance / (posterior.variance + FREE * width * width / 4)
    square = diagonal(walk.averages.shared) * walk.averages.curvature + walk.averages.noise
    return free * towards + (1 - free) * gradient / (1 + posterior.variance * square)


def _preconditioned(own: Array, walk: LayerWalk, gradient: Array) -> Array:
    averages = walk.averages
    assert averages is not None
    if walk.axes is None:
        return gradient / (own + averages.curvature)
    moments, axes = walk.axes
    size = 1 / sqrt(own + averages.noise)
    mean_square = sum_over(size * size, axis=1, keepdims=True) / size.shape[1]
    # The products in the precision of the data, which is enough for a direction.
    along = astype(size * gradient, axes.dtype) @ axes
    shrunk = along / (1 + mean_square * averages.curvature * clip(moments, min=0.0))
    return size * (astype(shrunk, axes.dtype) @ axes.T)


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
    weights = state.moments(batch.target.dtype)
    up = forward(state, batch.inputs, weights)
    log_z, messages, _ = backward(state, up, batch.target, weights, counts)
    evidence = total_of(batch.sample_weight * log_z)
    if not math.isfinite(evidence):
        raise Diverged
    scale = total_mass / batch.mass
    layers, walks = [], []
    averaging = done >= 1 - AVERAGED
    assert state.network.basis is not None
    rotated = state.network.basis.rotation is not None
    for index, weight in enumerate(row_weights(state, batch.sample_weight)):
        layer, way, message, inputs = state.layers[index], walk.layers[index], messages[index], up.inputs[index]
        if walk.n_steps < EVERY or walk.n_steps % EVERY == 0:
            curvature = weight[:, None] * step_curvature(message, hidden=index < len(messages) - 1)
            share = max(1 / (MEMORY + done * (LAST_MEMORY - MEMORY)), 1 / (1 + walk.n_steps // EVERY))
            shares = inputs.mean.shape[1] <= SHARED_FAN_IN and (index > 0 or not rotated)
            new = measured(layer.posterior, message.times(weight), curvature, inputs, scale, shares)
            layer, way = _with_averages(layer, way, new, share, counts, walk.n_steps)
        gradient = _gradient(layer, way, message.times(weight), inputs, weights[index], scale)
        way = _stepped(layer, way, gradient, rate, total_mass)
        layer = replace(layer, posterior=advanced(layer.posterior, way.velocity))
        if averaging:
            way = _averaged(layer, way, walk.n_averaged)
        layers.append(layer)
        walks.append(way)
    walk = Walk(tuple(walks), walk.rate, walk.n_steps + 1, walk.n_averaged + averaging, walk.passes + batch.mass / total_mass)
    state = replace(state.with_layers(layers), walk=walk, counts=counts, mass=total_mass)
    return _with_learned_noise(state, batch, up.potentials[-1]), evidence, rate


def _with_averages(
    layer: LayerState, way: LayerWalk, new: Averages, share: float, counts: UpdateCounts, n_steps: int
) -> tuple[LayerState, LayerWalk]:
    """A measurement goes into the averages; the precision follows them, and so does what stands for a prior."""
    before = way.averages
    if before is None:
        before = new if way.site is None else new._replace(site=way.site)
    averages = before.towards(new, share)
    axes = way.axes
    if averages.shared is not None and (averages.shared.shape[0] <= OFTEN_FAN_IN or n_steps in RARELY):
        axes = eigenvectors(averages.shared)
    posterior = with_site(layer.posterior, layer.prior, averages.site, layer.temperature, 1.0)
    layer, velocity = replace(layer, posterior=posterior), way.velocity
    if layer.rule is not None:
        layer = layer.with_refreshed_prior(counts)
        # What moves a weight freely would carry it far beyond what a sharper prior allows.
        velocity = velocity * clip(posterior.marginals()[0] / layer.posterior.marginals()[0], max=1.0)
    return layer, replace(way, averages=averages, axes=axes, velocity=velocity)


def _gradient(
    layer: LayerState, way: LayerWalk, message: Derivatives, inputs: Inputs, weights: WeightMoments, scale: float
) -> Array:
    """Gradient of the energy of all rows in the means, in float64."""
    assert way.averages is not None
    noise = mixing.spike_noise(message, inputs)
    gradient = astype(scale * mixing.mean_gradient(message, inputs, weights.mean, noise), "float64")
    return gradient - mean_cost(layer.posterior, layer.prior, way.averages.site, layer.temperature)


def _stepped(layer: LayerState, way: LayerWalk, gradient: Array, rate: float, total_mass: float) -> LayerWalk:
    towards = direction(layer.posterior, layer.prior, way, gradient)
    promised = total_of(gradient * towards) / total_mass
    if rate * promised > MOST_GAIN:
        rate = MOST_GAIN / promised
    return replace(way, velocity=MOMENTUM * way.velocity + ((1 - MOMENTUM) * rate) * towards)


def _averaged(layer: LayerState, way: LayerWalk, n_averaged: int) -> LayerWalk:
    """The coordinate of a layer goes into the average over so many steps before."""
    here = coordinate(layer.posterior)
    return replace(way, last=here if way.last is None else way.last + (here - way.last) / (n_averaged + 1))


def _with_learned_noise(state: State, batch: Batch, last: Potentials) -> State:
    """The batch, as it was predicted before the step, goes into a noise that is learned."""
    if state.noise is None:
        return state
    mass = batch.mass
    exponent = min(1.0, max(state.mass - mass, 0.0) / state.noise.mass) if state.noise.mass > 0 else 0.0
    # In the first pass batches are new, and truly predicted: the evidence of a prediction is the plain one.
    power = 1.0 if exponent == 1 else state.power
    noise = state.noise.cavity(exponent).absorb(batch.target - last.mean, last.variance, batch.sample_weight, power)
    return replace(state.with_noise_variance(noise.variance), noise=noise)


def arrived(state: State) -> State:
    """The state at the average of its last coordinates."""
    walk = state.walk
    assert walk is not None
    if walk.n_averaged == 0:
        return state
    pairs = zip(state.layers, walk.layers, strict=True)
    return state.with_posteriors([at(layer.posterior, way.last) for layer, way in pairs])


def mean_of(states: Sequence[State]) -> State:
    """Average of states that went apart from one start, with the counts of all of them."""
    first, n = states[0], len(states)
    if n == 1:
        return first

    def mean(*parts: Any) -> Any:
        return None if parts[0] is None else sum(parts[1:], parts[0]) / n

    layers, walks = [], []
    for same in zip(*(state.layers for state in states), strict=True):
        prior = same[0].prior if same[0].rule is None else _mean_density([layer.prior for layer in same])
        layers.append(replace(same[0], prior=prior, posterior=_mean_density([layer.posterior for layer in same])))
    for ways in zip(*(state.walk.layers for state in states), strict=True):
        averages = Averages(*map(mean, *(way.averages for way in ways)))
        axes = None if averages.shared is None else eigenvectors(averages.shared)
        velocity, last = mean(*(way.velocity for way in ways)), mean(*(way.last for way in ways))
        walks.append(LayerWalk(velocity, averages, None, axes, last))
    state = replace(first.with_layers(layers), walk=replace(first.walk, layers=tuple(walks)))
    if state.noise is not None:
        squares = mean(*(other.noise.squares for other in states))
        noise = replace(state.noise, squares=squares, mass=mean(*(other.noise.mass for other in states)))
        state = replace(state.with_noise_variance(noise.variance), noise=noise)
    return state


def _mean_density(densities: Sequence[Weights]) -> Weights:
    n = len(densities)
    precision, shift = (sum(parts[1:], parts[0]) / n for parts in ([q.precision for q in densities], [q.shift for q in densities]))
    return densities[0].with_natural(precision, shift)
