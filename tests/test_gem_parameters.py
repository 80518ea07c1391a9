"""Every parameter of the GEM-SNNs and of their objects does something: another value, another result."""

import numpy as np
import pytest
from sklearn.base import clone

from sk_epsnn import (
    GEM,
    IW,
    MB,
    SGD,
    Adam,
    ExponentialFilter,
    GEMSNNClassifier,
    GEMSNNRegressor,
    GLMNeuron,
    RaisedCosineFilters,
)

RNG = np.random.default_rng(0)
X = RNG.random((40, 3))
LABELS = (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 0.8)
TARGETS = X @ [1.0, -1.0, 0.5]
SHORT = {"hidden_layer_sizes": 5, "n_steps": 6, "max_iter": 3, "batch_size": 8, "random_state": 0}
LOOPS = GLMNeuron(synapse=RaisedCosineFilters(n_filters=2, memory=3), delay=1, feedback=True)
#: Another value of each parameter, and what else has to be set for it to have an effect.
CLASSIFIER = {
    "hidden_layer_sizes": (4, {}),
    "activation": (GLMNeuron(delay=1), {}),
    "input_to_output": (True, {}),
    "inference": ("mb", {}),
    "optimizer": ("adam", {}),
    "alpha": (1.0, {}),
    "n_steps": (7, {}),
    "encode": ("range", {}),
    "update": ("step", {}),
    "batch_size": (5, {}),
    "max_iter": (None, {}),
    "n_compartments_predict": (3, {}),
    "decision": ("likelihood", {}),
    "temperature": (2.0, {}),
    "class_weight": ({0: 1, 1: 5, 2: 1}, {}),
    "random_state": (1, {}),
    "inference__n_compartments": (3, {"inference": GEM()}),
    "inference__center": (False, {"inference": GEM()}),
    "inference__trace_decay": (0.7, {"inference": GEM()}),
    "inference__sparsity": (0.1, {"inference": GEM()}),
    "inference__firing_rate": (0.1, {"inference": GEM(sparsity=0.1)}),
    "optimizer__learning_rate": (0.5, {"optimizer": SGD()}),
    "activation__synapse": ("raised_cosines", {"activation": GLMNeuron()}),
    "activation__synapse__decay": (0.1, {"activation": GLMNeuron(synapse=ExponentialFilter())}),
    "activation__synapse__n_filters": (3, {"activation": LOOPS}),
    "activation__synapse__memory": (4, {"activation": LOOPS}),
    "activation__delay": (0, {"activation": LOOPS}),
    "activation__feedback": (False, {"activation": LOOPS}),
    "activation__feedback_decay": (0.1, {"activation": LOOPS}),
    "activation__recurrent": (True, {"activation": LOOPS}),
}
for rule in (MB(), IW()):
    for name, value in {"n_compartments": 3, "trace_decay": 0.7, "sparsity": 0.1}.items():
        CLASSIFIER[f"inference__{name}", rule.name] = (value, {"inference": rule})
    CLASSIFIER["inference__firing_rate", rule.name] = (0.1, {"inference": clone(rule).set_params(sparsity=0.1)})
for name, value in {"learning_rate": 0.003, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}.items():
    CLASSIFIER[f"optimizer__{name}", "adam"] = (value, {"optimizer": Adam()})


@pytest.mark.parametrize("entry", CLASSIFIER, ids=str)
def test_another_value_is_another_result(entry):
    value, others = CLASSIFIER[entry]
    name = entry if isinstance(entry, str) else entry[0]
    data = 0.9 * X if name == "encode" else X
    model = GEMSNNClassifier(**{**SHORT, **others}).fit(data, LABELS)
    changed = clone(model).set_params(**{name: value}).fit(data, LABELS)
    assert not np.array_equal(model.predict_proba(data), changed.predict_proba(data))
    again = clone(model).fit(data, LABELS)
    np.testing.assert_array_equal(model.predict_proba(data), again.predict_proba(data))


def test_every_parameter_is_asked():
    told = {"verbose", "warm_start"}  # by tests of their own
    assert set(GEMSNNClassifier().get_params(deep=False)) - told <= set(CLASSIFIER)
    for owner, kinds in {"inference": (GEM, MB, IW), "optimizer": (SGD, Adam)}.items():
        for kind in kinds:
            for name in kind().get_params():
                assert {f"{owner}__{name}", (f"{owner}__{name}", kind.name)} & set(CLASSIFIER), name
    for name in GLMNeuron().get_params():
        assert f"activation__{name}" in CLASSIFIER


@pytest.mark.parametrize("name, value", [("n_output_neurons", 7), ("n_steps", 7), ("alpha", 1.0), ("update", "step")])
def test_those_of_the_regressor(name, value):
    model = GEMSNNRegressor(**SHORT).fit(X, TARGETS)
    changed = clone(model).set_params(**{name: value}).fit(X, TARGETS)
    assert not np.array_equal(model.predict(X), changed.predict(X))


def test_the_two_share_their_words():
    classifier, regressor = GEMSNNClassifier().get_params(), GEMSNNRegressor().get_params()
    assert set(classifier) - set(regressor) == {"decision", "temperature", "class_weight"}
    assert set(regressor) - set(classifier) == {"n_output_neurons"}
    assert all(classifier[name] == regressor[name] for name in set(classifier) & set(regressor))
