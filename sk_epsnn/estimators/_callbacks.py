"""What scikit-learn's callbacks are told of a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sk_epsnn.training import Progress


class FitTask:
    """A fit as callbacks see it: the whole of it and, below that, each pass over the rows.

    Parameters
    ----------
    context : CallbackContext
        What `start_fit_task` gave when `fit` began.
    estimator : BaseEPSNN or BaseGEMSNN
        Within its `fit`.
    X, y, sample_weight : array-like
        What it is fitted to; steps of sequences, which are side by side here, are told as an axis. Scorers are told of
        weights only where some are not 1, since not all of them take any.
    """

    def __init__(self, context: Any, estimator: Any, X: Any, y: Any, sample_weight: np.ndarray):
        metadata = None if (sample_weight == 1).all() else {"sample_weight": sample_weight}
        self.estimator = estimator
        if hasattr(estimator, "n_steps_in_"):
            X = X.reshape(len(X), estimator.n_steps_in_, estimator.n_features_in_)
        self.told = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.context = context
        self.context.call_on_fit_task_begin(**self.told)

    def run_pass(self, work: Callable[[], Progress]) -> bool:
        """Do one pass, let the estimator have it, and say whether it was the last; a callback may say so too."""
        below = self.context.subcontext(task_name="pass").call_on_fit_task_begin(**self.told)
        self.estimator._progress = work()
        stop = below.call_on_fit_task_end(**self.told, reconstruction_attributes=self._fitted)
        return stop or self.estimator._progress.converged

    def end(self) -> None:
        """Tell that the fit is over."""
        self.context.call_on_fit_task_end(**self.told, reconstruction_attributes=self._fitted)

    def _fitted(self) -> dict[str, Any]:
        """Attributes that make a copy of the estimator what it is now; they are replaced, never changed."""
        return {"_progress": self.estimator._progress}
