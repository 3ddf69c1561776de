"""One POD basis for a family of runs, each with its weight."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import StrOptions

from rom import checks
from rom.base import Compressor
from rom.compress import gram
from rom.compress.pod import POD, Solver


class FamilyPOD(Compressor):
    """The subspace that serves a family of runs best, whatever their lengths and energies.

    Plain POD of all rows serves long and energetic runs first. Here run j counts by its weight
    ``w_j``: the basis and the mean minimise ``Σ_j w_j (mean over the rows of run j of
    ‖x − P(x)‖²)``.

    Parameters
    ----------
    n_components : int, float or None, default=None
        The rank of the basis, as in :class:`rom.compress.POD`; a fraction is one of the weighted
        energy.
    weights : {"equal", "energy"}, array_like of shape (n_runs,) or None, default="equal"
        ``equal``: every run counts the same, whatever its length. ``energy``: every run counts by
        its relative error, so that weak runs are served as well as strong ones; the energy of a
        run is its mean square distance from the average of the runs' means (from zero with
        ``center=False``). None: every row counts the same, which is plain POD. An array gives the
        weight of each run in the order in which they first appear.
    center : bool, default=True
        Remove the weighted mean over all rows first: one mean for the whole family.

    Attributes
    ----------
    rank_ : int
        Number of modes.
    components_ : ndarray, shape (rank_, n_space)
        Orthonormal modes, one per row, by decreasing weighted energy.
    mean_ : ndarray, shape (n_space,)
        Weighted mean over all rows; zero with ``center=False``.
    singular_values_, explained_variance_ratio_ : ndarray, shape (rank_,)
        Of the weighted rows: row weights average 1, so that runs that count by their length have
        the singular values of plain POD.
    runs_ : ndarray, shape (n_runs,) or (n_runs, n_params)
        Labels of the runs, by first appearance; a single 0 without `y`.
    weights_ : ndarray, shape (n_runs,)
        Weight of each run; they sum to 1.
    run_errors_ : ndarray, shape (n_runs,)
        Relative projection error of each run, ``‖X − P(X)‖ / ‖X − mean_‖`` in the Frobenius norm:
        which member of the family the basis serves badly.

    Raises
    ------
    ValueError
        By a fit: if `y` does not label every row, or is not finite; if `weights` are not one
        non-negative number per run, not all zero; if a run has no energy to be measured by; or
        where :class:`rom.compress.POD` raises it.

    References
    ----------
    Kunisch & Volkwein (2001), Galerkin proper orthogonal decomposition methods for parabolic
    problems, Numer. Math. 90 (weighted snapshots). Benner, Gugercin & Willcox (2015), A survey of
    projection-based model reduction methods for parametric dynamical systems, SIAM Rev. 57
    (a global basis of concatenated runs).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 50)
    >>> long, short = np.sin(np.arange(300))[:, None], np.cos(np.arange(20))[:, None]
    >>> X = np.concatenate([long * x, 0.1 * short * x**2])
    >>> run = np.repeat(["strong", "weak"], [300, 20])
    >>> for weights in None, "energy":
    ...     print(FamilyPOD(1, weights=weights).fit(X, run).run_errors_.round(2))
    [0.   0.25]
    [0.13 0.13]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": POD._parameter_constraints["n_components"],
        "center": ["boolean"],
        "weights": [StrOptions({"equal", "energy"}), "array-like", None],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        weights: str | ArrayLike | None = "equal",
        center: bool = True,
    ) -> None:
        self.n_components = n_components
        self.weights = weights
        self.center = center

    def _fit(self, X: Any) -> None:
        self._fit_rows(X, None)

    def _fit_rows(self, X: Any, y: ArrayLike | None) -> None:
        self.runs_, run = runs_of(y, X.shape[0])
        lengths = np.bincount(run)
        self.weights_ = self._weigh(X, run, lengths)
        # The same for every row where each run counts by its length.
        of_row = (len(run) * self.weights_ / lengths)[run]
        mean = self._mean(X, of_row)
        fitted = _pod_of_rows(X, mean, of_row, self.n_components)
        self.rank_ = fitted.rank_
        self.mean_ = mean.astype(X.dtype)
        self.components_ = fitted.components_.astype(X.dtype)
        self.singular_values_ = fitted.singular_values_
        self.explained_variance_ratio_ = fitted.explained_variance_ratio_
        self.run_errors_ = self._errors(X, run)

    def _weigh(
        self, X: Any, run: NDArray[np.intp], lengths: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        n_runs = len(lengths)
        if self.weights is None:
            weights = lengths.astype(np.float64)
        elif isinstance(self.weights, str):
            weights = np.ones(n_runs)
            if self.weights == "energy":
                weights = 1 / self._energies(X, run, lengths)
        else:
            weights = np.array(self.weights, dtype=np.float64)
            if weights.shape != (n_runs,) or not np.all(weights >= 0) or not weights.any():
                raise ValueError(
                    f"weights must be {n_runs} non-negative numbers, one per run and not all "
                    f"zero, but they are {self.weights!r}."
                )
        return weights / weights.sum()

    def _energies(
        self, X: Any, run: NDArray[np.intp], lengths: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Mean square (n_runs,) of each run about the average of their means."""
        mean = self._mean(X, (1 / lengths)[run])
        energies = np.zeros(len(lengths))
        for rows, block in gram.row_blocks(X):
            np.add.at(energies, run[rows], _squares(block - mean))
        still = np.flatnonzero(energies == 0)
        if still.size:
            raise ValueError(
                f"weights='energy' needs runs that vary, but all rows of run "
                f"{self.runs_[still[0]]} are {'the mean' if self.center else 'zero'}."
            )
        return energies / lengths

    def _mean(self, X: Any, of_row: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = np.zeros(X.shape[1])
        if self.center:
            for rows, block in gram.row_blocks(X):
                mean += of_row[rows] @ block
        return mean / of_row.sum()

    def _errors(self, X: Any, run: NDArray[np.intp]) -> NDArray[np.float64]:
        lost, total = np.zeros((2, len(self.weights_)))
        for rows, block in gram.row_blocks(X):
            block = block - self.mean_
            np.add.at(total, run[rows], _squares(block))
            block -= block @ self.components_.T @ self.components_
            np.add.at(lost, run[rows], _squares(block))
        return np.sqrt(np.divide(lost, total, out=np.zeros_like(lost), where=total > 0))

    def _transform(self, X: Any) -> NDArray:
        return np.asarray(X @ self.components_.T) - self.mean_ @ self.components_.T

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        return Z @ self.components_ + self.mean_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _pod_of_rows(X: Any, mean: NDArray, of_row: NDArray, n_components: int | float | None) -> POD:
    """POD of the rows ``√weight (x - mean)``, in the dtype of `X`; large ones are never copied."""
    solver: Solver = "auto"
    if not checks.is_lazy(X) and X.nbytes > gram.BLOCK_BYTES:
        import dask.array as da

        width = max(1, gram.BLOCK_BYTES // (X.itemsize * min(X.shape)))
        chunks = (width, -1) if X.shape[0] > X.shape[1] else (-1, width)
        X, solver = da.from_array(X, chunks=chunks, name=False), "gram"
    rows = (X - mean.astype(X.dtype)) * np.sqrt(of_row).astype(X.dtype)[:, np.newaxis]
    return POD(n_components, center=False, solver=solver).fit(rows)


def _squares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared norm of each row."""
    return np.einsum("ij,ij->i", rows, rows)


def runs_of(y: ArrayLike | None, n_rows: int) -> tuple[NDArray, NDArray[np.intp]]:
    """The runs that rows belong to: rows of equal `y` are one run.

    Parameters
    ----------
    y : array_like, shape (n_rows,) or (n_rows, n_params), or None
        Label or parameters of each row; one run where not given.
    n_rows : int
        Number of rows.

    Returns
    -------
    runs : ndarray, shape (n_runs,) or (n_runs, n_params)
        Labels of the runs in the order in which they first appear.
    run : ndarray of int, shape (n_rows,)
        Which of them each row belongs to.
    """
    if y is None:
        return np.zeros(1), np.zeros(n_rows, dtype=np.intp)
    labels = np.asarray(y)
    if labels.ndim not in (1, 2) or len(labels) != n_rows:
        raise ValueError(
            f"y must be ({n_rows},) or ({n_rows}, n_params), one row per row of X, but its shape "
            f"is {labels.shape}."
        )
    columns = labels.reshape(n_rows, -1)
    if columns.dtype.kind == "f":
        checks.check_finite(columns, "y")
    codes: dict[Hashable, int] = {}
    run = np.array([codes.setdefault(tuple(row), len(codes)) for row in columns.tolist()])
    return labels[np.unique(run, return_index=True)[1]], run
