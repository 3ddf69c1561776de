from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import xarray as xr
from made_reports import bare, with_fields
from PIL import Image

from rom.report.film import FEWEST, STRIP, WIDTH, Film, film_of

LEAD = [0.0, 1.0, 2.0]


def filmed(values, model=None, **coords):
    """The film of a field (snapshot, *space), by default one that the model has right."""
    dims = ("snapshot", *"zyx"[3 - (np.ndim(values) - 1) :])
    truth = xr.DataArray(values, dims=dims, coords=coords, attrs={"long_name": "h", "units": "m"})
    data = bare().data.assign(
        field_truth=truth, field_model=truth if model is None else truth.copy(data=model)
    )
    lead = ("snapshot", LEAD[: len(values)])
    film = film_of(data.assign_coords(snapshot_lead=lead))
    assert isinstance(film, Film)
    return film


def pixels(strip, film):
    """Frames (n, height, width, 4) of a strip."""
    image = Image.open(io.BytesIO(base64.b64decode(strip.uri.partition(",")[2])))
    frames = np.asarray(image.convert("RGBA"))
    return frames.reshape(len(film.times), film.height, film.width, 4)


def blocks(n_y=4, n_x=6):
    """Three frames, in each of which one cell stands out."""
    values = np.zeros((3, n_y, n_x))
    values[0, 0, 0], values[1, 0, -1], values[2, -1, 2] = 1, 1, -1
    return values


def test_cells_stand_where_their_coordinates_say():
    y, x = [40.0, 20.0, 0.0, -20.0], np.arange(6) * 20.0  # north to south, as maps often are
    film = filmed(blocks(), y=y, x=x)
    assert film.times == ["0 days", "1 day", "2 days"]
    assert film.caption == "h [m]"
    assert film.width == WIDTH
    assert film.height == 4 * WIDTH // 6
    frames = pixels(film.strips[0], film)[..., :3].astype(float)
    redness = frames[..., 0] - frames[..., 2]
    for k, (row, column) in enumerate([(0, 0), (0, 5), (3, 2)]):
        cells = redness[k].reshape(4, 80, 6, 80).mean(axis=(1, 3))
        sign = -1 if k == 2 else 1
        assert np.unravel_index((sign * cells).argmax(), cells.shape) == (row, column)
    upwards = filmed(blocks()[:, ::-1], y=y[::-1], x=x)
    assert upwards.strips[0].uri == film.strips[0].uri


def test_the_difference_is_that_of_the_two_and_on_a_scale_as_wide():
    values = blocks()
    film = filmed(values, 0 * values)
    truth, model, difference = (pixels(strip, film)[..., :3].astype(int) for strip in film.strips)
    assert [strip.label for strip in film.strips] == ["Full model", "Reduced model", "Difference"]
    assert film.strips[0].bar == film.strips[1].bar
    assert np.ptp(model) < 20  # all white
    # Model minus truth: where the truth is red, the difference is blue.
    assert (
        np.corrcoef(
            (truth[..., 0] - truth[..., 2]).ravel(),
            (difference[..., 0] - difference[..., 2]).ravel(),
        )[0, 1]
        < -0.95
    )


def test_what_is_missing_is_transparent():
    values = blocks()
    values[:, 1, 1] = np.nan  # rows are counted upwards where there are no coordinates
    film = filmed(values)
    alpha = pixels(film.strips[0], film)[..., 3].reshape(3, 4, 80, 6, 80)
    empty = alpha.mean(axis=(2, 4)) < 128
    assert empty.sum() == 3
    assert empty[:, 2, 1].all()


def test_scale_of_colours():
    about_zero = filmed(np.linspace(-1, 2, 72).reshape(3, 4, 6)).strips[0].bar
    assert about_zero.low == -about_zero.high
    positive = filmed(np.linspace(270, 300, 72).reshape(3, 4, 6)).strips[0].bar
    assert 270 <= positive.low < positive.high <= 300
    constant = filmed(np.full((3, 4, 6), 7.0)).strips[0].bar
    assert constant.low < 7 < constant.high
    assert positive.colours != about_zero.colours


def test_a_polar_grid_is_laid_out_with_its_hole():
    r, theta = np.linspace(1.0, 4.0, 20), np.arange(0, 360, 6) * np.pi / 180
    x, y = (r[:, None] * f(theta) for f in (np.cos, np.sin))
    values = np.stack([np.cos(x - shift) for shift in range(3)])
    data = bare().data.assign(
        {
            name: xr.DataArray(
                values,
                dims=("snapshot", "r", "theta"),
                coords={"x": (("r", "theta"), x), "y": (("r", "theta"), y)},
            )
            for name in ("field_truth", "field_model")
        }
    )
    film = film_of(data.assign_coords(snapshot_lead=("snapshot", LEAD)))
    shown = pixels(film.strips[0], film)
    px = 4 * (2 * (np.arange(film.width) + 0.5) / film.width - 1)
    distance = np.hypot(*np.meshgrid(px, px[:: film.width // film.height]))
    alpha = shown[1, ..., 3]
    assert (alpha[distance < 0.7] == 0).all()
    assert (alpha[(distance > 1.2) & (distance < 3.9)] == 255).all()
    assert (alpha[distance > 4.1] == 0).all()
    # One-dimensional in x: each column has one colour.
    inside = (distance > 1.3) & (distance < 3.8)
    red = np.where(inside, shown[1, ..., 0].astype(float), np.nan)
    columns = red[:, np.isfinite(red).sum(axis=0) > 50]
    assert np.nanmax(np.nanstd(columns, axis=0)) < 12


@pytest.mark.parametrize("order", [("lat", "lon"), ("lon", "lat")])
@pytest.mark.parametrize("grid", ["curved", "straight"])
def test_longitude_runs_to_the_right_however_coordinates_and_dimensions_are_ordered(order, grid):
    lat, lon = np.arange(40.0, 44.0), np.arange(0.0, 24.0, 2.0)
    wide = xr.DataArray(
        np.stack([lon + 10 * k + 0 * lat[:, None] for k in range(3)]),
        dims=("snapshot", "lat", "lon"),
        attrs={"long_name": "h"},
    )
    if grid == "curved":
        places = dict(zip(("lon", "lat"), np.meshgrid(lon, lat), strict=True))
        coords = {name: (("j", "i"), places[name]) for name in order}
        wide = wide.rename(lat="j", lon="i").assign_coords(coords)
    else:
        area = (("lat", "lon"), np.ones((4, 12)) * np.cos(np.deg2rad(lat))[:, None])
        wide = wide.assign_coords(lat=lat, lon=lon, area=area, depth=(("lat", "lon"), wide[0].data))
        wide = wide.transpose("snapshot", *order)
    data = bare().data.assign(field_truth=wide, field_model=wide)
    film = film_of(data.assign_coords(snapshot_lead=("snapshot", LEAD)))
    assert (film.width, film.height) == (WIDTH, WIDTH // 4)
    green = pixels(film.strips[0], film)[0, ..., 1].astype(float)  # viridis: more is greener
    assert (np.diff(green.mean(axis=0)[:: WIDTH // 12]) > 0).all()
    assert np.ptp(green.mean(axis=1)) < 10


def test_first_seen_is_the_last_frame_that_the_model_reached():
    values = blocks()
    assert filmed(values).shown == 2
    ended = values.copy()
    ended[2] = np.nan
    assert filmed(values, ended).shown == 1
    assert filmed(values, np.full_like(values, np.nan)).shown == 0


def test_three_dimensions_show_one_level_and_say_which():
    film = filmed(np.stack([blocks(), 5 * blocks()], axis=1), z=[850.0, 500.0])
    assert film.caption == "h [m]; z 850.0"
    assert film.strips[0].uri == filmed(blocks()).strips[0].uri


def test_curves_lie_inside_and_break_where_values_are_missing():
    film = film_of(with_fields(bare().data, shape=(24,)))
    assert film.strips == []
    for k, (truth, model) in enumerate(film.curves):
        for path in (truth, model):
            assert path.count("M") == 1
            assert path.count("L") == 24 - 2 - 1
            points = np.array([p.split() for p in path[1:].split("L")], dtype=float)
            assert (points[:, 0] >= 0).all()
            assert (points[:, 0] <= film.width).all()
            assert (points[:, 1] >= k * film.height).all()
            assert (points[:, 1] <= (k + 1) * film.height).all()
    assert "height [m]; x from 0 to 23" in film.caption
    values = np.ones((3, 20))
    values[:, 5] = np.nan
    assert filmed(values).curves[0][0].count("M") == 2


def test_a_model_that_blows_up_stays_in_the_frame():
    truth = np.sin(np.arange(60.0)).reshape(3, 20)
    film = filmed(truth, 1e9 * truth)
    assert film.curves == filmed(truth, 1e6 * truth).curves


def test_few_cells_make_no_film():
    data = bare().data
    assert film_of(data) is None
    assert film_of(with_fields(data, shape=(FEWEST - 1,))) is None
    assert film_of(with_fields(data, shape=(FEWEST,))) is not None


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (500, 2), (3, 700)])
def test_any_shape_fits_into_one_picture(shape):
    film = film_of(with_fields(bare().data, n_snapshots=40, shape=shape))
    assert film.height * 40 <= STRIP
    assert 1 <= film.height <= film.width <= WIDTH
    assert pixels(film.strips[0], film).shape[0] == 40
