"""The plan of a fit: what every "auto" stands for, what is refused, and what a fitted network cannot take."""

from copy import deepcopy

import numpy as np
import parameters
import pytest
from sklearn.base import clone

from sk_epsnn import (
    AverageEP,
    BernoulliGaussianPrior,
    Convolution,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianPrior,
    HeavisideOutput,
    LaplacePrior,
    Levels,
    Newton,
    Stochastic,
)
from sk_epsnn.ep.held_out import Stop
from sk_epsnn.ep.options import INFERENCES
from sk_epsnn.ep.stochastic_trainer import StochasticTrainer
from sk_epsnn.ep.trainer import SweepTrainer
from sk_epsnn.estimators._plan import Problem, Setting
from sk_epsnn.estimators._planner import make_plan

X = np.random.default_rng(0).normal(size=(60, 3))
LABELS = np.arange(60) % 3
TARGETS = X @ np.array([1.0, -1.0, 0.5])
EVERY = pytest.mark.parametrize("name", parameters.ESTIMATORS)


def plan_of(model, n_samples=1000, n_features=64, n_outputs=10):
    task = "classifier" if isinstance(model, EPSNNClassifier) else "regressor"
    return make_plan(model, Problem(task, n_samples, n_features, n_outputs))


def target(model):
    return LABELS if isinstance(model, EPSNNClassifier) else TARGETS


# ---------------------------------------------------------------------- what "auto" stands for


def scaled(output):
    return f"scaled to give potentials the variance 50 (hidden layers) or {output} (outputs)"


def learned(output):
    return f"learned, from potentials of the variance {output} on"


#: Estimator, number of features, and what its settings are: (batch_size, n_sweeps, power, temperature, rotate_inputs,
#: validation_fraction, anchor, spectral_exponent, variance).
CASES = {
    "classifier": (EPSNNClassifier(), 64, (16_131, 10, 0.0, (1.0,), False, 0.0, 0.0, 0.0, learned(40))),
    "hidden": (
        EPSNNClassifier(30, inference="newton"),
        64,
        (10_000, 10, 0.0, (0.3,) * 2, True, 0.0, 0.5, 1.0, scaled(400)),
    ),
    "two hidden": (
        EPSNNClassifier((9, 8), inference="newton"),
        64,
        (10_000, 10, 0.0, (0.3,) * 3, True, 0.0, 0.3, 1.0, scaled(400)),
    ),
    "three hidden": (
        EPSNNClassifier((9, 8, 7), inference="newton"),
        64,
        (10_000, 10, 0.0, (0.3,) * 4, True, 0.0, 0.5, 1.0, scaled(400)),
    ),
    "wide": (
        EPSNNClassifier(30, inference="newton"),
        2049,
        (10_000, 10, 0.0, (0.3,) * 2, False, 0.0, 0.5, 0.0, scaled(400)),
    ),
    "binary": (EPSNNClassifier(weights="binary"), 64, (10_000, 10, 0.0, (0.3,), False, 0.0, 0.0, 0.0, scaled(15))),
    "binary hidden": (
        EPSNNClassifier(30, weights="binary", inference="newton"),
        64,
        (10_000, 10, 0.0, (0.3,) * 2, False, 0.0, 0.3, 0.0, scaled(15)),
    ),
    "laplace": (
        EPSNNClassifier(30, prior="laplace", inference="newton"),
        64,
        (10_000, 10, 0.0, (0.3,) * 2, False, 0.0, 0.0, 0.0, scaled(400)),
    ),
    "sparse": (
        EPSNNClassifier(30, prior="bernoulli_gaussian", inference="newton"),
        64,
        (10_000, 10, 0.0, (0.3,) * 2, False, 0.0, 0.0, 0.0, scaled(400)),
    ),
    "average EP": (
        EPSNNClassifier(30, inference="average_ep"),
        64,
        (10_000, 30, 0.0, (1.0,) * 2, True, 0.0, 0.5, 1.0, scaled(400)),
    ),
    "threshold": (
        EPSNNClassifier(output_activation="heaviside"),
        64,
        (16_131, 10, 1.0, (1.0,), False, 0.0, 0.0, 0.0, learned(10)),
    ),
    "regressor": (EPSNNRegressor(), 64, (16_131, 2, 0.0, (1.0,), False, 0.0, 0.0, 0.0, learned(4))),
    "hidden regressor": (EPSNNRegressor(20), 64, (100, 2, 1.0, (0.7, 1.0), True, 0.2, 0.3, 0.15, scaled(1))),
    "16 rows for an input": (EPSNNRegressor(20), 61, (10_000, 10, 1.0, (0.5, 1.0), True, 0.2, 0.15, 0.0, scaled(8))),
    "one input more": (EPSNNRegressor(20), 62, (100, 2, 1.0, (0.7, 1.0), True, 0.2, 0.3, 0.15, scaled(1))),
    "62 without intercept": (
        EPSNNRegressor(20, fit_intercept=False),
        62,
        (10_000, 10, 1.0, (0.5, 1.0), True, 0.2, 0.15, 0.0, scaled(8)),
    ),
    "many rows, average EP": (
        EPSNNRegressor(20, inference="average_ep"),
        5,
        (100, 30, 1.0, (1.0, 1.0), True, 0.2, 0.3, 0.15, scaled(1)),
    ),
    "two hidden, many rows": (
        EPSNNRegressor((9, 8)),
        5,
        (10_000, 10, 1.0, (0.5, 0.5, 1.0), True, 0.2, 0.15, 0.0, scaled(8)),
    ),
    "two hidden regressor": (
        EPSNNRegressor((9, 8)),
        64,
        (100, 2, 1.0, (0.7, 0.7, 1.0), True, 0.2, 1.0, 0.15, scaled(1)),
    ),
    "levels": (EPSNNRegressor(weights="ternary"), 64, (100, 2, 0.0, (1.0,), False, 0.0, 0.0, 0.0, scaled(5))),
    "hidden levels": (
        EPSNNRegressor(20, weights="ternary", inference="newton"),
        5,
        (100, 2, 1.0, (0.55, 1.0), False, 0.2, 0.3, 0.0, scaled(15)),
    ),
    "known noise": (
        EPSNNRegressor(20, noise_variance=2.0),
        64,
        (100, 2, 1.0, (0.7, 1.0), True, 0.0, 0.3, 0.15, scaled(1)),
    ),
    "a stream of rows": (
        EPSNNRegressor(20, shuffle=False),
        64,
        (10_000, 10, 1.0, (0.5, 1.0), True, 0.0, 0.15, 0.0, scaled(8)),
    ),
}
NAMES = (
    *("batch_size", "inference__n_sweeps", "inference__power", "inference__temperature", "inference__rotate_inputs"),
    *("inference__validation_fraction", "prior__anchor", "prior__spectral_exponent", "prior__variance"),
)


@pytest.mark.parametrize(("model", "n_features", "expected"), CASES.values(), ids=CASES)
def test_what_auto_stands_for(model, n_features, expected):
    plan = plan_of(model, n_features=n_features)
    # Only Gaussian weights have a spectral prior.
    spectral = model.prior == "gaussian" or isinstance(model.prior, GaussianPrior)
    names = [name for name in NAMES if spectral or name != "prior__spectral_exponent"]
    found = tuple(plan.settings[name].value for name in names)
    expected = tuple(value for name, value in zip(NAMES, expected, strict=True) if name in names)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]
    assert set(names) <= set(plan.automatic)


@pytest.mark.parametrize(("model", "n_features", "expected"), CASES.values(), ids=CASES)
def test_what_auto_stands_for_is_what_training_uses(model, n_features, expected):
    plan = plan_of(model, n_features=n_features)
    design, schedule = plan.trainer.design, plan.trainer.schedule
    (stage,) = plan.stages
    assert stage.trainer.design is plan.trainer.design and stage.trainer.schedule is plan.trainer.schedule
    course = stage.course
    batch_size, n_sweeps, power, temperature, rotate, fraction, anchor, exponent, _ = expected
    assert (course.batch_size, course.equal_batches, schedule.n_sweeps) == (batch_size, True, n_sweeps)
    assert (design.power, design.temperatures, design.rotate) == (power, temperature, rotate)
    assert (design.anchor, design.spectral_exponent) == (anchor, exponent)
    assert design.prior_variances == (None,) * len(temperature)
    assert (0 if plan.trainer.held_out is None else plan.trainer.held_out.n_rows) == 1000 * fraction


#: As `CASES`, with what steps on mini-batches have in place of sweeps, of 1000 rows: (batch_size, n_passes,
#: final_sweeps, power, temperature, rotate_inputs, validation_fraction, anchor, spectral_exponent, variance).
STEPS = {
    "hidden": (EPSNNClassifier(30), 64, (100, 16, 0, 0.0, (0.3,) * 2, True, 0.2, 0.5, 1.0, scaled(400))),
    "two hidden": (EPSNNClassifier((9, 8)), 64, (100, 16, 0, 0.0, (0.3,) * 3, True, 0.2, 0.3, 1.0, scaled(400))),
    "three hidden": (EPSNNClassifier((9, 8, 7)), 64, (100, 16, 0, 0.0, (0.3,) * 4, True, 0.2, 0.5, 1.0, scaled(400))),
    "wide": (EPSNNClassifier(30), 2049, (100, 16, 0, 0.0, (0.3,) * 2, False, 0.2, 0.5, 0.0, scaled(400))),
    "binary hidden": (
        EPSNNClassifier(30, weights="binary"),
        64,
        (100, 16, 0, 0.0, (0.1,) * 2, False, 0.2, 0.3, 0.0, scaled(15)),
    ),
    "sparse": (
        EPSNNClassifier(30, prior="bernoulli_gaussian"),
        64,
        (100, 16, 0, 0.0, (0.3,) * 2, False, 0.2, 0.5, 0.0, scaled(400)),
    ),
    "regressor on levels": (
        EPSNNRegressor(20, weights="ternary"),
        5,
        (100, 16, 20, 1.0, (0.1, 0.1), False, 0.2, 0.3, 0.0, scaled(15)),
    ),
    "softmax": (
        EPSNNClassifier(30, output_activation="softmax"),
        64,
        (100, 16, 0, 0.0, (0.3,) * 2, True, 0.2, 0.5, 1.0, scaled(400)),
    ),
    "two sparse": (
        EPSNNClassifier((30, 30), prior="laplace"),
        64,
        (100, 16, 0, 0.0, (0.1,) * 3, False, 0.2, 0.3, 0.0, scaled(400)),
    ),
    "two binary": (
        EPSNNClassifier((30, 30), weights="binary"),
        64,
        (100, 16, 0, 0.0, (0.1,) * 3, False, 0.2, 0.5, 0.0, scaled(15)),
    ),
    "three binary": (
        EPSNNClassifier((30, 30, 30), weights="binary"),
        64,
        (100, 16, 0, 0.0, (0.1,) * 4, False, 0.2, 0.8, 0.0, scaled(15)),
    ),
    "four hidden": (
        EPSNNClassifier((60, 25, 60, 60)),
        64,
        (100, 16, 0, 0.0, (0.15,) * 5, True, 0.2, 0.5, 1.0, scaled(400)),
    ),
    "many rows": (
        EPSNNRegressor(20, inference="stochastic"),
        5,
        (100, 16, 20, 1.0, (1.0, 1.0), True, 0.2, 0.15, 0.0, scaled(8)),
    ),
    "hidden regressor": (
        EPSNNRegressor(20, inference="stochastic"),
        64,
        (100, 16, 20, 1.0, (0.7, 1.0), True, 0.2, 0.3, 0.15, scaled(1)),
    ),
    "one layer": (
        EPSNNClassifier(inference="stochastic"),
        64,
        (100, 16, 0, 0.0, (1.0,), False, 0.0, 0.0, 0.0, scaled(40)),
    ),
}
STEP_NAMES = (NAMES[0], "inference__n_passes", "inference__final_sweeps", *NAMES[2:])


@pytest.mark.parametrize(("model", "n_features", "expected"), STEPS.values(), ids=STEPS)
def test_what_auto_stands_for_in_steps_on_mini_batches(model, n_features, expected):
    plan = plan_of(model, n_features=n_features)
    spectral = model.prior == "gaussian"
    pairs = {n: v for n, v in zip(STEP_NAMES, expected, strict=True) if spectral or n != "prior__spectral_exponent"}
    found = {name: plan.settings[name].value for name in pairs}
    assert found == pairs
    assert [type(value) for value in found.values()] == [type(value) for value in pairs.values()]
    assert set(pairs) <= set(plan.automatic)
    assert plan.settings["inference__learning_rate"].value == "tried"
    batch_size, n_passes, n_sweeps, power, temperature, rotate, fraction, anchor, exponent, _ = expected
    steps, *end = plan.stages
    assert isinstance(steps.trainer, StochasticTrainer) and len(end) == (n_sweeps > 0)
    # Held-out rows have judged: a fifth of the passes go over all rows in the end, or all where training begins anew.
    n_left = n_passes if fraction == 0 or plan.trainer.held_out.anew else 3
    assert (steps.course.batch_size, steps.course.n_passes, steps.course.tol) == (batch_size, n_left, 0.0)
    assert (steps.trainer.n_passes, steps.trainer.learning_rate) == (n_left, None)
    for sweeps in end:
        assert isinstance(sweeps.trainer, SweepTrainer)
        assert (sweeps.course.batch_size, sweeps.course.n_passes) == (10_000, 1)
        assert (sweeps.trainer.schedule.name, sweeps.trainer.schedule.n_sweeps) == ("newton", n_sweeps)
    assert isinstance(plan.trainer, SweepTrainer) and plan.trainer.schedule.n_sweeps != n_sweeps
    for trainer in (steps.trainer, *(sweeps.trainer for sweeps in end), plan.trainer):
        design = trainer.design
        assert (design.power, design.temperatures, design.rotate) == (power, temperature, rotate)
        assert (design.anchor, design.spectral_exponent) == (anchor, exponent)
        assert (0 if trainer.held_out is None else trainer.held_out.n_rows) == 1000 * fraction
        assert trainer.single == (len(temperature) > 1)


@pytest.mark.parametrize(
    ("n_features", "weights", "joint", "heats"),
    [
        (5, "continuous", True, True),
        (63, "continuous", True, True),
        (64, "continuous", False, True),
        (5, "binary", False, False),
    ],
)
def test_hidden_layers_of_regressors(n_features, weights, joint, heats):
    """Joint weights of up to 64 inputs; temperatures are tried with any number of inputs, where weights allow it."""
    trainer = plan_of(EPSNNRegressor(20, weights=weights, inference="newton"), n_features=n_features).trainer
    assert trainer.design.joint[0] == joint
    assert len(trainer.held_out.paths) == (3 if heats else 1)


@pytest.mark.parametrize("model", [EPSNNClassifier(9), EPSNNRegressor(9)], ids=["classifier", "regressor"])
def test_no_spectral_prior_without_the_axes(model):
    """An automatic exponent asks for nothing that another parameter rules out."""
    model = clone(model).set_params(inference=Newton(rotate_inputs=False))
    assert plan_of(model).settings["prior__spectral_exponent"].value == 0


def test_rows_of_a_stream_are_never_few():
    """How many there will be is not known with the first ones."""
    model, anchors = EPSNNRegressor(20), []
    for is_stream in (False, True):
        plan = make_plan(model, Problem("regressor", 100, 64, 1, is_stream))
        anchors.append(plan.settings["prior__anchor"].value)
    assert anchors == [0.3, 0.15]


@pytest.mark.parametrize(
    ("n_samples", "batch_size", "n_passes"),
    [
        (10, 100, 160),
        (300, 100, 54),
        (999, 100, 16),
        (2000, 200, 16),
        (5000, 500, 16),
        (10_000, 500, 15),
        (40_000, 800, 15),
        (60_000, 1000, 15),
        (10**6, 1000, 15),
    ],
)
def test_steps_by_the_number_of_rows(n_samples, batch_size, n_passes):
    """A tenth of the rows from 100 to 500, or a fiftieth up to 1000; 160 steps, but from 15 to 160 passes."""
    plan = plan_of(EPSNNClassifier(30), n_samples=n_samples)
    assert plan.settings["batch_size"].value == batch_size
    assert plan.settings["inference__n_passes"].value == n_passes
    assert plan.stages[0].course.batches(n_samples)[0].stop <= batch_size


@pytest.mark.parametrize(
    ("n_samples", "n_passes", "batch_size"),
    [(10_000, 1, 250), (10_000, 3, 375), (10_000, 4, 500), (10_000, 40, 500), (1000, 1, 100), (60_000, 1, 750)],
)
def test_few_passes_have_smaller_batches(n_samples, n_passes, batch_size):
    """80 steps, but batches of half the size or more, and of 100 rows or more; whoever says that there are few."""
    for options in ({"inference": Stochastic(n_passes=n_passes)}, {"max_iter": n_passes}):
        plan = plan_of(EPSNNClassifier(30, **options), n_samples=n_samples)
        assert plan.settings["batch_size"].value == batch_size


@pytest.mark.parametrize(
    ("n_samples", "shallow", "deep"), [(100, 0.22, 0.22), (2000, 0.3, 0.3), (10_000, 0.449, 0.571), (10**6, 0.6, 0.6)]
)
def test_temperatures_rise_with_the_rows(n_samples, shallow, deep):
    """As a fourth root; with a power of 0.4 from three hidden layers on; from 0.22 to 0.6. With a softmax they stay."""
    for sizes, expected in (((9, 8), shallow), ((9, 8, 7), deep)):
        for output, temperature in (("sigmoid", expected), ("softmax", 0.3)):
            plan = plan_of(EPSNNClassifier(sizes, output_activation=output), n_samples=n_samples)
            assert plan.settings["inference__temperature"].value == (temperature,) * (len(sizes) + 1)


@pytest.mark.parametrize(("n_samples", "expected"), [(100, 0.3), (2000, 0.3), (64_000, 2.4), (2_048_000, 19.2)])
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_temperatures_of_convolutions_rise_with_the_rows(n_samples, expected, output):
    """With a power of 0.6 from 2,000 rows on, whatever the outputs are: 32 times the rows are 8 times as hot."""
    model = EPSNNClassifier((Convolution(4, 3), 8), output_activation=output)
    found = plan_of(model, n_samples=n_samples).settings["inference__temperature"]
    assert found.value == (expected,) * 3
    assert "higher the more rows there are" in found.reason
    given = plan_of(model.set_params(inference=Stochastic(temperature=0.5)), n_samples=n_samples)
    assert given.trainer.design.temperatures == (0.5,) * 3


@pytest.mark.parametrize("inference", ["newton", "average_ep", "stochastic"])
@pytest.mark.parametrize(("sizes", "n_samples", "single"), [((), 10**4, False), (9, 999, False), (9, 1000, True)])
def test_single_precision_is_for_hidden_layers_and_many_rows(inference, sizes, n_samples, single):
    plan = plan_of(EPSNNClassifier(sizes, inference=inference), n_samples=n_samples)
    assert {stage.trainer.single for stage in plan.stages} == {plan.trainer.single} == {single}


@pytest.mark.parametrize(
    ("model", "n_samples", "expected"),
    [
        (EPSNNClassifier(), 10**6, "newton"),
        (EPSNNClassifier(30), 10, "stochastic"),
        (EPSNNClassifier(30, shuffle=False), 10**6, "newton"),
        (EPSNNClassifier(30, weights="ternary"), 1000, "stochastic"),
        (EPSNNRegressor(), 10**6, "newton"),
        (EPSNNRegressor(30), 3999, "newton"),
        (EPSNNRegressor(30), 4000, "stochastic"),
        (EPSNNRegressor(30, shuffle=False), 4000, "newton"),
    ],
)
def test_how_to_train_is_chosen_by_the_task(model, n_samples, expected):
    assert plan_of(model, n_samples=n_samples).settings["inference"].value == expected
    task = "classifier" if isinstance(model, EPSNNClassifier) else "regressor"
    assert make_plan(model, Problem(task, n_samples, 64, 10, is_stream=True)).settings["inference"].value == "newton"


@pytest.mark.parametrize(("max_iter", "n_passes"), [(1, [1]), (16, [16]), (17, [16, 1]), (None, [16, 1])])
def test_max_iter_bounds_the_passes_of_all_stages(max_iter, n_passes):
    """There are final sweeps only if it leaves room for them."""
    inference = Stochastic(final_sweeps=1, validation_fraction=0)
    plan = plan_of(EPSNNClassifier(30, inference=inference, max_iter=max_iter))
    assert [stage.course.n_passes for stage in plan.stages] == n_passes
    assert plan.stages[0].trainer.n_passes == n_passes[0]
    assert ("max_iter" in plan.automatic) == (max_iter is None)
    assert plan_of(EPSNNClassifier(max_iter=max_iter)).stages[0].course.n_passes == (max_iter or 20)
    assert plan_of(EPSNNRegressor(max_iter=max_iter)).stages[0].course.n_passes == (max_iter or 20)


def test_options_of_steps_on_mini_batches_are_used():
    options = {"n_passes": 3, "learning_rate": 0.5, "final_sweeps": 4, "power": 0.25, "temperature": 0.5}
    inference = Stochastic(**options, validation_fraction=0)
    plan = plan_of(EPSNNClassifier(30, output_activation="sigmoid", inference=inference, batch_size=64, n_shards=3))
    steps, sweeps = plan.stages
    assert (steps.trainer.n_passes, steps.course.n_passes, steps.trainer.learning_rate) == (3, 3, 0.5)
    # The batches of all shards together are of so many rows.
    assert (steps.course.batch_size, steps.course.n_shards) == (22, 3)
    assert (sweeps.trainer.schedule.n_sweeps, sweeps.course.n_passes) == (4, 1)
    assert (plan.trainer.design.power, plan.trainer.design.temperatures) == (0.25, (0.5, 0.5))
    (only,) = plan_of(EPSNNClassifier(30, inference=Stochastic(final_sweeps=0))).stages
    assert isinstance(only.trainer, StochasticTrainer)


def test_a_prior_given_as_a_number_is_taken_as_it_is():
    plan = plan_of(EPSNNClassifier(30, prior=GaussianPrior(variance=2.0)))
    settings = {name: plan.settings[name].value for name in STEP_NAMES}
    assert settings["prior__variance"] == (2.0, 2.0)
    assert (settings["prior__anchor"], settings["prior__spectral_exponent"]) == (0.0, 0.0)
    assert settings["inference__rotate_inputs"] is True
    assert "prior__variance" not in plan.automatic and not plan.standardise
    assert plan_of(EPSNNClassifier(30)).standardise


@pytest.mark.parametrize(
    ("given", "noise"),
    [
        ("heaviside", np.pi**2 / 3),
        (HeavisideOutput(), np.pi**2 / 3),
        (HeavisideOutput(0), 0.0),
        (HeavisideOutput(1.5), 1.5),
    ],
)
def test_noise_of_a_threshold(given, noise):
    plan = plan_of(EPSNNClassifier(output_activation=given))
    output = plan.network.output
    assert output.name == "heaviside" and output.variance == noise
    assert output.has_ties == (noise == 0)
    assert plan.settings["output_activation"].value == repr(output)


def test_names_stand_for_objects():
    assert plan_of(EPSNNClassifier()).network.output.name == "softmax"
    assert plan_of(EPSNNClassifier(), n_outputs=1).network.output.name == "sigmoid"
    assert plan_of(EPSNNClassifier()).settings["inference"] == Setting("newton", "without hidden layers the fastest")
    binary = plan_of(EPSNNClassifier(weights="binary"))
    assert binary.trainer.design.grid.levels == (-1.0, 1.0) and binary.trainer.design.gain is None
    assert plan_of(EPSNNClassifier(weights=Levels((1, -1), gain=2))).trainer.design.gain == 2.0
    average = plan_of(EPSNNClassifier(inference="average_ep"))
    assert average.trainer.schedule.damping is None
    assert average.settings["inference__damping"] == Setting(
        "found in each sweep", "halved where a sweep would lower the energy"
    )
    assert plan_of(EPSNNClassifier(inference=AverageEP(damping=0.7))).trainer.schedule.damping == 0.7


@pytest.mark.parametrize(("n_samples", "held_out"), [(49, None), (50, 10), (54, 10), (55, 11)])
def test_held_out_rows_of_few(n_samples, held_out):
    found = plan_of(EPSNNRegressor(20), n_samples=n_samples).trainer.held_out
    assert found is None if held_out is None else found.n_rows == held_out


def test_heating_shortens_the_course():
    plan = plan_of(EPSNNRegressor(20), n_features=5)
    hidden = ((1.0,), (0.4, 0.6, 1.0), (0.15, 0.25, 0.4, 0.6, 1.0))
    assert plan.trainer.held_out.paths == tuple(tuple(Stop((t, 1.0), 2) for t in path) for path in hidden)
    assert plan.stages[0].course.n_passes == 1
    given = plan_of(EPSNNRegressor(20, inference=Newton(temperature=1.0)), n_features=5)
    assert given.trainer.held_out.paths == ((Stop(None, 20),),) and given.stages[0].course.n_passes == 20


@pytest.mark.parametrize(
    ("model", "n_samples", "n_rows", "n_folds", "n_stops"),
    [
        (EPSNNClassifier(30), 300, 150, 2, 2),
        (EPSNNClassifier(30), 1500, 300, 1, 2),
        (EPSNNClassifier(30), 4999, 500, 1, 2),
        (EPSNNClassifier(30), 20_000, 500, 1, 1),
        (EPSNNClassifier(30, weights="binary"), 300, 150, 2, 1),
        (EPSNNClassifier(30, prior="laplace"), 300, 150, 2, 1),
        (EPSNNClassifier(30, inference=Stochastic(temperature=0.5)), 300, 150, 2, 1),
        (EPSNNClassifier(30, inference=Stochastic(validation_fraction=0.3)), 300, 90, 1, 2),
    ],
)
def test_what_held_out_rows_of_classifiers_judge(model, n_samples, n_rows, n_folds, n_stops):
    """The last stop is at temperature 1, where the prior's variance is learned; every stop at all widths.

    Few rows are all learned from in the end, from the untrained network.
    """
    held_out = plan_of(model, n_samples=n_samples).trainer.held_out
    (path,) = held_out.paths
    assert (held_out.n_rows, held_out.n_folds, len(path), held_out.anew) == (n_rows, n_folds, n_stops, n_samples < 5000)
    assert path[0].temperatures is None and not path[0].learns
    if n_stops == 2:
        assert (path[1].temperatures, path[1].learns) == ((1.0, 1.0), True)
    assert held_out.widths[0] == (1.0, 1.0) and len(set(held_out.widths)) == 16
    assert held_out.caution == 1.0


def test_nothing_is_held_out_by_sweeps_streams_or_rows_in_their_order():
    for model in (EPSNNClassifier(30, inference="newton"), EPSNNClassifier(30, inference="stochastic", shuffle=False)):
        assert plan_of(model).trainer.held_out is None
    assert plan_of(EPSNNClassifier(30, inference=Stochastic(validation_fraction=0))).trainer.held_out is None
    assert plan_of(EPSNNClassifier(30), n_samples=49).trainer.held_out is None
    assert plan_of(EPSNNClassifier(30), n_samples=50).trainer.held_out.n_rows == 25


# ---------------------------------------------------------------------- settings_


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (EPSNNClassifier(), {"output_activation", "inference", "max_iter", *NAMES}),
        (EPSNNClassifier(output_activation="sigmoid", inference="newton"), {"max_iter", *NAMES}),
        (EPSNNClassifier(weights="ternary", batch_size=20), {"output_activation", "inference", "weights__gain",
         "max_iter", *NAMES} - {"batch_size"}),
        (
            EPSNNClassifier(4),
            {"output_activation", "inference", "inference__learning_rate", "max_iter", *STEP_NAMES},
        ),
        (
            EPSNNClassifier(
                4, inference=Stochastic(n_passes=2, learning_rate=0.1, final_sweeps=1), max_iter=9, batch_size=30
            ),
            {"output_activation", *STEP_NAMES} - {"batch_size", "inference__n_passes", "inference__final_sweeps"},
        ),
        (EPSNNRegressor(), {"noise_variance", "inference", "max_iter", *NAMES}),
        (EPSNNRegressor(4, prior=LaplacePrior(anchor=0.1)), {"noise_variance", "inference", "max_iter", *NAMES}
         - {"prior__anchor", "prior__spectral_exponent"}),
        (
            EPSNNRegressor(
                4,
                prior=GaussianPrior(variance=1.0, anchor=0.0, spectral_exponent=0.0),
                noise_variance=1.0,
                inference=Newton(n_sweeps=1, power=1.0, temperature=1.0, rotate_inputs=True),
                batch_size=10,
                max_iter=2,
            ),
            {"inference__validation_fraction"},
        ),
    ],
    ids=lambda value: " ".join(sorted(value)) if isinstance(value, set) else str(value),  # in any process the same
)  # fmt: skip
def test_settings_have_a_name_a_value_and_a_reason(model, names):
    model.fit(X, target(model))
    assert set(model.settings_) == names and list(model.settings_) == sorted(names)
    for setting in model.settings_.values():
        value, reason = setting
        assert (setting.value, setting.reason) == (value, reason)
        assert reason not in ("", "given")
    # A name means what get_params calls it, once the option is an object.
    deep = clone(model).set_params(
        prior=GaussianPrior() if isinstance(model.prior, str) else model.prior,
        inference=INFERENCES[model.settings_["inference"].value if model.inference == "auto" else model.inference]()
        if isinstance(model.inference, str)
        else model.inference,
        weights=Levels((-1, 1)) if model.weights == "ternary" else model.weights,
    )
    assert names <= set(deep.get_params())


def test_reasons_say_what_decides():
    settings = EPSNNClassifier((4, 4)).fit(X, LABELS).settings_
    assert settings["prior__anchor"] == (0.3, "two hidden layers")
    assert settings["inference__power"] == (0.0, "softmax outputs, whose evidence is a bound at power 0")
    assert "; held-out rows choose" in settings["inference__temperature"].reason
    assert settings["inference"] == ("stochastic", "the fastest with hidden layers")
    assert settings["max_iter"] == ("as many as it takes", "n_passes and final_sweeps say how many")
    settings = EPSNNClassifier((4, 4), inference="newton").fit(X, LABELS).settings_
    assert settings["inference__temperature"].reason == settings["max_iter"].reason == "classifier, hidden layers"
    assert settings["batch_size"].reason.startswith("rows of the largest of as few equal batches as it takes")
    assert EPSNNClassifier(4).fit(X, LABELS).settings_["batch_size"] == (
        100,
        "a tenth of the rows, within bounds; fewer where few passes are to have enough steps",
    )
    settings = EPSNNClassifier(inference="average_ep", output_activation="heaviside")
    settings = plan_of(settings).settings
    assert settings["inference__n_sweeps"].reason.startswith("plain EP, and enough sweeps")
    assert settings["inference__power"] == (1.0, "heaviside outputs, every power of an indicator is itself")
    regressor = EPSNNRegressor(4).fit(X, TARGETS)
    assert regressor.settings_["noise_variance"] == ("learned", "one for each output")
    assert regressor.settings_["inference__validation_fraction"].value == 0.2


def test_settings_cannot_be_changed_from_outside():
    model = EPSNNClassifier().fit(X, LABELS)
    model.settings_.clear()
    assert model.settings_


# ---------------------------------------------------------------------- refused combinations

REFUSED = {
    "activation without hidden layers": (
        EPSNNClassifier(activation="sigmoid"),
        r"^activation='sigmoid'.*there are none",
    ),
    "activations without hidden layers": (
        EPSNNRegressor(activation=["heaviside"]),
        r"^activation=\['heaviside'\].*there are none",
    ),
    "too few activations": (EPSNNRegressor((2, 2), activation=["heaviside"]), "^activation must be .*2 hidden layers"),
    "anchor without hidden layers": (
        EPSNNClassifier(prior=GaussianPrior(anchor=0.1)),
        r"^anchor=0.1.*leave it at 'auto'",
    ),
    "anchor of a prior that is not Gaussian": (EPSNNRegressor(prior=LaplacePrior(anchor=0.1)), r"^anchor=0.1"),
    "power of thresholds": (
        EPSNNClassifier(output_activation="heaviside", inference=Newton(power=0.5)),
        r"^power=0.5 has no effect.*use output_activation='sigmoid'",
    ),
    "held-out rows of a classifier": (
        EPSNNClassifier(4, inference=Newton(validation_fraction=0.1)),
        r"^validation_fraction=0.1 has no effect here",
    ),
    "held-out rows without hidden layers": (
        EPSNNRegressor(inference=Newton(validation_fraction=0)),
        r"^validation_fraction=0 has no effect here",
    ),
    "held-out rows for a known noise": (
        EPSNNRegressor(4, noise_variance=1.0, inference=Newton(validation_fraction=0.1)),
        r"^validation_fraction=0.1 has no effect here",
    ),
    "held-out rows without shuffling": (
        EPSNNRegressor(4, shuffle=False, inference=AverageEP(validation_fraction=0.1)),
        r"^validation_fraction=0.1 has no effect here",
    ),
    "variance of biases that are not there": (
        EPSNNClassifier(weights="binary", fit_intercept=False, prior=GaussianPrior(variance=1.0)),
        "^variance of the prior is that of the biases.*leave it at 'auto'",
    ),
    "prior of weights on levels": (EPSNNClassifier(weights="binary", prior="laplace"), "^prior='laplace'.*Levels"),
    "rotation of levels": (
        EPSNNClassifier(weights="binary", inference=Newton(rotate_inputs=True)),
        "^rotate_inputs=True and a spectral_exponent",
    ),
    "rotation of a sparse prior": (
        EPSNNRegressor(prior=BernoulliGaussianPrior(), inference=Newton(rotate_inputs=True)),
        "^rotate_inputs=True and a spectral_exponent",
    ),
    "spectrum of levels": (
        EPSNNClassifier(weights="binary", prior=GaussianPrior(spectral_exponent=0.5)),
        "spectral_exponent above 0",
    ),
    "spectrum without axes": (
        EPSNNClassifier(prior=GaussianPrior(spectral_exponent=0.5), inference=Newton(rotate_inputs=False)),
        "^A spectral_exponent above 0 needs the principal axes.*rotate_inputs='auto'",
    ),
    "temperatures": (
        EPSNNClassifier(4, inference=Newton(temperature=[1.0])),
        "^temperature has 1 entries, but .* 2 layers",
    ),
    "variances": (EPSNNClassifier(4, prior=GaussianPrior(variance=[1.0])), "^variance of the prior has 1 entries"),
}


@pytest.mark.parametrize(("model", "match"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(model, match, freeze):
    model = clone(model)
    before = freeze(vars(model))
    with pytest.raises(ValueError, match=match):
        model.fit(X, target(model))
    assert freeze(vars(model)) == before
    first = {"classes": [0, 1, 2]} if isinstance(model, EPSNNClassifier) else {}
    with pytest.raises(ValueError, match=match):
        model.partial_fit(X, target(model), **first)
    assert freeze(vars(model)) == before


# ---------------------------------------------------------------------- changes between calls

#: How to learn from more rows, not what was learned: these may change.
FREE = {
    *("batch_size", "max_iter", "tol", "shuffle", "forgetting", "class_weight", "warm_start", "n_shards", "n_jobs"),
    *("random_state", "verbose", "inference__n_sweeps", "inference__damping", "inference__validation_fraction"),
    *("inference__n_passes", "inference__learning_rate", "inference__final_sweeps"),
}
DEEP = [(name, parameter) for name, make in parameters.ESTIMATORS.items() for parameter in make().get_params(deep=True)]


STARTED = {}


def started(name):
    """An estimator after a fit; its own copy for each caller."""
    if name not in STARTED:
        model = parameters.ESTIMATORS[name]().set_params(max_iter=2, warm_start=True)
        STARTED[name] = model.fit(X, target(model))
    return deepcopy(STARTED[name])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(("name", "parameter"), DEEP, ids=[" ".join(pair) for pair in DEEP])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_changes_are_taken_or_refused_by_name(name, parameter, method, freeze, capsys):
    model = started(name)
    value = False if parameter == "warm_start" else parameters.another_value(model, parameter)
    if parameter == "max_iter":
        value = 3
    if parameter == "inference__validation_fraction" and name != "heated regressor":
        value = "auto"  # others hold nothing out, and say so
    model.set_params(**{parameter: value})
    before, n_iter = freeze(vars(model)), model.n_iter_
    call = getattr(model, method)
    if parameter in FREE:
        call(X, target(model))
        assert model.n_iter_ > n_iter or (parameter == "warm_start" and method == "fit")
        return
    # Options of an object that the fit sees as one thing are named after it.
    known = parameter if parameter in model._plan.settings else parameter.split("__")[0]
    refused = rf"cannot take another (.*, )?{known}(,|\.).*Set what was changed back"
    # Or it fits no network of this kind.
    unfit = rf"^([Aa] )?{parameter.split('__')[-1]}=.*(none|no effect|for continuous)|which only continuous weights"
    if "levels" not in name and parameter == "weights":
        unfit = "^prior=.*is for continuous weights"
    with pytest.raises(ValueError, match=f"{refused}|{unfit}"):
        call(X, target(model))
    assert freeze(vars(model)) == before


@EVERY
def test_after_a_refusal_it_goes_on_as_if_nothing_had_happened(name, freeze):
    model, other = started(name), started(name)
    with pytest.raises(ValueError, match="cannot take another"):
        model.set_params(fit_intercept=False).fit(X, target(model))
    model.set_params(fit_intercept=True)
    for each in (model, other):
        each.fit(X, target(each)).partial_fit(X, target(each))
    assert freeze(vars(model)) == freeze(vars(other))


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "change",
    [
        {"output_activation": "softmax"},
        {"inference": "stochastic"},
        {"inference": Stochastic(rotate_inputs=True)},
        {"prior": GaussianPrior(anchor=0.5, spectral_exponent=1)},
        {"hidden_layer_sizes": np.array([4])},
        {"activation": ("heaviside",)},
    ],
    ids=str,
)
def test_the_same_in_other_words_is_no_change(change, method, freeze):
    options = {"warm_start": True, "max_iter": 3, "random_state": 0}
    first, second = (EPSNNClassifier(4, **options).fit(X, LABELS) for _ in range(2))
    getattr(first, method)(X, LABELS)
    getattr(second.set_params(**change), method)(X, LABELS)
    assert freeze(first._progress) == freeze(second._progress)


NEWTON = Newton(n_sweeps=10, temperature=[0.3, 0.3], rotate_inputs=True)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("inference", ["newton", NEWTON], ids=str)
def test_the_same_newton_in_other_words_is_no_change(inference, method, freeze):
    options = {"warm_start": True, "random_state": 0, "inference": Newton()}
    first, second = (EPSNNClassifier(4, **options).fit(X, LABELS) for _ in range(2))
    getattr(first, method)(X, LABELS)
    getattr(second.set_params(inference=inference), method)(X, LABELS)
    assert freeze(first._progress) == freeze(second._progress)


def test_automatic_answers_of_the_first_fit_stay():
    """Whatever the rows of a later call would have them be: they belong to the network, and `settings_` says so."""
    model = EPSNNClassifier(4, output_activation="sigmoid", warm_start=True, random_state=0).fit(X, LABELS)
    first = model.settings_
    model.partial_fit(X[:20], LABELS[:20])
    many = np.tile(X, (60, 1)), np.tile(LABELS, 60)
    for call in (model.partial_fit, model.fit):
        call(*many)
        changed = {name for name, setting in model.settings_.items() if setting != first.get(name, setting)}
        assert changed <= {"batch_size", "max_iter", "inference__n_passes", "inference__validation_fraction"}
    assert model.settings_["inference__temperature"].value == (0.22, 0.22)
    assert (
        EPSNNClassifier(4, output_activation="sigmoid").fit(*many).settings_["inference__temperature"].value[0] > 0.25
    )


def test_a_stream_may_go_on_by_steps_on_mini_batches():
    """And a fit by a stream: what was automatic is no obstacle; what is named is."""
    model = EPSNNClassifier(4, warm_start=True, random_state=0).partial_fit(X, LABELS, classes=[0, 1, 2])
    assert model.settings_["inference"].value == "newton"
    model.fit(X, LABELS)
    model.set_params(inference="stochastic")
    with pytest.raises(ValueError, match="cannot take another inference"):
        model.fit(X, LABELS)


def test_without_warm_start_everything_may_change(freeze):
    model = EPSNNClassifier(random_state=0).fit(X, LABELS)
    model.set_params(hidden_layer_sizes=4, weights="binary").fit(X, LABELS)
    fresh = EPSNNClassifier(4, weights="binary", random_state=0).fit(X, LABELS)
    assert freeze(vars(model)) == freeze(vars(fresh))


def test_several_changes_are_all_named():
    model = EPSNNClassifier(4, random_state=0).fit(X, LABELS)
    model.set_params(fit_intercept=False, activation="sigmoid", weights="binary")
    with pytest.raises(ValueError, match=r"another activation, fit_intercept, .*weights.*sklearn.base.clone"):
        model.partial_fit(X, LABELS)
