"""Lay out a network before training: coordinates of the inputs, where weights start, their priors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sk_epsnn._arrays import to_numpy
from sk_epsnn.course import Rows
from sk_epsnn.network import Network
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.sbnn.arrays import NamedArrays
from sk_epsnn.sbnn.coordinates import Coordinates
from sk_epsnn.sbnn.state import State
from sk_epsnn.sbnn.streams import reads_stream
from sk_epsnn.sbnn.weights import Family, GaussianFamily, LevelFamily, Prior

#: Share of the prior variance of a first potential that is its bias's, at least: one input's among few inputs, whose
#: neurons differ in little else than their thresholds.
_BIAS_SHARE = 0.1
#: What is added to the second moments of inputs before they are raised to the spectral exponent, in units of their
#: mean: directions that the data hardly use keep weights enough for unknown inputs to be doubted.
_SPECTRAL_FLOOR = 1.0


@dataclass(frozen=True)
class Design:
    """What is decided before data are looked at.

    Attributes
    ----------
    ratio : float
        Squared mean of a weight over its variance at the start.
    variance : float or None
        Prior variance of every weight, in units of the inverse fan-in; None where it is learned.
    anchor : float
        Size of random prior means of hidden layers, in units of the random start.
    exponents : tuple of float
        Spectral exponents of the prior of the first layer, of which rows say the best.
    rotate : bool
        Whether inputs are turned to their principal axes.
    levels : bool
        Whether weights are on two levels.
    is_noisy : bool
        Whether weights have variances.
    learns_noise : bool
        Whether the noise of real targets is learned.
    copies : bool
        Whether hidden layers as wide as the one below start, and have prior means, that copy its spikes.
    """

    ratio: float
    variance: float | None
    anchor: float
    exponents: tuple[float, ...]
    rotate: bool
    levels: bool
    is_noisy: bool
    learns_noise: bool
    copies: bool = False


def set_up(network: Network, design: Design, rows: Rows, rng: np.random.RandomState) -> State:
    """State before training, worked out in NumPy."""
    spikes = network.connections[0].selects and _holds_spikes(rows.X)
    network = network.with_basis(
        rows.X,
        rows.sample_weight,
        rotate=design.rotate,
        center=True if design.rotate else None,
        scaling="none" if design.levels else "each",
        spikes=spikes and not design.rotate,
    )
    assert network.basis is not None
    if design.levels:
        coordinates = Coordinates(np.ones(network.basis.offset.shape[0]), 1.0, network.basis.offset.shape[0])
    else:
        share = max(_BIAS_SHARE, 1 / (1 + network.basis.offset.shape[0]))
        coordinates = Coordinates.of(network.basis, design.exponents[0], _SPECTRAL_FLOOR, share)
    families: list[Family] = []
    parameters: dict[str, np.ndarray] = {}
    priors = []
    for layer in range(len(network.connections)):
        family, start, prior = _layer(network, coordinates, design, rows, layer, rng)
        families.append(family)
        parameters.update(start)
        priors.append(prior)
    if design.learns_noise:
        parameters["log_noise"] = np.zeros(network.n_targets)
    single = NamedArrays.of({name: array.astype(np.float32) for name, array in parameters.items()})
    priors = [_in_single(prior) for prior in priors]
    seed = int(rng.randint(2**31 - 1))
    return State(network, coordinates, tuple(families), single, tuple(priors), seed=seed)


def _in_single(prior: Prior) -> Prior:
    """The prior in single precision."""
    return prior._replace(center=np.asarray(prior.center, np.float32) if np.ndim(prior.center) else prior.center)


def _layer(
    network: Network, coordinates: Coordinates, design: Design, rows: Rows, layer: int, rng: np.random.RandomState
) -> tuple[Family, dict[str, np.ndarray], Prior]:
    """Family of the weights of a layer, where its parameters start, and the prior."""
    connection, is_last = network.connections[layer], layer == len(network.hidden)
    n_in = coordinates.n_inputs if layer == 0 else network.fan_ins[layer]
    size = 1.0 if layer == 0 and not design.levels else float(1 / np.sqrt(n_in))
    mean = size * rng.standard_normal((connection.n_units, n_in))
    copies = design.copies and not is_last and connection.n_units == n_in - 1 and layer > 0
    if copies:  # the same mean square
        mean[:, :-1] = size * np.sqrt(n_in) * np.eye(connection.n_units)
        mean[:, -1] = 0.0
    if layer == 0:
        center = coordinates.center(network.basis.mean)  # type: ignore[union-attr]
    else:
        center = np.full(n_in - 1, 0.5 * (layer if reads_stream(connection) else 1))
    constant = coordinates.constant_unit if layer == 0 else 1.0
    mean[:, -1] = (_usual_potential(network, rows) / constant if is_last else mean[:, -1]) - mean[:, :-1] @ center
    family: Family
    if design.levels:
        family = LevelFamily(layer, size, is_last)
    else:
        family = GaussianFamily(layer, design.is_noisy, layer == 0 and coordinates.has_rest)
    start = family.start(mean, design.ratio)
    if design.levels:
        levels = family.moments(start).mean
        start[f"bias{layer}"] = mean[:, -1] + (mean[:, :-1] - levels[:, :-1]) @ center
        return family, start, Prior(0.0, 1.0)
    anchor = 1.0 if copies else 0.0 if is_last else design.anchor
    prior_center: Any = anchor * start[f"mean{layer}"] if anchor > 0 else 0.0
    if design.variance is None:
        return family, start, family.prior(start, Prior(prior_center, size**2, True))
    return family, start, Prior(prior_center, design.variance * size**2)


def _usual_potential(network: Network, rows: Rows) -> np.ndarray:
    """Potentials of the outputs that say how often each class occurs; 0 for real targets."""
    if isinstance(network.output, GaussianOutput):
        return np.zeros(network.readout.n_units)
    target, weight = rows.known()
    share = (weight @ (target > 0) + 1) / (weight.sum() + 2)
    return network.output.potential_of(share)


def _holds_spikes(X: Any) -> bool:
    values = X.data if sparse.issparse(X) else to_numpy(X)
    return bool(((values == 0) | (values == 1)).all())
