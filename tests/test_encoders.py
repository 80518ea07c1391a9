"""Tests of the encoders: tuning curves and hash against scalar oracles, spike statistics, scikit-learn contract."""

import doctest
import math
import pickle
import struct
import tracemalloc
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import chisquare
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_regression
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags
from versions import parametrize_with_checks

from sk_epsnn.encoders import (
    DeltaSpikeEncoder,
    LatencySpikeEncoder,
    PatchSpikeEncoder,
    PopulationEncoder,
    RateSpikeEncoder,
    _hash,
    _population,
    _rate,
    _row,
)

CONFIGURATIONS = [
    PopulationEncoder(),
    PopulationEncoder(n_neurons=7, output="rates"),
    PopulationEncoder(n_neurons=1, tuning="gaussian", output="rates"),
    PopulationEncoder(n_neurons=5, tuning="gaussian", width=0.3, feature_range=(-1.0, 2.0)),
    RateSpikeEncoder(),
    RateSpikeEncoder(n_steps=3),
    RateSpikeEncoder(feature_range=(-1, 1), random_state=3),
    DeltaSpikeEncoder(),
    DeltaSpikeEncoder(threshold=0.5),
    PatchSpikeEncoder(n_channels=4, kernel_size=2, pool_size=2),
    PatchSpikeEncoder(n_channels=4, kernel_size=2, output="spikes"),
]
# Their results have three axes: no data frame holds them, and the second axis is not that of the names.
WITH_STEPS = [
    RateSpikeEncoder(n_steps=3, layout="steps"),
    LatencySpikeEncoder(),
    LatencySpikeEncoder(n_steps=4, tau=2.0, threshold=0.3, feature_range=(-1, 1)),
]
EXTRA_CHECKS = [
    "check_param_validation",
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
    "check_get_feature_names_out_error",
]
FRAME_CHECKS = [
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
]
SPIKING = [
    PopulationEncoder(n_neurons=9, random_state=0),
    PopulationEncoder(n_neurons=4, tuning="gaussian", random_state=0),
    RateSpikeEncoder(random_state=0),
    RateSpikeEncoder(n_steps=3, random_state=0),
]
EVERY = [*SPIKING, PopulationEncoder(n_neurons=6, output="rates")]
MASK = 2**64 - 1
# Five standard deviations: a correct code fails such a bound once in two million.
N_SIGMA = 5.0


def assert_close(actual, expected, *, rtol=0.0, atol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def data(n_samples=40, n_features=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n_samples, n_features)) * 2.0 + 1.0


def half_rate_rows(n_samples, n_features=1, seed=0):
    """Return distinct rows whose rate under `feature_range=(-1e9, 1e9)` is one half to 1e-9."""
    return np.random.default_rng(seed).normal(size=(n_samples, n_features))


def correlations(columns):
    """Return the correlations of all pairs of columns times sqrt(n), standard normal if they are independent."""
    matrix = np.corrcoef(columns, rowvar=False)
    return matrix[np.triu_indices(matrix.shape[1], k=1)] * math.sqrt(len(columns))


# Scalar oracles, written from the definitions in plain Python.


def scalar_splitmix(word):
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def scalar_uniform(row, seed, column, step=0):
    golden, per_step = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95
    total = scalar_splitmix(seed) + scalar_splitmix(step * per_step & MASK)
    for index, value in enumerate(row):
        (bits,) = struct.unpack("<Q", struct.pack("<d", value))
        total += scalar_splitmix((bits + (index + 1) * golden) & MASK)
    key = scalar_splitmix(total & MASK)
    return (scalar_splitmix((key + (column + 1) * golden) & MASK) >> 11) * 2.0**-53


def scalar_rate(value, low, high, center, width, tuning):
    distance = abs(min(max(value, low), high) - center)
    if tuning == "gaussian":
        return math.exp(-(distance**2) / (2 * width**2))
    return 0.5 * (1 + math.cos(math.pi * distance / width)) if distance < width else 0.0


# The scikit-learn contract.


@parametrize_with_checks([*CONFIGURATIONS, *WITH_STEPS])
def test_common_checks(estimator, check):
    check(estimator)


# The checks of set_output fit on arrays and transform data frames, and the other way round, on purpose.
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names:UserWarning")
@pytest.mark.parametrize(
    ("encoder", "check"),
    [
        *product(CONFIGURATIONS, [*EXTRA_CHECKS, *FRAME_CHECKS]),
        *product(WITH_STEPS, EXTRA_CHECKS),
    ],
    ids=str,
)
def test_checks_called_by_hand(encoder, check):
    getattr(estimator_checks, check)(type(encoder).__name__, clone(encoder))


@pytest.mark.parametrize("module", [_population, _rate], ids=["population", "rate"])
def test_docstring_examples(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted >= 5
    assert outcome.failed == 0


@pytest.mark.parametrize("encoder", [PopulationEncoder, RateSpikeEncoder, LatencySpikeEncoder, DeltaSpikeEncoder])
def test_first_docstring_line_says_what_comes_out(encoder):
    assert "spikes (0 or 1)" in encoder.__doc__.splitlines()[0]


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_clone_and_pickle(encoder):
    X = data()
    fitted = clone(encoder).fit(X)
    expected = fitted.transform(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X), expected)
    np.testing.assert_array_equal(clone(fitted).fit(X).transform(X), expected)


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_transform_leaves_the_object_unchanged(encoder):
    X = data()
    fitted = clone(encoder).fit(X)
    before = pickle.dumps(vars(fitted))
    fitted.transform(X)
    fitted.get_feature_names_out()
    fitted._repr_html_inner()
    assert pickle.dumps(vars(fitted)) == before


def test_init_stores_parameters_untouched():
    width, limits, state = [1, 2], (0, 1), np.random.RandomState(0)
    encoder = PopulationEncoder(width=width, feature_range=limits, random_state=state)
    assert encoder.width is width
    assert encoder.feature_range is limits
    assert encoder.random_state is state


def test_feature_names_out():
    X = pd.DataFrame(data(n_features=2), columns=["a", "b"])
    population = PopulationEncoder(n_neurons=2).fit(X)
    assert list(population.get_feature_names_out()) == ["a_n0", "a_n1", "b_n0", "b_n1"]
    rate = RateSpikeEncoder(n_steps=2).fit(X)
    assert list(rate.get_feature_names_out()) == ["a_t0", "a_t1", "b_t0", "b_t1"]
    assert list(RateSpikeEncoder().fit(X).get_feature_names_out()) == ["a", "b"]
    assert list(RateSpikeEncoder().fit(X.to_numpy()).get_feature_names_out(["p", "q"])) == ["p", "q"]
    assert population.n_features_in_ == 2
    assert list(population.feature_names_in_) == ["a", "b"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_set_output(encoder, library):
    X = data()
    fitted = clone(encoder).fit(X)
    plain = fitted.transform(X)
    frame = fitted.set_output(transform=library).transform(X)
    assert type(frame).__module__.split(".")[0] == library
    assert list(frame.columns) == list(fitted.get_feature_names_out())
    np.testing.assert_array_equal(frame.to_numpy(), plain)


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(np.float32, np.float32), (np.float64, np.float64), (np.int32, np.float64), (np.uint8, np.float64)],
)
def test_dtype(encoder, dtype, expected):
    X = np.abs(data() * 10).astype(dtype)
    assert clone(encoder).fit(X).transform(X).dtype == expected
    assert get_tags(encoder).transformer_tags.preserves_dtype == ["float64", "float32"]


def test_grid_search_over_the_number_of_neurons():
    X, y = make_regression(n_samples=60, n_features=2, random_state=0)
    pipeline = make_pipeline(PopulationEncoder(output="rates", out_of_range="clip"), Ridge())
    search = GridSearchCV(pipeline, {"populationencoder__n_neurons": [1, 20]}, cv=3).fit(X, y)
    assert search.best_params_ == {"populationencoder__n_neurons": 20}
    assert search.best_score_ > 0.9
    assert len(search.best_estimator_[:-1].get_feature_names_out()) == 40


def test_column_transformer_gives_one_range_a_feature():
    X = np.array([[0.0, 0.0], [1.0, 5.0], [2.0, 10.0]])
    columns = ColumnTransformer(
        [
            ("a", PopulationEncoder(n_neurons=3, feature_range=(0, 2), output="rates"), [0]),
            ("b", PopulationEncoder(n_neurons=3, feature_range=(0, 10), output="rates"), [1]),
        ]
    )
    assert_close(columns.fit_transform(X), np.tile(np.eye(3), 2))


def test_spikes_can_be_classified():
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(loc=[0, 0], size=(60, 2)), rng.normal(loc=[4, 4], size=(60, 2))])
    y = np.repeat([0, 1], 60)
    population = PopulationEncoder(n_neurons=20, out_of_range="clip", random_state=0)
    for encoder in (population, RateSpikeEncoder(n_steps=20, random_state=0)):
        model = make_pipeline(encoder, LogisticRegression()).fit(X[::2], y[::2])
        assert model.score(X[1::2], y[1::2]) > 0.9


# Rates.


@pytest.mark.parametrize("tuning", ["raised_cosine", "gaussian"])
@pytest.mark.parametrize("width", ["auto", 0.7, [0.2, 3.0, 1e-3]])
@pytest.mark.parametrize("feature_range", ["auto", (-1.5, 2.0)])
@pytest.mark.parametrize("n_neurons", [1, 2, 7])
def test_tuning_curves_match_a_scalar_oracle(tuning, width, feature_range, n_neurons):
    X = data(n_samples=12)
    encoder = PopulationEncoder(n_neurons, tuning=tuning, width=width, feature_range=feature_range, output="rates")
    rates = encoder.fit(X[:8]).transform(X).reshape(12, 3, n_neurons)
    for j in range(3):
        low, high = (X[:8, j].min(), X[:8, j].max()) if feature_range == "auto" else feature_range
        sd = 1 if tuning == "raised_cosine" else 1 / (2 * math.sqrt(2 * math.log(2)))
        w = 0.24 * (high - low) * sd if width == "auto" else np.broadcast_to(width, 3)[j]
        assert_close(encoder.widths_[j], w, rtol=1e-14)
        for k in range(n_neurons):
            center = low + (high - low) * k / (n_neurons - 1) if n_neurons > 1 else (low + high) / 2
            expected = [scalar_rate(value, low, high, center, w, tuning) for value in X[:, j]]
            assert_close(encoder.centers_[j, k], center, atol=1e-14)
            # The narrow curves amplify the rounding of the centres: their slope is about 1 / width.
            assert_close(rates[:, j, k], expected, atol=1e-14 * max(1.0, 10.0 / w))


def test_automatic_widths_agree_at_half_height():
    half_height = 0.12
    X = np.array([[0.0], [half_height], [1.0]])
    for tuning in ("raised_cosine", "gaussian"):
        rates = PopulationEncoder(2, tuning=tuning, output="rates").fit_transform(X)
        assert_close(rates[:2, 0], [1.0, 0.5])


def test_raised_cosine_is_exactly_zero_from_the_width_on():
    X = np.array([[0.0], [1.0], [1.0 + 1e-9], [4.0]])
    rates = PopulationEncoder(2, width=1.0, output="rates").fit_transform(X)
    assert np.all(rates[1:, 0] == 0.0)
    assert rates[0, 0] == 1.0


@pytest.mark.parametrize("limits", [(0.1, 0.7), (-3.0, 1e9), (1e-12, 1e12)])
def test_end_centres_are_exact(limits):
    encoder = PopulationEncoder(11, feature_range=limits).fit([[0.0]])
    assert (encoder.centers_[0, 0], encoder.centers_[0, -1]) == limits
    assert_close(encoder.centers_[0], np.linspace(*limits, 11), rtol=1e-14)


def test_rate_is_linear_and_clipped():
    X = np.linspace(-1.0, 2.0, 13).reshape(-1, 1)
    encoder = RateSpikeEncoder(feature_range=(0, 1), n_steps=4000, random_state=0)
    frequency = encoder.fit(X).transform(X).mean(axis=1)
    rate = np.array([min(max(value, 0.0), 1.0) for value in X[:, 0]])
    assert np.all(np.abs(frequency - rate) <= N_SIGMA * np.sqrt(rate * (1 - rate) / 4000))


def test_steps_of_one_feature_are_together():
    encoder = RateSpikeEncoder(feature_range=(0, 1), n_steps=3).fit([[0.0, 1.0]])
    np.testing.assert_array_equal(encoder.transform([[0.0, 1.0]]), [[0, 0, 0, 1, 1, 1]])


def test_rate_range_is_found_in_fit():
    X = data()
    encoder = RateSpikeEncoder().fit(X)
    np.testing.assert_array_equal(encoder.feature_min_, X.min(axis=0))
    np.testing.assert_array_equal(encoder.feature_max_, X.max(axis=0))
    assert_close(encoder._rates(X), (X - X.min(axis=0)) / (X.max(axis=0) - X.min(axis=0)), atol=1e-15)


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_values_outside_the_range_get_the_rates_of_its_ends(encoder):
    X = data(n_features=1)
    fitted = clone(encoder).fit(X)
    ends = np.array([[X.min()], [X.max()]])
    far = np.clip(np.array([[-1e300], [1e300]]), fitted.feature_min_, fitted.feature_max_)
    np.testing.assert_array_equal(far, ends)
    if isinstance(encoder, RateSpikeEncoder):
        columns = fitted.transform([[-1e300], [1e300]])
        assert np.all(columns[0] == 0.0)
        assert np.all(columns[1] == 1.0)
    else:
        fitted.set_params(output="rates", out_of_range="clip")
        np.testing.assert_array_equal(fitted.transform([[-1e300], [1e300]]), fitted.transform(ends))


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 1e17, -1e300, 5e-324])
def test_constant_feature(value):
    X = np.full((5, 1), value)
    probe = np.array([[value], [1.0], [-2e301]])
    for tuning in ("raised_cosine", "gaussian"):
        encoder = PopulationEncoder(13, tuning=tuning, out_of_range="clip", output="rates").fit(X)
        assert encoder.widths_ == 1.0
        assert np.all(encoder.transform(probe) == 1.0)
    assert np.all(RateSpikeEncoder(n_steps=500).fit(X).transform(probe) == 0.0)


@pytest.mark.parametrize(
    "limits",
    [
        (-1.7e308, 1.7e308),
        (0.0, 1e300),
        (-1.7e308, 0.0),
        (0.0, 1e-300),
        (0.0, 3e-308),
        (0.0, 5e-324),
        (1.0, 1.0 + 2e-16),
    ],
)
@pytest.mark.parametrize("tuning", ["raised_cosine", "gaussian"])
@pytest.mark.parametrize("width", ["auto", 5e-324, 1e-300, 1.7e308])
def test_extreme_ranges_stay_finite(limits, tuning, width):
    low, high = limits
    X = np.array([[low], [0.5 * low + 0.5 * high], [high]])
    for feature_range in ("auto", limits):
        encoder = PopulationEncoder(3, tuning=tuning, width=width, feature_range=feature_range, output="rates")
        rates = encoder.fit_transform(X)
        assert np.all(np.isfinite(encoder.centers_))
        assert np.all((rates >= 0.0) & (rates <= 1.0))
        assert np.all(np.diag(rates) == 1.0)


@pytest.mark.parametrize("limits", [(-1.7e308, 1.7e308), (0.0, 1e300), (0.0, 1e-300), (1.0, 1.0 + 1e-9)])
def test_extreme_ranges_keep_the_code(limits):
    low, high = limits
    X = np.array([[low], [0.5 * low + 0.5 * high], [high]])
    assert_close(PopulationEncoder(3, output="rates").fit_transform(X), np.eye(3), atol=1e-6)
    frequency = RateSpikeEncoder(n_steps=2000, random_state=0).fit_transform(X).mean(axis=1)
    assert_close(frequency, [0.0, 0.5, 1.0], atol=N_SIGMA * 0.5 / math.sqrt(2000))


# Spikes: the hash.


def test_splitmix_known_answers():
    # The published first outputs of splitmix64 for the seed 1234567.
    words = _hash.mix(np.array([1234567], dtype=np.uint64) + _hash.counters_of(np.arange(5)))
    assert words.tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_uniforms_match_a_scalar_oracle():
    X = np.vstack([data(n_samples=5), [[0.0, 1.0, -1e300]]])
    actual = _hash.uniforms(_hash.row_keys(X, 987654321), 4)
    expected = [[scalar_uniform(row, 987654321, column) for column in range(4)] for row in X.tolist()]
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("encoder", SPIKING, ids=repr)
def test_spikes_are_uniforms_below_the_rates(encoder):
    X = data(n_samples=20)
    fitted = clone(encoder).fit(X)
    spikes = fitted.transform(X)
    rates = fitted._rates(X)
    expected = [
        [float(scalar_uniform(row, fitted.seed_, column) < rate) for column, rate in enumerate(rates[i])]
        for i, row in enumerate(X.tolist())
    ]
    np.testing.assert_array_equal(spikes, expected)


@pytest.mark.parametrize("encoder", SPIKING, ids=repr)
def test_spikes_depend_on_the_row_alone(encoder, monkeypatch):
    X = data(n_samples=50)
    fitted = clone(encoder).fit(X)
    expected = fitted.transform(X)
    order = np.random.default_rng(1).permutation(50)
    np.testing.assert_array_equal(fitted.transform(X), expected)
    np.testing.assert_array_equal(fitted.transform(X[order]), expected[order])
    np.testing.assert_array_equal(fitted.transform(X[::7]), expected[::7])
    np.testing.assert_array_equal(np.vstack([fitted.transform(row[np.newaxis]) for row in X]), expected)
    np.testing.assert_array_equal(fitted.transform(np.asfortranarray(X)), expected)
    np.testing.assert_array_equal(fitted.transform(pd.DataFrame(X).to_numpy()), expected)
    monkeypatch.setattr(_row, "_CHUNK_ELEMENTS", 3 * expected.shape[1])
    np.testing.assert_array_equal(fitted.transform(X), expected)


@pytest.mark.parametrize("encoder", SPIKING, ids=repr)
def test_negative_zero_and_float32_give_the_same_spikes(encoder):
    X = data(n_samples=30).astype(np.float32)
    X[::2, 0] = 0.0
    negative = X.copy()
    negative[::2, 0] = -0.0
    fitted = clone(encoder).fit(X)
    expected = fitted.transform(X)
    np.testing.assert_array_equal(fitted.transform(negative), expected)
    np.testing.assert_array_equal(fitted.transform(X.astype(np.float64)), expected)
    np.testing.assert_array_equal(clone(encoder).fit(X.astype(np.float64)).transform(X), expected)


def test_equal_rows_get_equal_spikes():
    X = np.repeat(data(n_samples=5), 3, axis=0)
    spikes = PopulationEncoder(30, random_state=0).fit_transform(X)
    np.testing.assert_array_equal(spikes[::3], spikes[1::3])
    assert len(np.unique(spikes, axis=0)) == 5


def test_a_counting_column_makes_equal_rows_differ():
    X = np.column_stack([np.full(4000, 0.5), np.arange(4000.0)])
    encoder = RateSpikeEncoder(feature_range=(0, 1), random_state=0)
    assert abs(encoder.fit_transform(X)[:, 0].mean() - 0.5) < N_SIGMA * 0.5 / math.sqrt(4000)


def test_seed():
    X = data()
    encoder = PopulationEncoder(random_state=5)
    first, second = encoder.fit_transform(X), encoder.fit_transform(X)
    np.testing.assert_array_equal(first, second)
    encoder.set_params(random_state=6).fit(X)
    assert not np.array_equal(encoder.transform(X), first)
    encoder.set_params(random_state=None).fit(X)
    free = encoder.transform(X)
    np.testing.assert_array_equal(encoder.transform(X), free)
    assert not np.array_equal(encoder.fit(X).transform(X), free)
    assert isinstance(encoder.seed_, int)


def test_rates_do_not_depend_on_the_seed():
    X = data()
    first, second = (PopulationEncoder(output="rates", random_state=s).fit_transform(X) for s in (0, 1))
    np.testing.assert_array_equal(first, second)


# Sparse rows.


def counts(n_samples=40, n_features=6, seed=0):
    return np.random.default_rng(seed).poisson(0.4, size=(n_samples, n_features)).astype(float)


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array, sparse.coo_array])
def test_sparse_rows_are_coded_like_dense_ones(encoder, kind):
    X = counts()
    X[5] = 0.0
    encoder = clone(encoder).set_params(random_state=0)
    dense, thin = clone(encoder).fit(X), clone(encoder).fit(kind(X))
    for name, value in vars(dense).items():
        if name.endswith("_"):
            np.testing.assert_array_equal(value, getattr(thin, name), err_msg=name)
    code = thin.transform(kind(X))
    if isinstance(encoder, RateSpikeEncoder):
        assert code.format == "csr"
        assert isinstance(code, sparse.csr_array) == (kind is not sparse.csr_matrix)
        assert np.all(code.data == 1.0)
        assert code.nnz < 0.4 * code.shape[0] * code.shape[1]
        code = code.toarray()
    np.testing.assert_array_equal(code, dense.transform(X))


@pytest.mark.parametrize("limits", ["auto", (0, 3), (1, 3), (-1, 3)])
def test_sparse_spikes_where_zero_has_rate_zero(limits):
    X = counts()
    X[:, 2] = 0.0  # constant
    encoder = RateSpikeEncoder(feature_range=limits, n_steps=4, random_state=1).fit(X)
    code = encoder.transform(sparse.csr_array(X))
    assert sparse.issparse(code) == (limits != (-1, 3))
    np.testing.assert_array_equal(code.toarray() if sparse.issparse(code) else code, encoder.transform(X))


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_places_that_are_named_twice_or_hold_zero(encoder):
    rows = sparse.csr_array((np.array([1.0, 2.0, 0.0, -0.0, 5.0]), [1, 1, 2, 0, 1], [0, 3, 4, 5]), shape=(3, 3))
    before = rows.copy()
    fitted = clone(encoder).fit(rows)
    code = fitted.transform(rows)
    np.testing.assert_array_equal(code.toarray() if sparse.issparse(code) else code, fitted.transform(rows.toarray()))
    np.testing.assert_array_equal(rows.data, before.data)
    np.testing.assert_array_equal(rows.indices, before.indices)


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_sparse_float32(encoder):
    X = counts().astype(np.float32)
    fitted = clone(encoder).fit(sparse.csr_array(X))
    code = fitted.transform(sparse.csr_array(X))
    assert code.dtype == np.float32
    assert fitted.transform(sparse.csr_array(X.astype(np.int32))).dtype == np.float64
    dense = code.toarray() if sparse.issparse(code) else code
    np.testing.assert_allclose(dense, fitted.transform(X.astype(float)), rtol=1e-6)


def test_wide_sparse_rows_take_the_memory_of_their_entries():
    X = sparse.random_array((200, 2**18), density=1e-4, format="csr", rng=np.random.default_rng(0))
    tracemalloc.start()
    code = RateSpikeEncoder(feature_range=(0, 1), random_state=0).fit_transform(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < code.nnz < X.nnz
    # Dense rows would be 400 MB; a few arrays of one number a column are 2 MB each.
    assert peak < 30e6


# Spikes: statistics. Bounds are N_SIGMA standard deviations under independence.


@pytest.mark.parametrize("encoder", SPIKING[:2], ids=repr)
def test_mean_spikes_match_the_rates(encoder):
    X = np.random.default_rng(0).uniform(size=(4000, 2))
    fitted = clone(encoder).fit(X)
    spikes = fitted.transform(X)
    rates = fitted._rates(X)
    deviation = (spikes - rates).sum(axis=0) / np.sqrt((rates * (1 - rates)).sum(axis=0))
    assert np.all(np.abs(deviation) < N_SIGMA)
    assert set(np.unique(spikes)) == {0.0, 1.0}


@pytest.mark.parametrize("seed", [0, 1, 2**62 + 12345])
def test_uniforms_are_uniform_in_every_bit(seed):
    # Small integers, as pixels are: their words have few and only high bits.
    X = np.random.default_rng(3).integers(0, 3, size=(2000, 12)).astype(float)
    words = (_hash.uniforms(_hash.row_keys(np.unique(X, axis=0), seed), 10) * 2.0**53).astype(np.uint64)
    counts = np.bincount((words >> np.uint64(45)).astype(int).ravel(), minlength=256)
    assert chisquare(counts).pvalue > 1e-6
    bits = (words.ravel()[:, np.newaxis] >> np.arange(53, dtype=np.uint64)) & np.uint64(1)
    assert np.max(np.abs(bits.mean(axis=0) - 0.5)) < N_SIGMA * 0.5 / math.sqrt(words.size)
    assert np.max(np.abs(correlations(bits.astype(float)))) < N_SIGMA + 0.5


def test_output_columns_are_independent():
    X = half_rate_rows(6000, n_features=4)
    spikes = RateSpikeEncoder(feature_range=(-1e9, 1e9), n_steps=8, random_state=0).fit_transform(X)
    assert np.max(np.abs(correlations(spikes))) < N_SIGMA


def test_neighbouring_rows_are_independent():
    X = half_rate_rows(3000, n_features=5)
    encoder = RateSpikeEncoder(feature_range=(-1e9, 1e9), n_steps=2, random_state=0).fit(X)
    for feature in range(5):
        near = X.copy()
        near[:, feature] = np.nextafter(near[:, feature], np.inf)
        both = np.column_stack([encoder.transform(X).ravel(), encoder.transform(near).ravel()])
        assert np.max(np.abs(correlations(both))) < N_SIGMA


def test_consecutive_integers_are_independent():
    X = np.arange(20000.0).reshape(-1, 1)
    spikes = RateSpikeEncoder(feature_range=(-1e9, 1e9), random_state=0).fit_transform(X)[:, 0]
    for lag in (1, 2, 256):
        assert np.max(np.abs(correlations(np.column_stack([spikes[lag:], spikes[:-lag]])))) < N_SIGMA


def test_seeds_are_independent():
    X = half_rate_rows(6000)
    encoder = RateSpikeEncoder(feature_range=(-1e9, 1e9))
    spikes = [clone(encoder).set_params(random_state=seed).fit_transform(X)[:, 0] for seed in range(12)]
    consecutive = [_hash.uniforms(_hash.row_keys(X, seed), 1)[:, 0] for seed in range(12)]
    assert np.max(np.abs(correlations(np.column_stack(spikes)))) < N_SIGMA
    assert np.max(np.abs(correlations(np.column_stack(consecutive)))) < N_SIGMA


def test_row_keys_do_not_collide():
    binary = (np.arange(2**14)[:, np.newaxis] >> np.arange(14)) & 1
    swaps = np.array([[a, b] for a in range(60) for b in range(60)])
    for rows in (binary, swaps, swaps / 255.0, swaps.astype(np.float32) / np.float32(255.0)):
        keys = _hash.row_keys(np.ascontiguousarray(rows, dtype=np.float64), 0)
        assert len(np.unique(keys)) == len(rows)


# Errors.


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values(encoder, bad):
    X = data()
    fitted = clone(encoder).fit(X)
    X[3, 1] = bad
    with pytest.raises(ValueError, match="NaN|infinity"):
        fitted.transform(X)
    unfitted = clone(encoder)
    with pytest.raises(ValueError, match="NaN|infinity"):
        unfitted.fit(X)


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_failed_fit_is_not_a_fit(encoder):
    bad = pd.DataFrame(data(), columns=["a", "b", "c"])
    bad.iloc[0, 0] = np.nan
    half_fitted = clone(encoder)
    with pytest.raises(ValueError, match="NaN"):
        half_fitted.fit(bad)
    for method in (half_fitted.transform, half_fitted.get_feature_names_out):
        with pytest.raises(NotFittedError, match="fit"):
            method(bad.columns if method == half_fitted.get_feature_names_out else bad)


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_wrong_input(encoder):
    X = data()
    fitted = clone(encoder).fit(X)
    with pytest.raises(NotFittedError, match="fit"):
        clone(encoder).transform(X)
    with pytest.raises(ValueError, match="expecting 3 features"):
        fitted.transform(X[:, :2])
    with pytest.raises(ValueError, match="Complex data not supported"):
        fitted.fit(X * 1j)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_neurons": 0}, "n_neurons"),
        ({"n_neurons": 2.0}, "n_neurons"),
        ({"tuning": "cosine"}, "raised_cosine"),
        ({"output": "spike"}, "spikes"),
        ({"random_state": "a"}, "random_state"),
        ({"width": "wide"}, "width"),
        ({"width": 0.0}, "width"),
        ({"width": -1}, "width"),
        ({"width": np.inf}, "width"),
        ({"width": [1.0, 0.0, 1.0]}, "width must be 'auto'"),
        ({"width": [1.0, np.nan, 1.0]}, "width must be 'auto'"),
        ({"width": [1.0, np.inf, 1.0]}, "width must be 'auto'"),
        ({"width": [1.0, 1.0]}, "each of the 3 features"),
        ({"width": [[1.0, 1.0, 1.0]]}, "each of the 3 features"),
        ({"width": ["a", "b", "c"]}, "width must be 'auto'"),
    ],
    ids=str,
)
def test_bad_population_parameters(parameters, message):
    encoder = PopulationEncoder(**parameters)
    with pytest.raises(ValueError, match=message):
        encoder.fit(data())
    with pytest.raises(NotFittedError):
        encoder.transform(data())


@pytest.mark.parametrize(
    "feature_range",
    ["automatic", 3, None, (1, 1), (2, 1), (0, np.inf), (np.nan, 1), (0,), (0, 1, 2), ("a", "b"), [[0, 1], [0, 1]]],
    ids=str,
)
@pytest.mark.parametrize("encoder", [PopulationEncoder, RateSpikeEncoder])
def test_bad_feature_range(encoder, feature_range):
    bad = encoder(feature_range=feature_range)
    with pytest.raises(ValueError, match="feature_range.*must be"):
        bad.fit(data())
    with pytest.raises(NotFittedError):
        bad.transform(data())


@pytest.mark.parametrize("n_steps", [0, -1, 1.5, "1"])
def test_bad_n_steps(n_steps):
    with pytest.raises(ValueError, match="n_steps"):
        RateSpikeEncoder(n_steps=n_steps).fit(data())


def test_temporaries_are_small():
    X = np.random.default_rng(0).random((4000, 200), dtype=np.float32)
    encoder = RateSpikeEncoder(random_state=0).fit(X)
    tracemalloc.start()
    spikes = encoder.transform(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A whole-array float64 temporary would be 6.4 MB.
    assert peak < spikes.nbytes + 5e6


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("bad", [{"width": [1.0, 2.0, 3.0]}, {"random_state": np.random.RandomState}])
def test_a_failed_fit_leaves_the_object_unchanged(fitted, bad, freeze):
    encoder = PopulationEncoder(5, random_state=0)
    if fitted:
        encoder.fit([[0.0], [1.0]])
    encoder.set_params(**bad)
    before = freeze(encoder)
    with pytest.raises(ValueError, match="width must be|random_state"):
        encoder.fit([[1.0, 2.0], [3.0, 4.0]])
    assert freeze(encoder) == before
