"""Axes in the span of few rows: against all axes of the same prior, and read back in the space of the inputs."""

import numpy as np
import pytest
from scipy import sparse

from sk_epsnn import EPSNNRegressor
from sk_epsnn.basis import SpanBasis, fit_basis

N, P = 25, 60


def inputs(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, P)) * 10.0 ** rng.integers(-3, 4, P) + rng.standard_normal(P)


def basis_of(X, constant=True, **options):
    options = {"rotate": True, "center": constant, "constant": constant, "scaling": "each", "span": True, **options}
    return fit_basis(X, np.ones(X.shape[0]), **options)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_lengths_are_kept(constant, form):
    """Inside and outside of the span, which the rows themselves do not leave."""
    X, new = inputs(), inputs(seed=1)
    basis = basis_of(form(X), constant)
    assert isinstance(basis, SpanBasis) and basis.offset.shape == (N - constant + 1,)
    scaled = (np.vstack([X, new]) - (X.mean(0) if constant else 0)) / basis.scale
    if constant:
        near = np.abs(X.mean(0) - np.median(X, axis=0)) < basis.scale
        assert near.all()  # no mean is that of a wild cell
    found = basis.transform(form(np.vstack([X, new])))
    values = found[:, : len(basis.offset)]
    np.testing.assert_allclose(np.sum(values**2, axis=1), np.sum(scaled**2, axis=1), rtol=1e-9)
    np.testing.assert_array_equal(values[:N, -1], 0)
    assert (values[N:, -1] > 1).all()
    assert not constant or (found[:, -1] == 1).all()
    gram = values[:N, :-1].T @ values[:N, :-1]
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-9 * gram.max())


@pytest.mark.parametrize("constant", [False, True])
def test_the_prior_is_that_of_all_axes(constant):
    X = inputs()
    few, every = basis_of(X, constant), basis_of(X, constant, span=False)
    variances = [basis.prior_variances(None, 0.0, 4.0, 0.1) for basis in (few, every)]
    np.testing.assert_allclose(variances[0][:5], variances[1][:5], rtol=1e-6)
    spreads = [b.to_inputs(np.zeros((1, b.n_axes)), v[None]) for b, v in zip((few, every), variances, strict=True)]
    for one, other in zip(spreads[0][2:], spreads[1][2:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("constant", [False, True])
def test_axes_for_more_rows(constant):
    """What was known of the direction that they shared holds for each."""
    basis, new = basis_of(inputs(), constant), inputs(4, seed=2)
    assert basis.seeing(inputs()) is None
    grown, axes = basis.seeing(new)
    assert len(axes) == grown.n_axes == basis.n_axes + 4
    assert grown.n_others == basis.n_others - 4 and grown.seeing(new) is None
    variance = np.random.default_rng(3).uniform(1, 2, (2, basis.n_axes))
    rows = np.vstack([new, inputs(3, seed=4)])
    before, after = basis.transform(rows) ** 2 @ variance.T, grown.transform(rows) ** 2 @ variance[:, axes].T
    np.testing.assert_allclose(after, before, rtol=1e-9)
    whole, axes = basis.with_every_axis()
    assert whole.n_others == 0 and whole.seeing(inputs(50, seed=5)) is None
    np.testing.assert_allclose(whole.transform(rows) ** 2 @ variance[:, axes].T, before, rtol=1e-9)
    mean = np.random.default_rng(6).standard_normal((2, whole.n_axes))
    mean[:, len(whole.offset) - 1] = 0
    coef, intercept, *_ = whole.to_inputs(mean, mean**2)
    np.testing.assert_allclose(rows @ coef.T + intercept, whole.transform(rows) @ mean.T, rtol=1e-7, atol=1e-7)


def data(seed=7):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((140, 15)) @ rng.standard_normal((15, 300)) + rng.standard_normal((140, 300))
    return X, X[:, :10].sum(1) + rng.standard_normal(140)


def test_an_estimator_predicts_as_it_says():
    X, y = data()
    model = EPSNNRegressor(random_state=0).fit(X[:100], y[:100])
    assert isinstance(model._progress.state.network.basis, SpanBasis)
    mean, sd = model.predict(X[100:], return_std=True)
    np.testing.assert_allclose(X[100:] @ model.coef_ + model.intercept_, mean, rtol=1e-8, atol=1e-8)
    draws = [model.freeze("sample", random_state=seed).predict(X[100:]) for seed in range(200)]
    spread = model.predict_uncertainty(X[100:]).epistemic
    np.testing.assert_allclose(np.var(draws, axis=0).mean(), spread.mean(), rtol=0.15)
    single = EPSNNRegressor(random_state=0).fit(X[:100].astype(np.float32), y[:100])
    np.testing.assert_allclose(single.predict(X[100:].astype(np.float32)), mean, rtol=1e-3, atol=0.02)


def test_a_stream_goes_on_outside_the_span():
    X, y = data(8)
    model = EPSNNRegressor(random_state=0).fit(X[:100], y[:100])
    before = np.mean((model.predict(X[100:]) - y[100:]) ** 2)
    model.partial_fit(X[100:], y[100:])
    assert np.mean((model.predict(X[100:]) - y[100:]) ** 2) < 0.5 * before
    assert model._progress.state.network.basis.n_others == 300 - 139
