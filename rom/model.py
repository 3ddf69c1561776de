"""ROM: preprocessing, compressor and dynamics as one estimator."""

from __future__ import annotations

from numbers import Integral
from os import PathLike
from time import perf_counter
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Compressor, Dynamics
from rom.compress.one_pass import Scaling
from rom.compress.pod import POD
from rom.data.flatten import Flatten
from rom.data.labels import (
    as_dataset,
    check_free_names,
    in_memory,
    is_labelled,
    lazy_if_large,
    output_times,
    times_of,
)
from rom.data.scale import Scale
from rom.data.times import TimeAxis, phase, trajectory_labels
from rom.data.trajectory import EVEN_RTOL, segments
from rom.dynamics.dmd import DMD
from rom.dynamics.hankel import delays
from rom.rollout.inputs import input_names, input_rows
from rom.rollout.run import Stepper, rollout
from rom.rollout.truths import step_of

# The default compressor keeps this much energy, but no more modes than a tenth of the times.
DEFAULT_ENERGY = 0.99
DEFAULT_TIMES_PER_MODE = 10
# In `score` a squared error this many times the variance counts no further. It stands for "no
# skill at all" where a rollout ended early, and keeps the mean over folds finite.
WORST_SQUARED_ERROR = 1e4
STARTS_PER_SEGMENT = 10


class Rows(NamedTuple):
    """Snapshots as numbers: flattened, scaled and weighted, one row per time."""

    rows: Any
    """(n_time, n_space), NumPy or dask."""
    t: NDArray[np.float64] | None
    """Times (n_time,) in the unit of the model's time axis; None where unknown."""
    trajectory: NDArray[np.intp]
    """Trajectory codes (n_time,)."""


class ROM(BaseEstimator):
    """A reduced-order model: from snapshots to a rollout that can be checked.

    Snapshots are flattened (labels, mask and units kept), scaled and compressed, and the dynamics
    of the latent coordinates are learned. xarray in gives xarray out; NumPy in gives NumPy out.

    Parameters
    ----------
    compressor : Compressor or None, default=None
        How states become latent coordinates. None: :class:`~rom.POD` with 99 % of the energy and
        at most one mode per ten times. :class:`~rom.Identity` leaves them as they are.
    dynamics : Dynamics or None, default=None
        How latent coordinates evolve. None: :class:`~rom.DMD`, the linear model.
    preprocess : Scale or None, default=None
        Centring, scaling, area weights, climatology. None: :class:`~rom.Scale` with its defaults.
    n_delays : int, default=1
        How many states, one sampling step apart and the newest first, make up a latent state
        (delay embedding, see :func:`rom.delays`). A model with memory of its own, such as
        :class:`~rom.NVAR`, brings its number.

    Attributes
    ----------
    flatten_, preprocess_, compressor_, dynamics_ : estimators
        The fitted parts; those given are cloned, never fitted in place.
    time_axis_ : TimeAxis or None
        Unit, origin and calendar of the training times; None for NumPy snapshots.
    latent_ : ndarray, shape (n_time, rank)
        Latent states of the training snapshots. With delays, `rank` is that of the compressor
        times ``states_per_row``, and snapshots without a whole history are left out.
    latent_t_ : ndarray, shape (n_time,), or None
        Their times, in the unit of ``time_axis_``.
    latent_trajectory_ : ndarray of int, shape (n_time,)
        Their trajectories.
    latent_u_ : ndarray, shape (n_time, n_inputs), or None
        Their inputs; None without, or in a model of an older file.
    input_names_ : list of str or None
        What the inputs are called, where they came with names.
    fit_seconds_ : float
        How long the fit took.

    Examples
    --------
    >>> import numpy as np, xarray as xr, rom
    >>> t = np.arange(0, 20, 0.1)
    >>> wave = np.cos(np.linspace(0, 6, 64) - t[:, None])
    >>> da = xr.DataArray(wave, dims=("time", "x"), coords={"time": t}, name="h")
    >>> model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(da)
    >>> forecast = model.rollout(da.isel(time=-1), t=np.arange(0, 100, 0.1))
    >>> forecast.h.dims, forecast.attrs["status"]
    (('time', 'x'), 'COMPLETED')
    """

    flatten_: Flatten
    preprocess_: Scale
    compressor_: Compressor
    dynamics_: Dynamics
    time_axis_: TimeAxis | None
    latent_: NDArray[np.float64]
    latent_t_: NDArray[np.float64] | None
    latent_trajectory_: NDArray[np.intp]
    latent_u_: NDArray[np.float64] | None
    input_names_: list[str] | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "compressor": [Compressor, None],
        "dynamics": [Dynamics, None],
        "preprocess": [Scale, None],
        "n_delays": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        compressor: Compressor | None = None,
        dynamics: Dynamics | None = None,
        *,
        preprocess: Scale | None = None,
        n_delays: int = 1,
    ) -> None:
        self.compressor = compressor
        self.dynamics = dynamics
        self.preprocess = preprocess
        self.n_delays = n_delays

    @property
    def states_per_row(self) -> int:
        """Snapshots that a latent state of the fitted model holds, the newest first."""
        check_is_fitted(self)
        return int(self.latent_.shape[1] // self.compressor_.rank_)

    def fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        *,
        t: ArrayLike | None = None,
        u: Any = None,
        trajectory: ArrayLike | None = None,
    ) -> Self:
        """Fit preprocessing, compressor and dynamics on snapshots.

        Parameters
        ----------
        X : DataArray, Dataset or ndarray
            Snapshots: labelled with a time dimension, or ``(n_time, n_space)``. A coordinate
            ``trajectory`` along time marks several trajectories. Lazy (dask) data are read
            block by block.
        y : array_like, shape (n_time,) or (n_time, n_params), optional
            Parameters of each row, for compressors of families of runs (:class:`rom.GrassmannPOD`).
            Where not given they get the trajectories.
        t : array_like, shape (n_time,), optional
            Sample times of NumPy snapshots; labelled snapshots bring their own.
        u : array_like, shape (n_time, n_inputs), or Dataset or DataArray, optional
            Inputs. Labelled ones are taken at the times of `X`; a Dataset holds a variable along
            time for each input.
        trajectory : array_like, shape (n_time,), optional
            Trajectory labels of NumPy snapshots.

        Returns
        -------
        ROM

        Raises
        ------
        ValueError
            For data that cannot be modelled, naming the place: isolated non-finite values, times
            that repeat or run backwards, constant data, too few snapshots.
        """
        begin = perf_counter()
        self._validate_params()
        memory = 1 if self.dynamics is None else self.dynamics.states_per_row
        if self.n_delays > 1 and memory > 1:
            raise ValueError(
                f"n_delays={self.n_delays} is for models without memory, but "
                f"{type(self.dynamics).__name__} takes rows of {memory} "
                "states by itself: leave n_delays at 1."
            )
        check_free_names(X)
        gaps = self.compressor is not None and get_tags(self.compressor).input_tags.allow_nan
        X = in_memory(X) if gaps else lazy_if_large(X)
        self.flatten_ = Flatten(allow_gaps=gaps)
        rows = self.flatten_.fit_transform(X)
        self.n_features_in_ = self.flatten_.n_features_in_
        self.time_axis_ = TimeAxis.of(X) if is_labelled(X) else None
        raw = self._with_times(rows, X, t, trajectory)
        if raw.rows.shape[0] < 3:
            raise ValueError(
                f"ROM needs at least 3 snapshots, but X has n_samples = {raw.rows.shape[0]}."
            )
        self.preprocess_ = Scale() if self.preprocess is None else clone(self.preprocess)
        self._fit_compressor(raw, self._phase(times_of(X, self.time_axis_)), y)
        self.input_names_ = input_names(u)
        u = checks.check_inputs(input_rows(u, raw.t, self.time_axis_), raw.rows.shape[0])
        self.latent_t_, self.latent_trajectory_ = raw.t, raw.trajectory
        memory = max(memory, self.n_delays)
        if memory > 1:
            rows, self.latent_ = delays(self.latent_, memory, t=raw.t, trajectory=raw.trajectory)
            self.latent_trajectory_ = raw.trajectory[rows]
            self.latent_t_, u = (None if a is None else a[rows] for a in (raw.t, u))
        self.latent_u_ = None if u is None else u.copy()
        self.dynamics_ = (DMD() if self.dynamics is None else clone(self.dynamics)).fit(
            self.latent_, t=self.latent_t_, u=u, trajectory=self.latent_trajectory_
        )
        self.fit_seconds_ = perf_counter() - begin
        return self

    def to_rows(
        self, X: Any, *, t: ArrayLike | None = None, trajectory: ArrayLike | None = None
    ) -> Rows:
        """Snapshots as the compressor sees them: flattened, scaled and weighted numbers.

        Parameters
        ----------
        X, t, trajectory
            As in :meth:`fit`.

        Returns
        -------
        Rows
        """
        check_is_fitted(self)
        raw = self._with_times(self.flatten_.transform(X), X, t, trajectory)
        phases = self._phase(times_of(X, self.time_axis_))
        return raw._replace(rows=self.preprocess_.transform(raw.rows, phase=phases))

    def inputs_at(
        self, u: Any, t: NDArray[np.float64] | None, n_rows: int
    ) -> NDArray[np.float64] | None:
        """Inputs as the latent model takes them, checked.

        Parameters
        ----------
        u : array_like, Dataset, DataArray or None
            As in :meth:`fit`. Of a Dataset the variables that the model was fitted with, if it
            knows their names.
        t : ndarray, shape (n_rows,), or None
            Times in the unit of ``time_axis_``, where labelled inputs are looked up.
        n_rows : int

        Returns
        -------
        ndarray, shape (n_rows, n_inputs), or None
        """
        rows = input_rows(u, t, self.time_axis_, self.input_names_)
        return checks.check_inputs(rows, n_rows, n_inputs=self.dynamics_.n_inputs_)

    def to_latent(self, rows: Any) -> NDArray:
        """Latent states of numbers that :meth:`to_rows` made.

        Parameters
        ----------
        rows : ndarray or dask array, shape (n_time, n_space)
            With delays, of one trajectory, a sampling step apart.

        Returns
        -------
        ndarray, shape (n_time, rank)
            With delays of the last ``n_time - states_per_row + 1`` rows.
        """
        Z = self.compressor_.transform(rows)
        return Z if self.states_per_row == 1 else delays(Z, self.states_per_row).Z

    def from_latent(self, Z: NDArray) -> NDArray:
        """Numbers, as the compressor sees them, of latent states.

        Parameters
        ----------
        Z : ndarray, shape (n_time, rank)
            With delays, the newest states count.

        Returns
        -------
        ndarray, shape (n_time, n_space)
        """
        return self.compressor_.inverse_transform(Z[:, : self.compressor_.rank_])

    def encode(self, X: Any) -> Any:
        """Latent states of snapshots.

        Parameters
        ----------
        X : DataArray, Dataset or ndarray
            States like those of :meth:`fit`, at any times.

        Returns
        -------
        DataArray (time, mode) or ndarray (n_time, rank)
            Of the kind of `X`. With delays, of the snapshots whose whole history is in `X`, which
            is evenly sampled; those without times are taken for one trajectory.
        """
        Z, kept = self._embedded(self.to_rows(X))
        times = times_of(X, self.time_axis_)
        if not is_labelled(X):
            return Z
        return self._label_latent(Z, None if times is None else times[kept])

    def decode(self, Z: Any) -> Any:
        """States of latent coordinates.

        Parameters
        ----------
        Z : DataArray (time, mode) or ndarray (n_time, rank)
            Latent coordinates. A model with a climatology needs their times, so a DataArray.

        Returns
        -------
        DataArray, Dataset or ndarray
            Of the kind the model was fitted on, in its units, masked where it was.
        """
        check_is_fitted(self)
        times = times_of(Z, self.time_axis_)
        if isinstance(Z, xr.DataArray):
            Z = Z.transpose(self.flatten_.time_dim_, "mode")
        return self._decode(np.asarray(Z), times)

    def predict(self, X: Any, *, u: Any = None) -> Any:
        """The state one sampling step later, for every row.

        Parameters
        ----------
        X : DataArray, Dataset or ndarray
            States like those of :meth:`fit`.
        u : array_like, shape (n_time, n_inputs), or Dataset or DataArray, optional
            Inputs at the rows, held over the step; labelled ones as in :meth:`fit`.

        Returns
        -------
        DataArray, Dataset or ndarray
            Of the kind of `X`, at the later times; NaN in rows whose step failed. With delays,
            of the rows that :meth:`encode` gives.
        """
        raw = self.to_rows(X)
        u = self.inputs_at(u, raw.t, raw.rows.shape[0])
        Z, kept = self._embedded(raw)
        later = self._step(Z, None if u is None else u[kept])
        times = times_of(X, self.time_axis_)
        if times is not None and self.time_axis_ is not None:
            times = times[kept]
            moved = self.time_axis_.to_times(self.time_axis_.to_numbers(times) + step_of(self))
            times = times.assign_coords({self.time_axis_.dim: moved})[self.time_axis_.dim]
        return self._decode(later, times)

    def rollout(
        self,
        x0: Any,
        t: ArrayLike,
        *,
        u: Any = None,
        stepper: Stepper = "auto",
        throw: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> xr.Dataset:
        """Run the model from one state.

        Parameters
        ----------
        x0 : DataArray, Dataset or ndarray
            One state, with or without a time dimension of length one. With delays, the last
            ``states_per_row`` snapshots, one sampling step apart.
        t : array_like, shape (n_time,)
            Output times; ``t[0]`` is the time of `x0`, of its last snapshot. Numbers in the model's
            time unit, of which only differences count if `x0` carries a time, as it must for a
            model fitted on dates; or calendar times.
        u : array_like, shape (n_time, n_inputs), or Dataset or DataArray, optional
            Inputs at the output times; labelled ones are looked up there.
        stepper : str, default="auto"
            As in :func:`rom.rollout`: "midpoint" keeps the energy of a Hamiltonian model.
        throw : bool, default=True
            Raise if the rollout does not reach ``t[-1]``. With False the rows after its end are
            NaN and the attributes ``status``, ``message`` and ``t_end`` say why it ended.
        random_state : int, RandomState instance or None, optional
            Seed of the noise of "euler_maruyama".

        Returns
        -------
        Dataset
            The fields (time, *space), and ``latent`` (time, mode).

        Raises
        ------
        rom.rollout.RolloutError
            If the rollout ended early and `throw` is true.
        ValueError, TypeError
            For a start or times unlike those of the training, saying what was expected.
        """
        check_is_fitted(self)
        states, newest = self._start(x0)
        axis = self.time_axis_
        numbers, times = output_times(t, times_of(newest, axis), axis)
        if self.states_per_row == 1 and axis is not None and axis.dim not in newest.coords:
            states = states.assign_coords({axis.dim: np.asarray(times)[0]})
        z0 = self.to_latent(self.to_rows(states).rows)[0]
        u = self.inputs_at(u, numbers, len(numbers))
        run = rollout(
            self.dynamics_, z0, numbers, u=u, stepper=stepper, throw=throw,
            random_state=random_state,
        )  # fmt: skip
        fields = self._decode(run.z, times)
        result = as_dataset(fields, times)
        result = result.assign_coords(mode=np.arange(run.z.shape[1]))
        result["latent"] = ((self.flatten_.time_dim_, "mode"), run.z)
        t_end = (
            run.t_end if axis is None or axis.calendar is None else str(axis.to_times(run.t_end))
        )
        return result.assign_attrs(status=run.status.name, message=run.status.value, t_end=t_end)

    def score(
        self,
        X: Any,
        y: None = None,
        *,
        t: ArrayLike | None = None,
        u: Any = None,
        trajectory: ArrayLike | None = None,
    ) -> float:
        """Skill of rollouts through held-out snapshots.

        From up to ten states of every stretch of continuous sampling the model runs to the end
        of the stretch.

        Parameters
        ----------
        X, t, u, trajectory
            As in :meth:`fit`.
        y : None
            Ignored; there for scikit-learn.

        Returns
        -------
        float
            One minus the mean squared error over the mean squared distance from the training
            mean: 1 is perfect, 0 is no better than the climatology. A rollout that ends early
            counts as 10,000 times the variance from there on.
        """
        held, past = self.to_rows(X, t=t, trajectory=trajectory), self.states_per_row - 1
        rows = np.asarray(held.rows)
        u = self.inputs_at(u, held.t, len(rows))
        if held.t is None and self.dynamics_.time == "continuous":
            raise ValueError("A continuous-time model needs the times t of the held-out snapshots.")
        times = np.arange(len(rows)) * step_of(self) if held.t is None else held.t
        stretches = [
            slice(start, piece.stop)
            for piece in segments(held.t, held.trajectory)
            for start in _spread(piece.start + past, piece.stop - 1, STARTS_PER_SEGMENT)
        ]
        if not stretches:
            raise ValueError(
                f"score needs {past + 2} snapshots that follow each other, but X has {len(rows)} "
                "rows."
            )
        errors = np.concatenate(
            [
                self._squared_errors(
                    rows[run.start - past : run.stop], times[run], None if u is None else u[run]
                )
                for run in stretches
            ]
        )
        climate = self.from_latent(self.latent_.mean(axis=0, keepdims=True))
        variance = np.mean(np.nansum((rows - climate) ** 2, axis=1))
        return float(1 - np.mean(np.minimum(errors / variance, WORST_SQUARED_ERROR)))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted model as one NetCDF-4 file; :func:`rom.load` reads it back.

        Parameters
        ----------
        path : path
            Replaced in one step once the new file is complete.
        """
        from rom.store import save

        save(self, path)

    def _with_times(
        self, rows: Any, X: Any, t: ArrayLike | None, trajectory: ArrayLike | None
    ) -> Rows:
        """Unscaled numbers of snapshots with their checked times and trajectories."""
        times = times_of(X, self.time_axis_)
        if is_labelled(X):
            if t is not None or trajectory is not None:
                raise TypeError(
                    "t and trajectory go with NumPy snapshots; labelled ones bring their own time "
                    "coordinate, and trajectories as a coordinate 'trajectory' along time."
                )
            trajectory = None if self.flatten_.time_dim_ not in X.dims else trajectory_labels(X)
            if times is not None and self.time_axis_ is not None:
                t = self.time_axis_.to_numbers(times)
        codes = checks.check_trajectory(trajectory, rows.shape[0])
        numbers = None if t is None else checks.check_times(t, rows.shape[0], codes)
        return Rows(rows, numbers, codes)

    def _embedded(self, raw: Rows) -> tuple[NDArray, NDArray[np.intp]]:
        """Latent states of rows, and which rows have one: those with a whole history."""
        Z = self.compressor_.transform(raw.rows)
        if self.states_per_row == 1:
            return Z, np.arange(len(Z))
        kept, Z = delays(Z, self.states_per_row, t=raw.t, trajectory=raw.trajectory)
        return Z, kept

    def _start(self, x0: Any) -> tuple[Any, Any]:
        """Snapshots (time, …) that a rollout starts from, and the newest of them."""
        n, axis = self.states_per_row, self.time_axis_
        asked = "one state" if n == 1 else f"the last {n} snapshots"
        if not is_labelled(x0):
            if axis is not None:
                raise TypeError(
                    f"x0 must be a {self.flatten_.kind_} as in fit, but it is a "
                    f"{type(x0).__name__}."
                )
            states = np.atleast_2d(x0)
            if len(states) != n:
                raise ValueError(f"x0 must be {asked}, but its shape is {np.shape(x0)}.")
            return states, x0
        if axis is None or axis.dim not in x0.dims:
            if n > 1:
                raise ValueError(f"x0 must be {asked}, but it has no time dimension.")
            return x0, x0
        if x0.sizes[axis.dim] != n:
            raise ValueError(f"x0 must be {asked}, but it has {x0.sizes[axis.dim]} times.")
        times = times_of(x0, axis)
        steps = np.zeros(0) if times is None else np.diff(axis.to_numbers(times))
        if len(steps) and not np.allclose(steps, step_of(self), rtol=EVEN_RTOL):
            raise ValueError(
                f"x0 must be {asked}, {step_of(self):g} {axis.unit} apart, but they are "
                f"{steps.min():g} to {steps.max():g} apart."
            )
        newest = x0.isel({axis.dim: -1})
        return (newest, newest) if n == 1 else (x0, newest)

    def _fit_compressor(
        self, raw: Rows, phases: NDArray[np.intp] | None, y: ArrayLike | None
    ) -> None:
        """Fit preprocessing and compressor, together where that saves reading the rows again."""
        compressor = POD(DEFAULT_ENERGY) if self.compressor is None else clone(self.compressor)
        names = np.array(self.flatten_.variables_)[self.flatten_.variable_]
        latitude = self.flatten_.latitude_
        if isinstance(compressor, POD) and compressor.can_scale(raw.rows, self.preprocess_):
            scaling = Scaling(self.preprocess_, names, latitude, phases)
            self.latent_ = compressor.fit_scaled(raw.rows, scaling)
        else:
            self.preprocess_.fit(raw.rows, variable=names, latitude=latitude, phase=phases)
            rows = self.preprocess_.transform(raw.rows, phase=phases)
            self.latent_ = compressor.fit_transform(rows, raw.trajectory if y is None else y)
        if self.compressor is None and isinstance(compressor, POD):
            most = max(1, raw.rows.shape[0] // DEFAULT_TIMES_PER_MODE)
            compressor = compressor.truncated(min(compressor.rank_, most))
            self.latent_ = np.ascontiguousarray(self.latent_[:, : compressor.rank_])
        self.compressor_ = compressor

    def _phase(self, times: Any) -> NDArray[np.intp] | None:
        """Which entry of the climatology each time needs; None without a climatology."""
        climatology = self.preprocess_.climatology
        if climatology is None:
            return None
        if times is None:
            raise ValueError(
                f"The {climatology} climatology needs calendar times, but the data carry none: "
                "give labelled data with a time coordinate."
            )
        return phase(times, climatology)

    def _decode(self, Z: NDArray, times: Any) -> Any:
        phases = self._phase(times)
        reached = np.isfinite(Z).all(axis=1)  # a rollout is NaN after its end
        scaled = self.from_latent(Z[reached])
        rows = np.full((len(Z), self.n_features_in_), np.nan, dtype=scaled.dtype)
        if reached.any():
            rows[reached] = self.preprocess_.inverse_transform(
                scaled, phase=None if phases is None else phases[reached]
            )
        return self.flatten_.inverse_transform(rows, time=times)

    def _step(self, Z: NDArray, u: NDArray | None) -> NDArray:
        if self.dynamics_.time == "discrete":
            return self.dynamics_.predict(Z, u=u)
        step = np.array([0.0, step_of(self)])
        held = [None] * len(Z) if u is None else np.repeat(u[:, None], 2, axis=1)
        return np.array(
            [
                rollout(self.dynamics_, z, step, u=v, throw=False).z[-1]
                for z, v in zip(Z, held, strict=True)
            ]
        )

    def _squared_errors(self, rows: NDArray, t: NDArray, u: NDArray | None) -> NDArray[np.float64]:
        """Squared error of a rollout at each later row; inf past its end.

        It starts from the row at ``t[0]``; with delays, those before it are its history.
        """
        z0 = self.to_latent(rows[: self.states_per_row])[0]
        z = rollout(self.dynamics_, z0, t, u=u, throw=False).z[1:]
        later = rows[self.states_per_row :]
        off = np.where(np.isnan(later), 0.0, self.from_latent(z) - later)
        error = np.sum(off**2, axis=1)
        return np.where(np.isfinite(error), error, np.inf)

    def _label_latent(self, Z: NDArray, times: xr.DataArray | None) -> xr.DataArray:
        dim = self.flatten_.time_dim_
        along = {} if times is None else {n: c for n, c in times.coords.items() if c.dims == (dim,)}
        coords = {**along, "mode": np.arange(Z.shape[1])}
        return xr.DataArray(Z, dims=(dim, "mode"), coords=coords, name="latent")


def _spread(start: int, stop: int, n: int) -> NDArray[np.intp]:
    """At most `n` numbers spread over ``range(start, stop)``."""
    return (
        np.unique(np.linspace(start, stop - 1, n).astype(np.intp))
        if stop > start
        else np.empty(0, np.intp)
    )
