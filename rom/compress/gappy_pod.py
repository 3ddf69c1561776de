"""Proper orthogonal decomposition of snapshots with missing values."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Compressor
from rom.compress import gram
from rom.compress import variational_pca as vb

# Sweeps with the held-out cells back among the data, once the rank is settled.
LAST_SWEEPS = 2
LARGEST_LAZY_BYTES = 2**31


class GappyPOD(Compressor):
    """POD of snapshots of which some cells are missing (NaN): isolated ones, or moving gaps.

    The model is ``x = mean + components^T z + noise`` with independent normal latents, loadings
    and noise. Latents and loadings get a posterior in turn, sweep by sweep (variational Bayes), so
    that a mode seen in few cells is held back instead of overfitted. The number of modes grows
    from one for as long as the error on held-out observed cells falls.

    Where that number is larger than `n_components`, the modes past it are kept beside: they take
    up, in :meth:`transform`, what would pass for the kept modes in an incomplete row.

    Parameters
    ----------
    n_components : int or None, default=None
        The rank, or as many modes as the held-out cells support (None).
    max_iter : int, default=20
        Most sweeps at each trial rank.
    tol : float, default=0.01
        A trial rank, or a sweep, that lowers the held-out error by less than this fraction is
        the last.
    random_state : int, RandomState instance or None, default=None
        Chooses the held-out cells.

    Attributes
    ----------
    rank_ : int
        Number of modes kept.
    components_ : ndarray, shape (rank_, n_space)
        Orthonormal modes, one per row, by decreasing energy; the entry of largest magnitude of
        each is positive.
    mean_ : ndarray, shape (n_space,)
        Mean over time, estimated with the gaps filled.
    singular_values_ : ndarray, shape (rank_,)
        Estimated singular values of the centred complete snapshots, ``sqrt(n_time *
        latent_variance_)``.
    latent_variance_ : ndarray, shape (rank_,)
        Prior variance of each latent.
    noise_variance_ : float
        Variance of what no mode holds, the same for every cell.
    correlated_cells_ : int
        How many cells count as one observation of the latents, since neighbours share what no
        mode holds: the power of two at which held-out errors agree with :meth:`variance`.
    fill_components_ : ndarray, shape (n_fill, n_space)
        All modes supported by the held-out cells; the first `rank_` are `components_`.
    fill_variance_ : ndarray, shape (n_fill,)
        Prior variance of the latent of each of them.
    fill_uncertainty_ : ndarray, shape (n_fill, n_space)
        Posterior variance of each entry of `fill_components_`.
    mean_uncertainty_ : ndarray, shape (n_space,)
        Posterior variance of `mean_`.
    held_out_error_ : float
        Root mean square error on the held-out cells, before they were put back.
    n_iter_ : int
        Sweeps over all trial ranks.

    Raises
    ------
    ValueError
        By a fit: if `n_components` is out of its range, above ``min(n_time, n_space) - 1`` or
        above the number of modes that the snapshots hold; if a column is NaN at all times; if no
        column holds two values; if all snapshots are equal; or if `X` is a dask array larger than
        2 GiB in float64, since it is loaded.

    Notes
    -----
    A row is encoded by its posterior mean given the observed cells. A row without any gives zero,
    the prior mean. A complete row gives its projection on the modes times ``latent_variance_ /
    (latent_variance_ + correlated_cells_ * noise_variance_)``, nearly one for all but the weakest
    modes: the first sums over all cells, the second is that of a few.

    A sweep costs ``n_time * n_space * n_fill**2 + n_space * n_fill**3`` multiplications.

    References
    ----------
    Everson & Sirovich (1995), Karhunen–Loève procedure for gappy data, J. Opt. Soc. Am. A 12.
    Beckers & Rixen (2003), EOF calculations and data filling from incomplete oceanographic data
    sets, J. Atmos. Oceanic Technol. 20 (held-out cells). Ilin & Raiko (2010), Practical approaches
    to principal component analysis in the presence of missing values, J. Mach. Learn. Res. 11
    (variational Bayes).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 80)) + 0.01 * rng.normal(size=(60, 80))
    >>> gappy = np.where(rng.random(X.shape) < 0.4, np.nan, X)
    >>> pod = GappyPOD(random_state=0).fit(gappy)
    >>> error = pod.reconstruct(gappy) - X
    >>> pod.rank_, bool(np.sqrt((error**2).mean()) < 0.01)
    (2, True)
    """

    _over_cells: ClassVar[dict[str, str | None]] = {
        "components_": "mode",
        "mean_": None,
        "fill_components_": "fill_mode",
        "fill_uncertainty_": "fill_mode",
        "mean_uncertainty_": None,
    }

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        max_iter: int = 20,
        tol: float = 1e-2,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _fit(self, X: Any) -> None:
        most = max(1, min(X.shape) - 1)
        if self.n_components is not None and self.n_components > most:
            raise ValueError(
                f"n_components={self.n_components} must be at most min(n_time, n_space) - 1 = "
                f"{most}: X is ({X.shape[0]}, {X.shape[1]})."
            )
        data, offset = _read(X)
        found = vb.grow(
            data,
            range(self.n_components or 1, most + 1),
            max_iter=self.max_iter,
            tol=self.tol,
            rng=check_random_state(self.random_state),
        )
        self.n_iter_, self.held_out_error_ = found.n_sweeps, found.error
        self._store(found.shown, offset, found.model)
        self._count_correlated_cells(data.values + offset, found)
        model = found.model
        for _ in range(LAST_SWEEPS):
            model = vb.sweep(data, model)
        self._store(data, offset, model)
        for name in self._over_cells:
            setattr(self, name, getattr(self, name).astype(X.dtype))

    def _store(self, data: vb.Data, offset: NDArray, model: vb.Model) -> None:
        _, _, Wt = linalg.svd(model.loadings[:, 1:], full_matrices=False)
        model = model.rotated(Wt.T)
        loadings, _, uncertainty = vb.update_loadings(data, model)
        energy = np.sum(loadings[:, 1:] ** 2, axis=0)
        # A mode less certain than it is strong says nothing.
        supported = max(1, int(np.sum(energy > uncertainty[1:].sum(axis=1))))
        self.rank_ = self.n_components or supported
        n = max(self.rank_, supported)
        if energy[n - 1] < model.smallest:
            raise ValueError(
                f"n_components={n}, but the snapshots hold only "
                f"{np.sum(energy >= model.smallest)} modes above rounding: ask for fewer."
            )
        modes = linalg.qr(loadings[:, 1 : n + 1], mode="economic")[0].T
        self.fill_components_ = modes * gram.fix_signs(modes)[:, None]
        self.fill_variance_ = energy[:n]
        self.fill_uncertainty_ = uncertainty[1 : n + 1] / energy[:n, None]
        self.mean_ = loadings[:, 0] + offset
        self.mean_uncertainty_ = uncertainty[0]
        self.noise_variance_ = float(model.noise)
        self.components_ = self.fill_components_[: self.rank_]
        self.latent_variance_ = self.fill_variance_[: self.rank_]
        self.singular_values_ = np.sqrt(len(data.values) * self.latent_variance_)

    def _count_correlated_cells(self, X: NDArray[np.float64], found: vb.Found) -> None:
        """Double `correlated_cells_` until held-out errors are as large as their variance says."""
        self.correlated_cells_ = 1
        gappy = np.where(found.shown.observed, X, np.nan)
        while self.correlated_cells_ < X.shape[1]:
            error = (self._reconstruct(gappy) - X)[found.held]
            if np.mean(error**2 / self._variance(gappy)[found.held]) < 1:
                break
            self.correlated_cells_ *= 2

    def _transform(self, X: Any) -> NDArray:
        Z = np.empty((X.shape[0], self.rank_), self.components_.dtype)
        for rows, _, latents, _ in self._posteriors(X):
            Z[rows] = latents[:, : self.rank_]
        return Z

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        return Z @ self.components_ + self.mean_

    def reconstruct(self, X: Any) -> NDArray:
        """Rows with their gaps filled, from all modes that the held-out cells support.

        Parameters
        ----------
        X : ndarray or dask array, shape (n_time, n_space)
            Snapshots, NaN where missing.

        Returns
        -------
        ndarray, shape (n_time, n_space)
            Observed cells as they are; elsewhere the posterior mean. More than
            ``inverse_transform(transform(X))`` where ``n_components`` is below the number of
            `fill_components_`.
        """
        check_is_fitted(self)
        return self._reconstruct(self._check(X, reset=False))

    def _reconstruct(self, X: Any) -> NDArray:
        filled = np.empty(X.shape, self.components_.dtype)
        for rows, block, latents, _ in self._posteriors(X):
            estimate = latents @ self.fill_components_ + self.mean_
            filled[rows] = np.where(np.isnan(block), estimate, block)
        return filled

    def variance(self, X: Any) -> NDArray:
        """Variance of a value at each cell about the estimate of :meth:`reconstruct`.

        Parameters
        ----------
        X : ndarray or dask array, shape (n_time, n_space)
            Snapshots, NaN where missing.

        Returns
        -------
        ndarray, shape (n_time, n_space)
            Noise, and what is not known of latents, modes and mean. At an observed cell it is
            that of a second observation.
        """
        check_is_fitted(self)
        return self._variance(self._check(X, reset=False))

    def _variance(self, X: Any) -> NDArray:
        variance = np.empty(X.shape, self.components_.dtype)
        floor = self.noise_variance_ + self.mean_uncertainty_
        for rows, _, latents, covariance in self._posteriors(X):
            spread = np.einsum(
                "kj,kj->j", covariance @ self.fill_components_, self.fill_components_
            )
            second_moment = latents**2 + np.diag(covariance)
            variance[rows] = floor + spread + second_moment @ self.fill_uncertainty_
        return variance

    def _posteriors(
        self, X: Any
    ) -> Iterator[tuple[NDArray[np.intp], NDArray, NDArray[np.float64], NDArray[np.float64]]]:
        """For rows with the same gaps: ``(rows, their cells, latents, covariance of latents)``."""
        C = self.fill_components_.astype(np.float64)
        scale = np.sqrt(self.fill_variance_)[:, None]
        noise = self.noise_variance_ * self.correlated_cells_
        width = max(1, gram.BLOCK_BYTES // (8 * X.shape[1]))
        for start in range(0, X.shape[0], width):
            block = np.asarray(X[start : start + width], dtype=np.float64)
            checks.check_finite(block, "X", allow_nan=True)
            observed = ~np.isnan(block)
            centred = np.where(observed, block - self.mean_, 0.0)
            _, first, group = np.unique(
                np.packbits(observed, axis=1), axis=0, return_index=True, return_inverse=True
            )
            for code, row in enumerate(first):
                same = np.flatnonzero(group == code)
                seen = scale * C * observed[row]
                values, V = linalg.eigh(seen @ seen.T)
                V *= 1 / np.sqrt(np.maximum(values, 0.0) + noise)
                root = scale * V
                latents = centred[same] @ seen.T @ V @ root.T
                yield start + same, block[same], latents, noise * root @ root.T

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        return tags


def _read(X: Any) -> tuple[vb.Data, NDArray[np.float64]]:
    """Snapshots less the mean of what each column holds, and that mean."""
    size = 8 * X.shape[0] * X.shape[1]
    if checks.is_lazy(X) and size > LARGEST_LAZY_BYTES:
        raise ValueError(
            f"GappyPOD loads a dask array of at most {LARGEST_LAZY_BYTES / 2**30:.3g} GiB in "
            f"float64, but X {X.shape} takes {size / 2**30:.3g} GiB: take fewer times or cells."
        )
    values = np.array(X, dtype=np.float64)
    checks.check_finite(values, "X", allow_nan=True)
    observed = ~np.isnan(values)
    count = observed.sum(axis=0)
    empty = np.flatnonzero(count == 0)
    if empty.size:
        raise ValueError(
            f"Every column (cell) needs a value at some time, but {empty.size} of {X.shape[1]} "
            f"are NaN at all times, the first of them column {empty[0]}: leave them out."
        )
    if count.max() < 2:
        raise ValueError("Some column (cell) needs values at two times, but none has two.")
    values[~observed] = 0.0
    mean = values.sum(axis=0) / count
    values -= mean * observed
    if np.abs(values).max() <= 1e-14 * np.abs(mean).max():
        raise ValueError("All snapshots are equal: constant data have no modes.")
    return vb.Data(values, observed), mean
