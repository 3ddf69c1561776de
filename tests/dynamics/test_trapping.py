import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import null_space
from scipy.optimize import LinearConstraint, minimize
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.base import Polynomial
from rom.dynamics.energy import energy_rate, gram, up_to
from rom.dynamics.library import monomials
from rom.dynamics.normal import normal
from rom.dynamics.trapped import SPARE, least_squares, trapped
from rom.dynamics.trapping import TrappingRegion, trapping_region
from rom.dynamics.trapping_sindy import States, TrappingSINDy


def polynomial(rank, degree, terms):
    """Of {(equation, powers): coefficient}."""
    exponents = up_to(rank, degree)
    coef = np.zeros((rank, len(exponents)))
    for (i, powers), value in terms.items():
        coef[i, (exponents == powers).all(axis=1)] = value
    return Polynomial(exponents, coef)


def field(model, Z):
    return monomials(Z, model.exponents) @ model.coef.T


def lorenz(sigma, rho, beta):
    return polynomial(
        3,
        2,
        {
            (0, (1, 0, 0)): -sigma,
            (0, (0, 1, 0)): sigma,
            (1, (1, 0, 0)): rho,
            (1, (0, 1, 0)): -1,
            (1, (1, 0, 1)): -1,
            (2, (0, 0, 1)): -beta,
            (2, (1, 1, 0)): 1,
        },
    )


@pytest.mark.parametrize(("sigma", "rho", "beta"), [(10, 28, 8 / 3), (16, 45, 4), (4, 20, 2)])
def test_the_known_ball_of_lorenz(sigma, rho, beta):
    region = trapping_region(lorenz(sigma, rho, beta))
    assert region.certified
    assert_allclose(region.centre, [0, 0, sigma + rho], atol=1e-3 * rho)
    assert_allclose(region.radius, beta * (sigma + rho) / (2 * np.sqrt(beta - 1)), rtol=1e-5)


def energy_preserving(rng, rank):
    """Random quadratic terms with z·Q(z) = 0, damped linear terms and a constant."""
    exponents = up_to(rank, 2)
    rate, _ = energy_rate(exponents, np.zeros(rank), np.eye(rank))
    cubic = rate[len(exponents) :].reshape(-1, rank, len(exponents))
    quadratic = exponents.sum(axis=1) == 2
    kernel = null_space(cubic[:, :, quadratic].reshape(len(cubic), -1))
    coef = rng.normal(size=(rank, len(exponents)))
    coef[:, quadratic] = (kernel @ rng.normal(size=kernel.shape[1])).reshape(rank, -1)
    A = rng.normal(size=(rank, rank))
    coef[:, 1 : rank + 1] = 5 * (A - A.T) - A @ A.T - 0.1 * np.eye(rank)
    return Polynomial(exponents, coef)


def flux_out_of(region, model, rng, size=300):
    """The largest rate of change of the energy on a shell just outside the ball."""
    directions = rng.normal(size=(size, len(region.centre)))
    length = np.sqrt(np.einsum("ni,ij,nj->n", directions, region.norm, directions))
    w = 1.001 * region.radius * directions / length[:, None]
    outward = w @ region.norm
    return np.max(np.sum(outward * field(model, region.centre + w), axis=1) / region.radius**2)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from([1e-3, 1.0, 1e3]))
def test_energy_falls_outside_the_ball_whatever_the_units(seed, rank, unit):
    rng = np.random.default_rng(seed)
    model = energy_preserving(rng, rank)
    degree = model.exponents.sum(axis=1)
    region = trapping_region(Polynomial(model.exponents, model.coef * unit ** (1.0 - degree)))
    assert region.certified
    here = region._replace(centre=region.centre / unit, radius=region.radius / unit)
    assert flux_out_of(here, model, rng) < 0


def test_the_ball_of_a_cubic_model_is_entered_from_everywhere():
    """The energy w²/2 of dx/dt = x - x³ + y, dy/dt = x - y³ grows only near the origin."""
    model = polynomial(2, 3, {(0, (1, 0)): 1, (0, (3, 0)): -1, (0, (0, 1)): 1, (1, (1, 0)): 1,
                              (1, (0, 3)): -1})  # fmt: skip
    region = trapping_region(model)
    assert region.certified
    # On x² + y² = R² the fastest growth is along x = y nearly; there it is R² (3/2) - R⁴ / 2.
    assert np.sqrt(3) <= region.radius < 1.05 * np.sqrt(3.3)
    assert flux_out_of(region, model, np.random.default_rng(0)) < 0


def test_a_norm_in_which_the_quadratic_terms_preserve_energy():
    """dx/dt = x (1 - s), ds/dt = -s + 4 x²: energy is exchanged at a rate of 1 to 4."""
    model = polynomial(2, 2, {(0, (1, 0)): 1, (0, (1, 1)): -1, (1, (0, 1)): -1, (1, (2, 0)): 4})
    refused = trapping_region(model)
    assert not refused.certified
    assert "produce energy" in refused.reason
    region = trapping_region(model, norm=np.diag([4.0, 1.0]))
    assert region.certified
    assert flux_out_of(region, model, np.random.default_rng(0)) < 0


ESCAPING = {
    "quadratic": polynomial(1, 2, {(0, (1,)): -1, (0, (2,)): 1}),
    "undamped": polynomial(2, 2, {(0, (1, 0)): 1, (0, (0, 2)): 1, (1, (1, 1)): -1}),
    "linear": polynomial(1, 1, {(0, (1,)): 0.1}),
    "cubic growth": polynomial(1, 3, {(0, (1,)): -1, (0, (3,)): 1e-3}),
    "neutral": polynomial(2, 1, {(0, (0, 1)): 1, (1, (1, 0)): -1}),
    "one direction of two": polynomial(2, 3, {(0, (3, 0)): -1, (1, (0, 1)): 0.1}),
}


@pytest.mark.parametrize("name", ESCAPING)
def test_models_that_escape_are_not_certified(name):
    region = trapping_region(ESCAPING[name])
    assert not region.certified
    assert region.radius == np.inf
    assert region.reason


def test_inputs_and_high_degrees_are_refused_in_words():
    with_input = Polynomial(np.eye(2, dtype=np.int64), np.array([[-1.0, 1.0]]))
    assert "inputs" in trapping_region(with_input).reason
    assert "degree 5" in trapping_region(polynomial(1, 5, {(0, (5,)): -1})).reason
    with pytest.raises(ValueError, match="symmetric positive definite"):
        trapping_region(lorenz(10, 28, 8 / 3), norm=-np.eye(3))
    with pytest.raises(ValueError, match=r"centre must have shape \(3,\)"):
        trapping_region(lorenz(10, 28, 8 / 3), centre=[0.0])


def mean_field(t, z0):
    """Noack et al. (2003): oscillation and shift mode, energy-preserving in the identity norm."""
    terms = {(0, (1, 0, 0)): 0.1, (0, (0, 1, 0)): -1, (0, (1, 0, 1)): -0.1,
             (1, (0, 1, 0)): 0.1, (1, (1, 0, 0)): 1, (1, (0, 1, 1)): -0.1,
             (2, (0, 0, 1)): -1, (2, (2, 0, 0)): 0.1, (2, (0, 2, 0)): 0.1}  # fmt: skip
    model = polynomial(3, 2, terms)
    Z = np.stack([np.zeros(3)] * len(t))
    Z[0] = z0
    for n, h in enumerate(np.diff(t)):
        k = []
        for c in (0, 0.5, 0.5, 1):
            k.append(field(model, (Z[n] + c * h * (k[-1] if k else 0))[None])[0])
        Z[n + 1] = Z[n] + h * (k[0] + 2 * k[1] + 2 * k[2] + k[3]) / 6
    return model, Z


def test_a_model_with_a_trapping_region_is_recovered():
    model, Z = mean_field(np.arange(0, 30, 0.1), [0.1, 0.0, 0.5])
    found = TrappingSINDy(include_bias=False).fit(Z, field(model, Z))
    assert_allclose(found.coef_, model.coef[:, 1:], atol=1e-3)
    assert found.radius_ < np.inf


def test_of_data_with_a_ball_far_from_their_mean_the_model_is_recovered():
    """Lorenz's equations have a ball about (0, 0, 38), and none about the mean of their states."""
    lorenz, t = rom.fom.Lorenz63(), np.arange(0, 20, 0.01)
    Z = lorenz.simulate([1.0, 1.0, 20.0], t).to_numpy()
    x, y, z = Z.T
    slopes = np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=1)
    found = TrappingSINDy(include_bias=False).fit(Z, slopes)
    true = np.zeros((3, 9))
    true[0, :2], true[1, [0, 1, 5]], true[2, [2, 4]] = (-10, 10), (28, -1, -1), (-8 / 3, 1)
    assert_allclose(found.coef_, true, atol=1e-4)
    assert_allclose(found.centre_[1:], [0, 38], atol=0.1)
    assert found.radius_ < 60


@pytest.mark.parametrize(("degree", "rank"), [(2, 2), (3, 1)])
def test_whatever_the_data_what_is_fitted_is_bounded(degree, rank):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(60, rank))
    model = TrappingSINDy(degree, radius=3.0).fit(Z, rng.normal(size=(60, rank)))
    assert model.radius_ < np.inf
    region = trapping_region(model.polynomial(), centre=model.centre_, norm=model.norm_)
    assert region.certified
    assert_allclose(region.radius, model.radius_, rtol=1e-6)
    run = rom.rollout(model, 50 * np.ones(rank), np.linspace(0, 20 / model.margin_, 50), bound=1e4)
    assert np.linalg.norm(run.z[-1] - model.centre_) <= 1.001 * model.radius_


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e3]), st.sampled_from([2.0, 100.0]))
def test_the_ball_of_a_cubic_fit_is_no_larger_than_asked_whatever_the_units(seed, unit, radius):
    rng = np.random.default_rng(seed)
    Z, y = unit * rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) / unit
    model = TrappingSINDy(3, radius=radius).fit(Z, y)
    corner = np.abs([Z.min(axis=0) - model.centre_, Z.max(axis=0) - model.centre_]).max(axis=0)
    assert model.radius_ <= radius * np.linalg.norm(corner) * (1 + 1e-9)
    ball = TrappingRegion(True, model.centre_, model.radius_, model.margin_, model.norm_, "")
    assert flux_out_of(ball, model.polynomial(), rng) < 0


def test_without_the_condition_the_same_fit_escapes():
    rng = np.random.default_rng(1)
    z = rng.uniform(-1, 1, size=(80, 1))
    y = -0.5 * z + z**3
    free, trapped = np.array([[-0.5, 0, 1]]), TrappingSINDy(3, include_bias=False).fit(z, y)
    assert not trapping_region(Polynomial(trapped.polynomial().exponents, free)).certified
    assert trapped.coef_[0, 2] < 0
    assert trapped.radius_ < np.inf


def least(H, b, reach):
    """The least loss of a trapped cubic in one variable, by cutting planes.

    There a polynomial is a sum of squares where it is positive at every point. The unknowns are
    three coefficients, the margin, and margin R²; polynomials are divided by v·v, v = (1, w, w²).
    """
    w = np.tan(np.linspace(-np.pi / 2, np.pi / 2, 200_001)[1:-1])[:, None]
    every = np.hstack([-(w**2), -(w**3), -(w**4), -(w**2), w**0]) / (1 + w**2 + w**4)
    cuts = [[0, 0, 0, 1, 0], [0, 0, 0, reach**2, -1], *every[::10_000]]
    for _ in range(14):
        x = minimize(
            lambda x: x[:3] @ H @ x[:3] / 2 - b @ x[:3],
            [-1.0, 0.0, -1.0, 0.5, 1.0],
            jac=lambda x: np.append(H @ x[:3] - b, [0.0, 0.0]),
            constraints=LinearConstraint(np.array(cuts), SPARE, np.inf),
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        ).x
        cuts.append(every[np.argmin(every @ x)])
    return x[:3]


@pytest.mark.parametrize("reach", [1.5, 4.0, 100.0])
def test_the_best_trapped_model_in_one_variable_is_that_of_another_solver(reach):
    exponents = np.array([[1], [2], [3]])
    A = np.random.default_rng(2).uniform(-1, 1, size=(40, 1)) ** exponents[:, 0]
    y = A @ [-0.5, 1.0, 1.0]
    H, b = least_squares(normal(A, y[:, None]), 0.0)
    found = trapped(exponents, H, b, np.zeros(1), np.eye(1), reach)[0][0]
    other = least(H, b, reach)
    assert_allclose(found, other, atol=1e-5)
    assert_allclose(found @ H @ found / 2 - b @ found, other @ H @ other / 2 - b @ other, rtol=1e-7)


def test_the_best_trapped_model_is_the_nearest_in_the_cone_of_all_of_them():
    """Its gradient is orthogonal to it, and at no obtuse angle to any other in the cone."""
    exponents = up_to(2, 3)[1:]

    def best(seed):
        rng = np.random.default_rng(seed)
        A = rng.normal(size=(30, len(exponents)))
        H, b = least_squares(normal(A, rng.normal(size=(30, 2))), 0.0)
        return trapped(exponents, H, b, np.zeros(2), np.eye(2), 5.0)[0].ravel(), H, b

    c, H, b = best(0)
    gradient = H @ c - b
    size = np.linalg.norm(gradient) * np.linalg.norm(c)
    assert size > 0.01
    assert abs(gradient @ c) < 1e-4 * size
    others = [best(seed)[0] for seed in range(1, 20)]
    assert min(gradient @ other / np.linalg.norm(other) for other in others) > -1e-4 * size


def test_what_a_fit_refuses():
    Z = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="has no inputs"):
        TrappingSINDy().fit(Z, Z, u=Z)
    with pytest.raises(ValueError, match=r"centre must have shape \(2,\)"):
        TrappingSINDy(centre=[1.0]).fit(Z, Z)


def records(seed=0, unit=1.0, speed=1.0):
    """States and derivatives of a system with a trapping region, and noise."""
    _, Z = mean_field(np.arange(0, 12, 0.1), [0.1, 0.0, 0.5])
    rng = np.random.default_rng(seed)
    Z = Z[:, ::2] + rng.normal(scale=0.05, size=(len(Z), 2)) + [0.5, 1.0]
    y = np.stack([Z[:, 1] - Z[:, 0] ** 3, -Z[:, 0] - Z[:, 1]], axis=1)
    return unit * Z, unit * speed * (y + rng.normal(scale=0.3, size=y.shape))


def assert_same(one, other, Z, tol=1e-5):
    assert_allclose(one.predict(Z), other.predict(Z), rtol=tol, atol=tol * np.ptp(one.predict(Z)))
    assert_allclose(one.centre_, other.centre_, rtol=1e-3, atol=1e-4)
    assert_allclose(one.radius_, other.radius_, rtol=1e-2)
    assert (one.bound_, one.names) == (other.bound_, other.names)


OTHERS = [
    {"radius": 1.5, "alpha": 1e-3},
    {"centre": [1.0, 0.5], "names": ["a", "b"]},
    {"norm": [[2.0, 0.5], [0.5, 1.0]]},
    {"energy": 1e-2},
]


@pytest.mark.parametrize("model", [TrappingSINDy(2), TrappingSINDy(3, relative_error=True)])
@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_other_parameters_need_no_other_fit(model, other):
    Z, y = records()
    first = clone(model).fit(Z, y)
    fresh = clone(model).set_params(**other).fit(Z, y)
    assert_same(first.refit(**other), fresh, Z)
    assert_array_equal(first.refit().coef_, first.coef_)


@pytest.mark.parametrize("model", [TrappingSINDy(2), TrappingSINDy(3, energy=1e-2)], ids=str)
def test_models_of_parts_are_added_up(model):
    Z, y = records()
    parts = slice(0, 30), slice(30, 50), slice(50, None)
    whole, seen = clone(model).fit(Z, y), clone(model)
    for rows in parts:
        seen.partial_fit(Z[rows], y[rows])
    assert_same(seen, whole, Z)
    one, *others = (clone(model).set_params(radius=5.0).fit(Z[rows], y[rows]) for rows in parts)
    assert_same(one.merge(*others).refit(radius=10.0), whole, Z)
    assert_same(seen.fit(Z[:30], y[:30]).refit(radius=5.0), one, Z)  # what was seen is forgotten


def test_weights_that_need_all_rows_are_not_added_up():
    Z, y = records()
    model = TrappingSINDy(3, relative_error=True).fit(Z, y)
    assert_allclose(model.centre_, Z.mean(axis=0))  # which has no weights
    for add in (lambda: model.merge(model), lambda: model.partial_fit(Z, y)):
        with pytest.raises(ValueError, match="need the largest derivative of all rows: call fit"):
            add()
    with pytest.raises(ValueError, match="for other relative_error the rows"):
        model.refit(relative_error=False)


def test_a_refused_part_leaves_no_trace():
    Z, y = records()
    model = TrappingSINDy(3).fit(Z, y)
    before = [array.copy() for array in (*model.normal_, *model.states_)]
    with pytest.raises(ValueError, match=r"centre must have shape \(2,\)"):
        model.set_params(centre=[1.0]).partial_fit(Z, y)
    for old, new in zip(before, (*model.normal_, *model.states_), strict=True):
        assert_array_equal(old, new)


@pytest.mark.parametrize("degree", [2, 3])
def test_the_units_of_states_and_of_time_change_no_model(degree):
    model = TrappingSINDy(degree, energy=1e-2, alpha=1e-3)
    Z, y = records()
    one = clone(model).fit(Z, y)
    for unit, speed in ((1e-3, 1.0), (100.0, 50.0)):
        other = clone(model).fit(*records(unit=unit, speed=speed))
        slopes = other.predict(unit * Z) / (unit * speed)
        assert_allclose(slopes, one.predict(Z), atol=1e-5 * np.ptp(y))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_no_state_is_farther_than_the_corner_of_their_box(seed, rank):
    rng = np.random.default_rng(seed)
    Z, centre, root = rng.normal(size=(9, rank)), rng.normal(size=rank), rng.normal(size=[rank] * 2)
    states = States(np.stack([Z.min(axis=0), Z.max(axis=0)]), np.empty(0), np.empty(0))
    for P in (np.diag(np.diag(root) ** 2), root @ root.T):
        corners = np.array(np.meshgrid(*states.ends.T)).reshape(rank, -1).T - centre
        farthest = np.sqrt(np.max(np.sum(corners @ P * corners, axis=1)))
        w = Z - centre
        assert np.sqrt(np.max(np.sum(w @ P * w, axis=1))) <= farthest * (1 + 1e-12)
        assert farthest <= states.reach(centre, P) * (1 + 1e-12)
        if np.array_equal(P, np.diag(np.diag(P))):
            assert_allclose(states.reach(centre, P), farthest)


@parametrize_with_checks([TrappingSINDy()])
def test_sklearn(estimator, check):
    check(estimator)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 2))
def test_gram_matrices_have_their_polynomials(seed, rank, degree):
    rng = np.random.default_rng(seed)
    spread, free = gram(rank, degree)
    z = rng.normal(size=(1, rank))
    v = monomials(z, up_to(rank, degree))[0]
    assert_allclose(v @ spread @ v, monomials(z, up_to(rank, 2 * degree))[0], rtol=1e-10)
    assert_allclose(v @ free @ v if len(free) else 0.0, 0.0, atol=1e-10 * max(1, v @ v) ** 2)
