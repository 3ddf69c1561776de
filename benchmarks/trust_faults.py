"""Faults: does every one end in a clear error, or in a report that says what is wrong, in time?

First the cases of ``tests/rollout/faults.py`` one by one: what went wrong, what was said, and the
seconds of the processor it took, of 20 that it may. Then 10,000 calls made by hypothesis from sound
arguments, spoiled at random: values and times that are infinite, not numbers, huge or tiny, arrays
of another shape or kind, repeated or missing times, gaps, labels, options out of their range,
models that blow up or are not defined everywhere. A call passes if it raises ValueError or
TypeError with a message, or returns a report that can be written as JSON and, if it calls the model
trusted, holds only finite errors of a model that is sound. Any other exception, a warning, or 20 s,
fails it.

    python benchmarks/trust_faults.py [--small]
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings

import rom

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "rollout"))
from faults import FAULTS, Fault, T, calls, check, model

LIMIT = 20.0
SOUND = ("plain", "labelled", "discrete", "forced")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer on the processor: others may work beside it."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"took longer than {seconds:g} s")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def ending(act: Callable[[], Any]) -> tuple[str, Any]:
    """How it ended, in a word, and with what."""
    try:
        with time_limit(LIMIT), warnings.catch_warnings():
            warnings.simplefilter("error")
            return "report", act()
    except (ValueError, TypeError, FloatingPointError) as error:
        return type(error).__name__, error


def passes(fault: Fault) -> tuple[bool, str, str]:
    """Whether the fault ends as it must; how, and with which words."""
    kind, found = ending(lambda: fault.check(thorough=True))
    if kind == "report":
        right = fault.error is None and fault.words in str(found) and not found.trusted
        return right, "flagged report", found.verdict
    right = fault.error is not None and isinstance(found, fault.error) and fault.words in str(found)
    return right, kind, str(found).splitlines()[0]


def known_faults() -> None:
    print("| fault | ends in | words | s |\n|---|---|---|---|")
    n_right = 0
    for fault in FAULTS:
        begin = process_time()
        right, kind, words = passes(fault)
        n_right += right
        mark = "" if right else " **wrong**"
        print(f"| {fault.name} | {kind}{mark} | {words} | {process_time() - begin:.2f} |")
    print(f"\nAsked: every one, within a time limit. Reached: {n_right} of {len(FAULTS)}.\n")


def fuzz(n: int) -> None:
    endings: Counter[str] = Counter()
    slowest = [0.0]

    @settings(
        max_examples=n,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(calls())
    def attempt(call: tuple[str, Any, dict[str, Any]]) -> None:
        kind, reference, options = call
        begin = process_time()
        ended, found = ending(lambda: rom.check(model(kind), reference, **options))
        slowest[0] = max(slowest[0], process_time() - begin)
        if ended == "report":
            json.loads(found.to_json())
            ended = "report, trusted" if found.trusted else "report, flagged"
            assert not found.trusted or (kind in SOUND and np.isfinite(found.data["error"]).all())
        assert ended != "FloatingPointError", found  # which only full models may raise
        endings[ended] += 1

    attempt()
    print("| fuzzed calls end in | number |\n|---|---|")
    for name, count in endings.most_common():
        print(f"| {name} | {count} |")
    print(
        f"\nAsked: 10,000 fuzzed inputs, each a clear error or a report in time. Reached: all of "
        f"{sum(endings.values())}, the slowest in {slowest[0]:.1f} s."
    )


def run(small: bool, data: Path | None = None) -> None:
    inputs = {"plain": None, "discrete": None, "forced": np.sin(3 * T)}
    for kind, u in inputs.items():  # compiles, which is done once on a machine
        check(kind, u=u, horizon=5.0, thorough=True)
    known_faults()
    fuzz(200 if small else 10_000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    run(parser.parse_args().small)
