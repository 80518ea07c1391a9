"""The plan of a fit of a GEM-SNN: what every parameter stands for, answered once, before training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np

from sk_epsnn.course import Course
from sk_epsnn.estimators._plan import Answers, Setting
from sk_epsnn.gem.filters import FILTERS, ExponentialFilter, RaisedCosineFilters, SynapticFilter
from sk_epsnn.gem.inputs import InputCode
from sk_epsnn.gem.network import SpikingNetwork
from sk_epsnn.gem.options import RULES, GLMNeuron, MultiSampleRule
from sk_epsnn.gem.trainer import MultiSampleTrainer
from sk_epsnn.optimizers import OPTIMIZERS, Optimizer
from sk_epsnn.training import Stage

#: What is left of log-weights and traces one step later, by the delay of synapses.
_TRACE_DECAYS = {0: 0.05, 1: 0.5}
#: Batches that a fit takes, and passes at least and at most.
_BATCHES, _PASSES = 3000, (10, 200)


@dataclass(frozen=True)
class GEMPlan:
    """Everything about a fit that is decided before training.

    Attributes
    ----------
    trainer : MultiSampleTrainer
    network : SpikingNetwork
        Without weights.
    decision : str
        Rule of predictions.
    settings : mapping of str to Setting
        By the name of the parameter, as in ``get_params(deep=True)``.
    """

    trainer: MultiSampleTrainer
    network: SpikingNetwork
    decision: str
    settings: Mapping[str, Setting] = field(repr=False)

    @property
    def stages(self) -> list[Stage]:
        """Of a fit: one."""
        return [Stage(self.trainer, self.trainer.course)]

    def following(self, old: GEMPlan) -> GEMPlan:
        """The same plan, for a network made by another.

        Raises
        ------
        ValueError
            If the network is another one; names what says so.
        """
        if (repr(self.network), self.trainer.optimizer.name) != (repr(old.network), old.trainer.optimizer.name):
            raise ValueError(
                "A fitted network cannot take another hidden_layer_sizes, activation, input_to_output or optimizer, "
                "nor other outputs. Set what was changed back, or fit anew: with warm_start=False, or a "
                "sklearn.base.clone of this estimator."
            )
        return self


def make_gem_plan(estimator: Any, n_samples: int, n_inputs: int, n_outputs: int, is_drawn: bool) -> GEMPlan:
    """Answer every parameter of an estimator, for data that the door has let in.

    Raises
    ------
    ValueError
        If parameters do not go together; names the remedy.
    """
    answers, is_sequence = Answers(), hasattr(estimator, "n_steps_in_")
    decision = getattr(estimator, "decision", "rates")  # of a regressor
    rule: MultiSampleRule = _object(estimator.inference, RULES)
    neuron = _object(estimator.activation, {GLMNeuron.name: GLMNeuron})
    optimizer: Optimizer = _object(estimator.optimizer, OPTIMIZERS)
    for option in (neuron, optimizer):
        option.check()
    given = np.atleast_1d(np.asarray(estimator.hidden_layer_sizes, object))
    if not all(isinstance(size, Integral) for size in given):
        raise ValueError(
            f"hidden_layer_sizes of a GEM-SNN must hold numbers of neurons, got {estimator.hidden_layer_sizes!r}."
        )
    sizes = tuple(int(size) for size in given)
    if any(size < 1 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be positive, got {estimator.hidden_layer_sizes!r}.")
    if sizes or rule.name != "gem":  # without hidden layers compartments are all the same
        rule.check()
    network = _network(estimator, neuron, (n_inputs, *sizes, n_outputs), answers, is_sequence)
    decay = answers.answer(
        "inference__trace_decay",
        rule.trace_decay,
        _TRACE_DECAYS[network.delay],
        f"synapses have delay={network.delay}",
    )
    rate = answers.answer(
        "optimizer__learning_rate",
        optimizer.learning_rate,
        rule.learning_rates[optimizer.name],
        f"steps by {optimizer.name!r} with inference={rule.name!r}",
    )
    course = Course(estimator.batch_size, False, _n_passes(estimator, n_samples, answers), 0.0, True)
    n_steps = None if is_sequence else estimator.n_steps
    code = InputCode(n_inputs, n_steps, is_drawn)
    trainer = MultiSampleTrainer(
        rule,
        optimizer,
        rate,
        code,
        decay,
        estimator.alpha,
        course,
        estimator.update == "step",
        estimator.n_compartments_predict,
        decision == "votes",
    )
    return GEMPlan(trainer, network, decision, answers.settings)


def _n_passes(estimator: Any, n_samples: int, answers: Answers) -> int:
    fewest, most = _PASSES
    automatic = -(-_BATCHES // -(-n_samples // estimator.batch_size))
    given = "auto" if estimator.max_iter is None else estimator.max_iter
    return answers.answer("max_iter", given, min(max(automatic, fewest), most), f"{_BATCHES} batches, or nearly")


def _network(
    estimator: Any, neuron: GLMNeuron, sizes: tuple[int, ...], answers: Answers, is_sequence: bool
) -> SpikingNetwork:
    if estimator.input_to_output and len(sizes) == 2:
        raise ValueError(
            "input_to_output=True adds synapses that a network without hidden layers has already; set it to False, or "
            "hidden_layer_sizes to some."
        )
    if neuron.recurrent and len(sizes) == 2:
        raise ValueError("recurrent=True is of hidden neurons, and there are none; set hidden_layer_sizes.")
    automatic = RaisedCosineFilters() if is_sequence else ExponentialFilter(decay=0.0)
    reason = "X has steps" if is_sequence else "rows have no steps"
    synapse: SynapticFilter = _object(answers.answer("activation__synapse", neuron.synapse, automatic, reason), FILTERS)
    synapse.check()
    return SpikingNetwork(
        sizes,
        synapse,
        neuron.delay,
        neuron.feedback_decay if neuron.feedback else None,
        estimator._has_output_feedback,
        neuron.recurrent,
        estimator.input_to_output,
    )


def _object(given: Any, kinds: Mapping[str, Any]) -> Any:
    """The object itself, or that of a name."""
    return kinds[given]() if isinstance(given, str) else given
