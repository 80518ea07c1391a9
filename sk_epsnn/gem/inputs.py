"""Inputs of a batch as spikes, and the random numbers behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

#: Where random numbers are used: the inputs, then the hidden layers from 1, the outputs.
INPUTS, OUTPUTS = 0, -1


class Uniforms(Protocol):
    """Gives numbers uniform on [0, 1) for a place and a shape (n_steps, n_samples, n_compartments, n_units).

    The result has that shape, or one that broadcasts to it.
    """

    def __call__(self, place: int, shape: tuple[int, ...]) -> np.ndarray:
        """The numbers."""


def fresh(rng: np.random.RandomState) -> Uniforms:
    """Other numbers at every call and for every sample, in single precision: for training."""
    generator = np.random.Generator(np.random.SFC64(rng.randint(2**31 - 1)))

    def numbers(place: int, shape: tuple[int, ...]) -> np.ndarray:
        return generator.random(shape, np.float32)

    return numbers


def common(seed: int) -> Uniforms:
    """The same numbers at every call and for all samples: what is predicted of a sample depends on no other."""

    def numbers(place: int, shape: tuple[int, ...]) -> np.ndarray:
        generator = np.random.Generator(np.random.SFC64([seed, place - OUTPUTS]))
        return generator.random((shape[0], 1, *shape[2:]))

    return numbers


class Inputs(NamedTuple):
    """What goes into the network.

    Attributes
    ----------
    values : ndarray of shape (n_steps or 1, n_samples, 1, n_features)
        One step stands for inputs that stay the same.
    n_steps : int
    present : ndarray of shape (n_steps, n_samples) or None
        1 for steps that a sample has, 0 after its end; None where all have all.
    """

    values: np.ndarray
    n_steps: int
    present: np.ndarray | None

    @property
    def n_present(self) -> float:
        """Steps of all samples."""
        n_samples = self.values.shape[1]
        return float(self.n_steps * n_samples) if self.present is None else float(self.present.sum())


@dataclass(frozen=True)
class InputCode:
    """How rows of X become inputs.

    Attributes
    ----------
    n_features : int
        Columns of X, or of each of its steps.
    n_steps : int or None
        For how many steps a row is shown; None for sequences, whose steps stand side by side.
    is_drawn : bool
        Whether X holds rates, from which spikes are drawn at every step, or what is felt itself.
    """

    n_features: int
    n_steps: int | None
    is_drawn: bool

    def inputs(self, X: np.ndarray, uniforms: Uniforms, dtype: Any) -> Inputs:
        """Inputs of some rows; rates of 0 and 1 need no draws."""
        values = np.asarray(X, dtype).reshape(len(X), -1, self.n_features).transpose(1, 0, 2)[:, :, np.newaxis]
        present = None
        if self.n_steps is None:
            ended = np.isnan(values[:, :, 0, 0])
            if ended.any():
                present = (~ended).astype(dtype)
                values = np.nan_to_num(values, nan=0.0)
        n_steps = self.n_steps or len(values)
        if self.is_drawn and not ((values == 0) | (values == 1)).all():
            values = (uniforms(INPUTS, (n_steps, *values.shape[1:])) < values).astype(dtype)
        return Inputs(np.ascontiguousarray(values), n_steps, present)
