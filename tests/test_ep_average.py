"""Average EP over one batch: its fixed point is that of the Newton steps, and it refuses to diverge."""

from dataclasses import replace

import numpy as np
import pytest
from states import Steps, linear_batch, one_layer, output_of, priors_of, random_state, two_layers, uncentred_rows

from sk_epsnn.connections import Dense
from sk_epsnn.ep.average import _messages_per_spike, average_ep
from sk_epsnn.ep.energy import energy
from sk_epsnn.ep.newton import newton
from sk_epsnn.messages import observed
from sk_epsnn.network import Batch
from sk_epsnn.outputs import SigmoidOutput

KIND = pytest.mark.parametrize("kind", ["gaussian", "sigmoid"])


@KIND
def test_schedules_share_their_fixed_point(kind):
    state, batch = one_layer(5, 2, output_of(kind, 2)), linear_batch(200, 5, 2, kind)
    cavities = priors_of(state)
    slow = average_ep(state, batch, cavities, damping=0.3, n_sweeps=2000, tol=1e-12, leave_one_out=False)
    fast = newton(state, batch, cavities, step=1.0, n_sweeps=60, tol=0.0)
    assert slow.accepted
    np.testing.assert_allclose(fast.posteriors[0].mean, slow.posteriors[0].mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(fast.posteriors[0].precision, slow.posteriors[0].precision, rtol=1e-5)


@KIND
def test_leaving_one_out_matters_less_with_more_samples(kind):
    gaps = []
    for n in (100, 1600):
        state, batch = one_layer(5, 2, output_of(kind, 2)), linear_batch(n, 5, 2, kind)
        options = dict(damping=0.3, n_sweeps=2000, tol=1e-12)
        exact = average_ep(state, batch, priors_of(state), leave_one_out=True, **options).posteriors[0]
        limit = average_ep(state, batch, priors_of(state), leave_one_out=False, **options).posteriors[0]
        gaps.append(np.abs(exact.mean - limit.mean).max())
    assert 0 < gaps[1] < gaps[0] / 4


def test_average_ep_refuses_to_diverge():
    x, target = uncentred_rows(2)
    state = one_layer(41, 2, SigmoidOutput())
    batch = Batch(observed(x), target, np.ones(300))
    result = average_ep(state, batch, priors_of(state), damping=0.7, n_sweeps=200, tol=1e-6)
    assert not result.accepted
    assert result.counts.rejected_batches == 1
    assert result.posteriors[0] is state.layers[0].posterior
    # The same problem is no trouble for a smaller step.
    calm = average_ep(state, batch, priors_of(state), damping=0.02, n_sweeps=500, tol=1e-6)
    assert calm.accepted


@pytest.mark.parametrize("hidden", [False, True])
def test_energy_of_the_result_is_that_of_its_posteriors(hidden):
    batch = linear_batch(150, 6, 2, "sigmoid")
    state = one_layer(6, 2, SigmoidOutput())
    if hidden:
        # Average EP has no joint weights.
        last = one_layer(13, 2, SigmoidOutput(), variance=0.5).layers[0]
        state = two_layers(6, 12, 2, SigmoidOutput(), seed=1)
        state = state.with_layers([state.layers[0], last])
    cavities = priors_of(state)
    result = average_ep(state, batch, cavities, damping=0.1, n_sweeps=200, tol=1e-6)
    assert result.accepted and result.step == 0.1
    assert result.energy == energy(state, batch, result.posteriors, cavities)
    assert result.energy > energy(state, batch, state.posteriors, cavities) + 1
    assert all(layer.posterior is layer.prior for layer in state.layers)


def test_sweeps_end_when_no_mean_moves():
    state, batch = one_layer(5, 2, SigmoidOutput()), linear_batch(200, 5, 2, "sigmoid")
    one, other, short = (
        average_ep(state, batch, priors_of(state), damping=0.3, n_sweeps=n, tol=1e-3).posteriors[0]
        for n in (300, 400, 2)
    )
    np.testing.assert_array_equal(one.mean, other.mean)
    settled = average_ep(state, batch, priors_of(state), damping=0.3, n_sweeps=2000, tol=1e-12).posteriors[0]
    left, much = (np.abs((q.mean - settled.mean) * np.sqrt(settled.precision)).max() for q in (one, short))
    # What is left is a few times the last move, and two sweeps are too few.
    assert 1e-6 < left < 0.02 < much


@pytest.mark.parametrize("readout", [Dense(4), Steps(4, 5)], ids=["dense", "steps"])
def test_spikes_are_counted_by_those_who_read_them(readout):
    """Entry by entry: which neurons of which row a hidden spike goes to."""
    state = random_state([3, 10, 4])
    state = replace(state, network=replace(state.network, readout=readout))
    read = readout.gather(np.arange(10.0)[None])
    counts = [readout.n_units * (read == spike).sum() for spike in range(10)]
    assert _messages_per_spike(state) == [np.mean(counts)]
