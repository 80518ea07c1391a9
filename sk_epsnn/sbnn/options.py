"""How noisy binary networks are trained: the estimates of gradients behind ``inference=``, and their options."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from sk_epsnn._arrays import Array
from sk_epsnn._sklearn import Interval, Option, StrOptions
from sk_epsnn.sbnn import spikes
from sk_epsnn.sbnn.spikes import Fired

_AUTO = StrOptions({"auto"})
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")


class SpikeGradient(Option):
    """Base of the estimates of gradients.

    Attributes
    ----------
    name : str
        Entry in the registry `GRADIENTS`.
    is_noisy : bool
        Whether weights have a posterior, whose noise makes spikes random.
    """

    name: str
    is_noisy = True
    learning_rate: float | str
    temperature: float | str
    ramp: float | str
    bias_penalty: float
    noise_ratio: float | str
    n_draws: int
    _parameter_constraints: dict[str, list[Any]] = {
        "temperature": [_AUTO, _NOT_NEGATIVE],
        "ramp": [_AUTO, Interval(Real, 0, 1, closed="both")],
        "bias_penalty": [_NOT_NEGATIVE],
        "learning_rate": [_AUTO, _POSITIVE],
        "noise_ratio": [_AUTO, _POSITIVE],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
    }

    def fire(self, a: Array, noise: Array) -> Fired:
        """Spikes and slopes.

        Parameters
        ----------
        a : array of shape (n_rows, n_units)
            Means of potentials over their standard deviations; the potentials themselves without noise.
        noise : array of the same shape
            Standard normal.
        """
        raise NotImplementedError


class StraightThrough(SpikeGradient):
    """Straight-through gradients of random spikes: each spike stands for itself.

    The least variance of the estimates with hard spikes, and the most bias.

    Parameters
    ----------
    temperature : "auto" or float, default="auto"
        Factor of the divergence of the posterior from the prior, at least 0: 1 is Bayes' rule, less a posterior that
        leans more on the data.
    ramp : "auto" or float, default="auto"
        Share of the steps, from the first, over which the temperature rises from 0; in [0, 1].
    bias_penalty : float, default=0.0
        Weight of a penalty on what makes gradients biased, at least 0: the variance that spikes give to a potential,
        over that from the noise of the weights, see `gradient_bias_` of the estimators.
    learning_rate : "auto" or float, default="auto"
        Length of the first steps, in prior standard deviations of a weight; it falls to 0 along a cosine in `fit`.
    noise_ratio : "auto" or float, default="auto"
        Squared mean of a weight over its variance where training starts, positive.
    n_draws : int, default=1
        Draws of all spikes for every row of a batch.
    """

    name = "straight_through"

    def __init__(
        self,
        *,
        temperature: Any = "auto",
        ramp: Any = "auto",
        bias_penalty: Any = 0.0,
        learning_rate: Any = "auto",
        noise_ratio: Any = "auto",
        n_draws: Any = 1,
    ):
        self.temperature = temperature
        self.ramp = ramp
        self.bias_penalty = bias_penalty
        self.learning_rate = learning_rate
        self.noise_ratio = noise_ratio
        self.n_draws = n_draws

    def fire(self, a: Array, noise: Array) -> Fired:
        """See `sk_epsnn.sbnn.spikes.straight_through`."""
        return spikes.straight_through(a, noise)


class Rao(SpikeGradient):
    """Importance-weighted straight-through gradients between `StraightThrough` and `ReinMax`.

    A spike is relaxed, and the slope of that averaged in closed form over the noise that gives the same spike: less
    bias than straight-through at little more variance, bounded for rare spikes.

    Parameters
    ----------
    width : float, default=1.0
        Of the relaxation, in standard deviations of a potential, positive: less is less bias and more variance.
    temperature : "auto" or float, default="auto"
    ramp : "auto" or float, default="auto"
    bias_penalty : float, default=0.0
    learning_rate : "auto" or float, default="auto"
    noise_ratio : "auto" or float, default="auto"
    n_draws : int, default=1
        See `StraightThrough`.
    """

    name = "rao"
    _parameter_constraints = {**SpikeGradient._parameter_constraints, "width": [_POSITIVE]}

    def __init__(
        self,
        *,
        width: Any = 1.0,
        temperature: Any = "auto",
        ramp: Any = "auto",
        bias_penalty: Any = 0.0,
        learning_rate: Any = "auto",
        noise_ratio: Any = "auto",
        n_draws: Any = 1,
    ):
        self.width = width
        self.temperature = temperature
        self.ramp = ramp
        self.bias_penalty = bias_penalty
        self.learning_rate = learning_rate
        self.noise_ratio = noise_ratio
        self.n_draws = n_draws

    def fire(self, a: Array, noise: Array) -> Fired:
        """See `sk_epsnn.sbnn.spikes.rao`."""
        return spikes.rao(a, noise, self.width)


class ReinMax(SpikeGradient):
    """Importance-weighted straight-through gradients by the trapezoid rule: no bias of second order.

    The least bias of the estimates with hard spikes, and the most variance: rare spikes have large weights.

    Parameters
    ----------
    temperature : "auto" or float, default="auto"
    ramp : "auto" or float, default="auto"
    bias_penalty : float, default=0.0
    learning_rate : "auto" or float, default="auto"
    noise_ratio : "auto" or float, default="auto"
    n_draws : int, default=1
        See `StraightThrough`.
    """

    name = "reinmax"

    def __init__(
        self,
        *,
        temperature: Any = "auto",
        ramp: Any = "auto",
        bias_penalty: Any = 0.0,
        learning_rate: Any = "auto",
        noise_ratio: Any = "auto",
        n_draws: Any = 1,
    ):
        self.temperature = temperature
        self.ramp = ramp
        self.bias_penalty = bias_penalty
        self.learning_rate = learning_rate
        self.noise_ratio = noise_ratio
        self.n_draws = n_draws

    def fire(self, a: Array, noise: Array) -> Fired:
        """See `sk_epsnn.sbnn.spikes.reinmax`."""
        return spikes.reinmax(a, noise)


class Concrete(SpikeGradient):
    """Gradients of relaxed spikes, for comparison.

    Parameters
    ----------
    width : float, default=0.5
        Of the relaxation, in standard deviations of a potential, positive.
    hard : bool, default=False
        Whether the layers above see spikes, and only gradients are those of the relaxation (straight-through Gumbel).
    temperature : "auto" or float, default="auto"
    ramp : "auto" or float, default="auto"
    bias_penalty : float, default=0.0
    learning_rate : "auto" or float, default="auto"
    noise_ratio : "auto" or float, default="auto"
    n_draws : int, default=1
        See `StraightThrough`.
    """

    name = "concrete"
    _parameter_constraints = {**Rao._parameter_constraints, "hard": ["boolean"]}

    def __init__(
        self,
        *,
        width: Any = 0.5,
        hard: Any = False,
        temperature: Any = "auto",
        ramp: Any = "auto",
        bias_penalty: Any = 0.0,
        learning_rate: Any = "auto",
        noise_ratio: Any = "auto",
        n_draws: Any = 1,
    ):
        self.width = width
        self.hard = hard
        self.temperature = temperature
        self.ramp = ramp
        self.bias_penalty = bias_penalty
        self.learning_rate = learning_rate
        self.noise_ratio = noise_ratio
        self.n_draws = n_draws

    def fire(self, a: Array, noise: Array) -> Fired:
        """See `sk_epsnn.sbnn.spikes.concrete`."""
        return spikes.concrete(a, noise, self.width, self.hard)


class Surrogate(SpikeGradient):
    """Hand-made slopes of spikes without noise, for comparison: weights are points.

    Parameters
    ----------
    shape : {"fast_sigmoid", "clipped_identity"}, default="fast_sigmoid"
        Slope of a spike: ``1 / (1 + slope |u|)^2``, or 1 where ``|u| < 1`` (plain straight-through).
    slope : float, default=25.0
        Of the fast sigmoid, positive.
    learning_rate : "auto" or float, default="auto"
        See `StraightThrough`.
    """

    name = "surrogate"
    is_noisy = False
    temperature, ramp, bias_penalty, noise_ratio, n_draws = 0.0, 0.0, 0.0, 10.0, 1
    _parameter_constraints = {
        "shape": [StrOptions({"fast_sigmoid", "clipped_identity"})],
        "slope": [_POSITIVE],
        "learning_rate": [_AUTO, _POSITIVE],
    }

    def __init__(self, *, shape: Any = "fast_sigmoid", slope: Any = 25.0, learning_rate: Any = "auto"):
        self.shape = shape
        self.slope = slope
        self.learning_rate = learning_rate

    def fire(self, a: Array, noise: Array) -> Fired:
        """See `sk_epsnn.sbnn.spikes.fast_sigmoid` and `clipped_identity`."""
        return spikes.fast_sigmoid(a, self.slope) if self.shape == "fast_sigmoid" else spikes.clipped_identity(a)


#: Estimates that a string names.
GRADIENTS: dict[str, type[SpikeGradient]] = {
    kind.name: kind for kind in (StraightThrough, Rao, ReinMax, Concrete, Surrogate)
}
