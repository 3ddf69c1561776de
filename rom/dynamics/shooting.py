"""Training a small tanh network on slopes and on short runs, with PyTorch.

Imported only by a fit: a fitted network is plain numbers and needs no PyTorch to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

# L-BFGS steps between two looks at the held-out loss, and the steps its curvature is built from.
CHECK_EVERY = 20
MEMORY = 50

STALLED = "the held-out loss stopped falling"
NOT_FINITE = "the loss was no longer finite; the best weights before that were kept"
MAX_ITER = "max_iter was reached"


# A loss of the parameters on some data, which come as tensors.
Loss = Callable[..., Tensor]


class Outcome(NamedTuple):
    """How a minimisation went."""

    parameters: list[NDArray[np.float64]]
    """The best values seen."""
    history: NDArray[np.float64]
    """(n_checks, 3): iterations so far, training loss, held-out loss."""
    n_iter: int
    """Iterations made."""
    reason: str
    """Why it ended."""


def network(parameters: list[Tensor], x: Tensor) -> Tensor:
    """Evaluate the multilayer perceptron with layers ``W₁, b₁, W₂, b₂, …`` on rows `x`."""
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = torch.tanh(torch.addmm(bias, x, weight))
    return torch.addmm(parameters[-1], x, parameters[-2])


def slope_loss(parameters: list[Tensor], x: Tensor, slopes: Tensor) -> Tensor:
    """Mean square error of the network's slopes (n_rows, n_targets) at `x` (n_rows, n_in)."""
    return ((network(parameters, x) - slopes) ** 2).mean()


def run_loss(gain: NDArray[np.float64], substeps: int) -> Loss:
    """Mean square error of short runs from the first sample of each window to its others.

    Parameters
    ----------
    gain : ndarray, shape (rank,)
        Standardised states per unit of time and of the network's output.
    substeps : int
        Runge–Kutta steps per sampling step.

    Returns
    -------
    callable
        Loss of parameters on states (n_windows, length + 1, rank), inputs (n_windows, length + 1,
        n_inputs), of width 0 without, and steps (n_windows, length).
    """

    def loss(parameters: list[Tensor], z: Tensor, u: Tensor, h: Tensor) -> Tensor:
        scale = torch.as_tensor(gain, device=z.device)

        def field(z: Tensor, u: Tensor) -> Tensor:
            return scale * network(parameters, torch.cat([z, u], dim=1))

        return ((shoot(field, z[:, 0], u, h, substeps) - z[:, 1:]) ** 2).mean()

    return loss


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


def minimise(
    parameters: list[NDArray[np.float64]],
    loss: Loss,
    train: tuple[NDArray[np.float64], ...],
    held_out: tuple[NDArray[np.float64], ...],
    *,
    max_iter: int,
    patience: int,
    device: str,
    label: str,
) -> Outcome:
    """Minimise `loss` on the data `train`, and keep what did best on the data `held_out`.

    L-BFGS with a strong Wolfe line search (Nocedal & Wright 2006, Numerical Optimization,
    ch. 7.2) on all the data at once: no learning rate to choose, and on problems of this size far
    more accurate than stochastic gradients at equal time.

    Parameters
    ----------
    parameters : list of ndarray
        Where to start.
    loss : callable
        Takes the parameters and the arrays of `train` or `held_out` as tensors.
    train, held_out : tuple of ndarray
        Data.
    max_iter : int
        The most iterations.
    patience : int
        Ends after this many checks in a row, 20 iterations apart (the last may come sooner),
        without a better held-out loss.
    device : str
        Where to compute.
    label : str
        Name on the progress bar, which shows on a terminal only.
    """
    current = [torch.tensor(value, device=device, requires_grad=True) for value in parameters]
    train_data = [torch.tensor(values, device=device) for values in train]
    held_data = [torch.tensor(values, device=device) for values in held_out]
    optimiser = torch.optim.LBFGS(
        current, max_iter=CHECK_EVERY, history_size=MEMORY, line_search_fn="strong_wolfe",
        tolerance_grad=0.0, tolerance_change=0.0,
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(current, *train_data)
        if not torch.isfinite(value):  # the line search would trip over it
            raise _NotFiniteError
        value.backward()
        return value

    best, kept, since_best, reason = np.inf, parameters, 0, MAX_ITER
    history: list[tuple[int, float, float]] = []
    with _one_thread(), tqdm(total=max_iter, desc=label, disable=None, leave=False) as bar:
        for before, n_iter in pairwise([*range(0, max_iter, CHECK_EVERY), max_iter]):
            optimiser.param_groups[0]["max_iter"] = n_iter - before
            try:
                now = float(optimiser.step(closure).detach())
            except _NotFiniteError:
                reason = NOT_FINITE
                break
            with torch.no_grad():
                held = float(loss(current, *held_data))
            history.append((n_iter, now, held))
            bar.update(n_iter - before)
            bar.set_postfix(loss=f"{now:.2e}", held_out=f"{held:.2e}")
            since_best += 1
            if held < best:
                best, kept, since_best = held, _numbers(current), 0
            if since_best == patience:
                reason = STALLED
                break
    return Outcome(kept, np.array(history).reshape(-1, 3), n_iter, reason)


class _NotFiniteError(ArithmeticError):
    """The training loss is NaN or infinite."""


def _numbers(tensors: list[Tensor]) -> list[NDArray[np.float64]]:
    return [tensor.detach().cpu().numpy().copy() for tensor in tensors]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one CPU thread: layers this small lose more to handing out work than they gain.

    The order of sums, and so every bit of the result, then does not depend on the machine's load.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
