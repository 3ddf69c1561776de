import json

import numpy as np
import pytest
import xarray as xr

import rom
from rom.data.split import LeaveOneTrajectoryOut
from rom.select import select_model


def waves(n_time=300, noise=0.0, seed=0):
    """Two pairs of modes: four latent coordinates, all needed."""
    rng = np.random.default_rng(seed)
    t = 0.1 * np.arange(n_time)
    Z = np.c_[np.cos(t), np.sin(t), 0.3 * np.cos(2.3 * t), 0.3 * np.sin(2.3 * t)]
    X = Z @ rng.normal(size=(4, 30)) + noise * rng.normal(size=(n_time, 30))
    return X, t


RANKS = {"compressor__n_components": [2, 4]}


def test_true_rank_and_true_kind_of_model_are_found():
    X, t = waves()
    grid = [
        RANKS | {"dynamics": [rom.DMD()]},
        {"dynamics": [rom.OperatorInference("c")], "compressor__n_components": [4]},
    ]
    found = select_model(rom.ROM(rom.POD(1)), grid, X, t=t)
    assert found.best.compressor.n_components == 4
    assert isinstance(found.best.dynamics, rom.DMD)
    assert found.table["skill"].iloc[0] > 0.9
    assert found.table["skill"].is_monotonic_decreasing
    assert len(found.folds) == 3 * 5


def test_skill_is_that_of_the_model_fitted_on_the_training_rows_alone():
    X, t = waves(noise=0.1)
    found = select_model(rom.ROM(rom.POD(4)), {"dynamics": [rom.DMD()]}, X, t=t)
    for fold, (train, test) in enumerate(rom.data.ForwardChaining().split(X)):
        model = rom.ROM(rom.POD(4), rom.DMD()).fit(X[train], t=t[train])
        assert found.folds["skill"][fold] == model.score(X[test], t=t[test])


def test_labelled_snapshots_bring_their_times_and_trajectories():
    X, t = waves()
    da = xr.DataArray(
        X, dims=("time", "x"), coords={"time": t, "trajectory": ("time", np.arange(300) // 100)}
    )
    found = select_model(rom.ROM(rom.POD(1)), RANKS, da, splitter=LeaveOneTrajectoryOut())
    plain = select_model(
        rom.ROM(rom.POD(1)),
        RANKS,
        X,
        t=t,
        trajectory=np.arange(300) // 100,
        splitter=LeaveOneTrajectoryOut(),
    )
    assert len(found.folds) == 2 * 3
    np.testing.assert_allclose(found.folds["skill"], plain.folds["skill"], rtol=1e-6)


def test_search_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    X, t = waves()
    path = tmp_path / "search.jsonl"
    whole = select_model(rom.ROM(rom.POD(1)), RANKS, X, t=t)
    select_model(rom.ROM(rom.POD(1)), {"compressor__n_components": [2]}, X, t=t, path=path)
    with path.open("a") as file:
        file.write('{"key": "half a li')
    fits, fit = [], rom.ROM.fit
    monkeypatch.setattr(rom.ROM, "fit", lambda self, *a, **k: fits.append(1) or fit(self, *a, **k))
    resumed = select_model(rom.ROM(rom.POD(1)), RANKS, X, t=t, path=path)
    assert len(fits) == 5  # of the second candidate only
    np.testing.assert_array_equal(resumed.folds["skill"], whole.folds["skill"])
    select_model(rom.ROM(rom.POD(1)), RANKS, X, t=t, path=path)
    assert len(fits) == 5
    select_model(rom.ROM(rom.POD(1)), RANKS, X + 1e-9, t=t, path=path)
    assert len(fits) == 15  # other data: nothing is taken over
    complete = [line for line in path.read_text().splitlines() if line.endswith("}")]
    assert len([json.loads(line) for line in complete]) == 20


def test_processes_give_the_same_table():
    X, t = waves(noise=0.01)
    one = select_model(rom.ROM(rom.POD(1)), RANKS, X, t=t)
    two = select_model(rom.ROM(rom.POD(1)), RANKS, X, t=t, n_jobs=2)
    np.testing.assert_allclose(one.folds["skill"], two.folds["skill"], rtol=1e-9)


def test_candidates_that_fail_come_last_and_say_why():
    X, t = waves()
    found = select_model(rom.ROM(rom.POD(1)), {"compressor__n_components": [100, 4]}, X, t=t)
    assert found.best.compressor.n_components == 4
    assert found.table["failed"].tolist() == [0, 5]
    assert "n_components=100" in found.table["reason"].iloc[1]
    with pytest.raises(ValueError, match=r"None of the 1 candidates .* n_components=100"):
        select_model(rom.ROM(rom.POD(1)), {"compressor__n_components": [100]}, X, t=t)


def test_given_models_are_not_touched():
    X, t = waves()
    model, dynamics = rom.ROM(rom.POD(1)), rom.DMD()
    select_model(model, RANKS | {"dynamics": [dynamics]}, X, t=t)
    assert model.compressor.n_components == 1
    assert model.dynamics is None
    assert not hasattr(dynamics, "A_")


def test_functions_of_this_session_are_candidates_but_not_in_a_file(tmp_path):
    X, t = waves()
    square = rom.FunctionLibrary({"{}^2": lambda z: z**2})
    grid = {"dynamics": [rom.SINDy(x, threshold=0.0) for x in (square, rom.PolynomialLibrary(1))]}
    model = rom.ROM(rom.POD(4))
    found = select_model(model, grid, X, t=t)
    assert isinstance(found.best.dynamics.library, rom.PolynomialLibrary)
    assert found.table["skill"].iloc[0] > 0.9 > found.table["skill"].iloc[1]
    with pytest.raises(ValueError, match="Candidate 0 holds a function that no later search"):
        select_model(model, grid, X, t=t, path=tmp_path / "results")
