"""Proper orthogonal decomposition of snapshots with missing values."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Compressor
from rom.compress import ar1, gram
from rom.compress import variational_pca as vb

# Sweeps with the held-out cells back among the data, once the rank is settled.
LAST_SWEEPS = 2
# Of expectation maximisation, from no memory.
MEMORY_STEPS = 5
LARGEST_LAZY_BYTES = 2**31


class GappyPOD(Compressor):
    """POD of snapshots of which some cells are missing (NaN): isolated ones, or moving gaps.

    The model is ``x = mean + components^T z + noise`` with independent normal latents, loadings
    and noise. Latents and loadings get a posterior in turn, sweep by sweep (variational Bayes), so
    that a mode seen in few cells is held back instead of overfitted. The number of modes grows
    from one for as long as the error on held-out observed cells falls and the modes are stronger
    than they are uncertain.

    Where that number is larger than `n_components`, the modes past it are kept beside: they take
    up, in :meth:`transform`, what would pass for the kept modes in an incomplete row.

    Rows are taken to follow each other, and each latent to remember its last value: what it keeps
    of it is estimated (about nothing where rows are in no order). :meth:`transform` knows one row
    at a time; :meth:`reconstruct` and :meth:`variance` take their rows as a record and fill a gap
    from the rows before and after it too. A fit takes `y` for the runs of its rows: no memory
    reaches from one row to the next where `y` changes.

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
        mode holds: the power of two that makes the held-out values likeliest.
    fill_components_ : ndarray, shape (n_fill, n_space)
        All modes supported by the held-out cells; the first `rank_` are `components_`.
    fill_variance_ : ndarray, shape (n_fill,)
        Prior variance of the latent of each of them.
    fill_uncertainty_ : ndarray, shape (n_fill, n_space)
        Posterior variance of each entry of `fill_components_`.
    memory_ : ndarray, shape (n_fill,)
        Correlation of the latent of each of them with its own value one row before, from 0.
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
    (variational Bayes). Alvera-Azcárate, Barth, Sirjacobs & Beckers (2009), Enhancing temporal
    correlations in EOF expansions for the reconstruction of missing data using DINEOF, Ocean Sci.
    5; Yu et al. (2009), Gaussian-process factor analysis for low-dimensional single-trial analysis
    of neural population activity, J. Neurophysiol. 102 (memory).

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
        self._fit_rows(X, None)

    def _fit_rows(self, X: Any, y: ArrayLike | None) -> None:
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
        starts = _starts(y, len(data.values))
        self.n_iter_, self.held_out_error_ = found.n_sweeps, found.error
        self._store(found.shown, offset, found.model)
        self._count_correlated_cells(data.values + offset, found, starts)
        model = found.model
        for _ in range(LAST_SWEEPS):
            model = vb.sweep(data, model)
        self._store(data, offset, model)
        self._remember(*self._seen(np.where(data.observed, data.values + offset, np.nan)), starts)
        for name in self._over_cells:
            setattr(self, name, getattr(self, name).astype(X.dtype))

    def _store(self, data: vb.Data, offset: NDArray, model: vb.Model) -> None:
        loadings, uncertainty, supported = vb.principal(data, model)
        energy = np.sum(loadings[:, 1:] ** 2, axis=0)
        supported = max(1, supported)
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

    def _count_correlated_cells(
        self, X: NDArray[np.float64], found: vb.Found, starts: NDArray[np.bool_]
    ) -> None:
        """Double `correlated_cells_` for as long as that makes the held-out values likelier."""
        seen = self._seen(np.where(found.shown.observed, X, np.nan))
        rows = np.flatnonzero(found.held.any(axis=1))
        least, n_cells = np.inf, 1
        while n_cells <= X.shape[1]:
            self.correlated_cells_ = n_cells
            latents = self._remember(*seen, starts)
            misfit = 0.0
            for row in rows.tolist():
                cells = found.held[row]
                estimate, variance = self._at(latents, row, cells)
                misfit += np.sum((estimate - X[row, cells]) ** 2 / variance + np.log(variance))
            if misfit > least:
                break
            least, n_cells = misfit, 2 * n_cells
        self.correlated_cells_ = max(1, n_cells // 2)

    def _remember(
        self, seen: NDArray[np.float64], right: NDArray[np.float64], starts: NDArray[np.bool_]
    ) -> ar1.Posterior:
        """Set `memory_`; latents of unit variance."""
        noise = self.noise_variance_ * self.correlated_cells_
        seen, right = seen / noise, right / noise
        self.memory_ = np.zeros(len(self.fill_variance_))
        for _ in range(MEMORY_STEPS):
            latents = ar1.posterior(seen, right, self.memory_, starts)
            self.memory_ = ar1.likelier_memory(latents, starts)
        return ar1.posterior(seen, right, self.memory_, starts)

    def _transform(self, X: Any) -> NDArray:
        Z = np.empty((X.shape[0], self.rank_), self.components_.dtype)
        scale = np.sqrt(self.latent_variance_)
        noise = self.noise_variance_ * self.correlated_cells_ * np.eye(len(self.fill_variance_))
        for rows, seen, right in self._groups(X):
            latents = linalg.solve(seen + noise, right.T, assume_a="pos").T
            Z[rows] = latents[:, : self.rank_] * scale
        return Z

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        return Z @ self.components_ + self.mean_

    def reconstruct(self, X: Any, *, trajectory: ArrayLike | None = None) -> NDArray:
        """Rows with their gaps filled, from all modes that the held-out cells support.

        Parameters
        ----------
        X : ndarray or dask array, shape (n_time, n_space)
            Snapshots, NaN where missing, one sampling step apart: a missing time is a row of NaN.
        trajectory : array_like, shape (n_time,), optional
            Label of the run that each row belongs to; one run where not given.

        Returns
        -------
        ndarray, shape (n_time, n_space)
            Observed cells as they are; elsewhere the posterior mean given all rows of the run.
            More than ``inverse_transform(transform(X))``, which knows a row alone, and of it the
            first `n_components` modes.

        Raises
        ------
        ValueError
            If `X` is not rows like those of the fit, or `trajectory` not one label per row, with
            those of a run together.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)
        latents = self._smoothed(X, trajectory)
        filled = np.asarray(X, self.components_.dtype).copy()
        for row, values in enumerate(filled):
            gaps = np.isnan(values)
            values[gaps] = self._at(latents, row, gaps)[0]
        return filled

    def variance(self, X: Any, *, trajectory: ArrayLike | None = None) -> NDArray:
        """Variance of a value at each cell about the estimate of :meth:`reconstruct`.

        Parameters
        ----------
        X, trajectory
            As for :meth:`reconstruct`.

        Returns
        -------
        ndarray, shape (n_time, n_space)
            Noise, and what is not known of latents, modes and mean. At an observed cell it is
            that of a second observation.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)
        latents = self._smoothed(X, trajectory)
        variance = np.empty(X.shape, self.components_.dtype)
        for row in range(len(variance)):
            variance[row] = self._at(latents, row, slice(None))[1]
        return variance

    def _smoothed(self, X: Any, trajectory: ArrayLike | None) -> ar1.Posterior:
        starts = _starts(checks.check_trajectory(trajectory, X.shape[0]), X.shape[0])
        noise = self.noise_variance_ * self.correlated_cells_
        seen, right = self._seen(X)
        return ar1.posterior(seen / noise, right / noise, self.memory_, starts)

    def _at(
        self, latents: ar1.Posterior, row: int, cells: slice | NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate and variance at some cells of a row."""
        modes = np.sqrt(self.fill_variance_)[:, None] * self.fill_components_[:, cells]
        z, covariance = latents.mean[row], latents.covariance[row]
        spread = np.einsum("kj,kj->j", covariance @ modes, modes)
        of_modes = self.fill_variance_ * (z**2 + covariance.diagonal())
        unknown = self.mean_uncertainty_[cells] + of_modes @ self.fill_uncertainty_[:, cells]
        return z @ modes + self.mean_[cells], self.noise_variance_ + spread + unknown

    def _seen(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the cells of each row say of its latents: (n_time, n_fill, n_fill), (…, n_fill)."""
        n = len(self.fill_variance_)
        grams, rights = np.empty((X.shape[0], n, n)), np.empty((X.shape[0], n))
        for rows, seen, right in self._groups(X):
            grams[rows], rights[rows] = seen, right
        return grams, rights

    def _groups(
        self, X: Any
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]]:
        """For rows with the same gaps: ``(rows, Gram matrix of the modes seen, products)``.

        Modes are scaled to latents of unit variance.
        """
        modes = np.sqrt(self.fill_variance_)[:, None] * self.fill_components_
        width = max(1, gram.BLOCK_BYTES // (8 * X.shape[1]))
        for start in range(0, X.shape[0], width):
            block = np.asarray(X[start : start + width], dtype=np.float64)
            checks.check_finite(block, "X", allow_nan=True)
            observed = ~np.isnan(block)
            products = np.where(observed, block - self.mean_, 0.0) @ modes.T
            _, first, group = np.unique(
                np.packbits(observed, axis=1), axis=0, return_index=True, return_inverse=True
            )
            for code, row in enumerate(first):
                same = np.flatnonzero(group == code)
                seen = modes[:, observed[row]]
                yield start + same, seen @ seen.T, products[same]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        return tags


def _starts(runs: ArrayLike | None, n_time: int) -> NDArray[np.bool_]:
    """Where a run begins: at the first row, and where the label of the run changes."""
    starts = np.arange(n_time) == 0
    if runs is not None:
        labels = np.asarray(runs).reshape(n_time, -1)
        starts[1:] = np.any(labels[1:] != labels[:-1], axis=1)
    return starts


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
