"""Posteriors of independent weights as parameters that follow gradients: Gaussian weights, and weights on two levels.

The local reparametrisation: with ``E w = m`` and ``Var w = v`` a row of inputs z has the potential ``N(z m, z^2 v)``,
so that a family gives m and v, and takes the gradients in these back to its parameters.

References
----------
.. [1] D. P. Kingma, T. Salimans, M. Welling, "Variational dropout and the local reparameterization trick", NeurIPS
   2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sk_epsnn._arrays import Array, concat, exp, log, logaddexp, ones_like, sum_over, total_of

Parameters = Mapping[str, Array]


class Moments(NamedTuple):
    """Means and variances of the weights of a layer, each of shape (n_out, n_in); the last column is the bias.

    Variances of weights that are points are None.
    """

    mean: Array
    variance: Array | None


class Prior(NamedTuple):
    """What is known of weights before, in the parameters of their family.

    Attributes
    ----------
    center : array of shape (n_out, n_in) or float
        Means, or logits of levels.
    variance : array of shape (n_out, n_in) or float
        Of Gaussian weights, or of the biases beside levels.
    is_learned : bool
        Whether the variance is the one that fits the posterior best (empirical Bayes).
    """

    center: Any
    variance: Any
    is_learned: bool = False


@dataclass(frozen=True)
class GaussianFamily:
    """Gaussian weights, ``w ~ N(m, exp(2 log_sd))``.

    Attributes
    ----------
    layer : int
        Number of the layer; its parameters are named after it.
    is_noisy : bool
        Whether there are variances.
    has_rest : bool
        Whether the input before the constant is a length, of directions that data hardly use: its weight has mean 0 and
        its variance follows the prior alone, so that inputs which go far in these directions are doubted.
    """

    layer: int
    is_noisy: bool = True
    has_rest: bool = False

    @property
    def names(self) -> tuple[str, str]:
        """Names of its parameters: means, and logarithms of standard deviations."""
        return f"mean{self.layer}", f"log_sd{self.layer}"

    def start(self, mean: np.ndarray, ratio: float) -> dict[str, np.ndarray]:
        """Parameters with these means, whose mean square is ``ratio`` times every variance."""
        name, log_sd = self.names
        if self.has_rest:
            mean = mean.copy()
            mean[:, -2] = 0.0
        if not self.is_noisy:
            return {name: mean}
        variance = np.square(mean[:, :-1]).mean() / ratio
        return {name: mean, log_sd: np.full_like(mean, 0.5 * np.log(variance))}

    def moments(self, parameters: Parameters) -> Moments:
        """Means and variances."""
        name, log_sd = self.names
        return Moments(parameters[name], exp(2 * parameters[log_sd]) if self.is_noisy else None)

    def pulled(self, parameters: Parameters, moments: Moments, g_mean: Array, g_variance: Array) -> dict[str, Array]:
        """Gradient in the parameters of what has these gradients in means and variances."""
        name, log_sd = self.names
        g_mean = self._held(g_mean)
        if moments.variance is None:
            return {name: g_mean}
        return {name: g_mean, log_sd: self._held(2 * moments.variance * g_variance)}

    def _held(self, gradient: Array) -> Array:
        if not self.has_rest:
            return gradient
        keeps = ones_like(gradient[:1, :])
        keeps[:, -2] = 0.0
        return gradient * keeps

    def prior(self, parameters: Parameters, prior: Prior) -> Prior:
        """The prior with the variance that fits best, if it is learned."""
        moments = self.moments(parameters)
        if moments.variance is None or not prior.is_learned:
            return prior
        square = (moments.mean - prior.center) ** 2 + moments.variance
        return prior._replace(variance=total_of(square) / square.size)

    def divergence(self, parameters: Parameters, prior: Prior) -> float:
        """Kullback-Leibler divergence of the weights from their prior, in nats."""
        mean, variance = self.moments(parameters)
        if variance is None:
            return 0.0
        ratio = variance / prior.variance
        return 0.5 * total_of((mean - prior.center) ** 2 / prior.variance + ratio - 1 - log(ratio))

    def divergence_gradient(self, parameters: Parameters, prior: Prior) -> dict[str, Array]:
        """Gradient of the divergence; that of a learned variance is 0 where it fits best."""
        name, log_sd = self.names
        mean, variance = self.moments(parameters)
        if variance is None:
            return {}
        return {name: self._held((mean - prior.center) / prior.variance), log_sd: variance / prior.variance - 1}

    def units(self, prior: Prior) -> dict[str, float | Array]:
        """Lengths of steps in each parameter: means in prior standard deviations."""
        name, log_sd = self.names
        return {name: prior.variance**0.5, log_sd: 1.0}

    def becomes_prior(self, parameters: Parameters, prior: Prior) -> Prior:
        """What is known now as the prior of what comes."""
        moments = self.moments(parameters)
        return prior if moments.variance is None else Prior(moments.mean, moments.variance)


@dataclass(frozen=True)
class LevelFamily:
    """Weights on the levels -size and +size, of mean ``size tanh(logit)``; biases are Gaussian.

    Attributes
    ----------
    layer : int
    size : float
    has_gain : bool
        Whether the layer has a factor of its own, which is learned: outputs see the scale of potentials.
    """

    layer: int
    size: float
    has_gain: bool = False
    has_rest: bool = False

    @property
    def names(self) -> tuple[str, str, str, str]:
        """Names of its parameters: logits, biases, logarithms of their standard deviations, and of the gain."""
        return tuple(f"{name}{self.layer}" for name in ("logit", "bias", "bias_log_sd", "log_gain"))  # type: ignore

    def start(self, mean: np.ndarray, ratio: float) -> dict[str, np.ndarray]:
        """Parameters of random levels, by the signs and sizes of means; the bias is that given."""
        logit, bias, log_sd, gain = self.names
        levels = mean[:, :-1] / np.sqrt(np.square(mean[:, :-1]).mean())
        start = {
            logit: _START_LOGIT * levels,
            bias: mean[:, -1],
            log_sd: np.full_like(mean[:, -1], -0.5 * np.log(1 + ratio)),
        }
        return {**start, gain: np.zeros_like(mean[:1, 0])} if self.has_gain else start

    def _gain(self, parameters: Parameters) -> Array | float:
        return exp(parameters[self.names[3]]) if self.has_gain else 1.0

    def level(self, parameters: Parameters) -> Array | float:
        """Size of the weights."""
        return self.size * self._gain(parameters)

    def moments(self, parameters: Parameters) -> Moments:
        """Means and variances."""
        logit, bias, log_sd, _ = self.names
        gain, level = self._gain(parameters), tanh(parameters[logit])
        mean = concat([self.size * level, parameters[bias][:, None]], axis=1)
        variance = concat([self.size**2 * (1 - level * level), exp(2 * parameters[log_sd])[:, None]], axis=1)
        return Moments(gain * mean, gain * gain * variance)

    def pulled(self, parameters: Parameters, moments: Moments, g_mean: Array, g_variance: Array) -> dict[str, Array]:
        """Gradient in the parameters of what has these gradients in means and variances."""
        assert moments.variance is not None
        logit, bias, log_sd, gain_name = self.names
        gain, level = self._gain(parameters), tanh(parameters[logit])
        g_level = self.size * gain * g_mean[:, :-1] - 2 * self.size**2 * gain * gain * level * g_variance[:, :-1]
        result = {
            logit: (1 - level * level) * g_level,
            bias: gain * g_mean[:, -1],
            log_sd: 2 * moments.variance[:, -1] * g_variance[:, -1],
        }
        if self.has_gain:
            both = g_mean * moments.mean + 2 * g_variance * moments.variance
            result[gain_name] = sum_over(sum_over(both, axis=0, keepdims=True), axis=1)
        return result

    def prior(self, parameters: Parameters, prior: Prior) -> Prior:
        """Levels have the prior that they are given."""
        return prior

    def divergence(self, parameters: Parameters, prior: Prior) -> float:
        """Kullback-Leibler divergence of the weights and biases from their prior, in nats."""
        logit, bias, log_sd, _ = self.names
        eta = 2 * parameters[logit]
        center, bias_center = _split(prior.center)
        before, zero = 2 * center + 0 * eta, 0 * eta
        up, down = logaddexp(zero, -eta), logaddexp(zero, eta)
        up_before, down_before = logaddexp(zero, -before), logaddexp(zero, before)
        levels = exp(-up) * (up_before - up) + exp(-down) * (down_before - down)
        ratio = exp(2 * parameters[log_sd]) / prior.variance
        biases = (parameters[bias] - bias_center) ** 2 / prior.variance + ratio - 1 - log(ratio)
        return total_of(levels) + 0.5 * total_of(biases)

    def divergence_gradient(self, parameters: Parameters, prior: Prior) -> dict[str, Array]:
        """Gradient of the divergence."""
        logit, bias, log_sd, _ = self.names
        center, bias_center = _split(prior.center)
        level = tanh(parameters[logit])
        return {
            logit: (parameters[logit] - center) * (1 - level * level),
            bias: (parameters[bias] - bias_center) / prior.variance,
            log_sd: exp(2 * parameters[log_sd]) / prior.variance - 1,
        }

    def units(self, prior: Prior) -> dict[str, float | Array]:
        """Lengths of steps in each parameter."""
        logit, bias, log_sd, gain = self.names
        return {logit: 1.0, bias: prior.variance**0.5, log_sd: 1.0, gain: 1.0}

    def becomes_prior(self, parameters: Parameters, prior: Prior) -> Prior:
        """What is known now as the prior of what comes; the gain goes on as it is."""
        logit, bias, log_sd, _ = self.names
        return Prior((parameters[logit], parameters[bias]), exp(2 * parameters[log_sd]))


Family = GaussianFamily | LevelFamily
#: Root mean square of the logits that levels start from.
_START_LOGIT = 0.5


def tanh(x: Array) -> Array:
    """Hyperbolic tangent of every entry."""
    return 1 - 2 / (exp(2 * x) + 1)


def _split(center: Any) -> tuple[Any, Any]:
    """Centers of levels and of biases."""
    return center if isinstance(center, tuple) else (center, center)
