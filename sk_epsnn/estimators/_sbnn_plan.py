"""Makes the plan of a fit of an SBNN: every "auto" is answered here, once, and no parameter is left without effect."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from sk_epsnn.connections import Connection, Convolution, Dense
from sk_epsnn.course import Course
from sk_epsnn.estimators._plan import Answers, Plan, Problem, is_auto
from sk_epsnn.estimators._planner import Planner
from sk_epsnn.network import Layer, Network
from sk_epsnn.neurons import Neuron
from sk_epsnn.outputs import SPIKING_OUTPUTS, GaussianOutput
from sk_epsnn.priors import GaussianPrior
from sk_epsnn.sbnn.options import GRADIENTS, SpikeGradient
from sk_epsnn.sbnn.prediction import needs_draws
from sk_epsnn.sbnn.setup import Design
from sk_epsnn.sbnn.streams import Stream
from sk_epsnn.sbnn.trainer import VariationalTrainer
from sk_epsnn.training import Stage

#: Steps of a fit, about, and the fewest and most passes.
N_STEPS, LEAST_PASSES, MOST_PASSES = 2000, 20, 400
#: Rows of a batch.
BATCH_SIZE = 100
#: Hidden layers of one width from which on there is a residual stream.
DEEP = 3
#: Networks that predictions are made from where moments do not say enough.
N_DRAWS = 30
#: Columns up to which inputs are turned to their principal axes.
_MOST_ROTATED = 2048
TEMPERATURE = 0.1
#: Over steps.
STEP_TEMPERATURE = 0.01
#: Of continuous weights and real targets.
REAL_TEMPERATURE = 0.3
LEARNING_RATE = 0.1
#: With many layers.
DEEP_RATE = 0.03
#: Of weights that are points: they have no noise that averages steps.
POINT_RATE = 0.01
#: Squared mean over variance of weights at the start: where signals neither die nor grow from layer to layer, and with
#: a stream, which carries them.
CRITICAL_RATIO, STREAM_RATIO = 10.8, 4.0


class SBNNPlanner(Planner):
    """Reads the parameters of an SBNN."""

    def __init__(self, estimator: Any, problem: Problem):
        self.estimator, self.problem = estimator, problem
        self.answers = Answers()

    def plan(self) -> Plan:
        """All of it."""
        network, noise_variance = self._network(), self._noise_variance()
        gradient = self._gradient()
        course = self._course()
        trainer = VariationalTrainer(
            gradient,
            self._design(network, gradient, noise_variance),
            self._rate(gradient, network),
            self._temperature(gradient, network),
            self._ramp(gradient, network),
            course,
            self._n_draws(network),
        )
        return Plan(
            (Stage(trainer, course),),
            trainer,
            network,
            standardise=True,
            noise_variance=noise_variance,
            settings=self.answers.settings,
            automatic=tuple(sorted(self.answers.automatic)),
        )

    # ------------------------------------------------------------------ structure

    def _network(self) -> Network:
        connections = self._connections()
        if any(not isinstance(connection, Dense | Convolution) for connection in connections):
            raise ValueError("hidden_layer_sizes of an SBNN must hold numbers of neurons or Convolution.")
        neurons = self._neurons(len(connections))
        output: Any = GaussianOutput(np.ones(self.problem.n_outputs))
        if self.problem.task == "classifier":
            output = SPIKING_OUTPUTS["sigmoid" if self.problem.n_outputs == 1 else "softmax"]()
        *hidden, readout = self._over_steps([*connections, Dense(self.problem.n_outputs)], neurons)
        hidden, readout = self._with_streams(hidden, readout)
        layers = tuple(Layer(*pair) for pair in zip(hidden, neurons[: len(hidden)], strict=True))
        return Network(layers, readout, output, True, self.problem.n_features * (self.problem.n_steps or 1))

    def _neurons(self, n_hidden: int) -> tuple[Neuron, ...]:
        neurons = super()._neurons(n_hidden)
        for neuron in neurons:
            if neuron.recurrent or neuron.reset:
                raise ValueError(
                    f"activation={neuron!r} has a reset or is recurrent, which an SBNN has not; leave reset=0.0 and "
                    "recurrent=False."
                )
            if neuron.readout == "each":
                raise ValueError(
                    "An SBNN has one target for a sample, and readout='each' reads one at every step; set 'mean', "
                    "'last' or a number of parts."
                )
        return neurons

    def _with_streams(self, hidden: list[Connection], readout: Connection) -> tuple[list[Connection], Connection]:
        """Connections after the first hidden layer that read a stream, if there is to be one."""
        widths = {connection.n_units for connection in hidden}
        can = len(widths) == 1 and all(isinstance(connection, Dense) for connection in hidden)
        reason = f"{DEEP} hidden layers of one width or more, of rows" if can else "the layers allow no stream"
        residual = self.answers.answer("residual", self.estimator.residual, can and len(hidden) >= DEEP, reason)
        if not residual:
            return hidden, readout
        if not can or len(hidden) < 2:
            raise ValueError(
                "residual=True needs two hidden layers or more, all of one width, and X without steps in time; set "
                "hidden_layer_sizes so, or residual=False."
            )
        return [hidden[0], hidden[1], *(Stream(c.n_units) for c in hidden[2:])], Stream(readout.n_units)

    # ------------------------------------------------------------------ prior and start

    def _design(self, network: Network, gradient: SpikeGradient, noise_variance: float | None) -> Design:
        levels = self.estimator.weights == "binary"
        self.answers.given("weights", self.estimator.weights)
        if levels and not gradient.is_noisy:
            raise ValueError(
                "weights='binary' are learned through their noise, and inference='surrogate' has none; take 'rao' or "
                "weights='continuous'."
            )
        prior = GaussianPrior() if isinstance(self.estimator.prior, str) else clone(self.estimator.prior)
        prior.check()
        rotate, exponents = self._axes(network, prior, levels)
        variance = self._variance(prior, levels)
        anchor = self.answers.answer("prior__anchor", prior.anchor, 0.0, "means are learned better from 0")
        if levels and anchor > 0:
            raise ValueError("prior__anchor has no effect on weights='binary'; leave it at 'auto'.")
        deep = any(isinstance(connection, Stream) for connection in network.connections)
        reason = "the stream carries signals" if deep else "signals neither die nor grow from layer to layer"
        ratio = gradient.noise_ratio
        if gradient.is_noisy:
            automatic = STREAM_RATIO if deep else CRITICAL_RATIO
            ratio = self.answers.answer("inference__noise_ratio", gradient.noise_ratio, automatic, reason)
        learns_noise = self.problem.task == "regressor" and noise_variance is None
        copies = not deep and not levels and len(network.hidden) >= DEEP and self.problem.n_steps is None
        return Design(
            ratio, variance, float(anchor), exponents, rotate, levels, gradient.is_noisy, learns_noise, copies
        )

    def _variance(self, prior: GaussianPrior, levels: bool) -> float | None:
        self.answers.answer("prior__variance", prior.variance, "learned", "the one that fits the posterior best")
        if is_auto(prior.variance):
            return None
        if levels or not isinstance(prior.variance, int | float):
            raise ValueError(
                "prior__variance of an SBNN must be 'auto' or one number, and has no effect on weights='binary'; got "
                f"{prior.variance!r}."
            )
        return float(prior.variance)

    def _axes(self, network: Network, prior: GaussianPrior, levels: bool) -> tuple[bool, tuple[float, ...]]:
        """Whether inputs are turned to their principal axes, and spectral exponents, of which rows say the best."""
        n_columns, given = network.connections[0].n_columns(network.n_inputs), prior.spectral_exponent
        rotate = not levels and n_columns <= _MOST_ROTATED
        if is_auto(given) and rotate and network.hidden:
            automatic = (0.0, 1.0) if self.problem.task == "regressor" else (1.0, 0.0)
            reason = "of 0 and 1 that under which some rows are predicted best from others"
            self.answers.answer("prior__spectral_exponent", given, automatic[0], reason)
            return rotate, automatic
        exponent = self.answers.answer("prior__spectral_exponent", given, 0.0, "inputs are not turned")
        if exponent > 0 and not rotate:
            raise ValueError(
                "prior__spectral_exponent has no effect where inputs are not turned: on weights='binary', and on more "
                f"than {_MOST_ROTATED} features; leave it at 'auto'."
            )
        return rotate, (float(exponent),)

    # ------------------------------------------------------------------ inference

    def _gradient(self) -> SpikeGradient:
        given = self.estimator.inference
        gradient = GRADIENTS[given]() if isinstance(given, str) else clone(given)
        gradient.check()
        own = {k: v for k, v in gradient.get_params().items() if k not in ("learning_rate", "temperature", "ramp")}
        self.answers.given("inference", f"{gradient.name} {own}")
        return gradient

    def _rate(self, gradient: SpikeGradient, network: Network) -> float:
        automatic, reason = LEARNING_RATE, "in prior standard deviations"
        if not gradient.is_noisy:
            automatic, reason = POINT_RATE, "weights that are points have no noise that averages steps"
        elif len(network.hidden) >= DEEP:
            automatic, reason = DEEP_RATE, f"gradients of {DEEP} hidden layers or more are noisier"
        return float(self.answers.answer("inference__learning_rate", gradient.learning_rate, automatic, reason))

    def _temperature(self, gradient: SpikeGradient, network: Network) -> float:
        if not gradient.is_noisy:
            return 0.0
        automatic, reason = TEMPERATURE, "colder posteriors predict better"
        if self.problem.task == "regressor" and self.estimator.weights == "continuous":
            automatic, reason = REAL_TEMPERATURE, "noise is learned beside the weights"
        elif network.has_steps and network.hidden:
            automatic, reason = STEP_TEMPERATURE, "weights are the same at every step, and their noise is not"
        elif len(network.hidden) >= DEEP:
            automatic, reason = TEMPERATURE / len(network.hidden), "every layer has a divergence of its own"
        return float(self.answers.answer("inference__temperature", gradient.temperature, automatic, reason))

    def _ramp(self, gradient: SpikeGradient, network: Network) -> float:
        if not gradient.is_noisy:
            return 0.0
        automatic = 0.5 if len(network.hidden) >= DEEP else 0.0
        reason = "deep stacks fall to the prior else" if automatic else "shallow networks need none"
        return float(self.answers.answer("inference__ramp", gradient.ramp, automatic, reason))

    def _n_draws(self, network: Network) -> int:
        drawn = needs_draws(network)
        reason = "spikes of several layers or steps hang together" if drawn else "one pass of moments says as much"
        n_draws = self.answers.answer("n_draws", self.estimator.n_draws, N_DRAWS if drawn else 0, reason)
        if drawn and n_draws == 0:
            raise ValueError(
                "n_draws=0 is one pass of moments, which do not say enough of streams, or of hidden neurons over "
                "steps; set n_draws to a positive number, or 'auto'."
            )
        return int(n_draws)

    def _course(self) -> Course:
        size = self.answers.answer("batch_size", self.estimator.batch_size, BATCH_SIZE, "rows of a batch")
        n_batches = -(-self.problem.n_samples // int(size))
        automatic = min(max(N_STEPS // n_batches, LEAST_PASSES), MOST_PASSES)
        reason = f"about {N_STEPS} steps, but from {LEAST_PASSES} to {MOST_PASSES} passes"
        given = "auto" if self.estimator.max_iter is None else self.estimator.max_iter
        n_passes = self.answers.answer("max_iter", given, automatic, reason)
        return Course(int(size), True, int(n_passes), 0.0, True)
