"""The command line: rom demo | fit | rollout | check | info.

Exit status: 0 fine, 1 a model is not stable or its rollout ended early, 2 bad input (one line
says what).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING

from rom.cli_files import (
    axis_of,
    expect_inputs,
    held_out,
    inputs_for,
    models_and_data,
    names_of,
    open_files,
    open_for,
    open_inputs,
    select_until,
    start_at,
)

if TYPE_CHECKING:
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
        0, or 1 if a model is not stable or its rollout ended early, or 2 for bad input.

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
    except RuntimeError as error:
        if "HDF error" not in str(error):
            raise
        print(f"rom {args.name}: error: a file is damaged inside: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rom", description="Reduced-order models of snapshot data: fit, roll out, check."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")
    _demo_arguments(
        commands.add_parser("demo", help="the main job on a cylinder wake, start to end")
    )
    _fit_arguments(commands.add_parser("fit", help="fit a reduced model to snapshots"))
    _rollout_arguments(commands.add_parser("rollout", help="run a model from a state in a file"))
    words = "check rollouts against held-out data, of one model or of several"
    _check_arguments(commands.add_parser("check", help=words))
    _info_arguments(
        commands.add_parser("info", help="equations, spectrum and training range of a model")
    )
    return parser


def _demo_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, default=Path("demo-output"), metavar="DIR")
    command.set_defaults(command=_demo)


def _fit_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", nargs="+", metavar="DATA", help="NetCDF files or a Zarr store")
    command.add_argument("--var", metavar="V[,V]", help="variables (default: the only one)")
    size = command.add_mutually_exclusive_group()
    size.add_argument("--rank", type=int, metavar="R", help="number of modes")
    size.add_argument("--energy", type=float, metavar="E", help="fraction of the energy to keep")
    command.add_argument(
        "--dynamics",
        choices=["sindy", "opinf", "dmd", "neural-ode"],
        default="dmd",
        help="kind of latent model (default: dmd)",
    )
    command.add_argument(
        "--n-delays", type=int, default=1, metavar="N", help="snapshots in a latent state"
    )
    command.add_argument("--train-until", metavar="T", help="use snapshots up to this time only")
    command.add_argument("--climatology", choices=["month", "day"], help="model anomalies from it")
    command.add_argument(
        "--area-weights", action="store_true", help="weight cells by sqrt(cos(lat))"
    )
    _add_inputs(command, "variables along time alone that drive the model (default: none)")
    command.add_argument("-o", "--output", required=True, type=Path, metavar="MODEL")
    command.set_defaults(command=_fit)


def _rollout_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=Path)
    command.add_argument("--from", dest="data", nargs="+", required=True, metavar="DATA")
    command.add_argument("--at", metavar="T", help="time of the starting state (default: the last)")
    command.add_argument(
        "--steps", type=int, required=True, metavar="N", help="sampling steps to run"
    )
    _add_inputs(command, "its inputs (default: those it was fitted with)")
    command.add_argument("-o", "--output", required=True, type=Path, metavar="FORECAST")
    command.set_defaults(command=_rollout)


def _check_arguments(command: argparse.ArgumentParser) -> None:
    command.usage = (
        "rom check [-h] [--horizon T] [--n-starts N] [--quick] [--json F] [--html F]\n"
        "                 [--inputs NAME[,NAME]] [--inputs-from FILE]\n"
        "                 MODEL [MODEL ...] DATA [DATA ...]"
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="models, and then data")
    command.add_argument(
        "--horizon",
        type=float,
        metavar="T",
        help="how far each rollout runs, in the model's unit of time (default: half of the data)",
    )
    command.add_argument(
        "--n-starts", type=int, default=20, metavar="N", help="the most rollouts (default: 20)"
    )
    command.add_argument(
        "--quick", action="store_true", help="errors, skill and cost only, no long-run statistics"
    )
    _add_inputs(command, "their inputs (default: those they were fitted with)")
    command.add_argument("--json", type=Path, metavar="F", help="write the report as JSON")
    command.add_argument("--html", type=Path, metavar="F", help="write the report as one HTML page")
    command.set_defaults(command=_check)


def _info_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=Path)
    command.set_defaults(command=_info)


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

    _writable([args.output], [*args.data, args.inputs_from])
    X = open_files(args.data, None if args.var is None else args.var.split(","))
    u = None
    if args.inputs is not None:
        u = open_inputs(args, args.data, args.inputs.split(","))
    elif args.inputs_from is not None:
        raise ValueError("--inputs-from says where inputs are; name them by --inputs.")
    if args.train_until is not None:
        X = select_until(X, args.train_until)
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
    from rom.rollout.truths import step_of

    _writable([args.output], [args.model, *args.data, args.inputs_from])
    if args.steps < 1:
        raise ValueError(f"--steps must be at least 1, but it is {args.steps}.")
    model = rom.load(args.model)
    expect_inputs([model], args)
    X = open_for(model, args.data)
    dim = axis_of(model).dim
    t = step_of(model) * np.arange(args.steps + 1)
    start_state = start_at(X, dim, args.at, model.states_per_row)
    u = inputs_for(model, args, args.data)
    forecast = model.rollout(start_state, t, u=u, throw=False)
    with atomic_path(args.output) as path:
        with_plain_attrs(forecast).to_netcdf(path, engine="netcdf4")
    start = forecast[dim].values[0] if dim in forecast.coords else "an unknown time"
    print(f"{args.output}: from {start}: {forecast.attrs['message']}")
    return 0 if forecast.attrs["status"] == "COMPLETED" else 1


def _check(args: argparse.Namespace) -> int:
    import rom

    _writable([args.json, args.html], [*args.files, args.inputs_from])
    paths, files = models_and_data(args.files)
    names = names_of(paths)
    models = [rom.load(path) for path in paths]
    expect_inputs(models, args)
    snapshots, words = held_out(models, [open_for(model, files) for model in models])
    print(words)
    options = {"horizon": args.horizon, "n_starts": args.n_starts, "thorough": not args.quick}
    reports = {
        name: rom.check(model, X, u=inputs_for(model, args, files), **options)
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

    width = get_terminal_size().columns
    print(as_text(comparison_table(reports), width), end="\n\n")
    for name, report in reports.items():
        print(fill(f"{name}: {report.verdict}", width, subsequent_indent="  "))


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


def _writable(outputs: Sequence[Path | None], inputs: Sequence[str | Path | None]) -> None:
    """Refuse output paths before any work is done for them."""
    from rom.data.write import check_writable

    taken = {Path(name).resolve(): "an input" for name in inputs if name is not None}
    for path in filter(None, outputs):
        if path.resolve() in taken:
            said = taken[path.resolve()]
            raise ValueError(f"{path} is {said}: the output would overwrite it.")
        check_writable(path)
        taken[path.resolve()] = "another output"


def _summary(model: ROM) -> str:
    n, memory, dynamics = len(model.latent_), model.states_per_row, model.dynamics_
    fitted_on = f"{n} snapshots" if memory == 1 else f"{n} histories of {memory} snapshots"
    return (
        f"{type(model.compressor_).__name__} of rank {model.compressor_.rank_} and "
        f"{type(dynamics).__name__} ({dynamics.time} time), fitted on {fitted_on} of "
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
