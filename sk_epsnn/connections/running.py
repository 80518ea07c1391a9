"""Steps that come one after another: what a connection over steps gathers, one step at a time.

All that it gathers are weighted sums over the steps. What they are after a step follows from what they were before it:
``(1 - share) z + share v`` for values, with squared coefficients for variances.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sk_epsnn._arrays import Array, astype, like, ones_like, reshape, vecdot, zeros_like
from sk_epsnn.connections.base import Connection, FedBack, Feedback, Sensitivity


class Running(Connection):
    """A connection over steps that sees one of them at a time, and continues the sums of those before.

    It reads samples of one step, and gathers what the connection gathers at that step: whatever is worked out of the
    sums of all steps is worked out of the sums so far by the same formulas. A sum, or what else a step hands on, is
    known by its place among those that are asked for at a step, the same ones in the same order at every step.

    Parameters
    ----------
    connection : Connection
        One with a `share`.

    Attributes
    ----------
    sums : list
        Those of the step at work, so far: arrays of shape (n_samples, n_parts, ...), and what else is handed on.
    """

    def __init__(self, connection: Connection):
        self.connection = connection
        self.n_units, self.n_features = connection.n_units, connection.n_features
        self.selects, self.sums_up = connection.selects, connection.sums_up
        self.is_sequential, self.n_own = connection.is_sequential, connection.n_own
        self.centered, self.center = connection.centered, connection.center

    def begin(self, share: np.ndarray, before: Sequence[Any]) -> None:
        """Begin a step.

        Parameters
        ----------
        share : array of shape (n_samples, n_parts)
            See `Connection.share`; 0 for samples that have no such step.
        before : sequence
            `sums` of the step before; empty at the first step.
        """
        self.share_of_step, self.before = share, before
        self.sums: list[Any] = []

    def last(self, start: Any) -> Any:
        """What was kept at this place a step earlier; ``start`` at the first step."""
        return self.before[len(self.sums)] if self.before else start

    def keep(self, value: Any) -> None:
        """Hand something on to the next step, and go on to the next place."""
        self.sums.append(value)

    def n_columns(self, n_inputs: int) -> int:
        """As many as the connection has."""
        return self.connection.n_columns(n_inputs)

    def gather(self, values: Array) -> Array:
        """Sums up to this step."""
        return values if self.selects else reshape(self._continued(values, 1), (values.shape[0], -1))

    def gather_variance(self, variance: Array) -> Array:
        """Variances of the sums up to this step."""
        return reshape(self._continued(variance, 2), (variance.shape[0], -1))

    def sensitivities(self, slopes: Array, below: Array, feedback: Feedback | None = None) -> Iterator[Sensitivity]:
        """Sums of the derivatives up to this step."""
        new, n_units = slopes[:, 0, :, None] * below[:, 0, None, :], slopes.shape[2]
        if feedback is not None:
            new = self._fed_back(new, (slopes[:, 0, :] * feedback.weight)[:, :, None], feedback.leak)
        traces = self._continued(new, 1)
        for part in range(traces.shape[1]):
            columns = slice(part * n_units, (part + 1) * n_units)
            yield Sensitivity(slice(None), 0, columns, traces[:, part, :, :])

    def fed_back(self, slopes: Array, feedback: Feedback) -> FedBack:
        """See `Connection.fed_back`."""
        back, leak = slopes[:, 0, :] * feedback.weight, feedback.leak

        def sums(values: Array) -> Array:
            return self.gather(self._fed_back(values[:, 0, :], back, leak))

        return FedBack(sums, lambda variance: self._fed_back_variances(variance[:, 0, :], back, leak))

    def _fed_back(self, direct: Array, back: Array, leak: float) -> Array:
        """Deviations of this step, of those from outside and from the traces of their own spikes."""
        trace = self.last(zeros_like(direct))
        new = direct + back * trace
        self.keep(leak * trace + (1 - leak) * new)
        return new

    def _fed_back_variances(self, noise: Array, back: Array, leak: float) -> Array:
        """Variances of the sums, which go along with what the neurons keep of their own spikes."""
        kept, new = self.shares(noise)
        nothing, stays = zeros_like(new * noise[:, None, :]), leak + (1 - leak) * back
        own = self.last(zeros_like(noise))
        self.keep(stays * stays * own + (1 - leak) ** 2 * noise)
        own, noise, back, stays = (each[:, None, :] for each in (own, noise, back, stays))
        both = self.last(nothing)
        self.keep(kept * stays * both + new * (back * stays * own + (1 - leak) * noise))
        variance = self.last(nothing)
        self.keep(kept**2 * variance + 2 * kept * new * back * both + new**2 * (back * back * own + noise))
        return reshape(self.sums[-1], (noise.shape[0], -1))

    def pair_sums(self, directions: Array, n_units: int) -> list[Array]:
        """Pairs of steps up to this one: powers of cosines are products of sums of powers of the vectors."""
        x = directions[:, 0, :]
        powers = ones_like(x[:, :1]), x, reshape(x[:, :, None] * x[:, None, :], (x.shape[0], -1))
        own, sums = ones_like(x[:, 0]), []
        for vectors in powers:
            total = self._continued(vectors, 1)
            sums.append(vecdot(total, total) - self._continued(own, 2))
            own = own * vecdot(x, x)
        return sums

    def shares(self, values: Array) -> tuple[Array, Array]:
        """What is kept of the sums, and what this step has, each of shape (n_samples, n_parts, 1, ...), as values."""
        shape = (*self.share_of_step.shape, *(1 for _ in values.shape[1:]))
        kept, new = (
            reshape(astype(like(part, values), values.dtype), shape)
            for part in (1 - self.share_of_step, self.share_of_step)
        )
        return kept, new

    def _continued(self, values: Array, power: int) -> Array:
        """What the sum at this place was a step earlier, with these values of the new step; shape (n, n_parts, ...)."""
        kept, new = self.shares(values)
        total, before = new**power * values[:, None, ...], self.last(None)
        if before is not None:
            total = total + kept**power * before
        self.keep(total)
        return total


def running(connection: Connection) -> Connection:
    """What takes the steps of a connection one at a time: itself, where every step is by itself."""
    return connection if connection.selects and not connection.is_sequential else Running(connection)
