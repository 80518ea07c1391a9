"""Filters: kernels, matrices along the steps, and one step after another."""

import numpy as np
import pytest

from sk_epsnn import ExponentialFilter, RaisedCosineFilters
from sk_epsnn.gem.filters import FILTERS, decays, toeplitz
from sk_epsnn.gem.passes import filtered, weight_gradient

ALL = [ExponentialFilter(decay=0.0), ExponentialFilter(decay=0.7), RaisedCosineFilters(n_filters=4, memory=6)]


@pytest.mark.parametrize("synapse", ALL, ids=str)
def test_kernels_have_sum_one(synapse):
    np.testing.assert_allclose(synapse.kernels(400).sum(axis=1), 1, rtol=1e-12)
    assert synapse.kernels(3).shape == (synapse.n_kernels, 3)


def test_raised_cosines_have_their_peaks_where_neighbours_are_half():
    bumps = RaisedCosineFilters(n_filters=3, memory=9).kernels(9)
    assert (bumps >= 0).all()
    np.testing.assert_allclose(bumps[:, 2] / bumps.max(axis=1), [0.5, 1, 0.5], atol=1e-12)
    np.testing.assert_allclose(bumps[2, 0], 0, atol=1e-12)


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize("synapse", ALL, ids=str)
def test_matrices_are_what_steps_give(synapse, delay):
    spikes = np.random.default_rng(0).random((9, 2, 3))
    matrix = synapse.matrix(9, delay)
    kept = synapse.begin(spikes.shape[1:], float)
    for step in range(9):
        before, kept = kept, synapse.push(kept, spikes[step])
        expected = np.einsum("fs,sij->fij", matrix[:, step], spikes)
        np.testing.assert_allclose(synapse.traces(before if delay else kept), expected, atol=1e-12)


@pytest.mark.parametrize("synapse", ALL, ids=str)
def test_gradients_are_the_transpose(synapse):
    rng = np.random.default_rng(1)
    spikes, weights, signal = rng.random((7, 2, 3)), rng.normal(size=(synapse.n_kernels, 4, 3)), rng.random((7, 2, 4))
    matrix = synapse.matrix(7, 0)
    forward = (signal * filtered(spikes, weights, matrix)).sum()
    np.testing.assert_allclose(forward, (weights * weight_gradient(spikes, signal, matrix)).sum(), rtol=1e-12)
    traces = np.einsum("fts,sbi->ftbi", matrix, spikes)
    np.testing.assert_allclose(
        filtered(spikes, weights, matrix), np.einsum("foi,ftbi->tbo", weights, traces), atol=1e-12
    )


def test_toeplitz_is_causal():
    np.testing.assert_allclose(toeplitz(np.array([[3.0, 2.0, 1.0]]), 1)[0], [[0, 0, 0], [3, 0, 0], [2, 3, 0]])
    np.testing.assert_allclose(decays(0.5, 3), [[1, 0, 0], [0.5, 1, 0], [0.25, 0.5, 1]])


def test_every_filter_has_a_name():
    assert set(FILTERS) == {"exponential", "raised_cosines"}
