"""Connections: the dense one, and two of the tests' own that only use what the module offers to everybody."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from toys import Leak, Patches

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, GaussianPrior, Newton
from sk_epsnn.connections import Connection, Convolution, Dense, Filter, Pooled, Readout
from sk_epsnn.ep import mixing
from sk_epsnn.messages import Inputs, WeightMoments
from sk_epsnn.outputs import SigmoidOutput

PLACED = {
    "dense": (Dense(4), 30),
    "patches": (Patches(4, (5, 6), size=3), 30),
    "patches apart": (Patches(4, (5, 6), size=2, stride=2), 30),
    "leak": (Leak(4, n_steps=6, leak=0.6), 30),
    "filter": (Filter(4, n_features=5, leak=0.6), 30),
    "steps": (Filter(4, n_features=5), 30),
    "mean": (Readout(4, n_features=5), 30),
    "parts": (Readout(4, n_features=5, kind=4), 30),
    "last": (Readout(4, n_features=5, kind="last", leak=0.7), 30),
    "convolution": (Convolution(4, 3).reading((5, 6, 1)), 30),
    "strides and padding": (Convolution(4, 3, stride=2, padding=1).reading((5, 6, 1)), 30),
    "colors": (Convolution(4, 2).reading((3, 5, 2)), 30),
    "signal": (Convolution(4, 3, padding=1).reading((1, 15, 2)), 30),
    "pooled": (Pooled(Dense(4), (3, 5, 2), pool=2), 30),
    "pooled patches": (Pooled(Convolution(4, 2).reading((2, 3, 1)), (5, 6, 1), pool=2), 30),
    "pooled signal": (Pooled(Dense(4), (1, 15, 2), pool=3), 30),
}
EVERY = pytest.mark.parametrize(("connection", "n_inputs"), PLACED.values(), ids=PLACED)
CONSTANT = pytest.mark.parametrize("constant", [False, True], ids=["no bias", "bias"])


def weights_of(connection, n_inputs, constant, rng, size=0.3):
    shape = connection.n_units, connection.n_columns(n_inputs) + constant
    return WeightMoments(size * rng.normal(size=shape), rng.uniform(0.01, 0.1, shape), None)


def log_evidence(inputs, weights, target):
    """``log Z`` of sigmoid outputs on every row and unit, with its derivatives in the potentials."""
    mean = mixing.potential_mean(inputs, weights.mean)
    variance = mixing.weight_part_of_variance(inputs, weights) + mixing.spike_part_of_variance(inputs, weights)
    return SigmoidOutput().evidence(mean, variance, target, 1.0)


@EVERY
def test_shapes(connection, n_inputs):
    rows = connection.gather(np.ones((7, n_inputs)))
    assert rows.shape == (7 * connection.n_rows(n_inputs), connection.n_columns(n_inputs))
    assert connection.scatter(rows, n_inputs).shape == (7, n_inputs)


@EVERY
def test_scatter_is_the_transpose_of_gather(connection, n_inputs):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, n_inputs))
    y = rng.normal(size=connection.gather(x).shape)
    pairs = [(connection.gather, connection.scatter), (connection.gather_variance, connection.scatter_squared)]
    for gather, scatter in pairs:
        np.testing.assert_allclose(np.sum(gather(x) * y), np.sum(x * scatter(y, n_inputs)), rtol=1e-12)


@EVERY
def test_gathered_variances_are_those_of_gathered_draws(connection, n_inputs):
    """The map of means, applied to one input at a time, squared."""
    matrix = np.stack([connection.gather(row[None]).ravel() for row in np.eye(n_inputs)])
    variance = np.random.default_rng(0).uniform(size=(1, n_inputs))
    expected = (variance @ matrix**2).reshape(-1, connection.n_columns(n_inputs))
    np.testing.assert_allclose(connection.gather_variance(variance), expected, rtol=1e-12, atol=1e-15)


def test_dense_copies_nothing():
    values = np.ones((3, 5))
    assert Dense(2).gather(values) is values and Dense(2).scatter(values, 5) is values


@EVERY
@CONSTANT
def test_spikes_are_the_moments_of_draws(connection, n_inputs, constant):
    probability = np.random.default_rng(1).uniform(size=(2, n_inputs))
    inputs = connection.spikes(probability, constant)
    n_columns = connection.n_columns(n_inputs)
    np.testing.assert_allclose(inputs.mean[:, :n_columns], connection.gather(probability), rtol=1e-15)
    expected = connection.gather_variance(probability * (1 - probability))
    np.testing.assert_allclose(inputs.variance[:, :n_columns], expected, rtol=1e-12, atol=1e-15)
    if constant:
        np.testing.assert_array_equal(inputs.mean[:, -1], 1.0)
        np.testing.assert_array_equal(inputs.variance[:, -1], 0.0)


@EVERY
@CONSTANT
def test_gradients_against_finite_differences(connection, n_inputs, constant):
    """The summed log evidence of all rows, in the means of the inputs and in those of the weights."""
    rng = np.random.default_rng(2)
    probability = rng.uniform(0.1, 0.9, (3, n_inputs))
    weights = weights_of(connection, n_inputs, constant, rng)
    base = connection.spikes(probability, constant)
    target = rng.choice([-1.0, 1.0], (len(base.mean), connection.n_units))
    _, down = log_evidence(base, weights, target)

    def at_inputs(mean):
        gathered = connection.gather(mean)
        inputs = Inputs(np.hstack([gathered, base.mean[:, gathered.shape[1] :]]), base.variance)
        return log_evidence(inputs, weights, target)[0].sum()

    message = mixing.to_inputs(down, weights, connection.n_columns(n_inputs))
    slope = message.linear - message.noise * base.mean[:, : message.noise.shape[1]]
    gradient = connection.scatter(slope, n_inputs)
    for place in np.ndindex(probability.shape):
        step = np.zeros_like(probability)
        step[place] = 1e-5
        difference = (at_inputs(probability + step) - at_inputs(probability - step)) / 2e-5
        np.testing.assert_allclose(gradient[place], difference, rtol=1e-6, atol=1e-8)

    def at_weights(mean):
        return log_evidence(base, weights._replace(mean=mean), target)[0].sum()

    noise = mixing.spike_noise(down, base)
    # Rows whose variance the output would like larger do not count in the noise, so these are left to the sum itself.
    exact = down.g.T @ base.mean - (down.kappa.T @ base.variance) * weights.mean
    for place in np.ndindex(weights.mean.shape):
        step = np.zeros_like(weights.mean)
        step[place] = 1e-5
        difference = (at_weights(weights.mean + step) - at_weights(weights.mean - step)) / 2e-5
        np.testing.assert_allclose(exact[place], difference, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(
        mixing.mean_gradient(down, base, weights.mean, noise), down.g.T @ base.mean - noise * weights.mean, rtol=1e-12
    )


@EVERY
@CONSTANT
def test_log_ratio_against_a_spike_set_on_and_off(connection, n_inputs, constant):
    """Each spike in turn is known to be there or not; the others stay as uncertain as they are."""
    rng = np.random.default_rng(3)
    probability = rng.uniform(0.1, 0.9, (2, n_inputs))
    weights = weights_of(connection, n_inputs, constant, rng, size=0.05)
    base = connection.spikes(probability, constant)
    target = rng.choice([-1.0, 1.0], (len(base.mean), connection.n_units))
    _, down = log_evidence(base, weights, target)
    message = mixing.to_inputs(down, weights, connection.n_columns(n_inputs))
    found = connection.log_ratio(message, base, probability)
    expected = np.empty_like(probability)
    for sample, spike in np.ndindex(probability.shape):
        log_z = []
        for value in (0.0, 1.0):
            known = probability.copy()
            known[sample, spike] = value
            log_z.append(log_evidence(connection.spikes(known, constant), weights, target)[0].sum())
        expected[sample, spike] = log_z[1] - log_z[0]
    # To first order in a unit's share of the potential.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.03 * np.abs(expected).max())
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


def test_a_connection_has_to_say_how_it_gathers():
    class Nothing(Connection):
        def __init__(self, n_units=1):
            self.n_units = n_units

    for call in (lambda: Nothing().gather(np.ones((1, 2))), lambda: Nothing().scatter(np.ones((1, 2)), 2)):
        with pytest.raises(NotImplementedError):
            call()


# ---------------------------------------------------------------------- whole networks


def steps_task(n_samples, seed):
    """Which of two pulses came first, in 12 steps of two features."""
    rng = np.random.default_rng(seed)
    X = 0.1 * rng.normal(size=(n_samples, 12, 2))
    first, later = rng.integers(0, 5, n_samples), rng.integers(7, 12, n_samples)
    y = rng.integers(0, 2, n_samples)
    X[np.arange(n_samples), first, y] += 1
    X[np.arange(n_samples), later, 1 - y] += 1
    return X.reshape(n_samples, -1), y


def test_a_convolution_learns_digits(digits):
    model = EPSNNClassifier((Patches(8, (8, 8), size=4, stride=2),), random_state=0).fit(digits.X, digits.y)
    # As much as a dense layer of 8 neurons, from a quarter of its hidden weights: .82 and .83.
    assert model.score(digits.X_test, digits.y_test) > 0.75
    assert model.coefs_[0].shape == (16, 8) and model.coefs_[1].shape == (9 * 8, 10)
    assert np.all(np.isfinite(model.predict_uncertainty(digits.X_test)))


def test_a_filter_learns_which_pulse_came_first():
    X, y = steps_task(300, 0)
    model = EPSNNClassifier((Leak(12, n_steps=12, leak=0.7),), max_iter=20, random_state=0).fit(X, y)
    X_test, y_test = steps_task(300, 1)
    assert model.score(X_test, y_test) > 0.85
    assert model.coefs_[0].shape == (2, 12) and model.coefs_[1].shape == (144, 1)


def test_a_patch_of_the_whole_image_is_a_dense_layer(digits):
    """One row with every input in its order: the same network, the same bits."""
    whole = EPSNNClassifier((Patches(10, (8, 8), size=8),), max_iter=5, random_state=0).fit(digits.X, digits.y)
    dense = EPSNNClassifier(10, max_iter=5, random_state=0).fit(digits.X, digits.y)
    np.testing.assert_array_equal(whole.predict_proba(digits.X_test), dense.predict_proba(digits.X_test))


def test_a_shifted_image_gives_a_shifted_map():
    connection, image = Patches(3, (6, 6), size=3), np.random.default_rng(0).uniform(size=(6, 6))
    kernel = np.random.default_rng(1).normal(size=(3, 9))
    maps = [
        (connection.gather(np.roll(image, shift, axis=1).reshape(1, -1)) @ kernel.T).reshape(4, 4, 3)
        for shift in (0, 1)
    ]
    np.testing.assert_allclose(maps[1][:, 1:], maps[0][:, :-1], rtol=1e-12)


def test_a_leak_of_nothing_is_the_input_itself():
    values = np.random.default_rng(0).uniform(size=(2, 12))
    connection = Leak(1, n_steps=4, leak=0.0)
    np.testing.assert_array_equal(connection.gather(values), values.reshape(-1, 3))
    # Such a filter selects, so its log-ratio is that of a connection which does.
    rng = np.random.default_rng(1)
    weights = weights_of(connection, 12, True, rng)
    base = connection.spikes(values, True)
    _, down = log_evidence(base, weights, np.ones((8, 1)))
    message = mixing.to_inputs(down, weights, 3)
    averaging = connection.log_ratio(message, base, values)
    selecting = type("Selecting", (Leak,), {"selects": True})(1, 4, 0.0).log_ratio(message, base, values)
    np.testing.assert_allclose(averaging, selecting, rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"weights": "binary", "fit_intercept": False, "inference": Newton()},
        {"weights": "ternary", "max_iter": 20},
        {"prior": "laplace"},
        {"inference": "average_ep", "max_iter": 2},
        {"prior": GaussianPrior(variance=1.0), "activation": "sigmoid", "max_iter": 12},
        {"inference": Newton(rotate_inputs=False), "prior": GaussianPrior(spectral_exponent=0.0)},
        {"n_shards": 2, "max_iter": 12},
        {"n_shards": 2, "inference": Newton()},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*diverged and were refused:sklearn.exceptions.ConvergenceWarning")
def test_convolutions_with_the_other_options(options, digits):
    model = EPSNNClassifier((Patches(8, (8, 8), size=4, stride=2),), random_state=0, **{"max_iter": 3, **options})
    model.fit(digits.X, digits.y)
    assert np.all(np.isfinite(model.predict_proba(digits.X_test)))
    if options.get("inference") != "average_ep":
        assert model.score(digits.X_test, digits.y_test) > 0.7


def test_regression_streams_sparse_rows_and_single_precision(digits):
    connection = Patches(5, (8, 8), size=4, stride=2)
    model = EPSNNRegressor((connection,), max_iter=3, inference=Newton(validation_fraction=0), random_state=0)
    model.fit(digits.X, digits.X[:, 20] + digits.X[:, 21])
    assert model.score(digits.X_test, digits.X_test[:, 20] + digits.X_test[:, 21]) > 0.3
    stream = EPSNNClassifier((clone(connection),), random_state=0)
    for rows in (slice(0, 150), slice(150, 300)):
        stream.partial_fit(digits.X[rows], digits.y[rows], classes=range(10))
    assert stream.score(digits.X_test, digits.y_test) > 0.3
    dense, thin = (
        EPSNNClassifier((clone(connection),), max_iter=2, random_state=0).fit(X, digits.y)
        for X in (digits.X, sparse.csr_array(digits.X))
    )
    np.testing.assert_allclose(
        thin.predict_proba(sparse.csr_array(digits.X_test)), dense.predict_proba(digits.X_test), rtol=1e-6
    )
    single = EPSNNClassifier((clone(connection),), max_iter=2, random_state=0).fit(
        digits.X.astype(np.float32), digits.y
    )
    assert single.predict_proba(digits.X_test.astype(np.float32)).dtype == np.float32


def test_rows_of_a_sample_share_its_weight(digits):
    weight = np.random.default_rng(5).integers(0, 3, size=150)
    X, y = digits.X[:150], digits.y[:150]
    options = {"hidden_layer_sizes": (Patches(4, (8, 8), size=4, stride=2),), "max_iter": 2, "tol": 0}
    # Mini-batches of other rows are other steps; conjugate gradients on a softmax multiply rounding by a billion.
    options |= {"inference": "newton", "output_activation": "sigmoid"}
    # Short trials go by rows, in batches.
    options |= {"prior": GaussianPrior(spectral_exponent=1.0)}
    model = EPSNNClassifier(**options, random_state=0).fit(X, y, sample_weight=weight)
    other = EPSNNClassifier(**options, random_state=0).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(model.predict_potentials(X), other.predict_potentials(X), rtol=1e-6, atol=1e-9)


def test_images_that_do_not_fit_are_refused(digits):
    with pytest.raises(ValueError, match=r"image_shape=\(7, 8\) has 56 pixels, and X 64 columns"):
        EPSNNClassifier((Patches(4, (7, 8)),)).fit(digits.X, digits.y)
    with pytest.raises(ValueError, match="n_units"):
        EPSNNClassifier((Patches(0, (8, 8)),)).fit(digits.X, digits.y)
