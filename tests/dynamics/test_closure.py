from __future__ import annotations

import numpy as np
import pytest
from other_targets import EXPECTED_FAILURES
from scipy.integrate import solve_ivp
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.base import Polynomial
from rom.dynamics.closure import Closure
from rom.dynamics.convex_closure import ConvexClosure, _antisymmetric
from rom.dynamics.learned_term import _split

SPRING = rom.OperatorInference.from_operators(A=[[0, 1], [-1, 0]]).polynomial()
QUICK = {"max_iter": 100, "n_steps": 10, "batch": 16, "window": 8, "random_state": 0}


def swing(t, z0, f):
    return solve_ivp(f, (t[0], t[-1]), z0, t_eval=t, rtol=1e-9, atol=1e-11).y.T


@pytest.fixture(scope="module")
def pendulum():
    """The small-angle pendulum is the base; the data are of the true one."""
    t = np.linspace(0, 12, 300)
    return t, swing(t, [2.0, 0.0], lambda _, z: [z[1], -np.sin(z[0])])


@pytest.fixture(scope="module")
def drag():
    """A spring with quadratic drag, which only removes energy."""
    t = np.linspace(0, 20, 300)
    return t, swing(t, [2.0, 0.0], lambda _, z: [z[1], -z[0] - 0.1 * z[1] * abs(z[1])])


@pytest.fixture(scope="module")
def closed(pendulum):
    t, Z = pendulum
    return Closure(SPRING, (16,), **QUICK).fit(Z, t=t)


def test_closed_model_follows_the_data_where_the_base_does_not(pendulum, closed):
    t, Z = pendulum
    runs = [rom.rollout(m, Z[0], t, throw=False).z for m in (closed, _base_of(closed))]
    off, off_base = (np.abs(run - Z).max() for run in runs)
    assert off < 0.05
    assert off_base > 1.0


def _base_of(model):
    return rom.OperatorInference.from_operators(A=model.base_coef_[:, :2])


def test_what_is_kept_has_the_least_held_out_loss(closed):
    assert closed.scores_.shape == (3,)
    assert closed.stage_ == ("none", "a priori", "through the solver")[closed.scores_.argmin()]
    assert closed.scores_[2] <= closed.history_[:, 2].min()
    assert closed.scores_[1] < 0.1 * closed.scores_[0]


def test_training_through_the_solver_makes_good_slopes_that_are_not():
    """Slopes told from seldom samples are wrong; runs over the same samples are not."""
    t = np.arange(0, 45, 0.9)
    Z = swing(t, [1.5, 0.0], lambda _, z: [z[1], -z[0] - 0.3 * z[0] ** 3])
    a_priori, through = (
        Closure(SPRING, (16,), **{**QUICK, "window": 3, "n_steps": n, "learning_rate": 0.01}).fit(
            Z, t=t
        )
        for n in (0, 80)
    )
    assert through.stage_ == "through the solver"
    assert through.scores_[1] == a_priori.scores_[1]
    assert through.scores_[2] < 0.3 * through.scores_[1]


def test_the_base_alone_is_kept_where_it_is_right():
    """Data of the base model with noise: the term could only fit the noise."""
    t = np.linspace(0, 30, 300)
    Z = swing(t, [1.0, 0.0], lambda _, z: [z[1], -z[0]])
    Z = Z + 0.05 * np.random.default_rng(0).normal(size=Z.shape)
    model = Closure(SPRING, (16,), **{**QUICK, "n_steps": 0}).fit(Z, t=t)
    assert model.stage_ == "none"
    assert np.array_equal(model.predict(Z), Z @ [[0.0, -1.0], [1.0, 0.0]])


def test_loss_of_runs():
    import torch

    from rom.dynamics.closure_fit import Yardstick

    rng = np.random.default_rng(0)
    states = rng.normal(size=(60, 2)) @ [[2.0, 0.0], [1.0, 0.5]]
    runs = torch.tensor(states.reshape(4, 15, 2))
    variance = states.var(axis=0).sum()
    size = (np.cov(states.T, bias=True) ** 2).sum()
    # Shifted, runs are off by the shift, and their mean too; turned round, only their order is.
    shift = np.array([0.3, -0.1])
    shifted = Yardstick(states, 2.0)(runs + torch.tensor(shift), runs)
    assert float(shifted) == pytest.approx(3 * (shift @ shift) / variance)
    assert float(Yardstick(states, 0.0)(runs, runs)) == 0.0
    both = [float(Yardstick(states, w)(runs.flip(0), runs)) for w in (0.0, 1.0)]
    assert both[0] == pytest.approx(both[1])
    centred = states - states.mean(axis=0)
    grown = torch.tensor((states + 0.1 * centred).reshape(4, 15, 2))
    expected = 0.01 + 0.21**2 * (np.cov(centred.T, bias=True) ** 2).sum() / size
    assert float(Yardstick(states, 1.0)(grown, runs)) == pytest.approx(expected)


def test_polynomial_in_torch_is_that_in_numpy():
    import torch

    from rom.dynamics.closure_fit import polynomial_field
    from rom.dynamics.library import monomials

    rng = np.random.default_rng(1)
    exponents = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [2, 0, 1], [0, 3, 0], [1, 1, 1]])
    coef = rng.normal(size=(2, len(exponents)))
    x = rng.normal(size=(7, 3))
    found = polynomial_field(Polynomial(exponents, coef))(
        torch.tensor(x[:, :2]), torch.tensor(x[:, 2:])
    )
    np.testing.assert_allclose(found, monomials(x, exponents) @ coef.T, rtol=1e-13)


@pytest.mark.parametrize(
    "model",
    [
        Closure(hidden=(8,), **QUICK),
        ConvexClosure(units=8, **QUICK),
        ConvexClosure(units=8, backscatter=True, **QUICK),
    ],
)
def test_term_in_torch_is_that_in_numpy(model):
    import torch

    from rom.dynamics.networks import effective

    rng = np.random.default_rng(2)
    model.n_features_in_, model.n_inputs_ = 3, 2
    start = model._start(np.random.RandomState(0), 3)
    layers = [rng.normal(size=v.shape) for v in effective(start.parameters, start.multipliers)]
    model._keep(layers)
    x = rng.normal(size=(20, 5))
    found = model._torch_term([torch.tensor(v) for v in layers], torch.tensor(x))
    np.testing.assert_allclose(found, model._term(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backscatter", [False, True])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_convex_term_never_adds_energy(backscatter, size):
    """Whatever the weights and the inputs, to rounding."""
    rng = np.random.default_rng(3)
    model = ConvexClosure(units=12, backscatter=backscatter)
    model.n_features_in_, model.n_inputs_ = 4, 1
    start = model._start(np.random.RandomState(0), 4)
    model._keep([3 * rng.normal(size=v.shape) for v in start.parameters])
    z = size * rng.normal(size=(5000, 4))
    term = model._term(np.hstack([z, rng.normal(size=(5000, 1))]))
    scale = np.linalg.norm(z, axis=1) * np.linalg.norm(term, axis=1)
    power = (z * term).sum(axis=1)
    assert (power <= 1e-13 * scale).all()
    assert power.min() < -1e-3 * scale.mean()


def test_convex_term_is_the_slope_of_a_convex_potential():
    rng = np.random.default_rng(4)
    model = ConvexClosure(units=6)
    model.n_features_in_, model.n_inputs_ = 3, 0
    start = model._start(np.random.RandomState(1), 3)
    model._keep([rng.normal(size=v.shape) for v in start.parameters])

    def potential(z):
        w, b = model.directions_, model.offsets_
        tangent = np.log(np.cosh(b)) + (z @ w) * np.tanh(b)
        return ((np.log(np.cosh(z @ w + b)) - tangent) * model.strengths_).sum(axis=1)

    z, step = rng.normal(size=(50, 3)), 1e-5
    slope = [(potential(z + step * e) - potential(z - step * e)) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(model._term(z), -np.transpose(slope), atol=1e-8)
    other = rng.normal(size=(50, 3))
    assert (potential((z + other) / 2) <= (potential(z) + potential(other)) / 2).all()
    assert potential(np.zeros((1, 3)))[0] == 0.0
    assert (potential(z) >= 0).all()


def test_neutral_term_is_antisymmetric():
    entries = np.random.default_rng(5).normal(size=(4, 6))
    S = (entries @ _antisymmetric(4)).reshape(4, 4, 4)
    assert np.array_equal(S, -S.transpose(0, 2, 1))
    assert np.array_equal(S[:, *np.triu_indices(4, 1)], entries)


@pytest.mark.parametrize("backscatter", [False, True])
def test_energy_of_a_closed_conservative_model_never_grows(backscatter, drag):
    """The base model keeps the energy, so the closed one can only lose it: from any state."""
    t, Z = drag
    model = ConvexClosure(SPRING, 8, backscatter=backscatter, **QUICK).fit(Z, t=t)
    for z0 in ([2.0, 0.0], [0.1, 0.0], [-30.0, 20.0]):
        energy = (rom.rollout(model, z0, np.linspace(0, 10, 50), bound=1e3).z ** 2).sum(axis=1)
        assert (np.diff(energy) <= 1e-6 * energy[0]).all()
    if not backscatter:
        assert np.abs(rom.rollout(model, Z[0], t).z - Z).max() < 0.05


def test_linear_base_identified_from_data_is_that_of_its_own_fit(pendulum):
    t, Z = pendulum
    base = rom.OperatorInference("A")
    model = Closure(base, (8,), **{**QUICK, "n_steps": 0}).fit(Z, t=t)
    expected = base.fit(Z, t=t).polynomial()
    assert np.array_equal(model.base_coef_, expected.coef)
    assert np.array_equal(model.base_exponents_, expected.exponents)


def test_inputs_uneven_times_and_several_trajectories():
    """z' = -z + u with the base z' = -z: the term is the input, on three runs of uneven times."""
    rng = np.random.default_rng(6)
    parts = []
    for phase in range(3):
        t = np.sort(rng.uniform(0, 6, 120))
        t = t[np.r_[True, np.diff(t) > 1e-3]]
        u = np.sin(2 * t + phase)
        z = solve_ivp(
            lambda s, z, phase=phase: -z + np.sin(2 * s + phase), (t[0], t[-1]), [1.0],
            t_eval=t, rtol=1e-9,
        ).y.T  # fmt: skip
        parts.append((z, t, u[:, None], np.full(len(t), phase)))
    Z, t, u, label = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    base = Polynomial(np.array([[1, 0]]), np.array([[-1.0]]))
    model = Closure(base, (8,), **QUICK).fit(Z, t=t, u=u, trajectory=label)
    assert model.stage_ != "none"
    assert np.abs(model.predict(Z, u=u) - (u - Z)).max() < 0.1


def test_same_seed_same_bits(pendulum, closed):
    t, Z = pendulum
    before = Z.copy()
    again = clone(closed).fit(Z, t=t)
    for a, b in zip(closed.weights_ + closed.biases_, again.weights_ + again.biases_, strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(closed.history_, again.history_)
    assert np.array_equal(Z, before)


@pytest.mark.parametrize("kind", [Closure, ConvexClosure])
def test_saved_and_loaded_bit_for_bit(kind, pendulum, tmp_path):
    t, Z = pendulum
    options = {**QUICK, "n_steps": 2, "max_iter": 20}
    if kind is ConvexClosure:
        options["backscatter"] = True
    model = rom.ROM(rom.Identity(), kind(SPRING, **options)).fit(Z, t=t)
    model.save(tmp_path / "model.nc")
    loaded = rom.load(tmp_path / "model.nc")
    assert np.array_equal(loaded.dynamics_.predict(Z), model.dynamics_.predict(Z))
    assert loaded.dynamics_.stage_ == model.dynamics_.stage_
    clone(loaded).fit(Z, t=t)


def test_given_slopes_without_times_are_fitted_a_priori():
    rng = np.random.default_rng(7)
    Z = rng.uniform(-1, 1, size=(300, 2))
    y = Z @ [[0.0, -1.0], [1.0, 0.0]] + np.tanh(Z)
    model = Closure(SPRING, (16,), **QUICK).fit(Z, y)
    assert model.stage_ == "a priori"
    assert np.isnan(model.scores_).all()
    assert np.abs(model.predict(Z) - y).max() < 0.05


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5])
def test_held_out_rows_are_the_ends_and_start_from_a_row_of_training(fraction):
    pieces = [slice(0, 100), slice(100, 103), slice(103, 160)]
    train, held = _split(pieces, fraction)
    if fraction == 0.0:
        assert train == held == pieces
        return
    for piece in held:
        assert any(part.stop == piece.start + 1 for part in train)
        assert any(piece.stop == whole.stop for whole in pieces)
    assert sum(p.stop - p.start - 1 for p in held) == sum(
        int(fraction * (p.stop - p.start)) for p in pieces
    )


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (
            (np.eye(3, dtype=int), np.ones((2, 3))),
            r"exponents of base must have shape \(n_terms, 2",
        ),
        ((np.eye(2, dtype=int), np.ones((2, 5))), "one column for each of its 2 terms"),
        ((np.eye(2, dtype=int), np.ones((3, 2))), "base model has 3 targets"),
        (rom.DMD(), "continuous-time model whose right-hand side is a polynomial"),
        (rom.NeuralODE((4,), max_iter=1), "right-hand side is a polynomial"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(base, message, pendulum):
    t, Z = pendulum
    with pytest.raises(ValueError, match=message):
        Closure(base, (4,), **QUICK).fit(Z[:30], t=t[:30])


def test_refuses_rows_that_stand_alone():
    with pytest.raises(ValueError, match="stands alone"):
        Closure(SPRING, **QUICK).fit(np.eye(2), t=np.arange(2.0), trajectory=[0, 1])


def expected_failures(estimator):
    """An energy needs one target for each coordinate."""
    return EXPECTED_FAILURES if isinstance(estimator, ConvexClosure) else {}


@parametrize_with_checks(
    [
        Closure(hidden=(4,), max_iter=2, n_steps=2, random_state=0),
        ConvexClosure(units=4, backscatter=True, max_iter=2, n_steps=2, random_state=0),
    ],
    expected_failed_checks=expected_failures,
)
def test_sklearn(estimator, check):
    check(estimator)
