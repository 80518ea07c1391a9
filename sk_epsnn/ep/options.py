"""How Expectation Propagation is to look for a posterior: the objects behind ``inference=``."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from sk_epsnn._sklearn import Interval, StrOptions
from sk_epsnn.training import Inference

_AUTO = StrOptions({"auto"})
_SWEEPS = [_AUTO, Interval(Integral, 1, None, closed="left")]


class EPInference(Inference):
    """Base of the ways in which Expectation Propagation works on a batch; see `Newton` for the shared parameters."""

    name: str
    _parameter_constraints: dict[str, list[Any]] = {
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
        rule says. "auto" may let held-out rows choose it, see ``validation_fraction``.
    rotate_inputs : "auto" or bool, default="auto"
        Train the first layer in the principal axes of the inputs, where independent weights are a better
        approximation. ``coefs_`` are always those of the raw inputs. "auto" is True with hidden layers or a spectral
        prior, for at most 2048 features; weights on levels and priors that are not Gaussian allow no rotation.
    validation_fraction : "auto" or float in [0, 1), default="auto"
        Share of the rows that ``fit`` holds out at first, in regressors with hidden layers whose ``noise_variance`` is
        "auto": hidden layers fit the rows that they see, so others must say how large the noise is and, with weights
        that are not on levels and an automatic ``temperature``, which hidden temperature predicts best. Training then
        goes on with all rows. "auto" is 0.2. Nothing is held out with 0, with ``shuffle=False``, in ``partial_fit``, or
        where fewer than 10 rows would be; the noise is then learned in training. Classifiers without hidden layers hold
        rows out with 65 classes or more, at most 500 and none that is the only one of its class: these say how wide the
        posterior is in predictions, which independent classes make too wide together. Of other classifiers only
        `Stochastic` holds rows out.

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
    _parameter_constraints = {**EPInference._parameter_constraints, "n_sweeps": _SWEEPS}

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
    """The iteration of the paper: all messages in parallel, damped.

    Algorithms 1 and 2 of [1]_.

    Parameters
    ----------
    n_sweeps : "auto" or int, default="auto"
        Forward and backward passes over each batch, at most; "auto" is 30.
    damping : "auto" or float in (0, 1], default="auto"
        Weight of the new site. "auto" begins with 0.7, which is the paper's, halves it while a sweep would lower the
        energy, and raises it again after sweeps that do not. With a number the iteration may diverge, most of all where
        inputs are not centred or batches are large; updates of batches that do are refused with a warning.
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
    _parameter_constraints = {
        **EPInference._parameter_constraints,
        "n_sweeps": _SWEEPS,
        "damping": [_AUTO, Interval(Real, 0, 1, closed="right")],
    }

    def __init__(
        self,
        *,
        n_sweeps: Any = "auto",
        damping: Any = "auto",
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


class Stochastic(EPInference):
    """Natural-gradient steps on mini-batches, then a few Newton sweeps: the fast way to train hidden layers.

    The rows of a mini-batch stand for all rows. The means of the weights step along the gradient of EP's energy divided
    by its curvature, with momentum and a rate that falls; precisions follow running averages of EP's site precisions.
    `fit` goes over the rows so for ``n_passes`` and ends with ``final_sweeps`` as those of `Newton`; `partial_fit`
    works on every batch as `Newton` does.

    Parameters
    ----------
    n_passes : "auto" or int, default="auto"
        Passes over the rows; no more than ``max_iter`` of the estimator. "auto" is fewer the more rows there are.
    learning_rate : "auto" or float, default="auto"
        First rate; it falls to a tenth. "auto" goes through the first batches at 1, 1/2, 1/4 and so on, and takes the
        one that raises the energy most. Either way a pass that lowers the energy is undone and tried at half the rate,
        until shorter steps do not help.
    final_sweeps : "auto" or int, default="auto"
        Newton sweeps over all rows at the end, at most; they end early where nothing is gained.
    power : "auto" or float in [0, 1], default="auto"
        See `Newton`.
    temperature : "auto", float or array-like of shape (n_layers,), default="auto"
        See `Newton`.
    rotate_inputs : "auto" or bool, default="auto"
        See `Newton`.
    validation_fraction : "auto" or float in [0, 1), default="auto"
        For regressors see `Newton`. Classifiers with hidden layers let held-out rows choose, before they train on all
        rows, how wide the posterior is in predictions and, with fewer than 5,000 rows, an automatic ``temperature`` and
        continuous weights of a Gaussian prior, whether to go on to temperature 1, where the variance of the output
        weights' prior is learned. "auto" is 0.2, at most 500 rows; with fewer than 1,000 rows both halves are held out
        in turn. 0 holds nothing out.

    Examples
    --------
    >>> from sk_epsnn import EPSNNClassifier, Stochastic
    >>> clf = EPSNNClassifier((100,), inference=Stochastic(n_passes=5))
    """

    name = "stochastic"
    _parameter_constraints = {
        **EPInference._parameter_constraints,
        "n_passes": [_AUTO, Interval(Integral, 1, None, closed="left")],
        "learning_rate": [_AUTO, Interval(Real, 0, None, closed="neither")],
        "final_sweeps": [_AUTO, Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        n_passes: Any = "auto",
        learning_rate: Any = "auto",
        final_sweeps: Any = "auto",
        power: Any = "auto",
        temperature: Any = "auto",
        rotate_inputs: Any = "auto",
        validation_fraction: Any = "auto",
    ):
        self.n_passes = n_passes
        self.learning_rate = learning_rate
        self.final_sweeps = final_sweeps
        self.power = power
        self.temperature = temperature
        self.rotate_inputs = rotate_inputs
        self.validation_fraction = validation_fraction


INFERENCES = {c.name: c for c in (Newton, AverageEP, Stochastic)}
