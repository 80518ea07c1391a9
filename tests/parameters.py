"""Estimators whose parameters are objects, another value of each parameter, and all that a fitted estimator says."""

import numpy as np

from sk_epsnn import (
    AverageEP,
    BernoulliGaussianPrior,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianMixturePrior,
    GaussianPrior,
    HeavisideOutput,
    LaplacePrior,
    Levels,
    Newton,
    to_nir,
)

#: Functions that make an unfitted estimator; together they have every parameter of every option object.
ESTIMATORS = {
    "classifier": lambda: EPSNNClassifier(prior=GaussianPrior(), inference=Newton(), random_state=0),
    "hidden classifier": lambda: EPSNNClassifier([4], activation=["heaviside"], random_state=0),
    "options": lambda: EPSNNClassifier(
        [4],
        prior=GaussianPrior(variance=[1.0, 2.0], anchor=0.2),
        inference=Newton(temperature=[0.4, 0.6]),
        class_weight={0: 2.0},
        random_state=np.random.RandomState(0),
    ),
    "threshold on levels": lambda: EPSNNClassifier(
        4,
        output_activation=HeavisideOutput(noise_variance=1.0),
        weights=Levels([-1.0, 0.0, 1.0], probabilities=[0.25, 0.5, 0.25], gain=1.0),
        prior=GaussianPrior(),
        inference=Newton(n_sweeps=5),
        random_state=0,
    ),
    "spike and slab": lambda: EPSNNClassifier(4, prior=BernoulliGaussianPrior(), random_state=0),
    "regressor": lambda: EPSNNRegressor(prior=GaussianPrior(variance=1.0), noise_variance=0.3, random_state=0),
    "heated regressor": lambda: EPSNNRegressor((4,), prior=GaussianPrior(), inference=Newton(), random_state=0),
    "damped regressor": lambda: EPSNNRegressor(
        4, prior=LaplacePrior(), inference=AverageEP(damping=0.1), random_state=0
    ),
    "mixture": lambda: EPSNNRegressor(4, prior=GaussianMixturePrior(), random_state=0),
    "regressor on levels": lambda: EPSNNRegressor(weights=Levels((-1.0, 1.0)), random_state=0),
}

_OTHER = {
    "activation": "sigmoid",
    "output_activation": "heaviside",
    "output_activation__noise_variance": 2.5,
    "weights": "ternary",
    "weights__values": [-2.0, 0.0, 1.0],
    "weights__probabilities": [0.2, 0.6, 0.2],
    "weights__gain": 0.7,
    "prior": "bernoulli_gaussian",
    "prior__variance": 3.0,
    "prior__anchor": 0.9,
    "prior__spectral_exponent": 0.6,
    "prior__active_probability": 0.2,
    "prior__slab_variance": 2.0,
    "prior__scale": 0.4,
    "prior__weights": (0.3, 0.7),
    "prior__means": (0.5, -0.5),
    "prior__variances": (2.0, 0.1),
    "noise_variance": 0.8,
    "inference": "average_ep",
    "inference__n_sweeps": 4,
    "inference__damping": 0.03,
    "inference__power": 0.7,
    "inference__temperature": 0.9,
    "inference__rotate_inputs": False,
    "inference__validation_fraction": 0.4,
    "fit_intercept": False,
    "hidden_layer_sizes": (5,),
    "batch_size": 17,
    "max_iter": 2,
    "tol": 0.5,
    "shuffle": False,
    "forgetting": 0.6,
    "class_weight": {0: 5.0, 1: 0.5},
    "warm_start": True,
    "n_shards": 3,
    "n_jobs": 2,
    "random_state": 5,
    "verbose": 1,
}


def another_value(model, name):
    """A value of a parameter, deep or not, that is valid for some estimator of the kind, and not the one it has."""
    if name == "weights" and model.prior not in ("gaussian",) and not isinstance(model.prior, GaussianPrior):
        # Levels go with Gaussian priors only.
        return Levels((-1.0, 1.0))
    if name == "weights__values" and len(model.weights.values) == 2:
        return [-1.0, 0.5]
    if name == "weights__probabilities" and len(model.weights.values) == 2:
        return [0.3, 0.7]
    if name == "inference__rotate_inputs":
        # Turned where it is useful, by default.
        hidden = np.size(model.hidden_layer_sizes) > 0
        gaussian = model.prior == "gaussian" or isinstance(model.prior, GaussianPrior)
        return not (hidden and gaussian and isinstance(model.weights, str))
    if name == "output_activation" and isinstance(model.output_activation, HeavisideOutput):
        return "sigmoid"
    if name == "inference" and isinstance(model.inference, AverageEP):
        return "newton"
    if name == "prior" and isinstance(model.prior, BernoulliGaussianPrior):
        return "laplace"
    return _OTHER[name]


def say(model, X):
    """Everything that a fitted estimator says, by name, in values that compare bit by bit after freezing."""
    said = {}
    for name in sorted(name for name in {*dir(model), *vars(model)} if name.endswith("_") and name[0] != "_"):
        try:
            said[name] = getattr(model, name)
        except AttributeError as error:
            said[name] = str(error)
    for method in ("predict", "predict_proba", "predict_log_proba", "predict_potentials", "predict_uncertainty"):
        if hasattr(model, method):
            said[method] = getattr(model, method)(X)
    if isinstance(model, EPSNNRegressor):
        said["std"] = model.predict(X, return_std=True)
    for weights in ("mode", "mean", "sample"):
        said[weights] = model.freeze(weights, random_state=0).predict_potentials(X)
    try:
        nodes = to_nir(model).nodes
    except ImportError:
        nodes = {}
    except ValueError as error:
        said["nir"] = str(error)
        nodes = {}
    for name, node in nodes.items():
        said[f"nir {name}"] = [type(node).__name__, *(np.asarray(v) for v in vars(node).values() if _is_array(v))]
    return said


def _is_array(value):
    return isinstance(value, np.ndarray)
