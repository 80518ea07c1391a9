"""Every parameter of the SBNNs and of their objects does something: another value, another result."""

import numpy as np
import pytest
from sklearn.base import clone

from sk_epsnn import (
    LIF,
    Concrete,
    GaussianPrior,
    Rao,
    ReinMax,
    SBNNClassifier,
    SBNNRegressor,
    StraightThrough,
    Surrogate,
)

RNG = np.random.default_rng(0)
X = RNG.random((60, 3))
LABELS = (X[:, 0] > X[:, 1]).astype(int) + (X[:, 2] > 0.8)
TARGETS = X @ [1.0, -1.0, 0.5]
SHORT = {"hidden_layer_sizes": 5, "max_iter": 3, "batch_size": 20, "random_state": 0}
DEEP = {"hidden_layer_sizes": (5, 5, 5)}
#: Another value of each parameter, and what else has to be set for it to have an effect.
CLASSIFIER = {
    "hidden_layer_sizes": (4, {}),
    "weights": ("binary", {}),
    "prior": (GaussianPrior(anchor=1.0), {}),
    "inference": ("reinmax", {}),
    "residual": (False, DEEP),
    "n_draws": (3, {}),
    "batch_size": (30, {}),
    "max_iter": (None, {}),
    "class_weight": ({0: 1, 1: 5, 2: 1}, {}),
    "random_state": (1, {}),
    "prior__variance": (3.0, {"prior": GaussianPrior()}),
    "prior__anchor": (0.5, {"prior": GaussianPrior()}),
    "prior__spectral_exponent": (0.3, {"prior": GaussianPrior()}),
    "inference__width": (0.3, {"inference": Rao()}),
    "inference__shape": ("clipped_identity", {"inference": Surrogate()}),
    "inference__slope": (2.0, {"inference": Surrogate(), "max_iter": 60}),
    "inference__hard": (True, {"inference": Concrete()}),
}
for kind in (StraightThrough, Rao, ReinMax, Concrete):
    for name, value in {
        "temperature": 0.9,
        "ramp": 1.0,
        "bias_penalty": 0.3,
        "learning_rate": 0.03,
        "noise_ratio": 2.0,
        "n_draws": 2,
    }.items():
        CLASSIFIER[f"inference__{name}", kind.name] = (value, {"inference": kind()})
CLASSIFIER["inference__width", "concrete"] = (1.0, {"inference": Concrete()})
CLASSIFIER["inference__learning_rate", "surrogate"] = (0.03, {"inference": Surrogate()})


@pytest.mark.parametrize("entry", CLASSIFIER, ids=str)
def test_another_value_is_another_result(entry):
    value, others = CLASSIFIER[entry]
    name = entry if isinstance(entry, str) else entry[0]
    model = SBNNClassifier(**{**SHORT, **others}).fit(X, LABELS)
    changed = clone(model).set_params(**{name: value}).fit(X, LABELS)
    assert not np.array_equal(model.predict_proba(X), changed.predict_proba(X))
    again = clone(model).fit(X, LABELS)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))


def test_every_parameter_is_asked():
    told = {"verbose", "warm_start", "activation"}  # by tests of their own
    assert set(SBNNClassifier().get_params(deep=False)) - told <= set(CLASSIFIER)
    for kind in (StraightThrough, Rao, ReinMax, Concrete, Surrogate):
        for name in kind().get_params():
            assert {f"inference__{name}", (f"inference__{name}", kind.name)} & set(CLASSIFIER), name


@pytest.mark.parametrize("name, value", [("noise_variance", 0.3), ("weights", "binary"), ("inference", "concrete")])
def test_those_of_the_regressor(name, value):
    model = SBNNRegressor(**SHORT).fit(X, TARGETS)
    changed = clone(model).set_params(**{name: value}).fit(X, TARGETS)
    assert not np.array_equal(model.predict(X, return_std=True), changed.predict(X, return_std=True))


def test_the_two_share_their_words():
    classifier, regressor = SBNNClassifier().get_params(), SBNNRegressor().get_params()
    assert set(classifier) - set(regressor) == {"class_weight"}
    assert set(regressor) - set(classifier) == {"noise_variance"}
    assert all(classifier[name] == regressor[name] for name in set(classifier) & set(regressor))


REFUSED = {
    "reset": ({"activation": LIF(reset=1.0)}, "has a reset or is recurrent"),
    "memory": ({"activation": "lif"}, "remembers steps in time, and X has none"),
    "streams of one layer": ({"residual": True}, "two hidden layers or more, all of one width"),
    "streams of other widths": ({"residual": True, "hidden_layer_sizes": (4, 5)}, "all of one width"),
    "points on levels": ({"weights": "binary", "inference": "surrogate"}, "learned through their noise"),
    "anchored levels": ({"weights": "binary", "prior": GaussianPrior(anchor=1.0)}, "prior__anchor has no effect"),
    "variance of levels": (
        {"weights": "binary", "prior": GaussianPrior(variance=1.0)},
        "no effect on weights='binary'",
    ),
    "variances of layers": ({"prior": GaussianPrior(variance=[1.0, 2.0])}, "must be 'auto' or one number"),
    "axes of levels": (
        {"weights": "binary", "prior": GaussianPrior(spectral_exponent=1.0)},
        "no effect where inputs are not turned",
    ),
    "moments of streams": ({"n_draws": 0, "hidden_layer_sizes": (4, 4, 4)}, "do not say enough"),
    "sizes": ({"hidden_layer_sizes": (3, 0)}, "positive integers"),
    "option": ({"inference": Rao(width=0.0)}, "'width' parameter of Rao"),
    "no hidden": ({"hidden_layer_sizes": (), "activation": ["heaviside"]}, "that of hidden neurons"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_and_leaves_no_trace(case):
    parameters, message = REFUSED[case]
    model = SBNNClassifier(**{**SHORT, **parameters})
    with pytest.raises(ValueError, match=message):
        model.fit(X, LABELS)
    assert vars(model) == vars(SBNNClassifier(**model.get_params(deep=False)))
    fitted = SBNNClassifier(**SHORT).fit(X, LABELS)
    before, progress = fitted.predict_proba(X), fitted._progress
    with pytest.raises(ValueError, match=message):
        fitted.set_params(**parameters).fit(X, LABELS)
    assert fitted._progress is progress
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


def test_settings_say_what_auto_stands_for():
    model = SBNNClassifier(**{**SHORT, **DEEP}).fit(X, LABELS)
    assert model.settings_["residual"].value is True
    assert model.settings_["n_draws"].value == 30
    assert set(model.settings_) >= {"inference__temperature", "inference__learning_rate", "prior__variance"}
    assert "batch_size" not in model.settings_
