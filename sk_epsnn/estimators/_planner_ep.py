"""The part of a plan that is Expectation Propagation's: priors, temperatures, sweeps, rows that are held out."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from sk_epsnn.course import Course
from sk_epsnn.ep.design import Design
from sk_epsnn.ep.evidence_trainer import EvidenceTrainer
from sk_epsnn.ep.stochastic_trainer import StochasticTrainer
from sk_epsnn.ep.trainer import EPTrainer, Schedule, SweepTrainer
from sk_epsnn.estimators._by_rows import enough, passes, temperature_of
from sk_epsnn.estimators._defaults import (
    BATCH_NUMBERS,
    BATCH_POTENTIALS,
    BIAS_SHARE,
    FINAL_BATCH,
    HIDDEN_VARIANCE,
    JOINT_ENTRIES,
    JOINT_FAN_IN,
    LEARNING_TOL,
    LEAST_MINI_BATCH,
    LOG_NOISE_VARIANCE,
    MANY_POTENTIALS,
    MANY_SWEEPS,
    MOST_PASSES,
    OUTPUT_BIAS_VARIANCE,
    REGRESSOR_SWEEPS,
    ROTATION_LIMIT,
    SINGLE_ROWS,
    Defaults,
)
from sk_epsnn.estimators._many_classes import MANY_JOINT_ENTRIES, SWEEPS_OF_MANY
from sk_epsnn.estimators._plan import Answers, Parts, Problem, is_auto
from sk_epsnn.estimators._planner_held_out import HeldOutPlanner
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
        self.problem, self.n_targets, self.is_stream = problem, problem.n_targets, problem.is_stream
        self.network, self.inference, self.prior, self.grid, self.gain = parts
        self.n_layers = len(self.network.connections)
        #: Columns that enter the first layer.
        first = self.network.connections[0]
        self.n_columns = first.n_columns(self.network.n_inputs)
        self.judges = HeldOutPlanner(answers, parts, defaults, problem)
        self.regresses, self.varies, self.is_many = self.judges.regresses, self.judges.varies, self.judges.is_many
        self.n_potentials = self.judges.sizes.n_potentials
        #: Whether weights are Gaussian, which a rotation of the inputs leaves them.
        self.rotatable = self.grid is None and self.prior.conjugate

    def stages(self, course: Course, learns_noise: bool) -> tuple[tuple[Stage, ...], EPTrainer]:
        """The stages of a fit, and the trainer of a stream."""
        #: Whether rows are those of a fit, in no order: only these say how large the prior's variance is.
        self.is_whole = course.shuffle and not self.is_stream
        design = self._design()
        learns = self.is_whole and design.learns is not None and self.n_layers == 1
        by_passes = learns or (self.is_whole and self.judges.widens)
        if by_passes:
            course = self._short_course(course, design.joint[-1])
        schedule = self._schedule(course.tol, by_passes)
        single = (self.n_layers > 1 or self.is_many) and self.n_targets >= SINGLE_ROWS and not self.is_stream
        if self.inference.name != "stochastic":
            held_out, left = self.judges.held_out(course, learns_noise)
            trainer = SweepTrainer(design, learns_noise, held_out, single, self.varies, schedule=schedule)
            if not learns:
                return (Stage(trainer, left),), trainer
            of_fit = EvidenceTrainer(**vars(trainer))
            return _apart(of_fit, left) if self.varies else (Stage(of_fit, left),), trainer
        n_passes = self._n_passes(course)
        steps = replace(course, batch_size=-(-course.batch_size // course.n_shards), n_passes=n_passes, tol=0.0)
        held_out, left = self.judges.held_out(steps, learns_noise)
        rate = self._learning_rate()
        start = StochasticTrainer(
            design, learns_noise, held_out, single, self.varies, n_passes=left.n_passes, learning_rate=rate
        )
        ways = _apart(start, left) if self.varies and held_out is None else (Stage(start, left),)
        stream = SweepTrainer(design, learns_noise, held_out, single, self.varies, schedule=schedule)
        n_sweeps = self._final_sweeps()
        if n_sweeps == 0 or course.n_passes <= n_passes:
            return ways, stream
        end = replace(stream, schedule=replace(schedule, n_sweeps=n_sweeps))
        last = replace(course, batch_size=self.problem.samples_of(FINAL_BATCH), equal_batches=True, n_passes=1)
        return (*ways, Stage(end, last)), stream

    def _is_much(self) -> bool:
        """Whether a single layer has so many potentials that it cannot settle as closely as others."""
        return self.n_layers == 1 and not self.regresses and self.n_potentials > MANY_POTENTIALS

    def _short_course(self, course: Course, joint: bool) -> Course:
        """Passes of a fit that settles over many: it learns the variance of the prior, or tells many classes apart."""
        samples_of = self.problem.samples_of
        if not course.equal_batches:
            size = course.batch_size
        elif self._is_much():
            size = max(LEAST_MINI_BATCH, BATCH_POTENTIALS // self.network.readout.n_units)
            if self.judges.widens:
                size = max(size, self.judges.sizes.batch_size(joint))
            size = samples_of(size)
        else:
            size = max(course.batch_size, samples_of(BATCH_NUMBERS // self.network.fan_ins[0]) if joint else 0)
        if size != course.batch_size:
            reason = "single layers settle sooner in few large batches"
            self.answers.answer("batch_size", "auto", size, reason)
        tol = course.tol if self._is_much() else LEARNING_TOL * course.tol
        return replace(course, tol=tol, batch_size=size)

    def _n_passes(self, course: Course) -> int:
        """Passes of steps on mini-batches."""
        patches = self.network.reads_patches
        automatic, (n_steps, least) = passes(self.problem.n_samples, course.batch_size, patches), enough(patches)
        reason = f"about {n_steps} steps, but from {least} to {MOST_PASSES} passes"
        n_passes = self.answers.answer("inference__n_passes", self.inference.n_passes, automatic, reason)
        return min(n_passes, course.n_passes)

    def _learning_rate(self) -> float | None:
        """First rate, None where the first batches choose it."""
        given = self.inference.learning_rate
        self.answers.answer("inference__learning_rate", given, "tried", "the one that raises the energy most at first")
        return None if is_auto(given) else float(given)

    def _final_sweeps(self) -> int:
        """Newton sweeps after the steps."""
        automatic, reason = 0, "sweeps gain next to nothing"
        if self.regresses and not self.varies and self.prior.conjugate:
            automatic, reason = REGRESSOR_SWEEPS, "what regressors take to predict as well as by sweeps alone"
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
        rotate, joint, temperatures = self._rotate(exponent), self._joint(), self._temperatures()
        self._check_each(temperatures)
        learns = self._learns(joint[-1] or (self._along_axes() and rotate and not self.is_many), temperatures)
        return Design(
            prior=self.prior,
            prior_variances=variances,
            temperatures=temperatures,
            anchor=self._anchor(scaled),
            spectral_exponent=exponent,
            spectral_floor=defaults.spectral_floor if scaled else 0.0,
            bias_share=BIAS_SHARE,
            hidden_variance=HIDDEN_VARIANCE,
            output_variance=defaults.output_variance,
            log_noise_variance=LOG_NOISE_VARIANCE,
            joint=joint,
            power=self._power(),
            grid=self.grid,
            gain=self.gain,
            rotate=rotate,
            center=self._center(scaled or exponent > 0),
            scaling=self._scaling(variances[0]),
            learns=learns,
            bias_variance=OUTPUT_BIAS_VARIANCE if self.n_layers == 1 and variances[0] is None else None,
            other_exponents=self._other_exponents(exponent),
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
        if self.prior.learns_each:  # of single layers, which have none
            return 0.0
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
        if not hasattr(self.prior, "spectral_exponent") or self.prior.learns_each:
            return 0.0
        given = self.prior.spectral_exponent
        patches = self.network.connections[0].reads_patches
        if patches and not is_auto(given) and given > 0:
            raise ValueError(
                f"spectral_exponent={given!r} has no effect on convolutions, whose prior is isotropic in whitened "
                "patches; leave it at 'auto'."
            )
        if patches or not scaled or self.n_columns > ROTATION_LIMIT:
            reason = f"isotropic: for Gaussian weights with an automatic variance, at most {ROTATION_LIMIT} features"
            return float(self.answers.answer("prior__spectral_exponent", given, 0.0, reason))
        if is_auto(given) and self.inference.rotate_inputs is False:
            reason = "isotropic: rotate_inputs=False leaves the principal axes out"
            return float(self.answers.answer("prior__spectral_exponent", given, 0.0, reason))
        return float(self._default("prior__spectral_exponent", given))

    def _other_exponents(self, exponent: float) -> tuple[float, ...]:
        """Exponents that trials compare with the automatic one."""
        others, name = self.defaults.other_exponents, "prior__spectral_exponent"
        if not others or exponent == 0 or not is_auto(self.prior.spectral_exponent):
            return ()
        reason = "of 1 and 0 that under which up to 500 rows become most probable in three passes"
        self.answers.answer(name, "auto", exponent, reason)
        return others

    def _rotate(self, exponent: float) -> bool:
        given = self.inference.rotate_inputs
        useful = self.rotatable and (self.n_layers > 1 or exponent > 0)
        automatic = useful and self.n_columns <= ROTATION_LIMIT
        reason = "Gaussian weights with hidden layers or a spectral prior"
        if self._along_axes():
            exact = "best" if self.is_many else "nearly exact" if self.varies else "exact"
            useful, reason = True, f"independent weights are {exact} along the principal axes"
            few = self.n_targets <= ROTATION_LIMIT and is_auto(self.prior.variance)
            automatic = self.n_columns <= ROTATION_LIMIT or few
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

    def _along_axes(self) -> bool:
        """Whether a fit is to a single layer of real outputs, or of many classes, with too many weights to be joint."""
        single = self.n_layers == 1 and (self.regresses or self.is_many)
        gaussian = self.rotatable and not self.prior.learns_each
        by_sweeps = self.inference.name == "newton" and self.is_whole
        return single and gaussian and by_sweeps and not self._joint()[-1]

    def _center(self, to_data: bool) -> bool | None:
        """Whether inputs are centred: a prior scaled to the data may shift them, a number is meant for raw inputs."""
        center = self.defaults.center if to_data else not self.rotatable
        return center if self.network.constant else False

    def _learns(self, exact: bool, temperatures: tuple[float, ...]) -> str | None:
        """Whether variances of the prior are learned from the evidence: one for the layer, or one for each input."""
        if self.prior.learns_each:
            return "each"
        if self.n_layers > 1:
            return "layer" if self.judges.heats and self.defaults.learns_output else None
        # Independent weights underestimate their spread, from which their evidence is read; so do cold ones.
        if not exact or temperatures != (1.0,) or self.inference.name != "newton":
            return None
        if not self.rotatable or not is_auto(self.prior.variance):
            return None
        if self.is_whole:
            start = f"learned, from potentials of the variance {self.defaults.output_variance:g} on"
            self.answers.answer("prior__variance", "auto", start, "the variance that makes the rows most probable")
        return "layer"

    def _check_each(self, temperatures: tuple[float, ...]) -> None:
        """Refuse to learn a variance for each input where that has no effect, or is no evidence."""
        if not self.prior.learns_each:
            return
        reason = None
        if self.n_layers > 1:
            reason = "is for single layers, and there are hidden ones"
        elif self.grid is not None:
            reason = "is for continuous weights"
        elif self.inference.name != "newton":
            reason = "is learned by inference='newton' only"
        elif self.inference.rotate_inputs is True:
            reason = "is one for each input, which rotate_inputs=True mixes"
        elif not self.is_whole and not self.is_stream:
            reason = "is learned from shuffled rows, so leave shuffle=True"
        elif temperatures != (1.0,):
            reason = "is learned at temperature 1 only"
        if reason is not None:
            raise ValueError(f"The variance that prior='ard' learns {reason}; use prior='gaussian', or change that.")

    def _scaling(self, variance: float | None) -> str:
        """How inputs are scaled: levels are meant for raw inputs, and so is a variance given as a number."""
        if self.grid is not None:
            return "none"
        return "each" if variance is None else "all"

    def _joint(self) -> tuple[bool, ...]:
        """Which layers get a joint Gaussian per unit."""
        limits = [self.defaults.joint_fan_in] * (self.n_layers - 1) + [JOINT_FAN_IN]
        units = [connection.n_units for connection in self.network.connections]
        most = MANY_JOINT_ENTRIES if self.is_many else JOINT_ENTRIES
        return tuple(
            self.inference.name != "average_ep" and fan_in <= limit and width * fan_in**2 <= most
            for width, fan_in, limit in zip(units, self.network.fan_ins, limits, strict=True)
        )

    def _schedule(self, tol: float, by_passes: bool) -> Schedule:
        """How batches are worked on; ``by_passes`` where what is left open in one is for the next pass."""
        closely = self.n_layers == 1 and self._joint()[-1] and not (by_passes and self._is_much())
        tol = min(LEARNING_TOL * _SWEEP_TOL if closely else _SWEEP_TOL, 0.1 * tol)
        if self.inference.name == "stochastic":
            return Schedule("newton", self.defaults.n_sweeps, 1.0, tol)
        automatic, reason = self.defaults.n_sweeps, self.reasons["n_sweeps"]
        if by_passes and self._is_much() and (self._joint()[-1] or self.is_many):
            most = SWEEPS_OF_MANY if self.is_many and self.n_potentials > BATCH_POTENTIALS else MANY_SWEEPS
            automatic, reason = min(automatic, most), f"more than {MANY_POTENTIALS} potentials"
        n_sweeps = self.answers.answer("inference__n_sweeps", self.inference.n_sweeps, automatic, reason)
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
        return float(self.answers.answer("inference__power", given, only, f"{name} outputs, {why}"))

    def _temperatures(self) -> tuple[float, ...]:
        given, defaults = self.inference.temperature, self.defaults
        automatic = (defaults.temperature,) * (self.n_layers - 1) + (defaults.output_temperature,)
        if is_auto(given):
            reason = self.reasons["temperature" if self.n_layers > 1 else "output_temperature"]
            if defaults.warms and not self.is_stream:
                widths = [connection.n_units for connection in self.network.connections[:-1]]
                winner, patches = self._winner(), self.network.reads_patches
                automatic = (temperature_of(self.n_targets, widths, winner, patches),) * self.n_layers
                if patches or not winner:
                    reason = f"{reason}; higher the more rows there are"
            if defaults.heating:
                reason = f"{reason}; where training starts; held-out rows choose the rest"
            return self.answers.answer("inference__temperature", given, automatic, reason)
        return self.answers.given("inference__temperature", self._per_layer("temperature", given))

    def _winner(self) -> bool:
        """Whether exactly one output fires."""
        return self.network.output.name == "softmax" or self.network.readout.n_units == 1

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


def _apart(trainer: EPTrainer, course: Course) -> tuple[Stage, ...]:
    """Passes with a constant noise, then as many with one that varies; a single pass has no time for both."""
    first = course.n_passes // 2
    parts = [(False, first), (True, course.n_passes - first)]
    return tuple(
        Stage(replace(trainer.for_passes(n), varies=varies), replace(course, n_passes=n))
        for varies, n in parts
        if n > 0
    )
