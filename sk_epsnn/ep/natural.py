"""What steps on mini-batches ask of each family of weights: coordinates to move in, curvature, natural gradient.

Every function is dispatched on the family of its first argument, as those of `sk_epsnn.ep.steps`. Gaussian weights move
by their means. Weights on levels move by their shift, the natural parameter of ``w``, where steps are smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any, NamedTuple

from sk_epsnn._arrays import (
    Array,
    astype,
    clip,
    copy_of,
    diagonal,
    is_any,
    largest_eigenvectors,
    maximum,
    smallest_normal,
    solve,
    sqrt,
    sum_over,
    total_of,
    where,
)
from sk_epsnn.ep import mixing
from sk_epsnn.ep.between_rows import BetweenRows
from sk_epsnn.ep.sites import UpdateCounts, bound_precision
from sk_epsnn.ep.steps import mean_curvature, moved, with_site
from sk_epsnn.messages import Derivatives, Inputs
from sk_epsnn.weights import GaussianWeights, JointWeights, LevelWeights, Weights

#: Longest step of a discrete weight, in log-odds between the extreme levels.
LOG_ODDS = 1.0
#: Longest change of the precision of a discrete weight, in log-odds between the middle of the levels and an extreme:
#: what the first batches say would make every weight 0 where that is a level, before it has learned anything.
PRECISION_LOG_ODDS = 0.15
#: With a shared matrix, own curvatures below this share of their harmonic mean in a unit ...
FLAT = 0.5
#: ... are this share of what the matrix says of the weight, or more.
DATA_SHARE = 0.1
#: Axes of a shared matrix that are told apart.
MOST_AXES = 64
#: A discrete weight is free to move with the others where its variance is this share of the largest possible, or more.
FREE = 0.1


class Axes(NamedTuple):
    """A symmetric matrix along its principal axes, of which the least are taken to be alike.

    Attributes
    ----------
    moments : array of shape (n_axes,)
        Largest eigenvalues.
    vectors : array of shape (n_in, n_axes)
    rest : float
        Mean of the other eigenvalues.
    """

    moments: Array
    vectors: Array
    rest: float

    def shrunk(self, rows: Array, curvature: Array) -> Array:
        """Each row ``x_i`` times ``(I + c_i A)^-1``; curvatures ``c`` of shape (n_rows, 1)."""
        # The products in the precision of the data, which is enough for a direction.
        rows = astype(rows, self.vectors.dtype)
        of_rest = 1 / (1 + curvature * self.rest)
        share = 1 / (1 + curvature * self.moments) - of_rest
        return of_rest * rows + astype((rows @ self.vectors) * share, rows.dtype) @ self.vectors.T


def _axes(matrix: Array) -> Axes:
    """Principal axes of a matrix that is positive semidefinite but for rounding."""
    n_in = matrix.shape[0]
    moments, vectors = largest_eigenvectors(matrix, min(n_in, MOST_AXES))
    moments = clip(moments, min=0.0)
    left = max(total_of(diagonal(matrix)) - total_of(moments), 0.0)
    return Axes(moments, vectors, left / max(n_in - MOST_AXES, 1))


class Averages(NamedTuple):
    """Running averages of what batches say of one layer, scaled to all rows.

    Attributes
    ----------
    site : array of shape (n_out, n_in), or (n_out, n_in, n_in) if joint
        Summed precision of the messages to the weights.
    curvature : array of shape (n_out, n_in), (n_out, 1) or (n_out, n_in, n_in), or None
        That of the energy in each mean, or with a shared matrix its size in each unit, or matrices if joint; None
        where it is the site precision.
    noise : array of shape (n_out, n_in) or float
        With a shared matrix: what uncertain spikes add to the curvature.
    shared : array of shape (n_in, n_in) or None
        Matrix of curvature of all units: the second moment of the inputs in rows that count by their curvature, of
        mass 1. Spikes are correlated and not centred, so a diagonal would not do.
    axes : Axes or None
        Those of the shared matrix, as they were when it was last looked at.
    """

    site: Array
    curvature: Array | None
    noise: Array | float = 0.0
    shared: Array | None = None
    axes: Axes | None = None

    def towards(self, new: Averages, share: float) -> Averages:
        """The averages when a measurement takes this share of them; the axes stay."""
        mine, theirs = alike([self, new])
        pairs = zip(mine[:-1], theirs[:-1], strict=True)
        parts = [None if old is None else old + share * (late - old) for old, late in pairs]
        site, curvature, noise, shared = parts
        return Averages(site, curvature, noise, shared, self.axes)

    def turned(self) -> Averages:
        """The averages with the axes of their shared matrix."""
        return self if self.shared is None else self._replace(axes=_axes(self.shared))


def alike(averages: Sequence[Averages]) -> list[Averages]:
    """The same averages, with a curvature in all of them if one has any that is not its site precision."""
    if all(each.curvature is None for each in averages):
        return list(averages)
    return [each._replace(curvature=each.site) if each.curvature is None else each for each in averages]


@singledispatch
def coordinate(posterior: Weights) -> Array:
    """What the steps move, shape (n_out, n_in): the means of Gaussian weights, on levels their natural parameter."""
    return posterior.mean


@coordinate.register
def _(posterior: LevelWeights) -> Array:
    return posterior.shift


@singledispatch
def advanced(posterior: Weights, change: Array) -> Weights:
    """Density whose coordinate has changed, the precision as it was; on levels by a limited change."""
    return moved(posterior, change)


@advanced.register
def _(posterior: LevelWeights, change: Array) -> LevelWeights:
    width = posterior.levels[-1] - posterior.levels[0]
    change, n = copy_of(change), posterior.n_discrete
    change[:, :n] = clip(change[:, :n], -LOG_ODDS / width, LOG_ODDS / width)
    return posterior.with_natural(posterior.precision, posterior.shift + change)


@singledispatch
def mean_change(posterior: Weights, change: Array) -> Array:
    """What a change of the coordinate does to the means, to first order."""
    return change


@mean_change.register
def _(posterior: LevelWeights, change: Array) -> Array:
    return posterior.variance * change


@singledispatch
def at(posterior: Weights, coordinates: Array) -> Weights:
    """Density at other coordinates, the precision as it was."""
    return posterior.with_natural(posterior.precision, coordinates)


@at.register
def _(posterior: GaussianWeights, coordinates: Array) -> GaussianWeights:
    return posterior.with_mean(coordinates)


@singledispatch
def following(posterior: Weights, cavity: Weights, site: Array, temperature: float) -> Weights:
    """Density whose precision follows a site, the mean as it is; on levels by a limited change.

    Parameters are those of `sk_epsnn.ep.steps.with_site`.
    """
    return with_site(posterior, cavity, site, temperature, 1.0)


@following.register
def _(posterior: LevelWeights, cavity: LevelWeights, site: Array, temperature: float) -> LevelWeights:
    change, n = cavity.precision + temperature * site - posterior.precision, posterior.n_discrete
    half = 0.5 * (posterior.levels[-1] - posterior.levels[0])
    limit = PRECISION_LOG_ODDS / (0.5 * half * half)
    change[:, :n] = clip(change[:, :n], -limit, limit)
    return posterior.with_natural(posterior.precision + change, posterior.shift + 0.5 * posterior.slope * change)


@singledispatch
def measured(
    posterior: Weights,
    message: Derivatives,
    curvature: Array,
    inputs: Inputs,
    noise: Array | float,
    between: BetweenRows | None,
    shares: bool,
) -> Averages:
    """What rows say of the site precision and of the curvature of a layer: sums over them, for `over_all_rows`.

    Parameters
    ----------
    posterior : Weights
    message : Derivatives of shape (n_rows, n_out)
    curvature : array of shape (n_rows, n_out)
        In each potential, not negative.
    inputs : Inputs
    noise : array of shape (n_out, n_in) or float
        What uncertain spikes cost, see `sk_epsnn.ep.mixing.spike_noise`.
    between : BetweenRows or None
        What the rows of a sample have in common.
    shares : bool
        Whether all units share one matrix of curvature; else it is diagonal.
    """
    site = mixing.site_precision(message, inputs, noise)
    if between is not None:
        site = site + between.site(joint=False)
    if not shares:
        diagonal = mixing.site_precision(message._replace(gamma=curvature), inputs, noise)
        if between is not None:
            diagonal = diagonal + between.shared.curvature(between.curvature, joint=False)
        return Averages(site, diagonal)
    by_unit, matrix = sum_over(curvature, axis=0), mixing.shared_second_moment(sum_over(curvature, axis=1), inputs)
    if between is not None:
        more, of_units = between.shared.second_moment(between.curvature)
        matrix, by_unit = matrix + more, by_unit + of_units
    return Averages(site, by_unit[:, None], noise, matrix)


@measured.register
def _(
    posterior: JointWeights,
    message: Derivatives,
    curvature: Array,
    inputs: Inputs,
    noise: Array | float,
    between: BetweenRows | None,
    shares: bool,
) -> Averages:
    gamma = clip(message.gamma, min=0.0)
    site = mixing.joint_site_precision(gamma, inputs, noise)
    if between is None and not is_any(curvature != gamma):
        return Averages(site, None)
    matrices = mixing.joint_site_precision(curvature, inputs, noise)
    if between is not None:
        matrices = matrices + between.shared.curvature(between.curvature, joint=True)
        site = site + between.site(joint=True)
    return Averages(site, matrices)


def over_all_rows(parts: Sequence[Averages], scale: float) -> Averages:
    """What blocks of rows say together, ``scale`` times; the shared matrix is one of mass 1."""
    totals = zip(*(each[:-1] for each in alike(parts)), strict=True)
    added: list[Any] = [None if same[0] is None else sum(same[1:], same[0]) for same in totals]
    site, curvature, noise, shared = added
    if shared is not None:
        shared = shared / clip(sum_over(curvature), min=smallest_normal(curvature))
    site = scale * site if site.ndim == 3 else bound_precision(scale * site, UpdateCounts())
    return Averages(site, None if curvature is None else scale * curvature, scale * noise, shared)


@singledispatch
def direction(posterior: Weights, cavity: Weights, averages: Averages, gradient: Array) -> Array:
    """Gradient of the energy divided by its curvature, in the coordinates of the family.

    With a shared matrix ``A`` and curvatures ``k`` of the weights' own, ``k^(-1/2) (I + A / c)^(-1) k^(-1/2)`` takes
    the place of the inverse of ``diag(k) + A``, where ``1 / c`` is the mean of ``1 / k`` over the weights of a unit. A
    ``k`` that is far below the others is raised to a share of the diagonal of ``A``.

    Parameters
    ----------
    posterior, cavity : Weights
    averages : Averages
    gradient : array of shape (n_out, n_in)
        In the means.
    """
    return _divided(gradient, mean_curvature(posterior, cavity), averages)


@direction.register
def _(posterior: JointWeights, cavity: JointWeights, averages: Averages, gradient: Array) -> Array:
    if averages.curvature is None:
        return (posterior.covariance @ gradient[:, :, None])[:, :, 0]
    return solve(mean_curvature(posterior, cavity) + averages.curvature, gradient[:, :, None])[:, :, 0]


@direction.register
def _(posterior: LevelWeights, cavity: LevelWeights, averages: Averages, gradient: Array) -> Array:
    towards = _divided(gradient, mean_curvature(posterior, cavity), averages) / posterior.variance
    if averages.axes is None:
        return towards
    # What the others do would carry weights that are all but decided far away.
    width = posterior.levels[-1] - posterior.levels[0]
    free = posterior.variance / (posterior.variance + FREE * width * width / 4)
    own = diagonal(averages.shared) * averages.curvature + averages.noise
    return free * towards + (1 - free) * gradient / (1 + posterior.variance * own)


def _divided(gradient: Array, own: Array, averages: Averages) -> Array:
    """The gradient divided by the curvature of the prior and that of the data."""
    if averages.axes is None:
        return gradient / (own + averages.curvature)
    assert averages.curvature is not None
    on_diagonal = diagonal(averages.shared)
    own = own + averages.noise
    # One prior that is next to flat must not make a mean that stops all others: it takes a share of the data's part.
    typical = own.shape[1] / sum_over(1 / own, axis=1, keepdims=True)
    own = where(own < FLAT * typical, maximum(own, DATA_SHARE * averages.curvature * on_diagonal), own)
    size = 1 / sqrt(own)
    mean_square = sum_over(size * size, axis=1, keepdims=True) / size.shape[1]
    turned_back = size * averages.axes.shrunk(size * gradient, mean_square * averages.curvature)
    # Inputs that are always 0 say nothing; rounding must not either.
    return where(on_diagonal > 0, turned_back, size * size * gradient)
