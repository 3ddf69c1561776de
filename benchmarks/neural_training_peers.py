"""A peer of `neural_training.py`, in a Python of its own: `neural_training_peers.py NAME JOB.npz`.

Imports nothing of rom. Trains the perceptron by full rollouts from the first state of each
trajectory, with Adam, in single precision; or times one optimiser step at equal arithmetic. What
comes out is written to the path the job names.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise

import numpy as np

RTOL, ATOL = 1e-4, 1e-5
EVERY = 20  # optimiser steps between two records of the weights


def torch_stepper(name: str, job: dict, rate: float) -> tuple[Callable, Callable]:
    """One optimiser step, and the weights so far."""
    import torch
    from torchdiffeq import odeint, odeint_adjoint

    torch.set_num_threads(1)
    torch.manual_seed(0)
    dtype = torch.float64 if job["double"] else torch.float32
    torch.set_default_dtype(dtype)
    sizes = job["sizes"].tolist()
    layers: list = []
    for n_in, n_out in pairwise(sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.Tanh()]
    net = torch.nn.Sequential(*layers[:-1])
    z, t, gain = (torch.tensor(job[key], dtype=dtype) for key in ("z", "t", "gain"))
    z = z.transpose(0, 1).contiguous()

    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            return gain * self.net(z)

    field, optimiser = Field(), torch.optim.Adam(net.parameters(), lr=rate)
    solve = odeint_adjoint if name == "adjoint" else odeint
    method = "rk4" if job["double"] or name == "rk4" else "dopri5"
    options = {"options": {"step_size": float(job["t"][1])}} if method == "rk4" else {}

    def step() -> float:
        optimiser.zero_grad()
        run = solve(field, z[0], t, rtol=RTOL, atol=ATOL, method=method, **options)
        loss = ((run[1:] - z[1:]) ** 2).mean()
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    def weights() -> list[np.ndarray]:
        return [p.detach().numpy().astype(np.float64).T.copy() for p in net.parameters()]

    return step, weights


def jax_stepper(name: str, job: dict, rate: float) -> tuple[Callable, Callable]:
    import diffrax
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", bool(job["double"]))
    sizes = job["sizes"].tolist()
    net = eqx.nn.MLP(
        sizes[0], sizes[-1], sizes[1], len(sizes) - 2, jnp.tanh, key=jax.random.PRNGKey(0)
    )
    z, t, gain = (jnp.asarray(job[key]) for key in ("z", "t", "gain"))
    h = float(job["t"][1])

    def by_hand(net: eqx.nn.MLP, z0: jnp.ndarray) -> jnp.ndarray:
        field = lambda z: gain * jax.vmap(net)(z)  # noqa: E731

        def one(z: jnp.ndarray, _: None) -> tuple:
            k1 = field(z)
            k2 = field(z + h / 2 * k1)
            k3 = field(z + h / 2 * k2)
            k4 = field(z + h * k3)
            z = z + h / 6 * (k1 + 2 * (k2 + k3) + k4)
            return z, z

        return jax.lax.scan(one, z0, None, length=len(t) - 1)[1]

    def by_diffrax(net: eqx.nn.MLP, z0: jnp.ndarray) -> jnp.ndarray:
        fixed = bool(job["double"])
        control = (
            diffrax.ConstantStepSize() if fixed else diffrax.PIDController(rtol=RTOL, atol=ATOL)
        )
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, z, net: gain * jax.vmap(net)(z)), diffrax.Tsit5(), t[0],
            t[-1], h, z0, net, saveat=diffrax.SaveAt(ts=t[1:]), stepsize_controller=control,
        ).ys  # fmt: skip

    run = by_hand if name == "jax" else by_diffrax
    optimiser = optax.adam(rate)
    state = [net, optimiser.init(eqx.filter(net, eqx.is_inexact_array))]

    @eqx.filter_jit
    def update(net: eqx.nn.MLP, moments: tuple) -> tuple:
        def loss(net: eqx.nn.MLP) -> jnp.ndarray:
            return ((run(net, z[:, 0]) - jnp.swapaxes(z, 0, 1)[1:]) ** 2).mean()

        value, slope = eqx.filter_value_and_grad(loss)(net)
        change, moments = optimiser.update(slope, moments, eqx.filter(net, eqx.is_inexact_array))
        return eqx.apply_updates(net, change), moments, value

    def step() -> float:
        state[0], state[1], value = update(*state)
        return float(value)

    def weights() -> list[np.ndarray]:
        layers = state[0].layers
        found = [(np.asarray(layer.weight).T, np.asarray(layer.bias)) for layer in layers]
        return [np.asarray(p, np.float64) for pair in found for p in pair]

    return step, weights


def load(name: str) -> None:
    """Load the libraries, which is not timed."""
    libraries = (
        ("diffrax", "equinox", "optax")
        if name in ("jax", "diffrax")
        else ("torchdiffeq", "torch._dynamo")
    )
    for library in libraries:
        import_module(library)


def stepper(name: str, job: dict, rate: float) -> tuple[Callable, Callable]:
    make = jax_stepper if name in ("jax", "diffrax") else torch_stepper
    return make(name, job, rate)


def train(name: str, job: dict) -> dict:
    """Seconds and weights, every few steps, until the budget is spent."""
    load(name)
    began = time.perf_counter()
    step, weights = stepper(name, job, float(job["rate"]))
    seconds, kept, n_steps, apart, value = [], [], 0, 0.0, 0.0
    while n_steps < 2 or time.perf_counter() - began - apart < float(job["budget"]):
        value = step()
        n_steps += 1
        if n_steps == 1:
            first = time.perf_counter() - began
        if n_steps % EVERY == 0 or n_steps < 3:
            now = time.perf_counter()
            seconds.append(now - began - apart)
            kept.append(np.concatenate([p.ravel() for p in weights()]))
            apart += time.perf_counter() - now
        if not np.isfinite(value):
            break
    per_step = (seconds[-1] - first) / max(1, n_steps - 1)
    return {"seconds": seconds, "weights": kept, "first": first, "per_step": per_step}


def time_steps(name: str, job: dict) -> dict:
    """Seconds per step at each case, the least of some."""
    times = []
    for case in job["cases"].tolist():
        width, batch, horizon = case
        random = np.random.default_rng(0)
        z = random.normal(size=(batch, horizon + 1, 8))
        own = {
            "sizes": np.array([8, width, width, 8]), "z": z, "double": True, "gain": np.ones(8),
            "t": 0.1 * np.arange(horizon + 1.0),
        }  # fmt: skip
        step, _ = stepper(name, own, 1e-3)
        step()
        taken = []
        while len(taken) < 3 or (sum(taken) < float(job["budget"]) and len(taken) < 30):
            began = time.perf_counter()
            step()
            taken.append(time.perf_counter() - began)
        times.append(min(taken))
    return {"seconds": times}


def main() -> None:
    name, path = sys.argv[1:]
    with np.load(path) as found:
        job = {key: found[key] for key in found.files}
    work = time_steps if "cases" in job else train
    np.savez(str(job["out"]), **work(name, job))


if __name__ == "__main__":
    main()
