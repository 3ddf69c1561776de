"""The seasonal linear forecast: what a model of data with a yearly cycle has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom import checks

if TYPE_CHECKING:
    from rom.dynamics.seasonal import SeasonalModel

Array = NDArray[np.float64]

# Penalties on the map and on its harmonics, where the least is not enough for it to be stable.
RIDGE, SEASONAL_RIDGE = 0.01, 0.1
STRONGER = 10.0
ATTEMPTS = 8


class SeasonalLinear(NamedTuple):
    """A cycle of two harmonics, and a linear map, with one, of the departures from it."""

    cycle: Array
    """(5, rank): mean, cos, sin, cos 2, sin 2."""
    model: SeasonalModel


def seasonal_linear(
    Z: ArrayLike, u: ArrayLike, *, t: ArrayLike | None = None, trajectory: ArrayLike | None = None
) -> SeasonalLinear:
    """Fit the seasonal linear forecast on training states.

    Parameters
    ----------
    Z : array_like, shape (n_time, rank)
        States at even times.
    u : array_like, shape (n_time, 2)
        The seasons, :func:`rom.dynamics.season` of the times.
    t : array_like, shape (n_time,), optional
    trajectory : array_like, shape (n_time,), optional

    Returns
    -------
    SeasonalLinear
        Its map is stable: the penalty is the least, of a few ten times apart, with which no
        departure grows over a year.

    Raises
    ------
    ValueError
        If the arrays are refused; see :class:`rom.dynamics.SeasonalModel`.

    References
    ----------
    M. J. OrtizBevia, "Estimation of the cyclostationary dependence in geophysical data fields",
    Journal of Geophysical Research 102 (1997) 13473-13486.

    Examples
    --------
    >>> from rom.dynamics import season
    >>> u = season(np.arange(480), 12)
    >>> rng = np.random.default_rng(0)
    >>> z = np.zeros((480, 1))
    >>> for i in range(1, 480):
    ...     z[i] = (0.7 + 0.2 * u[i - 1, 0]) * z[i - 1] + rng.normal()
    >>> fitted = seasonal_linear(z + 5 * u[:, 1:], u)
    >>> bool(np.abs(fitted.cycle[:, 0] - [0, 0, 5, 0, 0]).max() < 0.5)
    True
    >>> bool(np.abs(fitted.model.coef_[0, 0] - [0.7, 0.2, 0]).max() < 0.1)
    True
    """
    from rom.dynamics.seasonal import SeasonalModel

    states = np.asarray(Z, dtype=np.float64)
    seasons = checks.check_inputs(u, len(states), n_inputs=2)
    assert seasons is not None
    waves = _waves(seasons)
    cycle = np.asarray(np.linalg.lstsq(waves, states, rcond=None)[0], dtype=np.float64)
    penalty = 1.0
    for _ in range(ATTEMPTS):
        model = SeasonalModel(1, ridge=penalty * RIDGE, seasonal_ridge=penalty * SEASONAL_RIDGE)
        model.fit(states - waves @ cycle, t=t, u=seasons, trajectory=trajectory)
        if _yearly_growth(model, seasons) <= 1:
            break
        penalty *= STRONGER
    return SeasonalLinear(cycle, model)


def seasonal_forecast(fitted: SeasonalLinear, z0: ArrayLike, u: ArrayLike) -> Array:
    """Forecasts from several starts.

    Parameters
    ----------
    fitted : SeasonalLinear
    z0 : array_like, shape (n_start, rank)
        States at the starts.
    u : array_like, shape (n_start, n_lead, 2)
        Seasons from each start on, one training step apart.

    Returns
    -------
    ndarray, shape (n_start, n_lead, rank)
        The first is `z0`.

    Examples
    --------
    >>> from rom.dynamics import season
    >>> u = season(np.arange(60), 12)
    >>> wave = 5 + 3 * u[:, :1]
    >>> fitted = seasonal_linear(wave[:36], u[:36])
    >>> forecast = seasonal_forecast(fitted, wave[36:37], u[None, 36:])
    >>> bool(np.abs(forecast[0] - wave[36:]).max() < 1e-9)
    True
    """
    seasons = np.asarray(u, dtype=np.float64)
    mean = _waves(seasons) @ fitted.cycle
    z = np.empty_like(mean)
    z[:, 0] = np.asarray(z0, dtype=np.float64) - mean[:, 0]
    for i in range(z.shape[1] - 1):
        z[:, i + 1] = fitted.model.predict(z[:, i], u=seasons[:, i])
    return np.asarray(z + mean)


def _waves(u: Array) -> Array:
    """1, cos, sin, cos 2, sin 2 (..., 5) of seasons (..., 2)."""
    c, s = u[..., 0], u[..., 1]
    return np.stack([np.ones_like(c), c, s, c**2 - s**2, 2 * c * s], axis=-1)


def _yearly_growth(model: SeasonalModel, u: Array) -> float:
    """Largest modulus of an eigenvalue of a year's maps one after the other."""
    angle = np.arctan2(u[:, 1], u[:, 0])
    step = float(np.median(np.mod(np.diff(angle), 2 * np.pi))) or 2 * np.pi
    phases = angle[0] + step * np.arange(max(1, round(2 * np.pi / step)))
    year = np.eye(model.n_features_in_)
    for phase in phases:
        season = np.broadcast_to([np.cos(phase), np.sin(phase)], (len(year), 2))
        year = model.predict(year, u=season)
    return float(np.abs(np.linalg.eigvals(year)).max())
