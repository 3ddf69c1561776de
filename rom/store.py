"""Save and load a fitted ROM as one NetCDF-4 file that xarray opens. No pickle, no code.

One group per part. Fitted arrays are variables; those over the cells of the snapshots (modes,
means) are laid out on their own coordinates. Everything else (parameters, scalars) is JSON in the
group's attributes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections.abc import Mapping
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

import rom
from rom.data.times import TimeAxis
from rom.data.write import atomic_path, with_plain_attrs
from rom.model import ROM

FORMAT = "rom-model"
SCHEMA = 1

# The only modules whose classes a file can name.
_MODULES = ("rom.model", "rom.data", "rom.compress", "rom.dynamics")
_PARTS = ("flatten_", "preprocess_", "compressor_", "dynamics_")
# Parts with arrays over the cells of the snapshots, which their `_over_cells` names.
_MAPPED = ("preprocess_", "compressor_")


def save(model: ROM, path: str | PathLike[str]) -> None:
    """Write a fitted model as one NetCDF-4 file.

    The file is written under a temporary name beside `path` and renamed when complete.

    Parameters
    ----------
    model : ROM
        A fitted model whose parts are classes of rom.
    path : path
        Where to write; an existing file is replaced.

    Raises
    ------
    TypeError
        If a part is not a class of rom, so that no file could bring it back.
    """
    check_is_fitted(model)
    tree = _to_tree(model)
    with atomic_path(path) as temporary:
        tree.to_netcdf(temporary, engine="netcdf4", format="NETCDF4")


def load(path: str | PathLike[str]) -> ROM:
    """Read a model that :meth:`rom.ROM.save` wrote; its rollouts are bit-equal.

    Parameters
    ----------
    path : path
        The file. Nothing in it is executed.

    Returns
    -------
    ROM

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, not a model of rom, or written by a newer version.

    Examples
    --------
    >>> import os, tempfile, numpy as np, rom
    >>> model = rom.ROM().fit(np.random.default_rng(0).normal(size=(50, 4)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(os.path.join(folder, "model.nc"))
    ...     loaded = rom.load(os.path.join(folder, "model.nc"))
    >>> bool((loaded.predict(np.eye(4)) == model.predict(np.eye(4))).all())
    True
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a model file.")
    if not path.is_file():
        raise FileNotFoundError(f"No such model file: {path}.")
    try:
        with xr.open_datatree(path, engine="netcdf4") as tree:
            _check_header(path, tree.attrs)
            tree.load()
    except (OSError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{path} is truncated or not a NetCDF-4 file ({error}).") from error
    try:
        return _from_tree(tree)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or not a whole rom model: {error}.") from error


def _check_header(path: Path, attrs: Mapping[Any, Any]) -> None:
    if attrs.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a rom model: its attribute 'format' is {attrs.get('format')!r}, "
            f"expected {FORMAT!r}."
        )
    schema = attrs.get("schema")
    if not isinstance(schema, int | np.integer):
        raise ValueError(f"{path} is damaged: its schema is {schema!r}, not a number.")
    if schema > SCHEMA:
        raise ValueError(
            f"{path} has schema {schema}, written by rom {attrs.get('rom_version')}; "
            f"this is rom {rom.__version__}, which reads up to schema {SCHEMA}. Upgrade rom."
        )


def _to_tree(model: ROM) -> xr.DataTree:
    groups: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs=_header(model))}
    for part in _PARTS:
        maps = model.flatten_ if part in _MAPPED and model.flatten_.template_ is not None else None
        groups |= _estimator_groups(getattr(model, part), f"/{part}", maps)
    axis = model.time_axis_
    labels = {} if axis is None else {"unit": axis.unit, "origin": axis.origin or ""}
    latent: dict[str, Any] = {"latent_": (("time", "mode"), model.latent_)}
    latent["latent_trajectory_"] = (("time",), model.latent_trajectory_)
    if model.latent_t_ is not None:
        latent["latent_t_"] = (("time",), model.latent_t_, labels)
    if model.latent_u_ is not None:
        latent["latent_u_"] = (("time", "input"), model.latent_u_)
    groups["/training"] = xr.Dataset(latent)
    return xr.DataTree.from_dict({path: with_plain_attrs(ds) for path, ds in groups.items()})


def _header(model: ROM) -> dict[str, Any]:
    t = model.latent_t_
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "rom_version": rom.__version__,
        "versions": json.dumps(
            {"python": platform.python_version(), "numpy": np.__version__, "xarray": xr.__version__}
        ),
        "estimator": json.dumps(_encode(_parameters(model))),
        "time_axis": json.dumps(_encode(model.time_axis_)),
        "training_range": json.dumps(None if t is None else [float(t.min()), float(t.max())]),
        "n_features_in": model.n_features_in_,
        "fit_seconds": model.fit_seconds_,
        "input_names": json.dumps(model.input_names_),
    }


def _from_tree(tree: Any) -> ROM:
    model: ROM = _decode(json.loads(tree.attrs["estimator"]))
    model.time_axis_ = _decode(json.loads(tree.attrs["time_axis"]))
    model.n_features_in_ = int(tree.attrs["n_features_in"])
    model.fit_seconds_ = float(tree.attrs.get("fit_seconds", np.nan))
    model.input_names_ = json.loads(tree.attrs.get("input_names", "null"))  # not in older files
    model.flatten_ = _estimator(tree["flatten_"], None)
    for part in _PARTS[1:]:
        setattr(model, part, _estimator(tree[part], model.flatten_ if part in _MAPPED else None))
    training = tree["training"]
    model.latent_ = training["latent_"].values
    model.latent_t_ = training["latent_t_"].values if "latent_t_" in training else None
    model.latent_u_ = training["latent_u_"].values if "latent_u_" in training else None
    model.latent_trajectory_ = training["latent_trajectory_"].values.astype(np.intp)
    return model


# -- estimators <-> groups --------------------------------------------------------------------


def _estimator_groups(part: Any, path: str, flatten: Any) -> dict[str, xr.Dataset]:
    """The groups that hold one fitted estimator: its own, and one for each labelled array."""
    variables: dict[str, Any] = {}
    groups: dict[str, xr.Dataset] = {}
    state: dict[str, Any] = {}
    for name, value in _fitted(part).items():
        if isinstance(value, xr.Dataset):
            groups[f"{path}/{name}"] = value
        elif isinstance(value, np.ndarray) and flatten is not None and name in part._over_cells:
            groups[f"{path}/{name}"] = _to_field(part._over_cells[name], value, flatten)
        elif isinstance(value, np.ndarray):
            variables[name] = _variable(name, value)
        elif isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            state[name] = {"arrays": len(value)}
            variables |= {f"{name}{i}": _variable(f"{name}{i}", a) for i, a in enumerate(value)}
        else:
            state[name] = _encode(value)
    attrs = {"estimator": json.dumps(_encode(_parameters(part))), "state": json.dumps(state)}
    return {path: xr.Dataset(variables, attrs=attrs)} | groups


def _estimator(group: xr.DataTree, flatten: Any) -> Any:
    """The fitted estimator that a group holds."""
    part = _decode(json.loads(group.attrs["estimator"]))
    for name, value in json.loads(group.attrs["state"]).items():
        if isinstance(value, dict) and "arrays" in value:
            _set_fitted(part, name, [group[f"{name}{i}"].values for i in range(value["arrays"])])
        else:
            _set_fitted(part, name, _decode(value))
    for name, variable in group.data_vars.items():
        if str(name).endswith("_"):
            _set_fitted(part, str(name), variable.values)
    for name, child in group.children.items():
        field = child.to_dataset()
        _set_fitted(part, name, field if flatten is None else _from_field(field, flatten))
    return part


def _set_fitted(part: BaseEstimator, name: str, value: Any) -> None:
    """Set a fitted attribute; a file can set nothing else."""
    if not name.endswith("_") or name.startswith("_") or hasattr(type(part), name):
        raise ValueError(f"{name!r} is not a fitted attribute of {type(part).__name__}")
    setattr(part, name, value)


def _fitted(part: BaseEstimator) -> dict[str, Any]:
    return {k: v for k, v in vars(part).items() if k.endswith("_") and not k.startswith("_")}


def _variable(name: str, value: np.ndarray) -> tuple[list[str], np.ndarray]:
    return [f"{name}{axis}" for axis in range(value.ndim)], value


def _to_field(other: str | None, value: np.ndarray, flatten: Any) -> xr.Dataset:
    """An array (other, cells), or (cells,), as maps on the snapshots' own coordinates."""
    dim = other or "single_row"
    maps = flatten.inverse_transform(np.atleast_2d(value), dim=dim)
    if isinstance(maps, xr.DataArray):
        maps = maps.to_dataset(name=flatten.variables_[0])
    maps = maps.drop_attrs().drop_vars([c for c in maps.coords if not maps[c].ndim])
    if value.ndim == 1:
        maps = maps.isel(single_row=0)
    return maps.assign_attrs(comment="in scaled units: see the group preprocess_")


def _from_field(maps: xr.Dataset, flatten: Any) -> np.ndarray:
    columns = [
        maps[v].transpose(..., *mask.dims).values[..., mask.values]
        for v, mask in flatten.template_.data_vars.items()
    ]
    return np.ascontiguousarray(np.concatenate(columns, axis=-1))


# -- values <-> JSON --------------------------------------------------------------------------


def _parameters(part: BaseEstimator) -> BaseEstimator:
    """The part as its constructor left it: what `_encode` writes as class and parameters."""
    return type(part)(**part.get_params(deep=False))


def _encode(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}  # JSON has no NaN and no infinity
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_encode(v) for v in value]
    if isinstance(value, tuple):
        return {"tuple": [_encode(v) for v in value]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    name = getattr(value, "__name__", "")
    if isinstance(value, np.ufunc) and getattr(np, name, None) is value:
        return {"ufunc": name}
    if isinstance(value, TimeAxis):
        return {"time_axis": dataclasses.asdict(value)}
    if isinstance(value, dict):
        return {"dict": {k: _encode(v) for k, v in value.items()}}
    if isinstance(value, BaseEstimator):
        name = type(value).__name__
        if _classes().get(name) is not type(value):
            raise TypeError(
                f"{type(value).__module__}.{name} is not a class of rom, so a saved model could "
                "not be loaded again."
            )
        params = {k: _encode(v) for k, v in value.get_params(deep=False).items()}
        state = {k: _encode(v) for k, v in _fitted(value).items()}
        return {"class": name, "parameters": params, "state": state}
    raise TypeError(f"A model holding a {type(value).__name__} ({value!r}) cannot be saved.")


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    if "tuple" in value:
        return tuple(_decode(v) for v in value["tuple"])
    if "array" in value:
        return np.array(value["array"], dtype=value["dtype"])
    if "ufunc" in value:
        return getattr(np, value["ufunc"])
    if "time_axis" in value:
        return TimeAxis(**value["time_axis"])
    if "dict" in value:
        return {k: _decode(v) for k, v in value["dict"].items()}
    cls = _classes().get(value["class"])
    if cls is None:
        raise ValueError(f"The file names the class {value['class']!r}, which rom does not have.")
    part = cls(**{k: _decode(v) for k, v in value["parameters"].items()})
    for name, fitted in value["state"].items():
        _set_fitted(part, name, _decode(fitted))
    return part


def _classes() -> dict[str, type[BaseEstimator]]:
    """The estimators of rom by name."""
    members = [vars(import_module(module)) for module in _MODULES]
    return {
        name: obj
        for names in members
        for name, obj in names.items()
        if isinstance(obj, type) and issubclass(obj, BaseEstimator)
    }
