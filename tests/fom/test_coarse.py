"""Full models on coarser grids: seen from outside as the fine ones, and nearly as right."""

import numpy as np
import pytest

from rom.base import HasCoarser
from rom.fom import Burgers, CylinderWake, Heat, KuramotoSivashinsky, Lorenz63, Wave

MODELS = [
    (Heat(n=127), np.linspace(0, 0.1, 5)),
    (Burgers(n=128, viscosity=0.05), np.linspace(0, 0.3, 5)),
    (KuramotoSivashinsky(n=64), np.linspace(0, 5, 5)),
    (Wave(n=256), np.linspace(0, 1, 5)),
]


@pytest.mark.parametrize(("model", "t"), MODELS, ids=lambda m: type(m).__name__)
def test_a_coarse_run_looks_like_a_fine_one_and_is_near_it(model, t):
    fine = model.simulate(model.initial_state(), t)
    coarse = model.coarser(2).simulate(model.initial_state(), t)
    assert coarse.dims == fine.dims
    assert coarse.attrs == fine.attrs
    for name in fine.coords:
        np.testing.assert_array_equal(coarse[name], fine[name])
    assert float(abs(coarse - fine).max()) < 0.02 * float(abs(fine).max())


@pytest.mark.parametrize("model", [m for m, _ in MODELS], ids=lambda m: type(m).__name__)
def test_states_that_the_coarse_grid_holds_come_back_unchanged(model):
    """A wave of few nodes, to the coarse grid and back."""
    coarse = model.coarser(4)
    n = model.initial_state().shape[-1]
    if isinstance(model, Heat):
        state = np.sin(3 * np.pi * np.arange(1, n + 1) / (n + 1))
    else:
        state = np.cos(2 * np.pi * 3 * np.arange(n) / n + 0.3)
    state = np.broadcast_to(state, model.initial_state().shape)
    there = coarse.regrid(state, coarse.shape)
    assert there.shape == coarse.shape
    np.testing.assert_allclose(coarse.regrid(there, state.shape), state, atol=1e-12)


def test_the_error_of_a_coarse_grid_falls_with_its_order():
    """Second-order differences in space: four times as far on a grid twice as coarse."""
    heat = Heat(n=511)
    start, t = heat.initial_state(), [0.0, 0.1]
    fine = heat.simulate(start, t)
    errors = [abs(heat.coarser(f).simulate(start, t) - fine).max() for f in (8, 16, 32)]
    np.testing.assert_allclose(np.divide(errors[1:], errors[:-1]), 4, rtol=0.05)


def test_the_wake_on_a_grid_twice_as_coarse_is_nearer_than_on_one_four_times_as_coarse():
    wake = CylinderWake(n_r=33, n_theta=32, r_max=20.0, r_sponge=8.0)
    start = wake.simulate(wake.at_rest(), [0.0, 5.0])[1]
    fine = wake.simulate(start, [0.0, 0.5])
    runs = [wake.coarser(factor).simulate(start, [0.0, 0.5]) for factor in (2, 4)]
    near, far = (float((abs(run - fine)[1] * fine.r**2).mean()) for run in runs)
    assert runs[0].dims == fine.dims
    assert near < 0.5 * far


def test_grids_that_cannot_be_coarser_are_refused():
    assert not isinstance(Lorenz63(), HasCoarser)
    with pytest.raises(ValueError, match="n must be an even number of at least 4, but it is 2"):
        KuramotoSivashinsky(n=8).coarser(4)
    with pytest.raises(ValueError, match="factor must be 2 or more, but it is 1"):
        Heat().coarser(1)
