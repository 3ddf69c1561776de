"""Reductions: what is summed up in pieces is what the whole says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from rom.rollout.reduce import Histogram, JointHistogram, Moments, Spectrum

LOW, HIGH = [-2.0, -1.0], [2.0, 3.0]
MAKE = {
    "moments": Moments,
    "histogram": lambda: Histogram(LOW, HIGH, 7),
    "joint": lambda: JointHistogram(LOW, HIGH, 5),
}


def states(n_members=6, n_time=40, seed=0):
    return np.random.default_rng(seed).gamma(2.0, size=(n_members, n_time, 2))


def taken_in(make, z):
    reduction = make()
    reduction.update(z)
    return reduction


def figures(reduction):
    if isinstance(reduction, Moments):
        return np.concatenate(
            [
                [reduction.n],
                reduction.mean,
                reduction.covariance.ravel(),
                reduction.skewness,
                reduction.kurtosis,
            ]
        )
    return reduction.counts.ravel()


def test_moments_are_those_of_all_states():
    z = states()
    rows, moments = z.reshape(-1, 2), taken_in(Moments, z)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0))
    np.testing.assert_allclose(moments.covariance, np.cov(rows.T))
    np.testing.assert_allclose(moments.skewness, stats.skew(rows))
    np.testing.assert_allclose(moments.kurtosis, stats.kurtosis(rows, fisher=False))


def test_moments_of_large_means_keep_their_digits():
    z = states() + 1e6
    moments = Moments()
    for i in range(z.shape[1]):
        moments.update(z[:, i : i + 1])
    np.testing.assert_allclose(moments.covariance, np.cov(states().reshape(-1, 2).T), rtol=1e-8)


def test_histograms_are_numpys():
    z = states()
    x, y = z.reshape(-1, 2).T
    histogram, joint = taken_in(MAKE["histogram"], z), taken_in(MAKE["joint"], z)
    for counts, column, low, high in zip(histogram.counts, (x, y), LOW, HIGH, strict=True):
        np.testing.assert_array_equal(counts, np.histogram(column, 7, (low, high))[0])
    np.testing.assert_array_equal(
        histogram.outside[:, 1], [np.sum(x >= HIGH[0]), np.sum(y >= HIGH[1])]
    )
    expected = np.histogram2d(x, y, 5, list(zip(LOW, HIGH, strict=True)))[0]
    np.testing.assert_array_equal(joint.counts[0], expected)


@pytest.mark.parametrize("kind", MAKE)
@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 40), max_size=4), members=st.integers(1, 5))
def test_pieces_give_the_whole(kind, cuts, members):
    z, whole = states(), taken_in(MAKE[kind], states())
    parts = []
    for group in (z[:members], z[members:]):
        part = MAKE[kind]()
        for piece in np.split(group, sorted(cuts), axis=1):
            part.update(piece)
        parts.append(part)
    parts[0].merge(parts[1])
    np.testing.assert_allclose(figures(parts[0]), figures(whole), rtol=1e-10)


@pytest.mark.parametrize("kind", MAKE)
def test_members_that_have_ended_are_left_out(kind):
    z = states()
    ended = z.copy()
    ended[2, 11:] = np.nan
    kept = np.concatenate([z[2, :11], *z[np.arange(6) != 2]])[None]
    np.testing.assert_allclose(
        figures(taken_in(MAKE[kind], ended)), figures(taken_in(MAKE[kind], kept)), rtol=1e-12
    )


@pytest.mark.parametrize("cuts", [[], [1, 7, 50, 51], list(range(1, 200))])
def test_a_spectrum_is_welchs_whatever_the_stretches(cuts):
    z = states(n_time=200)
    spectrum = Spectrum(32, dt=0.5)
    for piece in np.split(z, cuts, axis=1):
        spectrum.update(piece)
    frequency, power = signal.welch(z, 2.0, "hann", 32, axis=1)
    np.testing.assert_allclose(spectrum.frequency, frequency)
    np.testing.assert_allclose(spectrum.power, power.mean(axis=0).T, rtol=1e-10)


def test_spectra_of_groups_add_up_and_leave_unfinished_segments_out():
    z = states(n_time=200)
    z[4, 100:] = np.nan
    one, other = Spectrum(32, 0.5), Spectrum(32, 0.5)
    one.update(z[:3])
    other.update(z[3:])
    one.merge(other)
    segments = [signal.welch(m[np.isfinite(m[:, 0])], 2.0, "hann", 32, axis=0)[1] for m in z]
    weights = [(np.isfinite(m[:, 0]).sum() - 32) // 16 + 1 for m in z]
    assert one.n == sum(weights)
    np.testing.assert_allclose(one.power, np.average(segments, axis=0, weights=weights).T)


def test_a_spectrum_integrates_to_the_variance_of_noise():
    z = np.random.default_rng(1).normal(size=(1, 2**16, 1))
    spectrum = Spectrum(256, 0.1)
    spectrum.update(z)
    total = np.sum(spectrum.power) * (spectrum.frequency[1] - spectrum.frequency[0])
    # A segment's mean is taken off: 1/256 of the variance, times 1.5 for the window.
    assert total == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Histogram([0.0], [0.0]), "low < high"),
        (lambda: Histogram([0.0], [1.0, 2.0]), "low < high"),
        (lambda: Histogram([-np.inf], [np.inf]), "finite low < high.*-inf"),
        (lambda: JointHistogram([0.0], [1.0], 0), "n_bins >= 1"),
        (lambda: JointHistogram([0.0], [1.0], pairs=[(0, 2)]), r"from 0 to 0.*hold 1.*\(0, 2\)"),
        (lambda: JointHistogram(LOW, HIGH, pairs=[(0, -1)]), r"from 0 to 1.*\(0, -1\)"),
        (lambda: JointHistogram(LOW, HIGH, pairs=[(0, 1, 1)]), "pairs of coordinates"),
        (lambda: Spectrum(31, 0.1), "even number"),
        (lambda: Spectrum(32, 0.0), "positive time"),
    ],
)
def test_bad_bins_and_segments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", MAKE)
def test_what_begins_is_empty_and_of_the_same_kind(kind):
    z, full = states(), taken_in(MAKE[kind], states())
    empty = full.begin(2, 0.1)
    before = figures(full).copy()
    empty.update(z)
    np.testing.assert_array_equal(figures(empty), before)
    np.testing.assert_array_equal(figures(full), before)


def spectrum_of(z, *parameters):
    spectrum = Spectrum(*parameters)
    spectrum.update(z)
    return spectrum


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (Histogram(LOW, HIGH, 7), Histogram(LOW, [2.0, 4.0], 7), r"low.*3\.0\], 7.*4\.0\], 7"),
        (Histogram(LOW, HIGH, 7), Histogram(LOW, HIGH, 8), "n_bins"),
        (JointHistogram(LOW, HIGH, 7), JointHistogram([-3.0, -1.0], HIGH, 7), "low"),
        (
            JointHistogram(LOW, HIGH),
            JointHistogram(LOW, HIGH, pairs=[(1, 0)]),
            r"pairs.*\[\[0, 1\]\] and \[\[1, 0\]\]",
        ),
        (Spectrum(32, 0.1), Spectrum(32, 0.2), r"dt.*\(32, 0\.1\) and \(32, 0\.2\)"),
        (Spectrum(32, 0.1), Spectrum(64, 0.1), "n_segment"),
        (spectrum_of(states(), 4, 0.1), spectrum_of(states()[..., :1], 4, 0.1), "rank.*2 and 1"),
        (taken_in(Moments, states()), taken_in(Moments, states()[..., :1]), "rank.*2 and 1"),
    ],
)
def test_only_what_is_alike_adds_up(one, other, message):
    with pytest.raises(ValueError, match=message):
        one.merge(other)


@pytest.mark.parametrize("make", [Histogram, JointHistogram])
def test_bins_want_the_coordinates_of_the_states(make):
    for z in (states()[..., :1], np.concatenate([states(), states()], axis=2)):
        with pytest.raises(ValueError, match=rf"{z.shape[2]} values each.* hold 2"):
            make(LOW, HIGH).update(z)


def test_too_few_states_have_no_moments():
    one = taken_in(Moments, states()[:1, :1])
    np.testing.assert_array_equal(one.mean, states()[0, 0])
    for few, names in (
        (Moments(), ["mean", "covariance", "skewness", "kurtosis"]),
        (one, ["covariance", "skewness", "kurtosis"]),
    ):
        for name in names:
            with pytest.raises(ValueError, match=f"two, but there have been {few.n}"):
                getattr(few, name)


def test_no_segment_no_power():
    with pytest.raises(ValueError, match="64 states of one member"):
        spectrum_of(states(), 64, 0.1).power  # noqa: B018
