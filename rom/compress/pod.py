"""Proper orthogonal decomposition (principal components, empirical orthogonal functions)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Compressor
from rom.compress import gram

# Below this many multiplications LAPACK's SVD of a centred copy is fast enough and resolves
# singular values to machine precision; above it the Gram matrix is about ten times faster.
DIRECT_SVD_COST = 1e10
# A singular value below this fraction of the largest is lost to rounding.
RESOLVED = {"svd": np.finfo(np.float64).eps, "gram": np.sqrt(np.finfo(np.float64).eps)}


class POD(Compressor):
    """Best linear subspace of a set of snapshots in the Euclidean norm.

    Parameters
    ----------
    n_components : int, float or None, default=None
        The rank (int), the fraction of the energy (sum of squared singular values) to keep
        (float in (0, 1)), or all modes that rounding leaves meaningful (None).
    center : bool, default=True
        Remove the mean over time first.

    Attributes
    ----------
    rank_ : int
        Number of modes kept.
    components_ : ndarray, shape (rank_, n_space)
        Orthonormal modes, one per row, by decreasing energy. Their sign is fixed: the entry of
        largest magnitude is positive.
    mean_ : ndarray, shape (n_space,)
        Mean over time; zero with ``center=False``.
    singular_values_ : ndarray, shape (rank_,)
        Singular values of the (centred) snapshots.
    explained_variance_ratio_ : ndarray, shape (rank_,)
        Fraction of the total energy in each mode.
    solver_ : {"svd", "gram"}
        ``svd`` (LAPACK) on small arrays; ``gram`` (method of snapshots, blocked) on large or
        lazy ones, which resolves singular values down to about 1e-8 of the largest.

    Raises
    ------
    ValueError
        By a fit: if `n_components` is out of its range, above ``min(n_time, n_space)`` or above
        the numerical rank of the snapshots; if all snapshots are equal; or if the data are
        refused (see :meth:`fit`).

    References
    ----------
    Lumley (1967), The structure of inhomogeneous turbulent flows. Sirovich (1987), Turbulence
    and the dynamics of coherent structures, Quart. Appl. Math. 45 (method of snapshots).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 40))
    >>> pod = POD(n_components=0.999).fit(X)
    >>> pod.rank_, bool(np.allclose(pod.inverse_transform(pod.transform(X)), X))
    (3, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            None,
        ],
        "center": ["boolean"],
    }

    def __init__(self, n_components: int | float | None = None, *, center: bool = True) -> None:
        self.n_components = n_components
        self.center = center

    def _fit(self, X: Any) -> None:
        n_time, n_space = X.shape
        if isinstance(self.n_components, Integral) and self.n_components > min(X.shape):
            raise ValueError(
                f"n_components={self.n_components} must be at most min(n_time, n_space) = "
                f"{min(X.shape)}: X is ({n_time}, {n_space})."
            )
        mean = gram.column_means(X) if self.center else np.zeros(n_space)
        cost = float(min(X.shape)) ** 2 * max(X.shape)
        self.solver_ = "gram" if checks.is_lazy(X) or cost > DIRECT_SVD_COST else "svd"
        decompose = _decompose_gram if self.solver_ == "gram" else _decompose_svd
        singular_values, rows_of = decompose(X, mean)
        energy = singular_values**2
        self.rank_ = self._choose_rank(singular_values, energy)
        components = rows_of(self.rank_)
        components *= gram.fix_signs(components)[:, None]
        self.mean_ = mean.astype(X.dtype)
        self.components_ = components.astype(X.dtype)
        self.singular_values_ = singular_values[: self.rank_]
        self.explained_variance_ratio_ = energy[: self.rank_] / energy.sum()

    def _choose_rank(self, singular_values: NDArray, energy: NDArray) -> int:
        if singular_values[0] == 0 or not energy.sum() > 0:
            raise ValueError("All snapshots are equal: constant data have no modes.")
        resolved = RESOLVED[self.solver_] * max(1.0, np.sqrt(len(singular_values)))
        available = int(np.sum(singular_values > resolved * singular_values[0]))
        wanted = self.n_components
        if wanted is None:
            return available
        if not isinstance(wanted, Integral):
            kept = np.cumsum(energy) / energy.sum()
            return min(int(np.searchsorted(kept, wanted) + 1), available)
        if wanted > available:
            raise ValueError(
                f"n_components={wanted}, but these snapshots have numerical rank {available}: "
                f"singular value {available + 1} is below {resolved:.1e} of the first, all that "
                f"solver '{self.solver_}' resolves. Ask for at most {available}."
            )
        return int(wanted)

    def _transform(self, X: Any) -> NDArray:
        return np.asarray(X @ self.components_.T) - self.mean_ @ self.components_.T

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        return Z @ self.components_ + self.mean_

    def projection_error(self, X: Any) -> float:
        """Relative error of states `X` (n_time, n_space), seen in ``fit`` or not, by projection.

        Returns
        -------
        float
            ``‖X − P(X)‖ / ‖X − mean_‖`` in the Frobenius norm: 0 is perfect, 1 is no better
            than the mean.
        """
        check_is_fitted(self)
        X = checks.check_rows(self, X, reset=False, dtype=[np.float64, np.float32])
        lost = total = 0.0
        for _, block in gram.row_blocks(X):
            block = block - self.mean_
            lost += float(np.sum((block - block @ self.components_.T @ self.components_) ** 2))
            total += float(np.sum(block**2))
        return float(np.sqrt(lost / total)) if total else 0.0

    def truncated(self, rank: int) -> Self:
        """The same decomposition with only its first `rank` modes: modes are nested in the rank."""
        check_is_fitted(self)
        if not 1 <= rank <= self.rank_:
            raise ValueError(f"rank must be between 1 and {self.rank_}, but it is {rank}.")
        short = type(self)(n_components=rank, center=self.center)
        by_mode = ("components_", "singular_values_", "explained_variance_ratio_")
        for name, value in vars(self).items():
            if name.endswith("_"):
                setattr(short, name, value[:rank] if name in by_mode else value)
        short.rank_ = rank
        return short

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _decompose_svd(X: NDArray, mean: NDArray) -> tuple[NDArray, Any]:
    """All singular values, and a function giving the first k right singular vectors as rows."""
    _, singular_values, Vt = linalg.svd(
        X.astype(np.float64) - mean, full_matrices=False, overwrite_a=True, check_finite=False
    )
    return singular_values, lambda k: Vt[:k].copy()


def _decompose_gram(X: Any, mean: NDArray) -> tuple[NDArray, Any]:
    n_time, n_space = X.shape
    K = gram.time_gram(X, mean) if n_time <= n_space else gram.space_gram(X, mean)
    values, vectors = gram.descending_eigh(K)
    singular_values = np.sqrt(np.maximum(values, 0.0))

    def rows_of(k: int) -> NDArray:
        if n_time > n_space:
            return vectors[:, :k].T.copy()
        rows = np.empty((k, n_space))
        for columns, block in gram.column_blocks(X):
            rows[:, columns] = vectors[:, :k].T @ (block - mean[columns])
        # Dividing by the singular values would leave the weak modes short of orthogonal.
        L = linalg.cholesky(rows @ rows.T, lower=True)
        return linalg.solve_triangular(L, rows, lower=True, overwrite_b=True)

    return singular_values, rows_of
