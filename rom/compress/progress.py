"""A progress bar that counts bytes, for readings that take a while."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

# Less than this is read without a bar.
QUIET_BYTES = 256 * 2**20


def byte_bar(X: Any, what: str) -> Any:
    """A bar over the bytes of `X`; quiet where there are few, or no terminal."""
    return tqdm(
        total=X.nbytes,
        desc=what,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=True if X.nbytes < QUIET_BYTES else None,  # None: quiet when not on a terminal
    )
