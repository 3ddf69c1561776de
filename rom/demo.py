"""The main job on a cylinder wake: snapshots in, a model, a long rollout and its check out."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np
import xarray as xr

from rom import datasets
from rom.compress.pod import POD
from rom.data.write import atomic_path
from rom.dynamics.library import PolynomialLibrary
from rom.dynamics.sindy import SINDy
from rom.fom.cylinder_wake import CylinderWake
from rom.model import ROM
from rom.report.html import to_html
from rom.report.plots import plot_rollout
from rom.rollout.check import check
from rom.rollout.stability import StabilityReport

TRAIN_UNTIL = 120.0
ROLLOUT_UNTIL = 1200.0  # ten times the training window
NEAR_WAKE = (-2.0, 12.0, -3.0, 3.0)


def run(out: Path) -> int:
    """Fit, roll out, check, and write all results into the folder `out`.

    Parameters
    ----------
    out : Path
        Made if it is not there; files in it are replaced.

    Returns
    -------
    int
        0 if every rollout stayed bounded, else 1.
    """
    begin = perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    wake = datasets.load("cylinder_wake")["vorticity"]
    dynamics = SINDy(PolynomialLibrary(3), threshold=0.01, relative_threshold=True)
    model = ROM(POD(3), dynamics).fit(wake.sel(time=slice(None, TRAIN_UNTIL)))
    model.save(out / "model.nc")

    step = model.dynamics_.dt_
    forecast = model.rollout(wake[0], np.arange(0, ROLLOUT_UNTIL + step / 2, step), throw=False)
    with atomic_path(out / "forecast.nc") as path:
        forecast.sel(time=slice(ROLLOUT_UNTIL - 60, None)).to_netcdf(path, engine="netcdf4")

    held_out = wake.sel(time=slice(TRAIN_UNTIL, None))
    report = check(model, held_out, n_starts=10)
    full = check(model, CylinderWake(), starts=held_out[:1], t=held_out.time.values[:41])
    _print_figures(model, wake, forecast, report, full)
    _write_report(out, model, wake, forecast, report)
    print(f"\n{perf_counter() - begin:.0f} s. Results are in {out}/: report.html, wake.png,")
    print("model.nc, forecast.nc (the last 60 time units of the rollout), report.json.")
    return 0 if report.stable and full.stable else 1


def strouhal(amplitude: xr.DataArray) -> float:
    """Frequency of the upward crossings of the mean by an oscillation (time,)."""
    t, a = amplitude["time"].values, amplitude.values - float(amplitude.mean())
    i = np.flatnonzero((a[:-1] < 0) & (a[1:] >= 0))
    crossings = t[i] - a[i] * (t[i + 1] - t[i]) / (a[i + 1] - a[i])
    return float(1 / np.diff(crossings).mean())


def _print_figures(
    model: ROM,
    wake: xr.DataArray,
    forecast: xr.Dataset,
    report: StabilityReport,
    full: StabilityReport,
) -> None:
    held_out = wake.sel(time=slice(TRAIN_UNTIL, None))
    true, last = (
        model.encode(held_out),
        forecast["latent"].sel(time=slice(ROLLOUT_UNTIL - 120, None)),
    )
    size, size_model = (float(np.sqrt((a**2).sum("mode").mean())) for a in (true, last))
    energy = 100 * model.compressor_.explained_variance_ratio_.sum()
    print(
        f"Cylinder wake at Re 100: {wake.sizes['time']} snapshots of {model.n_features_in_} numbers"
    )
    print(
        f"  trained on t <= {TRAIN_UNTIL:g}: {model.compressor_.rank_} modes, {energy:.1f} % energy"
    )
    print(*(f"  {line}" for line in model.dynamics_.equations()), sep="\n")
    print(
        f"\nRollout from near the steady wake to t = {ROLLOUT_UNTIL:g}: {forecast.attrs['status']}"
    )
    frequencies = strouhal(last[:, 0]), strouhal(true[:, 0])
    print("  Strouhal number of the last 120: {:.4f} (data: {:.4f})".format(*frequencies))
    print(f"  size of the oscillation: {size_model / size:.3f} of the data's")
    print(f"\nAgainst held-out snapshots, t > {TRAIN_UNTIL:g}\n{report}")
    print(f"\nAgainst the full model, run from the same state\n{full}")


def _write_report(
    out: Path, model: ROM, wake: xr.DataArray, forecast: xr.Dataset, report: StabilityReport
) -> None:
    picture = plot_rollout(
        wake,
        forecast["vorticity"],
        latent=(model.encode(wake), forecast["latent"].sel(time=slice(None, 240))),
        training=(0.0, TRAIN_UNTIL),
        times=[30.0, 120.0, 239.0],
        extent=NEAR_WAKE,
        limit=2.0,
    )
    with atomic_path(out / "wake.png") as path:
        picture.savefig(path, format="png", dpi=110)
    report.to_json(out / "report.json")
    to_html(
        report,
        out / "report.html",
        model=model,
        figures={"The wake and the model's rollout": picture},
        title="A reduced model of the cylinder wake at Re 100",
    )
