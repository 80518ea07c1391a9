"""Multi-sample learning of a probabilistic spiking network, behind the verbs of a trainer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from sk_epsnn.course import Course, Rows
from sk_epsnn.gem.credit import Credit, effective_sample_size, log_weights, over_later_steps
from sk_epsnn.gem.decisions import Readings, read
from sk_epsnn.gem.inputs import InputCode, Inputs, Uniforms, common, fresh
from sk_epsnn.gem.network import SpikingNetwork, Weights
from sk_epsnn.gem.online import Moment, Steps, step_gradient, window
from sk_epsnn.gem.options import MultiSampleRule
from sk_epsnn.gem.passes import clamped, gradient, log_likelihood, run
from sk_epsnn.optimizers import Optimizer
from sk_epsnn.training import Report, Trainer

#: What is noted of steps is a running mean over so many.
_NOTED = 100


@dataclass(frozen=True)
class State:
    """What is known; replaced, never changed.

    Attributes
    ----------
    network : SpikingNetwork
    weights : mapping of str to array
        See `SpikingNetwork.shapes`.
    memory : object
        The optimizer's.
    baseline : array or None
        What the rule remembers of its signal.
    n_updates, n_planned : int
        Batches so far, since the course began, and until its end; 0 where there is none.
    n_seen : int
        Rows that the penalty is shared by: those of the fit, or of the stream so far.
    seed : int
        Of predictions.
    noted : mapping of str to array
        Running means: "effective_sample_size", and "spike_rates", of each hidden layer.
    is_stream : bool
        Whether the last rows were those of a stream.
    """

    network: SpikingNetwork
    weights: Weights
    memory: Any
    baseline: np.ndarray | None = None
    n_updates: int = 0
    n_planned: int = 0
    n_seen: int = 0
    seed: int = 0
    noted: Mapping[str, np.ndarray] = field(default_factory=dict)
    is_stream: bool = False


@dataclass(frozen=True)
class MultiSampleTrainer(Trainer):
    """K compartments that draw hidden spikes with the same weights, and a rule that says how much each counts.

    Attributes
    ----------
    rule : MultiSampleRule
    optimizer : Optimizer
    learning_rate : float
    code : InputCode
    trace_decay : float
    alpha : float
        Penalty on squared weights, shared by the rows: ``alpha / (2 n_samples)`` times their sum, as in scikit-learn's
        MLP; the precision of a Gaussian prior.
    course : Course
        Of a fit.
    at_every_step : bool
        Whether weights move at every step of a sequence, or at its end.
    n_predicting : int
        Compartments that predict.
    draws_outputs : bool
        Whether predictions need output spikes.
    """

    rule: MultiSampleRule
    optimizer: Optimizer
    learning_rate: float
    code: InputCode
    trace_decay: float
    alpha: float
    course: Course
    at_every_step: bool = False
    n_predicting: int = 10
    draws_outputs: bool = False

    def start(self, network: SpikingNetwork, rows: Rows, rng: np.random.RandomState) -> State:
        """Random weights."""
        weights = network.start(rng)
        state = State(network, weights, self.optimizer.begin(weights), seed=int(rng.randint(2**31 - 1)))
        return self._planned(state, rows.n_samples)

    def resume(self, state: State, n_samples: int) -> State:
        """The same weights at the beginning of a new course."""
        return self._planned(state, n_samples)

    def _planned(self, state: State, n_samples: int) -> State:
        n_planned = self.course.n_passes * len(self.course.batches(n_samples))
        return replace(state, n_planned=n_planned, n_updates=0, n_seen=n_samples)

    def absorb(
        self, state: State, batch: Rows, total_mass: float, rng: np.random.RandomState | None = None
    ) -> tuple[State, Report]:
        """Steps along the gradient of a batch: one, or one for each step of its sequences."""
        assert rng is not None
        is_stream = bool(np.isinf(total_mass))
        if is_stream:
            n_seen = batch.n_samples + (state.n_seen if state.is_stream else 0)
            state = replace(state, n_seen=n_seen, n_planned=0, is_stream=True)
        unit = 1.0 if is_stream else total_mass / state.n_seen
        uniforms, dtype = fresh(rng), state.weights["bias0"].dtype
        inputs = self.code.inputs(batch.X, uniforms, dtype)
        target = batch.target.astype(dtype)[np.newaxis, :, np.newaxis]
        weight = (batch.sample_weight / unit).astype(dtype)
        learn = self._at_every_step if self.at_every_step else self._at_the_end
        with np.errstate(over="ignore", invalid="ignore"):  # `check` says so
            state, log_probability, v, lengths = learn(state, inputs, target, weight, uniforms)
        size = np.asarray(effective_sample_size(v).mean())
        state = replace(state, noted=self._noted(state, "effective_sample_size", size))
        bound = logsumexp(log_probability, axis=1) - np.log(self.rule.n_compartments)
        return state, Report(float(batch.sample_weight @ bound), lengths)

    def check(self, state: State) -> None:
        """Refuse weights that are not finite.

        Raises
        ------
        ValueError
            Names the remedy.
        """
        if not all(np.isfinite(array).all() for array in state.weights.values()):
            raise ValueError(
                "Weights are no longer finite: steps were too long. Lower learning_rate of the optimizer, or, where "
                "encode='none' feeds values to the neurons, these, by sklearn.preprocessing.StandardScaler."
            )

    def _at_the_end(
        self, state: State, inputs: Inputs, target: np.ndarray, weight: np.ndarray, uniforms: Uniforms
    ) -> tuple[State, np.ndarray, np.ndarray, list[float]]:
        """One step along the mean gradient of whole sequences.

        Gives the state, the log probability of the targets by sample and compartment, log-weights, lengths of steps.
        """
        n_compartments, present = self.rule.n_compartments, inputs.present
        runs = run(state.network, state.weights, inputs.values, inputs.n_steps, n_compartments, uniforms)
        potentials = clamped(state.network, state.weights, runs.potentials, target)
        log_probability = log_likelihood(potentials, target)
        share = weight[np.newaxis, :, np.newaxis] / np.float32(max(inputs.n_present, 1))
        if present is not None:
            log_probability = log_probability * present[:, :, np.newaxis]
            share = share * present[:, :, np.newaxis]
        v = log_weights(log_probability, self.trace_decay)
        credit, baseline = self.rule.credit(v, state.baseline)
        factors = Credit(*(over_later_steps(part * share, self.trace_decay) for part in credit))
        probabilities = [layer.probability for layer in runs.hidden]
        pulls = self._pulls(probabilities, share)
        slope = gradient(state.network, runs, factors, target, potentials, pulls)
        state = replace(self._with_rates(state, probabilities), baseline=baseline)
        state, length = self._moved(state, slope)
        return state, log_probability.sum(axis=0), v, [length]

    def _at_every_step(
        self, state: State, inputs: Inputs, target: np.ndarray, weight: np.ndarray, uniforms: Uniforms
    ) -> tuple[State, np.ndarray, np.ndarray, list[float]]:
        """A step along the gradient at every step of the sequences, as `_at_the_end`."""
        sequences = Steps(state.network, inputs, self.rule.n_compartments, uniforms)
        moments: deque[list[Moment]] = deque(maxlen=window(self.trace_decay, inputs.n_steps))
        v = total = np.zeros((len(weight), self.rule.n_compartments), weight.dtype)
        signals, lengths = [], []
        for step in range(inputs.n_steps):
            present = np.ones_like(weight) if inputs.present is None else inputs.present[step]
            if not present.any():
                break
            share = (weight * present / present.sum())[:, np.newaxis]
            moment, log_probability = sequences.next(step, state.weights, target[0])
            log_probability = log_probability * present[:, np.newaxis]
            moments.appendleft(moment)
            v, total = self.trace_decay * v + log_probability, total + log_probability
            signals.append(v)
            credit, baseline = self.rule.credit(v[np.newaxis], state.baseline)
            factors = Credit(*(part[0] * share for part in credit))
            probabilities = [(layer.spikes - layer.error)[np.newaxis] for layer in moment[:-1]]
            pulls = self._pulls(probabilities, share[np.newaxis])
            slope = step_gradient(moments, factors, self.trace_decay, pulls and [pull[0] for pull in pulls])
            state = replace(self._with_rates(state, probabilities), baseline=baseline)
            state, length = self._moved(state, slope)
            lengths.append(length)
        return state, total, np.array(signals), lengths

    def _pulls(self, probabilities: list[np.ndarray], share: np.ndarray) -> list[np.ndarray] | None:
        """Gradient in the potentials of minus the divergence of hidden firing probabilities from a rate."""
        if self.rule.sparsity == 0:
            return None
        rate, pulls = self.rule.firing_rate, []
        for q in probabilities:
            excess = np.log(q) - np.log1p(-q) - np.log(rate / (1 - rate))
            pulls.append(
                (-self.rule.sparsity / q.shape[2] * share[..., np.newaxis] * q * (1 - q) * excess).astype(q.dtype)
            )
        return pulls

    def _moved(self, state: State, slope: dict[str, np.ndarray]) -> tuple[State, float]:
        """The state after a step along a gradient, and the length of that step."""
        if self.alpha > 0:
            shrink = self.alpha / state.n_seen
            slope = {
                name: part - shrink * state.weights[name] if part.ndim > 1 else part for name, part in slope.items()
            }
        changes, memory = self.optimizer.changes(slope, state.memory)
        n_updates, length = state.n_updates + 1, self.learning_rate
        if state.n_planned:
            length *= 0.5 * (1 + np.cos(np.pi * n_updates / (state.n_planned + 1)))
        weights = {name: array + np.float32(length) * changes[name] for name, array in state.weights.items()}
        return replace(state, weights=weights, memory=memory, n_updates=n_updates), float(length)

    def _with_rates(self, state: State, probabilities: list[np.ndarray]) -> State:
        return replace(state, noted=self._noted(state, "spike_rates", np.array([q.mean() for q in probabilities])))

    @staticmethod
    def _noted(state: State, name: str, value: np.ndarray) -> dict[str, np.ndarray]:
        """Running means of what says how learning goes."""
        before = state.noted.get(name)
        mean = value if before is None else before + (value - before) / _NOTED
        return {**state.noted, name: np.asarray(mean, np.float64)}

    def predictor(
        self, state: State, dtype: Any, rng: np.random.RandomState | None = None
    ) -> Callable[[np.ndarray], Readings]:
        """Function from rows of rates to what the outputs say, with the same random numbers for every row."""
        uniforms = common(state.seed)
        weights = {name: array.astype(dtype) for name, array in state.weights.items()}

        def predict(X: np.ndarray) -> Readings:
            inputs = self.code.inputs(X, uniforms, dtype)
            runs = run(state.network, weights, inputs.values, inputs.n_steps, self.n_predicting, uniforms)
            return read(state.network, weights, runs, inputs, uniforms if self.draws_outputs else None)

        return predict
