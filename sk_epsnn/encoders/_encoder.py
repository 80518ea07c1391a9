"""What all encoders share: the names of the output columns, and tables that have no place for steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._sklearn import DocumentationLinkMixin, output_container

Float64s = NDArray[np.float64]
#: Kept as they are; anything else becomes float64, the first of them.
DTYPES = (np.float64, np.float32)
#: Smallest normal number: a range or a width below it is as good as zero, and dividing by it would overflow.
TINY = float(np.finfo(np.float64).tiny)


def one_per_feature(name: str, given: ArrayLike, n_features: int) -> Float64s:
    """Return one number for each feature from a parameter that gives one for all or one for each.

    Parameters
    ----------
    name : str
        Of the parameter.
    given : float or array-like of shape (n_features,)
        Its value.
    n_features : int

    Returns
    -------
    numbers : array of shape (n_features,)
        Positive and finite.

    Raises
    ------
    ValueError
        If they are not; the message says what is expected.
    """
    try:
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if numbers.shape not in ((), (n_features,)) or not np.all((numbers > 0.0) & np.isfinite(numbers)):
        raise ValueError(
            f"{name} must be 'auto', a positive finite number or one such number for each of the {n_features} "
            f"features; got {given!r}."
        )
    return np.broadcast_to(numbers, n_features)


class Encoder(OneToOneFeatureMixin, TransformerMixin, DocumentationLinkMixin, BaseEstimator):
    """What all encoders share: the names of the output columns, and tables that have no place for steps."""

    def _suffixes(self) -> list[str]:
        """Return what tells the output columns of one feature apart, one string for each of them."""
        raise NotImplementedError

    def _refuse_table(self) -> None:
        """Say that what `transform` is about to give, steps of samples, cannot be put into a data frame."""
        container = output_container(self)
        if container != "default":
            name = type(self).__name__
            raise ValueError(
                f"{name} gives an array of shape (n_samples, n_steps, n_features_out) here, which no data frame of "
                f"{container} can hold. Call set_output(transform='default') on the {name}."
            )

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Get the names of the output columns, those of the last axis where the output has steps.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input features; by default `feature_names_in_`, or ``x0, x1, ...`` if fit saw no names.

        Returns
        -------
        feature_names_out : ndarray of str objects, shape (n_features_out,)
            The name of the feature followed by the suffix that the class describes.

        Raises
        ------
        ValueError
            If `input_features` does not match the names or the number of features seen in fit.
        """
        check_is_fitted(self)
        # The one-to-one mixin is the public way to have the input names checked and filled in.
        names = super().get_feature_names_out(input_features)
        return np.array([f"{name}{suffix}" for name in names for suffix in self._suffixes()], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
