"""Symplectic compression of Hamiltonian systems: the cotangent lift."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from sklearn.utils._param_validation import Interval

from rom.base import Compressor
from rom.checks import is_lazy
from rom.compress import gram
from rom.compress.pod import POD
from rom.data.labels import lazy_if_large


class CotangentLift(Compressor):
    """Best subspace for states of canonical pairs that keeps their Hamiltonian structure.

    The first half of the columns are positions q, the second half their momenta p, in the same
    order: what a Dataset of the variables q and p on one grid is flattened to. One orthonormal
    basis Φ, the leading singular vectors of the snapshots of q and p together, serves both:
    ``x ≈ V z + mean`` with ``V = blkdiag(Φ, Φ)``. Then ``Vᵀ J V = J`` with
    ``J = [[0, I], [-I, 0]]`` of either size, and Vᵀ is the symplectic inverse of V: projecting
    ``dx/dt = J ∇H(x)`` gives again a Hamiltonian system, ``dz/dt = J ∇H(V z + mean)``, whose
    energy is that of the full model.

    Parameters
    ----------
    n_components : int, float or None, default=None
        The rank (an even int; half of it for q, half for p), the fraction of the energy (sum of
        squares) to keep (float in (0, 1)), or all modes that rounding leaves meaningful (None).
    center : bool, default=False
        Remove the mean over time first, for motion about a state other than zero. The structure
        is kept either way, but a quadratic H gets a linear part, so that a linear model becomes
        affine.

    Attributes
    ----------
    rank_ : int
        Number of latent coordinates: first those of q, then those of p.
    components_ : ndarray, shape (rank_, n_space)
        ``Vᵀ``: rows of the first half are zero on p, those of the second half on q.
    mean_ : ndarray, shape (n_space,)
        Mean over time; zero with ``center=False``.
    singular_values_ : ndarray, shape (rank_,)
        Singular values of the (centred) snapshots of q and p together. The coordinates i and
        i + rank_ / 2 are one pair and share theirs.

    Raises
    ------
    ValueError
        By a fit: if the number of columns or `n_components` is odd, if `n_components` is above
        the numerical rank of the snapshots, or if the data are refused (see :meth:`fit`).

    Notes
    -----
    Scaling q by one number a and p by another b leaves the equations Hamiltonian, with a b J for
    J; a factor for each cell does not. To project given equations, leave the states as they are:
    ``rom.Scale(center=False, scale=False)`` in a :class:`rom.ROM`, and centre here, not there.
    Area weights on q and p alike are right where H is an integral over unequal cells: J then
    holds the inverse areas, and the weights, square roots of the areas, turn it into the J above.

    References
    ----------
    Peng & Mohseni (2016), Symplectic model reduction of Hamiltonian systems, SIAM J. Sci. Comput.
    38.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.linspace(0, 6, 50)[:, None]
    >>> shape = np.sin(np.linspace(0, 3, 20))
    >>> X = np.hstack([np.cos(t) * shape, -np.sin(t) * shape])  # q and p of a standing wave
    >>> lift = CotangentLift(2).fit(X)
    >>> Z = lift.transform(X)  # one pair, on a circle
    >>> bool(np.allclose(lift.inverse_transform(Z), X)), bool(np.ptp(np.sum(Z**2, axis=1)) < 1e-12)
    (True, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            Interval(Integral, 2, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            None,
        ],
        "center": ["boolean"],
    }

    def __init__(self, n_components: int | float | None = None, *, center: bool = False) -> None:
        self.n_components = n_components
        self.center = center

    def _fit(self, X: Any) -> None:
        dtype, n_modes = X.dtype, self._n_modes(X)
        mean = np.zeros(X.shape[1])
        if self.center:
            mean = gram.column_means(X)
            X = lazy_if_large(X) - mean
        try:
            pod = POD(n_modes, center=False).fit(_halves_as_rows(X))
        except ValueError as error:
            raise ValueError(
                f"CotangentLift({self.n_components}) takes half its components from a POD of q "
                f"and p, each snapshot giving one row of each: {error}"
            ) from error
        self.rank_ = 2 * pod.rank_
        self.components_ = block_diag(pod.components_, pod.components_).astype(dtype)
        self.singular_values_ = np.tile(pod.singular_values_, 2)
        self.mean_ = mean.astype(dtype)

    def _n_modes(self, X: Any) -> Any:
        """What to ask of the POD that serves q and p alike."""
        if X.shape[1] % 2:
            raise ValueError(
                f"CotangentLift needs an even number of columns, all positions q and then as many "
                f"momenta p, but X has {X.shape[1]}."
            )
        if not isinstance(self.n_components, Integral):
            return self.n_components
        if self.n_components % 2:
            raise ValueError(
                "n_components must be even, half of it for q and half for p, but it is "
                f"{self.n_components}."
            )
        return int(self.n_components) // 2

    def _transform(self, X: Any) -> NDArray:
        return np.asarray(X @ self.components_.T) - self.mean_ @ self.components_.T

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        return Z @ self.components_ + self.mean_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _halves_as_rows(X: Any) -> Any:
    """The halves q and p of the rows of X as rows (2 n_time, n_space / 2), in any order.

    NumPy rows are not copied, and lazy ones not chunked across the direction they are read in.
    """
    n_time, n_space = X.shape
    if is_lazy(X) and X.numblocks[0] == 1:
        both: Any = np.concatenate([X[:, : n_space // 2], X[:, n_space // 2 :]])
        return both.rechunk({0: -1})
    if is_lazy(X):
        rows = X.rechunk({0: "auto", 1: -1}) if X.numblocks[1] > 1 else X
        X = rows.reshape(n_time, 2, n_space // 2)
    return X.reshape(2 * n_time, n_space // 2)
