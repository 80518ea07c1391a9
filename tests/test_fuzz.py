"""Random calls of the public methods, most of them wrong: only documented errors, and none leaves a trace.

Searched by hypothesis, the nightly profile more widely (see conftest.py).
"""

import inspect
import pickle
import warnings
from contextlib import contextmanager
from copy import deepcopy
from decimal import Decimal
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sk_epsnn import (
    DeltaSpikeEncoder,
    EPSNNClassifier,
    EPSNNRegressor,
    LaplacePrior,
    LatencySpikeEncoder,
    Newton,
    PatchSpikeEncoder,
    PopulationEncoder,
    RateSpikeEncoder,
    merge,
)

#: A run is a dozen calls, some of which train.
RUNS = settings(max_examples=max(20, settings.default.max_examples // 2), stateful_step_count=12, deadline=None)
#: What the docstrings name: wrong values, wrong types, and calls before fit (a ValueError and an AttributeError).
DOCUMENTED = (ValueError, TypeError, NotFittedError)
N_FEATURES = 3

NUMBERS = st.one_of(
    st.integers(-3, 5),
    st.floats(),
    st.booleans(),
    st.sampled_from([1e300, -1e300, 1e-300, 2**70, 0.5, Decimal("0.5"), np.float32(0.5), np.int8(2)]),
)
SCALARS = st.one_of(
    NUMBERS,
    st.none(),
    st.text(max_size=3),
    st.sampled_from(["auto", "newton", "sigmoid", "heaviside", "binary", "ternary", "laplace", "balanced", "mode"]),
    st.sampled_from([1j, b"x", object(), np.datetime64("2000-01-01"), ..., int, np.nan, LaplacePrior()]),
)
ARRAYS = st.one_of(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_, np.complex128, "U2"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    hnp.arrays(object, hnp.array_shapes(max_dims=2, max_side=4), elements=SCALARS),
)
JUNK = st.one_of(
    SCALARS,
    ARRAYS,
    ARRAYS.filter(lambda a: a.ndim == 2 and a.dtype.kind in "fiub").map(sparse.coo_array),
    st.lists(SCALARS, max_size=4),
    st.lists(st.lists(NUMBERS, max_size=3), max_size=4),
    st.dictionaries(SCALARS.filter(lambda s: s.__hash__ is not None), SCALARS, max_size=3),
    st.tuples(NUMBERS, NUMBERS),
)
ROWS = st.integers(1, 12)
SEEDS = st.integers(0, 3)


def wrong(*arguments):
    """Which argument of a call is junk, if any."""
    return st.sampled_from([None, *arguments])


def replaced(arguments, name, value):
    """The arguments with that of a name replaced."""
    return arguments if name is None else {**arguments, name: value}


def rows_of(seed, n_rows):
    return np.random.default_rng(seed).normal(size=(n_rows, N_FEATURES))


class Calls(RuleBasedStateMachine):
    """One estimator through a random life; `kind` and `target` are those of a subclass."""

    kind = None

    @staticmethod
    def target(seed, n_rows):
        raise NotImplementedError

    def __init__(self, freeze):
        super().__init__()
        self.freeze = freeze

    @initialize(
        hidden=st.sampled_from([(), (4,)]), weights=st.sampled_from(["continuous", "binary"]), fitted=st.booleans()
    )
    def start(self, hidden, weights, fitted):
        self.model = deepcopy(self.begin(hidden, weights, fitted))

    @classmethod
    @cache
    def begin(cls, hidden, weights, fitted):
        """The few estimators that lives begin with, each made once."""
        model = cls.kind(hidden, weights=weights, inference=Newton(n_sweeps=2), max_iter=2, random_state=0)
        return model.fit(rows_of(0, 12), cls.target(0, 12)) if fitted else model

    @property
    def fitted(self):
        return hasattr(self.model, "n_iter_")

    @contextmanager
    def only_documented_errors(self):
        """The call inside succeeds, or raises a documented error with a message and changes nothing."""
        before = self.freeze(self.model)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except DOCUMENTED as error:
            assert str(error)
            assert self.freeze(self.model) == before

    @contextmanager
    def nothing_changes(self):
        """The same for a call that changes nothing when it succeeds either."""
        before = self.freeze(self.model)
        with self.only_documented_errors():
            yield
        assert self.freeze(self.model) == before

    def check(self):
        """A fitted model predicts finite numbers."""
        if self.fitted and self.model.n_features_in_ == N_FEATURES:
            assert all(np.isfinite(part).all() for part in self.model.predict_potentials(rows_of(9, 3)))
            assert np.isfinite(self.model.predict_uncertainty(rows_of(9, 3))).all()
            assert all((variance >= 0).all() for variance in self.model.coefs_variance_)

    def rows(self, seed, n_rows):
        """Arguments of a call as they should be."""
        return {"X": rows_of(seed, n_rows), "y": self.target(seed, n_rows)}

    @rule(seed=SEEDS, n_rows=ROWS, wrong=wrong("X", "y", "sample_weight"), junk=JUNK)
    def fit(self, seed, n_rows, wrong, junk):
        arguments = {**self.rows(seed, n_rows), "sample_weight": None}
        with self.only_documented_errors():
            self.model.fit(**replaced(arguments, wrong, junk))
        self.check()

    @rule(seed=SEEDS, n_rows=ROWS, wrong=wrong("X", "y", "sample_weight", "classes"), junk=JUNK)
    def partial_fit(self, seed, n_rows, wrong, junk):
        arguments = {**self.rows(seed, n_rows), "sample_weight": None}
        if self.kind is EPSNNClassifier:
            arguments["classes"] = [0, 1, 2]
        with self.only_documented_errors():
            self.model.partial_fit(**replaced(arguments, wrong, junk))
        self.check()

    @rule(data=st.data(), seed=SEEDS, n_rows=ROWS, value=JUNK, stream=st.booleans())
    def train_with_another_parameter(self, data, seed, n_rows, value, stream):
        name = data.draw(st.sampled_from(sorted(self.model.get_params())))
        before = self.model.get_params()[name]
        self.model.set_params(**{name: value})
        with self.only_documented_errors():
            X, y = rows_of(seed, n_rows), self.target(seed, n_rows)
            if stream and self.fitted:
                self.model.partial_fit(X, y)
            else:
                self.model.fit(X, y)
        self.model.set_params(**{name: before})
        self.check()

    @rule(name=st.text(max_size=5), value=SCALARS)
    def set_params(self, name, value):
        with self.only_documented_errors():
            self.model.set_params(**{name: value})
        with self.only_documented_errors():
            self.model.set_params(prior__slab_variance=value)  # of a prior given by its name

    @rule(data=st.data(), seed=SEEDS, n_rows=ROWS, wrong=wrong("X"), junk=JUNK)
    def predict(self, data, seed, n_rows, wrong, junk):
        names = ("predict", "predict_proba", "predict_log_proba", "predict_uncertainty", "predict_potentials")
        method = getattr(self.model, data.draw(st.sampled_from([n for n in names if hasattr(self.model, n)])))
        with self.nothing_changes():
            result = np.asarray(method(**replaced({"X": rows_of(seed, n_rows)}, wrong, junk)))
            assert result.dtype.kind not in "fc" or np.isfinite(result).all()

    @rule(seed=SEEDS, n_rows=ROWS, wrong=wrong("X", "y", "sample_weight"), junk=JUNK)
    def score(self, seed, n_rows, wrong, junk):
        arguments = {**self.rows(seed, n_rows), "sample_weight": None}
        with self.nothing_changes():
            self.model.score(**replaced(arguments, wrong, junk))

    @rule(weights=st.sampled_from(["mode", "mean", "sample"]), wrong=wrong("weights", "random_state"), junk=SCALARS)
    def known_weights(self, weights, wrong, junk):
        with self.nothing_changes():
            frozen = self.model.freeze(**replaced({"weights": weights, "random_state": 0}, wrong, junk))
            assert all((variance == 0).all() for variance in frozen.coefs_variance_)

    @precondition(lambda self: self.fitted)
    @rule(wrong=wrong("base", "estimators"), junk=JUNK)
    def merge(self, wrong, junk):
        with self.only_documented_errors():
            merge(**replaced({"base": self.model, "estimators": [deepcopy(self.model)]}, wrong, junk))

    @rule()
    def look(self):
        """Attributes exist or say that they do not."""
        before = self.freeze(self.model)
        names = [name for name, _ in inspect.getmembers(self.kind, lambda a: isinstance(a, property))]
        for name in names:
            if not name.startswith("_"):
                getattr(self.model, name, None)
        assert repr(self.model) and self.model._repr_html_()
        assert self.freeze(self.model) == before

    @rule()
    def copies(self):
        assert self.freeze(pickle.loads(pickle.dumps(self.model))) == self.freeze(self.model)
        assert self.freeze(clone(self.model).get_params()) == self.freeze(self.model.get_params())


class ClassifierCalls(Calls):
    kind = EPSNNClassifier

    @staticmethod
    def target(seed, n_rows):
        return np.random.default_rng(seed).permutation(np.arange(n_rows) % 3)


class RegressorCalls(Calls):
    kind = EPSNNRegressor

    @staticmethod
    def target(seed, n_rows):
        return np.random.default_rng(seed).normal(size=n_rows)


@pytest.mark.parametrize("machine", [ClassifierCalls, RegressorCalls])
def test_calls_in_any_order(machine, freeze):
    run_state_machine_as_test(lambda: machine(freeze), settings=RUNS)


@pytest.mark.parametrize(
    "encoder",
    [PopulationEncoder(5), RateSpikeEncoder(), LatencySpikeEncoder(), DeltaSpikeEncoder(), PatchSpikeEncoder()],
)
@given(data=st.data(), seed=SEEDS, n_rows=ROWS, wrong=wrong("X", "parameter", "new rows"), junk=JUNK)
@settings(deadline=None)
def test_encoders(encoder, freeze, data, seed, n_rows, wrong, junk):
    encoder = clone(encoder)
    if wrong == "parameter":
        encoder.set_params(**{data.draw(st.sampled_from(sorted(encoder.get_params()))): junk})
    before = freeze(encoder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encoder.fit(junk if wrong == "X" else rows_of(seed, n_rows))
            before = freeze(encoder)
            values = encoder.transform(junk if wrong == "new rows" else rows_of(seed + 1, n_rows))
        values = values.toarray() if sparse.issparse(values) else values
        ended = np.isnan(values) if wrong == "new rows" else False
        assert (((values >= 0) & (values <= 1)) | ended).all()
    except DOCUMENTED as error:
        assert str(error)
    assert freeze(encoder) == before
