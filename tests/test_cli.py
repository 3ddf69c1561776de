import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import rom
from rom.cli import main


@pytest.fixture
def data(tmp_path):
    """Ten years of months on a masked map, in a file."""
    rng = np.random.default_rng(0)
    n_time = 120
    phase = 2 * np.pi * np.arange(n_time) / 30
    maps = rng.normal(size=(2, 6, 8))
    values = 20 + np.cos(phase)[:, None, None] * maps[0] + np.sin(phase)[:, None, None] * maps[1]
    values[:, 0, :3] = np.nan
    time = xr.date_range("1990-01-01", periods=n_time, freq="MS", use_cftime=False)
    sst = xr.DataArray(values, dims=("time", "lat", "lon"), coords={"time": time}, name="sst")
    path = tmp_path / "sst.nc"
    sst.assign_attrs(units="degC").to_dataset().assign(area=("lat", np.ones(6))).to_netcdf(path)
    return path


@pytest.fixture
def model(data, tmp_path):
    path = tmp_path / "model.nc"
    command = ["fit", data, "--var", "sst", "--rank", "2", "--train-until", "1997-06", "-o", path]
    assert run(*command) == 0
    return path


def run(*args):
    return main([str(a) for a in args])


def test_fit_trains_on_the_range_asked_for(model, capsys):
    assert rom.load(model).latent_.shape == (90, 2)
    assert run("info", model) == 0
    out = capsys.readouterr().out
    for words in (
        "POD of rank 2",
        "DMD (discrete time)",
        "90 snapshots of sst",
        "1997-06-01",
        "z0[n+1] =",
    ):
        assert words in out


def test_rollout_writes_a_labelled_forecast(model, data, tmp_path):
    out = tmp_path / "forecast.nc"
    assert run("rollout", model, "--from", data, "--at", "1997-06", "--steps", "24", "-o", out) == 0
    with xr.open_dataset(out) as forecast, xr.open_dataset(data) as truth:
        assert forecast.sizes["time"] == 25
        assert forecast.sst.attrs["units"] == "degC"
        np.testing.assert_array_equal(forecast.time, truth.time[89:114])
        np.testing.assert_allclose(forecast.sst, truth.sst[89:114], atol=1e-6)


def test_rollout_starts_from_the_last_snapshot_by_default(model, data, tmp_path):
    out = tmp_path / "forecast.nc"
    assert run("rollout", model, "--from", data, "--steps", "3", "-o", out) == 0
    with xr.open_dataset(out) as forecast:
        assert str(forecast.time.values[0])[:7] == "1999-12"


def test_check_uses_what_comes_after_training_and_writes_reports(model, data, tmp_path, capsys):
    report, page = tmp_path / "report.json", tmp_path / "report.html"
    assert run("check", model, data, "--json", report, "--html", page) == 0
    assert "30 snapshots after the training range" in capsys.readouterr().out
    assert json.loads(report.read_text())["stable"] is True
    assert "<html" in page.read_text()


def test_check_takes_a_horizon_and_a_number_of_starts(model, data, tmp_path):
    report = tmp_path / "report.json"
    few = ["--horizon", "3", "--n-starts", "4", "--quick"]
    assert run("check", model, data, *few, "--json", report) == 0
    variables = json.loads(report.read_text())["variables"]
    assert len(variables["status"]["values"]) == 4
    assert variables["lead"]["values"][-1] == 3.0


def test_check_compares_several_models_on_the_same_snapshots(
    model, data, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "60")
    later, page, found = (tmp_path / name for name in ("later.nc", "report.html", "report.json"))
    fit = ["fit", data, "--var", "sst", "--rank", "1", "--train-until", "1998-06", "-o", later]
    assert run(*fit) == 0
    out = ["--quick", "--json", found, "--html", page]
    assert run("check", model, later, data, *out) == 0
    said = capsys.readouterr().out
    assert "18 snapshots after the training range" in said  # of the one trained for longest
    lines = said.splitlines()
    assert max(map(len, lines[1:])) <= 60
    first = next(i for i, line in enumerate(lines) if "verdict" in line)
    assert [line.split()[0] for line in lines[first : first + 3]] == ["model", "model", "later"]
    assert all(
        line[lines[first].index("verdict") :].startswith("stable")
        for line in lines[first + 1 : first + 3]
    )
    verdicts = {n: r["verdict"] for n, r in json.loads(found.read_text()).items()}
    flat = " ".join(said.split())
    assert all(f"{name}: {verdict}" in flat for name, verdict in verdicts.items())
    assert set(json.loads(found.read_text())) == {"model", "later"}
    assert page.read_text().count("<details><summary><b>") == 2
    grown = rom.load(later)
    grown.dynamics_.A_ = 3 * grown.dynamics_.A_
    grown.save(later)
    assert run("check", model, later, data, "--quick") == 1


def test_models_of_one_name_are_told_apart_by_their_folders(model, data, tmp_path, capsys):
    other = tmp_path / "other" / "model.nc"
    other.parent.mkdir()
    rom.load(model).save(other)
    assert run("check", model, other, data, "--quick") == 0
    assert str(other) in capsys.readouterr().out
    assert run("check", model, model, data, "--quick") == 2
    assert "given twice" in capsys.readouterr().err


def test_unstable_model_has_exit_status_one(model, data, tmp_path):
    grown = rom.load(model)
    grown.dynamics_.A_ = 3 * grown.dynamics_.A_
    grown.save(model)
    assert run("check", model, data) == 1
    out = tmp_path / "forecast.nc"
    assert run("rollout", model, "--from", data, "--steps", "50", "-o", out) == 1
    with xr.open_dataset(out) as forecast:
        assert forecast.attrs["status"] == "LEFT_BOUND"


@pytest.mark.parametrize("kind", ["sindy", "opinf", "neural-ode"])
def test_every_kind_of_dynamics_can_be_asked_for(kind, data, tmp_path, monkeypatch):
    monkeypatch.setattr(rom.NeuralODE.__init__, "__kwdefaults__", _short_training())
    out = tmp_path / "model.nc"
    assert run("fit", data, "--var", "sst", "--energy", "0.9", "--dynamics", kind, "-o", out) == 0
    assert type(rom.load(out).dynamics_).__name__ in ("SINDy", "OperatorInference", "NeuralODE")


def _short_training():
    return {**(rom.NeuralODE.__init__.__kwdefaults__ or {}), "max_iter": 3}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["fit", "nowhere.nc", "-o", "m.nc"], "nowhere.nc"),
        (["fit", "{data}", "--var", "temp", "-o", "{dir}/m.nc"], "temp"),
        (["fit", "{data}", "--var", "sst", "--rank", "999", "-o", "{dir}/m.nc"], "999"),
        (["fit", "{data}", "--var", "sst", "--rank", "0", "-o", "{dir}/m.nc"], "--rank must"),
        (["fit", "{data}", "--var", "sst", "--energy", "90", "-o", "{dir}/m.nc"], "--energy must"),
        (["fit", "{data}", "--var", "sst", "--train-until", "1950", "-o", "{dir}/m.nc"], "1950"),
        (["fit", "{data}", "--var", "sst", "-o", "{dir}/none/m.nc"], "no folder"),
        (
            [
                "rollout",
                "{model}",
                "--from",
                "{data}",
                "--at",
                "2050",
                "--steps",
                "3",
                "-o",
                "{dir}/f.nc",
            ],
            "2050",
        ),
        (["rollout", "{model}", "--from", "{data}", "--steps", "0", "-o", "{dir}/f.nc"], "--steps"),
        (
            [
                "rollout",
                "{model}",
                "--from",
                "{data}",
                "--at",
                "abc",
                "--steps",
                "3",
                "-o",
                "{dir}/f.nc",
            ],
            "'abc' is not a time",
        ),
        (
            [
                "rollout",
                "{model}",
                "--from",
                "{data}",
                "--steps",
                "99999999999999",
                "-o",
                "{dir}/f.nc",
            ],
            "memory",
        ),
        (["fit", "{data}", "--var", "sst", "-o", "{data}"], "is an input"),
        (["check", "{model}", "{data}", "--json", "{model}"], "is an input"),
        (
            ["fit", "{data}", "--inputs", "u", "--inputs-from", "{dir}/u", "-o", "{dir}/u"],
            "is an input",
        ),
        (
            ["check", "{model}", "{data}", "--inputs-from", "{data}", "--html", "{data}"],
            "is an input",
        ),
        (["check", "{model}", "{data}", "--json", "r", "--html", "./r"], "is another output"),
        (["check", "{model}", "{data}", "--inputs", "u"], "no model takes inputs"),
        (
            [
                "rollout",
                "{model}",
                "--from",
                "{data}",
                "--inputs-from",
                "no.nc",
                "--steps",
                "3",
                "-o",
                "{dir}/f.nc",
            ],
            "no model takes inputs",
        ),
        (["check", "{data}", "{data}"], "not a rom model"),
        (["check", "{model}"], "Only models were given"),
        (["check", "{model}", "{model}"], "Only models were given"),
        (["check", "{data}", "{model}"], "last, but came {data} (data), {model} (a model)."),
        (["check", "{model}", "nowhere.nc"], "nowhere.nc"),
        (["info", "{dir}"], "is a folder"),
        (["info", "{dir}/nowhere.nc"], "No such model file"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_two(args, words, model, data, tmp_path, capsys):
    capsys.readouterr()
    filled = [a.format(model=model, data=data, dir=tmp_path) for a in args]
    assert main(filled) == 2
    err = capsys.readouterr().err
    assert words.format(model=model, data=data, dir=tmp_path) in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_numeric_times_out_of_range_are_refused(tmp_path, capsys):
    t = np.arange(60.0)
    wave = xr.DataArray(np.cos(np.arange(5) - t[:, None]), {"time": t}, ("time", "x"), name="h")
    wave.to_netcdf(tmp_path / "h.nc")
    assert run("fit", tmp_path / "h.nc", "-o", tmp_path / "m.nc") == 0
    rollout = ["rollout", tmp_path / "m.nc", "--from", tmp_path / "h.nc", "--steps", "3"]
    assert run(*rollout, "--at", "1e9", "-o", tmp_path / "f.nc") == 2
    assert "the data run from 0.0 to 59.0" in capsys.readouterr().err
    assert run(*rollout, "--at", "12.2", "-o", tmp_path / "f.nc") == 0
    assert "from 12.0" in capsys.readouterr().out


def test_data_without_times_and_models_of_datasets_work(tmp_path, capsys):
    t = np.arange(60.0)
    wave = xr.DataArray(np.cos(np.arange(5) - t[:, None]), dims=("time", "x"), name="h")
    wave.to_netcdf(tmp_path / "h.nc")
    assert run("fit", tmp_path / "h.nc", "-o", tmp_path / "m.nc") == 0
    out = ["--steps", "3", "-o", tmp_path / "f.nc"]
    assert run("rollout", tmp_path / "m.nc", "--from", tmp_path / "h.nc", *out) == 0
    assert run("check", tmp_path / "m.nc", tmp_path / "h.nc") == 0
    assert "times are unknown" in capsys.readouterr().out
    for data in (wave.to_dataset(), wave.rename(None)):
        rom.ROM(rom.POD(2)).fit(data).save(tmp_path / "m.nc")
        assert run("rollout", tmp_path / "m.nc", "--from", tmp_path / "h.nc", *out) == 0


def test_help_imports_nothing_heavy():
    code = "import sys, rom.cli; rom.cli._parser(); print('numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"


@pytest.fixture
def driven(tmp_path):
    """A wave that a wind drives, in a file with the wind."""
    t = np.arange(0, 60, 0.1)
    wind = np.sin(0.7 * t) + 0.5 * np.sin(1.9 * t + 1)
    true = rom.OperatorInference.from_operators(A=[[-0.5, 1], [-1, -0.5]], B=[[0.0], [1.0]])
    z = rom.rollout(true, [1.0, 0.0], t, u=wind[:, None]).z
    rows = z @ np.random.default_rng(0).normal(size=(2, 12))
    wave = xr.Dataset({"h": (("time", "x"), rows), "wind": ("time", wind)}, {"time": t})
    wave.assign(rest=("time", 0 * t)).to_netcdf(tmp_path / "wave.nc")
    return tmp_path / "wave.nc"


def fit_driven(data, out, *more):
    fit = ["fit", data, "--var", "h", "--rank", "2", "--dynamics", "opinf", "--train-until", "30"]
    return run(*fit, "-o", out, *more)


def test_inputs_are_named_once_and_found_again_by_rollout_and_check(driven, tmp_path, capsys):
    model, out, page = (tmp_path / name for name in ("m.nc", "f.nc", "report.html"))
    assert fit_driven(driven, model, "--inputs", "wind") == 0
    assert run("info", model) == 0
    assert "inputs: u0 = wind" in capsys.readouterr().out
    assert run("rollout", model, "--from", driven, "--at", "35", "--steps", "99", "-o", out) == 0
    with xr.open_dataset(out) as forecast, xr.open_dataset(driven) as truth:
        np.testing.assert_allclose(forecast.h, truth.h[350:450], atol=0.02)
    assert run("check", model, driven, "--quick", "--html", page) == 0
    assert "as far as their inputs are known, at most to lead time 29.8" in capsys.readouterr().out
    assert "u0 = wind" in page.read_text()


def test_inputs_may_stand_in_a_file_of_their_own_and_reach_into_the_future(driven, tmp_path):
    model, out, later = (tmp_path / name for name in ("m.nc", "f.nc", "later.nc"))
    t = np.arange(0, 99, 0.1)
    calm = xr.Dataset({"wind": ("time", np.zeros(len(t)))}, {"time": t})
    calm.to_netcdf(later)
    assert fit_driven(driven, model, "--inputs", "wind") == 0
    go = ["rollout", model, "--from", driven, "--steps", "200", "-o", out]
    assert run(*go, "--inputs-from", later) == 0
    with xr.open_dataset(out) as forecast:
        sizes = np.abs(forecast.h).max("x")
        assert sizes[-1] < 0.02 * sizes[0]  # without wind the wave dies away, as e^(-t/2)


def test_a_model_fitted_on_plain_inputs_is_told_their_names(driven, tmp_path, capsys):
    with xr.open_dataset(driven) as data:
        model = rom.ROM(rom.POD(2), rom.OperatorInference("cA"))
        model.fit(data["h"][:300], u=data["wind"].values[:300, None]).save(tmp_path / "m.nc")
    assert run("check", tmp_path / "m.nc", driven, "--quick", "--inputs", "wind") == 0
    assert run("check", tmp_path / "m.nc", driven, "--quick") == 2
    assert "1 inputs of unknown names: say --inputs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["fit", "{d}", "--var", "h", "--inputs", "h"], "along 'time' alone"),
        (["fit", "{d}", "--var", "h", "--inputs", "rain"], "No variable 'rain'"),
        (["fit", "{d}", "--var", "h", "--inputs-from", "{d}"], "name them by --inputs"),
        (["fit", "{d}", "--var", "h", "--inputs", "wind", "--inputs-from", "none.nc"], "none.nc"),
        (["rollout", "{m}", "--from", "{d}", "--steps", "9"], "they run from 0.0 to 59.9"),
        (["check", "{m}", "{d}", "--inputs", "rest"], "takes the inputs wind, not rest"),
    ],
)
def test_bad_inputs_are_one_line_and_exit_status_two(args, words, driven, tmp_path, capsys):
    model = tmp_path / "m.nc"
    assert fit_driven(driven, model, "--inputs", "wind") == 0
    out = [] if args[0] == "check" else ["-o", str(tmp_path / "out.nc")]
    assert main([a.format(d=driven, m=model) for a in args] + out) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_a_file_that_is_damaged_inside_is_one_line_and_exit_status_two(tmp_path, capsys):
    path = tmp_path / "noise.nc"
    noise = xr.Dataset({"h": (("time", "x"), np.random.default_rng(0).normal(size=(200, 50)))})
    packed = {"h": {"zlib": True, "chunksizes": (200, 50)}}
    noise.assign_coords(time=np.arange(200.0)).to_netcdf(path, encoding=packed)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 999] = bytes(999)
    path.write_bytes(content)
    assert run("fit", path, "-o", tmp_path / "m.nc") == 2
    err = capsys.readouterr().err
    assert "a file is damaged inside: NetCDF: HDF error" in err
    assert err.count("\n") == 1


def test_a_start_without_its_date_is_one_line_and_exit_status_two(model, data, tmp_path, capsys):
    with xr.open_dataset(data) as dated:
        dated.drop_vars("time").to_netcdf(tmp_path / "no.nc")
    assert run("rollout", model, "--from", tmp_path / "no.nc", "--steps", "3", "-o", "f.nc") == 2
    assert "x0 must carry its time along 'time'" in capsys.readouterr().err


def test_the_summary_counts_histories_of_models_with_memory(driven, tmp_path, capsys):
    fit = ["fit", driven, "--var", "h", "--rank", "1", "--n-delays", "4", "-o", tmp_path / "m.nc"]
    assert run(*fit) == 0
    assert "fitted on 597 histories of 4 snapshots of h" in capsys.readouterr().out


def test_a_check_says_what_of_the_data_the_model_has_not_seen(model, data, tmp_path, capsys):
    later = tmp_path / "later.nc"
    with xr.open_dataset(data) as sst:
        sst.isel(time=slice(95, 120)).to_netcdf(later)
    assert run("check", model, later, "--quick") == 0
    assert "all 25 snapshots, which follow the training range" in capsys.readouterr().out
