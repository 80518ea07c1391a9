"""Stochastic EP over batches (Algorithm 3 of [1]_): cavities, the ramped exponent, noise. No message formulas.

The data's share of the posterior is one average factor ``q1`` to the power of the number of batches it stands for
(eq. 32). With the step ``1/B`` of eq. 34 the new posterior is exactly the batch's own, ``q_new = q_b``, so only the
posterior and the *mass* of evidence it holds need to be kept. A batch of mass ``b`` out of a total ``N`` starts from
the cavity ``q0 (q / q0)^f`` with ``f = min(1, (N - b) / mass)``: in the first pass nothing is taken out (assumed
density filtering, which is what a stream needs), afterwards the batch's own share ``b / N`` is (eq. 33).

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, Algorithm 3, eqs. 32-34.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sk_epsnn._arrays import Array, astype, exp, log, sum_over, total_of, where
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.ep.steps import recentred
from sk_epsnn.inference import Batch, BatchResult, average_ep, divergence, log_evidence, newton
from sk_epsnn.network import Evidence, Network
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.weights import Weights


@dataclass(frozen=True)
class Schedule:
    """How one batch is worked on.

    Attributes
    ----------
    name : {"newton", "average_ep"}
    n_sweeps : int
    damping : float
        For "average_ep".
    tol : float
        Nats per sample below which a sweep counts as settled.
    """

    name: str
    n_sweeps: int
    damping: float
    tol: float


@dataclass(frozen=True)
class NoiseEvidence:
    """Sufficient statistics of the observation noise: ``variance = squares / mass``, each output its own.

    Attributes
    ----------
    prior_mass, prior_squares : float
        Pseudo-observations of the prior.
    mass : float
    squares : array of shape (n_out,)
    """

    prior_mass: float
    prior_squares: float
    mass: float
    squares: Array

    def cavity(self, exponent: float) -> NoiseEvidence:
        """Take the batch's own share out, as for the weights."""
        return replace(self, mass=exponent * self.mass, squares=exponent * self.squares)

    def known(self, variance: Array, mass: float) -> NoiseEvidence:
        """The same prior with ``mass`` observations that make ``variance`` the estimate."""
        return replace(self, mass=mass, squares=variance * (self.prior_mass + mass) - self.prior_squares)

    def plus(self, other: NoiseEvidence, times: int = 1) -> NoiseEvidence:
        """Add what another one has observed, or take it out with ``times=-1``; the prior stays."""
        return replace(self, mass=self.mass + times * other.mass, squares=self.squares + times * other.squares)

    @property
    def variance(self) -> Array:
        """Current estimate, shape (n_out,)."""
        return (self.prior_squares + self.squares) / (self.prior_mass + self.mass)

    def absorb(self, residual: Array, spread: Array, sample_weight: Array, power: float) -> NoiseEvidence:
        """Add a batch: the fixed point of ``v = (prior + sum E[(y - u)^2]) / (prior mass + mass)``.

        ``E[(y - u)^2] = (v r / D)^2 + v S / D`` with ``D = v + alpha S`` is the second moment of the noise under
        the tilted distribution; its fixed point is the maximum of the power-EP evidence in ``v``.
        """
        weight, residual, spread = (astype(a, "float64") for a in (sample_weight[:, None], residual, spread))
        mass = self.mass + total_of(weight)

        def squares(variance: Array) -> Array:
            total = variance + power * spread
            second_moment = (variance * residual / total) ** 2 + variance * spread / total
            return self.squares + sum_over(weight * second_moment, axis=0)

        def estimate(squares: Array) -> Array:
            return (self.prior_squares + squares) / (self.prior_mass + mass)

        # The second moment lies between 0 and r^2 + S, which brackets the fixed point: bisect it in the logarithm.
        low = log(estimate(self.squares))
        high = log(estimate(self.squares + sum_over(weight * (residual**2 + spread), axis=0)))
        for _ in range(40):
            middle = 0.5 * (low + high)
            grows = log(estimate(squares(exp(middle)))) > middle
            low, high = where(grows, middle, low), where(grows, high, middle)
        return replace(self, mass=mass, squares=squares(exp(low)))


class Change(NamedTuple):
    """What a model has learned since an earlier state: everything in it adds up.

    Attributes
    ----------
    layers : list of Evidence
    mass : float
    noise : NoiseEvidence or None
    counts : UpdateCounts
    step : float
        Newton step length that worked last; of several, the shortest.
    """

    layers: list[Evidence]
    mass: float
    noise: NoiseEvidence | None
    counts: UpdateCounts
    step: float


@dataclass(frozen=True)
class Model:
    """A network with what stochastic EP must remember of the past; replaced, never changed, by `absorb`.

    Attributes
    ----------
    network : Network
    mass : float
        Sum of the sample weights whose evidence the posterior holds.
    step : float
        Newton step length that worked last.
    noise : NoiseEvidence or None
        When the noise variance of a Gaussian output is learned.
    counts : UpdateCounts
        Rejected and bounded updates so far.
    """

    network: Network
    mass: float = 0.0
    step: float = 1.0
    noise: NoiseEvidence | None = None
    counts: UpdateCounts = field(default_factory=UpdateCounts)

    def log_evidence(self, batch: Batch) -> float:
        """Summed log evidence of rows, in nats."""
        return log_evidence(self.network, batch, [layer.posterior for layer in self.network.layers])

    def divergence(self) -> float:
        """Divergence of the posterior from the prior, in nats."""
        layers = self.network.layers
        return divergence(self.network, [layer.posterior for layer in layers], [layer.prior for layer in layers])

    def recentred(self, other: Model) -> Model:
        """The covariances of this model with the means of another, where these are free of each other."""
        pairs = zip(self.network.layers, other.network.layers, strict=True)
        layers = [replace(mine, posterior=recentred(mine.posterior, theirs.posterior)) for mine, theirs in pairs]
        return replace(self, network=replace(self.network, layers=layers))

    def faded(self, factor: float) -> Model:
        """The model when all evidence so far counts only to the power of ``factor``, between 0 and 1; 1 is itself."""
        if factor == 1 or self.mass == 0:
            return self
        layers = [
            replace(layer, posterior=layer.posterior.power_blend(layer.prior, factor)) for layer in self.network.layers
        ]
        noise = self.noise and self.noise.cavity(factor)
        return replace(self, network=replace(self.network, layers=layers), mass=factor * self.mass, noise=noise)

    def since(self, start: Model) -> Change:
        """What was learned since an earlier state of this model."""
        return Change(
            [a.evidence().minus(b.evidence()) for a, b in zip(self.network.layers, start.network.layers, strict=True)],
            self.mass - start.mass,
            self.noise and start.noise and self.noise.plus(start.noise, -1),
            self.counts.since(start.counts),
            self.step,
        )

    def plus(self, changes: Sequence[Change], step: float = 1.0) -> Model:
        """Add, in this order, what was learned apart by models that all started here; what this one knows counts once.

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
        evidence = [layer.evidence() for layer in self.network.layers]
        model = self
        for change in changes:
            evidence = [mine.plus(theirs.times(step)) for mine, theirs in zip(evidence, change.layers, strict=True)]
            model = replace(
                model,
                mass=model.mass + change.mass,
                noise=model.noise and change.noise and model.noise.plus(change.noise),
                counts=model.counts.plus(change.counts),
            )
        layers = [layer.with_evidence(e) for layer, e in zip(self.network.layers, evidence, strict=True)]
        if not all(layer.posterior.is_proper for layer in layers):
            raise ValueError("The evidence does not add up to a posterior: some precisions would not be positive.")
        counts = replace(model.counts)
        network = replace(self.network, layers=[layer.with_refreshed_prior(counts) for layer in layers])
        if model.noise is not None:
            network = replace(network, output=GaussianOutput(model.noise.variance))
        return replace(model, network=network, counts=counts, step=min(change.step for change in changes))


def absorb(model: Model, batch: Batch, schedule: Schedule, total_mass: float) -> tuple[Model, BatchResult]:
    """Update the posterior with one batch.

    Parameters
    ----------
    model : Model
    batch : Batch
    schedule : Schedule
    total_mass : float
        Sum of the sample weights of the whole data set; infinity for a stream, whose batches all count as new.

    Returns
    -------
    model : Model
        A new model; the old one is unchanged.
    result : BatchResult
    """
    mass = batch.mass
    exponent = min(1.0, max(total_mass - mass, 0.0) / model.mass) if model.mass > 0 else 0.0
    cavities = [layer.posterior.power_blend(layer.prior, exponent) for layer in model.network.layers]
    result = _work(model, batch, cavities, schedule)
    counts = model.counts.plus(result.counts)
    if not result.accepted:
        return replace(model, counts=counts), result
    layers = [replace(layer, posterior=q) for layer, q in zip(model.network.layers, result.posteriors, strict=True)]
    # The optional step of Algorithm 1: q0(W) of a prior that is not conjugate, seen from the new posterior.
    layers = [layer.with_refreshed_prior(counts) for layer in layers]
    network = replace(model.network, layers=layers)
    noise = model.noise
    if noise is not None:
        # Residuals of a fit are too small, so the noise is judged by the posterior before this batch, if it knows any.
        judge = model.network if model.mass > 0 else network
        # A batch that is new was truly predicted: the evidence of that prediction is the plain one.
        power = 1.0 if exponent == 1 else judge.power
        noise = _learn_noise(judge, noise.cavity(exponent), batch, power)
        network = replace(network, output=GaussianOutput(noise.variance))
    return Model(network, exponent * model.mass + mass, result.step, noise, counts), result


def judge(network: Network, held_out: Batch, prior: NoiseEvidence) -> tuple[Array, float]:
    """What rows that the posterior has not seen say of it.

    Returns
    -------
    noise_variance : array of shape (n_out,)
        The noise that makes these rows most probable, ``prior`` included.
    score : float
        Their log density with it, in nats per unit of weight, summed over the outputs.
    """
    mean, spread, _ = network.predict(held_out.inputs, network.moments(held_out.target.dtype))
    variance = prior.absorb(held_out.target - mean, spread, held_out.sample_weight, 1.0).variance
    log_density = GaussianOutput(variance).log_partition(mean, spread, held_out.target, 1.0)
    return variance, float(held_out.sample_weight @ sum_over(log_density, axis=1)) / held_out.mass


def _work(model: Model, batch: Batch, cavities: list[Weights], schedule: Schedule) -> BatchResult:
    if schedule.name == "average_ep":
        return average_ep(
            model.network,
            batch,
            cavities,
            damping=schedule.damping,
            n_sweeps=schedule.n_sweeps,
            tol=schedule.tol,
        )
    return newton(
        model.network,
        batch,
        cavities,
        step=model.step,
        n_sweeps=schedule.n_sweeps,
        tol=schedule.tol,
    )


def _learn_noise(judge: Network, noise: NoiseEvidence, batch: Batch, power: float) -> NoiseEvidence:
    mean, spread, _ = judge.predict(batch.inputs, judge.moments(batch.target.dtype))
    return noise.absorb(batch.target - mean, spread, batch.sample_weight, power)
