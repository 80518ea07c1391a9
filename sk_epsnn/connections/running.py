"""Steps that come one after another: what a connection over steps gathers, one step at a time.

All that it gathers are weighted sums over the steps. What they are after a step follows from what they were before it:
``(1 - share) z + share v`` for values, with squared coefficients for variances.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sk_epsnn._arrays import Array, astype, like, ones_like, reshape, vecdot
from sk_epsnn.connections.base import Connection, Feedback, Sensitivity


class Running(Connection):
    """A connection over steps that sees one of them at a time, and continues the sums of those before.

    It reads samples of one step, and gathers what the connection gathers at that step: whatever is worked out of the
    sums of all steps is worked out of the sums so far by the same formulas. A sum is known by its place among those
    that are asked for at a step, the same ones in the same order at every step.

    Parameters
    ----------
    connection : Connection
        One with a `share`.

    Attributes
    ----------
    sums : list of arrays of shape (n_samples, n_parts, ...)
        Those of the step at work, so far.
    """

    selects = False

    def __init__(self, connection: Connection):
        self.connection = connection
        self.n_units = connection.n_units
        self.n_features = connection.n_features

    def begin(self, share: np.ndarray, before: Sequence[Array]) -> None:
        """Begin a step.

        Parameters
        ----------
        share : array of shape (n_samples, n_parts)
            See `Connection.share`; 0 for samples that have no such step.
        before : sequence of arrays
            `sums` of the step before; empty at the first step.
        """
        self.share_of_step, self.before = share, before
        self.sums: list[Array] = []

    def n_columns(self, n_inputs: int) -> int:
        """As many as the connection has."""
        return self.connection.n_columns(n_inputs)

    def gather(self, values: Array) -> Array:
        """Sums up to this step."""
        return reshape(self._continued(values, 1), (values.shape[0], -1))

    def gather_variance(self, variance: Array) -> Array:
        """Variances of the sums up to this step."""
        return reshape(self._continued(variance, 2), (variance.shape[0], -1))

    def sensitivities(self, slopes: Array, below: Array, feedback: Feedback | None = None) -> Iterator[Sensitivity]:
        """Sums of the derivatives up to this step."""
        if feedback is not None:
            raise NotImplementedError
        traces, n_units = self._continued(slopes[:, 0, :, None] * below[:, 0, None, :], 1), slopes.shape[2]
        for part in range(traces.shape[1]):
            columns = slice(part * n_units, (part + 1) * n_units)
            yield Sensitivity(slice(None), 0, columns, traces[:, part, :, :])

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

    def _continued(self, values: Array, power: int) -> Array:
        """What the sum at this place was a step earlier, with these values of the new step; shape (n, n_parts, ...)."""
        kept, new = (
            reshape(astype(like(part**power, values), values.dtype), (*part.shape, *(1 for _ in values.shape[1:])))
            for part in (1 - self.share_of_step, self.share_of_step)
        )
        total = new * values[:, None, ...]
        if self.before:
            total = total + kept * self.before[len(self.sums)]
        self.sums.append(total)
        return total


def running(connection: Connection) -> Connection:
    """What takes the steps of a connection one at a time: itself, where it reads every step alone."""
    return connection if connection.selects else Running(connection)
