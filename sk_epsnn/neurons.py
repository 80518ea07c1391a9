"""Hidden neurons: what the law of a spike makes of a Gaussian potential (eq. 31 of [1]_).

A neuron turns the message ``u ~ N(M, S)`` into a spike probability. What the layers above say of the spike is no
concern of it: every message that comes down follows from the probability and its two derivatives.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, "Training of spiking neural networks with expectation-propagation",
   arXiv:2506.23757, 2025.
"""

from __future__ import annotations

from numbers import Integral, Real

from sk_epsnn._arrays import Array, sqrt
from sk_epsnn._sklearn import Interval, Option, StrOptions
from sk_epsnn.messages import SpikeMoments
from sk_epsnn.numerics import expected_sigmoid, normal_cdf_pdf


class Neuron(Option):
    """A neuron that fires with probability ``f(u)``; base of every kind.

    Its parameters, if it has any, are those of a scikit-learn object: keyword arguments stored as they are.

    Attributes
    ----------
    name : str
        Entry in the registry `NEURONS`.
    has_ties : bool
        Whether a potential of exactly 0 is decided by convention: a threshold without noise.
    """

    name: str
    has_ties = False
    #: Variance of the normal noise that makes of a threshold what the neuron is, or nearly so.
    threshold_noise = 0.0
    #: What is left of an input one step later, where inputs have steps in time.
    leak: float | str = 0.0
    #: How the outputs read its spikes where there are steps: "mean", "last", a number of equal parts or "each".
    readout: str | int = "mean"
    #: What is left one step later of the traces that the outputs read.
    readout_leak: float | str = "same"
    #: What its own spikes take off its potential at later steps.
    reset: float = 0.0
    #: Whether it reads the spikes of its own layer at earlier steps.
    recurrent: bool = False
    #: Whether the neuron needs steps in time.
    has_memory = False

    def forward(self, mean: Array, variance: Array) -> SpikeMoments:
        """Predictive spike probability and its derivatives; message q0(v) of eq. 31.

        Parameters
        ----------
        mean, variance : array of shape (n_samples, n_units)
            Of the potentials ``u ~ N(M, S)``; every variance is positive.

        Returns
        -------
        moments : SpikeMoments
            ``E f(u)``, in [0, 1], and its first and second derivative in ``M``.
        """
        raise NotImplementedError

    def repeat_probability(self, moments: SpikeMoments) -> Array:
        """``E f(u)**2``: two spikes drawn with the same potential both fire."""
        raise NotImplementedError


class Heaviside(Neuron):
    """Deterministic threshold: the neuron fires when ``u >= 0``."""

    name = "heaviside"
    has_ties = True

    def forward(self, mean: Array, variance: Array) -> SpikeMoments:
        """Spike probability ``Phi(M / sqrt(S))`` with its derivatives."""
        precision = 1 / sqrt(variance)
        z = mean * precision
        probability, density = normal_cdf_pdf(z)
        first = density * precision
        return SpikeMoments(probability, first, -(z * precision) * first)

    def repeat_probability(self, moments: SpikeMoments) -> Array:
        """The threshold is deterministic: firing twice is firing once."""
        return moments.probability


class Sigmoid(Neuron):
    """Stochastic neuron: fires with probability ``1 / (1 + exp(-u))``."""

    name = "sigmoid"
    threshold_noise = 1.702**2

    def forward(self, mean: Array, variance: Array) -> SpikeMoments:
        """Spike probability ``E sigma(u)`` by the mixture of eight probits, with its derivatives."""
        return SpikeMoments(*expected_sigmoid(mean, variance))

    def repeat_probability(self, moments: SpikeMoments) -> Array:
        """``E sigma**2 = E sigma - E sigma'``."""
        return moments.probability - moments.first


class _Leaky(Neuron):
    """Base class of neurons with a memory: their parameters, see `LIF`."""

    has_memory = True
    _parameter_constraints = {
        "leak": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "reset": [Interval(Real, 0, None, closed="left")],
        "recurrent": ["boolean"],
        "readout": [StrOptions({"mean", "last", "each"}), Interval(Integral, 1, None, closed="left")],
        "readout_leak": [StrOptions({"same", "auto"}), Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        leak: float | str = "auto",
        reset: float = 0.0,
        recurrent: bool = False,
        readout: str | int = "mean",
        readout_leak: float | str = "same",
    ):
        self.leak = leak
        self.reset = reset
        self.recurrent = recurrent
        self.readout = readout
        self.readout_leak = readout_leak


class LIF(_Leaky, Heaviside):
    """Leaky integrate-and-fire neuron: a threshold on a potential that decays from step to step.

    Its potential is ``u_t = W x_t + b`` with the traces ``x_t = leak x_(t-1) + (1 - leak) v_t`` of what it reads, so
    that a constant input drives it alike whatever the leak. X has shape (n_samples, n_steps, n_features).

    Parameters
    ----------
    leak : float or "auto", default="auto"
        What is left of an input one step later, in [0, 1): ``exp(-1 / tau)`` for a time constant of ``tau`` steps.
        "auto" tries time constants that double, on up to 500 samples, and takes the one under which these become most
        probable; ``leak_`` of the fitted estimator says which.
    reset : float, default=0.0
        What the neuron's own spikes take off its potential at later steps, in prior standard deviations of the
        potential, at least 0: ``reset`` times the trace of its spikes, which leaks as those of its inputs do and is 1
        where the neuron has always fired. A single spike takes off ``(1 - leak) reset`` at the next step. With
        ``recurrent=True`` the weight of that trace is learned, and this is minus what it starts from.
    recurrent : bool, default=False
        Whether hidden neurons read traces of the spikes of all neurons of their layer, as they were one step before,
        through weights that are learned.
    readout : {"mean", "last", "each"} or int, default="mean"
        How the outputs read the spikes of the last hidden layer, or the inputs if there is none: the mean over all
        steps; the last step of traces that leak as the neurons do; or means over so many equal parts of the steps, side
        by side. With "each" they read these traces at every step, and there is a target for each of them: y has shape
        (n_samples, n_steps), so have predictions, and that of a step knows nothing of later ones.
    readout_leak : "same", "auto" or float, default="same"
        Leak of the traces that outputs read with ``readout="last"`` or "each", where it is not that of the neurons:
        neurons without a leak see what comes in at once, and outputs with one remember that they did.

    Notes
    -----
    With a ``reset`` of 1 and more, or ``recurrent=True``, predictions are less exact than with a leak alone, and
    training takes several times as long.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_epsnn import EPSNNClassifier, LIF
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> X = (rng.random((200, 10, 4)) < 0.2 + 0.4 * y[:, None, None]).astype(float)
    >>> clf = EPSNNClassifier(8, activation=LIF(leak=0.8), random_state=0).fit(X, y)
    >>> clf.predict_proba(X).shape
    (200, 2)
    """

    name = "lif"


class SigmoidLIF(_Leaky, Sigmoid):
    """Leaky neuron that fires with probability ``1 / (1 + exp(-u))``; else as `LIF`.

    Parameters
    ----------
    leak : float or "auto", default="auto"
    reset : float, default=0.0
    recurrent : bool, default=False
    readout : {"mean", "last", "each"} or int, default="mean"
    readout_leak : "same", "auto" or float, default="same"
        See `LIF`.
    """

    name = "sigmoid_lif"


NEURONS = {c.name: c for c in (Heaviside, Sigmoid, LIF, SigmoidLIF)}
