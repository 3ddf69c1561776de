"""The time loops against exact solutions, orders of convergence, and their compiled twins."""

import importlib

import numpy as np
import pytest
from scipy import integrate
from scipy.linalg import expm

import rom
from rom.base import Polynomial
from rom.rollout import methods, steppers
from rom.rollout.dop853 import DOP853, dop853
from rom.rollout.midpoint import midpoint as midpoint_rule
from rom.rollout.terms import terms_of

BOUND, SCALE = 1e6, 1e-14


def oscillator(z, u):
    return np.array([z[1], -z[0]])


def exact_oscillation(t):
    return np.stack([np.cos(t), -np.sin(t)], axis=1)


def no_inputs(t):
    return np.zeros((len(t), 0))


def observed_order(errors):
    return np.log2(np.array(errors[:-1]) / errors[1:])


def grown(tree):
    """The rooted trees with one node more; a tree is the sorted tuple of its root's branches."""
    yield tuple(sorted((*tree, ())))
    for i, branch in enumerate(tree):
        for larger in grown(branch):
            yield tuple(sorted((*tree[:i], larger, *tree[i + 1 :])))


def trees(order):
    """The rooted trees of up to so many nodes, each of which is a condition."""
    found = [{()}]
    for _ in range(1, order):
        found.append({larger for tree in found[-1] for larger in grown(tree)})
    return [tree for level in found for tree in level]


def n_nodes(tree):
    return 1 + sum(n_nodes(branch) for branch in tree)


def density(tree):
    return n_nodes(tree) * np.prod([density(branch) for branch in tree])


def elementary_weights(tree, stages):
    weights = np.ones(len(stages))
    for branch in tree:
        weights = weights * (stages @ elementary_weights(branch, stages))
    return weights


def worst_condition(weights, stages, order, place=1.0, exact=1.0):
    """How far `weights` of slopes are from those of a method of some order, up to a place."""
    stages = stages[: len(weights), : len(weights)]
    return max(
        abs(
            weights @ elementary_weights(tree, stages)
            - exact * place ** n_nodes(tree) / density(tree)
        )
        for tree in trees(order)
    )


def test_rooted_trees_are_as_many_as_known():
    assert [len(trees(n)) for n in range(1, 9)] == [1, 2, 4, 8, 17, 37, 85, 200]


def test_the_tableau_of_rk4_meets_the_order_conditions():
    stages = np.pad(steppers.RK4_STAGES, ((0, 0), (0, 1)))
    np.testing.assert_array_equal(stages.sum(axis=1), steppers.RK4_PLACES)
    assert worst_condition(steppers.RK4_STEP, stages, 4) < 1e-15
    assert worst_condition(steppers.RK4_STEP, stages, 5) > 1e-3


@pytest.mark.parametrize(
    ("pair", "orders_of_errors", "dense_order"),
    [(steppers.DOPRI5, [4], 4), (DOP853, [5, 3], 7)],
    ids=["dopri5", "dop853"],
)
def test_tableaus_of_pairs_meet_the_order_conditions(pair, orders_of_errors, dense_order):
    """Steps, errors and dense output have the orders that they are said to have, and no more."""
    stages, places, errors, dense, order = pair
    np.testing.assert_allclose(stages.sum(axis=1), places, atol=2e-14)
    np.testing.assert_array_equal(np.triu(stages), 0)
    step = stages[errors.shape[1] - 1]
    assert worst_condition(step, stages, order) < 1e-14
    assert worst_condition(step, stages, order + 1) > 1e-7
    for error, embedded in zip(errors, orders_of_errors, strict=True):
        assert worst_condition(error, stages, embedded, exact=0) < 1e-14
        assert worst_condition(error, stages, embedded + 1, exact=0) > 1e-5
    for place in (0.2, 0.5, 0.9, 1.0):
        weights = dense @ place ** np.arange(1, dense.shape[1] + 1)
        assert worst_condition(weights, stages, dense_order, place) < 1e-12  # of terms of 500
    np.testing.assert_allclose(weights, step, atol=1e-12)


def test_a_step_of_dop853_is_that_of_scipy():
    def field(t, z):
        return np.array([z[1] * z[0], np.sin(z[0]) - z[1]])

    z0, h = np.array([1.0, 0.4]), 0.3
    theirs = integrate.DOP853(field, 0, z0, h, first_step=h, rtol=1)
    theirs.step()
    t = np.linspace(0, h, 5)
    stages, _, errors, dense, _ = DOP853
    slopes = np.empty((16, 2))
    for s in range(16):
        slopes[s] = field(0, z0 + h * stages[s, :s] @ slopes[:s])
    np.testing.assert_allclose(z0 + h * stages[12] @ slopes, theirs.y, rtol=1e-15)
    weights = dense @ (t / h) ** np.arange(1, 8)[:, None]
    np.testing.assert_allclose(z0 + h * weights.T @ slopes, theirs.dense_output()(t).T, rtol=1e-13)
    for error, same in zip(errors, (theirs.E5, theirs.E3), strict=True):
        np.testing.assert_allclose(error, same, rtol=1e-15, atol=1e-15)


def test_rk4_converges_with_order_four():
    errors = []
    for n in (20, 40, 80, 160):
        t = np.linspace(0, 5, n + 1)
        z, *_ = steppers.rk4(oscillator, np.array([1.0, 0.0]), t, no_inputs(t), BOUND)
        errors.append(np.abs(z[-1] - exact_oscillation(t)[-1]).max())
    np.testing.assert_allclose(observed_order(errors), 4, atol=0.1)


@pytest.mark.parametrize(
    ("method", "counts", "order"), [("dopri5", (20, 40, 80), 5), ("dop853", (6, 12, 24), 8)]
)
def test_pairs_converge_with_their_order_in_fixed_steps(method, counts, order):
    errors = []
    for n in counts:
        t = np.linspace(0, 5, n + 1)  # steps end on output times where there are inputs
        z, _, _, n_steps = methods.PLAIN[method](
            oscillator, np.array([1.0, 0.0]), t, np.zeros((n + 1, 1)), BOUND, 1e3, SCALE, 1000
        )
        assert n <= n_steps <= n + 3  # the first steps are small
        errors.append(np.abs(z[-1] - exact_oscillation(t)[-1]).max())
    np.testing.assert_allclose(observed_order(errors), order, atol=0.15)


@pytest.mark.parametrize("method", ["dopri5", "dop853"])
def test_errors_of_pairs_are_proportional_to_the_tolerance(method):
    t = np.array([0.0, 5.0, 10.0])
    tolerances, errors = 10.0 ** -np.arange(4, 11), []
    for rtol in tolerances:
        z, status, *_ = methods.PLAIN[method](
            oscillator, np.array([1.0, 0.0]), t, no_inputs(t), BOUND, rtol, SCALE, 10_000
        )
        assert status == steppers.COMPLETED
        errors.append(np.abs(z - exact_oscillation(t)).max())
    assert np.all(errors < 50 * tolerances)
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("method", ["dopri5", "dop853"])
def test_dense_output_is_as_good_as_the_steps(method):
    """Many outputs inside a step, of which there are no more for them, each within tolerance."""
    t, n_steps = np.linspace(0, 20, 5001), []
    for times in (t, t[[0, -1]]):
        z, status, _, n = methods.PLAIN[method](
            oscillator, np.array([1.0, 0.0]), times, no_inputs(times), BOUND, 1e-8, SCALE, 10_000
        )
        assert status == steppers.COMPLETED
        n_steps.append(n)
        np.testing.assert_allclose(z, exact_oscillation(times), atol=2e-6)
    assert n_steps[0] == n_steps[1] < 500


def test_dop853_evaluates_more_only_where_there_is_output():
    calls = []

    def counted(z, u):
        calls.append(1)
        return oscillator(z, u)

    n_calls = []
    for t in (np.array([0.0, 20.0]), np.array([0.0, 10.0, 20.0])):
        calls.clear()
        *_, n_steps = dop853(
            counted, np.array([1.0, 0.0]), t, no_inputs(t), BOUND, 1e-8, SCALE, 1000
        )
        n_calls.append(len(calls))
    assert n_calls == [1 + 12 * n_steps + 3, 1 + 12 * n_steps + 6]


@pytest.mark.parametrize(
    ("pair", "order", "sizes"),
    [(steppers.DOPRI5, 4, (0.2, 0.1, 0.05)), (DOP853, 7, (1, 0.5, 0.25))],
)
def test_dense_output_converges_with_its_order_and_meets_both_ends(pair, order, sizes):
    stages, _, errors, dense, _ = pair
    powers = np.arange(1, dense.shape[1] + 1)
    found = []
    for h in sizes:
        t = np.array([0.0, 0.31 * h, 0.5 * h, 0.83 * h, h])
        weights = (t[:, None] / h) ** powers @ dense.T
        np.testing.assert_array_equal(weights[0], 0)
        np.testing.assert_allclose(weights[-1], stages[errors.shape[1] - 1], atol=1e-12)
        slopes = np.empty((len(stages), 2))
        z0, values = np.array([1.0, 0.0]), np.empty(2)
        for s in range(len(stages)):
            steppers.combine(values, z0, h, stages[s, :s], slopes)
            slopes[s] = oscillator(values, None)
        found.append(np.abs(z0 + h * weights @ slopes - exact_oscillation(t))[1:4].max())
    np.testing.assert_allclose(observed_order(found), order + 1, atol=0.2)  # of one step


@pytest.mark.parametrize("method", ["rk4", "dopri5", "dop853", "midpoint"])
def test_piecewise_linear_inputs_are_integrated_exactly(method):
    """dz/dt = u is the trapezoidal rule, whatever the steps."""
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.uniform(0.1, 1, size=12))
    u = rng.normal(size=(12, 2))
    options = (1e-6, SCALE, 1000) if method in ("dopri5", "dop853") else ()
    z, status, *_ = methods.PLAIN[method](lambda z, u: u, np.zeros(2), t, u, BOUND, *options)
    trapezoids = np.diff(t)[:, None] * (u[1:] + u[:-1]) / 2
    assert status == steppers.COMPLETED
    np.testing.assert_allclose(z[1:], np.cumsum(trapezoids, axis=0), atol=1e-13)


def test_inputs_are_held_by_a_map():
    t, u = np.arange(4.0), np.array([[1.0], [2.0], [3.0], [9.0]])
    z, *_ = steppers.iterate(lambda z, u: z + u, np.zeros(1), t, u, BOUND)
    np.testing.assert_array_equal(z[:, 0], [0, 1, 3, 6])


def random_polynomial(rng, rank, n_inputs):
    """Degree up to 5 with gaps, an unused term, and a decay that keeps it tame."""
    exponents = np.r_[
        np.eye(rank, rank + n_inputs, dtype=np.int64),
        rng.integers(0, 3, size=(6, rank + n_inputs)),
        np.zeros((1, rank + n_inputs), np.int64),
        [[5] + [0] * (rank + n_inputs - 1)],
    ]
    coef = 0.05 * rng.normal(size=(rank, len(exponents)))
    coef[:, :rank] -= np.eye(rank)
    coef[:, rank + 1] = 0
    return Polynomial(exponents, coef)


def evaluate(polynomial, z, u):
    monomials = np.prod(np.concatenate([z, u]) ** polynomial.exponents, axis=1)
    return polynomial.coef @ monomials


@pytest.mark.parametrize("method", ["map", "rk4", "dopri5", "dop853", "midpoint"])
@pytest.mark.parametrize("n_inputs", [0, 2])
@pytest.mark.parametrize("rank", [3, 11])
def test_compiled_and_plain_loops_agree(method, n_inputs, rank):
    rng = np.random.default_rng(n_inputs)
    polynomial = random_polynomial(rng, rank, n_inputs)
    t = np.cumsum(rng.uniform(0.05, 0.4, size=30))
    u = rng.uniform(-1, 1, size=(30, n_inputs))
    options = {"map": (), "rk4": (3,), "midpoint": (3,)}.get(method, (1e-8, SCALE, 10_000))
    arguments = (0.5 * rng.normal(size=rank), t, u, BOUND, *options)
    compiled = methods.COMPILED[method](terms_of(polynomial), *arguments)
    plain = methods.PLAIN[method](lambda z, u: evaluate(polynomial, z, u), *arguments)
    np.testing.assert_allclose(compiled[0], plain[0], rtol=1e-9, atol=1e-11)
    assert compiled[1:] == plain[1:]


def test_each_compiled_loop_has_one_specialisation():
    for loop in methods.COMPILED.values():
        assert len(loop.signatures) <= 1


def test_a_loop_compiles_where_no_cache_can_be_written(monkeypatch):
    def njit(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda loop: loop

    monkeypatch.setattr(steppers, "njit", njit)
    assert steppers.compiled(steppers.rk4) is steppers.rk4


def test_a_change_of_what_loops_share_is_seen(monkeypatch, tmp_path):
    """numba itself looks at the file of a loop only."""
    (tmp_path / "loops.py").write_text("def double(x):\n    return x + x\n")
    monkeypatch.syspath_prepend(tmp_path)
    double = importlib.import_module("loops").double
    kept = []
    for shared in ("one", "one", "other"):
        monkeypatch.setattr(steppers, "SHARED", shared)
        loop = steppers.compiled(double)
        assert loop(2.0) == 4
        kept.append(sum(loop.stats.cache_hits.values()))
    assert kept == [0, 1, 0]


def test_the_zero_polynomial_stands_still():
    model = terms_of(Polynomial(np.zeros((1, 2), np.int64), np.zeros((2, 1))))
    t = np.array([0.0, 1.0, 3.0])
    z, status, *_ = methods.COMPILED["dopri5"](
        model, np.ones(2), t, no_inputs(t), BOUND, 1e-8, SCALE, 100
    )
    assert status == steppers.COMPLETED
    np.testing.assert_array_equal(z, np.ones((3, 2)))


def test_linear_system_is_its_matrix_exponential():
    A = np.array([[-0.1, 2.0, 0.0], [-2.0, -0.1, 0.3], [0.0, 0.0, -0.5]])
    model = terms_of(Polynomial(np.eye(3, dtype=np.int64), A))
    t, z0 = np.array([-1.0, 0.0, 0.7, 4.0]), np.array([1.0, -2.0, 3.0])
    z, *_ = methods.COMPILED["dopri5"](model, z0, t, no_inputs(t), BOUND, 1e-10, SCALE, 10_000)
    exact = np.stack([expm(A * (s - t[0])) @ z0 for s in t])
    np.testing.assert_allclose(z, exact, atol=1e-8)


# dw/dt of a rigid body with moments of inertia 1, 2, 3, which keeps its energy and its angular
# momentum; the terms are w1 w2, w0 w2, w0 w1.
INERTIA = np.array([1.0, 2.0, 3.0])
RIGID_BODY = Polynomial(
    np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]),
    np.diag((INERTIA[[1, 2, 0]] - INERTIA[[2, 0, 1]]) / INERTIA),
)


def midpoint(polynomial, z0, t, u=None, bound=BOUND):
    u = no_inputs(t) if u is None else u
    return methods.COMPILED["midpoint"](terms_of(polynomial), z0, t, u, bound, 1)


def linear(A):
    return Polynomial(np.eye(len(A), dtype=np.int64), np.asarray(A, dtype=float))


@pytest.mark.parametrize("even", [True, False])
def test_midpoint_steps_of_a_linear_system_are_its_cayley_transform(even):
    rng = np.random.default_rng(0)
    A = rng.normal(size=(4, 4))
    t = np.linspace(0, 3, 31) if even else np.cumsum(rng.uniform(0.01, 0.5, size=31))
    z, status, t_end, n_steps = midpoint(linear(A), np.ones(4), t)
    exact = [np.ones(4)]
    for h in np.diff(t):
        exact.append(np.linalg.solve(np.eye(4) - h / 2 * A, (np.eye(4) + h / 2 * A) @ exact[-1]))
    assert (status, t_end, n_steps) == (steppers.COMPLETED, t[-1], 30)
    np.testing.assert_allclose(z, exact, rtol=1e-12, atol=1e-13 * np.abs(exact).max())


@pytest.mark.parametrize("h", [0.01, 0.1, 1.0, 100.0])
def test_midpoint_keeps_the_energy_of_a_linear_hamiltonian_system_over_many_steps(h):
    rng = np.random.default_rng(0)
    L = np.cov(rng.normal(size=(12, 60)))
    J = np.kron([[0, 1], [-1, 0]], np.eye(6))
    z, status, *_ = midpoint(linear(J @ L), rng.normal(size=12), h * np.arange(100_001))
    energy = np.einsum("ti,ij,tj->t", z, L, z, optimize=True)
    assert status == steppers.COMPLETED
    np.testing.assert_allclose(energy, energy[0], rtol=2e-13)


@pytest.mark.parametrize("h", [0.01, 0.3])
def test_midpoint_keeps_the_quadratic_invariants_of_a_nonlinear_system(h):
    w, status, *_ = midpoint(RIGID_BODY, np.array([0.1, 1.0, 0.5]), h * np.arange(20_001))
    assert status == steppers.COMPLETED
    assert np.ptp(w[:, 1]) > 1.5  # it tumbles
    for weights in (INERTIA, INERTIA**2):
        np.testing.assert_allclose(w**2 @ weights, w[0] ** 2 @ weights, rtol=1e-13)


def test_midpoint_converges_with_order_two():
    w0, ends = np.array([0.1, 1.0, 0.5]), {}
    for n in (20, 40, 80, 160, 2560):
        w, *_ = midpoint(RIGID_BODY, w0, np.linspace(0, 5, n + 1))
        ends[n] = w[-1]
    errors = [np.abs(ends[n] - ends[2560]).max() for n in (20, 40, 80, 160)]
    np.testing.assert_allclose(observed_order(errors), 2, atol=0.1)


@pytest.mark.parametrize("terms", ["compiled", "plain"])
def test_midpoint_solves_its_equation_on_stiff_and_uneven_steps(terms):
    """z' = -k (z³ - u) at k h from 1e-3 to 1e6: the residual is rounding, whatever the step."""
    k, rng = 1e3, np.random.default_rng(1)
    t = np.cumsum(10.0 ** rng.uniform(-6, 3, size=60))
    u = rng.uniform(0.5, 2, size=(60, 1))
    cubic = Polynomial(np.array([[3, 0], [0, 1]]), np.array([[-k, k]]))
    if terms == "compiled":
        z, status, *_ = midpoint(cubic, np.array([1.0]), t, u)
    else:
        z, status, *_ = midpoint_rule(
            lambda z, u: evaluate(cubic, z, u), np.array([1.0]), t, u, BOUND
        )
    assert status == steppers.COMPLETED
    h, middle = np.diff(t), (z[1:] + z[:-1])[:, 0] / 2
    residual = np.diff(z[:, 0]) + h * k * (middle**3 - (u[1:] + u[:-1])[:, 0] / 2)
    assert np.all(np.abs(residual) < 1e-14 * (1 + h * k) * (1 + np.abs(middle) ** 3))


def test_midpoint_without_inverse_or_solution_ends_there():
    """z' = a z has no step where a h = 2, and z' = z² none where 2 h z > 1."""
    t = np.array([0.0, 0.1, 0.2, 2.2, 2.3])
    z, status, t_end, n_steps = midpoint(linear([[1.0]]), np.ones(1), t)
    assert (status, t_end, n_steps) == (steppers.NOT_FINITE, t[2], 3)
    np.testing.assert_array_equal(np.isfinite(z[:, 0]), t <= t_end)
    square = Polynomial(np.array([[2]]), np.ones((1, 1)))
    t = np.array([0.0, 0.2, 0.4, 1.0, 1.1])
    z, status, t_end, n_steps = midpoint(square, np.ones(1), t)
    assert (status, t_end, n_steps) == (steppers.STEP_TOO_SMALL, t[2], 3)
    np.testing.assert_array_equal(np.isfinite(z[:, 0]), t <= t_end)
    np.testing.assert_allclose(np.diff(z[:3, 0]), 0.2 * ((z[1:3, 0] + z[:2, 0]) / 2) ** 2)


@pytest.mark.parametrize("bound", [BOUND, np.inf])
def test_midpoint_growth_ends_at_the_bound_or_where_numbers_end(bound):
    t = np.arange(2000.0)
    z, status, t_end, _ = midpoint(linear([[1.0]]), np.ones(1), t, bound=bound)
    assert status == (steppers.LEFT_BOUND if bound == BOUND else steppers.NOT_FINITE)
    np.testing.assert_array_equal(np.isfinite(z[:, 0]), t <= t_end)
    np.testing.assert_allclose(z[: int(t_end), 0], 3.0 ** np.arange(int(t_end)), rtol=1e-10)


def test_rollout_runs_the_midpoint_rule_on_any_continuous_model():
    A = np.array([[0.0, 1.0], [-1.0, 0.0]])
    polynomial = rom.OperatorInference.from_operators(A=A)
    pendulum = rom.SINDy(rom.PolynomialLibrary(1) + rom.FourierLibrary(1), threshold=0.01)
    rng = np.random.default_rng(0)
    Z = rng.uniform(-3, 3, size=(50, 2))
    pendulum.fit(Z, np.stack([Z[:, 1], -np.sin(Z[:, 0])], axis=1))
    assert pendulum.polynomial() is None
    t = np.linspace(0, 20, 201)
    circle = rom.rollout(polynomial, [1.0, 0.0], t, stepper="midpoint").z
    np.testing.assert_allclose(np.sum(circle**2, axis=1), 1, rtol=1e-14)
    swing = rom.rollout(pendulum, [2.0, 0.0], t, stepper="midpoint").z
    middle = (swing[1:] + swing[:-1]) / 2
    slope = np.stack([middle[:, 1], -np.sin(middle[:, 0])], axis=1)
    np.testing.assert_allclose(np.diff(swing, axis=0), 0.1 * slope, atol=1e-13)
    with pytest.raises(ValueError, match="for a discrete model, but it is 'midpoint'"):
        rom.rollout(rom.DMD().fit(Z), Z[0], [0.0, 1.0], stepper="midpoint")
