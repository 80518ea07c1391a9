"""A layered network: connections, neurons, outputs, coordinates of the inputs. Structure, and no inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from sk_epsnn._arrays import (
    Array,
    astype,
    evenly_spread,
    in_chunks,
    is_any,
    like,
    repeat_rows,
    reshape,
    sum_over,
    take,
    total_of,
    where,
    zeros_like,
)
from sk_epsnn._sequences import are_present
from sk_epsnn.basis import InputBasis, fit_basis
from sk_epsnn.connections import Connection
from sk_epsnn.messages import Inputs, observed
from sk_epsnn.neurons import Neuron
from sk_epsnn.outputs import Output
from sk_epsnn.patches import MOST_IMAGES

#: Rows that are predicted at a time: what they need of memory is bounded, and stays in a processor's cache.
PREDICT_ROWS = 1024
#: Numbers that a block of samples has in the widest layer, at most: so few find the memory of the last block again,
#: and need not be given new one.
BLOCK = 3 * 2**17


class Layer(NamedTuple):
    """Hidden neurons and how their inputs reach them."""

    connection: Connection
    neuron: Neuron


@dataclass(frozen=True)
class Batch:
    """Rows in the network's input space, targets of shape (n_targets, n_out), weights of shape (n_samples,).

    A sample has one target or, one after another, those of all its steps; ``step_weight``, of shape (n_targets,), says
    how much each of these counts beside the sample's weight.
    """

    inputs: Inputs
    target: Array
    sample_weight: Array
    step_weight: Array | None = None

    @property
    def n_samples(self) -> int:
        """Number of samples; each may have several rows of inputs."""
        return self.sample_weight.shape[0]

    @property
    def mass(self) -> float:
        """Sum of the weights of all targets."""
        return total_of(self.weight)

    @property
    def weight(self) -> Array:
        """Weight of every target, shape (n_targets,)."""
        if self.step_weight is None:
            return self.sample_weight
        return repeat_rows(self.sample_weight, self.step_weight.shape[0] // self.n_samples) * self.step_weight

    def in_dtype(self, dtype: str) -> Batch:
        """The same in the dtype of that name, itself if it is in it."""
        mean, *others = (
            None if part is None else astype(part, dtype, copy=False)
            for part in (self.inputs.mean, self.target, self.sample_weight, self.step_weight)
        )
        return self if mean is self.inputs.mean else Batch(replace(self.inputs, mean=mean), *others)

    def take(self, chosen: Any) -> Batch:
        """Some of the samples, by a slice, indices or a mask."""
        n_samples, lengths, step_weight = self.n_samples, self.inputs.lengths, self.step_weight
        inputs = observed(
            _of_samples(self.inputs.mean, chosen, n_samples), None if lengths is None else take(lengths, chosen)
        )
        return Batch(
            inputs,
            _of_samples(self.target, chosen, n_samples),
            take(self.sample_weight, chosen),
            None if step_weight is None else _of_samples(step_weight[:, None], chosen, n_samples)[:, 0],
        )


def weight_of_rows(sample_weight: Array, lengths: Any, n_rows: int) -> Array:
    """Weight of each of the rows of samples, 0 for steps that are absent; ``lengths`` is None where none is."""
    weight = repeat_rows(sample_weight, n_rows)
    return weight if lengths is None or n_rows == 1 else weight * are_present(lengths, n_rows).ravel()


def _of_samples(rows: Array, chosen: Any, n_samples: int) -> Array:
    """The rows of some of the samples, each of which may have several, one after another."""
    by_sample = rows if rows.shape[0] == n_samples else reshape(rows, (n_samples, -1))
    return reshape(take(by_sample, chosen), (-1, rows.shape[1]))


@dataclass(frozen=True)
class Network:
    """Layers of spiking neurons without weights.

    Attributes
    ----------
    hidden : tuple of Layer
    readout : Connection
        How the spikes of the last hidden layer, or the inputs, reach the output units.
    output : Output
        The observed units.
    constant : bool
        Whether potentials have a bias: a constant input of 1.
    n_inputs : int
        Columns of the data.
    basis : InputBasis or None
        Coordinates of what enters the first layer; None until rows have been seen.
    """

    hidden: tuple[Layer, ...]
    readout: Connection
    output: Output
    constant: bool
    n_inputs: int
    basis: InputBasis | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @cached_property
    def connections(self) -> tuple[Connection, ...]:
        """Connection of every layer of weights."""
        return (*(layer.connection for layer in self.hidden), self.readout)

    @property
    def reads_patches(self) -> bool:
        """Whether there are convolutions."""
        return any(connection.reads_patches for connection in self.connections)

    @property
    def n_targets(self) -> int:
        """Columns of the targets."""
        return self.readout.n_units // self.output.units_per_target

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Inputs per sample of every layer of weights."""
        sizes = [self.n_inputs]
        for layer in self.hidden:
            sizes.append(layer.connection.n_rows(sizes[-1]) * layer.connection.n_units)
        return tuple(sizes)

    @cached_property
    def n_rows(self) -> tuple[int, ...]:
        """Rows per sample of every layer of weights."""
        return tuple(connection.n_rows(size) for connection, size in zip(self.connections, self.sizes, strict=True))

    @cached_property
    def fan_ins(self) -> tuple[int, ...]:
        """Weights of a neuron in every layer, the bias among them."""
        pairs = zip(self.connections, self.sizes, strict=True)
        return tuple(connection.n_columns(size) + connection.n_own + self.constant for connection, size in pairs)

    def own_columns(self, index: int) -> slice | None:
        """Where the traces of a hidden layer's own spikes are among its inputs, before the constant; None for none."""
        connection = self.connections[index]
        if connection.n_own == 0:
            return None
        start = connection.n_columns(self.sizes[index])
        if index == 0 and self.basis is not None:
            start = self.basis.offset.shape[0]
        return slice(start, start + connection.n_own)

    def largest_product(self, n_samples: int, share: float = 1.0) -> float:
        """Rows x inputs x units of the layer where these are most, when only a share of the data's columns count."""
        parts = zip(self.n_rows, self.fan_ins, self.connections, strict=True)
        first, *others = [rows * fan_in * connection.n_units for rows, fan_in, connection in parts]
        return n_samples * max(share * first, *others, 0)

    @property
    def _n_together(self) -> int:
        """Samples of which all layers have a block of numbers at most."""
        parts = zip(self.n_rows, self.fan_ins, self.connections, strict=True)
        return max(1, BLOCK // max(rows * max(fan_in, connection.n_units) for rows, fan_in, connection in parts))

    @property
    def n_predicted(self) -> int:
        """Samples that are predicted at a time."""
        n_rows = max(1, PREDICT_ROWS // max(self.n_rows))
        return max(n_rows, self._n_together) if self.connections[0].reads_patches else n_rows

    def parts(self, n_samples: int) -> list[slice]:
        """Samples to work on together, of NumPy, in parts as equal as can be.

        All of them where rows of a sample have something in common.
        """
        if any(connection.follows_weights or connection.is_sequential for connection in self.connections):
            return [slice(0, n_samples)]
        n_parts = max(1, -(-n_samples // self._n_together))
        edges = [n_samples * part // n_parts for part in range(n_parts + 1)]
        return [slice(start, stop) for start, stop in zip(edges[:-1], edges[1:], strict=True)]

    def blocks(self, batch: Batch) -> list[Batch]:
        """Parts of a batch that are worked on one after another, where what comes of them adds up.

        Another library than NumPy has its own ways with memory, and gets the whole batch.
        """
        parts = self.parts(batch.n_samples) if type(batch.inputs.mean) is np.ndarray else []
        return [batch.take(part) for part in parts] if len(parts) > 1 else [batch]

    def with_basis(self, X: Any, sample_weight: Array, **options: Any) -> Network:
        """The same network with coordinates chosen from rows; options are those of `fit_basis`.

        Of images there are many patches: up to 1,000 rows are looked at.
        """
        if self.connections[0].reads_patches:
            some = evenly_spread(X.shape[0], MOST_IMAGES)
            X, sample_weight = take(X, some), take(sample_weight, some)
        rows, lengths = self._gathered(X)
        weight = weight_of_rows(sample_weight, lengths, rows.shape[0] // X.shape[0])
        return replace(self, basis=fit_basis(rows, weight, constant=self.constant, **options))

    def for_inputs(self, n_inputs: int) -> Network:
        """The same for so many columns of data, where they are another number of steps."""
        return self if n_inputs == self.n_inputs or not self.has_steps else replace(self, n_inputs=n_inputs)

    def over(self, connections: Sequence[Connection], n_inputs: int) -> Network:
        """The same neurons and coordinates with other connections, for so many columns of data."""
        *hidden, readout = connections
        layers = tuple(Layer(mine, layer.neuron) for mine, layer in zip(hidden, self.hidden, strict=True))
        return replace(self, hidden=layers, readout=readout, n_inputs=n_inputs)

    @property
    def reads_each(self) -> bool:
        """Whether there is a target for every step."""
        return self.has_steps and not self.readout.sums_up

    @property
    def has_steps(self) -> bool:
        """Whether the columns of data are steps in time."""
        return self.connections[0].n_features is not None

    def enter(self, X: Any) -> Inputs:
        """Rows of data as they enter the first layer."""
        basis = self.basis
        assert basis is not None
        if self.connections[0].reads_patches and type(X) is np.ndarray:
            # All patches of many images at once would need much memory, twice.
            some = max(1, BLOCK // (self.n_rows[0] * self.fan_ins[0])) * X.shape[1]
            rows = in_chunks(
                lambda part: reshape(basis.transform(self._gathered(part)[0]), (part.shape[0], -1)), X, size=some
            )
            return observed(reshape(rows, (-1, basis.n_axes)))
        rows, lengths = self._gathered(X)
        return observed(basis.transform(rows), lengths)

    def batch(self, X: Any, target: Array, sample_weight: Array, step_weight: Array | None = None) -> Batch:
        """Rows with targets and weights as the network sees them, in the library and dtype of the data.

        Parameters are those of `sk_epsnn.course.Rows`.
        """
        parts = [target.reshape(-1, target.shape[-1]), sample_weight]
        if step_weight is not None:
            parts.append(step_weight.ravel())
        return Batch(self.enter(X), *(astype(like(part, X), X.dtype) for part in parts))

    def _gathered(self, X: Any) -> tuple[Any, Any]:
        """What the neurons of the first layer read, and how many steps each sample has; None for all or none.

        Sparse rows become dense unless they stay as they are. Steps that are absent, which are NaN, become zeros.
        """
        first, lengths = self.connections[0], None
        if sparse.issparse(X) and not first.is_identity:
            X = X.toarray()
        if first.n_features is not None and is_any(absent := X != X):
            lengths = sum_over(astype(~absent[:, :: first.n_features], "int64"), axis=1)
            X = where(absent, zeros_like(X), X)
        return first.bound(lengths).gather(X), lengths
