"""Quadratic invariants, kept by projecting a field onto the tangents of their level sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# A gradient that others span up to this part of its square adds nothing to them but rounding, and
# one whose square is this small is zero.
DEPENDENT, SMALLEST = 1e-20, 1e-150
# Newton's method onto the level sets: the most iterations, and the distance left, relative to the
# terms of the invariants, that counts as rounding.
NEWTON_ITERATIONS, ROUNDING = 50, 1e-13


class QuadraticInvariants(NamedTuple):
    """Functions ``I_k(z) = ½ zᵀ Q_k z + b_k · z`` that are constant along every trajectory."""

    quadratic: Array
    """Q, symmetric, (n_invariants, rank, rank)."""
    linear: Array
    """b, (n_invariants, rank)."""

    def values(self, Z: Array) -> Array:
        """The invariants (n_time, n_invariants) of rows `Z` (n_time, rank)."""
        return np.asarray(np.einsum("kij,ni,nj->nk", self.quadratic, Z, Z) / 2 + Z @ self.linear.T)

    def gradients(self, Z: Any) -> list[Any]:
        """Their gradients (n_time, rank) at rows `Z`, an array or, if these are, a tensor."""
        return [Z @ Q + b for Q, b in zip(self.quadratic, self.linear, strict=True)]

    def tangent(self, slopes: Any, Z: Any) -> Any:
        """What is left of `slopes` (n_time, rank) at rows `Z` when no invariant is to change.

        The orthogonal projection onto the tangent space of the level sets: of all slopes that keep
        the invariants, the nearest. Takes tensors too if the coefficients are.
        """
        return tangent(slopes, self.gradients(Z))

    def onto(self, Z: ArrayLike, levels: ArrayLike) -> Array:
        """States near the rows `Z` at which the invariants have these `levels`.

        Newton's method along the gradients.

        Parameters
        ----------
        Z : array_like, shape (n_time, rank)
        levels : array_like, shape (n_invariants,) or (n_time, n_invariants)

        Returns
        -------
        ndarray, shape (n_time, rank)

        Raises
        ------
        ValueError
            If there are no such states near one of the rows.

        Examples
        --------
        >>> circle = quadratic_invariants(2, np.eye(2))
        >>> circle.onto([[3.0, 4.0]], [0.5]).round(6)
        array([[0.6, 0.8]])
        """
        Z = np.array(Z, dtype=np.float64)
        for _ in range(NEWTON_ITERATIONS):
            off = np.asarray(levels) - self.values(Z)
            size = np.einsum("kij,ni,nj->nk", np.abs(self.quadratic), np.abs(Z), np.abs(Z)) / 2
            size += np.abs(Z) @ np.abs(self.linear).T + np.abs(levels)
            if np.all(np.abs(off) <= ROUNDING * size):
                return Z
            G = np.stack(self.gradients(Z), axis=1)
            Z = Z + (np.linalg.pinv(G) @ off[:, :, None])[:, :, 0]
        row = int(np.abs(off).max(axis=1).argmax())
        raise ValueError(
            f"No state near row {row} has the levels asked for: after {NEWTON_ITERATIONS} steps "
            f"the invariants are off by {off[row]}."
        )


def quadratic_invariants(
    rank: int, quadratic: ArrayLike | None = None, linear: ArrayLike | None = None
) -> QuadraticInvariants:
    """Check the coefficients of invariants.

    Parameters
    ----------
    rank : int
        Number of coordinates.
    quadratic : array_like, shape (n_invariants, rank, rank) or (rank, rank), optional
        Matrices; only their symmetric parts matter. Zero by default.
    linear : array_like, shape (n_invariants, rank) or (rank,), optional
        Coefficients of the linear terms. Zero by default.

    Returns
    -------
    QuadraticInvariants

    Raises
    ------
    ValueError
        If nothing is given, a shape does not fit, a number is not finite, or an invariant is zero.
    """
    if quadratic is None and linear is None:
        raise ValueError("Give the invariants: their matrices `quadratic`, `linear`, or both.")
    b = np.zeros((1, rank)) if linear is None else np.array(linear, dtype=np.float64, ndmin=2)
    n = len(b)
    Q = np.zeros((n, rank, rank)) if quadratic is None else np.array(quadratic, np.float64, ndmin=3)
    if linear is None:
        b = np.zeros((len(Q), rank))
    if Q.shape != (len(b), rank, rank) or b.shape != (len(Q), rank):
        raise ValueError(
            f"Expected quadratic of shape (n_invariants, {rank}, {rank}) and linear of shape "
            f"(n_invariants, {rank}), but they have the shapes {Q.shape} and {b.shape}."
        )
    if not (np.isfinite(Q).all() and np.isfinite(b).all()):
        raise ValueError("Invariants must have finite coefficients, but some are NaN or infinite.")
    Q = (Q + Q.transpose(0, 2, 1)) / 2
    zero = np.flatnonzero(~(Q.any(axis=(1, 2)) | b.any(axis=1)))
    if zero.size:
        raise ValueError(f"Invariant {zero[0]} is zero for every state.")
    return QuadraticInvariants(Q, b)


def tangent(slopes: Any, gradients: Sequence[Any]) -> Any:
    """The part of each row of `slopes` at right angles to the same row of all `gradients`.

    Parameters
    ----------
    slopes : array or tensor, shape (n_rows, rank)
    gradients : sequence of the same, shape (n_rows, rank)
        Where one is zero, or spanned by those before it, it takes nothing away.

    Returns
    -------
    array, shape (n_rows, rank)

    References
    ----------
    Celledoni, Leone, Murari & Owren (2023), "Learning Hamiltonians of constrained mechanical
    systems", J. Comput. Appl. Math. 417, 114608. Projection methods: Hairer, Lubich & Wanner
    (2006), Geometric Numerical Integration, ch. IV.4.

    Examples
    --------
    >>> tangent(np.array([[1.0, 1.0]]), [np.array([[0.0, 3.0]])])
    array([[1., 0.]])
    """
    normals: list[tuple[Any, Any]] = []
    for gradient in gradients:
        normal = gradient
        for other, size in normals:
            normal = normal - (normal * other).sum(-1)[:, None] / size * other
        normals.append((normal, _size(normal, gradient)))
    for normal, size in normals:
        slopes = slopes - (slopes * normal).sum(-1)[:, None] / size * normal
    return slopes


def _size(normal: Any, gradient: Any) -> Any:
    """The square of each normal, or much more where only rounding is left of its gradient."""
    whole = (gradient * gradient).sum(-1)[:, None]
    return (normal * normal).sum(-1)[:, None] + DEPENDENT * whole + SMALLEST
