import numpy as np
import pytest

import rom
from rom import checks


@pytest.mark.parametrize("shape", [(1000, 3), (200, 100)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_value_is_found_in_any_layout(shape, bad):
    X = np.random.default_rng(0).normal(size=shape)
    X[71, 2] = bad
    for values in (X, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X.astype(np.float32)):
        with pytest.raises(ValueError, match=r"NaN or infinity: 1 values, .* in row 71, column 2"):
            checks.check_finite(values, "X")


@pytest.mark.parametrize("shape", [(1000, 3), (200, 100)])
def test_large_numbers_whose_squares_overflow_are_no_infinity(shape):
    X = np.full(shape, 1e200)
    checks.check_finite(X, "X")
    checks.check_finite(X[::2, ::2], "X")
    checks.check_finite(np.full(shape, 1e30, np.float32), "X")


def test_gaps_are_accepted_where_asked_and_infinities_are_not():
    X = np.array([[1.0, np.nan], [2.0, 3.0]])
    checks.check_finite(X, "X", allow_nan=True)
    X[1, 1] = np.inf
    with pytest.raises(ValueError, match="contains infinity: 1 values"):
        checks.check_finite(X, "X", allow_nan=True)


def test_largest_norm_is_that_of_a_row():
    X = np.random.default_rng(0).normal(size=(2 * checks.PART_ROWS + 5, 3))
    np.testing.assert_allclose(checks.largest_norm(X), np.linalg.norm(X, axis=1).max())


def test_what_is_masked_is_missing():
    X = np.ma.masked_array(np.arange(12).reshape(4, 3), mask=np.eye(4, 3, dtype=bool))
    with pytest.raises(ValueError, match="contains NaN or infinity: 3 values"):
        rom.POD(1).fit(X)
    assert rom.GappyPOD(1, random_state=0).fit(X).rank_ == 1
