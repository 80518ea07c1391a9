"""Single layers that tell many classes apart: sizes that costs follow from, and how wide predictions are."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from sk_epsnn import EPSNNClassifier, Newton
from sk_epsnn.estimators._many_classes import MANY_BATCH_POTENTIALS, MANY_CLASSES, ManyClasses
from sk_epsnn.estimators._plan import Problem
from sk_epsnn.estimators._planner import make_plan
from sk_epsnn.outputs import softmax as output
from sk_epsnn.weights import IndependentWeights, JointWeights


def plan_of(n_samples, n_features, n_classes, model=None, **options):
    return make_plan(model or EPSNNClassifier(), Problem("classifier", n_samples, n_features, n_classes, **options))


def clusters(n_classes, n_rows, n_features, spread, seed=0):
    """Rows to learn from and as many others, of classes about points of their own."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(n_classes), n_rows))
    center = rng.normal(size=(n_classes, n_features))
    X, others = (center[y] + spread * rng.normal(size=(len(y), n_features)) for _ in range(2))
    return X, others, y


@pytest.fixture
def evaluated(monkeypatch):
    """Potentials of which an output works out the evidence, one entry for each call."""
    sizes, won = [], output._won
    monkeypatch.setattr(output, "_won", lambda mean, *rest: [sizes.append(mean.size), won(mean, *rest)][1])
    return sizes


# ---------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("n_features", "n_classes", "joint"),
    [(20, 300, True), (50, 2000, False), (31, 1024, True), (32, 1024, False), (255, 64, True), (255, 65, False)],
)
def test_covariances_of_many_classes_are_small_together(n_features, n_classes, joint):
    """Of 64 classes or fewer those of up to 255 features are kept."""
    plan = plan_of(5 * n_classes, n_features, n_classes)
    design = plan.trainer.design
    assert design.joint == (joint,)
    # Their own variances are best along principal axes, but do not say how wide the prior should be.
    assert design.rotate is not joint and design.learns == ("layer" if joint else None)


def test_covariances_do_not_depend_on_the_rows_of_a_stream():
    found = [plan_of(n, 50, 2000, is_stream=True).trainer.design for n in (10, 100_000)]
    for design in found:
        assert design.joint == (False,) and not design.rotate and design.learns is None


@pytest.mark.parametrize("n_classes", [100, 1000, 10_000, 100_000])
@pytest.mark.parametrize("n_features", [5, 100])
@pytest.mark.parametrize("n_rows", [2, 50])
def test_what_a_pass_holds_and_takes_is_bounded(n_classes, n_features, n_rows):
    n_samples = n_rows * n_classes
    plan = plan_of(n_samples, n_features, n_classes)
    (stage,) = plan.stages
    assert plan.batch_of(n_samples) * n_classes <= max(MANY_BATCH_POTENTIALS, 100 * n_classes)
    held_out = stage.trainer.held_out
    passes = held_out.paths[0][0].n_passes
    assert passes == 4 or passes * n_samples * n_classes <= 2**25 or passes == 20
    assert stage.course.n_passes <= 2 and 20 <= held_out.n_rows <= 500
    assert held_out.n_rows * n_classes <= max(2**18, 50 * n_classes)
    n_sweeps = 1 if n_samples * n_classes > 2**17 else 3 if n_samples * n_classes > 2**15 else 10
    assert plan.settings["inference__n_sweeps"].value == n_sweeps


def test_a_batch_has_a_row_of_each_class_or_all_rows():
    assert ManyClasses(5000, 1000).batch_size(joint=True) == 1000
    assert ManyClasses(5000, 1000).batch_size(joint=False) == 5000
    assert plan_of(5000, 20, 1000).batch_of(5000) == 1000
    assert plan_of(5000, 200, 1000).batch_of(5000) == 5000


def test_few_classes_keep_their_course():
    for n_classes in (3, 10, MANY_CLASSES - 1):
        plan = plan_of(5000, 20, n_classes)
        (stage,) = plan.stages
        assert stage.trainer.held_out is None and not stage.trainer.single and stage.course.n_passes == 20
        assert plan.settings["inference__n_sweeps"].value == (10 if n_classes == 3 else 3)


def test_what_is_given_is_taken():
    model = EPSNNClassifier(max_iter=1, batch_size=7, inference=Newton(n_sweeps=5, validation_fraction=0.05))
    (stage,) = plan_of(5000, 20, 1000, model).stages
    held_out = stage.trainer.held_out
    assert (held_out.n_rows, held_out.paths[0][0].n_passes, stage.course.n_passes) == (250, 1, 1)
    assert (stage.course.batch_size, stage.trainer.schedule.n_sweeps) == (7, 5)
    (without,) = plan_of(5000, 20, 1000, EPSNNClassifier(inference=Newton(validation_fraction=0))).stages
    assert without.trainer.held_out is None and without.course.n_passes == 6


def test_sigmoid_units_and_rows_in_their_order_hold_nothing_out():
    for model in (EPSNNClassifier(output_activation="sigmoid"), EPSNNClassifier(shuffle=False)):
        assert plan_of(5000, 20, 1000, model).trainer.held_out is None


# ---------------------------------------------------------------------- fits


@pytest.mark.parametrize(
    ("n_classes", "n_features", "n_rows", "family"), [(150, 10, 8, JointWeights), (220, 75, 3, IndependentWeights)]
)
def test_work_and_predictions_of_a_fit(n_classes, n_features, n_rows, family, evaluated):
    """Rows that are told apart are predicted so: nothing wider than the potentials of all classes really are."""
    X, others, y = clusters(n_classes, n_rows, n_features, 0.4)
    model = EPSNNClassifier(random_state=0).fit(X, y)
    (layer,) = model._progress.state.layers
    assert type(layer.posterior) is family and layer.width < 1
    # Three for each of 22 passes; with ten sweeps over each batch it is thrice that.
    assert sum(evaluated) <= 66 * len(y) * n_classes
    probability = model.predict_proba(others)
    peer = LogisticRegression(max_iter=100).fit(X, y).predict_proba(others)
    assert log_loss(y, probability) < 0.7 * log_loss(y, peer)
    assert np.mean(probability.argmax(axis=1) == y) > 0.95


def test_a_posterior_that_is_right_stays_as_wide_as_it_is():
    """Labels without any reason: confidence would be punished."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1000, 4)), rng.permutation(np.arange(1000) % 80)
    model = EPSNNClassifier(random_state=0).fit(X, y)
    assert log_loss(rng.permutation(y), model.predict_proba(X)) < np.log(80) + 0.05


@pytest.mark.parametrize("sort", [np.asarray, sparse.csr_array])
def test_few_rows_of_each_class(sort):
    """Most classes have one row, which is learned from and judges nothing."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 120)), np.r_[np.arange(80), np.arange(10)]
    with pytest.warns(UserWarning, match="number of unique classes"):
        model = EPSNNClassifier(random_state=0).fit(sort(X), y)
    assert model.score(sort(X), y) == 1.0


def test_the_same_whatever_n_jobs():
    X, others, y = clusters(70, 6, 5, 0.3)
    found = [
        EPSNNClassifier(n_shards=2, n_jobs=n, max_iter=1, random_state=0).fit(X, y).predict_proba(others)
        for n in (1, 2)
    ]
    np.testing.assert_array_equal(*found)
