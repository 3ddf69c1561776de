"""Forecasts of Pacific sea-surface temperature anomalies by linear models.

Trained on the first 240 months, started from every month after. Prints, by lead in months, the
correlation of the Niño 3.4 index, and the anomaly correlation of the whole field, for DMD of rank
20, for a seasonal model that also sees the changes of the last months, for persistence, and, taken
over and not recomputed, for another linear inverse model. Rank, months seen and penalties of the
seasonal model are chosen by hindcasts of training months that were held out, in four blocks.

    python benchmarks/sst.py --data DIR     # DIR holds pacific_sst_anomaly_monthly.nc
"""

from __future__ import annotations

import argparse
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import rom
from rom.data.times import phase
from rom.dynamics import delays
from rom.dynamics.seasonal import SeasonalModel, season

TRAIN = 240
BLOCK = 60
LONGEST = 12
LEADS = np.array([1, 3, 6, 9, 12])
OTHERS = ("persistence", "other LIM")
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


class Choice(NamedTuple):
    """What is chosen inside the training months."""

    rank: int
    months: int
    ridge: float
    seasonal_ridge: float


GRID = [Choice(*v) for v in product((10, 20), (1, 3, 6), (0.03, 0.1, 0.3), (1.0, 3.0))]


def changes(Z: NDArray[np.float64], months: int) -> NDArray[np.float64]:
    """States beside the changes that led to them; the first rows repeat what they lack."""
    padded = np.concatenate([np.repeat(Z[:1], months - 1, axis=0), Z])
    _, embedded = delays(padded, months)
    blocks = np.split(embedded, months, axis=1)
    return np.hstack([blocks[0], *(a - b for a, b in pairwise(blocks))])


def seasonal_runs(
    Z: NDArray[np.float64],
    u: NDArray[np.float64],
    choice: Choice,
    rows: NDArray[np.intp],
    starts: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Forecasts (n_starts, 1 + LONGEST, rank) by the model fitted on these training rows."""
    state = changes(Z, choice.months)
    # A row is of use if the months it sees, and the next, are all in training.
    span = rows[:, None] + np.arange(1 - choice.months, 2)
    rows = rows[np.isin(span, rows).all(axis=1)]
    model = SeasonalModel(1, ridge=choice.ridge, seasonal_ridge=choice.seasonal_ridge)
    model.fit(state[rows], Z[rows + 1] - Z[rows], u=u[rows])
    now, runs, r = state[starts], [Z[starts]], Z.shape[1]
    for lead in range(LONGEST):
        change = np.asarray(model.predict(now, u=u[starts + lead])).reshape(len(starts), r)
        now = np.hstack([now[:, :r] + change, change, now[:, r:]])[:, : now.shape[1]]
        runs.append(now[:, :r])
    return np.stack(runs, axis=1)


def compress(ssta: xr.DataArray, rank: int) -> rom.ROM:
    """The modes of training months."""
    return rom.ROM(rom.POD(rank), rom.DMD(), preprocess=rom.Scale(area_weights=True)).fit(ssta)


def choose(ssta: xr.DataArray, u: NDArray[np.float64]) -> Choice:
    """The choice whose Niño 3.4 is best in blocks of the training months that were held out."""
    index, squares = nino34(ssta).values, dict.fromkeys(GRID, 0.0)
    months = np.arange(TRAIN)
    for a in range(0, TRAIN, BLOCK):
        rows = months[(months < a) | (months >= a + BLOCK)]
        model = compress(ssta[rows], max(choice.rank for choice in GRID))
        latent = model.encode(ssta)
        unit = latent[: latent.sizes["mode"] + 1].copy(data=np.eye(latent.sizes["mode"] + 1)[:, 1:])
        decoded = nino34(model.decode(unit)).values
        starts = np.arange(a, a + BLOCK)
        for choice in GRID:
            r = choice.rank
            runs = seasonal_runs(latent.values[:, :r], u, choice, rows, starts)
            found = decoded[0] + runs @ (decoded[1 : r + 1] - decoded[0])
            month = starts[:, None] + np.arange(LONGEST + 1)
            known = month < a + BLOCK
            error = np.where(known, found - index[month], 0.0)
            squares[choice] += float(((error**2).sum(axis=0) / known.sum(axis=0)).mean())
    best = min(GRID, key=squares.__getitem__)
    folds = TRAIN // BLOCK
    print(f"chosen in training: {best}, RMSE {np.sqrt(squares[best] / folds):.3f} degC")
    print(f"the worst of {len(GRID)}: {np.sqrt(max(squares.values()) / folds):.3f} degC\n")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    ssta = rom.open_snapshots(folder / "pacific_sst_anomaly_monthly.nc", "ssta").load()
    month = phase(ssta.time, "month")
    u = season(np.r_[month, month[-1] + 1 + np.arange(LONGEST)], 12)
    choice = choose(ssta, u)

    starts = np.arange(TRAIN - 1, len(ssta) - 1)
    models = {rank: compress(ssta[:TRAIN], rank) for rank in (20, choice.rank)}
    latents = {rank: model.encode(ssta) for rank, model in models.items()}
    dmd = np.stack(
        [
            rom.rollout(models[20].dynamics_, latents[20].values[s], np.arange(LONGEST + 1)).z
            for s in starts
        ]
    )
    seasonal = seasonal_runs(latents[choice.rank].values, u, choice, np.arange(TRAIN), starts)
    runs = {"DMD": (20, dmd), "seasonal": (choice.rank, seasonal)}
    print("| lead | " + " | ".join(f"Niño 3.4 {name}" for name in [*runs, *OTHERS]), end=" | ")
    print(" | ".join(f"field {name}" for name in [*runs, *OTHERS]) + " |\n" + "|---" * 9 + "|")
    for i, lead in enumerate(LEADS):
        use = starts + lead < len(ssta)
        truth = ssta[starts[use] + lead]
        fields = {
            name: models[rank].decode(latents[rank][starts[use] + lead].copy(data=z[use, lead]))
            for name, (rank, z) in runs.items()
        }
        fields["persistence"] = truth.copy(data=ssta.values[starts[use]])
        r = [float(xr.corr(nino34(field), nino34(truth))) for field in fields.values()]
        acc = [anomaly_correlation(field, truth) for field in fields.values()]
        cells = [*r, OTHER_LIM["Nino 3.4"][i], *acc, OTHER_LIM["field"][i]]
        print(f"| {lead} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
