"""Whatever goes wrong in a check ends in a clear error, or in a report that says so."""

import json
from contextlib import suppress

import numpy as np
import pytest
from faults import FAULTS, MODES, T, X, calls, check, labelled, model
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


def test_other_units_are_told_by_their_factor_and_no_other_advice():
    report = check(reference=1000 * X)
    assert report.data.attrs["size_ratio"] == pytest.approx(1000, rel=0.02)  # of other phases
    assert "unstable" in report.verdict
    for advice in ("ridge", "calls for", "regime"):
        assert advice not in str(report)


def test_a_system_that_decays_is_in_its_units_however_small_it_becomes():
    decay = np.exp(-np.c_[T, 0.9 * T]) @ MODES
    small = rom.ROM(rom.POD(2), rom.OperatorInference("cA")).fit(decay[:100], t=T[:100])
    report = rom.check(small, decay[100:], t=T[100:])
    assert report.data.attrs["size_ratio"] == 1
    assert "units" not in report.verdict


def test_a_model_that_ends_is_advised_once():
    text = str(check("blow-up"))
    assert text.count("fit with more ridge") == 1
    assert "calls for" not in text
    assert "calls for" in str(check())


def test_a_check_on_training_data_says_so():
    words = "checked on data that the model was fitted to"
    assert check(reference=X[:100], t=T[:100]).verdict.endswith(words)
    assert check("labelled", labelled()[:100], None).verdict.endswith(words)
    assert words not in check(reference=X[100:], t=T[100:]).verdict
    assert words not in check(reference=X[100:], t=T[:101]).verdict


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
