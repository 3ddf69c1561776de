"""Autoencoder: a small network that bends the linear subspace of POD."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from rom.base import Compressor
from rom.compress import gram
from rom.compress.pod import POD

if TYPE_CHECKING:
    from rom.compress.network import Network

# Of the POD underneath, where the user leaves its rank open.
ENERGY, MAX_MODES = 0.9999, 64


class Autoencoder(Compressor):
    """Curved latent coordinates by a network: for data that few linear modes do not hold.

    Where something moves, such as a front or a pulse, the states lie on a curved surface of few
    dimensions that only a linear subspace of many contains. A POD with `n_modes` modes comes
    first; a network then encodes its coefficients in `n_components` latent states and decodes
    them. The network is a correction: without it, the latent states are the leading POD
    coefficients and the decoder is linear. Training starts there and keeps the weights that did
    best on held-out rows, so on those rows the error is never above that of POD of equal rank.

    The latent states are standardised: over the training rows, each has mean 0 and standard
    deviation 1.

    Parameters
    ----------
    n_components : int, default=2
        Number of latent states.
    layers : {"dense", "conv"}, default="dense"
        ``dense``: multilayer perceptrons on the POD coefficients. ``conv``: convolutions with
        stride 2 over the grid, on states filtered by the POD; slower, and only on a whole grid.
    hidden : tuple of int or None, default=None
        Widths of the encoder's hidden layers; with ``layers="conv"``, channels of its
        convolutions. The decoder mirrors them. None is (64, 64), or (8, 16, 32) channels.
    n_modes : int or None, default=None
        Rank of the POD underneath; what it leaves out, the autoencoder cannot hold either. None
        is enough for 99.99 % of the energy, but at most 64 (or `n_components`, if more).
    shape : tuple of int or None, default=None
        With ``layers="conv"``, the grid: (ny, nx) or (nx,); None is one row of all cells.
    learning_rate : float, default=3e-3
        The largest step size of the optimiser.
    max_iter : int, default=4000
        The most optimiser steps, of 32 rows each.
    patience : int, default=20
        Checks in a row, 50 steps apart, without a better held-out error before training ends.
    validation_fraction : float, default=0.15
        Part of the rows held out, drawn at random: they show whether the network fits noise, or
        swings between the rows it saw. A whole stretch of time held out would ask for states
        unlike any seen, of which no compressor can know. With 0, the training rows stand in.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the held-out rows and the batches. With an int, fits on one
        machine agree to the bit.

    Attributes
    ----------
    rank_ : int
        Number of latent states.
    components_ : ndarray, shape (n_modes, n_space)
        Orthonormal modes of the POD underneath.
    mean_ : ndarray, shape (n_space,)
        Mean over time.
    singular_values_ : ndarray, shape (n_modes,)
        Singular values of the centred snapshots.
    scale_ : float
        What POD coefficients are divided by: the root of their mean square norm.
    latent_mean_, latent_scale_ : ndarray, shape (rank_,)
        Standardise the encoder's output.
    encoder_weights_, decoder_weights_ : list of ndarray
        Layer weights, (n_in, n_out), and kernels, (n_out, n_in, *kernel).
    encoder_biases_, decoder_biases_ : list of ndarray, shapes (n_out,)
        Layer biases.
    history_ : ndarray, shape (n_checks, 3)
        Steps so far, error on the batches since the check before, error on the held-out rows:
        root mean square norms, over that of all that the `n_modes` modes hold. The first row is
        POD of rank `n_components`.
    validation_error_ : float
        The least held-out error, that of the weights kept.
    n_iter_ : int
        Steps until training ended.
    stop_reason_ : str
        Why it ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, `n_modes` is below `n_components` or above
        the rank of the snapshots, `shape` is not that of the cells, or the data are refused (see
        :meth:`fit`).

    Notes
    -----
    A fit loads PyTorch. A fitted dense autoencoder runs on NumPy alone, a convolutional one on
    PyTorch.

    References
    ----------
    Hinton & Salakhutdinov (2006), "Reducing the dimensionality of data with neural networks",
    Science 313. Lee & Carlberg (2020), "Model reduction of dynamical systems on nonlinear
    manifolds using deep convolutional autoencoders", J. Comput. Phys. 404. Fresca & Manzoni
    (2022), "POD-DL-ROM", Comput. Methods Appl. Mech. Eng. 388 (POD underneath).

    Examples
    --------
    A circle in the plane, bent through three dimensions:

    >>> import numpy as np
    >>> angle = np.linspace(0, 2 * np.pi, 200)
    >>> X = np.column_stack([np.cos(angle), np.sin(angle), np.cos(2 * angle)])
    >>> model = Autoencoder(2, hidden=(32,), max_iter=500, random_state=0).fit(X)
    >>> bool(np.abs(model.inverse_transform(model.transform(X)) - X).max() < 0.1)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "layers": [StrOptions({"dense", "conv"})],
        "hidden": [tuple, list, None],
        "n_modes": [Interval(Integral, 1, None, closed="left"), None],
        "shape": [tuple, list, None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 0.5, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int = 2,
        *,
        layers: Literal["dense", "conv"] = "dense",
        hidden: tuple[int, ...] | None = None,
        n_modes: int | None = None,
        shape: tuple[int, ...] | None = None,
        learning_rate: float = 3e-3,
        max_iter: int = 4000,
        patience: int = 20,
        validation_fraction: float = 0.15,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.layers = layers
        self.hidden = hidden
        self.n_modes = n_modes
        self.shape = shape
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _fit(self, X: Any) -> None:
        self._fit_transform(X, None)

    def _fit_transform(self, X: Any, y: ArrayLike | None) -> NDArray:
        from rom.compress.network import train

        self._check_sizes(X.shape[1])
        q = self._fit_pod(X)
        random = check_random_state(self.random_state)
        rows = random.permutation(len(q))
        n_held = round(self.validation_fraction * len(q))
        outcome = train(
            self._network("float32"), q[rows[n_held:]], q[rows[:n_held] if n_held else rows],
            self._linear_scale(), random, learning_rate=self.learning_rate,
            max_iter=self.max_iter, patience=self.patience,
        )  # fmt: skip
        self.encoder_weights_, self.encoder_biases_ = outcome.encoder[::2], outcome.encoder[1::2]
        self.decoder_weights_, self.decoder_biases_ = outcome.decoder[::2], outcome.decoder[1::2]
        self.history_, self.validation_error_ = outcome.history, float(outcome.history[:, 2].min())
        self.n_iter_, self.stop_reason_ = outcome.n_iter, outcome.reason
        self.latent_mean_, self.latent_scale_ = np.zeros(self.rank_), np.ones(self.rank_)
        latent = self._encode(q)
        self.latent_mean_, self.latent_scale_ = latent.mean(axis=0), latent.std(axis=0)
        return ((latent - self.latent_mean_) / self.latent_scale_).astype(X.dtype)

    def _check_sizes(self, n_space: int) -> None:
        if self.n_modes is not None and self.n_modes < self.n_components:
            raise ValueError(
                f"n_modes={self.n_modes} must be at least n_components={self.n_components}: the "
                "network encodes the POD coefficients."
            )
        for name, sizes in (("hidden", self.hidden), ("shape", self.shape)):
            if sizes is not None and not all(isinstance(n, Integral) and n > 0 for n in sizes):
                raise ValueError(f"{name} must hold positive whole numbers, but is {sizes!r}.")
        if self.layers == "dense":
            return
        if self.hidden is not None and not self.hidden:
            raise ValueError("hidden must name the channels of at least one convolution.")
        if self.shape is not None and len(self.shape) not in (1, 2):
            raise ValueError(f"shape must be (nx,) or (ny, nx), but is {self.shape!r}.")
        if self.shape is not None and np.prod(self.shape) != n_space:
            raise ValueError(
                f"shape={self.shape!r} has {np.prod(self.shape)} cells, but X has {n_space} "
                "columns: convolutions need every cell of one variable on the grid, none masked. "
                "layers='dense' takes any columns."
            )

    def _fit_pod(self, X: Any) -> NDArray[np.float64]:
        """Set what belongs to the POD underneath; return its scaled coefficients."""
        with warnings.catch_warnings():
            # Whether the weakest of the modes are accurate does not matter here.
            warnings.simplefilter("ignore", ConvergenceWarning)
            pod, Z = self._pod(X)
        n = pod.rank_
        if self.n_components > n:
            raise ValueError(
                f"n_components={self.n_components} must be at most the rank of the snapshots, "
                f"{n}: X is ({X.shape[0]}, {X.shape[1]})."
            )
        if self.n_modes is None:
            kept = np.cumsum(pod.explained_variance_ratio_)
            n = min(n, max(self.n_components, int(np.searchsorted(kept, ENERGY) + 1)))
        self.rank_, self.mean_ = int(self.n_components), pod.mean_.astype(X.dtype)
        self.components_ = pod.components_[:n].copy()
        self.singular_values_ = pod.singular_values_[:n]
        self.scale_ = float(np.linalg.norm(self.singular_values_) / len(X) ** 0.5)
        return Z[:, :n].astype(np.float64) / self.scale_

    def _pod(self, X: Any) -> tuple[POD, NDArray]:
        n_modes = max(self.n_components, min(MAX_MODES, len(X) - 1, X.shape[1]))
        pod = POD(n_modes if self.n_modes is None else self.n_modes)
        try:
            return pod, pod.fit_transform(X)
        except ValueError as error:
            if self.n_modes is not None:
                raise ValueError(f"n_modes={self.n_modes} is the rank of a POD: {error}") from error
        pod = POD()  # the snapshots have a lower rank, or what is wrong is said again
        return pod, pod.fit_transform(X)

    def _linear_scale(self) -> NDArray[np.float64]:
        """Standard deviations (rank_,) of the first scaled coefficients: POD's latent states."""
        return self.singular_values_[: self.rank_] / np.linalg.norm(self.singular_values_)

    def _network(self, dtype: str = "float64") -> Network:
        import torch

        from rom.compress.network import Convolutional, Dense

        if self.layers == "dense":
            hidden = (64, 64) if self.hidden is None else tuple(self.hidden)
            return Dense(len(self.components_), self.rank_, hidden)
        channels = (8, 16, 32) if self.hidden is None else tuple(self.hidden)
        shape = self.components_.shape[1:] if self.shape is None else tuple(self.shape)
        modes = torch.tensor(self.components_.astype(dtype))
        return Convolutional(modes, self.rank_, channels, shape)

    def _encode(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        correction = self._correct("encode", self.encoder_weights_, self.encoder_biases_, q)
        latent = q[:, : self.rank_] / self._linear_scale() + correction
        return (latent - self.latent_mean_) / self.latent_scale_

    def _decode(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        latent = Z * self.latent_scale_ + self.latent_mean_
        q = self._correct("decode", self.decoder_weights_, self.decoder_biases_, latent)
        q[:, : self.rank_] += latent * self._linear_scale()
        return q

    def _correct(
        self, half: Literal["encode", "decode"], weights: list[NDArray], biases: list[NDArray],
        x: NDArray[np.float64],
    ) -> NDArray[np.float64]:  # fmt: skip
        if self.layers == "conv":
            from rom.compress.network import evaluate

            parameters = [p for layer in zip(weights, biases, strict=True) for p in layer]
            return evaluate(getattr(self._network(), half), parameters, x)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = np.tanh(x @ weight + bias)
        corrections: NDArray[np.float64] = x @ weights[-1] + biases[-1]
        return corrections

    def _transform(self, X: Any) -> NDArray:
        Z = np.empty((len(X), self.rank_), np.result_type(X.dtype, self.components_))
        for rows, block in gram.row_blocks(X):
            q = (block - self.mean_) @ self.components_.T / self.scale_
            Z[rows] = self._encode(q)
        return Z

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        dtype = np.result_type(Z.dtype, self.components_)
        coefficients = self._decode(Z.astype(np.float64)) * self.scale_
        return coefficients.astype(dtype) @ self.components_ + self.mean_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
