"""Certified regions hold what they say, and are found where there are some."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rom
from rom.base import Polynomial
from rom.dynamics import DMD, NeuralODE, PolynomialLibrary
from rom.dynamics.energy import search_energy
from rom.dynamics.library import monomials, powers
from rom.rollout.trapping import certified_region

Operators = rom.OperatorInference.from_operators
LORENZ_A = np.array([[-10.0, 10.0, 0.0], [28.0, -1.0, 0.0], [0.0, 0.0, -8 / 3]])
LORENZ_H = np.zeros((3, 6))
LORENZ_H[1, 2], LORENZ_H[2, 1] = -1.0, 1.0


def energy_keeping(rng, rank):
    """Quadratic coefficients (rank, n_terms) with z·H(z, z) = 0."""
    T = rng.normal(size=(rank, rank, rank))
    T -= T.transpose(1, 0, 2)
    j, k = np.triu_indices(rank)
    return np.where(j == k, 0.5, 1.0) * (T[:, j, k] + T[:, k, j])


def stretched(A, H, c, scale):
    """The same model in coordinates ``scale * z``."""
    rank = len(A)
    factor = np.prod(scale ** -powers(rank, 2).astype(float), axis=1)
    return Operators(scale * c, scale[:, None] * A / scale, scale[:, None] * H * factor)


def directions(rng, n, rank):
    rows = rng.normal(size=(n, rank))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_lorenz_ball_is_the_published_one():
    region = certified_region(Operators(np.zeros(3), LORENZ_A, LORENZ_H))
    b, top = 8 / 3, 38.0
    np.testing.assert_allclose(region.centre, [0, 0, top], atol=1e-2)
    assert region.radius == pytest.approx(b * top / (2 * np.sqrt(b - 1)), rel=1e-3)
    assert (region.certified, region.basin) == (True, np.inf)
    assert region.words.startswith("trapping region of radius 39.2")


def test_an_energy_is_found_that_is_not_round():
    scale = np.array([1.0, 3.0, 0.5])
    model = stretched(LORENZ_A, LORENZ_H, np.zeros(3), scale)
    P, m = search_energy(model.polynomial())
    region = certified_region(model)
    assert region.certified
    Z = np.random.default_rng(0).normal(size=(200, 3))
    nonlinear = monomials(Z, powers(3, 2)) @ model.H_.T
    produced = np.sum((Z @ P) * nonlinear, axis=1)
    assert np.abs(produced).max() < 1e-9 * np.abs((Z @ P) * nonlinear).max()
    ends = rom.rollout(model, 30 * np.ones(3), np.linspace(0, 10, 101), bound=np.inf).z[50:]
    assert np.linalg.norm(ends - region.centre, axis=1).max() <= region.radius
    assert np.linalg.eigvalsh(P)[0] > 0
    assert np.isfinite(m).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_lorenz_in_skewed_coordinates_is_certified_in_spite_of_rounding(seed):
    """Errors of 1e-12 make its quadratic terms produce some of any energy."""
    rng = np.random.default_rng(seed)
    S = np.linalg.qr(rng.normal(size=(3, 3)))[0] * [1.0, 3.0, 10.0]
    S = S @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    Z = rng.normal(size=(20, 3))
    H = np.linalg.lstsq(monomials(Z @ S.T, powers(3, 2)), monomials(Z, powers(3, 2)) @ LORENZ_H.T)
    H = S @ H[0].T * (1 + 1e-12 * rng.normal(size=(3, 6)))
    model = Operators(A=S @ LORENZ_A @ np.linalg.inv(S), H=H)
    region = certified_region(model)
    assert region.certified
    assert region.basin > 1e4 * region.radius
    for z0 in region.centre + 10 * region.radius * directions(rng, 3, 3):
        ends = rom.rollout(model, z0, np.linspace(0, 20, 201), bound=np.inf).z[100:]
        assert np.linalg.norm(ends - region.centre, axis=1).max() <= region.radius


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_the_energy_found_is_the_same_in_any_units(unit):
    scale = np.array([1.0, 3.0, 0.5])
    P, m = search_energy(stretched(LORENZ_A, LORENZ_H, np.zeros(3), scale).polynomial())
    other = stretched(LORENZ_A / unit, LORENZ_H / unit, np.zeros(3), unit * scale).polynomial()
    Q, n = search_energy(other)
    np.testing.assert_allclose(Q, P, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(n / unit, m, rtol=1e-4, atol=1e-4)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), rank=st.integers(2, 4))
def test_every_damped_energy_keeping_model_is_certified_in_any_coordinates(seed, rank):
    rng = np.random.default_rng(seed)
    A, H = 0.3 * rng.normal(size=(rank, rank)) - 2 * np.eye(rank), energy_keeping(rng, rank)
    scale = np.exp(0.5 * rng.normal(size=rank))
    region = certified_region(stretched(A, H, rng.normal(size=rank), scale))
    assert region.certified
    assert region.basin == np.inf


def test_between_two_radii_the_energy_falls():
    rng = np.random.default_rng(1)
    model = Operators(
        rng.normal(size=3), LORENZ_A, LORENZ_H + 1e-4 * rng.normal(size=LORENZ_H.shape)
    )
    region = certified_region(model)
    assert region.certified
    assert region.radius < 1000 < region.basin < np.inf
    for radius in np.geomspace(1.001 * region.radius, 0.999 * region.basin, 8):
        w = radius * directions(rng, 500, 3)
        assert np.all(np.sum(w * model.predict(region.centre + w), axis=1) < 0)


def test_the_basin_of_the_logistic_equation_is_exact():
    region = certified_region(Operators(A=[[-1.0]], H=[[0.5]]))
    assert (region.radius, region.basin) == (0.0, pytest.approx(2.0))


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_a_cubic_model_in_round_and_in_stretched_coordinates(scale):
    G = np.array([[-1.0, 0.0, -1.0, 0.0], [0.0, -1.0, 0.0, -1.0]])
    A = np.array([[0.1, -1.0], [1.0, 0.1]])
    S = np.array([1.0, scale])
    factor = np.prod(S ** -powers(2, 3).astype(float), axis=1)
    region = certified_region(Operators(A=S[:, None] * A / S, G=S[:, None] * G * factor))
    assert region.certified
    assert region.radius >= np.sqrt(0.1)  # the limit cycle
    if scale == 1.0:
        assert region.radius == pytest.approx(np.sqrt(0.1), rel=1e-3)


def test_linear_models_end_where_they_stand_still():
    A, c = np.array([[-1.0, 50.0], [0.0, -1.0]]), np.array([1.0, 2.0])
    region = certified_region(Operators(c, A))
    np.testing.assert_allclose(region.centre, -np.linalg.solve(A, c))
    assert (region.certified, region.radius) == (True, 0.0)
    k = np.arange(30)
    spiral = np.exp(-0.1 * k)[:, None] * np.c_[np.cos(k), np.sin(k)]
    assert certified_region(DMD().fit(spiral, t=k)).certified
    assert not certified_region(DMD().fit(np.c_[np.cos(k), np.sin(k)] * 1.1 ** k[:, None], t=k))[0]


@pytest.mark.parametrize("decay", [-1e-16, 0.0, 1e-16])
def test_what_rounding_decides_is_not_certified(decay):
    turn, k = np.array([[-decay, 1.0, 0], [-1.0, -decay, 0], [0, 0, -1.0]]), np.arange(30)
    spiral = np.c_[np.cos(k), np.sin(k)] * (1 - decay) ** k[:, None]
    for model in (Operators(A=turn), Operators(A=1e9 * turn), DMD().fit(spiral, t=k)):
        assert "does not decay beyond rounding" in certified_region(model).words
    assert certified_region(Operators(A=turn - 1e-9 * np.eye(3))).certified


@pytest.mark.parametrize("growth", [1e-9, 0.01, 3.0])
def test_a_linear_model_that_grows_for_ever_is_said_to(growth):
    A = np.array([[growth, 50.0], [0.0, -1.0]])
    words = f"not bounded: it grows for ever, at rate {growth:.3g} (e-folding in {1 / growth:.3g})"
    region = certified_region(Operators(A=A))
    assert (region.certified, region.words) == (False, words)
    assert region.growth == pytest.approx(growth)
    k = np.arange(30)
    spiral = np.exp(growth * k)[:, None] * np.c_[np.cos(2 * k), np.sin(2 * k)]
    if growth > 1e-6:
        found = certified_region(DMD().fit(spiral, t=0.5 * k))
        assert found.growth == pytest.approx(2 * growth)


def test_what_may_be_rounding_does_not_grow():
    drift = np.array([[0.0, 1.0], [0.0, 0.0]])  # its eigenvalues move by the root of rounding
    for A in (drift, drift + 1e-12 * np.eye(2), np.array([[1e-17, 1.0], [-1.0, 1e-17]])):
        assert certified_region(Operators(A=A)).growth == 0


def refused():
    k = np.arange(12.0)
    x = np.c_[np.cos(k), np.sin(k)]
    driven = rom.OperatorInference("A").fit(x, x, u=x[:, :1])
    return {
        "does not decay": Operators(A=[[0.0, 1.0], [-1.0, 0.0]]),
        "produce energy": Operators(A=[[1.0]], H=[[1.0]]),
        "inputs may be anything": driven,
        "grows at any distance": Operators(A=[[1.0]], G=[[1.0]]),
        "not a polynomial": NeuralODE(max_iter=1, random_state=0).fit(x, t=k),
        "its degree is 5": rom.SINDy(PolynomialLibrary(5), threshold=0.0).fit(
            x[:, :1], -(x[:, :1] ** 5)
        ),
    }


@pytest.mark.parametrize(("why", "model"), refused().items(), ids=list(refused()))
def test_why_there_is_no_certificate(why, model):
    region = certified_region(model)
    assert not region.certified
    assert np.isnan(region.radius)
    assert region.words.startswith("not certified: ")
    assert why in region.words


def test_no_energy_is_found_of_what_escapes():
    f = Polynomial(np.array([[1], [2]]), np.array([[-1.0, 1.0]]))
    assert search_energy(f) is None


def test_what_was_searched_for_is_told():
    line = rom.OperatorInference.from_operators
    for model, search in (
        (line(A=[[-1.0]]), ()),
        (Operators(np.zeros(3), LORENZ_A, LORENZ_H), ("trapping region",)),
        (line(A=[[-1.0]], H=[[0.5]]), ("trapping region", "basin")),
    ):
        assert certified_region(model).search == search
