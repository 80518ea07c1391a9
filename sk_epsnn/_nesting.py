"""What is inside of scikit-learn's searches and pipelines."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline


def chosen(estimator: Any) -> Any:
    """The estimator that a search has chosen; any other is itself."""
    return getattr(estimator, "best_estimator_", estimator)


def last_step(estimator: Any) -> tuple[Any, list[Any]]:
    """The model inside of searches and pipelines, and what transforms its inputs, in order."""
    estimator = chosen(estimator)
    if not isinstance(estimator, Pipeline):
        return estimator, []
    model, before = last_step(estimator[-1])
    return model, [estimator[:-1], *before] if len(estimator) > 1 else before
