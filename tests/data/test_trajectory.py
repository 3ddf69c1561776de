from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rom.data.trajectory import even_step, pairs, segments, windows

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def labels_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@given(lengths)
def test_segments_without_times_are_the_trajectories(sizes):
    pieces = segments(None, labels_of(sizes))
    assert [p.stop - p.start for p in pieces] == sizes
    assert [p.start for p in pieces] == [0, *np.cumsum(sizes)[:-1].tolist()]


@given(
    st.lists(st.integers(4, 9), min_size=1, max_size=6),
    st.floats(1e-6, 1e6),
    st.floats(-1e6, 1e6),
)
def test_gaps_in_even_sampling_cut_whatever_the_unit(sizes, unit, start):
    # One step is left out between stretches of `sizes` rows.
    sizes = [6, *sizes]
    t = np.concatenate([np.arange(n) + 1.0 + sum(sizes[:k]) + k for k, n in enumerate(sizes)])
    pieces = segments(start * unit + unit * t, np.zeros(len(t), int))
    assert [p.stop - p.start for p in pieces] == sizes


def test_uneven_sampling_is_one_segment_until_a_long_gap():
    t = np.cumsum([0.0, 1.0, 0.4, 2.2, 0.7, 1.3, 3.0, 40.0, 0.8, 1.1])
    assert segments(t, np.zeros(len(t), int)) == [slice(0, 7), slice(7, 10)]


@pytest.mark.parametrize(
    "t",
    [
        np.r_[np.arange(0, 5, 0.1), np.arange(5, 10, 0.05)],
        np.r_[np.arange(0, 1, 0.01), np.arange(1, 10, 0.1)],
        np.geomspace(1e-3, 10, 200),
    ],
)
def test_a_change_of_sampling_rate_is_no_gap(t):
    pieces = segments(t, np.zeros(len(t), int))
    assert pieces == [slice(0, len(t))]
    with pytest.raises(ValueError, match="needs evenly sampled times"):
        even_step(t, pieces, needed_by="DMD")


def test_each_trajectory_has_its_own_step():
    t = np.r_[np.arange(50) * 0.1, np.arange(5.0)]
    assert segments(t, labels_of([50, 5])) == [slice(0, 50), slice(50, 55)]


def test_times_start_again_in_each_trajectory():
    t = np.r_[np.arange(4.0), np.arange(3.0)]
    assert segments(t, labels_of([4, 3])) == [slice(0, 4), slice(4, 7)]


def test_single_rows_stand_alone():
    assert segments(np.array([0.0, 5.0]), np.array([0, 1])) == [slice(0, 1), slice(1, 2)]


@given(lengths)
def test_pairs_are_all_neighbours_of_one_piece(sizes):
    labels = labels_of(sizes)
    now, later = pairs(segments(None, labels))
    assert (later == now + 1).all()
    assert (labels[now] == labels[later]).all()
    assert len(now) == sum(n - 1 for n in sizes)


@given(lengths, st.integers(1, 5), st.integers(1, 3))
def test_windows_are_runs_of_one_piece(sizes, length, stride):
    labels = labels_of(sizes)
    rows = windows(segments(None, labels), length, stride=stride)
    assert rows.shape == (sum(len(range(0, n - length + 1, stride)) for n in sizes), length)
    assert (np.diff(rows, axis=1) == 1).all()
    assert (labels[rows] == labels[rows[:, :1]]).all()


@given(st.floats(1e-9, 1e9))
def test_even_step_is_the_step(step):
    t = step * np.r_[0, 1, 2, 3, 10, 11, 12]
    assert even_step(t, [slice(0, 4), slice(4, 7)], needed_by="DMD") == pytest.approx(step)


def test_uneven_steps_are_refused_with_the_place():
    with pytest.raises(ValueError, match=r"DMD needs evenly sampled.*from row 2 to 3"):
        even_step(np.array([0.0, 1.0, 2.0, 3.2, 4.2]), [slice(0, 5)], needed_by="DMD")


def test_advice_on_uneven_steps_fits_what_needs_them():
    t, pieces = np.array([0.0, 1.0, 3.0]), [slice(0, 3)]
    with pytest.raises(ValueError, match=r"an even step, or use a continuous-time model\.$"):
        even_step(t, pieces, needed_by="DMD")
    with pytest.raises(ValueError, match=r"Interpolate to an even step\.$"):
        even_step(t, pieces, needed_by="A comparison", otherwise="")


def test_rows_that_all_stand_alone_have_no_step():
    with pytest.raises(ValueError, match="every row stands alone"):
        even_step(np.arange(2.0), [slice(0, 1), slice(1, 2)], needed_by="DMD")
