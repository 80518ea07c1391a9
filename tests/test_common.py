"""scikit-learn's own checks of the classifier and the regressor, with no expected failure."""

import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_epsnn import EPSNNClassifier, EPSNNRegressor

CONFIGURATIONS = [
    EPSNNClassifier(),
    EPSNNClassifier(output_activation="heaviside"),
    EPSNNClassifier(schedule="average_ep", damping=0.1),
    EPSNNClassifier(hidden_layer_sizes=(8,)),
    EPSNNRegressor(),
    EPSNNRegressor(schedule="average_ep", damping=0.1),
    EPSNNRegressor(hidden_layer_sizes=(8,)),
]
# Public checks that check_estimator leaves out.
EXTRA_CHECKS = [
    "check_param_validation",
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
]


@parametrize_with_checks(CONFIGURATIONS)
def test_estimator_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", EXTRA_CHECKS)
@pytest.mark.parametrize("estimator", CONFIGURATIONS, ids=str)
def test_extra_estimator_check(estimator, name):
    getattr(estimator_checks, name)(type(estimator).__name__, clone(estimator))
