"""What is wrong in a coordinate of little variance is found, and told by its name."""

import numpy as np
import pytest

import rom
from rom.rollout.changes import squares
from rom.rollout.free_runs import FreeRun

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


def checked(states, A, c=None, **options):
    """The check of the linear model ``c + A z`` beside the later two thirds of the states."""
    n = len(states) // 3
    plain = rom.Scale(scale=False)
    model = rom.ROM(rom.Identity(), rom.OperatorInference("cA"), preprocess=plain)
    model.fit(states[:n], t=T[:n])
    c = np.zeros(len(A)) if c is None else c
    bound = model.dynamics_.bound_
    model.dynamics_ = rom.OperatorInference.from_operators(c=c, A=A, bound=bound)
    options = {"horizon": 5.0, "n_starts": 40, "thorough": True, **options}
    return rom.check(model, states[n:], t=T[n:], **options)


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
    # and the error of persistence, 2 |cos(φ + s / 2) sin(s / 2)|, at s = 0.284; the lead is 2 s,
    # of which the last within counts.
    time, simple = data["coordinate_reliable_time"], data["coordinate_simple_time"]
    np.testing.assert_allclose(time[2:], 2 * STEP)
    assert (simple[2:] >= 5 * STEP - 1e-9).all()
    # A rate of the wrong sign is off by twice its size.
    np.testing.assert_allclose(data["change_error"], [0, 0, 2, 2], atol=5e-3)
    assert (data["change_error_low"][2:] > 1.9).all()
    assert "an equation worse than none for z" in report.verdict
    assert any("by 2 times its size" in reason for reason in report.reasons)


def test_the_right_model_loses_no_coordinate(two_circles):
    report = checked(two_circles, blocks(TURN, TURN / 2))
    assert report.trusted
    np.testing.assert_allclose(report.data["coordinate_reliable_time"], report.data["lead"][-1])
    np.testing.assert_allclose(report.data["change_error"], 0, atol=5e-3)
    assert "simple forecasts in" not in report.verdict
    assert "equation" not in report.verdict


def test_a_coordinate_that_is_pulled_back_hides_its_equation_from_forecasts():
    """A stiff coordinate stays near, though its drive has the wrong sign.

    ``dz/dt = λ (0.3 - z) ± cos t``: with the other sign z is 2 / λ off, which is little beside 0.3,
    and dz/dt by twice its size.
    """
    rate, offset = 50.0, 0.3
    z = offset + (rate * np.cos(T) + np.sin(T)) / (rate**2 + 1)
    states = np.c_[np.cos(T), np.sin(T), z]
    states[: len(T) // 3, 2] -= offset  # in training it was elsewhere
    A = blocks(TURN, [[-rate]])
    for sign in (1.0, -1.0):
        A[2, 0] = sign
        report = checked(states, A, np.array([0.0, 0.0, rate * offset]))
        assert report.data["coordinate_reliable_time"][2] == pytest.approx(report.data["lead"][-1])
        assert (report.data["change_error_low"][2] > 1) == (sign < 0)
        assert report.trusted == (sign > 0)


def test_that_no_coordinate_is_forecast_is_said_so(two_circles):
    text = str(checked(two_circles[:, :2], -TURN))
    assert "no latent coordinate by itself is reliable for longer than its best simple" in text
    assert "but for" not in text


def test_rounding_is_no_coordinate(two_circles):
    dust = 1e-9 * np.random.default_rng(0).normal(size=len(T))
    report = checked(np.c_[two_circles, dust], blocks(TURN, TURN / 2, [[-1.0]]))
    assert report.trusted
    assert np.isnan(report.data["change_error"][4])


class Rates:
    """A model in continuous time."""

    time = "continuous"

    def __init__(self, rate):
        self.rate = rate

    def predict(self, Z, *, u=None):
        return self.rate(Z)


def test_changes_are_integrals_of_rates():
    t = np.cumsum(np.random.default_rng(0).uniform(0.5, 1, size=50))
    run = FreeRun(np.nan, t[:, None] * [1.0, 2.0], t, None)
    error, change = squares(Rates(lambda Z: np.ones_like(Z) * [1.0, 1.0]), run)
    np.testing.assert_allclose(error, change * [0, 1 / 4], atol=1e-20)
    np.testing.assert_allclose(np.sqrt(change), np.c_[t[2:] - t[:-2]] * [1, 2])


@pytest.mark.parametrize("decay", [0.1, 1.0, 10.0, 1000.0])
def test_neither_coarse_rows_nor_noise_make_a_right_equation_worse_than_none(decay):
    rng, t = np.random.default_rng(0), np.arange(3.0)
    for noise in (0.0, 0.3, 3.0):
        states = np.exp(-decay * t) * rng.normal(size=(2000, 1)) + noise * rng.normal(
            size=(2000, 3)
        )
        found = [
            squares(Rates(lambda z: -decay * z), FreeRun(z, z, t, None)) for z in states[..., None]
        ]
        error, change = np.concatenate(found, axis=1)
        assert error.mean() <= 1.05 * change.mean()


def test_of_a_rough_path_no_equation_is_blamed():
    """Of a right model of an Ornstein-Uhlenbeck process the rates along a path say little."""
    rng, z = np.random.default_rng(0), np.zeros((1080, 1))
    for i in range(1, len(z)):
        z[i] = np.exp(-1.0) * z[i - 1] + rng.normal()
    report = checked(z, np.array([[-1 / STEP]]))
    assert np.isnan(report.data["change_error"][0])
    assert "equation" not in report.verdict
