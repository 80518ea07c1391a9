"""Average EP over one batch: its fixed point is that of the Newton steps, and it refuses to diverge."""

from dataclasses import replace

import numpy as np
import pytest
from states import (
    Steps,
    linear_batch,
    one_layer,
    output_of,
    priors_of,
    random_state,
    two_layers,
    uncentred_rows,
    with_levels,
)

from sk_epsnn import AverageEP, EPSNNClassifier, EPSNNRegressor
from sk_epsnn.connections import Dense
from sk_epsnn.ep import average
from sk_epsnn.ep.average import _messages_per_spike, _uphill, average_ep
from sk_epsnn.ep.energy import energy
from sk_epsnn.ep.newton import newton
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.messages import observed
from sk_epsnn.network import Batch
from sk_epsnn.outputs import SigmoidOutput, SoftmaxOutput

KIND = pytest.mark.parametrize("kind", ["gaussian", "sigmoid"])


@KIND
def test_schedules_share_their_fixed_point(kind):
    state, batch = one_layer(5, 2, output_of(kind, 2)), linear_batch(200, 5, 2, kind)
    cavities = priors_of(state)
    slow = average_ep(state, batch, cavities, damping=0.3, n_sweeps=2000, tol=1e-12, leave_one_out=False)
    fast = newton(state, batch, cavities, step=1.0, n_sweeps=60, tol=0.0)
    assert slow.accepted
    np.testing.assert_allclose(fast.posteriors[0].mean, slow.posteriors[0].mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(fast.posteriors[0].precision, slow.posteriors[0].precision, rtol=1e-5)


@KIND
def test_leaving_one_out_matters_less_with_more_samples(kind):
    gaps = []
    for n in (100, 1600):
        state, batch = one_layer(5, 2, output_of(kind, 2)), linear_batch(n, 5, 2, kind)
        options = dict(damping=0.3, n_sweeps=2000, tol=1e-12)
        exact = average_ep(state, batch, priors_of(state), leave_one_out=True, **options).posteriors[0]
        limit = average_ep(state, batch, priors_of(state), leave_one_out=False, **options).posteriors[0]
        gaps.append(np.abs(exact.mean - limit.mean).max())
    assert 0 < gaps[1] < gaps[0] / 4


def test_average_ep_refuses_to_diverge():
    x, target = uncentred_rows(2)
    state = one_layer(41, 2, SigmoidOutput())
    batch = Batch(observed(x), target, np.ones(300))
    result = average_ep(state, batch, priors_of(state), damping=0.7, n_sweeps=200, tol=1e-6)
    assert not result.accepted
    assert result.counts.rejected_batches == 1
    assert result.posteriors[0] is state.layers[0].posterior
    # The same problem is no trouble for a smaller step.
    calm = average_ep(state, batch, priors_of(state), damping=0.02, n_sweeps=500, tol=1e-6)
    assert calm.accepted


# ---------------------------------------------------------------------- automatic damping


@pytest.mark.parametrize("kind", ["gaussian", "sigmoid", "softmax"])
def test_automatic_damping_finds_the_fixed_point_of_newton(kind):
    """Of a softmax too, whose bound leaves no share of its own out of any cavity."""
    n_out = 3 if kind == "softmax" else 2
    output = SoftmaxOutput() if kind == "softmax" else output_of(kind, n_out)
    state, batch = one_layer(5, n_out, output), linear_batch(200, 5, n_out, kind)
    if kind == "softmax":
        state = replace(state, power=0.0)
        winner = batch.target.argmax(1)[:, None] == np.arange(n_out)
        batch = replace(batch, target=np.where(winner, 1.0, -1.0))
    slow = average_ep(
        state, batch, priors_of(state), damping=None, n_sweeps=300, tol=1e-9, leave_one_out=kind == "softmax"
    )
    fast = newton(state, batch, priors_of(state), step=1.0, n_sweeps=200, tol=0.0)
    # The mass of the local posteriors differs by one row in 200.
    rtol, atol = (0.05, 0.01) if kind == "softmax" else (1e-3, 1e-3)
    assert slow.accepted
    np.testing.assert_allclose(fast.posteriors[0].mean, slow.posteriors[0].mean, rtol=rtol, atol=atol)
    np.testing.assert_allclose(fast.posteriors[0].precision, slow.posteriors[0].precision, rtol=rtol)


@pytest.mark.parametrize("mass", [0.0, 300.0])
def test_automatic_damping_does_not_diverge(mass):
    """Where 0.7 does: it is found from above in a first batch, and remembered from batch to batch."""
    x, target = uncentred_rows(2)
    state = replace(one_layer(41, 2, SigmoidOutput()), mass=mass, step=1.0 if mass == 0 else 0.02)
    batch = Batch(observed(x), target, np.ones(300))
    result = average_ep(state, batch, priors_of(state), damping=None, n_sweeps=300, tol=1e-6)
    assert result.accepted and result.counts.rejected_batches == 0
    assert 0.005 < result.step < 0.3
    calm = average_ep(state, batch, priors_of(state), damping=0.02, n_sweeps=500, tol=1e-6)
    assert result.energy > calm.energy - 0.01 * 300


def test_automatic_damping_keeps_the_paper_s_where_it_converges():
    state, batch = one_layer(5, 2, SigmoidOutput()), linear_batch(200, 5, 2, "sigmoid")
    result = average_ep(state, batch, priors_of(state), damping=None, n_sweeps=5, tol=0.0)
    fixed = average_ep(state, batch, priors_of(state), damping=0.7, n_sweeps=5, tol=0.0)
    assert result.step == 0.7
    np.testing.assert_allclose(result.posteriors[0].mean, fixed.posteriors[0].mean, rtol=1e-12)


def test_automatic_damping_is_remembered_and_raised_again():
    state, batch = one_layer(5, 2, SigmoidOutput()), linear_batch(200, 5, 2, "sigmoid")
    state = replace(state, step=0.01)
    steps = [
        average_ep(state, batch, priors_of(state), damping=None, n_sweeps=n_sweeps, tol=0.0).step
        for n_sweeps in (1, 2, 20)
    ]
    assert steps == [0.02, 0.03, 0.7]


@pytest.mark.parametrize("levels", [False, True])
def test_a_first_batch_begins_with_the_last_layer(levels, monkeypatch):
    """As long as the weights above know nothing, their messages would silence the spikes."""
    batch = linear_batch(150, 6, 2, "sigmoid")
    state = random_state([6, 12, 2])
    state = with_levels(state, constant=True) if levels else state

    def moves(mass, share):
        monkeypatch.setattr(average, "LAST_LAYER_SHARE", share)
        result = average_ep(replace(state, mass=mass), batch, priors_of(state), damping=None, n_sweeps=6, tol=1e-12)
        return [np.abs(q.mean - p.mean).max() for q, p in zip(result.posteriors, priors_of(state), strict=True)]

    first, last = moves(0.0, 1.0)
    assert first == 0 and last > 0.1
    first, _ = moves(0.0, 0.5)
    assert 0 < first < moves(0.0, 0.0)[0]
    assert moves(10.0, 1.0) == moves(10.0, 0.0)


def test_messages_of_no_precision_keep_their_pull():
    """At the mean that they were sent from, natural parameters of any site have the same gradient."""
    rng = np.random.default_rng(0)
    precision, shift, mean = rng.standard_normal((3, 40))
    counts = UpdateCounts()
    bounded, moved = _uphill((precision, shift), mean, counts)
    np.testing.assert_allclose(moved - bounded * mean, shift - precision * mean, rtol=1e-12)
    np.testing.assert_array_equal(bounded, np.maximum(precision, 0))
    assert counts.bounded_precisions == (precision < 0).sum()


def test_rows_never_make_a_posterior_wider():
    """Not even where messages to hidden layers are bimodal: shares of batches and shards add up to a density."""
    state, batch = random_state([6, 12, 2]), linear_batch(150, 6, 2, "sigmoid")
    result = average_ep(replace(state, mass=10.0), batch, priors_of(state), damping=None, n_sweeps=30, tol=1e-6)
    assert result.accepted and result.counts.bounded_precisions > 0
    for posterior, prior in zip(result.posteriors, priors_of(state), strict=True):
        assert np.all(posterior.precision >= prior.precision * (1 - 1e-12))


def test_where_no_damping_helps_the_batch_is_refused(monkeypatch):
    monkeypatch.setattr(average, "LEAST_DAMPING", 2.0)
    state, batch = one_layer(5, 2, SigmoidOutput()), linear_batch(20, 5, 2, "sigmoid")
    result = average_ep(state, batch, priors_of(state), damping=None, n_sweeps=3, tol=0.0)
    assert not result.accepted and result.counts.rejected_batches == 1
    assert result.posteriors[0] is state.layers[0].posterior


# ---------------------------------------------------------------------- results


@pytest.mark.parametrize("hidden", [False, True])
def test_energy_of_the_result_is_that_of_its_posteriors(hidden):
    batch = linear_batch(150, 6, 2, "sigmoid")
    state = one_layer(6, 2, SigmoidOutput())
    if hidden:
        # Average EP has no joint weights.
        last = one_layer(13, 2, SigmoidOutput(), variance=0.5).layers[0]
        state = two_layers(6, 12, 2, SigmoidOutput(), seed=1)
        state = state.with_layers([state.layers[0], last])
    cavities = priors_of(state)
    result = average_ep(state, batch, cavities, damping=0.1, n_sweeps=200, tol=1e-6)
    assert result.accepted and result.step == 0.1
    assert result.energy == energy(state, batch, result.posteriors, cavities)
    assert result.energy > energy(state, batch, state.posteriors, cavities) + 1
    assert all(layer.posterior is layer.prior for layer in state.layers)


def test_sweeps_end_when_no_mean_moves():
    state, batch = one_layer(5, 2, SigmoidOutput()), linear_batch(200, 5, 2, "sigmoid")
    one, other, short = (
        average_ep(state, batch, priors_of(state), damping=0.3, n_sweeps=n, tol=1e-3).posteriors[0]
        for n in (300, 400, 2)
    )
    np.testing.assert_array_equal(one.mean, other.mean)
    settled = average_ep(state, batch, priors_of(state), damping=0.3, n_sweeps=2000, tol=1e-12).posteriors[0]
    left, much = (np.abs((q.mean - settled.mean) * np.sqrt(settled.precision)).max() for q in (one, short))
    # What is left is a few times the last move, and two sweeps are too few.
    assert 1e-6 < left < 0.02 < much


@pytest.mark.parametrize("readout", [Dense(4), Steps(4, 5)], ids=["dense", "steps"])
def test_spikes_are_counted_by_those_who_read_them(readout):
    """Entry by entry: which neurons of which row a hidden spike goes to."""
    state = random_state([3, 10, 4])
    state = replace(state, network=replace(state.network, readout=readout))
    read = readout.gather(np.arange(10.0)[None])
    counts = [readout.n_units * (read == spike).sum() for spike in range(10)]
    assert _messages_per_spike(state) == [np.mean(counts)]


# ---------------------------------------------------------------------- estimators


def far_from_zero(n_classes, n=300, seed=0):
    """Rows in units of their own, labels of classes that overlap."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5))
    y = np.argmax(X[:, :n_classes] + 0.3 * rng.standard_normal((n, n_classes)), axis=1)
    return (X[:150] + 10) * 1e3, y[:150], (X[150:] + 10) * 1e3, y[150:]


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "heaviside"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_single_layers_are_as_good_as_by_newton(output, n_classes):
    X, y, X_test, y_test = far_from_zero(n_classes)
    slow, fast = (
        EPSNNClassifier(output_activation=output, inference=inference, random_state=0).fit(X, y)
        for inference in ("average_ep", "newton")
    )
    assert slow.score(X_test, y_test) > fast.score(X_test, y_test) - 0.03
    assert slow.update_counts_["rejected_batches"] == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"output_activation": "heaviside"},
        {"weights": "ternary"},
        {"prior": "laplace"},
        {"batch_size": 50},
        {"n_shards": 2},
        {"activation": "sigmoid"},
    ],
    ids=str,
)
def test_hidden_layers_learn(options):
    X, y, X_test, y_test = far_from_zero(3)
    model = EPSNNClassifier(15, inference="average_ep", max_iter=2, random_state=0, **options).fit(X, y)
    assert model.score(X_test, y_test) > 0.7
    assert model.update_counts_["rejected_batches"] == 0


@pytest.mark.parametrize("hidden", [(), (15,)], ids=["one layer", "hidden layer"])
def test_regressors(hidden):
    rng = np.random.default_rng(0)
    X = 10 + rng.standard_normal((300, 4))
    y = 500 + 20 * X[:, 0] - 30 * X[:, 1] + 10 * rng.standard_normal(300)
    model = EPSNNRegressor(hidden, inference="average_ep", max_iter=3, random_state=0).fit(X[:150], y[:150])
    mean, std = model.predict(X[150:], return_std=True)
    assert model.score(X[150:], y[150:]) > 0.8
    assert 0.7 < std.mean() / np.sqrt(np.mean((mean - y[150:]) ** 2)) < 1.5
    assert model.update_counts_["rejected_batches"] == 0


def test_a_stream():
    X, y, X_test, y_test = far_from_zero(3)
    model = EPSNNClassifier(inference="average_ep", random_state=0)
    for start in range(0, 150, 30):
        model.partial_fit(X[start : start + 30], y[start : start + 30], classes=range(3))
    assert model.score(X_test, y_test) > 0.8 and model.update_counts_["rejected_batches"] == 0


def test_a_number_is_taken_as_it_is():
    X, y, _, _ = far_from_zero(3)
    model = EPSNNClassifier(inference=AverageEP(damping=0.05), max_iter=1, random_state=0).fit(X, y)
    assert set(model.history_["step"]) == {0.05} and "inference__damping" not in model.settings_
