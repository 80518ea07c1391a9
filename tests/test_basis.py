"""The input basis read back in the space of the inputs, its prior there, and what it must not depend on."""

from itertools import product

import numpy as np
import pytest
from scipy import sparse

from sk_epsnn.basis import OFFSET_LIMIT, fit_basis

COMBINATIONS = list(product([False, True], [False, True, None], [False, True]))
EVERY = pytest.mark.parametrize("rotate, center, constant", COMBINATIONS)
N, N_FEATURES = 60, 5


def inputs(seed=0, offset=1.0):
    """Correlated columns of different size, away from the origin."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, N_FEATURES)) @ rng.standard_normal((N_FEATURES, N_FEATURES)) * 3 + offset


def basis_of(X, rotate, center, constant, sample_weight=None):
    weight = np.ones(X.shape[0], X.dtype) if sample_weight is None else sample_weight
    return fit_basis(X, weight, rotate=rotate, center=center, constant=constant)


def affine_map(basis):
    """Matrix A with raw weights and bias ``(w, b) = A w'``, from the images of the unit vectors."""
    unit = np.eye(basis.n_axes)
    coef, intercept, _, _ = basis.to_inputs(unit, np.zeros_like(unit))
    return np.hstack([coef, intercept[:, None]]).T


def assert_same(one, other, rtol=1e-9):
    """Equal bases; vectors of (nearly) equal moments would be free to turn, so the data must not have them."""
    assert one.constant == other.constant
    np.testing.assert_array_equal(one.scale, other.scale)
    assert (one.rotation is None) == (other.rotation is None)
    names = ["offset", "second_moment", "mean"] + ["rotation"] * (one.rotation is not None)
    for name in names:
        a, b = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(np.abs(b).max(), 1), err_msg=name)
    np.testing.assert_array_equal(one.varies, other.varies)


# The map


@EVERY
def test_potentials_are_the_same_in_both_spaces(rotate, center, constant):
    X = inputs()
    basis = basis_of(X, rotate, center, constant)
    rng = np.random.default_rng(1)
    mean = rng.standard_normal((3, basis.n_axes))
    coef, intercept, _, _ = basis.to_inputs(mean, np.ones_like(mean))
    x = basis.transform(X)
    assert x.shape == (N, basis.n_axes)
    np.testing.assert_allclose(x @ mean.T, X @ coef.T + intercept, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("rotate", "center"), [(False, False), (False, True), (True, True)])
def test_weights_come_back_from_the_space_of_the_inputs(rotate, center):
    """Means always, variances where these are the marginals of few axes."""
    basis = basis_of(inputs(), rotate, center, constant=True)
    rng = np.random.default_rng(3)
    mean = rng.standard_normal((3, basis.n_axes))
    found, _ = basis.from_inputs(*basis.to_inputs(mean, np.ones_like(mean)))
    np.testing.assert_allclose(found, mean, rtol=1e-9, atol=1e-9)
    if not rotate:
        variance = rng.uniform(0.5, 2, mean.shape)
        _, found = basis.from_inputs(*basis.to_inputs(mean, variance))
        np.testing.assert_allclose(found, variance, rtol=1e-9)


@EVERY
@pytest.mark.parametrize("joint", [False, True])
def test_variances_in_the_space_of_the_inputs(rotate, center, constant, joint):
    basis = basis_of(inputs(), rotate, center, constant)
    rng = np.random.default_rng(2)
    root = rng.standard_normal((2, basis.n_axes, basis.n_axes))
    full = (
        root @ root.swapaxes(1, 2) if joint else np.stack([np.diag(row) for row in rng.uniform(1, 2, root.shape[:2])])
    )
    covariance = full if joint else np.diagonal(full, axis1=1, axis2=2)
    _, _, coef_variance, intercept_variance = basis.to_inputs(np.zeros(root.shape[:2]), covariance)
    to_raw = affine_map(basis)
    raw = np.diagonal(to_raw @ full @ to_raw.T, axis1=1, axis2=2)
    np.testing.assert_allclose(coef_variance, raw[:, :-1], rtol=1e-10)
    np.testing.assert_allclose(intercept_variance, raw[:, -1], rtol=1e-10)


@EVERY
def test_what_the_basis_says_of_the_data(rotate, center, constant):
    """Mean and mean square of x', the latter shrunk by one sample's worth."""
    X = inputs()
    basis = basis_of(X, rotate, center, constant)
    x = basis.transform(X)[:, : len(basis.offset)]
    np.testing.assert_allclose(basis.mean, x.mean(0), rtol=0, atol=1e-12)
    moment = (x**2).mean(0)
    np.testing.assert_allclose(basis.second_moment, (N * moment + moment.mean()) / (N + 1), rtol=1e-9)
    assert basis.varies.all()
    if rotate:
        np.testing.assert_allclose((x.T @ x / N)[~np.eye(x.shape[1], dtype=bool)], 0, rtol=0, atol=1e-9)
        assert (np.diff(basis.second_moment) <= 0).all()
    np.testing.assert_array_equal(np.log2(basis.scale), np.round(np.log2(basis.scale)))


@pytest.mark.parametrize("rotate, constant", list(product([False, True], repeat=2)))
@pytest.mark.parametrize("sparseness", [False, True])
def test_center_removes_the_offset(rotate, constant, sparseness):
    X = inputs(offset=100.0)
    basis = basis_of(X, rotate, True, constant)
    x = basis.transform(sparse.csr_array(X) if sparseness else X)[:, :N_FEATURES]
    np.testing.assert_allclose(x.mean(0), 0, rtol=0, atol=1e-11)
    np.testing.assert_allclose(basis.mean, 0, rtol=0, atol=1e-11)


@pytest.mark.parametrize("rotate, constant", list(product([False, True], repeat=2)))
def test_center_left_open_follows_the_offset(rotate, constant):
    X = inputs(offset=0.0)
    X = X - X.mean(0)
    size = np.sqrt(OFFSET_LIMIT * X.var(0).sum() / N_FEATURES)
    for factor, center in ((0.9, False), (1.1, True)):
        moved = X + factor * size
        # Of a size at which the constant is 1 either way.
        moved = moved / basis_of(moved, False, False, False).scale
        assert_same(basis_of(moved, rotate, None, constant), basis_of(moved, rotate, center, constant))


@pytest.mark.parametrize("rotate, constant", list(product([False, True], repeat=2)))
@pytest.mark.parametrize("unit", [2.0**-40, 2.0**-3, 2.0**30])
def test_center_left_open_does_not_depend_on_the_unit(rotate, constant, unit):
    """Neither the rows that the network sees nor anything that a prior is made from."""
    X = inputs()
    one, other = basis_of(X, rotate, None, constant), basis_of(unit * X, rotate, None, constant)
    np.testing.assert_array_equal(other.scale, unit * one.scale)
    np.testing.assert_allclose(other.transform(unit * X), one.transform(X), rtol=0, atol=1e-10)
    for name in ("second_moment", "mean", "varies"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_balance_of_an_open_center(rotate, size):
    """Every potential moves by the same amount, also where the constant is as large as the inputs."""
    X = size * inputs(offset=2.0)
    basis = basis_of(X, rotate, None, True)
    before = np.random.default_rng(3).standard_normal((4, basis.n_axes))
    moved = basis.transform(X) @ (basis.balance(before) - before).T
    np.testing.assert_allclose(moved, moved[:1].repeat(N, 0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("rotate, center", list(product([False, True], repeat=2)))
def test_balance(rotate, center):
    """Every potential moves by the same amount, so that its average over the data is the unit's own bias."""
    X = inputs(offset=2.0)
    basis = basis_of(X, rotate, center, True)
    before = np.random.default_rng(3).standard_normal((4, basis.n_axes))
    after = basis.balance(before)
    potential, moved = (basis.transform(X) @ m.T for m in (before, after))
    np.testing.assert_allclose(moved - potential, (moved - potential)[:1].repeat(N, 0), rtol=0, atol=1e-10)
    own_bias = before[:, -1] if basis.constant else basis.transform(np.zeros((1, N_FEATURES)))[0] @ before.T
    np.testing.assert_allclose(moved.mean(0), own_bias, rtol=0, atol=1e-9)


# The prior


@pytest.mark.parametrize("rotate, constant", list(product([False, True], repeat=2)))
@pytest.mark.parametrize("value", [0.3, 20.0])
def test_isotropic_prior_of_given_size(rotate, constant, value):
    """Without centring, exponent 0 means exactly N(0, value I) on the weights and the bias of the inputs."""
    basis = basis_of(inputs(), rotate, False, constant)
    variances = basis.prior_variances(value, 0.0, 5.0, 0.1)
    to_raw = affine_map(basis)
    expected = value * np.eye(N_FEATURES + 1)
    if not constant:
        expected[-1, -1] = 0
    np.testing.assert_allclose((to_raw * variances) @ to_raw.T, expected, rtol=1e-10, atol=1e-10 * value)


@pytest.mark.parametrize("rotate, constant", list(product([False, True], repeat=2)))
def test_isotropic_prior_is_on_the_weights_when_centred(rotate, constant):
    """Centring puts the bias where the data are: the weights keep their prior."""
    basis = basis_of(inputs(), rotate, True, constant)
    to_raw = affine_map(basis)
    raw = (to_raw * basis.prior_variances(0.7, 0.0, 5.0, 0.1)) @ to_raw.T
    np.testing.assert_allclose(raw[:-1, :-1], 0.7 * np.eye(N_FEATURES), rtol=1e-10, atol=1e-10)


@EVERY
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_automatic_prior_has_the_potential_variance_asked_for(rotate, center, constant, exponent):
    """Averaged over the data. Shrinking the spectrum by one sample's worth leaves exponent 0 exact, others to 3/N."""
    X = inputs()
    basis = basis_of(X, rotate, center, constant)
    bias_share = 0.2 if basis.constant else 0.0
    variances = basis.prior_variances(None, exponent, 5.0, bias_share)
    assert variances.shape == (basis.n_axes,)
    average = (basis.transform(X) ** 2 @ variances).mean()
    np.testing.assert_allclose(average, 5.0, rtol=1e-10 if exponent == 0 else 3 / N)
    if basis.constant:
        np.testing.assert_allclose(variances[-1], 5.0 * bias_share, rtol=1e-12)


@pytest.mark.parametrize("constant", [False, True])
def test_automatic_prior_without_an_explicit_constant(constant):
    """No share may be lost on a bias that is not there, or that took part in the rotation of ``[x, 1]``."""
    X = inputs()
    basis = basis_of(X, True, False, constant)
    assert not basis.constant
    average = (basis.transform(X) ** 2 @ basis.prior_variances(None, 0.0, 5.0, 0.2)).mean()
    np.testing.assert_allclose(average, 5.0, rtol=1e-10)


@pytest.mark.parametrize("value", [None, 0.5])
def test_spectral_exponent(value):
    """Variances follow a power of the second moment; the variance of a potential does not depend on the power."""
    basis = basis_of(inputs(), True, True, True)
    isotropic = basis.prior_variances(value, 0.0, 5.0, 0.1)
    for exponent in (0.5, 1.0):
        variances = basis.prior_variances(value, exponent, 5.0, 0.1)
        ratio = variances[:-1] / basis.second_moment**exponent
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
        totals = [(v[:-1] * basis.second_moment).sum() for v in (variances, isotropic)]
        np.testing.assert_allclose(totals[0], totals[1], rtol=1e-12)
        np.testing.assert_allclose(variances[-1], isotropic[-1], rtol=1e-15)


@pytest.mark.parametrize("floor", [0.1, 2.0])
def test_spectral_floor(floor):
    """No axis has less than the floor's share of the variance that an average one has; potentials have the same."""
    basis = basis_of(inputs(), True, True, True)
    moment = basis.second_moment / basis.second_moment.mean()
    variances = basis.prior_variances(None, 1.0, 5.0, 0.1, floor)[:-1]
    ratio = variances / (moment + floor)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    assert variances.min() > ratio[0] * floor
    plain = basis.prior_variances(None, 1.0, 5.0, 0.1)[:-1]
    np.testing.assert_allclose(variances @ basis.second_moment, plain @ basis.second_moment, rtol=1e-12)


# What it must not depend on


@EVERY
def test_sparse_equals_dense(rotate, center, constant):
    X = inputs()
    X[np.random.default_rng(4).random(X.shape) < 0.6] = 0
    rows = sparse.csr_array(X)
    one, other = basis_of(X, rotate, center, constant), basis_of(rows, rotate, center, constant)
    assert_same(one, other)
    np.testing.assert_allclose(other.transform(rows), one.transform(X), rtol=1e-9, atol=1e-9)
    assert isinstance(other.transform(rows), np.ndarray)


@EVERY
def test_integer_weights_equal_repeated_rows(rotate, center, constant):
    X = inputs()
    weight = np.random.default_rng(5).integers(0, 4, N).astype(float)
    weighted = basis_of(X, rotate, center, constant, weight)
    assert_same(weighted, basis_of(np.repeat(X, weight.astype(int), axis=0), rotate, center, constant))


@EVERY
def test_signs_do_not_depend_on_the_order_of_the_rows(rotate, center, constant):
    X = inputs()
    order = np.random.default_rng(6).permutation(N)
    assert_same(basis_of(X[order], rotate, center, constant), basis_of(X, rotate, center, constant))
    basis = basis_of(X, rotate, center, constant)
    if rotate:
        vectors = basis.rotation
        if constant and not basis.constant:
            # The offset is the constant times its share in each axis, and the shares make a unit vector.
            vectors = np.vstack([vectors, basis.offset / np.linalg.norm(basis.offset) / basis.scale[0]])
        largest = np.abs(vectors).argmax(0)
        assert (vectors[largest, np.arange(vectors.shape[1])] > 0).all()


@EVERY
def test_more_rows_than_a_chunk(rotate, center, constant):
    """Moments are summed over chunks of rows: the same rows ten thousand strong change nothing but the shrinkage."""
    X = np.repeat(inputs(), 100, axis=0)
    few, many = (basis_of(x, rotate, center, constant) for x in (inputs(), X))
    np.testing.assert_array_equal(few.scale, many.scale)
    np.testing.assert_allclose(many.mean, few.mean, rtol=0, atol=1e-9)
    x = few.transform(inputs())[:, : len(few.offset)]
    moment = (x**2).mean(0)
    np.testing.assert_allclose(many.second_moment, (100 * N * moment + moment.mean()) / (100 * N + 1), rtol=1e-9)


@EVERY
@pytest.mark.parametrize("sparseness", [False, True])
def test_float32_is_kept(rotate, center, constant, sparseness):
    X = inputs().astype(np.float32)
    rows = sparse.csr_array(X) if sparseness else X
    basis = basis_of(rows, rotate, center, constant)
    x = basis.transform(rows)
    assert x.dtype == np.float32
    # What is estimated stays in double precision.
    assert basis.second_moment.dtype == basis.offset.dtype == np.float64
    double = basis_of(X.astype(float), rotate, center, constant)
    assert_same(basis, double, rtol=1e-6)
    np.testing.assert_allclose(x, double.transform(X.astype(float)), rtol=0, atol=1e-5)


# Degenerate data


def check_usable(basis, X):
    x = basis.transform(X)
    assert np.isfinite(x).all()
    assert (basis.scale > 0).all()
    for variances in (basis.prior_variances(1.0, 0.0, 5.0, 0.1), basis.prior_variances(None, 0.5, 5.0, 0.1)):
        assert np.isfinite(variances).all()
        assert (variances > 0).all()
    mean = np.ones((2, basis.n_axes))
    coef, intercept, *spread = basis.to_inputs(mean, np.ones_like(mean))
    assert all(np.isfinite(part).all() for part in (coef, intercept, *spread, basis.balance(mean)))
    size = np.abs(X).max() * np.abs(coef).max() + np.abs(intercept).max()
    np.testing.assert_allclose(x @ mean.T, X @ coef.T + intercept, rtol=1e-9, atol=1e-10 * size)


@EVERY
def test_single_row(rotate, center, constant):
    X = inputs()[:1]
    check_usable(basis_of(X, rotate, center, constant), X)


@EVERY
def test_all_zero(rotate, center, constant):
    X = np.zeros((7, 3))
    check_usable(basis_of(X, rotate, center, constant), X)


@pytest.mark.parametrize("scaling", ["all", "each"])
@pytest.mark.parametrize("n_rows", [3, 7, 20])
@EVERY
def test_equal_rows_have_no_spread(rotate, center, constant, n_rows, scaling):
    """Means of equal numbers are rounded; nothing is to be scaled to that."""
    row = np.array([[0.1, 1e4 + 1 / 3, -0.7e-3]])
    options = dict(rotate=rotate, center=center, constant=constant, scaling=scaling)
    single, several = (fit_basis(np.repeat(row, n, 0), np.full(n, 0.3), **options) for n in (1, n_rows))
    np.testing.assert_allclose(several.transform(row), single.transform(row), rtol=1e-12, atol=1e-12)
    variances = [basis.prior_variances(None, 0.0, 5.0, 0.1) for basis in (single, several)]
    if center:
        np.testing.assert_array_equal(*variances)
    assert variances[1].max() < 1e12
    stored = fit_basis(sparse.csr_array(np.repeat(row, n_rows, 0)), np.full(n_rows, 0.3), **options)
    np.testing.assert_allclose(stored.prior_variances(None, 0.0, 5.0, 0.1), variances[1], rtol=1e-9)


@EVERY
def test_single_feature(rotate, center, constant):
    X = inputs()[:, :1]
    check_usable(basis_of(X, rotate, center, constant), X)


@EVERY
@pytest.mark.parametrize("level", [0.0, 3.0])
def test_constant_columns(rotate, center, constant, level):
    X = inputs()
    X[:, 1] = level
    basis = basis_of(X, rotate, center, constant)
    check_usable(basis, X)
    if rotate or level == 0 or center:
        # With a constant column of 3, [x, 1] as a whole lies in one dimension less, too.
        flat = level == 0 or bool(center) or constant
        assert (~basis.varies).sum() == flat
    else:
        assert basis.varies.all()


@EVERY
@pytest.mark.parametrize("size", [1e-100, 1e-8, 1e8, 1e100])
def test_scale(rotate, center, constant, size):
    X = size * inputs()
    basis = basis_of(X, rotate, center, constant)
    x = basis.transform(X)
    assert np.isfinite(x).all()
    assert np.isfinite(basis.second_moment).all()
    assert (basis.second_moment > 0).all()
    if center or not constant or not rotate:  # otherwise the constant, of size 1, takes part in the rotation
        moment = (x[:, :N_FEATURES] ** 2).mean()
        assert 0.4 < moment < 2.1


# Inputs as they are


def unscaled(X, rotate, center, constant):
    return fit_basis(X, np.ones(len(X)), rotate=rotate, center=center, constant=constant, scaling="none")


@EVERY
@pytest.mark.parametrize("size", [1e-3, 37.0])
def test_without_rescaling_the_map_is_a_rotation(rotate, center, constant, size):
    """Distances between rows are those of the inputs; not rotated, the rows are the inputs themselves."""
    X = size * inputs()
    basis = unscaled(X, rotate, center, constant)
    assert (basis.scale == 1).all()
    x = basis.transform(X)
    distances, expected = (np.linalg.norm(rows[:, None] - rows, axis=2) for rows in (x, X))
    np.testing.assert_allclose(distances, expected, rtol=1e-9, atol=1e-9 * size)
    if not rotate:
        shift = X.mean(0) if center else 0  # left open, these inputs are not centred
        np.testing.assert_allclose(x[:, :N_FEATURES], X - shift, rtol=1e-12, atol=1e-12 * size)
        if not center:
            np.testing.assert_array_equal(x[:, :N_FEATURES], X)


@EVERY
def test_without_rescaling_it_says_the_same_of_the_data(rotate, center, constant):
    X = inputs()
    basis = unscaled(X, rotate, center, constant)
    x = basis.transform(X)[:, : len(basis.offset)]
    moment = (x**2).mean(0)
    np.testing.assert_allclose(basis.mean, x.mean(0), rtol=0, atol=1e-11)
    np.testing.assert_allclose(basis.second_moment, (N * moment + moment.mean()) / (N + 1), rtol=1e-9)
    mean = np.random.default_rng(7).standard_normal((3, basis.n_axes))
    coef, intercept, _, _ = basis.to_inputs(mean, np.ones_like(mean))
    np.testing.assert_allclose(basis.transform(X) @ mean.T, X @ coef.T + intercept, rtol=1e-10, atol=1e-9)
    if not rotate:  # a weight on a level is the weight of its input
        np.testing.assert_allclose(coef, mean[:, :N_FEATURES], rtol=1e-15)


@EVERY
def test_without_rescaling_the_model_is_the_same(rotate, center, constant):
    """Priors and balanced weights, read back in the space of the inputs, do not depend on the scale."""
    X = inputs()
    scaled, plain = basis_of(X, rotate, center, constant), unscaled(X, rotate, center, constant)
    assert (scaled.scale != 1).all()
    for value in (0.3, None):
        priors = [(affine_map(b) * b.prior_variances(value, 0.5, 5.0, 0.1)) @ affine_map(b).T for b in (scaled, plain)]
        np.testing.assert_allclose(priors[1], priors[0], rtol=1e-8, atol=1e-9 * np.abs(priors[0]).max())
    if constant:
        weights = np.random.default_rng(8).standard_normal((2, plain.n_axes))
        same = np.linalg.solve(affine_map(scaled), affine_map(plain) @ weights.T).T
        balanced = [affine_map(b) @ b.balance(w).T for b, w in ((scaled, same), (plain, weights))]
        np.testing.assert_allclose(balanced[1], balanced[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("as_input", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_spikes_in_single_precision_lose_nothing(rotate, center, as_input):
    """Sums over spikes are exact in any dtype; only the scale, a matter of units, is 1."""
    rng = np.random.default_rng(0)
    X = (rng.random((9000, 12)) < rng.random(12)).astype(np.float64)
    weight = rng.integers(1, 4, size=9000).astype(np.float64)
    options = {"rotate": rotate, "center": center, "constant": True}
    plain = fit_basis(X, weight, **options)
    spikes = fit_basis(as_input(X.astype(np.float32)), weight, **options, spikes=True)
    assert (spikes.scale == 1).all()
    ratio = plain.scale[0]
    np.testing.assert_allclose(spikes.second_moment, plain.second_moment * ratio**2, rtol=1e-10)
    np.testing.assert_allclose(np.abs(spikes.mean), np.abs(plain.mean) * ratio, rtol=1e-8, atol=1e-10)
    if rotate:
        np.testing.assert_allclose(spikes.rotation, plain.rotation * ratio, rtol=1e-6, atol=1e-8)
