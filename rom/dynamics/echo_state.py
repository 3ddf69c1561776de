"""Echo-state network: a random network that remembers, and a linear read-out that is learned."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from rom.dynamics.normal import Normal, row_normals, sum_normals
from rom.dynamics.nvar import move_on, newest_targets, persistence
from rom.dynamics.operators import joined
from rom.dynamics.regression import fit_ridge
from rom.dynamics.rows import SummedDynamics


class EchoState(SummedDynamics):
    """The next state from a reservoir of random units that the last states have driven.

    The units h follow h⁺ = (1 - a) h + a tanh(W h + V (1, z, u)) with random W and V, and
    z(n+1) = z(n) + R (1, z(n), h(n)) with R by ridge regression. States enter in units of their
    standard deviation, about their mean.

    A row holds the last `n_delays` states, as ``delays(Z, n_delays)`` makes them. The reservoir
    starts each from rest at its oldest state: the rows are their own warm-up, in training as in a
    rollout, and no trajectory's memory enters another. What the reservoir forgets within
    `n_delays` rows it would forget anyway. With ``n_delays=1`` rows are states, and the units
    random features without memory.

    Parameters
    ----------
    n_units : int, optional
        Size of the reservoir.
    n_delays : int, optional
        States per row.
    spectral_radius : float, optional
        Largest modulus of the eigenvalues of W: below 1 the reservoir forgets; the nearer, the
        longer it remembers.
    leak : float, optional
        a, the share of a unit that is new in each step, above 0 and at most 1.
    input_scale : float, optional
        Entries of V are uniform between plus and minus this.
    density : float, optional
        Share of the other units that each one listens to, at least one of them.
    ridge : float, optional
        Ridge parameter, a pure number: the penalty on columns of unit root mean square.
    random_state : int, RandomState or None, optional
        Seed of W and V.

    Attributes
    ----------
    mean_, scale_ : ndarray, shape (rank + n_inputs,)
        Mean and standard deviation of the newest states of the training rows, and of the inputs;
        with :meth:`partial_fit`, of the first rows that came.
    sources_ : ndarray of int, shape (n_units, n_links)
        The units that each one listens to.
    weights_ : ndarray, shape (n_units, n_links)
        W's entries there.
    input_weights_ : ndarray, shape (n_units, 1 + rank + n_inputs)
        V.
    readout_ : ndarray, shape (n_targets, 1 + rank + n_units)
        R, plus the identity that keeps the state.
    normal_ : list of ndarray
        The normal equations of R of the rows seen: :meth:`partial_fit` and :meth:`merge` add to
        them, :meth:`refit` solves them anew.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the rows do not hold `n_delays` states, the
        times within trajectories are not even, or the data are refused (see :meth:`fit`). By
        :meth:`merge`: if the models do not have the same reservoir, mean and standard deviation.

    Notes
    -----
    An input drives the last step only: rows hold no inputs of the past. The units of some rows at
    a time are in memory, never those of all.

    The first rows that :meth:`partial_fit` gets should be typical ones: the reservoir, and the
    mean and standard deviation that are its units, are kept for all that come later. Models fitted
    apart are each in units of their own rows and cannot be merged, but copies of one model can be
    that learned on apart; the rows that they had in common then count for each.

    References
    ----------
    Jaeger (2001), GMD Report 148; Lukoševičius (2012), in Neural Networks: Tricks of the Trade,
    LNCS 7700, 659.

    Examples
    --------
    >>> import rom
    >>> from rom.dynamics.hankel import delays
    >>> t = np.arange(300) * 0.1
    >>> rows, embedded = delays(np.sin(t)[:, None] ** 3, 20, t=t)
    >>> model = EchoState(n_units=50, n_delays=20, random_state=0).fit(embedded, t=t[rows])
    >>> run = rom.rollout(model, embedded[0], t[rows])
    >>> bool(np.abs(run.z[:, 0] - np.sin(t[rows]) ** 3).max() < 0.01)
    True
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "discrete"

    mean_: NDArray[np.float64]
    scale_: NDArray[np.float64]
    sources_: NDArray[np.intp]
    weights_: NDArray[np.float64]
    input_weights_: NDArray[np.float64]
    readout_: NDArray[np.float64]

    _after_sums: ClassVar[frozenset[str]] = frozenset({"ridge"})
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "n_delays": [Interval(Integral, 1, None, closed="left")],
        "spectral_radius": [Interval(Real, 0, None, closed="left")],
        "leak": [Interval(Real, 0, 1, closed="right")],
        "input_scale": [Interval(Real, 0, None, closed="neither")],
        "density": [Interval(Real, 0, 1, closed="right")],
        "ridge": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_units: int = 300,
        n_delays: int = 1,
        *,
        spectral_radius: float = 0.8,
        leak: float = 1.0,
        input_scale: float = 0.3,
        density: float = 0.02,
        ridge: float = 1e-8,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_units = n_units
        self.n_delays = n_delays
        self.spectral_radius = spectral_radius
        self.leak = leak
        self.input_scale = input_scale
        self.density = density
        self.ridge = ridge
        self.random_state = random_state

    @property
    def states_per_row(self) -> int:
        """States that a row holds, the newest first."""
        return self.n_delays

    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None:
        self.normal_ = None
        self._fit_sums(self._sums(Z, y, u))

    def _sums(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> list[Normal]:
        newest = newest_targets(y, Z.shape[1], self.n_delays, needed_by="EchoState")
        rank, width = self._rank(), Z.shape[1]
        if getattr(self, "normal_", None) is None:
            self.mean_, self.scale_ = _standard(joined(Z[:, :rank], u))
            self._draw(1 + rank + self.n_inputs_)
        change = newest - Z[:, :rank] @ persistence(newest.shape[1], rank).T

        def terms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
            return self._features(rows[:, :width], None if u is None else rows[:, width:])

        return row_normals(terms, None, joined(Z, u), change, exact=True)

    def _fit_sums(self, blocks: list[Normal]) -> None:
        found, rank = sum_normals(blocks), self._rank()
        present = persistence(len(found.squares), rank)
        self.normal_, readout = found.arrays(), fit_ridge(found, self.ridge)
        readout[:, 0] += present @ self.mean_[:rank]
        readout[:, 1 : 1 + rank] += present * self.scale_[:rank]
        self.readout_ = readout

    def _gather(self, models: Sequence[Self]) -> None:
        super()._gather(models)
        ours, *others = (model._drawn_and_measured(self.scale_) for model in models)
        if not all(np.allclose(ours, theirs, rtol=0, atol=1e-9) for theirs in others):
            raise ValueError(
                "merge needs models with the same reservoir, mean_ and scale_, but those of these "
                "differ: a fit draws its own reservoir, unless random_state is a number, and each "
                "model was standardised by its own rows. Let one learn from the rows of all by "
                "partial_fit."
            )

    def _drawn_and_measured(self, unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """All that the terms depend on, in one row."""
        parts = self.sources_, self.weights_, self.input_weights_, self.mean_ / unit
        return np.concatenate([np.ravel(part) for part in (*parts, self.scale_ / unit)])

    def _draw(self, n_drives: int) -> None:
        """Draw the reservoir: W, scaled to its spectral radius, and V."""
        rng = check_random_state(self.random_state)
        n_links = max(1, round(self.density * self.n_units))
        self.sources_ = np.stack(
            [rng.choice(self.n_units, n_links, replace=False) for _ in range(self.n_units)]
        ).astype(np.intp)
        self.weights_ = rng.uniform(-1, 1, (self.n_units, n_links))
        radius = float(np.abs(np.linalg.eigvals(self._reservoir().toarray())).max())
        if radius > 0:
            self.weights_ = self.weights_ * (self.spectral_radius / radius)
        self.input_weights_ = rng.uniform(-1, 1, (self.n_units, n_drives)) * self.input_scale

    def _reservoir(self) -> csr_array:
        n_units, n_links = self.sources_.shape
        ends = np.arange(0, n_units * n_links + 1, n_links)
        shape = (n_units, n_units)
        return csr_array((self.weights_.ravel(), self.sources_.ravel(), ends), shape=shape)

    def _drive(self, Z: NDArray[np.float64], u: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Units (n_time, n_units) that the states of each row, the oldest first, have driven."""
        W, V, rank = self._reservoir(), self.input_weights_, self._rank()
        h = np.zeros((self.n_units, len(Z)))
        for block in range(self.n_delays - 1, -1, -1):
            drive = V[:, : 1 + rank] @ self._standardised(Z, block).T
            if u is not None and block == 0:
                drive += V[:, 1 + rank :] @ ((u - self.mean_[rank:]) / self.scale_[rank:]).T
            h = (1 - self.leak) * h + self.leak * np.tanh(W @ h + drive)
        return h.T

    def _standardised(self, Z: NDArray[np.float64], block: int) -> NDArray[np.float64]:
        """Columns 1, and the states of one block of the rows about their mean."""
        rank = self._rank()
        states = (Z[:, block * rank :][:, :rank] - self.mean_[:rank]) / self.scale_[:rank]
        return np.concatenate([np.ones((len(Z), 1)), states], axis=1)

    def _features(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        return np.concatenate([self._standardised(Z, 0), self._drive(Z, u)], axis=1)

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        newest = self._features(Z, u) @ self.readout_.T
        return move_on(Z, newest, self.n_delays)

    def _rank(self) -> int:
        return self.n_features_in_ // self.n_delays


def _standard(Z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each column; 1 for one that is constant."""
    spread = Z.std(axis=0)
    constant = spread <= 1e-14 * np.abs(Z).max(axis=0)
    return Z.mean(axis=0), np.where(constant, 1.0, spread)
