"""The size of every column: what it is of, what it does not depend on, and what a basis makes of it."""

import numpy as np
import pytest
from scipy import sparse

from sk_epsnn.basis import fit_basis
from sk_epsnn.basis.scales import MOST_ROWS, column_scales

N = 400


def sizes(X, weight=None):
    return column_scales(X, np.ones(X.shape[0]) if weight is None else weight).size


def rare(rng, share, values, n=N):
    return np.where(rng.random(n) < share, values, 0.0)


def mixed(seed=0):
    """Columns of every kind."""
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [
            300 * rng.standard_normal(N),
            rng.exponential(0.01, N),
            rng.random(N) < 0.3,
            rng.random(N) < 0.02,
            rng.integers(1, 6, N),
            rare(rng, 0.1, rng.uniform(0, 1, N)),
            np.zeros(N),
            rng.standard_t(2, N),
        ]
    )


@pytest.mark.parametrize("sd", [1e-6, 1.0, 40.0, 1e7])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_normal_columns_have_their_standard_deviation(sd, offset):
    X = sd * (np.random.default_rng(1).standard_normal((1500, 3)) + offset)
    assert (np.abs(np.log2(sizes(X) / sd)) < 0.6).all()


@pytest.mark.parametrize("share", [0.005, 0.1, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("low, step", [(0.0, 1.0), (-1.0, 2.0), (3.0, 0.25)])
def test_binary_columns_have_half_their_step(share, low, step):
    """However rare one of the values is: the standard deviation that they would have if neither was."""
    X = low + step * (np.random.default_rng(2).random((N, 4)) < share)
    assert np.ptp(X, axis=0).all()
    X = np.column_stack([2 * X, -X])
    np.testing.assert_array_equal(sizes(X), [step] * 4 + [step / 2] * 4)


@pytest.mark.parametrize("share", [0.005, 0.1, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("low, step", [(-1.0, 2.0), (3.0, 0.25)])
def test_binary_columns_of_other_values_than_rates_have_it_too(share, low, step):
    X = low + step * (np.random.default_rng(2).random((N, 4)) < share)
    assert np.ptp(X, axis=0).all()
    np.testing.assert_array_equal(sizes(X), step / 2)


@pytest.mark.parametrize("law", ["exponential", "lognormal", "zeros", "integers", "beta"])
def test_columns_that_were_standardised_are_alike(law):
    """Skewed ones, counts and those half of which are zeros: what has been brought to one scale stays on it."""
    rng = np.random.default_rng(14)
    column = {
        "exponential": rng.exponential(size=N),
        "lognormal": rng.lognormal(0, 0.5, N),
        "zeros": np.where(rng.random(N) < 0.5, rng.uniform(90, 200, N), 0),
        "integers": rng.integers(0, 4, N),
        "beta": rng.beta(0.7, 0.7, N),
    }[law]
    X = np.column_stack([column, rng.standard_normal(N)])
    np.testing.assert_array_equal(sizes((X - X.mean(0)) / X.std(0)), 1)


@pytest.mark.parametrize("cell", [50.0, 1e4, -1e12])
def test_a_wild_cell_changes_nothing(cell):
    X = np.random.default_rng(3).standard_normal((N, 5))
    before = sizes(X)
    X[7, 2] = cell
    np.testing.assert_array_equal(sizes(X), before)


def test_rare_deviations_are_pulled_towards_their_kind():
    """A pixel that was next to black once is no reason to count it a hundredfold; wide columns have no say in it."""
    rng = np.random.default_rng(4)
    pixels = np.column_stack([rare(rng, 0.2, rng.uniform(0.5, 1, N)) for _ in range(20)])
    pixels[:, 0] = 0
    pixels[5, 0] = 0.004
    pixels[:, 1] = 0
    for other in (rng.standard_normal(N), 1e6 * rng.standard_normal(N)):
        size = sizes(np.column_stack([pixels, other]))
        assert set(size[2:20]) <= {0.25, 0.5}
        assert size[0] >= 0.125
        assert size[1] in (0.25, 0.5)


@pytest.mark.parametrize("share", [0.3, 0.45, 0.49, 0.51, 0.6, 0.9])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_rows_at_zero_are_no_deviations(share, form):
    """Pixels are lit in half of the rows more or less: the size is that of a lit one either way."""
    rng = np.random.default_rng(13)
    X = rare(rng, share, rng.beta(0.5, 0.5, N))[:, None] * np.ones(3)
    assert set(sizes(form(X))) <= {0.5, 1.0}


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_rates_have_the_unit_one(form):
    """A neuron that hardly fired in these rows fires like all others in rows where its feature has other values."""
    feature = np.concatenate([np.linspace(0, 1, 60), np.linspace(4, 5, 60)])[:, None]
    rates = np.exp(-0.5 * ((feature - np.linspace(0, 5, 21)) / 0.5) ** 2)
    assert rates[:, 10].max() < 0.02
    np.testing.assert_array_equal(sizes(form(rates), np.ones(120)), 1)
    np.testing.assert_array_equal(sizes(form(rates + 4e-16 * (rates == rates.max())), np.ones(120)), 1)
    for other in (2 * rates, rates - 0.5, 0.4 * rates):
        assert sizes(form(other), np.ones(120))[10] < 0.1


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("law", ["normal", "uniform", "cauchy"])
def test_a_wild_cell_before_scaling_to_the_unit_interval_does_not_hide_its_column(form, law):
    rng = np.random.default_rng(15)
    column = {"normal": rng.standard_normal, "uniform": rng.random, "cauchy": rng.standard_cauchy}[law](N)
    X = np.column_stack([column, rng.random((N, 4))])
    X[3, 0] = 1e6
    X = (X - X.min(0)) / np.ptp(X, axis=0)
    size = sizes(form(X))
    np.testing.assert_array_equal(size[1:], 1)
    assert 0.5 < size[0] / np.quantile(np.abs(X[:, 0] - np.median(X[:, 0])), 0.9) < 4


def test_columns_that_do_not_vary():
    rng = np.random.default_rng(5)
    X = np.column_stack([np.full(N, 5e5), np.zeros(N), 16 * rng.standard_normal(N)])
    np.testing.assert_array_equal(sizes(X), [2.0**19, 16, 16])
    np.testing.assert_array_equal(sizes(np.array([[8.0, 0.0, 8.0]])), 8)
    np.testing.assert_array_equal(sizes(np.zeros((3, 2))), 1)


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csr_matrix])
def test_sparse_columns_are_as_dense_ones(form):
    X = mixed()
    for dense in (X, X - 5, np.where(np.random.default_rng(6).random(X.shape) < 0.55, X - 1, 0)):
        one, other = (column_scales(rows, np.ones(N)) for rows in (dense, form(dense)))
        np.testing.assert_array_equal(other.size, one.size)
        np.testing.assert_array_equal(other.usual, one.usual)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_a_row_of_weight_two_is_the_row_twice(form):
    X, weight = mixed(7), np.random.default_rng(7).integers(0, 4, N)
    np.testing.assert_array_equal(sizes(form(X), weight.astype(float)), sizes(form(np.repeat(X, weight, axis=0))))


def test_units_come_out():
    X = mixed(8)
    units = 2.0 ** np.random.default_rng(8).integers(-20, 20, X.shape[1])
    units[[3, 5, 6]] = units[2]  # of one kind, or without values
    units[2] = units[3]
    np.testing.assert_array_equal(sizes(X * units)[[0, 1, 2, 3, 4, 7]], (sizes(X) * units)[[0, 1, 2, 3, 4, 7]])


def test_many_rows_are_looked_at_evenly():
    X = np.random.default_rng(9).standard_normal((5 * MOST_ROWS, 2))
    X[: 4 * MOST_ROWS] *= 100
    assert (sizes(X) == 64).all() or set(sizes(X)) <= {64.0, 128.0}


@pytest.mark.parametrize("dtype, size", [(np.float32, 1e-44), (np.float64, 1e-300), (np.float64, 1e150)])
def test_sizes_can_be_divided_by(dtype, size):
    X = (size * np.arange(1, 9)).astype(dtype)[:, None]
    with np.errstate(all="raise"):
        assert np.isfinite(X / sizes(X).astype(dtype)).all()


# What a basis makes of it


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("center", [False, True, None])
@pytest.mark.parametrize("constant", [False, True])
def test_coordinates_do_not_depend_on_units(rotate, center, constant):
    """Nor does the prior: a column in thousandths has weights a thousand times as wide."""
    rng = np.random.default_rng(10)
    X = rng.standard_normal((N, 4)) @ rng.standard_normal((4, 4)) + [1, 2, 0, -1]
    units = 2.0 ** np.array([-30, 0, 4, 17])
    options = {"rotate": rotate, "center": center, "constant": constant, "scaling": "each"}
    one, other = (fit_basis(rows, np.ones(N), **options) for rows in (X, X * units))
    np.testing.assert_allclose(other.transform(X * units), one.transform(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(other.second_moment, one.second_moment, rtol=1e-9)
    weights = rng.standard_normal((2, one.n_axes))
    coefs = [basis.to_inputs(weights, weights**2) for basis in (one, other)]
    np.testing.assert_allclose(coefs[1][0] * units, coefs[0][0], rtol=1e-9)
    np.testing.assert_allclose(coefs[1][2] * units**2, coefs[0][2], rtol=1e-9)
    np.testing.assert_allclose(coefs[1][1], coefs[0][1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rotate", [False, True])
def test_priors_do_not_see_a_wild_cell(rotate):
    """Neither does the origin: it stays where the values are."""
    X = np.random.default_rng(11).standard_normal((N, 5))
    options = {"rotate": rotate, "center": True, "constant": True, "scaling": "each"}
    plain = fit_basis(X, np.ones(N), **options)
    X[3, 1] = 1e6
    wild = fit_basis(X, np.ones(N), **options)
    variances = [basis.prior_variances(None, 0.0, 4.0, 0.1) for basis in (plain, wild)]
    # Turned, the wild cell has an axis of its own, at most as long as all columns together.
    assert (np.abs(np.log(variances[1] / variances[0])) < np.log(3 if not rotate else 5)).all()
    rows = np.zeros((1, 5))
    assert np.abs(wild.transform(rows)[0, :5]).max() < 5


def test_spikes_come_out_as_they_are():
    X = (np.random.default_rng(12).random((N, 30)) < 0.03).astype(float)
    basis = fit_basis(X, np.ones(N), rotate=False, center=None, constant=False, scaling="each")
    np.testing.assert_array_equal(basis.transform(X), X)
