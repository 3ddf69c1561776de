"""Whatever goes wrong in a check ends in a clear error, or in a report that says so."""

import json
from contextlib import suppress

import numpy as np
import pytest
from faults import FAULTS, calls, check, model
from hypothesis import HealthCheck, given, settings

import rom


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faults_are_named(fault):
    if fault.error is not None:
        with pytest.raises(fault.error, match=fault.words):
            fault.check()
        return
    report = fault.check()
    assert fault.words in str(report)
    assert not report.trusted


def test_a_sound_check_is_not_flagged():
    report = check(n_starts=40, horizon=5.0, thorough=True)
    assert report.trusted
    assert "units" not in str(report)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls())
def test_checks_of_anything_end_in_a_known_error_or_a_report(call):
    kind, reference, options = call
    before = np.array(reference)
    report = None
    with suppress(ValueError, TypeError):
        report = rom.check(model(kind), reference, **options)
    if report is not None:
        assert report.verdict
        assert str(report)
        json.loads(report.to_json())
        if report.trusted:
            assert kind in ("plain", "labelled", "discrete", "forced")
            assert np.isfinite(report.data["error"]).all()
    np.testing.assert_array_equal(np.array(reference), before)
