"""What changes with the width of a network, and what does not: a coordinate check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

# Makes the network of one width from one seed, and a function that trains it by one step.
Build = Callable[[int, int], tuple["Module", Callable[[], object]]]


def coordinate_check(
    build: Build, widths: Sequence[int], x: Tensor, *, n_steps: int = 10, n_seeds: int = 5
) -> xr.Dataset:
    """Train networks of several widths for a few steps, and record what every layer gives.

    In a parametrisation that suits every width, the activations and their changes neither grow
    nor vanish with the width: see :func:`width_exponent`. A learning rate found good at one width
    is then good at the others, and the trained network tends to a limit as the width grows.

    Parameters
    ----------
    build : callable
        ``build(width, seed)`` returns a PyTorch module and a function without arguments that makes
        one training step of it. Modules of all widths have layers of the same names and outputs
        of one shape.
    widths : sequence of int
        Widths, ascending; at least two.
    x : Tensor
        Inputs at which the layers are looked at.
    n_steps : int, default=10
        Training steps.
    n_seeds : int, default=5
        Networks of each width, built from the seeds 0, 1, …; at least two.

    Returns
    -------
    xarray.Dataset
        Root mean squares, over inputs, units and seeds; the step 0 is before training.

        ``activation`` (width, step, layer)
            What each layer gives, where a layer is a module without children.
        ``change`` (width, step, layer)
            By how much that differs from what it gave before training.
        ``spread`` (width, step)
            Standard deviation of the output over the seeds.
        ``distance`` (width, step)
            How far the outputs are from the wide limit, for which stands the mean over the seeds
            of the widest networks, itself off by about its spread over ``√n_seeds``. NaN at the
            largest width.

    Raises
    ------
    ValueError
        If there are fewer than two widths or seeds, the widths do not ascend, or the modules of
        two widths differ in their layers or the shapes of their outputs.

    References
    ----------
    Yang et al. (2021), "Tuning large neural networks via zero-shot hyperparameter transfer",
    NeurIPS 34 (the check). Sirignano & Spiliopoulos (2020), "Mean field analysis of neural
    networks: a law of large numbers", SIAM J. Appl. Math. 80, 725 (the limit).

    Examples
    --------
    With PyTorch's own layers, the outer one learns more per step, the wider it is:

    >>> import torch
    >>> from torch import nn
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> def build(width, seed):
    ...     torch.manual_seed(seed)
    ...     net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
    ...     adam = torch.optim.Adam(net.parameters(), 1e-3)
    ...     def step():
    ...         adam.zero_grad()
    ...         (net(x) - torch.sin(3 * x)).square().mean().backward()
    ...         adam.step()
    ...     return net, step
    >>> table = coordinate_check(build, [32, 128, 512], x, n_steps=1)
    >>> growth = width_exponent(table.change.sel(step=1))
    >>> bool(growth.sel(layer="2") > 0.8)
    True
    """
    if n_seeds < 2 or len(widths) < 2 or list(widths) != sorted(set(widths)):
        raise ValueError(
            "coordinate_check needs at least two seeds and two ascending widths, but "
            f"n_seeds={n_seeds} and widths={list(widths)} came."
        )
    runs = [
        [_watch(*build(width, seed), x, n_steps) for seed in range(n_seeds)] for width in widths
    ]
    for width, run in zip(widths, (row[0] for row in runs), strict=True):
        _check_alike(runs[0][0], run, f"of widths {widths[0]} and {width}")
    outputs = np.array([[run.outputs for run in row] for row in runs])
    away = outputs - outputs[-1].mean(axis=0)
    away[-1] = np.nan
    over_seeds = {
        name: _root_mean(np.array([[getattr(run, name) for run in row] for row in runs]), axis=1)
        for name in ("activation", "change")
    }
    return xr.Dataset(
        {name: (("width", "step", "layer"), values) for name, values in over_seeds.items()}
        | {
            "spread": (("width", "step"), _root_mean(outputs.std(axis=1, ddof=1), axis=2)),
            "distance": (("width", "step"), _root_mean(away, axis=(1, 3))),
        },
        coords={"width": list(widths), "step": np.arange(n_steps + 1), "layer": runs[0][0].layers},
    )


def width_exponent(values: xr.DataArray) -> xr.DataArray:
    """Exponent ``p`` of the power ``width^p`` that fits `values` best, along their ``width``.

    Parameters
    ----------
    values : DataArray
        Positive numbers with a dimension ``width``; widths where they are zero or NaN are left out.

    Returns
    -------
    DataArray
        Slope of the logarithm over that of the width, by least squares, without the dimension
        ``width``; NaN where fewer than two values are left.

    Raises
    ------
    ValueError
        If `values` have no dimension ``width``.

    Examples
    --------
    >>> import xarray as xr
    >>> values = xr.DataArray([4.0, 2.0, 1.0], {"width": [16, 64, 256]})
    >>> round(float(width_exponent(values)), 6)
    -0.5
    """
    if "width" not in values.dims:
        raise ValueError(f"values need a dimension 'width', but theirs are {values.dims}.")
    positive = values.where(values > 0)
    y = xr.apply_ufunc(np.log, positive)
    x = xr.apply_ufunc(np.log, values["width"]).where(positive.notnull())
    x = x - x.mean("width")
    square = (x**2).sum("width")
    return ((x * y).sum("width") / square.where(square > 0)).rename("exponent")


class _Run(NamedTuple):
    """What one network gave before training and after each of its steps."""

    layers: list[str]
    activation: NDArray[np.float64]  # (n_steps + 1, n_layers)
    change: NDArray[np.float64]  # (n_steps + 1, n_layers)
    outputs: NDArray[np.float64]  # (n_steps + 1, number of outputs at all inputs)
    shape: tuple[int, ...]  # of the outputs


def _watch(module: Module, step: Callable[[], object], x: Tensor, n_steps: int) -> _Run:
    first, output = _look(module, x)
    activation, change, outputs = [], [], []
    now = first
    for k in range(n_steps + 1):
        if k > 0:
            step()
            now, output = _look(module, x)
        activation.append([_root_mean(now[layer]) for layer in first])
        change.append([_root_mean(now[layer] - first[layer]) for layer in first])
        outputs.append(output.ravel())
    return _Run(
        list(first), np.array(activation), np.array(change), np.array(outputs), output.shape
    )


def _look(module: Module, x: Tensor) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Outputs of each layer, of all its calls, and of the whole module, at `x`."""
    import torch

    seen: dict[str, list[NDArray[np.float64]]] = {}

    def record(name: str) -> Callable[[Module, object, Tensor], None]:
        def hook(layer: Module, inputs: object, output: Tensor) -> None:
            seen.setdefault(name, []).append(_numbers(output).flatten())

        return hook

    handles = [
        layer.register_forward_hook(record(name or type(layer).__name__))
        for name, layer in module.named_modules()
        if not any(layer.children())
    ]
    try:
        with torch.no_grad():
            output = _numbers(module(x))
    finally:
        for handle in handles:
            handle.remove()
    return {name: np.concatenate(values) for name, values in seen.items()}, output


def _numbers(values: Tensor) -> NDArray[np.float64]:
    return values.detach().cpu().double().numpy()


def _root_mean(values: NDArray[np.float64], axis: int | tuple[int, ...] | None = None) -> Any:
    """Root mean square."""
    return np.sqrt(np.mean(values**2, axis=axis))


def _check_alike(first: _Run, other: _Run, which: str) -> None:
    if (first.layers, first.shape) != (other.layers, other.shape):
        raise ValueError(
            f"The modules {which} have layers {first.layers} and {other.layers}, and outputs of "
            f"shapes {first.shape} and {other.shape}, which should be the same."
        )
