"""Coordinates of the inputs: potentials, prior variances and weights are the same in them as in the basis."""

import numpy as np
import pytest

from sk_epsnn.basis import fit_basis
from sk_epsnn.sbnn.coordinates import Coordinates
from sk_epsnn.sbnn.weights import Moments

RNG = np.random.default_rng(0)
#: Many directions of which a few are long.
X = RNG.standard_normal((300, 90)) * np.append(np.full(64, 10.0), np.full(26, 0.5)) + 3.0


def made(rotate=True, exponent=1.0):
    basis = fit_basis(X, np.ones(300), rotate=rotate, center=True, constant=True)
    return basis, Coordinates.of(basis, exponent, 0.5, 0.1)


@pytest.mark.parametrize("rotate", [True, False])
def test_potentials_have_prior_variance_one(rotate):
    basis, coordinates = made(rotate, 1.0 if rotate else 0.0)
    z = coordinates.enter(basis.transform(X))
    assert z.shape == (300, coordinates.n_inputs)
    assert np.square(z).sum(axis=1).mean() == pytest.approx(1.0, rel=0.02)
    assert coordinates.has_rest == rotate


def test_directions_that_are_hardly_used_are_one_length():
    basis, coordinates = made()
    assert coordinates.n_own == 64
    z, values = coordinates.enter(basis.transform(X)), basis.transform(X)
    rest = values[:, 64:-1] * coordinates.unit[64:]
    np.testing.assert_allclose(z[:, 64], np.sqrt(np.square(rest).sum(axis=1)))
    np.testing.assert_allclose(z[:, -1], coordinates.constant_unit)


def test_weights_have_the_same_potentials_in_the_basis():
    basis, coordinates = made()
    mean, variance = RNG.standard_normal((4, coordinates.n_inputs)), RNG.random((4, coordinates.n_inputs))
    mean[:, -2] = 0.0
    z, values = coordinates.enter(basis.transform(X)), basis.transform(X)
    left = coordinates.leave(Moments(mean, variance))
    np.testing.assert_allclose(values @ left.mean.T, z @ mean.T)
    np.testing.assert_allclose(np.square(values) @ left.variance.T, np.square(z) @ variance.T)
    assert not coordinates.leave(Moments(mean, None)).variance.any()


def test_the_first_axes_are_never_taken_together():
    """However little the last ones add to the variance."""
    few = X[:, 60:80]
    basis = fit_basis(few, np.ones(300), rotate=True, center=True, constant=True)
    assert not Coordinates.of(basis, 1.0, 0.5, 0.1).has_rest


def test_centers():
    basis, coordinates = made()
    z = coordinates.enter(basis.transform(X))
    center = coordinates.center(basis.mean)
    np.testing.assert_allclose(center[:-1], z[:, :-2].mean(axis=0), atol=1e-9)
    assert center[-1] == 0
