"""Probabilistic spiking network classifier trained by multi-sample rules."""

from __future__ import annotations

from numbers import Real

import numpy as np
from sklearn.base import ClassifierMixin

from sk_epsnn._arrays import to_numpy
from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import Interval, StrOptions, fit_context, validate_parameters, with_callbacks
from sk_epsnn.course import Rows
from sk_epsnn.estimators._gem_base import BaseGEMSNN
from sk_epsnn.estimators._gem_temperature import held_out_temperature
from sk_epsnn.estimators._gem_uncertainty import CompartmentUncertainty, entropy
from sk_epsnn.estimators._labels import Labels
from sk_epsnn.estimators._targets import check_known
from sk_epsnn.gem.decisions import DECISIONS, Mixture, Readings, log_probability
from sk_epsnn.gem.filters import RaisedCosineFilters
from sk_epsnn.gem.options import GEM, GLMNeuron
from sk_epsnn.optimizers import SGD


class GEMSNNClassifier(Labels, ClassifierMixin, BaseGEMSNN):
    """Probabilistic spiking network over time, trained by multi-sample learning: several runs that share their weights.

    Hidden neurons fire at random. In each of K compartments they draw spikes of their own; how well the outputs of each
    explain the labels is all that hidden neurons are told, one number for each compartment and step (the three-factor
    rule GEM of [1]_). There are no derivatives through spikes, and the whole network may learn at every step.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of neurons in each hidden layer.
    activation : "glm" or GLMNeuron, default="glm"
        Neurons, which fire with probability ``1 / (1 + exp(-u))``; an object sets their synaptic filters, delay,
        feedback and recurrent synapses, which a grid search reaches as ``activation__delay`` and so on.
    input_to_output : bool, default=False
        Whether outputs read the inputs too.
    inference : {"gem", "mb", "iw"} or GEM, MB or IW, default="gem"
        Rule of credit; an object sets the number of compartments and so on, which a grid search reaches as
        ``inference__n_compartments``.
    optimizer : {"sgd", "adam"} or SGD or Adam, default="sgd"
        Steps along the gradient: plain ones, which suit "gem" best, or Adam's. In `fit` their length falls to 0 by half
        a cosine, in `partial_fit` it is constant.
    alpha : float, default=0.0
        Penalty on squared weights, ``alpha / (2 n_samples)`` times their sum, as in scikit-learn's MLP: a Gaussian
        prior of precision ``alpha`` on every weight, of which the most probable values are found. It counts a sample
        once, whatever its number of steps. Biases have none.
    n_steps : int, default=20
        Steps for which a row is shown. Sequences have their own.
    encode : {"auto", "rates", "range", "population", "none"}, default="auto"
        What values of X are. "rates": probabilities of an input spike, drawn anew at every step and in every pass by
        the rule of `RateSpikeEncoder`; 0 and 1 are spikes themselves. Values beyond 0 to 1 are an error. "range": the
        range of each feature in `fit` becomes 0 to 1, values beyond it are clipped. "population": every feature
        becomes the rates of 20 input neurons, by `PopulationEncoder`. "none": inputs as they are, no spikes. "auto":
        "rates" where all values in `fit` lie from 0 to 1 (later ones are clipped), else "population" for up to 30
        features and "range" for more.
    update : {"sequence", "step"}, default="sequence"
        Whether weights move at the end of the sequences of a batch, or at every step (online learning). Steps of one
        sequence are all of one class, so let a batch hold several with "step", or take a small learning rate.
    batch_size : int, default=10
        Samples that are shown side by side.
    max_iter : int or None, default=None
        Passes over the data in `fit`. None is as many as it takes for 3,000 batches, from 10 to 200.
    n_compartments_predict : int, default=10
        Runs that a prediction is made from.
    decision : {"steps", "votes", "likelihood"}, default="steps"
        What is made of these. "steps": the mean, over compartments and steps, of a softmax of the outputs' potentials.
        "votes": the share of compartments in which an output has most spikes, as in [1]_, and one vote more that is
        shared by all classes. "likelihood": Bayes' rule in the model; it takes steps for independent evidence, and is
        too sure.
    temperature : "held_out" or float, default=1.0
        What potentials are divided by in predictions, with "steps" and "likelihood". "held_out": a tenth of the rows
        say it, after a training on the others that comes before the one on all rows and takes as long.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied into ``sample_weight``. "balanced" cannot be used with `partial_fit`.
    warm_start : bool, default=False
        Continue from the weights of the last fit. Parameters that say what the network is cannot change in between.
    random_state : int, RandomState instance or None, default=None
        Seeds the start, the order of the rows and all spikes.
    verbose : int or bool, default=0
        Print the bound on the log-likelihood after each pass.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted. Each has an output neuron, whose target is a spike at every step, and none of the others.
    settings_ : dict
        What every parameter left at "auto" stood for in the fit, by its name: ``(value, reason)``.
    temperature_ : float
        Temperature of predictions.
    n_features_in_, n_steps_in_ : int
        Number of features, and of steps in time, where X has them: NaN says that a sample has ended.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string column names.
    coefs_, intercepts_ : list of ndarray
        Weights of each layer, shapes (n_kernels, fan_in, n_units), and biases, shapes (n_units,).
    recurrent_coefs_, feedback_coefs_ : list of ndarray or None
        Weights between neurons of each layer, shapes (n_kernels, n_units, n_units), and of each neuron's own spikes,
        shapes (n_units,).
    skip_coefs_ : ndarray of shape (n_kernels, n_features, n_outputs) or None
        Weights from inputs to outputs.
    log_likelihood_curve_ : ndarray of shape (`n_iter_`,)
        Bound on the log-likelihood of the label trains during each pass, in nats per sample.
    history_ : dict of lists
        The same as "energy", and "step": the length of each step.
    effective_sample_size_ : float
        ``1 / sum_k w_k^2`` of the weights of the compartments, from 1 to their number: how many count.
    spike_rates_ : ndarray of shape (n_hidden_layers,)
        Spikes of hidden neurons per neuron and step.
    n_spikes_ : float
        Hidden spikes per sample and step in training, in all compartments.
    communication_ : dict of int
        Numbers sent in training per sample and step, "from_outputs" and "to_neurons".
    network_ : SpikingNetwork
        Structure.
    n_iter_ : int
        Passes over the data, or calls of `partial_fit`.
    n_layers_, n_outputs_ : int
        Number of layers, inputs included, and of output neurons.

    See Also
    --------
    GEMSNNRegressor : The same networks for real targets.
    EPSNNClassifier : Networks with uncertain weights, trained without gradients.

    Notes
    -----
    Predictions draw the same random numbers for every row: what is predicted of a row depends on no other, and does not
    change from call to call.

    References
    ----------
    .. [1] H. Jang, O. Simeone, "Multi-sample online learning for spiking neural networks based on generalized
       expectation maximization", arXiv:2102.03280, 2021.
    .. [2] H. Jang, O. Simeone, "Multi-sample online learning for probabilistic spiking neural networks",
       arXiv:2007.11894, 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sk_epsnn import GEMSNNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> clf = GEMSNNClassifier(max_iter=10, random_state=0).fit(X_train, y_train)
    >>> bool(clf.score(X_test, y_test) > 0.9)
    True
    >>> clf.sample_spikes(X_test[:3]).outputs.shape
    (3, 10, 20, 10)
    """

    _task = "classifier"
    _has_output_feedback = True
    _parameter_constraints = {
        **BaseGEMSNN._parameter_constraints,
        "decision": [StrOptions(set(DECISIONS))],
        "temperature": [StrOptions({"held_out"}), Interval(Real, 0, None, closed="neither")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        *,
        activation="glm",
        input_to_output=False,
        inference="gem",
        optimizer="sgd",
        alpha=0.0,
        n_steps=20,
        encode="auto",
        update="sequence",
        batch_size=10,
        max_iter=None,
        n_compartments_predict=10,
        decision="steps",
        temperature=1.0,
        class_weight=None,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.input_to_output = input_to_output
        self.inference = inference
        self.optimizer = optimizer
        self.alpha = alpha
        self.n_steps = n_steps
        self.encode = encode
        self.update = update
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.n_compartments_predict = n_compartments_predict
        self.decision = decision
        self.temperature = temperature
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def as_published(cls, n_compartments=5, **parameters):
        """Make the system of Jang and Simeone: the wiring and the constants of the authors' program.

        Inputs reach hidden neurons and outputs, hidden neurons one another; every neuron reads its own spikes. Eight
        raised cosines over 10 steps, all synapses with a delay of one step, GEM that is not centred, traces and
        log-weights that keep 0.05 a step, plain steps of length 0.05 at every step on single sequences, one pass,
        decisions by votes. Weights start as everywhere here, not uniformly from -0.1 to 0.1, and traces are sums with
        kernels of sum 1.

        Parameters
        ----------
        n_compartments : int, default=5
            In training and in predictions.
        **parameters : dict
            Of the estimator, in place of these.

        Returns
        -------
        estimator : GEMSNNClassifier
        """
        synapse = RaisedCosineFilters(n_filters=8, memory=10)
        published = {
            "hidden_layer_sizes": (256,),
            "activation": GLMNeuron(synapse=synapse, delay=1, feedback=True, recurrent=True),
            "input_to_output": True,
            "inference": GEM(n_compartments=n_compartments, center=False, trace_decay=0.05),
            "optimizer": SGD(learning_rate=0.05),
            "n_steps": 80,
            "update": "step",
            "batch_size": 1,
            "max_iter": 1,
            "n_compartments_predict": n_compartments,
            "decision": "votes",
        }
        return cls(**{**published, **parameters})

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Train the network, from random weights (or from those of the last fit, with ``warm_start``).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
            Rates or spikes, see ``encode``. Of a sample that is shorter, NaN in all features after its end.
        y : array-like of shape (n_samples,)
            Labels of any type, at least two classes.
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
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Learn from some more rows, each of which is shown once.

        What is kept in between are the weights and what the optimizer remembers. With ``update="step"`` the weights
        move at every step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
            One row or more. The first call fixes the range of the features, see ``encode``.
        y : array-like of shape (n_samples,)
            Labels as in `fit`, all of them in ``classes``.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever occur; required in the first call.
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
            rows = self._enter(X, y, sample_weight, reset=first)
            self._check_stream_labels(rows, classes, first)
            self._learn_from_stream(rows, first)
            if first:
                self.temperature_ = self._given_temperature()
            self._watch_order(rows)
        return self

    def predict(self, X):
        """Most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        best = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X):
        """Class probabilities, by the rule ``decision``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        log_probability : ndarray of shape (n_samples, n_classes)
        """
        return np.concatenate(self._read(X, lambda readings: log_probability(self._mixture(readings))))

    def predict_uncertainty(self, X):
        """Entropy of the prediction, and how much of it compartments disagree on.

        The weights are points: disagreement is spike noise, and says nothing of what more data would teach.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        uncertainty : CompartmentUncertainty
            Named tuple ``(total, aleatoric, disagreement)`` of arrays of shape (n_samples,), in nats: the entropy of
            `predict_proba`, the mean entropy of what single compartments say, and the difference of the two.
        """
        return CompartmentUncertainty(*np.concatenate(self._read(X, self._parts)).T)

    def _parts(self, readings: Readings) -> np.ndarray:
        """Total, aleatoric, disagreement, as columns."""
        mixture = self._mixture(readings)
        total = entropy(mixture.mean())
        inner = np.minimum((mixture.share * entropy(mixture.probability)).sum(axis=1), total)
        return np.stack([total, inner, total - inner], axis=1)

    def _mixture(self, readings: Readings) -> Mixture:
        return DECISIONS[self._plan.decision](readings, 1 / self.temperature_)

    # ------------------------------------------------------------------ temperature

    def _given_temperature(self) -> float:
        if self.temperature == "held_out":
            raise ValueError(
                "temperature='held_out' holds rows out of all of them, which a stream does not have; give partial_fit "
                "a number."
            )
        return float(self.temperature)

    def _calibrate(self, rows: Rows, continuing: bool, rng: np.random.RandomState) -> None:
        """Find the temperature."""
        if self.decision == "votes" and self.temperature != 1:
            raise ValueError(
                f"temperature={self.temperature!r} has no effect on decision='votes'; set it to 1, or take 'steps' or "
                "'likelihood'."
            )
        if self.temperature != "held_out" or continuing:
            self.temperature_ = self.temperature_ if self.temperature == "held_out" else self._given_temperature()
            return
        self.temperature_ = held_out_temperature(self._plan, rows, rng)

    # ------------------------------------------------------------------ labels

    def _set_targets(self, rows: Rows) -> None:
        """Labels have no scale."""

    def _encode(self, y: np.ndarray) -> np.ndarray:
        """1 for the neuron of a class, 0 for the others."""
        check_known(y, self._labels)
        return (np.searchsorted(self._labels, y)[:, np.newaxis] == np.arange(len(self._labels))).astype(np.float64)

    def _n_output_neurons(self) -> int:
        return len(to_numpy(self.classes_))
