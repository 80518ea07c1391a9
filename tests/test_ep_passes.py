"""Messages through every registered neuron against the tilted distribution: moments, derivatives, limits, symmetry."""

import numpy as np
import oracles
import pytest
from potentials import GRID, grid

from sk_epsnn.ep.passes import neuron_message
from sk_epsnn.neurons import NEURONS
from sk_epsnn.outputs import SPIKING_OUTPUTS

EVERY = pytest.mark.parametrize("name", sorted(NEURONS))
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@EVERY
@pytest.mark.parametrize("log_ratio", [-10.0, -2.0, -0.3, 0.1, 1.5, 8.0])
def test_neuron_message(name, log_ratio):
    law, neuron = oracles.SPIKE_LAWS[name], NEURONS[name]()
    pairs = [(m, s) for m, s in GRID if abs(m) < 6 * np.sqrt(s)]
    mean, variance = grid(pairs)
    down = neuron_message(neuron.forward(mean, variance), np.full_like(mean, log_ratio))
    g, gamma, kappa = (part[:, 0] for part in down)
    for row, (m, s) in enumerate(pairs):
        sd = np.sqrt(s)
        _, first, second = oracles.hidden_spike(law, m, s, log_ratio)
        # Probabilities are off by 2e-9 (mixture of probits), which exp(10) multiplies where a spike is refused.
        atol = 2e-9 * np.exp(abs(log_ratio)) + 1e-9
        np.testing.assert_allclose((m + s * g[row] - first) / sd, 0, rtol=0, atol=10 * atol, err_msg=f"{m} {s}")
        np.testing.assert_allclose((s - s**2 * gamma[row] - second) / s, 0, rtol=0, atol=50 * atol, err_msg=f"{m} {s}")
        # Heat equation: the second derivative in M is twice the first in S.
        np.testing.assert_allclose(kappa[row], gamma[row] - g[row] ** 2, rtol=1e-9, atol=1e-12)


@EVERY
@pytest.mark.parametrize("log_ratio", [-4.0, -0.5, 2.0])
def test_neuron_message_by_differences(name, log_ratio):
    law, neuron = oracles.SPIKE_LAWS[name], NEURONS[name]()
    pairs = [(-1.5, 0.8), (0.0, 0.3), (0.6, 4.0), (2.0, 1.0)]
    mean, variance = grid(pairs)
    down = neuron_message(neuron.forward(mean, variance), np.full_like(mean, log_ratio))
    for row, (m, s) in enumerate(pairs):
        exact = oracles.derivatives(lambda a, b: oracles.hidden_spike(law, a, b, log_ratio)[0], m, s)
        np.testing.assert_allclose([float(d[row, 0]) for d in down], exact, rtol=2e-5, atol=1e-6)


@EVERY
def test_message_of_nothing_is_nothing(name):
    neuron = NEURONS[name]()
    mean, variance = grid(GRID)
    for part in neuron_message(neuron.forward(mean, variance), np.zeros_like(mean)):
        np.testing.assert_array_equal(part, 0)


@EVERY
def test_sign_flip(name):
    """With ``P(v = 1 | -u) = P(v = 0 | u)``, flipping M and the log-ratio flips g only."""
    neuron = NEURONS[name]()
    mean, variance = grid(GRID)
    log_ratio = np.linspace(-9, 9, len(GRID))[:, None]
    one = neuron_message(neuron.forward(mean, variance), log_ratio)
    other = neuron_message(neuron.forward(-mean, variance), -log_ratio)
    scale = np.sqrt(variance)
    for a, b, sign, unit in zip(one, other, (-1, 1, 1), (scale, scale**2, scale**2), strict=True):
        np.testing.assert_allclose(a * unit, sign * b * unit, rtol=1e-7, atol=3e-5)


@EVERY
@pytest.mark.parametrize("sign", [-1, 1])
def test_certain_message_is_an_observed_spike(name, sign):
    """A log-ratio of +-30 clamps the spike: the message of the output block of the same name."""
    if name not in SPIKING_OUTPUTS:
        pytest.skip("no observed output has this law")
    neuron = NEURONS[name]()
    pairs = [(m, s) for m in (-1.5, 0.2, 2.0) for s in (0.5, 4.0)]
    mean, variance = grid(pairs)
    down = neuron_message(neuron.forward(mean, variance), np.full_like(mean, 30.0 * sign))
    _, observed = SPIKING_OUTPUTS[name]().evidence(mean, variance, np.full_like(mean, sign), 1)
    for part, clamped in zip(down, observed, strict=True):
        np.testing.assert_allclose(part, clamped, rtol=1e-6, atol=1e-6)


@EVERY
@DTYPES
@pytest.mark.parametrize("variance", [1e-7, 1e-3, 1.0, 1e6])
def test_messages_of_extremes_stay_finite(name, dtype, variance):
    neuron = NEURONS[name]()
    pairs = [(z * np.sqrt(variance), variance) for z in (-1e4, -100, -30, -9, -5, 0, 5, 9, 30, 100, 1e4)]
    mean, variances = grid(pairs, dtype)
    moments = neuron.forward(mean, variances)
    for log_ratio in (-10, 10):
        down = neuron_message(moments, np.full_like(mean, log_ratio))
        for part in down:
            assert part.dtype == dtype
            assert np.isfinite(part).all()
