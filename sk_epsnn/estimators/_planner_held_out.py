"""The part of a plan that rows held out are for: temperatures, the noise, how wide predictions are."""

from __future__ import annotations

from dataclasses import replace

from sk_epsnn.course import Course
from sk_epsnn.ep.held_out import LEAST_HELD_OUT, HeldOut, Stop
from sk_epsnn.estimators._defaults import (
    CAUTION,
    FOLDED_ROWS,
    FOLDS,
    HEATED_ROWS,
    LAST_PASSES,
    LAST_SHARE,
    LATER_SHARE,
    LEAST_OF_A_FOLD,
    MOST_HELD_OUT,
    VALIDATION_FRACTION,
    WIDTHS,
    Defaults,
)
from sk_epsnn.estimators._many_classes import LAST_OF_MANY, MANY_CLASSES, MANY_WIDTHS, ManyClasses
from sk_epsnn.estimators._plan import Answers, Parts, Problem, is_auto
from sk_epsnn.outputs import GaussianOutput


class HeldOutPlanner:
    """Answers how many rows are held out, and what they judge."""

    def __init__(self, answers: Answers, parts: Parts, defaults: Defaults, problem: Problem):
        # What judges is how many samples there are, which are independent; what costs is how many targets.
        self.answers, self.defaults = answers, defaults
        self.n_samples, self.n_targets = problem.n_samples, problem.n_targets
        self.network, self.inference = parts.network, parts.inference
        self.n_layers = len(self.network.connections)
        self.regresses = isinstance(self.network.output, GaussianOutput)
        #: Whether the noise is to depend on the inputs.
        self.varies = self.network.output.units_per_target > 1
        self.sizes = ManyClasses(problem.n_targets, self.network.readout.n_units)
        #: Whether a single layer tells so many classes apart that ...
        competes = self.network.output.name == "softmax" and self.n_layers == 1
        self.is_many = competes and self.network.readout.n_units >= MANY_CLASSES
        #: ... held-out rows must say how wide the maximum over all of them is.
        self.widens = self.is_many and parts.grid is None and self.inference.name == "newton"

    def held_out(self, course: Course, learns_noise: bool) -> tuple[HeldOut | None, Course]:
        """Rows that are held out at first, and the course that is left when they have chosen."""
        given, name = self.inference.validation_fraction, "inference__validation_fraction"
        by_steps = self.inference.name == "stochastic"
        classifies = not self.regresses and by_steps
        useful = (((learns_noise or classifies) and self.n_layers > 1) or self.widens) and course.shuffle
        if not useful and not is_auto(given):
            raise ValueError(
                f"validation_fraction={given!r} has no effect here: rows are held out with hidden layers and "
                "shuffle=True, by regressors with a noise_variance that is no number, and by classifiers with "
                f"inference='stochastic'; without hidden layers by inference='newton' with {MANY_CLASSES} classes or "
                "more. Leave it at 'auto'."
            )
        anew = classifies and useful and self.n_targets < HEATED_ROWS
        caution = CAUTION if classifies or self.widens else 0.0
        folds = FOLDS if anew and self.n_samples < FOLDED_ROWS and is_auto(given) else 1
        automatic = 1 / folds if folds > 1 else VALIDATION_FRACTION if useful else 0.0
        if classifies and useful:
            automatic = min(automatic, MOST_HELD_OUT / self.n_samples)
        if self.widens and useful:
            automatic = min(automatic, self.sizes.judges(MOST_HELD_OUT) / self.n_samples)
        reason = "held-out rows say how large the noise is" if learns_noise else "held-out rows choose temperatures"
        if self.widens:
            reason = f"{MANY_CLASSES} classes or more: held-out rows say how wide the largest of their potentials is"
        if not useful:
            what = "a noise_variance that is no number" if self.regresses else "steps on mini-batches"
            reason = f"nothing is held out: that takes hidden layers, shuffled rows and {what}"
        fraction = self.answers.answer(name, given, automatic, reason)
        n_rows = int(fraction * self.n_samples)
        if n_rows < (LEAST_HELD_OUT if folds == 1 else LEAST_OF_A_FOLD):
            return None, replace(course, n_passes=self._passes(course))
        if self.widens:
            n_passes, last = self._passes(course), min(course.n_passes, LAST_OF_MANY)
        elif by_steps:
            n_passes = course.n_passes
            last = n_passes if anew else max(1, round(LAST_SHARE * n_passes))
        else:
            n_passes = min(course.n_passes, self.defaults.passes_per_step) if self.heats else course.n_passes
            last = min(course.n_passes, LAST_PASSES) if self.heats else course.n_passes
        widths = self._widths() if classifies or self.widens else ((1.0,) * self.n_layers,)
        held_out = HeldOut(n_rows, self._paths(n_passes), widths, folds, anew, caution, every_class=not self.widens)
        return held_out, replace(course, n_passes=last)

    def _passes(self, course: Course) -> int:
        """Passes on the way to the first stop, or without any rows held out."""
        return min(course.n_passes, self.sizes.passes()) if self.widens else course.n_passes

    @property
    def heats(self) -> bool:
        """Whether held-out rows choose the temperature."""
        few = self.n_targets < HEATED_ROWS or self.regresses
        return bool(self.defaults.heating) and is_auto(self.inference.temperature) and few and not self.varies

    def _paths(self, n_passes: int) -> tuple[tuple[Stop, ...], ...]:
        """Ways that are tried, of hidden temperatures or, by classifiers, of all temperatures."""
        if self.varies:
            return ((Stop(None, n_passes), Stop(None, n_passes, varies=True)),)
        if not self.heats:
            return ((Stop(None, n_passes),),)
        last = self.defaults.output_temperature
        later = n_passes
        if self.inference.name == "stochastic":
            later = max(1, round(LATER_SHARE * n_passes))
        paths = []
        for path in self.defaults.heating:
            stops = []
            for index, temperature in enumerate(path):
                hidden = None if temperature is None else (temperature,) * (self.n_layers - 1)
                output = last if self.regresses else temperature
                stops.append(Stop(hidden and (*hidden, output), n_passes if index == 0 else later))
            if self.defaults.learns_output:
                stops[-1] = stops[-1]._replace(learns=True)
            paths.append(tuple(stops))
        return tuple(paths)

    def _widths(self) -> tuple[tuple[float, ...], ...]:
        """Factors on the covariances that are tried in predictions: one for hidden layers, one for the outputs."""
        if self.widens:
            return tuple((width,) for width in MANY_WIDTHS)
        return tuple((*(hidden,) * (self.n_layers - 1), output) for hidden in WIDTHS for output in WIDTHS)
