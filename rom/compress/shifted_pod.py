"""Shifted proper orthogonal decomposition: modes that travel with what they describe."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval

from rom import checks
from rom.base import Compressor
from rom.compress import gram
from rom.compress.moving_frames import Frames, search, separate, strongest_modes
from rom.compress.shift import find, mean_shape, moved_back, period, power, shift, superpose

# The templates are drawn from evenly spaced rows: as many as fit here, between these numbers.
SAMPLE_BYTES = 64 * 2**20
SAMPLE_ROWS = (16, 512)


class ShiftedPOD(Compressor):
    """Modes in frames that move with travelling structures, and the displacement of each frame.

    Snapshots are modelled as ``x(t) = Σ_f S(d_f(t)) Σ_j a_j(t) φ_j``: the modes φ of frame f,
    displaced by d_f cells along a periodic, evenly spaced axis. S is a multiplication of the
    discrete Fourier transform, exact for band-limited fields at any fraction of a cell. The latent
    coordinates are the amplitudes a, then the displacements d.

    No mean is removed: a mean over time at fixed places smears what travels, and the mean in the
    moving frame is close to the first mode. In a :class:`~rom.ROM` use ``Scale(center=False)``
    before it.

    *One frame.* A snapshot's displacement is where its correlation with the template, the mean
    aligned snapshot, is largest; the amplitudes are projections of the snapshot moved back. Both
    depend on that snapshot alone.

    *Several frames* are separated by alternating least squares over modes, amplitudes and
    displacements. Their displacements are sought as nearly constant speeds on evenly sampled
    rows of one trajectory, then corrected row by row; give `shifts` for anything else. A new
    snapshot is encoded by nonlinear least squares from where a greedy search puts the structures;
    that search can fail where three or more of them overlap. Structures of like shape cannot be
    told apart in one snapshot: there the labels nearest to the end of training are taken, in a
    series those nearest to the speeds of training. Where two structures overlap, their amplitudes
    are less certain. What does not move with a frame, such as a constant, is shared evenly.

    A displacement is known up to whole periods. Along the rows of one ``transform`` each row takes
    the branch nearest to the row before, so that motion by less than half a period a row is
    unbroken, and the last row takes the branch nearest to ``displacement_[:, -1]``, the end of
    training. So the training series is encoded as it was in ``fit``, and a forecast that starts
    where training ended starts on its branch. Rows encoded otherwise, such as a
    single early snapshot, may differ by whole periods from what a longer series gives;
    ``inverse_transform`` does not see it, but latent dynamics that depend on the displacement do.

    Parameters
    ----------
    n_components : int, float or None, default=None
        The number of latent coordinates, displacements included (int, at least
        ``2 * n_frames``); with one frame also the fraction of the energy to keep in the
        amplitudes (float in (0, 1)) or all modes that rounding leaves meaningful (None). Fewer
        are kept where the aligned snapshots have a lower numerical rank.
    n_frames : int, default=1
        The number of moving frames, at most 4.
    shape : tuple of int, optional
        Shape of a snapshot, flattened in C order, whose last axis is the periodic one along which
        structures travel, such as ``(latitude, longitude)``. None: one axis.
    shifts : array_like, shape (n_frames, n_time), optional
        Displacements of the frames in the snapshots of ``fit``, in cells, where they are known.

    Attributes
    ----------
    rank_ : int
        The number of latent coordinates: amplitudes and displacements.
    components_ : ndarray, shape (rank_ - n_frames, n_space)
        Modes in the moving frames, orthonormal within each frame; by frame, then by decreasing
        energy.
    frame_ : ndarray of int, shape (rank_ - n_frames,)
        The frame each mode belongs to.
    singular_values_ : ndarray, shape (rank_ - n_frames,)
        Singular values of the modes' shares of the snapshots.
    template_ : ndarray, shape (n_frames, n_space)
        Mean field in each moving frame.
    displacement_ : ndarray, shape (n_frames, n_time)
        Displacement in cells in the snapshots of ``fit``; zero at the first, unless given.
    speed_ : ndarray, shape (n_frames,)
        Median displacement from one row of ``fit`` to the next, in cells.
    period_ : ndarray, shape (n_frames,)
        Displacement in cells after which the template is itself again: the number of cells
        around, or the wavelength of a wave train.
    scale_ : ndarray, shape (n_frames,)
        Latent displacement per cell: once around the axis counts as the norm of the moving part
        of the template, so that displacements are of the size of the amplitudes.

    Raises
    ------
    ValueError
        By a fit: if `n_components` is out of its range, `shape` or `shifts` does not fit the
        snapshots, nothing varies along the travelling axis, or the data are refused (see
        :meth:`fit`).

    References
    ----------
    Rowley & Marsden (2000), Physica D 142, 1 (template fitting). Reiss, Schulze, Sesterhenn &
    Mehrmann (2018), SIAM J. Sci. Comput. 40, A1322 (shifted POD). Black, Schulze & Unger (2020),
    ESAIM: M2AN 54, 2011 (optimal modes in several frames).

    Examples
    --------
    >>> import numpy as np
    >>> x, t = np.arange(128), np.arange(60)
    >>> distance = (x - 2.5 * t[:, None] - 30 + 64) % 128 - 64
    >>> X = np.exp(-0.5 * (distance / 6) ** 2)
    >>> pulse = ShiftedPOD(n_components=2).fit(X)
    >>> pulse.speed_.round(6), bool(np.allclose(pulse.inverse_transform(pulse.transform(X)), X))
    (array([2.5]), True)
    """

    _over_cells: ClassVar[dict[str, str | None]] = {
        **Compressor._over_cells,
        "template_": "frame",
    }

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            None,
        ],
        "n_frames": [Interval(Integral, 1, 4, closed="both")],
        "shape": [tuple, list, None],
        "shifts": ["array-like", None],
    }

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        n_frames: int = 1,
        shape: tuple[int, ...] | None = None,
        shifts: ArrayLike | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_frames = n_frames
        self.shape = shape
        self.shifts = shifts

    def _fit(self, X: Any) -> None:
        n = self._cells_around(X.shape[1])
        given = self._given_shifts(X.shape[0])
        wanted = self._amplitudes_wanted()
        sample = _sample(X)
        energy = power(sample, n).sum(axis=0)
        # Several frames leave out the highest wavenumber of even n.
        _check_moves(energy if self.n_frames == 1 else energy[: (n + 1) // 2], n)
        fit = self._fit_one if self.n_frames == 1 else self._fit_several
        components, template = fit(X, n, sample, given, wanted)
        self.components_, self.template_ = components.astype(X.dtype), template.astype(X.dtype)
        self.rank_ = len(components) + self.n_frames
        self.speed_ = np.median(np.diff(self.displacement_, axis=1), axis=1)
        moving = np.sqrt(power(self.template_, n)[:, 1:].sum(axis=1))
        self.scale_ = np.where(moving > 0, moving, 1.0) / n

    def _cells_around(self, n_space: int) -> int:
        """Cells along the travelling axis."""
        shape = (n_space,) if self.shape is None else tuple(self.shape)
        if math.prod(shape) != n_space:
            raise ValueError(
                f"shape={shape} has {math.prod(shape)} cells, but X has n_features = {n_space}."
            )
        if shape[-1] < 2:
            raise ValueError(
                "ShiftedPOD needs at least 2 cells along the travelling axis, but it has "
                f"{shape[-1]} and X has n_features = {n_space}."
            )
        return int(shape[-1])

    def _given_shifts(self, n_time: int) -> NDArray[np.float64] | None:
        if self.shifts is None:
            return None
        shifts = np.array(self.shifts, dtype=np.float64)
        if shifts.shape != (self.n_frames, n_time) or not np.isfinite(shifts).all():
            raise ValueError(
                f"shifts must be finite numbers of shape (n_frames, n_time) = "
                f"({self.n_frames}, {n_time}), but the shape is {shifts.shape}"
                + (" and some are not finite." if not np.isfinite(shifts).all() else ".")
            )
        return shifts

    def _amplitudes_wanted(self) -> int | float | None:
        wanted = self.n_components
        if isinstance(wanted, Integral):
            if wanted < 2 * self.n_frames:
                raise ValueError(
                    f"n_components={wanted} must be at least {2 * self.n_frames}: an amplitude "
                    f"and a displacement for each frame (n_frames={self.n_frames})."
                )
            return int(wanted) - self.n_frames
        if self.n_frames > 1:
            raise ValueError(
                f"n_components={wanted}, but with n_frames={self.n_frames} it must be an int."
            )
        return wanted

    def _fit_one(
        self, X: Any, n: int, sample: NDArray, given: NDArray | None, wanted: int | float | None
    ) -> tuple[NDArray, NDArray]:
        if given is None:
            template = mean_shape(sample, n)
            d = np.unwrap(find(X, template, n), period=period(template, n))
            template, d = shift(template[None], d[:1], n)[0], d - d[0]
            aligned = moved_back(X, d, n)
        else:
            d = given[0]
            aligned = moved_back(X, d, n)
            template = gram.column_means(aligned)
        pod = strongest_modes(aligned, wanted)
        self.displacement_, self.singular_values_ = d[None], pod.singular_values_
        self.frame_ = np.zeros(pod.rank_, dtype=np.intp)
        self.period_ = np.array([period(template, n)])
        return pod.components_, template[None]

    def _fit_several(
        self, X: Any, n: int, sample: NDArray, given: NDArray | None, wanted: Any
    ) -> tuple[NDArray, NDArray]:
        fit = separate(X, n, sample, given, self.n_frames, wanted)
        self.displacement_, self.singular_values_ = fit.d, fit.singular_values
        self.frame_ = fit.frame
        self.period_ = np.full(self.n_frames, float(n))
        return fit.components, fit.template

    def _transform(self, X: Any) -> NDArray:
        n = self._cells_around(X.shape[1])
        components, template = (
            rows.astype(np.float64) for rows in (self.components_, self.template_)
        )
        last = self.displacement_[:, -1]
        if self.n_frames == 1:
            d = find(X, template[0], n)[None]
            a = np.empty((X.shape[0], len(components)))
            for rows, block in gram.row_blocks(X):
                a[rows] = shift(block, -d[0, rows], n) @ components.T
        else:
            a, d = search(X, Frames(components, self.frame_, n), template, self.speed_, last)
        d = np.stack([np.unwrap(row, period=p) for row, p in zip(d, self.period_, strict=True)])
        turns = np.rint((d[:, -1] - last) / self.period_)
        d -= (turns * self.period_)[:, None]
        return np.concatenate([a, (d * self.scale_[:, None]).T], axis=1).astype(X.dtype)

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        n = self._cells_around(self.n_features_in_)
        a = Z[:, : -self.n_frames].astype(np.float64)
        d = Z[:, -self.n_frames :].astype(np.float64) / self.scale_
        X = superpose(a, d.T, self.components_, self.frame_, n)
        return X.astype(np.result_type(Z.dtype, self.components_.dtype))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _sample(X: Any) -> NDArray[np.float64]:
    """Evenly spaced rows, few enough to be held in memory."""
    least, most = SAMPLE_ROWS
    n_rows = min(most, max(least, SAMPLE_BYTES // (8 * X.shape[1])))
    sample = np.asarray(X[:: math.ceil(X.shape[0] / n_rows)], dtype=np.float64)
    checks.check_finite(sample, "X")
    return sample


def _check_moves(energy: NDArray, n: int) -> None:
    """Refuse snapshots whose `energy` by wavenumber is zero or all at wavenumber 0."""
    if not energy.sum() > 0:
        raise ValueError("All snapshots are zero: there is nothing to compress.")
    if not energy[1:].sum() > (8 * np.finfo(np.float64).eps) ** 2 * n * energy.sum():
        raise ValueError(
            "Every snapshot is constant along the travelling axis, so that no displacement can "
            "be seen: use POD."
        )
