"""Choose a model by its rollouts through snapshots that it was not fitted on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from pickle import PicklingError
from time import perf_counter
from typing import Any

import joblib
import numpy as np
import pandas as pd
from dask.base import tokenize
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid
from tqdm import tqdm

from rom.data.labels import is_labelled
from rom.data.split import ForwardChaining
from rom.data.times import time_dim, trajectory_labels
from rom.model import ROM

Grid = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]]


@dataclass(frozen=True)
class Selection:
    """What :func:`select_model` found."""

    table: pd.DataFrame
    """One row per candidate, the best first: its parameters; mean, standard error and worst of the
    `skill` over the folds; `seconds` a fold; and of the folds that `failed`, how many and why."""
    folds: pd.DataFrame
    """One row per candidate and fold."""
    best: ROM
    """The first candidate of the table, not fitted."""

    def _repr_html_(self) -> str:
        return str(self.table.to_html())


def select_model(
    model: ROM,
    grid: Grid,
    X: Any,
    *,
    t: ArrayLike | None = None,
    u: ArrayLike | None = None,
    trajectory: ArrayLike | None = None,
    splitter: Any = None,
    n_jobs: int | None = None,
    path: str | PathLike[str] | None = None,
) -> Selection:
    """Fit every candidate on the past, run it through what follows, and rank by skill.

    Whatever is learnt from data (scaling, climatology, basis, dynamics) is learnt anew in every
    fold, from its training rows only.

    Parameters
    ----------
    model : ROM
        What all candidates have in common.
    grid : mapping or sequence of mappings
        Values to try of parameters, as for scikit-learn's ``ParameterGrid``: rank
        (``compressor__n_components``), library (``dynamics__library``), regularisation, or the
        kind of model itself (``dynamics``).
    X : DataArray, Dataset or ndarray, shape (n_time, n_space)
        Snapshots.
    t, u, trajectory : array_like, shape (n_time, ...), optional
        As for :meth:`rom.ROM.fit`.
    splitter : splitter, optional
        Gives rows to train and to test on; :class:`rom.data.ForwardChaining` with five folds
        where not given.
    n_jobs : int, optional
        Processes, as for joblib; one where not given. With a joblib backend for dask, a cluster.
    path : path, optional
        A file that every result is added to as it comes. Called again, the search goes on with
        what is missing there.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        If no candidate could be fitted and run in every fold, with what went wrong; or if there
        is a `path`, and a candidate holds a function without a name.

    See Also
    --------
    rom.ROM.score : the skill: one minus the squared error over the variance.

    Examples
    --------
    >>> import rom
    >>> t = np.arange(0, 30, 0.1)
    >>> X = np.c_[np.cos(t), np.sin(t)] @ np.random.default_rng(0).normal(size=(2, 20))
    >>> found = select_model(
    ...     rom.ROM(rom.POD(1)),
    ...     {"compressor__n_components": [1, 2], "dynamics": [rom.DMD()]},
    ...     X,
    ...     t=t,
    ... )
    >>> found.table[["compressor__n_components", "skill"]].round(1).values.tolist()[0]
    [2, 1.0]
    >>> found.best.fit(X, t=t).compressor_.rank_
    2
    """
    candidates = list(ParameterGrid(grid))
    models = [clone(model).set_params(**_cloned(each)) for each in candidates]
    along = {"t": t, "u": u, "trajectory": trajectory}
    along = {name: np.asarray(value) for name, value in along.items() if value is not None}
    folds = _folds(X, along.get("trajectory"), ForwardChaining() if splitter is None else splitter)
    data = None if path is None else tokenize(X, along, *folds)
    jobs = dict(_jobs(models, len(folds), data))
    results = _Results(path)
    missing = {key: job for key, job in jobs.items() if key not in results.rows}
    run = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        joblib.delayed(_try)(key, models[c], X, along, *folds[i]) for key, (c, i) in missing.items()
    )
    for row in tqdm(run, "selecting", len(missing), unit=" fits", leave=False, disable=None):
        results.add(row)
    rows = [{"candidate": c, "fold": i, **results.rows[key]} for key, (c, i) in jobs.items()]
    return _rank(candidates, models, pd.DataFrame(rows).drop(columns="key"))


def _cloned(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Estimators among the values are cloned: candidates share nothing."""
    return {k: clone(v) if hasattr(v, "get_params") else v for k, v in parameters.items()}


def _jobs(
    models: list[ROM], n_folds: int, data: str | None
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Candidates and folds, under names: for a file, of all that a result depends on."""
    for c, model in enumerate(models):
        for i in range(n_folds):
            try:
                key = f"{c} {i}" if data is None else joblib.hash((model.get_params(), data, i))
            except PicklingError as error:
                raise ValueError(
                    f"Candidate {c} holds a function that no later search could know again, as "
                    f"path needs: define it in a module, or leave path out. ({error.args[0]})"
                ) from error
            yield key, (c, i)


def _folds(X: Any, trajectory: Any, splitter: Any) -> list[tuple[NDArray, NDArray]]:
    n_time = X.sizes[time_dim(X)] if is_labelled(X) else len(X)
    if is_labelled(X):
        trajectory = trajectory_labels(X)
    return list(splitter.split(np.empty((n_time, 1)), trajectory=trajectory))


def _rows_of(X: Any, along: Mapping[str, NDArray], rows: NDArray) -> tuple[Any, dict[str, NDArray]]:
    part = X.isel({time_dim(X): rows}) if is_labelled(X) else X[rows]
    return part, {name: value[rows] for name, value in along.items()}


def _try(
    key: str, model: ROM, X: Any, along: Mapping[str, NDArray], train: NDArray, test: NDArray
) -> dict[str, Any]:
    """Skill on the test rows of a model fitted on the training rows, or why there is none."""
    started, skill, failed = perf_counter(), float("nan"), None
    try:
        past, past_along = _rows_of(X, along, train)
        future, future_along = _rows_of(X, along, test)
        skill = clone(model).fit(past, **past_along).score(future, **future_along)
    except (ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        failed = f"{type(error).__name__}: {error}"
    return {"key": key, "skill": skill, "seconds": perf_counter() - started, "failed": failed}


class _Results:
    """Results by key, kept in a file of one JSON object per line if there is one."""

    def __init__(self, path: str | PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self.rows = {row["key"]: row for row in self._read()}

    def _read(self) -> Iterator[dict[str, Any]]:
        if self.path is None or not self.path.exists():
            return
        for line in self.path.read_text().splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue  # a line that a killed process did not finish

    def add(self, row: dict[str, Any]) -> None:
        self.rows[row["key"]] = row
        if self.path is None:
            return
        with self.path.open("a") as file:
            file.write(f"\n{json.dumps(row)}\n")  # first ends what a killed process had begun
            file.flush()
            os.fsync(file.fileno())


def _rank(candidates: list[dict[str, Any]], models: list[ROM], folds: pd.DataFrame) -> Selection:
    by = folds.groupby("candidate")
    table = pd.DataFrame(candidates, dtype=object)
    table["skill"] = by["skill"].agg(lambda skill: skill.mean(skipna=False))
    table["standard_error"] = by["skill"].sem()
    table["worst"] = by["skill"].min()
    table["seconds"] = by["seconds"].mean()
    table["failed"] = by["failed"].count()
    table["reason"] = by["failed"].first()
    if table["skill"].isna().all():
        reasons: Iterable[str] = dict.fromkeys(folds["failed"].dropna())
        raise ValueError(
            f"None of the {len(candidates)} candidates came through all folds: {'; '.join(reasons)}"
        )
    table = table.sort_values("skill", ascending=False, kind="stable", na_position="last")
    return Selection(table, folds, clone(models[table.index[0]]))
