"""Lay out an untrained network: basis, priors, starting posteriors, temperatures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from sk_epsnn._arrays import Array
from sk_epsnn.basis import InputBasis
from sk_epsnn.network import Layer, Network, PriorRule
from sk_epsnn.neurons import Neuron as HiddenActivation
from sk_epsnn.outputs import Output
from sk_epsnn.priors import WeightPrior
from sk_epsnn.weights import LevelWeights, find_lattice

#: Spread of the random start, in prior standard deviations, where the prior itself is not anchored.
START_STRENGTH = 0.3


@dataclass(frozen=True)
class Grid:
    """Levels that discrete weights may take.

    Attributes
    ----------
    levels : array of shape (n_levels,)
        Ascending.
    log_probabilities : array of shape (n_levels,)
    """

    levels: Array
    log_probabilities: Array

    @property
    def variance(self) -> float:
        """Prior variance of a weight."""
        probabilities = np.exp(self.log_probabilities)
        mean = probabilities @ self.levels
        return float(probabilities @ (self.levels - mean) ** 2)

    def times(self, gain: float) -> Grid:
        """Levels multiplied by a positive number."""
        return replace(self, levels=gain * self.levels)


@dataclass(frozen=True)
class Layout:
    """Resolved settings of a network, one entry per layer of weights where a list.

    Attributes
    ----------
    widths : list of int
        Units of every layer, the output included.
    prior_variances : list of float or None
        Variance of a weight (for a prior with a shape of its own: the square of its unit); None scales it to the data.
    temperatures : list of float
    anchor : float
        Size of the random prior means of hidden layers, in prior standard deviations.
    spectral_exponent, spectral_floor, bias_share, hidden_variance, output_variance : float
    joint : list of bool
        Whether a layer's weights get a joint Gaussian per unit.
    power : float
    grid : Grid or None
        For discrete weights.
    spiking_inputs : bool
        Whether every input is 0 or 1.
    readout_gain : float
        Common factor of the last layer's discrete weights; 1 for continuous ones.
    """

    widths: list[int]
    prior_variances: list[float | None]
    temperatures: list[float]
    anchor: float
    spectral_exponent: float
    spectral_floor: float
    bias_share: float
    hidden_variance: float
    output_variance: float
    joint: list[bool]
    power: float
    grid: Grid | None
    spiking_inputs: bool
    readout_gain: float


def build_network(
    layout: Layout,
    basis: InputBasis,
    prior: WeightPrior,
    hidden: list[HiddenActivation],
    output: Output,
    constant: bool,
    rng: np.random.RandomState,
) -> Network:
    """Network whose posterior is its prior, but for the random start that breaks the symmetry of hidden units."""
    layers: list[Layer] = []
    fan_in = basis.n_axes
    neurons = [*hidden, output]
    for index, width in enumerate(layout.widths):
        shape = width, fan_in
        if layout.grid is None:
            layers.append(_continuous_layer(layout, basis, prior, shape, index, constant, rng))
        else:
            layers.append(_discrete_layer(layout, basis, neurons[index].has_ties, shape, index, constant, rng))
        fan_in = width + constant
    return Network(layers, hidden, output, constant, layout.power)


def _continuous_layer(
    layout: Layout,
    basis: InputBasis,
    prior: WeightPrior,
    shape: tuple[int, int],
    index: int,
    constant: bool,
    rng: np.random.RandomState,
) -> Layer:
    """Gaussian posterior, starting from the prior or from the Gaussian of the same moments."""
    last = index == len(layout.widths) - 1
    variance = np.tile(_axis_variances(layout, basis, index, shape[1]), (shape[0], 1))
    mean = np.zeros_like(variance) if last else _random_means(layout, basis, variance, index, constant, rng)
    anchored = mean if layout.anchor > 0 else np.zeros_like(mean)
    joint = layout.joint[index]
    return Layer(
        prior=prior.density(anchored, variance, joint),
        posterior=prior.density(mean, variance, joint),
        temperature=layout.temperatures[index],
        rule=None if prior.conjugate else PriorRule(prior, np.sqrt(variance), constant),
    )


def _discrete_layer(
    layout: Layout,
    basis: InputBasis,
    has_ties: bool,
    shape: tuple[int, int],
    index: int,
    constant: bool,
    rng: np.random.RandomState,
) -> Layer:
    """Posterior on a grid of levels, with a Gaussian bias that may outweigh what the weights add to a potential."""
    last = index == len(layout.widths) - 1
    assert layout.grid is not None
    grid = layout.grid.times(layout.readout_gain) if last else layout.grid
    precision = np.zeros(shape)
    start = np.zeros(shape)
    if constant:
        given = layout.prior_variances[index]
        spread = _potential_variance(grid, basis, index, shape[1] - 1)
        precision[:, -1] = np.divide(1, layout.bias_share * spread if given is None else given)
    if not last:
        start = _start_strength(layout) / np.sqrt(grid.variance) * _even_normals(shape, basis, index, rng)
    levels, log_probabilities = tuple(grid.levels.tolist()), tuple(grid.log_probabilities.tolist())
    begin = LevelWeights(precision, start, levels, log_probabilities, constant)
    if constant and not last:
        center = np.append(basis.mean, 0) if index == 0 else np.append(np.full(shape[1] - 1, 0.5), 0)
        start[:, -1] = -precision[:, -1] * (begin.mean @ center)
        begin = begin.with_natural(precision, start)
    flat = begin.with_natural(precision, np.zeros(shape))
    # Potentials are on a lattice if nothing but whole spikes comes in.
    on_lattice = has_ties and not constant and (index > 0 or layout.spiking_inputs)
    return Layer(
        prior=begin if layout.anchor > 0 else flat,
        posterior=begin,
        temperature=layout.temperatures[index],
        lattice=find_lattice(grid.levels) if on_lattice else None,
    )


def _potential_variance(grid: Grid, basis: InputBasis, index: int, n_inputs: int) -> float:
    """Prior variance of a potential of discrete weights, averaged over the data; hidden spikes fire half the time."""
    size = float(basis.second_moment.sum()) if index == 0 else 0.5 * n_inputs
    return size * grid.variance


def automatic_gain(layout: Layout, basis: InputBasis) -> float:
    """Factor on the last layer's discrete weights that gives output potentials their prior variance."""
    index = len(layout.widths) - 1
    n_inputs = layout.widths[-2] if index > 0 else 0
    return float(np.sqrt(np.divide(layout.output_variance, _potential_variance(layout.grid, basis, index, n_inputs))))


def _axis_variances(layout: Layout, basis: InputBasis, index: int, fan_in: int) -> Array:
    """Prior variance of each weight of a unit, shape (fan_in,)."""
    value = layout.prior_variances[index]
    last = index == len(layout.widths) - 1
    potential = layout.output_variance if last else layout.hidden_variance
    if index == 0:
        exponent, floor = layout.spectral_exponent, layout.spectral_floor
        return basis.prior_variances(value, exponent, potential, layout.bias_share, floor)
    # Spikes of probability about 1/2: half of the inputs contribute.
    return np.full(fan_in, 2 * potential / fan_in if value is None else value)


def _random_means(
    layout: Layout, basis: InputBasis, variance: Array, index: int, constant: bool, rng: np.random.RandomState
) -> Array:
    """Random means for a hidden layer, with biases that let each unit fire for about half of the data."""
    mean = _start_strength(layout) * np.sqrt(variance) * _even_normals(variance.shape, basis, index, rng)
    if not constant:
        return mean
    if index == 0:
        return basis.balance(mean)
    mean[:, -1] = -0.5 * mean[:, :-1].sum(1)
    return mean


def _start_strength(layout: Layout) -> float:
    """Size of the random start of hidden layers, in prior standard deviations."""
    return layout.anchor if layout.anchor > 0 else START_STRENGTH


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
