"""What every ``"auto"`` of Expectation Propagation stands for, in one table.

Each number was chosen on data that no reported figure uses; `docs/settings.md` lists the measurements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

#: Share of the bias in the prior variance of a first-layer potential.
BIAS_SHARE = 0.1
#: Prior variance of the biases of a single layer's outputs: rare classes have log-odds of 10 and more.
OUTPUT_BIAS_VARIANCE = 100.0
#: A prior that is learned settles later than the energy does: tolerances are this share of what they are else.
LEARNING_TOL = 0.01
#: Where weights are joint, a batch of a single layer may have so many numbers: more rows where inputs are few.
BATCH_NUMBERS = 2**20
#: From so many potentials (rows times outputs) on, single layers of joint weights take batches of at most so many, and
#: make fewer sweeps.
MANY_POTENTIALS, BATCH_POTENTIALS, MANY_SWEEPS = 2**15, 2**17, 3
#: Prior variance of a hidden potential, averaged over the data.
HIDDEN_VARIANCE = 50.0
#: ... of the logarithm of a noise variance that depends on the inputs.
LOG_NOISE_VARIANCE = 4.0
#: Layers of at most this many inputs get a joint Gaussian per unit when they are the last one.
JOINT_FAN_IN = 256
#: ... unless the covariance matrices of all units together would exceed this many numbers.
JOINT_ENTRIES = 2**24
#: Limit for hidden layers, where the table says so: with so many inputs a fit takes five to ten times as long as with
#: independent weights.
JOINT_HIDDEN_FAN_IN = 64
#: Regressors with hidden layers of continuous weights are sure of more where they have so many rows for every input.
ROWS_PER_INPUT = 16
#: Inputs wider than this are not rotated: the eigenvectors cost n_features ** 3.
ROTATION_LIMIT = 2048
#: Share of the rows that is held out where held-out rows are asked.
VALIDATION_FRACTION = 0.2
#: Where hidden layers are heated, passes over all rows in the end: the first ones after a change of temperature
#: predict best, and more of them fit the rows too closely.
LAST_PASSES = 1

#: Rows of a mini-batch: a share of all rows, within bounds.
MINI_BATCH_SHARE, LEAST_MINI_BATCH, MOST_MINI_BATCH = 0.1, 100, 500
#: ... or this share, where that is more than the bound.
MINI_BATCH_SHARE_OF_MANY, MOST_OF_MANY = 0.02, 1000
#: Steps that few passes are to have, in batches of down to half the size.
LEAST_STEPS = 80
#: Passes of steps on mini-batches: as many as give this number of steps, within bounds.
N_STEPS, LEAST_PASSES, MOST_PASSES = 160, 15, 160
#: ... with convolutions, whose weights see every patch of an image.
STEPS_OF_IMAGES, LEAST_PASSES_OF_IMAGES = 120, 5
#: Newton sweeps of regressors after them, at most, and rows of their batches.
REGRESSOR_SWEEPS, FINAL_BATCH = 20, 10_000
#: Where held-out rows have judged, so many of the passes go over all rows in the end.
LAST_SHARE = 0.2
#: Where classifiers are heated, passes on the way to every later temperature, as a share of those to the first.
LATER_SHARE = 0.33
#: Factors on the covariances in the predictions of classifiers with hidden layers, of which held-out rows choose.
WIDTHS = (1.0, 3.0, 0.3, 0.1)
#: Classifiers hold out at most so many rows; with fewer in all than this, each of so many parts in turn.
MOST_HELD_OUT, FOLDED_ROWS, FOLDS = 500, 1000, 2
#: Parts of fewer rows than this cannot judge temperatures.
LEAST_OF_A_FOLD = 25
#: Standard errors by which another choice must be better than the first temperature and widths of 1.
CAUTION = 1.0
#: With so many rows or more they train at one temperature: the others would gain next to nothing.
HEATED_ROWS = 5000
#: Temperature of classifiers that train by steps on mini-batches: that at so many rows, and how it grows with these.
WARM_TEMPERATURE, WARM_ROWS, WARM_EXPONENT = 0.3, 2000, 0.25
#: ... with three hidden layers or more.
WARM_EXPONENT_OF_DEEP = 0.4
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.22, 0.6
#: With convolutions it grows so from that number of rows on, and without a bound.
WARM_EXPONENT_OF_IMAGES = 0.6
#: With four hidden layers or more it is the lower the narrower than this they are: the signals would die.
VERY_DEEP_WIDTH = 50
#: Hidden layers train in single precision with so many rows at once: with fewer it would save next to nothing, and a
#: row of weight two would no longer be the row twice to the rounding of float64.
SINGLE_ROWS = 1000
#: Regressors with hidden layers of continuous weights train by steps on mini-batches from so many rows on.
MANY_ROWS = 4000


@dataclass(frozen=True)
class Case:
    """What the defaults depend on.

    Attributes
    ----------
    task : {"classifier", "regressor"}
    n_layers : int
        Layers of weights.
    rows_per_input : float
        Rows for every input of the first layer, the constant among them; infinity in a stream, or in
        an ordered fit.
    discrete : bool
        Whether weights are on levels.
    conjugate : bool
        Whether the prior of continuous weights is Gaussian.
    sparse : bool
        Whether the prior makes many weights exactly 0.
    winner : bool
        Whether exactly one output fires: those of a softmax, or the sigmoid unit of two classes.
    inference : str
        Name of the way in which a batch is worked on.
    varying_noise : bool
        Whether the noise of a regressor depends on its inputs.
    traces : bool
        Whether hidden layers read traces of the spikes of others.
    patches : bool
        Whether there are convolutions.
    """

    task: str
    n_layers: int
    rows_per_input: float
    discrete: bool
    conjugate: bool
    sparse: bool
    winner: bool
    inference: str
    varying_noise: bool = False
    traces: bool = False
    patches: bool = False

    @property
    def row(self) -> str:
        """Which row of the table."""
        if self.n_layers == 1:
            return f"{self.task}, single layer"
        if self.task == "regressor" and not self.is_plain and self.rows_per_input >= ROWS_PER_INPUT:
            return _MANY_ROWS
        return f"{self.task}, hidden layers"

    @property
    def is_plain(self) -> bool:
        """Whether weights are on levels, or the inference knows of no joint ones."""
        return self.discrete or self.inference == "average_ep"


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Values used for options left at "auto".

    Attributes
    ----------
    power : float
        Exponent alpha of power EP.
    temperature, output_temperature : float
        Temperature of the hidden layers, and of the last one.
    spectral_exponent : float
    anchor : float
    center : bool or None
        Whether the prior is that of weights and bias of centred inputs; None centres only inputs whose offset
        outweighs their spread.
    output_variance : float
        Prior variance of an output potential, averaged over the data; for regression in units of the target's
        variance.
    batch_size : int
        Largest batch; the rows are cut into as few equal ones as it takes.
    n_sweeps : int
    max_iter : int
        Passes over the rows, at most.
    spectral_floor : float
        Added to the second moments of the inputs before they are raised to the spectral exponent, in units of their
        mean.
    joint_fan_in : int
        Hidden layers of at most this many inputs, the constant among them, get a joint Gaussian per unit.
    heating : tuple of tuples of float or None
        Paths of hidden temperatures, those of classifiers of all temperatures, that are tried before training;
        held-out rows judge every step. None is ``temperature`` itself. Empty: train at that.
    passes_per_step : int
        Passes at each temperature of a regressor's paths.
    learns_output : bool
        Whether the variance of the outputs' prior is learned on the last step of every path.
    warms : bool
        Whether all temperatures depend on the number of rows, see `_by_rows.temperature_of`.
    other_exponents : tuple of float
        Spectral exponents that short trials compare with ``spectral_exponent``.
    """

    power: float
    temperature: float
    output_temperature: float = 1.0
    spectral_exponent: float = 0.0
    anchor: float = 0.0
    center: bool | None = None
    output_variance: float
    batch_size: int
    n_sweeps: int = 10
    max_iter: int = 20
    spectral_floor: float = 0.0
    joint_fan_in: int = 0
    heating: tuple[tuple[float | None, ...], ...] = ()
    passes_per_step: int = 2
    learns_output: bool = False
    warms: bool = False
    other_exponents: tuple[float, ...] = ()


#: The row of regressors that have many rows for every input.
_MANY_ROWS = "regressor, hidden layers, many rows"
#: Paths of the hidden temperatures of regressors.
_HEATING = ((1.0,), (0.4, 0.6, 1.0), (0.15, 0.25, 0.4, 0.6, 1.0))

TABLE = {
    "classifier, single layer": Defaults(
        power=0.0,
        temperature=1.0,
        output_variance=10.0,
        batch_size=1000,
    ),
    "classifier, hidden layers": Defaults(
        power=0.1,
        temperature=0.3,
        output_temperature=0.3,
        spectral_exponent=1.0,
        anchor=0.5,
        center=True,
        output_variance=40.0,
        batch_size=10_000,
        max_iter=10,
        spectral_floor=0.5,
        other_exponents=(0.0,),
    ),
    # Solved exactly in the variational limit.
    "regressor, single layer": Defaults(
        power=0.0,
        temperature=1.0,
        center=True,
        output_variance=4.0,
        batch_size=10_000,
        n_sweeps=2,
    ),
    # Joint Gaussians in hidden layers are honest at temperature 1, but a cold start finds better features.
    "regressor, hidden layers": Defaults(
        power=1.0,
        temperature=0.7,
        spectral_exponent=0.15,
        anchor=0.3,
        output_variance=1.0,
        batch_size=100,
        n_sweeps=2,
        joint_fan_in=JOINT_HIDDEN_FAN_IN,
        heating=_HEATING,
        passes_per_step=4,
    ),
    _MANY_ROWS: Defaults(
        power=1.0,
        temperature=0.5,
        anchor=0.15,
        output_variance=8.0,
        batch_size=10_000,
        joint_fan_in=JOINT_HIDDEN_FAN_IN,
        heating=_HEATING,
    ),
}


@dataclass(frozen=True)
class Override:
    """Values that differ from the table in some cases, and why."""

    reason: str
    applies: Callable[[Case], bool]
    values: dict[str, Any]


def _discrete(task: str, layers: str) -> Callable[[Case], bool]:
    return lambda case: case.discrete and case.row == f"{task}, {layers}"


def _deep(row: str, n_layers: int) -> Callable[[Case], bool]:
    return lambda case: case.row == row and min(case.n_layers, 4) == n_layers


def _steps(case: Case) -> bool:
    return case.inference == "stochastic" and case.row == "classifier, hidden layers"


_LEVELS = "weights on levels: the gain gives output potentials this variance; weaker anchors, colder hidden layers"
_SMALL_BATCHES = "signals die out in deep networks whose anchors are weak, the more so the smaller the batches"
_ANCHORED = "steps on mini-batches: stronger anchors keep signals alive through layers of weights on levels"
#: In the order in which they apply.
OVERRIDES = (
    Override(
        "weights on levels: all rows at once",
        _discrete("classifier", "single layer"),
        {"output_variance": 5.0, "output_temperature": 0.3, "power": 0.1, "batch_size": 10_000},
    ),
    Override(_LEVELS, _discrete("classifier", "hidden layers"), {"output_variance": 15.0, "anchor": 0.3}),
    Override(_LEVELS, _discrete("regressor", "single layer"), {"output_variance": 5.0, "batch_size": 100}),
    Override(_LEVELS, _discrete("regressor", "hidden layers"), {"output_variance": 15.0, "temperature": 0.55}),
    Override(
        "weights on levels or average EP: independent weights, which are not heated",
        lambda case: case.is_plain and case.row == "regressor, hidden layers",
        {"joint_fan_in": 0, "heating": ()},
    ),
    Override("two hidden layers", _deep("classifier, hidden layers", 3), {"anchor": 0.3}),
    Override(_SMALL_BATCHES, _deep("classifier, hidden layers", 4), {"anchor": 0.5, "power": 0.5}),
    Override(_SMALL_BATCHES, _deep("regressor, hidden layers", 3), {"anchor": 1.0}),
    Override(_SMALL_BATCHES, _deep("regressor, hidden layers", 4), {"anchor": 1.0, "power": 1.0}),
    Override(_SMALL_BATCHES, _deep(_MANY_ROWS, 4), {"anchor": 1.0, "power": 1.0}),
    Override(
        "steps on mini-batches train at higher temperatures",
        lambda case: _steps(case) and not case.discrete,
        {"warms": True},
    ),
    Override(
        "cold posteriors find sharp features, warm ones are honest where classes overlap: held-out rows choose",
        lambda case: _steps(case) and not case.discrete and case.conjugate,
        {"heating": ((None, 1.0),), "learns_output": True},
    ),
    Override(
        "uncertain spikes, which traces average, say nothing to deeper layers: a colder start is tried too",
        lambda case: _steps(case) and not case.discrete and case.conjugate and case.traces,
        {"heating": ((0.03, None, 1.0), (None, 1.0))},
    ),
    Override(
        "steps on mini-batches keep the signals of deep networks alive at any power",
        lambda case: _steps(case) and case.n_layers > 3,
        {"power": 0.1},
    ),
    Override(
        "steps on mini-batches: the spread of weights on levels drowns the signals where it counts fully",
        lambda case: case.inference == "stochastic" and case.discrete and case.n_layers > 1,
        {"temperature": 0.1, "output_temperature": 0.1},
    ),
    Override(
        "steps on mini-batches: a prior that makes weights small drowns the signals of deep networks at more",
        lambda case: _steps(case) and not case.conjugate and case.n_layers > 2,
        {"temperature": 0.1, "output_temperature": 0.1, "warms": False},
    ),
    Override(_ANCHORED, lambda case: _steps(case) and case.discrete and case.n_layers == 3, {"anchor": 0.5}),
    Override(_ANCHORED, lambda case: _steps(case) and case.discrete and case.n_layers > 3, {"anchor": 0.8}),
    Override(
        "steps on mini-batches find the features without being heated",
        lambda case: case.inference == "stochastic" and case.row == "regressor, hidden layers",
        {"heating": ()},
    ),
    Override(
        "steps on mini-batches find the features at temperature 1",
        lambda case: case.inference == "stochastic" and case.row == _MANY_ROWS,
        {"temperature": 1.0, "heating": ()},
    ),
    Override("many weights are off", lambda case: case.sparse and case.n_layers > 1, {"output_variance": 20.0}),
    Override(
        "outputs of which exactly one fires are honest at temperature 1, and need potentials that are wide",
        lambda case: case.winner and case.n_layers == 1 and not case.discrete,
        {"output_variance": 40.0, "output_temperature": 1.0},
    ),
    Override(
        "outputs of which exactly one fires need potentials that are wide",
        lambda case: case.winner and case.n_layers == 1 and case.discrete,
        {"output_variance": 15.0},
    ),
    Override(
        "outputs of which exactly one fires need potentials that are wide",
        lambda case: case.winner and case.n_layers > 1 and not case.discrete,
        {"output_variance": 400.0},
    ),
    Override(
        "how a noise varies is best seen with all rows at once",
        lambda case: case.varying_noise and case.n_layers == 1,
        {"batch_size": 10_000, "n_sweeps": 10},
    ),
    Override(
        "convolutions: kernels start at shapes that occur, and stay near them",
        lambda case: case.patches and case.task == "classifier",
        {"anchor": 0.5, "other_exponents": ()},
    ),
    Override(
        "plain EP, and enough sweeps for a damped iteration",
        lambda case: case.inference == "average_ep",
        {"power": 1.0, "n_sweeps": 30, "heating": (), "other_exponents": ()}
        | dict.fromkeys(("temperature", "output_temperature"), 1.0),
    ),
)


def defaults_for(case: Case) -> tuple[Defaults, dict[str, str]]:
    """The defaults of a case, and for each of them why it is what it is."""
    defaults = TABLE[case.row]
    reasons = {entry.name: case.row for entry in fields(defaults)}
    for override in OVERRIDES:
        if override.applies(case):
            defaults = replace(defaults, **override.values)
            reasons |= dict.fromkeys(override.values, override.reason)
    return defaults, reasons
