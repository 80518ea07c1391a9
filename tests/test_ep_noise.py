"""The noise of a regressor, against the density that it maximises."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from states import state_of, with_layer

from sk_epsnn.ep.evidence import NoiseEvidence
from sk_epsnn.ep.noise import judged_noise, learned_noise
from sk_epsnn.messages import observed
from sk_epsnn.network import Batch
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.weights import JointWeights


def linear_posterior(seed=0):
    """Joint weights of one unit."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((3, 8))
    return JointWeights((root @ root.T)[None] * 4, rng.standard_normal((1, 3)))


def linear_state():
    """Its power is no matter to rows that are held out."""
    return state_of([linear_posterior()], [], GaussianOutput(np.array([0.5])), constant=False, power=0.3)


def held_out_batch(state, n=40):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, 3))
    y = x @ state.layers[0].posterior.mean.T + np.sqrt(0.5) * rng.standard_normal((n, 1))
    return Batch(observed(x), y, np.linspace(0.5, 2, n))


def spread_of(state, x):
    return np.einsum("nj,jk,nk->n", x, np.linalg.inv(state.layers[0].posterior.precision[0]), x)


def test_held_out_rows_say_the_noise_that_makes_them_most_probable():
    state = linear_state()
    held_out = held_out_batch(state)
    variance = judged_noise(state, held_out, NoiseEvidence(1e-9, 1e-9, 0.0, np.zeros(1)))
    x, y, mean = held_out.inputs.mean, held_out.target[:, 0], state.layers[0].posterior.mean[0]
    spread = spread_of(state, x)

    def density(log_variance):
        return norm.logpdf(y, x @ mean, np.sqrt(spread + np.exp(log_variance))) @ held_out.sample_weight

    best = minimize_scalar(lambda v: -density(v), bounds=(-6, 3), method="bounded", options={"xatol": 1e-9})
    assert np.log(variance[0]) == pytest.approx(best.x, abs=1e-5)


def test_held_out_rows_judge_by_the_moments_of_predictions():
    state, held_out = linear_state(), held_out_batch(linear_state())
    nothing = NoiseEvidence(1e-9, 1e-9, 0.0, np.zeros(1))
    cold = state.with_widths([0.25])
    expected = judged_noise(with_layer(state, 0, temperature=0.25), held_out, nothing)
    assert judged_noise(cold, held_out, nothing) == expected > judged_noise(state, held_out, nothing)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_learned_noise_is_a_fixed_point(power):
    """Second moments of the noise, each output and row by its own tilted Gaussian, make up the estimate."""
    state = linear_state()
    batch = held_out_batch(state)
    before = NoiseEvidence(1.0, 0.1, 10.0, np.array([3.0]))
    after = learned_noise(state, before, batch, power)
    x, y = batch.inputs.mean, batch.target[:, 0]
    v, spread = after.variance[0], spread_of(state, x)
    # Posterior of the potential given y, the likelihood raised to the power: precision-weighted, row by row.
    precision = 1 / spread + power / v
    center = (x @ state.layers[0].posterior.mean[0] / spread + power * y / v) / precision
    squares = batch.sample_weight @ ((y - center) ** 2 + 1 / precision)
    assert after.mass == pytest.approx(10 + batch.mass, rel=1e-14)
    assert (0.1 + 3.0 + squares) / (1 + 10 + batch.mass) == pytest.approx(v, rel=1e-9)
