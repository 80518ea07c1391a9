"""Lay out an untrained network: basis, priors, starting posteriors, temperatures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from sk_epsnn.activations import HiddenActivation, Output
from sk_epsnn.basis import InputBasis
from sk_epsnn.network import Layer, Network
from sk_epsnn.numerics import Array
from sk_epsnn.priors import WeightPrior

#: Spread of the random start, in prior standard deviations, where the prior itself is not anchored.
START_STRENGTH = 0.3


@dataclass(frozen=True)
class Layout:
    """Resolved settings of a network, one entry per layer of weights where a list.

    Attributes
    ----------
    widths : list of int
        Units of every layer, the output included.
    prior_variances : list of float or None
        Variance of a weight; None scales the prior to the data.
    temperatures : list of float
    anchor : float
        Size of the random prior means of hidden layers, in prior standard deviations.
    spectral_exponent, bias_share, hidden_variance, output_variance : float
    joint_last : bool
        Whether the last layer's weights get a joint Gaussian per unit.
    power : float
    """

    widths: list[int]
    prior_variances: list[float | None]
    temperatures: list[float]
    anchor: float
    spectral_exponent: float
    bias_share: float
    hidden_variance: float
    output_variance: float
    joint_last: bool
    power: float


def build_network(
    layout: Layout,
    basis: InputBasis,
    prior: WeightPrior,
    hidden: HiddenActivation,
    output: Output,
    constant: bool,
    rng: np.random.RandomState,
) -> Network:
    """Network whose posterior is its prior, but for the random start that breaks the symmetry of hidden units."""
    layers: list[Layer] = []
    fan_in = basis.n_axes
    for index, width in enumerate(layout.widths):
        last = index == len(layout.widths) - 1
        variance = np.tile(_axis_variances(layout, basis, index, fan_in), (width, 1))
        mean = np.zeros_like(variance) if last else _random_means(layout, basis, variance, index, constant, rng)
        anchored = mean if layout.anchor > 0 else np.zeros_like(mean)
        joint = last and layout.joint_last
        layers.append(
            Layer(
                prior=prior.density(anchored, variance, joint),
                posterior=prior.density(mean, variance, joint),
                temperature=layout.temperatures[index],
            )
        )
        fan_in = width + constant
    return Network(layers, hidden, output, constant, layout.power)


def _axis_variances(layout: Layout, basis: InputBasis, index: int, fan_in: int) -> Array:
    """Prior variance of each weight of a unit, shape (fan_in,)."""
    value = layout.prior_variances[index]
    last = index == len(layout.widths) - 1
    potential = layout.output_variance if last else layout.hidden_variance
    if index == 0:
        return basis.prior_variances(value, layout.spectral_exponent, potential, layout.bias_share)
    # Spikes of probability about 1/2: half of the inputs contribute.
    return np.full(fan_in, 2 * potential / fan_in if value is None else value)


def _random_means(
    layout: Layout, basis: InputBasis, variance: Array, index: int, constant: bool, rng: np.random.RandomState
) -> Array:
    """Random means for a hidden layer, with biases that let each unit fire for about half of the data."""
    strength = layout.anchor if layout.anchor > 0 else START_STRENGTH
    mean = strength * np.sqrt(variance) * _even_normals(variance.shape, rng)
    if index == 0:
        # Axes along which the data does not vary are arbitrary: nothing random may depend on them.
        mean[:, : len(basis.varies)][:, ~basis.varies] = 0
    if not constant:
        return mean
    if index == 0:
        return basis.balance(mean)
    mean[:, -1] = -0.5 * mean[:, :-1].sum(1)
    return mean


def _even_normals(shape: tuple[int, int], rng: np.random.RandomState) -> Array:
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
