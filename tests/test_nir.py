"""Networks in NIR give the same spikes, in an interpreter of its definition and in that of nirtorch."""

import sys

import numpy as np
import pytest
import toys
from scipy.signal import correlate
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sk_epsnn import LIF, Convolution, EPSNNClassifier, EPSNNRegressor, Newton, SigmoidLIF, to_nir

nir = pytest.importorskip("nir", reason="nir is not installed")

CLASSIFIERS = {
    "one layer": {},
    "by themselves": {"output_activation": "sigmoid"},
    "hidden": {"hidden_layer_sizes": 20},
    "two hidden": {"hidden_layer_sizes": (12, 10)},
    "binary": {"hidden_layer_sizes": 20, "weights": "binary"},
    "lattice": {"hidden_layer_sizes": (15, 8), "weights": "binary", "fit_intercept": False},
    "ternary": {"weights": "ternary"},
    "threshold": {"hidden_layer_sizes": 10, "output_activation": "heaviside"},
}
WHICH = {
    "posterior": lambda model: model,
    "mode": lambda model: model.freeze(),
    "mean": lambda model: model.freeze("mean"),
    "sample": lambda model: model.freeze("sample", random_state=0),
}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X > 7).astype(float), y


@pytest.fixture(scope="module", params=CLASSIFIERS)
def classifier(request, digits):
    X, y = digits
    return EPSNNClassifier(max_iter=2, random_state=0, **CLASSIFIERS[request.param]).fit(X[:600], y[:600])


def run(graph, values):
    """What every node gives, by the definitions of NIR, for graphs that are a chain."""
    following = dict(graph.edges)
    assert len(following) == len(graph.edges) == len(graph.nodes) - 1
    results, name = {}, "input"
    while True:
        node = graph.nodes[name]
        if isinstance(node, nir.Affine):
            values = values @ node.weight.T + node.bias
        elif isinstance(node, nir.Threshold):
            values = np.where(values > node.threshold, 1.0, 0.0)
        elif isinstance(node, nir.Scale):
            values = values * node.scale
        elif isinstance(node, nir.Conv1d | nir.Conv2d):
            values = correlated(node, values)
        elif isinstance(node, nir.AvgPool2d):
            (down, across), (n_samples, n_channels, height, width) = node.kernel_size, values.shape
            regions = values[:, :, : height // down * down, : width // across * across]
            regions = regions.reshape(n_samples, n_channels, height // down, down, width // across, across)
            values = regions.mean(axis=(3, 5))
        elif isinstance(node, nir.Flatten):
            values = values.reshape(len(values), -1)
        else:
            assert isinstance(node, nir.Input | nir.Output)
        assert values.shape[1:] == tuple(node.output_type["output"])
        results[name] = values
        if name not in following:
            return results
        name = following[name]


def correlated(node, values):
    """A convolution by SciPy's correlation; sums in an order of their own, so that whole numbers stay whole."""
    n_axes = node.weight.ndim - 2
    padding, stride = np.broadcast_to(node.padding, n_axes), np.broadcast_to(node.stride, n_axes)
    padded = np.pad(values, [(0, 0), (0, 0), *((size, size) for size in padding)])
    maps = [correlate(padded, kernel[np.newaxis], "valid", "direct")[:, 0] for kernel in node.weight]
    every = np.stack(maps, axis=1)[:, :, *(slice(None, None, size) for size in stride)]
    return every + node.bias.reshape(-1, *[1] * n_axes)


def spikes_of(model, X):
    """Spikes of each hidden layer and output potentials, from the weights of the estimator."""
    layers = []
    for coef, intercept in zip(model.coefs_, model.intercepts_, strict=True):
        potential = X @ coef + intercept
        X = np.where(potential >= 0, 1.0, 0.0)
        layers.append(X)
    return layers[:-1], potential


@pytest.mark.parametrize("which", WHICH)
def test_same_spikes_and_potentials(classifier, digits, which):
    model, X = WHICH[which](classifier), digits[0][600:]
    results = run(to_nir(model), X)
    spikes, potential = spikes_of(model, X)
    fired = [values for name, values in results.items() if name.startswith("threshold")]
    for ours, theirs in zip(spikes, fired[: len(spikes)], strict=True):
        np.testing.assert_array_equal(theirs, ours)
    if classifier.output_activation == "heaviside":
        np.testing.assert_array_equal(results["output"], potential >= 0)
    else:
        np.testing.assert_allclose(results["output"], potential, rtol=1e-9, atol=1e-9)
        if which != "posterior":
            np.testing.assert_array_equal(model.classes_[results["output"].argmax(1)], model.predict(X))


def test_written_and_read_again(classifier, digits, tmp_path):
    graph = to_nir(classifier)
    nir.write(tmp_path / "network.nir", graph)
    again = nir.read(tmp_path / "network.nir")
    for ours, theirs in zip(*(run(g, digits[0]).values() for g in (graph, again)), strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_same_spikes_in_nirtorch(classifier, digits):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    nirtorch = pytest.importorskip("nirtorch", reason="nirtorch is not installed")

    class Node(torch.nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, values):
            return self.function(values)

    tensor = torch.as_tensor
    nodes = {
        # nirtorch's own Affine forgets the bias (1.0).
        nir.Affine: lambda node: Node(lambda v: v @ tensor(node.weight).T + tensor(node.bias)),
        nir.Threshold: lambda node: Node(lambda v: (v > tensor(node.threshold)).to(v.dtype)),
        nir.Scale: lambda node: Node(lambda v: v * tensor(node.scale)),
    }
    graph = to_nir(classifier.freeze())
    output = nirtorch.nir_to_torch(graph, nodes)(torch.from_numpy(digits[0]))
    output = output[0] if isinstance(output, tuple) else output
    np.testing.assert_allclose(output.detach().numpy(), run(graph, digits[0])["output"], rtol=1e-9, atol=1e-9)


def test_binary_weights_stay_binary(digits):
    X, y = digits
    model = EPSNNClassifier((10, 8), weights="binary", max_iter=1, random_state=0).fit(X[:300], y[:300])
    for frozen in (model.freeze(), model.freeze("sample", random_state=1)):
        affine = [node for node in to_nir(frozen).nodes.values() if isinstance(node, nir.Affine)]
        assert len(affine) == 3
        for node in affine:
            np.testing.assert_allclose(np.abs(node.weight), 1.0, rtol=1e-12)


def test_a_potential_of_exactly_zero_fires():
    """Inputs that cancel, over weights of +1 and -1 without biases."""
    rng = np.random.default_rng(0)
    X = (rng.random((200, 4)) < 0.5).astype(float)
    y = (X[:, 0] == X[:, 1]).astype(int)
    model = EPSNNClassifier(6, weights="binary", fit_intercept=False, max_iter=2, random_state=0).fit(X, y).freeze()
    potential = X @ model.coefs_[0]
    assert (potential == 0).any()
    fired = run(to_nir(model), X)["threshold"]
    np.testing.assert_array_equal(fired, potential >= 0)


@pytest.mark.parametrize("params", [{}, {"hidden_layer_sizes": 10}, {"hidden_layer_sizes": 8, "weights": "binary"}])
def test_regressor_predicts_in_the_units_of_the_target(params):
    X, y = load_diabetes(return_X_y=True)
    targets = np.column_stack([y, 10 - 3 * y])
    model = EPSNNRegressor(max_iter=2, random_state=0, **params).fit(X, targets).freeze()
    np.testing.assert_allclose(run(to_nir(model), X)["output"], model.predict(X), rtol=1e-7)


def test_sampling_follows_the_posterior(digits):
    """Means and variances over many draws, of joint, independent and discrete weights."""
    X, y = digits
    for params in ({"hidden_layer_sizes": 4}, {"hidden_layer_sizes": 4, "weights": "ternary"}):
        model = EPSNNClassifier(max_iter=1, random_state=0, **params).fit(X[:100], y[:100])
        rng = np.random.RandomState(0)
        draws = [model.freeze("sample", random_state=rng) for _ in range(400)]
        for layer in range(2):
            values = np.array([draw.coefs_[layer] for draw in draws])
            gain = 1.0 if layer == 0 or not params.get("weights") else model.readout_gain_
            if params.get("weights"):  # the variance of a level is that of its probabilities
                levels = model.levels_
                p = model.coefs_probabilities_[layer]
                variance = (p @ levels**2 - (p @ levels) ** 2) * np.square(gain)
            else:
                variance = model.coefs_variance_[layer]
            z = (values.mean(0) - model.coefs_[layer]) / np.sqrt(variance / len(draws) + 1e-12)
            assert np.abs(z).max() < 6
            ratio = values.var(0)[variance > 1e-3] / variance[variance > 1e-3]
            assert 0.9 < np.mean(ratio) < 1.1


# ---------------------------------------------------------------------- images

CONVOLUTIONS = {
    "one": {"hidden_layer_sizes": Convolution(4, 3, pool=2)},
    "dense behind two": {"hidden_layer_sizes": (Convolution(4, 3, pool=2), Convolution(6, 2), 8), "weights": "binary"},
    "stride and padding": {
        "hidden_layer_sizes": (Convolution(4, 3, stride=2, padding=1), Convolution(5, 3, padding=1)),
        "weights": "ternary",
    },
    "lattice": {
        **{"hidden_layer_sizes": (Convolution(4, 3, padding=1, pool=2), Convolution(3, 3))},
        **{"weights": "binary", "fit_intercept": False},
    },
    "down to a position": {"hidden_layer_sizes": (Convolution(4, 8), Convolution(5, 1))},
    "colors": {"hidden_layer_sizes": Convolution(4, 2, image_shape=(8, 4, 2))},
    "signals": {
        "hidden_layer_sizes": (Convolution(4, 5, stride=2, pool=2, image_shape=(1, 64)), Convolution(4, 3, padding=1)),
        "weights": "ternary",
    },
    "signals of two channels": {
        "hidden_layer_sizes": (Convolution(4, 3, padding=1, image_shape=(1, 32, 2)), 6),
        "weights": "ternary",
    },
    "thresholds": {"hidden_layer_sizes": Convolution(4, 3), "output_activation": "heaviside"},
}


def channels_first(model, X):
    """Rows as the images, or signals, that the graph takes."""
    height, *others = model.network_.connections[0].image_shape
    images = np.moveaxis(X.reshape(-1, height, *others), 3, 1)
    return images[:, :, 0] if height == 1 else images


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, digits, tmp_path):
    X, y = digits
    trained = EPSNNClassifier(max_iter=1, random_state=0, **CONVOLUTIONS[name]).fit(X[:300], y[:300])
    for model in (trained.freeze(), trained.freeze("sample", random_state=0)):
        nir.write(tmp_path / "network.nir", to_nir(model))
        graph = nir.read(tmp_path / "network.nir")
        results = run(graph, channels_first(model, X))
        fired = np.mean(results["threshold"], axis=(0, *range(2, results["threshold"].ndim)))
        assert ((fired > 0) & (fired < 1)).any()
        expected = model.predict_potentials(X).mean
        if trained.output_activation == "heaviside":
            np.testing.assert_array_equal(results["output"], expected >= 0)
            continue
        in_common = (expected - results["output"]).mean(axis=1, keepdims=True)
        np.testing.assert_allclose(results["output"] + in_common, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(model.classes_[results["output"].argmax(1)], model.predict(X))


def test_nodes_of_a_convolution(digits):
    """Pooling is a node of its own, so that discrete weights stay levels."""
    X, y = digits
    model = EPSNNClassifier(max_iter=1, random_state=0, **CONVOLUTIONS["dense behind two"]).fit(X[:300], y[:300])
    graph = to_nir(model.freeze())
    following, name, kinds = dict(graph.edges), "input", []
    while name in following:
        name = following[name]
        kinds.append(type(graph.nodes[name]).__name__)
    convolved = ["Conv2d", "Threshold", "AvgPool2d", "Conv2d", "Threshold"]
    assert kinds == [*convolved, "Flatten", "Affine", "Threshold", "Affine", "Scale", "Output"]
    shapes = [(4, 1, 3, 3), (6, 4, 2, 2), (8, 24), (10, 8)]
    mixing = [node for node in graph.nodes.values() if hasattr(node, "weight")]
    assert [node.weight.shape for node in mixing] == shapes
    for node in mixing:
        np.testing.assert_allclose(np.abs(node.weight), 1.0, rtol=1e-12)
    # Only where patches reach into padding do the thresholds of a channel differ.
    for each in graph.nodes.values():
        assert not isinstance(each, nir.Threshold) or len(np.unique(each.threshold)) == 1


def test_a_regressor_with_convolutions(digits):
    X, y = digits
    layers = (Convolution(4, 3, padding=1, pool=2), Convolution(6, 3, padding=1, pool=2), 5)
    inference = Newton(n_sweeps=2, validation_fraction=0)
    model = EPSNNRegressor(layers, inference=inference, max_iter=1, random_state=0)
    model = model.fit(X[:300], np.column_stack([y, 7 - 2 * y])[:300]).freeze()
    np.testing.assert_allclose(run(to_nir(model), channels_first(model, X))["output"], model.predict(X), rtol=1e-9)


def test_images_that_are_refused(digits):
    X, y = digits
    for layers, message in (
        ((36, Convolution(4, 3, image_shape=(6, 6))), "takes the neurons of a fully connected layer for an image"),
        ((Convolution(4, 4, image_shape=(4, 16)), Convolution(4, 3)), r"Convolution\(.* reads a map of one row"),
        ((Convolution(4, 3), toys.Patches(4, (12, 12))), r"Connections \['Patches'\]"),
    ):
        model = EPSNNClassifier(layers, max_iter=1, random_state=0).fit(X[:100], y[:100])
        with pytest.raises(ValueError, match=message):
            to_nir(model)


# ---------------------------------------------------------------------- steps in time


class Interpreter:
    """Euler's steps of the equations of NIR, on a graph without circles; a node reads the sum of its edges."""

    def __init__(self, graph, dt):
        self.graph, self.dt = graph, dt
        self.before = {name: [end for end, begin in graph.edges if begin == name] for name in graph.nodes}

    def run(self, X):
        """What every node gives at every step, shapes (n_samples, n_steps, n_units)."""
        states, history = {}, {name: [] for name in self.graph.nodes}
        for step in range(X.shape[1]):
            values = {}
            for name in self._order():
                read = sum(values[other] for other in self.before[name]) if self.before[name] else X[:, step]
                values[name] = self._step(name, read, states)
                history[name].append(values[name])
        return {name: np.stack(values, axis=1) for name, values in history.items()}

    def _order(self):
        done = []
        while len(done) < len(self.graph.nodes):
            done += [n for n in self.graph.nodes if n not in done and set(self.before[n]) <= set(done)]
        return done

    def _step(self, name, read, states):
        node = self.graph.nodes[name]
        match type(node):
            case nir.Input | nir.Output:
                return read
            case nir.Affine:
                return read @ node.weight.T + node.bias
            case nir.Linear:
                return read @ node.weight.T
            case nir.Scale:
                return read * node.scale
            case nir.Threshold:
                return np.where(read > node.threshold, 1.0, 0.0)
            case nir.I:
                states[name] = states.get(name, 0.0) + self.dt * node.r * read
                return states[name]
            case nir.LI:
                v = states.get(name, 0.0)
                states[name] = v + self.dt / node.tau * (node.v_leak - v + node.r * read)
                return states[name]
            case nir.Delay:
                late = states.setdefault(name, [])
                late.append(read)
                (n_late,) = set(np.rint(node.delay / self.dt).astype(int))
                np.testing.assert_allclose(node.delay, n_late * self.dt)
                return late[-1 - n_late] if len(late) > n_late else np.zeros_like(read)
        raise AssertionError(f"{node} is no node that was expected")


def signals(n_samples=60, n_steps=12, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n_samples)
    X = rng.normal(size=(n_samples, n_steps, n_features))
    X[:, :, 0] += np.where(np.arange(n_steps) < n_steps // 2, 1.0, -1.0) * y[:, None]
    return X, y


def traces(values, leak):
    """``x_t = leak x_(t-1) + (1 - leak) v_t`` as the sum that it is."""
    ago = np.subtract.outer(np.arange(values.shape[1]), np.arange(values.shape[1]))
    taps = np.where(ago >= 0, (1 - leak) * float(leak) ** np.maximum(ago, 0), 0.0)
    return np.einsum("ts,nsj->ntj", taps, values)


def read_out(values, readout, leak):
    """What the outputs see of their inputs."""
    if readout == "last":
        weight = float(leak) ** np.arange(values.shape[1])[::-1]
        return np.einsum("t,ntj->nj", weight / weight.sum(), values)
    n_parts = 1 if readout == "mean" else readout
    parts = np.array_split(values, n_parts, axis=1)
    return np.concatenate([part.sum(axis=1) / max(part.shape[1], 1) for part in parts], axis=1)


def simulated(model, X, readout, leaks):
    """Spikes of every hidden layer at every step and potentials of the outputs, from the estimator's weights."""
    spikes, values = [], X
    for index, (coef, intercept) in enumerate(zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True)):
        center = model.network_.connections[index].center
        values = np.where(traces(values - center, leaks[index]) @ coef + intercept >= 0, 1.0, 0.0)
        spikes.append(values)
    return spikes, read_out(values, readout, leaks[-1]) @ model.coefs_[-1] + model.intercepts_[-1]


OVER_STEPS = {
    "mean": ({"hidden_layer_sizes": 8, "activation": LIF(leak=0.8)}, "mean", [0.8]),
    "last": ({"hidden_layer_sizes": 8, "activation": LIF(leak=0.7, readout="last")}, "last", [0.7]),
    "the last alone": ({"hidden_layer_sizes": 8, "activation": LIF(leak=0.0, readout="last")}, "last", [0.0]),
    "parts": ({"hidden_layer_sizes": 8, "activation": LIF(leak=0.8, readout=5)}, 5, [0.8]),
    "more parts than steps": ({"hidden_layer_sizes": 4, "activation": LIF(leak=0.5, readout=13)}, 13, [0.5]),
    "no memory": ({"hidden_layer_sizes": 8}, "mean", [0.0]),
    "two layers": (
        {"hidden_layer_sizes": (7, 6), "activation": [LIF(leak=0.6), LIF(leak=0.9, readout=2)]},
        2,
        [0.6, 0.9],
    ),
    "no hidden layer": ({"activation": LIF(leak=0.8, readout="last")}, "last", [0.8]),
    "binary": ({"hidden_layer_sizes": 8, "activation": LIF(leak=0.8, readout=2), "weights": "binary"}, 2, [0.8]),
    "thresholds": (
        {"hidden_layer_sizes": 6, "activation": LIF(leak=0.8, readout=2), "output_activation": "heaviside"},
        2,
        [0.8],
    ),
}


@pytest.mark.parametrize("name", OVER_STEPS)
def test_same_spikes_at_every_step(name):
    parameters, readout, leaks = OVER_STEPS[name]
    X, y = signals()
    trained = EPSNNClassifier(**parameters, max_iter=1, inference=Newton(), random_state=0).fit(X, y)
    dt = 2e-3
    for model in (trained.freeze(), trained.freeze("sample", random_state=0)):
        graph = to_nir(model, dt=dt)
        assert graph.metadata == {"dt": dt, "n_steps": 12}
        results = Interpreter(graph, dt).run(X)
        spikes, potential = simulated(model, X, readout, leaks)
        fired = [values for node, values in results.items() if node.startswith("threshold")]
        for ours, theirs in zip(spikes, fired, strict=False):
            assert 0 < ours.mean() < 1
            np.testing.assert_array_equal(theirs, ours)
        output = results["output"][:, -1]
        if parameters.get("output_activation") == "heaviside":
            np.testing.assert_array_equal(output, potential >= 0)
            continue
        np.testing.assert_allclose(output, potential, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(model.classes_[output.argmax(1)], model.predict(X))


@pytest.mark.parametrize("readout", ["mean", "last", 3])
def test_samples_of_another_length(readout):
    """A graph is for so many steps; those of a sample that ends are the sample without the rest."""
    X, y = signals()
    parameters = {"activation": LIF(leak=0.8, readout=readout), "inference": Newton(), "max_iter": 1}
    model = EPSNNClassifier(6, **parameters, random_state=0).fit(X, y).freeze()
    ended = X.copy()
    ended[:, 7:] = np.nan
    longer = np.concatenate([X, X], axis=1)
    for n_steps, given, whole in ((7, X[:, :7], ended), (24, longer, longer)):
        results = Interpreter(to_nir(model, n_steps=n_steps), 1e-4).run(given)
        expected = model.predict_potentials(whole).mean
        predicted = results["output"][:, -1]
        np.testing.assert_allclose(
            predicted - predicted.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=1e-9
        )


def test_regressor_over_steps(tmp_path):
    X, _ = signals()
    y = np.column_stack([X[:, -1, 0], 30 + 5 * X[:, :, 1].mean(axis=1)])
    model = EPSNNRegressor(6, activation=LIF(leak=0.6, readout=3), max_iter=2, random_state=0).fit(X, y).freeze()
    nir.write(tmp_path / "network.nir", to_nir(model))
    graph = nir.read(tmp_path / "network.nir")
    results = Interpreter(graph, float(graph.metadata["dt"])).run(X)
    assert int(graph.metadata["n_steps"]) == 12
    np.testing.assert_allclose(results["output"][:, -1], model.predict(X), rtol=1e-7)


def test_discrete_weights_over_steps_stay_levels():
    X, y = signals()
    parameters = {"activation": LIF(leak=0.8, readout=3), "weights": "binary", "inference": Newton(), "max_iter": 1}
    graph = to_nir(EPSNNClassifier(6, **parameters, random_state=0).fit(X, y).freeze())
    mixing = [node for node in graph.nodes.values() if isinstance(node, nir.Affine | nir.Linear)]
    assert [node.weight.shape for node in mixing] == [(6, 5), (3, 6), (3, 6), (3, 6)]
    for node in mixing:
        np.testing.assert_allclose(np.abs(node.weight), 1.0, rtol=1e-12)


def after_a_sweep(neuron):
    X, y = signals(20)
    return EPSNNClassifier(3, activation=neuron, inference=Newton(n_sweeps=1), max_iter=1).fit(X, y)


def test_steps_that_are_none():
    model = after_a_sweep(LIF(leak=0.8))
    for given in ({"dt": 0.0}, {"dt": "1 ms"}, {"dt": np.nan}, {"n_steps": 0}, {"n_steps": 2.5}):
        with pytest.raises(ValueError, match=next(iter(given))):
            to_nir(model, **given)


def test_refusals_over_steps(digits):
    model = after_a_sweep(SigmoidLIF(leak=0.8))
    with pytest.raises(ValueError, match=r"sigmoid_lif.*fire at random.*LIF\(...\) where X has steps"):
        to_nir(model)
    one_step = EPSNNClassifier(max_iter=1).fit(digits[0][:50], digits[1][:50])
    for given in ({"dt": 1e-3}, {"n_steps": 4}):
        with pytest.raises(ValueError, match="no steps in time; leave out dt and n_steps"):
            to_nir(one_step, **given)


# ---------------------------------------------------------------------- refusals


def test_refusals(digits, monkeypatch):
    X, y = digits
    model = EPSNNClassifier(5, activation="sigmoid", max_iter=1, random_state=0).fit(X[:100], y[:100])
    with pytest.raises(ValueError, match="fire at random.*activation='heaviside'"):
        to_nir(model)
    with pytest.raises(TypeError, match="of a pipeline export the last step"):
        to_nir(make_pipeline(MinMaxScaler(), model))
    with pytest.raises(NotFittedError):
        to_nir(EPSNNClassifier())
    with pytest.raises(ValueError, match="'mode', 'mean' or 'sample', got 'best'"):
        model.freeze("best")
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(ImportError, match=r"sk_epsnn\[nir\]"):
        to_nir(model)
