"""Data and helpers shared by the tests of the estimators."""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from sklearn.datasets import load_digits

# Of each property: 200 fixed cases in every run, or 8000 fresh ones with HYPOTHESIS_PROFILE=nightly.
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=8000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def closed():
    """No figure outlives its test."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


class Split(NamedTuple):
    """Training and test rows."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


@pytest.fixture(scope="session")
def digits() -> Split:
    """A few hundred 8 x 8 digits of all ten classes, scaled to [0, 1]."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    return Split(X[:300], y[:300], X[300:600], y[300:600])


@pytest.fixture(scope="session")
def blobs() -> Split:
    """Three overlapping classes in the plane, fewer than 100 rows each."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=240)
    X = rng.normal(size=(240, 2)) + 2.0 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[y]
    return Split(X[:160], y[:160], X[160:], y[160:])


@pytest.fixture(scope="session")
def line() -> Split:
    """Linear regression on three correlated features, with noise of standard deviation 0.5."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(90, 3)) @ np.array([[1.0, 0.4, 0.0], [0.0, 0.8, 0.3], [0.0, 0.0, 1.5]])
    y = X @ np.array([0.7, -1.2, 0.4]) + 0.3 + 0.5 * rng.normal(size=90)
    return Split(X[:60], y[:60], X[60:], y[60:])


@pytest.fixture(scope="session")
def mnist() -> Split:
    """MNIST in [0, 1] from ``mnist.npz`` (X, y, Xt, yt as uint8) in the folder SK_EPSNN_DATA."""
    folder = os.environ.get("SK_EPSNN_DATA")
    if not folder or not (Path(folder) / "mnist.npz").is_file():
        pytest.skip("set SK_EPSNN_DATA to a folder with mnist.npz (X, y, Xt, yt) to run the tests on MNIST")
    with np.load(Path(folder) / "mnist.npz") as data:
        X, y, X_test, y_test = (data[name] for name in ("X", "y", "Xt", "yt"))
    flat = [(images.reshape(len(images), -1) / np.float32(255)).astype(np.float32) for images in (X, X_test)]
    return Split(flat[0], y, flat[1], y_test)


def _freeze(value):
    if isinstance(value, np.ndarray):
        content = tuple(value.ravel().tolist()) if value.dtype.hasobject else value.tobytes()
        return "array", value.dtype.str, value.shape, content
    if isinstance(value, np.random.RandomState):
        return "RandomState", _freeze(value.get_state())
    if isinstance(value, dict):
        return "dict", tuple((key, _freeze(value[key])) for key in sorted(value, key=repr))
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(_freeze(item) for item in value)
    if hasattr(value, "__dict__") and not isinstance(value, type):
        # What a pickle keeps: everything but what is computed from the rest when it is asked for.
        return type(value).__name__, _freeze(value.__getstate__())
    return type(value).__name__, repr(value)


@pytest.fixture(scope="session")
def freeze():
    """Function that turns an object with all its attributes into a value that compares bit by bit."""
    return _freeze


def pytest_terminal_summary(terminalreporter):
    """One line that says which tests were left out, and why."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ").split(":")[0] for report in reports)
    if reasons:
        said = "; ".join(f"{count} as {reason}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"{len(reports)} tests are skipped: {said}")
