"""Observed outputs: the activation block with its value clamped (eq. 31 of [1]_).

An output turns the Gaussian message ``u ~ N(M, S)`` and a target into ``log Z``, with ``Z`` the normaliser of the
tilted distribution, and its derivatives

    g = dlogZ/dM,    gamma = -d2logZ/dM2,    kappa = -2 dlogZ/dS.

These are the EP messages in derivative form: a Gaussian site of precision tau and shift nu on ``u`` has
``g = (nu - tau M) / (1 + tau S)`` and ``gamma = tau / (1 + tau S)``; the tilted mean is ``M + S g`` and the
tilted variance ``S - S**2 gamma``.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, "Training of spiking neural networks with expectation-propagation",
   arXiv:2506.23757, 2025.
"""

from sk_epsnn.outputs.base import Output
from sk_epsnn.outputs.gaussian import GaussianOutput
from sk_epsnn.outputs.heteroscedastic import HeteroscedasticOutput
from sk_epsnn.outputs.spiking import HeavisideOutput, SigmoidOutput, SoftmaxOutput, SpikingOutput

SPIKING_OUTPUTS = {c.name: c for c in (SigmoidOutput, HeavisideOutput, SoftmaxOutput)}

__all__ = [
    "SPIKING_OUTPUTS",
    "GaussianOutput",
    "HeavisideOutput",
    "HeteroscedasticOutput",
    "Output",
    "SigmoidOutput",
    "SoftmaxOutput",
    "SpikingOutput",
]
