"""Failed calls leave nothing behind."""

from types import SimpleNamespace

import pytest

from sk_epsnn._rollback import unchanged_on_error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_attributes_come_back(error):
    thing = SimpleNamespace(kept=1, changed=[2], removed=3)
    changed = thing.changed
    with pytest.raises(error), unchanged_on_error(thing):
        thing.changed, thing.added = [5], 6
        del thing.removed
        raise error
    assert vars(thing) == {"kept": 1, "changed": [2], "removed": 3}
    assert thing.changed is changed


def test_changes_stay_without_an_error():
    thing = SimpleNamespace(value=1)
    with unchanged_on_error(thing):
        thing.value = 2
    assert thing.value == 2
