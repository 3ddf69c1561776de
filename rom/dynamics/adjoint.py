"""Exact gradients through explicit Runge–Kutta steps, in the memory of one network evaluation.

Imported only by a fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]


class Tableau(NamedTuple):
    """Coefficients of an explicit Runge–Kutta method with s stages (Butcher)."""

    a: tuple[tuple[float, ...], ...]
    """What stage i takes of the slopes of the stages before it: i numbers, i = 0 … s - 1."""
    b: tuple[float, ...]
    """What the step takes of each slope."""

    @property
    def c(self) -> tuple[float, ...]:
        """Where in the step each stage stands."""
        return tuple(sum(row) for row in self.a)


EULER = Tableau(((),), (1.0,))
MIDPOINT = Tableau(((), (0.5,)), (0.0, 1.0))
RK4 = Tableau(((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
# The solution of fifth order of Dormand & Prince (1980), J. Comput. Appl. Math. 6, 19.
DOPRI5 = Tableau(
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)


def shoot(
    field: Field,
    parameters: list[Tensor],
    z: Tensor,
    u: Tensor,
    h: Tensor,
    substeps: int,
    *,
    tableau: Tableau = RK4,
) -> Tensor:
    """Run `field` as :func:`rom.dynamics.shooting.shoot` does, and differentiate in little memory.

    Of the run forwards only the states between steps are kept. Backwards, the stages of each
    step are computed again from the state it began with, and the exact adjoint of the method
    passes through them from last to first, one network evaluation at a time. The gradient is that
    of the discrete run, as automatic differentiation of all steps gives it, up to rounding; it
    takes about 1.6 times the arithmetic.

    Parameters
    ----------
    field : callable
        Slopes (n_windows, rank) of states (n_windows, rank) and inputs (n_windows, n_inputs).
    parameters : list of Tensor
        All that `field` depends on and the gradient is wanted of.
    z : Tensor, shape (n_windows, rank)
        States to start from.
    u : Tensor, shape (n_windows, length + 1, n_inputs)
        Inputs, linear in between; no gradient is taken of them.
    h : Tensor, shape (n_windows, length)
        Steps from sample to sample; no gradient is taken of them.
    substeps : int
        Steps of the method from sample to sample.
    tableau : Tableau, optional
        The method.

    Returns
    -------
    Tensor, shape (n_windows, length, rank)

    References
    ----------
    Matsubara, Miyatake & Yaguchi (2021), "Symplectic adjoint method for exact gradient of neural
    ODE with minimal memory", NeurIPS 34. Hairer, Lubich & Wanner (2006), Geometric Numerical
    Integration, ch. VI.4.

    Examples
    --------
    The flow of dz/dt = a z over one unit of time, and its derivative in a:

    >>> a = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    >>> z, u, h = torch.ones(1, 1), torch.zeros(1, 2, 0), torch.ones(1, 1)
    >>> end = shoot(lambda z, u: a * z, [a], z.double(), u.double(), h.double(), 10)
    >>> (slope,) = torch.autograd.grad(end.sum(), [a])
    >>> print(f"{end.item():.4f} {slope.item():.4f}")
    1.6487 1.6487
    """
    states: Tensor = _Run.apply((field, u, h, substeps, tableau), z, *parameters)
    return states


class _Run(torch.autograd.Function):
    """The run of `shoot`, and its adjoint."""

    @staticmethod
    def forward(ctx: Any, how: tuple[Any, ...], z: Tensor, *parameters: Tensor) -> Tensor:
        field, u, h, substeps, tableau = how
        starts, ends = [], []
        for k in range(h.shape[1]):
            for j in range(substeps):
                starts.append(z)
                at, step = _inputs(u, k, j, substeps, tableau), h[:, k, None] / substeps
                slopes: list[Tensor] = []
                for i in range(len(tableau.b)):
                    slopes.append(field(_after(z, step, tableau.a[i], slopes), at[i]))
                z = _after(z, step, tableau.b, slopes)
            ends.append(z)
        ctx.how, ctx.parameters = how, parameters
        ctx.save_for_backward(*starts)
        return torch.stack(ends, dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        field, u, h, substeps, tableau = ctx.how
        starts, totals = ctx.saved_tensors, [torch.zeros_like(p) for p in ctx.parameters]
        adjoint = torch.zeros_like(gradients[0][:, 0])
        for n in reversed(range(len(starts))):
            k, j = divmod(n, substeps)
            if j == substeps - 1:
                adjoint = adjoint + gradients[0][:, k]
            at, step = _inputs(u, k, j, substeps, tableau), h[:, k, None] / substeps
            adjoint = _back(field, ctx.parameters, totals, starts[n], at, step, tableau, adjoint)
        return None, adjoint, *totals


def _back(
    field: Field,
    parameters: tuple[Tensor, ...],
    totals: list[Tensor],
    z: Tensor,
    u: list[Tensor],
    step: Tensor,
    tableau: Tableau,
    adjoint: Tensor,
) -> Tensor:
    """The adjoint at the start of a step from that at its end; adds to the parameters' gradients.

    With μᵢ = h (bᵢ λ + Σ_{j>i} aⱼᵢ νⱼ) and νᵢ = (∂f/∂z)ᵀ μᵢ at stage i, the start has λ + Σ νᵢ.
    """
    stages: list[Tensor] = []
    slopes: list[Tensor] = []
    for i in range(len(tableau.b)):
        stages.append(_after(z, step, tableau.a[i], slopes))
        if i < len(tableau.b) - 1:
            slopes.append(field(stages[i], u[i]))
    pulled: dict[int, Tensor] = {}
    for i in reversed(range(len(tableau.b))):
        weights = [tableau.b[i], *(tableau.a[j][i] for j in pulled)]
        cotangent = step * _sum(weights, [adjoint, *pulled.values()])
        with torch.enable_grad():
            at = stages.pop().detach().requires_grad_()
            slope = field(at, u[i])
        if not slope.requires_grad:  # a constant
            pulled[i] = torch.zeros_like(z)
            continue
        found = torch.autograd.grad(slope, [at, *parameters], cotangent, allow_unused=True)
        pulled[i] = torch.zeros_like(z) if found[0] is None else found[0]
        for total, part in zip(totals, found[1:], strict=True):
            if part is not None:
                total += part
    return adjoint + sum(pulled.values())


def _inputs(u: Tensor, k: int, j: int, substeps: int, tableau: Tableau) -> list[Tensor]:
    """Inputs at the stages of step `j` from sample `k` to the next."""
    change = (u[:, k + 1] - u[:, k]) / substeps
    return [u[:, k] + (j + c) * change for c in tableau.c]


def _after(z: Tensor, step: Tensor, weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    return z + step * _sum(weights, slopes) if any(weights) else z


def _sum(weights: Any, terms: list[Tensor]) -> Tensor:
    """Sum of the terms whose weights are not zero; zero where there is none."""
    used = [(weight, term) for weight, term in zip(weights, terms, strict=True) if weight]
    if not used:
        return torch.zeros_like(terms[0])
    total = used[0][0] * used[0][1]
    for weight, term in used[1:]:
        total = torch.add(total, term, alpha=weight)
    return total
