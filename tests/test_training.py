"""Training with a trainer that only counts: batches, passes, streams and what is noted of them."""

from dataclasses import replace

import numpy as np
import pytest

from sk_epsnn.training import Course, Progress, Report, Rows, Trainer, learn_from_stream, train

COURSE = Course(batch_size=4, equal_batches=False, n_passes=3, tol=0.0, shuffle=False)


class Counter(Trainer):
    """Its state is the list of (sum of the rows, mass of all rows) of every batch; each pass gains half as much."""

    def start(self, network, rows, rng):
        return [("start", network, rows.n_samples)]

    def absorb(self, state, batch, total_mass, rng=None):
        new = [*state, (float(batch.X.sum()), total_mass)]
        return new, Report(batch.mass * 0.5 ** len(new), [1.0])

    def predictor(self, state, dtype, rng=None):
        return lambda X: X

    def known(self, state, weights, rng=None):
        return state


class Always:
    """A watch that stops after so many passes."""

    def __init__(self, stop_after=99):
        self.left = stop_after

    def run_pass(self, work):
        progress = work()
        self.left -= 1
        return self.left == 0 or progress.converged


def rows_of(n_samples):
    return Rows(np.arange(float(n_samples))[:, None], np.zeros((n_samples, 1)), np.full(n_samples, 2.0))


def run(course, rows, start="network", watch=None, tell=lambda line: None):
    return train(Counter(), start, rows, course, np.random.RandomState(0), watch or Always(), tell)


@pytest.mark.parametrize(
    ("size", "equal", "expected"),
    [(4, False, [4, 4, 2]), (4, True, [4, 4, 2]), (9, True, [5, 5]), (9, False, [9, 1]), (99, True, [10])],
)
def test_batches(size, equal, expected):
    batches = replace(COURSE, batch_size=size, equal_batches=equal).batches(10)
    assert [rows.stop - rows.start for rows in batches] == expected


def test_shuffled_batches_hold_every_row_once():
    course, rng = replace(COURSE, shuffle=True), np.random.RandomState(0)
    first, second = (np.concatenate(course.shuffled_batches(10, rng)) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10)) and (first != second).any()
    # A single batch has no order, and takes no random number.
    state = rng.get_state()[1].copy()
    assert replace(course, batch_size=10).shuffled_batches(10, rng) == [slice(0, 10)]
    assert (rng.get_state()[1] == state).all()


def test_a_stream_cannot_look_ahead():
    assert COURSE.first_rows(10) == slice(0, 4) and replace(COURSE, shuffle=True).first_rows(10) == slice(None)
    assert run(COURSE, rows_of(10)).state[0] == ("start", "network", 4)
    assert run(replace(COURSE, shuffle=True), rows_of(10)).state[0] == ("start", "network", 10)


@pytest.mark.parametrize("shuffle", [True, False])
def test_shards_share_the_rows_out(shuffle):
    course = replace(COURSE, n_shards=3, shuffle=shuffle)
    shards = course.shards(rows_of(10), np.random.RandomState(0))
    assert [shard.n_samples for shard in shards] == [4, 3, 3]
    assert sorted(np.concatenate([shard.X[:, 0] for shard in shards])) == list(range(10))
    assert len(replace(course, n_shards=50).shards(rows_of(10), np.random.RandomState(0))) == 10


def test_passes_and_what_is_noted():
    lines = []
    progress = run(COURSE, rows_of(10), tell=lines.append)
    assert progress.n_passes == 3 and not progress.converged
    assert progress.state[1:] == [(6.0, 20.0), (22.0, 20.0), (17.0, 20.0)] * 3
    # 8, 8 and 4 units of weight at 1/4, 1/8, 1/16, per unit.
    assert progress.history["energy"][0] == (8 / 4 + 8 / 8 + 4 / 16) / 20
    assert progress.history["step"] == [1.0] * 9
    assert lines[0] == "Iteration 1, energy per sample = 0.162500 nats" and len(lines) == 3


def test_training_stops_when_the_objective_settles_or_the_watch_says_so():
    settled = run(replace(COURSE, tol=0.2), rows_of(10))
    assert settled.n_passes == 2 and settled.converged
    stopped = run(COURSE, rows_of(10), watch=Always(stop_after=1))
    assert stopped.n_passes == 1 and not stopped.converged


def test_a_fit_goes_on_where_an_earlier_one_ended():
    first = run(replace(COURSE, n_passes=1), rows_of(10))
    before = list(first.state), {name: list(values) for name, values in first.history.items()}
    again = run(replace(COURSE, n_passes=2), rows_of(10), start=first)
    assert again.state == run(COURSE, rows_of(10)).state and again.n_passes == 3
    assert (first.state, dict(first.history)) == before


def test_a_stream_is_one_batch_a_call():
    progress = "network"
    for _ in range(2):
        progress = learn_from_stream(
            Counter(), progress, rows_of(10), 1.0, 0.0, np.random.RandomState(0), lambda line: None
        )
    assert progress.state == [("start", "network", 10), (45.0, np.inf), (45.0, np.inf)]
    assert progress.n_passes == 2 and progress.history["energy"] == [0.25, 0.125]


def test_what_a_trainer_need_not_do():
    progress = Progress(["state"])
    assert Counter().prepare(progress, rows_of(3), COURSE, None, print) is progress
    assert Counter().resume("state", 3) == Counter().finish("state", 3.0) == Counter().faded("state", 1) == "state"
    with pytest.raises(NotImplementedError, match="Counter cannot forget; set forgetting=1"):
        Counter().faded("state", 0.5)
    with pytest.raises(NotImplementedError, match="Counter cannot learn from parts.*set n_shards=1"):
        run(replace(COURSE, n_shards=2), rows_of(10))
