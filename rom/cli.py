"""The command line: rom demo | fit | rollout | check | info.

Exit status: 0 fine, 1 the model is unstable, 2 bad input (one line says what).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rom.data.times import TimeAxis
    from rom.model import ROM
    from rom.rollout import StabilityReport

# Heavy imports stand inside the commands, so that `rom --help` is instant.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; ``sys.argv`` by default.

    Returns
    -------
    int
        0, or 1 if a model proved unstable, or 2 for bad input.

    Examples
    --------
    >>> main(["info", "no-such-model.nc"])
    2
    """
    args = _parser().parse_args(argv)
    try:
        status: int = args.command(args)
    except MemoryError:
        print(f"rom {args.name}: error: not enough memory for so much output", file=sys.stderr)
        return 2
    except (ValueError, TypeError, OSError, KeyError, ImportError, OverflowError) as error:
        text = " ".join(str(error).split())
        print(f"rom {args.name}: error: {text}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rom", description="Reduced-order models of snapshot data: fit, roll out, check."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")

    demo = commands.add_parser("demo", help="the main job on a cylinder wake, start to end")
    demo.add_argument("--out", type=Path, default=Path("demo-output"), metavar="DIR")
    demo.set_defaults(command=_demo)

    fit = commands.add_parser("fit", help="fit a reduced model to snapshots")
    fit.add_argument("data", nargs="+", metavar="DATA", help="NetCDF files or a Zarr store")
    fit.add_argument("--var", metavar="V[,V]", help="variables (default: the only one)")
    size = fit.add_mutually_exclusive_group()
    size.add_argument("--rank", type=int, metavar="R", help="number of modes")
    size.add_argument("--energy", type=float, metavar="E", help="fraction of the energy to keep")
    fit.add_argument(
        "--dynamics",
        choices=["sindy", "opinf", "dmd", "neural-ode"],
        default="dmd",
        help="kind of latent model (default: dmd)",
    )
    fit.add_argument(
        "--n-delays", type=int, default=1, metavar="N", help="snapshots in a latent state"
    )
    fit.add_argument("--train-until", metavar="T", help="use snapshots up to this time only")
    fit.add_argument("--climatology", choices=["month", "day"], help="model anomalies from it")
    fit.add_argument("--area-weights", action="store_true", help="weight cells by sqrt(cos(lat))")
    _add_inputs(fit, "variables along time alone that drive the model (default: none)")
    fit.add_argument("-o", "--output", required=True, type=Path, metavar="MODEL")
    fit.set_defaults(command=_fit)

    run = commands.add_parser("rollout", help="run a model from a state in a file")
    run.add_argument("model", type=Path)
    run.add_argument("--from", dest="data", nargs="+", required=True, metavar="DATA")
    run.add_argument("--at", metavar="T", help="time of the starting state (default: the last)")
    run.add_argument("--steps", type=int, required=True, metavar="N", help="sampling steps to run")
    _add_inputs(run, "its inputs (default: those it was fitted with)")
    run.add_argument("-o", "--output", required=True, type=Path, metavar="FORECAST")
    run.set_defaults(command=_rollout)

    check = commands.add_parser(
        "check",
        help="check rollouts against held-out data, of one model or of several",
        usage="rom check [-h] [--horizon T] [--n-starts N] [--quick] [--json F] [--html F]\n"
        "                 [--inputs NAME[,NAME]] [--inputs-from FILE]\n"
        "                 MODEL [MODEL ...] DATA [DATA ...]",
    )
    check.add_argument("files", nargs="+", metavar="FILE", help="models, and then data")
    check.add_argument(
        "--horizon",
        type=float,
        metavar="T",
        help="how far each rollout runs, in the model's unit of time (default: half of the data)",
    )
    check.add_argument(
        "--n-starts", type=int, default=20, metavar="N", help="the most rollouts (default: 20)"
    )
    check.add_argument(
        "--quick", action="store_true", help="errors, skill and cost only, no long-run statistics"
    )
    _add_inputs(check, "their inputs (default: those they were fitted with)")
    check.add_argument("--json", type=Path, metavar="F", help="write the report as JSON")
    check.add_argument("--html", type=Path, metavar="F", help="write the report as one HTML page")
    check.set_defaults(command=_check)

    info = commands.add_parser("info", help="equations, spectrum and training range of a model")
    info.add_argument("model", type=Path)
    info.set_defaults(command=_info)
    return parser


def _add_inputs(command: argparse.ArgumentParser, words: str) -> None:
    command.add_argument("--inputs", metavar="NAME[,NAME]", help=words)
    command.add_argument(
        "--inputs-from", metavar="FILE", help="the file that holds the inputs (default: the data)"
    )


def _demo(args: argparse.Namespace) -> int:
    """From snapshots of a wake that starts to shed, to a checked model of it."""
    from rom.demo import run

    return run(args.out)


def _fit(args: argparse.Namespace) -> int:
    import rom

    _writable(args.output, args.data)
    X = _open(args.data, None if args.var is None else args.var.split(","))
    u = None
    if args.inputs is not None:
        u = _open_inputs(args, args.data, args.inputs.split(","))
    elif args.inputs_from is not None:
        raise ValueError("--inputs-from says where inputs are; name them by --inputs.")
    if args.train_until is not None:
        X = _select_until(X, args.train_until)
    if args.rank is not None and args.rank < 1:
        raise ValueError(f"--rank must be at least 1, but it is {args.rank}.")
    if args.energy is not None and not 0 < args.energy < 1:
        raise ValueError(f"--energy must lie between 0 and 1, but it is {args.energy:g}.")
    n_components = args.rank if args.rank is not None else args.energy
    # Thresholds and ridges that are pure numbers: latent coordinates may be of any size.
    kinds = {
        "sindy": rom.SINDy(threshold=0.01, relative_threshold=True),
        "opinf": rom.OperatorInference(ridge=1e-3),
        "dmd": rom.DMD(),
        "neural-ode": rom.NeuralODE(random_state=0),
    }
    scale = rom.Scale(climatology=args.climatology, area_weights=args.area_weights)
    compressor = None if n_components is None else rom.POD(n_components)
    model = rom.ROM(compressor, kinds[args.dynamics], preprocess=scale, n_delays=args.n_delays)
    model.fit(X, u=u).save(args.output)
    print(f"{args.output}: {_summary(model)}")
    return 0


def _rollout(args: argparse.Namespace) -> int:
    import numpy as np

    import rom
    from rom.data.write import atomic_path, with_plain_attrs

    _writable(args.output, [args.model, *args.data])
    if args.steps < 1:
        raise ValueError(f"--steps must be at least 1, but it is {args.steps}.")
    model = rom.load(args.model)
    X = _open_for(model, args.data)
    dim = _axis(model).dim
    step = model.dynamics_.dt_ if np.isfinite(model.dynamics_.dt_) else 1.0
    t = step * np.arange(args.steps + 1)
    start_state = _start_at(X, dim, args.at, model.states_per_row)
    u = _inputs_for(model, args, args.data)
    forecast = model.rollout(start_state, t, u=u, throw=False)
    with atomic_path(args.output) as path:
        with_plain_attrs(forecast).to_netcdf(path, engine="netcdf4")
    start = forecast[dim].values[0] if dim in forecast.coords else "an unknown time"
    print(f"{args.output}: from {start}: {forecast.attrs['message']}")
    return 0 if forecast.attrs["status"] == "COMPLETED" else 1


def _check(args: argparse.Namespace) -> int:
    import rom

    for path in filter(None, (args.json, args.html)):
        _writable(path, args.files)
    paths, files = _models_and_data(args.files)
    names = _names(paths)
    models = [rom.load(path) for path in paths]
    snapshots, words = _held_out(models, [_open_for(model, files) for model in models])
    print(words)
    options = {"horizon": args.horizon, "n_starts": args.n_starts, "thorough": not args.quick}
    reports = {
        name: rom.check(model, X, u=_inputs_for(model, args, files), **options)
        for name, model, X in zip(names, models, snapshots, strict=True)
    }
    if args.json:
        _write_json(reports, args.json)
    if args.html:
        _write_html(reports, dict(zip(names, models, strict=True)), args.html)
    _print_reports(reports)
    return 0 if all(report.stable for report in reports.values()) else 1


def _print_reports(reports: dict[str, StabilityReport]) -> None:
    if len(reports) == 1:
        print(*reports.values())
        return
    from rom.report.tables import as_text, comparison_table

    print(as_text(comparison_table(reports)))


def _write_json(reports: dict[str, StabilityReport], path: Path) -> None:
    if len(reports) == 1:
        next(iter(reports.values())).to_json(path)
        return
    import json

    from rom.data.write import atomic_path

    found = {name: json.loads(report.to_json()) for name, report in reports.items()}
    with atomic_path(path) as part:
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _write_html(reports: dict[str, StabilityReport], models: dict[str, ROM], path: Path) -> None:
    from rom.report.html import compare_to_html, to_html

    if len(reports) == 1:
        for name, report in reports.items():
            to_html(report, path, model=models[name])
    else:
        compare_to_html({name: (reports[name], models[name]) for name in reports}, path)


def _info(args: argparse.Namespace) -> int:
    import rom

    model = rom.load(args.model)
    print(_summary(model))
    print(_training_range(model))
    if model.input_names_ is not None:
        print("inputs: " + ", ".join(f"u{i} = {n}" for i, n in enumerate(model.input_names_)))
    ratios = getattr(model.compressor_, "explained_variance_ratio_", ())
    if len(ratios):
        print("energy by mode: " + " ".join(f"{r:.3g}" for r in ratios))
    if hasattr(model.dynamics_, "eigenvalues_"):
        print("eigenvalues: " + " ".join(f"{v:.4g}" for v in model.dynamics_.eigenvalues_))
    if hasattr(model.dynamics_, "equations"):
        print(*model.dynamics_.equations(), sep="\n")
    return 0


# -- helpers ----------------------------------------------------------------------------------


def _open(paths: list[str], names: list[str] | None) -> Any:
    from rom.data.io import open_snapshots

    var = names[0] if names and len(names) == 1 else names
    return open_snapshots(paths[0] if len(paths) == 1 else paths, var)


def _open_for(model: ROM, paths: list[str]) -> Any:
    """The variables of `paths` that `model` was fitted on."""
    import xarray as xr

    _axis(model)
    flatten = model.flatten_
    unnamed = flatten.kind_ == "DataArray" and flatten.name_ is None
    X = _open(paths, None if unnamed else flatten.variables_)
    if unnamed:
        return X.rename(None)
    return X.to_dataset() if flatten.kind_ == "Dataset" and isinstance(X, xr.DataArray) else X


def _open_inputs(args: argparse.Namespace, data: list[str], names: list[str]) -> Any:
    """The inputs of those names, as a Dataset."""
    u = _open(data if args.inputs_from is None else [args.inputs_from], names).load()
    return u.to_dataset() if len(names) == 1 else u


def _inputs_for(model: ROM, args: argparse.Namespace, data: list[str]) -> Any:
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
    return _open_inputs(args, data, names)


def _axis(model: ROM) -> TimeAxis:
    if model.time_axis_ is None:
        raise ValueError("The model was fitted on plain arrays; files need one fitted on a file.")
    return model.time_axis_


def _select_until(X: Any, text: str) -> Any:
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


def _start_at(X: Any, dim: str, text: str | None, n: int) -> Any:
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


def _models_and_data(files: list[str]) -> tuple[list[Path], list[str]]:
    """The model files that come first, at least one, and the data that follow them."""
    n = 1
    while n < len(files) and _is_model(files[n]):
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


def _names(paths: list[Path]) -> list[str]:
    """The files' own names, or where these do not differ, their paths."""
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    if len(set(names)) < len(names):
        raise ValueError("A model was given twice.")
    return names


def _held_out(models: list[ROM], data: list[Any]) -> tuple[list[Any], str]:
    """The snapshots after every model's training range, and words on what was selected."""
    import numpy as np

    dims = [_axis(model).dim for model in models]
    later = np.ones(data[0].sizes[dims[0]], dtype=bool)
    for model, X, dim in zip(models, data, dims, strict=True):
        if model.latent_t_ is None:
            return data, "The times are unknown: the model may have seen these snapshots."
        if X.sizes[dim] != len(later):
            raise ValueError("The models are of variables with different times.")
        later &= _axis(model).to_numbers(X[dim]) > model.latent_t_.max()
    if later.all():
        return data, f"Checked on all {len(later)} snapshots, which follow the training range."
    if later.sum() < 3:
        return data, (
            f"Checked on all {len(later)} snapshots. Fewer than three come after the training "
            "range, so this is a check on data the model has seen."
        )
    chosen = [X.isel({dim: later}) for X, dim in zip(data, dims, strict=True)]
    return chosen, f"Checked on the {later.sum()} snapshots after the training range."


def _writable(path: Path, inputs: Sequence[str | Path]) -> None:
    """Refuse an output path before any work is done for it."""
    from rom.data.write import check_writable

    if path.resolve() in [Path(name).resolve() for name in inputs]:
        raise ValueError(f"{path} is an input: the output would overwrite it.")
    check_writable(path)


def _summary(model: ROM) -> str:
    n, dynamics = len(model.latent_), model.dynamics_
    return (
        f"{type(model.compressor_).__name__} of rank {model.compressor_.rank_} and "
        f"{type(dynamics).__name__} ({dynamics.time} time), fitted on {n} snapshots of "
        f"{', '.join(model.flatten_.variables_)} ({model.n_features_in_} numbers each)"
    )


def _training_range(model: ROM) -> str:
    from rom.report.words import quantity, training_times

    unit = None if model.time_axis_ is None else model.time_axis_.unit
    step = quantity(f"{model.dynamics_.dt_:g}", unit)
    times = training_times(model)
    return f"training times: {times}, step {step}" if times else "training times: unknown"


if __name__ == "__main__":
    sys.exit(main())
