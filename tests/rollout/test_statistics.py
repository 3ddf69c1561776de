"""Long-run statistics: exact distances, invariance, and how often chance is taken for a fault."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter, welch
from scipy.stats import binom, norm

from rom.rollout import features
from rom.rollout.invariants import invariant_drift
from rom.rollout.sampling_error import BLOCKS
from rom.rollout.statistics import compare_statistics

NAMES = ("moments", "histogram", "joint_histogram", "spectrum", "autocorrelation", "energy")


def autoregression(n, correlation, rank, rng):
    noise = rng.normal(size=(n + 1000, rank))
    return lfilter([1.0], [1.0, -correlation], noise, axis=0)[1000:]


def by_name(found, values):
    return dict(zip(found.names, values, strict=True))


@pytest.fixture(scope="module")
def record():
    return autoregression(4000, 0.8, 2, np.random.default_rng(0))


def test_a_record_is_no_distance_from_itself(record):
    before = record.copy()
    found = compare_statistics([record], [record], 0.1)
    assert found.names == NAMES
    np.testing.assert_array_equal(found.distance, 0)
    assert found.kept.all()
    assert found.known.all()
    np.testing.assert_array_equal(found.spectrum_model, found.spectrum_truth)
    np.testing.assert_array_equal(record, before)


def test_one_coordinate_has_no_joint_histogram(record):
    found = compare_statistics([record[:, :1]], [record[:, :1]], 0.1)
    assert found.names == tuple(name for name in NAMES if name != "joint_histogram")
    assert found.joint_truth.shape == found.joint_model.shape == (0, 12, 12)


def test_nor_has_a_second_one_that_never_changes(record):
    record = record.copy()
    record[:, 1] = 3.0
    found = compare_statistics([record], [record], 0.1)
    assert "joint_histogram" not in found.names
    assert found.kept.all()


@settings(max_examples=5, deadline=None)
@given(st.floats(0.01, 100), st.floats(-50, 50), st.floats(0.01, 10))
def test_units_do_not_count(scale, shift, dt):
    rng = np.random.default_rng(1)
    truth, model = rng.normal(size=(800, 2)), 1.2 * rng.normal(size=(800, 2))
    plain = compare_statistics([model], [truth], 1.0)
    units = compare_statistics([shift + scale * model], [shift + scale * truth], dt)
    np.testing.assert_allclose(units.distance, plain.distance, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(units.sampling_error, plain.sampling_error, rtol=1e-2)


def test_order_in_time_counts_for_some_statistics_only(record):
    shuffled = np.random.default_rng(1).permutation(record)
    found = compare_statistics([shuffled], [record], 0.1)
    distance, kept = by_name(found, found.distance), by_name(found, found.kept)
    for name in ("moments", "histogram", "joint_histogram"):
        assert distance[name] == pytest.approx(0, abs=1e-12)
        assert kept[name]
    for name in ("spectrum", "autocorrelation", "energy"):
        assert not kept[name]


def test_dependence_among_coordinates_is_what_joint_histograms_see(record):
    truth = np.column_stack([record[:, 0], record[:, 0]])
    found = compare_statistics([record], [truth], 0.1)
    assert not by_name(found, found.kept)["joint_histogram"]
    alone = compare_statistics([record], [record[:, [0, 0]]], 0.1, tolerance=0.2)
    assert by_name(alone, alone.kept)["histogram"]


def test_a_shift_by_part_of_a_deviation_has_the_known_moments():
    # E He_k(z + a) = a^k for standard normal z, so the distance is sqrt(Σ a^2k / k!).
    z = norm.ppf((np.arange(80_000) + 0.5) / 80_000)[:, None]
    truth = np.random.default_rng(0).permutation(z)
    a = 0.3
    found = compare_statistics([truth + a], [truth], 1.0)
    expected = np.sqrt(a**2 + a**4 / 2 + a**6 / 6 + a**8 / 24)
    assert by_name(found, found.distance)["moments"] == pytest.approx(expected, rel=2e-3)


def test_histograms_of_disjoint_records_are_all_different(record):
    found = compare_statistics([record + 100], [record], 0.1)
    distance = by_name(found, found.distance)
    assert distance["histogram"] == pytest.approx(1)
    assert distance["joint_histogram"] == pytest.approx(1)


def test_spectrum_and_energy_of_an_amplified_record(record):
    # Powers and energies grow by 9: |9 - 1| / (9 + 1).
    centred = record - record.mean(axis=0)
    found = compare_statistics([3 * centred], [centred], 0.1)
    distance = by_name(found, found.distance)
    assert distance["autocorrelation"] == pytest.approx(0, abs=2e-3)
    assert distance["spectrum"] == pytest.approx(0.8)
    assert distance["energy"] == pytest.approx(0.8, abs=1e-3)


def test_the_spectrum_is_that_of_welch_without_overlap(record):
    n = len(record) // BLOCKS
    frequency, power = welch(record, 10.0, "hann", n, noverlap=0, axis=0)
    found = compare_statistics([record], [record], 0.1)
    np.testing.assert_allclose(found.frequency, frequency[1:])
    np.testing.assert_allclose(found.spectrum_truth, power[1:].T)


def test_histograms_are_densities_of_numpy(record):
    found = compare_statistics([record], [record], 0.1)
    for column, edges, density in zip(record.T, found.edges, found.histogram_truth, strict=True):
        np.testing.assert_allclose(
            (edges[1:] + edges[:-1])[[0, -1]] / 2, [column.min(), column.max()]
        )
        expected, _ = np.histogram(column, edges, density=True)
        np.testing.assert_allclose(density, expected, atol=2e-3)  # edges round differently
        assert np.sum(density * np.diff(edges)) == pytest.approx(1)


def test_states_that_settle_at_the_end_of_their_range_share_a_bin():
    settling = 1 - np.exp(-np.arange(0, 60, 0.01))[:, None]
    found = compare_statistics([settling + 1e-6], [settling], 0.1)
    assert by_name(found, found.distance)["histogram"] < 0.01


def test_rounding_of_a_constant_coordinate_is_no_change(record):
    constant = np.full((len(record), 1), 3.7)
    found = compare_statistics(
        [np.hstack([record, constant + 4e-14])], [np.hstack([record, constant])], 0.1
    )
    assert found.pairs.tolist() == [[0, 1]]
    assert found.kept.all()


def test_joint_histograms_are_shares_of_numpy(record):
    states = np.column_stack([record, record.sum(axis=1), record[:, 0] - 2 * record[:, 1]])
    found = compare_statistics([states + 100], [states], 0.1)
    assert found.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    for (i, j), shares in zip(found.pairs, found.joint_truth, strict=True):
        ends = [[column.min(), column.max()] for column in states[:, [i, j]].T]
        wider = [np.array(each) + np.ptp(each) / 58 * np.array([-1, 1]) for each in ends]
        expected, _, _ = np.histogram2d(states[:, i], states[:, j], len(shares), wider)
        np.testing.assert_allclose(shares, expected / len(states), atol=2e-3)
        assert shares.sum() == pytest.approx(1)
    assert not found.joint_model.any()  # all outside of the range


def test_autocorrelation_of_an_autoregression(record):
    found = compare_statistics([record], [record], 0.5)
    np.testing.assert_allclose(found.lag[:4], [0, 0.5, 1, 1.5])
    for correlation in found.autocorrelation_truth:
        np.testing.assert_allclose(correlation[:4], 0.8 ** np.arange(4), atol=0.1)


def test_energy_is_half_the_square_and_changes_from_row_to_row():
    blocks = np.arange(4.0)[None, :, None]
    frame = features.Frame(*(np.full(1, x) for x in (0.0, 1.0, 0.0, 3.0)), 0.5)
    held, change = features.energy(blocks, frame)[0, 0]
    assert held == (0 + 1 + 4 + 9) / 8
    assert change == (0.5 + 1.5 + 2.5) / 3


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_the_same_system_is_kept_as_often_as_promised(correlation):
    rng = np.random.default_rng(3)
    trials, kept = 20, 0
    for _ in range(trials):
        model, truth = (autoregression(1000, correlation, 2, rng) for _ in range(2))
        kept += compare_statistics([model], [truth], 1.0, tolerance=0.0).kept.all()
    assert kept >= binom.ppf(1e-3, trials, 0.95)


def test_stretches_in_order_tell_less_than_shuffled_ones_as_far_as_they_share():
    rng, ratio = np.random.default_rng(6), []
    for _ in range(8):
        level = autoregression(40, 0.6, 1, rng)
        record = level[:, None] + 0.3 * rng.normal(size=(40, 8, 1))
        ordered, shuffled = (
            compare_statistics(list(Z), list(Z), 1.0) for Z in (record, rng.permutation(record))
        )
        ratio.append(by_name(ordered, ordered.sampling_error / shuffled.sampling_error)["moments"])
    assert 1.2 < np.mean(ratio) < np.sqrt(1.6 / 0.4)


def test_the_sampling_error_falls_with_the_root_of_the_length():
    rng = np.random.default_rng(4)
    short, long = (
        np.mean(
            [
                compare_statistics([Z], [Z], 1.0).sampling_error
                for Z in (autoregression(n, 0.5, 2, rng) for _ in range(8))
            ],
            axis=0,
        )
        for n in (1000, 4000)
    )
    # Lag correlations and spectra are taken from blocks four times as long, so they do not fall.
    np.testing.assert_allclose((short / long)[[0, 1, 2, 5]], 2, rtol=0.25)


def test_a_shorter_model_run_has_a_larger_sampling_error(record):
    whole = compare_statistics([record], [record], 0.1).sampling_error
    part = compare_statistics([record[:1000]], [record], 0.1).sampling_error
    np.testing.assert_allclose(part / whole, np.sqrt((1 + 4) / 2))


def test_a_drifting_truth_tells_that_it_is_too_short():
    walk = np.cumsum(np.random.default_rng(0).normal(size=(2000, 2)), axis=0)
    found = compare_statistics([walk], [walk], 1.0)
    assert not by_name(found, found.known)["moments"]


def test_stretches_are_never_joined(record):
    # Between stretches the record jumps; inside them it is constant, so no energy is exchanged.
    stretches = [np.full((40, 1), value) for value in record[:60, 0]]
    found = compare_statistics(stretches, stretches, 1.0)
    np.testing.assert_allclose(found.spectrum_truth, 0, atol=1e-20)
    assert by_name(found, found.distance)["energy"] == 0


def test_many_stretches_are_as_good_as_one_run(record):
    one = compare_statistics([record * 1.1], [record], 0.1)
    many = compare_statistics(
        list(1.1 * record.reshape(20, 200, 2)), list(record.reshape(20, 200, 2)), 0.1
    )
    np.testing.assert_allclose(many.distance, one.distance)
    np.testing.assert_allclose(many.sampling_error, one.sampling_error)


def test_a_run_that_ended_keeps_nothing(record):
    ended = record.copy()
    ended[-3:] = np.nan
    found = compare_statistics([record, ended], [record], 0.1)
    assert np.isinf(found.distance).all()
    assert not found.kept.any()
    assert np.isnan(found.spectrum_model).all()
    assert np.isfinite(found.sampling_error).all()
    assert np.isfinite(found.histogram_truth).all()


def test_a_model_that_grew_out_of_all_bounds_is_far_and_warns_of_nothing(record):
    found = compare_statistics([record * 1e200], [record], 0.1)
    assert {name for name, kept in by_name(found, found.kept).items() if kept} <= {
        "autocorrelation"
    }
    assert not np.isnan(found.distance).any()


def test_a_spike_in_the_truth_leaves_all_errors_numbers(record):
    truth = record.copy()
    truth[7] = 1e100
    found = compare_statistics([record], [truth], 0.1)
    assert np.isfinite(found.sampling_error).all()
    assert not by_name(found, found.known)["moments"]


def test_a_constant_coordinate_is_no_trouble(record):
    flat = np.column_stack([record[:, 0], np.full(len(record), 7.0)])
    found = compare_statistics([flat], [flat], 0.1)
    np.testing.assert_array_equal(found.distance, 0)
    moving = compare_statistics([record + np.array([0, 7])], [flat], 0.1)
    assert not by_name(moving, moving.kept)["energy"]


@pytest.mark.parametrize(
    ("model", "truth", "dt", "message"),
    [
        ([np.ones((400, 2))], [np.ones((400, 2))], 0.1, "never changes"),
        ([np.ones((400, 2))], [np.ones((400, 3))], 0.1, r"\(400, 3\).*\(400, 2\)"),
        ([np.ones(400)], [np.ones(400)], 0.1, "stretches of states"),
        ([], [np.ones((400, 2))], 0.1, "stretches of states"),
        ([np.ones((400, 1))], [np.full((400, 1), np.nan)], 0.1, "truth must be finite"),
        ([np.ones((400, 1))], [1e200 * np.arange(400.0)[:, None]], 0.1, "variance must be finite"),
        ([np.eye(100)], [np.eye(100)], 0.1, "20 blocks of 8 rows.*has 100 rows"),
        ([np.ones((9, 1))], [np.arange(400.0)[:, None]], 0.1, "20 rows or more.*has 9"),
        ([np.ones((400, 1))], [np.arange(400.0)[:, None]], 0.0, "dt must be positive.*0.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(model, truth, dt, message):
    with pytest.raises(ValueError, match=message):
        compare_statistics(model, truth, dt)


def test_drift_is_the_worst_of_the_rollouts_that_still_run():
    values = np.ones((3, 4, 2))
    values[0, 2, 0] = 1.5
    values[1, 3:] = np.nan
    values[:, :, 1] = [0, 1, -3, 0]
    drift = invariant_drift(values)
    np.testing.assert_allclose(drift, [[0, 0, 0.5, 0], [0, 1, 3, 0]])
    values[:, 3] = np.nan
    assert np.isnan(invariant_drift(values)[:, 3]).all()
    with pytest.raises(ValueError, match="n_start, n_lead, n_invariant"):
        invariant_drift(values[0])
    values[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="finite at the starts"):
        invariant_drift(values)
