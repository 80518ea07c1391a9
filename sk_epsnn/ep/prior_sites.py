"""The Gaussian sites that stand for a weight prior that is not Gaussian: the optional step of Algorithm 1 of [1]_.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, "Training of spiking neural networks with expectation-propagation",
   arXiv:2506.23757, 2025.
"""

from __future__ import annotations

import numpy as np

from sk_epsnn._arrays import Array
from sk_epsnn.ep.sites import UpdateCounts, bound_site, damp
from sk_epsnn.priors import WeightPrior


def refresh_site(
    prior: WeightPrior,
    unit: Array | float,
    cavity_precision: Array,
    cavity_shift: Array,
    old_precision: Array,
    old_shift: Array,
    damping: float,
    counts: UpdateCounts,
) -> tuple[Array, Array]:
    """One EP update of the Gaussian sites that stand for a prior in the posterior of the weights.

    Parameters
    ----------
    prior : WeightPrior
    unit : array or float
        Weights are ``w = unit * omega``; the shape of the cavity, or one that broadcasts to it.
    cavity_precision, cavity_shift : array
        Natural parameters of what is known about each ``w`` without the prior; may be flat or improper.
    old_precision, old_shift : array of the same shape
        Natural parameters of the sites so far.
    damping : float
        Step in (0, 1] from the old natural parameters to the new ones; 1 replaces them.
    counts : UpdateCounts
        Receives how many sites were bounded, and how many kept their old value because the cavity leaves no proper
        tilted density or one without finite moments.

    Returns
    -------
    precision, shift : array
        Natural parameters of the new sites, for ``w``; within `sk_epsnn.ep.sites.SITE_BOX` if the old ones are.
    """
    unit = np.broadcast_to(np.asarray(unit, np.float64), cavity_precision.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        tau, nu = cavity_precision * unit**2, cavity_shift * unit
        usable = np.isfinite(tau) & np.isfinite(nu) & prior.proper(tau, nu)
        tilted = prior.tilted(np.where(usable, tau, 0), np.where(usable, nu, 0))
        mean, variance = unit * tilted.mean, unit**2 * tilted.variance
    usable &= np.isfinite(mean) & np.isfinite(variance)
    counts.skipped_sites += int(usable.size - np.count_nonzero(usable))
    cavity = cavity_precision[usable]
    site = bound_site(mean[usable], variance[usable], cavity, cavity_shift[usable], counts)
    old = old_precision[usable], old_shift[usable]
    damped = [damp(a, b, damping) for a, b in zip(old, site, strict=True)]
    # Where the cavity has lost precision since the old site was made, only the full step keeps the product proper.
    weak = cavity + damped[0] <= 0
    precision, shift = np.array(old_precision, np.float64), np.array(old_shift, np.float64)
    precision[usable], shift[usable] = (np.where(weak, b, d) for d, b in zip(damped, site, strict=True))
    return precision, shift
