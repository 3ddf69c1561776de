"""Low-rank neural ODE: the ranks of the weight matrices are found while training."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval

from rom.dynamics.small import Array, SmallODE
from rom.dynamics.structured import StructuredODE

if TYPE_CHECKING:
    from torch import Tensor

# Iterations of one Galerkin step; the bases are turned and the ranks cut between two of them.
GALERKIN = 20
# What a basis lacks of its new directions adds nothing to it below this part of them.
NEGLIGIBLE = 1e-10


class Layer(NamedTuple):
    """One layer ``x @ left @ core @ right.T + bias``; left and right have orthonormal columns."""

    left: Array
    """(n_in, rank)."""
    core: Array
    """(rank, rank)."""
    right: Array
    """(n_out, rank)."""
    bias: Array
    """(n_out,)."""


class LowRankODE(SmallODE):
    """A neural network with weights of low rank as the right-hand side: ``dz/dt = f(z, u)``.

    A multilayer perceptron with tanh units, whose weight matrices are kept as products ``U S Vᵀ``
    with few columns from the first step of the training to the last (dynamical low-rank training).
    A round of it widens both bases U and V by the directions in which the loss falls fastest,
    minimises over the cores S and the biases in these bases (the Galerkin step), and cuts the
    singular values whose tail is less than `tolerance` of all. The ranks so adapt to the data: they
    come out small where little is to be said, whatever the widths. Then all factors are trained
    together at the ranks found, first on time derivatives, then on short runs, as a
    :class:`~rom.dynamics.NeuralODE` is.

    Two things hold by construction: no weight matrix has a rank above `max_rank`, and every rollout
    is bounded. Past one and a half times the largest training state, measured from the mean, a pull
    back to the mean is added that grows with the distance; tanh networks are bounded, so the
    pull wins. That the network is as good as one with all its weights is not guaranteed: compare
    rollouts.

    Parameters
    ----------
    hidden : tuple of int, optional
        Widths of the hidden layers.
    tolerance : float, optional
        ϑ of the paper: singular values are cut whose root sum of squares is at most this part of
        that of all. Larger means fewer weights.
    max_rank : int, optional
        The highest rank of a weight matrix.
    condition : float, optional
        Weight of the penalty ``|SᵀS - α² I|``, where α² is the mean square singular value, summed
        over the layers (the robust variant). It makes the singular values of a layer alike,
        so that errors in the state are not amplified far more in some directions than in
        others. The loss it is added to is in units of the mean square slope, and of
        the variance of the states.
    window : int, optional
        Sampling steps per training run.
    max_iter : int, optional
        The most iterations (L-BFGS, all data at once), in the search for the ranks and in each of
        the two trainings after it.
    validation_fraction : float, optional
        Part of the rows held out, in windows spread evenly over all of them.
    patience : int, optional
        Checks in a row, 20 iterations apart, without a better held-out loss before training ends.
    random_state : int, RandomState instance or None, optional
        Seed of the initial weights. With an int, two fits agree to the bit.

    Attributes
    ----------
    left_, right_ : list of ndarray, shapes (n_in, rank) and (n_out, rank)
        Factors of the weight matrices ``left @ right.T``, which share the singular values evenly.
    biases_ : list of ndarray, shapes (n_out,)
        Layer biases.
    ranks_ : ndarray of int, shape (n_layers,)
        Ranks of the weight matrices.
    rank_history_ : ndarray of int, shape (n_rounds, n_layers)
        Ranks after each round of the search.
    n_weights_ : int
        Numbers in the factors and biases.
    n_dense_ : int
        Numbers in weights and biases of the network with full matrices.
    mean_ : ndarray, shape (rank,)
        Mean of the training states.
    scale_ : float
        The largest standard deviation of a coordinate, which states are divided by.
    input_mean_, input_scale_ : ndarray, shape (n_inputs,)
        Mean and standard deviation of the training inputs.
    speed_ : float
        The fastest rate of a coordinate, per unit of time.
    radius_ : float
        Where the pull begins, in units of ``|z - mean_| / scale_``.
    history_ : ndarray, shape (n_checks, 3)
        Iterations, training loss and held-out loss of the last training.
    n_iter_ : int
        Iterations of the two trainings after the search together.
    stop_reason_ : str
        Why the last training ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, there is not one target for each coordinate,
        no two rows follow each other without a gap, or the data are refused (see :meth:`fit`).

    References
    ----------
    Schotthöfer, Zangrando, Kusch, Ceruti & Tudisco (2022), "Low-rank lottery tickets: finding
    efficient low-rank neural networks via matrix differential equations", NeurIPS 35. Ceruti, Kusch
    & Lubich (2022), "A rank-adaptive robust integrator for dynamical low-rank approximation", BIT
    62, 1149. Schotthöfer, Yang & Schnake (2025), "Dynamical low-rank compression of neural networks
    with robustness under adversarial attacks", arXiv:2505.08022.

    Examples
    --------
    >>> t = np.linspace(0, 8, 120)
    >>> Z = np.column_stack([np.cos(t), -np.sin(t)])
    >>> model = LowRankODE(hidden=(32, 32), max_iter=60, random_state=0).fit(Z, t=t)
    >>> bool(np.abs(model.predict(Z) - np.column_stack([Z[:, 1], -Z[:, 0]])).max() < 0.02)
    True
    >>> model.n_weights_ < 0.5 * model.n_dense_
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **StructuredODE._parameter_constraints,
        "hidden": [tuple, list],
        "tolerance": [Interval(Real, 0, 1, closed="left")],
        "max_rank": [Interval(Integral, 1, None, closed="left")],
        "condition": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        hidden: tuple[int, ...] = (256, 256, 256),
        *,
        tolerance: float = 0.1,
        max_rank: int = 16,
        condition: float = 0.0,
        window: int = 8,
        max_iter: int = 200,
        validation_fraction: float = 0.15,
        patience: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.tolerance = tolerance
        self.max_rank = max_rank
        self.condition = condition
        self.window = window
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state

    def _train(self, start: list[Array], stages: list[Any]) -> list[Array]:
        stages = [(self._penalised(loss), *data) for loss, *data in stages]
        # Random matrices have no small singular values to cut: start low, and let the ranks grow.
        lowest = min(len(start[0]), self.max_rank)
        layers = [
            truncated(Layer(np.eye(len(w)), w, np.eye(len(b)), b), 0.0, lowest)
            for w, b in zip(start[::2], start[1::2], strict=True)
        ]
        ranks = []
        for _ in range(-(-self.max_iter // GALERKIN)):
            layers = self._galerkin(
                [*map(widened, layers, *_descent(layers, stages[0]))], stages[0]
            )
            layers = [truncated(layer, self.tolerance, self.max_rank) for layer in layers]
            ranks.append([len(layer.core) for layer in layers])
        self.rank_history_ = np.array(ranks)
        return super()._train([part for layer in layers for part in _halves(layer)], stages)

    def _galerkin(self, layers: list[Layer], stage: Any) -> list[Layer]:
        """Minimise over cores and biases, in bases that stay."""
        import torch

        from rom.dynamics.training import minimise

        bases = [(torch.tensor(layer.left), torch.tensor(layer.right)) for layer in layers]
        loss, train, held = stage

        def loss_of_cores(parameters: list[Tensor], *data: Tensor) -> Tensor:
            cores = zip(bases, parameters[::2], parameters[1::2], strict=True)
            return loss([p for (U, V), S, b in cores for p in (U @ S, V, b)], *data)

        found = minimise(
            [part for layer in layers for part in (layer.core, layer.bias)], loss_of_cores, train,
            held, max_iter=min(GALERKIN, self.max_iter), patience=1, device="cpu",
            label=type(self).__name__,
        ).parameters  # fmt: skip
        new = zip(layers, found[::2], found[1::2], strict=True)
        return [layer._replace(core=core, bias=bias) for layer, core, bias in new]

    def _penalised(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        if not self.condition:
            return loss

        def with_penalty(parameters: list[Tensor], *data: Tensor) -> Tensor:
            spreads = map(spread, parameters[::3], parameters[1::3])
            return loss(parameters, *data) + self.condition * sum(spreads)

        return with_penalty

    def _network(self, xp: Any, parts: list[Any], x: Any) -> Any:
        last = len(parts) - 3
        for i in range(0, len(parts), 3):
            left, right, bias = parts[i : i + 3]
            x = x @ left @ right.T + bias
            x = xp.tanh(x) if i < last else x
        return x

    def _keep(self, parameters: list[Array], x: Array) -> None:
        self.left_, self.right_, self.biases_ = (parameters[i::3] for i in range(3))
        self.ranks_ = np.array([left.shape[1] for left in self.left_])
        self.n_weights_ = sum(part.size for part in parameters)
        self._set_rest(x)

    def _fitted(self) -> list[Array]:
        layers = zip(self.left_, self.right_, self.biases_, strict=True)
        return [part for layer in layers for part in layer]


def spread(left: Tensor, right: Tensor) -> Tensor:
    """How unlike the singular values of ``left @ right.T`` are: ``|SᵀS - α² I|``.

    Of the squares of the singular values, the eigenvalues of M = (leftᵀ left)(rightᵀ right), it is
    the root of ``Σ (σᵢ² - α²)² = tr M² - (tr M)² / rank``. No factor need be orthonormal.
    """
    import torch

    M = (left.T @ left) @ (right.T @ right)
    square = (M * M.T).sum() - torch.trace(M) ** 2 / len(M)
    # The root has no slope at 0, where rounding takes over.
    tiny = torch.finfo(M.dtype).eps * float(torch.trace(M.detach())) ** 2
    return torch.sqrt(torch.clamp(square, min=0) + tiny)


def _descent(layers: list[Layer], stage: Any) -> tuple[list[Array], list[Array]]:
    """Gradients G V and Gᵀ U of the loss, where G is that by a layer's whole weight matrix."""
    import torch

    from rom.dynamics.training import _one_thread

    loss, train, _ = stage
    parts, moves = [], []
    for layer in layers:
        left, core, right, bias = map(torch.tensor, layer)
        # left core rightᵀ + K rightᵀ + left Lᵀ at K = L = 0: both gradients in one pass.
        K, L = (torch.zeros_like(basis, requires_grad=True) for basis in (left, right))
        parts += [torch.cat([left @ core + K, left], 1), torch.cat([right, L], 1), bias]
        moves += [K, L]
    with _one_thread():
        value = loss(parts, *(torch.tensor(values) for values in train))
        gradients = [slope.numpy() for slope in torch.autograd.grad(value, moves)]
    return gradients[::2], gradients[1::2]


def widened(layer: Layer, left: Array, right: Array) -> Layer:
    """The same layer in bases that span the directions `left` and `right` too."""
    U, V = _basis(layer.left, left), _basis(layer.right, right)
    core = (U.T @ layer.left) @ layer.core @ (layer.right.T @ V)
    return Layer(U, core, V, layer.bias)


def _basis(basis: Array, directions: Array) -> Array:
    least = NEGLIGIBLE * np.linalg.norm(directions)
    for _ in range(2):  # the second time removes what rounding left
        directions = directions - basis @ (basis.T @ directions)
    new, size, _ = np.linalg.svd(directions, full_matrices=False)
    room = len(basis) - basis.shape[1]
    return np.hstack([basis, new[:, size > least][:, :room]])


def truncated(layer: Layer, tolerance: float, max_rank: int) -> Layer:
    """The layer without the singular values whose tail is at most `tolerance` of all of them."""
    P, sigma, Qt = np.linalg.svd(layer.core)
    tail = np.sqrt(np.cumsum(sigma[::-1] ** 2)[::-1])
    rank = min(max_rank, max(1, int((tail > tolerance * tail[0]).sum())))
    U, V = layer.left @ P[:, :rank], layer.right @ Qt[:rank].T
    return Layer(U, np.diag(sigma[:rank]), V, layer.bias)


def _halves(layer: Layer) -> tuple[Array, Array, Array]:
    """The two factors, which share the singular values evenly, and the bias."""
    root = np.sqrt(np.diag(layer.core))
    return layer.left * root, layer.right * root, layer.bias
