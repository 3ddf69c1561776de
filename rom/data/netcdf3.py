"""Whether a classic NetCDF file is whole: the C library reads zeros where one ends early.

The header says where each variable begins; see the "NetCDF Classic Format Specification" in the
NetCDF user's guide (Unidata), for the versions CDF-1, CDF-2 and CDF-5.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

Item = TypeVar("Item")

# Bytes of one value of each external type, by its number: byte, char, short, int, float, double,
# and the unsigned and 64-bit types of CDF-5.
VALUE_BYTES = dict(zip(range(1, 12), (1, 1, 2, 4, 4, 8, 1, 2, 4, 8, 8), strict=True))
OFFSET = {1: ">i", 2: ">q", 5: ">q"}
COUNT = {1: ">i", 2: ">i", 5: ">q"}


def check_whole(path: Path) -> None:
    """Refuse a classic file that is shorter than its header says; pass over all other files.

    Raises
    ------
    OSError
        With both lengths.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        if magic[:3] != b"CDF" or magic[3:] not in (b"\1", b"\2", b"\5"):
            return
        try:
            needed = _Header(file, magic[3]).bytes_needed()
        except (struct.error, KeyError) as error:
            raise OSError("its header is broken or ends early") from error
    if (length := path.stat().st_size) < needed:
        raise OSError(f"it has {length} bytes, but its header promises {needed}")


class _Variable(NamedTuple):
    begin: int
    n_bytes: int  # of one record, where it has records
    has_records: bool


class _Header:
    """Reads a header's fields one after the other."""

    def __init__(self, file: BinaryIO, version: int) -> None:
        self.file, self.version = file, version

    def bytes_needed(self) -> int:
        n_records = max(self.count(), 0)
        lengths = self.items(self.dimension)
        self.items(self.attribute)
        variables = self.items(lambda: self.variable(lengths))
        records = [v for v in variables if v.has_records]
        # Each variable's part of a record is padded to four bytes, unless it is alone in it.
        record = sum(_padded(v.n_bytes) if len(records) > 1 else v.n_bytes for v in records)
        ends = [v.begin + v.n_bytes for v in variables if not v.has_records]
        if n_records:
            ends += [v.begin + (n_records - 1) * record + v.n_bytes for v in records]
        return max(ends, default=0)

    def number(self, layout: str) -> int:
        return int(struct.unpack(layout, self.file.read(struct.calcsize(layout)))[0])

    def count(self) -> int:
        return self.number(COUNT[self.version])

    def skip(self, n_bytes: int) -> None:
        self.file.seek(_padded(n_bytes), 1)

    def items(self, item: Callable[[], Item]) -> list[Item]:
        self.number(">i")  # tag
        return [item() for _ in range(self.count())]

    def dimension(self) -> int:
        self.skip(self.count())  # name
        return self.count()

    def attribute(self) -> None:
        self.skip(self.count())  # name
        size = VALUE_BYTES[self.number(">i")]
        self.skip(size * self.count())

    def variable(self, lengths: list[int]) -> _Variable:
        self.skip(self.count())  # name
        shape = [lengths[self.count()] for _ in range(self.count())]
        self.items(self.attribute)
        size = VALUE_BYTES[self.number(">i")]
        self.count()  # size, not valid for large variables
        has_records = bool(shape) and shape[0] == 0
        n_bytes = size * math.prod(shape[1:] if has_records else shape)
        return _Variable(self.number(OFFSET[self.version]), n_bytes, has_records)


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // 4) * 4
