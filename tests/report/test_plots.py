from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from made_reports import Dated, complete
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import rom
from rom.report.draw import INK, MODEL, MOST_COORDINATES
from rom.report.panels import PANELS
from rom.report.plots import MISSING, PANEL_SIZE, _mesh, panel_svg, plot_report, plot_rollout

T = np.arange(0, 20, 0.1)
X = np.c_[np.cos(T), np.sin(T)] @ np.random.default_rng(0).normal(size=(2, 30))


def checked(growth=0.0, t=T):
    model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X[:100], t=T[:100])
    model.dynamics_.A_ = model.dynamics_.A_ + growth * np.eye(2)
    return rom.check(model, X[100:], t=t[100:], n_starts=4)


def curve(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def png(figure, path):
    figure.savefig(path, dpi=40)
    return path.read_bytes()[:8]


def axes_of(report):
    """Axes of the panels of a report, by the panels' titles."""
    figure = plot_report(report)
    parts = figure.subfigs[0].subfigs if len(figure.subfigs) == 1 else figure.subfigs
    return figure, {part.get_suptitle(): part.axes for part in parts if part.axes}


def test_report_shows_the_figures_of_its_dataset(tmp_path):
    report = checked(growth=0.5)
    data = report.to_dataset()
    figure, panels = axes_of(report)
    errors, holding, valid, skill = (
        panels[title][0]
        for title in (
            "Error growth",
            "Rollouts that still hold",
            "Valid time of each start",
            "Skill over the baselines",
        )
    )
    model = curve(errors, "model (rms)")
    seen = data["rms_error"].values > 0
    assert np.array_equal(model.get_ydata()[seen], data["rms_error"].values[seen])
    assert curve(errors, "tolerance").get_ydata()[0] == data.attrs["tolerance"]
    assert np.array_equal(
        curve(skill, "climatology").get_ydata(), data["skill"].sel(baseline="climatology")
    )
    points = np.vstack([c.get_offsets() for c in valid.collections if len(c.get_offsets()) == 4])
    assert np.allclose(np.sort(points[:, 0]), data["start_time"])
    assert np.allclose(np.sort(points[:, 1]), np.sort(data["valid_time"]))
    share = curve(holding, "error below 0.4").get_ydata()
    lead, first = data["lead"].values, np.where(data["exceeded"], data["valid_time"], np.inf)
    assert np.array_equal(share, [100 * np.mean(first > t) for t in lead])
    assert report.verdict in figure.get_suptitle()
    assert png(figure, tmp_path / "report.png") == b"\x89PNG\r\n\x1a\n"


def test_every_panel_is_drawn_where_there_are_the_figures_for_it(tmp_path):
    report = complete()
    figure, panels = axes_of(report)
    assert list(panels) == [panel.title for panel in PANELS]
    assert len(panels["Spectra"]) == len(panels["Histograms"]) == MOST_COORDINATES
    rollout = panels["One rollout"][0]
    assert np.array_equal(curve(rollout, "reduced model").get_ydata(), report.data.latent_model[0])
    band = rollout.collections[0].get_paths()[0].vertices[:, 1]
    radius = report.data.band_radius[0].values
    assert np.isclose(band.max(), (report.data.latent_model[0].values + radius).max())
    above, below = panels["Joint histograms"][::3]  # two rows of three pairs
    for ax, name in ((above, "joint_histogram_truth"), (below, "joint_histogram_model")):
        assert np.array_equal(ax.images[0].get_array().filled(0).T, report.data[name][0])
        assert np.array_equal(ax.images[0].get_extent(), [-3, 3, -3, 3])
    height = curve(panels["Width of the bands on cells"][0], "h [m]").get_ydata()
    assert np.array_equal(height, 3.0 * (0.1 + report.data["lead"]))  # the median of three cells
    for title, name in (
        ("Anomaly correlation", "anomaly_correlation"),
        ("Ensemble score", "crps"),
    ):
        shade = panels[title][0].collections[0].get_paths()[0].vertices[:, 1]
        assert shade.min() == report.data[f"{name}_low"].min()
        assert shade.max() == report.data[f"{name}_high"].max()
    assert png(figure, tmp_path / "complete.png")


@pytest.mark.parametrize("kind", ["certified", "estimated"])
def test_a_bound_on_growth_is_called_what_it_is(kind):
    data = complete().data
    data["growth_bound"].attrs["kind"] = kind
    (panel,) = (panel for panel in PANELS if panel.title == "Growth of a small error")
    figure = Figure()
    panel.draw(figure, data)
    assert np.array_equal(curve(figure.gca(), f"{kind} bound").get_ydata(), data["growth_bound"])


@pytest.mark.parametrize(
    ("unit", "labels"),
    [
        ("days", ["1982-01-11", "1982-01-16", "1982-01-22"]),
        ("hours", [f"1982-01-01\n{hour}:00" for hour in (10, 15, 21)]),
    ],
)
def test_starts_of_dated_models_stand_over_their_dates(unit, labels):
    _, panels = axes_of(replace(complete(), model=Dated(unit)))
    ax = panels["Valid time of each start"][0]
    assert [label.get_text() for label in ax.get_xticklabels()] == labels
    assert ax.get_xticks().tolist() == [10, 15, 21]
    assert ax.get_xlabel() == "start"
    _, panels = axes_of(complete())
    assert panels["Valid time of each start"][0].get_xlabel() == "start [days]"


@pytest.mark.parametrize("title", ["One rollout", "Spectra", "Histograms", "Autocorrelations"])
def test_names_of_coordinates_lie_on_no_curve_and_no_legend(title):
    (panel,) = (panel for panel in PANELS if panel.title == title)
    figure = Figure(figsize=PANEL_SIZE, layout="constrained")
    panel.draw(figure, complete().data)
    figure.draw_without_rendering()
    legend = figure.axes[0].get_legend().get_window_extent()
    for k, ax in enumerate(figure.axes):
        assert ax.get_title(loc="right") == f"coordinate {k}"
        assert not ax.texts
        box = ax._right_title.get_window_extent()
        assert not any(box.overlaps(other.bbox) for other in figure.axes)
        assert not box.overlaps(legend)


def test_a_model_that_blows_up_is_marked_and_leaves_the_scale_readable(tmp_path):
    report = checked(growth=30.0)
    assert not report.stable
    figure, panels = axes_of(report)
    assert panels["Error growth"][0].get_ylim()[1] <= 30
    labels = panels["Valid time of each start"][0].get_legend_handles_labels()[1]
    assert "left the bound or failed" in labels
    assert png(figure, tmp_path / "report.png")


def test_vector_pictures_keep_their_text_and_take_the_ink_of_the_page():
    data = complete().data
    for panel in PANELS:
        svg = panel_svg(panel, data)
        assert svg.startswith('<svg viewBox="0 0 ')
        assert f'role="img" aria-label="{panel.title}"' in svg
        assert "<text" in svg
        assert INK not in svg
        assert "currentColor" in svg
    assert panel_svg(PANELS[0], data) == panel_svg(PANELS[0], data)
    ids = [set(re.findall(r'id="([^"]*)"', panel_svg(PANELS[0], data, salt))) for salt in "ab"]
    assert not ids[0] & ids[1]


def polar():
    theta, r = np.arange(0, 360, 15.0), np.array([1.0, 2.0, 3.0])
    angle = np.deg2rad(theta)
    t = np.arange(0.0, 5.0, 0.5)
    values = np.cos(angle - t[:, None, None]) * r[:, None]
    return xr.DataArray(
        values,
        dims=("time", "r", "theta"),
        coords={
            "time": t,
            "r": r,
            "theta": theta,
            "x": (("r", "theta"), r[:, None] * np.cos(angle)),
            "y": (("r", "theta"), r[:, None] * np.sin(angle)),
        },
        name="vorticity",
        attrs={"units": "1/s"},
    )


def test_a_ring_is_closed_and_an_open_grid_is_not():
    field = polar()[0]
    x, _, values = _mesh(field)
    assert x.shape == values.shape == (3, 25)
    assert np.array_equal(values[:, 0], values[:, -1])
    assert _mesh(field[:, :12])[2].shape == (3, 12)


def test_rollout_shows_both_fields_and_the_latent_amplitudes(tmp_path):
    field = polar()
    latent = xr.DataArray(
        np.c_[np.cos(field.time), np.sin(field.time)],
        dims=("time", "mode"),
        coords={"time": field.time},
    )
    figure = plot_rollout(
        field,
        2 * field,
        latent=(latent, -latent),
        training=(0.0, 2.0),
        times=[2.1, 4.0],
        extent=(-2.1, 2.1, -2.1, 2.1),
    )
    titled = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in titled] == ["time 2", "time 4"]
    amplitudes = [ax for ax in figure.axes if ax.get_ylabel().startswith("mode")]
    assert len(amplitudes) == 2
    lines = amplitudes[1].lines
    assert np.array_equal(lines[0].get_ydata(), latent[:, 1])
    assert np.array_equal(lines[1].get_ydata(), -latent[:, 1])
    assert lines[1].get_color() == MODEL
    meshes = [m for ax in figure.axes[:4] for m in ax.collections]
    assert len({m.get_clim() for m in meshes}) == 1
    assert png(figure, tmp_path / "rollout.png")


def test_a_straight_grid_is_drawn_upright_whatever_else_is_known_of_its_cells():
    # Longitude before latitude, and two fields that say nothing of where cells lie.
    values = np.arange(12.0).reshape(3, 4)
    field = xr.DataArray(
        np.stack([values, values]),
        dims=("time", "lon", "lat"),
        coords={
            "time": [0.0, 1.0],
            "lon": [0.0, 2.0, 4.0],
            "lat": [40.0, 41.0, 42.0, 43.0],
            "area": (("lon", "lat"), values + 5),
            "depth": (("lon", "lat"), values**2),
        },
    )
    mesh = plot_rollout(field, field, times=[0]).axes[0].collections[0]
    x, y = np.moveaxis(mesh.get_coordinates(), -1, 0)
    assert (x.min(), x.max(), y.min(), y.max()) == (-1, 5, 39.5, 43.5)
    assert np.array_equal(mesh.get_array(), values.T)


@pytest.mark.parametrize("dates", [False, True])
def test_rollout_of_fields_on_a_map_with_land(tmp_path, dates):
    t = np.arange("2000-01", "2000-07", dtype="datetime64[M]").astype("datetime64[ns]")
    field = xr.DataArray(
        np.random.default_rng(0).normal(size=(6, 4, 5)),
        coords={
            "time": t if dates else np.arange(6.0),
            "lat": np.arange(4.0),
            "lon": np.arange(5.0),
        },
        dims=("time", "lat", "lon"),
    )
    field[:, 0, 0] = np.nan
    figure = plot_rollout(field, field)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles[-1] == ("time 2000-06-01" if dates else "time 5")
    assert to_hex(figure.axes[0].get_facecolor()) == MISSING  # land is not the white of a zero
    assert png(figure, tmp_path / "map.png")


def test_a_coordinate_that_stays_has_a_picture(tmp_path):
    t = np.arange(0, 20, 0.1)
    rows = np.c_[np.cos(t), np.sin(t), np.full(len(t), 3.0)]
    model = rom.ROM(rom.Identity(), rom.OperatorInference("A")).fit(rows, t=t)
    report = rom.check(model, rows, t=t, horizon=5.0, thorough=True)
    figure, panels = axes_of(report)
    stays = panels["One rollout"][2]
    low, high = stays.get_ylim()
    assert low < report.data["latent_truth"][2, 0] < high
    assert png(figure, tmp_path / "report.png") == b"\x89PNG\r\n\x1a\n"


def test_no_pyplot_state():
    code = """
import sys
from made_reports import bare, complete
from rom.report.plots import plot_report
plot_report(complete())  # every panel; laying all of them out would take longest
plot_report(bare()).savefig(sys.argv[1], format="png", dpi=20)
print("matplotlib.pyplot" in sys.modules)
"""
    command = [sys.executable, "-c", code, os.devnull]
    folder = Path(__file__).parent
    out = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"


def test_width_shows_the_table():
    import torch

    from rom.report.plots import plot_width
    from rom.theory import coordinate_check

    def build(width, seed):
        net = torch.nn.Linear(2, 1)
        torch.nn.init.constant_(net.weight, seed / width)

        def step():
            with torch.no_grad():
                net.bias += 1

        return torch.nn.Sequential(net), step

    table = coordinate_check(build, [8, 16, 64], torch.ones(3, 2), n_steps=2, n_seeds=2)
    activation, change, output = plot_width(table).axes
    assert np.array_equal(curve(activation, "0").get_ydata(), table.activation[:, -1, 0])
    assert np.array_equal(curve(change, "0").get_ydata(), table.change[:, -1, 0])
    assert np.array_equal(curve(output, "spread at the start").get_ydata(), table.spread[:, 0])
    assert np.array_equal(curve(output, "from the wide limit").get_xdata(), [8, 16, 64])


def test_a_long_verdict_stays_on_the_picture():
    report = complete()
    words = "; ".join(["stable", "reliable to lead time 5.23 days at level 90 %"] * 4)
    figure = plot_report(rom.rollout.StabilityReport(report.data, words, report.reasons))
    figure.draw_without_rendering()
    title = figure._suptitle
    assert title.get_text().replace("\n", " ") == f"{words} (12 rollouts)"
    assert title.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize("name", ["mass", "available potential energy"])
def test_legends_lie_whole_on_the_picture_however_many_and_long_their_entries(name):
    data = complete().data.assign_coords(invariant=["energy", name])
    failed = np.arange(data.sizes["start"]) < 3
    data = data.assign(bounded=("start", ~failed), exceeded=("start", np.roll(failed, 3)))
    figure = plot_report(rom.rollout.StabilityReport(data, "stable", ()))
    figure.draw_without_rendering()
    parts = [part for part in figure.subfigs if part.axes]
    legends = [(ax.get_legend(), part) for part in parts for ax in part.axes if ax.get_legend()]
    assert max(len(legend.get_texts()) for legend, _ in legends) >= 6
    for legend, part in legends:
        box, title = legend.get_window_extent(), part.get_suptitle()
        assert part.bbox.x0 <= box.x0 < box.x1 <= part.bbox.x1, title
        assert part.bbox.y0 <= box.y0 < box.y1 <= part._suptitle.get_window_extent().y0 + 10, title
