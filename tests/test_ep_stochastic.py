"""Steps on mini-batches against closed forms, finite differences of the energy, and Newton's fixed points."""

from dataclasses import replace

import numpy as np
import pytest
from states import (
    NOISE,
    STATE_FAMILIES,
    design,
    linear_batch,
    one_layer,
    output_of,
    priors_of,
    random_rows,
    random_state,
    random_targets,
    two_layers,
    with_joint,
    with_layer,
    with_levels,
)

from sk_epsnn.course import Rows
from sk_epsnn.ep import stochastic
from sk_epsnn.ep.energy import energy, log_evidence
from sk_epsnn.ep.evidence import NoiseEvidence
from sk_epsnn.ep.natural import advanced, at, coordinate, mean_change
from sk_epsnn.ep.newton import newton
from sk_epsnn.ep.passes import backward, forward, row_weights
from sk_epsnn.ep.setup import set_up
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.ep.stochastic import (
    EVERY,
    LAST_MEMORY,
    LAST_RATE,
    MEMORY,
    MOMENTUM,
    MOST_GAIN,
    Diverged,
    arrived,
    begin,
    mean_of,
    natural_step,
)
from sk_epsnn.messages import observed
from sk_epsnn.network import Batch
from sk_epsnn.priors import LaplacePrior

RNG = np.random.default_rng
#: So many passes that the rate has not fallen yet.
ENDLESS = 1e12
N, N_IN, N_OUT = 60, 5, 2


def ridge(joint=True):
    """A Gaussian layer of known noise, all rows, and the posterior in closed form."""
    state = one_layer(N_IN, N_OUT, output_of("gaussian", N_OUT), joint=joint, power=0.0, variance=2.0)
    batch = linear_batch(N, N_IN, N_OUT, "gaussian")
    # Small enough that no step is cut, see below.
    batch = replace(batch, target=0.2 * batch.target)
    x = batch.inputs.mean
    precision = np.eye(N_IN) / 2.0 + x.T @ x / NOISE
    return state, batch, precision, np.linalg.solve(precision, x.T @ batch.target / NOISE).T


def steps(state, batches, total, n_passes=ENDLESS):
    for batch in batches:
        state, _, _ = natural_step(state, batch, total, n_passes)
    return state


# A Gaussian layer of known noise, in closed form


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_first_step_is_the_share_of_the_velocity_on_the_way_to_ridge_regression(rate):
    state, batch, precision, mean = ridge()
    after, log_z, used = natural_step(begin(state, rate), batch, float(N), ENDLESS)
    q = after.layers[0].posterior
    np.testing.assert_allclose(q.mean, (1 - MOMENTUM) * rate * mean, rtol=1e-9)
    for unit in range(N_OUT):
        np.testing.assert_allclose(q.precision[unit], precision, rtol=1e-9)
    assert log_z == pytest.approx(log_evidence(state, batch, state.posteriors), rel=1e-12)
    assert used == rate and after.mass == N and after.walk.n_steps == 1 and after.walk.passes == 1.0


def test_further_steps_have_the_momentum_of_the_textbook():
    """The error of a quadratic goes by ``v <- M v - (1 - M) r e`` and ``e <- e + v``, in every direction alike."""
    state, batch, _, mean = ridge()
    rate, error, velocity = 0.5, -1.0, 0.0
    state = begin(state, rate)
    for _ in range(12):
        velocity = MOMENTUM * velocity - (1 - MOMENTUM) * rate * error
        error += velocity
        state = steps(state, [batch], N)
        np.testing.assert_allclose(state.layers[0].posterior.mean, (1 + error) * mean, rtol=1e-8)
        np.testing.assert_allclose(state.walk.layers[0].velocity, velocity * mean, rtol=1e-8)


@pytest.mark.parametrize("joint", [True, False])
def test_steps_arrive_at_the_posterior(joint):
    """The means of independent weights, which share a matrix of curvature, are the exact ones too."""
    state, batch, precision, mean = ridge(joint)
    state = steps(begin(state, 1.0), [batch] * 400, N)
    q = state.layers[0].posterior
    np.testing.assert_allclose(q.mean, mean, rtol=1e-7)
    expected = precision if joint else np.diag(precision)
    np.testing.assert_allclose(q.precision, np.stack([expected] * N_OUT), rtol=1e-9)


def test_a_batch_stands_for_all_rows():
    """Its evidence counts as often as its weight goes into that of all rows."""
    state, batch, _, _ = ridge()
    batch = replace(batch, sample_weight=np.linspace(0.5, 2, N))
    half = batch.take(slice(0, 20))
    after = steps(begin(state, 1.0), [half], batch.mass)
    x, weight = half.inputs.mean, half.sample_weight * batch.mass / half.mass
    precision = np.eye(N_IN) / 2.0 + (x * weight[:, None]).T @ x / NOISE
    mean = np.linalg.solve(precision, x.T @ (weight[:, None] * half.target) / NOISE).T
    np.testing.assert_allclose(after.layers[0].posterior.precision[0], precision, rtol=1e-9)
    np.testing.assert_allclose(after.layers[0].posterior.mean, (1 - MOMENTUM) * mean, rtol=1e-9)
    assert after.walk.passes == pytest.approx(half.mass / batch.mass)


def test_the_rate_falls_geometrically_by_the_passes():
    state, batch, _, _ = ridge()
    state, rates = begin(state, 0.5), []
    for _ in range(8):
        state, _, rate = natural_step(state, batch.take(slice(0, 15)), N, 1.0)
        rates.append(rate)
    done = np.minimum(np.arange(8) / 4, 1)
    np.testing.assert_allclose(rates, 0.5 * LAST_RATE**done, rtol=1e-12)


def test_steps_that_promise_too_much_are_cut():
    """Targets so large that a step would gain hundreds of nats a row; each layer is cut to `MOST_GAIN` on its own."""
    state, batch, precision, mean = ridge()
    batch = replace(batch, target=100 * batch.target)
    for rate in (1.0, 0.5, 1e-6):
        after = steps(begin(state, rate), [batch], N)
        # The gain that slope and curvature promise: gradient times step.
        promised = np.einsum("ij,jk,ik", 100 * mean, precision, 100 * mean) / N
        expected = min(rate, MOST_GAIN / promised)
        np.testing.assert_allclose(after.layers[0].posterior.mean, (1 - MOMENTUM) * expected * 100 * mean, rtol=1e-8)
    assert promised > 100 * MOST_GAIN


@pytest.mark.parametrize(("n_passes", "memory"), [(ENDLESS, MEMORY), (1e-9, LAST_MEMORY)])
def test_averages_forget_as_stated(n_passes, memory):
    """Site precisions of a Gaussian layer are known, whatever the means are.

    The first batches replace each other, then every fourth one is measured, and takes the share of a plain average
    until that would be less than one over the memory, which grows from start to end.
    """
    state, batch, _, _ = ridge()
    parts = [batch.take(slice(6 * k, 6 * k + 6)) for k in range(10)]
    sites = [N / 6 * p.inputs.mean.T @ p.inputs.mean / NOISE for p in parts]
    state, expected, n_measured = begin(state, 1e-3), None, 0
    for step in range(120):
        k = step % 10
        if step < EVERY or step % EVERY == 0:
            share = 1.0 if step < EVERY else max(1 / (1 + step // EVERY), 1 / memory if step else 1.0)
            expected = sites[k] if share == 1 else expected + share * (sites[k] - expected)
            n_measured += 1
        # The way is at its end from the second step on, where it is so short.
        state = steps(state, [parts[k]], N, n_passes)
        np.testing.assert_allclose(state.walk.layers[0].averages.site[0], expected, rtol=1e-9, atol=1e-7)
        precision = state.layers[0].posterior.precision[0]
        np.testing.assert_allclose(precision, expected + np.eye(N_IN) / 2.0, rtol=1e-9, atol=1e-7)
    assert n_measured == EVERY + 120 // EVERY - 1


def test_a_way_that_begins_anew_keeps_the_precisions():
    """What they have been measured to be is an average already: a new batch takes its usual share of it."""
    state, batch, precision, mean = ridge()
    known = steps(begin(state, 1.0), [batch] * 5, N)
    again = begin(replace(known, walk=None), 0.5)
    np.testing.assert_allclose(again.walk.layers[0].site[0], precision - np.eye(N_IN) / 2.0, rtol=1e-9)
    assert again.walk.rate == 0.5 and (again.walk.layers[0].velocity == 0).all()
    some = batch.take(slice(0, 10))
    after = steps(again, [some], N)
    site = N / 10 * some.inputs.mean.T @ some.inputs.mean / NOISE
    kept = precision + (site - (precision - np.eye(N_IN) / 2.0)) / MEMORY
    np.testing.assert_allclose(after.layers[0].posterior.precision[0], kept, rtol=1e-9)
    # Of a network that has seen nothing nothing is known, nor of levels.
    assert begin(state, 1.0).walk.layers[0].site is None and begin(state, 1.0).walk.n_steps == 0
    levels = replace(with_levels(random_state([4, 3, 2])), mass=9.0)
    assert [way.site for way in begin(levels, 1.0).walk.layers] == [None, None]


@pytest.mark.parametrize("family", sorted(STATE_FAMILIES))
@pytest.mark.parametrize("output", ["sigmoid", "gaussian"])
def test_blocks_of_rows_add_up(family, output, monkeypatch):
    """A batch in several blocks makes the step, and has the evidence, that it has as a whole."""
    state = STATE_FAMILIES[family](random_state([4, 7, N_OUT], output=output))
    state = state.with_layers([replace(layer, prior=layer.posterior) for layer in state.layers])
    state = replace(state, noise=NoiseEvidence.none_yet(np.zeros(N_OUT)) if output == "gaussian" else None)
    weight = RNG(4).uniform(0.5, 2, N)
    batch = Batch(observed(random_rows(N, 4)), random_targets(N, N_OUT), weight)

    def walked():
        after, log_z, _ = natural_step(begin(state, 0.5), batch, 2 * batch.mass, ENDLESS)
        noise = [] if after.noise is None else [after.noise.squares]
        parts = [getattr(layer.posterior, part) for layer in after.layers for part in ("mean", "precision")]
        return [log_z, log_evidence(state, batch, state.posteriors), *noise, *parts]

    assert len(state.network.blocks(batch)) == 1
    whole = walked()
    monkeypatch.setattr("sk_epsnn.network.BLOCK", 100)
    assert len(state.network.blocks(batch)) == 5
    for one, other in zip(whole, walked(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)


def test_the_end_is_the_average_of_the_last_steps():
    """Over the last fifth of the way, in the coordinates of the family."""
    state, batch, _, _ = ridge()
    state, seen = begin(state, 1.0), []
    for k in range(20):
        state, _, _ = natural_step(state, batch.take(slice(15 * (k % 4), 15 * (k % 4) + 15)), N, 5.0)
        seen.append(coordinate(state.layers[0].posterior))
    assert state.walk.n_averaged == 4
    np.testing.assert_allclose(arrived(state).layers[0].posterior.mean, np.mean(seen[-4:], axis=0), rtol=1e-9)
    np.testing.assert_array_equal(arrived(state).layers[0].posterior.precision, state.layers[0].posterior.precision)
    early = steps(begin(ridge()[0], 1.0), [batch], N)
    assert arrived(early) is early


def test_a_step_leaves_the_old_state_alone():
    state = begin(random_state([4, 6, 2]), 1.0)
    batch = Batch(observed(random_rows(30, 4)), random_targets(30, 2), np.ones(30))
    state = steps(state, [batch], 30.0)
    before = [layer.posterior.mean.copy() for layer in state.layers], replace(state.counts), state.walk
    steps(state, [batch], 30.0)
    for layer, mean in zip(state.layers, before[0], strict=True):
        np.testing.assert_array_equal(layer.posterior.mean, mean)
    assert state.counts == before[1] and state.walk is before[2]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_diverges():
    state, batch, _, _ = ridge()
    with pytest.raises(Diverged):
        natural_step(begin(state, 1.0), replace(batch, target=np.full_like(batch.target, 1e300)), N, ENDLESS)


def test_single_precision_batches_leave_weights_in_double():
    state, batch, _, mean = ridge()
    single = batch.in_dtype("float32")
    assert single.inputs.mean.dtype == single.target.dtype == single.sample_weight.dtype == np.float32
    assert single.in_dtype("float32") is single and batch.in_dtype("float64") is batch
    q = steps(begin(state, 1.0), [single] * 300, N).layers[0].posterior
    assert q.mean.dtype == q.precision.dtype == np.float64
    np.testing.assert_allclose(q.mean, mean, rtol=1e-4, atol=1e-5)


# Directions go up


def all_joint(state):
    """The same network with matrices of precision, in the priors too."""
    layers = with_joint(state).layers
    return state.with_layers([replace(layer, prior=layer.posterior) for layer in layers])


FAMILIES = {
    "independent": lambda s: s,
    "joint": all_joint,
    "binary": lambda s: with_levels(s, constant=True),
    "ternary": lambda s: with_levels(s, levels=(-1.0, 0.0, 1.0), constant=True),
}


def measured_there(state, batch):
    """The state with what the batch says of its curvature, at rest where it is, about to step without measuring.

    The precisions of Gaussian weights are those of prior and site.
    """
    walked = begin(state, 1e-12)
    for _ in range(3):
        walked = steps(walked, [batch], batch.mass)
    ways = [replace(way, velocity=0 * way.velocity) for way in walked.walk.layers]
    return replace(walked, walk=replace(walked.walk, layers=tuple(ways), rate=1.0, n_steps=EVERY + 1))


def ep_energy(state, batch, excess):
    """Energy of EP: the weights' own sites, held fixed, taken out of the cavities of the rows (see ep/newton.py)."""
    up = forward(state, batch.inputs, state.moments("float64"))
    own = sum(0.5 * (extra * here.from_weights).sum() for here, extra in zip(up.potentials, excess, strict=True))
    return energy(state, batch, state.posteriors, priors_of(state)) - own


def excess_of(state, batch):
    weights = state.moments("float64")
    up = forward(state, batch.inputs, weights)
    _, messages, _, _ = backward(state, up, batch.target, weights, UpdateCounts())
    rows = row_weights(state, batch.sample_weight)
    return [row[:, None] * (m.gamma - m.kappa) for row, m in zip(rows, messages, strict=True)]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", ["gaussian", "sigmoid"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_slope_along_a_step_is_that_of_the_energy(family, kind, shared, monkeypatch):
    """Of one layer, whose messages are exact: finite differences of the energy, which knows nothing of messages."""
    if not shared:
        monkeypatch.setattr(stochastic, "SHARED_FAN_IN", 0)
    state = FAMILIES[family](random_state([5, 2], output=kind, power=1.0))
    batch = linear_batch(40, 5, 2, kind)
    state = measured_there(state, batch)
    after = steps(state, [batch], batch.mass)
    velocity = after.walk.layers[0].velocity
    excess, length = excess_of(state, batch), 1e-5
    ahead, behind = (
        ep_energy(state.with_posteriors([advanced(state.posteriors[0], sign * length * velocity)]), batch, excess)
        for sign in (1, -1)
    )
    slope = (ahead - behind) / (2 * length)
    assert slope > 0
    # And it is the gradient times the change of the means.
    gradient = gradient_of(state, batch)
    expected = (gradient * mean_change(state.posteriors[0], velocity)).sum()
    np.testing.assert_allclose(slope, expected, rtol=1e-4)
    assert (state.walk.layers[0].averages.shared is not None) == (shared and family != "joint")


def gradient_of(state, batch):
    """Slope of EP's energy in every coordinate, divided by what the coordinate does to the mean."""
    q, excess, result = state.posteriors[0], excess_of(state, batch), np.zeros_like(state.posteriors[0].mean)
    for index in np.ndindex(result.shape):
        change = np.zeros_like(result)
        change[index] = 1e-5
        up, down = (ep_energy(state.with_posteriors([advanced(q, s * change)]), batch, excess) for s in (1, -1))
        result[index] = (up - down) / 2 / mean_change(q, change)[index]
    return result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hidden", ["heaviside", "sigmoid"])
@pytest.mark.parametrize("output", ["sigmoid", "gaussian"])
@pytest.mark.parametrize("family", FAMILIES)
def test_steps_of_every_layer_raise_the_energy(family, output, hidden, seed):
    """Where messages come through neurons the slope is approximate, and up all the same."""
    state = FAMILIES[family](random_state([5, 8, 2], hidden=hidden, output=output, seed=seed))
    batch = Batch(observed(random_rows(80, 5, seed)), random_targets(80, 2, seed), np.ones(80))
    state = measured_there(state, batch)
    after, excess = steps(state, [batch], batch.mass), excess_of(state, batch)
    for index, way in enumerate(after.walk.layers):
        posteriors = [list(state.posteriors) for _ in range(2)]
        for sign, these in zip((1, -1), posteriors, strict=True):
            these[index] = advanced(state.posteriors[index], sign * 1e-4 * way.velocity)
        ahead, behind = (ep_energy(state.with_posteriors(these), batch, excess) for these in posteriors)
        assert ahead > behind, index


def test_joint_hidden_layers_may_see_batches_without_bimodal_messages():
    """One row: its message may be bimodal or not, and the next one's is another."""
    state = all_joint(random_state([3, 1, 1], seed=3))
    whole = Batch(observed(random_rows(40, 3)), random_targets(40, 1), np.ones(40))
    rows = [whole.take(slice(k, k + 1)) for k in range(40)]
    start = begin(state, 0.1)
    kinds = [steps(start, [row], 40.0).walk.layers[0].averages.curvature is None for row in rows]
    assert set(kinds) == {True, False}
    # Whichever comes first.
    for row in (rows[kinds.index(True)], rows[kinds.index(False)]):
        end = steps(start, [row, *rows], 40.0)
        assert np.isfinite(end.layers[0].posterior.mean).all()
        halves = [steps(start, [each] * 2, 40.0) for each in (row, rows[5], rows[kinds.index(True)])]
        assert mean_of(halves, start).walk.layers[0].averages.site.shape == (1, 3, 3)


# Newton's fixed points


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("kind", ["gaussian", "sigmoid"])
def test_steps_stay_where_newton_ends(kind, joint, temperature):
    state = one_layer(6, 2, output_of(kind, 2), joint=joint, power=0.5)
    state, batch = with_layer(state, 0, temperature=temperature), linear_batch(100, 6, 2, kind)
    result = newton(state, batch, priors_of(state), step=1.0, n_sweeps=200, tol=0.0)
    state = replace(state.with_posteriors(result.posteriors), mass=batch.mass)
    q, here = state.posteriors[0], steps(begin(state, 1.0), [batch] * 30, batch.mass).posteriors[0]
    sd = 1 / np.sqrt(q.precision if not joint else np.diagonal(q.precision, axis1=1, axis2=2))
    assert (np.abs(here.mean - q.mean) < 1e-4 * sd).all()
    np.testing.assert_allclose(here.precision, q.precision, rtol=1e-4, atol=1e-4 * np.abs(q.precision).max())


@pytest.mark.parametrize("hidden", ["sigmoid", "heaviside"])
@pytest.mark.parametrize("kind", ["gaussian", "sigmoid"])
def test_steps_reach_the_energy_of_newton_through_hidden_layers(kind, hidden):
    """Full batches with the rate falling; 0.02 nats a row are allowed, of at least 0.35 that there are to gain."""
    batch, state = linear_batch(150, 6, 2, kind), two_layers(6, 10, 2, output_of(kind, 2), seed=1, hidden=hidden)
    cavities = priors_of(state)
    start = energy(state, batch, cavities, cavities)
    best = newton(state, batch, cavities, step=1.0, n_sweeps=100, tol=0.0).energy
    end = steps(begin(state, 0.5), [batch] * 200, batch.mass, n_passes=200)
    reached = energy(end, batch, end.posteriors, cavities)
    assert reached > best - 0.02 * batch.mass
    assert best - start > 0.35 * batch.mass


@pytest.mark.parametrize("levels", [(-1.0, 1.0), (-1.0, 0.0, 1.0)])
def test_steps_of_levels_reach_the_energy_of_newton(levels):
    batch, state = linear_batch(150, 6, 2, "sigmoid"), with_levels(random_state([6, 2]), levels=levels)
    cavities = priors_of(state)
    start = energy(state, batch, cavities, cavities)
    best = newton(state, batch, cavities, step=1.0, n_sweeps=100, tol=0.0).energy
    end = steps(begin(state, 0.5), [batch] * 300, batch.mass, n_passes=300)
    assert energy(end, batch, end.posteriors, cavities) > best - 0.01 * batch.mass
    assert best - start > 0.1 * batch.mass


# Ways that went apart


def test_the_mean_of_ways_is_that_of_natural_parameters():
    state, batch, _, _ = ridge()
    start = replace(begin(state, 1.0), counts=UpdateCounts(bounded_log_ratios=5))
    ends = [steps(start, [batch.take(slice(k, None, 3))] * 3, N) for k in range(3)]
    ends = [replace(e, counts=e.counts.plus(UpdateCounts(bounded_log_ratios=k))) for k, e in enumerate(ends)]
    mean = mean_of(ends, start)
    q = [end.layers[0].posterior for end in ends]
    precision = np.mean([each.precision for each in q], axis=0)
    shift = np.mean([np.einsum("ijk,ik->ij", each.precision, each.mean) for each in q], axis=0)
    np.testing.assert_allclose(mean.layers[0].posterior.precision, precision, rtol=1e-12)
    np.testing.assert_allclose(mean.layers[0].posterior.mean, np.linalg.solve(precision, shift[:, :, None])[:, :, 0])
    velocity = np.mean([end.walk.layers[0].velocity for end in ends], axis=0)
    np.testing.assert_allclose(mean.walk.layers[0].velocity, velocity, rtol=1e-12)
    assert mean.counts.bounded_log_ratios == 5 + 0 + 1 + 2
    assert mean_of(ends[:1], start) is ends[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_ways_of_every_family_meet(family):
    """Of shards that saw the same rows the mean is each of them."""
    state = begin(FAMILIES[family](random_state([4, 6, 2])), 0.5)
    batch = Batch(observed(random_rows(30, 4)), random_targets(30, 2), np.ones(30))
    end = steps(state, [batch] * 6, 30.0, n_passes=6)
    mean = mean_of([end, end], state)
    for found, expected in zip(mean.layers, end.layers, strict=True):
        np.testing.assert_allclose(found.posterior.mean, expected.posterior.mean, rtol=1e-9, atol=1e-12)
    for found, expected in zip(mean.walk.layers, end.walk.layers, strict=True):
        np.testing.assert_allclose(found.last, expected.last, rtol=1e-12)
        np.testing.assert_allclose(found.averages.site, expected.averages.site, rtol=1e-12)
        assert (found.averages.axes is None) == (expected.averages.axes is None)
    np.testing.assert_allclose(
        steps(mean, [batch], 30.0).posteriors[0].mean, steps(end, [batch], 30.0).posteriors[0].mean
    )


# Noise, and priors that are not Gaussian


def test_a_noise_is_learned_from_predictions_before_the_step():
    state, batch, _, _ = ridge()
    state = replace(begin(state, 1.0), noise=NoiseEvidence(1.0, 0.1, 0.0, np.zeros(N_OUT)))
    after = steps(state, [batch], N)
    spread = 2.0 * (batch.inputs.mean**2).sum(1, keepdims=True)
    # By the prior, whose evidence of a prediction is that of the power where the batch is all rows.
    expected = state.noise.absorb(batch.target, np.repeat(spread, N_OUT, axis=1), np.ones(N), state.power)
    np.testing.assert_allclose(after.noise.squares, expected.squares, rtol=1e-9)
    np.testing.assert_array_equal(after.network.output.noise_variance, after.noise.variance)
    again = steps(after, [batch] * 300, N)
    assert again.noise.mass == pytest.approx(N)
    np.testing.assert_allclose(again.network.output.noise_variance, 0.2**2 * NOISE, rtol=0.5)


@pytest.mark.parametrize("joint", [False, True])
def test_what_stands_for_a_prior_follows_and_slows_what_it_sharpens(joint):
    """Steps under a Laplace prior, with independent weights and with joint ones."""
    state, batch, _, _ = ridge()
    rows = Rows(batch.inputs.mean[:, :-1], batch.target, np.ones(N))
    network = replace(state.network, basis=None)
    laplace = set_up(network, design(prior=LaplacePrior(), joint=(joint,), power=0.0), rows, np.random.RandomState(0))
    batch = laplace.network.batch(*rows)
    after = steps(begin(laplace, 0.5), [batch] * 500, N, n_passes=500)
    assert (after.layers[0].prior.precision != laplace.layers[0].prior.precision).any()
    x = batch.inputs.mean
    marginal = after.layers[0].prior.marginals()[0]
    for unit in range(N_OUT):
        # At the end the means are the ridge solution under the Gaussians that stand for the prior.
        matrix = np.diag(marginal[unit]) + x.T @ x / NOISE
        shift = after.layers[0].prior.shift[unit] + x.T @ batch.target[:, unit] / NOISE
        np.testing.assert_allclose(
            after.layers[0].posterior.mean[unit], np.linalg.solve(matrix, shift), rtol=1e-3, atol=1e-3
        )


def test_coordinates_of_the_average_are_taken_as_they_are():
    q = with_levels(random_state([4, 3])).posteriors[0]
    np.testing.assert_array_equal(at(q, q.shift + 5.0).shift, q.shift + 5.0)
