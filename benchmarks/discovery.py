"""All that is measured of model discovery, one script after the other.

    python benchmarks/discovery.py --data DIR [--case NAME ...]

DIR is a folder with the data that the scripts' docstrings name. Peers: `pip install pysindy pydmd`;
the chaotic systems need `pip install --no-deps dysts` and sympy. Timings ask for a quiet machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CASES = {
    "chaotic": ["chaotic_systems.py"],
    "noise": ["discovery_speed.py", "--noise"],
    "cylinder": ["cylinder.py", "--data", "DIR"],
    "enso": ["enso.py", "--data", "DIR"],
    "sst": ["sst.py", "--data", "DIR"],
    "slp": ["slp.py", "--data", "DIR"],
    "opinf": ["opinf.py"],
    "ctf": ["ctf_lorenz.py", "--data", "DIR"],
    "speed": ["discovery_speed.py"],
    "weak": ["discovery_speed.py", "--weak"],
    "dmd": ["dmd.py", "--rank", "20"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="the folder of the data")
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()
    failed = []
    for name in arguments.case:
        script, *options = CASES[name]
        if "DIR" in options and arguments.data is None:
            parser.error(f"{script} needs --data DIR")
        options = [arguments.data if option == "DIR" else option for option in options]
        print(f"\n## {' '.join([script, *options])}\n", flush=True)
        if subprocess.run([sys.executable, HERE / script, *options], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nFailed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
