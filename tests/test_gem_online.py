"""Learning at every step: with weights at rest it adds up to what whole sequences say."""

from collections import deque
from itertools import product

import gem_oracles as explicit
import numpy as np
import pytest
from test_gem_passes import TINY, data, some_weights

from sk_epsnn.gem import credit
from sk_epsnn.gem.inputs import Inputs
from sk_epsnn.gem.online import Steps, step_gradient, window

N_STEPS, N_SAMPLES, N_COMPARTMENTS = 6, 2, 3


def rule(v):
    return credit.gem(v, center=True)


@pytest.mark.parametrize("name, kappa", list(product(TINY, (0.0, 0.3, 1.0))))
def test_steps_add_up_to_the_explicit_update(name, kappa, monkeypatch):
    monkeypatch.setattr("sk_epsnn.gem.online._FADED", 1e-30)
    network = TINY[name]
    weights, (x, y) = some_weights(network), data(network, 3, N_STEPS, N_SAMPLES)
    rng = np.random.default_rng(0)
    steps = Steps(network, Inputs(x, N_STEPS, None), N_COMPARTMENTS, lambda place, shape: rng.random(shape))
    moments, seen, v, total = deque(maxlen=window(kappa, N_STEPS)), [], 0.0, {}
    for step in range(N_STEPS):
        moment, log_likelihood = steps.next(step, weights, y[step])
        moments.appendleft(moment)
        seen.append(moment)
        v = kappa * v + log_likelihood
        slope = step_gradient(moments, rule(v), kappa, None)
        total = {part: total.get(part, 0) + slope[part] for part in slope}
    assert set(total) == set(weights)
    expected = dict.fromkeys(total, 0.0)
    for i in range(N_SAMPLES):
        spikes = [
            [np.array([m[layer].spikes[i, k] for m in seen]) for layer in range(len(network.hidden))] for k in range(3)
        ]
        runs = [explicit.neurons(network, weights, x[:, i, 0], y[:, i, 0], hidden) for hidden in spikes]
        update = explicit.online_update(network, runs, kappa, rule)
        expected = {part: expected[part] + update[part] for part in total}
    for part in total:
        np.testing.assert_allclose(total[part], expected[part], atol=1e-10, err_msg=part)


def test_what_is_kept_depends_on_the_decay_and_not_on_the_sequence():
    assert window(0.0, 1000) == 1
    assert window(0.05, 1000) == window(0.05, 100_000) == 4
    assert window(0.5, 1000) == 14
    assert window(1.0, 30) == 30
