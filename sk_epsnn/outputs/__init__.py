"""Observed outputs: real, sigmoid, threshold, softmax, and real with a noise that depends on the inputs."""

from sk_epsnn.outputs.base import GaussianOutput, Output
from sk_epsnn.outputs.heteroscedastic import HeteroscedasticOutput
from sk_epsnn.outputs.softmax import SoftmaxOutput
from sk_epsnn.outputs.spiking import HeavisideOutput, SigmoidOutput, SpikingOutput

#: Outputs of a classifier by their names.
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
