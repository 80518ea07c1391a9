"""Structure of a probabilistic spiking network: layers of GLM neurons, what each reads, where weights start.

Neuron i fires at step t with probability ``sigmoid(u)``, where ``u = sum_j sum_f w_ijf (alpha_f * s_j)_t + w_i (beta *
s_i)_t + b_i`` (section 2 of [1]_).

References
----------
.. [1] H. Jang, O. Simeone, "Multi-sample online learning for spiking neural networks based on generalized expectation
   maximization", arXiv:2102.03280, 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sk_epsnn.gem.filters import SynapticFilter, toeplitz

Weights = Mapping[str, np.ndarray]
#: Share of the size of feed-forward weights that recurrent ones start at.
_RECURRENT_START = 0.1


@dataclass(frozen=True)
class SpikingNetwork:
    """Layers of neurons that fire at random.

    Attributes
    ----------
    sizes : tuple of int
        Inputs, neurons of every hidden layer, outputs.
    synapse : SynapticFilter
    delay : {0, 1}
        Steps after which a spike is first felt in the layer above.
    feedback : float or None
        What is left one step later of the trace of its own spikes that a neuron reads; None where it reads none.
    output_feedback : bool
        Whether outputs read their own spikes too.
    recurrent : bool
        Whether hidden neurons read the earlier spikes of the others of their layer.
    skip : bool
        Whether outputs read the inputs too.
    """

    sizes: tuple[int, ...]
    synapse: SynapticFilter
    delay: int = 0
    feedback: float | None = None
    output_feedback: bool = False
    recurrent: bool = False
    skip: bool = False

    @property
    def n_layers(self) -> int:
        """Layers of neurons: hidden ones and outputs."""
        return len(self.sizes) - 1

    @property
    def hidden(self) -> tuple[int, ...]:
        """Neurons of each hidden layer."""
        return self.sizes[1:-1]

    @property
    def has_loops(self) -> bool:
        """Whether hidden spikes depend on earlier ones of their layer."""
        return bool(self.hidden) and (self.recurrent or self.feedback is not None)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all weights by their names.

        "weights0" and so on are those from each layer to the next, (n_kernels, n_out, n_in); "bias0", "feedback0"
        (n_out,); "recurrent0" (n_kernels, n_out, n_out); "skip" (n_kernels, n_outputs, n_inputs).
        """
        n_kernels = self.synapse.n_kernels
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            shapes[f"weights{layer}"] = (n_kernels, n_out, n_in)
            shapes[f"bias{layer}"] = (n_out,)
            is_output = layer == self.n_layers - 1
            if self.feedback is not None and (self.output_feedback or not is_output):
                shapes[f"feedback{layer}"] = (n_out,)
            if self.recurrent and not is_output:
                shapes[f"recurrent{layer}"] = (n_kernels, n_out, n_out)
        if self.skip:
            shapes["skip"] = (n_kernels, self.sizes[-1], self.sizes[0])
        return shapes

    def start(self, rng: np.random.RandomState, dtype: Any = np.float32) -> dict[str, np.ndarray]:
        """Weights before training: of variance ``1 / n_in`` between layers, 0 from inputs to outputs and of biases."""
        weights = {}
        for name, shape in self.shapes().items():
            if name.startswith(("weights", "recurrent")):
                scale = 1 / np.sqrt(shape[0] * shape[-1])
                scale *= _RECURRENT_START if name.startswith("recurrent") else 1.0
                weights[name] = without_own(name, scale * rng.standard_normal(shape)).astype(dtype)
            else:
                weights[name] = np.zeros(shape, dtype)
        return weights

    def synapses(self, n_steps: int, n_inputs_steps: int, dtype: Any) -> Matrices:
        """The filters as matrices along the steps, for inputs that are there at every step, or the same throughout."""
        matrix = self.synapse.matrix(n_steps, self.delay)
        of_inputs = matrix if n_inputs_steps == n_steps else matrix.sum(axis=2, keepdims=True)
        own = np.zeros((1, n_steps, n_steps))
        if self.feedback is not None:
            own = toeplitz((1 - self.feedback) * self.feedback ** np.arange(n_steps)[np.newaxis], 1)
        later = self.synapse.matrix(n_steps, 1)
        return Matrices(*(part.astype(dtype) for part in (of_inputs, matrix, later, own)))


@dataclass(frozen=True)
class Matrices:
    """Filters of whole sequences, each of shape (n_kernels, n_steps, steps of the spikes).

    Attributes
    ----------
    of_inputs, between, recurrent, own : ndarray
        From the inputs, between layers, between neurons of a layer, and from a neuron to itself.
    """

    of_inputs: np.ndarray
    between: np.ndarray
    recurrent: np.ndarray
    own: np.ndarray


def without_own(name: str, array: np.ndarray) -> np.ndarray:
    """Recurrent weights, or their gradient, without those of a neuron to itself; others as they are."""
    return array * (1 - np.eye(array.shape[-1], dtype=array.dtype)) if name.startswith("recurrent") else array
