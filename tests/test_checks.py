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
    fill = np.ma.masked_array([0.0, 1.0, 1e20], mask=[False, False, True])
    np.testing.assert_array_equal(checks.real_array(fill, "z0"), [0, 1, np.nan])
    with pytest.raises(ValueError, match="u contains NaN or infinity: 1 values"):
        checks.check_inputs(fill, 3)
    with pytest.raises(ValueError, match=r"t holds 1 values that are not finite.* row 2"):
        checks.check_times(fill, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0 + 2j, 0.0], "must hold real numbers, but its dtype is complex128"),
        (np.ma.masked_array([1j, 0], mask=[0, 1]), "dtype is complex128"),
        (np.array(["2000-01-01", "2001-01-01"], "M8[D]"), r"dtype is datetime64\[D\]"),
        (np.array([1, 2], "m8[s]"), r"dtype is timedelta64\[s\]"),
        (["1", "2"], "dtype is <U1"),
        ([b"1", b"2"], "dtype is "),
        ([[1.0, 2.0], [3.0]], "must be an array of real numbers, but got a list: .*inhomogeneous"),
        ({"a": 1.0}, "but got a dict: "),
        (np.array([1.0, 2j], object), "but got a ndarray: "),
    ],
)
def test_what_is_not_real_numbers_is_named(values, message):
    with pytest.raises(ValueError, match="^z0 .*" + message):
        checks.real_array(values, "z0")
    with pytest.raises(ValueError, match="^u .*" + message):
        checks.check_inputs(values, 2)


def test_real_numbers_of_any_kind_pass():
    for values in ([True, False], np.float32([1, 0]), [np.int8(1), 0.0], np.array([1, 0], object)):
        array = checks.real_array(values, "z0")
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, [1, 0])


@pytest.mark.parametrize("t", [[-1e308, 1e308], [-1e308, 0.0, 1e308]])
def test_times_have_a_span(t):
    with pytest.raises(ValueError, match=r"t spans more .* from -1e\+308 to 1e\+308"):
        checks.check_times(t, len(t))
