# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A forecast that knows how sure it is
#
# Daily sea-level pressure over the North Atlantic, 2001 to 2010 (NCEP/NCAR reanalysis). Linear
# models learn from six years how anomalies move and fade, and forecast ten days from every day of
# the other four. Are they better than forecasts that need no model, beyond chance? How wide is a
# band that holds the pressure at several places on all ten days, and does it?

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from scipy.linalg import expm

import rom
from rom.dynamics import NVAR, LinearInverseModel, delays, season
from rom.rollout.bootstrap import skill_interval
from rom.rollout.coverage import coverage
from rom.rollout.crps import crps, sample_crps
from rom.rollout.intervals import conformal_band, in_band
from rom.rollout.seasonal import seasonal_forecast, seasonal_linear
from rom.rollout.skill import damped_persistence, lag_one_autocorrelation, skill_score

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70

# %% [markdown]
# ## The data
#
# A file of 3 MB in the folder that the environment variable `ROM_DATA` names: `slp`, daily means on
# a grid of 2.5 degrees, as cut from the reanalysis. Mean and yearly course, two harmonics, are
# those of the training years; what is left are the anomalies, in hPa.

# %%
file = Path(os.environ.get("ROM_DATA", ".")) / "north_atlantic_slp_daily.nc"
pressure = rom.open_snapshots(file, "slp").load().astype(float) / 100
day, year = np.arange(len(pressure)), pressure.time.dt.year.values
train = year <= 2006
u = season(day, 365.25)
waves = np.column_stack([np.ones(len(day)), u, season(2 * day, 365.25)])
rows = pressure.values.reshape(len(day), -1)
course = waves @ np.linalg.lstsq(waves[train], rows[train], rcond=None)[0]
anomaly = pressure.copy(data=(rows - course).reshape(pressure.shape)).assign_attrs(units="hPa")
print(f"{train.sum()} days to learn from, {(~train).sum()} after them")

# %% [markdown]
# ## A linear inverse model
#
# Twenty modes, and the linear equation with white noise that has their lagged covariances. The
# check runs it from a hundred days of 2007 to 2010, whose forecasts do not overlap.

# %%
model = rom.ROM(rom.POD(20), LinearInverseModel(), preprocess=rom.Scale(area_weights=True))
model.fit(anomaly[train])
report = rom.check(model, anomaly[~train], horizon=10.0, n_starts=100)
print(report)

# %% [markdown]
# A sober verdict: it is stable, and no better than the best of the simple forecasts, a seasonal
# linear model: the same kind of map, with coefficients that follow the year.
#
# ## Memory
#
# Pressure systems travel: where they were yesterday tells where they go. A linear map of the last
# three days knows that. Now from every day, all forecasts beside each other, on the modes:

# %%
LEADS = np.arange(11)
Z = model.encode(anomaly).values
starts = np.flatnonzero(~train)[: -LEADS[-1]]
ahead = starts[:, None] + LEADS
truth = Z[ahead]


def steps(step, z):
    """Forecasts (n_starts, n_leads, 20) by one map, day after day."""
    path = [z]
    for _ in LEADS[1:]:
        path.append(step(path[-1]))
    return np.stack(path, axis=1)[:, :, :20]


last, days = delays(Z, 3)
seen = train[last]
memory = NVAR(3, degree=1, ridge=1e-3).fit(days[seen], t=last[seen].astype(float))
one_day = expm(model.dynamics_.L_).T
left, mean = lag_one_autocorrelation(Z[train], [slice(0, train.sum())]), Z[train].mean(axis=0)
forecasts = {
    "three days": steps(memory.predict, days[starts - last[0]]),
    "linear inverse": steps(lambda z: z @ one_day, Z[starts]),
    "seasonal": seasonal_forecast(seasonal_linear(Z[train], u[train]), Z[starts], u[ahead]),
    "damped persistence": np.stack([damped_persistence(z, LEADS, mean, left) for z in Z[starts]]),
    "persistence": np.repeat(truth[:, :1], len(LEADS), axis=1),
    "climatology": np.zeros_like(truth),
}
square = {name: np.sum((z - truth) ** 2, axis=2) for name, z in forecasts.items()}
table = pd.DataFrame({name: np.sqrt(e.mean(axis=0)) for name, e in square.items()}).T
print("root mean square error over that of the climatology, by lead in days")
print((table / table.loc["climatology"])[[1, 2, 3, 5, 7, 10]].round(3))

# %% [markdown]
# Is the gain more than luck? Errors of neighbouring days are alike; blocks of starts, drawn again
# and again, give the interval (90 %) of the skill over each other forecast.

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
for name, e in square.items():
    axes[0].plot(LEADS, table.loc[name] / table.loc["climatology"], label=name)
    if name in ("seasonal", "damped persistence", "climatology"):
        low, high = skill_interval(square["three days"], e)
        axes[1].fill_between(LEADS[1:], low[1:], high[1:], alpha=0.25)
        skill = skill_score(square["three days"].mean(axis=0), e.mean(axis=0))
        axes[1].plot(LEADS[1:], skill[1:], label=f"over {name}")
axes[0].set(xlabel="lead [days]", ylabel="error / climatology", ylim=(0, 1.4))
axes[1].axhline(0, color="grey", lw=0.5)
axes[1].set(xlabel="lead [days]", ylabel="skill of three days of memory")
for ax in axes:
    ax.legend(fontsize=8)

# %% [markdown]
# Three days of memory beat each of these at every lead time, and not by chance: the seasonal model
# by a quarter of its squared error on the first day, later by some per cent. After a week little is
# left to know.
#
# ## A band for five places and ten days
#
# What is wanted is not a band that holds each number nine times out of ten, but one that holds the
# whole forecast: all places, all days. The largest errors of the forecasts of 2007 and 2008 say how
# wide (split conformal prediction, in blocks of 15 days); those of 2009 and 2010 test it.

# %%
places = {
    "Reykjavik": (65, -22.5),
    "Azores": (37.5, -25),
    "Halifax": (45, -62.5),
    "London": (52.5, 0),
    "Lisbon": (37.5, -10),
}


def at_places(fields):
    """Pressures (..., 5) of fields (..., lat, lon)."""
    lat, lon = (
        xr.DataArray(list(values), dims="place") for values in zip(*places.values(), strict=True)
    )
    return fields.sel(lat=lat, lon=lon).values


zero, *modes = at_places(model.decode(np.eye(21, 20, -1)))
observed = at_places(anomaly)


def errors(starts):
    """Truth minus forecast (n_starts, 10, 5) of pressures, in hPa, from lead 1 on."""
    z = steps(memory.predict, days[starts - last[0]])
    forecast = zero + z @ (np.array(modes) - zero)
    return (observed[starts[:, None] + LEADS] - forecast)[:, 1:]


error, block = errors(starts), starts // 15
early = year[starts + LEADS[-1]] <= 2008
late = year[starts] >= 2009
band = conformal_band(error[early], level=0.9, block=block[early])
held = in_band(error[late], band.radius)
found = coverage(held, block=block[late])
print(f"held {found.share:.1%} of {found.n} forecasts (95 %: {found.low:.1%} to {found.high:.1%})")
single = np.quantile(np.abs(error[early]), 0.9, axis=0)
inside = (np.abs(error[late]) <= single).mean()
together = in_band(error[late], single).mean()
print(
    f"bands for one number at a time: {inside:.1%} of the numbers, {together:.1%} of the forecasts"
)

# %% [markdown]
# As promised, within what so many forecasts can tell. Bands for single numbers, which are right for
# each of them, hold one whole forecast in six.
#
# ## Winter is not summer
#
# Nine in ten over the year is not nine in ten in January. The same errors, divided by the spread
# that errors of forecasts in training had in each month, make a band that breathes with the year.

# %%
month = pressure.time.dt.month.values - 1
seen = np.flatnonzero(train)[2 : -LEADS[-1]]
spread = np.stack([errors(seen[month[seen] == m]).std(axis=0) for m in range(12)])
scaled = error / spread[month[starts]]
breathing = conformal_band(scaled[early], level=0.9, block=block[early])
held = {"fixed": held, "by month": in_band(scaled[late], breathing.radius)}
width = breathing.radius * spread
part = np.select([np.isin(month, (11, 0, 1)), np.isin(month, (5, 6, 7))], [0, 1], 2)[starts[late]]
table = pd.DataFrame(
    {
        name: {
            season: "{:.0%} ({:.0%} to {:.0%})".format(*coverage(x[rows], block=block[late][rows]))
            for season, rows in (("year", part >= 0), ("winter", part == 0), ("summer", part == 1))
        }
        for name, x in held.items()
    }
).T
table["January [hPa]"] = [band.radius.mean().round(1), width[0].mean().round(1)]
table["July [hPa]"] = [band.radius.mean().round(1), width[6].mean().round(1)]
table

# %%
fig, axes = plt.subplots(2, 3, figsize=(10, 5), sharex=True, sharey=True, layout="constrained")
cases = ("2010-01-15", "2010-07-15")
for row, date in zip(axes, cases, strict=True):
    i = int(np.flatnonzero(pressure.time.values[starts] == np.datetime64(date))[0])
    s = starts[i]
    came = observed[s + LEADS]
    for ax, place in zip(row, ("Reykjavik", "Azores", "London"), strict=True):
        k = list(places).index(place)
        forecast = came[1:, k] - error[i, :, k]
        half = width[month[s], :, k]
        ax.fill_between(LEADS[1:], forecast - half, forecast + half, alpha=0.2, label="90 % band")
        ax.plot(LEADS[1:], forecast, label="forecast")
        ax.plot(LEADS, came[:, k], "k", label="observed")
        ax.set(title=f"{place}, {date}")
for ax in axes[1]:
    ax.set(xlabel="lead [days]")
for ax in axes[:, 0]:
    ax.set(ylabel="anomaly [hPa]")
_ = axes[0, 0].legend(fontsize=8)

# %% [markdown]
# In summer the band is now much narrower, and right. In winter it still holds too few: that of 2009
# to 2010 had the most negative North Atlantic Oscillation on record, which no earlier error could
# announce. A band promises what it does if the days to come are like those it was made from.
#
# ## A forecast as a distribution
#
# The linear inverse model is driven by noise: its ensemble says what may come. The continuous
# ranked probability score asks for both, to be near and to be sure of no more than is known; for a
# single forecast it is the absolute error. From every fifth day, 50 members, mean over the modes:

# %%
few = np.arange(0, len(starts), 5)
members = np.stack(
    [
        model.dynamics_.ensemble(z, LEADS, n_members=50, random_state=i)
        for i, z in enumerate(truth[few, 0])
    ],
    axis=1,
)
score = {
    "ensemble": crps(members, truth[few]).mean(axis=2),
    "its mean alone": np.abs(forecasts["linear inverse"][few] - truth[few]).mean(axis=2),
    "three days, one forecast": np.abs(forecasts["three days"][few] - truth[few]).mean(axis=2),
    "climatology": sample_crps(Z[train], truth[few]).mean(axis=2),
}
print("CRPS over that of the climatology, by lead in days")
table = pd.DataFrame({name: x.mean(axis=0) for name, x in score.items()}).T
print((table / table.loc["climatology"])[[1, 2, 3, 5, 7, 10]].round(3))
low, high = skill_interval(score["ensemble"], score["climatology"])
for lead in (1, 3, 5, 7, 10):
    print(f"skill of the ensemble at day {lead:2}: {low[lead]:+.3f} to {high[lead]:+.3f} (90 %)")

# %% [markdown]
# As a distribution the linear model is worth more than any single forecast: its score is better
# than the climatology's, beyond chance, to day five. Soon after it is the climatology, and says so.
