"""Intervals of skill: what they are for certain errors, and that they hold the true skill."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom

from rom.rollout.bootstrap import mean_interval, skill_interval
from rom.rollout.skill import skill_score


def test_errors_in_a_fixed_ratio_leave_no_doubt():
    baseline = np.random.default_rng(0).exponential(size=(20, 3))
    low, high = skill_interval(0.25 * baseline, baseline)
    np.testing.assert_allclose(low, 0.75)
    np.testing.assert_allclose(high, 0.75)


def test_the_unit_of_the_errors_does_not_matter():
    rng = np.random.default_rng(1)
    error, baseline = rng.exponential(size=(2, 30, 4))
    one, other = skill_interval(error, baseline), skill_interval(7 * error, 7 * baseline)
    np.testing.assert_allclose(one.low, other.low)
    np.testing.assert_allclose(one.high, other.high)


def test_a_higher_level_is_a_wider_interval_about_the_skill():
    error, baseline = np.random.default_rng(2).exponential(size=(2, 40, 5))
    skill = skill_score(error.mean(axis=0), baseline.mean(axis=0))
    ends = [skill_interval(error, baseline, level=level) for level in (0.5, 0.8, 0.95)]
    lows, highs = (np.array([interval[i] for interval in ends]) for i in (0, 1))
    assert np.all(np.diff(lows, axis=0) < 0)
    assert np.all(np.diff(highs, axis=0) > 0)
    assert np.all((lows[0] < skill) & (skill < highs[0]))


def test_the_interval_shrinks_with_the_root_of_the_number_of_starts():
    rng = np.random.default_rng(3)
    width = []
    for n in (60, 960):
        low, high = skill_interval(*rng.exponential(size=(2, n, 200)))
        width.append(np.median(high - low))
    assert width[0] / width[1] == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize(("n", "memory"), [(20, 0.0), (120, 0.6)])
def test_the_interval_of_nine_tenths_holds_the_true_skill_about_so_often(n, memory):
    # Log-normal errors that share a part, with memory from start to start.
    rng = np.random.default_rng(4)
    held = 0
    for i in range(300):
        noise = rng.normal(size=(n + 50, 2)) * np.sqrt(1 - memory**2)
        a, b = lfilter([1.0], [1.0, -memory], noise, axis=0)[50:].T
        baseline, error = np.exp(0.7 * a), 0.5 * np.exp(0.5 * a + 0.5 * b)
        low, high = skill_interval(
            error[:, None], baseline[:, None], n_resamples=300, random_state=i
        )
        held += low[0] <= 1 - 0.5 * np.exp(0.25 - 0.245) <= high[0]
    # Few starts and memory cost some of it; without blocks a third of it would be lost.
    assert binom.ppf(0.001, 300, 0.86) <= held <= binom.ppf(0.999, 300, 0.92)


def test_ends_are_those_of_the_studentised_means_of_all_draws():
    """Of two blocks of three out of six, which overlap and go around."""
    values = np.random.default_rng(9).exponential(size=6)
    blocks = np.array([np.roll(values, -i)[:3].mean() for i in range(6)])
    t = []
    for draw in product(blocks, repeat=2):
        off, error = np.mean(draw) - values.mean(), np.std(draw, ddof=1) / np.sqrt(2)
        t.append(off / error if error > 0 else np.copysign(np.inf, off))
    spread = np.std(blocks, ddof=1) / np.sqrt(2)
    tail = 8.5 / 36  # between two of the 36 draws
    low, high = skill_interval(
        values[:, None], np.ones((6, 1)), level=1 - 2 * tail, n_blocks=2, n_resamples=20_000
    )
    lower, upper = np.sort(t)[[8, 27]]
    np.testing.assert_allclose(low, 1 - values.mean() + lower * spread)
    np.testing.assert_allclose(high, 1 - values.mean() + upper * spread)


def test_many_lead_times_take_little_memory_and_know_nothing_of_each_other():
    error, baseline = np.random.default_rng(6).exponential(size=(2, 20, 2000))
    tracemalloc.start()
    together = skill_interval(error, baseline)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # the draws of all at once take 32 MB, several times
    alone = [skill_interval(error[:, [i]], baseline[:, [i]]) for i in range(0, 2000, 97)]
    np.testing.assert_allclose(np.array(together)[:, ::97], np.hstack(alone), rtol=1e-9)


def test_neighbours_that_are_alike_widen_the_interval():
    error, baseline = np.repeat(np.random.default_rng(5).exponential(size=(2, 20, 50)), 10, axis=1)
    blocks = np.subtract(*skill_interval(error, baseline)[::-1])
    single = np.subtract(*skill_interval(error, baseline, n_blocks=200)[::-1])
    assert np.median(blocks) > 2 * np.median(single)


def test_where_there_is_nothing_to_say_it_says_nan():
    error, baseline = np.random.default_rng(6).exponential(size=(2, 10, 4))
    baseline[:, 0] = 0
    error[3, 1] = np.nan
    error[3, 2] = np.inf
    for end in skill_interval(error, baseline):
        np.testing.assert_array_equal(np.isfinite(end), [False, False, False, True])
    for end in skill_interval(error[:3, 3:], baseline[:3, 3:]):
        assert np.isnan(end).all()


def test_no_error_is_skill_one_and_arrays_are_left_alone():
    baseline = np.random.default_rng(7).exponential(size=(10, 1))
    error, before = np.zeros((10, 1)), baseline.copy()
    low, high = skill_interval(error, baseline)
    assert (low[0], high[0]) == (1, 1)
    np.testing.assert_array_equal(baseline, before)


def test_the_interval_of_a_mean_moves_with_the_values_and_turns_with_their_sign():
    values = np.random.default_rng(8).normal(size=(40, 3))
    low, high = mean_interval(values)
    assert np.all((low < values.mean(axis=0)) & (values.mean(axis=0) < high))
    moved, turned = mean_interval(5 + 2 * values), mean_interval(-values)
    np.testing.assert_allclose(moved, [5 + 2 * low, 5 + 2 * high])
    np.testing.assert_allclose(turned, [-high, -low], atol=0.02)  # a quantile is of many draws
    np.testing.assert_allclose(mean_interval(np.full((9, 2), 0.3)), 0.3)


def test_refusals():
    with pytest.raises(ValueError, match=r"\(4, 1\) and \(4, 2\)"):
        skill_interval(np.ones((4, 1)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="two blocks and one resample"):
        skill_interval(np.ones((4, 1)), np.ones((4, 1)), n_blocks=1)
