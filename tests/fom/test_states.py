import numpy as np
import pytest
import xarray as xr

from rom import base, fom
from rom.fom.states import substeps

MODELS = [
    fom.Burgers(n=32),
    fom.Heat(n=15),
    fom.KuramotoSivashinsky(n=32),
    fom.Lorenz63(),
    fom.Lorenz96(n=6),
]


@pytest.fixture(params=MODELS, ids=lambda model: type(model).__name__)
def model(request):
    return request.param


def test_models_keep_the_contract(model):
    assert isinstance(model, base.FullModel)
    x0 = model.initial_state()
    before = x0.copy(deep=True)
    states = model.simulate(x0, [1.0, 1.1, 1.3])
    assert isinstance(states, xr.DataArray)
    assert states.dims == ("time", *x0.dims)
    assert states.attrs == x0.attrs
    assert states.time.to_numpy().tolist() == [1.0, 1.1, 1.3]
    np.testing.assert_allclose(states[0], x0, atol=1e-12)
    assert x0.identical(before)
    assert states.isel(time=[0]).identical(model.simulate(x0, [1.0]))


def test_a_run_can_be_taken_up_again_at_uneven_times(model):
    t = np.array([0.0, 0.013, 0.2, 0.21])
    whole = model.simulate(model.initial_state(), t)
    rest = model.simulate(whole[2], t[2:])
    np.testing.assert_allclose(rest, whole[2:], rtol=1e-7, atol=1e-9)


def test_plain_arrays_start_a_run_too(model):
    x0 = model.initial_state()
    assert model.simulate(x0.to_numpy(), [0.0, 0.1]).identical(model.simulate(x0, [0.0, 0.1]))


def test_bad_starts_and_times_are_named(model):
    x0 = model.initial_state()
    with pytest.raises(ValueError, match=rf"{type(model).__name__} has shape .* but x0 has shape"):
        model.simulate(x0[1:], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"x0\[1\] is nan"):
        model.simulate(x0.where(np.arange(x0.size) != 1), [0.0, 1.0])
    with pytest.raises(ValueError, match="repeats at row 2"):
        model.simulate(x0, [0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="at least one time"):
        model.simulate(x0, [])
    with pytest.raises(ValueError, match="no parameter 'nu'"):
        model.simulate(x0, [0.0, 1.0], params={"nu": 1.0})


@pytest.mark.parametrize("model", MODELS[2:], ids=lambda model: type(model).__name__)
def test_inputs_are_refused_where_there_are_none(model):
    with pytest.raises(ValueError, match="takes no inputs"):
        model.simulate(model.initial_state(), [0.0, 1.0], u=[0.0, 0.0])


def test_substeps_fill_every_interval_without_exceeding_the_longest():
    t = np.array([0.0, 0.3, 0.35, 2.0])
    steps = substeps(t, 0.1)
    assert [n for n, _ in steps] == [3, 1, 17]
    np.testing.assert_allclose([n * dt for n, dt in steps], np.diff(t))
    assert max(dt for _, dt in steps) <= 0.1 * (1 + 1e-9)


def test_steps_past_the_largest_machine_integer_are_counted_too():
    n, dt = substeps(np.array([0.0, 1.0]), 2.0**-70)[0]
    assert n == pytest.approx(2**70)
    assert n * dt == pytest.approx(1)
