"""The one place where private scikit-learn names are imported."""

from contextlib import AbstractContextManager

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.parallel import _get_threadpool_controller
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

__all__ = ["Interval", "StrOptions", "check_sample_weight", "fit_context", "one_blas_thread"]


def one_blas_thread() -> AbstractContextManager:
    """Context in which matrix products of this process use one thread."""
    return _get_threadpool_controller().limit(limits=1, user_api="blas")
