"""scikit-learn's own checks of the estimators; expected to fail is what sampling cannot give, and that is all."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks
from versions import parametrize_with_checks

from sk_epsnn import (
    GEM,
    AverageEP,
    BernoulliGaussianPrior,
    EPSNNClassifier,
    EPSNNRegressor,
    GEMSNNClassifier,
    GEMSNNRegressor,
    GLMNeuron,
    Levels,
    Newton,
    Stochastic,
)

#: Few steps, where it is not the training that is asked about.
FEW = Stochastic(n_passes=10)
#: And no rows that judge them.
SHORT = Stochastic(n_passes=10, validation_fraction=0.0)
CONFIGURATIONS = [
    EPSNNClassifier(),
    EPSNNClassifier(output_activation="heaviside", max_iter=4),
    # Outputs that compete are what the first of these has for more than two classes.
    EPSNNClassifier(output_activation="sigmoid", max_iter=4),
    EPSNNClassifier(inference="average_ep", max_iter=4),
    EPSNNClassifier(hidden_layer_sizes=(8,), inference=FEW),
    EPSNNClassifier(weights="binary", max_iter=4),
    EPSNNClassifier(hidden_layer_sizes=(8,), weights="binary", activation=["sigmoid"], inference=SHORT),
    EPSNNClassifier(prior="laplace", max_iter=4),
    EPSNNClassifier(hidden_layer_sizes=(8,), prior=BernoulliGaussianPrior(slab_variance=2.0), inference=SHORT),
    EPSNNRegressor(),
    EPSNNRegressor(weights=Levels(np.linspace(-1, 1, 9).tolist())),
    EPSNNRegressor(hidden_layer_sizes=(8,), weights="binary", inference=SHORT),
    EPSNNRegressor(hidden_layer_sizes=(8,), prior="gaussian_mixture", inference=FEW),
    EPSNNRegressor(inference=AverageEP(damping=0.1)),
    EPSNNRegressor(hidden_layer_sizes=(8,), inference=Newton(n_sweeps=2)),
    EPSNNRegressor(noise_variance="heteroscedastic", max_iter=4),
    # By themselves they make up to 200 passes.
    GEMSNNClassifier(max_iter=20),
    GEMSNNClassifier(8, activation=GLMNeuron(recurrent=True), inference=GEM(n_compartments=2), n_steps=4, max_iter=20),
    GEMSNNRegressor(max_iter=20),
]
# Public checks that check_estimator leaves out.
EXTRA_CHECKS = [
    "check_param_validation",
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
]


#: A sparse matrix is a sparse array before anything reads a parameter: once for each estimator says it.
ONCE = {"check_estimator_sparse_matrix"}
#: Learning by samples: a row of weight 2 is one draw of spikes that counts twice, two rows are two draws.
DRAWS = {"check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is one draw of spikes, two rows are two"}


def expected_failures(estimator):
    return DRAWS if isinstance(estimator, GEMSNNClassifier | GEMSNNRegressor) else {}


CHECKS = parametrize_with_checks(CONFIGURATIONS, expected_failed_checks=expected_failures)
NAMES, CASES = CHECKS.args


def is_asked(estimator, check):
    return check.func.__name__ not in ONCE or repr(estimator) == repr(type(estimator)())


@pytest.mark.parametrize(NAMES, [case for case in CASES if is_asked(*getattr(case, "values", case))], **CHECKS.kwargs)
def test_estimator_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", EXTRA_CHECKS)
@pytest.mark.parametrize("estimator", CONFIGURATIONS, ids=str)
def test_extra_estimator_check(estimator, name):
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))
