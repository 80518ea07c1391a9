"""Stand-ins for what scikit-learn has since its version 1.9; the package takes them where it is older."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Self, TypeVar

from sklearn import __version__, get_config
from sklearn.externals.array_api_compat import device
from sklearn.utils._array_api import get_namespace
from sklearn.utils.validation import _check_sample_weight

Method = TypeVar("Method", bound=Callable[..., Any])


class SilentTask:
    """What callbacks would be told of, where there are none."""

    def subcontext(self, **names: Any) -> Self:
        """The task of a part of this one."""
        return self

    def call_on_fit_task_begin(self, **told: Any) -> Self:
        """Tell nobody that it begins."""
        return self

    def call_on_fit_task_end(self, **told: Any) -> bool:
        """Tell nobody that it is over; nobody asks to stop."""
        return False


class CallbackSupportMixin:
    """Base of estimators that would take callbacks."""

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Refuse callbacks, which this version of scikit-learn does not have.

        Parameters
        ----------
        *callbacks : callback instances
            None can be set.

        Returns
        -------
        self : object

        Raises
        ------
        NotImplementedError
            If there are any.
        """
        if callbacks:
            raise NotImplementedError(
                f"Callbacks need scikit-learn 1.9 or newer, and this is {__version__}: update it with pip "
                "install 'scikit-learn>=1.9', or follow the training with verbose=1 and history_."
            )
        return self

    def _init_callback_context(self, max_subtasks: int) -> SilentTask:
        return SilentTask()


def with_callbacks(method: Method) -> Method:
    """The method itself, as deep in the stack as the real decorator puts it: warnings count the calls above them."""

    @wraps(method)
    def undecorated(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return undecorated  # type: ignore[return-value]


def check_same_namespace(X: Any, estimator: Any, *, attribute: str, method: str) -> None:
    """Refuse arrays of another library, or on another device, than the fitted attribute of that name.

    Raises
    ------
    ValueError
        Names the method, the libraries and the remedy.
    """
    if not get_config()["array_api_dispatch"]:
        return
    held = getattr(estimator, attribute)
    (fitted, _), (given, _) = get_namespace(held), get_namespace(X)
    if fitted is given and (fitted.__name__.endswith("numpy") or device(held) == device(X)):
        return
    raise ValueError(
        f"Inputs passed to {type(estimator).__name__}.{method}() must use the same namespace and the same device as "
        f"those passed to fit(), {fitted.__name__} on {device(held)}. Convert them, or move the estimator with "
        "sklearn.utils._array_api.move_estimator_to of scikit-learn 1.9 or newer."
    )


def check_sample_weight(sample_weight: Any, X: Any, **options: Any) -> Any:
    """Weights of the rows of X as `_check_sample_weight` has them, not all of them zero.

    Raises
    ------
    ValueError
        Says what is wrong with the weights.
    """
    checked = _check_sample_weight(sample_weight, X, **options)
    if not checked.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return checked
