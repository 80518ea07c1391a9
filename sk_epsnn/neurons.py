"""Hidden neurons: what the law of a spike makes of a Gaussian potential (eq. 31 of [1]_).

A neuron turns the message ``u ~ N(M, S)`` into a spike probability. What the layers above say of the spike is no
concern of it: every message that comes down follows from the probability and its two derivatives.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, "Training of spiking neural networks with expectation-propagation",
   arXiv:2506.23757, 2025.
"""

from __future__ import annotations

from sk_epsnn._arrays import Array, sqrt
from sk_epsnn._sklearn import Option
from sk_epsnn.messages import SpikeMoments
from sk_epsnn.numerics import expected_sigmoid, normal_cdf_pdf


class Neuron(Option):
    """A neuron that fires with probability ``f(u)``; base of every kind.

    Its parameters, if it has any, are those of a scikit-learn object: keyword arguments stored as they are.

    Attributes
    ----------
    name : str
        Entry in the registry `NEURONS`.
    has_ties : bool
        Whether a potential of exactly 0 is decided by convention: a threshold without noise.
    """

    name: str
    has_ties = False

    def forward(self, mean: Array, variance: Array) -> SpikeMoments:
        """Predictive spike probability and its derivatives; message q0(v) of eq. 31.

        Parameters
        ----------
        mean, variance : array of shape (n_samples, n_units)
            Of the potentials ``u ~ N(M, S)``; every variance is positive.

        Returns
        -------
        moments : SpikeMoments
            ``E f(u)``, in [0, 1], and its first and second derivative in ``M``.
        """
        raise NotImplementedError

    def repeat_probability(self, moments: SpikeMoments) -> Array:
        """``E f(u)**2``: two spikes drawn with the same potential both fire."""
        raise NotImplementedError


class Heaviside(Neuron):
    """Deterministic threshold: the neuron fires when ``u >= 0``."""

    name = "heaviside"
    has_ties = True

    def forward(self, mean: Array, variance: Array) -> SpikeMoments:
        """Spike probability ``Phi(M / sqrt(S))`` with its derivatives."""
        sd = sqrt(variance)
        z = mean / sd
        probability, density = normal_cdf_pdf(z)
        first = density / sd
        return SpikeMoments(probability, first, -z * first / sd)

    def repeat_probability(self, moments: SpikeMoments) -> Array:
        """The threshold is deterministic: firing twice is firing once."""
        return moments.probability


class Sigmoid(Neuron):
    """Stochastic neuron: fires with probability ``1 / (1 + exp(-u))``."""

    name = "sigmoid"

    def forward(self, mean: Array, variance: Array) -> SpikeMoments:
        """Spike probability ``E sigma(u)`` by the mixture of eight probits, with its derivatives."""
        return SpikeMoments(*expected_sigmoid(mean, variance))

    def repeat_probability(self, moments: SpikeMoments) -> Array:
        """``E sigma**2 = E sigma - E sigma'``."""
        return moments.probability - moments.first


NEURONS = {c.name: c for c in (Heaviside, Sigmoid)}
