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
# # Networks that keep the physics, at any width
#
# A neural network fits almost any right-hand side, and knows nothing of what it stands for: the
# energy of a wave drifts, friction gives energy back, neighbours part. The networks here keep such
# a property by construction, with any weights, so that it holds far past the training window too.
# The last section is about a network's width, which should not decide how it has to be trained.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import nn

import rom
from rom.dynamics import ContractiveODE, HamiltonianODE, NeuralODE, PortHamiltonianODE
from rom.dynamics.networks import initial
from rom.report.plots import plot_width
from rom.theory import coordinate_check, width_exponent

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70

# %% [markdown]
# ## A wave keeps its energy
#
# A periodic wave is seen until t = 10 and forecast to t = 50. `CotangentLift` is the symplectic
# form of POD, which keeps displacement and momentum apart: a Hamiltonian system projected on it
# stays one. `HamiltonianODE` learns its energy, and the implicit midpoint rule keeps that. Beside
# it stands a plain network of the same size, on the same basis.

# %%
full, t = rom.fom.Wave(speed=0.1, n=128), np.linspace(0, 50, 2501)
snapshots = full.simulate(full.initial_state(), t)
X = rom.Flatten().fit(snapshots).transform(snapshots)
seen = t <= 10
lift = rom.CotangentLift(20).fit(X[seen])
Z = lift.transform(X)


def energy(Z):
    return full.energy(lift.inverse_transform(Z).reshape(len(Z), 2, -1))


runs = {}
for name, model, stepper in (
    ("HamiltonianODE", HamiltonianODE((), random_state=0), "midpoint"),
    ("NeuralODE", NeuralODE((32,), random_state=0), "dopri5"),
):
    model.fit(Z[seen], t=t[seen])
    runs[name] = rom.rollout(model, Z[0], t, stepper=stepper, throw=False).z
    error = np.linalg.norm(runs[name] - Z, axis=1).max() / np.linalg.norm(Z, axis=1).max()
    drift = np.abs(energy(runs[name]) / energy(Z[:1]) - 1).max()
    print(f"{name:15s} largest error {error:8.2%}, energy drift {drift:.1e}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
for name, z in {"truth": Z, **runs}.items():
    axes[0].plot(t, energy(z), label=name)
    axes[1].plot(snapshots.x, lift.inverse_transform(z[-1:])[0, :128], label=name)
axes[0].axvspan(0, 10, color="0.92", zorder=0)
axes[0].set(xlabel="t (shaded: training)", ylabel="energy", yscale="log")
axes[1].set(xlabel="x", ylabel="displacement", title="t = 50")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## Friction only takes
#
# Three masses between walls, on springs that stiffen, with friction; the first is pushed by a known
# force. `PortHamiltonianODE` learns an energy H, which way it flows and where it is lost. Trained
# with the force, run without it, H can only fall. The plain network has no such H; shown is the
# true energy along both.


# %%
def chain(force):
    def slope(time, z):
        q, p = z[:3], z[3:]
        stretch = np.diff(q, prepend=0.0, append=0.0)
        change = np.diff(stretch + 0.5 * stretch**3) - 0.05 * p
        change[0] += force(time)
        return np.concatenate([p, change])

    return slope


def true_energy(z):
    stretch = np.diff(z[:, :3], prepend=0.0, append=0.0)
    return (z[:, 3:] ** 2).sum(axis=1) / 2 + (stretch**2 / 2 + stretch**4 / 8).sum(axis=1)


rng, times = np.random.default_rng(1), np.linspace(0, 20, 201)
rates, sizes, phases = (rng.uniform(0.2, 2.2, 4), rng.normal(0, 0.3, (8, 4)), rng.uniform(0, 6, 4))
pushes = [lambda s, a=a: float((a * np.sin(rates * s + phases)).sum()) for a in sizes]
forced = [
    solve_ivp(chain(push), (0, 20), rng.normal(0, 0.3, 6), t_eval=times, rtol=1e-8).y.T
    for push in pushes
]
rows = {
    "t": np.tile(times, 8),
    "trajectory": np.repeat(np.arange(8), 201),
    "u": np.concatenate([[push(s) for s in times] for push in pushes]),
}
port = PortHamiltonianODE((32,), structure="canonical", random_state=0).fit(
    np.vstack(forced), **rows
)
plain = NeuralODE((32,), random_state=0).fit(np.vstack(forced), **rows)

later, z0 = np.linspace(0, 100, 5001), rng.normal(0, 0.4, 6)
truth = solve_ivp(chain(lambda s: 0.0), (0, 100), z0, t_eval=later, rtol=1e-8).y.T
free = rom.rollout(port.unforced(), z0, later, stepper="midpoint").z
network = rom.rollout(plain, z0, later, u=np.zeros(len(later)), throw=False).z
H = port.energy(free)
print(f"H rises at {int((np.diff(H) > 0).sum())} of {len(H) - 1} steps")

fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, z in (("truth", truth), ("PortHamiltonianODE", free), ("NeuralODE", network)):
    ax.plot(later, true_energy(z), label=name)
ax.axvspan(0, 20, color="0.92", zorder=0)
ax.set(xlabel="t (shaded: length of a training run)", ylabel="energy without the force")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Neighbours do not part
#
# `ContractiveODE` has a vector field in whose flow no two trajectories move apart, in a metric it
# learns. That is what a stable, unforced system does; for a chaotic one it would be wrong.

# %%
spiral = np.array([[-0.1, 1.0], [-1.0, -0.1]])
angle = np.linspace(0, 12, 121)
start = rng.normal(size=(6, 2))
bent = [
    solve_ivp(lambda _, z: spiral @ z - 0.2 * z**3, (0, 12), z, t_eval=angle).y.T for z in start
]
calm = ContractiveODE(16, random_state=0).fit(
    np.vstack(bent), t=np.tile(angle, 6), trajectory=np.repeat(np.arange(6), 121)
)
pairs = rng.normal(size=(20, 2, 2))
apart = [
    np.linalg.norm(np.subtract(*(rom.rollout(calm, z, angle).z for z in pair)), axis=1)
    for pair in pairs
]
print(f"largest distance over the first: {max((d / d[0]).max() for d in apart):.6f}")

# %% [markdown]
# ## Width that does not matter
#
# With a network's usual parametrisation the best learning rate falls as it gets wider, and a rate
# found on a small network ruins a large one. Here sums over the units of a wide layer are divided
# by their number (mean field), with learning rates to match. A few steps of Adam show the
# difference: in the usual network (left) the change of the output grows with the width, in ours
# (right) nothing does, and the initial output falls.

# %%
targets = np.vstack([chain(lambda s: 0.0)(0.0, z) for z in forced[0]])
x, y = torch.tensor(forced[0][::4]), torch.tensor(targets[::4])


class Scaled(nn.Module):
    """A layer whose weights are its parameters times a number."""

    def __init__(self, weight, bias, multiplier):
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.tensor(weight)),
            nn.Parameter(torch.tensor(bias)),
        )
        self.multiplier = multiplier

    def forward(self, x):
        return x @ (self.multiplier * self.weight) + self.bias


def usual(width, seed):
    torch.manual_seed(seed)
    layers = [nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
              nn.Linear(width, 6)]  # fmt: skip
    return trained(nn.Sequential(*layers).double(), 1.0)


def ours(width, seed):
    at = initial([6, width, width, 6], np.random.default_rng(seed))
    layers = []
    for k in (0, 2, 4):
        layers += [Scaled(*at.parameters[k : k + 2], at.multipliers[k]), nn.Tanh()]
    return trained(nn.Sequential(*layers[:-1]), at.rates)


def trained(net, rates):
    rates = np.broadcast_to(rates, len(list(net.parameters())))
    groups = [{"params": [p], "lr": 2e-3 * r} for p, r in zip(net.parameters(), rates, strict=True)]
    adam = torch.optim.Adam(groups)

    def step():
        adam.zero_grad()
        ((net(x) - y) ** 2).mean().backward()
        adam.step()

    return net, step


tables = {
    name: coordinate_check(build, [64, 128, 256, 512], x, n_steps=5, n_seeds=3)
    for name, build in (("usual", usual), ("ours", ours))
}
for name, table in tables.items():
    power = float(width_exponent(table.change.isel(step=-1)).sel(layer="4"))
    print(f"{name:6s} the change of the output grows like width^{power:+.2f}")

# %%
plot_width(tables["usual"])

# %%
plot_width(tables["ours"])

# %% [markdown]
# So one learning rate serves every width. `NeuralODE` uses this parametrisation throughout; with
# `batch_size` it trains by Adam at a `learning_rate`:

# %%
rates = [2.0**k for k in range(-8, -2)]
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for width in (32, 128, 512):
    losses = [
        NeuralODE(
            (width,) * 2, window=None, batch_size=128, learning_rate=rate, max_iter=50,
            random_state=0,
        ).fit(np.vstack(forced[:4]), **{k: v[: 4 * 201] for k, v in rows.items()}).history_[-1, 2]
        for rate in rates
    ]  # fmt: skip
    ax.loglog(rates, losses, "o-", base=2, label=f"width {width}")
ax.set(xlabel="learning rate", ylabel="held-out loss")
ax.set_yscale("log", base=10)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# What these guarantees cost in accuracy, and where they do not help, is measured in
# `benchmarks/README.md`, under "Neural latent dynamics".
