"""Proper orthogonal decomposition (principal components, empirical orthogonal functions)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from dask.utils import parse_bytes
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Compressor
from rom.compress import gram, one_pass, streaming, two_pass
from rom.compress.solvers import Decomposition, Wanted, choose_solver, decompose
from rom.data.scale import Scale

# What `tol` and `max_memory` mean where they are not given.
TOLERANCE = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 1e-6}
ONE_PASS_TOLERANCE = 1e-3
MAX_MEMORY = 2 * 10**9

Solver = Literal["auto", "svd", "qr", "gram", "krylov", "incremental"]


class POD(Compressor):
    """Best linear subspace of a set of snapshots in the Euclidean norm.

    Parameters
    ----------
    n_components : int, float or None, default=None
        The rank (int), the fraction of the energy (sum of squared singular values) to keep
        (float in (0, 1)), or all modes that rounding leaves meaningful (None).
    center : bool, default=True
        Remove the mean over time first.
    solver : {"auto", "svd", "qr", "gram", "krylov", "incremental"}, default="auto"
        ``svd``: LAPACK on a centred copy. ``qr``: the triangular factor, block by block; resolves
        singular values to machine precision. ``gram``: the method of snapshots, block by block;
        resolves them to about 1e-8 of the largest. ``krylov``: block Krylov iteration, stopped by
        its measured error; the fastest for few modes of many snapshots (int `n_components`).
        ``incremental``: one pass over the rows, truncating on the way; for lazy snapshots, whose
        ``gram`` takes two.
        ``auto`` takes ``svd`` for small arrays, ``krylov`` or ``gram`` by cost for large ones
        (``gram`` after ``krylov`` where the spectrum falls too slowly for it, ``qr`` after
        ``gram`` where that did not resolve what was asked for), and for lazy ones ``gram`` if
        each chunk holds all times, else ``incremental``.
    tol : float or None, default=None
        Relative error wanted of the singular values: ``krylov`` iterates until its estimate is
        below, ``incremental`` warns where its estimate is above. None: 1e-8 in float64, 1e-6 in
        float32, and 1e-3 for ``incremental``.
    max_memory : int, str or None, default=None
        Memory that lazy snapshots may be read with, in bytes or as "1.5GB"; what the modes
        themselves need counts. Of any snapshots, what `krylov` may keep of its products. None:
        2 GB.

    Attributes
    ----------
    rank_ : int
        Number of modes kept.
    components_ : ndarray, shape (rank_, n_space)
        Orthonormal modes, one per row, by decreasing energy. Their sign is fixed: the entry of
        largest magnitude is positive.
    mean_ : ndarray, shape (n_space,)
        Mean over time, in float64 always: anomalies are often small beside it. Zero with
        ``center=False``.
    singular_values_ : ndarray, shape (rank_,)
        Singular values of the (centred) snapshots.
    singular_value_error_ : ndarray, shape (rank_,)
        Estimated error of each: of rounding for direct solvers, measured for iterative ones.
    explained_variance_ratio_ : ndarray, shape (rank_,)
        Fraction of the total energy in each mode.
    energy_ : float
        Sum of all squared singular values.
    solver_ : str
        The solver used; "given" by :meth:`from_factors`.
    n_passes_ : int
        How often the snapshots were read.
    n_samples_seen_ : int
        Number of snapshots behind the fit.
    spare_ : ndarray, shape (n_spare, n_space)
        What ``incremental`` and :meth:`partial_fit` keep beyond the modes, times its singular
        values, so that a weak mode can still grow.
    discarded_ : float
        Bound on what a truncation took from any squared singular value, so that singular value
        k lies between its estimate and ``sqrt(singular_values_[k]**2 + discarded_)`` up to
        rounding; 0 for the other solvers.

    Raises
    ------
    ValueError
        By a fit: if `n_components` is out of its range, above ``min(n_time, n_space)`` or above
        the numerical rank of the snapshots; if all snapshots are equal; if the solver cannot read
        the snapshots as they are chunked, or not in `max_memory`; or if the data are refused (see
        :meth:`fit`).

    Warns
    -----
    ConvergenceWarning
        If the snapshots were only read in a way that cannot give the accuracy asked for.

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

    _over_cells: ClassVar[dict[str, str | None]] = {**Compressor._over_cells, "spare_": "spare"}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            None,
        ],
        "center": ["boolean"],
        "solver": [StrOptions({"auto", "svd", "qr", "gram", "krylov", "incremental"})],
        "tol": [Interval(Real, 0, 1, closed="neither"), None],
        "max_memory": [Interval(Integral, 1, None, closed="left"), str, None],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        center: bool = True,
        solver: Solver = "auto",
        tol: float | None = None,
        max_memory: int | str | None = None,
    ) -> None:
        self.n_components = n_components
        self.center = center
        self.solver = solver
        self.tol = tol
        self.max_memory = max_memory

    def _fit(self, X: Any) -> None:
        self._decompose(X)

    def _fit_transform(self, X: Any, y: ArrayLike | None) -> NDArray:
        return self._decompose(X).coefficients

    def _decompose(self, X: Any) -> Decomposition:
        if isinstance(self.n_components, Integral) and self.n_components > min(X.shape):
            raise ValueError(
                f"n_components={self.n_components} must be at most min(n_time, n_space) = "
                f"{min(X.shape)}: X is ({X.shape[0]}, {X.shape[1]})."
            )
        wanted = self._wanted(X)
        solver = choose_solver(X, wanted)
        if solver == "incremental":
            found = one_pass.decompose(X, wanted)
        elif solver == "gram" and two_pass.holds_all_times(X):
            found = two_pass.decompose(X, wanted)
        else:
            found = decompose(X, wanted, solver)
        self._keep(found, X.shape[0])
        return found

    def can_scale(self, X: Any, scale: Scale) -> bool:
        """Whether :meth:`fit_scaled` takes rows `X`: lazy ones, with a scaling about the mean."""
        if not checks.is_lazy(X) or (scale.scale and not scale.center):
            return False
        solver = choose_solver(X, self._wanted(X))
        return solver == "incremental" or (solver == "gram" and two_pass.holds_all_times(X))

    def fit_scaled(self, X: Any, scaling: one_pass.Scaling) -> NDArray:
        """Fit a scaling and the modes of the scaled rows, in the same passes over the raw rows.

        Parameters
        ----------
        X : dask array, shape (n_time, n_space)
            Raw rows, of which :meth:`can_scale` is true.
        scaling : Scaling
            The :class:`rom.Scale` in it is fitted in place.

        Returns
        -------
        ndarray, shape (n_time, rank_)
            Latent states.
        """
        X = self._check(X, reset=True)
        wanted = self._wanted(X)
        lazily = two_pass if choose_solver(X, wanted) == "gram" else one_pass
        found = lazily.decompose(X, wanted, scaling)
        self._keep(found, X.shape[0])
        return found.coefficients

    def partial_fit(self, X: ArrayLike, y: None = None) -> Self:
        """Go on with more snapshots, each seen once: for streams that never end.

        The modes and the mean become those of all snapshots so far, except for what a truncation
        discarded: no squared singular value lost more than `discarded_`. The sequence of modes
        starts from any fit, and grows with the first calls where they have few rows.

        Parameters
        ----------
        X : ndarray, shape (n_time, n_space)
            The next snapshots; the more at a time, the faster.
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            As by :meth:`fit`.
        """
        fresh = not hasattr(self, "components_")
        X = np.asarray(self._check(X, reset=fresh, min_rows=1))
        if fresh:
            self._keep(streaming.nothing(X.shape[1], X.dtype), 0)
        streaming.update(self, X)
        return self

    @classmethod
    def from_factors(
        cls,
        components: ArrayLike,
        singular_values: ArrayLike,
        mean: ArrayLike | None = None,
        *,
        n_samples: int,
        energy: float | None = None,
    ) -> Self:
        """A fitted POD from a singular value decomposition computed elsewhere.

        It encodes, decodes, and goes on with :meth:`partial_fit`.

        Parameters
        ----------
        components : array_like, shape (rank, n_space)
            Orthonormal rows.
        singular_values : array_like, shape (rank,)
            Of the snapshots, without their mean if that is given; the largest first.
        mean : array_like, shape (n_space,), optional
            The mean that was removed; none where not given.
        n_samples : int
            Number of snapshots.
        energy : float, optional
            Sum of all squared singular values; of the given ones where not given.

        Returns
        -------
        POD

        Raises
        ------
        ValueError
            If the shapes do not fit, the rows are not orthonormal, or the values do not decrease.

        Examples
        --------
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(30, 8))
        >>> U, s, Vt = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
        >>> pod = POD.from_factors(Vt[:2], s[:2], X.mean(axis=0), n_samples=30)
        >>> bool(np.allclose(pod.singular_values_, POD(2).fit(X).singular_values_))
        True
        """
        found = streaming.from_factors(components, singular_values, mean, energy)
        pod = cls(len(found.components), center=mean is not None)
        pod.n_features_in_ = found.components.shape[1]
        pod._keep(found, n_samples)
        return pod

    def _wanted(self, X: Any) -> Wanted:
        in_one_pass = checks.is_lazy(X) and self.solver != "krylov"
        tol = self.tol or (ONE_PASS_TOLERANCE if in_one_pass else TOLERANCE[np.dtype(X.dtype)])
        memory = MAX_MEMORY if self.max_memory is None else _bytes(self.max_memory)
        return Wanted(self.n_components, self.center, self.solver, tol, memory)

    def _keep(self, found: Decomposition, n_time: int) -> None:
        self.components_ = found.components
        self.mean_ = found.mean.astype(np.float64, copy=False)
        self.rank_ = len(found.components)
        self.singular_values_, self.singular_value_error_ = found.values, found.error
        self.energy_ = found.energy
        self.explained_variance_ratio_ = found.values**2 / (found.energy or 1.0)
        self.solver_, self.n_passes_ = found.solver, found.n_passes
        self.spare_, self.discarded_ = found.spare, found.discarded
        self.n_samples_seen_ = n_time

    def _transform(self, X: Any) -> NDArray:
        Z = np.empty((X.shape[0], self.rank_), np.result_type(X.dtype, self.components_.dtype))
        for part, block in gram.row_blocks(X):
            Z[part] = (block - self.mean_) @ self.components_.T
        return Z

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        X = Z @ self.components_
        return np.add(X, self.mean_, out=X, casting="same_kind")

    def projection_error(self, X: Any) -> float:
        """Relative error of states `X` (n_time, n_space), seen in ``fit`` or not, by projection.

        Returns
        -------
        float
            ``‖X − P(X)‖ / ‖X − mean_‖`` in the Frobenius norm: 0 is perfect, 1 is no better
            than the mean.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)
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
        short = type(self)(**(self.get_params() | {"n_components": rank}))
        by_mode = (
            "components_",
            "singular_values_",
            "singular_value_error_",
            "explained_variance_ratio_",
        )
        for name, value in vars(self).items():
            if name.endswith("_"):
                setattr(short, name, value[:rank] if name in by_mode else value)
        short.rank_ = rank
        dropped = self.components_[rank:] * self.singular_values_[rank:, None]
        short.spare_ = np.vstack([dropped.astype(self.spare_.dtype), self.spare_])
        return short

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _bytes(max_memory: int | str) -> int:
    try:
        found = int(parse_bytes(max_memory))
    except ValueError:
        found = 0
    if found < 1:
        raise ValueError(
            "max_memory must be a positive number of bytes, such as 2_000_000_000 or '2GB', but "
            f"it is {max_memory!r}."
        )
    return found
