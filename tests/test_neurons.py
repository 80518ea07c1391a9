"""Every registered neuron against quadrature: the probability of a spike, its derivatives, repeats and extremes."""

import numpy as np
import oracles
import pytest
from potentials import GRID, grid
from sklearn.base import clone

from sk_epsnn.messages import SpikeMoments
from sk_epsnn.neurons import NEURONS, Neuron

EVERY = pytest.mark.parametrize("name", sorted(NEURONS))
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def test_registry():
    assert set(oracles.SPIKE_LAWS) >= set(NEURONS)
    assert all(issubclass(c, Neuron) and c.name == name for name, c in NEURONS.items())


@EVERY
def test_forward(name):
    law, neuron = oracles.SPIKE_LAWS[name], NEURONS[name]()
    mean, variance = grid(GRID)
    moments = neuron.forward(mean, variance)
    repeat = neuron.repeat_probability(moments)
    for row, (m, s) in enumerate(GRID):
        u, w = oracles.gaussian_rule(m, s, law.breaks)
        fires, score = law.probability(u), (u - m) / s
        exact = [(w * fires * f).sum() for f in (np.ones_like(u), score, score**2 - 1 / s)]
        scale = np.array([1, np.sqrt(s), s])
        np.testing.assert_allclose(np.hstack(moments)[row] * scale, exact * scale, rtol=0, atol=1e-8)
        np.testing.assert_allclose(repeat[row, 0], (w * fires**2).sum(), rtol=0, atol=1e-8)


@EVERY
@DTYPES
@pytest.mark.parametrize("variance", [1e-7, 1e-3, 1.0, 1e6])
def test_extremes_stay_finite(name, dtype, variance):
    neuron = NEURONS[name]()
    pairs = [(z * np.sqrt(variance), variance) for z in (-1e4, -100, -30, -9, -5, 0, 5, 9, 30, 100, 1e4)]
    mean, variances = grid(pairs, dtype)
    moments = neuron.forward(mean, variances)
    assert ((moments.probability >= 0) & (moments.probability <= 1 + 1e-6)).all()
    for part in (*moments, neuron.repeat_probability(moments)):
        assert part.dtype == dtype
        assert np.isfinite(part).all()


@EVERY
def test_behaves_as_a_scikit_learn_object(name):
    neuron = NEURONS[name]()
    neuron.check()
    again = clone(neuron)
    assert type(again) is type(neuron) and again.get_params() == neuron.get_params()
    assert repr(neuron) == f"{type(neuron).__name__}()"


def test_base_refuses():
    one = np.ones((1, 1))
    for call in (
        lambda: Neuron().forward(one, one),
        lambda: Neuron().repeat_probability(SpikeMoments(one, one, one)),
    ):
        with pytest.raises(NotImplementedError):
            call()
