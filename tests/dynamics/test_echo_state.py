import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.compress import Identity
from rom.dynamics.echo_state import EchoState
from rom.dynamics.hankel import delays
from rom.dynamics.regression import ridge
from rom.fom import Lorenz63


@parametrize_with_checks([EchoState(n_units=10, random_state=0)])
def test_sklearn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def lorenz():
    t = np.arange(1200) * 0.05
    return t[200:], Lorenz63().simulate([-8.0, 8.0, 27.0], t).values[200:]


def by_hand(model, states):
    """The reservoir, unit by unit and from rest, after the states (n_time, rank) in their order."""
    h = np.zeros(model.n_units)
    for z in (states - model.mean_) / model.scale_:
        listened = np.array([w @ h[s] for w, s in zip(model.weights_, model.sources_, strict=True)])
        new = np.tanh(listened + model.input_weights_ @ np.concatenate([[1.0], z]))
        h = (1 - model.leak) * h + model.leak * new
    return h


def test_the_recursion_of_the_units(lorenz):
    _, Z = lorenz
    _, embedded = delays(Z[:40], 5)
    model = EchoState(20, 5, leak=0.7, density=0.2, random_state=0).fit(embedded)
    oldest_first = embedded[7].reshape(5, 3)[::-1]
    h = by_hand(model, oldest_first)
    z = embedded[7, :3]
    newest = model.readout_ @ np.concatenate([[1.0], (z - model.mean_) / model.scale_, h])
    after = model.predict(embedded[7:8])[0]
    assert_allclose(after[:3], newest, rtol=1e-10)
    assert_array_equal(after[3:], embedded[7, :-3])


def test_the_reservoir_has_its_spectral_radius_and_links():
    Z = np.random.default_rng(0).normal(size=(50, 2))
    model = EchoState(80, spectral_radius=0.6, density=0.1, random_state=0).fit(Z)
    W = np.zeros((80, 80))
    W[np.arange(80)[:, None], model.sources_] = model.weights_
    assert np.count_nonzero(W) == 80 * 8
    assert_allclose(np.abs(np.linalg.eigvals(W)).max(), 0.6, rtol=1e-10)


def test_the_reservoir_forgets(lorenz):
    """With |tanh'| <= 1, what starts differ by shrinks at least by 1 - a + a |W| each step."""
    _, Z = lorenz
    spans = (10, 20, 30)
    models = [
        EchoState(30, n, spectral_radius=0.3, density=0.1, random_state=0).fit(delays(Z, n)[1])
        for n in spans
    ]
    model = models[0]
    W = np.zeros((30, 30))
    W[np.arange(30)[:, None], model.sources_] = model.weights_
    rate = 1 - model.leak + model.leak * np.linalg.norm(W, 2)
    assert rate < 1
    whole = by_hand(model, Z[:100])
    for n in spans:
        error = np.linalg.norm(by_hand(model, Z[100 - n : 100]) - whole)
        assert error <= rate**n * np.linalg.norm(by_hand(model, Z[: 100 - n])) + 1e-14


def test_more_ridge_comes_to_persistence(lorenz):
    _, Z = lorenz
    model = EchoState(20, ridge=1e12, random_state=0).fit(Z)
    assert_allclose(model.predict(Z), Z, atol=1e-8)


def test_seeds(lorenz):
    _, Z = lorenz
    first, again, other = (EchoState(20, random_state=s).fit(Z[:100]).predict(Z) for s in (0, 0, 1))
    assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_units_of_the_states_change_no_model(lorenz):
    _, Z = lorenz
    model = EchoState(50, random_state=0)
    small = clone(model).fit(Z[:500] * 1e-3).predict(Z * 1e-3)
    assert_allclose(small, 1e-3 * model.fit(Z[:500]).predict(Z), rtol=1e-5, atol=1e-8)


def test_lorenz_is_forecast(lorenz):
    t, Z = lorenz
    model = EchoState(200, random_state=0).fit(Z[:700], t=t[:700])
    run = rom.rollout(model, Z[699], t[699:])
    size = np.sqrt(np.mean(np.sum(Z**2, axis=1)))
    error = np.linalg.norm(run.z - Z[699:], axis=1) / size
    assert error[t[699:] - t[699] < 4 / 0.906].max() < 0.4  # four Lyapunov times
    assert run.status.name == "COMPLETED"


def test_memory_makes_up_for_what_is_not_seen(lorenz):
    t, Z = lorenz
    error = {}
    for n_delays in (1, 10):
        rows, embedded = delays(Z[:, :1], n_delays, t=t)
        model = EchoState(100, n_delays, random_state=0).fit(embedded[:700])
        after = model.predict(embedded[700:-1])[:, 0]
        error[n_delays] = np.sqrt(np.mean((after - Z[rows][701:, 0]) ** 2)) / Z[:, 0].std()
    assert error[1] > 0.1
    assert error[10] < 0.005


def test_trajectories_do_not_mix(lorenz):
    """Targets of other trajectories are never used: a constant one beside a period-two one."""
    series = np.concatenate([np.full(30, 5.0), np.tile([1.0, -1.0], 20)])[:, None]
    label = np.repeat([0, 1], [30, 40])
    rows, embedded = delays(series, 3, trajectory=label)
    model = EchoState(20, 3, ridge=1e-12, random_state=0).fit(embedded, trajectory=label[rows])
    assert_allclose(rom.rollout(model, [5.0, 5.0, 5.0], range(5)).z, 5.0, atol=1e-4)
    run = rom.rollout(model, [1.0, -1.0, 1.0], range(5)).z[:, 0]
    assert_allclose(run, [1, -1, 1, -1, 1], atol=1e-3)


def test_inputs_drive_the_next_state():
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (400, 1))
    z = np.zeros((400, 1))
    for n in range(399):
        z[n + 1] = 0.5 * z[n] + np.tanh(u[n])
    model = EchoState(100, random_state=0).fit(z[:300], u=u[:300])
    assert_allclose(model.predict(z[300:-1], u=u[300:-1]), z[301:], atol=0.005)


def test_one_state_per_row_works_in_a_rom(lorenz):
    t, Z = lorenz
    model = rom.ROM(Identity(), EchoState(100, random_state=0)).fit(Z, t=t)
    forecast = model.rollout(Z[0], t[:20])
    assert forecast.attrs["status"] == "COMPLETED"
    assert model.score(Z[:20], t=t[:20]) > 0.99


def test_a_constant_coordinate_is_kept():
    Z = np.column_stack([np.sin(np.arange(60.0)), np.full(60, 3.0)])
    model = EchoState(20, random_state=0).fit(Z)
    assert_allclose(model.predict(Z)[:, 1], 3.0)


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"EchoState needs rows of 2 states, as delays\(Z, 2\)"):
        EchoState(n_delays=2).fit(np.eye(3))


def test_the_read_out_of_blocks_of_rows_is_that_of_all_rows():
    """So many rows that no block holds them."""
    rng = np.random.default_rng(0)
    Z, u = rng.normal(size=(6000, 2)), rng.normal(size=(6000, 1))
    y = np.tanh(Z @ rng.normal(size=(2, 2)) + u)
    model = EchoState(40, ridge=1e-3, random_state=0).fit(Z, y, u=u)
    features = model._features(Z, u)
    coef = ridge(features, y - Z, 1e-3)
    assert_allclose(model.predict(Z, u=u), Z + features @ coef.T, atol=1e-9)


def records():
    """Two sets of rows of the same mean and standard deviation, with their targets and inputs."""
    rng = np.random.default_rng(0)
    half, drive = rng.normal(size=(300, 2)) * [1.0, 1e-3], rng.normal(size=(300, 1))
    parts = []
    for sign in (1.0, -1.0):
        Z = np.concatenate([half, -half]) * [1.0, sign]
        u = np.concatenate([drive, -drive])
        parts.append({"Z": Z, "y": 0.9 * Z + 0.1 * np.sin(Z[:, ::-1] * u), "u": u})
    return parts, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def without_y(rows):
    return {"Z": rows["Z"], "u": rows["u"]}


def test_another_ridge_needs_no_other_fit():
    _, both = records()
    model = EchoState(30, random_state=0).fit(**both)
    again, fresh = model.refit(ridge=0.1), EchoState(30, ridge=0.1, random_state=0).fit(**both)
    assert_allclose(again.readout_, fresh.readout_, rtol=1e-9, atol=1e-12)
    assert np.abs(again.readout_ - model.readout_).max() > 1e-3
    with pytest.raises(ValueError, match="refit changes ridge; for other leak the rows"):
        model.refit(leak=0.5)


def test_merged_models_are_the_model_of_all_rows():
    parts, both = records()
    model = EchoState(30, ridge=1e-4, random_state=0)
    one, two, whole = (clone(model).fit(**rows) for rows in (*parts, both))
    for merged in (one.merge(two), two.merge(one)):
        assert_allclose(merged.predict(both["Z"], u=both["u"]), whole.predict(**without_y(both)))
        assert_allclose(merged.bound_, whole.bound_)


def test_models_in_other_units_are_not_merged():
    parts, _ = records()
    drawn = EchoState(30, random_state=0).fit(**parts[0])
    for factor, shift in ((2.0, 0.0), (1.0, 1e-4)):
        other = clone(drawn).fit(factor * parts[1]["Z"] + shift, parts[1]["y"], u=parts[1]["u"])
        with pytest.raises(ValueError, match=r"by its own rows.* by partial_fit"):
            drawn.merge(other)
    with pytest.raises(ValueError, match="same reservoir, mean_ and scale_"):
        EchoState(30).fit(**parts[0]).merge(EchoState(30).fit(**parts[1]))


def test_parts_add_to_the_whole():
    parts, both = records()
    model = EchoState(30, ridge=1e-4, random_state=0)
    learned, whole = clone(model).partial_fit(**parts[0]), clone(model).fit(**both)
    learned.partial_fit(**parts[1])
    assert_allclose(learned.predict(**without_y(both)), whole.predict(**without_y(both)))


def by_ridge(model, rows):
    """What the read-out of all rows predicts, in the units of the model."""
    Z, u = rows["Z"], rows["u"]
    features = model._features(Z, u)
    return Z + features @ ridge(features, rows["y"] - Z, model.ridge).T


def test_the_first_rows_are_the_units_of_all():
    (part, other), _ = records()
    first = EchoState(30, ridge=1e-4, random_state=0).partial_fit(**part)
    more = {"Z": 3 * other["Z"] + 1, "y": other["y"], "u": other["u"] - 1}
    apart = copy.deepcopy(first).partial_fit(**more)
    assert_array_equal(apart.mean_, first.mean_)
    for model, parts in ((apart, (part, more)), (apart.merge(first), (part, more, part))):
        rows = {name: np.concatenate([p[name] for p in parts]) for name in part}
        found = model.predict(**without_y(rows))
        assert_allclose(found, by_ridge(first, rows), rtol=1e-7, atol=1e-9)


def test_a_loaded_model_learns_on(tmp_path):
    Z = records()[1]["Z"]
    saved = rom.ROM(Identity(), EchoState(30, ridge=1e-4)).fit(Z)
    saved.save(tmp_path / "echo.nc")
    loaded, kept = rom.load(tmp_path / "echo.nc").dynamics_, saved.dynamics_
    assert_array_equal(loaded.refit(ridge=1.0).readout_, kept.refit(ridge=1.0).readout_)
    assert_array_equal(loaded.merge(kept).readout_, kept.merge(kept).readout_)
    assert_array_equal(
        loaded.partial_fit(Z, 0.5 * Z).readout_, kept.partial_fit(Z, 0.5 * Z).readout_
    )
