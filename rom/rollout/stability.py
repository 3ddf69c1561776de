"""StabilityReport: what a check found, as a dataset, in words, as JSON and as HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rom.data.write import atomic_path
from rom.rollout.changes import without_equation
from rom.rollout.coordinates import without_skill
from rom.rollout.cost import times_less
from rom.rollout.judgements import (
    errors_explained,
    is_stable,
    other_units,
    outlasts_baselines,
    statistics_kept,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


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
    model: Any = field(default=None, repr=False, compare=False)
    """The ROM that was checked."""

    @property
    def stable(self) -> bool:
        """Whether every rollout stayed bounded, and did not grow, to ten times the horizon.

        With inputs, as far as these are known. In a thorough check it must not grow beside the
        whole reference, either. Growth after that is not seen; of a linear model with an eigenvalue
        that grows the verdict says "stable to ten horizons".
        """
        return is_stable(self.data)

    @property
    def valid_time(self) -> float:
        """Median over the starts of the first lead time past the tolerance.

        Of a start that never passes it, the last lead time it was compared to.
        """
        return float(self.data["valid_time"].median())

    @property
    def reliable_time(self) -> float:
        """Lead time to which a new forecast is valid at the level asked for; NaN if not known.

        At most as long as rollouts of which enough do not overlap: nine for a level of 0.9.
        """
        return float(self.data.attrs["reliable_time"])

    @property
    def statistics_kept(self) -> bool | None:
        """Whether the long-run statistics are the truth's; None where that is not known."""
        return statistics_kept(self.data)

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the model for starts like the tested, as far as that went.

        It is stable, holds in as many starts as the level says for longer than persistence,
        climatology, damped persistence and, of data with seasons, a seasonal linear model, as a
        whole and in every latent coordinate at the scale of its own variability, and its
        statistics, if they were compared, are the truth's. Its
        starts are of the order of size of the training states. Where its equations were followed
        along the truth, none is surely farther from it than no change. If it was searched how
        perturbations grow, and the model is not chaotic and has no noise, its forecasts hold for as
        long as they would if only their starts were wrong, by 1 % or by what the projection loses.
        For how long, and why, is in the verdict and its reasons. A model is trusted, too, where
        independent starts are too few to state a level as far as it held.
        """
        if other_units(self.data):
            return False
        skilful = outlasts_baselines(self.data) and not without_skill(self.data)
        believed = skilful and errors_explained(self.data)
        kept = self.statistics_kept is not False and not without_equation(self.data)
        return self.stable and believed and kept

    @property
    def cost_ratio(self) -> float:
        """Time the full model took over that of the reduced one; NaN where not measured."""
        return times_less(self.data)

    def to_dataset(self) -> xr.Dataset:
        """All figures, labelled.

        Returns
        -------
        Dataset
            By start and lead time, normalised: ``error``, ``error_floor`` (what projecting on the
            latent space loses) and ``error_dynamics`` (what the latent model adds), whose squares
            add up for an orthogonal compressor. By lead time: ``rms_error`` over the starts (NaN
            once one has ended), ``anomaly_correlation``, ``variability_ratio`` (rollout over
            reference); with a baseline ``baseline_error``, ``skill``; by baseline
            ``baseline_reliable_time`` (to which it held in as many starts as the level says, as
            the model did to the attribute ``held_time``). By start: ``valid_time``, ``exceeded``
            (whether the tolerance was), ``horizon`` (lead time it was compared to), ``status``,
            ``bounded``, ``end_lead`` (lead time reached), ``long_run_size`` (largest state over
            that in training and reference, carried on to ``long_run_lead``, which is ten horizons
            or as far as inputs are known; infinite if that ended early, NaN if there were none),
            ``start_size`` (how far out the start is, 1 at the edge of the training range),
            ``left_range`` (first lead time outside of it, NaN if never), with inputs
            ``left_inputs`` (the same of theirs), ``full_seconds``, ``reduced_seconds``. By latent
            coordinate: ``coordinate_share`` (of the variance), ``coordinate_reliable_time`` (where
            errors are relative to the coordinate's own variability) and
            ``coordinate_simple_time`` (the same of its best simple forecast); and by lead time,
            with starts enough: ``band_radius``.

            A thorough check has more: by run of the model beside the whole reference
            ``free_run_size`` and ``free_run_lead`` (as of the long runs); ``skill_low``,
            ``skill_high``, ``anomaly_correlation_low``, ``anomaly_correlation_high``; by cell, in
            the units of the data, ``cell_band_radius`` with the names of the cells, ``cell``; for
            starts in order of time ``running_coverage`` (share of the rollouts tested so far that
            the fixed and the adaptive band held) and ``adaptive_width`` (over that of the fixed
            one); by statistic ``distance`` (over runs of the length in its attributes),
            ``sampling_error``, ``statistics_kept``, ``statistics_known``, and, each ``_model`` and
            ``_truth``, the ``spectrum``, ``autocorrelation``, ``histogram`` and ``joint_histogram``
            themselves, with their ``spectrum_frequency``, ``lag``, ``histogram_edges`` and
            ``joint_coordinates``; by latent coordinate ``change_error`` (of the change from row to
            row that the model gives along the truth, relative to the truth's) and its lower bound
            ``change_error_low``; ``lyapunov_model``, ``lyapunov_model_error``,
            ``kaplan_yorke_model``, ``lyapunov_time``, for an affordable full model
            ``lyapunov_truth``, ``lyapunov_truth_error``, ``kaplan_yorke_truth``; ``error_bound``
            (normalised), ``useful_horizon``, ``effectivity``; ``perturbation_growth`` beside
            ``growth_bound`` (by its attribute ``kind`` certified, of a linear model, or else to
            first order, an estimate), and as an attribute ``explained_time`` (to which errors of
            the start alone stay within the tolerance; not of chaotic models); for a model with
            noise ``crps``, ``crps_climatology``, ``crps_low``, ``crps_high`` and, of its skill over
            the climatology, ``crps_skill_low``, ``crps_skill_high``; ``invariant_drift`` and that
            of the truth as the latent space sees it, ``invariant_drift_truth``; of the first start
            ``latent_truth``, ``latent_model``, and at some lead times ``field_truth``,
            ``field_model``.

            Attributes: ``tolerance`` and ``level`` as asked; ``scale`` (what errors are divided by:
            the root mean square distance of the reference from the training mean), ``bound`` (on
            latent states), ``time_unit``, ``inputs`` (how rollouts were carried on: "none",
            "known", "constant" or "periodic"); ``reliable_time``, ``held_time``, and how many of
            the starts are independent over the latter, ``held_apart``; ``n_untested`` (stretches
            left out), ``n_seen`` (starts of which the truth was trained on), ``range_kind``
            ("hull", "ellipsoid" or "box"), ``size_ratio`` (of starts to training states);
            ``thorough``; in a thorough check ``n_apart`` (independent starts, of ``n_apart_asked``
            for a band); ``certificate`` (of boundedness, in words), ``certified_radius``,
            ``growth_rate`` (of a linear model that grows for ever), ``certificate_search`` (for
            what it was searched); ``n_around``, ``n_around_bounded`` (starts drawn up to ``around``
            times as far from the mean as training states, and how many stayed to ``around_lead``);
            ``statistics``, ``exponents``, ``exponents_truth`` (why there are none);
            ``fit_seconds``, ``full_flops``, ``full_bytes``, ``reduced_flops``, ``reduced_bytes``,
            ``break_even_runs``; of the coarse full model ``coarse_factor``, ``coarse_seconds``, and
            ``coarse_budget``, what the reduced one then took.
        """
        return self.data.assign_attrs(verdict=self.verdict, reasons="\n".join(self.reasons))

    def to_json(self, path: str | Path | None = None) -> str:
        """The report as JSON, without pictures; what is not finite becomes null.

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
                    "trusted": self.trusted,
                    "reasons": list(self.reasons),
                    "valid_time": self.valid_time,
                    "cost_ratio": self.cost_ratio,
                    **self.data.attrs,
                    "variables": {
                        str(name): {"dims": list(v.dims), "values": v.values.tolist()}
                        for name, v in self.data.variables.items()
                        if "snapshot" not in v.dims
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

    def to_html(self, path: str | Path | None = None, **options: Any) -> str:
        """The report as one HTML page that needs no other file and no network.

        Parameters
        ----------
        path : path, optional
            Also written there.
        **options
            Passed on to :func:`rom.report.html.to_html`.

        Returns
        -------
        str
        """
        from rom.report.html import to_html

        return to_html(self, path, **{"model": self.model, **options})

    def plot(self) -> Figure:
        """Draw all panels for which the check has the figures; errors by lead time are the first.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from rom.report.plots import plot_report

        return plot_report(self)

    def __str__(self) -> str:
        """The verdict and its reasons, one a line."""
        return "\n".join([f"StabilityReport: {self.verdict}", *(f"- {r}" for r in self.reasons)])

    def _repr_html_(self) -> str:
        from rom.report.html import fragment

        return fragment(self, model=self.model)


def _plain(value: Any) -> Any:
    """JSON's own types, with None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
