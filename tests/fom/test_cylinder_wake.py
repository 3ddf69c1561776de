import numpy as np
import pytest

from rom import base
from rom.fom import CylinderWake
from rom.fom.cylinder_wake import _Flow

COARSE = CylinderWake(n_r=57, n_theta=48, r_max=30.0, r_sponge=10.0)


@pytest.fixture(scope="module")
def start():
    return COARSE.initial_state(amplitude=1.0, spin_up=10.0)


def test_is_a_full_model_with_labelled_states(start):
    assert isinstance(COARSE, base.FullModel)
    vorticity = COARSE.simulate(start, [0.0, 0.1])
    assert vorticity.dims == ("time", "r", "theta")
    assert vorticity.attrs["units"] == "U/D"
    assert vorticity.time.attrs["units"] == "D/U"
    assert (
        vorticity.isel(time=0, drop=True).coords.to_dataset().identical(start.coords.to_dataset())
    )
    np.testing.assert_allclose(vorticity.x**2 + vorticity.y**2, vorticity.r**2 + 0 * vorticity.x)


def test_a_state_restarts_the_run(start):
    whole = COARSE.simulate(start, [0.0, 0.5, 1.0])
    rest = COARSE.simulate(whole[1], [0.5, 1.0])
    np.testing.assert_allclose(rest, whole[1:], atol=1e-11)


def test_the_start_is_not_written_to(start):
    before = start.copy(deep=True)
    COARSE.simulate(start, [0.0, 0.1])
    assert start.identical(before)


def test_symmetric_flow_stays_symmetric_and_has_no_lift():
    vorticity = COARSE.simulate(COARSE.at_rest(), [0.0, 4.0])[1]
    mirrored = np.roll(vorticity.to_numpy()[:, ::-1], 1, axis=1)
    np.testing.assert_allclose(vorticity, -mirrored, atol=1e-9)
    forces = COARSE.forces(vorticity)
    assert abs(forces.lift) < 1e-9
    assert 0.5 < forces.drag < 2.5


def test_mirror_images_run_to_mirror_images(start):
    def mirror(w):
        return -np.roll(np.asarray(w)[..., ::-1], 1, axis=-1)

    there, back = (COARSE.simulate(w, [0.0, 1.0]) for w in (start, mirror(start)))
    np.testing.assert_allclose(mirror(there), back, atol=1e-9)
    np.testing.assert_allclose(COARSE.forces(there).lift, -COARSE.forces(back).lift, atol=1e-9)


def test_velocity_sticks_to_the_wall_joins_the_stream_and_has_the_vorticity(start):
    vorticity = COARSE.simulate(start, [0.0, 0.5])
    velocity = COARSE.velocity(vorticity)
    assert velocity.u.dims == vorticity.dims
    assert abs(velocity.u.isel(r=0)).max() == abs(velocity.v.isel(r=0)).max() == 0
    upstream = velocity.isel(r=-1, theta=COARSE.n_theta // 2)
    np.testing.assert_allclose(upstream.u, 1, atol=0.01)
    np.testing.assert_allclose(upstream.v, 0, atol=0.01)

    circulation = (velocity.v * velocity.x - velocity.u * velocity.y).mean("theta") * 2 * np.pi
    ring = (vorticity.mean("theta") * 2 * np.pi * vorticity.r**2).assign_coords(
        xi=np.log(vorticity.r)
    )
    np.testing.assert_allclose(
        circulation.isel(r=30), ring.isel(r=slice(0, 31)).integrate("xi"), atol=2e-3
    )


def test_drag_is_the_impulse_that_the_fluid_gains():
    """Force on the cylinder = −d/dt ∫ y ω dA, by the vortex-impulse theorem."""
    wake = CylinderWake(n_r=113, n_theta=48, r_max=30.0, r_sponge=10.0)
    spun = wake.simulate(wake.at_rest(), [0.0, 2.0])[1]
    t = 2.0 + np.arange(3) * 0.05
    vorticity = wake.simulate(spun, t)
    moment = (vorticity * vorticity.y * vorticity.r**2).mean("theta") * 2 * np.pi
    impulse = moment.assign_coords(xi=np.log(vorticity.r)).integrate("xi")
    drag = -2 * (impulse[2] - impulse[0]) / (t[2] - t[0])
    np.testing.assert_allclose(wake.forces(vorticity).drag[1], drag, rtol=0.01)


def test_time_steps_have_fourth_order(start):
    flow = _Flow(COARSE)
    end = []
    for n in (4, 8, 16):
        w = flow.modes(start.to_numpy())
        for _ in range(n):
            w = flow.step(w, 0.1 / n)
        end.append(flow.field(w))
    ratio = abs(end[0] - end[1]).max() / abs(end[1] - end[2]).max()
    assert 3.7 < np.log2(ratio) < 4.6


def test_params_replace_the_reynolds_number(start):
    slow = COARSE.simulate(start, [0.0, 0.5], params={"reynolds": 40.0})
    same = CylinderWake(reynolds=40.0, n_r=57, n_theta=48, r_max=30.0, r_sponge=10.0)
    assert slow.equals(same.simulate(start, [0.0, 0.5]))
    with pytest.raises(ValueError, match="no parameter 'Re'; it has reynolds, n_r"):
        COARSE.simulate(start, [0.0, 0.5], params={"Re": 40.0})


def test_what_cannot_run_is_refused(start):
    with pytest.raises(ValueError, match=r"has shape \(57, 48\), but x0 has shape \(57, 47\)"):
        COARSE.simulate(start[:, :-1], [0.0, 1.0])
    with pytest.raises(ValueError, match="takes no inputs"):
        COARSE.simulate(start, [0.0, 1.0], u=[0.0, 0.0])
    with pytest.raises(ValueError, match="even number"):
        CylinderWake(n_theta=95)
    with pytest.raises(ValueError, match="radii must grow"):
        CylinderWake(r_sponge=50.0)
    with pytest.raises(ValueError, match="reynolds must be positive"):
        CylinderWake(reynolds=0.0)
    with pytest.raises(ValueError, match=r"n_r must be a whole number of at least 8, .* 7"):
        CylinderWake(n_r=7)
    with pytest.raises(ValueError, match="r_max must be positive and finite, but it is inf"):
        CylinderWake(r_max=np.inf)
    with pytest.raises(FloatingPointError, match=r"left the finite numbers by t = 5"):
        COARSE.simulate(1e6 * start, [0.0, 5.0])


def test_the_wake_sheds_at_the_strouhal_number_of_experiments(start):
    """Williamson (1989): 0.1643 at Re 100. This coarse grid is within 3 % of it."""
    t = np.arange(0, 70.1, 0.2)
    lift = COARSE.forces(COARSE.simulate(start, t)).lift.to_numpy()
    i = np.flatnonzero((lift[:-1] < 0) & (lift[1:] >= 0) & (t[1:] > 35))
    crossings = t[i] - lift[i] * 0.2 / (lift[i + 1] - lift[i])
    assert len(crossings) >= 5
    np.testing.assert_allclose(1 / np.diff(crossings).mean(), 0.1643, rtol=0.03)
