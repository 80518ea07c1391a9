"""The trainer of GEM-SNNs: batches, weights of rows, sequences that end early, steps and their lengths."""

from dataclasses import replace

import numpy as np
import pytest

from sk_epsnn import GEM, IW, MB, SGD, ExponentialFilter
from sk_epsnn.course import Course, Rows
from sk_epsnn.gem.inputs import InputCode, common, fresh
from sk_epsnn.gem.network import SpikingNetwork
from sk_epsnn.gem.passes import run
from sk_epsnn.gem.trainer import MultiSampleTrainer

NETWORK = SpikingNetwork((3, 4, 2), ExponentialFilter(decay=0.3))
N_STEPS = 5


def trainer(rule=None, sequences=False, **options):
    code = InputCode(3, None if sequences else N_STEPS, True)
    return MultiSampleTrainer(rule or GEM(), SGD(), 1.0, code, 0.05, 0.0, Course(4, False, 2, 0.0, True), **{**options})


def rows(n=8, seed=0, sequences=False):
    rng = np.random.RandomState(seed)
    X = (rng.random_sample((n, 3 * (N_STEPS if sequences else 1))) < 0.5).astype(np.float32)
    return Rows(X, np.eye(2)[rng.randint(2, size=n)], np.ones(n))


def learned(trainer, batch, total_mass=8.0, seed=1, state=None):
    state = state or trainer.start(NETWORK, rows(), np.random.RandomState(0))
    return trainer.absorb(state, batch, total_mass, np.random.RandomState(seed))


def change(state, trainer, before=None):
    before = before or trainer.start(NETWORK, rows(), np.random.RandomState(0))
    return {name: state.weights[name] - before.weights[name] for name in state.weights}


@pytest.mark.parametrize("rule", [GEM(), GEM(center=False), MB(), MB(n_compartments=3), IW()], ids=str)
@pytest.mark.parametrize("at_every_step", [False, True])
def test_learning_raises_the_bound(rule, at_every_step):
    mine = trainer(rule, at_every_step=at_every_step)
    X = np.repeat(np.eye(3, dtype=np.float32)[:2], 4, axis=0)
    batch = Rows(X, np.repeat(np.eye(2), 4, axis=0), np.ones(8))
    state, rng, bounds = mine.start(NETWORK, batch, np.random.RandomState(0)), np.random.RandomState(1), []
    for _ in range(60):
        state, report = mine.absorb(state, batch, np.inf, rng)
        bounds.append(report.objective)
    assert np.mean(bounds[-10:]) > 0.6 * np.mean(bounds[:3])  # both are negative
    assert all(array.dtype == np.float32 for array in state.weights.values())


def test_states_are_replaced():
    mine = trainer()
    state = mine.start(NETWORK, rows(), np.random.RandomState(0))
    before = {name: array.copy() for name, array in state.weights.items()}
    after, _ = learned(mine, rows(), state=state)
    assert after is not state
    for name, array in state.weights.items():
        np.testing.assert_array_equal(array, before[name])


def test_weight_counts_a_row_and_only_ratios_matter(monkeypatch):
    monkeypatch.setattr("sk_epsnn.gem.trainer.fresh", lambda rng: common(0))  # alike for all rows
    mine, batch = trainer(), rows(4)
    twice = batch.take([0, 1, 1, 2, 3])
    heavy = batch._replace(sample_weight=np.array([1.0, 2.0, 1.0, 1.0]))
    parts = []
    for given, mass in ((twice, 8.0), (heavy, 8.0), (heavy._replace(sample_weight=3 * heavy.sample_weight), 24.0)):
        state, _ = learned(mine, given, mass)
        parts.append({name: part * given.n_samples for name, part in change(state, mine).items()})
    for name in parts[0]:
        np.testing.assert_allclose(parts[0][name], parts[1][name], atol=1e-5, err_msg=name)
        np.testing.assert_allclose(parts[1][name], parts[2][name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("at_every_step", [False, True])
def test_nothing_is_learned_after_the_end_of_a_sequence(at_every_step, monkeypatch):
    monkeypatch.setattr("sk_epsnn.gem.trainer.fresh", lambda rng: common(0))
    mine = trainer(sequences=True, at_every_step=at_every_step)
    batch = rows(6, sequences=True)
    long = batch.X.copy()
    long[:, 3 * 3 :] = np.nan
    ended, report = learned(mine, batch._replace(X=long))
    short, expected = learned(mine, batch._replace(X=batch.X[:, : 3 * 3]))
    assert report.objective == pytest.approx(expected.objective, rel=1e-6)
    for name, part in change(ended, mine).items():
        np.testing.assert_allclose(part, change(short, mine)[name], atol=1e-6, err_msg=name)


def test_steps_fall_to_nothing_in_a_fit_and_stay_in_a_stream():
    mine, batch = trainer(), rows(4)
    state, lengths = mine.start(NETWORK, rows(), np.random.RandomState(0)), []
    for _ in range(4):  # two passes of two batches
        state, report = learned(mine, batch, state=state)
        lengths += report.steps
    assert np.all(np.diff(lengths) < 0)
    assert 0 < lengths[-1] < 0.15
    assert lengths[0] > 0.85
    _, report = learned(mine, batch, np.inf, state=state)
    assert report.steps == [1.0]
    _, report = learned(mine, batch, state=mine.resume(state, 8))
    assert report.steps == [lengths[0]]


def test_alpha_is_shared_by_the_rows():
    batch = rows(4)
    plain, _ = learned(trainer(), batch)
    pulled, report = learned(replace(trainer(), alpha=0.8), batch)
    before = trainer().start(NETWORK, rows(), np.random.RandomState(0)).weights
    for name in ("weights0", "weights1"):
        expected = -report.steps[0] * 0.8 / 8 * before[name]
        np.testing.assert_allclose(pulled.weights[name] - plain.weights[name], expected, atol=1e-6)
    np.testing.assert_array_equal(pulled.weights["bias0"], plain.weights["bias0"])


@pytest.mark.parametrize("at_every_step", [False, True])
def test_sparsity_draws_hidden_neurons_to_a_rate(at_every_step):
    rates = []
    for target in (0.1, 0.9):
        mine = trainer(GEM(sparsity=1.0, firing_rate=target), at_every_step=at_every_step)
        state, rng = mine.start(NETWORK, rows(), np.random.RandomState(0)), np.random.RandomState(1)
        for _ in range(40):
            state, _ = mine.absorb(state, rows(), np.inf, rng)
        X = mine.code.inputs(rows().X, fresh(rng), np.float32)
        rates.append(run(NETWORK, state.weights, X.values, N_STEPS, 1, fresh(rng)).hidden[0].probability.mean())
    assert abs(rates[0] - 0.1) < 0.1
    assert abs(rates[1] - 0.9) < 0.1


def test_what_is_sent_is_counted_by_the_rule():
    assert GEM(n_compartments=5).communication(120, 10) == {"from_outputs": 50, "to_neurons": 650}
    assert MB(n_compartments=5).communication(120, 10) == {"from_outputs": 50, "to_neurons": 600}
    assert IW(n_compartments=5).communication(120, 10) == {"from_outputs": 50, "to_neurons": 770}


def test_predictions_of_a_row_do_not_depend_on_others():
    mine, batch = replace(trainer(), draws_outputs=True), rows()
    state, _ = learned(mine, batch)
    rates = np.random.RandomState(0).random_sample((8, 3))
    predict = mine.predictor(state, np.float64)
    together, alone = predict(rates), predict(rates[5:6])
    np.testing.assert_allclose(together.evidence[:, 5:6], alone.evidence, atol=1e-12)
    np.testing.assert_array_equal(together.spikes[:, 5:6], alone.spikes)
