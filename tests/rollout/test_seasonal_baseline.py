"""The seasonal linear forecast: exact where it can be, never growing, ending at the cycle."""

import numpy as np
import pytest
import xarray as xr

import rom
from rom.dynamics import season
from rom.rollout.baselines import Climate
from rom.rollout.seasonal import seasonal_forecast, seasonal_linear


def ahead(starts, n_lead, period=12):
    return np.stack([season(start + np.arange(n_lead), period) for start in starts])


def test_a_cycle_of_two_harmonics_is_forecast_exactly():
    t = np.arange(120)
    c, s = season(t, 12).T
    Z = np.stack([3 + 2 * c - s, c * s, c**2 - s**2], axis=1)
    fitted = seasonal_linear(Z[:60], season(t[:60], 12))
    z = seasonal_forecast(fitted, Z[[60, 67]], ahead([60, 67], 50))
    np.testing.assert_allclose(z[0], Z[60:110], atol=1e-9)
    np.testing.assert_allclose(z[1], Z[67:117], atol=1e-9)


def test_a_departure_dies_away_to_the_cycle():
    rng, t = np.random.default_rng(0), np.arange(600)
    u, z = season(t, 12), np.zeros((600, 2))
    for i in range(1, 600):
        z[i] = (0.8 + 0.1 * u[i - 1, 1]) * z[i - 1] + rng.normal(size=2)
    cycle = 10 * u
    fitted = seasonal_linear(z + cycle, u)
    forecast = seasonal_forecast(fitted, cycle[:1] + 100, ahead([0], 301))[0]
    later = seasonal_forecast(fitted, cycle[:1], ahead([0], 301))[0]
    assert np.linalg.norm(forecast[0] - later[0]) > 100
    np.testing.assert_allclose(forecast[300], later[300], atol=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_no_map_grows_even_where_rows_are_hardly_more_than_coefficients(seed):
    Z = np.random.default_rng(seed).normal(size=(40, 10)).cumsum(axis=0)
    u = season(np.arange(40), 12)
    fitted = seasonal_linear(Z, u)
    z = seasonal_forecast(fitted, Z[:1], ahead([0], 601))[0]
    assert np.abs(z[-12:]).max() <= 20 * np.abs(Z).max()


def test_a_start_is_its_own_forecast_at_lead_zero():
    rng = np.random.default_rng(1)
    Z, u = rng.normal(size=(60, 3)), season(np.arange(60), 12)
    z = seasonal_forecast(seasonal_linear(Z, u), Z[5:9], ahead(range(5, 9), 4))
    assert z.shape == (4, 4, 3)
    np.testing.assert_allclose(z[:, 0], Z[5:9])


@pytest.mark.parametrize(
    ("first", "n", "fitted"),
    [
        ("2001-12", 14, False),  # within three calendar years
        ("2001-01", 23, False),
        ("2001-01", 24, True),  # within two
        ("2000-02-29", 24, True),  # stamps at the ends of months
        ("2001-03-01", 729, False),
        ("2001-03-01", 730, True),
        ("1999-03-01", 730, False),  # one of the years has a day more
        ("1999-03-01", 731, True),
    ],
)
def test_the_baseline_takes_two_whole_years_with_the_last_step(first, n, fitted):
    if n > 30:
        time = np.datetime64(first, "D") + np.arange(n)
    else:
        months = np.datetime64(first, "M") + np.arange(n)
        late = len(first) > 7
        time = (months + late).astype("datetime64[D]") - late
    x = np.random.default_rng(2).normal(size=(n, 2)) + season(np.arange(n), 12)
    time = xr.DataArray(time.astype("datetime64[ns]"), dims="time")
    model = rom.ROM(rom.POD(2), rom.DMD()).fit(
        xr.DataArray(x, dims=("time", "x"), coords={"time": time}, name="h")
    )
    assert (Climate.of(model).seasonal is not None) == fitted


def test_seasons_must_be_there():
    with pytest.raises(ValueError, match="u has 1 inputs"):
        seasonal_linear(np.zeros((5, 2)), np.zeros((5, 1)))
