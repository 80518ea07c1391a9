"""The one place where private or experimental names and hooks of scikit-learn are used.

No other file asks for the version of scikit-learn: what an older one lacks is replaced here. The one hook that has to
be elsewhere is `_parameter_constraints`, the table that every estimator declares.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.base import _fit_context as fit_context
from sklearn.externals.array_api_compat import array_namespace as standard_namespace
from sklearn.externals.array_api_compat import device
from sklearn.utils._array_api import _convert_to_numpy as array_to_numpy
from sklearn.utils._array_api import get_namespace as dispatched_namespace
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.parallel import _get_threadpool_controller

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
    from sklearn.utils._array_api import check_same_namespace
    from sklearn.utils.validation import _check_sample_weight as check_sample_weight
except ImportError:
    from sk_epsnn._sklearn.before_1_9 import (
        CallbackSupportMixin,
        check_same_namespace,
        check_sample_weight,
        with_callbacks,
    )

__all__ = [
    "CallbackSupportMixin",
    "DocumentationLinkMixin",
    "Interval",
    "Option",
    "StrOptions",
    "array_to_numpy",
    "check_same_namespace",
    "check_sample_weight",
    "device",
    "dispatched_namespace",
    "fit_context",
    "one_blas_thread",
    "output_container",
    "standard_namespace",
    "start_fit_task",
    "validate_parameters",
    "with_callbacks",
]


class DocumentationLinkMixin:
    """Base of the classes with a page of their own, to which scikit-learn's HTML representation links."""

    _doc_link_module = "sk_epsnn"
    _doc_link_template = "https://sk-epsnn.readthedocs.io/en/latest/generated/sk_epsnn.{estimator_name}.html"


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Context in which matrix products of this process use one thread.

    Where a single thread is all that there is, nothing is done, and nothing put back: that costs little, and of
    contexts that overlap in several threads none leaves its limit behind.
    """
    if all(library.get_num_threads() == 1 for library in _blas()):
        yield
        return
    with _get_threadpool_controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> list[Any]:
    """Libraries of this process that multiply matrices."""
    return [library for library in _get_threadpool_controller().lib_controllers if library.user_api == "blas"]


def validate_parameters(estimator: Any) -> None:
    """Check the parameters of an estimator, or of one of its parts, against its `_parameter_constraints`.

    Raises
    ------
    ValueError
        Names the parameter, its range and the value.
    """
    estimator._validate_params()


def output_container(transformer: Any) -> str:
    """Which container `set_output`, of the transformer or for all, asks for: "default", "pandas" or "polars"."""
    return _get_output_config("transform", transformer)["dense"]


def start_fit_task(estimator: Any, n_passes: int) -> Any:
    """Set up the callbacks of an estimator within its `fit`, which is decorated by `with_callbacks`.

    Parameters
    ----------
    estimator : CallbackSupportMixin
        About to be fitted.
    n_passes : int
        Largest number of passes over the rows.

    Returns
    -------
    context : CallbackContext
        The root of the tree of tasks. Where scikit-learn has no callbacks, an object with its methods that tells
        nobody.
    """
    return estimator._init_callback_context(max_subtasks=n_passes)


class Option(DocumentationLinkMixin, BaseEstimator):
    """Base of objects that hold the options of one part of an estimator, as a kernel does for a Gaussian process.

    Parameters are those of a scikit-learn estimator: keyword arguments stored as they are, which `clone` copies and a
    grid search reaches; they are validated by `check` when the object is used.
    """

    _parameter_constraints: dict[str, list[Any]] = {}

    def check(self) -> None:
        """Validate the parameters.

        Raises
        ------
        ValueError
            Names the parameter, its range and the value.
        """
        validate_parameters(self)
