"""All that is measured of neural latent dynamics: `python benchmarks/neural.py --data DIR`.

    [--case NAME ...] [--small]

Each case stands in a module of its own, neural_NAME.py, whose docstring says what is measured and
how. DIR is a folder with the data of `dysts`. With --small everything ends within seconds, and the
figures mean nothing.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

CASES = (
    "training",
    "structure",
    "contractive",
    "width",
    "small",
    "closure",
    "dysts",
    "chaos",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="the folder of the data")
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--small", action="store_true", help="try the code only")
    arguments = parser.parse_args()
    for case in arguments.case:
        print(f"\n## {case}\n", flush=True)
        importlib.import_module(f"neural_{case}").run(arguments.small, arguments.data)


if __name__ == "__main__":
    main()
