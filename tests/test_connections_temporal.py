"""Filters and readouts: what they are beside sums written out, and how traces follow weights."""

import numpy as np
import pytest
from toys import Leak

from sk_epsnn.connections import Feedback, Filter, Readout


def test_a_filter_is_its_matrix():
    values = np.random.default_rng(0).normal(size=(7, 30))
    mine, theirs = Filter(4, n_features=5, leak=0.6), Leak(4, n_steps=6, leak=0.6)
    for name in ("gather", "gather_variance"):
        np.testing.assert_allclose(getattr(mine, name)(values), getattr(theirs, name)(values), rtol=1e-13, atol=1e-15)


def test_a_filter_has_unit_gain():
    trace = Filter(1, n_features=1, leak=0.8).gather(np.ones((1, 200)))
    np.testing.assert_allclose(trace[-1], 1.0)
    assert trace[0] == pytest.approx(0.2)


def test_centred_traces_are_those_of_neurons_that_have_always_fired_so():
    """A long time at the rates first, and the rates taken off, is the same; a leak of 0 reads spikes as they are."""
    rng = np.random.default_rng(3)
    rates, spikes = rng.random(3), rng.random((4, 6, 3))
    before = np.broadcast_to(rates, (4, 200, 3))
    long = np.concatenate([before, spikes], axis=1).reshape(4, -1)
    expected = Filter(2, 3, 0.8).gather(long).reshape(4, 206, 3)[:, 200:] - rates
    found = Filter(2, 3, 0.8, centers=True).centered_at(rates).spikes(spikes.reshape(4, -1), constant=True)
    np.testing.assert_allclose(found.mean.reshape(4, 6, 4)[:, :, :3], expected, atol=1e-12)
    np.testing.assert_array_equal(found.mean[:, 3], 1)
    plain = Filter(2, 3, 0.8).spikes(spikes.reshape(4, -1), constant=True)
    np.testing.assert_array_equal(found.variance, plain.variance)
    single = Filter(2, 3, 0.0, centers=True).spikes(spikes.reshape(4, -1), constant=False)
    np.testing.assert_array_equal(single.mean, spikes.reshape(-1, 3))


def test_readouts_of_parts_are_means_over_the_parts_that_numpy_splits():
    values = np.random.default_rng(1).normal(size=(3, 7, 2))
    for n_parts in (1, 2, 3, 7):
        expected = [part.mean(1) for part in np.array_split(values, n_parts, axis=1)]
        rows = Readout(1, n_features=2, kind=n_parts).gather(values.reshape(3, 14))
        np.testing.assert_allclose(rows, np.concatenate(expected, axis=1), rtol=1e-13)


def test_the_last_is_what_a_leaky_trace_holds():
    values = np.random.default_rng(2).normal(size=(3, 14))
    trace = Filter(1, n_features=2, leak=0.7).gather(values).reshape(3, 7, 2)[:, -1]
    rows = Readout(1, n_features=2, kind="last", leak=0.7).gather(values)
    np.testing.assert_allclose(rows * (1 - 0.7**7), trace, rtol=1e-13)
    np.testing.assert_array_equal(Readout(1, n_features=2, kind="last").gather(values), values[:, -2:])


@pytest.mark.parametrize("kind", [1, 3, "last"])
def test_a_sample_that_ends_is_read_up_to_its_end(kind):
    rng = np.random.default_rng(3)
    values, lengths = rng.normal(size=(4, 6, 2)), np.array([6, 4, 1, 0])
    readout = Readout(1, n_features=2, kind=kind, leak=0.5)
    rows = readout.bound(lengths).gather(values.reshape(4, -1))
    for row, sample, length in zip(rows[:3], values, lengths, strict=False):
        np.testing.assert_allclose(row, readout.gather(sample[:length].reshape(1, -1))[0], rtol=1e-13)
    np.testing.assert_array_equal(rows[3], 0)
    assert readout.lengths is None
    messages = rng.normal(size=rows.shape)
    for gather, scatter in (("gather", "scatter"), ("gather_variance", "scatter_squared")):
        down = getattr(readout.bound(lengths), scatter)(messages, 12)
        up = getattr(readout.bound(lengths), gather)(values.reshape(4, -1))
        np.testing.assert_allclose((down * values.reshape(4, -1)).sum(), (messages * up).sum(), rtol=1e-12)


@pytest.mark.parametrize(
    "connection",
    [
        Filter(1, 3, leak=0.6),
        Leak(1, 5, leak=0.6),
        Readout(1, 3, kind=1),
        Readout(1, 3, kind=2),
        Readout(1, 3, kind="last", leak=0.8),
    ],
    ids=["filter", "general", "mean", "parts", "last"],
)
@pytest.mark.parametrize("lengths", [None, np.array([5, 2, 0, 4])], ids=["whole", "ragged"])
def test_sensitivities_are_derivatives_in_the_weights(connection, lengths):
    """Of the gathered probabilities of three neurons that read two inputs at five steps."""
    rng = np.random.default_rng(4)
    below, weights = rng.normal(size=(4, 5, 2)), rng.normal(size=(3, 2))
    connection = connection.bound(lengths)

    def gathered(weights):
        spikes = np.tanh(below @ weights.T)
        return connection.gather(spikes.reshape(4, 15)).reshape(4, -1, connection.n_columns(15))

    expected = np.zeros((*gathered(weights).shape, 3, 2))
    for i in range(3):
        for j in range(2):
            step = np.zeros((3, 2))
            step[i, j] = 1e-6
            expected[..., i, j] = (gathered(weights + step) - gathered(weights - step)) / 2e-6
    slopes = 1 - np.tanh(below @ weights.T) ** 2
    seen = np.zeros(expected.shape[:3])
    for samples, row, columns, derivatives in connection.sensitivities(slopes, below):
        block = expected[samples, row, columns]
        for i in range(3):
            np.testing.assert_allclose(derivatives[:, i], block[:, i, i], atol=1e-8)
        seen[samples, row, columns] += 1
    assert (seen == 1).all()


def fed_back_matrix(slopes, feedback):
    """What comes to each spike of one neuron from outside, to all of its spikes."""
    n_steps = len(slopes)
    to_trace = np.array(
        [
            [(1 - feedback.leak) * feedback.leak ** (t - 1 - s) if s < t else 0.0 for s in range(n_steps)]
            for t in range(n_steps)
        ]
    )
    return np.linalg.inv(np.eye(n_steps) - slopes[:, None] * feedback.weight * to_trace)


@pytest.mark.parametrize(
    "connection",
    [Filter(1, 3, leak=0.6), Filter(1, 3), Readout(1, 3, kind=2), Readout(1, 3, kind="last", leak=0.8)],
    ids=["filter", "none", "parts", "last"],
)
def test_spikes_that_feed_back_on_themselves(connection):
    """Sums, variances and derivatives against the inverse of a matrix of steps, neuron by neuron."""
    rng = np.random.default_rng(7)
    slopes, values, below = rng.uniform(size=(4, 5, 3)), rng.uniform(size=(4, 5, 3)), rng.normal(size=(4, 5, 2))
    feedback = Feedback(0.7, np.array([-2.0, 0.5, 1.5]))
    matrices = np.array(
        [[fed_back_matrix(slopes[n, :, i], Feedback(0.7, w)) for i, w in enumerate(feedback.weight)] for n in range(4)]
    )
    gathered = connection.fed_back(slopes, feedback)
    followed = np.einsum("nits,nsi->nti", matrices, values)
    np.testing.assert_allclose(feedback.follow(slopes, values), followed, rtol=1e-12)
    messages = rng.normal(size=(4, 5, 3))
    np.testing.assert_allclose(
        feedback.back(slopes, messages), np.einsum("nits,nti->nsi", matrices, messages), rtol=1e-11
    )
    np.testing.assert_allclose(gathered.sums(values), connection.gather(followed.reshape(4, -1)), rtol=1e-12)
    # Every step by itself, through all that it does.
    variances = 0.0
    for step in range(5):
        alone = np.where(np.arange(5)[:, None] == step, np.sqrt(values), 0.0)
        variances = variances + gathered.sums(alone) ** 2
    np.testing.assert_allclose(gathered.variances(values), variances, rtol=1e-11)
    for samples, row, columns, derivatives in connection.sensitivities(slopes, below, feedback):
        for j in range(2):
            sums = gathered.sums(slopes * below[:, :, j, None]).reshape(4, -1, connection.n_columns(15))
            np.testing.assert_allclose(derivatives[:, :, j], sums[samples, row, columns], rtol=1e-10, atol=1e-14)


def test_a_general_connection_does_not_know_how_spikes_feed_back():
    connection, slopes = Leak(1, 5, leak=0.6), np.ones((4, 5, 3))
    feedback = Feedback(0.7, np.ones(3))
    with pytest.raises(NotImplementedError):
        connection.fed_back(slopes, feedback)
    with pytest.raises(NotImplementedError):
        next(connection.sensitivities(slopes, np.ones((4, 5, 2)), feedback))


@pytest.mark.parametrize(
    "connection",
    [Filter(1, 3, leak=0.6), Leak(1, 5, leak=0.6), Readout(1, 3, kind=2), Readout(1, 3, kind="last", leak=0.8)],
    ids=["filter", "general", "parts", "last"],
)
@pytest.mark.parametrize("lengths", [None, np.array([5, 2, 0, 4])], ids=["whole", "ragged"])
def test_pairs_of_steps(connection, lengths):
    """Of three neurons at five steps: coefficients of one of them, and pairs written out."""
    directions = np.random.default_rng(5).normal(size=(4, 5, 2))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    directions[0, 1] = 0  # inputs without a direction
    connection = connection.bound(lengths)
    sums = connection.pair_sums(directions, 3)
    for n in range(4):
        one = connection.bound(None if lengths is None else lengths[n : n + 1])
        taps = np.stack([one.gather(row[None]).reshape(-1, 3)[:, 0] for row in np.eye(15)[::3]], axis=1)
        for power, found in enumerate(sums):
            cosine = (directions[n] @ directions[n].T) ** power
            expected = [np.sum(np.outer(k, k) * (cosine - np.diag(np.diag(cosine)))) for k in taps]
            np.testing.assert_allclose(found[n], expected, atol=1e-13)
