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
# # Equations of El Niño from climate indices
#
# Ten monthly indices of the oceans, 1979 to 2024 (ORAS5 reanalysis): Niño 3.4, the warm water
# volume of the equatorial Pacific, and eight modes of the other basins. From the first 23 years we
# learn the equations that take the indices from one month to the next, with coefficients that
# follow the season. Then we forecast the following 21 years, and ask whether that beats simple
# forecasts. Set-up and measures are those of Zhao et al. (2024), Nature 630, 891.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import rom
from rom.data.times import phase
from rom.dynamics import DiscreteSINDy, LinearInverseModel, SeasonalModel
from rom.dynamics.seasonal import season

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70

# %% [markdown]
# ## The data
#
# Fetched once (70 kB) and verified; if you have the file already, name its folder in the
# environment variable `ROM_DATA`. Each index is divided by its standard deviation in training, so
# that coefficients compare.

# %%
indices = rom.datasets.load("enso_indices").drop_vars("month", errors="ignore")
names = [str(name) for name in indices.data_vars]
year, month = indices.time.dt.year.values, phase(indices.time, "month")
values = indices.to_array().transpose("time", "variable").values.astype(float)
train = year <= 2001
scale = values[train].std(axis=0)
Z, t, u = values / scale, np.arange(len(year)), season(month, 12)
print(f"{train.sum()} months to learn from, {(~train).sum()} after them")

figure, axes = plt.subplots(2, 1, figsize=(9, 3.4), sharex=True, layout="constrained")
for axis, i in zip(axes, (0, 1), strict=True):
    axis.plot(indices.time, values[:, i], lw=1)
    axis.axvspan(indices.time.values[0], indices.time.values[train][-1], alpha=0.15)
    axis.set(ylabel=f"{names[i]} [{'degC' if i == 0 else 'm'}]")

# %% [markdown]
# ## Which terms?
#
# First without seasons, and for the two variables of the recharge oscillator alone. Fifty sparse
# models are each fitted to rows drawn anew, in blocks; BIC on the rows that a model has not seen
# decides which terms it keeps. How many of the models keep a term says more than one fit.

# %%
sparse = DiscreteSINDy(
    rom.PolynomialLibrary(3, include_bias=False),
    threshold="bic",
    n_models=50,
    random_state=0,
    names=names[:2],
)
sparse.fit(Z[train, :2], t=t[train])
terms = rom.PolynomialLibrary(3).names(names[:2])[1:]
low, high = sparse.coef_interval_
for i, target in enumerate(names[:2]):
    table = pd.DataFrame(
        {
            "in models": sparse.inclusion_probability_[i],
            "coefficient": sparse.coef_[i],
            "5 %": low[i],
            "95 %": high[i],
        },
        index=terms,
    )
    print(f"{target}, one month later\n{table[table['in models'] > 0.1].round(2)}\n")

# %% [markdown]
# The linear terms are there in nearly all models, and they are the recharge oscillator: warm water
# makes El Niño, El Niño drains the warm water. One nonlinear term, the product of the two, is in
# half of the models: with much warm water El Niño grows faster than it decays without. A candidate,
# and no more: its interval reaches to zero.
#
# ## Coefficients that follow the season
#
# El Niño peaks in winter: growth and damping depend on the month. `SeasonalModel` gives each
# coefficient a mean and waves of the year. The data are few, so penalties draw the model to
# persistence and the waves to zero. Which penalties, and how many waves? Years after 2001 must not
# decide. Within the training years, five blocks are forecast in turn from the others.

# %%
LEADS = np.arange(13)


def hindcast(model, starts):
    """Niño 3.4 in degrees, (n_starts, n_leads)."""
    z, path = Z[starts], [Z[starts, 0]]
    for lead in LEADS[1:]:
        z = model.predict(z, u=season(month[starts] + lead - 1, 12))
        path.append(z[:, 0])
    return scale[0] * np.stack(path, axis=1)


def held_out_error(model):
    """Root mean square error over leads of 1 to 12 months, in training years left out."""
    rows, errors = np.flatnonzero(train), []
    for block in np.array_split(rows, 5):
        rest = np.setdiff1d(rows, block)
        trajectory = np.cumsum(np.diff(rest, prepend=rest[0]) > 1)
        fitted = model.fit(Z[rest], t=t[rest], u=u[rest], trajectory=trajectory)
        starts = block[: -LEADS[-1]]
        truth = values[starts[:, None] + LEADS, 0]
        errors.append((hindcast(fitted, starts) - truth)[:, 1:] ** 2)
    return np.sqrt(np.concatenate(errors).mean())


# %%
options = [
    {"harmonics": harmonics, "ridge": ridge, "seasonal_ridge": seasonal_ridge}
    for harmonics in (0, 1, 2)
    for ridge in (0.01, 0.03, 0.1)
    for seasonal_ridge in ((0.3, 1.0, 3.0) if harmonics else (1.0,))
]
tried = pd.DataFrame(options)
tried["error [degC]"] = [held_out_error(SeasonalModel(**option)) for option in options]
tried = tried.sort_values("error [degC]")
print(tried.head(5).round(3).to_string(index=False))
print(f"best without seasons: {tried[tried.harmonics == 0]['error [degC]'].min():.3f} degC")
chosen = options[tried.index[0]]

# %% [markdown]
# ## The equations
#
# The strongest terms of the equation of Niño 3.4, with two standard errors. A coefficient next to
# its own index is what is left of it after a month; below, its whole course over the year.

# %%
model = SeasonalModel(**chosen, names=[*names, "cos", "sin"])
model.fit(Z[train], t=t[train], u=u[train])
waves = ["constant", "cos", "sin", "cos 2", "sin 2"][: model.coef_.shape[2]]
coef = pd.DataFrame(model.coef_[0], index=names, columns=waves)
error = pd.DataFrame(2 * model.stderr_[0], index=names, columns=waves)
text = coef.map("{:+.3f}".format) + " ± " + error.map("{:.3f}".format)
print(text.loc[coef.abs().max(axis=1).sort_values(ascending=False).index].to_string())

# %%
year_round = season(np.arange(12), 12)
wave = np.column_stack([np.ones(12), year_round])
if len(waves) == 5:
    cos, sin = year_round.T
    wave = np.column_stack([wave, cos**2 - sin**2, 2 * sin * cos])
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for axis, j in zip(axes, (0, 1), strict=True):
    course, band = wave @ model.coef_[0, j], 2 * np.sqrt(wave**2 @ model.stderr_[0, j] ** 2)
    axis.plot(range(1, 13), course)
    axis.fill_between(range(1, 13), course - band, course + band, alpha=0.2)
    axis.set(xlabel="month", title=f"{names[j]} in the equation of {names[0]}", xticks=range(1, 13))

# %% [markdown]
# Anomalies of Niño 3.4 last from August to October and are damped around the turn of the year,
# when El Niño ends. Warm water acts from April to June, before an event. (The bands take the errors
# of the waves as independent.)
#
# ## Hindcasts, 2002 to 2022
#
# Twelve months from each month of 21 years that no choice has seen, beside the same model without
# seasons, a linear inverse model, and two forecasts that need no model.

# %%
starts = np.flatnonzero((year >= 2002) & (year <= 2022))
truth = values[starts[:, None] + LEADS, 0]
stationary = SeasonalModel(harmonics=0, ridge=chosen["ridge"])
stationary.fit(Z[train], t=t[train], u=u[train])
lim = LinearInverseModel().fit(Z[train], t=t[train].astype(float))
forecasts = {
    "seasonal": hindcast(model, starts),
    "without seasons": hindcast(stationary, starts),
    "linear inverse model": scale[0]
    * np.array([[lim.forecast(z, float(lead)).mean[0] for lead in LEADS] for z in Z[starts]]),
    "persistence": np.repeat(values[starts, :1], len(LEADS), axis=1),
    "climatology": np.zeros((len(starts), len(LEADS))),
}

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
table = {}
for name, forecast in forecasts.items():
    rmse = np.sqrt(np.mean((forecast - truth) ** 2, axis=0))
    right.plot(LEADS[1:], rmse[1:], label=name)
    if forecast.any():
        r = [np.corrcoef(f, v)[0, 1] for f, v in zip(forecast.T, truth.T, strict=True)]
        left.plot(LEADS[1:], r[1:])
        table[name] = {"r at 6": r[6], "r at 12": r[12], "RMSE at 6": rmse[6], "at 12": rmse[12]}
left.set(xlabel="lead [months]", ylabel="correlation")
right.set(xlabel="lead [months]", ylabel="RMSE [degC]")
right.legend(fontsize=8)
print(pd.DataFrame(table).T.round(2))

# %% [markdown]
# The figures are for single months; averaged over three months, as in the paper, correlations are
# higher. `benchmarks/enso.py` prints those beside the published ones, and searches nonlinear terms
# too.
#
# ## How sure is a forecast?
#
# What a step leaves unexplained is noise to the model, stronger in some seasons than in others.
# Driven by it, an ensemble from May 2015 shows what was possible then; the line is what came.

# %%
start = int(np.flatnonzero((year == 2015) & (month == 4))[0])
members = (
    scale[0]
    * model.ensemble(Z[start], season(month[start] + LEADS, 12), n_members=500, random_state=0)[
        :, :, 0
    ]
)
low, high = np.quantile(members, [0.05, 0.95], axis=0)
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.fill_between(LEADS, low, high, alpha=0.2, label="90 % of the ensemble")
axis.plot(LEADS, np.median(members, axis=0), label="median")
axis.plot(LEADS, values[start + LEADS, 0], "k", label="observed")
axis.set(xlabel="months after May 2015", ylabel="Niño 3.4 [degC]")
_ = axis.legend()

# %%
spans = [
    np.quantile(
        scale[0]
        * model.ensemble(Z[s], season(month[s] + LEADS, 12), n_members=100, random_state=s)[
            :, :, 0
        ],
        [0.05, 0.95],
        axis=0,
    )
    for s in starts[::4]
]
inside = np.mean([(lo <= v) & (v <= hi) for (lo, hi), v in zip(spans, truth[::4], strict=True)], 0)
print("share of observations in the 90 % band, by lead:", inside[[1, 3, 6, 9, 12]].round(2))

# %% [markdown]
# The bands are somewhat narrow: they hold the observations in 79 to 87 per cent of the cases. Noise
# that the model takes as white from month to month is not quite, and coefficients from 23 years are
# not certain either.
