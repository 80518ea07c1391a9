"""How Expectation Propagation is to look for a posterior: the objects behind ``inference=``."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from sk_epsnn._sklearn import Interval, StrOptions
from sk_epsnn.training import Inference

_AUTO = StrOptions({"auto"})


class EPInference(Inference):
    """Base of the ways in which Expectation Propagation works on a batch; see `Newton` for the shared parameters."""

    name: str
    _parameter_constraints: dict[str, list[Any]] = {
        "n_sweeps": [_AUTO, Interval(Integral, 1, None, closed="left")],
        "power": [_AUTO, Interval(Real, 0, 1, closed="both")],
        "temperature": [_AUTO, Interval(Real, 0, None, closed="neither"), "array-like"],
        "rotate_inputs": [_AUTO, "boolean"],
        "validation_fraction": [_AUTO, Interval(Real, 0, 1, closed="left")],
    }


class Newton(EPInference):
    """Newton steps towards the fixed point of average EP, each checked against the energy; needs no step size.

    Parameters
    ----------
    n_sweeps : "auto" or int, default="auto"
        Forward and backward passes over each batch, at most.
    power : "auto" or float in [0, 1], default="auto"
        Exponent alpha of power EP at the outputs: 1 is EP, 0 the variational limit. Heaviside outputs have none: every
        power of an indicator is itself.
    temperature : "auto", float or array-like of shape (n_layers,), default="auto"
        Factor tau on the posterior covariance of each layer of weights; below 1 the posterior is colder than Bayes'
        rule says. "auto" may let held-out rows choose that of the hidden layers, see ``validation_fraction``.
    rotate_inputs : "auto" or bool, default="auto"
        Train the first layer in the principal axes of the inputs, where independent weights are a better
        approximation. ``coefs_`` are always those of the raw inputs. "auto" is True with hidden layers or a spectral
        prior, for at most 2048 features; weights on levels and priors that are not Gaussian allow no rotation.
    validation_fraction : "auto" or float in [0, 1), default="auto"
        Share of the rows that ``fit`` holds out at first, in regressors with hidden layers whose ``noise_variance`` is
        "auto": hidden layers fit the rows that they see, so others must say how large the noise is and, with at most
        31 features and an automatic ``temperature``, which hidden temperature predicts best. Training then goes on with
        all rows. "auto" is 0.2. Nothing is held out with 0, with ``shuffle=False``, in ``partial_fit``, or where fewer
        than 10 rows would be; the noise is then learned in training.

    Notes
    -----
    What "auto" stands for depends on the task: docs/settings.md has the numbers, ``settings_`` of a fitted estimator
    those that it used.

    Examples
    --------
    >>> from sk_epsnn import EPSNNClassifier, Newton
    >>> EPSNNClassifier(inference=Newton(temperature=1.0)).get_params()["inference__temperature"]
    1.0
    """

    name = "newton"

    def __init__(
        self,
        *,
        n_sweeps: Any = "auto",
        power: Any = "auto",
        temperature: Any = "auto",
        rotate_inputs: Any = "auto",
        validation_fraction: Any = "auto",
    ):
        self.n_sweeps = n_sweeps
        self.power = power
        self.temperature = temperature
        self.rotate_inputs = rotate_inputs
        self.validation_fraction = validation_fraction


class AverageEP(EPInference):
    """The damped parallel iteration of [1]_ (Algorithms 1 and 2); updates that diverge are refused with a warning.

    Parameters
    ----------
    n_sweeps : "auto" or int, default="auto"
        Forward and backward passes over each batch, at most; "auto" is 30.
    damping : float in (0, 1], default=0.7
        Weight of the new site.
    power : "auto" or float in [0, 1], default="auto"
        See `Newton`; "auto" is 1.
    temperature : "auto", float or array-like of shape (n_layers,), default="auto"
        See `Newton`; "auto" is 1.
    rotate_inputs : "auto" or bool, default="auto"
        See `Newton`.
    validation_fraction : "auto" or float in [0, 1), default="auto"
        See `Newton`; held-out rows choose the noise only.

    References
    ----------
    .. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025.

    Examples
    --------
    >>> from sk_epsnn import AverageEP, EPSNNClassifier
    >>> clf = EPSNNClassifier(inference=AverageEP(damping=0.1))
    """

    name = "average_ep"
    _parameter_constraints = {**EPInference._parameter_constraints, "damping": [Interval(Real, 0, 1, closed="right")]}

    def __init__(
        self,
        *,
        n_sweeps: Any = "auto",
        damping: float = 0.7,
        power: Any = "auto",
        temperature: Any = "auto",
        rotate_inputs: Any = "auto",
        validation_fraction: Any = "auto",
    ):
        self.n_sweeps = n_sweeps
        self.damping = damping
        self.power = power
        self.temperature = temperature
        self.rotate_inputs = rotate_inputs
        self.validation_fraction = validation_fraction


INFERENCES = {c.name: c for c in (Newton, AverageEP)}
