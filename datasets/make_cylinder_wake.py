"""Make cylinder_wake.nc: a cylinder wake at Re 100, from near its steady state to shedding.

Run ``python datasets/make_cylinder_wake.py`` (two minutes of processor time), then put the
SHA-256 that it prints into catalogue.toml. Rounding differs between machines, so the file is the
same everywhere to about the last digit kept, but not to the last bit.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import xarray as xr

from rom.fom import CylinderWake

FILE = Path(__file__).with_name("cylinder_wake.nc")
SPIN_UP = 100.0
AMPLITUDE = 3e-2
SETTLE = 10.0  # until the perturbation has taken the shape that grows
TIMES = np.arange(0.0, 240.1, 0.25)
LIMIT_CYCLE = 90.0  # after this time the shedding has settled
DIGIT = 2.0**-10  # values are rounded to multiples of it, which makes the file three times smaller


def strouhal(lift: xr.DataArray) -> float:
    """Frequency of the upward zero crossings of the lift."""
    t, c = lift.time.to_numpy(), lift.to_numpy()
    i = np.flatnonzero((c[:-1] < 0) & (c[1:] >= 0))
    crossings = t[i] - c[i] * (t[i + 1] - t[i]) / (c[i + 1] - c[i])
    return float(1 / np.diff(crossings).mean())


def main() -> None:
    """Run the model and write the file."""
    wake = CylinderWake()
    start = wake.initial_state(amplitude=AMPLITUDE, spin_up=SPIN_UP)
    perturbed = wake.simulate(start, [-SETTLE, 0.0])[1]
    vorticity = wake.simulate(perturbed, TIMES)
    settled = wake.forces(vorticity.sel(time=slice(LIMIT_CYCLE, None)))

    data = (np.round(vorticity / DIGIT) * DIGIT).astype(np.float32)
    data.attrs = vorticity.attrs | {"comment": f"Rounded to multiples of {DIGIT}."}
    file = data.to_dataset().assign_attrs(
        Conventions="CF-1.11",
        title="Two-dimensional wake of a circular cylinder at Re 100",
        summary="Vortex shedding that grows from the slightly perturbed symmetric wake and "
        f"settles by t = {LIMIT_CYCLE:g}. Each field is a full state of the model.",
        source=f"rom.fom.{wake!r}",
        history=f"datasets/make_cylinder_wake.py: initial_state(amplitude={AMPLITUDE}, "
        f"spin_up={SPIN_UP}), then {SETTLE} D/U",
        license="BSD-3-Clause",
        reynolds=wake.reynolds,
        strouhal=round(strouhal(settled.lift), 4),
        mean_drag_coefficient=round(float(settled.drag.mean()), 4),
        lift_amplitude=round(float(abs(settled.lift).max()), 4),
    )
    chunk = (data.sizes["time"], 1, data.sizes["theta"])  # what varies slowly compresses well
    encoding = {"zlib": True, "complevel": 9, "shuffle": True, "chunksizes": chunk}
    part = FILE.with_suffix(".part")  # renamed when whole: the old file may be in use
    file.to_netcdf(part, engine="netcdf4", encoding={"vorticity": encoding})
    part.replace(FILE)
    print(file)
    print(f"{FILE.stat().st_size} bytes, sha256 {hashlib.sha256(FILE.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
