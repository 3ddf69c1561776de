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
# # A cylinder wake in three numbers
#
# Behind a circular cylinder at Re 100 the steady wake is unstable. A small disturbance grows
# until vortices are shed at a fixed frequency. We learn a model of this from snapshots of the
# first half of a simulation: three POD modes and a sparse cubic system of equations (SINDy). We
# then run it ten times past its training and check it, against snapshots it has not seen and
# against the full model.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import rom
from rom.report.plots import plot_report, plot_rollout

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70

# %% [markdown]
# ## The data
#
# Vorticity on a polar grid that is fine near the wall, every 0.25 D/U. D is the diameter and U
# the speed of the stream. The set comes with the project; `rom.fom.CylinderWake` made it.

# %%
wake = rom.datasets.load("cylinder_wake")["vorticity"]
train = wake.sel(time=slice(None, 120))
held = wake.sel(time=slice(120.25, None))
print(f"{wake.sizes}\n{train.sizes['time']} snapshots to learn from, {held.sizes['time']} held out")

# %% [markdown]
# ## Fit
#
# The thresholds are relative: a term is dropped if it makes less than one per cent of the
# derivative, so the size of the latent coordinates does not matter.

# %%
sindy = rom.SINDy(rom.PolynomialLibrary(3), threshold=0.01, relative_threshold=True)
model = rom.ROM(rom.POD(3), sindy).fit(train)

# %% [markdown]
# How much would more modes buy? Two of the three modes are the shedding at its fundamental
# frequency. The third is the change of the mean flow as the shedding grows, on which its
# saturation depends. The fourth and fifth are the second harmonic of the shedding, and further
# ones are higher harmonics and the change of shape during the growth.

# %%
pod = rom.POD(12).fit(model.to_rows(train).rows[::2])  # half the snapshots tell as much
held_rows = model.to_rows(held).rows
ranks = np.arange(1, 13)
lost = [pod.truncated(int(rank)).projection_error(held_rows) for rank in ranks]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.semilogy(ranks, pod.singular_values_, "o-")
left.set(xlabel="mode", ylabel="singular value")
right.plot(ranks, 100 * np.cumsum(pod.explained_variance_ratio_), "o-", label="energy, training")
right.plot(ranks, 100 * np.array(lost), "s-", label="projection error, held out")
right.set(xlabel="number of modes", ylabel="per cent")
right.legend()

kept = model.compressor_.explained_variance_ratio_.sum()
print(f"3 modes keep {kept:.1%} of the energy; on held-out snapshots they miss {lost[2]:.1%}")

# %% [markdown]
# The equations. `z0` and `z2` turn around each other; `z1` holds the change of the mean flow.

# %%
print(*model.dynamics_.equations(), sep="\n\n")

# %% [markdown]
# ## A rollout ten times past training
#
# From the state at t = 120, where training ended, to t = 1200.

# %%
far = model.rollout(wake.sel(time=120), t=np.arange(120, 1200.1, 0.5))
print(f"{far.attrs['status']} at t = {far.attrs['t_end']:g}")


# %%
def shedding(vorticity):
    """Strouhal number (from upward zero crossings) and amplitude of the lift."""
    lift = rom.fom.CylinderWake().forces(vorticity).lift
    t, c = lift.time.values, lift.values
    i = np.flatnonzero((c[:-1] < 0) & (c[1:] >= 0))
    crossings = t[i] - c[i] * (t[i + 1] - t[i]) / (c[i + 1] - c[i])
    return 1 / np.diff(crossings).mean(), np.sqrt(2) * c.std()


rows = {
    "full model, t = 120 to 240": held,
    "reduced model, t = 1080 to 1200": far.vorticity.sel(time=slice(1080, None)),
}
for name, vorticity in rows.items():
    print("{:33} Strouhal number {:.5f}, lift amplitude {:.4f}".format(name, *shedding(vorticity)))

# %% [markdown]
# The model has found the limit cycle and stays on it, and its frequency is right to about one
# part in ten thousand. So far the phase can be trusted too, as the error at the end of the
# held-out part shows:

# %%
latent = model.encode(wake)
end = far.latent.sel(time=240) - latent.sel(time=240)
size = float(np.linalg.norm(latent.sel(time=240)))
print(f"error of the latent state at t = 240: {np.linalg.norm(end) / size:.1%} of its norm")

# %%
plot_rollout(
    wake,
    far.vorticity.sel(time=slice(None, 240)),
    latent=(latent, far.latent.sel(time=slice(None, 240))),
    training=(0, 120),
    times=[140, 240],
    extent=(0.5, 10, -3, 3),
)

# %% [markdown]
# At t = 1200 there is no snapshot to compare with. But the flow is periodic, so the model's
# state must look like one of the held-out snapshots. We show it below the one that is nearest
# in the latent space.

# %%
distance = np.linalg.norm(latent.sel(time=held.time) - far.latent.isel(time=-1), axis=1)
nearest = held.isel(time=[distance.argmin()])
print(f"nearest held-out snapshot: t = {nearest.time.item():g}, {distance.min() / size:.1%} away")
plot_rollout(
    nearest.assign_coords(time=[1200.0]), far.vorticity, times=[1200], extent=(0.5, 10, -3, 3)
)

# %% [markdown]
# ## The phase portrait
#
# The harder test is to start at t = 0, near the unstable steady wake, and to follow the whole
# growth. Twenty more starts are drawn at random from the box around the training states.

# %%
growth = rom.rollout(model.dynamics_, latent.isel(time=0), wake.time)
rng = np.random.default_rng(0)
low, high = model.latent_.min(axis=0), model.latent_.max(axis=0)
t = np.arange(0, 1200.5)
runs = [rom.rollout(model.dynamics_, rng.uniform(low, high), t, throw=False) for _ in range(20)]
statuses = [run.status.name for run in runs]
print({name: statuses.count(name) for name in set(statuses)})
radii = [np.hypot(run.z[-100:, 0], run.z[-100:, 2]).max() for run in runs]
true_radius = np.hypot(*latent.sel(time=held.time).values[:, [0, 2]].T).max()
print(f"amplitude in the end: {min(radii):.2f} to {max(radii):.2f}, full model {true_radius:.2f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", width_ratios=(1, 1.6))
for k, ax in enumerate(axes):
    for z, name, style in ((latent.values, "full model", "k-"), (growth.z, "reduced model", "C0-")):
        ax.plot(*(z[:, [0, 1]].T if k == 0 else (wake.time, z[:, 0])), style, lw=0.8, label=name)
axes[0].set(xlabel="z0", ylabel="z1", title="phase portrait from t = 0")
axes[1].set(xlabel="time [D/U]", ylabel="z0", title="growth from t = 0", xlim=(0, 100))
axes[1].legend(fontsize="small", loc="upper left")
off = np.linalg.norm(growth.z[-1] - latent.values[-1]) / size
print(f"error of the latent state at t = 240, started at t = 0: {off:.0%} of its norm")

# %% [markdown]
# ## The check against held-out snapshots
#
# Twenty rollouts of 60 D/U, about ten periods, from states the model has not seen. An error of 1
# is that of forecasting the training mean.

# %%
report = rom.check(model, held)
print(report)

# %%
plot_report(report)

# %% [markdown]
# The dynamics add almost nothing to the error: nearly all of it is what three modes cannot show.
# The skill over persistence dips for a good reason: the flow repeats itself, and after a whole
# period persistence is hard to beat.
#
# ## The check against the full model
#
# The full model is run for one period from two held-out states, and timed.

# %%
against_full = rom.check(
    model, rom.fom.CylinderWake(), starts=wake.sel(time=[150, 200]), t=np.arange(0, 6.1, 0.25)
)
print(against_full)

# %% [markdown]
# ## Save and load
#
# One NetCDF-4 file holds the model: modes with their coordinates, coefficients, scaling and
# training range. Loaded again, it gives the same rollout to the last bit.

# %%
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "wake.nc")
    loaded = rom.load(Path(folder) / "wake.nc")
t = np.arange(120, 240.1, 0.5)
before, after = (each.rollout(wake.sel(time=120), t=t).latent for each in (model, loaded))
print("bit-equal:", after.equals(before))

# %% [markdown]
# ## What works and what does not
#
# * **Works:** the limit cycle, its frequency, amplitude and stability. The rollout neither decays
#   nor blows up, wherever it starts around the training states.
# * **Does not: the fine structure.** Three modes miss a quarter of the held-out signal, most of
#   it the second and third harmonics of the shedding. No better dynamics can lower this floor.
#   More modes can, at the price of many more coefficients to find.
# * **Does not: the phase after the growth.** Started near the steady wake, the model saturates at
#   the right amplitude, but a little early, and its phase stays ahead by as much for ever.
#   The modes are chosen for energy, of which the slow early growth has little.
# * **Not tried:** other Reynolds numbers. The model knows one flow.
# * Every grid value counts alike here, and the grid is fine near the wall, so the modes favour
#   the near wake. Other weights would give other modes.
