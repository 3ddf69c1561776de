import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from rom.dynamics import field_rows
from rom.dynamics.normal import Normal
from rom.dynamics.pde import WeakPDE
from rom.fom import Burgers, KuramotoSivashinsky


@pytest.fixture(scope="module")
def burgers():
    model = Burgers(viscosity=0.02, n=128)
    return model.simulate(model.initial_state(), np.linspace(0, 1, 201))


@pytest.fixture(scope="module")
def kuramoto():
    model = KuramotoSivashinsky(length=64.0, n=192)
    start = model.simulate(model.initial_state(), np.array([0.0, 100.0]))[-1]
    return model.simulate(start, np.arange(0, 40, 0.1))


def found(model):
    return {name: c for name, c in zip(model.terms_, model.coef_.tolist(), strict=True) if c}


def noisy(u, share):
    noise = np.random.default_rng(0).normal(size=u.shape)
    return u + share * float(u.std()) * noise


def test_clean_burgers(burgers):
    model = WeakPDE().fit(burgers)
    assert found(model).keys() == {"u u_x", "u_xx"}
    assert_allclose([found(model)["u u_x"], found(model)["u_xx"]], [-1, 0.02], rtol=1e-5)


def test_burgers_with_noise(burgers):
    model = WeakPDE(order=2).fit(noisy(burgers, 0.1))
    assert found(model).keys() == {"u u_x", "u_xx"}
    assert_allclose([found(model)["u u_x"], found(model)["u_xx"]], [-1, 0.02], rtol=0.02)


@pytest.mark.parametrize(("share", "error"), [(0.0, 1e-5), (0.01, 2e-3), (0.1, 1e-2)])
def test_kuramoto_sivashinsky(kuramoto, share, error):
    model = WeakPDE().fit(noisy(kuramoto, share))
    assert found(model).keys() == {"u u_x", "u_xx", "u_xxxx"}
    assert_allclose(list(found(model).values()), -1.0, rtol=error)


def test_units_rescale_the_coefficients(burgers):
    scaled = (5.0 * burgers).assign_coords(time=10.0 * burgers.time, x=0.1 * burgers.x)
    model = WeakPDE(order=2).fit(scaled)
    assert_allclose(found(model)["u u_x"], -1 / 5 * 0.1 / 10, rtol=1e-5)
    assert_allclose(found(model)["u_xx"], 0.02 * 0.1**2 / 10, rtol=1e-5)


def test_two_axes_of_space_and_plain_arrays():
    """A drifting, spreading Gaussian: ∂u/∂t = -0.4 u_x + 0.3 u_y + 0.05 (u_xx + u_yy)."""
    t, x, y = np.linspace(0, 1, 41), np.linspace(-3, 3, 61), np.linspace(-3, 3, 65)
    T, X, Y = np.meshgrid(t, x, y, indexing="ij")
    spread = 0.2 + 4 * 0.05 * T
    u = np.exp(-((X - 0.4 * T) ** 2 + (Y + 0.3 * T) ** 2) / spread) / spread
    before = u.copy()
    model = WeakPDE(order=2).fit(u, t=t, x=[x, y])
    assert_array_equal(u, before)
    assert found(model).keys() == {"u_x", "u_y", "u_xx", "u_yy"}
    values = [found(model)[name] for name in ("u_x", "u_y", "u_xx", "u_yy")]
    assert_allclose(values, [-0.4, 0.3, 0.05, 0.05], rtol=1e-4)


def test_labels_name_the_terms(burgers):
    model = WeakPDE(order=2).fit(burgers.rename(x="depth"))
    assert model.equation(precision=2) == "du/dt = 0.02 u_depth_depth - 1 u u_depth"


def test_widths_can_be_set_and_are_checked(burgers):
    model = WeakPDE(order=2, widths=(0.4, 0.3)).fit(burgers)
    assert_array_equal(model.widths_, [0.4, 0.3])
    with pytest.raises(ValueError, match="widths must be 2 positive numbers"):
        WeakPDE(widths=(0.4, 30.0)).fit(burgers)


def test_a_field_that_is_not_in_memory_is_read_some_times_at_a_time(kuramoto, monkeypatch):
    lazy, here = WeakPDE().fit(kuramoto.chunk(time=30)), WeakPDE().fit(kuramoto)
    assert_array_equal(lazy.widths_, here.widths_)
    assert_allclose(lazy.coef_, here.coef_, rtol=1e-9)
    monkeypatch.setattr(field_rows, "SLAB_BYTES", 1)
    assert_allclose(WeakPDE().fit(kuramoto).coef_, here.coef_, rtol=1e-9)


@pytest.fixture(scope="module")
def runs():
    """Two runs of Burgers' equation: on other grids, and of other lengths."""
    fields = []
    for n, times, size in ((128, np.linspace(0, 1, 201), 1.0), (96, np.linspace(0, 0.6, 181), 0.7)):
        model = Burgers(viscosity=0.02, n=n)
        fields.append(model.simulate(size * model.initial_state(), times))
    return fields


def test_runs_add(runs):
    """One after the other or merged, they are the model of all windows of both."""
    one, two = (WeakPDE(order=2, widths=(0.2, 0.4)).fit(u) for u in runs)
    merged = one.merge(two)
    further = WeakPDE(order=2, widths=(0.2, 0.4)).partial_fit(runs[0]).partial_fit(runs[1])
    for name, first, second in zip(("gram", "cross"), one.normal_, two.normal_, strict=False):
        for both in (merged, further):
            assert_allclose(getattr(Normal.of(both.normal_), name), first + second)
    assert_allclose(further.coef_, merged.coef_, rtol=1e-9)
    assert found(merged).keys() == {"u u_x", "u_xx"}
    assert_allclose([found(merged)["u u_x"], found(merged)["u_xx"]], [-1, 0.02], rtol=1e-4)


def test_two_runs_tell_what_one_does_not():
    """Of one drifting wave nobody can say whether u_x or u_xxx moves it; of two, one can."""
    t, x = np.linspace(0, 4, 161), np.linspace(0, 8, 161)
    fields = [np.sin(k * (x - (0.5 - 0.1 * k**2) * t[:, None])) for k in (1.5, 3.0)]
    model = WeakPDE(1, 3, widths=(1.0, 2.0))
    for u in fields:
        model.partial_fit(u, t=t, x=[x])
    assert found(model).keys() == {"u_x", "u_xxx"}
    assert_allclose(list(found(model).values()), [-0.5, -0.1], rtol=1e-6)


def test_widths_are_those_of_the_first_run(runs):
    first = WeakPDE(order=2).fit(runs[0])
    before = first.widths_.copy()
    first.partial_fit(noisy(runs[1], 0.1))
    assert_array_equal(first.widths_, before)
    with pytest.raises(ValueError, match="widths must be 2 positive numbers"):
        first.partial_fit(runs[1].isel(time=slice(0, 20)))


def test_other_thresholds_need_no_field(burgers):
    u = noisy(burgers, 0.05)
    for other in ({"threshold": 0.0}, {"threshold": "bic", "solver": "forward"}):
        again = WeakPDE().fit(u).refit(**other)
        assert_allclose(again.coef_, WeakPDE(**other).fit(u).coef_, rtol=1e-9)
        assert again.get_params() == WeakPDE(**other).get_params()
    with pytest.raises(ValueError, match=r"refit changes solver, threshold; for other order the"):
        WeakPDE().fit(u).refit(order=2)
    with pytest.raises(ValueError, match="'threshold' parameter"):
        WeakPDE().fit(u).refit(threshold=-1.0)


def test_unlike_fields_are_not_added(burgers):
    model = WeakPDE(order=2, widths=(0.2, 0.4)).fit(burgers)
    others = (
        WeakPDE(order=3, widths=(0.2, 0.4)).fit(burgers),
        WeakPDE(order=2, widths=(0.2, 0.5)).fit(burgers),
        WeakPDE(order=2, widths=(0.2, 0.4)).fit(burgers.rename(x="z")),
    )
    for other in others:
        with pytest.raises(ValueError, match="merge needs models with the same terms and widths"):
            model.merge(other)
    with pytest.raises(ValueError, match="partial_fit needs the terms of the fields before"):
        model.partial_fit(burgers.rename(x="z"))
    with pytest.raises(NotFittedError):
        model.merge(WeakPDE())


def test_bad_fields_are_refused(burgers):
    with pytest.raises(ValueError, match="lengths are \\[0\\]"):
        WeakPDE().fit(burgers.to_numpy())
    with pytest.raises(ValueError, match="1 values are not finite"):
        WeakPDE().fit(xr.where(burgers == burgers[3, 4], np.nan, burgers))
    with pytest.raises(ValueError, match="The grid must be regular"):
        WeakPDE().fit(burgers.isel(time=np.r_[0:50, 60:120]))
    with pytest.raises(ValueError, match="'degree' parameter"):
        WeakPDE(degree=0).fit(burgers)


def test_clone_keeps_parameters():
    model = WeakPDE(3, 2, threshold="aicc", solver="forward", widths=(1.0, 2.0))
    assert clone(model).get_params() == model.get_params()
