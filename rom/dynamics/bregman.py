"""Sparse training: linearised Bregman iterations on the weights of a network.

Networks are lists ``W₁, b₁, W₂, b₂, …`` of weights (n_in, n_out), most of them zero, and biases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Loss = Callable[..., Any]

# A weight comes to life where it has gathered this many times the largest gradient of one
# iteration; past that it grows by STEP times what it gathers.
THRESHOLD, STEP = 5.0, 0.002
# Iterations of growth at most, rows that they look at, iterations of the fit between.
ITERATIONS, ROWS, REFIT = 50, 500, 40


def start_sparse(parameters: list[Array], density: float) -> list[Array]:
    """Keep the largest weights of each layer, one at least.

    They are scaled for the weights of a unit to have norm one on average, however few they are.
    """
    kept: list[Array] = []
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        n = max(1, int(density * weight.size))
        least = np.partition(np.abs(weight), -n, axis=None)[-n]
        sparse = np.where(np.abs(weight) >= least, weight, 0.0)
        kept += [sparse * (weight.shape[1] ** 0.5 / np.linalg.norm(sparse)), bias]
    return kept


def grow(
    parameters: list[Array], gathered: list[Array], stage: tuple[Loss, Any, Any], most: int
) -> tuple[list[Array], list[Array]]:
    """Linearised Bregman iterations, until `most` weights live or they have gone on for long.

    ``v ← v - τ ∇L(θ)``, ``θ ← STEP shrink(v, THRESHOLD)``: the gradient acts on v, the subgradient
    of an elastic net at the weights θ, and weights are zero while v is within the threshold. The
    step τ is one over the largest gradient so far, so that no v moves by more than one.

    Parameters
    ----------
    parameters : list of ndarray
        The network.
    gathered : list of ndarray
        v, of each weight matrix; that of living weights follows from the weights.
    stage : tuple
        Loss of a network on data, training data, held-out data.
    most : int
        Weights that may live.

    Returns
    -------
    parameters, gathered : lists of ndarray
    """
    loss, train, _ = stage
    rows = slice(None, None, -(-len(train[0]) // ROWS))
    data = [values[rows] for values in train]
    weights, biases = parameters[::2], parameters[1::2]
    v = [
        np.where(w != 0, np.sign(w) * THRESHOLD + w / STEP, np.clip(a, -THRESHOLD, THRESHOLD))
        for w, a in zip(weights, gathered, strict=True)
    ]
    largest = 0.0
    for _ in range(ITERATIONS):
        if sum(np.count_nonzero(w) for w in weights) >= most:
            break
        slopes = gradient(loss, _network(weights, biases), data)
        largest = max(largest, *(np.abs(g).max(initial=0.0) for g in slopes[::2]))
        if not 0 < largest < np.inf:
            break
        v = [a - g / largest for a, g in zip(v, slopes[::2], strict=True)]
        weights = [STEP * np.sign(a) * np.maximum(np.abs(a) - THRESHOLD, 0.0) for a in v]
        biases = [b - STEP * g / largest for b, g in zip(biases, slopes[1::2], strict=True)]
    return _network(_largest(weights, most), biases), v


def _network(weights: list[Array], biases: list[Array]) -> list[Array]:
    return [value for layer in zip(weights, biases, strict=True) for value in layer]


def _largest(weights: list[Array], most: int) -> list[Array]:
    """No more than `most` weights of all layers together, the largest, but one of each layer."""
    sizes = [np.abs(weight) for weight in weights]
    ranked = np.sort(np.concatenate([size.ravel() for size in sizes]))[::-1]
    least = ranked[most] if most < len(ranked) else 0.0
    return [
        np.where(size > least if size.max() > least else size == size.max(), weight, 0.0)
        for weight, size in zip(weights, sizes, strict=True)
    ]


def gradient(loss: Loss, parameters: list[Array], data: list[Array]) -> list[Array]:
    """Gradient of the loss by every number of the network, zero weights included."""
    import torch

    from rom.dynamics.training import _one_thread

    tensors = [torch.tensor(value, requires_grad=True) for value in parameters]
    with _one_thread():
        value = loss(tensors, *(torch.tensor(values) for values in data))
        return [slope.numpy() for slope in torch.autograd.grad(value, tensors)]


def refit(
    parameters: list[Array], loss: Loss, train: Any, held_out: Any, *, max_iter: int = REFIT
) -> tuple[list[Array], float]:
    """Fit the living weights and the biases; give the held-out loss too."""
    from rom.dynamics.training import minimise

    masks = [weight != 0 for weight in parameters[::2]]
    outcome = minimise(
        gather(parameters, masks), scattered(loss, masks), train, held_out, max_iter=max_iter,
        patience=1, device="cpu", label="SparseODE",
    )  # fmt: skip
    held = float(outcome.history[-1, 2]) if len(outcome.history) else np.inf
    return scatter(outcome.parameters, masks), held


def gather(parameters: list[Array], masks: list[Mask]) -> list[Array]:
    """Living weights and biases, layer by layer."""
    living = [weight[mask] for weight, mask in zip(parameters[::2], masks, strict=True)]
    return _network(living, parameters[1::2])


def scatter(values: list[Array], masks: list[Mask]) -> list[Array]:
    """The network that :func:`gather` took `values` from."""
    weights = [np.zeros(mask.shape) for mask in masks]
    for weight, mask, value in zip(weights, masks, values[::2], strict=True):
        weight[mask] = value
    return _network(weights, values[1::2])


def scattered(loss: Loss, masks: list[Mask]) -> Loss:
    """The loss of a network as a function of what :func:`gather` takes from it."""
    import torch

    where = [(torch.tensor(np.flatnonzero(mask)),) for mask in masks]

    def of_values(values: list[Tensor], *data: Tensor) -> Tensor:
        parameters = []
        for mask, index, weight, bias in zip(masks, where, values[::2], values[1::2], strict=True):
            dense = torch.zeros(mask.size, dtype=weight.dtype, device=weight.device)
            parameters += [dense.index_put(index, weight).view(mask.shape), bias]
        return loss(parameters, *data)

    return of_values


def without_idle_units(parameters: list[Array]) -> list[Array]:
    """The same function without the hidden units that nothing enters or leaves.

    What a unit gives that nothing enters is constant, and added to the biases it goes to. One unit
    stays in each layer.
    """
    weights, biases = list(parameters[::2]), list(parameters[1::2])
    n_units = -1
    while n_units != (n_units := sum(map(len, biases))):
        for i in range(len(weights) - 1):
            enters: Mask = (weights[i] != 0).any(axis=0)
            leaves: Mask = (weights[i + 1] != 0).any(axis=1)
            biases[i + 1] = biases[i + 1] + np.tanh(biases[i]) @ np.where(
                enters[:, None], 0.0, weights[i + 1]
            )
            weights[i + 1] = np.where(enters[:, None], weights[i + 1], 0.0)
            keep = enters & leaves
            keep[0] |= not keep.any()
            weights[i], biases[i] = weights[i][:, keep], biases[i][keep]
            weights[i + 1] = weights[i + 1][keep]
    return _network(weights, biases)
