"""Stochastic Expectation Propagation (Algorithm 3 of [1]_) as a trainer: cavities, the ramped exponent, noise.

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

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sk_epsnn._arrays import array_namespace, converted, diagonal, is_all, is_singular, like, zeros_like
from sk_epsnn.course import Course, Rows
from sk_epsnn.ep.average import average_ep
from sk_epsnn.ep.design import Design
from sk_epsnn.ep.energy import BatchResult
from sk_epsnn.ep.evidence import NoiseEvidence, kept_share
from sk_epsnn.ep.held_out import HeldOut, Stop, choose_on_held_out
from sk_epsnn.ep.newton import newton
from sk_epsnn.ep.noise import learned_noise, with_varying_noise
from sk_epsnn.ep.passes import predict_spread
from sk_epsnn.ep.setup import set_up
from sk_epsnn.ep.shards import absorb_apart
from sk_epsnn.ep.state import State
from sk_epsnn.ep.trials import chosen
from sk_epsnn.messages import Spread
from sk_epsnn.network import Batch, Network
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.training import Progress, Report, Trainer
from sk_epsnn.weights import Weights

#: Rows are kept in coordinates during a fit if that takes at most so many numbers.
MOST_ENTERED = 2**26

#: Precision of a weight where all others are known over that where they are unknown: beyond this a joint variance
#: is nothing but rounding.
_MOST_PRECISE = float(0.1 / np.finfo(np.float64).eps)
_TOO_PRECISE = (
    "These rows say more about the weights than float64 arithmetic can keep: some precisions are too large beside the "
    "prior's. Give smaller values of sample_weight, or a larger noise_variance or variance of the prior."
)


@dataclass(frozen=True)
class Schedule:
    """How one batch is worked on.

    Attributes
    ----------
    name : {"newton", "average_ep"}
    n_sweeps : int
    damping : float or None
        For "average_ep"; None finds one for every sweep.
    tol : float
        Nats per sample below which a sweep counts as settled.
    """

    name: str
    n_sweeps: int
    damping: float | None
    tol: float

    def work(self, state: State, batch: Batch, cavities: list[Weights]) -> BatchResult:
        """Posteriors of one batch, given the cavities that it starts from."""
        if self.name == "average_ep":
            return average_ep(state, batch, cavities, damping=self.damping, n_sweeps=self.n_sweeps, tol=self.tol)
        return newton(state, batch, cavities, step=state.step, n_sweeps=self.n_sweeps, tol=self.tol)


@dataclass(frozen=True)
class EPTrainer(Trainer):
    """What all trainers by Expectation Propagation share: set-up, held-out rows, prediction, known weights.

    Attributes
    ----------
    design : Design
    learns_noise : bool
        Whether the noise variance of the Gaussian outputs is learned.
    held_out : HeldOut or None
        Rows that judge the noise, and perhaps the hidden temperature, before a fit trains on all rows; without any, a
        learned noise is learned in training.
    single : bool
        Whether to work in single precision, whose rounding hidden layers do not notice.
    varies : bool
        Whether the noise is to depend on the inputs, once what a constant noise explains is known.
    """

    design: Design
    learns_noise: bool
    held_out: HeldOut | None = None
    single: bool = False
    varies: bool = False
    #: Whether variances of the prior are learned after every pass.
    learns_variance = False

    def start(self, network: Network, rows: Rows, rng: np.random.RandomState) -> State:
        """See `Trainer.start`: set up in NumPy, which is little work, and moved to where the inputs are."""
        if self.design.learns == "each" and not self.learns_variance:
            raise ValueError(
                "The variances of prior='ard' are learned by fit, not from a stream; call fit with the first rows, and "
                "partial_fit then."
            )
        trainer, network = chosen(self, network, rows, rng)
        design = trainer.design
        choices = (("prior__spectral_exponent", design.spectral_exponent),) if self.design.other_exponents else ()
        output: Any = network.output
        noise = NoiseEvidence.none_yet(np.zeros(network.n_targets)) if self.learns_noise else None
        if noise is not None:
            network = replace(network, output=output.with_noise_variance(noise.variance))
        state = replace(set_up(network, design, rows, rng), noise=noise, choices=choices)
        if array_namespace(rows.X) is np:
            return state
        return converted(state, lambda array: like(array, rows.X))

    def prepare(
        self, progress: Progress, rows: Rows, course: Course, rng: np.random.RandomState, tell: Callable[[str], None]
    ) -> Progress:
        """See `Trainer.prepare`: held-out rows choose the noise, temperatures, and how wide predictions are."""
        if self.held_out is None:
            return progress
        return choose_on_held_out(self, progress, rows, self.held_out, course, rng, tell)

    def for_passes(self, n_passes: int) -> EPTrainer:
        """See `Traveller.for_passes`."""
        return replace(self, varies=False)

    def towards(self, state: State, stop: Stop, *, goes_on: bool) -> State:
        """See `Traveller.towards`."""
        if stop.temperatures is not None:
            state = state.at_temperatures(stop.temperatures)
        return state

    def resume(self, state: State, n_samples: int) -> State:
        """See `Trainer.resume`: a noise that held-out rows have judged stays as it is."""
        return state if self.held_out is None else replace(state, noise=None)

    def finish(self, state: State, mass: float) -> State:
        """See `Trainer.finish`: a noise that held-out rows have judged is known now, but for what a stream adds."""
        output = state.network.output
        if self.held_out is None or not isinstance(output, GaussianOutput) or output.varies:
            return state
        noise = NoiseEvidence.none_yet(zeros_like(output.noise_variance))
        return replace(state, noise=noise.known(output.noise_variance, mass))

    def enter(self, state: State, rows: Rows) -> Rows | Batch:
        """See `Trainer.enter`: the rows in coordinates, which is most work where inputs are rotated.

        Not where that would take too much memory. Patches take many times that of their images, and little time.
        """
        network = state.network
        assert network.basis is not None
        size = rows.n_samples * network.n_rows[0] * network.fan_ins[0]
        if network.basis.rotation is None or network.connections[0].reads_patches or size > MOST_ENTERED:
            return rows
        return self.entered(state, rows)

    def entered(self, state: State, rows: Rows | Batch) -> Batch:
        """Rows in the coordinates of the network and in the precision to work in."""
        batch = rows if isinstance(rows, Batch) else state.network.batch(*rows)
        return batch.in_dtype("float32") if self.single else batch

    def _begins_to_vary(self, state: State) -> bool:
        """Whether the noise is constant as yet, and is not to stay so."""
        output: Any = state.network.output
        return self.varies and output.varies is None

    @staticmethod
    def _seeing(state: State, rows: Rows | Batch) -> State:
        """The state with weights of their own for columns that occur for the first time."""
        return state if isinstance(rows, Batch) else state.seeing(rows.X)

    def check(self, state: State) -> None:
        """See `Trainer.check`: every weight must have some variance left, and one that is not nothing but rounding."""
        for layer, weights in zip(state.layers, state.training_moments("float64"), strict=True):
            if not is_all(weights.variance > 0):
                raise ValueError(_TOO_PRECISE)
            joint = layer.posterior.precision
            if joint.ndim == 3 and not is_all(weights.variance * diagonal(joint) < _MOST_PRECISE):
                raise ValueError(_TOO_PRECISE)

    def n_refused(self, state: State) -> int:
        """See `Trainer.n_refused`."""
        return state.counts.rejected_batches

    def faded(self, state: State, factor: float) -> State:
        """See `Trainer.faded`."""
        return state.faded(factor)

    def predictor(self, state: State, dtype: Any, rng: np.random.RandomState | None = None) -> Callable[[Any], Spread]:
        """See `Trainer.predictor`: one forward pass, nothing random."""
        weights = state.moments(dtype)
        return lambda X: predict_spread(state, state.network.enter(X), weights)

    def known(self, state: State, weights: str, rng: np.random.RandomState | None = None) -> State:
        """See `Trainer.known`.

        "mode" is the most probable weights, "mean" the posterior means, "sample" a draw at the temperature of each
        layer; levels are drawn by their probabilities.
        """
        if weights == "mean":
            # Potentials of means of levels are nowhere exactly 0 for a reason.
            state = state.with_layers([replace(layer, lattice=None) for layer in state.layers])
            return state.known([posterior.mean for posterior in state.posteriors])
        if weights == "sample":
            assert rng is not None
            state = state.with_every_axis()
            return state.known([layer.posterior.sample(layer.predictive_temperature, rng) for layer in state.layers])
        return state.known()


@dataclass(frozen=True, kw_only=True)
class SweepTrainer(EPTrainer):
    """Stochastic Expectation Propagation: sweeps over one batch after another, each batch's share taken out before.

    Attributes
    ----------
    schedule : Schedule
    """

    schedule: Schedule

    def absorb(
        self, state: State, batch: Rows | Batch, total_mass: float, rng: np.random.RandomState | None = None
    ) -> tuple[State, Report]:
        """See `Trainer.absorb`.

        Raises
        ------
        ValueError
            If the rows say more than float64 arithmetic can keep.
        """
        state = self._seeing(state, batch)
        with _refuse_too_precise():
            batch = self.entered(state, batch)
            if self._begins_to_vary(state):
                state = self._varying_from(state, batch, total_mass)
            state, result = self._absorb(state, batch, total_mass)
        return state, Report(result.energy, [result.step])

    def _varying_from(self, state: State, batch: Batch, total_mass: float) -> State:
        """The state about to learn how its noise varies.

        Where nothing is known yet, what a constant noise explains of the batch is where it starts, and no evidence.
        """
        if state.mass == 0:
            state = replace(self._absorb(state, batch, total_mass)[0], mass=0.0)
        return with_varying_noise(state, batch)

    def _absorb(self, state: State, batch: Batch, total_mass: float) -> tuple[State, BatchResult]:
        mass = batch.mass
        exponent = kept_share(state.mass, total_mass, mass)
        cavities = [layer.posterior.power_blend(layer.prior, exponent) for layer in state.layers]
        result = self.schedule.work(state, batch, cavities)
        counts = state.counts.plus(result.counts)
        if not result.accepted:
            return replace(state, counts=counts), result
        # The optional step of Algorithm 1: q0(W) of a prior that is not conjugate, seen from the new posterior.
        learned = state.with_posteriors(result.posteriors)
        learned = learned.with_layers([layer.with_refreshed_prior(counts) for layer in learned.layers])
        if state.noise is not None:
            # Residuals of a fit are too small, so the posterior before this batch judges the noise, if it knows any.
            judge = state if state.mass > 0 else learned
            # A batch that is new was truly predicted: the evidence of that prediction is the plain one.
            power = 1.0 if exponent == 1 else state.power
            noise = learned_noise(judge, state.noise.cavity(exponent), batch, power)
            learned = learned.with_noise(noise)
        return replace(learned, mass=exponent * state.mass + mass, step=result.step, counts=counts), result

    def absorb_apart(
        self,
        state: State,
        shards: Sequence[Rows],
        batches: Sequence[Sequence[Any]],
        total_mass: float,
        n_jobs: int | None,
    ) -> tuple[State, Report]:
        """See `Trainer.absorb_apart`."""
        for rows in shards:
            state = self._seeing(state, rows)
        with _refuse_too_precise():
            if self._begins_to_vary(state):
                constant = replace(self, varies=False)
                state, _ = absorb_apart(constant, self.entered, state, shards, batches, total_mass, n_jobs)
                state = with_varying_noise(state, self.entered(state, shards[0].take(batches[0][0])))
            return absorb_apart(self, self.entered, state, shards, batches, total_mass, n_jobs)


@contextmanager
def _refuse_too_precise() -> Iterator[None]:
    """Say what a matrix without an inverse means, whatever the library of the arrays calls it."""
    try:
        yield
    except Exception as error:
        if not is_singular(error):
            raise
        raise ValueError(_TOO_PRECISE) from error
