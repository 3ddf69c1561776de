"""Hyper-reduction: a nonlinear term from its values at a few points (DEIM, gappy POD)."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from rom import checks
from rom.base import Compressor
from rom.compress.pod import POD


class HyperReduction(Compressor):
    """A POD basis of a nonlinear term, and the few points at which its values suffice.

    A Galerkin model of ``dx/dt = A x + f(x)`` is small, but still evaluates f at every point.
    Fitted on snapshots of f, this compressor gives the latent coordinates of f from its values at
    ``points_`` alone, by interpolation or, with more points than modes, by least squares.

    Parameters
    ----------
    n_components : int, float or None, default=None
        The rank of the basis, as in :class:`rom.compress.POD`.
    method : {"qdeim", "deim"}, default="qdeim"
        How the first ``rank_`` points are chosen. ``qdeim``: column-pivoted QR of the modes, which
        depends on the subspace only. ``deim``: one point a mode, where that mode is least well
        interpolated by the modes and points before it.
    oversampling : int, default=0
        Number of further points. Each is the one that raises most a lower bound of the smallest
        singular value of the modes at the points, so that ``error_constant_`` never grows.
    center : bool, default=False
        Remove the mean over time first. Without it the approximation is linear in f, and a term
        that vanishes at the points stays zero.

    Attributes
    ----------
    rank_ : int
        Number of modes.
    components_ : ndarray, shape (rank_, n_space)
        Orthonormal modes of the nonlinear term, one per row.
    mean_ : ndarray, shape (n_space,)
        Mean over time; zero with ``center=False``.
    singular_values_, explained_variance_ratio_ : ndarray, shape (rank_,)
        As in :class:`rom.compress.POD`.
    points_ : ndarray of int, shape (n_points,)
        Columns at which the term is read, in the order they were chosen;
        ``n_points = rank_ + oversampling``.
    interpolation_ : ndarray, shape (n_points, rank_)
        Takes (centred) values at the points to latent coordinates: the pseudo-inverse of
        ``components_[:, points_]``.
    error_constant_ : float
        ``c = ‖interpolation_‖₂``, at least 1, of the a-priori bound: the error of every row is at
        most c times its distance from the subspace, ``‖f − f̂‖₂ ≤ c ‖f − P(f)‖₂``.

    Raises
    ------
    ValueError
        By a fit: if ``rank_ + oversampling`` is above n_space, or where :class:`rom.compress.POD`
        raises it.

    References
    ----------
    Chaturantabut & Sorensen (2010), Nonlinear model reduction via discrete empirical
    interpolation, SIAM J. Sci. Comput. 32. Drmač & Gugercin (2016), A new selection operator for
    the discrete empirical interpolation method, SIAM J. Sci. Comput. 38 (Q-DEIM). Peherstorfer,
    Drmač & Gugercin (2020), Stability of discrete empirical interpolation and gappy proper
    orthogonal decomposition with randomized and deterministic sampling points, SIAM J. Sci.
    Comput. 42 (further points).

    Examples
    --------
    >>> import numpy as np
    >>> x, mu = np.linspace(0, 1, 200), np.linspace(1, 10, 50)[:, None]
    >>> F = np.exp(-mu * x) * np.sin(np.pi * x)
    >>> hyper = HyperReduction(n_components=6, oversampling=2).fit(F)
    >>> Z = hyper.transform_points(F[:, hyper.points_])  # f evaluated at 8 of 200 points
    >>> bool(np.abs(hyper.inverse_transform(Z) - F).max() < 1e-5)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": POD._parameter_constraints["n_components"],
        "center": ["boolean"],
        "method": [StrOptions({"qdeim", "deim"})],
        "oversampling": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        method: str = "qdeim",
        oversampling: int = 0,
        center: bool = False,
    ) -> None:
        self.n_components = n_components
        self.method = method
        self.oversampling = oversampling
        self.center = center

    def _fit(self, X: Any) -> None:
        pod = POD(self.n_components, center=self.center).fit(X)
        n_points, n_space = pod.rank_ + self.oversampling, X.shape[1]
        if n_points > n_space:
            raise ValueError(
                f"{pod.rank_} modes and oversampling={self.oversampling} ask for {n_points} "
                f"points, but X has only {n_space} columns."
            )
        modes = pod.components_.astype(np.float64)
        points = qdeim_points(modes) if self.method == "qdeim" else deim_points(modes)
        self.points_ = _with_further_points(modes, points, self.oversampling)
        interpolation = linalg.pinv(modes[:, self.points_])
        self.interpolation_ = interpolation.astype(X.dtype)
        self.error_constant_ = float(linalg.norm(interpolation, 2))
        for name in ("components_", "singular_values_", "explained_variance_ratio_"):
            setattr(self, name, getattr(pod, name))
        self.mean_ = pod.mean_.astype(X.dtype)
        self.rank_ = pod.rank_

    def _transform(self, X: Any) -> NDArray:
        ascending = np.argsort(self.points_)  # lazy arrays are read in order of their columns
        values = np.empty((X.shape[0], len(self.points_)), dtype=X.dtype)
        values[:, ascending] = np.asarray(X[:, self.points_[ascending]])
        return self._interpolate(values)

    def transform_points(self, F: ArrayLike) -> NDArray:
        """Latent states from the values of the nonlinear term at ``points_`` alone.

        Parameters
        ----------
        F : array_like, shape (n_time, n_points)
            Values of the term; column k belongs to column ``points_[k]`` of the snapshots.

        Returns
        -------
        ndarray, shape (n_time, rank_)
            The same as :meth:`transform` gives from whole rows.

        Raises
        ------
        ValueError
            If `F` has another number of columns, or is not finite.
        """
        check_is_fitted(self)
        values = np.asarray(
            check_array(F, dtype=[np.float64, np.float32], ensure_all_finite=False, input_name="F")
        )
        checks.check_finite(values, "F")
        if values.shape[1] != len(self.points_):
            raise ValueError(
                f"F must be (n_time, {len(self.points_)}), one column per point of points_, but "
                f"its shape is {values.shape}."
            )
        return self._interpolate(values)

    def _interpolate(self, values: NDArray) -> NDArray:
        return (values - self.mean_[self.points_]) @ self.interpolation_

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        return Z @ self.components_ + self.mean_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def qdeim_points(modes: NDArray[np.float64]) -> NDArray[np.intp]:
    """Interpolation points (rank,) of `modes` (rank, n_space): pivots of a QR decomposition."""
    _, pivots = linalg.qr(modes, mode="r", pivoting=True, check_finite=False)
    return np.asarray(pivots[: len(modes)], dtype=np.intp)


def deim_points(modes: NDArray[np.float64]) -> NDArray[np.intp]:
    """Interpolation points (rank,) of `modes` (rank, n_space), greedy: one a mode.

    The residual of a mode interpolated by those before it is what elimination leaves of it, so
    the points are the pivot rows of an LU decomposition (Sorensen & Embree 2016).
    """
    row_in_factor, _, _ = linalg.lu(modes.T, p_indices=True, check_finite=False)
    return np.argsort(row_in_factor)[: len(modes)]


def _with_further_points(
    modes: NDArray[np.float64], points: NDArray[np.intp], n_further: int
) -> NDArray[np.intp]:
    """`points` and `n_further` more, each the best by a bound of the smallest eigenvalue.

    With G the Gram matrix of the modes at the points, λ its smallest eigenvalue, g the gap to the
    next and v the eigenvector, a point where the modes are c raises λ by at least
    ``(s − √(s² − 4 g (vᵀc)²)) / 2`` with ``s = g + ‖c‖²``. Written as a quotient, and without the
    factor 2 g common to all points, it does not cancel and still ranks them where g is zero.
    """
    size = np.sum(modes**2, axis=0)
    for _ in range(n_further):
        directions, singular, _ = linalg.svd(modes[:, points], full_matrices=False)
        along = (directions[:, -1] @ modes) ** 2
        gain = along
        if len(modes) > 1:
            gap = singular[-2] ** 2 - singular[-1] ** 2
            s = gap + size
            root = np.sqrt(np.maximum(s**2 - 4 * gap * along, 0.0))
            gain = along / np.maximum(s + root, np.finfo(np.float64).tiny)
        gain[points] = -1.0
        points = np.append(points, np.argmax(gain))
    return points
