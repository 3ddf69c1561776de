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
# # A wake model that cannot blow up
#
# A polynomial model fitted to data may run away from a state it has not seen, and no number of test
# runs proves that it does not. `TrappingSINDy` fits a cubic model under the condition that a ball
# traps every trajectory, whatever its start: outside the ball the energy falls. That is a linear
# matrix inequality in the coefficients, and its solution comes with a certificate that can be
# checked by hand (Schlegel & Noack 2015, J. Fluid Mech. 765, 325).

# %%
import matplotlib.pyplot as plt
import numpy as np

import rom
from rom.dynamics import TrappingSINDy
from rom.dynamics.trapping import trapping_region

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70

# %% [markdown]
# ## Two models of one wake
#
# The data and the three modes are those of the first notebook: vorticity behind a cylinder at
# Re 100, from near the unstable steady flow to vortex shedding, half of it to learn from. Beside
# the certified model stands the sparse one from there.

# %%
wake = rom.datasets.load("cylinder_wake")["vorticity"]
train = wake.sel(time=slice(None, 120))
sparse = rom.SINDy(rom.PolynomialLibrary(3), threshold=0.01, relative_threshold=True)
models = {
    "certified": rom.ROM(rom.POD(3), TrappingSINDy(3)).fit(train),
    "sparse": rom.ROM(rom.POD(3), sparse).fit(train),
}
latent = models["certified"].encode(wake)
Z, t = latent.transpose("time", ...).values, wake.time.values
print(f"states reach {np.linalg.norm(Z, axis=1).max():.0f} from the mean flow")


# %%
def limit_cycle(z, t):
    """Amplitude of the shedding, shift of the mean flow, and Strouhal number, for t > 180."""
    z, t = z[t > 180], t[t > 180]
    phase = np.unwrap(np.arctan2(z[:, 2], z[:, 0]))
    amplitude = np.sqrt(np.mean(z[:, 0] ** 2 + z[:, 2] ** 2))
    return amplitude, z[:, 1].mean(), abs(np.polyfit(t, phase, 1)[0]) / (2 * np.pi)


runs = {name: rom.rollout(model.dynamics_, Z[0], t).z for name, model in models.items()}
print(f"{'':12}{'amplitude':>10}{'shift':>10}{'Strouhal':>10}")
for name, z in {"simulation": Z, **runs}.items():
    print("{:12}{:10.1f}{:10.1f}{:10.4f}".format(name, *limit_cycle(z, t)))

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for name, z in {"simulation": Z, **runs}.items():
    style = {"color": "k", "lw": 3, "alpha": 0.3} if name == "simulation" else {"lw": 1}
    axes[0].plot(t, np.hypot(z[:, 0], z[:, 2]), label=name, **style)
    axes[1].plot(np.hypot(z[:, 0], z[:, 2]), z[:, 1], **style)
axes[0].set(xlabel="time [D/U]", ylabel="amplitude of the shedding")
axes[1].set(xlabel="amplitude of the shedding", ylabel="shift of the mean flow")
axes[0].axvline(120, color="grey", lw=0.5)
_ = axes[0].legend()

# %% [markdown]
# Both models know the transient and the limit cycle. To be certified costs little here.
#
# ## The certificate
#
# For w = z - m the energy is E = |w|²/2. The certificate is a radius R and a rate such that the
# energy above that of the ball, |w|² - R², falls at least as exp(-2 rate t).

# %%
certified = models["certified"].dynamics_
region = trapping_region(certified.polynomial(), centre=certified.centre_, norm=certified.norm_)
print(f"{region.reason} R = {region.radius:.0f} about {region.centre.round(1) + 0},")
print(f"rate {region.margin:.2g} per D/U")
refused = trapping_region(models["sparse"].dynamics_.polynomial(), centre=certified.centre_)
print(f"The sparse model: {refused.reason}")

# %% [markdown]
# A proof of a computer program may be checked like one of a person. We draw 100,000 points up to a
# hundred times the radius away, and ask each for the rate of change of the energy. Outside the ball
# none may be above the bound.

# %%
rng = np.random.default_rng(0)
directions = rng.normal(size=(100_000, 3))
directions /= np.linalg.norm(directions, axis=1, keepdims=True)
distance = region.radius * 10 ** rng.uniform(0, 2, (100_000, 1))
w = distance * directions
change = 2 * np.sum(w * certified.predict(region.centre + w), axis=1)
bound = -2 * region.margin * (distance[:, 0] ** 2 - region.radius**2)
print(f"points where the energy falls too slowly: {np.sum(change > bound)}")

# %% [markdown]
# ## A thousand starts
#
# From anywhere in a ball of ten times the largest state. The certified model must end inside R. The
# sparse model promises nothing; a rollout that leaves all bounds is ended with that reason.

# %%
size = np.linalg.norm(Z, axis=1).max()
starts = 10 * size * rng.uniform(size=(1000, 1)) ** (1 / 3) * directions[:1000]
for name, model in models.items():
    ends = [
        rom.rollout(model.dynamics_, z0, [0.0, 60.0, 120.0], bound=1e4 * size, throw=False).z[-1]
        for z0 in starts
    ]
    inside = np.linalg.norm(np.array(ends) - region.centre, axis=1) < region.radius
    print(f"{name:10} {inside.sum()} of 1000 end in the ball")

# %% [markdown]
# ## What the certificate does not say
#
# The ball is more than ten times as wide as the data: that nothing leaves it is no statement about
# accuracy. Within the ball the model could still go to a wrong attractor. Whether it is right where
# there are data is another question, and `rom.check` asks it, of states that were not seen in
# training.

# %%
held = wake.sel(time=slice(120.25, None))
print(rom.check(models["certified"], held, n_starts=5))
