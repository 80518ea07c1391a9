"""What is decided about a posterior before the data are looked at."""

from __future__ import annotations

from dataclasses import dataclass

from sk_epsnn.priors import WeightPrior
from sk_epsnn.weights import Grid


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
    spectral_exponent, spectral_floor, bias_share, hidden_variance, output_variance, log_noise_variance : float
        See `InputBasis.prior_variances`; the last three are prior variances of potentials. The logarithm of a noise has
        no unit, so that its weights always get a prior scaled to the data.
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
    scaling : str
        See `fit_basis`.
    learns : {"layer", "each"} or None
        Whether the variance of the last layer's weights is learned: one for all, or one for each input; where
        noises depend on the inputs that of every unit apart.
    other_exponents : tuple of float
        Spectral exponents that are tried beside that given, see `sk_epsnn.ep.trials`.
    spike_square : float
        Mean square of the spikes, or centred traces, that the layer at work reads. Those of single spikes, which are
        taken to fire half of the time; `set_up` measures that of traces.
    bias_variance : float or None
        Prior variance of the biases of the outputs, about the potentials of the class frequencies; None gives them
        that of a weight, or a share of the potential's.
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
    log_noise_variance: float
    joint: tuple[bool, ...]
    power: float
    grid: Grid | None
    gain: float | None
    rotate: bool
    center: bool | None
    scaling: str = "all"
    learns: str | None = None
    bias_variance: float | None = None
    other_exponents: tuple[float, ...] = ()
    spike_square: float = 0.5
