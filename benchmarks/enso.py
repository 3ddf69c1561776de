"""Hindcasts of Niño 3.4 by models of ten climate indices, equations chosen on the training years.

Trained on 1979 to 2001, started from every month of 2002 to 2022. Everything that is chosen
(harmonics, penalties, noise weights, nonlinear terms) is chosen by hindcasts of training years
that were held out, in five blocks; the table shows how. The published models are taken over and
not recomputed; run with their authors' code they give these figures.

Three-month means: the forecasts with the same lead from three neighbouring starts, against the
mean of the three months that they are for. Means over three leads of one start stand below it.

    python benchmarks/enso.py --data DIR     # DIR holds enso_indices_oras5.nc
"""

from __future__ import annotations

import argparse
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.base import clone

from rom.data.times import phase
from rom.dynamics.seasonal import SeasonalModel, season

Array = NDArray[np.float64]
LEADS = np.arange(13)
SHOWN = [3, 6, 9, 12]
N_BLOCKS = 5
# A nonlinear term stays if it takes this share off the mean error of the held-out hindcasts.
WORTHWHILE = 0.01
PUBLISHED = {
    "XRO (Zhao et al. 2024)": ([0.908, 0.769, 0.638, 0.545], [0.350, 0.558, 0.659, 0.704]),
    "its linear seasonal part": ([0.902, 0.745, 0.618, 0.522], [0.352, 0.547, 0.647, 0.706]),
    "its linear stationary part": ([0.887, 0.694, 0.551, 0.423], [0.378, 0.586, 0.683, 0.750]),
}


class Indices(NamedTuple):
    """Rows are months."""

    names: list[str]
    Z: Array
    """Indices in units of their standard deviation in training."""
    u: Array
    """Seasons, with those of a year more than there are rows."""
    year: NDArray[np.int64]
    degrees: float
    """One unit of the first index, Niño 3.4."""

    @property
    def n_train(self) -> int:
        """Months of training, which come first."""
        return int((self.year <= 2001).sum())


def load(folder: Path) -> Indices:
    ds = xr.open_dataset(folder / "enso_indices_oras5.nc").drop_vars("month")
    values = ds.to_array().transpose("time", "variable").values.astype(np.float64)
    year, month = ds.time.dt.year.values, phase(ds.time, "month")
    scale = values[year <= 2001].std(axis=0)
    months = np.r_[month, month[-1] + 1 + np.arange(12)]
    return Indices(
        [str(name) for name in ds.data_vars],
        values / scale,
        season(months, 12),
        year,
        float(scale[0]),
    )


def fit(model: SeasonalModel, data: Indices, rows: NDArray[np.intp]) -> SeasonalModel:
    """Fitted on these months; those on either side of a block left out are two trajectories."""
    run = np.cumsum(np.diff(rows, prepend=rows[0]) > 1)
    fitted: SeasonalModel = clone(model).fit(
        data.Z[rows], t=rows.astype(float), u=data.u[rows], trajectory=run
    )
    return fitted


def hindcast(model: SeasonalModel, data: Indices, starts: NDArray[np.intp]) -> Array:
    """Niño 3.4 (n_starts, n_leads), in units of the training, all starts at a time."""
    z, found = data.Z[starts], [data.Z[starts, 0]]
    for lead in LEADS[:-1]:
        # A model that runs away has no skill; the bound keeps its error a number.
        z = np.clip(model.predict(z, u=data.u[starts + lead]), -8, 8)
        found.append(z[:, 0])
    return np.stack(found, axis=1)


def three_months(values: Array) -> Array:
    """Means of neighbouring rows; of two at the ends."""
    return np.stack([values[max(0, i - 1) : i + 2].mean(axis=0) for i in range(len(values))])


def skill(forecast: Array, truth: Array) -> tuple[Array, Array]:
    """Correlation and root-mean-square error at each lead; NaN in `truth` where there is none."""
    r, error = [], []
    for f, v in zip(forecast.T, truth.T, strict=True):
        known = np.isfinite(v)
        r.append(np.corrcoef(f[known], v[known])[0, 1])
        error.append(np.sqrt(np.mean((f[known] - v[known]) ** 2)))
    return np.array(r), np.array(error)


def truth_at(data: Indices, starts: NDArray[np.intp], stop: int) -> Array:
    """Observed three-month means (n_starts, n_leads), NaN from month `stop` on."""
    observed = np.r_[three_months(data.Z[:, 0]), np.full(len(LEADS), np.nan)]
    month = starts[:, None] + LEADS
    return np.where(month < stop, observed[month], np.nan)


def held_out(model: SeasonalModel, data: Indices) -> tuple[Array, Array]:
    """Skill in degrees at leads 1 to 12 of hindcasts of training years that were left out."""
    months = np.arange(data.n_train)
    forecasts, truths = [], []
    edges = 12 * np.linspace(0, data.n_train // 12, N_BLOCKS + 1).round().astype(int)
    for a, b in pairwise(edges):
        fitted = fit(model, data, months[(months < a) | (months >= b)])
        forecasts.append(three_months(hindcast(fitted, data, months[a:b])))
        truths.append(truth_at(data, months[a:b], b))
    r, error = skill(np.concatenate(forecasts), np.concatenate(truths))
    return r[1:], data.degrees * error[1:]


def choose(data: Indices) -> SeasonalModel:
    """The linear model with the least error in held-out years, then nonlinear terms, one by one."""
    print("| chosen | mean error of held-out training years [degC] |\n|---|---|")
    grid: dict[str, tuple[Any, ...]] = {
        "harmonics": (0, 1, 2),
        "ridge": (0.01, 0.03, 0.1),
        "seasonal_ridge": (0.1, 0.3, 1.0, 3.0),
        "seasonal_noise": (False, True),
    }
    models = [
        SeasonalModel(**dict(zip(grid, values, strict=True))) for values in product(*grid.values())
    ]
    errors = [held_out(model, data)[1].mean() for model in models if _needed(model)]
    models = [model for model in models if _needed(model)]
    best, error = models[int(np.argmin(errors))], min(errors)
    print(f"| linear: {_said(best)} | {error:.4f} (worst of the grid {max(errors):.4f}) |")
    terms: list[tuple[int, tuple[int, ...]]] = []
    while True:
        left = [term for term in _candidates(len(data.names)) if term not in terms]
        tried = [clone(best).set_params(nonlinear=[*terms, term]) for term in left]
        errors = [held_out(model, data)[1].mean() for model in tried]
        i = int(np.argmin(errors))
        target, factors = left[i]
        name = f"{' '.join(data.names[j] for j in factors)} in {data.names[target]}"
        if errors[i] > (1 - WORTHWHILE) * error:
            print(f"| the next best, left out: {name} | {errors[i]:.4f} |\n")
            return best
        best, error = tried[i], errors[i]
        terms.append(left[i])
        print(f"| and {name} | {error:.4f} |")


def _needed(model: SeasonalModel) -> bool:
    """Without harmonics their penalty makes no difference: one value of it will do."""
    return model.harmonics > 0 or model.seasonal_ridge == 1.0


def _said(model: SeasonalModel) -> str:
    return ", ".join(
        f"{name} {getattr(model, name)}"
        for name in ("harmonics", "ridge", "seasonal_ridge", "seasonal_noise")
    )


def _candidates(n: int) -> list[tuple[int, tuple[int, ...]]]:
    """Products of Niño 3.4 or warm water volume in their equations; squares of the others."""
    terms: list[tuple[int, ...]] = [(0, j) for j in range(n)]
    terms += [(1, 1), (0, 0, 0), (0, 0, 1), (0, 1, 1)]
    return [(i, term) for i in (0, 1) for term in terms] + [(i, (i, i)) for i in range(2, n)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    data = load(parser.parse_args().data)
    chosen = choose(data)
    train = np.arange(data.n_train)
    # One start before the first and one after the last, for the three-month means.
    starts = np.arange(data.n_train - 1, np.flatnonzero(data.year == 2022)[-1] + 2)
    truth = truth_at(data, starts, len(data.Z))[1:-1]
    linear = {"linear seasonal": clone(chosen).set_params(nonlinear=None)}
    linear["linear stationary"] = clone(linear["linear seasonal"]).set_params(harmonics=0)
    print("| 2002 to 2022 | " + " | ".join(f"r {lead}" for lead in SHOWN), end=" | ")
    print(" | ".join(f"RMSE {lead}" for lead in SHOWN) + " |\n" + "|---" * 9 + "|")
    for name, model in {"SeasonalModel": chosen, **linear}.items():
        run = hindcast(fit(model, data, train), data, starts)
        same_lead = three_months(run)[1:-1]
        _print(name, *skill(same_lead, truth), data.degrees)
        one_start = np.full_like(run, np.nan)
        one_start[:, 1:-1] = (run[:, :-2] + run[:, 1:-1] + run[:, 2:]) / 3
        one_start[:, -1] = run[:, -2:].mean(axis=1)
        _print(f"{name}, means over leads", *skill(one_start[1:-1], truth), data.degrees)
    persistence = np.repeat(three_months(data.Z[starts, :1])[1:-1], len(LEADS), axis=1)
    _print("persistence", *skill(persistence, truth), data.degrees)
    for name, (r, error) in PUBLISHED.items():
        print(f"| {name} | " + " | ".join(f"{x:.3f}" for x in r + error) + " |")
    print("\nHow much the choice of one penalty matters (after the fact, not used to choose):\n")
    print("| seasonal_ridge | held-out training years [degC] | r 6 | r 12 | RMSE 6 | RMSE 12 |")
    print("|---" * 6 + "|")
    for penalty in (0.1, 0.3, 1.0, 3.0):
        model = clone(chosen).set_params(seasonal_ridge=penalty)
        run = three_months(hindcast(fit(model, data, train), data, starts))[1:-1]
        reached = skill(run, truth)
        cells = [held_out(model, data)[1].mean(), *reached[0][[6, 12]]]
        cells += list(data.degrees * reached[1][[6, 12]])
        print(f"| {penalty} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    fitted = fit(chosen.set_params(names=[*data.names, "cos", "sin"]), data, train)
    print(f"\n{fitted.equations()[0]}\n\nTerms of Nino34, coefficients ± 2 standard errors:")
    for c, e, term in zip(fitted.coef_[0], fitted.stderr_[0], fitted.exponents_, strict=True):
        if c.any():
            name = " ".join(n for n, p in zip(data.names, term, strict=True) for _ in range(p))
            print(
                f"  {name:12s}",
                "  ".join(f"{a:+.3f} ± {2 * b:.3f}" for a, b in zip(c, e, strict=True)),
            )


def _print(name: str, r: Array, error: Array, degrees: float) -> None:
    cells = [f"{r[lead]:.3f}" for lead in SHOWN] + [
        f"{degrees * error[lead]:.3f}" for lead in SHOWN
    ]
    print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
