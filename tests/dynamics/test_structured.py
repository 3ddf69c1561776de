"""What all networks with a structure share: training, units, inputs, refusals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from other_targets import EXPECTED_FAILURES
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.dynamics.contractive import ContractiveODE
from rom.dynamics.dissipative_ode import DissipativeODE
from rom.dynamics.invariant_ode import InvariantODE

SPIRAL = np.array([[-0.1, 1.5], [-1.5, -0.1]])
ROTATION = np.array([[0.0, 1.5], [-1.5, 0.0]])
MODELS = {
    "contractive": (ContractiveODE(8), SPIRAL),
    "dissipative": (DissipativeODE((8,)), SPIRAL),
    "invariant": (InvariantODE(hidden=(8,)), ROTATION),
}


@parametrize_with_checks(
    [
        ContractiveODE(4, max_iter=1),
        DissipativeODE((4,), max_iter=1),
        InvariantODE(hidden=(4,), max_iter=1),
    ],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_sklearn(estimator, check):
    check(estimator)


def linear(A, t, z0=(1.0, 0.0)):
    return np.stack([expm(A * time) @ z0 for time in t])


@pytest.fixture(params=MODELS)
def kind(request):
    model, A = MODELS[request.param]

    def quick(**options):
        return type(model)(
            **{**model.get_params(), "window": 4, "max_iter": 40, "random_state": 0, **options}
        )

    return quick, A


def test_linear_flow_far_past_training(kind):
    quick, A = kind
    t, later = np.linspace(0, 6, 60), np.linspace(0, 30, 100)
    model = quick().fit(linear(A, t), t=t)
    assert np.abs(rom.rollout(model, [1.0, 0.0], later).z - linear(A, later)).max() < 0.25


def test_uneven_times_of_any_units_with_a_gap_and_two_trajectories(kind):
    """A step across the gap, or from one trajectory to the next, would be a slope far off."""
    quick, A = kind
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(0, 6, 100))
    t = t[np.r_[True, np.diff(t) > 1e-3]]
    states = np.vstack([linear(A, t), linear(A, t, (0.0, -0.5))])
    t = np.r_[t + np.where(np.arange(len(t)) < 50, 0.0, 200.0), t]
    model = quick().fit(1e-3 * states, t=t, trajectory=np.repeat([0, 1], len(t) // 2))
    assert_allclose(model.predict(1e-3 * states), 1e-3 * states @ A.T, atol=1e-4)


def test_inputs_drive_the_state(kind):
    """The slopes at states and inputs never seen together; of the invariant model, on a circle."""
    quick, _ = kind
    t = np.linspace(0, 12, 100)
    circle = isinstance(quick(), InvariantODE)

    def rhs(s, z, u):
        return np.array([-z[1], z[0]]) * u(s) if circle else np.array([u(s), z[0]]) - z

    def respond(u):
        return solve_ivp(rhs, (0, 12), [1.0, 0.0], t_eval=t, rtol=1e-9, args=(u,)).y.T

    seen = lambda s: np.sin(s) + 0.5 * np.sin(3.1 * s)  # noqa: E731
    model = quick().fit(respond(seen), t=t, u=seen(t))
    unseen = lambda s: 0.8 * np.sin(1.7 * s)  # noqa: E731
    Z = respond(unseen)
    truth = np.stack([rhs(s, z, unseen) for s, z in zip(t, Z, strict=True)])
    found = model.predict(Z, u=unseen(t)[:, None])
    assert np.linalg.norm(found - truth) < 0.2 * np.linalg.norm(truth)
    with pytest.raises(ValueError, match="fitted with 1 inputs"):
        model.predict(Z)


def test_same_seed_same_bits_other_seed_other_weights_and_data_left_alone(kind):
    quick, A = kind
    t = np.linspace(0, 5, 60)
    Z = linear(A, t)
    before = Z.copy()
    one, other = (quick(max_iter=10).fit(Z, t=t) for _ in range(2))
    assert_array_equal(one.predict(Z), other.predict(Z))
    assert_array_equal(one.history_, other.history_)
    assert_array_equal(Z, before)
    third = quick(max_iter=10, random_state=1).fit(Z, t=t)
    assert not np.array_equal(third.predict(Z), one.predict(Z))


def test_a_file_brings_back_every_bit(kind, tmp_path, monkeypatch):
    quick, A = kind
    monkeypatch.setattr(rom.dynamics, type(quick()).__name__, type(quick()), raising=False)
    t = np.linspace(0, 5, 60)
    Z, u = linear(A, t), np.sin(t)[:, None]
    model = rom.ROM(rom.Identity(), quick(max_iter=3)).fit(Z, t=t, u=u)
    model.save(tmp_path / "model.nc")
    loaded = rom.load(tmp_path / "model.nc")
    assert_array_equal(loaded.dynamics_.predict(3 * Z, u=u), model.dynamics_.predict(3 * Z, u=u))


def test_given_slopes_need_no_times(kind):
    quick, A = kind
    Z = np.random.default_rng(0).uniform(-1, 1, size=(100, 2))
    model = quick().fit(Z, Z @ A.T)
    assert np.abs(model.predict(Z) - Z @ A.T).max() < 0.3


def test_few_rows(kind):
    quick, A = kind
    for n in (2, 3, 9):
        t = np.linspace(0, 1, n)
        model = quick(max_iter=2).fit(linear(A, t), t=t)
        assert np.isfinite(model.predict([[1.0, 0.0]])).all()


def test_rounding_in_a_constant_column_does_not_set_the_speed():
    t = np.linspace(0, 6, 60)
    Z = np.column_stack([np.cos(t), -np.sin(t), np.ones(60)])
    shaken = Z + [0, 0, 1e-12] * np.random.default_rng(0).normal(size=Z.shape)
    speeds = [
        DissipativeODE((4,), max_iter=1, random_state=0).fit(data, t=t).speed_
        for data in (Z, shaken)
    ]
    assert speeds[1] == pytest.approx(speeds[0], rel=1e-9)


def test_constant_data_stay(kind):
    quick, _ = kind
    model = quick(max_iter=5).fit(np.full((9, 2), 3.0), t=np.arange(9.0))
    assert np.abs(model.predict([[3.0, 3.0]])).max() < 1e-3


def test_a_stage_that_does_worse_than_the_one_before_is_not_kept(kind, monkeypatch):
    """Training on runs is made to end far off; the field matched to slopes is then kept."""
    from rom.dynamics import training

    quick, A = kind
    t = np.linspace(0, 4, 40)
    Z = linear(A, t)
    ends = []

    def minimise(start, *data, **options):
        ends.append(true(start, *data, **options))
        if len(ends) == 2:
            ends[1] = ends[1]._replace(parameters=[value + 3.0 for value in start])
        return ends[-1]

    true = training.minimise
    monkeypatch.setattr(training, "minimise", minimise)
    model = quick(max_iter=20).fit(Z, t=t)
    assert len(ends) == 2
    assert np.abs(model.predict(Z) - Z @ A.T).max() < 0.5


def test_refuses_with_reasons(kind):
    quick, A = kind
    t = np.arange(6.0)
    Z = linear(A, t)
    with pytest.raises(ValueError, match="Unit spacing is never assumed"):
        quick().fit(Z)
    with pytest.raises(ValueError, match="1 targets for 2 coordinates"):
        quick().fit(Z, Z[:, :1])
    with pytest.raises(ValueError, match="stands alone"):
        quick().fit(Z, t=t, trajectory=np.arange(6))
