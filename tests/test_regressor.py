"""EPSNNRegressor: closed-form Bayesian linear regression as the oracle, units, noise, several outputs."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_epsnn import EPSNNRegressor, GaussianPrior, Newton, PopulationEncoder, Stochastic
from sk_epsnn.estimators._defaults import TABLE

#: Few steps, where it is not the training that is asked about.
FEW = Stochastic(n_passes=4)


class ConjugateRegression:
    """Textbook Bayesian linear regression, prior N(0, prior_variance I) on weights and bias, known noise."""

    def __init__(self, X, y, noise_variance, prior_variance=1.0, sample_weight=None):
        A = self.design(X)
        w = np.ones(len(A)) if sample_weight is None else sample_weight
        precision = np.eye(A.shape[1]) / prior_variance + (A * w[:, None]).T @ A / noise_variance
        self.covariance = np.linalg.inv(precision)
        self.mean = self.covariance @ (A.T @ (w * y)) / noise_variance

    @staticmethod
    def design(X):
        return np.hstack([X, np.ones((len(X), 1))])

    def predict(self, X):
        A = self.design(X)
        return A @ self.mean, np.einsum("nj,jk,nk->n", A, self.covariance, A)


def conjugate(power=1e-9, n_sweeps=1, rotate_inputs="auto", **options):
    """The model of the oracle; as the power goes to 0 a Gaussian output's message no longer depends on its cavity."""
    inference = Newton(power=power, n_sweeps=n_sweeps, rotate_inputs=rotate_inputs)
    return EPSNNRegressor(prior=GaussianPrior(variance=1.0), noise_variance=0.25, inference=inference, **options)


@pytest.mark.parametrize(("power", "n_sweeps"), [("auto", "auto"), (1e-9, 1)])
@pytest.mark.parametrize("rotate_inputs", [True, False])
@pytest.mark.parametrize("batch_size", [60, 16])
def test_is_conjugate_linear_regression(line, batch_size, rotate_inputs, power, n_sweeps):
    """One layer with Gaussian output is exact, in one batch and in several of one epoch."""
    model = conjugate(power, n_sweeps, rotate_inputs, batch_size=batch_size, max_iter=1)
    model.set_params(random_state=0).fit(line.X, line.y)
    exact = ConjugateRegression(line.X, line.y, 0.25)
    mean, variance = exact.predict(line.X_test)
    uncertainty = model.predict_uncertainty(line.X_test)
    np.testing.assert_allclose(model.predict(line.X_test), mean, rtol=1e-6)
    np.testing.assert_allclose(uncertainty.epistemic, variance, rtol=1e-6)
    np.testing.assert_allclose(uncertainty.aleatoric, 0.25, rtol=1e-6)
    np.testing.assert_allclose(np.append(model.coefs_[0], model.intercepts_[0]), exact.mean, rtol=1e-6)
    spread = np.append(model.coefs_variance_[0], model.intercepts_variance_[0])
    np.testing.assert_allclose(spread, np.diag(exact.covariance), rtol=1e-6)


def test_stream_of_single_rows_is_conjugate_linear_regression(line):
    model = conjugate()
    for row in range(20):
        model.partial_fit(line.X[row : row + 1], line.y[row : row + 1])
    mean, variance = ConjugateRegression(line.X[:20], line.y[:20], 0.25).predict(line.X_test)
    np.testing.assert_allclose(model.predict(line.X_test), mean, rtol=1e-6)
    np.testing.assert_allclose(model.predict_uncertainty(line.X_test).epistemic, variance, rtol=1e-6)


def test_more_epochs_stay_at_the_exact_posterior(line):
    """Stochastic EP takes a batch's share out before it goes in again, so the evidence is counted once."""
    model = conjugate(batch_size=60, max_iter=5, tol=0).fit(line.X, line.y)
    mean, variance = ConjugateRegression(line.X, line.y, 0.25).predict(line.X_test)
    np.testing.assert_allclose(model.predict(line.X_test), mean, rtol=1e-6)
    np.testing.assert_allclose(model.predict_uncertainty(line.X_test).epistemic, variance, rtol=1e-6)


def test_sample_weight_is_a_power_of_the_likelihood(line):
    weight = np.random.default_rng(0).uniform(0.2, 3, size=60)
    model = conjugate(max_iter=1, batch_size=60).fit(line.X, line.y, sample_weight=weight)
    exact = ConjugateRegression(line.X, line.y, 0.25, sample_weight=weight)
    np.testing.assert_allclose(model.predict(line.X_test), exact.predict(line.X_test)[0], rtol=1e-6)


def test_prior_variance_of_one_layer(line):
    model = conjugate(max_iter=1, batch_size=60).set_params(prior__variance=[0.01]).fit(line.X, line.y)
    exact = ConjugateRegression(line.X, line.y, 0.25, prior_variance=0.01)
    np.testing.assert_allclose(model.predict(line.X_test), exact.predict(line.X_test)[0], rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"prior": GaussianPrior(variance=2.0)}, {"fit_intercept": False}], ids=str)
def test_coefficients_reproduce_the_prediction_of_one_layer(line, options):
    model = EPSNNRegressor(**options).fit(line.X, line.y)
    (coef,), (intercept,) = model.coefs_, model.intercepts_
    assert coef.shape == (3, 1) and intercept.shape == (1,)
    np.testing.assert_allclose(model.predict(line.X_test), line.X_test @ coef[:, 0] + intercept[0], rtol=1e-9)
    assert (model.coefs_variance_[0] > 0).all()


def test_without_intercept_the_line_passes_through_zero(line):
    model = EPSNNRegressor(fit_intercept=False).fit(line.X, line.y)
    assert model.intercepts_[0] == 0 and model.intercepts_variance_[0] == 0
    # The smallest variance a potential can have keeps the standard deviation from vanishing, the mean is exact.
    assert abs(model.predict(np.zeros((1, 3)))[0]) < 1e-12


def test_noise_variance_is_learned_or_given(line):
    learned = EPSNNRegressor(max_iter=50, tol=1e-8).fit(line.X, line.y)
    residual = np.linalg.lstsq(ConjugateRegression.design(line.X), line.y)[1][0]
    assert isinstance(learned.noise_variance_, float)
    assert learned.noise_variance_ == pytest.approx(residual / 56, rel=0.15)
    assert EPSNNRegressor(noise_variance=0.7).fit(line.X, line.y).noise_variance_ == pytest.approx(0.7, rel=1e-12)


def test_return_std_is_the_root_of_the_total(line):
    model = EPSNNRegressor(hidden_layer_sizes=(5,), inference=FEW, random_state=0).fit(line.X, line.y)
    mean, std = model.predict(line.X_test, return_std=True)
    total, aleatoric, epistemic = model.predict_uncertainty(line.X_test)
    np.testing.assert_array_equal(mean, model.predict(line.X_test))
    np.testing.assert_allclose(std**2, total, rtol=1e-12)
    np.testing.assert_allclose(aleatoric + epistemic, total, rtol=1e-12)
    assert (aleatoric > 0).all() and (epistemic > 0).all()


@pytest.mark.parametrize("hidden", [(), (6,)], ids=str)
def test_epistemic_variance_shrinks_with_data_and_grows_far_from_it(line, hidden):
    few = EPSNNRegressor(hidden, random_state=0).fit(line.X[:10], line.y[:10])
    many = EPSNNRegressor(hidden, random_state=0).fit(np.tile(line.X, (8, 1)), np.tile(line.y, 8))
    assert (
        many.predict_uncertainty(line.X_test).epistemic.mean() < few.predict_uncertainty(line.X_test).epistemic.mean()
    )
    if not hidden:  # neurons that all saturate far away give the same potentials everywhere
        near, far = (many.predict_uncertainty(factor * line.X_test).epistemic.mean() for factor in (1, 20))
        assert far > 20 * near


def test_outputs_of_one_layer_are_independent(line):
    """Two targets at once are two regressions: the output units share nothing."""
    Y = np.column_stack([line.y, 5 - 3 * line.y**2])
    model = conjugate(max_iter=3, tol=0).fit(line.X, Y)
    for column in range(2):
        single = conjugate(max_iter=3, tol=0).fit(line.X, Y[:, column])
        np.testing.assert_allclose(model.predict(line.X_test)[:, column], single.predict(line.X_test), rtol=1e-6)


def test_shapes_with_several_outputs(line):
    Y = np.column_stack([line.y, 5 - 3 * line.y**2])
    model = EPSNNRegressor((4,), inference=FEW, random_state=0).fit(line.X, Y)
    assert model.predict(line.X_test).shape == (30, 2)
    assert all(part.shape == (30, 2) for part in model.predict_uncertainty(line.X_test))
    assert model.noise_variance_.shape == (2,)
    assert [coef.shape for coef in model.coefs_] == [(3, 4), (4, 2)]
    assert model.n_outputs_ == 2


def test_a_target_of_one_column_keeps_its_shape(line):
    flat = EPSNNRegressor().fit(line.X, line.y)
    column = EPSNNRegressor().fit(line.X, line.y[:, None])
    assert column.predict(line.X_test).shape == (30, 1)
    assert column.predict(line.X_test, return_std=True)[1].shape == (30, 1)
    np.testing.assert_array_equal(column.predict(line.X_test)[:, 0], flat.predict(line.X_test))


@pytest.mark.parametrize("hidden", [(), (6,)], ids=str)
def test_predictions_are_in_the_units_of_the_target(line, hidden):
    """Shifting and scaling the targets shifts and scales the predictions, noise and uncertainty."""
    model = EPSNNRegressor(hidden, random_state=0).fit(line.X, line.y)
    moved = EPSNNRegressor(hidden, random_state=0).fit(line.X, 1024 * line.y + 7e4)
    np.testing.assert_allclose(moved.predict(line.X_test), 1024 * model.predict(line.X_test) + 7e4, rtol=1e-6)
    total, expected = (m.predict_uncertainty(line.X_test).total for m in (moved, model))
    np.testing.assert_allclose(total, 1024**2 * expected, rtol=1e-5)
    assert moved.noise_variance_ == pytest.approx(1024**2 * model.noise_variance_, rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_target(line, value):
    model = EPSNNRegressor().fit(line.X, np.full(60, value))
    np.testing.assert_allclose(model.predict(line.X_test), value, rtol=1e-6, atol=1e-6)


def test_diabetes():
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    assert EPSNNRegressor().fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.45


def test_hidden_layer_learns_what_a_line_cannot():
    X = np.random.default_rng(0).uniform(-2, 2, size=(300, 1))
    y = np.abs(X[:, 0])
    model = EPSNNRegressor(hidden_layer_sizes=(20,), random_state=0).fit(X[:200], y[:200])
    assert EPSNNRegressor().fit(X[:200], y[:200]).score(X[200:], y[200:]) < 0.3
    assert model.score(X[200:], y[200:]) > 0.8


@pytest.fixture(scope="module")
def curve():
    rng = np.random.default_rng(3)
    X = rng.uniform(-3, 3, size=(400, 2))
    y = np.sin(2 * X[:, 0]) + 0.3 * X[:, 1] + 0.2 * rng.standard_normal(400)
    return X[:200], y[:200], X[200:], y[200:]


def test_held_out_rows_choose_the_noise_and_the_temperature(curve):
    """Bands of a fitted hidden layer hold for rows that it has not seen; judged on its own rows they are too narrow."""
    X, y, X_test, y_test = curve
    held, own = (
        EPSNNRegressor(30, inference=Newton(validation_fraction=f), random_state=0).fit(X, y) for f in (0.2, 0)
    )

    def log_density(model):
        mean, std = model.predict(X_test, return_std=True)
        return np.mean(-0.5 * ((y_test - mean) / std) ** 2 - np.log(std))

    assert log_density(held) > log_density(own) + 0.02
    scores, temperatures = held.history_["held_out"], held.history_["temperature"]
    assert held.temperature_[0] == temperatures[int(np.argmax(scores))] and held.temperature_[1] == 1
    assert temperatures == [step for path in TABLE["regressor, hidden layers, many rows"].heating for step in path]
    # Two passes at each temperature; one over all rows ends the search, and a given temperature allows more.
    assert held.n_iter_ == 1 and len(held.history_["step"]) == 2 * len(temperatures) + 1
    assert (
        EPSNNRegressor(30, inference=Newton(temperature=1.0), max_iter=3, tol=0, random_state=0).fit(X, y).n_iter_ == 3
    )
    assert set(own.history_) == {"energy", "step"}


def test_no_row_is_held_out_without_need(curve):
    X, y, *_ = curve
    for options in ({"noise_variance": 0.04}, {"hidden_layer_sizes": ()}, {"shuffle": False}):
        model = EPSNNRegressor(**{"hidden_layer_sizes": 5, "max_iter": 2, **options}, random_state=0).fit(X, y)
        assert "held_out" not in model.history_
    few = EPSNNRegressor(5, max_iter=2, random_state=0)
    assert "held_out" not in few.fit(X[:49], y[:49]).history_
    assert len(few.set_params(inference=Newton(temperature=[0.5, 1.0])).fit(X[:50], y[:50]).history_["held_out"]) == 1
    assert few.temperature_.tolist() == [0.5, 1.0]


def test_a_stream_goes_on_from_the_noise_that_held_out_rows_said(curve):
    X, y, X_test, y_test = curve
    model = EPSNNRegressor(10, max_iter=2, random_state=0).fit(X, y)
    before = model.noise_variance_
    model.partial_fit(X_test[:20], y_test[:20])
    assert model.noise_variance_ == pytest.approx(before, rel=0.5)
    assert model.noise_variance_ != before
    # More passes over the same rows do not make them judges of themselves.
    again = EPSNNRegressor(10, max_iter=2, warm_start=True, random_state=0).fit(X, y)
    assert again.fit(X, y).noise_variance_ == pytest.approx(before, rel=1e-12)


@pytest.mark.parametrize("tuning", ["raised_cosine", "gaussian"])
def test_between_two_clusters_of_rows_neurons_that_hardly_fired_have_ordinary_weights(tuning):
    rng = np.random.default_rng(0)
    x = np.where(rng.random((100, 1)) < 0.5, rng.uniform(-1, 0, (100, 1)), rng.uniform(4, 5, (100, 1)))
    y = np.cos(x[:, 0]) + 0.05 * rng.standard_normal(100)
    between = np.linspace(0.5, 3.5, 50)[:, None]
    model = make_pipeline(PopulationEncoder(tuning=tuning, output="rates"), EPSNNRegressor(random_state=0)).fit(x, y)
    mean, sd = model.predict(between, return_std=True)
    assert np.abs(mean).max() < 5
    assert 0.3 < sd.max() < 10
    assert (np.abs(mean - np.cos(between[:, 0])) < 2.5 * sd).all()
