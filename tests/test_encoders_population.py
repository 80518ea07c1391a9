"""Where the neurons of a population are, how far they listen, and what happens beyond the range."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from sk_epsnn import EPSNNRegressor, PopulationEncoder

N_ROWS = 500
ORDINARY = {
    "uniform": lambda rng: rng.uniform(-3, 8, N_ROWS),
    "uniform, float32": lambda rng: rng.uniform(-3, 8, N_ROWS).astype(np.float32),
    "normal": lambda rng: rng.normal(50, 3, N_ROWS),
    "few normal": lambda rng: rng.normal(size=12),
    "a gap inside": lambda rng: np.where(
        rng.random(N_ROWS) < 0.6, rng.uniform(-1, 1, N_ROWS), rng.uniform(4, 5, N_ROWS)
    ),
    "two far clusters": lambda rng: rng.integers(0, 2, N_ROWS) * 10 + 0.3 * rng.normal(size=N_ROWS),
    "beta": lambda rng: rng.beta(2, 5, N_ROWS),
    "triangle": lambda rng: rng.triangular(0, 0, 1, N_ROWS),
    "binary": lambda rng: rng.integers(0, 2, N_ROWS),
    "rare ones": lambda rng: np.arange(N_ROWS) % 50 == 0,
    "few values, most of them 0": lambda rng: rng.choice([0, 1, 2, 3], N_ROWS, p=[0.9, 0.05, 0.03, 0.02]),
    "grades": lambda rng: rng.integers(1, 8, N_ROWS),
    "counts": lambda rng: rng.poisson(3, N_ROWS),
    "often 0": lambda rng: rng.poisson(5, N_ROWS) * (rng.random(N_ROWS) < 0.3),
    "identifiers": lambda rng: rng.permutation(10**6)[:N_ROWS],
    "seconds since 1970": lambda rng: 1.6e9 + rng.integers(0, 10**8, N_ROWS),
    "huge": lambda rng: rng.uniform(-1, 1, N_ROWS) * 1e305,
    "tiny": lambda rng: rng.uniform(0, 1e-300, N_ROWS),
    "constant": lambda rng: np.full(N_ROWS, 3.3),
    "two values": lambda rng: np.array([0.0, 1e9]),
}
LONG_TAILED = {
    "lognormal": lambda rng: rng.lognormal(0, 1.5, N_ROWS),
    "lognormal, float32": lambda rng: rng.lognormal(0, 1.5, N_ROWS).astype(np.float32),
    "wider lognormal": lambda rng: -rng.lognormal(3, 3, N_ROWS),
    "lognormal or 0": lambda rng: rng.lognormal(0, 2, N_ROWS) * (rng.random(N_ROWS) < 0.5),
    "one wild value": lambda rng: np.append(rng.normal(size=N_ROWS - 1), 5000),
    "two wild values": lambda rng: np.append(rng.uniform(size=N_ROWS - 2), [-300, 9000]),
    "a code for missing": lambda rng: np.where(rng.random(N_ROWS) < 0.2, -999, rng.normal(30, 5, N_ROWS)),
    "grades and a code": lambda rng: np.where(rng.random(N_ROWS) < 0.1, 9999, rng.integers(1, 8, N_ROWS)),
    "Cauchy": lambda rng: rng.standard_cauchy(N_ROWS),
    "Student": lambda rng: rng.standard_t(1.5, N_ROWS),
    "power law": lambda rng: rng.pareto(1.2, N_ROWS),
    "power law of integers": lambda rng: rng.zipf(1.8, N_ROWS),
    "rounded lognormal": lambda rng: rng.lognormal(1, 1.5, N_ROWS).round(),
    "huge, with longer tails": lambda rng: np.append(rng.uniform(-1e300, 1e300, N_ROWS), [-1.7e308, 1.6e308]),
    "tiny lognormal": lambda rng: rng.lognormal(0, 2, N_ROWS) * 1e-305,
}


def column(kind, seed=0):
    return np.asarray({**ORDINARY, **LONG_TAILED}[kind](np.random.default_rng(seed)))[:, None]


@pytest.mark.parametrize("tuning", ["raised_cosine", "gaussian"])
@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_features_have_evenly_spaced_centres(kind, tuning):
    X = column(kind)
    encoder = PopulationEncoder(21, tuning=tuning, output="rates").fit(X)
    low, high, share = float(X.min()), float(X.max()), np.linspace(0, 1, 21)
    np.testing.assert_array_equal(encoder.centers_[0], np.clip(low * (1 - share) + high * share, low, high))
    assert encoder.widths_.shape == (1,)
    uniform = PopulationEncoder(21, tuning=tuning, centers="uniform", output="rates").fit(X)
    np.testing.assert_array_equal(encoder.transform(X), uniform.transform(X))


@pytest.mark.parametrize("load", [load_diabetes, load_iris])
def test_ordinary_data_has_evenly_spaced_centres(load):
    X = load().data
    encoders = [PopulationEncoder(9, centers=centers).fit(X) for centers in ("auto", "uniform")]
    np.testing.assert_array_equal(encoders[0].centers_, encoders[1].centers_)


@pytest.mark.parametrize("tuning", ["raised_cosine", "gaussian"])
@pytest.mark.parametrize("kind", LONG_TAILED)
@pytest.mark.parametrize("seed", [0, 1])
def test_long_tails_have_centres_where_the_data_are(kind, seed, tuning):
    X = column(kind, seed)
    values = np.unique(X.astype(float))
    encoder = PopulationEncoder(tuning=tuning, output="rates").fit(X)
    centers, widths = encoder.centers_[0], encoder.widths_[0]
    assert encoder.widths_.shape == encoder.centers_.shape == (1, 100)
    assert centers[0] == values[0] and centers[-1] == values[-1]
    assert np.all(np.diff(centers) >= 0) and np.all(widths > 0) and np.all(np.isfinite(widths))
    # As many centres as distinct values in each fifth of them.
    fifths = np.searchsorted(centers, values[(len(values) * np.arange(6) // 5).clip(max=len(values) - 1)])
    assert np.all(np.abs(np.diff(fifths) - 20) <= 1 + 300 / len(values))
    # The outermost value is told from the next, and between all values some neuron fires at half its rate.
    pairs = values[[0, 1]], values[[-2, -1]]
    ends = encoder.transform(max(pairs, key=lambda pair: 0.5 * pair[1] - 0.5 * pair[0])[:, None])
    assert abs(ends[1] - ends[0]).max() > 0.1
    between = 0.5 * values[:-1] + 0.5 * values[1:]
    assert encoder.transform(between[:, None]).max(axis=1).min() >= 0.49


def test_the_code_of_a_long_tail_does_not_depend_on_the_unit():
    X, codes = column("lognormal"), []
    for unit in (1.0, 2.0**-900, 2.0**900, -(2.0**10)):
        encoder = PopulationEncoder(30, output="rates")
        code = encoder.fit_transform(X * unit)
        codes.append(code[:, ::-1] if unit < 0 else code)
        np.testing.assert_allclose(codes[-1], codes[0], rtol=0, atol=1e-12)


def test_quantiles_of_even_values_are_even():
    X = np.linspace(-1, 4, 61)[:, None]
    for tuning, beyond in [("raised_cosine", "clip"), ("gaussian", "clip"), ("raised_cosine", "extend")]:
        encoder = PopulationEncoder(26, tuning=tuning, out_of_range=beyond)
        quantile, uniform = (clone(encoder).set_params(centers=centers).fit(X) for centers in ("quantile", "uniform"))
        np.testing.assert_allclose(quantile.centers_, uniform.centers_, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(quantile.widths_, np.full((1, 26), uniform.widths_[0]), rtol=1e-12)


def test_centres_and_widths_at_quantiles_match_a_scalar_oracle():
    values = np.arange(26.0) ** 3
    X = np.repeat(values, 1 + np.arange(26) % 4)[:, None]
    encoder = PopulationEncoder(26, centers="quantile").fit(X)
    np.testing.assert_allclose(encoder.centers_[0], values, rtol=1e-14)
    for k in range(26):
        # 0.24 of 25 steps are 6 steps.
        down = values[k] - values[k - 6] if k >= 6 else np.inf
        up = values[k + 6] - values[k] if k <= 19 else np.inf
        next_one = max(values[k] - values[k - 1] if k else 0, values[k + 1] - values[k] if k < 25 else 0)
        np.testing.assert_allclose(encoder.widths_[0, k], max(min(down, up), next_one), rtol=1e-12)


def test_each_feature_is_judged_by_itself():
    X = np.hstack([column("normal"), column("lognormal"), column("constant")])
    encoder = PopulationEncoder(10).fit(X)
    alone = [PopulationEncoder(10).fit(X[:, [feature]]) for feature in range(3)]
    np.testing.assert_array_equal(encoder.centers_, np.vstack([one.centers_ for one in alone]))
    assert encoder.widths_.shape == (3, 10)
    for feature in range(3):
        assert np.all(encoder.widths_[feature] == alone[feature].widths_)


def test_a_width_that_was_given_is_kept_at_quantiles():
    encoder = PopulationEncoder(10, width=2.5).fit(column("lognormal"))
    np.testing.assert_array_equal(encoder.widths_, [2.5])
    assert not np.allclose(np.diff(encoder.centers_), np.diff(encoder.centers_)[0, 0])


def test_centres_of_a_given_range():
    X = column("lognormal")
    encoder = PopulationEncoder(11, feature_range=(-1, 100)).fit(X)
    np.testing.assert_allclose(encoder.centers_[0], np.linspace(-1, 100, 11))
    asked = PopulationEncoder(11, centers="quantile", feature_range=(-1, 100)).fit(X)
    assert (asked.centers_[0, 0], asked.centers_[0, -1]) == (-1, 100)
    np.testing.assert_allclose(asked.centers_[0, 5], np.median(X), rtol=0.02)


@pytest.mark.parametrize("n_neurons", [1, 2, 3])
def test_few_neurons_at_quantiles(n_neurons):
    X = np.array([[0.0], [1.0], [2.0], [1000.0]])
    encoder = PopulationEncoder(n_neurons, centers="quantile", output="rates").fit(X)
    np.testing.assert_allclose(encoder.centers_[0], {1: [500], 2: [0, 1000], 3: [0, 1.5, 1000]}[n_neurons])
    assert np.all(np.isfinite(encoder.transform(X)))


@pytest.mark.parametrize(
    ("draw", "function"),
    [
        (lambda rng: rng.lognormal(0, 1.5, 800), lambda x: np.sin(3 * np.log(x))),
        (lambda rng: rng.lognormal(5, 1, 800), lambda x: np.sin(3 * np.log(x))),
        (lambda rng: rng.standard_cauchy(800), lambda x: np.sin(2 * np.arcsinh(x))),
        (lambda rng: rng.normal(size=800), lambda x: np.sin(2 * x)),
        (lambda rng: 1 / rng.random(800), lambda x: np.cos(3 * np.log(x))),
    ],
    ids=["lognormal", "in thousands", "Cauchy", "normal", "power law"],
)
def test_a_wild_value_costs_nothing_elsewhere(draw, function):
    rng = np.random.default_rng(1)
    x = draw(rng)
    y = function(x) + 0.1 * rng.normal(size=800)
    x[0] = 50 * np.abs(x).max()
    encoder = PopulationEncoder(out_of_range="clip", output="rates").fit(x[:500, None])
    code = encoder.transform(x[:, None])
    assert Ridge(alpha=0.03).fit(code[:500], y[:500]).score(code[500:], y[500:]) > 0.8


def test_a_regressor_behind_a_long_tail():
    rng = np.random.default_rng(11)
    x = rng.lognormal(1, 1.3, (700, 1))
    y = np.sin(3 * np.log(x[:, 0])) + 0.1 * rng.normal(size=700)
    x[0] = 20000
    model = make_pipeline(PopulationEncoder(output="rates"), EPSNNRegressor(random_state=0)).fit(x[:400], y[:400])
    assert model.score(x[400:], y[400:]) > 0.8


# ---------------------------------------------------------------------- beyond the range


def waves(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (200, 1))
    return x, np.sin(2 * x[:, 0]) + 0.1 * rng.normal(size=200)


def test_a_warning_names_rows_and_features():
    X = pd.DataFrame(np.random.default_rng(0).uniform(size=(100, 3)), columns=["a", "b", "c"])
    encoder = PopulationEncoder(4).fit(X)
    X.iloc[7, 1], X.iloc[30, 2] = 3.0, -2.0
    with pytest.warns(UserWarning, match=r"2 of 100 rows \(7, 30\).*features: b, c.*out_of_range='extend'.*'clip'"):
        encoder.transform(X)
    with pytest.warns(UserWarning, match=r"100 of 100 rows \(0, 1, 2, 3, 4, \.\.\.\).*features: a, b, c\)"):
        encoder.transform(X + 9)
    unnamed = PopulationEncoder(4).fit(X.to_numpy()[:5])
    with pytest.warns(UserWarning, match="features: x1, x2"):
        unnamed.transform(X.to_numpy())


def test_clip_says_nothing_and_error_refuses():
    x, _ = waves()
    warned = PopulationEncoder(9, output="rates").fit(x)
    with pytest.warns(UserWarning, match="far beyond"):
        expected = warned.transform([[4.0]])
    clipped = PopulationEncoder(9, out_of_range="clip", output="rates").fit(x)
    np.testing.assert_array_equal(clipped.transform([[4.0]]), expected)
    np.testing.assert_array_equal(clipped.transform(x), warned.transform(x))
    refusing = PopulationEncoder(9, out_of_range="error", output="rates").fit(x)
    with pytest.raises(ValueError, match=r"1 of 2 rows \(1\) have values far beyond"):
        refusing.transform([[0.0], [4.0]])
    np.testing.assert_array_equal(refusing.transform(x), warned.transform(x))


@pytest.mark.parametrize("kind", sorted(set(ORDINARY) | set(LONG_TAILED)))
def test_rows_of_fit_never_warn(kind):
    X = column(kind)
    for limits in ("auto", (-1, 1)):
        PopulationEncoder(5, feature_range=limits, out_of_range="error").fit_transform(X)


def test_new_rows_of_the_same_kind_hardly_ever_warn():
    rng = np.random.default_rng(0)
    for kind in ("uniform", "normal", "beta", "counts"):
        far = 0
        for _ in range(200):
            X = ORDINARY[kind](rng)[:, None]
            encoder = PopulationEncoder(2).fit(X[:400])
            far += np.any((X < encoder.tolerated_min_) | (X > encoder.tolerated_max_))
        assert far <= 4, kind
    X = load_diabetes().data
    model = make_pipeline(PopulationEncoder(5, out_of_range="error", output="rates"), Ridge())
    cross_val_score(model, X, load_diabetes().target, cv=5, error_score="raise")


def test_what_is_far_beyond():
    x = np.linspace(0, 1, 1001)[:, None]
    encoder = PopulationEncoder(3).fit(x)
    # The outermost tenth of 1001 rows and ten more span 0.11.
    np.testing.assert_allclose([encoder.tolerated_min_[0], encoder.tolerated_max_[0]], [-0.11, 1.11], rtol=1e-12)
    given = PopulationEncoder(3, feature_range=(-9, 1)).fit(x)
    np.testing.assert_allclose([given.tolerated_min_[0], given.tolerated_max_[0]], [-10, 2], rtol=1e-12)
    outside = PopulationEncoder(3, feature_range=(0.4, 0.6)).fit(x)
    np.testing.assert_allclose([outside.tolerated_min_[0], outside.tolerated_max_[0]], [-0.11, 1.11], rtol=1e-12)


def test_another_value_of_a_constant_feature_is_beyond():
    encoder = PopulationEncoder(3, output="rates").fit(np.full((5, 1), 0.1))
    encoder.transform(np.full((2, 1), 0.1, dtype=np.float32))
    for out_of_range in ("warn", "extend"):
        encoder.set_params(out_of_range=out_of_range).fit(np.full((5, 1), 0.1))
        with pytest.warns(UserWarning, match="far beyond"):
            np.testing.assert_array_equal(encoder.transform([[7.0]]), [[1, 1, 1]])


@pytest.mark.parametrize("width", ["auto", 0.5])
@pytest.mark.parametrize("kind", ["uniform", "lognormal", "huge, with longer tails"])
def test_extended_centres_leave_the_data_behind(kind, width):
    X = column(kind).astype(float)
    encoder = PopulationEncoder(40, width=width, out_of_range="extend", output="rates").fit(X)
    low, high = float(X.min()), float(X.max())
    centers = encoder.centers_[0]
    assert np.all(np.isfinite(centers)) and np.all(np.diff(centers) >= 0)
    assert centers[0] <= encoder.feature_min_[0] <= low and high <= encoder.feature_max_[0] <= centers[-1]
    rates = encoder.transform(np.vstack([X, [[-1.7e308], [1.7e308]]]))
    assert np.all((rates >= 0) & (rates <= 1))
    if kind == "uniform":
        reach = 0.24 * (high - low) if width == "auto" else 0.5
        np.testing.assert_allclose(centers, np.linspace(low - 3 * reach, high + 3 * reach, 40))
        ends = encoder.feature_min_[0], encoder.feature_max_[0]
        np.testing.assert_allclose(ends, [low - 2 * reach, high + 2 * reach])
        assert np.all(rates[:-2].max(axis=0)[rates[-2:].max(axis=0) > 0] == 0)


def test_uncertainty_grows_beyond_an_extended_range():
    x, y = waves()
    encoder = PopulationEncoder(out_of_range="extend", output="rates")
    model = make_pipeline(encoder, EPSNNRegressor(random_state=0)).fit(x, y)
    inside = np.linspace(-1.9, 1.9, 50)[:, None]
    mean, sd = model.predict(inside, return_std=True)
    assert np.sqrt(np.mean((mean - np.sin(2 * inside[:, 0])) ** 2)) < 0.08
    assert sd.max() < 0.2
    far = np.array([[2.5], [3.0], [4.0], [40.0], [-2.5], [-4.0]])
    mean, sd = model.predict(far, return_std=True)
    assert sd.min() > 3 * 0.1 and sd[2] > 0.95 * y.std()
    assert np.all(abs(mean - np.sin(2 * far[:, 0])) < 2.5 * sd)
    np.testing.assert_array_equal(mean[2], mean[3])  # far out nothing is known
    beyond = model.predict(np.linspace(2, 5, 40)[:, None], return_std=True)[1]
    assert np.all(np.diff(beyond) > -0.05)


def test_uncertainty_grows_beyond_a_long_tail():
    rng = np.random.default_rng(0)
    x = rng.lognormal(0, 1.5, (400, 1))
    y = np.sin(2 * np.log(x[:, 0])) + 0.1 * rng.normal(size=400)
    encoder = PopulationEncoder(out_of_range="extend", output="rates")
    model = make_pipeline(encoder, EPSNNRegressor(random_state=0)).fit(x, y)
    inside = model.predict(np.quantile(x, [[0.1], [0.5], [0.9]]), return_std=True)[1].max()
    assert np.all(model.predict([[-9.0], [9 * x.max()]], return_std=True)[1] > 2 * inside)


def test_fitting_again_gives_the_same_code():
    x, _ = waves()
    encoder = PopulationEncoder(7, out_of_range="extend", output="rates")
    np.testing.assert_array_equal(encoder.fit_transform(x), encoder.fit_transform(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.transform([[1e300]])


@pytest.mark.parametrize("parameter", ["centers", "out_of_range"])
@pytest.mark.parametrize("value", ["even", None, 3])
def test_bad_words(parameter, value):
    with pytest.raises(ValueError, match=f"'{parameter}' parameter of PopulationEncoder must be a str among"):
        PopulationEncoder(**{parameter: value}).fit([[0.0], [1.0]])
