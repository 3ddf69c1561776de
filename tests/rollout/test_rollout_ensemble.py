"""Ensembles: every member runs as it would alone, wherever and beside whomever it runs."""

import itertools
import tracemalloc

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import rom
from rom.base import Dynamics, Polynomial
from rom.dynamics import season
from rom.rollout import RolloutError, Status, kicks, lanes, members, steppers
from rom.rollout.ensemble import _job, ensemble
from rom.rollout.reduce import Histogram, JointHistogram, Moments, Spectrum

LORENZ = Polynomial(
    np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 0]]),
    np.array([[-10.0, 10, 0, 0, 0], [28, -1, 0, -1, 0], [0, 0, -8 / 3, 0, 1]]),
)


class Field(Dynamics):
    """dz/dt = field(Z, u), given; runs as Python."""

    time = "continuous"
    _parameter_constraints = {"field": "no_validation", "terms": "no_validation"}  # noqa: RUF012

    def __init__(self, field, terms=None):
        self.field, self.terms = field, terms

    def _fit_series(self, series):
        self.bound_ = 200.0

    def _predict(self, Z, u):
        return self.field(Z) if u is None else self.field(Z, u)


class Compiled(Field):
    """The same as a polynomial."""

    def polynomial(self):
        return self.terms


class Map(Field):
    time = "discrete"


class CompiledMap(Compiled):
    time = "discrete"


def lorenz(z):
    x, y, w = z.T
    return np.stack([10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w], axis=1)


def fitted(model, rank=3, n_inputs=0, t=(0.0, 0.1)):
    u = np.zeros((2, n_inputs)) if n_inputs else None
    return model.fit(np.ones((2, rank)), t=t, u=u)


def starts(n=70, seed=0):
    """States around the attractor; one outside of the bound, one that soon leaves it."""
    z0 = np.random.default_rng(seed).normal(size=(n, 3)) * 5 + [0, 0, 25]
    z0[3:4], z0[5:6] = 150, [90, -90, 20]
    return z0


def assert_same_as_alone(runs, model, z0, t, **options):
    for i, start in enumerate(z0):
        alone = rom.rollout(model, start, t, throw=False, **options)
        assert runs.status[i] is alone.status
        np.testing.assert_array_equal(np.isnan(runs.z[i]), np.isnan(alone.z))
        np.testing.assert_allclose(runs.z[i], alone.z, rtol=1e-5, atol=1e-5)
        yield i, alone


@pytest.mark.parametrize("kind", [Field, Compiled])
def test_members_run_by_fixed_steps_as_they_would_alone(kind):
    model, z0, t = fitted(kind(lorenz, LORENZ)), starts(), np.linspace(0, 0.5, 51)
    runs = ensemble(model, z0, t, stepper="rk4")
    for i, alone in assert_same_as_alone(runs, model, z0, t, stepper="rk4"):
        assert (runs.t_end[i], runs.n_steps[i]) == (alone.t_end, alone.n_steps)
        np.testing.assert_allclose(runs.z[i], alone.z, rtol=1e-11, atol=1e-11)
    assert {status.name for status in runs.status} == {"COMPLETED", "LEFT_BOUND"}


@pytest.mark.parametrize("kind", [Field, Compiled])
@pytest.mark.parametrize("n_members", [2, 40])
def test_substeps_are_steps_between_the_outputs(kind, n_members):
    """A run of three steps to each output is a run of the short steps, of which outputs are left.

    Members that leave the bound between outputs end there.
    """
    model, z0 = fitted(kind(lorenz, LORENZ)), starts()[3 : 3 + n_members]
    t = np.linspace(0, 0.5, 61)
    fine = ensemble(model, z0, t, stepper="rk4", bound=40.0)
    runs = ensemble(model, z0, t[::3], stepper="rk4", substeps=3, bound=40.0)
    np.testing.assert_allclose(runs.z, fine.z[:, ::3], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(runs.t_end, fine.t_end, rtol=1e-14)
    np.testing.assert_array_equal(runs.n_steps, fine.n_steps)
    assert list(runs.status) == list(fine.status)
    between = np.abs(fine.t_end[:, None] - t[::3]).min(axis=1) > 0.001
    assert between.any() or n_members == 2
    options = {"stepper": "rk4", "substeps": 3, "bound": 40.0}
    for i, alone in assert_same_as_alone(runs, model, z0, t[::3], **options):
        assert (runs.t_end[i], runs.n_steps[i]) == (pytest.approx(alone.t_end), alone.n_steps)


def test_substeps_carry_inputs_and_noise():
    """Inputs run straight between the outputs; noise has the variance of the time, 4 errors."""
    terms = Polynomial(np.eye(2, dtype=np.int64), np.array([[-1.0, 1]]))
    model = fitted(Compiled(lambda Z, u: u - Z, terms), 1, n_inputs=1)
    t, z0 = np.linspace(0, 2, 5), np.ones((6, 1))
    fine = np.linspace(0, 2, 41)
    whole = ensemble(model, z0, fine, u=np.interp(fine, t, t**2)[:, None], stepper="rk4")
    parts = ensemble(model, z0, t, u=t[:, None] ** 2, stepper="rk4", substeps=10)
    np.testing.assert_allclose(parts.z, whole.z[:, ::10], rtol=1e-13)
    n = 4000
    options = {"stepper": "euler_maruyama", "substeps": 5, "random_state": 0}
    runs = ensemble(noisy(), np.zeros((n, 2)), [0.0, 0.5, 1.0], **options)
    step, covariance = np.eye(2) + 0.1 * noisy().L_, np.zeros((2, 2))
    for _ in range(10):
        covariance = step @ covariance @ step.T + 0.1 * noisy().Q_
    error = np.abs(np.cov(runs.z[:, -1].T) - covariance)
    deviation = np.sqrt(np.diag(covariance))
    assert np.all(error < 4 * np.sqrt(2 / n) * np.outer(deviation, deviation))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"substeps": 0}, "positive integer, but it is 0"),
        ({"substeps": 1.5}, "positive integer, but it is 1.5"),
        ({"substeps": 2, "stepper": "dopri5"}, "'dopri5' and substeps=2"),
    ],
)
def test_substeps_without_a_meaning_are_refused(options, message):
    model = fitted(Compiled(lorenz, LORENZ))
    for go in (ensemble, lambda m, z, t, **o: rom.rollout(m, z[0], t, **o)):
        with pytest.raises(ValueError, match=message):
            go(model, starts(5), [0.0, 1.0], **{"stepper": "rk4", **options})


@pytest.mark.parametrize("kind", [Field, Compiled])
def test_members_by_adaptive_steps_end_at_the_first_output_beyond_the_bound(kind):
    """dz/dt = z² from 0.2 reaches 5 at t = 4.8, on an orbit that dense output follows."""
    model = fitted(kind(lambda Z: Z**2, Polynomial(np.array([[2]]), np.array([[1.0]]))), 1)
    t, z0 = np.linspace(0, 6, 60001), np.full((5, 1), 0.2)
    runs = ensemble(model, z0, t, bound=5.0)
    assert {status.name for status in runs.status} == {"LEFT_BOUND"}
    np.testing.assert_allclose(runs.t_end, 4.8001, rtol=1e-12)
    np.testing.assert_array_equal((runs.z > 5).sum(axis=(1, 2)), 1)
    np.testing.assert_array_equal(np.isfinite(runs.z[:, :, 0]), t <= runs.t_end[:, None])


@pytest.mark.parametrize("kind", [Field, Compiled])
def test_adaptive_steps_follow_states_whose_squares_overflow(kind):
    model = fitted(kind(lambda Z: 1000 * Z, Polynomial(np.array([[1]]), np.array([[1e3]]))), 1)
    runs = ensemble(model, np.ones((5, 1)), np.linspace(0, 1, 11), bound=np.inf)
    alone = rom.rollout(model, [1.0], np.linspace(0, 1, 11), bound=np.inf, throw=False)
    assert {status.name for status in (*runs.status, alone.status)} == {"NOT_FINITE"}
    np.testing.assert_allclose(runs.t_end, np.log(np.finfo(float).max) / 1000, atol=1e-2)


def test_a_single_member_that_starts_outside_keeps_its_start():
    model, z0 = fitted(Compiled(lorenz, LORENZ)), np.array([[150.0, 150, 150]])
    runs = ensemble(model, z0, [0.0, 0.1], stepper="rk4")
    np.testing.assert_array_equal(runs.z, [[[150.0] * 3, [np.nan] * 3]])


def test_long_runs_that_are_not_stiff_stay_explicit():
    """What counts as stiff is against the budget of all outputs, described or given."""
    model = fitted(Compiled(lorenz, LORENZ))
    for t in (range(0, 60_000, 3), np.arange(0, 60_000, 3.0)):
        assert _job(model, t, None, "auto", 1, None, (), 0).method == "dopri5"
    assert _job(model, [0.0, 60_000.0], None, "auto", 1, None, (), 0).method == "exponential"


@pytest.mark.parametrize("kind", [Field, Compiled])
def test_members_run_by_their_own_steps_as_they_would_alone(kind):
    model, z0, t = fitted(kind(lorenz, LORENZ)), starts(40), np.linspace(0, 0.5, 26)
    runs = ensemble(model, z0, t)
    for i, alone in assert_same_as_alone(runs, model, z0, t):
        assert runs.t_end[i] == pytest.approx(alone.t_end, abs=0.03)
    assert len(set(runs.n_steps)) > 5


@pytest.mark.parametrize("stepper", ["midpoint", "exponential"])
def test_methods_without_lanes_run_one_by_one(stepper):
    model, z0, t = fitted(Compiled(lorenz, LORENZ)), starts(6), np.linspace(0, 0.2, 11)
    runs = ensemble(model, z0, t, stepper=stepper)
    for i, alone in assert_same_as_alone(runs, model, z0, t, stepper=stepper):
        assert (runs.t_end[i], runs.n_steps[i]) == (alone.t_end, alone.n_steps)


@pytest.mark.parametrize("kind", [Field, Compiled])
def test_dense_output_is_as_accurate_as_the_steps(kind):
    """Oscillators, of which each member takes far fewer steps than there are outputs."""
    turn = Polynomial(np.eye(2, dtype=np.int64), np.array([[0.0, 1], [-1, 0]]))
    model = fitted(kind(lambda Z: np.stack([Z[:, 1], -Z[:, 0]], axis=1), turn), 2)
    t, z0 = np.linspace(0, 3, 3001), np.array([[1.0, 0], [0, 2], [3, 4], [0.1, 0], [7, -7]])
    runs = ensemble(model, z0, t)
    c, s = np.cos(t)[:, None], np.sin(t)[:, None]
    exact = z0[:, None] * c + (z0[:, ::-1] * [1, -1])[:, None] * s
    np.testing.assert_allclose(runs.z, exact, atol=3e-7)
    assert runs.n_steps.max() < 300


@pytest.mark.parametrize("kind", [Field, Compiled])
@pytest.mark.parametrize("stepper", ["rk4", "dopri5"])
def test_inputs_are_linear_between_the_times(kind, stepper):
    """dz/dt = u - z with u = |t - 1|: z = u ∓ 1 apart from what decays."""
    terms = Polynomial(np.eye(2, dtype=np.int64), np.array([[-1.0, 1]]))
    model = fitted(kind(lambda Z, u: u - Z, terms), 1, n_inputs=1)
    t = np.linspace(0, 2, 41)
    u, z0 = np.abs(t - 1)[:, None], np.linspace(-3, 3, 9)[:, None]
    middle = (z0 - 2) * np.exp(-1) + 1
    early = 2 - t + (z0 - 2) * np.exp(-t)
    late = t - 2 + (middle + 1) * np.exp(1 - t)
    runs = ensemble(model, z0, t, u=u, stepper=stepper)
    np.testing.assert_allclose(runs.z[:, :, 0], np.where(t < 1, early, late), atol=3e-7)


@pytest.mark.parametrize("kind", [Map, CompiledMap])
def test_maps_hold_their_inputs_and_end_where_they_overflow(kind):
    terms = Polynomial(np.array([[2, 0], [0, 1]]), np.array([[1.0, 1]]))
    model = fitted(kind(lambda Z, u: Z**2 + u, terms), 1, n_inputs=1, t=(0.0, 1.0))
    z0 = np.array([[0.0], [1e-3], [0.5], [10.0], [-3.0]])
    u = np.linspace(0, 0.2, 12)[:, None]
    runs = ensemble(model, z0, np.arange(12.0), u=u, bound=np.inf)
    for i, alone in assert_same_as_alone(runs, model, z0, np.arange(12.0), u=u, bound=np.inf):
        assert (runs.t_end[i], runs.n_steps[i]) == (alone.t_end, alone.n_steps)
    assert [s.name for s in runs.status] == [*["COMPLETED"] * 3, *["NOT_FINITE"] * 2]


@pytest.mark.parametrize("rank", [3, 11])
def test_lanes_evaluate_what_the_polynomial_is_by_definition(rank):
    """A full quadratic map, narrow or wider than the caches take at once, with some cubic terms."""
    rng = np.random.default_rng(0)
    pairs = [np.eye(rank)[i] + np.eye(rank)[j] for i in range(rank) for j in range(i, rank)]
    cubic = rng.permuted(np.tile([2, 1, *[0] * (rank - 2)], (4, 1)), axis=1)
    exponents = np.vstack([np.zeros(rank), np.eye(rank), pairs, cubic]).astype(np.int64)
    coef = rng.normal(size=(rank, len(exponents)))
    coef[:, -4:] *= rng.random((rank, 4)) < 0.2
    model = fitted(CompiledMap(lambda Z: Z, Polynomial(exponents, coef)), rank, t=(0.0, 1.0))
    z0 = rng.normal(size=(35, rank))
    exact = np.prod(z0[:, None] ** exponents, axis=2) @ coef.T
    runs = ensemble(model, z0, [0.0, 1.0], bound=np.inf)
    np.testing.assert_allclose(runs.z[:, 1], exact, atol=1e-13 * np.abs(coef).sum())


def test_the_chain_of_stages_is_the_tableau():
    """Lanes keep no weights of stages: each follows from the slope before, by its own place."""
    places, weights = lanes.RK4
    np.testing.assert_array_equal(np.diag(places[1:], -1)[:, :3], steppers.RK4_STAGES)
    np.testing.assert_array_equal(weights, steppers.RK4_STEP)


def test_states_whose_squares_overflow_go_on():
    double = Polynomial(np.array([[1]]), np.array([[1e60]]))
    model = fitted(CompiledMap(lambda Z: 1e60 * Z, double), 1, t=(0.0, 1.0))
    runs = ensemble(model, np.ones((5, 1)), np.arange(7.0), bound=1e250)
    np.testing.assert_allclose(runs.z[0, :6, 0], 10.0 ** (60 * np.arange(6)))
    assert (runs.status[0], runs.t_end[0]) == (Status.LEFT_BOUND, 5.0)


@pytest.mark.parametrize("n_members", [1, 5])
@pytest.mark.parametrize("stepper", ["rk4", "dopri5", "midpoint"])
def test_starts_whose_squares_overflow_are_within_a_huge_bound(n_members, stepper):
    model = rom.OperatorInference.from_operators(A=[[0.0, 1.0], [-1.0, 0.0]])
    z0 = np.tile([1e200, 0.0], (n_members, 1))
    for bound, name in ((1e300, "COMPLETED"), (1e199, "LEFT_BOUND")):
        runs = ensemble(model, z0, [0.0, 0.1], stepper=stepper, bound=bound)
        assert {status.name for status in runs.status} == {name}


def noisy():
    model = rom.LinearInverseModel().fit(np.eye(2), np.eye(2))
    model.L_ = np.array([[-0.5, 1.0], [-1.0, -0.3]])
    model.Q_ = np.array([[1.0, 0.4], [0.4, 0.5]])
    return model


def test_noise_gives_the_mean_and_covariance_of_the_method():
    """Of z + h L z + noise of covariance h Q, which add up step by step; 4 standard errors."""
    model, h, n = noisy(), 0.1, 4000
    runs = ensemble(
        model, np.tile([3.0, -1.0], (n, 1)), np.arange(11) * h, stepper="euler_maruyama",
        random_state=0,
    )  # fmt: skip
    step, mean, covariance = np.eye(2) + h * model.L_, np.array([3.0, -1.0]), np.zeros((2, 2))
    for _ in range(10):
        mean, covariance = step @ mean, step @ covariance @ step.T + h * model.Q_
    deviation = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(runs.z[:, -1].mean(axis=0) - mean) < 4 * deviation / np.sqrt(n))
    error = np.abs(np.cov(runs.z[:, -1].T) - covariance)
    assert np.all(error < 4 * np.sqrt(2 / n) * np.outer(deviation, deviation))
    alike = np.corrcoef(runs.z[:, -1, 0].reshape(-1, 32)) - np.eye(n // 32)
    assert np.abs(alike).max() < 0.9  # no two streams are the same


def test_noise_does_not_depend_on_threads_or_chunks(monkeypatch):
    model, t, z0 = noisy(), np.arange(30) * 0.1, np.zeros((100, 2))
    options = {"stepper": "euler_maruyama", "random_state": 3}
    runs = [ensemble(model, z0, t, **options).z]
    job = _job(model, t, None, "euler_maruyama", 1, None, (), 3)
    runs += [members.run_members(job, z0, n_threads=n).z for n in (1, 3)]
    runs += [ensemble(model, da.from_array(z0, chunks=(64, 2)), t, **options).z.compute()]
    monkeypatch.setattr(members, "BUFFER", 4096)  # stretches of two or three times
    runs += [ensemble(model, z0, t, **options).z]
    for other in runs[1:]:
        np.testing.assert_array_equal(other, runs[0])
    assert not np.array_equal(runs[0][0], runs[0][1])


@pytest.mark.parametrize("compiled", [True, False])
def test_each_member_is_in_one_block(compiled):
    for n_members, n_threads in itertools.product((1, 31, 100, 1000, 5000), (1, 2, 16)):
        blocks = members._blocks(n_members, n_threads, compiled=compiled)
        assert [i for b in blocks for i in range(n_members)[b]] == list(range(n_members))
        sizes = [b.stop - b.start for b in blocks]
        assert sizes == sorted(sizes, reverse=True)
        if compiled and n_threads > 1:  # no thread waits for more than the smallest block
            assert sizes[-1] <= kicks.STREAM


def seasonal(period=4):
    """Two coordinates, coupled as the season has it, with noise of its season."""
    rng, n = np.random.default_rng(0), 4000
    u = season(np.arange(n), period)
    z = np.zeros((n, 2))
    for i in range(1, n):
        kick = np.exp(0.5 * u[i - 1, 0]) * rng.normal(size=2)
        z[i] = (0.6 + 0.3 * u[i - 1, :1]) * z[i - 1] + [0.2 * z[i - 1, 1], 0] + kick
    return rom.SeasonalModel(1, ridge=0.0, seasonal_ridge=0.0).fit(z, t=np.arange(n), u=u)


def test_a_noisy_map_has_the_covariance_of_theory_in_each_season():
    """That with C(s + 1) = A(s) C(s) A(s)' + R(s) R(s)', of which one period is a fixed point."""
    model, n, period = seasonal(), 8000, 4
    u = season(np.arange(12 * period), period)
    options = {"stepper": "noisy_map", "random_state": 1, "bound": np.inf}
    runs = ensemble(model, np.zeros((n, 2)), np.arange(len(u)), u=u, **options).z
    roots, theory, deviations = model.noise_root(u), np.zeros((2, 2)), []
    for i, R in enumerate(roots[:-1]):
        A = model.predict(np.eye(2), u=u[[i, i]]).T
        theory = A @ theory @ A.T + R @ R.T
        deviation = np.sqrt(np.diag(theory))
        error = np.abs(np.cov(runs[:, i + 1].T) - theory)
        assert np.all(error < 5 * np.sqrt(2 / n) * np.outer(deviation, deviation))
        deviations.append(deviation)
    np.testing.assert_allclose(deviations[-1], deviations[-1 - period], rtol=1e-4)
    assert np.ptp(deviations[-period:], axis=0).min() > 0.2 * deviations[-1].max()


def test_noise_of_the_season_does_not_depend_on_stretches(monkeypatch):
    model, u = seasonal(), season(np.arange(20), 4)
    options = {"u": u, "stepper": "noisy_map", "random_state": 3}
    once = ensemble(model, np.ones((40, 2)), np.arange(20), **options).z
    monkeypatch.setattr(members, "BUFFER", 4096)
    np.testing.assert_array_equal(
        ensemble(model, np.ones((40, 2)), np.arange(20), **options).z, once
    )
    silent = ensemble(model, np.ones((40, 2)), np.arange(20), u=u).z
    assert np.ptp(silent, axis=0).max() == 0


@pytest.mark.parametrize(
    "times",
    [
        range(0, 40, 2),
        pd.RangeIndex(0, 40, 2),
        xr.indexes.RangeIndex.arange(0.0, 40.0, 2.0, dim="time")
        if hasattr(xr.indexes, "RangeIndex")
        else range(0, 40, 2),
    ],
    ids=["range", "pandas", "xarray"],
)
def test_even_times_need_no_array(times):
    decay = rom.OperatorInference("A").fit([[1.0], [2.0]], [[-0.1], [-0.2]])
    z0 = np.arange(1.0, 8)[:, None]
    runs = ensemble(decay, z0, times, stepper="rk4")
    assert runs.t is times
    np.testing.assert_allclose(
        runs.z, ensemble(decay, z0, np.arange(0, 40, 2), stepper="rk4").z, rtol=1e-14
    )
    assert runs.t_end[0] == 38


@pytest.mark.parametrize("stepper", ["auto", "rk4", "midpoint"])
def test_a_rollout_can_be_reduced(stepper):
    """Its states but the first and the last are left out; where it ends early it says so."""
    model, t = fitted(Compiled(lorenz, LORENZ)), np.arange(200) * 0.01
    whole = rom.rollout(model, [1.0, 2, 25], t, stepper=stepper)
    moments = Moments()
    run = rom.rollout(model, [1.0, 2, 25], t, stepper=stepper, reduce=[moments])
    assert (run.status, run.t_end, run.n_steps) == (whole.status, whole.t_end, whole.n_steps)
    np.testing.assert_array_equal(run.t, t[[0, -1]])
    np.testing.assert_array_equal(run.z, whole.z[[0, -1]])
    np.testing.assert_allclose(run.reduced[0].mean, whole.z.mean(axis=0), rtol=1e-12)
    assert (run.reduced[0].n, moments.n) == (200, 0)
    with pytest.raises(RolloutError, match="left the bound") as early:
        rom.rollout(model, [1.0, 2, 25], t, stepper=stepper, reduce=[moments], bound=30.0)
    assert np.isnan(early.value.rollout.z[1]).all()
    assert 0 < early.value.rollout.reduced[0].n < 200


@pytest.mark.parametrize("n_members", [1, 40])
@pytest.mark.parametrize("stepper", ["rk4", "dopri5"])
def test_reductions_are_those_of_the_states(monkeypatch, n_members, stepper):
    monkeypatch.setattr(members, "BUFFER", 8 * 3 * 64 * n_members)  # stretches of 64 times
    model, z0 = fitted(Compiled(lorenz, LORENZ)), starts(n_members, seed=2)
    t = np.arange(500) * 0.01
    make = [Moments(), Histogram([-30.0] * 3, [60.0] * 3), Spectrum(64, 0.01)]
    runs = ensemble(model, z0, t, stepper=stepper, reduce=make)
    z = ensemble(model, z0, t, stepper=stepper).z
    expected = [Moments(), Histogram([-30.0] * 3, [60.0] * 3), Spectrum(64, 0.01)]
    for reduction in expected:
        reduction.update(z)
    moments, histogram, spectrum = runs.reduced
    np.testing.assert_array_equal(runs.z[:, 0], z[:, 0])
    assert (moments.n, spectrum.n, make[0].n) == (expected[0].n, expected[2].n, 0)
    exact = stepper == "rk4"
    np.testing.assert_allclose(moments.mean, expected[0].mean, rtol=1e-10 if exact else 0.2)
    if exact:
        np.testing.assert_allclose(runs.z, z[:, [0, -1]], rtol=1e-9)
        np.testing.assert_array_equal(histogram.counts, expected[1].counts)
        np.testing.assert_allclose(spectrum.power, expected[2].power, rtol=1e-8)


def test_memory_does_not_grow_with_the_number_of_steps(monkeypatch):
    monkeypatch.setattr(members, "BUFFER", 2**18)
    model = fitted(Compiled(lorenz, LORENZ), t=(0.0, 0.01))
    low, high = [-30.0] * 3, [60.0] * 3

    def peak(n):
        times = type("Even", (), {"start": 0.0, "step": 0.01, "size": n})
        tracemalloc.start()
        runs = ensemble(
            model, [[1.0, 2, 20]], times, stepper="rk4",
            reduce=[Moments(), Histogram(low, high), Spectrum(256, 0.01)],
        )  # fmt: skip
        assert runs.reduced[0].n == n
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(400_000) < 1.1 * peak(50_000)


@pytest.mark.parametrize(("n_members", "stepper"), [(1, "rk4"), (1, "midpoint"), (5, "midpoint")])
def test_memory_does_not_grow_with_substeps(monkeypatch, n_members, stepper):
    """Of members that run one after the other, which hold no states between outputs."""
    monkeypatch.setattr(members, "BUFFER", 2**15)
    model, peaks = fitted(Compiled(lorenz, LORENZ)), []
    for substeps in (1, 1, 100):  # the first loads what it needs
        tracemalloc.start()
        ensemble(
            model, np.full((n_members, 3), 1.0), np.arange(400) * 0.01, stepper=stepper,
            substeps=substeps, reduce=[Moments()],
        )  # fmt: skip
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1]


def test_dask_starts_stay_lazy_and_reductions_are_computed():
    model, z0, t = fitted(Compiled(lorenz, LORENZ)), starts(), np.linspace(0, 0.5, 51)
    lazy, here = da.from_array(z0, chunks=(32, 2)), ensemble(model, z0, t, stepper="rk4")
    runs = ensemble(model, lazy, t, stepper="rk4")
    assert isinstance(runs.z, da.Array)
    np.testing.assert_allclose(runs.z.compute(), here.z, rtol=1e-12)
    np.testing.assert_array_equal(runs.t_end.compute(), here.t_end)
    assert list(runs.status.compute()) == list(here.status)
    reduced = ensemble(model, lazy, t, stepper="rk4", reduce=[Moments()])
    whole = Moments()
    whole.update(here.z)
    assert reduced.reduced[0].n == whole.n
    np.testing.assert_allclose(reduced.reduced[0].covariance, whole.covariance)
    assert list(reduced.status) == list(here.status)


def test_the_same_call_runs_on_a_cluster():
    distributed = pytest.importorskip("distributed")
    z0, t = starts(64), np.linspace(0, 0.2, 21)
    model = rom.OperatorInference("AH").fit(z0, lorenz(z0))
    here = ensemble(model, z0, t, stepper="rk4")
    with distributed.Client(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ):
        there = ensemble(model, da.from_array(z0, chunks=(32, 3)), t, stepper="rk4")
        np.testing.assert_allclose(there.z.compute(), here.z, rtol=1e-9)


def test_neural_models_run_as_one_batch():
    t = np.linspace(0, 6, 61)
    Z = np.column_stack([np.cos(t), -np.sin(t)])
    model = rom.NeuralODE(hidden=(8,), window=None, max_iter=1, random_state=0).fit(Z, t=t)
    z0 = Z[:40] + 0.01
    for stepper in ("rk4", "dopri5"):
        runs = ensemble(model, z0, t[:11], stepper=stepper)
        for i in range(0, 40, 13):
            alone = rom.rollout(model, z0[i], t[:11], stepper=stepper)
            np.testing.assert_allclose(runs.z[i], alone.z, atol=1e-6)


def test_one_time_gives_the_starts_back():
    model, z0 = fitted(Compiled(lorenz, LORENZ)), starts(9)
    for stepper in ("rk4", "dopri5", "midpoint"):
        runs = ensemble(model, z0, [2.0], stepper=stepper)
        np.testing.assert_array_equal(runs.z[:, 0], z0)
        assert set(runs.t_end) == {2.0}


@pytest.mark.parametrize(
    ("z0", "t", "options", "message"),
    [
        ([1.0, 2, 3], [0, 1], {}, r"\(n_members, 3\).*shape is \(3,\)"),
        ([[1.0, 2]], [0, 1], {}, r"shape is \(1, 2\)"),
        (np.zeros((0, 3)), [0, 1], {}, r"shape is \(0, 3\)"),
        ([[0, 0, 0], [1.0, np.nan, 0]], [0, 1], {}, r"z0\[1, 1\] is nan"),
        ([[1.0, 2, 3]], [], {}, "at least one time"),
        ([[1.0, 2, 3]], range(0), {}, "there are 0"),
        ([[1.0, 2, 3]], range(5, 0, -1), {}, "step=-1"),
        ([[1.0, 2, 3]], [0, 1], {"stepper": "euler"}, "stepper must be one of"),
        ([[1.0, 2, 3]], [0, 1], {"stepper": "euler_maruyama"}, "model with noise"),
        ([[1.0, 2, 3]], [0, 1], {"stepper": "noisy_map"}, "for a continuous model"),
        ([[1.0, 2, 3]], [0, 1], {"bound": -1}, "bound must be a positive"),
        ([[1.0, 2, 3]], [0, 1], {"bound": "a"}, "bound must be a positive.*'a'"),
        ([[1.0, 2, 3]], [0, 1], {"stepper": "rk4", "substeps": 10**20}, r"1e\+09 at most"),
        ([[1j, 2, 3]], [0, 1], {}, "z0 must hold real numbers.*complex128"),
        ([["a", "b", "c"]], [0, 1], {}, "z0 must hold real numbers.*<U1"),
        ([[1.0, 2, 3], [1.0]], [0, 1], {}, "z0 must be an array of real numbers.*a list"),
        (np.ma.array(np.ones((2, 3)), mask=np.eye(2, 3)), [0, 1], {}, r"z0\[0, 0\] is nan"),
        (da.zeros((4, 2)), [0, 1], {}, r"shape is \(4, 2\)"),
        (da.zeros((0, 3)), [0, 1], {}, r"shape is \(0, 3\)"),
        ([[1.0, 2, 3]], range(10**19), {}, r"1e\+18 output times at most.*range\(0, 10+\)"),
        ([[1.0, 2, 3]], range(2 * 10**18), {}, r"1e\+18 output times at most.*range\(0, 20+\)"),
    ],
)
def test_what_does_not_fit_is_refused(z0, t, options, message):
    with pytest.raises(ValueError, match=message):
        ensemble(fitted(Compiled(lorenz, LORENZ)), z0, t, **options)


def test_it_wants_a_latent_model():
    with pytest.raises(TypeError, match="latent model"):
        ensemble(rom.POD(), [[1.0]], [0.0, 1.0])


def test_times_without_a_length_are_refused():
    with pytest.raises(TypeError, match=r"a length.*slice\(0, 10, 1\)"):
        ensemble(fitted(Compiled(lorenz, LORENZ)), [[1.0, 2, 3]], slice(0, 10, 1))


EVEN, BOUNDS = np.arange(100) * 0.1, ([-30.0] * 3, [60.0] * 3)


@pytest.mark.parametrize(
    ("reduction", "t", "message"),
    [
        (Spectrum(64, 0.5), EVEN, r"dt=0\.5 .*step is 0\.1\."),
        (Spectrum(64, 1.5), range(100), r"dt=1\.5 .*step is 1\."),
        (Spectrum(64, 0.1), EVEN**1.01, "no even step"),
        (Histogram([-30.0], [30.0]), EVEN, "3 values each.*hold 1"),
        (Histogram([-30.0] * 2, [30.0] * 2), EVEN, "3 values each.*hold 2"),
        (JointHistogram([-20.0] * 2, [20.0] * 2), EVEN, "3 values each.*hold 2"),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_reductions_that_do_not_fit_are_refused_before_the_run(
    monkeypatch, reduction, t, message, lazy
):
    monkeypatch.setattr(members, "_run_block", None)
    z0 = da.ones((40, 3), chunks=(20, 3)) if lazy else np.ones((40, 3))
    with pytest.raises(ValueError, match=message):
        ensemble(fitted(Compiled(lorenz, LORENZ)), z0, t, reduce=[reduction])


def test_sums_of_another_rank_are_refused_before_the_run():
    moments, spectrum = Moments(), Spectrum(64, 0.1)
    for reduction in (moments, spectrum):
        reduction.update(np.random.default_rng(0).normal(size=(1, 100, 2)))
        with pytest.raises(ValueError, match=r"rank.*2 and 3"):
            ensemble(fitted(Compiled(lorenz, LORENZ)), np.ones((4, 3)), EVEN, reduce=[reduction])


@pytest.mark.parametrize("reduce", [Moments(), [Moments], [Moments(), 3], None])
def test_reduce_wants_a_sequence_of_reductions(reduce):
    with pytest.raises(TypeError, match=r"sequence of reductions.*but it is .*(Moments|None)"):
        ensemble(fitted(Compiled(lorenz, LORENZ)), np.ones((4, 3)), EVEN, reduce=reduce)


@pytest.mark.parametrize("lazy", [False, True])
def test_earlier_sums_go_on_and_each_state_counts_once(lazy):
    model, t = fitted(Compiled(lorenz, LORENZ)), np.arange(11) * 0.01
    groups = starts(400, seed=1), starts(400, seed=2)
    new, runs = [Moments(), Histogram(*BOUNDS), JointHistogram(*BOUNDS), Spectrum(4, 0.01)], []
    earlier = new
    for z0 in groups:
        z0 = da.from_array(z0, chunks=(64, 3)) if lazy else z0
        runs.append(ensemble(model, z0, t, stepper="rk4", reduce=earlier))
        earlier = runs[-1].reduced
    for z0, whole in zip((groups[0], np.vstack(groups)), runs, strict=True):
        z = ensemble(model, z0, t, stepper="rk4").z
        expected = [r.begin(3, 0.01) for r in new]
        for reduction in expected:
            reduction.update(z)
        moments, histogram, joint, spectrum = whole.reduced
        assert (moments.n, spectrum.n) == (np.isfinite(z[..., 0]).sum(), expected[3].n)
        np.testing.assert_allclose(moments.kurtosis, expected[0].kurtosis)
        np.testing.assert_array_equal(histogram.counts, expected[1].counts)
        np.testing.assert_array_equal(joint.counts, expected[2].counts)
        np.testing.assert_allclose(spectrum.power, expected[3].power)


def test_a_bad_start_in_a_chunk_is_named_by_its_row_in_the_whole():
    z0 = np.zeros((70, 3))
    z0[50, 1] = np.nan
    lazy = ensemble(fitted(Compiled(lorenz, LORENZ)), da.from_array(z0, chunks=(32, 3)), [0, 1])
    with pytest.raises(ValueError, match=r"z0\[50, 1\] is nan"):
        lazy.z.compute()


def test_chunks_without_members_are_passed_over():
    model, z0, t = fitted(Compiled(lorenz, LORENZ)), starts(8, seed=1), np.arange(5) * 0.01
    lazy = da.from_array(z0, chunks=(2, 3))
    chosen = lazy[lazy[:, 0] == z0[4, 0]].compute_chunk_sizes()
    assert chosen.chunks[0] == (0, 0, 1, 0)
    alone = ensemble(model, z0[4:5], t, stepper="rk4").z
    np.testing.assert_allclose(ensemble(model, chosen, t, stepper="rk4").z.compute(), alone)
    moments = ensemble(model, chosen, t, stepper="rk4", reduce=[Moments()]).reduced[0]
    np.testing.assert_allclose(moments.mean, alone[0].mean(axis=0))
