from __future__ import annotations

import netCDF4
import numpy as np
import pytest

from rom.data.netcdf3 import check_whole

VERSIONS = ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"]


def write(path, version, fixed, records, n_times):
    """A file with one variable per type name, of three values (a record)."""
    with netCDF4.Dataset(path, "w", format=version) as file:
        file.setncatts({"title": "odd", "levels": np.array([1, 2, 3], np.int16)})
        file.createDimension("time", None)
        file.createDimension("x", 3)
        for k, kind in enumerate(fixed):
            file.createVariable(f"fixed{k}", kind, ("x",)).units = "m"
            file[f"fixed{k}"][:] = np.ones(3, kind)
        for k, kind in enumerate(records):
            v = file.createVariable(f"record{k}", kind, ("time", "x"))
            v[:n_times] = np.ones((n_times, 3), kind)
    return path


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("fixed", "records", "n_times"),
    [
        (["f8"], [], 0),
        (["i2", "f4"], [], 0),
        ([], ["i1"], 7),
        (["f4"], ["i2", "f8", "i1"], 5),
        (["f4"], ["f4", "i2"], 0),
    ],
)
def test_a_file_is_whole_until_its_last_value_is_cut(tmp_path, version, fixed, records, n_times):
    content = write(tmp_path / "a.nc", version, fixed, records, n_times).read_bytes()
    check_whole(tmp_path / "a.nc")
    cut = tmp_path / "cut.nc"
    for n in range(4, len(content)):
        cut.write_bytes(content[:n])
        if n >= len(content) - 3:  # the padding after the last value
            continue
        with pytest.raises(OSError, match="header"):
            check_whole(cut)


def test_wider_types_of_the_newest_version(tmp_path):
    path = write(tmp_path / "a.nc", "NETCDF3_64BIT_DATA", ["u1", "i8"], ["u2", "u4", "u8"], 4)
    check_whole(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(OSError, match=r"it has \d+ bytes, but its header promises \d+"):
        check_whole(path)


def test_other_files_are_passed_over(tmp_path):
    (tmp_path / "a").write_bytes(b"hello")
    check_whole(tmp_path / "a")
