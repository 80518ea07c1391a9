"""Lay out an untrained posterior: basis of the inputs, priors, random start, temperatures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import ndtri
from scipy.stats import qmc
from sklearn.utils import gen_batches

from sk_epsnn._arrays import Array, is_all
from sk_epsnn.basis import InputBasis, stays_sparse
from sk_epsnn.course import Rows
from sk_epsnn.ep.design import Design
from sk_epsnn.ep.kernels import Kernels, find_kernels
from sk_epsnn.ep.learned_prior import LearnedVariance
from sk_epsnn.ep.spread import measured
from sk_epsnn.ep.state import KNOWN_VARIANCE_FLOOR, VARIANCE_FLOOR, LayerState, PriorRule, State
from sk_epsnn.network import Network
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.weights import Grid, LevelWeights, find_lattice

#: Spread of the random start, in prior standard deviations, where the prior itself is not anchored.
START_STRENGTH = 0.3
#: Prior variance of what a recurrent layer's own spikes do to a potential, as a share of that of all else, were they
#: to fire at every step.
OWN_SHARE = 0.5


def set_up(network: Network, design: Design, rows: Rows, rng: np.random.RandomState) -> State:
    """State whose posterior is its prior, but for the random start that tells hidden neurons apart.

    Worked out in NumPy, whatever library the rows are of.

    Raises
    ------
    ValueError
        If moments of the prior would overflow, or be lost, when they are squared.
    """
    spikes = network.connections[0].selects and holds_spikes(rows.X)
    # Without hidden layers axes are a matter of speed, and turned rows of words would be dense.
    if design.rotate and len(network.connections) == 1 and stays_sparse(rows.X):
        # Axes of sparse rows would be dense; independent weights of columns say too little of their spread to learn it.
        design = replace(design, rotate=False, learns=None)
    network = network.with_basis(
        rows.X,
        rows.sample_weight,
        rotate=design.rotate,
        center=design.center,
        scaling=design.scaling,
        span=len(network.connections) == 1,
        spikes=spikes,
        # Levels may have a mean other than 0, joint weights take products that sparse rows do not have.
        keep_sparse=design.grid is None and not design.joint[0],
    )
    # What overflows here is refused below.
    with np.errstate(all="ignore"):
        gain = _output_gain(network, design)
        bias = _output_biases(network, design, rows)
        layers: tuple[LayerState, ...] = ()
        for index in range(len(network.connections)):
            if network.connections[index].centered:
                network, square = measured(network, layers, rows)
            else:
                square = design.spike_square
            here, kernels = replace(design, spike_square=square), None
            if network.connections[index].reads_patches:
                kernels = find_kernels(network, layers, rows, rng)
            layers += (_layer(network, here, index, gain, bias, spikes, kernels, rng),)
    # A real output is fine without any variance of its potential.
    bare = len(layers) == 1 and isinstance(network.output, GaussianOutput)
    floor = KNOWN_VARIANCE_FLOOR if bare else VARIANCE_FLOOR
    state = State(network, layers, design.power, gain, floor)
    _refuse_extreme(state, rows.X.dtype)
    return state


def holds_spikes(X: Any) -> bool:
    """Whether every entry is 0 or 1."""
    values = X.data if sparse.issparse(X) else X
    parts = (values[rows, ...] for rows in gen_batches(values.shape[0], 4096))
    return all(is_all(part * part == part) for part in parts)


def _output_gain(network: Network, design: Design) -> float:
    """Factor of the last layer's discrete weights: the one given, or that which gives potentials their variance."""
    if design.grid is None:
        return 1.0
    if design.gain is not None:
        return design.gain
    last = len(network.connections) - 1
    return float(np.sqrt(np.divide(design.output_variance, _potential_variance(network, design, last))))


def _layer(
    network: Network,
    design: Design,
    index: int,
    gain: float,
    bias: Array | None,
    spikes: bool,
    kernels: Kernels | None,
    rng: np.random.RandomState,
) -> LayerState:
    """A layer with its prior and its start."""
    if design.grid is None:
        return _continuous_layer(network, design, index, bias, kernels, rng)
    last = index == len(network.hidden)
    grid = design.grid.times(gain) if last else design.grid
    neuron = network.output if last else network.hidden[index].neuron
    # Potentials are on a lattice if nothing but whole spikes comes in, and no reset.
    whole, connection = index > 0 or spikes, network.connections[index]
    on_lattice = neuron.has_ties and not network.constant and whole and connection.selects
    on_lattice = on_lattice and not connection.is_sequential
    return _discrete_layer(network, design, grid, index, on_lattice, kernels, rng)


def _continuous_layer(
    network: Network,
    design: Design,
    index: int,
    bias: Array | None,
    kernels: Kernels | None,
    rng: np.random.RandomState,
) -> LayerState:
    """Gaussian posterior, starting from the prior or from the Gaussian of the same moments."""
    prior, last = design.prior, index == len(network.hidden)
    if kernels is not None:
        variance, mean = _kernel_start(network, design, index, kernels)
    else:
        variance = _axis_variances(network, design, index)
        mean = np.zeros_like(variance) if last else _random_means(network, design, variance, index, rng)
    if last and bias is not None:
        n_targets = network.n_targets
        variance[:n_targets, -1], mean[:n_targets, -1] = design.bias_variance, bias
        variance[n_targets:, -1] = design.log_noise_variance
    anchored = mean if design.anchor > 0 or last else np.zeros_like(mean)
    learned = None
    if last and design.learns is not None:
        # Whether an output's noise varies says nothing of the others.
        unit = variance if network.output.units_per_target > 1 else variance[:1]
        learned = LearnedVariance(unit, np.ones_like(unit), _has_bias(network, index), design.learns == "each")
    return LayerState(
        prior=prior.density(anchored, variance, design.joint[index]),
        posterior=prior.density(mean, variance, design.joint[index]),
        temperature=design.temperatures[index],
        rule=None if prior.conjugate else PriorRule(prior, np.sqrt(variance), network.constant),
        learned=learned,
        reset=0.0 if last or network.connections[index].n_own else _reset(network, design, index),
    )


def _kernel_start(network: Network, design: Design, index: int, kernels: Kernels) -> tuple[Array, Array]:
    """Prior variances of kernels, and means, which are shapes that occur: so many standard deviations long."""
    strength, n_units, given = _start_strength(design), len(kernels.shapes), design.prior_variances[index]
    if given is None:
        unit, shapes = kernels.variance / strength**2, kernels.shapes
        # A share of the potentials' variance, where they have any.
        bias: Any = design.bias_share * float((kernels.patches**2 @ unit).mean()) or 1.0
    else:
        unit, bias = _unit_variances(network, design, index, given, 1.0)[: kernels.shapes.shape[1]], given
        shapes = kernels.shapes * (strength * np.sqrt(unit.sum() / (kernels.shapes**2).sum(axis=1)))[:, None]
    variance = np.tile(unit, (n_units, 1))
    if not network.constant:
        return variance, shapes
    bias = np.full(n_units, bias)
    biases = kernels.biases(shapes, design.temperatures[index] * variance, design.temperatures[index] * bias)
    return np.column_stack([variance, bias]), np.column_stack([shapes, biases])


def _reset(network: Network, design: Design, index: int) -> float:
    """Reset of a hidden layer in units of its potentials; the neurons' is in prior standard deviations of these."""
    reset = network.hidden[index].neuron.reset
    if reset == 0:
        return 0.0
    if design.grid is not None:
        return float(reset * np.sqrt(_potential_variance(network, design, index)))
    variances = _unit_variances(network, design, index, design.prior_variances[index], design.hidden_variance)
    has_bias = _has_bias(network, index)
    size = _basis(network).second_moment if index == 0 else np.full(len(variances) - has_bias, design.spike_square)
    return float(reset * np.sqrt(variances @ np.append(size, np.ones(int(has_bias)))))


def _has_bias(network: Network, index: int) -> bool:
    """Whether the last weight of a unit is its bias: inputs that are turned together with the constant have none."""
    return network.constant if index > 0 else _basis(network).constant


def _output_biases(network: Network, design: Design, rows: Rows) -> Array | None:
    """Biases of the outputs at which they fire as often as in the rows, shape (n_targets,)."""
    if design.bias_variance is None or not _has_bias(network, len(network.hidden)):
        return None
    target, weight = rows.known()
    share = weight @ (target > 0)
    # A row that is half of each class, so that there is some of each.
    return network.output.potential_of((share + 0.5) / (rows.mass + 1))


def _discrete_layer(
    network: Network,
    design: Design,
    grid: Grid,
    index: int,
    on_lattice: bool,
    kernels: Kernels | None,
    rng: np.random.RandomState,
) -> LayerState:
    """Posterior on a grid of levels, with a Gaussian bias that may outweigh what the weights add to a potential."""
    shape, basis = (network.connections[index].n_units, network.fan_ins[index]), _basis(network)
    last = index == len(network.hidden)
    precision = np.zeros(shape)
    start = np.zeros(shape)
    if network.constant:
        given = design.prior_variances[index]
        spread = _potential_variance(network, replace(design, grid=grid), index)
        precision[:, -1] = np.divide(1, design.bias_share * spread if given is None else given)
    if kernels is not None:
        size = np.sqrt((kernels.shapes**2).mean(axis=1, keepdims=True))
        start[:, : kernels.shapes.shape[1]] = _start_strength(design) / np.sqrt(grid.variance) * kernels.shapes / size
    elif not last:
        start = _start_strength(design) / np.sqrt(grid.variance) * _even_normals(shape, basis, index, rng)
    begin = LevelWeights(precision, start, grid.levels, grid.log_probabilities, network.constant)
    if network.constant and kernels is not None:
        n, t = kernels.shapes.shape[1], design.temperatures[index]
        biases = kernels.biases(begin.mean[:, :n], t * begin.variance[:, :n], t * begin.variance[:, -1])
        start[:, -1] = precision[:, -1] * biases
        begin = begin.with_natural(precision, start)
    elif network.constant and not last:
        center = np.append(basis.mean, 0) if index == 0 else np.append(np.full(shape[1] - 1, _half(network, index)), 0)
        start[:, -1] = -precision[:, -1] * (begin.mean @ center)
        begin = begin.with_natural(precision, start)
    flat = begin.with_natural(precision, np.zeros(shape))
    return LayerState(
        prior=begin if design.anchor > 0 else flat,
        posterior=begin,
        temperature=design.temperatures[index],
        lattice=find_lattice(grid.levels) if on_lattice else None,
        reset=0.0 if last else _reset(network, design, index),
    )


def _basis(network: Network) -> InputBasis:
    """Coordinates of what enters the first layer."""
    assert network.basis is not None
    return network.basis


def _half(network: Network, index: int) -> float:
    """What a layer reads of neurons below that fire half of the time."""
    return 0.0 if network.connections[index].centered else 0.5


def _potential_variance(network: Network, design: Design, index: int) -> float:
    """Prior variance of a potential of discrete weights, averaged over the data."""
    assert design.grid is not None
    n_spikes = network.fan_ins[index] - network.constant
    size = float(_basis(network).second_moment.sum()) if index == 0 else design.spike_square * n_spikes
    return size * design.grid.variance


def _axis_variances(network: Network, design: Design, index: int) -> Array:
    """Prior variance of each weight of a layer, shape (n_units, fan_in)."""
    value, n_units = design.prior_variances[index], network.connections[index].n_units
    if index < len(network.hidden):
        variances = np.tile(_unit_variances(network, design, index, value, design.hidden_variance), (n_units, 1))
        automatic = OWN_SHARE * design.hidden_variance / design.prior.active_share / n_units
        own = np.full((n_units, network.connections[index].n_own), automatic if value is None else value)
        return _with_own(network, index, variances, own)
    means = np.tile(_unit_variances(network, design, index, value, design.output_variance), (network.n_targets, 1))
    noises = _unit_variances(network, design, index, None, design.log_noise_variance)
    return np.vstack([means, np.tile(noises, (n_units - network.n_targets, 1))])


def _unit_variances(
    network: Network, design: Design, index: int, value: float | None, potential_variance: float
) -> Array:
    """Prior variance of each weight of a unit, shape (fan_in,), given that of a weight or of the potential."""
    fan_in = network.fan_ins[index] - network.connections[index].n_own
    potential_variance = potential_variance / design.prior.active_share
    if index == 0:
        exponent, floor = design.spectral_exponent, design.spectral_floor
        return _basis(network).prior_variances(value, exponent, potential_variance, design.bias_share, floor)
    if value is not None:
        return np.full(fan_in, value)
    if not network.connections[index].centered:
        # Spikes of probability about 1/2: half of the inputs contribute.
        return np.full(fan_in, 2 * potential_variance / fan_in)
    n_traces, bias = fan_in - network.constant, design.bias_share * potential_variance * network.constant
    variances = np.full(n_traces, (potential_variance - bias) / (design.spike_square * n_traces))
    return np.append(variances, [bias] * network.constant)


def _random_means(network: Network, design: Design, variance: Array, index: int, rng: np.random.RandomState) -> Array:
    """Random means for a hidden layer, with biases that let each unit fire for about half of the data."""
    basis, columns, reset = _basis(network), network.own_columns(index), _reset(network, design, index)
    variance, of_own = _without_own(variance, columns)
    mean = _start_strength(design) * np.sqrt(variance) * _even_normals(variance.shape, basis, index, rng)
    own = _start_strength(design) * np.sqrt(of_own) * _own_normals(of_own.shape, rng) - reset * np.eye(*of_own.shape)
    # All neurons fire half of the time.
    others = 0.5 * own.sum(1) if columns is not None else -0.5 * reset
    if network.constant and index == 0:
        mean = basis.balance(mean, others)
    elif network.constant:
        mean[:, -1] = -_half(network, index) * mean[:, :-1].sum(1) - others
    return _with_own(network, index, mean, own)


def _with_own(network: Network, index: int, others: Array, own: Array) -> Array:
    """What there is for every weight, of which those for the layer's own spikes have columns before the constant."""
    columns = network.own_columns(index)
    if columns is None:
        return others
    return np.hstack([others[:, : columns.start], own, others[:, columns.start :]])


def _without_own(values: Array, columns: slice | None) -> tuple[Array, Array]:
    """The columns of the inputs and the constant, and those of the layer's own spikes."""
    if columns is None:
        return values, values[:, :0]
    return np.delete(values, columns, axis=1), values[:, columns]


def _own_normals(shape: tuple[int, int], rng: np.random.RandomState) -> Array:
    """Standard normal numbers for the weights of a layer's own spikes."""
    return _sobol_normals(shape, rng) if shape[1] else np.zeros(shape)


def _start_strength(design: Design) -> float:
    """Size of the random start of hidden layers, in prior standard deviations."""
    return design.anchor if design.anchor > 0 else START_STRENGTH


def _even_normals(shape: tuple[int, int], basis: InputBasis, index: int, rng: np.random.RandomState) -> Array:
    """Standard normal numbers for one layer's weights, 0 on the axes along which the inputs do not vary.

    Such axes are arbitrary: nothing random may depend on them.
    """
    normals = _sobol_normals(shape, rng)
    if index == 0:
        normals[:, : len(basis.varies)][:, ~basis.varies] = 0
    return normals


def _sobol_normals(shape: tuple[int, int], rng: np.random.RandomState) -> Array:
    """Standard normal numbers whose rows cover the space evenly, the first columns best (scrambled Sobol points).

    Hidden units so spread depend less on the seed than independent draws do.
    """
    n_units, n_axes = shape
    generator = np.random.default_rng(rng.randint(2**31))
    if n_axes > qmc.Sobol.MAXDIM:
        return generator.standard_normal(shape)
    points = qmc.Sobol(n_axes, scramble=True, rng=generator).random_base2(int(np.ceil(np.log2(n_units))))[:n_units]
    # Scrambled points lie strictly inside the cube but for rounding.
    return ndtri(np.clip(points, 1e-12, 1 - 1e-12))


def _refuse_extreme(state: State, dtype: Any) -> None:
    """Refuse priors whose moments would overflow, or be lost, when they are squared."""
    dtype = np.dtype(str(dtype).split(".")[-1])
    limit = largest_to_square(float(np.finfo(dtype).max))
    moments = zip(state.training_moments(dtype), state.layers, strict=True)
    for (mean, variance, _), layer in moments:
        if not ((abs(mean) < limit) & (variance < limit) & (variance > 1 / limit)).all() or layer.reset > limit:
            raise ValueError(
                f"The prior of the weights is out of the range of {dtype} arithmetic for these inputs; bring variance, "
                "anchor or spectral_exponent of the prior, temperature of inference, values or gain of Levels, or "
                "reset of neurons closer to 1."
            )


def largest_to_square(largest: float) -> float:
    """Size below which squares stay within numbers up to the largest of a type, with room for sums of them."""
    return largest**0.45
