"""What the tests need to know of the installed scikit-learn; the package itself never asks."""

from importlib.util import find_spec

import pytest
from sklearn.utils import estimator_checks

#: Callbacks, and moving an estimator to another array library, came with scikit-learn 1.9.
SINCE_1_9 = find_spec("sklearn.callback") is not None


def parametrize_with_checks(estimators, **options):
    """scikit-learn's decorator; older ones hand pytest a generator, which it warns of."""
    mark = estimator_checks.parametrize_with_checks(estimators, **options)
    names, cases = mark.args
    return pytest.mark.parametrize(names, list(cases), **mark.kwargs)
