import re
from pathlib import Path

import rom

README = Path(__file__).parents[1] / "README.md"


def test_the_ten_lines_run_and_end_stable(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["forecast"].attrs["status"] == "COMPLETED"
    assert "stable and accurate to the horizon" in capsys.readouterr().out
    assert rom.load("wake.nc").compressor_.rank_ == 3
