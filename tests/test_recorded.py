"""Fits give the bits that were recorded; on another machine, predictions close to these."""

import json

import numpy as np
import pytest
import recorded


@pytest.fixture(scope="module")
def kept():
    return json.loads(recorded.PATH.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", recorded.CONFIGURATIONS)
def test_results_are_those_recorded(name, kept):
    found, expected = recorded.record(name), kept["records"][name]
    if kept["machine"] == recorded.machine():
        assert found == expected
    scale = max(1.0, np.abs(expected["first_predictions"]).max())
    np.testing.assert_allclose(found["first_predictions"], expected["first_predictions"], rtol=0, atol=0.05 * scale)


def test_every_kind_of_result_is_recorded(kept):
    assert set(kept["records"]) == set(recorded.CONFIGURATIONS) and len(recorded.CONFIGURATIONS) >= 14
    kinds = {key for kept_record in kept["records"].values() for key in kept_record["hashes"]}
    assert {"prediction", "std", "epistemic", "coefs_", "history_energy", "history_held_out"} <= kinds
