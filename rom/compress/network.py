"""Dense and convolutional networks of an autoencoder, and their training, with PyTorch.

A network corrects the linear autoencoder that POD is. Its last layers start at zero, so training
starts from POD itself. All states are POD coefficients `q` (n_time, n_modes), divided by one
number so that their mean square norm is 1: a mean square error is then a fraction of the energy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

BATCH = 32
# Optimiser steps between two looks at the held-out error.
CHECK_EVERY = 50
# Convolutions: width and stride of the kernels, and the dense layer behind the latent states.
KERNEL, STRIDE, BOTTLENECK = 5, 2, 64

STALLED = "the held-out error stopped falling"
MAX_ITER = "max_iter was reached"

# Layer weights and biases in turn: W₁, b₁, W₂, b₂, …
Arrays = list[NDArray[np.float64]]


class Network(Protocol):
    """Corrections to latent states and to coefficients, as functions of parameters."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the numbers in training."""

    def initial(self, random: np.random.RandomState) -> tuple[Arrays, Arrays]:
        """Parameters of encoder and decoder, whose corrections are zero."""

    def encode(self, parameters: list[Tensor], q: Tensor) -> Tensor:
        """Correct the latent states (n_time, rank) of coefficients `q` (n_time, n_modes)."""

    def decode(self, parameters: list[Tensor], y: Tensor) -> Tensor:
        """Correct the coefficients (n_time, n_modes) of latent states `y` (n_time, rank)."""


@dataclass(frozen=True)
class Dense:
    """Multilayer perceptrons with tanh units; the decoder mirrors the encoder."""

    n_modes: int
    rank: int
    hidden: tuple[int, ...]

    dtype = torch.float64

    def initial(self, random: np.random.RandomState) -> tuple[Arrays, Arrays]:
        """Random weights, the last layers zero."""
        encoder, decoder = (
            list(chain.from_iterable(_layer(random, *shape) for shape in pairwise(sizes)))
            for sizes in (
                [self.n_modes, *self.hidden, self.rank],
                [self.rank, *self.hidden[::-1], self.n_modes],
            )
        )
        return _silent(encoder), _silent(decoder)

    def encode(self, parameters: list[Tensor], q: Tensor) -> Tensor:
        """Correct latent states; the decoder, of the same kind, corrects coefficients."""
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            q = torch.tanh(torch.addmm(bias, q, weight))
        return torch.addmm(parameters[-1], q, parameters[-2])

    decode = encode


@dataclass(frozen=True)
class Convolutional:
    """Strided convolutions over the grid, then a dense layer; the decoder mirrors them.

    The first step lifts coefficients to the grid through `modes` (n_modes, n_space), and the last
    projects the decoder's field on them. Single precision takes a third of the time here.
    """

    modes: Tensor
    rank: int
    channels: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Precision in training."""
        return self.modes.dtype

    def initial(self, random: np.random.RandomState) -> tuple[Arrays, Arrays]:
        """Random weights, the last layers zero."""
        kernel = (KERNEL,) * len(self.shape)
        n_last = self.channels[-1] * int(np.prod(self._grids()[-1]))
        pairs = list(pairwise([1, *self.channels]))
        encoder = [_layer(random, fan_in, n, kernel) for fan_in, n in pairs]
        encoder.append(_layer(random, n_last, self.rank))
        decoder = [_layer(random, self.rank, BOTTLENECK), _layer(random, BOTTLENECK, n_last)]
        decoder += [_layer(random, n, fan_in, kernel) for fan_in, n in pairs[::-1]]
        return _silent(list(chain(*encoder))), _silent(list(chain(*decoder)))

    def encode(self, parameters: list[Tensor], q: Tensor) -> Tensor:
        """Correct latent states."""
        field = (q @ self.modes * self.modes.shape[1] ** 0.5).reshape(-1, 1, *self.shape)
        for kernel, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            field = functional.elu(self._convolve(field, kernel, bias, stride=STRIDE))
        return torch.addmm(parameters[-1], field.flatten(1), parameters[-2])

    def decode(self, parameters: list[Tensor], y: Tensor) -> Tensor:
        """Correct coefficients."""
        grids = self._grids()
        field = functional.elu(torch.addmm(parameters[1], y, parameters[0]))
        field = torch.addmm(parameters[3], field, parameters[2])
        field = field.reshape(-1, self.channels[-1], *grids[-1])
        layers = zip(parameters[4::2], parameters[5::2], grids[-2::-1], strict=True)
        for kernel, bias, grid in layers:
            field = functional.interpolate(functional.elu(field), size=grid)
            field = self._convolve(field, kernel, bias, stride=1)
        return field.flatten(1) @ self.modes.T / self.modes.shape[1] ** 0.5

    def _convolve(self, field: Tensor, kernel: Tensor, bias: Tensor, stride: int) -> Tensor:
        convolve = functional.conv1d if len(self.shape) == 1 else functional.conv2d
        return convolve(field, kernel, bias, stride=stride, padding=KERNEL // 2)

    def _grids(self) -> list[tuple[int, ...]]:
        """The grid before the first convolution and after each."""
        grids = [self.shape]
        for _ in self.channels:
            grids.append(tuple(-(-n // STRIDE) for n in grids[-1]))
        return grids


class Outcome(NamedTuple):
    """How a training went."""

    encoder: Arrays
    decoder: Arrays
    """The parameters that did best on the held-out rows."""
    history: NDArray[np.float64]
    """(n_checks, 3): steps so far, relative errors on training batches and on held-out rows."""
    n_iter: int
    """Steps made."""
    reason: str
    """Why it ended."""


def train(
    network: Network,
    q: NDArray[np.float64],
    held_out: NDArray[np.float64],
    linear: NDArray[np.float64],
    random: np.random.RandomState,
    *,
    learning_rate: float,
    max_iter: int,
    patience: int,
) -> Outcome:
    """Train on coefficients `q` and keep what did best on `held_out`, POD itself included.

    Adam (Kingma & Ba 2015) on batches of shuffled rows. The learning rate rises to its largest
    value and falls to nearly zero over `max_iter` steps (Smith & Topin 2019, "one cycle").

    Parameters
    ----------
    network : Network
        What to train.
    q, held_out : ndarray, shape (n_time, n_modes)
        Scaled POD coefficients.
    linear : ndarray, shape (rank,)
        Standard deviations of the first coefficients, the latent states of POD.
    random : RandomState
        Draws initial parameters and batches.
    learning_rate, max_iter, patience
        As in :class:`rom.compress.autoencoder.Autoencoder`.
    """
    data, held, scale = _tensors([q, held_out, linear], network.dtype)
    encoder, decoder = (_tensors(part, network.dtype) for part in network.initial(random))
    parameters = [p.requires_grad_() for p in encoder + decoder]

    def loss(q: Tensor) -> Tensor:
        y = q[:, : len(linear)] / scale + network.encode(encoder, q)
        pod = functional.pad(y * scale, (0, q.shape[1] - len(linear)))
        return ((pod + network.decode(decoder, y) - q) ** 2).sum(dim=1).mean()

    optimiser = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, max_iter)
    with _one_thread(), tqdm(total=max_iter, desc="Autoencoder", disable=None, leave=False) as bar:
        with torch.no_grad():
            history = [(0, float(loss(data)), float(loss(held)))]
        best, kept, since_best, recent = history[0][2], _numbers(parameters), 0, 0.0
        reason, before = MAX_ITER, 0
        for n_iter, rows in enumerate(_batches(len(q), max_iter, random), 1):
            optimiser.zero_grad()
            value = loss(data[rows])
            value.backward()
            optimiser.step()
            schedule.step()
            recent += float(value.detach())
            if n_iter % CHECK_EVERY and n_iter < max_iter:
                continue
            with torch.no_grad():
                now = float(loss(held))
            history.append((n_iter, recent / (n_iter - before), now))
            bar.update(n_iter - before)
            bar.set_postfix(error=f"{now**0.5:.2e}")
            since_best, recent, before = since_best + 1, 0.0, n_iter
            if now < best:
                best, kept, since_best = now, _numbers(parameters), 0
            if since_best == patience:
                reason = STALLED
                break
    errors = np.array(history)
    errors[:, 1:] **= 0.5
    return Outcome(kept[: len(encoder)], kept[len(encoder) :], errors, n_iter, reason)


def evaluate(
    function: Callable[[list[Tensor], Tensor], Tensor], parameters: Arrays, x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Apply one half of a network to rows `x`, few at a time: fields take memory."""
    *tensors, rows = _tensors([*parameters, x], torch.float64)
    with _one_thread(), torch.no_grad():
        return np.concatenate([function(tensors, some).numpy() for some in rows.split(BATCH)])


def _layer(
    random: np.random.RandomState, n_in: int, n_out: int, kernel: tuple[int, ...] = ()
) -> Arrays:
    """Weights that keep the variance of what passes, (n_in, n_out) or a kernel's, and biases."""
    shape = (n_out, n_in, *kernel) if kernel else (n_in, n_out)
    scale = (n_in * np.prod(kernel)) ** -0.5
    return [random.normal(scale=scale, size=shape), np.zeros(n_out)]


def _silent(parameters: Arrays) -> Arrays:
    """The same with the last layer at zero."""
    parameters[-2] = np.zeros_like(parameters[-2])
    return parameters


def _batches(n: int, n_batches: int, random: np.random.RandomState) -> Iterator[NDArray[np.intp]]:
    """Rows of batches of equal size; each row comes once before any comes again."""
    per_pass = max(1, n // BATCH)
    for first in range(0, n_batches, per_pass):
        yield from np.array_split(random.permutation(n), per_pass)[: n_batches - first]


def _tensors(arrays: Iterable[NDArray], dtype: torch.dtype) -> list[Tensor]:
    return [torch.tensor(array, dtype=dtype) for array in arrays]


def _numbers(tensors: list[Tensor]) -> Arrays:
    return [tensor.detach().numpy().astype(np.float64) for tensor in tensors]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one CPU thread: the order of sums, and so every bit, is then always the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
