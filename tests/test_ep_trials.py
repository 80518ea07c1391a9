"""Short trials choose the exponent of the prior and the leak."""

import numpy as np
import pytest
from sklearn.datasets import make_classification

from sk_epsnn import LIF, EPSNNClassifier, GaussianPrior, Newton, Stochastic

#: Fits whose quality is not asked for.
BRIEF = Stochastic(n_passes=2, validation_fraction=0.0)


def along(axes, seed=0, n_samples=400, n_features=40):
    """Rows whose extent along 40 directions falls from 3 to .1, and which of those along three axes is the largest."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n_samples, n_features))
    turn = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
    return latent * np.geomspace(3, 0.1, n_features) @ turn, latent[:, axes].argmax(1)


def exponent(model):
    return model.settings_["prior__spectral_exponent"].value


@pytest.mark.parametrize(("axes", "expected"), [(slice(0, 3), 1.0), (slice(-3, None), 0.0)], ids=["long", "short"])
@pytest.mark.parametrize("inference", [BRIEF, Newton(n_sweeps=3)], ids=["steps", "sweeps"])
def test_prior_follows_the_axes_that_classes_differ_along(axes, expected, inference):
    X, y = along(axes)
    assert exponent(EPSNNClassifier(10, inference=inference, random_state=0).fit(X, y)) == expected


@pytest.mark.parametrize("axes", [slice(0, 3), slice(-3, None)], ids=["long", "short"])
def test_fit_is_that_at_the_chosen_exponent(axes):
    X, y = along(axes)
    model = EPSNNClassifier(5, inference=BRIEF, random_state=0).fit(X, y)
    given = GaussianPrior(spectral_exponent=exponent(model))
    same = EPSNNClassifier(5, inference=BRIEF, prior=given, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), same.predict_proba(X))


def test_few_rows_and_given_exponents_are_not_tried():
    X, y = along(slice(-3, None))
    assert exponent(EPSNNClassifier(5, inference=BRIEF, random_state=0).fit(X[:99], y[:99])) == 1.0
    given = EPSNNClassifier(5, inference=BRIEF, prior=GaussianPrior(spectral_exponent=0.7)).fit(X, y)
    assert "prior__spectral_exponent" not in given.settings_


def test_leak_and_exponent_are_both_chosen():
    X, y = make_classification(100, 60, n_informative=10, random_state=0)
    X = X.reshape(100, 12, 5)
    model = EPSNNClassifier(4, activation=LIF(leak="auto"), inference=BRIEF, random_state=0).fit(X, y)
    assert exponent(model) in (0.0, 1.0)
    activation = LIF(leak=float(model.leak_[0]))
    prior = GaussianPrior(spectral_exponent=exponent(model))
    same = EPSNNClassifier(4, activation=activation, prior=prior, inference=BRIEF, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), same.predict_proba(X))
