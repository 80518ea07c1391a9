"""Expectation Propagation as a trainer: how a posterior starts, learns from batches, predicts and becomes known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sk_epsnn._arrays import array_namespace, converted, is_singular, like
from sk_epsnn.activations import GaussianOutput
from sk_epsnn.ep.noise import HeldOut, choose_on_held_out, noise_prior
from sk_epsnn.ep.setup import Design, Structure, output_gain, set_up
from sk_epsnn.ep.shards import absorb_apart
from sk_epsnn.mixing import observed
from sk_epsnn.network import Spread
from sk_epsnn.sep import Model, Schedule, absorb
from sk_epsnn.training import Course, Progress, Report, Rows, Trainer

_TOO_PRECISE = (
    "These rows say more about the weights than float64 arithmetic can keep: some precisions are too large beside the "
    "prior's. Give smaller values of sample_weight, or a larger noise_variance or variance of the prior."
)


@dataclass(frozen=True)
class EPTrainer(Trainer):
    """Stochastic Expectation Propagation.

    Attributes
    ----------
    design : Design
    schedule : Schedule
    learns_noise : bool
        Whether the noise variance of the Gaussian outputs is learned.
    held_out : HeldOut or None
        Rows that judge the noise, and perhaps the hidden temperature, before a fit trains on all rows; without any, a
        learned noise is learned in training.
    """

    design: Design
    schedule: Schedule
    learns_noise: bool
    held_out: HeldOut | None = None

    def start(self, network: Structure, rows: Rows, rng: np.random.RandomState) -> Model:
        """See `Trainer.start`; set up in NumPy, however small, and moved to where the inputs are."""
        noise = noise_prior(np.zeros(network.widths[-1])) if self.learns_noise else None
        if noise is not None:
            network = replace(network, output=GaussianOutput(noise.variance))
        basis, layers = set_up(network, self.design, rows, rng)
        model = Model(
            layers,
            basis=basis,
            noise=noise,
            gain=output_gain(network, self.design, basis),
        )
        if array_namespace(rows.X) is np:
            return model
        return converted(model, lambda array: like(array, rows.X))

    def prepare(
        self, progress: Progress, rows: Rows, course: Course, rng: np.random.RandomState, tell: Callable[[str], None]
    ) -> Progress:
        """See `Trainer.prepare`: held-out rows choose the noise and the hidden temperature."""
        if self.held_out is None:
            return progress
        return choose_on_held_out(self, progress, rows, self.held_out, course, rng, tell)

    def resume(self, state: Model, n_samples: int) -> Model:
        """See `Trainer.resume`: a noise that held-out rows have judged stays as it is."""
        return state if self.held_out is None else replace(state, noise=None)

    def finish(self, state: Model, mass: float) -> Model:
        """See `Trainer.finish`: a noise that held-out rows have judged is known now, but for what a stream adds."""
        if self.held_out is None:
            return state
        variance = state.network.output.noise_variance
        return replace(state, noise=noise_prior(0 * variance).known(variance, mass))

    def absorb(
        self, state: Model, batch: Rows, total_mass: float, rng: np.random.RandomState | None = None
    ) -> tuple[Model, Report]:
        """See `Trainer.absorb`.

        Raises
        ------
        ValueError
            If the rows say more than float64 arithmetic can keep.
        """
        with _refuse_too_precise():
            state, result = absorb(state, state.batch(batch), self.schedule, total_mass)
        return _with_variances(state), Report(result.energy, [result.step])

    def absorb_apart(
        self,
        state: Model,
        shards: Sequence[Rows],
        batches: Sequence[Sequence[Any]],
        total_mass: float,
        n_jobs: int | None,
    ) -> tuple[Model, Report]:
        """See `Trainer.absorb_apart`."""
        with _refuse_too_precise():
            state, report = absorb_apart(self, state, shards, batches, total_mass, n_jobs)
        return _with_variances(state), report

    def faded(self, state: Model, factor: float) -> Model:
        """See `Trainer.faded`."""
        return state.faded(factor)

    def predictor(self, state: Model, dtype: Any, rng: np.random.RandomState | None = None) -> Callable[[Any], Spread]:
        """See `Trainer.predictor`: one forward pass, nothing random."""
        weights = state.network.moments(dtype)
        return lambda X: state.network.predict_spread(observed(state.basis.transform(X)), weights)

    def known(self, state: Model, weights: str, rng: np.random.RandomState | None = None) -> Model:
        """See `Trainer.known`.

        "mode" is the most probable weights, "mean" the posterior means, "sample" a draw at the temperature of each
        layer; levels are drawn by their probabilities.
        """
        network, known = state.network, None
        if weights == "mean":
            known = [layer.posterior.mean for layer in network.layers]
            # Potentials of means of levels are nowhere exactly 0 for a reason.
            network = replace(network, layers=[replace(layer, lattice=None) for layer in network.layers])
        elif weights == "sample":
            known = [layer.posterior.sample(layer.temperature, rng) for layer in network.layers]
        return replace(state, network=network.frozen(known))


@contextmanager
def _refuse_too_precise() -> Iterator[None]:
    """Say what a matrix without an inverse means, whatever the library of the arrays calls it."""
    try:
        yield
    except Exception as error:
        if not is_singular(error):
            raise
        raise ValueError(_TOO_PRECISE) from error


def _with_variances(state: Model) -> Model:
    """The state, refused if a weight has no variance left."""
    xp = array_namespace(state.basis.offset)
    if not all(bool(xp.all(weights.variance > 0)) for weights in state.network.moments(xp.float64)):
        raise ValueError(_TOO_PRECISE)
    return state
