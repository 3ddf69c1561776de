"""All that is measured of the check of a rollout: `python benchmarks/trust.py --data DIR`.

    [--case NAME ...] [--small]

Each case stands in a module of its own, trust_NAME.py, whose docstring says what is measured and
how. With --small everything ends within a minute or two, and the figures mean little.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

CASES = ("bounds", "bands", "lyapunov", "discrimination", "faults", "ctf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="the folder of the data")
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--small", action="store_true", help="try the code only")
    arguments = parser.parse_args()
    for case in arguments.case:
        print(f"\n## {case}\n", flush=True)
        importlib.import_module(f"trust_{case}").run(arguments.small, arguments.data)


if __name__ == "__main__":
    main()
