"""What Expectation Propagation knows: prior and posterior of every layer's weights, and the mass of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_epsnn._arrays import Array, converted, entries, like, to_numpy
from sk_epsnn.basis import InputBasis
from sk_epsnn.ep.evidence import Change, Evidence, NoiseEvidence
from sk_epsnn.ep.learned_prior import MOST_STEPS, LearnedVariance
from sk_epsnn.ep.prior_sites import refresh_site
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.ep.steps import recentred
from sk_epsnn.messages import WeightMoments
from sk_epsnn.network import Network
from sk_epsnn.priors import WeightPrior
from sk_epsnn.weights import GaussianWeights, KnownWeights, Lattice, Weights

#: Potentials always have some variance: a silent input without a bias would otherwise give 0/0. Inputs are scaled
#: to unit size, so this is far below any variance that matters.
VARIANCE_FLOOR = 1e-7
#: With known weights a threshold must be sharp.
KNOWN_VARIANCE_FLOOR = 1e-30
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


@dataclass(frozen=True)
class LayerState:
    """What is known of the weights into one layer of neurons.

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
    learned : LearnedVariance or None
        Where the variances of a Gaussian prior are learned.
    width : float
        Factor on the covariance in predictions, beside the temperature; rows held out have chosen it.
    learns : bool
        Whether the variance of the prior is learned while training goes by steps on mini-batches.
    reset : float
        Known weight, but for the sign, of a neuron's own trace: by so much neurons that fire are pulled down.
    """

    prior: Weights
    posterior: Weights
    temperature: float
    rule: PriorRule | None = None
    lattice: Lattice | None = None
    learned: LearnedVariance | None = None
    width: float = 1.0
    learns: bool = False
    reset: float = 0.0

    def moments(self, dtype: Any) -> WeightMoments:
        """Moments of the posterior at the layer's temperature, as training sees them."""
        return self.posterior.moments(self.temperature, dtype)

    @property
    def predictive_temperature(self) -> float:
        """Factor on the covariance of the posterior in predictions."""
        return self.temperature * self.width

    def evidence(self) -> Evidence:
        """What the data say: the posterior without the prior."""
        prior, posterior = self.prior, self.posterior
        return Evidence(posterior.precision - prior.precision, posterior.shift - prior.shift)

    def with_evidence(self, evidence: Evidence) -> LayerState:
        """The same prior with this evidence."""
        prior = self.prior
        posterior = prior.with_natural(prior.precision + evidence.precision, prior.shift + evidence.shift)
        return replace(self, posterior=posterior)

    def with_variance(self, learned: LearnedVariance) -> LayerState:
        """The same evidence under a prior of other variances."""
        assert self.learned is not None
        assert isinstance(self.prior, GaussianWeights) and isinstance(self.posterior, GaussianWeights)
        change = self.learned.change(learned, self.prior.mean.shape[0])
        # Both keep their means' shifts: those of the weights' priors are 0, and the bias' prior does not change.
        prior, posterior = (q.times_factor(change, 0 * change) for q in (self.prior, self.posterior))
        return replace(self, prior=prior, posterior=posterior, learned=learned)

    def with_learned_variance(self) -> LayerState:
        """The same evidence under the prior that makes it most probable."""
        layer = self
        for _ in range(MOST_STEPS):
            before = layer.learned
            assert before is not None
            after = before.improved(layer.posterior)
            layer = layer.with_variance(after)
            if before.is_near(after):
                break
        return layer

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

    def with_refreshed_prior(self, counts: UpdateCounts) -> LayerState:
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


@dataclass(frozen=True)
class State:
    """A network with what stochastic EP must remember of the past; replaced, never changed.

    Attributes
    ----------
    network : Network
    layers : tuple of LayerState
        One for each layer of weights.
    power : float
        Exponent alpha of power EP: 1 is EP, 0 the variational limit.
    gain : float
        Factor between levels and the last layer's discrete weights; 1 for continuous ones.
    variance_floor : float
        Least variance of a potential.
    mass : float
        Sum of the sample weights whose evidence the posterior holds.
    step : float
        Newton step length that worked last.
    noise : NoiseEvidence or None
        When the noise variance of a Gaussian output is learned.
    walk : Walk or None
        While training goes by steps on mini-batches, see `sk_epsnn.ep.stochastic`.
    counts : UpdateCounts
        Rejected and bounded updates so far.
    choices : tuple of (str, float)
        Names of settings, and what short trials have chosen for them.
    """

    network: Network
    layers: tuple[LayerState, ...]
    power: float
    gain: float = 1.0
    variance_floor: float = VARIANCE_FLOOR
    mass: float = 0.0
    step: float = 1.0
    noise: NoiseEvidence | None = None
    walk: Any = None
    counts: UpdateCounts = field(default_factory=UpdateCounts)
    choices: tuple[tuple[str, float], ...] = ()

    @property
    def posteriors(self) -> list[Weights]:
        """Posterior of every layer."""
        return [layer.posterior for layer in self.layers]

    @property
    def priors(self) -> list[Weights]:
        """Prior of every layer."""
        return [layer.prior for layer in self.layers]

    def moments(self, dtype: Any) -> list[WeightMoments]:
        """Weight moments of every layer, for predictions."""
        return [layer.posterior.moments(layer.predictive_temperature, dtype) for layer in self.layers]

    def training_moments(self, dtype: Any) -> list[WeightMoments]:
        """Weight moments of every layer, as training sees them."""
        return [layer.moments(dtype) for layer in self.layers]

    def with_layers(self, layers: Sequence[LayerState]) -> State:
        """The same with other layers."""
        return replace(self, layers=tuple(layers))

    def with_posteriors(self, posteriors: Sequence[Weights]) -> State:
        """The same with other posteriors."""
        return self.with_layers([replace(a, posterior=q) for a, q in zip(self.layers, posteriors, strict=True)])

    def with_noise_variance(self, variance: Array) -> State:
        """The same with another noise of the outputs."""
        output: Any = self.network.output
        return self.with_output(output.with_noise_variance(variance))

    def with_output(self, output: Any) -> State:
        """The same with other outputs."""
        return replace(self, network=replace(self.network, output=output))

    def with_noise_that(self, *, varies: bool) -> State:
        """The same with a noise that depends on the inputs, learned like everything else, or does not for good."""
        output: Any = self.network.output
        return replace(self.with_output(output.with_noise_that(varies=varies)), noise=None)

    def with_noise(self, noise: NoiseEvidence) -> State:
        """The same when so much is known of the noise of the outputs."""
        return replace(self.with_noise_variance(noise.variance), noise=noise)

    def seeing(self, X: Any) -> State:
        """The same with weights of their own for columns, or directions, that occur in rows for the first time."""
        assert self.network.basis is not None
        return self._grown(self.network.basis.seeing(X))

    def with_columns(self, columns: NDArray[np.int_]) -> State:
        """The same with weights of their own for more columns, where sparse rows stay sparse."""
        assert self.network.basis is not None
        return self._grown(self.network.basis.with_columns(columns))

    def with_every_axis(self) -> State:
        """The same with weights of their own for everything: what differs from input to input has room."""
        basis = self.network.basis
        return self if basis is None else self._grown(basis.with_every_axis())

    def _grown(self, grown: tuple[InputBasis, NDArray[np.int_]] | None) -> State:
        """The same in a basis of more axes, given with the axis here of each axis there; None for no more.

        Nothing has been learned of these yet: their weights are those of the axis that they shared.
        """
        if grown is None:
            return self
        basis, axes = grown
        first = converted(self.layers[0], lambda array: entries(array, like(axes, array), axis=1))
        return replace(self.with_layers([first, *self.layers[1:]]), network=replace(self.network, basis=basis))

    def at_temperatures(self, temperatures: Sequence[float]) -> State:
        """The same with the layers at these temperatures."""
        pairs = zip(self.layers, temperatures, strict=True)
        return self.with_layers([replace(layer, temperature=value) for layer, value in pairs])

    def with_widths(self, widths: Sequence[float]) -> State:
        """The same with these factors on the covariances in predictions."""
        return self.with_layers([replace(layer, width=w) for layer, w in zip(self.layers, widths, strict=True)])

    def known(self, weights: Sequence[Array] | None = None) -> State:
        """The same with every weight known: one array per layer, or the most probable ones."""
        weights = weights or [posterior.mode() for posterior in self.posteriors]
        layers = [
            replace(layer, posterior=KnownWeights(known), rule=None)
            for layer, known in zip(self.layers, weights, strict=True)
        ]
        return replace(self.with_layers(layers), variance_floor=KNOWN_VARIANCE_FLOOR)

    @property
    def is_known(self) -> bool:
        """Whether the weights are known, see `known`."""
        return self.layers[0].posterior.is_known

    def recentred(self, other: State) -> State:
        """The covariances of this state with the means of another, where these are free of each other."""
        return self.with_posteriors(
            [recentred(mine, theirs) for mine, theirs in zip(self.posteriors, other.posteriors, strict=True)]
        )

    def faded(self, factor: float) -> State:
        """The state when all evidence so far counts only to the power of ``factor``, between 0 and 1; 1 is itself."""
        if factor == 1 or self.mass == 0:
            return self
        faded = self.with_posteriors([layer.posterior.power_blend(layer.prior, factor) for layer in self.layers])
        return replace(faded, mass=factor * self.mass, noise=self.noise and self.noise.cavity(factor))

    def since(self, start: State) -> Change:
        """What was learned since an earlier state of this one."""
        return Change(
            [a.evidence().minus(b.evidence()) for a, b in zip(self.layers, start.layers, strict=True)],
            self.mass - start.mass,
            self.noise and start.noise and self.noise.plus(start.noise, -1),
            self.counts.since(start.counts),
            self.step,
        )

    def plus(self, changes: Sequence[Change], step: float = 1.0) -> State:
        """Add, in this order, what was learned apart by states that all started here; what this one knows counts once.

        Parameters
        ----------
        changes : sequence of Change
        step : float in (0, 1], default=1
            Fraction of the changes of the posterior to take.

        Raises
        ------
        ValueError
            If the sum is no posterior.
        """
        evidence = [layer.evidence() for layer in self.layers]
        state = self
        for change in changes:
            evidence = [mine.plus(theirs.times(step)) for mine, theirs in zip(evidence, change.layers, strict=True)]
            state = replace(
                state,
                mass=state.mass + change.mass,
                noise=state.noise and change.noise and state.noise.plus(change.noise),
                counts=state.counts.plus(change.counts),
            )
        layers = [layer.with_evidence(e) for layer, e in zip(self.layers, evidence, strict=True)]
        if not all(layer.posterior.is_proper for layer in layers):
            raise ValueError("The evidence does not add up to a posterior: some precisions would not be positive.")
        counts = replace(state.counts)
        state = state.with_layers([layer.with_refreshed_prior(counts) for layer in layers])
        if state.noise is not None:
            state = state.with_noise(state.noise)
        return replace(state, counts=counts, step=min(change.step for change in changes))


def aligned(states: Sequence[State]) -> list[State]:
    """The states with weights of their own for the same columns, where sparse rows stay sparse."""
    columns = [state.network.basis and state.network.basis.columns for state in states]
    if any(each is None for each in columns):
        return list(states)
    return [state.with_columns(np.concatenate([to_numpy(each) for each in columns])) for state in states]
