"""Makes the plan of a fit: every "auto" is answered here, once, and no parameter is left without effect."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone

from sk_epsnn.connections import Connection, Dense, Filter, Readout, Recurrent
from sk_epsnn.course import LEAST_SET_UP, Course
from sk_epsnn.ep.options import INFERENCES, EPInference, Newton, Stochastic
from sk_epsnn.estimators._by_rows import mini_batch
from sk_epsnn.estimators._defaults import MANY_ROWS, Case, defaults_for
from sk_epsnn.estimators._images import over_images
from sk_epsnn.estimators._plan import Answers, Parts, Plan, Problem, is_auto
from sk_epsnn.estimators._planner_ep import EPPlanner
from sk_epsnn.network import Layer, Network
from sk_epsnn.neurons import NEURONS, Heaviside, Neuron
from sk_epsnn.outputs import SPIKING_OUTPUTS, GaussianOutput, HeteroscedasticOutput, SpikingOutput
from sk_epsnn.priors import PRIORS, WeightPrior
from sk_epsnn.training import Inference, Stage, Trainer
from sk_epsnn.weights import NAMED_LEVELS, Grid


def make_plan(estimator: Any, problem: Problem) -> Plan:
    """Answer every question that the parameters of an estimator leave open.

    Raises
    ------
    ValueError
        If parameters do not fit each other or the problem, or one would have no effect; names them and the remedy.
    """
    return Planner(estimator, problem).plan()


class Planner:
    """Reads the parameters of an estimator, notes what each stands for, and checks that none is without effect."""

    def __init__(self, estimator: Any, problem: Problem):
        self.estimator, self.problem = estimator, problem
        self.answers = Answers()
        self.parts = self._parts()
        self.defaults, self.reasons = defaults_for(self._case())

    def plan(self) -> Plan:
        """All of it."""
        parts, noise_variance = self.parts, self._noise_variance()
        stages: tuple[Stage, ...]
        trainer: Trainer
        if isinstance(parts.inference, EPInference):
            planner = EPPlanner(self.answers, parts, self.defaults, self.reasons, self.problem)
            learns_noise = self.problem.task == "regressor" and noise_variance is None
            stages, trainer = planner.stages(self._course(), learns_noise)
        else:
            trainer = parts.inference.trainer(parts.network, parts.prior, parts.grid)
            stages = (Stage(trainer, self._course()),)
        return Plan(
            stages,
            trainer,
            parts.network,
            standardise=is_auto(parts.prior.variance),
            noise_variance=noise_variance,
            settings=self.answers.settings,
            automatic=tuple(sorted(self.answers.automatic)),
        )

    def _parts(self) -> Parts:
        network = self._network()
        grid, gain = self._levels()
        inference = self._inference(network, grid is not None)
        if inference.name == "average_ep" and self.problem.n_steps is not None and network.hidden:
            raise ValueError(
                "inference='average_ep' knows nothing of the weights that steps in time share; set "
                "inference='stochastic' or 'newton'."
            )
        if grid is not None and any(connection.n_own for connection in network.connections):
            raise ValueError(
                "recurrent=True is for continuous weights: the weights that a neuron has for its own layer would have "
                "to be levels too; set weights='continuous' or recurrent=False."
            )
        if network.output.name == HeteroscedasticOutput.name and inference.name not in ("newton", "stochastic"):
            raise ValueError(
                f"noise_variance={network.output.name!r} needs checked steps, and inference={inference.name!r} "
                "checks none; set inference='newton' or 'stochastic', or noise_variance='auto'."
            )
        return Parts(network, inference, self._prior(grid), grid, gain)

    def _case(self) -> Case:
        network, inference, prior, grid, _ = self.parts
        is_whole = self.estimator.shuffle and not self.problem.is_stream
        return Case(
            task=self.problem.task,
            n_layers=len(network.connections),
            # An ordered fit is a loop over a stream.
            rows_per_input=self.problem.n_targets / network.fan_ins[0] if is_whole else math.inf,
            discrete=grid is not None,
            conjugate=prior.conjugate,
            sparse=prior.sparse,
            winner=network.output.name == "softmax"
            or (network.output.name == "sigmoid" and network.readout.n_units == 1),
            varying_noise=network.output.name == HeteroscedasticOutput.name,
            inference=inference.name,
            traces=any(connection.centered for connection in network.connections) and self.problem.n_steps is not None,
            patches=network.reads_patches,
        )

    # ------------------------------------------------------------------ structure

    def _network(self) -> Network:
        connections = self._connections()
        neurons = self._neurons(len(connections))
        output = self._output() if self.problem.task == "classifier" else self._real_output()
        constant = self.answers.given("fit_intercept", bool(self.estimator.fit_intercept))
        readout: Connection = Dense(self.problem.n_outputs * output.units_per_target)
        *connections, readout = self._over_steps([*connections, readout], neurons)
        hidden = tuple(Layer(*pair) for pair in zip(connections, neurons[: len(connections)], strict=True))
        n_inputs = self.problem.n_features * (self.problem.n_steps or 1)
        return Network(hidden, readout, output, constant, n_inputs)

    def _over_steps(self, connections: Sequence[Connection], neurons: Sequence[Neuron]) -> list[Connection]:
        """Connections that follow the steps of X, those given where it has none: these may read images."""
        if self.problem.n_steps is None:
            if leaky := [neuron for neuron in neurons if neuron.has_memory]:
                raise ValueError(
                    f"activation={leaky[0]!r} remembers steps in time, and X has none; give X the shape (n_samples, "
                    "n_steps, n_features), or take activation='heaviside' or 'sigmoid'."
                )
            return over_images(connections, self.problem.n_features)
        if not all(isinstance(connection, Dense) for connection in connections):
            raise ValueError(
                "hidden_layer_sizes must hold numbers of neurons where X has steps in time; how a neuron reads them is "
                "said by activation, such as LIF(leak=0.9). A Convolution reads images as rows: X.reshape(len(X), -1)."
            )
        single = isinstance(self.estimator.activation, str | Neuron)
        if not single and any(neuron.readout != "mean" or neuron.readout_leak != "same" for neuron in neurons[:-1]):
            raise ValueError(
                "readout and readout_leak are for the neurons that the outputs read: leave them at 'mean' and 'same' "
                "in all others."
            )
        if len(connections) == 1 and any(neuron.recurrent or neuron.reset for neuron in neurons):
            raise ValueError(
                f"activation={neurons[0]!r} has a reset or is recurrent, which is for hidden neurons, and there are "
                "none; set hidden_layer_sizes, or leave reset=0.0 and recurrent=False."
            )
        width, filters = self.problem.n_features, []
        for connection, neuron in zip(connections[:-1], neurons, strict=False):
            n_units, centers = connection.n_units, len(filters) > 0
            if neuron.recurrent or neuron.reset:
                filters.append(Recurrent(n_units, width, neuron.leak, neuron.recurrent, centers))
            else:
                filters.append(Filter(n_units, width, neuron.leak, centers))
            width = connection.n_units
        return [*filters, _read_out(connections[-1].n_units, width, neurons[-1] if neurons else Heaviside())]

    def _connections(self) -> tuple[Connection, ...]:
        sizes = self.estimator.hidden_layer_sizes
        entries = [sizes] if isinstance(sizes, Integral | Connection) else list(sizes)
        connections = [clone(size) if isinstance(size, Connection) else _dense(size, sizes) for size in entries]
        for connection in connections:
            connection.check()
        self.answers.given("hidden_layer_sizes", tuple(map(repr, connections)))
        return tuple(connections)

    def _neurons(self, n_hidden: int) -> tuple[Neuron, ...]:
        activation = self.estimator.activation
        single = isinstance(activation, str | Neuron)
        if n_hidden == 0 and self._is_memory(activation):
            n_hidden = 1  # that of the outputs, which read the steps of X
        if n_hidden == 0 and (activation != "heaviside" if single else len(activation) > 0):
            raise ValueError(
                f"activation={activation!r} is that of hidden neurons, and there are none; leave it out, or set "
                "hidden_layer_sizes."
            )
        given = [activation] * n_hidden if single else list(activation)
        if len(given) != n_hidden or any(not isinstance(a, Neuron) and a not in NEURONS for a in given):
            raise ValueError(
                f"activation must be one of {sorted(NEURONS)} or a neuron such as sk_epsnn.Sigmoid(), or a list of "
                f"them with one for each of the {n_hidden} hidden layers, got {activation!r}."
            )
        neurons = tuple(clone(a) if isinstance(a, Neuron) else NEURONS[a]() for a in given)
        for neuron in neurons:
            neuron.check()
        self.answers.given("activation", tuple(map(repr, neurons)))
        return neurons

    def _is_memory(self, activation: Any) -> bool:
        """Whether an activation says how steps of X are read."""
        kind = NEURONS.get(activation) if isinstance(activation, str) else type(activation)
        return self.problem.n_steps is not None and getattr(kind, "has_memory", False)

    def _output(self) -> SpikingOutput:
        """The output neurons of a classifier."""
        given = self.estimator.output_activation
        if isinstance(given, SpikingOutput):
            output = clone(given)
        else:
            output = SPIKING_OUTPUTS["softmax" if is_auto(given) else given]()
        output.check()
        if output.name == "softmax" and self.problem.n_outputs == 1:
            output = SPIKING_OUTPUTS["sigmoid"]()  # the same model
        reason, shown = "exactly one class is right: units that compete, or one unit for two classes", repr(output)
        self.answers.answer("output_activation", given if is_auto(given) else shown, shown, reason)
        return output

    def _real_output(self) -> GaussianOutput:
        """The outputs of a regressor; their noise follows the targets' scale."""
        given = self.estimator.noise_variance
        varies = isinstance(given, str) and given == HeteroscedasticOutput.name
        return HeteroscedasticOutput(np.ones(1)) if varies else GaussianOutput(np.ones(1))

    def _noise_variance(self) -> float | None:
        """Noise of a regressor, None where it is learned; of a classifier there is none."""
        if self.problem.task == "classifier":
            return None
        given = self.estimator.noise_variance
        self.answers.answer("noise_variance", given, "learned", "one for each output")
        return None if isinstance(given, str) else float(given)

    def _levels(self) -> tuple[Grid | None, float | None]:
        """Grid of discrete weights and their gain in the last layer, None where it is automatic."""
        weights = self.estimator.weights
        if isinstance(weights, str) and weights == "continuous":
            self.answers.given("weights", weights)
            return None, None
        levels = NAMED_LEVELS[weights] if isinstance(weights, str) else weights
        levels.check()
        grid = levels.grid()
        self.answers.given("weights", grid)
        self.answers.answer("weights__gain", levels.gain, "scaled", "gives output potentials a fixed prior variance")
        return grid, None if is_auto(levels.gain) else float(levels.gain)

    # ------------------------------------------------------------------ prior

    def _prior(self, grid: Grid | None) -> WeightPrior:
        given = self.estimator.prior
        prior = PRIORS[given]() if isinstance(given, str) else clone(given)
        prior.check()
        if grid is not None and not prior.conjugate:
            raise ValueError(
                f"prior={given!r} is for continuous weights; with weights on levels leave prior='gaussian', which is "
                "that of the biases, and set probabilities of Levels."
            )
        own = {k: v for k, v in prior.get_params().items() if k not in ("variance", "anchor", "spectral_exponent")}
        self.answers.given("prior", f"{prior.name} {own}")
        return prior

    # ------------------------------------------------------------------ inference

    def _inference(self, network: Network, discrete: bool) -> Inference:
        given = self.estimator.inference
        inference: Inference
        if is_auto(given):
            inference, reason = self._automatic_inference(network, discrete)
            self.answers.answer("inference", given, inference.name, reason)
            return inference
        inference = INFERENCES[given]() if isinstance(given, str) else clone(given)
        inference.check()
        self.answers.given("inference", inference.name)
        return inference

    def _automatic_inference(self, network: Network, discrete: bool) -> tuple[Inference, str]:
        """The way to train, and why."""
        if not network.hidden:
            return Newton(), "without hidden layers the fastest"
        if self.problem.is_stream or not self.estimator.shuffle:
            return Newton(), "a batch of a stream, or rows in their order, are learned from as they come"
        constant_noise = network.output.name == GaussianOutput.name
        if constant_noise and not discrete and self.problem.n_targets < MANY_ROWS:
            reason = f"regressors of continuous weights with fewer than {MANY_ROWS} rows predict better so"
            return Newton(), f"{reason} where their noise is constant"
        return Stochastic(), "the fastest with hidden layers"

    # ------------------------------------------------------------------ course

    def _max_iter(self) -> int:
        """Most passes over the rows."""
        given = "auto" if self.estimator.max_iter is None else self.estimator.max_iter
        if self.parts.inference.name == "stochastic":
            self.answers.answer("max_iter", given, "as many as it takes", "n_passes and final_sweeps say how many")
            return sys.maxsize if is_auto(given) else int(given)
        return int(self.answers.answer("max_iter", given, self.defaults.max_iter, self.reasons["max_iter"]))

    def _given_passes(self) -> int | None:
        """Passes of steps on mini-batches, None where they follow from the rows."""
        n_passes, most = getattr(self.parts.inference, "n_passes", "auto"), self.estimator.max_iter
        given = [int(n) for n in (n_passes, most) if n is not None and not is_auto(n)]
        return min(given, default=None)

    def _course(self) -> Course:
        estimator, problem, largest = self.estimator, self.problem, self.defaults.batch_size
        reason = f"rows of the largest of as few equal batches as it takes ({self.reasons['batch_size']})"
        if self.parts.inference.name == "stochastic":
            largest = mini_batch(problem.n_targets, self._given_passes())
            reason = "a tenth of the rows, within bounds; fewer where few passes are to have enough steps"
        size = self.answers.answer("batch_size", estimator.batch_size, problem.samples_of(largest), reason)
        return Course(
            size,
            is_auto(estimator.batch_size),
            self._max_iter(),
            estimator.tol,
            estimator.shuffle,
            estimator.n_shards,
            estimator.n_jobs,
            LEAST_SET_UP,
        )


def _dense(size: Any, given: Any) -> Dense:
    if not isinstance(size, Integral) or isinstance(size, bool) or not 1 <= size < 2**31:
        raise ValueError(
            "hidden_layer_sizes must hold positive integers below 2**31, or connections such as Dense(100), got "
            f"{given!r}."
        )
    return Dense(int(size))


def _read_out(n_units: int, width: int, last: Neuron) -> Connection:
    """How the outputs read the steps of the last neurons, or of the inputs where there are none."""
    if last.readout not in ("last", "each") and last.readout_leak != "same":
        raise ValueError(
            f"readout_leak={last.readout_leak!r} has no effect on means over steps; leave it at 'same', or set "
            "readout='last' or 'each'."
        )
    leak = last.leak if last.readout_leak == "same" else last.readout_leak
    if last.readout == "each":
        return Filter(n_units, width, leak)
    return Readout(n_units, width, 1 if last.readout == "mean" else last.readout, leak)
