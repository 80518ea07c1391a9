"""The posterior of a fitted network as the start of another one."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._arrays import to_numpy
from sk_epsnn.messages import InputSpace
from sk_epsnn.network import Network
from sk_epsnn.sbnn.streams import reads_stream


def posterior_of(start: Any, estimator: Any) -> list[InputSpace]:
    """Weights of a fitted network, for an estimator that has its plan and targets, layer by layer in NumPy.

    Raises
    ------
    ValueError
        If the network is of another kind, has other classes or other shapes; names the remedy.
    NotFittedError
        If it is not fitted.
    """
    name = type(start).__name__
    if not all(hasattr(type(start), part) for part in ("coefs_", "coefs_variance_", "intercepts_variance_")):
        raise ValueError(
            f"start must be a fitted EPSNNClassifier, EPSNNRegressor, SBNNClassifier or SBNNRegressor, got {name}; of "
            "a pipeline give the last step, fitted on the inputs that X holds."
        )
    check_is_fitted(start)
    if estimator._plan.trainer.design.levels or not estimator._plan.trainer.design.is_noisy:
        raise ValueError("start is for weights with a Gaussian posterior: set weights='continuous', and no surrogate.")
    if hasattr(estimator, "classes_") and not np.array_equal(getattr(start, "classes_", ()), estimator.classes_):
        raise ValueError("start must know the classes of y, in the same order; fit it on the same labels.")
    layers = list(zip(start.coefs_, start.intercepts_, start.coefs_variance_, start.intercepts_variance_, strict=True))
    layers = [[np.asarray(to_numpy(part), np.float64) for part in layer] for layer in layers]
    for index, (coef, intercept, *_) in enumerate(layers):
        intercept -= _usual_inputs(start.network_, index) @ coef
    network = estimator._plan.network
    found = [coef.shape for coef, *_ in layers]
    expected = [
        (n_in - 1, connection.n_units) for n_in, connection in zip(network.fan_ins, network.connections, strict=True)
    ]
    own = any(connection.n_own for connection in start.network_.connections)
    if found != expected or own or any(map(reads_stream, network.connections)):
        raise ValueError(
            f"start has weights of the shapes {found}{' and recurrent ones' if own else ''}, and this network has "
            f"{expected}; give both the same features and hidden_layer_sizes, and leave residual=False."
        )
    spaces = [InputSpace(coef.T, bias, variance.T, of_bias) for coef, bias, variance, of_bias in layers]
    if hasattr(estimator, "classes_"):
        return spaces
    location, scale = (to_numpy(part) for part in estimator._target_location_and_scale())
    last = spaces[-1]
    spaces[-1] = InputSpace(
        last.coef / scale[:, np.newaxis],
        (last.intercept - location) / scale,
        last.coef_variance / scale[:, np.newaxis] ** 2,
        last.intercept_variance / scale**2,
    )
    return spaces


def _usual_inputs(network: Network, index: int) -> np.ndarray:
    """What a layer takes its inputs to be before it reads deviations from that, shape (n_columns,)."""
    connection, n_inputs = network.connections[index], network.sizes[index]
    if not connection.centered:
        return np.zeros(connection.n_columns(n_inputs))
    center = np.asarray(to_numpy(connection.center), np.float64)
    # Rows at the edge of an image, or at the first steps, have less of it.
    return connection.gather(np.tile(center, n_inputs // len(center))[None, :]).max(axis=0)
