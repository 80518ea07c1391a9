"""What training does whatever the trainer, by one that only counts; and what a trainer says that can do no more."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from sk_epsnn.course import Course, Rows
from sk_epsnn.training import Progress, Report, Stage, Trainer, absorb_in_turn, learn_from_stream, one_pass, train


class Counter(Trainer):
    """Its state is the numbers of the rows seen, in their order; its objective halves in every call."""

    def __init__(self):
        self.masses = []
        self.started = None

    def start(self, network, rows, rng):
        self.started = network, rows
        return ()

    def absorb(self, state, batch, total_mass, rng=None):
        self.masses.append(total_mass)
        return (*state, *batch.X[:, 0].astype(int)), Report(-(0.5 ** len(self.masses)) * batch.mass, [batch.mass])

    def predictor(self, state, dtype, rng=None):
        raise AssertionError("predicts nothing")

    known = predictor


class Watcher:
    """Has passes done, and stops after so many."""

    def __init__(self, most=1000):
        self.most = most
        self.passes = []

    def run_pass(self, work):
        self.passes.append(work())
        return len(self.passes) == self.most


def rows_of(n=10):
    return Rows(np.arange(float(n))[:, None], np.arange(2.0 * n).reshape(n, 2), np.linspace(1, 2, n))


COURSE = Course(batch_size=4, equal_batches=False, n_passes=3, tol=0.0, shuffle=False)


def seeded(seed=0):
    return np.random.RandomState(seed)


# Rows, batches, shards


@pytest.mark.parametrize(
    "chosen", [slice(2, 5), np.array([4, 1]), np.arange(10) % 2 == 0], ids=["slice", "index", "mask"]
)
@pytest.mark.parametrize("as_sparse", [False, True])
def test_rows_stay_together(chosen, as_sparse):
    rows = rows_of()
    some = (rows._replace(X=sparse.csr_array(rows.X)) if as_sparse else rows).take(chosen)
    numbers = np.arange(10)[chosen]
    X = some.X.toarray() if as_sparse else some.X
    np.testing.assert_array_equal(X[:, 0], numbers)
    np.testing.assert_array_equal(some.target[:, 0], 2 * numbers)
    np.testing.assert_array_equal(some.sample_weight, rows.sample_weight[numbers])
    assert some.n_samples == len(numbers)


@pytest.mark.parametrize(("n", "expected"), [(2, [1, 9]), (3, [1, 5, 9]), (5, [1, 3, 5, 7, 9]), (50, [1, 3, 5, 7, 9])])
def test_some_of_the_rows_that_have_a_weight(n, expected):
    weight = np.arange(10) % 2
    assert Rows(np.arange(10.0)[:, None], np.zeros((10, 1)), weight).some(n).X.ravel().tolist() == expected


def test_mass_is_summed_in_float64():
    rows = rows_of()._replace(sample_weight=np.full(100_000, 0.1, dtype=np.float32))
    np.testing.assert_allclose(rows.mass, 100_000 * float(np.float32(0.1)), rtol=1e-12)


@pytest.mark.parametrize(
    ("n", "equal", "sizes"), [(10, False, [4, 4, 2]), (10, True, [4, 4, 2]), (9, True, [3, 3, 3]), (3, True, [3])]
)
def test_batches(n, equal, sizes):
    batches = replace(COURSE, equal_batches=equal).batches(n)
    numbers = [np.arange(n)[rows] for rows in batches]
    assert [len(rows) for rows in numbers] == sizes
    np.testing.assert_array_equal(np.concatenate(numbers), np.arange(n))


def test_shuffled_batches_are_a_permutation():
    course = replace(COURSE, shuffle=True)
    one, other = course.shuffled_batches(10, seeded()), course.shuffled_batches(10, seeded(1))
    assert [len(rows) for rows in one] == [4, 4, 2]
    np.testing.assert_array_equal(np.sort(np.concatenate(one)), np.arange(10))
    assert (np.concatenate(one) != np.concatenate(other)).any()
    # Where all rows are one batch their order does not matter, and no random number is drawn.
    rng = seeded()
    assert course.shuffled_batches(4, rng) == [slice(0, 4)]
    assert rng.randint(1000) == seeded().randint(1000)


@pytest.mark.parametrize("shuffle", [False, True])
def test_shards_are_the_rows_in_parts(shuffle):
    course, rows = replace(COURSE, shuffle=shuffle, n_shards=3), rows_of()
    shards = course.shards(rows, seeded())
    numbers = np.concatenate([shard.X[:, 0] for shard in shards])
    assert [shard.n_samples for shard in shards] == [4, 3, 3]
    np.testing.assert_array_equal(np.sort(numbers), np.arange(10))
    assert (numbers == np.arange(10)).all() != shuffle
    assert len(replace(course, n_shards=1000).shards(rows, seeded())) == 10
    assert replace(course, n_shards=1).shards(rows, seeded())[0] is rows


def test_a_set_up_sees_all_rows_unless_they_are_a_stream():
    assert COURSE.first_rows(10) == slice(0, 4)
    assert replace(COURSE, shuffle=True).first_rows(10) == slice(None)


# Progress


def test_progress_notes_and_settles():
    start = Progress("state")
    one = start.noted(step=[0.5]).after_pass(-3.0, 0.1)
    two = one.noted(step=[1.0, 0.25], temperature=[0.2]).after_pass(-2.95, 0.1)
    assert (start.n_passes, one.n_passes, two.n_passes) == (0, 1, 2)
    assert (one.converged, two.converged) == (False, True)
    assert two.history == {"energy": [-3.0, -2.95], "step": [0.5, 1.0, 0.25], "temperature": [0.2]}
    assert start.history == {"energy": [], "step": []}
    assert not two.after_pass(-2.0, 0.1).converged
    assert not one.after_pass(-2.9, 0.0999).converged


# Fits


def test_one_pass_absorbs_every_row_once():
    trainer, rows = Counter(), rows_of()
    progress, objective = one_pass(trainer, Progress((7,)), [rows], COURSE, seeded())
    assert progress.state == (7, *range(10))
    assert trainer.masses == [rows.mass] * 3
    masses = [rows.sample_weight[part].sum() for part in (slice(0, 4), slice(4, 8), slice(8, 10))]
    np.testing.assert_allclose(progress.history["step"], masses, rtol=1e-14)
    expected = -(0.5 * masses[0] + 0.25 * masses[1] + 0.125 * masses[2]) / rows.mass
    assert objective == pytest.approx(expected, rel=1e-12)
    assert progress.n_passes == 0


def test_batches_are_absorbed_in_turn():
    trainer, rows = Counter(), rows_of()
    state, report = absorb_in_turn(trainer, (), rows, [slice(3, 5), slice(0, 1)], 9.0)
    assert state == (3, 4, 0)
    assert trainer.masses == [9.0, 9.0] and len(report.steps) == 2


def test_a_fit_goes_on_until_the_objective_settles_or_it_is_stopped():
    """Whoever watches a fit is given every pass, and stops it; the objective is noted per unit of weight."""
    trainer, told, watch = Counter(), [], Watcher(most=2)
    rows = rows_of()
    end = train([Stage(trainer, COURSE)], "network", rows, seeded(), watch, told.append)
    assert trainer.started[0] == "network"
    np.testing.assert_array_equal(trainer.started[1].X, rows.X[:4])
    assert end.n_passes == 2 and end.state == (*range(10), *range(10))
    assert watch.passes[-1].state == end.state
    assert told[0].startswith("Iteration 1, energy per sample = ") and len(told) == 2
    most = train([Stage(Counter(), COURSE)], "network", rows, seeded(), Watcher(), told.append)
    assert most.n_passes == 3


def test_a_fit_goes_on_from_where_an_earlier_one_ended():
    course = replace(COURSE, n_passes=1)
    first = train([Stage(Counter(), course)], "network", rows_of(), seeded(), Watcher(), lambda line: None)
    trainer = Counter()
    second = train([Stage(trainer, course)], first, rows_of(4), seeded(), Watcher(), lambda line: None)
    assert trainer.started is None
    assert second.state == (*range(10), *range(4))
    assert second.n_passes == 2 and len(second.history["energy"]) == 2


class Careful(Counter):
    """Notes when it is asked for more than the least."""

    def prepare(self, progress, rows, course, rng, tell):
        return replace(progress, state=("prepared", rows.n_samples))

    def resume(self, state, n_samples):
        return ("resumed", n_samples)

    def finish(self, state, mass):
        return (*state, "finished", mass)

    def faded(self, state, factor):
        return (*state, "faded", factor)


def test_what_a_trainer_does_before_and_after():
    rows, course = rows_of(4), replace(COURSE, n_passes=1)
    end = train([Stage(Careful(), course)], "network", rows, seeded(), Watcher(), lambda line: None)
    assert end.state == ("prepared", 4, *range(4), "finished", rows.mass)
    again = train([Stage(Careful(), course)], end, rows, seeded(), Watcher(), lambda line: None)
    assert again.state == ("resumed", 4, *range(4), "finished", rows.mass)


class Entering(Counter):
    """Doubles the numbers of the rows as they enter a stage, and says how often it was asked to."""

    def __init__(self, most=1000):
        super().__init__()
        self.entered = 0
        self.most = most

    def enter(self, state, rows):
        self.entered += 1
        return rows._replace(X=2 * rows.X)

    def resume(self, state, n_samples):
        return (*state, "resumed")

    def finish(self, state, mass):
        return (*state, "finished")


def stages_of(*n_passes, **changes):
    """A stage of so many passes each; the second one has batches of two rows."""
    courses = [replace(COURSE, n_passes=n, batch_size=4 - 2 * i, **changes) for i, n in enumerate(n_passes)]
    return [Stage(Entering(), course) for course in courses]


def test_a_stage_begins_where_the_last_one_ended():
    """Each resumes and finishes; only the first prepares; passes are counted on; each enters its rows once."""
    stages, rows = stages_of(2, 1), rows_of(4)
    end = train(stages, "network", rows, seeded(), Watcher(), lambda line: None)
    doubled = (0, 2, 4, 6)
    assert end.state == (*doubled, *doubled, "finished", "resumed", *doubled, "finished")
    assert (end.n_passes, len(end.history["energy"]), len(end.history["step"])) == (3, 3, 1 + 1 + 2)
    assert [stage.trainer.entered for stage in stages] == [1, 1]
    assert stages[1].trainer.started is None
    again = train(stages_of(1), end, rows, seeded(), Watcher(), lambda line: None)
    assert again.state == (*end.state, "resumed", *doubled, "finished")


def test_a_fit_that_is_stopped_begins_no_other_stage():
    """What has been learned is finished all the same."""
    for most, n_passes, n_finished in ((1, 1, 1), (2, 2, 1), (3, 3, 2)):
        end = train(stages_of(2, 2), "network", rows_of(4), seeded(), Watcher(most), lambda line: None)
        assert end.n_passes == n_passes
        assert end.state.count("finished") == n_finished


class Settled(Watcher):
    """Stops a stage that has converged, as an estimator does."""

    def run_pass(self, work):
        return super().run_pass(work) or self.passes[-1].converged


def test_a_stage_that_has_settled_leaves_the_fit_to_the_next():
    stages = stages_of(9, 3)
    loose = replace(stages[0].course, tol=0.3)
    end = train([replace(stages[0], course=loose), stages[1]], "network", rows_of(4), seeded(), Settled(), print)
    # The objective is -1/2, -1/4, ... in the first stage: settled after the second pass.
    assert end.n_passes == 2 + 3 and end.state.count("finished") == 2


def test_shards_are_the_same_in_every_stage():
    """By what each is given to enter."""
    seen = []

    class Noting(Entering):
        def enter(self, state, rows):
            seen.append(tuple(rows.X[:, 0]))
            return rows

        def absorb_apart(self, state, shards, batches, total_mass, n_jobs):
            return state, Report(0.0, [0.0])

    course = replace(COURSE, n_passes=1, shuffle=True, n_shards=2)
    train([Stage(Noting(), course)] * 2, "network", rows_of(), seeded(), Watcher(), lambda line: None)
    assert len(seen) == 4 and seen[:2] == seen[2:]


def test_calls_of_a_stream():
    """Every call is one batch of rows that are all new, what was known before fades, and nothing is prepared."""
    trainer, told = Careful(), []
    one = learn_from_stream(trainer, "network", rows_of(2), 0.5, 0.0, seeded(), told.append)
    two = learn_from_stream(trainer, one, rows_of(3), 0.25, 0.0, seeded(), told.append)
    assert one.state == ("faded", 0.5, 0, 1)
    assert two.state == (*one.state, "faded", 0.25, 0, 1, 2)
    assert trainer.masses == [np.inf, np.inf]
    np.testing.assert_allclose(two.history["energy"], [-0.5, -0.25], rtol=1e-14)
    assert two.n_passes == 2 and len(told) == 2


# A trainer that can do no more than it must


def test_by_default_nothing_is_prepared_resumed_or_finished():
    progress = Progress("state")
    assert Counter().prepare(progress, rows_of(), COURSE, seeded(), print) is progress
    assert Counter().resume("state", 3) == Counter().finish("state", 1.0) == "state"


def test_shards_are_refused_by_name():
    rows, course = rows_of(), replace(COURSE, n_shards=2)
    with pytest.raises(NotImplementedError, match="Counter cannot learn from parts of the rows apart; set n_shards=1"):
        train([Stage(Counter(), course)], "network", rows, seeded(), Watcher(), print)


def test_forgetting_is_refused_by_name():
    assert Counter().faded("state", 1) == "state"
    with pytest.raises(NotImplementedError, match="Counter cannot forget; set forgetting=1"):
        learn_from_stream(Counter(), "network", rows_of(), 0.5, 0.0, seeded(), print)


def test_a_trainer_must_learn_and_predict():
    with pytest.raises(TypeError, match="abstract"):
        Trainer()
