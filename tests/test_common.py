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
    Concrete,
    EPSNNClassifier,
    EPSNNRegressor,
    GEMSNNClassifier,
    GEMSNNRegressor,
    GLMNeuron,
    Levels,
    Newton,
    SBNNClassifier,
    SBNNRegressor,
    Stochastic,
)

SBNN_CLASSIFIER, SBNN_REGRESSOR = SBNNClassifier(), SBNNRegressor()
#: Few steps, where it is not the training that is asked about.
FEW = Stochastic(n_passes=10)
#: And no rows that judge them.
SHORT = Stochastic(n_passes=10, validation_fraction=0.0)
#: Steps of many rows, as a check makes 1000 passes whatever it is given.
GLM_NEURONS = GEMSNNClassifier(
    8, activation=GLMNeuron(recurrent=True), inference=GEM(n_compartments=2), n_steps=4, batch_size=50, max_iter=10
)
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
    GEMSNNClassifier(max_iter=5),
    GLM_NEURONS,
    GEMSNNRegressor(max_iter=20),
    GEMSNNRegressor(max_iter=2),
    SBNN_CLASSIFIER,
    SBNNClassifier((8, 8, 8), weights="binary", max_iter=20),
    SBNNClassifier(8, inference=Concrete(hard=True), max_iter=20),
    SBNN_REGRESSOR,
    SBNNRegressor(8, weights="binary", max_iter=50),
]
# Public checks that check_estimator leaves out.
EXTRA_CHECKS = [
    "check_param_validation",
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
]


#: The last configuration of each class, whose fits are short.
LAST = {type(estimator): estimator for estimator in CONFIGURATIONS}
#: Those whose fits are long.
LONG = [SBNN_CLASSIFIER, SBNN_REGRESSOR]
#: A sparse matrix is a sparse array before anything reads a parameter: once for each class says it.
ONCE = {"check_estimator_sparse_matrix"}
#: Makes 1000 passes, whatever max_iter is; where rows are sampled from, weights of classes are theirs in any network.
ONCE_BY_SAMPLES = {"check_class_weight_classifiers"}
#: Asks for a score, which takes a GEMSNNRegressor more passes than everything else.
SCORED = {"check_regressors_train"}
#: What rows come in is behind an estimator before it learns.
CONTAINERS = {
    "check_classifier_data_not_an_array",
    "check_dataframe_column_names_consistency",
    "check_estimator_sparse_array",
    "check_estimators_dtypes",
    "check_inplace_ensure_writeable",
    "check_regressor_data_not_an_array",
}
#: Learning by samples: a row of weight 2 is one draw of spikes that counts twice, two rows are two draws.
REASON = "a row of weight 2 is one draw of spikes, two rows are two"
DRAWS = {"check_sample_weight_equivalence_on_dense_data": REASON}
SPARSE_DRAWS = {"check_sample_weight_equivalence_on_sparse_data": REASON}


def expected_failures(estimator):
    if isinstance(estimator, SBNNClassifier | SBNNRegressor):
        return DRAWS | SPARSE_DRAWS
    return DRAWS if isinstance(estimator, GEMSNNClassifier | GEMSNNRegressor) else {}


CHECKS = parametrize_with_checks(CONFIGURATIONS, expected_failed_checks=expected_failures)
NAMES, CASES = CHECKS.args


def is_asked(estimator, name, in_other_memory=False):
    """Whether the check says of this configuration what it does not say of another of the class."""
    if name in ONCE or (name in ONCE_BY_SAMPLES and isinstance(estimator, GEMSNNClassifier | SBNNClassifier)):
        return estimator is LAST[type(estimator)]
    if isinstance(estimator, GEMSNNRegressor):
        return (name in SCORED) == (estimator is not LAST[GEMSNNRegressor])
    return estimator not in LONG or not (name in CONTAINERS or in_other_memory)


def is_case_asked(estimator, check):
    return is_asked(estimator, check.func.__name__, in_other_memory=bool(check.keywords))


ASKED = [case for case in CASES if is_case_asked(*getattr(case, "values", case))]


@pytest.mark.parametrize(NAMES, ASKED, **CHECKS.kwargs)
def test_estimator_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [(estimator, name) for name in EXTRA_CHECKS for estimator in CONFIGURATIONS if is_asked(estimator, name)],
    ids=str,
)
def test_extra_estimator_check(estimator, name):
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))
