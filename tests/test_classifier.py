"""EPSNNClassifier: labels, probabilities, uncertainty, class weights."""

from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, ndtr, softmax, xlogy
from scipy.stats import entropy, norm
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_blobs
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_epsnn import EPSNNClassifier, HeavisideOutput, Stochastic

LABELS = {
    "strings": np.array(["b", "c", "a"]),
    "objects": np.array(["b", "c", "a"], dtype=object),
    "unsorted integers": np.array([7, -1, 3]),
    "floats": np.array([2.0, 0.0, 1.0]),
}


def one_fires(probability):
    """Probability of each unit to be the one that fires, given that exactly one does, by enumeration."""
    alone = np.column_stack(
        [
            probability[:, k] * np.prod(1 - np.delete(probability, k, axis=1), axis=1)
            for k in range(probability.shape[1])
        ]
    )
    return alone / alone.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_of_any_type(blobs, labels):
    """Renaming the classes, their order kept or not, changes the names only."""
    plain = EPSNNClassifier().fit(blobs.X, labels.argsort().argsort()[blobs.y])
    model = EPSNNClassifier().fit(blobs.X, labels[blobs.y])
    assert model.classes_.dtype == labels.dtype
    np.testing.assert_array_equal(model.classes_, np.sort(labels))
    np.testing.assert_array_equal(model.predict_proba(blobs.X_test), plain.predict_proba(blobs.X_test))
    np.testing.assert_array_equal(model.predict(blobs.X_test), np.sort(labels)[plain.predict(blobs.X_test)])
    assert model.score(blobs.X_test, labels[blobs.y_test]) > 0.75


def test_boolean_labels(blobs):
    model = EPSNNClassifier().fit(blobs.X, blobs.y == 1)
    assert model.classes_.dtype == bool
    assert model.predict(blobs.X_test).dtype == bool
    assert model.score(blobs.X_test, blobs.y_test == 1) > 0.75


def test_labels_in_a_column_are_taken_with_a_warning(blobs):
    flat = EPSNNClassifier().fit(blobs.X, blobs.y)
    with pytest.warns(DataConversionWarning, match="1d array was expected"):
        column = EPSNNClassifier().fit(blobs.X, blobs.y[:, None])
    np.testing.assert_array_equal(column.predict(blobs.X_test), flat.predict(blobs.X_test))


@pytest.mark.parametrize("hidden", [(), (6,)], ids=str)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities(blobs, hidden, n_classes):
    y = blobs.y if n_classes == 3 else blobs.y > 0
    model = EPSNNClassifier(hidden, max_iter=5, random_state=0).fit(blobs.X, y)
    probability = model.predict_proba(blobs.X_test)
    assert probability.shape == (80, n_classes)
    assert (probability >= 0).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(blobs.X_test)), probability, rtol=1e-12)
    np.testing.assert_array_equal(model.classes_[probability.argmax(axis=1)], model.predict(blobs.X_test))


@pytest.mark.parametrize("name", ["sigmoid", "heaviside"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_probability_is_conditioned_on_exactly_one_spike(blobs, name, n_classes):
    """Against quadrature for each unit's probability and enumeration of which unit fires."""
    y = blobs.y if n_classes == 3 else blobs.y > 0
    output = HeavisideOutput(noise_variance=0.0) if name == "heaviside" else name
    model = EPSNNClassifier(output_activation=output).fit(blobs.X, y)
    X = blobs.X_test[:5]
    spread = model._spread(X, "predict")
    fires = {"sigmoid": expit, "heaviside": lambda u: float(u >= 0)}[name]

    def unit(mean, sd):
        return quad(lambda u: fires(u) * norm.pdf(u, mean, sd), mean - 12 * sd, mean + 12 * sd, points=[0], limit=200)[
            0
        ]

    sd = np.sqrt(spread.epistemic + spread.aleatoric)
    firing = np.vectorize(unit)(spread.mean, sd)
    if name == "heaviside":
        np.testing.assert_allclose(firing, ndtr(spread.mean / sd), rtol=1e-6)
    expected = np.hstack([1 - firing, firing]) if n_classes == 2 else one_fires(firing)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-3)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_uncertainty_of_thresholds_without_noise(blobs, n_classes):
    """Potentials that are all but known given the weights overflow nothing."""
    y = blobs.y if n_classes == 3 else blobs.y > 0
    model = EPSNNClassifier(output_activation=HeavisideOutput(0.0)).fit(blobs.X, y)
    total, _, epistemic = model.predict_uncertainty(blobs.X_test)
    assert ((epistemic >= 0) & (epistemic <= total)).all() and (epistemic > 0.1).any()


def test_mean_potential_of_one_layer_is_linear(blobs):
    model = EPSNNClassifier().fit(blobs.X, blobs.y)
    potential = blobs.X_test @ model.coefs_[0] + model.intercepts_[0]
    np.testing.assert_allclose(model._spread(blobs.X_test, "predict").mean, potential, rtol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_shapes_follow_the_perceptron(blobs, n_classes):
    y = blobs.y if n_classes == 3 else blobs.y > 0
    model = EPSNNClassifier((5, 4), max_iter=1).fit(blobs.X, y)
    perceptron = MLPClassifier((5, 4)).partial_fit(blobs.X, y, classes=np.unique(y))
    for ours in (model.coefs_, model.coefs_variance_):
        assert [w.shape for w in ours] == [w.shape for w in perceptron.coefs_]
    for ours in (model.intercepts_, model.intercepts_variance_):
        assert [b.shape for b in ours] == [b.shape for b in perceptron.intercepts_]
    assert all((v > 0).all() for v in [*model.coefs_variance_, *model.intercepts_variance_])
    assert model.n_layers_ == perceptron.n_layers_ and model.n_outputs_ == perceptron.n_outputs_


@pytest.mark.parametrize("hidden", [(), (6,)], ids=str)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_uncertainty_splits_the_entropy(blobs, hidden, n_classes):
    y = blobs.y if n_classes == 3 else blobs.y > 0
    model = EPSNNClassifier(hidden, max_iter=5, random_state=0).fit(blobs.X, y)
    total, aleatoric, epistemic = model.predict_uncertainty(blobs.X_test)
    probability = model.predict_proba(blobs.X_test)
    assert total.shape == aleatoric.shape == epistemic.shape == (80,)
    np.testing.assert_allclose(total, -xlogy(probability, probability).sum(axis=1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(aleatoric + epistemic, total, rtol=1e-12)
    assert (aleatoric >= 0).all() and (epistemic >= 0).all() and epistemic.max() > 1e-4
    assert (total <= np.log(n_classes) + 1e-12).all()


def test_epistemic_part_is_the_mutual_information(blobs):
    """Binary, one layer: H(E p) - E H(p) over u ~ N(mean, variance) by quadrature."""
    model = EPSNNClassifier().fit(blobs.X[:30], blobs.y[:30] > 0)
    X = blobs.X_test[:5]
    spread = model._spread(X, "predict")

    def entropy(p):
        return -xlogy(p, p) - xlogy(1 - p, 1 - p)

    for mean, sd, epistemic in zip(
        spread.mean[:, 0], np.sqrt(spread.epistemic[:, 0]), model.predict_uncertainty(X).epistemic, strict=True
    ):

        def average(f, mean=mean, sd=sd):
            return quad(lambda u: f(expit(u)) * norm.pdf(u, mean, sd), mean - 10 * sd, mean + 10 * sd, limit=200)[0]

        assert epistemic == pytest.approx(entropy(average(lambda p: p)) - average(entropy), rel=0.1, abs=1e-4)


def drawn_class_probabilities(model, X, n_draws, rng):
    """Class probabilities for draws of the weights; spikes summed over all patterns of the hidden layer."""
    inputs = model._progress.state.network.basis.transform(X)
    first, last = model._progress.state.moments(np.dtype(float))
    patterns = np.array(list(product([0.0, 1.0], repeat=len(first.mean))))
    constant = np.ones((len(patterns), 1))
    for _ in range(n_draws):
        potential = inputs @ (first.mean + np.sqrt(first.variance) * rng.standard_normal(first.mean.shape)).T
        fires = expit(potential) if model.activation == "sigmoid" else (potential >= 0).astype(float)
        mass = np.ones((len(X), 1))
        for p in fires.T:  # of the patterns of one more neuron
            mass = (mass[:, :, None] * np.column_stack([1 - p, p])[:, None]).reshape(len(X), -1)
        weights = [rng.multivariate_normal(m, c) for m, c in zip(last.mean, last.covariance, strict=True)]
        yield one_fires(mass @ expit(np.hstack([patterns, constant]) @ np.array(weights).T))


@pytest.mark.parametrize(("activation", "error"), [("sigmoid", 0.025), ("heaviside", 0.07)])
@pytest.mark.parametrize("n_samples", [15, 60])
def test_uncertainty_against_draws_of_weights_and_spikes(activation, error, n_samples):
    """Root mean square errors in nats; what is left is the price of Gaussian potentials behind ten neurons.

    Measured with Heaviside neurons: epistemic at most .060, total at most .083.
    """
    X, y = make_blobs(60, centers=3, cluster_std=2.5, random_state=0)
    model = EPSNNClassifier(10, activation=activation, output_activation="sigmoid", inference="newton", random_state=0)
    model.fit(X[:n_samples], y[:n_samples])
    grid = np.vstack([X[:20], 10 * X[:5]])
    draws = np.array(list(drawn_class_probabilities(model, grid, 600, np.random.default_rng(0))))
    total = -xlogy(draws.mean(0), draws.mean(0)).sum(1)
    epistemic = total + xlogy(draws, draws).sum(2).mean(0)
    ours = model.predict_uncertainty(grid)
    assert np.sqrt(np.mean((ours.epistemic - epistemic) ** 2)) < error
    assert np.sqrt(np.mean((ours.total - total) ** 2)) < 1.5 * error
    assert np.corrcoef(ours.epistemic, epistemic)[0, 1] > 0.75


def test_epistemic_part_shrinks_with_data_and_grows_far_from_it():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 2))
    y = X[:, 0] + 0.5 * rng.logistic(size=1000) > 0
    grid = np.column_stack([np.zeros(5), np.linspace(-1, 1, 5)])
    few, many = (EPSNNClassifier().fit(X[:n], y[:n]).predict_uncertainty(grid).epistemic.mean() for n in (30, 1000))
    assert many < 0.2 * few
    model = EPSNNClassifier().fit(X, y)
    far = model.predict_uncertainty(grid + np.array([0.0, 50.0])).epistemic.mean()
    assert far > 5 * model.predict_uncertainty(grid).epistemic.mean()


@pytest.mark.parametrize("hidden", [(), (4,)], ids=str)
def test_class_weight_multiplies_sample_weight(blobs, hidden):
    weight = np.random.default_rng(0).uniform(0.5, 2, size=160)
    options = {"hidden_layer_sizes": hidden, "max_iter": 3, "random_state": 0}
    by_class = EPSNNClassifier(class_weight={0: 3, 2: 0.5}, **options)
    by_row = EPSNNClassifier(**options)
    factor = np.array([3, 1, 0.5])[blobs.y]
    for method, extra in (("fit", {}), ("partial_fit", {"classes": [0, 1, 2]})):
        getattr(by_class, method)(blobs.X, blobs.y, sample_weight=weight, **extra)
        getattr(by_row, method)(blobs.X, blobs.y, sample_weight=weight * factor, **extra)
        np.testing.assert_array_equal(by_class.predict_proba(blobs.X_test), by_row.predict_proba(blobs.X_test))


def test_balanced_class_weight(blobs):
    rows = np.r_[np.flatnonzero(blobs.y == 0)[:40], np.flatnonzero(blobs.y == 1)[:8]]
    X, y = blobs.X[rows], blobs.y[rows]
    balanced = EPSNNClassifier(class_weight="balanced").fit(X, y)
    given = EPSNNClassifier(class_weight={0: 48 / 80, 1: 48 / 16}).fit(X, y)
    np.testing.assert_allclose(balanced.predict_proba(X), given.predict_proba(X), rtol=1e-9)
    assert balanced.predict_proba(X)[:, 1].mean() > 1.2 * EPSNNClassifier().fit(X, y).predict_proba(X)[:, 1].mean()


def test_balanced_class_weight_counts_a_row_by_its_weight(blobs):
    weight = np.random.default_rng(5).integers(0, 3, size=160)
    weighted = EPSNNClassifier(class_weight="balanced").fit(blobs.X, blobs.y, sample_weight=weight)
    repeated = EPSNNClassifier(class_weight="balanced").fit(blobs.X.repeat(weight, axis=0), blobs.y.repeat(weight))
    np.testing.assert_allclose(
        weighted.predict_proba(blobs.X_test), repeated.predict_proba(blobs.X_test), rtol=1e-7, atol=1e-9
    )


def test_class_without_weight_keeps_its_column(blobs):
    model = EPSNNClassifier().fit(blobs.X, blobs.y, sample_weight=(blobs.y != 2).astype(float))
    assert model.predict_proba(blobs.X_test).shape == (80, 3)
    assert (model.predict(blobs.X_test) != 2).all()


@pytest.mark.filterwarnings("ignore:The last .* rows are all:UserWarning")
def test_stream_may_bring_classes_late(blobs):
    order = np.argsort(blobs.y, kind="stable")
    model = EPSNNClassifier()
    for rows in np.array_split(order, 4):
        model.partial_fit(blobs.X[rows], blobs.y[rows], classes=[2, 0, 1])
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert model.score(blobs.X_test, blobs.y_test) > 0.6


@pytest.mark.parametrize(("hidden", "accuracy"), [((), 0.75), ((30,), 0.7)], ids=["one layer", "hidden layer"])
def test_digits(digits, hidden, accuracy):
    model = EPSNNClassifier(hidden, random_state=0).fit(digits.X, digits.y)
    assert model.score(digits.X_test, digits.y_test) > accuracy


def test_breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = EPSNNClassifier().fit(X[:400], y[:400])
    assert model.score(X[400:], y[400:]) > 0.95


def test_hidden_layer_solves_exclusive_or():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(600, 2))
    y = X[:, 0] * X[:, 1] > 0
    assert EPSNNClassifier().fit(X[:400], y[:400]).score(X[400:], y[400:]) < 0.7
    model = EPSNNClassifier((20,), random_state=0, max_iter=30, tol=0).fit(X[:400], y[:400])
    assert model.score(X[400:], y[400:]) > 0.9


def test_mnist(mnist):
    model = EPSNNClassifier((50,), max_iter=2, random_state=0).fit(mnist.X[:2000], mnist.y[:2000])
    assert model.predict_proba(mnist.X_test[:500]).dtype == np.float32
    assert model.score(mnist.X_test[:500], mnist.y_test[:500]) > 0.8


# Outputs that compete


def ordered_bins(seed, n_rows=700):
    """Seven classes that lie along a line: no unit of its own can fire for those in the middle."""
    rng = np.random.default_rng(seed)
    X = np.hstack([rng.uniform(0, 7, (n_rows, 1)), rng.standard_normal((n_rows, 2))])
    return StandardScaler().fit_transform(X), X[:, 0].astype(int)


def test_competing_outputs_know_the_classes_between_others():
    """Separate units have .65 to .7 here."""
    X, y = ordered_bins(0)
    X_test, y_test = ordered_bins(1)
    assert EPSNNClassifier(random_state=0).fit(X, y).score(X_test, y_test) > 0.85
    apart = EPSNNClassifier(output_activation="sigmoid", random_state=0).fit(X, y)
    assert apart.score(X_test, y_test) < 0.75


def test_iris_by_competing_outputs():
    """The better of logistic regression's .96 and .15 (five folds of scaled features), reported of many a model."""
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), EPSNNClassifier(output_activation="softmax", random_state=0))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    p = cross_val_predict(model, X, y, cv=folds, method="predict_proba")
    assert (p.argmax(1) == y).mean() >= 0.96
    assert -np.log(p[np.arange(len(y)), y]).mean() < 0.15


def test_a_class_without_information_has_its_rate():
    """Eight of 2,000 rows: neither never nor as often as the others."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 3)), np.r_[np.zeros(1300), np.ones(692), np.full(8, 2)].astype(int)
    p = EPSNNClassifier(output_activation="softmax", random_state=0).fit(X, rng.permutation(y)).predict_proba(X)
    np.testing.assert_allclose(p.mean(0), [0.65, 0.346, 0.004], atol=0.006)
    assert 0.8 < p[:, 2].mean() / 0.004 < 1.4


def test_of_two_classes_competing_outputs_are_one_sigmoid_unit():
    X, y = ordered_bins(0)
    kinds = {name: EPSNNClassifier(output_activation=name).fit(X, y > 3) for name in ("softmax", "sigmoid")}
    np.testing.assert_array_equal(*(model.predict_proba(X) for model in kinds.values()))
    assert kinds["softmax"].coef_.shape == (1, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_layer_sizes": 20, "inference": Stochastic(n_passes=20)},
        {"hidden_layer_sizes": (20, 20), "inference": "newton", "max_iter": 3},
        {"weights": "binary", "max_iter": 4},
        {"weights": "ternary", "hidden_layer_sizes": 20, "inference": Stochastic(n_passes=20)},
        {"prior": "bernoulli_gaussian", "max_iter": 4},
        {"n_shards": 2, "max_iter": 4},
    ],
)
def test_competing_outputs_train_with_every_part(options):
    X, y = load_digits(return_X_y=True)
    X_test, y_test = X[1300:], y[1300:]
    model = EPSNNClassifier(output_activation="softmax", random_state=0, **options).fit(X[:600] / 16, y[:600])
    assert model.score(X_test / 16, y_test) > 0.8
    assert model.predict_uncertainty(X_test / 16).epistemic.min() >= 0


def test_competing_outputs_learn_from_a_stream():
    X, y = load_digits(return_X_y=True)
    model = EPSNNClassifier(output_activation="softmax", random_state=0)
    for rows in np.array_split(np.arange(1300), 13):
        model.partial_fit(X[rows] / 16, y[rows], classes=np.arange(10))
    assert model.score(X[1300:] / 16, y[1300:]) > 0.87


def test_uncertainty_of_competing_outputs_by_draws_of_the_weights():
    """Single layer: potentials are Gaussian, and so drawn; the rule of few nodes is right to a few percent."""
    X, y = load_iris(return_X_y=True)
    model = EPSNNClassifier(output_activation="softmax", random_state=0).fit(X[::3], y[::3])
    found, potentials = model.predict_uncertainty(X), model.predict_potentials(X)
    draws = potentials.mean + np.sqrt(potentials.variance) * np.random.default_rng(0).standard_normal((20_000, 1, 3))
    p = softmax(draws, axis=2)
    total = entropy(p.mean(0), axis=1)
    np.testing.assert_allclose(found.total, total, atol=0.01)
    np.testing.assert_allclose(model.predict_proba(X), p.mean(0), atol=0.01)
    np.testing.assert_allclose(found.epistemic, total - entropy(p, axis=2).mean(0), atol=0.03)


def test_a_class_too_rare_to_be_held_out_keeps_its_rate_behind_a_hidden_layer():
    """Widths that only rows of the common class judge would make the rare one ever less likely."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 3)), np.zeros(2000, int)
    y[:4] = 1
    model = EPSNNClassifier(20, random_state=0).fit(X, y)
    assert 0.7 < model.predict_proba(X)[:, 1].sum() / 4 < 1.3
