"""Global sea-surface temperature (ERSST v5, 128 months) of which 44 % is hidden, filled again.

Hidden are 20 % of the cells, at random, and a band of longitudes 108 degrees (30 %) wide, which
moves from month to month: by its own width, or by 20 degrees, so that every cell is lost for five
or six months on end. GappyPOD is fitted on the rest: `row by row` is its inverse_transform of its
transform, which knows the visible cells of one month and gives back as many modes as asked for;
`reconstruct` knows all months, and uses all modes that the data support. Beside it stands a POD
fitted on the complete field, which sees the hidden values: the error of its projection at the same
rank, over which the errors of both are given too.

Land is left out; cells are weighted by the square root of their area; the errors (deg C, weighted)
are over the hidden cells. Anomalies are about the monthly means of the complete field.

    python benchmarks/gappy.py --data DIR     # DIR holds ersst_v5_2010_2020.nc
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rom
from rom.compress.gappy_pod import GappyPOD

RANKS = (1, 2, 5, 10, 20)
WIDTH = 108.0


def hide(n_time: int, longitude: NDArray, drift: float, seed: int) -> tuple[NDArray, NDArray]:
    """What is hidden by the random cells, and by the moving band: (n_time, n_space) each."""
    cells = np.random.default_rng(seed).random((n_time, len(longitude))) < 0.2
    west = drift * np.arange(n_time)
    return cells, (longitude - west[:, None]) % 360 < WIDTH


def rms(error: NDArray, weight: NDArray) -> float:
    return float(np.sqrt(np.sum(error**2) / np.sum(weight**2)))


def measure(X: NDArray, weight: NDArray, cells: NDArray, band: NDArray) -> None:
    """`X` and `weight` are (n_time, n_space); `X` is weighted already."""
    hidden = cells | band
    gappy = np.where(hidden, np.nan, X)
    start = time.perf_counter()
    fitted = GappyPOD(max(RANKS), random_state=0).fit(gappy)
    seconds = time.perf_counter() - start
    Z, complete = fitted.transform(gappy), rom.POD(max(RANKS)).fit(X)
    error = fitted.reconstruct(gappy) - X
    filled = rms(error[hidden], weight[hidden])
    print(
        f"  {'rank':>4} {'complete':>9} {'row by row':>11} {'ratio':>6} {'reconstruct':>12} ratio"
    )
    for r in RANKS:
        short = complete.truncated(r)
        projected = short.inverse_transform(short.transform(X))
        # Modes are nested: this is GappyPOD(r), which fits the same modes and keeps r.
        estimate = Z[:, :r] @ fitted.components_[:r] + fitted.mean_
        best = rms((projected - X)[hidden], weight[hidden])
        reached = rms((estimate - X)[hidden], weight[hidden])
        print(
            f"  {r:4d} {best:9.4f} {reached:11.4f} {reached / best:6.3f} "
            f"{filled:12.4f} {filled / best:5.3f}"
        )
    covered = np.abs(error) < 1.96 * np.sqrt(fitted.variance(gappy))
    print(
        f"  reconstruct ({len(fitted.fill_components_)} modes): "
        f"{filled:.4f} "
        f"(in the band {rms(error[band], weight[band]):.4f}, isolated cells "
        f"{rms(error[cells & ~band], weight[cells & ~band]):.4f}; "
        f"hidden values about their mean {rms((X - X.mean(axis=0))[hidden], weight[hidden]):.4f})"
    )
    print(
        f"  95 % bands cover {100 * covered[hidden].mean():.1f} % of the hidden cells "
        f"(band {100 * covered[band].mean():.1f} %, "
        f"isolated {100 * covered[cells & ~band].mean():.1f} %); "
        f"{fitted.n_iter_} sweeps, {seconds:.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    sst = rom.open_snapshots(parser.parse_args().data / "ersst_v5_2010_2020.nc", "sst").load()
    anomaly = sst.groupby("time.month") - sst.groupby("time.month").mean()
    for drift in (WIDTH, 20.0):
        for name, field in (("Anomalies", anomaly), ("Seasonal cycle kept", sst)):
            sea = field.stack(cell=("lat", "lon")).dropna("cell").astype(np.float64)
            weight = np.sqrt(np.cos(np.deg2rad(sea.lat))).values
            cells, band = hide(len(sea), sea.lon.values, drift, seed=0)
            hidden = f"{(cells | band).mean():.1%} hidden"
            print(f"{name}, band moves {drift:g} degrees a month, {hidden}", flush=True)
            measure(sea.values * weight, np.broadcast_to(weight, sea.shape), cells, band)


if __name__ == "__main__":
    main()
