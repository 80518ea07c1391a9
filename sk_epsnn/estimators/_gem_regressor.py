"""Probabilistic spiking network regressor trained by multi-sample rules."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin

from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import Interval, fit_context, validate_parameters, with_callbacks
from sk_epsnn.course import Rows
from sk_epsnn.estimators._door import refuse_huge
from sk_epsnn.estimators._gem_base import BaseGEMSNN
from sk_epsnn.estimators._gem_population import Population
from sk_epsnn.estimators._gem_uncertainty import CompartmentUncertainty
from sk_epsnn.estimators._targets import check_numbers
from sk_epsnn.gem.decisions import Readings, rates


class GEMSNNRegressor(MultiOutputMixin, RegressorMixin, BaseGEMSNN):
    """Probabilistic spiking network for real targets, trained by multi-sample learning.

    Outputs are a population: each output neuron stands for a value of the target, and neighbours share the spikes in
    between. What the network predicts is therefore a whole distribution, which may be skewed or have two peaks and has
    a width of its own for every row, where the rate of a single neuron would have a mean only, and little room for it.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of neurons in each hidden layer.
    activation : "glm" or GLMNeuron, default="glm"
        See `GEMSNNClassifier`. Outputs read no spikes of their own, since what they are trained on are rates.
    input_to_output : bool, default=False
        Whether outputs read the inputs too.
    n_output_neurons : int, default=20
        Neurons for each target, at least 2, at quantiles of its values in the first call of `fit` or `partial_fit`;
        fewer where there are fewer values. Predictions lie within the range of these.
    inference : {"gem", "mb", "iw"} or GEM, MB or IW, default="gem"
        Rule of credit, see `GEMSNNClassifier`.
    optimizer : {"sgd", "adam"} or SGD or Adam, default="sgd"
        Steps along the gradient, see `GEMSNNClassifier`.
    alpha : float, default=0.0
        Penalty on squared weights, ``alpha / (2 n_samples)`` times their sum, as in scikit-learn's MLP.
    n_steps : int, default=20
        Steps for which a row is shown. Sequences have their own.
    encode : {"auto", "rates", "range", "population", "none"}, default="auto"
        What values of X are, see `GEMSNNClassifier`.
    update : {"sequence", "step"}, default="sequence"
        Whether weights move at the end of the sequences of a batch, or at every step (online learning).
    batch_size : int, default=10
        Samples that are shown side by side.
    max_iter : int or None, default=None
        Passes over the data in `fit`. None is as many as it takes for 3,000 batches, from 10 to 200.
    n_compartments_predict : int, default=10
        Runs that a prediction is made from.
    warm_start : bool, default=False
        Continue from the weights of the last fit. Parameters that say what the network is cannot change in between.
    random_state : int, RandomState instance or None, default=None
        Seeds the start, the order of the rows and all spikes.
    verbose : int or bool, default=0
        Print the bound on the log-likelihood after each pass.

    Attributes
    ----------
    output_values_ : list of ndarray of shape (n_neurons,)
        Values that the output neurons of each target stand for.
    settings_ : dict
        What every parameter left at "auto" stood for in the fit, by its name: ``(value, reason)``.
    n_features_in_, n_steps_in_ : int
        Number of features, and of steps in time, where X has them: NaN says that a sample has ended.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string column names.
    coefs_, intercepts_, recurrent_coefs_, feedback_coefs_, skip_coefs_ : list of ndarray, or ndarray
        Weights, see `GEMSNNClassifier`.
    log_likelihood_curve_, history_, effective_sample_size_, spike_rates_, n_spikes_, communication_ : object
        How training went, see `GEMSNNClassifier`.
    network_ : SpikingNetwork
        Structure.
    n_iter_, n_layers_, n_outputs_ : int
        Passes over the data, or calls of `partial_fit`; number of layers, inputs included, and of output neurons.

    See Also
    --------
    GEMSNNClassifier : The same networks for labels.
    EPSNNRegressor : Networks with uncertain weights, trained without gradients.

    References
    ----------
    .. [1] H. Jang, O. Simeone, "Multi-sample online learning for spiking neural networks based on generalized
       expectation maximization", arXiv:2102.03280, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_epsnn import GEMSNNRegressor, PopulationEncoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 5, (300, 1))
    >>> y = np.cos(X[:, 0]) + 0.1 * rng.standard_normal(300)
    >>> model = make_pipeline(PopulationEncoder(output="rates"), GEMSNNRegressor(random_state=0)).fit(X, y)
    >>> mean, std = model.predict(X, return_std=True)
    >>> bool(np.sqrt(np.mean((mean - np.cos(X[:, 0])) ** 2)) < 0.15)
    True
    """

    _task = "regressor"
    _has_several = True
    _has_output_feedback = False
    _parameter_constraints = {
        **BaseGEMSNN._parameter_constraints,
        "n_output_neurons": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        *,
        activation="glm",
        input_to_output=False,
        n_output_neurons=20,
        inference="gem",
        optimizer="sgd",
        alpha=0.0,
        n_steps=20,
        encode="auto",
        update="sequence",
        batch_size=10,
        max_iter=None,
        n_compartments_predict=10,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.input_to_output = input_to_output
        self.n_output_neurons = n_output_neurons
        self.inference = inference
        self.optimizer = optimizer
        self.alpha = alpha
        self.n_steps = n_steps
        self.encode = encode
        self.update = update
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.n_compartments_predict = n_compartments_predict
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Train the network, from random weights (or from those of the last fit, with ``warm_start``).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
            Rates or spikes, see ``encode``. Of a sample that is shorter, NaN in all features after its end.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Real targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the log-likelihood of each row; 0 leaves it out. Only their ratios matter. A row of
            weight 2 is one draw of spikes that counts twice, two rows are two draws.

        Returns
        -------
        self : object
        """
        self._fit(X, y, sample_weight)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Learn from some more rows, each of which is shown once.

        What is kept in between are the weights and what the optimizer remembers. With ``update="step"`` the weights
        move at every step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
            One row or more. The first call fixes the range of the features, see ``encode``, and the values that output
            neurons stand for: let it bring a representative batch.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Real targets as in `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative factors of the step that a row makes.

        Returns
        -------
        self : object
        """
        first = not hasattr(self, "_progress")
        with unchanged_on_error(self):
            if not first:
                validate_parameters(self)  # scikit-learn does so in the first call only
            self._learn_from_stream(self._enter(X, y, sample_weight, reset=first), first)
        return self

    def predict(self, X, return_std=False):
        """Predictive mean of each row, and its standard deviation if asked for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
        return_std : bool, default=False
            Also return the standard deviation of the distribution over the values of the output neurons: noise of the
            targets and of the spikes, but no uncertainty about the weights, and no less than the distance of the
            neurons' values allows.

        Returns
        -------
        y_mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        y_std : ndarray like ``y_mean``
            In units of y; only if ``return_std``.
        """
        mean, aleatoric, disagreement = self._moments(X)
        return (mean, np.sqrt(aleatoric + disagreement)) if return_std else mean

    def predict_uncertainty(self, X):
        """Predictive variance and its parts.

        The weights are points: disagreement is spike noise, and says nothing of what more data would teach.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        uncertainty : CompartmentUncertainty
            Named tuple ``(total, aleatoric, disagreement)`` of variances in squared units of y, each of the shape that
            `predict` gives: the mean variance of what single compartments say, and the variance of their means.
        """
        _, aleatoric, disagreement = self._moments(X)
        return CompartmentUncertainty(aleatoric + disagreement, aleatoric, disagreement)

    @property
    def output_values_(self) -> list[np.ndarray]:
        """Values that the output neurons of each target stand for."""
        self._state("output_values_")
        return [centers.copy() for centers in self._population.centers]

    def _moments(self, X: Any) -> list[np.ndarray]:
        """Mean, aleatoric variance and that between compartments, in units of y."""

        def moments(readings: Readings) -> list[np.ndarray]:
            rate = rates(readings)
            by_compartment, inner = self._population.decode(rate)
            parts = by_compartment.mean(axis=-1), inner.mean(axis=-1), by_compartment.var(axis=-1)
            return [self._population.shaped(part, rate.dtype) for part in parts]

        return [np.concatenate(part) for part in zip(*self._read(X, moments), strict=True)]

    # ------------------------------------------------------------------ targets

    def _check_y(self, y: np.ndarray) -> np.ndarray:
        y = check_numbers(y)
        refuse_huge("y", y)
        return y

    def _begin_fit(self, rows: Rows, continuing: bool) -> None:
        """Real targets have nothing to be found before the plan is made."""

    def _set_targets(self, rows: Rows) -> None:
        self._population = Population.of(rows.target, self.n_output_neurons)

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return self._population.encode(y)

    def _n_output_neurons(self) -> int:
        return sum(map(len, self._population.centers))
