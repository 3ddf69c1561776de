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
# # A data set larger than memory
#
# Fields of a few gigabytes in a Zarr store are centred, scaled, weighted by area and compressed
# within a cap on memory, each chunk being read once. Set `ROM_NOTEBOOK_GB` to the size you want
# to see; the store goes to a temporary folder and is deleted at the end.

# %%
import os
import resource
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import rom

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70
GIGABYTES = float(os.environ.get("ROM_NOTEBOOK_GB", "3"))

# %% [markdown]
# ## The data
#
# Daily temperature of an invented ocean: a mean that falls towards the poles, a seasonal cycle of
# opposite sign in the hemispheres, two waves that travel east, and weather, which is noise here.
# A continent is NaN. Files of this kind come in chunks of some days each, so a block of cells at
# all times, which most algorithms want, would mean to read the whole store again and again.

# %%
lat, lon = np.linspace(-89.5, 89.5, 180), np.arange(0.5, 360)
days = max(200, int(GIGABYTES * 1e9 / (4 * lat.size * lon.size)))
time = np.datetime64("1990-01-01") + np.arange(days)
north, east = np.deg2rad(lat)[:, None], np.deg2rad(lon)
ocean = ~((np.abs(north) < 0.9) & (np.abs(east - 3.5) < 0.6))
rng = np.random.default_rng(0)


def fields(day):
    """Temperature (time, lat, lon) of some days."""
    t = day[:, None, None]
    season = 8 * np.sin(north) * np.cos(2 * np.pi * t / 365.25)
    waves = 2 * np.cos(north) ** 2 * np.cos(3 * east - 2 * np.pi * t / 40)
    waves = waves + np.cos(north) ** 4 * np.cos(7 * east - 2 * np.pi * t / 11)
    weather = 0.5 * rng.standard_normal((day.size, lat.size, lon.size), dtype=np.float32)
    return np.where(ocean, 28 * np.cos(north) + season + waves + weather, np.nan).astype("float32")


folder = tempfile.TemporaryDirectory()
store = Path(folder.name) / "ocean.zarr"
coords = {
    "lat": ("lat", lat, {"units": "degrees_north"}),
    "lon": ("lon", lon, {"units": "degrees_east"}),
}
for start in range(0, days, 50):
    here = slice(start, min(start + 50, days))
    part = xr.DataArray(
        fields(np.arange(here.start, here.stop)),
        coords={"time": time[here], **coords},
        dims=("time", "lat", "lon"),
        name="temperature",
        attrs={"units": "degC"},
    ).to_dataset()
    encoding = {
        "temperature": {"chunks": (50, lat.size, lon.size)},
        "time": {"units": "days since 1990-01-01"},
    }
    if start == 0:
        part.to_zarr(store, encoding=encoding, zarr_format=2)
    else:
        part.to_zarr(store, append_dim="time")

ocean_data = rom.open_snapshots(store, var="temperature")
print(
    f"{dict(ocean_data.sizes)}, {ocean_data.nbytes / 1e9:.2f} GB "
    f"in chunks of {ocean_data.chunks[0][0]} days"
)

# %% [markdown]
# ## Fit within a cap
#
# `max_memory` is what the reading, the modes and all work on them may take together. The mask is
# taken from the first day and checked on all others; means, scale, weights and modes come from one
# pass. `n_passes_` says so, and `singular_value_error_` what the truncation on the way may have
# cost.

# %%
CAP = "400MB"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = rom.ROM(rom.POD(5, max_memory=CAP), rom.DMD(), preprocess=rom.Scale(area_weights=True)).fit(
    ocean_data
)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024  # kB on Linux
pod = model.compressor_
print(f"{ocean_data.nbytes / 1e6:.0f} MB of data, cap {CAP}, memory grew by {max(grown, 0):.0f} MB")
print(f"solver {pod.solver_!r}, readings: {pod.n_passes_}")
print("share of the variance:", pod.explained_variance_ratio_.round(4))
print("relative error of the singular values:", (pod.singular_value_error_ / pod.singular_values_))

# %% [markdown]
# ## The modes
#
# The season comes first, and then the waves, as pairs a quarter of a wavelength apart. Modes are
# maps again, with their land.

# %%
maps = model.flatten_.inverse_transform(pod.components_ / model.preprocess_.factor_, dim="mode")
_ = maps.plot(col="mode", col_wrap=3, figsize=(10, 5), cmap="RdBu_r", robust=True)

# %%
latent = model.encode(ocean_data.isel(time=slice(0, 120)))
_ = latent.plot.line(x="time", figsize=(9, 3))

# %% [markdown]
# ## More to come
#
# Data that never end go through `partial_fit`, some days at a time. What a truncation discards is
# counted: `discarded_` bounds what any squared singular value may have lost.

# %%
rows = model.to_rows(ocean_data.isel(time=slice(0, 100))).rows
stream = rom.POD(5)
for start in range(0, 100, 20):
    stream.partial_fit(np.asarray(rows[start : start + 20]))
s = stream.singular_values_
print("singular values", s.round(1))
print("at most        ", np.sqrt(s**2 + stream.discarded_).round(1))

# %%
folder.cleanup()
