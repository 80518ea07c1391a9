"""Steps along a gradient: plain ones and Adam's. Arrays in, new arrays out; nothing is changed in place."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from sk_epsnn._sklearn import Interval, Option, StrOptions

Arrays = Mapping[str, np.ndarray]


class AdamMemory(NamedTuple):
    """What Adam remembers: running means of gradients and of their squares, and how many there were."""

    mean: Arrays
    square: Arrays
    n_steps: int


class Optimizer(Option):
    """Base of the objects behind ``optimizer=``: how parameters follow a gradient uphill.

    Attributes
    ----------
    name : str
        Entry in the registry `OPTIMIZERS`.
    """

    name: str
    learning_rate: float | str
    _parameter_constraints = {
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    def begin(self, parameters: Arrays) -> Any:
        """What is remembered before the first step."""
        return None

    def changes(self, gradient: Arrays, memory: Any) -> tuple[dict[str, np.ndarray], Any]:
        """Changes of the parameters per unit of step length, and what is remembered after them.

        Parameters
        ----------
        gradient : mapping of str to array
            Of what is to become larger.
        memory : object
            What `begin` gave, or the last call.

        Returns
        -------
        changes : dict of str to array
            In the direction in which the parameters move.
        memory : object
        """
        raise NotImplementedError


class SGD(Optimizer):
    """Plain steps: parameters move along the gradient by ``learning_rate`` times its length.

    Parameters
    ----------
    learning_rate : "auto" or float, default="auto"
        Positive; times the gradient per sample and step of time. "auto" is what suits the rule that makes the gradient.

    See Also
    --------
    Adam : Steps whose length does not depend on that of the gradient.
    """

    name = "sgd"

    def __init__(self, *, learning_rate: Any = "auto"):
        self.learning_rate = learning_rate

    def changes(self, gradient: Arrays, memory: Any) -> tuple[dict[str, np.ndarray], Any]:
        """The gradient itself; nothing is remembered."""
        return dict(gradient), None


class Adam(Optimizer):
    """Steps whose length in every parameter is about ``learning_rate``, whatever the length of the gradient.

    Parameters
    ----------
    learning_rate : "auto" or float, default="auto"
        Positive. "auto" is what suits the rule that makes the gradient.
    beta_1, beta_2 : float, default=0.9 and 0.999
        What is left of the running means of gradients and of their squares after another step, in [0, 1).
    epsilon : float, default=1e-8
        Added to the root of the mean square, positive.

    See Also
    --------
    SGD : Plain steps.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, Algorithm 1.
    """

    name = "adam"
    _parameter_constraints = {
        **Optimizer._parameter_constraints,
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, *, learning_rate: Any = "auto", beta_1: Any = 0.9, beta_2: Any = 0.999, epsilon: Any = 1e-8):
        self.learning_rate = learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def begin(self, parameters: Arrays) -> AdamMemory:
        """Zeros, since there was no gradient yet."""
        zeros = {name: np.zeros_like(array) for name, array in parameters.items()}
        return AdamMemory(zeros, zeros, 0)

    def changes(self, gradient: Arrays, memory: AdamMemory) -> tuple[dict[str, np.ndarray], AdamMemory]:
        """The mean gradient over the root of its mean square, each without the bias of its start at zero."""
        n_steps, mean, square, changes = memory.n_steps + 1, {}, {}, {}
        unbiased = float(np.sqrt(1 - self.beta_2**n_steps)) / (1 - self.beta_1**n_steps)
        for name, slope in gradient.items():
            mean[name] = self.beta_1 * memory.mean[name] + (1 - self.beta_1) * slope
            square[name] = self.beta_2 * memory.square[name] + (1 - self.beta_2) * slope * slope
            changes[name] = unbiased * mean[name] / (np.sqrt(square[name]) + self.epsilon)
        return changes, AdamMemory(mean, square, n_steps)


#: Optimizers that a string names.
OPTIMIZERS: dict[str, type[Optimizer]] = {kind.name: kind for kind in (SGD, Adam)}
