"""A layered network: the forward pass, the backward pass, the energy. No schedule.

Upward go the means and variances ``(M, S)`` of the potentials, downward the derivatives ``(g, gamma, kappa)`` of
``log Z``: the messages of Algorithm 1 of [1]_.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, Section IV and V-C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from sk_epsnn._arrays import Array, clip, epsilon, is_any, like, minimum, sum_over, to_numpy, zeros_like
from sk_epsnn.ep import mixing
from sk_epsnn.ep.passes import neuron_message
from sk_epsnn.ep.prior_sites import refresh_site
from sk_epsnn.ep.sites import UpdateCounts, bound_log_ratio
from sk_epsnn.messages import Derivatives, Inputs, Potentials, SpikeMoments, Spread, WeightMoments, spikes
from sk_epsnn.neurons import Neuron
from sk_epsnn.numerics import expit, logit
from sk_epsnn.outputs import Output
from sk_epsnn.priors import WeightPrior
from sk_epsnn.weights import GaussianWeights, KnownWeights, Lattice, Weights

#: Potentials always have some variance: a silent input without a bias would otherwise give 0/0. Inputs are scaled
#: to unit size, so this is far below any variance that matters.
VARIANCE_FLOOR = 1e-7
#: With known weights a threshold must be sharp.
FROZEN_VARIANCE_FLOOR = 1e-30
#: Weight of the new site when a non-conjugate prior is updated.
PRIOR_DAMPING = 0.5


@dataclass(frozen=True)
class PriorRule:
    """A prior that is not Gaussian, and the weights of a layer that it is for.

    Attributes
    ----------
    prior : WeightPrior
    unit : array of shape (n_out, n_in)
        What each weight is measured in.
    constant : bool
        Whether the last column is a bias; a bias keeps the Gaussian it starts from.
    """

    prior: WeightPrior
    unit: Array
    constant: bool


class Evidence(NamedTuple):
    """Natural parameters of a factor on the weights of a layer, shapes as in `Weights`; not always a density."""

    precision: Array
    shift: Array

    def plus(self, other: Evidence) -> Evidence:
        """Product of the factors."""
        return Evidence(self.precision + other.precision, self.shift + other.shift)

    def times(self, exponent: float) -> Evidence:
        """Power of the factor."""
        return Evidence(exponent * self.precision, exponent * self.shift)

    def minus(self, other: Evidence) -> Evidence:
        """Quotient of the factors."""
        return Evidence(self.precision - other.precision, self.shift - other.shift)


@dataclass
class Layer:
    """The weights into one layer of neurons.

    Attributes
    ----------
    prior, posterior : Weights
        q0(W) and q(W), in float64.
    temperature : float
        Messages are computed with the covariance of ``posterior`` multiplied by this (1 is EP).
    rule : PriorRule or None
        The prior itself, where ``prior`` is only the Gaussian site that stands for it.
    lattice : Lattice or None
        When the layer's neurons are thresholds whose potentials can be exactly 0.
    """

    prior: Weights
    posterior: Weights
    temperature: float
    rule: PriorRule | None = None
    lattice: Lattice | None = None

    def moments(self, dtype: Any) -> WeightMoments:
        """Moments of the posterior at the layer's temperature."""
        return self.posterior.moments(self.temperature, dtype)

    def evidence(self) -> Evidence:
        """What the data say: the posterior without the prior."""
        prior, posterior = self.prior, self.posterior
        return Evidence(posterior.precision - prior.precision, posterior.shift - prior.shift)

    def with_evidence(self, evidence: Evidence) -> Layer:
        """The same prior with this evidence."""
        prior = self.prior
        posterior = prior.with_natural(prior.precision + evidence.precision, prior.shift + evidence.shift)
        return replace(self, posterior=posterior)

    def _ruled(self) -> tuple[PriorRule, GaussianWeights, GaussianWeights]:
        """The rule with the prior and the posterior, which are Gaussian where there is one."""
        assert self.rule is not None
        assert isinstance(self.prior, GaussianWeights) and isinstance(self.posterior, GaussianWeights)
        return self.rule, self.prior, self.posterior

    def activation_probability(self) -> Array:
        """Posterior probability that each weight is not 0, shape (n_out, n_in) without the bias (spike and slab)."""
        rule, prior, posterior = self._ruled()
        precision, shift = _numpy(_without(posterior, prior.marginals()))
        unit = to_numpy(rule.unit)
        active = like(rule.prior.activation_probability(precision * unit**2, shift * unit), prior.mean)
        return active[:, :-1] if rule.constant else active

    def with_refreshed_prior(self, counts: UpdateCounts) -> Layer:
        """Update the Gaussian site that stands for a non-conjugate prior, its own share taken out of the posterior.

        Priors are evaluated in NumPy, wherever the weights are.
        """
        if self.rule is None:
            return self
        rule, prior, posterior = self._ruled()
        site = prior.marginals()
        (rest_precision, rest_shift), (precision, shift) = _numpy(_without(posterior, site)), _numpy(site)
        new = refresh_site(
            rule.prior, to_numpy(rule.unit), rest_precision, rest_shift, precision, shift, PRIOR_DAMPING, counts
        )
        change = [new[0] - precision, new[1] - shift]
        if rule.constant:
            for part in change:
                part[:, -1] = 0
        change = [like(part, prior.mean) for part in change]
        return replace(self, prior=prior.times_factor(*change), posterior=posterior.times_factor(*change))


def _without(posterior: GaussianWeights, site: tuple[Array, Array]) -> tuple[Array, Array]:
    """Precision and shift of each weight's density with the prior's site taken out: what the data say."""
    precision, shift = posterior.marginals()
    return precision - site[0], shift - site[1]


def _numpy(parts: tuple[Array, Array]) -> tuple[np.ndarray, np.ndarray]:
    return to_numpy(parts[0]), to_numpy(parts[1])


class Upward(NamedTuple):
    """What the forward pass leaves behind: one entry per layer (``spikes``: per hidden layer)."""

    inputs: list[Inputs]
    potentials: list[Potentials]
    spikes: list[SpikeMoments]


@dataclass
class Network:
    """Fully connected spiking layers.

    Attributes
    ----------
    layers : list of Layer
    hidden : list of Neuron
        The neurons of each hidden layer.
    output : Output
        The observed units.
    constant : bool
        Whether a constant input of 1 is appended to every hidden layer's spikes.
    power : float
        Exponent alpha of power EP: 1 is EP, 0 the variational limit.
    variance_floor : float
        Least variance of a potential.
    """

    layers: list[Layer]
    hidden: list[Neuron]
    output: Output
    constant: bool
    power: float
    variance_floor: float = VARIANCE_FLOOR

    def frozen(self, weights: Sequence[Array] | None = None) -> Network:
        """The same network with every weight known: one array per layer, or the most probable ones."""
        layers = []
        for layer, known in zip(self.layers, weights or [layer.posterior.mode() for layer in self.layers], strict=True):
            layers.append(replace(layer, posterior=KnownWeights(known), rule=None))
        return replace(self, layers=layers, variance_floor=FROZEN_VARIANCE_FLOOR)

    def at_temperature(self, hidden: float) -> Network:
        """The same network with the hidden layers' temperature changed."""
        layers = [replace(layer, temperature=hidden) for layer in self.layers[:-1]]
        return replace(self, layers=[*layers, self.layers[-1]])

    @property
    def is_frozen(self) -> bool:
        """Whether the weights are known, see `frozen`."""
        return self.layers[0].posterior.is_known

    def moments(self, dtype: Any) -> list[WeightMoments]:
        """Weight moments of every layer."""
        return [layer.moments(dtype) for layer in self.layers]

    def potentials(self, index: int, inputs: Inputs, weights: WeightMoments, mean: Array | None = None) -> Potentials:
        """Central-limit message to the potentials of a layer (eq. 25); the mean may be known already."""
        from_weights = mixing.weight_part_of_variance(inputs, weights)
        variance = from_weights
        if inputs.variance is not None:
            variance = variance + mixing.spike_part_of_variance(inputs, weights)
        if is_any(variance < self.variance_floor):
            variance = clip(variance, min=self.variance_floor)
        if mean is None:
            mean = mixing.potential_mean(inputs, weights.mean)
            lattice = self.layers[index].lattice
            if lattice is not None:
                mean = mean + mixing.tie_offset(inputs, lattice)
        return Potentials(mean, variance, from_weights)

    def forward(
        self,
        inputs: Inputs,
        weights: list[WeightMoments],
        first: Potentials | None = None,
        log_ratios: list[Array] | None = None,
    ) -> Upward:
        """Forward half of Algorithm 1: mixing (eq. 25), then activation (eq. 31), layer by layer.

        Parameters
        ----------
        inputs : Inputs of shape (n_samples, n_in)
        weights : list of WeightMoments
        first : Potentials, optional
            Potentials of the first layer when the caller knows them already (it is the widest product).
        log_ratios : list of arrays, optional
            Messages that came down to the hidden spikes, already raised to the cavity's power (eq. 23); without
            them the pass is predictive (Section V-C).
        """
        up = Upward([inputs], [], [])
        for index, layer in enumerate(weights):
            known = first if index == 0 else None
            up.potentials.append(known if known is not None else self.potentials(index, up.inputs[index], layer))
            if index == len(weights) - 1:
                return up
            moments = self.hidden[index].forward(*up.potentials[index][:2])
            up.spikes.append(moments)
            probability = moments.probability
            if log_ratios is not None:
                edge = epsilon(probability)
                probability = expit(logit(clip(probability, edge, 1 - edge)) + log_ratios[index])
            up.inputs.append(spikes(probability, self.constant))
        raise AssertionError("a network has at least one layer")

    def backward(
        self, up: Upward, target: Array, weights: list[WeightMoments], counts: UpdateCounts
    ) -> tuple[Array, list[Derivatives], list[Array]]:
        """Backward half of Algorithm 1: activation, then mixing, from the last layer to the first.

        Returns
        -------
        log_z : array of shape (n_samples,)
        down : list of Derivatives, one per layer
        log_ratios : list of arrays, the messages q1(V) to the hidden spikes, one per hidden layer
        """
        log_z, message = self.output.evidence(*up.potentials[-1][:2], target, self.power)
        down = [message]
        log_ratios: list[Array] = []
        for index in range(len(weights) - 2, -1, -1):
            moments = up.spikes[index]
            ratio = mixing.log_ratio_below(down[0], weights[index + 1], moments.probability)
            ratio = bound_log_ratio(ratio, counts)
            log_ratios.insert(0, ratio)
            down.insert(0, neuron_message(moments, ratio))
        return sum_over(log_z, axis=1), down, log_ratios

    def log_partition(self, last: Potentials, target: Array) -> Array:
        """``log Z`` of each sample, summed over the output units, shape (n_samples,)."""
        log_z = self.output.log_partition(*last[:2], target, self.power)
        return sum_over(log_z, axis=1)

    def predict(self, inputs: Inputs, weights: list[WeightMoments]) -> Potentials:
        """Predictive mean and variance of the output potentials: one forward pass (Section V-C)."""
        return self.forward(inputs, weights).potentials[-1]

    def predict_spread(self, inputs: Inputs, weights: list[WeightMoments]) -> Spread:
        """Split the predictive variance into weight uncertainty and spike noise, in one pass.

        With ``r = E P(spike|u)^2`` the probability that two networks' worth of spikes, drawn with the same weights,
        both fire, ``S_epistemic = sum_j (m^2 + s) r - m^2 p^2`` and ``S_aleatoric = sum_j (m^2 + s) (p - r)``.
        """
        up = self.forward(inputs, weights)
        mean, variance, _ = up.potentials[-1]
        if not up.spikes:
            return Spread(mean, variance, zeros_like(variance))
        noise = up.spikes[-1].probability - self.hidden[-1].repeat_probability(up.spikes[-1])
        last = weights[-1]
        n_spikes = noise.shape[1]
        square = last.mean[:, :n_spikes] ** 2 + last.variance[:, :n_spikes]
        aleatoric = minimum(noise @ square.T, variance)
        return Spread(mean, variance - aleatoric, aleatoric)
