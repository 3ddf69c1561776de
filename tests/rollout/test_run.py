"""rom.rollout: how it starts, runs and ends."""

import inspect
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

import rom
from rom.base import Dynamics, Polynomial
from rom.rollout import Rollout, RolloutError, Status
from rom.rollout.run import STEPS_PYTHON


class Field(Dynamics):
    """dz/dt = field(Z, u), given; runs as Python."""

    time = "continuous"
    _parameter_constraints = {"field": "no_validation", "bound": "no_validation"}  # noqa: RUF012

    def __init__(self, field, bound=100.0):
        self.field = field
        self.bound = bound

    def _fit_series(self, series):
        self.bound_ = self.bound

    def _predict(self, Z, u):
        return self.field(Z) if u is None else self.field(Z, u)


class Map(Field):
    time = "discrete"


class Square(Field):
    """dz/dt = z², which runs compiled."""

    def polynomial(self):
        return Polynomial(np.array([[2]]), np.array([[1.0]]))


class Driven(Field):
    """dz/dt = z² + u, which runs compiled."""

    def polynomial(self):
        return Polynomial(np.array([[2, 0], [0, 1]]), np.array([[1.0, 1.0]]))


def fitted(model, rank=1, n_inputs=0, t=(0.0, 0.1)):
    u = np.zeros((2, n_inputs)) if n_inputs else None
    y = np.zeros((2, rank)) if t is None else None
    return model.fit(np.ones((2, rank)), y, t=t, u=u)


def assert_ends_where_it_says(run):
    """States are finite exactly up to the end."""
    np.testing.assert_array_equal(np.isfinite(run.z).all(axis=1), run.t <= run.t_end)
    np.testing.assert_array_equal(np.isfinite(run.z).any(axis=1), run.t <= run.t_end)


@pytest.mark.parametrize("kind", [Field, Square])
@pytest.mark.parametrize("z0", [0.5, 1.0, 40.0])
def test_blow_up_without_bound_ends_at_the_pole(kind, z0):
    model = fitted(kind(np.square))
    t = np.linspace(0, 3 / z0, 31)
    run = rom.rollout(model, [z0], t, bound=np.inf, throw=False)
    assert run.status is Status.STEP_TOO_SMALL
    assert run.t_end == pytest.approx(1 / z0, rel=1e-6)
    assert_ends_where_it_says(run)
    inside = t < 0.95 / z0
    np.testing.assert_allclose(run.z[inside, 0], 1 / (1 / z0 - t[inside]), rtol=1e-6)


@pytest.mark.parametrize("kind", [Field, Square])
@pytest.mark.parametrize("stepper", ["dopri5", "dop853", "rk4"])
def test_blow_up_leaves_the_bound(kind, stepper):
    model = fitted(kind(np.square))
    run = rom.rollout(model, [1.0], np.linspace(0, 2, 401), stepper=stepper, throw=False)
    assert run.status is Status.LEFT_BOUND
    assert run.bound == 100
    assert run.t_end == pytest.approx(0.99, abs=0.011)
    assert_ends_where_it_says(run)


def test_the_error_carries_the_rollout_and_says_what_to_try():
    model = fitted(Square(np.square))
    with pytest.raises(RolloutError, match=r"t = 0\.99.* of 2 .*ridge") as caught:
        rom.rollout(model, [1.0], [0.0, 2.0])
    assert caught.value.rollout.status is Status.LEFT_BOUND
    assert isinstance(caught.value.rollout, Rollout)


def test_discrete_blow_up_ends_at_the_first_state_outside():
    model = fitted(Map(lambda Z: 2 * Z), t=(0.0, 1.0))
    run = rom.rollout(model, [1.0], np.arange(12.0), throw=False)
    assert (run.status, run.t_end, run.n_steps) == (Status.LEFT_BOUND, 7.0, 7)
    np.testing.assert_array_equal(run.z[:8, 0], 2.0 ** np.arange(8))
    assert_ends_where_it_says(run)


def test_discrete_overflow_ends_at_the_last_finite_state():
    model = fitted(Map(lambda Z: Z**2), t=(0.0, 1.0))
    run = rom.rollout(model, [10.0], np.arange(20.0), bound=np.inf, throw=False)
    assert run.status is Status.NOT_FINITE
    assert run.t_end == 8.0  # 10 ** (2 ** 8) is the last below the largest double
    assert_ends_where_it_says(run)


@pytest.mark.parametrize("stepper", ["dopri5", "dop853", "rk4"])
def test_a_model_that_becomes_nan_ends_there(stepper):
    model = fitted(Field(lambda Z: np.where(Z < 2, 1.0, np.nan)))
    run = rom.rollout(model, [1.0], np.linspace(0, 3, 31), stepper=stepper, throw=False)
    assert run.status is Status.NOT_FINITE
    assert run.t_end == pytest.approx(1, abs=0.11)
    assert_ends_where_it_says(run)


def test_a_model_that_is_nan_at_the_start_ends_there():
    model = fitted(Field(lambda Z: Z * np.nan))
    run = rom.rollout(model, [1.0], [0.0, 1.0, 2.0], throw=False)
    assert (run.status, run.t_end) == (Status.NOT_FINITE, 0.0)
    assert_ends_where_it_says(run)


def test_a_jump_in_the_field_that_leads_on_is_passed():
    model = fitted(Field(lambda Z: np.where(Z < 0, 1.0, 0.5)))
    run = rom.rollout(model, [-1.0], np.linspace(0, 3, 31), throw=False)
    assert (run.status, run.t_end) == (Status.COMPLETED, 3.0)
    np.testing.assert_allclose(run.z[:, 0], np.where(run.t < 1, 1, 0.5) * (run.t - 1), atol=1e-8)


@pytest.mark.parametrize(
    ("size", "status"),
    [(1e6, Status.TOO_MANY_STEPS), (1e-6, Status.STEP_TOO_SMALL)],
)
def test_a_jump_in_the_field_that_holds_the_state_ends_the_run(size, status):
    """Both sides lead to z = 0, reached at t = 1. Steps over the jump err by about their length.

    Those the tolerance, 1e-14 `size`, allows are far longer than the rounding of t, and use up the
    budget; or far shorter.
    """
    model = fitted(Field(lambda Z: np.where(Z < 0, 1.0, -1.0), bound=100 * size))
    run = rom.rollout(model, [-1.0], np.linspace(0, 3, 31), bound=np.inf, throw=False)
    assert run.status is status
    assert run.t_end == pytest.approx(1, abs=0.05)
    assert run.n_steps < 2 * STEPS_PYTHON
    assert (run.n_steps > STEPS_PYTHON) == (status is Status.TOO_MANY_STEPS)
    np.testing.assert_allclose(run.z[:10, 0], run.t[:10] - 1, atol=1e-12)
    assert_ends_where_it_says(run)


def test_a_stiff_model_ends_by_its_budget():
    """z' = 1e9 (1 - z²) comes to z = 1, where its rate of decay is 2e9; its linear part is 0."""
    stiff = rom.OperatorInference("cH").fit([[0.0], [1.0], [2.0]], [[1e9], [0.0], [-3e9]])
    run = rom.rollout(stiff, [0.5], np.linspace(0, 10, 11), throw=False)
    assert run.status is Status.TOO_MANY_STEPS
    assert 0 < run.t_end < 10
    assert_ends_where_it_says(run)


def test_stiff_linear_terms_are_left_to_the_exponential_method():
    """z' = w - 1e9 z, w' = -w: z is w / (1e9 - 1) once its transient is over."""
    A = np.array([[-1e9, 1.0], [0.0, -1.0]])
    model, t = rom.OperatorInference.from_operators(A=A), np.linspace(0, 10, 11)
    early = rom.rollout(model, [1.0, 1.0], t, stepper="dopri5", bound=10, throw=False)
    assert early.status is Status.TOO_MANY_STEPS
    run = rom.rollout(model, [1.0, 1.0], t, bound=10)
    np.testing.assert_allclose(run.z[1:, 1], np.exp(-t[1:]), rtol=1e-7)
    np.testing.assert_allclose(run.z[1:, 0], np.exp(-t[1:]) / (1e9 - 1), rtol=1e-7)


def test_a_start_outside_the_bound_ends_at_once():
    run = rom.rollout(fitted(Square(np.square)), [101.0], [0.0, 1.0], throw=False)
    assert (run.status, run.t_end, run.n_steps) == (Status.LEFT_BOUND, 0.0, 0)
    assert_ends_where_it_says(run)


@pytest.mark.parametrize("stepper", ["auto", "rk4", "midpoint"])
def test_a_start_whose_square_overflows_is_within_a_huge_bound(stepper):
    turn = rom.OperatorInference.from_operators(A=[[0.0, 1.0], [-1.0, 0.0]])
    options = {"stepper": stepper, "throw": False}
    run = rom.rollout(turn, [1e200, 0.0], [0.0, 0.1], bound=1e300, **options)
    assert run.status is Status.COMPLETED
    run = rom.rollout(turn, [1e200, 0.0], [0.0, 0.1], bound=1e199, **options)
    assert (run.status, run.t_end) == (Status.LEFT_BOUND, 0.0)


@pytest.mark.parametrize("kind", [Field, Driven])
@pytest.mark.parametrize("stepper", ["rk4", "midpoint"])
def test_substeps_are_the_steps_of_a_finer_run(kind, stepper):
    """Three to each output, inputs straight between outputs; it may end between outputs, too."""
    model = fitted(kind(lambda Z, u: Z**2 + u), n_inputs=1)
    t = np.cumsum(np.linspace(0.1, 0.3, 9))
    fine = np.interp(np.arange(25) / 3, np.arange(9), t)
    options = {"stepper": stepper, "throw": False}
    for bound, early in ((10.0, False), (0.4, True)):
        whole = rom.rollout(model, [0.2], fine, u=np.sin(t)[:1] * fine, bound=bound, **options)
        parts = rom.rollout(
            model, [0.2], t, u=np.sin(t)[:1] * t, substeps=3, bound=bound, **options
        )
        np.testing.assert_allclose(parts.z, whole.z[::3], rtol=1e-13)
        assert (parts.status, parts.n_steps) == (whole.status, whole.n_steps)
        assert parts.t_end == pytest.approx(whole.t_end, rel=1e-14)
        assert (parts.status is Status.LEFT_BOUND) == early
        assert_ends_where_it_says(parts)
    assert np.abs(parts.t_end - t).min() > 0.01


def test_substeps_of_noise_are_the_steps_of_a_finer_run():
    model = rom.LinearInverseModel().fit(np.eye(2), np.eye(2) - 0.5)
    options = {"stepper": "euler_maruyama", "random_state": 0, "bound": np.inf}
    whole = rom.rollout(model, [1.0, 0.0], np.arange(13) * 0.1, **options)
    parts = rom.rollout(model, [1.0, 0.0], np.arange(5) * 0.3, substeps=3, **options)
    np.testing.assert_allclose(parts.z, whole.z[::3], rtol=1e-12)
    assert parts.n_steps == whole.n_steps == 12


@pytest.mark.parametrize("stepper", ["rk4", "midpoint"])
def test_states_between_outputs_take_no_memory(stepper):
    model, peaks = fitted(Square(lambda Z: -(Z**2))), []
    for substeps in (1, 1, 500):  # the first loads what it needs
        tracemalloc.start()
        rom.rollout(model, [1e-3], np.arange(200.0), stepper=stepper, substeps=substeps)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1]


def test_one_output_time_is_the_start():
    run = rom.rollout(fitted(Square(np.square)), [1.0], [5.0])
    assert (run.status, run.t_end) == (Status.COMPLETED, 5.0)
    np.testing.assert_array_equal(run.z, [[1.0]])


def test_cubic_sindy_on_noisy_periodic_data_ends():
    """The case whose simulation hangs in other toolkits."""
    t = np.arange(0, 10, 0.02)
    clean = np.c_[np.cos(t), np.sin(t), np.cos(2 * t), np.sin(2 * t)]
    ended = []
    for seed in range(6):
        Z = clean + 0.1 * np.random.default_rng(seed).normal(size=clean.shape)
        model = rom.SINDy(rom.PolynomialLibrary(3), threshold=0.1).fit(Z, t=t)
        for bound in (None, np.inf):
            run = rom.rollout(model, Z[0], np.arange(0, 20, 0.02), bound=bound, throw=False)
            assert run.n_steps < 20_000
            assert_ends_where_it_says(run)
            ended.append(run.status)
    assert Status.LEFT_BOUND in ended
    assert Status.STEP_TOO_SMALL in ended


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([0.1, 1.0, 30.0]),
    stepper=st.sampled_from(["dopri5", "dop853", "midpoint", "rk4"]),
    bound=st.sampled_from([None, np.inf]),
)
@example(seed=1108, size=1.0, stepper="rk4", bound=None)  # the last state is out of bounds
@example(seed=29713, size=1.0, stepper="rk4", bound=np.inf)  # and here near overflow
def test_any_quadratic_model_ends_where_it_says(seed, size, stepper, bound):
    rng = np.random.default_rng(seed)
    model = rom.OperatorInference("cAH").fit(
        rng.normal(size=(30, 3)), size * rng.normal(size=(30, 3))
    )
    t = np.cumsum(rng.uniform(0.01, 0.5, size=40))
    run = rom.rollout(model, rng.normal(size=3), t, stepper=stepper, bound=bound, throw=False)
    assert_ends_where_it_says(run)
    with np.errstate(over="ignore"):  # without a bound, states whose squares are infinite are fine
        largest = np.linalg.norm(run.z, axis=1).max()
    within = np.isfinite(run.z).all() and largest <= run.bound
    assert (run.status is Status.COMPLETED) == (run.t_end == t[-1] and within)
    again = rom.rollout(model, run.z[0], t, stepper=stepper, bound=bound, throw=False)
    np.testing.assert_array_equal(again.z, run.z)


def test_a_discrete_linear_model_is_powers_of_its_matrix():
    A = np.array([[0.9, 0.2], [-0.2, 0.9]])
    Z = np.stack([np.linalg.matrix_power(A, k) @ [1.0, 0.5] for k in range(30)])
    model = rom.DMD().fit(Z, t=0.1 * np.arange(30))
    run = rom.rollout(model, Z[3], 5 + 0.1 * np.arange(20))
    np.testing.assert_allclose(run.z, Z[3:23], atol=1e-12)


def test_inputs_reach_compiled_and_plain_models_alike():
    rng = np.random.default_rng(0)
    t = np.linspace(0, 2, 21)
    u = np.sin(3 * t)[:, None]
    Z = rng.normal(size=(40, 2))
    v = rng.normal(size=(40, 1))
    y = Z @ np.array([[-0.5, 1.0], [-1.0, -0.5]]).T + v * [1.0, 2.0]
    compiled = rom.OperatorInference("A").fit(Z, y, u=v)
    plain = fitted(Field(lambda Z, u: compiled._predict(Z, u)), rank=2, n_inputs=1)
    runs = [rom.rollout(model, [1.0, 0.0], t, u=u) for model in (compiled, plain)]
    np.testing.assert_allclose(runs[0].z, runs[1].z, atol=1e-9)
    still = rom.rollout(compiled, [1.0, 0.0], t, u=0 * u)
    assert np.abs(still.z - runs[0].z).max() > 0.1


def test_arguments_are_left_alone():
    model = fitted(Square(np.square))
    z0, t = np.array([0.5]), np.array([0.0, 0.5])
    z0.setflags(write=False)
    t.setflags(write=False)
    run = rom.rollout(model, z0, t)
    assert run.z[0, 0] == 0.5
    run.z[0, 0] = 7
    assert z0[0] == 0.5


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0, 2.0], [0.0, 1.0]), {}, r"z0 must be one state of shape \(1,\).*\(2,\)"),
        (([np.nan], [0.0, 1.0]), {}, r"z0\[0\] is nan"),
        (([1.0], [0.0, 1.0, 0.5]), {}, r"runs backwards at row 2"),
        (([1.0], [0.0, 0.0]), {}, r"repeats at row 1"),
        (([1.0], []), {}, r"at least one time"),
        (([1.0], [[0.0, 1.0]]), {}, r"1-D"),
        (([1.0], [0.0, np.inf]), {}, r"not finite"),
        (([1.0], [0.0, 1.0]), {"u": np.ones(2)}, r"u has 1 inputs.* with 0"),
        (([1.0], [0.0, 1.0]), {"stepper": "map"}, r"'dopri5', 'dop853', 'rk4'.*'map'"),
        (([1.0], [0.0, 1.0]), {"stepper": "euler"}, r"'euler'"),
        (([1.0], [0.0, 1.0]), {"bound": 0.0}, r"bound must be a positive number"),
        (([1.0], [0.0, 1.0]), {"bound": np.nan}, r"bound must be a positive number"),
        (([1.0], [0.0, 1.0]), {"bound": "a"}, r"bound must be a positive number.*'a'"),
        (([1.0], [0.0, 1.0]), {"bound": np.array([1, 2])}, r"bound must be .*array\(\[1, 2\]\)"),
        (([1.0], [0.0, 1.0]), {"stepper": "rk4", "substeps": 10**20}, r"1e\+09 at most.*10{20}\."),
        (([1j], [0.0, 1.0]), {}, r"z0 must hold real numbers.* complex128"),
        ((["a"], [0.0, 1.0]), {}, r"z0 must hold real numbers.* <U1"),
        ((np.array([1], "M8[D]"), [0.0, 1.0]), {}, r"z0 must hold real numbers.* datetime64"),
        ((np.ma.array([1e20], mask=[1]), [0.0, 1.0]), {}, r"z0\[0\] is nan"),
        (([1.0], np.ma.array([0.0, 1.0], mask=[0, 1])), {}, r"not finite, the first in row 1"),
        (([1.0], [-1e308, 1e308]), {}, r"t spans more than a number can hold"),
    ],
)
def test_bad_arguments_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        rom.rollout(fitted(Square(np.square)), *arguments, **options)


def test_times_that_do_not_fit_into_memory_are_named():
    with pytest.raises(MemoryError, match=r"output times.*t=range\(0, 10{17}\).*reduce"):
        rom.rollout(fitted(Square(np.square)), [1.0], range(10**17))


@pytest.mark.parametrize(("rate", "end"), [(10.0, 1e308), (1e200, 1.0)])
def test_the_longest_time_and_the_fastest_decay_are_run_without_overflow(rate, end):
    decay = rom.OperatorInference.from_operators(A=[[-rate]])
    run = rom.rollout(decay, [1.0], [0.0, end])
    np.testing.assert_allclose(run.z, [[1], [0]], atol=1e-15)


def test_bad_inputs_are_named():
    model = fitted(Field(lambda Z, u: u), n_inputs=1)
    with pytest.raises(ValueError, match="fitted with 1 inputs, but u was not given"):
        rom.rollout(model, [1.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="u has 3 rows, but the state has 2"):
        rom.rollout(model, [1.0], [0.0, 1.0], u=np.ones(3))
    with pytest.raises(ValueError, match="u contains NaN"):
        rom.rollout(model, [1.0], [0.0, 1.0], u=np.ma.array([1.0, 1e20], mask=[0, 1]))
    with pytest.raises(ValueError, match=r"u must hold real numbers.*complex128"):
        rom.rollout(model, [1.0], [0.0, 1.0], u=[1j, 0.0])


def test_bad_models_are_named():
    with pytest.raises(NotFittedError):
        rom.rollout(Square(np.square), [1.0], [0.0, 1.0])
    with pytest.raises(TypeError, match="ROM, call its own rollout"):
        rom.rollout(rom.ROM(), [1.0], [0.0, 1.0])
    tall = rom.OperatorInference("A").fit(np.eye(2), np.ones((2, 1)))
    with pytest.raises(ValueError, match="1 targets for 2 coordinates"):
        rom.rollout(tall, [1.0, 0.0], [0.0, 1.0])


def test_a_map_takes_only_its_own_step():
    model = fitted(Map(lambda Z: 0.5 * Z), t=(0.0, 0.1))
    with pytest.raises(ValueError, match=r"step 0\.1.*step of t is 0\.2"):
        rom.rollout(model, [1.0], [0.0, 0.2, 0.4])
    with pytest.raises(ValueError, match="evenly"):
        rom.rollout(model, [1.0], [0.0, 0.1, 0.3])
    with pytest.raises(ValueError, match=r"'map'.*'rk4'"):
        rom.rollout(model, [1.0], [0.0, 0.1], stepper="rk4")
    untimed = fitted(Map(lambda Z: 0.5 * Z), t=None)
    np.testing.assert_array_equal(
        rom.rollout(untimed, [1.0], [3.0, 4.0, 5.0]).z[:, 0], [1, 0.5, 0.25]
    )


def test_the_package_is_the_function():
    assert callable(rom.rollout)
    assert list(inspect.signature(rom.rollout).parameters) == [
        "dynamics", "z0", "t", "u", "stepper", "substeps", "bound", "reduce", "throw",
        "random_state",
    ]  # fmt: skip
    assert "Run a fitted latent model" in inspect.getdoc(rom.rollout)
    assert rom.rollout.Status is Status


def test_every_status_says_what_happened_and_what_to_try():
    assert [status.name for status in Status] == [
        "COMPLETED", "LEFT_BOUND", "NOT_FINITE", "STEP_TOO_SMALL", "TOO_MANY_STEPS",
    ]  # fmt: skip
    for status in list(Status)[1:]:
        assert any(remedy in status.value.lower() for remedy in ("fit with", "give"))
