"""What a batch of a GEM-SNN costs, beside the matrix products that it cannot do without."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import numpy as np

from sk_epsnn import ExponentialFilter
from sk_epsnn.gem.credit import gem, log_weights, over_later_steps
from sk_epsnn.gem.inputs import fresh
from sk_epsnn.gem.network import SpikingNetwork
from sk_epsnn.gem.passes import gradient, log_likelihood, run

N_STEPS, N_SAMPLES, N_COMPARTMENTS, SIZES, N_REPEATS = 20, 50, 5, (784, 120, 10), 20


def product_ratio() -> float:
    """CPU seconds of a forward pass and a gradient, over those of their matrix products with weights."""
    network, rng = SpikingNetwork(SIZES, ExponentialFilter(decay=0.5)), np.random.RandomState(0)
    weights, uniforms = network.start(rng), fresh(rng)
    inputs = (rng.random_sample((N_STEPS, N_SAMPLES, 1, SIZES[0])) < 0.2).astype(np.float32)
    target = np.eye(SIZES[2], dtype=np.float32)[rng.randint(SIZES[2], size=N_SAMPLES)][np.newaxis, :, np.newaxis]

    def batch() -> None:
        runs = run(network, weights, inputs, N_STEPS, N_COMPARTMENTS, uniforms)
        v = log_weights(log_likelihood(runs.potentials, target), 0.05)
        credit = gem(v, center=True)
        credit = type(credit)(*(over_later_steps(part, 0.05) for part in credit))
        gradient(network, runs, credit, target, runs.potentials)

    x = inputs.reshape(-1, SIZES[0])
    h = (rng.random_sample((len(x) * N_COMPARTMENTS, SIZES[1])) < 0.2).astype(np.float32)
    below, above = weights["weights0"][0], weights["weights1"][0]

    signals = [np.ones((SIZES[1], len(x)), np.float32), np.ones((SIZES[2], len(h)), np.float32)]

    def products() -> None:
        np.matmul(x, below.T)
        np.matmul(h, above.T)
        np.matmul(signals[0], x)
        np.matmul(signals[1], h)

    return seconds(batch) / seconds(products)


def seconds(work: Callable[[], None]) -> float:
    """CPU seconds of some repeats, after one to get warm."""
    work()
    began = process_time()
    for _ in range(N_REPEATS):
        work()
    return process_time() - began
