import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from rom.dynamics import field_rows
from rom.dynamics.field_rows import (
    along,
    default_widths,
    field_sums,
    slabs,
    window_matrices,
    window_steps,
)


def waves(n_time=400):
    """A noisy wave on two axes of space."""
    t, x, y = np.arange(n_time)[:, None, None], np.arange(30)[:, None], np.arange(33)
    noise = np.random.default_rng(0).normal(size=(n_time, 30, 33))
    return np.sin(0.1 * t + 0.3 * x - 0.2 * y) + 0.01 * noise


def counted(field, chunks):
    """A dask array, and a list that the numbers of its chunks are added to when computed."""
    reads = []

    def read(block, block_info=None):
        if block_info:
            reads.append(block_info[0]["chunk-location"])
        return block

    return da.from_array(field, chunks=chunks).map_blocks(read, meta=np.empty((0, 0, 0))), reads


def test_integration_by_parts_is_exact():
    """∫ φ dᵏf = (-1)ᵏ ∫ φ⁽ᵏ⁾ f, for k to 4, on samples."""
    x = np.linspace(0, 4, 201)
    matrices = window_matrices(201, x[1] - x[0], 1.6, range(5))
    size = np.abs(matrices[0] @ np.sin(2 * x)).max()
    for k, matrix in enumerate(matrices):
        derivative = 2.0**k * np.sin(2 * x + k * np.pi / 2)
        assert_allclose(matrix @ np.sin(2 * x), matrices[0] @ derivative, atol=1e-9 * 2**k * size)


def test_products_along_an_axis():
    field = np.random.default_rng(0).normal(size=(40, 30, 20))
    matrix = window_matrices(30, 0.1, 1.0, [0])[0]
    assert_allclose(along(matrix, field, 1), np.einsum("wn,tnx->twx", matrix.toarray(), field))


@given(
    width=st.floats(2, 60),
    chunks=st.lists(st.integers(1, 40), min_size=5, max_size=20).filter(lambda c: sum(c) > 60),
    lazy=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_windows_of_the_slabs_are_those_of_the_field(width, chunks, lazy):
    """None is missing, and none comes twice."""
    n = sum(chunks)
    field = np.random.default_rng(n).normal(size=(n, 2))
    given_field = da.from_array(field, chunks=(tuple(chunks), 2)) if lazy else field
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field_rows, "SLAB_BYTES", 800)
        parts = [
            window_matrices(len(slab), 1.0, width, [0])[0] @ slab
            for slab in slabs(given_field, *window_steps(1.0, width))
        ]
    assert_allclose(np.concatenate(parts), window_matrices(n, 1.0, width, [0])[0] @ field)


def test_only_a_slab_is_read_at_a_time_and_no_chunk_twice(monkeypatch):
    monkeypatch.setattr(field_rows, "SLAB_BYTES", 1)
    field, reads = counted(waves(), (20, 30, 33))
    with dask.config.set(scheduler="synchronous"):
        found = slabs(field, *window_steps(1.0, 48.0))
        first = next(found)
        assert sorted(reads) == [(k, 0, 0) for k in range(3)]  # 60 times hold a window of 49
        second = next(found)
        assert len(first) == 60
        assert len(second) < 49 + 60
        assert sorted(reads) == [(k, 0, 0) for k in range(6)]
        list(found)
    assert sorted(reads) == [(k, 0, 0) for k in range(20)]


@pytest.mark.parametrize("n_bytes", [1, 10**6])
def test_sums_are_those_of_all_windows(n_bytes, monkeypatch):
    field, steps, widths = waves(), [0.1, 0.5, 0.4], [4.0, 7.0, 6.0]
    whole = field_sums(field, steps, widths, 2, 2)
    monkeypatch.setattr(field_rows, "SLAB_BYTES", n_bytes)
    found = field_sums(da.from_array(field, chunks=(30, 10, 33)), steps, widths, 2, 2)
    assert found.n_rows == whole.n_rows
    for name in ("gram", "cross", "squares"):
        expected = getattr(whole, name)
        assert_allclose(getattr(found, name), expected, atol=1e-12 * np.abs(expected).max())
    assert found.root is not None


def test_widths_of_a_lazy_field_cost_one_pass():
    field, steps = waves(), [0.1, 0.5, 0.4]
    lazy, reads = counted(field, (50, 30, 33))
    with dask.config.set(scheduler="synchronous"):
        assert_array_equal(default_widths(lazy, steps), default_widths(field, steps))
    assert sorted(reads) == [(k, 0, 0) for k in range(8)]


def test_gaps_are_refused_with_their_place():
    field = waves()
    field[333, 4, 5] = np.nan
    with pytest.raises(ValueError, match=r"1 values are not finite, .* cell \(4, 5\) at time 333"):
        list(slabs(field, 20, 5))
