"""The methods of tabular.py: this package's estimators and their peers, at default settings.

A method takes training rows, test rows and a seed. Classifiers give probabilities of shape (n_test, n_classes),
regressors means and standard deviations of new observations. Peers that have no standard deviation get a constant one:
the error of 5-fold cross-validation within the training rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.linear_model import BayesianRidge, LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from uci import Method, Prediction, gp, ngboost, predict_with_std, ridge

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, PopulationEncoder

#: Probabilities of test rows.
Classify = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]


class Model(NamedTuple):
    """A method for either task, or for both.

    Attributes
    ----------
    label : str
        Its name in tables.
    classify, regress : callable or None
        None if it is not for that task. `regress` of a peer takes and gives standardised targets.
    package : str or None
        What has to be installed for it beside the requirements of this package.
    max_rows, max_classes : float
        It is left out of sets with more, where it would take hours.
    is_ours : bool
        Whether it is of this package.
    """

    label: str
    classify: Classify | None = None
    regress: Method | None = None
    package: str | None = None
    max_rows: float = np.inf
    max_classes: float = np.inf
    is_ours: bool = False

    def predict(self, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
        """Means and standard deviations in the units of y, of shape (2, n_test); peers see standardised targets."""
        if self.is_ours:
            return np.stack(self.regress(X, y, X_test, seed))
        mean, std = self.regress(X, (y - y.mean()) / y.std(), X_test, seed)
        return np.stack([y.mean() + y.std() * mean, y.std() * std])


def _classifier(estimator: BaseEstimator) -> Classify:
    """The probabilities of an estimator, its random state set if it has one."""

    def classify(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
        return _seeded(estimator, seed).fit(X, y).predict_proba(X_test)

    return classify


def _regressor(estimator: BaseEstimator) -> Method:
    """The predictions of an estimator whose predict has return_std."""

    def regress(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Prediction:
        return predict_with_std(_seeded(estimator, seed), X, y, X_test)

    return regress


def _constant_noise(estimator: BaseEstimator) -> Method:
    """The predictions of an estimator without one, with the root mean squared error of inner folds."""

    def regress(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Prediction:
        model = _seeded(estimator, seed)
        inner = cross_val_predict(model, X, y, cv=KFold(5, shuffle=True, random_state=seed))
        std = np.sqrt(np.mean((y - inner) ** 2))
        return model.fit(X, y).predict(X_test), np.full(len(X_test), std)

    return regress


def _seeded(estimator: BaseEstimator, seed: int) -> Any:
    model = clone(estimator)
    return model.set_params(**{name: seed for name in model.get_params() if name.split("__")[-1] == "random_state"})


def _ngboost_classify(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
    """Boosted trees for logits, stopped early: where the classes can be told apart, 500 of them overflow."""
    from ngboost import NGBClassifier
    from ngboost.distns import k_categorical

    X, X_held_out, y, y_held_out = train_test_split(X, y, test_size=0.1, stratify=y, random_state=seed)
    model = NGBClassifier(k_categorical(len(np.unique(y))), random_state=seed, verbose=False)
    model.fit(X, y, X_val=X_held_out, Y_val=y_held_out, early_stopping_rounds=20)
    return model.predict_proba(X_test)


# ---------------------------------------------------------------------- Laplace approximation


def _network(X: np.ndarray, y: np.ndarray, n_out: int, seed: int) -> tuple[Any, Any]:
    """100 hidden units trained as scikit-learn's MLP is by default, and the batches that trained them."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    layers = torch.nn.Linear(X.shape[1], 100), torch.nn.ReLU(), torch.nn.Linear(100, n_out)
    network = torch.nn.Sequential(*layers)
    rows = torch.as_tensor(X, dtype=torch.float32)
    target = torch.as_tensor(y) if n_out > 1 else torch.as_tensor(y, dtype=torch.float32)[:, None]
    data = torch.utils.data.TensorDataset(rows, target)
    batches = torch.utils.data.DataLoader(data, batch_size=min(200, len(X)), shuffle=True)
    loss = torch.nn.CrossEntropyLoss() if n_out > 1 else torch.nn.MSELoss()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(200):
        for batch, target in batches:
            optimiser.zero_grad()
            loss(network(batch), target).backward()
            optimiser.step()
    return network, batches


def _laplace(network: Any, likelihood: str, batches: Any) -> Any:
    """The exact Hessian of the last layer."""
    from laplace import Laplace

    posterior = Laplace(network, likelihood, subset_of_weights="last_layer", hessian_structure="full")
    posterior.fit(batches)
    return posterior


def laplace_classify(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
    """A Gaussian at the trained last layer, its prior by the marginal likelihood; probit approximation."""
    import torch

    network, batches = _network(X, y, len(np.unique(y)), seed)
    posterior = _laplace(network, "classification", batches)
    posterior.optimize_prior_precision(method="marglik")
    return posterior(torch.as_tensor(X_test, dtype=torch.float32), link_approx="probit").detach().numpy()


def laplace_regress(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Prediction:
    """The same for a mean, prior and noise by the marginal likelihood."""
    import torch

    network, batches = _network(X, y, 1, seed)
    posterior = _laplace(network, "regression", batches)
    log_prior, log_noise = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam([log_prior, log_noise], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        (-posterior.log_marginal_likelihood(log_prior.exp(), log_noise.exp())).backward()
        optimiser.step()
    mean, variance = posterior(torch.as_tensor(X_test, dtype=torch.float32))
    noise = float(posterior.sigma_noise.detach()) ** 2
    return mean[:, 0].detach().numpy(), np.sqrt(variance[:, 0, 0].detach().numpy() + noise)


# ---------------------------------------------------------------------- the list

MODELS: dict[str, Model] = {
    "epsnn": Model(
        "EPSNN, no hidden layer", _classifier(EPSNNClassifier()), _regressor(EPSNNRegressor()), is_ours=True
    ),
    "epsnn-hidden": Model(
        "EPSNN, 100 (50) hidden", _classifier(EPSNNClassifier(100)), _regressor(EPSNNRegressor(50)), is_ours=True
    ),
    "epsnn-rates": Model(
        "EPSNN on PopulationEncoder rates",
        regress=_regressor(make_pipeline(PopulationEncoder(output="rates"), EPSNNRegressor())),
        is_ours=True,
    ),
    "epsnn-varying": Model(
        "EPSNN on the same, heteroscedastic",
        regress=_regressor(
            make_pipeline(PopulationEncoder(output="rates"), EPSNNRegressor(noise_variance="heteroscedastic"))
        ),
        is_ours=True,
    ),
    "linear-rates": Model(
        "BayesianRidge on PopulationEncoder rates",
        regress=_regressor(make_pipeline(PopulationEncoder(output="rates"), BayesianRidge())),
    ),
    "linear": Model("LogisticRegression, BayesianRidge", _classifier(LogisticRegression(max_iter=5000)), ridge),
    "mlp": Model("MLP, 100 hidden", _classifier(MLPClassifier()), _constant_noise(MLPRegressor())),
    "forest": Model("RandomForest", _classifier(RandomForestClassifier()), _constant_noise(RandomForestRegressor())),
    "boosting": Model(
        "HistGradientBoosting",
        _classifier(HistGradientBoostingClassifier()),
        _constant_noise(HistGradientBoostingRegressor()),
        max_classes=50,
    ),
    "gp": Model(
        "GaussianProcess",
        _classifier(GaussianProcessClassifier(ConstantKernel() * RBF())),
        gp,
        max_rows=1000,
        max_classes=50,
    ),
    "ngboost": Model("NGBoost", _ngboost_classify, ngboost, package="ngboost", max_classes=50),
    "laplace": Model("laplace-torch, 100 hidden", laplace_classify, laplace_regress, package="laplace", max_classes=50),
}


def installed(names: Sequence[str]) -> list[str]:
    """The methods whose packages are there; the others are named."""
    missing = [name for name in names if MODELS[name].package and find_spec(MODELS[name].package) is None]
    for name in missing:
        print(f'{MODELS[name].label} is left out: pip install "sk_epsnn[benchmark]" brings it.', file=sys.stderr)
    return [name for name in names if name not in missing]
