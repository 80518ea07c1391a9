"""Connections that see one step at a time: what they gather of whole samples, up to that step."""

import numpy as np
import pytest

from sk_epsnn.connections import Dense, Filter, Readout, Running, running

N_STEPS, N_FEATURES, N_IN = 6, 3, 2
CAUSAL = {
    "filter": Filter(1, N_FEATURES, leak=0.6),
    "mean": Readout(1, N_FEATURES),
    "last": Readout(1, N_FEATURES, kind="last", leak=0.7),
    "last alone": Readout(1, N_FEATURES, kind="last"),
    "last, slowly": Readout(1, N_FEATURES, kind="last", leak=1 - 1e-10),
}


def gathered(connection, values, below):
    """Everything that a connection sums up of the steps of values, in its last row."""
    n_samples, n_steps, _ = values.shape
    flat = values.reshape(n_samples, -1)
    n_columns = connection.n_columns(flat.shape[1])
    derivatives = np.zeros((n_samples, n_steps, n_columns, below.shape[2]))
    for samples, row, columns, part in connection.sensitivities(values, below):
        derivatives[samples, row, columns] = part
    return [
        connection.gather(flat).reshape(n_samples, -1, n_columns)[:, -1],
        connection.gather_variance(flat**2).reshape(n_samples, -1, n_columns)[:, -1],
        derivatives[:, connection.n_rows(flat.shape[1]) - 1],
        *(part.reshape(n_samples, -1, n_columns // N_FEATURES)[:, -1] for part in pairs(connection, below)),
    ]


def pairs(connection, below):
    return connection.pair_sums(below / np.linalg.norm(below, axis=2, keepdims=True), N_FEATURES)


def steps_of(connection, values, below, n_steps=None, ends=None):
    """What is gathered of each step."""
    one, before, n_before = running(connection), (), np.zeros(len(values), int)
    for t in range(values.shape[1]):
        present = np.ones(len(values), bool) if ends is None else t < ends
        one.begin(connection.share(n_before, n_steps) * present[:, None], before)
        yield gathered(one, values[:, t : t + 1], below[:, t : t + 1])
        before, n_before = one.sums, n_before + present


def sample(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, N_STEPS, N_FEATURES)), rng.normal(size=(4, N_STEPS, N_IN))


@pytest.mark.parametrize("connection", CAUSAL.values(), ids=CAUSAL)
def test_sums_up_to_a_step_are_those_of_the_steps_so_far(connection):
    values, below = sample()
    for t, found in enumerate(steps_of(connection, values, below), start=1):
        expected = gathered(connection, values[:, :t], below[:, :t])
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n_parts", [2, 4, 6, 8])
def test_parts_are_those_of_all_the_steps_to_come(n_parts):
    values, below = sample()
    connection = Readout(1, N_FEATURES, kind=n_parts)
    *before, last = steps_of(connection, values, below, N_STEPS)
    for mine, theirs in zip(last, gathered(connection, values, below), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)
    # What has not begun is silent.
    silent = values.copy()
    silent[:, 1:] = 0
    first = before[0][0].reshape(4, n_parts, N_FEATURES)
    np.testing.assert_allclose(first[:, 0], values[:, 0])
    np.testing.assert_array_equal(first[:, 1:], 0)


@pytest.mark.parametrize("connection", CAUSAL.values(), ids=CAUSAL)
def test_a_sample_that_has_ended_keeps_its_sums(connection):
    values, below = sample()
    ends = np.array([6, 3, 0, 5])
    *_, last = steps_of(connection, values, below, ends=ends)
    for i in (0, 1, 3):
        expected = gathered(connection, values[i : i + 1, : ends[i]], below[i : i + 1, : ends[i]])
        for mine, theirs in zip(last, expected, strict=True):
            np.testing.assert_allclose(mine[i], theirs[0], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(last[0][2], 0)


def test_what_reads_every_step_alone_needs_no_memory():
    connection = Filter(1, N_FEATURES)
    assert running(connection) is connection
    assert isinstance(running(CAUSAL["filter"]), Running)


def test_connections_without_steps_say_so():
    with pytest.raises(NotImplementedError, match="Dense does not take one step"):
        Dense(3).share(np.zeros(2, int))
