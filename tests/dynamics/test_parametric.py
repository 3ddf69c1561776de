import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.dynamics.parametric import (
    AffineOperatorInference,
    DiscreteInterpolatedOperatorInference,
    InterpolatedOperatorInference,
)


@parametrize_with_checks(
    [
        AffineOperatorInference(ridge=1e-9),
        InterpolatedOperatorInference(),
        DiscreteInterpolatedOperatorInference(),
    ]
)
def test_sklearn(estimator, check):
    check(estimator)


def rows(seed, points, n_inputs=1, n=60):
    """States, inputs and parameters, `n` rows for each point."""
    rng = np.random.default_rng(seed)
    mu = np.repeat(np.atleast_2d(points), n, axis=0)
    return rng.normal(size=(len(mu), 2)), rng.normal(size=(len(mu), n_inputs)), mu


def test_affine_operators_are_recovered_with_parameters_and_inputs():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(3, 2, 2)), rng.normal(size=(2, 1))
    Z, u, mu = rows(1, [[1.0, 2.0], [0.5, -1.0], [2.0, 0.3]])
    theta = np.c_[np.ones(len(mu)), mu]
    y = np.einsum("ns,sij,nj->ni", theta, A, Z) + u @ B.T
    model = AffineOperatorInference("cA", parameters=2, degrees={"A": (0, 1)})
    model.fit(Z, y, u=np.c_[u, mu])
    assert_allclose(model.A_, np.hstack(A), atol=1e-10)
    assert_allclose(model.B_, B, atol=1e-10)
    assert_allclose(model.c_, 0, atol=1e-10)
    fixed = model.at([3.0, -4.0])
    assert_allclose(fixed.A_, A[0] + 3 * A[1] - 4 * A[2], atol=1e-10)
    unseen = np.c_[u, np.tile([3.0, -4.0], (len(u), 1))]
    assert_allclose(fixed.predict(Z, u=u), model.predict(Z, u=unseen), atol=1e-10)


@pytest.mark.parametrize("operators", ["cAHG", "cAHGN"])
def test_affine_models_at_a_point_are_the_polynomial(operators):
    Z, u, mu = rows(2, [[1.0], [2.0], [3.0]], n_inputs=2)
    y = np.random.default_rng(3).normal(size=Z.shape)
    model = AffineOperatorInference(operators, parameters=1, degrees=(0, 2)).fit(
        Z, y, u=np.c_[u, mu]
    )
    everything = np.c_[u, np.full(len(u), 1.7)]
    exponents, coef = model.polynomial()
    value = np.prod(np.hstack([Z, everything])[:, None] ** exponents, axis=2) @ coef.T
    assert_allclose(model.predict(Z, u=everything), value, rtol=1e-8)
    assert_allclose(model.at([1.7]).predict(Z, u=u), value, rtol=1e-8)


def test_affine_refit_is_the_fit_of_fewer_coordinates():
    Z, u, mu = rows(4, [[1.0], [2.0], [3.0]])
    y = np.random.default_rng(5).normal(size=Z.shape)
    X = np.c_[u, mu]
    model = AffineOperatorInference(parameters=1).fit(Z, y, u=X)
    fresh = AffineOperatorInference(parameters=1, ridge=0.1).fit(Z[:, :1], y[:, :1], u=X)
    assert_allclose(model.refit(rank=1, ridge=0.1)._coef(), fresh._coef(), atol=1e-10)


def decay(rate, n=40):
    """Trajectories of dz/dt = -rate z + u, u = 1, two for each rate; and their columns."""
    t = np.linspace(0, 1, n)
    starts = np.repeat([[1.0], [3.0]], n, axis=1)[..., None]
    Z = np.concatenate(
        [1 / r + (s - 1 / r) * np.exp(-r * t)[:, None] for r in rate for s in starts]
    )
    u = np.c_[np.ones(len(Z)), np.repeat(rate, 2 * n)]
    labels = np.repeat(np.arange(2 * len(rate)), n)
    return Z, {"t": np.tile(t, 2 * len(rate)), "u": u, "trajectory": labels}


@pytest.mark.parametrize(
    "model",
    [
        AffineOperatorInference("A", parameters=1, degrees={"A": (1,)}),
        InterpolatedOperatorInference("A", parameters=1),
    ],
)
def test_rollouts_at_an_unseen_parameter_with_inputs(model, tmp_path):
    Z, along = decay(np.array([1.0, 1.5, 2.0, 3.0]))
    model.fit(Z, **along)
    t, u = np.linspace(0, 2, 21), np.tile([1.0, 2.3], (21, 1))
    exact = 1 / 2.3 + (2 - 1 / 2.3) * np.exp(-2.3 * t)
    assert_allclose(rom.rollout(model, [2.0], t, u=u).z[:, 0], exact, atol=1e-6)
    fixed = rom.rollout(model.at([2.3]), [2.0], t, u=u[:, :1])
    assert_allclose(fixed.z[:, 0], exact, atol=1e-6)


def test_interpolation_passes_through_the_fits_and_keeps_its_order():
    """Each point's own model is met exactly; in between the error falls as the fourth power."""
    errors = []
    for n in (9, 17):
        points = np.linspace(0, 1, n)
        Z, _, mu = rows(6, points[:, None], n=10)
        model = InterpolatedOperatorInference("A").fit(Z, np.exp(mu) * Z, u=mu)
        assert_allclose(model.at([points[2]]).A_, np.exp(points[2]) * np.eye(2), atol=1e-12)
        between = (points[1:] + points[:-1]) / 2
        errors.append(max(abs(model.at([m]).A_[0, 0] - np.exp(m)) for m in between))
    assert errors[0] / errors[1] > 12


def test_several_parameters_are_interpolated():
    """A thin-plate spline has the plane among its functions."""
    points = np.random.default_rng(7).uniform(size=(6, 2))
    Z, _, mu = rows(8, points, n=10)
    model = InterpolatedOperatorInference("A").fit(Z, (1 + mu @ [[2.0], [-3.0]]) * Z, u=mu)
    inside = points.mean(axis=0)
    assert_allclose(model.at(inside).A_, (1 + inside @ [2, -3]) * np.eye(2), atol=1e-10)


def relaxing(rates, mu, n=30):
    """Exact rows of dz/dt = mu * rates * (u - z), u linear in each step, and u at its two ends."""
    t = np.arange(n)
    u = np.stack([np.cos(t), np.cos(t + 1)], axis=1)
    kept = np.exp(-mu * rates)
    share = (1 - kept) / (mu * rates)  # the mean of the kept part over a step
    Z = [np.array([2.0, -1.0])]
    for start, end in u[:-1]:
        Z.append(kept * Z[-1] + (share - kept) * start + (1 - share) * end)
    return np.array(Z), u, np.exp(-mu * rates)


def test_maps_between_states_resolve_what_decays_within_a_step():
    """The slow mode keeps up to e^-0.2 in a step, the fast one e^-20 and less."""
    rates, points = np.array([1.0, 100.0]), np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    runs = [relaxing(rates, mu) for mu in points]
    Z = np.concatenate([run[0] for run in runs])
    u = np.column_stack([np.concatenate([run[1] for run in runs]), np.repeat(points, 30)])
    model = DiscreteInterpolatedOperatorInference("A", parameters=1)
    model.fit(Z, u=u, trajectory=u[:, 2])
    for (states, inputs, kept), mu in zip(runs, points, strict=True):
        fixed = model.at([mu])
        assert_allclose(fixed.A_, np.diag(kept), atol=1e-9)
        assert_allclose(rom.rollout(fixed, states[0], np.arange(30), u=inputs).z, states, atol=1e-8)
    assert np.abs(np.linalg.eigvals(model.at([0.7]).A_)).max() < 1


@pytest.mark.parametrize(("rate", "warns"), [(2.0, True), (0.5, False), (-50.0, False)])
def test_growth_that_samples_cannot_show_is_told(rate, warns):
    """A rate is per step here: e^2 from one sample to the next is no derivative."""
    Z, _, mu = rows(10, [[1.0], [2.0]], n=20)
    t, model = np.tile(np.arange(20.0), 2), InterpolatedOperatorInference("cA")
    y = np.where(mu > 1, rate, -0.1) * Z
    if warns:
        with pytest.warns(UserWarning, match=r"At 1 of 2 parameters, the first of them \[2\.\]"):
            model.fit(Z, y, t=t, u=mu, trajectory=mu[:, 0])
    else:
        model.fit(Z, y, t=t, u=mu, trajectory=mu[:, 0])


def test_what_does_not_fit_is_named():
    Z, _, mu = rows(9, [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]], n=10)
    with pytest.raises(ValueError, match="parameters=3 are the last columns of u, but u has 2"):
        AffineOperatorInference("A", parameters=3).fit(Z, Z, u=mu)
    with pytest.raises(ValueError, match=r"degrees names \['G'\]"):
        AffineOperatorInference("A", degrees={"G": (1,)}).fit(Z, Z, u=mu)
    with pytest.raises(ValueError, match="degrees must be different integers"):
        AffineOperatorInference("A", degrees=(1, 1)).fit(Z, Z, u=mu)
    with pytest.raises(ValueError, match="not all on one line"):
        InterpolatedOperatorInference("A").fit(Z, Z, u=mu)
    model = InterpolatedOperatorInference("A").fit(Z, Z, u=mu[:, :1])
    with pytest.raises(ValueError, match="not extrapolated"):
        model.at([3.5])
    with pytest.raises(ValueError, match="Expected 1 finite parameters"):
        model.at([1.0, 2.0])
