"""A toy of every kind that somebody may add: what docs/add_*.md show, in the tests alone."""

from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.special import expit, ndtri, owens_t

from sk_epsnn._arrays import sqrt
from sk_epsnn._sklearn import Interval
from sk_epsnn.connections import Connection
from sk_epsnn.messages import SpikeMoments, Spread, WeightMoments
from sk_epsnn.network import Network
from sk_epsnn.neurons import Neuron
from sk_epsnn.numerics import ndtr, normal_pdf
from sk_epsnn.priors import Tilted, WeightPrior
from sk_epsnn.training import Inference, Report, Trainer


class Patches(Connection):
    """A convolution: every neuron reads each square patch of an image, with the same weights.

    Parameters
    ----------
    n_units : int
        Channels.
    image_shape : (int, int)
        Height and width; rows of X hold the pixels line by line.
    size, stride : int
        Of the patches, in pixels.
    """

    _parameter_constraints = {
        **Connection._parameter_constraints,
        "image_shape": [tuple, list],
        "size": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, n_units, image_shape, size=3, stride=1):
        self.n_units = n_units
        self.image_shape = image_shape
        self.size = size
        self.stride = stride

    def _pixels(self, n_inputs):
        """Index of the pixels of every patch, shape (n_rows, n_columns)."""
        height, width = self.image_shape
        if n_inputs != height * width:
            raise ValueError(f"image_shape={self.image_shape} has {height * width} pixels, and X {n_inputs} columns.")
        grid = np.arange(n_inputs).reshape(height, width)
        windows = np.lib.stride_tricks.sliding_window_view(grid, (self.size, self.size))
        return windows[:: self.stride, :: self.stride].reshape(-1, self.size**2)

    def n_rows(self, n_inputs):
        return len(self._pixels(n_inputs))

    def n_columns(self, n_inputs):
        return self.size**2

    def gather(self, values):
        return values[:, self._pixels(values.shape[1])].reshape(-1, self.size**2)

    def scatter(self, messages, n_inputs):
        pixels = self._pixels(n_inputs)
        by_sample = messages.reshape(-1, *pixels.shape)
        result = np.zeros((len(by_sample), n_inputs), messages.dtype)
        for patch, places in enumerate(pixels):
            result[:, places] += by_sample[:, patch]
        return result


class Leak(Connection):
    """A leaky trace over steps in time: at every step a neuron reads what is left of the inputs up to then.

    Parameters
    ----------
    n_units : int
    n_steps : int
        Rows of X hold the features of the first step, then those of the second, and so on.
    leak : float
        What is left of an input one step later, in [0, 1).
    """

    selects = False
    _parameter_constraints = {
        **Connection._parameter_constraints,
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "leak": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(self, n_units, n_steps, leak=0.5):
        self.n_units = n_units
        self.n_steps = n_steps
        self.leak = leak

    def _taps(self):
        """Coefficient of every earlier step, shape (n_steps, n_steps)."""
        ago = np.subtract.outer(np.arange(self.n_steps), np.arange(self.n_steps))
        return np.where(ago >= 0, (1 - self.leak) * self.leak ** np.maximum(ago, 0), 0.0)

    def n_rows(self, n_inputs):
        if n_inputs % self.n_steps:
            raise ValueError(f"{n_inputs} columns cannot be cut into n_steps={self.n_steps} steps.")
        return self.n_steps

    def n_columns(self, n_inputs):
        return n_inputs // self.n_steps

    def _filtered(self, values, taps):
        by_step = values.reshape(len(values), self.n_steps, -1)
        return np.einsum("ts,nsf->ntf", taps.astype(values.dtype), by_step)

    def gather(self, values):
        return self._filtered(values, self._taps()).reshape(-1, self.n_columns(values.shape[1]))

    def gather_variance(self, variance):
        return self._filtered(variance, self._taps() ** 2).reshape(-1, self.n_columns(variance.shape[1]))

    def scatter(self, messages, n_inputs):
        return self._filtered(messages.reshape(-1, n_inputs), self._taps().T).reshape(-1, n_inputs)

    def scatter_squared(self, messages, n_inputs):
        return self._filtered(messages.reshape(-1, n_inputs), self._taps().T ** 2).reshape(-1, n_inputs)


class NoisyThreshold(Neuron):
    """Fires when the potential and Gaussian noise together are not negative: ``f(u) = Phi(u / noise)``.

    Parameters
    ----------
    noise : float
        Standard deviation, positive.
    """

    name = "noisy_threshold"
    _parameter_constraints = {"noise": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, noise=1.0):
        self.noise = noise

    def forward(self, mean, variance):
        sd = sqrt(variance + self.noise**2)
        z = mean / sd
        first = normal_pdf(z) / sd
        return SpikeMoments(ndtr(z), first, -z * first / sd)

    def repeat_probability(self, moments):
        # Two spikes share S of the variance S + noise^2 of what is compared with 0: a bivariate normal integral.
        z = ndtri(np.clip(moments.probability, 1e-12, 1 - 1e-12))
        total = (normal_pdf(z) / np.maximum(moments.first, 1e-12)) ** 2
        shared = np.clip((total - self.noise**2) / total, 0, 1)
        return moments.probability - 2 * owens_t(z, sqrt((1 - shared) / (1 + shared)))


class TwoHumpsPrior(WeightPrior):
    """Weights near -1 or near 1, in units of the prior: two Gaussians of the same width.

    Parameters
    ----------
    spread : float
        Variance of each hump, positive.
    variance, anchor : "auto" or float
        As of every prior.
    """

    name = "two_humps"
    _parameter_constraints = {
        **WeightPrior._parameter_constraints,
        "spread": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, *, spread=0.1, variance="auto", anchor="auto"):
        self.spread = spread
        self.variance = variance
        self.anchor = anchor

    def proper(self, precision, shift):
        return 1 + self.spread * precision > 1e-6

    def tilted(self, precision, shift):
        width = 1 + self.spread * precision
        # Each hump stays Gaussian; which of them it is, the shift decides.
        right, left = (1 + self.spread * shift) / width, (-1 + self.spread * shift) / width
        share = expit(2 * shift / width)
        log_z = np.logaddexp(shift / width, -shift / width) - np.log(2) - 0.5 * np.log(width)
        log_z += 0.5 * (self.spread * shift**2 - precision) / width
        mean = share * right + (1 - share) * left
        variance = self.spread / width + share * (1 - share) * (right - left) ** 2
        return Tilted(log_z, mean, variance)


@dataclass(frozen=True)
class PointState:
    """What the delta rule knows: a network and one array of weights."""

    network: Network
    weights: np.ndarray
    is_known: bool = False

    def moments(self, dtype: Any) -> list[WeightMoments]:
        mean = self.weights.astype(dtype)
        return [WeightMoments(mean, np.zeros_like(mean), None)]


class DeltaTrainer(Trainer):
    """Logistic units trained by gradient steps: weights without uncertainty, the smallest trainer there is."""

    def __init__(self, rate, n_steps):
        self.rate, self.n_steps = rate, n_steps

    def start(self, network, rows, rng):
        network = network.with_basis(rows.X, rows.sample_weight, rotate=False, center=None)
        return PointState(network, np.zeros((network.readout.n_units, network.fan_ins[0])))

    def absorb(self, state, batch, total_mass, rng=None):
        rows, weights = state.network.batch(*batch), state.weights
        x, target, weight = rows.inputs.mean, rows.target, rows.sample_weight[:, None]
        for _ in range(self.n_steps):
            miss = expit(-target * (x @ weights.T))
            weights = weights + self.rate * (weight * miss * target).T @ x / rows.mass
        objective = -float(np.sum(weight * np.logaddexp(0, -target * (x @ weights.T))))
        return replace(state, weights=weights), Report(objective, [self.rate])

    def predictor(self, state, dtype, rng=None):
        def predict(X):
            potential = state.network.enter(X).mean @ state.weights.T.astype(dtype)
            return Spread(potential, np.zeros_like(potential), np.zeros_like(potential))

        return predict

    def known(self, state, weights, rng=None):
        return replace(state, is_known=True)


class DeltaRule(Inference):
    """Options of `DeltaTrainer`.

    Parameters
    ----------
    rate : float
        Step length, positive.
    n_steps : int
        Gradient steps on a batch.
    """

    name = "delta_rule"
    _parameter_constraints = {
        "rate": [Interval(Real, 0, None, closed="neither")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, *, rate=1.0, n_steps=50):
        self.rate = rate
        self.n_steps = n_steps

    def trainer(self, network, prior, grid):
        if (
            network.hidden
            or grid is not None
            or prior.name != "gaussian"
            or set(prior.get_params().values()) != {"auto"}
        ):
            raise ValueError("delta_rule trains a single layer of continuous weights and has no use for a prior.")
        return DeltaTrainer(self.rate, self.n_steps)
