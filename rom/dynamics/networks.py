"""Multilayer perceptrons whose best learning rate does not depend on their width. NumPy only.

A layer's sum over `N` units is divided by ``N^γ``, and the learning rates are scaled to match, so
that in every layer, and at every width, one training step changes what the units give by as much.
Up to the width `REFERENCE` all is as everyone has it: what is good there is good at every width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Literal, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

# The width up to which weights start as usual, with variance 1 / fan-in, and all rates are one.
REFERENCE = 64
# Hidden biases start within this: units that turn at different places.
BIAS = 0.3

Activation = Literal["tanh", "relu", "softplus"]

_ACTIVATIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "softplus": lambda x: np.logaddexp(0.0, x),
}


class Initial(NamedTuple):
    """Where a training starts. Three lists in the order ``W₁, b₁, W₂, b₂, …``."""

    parameters: list[NDArray[np.float64]]
    """What the optimiser moves."""
    multipliers: list[float]
    """The network's weights and biases are these times the parameters."""
    rates: list[float]
    """The learning rate of each parameter is one common rate times these."""


class _Scalable(Protocol):
    def __mul__(self, other: float, /) -> Self: ...


Array = TypeVar("Array", bound=_Scalable)


def check_hidden(hidden: Sequence[int]) -> None:
    """Raise a ValueError if `hidden` is not a sequence of widths."""
    if not all(isinstance(width, Integral) and width > 0 for width in hidden):
        raise ValueError(
            f"hidden must hold positive whole numbers, one per layer, but is {hidden!r}."
        )


def initial(
    sizes: Sequence[int],
    rng: np.random.RandomState | np.random.Generator,
    *,
    gamma: float = 1.0,
    sgd: bool = False,
) -> Initial:
    """Draw the parameters of a perceptron, with the multipliers and rates of its width.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, widths of the hidden layers, number of outputs.
    rng : RandomState or Generator
        Source of the random numbers.
    gamma : float, default=1.0
        Sums over the ``N > 64`` units of a hidden layer are multiplied by ``(64 / N)^gamma``, ½ to
        1.
        At 1 (mean field) the units learn at every width, and the initial output falls like
        ``N^-½``; at ½ it is as large at every width, and the units of wide layers hardly learn.
    sgd : bool, default=False
        Give the rates of plain gradient descent in place of those of Adam (and of other methods
        whose steps do not depend on the size of the gradient).

    Returns
    -------
    Initial
        Parameters, multipliers and rates.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, one is not positive, or `gamma` is not in [½, 1].

    Notes
    -----
    Weights between hidden layers start with variance 1 / fan-in at every `gamma`. Starting with
    variance ``N^(-2 gamma)``, what they pass on and back would fade with the width, and plain
    descent would stand still at the start (Hajjar, Chizat & Giraud 2021).

    References
    ----------
    Sirignano & Spiliopoulos (2022), "Mean field analysis of deep neural networks", Math. Oper.
    Res. 47, 120. Yu & Spiliopoulos (2023), "Normalization effects on deep neural networks",
    Foundations of Data Science 5, 389. Yang & Hu (2021), "Feature learning in infinite-width
    neural networks", ICML. Hajjar, Chizat & Giraud (2021), "Training integrable parameterizations
    of deep neural networks in the infinite-width limit", arXiv:2110.15596.

    Examples
    --------
    >>> import numpy as np
    >>> start = initial([2, 64, 128, 1], np.random.default_rng(0))
    >>> [parameter.shape for parameter in start.parameters]
    [(2, 64), (64,), (64, 128), (128,), (128, 1), (1,)]
    >>> start.multipliers
    [1.0, 1.0, 1.0, 1.0, 0.5, 1.0]
    >>> start.rates
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    by = multipliers(sizes, gamma=gamma)
    parameters = []
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        outer = layer == len(sizes) - 2 > 0
        scale = min(n_in, REFERENCE) ** -0.5 if outer else n_in**-0.5 / by[2 * layer]
        parameters += [rng.normal(scale=scale, size=(n_in, n_out)), rng.uniform(-BIAS, BIAS, n_out)]
    parameters[-1][:] = 0.0
    return Initial(parameters, by, _rates(_relative(sizes), gamma, sgd=sgd))


def multipliers(sizes: Sequence[int], *, gamma: float = 1.0) -> list[float]:
    """Give what :func:`initial` does as ``multipliers``, without drawing anything."""
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must hold at least two positive numbers, but is {sizes!r}.")
    if not 0.5 <= gamma <= 1:
        raise ValueError(f"gamma must be between 0.5 and 1, but is {gamma!r}.")
    of_weights = [1.0, *(width**-gamma for width in _relative(sizes))]
    return [by for weight in of_weights for by in (weight, 1.0)]


def _relative(sizes: Sequence[int]) -> list[float]:
    """Widths of the hidden layers, as multiples of the reference; narrower ones as it."""
    return [max(width / REFERENCE, 1.0) for width in sizes[1:-1]]


def _rates(widths: Sequence[float], gamma: float, *, sgd: bool) -> list[float]:
    """Rates of ``W₁, b₁, W₂, b₂, …``, for hidden layers of `widths` times the reference.

    At γ = 1 a step of Adam moves every unit alike. The gradient at a unit of a layer of `N` is of
    order ``1/N``, and at a weight from a layer of `M` units of order ``1/MN``: plain descent needs
    rates of ``N`` for biases and of ``MN`` for weights. At γ < 1 small steps of many units add up
    to a large one of the output, which smaller rates make up for.
    """
    own, above = (2 * gamma - 1, 2 * gamma - 2) if sgd else (gamma - 1, gamma - 1)
    rates: list[float] = []
    behind = 1.0
    # The factors N of inputs and outputs, of which there are always as many, are one.
    for fan_in, fan_out in reversed(list(pairwise([1.0, *widths, 1.0]))):
        bias = behind * fan_out**own
        rates = [bias * fan_in**own, bias, *rates]
        behind *= fan_out**above
    return rates


def effective(parameters: Iterable[Array], multipliers: Iterable[float]) -> list[Array]:
    """Weights and biases ``W₁, b₁, W₂, b₂, …`` of the network: parameters times multipliers.

    Takes arrays, as a fitted model stores them, and tensors, through which gradients pass.
    """
    return [value * by for value, by in zip(parameters, multipliers, strict=True)]


def forward(
    weights: Sequence[NDArray[np.float64]],
    biases: Sequence[NDArray[np.float64]],
    x: NDArray[np.float64],
    activation: Activation = "tanh",
) -> NDArray[np.float64]:
    """Evaluate the network on rows `x` (n_rows, n_in).

    Parameters
    ----------
    weights, biases : sequences of ndarray, shapes (n_in, n_out) and (n_out,)
        Layers, as :func:`effective` gives them.
    x : ndarray, shape (n_rows, n_in)
        Inputs.
    activation : {"tanh", "relu", "softplus"}, default="tanh"
        What every hidden unit applies.

    Returns
    -------
    ndarray, shape (n_rows, n_out)
    """
    unit = _ACTIVATIONS[activation]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = unit(x @ weight + bias)
    values: NDArray[np.float64] = x @ weights[-1] + biases[-1]
    return values
