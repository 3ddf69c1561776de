"""Check a reduced model against the full one: run both from the same states and compare.

Errors are measured where the compressor works, on flattened, scaled and weighted numbers, and
divided by the root mean square distance of the reference from the training mean: an error of 1
is that of forecasting the climatology.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from rom.base import FullModel
from rom.rollout.bands import with_bands, with_cell_bands
from rom.rollout.baselines import Climate
from rom.rollout.cells import cell_errors, some_cells
from rom.rollout.compare import compare
from rom.rollout.coordinates import with_coordinates
from rom.rollout.evidence import with_cost, with_range
from rom.rollout.pictures import thinned, with_pictures
from rom.rollout.stability import StabilityReport
from rom.rollout.summary import summarise
from rom.rollout.truths import held_out, simulated
from rom.rollout.verdict import reasons_of, verdict_of

if TYPE_CHECKING:
    from rom.rollout.invariants import Invariants


def check(
    model: Any,
    reference: Any,
    *,
    starts: Any = None,
    t: ArrayLike | None = None,
    u: Any = None,
    trajectory: ArrayLike | None = None,
    horizon: float | None = None,
    n_starts: int = 20,
    tolerance: float = 0.4,
    bound: float | None = None,
    level: float = 0.9,
    thorough: bool = False,
    invariants: Invariants | None = None,
) -> StabilityReport:
    """Check the rollouts of a fitted model against the full model, or held-out snapshots.

    Each rollout is compared as far as the reference goes, and carried on to ten times that, to see
    whether it stays: with inputs that are periodic by repeating them, with others as far as they
    are known.

    Parameters
    ----------
    model : ROM
        A fitted model.
    reference : FullModel, DataArray, Dataset or ndarray
        What the model stands for: a full model, run from the same states, or snapshots it was
        not fitted on.
    starts : array_like, shape (n_starts, *space), optional
        States a full model is run from, far enough apart to be independent. By default training
        states, as the compressor keeps them: these are told as seen, where the full model does
        again what it did in training, and as overlapping, where they are near in time.
    t : array_like, shape (n_time,), optional
        For a full model the output times, ``t[0]`` that of the starts. For NumPy snapshots the
        times of the rows; labelled ones bring their own.
    u : array_like, shape (n_time, n_inputs), or Dataset or DataArray, optional
        Inputs at the times `t`, or of the snapshots; labelled ones are looked up there.
    trajectory : array_like, shape (n_time,), optional
        Trajectory labels of NumPy snapshots.
    horizon : float, optional
        How far each rollout through snapshots runs, in time units; by default half of the median
        stretch of continuous sampling.
    n_starts : int, default 20
        The most starts to take, evenly spaced over the training states or the snapshots.
    tolerance : float, default 0.4
        The normalised error up to which a forecast counts as valid.
    bound : float, optional
        Norm of the latent state past which a rollout is ended; see :func:`rom.rollout`.
    level : float, default 0.9
        The probability of the reliable time and of the bands.
    thorough : bool, default False
        Also compare long-run statistics and Lyapunov exponents with the truth's, bound the error,
        search for the worst perturbation of a start, make bands in the units of the data, and keep
        pictures. The verdict then says for how long the model is reliable and whether it keeps the
        statistics. Takes seconds, and in proportion to the length of the rollouts: of a small model
        minutes where they have a hundred thousand rows each.
    invariants : mapping of str to callable, optional
        Functions of states (n_time, *space), in their units, to numbers (n_time,) that the full
        system keeps: how far they drift is told by a thorough check.

    Returns
    -------
    StabilityReport

    Raises
    ------
    ValueError
        If the snapshots have no stretch as long as `horizon`, or a full model got no times.

    Examples
    --------
    >>> import numpy as np, rom
    >>> t = np.arange(0, 20, 0.1)
    >>> X = np.c_[np.cos(t), np.sin(t)] @ np.random.default_rng(0).normal(size=(2, 50))
    >>> model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X[:100], t=t[:100])
    >>> report = rom.check(model, X[100:], t=t[100:], n_starts=5)
    >>> report.verdict
    'stable and accurate to the horizon, lead time 4.9'
    >>> report.to_dataset().sizes["start"]
    5
    """
    _check_arguments(model, reference, n_starts, tolerance, level, invariants)
    if isinstance(reference, FullModel):
        if horizon is not None or trajectory is not None:
            raise ValueError("horizon and trajectory go with snapshots; a full model runs over t.")
        truths = simulated(model, reference, starts, t, u, n_starts)
    else:
        if starts is not None:
            raise ValueError("starts goes with a full model; for snapshots give n_starts.")
        truths = held_out(model, reference, t, u, trajectory, horizon, n_starts)
    climate = Climate.of(model)
    unit = "" if model.time_axis_ is None else model.time_axis_.unit
    with np.errstate(over="ignore", invalid="ignore"):  # without a bound errors may overflow
        progress = tqdm(truths.starts, "checking", unit=" rollouts", leave=False, disable=None)
        comparisons, field, cells, shown = [], [], None, None
        for truth in progress:
            comparisons.append(compare(model, climate, truth, bound))
            if thorough:
                cells = cells or some_cells(model, len(truth.t))
                field.append(cell_errors(model, cells, truth, comparisons[-1].run))
                shown = shown or thinned(truth)
        data = summarise(comparisons, tolerance=tolerance, level=level, unit=unit)
        data = data.assign_attrs(n_untested=truths.n_untested)
        data = with_coordinates(data, climate, comparisons)
        data = with_bands(data, comparisons)
        data = with_range(data, model, comparisons)
        data = with_cost(data, model, reference, comparisons, truths.rival)
        if shown is not None and cells is not None:
            from rom.rollout.thorough import examine  # with numba, half a second to import

            data = with_cell_bands(data, comparisons, field, cells)
            data = examine(data, model, reference, comparisons, truths.stretches, invariants or {})
            data = with_pictures(data, model, shown, comparisons[0].truth, comparisons[0].run)
        return StabilityReport(data, verdict_of(data), reasons_of(data), model)


def _check_arguments(
    model: Any,
    reference: Any,
    n_starts: int,
    tolerance: float,
    level: float,
    invariants: Any,
) -> None:
    if not isinstance(n_starts, Integral) or isinstance(n_starts, bool):
        raise TypeError(f"n_starts must be a whole number, but it is {n_starts!r}.")
    for name, value in (("tolerance", tolerance), ("level", level)):
        if not isinstance(value, Real):
            raise TypeError(f"{name} must be a number, but it is {value!r}.")
    if not isinstance(invariants, Mapping | None):
        raise TypeError(
            f"invariants must map names to functions, but it is a {type(invariants).__name__}."
        )
    if not n_starts >= 1 or not tolerance > 0:
        raise ValueError(
            f"n_starts and tolerance must be positive, but they are {n_starts} and {tolerance}."
        )
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, but it is {level}.")
    if isinstance(reference, type):
        raise TypeError(f"Give an instance of {reference.__name__}, not the class.")
    if isinstance(model, type) or not hasattr(model, "to_rows"):
        raise TypeError(
            f"check takes a fitted rom.ROM, but came {model!r:.80}; wrap a latent "
            "model as rom.ROM(rom.Identity(), dynamics)."
        )
