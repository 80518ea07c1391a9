"""What every estimator here has besides training and prediction: options within options, files, lines of text."""

from __future__ import annotations

import warnings
from typing import Any

from sk_epsnn._sklearn import Option
from sk_epsnn._version import __version__

#: Objects that hold the parameters named ``owner__name``.
_EXAMPLES = {
    "prior": "prior=sk_epsnn.GaussianPrior()",
    "weights": "weights=sk_epsnn.Levels((-1, 0, 1))",
    "output_activation": "output_activation=sk_epsnn.HeavisideOutput()",
    "optimizer": "optimizer=sk_epsnn.SGD()",
}


class Plumbing:
    """Parameters of objects within an estimator, and its way to a file and back."""

    verbose: Any
    #: Objects that the parameters of this kind of estimator may be.
    _examples: dict[str, str] = {}
    _parameter_constraints: dict[str, list[Any]]

    def set_params(self, **params):
        """Set the parameters of this estimator; ``inference__...`` are those of an inference that is an object.

        Parameters
        ----------
        **params : dict
            Parameters and their values.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        for name in params:
            owner, separator, _ = name.partition("__")
            given = params.get(owner, getattr(self, owner, None))
            if separator and owner in self._parameter_constraints and not isinstance(given, Option):
                example = {**_EXAMPLES, **self._examples}.get(owner, "those of sk_epsnn")
                raise ValueError(
                    f"{name} is a parameter of an object, and {owner}={given!r} is none; set {owner} to one that has "
                    f"it first, such as {example}."
                )
        return super().set_params(**params)

    def _tell(self, line: str) -> None:
        if self.verbose:
            print(line)

    def __getstate__(self):
        return {**super().__getstate__(), "_sk_epsnn_version": __version__}

    def __setstate__(self, state):
        state = dict(state)
        version = state.pop("_sk_epsnn_version", "an unknown version")
        if version != __version__:
            warnings.warn(
                f"This {type(self).__name__} was saved by sk_epsnn {version} and is loaded by {__version__}; "
                "results may differ. Refit it, or install the version that saved it.",
                UserWarning,
                stacklevel=2,
            )
        super().__setstate__(state)
