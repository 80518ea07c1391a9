"""Where convolutions start: shapes that are planted are found, channels fire at their share of the patches."""

import numpy as np
import pytest
from scipy.special import ndtr

from sk_epsnn.connections import Convolution, Dense, Pooled
from sk_epsnn.course import Rows
from sk_epsnn.ep.kernels import FIRING_RATE, Kernels, find_kernels
from sk_epsnn.network import Layer, Network
from sk_epsnn.neurons import Heaviside
from sk_epsnn.outputs import SigmoidOutput


@pytest.fixture(scope="module")
def planted():
    """Images of one of three bars in noise, and the bars."""
    rng = np.random.default_rng(0)
    bars = np.zeros((3, 3, 3))
    bars[0, 1, :] = bars[1, :, 1] = 1
    bars[2] = np.eye(3)
    images = 0.02 * rng.normal(size=(300, 9, 9))
    for image, bar in zip(images, bars[rng.integers(0, 3, 300)], strict=True):
        for _ in range(3):
            row, column = rng.integers(0, 7, 2)
            image[row : row + 3, column : column + 3] = bar
    return images.reshape(300, -1), bars.reshape(3, -1)


def network_of(n_channels, X):
    connection = Convolution(n_channels, 3).reading((9, 9, 1))
    readout = Pooled(Dense(1), connection.map_shape)
    network = Network((Layer(connection, Heaviside()),), readout, SigmoidOutput(), True, 81)
    return network.with_basis(X, np.ones(len(X)), rotate=True, center=True)


def test_planted_shapes_are_found(planted):
    X, bars = planted
    rows = Rows(X, np.ones((300, 1)), np.ones(300))
    network = network_of(12, X)
    kernels = find_kernels(network, (), rows, np.random.RandomState(0))
    # Each bar is what one channel answers to most.
    patches = network.basis.transform(bars)[:, :-1]
    answers = patches @ kernels.shapes.T
    cosine = answers / np.linalg.norm(kernels.shapes, axis=1)
    assert len(set(cosine.argmax(axis=1))) == 3
    axes = np.linalg.norm(patches, axis=1)
    assert np.all(cosine.max(axis=1) > 0.3 * axes)


def test_channels_fire_at_their_share(planted):
    X, _ = planted
    kernels = find_kernels(network_of(5, X), (), Rows(X, np.ones((300, 1)), np.ones(300)), np.random.RandomState(0))
    variance = np.tile(kernels.variance, (5, 1))
    biases = kernels.biases(kernels.shapes, variance, np.full(5, 0.3))
    response = kernels.patches[:5000] @ kernels.shapes.T + biases
    rate = ndtr(response / np.sqrt(kernels.patches[:5000] ** 2 @ variance.T + 0.3)).mean(axis=0)
    np.testing.assert_allclose(rate, FIRING_RATE, rtol=1e-3)


def test_fewer_shapes_than_channels():
    """Images that are all alike: no shape but one, and no spread; everything stays finite."""
    X = np.tile(np.arange(81.0), (20, 1))
    kernels = find_kernels(network_of(40, X), (), Rows(X, np.ones((20, 1)), np.ones(20)), np.random.RandomState(0))
    assert kernels.shapes.shape == (40, 9) and np.all(np.isfinite(kernels.shapes))
    blank = Kernels(np.zeros((10, 9)), np.zeros((2, 9)), np.ones(9))
    assert np.all(np.isfinite(blank.biases(blank.shapes, np.ones((2, 9)), np.zeros(2))))
