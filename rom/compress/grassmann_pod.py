"""POD bases of runs at several parameters, interpolated to an unseen parameter."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, optimize
from scipy.interpolate import RBFInterpolator
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom.base import Compressor
from rom.compress.family_pod import runs_of
from rom.compress.pod import POD

# A principal angle whose cosine is below this is taken for a right angle: where two subspaces
# have one, no single shortest path joins them.
SMALLEST_COSINE = 1e-7


class GrassmannPOD(Compressor):
    """POD basis at an unseen parameter, from the bases of runs at other parameters.

    Every run gets a basis of its own. Subspaces of one dimension form the Grassmann manifold: the
    basis at a parameter is found by interpolating in the tangent space at the nearest trained
    parameter, which keeps it orthonormal, and depends on the subspaces only. At a trained
    parameter it is the subspace of that run.

    Parameters
    ----------
    n_components : int
        The rank, the same for every run.
    at : float, array_like of shape (n_params,) or None, default=None
        The parameter to give the basis at; the average of the trained parameters where None. For
        others see :meth:`at_parameter`.
    center : bool, default=True
        Remove from each run its own mean first. The means are interpolated like the bases.

    Attributes
    ----------
    rank_ : int
        ``n_components``.
    at_ : ndarray, shape (n_params,)
        The parameter that the basis is for; NaN without `y`.
    components_ : ndarray, shape (rank_, n_space)
        Orthonormal basis at ``at_``. It is turned to agree with the basis of the nearest run, and
        those with each other (see below), so that latent coordinates at different parameters can
        be compared; its rows are not ordered by energy.
    mean_ : ndarray, shape (n_space,)
        Mean at ``at_``.
    parameters_ : ndarray, shape (n_runs, n_params)
        Trained parameters, by first appearance; one NaN without `y`.
    local_components_ : ndarray, shape (n_runs * rank_, n_space)
        The orthonormal bases of the runs, one after the other. The one nearest the average
        parameter holds POD modes; each other one is turned inside its subspace to come as close
        to that as it can (orthogonal Procrustes problem).
    local_means_ : ndarray, shape (n_runs, n_space)
        Means of the runs; zero with ``center=False``.

    Raises
    ------
    ValueError
        By a fit: if `y` or `at` are not finite numbers of one length; if a run cannot be given
        ``n_components`` modes; or if a subspace has a direction orthogonal to all of that of the
        nearest run, so that no shortest path joins them.

    Warns
    -----
    UserWarning
        If the parameter is outside the convex hull of the trained ones: the basis is extrapolated.

    Notes
    -----
    Interpolation is by cubic radial basis functions and a linear polynomial: exact at the trained
    parameters, and along a line the natural cubic spline. Each parameter is scaled by its spread
    over the runs. Parameters that act on a logarithmic scale are best given as logarithms.

    The error of interpolation does not fall with the rank: with many modes and few runs the basis
    of the nearest run or :class:`rom.compress.FamilyPOD` can be better, and so can
    ``center=False``, since an error of the mean is out of the reach of the basis. Leave one run
    out and compare.

    References
    ----------
    Amsallem & Farhat (2008), Interpolation method for adapting reduced-order models and
    application to aeroelasticity, AIAA J. 46. Zimmermann (2021), Manifold interpolation, in Model
    Order Reduction vol. 1, De Gruyter. Bendokat, Zimmermann & Absil (2024), A Grassmann manifold
    handbook, Adv. Comput. Math. 50 (logarithm and exponential).

    Examples
    --------
    >>> import numpy as np
    >>> x, t = np.linspace(-1, 1, 101), np.linspace(0, 1, 20)
    >>> def run(width):
    ...     return np.array([np.exp(-(((x - 0.5 * s) / width) ** 2)) for s in t])
    >>> widths = np.array([0.3, 0.4, 0.5, 0.6])
    >>> X, y = np.concatenate([run(w) for w in widths]), np.repeat(widths, 20)
    >>> family = GrassmannPOD(4).fit(X, y)
    >>> unseen = family.at_parameter(0.45)
    >>> back = unseen.inverse_transform(unseen.transform(run(0.45)))
    >>> bool(np.linalg.norm(back - run(0.45)) < 0.01 * np.linalg.norm(run(0.45)))
    True
    """

    _over_cells: ClassVar[dict[str, str | None]] = {
        **Compressor._over_cells,
        "local_components_": "run_mode",
        "local_means_": "run",
    }
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": POD._parameter_constraints["n_components"][:1],
        "at": [Interval(Real, None, None, closed="neither"), "array-like", None],
        "center": ["boolean"],
    }

    def __init__(
        self, n_components: int, *, at: float | ArrayLike | None = None, center: bool = True
    ) -> None:
        self.n_components = n_components
        self.at = at
        self.center = center

    def _fit(self, X: Any) -> None:
        self._fit_rows(X, None)

    def _fit_rows(self, X: Any, y: ArrayLike | None) -> None:
        self.parameters_, run = _parameters(y, X.shape[0])
        self.rank_ = self.n_components
        n_runs = len(self.parameters_)
        bases = np.empty((n_runs, self.rank_, X.shape[1]), dtype=X.dtype)
        self.local_means_ = np.empty((n_runs, X.shape[1]), dtype=X.dtype)
        for j in range(n_runs):
            pod = self._local_pod(X, np.flatnonzero(run == j), j)
            bases[j], self.local_means_[j] = pod.components_, pod.mean_
        scaled = _scale(self.parameters_, self.parameters_)
        first = bases[np.argmin(np.sum((scaled - scaled.mean(axis=0)) ** 2, axis=1))].copy()
        for j in range(n_runs):
            bases[j] = align(bases[j], first)
        self.local_components_ = bases.reshape(-1, X.shape[1])
        self._interpolate()

    def _local_pod(self, X: Any, rows: NDArray[np.intp], j: int) -> POD:
        together = rows[-1] - rows[0] == len(rows) - 1
        try:
            return POD(self.n_components, center=self.center).fit(
                X[rows[0] : rows[-1] + 1] if together else X[rows]
            )
        except ValueError as error:
            raise ValueError(
                f"The run at y = {self.parameters_[j].tolist()} ({len(rows)} rows) has no basis "
                f"of n_components={self.n_components}: {error}"
            ) from error

    def at_parameter(self, mu: float | ArrayLike) -> Self:
        """The basis at another parameter, as a fitted copy; nothing is fitted again.

        Parameters
        ----------
        mu : float or array_like, shape (n_params,)
            The parameter.

        Returns
        -------
        GrassmannPOD

        Raises
        ------
        ValueError
            As a fit with ``at=mu`` would.
        """
        check_is_fitted(self)
        other = type(self)(self.n_components, at=mu, center=self.center)
        for name, value in vars(self).items():
            if name.endswith("_"):
                setattr(other, name, value)
        other._interpolate()
        return other

    def _interpolate(self) -> None:
        """Set the basis and the mean at the parameter asked for."""
        self.at_ = self._target()
        weights = interpolation_weights(self.parameters_, self.at_)
        scaled = _scale(self.parameters_, np.vstack([self.parameters_, self.at_]))
        nearest = int(np.argmin(np.sum((scaled[:-1] - scaled[-1]) ** 2, axis=1)))
        dtype = self.local_means_.dtype
        bases = self.local_components_.reshape(len(weights), self.rank_, -1)
        base = bases[nearest].astype(np.float64)
        tangent = np.zeros(base.shape)
        for j in np.flatnonzero(np.abs(weights) > 1e-12).tolist():  # none at a trained parameter
            if j != nearest:
                tangent += weights[j] * self._logarithm(base, bases[j], nearest, j)
        self.components_ = grassmann_exp(base, tangent).astype(dtype)
        self.mean_ = (weights @ self.local_means_).astype(dtype)

    def _logarithm(self, base: NDArray, basis: NDArray, nearest: int, j: int) -> NDArray:
        try:
            return grassmann_log(base, basis.astype(np.float64))
        except ValueError as error:
            here, there = self.parameters_[[nearest, j]].tolist()
            raise ValueError(
                f"The subspaces at y = {here} and y = {there} cannot be interpolated: {error} "
                "Add runs between them, or ask for fewer modes."
            ) from error

    def _target(self) -> NDArray[np.float64]:
        if self.at is None:
            return np.asarray(self.parameters_.mean(axis=0))
        if np.isnan(self.parameters_).any():
            raise ValueError("A basis at a parameter needs a fit with y, the parameters of rows.")
        at = np.atleast_1d(np.asarray(self.at, dtype=np.float64))
        if at.shape != self.parameters_.shape[1:] or not np.isfinite(at).all():
            raise ValueError(
                f"The parameter must be {self.parameters_.shape[1]} finite numbers, as in y, but "
                f"it is {self.at!r}."
            )
        if not _in_hull(self.parameters_, at):
            low, high = self.parameters_.min(axis=0), self.parameters_.max(axis=0)
            warnings.warn(
                f"The parameter {at.tolist()} is outside the convex hull of the trained ones, "
                f"which range from {low.tolist()} to {high.tolist()}: the basis is extrapolated.",
                UserWarning,
                stacklevel=4,
            )
        return at

    def _transform(self, X: Any) -> NDArray:
        return np.asarray(X @ self.components_.T) - self.mean_ @ self.components_.T

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        return Z @ self.components_ + self.mean_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _parameters(y: ArrayLike | None, n_rows: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Parameters (n_runs, n_params) of the runs, and the run of each row."""
    if y is None:
        return np.full((1, 1), np.nan), np.zeros(n_rows, dtype=np.intp)
    try:
        numbers = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"y must hold the parameters of each row, as numbers: {error}.") from error
    runs, run = runs_of(numbers, n_rows)
    return runs.reshape(len(runs), -1), run


def _scale(parameters: NDArray, points: NDArray) -> NDArray:
    """`points` (n, n_params) in units of the spread of each column of `parameters`."""
    spread = np.ptp(parameters, axis=0)
    scaled: NDArray = (points - parameters.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def _in_hull(parameters: NDArray, at: NDArray) -> bool:
    """Whether `at` is an average of `parameters` with non-negative weights."""
    scaled = _scale(parameters, np.vstack([parameters, at]))
    sums_to_one = np.ones((1, len(scaled)))
    system = np.vstack([scaled.T, sums_to_one])
    return bool(optimize.nnls(system[:, :-1], system[:, -1])[1] < 1e-8)


def interpolation_weights(parameters: NDArray, at: NDArray) -> NDArray[np.float64]:
    """Weights (n_runs,) that interpolate what is known at `parameters` to the parameter `at`.

    They sum to 1, and are those of the linear polynomial where there are too few `parameters`
    for more. Parameters that vary together count as the fewer they are.
    """
    n_runs = len(parameters)
    if n_runs == 1:
        return np.ones(1)
    scaled = _scale(parameters, np.vstack([parameters, at]))
    _, spread, axes = linalg.svd(scaled[:-1], full_matrices=False)
    independent = spread > 1e-10 * spread[0]
    coordinates = scaled @ axes[independent].T
    known = RBFInterpolator(coordinates[:-1], np.eye(n_runs), kernel="cubic", degree=1)
    weights: NDArray[np.float64] = known(coordinates[-1:])[0]
    return weights


# -- the Grassmann manifold: subspaces, given by orthonormal rows ------------------------------


def align(basis: NDArray, reference: NDArray) -> NDArray[np.float64]:
    """`basis` (rank, n_space) turned inside its subspace to come as close to `reference` as it can.

    The rotation solves the orthogonal Procrustes problem.
    """
    left, _, right = linalg.svd(reference @ basis.T)
    return np.asarray(left @ right @ basis)


def grassmann_log(base: NDArray, basis: NDArray) -> NDArray[np.float64]:
    """Tangent vector (rank, n_space) at the subspace of `base` that leads to that of `basis`.

    Parameters
    ----------
    base, basis : ndarray, shape (rank, n_space)
        Orthonormal rows, in float64.

    Returns
    -------
    ndarray, shape (rank, n_space)
        Its singular values are the principal angles between the subspaces, and its rows are
        orthogonal to those of `base`. It does not depend on the basis that `basis` is.

    Raises
    ------
    ValueError
        If one of the angles is a right angle.
    """
    left, cosines, right = linalg.svd(base @ basis.T)
    if cosines[-1] < SMALLEST_COSINE:
        raise ValueError("a direction of one is orthogonal to the whole of the other.")
    aligned = left @ right @ basis
    normal = aligned - (aligned @ base.T) @ base
    left, sines, directions = linalg.svd(normal, full_matrices=False)
    # Sines tell small angles exactly, cosines large ones.
    angles = np.arctan2(sines, cosines[::-1])
    return np.asarray((left * angles) @ directions)


def grassmann_exp(base: NDArray, tangent: NDArray) -> NDArray[np.float64]:
    """Orthonormal basis (rank, n_space) of the subspace that `tangent` at `base` leads to.

    Of all its bases this is the one closest to `base`, while no angle exceeds a right angle.
    """
    left, angles, directions = linalg.svd(tangent, full_matrices=False)
    return np.asarray(
        (left * np.cos(angles)) @ left.T @ base + (left * np.sin(angles)) @ directions
    )
