"""What may go wrong in a check, case by case and by chance; for the tests and the benchmark."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from hypothesis import strategies as st

import rom
from rom.base import Dynamics

T = np.linspace(0, 20, 201)
MODES = np.random.default_rng(0).normal(size=(2, 6))
X = np.c_[np.cos(T), np.sin(T)] @ MODES


class Fault(NamedTuple):
    """Something wrong, and what must be said of it."""

    name: str
    check: Callable[..., Any]
    """Takes `thorough` and other options of a check."""
    error: type[Exception] | None
    """What is raised; None where a report comes that is flagged."""
    words: str
    """In the message, or in the verdict and its reasons."""


class Broken(Dynamics):
    """A rotation that is not defined at all times."""

    time = "continuous"

    def _fit_series(self, series):
        self.turn_ = np.array([[0.0, 1.0], [-1.0, 0.0]])

    def _predict(self, Z, u):
        return np.where(Z[:, :1] > -0.9 * np.abs(Z).max(), Z @ self.turn_, np.nan)


class Runaway:
    """A full model that leaves the finite numbers."""

    def __init__(self, error: bool):
        self.error = error

    def simulate(self, x0, t, *, u=None, params=None):
        if self.error:
            raise FloatingPointError("The simulation left the finite numbers by t = 1.")
        states = np.full((len(t), 6), np.nan)
        states[0] = x0
        return xr.DataArray(states, dims=("time", "x"), coords={"time": t})


def labelled(values=X, t=T, **attrs):
    grid = {"time": t[: len(values)], "x": np.arange(values.shape[1], dtype=float)}
    return xr.DataArray(values, grid, ("time", "x"), name="q", attrs=attrs)


def two_variables(second):
    """A Dataset of the states and of other ones."""
    return xr.Dataset({"q": labelled(), "p": labelled(second)})


@cache
def model(kind="plain"):
    turn = rom.OperatorInference("cA")
    if kind == "plain":
        return rom.ROM(rom.POD(2), turn).fit(X[:100], t=T[:100])
    if kind == "labelled":
        return rom.ROM(rom.POD(2), turn).fit(labelled()[:100])
    if kind == "pascal":
        return rom.ROM(rom.POD(2), turn).fit(labelled(units="Pa")[:100])
    if kind == "two variables":
        return rom.ROM(rom.POD(2), turn).fit(two_variables(X[:, ::-1])[dict(time=slice(100))])
    if kind == "constant variable":
        return rom.ROM(rom.POD(2), turn).fit(two_variables(np.ones_like(X)))
    if kind == "discrete":
        return rom.ROM(rom.POD(2), rom.DMD()).fit(X[:100], t=T[:100])
    if kind == "forced":
        return rom.ROM(rom.POD(2), turn).fit(X[:100], t=T[:100], u=np.sin(3 * T[:100, None]))
    if kind == "broken":
        return rom.ROM(rom.POD(2), Broken()).fit(X[:100], t=T[:100])
    A, H = {
        "blow-up": (np.eye(2), np.eye(2, 3)),
        "stiff": (np.array([[0.0, 1e9], [-1e9, 0.0]]), np.zeros((2, 3))),
        "huge": (1e200 * np.eye(2), np.zeros((2, 3))),
    }[kind]
    made = rom.ROM(rom.POD(2), rom.OperatorInference("AH")).fit(X[:100], t=T[:100])
    bound = made.dynamics_.bound_
    made.dynamics_ = rom.OperatorInference.from_operators(A=A, H=H, bound=bound)
    return made


def check(kind="plain", reference=X, t=T, **options):
    """A check; the plain and sound one by default."""
    return rom.check(model(kind), reference, t=t, **options)


def spoiled(place, value):
    values = X.copy()
    values[place] = value
    return values


FAULTS = [
    Fault("NaN in the middle of a rollout", partial(check, "broken"), None, "unstable"),
    Fault("blow-up", partial(check, "blow-up"), None, "unstable"),
    Fault("blow-up without a bound", partial(check, "blow-up", bound=np.inf), None, "unstable"),
    Fault("overflow of the model", partial(check, "huge", bound=np.inf), None, "unstable"),
    Fault("stiff model", partial(check, "stiff"), None, "too stiff to be finished"),
    Fault("zero length", partial(check, reference=X[:0], t=T[:0]), ValueError, "0 sample"),
    Fault("one snapshot", partial(check, reference=X[:1], t=T[:1]), ValueError, "two snapshots"),
    Fault(
        "reference shorter than the horizon", partial(check, horizon=50.0), ValueError, "20 long"
    ),
    Fault(
        "other units, labelled",
        partial(check, "pascal", labelled(X / 100, units="hPa"), None),
        ValueError,
        "hPa",
    ),
    *(
        Fault(
            f"other units, not labelled: times {k:g}",
            partial(check, reference=k * X),
            None,
            "times as large as the training states: other units?",
        )
        for k in (1000, 100, 10, 0.1, 0.01)
    ),
    Fault("shifted by an offset", partial(check, reference=X + 273.15), None, "other units"),
    Fault("constant reference", partial(check, reference=np.ones_like(X)), None, "no better than"),
    Fault(
        "constant variable in training",
        partial(check, "constant variable"),
        ValueError,
        "p does not vary",
    ),
    Fault(
        "constant variable in the reference",
        partial(check, "two variables", two_variables(np.ones_like(X)), None),
        None,
        "within the tolerance at no lead time",
    ),
    Fault(
        "reference at the training mean",
        partial(check, reference=np.tile(X[:100].mean(axis=0), (201, 1))),
        None,
        "its variability grew",
    ),
    Fault("other grid, plain", partial(check, reference=X[:, :5]), ValueError, "5 features"),
    Fault(
        "other grid, labelled",
        partial(check, "labelled", labelled().assign_coords(x=np.arange(6) + 0.5), None),
        ValueError,
        "x",
    ),
    Fault("NaN in the reference", partial(check, reference=spoiled(50, np.nan)), ValueError, "NaN"),
    Fault(
        "infinity in the reference",
        partial(check, reference=spoiled(50, np.inf)),
        ValueError,
        "inf",
    ),
    Fault("times run backwards", partial(check, t=T[::-1]), ValueError, "backwards"),
    Fault("times repeat", partial(check, t=np.r_[T[:1], T[:-1]]), ValueError, "repeats"),
    Fault("a time is NaN", partial(check, t=np.r_[T[:-1], np.nan]), ValueError, "not finite"),
    Fault("no times", partial(check, t=None), ValueError, "needs the times"),
    Fault("times of another length", partial(check, t=T[:-1]), ValueError, "200 rows"),
    Fault(
        "times of another step, discrete",
        partial(check, "discrete", X[::2], T[::2]),
        ValueError,
        "step",
    ),
    Fault("horizon NaN", partial(check, horizon=np.nan), ValueError, "horizon"),
    Fault("no starts", partial(check, n_starts=0), ValueError, "n_starts"),
    Fault("level 90", partial(check, level=90), ValueError, "level"),
    Fault("inputs missing", partial(check, "forced"), ValueError, "inputs"),
    Fault("inputs not asked for", partial(check, u=np.ones((201, 1))), ValueError, "inputs"),
    Fault(
        "words for numbers",
        partial(check, reference=np.full(X.shape, "warm")),
        ValueError,
        "must hold real numbers",
    ),
    Fault("a class", partial(check, reference=rom.fom.Heat), TypeError, "instance"),
    Fault("not a ROM", partial(rom.check, rom.DMD(), X), TypeError, "rom.ROM"),
    Fault("not fitted", partial(rom.check, rom.ROM(), X), ValueError, "not fitted"),
    Fault(
        "full model blows up", partial(check, reference=Runaway(True)), FloatingPointError, "finite"
    ),
    Fault("full model gives NaN", partial(check, reference=Runaway(False)), ValueError, "NaN"),
    Fault(
        "full model of other size", partial(check, reference=rom.fom.Heat(n=9)), ValueError, "shape"
    ),
    Fault(
        "no start states",
        partial(check, reference=Runaway(False), starts=np.zeros((0, 6))),
        ValueError,
        "empty",
    ),
]

# Numbers as they come, and as they should not.
ODD = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, -1e300, np.nan, np.inf, -np.inf])
KINDS = ["plain", "labelled", "discrete", "forced", "broken", "blow-up", "huge"]


@st.composite
def calls(draw):
    """Arguments of a check: sound ones, some of them spoiled."""
    kind = draw(st.sampled_from(KINDS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(0, 30))
    values = X[:n].copy() * draw(st.sampled_from([1.0, 1.0, 0.0, 1e-9, 1e9, 1e200]))
    t, trajectory = T[:n].copy(), None
    options: dict[str, Any] = {"n_starts": draw(st.integers(-1, 25))}
    for spoil in draw(st.lists(st.sampled_from(sorted(SPOILERS)), max_size=3)):
        values, t, trajectory = SPOILERS[spoil](draw, rng, values, t, trajectory)
    for name, strategy in OPTIONS.items():
        if draw(st.integers(0, 4)) == 0:
            options[name] = draw(strategy)
    if kind == "forced" and draw(st.booleans()):
        options["u"] = rng.normal(size=(len(values) + draw(st.sampled_from([0, 0, 1])), 1))
    if kind == "labelled" and values.ndim == 2 and t is not None and len(t) == len(values):
        grid = {"time": t, "x": np.arange(values.shape[1], dtype=float)}
        return kind, xr.DataArray(values, grid, ("time", "x"), name="q"), options
    return kind, values, {**options, "t": t, "trajectory": trajectory}


def _odd_value(draw, rng, values, t, trajectory):
    values = np.array(values)
    if values.size and values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # 1e300 is infinite in single precision
            values.flat[draw(st.integers(0, values.size - 1))] = draw(ODD)
    return values, t, trajectory


def _odd_time(draw, rng, values, t, trajectory):
    if t is not None and t.size:
        t = t.copy()
        t[draw(st.integers(0, t.size - 1))] = draw(ODD)
    return values, t, trajectory


def _numbers(function):
    """A spoiler of the values, where they are numbers."""

    def spoil(draw, rng, values, t, trajectory):
        if values.dtype.kind == "f":
            values = function(draw, rng, values)
        return values, t, trajectory

    return spoil


def _whole(draw, rng, v):
    return np.nan_to_num(v, posinf=1, neginf=1).clip(-9, 9).astype(int)


def _mixed(draw, rng, values, t, trajectory):
    n = len(values) + draw(st.integers(0, 1))
    return values, t, rng.integers(0, 4, size=n)


def _gap(draw, rng, values, t, trajectory):
    return values, None if t is None else t + 100.0 * (np.arange(len(t)) > 9), trajectory


SPOILERS: dict[str, Callable[..., Any]] = {
    "value": _odd_value,
    "time": _odd_time,
    "gap": _gap,
    "mixed labels": _mixed,
    "labels": lambda draw, rng, v, t, k: (v, t, np.sort(rng.integers(0, 4, size=len(v)))),
    "no times": lambda draw, rng, v, t, k: (v, None, k),
    "uneven": lambda draw, rng, v, t, k: (v, np.sort(rng.uniform(0, 3, size=len(v))), k),
    "rows": lambda draw, rng, v, t, k: (v[: draw(st.integers(0, 3))], t, k),
    "words": lambda draw, rng, v, t, k: (np.full(v.shape, "warm"), t, k),
    "noise": _numbers(lambda draw, rng, v: v + rng.normal(size=v.shape)),
    "columns": _numbers(lambda draw, rng, v: v[..., : draw(st.integers(0, 6))]),
    "flat": _numbers(lambda draw, rng, v: v.ravel()),
    "deep": _numbers(lambda draw, rng, v: v[..., None]),
    "single": _numbers(lambda draw, rng, v: np.clip(v, -1e30, 1e30).astype(np.float32)),
    "complex": _numbers(lambda draw, rng, v: v.astype(complex)),
    "constant": _numbers(lambda draw, rng, v: np.full(v.shape, draw(ODD))),
    "whole": _numbers(_whole),
}

OPTIONS: dict[str, Any] = {
    "horizon": st.one_of(ODD, st.floats(-1, 5)),
    "tolerance": st.one_of(ODD, st.floats(-1, 5)),
    "bound": st.one_of(ODD, st.floats(-1, 500)),
    "level": st.one_of(ODD, st.floats(-0.1, 1.1)),
    "thorough": st.booleans(),
}
