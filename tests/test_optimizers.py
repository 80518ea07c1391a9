"""Steps along gradients."""

import numpy as np
import pytest

from sk_epsnn import SGD, Adam
from sk_epsnn.optimizers import OPTIMIZERS


def test_plain_steps_are_the_gradient():
    slope = {"w": np.array([1.0, -2.0])}
    changes, memory = SGD().changes(slope, SGD().begin(slope))
    np.testing.assert_array_equal(changes["w"], slope["w"])
    assert memory is None


def test_adam_follows_the_definition():
    optimizer, rng = Adam(beta_1=0.8, beta_2=0.95, epsilon=1e-6), np.random.default_rng(0)
    weights = {"w": rng.normal(size=3)}
    memory, mean, square = optimizer.begin(weights), np.zeros(3), np.zeros(3)
    for step in range(1, 6):
        slope = rng.normal(size=3)
        changes, memory = optimizer.changes({"w": slope}, memory)
        mean, square = 0.8 * mean + 0.2 * slope, 0.95 * square + 0.05 * slope**2
        scale = np.sqrt(1 - 0.95**step) / (1 - 0.8**step)
        np.testing.assert_allclose(changes["w"], scale * mean / (np.sqrt(square) + 1e-6), rtol=1e-12)


def test_the_first_step_of_adam_has_length_one():
    changes, _ = Adam().changes({"w": np.array([1e-3, -50.0])}, Adam().begin({"w": np.zeros(2)}))
    np.testing.assert_allclose(changes["w"], [1, -1], rtol=1e-3)


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_arrays_are_replaced_and_keep_their_precision(kind):
    slope = {"w": np.ones(3, np.float32)}
    slope["w"].flags.writeable = False
    optimizer = kind()
    changes, memory = optimizer.changes(slope, optimizer.begin(slope))
    again, _ = optimizer.changes(slope, memory)
    assert changes["w"].dtype == again["w"].dtype == np.float32


@pytest.mark.parametrize("bad", [SGD(learning_rate=0), Adam(beta_1=1.0), Adam(epsilon=0)])
def test_options_are_checked(bad):
    with pytest.raises(ValueError, match="must be"):
        bad.check()
