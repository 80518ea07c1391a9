"""Variational inference by importance-weighted straight-through gradients, behind the verbs of a trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sk_epsnn._arrays import Array, array_namespace, astype, concat, exp, like, sum_over, total_of
from sk_epsnn.course import Course, Rows
from sk_epsnn.messages import Inputs, InputSpace, Spread, observed
from sk_epsnn.network import Batch, Network
from sk_epsnn.optimizers import Adam, AdamMemory
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.sbnn.arrays import NamedArrays
from sk_epsnn.sbnn.handover import begun_at
from sk_epsnn.sbnn.known import known_weights
from sk_epsnn.sbnn.options import SpikeGradient
from sk_epsnn.sbnn.passes import Noise, Upward, backward, forward, spike_share
from sk_epsnn.sbnn.prediction import draw, moment_spread, network_spread
from sk_epsnn.sbnn.setup import Design, set_up
from sk_epsnn.sbnn.state import State
from sk_epsnn.sbnn.trials import chosen
from sk_epsnn.sbnn.weights import Moments
from sk_epsnn.training import Report, Trainer

#: What is noted of steps is a running mean over so many.
_NOTED = 100
#: Rows are kept in coordinates during a fit if that takes at most so many numbers.
_MOST_ENTERED = 2**27


@dataclass(frozen=True)
class VariationalTrainer(Trainer):
    """Steps along estimates of the gradient of the evidence lower bound.

    Attributes
    ----------
    gradient : SpikeGradient
    design : Design
    learning_rate, temperature, ramp : float
        Of the gradient, where those may be "auto".
    course : Course
        Of a fit.
    n_draws : int
        Networks that a prediction is made from; 0 for one pass of moments.
    """

    gradient: SpikeGradient
    design: Design
    learning_rate: float
    temperature: float
    ramp: float
    course: Course
    n_draws: int = 0
    optimizer = Adam(epsilon=1e-10)

    # ------------------------------------------------------------------ training

    def start(
        self,
        network: Network,
        rows: Rows,
        rng: np.random.RandomState,
        layers: Sequence[InputSpace] | None = None,
    ) -> State:
        """See `Trainer.start`: weights at random, or those of another network (see `begun_at`), where the rows are."""
        trainer, network = chosen(self, network, rows, rng)
        choices: tuple[tuple[str, float], ...] = ()
        if len(self.design.exponents) > 1:
            choices = (("prior__spectral_exponent", trainer.design.exponents[0]),)
        state = replace(set_up(network, trainer.design, rows, rng), choices=choices)
        state = (state if layers is None else begun_at(state, layers)).beside(rows.X)
        return self.planned(replace(state, memory=_kept(self.optimizer.begin(state.parameters))), rows)

    def resume(self, state: State, n_samples: int) -> State:
        """See `Trainer.resume`: the same weights at the beginning of a new course."""
        return replace(state, n_planned=self._n_steps(n_samples), n_updates=0)

    def planned(self, state: State, rows: Rows, n_steps: int | None = None) -> State:
        """The state at the beginning of a course of so many steps, or that of a fit, over some rows."""
        n_planned = self._n_steps(rows.n_samples) if n_steps is None else n_steps
        return replace(state, mass=rows.mass, n_planned=n_planned, n_updates=0)

    def renewed(self, state: State) -> State:
        """What is known now as the prior of what comes."""
        pairs = zip(state.families, state.priors, strict=True)
        return replace(state, priors=tuple(family.becomes_prior(state.parameters, prior) for family, prior in pairs))

    def _n_steps(self, n_samples: int) -> int:
        return self.course.n_passes * len(self.course.batches(n_samples))

    def enter(self, state: State, rows: Rows) -> Rows | Batch:
        """See `Trainer.enter`: the rows in coordinates, unless that takes too much memory."""
        size = rows.n_samples * state.network.n_rows[0] * state.coordinates.n_inputs
        return rows if size > _MOST_ENTERED else self.entered(state, rows)

    def entered(self, state: State, rows: Rows | Batch) -> Batch:
        """Rows in the coordinates of training, in single precision."""
        if isinstance(rows, Batch):
            return rows
        batch = state.network.batch(*rows)
        inputs = observed(state.coordinates.enter(batch.inputs.mean), batch.inputs.lengths)
        return replace(batch, inputs=inputs).in_dtype("float32")

    def absorb(
        self, state: State, batch: Rows | Batch, total_mass: float, rng: np.random.RandomState | None = None
    ) -> tuple[State, Report]:
        """One step along the gradient of a batch."""
        assert rng is not None
        batch = self.entered(state, batch)
        noise, weights = noise_of(rng), state.trained()
        inputs, lengths, target, weight = self._drawn(batch)
        up = forward(state.network, self.gradient, weights, inputs, lengths, noise)
        log_z, g_mean, g_variance, g_noise = self._at_outputs(state, up, target, weight)
        penalty = self.gradient.bias_penalty
        slopes = backward(state.network, weights, up, lengths, g_mean, g_variance, penalty)
        gradient: dict[str, Array] = {}
        for family, moments, slope in zip(state.families, weights, slopes, strict=True):
            gradient.update(family.pulled(state.parameters, moments, slope.mean, slope.variance))
        if g_noise is not None:
            gradient["log_noise"] = g_noise
        likelihood = total_of(weight * log_z)
        state, divergence, length = self._moved(state, gradient)
        state = replace(state, noted=self._noted(state, up, weights, likelihood))
        return state, Report(batch.mass * (likelihood - divergence), [length])

    def _drawn(self, batch: Batch) -> tuple[Array, Array | None, Array, Array]:
        """Inputs, lengths, targets and weights, which sum to 1, so many times."""
        weight = batch.weight / batch.mass
        parts = batch.inputs.mean, batch.inputs.lengths, batch.target, weight / self.gradient.n_draws
        if (n := self.gradient.n_draws) == 1:
            return parts
        return tuple(None if part is None else concat([part] * n) for part in parts)  # type: ignore[return-value]

    def _at_outputs(
        self, state: State, up: Upward, target: Array, weight: Array
    ) -> tuple[Array, Array, Array | None, Array | None]:
        """Expected log-likelihoods, and minus their gradients: in potentials, variances, logarithms of noises."""
        _, _, mean, variance = up.layers[-1]
        spread, output = 0 * mean if variance is None else variance, state.network.output
        noise = None
        if "log_noise" in state.parameters and isinstance(output, GaussianOutput):
            noise = exp(state.parameters["log_noise"])
            output = output.with_noise_variance(noise)
        log_z, message = output.evidence(mean, spread, target, 0.0)
        column = weight[:, None]
        g_variance = None if variance is None else 0.5 * column * message.kappa
        g_noise = None
        if noise is not None:
            g_noise = 0.5 * sum_over(column * (1 - ((target - mean) ** 2 + spread) / noise), axis=0)
        return sum_over(log_z, axis=1), -column * message.g, g_variance, g_noise

    def _moved(self, state: State, gradient: dict[str, Array]) -> tuple[State, float, float]:
        """The state after a step, the divergence before it that counts for a unit of weight, length of the step."""
        at = state.n_updates / max(state.n_planned, 1)
        heat = self.temperature * (min(1.0, at / self.ramp) if self.ramp > 0 else 1.0) / state.mass
        priors, units, divergence = [], {"log_noise": 1.0}, 0.0
        for family, before in zip(state.families, state.priors, strict=True):
            prior = family.prior(state.parameters, before)
            if heat > 0:
                for name, slope in family.divergence_gradient(state.parameters, prior).items():
                    gradient[name] = gradient[name] + heat * slope
                divergence += heat * family.divergence(state.parameters, prior)
            priors.append(prior)
            units.update(family.units(prior))
        length = float(0.5 * self.learning_rate * (1 + np.cos(np.pi * min(at, 1.0))))
        changes, memory = self.optimizer.changes(gradient, state.memory)
        old = state.parameters.items()
        parameters = NamedArrays.of({name: array - length * units[name] * changes[name] for name, array in old})
        moved = replace(state, parameters=parameters, priors=tuple(priors), memory=_kept(memory))
        return replace(moved, n_updates=state.n_updates + 1), divergence, length

    def _noted(self, state: State, up: Upward, weights: list[Moments], likelihood: float) -> dict[str, tuple]:
        """Running means of what says how learning goes."""
        network = state.network
        shares = [spike_share(network, k, up.layers[k], weights[k]) for k in range(1, len(weights))]
        rates = [total_of(hidden.spikes) / (hidden.a.shape[0] * hidden.a.shape[1]) for hidden in up.hidden]
        new = {"log_likelihood": (likelihood,), "gradient_bias": shares, "spike_rates": rates}
        noted = {}
        for name, values in new.items():
            before = state.noted.get(name, values)
            noted[name] = tuple(old + (here - old) / _NOTED for here, old in zip(values, before, strict=True))
        return noted

    def finish(self, state: State, mass: float) -> State:
        """See `Trainer.finish`: a noise that is learned is known now."""
        if "log_noise" not in state.parameters:
            return state
        output = GaussianOutput(astype(exp(state.parameters["log_noise"]), "float64"))
        return replace(state, network=replace(state.network, output=output))

    def check(self, state: State) -> None:
        """See `Trainer.check`."""
        if not all(np.isfinite(total_of(array)) for array in state.parameters.values()):
            raise ValueError(
                "Training has diverged: some weights are not finite. Set a smaller learning_rate of inference, or "
                "rescale X."
            )

    # ------------------------------------------------------------------ prediction

    def predictor(
        self, state: State, dtype: Any, rng: np.random.RandomState | None = None
    ) -> Callable[[Any], list[Spread]]:
        """Function from rows to the output potentials of every network that is drawn, or one of moments.

        The same networks for all rows, at every call.
        """
        weights = state.trained({name: astype(array, dtype) for name, array in state.parameters.items()})
        generator = np.random.default_rng(state.seed)
        n_draws = 1 if weights[0].variance is None else self.n_draws
        networks = [draw(weights, generator) for _ in range(n_draws)]

        def predict(X: Any) -> list[Spread]:
            entered = state.network.enter(X)
            inputs = Inputs(state.coordinates.enter(entered.mean), None, entered.lengths)
            if not networks:
                return [moment_spread(state.network, weights, inputs.mean)]
            return [network_spread(state.network, network, inputs) for network in networks]

        return predict

    def known(self, state: State, weights: str, rng: np.random.RandomState | None = None) -> State:
        """See `Trainer.known`: "mode" and "mean" are the posterior means, "sample" a draw."""
        return known_weights(state, weights, rng)


def _kept(memory: AdamMemory) -> AdamMemory:
    """What Adam remembers, as arrays that move along."""
    return memory._replace(mean=NamedArrays.of(memory.mean), square=NamedArrays.of(memory.square))


def noise_of(rng: np.random.RandomState) -> Noise:
    """Standard normal numbers beside an array, in single precision unless it is of double."""
    generator = np.random.Generator(np.random.SFC64(rng.randint(2**31 - 1)))

    def numbers(array: Array) -> Array:
        drawn = generator.standard_normal(tuple(array.shape), np.float32)
        if array_namespace(array) is np:
            return drawn.astype(array.dtype, copy=False)
        return astype(like(drawn, array), array.dtype)

    return numbers
