import numpy as np
import pytest
from numpy.testing import assert_allclose

import rom
from rom.regularisation import default_candidates, search_ridge


def cycle(n=300, noise=0.0):
    """A limit cycle that draws its state in: dr/dt = r (1 - r²)."""
    t = np.linspace(0, 15, n)
    r = 1 / np.sqrt(1 + 3 * np.exp(-2 * t))
    Z = np.stack([r * np.cos(2 * t), r * np.sin(2 * t)], axis=1)
    return t, Z + noise * np.random.default_rng(0).normal(size=Z.shape)


def test_the_best_candidate_is_fitted_to_all_rows():
    t, Z = cycle()
    found = search_ridge(rom.OperatorInference("cAHG"), Z, t=t, candidates=[1e-12, 10.0])
    assert found.table.ridge[0] == 1e-12
    fresh = rom.OperatorInference("cAHG", ridge=1e-12).fit(Z, t=t)
    assert_allclose(found.best._coef(), fresh._coef(), rtol=1e-10)
    assert found.table.error[0] < 1e-4 < found.table.error[1]


def test_unbounded_candidates_come_last():
    """A pure growth rate fits the training half and leaves every bound in the other."""
    t = np.linspace(0, 8, 400)
    Z = (np.exp(t) / (1 + np.exp(t - 3)))[:, None]
    found = search_ridge(
        rom.OperatorInference("A"), Z, t=t, candidates=[0.0, 100.0],
        splitter=rom.data.split.ForwardChaining(2), growth=2.0,
    )  # fmt: skip
    assert found.table.ridge.tolist() == [100.0, 0.0]
    assert found.table.unbounded.tolist()[0] == 0
    assert found.table.unbounded.tolist()[1] > 0
    assert np.isinf(found.table.error[1])
    with pytest.raises(ValueError, match="None of 1 candidates"):
        search_ridge(rom.OperatorInference("A"), Z, t=t, candidates=[0.0], growth=2.0)


def test_the_choice_from_noisy_states_stays_on_the_cycle():
    t, Z = cycle(noise=1e-3)
    exact = cycle()[1]
    model = rom.OperatorInference("cAHG")
    grid = [{"c": low, "A": low, "H": high, "G": high} for low in (0.0, 1e-4, 1e-2)
            for high in (0.0, 1e-4, 1e-2)]  # fmt: skip
    found = search_ridge(model, Z, t=t, candidates=grid)
    assert (np.diff(found.table.error) >= 0).all()
    run = rom.rollout(found.best, exact[0], t, throw=False)
    assert run.status is rom.rollout.Status.COMPLETED
    assert_allclose(np.linalg.norm(run.z[150:], axis=1), 1, atol=0.05)


def test_trajectories_are_run_each_from_its_own_held_out_start():
    t, Z = cycle(90)
    both = np.concatenate([Z, -0.5 * Z])
    found = search_ridge(
        rom.OperatorInference("A"), both, t=np.tile(t, 2), trajectory=np.repeat([0, 1], 90),
        candidates=[0.0], splitter=rom.data.split.LeaveOneTrajectoryOut(),
    )  # fmt: skip
    expected = 0.0
    for rows, others in ((slice(0, 90), slice(90, 180)), (slice(90, 180), slice(0, 90))):
        model = rom.OperatorInference("A").fit(both[others], t=t)
        run = rom.rollout(model, both[rows][0], t, bound=np.inf)
        expected += ((run.z - both[rows]) ** 2).sum()
    variance = ((both - both.mean(axis=0)) ** 2).sum()
    assert_allclose(found.table.error[0], np.sqrt(expected / variance), rtol=1e-6)


def test_default_grid_names_the_operators_there_are():
    first = next(default_candidates(rom.OperatorInference("cAH"), 2, 0))
    assert set(first) == {"c", "A", "H"}
    first = next(default_candidates(rom.OperatorInference("AN"), 2, 1))
    assert set(first) == {"A", "B", "N"}
    first = next(default_candidates(rom.AffineOperatorInference("AH"), 2, 1))
    assert set(first) == {"A", "H"}  # the input is the parameter


def decays(n=60):
    """States that decay at rates 1, 1.5, 2 and 2.5, which are their parameter."""
    rates, t = np.array([1.0, 1.5, 2.0, 2.5]), np.linspace(0, 1, n)
    z = np.exp(-np.outer(rates, t)).ravel()
    rows = {"t": np.tile(t, 4), "u": np.repeat(rates, n)[:, None]}
    return np.stack([z, z**2], axis=1), rows | {"trajectory": np.repeat(np.arange(4), n)}


@pytest.mark.parametrize(
    "model",
    [
        rom.AffineOperatorInference("A", degrees=(1,)),
        rom.InterpolatedOperatorInference("A"),
        rom.DiscreteInterpolatedOperatorInference("A"),
        rom.StableOperatorInference("A"),
        rom.DMD(),
        rom.NVAR(degree=1),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_model_that_keeps_its_sums_is_searched(model):
    Z, rows = decays()
    found = search_ridge(model, Z, **rows, candidates=[1e-12, 1.0])
    assert type(found.best) is type(model)
    fresh = model.set_params(ridge=found.table.ridge[0]).fit(Z, **rows)
    assert_allclose(found.best.predict(Z, u=rows["u"]), fresh.predict(Z, u=rows["u"]), atol=1e-9)
    parametric = "Affine" in str(model) or "Interpolated" in str(model)
    assert found.table.error[0] < (0.01 if parametric else 1)


def test_affine_operators_are_searched_over_the_default_grid():
    Z, rows = decays(20)
    found = search_ridge(rom.AffineOperatorInference("A", degrees=(1,)), Z, **rows)
    assert found.table.error[0] < 0.01


@pytest.mark.parametrize("model", [rom.SINDy(), rom.KernelModel(), rom.OptimisedDMD()])
def test_models_without_a_ridge_to_search_are_refused(model):
    Z, rows = decays(20)
    with pytest.raises(TypeError, match="a model with a ridge that keeps the sums"):
        search_ridge(model, Z, t=rows["t"], trajectory=rows["trajectory"])
