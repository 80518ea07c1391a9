"""What a fitted estimator says depends on its fit: no parameter that is changed afterwards, in any depth, matters."""

import pickle
from copy import deepcopy

import numpy as np
import parameters
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_epsnn import EPSNNClassifier, HeavisideOutput, Levels

EVERY = pytest.mark.parametrize("name", parameters.ESTIMATORS)
X = np.random.default_rng(0).normal(size=(80, 3))
LABELS = np.arange(80) % 3
TARGETS = X @ np.array([1.0, -1.0, 0.5]) + 0.1 * np.cos(7 * X[:, 0])
FITTED = {}


def fitted(name):
    """An estimator that was fitted and then went on with a stream; its own copy for each caller."""
    if name not in FITTED:
        model = parameters.ESTIMATORS[name]()
        y = LABELS if isinstance(model, EPSNNClassifier) else TARGETS
        FITTED[name] = model.set_params(max_iter=2).fit(X[:60], y[:60]).partial_fit(X[60:], y[60:])
    return deepcopy(FITTED[name])


@EVERY
def test_every_parameter_in_turn(name, freeze):
    before = freeze(parameters.say(fitted(name), X))
    for parameter in fitted(name).get_params(deep=True):
        model = fitted(name)
        model.set_params(**{parameter: parameters.another_value(model, parameter)})
        assert freeze(parameters.say(model, X)) == before, parameter


@EVERY
@given(data=st.data())
@settings(max_examples=max(4, settings.default.max_examples // 250))
def test_any_of_them_together(name, freeze, data):
    model = fitted(name)
    before = freeze(parameters.say(model, X))
    names = sorted(model.get_params(deep=True))
    chosen = data.draw(st.permutations(names))[: data.draw(st.integers(1, len(names)))]
    for parameter in chosen:
        # An object that was replaced by a name takes its own parameters with it.
        if parameter in model.get_params(deep=True):
            setattr_deep(model, parameter, parameters.another_value(model, parameter))
    assert freeze(parameters.say(model, X)) == before
    assert freeze(parameters.say(pickle.loads(pickle.dumps(model)), X)) == before


def setattr_deep(model, parameter, value):
    """Set an attribute of the estimator, or of one of its options, as an assignment does."""
    *owners, last = parameter.split("__")
    for owner in owners:
        model = getattr(model, owner)
    setattr(model, last, value)


@EVERY
def test_what_is_changed_in_place(name, freeze):
    """Lists, dicts and generators that a caller keeps and changes."""
    model = fitted(name)
    before = freeze(parameters.say(model, X))
    changed = 0
    for value in model.get_params(deep=True).values():
        if isinstance(value, list):
            value[:] = value[::-1] + ["x"]
            changed += 1
        elif isinstance(value, dict):
            value.clear()
            changed += 1
        elif isinstance(value, np.random.RandomState):
            value.randint(10)
            changed += 1
    assert freeze(parameters.say(model, X)) == before
    assert changed or name not in ("options", "threshold on levels", "hidden classifier")


@EVERY
def test_parameters_that_are_gone(name, freeze):
    """Nothing reads one: without any of them a fitted estimator says the same, but for how many jobs predict."""
    model = fitted(name)
    before = freeze(parameters.say(model, X))
    for parameter in model.get_params(deep=False):
        if parameter != "n_jobs":
            delattr(model, parameter)
    assert freeze(parameters.say(model, X)) == before


def test_the_objects_themselves_are_left_as_they_were(freeze):
    """What fit is given is not changed, and not kept."""
    output, weights = HeavisideOutput(noise_variance=1.0), Levels([1.0, -1.0])
    before = freeze([output, weights])
    model = EPSNNClassifier(output_activation=output, weights=weights).fit(X, LABELS)
    assert freeze([output, weights]) == before
    assert model.output_activation is output and model.weights is weights
    assert model._progress.state.network.output is not output
