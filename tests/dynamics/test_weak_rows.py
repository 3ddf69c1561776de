import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.chebyshev import chebval
from numpy.testing import assert_allclose, assert_array_equal

from rom.dynamics import weak_rows
from rom.dynamics.normal import normal
from rom.dynamics.windows import test_functions
from rom.threads import slices


def rows(*data, **options):
    """Those of all windows."""
    A, Y = zip(*weak_rows.weak_rows(*data, **options), strict=True)
    return np.concatenate(A), np.concatenate(Y)


def sampled(kind):
    """Noisy waves in three pieces, one of ten samples; the width and number of windows."""
    t = np.linspace(0, 32, 16001)
    Z = np.sin(t)[:, None] + np.random.default_rng(0).normal(size=(16001, 2))
    if "uneven" in kind:
        t = t + 0.0005 * np.sin(370 * t)
    other = {"far apart": (0.1, 40), "long": (10.3, 80), "few uneven": (0.012, 5000)}
    width, n_windows = other.get(kind, (0.2, None))
    pieces = [slice(0, 15000), slice(15000, 15010), slice(15010, 16001)]
    return Z, t, pieces, {"width": width, "n_windows": n_windows}


KINDS = ["even", "uneven", "few uneven", "far apart", "long"]


@given(rank=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_parts_hold_for_even_samples_of_waves(rank, seed):
    """The rows of θ = dz/dt and of z are the same numbers: no derivative was estimated."""
    rng = np.random.default_rng(seed)
    t = np.linspace(-1, 2, 151)
    frequency, phase = rng.uniform(0.5, 6, rank), rng.uniform(0, 6, rank)
    Z = np.sin(frequency * t[:, None] + phase)
    dZ = frequency * np.cos(frequency * t[:, None] + phase)
    A, Y = rows(dZ.__getitem__, Z, t, [slice(0, 151)], width=0.9)
    assert_allclose(A, Y, atol=1e-9 * np.abs(Y).max())


def test_gathered_points_have_the_moments_of_their_samples():
    """With any polynomial of degree 15, in whole blocks of samples and in the rest after them."""
    samples = np.random.default_rng(0).normal(size=(1010, 2))
    (points,) = weak_rows.gather(100, samples)
    place = (100 * (np.arange(12)[:, None] + (1 + weak_rows.CHEBYSHEV) / 2) - 0.5).ravel()
    for degree in range(16):
        factor = chebval(np.arange(1010) / 505 - 1, np.eye(16)[degree])
        at_points = chebval(place / 505 - 1, np.eye(16)[degree])
        assert_allclose(at_points @ points, factor @ samples, atol=1e-11)


def test_long_windows_that_overlap_are_integrated_to_rounding():
    """Of noise as of waves: gathered samples and all of them give the same integrals."""
    t = np.linspace(0, 20, 20001)
    Z = np.sin(t)[:, None] + np.random.default_rng(0).normal(size=(20001, 2))
    A, Y = rows(Z.__getitem__, Z, t, [slice(0, 20001)], width=6.0, n_windows=60)
    first = np.rint(np.linspace(0, 20001 - 6001, 60)).astype(int)
    value, slope = test_functions(t, t[first] + 3.0, 6.0)
    assert_allclose(A, value @ Z, atol=1e-12 * np.abs(A).max())
    assert_allclose(Y, slope @ Z, atol=1e-12 * np.abs(Y).max())


def test_uneven_times_converge_with_fourth_order():
    errors = []
    for n in (200, 400, 800):
        base = np.linspace(0, 3, n)
        t = base + 0.3 * (base[1] - base[0]) * np.sin(40 * base)
        A, Y = rows(np.cos(t)[:, None].__getitem__, np.sin(t)[:, None], t, [slice(0, n)], width=1.0)
        size = np.sqrt(np.mean(Y**2))
        errors.append(np.sqrt(np.mean((A - Y) ** 2)) / size)
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders.min() > 3.5
    assert errors[-1] < 1e-5


def test_white_noise_has_unit_variance_in_every_row():
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(0, 10, 500))
    noise = rng.normal(size=(500, 4000))
    Y = rows(noise[:, :1].__getitem__, noise, t, [slice(0, 500)], width=2.0, n_windows=40)[1]
    assert_allclose(Y.std(axis=1), 1.0, atol=0.05)


def test_number_of_windows():
    t = np.linspace(0, 10, 1001)
    pieces = [slice(0, 601), slice(601, 1001)]
    A, Y = rows(np.ones((1001, 1)).__getitem__, t[:, None], t, pieces, width=1.0, n_windows=80)
    assert abs(len(A) - 80) <= 1
    assert_allclose(A, Y)  # dt/dt = 1


@pytest.mark.parametrize("kind", KINDS)
def test_groups_of_windows_bring_the_rows_of_all_of_them(kind, monkeypatch):
    Z, t, pieces, options = sampled(kind)
    A, Y = rows(Z.__getitem__, Z, t, pieces, **options)
    monkeypatch.setattr(weak_rows, "GROUP_BYTES", 1)
    monkeypatch.setattr(weak_rows, "WIDTHS", 1)
    assert len(list(weak_rows.weak_rows(Z.__getitem__, Z, t, pieces, **options))) > 1
    for few, all_of_them in zip(rows(Z.__getitem__, Z, t, pieces, **options), (A, Y), strict=True):
        assert_allclose(few, all_of_them, atol=1e-12 * np.abs(all_of_them).max())


@pytest.mark.parametrize("kind", KINDS)
def test_terms_are_held_for_a_few_windows(kind, monkeypatch):
    """Of as many rows as a few windows have, and of no row much more than once."""
    Z, t, pieces, options = sampled(kind)
    inside, asked = options["width"] * 500 + 10, []

    def terms(part):
        asked.append(part.stop - part.start)
        return Z[part]

    monkeypatch.setattr(weak_rows, "GROUP_BYTES", 1)
    rows(terms, Z, t, pieces, **options)
    assert max(asked) <= min((weak_rows.WIDTHS + 2) * inside, 15000)
    assert sum(asked) < 1.25 * len(Z)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_blocks", [1, 7])
def test_sums_are_those_of_blocks_of_all_rows(kind, n_blocks, monkeypatch):
    Z, t, pieces, options = sampled(kind)
    A, Y = rows(Z.__getitem__, Z, t, pieces, **options)
    monkeypatch.setattr(weak_rows, "GROUP_BYTES", 1)
    monkeypatch.setattr(weak_rows, "WIDTHS", 1)
    sums = weak_rows.weak_sums(Z.__getitem__, Z, t, pieces, n_blocks=n_blocks, **options)
    blocks = slices(len(A), n_blocks)
    for found, block in zip(sums, blocks, strict=True):
        whole = normal(A[block], Y[block], exact=True)
        assert found.n_rows == whole.n_rows
        for name in ("gram", "cross", "squares"):
            expected = getattr(whole, name)
            assert_allclose(getattr(found, name), expected, atol=1e-11 * np.abs(expected).max())
        assert_allclose(found.root.T @ found.root, whole.root.T @ whole.root, rtol=1e-9, atol=1e-9)
    assert_array_equal(
        sum(found.n_rows for found in sums),
        weak_rows.count_windows(t, pieces, **options).sum(),
    )
