"""Rules of credit against their definitions, one compartment at a time."""

import numpy as np
import pytest
from scipy.special import logsumexp

from sk_epsnn.gem import credit

V = np.random.default_rng(0).normal(scale=3, size=(4, 5, 6))


def test_log_weights_fade_and_credit_reaches_earlier_steps():
    expected, before = [], 0
    for now in V:
        before = 0.3 * before + now
        expected.append(before)
    np.testing.assert_allclose(credit.log_weights(V, 0.3), expected, rtol=1e-12)
    later = [sum(0.3 ** (t - s) * V[t] for t in range(s, len(V))) for s in range(len(V))]
    np.testing.assert_allclose(credit.over_later_steps(V, 0.3), later, rtol=1e-12)
    np.testing.assert_allclose(credit.log_weights(V, 0.0), V)
    np.testing.assert_allclose(credit.log_weights(V, 1.0), V.cumsum(axis=0))


def test_gem_weighs_compartments_by_their_likelihood():
    plain, centred = credit.gem(V, center=False), credit.gem(V, center=True)
    share = np.exp(V) / np.exp(V).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(plain.hidden, share, rtol=1e-12)
    np.testing.assert_allclose(plain.visible, share, rtol=1e-12)
    np.testing.assert_allclose(centred.hidden, share - 1 / 6, atol=1e-15)
    np.testing.assert_allclose(centred.visible, share, rtol=1e-12)


def test_one_compartment_leaves_hidden_weights_still():
    assert not credit.gem(V[..., :1], center=True).hidden.any()
    assert (credit.gem(V[..., :1], center=False).hidden == 1).all()


def test_mb_compares_with_the_others():
    hidden, visible = credit.mb(V, None)
    for k in range(6):
        others = np.delete(V, k, axis=-1).mean(axis=-1)
        np.testing.assert_allclose(hidden[..., k], (V[..., k] - others) / 6, atol=1e-12)
    np.testing.assert_allclose(visible, 1 / 6)
    np.testing.assert_allclose(credit.mb(V, 2.0).hidden, (V - 2) / 6)


def test_iw_asks_what_a_compartment_adds():
    hidden, visible = credit.iw(V)
    for k in range(6):
        without = V.copy()
        without[..., k] = np.delete(V, k, axis=-1).mean(axis=-1)
        np.testing.assert_allclose(hidden[..., k], logsumexp(V, axis=-1) - logsumexp(without, axis=-1), atol=1e-12)
    np.testing.assert_allclose(visible.sum(axis=-1), 1)


@pytest.mark.parametrize("rule", [lambda v: credit.gem(v, center=True), lambda v: credit.mb(v, None), credit.iw])
def test_the_order_of_compartments_does_not_matter(rule):
    order = [3, 1, 5, 0, 2, 4]
    for mine, moved in zip(rule(V), rule(V[..., order]), strict=True):
        np.testing.assert_allclose(moved, mine[..., order], atol=1e-12)


def test_weights_far_apart_stay_finite():
    far = np.array([[[-1e4, 0.0, 1e4]]])
    for factors in (*credit.gem(far, center=True), *credit.mb(far, None), *credit.iw(far)):
        assert np.isfinite(factors).all()


def test_effective_sample_size_is_between_one_and_all():
    assert credit.effective_sample_size(np.zeros(6)) == pytest.approx(6)
    assert credit.effective_sample_size(np.array([0.0, 50.0])) == pytest.approx(1)
