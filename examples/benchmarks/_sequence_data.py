"""Signals with a class each: recordings from files, and tasks that are made here."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _common import Arrays
from sklearn.model_selection import train_test_split

N_TRAIN, N_TEST = 1_000, 2_000
N_STEPS, N_CHANNELS = 20, 8
#: Share of spikes without a meaning, and steps between two cues at least.
NOISE, GAP = 0.05, 8
N_SPEAKERS = 6


def digits_path() -> Path:
    """Where the spoken digits are, if they are there."""
    return Path(os.environ.get("SK_EPSNN_DATA", "")) / "spoken_digits.npz"


def spoken_digits(n_samples: int, seed: int) -> Arrays:
    """A stratified random draw from the 2,700 training recordings, and the 300 test recordings."""
    X, y, test, _ = _digits()
    rows = np.flatnonzero(~test)
    if n_samples < len(rows):
        rows, _ = train_test_split(rows, train_size=n_samples, stratify=y[rows], random_state=seed)
    return X[rows], y[rows], X[test], y[test]


def other_speakers(seed: int) -> Arrays:
    """All recordings of five speakers, and those of the sixth, who is another for every seed."""
    X, y, _, speaker = _digits()
    test = speaker == seed % N_SPEAKERS
    return X[~test], y[~test], X[test], y[test]


def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Signals of 25 steps, digits, whether a recording is for tests, and who speaks."""
    with np.load(digits_path()) as data:
        X, y = data["X"], data["label"].astype(np.int64)
        return (X.reshape(len(X), 25, 2, 64).mean(2) / 255).astype(np.float32), y, data["test"], data["speaker"]


def aeon_folder() -> Path | None:
    """Where the package aeon keeps its data sets; it need not be imported for that."""
    found = find_spec("aeon")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / "datasets" / "data"


def aeon_set(name: str) -> Arrays:
    """A data set of aeon by its own split, all signals with as many steps: NaN where one has ended."""
    folder = aeon_folder()
    assert folder is not None
    X, y = _read(folder / name / f"{name}_TRAIN.ts")
    X_test, y_test = _read(folder / name / f"{name}_TEST.ts")
    classes, n_steps = np.unique(y), max(X.shape[1], X_test.shape[1])
    X, X_test = (
        np.pad(part, ((0, 0), (0, n_steps - part.shape[1]), (0, 0)), constant_values=np.nan) for part in (X, X_test)
    )
    return X, np.searchsorted(classes, y), X_test, np.searchsorted(classes, y_test)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Signals of shape (n_samples, n_steps, n_channels) and labels of a file in which a line is a signal."""
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line.split(":") for line in text[text.lower().index("@data") :].splitlines()[1:] if line.strip()]
    signals = [np.array([channel.split(",") for channel in channels], np.float32).T for *channels, _ in lines]
    X = np.full((len(signals), max(map(len, signals)), signals[0].shape[1]), np.nan, np.float32)
    for row, signal in zip(X, signals, strict=True):
        row[: len(signal)] = signal
    return X, np.array([label for *_, label in lines])


def two_pulses(seed: int) -> Arrays:
    """Each on two channels of its own, at random steps: which came first."""
    rng = np.random.default_rng(seed)
    X, rows = _noise(rng), np.arange(N_TRAIN + N_TEST)
    first = rng.integers(0, 2, len(rows))
    steps = np.sort(rng.permuted(np.tile(np.arange(N_STEPS), (len(rows), 1)), axis=1)[:, :2], axis=1)
    for channel in range(2):
        X[rows, steps[:, 0], 2 * first + channel] = 1
        X[rows, steps[:, 1], 2 * (1 - first) + channel] = 1
    return _split(X, first)


def two_cues(seed: int) -> Arrays:
    """Each on one of two pairs of channels, which says a bit: whether the bits differ."""
    rng = np.random.default_rng(seed)
    X, rows = _noise(rng), np.arange(N_TRAIN + N_TEST)
    bits = rng.integers(0, 2, (2, len(rows)))
    early = rng.integers(0, N_STEPS - GAP, len(rows))
    late = rng.integers(early + GAP, N_STEPS)
    for channel in range(2):
        X[rows, early, 2 * bits[0] + channel] = 1
        X[rows, late, 4 + 2 * bits[1] + channel] = 1
    return _split(X, bits[0] ^ bits[1])


def _noise(rng: np.random.Generator) -> np.ndarray:
    return (rng.random((N_TRAIN + N_TEST, N_STEPS, N_CHANNELS)) < NOISE).astype(np.float32)


def _split(X: np.ndarray, y: np.ndarray) -> Arrays:
    return X[:N_TRAIN], y[:N_TRAIN], X[N_TRAIN:], y[N_TRAIN:]
