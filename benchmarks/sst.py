"""Forecasts of Pacific sea-surface temperature anomalies by a linear model of rank 20.

Trained on the first 240 months, started from every month after. Prints, by lead in months, the
correlation of the Niño 3.4 index, and the anomaly correlation of the whole field, for the model,
for persistence, and, taken over and not recomputed, for another linear inverse model.

    python benchmarks/sst.py --data DIR     # DIR holds pacific_sst_anomaly_monthly.nc
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

import rom

TRAIN = 240
LEADS = np.array([1, 3, 6, 9, 12])
OTHER_LIM = {
    "Nino 3.4": [0.966, 0.846, 0.633, 0.451, 0.306],
    "field": [0.797, 0.651, 0.488, 0.363, 0.269],
}


def nino34(field: xr.DataArray) -> xr.DataArray:
    """Area mean over 5° S to 5° N, 170° W to 120° W."""
    box = field.sel(lat=slice(-5, 5), lon=slice(190, 240))
    return box.weighted(np.cos(np.deg2rad(box.lat))).mean(("lat", "lon"))


def anomaly_correlation(a: xr.DataArray, b: xr.DataArray) -> float:
    """Correlation of anomalies about the climatology, area-weighted, over all times and cells."""
    w = np.cos(np.deg2rad(a.lat))
    return float((w * a * b).sum() / np.sqrt((w * a**2).sum() * (w * b**2).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    ssta = rom.open_snapshots(folder / "pacific_sst_anomaly_monthly.nc", "ssta").load()
    model = rom.ROM(rom.POD(20), rom.DMD(), preprocess=rom.Scale(area_weights=True))
    model.fit(ssta[:TRAIN])

    latent = model.encode(ssta)
    starts = np.arange(TRAIN - 1, len(ssta) - 1)
    runs = np.stack(
        [rom.rollout(model.dynamics_, latent.values[s], np.arange(13)).z for s in starts]
    )
    print(
        f"lead {'Nino 3.4':>9} {'persist.':>9} {'other LIM':>9}"
        f" {'field':>7} {'persist.':>9} {'other LIM':>9}"
    )
    for i, lead in enumerate(LEADS):
        use = starts + lead < len(ssta)
        truth = ssta[starts[use] + lead]
        forecast = model.decode(latent[starts[use] + lead].copy(data=runs[use, lead]))
        persist = truth.copy(data=ssta.values[starts[use]])
        print(
            f"{lead:4d}"
            f" {float(xr.corr(nino34(forecast), nino34(truth))):9.3f}"
            f" {float(xr.corr(nino34(persist), nino34(truth))):9.3f}"
            f" {OTHER_LIM['Nino 3.4'][i]:9.3f}"
            f" {anomaly_correlation(forecast, truth):7.3f}"
            f" {anomaly_correlation(persist, truth):9.3f}"
            f" {OTHER_LIM['field'][i]:9.3f}"
        )


if __name__ == "__main__":
    main()
