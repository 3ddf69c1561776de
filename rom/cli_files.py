"""What the command line reads: snapshots, inputs and models from files, times from words."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rom.data.times import TimeAxis
    from rom.model import ROM


def open_files(paths: list[str], names: list[str] | None) -> Any:
    """The variables of those names, or the only one, of some files taken together."""
    from rom.data.io import open_snapshots

    var = names[0] if names and len(names) == 1 else names
    return open_snapshots(paths[0] if len(paths) == 1 else paths, var)


def open_for(model: ROM, paths: list[str]) -> Any:
    """The variables of `paths` that `model` was fitted on."""
    import xarray as xr

    axis_of(model)
    flatten = model.flatten_
    unnamed = flatten.kind_ == "DataArray" and flatten.name_ is None
    X = open_files(paths, None if unnamed else flatten.variables_)
    if unnamed:
        return X.rename(None)
    return X.to_dataset() if flatten.kind_ == "Dataset" and isinstance(X, xr.DataArray) else X


def open_inputs(args: argparse.Namespace, data: list[str], names: list[str]) -> Any:
    """The inputs of those names, as a Dataset."""
    u = open_files(data if args.inputs_from is None else [args.inputs_from], names).load()
    return u.to_dataset() if len(names) == 1 else u


def expect_inputs(models: list[ROM], args: argparse.Namespace) -> None:
    """Refuse inputs that no model takes."""
    given = args.inputs is not None or args.inputs_from is not None
    if given and not any(model.dynamics_.n_inputs_ for model in models):
        raise ValueError("--inputs or --inputs-from was given, but no model takes inputs.")


def inputs_for(model: ROM, args: argparse.Namespace, data: list[str]) -> Any:
    """The inputs that `model` takes, if any."""
    if not model.dynamics_.n_inputs_:
        return None
    known, asked = model.input_names_, None if args.inputs is None else args.inputs.split(",")
    names = known if known is not None else asked
    if names is None:
        raise ValueError(
            f"The model takes {model.dynamics_.n_inputs_} inputs of unknown names: say --inputs."
        )
    if asked is not None and set(asked) != set(names):
        raise ValueError(f"The model takes the inputs {', '.join(names)}, not {args.inputs}.")
    return open_inputs(args, data, names)


def axis_of(model: ROM) -> TimeAxis:
    """The time axis of a model that was fitted on labelled data."""
    if model.time_axis_ is None:
        raise ValueError("The model was fitted on plain arrays; files need one fitted on a file.")
    return model.time_axis_


def select_until(X: Any, text: str) -> Any:
    """The snapshots up to that time, with it."""
    from rom.data.times import TimeAxis

    dim = TimeAxis.of(X).dim
    part = _between(X, dim, None, _time(X, dim, text))
    if part.sizes[dim] == 0:
        raise ValueError(f"No snapshot until {text}: the data begin at {X[dim].values[0]}.")
    return part


def _time(X: Any, dim: str, text: str) -> Any:
    """A time as the index of `X` takes it: dates as text, numbers as numbers."""
    try:
        return float(text) if X[dim].dtype.kind in "fiu" else text
    except ValueError:
        raise ValueError(f"Time is a number in these data, but {text!r} is not one.") from None


def start_at(X: Any, dim: str, text: str | None, n: int) -> Any:
    """The snapshot of that time, or the last; with the n - 1 before it."""
    now = X.sizes[dim] - 1 if text is None else _row_at(X, dim, text)
    if now + 1 < n:
        raise ValueError(f"The model starts from {n} snapshots, but up to there are {now + 1}.")
    return X.isel({dim: now if n == 1 else slice(now + 1 - n, now + 1)})


def _row_at(X: Any, dim: str, text: str) -> int:
    if dim not in X.coords:
        raise ValueError(f"The data carry no times along {dim!r}, so --at cannot choose one.")
    at = _time(X, dim, text)
    first, last = X[dim].values[[0, -1]]
    if isinstance(at, float):
        if not first <= at <= last:
            raise ValueError(f"No snapshot at {text}: the data run from {first} to {last}.")
        return int(abs(X[dim].values - at).argmin())
    part = _between(X[dim], dim, at, at)
    if part.size == 0:
        raise ValueError(f"No snapshot at {text}: the data run from {first} to {last}.")
    return int((X[dim].values == part.values[0]).argmax())


def _between(X: Any, dim: str, first: Any, last: Any) -> Any:
    try:
        return X.sel({dim: slice(first, last)})
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{last!r} is not a time of these data, like 2018-01.") from error


def models_and_data(files: list[str]) -> tuple[list[Path], list[str]]:
    """The model files that come first, at least one, and the data that follow them."""
    kinds = [_is_model(name) for name in files]
    if any(kinds) and not kinds[0]:
        said = ", ".join(
            f"{name} ({'a model' if kind else 'data'})"
            for name, kind in zip(files, kinds, strict=True)
        )
        raise ValueError(f"Models come first and the data last, but came {said}.")
    n = 1
    while n < len(files) and kinds[n]:
        n += 1
    if n == len(files):
        raise ValueError("Only models were given; held-out data must follow them.")
    return [Path(name) for name in files[:n]], files[n:]


def _is_model(path: str) -> bool:
    import netCDF4

    try:
        with netCDF4.Dataset(path) as file:
            return bool(file.__dict__.get("format") == "rom-model")
    except OSError:
        return False


def names_of(paths: list[Path]) -> list[str]:
    """The files' own names, or where these do not differ, their paths."""
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise ValueError("A model was given twice.")
    return names


def held_out(models: list[ROM], data: list[Any]) -> tuple[list[Any], str]:
    """The snapshots after every model's training range, and words on what was selected."""
    import numpy as np

    dims = [axis_of(model).dim for model in models]
    later = np.ones(data[0].sizes[dims[0]], dtype=bool)
    for model, X, dim in zip(models, data, dims, strict=True):
        if model.latent_t_ is None:
            return data, "The times are unknown: the model may have seen these snapshots."
        if X.sizes[dim] != len(later):
            raise ValueError("The models are of variables with different times.")
        later &= axis_of(model).to_numbers(X[dim]) > model.latent_t_.max()
    if later.all():
        return data, f"Checked on all {len(later)} snapshots, which follow the training range."
    if later.sum() < 3:
        return data, (
            f"Checked on all {len(later)} snapshots. Fewer than three come after the training "
            "range, so this is a check on data the model has seen."
        )
    chosen = [X.isel({dim: later}) for X, dim in zip(data, dims, strict=True)]
    return chosen, f"Checked on the {later.sum()} snapshots after the training range."
