"""Sizes, rows and batches of networks of every shape, against counting by hand."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from scipy import sparse
from states import Steps, plain_basis

from sk_epsnn.connections import Dense, Filter
from sk_epsnn.course import Rows
from sk_epsnn.network import Batch, Layer, Network
from sk_epsnn.neurons import Sigmoid
from sk_epsnn.outputs import SigmoidOutput

CONSTANT = pytest.mark.parametrize("constant", [False, True])


def network_of(n_inputs, hidden, readout, constant):
    return Network(tuple(Layer(c, Sigmoid()) for c in hidden), readout, SigmoidOutput(), constant, n_inputs)


def in_steps(constant):
    """12 inputs: 3 rows of 4 for 5 neurons, 15 spikes; 5 rows of 3 for 2 neurons, 10 spikes; 4 units read them all."""
    return network_of(12, [Steps(5, 4), Steps(2, 3)], Dense(4), constant)


@CONSTANT
def test_dense_layers(constant):
    network = network_of(7, [Dense(5), Dense(3)], Dense(2), constant)
    assert network.connections == (*(layer.connection for layer in network.hidden), network.readout)
    assert network.sizes == (7, 5, 3)
    assert network.n_rows == (1, 1, 1)
    assert network.fan_ins == (7 + constant, 5 + constant, 3 + constant)


@CONSTANT
def test_no_hidden_layer(constant):
    network = network_of(7, [], Dense(2), constant)
    assert (network.connections, network.sizes) == ((network.readout,), (7,))
    assert (network.n_rows, network.fan_ins) == ((1,), (7 + constant,))


@CONSTANT
def test_layers_of_several_rows(constant):
    network = in_steps(constant)
    assert network.sizes == (12, 15, 10)
    assert network.n_rows == (3, 5, 1)
    assert network.fan_ins == (4 + constant, 3 + constant, 10 + constant)


def test_a_network_is_not_changed():
    network = in_steps(True)
    with pytest.raises(FrozenInstanceError):
        network.constant = False
    other = replace(network, readout=Dense(9))
    assert (network.readout.n_units, other.readout.n_units) == (4, 9)


@CONSTANT
def test_rows_enter_as_the_neurons_read_them(constant):
    """Every stretch of a sample is a row, one sample after another, and the constant is in each."""
    x = np.arange(24.0).reshape(2, 12)
    network = replace(in_steps(constant), basis=plain_basis(4, constant))
    found = network.enter(x)
    expected = [[*x[n, 4 * k : 4 * k + 4], *([1.0] if constant else [])] for n in range(2) for k in range(3)]
    np.testing.assert_array_equal(found.mean, expected)
    assert found.variance is None


@CONSTANT
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_basis_comes_from_the_rows_of_the_neurons(constant, dtype):
    """Principal axes of the weighted rows, each stretch with the weight of its sample; potentials are unchanged."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((40, 12)).astype(dtype) @ np.diag(np.arange(1, 13)).astype(dtype), rng.random(40)
    plain = in_steps(constant)
    network = plain.with_basis(x, weight, rotate=True, center=True)
    assert plain.basis is None and network.basis.constant == constant
    rows, each = x.astype(float).reshape(120, 4), np.repeat(weight, 3) / weight.sum() / 3
    mean = each @ rows
    covariance = ((rows - mean) * each[:, None]).T @ (rows - mean)
    entered = network.enter(x).mean
    assert entered.dtype == dtype
    axes = entered[:, :4].astype(float)
    tolerance = 1e-5 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(each @ axes, 0, rtol=0, atol=tolerance)
    found = (axes * each[:, None]).T @ axes * network.basis.scale[0] ** 2
    largest_first = np.diag(np.linalg.eigvalsh(covariance)[::-1])
    np.testing.assert_allclose(found, largest_first, rtol=tolerance, atol=tolerance * covariance.max())
    if constant:
        np.testing.assert_array_equal(entered[:, 4], 1)


class DenseSteps(Steps):
    """As `Steps`, which must not be given what is no array of NumPy."""

    def gather(self, values):
        assert isinstance(values, np.ndarray)
        return super().gather(values)


@pytest.mark.parametrize("connection", [Dense(5), DenseSteps(5, 4)], ids=["dense", "steps"])
@pytest.mark.parametrize("rotate", [False, True])
def test_sparse_rows_enter_as_dense_ones(connection, rotate):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((30, 12)) * (rng.random((30, 12)) < 0.3)
    network = network_of(12, [connection], Dense(2), True)
    options = dict(rotate=rotate, center=None)
    dense, csr = (network.with_basis(rows, np.ones(30), **options) for rows in (x, sparse.csr_array(x)))
    np.testing.assert_allclose(csr.enter(sparse.csr_array(x)).mean, dense.enter(x).mean, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_has_the_dtype_of_the_inputs(dtype):
    rng = np.random.default_rng(2)
    x, target, weight = rng.standard_normal((6, 12)).astype(dtype), rng.standard_normal((6, 4)), rng.random(6)
    network = replace(in_steps(True), basis=plain_basis(4, True))
    batch = network.batch(x, target, weight)
    np.testing.assert_array_equal(batch.inputs.mean, network.enter(x).mean)
    np.testing.assert_array_equal(batch.target, target.astype(dtype))
    np.testing.assert_array_equal(batch.sample_weight, weight.astype(dtype))
    assert {part.dtype for part in (batch.inputs.mean, batch.target, batch.sample_weight)} == {np.dtype(dtype)}


def test_mass_is_the_sum_of_the_weights_in_float64():
    weight = np.full(100_000, 0.1, dtype=np.float32)
    batch = Batch(None, None, weight)
    np.testing.assert_allclose(batch.mass, 100_000 * float(np.float32(0.1)), rtol=1e-12)


def test_batches_of_targets_at_every_step():
    rng = np.random.default_rng(3)
    x, target = rng.standard_normal((5, 12)), rng.standard_normal((5, 3, 2))
    weight, step_weight = rng.random(5), rng.random((5, 3))
    network = Network((), Filter(2, 4, 0.5), SigmoidOutput(), False, 12, plain_basis(4, False))
    assert network.reads_each and network.n_rows == (3,) and not in_steps(True).reads_each
    batch = network.batch(x, target, weight, step_weight)
    assert batch.n_samples == 5 and batch.target.shape == (15, 2)
    np.testing.assert_array_equal(batch.weight, (weight[:, None] * step_weight).ravel())
    assert batch.mass == pytest.approx((weight[:, None] * step_weight).sum())
    rows = Rows(x, target, weight, step_weight)
    assert rows.mass == pytest.approx(batch.mass)
    for chosen in (slice(1, 4), np.array([3, 0, 3]), np.arange(5) % 2 == 1):
        found, expected = batch.take(chosen).in_dtype("float32"), network.batch(*rows.take(chosen))
        for name in ("target", "sample_weight", "step_weight", "weight"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6)
        np.testing.assert_array_equal(found.inputs.mean, expected.inputs.mean.astype(np.float32))


def test_targets_that_there_are():
    target, weight = np.arange(6.0).reshape(2, 3), np.array([2.0, 1.0])
    known, of_known = Rows(np.zeros((2, 3)), target, weight, np.array([[1.0, 0.0, 0.5], [0.0, 0.0, 1.0]])).known()
    np.testing.assert_array_equal(known, [0, 2, 5])
    np.testing.assert_array_equal(of_known, [2.0, 1.0, 1.0])
    rows = Rows(np.zeros((2, 3)), target, weight)
    assert rows.known()[0] is target and rows.known()[1] is weight
