"""Merging: what copies of one estimator learned apart, the start counted once."""

from copy import deepcopy

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, GaussianPrior, merge

THIRDS = [slice(0, 50), slice(50, 90), slice(90, 130)]


def coefficients(model):
    names = ("coefs_", "intercepts_", "coefs_variance_", "intercepts_variance_")
    return {name: getattr(model, name) for name in names}


def assert_same_weights(model, other, rtol):
    for name, arrays in coefficients(model).items():
        for a, b in zip(arrays, getattr(other, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12, err_msg=name)


def linear_rows(n=130, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_features)) @ rng.standard_normal((n_features, n_features))
    return X, X @ rng.standard_normal((n_features, 2)) + 0.3 * rng.standard_normal((n, 2))


def parts_of(base, X, y, **kwargs):
    return [deepcopy(base).partial_fit(X[rows], y[rows], **kwargs) for rows in THIRDS[1:]]


def test_gaussian_layer_is_exactly_training_on_the_union():
    X, y = linear_rows()
    base = EPSNNRegressor(noise_variance=0.09).partial_fit(X[THIRDS[0]], y[THIRDS[0]])
    merged = merge(base, parts_of(base, X, y))
    assert_same_weights(merged, deepcopy(base).partial_fit(X[50:], y[50:]), rtol=1e-9)
    assert merged._progress.state.mass == 130
    # The closed form, with the prior that base has set up: it counts once.
    layer = base._progress.state.layers[0]
    x = base._progress.state.network.basis.transform(X)
    location, scale = base._targets.location, base._targets.scale
    target = (y - location) / scale
    for unit in range(2):
        noise = 0.09 / scale[unit] ** 2
        precision = layer.prior.precision[unit] + x.T @ x / noise
        q = merged._progress.state.layers[0].posterior
        np.testing.assert_allclose(q.precision[unit], precision, rtol=1e-9)
        np.testing.assert_allclose(q.mean[unit], np.linalg.solve(precision, x.T @ target[:, unit] / noise), rtol=1e-7)


def test_learned_noise_adds_up():
    X, y = linear_rows()
    base = EPSNNRegressor().partial_fit(X[THIRDS[0]], y[THIRDS[0]])
    parts = parts_of(base, X, y)
    merged = merge(base, parts)
    noise, start = merged._progress.state.noise, base._progress.state.noise
    assert noise.mass == pytest.approx(130)
    squares = start.squares + sum(part._progress.state.noise.squares - start.squares for part in parts)
    np.testing.assert_allclose(noise.squares, squares)
    np.testing.assert_allclose(merged.noise_variance_ / merged._targets.scale**2, noise.variance)


@pytest.mark.parametrize("options", [{}, {"weights": "binary"}, {"prior": "bernoulli_gaussian"}], ids=str)
def test_classifiers_with_a_hidden_layer_learn_from_each_other(options, blobs):
    """Each copy misses a class; the merged one knows them all."""
    base = EPSNNClassifier((20,), random_state=0, **options).partial_fit(blobs.X[:40], blobs.y[:40], classes=[0, 1, 2])
    X, y = blobs.X[40:], blobs.y[40:]
    parts = [deepcopy(base).partial_fit(X[y != missing], y[y != missing]) for missing in (0, 1)]
    merged = merge(base, parts)
    scores = [part.score(blobs.X_test, blobs.y_test) for part in (base, *parts)]
    assert merged.score(blobs.X_test, blobs.y_test) >= min(scores)
    assert merged._progress.state.mass > max(part._progress.state.mass for part in parts)


def test_one_part_is_that_part_and_order_does_not_matter(blobs):
    base = EPSNNClassifier((5,), random_state=0).partial_fit(blobs.X[:40], blobs.y[:40], classes=[0, 1, 2])
    parts = [deepcopy(base).partial_fit(blobs.X[rows], blobs.y[rows]) for rows in (slice(40, 60), slice(60, None))]
    assert_same_weights(merge(base, parts[:1]), parts[0], rtol=1e-9)
    assert_same_weights(merge(base, parts), merge(base, parts[::-1]), rtol=1e-9)


def test_merged_goes_on_and_leaves_the_others_alone(blobs, freeze):
    base = EPSNNClassifier((5,), random_state=0).partial_fit(blobs.X[:40], blobs.y[:40], classes=[0, 1, 2])
    parts = [deepcopy(base).partial_fit(blobs.X[rows], blobs.y[rows]) for rows in (slice(40, 60), slice(60, None))]
    before = [freeze(vars(model)) for model in (base, *parts)]
    merged = merge(base, parts)
    assert merged.n_iter_ == 3
    assert merged.history_["energy"] == [model.history_["energy"][-1] for model in (base, *parts)]
    merged.partial_fit(blobs.X, blobs.y)
    assert [freeze(vars(model)) for model in (base, *parts)] == before


def test_refuses_what_does_not_come_from_base(blobs, line):
    def start(**options):
        return EPSNNClassifier(random_state=0, **options).partial_fit(blobs.X[:40], blobs.y[:40], classes=[0, 1, 2])

    base = start()
    part = deepcopy(base).partial_fit(blobs.X, blobs.y)
    with pytest.raises(ValueError, match="at least one estimator"):
        merge(base, [])
    with pytest.raises(NotFittedError):
        merge(EPSNNClassifier(), [part])
    with pytest.raises(NotFittedError):
        merge(base, [EPSNNClassifier()])
    with pytest.raises(ValueError, match=r"estimators\[1\] is a EPSNNRegressor"):
        merge(base, [part, EPSNNRegressor().fit(line.X, line.y)])
    others = [
        EPSNNClassifier(random_state=0).partial_fit(blobs.X, blobs.y, classes=[0, 1, 2]),
        EPSNNClassifier(random_state=0).partial_fit(blobs.X[:40], blobs.y[:40], classes=[0, 1, 3, 2]),
        start(hidden_layer_sizes=(4,)),
        start(prior=GaussianPrior(variance=2.0)),
    ]
    for other in others:
        with pytest.raises(ValueError, match="does not come from base"):
            merge(base, [other])
    with pytest.raises(ValueError, match="less evidence than base"):
        merge(part, [base])
    with pytest.raises(ValueError, match="Frozen"):
        merge(base, [part.freeze()])


def test_refuses_a_sum_that_is_no_posterior(blobs):
    """Refitted copies have taken the evidence of base out: the sum would take it out twice."""
    base = EPSNNClassifier(warm_start=True, batch_size=1000, random_state=0).fit(blobs.X, blobs.y)
    one_sided = [deepcopy(base).fit(np.zeros_like(blobs.X), blobs.y) for _ in range(3)]
    with pytest.raises(ValueError, match="copy.deepcopy"):
        merge(base, one_sided)
