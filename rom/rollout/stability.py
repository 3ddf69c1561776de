"""StabilityReport: what a check found, as a dataset, in words, as JSON and as HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.data.write import atomic_path
from rom.rollout.horizon import valid_time
from rom.rollout.result import Rollout, Status
from rom.rollout.skill import skill_score
from rom.rollout.verdict import is_stable, reasons_of, verdict_of

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]
BASELINES = ("persistence", "climatology", "damped_persistence")


class Comparison(NamedTuple):
    """One start: the rollout against the truth, sums of squares over space by lead time."""

    start: float
    lead: Array
    run: Rollout
    error: Array
    error_floor: Array
    error_dynamics: Array
    persistence: Array
    climatology: Array
    damped_persistence: Array
    variability: Array
    anomaly_correlation: Array
    full_seconds: float
    reduced_seconds: float
    long_run_size: float


@dataclass(frozen=True)
class StabilityReport:
    """What a check found.

    The dataset has dimensions ``start``, ``lead`` and ``baseline``; see :meth:`to_dataset`.

    Examples
    --------
    >>> import numpy as np, rom
    >>> t = np.arange(0, 20, 0.1)
    >>> X = np.c_[np.cos(t), np.sin(t)] @ np.random.default_rng(0).normal(size=(2, 50))
    >>> model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X[:100], t=t[:100])
    >>> report = rom.check(model, X[100:], t=t[100:], n_starts=5)
    >>> report.stable, report.data.sizes["start"]
    (True, 5)
    >>> print(report)
    StabilityReport: stable ...
    """

    data: xr.Dataset
    verdict: str
    """In a few words."""
    reasons: tuple[str, ...]
    """In sentences, with the figures."""

    @property
    def stable(self) -> bool:
        """Whether every rollout stayed bounded, and did not grow, to ten times the horizon."""
        return is_stable(self.data)

    @property
    def valid_time(self) -> float:
        """Median over the starts of the time up to which the error is within the tolerance."""
        return float(self.data["valid_time"].median())

    @property
    def cost_ratio(self) -> float:
        """Time the full model took over that of the reduced one; NaN where not measured."""
        return float((self.data["full_seconds"] / self.data["reduced_seconds"]).median())

    def to_dataset(self) -> xr.Dataset:
        """All figures, labelled.

        Returns
        -------
        Dataset
            By start and lead time, normalised: ``error``, ``error_floor`` (what projecting on the
            latent space loses) and ``error_dynamics`` (what the latent model adds), whose squares
            add up for an orthogonal compressor. By lead time: ``rms_error`` over the starts (NaN
            once one has ended), ``anomaly_correlation``, ``variability_ratio`` (rollout over
            reference); with a baseline ``baseline_error``, ``skill``. By start: ``valid_time``,
            ``exceeded`` (whether the tolerance was), ``status``, ``bounded``, ``end_lead`` (lead
            time reached), ``long_run_size`` (largest state over that in training, carried on to ten
            horizons; infinite if that ended early, NaN with inputs), ``full_seconds``,
            ``reduced_seconds``.
        """
        return self.data.assign_attrs(verdict=self.verdict, reasons="\n".join(self.reasons))

    def to_json(self, path: str | Path | None = None) -> str:
        """The report as JSON; what is not finite becomes null.

        Parameters
        ----------
        path : path, optional
            Also written there.

        Returns
        -------
        str
        """
        text = json.dumps(
            _plain(
                {
                    "verdict": self.verdict,
                    "stable": self.stable,
                    "reasons": list(self.reasons),
                    "valid_time": self.valid_time,
                    "cost_ratio": self.cost_ratio,
                    **self.data.attrs,
                    "variables": {
                        str(name): {"dims": list(v.dims), "values": v.values.tolist()}
                        for name, v in self.data.variables.items()
                    },
                }
            ),
            indent=1,
            allow_nan=False,
        )
        if path is not None:
            with atomic_path(path) as part:
                part.write_text(text + "\n", encoding="utf-8")
        return text

    def plot(self, **kwargs: Any) -> Any:
        """Draw the errors by lead time: of the model, its projection floor and the baselines.

        Parameters
        ----------
        **kwargs
            Passed on to :meth:`xarray.DataArray.plot.line`, for instance ``ax``.

        Returns
        -------
        list of matplotlib lines
        """
        curves = self.data["baseline_error"].to_dataset("baseline")
        curves["projection_floor"] = np.sqrt((self.data["error_floor"] ** 2).mean("start"))
        curves["model"] = self.data["rms_error"]
        lines = curves.to_dataarray("forecast").assign_attrs(long_name="normalised error")
        return lines.plot.line(x="lead", hue="forecast", **kwargs)

    def __str__(self) -> str:
        """The verdict and its reasons, one a line."""
        return "\n".join([f"StabilityReport: {self.verdict}", *(f"- {r}" for r in self.reasons)])

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escape(reason)}</li>" for reason in self.reasons)
        return (
            f"<div><p><b>StabilityReport: {escape(self.verdict)}</b></p><ul>{items}</ul>"
            f"{self.data._repr_html_()}</div>"
        )


def summarise(
    comparisons: Sequence[Comparison], *, tolerance: float, unit: str, n_untested: int
) -> StabilityReport:
    """Put the comparisons of all starts together and judge them.

    Parameters
    ----------
    comparisons : sequence of Comparison
        One per start, equally many lead times each.
    tolerance : float
        The normalised error up to which a forecast counts as valid.
    unit : str
        Of time.
    n_untested : int
        Stretches of the reference that were too short to be compared.

    Returns
    -------
    StabilityReport
    """
    data = _dataset(comparisons, tolerance, unit).assign_attrs(n_untested=n_untested)
    return StabilityReport(data, verdict_of(data), reasons_of(data))


def _dataset(comparisons: Sequence[Comparison], tolerance: float, unit: str) -> xr.Dataset:
    import xarray as xr

    square = {
        name: np.stack([getattr(c, name) for c in comparisons])
        for name in ("error", "error_floor", "error_dynamics", "variability", *BASELINES)
    }
    scale = float(np.sqrt(square["climatology"].mean()))
    if scale == 0:
        raise ValueError("The reference never departs from the training mean: nothing to check.")
    mean = {name: values.mean(axis=0) for name, values in square.items()}
    lead = np.stack([c.lead for c in comparisons])
    error = np.sqrt(square["error"]) / scale
    time, exceeded = valid_time(error, lead, tolerance)
    correlation = np.stack([c.anomaly_correlation for c in comparisons])
    variability = skill_score(mean["variability"], mean["climatology"])
    runs = [c.run for c in comparisons]
    data = xr.Dataset(
        {
            "error": (("start", "lead"), error),
            "error_floor": (("start", "lead"), np.sqrt(square["error_floor"]) / scale),
            "error_dynamics": (("start", "lead"), np.sqrt(square["error_dynamics"]) / scale),
            "rms_error": ("lead", np.sqrt(mean["error"]) / scale),
            "baseline_error": (
                ("baseline", "lead"),
                np.stack([np.sqrt(mean[name]) / scale for name in BASELINES]),
            ),
            "skill": (
                ("baseline", "lead"),
                np.stack([skill_score(mean["error"], mean[name]) for name in BASELINES]),
            ),
            "anomaly_correlation": ("lead", correlation.mean(axis=0)),
            "variability_ratio": ("lead", np.sqrt(1 - variability)),
            "valid_time": ("start", time, {"units": unit}),
            "exceeded": ("start", exceeded),
            "status": ("start", [run.status.name for run in runs]),
            "bounded": ("start", [run.status is Status.COMPLETED for run in runs]),
            "end_lead": ("start", [run.t_end - run.t[0] for run in runs], {"units": unit}),
            "long_run_size": ("start", [c.long_run_size for c in comparisons]),
            "full_seconds": ("start", [c.full_seconds for c in comparisons]),
            "reduced_seconds": ("start", [c.reduced_seconds for c in comparisons]),
        },
        coords={
            # On uneven sampling the lead times of the starts differ: these are their means.
            "lead": ("lead", lead.mean(axis=0), {"units": unit, "long_name": "lead time"}),
            "baseline": list(BASELINES),
            "start_time": ("start", [c.start for c in comparisons], {"units": unit}),
        },
    )
    return data.assign_attrs(
        tolerance=float(tolerance), scale=scale, bound=runs[0].bound, time_unit=unit
    )


def _plain(value: Any) -> Any:
    """JSON's own types, with None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
