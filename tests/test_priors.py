"""Every registered prior against quadrature, its limits, and the EP update of its site."""

from typing import NamedTuple

import numpy as np
import oracles
import pytest
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV

from sk_epsnn.ep.sites import SITE_BOX, UpdateCounts
from sk_epsnn.priors import (
    PRIORS,
    BernoulliGaussianPrior,
    GaussianMixturePrior,
    GaussianPrior,
    LaplacePrior,
    WeightPrior,
    refresh_site,
)
from sk_epsnn.weights import IndependentWeights, JointWeights


class Law(NamedTuple):
    """What an oracle needs: the log-density, its kinks and modes, the least precision of a proper cavity.

    ``active`` is the probability of not lying exactly at zero; the density is that of the rest.
    """

    log_density: object
    points: tuple
    least_precision: float
    active: float = 1.0


def gaussian_law(prior):
    return Law(norm(0, 1).logpdf, (0.0,), -1.0)


def bernoulli_gaussian_law(prior):
    v = prior.slab_variance
    return Law(norm(0, np.sqrt(v)).logpdf, (0.0,), -1 / v, prior.active_probability)


def laplace_law(prior):
    b = prior.scale
    return Law(lambda w: -np.abs(w) / b - np.log(2 * b), (0.0,), 0.0)


def gaussian_mixture_law(prior):
    parts = [(p, norm(m, np.sqrt(v))) for p, m, v in zip(prior.weights, prior.means, prior.variances, strict=True)]
    return Law(
        lambda w: logsumexp([np.log(p) + part.logpdf(w) for p, part in parts], axis=0),
        tuple(prior.means),
        -1 / max(prior.variances),
    )


#: How to integrate each registered prior; a new one needs its own entry, and parameters to test it with.
LAWS = {
    "gaussian": gaussian_law,
    "bernoulli_gaussian": bernoulli_gaussian_law,
    "laplace": laplace_law,
    "gaussian_mixture": gaussian_mixture_law,
}
CASES = [
    GaussianPrior(),
    BernoulliGaussianPrior(),
    BernoulliGaussianPrior(active_probability=0.03, slab_variance=4.0),
    BernoulliGaussianPrior(active_probability=0.999, slab_variance=0.01),
    LaplacePrior(),
    LaplacePrior(scale=3.0),
    LaplacePrior(scale=0.05),
    GaussianMixturePrior(),
    GaussianMixturePrior(weights=[1.0], means=[0.7], variances=[2.0]),
    GaussianMixturePrior(weights=(0.2, 0.5, 0.3), means=(-3.0, 0.0, 2.0), variances=(0.5, 1e-4, 1.0)),
]
EVERY = pytest.mark.parametrize("prior", CASES, ids=str)
JOINT = pytest.mark.parametrize("joint", [False, True])
PRECISIONS = (-0.2, 0.0, 1e-6, 0.1, 1.0, 30.0, 1e4)


def cavities(prior):
    """Proper cavities around the precisions above: shifts of the prior's own size, and means of up to 5."""
    law = LAWS[prior.name](prior)
    pairs = []
    for tau in PRECISIONS:
        shifts = [-2.0, -0.3, 0.0, 0.7, 1.1, 6.0, *(m * tau for m in (-5.0, 0.05, 1.3) if tau >= 1)]
        pairs += [(tau, nu) for nu in shifts if tau > law.least_precision]
    if law.least_precision == 0:
        pairs += [(0.0, share / prior.scale) for share in (-0.9, 0.0, 0.5)]
    return np.array(pairs).T


def exact(prior, tau, nu):
    """The tilted density by quadrature, with the point mass at zero if there is one."""
    law = LAWS[prior.name](prior)
    points = (*law.points, nu / tau) if tau > 1e-3 else law.points
    found = oracles.natural_tilted(law.log_density, tau, nu, points)
    return oracles.with_point_mass(found, law.active) if law.active < 1 else found


def test_registry():
    assert all(issubclass(c, WeightPrior) and c.name == name for name, c in PRIORS.items())
    assert set(LAWS) == set(PRIORS) == {prior.name for prior in CASES}
    assert [name for name, c in PRIORS.items() if c.conjugate] == ["gaussian"]


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


# The site of a prior


def settle(prior, unit, tau, nu, damping=0.5, n_updates=60):
    """`refresh_site` to convergence from no site at all, with the counts of the last update."""
    site = np.zeros_like(tau), np.zeros_like(nu)
    for _ in range(n_updates):
        counts = UpdateCounts()
        site = refresh_site(prior, unit, tau, nu, *site, damping, counts)
    return *site, counts


@EVERY
def test_one_weight_posterior(prior):
    """A Gaussian likelihood of one weight: cavity times site has the exact posterior mean and, unbound, variance."""
    unit = 0.3
    tau, nu = cavities(prior)
    tau, nu = tau / unit**2, nu / unit
    precision, shift, counts = settle(prior, unit, tau, nu)
    n_free = 0
    for k in range(len(tau)):
        expected = exact(prior, tau[k] * unit**2, nu[k] * unit)
        mean, variance = unit * expected.mean, unit**2 * expected.variance
        total = tau[k] + precision[k]
        assert (nu[k] + shift[k]) / total == pytest.approx(mean, rel=1e-9, abs=1e-9 * np.sqrt(variance))
        if precision[k] > 0:
            assert 1 / total == pytest.approx(variance, rel=1e-6)
            n_free += 1
        else:
            # As narrow as the box allows, the tilted density being wider than the cavity.
            assert variance > (1 - 1e-9) / tau[k]
    assert counts.bounded_precisions <= len(tau) - n_free
    assert counts.skipped_sites == counts.bounded_shifts == 0
    assert n_free > len(tau) / 2


def test_clamped_sites_keep_the_mean():
    """Ambiguous evidence under a spike-and-slab prior makes the tilted density wider than the cavity."""
    prior = BernoulliGaussianPrior(active_probability=0.3, slab_variance=2.0)
    tau, nu = np.array([30.0]), np.array([13.0])
    expected = exact(prior, 30.0, 13.0)
    assert expected.variance > 1 / 30
    precision, shift, counts = settle(prior, 1.0, tau, nu)
    assert precision[0] == 0
    assert counts == UpdateCounts(bounded_precisions=1)
    np.testing.assert_allclose((nu + shift) / tau, expected.mean, rtol=1e-10)


def test_gaussian_site_is_the_prior():
    """For the conjugate prior the site is the prior itself, whatever the cavity and the unit of each weight."""
    tau, nu = np.array([[0.0, 3.0, -0.1], [1e-6, 20.0, 2.0]]), np.arange(6.0).reshape(2, 3)
    unit = np.array([0.5, 2.0, 1.0])
    precision, shift = refresh_site(
        GaussianPrior(), unit, tau, nu, np.zeros((2, 3)), np.ones((2, 3)), 1.0, UpdateCounts()
    )
    np.testing.assert_allclose(precision, np.tile(1 / unit**2, (2, 1)), rtol=1e-13)
    np.testing.assert_allclose(shift, 0, rtol=0, atol=1e-13)


@pytest.mark.parametrize("prior", [LaplacePrior(), BernoulliGaussianPrior()], ids=str)
def test_the_unit_only_scales(prior):
    """Ten times the unit, all else in that unit: a hundredth of the precisions, a tenth of the shifts."""
    tau, nu, old = np.array([0.5, 4.0, 0.0]), np.array([-1.0, 3.0, 0.2]), np.array([0.1, 0.2, 0.3])
    small = refresh_site(prior, 1.0, tau, nu, old, old, 0.4, UpdateCounts())
    large = refresh_site(prior, 10.0, tau / 100, nu / 10, old / 100, old / 10, 0.4, UpdateCounts())
    np.testing.assert_allclose(large[0], small[0] / 100, rtol=1e-12)
    np.testing.assert_allclose(large[1], small[1] / 10, rtol=1e-12, atol=1e-15)


def test_damping_is_in_natural_parameters():
    prior, tau, nu = LaplacePrior(), np.array([0.5, 2.0]), np.array([1.0, -3.0])
    old = np.array([0.7, 0.0]), np.array([0.0, -1.0])
    full = refresh_site(prior, 1.0, tau, nu, *old, 1.0, UpdateCounts())
    quarter = refresh_site(prior, 1.0, tau, nu, *old, 0.25, UpdateCounts())
    for a, b, c in zip(old, full, quarter, strict=True):
        np.testing.assert_allclose(c, 0.75 * a + 0.25 * b, rtol=1e-14)


@EVERY
def test_improper_cavities_keep_their_site(prior):
    """They, and what is not finite, are left alone and counted; their neighbours are updated all the same."""
    least = LAWS[prior.name](prior).least_precision
    tau = np.array([1.0, least - 0.1, np.nan, 2.0, np.inf])
    nu = np.array([0.5, 0.0, 1.0, np.inf, 0.0])
    old = np.arange(1.0, 6.0), -np.arange(1.0, 6.0)
    before = [x.copy() for x in old]
    counts = UpdateCounts()
    precision, shift = refresh_site(prior, 1.0, tau, nu, *old, 0.5, counts)
    assert counts.skipped_sites == 4
    np.testing.assert_array_equal(precision[1:], old[0][1:])
    np.testing.assert_array_equal(shift[1:], old[1][1:])
    alone = refresh_site(prior, 1.0, tau[:1], nu[:1], old[0][:1], old[1][:1], 0.5, UpdateCounts())
    assert (precision[:1], shift[:1]) == alone
    np.testing.assert_array_equal(old, before)


def test_a_damped_site_keeps_the_product_proper():
    """The cavity has turned improper since the old site was made: half a step would leave the product so."""
    tau, nu = np.array([-0.9, -0.9]), np.array([0.3, 0.3])
    old = np.array([0.5, 0.95]), np.zeros(2)
    precision, _ = refresh_site(GaussianPrior(), 1.0, tau, nu, *old, 0.5, UpdateCounts())
    np.testing.assert_allclose(precision, [1.0, 0.975], rtol=1e-14)


@EVERY
def test_sites_stay_finite_at_the_extremes(prior):
    tau = np.array([0.0, 1e-12, 1e12, 1e12, 1e12, 1e200, 1e-3])
    nu = np.array([0.0, 0.0, 0.0, 1e14, -1e20, 1e200, 1e250])
    precision, shift = refresh_site(prior, 1.0, tau, nu, np.ones(7), np.ones(7), 1.0, UpdateCounts())
    assert (precision >= 0).all() and (precision <= SITE_BOX.most_precision).all()
    assert (np.abs(shift) <= SITE_BOX.most_shift).all()


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
