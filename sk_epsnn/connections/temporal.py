"""Steps in time: leaky filters, whose rows are the steps of a sample, and readouts, whose one row sums them up.

The inputs of a sample are those of its first step, then those of the second, and so on. All units of a layer filter
alike, so that a filter acts on what enters the weights: ``u_t = W sum_s K_ts v_s``.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import lru_cache
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np

from sk_epsnn._arrays import Array, astype, concat, like, permute_dims, reshape, stack, sum_over, zeros_like
from sk_epsnn._sklearn import Interval, StrOptions
from sk_epsnn.connections.base import Connection, FedBack, Feedback, Sensitivity, in_parts


class _Steps(Connection):
    """What connections over steps share: how many there are follows from the inputs."""

    n_features: int
    _parameter_constraints = {
        **Connection._parameter_constraints,
        "n_features": [Interval(Integral, 1, None, closed="left")],
    }

    @property
    def n_parts(self) -> int:
        """Sums that stand side by side."""
        return 1

    def n_steps(self, n_inputs: int) -> int:
        """Steps of a sample.

        Raises
        ------
        ValueError
            If so many inputs are not a number of steps.
        """
        if n_inputs % self.n_features:
            raise ValueError(f"{n_inputs} inputs cannot be cut into steps of n_features={self.n_features}.")
        return n_inputs // self.n_features

    def _by_step(self, values: Array) -> Array:
        return reshape(values, (values.shape[0], -1, self.n_features))


class Filter(_Steps):
    """A leaky trace at every step: ``x_t = leak x_(t-1) + (1 - leak) v_t``, of unit gain.

    Parameters
    ----------
    n_units : int
        Neurons of the layer, at every step.
    n_features : int
        Inputs of a step.
    leak : float, default=0.0
        What is left of a trace one step later, in [0, 1); 0 reads every step by itself. "auto" is to be replaced by
        a number before the connection is used.
    centers : bool, default=False
        Whether traces of spikes are deviations from what they would be if every neuron below had always fired, and did,
        as often as it does in the data: that mean would outweigh what tells samples apart. Without a leak spikes are
        read as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_epsnn.connections import Filter
    >>> Filter(2, n_features=1, leak=0.5).gather(np.array([[1.0, 0.0, 0.0, 1.0]]))
    array([[0.5   ],
           [0.25  ],
           [0.125 ],
           [0.5625]])
    """

    centers: bool = False
    _parameter_constraints = {
        **_Steps._parameter_constraints,
        "leak": [Interval(Real, 0, 1, closed="left")],
        "centers": ["boolean"],
    }

    def __init__(self, n_units: int, n_features: int, leak: Any = 0.0, centers: bool = False):
        self.n_units = n_units
        self.n_features = n_features
        self.leak = leak
        self.centers = centers

    @property
    def selects(self) -> bool:  # type: ignore[override]
        """Without a leak every gathered entry is one of the inputs."""
        return self.leak == 0

    @property
    def centered(self) -> bool:  # type: ignore[override]
        """Whether there is a leak, and traces are centred."""
        return self.centers and not self.selects

    def centered_at(self, rates: np.ndarray) -> Filter:
        """The same for neurons below that fire at these rates, shape (n_features,)."""
        connection = copy(self)
        connection.center = rates
        return connection

    def n_rows(self, n_inputs: int) -> int:
        """One for each step."""
        return self.n_steps(n_inputs)

    def n_columns(self, n_inputs: int) -> int:
        """Inputs of a step."""
        return self.n_features

    def gather(self, values: Array) -> Array:
        """Traces at all steps."""
        return reshape(_trace(self._by_step(values), self.leak, 1 - self.leak), (-1, self.n_features))

    def gather_variance(self, variance: Array) -> Array:
        """Variances of the traces."""
        squared = _trace(self._by_step(variance), self.leak**2, (1 - self.leak) ** 2)
        return reshape(squared, (-1, self.n_features))

    def scatter(self, messages: Array, n_inputs: int) -> Array:
        """From the traces of all later steps."""
        return self._back(messages, n_inputs, self.leak, 1 - self.leak)

    def scatter_squared(self, messages: Array, n_inputs: int) -> Array:
        """Transpose of `gather_variance`."""
        return self._back(messages, n_inputs, self.leak**2, (1 - self.leak) ** 2)

    def _back(self, messages: Array, n_inputs: int, leak: float, gain: float) -> Array:
        by_step = reshape(messages, (-1, self.n_steps(n_inputs), self.n_features))
        return reshape(_trace(by_step[:, ::-1, :], leak, gain)[:, ::-1, :], (-1, n_inputs))

    def share(self, n_before: np.ndarray, n_steps: int | None = None) -> np.ndarray:
        """See `Connection.share`: the same at every step."""
        return np.full((len(n_before), self.n_parts), 1 - self.leak)

    def sensitivities(self, slopes: Array, below: Array, feedback: Feedback | None = None) -> Iterator[Sensitivity]:
        """Eligibility traces ``e_t = leak e_(t-1) + (1 - leak) v'_t x_t``, one step after another."""
        for part in in_parts(slopes.shape[0], slopes.shape[2] * below.shape[2]):
            slope, inputs = slopes[part, :, :], below[part, :, :]
            trace: Array = 0.0
            own: Array = 0.0
            for step in range(slope.shape[1]):
                new = (1 - self.leak) * slope[:, step, :, None]
                if feedback is None:
                    new = new * inputs[:, step, None, :]
                else:
                    new = new * (inputs[:, step, None, :] + feedback.weight[:, None] * own)
                    own = feedback.leak * own + (1 - feedback.leak) / (1 - self.leak) * new
                trace = self.leak * trace + new
                yield Sensitivity(part, step, slice(None), trace)

    def fed_back(self, slopes: Array, feedback: Feedback) -> FedBack:
        """See `Connection.fed_back`."""
        return FedBack(
            lambda values: self.gather(_flat(feedback.follow(slopes, values))),
            lambda variance: self._fed_back_variances(variance, slopes, feedback),
        )

    def _fed_back_variances(self, variance: Array, slopes: Array, feedback: Feedback) -> Array:
        """Variances of the traces, which go along with what the neurons keep of their own spikes."""
        leak, gain = self.leak, 1 - self.leak
        kept, new = feedback.leak, 1 - feedback.leak
        trace = both = own = zeros_like(variance[:, 0, :])
        steps = []
        for step in range(variance.shape[1]):
            back, noise = slopes[:, step, :] * feedback.weight, variance[:, step, :]
            stays = kept + new * back
            trace = leak**2 * trace + 2 * leak * gain * back * both + gain**2 * (back * back * own + noise)
            both = leak * stays * both + gain * back * stays * own + gain * new * noise
            own = stays * stays * own + new**2 * noise
            steps.append(trace)
        return reshape(stack(steps, axis=1), (-1, self.n_features))


class Recurrent(Filter):
    """A `Filter` whose neurons read traces of the layer's own spikes, or are reset by those of their own.

    The traces ``z_t = leak z_(t-1) + (1 - leak) s_t`` of the spikes ``s`` act on the potentials of the next step.

    Parameters
    ----------
    n_units : int
    n_features : int
    leak : float, default=0.0
        See `Filter`; of both kinds of traces.
    learns : bool, default=True
        Whether every neuron has weights for the traces of all neurons of the layer; else only a reset.
    centers : bool, default=False
        See `Filter`; of the traces of a layer below.

    Examples
    --------
    >>> from sk_epsnn.connections import Recurrent
    >>> Recurrent(5, n_features=3, leak=0.9).n_own
    5
    """

    is_sequential = True
    _parameter_constraints = {**Filter._parameter_constraints, "learns": ["boolean"]}

    def __init__(self, n_units: int, n_features: int, leak: float = 0.0, learns: bool = True, centers: bool = False):
        super().__init__(n_units, n_features, leak, centers)
        self.learns = learns

    @property
    def n_own(self) -> int:  # type: ignore[override]
        """One weight for the trace of each neuron, if they are learned."""
        return self.n_units if self.learns else 0


class Readout(_Steps):
    """One row for each sample: means over equal parts of its steps, or what a leaky trace holds at its end.

    Parameters
    ----------
    n_units : int
    n_features : int
        Inputs of a step.
    kind : "last" or int, default=1
        Number of equal parts, whose means are side by side; 1 is the mean over all steps. Or "last": a weighted mean
        of all steps, the weight of a step ``leak`` times that of the next.
    leak : float, default=0.0
        For "last", in [0, 1); with 0 it reads the last step alone.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_epsnn.connections import Readout
    >>> Readout(2, n_features=1, kind=2).gather(np.array([[1.0, 3.0, 5.0, 7.0]]))
    array([[2., 6.]])
    """

    selects = False
    sums_up = True
    #: Steps of each sample; None where they have all of them.
    lengths: Array | None = None
    _parameter_constraints = {
        **_Steps._parameter_constraints,
        "kind": [StrOptions({"last"}), Interval(Integral, 1, None, closed="left")],
        "leak": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(self, n_units: int, n_features: int, kind: str | int = 1, leak: Any = 0.0):
        self.n_units = n_units
        self.n_features = n_features
        self.kind = kind
        self.leak = leak

    @property
    def n_parts(self) -> int:
        """Sums over equal parts of the steps, side by side."""
        return 1 if isinstance(self.kind, str) else self.kind

    def n_columns(self, n_inputs: int) -> int:
        """Inputs of a step, once for each part."""
        return self.n_parts * self.n_features

    def bound(self, lengths: Array | None) -> Readout:
        """See `Connection.bound`: steps after the end of a sample have no weight."""
        if lengths is None and self.lengths is None:
            return self
        connection = copy(self)
        connection.lengths = lengths
        return connection

    def taps(self, n_steps: int) -> np.ndarray:
        """Weights of the steps, shape (1 or n_samples, n_parts, n_steps)."""
        if self.lengths is None:
            return _taps_of_whole(self.kind, self.leak, n_steps).copy()
        return _taps(self.kind, self.leak, self.lengths, n_steps)

    def share(self, n_before: np.ndarray, n_steps: int | None = None) -> np.ndarray:
        """See `Connection.share`; only the part that a step is in changes."""
        n_before = n_before[:, None]
        if isinstance(self.kind, str):
            if self.leak == 0:
                return np.ones(n_before.shape)
            return (1 - self.leak) / -np.expm1((n_before + 1) * np.log(self.leak))
        edges = _edges(np.iinfo(np.int64).max if n_steps is None else n_steps, self.n_parts)
        within = n_before - edges[:-1]
        return np.where((within >= 0) & (n_before < edges[1:]), 1 / (1 + np.maximum(within, 0)), 0.0)

    def row_weights(self, n_rows: int, n_units: int) -> np.ndarray:
        """See `Connection.row_weights`: the same for every neuron."""
        return self.taps(n_rows)

    def gather(self, values: Array) -> Array:
        """Weighted means over the steps."""
        return self._means(values, 1)

    def gather_variance(self, variance: Array) -> Array:
        """Variances of the means."""
        return self._means(variance, 2)

    def _means(self, values: Array, power: int) -> Array:
        by_step = self._by_step(values)
        means = self._weights(by_step, by_step.shape[1]) ** power @ by_step
        return reshape(means, (-1, self.n_parts * self.n_features))

    def scatter(self, messages: Array, n_inputs: int) -> Array:
        """To every step its share."""
        return self._shared(messages, n_inputs, 1)

    def scatter_squared(self, messages: Array, n_inputs: int) -> Array:
        """Transpose of `gather_variance`."""
        return self._shared(messages, n_inputs, 2)

    def _shared(self, messages: Array, n_inputs: int, power: int) -> Array:
        by_part = reshape(messages, (-1, self.n_parts, self.n_features))
        taps = permute_dims(self._weights(by_part, self.n_steps(n_inputs)), (0, 2, 1))
        return reshape(taps**power @ by_part, (-1, n_inputs))

    def _weights(self, values: Array, n_steps: int) -> Array:
        """The weights of the steps in the library and dtype of values."""
        return astype(like(self.taps(n_steps), values), values.dtype, copy=False)

    def fed_back(self, slopes: Array, feedback: Feedback) -> FedBack:
        """What a spike is to the mean of a part, by itself and through those that it acts on."""
        taps = self._weights(slopes, slopes.shape[1])
        shares = [feedback.back(slopes, taps[:, part, :, None]) for part in range(self.n_parts)]
        return FedBack(
            lambda values: concat([sum_over(share * values, axis=1) for share in shares], axis=1),
            lambda variance: concat([sum_over(share * share * variance, axis=1) for share in shares], axis=1),
        )

    def sensitivities(self, slopes: Array, below: Array, feedback: Feedback | None = None) -> Iterator[Sensitivity]:
        """Sums over the steps of a part, one product each."""
        taps = self._weights(slopes, slopes.shape[1])
        for samples in in_parts(slopes.shape[0], slopes.shape[2] * below.shape[2]):
            of_these = taps if taps.shape[0] == 1 else taps[samples, :, :]
            for part in range(self.n_parts):
                share = of_these[:, part, :, None]
                if feedback is not None:
                    share = feedback.back(slopes[samples, :, :], share)
                weighted = slopes[samples, :, :] * share
                columns = slice(part * self.n_features, (part + 1) * self.n_features)
                derivatives = permute_dims(weighted, (0, 2, 1)) @ below[samples, :, :]
                yield Sensitivity(samples, 0, columns, derivatives)


@lru_cache(maxsize=256)
def _taps_of_whole(kind: str | int, leak: float, n_steps: int) -> np.ndarray:
    """`_taps` of samples that have all the steps: asked for at every pass through a network."""
    return _taps(kind, leak, np.array([n_steps]), n_steps)


def _taps(kind: str | int, leak: float, ends: np.ndarray, n_steps: int) -> np.ndarray:
    """Weights of the steps of samples that end after so many of them, shape (n_samples, n_parts, n_steps)."""
    ends, step = ends[:, None], np.arange(n_steps)
    if isinstance(kind, str):
        ago = ends - 1 - step
        weight = np.where(ago >= 0, float(leak) ** np.maximum(ago, 0), 0.0)[:, None, :]
    else:
        edges = _edges(ends, kind)
        weight = (edges[:, :-1, None] <= step) & (step < edges[:, 1:, None])
    total = weight.sum(2, keepdims=True)
    return weight / np.where(total > 0, total, 1.0)


def _edges(n_steps: Any, n_parts: int) -> np.ndarray:
    """Where the parts of so many steps begin and end: as equal as they can be, the first ones longer."""
    size, longer = np.divmod(n_steps, n_parts)
    return size * np.arange(n_parts + 1) + np.minimum(np.arange(n_parts + 1), longer)


def _flat(by_step: Array) -> Array:
    return reshape(by_step, (by_step.shape[0], -1))


def _trace(by_step: Array, leak: float, gain: float) -> Array:
    """``x_t = leak x_(t-1) + gain v_t`` along the second axis."""
    if leak == 0:
        return by_step if gain == 1 else gain * by_step
    if type(by_step) is np.ndarray:
        # The numbers of a step side by side, which takes a third of the time.
        steps = gain * np.ascontiguousarray(by_step.transpose(1, 0, 2))
        for before, here in pairwise(steps):
            here += leak * before
        return steps.transpose(1, 0, 2)
    traces = [gain * by_step[:, 0, :]]
    for step in range(1, by_step.shape[1]):
        traces.append(leak * traces[-1] + gain * by_step[:, step, :])
    return stack(traces, axis=1)
