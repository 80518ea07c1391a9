"""Makes the plan of a fit: every "auto" is answered here, once, and no parameter is left without effect."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import clone

from sk_epsnn.connections import Connection, Dense
from sk_epsnn.ep.noise import LEAST_HELD_OUT, HeldOut
from sk_epsnn.ep.options import INFERENCES, EPInference, Newton
from sk_epsnn.ep.setup import Design
from sk_epsnn.ep.trainer import EPTrainer, Schedule
from sk_epsnn.estimators._defaults import (
    BIAS_SHARE,
    HIDDEN_VARIANCE,
    JOINT_ENTRIES,
    JOINT_FAN_IN,
    LAST_PASSES,
    PASSES_PER_STEP,
    ROTATION_LIMIT,
    VALIDATION_FRACTION,
    Case,
    defaults_for,
)
from sk_epsnn.estimators._plan import Plan, Problem, Setting
from sk_epsnn.network import Layer, Network
from sk_epsnn.neurons import NEURONS, Neuron
from sk_epsnn.outputs import SPIKING_OUTPUTS, GaussianOutput, SpikingOutput
from sk_epsnn.priors import PRIORS, WeightPrior
from sk_epsnn.training import Course, Inference, Trainer
from sk_epsnn.weights import NAMED_LEVELS, Grid

#: A batch is left when a sweep gains less than this many nats per sample, or less than a tenth of ``tol``.
_SWEEP_TOL = 1e-4


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
        self.settings: dict[str, Setting] = {}
        self.automatic: set[str] = set()
        self.network = self._network()
        self.n_layers = len(self.network.connections)
        #: Columns that enter the first layer.
        self.n_columns = self.network.fan_ins[0] - self.network.constant
        self.inference = self._inference()
        self.grid, self.gain = self._levels()
        self.prior = self._prior()
        #: Whether weights are Gaussian, which a rotation of the inputs leaves them.
        self.rotatable = self.grid is None and self.prior.conjugate
        self.defaults, self.reasons = defaults_for(
            Case(
                problem.task,
                self.n_layers,
                self.network.fan_ins[0],
                self.grid is not None,
                self.prior.sparse,
                self.inference.name,
            )
        )

    def plan(self) -> Plan:
        """All of it."""
        noise_variance, course = self._noise_variance(), self._course()
        trainer: Trainer
        if isinstance(self.inference, EPInference):
            learns_noise = self.problem.task == "regressor" and noise_variance is None
            held_out, course = self._held_out(course, learns_noise)
            trainer = EPTrainer(self._design(), self._schedule(), learns_noise, held_out)
        else:
            trainer = self.inference.trainer(self.network, self.prior, self.grid)
        return Plan(
            trainer,
            course,
            self.network,
            standardise=is_auto(self.prior.variance),
            noise_variance=noise_variance,
            settings=self.settings,
            automatic=tuple(sorted(self.automatic)),
        )

    # ------------------------------------------------------------------ answers

    def _given(self, name: str, value: Any) -> Any:
        self.settings[name] = Setting(value, "given")
        return value

    def _answer(self, name: str, given: Any, automatic: Any, reason: str) -> Any:
        """The value itself, or ``automatic`` where it is "auto"."""
        if not is_auto(given):
            return self._given(name, given)
        self.settings[name] = Setting(automatic, reason)
        self.automatic.add(name)
        return automatic

    def _default(self, name: str, given: Any, entry: str | None = None) -> Any:
        """The value itself, or that of an entry of the table of defaults where it is "auto"."""
        entry = entry or name.split("__")[-1]
        return self._answer(name, given, getattr(self.defaults, entry), self.reasons[entry])

    # ------------------------------------------------------------------ structure

    def _network(self) -> Network:
        connections = self._connections()
        hidden = tuple(Layer(*pair) for pair in zip(connections, self._neurons(len(connections)), strict=True))
        output = self._output() if self.problem.task == "classifier" else GaussianOutput(np.ones(1))
        constant = self._given("fit_intercept", bool(self.estimator.fit_intercept))
        return Network(hidden, Dense(self.problem.n_outputs), output, constant, self.problem.n_features)

    def _connections(self) -> tuple[Connection, ...]:
        sizes = self.estimator.hidden_layer_sizes
        entries = [sizes] if isinstance(sizes, Integral | Connection) else list(sizes)
        connections = [clone(size) if isinstance(size, Connection) else _dense(size, sizes) for size in entries]
        for connection in connections:
            connection.check()
        self._given("hidden_layer_sizes", tuple(map(repr, connections)))
        return tuple(connections)

    def _neurons(self, n_hidden: int) -> tuple[Neuron, ...]:
        activation = self.estimator.activation
        single = isinstance(activation, str | Neuron)
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
        self._given("activation", tuple(map(repr, neurons)))
        return neurons

    def _output(self) -> SpikingOutput:
        """The output neurons of a classifier."""
        given = self.estimator.output_activation
        if isinstance(given, SpikingOutput):
            output = clone(given)
        else:
            name = self._answer("output_activation", given, "sigmoid", "one unit for each class, or one for two")
            output = SPIKING_OUTPUTS[name]()
        output.check()
        if not is_auto(given):
            self._given("output_activation", repr(output))
        return output

    def _noise_variance(self) -> float | None:
        """Noise of a regressor, None where it is learned; of a classifier there is none."""
        if self.problem.task == "classifier":
            return None
        given = self.estimator.noise_variance
        self._answer("noise_variance", given, "learned", "one for each output")
        return None if is_auto(given) else float(given)

    def _levels(self) -> tuple[Grid | None, float | None]:
        """Grid of discrete weights and their gain in the last layer, None where it is automatic."""
        weights = self.estimator.weights
        if isinstance(weights, str) and weights == "continuous":
            self._given("weights", weights)
            return None, None
        levels = NAMED_LEVELS[weights] if isinstance(weights, str) else weights
        levels.check()
        grid = levels.grid()
        self._given("weights", grid)
        self._answer("weights__gain", levels.gain, "scaled", "gives output potentials a fixed prior variance")
        return grid, None if is_auto(levels.gain) else float(levels.gain)

    # ------------------------------------------------------------------ prior

    def _prior(self) -> WeightPrior:
        given = self.estimator.prior
        prior = PRIORS[given]() if isinstance(given, str) else clone(given)
        prior.check()
        if self.grid is not None and not prior.conjugate:
            raise ValueError(
                f"prior={given!r} is for continuous weights; with weights on levels leave prior='gaussian', which is "
                "that of the biases, and set probabilities of Levels."
            )
        own = {k: v for k, v in prior.get_params().items() if k not in ("variance", "anchor", "spectral_exponent")}
        self._given("prior", f"{prior.name} {own}")
        return prior

    def _design(self) -> Design:
        defaults = self.defaults
        variances = self._prior_variances()
        scaled = self.rotatable and variances[0] is None
        exponent = self._spectral_exponent(scaled)
        rotate = self._rotate(exponent)
        return Design(
            prior=self.prior,
            prior_variances=variances,
            temperatures=self._temperatures(),
            anchor=self._anchor(scaled),
            spectral_exponent=exponent,
            spectral_floor=defaults.spectral_floor if scaled else 0.0,
            bias_share=BIAS_SHARE,
            hidden_variance=HIDDEN_VARIANCE,
            output_variance=defaults.output_variance,
            joint=self._joint(),
            power=self._power(),
            grid=self.grid,
            gain=self.gain,
            rotate=rotate,
            center=self._center(scaled or exponent > 0),
        )

    def _prior_variances(self) -> tuple[float | None, ...]:
        given = self.prior.variance
        if self.grid is not None and not self.network.constant and not is_auto(given):
            raise ValueError(
                "variance of the prior is that of the biases where weights are on levels, and with "
                "fit_intercept=False there are none; leave it at 'auto'."
            )
        if is_auto(given):
            size = f"scaled to give potentials the variance {HIDDEN_VARIANCE:g} (hidden layers) or "
            size += f"{self.defaults.output_variance:g} (outputs)"
            self._answer("prior__variance", given, size, self.reasons["output_variance"])
            return (None,) * self.n_layers
        return self._given("prior__variance", self._per_layer("variance of the prior", given))

    def _anchor(self, scaled: bool) -> float:
        given = self.prior.anchor
        if not is_auto(given) and given > 0 and self.n_layers == 1:
            raise ValueError(
                f"anchor={given!r} of the prior is for hidden layers, and there are none; leave it at 'auto'."
            )
        if is_auto(given) and not (scaled or self.grid is not None):
            reason = "a variance given as a number or a prior that is not Gaussian is taken as it is"
            return self._answer("prior__anchor", given, 0.0, reason)
        return float(self._default("prior__anchor", given))

    def _spectral_exponent(self, scaled: bool) -> float:
        given = getattr(self.prior, "spectral_exponent", "auto")
        if not scaled or self.n_columns > ROTATION_LIMIT:
            reason = f"isotropic: for Gaussian weights with an automatic variance, at most {ROTATION_LIMIT} features"
            return float(self._answer("prior__spectral_exponent", given, 0.0, reason))
        return float(self._default("prior__spectral_exponent", given))

    def _rotate(self, exponent: float) -> bool:
        given = self.inference.rotate_inputs
        useful = self.rotatable and (self.n_layers > 1 or exponent > 0)
        automatic = useful and self.n_columns <= ROTATION_LIMIT
        reason = f"Gaussian weights with hidden layers or a spectral prior, at most {ROTATION_LIMIT} features"
        rotate = bool(self._answer("inference__rotate_inputs", given, automatic, reason))
        if (rotate or exponent > 0) and not self.rotatable:
            raise ValueError(
                "rotate_inputs=True and a spectral_exponent above 0 turn the inputs to their principal axes, which "
                "only continuous weights with a Gaussian prior allow; leave both at 'auto'."
            )
        if exponent > 0 and not rotate:
            raise ValueError(
                "A spectral_exponent above 0 needs the principal axes of the inputs; leave rotate_inputs='auto' or set "
                "spectral_exponent=0."
            )
        return rotate

    def _center(self, to_data: bool) -> bool | None:
        """Whether inputs are centred: a prior scaled to the data may shift them, a number is meant for raw inputs."""
        center = self.defaults.center if to_data else not self.rotatable
        return center if self.network.constant else False

    def _joint(self) -> tuple[bool, ...]:
        """Which layers get a joint Gaussian per unit."""
        limits = [self.defaults.joint_fan_in] * (self.n_layers - 1) + [JOINT_FAN_IN]
        units = [connection.n_units for connection in self.network.connections]
        return tuple(
            self.inference.name == "newton" and fan_in <= limit and width * fan_in**2 <= JOINT_ENTRIES
            for width, fan_in, limit in zip(units, self.network.fan_ins, limits, strict=True)
        )

    # ------------------------------------------------------------------ inference

    def _inference(self) -> Inference:
        given = self.estimator.inference
        if is_auto(given):
            inference: Inference = Newton()
        else:
            inference = INFERENCES[given]() if isinstance(given, str) else clone(given)
        inference.check()
        self._answer("inference", inference.name if not is_auto(given) else given, inference.name, "the most robust")
        return inference

    def _schedule(self) -> Schedule:
        return Schedule(
            self.inference.name,
            n_sweeps=self._default("inference__n_sweeps", self.inference.n_sweeps),
            damping=self._given("inference__damping", getattr(self.inference, "damping", 1.0)),
            tol=min(_SWEEP_TOL, 0.1 * self.estimator.tol),
        )

    def _power(self) -> float:
        given = self.inference.power
        if self.network.output.name != "heaviside":
            return float(self._default("inference__power", given))
        if not is_auto(given):
            raise ValueError(
                f"power={given!r} has no effect on Heaviside outputs, every power of an indicator being itself; leave "
                "it at 'auto' or use output_activation='sigmoid'."
            )
        return self._answer("inference__power", given, 1.0, "every power of an indicator is itself")

    def _temperatures(self) -> tuple[float, ...]:
        given, defaults = self.inference.temperature, self.defaults
        automatic = (defaults.temperature,) * (self.n_layers - 1) + (defaults.output_temperature,)
        if is_auto(given):
            return self._answer("inference__temperature", given, automatic, self.reasons["output_temperature"])
        return self._given("inference__temperature", self._per_layer("temperature", given))

    def _per_layer(self, name: str, value: Any) -> tuple[float, ...]:
        """One number per layer of weights from a number or a sequence."""
        if isinstance(value, Real):
            return (float(value),) * self.n_layers
        values = list(value)
        if len(values) != self.n_layers:
            raise ValueError(
                f"{name} has {len(values)} entries, but the network has {self.n_layers} layers of weights "
                f"(len(hidden_layer_sizes) + 1); give one number, or one per layer."
            )
        if not all(isinstance(v, Real) and np.isfinite(v) and v > 0 for v in values):
            raise ValueError(f"{name} must be positive and finite in every layer, got {value!r}.")
        return tuple(float(v) for v in values)

    # ------------------------------------------------------------------ course

    def _course(self) -> Course:
        estimator, largest = self.estimator, self.defaults.batch_size
        reason = f"rows of the largest of as few equal batches as it takes ({self.reasons['batch_size']})"
        size = self._answer("batch_size", estimator.batch_size, largest, reason)
        return Course(
            size,
            is_auto(estimator.batch_size),
            estimator.max_iter,
            estimator.tol,
            estimator.shuffle,
            estimator.n_shards,
            estimator.n_jobs,
        )

    def _held_out(self, course: Course, learns_noise: bool) -> tuple[HeldOut | None, Course]:
        """Rows that are held out at first, and the course when they have chosen the hidden temperature."""
        given, name = self.inference.validation_fraction, "inference__validation_fraction"
        useful = learns_noise and self.n_layers > 1 and course.shuffle
        if not useful and not is_auto(given):
            raise ValueError(
                f"validation_fraction={given!r} has no effect here: rows are held out by regressors with hidden "
                "layers, noise_variance='auto' and shuffle=True. Leave it at 'auto'."
            )
        reason = "held-out rows say how large the noise of a regressor with hidden layers is"
        fraction = self._answer(name, given, VALIDATION_FRACTION if useful else 0.0, reason)
        n_rows = int(fraction * self.problem.n_samples)
        if n_rows < LEAST_HELD_OUT:
            return None, course
        heating = self.defaults.heating if is_auto(self.inference.temperature) else ()
        if not heating:
            return HeldOut(n_rows, (), course.n_passes), course
        last = replace(course, n_passes=min(course.n_passes, LAST_PASSES))
        return HeldOut(n_rows, heating, min(course.n_passes, PASSES_PER_STEP)), last


def _dense(size: Any, given: Any) -> Dense:
    if not isinstance(size, Integral) or isinstance(size, bool) or not 1 <= size < 2**31:
        raise ValueError(
            "hidden_layer_sizes must hold positive integers below 2**31, or connections such as Dense(100), got "
            f"{given!r}."
        )
    return Dense(int(size))


def is_auto(value: Any) -> bool:
    """Whether a parameter is left to be decided."""
    return isinstance(value, str) and value == "auto"
