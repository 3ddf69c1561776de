"""Ways to the singular value decomposition of snapshots, and the choice among them."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.exceptions import ConvergenceWarning

from rom import checks
from rom.compress import gram
from rom.compress.gram import Centred, Triplets
from rom.compress.krylov import leading_left

# Below this many multiplications LAPACK's SVD of a centred copy is fast enough and resolves
# singular values to machine precision; above it the Gram matrix is about ten times faster.
DIRECT_SVD_COST = 2e9
# A Krylov sweep costs four multiplications a number and column, the Gram matrix one a number and
# time, at nearly twice the rate because its factors are not thin.
KRYLOV_TIMES_PER_MODE = 20
# Rows that it may keep, per mode: those of two sweeps.
KRYLOV_ROWS_PER_MODE = 3
EPS = float(np.finfo(np.float64).eps)
# Values whose squares may be summed without over- or underflow, and the reciprocals of these.
SQUARES_FIT = {np.dtype(np.float64): 1e140, np.dtype(np.float32): 1e15}
# Spare vectors that take up the error of single precision products.
OVERSAMPLING = 8


class Wanted(NamedTuple):
    """What is asked of a decomposition; see :class:`rom.POD`."""

    n_components: int | float | None
    center: bool
    solver: str
    tol: float
    max_memory: int

    @property
    def number(self) -> int:
        """The number of modes asked for; 0 where it follows from the data."""
        return int(self.n_components) if isinstance(self.n_components, Integral) else 0


class Decomposition(NamedTuple):
    """Centred snapshots as ``coefficients @ components``, truncated."""

    components: NDArray[Any]
    """(rank, n_space), orthonormal rows."""
    values: NDArray[np.float64]
    """Singular values (rank,)."""
    error: NDArray[np.float64]
    """Estimated error of each (rank,)."""
    coefficients: NDArray[Any]
    """(n_time, rank): latent states."""
    mean: NDArray[np.float64]
    """(n_space,)."""
    energy: float
    """Sum of all squared singular values."""
    solver: str
    n_passes: int
    spare: NDArray[Any]
    """(n_spare, n_space): rows kept beyond the components, times their singular values."""
    discarded: float
    """Bound on what truncations took from any squared singular value."""


def choose_solver(X: Any, wanted: Wanted) -> str:
    """The solver for snapshots of this shape and chunking."""
    if wanted.solver == "krylov" and not wanted.number:
        raise ValueError(
            "solver='krylov' needs the number of modes: n_components must be an int, but it is "
            f"{wanted.n_components}."
        )
    if checks.is_lazy(X):
        return _choose_lazy_solver(X, wanted)
    if wanted.solver != "auto":
        return wanted.solver
    p, q = sorted(X.shape)
    if float(p) ** 2 * q <= DIRECT_SVD_COST:
        return "svd"
    return "krylov" if wanted.number and p > KRYLOV_TIMES_PER_MODE * wanted.number else "gram"


def _choose_lazy_solver(X: Any, wanted: Wanted) -> str:
    all_times = X.numblocks[0] == 1 and X.numblocks[1] > 1
    if wanted.solver == "auto":
        return "gram" if all_times and X.shape[0] <= X.shape[1] else "incremental"
    if wanted.solver == "svd":
        raise ValueError("solver='svd' holds a copy of all snapshots: load them, or use 'qr'.")
    if wanted.solver != "incremental" and X.shape[0] <= X.shape[1] and not all_times:
        raise ValueError(
            f"solver='{wanted.solver}' reads blocks of cells at all times, but X has "
            f"{X.numblocks[0]} chunks along time: use 'incremental', or store the data in chunks "
            "that span all times."
        )
    return wanted.solver


def decompose(X: Any, wanted: Wanted, solver: str) -> Decomposition:
    """Decompose snapshots (n_time, n_space), read by blocks of the longer side."""
    if solver == "svd":
        return _svd(X, wanted)
    A = Centred(X, wanted.center)
    _check_range(A)
    found = {"gram": _gram, "qr": _qr, "krylov": _krylov}[solver](A, wanted)
    if solver == "krylov" and wanted.solver == "auto" and found.error.max() > wanted.tol:
        solver, found = "gram", _gram(A, wanted)  # the spectrum falls too slowly for few sweeps
    if found.rank < wanted.number:
        if wanted.solver == "auto" and not checks.is_lazy(X):
            return decompose(X, wanted, "qr")
        found = warn_unresolved(wanted, found, solver, A.dtype)
    try:
        triplets, energy = gram.ritz(A, found.vectors, found.rank, found.rows)
    except linalg.LinAlgError as failure:
        raise ValueError(
            f"These snapshots have numerical rank below {found.vectors.shape[1]}: ask for fewer "
            "modes."
        ) from failure
    values = triplets.values[: found.rank]
    error = found.error[: found.rank] * values + rounding(triplets, A.dtype)[: found.rank]
    return decomposition(
        A.X, triplets, found.rank, error, A.mean, energy, solver, A.n_passes, A.transposed
    )


def _check_range(A: Centred) -> None:
    """Refuse snapshots whose squares over- or underflow."""
    some = A.probe()
    largest, limit = float(np.abs(some).max(initial=0.0)), SQUARES_FIT[A.dtype]
    if largest and not 1 / limit < largest < limit:
        raise ValueError(
            f"The largest snapshots are about {largest:.1e}, whose squares leave the range of "
            f"{A.dtype}: scale them to values between {1 / limit:.0e} and {limit:.0e} "
            "(rom.Scale does)."
        )


def rounding(triplets: Triplets, dtype: Any) -> NDArray[np.float64]:
    """What rounding may do to the singular values of products with left vectors, in `dtype`."""
    values, eps = triplets.values, float(np.finfo(dtype).eps)
    size: NDArray[np.float64] = np.full_like(values, EPS * len(triplets.left) ** 0.5 * values[0])
    if eps > EPS:
        size += eps * values[0] + (eps * values[0]) ** 2 / values
    return size


class Left(NamedTuple):
    """Left singular vectors."""

    vectors: NDArray[np.float64]
    """(p, l), orthonormal columns; l may be more than the rank."""
    rank: int
    error: NDArray[np.float64]
    """Estimated relative error (l,) of the singular values."""
    rows: NDArray[Any] | None = None
    """Products (m, q) of the first m with the snapshots, where they are known."""


def _svd(X: NDArray[Any], wanted: Wanted) -> Decomposition:
    mean = X.mean(axis=0, dtype=np.float64) if wanted.center else np.zeros(X.shape[1])
    U, values, Vt = linalg.svd(
        X.astype(np.float64) - mean, full_matrices=False, overwrite_a=True, check_finite=False
    )
    energy = float(values @ values)
    rank = choose_rank(values, energy, wanted.n_components, resolved("svd", len(values), X.dtype))
    return decomposition(
        X,
        Triplets(U, values, Vt),
        rank,
        4 * EPS * len(values) ** 0.5 * values[0],
        mean,
        energy,
        "svd",
        1,
    )


def _gram(A: Centred, wanted: Wanted) -> Left:
    return left_of_gram(gram.gram(A), A.dtype, wanted)


def left_of_gram(K: NDArray[np.float64], dtype: Any, wanted: Wanted) -> Left:
    """Left singular vectors from a Gram matrix (lower triangle), whose products were in `dtype`."""
    p = len(K)
    spare = 0 if dtype == np.float64 else OVERSAMPLING
    squares, vectors = gram.largest_eigh(K, min(p, wanted.number + spare) if wanted.number else p)
    values = np.sqrt(np.maximum(squares, 0.0))
    rank = _rank(values, float(np.trace(K)), dtype, wanted, "gram")
    angle = np.finfo(dtype).eps * p**0.5 * values[0] ** 2 / np.maximum(squares, 1e-300)
    length = min(len(values), max(rank, wanted.number) + spare)
    return Left(vectors[:, :length], rank, np.minimum(angle, 1.0) ** 2)


def _qr(A: Centred, wanted: Wanted) -> Left:
    vectors, values, _ = linalg.svd(gram.triangle(A).T)
    rank = choose_rank(
        values, float(values @ values), wanted.n_components, resolved("qr", len(values), A.dtype)
    )
    return Left(vectors[:, :rank], rank, np.zeros(rank))


def _krylov(A: Centred, wanted: Wanted) -> Left:
    most = A.shape[0] // 4 if wanted.solver == "auto" else 0
    row_bytes = A.dtype.itemsize * A.shape[1]
    keep = min(KRYLOV_ROWS_PER_MODE * wanted.number, wanted.max_memory // row_bytes)
    leading = leading_left(A, wanted.number, wanted.tol, most, keep)
    if leading.error.max() > wanted.tol and not most:
        warnings.warn(
            f"Krylov iteration came to rest with singular values known to "
            f"{leading.error.max():.1e}; tol is {wanted.tol:.1e}. solver='gram' or 'qr' is exact.",
            ConvergenceWarning,
            stacklevel=6,
        )
    values, energy = leading.values, float(leading.values @ leading.values)
    rank = _rank(values, energy, A.dtype, wanted, "krylov")
    return Left(leading.vectors, rank, leading.error, leading.rows)


def _rank(
    values: NDArray[np.float64], energy: float, dtype: Any, wanted: Wanted, solver: str
) -> int:
    """The rank asked for, or as much of it as a squared matrix resolves."""
    floor = resolved(solver, 1, dtype)
    possible = int(np.sum(values > floor * values[0])) or 1
    n_components = min(wanted.number, possible) or wanted.n_components
    return choose_rank(values, energy, n_components, floor)


def warn_unresolved(wanted: Wanted, found: Left, solver: str, dtype: Any) -> Left:
    """Warn that modes asked for are below what the solver resolves, and let them be."""
    warnings.warn(
        f"Singular values {found.rank + 1} to {wanted.n_components} are below "
        f"{resolved(solver, 1, dtype):.1e} of the first, which is all that solver '{solver}' "
        "resolves: these modes are noise of rounding. solver='qr' resolves 1e-16.",
        ConvergenceWarning,
        stacklevel=6,
    )
    return found._replace(rank=wanted.number)


def decomposition(
    X: Any,
    triplets: Triplets,
    rank: int,
    error: Any,
    mean: NDArray[np.float64],
    energy: float,
    solver: str,
    n_passes: int,
    transposed: bool = False,
) -> Decomposition:
    """The first `rank` triplets, with the sign of each mode fixed."""
    left, values, right = triplets.left[:, :rank], triplets.values[:rank], triplets.right[:rank]
    components = left.T.astype(X.dtype) if transposed else right.astype(X.dtype, copy=False)
    times = right.T if transposed else left
    signs = gram.fix_signs(components)
    components *= signs[:, None].astype(X.dtype)
    return Decomposition(
        components=components,
        values=values.copy(),
        error=np.broadcast_to(error, rank).copy(),
        coefficients=(times * (values * signs)).astype(X.dtype),
        mean=mean,
        energy=energy,
        solver=solver,
        n_passes=n_passes,
        spare=np.empty((0, X.shape[1]), X.dtype),
        discarded=0.0,
    )


def choose_rank(
    values: NDArray[np.float64], energy: float, n_components: Any, resolved: float
) -> int:
    """The rank that is asked for, given the leading singular values and the energy of all."""
    if not energy > 0 or values[0] == 0:
        raise ValueError(
            "All snapshots are equal, or too small for their squares: constant data have no modes."
        )
    available = int(np.sum(values > resolved * values[0]))
    if n_components is None:
        return available
    if not isinstance(n_components, Integral):
        kept = np.cumsum(values**2) / energy
        return min(int(np.searchsorted(kept, n_components) + 1), available)
    if int(n_components) > available:
        raise ValueError(
            f"n_components={n_components}, but these snapshots have numerical rank {available}: "
            f"singular value {available + 1} is below {resolved:.1e} of the first, the least that "
            "the solver tells from rounding in the precision of the snapshots. Ask for at most "
            f"{available}."
        )
    return int(n_components)


def resolved(solver: str, p: int, dtype: Any) -> float:
    """Fraction of the largest singular value, of p, below which they are lost to rounding.

    Methods that square the snapshots resolve the root of what the others do.
    """
    if solver in ("svd", "qr"):
        return EPS * p**0.5
    return 4 * float(np.finfo(dtype).eps) ** 0.5
