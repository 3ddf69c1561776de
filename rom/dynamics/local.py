"""Local models: one small model for all stretches of a periodic grid."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom.base import Dynamics
from rom.dynamics.normal import Normal
from rom.dynamics.nvar import NVAR, move_on, newest_targets
from rom.dynamics.rows import KeptSums, RowDynamics

Array = NDArray[np.float64]

# Under this name and an underscore stand the fitted attributes of the model that is shared.
SHARED = "model_"


class LocalModel(KeptSums, RowDynamics):
    """The next states, or time derivatives, of a few cells from those of the cells around them.

    For fields on a periodic, even grid whose law is the same everywhere and acts over a short
    distance within a step. The grid is cut into patches. One `model` learns the step of a patch
    from the cells of the patch and of a halo on both sides, from all patches at once: it has few
    coordinates, whatever the size of the grid, and as many times more rows as there are patches.
    In a :class:`rom.ROM` use ``rom.Scale(center=False)``: means that differ from cell to cell
    would not leave the law the same everywhere.
    With an :class:`~rom.dynamics.echo_state.EchoState` these are parallel reservoirs that share
    their weights.

    By construction a translation by whole patches of the state translates what is predicted, and
    nothing is felt from beyond the halo within a step. Nothing bounds a rollout: what a step gets
    wrong can grow where the training states do not say how the model must answer, most of all
    in waves shorter than any of theirs. `rank` and `noise` are against that.

    Parameters
    ----------
    model : Dynamics, optional
        Learns the patches; :class:`~rom.dynamics.nvar.NVAR` by default. Its own delays, if it has
        any, must be `n_delays`.
    patch : int, optional
        Cells of a patch, a divisor of the number of cells.
    halo : int, optional
        Cells seen on either side of a patch: at most this, and never a cell twice.
    n_delays : int, optional
        States per row, as ``delays(Z, n_delays)`` makes them. With more than one the rows of the
        model are the delays of a patch and its halo.
    rank : int, optional
        The model sees this many principal components of the cells of a row, not the cells.
    noise : float, optional
        White noise on the states seen in training, in units of their standard deviation, so that
        the model also learns to answer to small errors of its own.
    n_rows : int, optional
        Patches to learn from, drawn at random from all patches at all times; all by default.
    random_state : int, RandomState or None, optional
        Seed of `noise` and `n_rows`. The model has its own.

    Attributes
    ----------
    mean_ : float
        Mean of the training states; 0 without `rank`.
    components_ : ndarray, shape (rank, n_delays * (patch + 2 * halo)), or None
        Principal components, orthonormal rows.
    model_* :
        The attributes of the fitted model under their own names, such as ``model_coef_``.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range; the patches do not fill the grid; the
        targets are not one per cell; a model of time derivatives is to have delays; or the model
        refuses the rows.

    References
    ----------
    Pathak, Hunt, Girvan, Lu & Ott (2018), Phys. Rev. Lett. 120, 024102 (parallel reservoirs);
    Parlitz & Merkwirth (2000), Phys. Rev. Lett. 84, 1890 (local states).

    Examples
    --------
    A lattice of coupled quadratic maps. Each cell follows from itself and its two neighbours.

    >>> import rom
    >>> Z = [np.random.default_rng(0).uniform(-1, 1, 20)]
    >>> for _ in range(30):
    ...     f = 1 - 1.7 * Z[-1] ** 2
    ...     Z.append(0.6 * f + 0.2 * (np.roll(f, 1) + np.roll(f, -1)))
    >>> model = LocalModel(NVAR(ridge=0.0), halo=1).fit(Z[:20])
    >>> bool(np.allclose(model.predict(Z[20:-1]), Z[21:]))
    True
    """

    mean_: float
    components_: Array | None

    _after_sums: ClassVar[frozenset[str]] = frozenset({"model"})
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "model": [Dynamics, None],
        "patch": [Interval(Integral, 1, None, closed="left")],
        "halo": [Interval(Integral, 0, None, closed="left")],
        "n_delays": [Interval(Integral, 1, None, closed="left")],
        "rank": [Interval(Integral, 1, None, closed="left"), None],
        "noise": [Interval(Real, 0, None, closed="left")],
        "n_rows": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        model: Dynamics | None = None,
        *,
        patch: int = 1,
        halo: int = 4,
        n_delays: int = 1,
        rank: int | None = None,
        noise: float = 0.0,
        n_rows: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.patch = patch
        self.halo = halo
        self.n_delays = n_delays
        self.rank = rank
        self.noise = noise
        self.n_rows = n_rows
        self.random_state = random_state

    @property
    def time(self) -> Literal["continuous", "discrete"]:  # type: ignore[override]
        """That of the model."""
        return self._model().time

    @property
    def states_per_row(self) -> int:
        """States that a row holds, the newest first."""
        return self.n_delays

    def _fit(self, Z: Array, y: Array, u: Array | None) -> None:
        self._check_grid(Z, y)
        rng = check_random_state(self.random_state)
        columns = self._columns()
        n_all = len(Z) * len(columns)
        some = self.n_rows is not None and self.n_rows < n_all
        drawn = rng.choice(n_all, self.n_rows, replace=False) if some else np.arange(n_all)
        time, place = np.divmod(drawn, len(columns))
        rows = Z[time[:, None], columns[place]]
        if self.noise > 0:
            rows += self.noise * Z[:, : self._n_cells()].std() * rng.normal(size=rows.shape)
        if self._whole():
            targets = y[time[:, None], columns[place]]
        else:
            targets = y[time[:, None], columns[place][:, self._inside()]]
            if self._persists():
                targets = targets - rows[:, self._inside()]
        self._find_components(Z, rows)
        model = clone(self._model()).fit(
            self._seen(rows), targets, u=None if u is None else u[time]
        )
        self._share(model)

    def _share(self, model: Dynamics) -> None:
        for name, value in vars(model).items():
            if name.endswith("_") and not name.startswith("_"):
                setattr(self, SHARED + name, value)

    def refit(self, **parameters: Any) -> Self:
        """A model of the same data with other parameters of the `model` that is shared.

        The data are not read again; the `model` must be one that has a ``refit`` too.

        Parameters
        ----------
        **parameters
            As for ``refit`` of the `model`.

        Returns
        -------
        LocalModel
            A new fitted model.

        Raises
        ------
        ValueError
            As by ``refit`` of the `model`, or if it has none.

        Examples
        --------
        >>> Z = np.random.default_rng(0).normal(size=(20, 6))
        >>> LocalModel(NVAR(ridge=0.0)).fit(Z).refit(ridge=0.1).model
        NVAR(ridge=0.1)
        """
        model = self._summed().refit(**parameters)
        new = self._like_this(model=clone(model))
        new._share(model)
        return new

    def _summed(self) -> KeptSums:
        """The shared model, where it keeps its sums."""
        check_is_fitted(self)
        model = self._fitted_model()
        if not isinstance(model, KeptSums):
            raise ValueError(
                f"refit and merge need a model that keeps the sums of its rows, but {model} does "
                "not: call fit."
            )
        return model

    def _kept(self) -> list[Normal]:
        return self._summed()._kept()

    def _arrays(self) -> list[Array]:
        return self._summed()._arrays()

    def _what_is_summed(self) -> str:
        return super()._what_is_summed() + self._summed()._what_is_summed()

    def _check_parts(self) -> None:
        if self.rank is not None:
            raise ValueError(
                f"merge cannot be used with rank={self.rank}, whose components are those of all "
                "rows: call fit."
            )
        self._summed()._check_parts()

    def _gather(self, models: Sequence[Self]) -> None:
        super()._gather(models)
        shared = self._summed()
        shared._gather([model._summed() for model in models])
        self._share(shared)

    def _fit_sums(self, blocks: list[Normal]) -> None:
        shared = self._summed()
        shared._fit_sums(blocks)
        self._share(shared)

    def _predict(self, Z: Array, u: Array | None) -> Array:
        columns = self._columns()
        rows = Z[:, columns].reshape(-1, columns.shape[1])
        inputs = None if u is None else np.repeat(u, len(columns), axis=0)
        found = self._fitted_model()._predict(self._seen(rows), inputs)
        if self._whole():
            found = found[:, self._inside()]
        elif self._persists():
            found = found + rows[:, self._inside()]
        return move_on(Z, found.reshape(len(Z), -1), self.n_delays)

    def _fitted_model(self) -> Dynamics:
        model = copy(self._model())
        for name, value in vars(self).items():
            if name.startswith(SHARED):
                setattr(model, name.removeprefix(SHARED), value)
        return model

    def _find_components(self, Z: Array, rows: Array) -> None:
        self.mean_, self.components_ = 0.0, None
        if self.rank is None:
            return
        width = rows.shape[1]
        if self.rank > width:
            raise ValueError(f"rank={self.rank} is more than the {width} cells of a row.")
        self.mean_ = float(Z.mean())
        about = rows - self.mean_
        vectors = eigh(about.T @ about, subset_by_index=(width - self.rank, width - 1))[1]
        self.components_ = vectors.T[::-1]

    def _seen(self, rows: Array) -> Array:
        """What the model sees of rows of cells."""
        return rows if self.components_ is None else (rows - self.mean_) @ self.components_.T

    def _columns(self) -> NDArray[np.intp]:
        """Columns (n_patches, width) of a row that each patch sees, the newest states first."""
        n_cells, halo = self._n_cells(), self._halo()
        first = np.arange(0, n_cells, self.patch)
        cells = (first[:, None] + np.arange(-halo, self.patch + halo)) % n_cells
        return np.concatenate([cells + i * n_cells for i in range(self.n_delays)], axis=1)

    def _inside(self) -> slice:
        """The patch among the cells that it sees."""
        return slice(self._halo(), self._halo() + self.patch)

    def _whole(self) -> bool:
        """Whether the model predicts all that it sees, or only the patch."""
        return self.n_delays > 1 or (self._halo() == 0 and self.rank is None)

    def _persists(self) -> bool:
        """Whether the model predicts the change of the patch.

        Not from principal components: waves that they leave out would never decay.
        """
        return self.time == "discrete" and self.rank is None

    def _halo(self) -> int:
        return min(self.halo, (self._n_cells() - self.patch) // 2)

    def _n_cells(self) -> int:
        return self.n_features_in_ // self.n_delays

    def _model(self) -> Dynamics:
        return NVAR() if self.model is None else self.model

    def _check_grid(self, Z: Array, y: Array) -> None:
        n_cells = newest_targets(y, Z.shape[1], self.n_delays, needed_by="LocalModel").shape[1]
        if n_cells != self._n_cells():
            raise ValueError(
                f"LocalModel needs one target per cell, but y has {n_cells} columns for "
                f"{self._n_cells()} cells."
            )
        if n_cells % self.patch:
            raise ValueError(
                f"patch={self.patch} does not divide the {n_cells} cells of the grid into equal "
                "patches."
            )
        if self.n_delays > 1 and (self.time == "continuous" or self.rank is not None):
            raise ValueError(
                f"n_delays={self.n_delays} needs a discrete model and no rank, but the model is "
                f"{self.time} and rank is {self.rank}."
            )
