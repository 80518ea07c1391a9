"""Networks in NIR give the same spikes, in an interpreter of its definition and in that of nirtorch."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, to_nir

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
        else:
            assert isinstance(node, nir.Input | nir.Output)
        results[name] = values
        if name not in following:
            return results
        name = following[name]


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
