"""Two-dimensional flow past a circular cylinder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from rom.fom.coarse import Coarse, check_factor, even, resample
from rom.fom.log_polar import RADIUS, factorise, laplacian, slope, stream_function
from rom.fom.states import (
    check_count,
    check_positive,
    check_run,
    label,
    substeps,
    with_params,
)


@dataclass(frozen=True)
class CylinderWake:
    """Flow past a circular cylinder in an unbounded stream, in two dimensions.

    Lengths are in diameters D, velocities in the speed U of the stream, which runs along x. The
    state is the vorticity on a polar grid, whose radii grow geometrically:
    ``∂ω/∂t + u·∇ω = ∇²ω / Re − s(r) ω`` with ``∇²ψ = −ω`` and no slip at the wall.

    The stream is unbounded: the outer boundary lets the velocity of all vorticity inside pass
    unhindered. Vorticity itself is damped past `r_sponge`, by ``s`` growing smoothly to 0.5 U/D,
    before the growing cells of the grid cease to resolve it.

    At Re 100 and with the default grid the wake sheds vortices at a Strouhal number of 0.165;
    Williamson (1989) measured 0.164.

    Parameters
    ----------
    reynolds : float
        U D / ν. Above about 47 the wake sheds vortices; above about 190 real wakes are
        three-dimensional.
    n_r, n_theta : int
        Numbers of radii, the wall's included, and of angles (even).
    r_max : float
        Outermost radius, in D.
    r_sponge : float
        Radius where the damping of vorticity begins, in D.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    Fourier modes in the angle with dealiased products; fourth-order finite differences in
    ``log r``; the vorticity of the wall follows from no slip at each stage (an influence matrix,
    here one number for each mode); classical Runge-Kutta in time, its step set by stability.

    References
    ----------
    C. H. K. Williamson (1989), Oblique and parallel modes of vortex shedding in the wake of a
    circular cylinder at low Reynolds numbers, J. Fluid Mech. 206, 579-627.

    Examples
    --------
    >>> import numpy as np
    >>> wake = CylinderWake(n_r=33, n_theta=32, r_max=20.0, r_sponge=8.0)
    >>> vorticity = wake.simulate(wake.at_rest(), np.arange(3) * 0.1)
    >>> vorticity.sizes
    Frozen({'time': 3, 'r': 33, 'theta': 32})
    >>> sorted(wake.forces(vorticity))
    ['drag', 'lift']
    """

    reynolds: float = 100.0
    n_r: int = 97
    n_theta: int = 96
    r_max: float = 40.0
    r_sponge: float = 15.0

    def __post_init__(self) -> None:
        check_count(self, "n_r", 8)
        check_count(self, "n_theta", 8, even=True)
        check_positive(self, "reynolds", "r_sponge", "r_max")
        if not RADIUS < self.r_sponge < self.r_max:
            raise ValueError(
                f"The radii must grow from the wall, {RADIUS}, to r_sponge and r_max, "
                f"but these are {self.r_sponge} and {self.r_max}."
            )

    def simulate(
        self,
        x0: ArrayLike,
        t: ArrayLike,
        *,
        u: ArrayLike | None = None,
        params: Mapping[str, float] | None = None,
    ) -> xr.DataArray:
        """Run from a vorticity field.

        Parameters
        ----------
        x0 : array_like, shape (n_r, n_theta)
            Vorticity at time ``t[0]``, in U/D. Its wall row is not read: it follows from no slip.
        t : array_like, shape (n_time,)
            Output times, in D/U.
        u : None, optional
            The model takes no inputs.
        params : mapping, optional
            Parameters to replace for this run, such as ``{"reynolds": 80.0}``.

        Returns
        -------
        DataArray, dims (time, r, theta)
            Vorticity in U/D.
        """
        model = with_params(self, params)
        x0, t = check_run(model, x0, t, (model.n_r, model.n_theta), u)
        flow = _Flow(model)
        vorticity = flow.modes(x0)
        states = np.empty((len(t), *x0.shape))
        states[0] = flow.field(vorticity)
        with np.errstate(over="ignore", invalid="ignore"):
            for i, (n_steps, dt) in enumerate(substeps(t, flow.longest_step)):
                for _ in range(n_steps):
                    vorticity = flow.step(vorticity, dt)
                states[i + 1] = flow.field(vorticity)
        return label(states, t, model.at_rest(), time_units="D/U")

    def at_rest(self) -> xr.DataArray:
        """Vorticity (r, theta) of the stream set in motion at once: none, off the wall."""
        r = factorise(self.r_max, self.n_r, self.n_theta // 2).r
        theta = 2 * np.pi / self.n_theta * np.arange(self.n_theta)
        across = np.multiply.outer(r, np.sin(theta))
        along = np.multiply.outer(r, np.cos(theta))
        coords = {
            "r": ("r", r, {"long_name": "distance from the axis of the cylinder", "units": "D"}),
            "theta": ("theta", theta, {"long_name": "angle from downstream", "units": "rad"}),
            "x": (("r", "theta"), along, {"long_name": "distance downstream", "units": "D"}),
            "y": (("r", "theta"), across, {"long_name": "distance across", "units": "D"}),
        }
        attrs = {"long_name": "vorticity", "units": "U/D"}
        return xr.DataArray(
            np.zeros_like(along), coords, ("r", "theta"), name="vorticity", attrs=attrs
        )

    def initial_state(self, amplitude: float = 1e-3, spin_up: float = 100.0) -> xr.DataArray:
        """Vorticity (r, theta) of the near-steady symmetric wake, slightly perturbed.

        Parameters
        ----------
        amplitude : float
            Peak vorticity, in U/D, of a vortex one diameter downstream that breaks the symmetry.
        spin_up : float
            Time from rest, in D/U. Nothing breaks the symmetry meanwhile, so that the wake comes
            near its unstable steady state: at Re 100 to four digits of the drag by 100, which
            takes half a minute on the default grid.
        """
        base = self.simulate(self.at_rest(), [0.0, spin_up]).isel(time=1, drop=True)
        vortex = np.exp(-((base.x - 1) ** 2 + base.y**2) / 0.1)
        return base.copy(data=base + amplitude * vortex)

    def coarser(self, factor: int) -> Coarse:
        """The same on `factor` times fewer radii and angles.

        States go by Fourier modes in the angle and cubic splines in the logarithm of the radius.
        """
        check_factor(factor)
        n_r = round((self.n_r - 1) / factor) + 1
        model = replace(self, n_r=n_r, n_theta=even(self.n_theta, factor))
        return Coarse(model, self.at_rest(), (n_r, model.n_theta), _resample)

    def velocity(self, vorticity: xr.DataArray) -> xr.Dataset:
        """Velocity components `u` along the stream and `v` across it, in U, of the vorticity."""
        flow = _Flow(self)
        x, y, r2 = vorticity.x, vorticity.y, vorticity.r**2
        fields = [flow.stream_slopes(flow.modes(w)) for w in _states(vorticity)]
        along, around = (
            vorticity.copy(data=np.reshape(part, vorticity.shape))
            for part in zip(*fields, strict=True)
        )
        u = ((x * around + y * along) / r2).transpose(*vorticity.dims)
        v = ((y * around - x * along) / r2).transpose(*vorticity.dims)
        u.attrs = {"long_name": "velocity along the stream", "units": "U"}
        v.attrs = {"long_name": "velocity across the stream", "units": "U"}
        return xr.Dataset({"u": u, "v": v})

    def forces(self, vorticity: xr.DataArray) -> xr.Dataset:
        """Coefficients of `drag` and `lift` of the vorticity: force over ½ ρ U² D.

        Both come from the first mode at the wall, where friction is ``ω / Re`` and the pressure
        obeys ``∂p/∂θ = ∂ω/∂ξ / Re``. The wall row is read as it stands.
        """
        first = fft.rfft(_states(vorticity)[:, :7], axis=-1, norm="forward")[..., 1]
        h = np.log(self.r_max / RADIUS) / (self.n_r - 1)
        steepness = first @ [-147, 360, -450, 400, -225, 72, -10] / (60 * h)
        force = 4 * np.pi * RADIUS / self.reynolds * (first[:, 0] - steepness)
        like = vorticity.isel(r=0, theta=0, drop=True)
        drag, lift = (like.copy(data=part.reshape(like.shape)) for part in (force.imag, force.real))
        drag.attrs = {"long_name": "drag coefficient", "units": "1"}
        lift.attrs = {"long_name": "lift coefficient", "units": "1"}
        return xr.Dataset({"drag": drag, "lift": lift})


def _states(vorticity: xr.DataArray) -> NDArray[np.float64]:
    """The fields (n_time, n_r, n_theta) of one state or several."""
    values = vorticity.transpose(..., "r", "theta").to_numpy()
    return values.reshape(-1, *values.shape[-2:])


def _resample(values: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Values (…, n_r, n_theta) on another grid of the same radii from first to last."""
    from scipy.interpolate import CubicSpline

    along = CubicSpline(np.linspace(0, 1, values.shape[-2]), values, axis=-2)
    return resample(along(np.linspace(0, 1, shape[-2])), shape)


class _Flow:
    """What a run needs at hand; states are Fourier modes of the vorticity, (n_r, n_k)."""

    def __init__(self, model: CylinderWake) -> None:
        self.n_theta, self.n_k = model.n_theta, model.n_theta // 2
        self.reynolds = model.reynolds
        self.poisson = factorise(model.r_max, model.n_r, self.n_k)
        r = self.poisson.r
        depth = np.log(r / model.r_sponge) / np.log(model.r_max / model.r_sponge)
        depth = depth.clip(0, 1)[:, np.newaxis]
        self.damping = 0.5 * depth**2 * (3 - 2 * depth)
        self.per_area = 1 / r[:, np.newaxis] ** 2
        self.wavenumber = 1j * np.arange(self.n_k)
        self._psi, self._diffusion = np.zeros((2, model.n_r, self.n_k), dtype=complex)
        self._slopes = np.zeros((4, model.n_r, self.n_k), dtype=complex)

    @property
    def longest_step(self) -> float:
        """Longest stable step: of diffusion next to the wall, and of advection past it at 1.5 U."""
        h, fastest = self.poisson.h, self.n_k
        diffusion = (16 / (3 * h**2) + fastest**2) * self.per_area[1, 0] / self.reynolds
        advection = 1.5 / 0.6 * (fastest + 1.37 / h)
        return 2.5 / max(diffusion, advection)

    def modes(self, field: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Modes of a field (n_r, n_theta), with the wall's vorticity set and none outermost."""
        modes = fft.rfft(field, axis=-1, norm="forward")[:, : self.n_k].copy()
        modes[-1] = 0
        stream_function(self.poisson, modes, self._psi)
        return modes

    def field(self, modes: NDArray[np.complex128]) -> NDArray[np.float64]:
        """The field (n_r, n_theta) of `modes`, whose wall row is set on the way."""
        stream_function(self.poisson, modes, self._psi)
        return fft.irfft(modes, n=self.n_theta, axis=-1, norm="forward")

    def stream_slopes(self, modes: NDArray[np.complex128]) -> NDArray[np.float64]:
        """∂ψ/∂ξ and ∂ψ/∂θ of the vorticity, (2, n_r, n_theta)."""
        stream_function(self.poisson, modes, self._psi)
        slopes = np.zeros((2, *modes.shape), dtype=complex)
        slope(self._psi, self.poisson.h, slopes[0])
        slopes[1] = self.wavenumber * self._psi
        return fft.irfft(slopes, n=self.n_theta, axis=-1, norm="forward")

    def step(self, w: NDArray[np.complex128], dt: float) -> NDArray[np.complex128]:
        """One classical Runge-Kutta step."""
        k1 = self.tendency(w)
        k2 = self.tendency(w + dt / 2 * k1)
        k3 = self.tendency(w + dt / 2 * k2)
        k4 = self.tendency(w + dt * k3)
        return w + dt / 6 * (k1 + 2 * (k2 + k3) + k4)

    def tendency(self, w: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """∂ω/∂t inside; zero in the wall row of `w`, which is set, and in the outermost."""
        p, psi, slopes = self.poisson, self._psi, self._slopes
        stream_function(p, w, psi)
        slope(w, p.h, slopes[0])
        slope(psi, p.h, slopes[1])
        np.multiply(self.wavenumber, w, out=slopes[2])
        np.multiply(self.wavenumber, psi, out=slopes[3])
        laplacian(w, p.h, self._diffusion)
        # Products on 3/2 as many angles: their modes above n_k fold onto none that is kept.
        w_xi, psi_xi, w_theta, psi_theta = fft.irfft(
            slopes, n=3 * self.n_k, axis=-1, norm="forward"
        )
        products = psi_xi * w_theta - psi_theta * w_xi
        carried = fft.rfft(products, axis=-1, norm="forward")[:, : self.n_k]
        rate = self.per_area * (carried + self._diffusion / self.reynolds) - self.damping * w
        rate[0] = rate[-1] = 0
        return rate
