"""Trained networks for other software and for chips: the Neuromorphic Intermediate Representation (NIR)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._arrays import to_numpy
from sk_epsnn.network import Network
from sk_epsnn.neurons import Heaviside

#: NIR's threshold neuron fires above its threshold, ours at 0 or above: 0 must lie above it, and no other double does.
_JUST_BELOW_ZERO = -float(np.finfo(np.float64).smallest_normal)


def to_nir(estimator: Any) -> Any:
    """Network of a fitted estimator with known weights, as a graph of the Neuromorphic Intermediate Representation.

    The graph maps the inputs of the estimator (spikes, say) to its output potentials, in one step: ``Input``, for each
    hidden layer ``Affine`` and ``Threshold``, then ``Affine`` and ``Output`` [1]_. The potentials are a regressor's
    predictions. For a classifier the largest says the class, or with two classes the sign of a single one: neurons that
    compete (``output_activation="softmax"``) have no node in NIR, so the winner is found outside. With
    ``output_activation="heaviside"`` a last ``Threshold`` makes spikes of them. Discrete weights stay levels: what
    multiplies those of the last layer, ``readout_gain_``, is a ``Scale`` after it.

    Parameters
    ----------
    estimator : EPSNNClassifier or EPSNNRegressor
        A fitted estimator. Its posterior means are exported; pass ``estimator.freeze()`` for the most probable weights
        and ``estimator.freeze("sample", random_state)`` for a draw from the posterior.

    Returns
    -------
    graph : nir.NIRGraph
        In float64; ``nir.write`` saves it.

    Raises
    ------
    ImportError
        If nir is not installed.
    TypeError
        If ``estimator`` is something else, such as a pipeline.
    ValueError
        If hidden neurons fire at random (``activation="sigmoid"``), which NIR has no neuron for.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    A neuron whose potential is exactly 0 fires, as here: the threshold is the largest negative normal number. Software
    that computes in float32 rounds potentials, so that one within rounding of 0 may fall on the other side.

    References
    ----------
    .. [1] J. E. Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for
       interoperable brain-inspired computing", Nature Communications 15, 8122, 2024.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_epsnn import EPSNNClassifier, to_nir
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = EPSNNClassifier(20, weights="binary", random_state=0).fit(X > 7, y)
    >>> list(to_nir(clf.freeze()).nodes)  # doctest: +SKIP
    ['input', 'affine', 'threshold', 'affine_1', 'scale', 'output']
    """
    nir = _import_nir()
    if missing := [name for name in ("network_", "coefs_", "intercepts_") if not hasattr(type(estimator), name)]:
        raise TypeError(
            f"to_nir takes a network with {' and '.join(missing)}, such as EPSNNClassifier or EPSNNRegressor, got "
            f"{type(estimator).__name__}; of a pipeline export the last step, and feed it what the steps before give."
        )
    check_is_fitted(estimator)
    network = estimator.network_
    _refuse_unknown(network)
    weights = [np.ascontiguousarray(to_numpy(coef).T) for coef in estimator.coefs_]
    biases = [to_numpy(intercept) for intercept in estimator.intercepts_]
    fires = [True] * len(network.hidden) + [network.output.name == "heaviside"]
    gain = to_numpy(estimator.readout_gain_) if hasattr(estimator, "readout_gain_") else None
    if gain is not None:
        weights[-1], biases[-1] = weights[-1] / gain[:, None], biases[-1] / gain
    nodes = [nir.Input(input_type={"input": np.array([weights[0].shape[1]])})]
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        nodes.append(nir.Affine(weight=weight, bias=bias))
        if gain is not None and index == len(network.hidden):
            nodes.append(nir.Scale(scale=gain))
        if fires[index]:
            nodes.append(nir.Threshold(threshold=np.full(len(bias), _JUST_BELOW_ZERO)))
    return nir.NIRGraph.from_list(*nodes, nir.Output(output_type={"output": np.array([len(biases[-1])])}))


def _refuse_unknown(network: Network) -> None:
    """Refuse neurons and connections that the graph has no node for."""
    if random := sorted({layer.neuron.name for layer in network.hidden if not isinstance(layer.neuron, Heaviside)}):
        raise ValueError(
            f"Hidden neurons with activation {random} fire at random, or by a law of their own, for which NIR has no "
            "neuron; train the network with activation='heaviside'."
        )
    if others := sorted({type(c).__name__ for c in network.connections if not c.is_identity}):
        raise ValueError(f"Connections {others} have no node in the graph; only fully connected layers are exported.")


def _import_nir() -> Any:
    try:
        import nir
    except ImportError as error:
        raise ImportError('Export to NIR needs the package nir: pip install "sk_epsnn[nir]".') from error
    return nir
