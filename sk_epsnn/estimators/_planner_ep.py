"""The part of a plan that is Expectation Propagation's: priors, temperatures, sweeps, rows that are held out."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from sk_epsnn.course import Course
from sk_epsnn.ep.noise import LEAST_HELD_OUT, HeldOut
from sk_epsnn.ep.setup import Design
from sk_epsnn.ep.stochastic_trainer import StochasticTrainer
from sk_epsnn.ep.trainer import EPTrainer, Schedule, SweepTrainer
from sk_epsnn.estimators._defaults import (
    BIAS_SHARE,
    FINAL_BATCH,
    FINAL_SWEEPS,
    HIDDEN_VARIANCE,
    JOINT_ENTRIES,
    JOINT_FAN_IN,
    LAST_PASSES,
    LAST_SHARE,
    LEAST_PASSES,
    MOST_PASSES,
    N_STEPS,
    PASSES_PER_STEP,
    REGRESSOR_SWEEPS,
    ROTATION_LIMIT,
    SINGLE_ROWS,
    VALIDATION_FRACTION,
    Defaults,
    passes,
    temperature_of,
)
from sk_epsnn.estimators._plan import Answers, Parts, Problem, is_auto
from sk_epsnn.training import Stage

#: A batch is left when a sweep gains less than this many nats per sample, or less than a tenth of ``tol``.
_SWEEP_TOL = 1e-4
#: Why some outputs have no choice of a power.
_ONE_POWER = {
    "heaviside": "every power of an indicator is itself",
    "softmax": "whose evidence is a bound at power 0",
}


class EPPlanner:
    """Answers what the options of an inference and of a prior leave open."""

    def __init__(self, answers: Answers, parts: Parts, defaults: Defaults, reasons: dict[str, str], problem: Problem):
        self.answers, self.defaults, self.reasons = answers, defaults, reasons
        self.n_samples, self.is_stream = problem.n_samples, problem.is_stream
        self.network, self.inference, self.prior, self.grid, self.gain = parts
        self.n_layers = len(self.network.connections)
        #: Columns that enter the first layer.
        self.n_columns = self.network.fan_ins[0] - self.network.constant
        #: Whether weights are Gaussian, which a rotation of the inputs leaves them.
        self.rotatable = self.grid is None and self.prior.conjugate

    def stages(self, course: Course, learns_noise: bool) -> tuple[tuple[Stage, ...], EPTrainer]:
        """The stages of a fit, and the trainer of a stream."""
        design, schedule = self._design(), self._schedule(course.tol)
        single = self.n_layers > 1 and self.n_samples >= SINGLE_ROWS and not self.is_stream
        if self.inference.name != "stochastic":
            held_out, left = self._held_out(course, learns_noise)
            trainer = SweepTrainer(design, learns_noise, held_out, single, schedule=schedule)
            return (Stage(trainer, left),), trainer
        n_passes = self._n_passes(course)
        steps = replace(course, batch_size=-(-course.batch_size // course.n_shards), n_passes=n_passes, tol=0.0)
        held_out, left = self._held_out(steps, learns_noise)
        start = StochasticTrainer(
            design, learns_noise, held_out, single, n_passes=left.n_passes, learning_rate=self._learning_rate()
        )
        stream = SweepTrainer(design, learns_noise, held_out, single, schedule=schedule)
        n_sweeps = self._final_sweeps()
        if n_sweeps == 0 or course.n_passes <= n_passes:
            return (Stage(start, left),), stream
        end = replace(stream, schedule=replace(schedule, n_sweeps=n_sweeps))
        last = replace(course, batch_size=FINAL_BATCH, equal_batches=True, n_passes=1)
        return (Stage(start, left), Stage(end, last)), stream

    def _n_passes(self, course: Course) -> int:
        """Passes of steps on mini-batches."""
        automatic = passes(self.n_samples, course.batch_size)
        reason = f"about {N_STEPS} steps, but from {LEAST_PASSES} to {MOST_PASSES} passes"
        n_passes = self.answers.answer("inference__n_passes", self.inference.n_passes, automatic, reason)
        return min(n_passes, course.n_passes)

    def _learning_rate(self) -> float | None:
        """First rate, None where the first batches choose it."""
        given = self.inference.learning_rate
        self.answers.answer("inference__learning_rate", given, "tried", "the one that raises the energy most at first")
        return None if is_auto(given) else float(given)

    def _final_sweeps(self) -> int:
        """Newton sweeps after the steps."""
        automatic, reason = FINAL_SWEEPS, "more would gain little"
        if self.network.output.name == "gaussian":
            automatic, reason = REGRESSOR_SWEEPS, "what they take to predict as well as sweeps alone"
        elif self.grid is not None:
            automatic, reason = 0, "sweeps gain nothing on levels"
        if not self.prior.conjugate:
            automatic, reason = 0, "sweeps gain nothing under priors that are not Gaussian"
        return int(self.answers.answer("inference__final_sweeps", self.inference.final_sweeps, automatic, reason))

    def _default(self, name: str, given: Any) -> Any:
        """The value itself, or that of the table of defaults where it is "auto"."""
        entry = name.split("__")[-1]
        return self.answers.answer(name, given, getattr(self.defaults, entry), self.reasons[entry])

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
            self.answers.answer("prior__variance", given, size, self.reasons["output_variance"])
            return (None,) * self.n_layers
        return self.answers.given("prior__variance", self._per_layer("variance of the prior", given))

    def _anchor(self, scaled: bool) -> float:
        given = self.prior.anchor
        if not is_auto(given) and given > 0 and self.n_layers == 1:
            raise ValueError(
                f"anchor={given!r} of the prior is for hidden layers, and there are none; leave it at 'auto'."
            )
        # Steps on mini-batches start under the Gaussian of the prior's moments, which may have anchors.
        stands_in = self.inference.name == "stochastic" and not self.prior.conjugate and is_auto(self.prior.variance)
        if is_auto(given) and not (scaled or self.grid is not None or stands_in):
            reason = (
                "a variance given as a number, or a prior that is not Gaussian, is taken as it is; the start is random"
            )
            return self.answers.answer("prior__anchor", given, 0.0, reason)
        return float(self._default("prior__anchor", given))

    def _spectral_exponent(self, scaled: bool) -> float:
        if not hasattr(self.prior, "spectral_exponent"):
            return 0.0
        given = self.prior.spectral_exponent
        if not scaled or self.n_columns > ROTATION_LIMIT:
            reason = f"isotropic: for Gaussian weights with an automatic variance, at most {ROTATION_LIMIT} features"
            return float(self.answers.answer("prior__spectral_exponent", given, 0.0, reason))
        return float(self._default("prior__spectral_exponent", given))

    def _rotate(self, exponent: float) -> bool:
        given = self.inference.rotate_inputs
        useful = self.rotatable and (self.n_layers > 1 or exponent > 0)
        automatic = useful and self.n_columns <= ROTATION_LIMIT
        reason = "Gaussian weights with hidden layers or a spectral prior"
        if not automatic:
            reason = f"more than {ROTATION_LIMIT} features" if useful else f"only with {reason}"
        rotate = bool(self.answers.answer("inference__rotate_inputs", given, automatic, reason))
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
            self.inference.name != "average_ep" and fan_in <= limit and width * fan_in**2 <= JOINT_ENTRIES
            for width, fan_in, limit in zip(units, self.network.fan_ins, limits, strict=True)
        )

    def _schedule(self, tol: float) -> Schedule:
        tol = min(_SWEEP_TOL, 0.1 * tol)
        if self.inference.name == "stochastic":
            return Schedule("newton", self.defaults.n_sweeps, 1.0, tol)
        n_sweeps = self._default("inference__n_sweeps", self.inference.n_sweeps)
        given, reason = getattr(self.inference, "damping", 1.0), "halved where a sweep would lower the energy"
        self.answers.answer("inference__damping", given, "found in each sweep", reason)
        return Schedule(self.inference.name, n_sweeps, None if is_auto(given) else float(given), tol)

    def _power(self) -> float:
        given = self.inference.power
        only = getattr(self.network.output, "only_power", None)
        if only is None:
            return float(self._default("inference__power", given))
        name, why = self.network.output.name, _ONE_POWER[self.network.output.name]
        if not is_auto(given):
            raise ValueError(
                f"power={given!r} has no effect on {name.capitalize()} outputs, {why}; leave it at 'auto' or use "
                "output_activation='sigmoid'."
            )
        return float(self.answers.answer("inference__power", given, only, why))

    def _temperatures(self) -> tuple[float, ...]:
        given, defaults = self.inference.temperature, self.defaults
        automatic = (defaults.temperature,) * (self.n_layers - 1) + (defaults.output_temperature,)
        if is_auto(given):
            reason = self.reasons["temperature" if self.n_layers > 1 else "output_temperature"]
            if defaults.warms and not self.is_stream:
                widths = [connection.n_units for connection in self.network.connections[:-1]]
                automatic = (temperature_of(self.n_samples, widths),) * self.n_layers
                reason = f"{reason}; higher the more rows there are"
            if defaults.heating:
                reason = f"{reason}; that of the hidden layers where training starts, held-out rows choose the rest"
            return self.answers.answer("inference__temperature", given, automatic, reason)
        return self.answers.given("inference__temperature", self._per_layer("temperature", given))

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
        reason = reason if useful else f"nothing is held out: {reason} where it is 'auto' and rows are shuffled"
        fraction = self.answers.answer(name, given, VALIDATION_FRACTION if useful else 0.0, reason)
        n_rows = int(fraction * self.n_samples)
        if n_rows < LEAST_HELD_OUT:
            return None, course
        heating = self.defaults.heating if is_auto(self.inference.temperature) else ()
        if self.inference.name == "stochastic":
            last = max(1, round(LAST_SHARE * course.n_passes))
            return HeldOut(n_rows, (), course.n_passes), replace(course, n_passes=last)
        if not heating:
            return HeldOut(n_rows, (), course.n_passes), course
        last = replace(course, n_passes=min(course.n_passes, LAST_PASSES))
        return HeldOut(n_rows, heating, min(course.n_passes, PASSES_PER_STEP)), last
