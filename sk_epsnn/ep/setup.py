"""Lay out an untrained posterior: basis of the inputs, priors, random start, temperatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import ndtri
from scipy.stats import qmc
from sklearn.utils import gen_batches

from sk_epsnn._arrays import Array, array_namespace
from sk_epsnn.activations import HiddenActivation, Output
from sk_epsnn.basis import InputBasis, fit_basis
from sk_epsnn.levels import Grid
from sk_epsnn.mixing import find_lattice
from sk_epsnn.network import Layer, Network, PriorRule
from sk_epsnn.priors import WeightPrior
from sk_epsnn.training import Rows
from sk_epsnn.weights import LevelWeights

#: Spread of the random start, in prior standard deviations, where the prior itself is not anchored.
START_STRENGTH = 0.3


@dataclass(frozen=True)
class Design:
    """Everything about a posterior that is decided before the data are looked at, one entry per layer where a tuple.

    Attributes
    ----------
    prior : WeightPrior
        Of continuous weights, and of biases.
    prior_variances : tuple of float or None
        Variance of a weight (for a prior with a shape of its own: the square of its unit); None scales it to the data.
    temperatures : tuple of float
    anchor : float
        Size of the random prior means of hidden layers, in prior standard deviations.
    spectral_exponent, spectral_floor, bias_share, hidden_variance, output_variance : float
        See `InputBasis.prior_variances`; the last two are prior variances of potentials.
    joint : tuple of bool
        Whether a layer's weights get a joint Gaussian per unit.
    power : float
        Exponent alpha of power EP.
    grid : Grid or None
        For discrete weights.
    gain : float or None
        Factor of the last layer's discrete weights; None gives output potentials their prior variance.
    rotate : bool
        Whether inputs are turned to their principal axes.
    center : bool or None
        See `fit_basis`.
    """

    prior: WeightPrior
    prior_variances: tuple[float | None, ...]
    temperatures: tuple[float, ...]
    anchor: float
    spectral_exponent: float
    spectral_floor: float
    bias_share: float
    hidden_variance: float
    output_variance: float
    joint: tuple[bool, ...]
    power: float
    grid: Grid | None
    gain: float | None
    rotate: bool
    center: bool | None


@dataclass(frozen=True)
class Structure:
    """Layers of neurons without weights.

    Attributes
    ----------
    widths : tuple of int
        Units of every layer, the output included.
    hidden : tuple of HiddenActivation
    output : Output
    constant : bool
        Whether potentials have a bias.
    """

    widths: tuple[int, ...]
    hidden: tuple[HiddenActivation, ...]
    output: Output
    constant: bool


def set_up(structure: Structure, design: Design, rows: Rows, rng: np.random.RandomState) -> tuple[InputBasis, Network]:
    """Basis of the inputs, and the network whose posterior is its prior but for the random start.

    Worked out in NumPy, whatever library the rows are of.

    Raises
    ------
    ValueError
        If moments of the prior would overflow, or be lost, when they are squared.
    """
    spikes = holds_spikes(rows.X)
    basis = fit_basis(
        rows.X,
        rows.sample_weight,
        rotate=design.rotate,
        center=design.center,
        constant=structure.constant,
        rescale=design.grid is None,
        spikes=spikes,
    )
    # What overflows here is refused below.
    with np.errstate(all="ignore"):
        layers = _layers(structure, design, basis, spikes, rng)
    network = Network(layers, list(structure.hidden), structure.output, structure.constant, design.power)
    _refuse_extreme(network, rows.X.dtype)
    return basis, network


def holds_spikes(X: Any) -> bool:
    """Whether every entry is 0 or 1."""
    values, xp = X.data if sparse.issparse(X) else X, array_namespace(X)
    parts = (values[rows, ...] for rows in gen_batches(values.shape[0], 4096))
    return all(bool(xp.all(part * part == part)) for part in parts)


def output_gain(structure: Structure, design: Design, basis: InputBasis) -> float:
    """Factor of the last layer's discrete weights: the one given, or that which gives potentials their variance."""
    if design.grid is None:
        return 1.0
    if design.gain is not None:
        return design.gain
    index = len(structure.widths) - 1
    n_inputs = structure.widths[-2] if index > 0 else 0
    return float(np.sqrt(np.divide(design.output_variance, _potential_variance(design.grid, basis, index, n_inputs))))


def _layers(
    structure: Structure, design: Design, basis: InputBasis, spikes: bool, rng: np.random.RandomState
) -> list[Layer]:
    """Every layer with its prior and its start."""
    layers: list[Layer] = []
    fan_in, last = basis.n_axes, len(structure.widths) - 1
    for index, (width, neuron) in enumerate(zip(structure.widths, [*structure.hidden, structure.output], strict=True)):
        place = _Place(index, (width, fan_in), index == last, structure.constant)
        if design.grid is None:
            layers.append(_continuous_layer(design, basis, place, rng))
        else:
            grid = design.grid.times(output_gain(structure, design, basis)) if place.last else design.grid
            # Potentials are on a lattice if nothing but whole spikes comes in.
            on_lattice = neuron.has_ties and not place.constant and (index > 0 or spikes)
            layers.append(_discrete_layer(design, grid, basis, place, on_lattice, rng))
        fan_in = width + structure.constant
    return layers


@dataclass(frozen=True)
class _Place:
    """Where a layer is: its index, the shape of its weights, whether it is the last, whether it has biases."""

    index: int
    shape: tuple[int, int]
    last: bool
    constant: bool


def _continuous_layer(design: Design, basis: InputBasis, place: _Place, rng: np.random.RandomState) -> Layer:
    """Gaussian posterior, starting from the prior or from the Gaussian of the same moments."""
    n_units, fan_in = place.shape
    prior, index = design.prior, place.index
    variance = np.tile(_axis_variances(design, basis, place, fan_in), (n_units, 1))
    mean = np.zeros_like(variance) if place.last else _random_means(design, basis, variance, place, rng)
    anchored = mean if design.anchor > 0 else np.zeros_like(mean)
    return Layer(
        prior=prior.density(anchored, variance, design.joint[index]),
        posterior=prior.density(mean, variance, design.joint[index]),
        temperature=design.temperatures[index],
        rule=None if prior.conjugate else PriorRule(prior, np.sqrt(variance), place.constant),
    )


def _discrete_layer(
    design: Design, grid: Grid, basis: InputBasis, place: _Place, on_lattice: bool, rng: np.random.RandomState
) -> Layer:
    """Posterior on a grid of levels, with a Gaussian bias that may outweigh what the weights add to a potential."""
    shape, index = place.shape, place.index
    precision = np.zeros(shape)
    start = np.zeros(shape)
    if place.constant:
        given = design.prior_variances[index]
        spread = _potential_variance(grid, basis, index, shape[1] - 1)
        precision[:, -1] = np.divide(1, design.bias_share * spread if given is None else given)
    if not place.last:
        start = _start_strength(design) / np.sqrt(grid.variance) * _even_normals(shape, basis, index, rng)
    begin = LevelWeights(precision, start, grid.levels, grid.log_probabilities, place.constant)
    if place.constant and not place.last:
        center = np.append(basis.mean, 0) if index == 0 else np.append(np.full(shape[1] - 1, 0.5), 0)
        start[:, -1] = -precision[:, -1] * (begin.mean @ center)
        begin = begin.with_natural(precision, start)
    flat = begin.with_natural(precision, np.zeros(shape))
    return Layer(
        prior=begin if design.anchor > 0 else flat,
        posterior=begin,
        temperature=design.temperatures[index],
        lattice=find_lattice(grid.levels) if on_lattice else None,
    )


def _potential_variance(grid: Grid, basis: InputBasis, index: int, n_inputs: int) -> float:
    """Prior variance of a potential of discrete weights, averaged over the data; hidden spikes fire half the time."""
    size = float(basis.second_moment.sum()) if index == 0 else 0.5 * n_inputs
    return size * grid.variance


def _axis_variances(design: Design, basis: InputBasis, place: _Place, fan_in: int) -> Array:
    """Prior variance of each weight of a unit, shape (fan_in,)."""
    value = design.prior_variances[place.index]
    potential = design.output_variance if place.last else design.hidden_variance
    if place.index == 0:
        exponent, floor = design.spectral_exponent, design.spectral_floor
        return basis.prior_variances(value, exponent, potential, design.bias_share, floor)
    # Spikes of probability about 1/2: half of the inputs contribute.
    return np.full(fan_in, 2 * potential / fan_in if value is None else value)


def _random_means(
    design: Design, basis: InputBasis, variance: Array, place: _Place, rng: np.random.RandomState
) -> Array:
    """Random means for a hidden layer, with biases that let each unit fire for about half of the data."""
    mean = _start_strength(design) * np.sqrt(variance) * _even_normals(variance.shape, basis, place.index, rng)
    if not place.constant:
        return mean
    if place.index == 0:
        return basis.balance(mean)
    mean[:, -1] = -0.5 * mean[:, :-1].sum(1)
    return mean


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


def _refuse_extreme(network: Network, dtype: Any) -> None:
    """Refuse priors whose moments would overflow, or be lost, when they are squared."""
    dtype = np.dtype(str(dtype).split(".")[-1])
    limit = largest_to_square(np.finfo(dtype))
    for mean, variance, _ in network.moments(dtype):
        if not ((abs(mean) < limit) & (variance < limit) & (variance > 1 / limit)).all():
            raise ValueError(
                f"The prior of the weights is out of the range of {dtype} arithmetic for these inputs; bring variance, "
                "anchor or spectral_exponent of the prior, temperature of inference, or values or gain of Levels "
                "closer to 1."
            )


def largest_to_square(numbers: Any) -> float:
    """Size below which squares stay within the numbers of a type, with room for sums of them."""
    return float(numbers.max) ** 0.45
