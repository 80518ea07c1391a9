"""The trainer of SBNNs: set-up, steps, streams, known weights, trials; each verb gives a new state."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from sbnn_oracles import dense, over_steps, real

from sk_epsnn._arrays import converted
from sk_epsnn.connections import Dense, Filter, Readout
from sk_epsnn.course import Course, Rows
from sk_epsnn.network import Layer, Network
from sk_epsnn.neurons import LIF
from sk_epsnn.outputs import SoftmaxOutput
from sk_epsnn.sbnn.arrays import NamedArrays
from sk_epsnn.sbnn.options import Rao, Surrogate
from sk_epsnn.sbnn.setup import Design
from sk_epsnn.sbnn.streams import Stream, reads_stream
from sk_epsnn.sbnn.trainer import VariationalTrainer, noise_of
from sk_epsnn.sbnn.trials import _prediction
from sk_epsnn.training import absorb_in_turn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 4))
LABELS = np.digitize(X[:, 0] + X[:, 1], [-0.7, 0.7])
ROWS = Rows(X, np.where(LABELS[:, None] == np.arange(3), 1.0, -1.0), np.ones(120))
COURSE = Course(40, True, 20, 0.0, True)


def trainer(gradient=None, *, temperature=0.1, ramp=0.0, course=COURSE, n_draws=0, **design):
    design = {
        "ratio": 10.0,
        "variance": None,
        "anchor": 0.0,
        "exponents": (0.0,),
        "rotate": True,
        "levels": False,
        "is_noisy": True,
        "learns_noise": False,
        **design,
    }
    return VariationalTrainer(gradient or Rao(), Design(**design), 0.1, temperature, ramp, course, n_draws)


def passed(made, network, rows=ROWS, n_passes=20, seed=0):
    rng = np.random.RandomState(seed)
    state = made.start(network, rows, rng)
    entered, reports = made.enter(state, rows), []
    for _ in range(n_passes):
        batches = made.course.shuffled_batches(rows.n_samples, rng)
        state, report = absorb_in_turn(made, state, entered, batches, rows.mass, rng)
        reports.append(report)
    return state, reports


def test_the_bound_rises():
    state, reports = passed(trainer(), dense((4, 8, 3)))
    assert reports[-1].objective > reports[0].objective + 20
    assert state.n_updates == state.n_planned == 60
    assert reports[0].steps[0] == pytest.approx(0.1)
    assert reports[-1].steps[-1] < 1e-3
    np.testing.assert_allclose(np.array(state.noted["spike_rates"]), 0.5, atol=0.3)


def test_states_are_replaced_never_changed():
    made, rng = trainer(), np.random.RandomState(0)
    state = made.start(dense((4, 8, 3)), ROWS, rng)
    before = copy.deepcopy(state)
    after, _ = made.absorb(state, ROWS, ROWS.mass, rng)
    for name, array in before.parameters.items():
        np.testing.assert_array_equal(array, state.parameters[name])
        assert not np.array_equal(array, after.parameters[name])


def test_start():
    """Balanced potentials of variance one, of which weights have their share, and a prior that fits."""
    made = trainer()
    state = made.start(dense((4, 400, 3)), ROWS, np.random.RandomState(0))
    z = state.coordinates.enter(state.network.enter(X).mean)
    (mean, variance), (last, _) = state.trained()
    assert np.square(z @ mean.T).mean() == pytest.approx(1.0, rel=0.1)
    assert np.square(mean[:, :-1]).mean() / variance.mean() == pytest.approx(10.0, rel=1e-4)
    assert state.priors[0].variance == pytest.approx(np.mean(mean**2 + variance), rel=1e-5)
    share = np.array([(LABELS == k).mean() for k in range(3)])
    shown = last[:, -1] + 0.5 * last[:, :-1].sum(axis=1)
    np.testing.assert_allclose(shown - shown.mean(), np.log(share) - np.log(share).mean(), atol=0.05)


def test_deep_stacks_without_a_stream_start_as_copies():
    state = trainer(copies=True).start(dense((4, 6, 6, 6, 3)), ROWS, np.random.RandomState(0))
    spikes = (np.random.default_rng(1).random((50, 6)) < 0.5).astype(float)
    for layer in (1, 2):
        mean, _ = state.trained()[layer]
        np.testing.assert_array_equal(np.column_stack([spikes, np.ones(50)]) @ mean.T >= 0, spikes)
        np.testing.assert_array_equal(state.priors[layer].center, mean)


def test_without_a_temperature_the_prior_is_forgotten():
    warm, cold = (passed(trainer(temperature=t), dense((4, 8, 3)))[0] for t in (3.0, 0.0))
    assert warm.divergence() < cold.divergence()
    ramped, _ = passed(trainer(temperature=3.0, ramp=1.0), dense((4, 8, 3)), n_passes=1)
    at_once, _ = passed(trainer(temperature=3.0), dense((4, 8, 3)), n_passes=1)
    assert not np.array_equal(ramped.parameters["mean0"], at_once.parameters["mean0"])


def test_noise_of_real_targets_is_learned():
    rng = np.random.default_rng(1)
    y = X @ [[1.0], [0.5], [0.0], [-1.0]] + 0.3 * rng.standard_normal((120, 1))
    made = trainer(learns_noise=True, course=Course(40, True, 150, 0.0, True))
    state, _ = passed(made, dense((4, 1), output=real(1)), Rows(X, y, np.ones(120)), 150)
    state = made.finish(state, 120.0)
    assert np.sqrt(state.network.output.noise_variance[0]) == pytest.approx(0.3, rel=0.2)


def test_the_posterior_becomes_the_prior():
    made = trainer()
    state, _ = passed(made, dense((4, 8, 3)))
    renewed = made.renewed(state)
    assert state.divergence() > 1
    assert renewed.divergence() == pytest.approx(0.0, abs=1e-3)
    assert made.planned(renewed, ROWS.take(slice(0, 10)), 5).mass == 10


@pytest.mark.parametrize("levels", [False, True])
def test_known_weights(levels):
    made = trainer(levels=levels, rotate=not levels)
    state, _ = passed(made, dense((4, 8, 3)), n_passes=3)
    mean = made.known(state, "mean")
    assert mean.is_known and not mean.moments("float64")[0].variance.any()
    np.testing.assert_allclose(mean.moments("float64")[1].mean, state.moments("float64")[1].mean, rtol=1e-5, atol=1e-7)
    rng = np.random.RandomState(0)
    draws = np.array([made.known(state, "sample", rng).trained()[0].mean for _ in range(2000)])
    expected = state.trained()[0]
    np.testing.assert_allclose(draws.mean(axis=0), expected.mean, atol=5 * np.sqrt(expected.variance.max() / 2000))
    np.testing.assert_allclose(draws.var(axis=0), expected.variance, rtol=0.25, atol=1e-4)
    if levels:
        assert len(np.unique(np.abs(made.known(state, "mode").trained()[0].mean[:, :-1]))) == 1


def test_weights_that_are_not_finite_are_refused():
    made = trainer()
    state, _ = passed(made, dense((4, 8, 3)), n_passes=1)
    broken = {name: array * np.inf if name == "mean0" else array for name, array in state.parameters.items()}
    broken = replace(state, parameters=NamedArrays.of(broken))
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="smaller learning_rate"):
        made.check(broken)


def test_points_train_without_noise():
    state, reports = passed(trainer(Surrogate(), temperature=0.0, is_noisy=False), dense((4, 8, 3)))
    assert reports[-1].objective > reports[0].objective
    assert all(moments.variance is None for moments in state.trained())
    assert state.divergence() == 0


def test_short_trials_say_the_exponent_and_the_leak():
    """That under which rows are predicted best; few rows say nothing, and the first is taken."""
    made, network = trainer(exponents=(1.0, 0.0)), dense((4, 8, 3))
    state = made.start(network, ROWS, np.random.RandomState(0))
    order = np.random.RandomState(0).permutation(120)
    judges, others = ROWS.take(order[:30]), ROWS.take(order[30:])
    said = {
        e: _prediction(trainer(exponents=(e,)), network, others, judges, np.random.RandomState(0)) for e in (0.0, 1.0)
    }
    assert state.choices == (("prior__spectral_exponent", max(said, key=said.get)),)
    few = ROWS.take(slice(0, 50))
    assert made.start(network, few, np.random.RandomState(0)).choices == (("prior__spectral_exponent", 1.0),)
    rng = np.random.default_rng(0)
    # What came five steps ago is known of traces with a memory alone.
    sequences = rng.standard_normal((400, 8, 2))
    label = sequences[:, :4, 0].sum(axis=1) > 0
    rows = Rows(sequences.reshape(400, 16), np.where(np.stack([~label, label], axis=1), 1.0, -1.0), np.ones(400))
    layers = (Layer(Filter(8, 2, "auto"), LIF()),)
    network = Network(layers, Readout(2, 8, "last", "auto"), SoftmaxOutput(), True, 16)
    state = trainer(rotate=False, n_draws=5).start(network, rows, np.random.RandomState(0))
    assert state.network.connections[0].leak > 0.5


def test_noise_is_that_of_its_seed_and_dtype():
    arrays = np.zeros((3, 2)), np.zeros((3, 2), np.float32)
    double, single = (noise_of(np.random.RandomState(3))(array) for array in arrays)
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(double, single)


def test_named_arrays_move_together():
    arrays = NamedArrays.of({"a": np.ones(2), "b": np.zeros(3)})
    assert list(arrays) == ["a", "b"] and len(arrays) == 2
    doubled = converted(arrays, lambda array: array + 1)
    assert isinstance(doubled, NamedArrays)
    np.testing.assert_array_equal(doubled["b"], 1)
    with pytest.raises(KeyError, match="c"):
        arrays["c"]


def test_streams():
    assert reads_stream(Stream(3)) and not reads_stream(Dense(3)) and not Stream(3).is_identity
    values = np.ones((2, 3))
    assert Stream(3).gather(values) is values and Stream(3).scatter(values, 3) is values


def test_sequences_train():
    rows = Rows(X.repeat(2, axis=1), ROWS.target, ROWS.sample_weight)
    state, reports = passed(trainer(), over_steps((4, 6, 3), 2), rows)
    assert reports[-1].objective > reports[0].objective
    assert state.network.n_rows == (2, 1)
