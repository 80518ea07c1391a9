"""Options of multi-sample learning: the rule of credit, and the neuron; objects that a grid search reaches into."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from sk_epsnn._sklearn import Interval, Option, StrOptions
from sk_epsnn.gem import credit
from sk_epsnn.gem.credit import Credit
from sk_epsnn.gem.filters import FILTERS, SynapticFilter

#: Share of the running mean of the signal that is left after another batch, where a single compartment has no others.
_BASELINE_MEMORY = 0.9


class GLMNeuron(Option):
    """Neuron that fires with probability ``sigmoid(u)``, u a sum of filtered spikes: a generalized linear model.

    Parameters
    ----------
    synapse : {"auto", "exponential", "raised_cosines"} or SynapticFilter, default="auto"
        What is left of a spike at later steps; an object sets its options. "auto" is "raised_cosines" for sequences,
        whose kernels tell when a spike came, and "exponential" for rows.
    delay : {0, 1}, default=0
        Steps after which a spike is first felt in the next layer. With 0 a spike acts in the step that it comes in,
        upwards; with 1 all synapses are late, as in the paper, and hidden neurons learn of what their spikes did
        through ``trace_decay`` alone.
    feedback : bool, default=False
        Whether neurons read a trace of their own spikes.
    feedback_decay : float, default=0.5
        What is left of that trace one step later, in [0, 1).
    recurrent : bool, default=False
        Whether hidden neurons read the earlier spikes of the other neurons of their layer.

    References
    ----------
    .. [1] H. Jang, O. Simeone, "Multi-sample online learning for spiking neural networks based on generalized
       expectation maximization", arXiv:2102.03280, 2021, section 2.
    """

    name = "glm"
    _parameter_constraints = {
        "synapse": [StrOptions({"auto", *FILTERS}), SynapticFilter],
        "delay": [Interval(Integral, 0, 1, closed="both")],
        "feedback": ["boolean"],
        "feedback_decay": [Interval(Real, 0, 1, closed="left")],
        "recurrent": ["boolean"],
    }

    def __init__(
        self,
        *,
        synapse: Any = "auto",
        delay: Any = 0,
        feedback: Any = False,
        feedback_decay: Any = 0.5,
        recurrent: Any = False,
    ):
        self.synapse = synapse
        self.delay = delay
        self.feedback = feedback
        self.feedback_decay = feedback_decay
        self.recurrent = recurrent


class MultiSampleRule(Option):
    """Base of the rules of credit: how much each compartment's score counts.

    Attributes
    ----------
    name : str
        Entry in the registry `RULES`.
    """

    name: str
    n_compartments: int
    trace_decay: float | str
    sparsity: float
    firing_rate: float
    #: What ``learning_rate="auto"`` of an optimizer is, by its name.
    learning_rates = {"sgd": 1.0, "adam": 0.01}
    _parameter_constraints: dict[str, list[Any]] = {
        "n_compartments": [Interval(Integral, 1, None, closed="left")],
        "trace_decay": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
        "sparsity": [Interval(Real, 0, None, closed="left")],
        "firing_rate": [Interval(Real, 0, 1, closed="neither")],
    }

    def credit(self, v: np.ndarray, baseline: np.ndarray | None) -> tuple[Credit, np.ndarray | None]:
        """Factors of the traces at each step, and what is remembered of the signal.

        Parameters
        ----------
        v : array of shape (n_steps, n_samples, n_compartments)
            Log-weights of the compartments.
        baseline : array or None
            What the last call remembered.

        Returns
        -------
        credit : Credit
            Factors of the shape of v.
        baseline : array or None
            What is to be remembered.
        """
        raise NotImplementedError

    def communication(self, n_hidden: int, n_outputs: int) -> dict[str, int]:
        """Numbers sent for a sample and step: by outputs to where the signals are made, and from there to neurons."""
        return {"from_outputs": self.n_compartments * n_outputs, "to_neurons": self._broadcast(n_hidden, n_outputs)}

    def _broadcast(self, n_hidden: int, n_outputs: int) -> int:
        return self.n_compartments * (n_hidden + n_outputs)


class GEM(MultiSampleRule):
    """Generalized EM: every compartment counts by how well its outputs explain the target.

    Equation 11 of [1]_.

    Parameters
    ----------
    n_compartments : int, default=5
        Runs with the same weights and inputs, each with hidden spikes of its own. At least 2 with ``center``.
    center : bool, default=True
        Take the mean weight off those that hidden neurons learn by: the same expectation with less noise. False is the
        rule as published.
    trace_decay : "auto" or float, default="auto"
        What is left of log-weights and eligibility traces one step later, in [0, 1]. "auto" is 0.05, or 0.5 where
        synapses have a delay of 1, which are felt through it alone.
    sparsity : float, default=0.0
        Weight of a penalty on hidden neurons, per step, neuron and sample: the divergence, in nats, of their firing
        probability from ``firing_rate``.
    firing_rate : float, default=0.3
        What the penalty draws hidden neurons to, in (0, 1).

    References
    ----------
    .. [1] H. Jang, O. Simeone, "Multi-sample online learning for spiking neural networks based on generalized
       expectation maximization", arXiv:2102.03280, 2021.
    """

    name = "gem"
    _parameter_constraints = {**MultiSampleRule._parameter_constraints, "center": ["boolean"]}

    def __init__(
        self,
        *,
        n_compartments: Any = 5,
        center: Any = True,
        trace_decay: Any = "auto",
        sparsity: Any = 0.0,
        firing_rate: Any = 0.3,
    ):
        self.n_compartments = n_compartments
        self.center = center
        self.trace_decay = trace_decay
        self.sparsity = sparsity
        self.firing_rate = firing_rate

    def credit(self, v: np.ndarray, baseline: np.ndarray | None) -> tuple[Credit, np.ndarray | None]:
        """Importance weights; nothing is remembered."""
        return credit.gem(v, center=self.center), None

    def check(self) -> None:
        """Validate the parameters.

        Raises
        ------
        ValueError
            Names the parameter, its range and the value.
        """
        super().check()
        if self.center and self.n_compartments == 1:
            raise ValueError(
                "GEM with n_compartments=1 never moves hidden weights: the one compartment has weight 1, which "
                "center=True takes off. Take 2 compartments or more, or inference='mb', whose baseline is a mean over "
                "time."
            )


class MB(MultiSampleRule):
    """Mean of single-sample estimates, the baseline that GEM is compared with; one compartment is the usual rule.

    Hidden neurons learn by the log-likelihood of the outputs itself, less its mean over the other compartments, or over
    time where there is one. It has no bounds: take smaller steps than for `GEM`.

    Parameters
    ----------
    n_compartments : int, default=1
        Runs with the same weights and inputs.
    trace_decay : "auto" or float, default="auto"
        See `GEM`.
    sparsity : float, default=0.0
        See `GEM`.
    firing_rate : float, default=0.3
        See `GEM`.

    References
    ----------
    .. [1] H. Jang, O. Simeone, "Multi-sample online learning for spiking neural networks based on generalized
       expectation maximization", arXiv:2102.03280, 2021.
    """

    name = "mb"
    learning_rates = {"sgd": 0.2, "adam": 0.01}

    def __init__(
        self, *, n_compartments: Any = 1, trace_decay: Any = "auto", sparsity: Any = 0.0, firing_rate: Any = 0.3
    ):
        self.n_compartments = n_compartments
        self.trace_decay = trace_decay
        self.sparsity = sparsity
        self.firing_rate = firing_rate

    def credit(self, v: np.ndarray, baseline: np.ndarray | None) -> tuple[Credit, np.ndarray | None]:
        """Signals less their baseline: of one compartment a running mean of the signal over samples and steps."""
        if self.n_compartments > 1:
            return credit.mb(v, None), None
        mean = np.asarray(v.mean())
        kept = mean if baseline is None else _BASELINE_MEMORY * baseline + (1 - _BASELINE_MEMORY) * mean
        return credit.mb(v, kept.astype(v.dtype)), kept

    def _broadcast(self, n_hidden: int, n_outputs: int) -> int:
        return self.n_compartments * n_hidden


class IW(MultiSampleRule):
    """Importance-weighted bound: outputs learn as in `GEM`, hidden neurons by what their compartment adds to the bound.

    Parameters
    ----------
    n_compartments : int, default=5
        Runs with the same weights and inputs, at least 2: the signal of each is compared with that of the others.
    trace_decay : "auto" or float, default="auto"
        See `GEM`.
    sparsity : float, default=0.0
        See `GEM`.
    firing_rate : float, default=0.3
        See `GEM`.

    References
    ----------
    .. [1] H. Jang, O. Simeone, "Multi-sample online learning for spiking neural networks based on generalized
       expectation maximization", arXiv:2102.03280, 2021.
    .. [2] A. Mnih, D. Rezende, "Variational inference for Monte Carlo objectives", ICML 2016: the baseline.
    """

    name = "iw"
    learning_rates = {"sgd": 0.5, "adam": 0.01}
    _parameter_constraints = {
        **MultiSampleRule._parameter_constraints,
        "n_compartments": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self, *, n_compartments: Any = 5, trace_decay: Any = "auto", sparsity: Any = 0.0, firing_rate: Any = 0.3
    ):
        self.n_compartments = n_compartments
        self.trace_decay = trace_decay
        self.sparsity = sparsity
        self.firing_rate = firing_rate

    def credit(self, v: np.ndarray, baseline: np.ndarray | None) -> tuple[Credit, np.ndarray | None]:
        """What each compartment adds to the bound; nothing is remembered."""
        return credit.iw(v), None

    def _broadcast(self, n_hidden: int, n_outputs: int) -> int:
        return self.n_compartments * (n_hidden + n_outputs) + n_hidden


#: Rules that a string names.
RULES: dict[str, type[MultiSampleRule]] = {kind.name: kind for kind in (GEM, MB, IW)}
