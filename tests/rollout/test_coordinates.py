"""What is wrong in a coordinate of little variance is found, and told by its name."""

import numpy as np
import pytest

import rom

# Eighteen whole periods of 60 rows, so that training means are zero.
STEP = 2 * np.pi / 60
T = STEP * np.arange(1080)
SMALL = 1e-2
TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


def blocks(*matrices):
    """A block-diagonal matrix."""
    n = sum(len(m) for m in matrices)
    out, i = np.zeros((n, n)), 0
    for m in matrices:
        out[i : i + len(m), i : i + len(m)] = m
        i += len(m)
    return out


def checked(states, A):
    """The check of the linear model ``dz/dt = A z`` beside the later two thirds of the states."""
    n = len(states) // 3
    plain = rom.Scale(scale=False)
    model = rom.ROM(rom.Identity(), rom.OperatorInference("cA"), preprocess=plain)
    model.fit(states[:n], t=T[:n])
    bound = model.dynamics_.bound_
    model.dynamics_ = rom.OperatorInference.from_operators(A=A, bound=bound)
    return rom.check(model, states[n:], t=T[n:], horizon=5.0, n_starts=40, thorough=True)


@pytest.fixture(scope="module")
def two_circles():
    """A rotation, and one at half its speed with a ten-thousandth of the energy."""
    return np.c_[np.cos(T), np.sin(T), SMALL * np.cos(T / 2), SMALL * np.sin(T / 2)]


def test_a_small_plane_that_turns_the_wrong_way_is_named(two_circles):
    report = checked(two_circles, blocks(TURN, -TURN / 2))
    data = report.data
    assert not data["exceeded"].any()  # the whole state hides it
    assert report.statistics_kept
    assert not report.trusted
    assert "no better than simple forecasts in z" in report.verdict
    assert "(0.01 % of the variance)" in report.verdict
    np.testing.assert_allclose(data["coordinate_share"].sum(), 1)
    # For the worst start |sin(φ + s) - sin(φ - s)| = 2 |cos φ sin s| passes 0.4 / √2 at s = 0.142,
    # and the error of persistence, 2 |cos(φ + s / 2) sin(s / 2)|, at s = 0.284; the lead is 2 s.
    time, simple = data["coordinate_reliable_time"], data["coordinate_simple_time"]
    np.testing.assert_allclose(time[2:], 3 * STEP)
    assert (simple[2:] >= 6 * STEP - 1e-9).all()
    assert any("each latent coordinate by itself" in reason for reason in report.reasons)


def test_the_right_model_loses_no_coordinate(two_circles):
    report = checked(two_circles, blocks(TURN, TURN / 2))
    assert report.trusted
    np.testing.assert_allclose(report.data["coordinate_reliable_time"], report.data["lead"][-1])
    assert "simple forecasts in" not in report.verdict


def test_rounding_is_no_coordinate(two_circles):
    dust = 1e-9 * np.random.default_rng(0).normal(size=len(T))
    report = checked(np.c_[two_circles, dust], blocks(TURN, TURN / 2, [[-1.0]]))
    assert report.trusted
