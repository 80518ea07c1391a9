"""Uncertainty of networks inside of pipelines, searches, and regressors whose targets are transformed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._arrays import sqrt, to_numpy
from sk_epsnn._nesting import last_step
from sk_epsnn.estimators._base import BaseEPSNN
from sk_epsnn.estimators._gem_base import BaseGEMSNN
from sk_epsnn.estimators._gem_regressor import GEMSNNRegressor
from sk_epsnn.estimators._regressor import EPSNNRegressor
from sk_epsnn.estimators._sbnn_base import BaseSBNN
from sk_epsnn.estimators._sbnn_regressor import SBNNRegressor
from sk_epsnn.estimators._uncertainty import Uncertainty
from sk_epsnn.network import PREDICT_ROWS

#: Nodes of the rule for a target that is transformed back.
_N_NODES = 64
#: Standard deviations from the prediction within which that must be possible.
_FAR = 8.0
#: Rounding of a transformer, beside the size of what it gives and of what it adds.
_ROUNDING, _ROUNDING_OF_SHIFT = 1e-6, 1e-9

_Moments: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]


def predict_uncertainty(estimator, X):
    """Predictive uncertainty of a network, wherever it is: alone, in pipelines, in searches.

    Parameters
    ----------
    estimator : object
        A fitted `EPSNNClassifier` or `EPSNNRegressor`, or a pipeline, a search or a `TransformedTargetRegressor` that
        holds one, within each other in any order; a `GEMSNNClassifier` or `GEMSNNRegressor` too, but of targets that
        are not transformed.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows as ``estimator.predict`` takes them.

    Returns
    -------
    uncertainty : Uncertainty
        Named tuple ``(total, aleatoric, epistemic)``: what the network's own ``predict_uncertainty`` gives, in squared
        units of y for a regressor and in nats for a classifier. Of transformed targets the variances are those of y
        itself, see `predict_with_std`. Of GEM-SNNs it is a `CompartmentUncertainty`.

    Raises
    ------
    TypeError
        If there is no such network inside, or something else than these stands around it.
    ValueError
        If no variance of transformed targets can be told, see `predict_with_std`.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sk_epsnn import EPSNNClassifier, predict_uncertainty
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), EPSNNClassifier(random_state=0)).fit(X, y)
    >>> predict_uncertainty(model, X).epistemic.shape
    (150,)
    """
    network, inner, transformed = _inside(estimator, X)
    if not transformed:
        return network.predict_uncertainty(inner)
    _, epistemic, aleatoric = _moments(network, inner, transformed)
    return Uncertainty(epistemic + aleatoric, aleatoric, epistemic)


def predict_with_std(estimator, X):
    """Predictive mean and standard deviation of a regressor, wherever it is: ``predict(X, return_std=True)``.

    A `TransformedTargetRegressor` has no ``return_std``: its regressor predicts a normal law of the transformed target,
    of which the inverse of the transformer makes another law. This function gives the mean and the standard deviation
    of that law.

    Parameters
    ----------
    estimator : object
        A fitted `EPSNNRegressor`, or a pipeline, a search or a `TransformedTargetRegressor` that holds one, within each
        other in any order; a `GEMSNNRegressor` too, but of targets that are not transformed.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows as ``estimator.predict`` takes them.

    Returns
    -------
    y_mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Where the inverse of the transformer bends, this is not what ``estimator.predict`` gives: the inverse of a mean
        is not the mean of inverses. (For an exponential, say, ``predict`` gives the median.)
    y_std : ndarray like ``y_mean``
        Of a new observation, in units of y.

    Raises
    ------
    TypeError
        If there is no `EPSNNRegressor` inside, or something else than these stands around it.
    ValueError
        If the inverse of the transformer is not finite within 8 standard deviations of a prediction, or mixes several
        targets in a way that is not linear.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    Exact where the inverse is linear. Otherwise a Gauss-Hermite rule averages over the normal law; by Mehler's formula
    its part that is known of all but the noise has the variance ``sum_k rho^k c_k^2``, with ``c_k`` the coefficients of
    the inverse in Hermite polynomials and ``rho`` the epistemic share of the normal variance.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.compose import TransformedTargetRegressor
    >>> from sk_epsnn import EPSNNRegressor, predict_with_std
    >>> X = np.random.default_rng(0).standard_normal((300, 3))
    >>> y = np.exp(X[:, 0] + 0.1 * X[:, 1])
    >>> model = TransformedTargetRegressor(EPSNNRegressor(), func=np.log, inverse_func=np.exp).fit(X, y)
    >>> mean, std = predict_with_std(model, X)
    >>> bool(np.all(np.abs(y - mean) < 4 * std))
    True
    """
    network, inner, transformed = _inside(estimator, X)
    if not isinstance(network, EPSNNRegressor | GEMSNNRegressor | SBNNRegressor):
        raise TypeError(
            f"predict_with_std needs a regressor, and {type(network).__name__} is none; use predict_proba or "
            "predict_uncertainty."
        )
    if not transformed:
        return network.predict(inner, return_std=True)
    mean, epistemic, aleatoric = _moments(network, inner, transformed)
    return mean, sqrt(epistemic + aleatoric)


class _Transformed:
    """A fitted regressor of transformed targets, and a row as it is given them."""

    def __init__(self, regressor: TransformedTargetRegressor, X: Any):
        self.transformer = regressor.transformer_
        self.is_vector = regressor.predict(X[:1]).ndim == 1

    @property
    def name(self) -> str:
        """What messages call the transformer."""
        return type(self.transformer).__name__


def _inside(estimator: Any, X: Any) -> tuple[BaseEPSNN | BaseGEMSNN | BaseSBNN, Any, list[_Transformed]]:
    """The network inside, rows as it is given them, and what its targets went through, from the outside inwards."""
    transformed: list[_Transformed] = []
    while True:
        estimator, before = last_step(estimator)
        for transformer in before:
            X = transformer.transform(X)
        if not isinstance(estimator, TransformedTargetRegressor):
            break
        check_is_fitted(estimator)
        transformed.append(_Transformed(estimator, X))
        estimator = estimator.regressor_
    if not isinstance(estimator, BaseEPSNN | BaseGEMSNN | BaseSBNN):
        raise TypeError(
            "Uncertainty is known of EPSNNClassifier and EPSNNRegressor, of GEM-SNNs and SBNNs, alone or in pipelines, "
            f"fitted searches and TransformedTargetRegressor, but here is a {type(estimator).__name__}; call "
            "predict_uncertainty of the networks that it holds."
        )
    return estimator, X, transformed


def _moments(network: BaseEPSNN | BaseGEMSNN | BaseSBNN, X: Any, transformed: Sequence[_Transformed]) -> _Moments:
    """Mean, epistemic and aleatoric variance of targets that were transformed, in their own units."""
    if not isinstance(network, EPSNNRegressor | SBNNRegressor):
        raise TypeError(
            f"Of targets that were transformed the uncertainty is known for EPSNNRegressor and SBNNRegressor, not for "
            f"{type(network).__name__}; transform them before fit."
        )

    def inverse(values: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            for step in reversed(transformed):
                values = np.asarray(step.transformer.inverse_transform(values), float)
        return values

    normal = [to_numpy(part).astype(float) for part in network._moments(X, "predict_uncertainty")]
    normal = [part.reshape(len(part), -1) for part in normal]
    names = " and ".join(step.name for step in transformed)
    rows = gen_batches(len(normal[0]), PREDICT_ROWS)
    parts = zip(*(_transformed_back(inverse, *(part[chunk] for part in normal), names) for chunk in rows), strict=True)
    mean, epistemic, aleatoric = (np.concatenate(part) for part in parts)
    if transformed[0].is_vector:
        mean, epistemic, aleatoric = mean[:, 0], epistemic[:, 0], aleatoric[:, 0]
    return mean, epistemic, aleatoric


def _transformed_back(
    inverse: Callable[[np.ndarray], np.ndarray],
    mean: np.ndarray,
    epistemic: np.ndarray,
    aleatoric: np.ndarray,
    names: str,
) -> _Moments:
    """Moments of the inverse of independent normal variables, arrays of shape (n_samples, n_outputs)."""
    variance = epistemic + aleatoric
    sd, share = np.sqrt(variance), epistemic / variance
    if mean.shape[1] > 1:
        alone, linear = _effects(inverse, mean, sd)
        if linear is not None:
            squares = linear * linear
            known = (squares * share.T[:, :, None]).sum(0)
            return inverse(mean), known, squares.sum(0) - known
        if not alone:
            raise ValueError(
                f"The inverse of the transformer ({names}) mixes the targets in a way that is not linear, so their "
                "standard deviations are not known; transform every target by itself."
            )
    nodes, polynomials = _hermite_rule()
    values = _at_nodes(inverse, mean, sd, nodes)
    if not np.isfinite(values).all():
        values = _at_nodes(inverse, mean, sd, np.clip(nodes, -_FAR, _FAR))
    if not np.isfinite(values).all():
        raise ValueError(
            f"The inverse of the transformer ({names}) is not finite within {_FAR:g} standard deviations of every "
            "prediction, so y has no standard deviation; use a transformer whose inverse is defined for every number."
        )
    coefficients = np.einsum("jq,nqk->jnk", polynomials, values)
    squares = coefficients[1:] ** 2
    known = np.zeros_like(squares[0])
    for square in squares[::-1]:  # Horner's rule
        known = share * (known + square)
    return coefficients[0], known, np.clip(squares.sum(0) - known, 0, None)


def _effects(
    inverse: Callable[[np.ndarray], np.ndarray], mean: np.ndarray, sd: np.ndarray
) -> tuple[bool, np.ndarray | None]:
    """Whether every target has an inverse by itself, and, where the inverse is linear, what a deviation of each adds.

    The latter has shape (n_transformed, n_samples, n_outputs).
    """
    n_outputs = mean.shape[1]
    shifts = sd.T[:, :, None] * np.eye(n_outputs)[:, None, :]
    middle = inverse(mean)
    up, down = (np.array([inverse(mean + sign * shift) - middle for shift in shifts]) for sign in (1, -1))
    together = inverse(mean + sd) - middle
    tolerance = _ROUNDING * np.abs(up).max() + _ROUNDING_OF_SHIFT * np.abs(middle).max()
    bends = max(np.abs(up + down).max(), np.abs(up.sum(0) - together).max())
    if bends <= tolerance:
        return True, up
    alone = middle.shape[1] == n_outputs
    if alone:
        others = ~np.eye(n_outputs, dtype=bool)
        alone = bool(np.abs(up.transpose(0, 2, 1)[others]).max() <= tolerance)
    return alone, None


def _at_nodes(
    inverse: Callable[[np.ndarray], np.ndarray], mean: np.ndarray, sd: np.ndarray, nodes: np.ndarray
) -> np.ndarray:
    """The inverse at so many standard deviations from the means, shape (n_samples, n_nodes, n_outputs)."""
    points = mean[:, None, :] + nodes[:, None] * sd[:, None, :]
    return inverse(points.reshape(-1, mean.shape[1])).reshape(len(mean), len(nodes), -1)


@lru_cache(maxsize=1)
def _hermite_rule() -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the Gauss-Hermite rule, and weights that give the coefficients in normalised Hermite polynomials."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_N_NODES)
    rows = [np.ones_like(nodes), nodes]
    for k in range(1, _N_NODES - 1):
        rows.append((nodes * rows[k] - np.sqrt(k) * rows[k - 1]) / np.sqrt(k + 1))
    return nodes, np.array(rows) * (weights / weights.sum())
