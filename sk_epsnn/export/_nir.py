"""Trained networks for other software and for chips: the Neuromorphic Intermediate Representation (NIR)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._arrays import to_numpy
from sk_epsnn.estimators import EPSNNClassifier, EPSNNRegressor

#: NIR's threshold neuron fires above its threshold, ours at 0 or above: 0 must lie above it, and no other double does.
_JUST_BELOW_ZERO = -float(np.finfo(np.float64).smallest_normal)


def to_nir(estimator: EPSNNClassifier | EPSNNRegressor) -> Any:
    """Network of a fitted estimator with known weights, as a graph of the Neuromorphic Intermediate Representation.

    The graph maps the inputs of the estimator (spikes, say) to its output potentials, in one step: ``Input``, for each
    hidden layer ``Affine`` and ``Threshold``, then ``Affine`` and ``Output`` [1]_. The potentials are a regressor's
    predictions. For a classifier the largest says the class, or with two classes the sign of a single one; with
    ``output_activation="heaviside"`` a last ``Threshold`` makes them spikes. Discrete weights stay levels: what
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
    if not isinstance(estimator, EPSNNClassifier | EPSNNRegressor):
        raise TypeError(
            f"to_nir takes an EPSNNClassifier or EPSNNRegressor, got {type(estimator).__name__}; of a pipeline export "
            "the last step, and feed it what the steps before give."
        )
    check_is_fitted(estimator)
    network = estimator._progress.state.network
    hidden = network.hidden
    if random := sorted({neuron.name for neuron in hidden if neuron.name != "heaviside"}):
        raise ValueError(
            f"Hidden neurons with activation {random} fire at random, which NIR has no neuron for; train the network "
            "with activation='heaviside'."
        )
    weights = [np.ascontiguousarray(to_numpy(coef).T) for coef in estimator.coefs_]
    biases = [to_numpy(intercept) for intercept in estimator.intercepts_]
    fires = [True] * len(hidden) + [network.output.name == "heaviside"]
    gain = to_numpy(estimator.readout_gain_) if estimator._plan.trainer.design.grid is not None else None
    if gain is not None:
        weights[-1], biases[-1] = weights[-1] / gain[:, None], biases[-1] / gain
    nodes = [nir.Input(input_type={"input": np.array([weights[0].shape[1]])})]
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        nodes.append(nir.Affine(weight=weight, bias=bias))
        if gain is not None and index == len(hidden):
            nodes.append(nir.Scale(scale=gain))
        if fires[index]:
            nodes.append(nir.Threshold(threshold=np.full(len(bias), _JUST_BELOW_ZERO)))
    return nir.NIRGraph.from_list(*nodes, nir.Output(output_type={"output": np.array([len(biases[-1])])}))


def _import_nir() -> Any:
    try:
        import nir
    except ImportError as error:
        raise ImportError('Export to NIR needs the package nir: pip install "sk_epsnn[nir]".') from error
    return nir
