"""Coordinates, curvatures and natural gradients of every family, against dense solves and finite differences."""

import numpy as np
import pytest
from families import EVERY_GRID, GRIDS, N_IN, N_OUT, level_weights, random_naturals, random_weights

from sk_epsnn.ep import mixing, natural
from sk_epsnn.ep.natural import (
    FREE,
    LOG_ODDS,
    PRECISION_LOG_ODDS,
    Averages,
    advanced,
    at,
    coordinate,
    direction,
    following,
    mean_change,
    measured,
    over_all_rows,
)
from sk_epsnn.ep.steps import kl_mean_part, mean_cost, with_site
from sk_epsnn.messages import Derivatives, Inputs, observed
from sk_epsnn.weights import IndependentWeights, JointWeights

RNG = np.random.default_rng
GAUSSIAN = pytest.mark.parametrize("family", [IndependentWeights, JointWeights])
NAMES = ["independent", "joint", *sorted(GRIDS)]
FAMILY = pytest.mark.parametrize("name", NAMES)


def weights_of(name, seed=0, constant=True):
    if name in GRIDS:
        return level_weights(name, *random_naturals(seed, constant), constant)
    return random_weights({"independent": IndependentWeights, "joint": JointWeights}[name], seed)


def averages_of(name, shares, seed=3):
    """Positive curvatures of a layer, as batches might have them measured."""
    rng = RNG(seed)
    root = rng.standard_normal((N_OUT, 9, N_IN))
    if name == "joint":
        matrices = root.swapaxes(1, 2) @ root
        return Averages(matrices, matrices + 0.3 * np.eye(N_IN))
    site = rng.uniform(0.2, 3, (N_OUT, N_IN))
    if not shares:
        return Averages(site, site + rng.uniform(0, 1, site.shape))
    shared = root[0].T @ root[0] / 9
    return Averages(site, rng.uniform(0.5, 2, (N_OUT, 1)), rng.uniform(0, 1, (N_OUT, N_IN)), shared).turned()


def message_of(n_rows, seed=1, signs=False):
    """Messages to the potentials of `N_OUT` units and the inputs of their layer, spikes of some probability."""
    rng = RNG(seed)
    g, gamma = rng.standard_normal((2, n_rows, N_OUT))
    gamma = gamma if signs else np.abs(gamma)
    p = rng.uniform(size=(n_rows, N_IN))
    return Derivatives(g, gamma, rng.standard_normal((n_rows, N_OUT))), Inputs(p, p * (1 - p))


def said(posterior, message, curvature, inputs, scale, shares):
    """What rows say, in one block or in several."""

    def of(rows):
        part, entering = Derivatives(*(each[rows] for each in message)), observed(inputs.mean[rows])
        if inputs.variance is not None:
            entering = Inputs(inputs.mean[rows], inputs.variance[rows])
        noise = mixing.spike_noise(part, entering)
        return measured(posterior, part, curvature[rows], entering, noise, None, shares)

    whole = over_all_rows([of(slice(None))], scale)
    blocks = over_all_rows([of(slice(3)), of(slice(3, None))], scale)
    for one, other in zip(whole, blocks, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    return whole


# Coordinates


@FAMILY
def test_a_density_is_where_its_coordinates_say(name):
    q, other = weights_of(name), weights_of(name, seed=1)
    there = at(q, coordinate(other))
    np.testing.assert_allclose(coordinate(there), coordinate(other), rtol=1e-12)
    np.testing.assert_array_equal(there.precision, q.precision)
    change = 0.1 * RNG(2).standard_normal(q.mean.shape)
    moved = advanced(q, change)
    np.testing.assert_allclose(coordinate(moved), coordinate(q) + change, rtol=1e-12)
    np.testing.assert_array_equal(moved.precision, q.precision)


@FAMILY
def test_means_change_as_they_say_to_first_order(name):
    q, change = weights_of(name), RNG(2).standard_normal((N_OUT, N_IN))
    ahead, behind = (advanced(q, sign * 1e-5 * change) for sign in (1, -1))
    np.testing.assert_allclose((ahead.mean - behind.mean) / 2e-5, mean_change(q, change), rtol=1e-6, atol=1e-9)


@EVERY_GRID
def test_a_step_of_a_discrete_weight_is_limited_in_log_odds(grid):
    """Between the extreme levels; a bias is Gaussian, and goes as far as it is told to."""
    q = weights_of(grid)
    moved = advanced(q, np.full(q.mean.shape, 1e3))
    n = N_IN - 1
    odds = [np.log(w.probabilities()[:, :, -1] / w.probabilities()[:, :, 0]) for w in (q, moved)]
    np.testing.assert_allclose(odds[1] - odds[0], LOG_ODDS, rtol=1e-9)
    np.testing.assert_allclose(moved.shift[:, n] - q.shift[:, n], 1e3, rtol=1e-12)


@GAUSSIAN
def test_gaussian_precisions_follow_a_site_at_once(family):
    q, prior = random_weights(family, 0), random_weights(family, 1)
    site = averages_of("joint" if family is JointWeights else "independent", False).site
    after = following(q, prior, site, 0.4)
    np.testing.assert_allclose(after.precision, prior.precision + site, rtol=1e-12)
    np.testing.assert_array_equal(after.mean, q.mean)


@EVERY_GRID
def test_precisions_of_discrete_weights_follow_in_small_steps(grid):
    """A small change is taken whole, a large one in parts that end where the whole one would."""
    q, prior = weights_of(grid), weights_of(grid, seed=1)
    site, n = averages_of("independent", False).site, N_IN - 1
    near = q.precision + 1e-3 - prior.precision
    np.testing.assert_allclose(following(q, prior, near, 1.0).shift, with_site(q, prior, near, 1.0, 1.0).shift)
    far = following(q, prior, 1e4 * site, 0.5)
    change = np.abs(far.precision - q.precision)[:, :n]
    np.testing.assert_allclose(far.precision[:, n], (prior.precision + 0.5e4 * site)[:, n], rtol=1e-12)
    if len(GRIDS[grid][0]) > 2:
        half = 0.5 * (max(GRIDS[grid][0]) - min(GRIDS[grid][0]))
        np.testing.assert_allclose(0.5 * half**2 * change, PRECISION_LOG_ODDS, rtol=1e-9)
    # No level has lost much: the weight can still move.
    assert (far.variance[:, :n] > 0.75 * q.variance[:, :n]).all()
    for _ in range(2000):
        q = following(q, prior, site, 1.0)
    if len(GRIDS[grid][0]) > 2:
        np.testing.assert_allclose(q.precision, prior.precision + site, rtol=1e-9)


# What is measured


@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_what_a_batch_says_of_independent_weights(scale):
    message, inputs = message_of(40, signs=True)
    curvature = RNG(5).uniform(size=(40, N_OUT))
    found = said(weights_of("independent"), message, curvature, inputs, scale, False)
    p, noise = inputs.mean, np.maximum(message.kappa, 0).T @ inputs.variance
    site = np.einsum("ni,nj->ij", message.gamma, p * p) + noise
    np.testing.assert_allclose(found.site, scale * np.maximum(site, 0), rtol=1e-9)
    expected = np.einsum("ni,nj->ij", curvature, p * p) + noise
    np.testing.assert_allclose(found.curvature, scale * expected, rtol=1e-12)
    assert found.shared is None and (site < 0).any()


@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_what_a_batch_says_of_a_shared_matrix(scale):
    """The second moment of rows that count by their curvature; the size of each unit's curvature apart."""
    message, inputs = message_of(40)
    curvature = RNG(5).uniform(size=(40, N_OUT))
    found = said(weights_of("independent"), message, curvature, inputs, scale, True)
    share = curvature.sum(1) / curvature.sum()
    expected = sum(w * np.outer(row, row) for w, row in zip(share, inputs.mean, strict=True))
    np.testing.assert_allclose(found.shared, expected, rtol=1e-12)
    np.testing.assert_allclose(found.curvature[:, 0], scale * curvature.sum(0), rtol=1e-12)
    np.testing.assert_allclose(found.noise, scale * np.maximum(message.kappa, 0).T @ inputs.variance, rtol=1e-12)
    # Where all rows have the same curvature it is the exact matrix of every unit.
    even = said(weights_of("independent"), message, np.full((40, N_OUT), 0.7), inputs, scale, True)
    exact = scale * 0.7 * inputs.mean.T @ inputs.mean
    np.testing.assert_allclose(even.curvature[0, 0] * even.shared, exact, rtol=1e-12)


def test_what_a_batch_says_of_joint_weights():
    """Negative site precisions count as none; without spikes and other curvature, the site is the curvature."""
    message, inputs = message_of(40, signs=True)
    curvature = np.abs(message.gamma) + 0.1
    found = said(weights_of("joint"), message, curvature, inputs, 3.0, True)
    noise = np.maximum(message.kappa, 0).T @ inputs.variance
    for value, expected in ((found.site, np.maximum(message.gamma, 0)), (found.curvature, curvature)):
        dense = np.einsum("ni,nj,nk->ijk", expected, inputs.mean, inputs.mean)
        dense[:, range(N_IN), range(N_IN)] += noise
        np.testing.assert_allclose(value, 3.0 * dense, rtol=1e-12)
    plain = said(weights_of("joint"), message, np.maximum(message.gamma, 0), inputs, 1.0, True)
    assert plain.curvature is None


def test_rows_without_curvature_say_nothing():
    message, inputs = message_of(4)
    zero = Derivatives(message.g, 0 * message.gamma, 0 * message.kappa)
    found = said(weights_of("independent"), zero, np.zeros((4, N_OUT)), observed(inputs.mean), 1.0, True).turned()
    assert (found.shared == 0).all() and (found.curvature == 0).all()
    q, gradient = weights_of("independent"), RNG(0).standard_normal((N_OUT, N_IN))
    np.testing.assert_allclose(direction(q, q, found, gradient), gradient / q.precision, rtol=1e-12)


@pytest.mark.parametrize("name", ["independent", "joint"])
@pytest.mark.parametrize("shares", [False, True])
def test_averages_move_by_a_share(name, shares):
    """The axes stay until they are turned, then they are those of the average."""
    old, new = averages_of(name, shares), averages_of(name, shares, seed=4)
    found = old.towards(new, 0.25)
    for part in ("site", "curvature", "noise", "shared"):
        one, other, mixed = (getattr(averages, part) for averages in (old, new, found))
        assert (mixed is None) == (one is None)
        if one is not None:
            np.testing.assert_allclose(mixed, 0.75 * one + 0.25 * other, rtol=1e-12)
    assert found.axes is old.axes
    if shares and name != "joint":
        moments, axes, rest = found.turned().axes
        np.testing.assert_allclose((axes * moments) @ axes.T, found.shared, rtol=1e-9, atol=1e-12)
        assert rest == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n_axes", [1, 3])
def test_of_a_wide_matrix_the_largest_axes_are_told_apart(n_axes, monkeypatch):
    """``(c A + I)^-1`` where the other eigenvalues are their mean, by a dense solve."""
    monkeypatch.setattr(natural, "MOST_AXES", n_axes)
    found, rows = averages_of("independent", True), RNG(1).standard_normal((N_OUT, N_IN))
    values, vectors = np.linalg.eigh(found.shared)
    values[:-n_axes] = values[:-n_axes].mean()
    alike = (vectors * values) @ vectors.T
    curvature = np.arange(1.0, 1 + N_OUT)[:, None]
    shrunk = found.turned().axes.shrunk(rows, curvature)
    for row, c, after in zip(rows, curvature[:, 0], shrunk, strict=True):
        np.testing.assert_allclose(after, np.linalg.solve(np.eye(N_IN) + c * alike, row), rtol=1e-9)


def test_sites_of_joint_weights_may_or_may_not_be_their_curvature():
    """Batches of few rows may have no bimodal message among them; the next one does."""
    plain, both = averages_of("joint", False)._replace(curvature=None), averages_of("joint", False, seed=4)
    for one, other in ((plain, both), (both, plain)):
        found = one.towards(other, 0.25)
        first, second = (part.site if part.curvature is None else part.curvature for part in (one, other))
        np.testing.assert_allclose(found.curvature, 0.75 * first + 0.25 * second, rtol=1e-12)
    assert plain.towards(plain, 0.5).curvature is None


# Directions


def test_direction_of_independent_weights():
    q, prior, averages = weights_of("independent"), weights_of("independent", 1), averages_of("independent", False)
    gradient = RNG(1).standard_normal((N_OUT, N_IN))
    expected = gradient / (prior.precision + averages.curvature)
    np.testing.assert_allclose(direction(q, prior, averages, gradient), expected, rtol=1e-12)


@pytest.mark.parametrize("own", [0.2, 3.0])
def test_a_shared_matrix_is_solved_exactly_where_the_own_curvatures_are_equal(own):
    """``(k + c_i A)^-1`` of every unit, by dense solves."""
    prior = IndependentWeights(np.full((N_OUT, N_IN), own), np.zeros((N_OUT, N_IN)))
    averages = averages_of("independent", True)._replace(noise=0.5)
    gradient = RNG(1).standard_normal((N_OUT, N_IN))
    found = direction(prior, prior, averages, gradient)
    for unit in range(N_OUT):
        matrix = (own + 0.5) * np.eye(N_IN) + averages.curvature[unit, 0] * averages.shared
        np.testing.assert_allclose(found[unit], np.linalg.solve(matrix, gradient[unit]), rtol=1e-9)


def test_a_shared_matrix_with_other_own_curvatures():
    """What the docstring promises, densely, where none is far below the others."""
    prior, averages = weights_of("independent"), averages_of("independent", True)
    prior = IndependentWeights(np.maximum(prior.precision, 1.5), prior.mean)
    gradient = RNG(1).standard_normal((N_OUT, N_IN))
    found = direction(prior, prior, averages, gradient)
    for unit in range(N_OUT):
        own = prior.precision[unit] + averages.noise[unit]
        size = np.diag(own**-0.5)
        inner = np.eye(N_IN) + np.mean(1 / own) * averages.curvature[unit, 0] * averages.shared
        np.testing.assert_allclose(found[unit], size @ np.linalg.solve(inner, size @ gradient[unit]), rtol=1e-9)


@pytest.mark.parametrize("flat", [1e-3, 1e-8])
def test_a_weight_with_a_flat_prior_does_not_stop_the_others(flat):
    """As priors that are not Gaussian leave it to large weights: the promised gain is near that of a dense solve."""
    own = np.ones((N_OUT, N_IN))
    own[:, 0] = flat
    prior, gradient = IndependentWeights(own, 0 * own), RNG(1).standard_normal((N_OUT, N_IN))
    averages = averages_of("independent", True)._replace(noise=0.0)
    averages = averages._replace(curvature=50 * averages.curvature)
    found = direction(prior, prior, averages, gradient)
    for unit in range(N_OUT):
        matrix = np.diag(own[unit]) + averages.curvature[unit, 0] * averages.shared
        best = gradient[unit] @ np.linalg.solve(matrix, gradient[unit])
        assert gradient[unit] @ found[unit] > 0.5 * best
        # And no step is too long: half of its curvature is less than its slope.
        assert found[unit] @ matrix @ found[unit] < 2 * gradient[unit] @ found[unit]


@pytest.mark.parametrize("name", ["independent", *sorted(GRIDS)])
def test_inputs_that_never_vary_leave_no_rounding_behind(name):
    """Weights of inputs that are always 0 stay where they are, to the last bit."""
    q, averages = weights_of(name), averages_of(name, True)
    shared, gradient = averages.shared.copy(), RNG(1).standard_normal((N_OUT, N_IN))
    shared[1] = shared[:, 1] = 0
    gradient[:, 1] = 0
    found = direction(q, q, averages._replace(shared=shared).turned(), gradient)
    assert (found[:, 1] == 0).all() and (found[:, [0, 2, 3]] != 0).all()


def test_direction_of_joint_weights_is_a_dense_solve():
    q, prior = weights_of("joint"), weights_of("joint", seed=1)
    averages, gradient = averages_of("joint", False), RNG(1).standard_normal((N_OUT, N_IN))
    found = direction(q, prior, averages, gradient)
    for unit in range(N_OUT):
        matrix = prior.precision[unit] + averages.curvature[unit]
        np.testing.assert_allclose(found[unit], np.linalg.solve(matrix, gradient[unit]), rtol=1e-9)
    # Where the curvature is the site, the posterior has the inverse already.
    following_site = JointWeights(prior.precision + averages.site, q.mean)
    found = direction(following_site, prior, averages._replace(curvature=None), gradient)
    for unit in range(N_OUT):
        matrix = prior.precision[unit] + averages.site[unit]
        np.testing.assert_allclose(found[unit], np.linalg.solve(matrix, gradient[unit]), rtol=1e-9)


@EVERY_GRID
def test_direction_of_weights_on_levels(grid):
    """In the shifts: a step of the means divided by the variance."""
    q, averages = weights_of(grid), averages_of(grid, False)
    gradient = RNG(1).standard_normal((N_OUT, N_IN))
    found = direction(q, q, averages, gradient)
    np.testing.assert_allclose(found, gradient / (1 + q.variance * averages.curvature), rtol=1e-9)


def test_weights_that_are_all_but_decided_do_not_follow_the_others():
    """Free ones solve the shared matrix, decided ones their own curvature; in between it is a blend."""
    precision, shift = np.zeros((N_OUT, N_IN)), np.zeros((N_OUT, N_IN))
    shift[:, 0], shift[:, 1] = 12.0, 0.7
    q = level_weights("two", precision, shift, False)
    averages, gradient = averages_of("two", True), RNG(1).standard_normal((N_OUT, N_IN))
    found = direction(q, q, averages, gradient)
    own = 1 + q.variance * (np.diag(averages.shared) * averages.curvature + averages.noise)
    np.testing.assert_allclose(found[:, 0], (gradient / own)[:, 0], rtol=1e-3)
    share = q.variance / (q.variance + FREE)
    independent = IndependentWeights(1 / q.variance, 0 * shift)
    together = direction(independent, independent, averages, gradient) / q.variance
    np.testing.assert_allclose(found, share * together + (1 - share) * gradient / own, rtol=1e-9)
    assert share[0, 2] == pytest.approx(1 / (1 + FREE)) and share[0, 0] < 1e-8


@FAMILY
@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_directions_go_up(name, shares, seed):
    """Whatever the gradient in the means is, they move along it."""
    q, gradient = weights_of(name, seed), RNG(seed).standard_normal((N_OUT, N_IN))
    towards = direction(q, weights_of(name, seed + 1), averages_of(name, shares, seed), gradient)
    assert ((gradient * mean_change(q, towards)).sum(1) > 0).all()


@pytest.mark.parametrize("name", ["independent", "joint", "three"])
def test_a_step_raises_what_it_steps_on(name):
    """A quadratic of the means less the divergence from a prior, by its own values."""
    q, prior = weights_of(name, constant=False), weights_of(name, 1, constant=False)
    averages, target = averages_of(name, False), RNG(1).standard_normal((N_OUT, N_IN))
    zero = np.zeros_like(averages.site)

    def objective(weights):
        miss = target - weights.mean
        if name == "joint":
            data = np.einsum("ij,ijk,ik", miss, averages.curvature, miss)
        else:
            data = (averages.curvature * miss**2).sum()
        return -0.5 * data - kl_mean_part(weights, prior)

    miss = target - q.mean
    slope = (averages.curvature @ miss[:, :, None])[:, :, 0] if name == "joint" else averages.curvature * miss
    gradient = slope - mean_cost(q, prior, zero, 1.0)
    towards = direction(q, prior, averages, gradient)
    ahead, behind = (objective(advanced(q, sign * 1e-5 * towards)) for sign in (1, -1))
    assert (ahead - behind) / 2e-5 == pytest.approx((gradient * mean_change(q, towards)).sum(), rel=1e-5)
    assert objective(advanced(q, 0.1 * towards)) > objective(q)
