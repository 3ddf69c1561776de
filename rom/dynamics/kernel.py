"""Kernel regression: the next state as a smooth interpolation between the states of the past."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist
from sklearn.utils._param_validation import Interval

from rom.dynamics.nvar import move_on, newest_targets, persistence
from rom.dynamics.rows import RowDynamics

Array = NDArray[np.float64]

# Forecasts are kept this far outside the range of the training states, as a share of the range.
MARGIN = 0.1


class KernelModel(RowDynamics):
    """The next state by kernel ridge regression on the present and past ones.

    z(n+1) = z(n) + Σᵢ aᵢ k(|x(n) - xᵢ|), where x(n) = (z(n), z(n-s), z(n-2s), …, u(n)), the xᵢ
    are those of the training rows, and k is the Matérn kernel of smoothness 5/2. It is the mean
    of a Gaussian process: with few rows of little noise, far more accurate than a network, and
    nothing to train but one linear system.

    Rows and their delays are as in :class:`~rom.dynamics.nvar.NVAR`.

    Forecasts are kept within a tenth of the range of the training states around it, coordinate by
    coordinate. So every rollout is bounded by construction; that it stays on the attractor is not
    guaranteed. Far from all training rows the state stands still.

    Parameters
    ----------
    n_delays : int, optional
        How many states the kernel compares, k.
    stride : int, optional
        Rows from one of them to the next, s.
    length : float, optional
        Length scale of the kernel, a pure number: 1 is the root mean square distance between two
        training rows.
    ridge : float, optional
        Ridge parameter, a pure number, 1e-12 or more: the variance of noise, in units of that of
        the changes that the kernel allows.

    Attributes
    ----------
    scale_ : ndarray, shape (n_seen,)
        What states seen and inputs are divided by: the largest standard deviation of a coordinate
        for states, its own for each input; all times the length scale.
    centres_ : ndarray, shape (n_rows, n_seen)
        Training rows xᵢ, divided by it.
    coef_ : ndarray, shape (n_rows, n_targets)
        The aᵢ.
    low_, high_ : ndarray, shape (n_targets,)
        Range of the forecasts.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the rows do not hold as many states as the
        delays span, the times within trajectories are not even, or the data are refused (see
        :meth:`fit`).

    Notes
    -----
    A fit takes memory for ``n_rows**2`` numbers and time for ``n_rows**3 / 3`` multiplications, a
    step of a rollout ``n_rows * n_seen``.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, ch. 2 and 4. Hamzi &
    Owhadi (2021), "Learning dynamical systems from data: a simple cross-validation perspective,
    part I: parametric kernel flows", Physica D 421, 132817.

    Examples
    --------
    Two frequencies seen through one coordinate.

    >>> import rom
    >>> from rom.dynamics.hankel import delays
    >>> t = np.arange(300) * 0.1
    >>> rows, embedded = delays(np.sin(t)[:, None] ** 3, 4, t=t)
    >>> model = KernelModel(4).fit(embedded[:150], t=t[rows[:150]])
    >>> run = rom.rollout(model, embedded[149], t[rows[149:]])
    >>> bool(np.abs(run.z[:, 0] - embedded[149:, 0]).max() < 0.01)
    True
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "discrete"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_delays": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left")],
        "length": [Interval(Real, 0, None, closed="neither")],
        "ridge": [Interval(Real, 1e-12, None, closed="left")],
    }

    def __init__(
        self, n_delays: int = 1, *, stride: int = 1, length: float = 1.0, ridge: float = 1e-9
    ) -> None:
        self.n_delays = n_delays
        self.stride = stride
        self.length = length
        self.ridge = ridge

    def _fit(self, Z: Array, y: Array, u: Array | None) -> None:
        newest = newest_targets(y, Z.shape[1], self.states_per_row, needed_by="KernelModel")
        rank, x = self._rank(), self._seen(Z, u)
        unit = np.full(x.shape[1], Z[:, :rank].std(axis=0).max())
        if u is not None:
            unit[-u.shape[1] :] = u.std(axis=0)
        unit = np.where(unit > 0, unit, 1.0)
        distance = np.sqrt(2 * np.sum((x / unit).var(axis=0))) or 1.0
        self.scale_ = unit * distance * self.length
        self.centres_ = x / self.scale_
        gram = _matern(cdist(self.centres_, self.centres_))
        gram[np.diag_indices_from(gram)] += self.ridge
        change = newest - Z[:, :rank] @ persistence(newest.shape[1], rank).T
        self.coef_ = cho_solve(cho_factor(gram, overwrite_a=True), change)
        margin = MARGIN * np.ptp(newest, axis=0)
        self.low_, self.high_ = newest.min(axis=0) - margin, newest.max(axis=0) + margin

    def _predict(self, Z: Array, u: Array | None) -> Array:
        similar = _matern(cdist(self._seen(Z, u) / self.scale_, self.centres_))
        kept = Z[:, : self._rank()] @ persistence(len(self.low_), self._rank()).T
        newest = np.clip(kept + similar @ self.coef_, self.low_, self.high_)
        return move_on(Z, newest, self.states_per_row)

    def _seen(self, Z: Array, u: Array | None) -> Array:
        """The states that the kernel compares, the newest first, and the inputs."""
        blocks = Z.reshape(len(Z), self.states_per_row, -1)[:, :: self.stride]
        seen = blocks.reshape(len(Z), -1)
        return seen if u is None else np.concatenate([seen, u], axis=1)

    @property
    def states_per_row(self) -> int:
        """States that a row holds, the newest first."""
        return (self.n_delays - 1) * self.stride + 1

    def _rank(self) -> int:
        return self.n_features_in_ // self.states_per_row


def _matern(distance: Array) -> Array:
    """Matérn kernel of smoothness 5/2 and length scale 1."""
    d = np.sqrt(5) * distance
    kernel: Array = (1 + d + d**2 / 3) * np.exp(-d)
    return kernel
