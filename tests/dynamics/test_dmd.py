import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import rom
from rom.dynamics import DMD
from rom.dynamics.linear import Band, keep_growth


def iterate(A, z0, n, B=None, u=None):
    Z = [np.asarray(z0, float)]
    for k in range(n - 1):
        Z.append(A @ Z[-1] + (0 if B is None else B @ u[k]))
    return np.array(Z)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_linear_map_and_its_spectrum_are_recovered_from_several_trajectories(seed, rank):
    rng = np.random.default_rng(seed)
    A = np.linalg.qr(rng.normal(size=(rank, rank)))[0] * 0.97
    runs = [
        iterate(A, z0, n) for z0, n in zip(rng.normal(size=(5, rank)), (3, 9, 2, 5, 4), strict=True)
    ]
    label = np.repeat(np.arange(5), [3, 9, 2, 5, 4])
    model = DMD().fit(np.concatenate(runs), trajectory=label)
    assert_allclose(model.A_, A, atol=1e-8)
    assert_allclose(np.abs(model.eigenvalues_), 0.97, rtol=1e-8)


def test_inputs():
    rng = np.random.default_rng(0)
    A, B, u = (
        np.array([[0.9, 0.1], [-0.2, 0.8]]),
        np.array([[1.0], [0.5]]),
        rng.normal(size=(50, 1)),
    )
    Z = iterate(A, [1, 0], 50, B, u)
    model = DMD().fit(Z, t=np.arange(50.0), u=u)
    assert_allclose(model.A_, A, atol=1e-10)
    assert_allclose(model.B_, B, atol=1e-10)
    assert_allclose(model.predict(Z[:-1], u=u[:-1]), Z[1:], atol=1e-10)
    exponents, coef = model.polynomial()
    value = np.prod(np.hstack([Z, u])[:, None] ** exponents, axis=2) @ coef.T
    assert_allclose(value, model.predict(Z, u=u), rtol=1e-10)


def test_pairs_do_not_cross_a_gap_in_time():
    A = np.array([[0.5]])
    Z = np.concatenate([iterate(A, [1.0], 5), iterate(A, [7.0], 5)])
    t = np.r_[np.arange(5.0), 20 + np.arange(5.0)]
    assert_allclose(DMD().fit(Z, t=t).A_, A)


def test_uneven_times_are_refused():
    with pytest.raises(ValueError, match="DMD needs evenly sampled times"):
        DMD().fit(np.ones((4, 1)), t=[0.0, 1.0, 2.2, 3.0])


def test_rates_are_per_unit_of_time_and_slowest_first():
    dt, rates = 0.05, np.array([-0.1, -0.4 + 2j, -0.4 - 2j])
    t = dt * np.arange(60)
    Z = np.exp(np.outer(t, rates)) @ np.array([[1, 0, 0], [0, 0.5, -0.5j], [0, 0.5, 0.5j]])
    model = DMD().fit(Z.real, t=t)
    assert_allclose(model.rates_, rates, atol=1e-9)
    assert model.dt_ == pytest.approx(dt)


def test_equations_are_of_the_next_state():
    model = DMD(names=["a"]).fit([[1.0], [0.5], [0.25]])
    assert model.equations() == ["a[n+1] = 0.5 a"]
    assert model.equations(format="latex") == [r"\left(a\right)^{+} = 0.5 a"]


def test_forecast_under_inputs_unlike_those_seen():
    rng = np.random.default_rng(1)
    A, B = np.array([[0.9, 0.1], [-0.2, 0.8]]), np.array([[1.0], [0.5]])
    t, u = 0.5 * np.arange(50), rng.normal(size=(50, 1))
    Z = 2 + iterate(A, [1, 0], 50, B, u)
    new = 3 + 5 * np.sin(0.3 * np.arange(40))[:, None]
    model = DMD(constant=True).fit(Z, t=t, u=u)
    truth = 2 + iterate(A, [0, 1], 40, B, new)
    assert_allclose(rom.rollout(model, truth[0], t[:40], u=new).z, truth, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
def test_constant_makes_the_origin_irrelevant(seed, rank, total):
    rng = np.random.default_rng(seed)
    A = np.linalg.qr(rng.normal(size=(rank, rank)))[0] * 0.9
    u, B, shift = rng.normal(size=(30, 2)), rng.normal(size=(rank, 2)), rng.normal(size=rank)
    Z = shift + iterate(A, rng.normal(size=rank), 30, B, u)
    model = DMD(constant=True, total_least_squares=total).fit(Z, u=u)
    assert_allclose(model.A_, A, atol=1e-8)
    assert_allclose(model.B_, B, atol=1e-8)
    assert_allclose(model.c_, shift - A @ shift, atol=1e-8)
    assert_allclose(model.predict(Z[:-1], u=u[:-1]), Z[1:], atol=1e-8)


def test_constant_finds_the_spectrum_from_part_of_a_period():
    t = 0.1 * np.arange(30)  # half a period; the mean is far from the equilibrium
    Z = np.exp(-0.1 * t)[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)
    Z = Z - Z.mean(axis=0)
    model = DMD(constant=True).fit(Z, t=t)
    assert_allclose(model.rates_, [-0.1 + 1j, -0.1 - 1j], atol=1e-9)
    assert np.abs(DMD().fit(Z, t=t).rates_ - model.rates_).min() > 0.05
    assert_allclose(rom.rollout(model, Z[0], t).z, Z, atol=1e-9)
    assert DMD(constant=True, names=["a"]).fit([[1.0], [2.0], [2.5]]).equations() == [
        "a[n+1] = 0.5 a + 1.5"
    ]


def noisy_rotation(n, noise, seed):
    t = 0.1 * np.arange(n)
    Z = np.stack([np.cos(2 * t), np.sin(2 * t)], axis=1)
    return t, Z + noise * np.random.default_rng(seed).normal(size=Z.shape)


def test_total_least_squares_is_consistent_where_least_squares_is_not():
    # Noise of variance s² on rows of mean square 1/2 shrinks the least-squares map by
    # 1 / (1 + 2 s²), for ever.
    t, Z = noisy_rotation(40_000, 0.3, 0)
    assert_allclose(np.abs(DMD().fit(Z, t=t).eigenvalues_), 1 / (1 + 2 * 0.3**2), rtol=0.01)
    total = DMD(total_least_squares=True)
    assert_allclose(total.fit(Z, t=t).rates_, [2j, -2j], atol=0.05)
    short = np.abs(total.fit(Z[:400], t=t[:400]).eigenvalues_ - np.exp([0.2j, -0.2j])).max()
    long = np.abs(total.fit(Z, t=t).eigenvalues_ - np.exp([0.2j, -0.2j])).max()
    assert long < short / 3


def test_total_least_squares_does_not_prefer_a_direction_of_time():
    t, Z = noisy_rotation(60, 0.1, 3)
    forward = DMD(total_least_squares=True).fit(Z, t=t).A_
    backward = DMD(total_least_squares=True).fit(Z[::-1], t=t).A_
    assert_allclose(forward @ backward, np.eye(2), atol=1e-10)
    plain = DMD().fit(Z, t=t).A_ @ DMD().fit(Z[::-1], t=t).A_
    assert np.abs(plain - np.eye(2)).max() > 0.01


def test_growth_rates_are_kept_in_their_band():
    rng = np.random.default_rng(0)
    t, dt = 0.25 * np.arange(40), 0.25
    rates = np.array([0.3 + 1j, 0.3 - 1j, -0.1 + 3j, -0.1 - 3j, -2.0])
    M = rng.normal(size=(3, 5)) + 1j * rng.normal(size=(3, 5))
    V = np.stack([M[0], M[0].conj(), M[1], M[1].conj(), M[2].real])
    Z = (np.exp(np.outer(t, rates)) @ V).real
    free, kept = DMD().fit(Z, t=t), DMD(growth=(-0.5, 0)).fit(Z, t=t)
    assert_allclose(free.rates_, rates, atol=1e-7)
    # Frequencies stay, and so do eigenvectors whose eigenvalues do.
    assert_allclose(kept.rates_, [1j, -1j, -0.1 + 3j, -0.1 - 3j, -0.5], atol=1e-7)
    assert_allclose(V[2] @ kept.A_.T, np.exp(rates[2] * dt) * V[2], atol=1e-6)
    run = rom.rollout(kept, Z[0], dt * np.arange(4000))
    assert np.abs(run.z[2000:]).max() <= 1.01 * np.abs(run.z[:2000]).max()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([None, 0.5]))
def test_moving_eigenvalues_keeps_eigenvectors_and_is_done_once(seed, rank, step):
    A = np.random.default_rng(seed).normal(size=(rank, rank))
    band = Band(-0.5, 0.1, step)
    moved = keep_growth(A, band)
    assert moved.dtype == float
    values, V = np.linalg.eig(A)
    atol = 1e-12 * np.linalg.cond(V)
    inside = np.linalg.solve(V, moved @ V)
    growth = np.diag(inside)
    assert_allclose(inside, np.diag(growth), atol=atol)
    assert_allclose(
        np.angle(growth * values.conj()) if step else growth.imag - values.imag, 0, atol=atol
    )
    growth = growth.real if step is None else np.log(np.abs(growth)) / step
    free = values.real if step is None else np.log(np.abs(values)) / step
    assert_allclose(growth, np.clip(free, -0.5, 0.1), atol=atol)
    assert_allclose(keep_growth(moved, band), moved, atol=atol)


def test_modes_that_meet_on_the_edge_do_not_grow_together():
    A = np.array([[1.1, 5.0, 2.0], [0.0, 1.2, 3.0], [0.0, 0.0, 1.3]])
    kept = keep_growth(A, Band(-np.inf, 0.0, 1.0))
    assert np.linalg.norm(np.linalg.matrix_power(kept, 10_000)) < 1e3


def test_zero_map_can_be_kept_from_decaying_too_fast():
    assert_allclose(keep_growth(np.zeros((2, 2)), Band(-1.0, 0.0, 1.0)), np.exp(-1) * np.eye(2))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (dict(growth=(1, 0)), "growth must be"),
        (dict(growth=(0,)), "growth must be"),
        (dict(growth=(np.nan, 0)), "growth must be"),
        (dict(ridge=0.1, total_least_squares=True), "does not go with"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        DMD(**parameters).fit(np.random.default_rng(0).normal(size=(9, 2)))


def test_band_needs_as_many_targets_as_coordinates():
    with pytest.raises(ValueError, match="one target per latent coordinate"):
        DMD(growth=(-1, 0)).fit(np.eye(3), np.ones((3, 1)))


def test_saved_with_all_it_needs(tmp_path):
    Z = np.random.default_rng(0).normal(size=(30, 3))
    dynamics = DMD(constant=True, total_least_squares=True, growth=(-np.inf, 0))
    model = rom.ROM(rom.Identity(), dynamics).fit(Z)
    model.save(tmp_path / "m.nc")
    assert (rom.load(tmp_path / "m.nc").predict(Z) == model.predict(Z)).all()
