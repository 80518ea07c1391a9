"""Stand-ins for what scikit-learn has since 1.9: tested on every version, used by the estimators before it."""

import numpy as np
import pytest
import sklearn
from versions import SINCE_1_9

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, _sklearn
from sk_epsnn._sklearn import before_1_9


class Estimator(before_1_9.CallbackSupportMixin):
    """What the stand-ins are given."""

    def __init__(self, held):
        self.held = held

    @before_1_9.with_callbacks
    def fit(self, n_passes):
        """Passes that were made."""
        task = _sklearn.start_fit_task(self, n_passes).call_on_fit_task_begin(estimator=self)
        for n_made in range(1, n_passes + 1):  # noqa: B007
            below = task.subcontext(task_name="pass").call_on_fit_task_begin(estimator=self)
            if below.call_on_fit_task_end(estimator=self, reconstruction_attributes=None):
                break
        assert not task.call_on_fit_task_end(estimator=self)
        return n_made


def test_a_fit_without_callbacks_runs_to_its_end():
    estimator = Estimator(None).set_callbacks()
    assert estimator.fit(3) == estimator.fit(n_passes=3) == 3
    assert Estimator.fit.__doc__ == "Passes that were made."
    assert vars(estimator) == {"held": None}


def test_callbacks_are_refused_with_the_remedy():
    with pytest.raises(NotImplementedError, match=rf"this is {sklearn.__version__}: .* 'scikit-learn>=1.9'"):
        Estimator(None).set_callbacks(print)


@pytest.mark.skipif(SINCE_1_9, reason="scikit-learn has callbacks since 1.9")
@pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])
def test_estimators_refuse_callbacks_and_stay_as_they_were(kind):
    model = kind()
    before = dict(vars(model))
    with pytest.raises(NotImplementedError, match="Callbacks need scikit-learn 1.9"):
        model.set_callbacks(print)
    assert vars(model.set_callbacks()) == before


def test_without_dispatch_any_arrays_pass():
    before_1_9.check_same_namespace([1.0], Estimator(np.ones(2)), attribute="held", method="predict")


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="at least one non-zero"):
        before_1_9.check_sample_weight(np.zeros(3), np.ones((3, 1)), dtype=np.float64, ensure_non_negative=True)
    weight = before_1_9.check_sample_weight([0.0, 1.0], np.ones((2, 1)), dtype=np.float64)
    np.testing.assert_array_equal(weight, [0, 1])
