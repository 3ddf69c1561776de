"""Losses of a small tanh network on slopes and on short runs, with PyTorch.

Imported only by a fit: a fitted network is plain numbers and needs no PyTorch to run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rom.dynamics.invariants import QuadraticInvariants
from rom.dynamics.networks import effective
from rom.dynamics.training import Loss

# The network, or what is made of it: takes the parameters and rows (n_rows, n_in).
Model = Callable[[list[Tensor], Tensor], Tensor]
# Runs a field of given parameters as :func:`shoot` does.
Shooter = Callable[
    [Callable[[Tensor, Tensor], Tensor], list[Tensor], Tensor, Tensor, Tensor], Tensor
]

# Of adaptive steps, relative and absolute, in standardised states.
TOLERANCE = 1e-6, 1e-8


def network(parameters: list[Tensor], x: Tensor) -> Tensor:
    """Evaluate the multilayer perceptron with layers ``W₁, b₁, W₂, b₂, …`` on rows `x`."""
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = torch.tanh(torch.addmm(bias, x, weight))
    return torch.addmm(parameters[-1], x, parameters[-2])


def slope_loss(
    parameters: list[Tensor], x: Tensor, slopes: Tensor, *, model: Model = network
) -> Tensor:
    """Mean square error of the network's slopes (n_rows, n_targets) at `x` (n_rows, n_in)."""
    return ((model(parameters, x) - slopes) ** 2).mean()


def weak_loss(
    parameters: list[Tensor],
    x: Tensor,
    target: Tensor,
    index: Tensor,
    value: Tensor,
    *,
    model: Model = network,
) -> Tensor:
    """Mean square error of the equation integrated against test functions.

    The sparse matrix (n_functions, n_rows) with entries `value` at `index` (2, n_entries)
    integrates the slopes at `x` (n_rows, n_in); the integrals should be `target`.
    """
    shape = (len(target), len(x))
    matrix = torch.sparse_coo_tensor(index, value, shape, check_invariants=False)
    return ((torch.sparse.mm(matrix, model(parameters, x)) - target) ** 2).mean()


def run_loss(
    gain: NDArray[np.float64],
    substeps: int,
    *,
    model: Model = network,
    shooter: Shooter | None = None,
) -> Loss:
    """Mean square error of short runs from the first sample of each window to its others.

    Parameters
    ----------
    gain : ndarray, shape (rank,)
        Standardised states per unit of time and of the network's output.
    substeps : int
        Runge–Kutta steps per sampling step.
    model : callable, optional
        What takes the place of the plain network.
    shooter : callable, optional
        What takes the place of fixed steps of fourth order.

    Returns
    -------
    callable
        Loss of parameters on states (n_windows, length + 1, rank), inputs (n_windows, length + 1,
        n_inputs), of width 0 without, and steps (n_windows, length).
    """

    def loss(parameters: list[Tensor], z: Tensor, u: Tensor, h: Tensor) -> Tensor:
        scale = torch.as_tensor(gain, device=z.device)

        def field(z: Tensor, u: Tensor) -> Tensor:
            return scale * model(parameters, torch.cat([z, u], dim=1))

        if shooter is None:
            run = shoot(field, z[:, 0], u, h, substeps)
        else:
            run = shooter(field, parameters, z[:, 0], u, h)
        return ((run - z[:, 1:]) ** 2).mean()

    return loss


def scaled(model: Model, multipliers: list[float]) -> Model:
    """The model with its parameters multiplied (:func:`rom.dynamics.networks.effective`)."""
    return lambda parameters, x: model(effective(parameters, multipliers), x)


def on_tangent(
    model: Model,
    invariants: QuadraticInvariants,
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    gain: NDArray[np.float64],
) -> Model:
    """The model without what would change the invariants.

    Parameters
    ----------
    model : callable
        Gives slopes in units of which there are `gain` in standardised states per unit of time.
    invariants : QuadraticInvariants
        Of the states.
    mean, scale : ndarray, shape (rank,)
        The states are `mean` plus `scale` times the standardised ones; one scale for all.
    gain : ndarray, shape (rank,)
    """

    def projected(parameters: list[Tensor], x: Tensor) -> Tensor:
        q, b, m, s, g = (
            torch.as_tensor(a, device=x.device) for a in (*invariants, mean, scale, gain)
        )
        kept: Any = QuadraticInvariants(q, b)  # type: ignore[arg-type]
        slopes: Tensor = kept.tangent(g * model(parameters, x), m + s * x[:, : len(m)])
        return slopes / g

    return projected


def shake(
    size: float, random: np.random.Generator, batch: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Uniform noise up to `size` on the first state of each run of a batch."""
    z = batch[0].clone()
    noise = random.uniform(-size, size, size=tuple(z[:, 0].shape))
    z[:, 0] += torch.as_tensor(noise, device=z.device)
    return (z, *batch[1:])


def shoot(
    field: Callable[[Tensor, Tensor], Tensor], z: Tensor, u: Tensor, h: Tensor, substeps: int
) -> Tensor:
    """Run `field` from states `z` (n_windows, rank) over steps `h` (n_windows, length).

    Classical fourth-order Runge–Kutta, `substeps` steps from sample to sample, with inputs `u`
    (n_windows, length + 1, n_inputs) linear in between. Gradients pass through the steps.

    Returns
    -------
    Tensor, shape (n_windows, length, rank)
    """
    states = []
    for k in range(h.shape[1]):
        step = h[:, k, None] / substeps
        u0, du = u[:, k], (u[:, k + 1] - u[:, k]) / substeps
        for j in range(substeps):
            before, middle, after = u0 + j * du, u0 + (j + 0.5) * du, u0 + (j + 1) * du
            k1 = field(z, before)
            k2 = field(z + step / 2 * k1, middle)
            k3 = field(z + step / 2 * k2, middle)
            k4 = field(z + step * k3, after)
            z = z + step / 6 * (k1 + 2 * (k2 + k3) + k4)
        states.append(z)
    return torch.stack(states, dim=1)


def shoot_adaptively(
    field: Callable[[Tensor, Tensor], Tensor],
    parameters: list[Tensor],
    z: Tensor,
    u: Tensor,
    h: Tensor,
) -> Tensor:
    """Run `field` as :func:`shoot` does, by adaptive steps of Dormand & Prince, with torchdiffeq.

    Each sampling step is scaled to unit time, so that windows with other steps share one clock.
    """
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise ImportError(
            "Adaptive steps need torchdiffeq: pip install 'rom-sysid[adaptive]'."
        ) from error

    clock = torch.tensor([0.0, 1.0], dtype=z.dtype, device=z.device)
    rtol, atol = TOLERANCE
    states = []
    for k in range(h.shape[1]):
        step, before, change = h[:, k, None], u[:, k], u[:, k + 1] - u[:, k]

        def scaled(
            s: Tensor, z: Tensor, step: Tensor = step, before: Tensor = before,
            change: Tensor = change,
        ) -> Tensor:  # fmt: skip
            return step * field(z, before + s * change)

        try:
            z = odeint(scaled, z, clock, rtol=rtol, atol=atol, method="dopri5")[-1]
        except AssertionError:  # steps shrank to nothing: the run blew up, and so does the loss
            z = z * torch.nan
        states.append(z)
    return torch.stack(states, dim=1)
