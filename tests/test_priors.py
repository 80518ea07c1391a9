"""Every registered prior against quadrature and its limits."""

import numpy as np
import pytest
from prior_laws import CASES, EVERY, JOINT, LAWS, cavities, exact
from scipy.stats import norm
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV

from sk_epsnn.priors import (
    PRIORS,
    BernoulliGaussianPrior,
    GaussianMixturePrior,
    GaussianPrior,
    LaplacePrior,
    WeightPrior,
)
from sk_epsnn.weights import IndependentWeights, JointWeights


def test_registry():
    assert all(issubclass(c, WeightPrior) and c.name == name for name, c in PRIORS.items())
    assert set(LAWS) == set(PRIORS) == {prior.name for prior in CASES}
    assert [name for name, c in PRIORS.items() if c.conjugate] == ["gaussian", "ard"]


# The tilted density


@EVERY
def test_tilted_is_the_integral(prior):
    tau, nu = cavities(prior)
    assert prior.proper(tau, nu).all() and len(tau) > 20
    found = prior.tilted(tau, nu)
    for k in range(len(tau)):
        expected = exact(prior, tau[k], nu[k])
        sd = np.sqrt(expected.variance)
        where = f"precision {tau[k]}, shift {nu[k]}"
        assert found.log_z[k] == pytest.approx(expected.log_mass, rel=1e-11, abs=1e-10), where
        assert found.mean[k] == pytest.approx(expected.mean, rel=1e-10, abs=1e-10 * sd), where
        assert found.variance[k] == pytest.approx(expected.variance, rel=1e-9), where


@EVERY
def test_moments_are_derivatives_of_log_z(prior):
    tau, nu = cavities(prior)
    found = prior.tilted(tau, nu)
    step = 0.01 / np.sqrt(found.variance)
    # A flat cavity under a Laplace prior bears no more than a bounded shift.
    inside = prior.proper(tau, nu - 3 * step) & prior.proper(tau, nu + 3 * step)
    # A rare component far away makes log_z bend on a scale of its own, and a large log_z hides its differences.
    inside &= (np.abs(found.log_z) < 3) & (found.variance > 0.02 * prior.moments()[1])
    f = [prior.tilted(tau[inside], (nu + k * step)[inside]).log_z for k in (-3, -2, -1, 0, 1, 2, 3)]
    step, sd = step[inside], np.sqrt(found.variance[inside])
    slope = (f[6] - 9 * f[5] + 45 * f[4] - 45 * f[2] + 9 * f[1] - f[0]) / (60 * step)
    curvature = (2 * (f[0] + f[6]) - 27 * (f[1] + f[5]) + 270 * (f[2] + f[4]) - 490 * f[3]) / (180 * step**2)
    # log_z is up to 1e5 here, and 1e-16 of that is divided by the step (squared).
    size = 1 + np.abs(f[3])
    np.testing.assert_array_less(np.abs(slope - found.mean[inside]), (1e-7 + 1e-13 * size) * sd)
    np.testing.assert_array_less(np.abs(curvature / sd**2 - 1), 1e-6 + 1e-11 * size)
    assert inside.sum() > 10


@EVERY
def test_flat_cavity_gives_the_prior(prior):
    flat = prior.tilted(np.zeros((2, 3)), np.zeros((2, 3)))
    assert all(part.shape == (2, 3) for part in flat)
    np.testing.assert_allclose(flat.log_z, 0, rtol=0, atol=1e-14)
    expected = exact(prior, 0.0, 0.0)
    mean, variance = prior.moments()
    assert type(mean) is type(variance) is float
    np.testing.assert_allclose(flat.mean, expected.mean, rtol=1e-12, atol=1e-12)
    assert (mean, variance) == pytest.approx((expected.mean, expected.variance), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("prior", [p for p in CASES if not np.any(p.get_params().get("means", 0))], ids=str)
def test_symmetric_priors_are_symmetric(prior):
    tau, nu = cavities(prior)
    left, right = prior.tilted(tau, -nu), prior.tilted(tau, nu)
    np.testing.assert_allclose(left.log_z, right.log_z, rtol=1e-15)
    np.testing.assert_allclose(left.mean, -right.mean, rtol=1e-15)
    np.testing.assert_allclose(left.variance, right.variance, rtol=1e-15)


@EVERY
def test_extremes_are_finite(prior):
    """Precisions from 1e-12 to 1e12 with means up to 100, and shifts that only a sharp prior can bear."""
    tau = np.array([0, *np.logspace(-12, 12, 25)])[:, None]
    nu = np.concatenate([tau * np.array([-100, -1, 0, 1e-8, 3, 100]), tau + np.array([-1e7, -40, 1e-300, 1e7])], axis=1)
    tau = np.broadcast_to(tau, nu.shape)
    proper = prior.proper(tau, nu)
    # With a positive precision every prior is proper; the margin cuts away the flattest cavities.
    assert proper[tau >= 1e-6].all()
    found = prior.tilted(tau[proper], nu[proper])
    assert all(np.isfinite(part).all() for part in found)
    sharp = tau[proper] >= 1e11
    assert (found.variance > 0)[~sharp | (np.abs(nu[proper]) > 1e8)].all() or prior.sparse
    assert (found.variance >= 0).all()
    # Data of such precision leave nothing to a continuous prior, but for the kink of a Laplace density at 0.
    if not prior.sparse:
        np.testing.assert_allclose(found.variance[sharp] * tau[proper][sharp], 1, rtol=1e-4)
        np.testing.assert_allclose(found.mean[sharp], (nu / np.maximum(tau, 1))[proper][sharp], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("tau", [0.0, 1e-12, 1e-8, 1e-5])
def test_laplace_half_lines_are_smooth_to_the_flat_limit(tau):
    """With precision zero and |shift| < 1/b the mass is that of two exponentials; small precisions come close."""
    b, nu = 0.8, np.array([-1.1, -0.4, 0.0, 0.9])
    found = LaplacePrior(scale=b).tilted(np.full(4, tau), nu)
    mass = 1 / (1 - (b * nu) ** 2)
    mean = 2 * b**2 * nu * mass
    variance = 2 * b**2 * (1 + (b * nu) ** 2) * mass**2
    np.testing.assert_allclose(found.log_z, np.log(mass), rtol=400 * tau + 1e-14, atol=400 * tau + 1e-14)
    np.testing.assert_allclose(found.mean, mean, rtol=400 * tau + 1e-13, atol=1e-14)
    np.testing.assert_allclose(found.variance, variance, rtol=400 * tau + 1e-13)


@pytest.mark.parametrize("prior", [p for p in CASES if not p.sparse], ids=str)
def test_sharp_cavities_shift_by_the_slope_of_the_log_density(prior):
    """Under precision 1e8 the tilted mean is the cavity's plus (log p0)'/precision, with little lost to rounding."""
    tau, center = 1e8, np.array([-1.6, 0.35, 2.4])
    law, step = LAWS[prior.name](prior), 1e-3
    slope = (law.log_density(center + step) - law.log_density(center - step)) / (2 * step)
    found = prior.tilted(np.full(3, tau), tau * center)
    np.testing.assert_allclose((found.mean - center) * tau, slope, rtol=2e-4, atol=1e-5)


def test_where_proper():
    tau = np.array([-1.1, -1.0, -0.9, 0.0, 5.0])
    np.testing.assert_array_equal(GaussianPrior().proper(tau, tau), [False, False, True, True, True])
    slab = BernoulliGaussianPrior(slab_variance=2.0)
    np.testing.assert_array_equal(slab.proper(0.5 * tau, tau), [False, False, True, True, True])
    mixture = GaussianMixturePrior(variances=(0.1, 0.5))
    np.testing.assert_array_equal(mixture.proper(2 * tau, tau), [False, False, True, True, True])
    laplace = LaplacePrior(scale=0.5)
    tau = np.array([-1e-9, 0.0, 0.0, 0.0, 0.0, 1e-3])
    nu = np.array([0.0, 1.99, -1.99, 2.0, -2.5, -2.5])
    np.testing.assert_array_equal(laplace.proper(tau, nu), [False, True, True, False, False, True])


# Sparsity


def test_activation_probability():
    """Its prior value without evidence, 1 or 0 with strong evidence, Bayes' rule in between."""
    for probability in (0.5, 0.03, 1e-6, 0.999):
        prior = BernoulliGaussianPrior(active_probability=probability, slab_variance=2.0)
        assert prior.activation_probability(np.zeros(1), np.zeros(1))[0] == pytest.approx(probability, rel=1e-12)
        tau, nu = np.array([30.0, 1e4]), np.array([3.0, -1e4])
        # The cavity is an observation nu / tau of the weight with variance 1 / tau.
        seen, noise = nu / tau, 1 / tau
        on = probability * norm.pdf(seen, 0, np.sqrt(noise + 2.0))
        off = (1 - probability) * norm.pdf(seen, 0, np.sqrt(noise))
        np.testing.assert_allclose(prior.activation_probability(tau, nu), on / (on + off), rtol=1e-10)
    assert prior.activation_probability(np.array([1e6]), np.array([1e8]))[0] == 1
    assert BernoulliGaussianPrior().activation_probability(np.array([1e12]), np.zeros(1))[0] < 1e-5


@EVERY
def test_only_sparse_priors_give_an_activation_probability(prior):
    if prior.sparse:
        assert prior.activation_probability(np.zeros((2, 3)), np.zeros((2, 3))).shape == (2, 3)
    else:
        with pytest.raises(NotImplementedError, match=type(prior).__name__):
            prior.activation_probability(np.zeros(1), np.zeros(1))


# The density that a layer starts from


def start():
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 4)), rng.uniform(0.2, 5.0, (3, 4))


@EVERY
@JOINT
def test_density_has_the_moments_of_the_prior(prior, joint):
    mean, variance = start()
    density = prior.density(mean, variance, joint)
    assert type(density) is (JointWeights if joint else IndependentWeights)
    moments = density.moments(1.0, np.dtype(float))
    unit_mean, unit_variance = prior.moments()
    np.testing.assert_allclose(moments.mean, mean + np.sqrt(variance) * unit_mean, rtol=1e-12)
    np.testing.assert_allclose(moments.variance, variance * unit_variance, rtol=1e-12)
    if joint:
        assert moments.covariance.shape == (3, 4, 4)
        np.testing.assert_array_equal(moments.covariance * (1 - np.eye(4)), 0)


@JOINT
def test_gaussian_density_is_the_prior(joint):
    """Differences of log q0 between two points, from the natural parameters, are those of the prior."""
    mean, variance = start()
    density = GaussianPrior().density(mean, variance, joint)
    a, b = np.random.default_rng(1).standard_normal((2, 3, 4))
    log_ratio = ((a - b) * (density.shift - 0.5 * density.times(a + b))).sum()
    law = norm(mean, np.sqrt(variance))
    np.testing.assert_allclose(log_ratio, (law.logpdf(a) - law.logpdf(b)).sum(), rtol=1e-12)


@EVERY
def test_units_and_inputs_are_not_mixed_up(prior):
    """A wide layer and a narrow one: the matrices are (n_out, n_in, n_in)."""
    density = prior.density(np.zeros((2, 5)), np.arange(1.0, 11.0).reshape(2, 5), True)
    assert density.precision.shape == (2, 5, 5)
    expected = 1 / (prior.moments()[1] * np.arange(6.0, 11.0))
    np.testing.assert_allclose(np.diagonal(density.precision[1]), expected, rtol=1e-14)


# Parameters


@EVERY
def test_behaves_as_a_scikit_learn_object(prior):
    assert isinstance(prior, BaseEstimator)
    prior.check()
    copy = clone(prior)
    assert copy is not prior and copy.get_params() == prior.get_params()
    assert type(prior)().set_params(**prior.get_params()).get_params() == prior.get_params()
    type(prior)().check()


class Holder(BaseEstimator):
    """An estimator with a prior, scored by it."""

    def __init__(self, prior=None):
        self.prior = prior

    def fit(self, X, y=None):
        return self

    def score(self, X, y=None):
        return -abs(self.prior.slab_variance - 3.0)


def test_a_search_reaches_the_parameters():
    grid = {"prior__slab_variance": [1.0, 3.0, 9.0]}
    search = GridSearchCV(Holder(BernoulliGaussianPrior()), grid, cv=2).fit(np.zeros((4, 1)))
    assert search.best_params_ == {"prior__slab_variance": 3.0}


@pytest.mark.parametrize(
    "prior, message",
    [
        (BernoulliGaussianPrior(active_probability=0.0), r"active_probability.* \(0.0, 1.0\).* 0.0"),
        (BernoulliGaussianPrior(active_probability=1), r"active_probability.* \(0.0, 1.0\).* 1"),
        (BernoulliGaussianPrior(slab_variance=-2), r"slab_variance.* \(0.0, inf\).* -2"),
        (BernoulliGaussianPrior(slab_variance=np.nan), r"slab_variance.* \(0.0, inf\).* nan"),
        (LaplacePrior(scale=0.0), r"scale.* \(0.0, inf\).* 0.0"),
        (LaplacePrior(scale="wide"), r"scale.* \(0.0, inf\).* 'wide'"),
        (LaplacePrior(scale=np.inf), r"scale.* \(0.0, inf\).* inf"),
        (GaussianMixturePrior(weights=3), r"weights.* array-like.* 3"),
        (GaussianMixturePrior(weights=()), r"weights .*sum to 1.* \(\)"),
        (GaussianMixturePrior(weights=(0.5, 0.6)), r"weights .*sum to 1.* \(0.5, 0.6\)"),
        (GaussianMixturePrior(weights=(1.5, -0.5)), r"weights .*positive.* \(1.5, -0.5\)"),
        (GaussianMixturePrior(weights=[[0.5, 0.5]]), r"weights .*sequence of finite numbers.* \[\[0.5, 0.5\]\]"),
        (GaussianMixturePrior(means=(0.0, np.nan)), r"means .*finite numbers.* \(0.0, nan\)"),
        (GaussianMixturePrior(means=("a", "b")), r"means .*finite numbers.* \('a', 'b'\)"),
        (GaussianMixturePrior(means=(0.0,)), r"means .*one entry for each of the 2 weights.* \(0.0,\)"),
        (GaussianMixturePrior(variances=(1.0, 1.0, 1.0)), r"variances .*one entry for each of the 2 weights"),
        (GaussianMixturePrior(variances=(1.0, 0.0)), r"variances .*positive.* \(1.0, 0.0\)"),
    ],
)
def test_bad_parameters(prior, message):
    with pytest.raises(ValueError, match=message):
        prior.check()
