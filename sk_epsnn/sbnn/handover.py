"""Begin training at the posterior of another network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sk_epsnn.messages import InputSpace
from sk_epsnn.sbnn.arrays import NamedArrays
from sk_epsnn.sbnn.state import State
from sk_epsnn.sbnn.weights import Moments

#: Least variance of a weight, as a share of the mean square of the weights of its layer.
_LEAST_SHARE = 1e-6


def begun_at(state: State, layers: Sequence[InputSpace]) -> State:
    """The state before training, with the posterior of another network as where it starts.

    Parameters
    ----------
    state : State
        Of Gaussian weights, set up in NumPy, without a memory.
    layers : sequence of InputSpace
        Weights of the other network: of the first layer as they act on raw inputs, of the last one for potentials in
        the units of this one. A threshold ignores the scale of its weights, so that hidden ones get that of the start.
    """
    assert state.network.basis is not None
    parameters, last = dict(state.parameters), len(layers) - 1
    for index, layer in enumerate(layers):
        if index == 0:
            moments = state.coordinates.begin(*state.network.basis.from_inputs(*layer))
        else:
            mean = np.column_stack([layer.coef, layer.intercept])
            moments = Moments(mean, np.column_stack([layer.coef_variance, layer.intercept_variance]))
        name, log_sd = f"mean{index}", f"log_sd{index}"
        mean, variance = moments
        assert variance is not None
        if index < last:
            factor = np.sqrt(np.square(parameters[name]).sum(1) / np.square(mean).sum(1))[:, np.newaxis]
            mean, variance = factor * mean, factor**2 * variance
        variance = np.maximum(variance, _LEAST_SHARE * np.square(mean).mean())
        parameters[name], parameters[log_sd] = mean.astype(np.float32), 0.5 * np.log(variance).astype(np.float32)
    begun = NamedArrays.of(parameters)
    pairs = zip(state.families, state.priors, strict=True)
    return replace(state, parameters=begun, priors=tuple(family.prior(begun, prior) for family, prior in pairs))
