"""What to cite for a check: every method that the model and its check made use of, as BibTeX."""

from __future__ import annotations

import re
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from rom.rollout.run import method_of

if TYPE_CHECKING:
    import xarray as xr

    from rom.base import Dynamics
    from rom.model import ROM

REFERENCES = Path(__file__).with_name("references.bib")

# Entries of the file of references by the classes that a model may be made of.
PARTS = {
    "AffineOperatorInference": ("peherstorfer2016", "mcquarrie2023"),
    "Autoencoder": ("hinton2006", "lee2020"),
    "Closure": ("sirignano2020",),
    "ContractiveODE": ("sherry2024",),
    "ConvexClosure": ("schotthofer2022closure",),
    "CotangentLift": ("peng2016",),
    "DMD": ("schmid2010",),
    "DiscreteInterpolatedOperatorInference": ("peherstorfer2020",),
    "DiscreteOperatorInference": ("peherstorfer2020",),
    "DiscreteSINDy": ("brunton2016",),
    "DissipativeODE": ("schlegel2015",),
    "EchoState": ("jaeger2001",),
    "FamilyPOD": ("lumley1967", "kunisch2001"),
    "GappyPOD": ("everson1995", "beckers2003", "yu2009"),
    "GrassmannPOD": ("amsallem2008",),
    "HamiltonianODE": ("greydanus2019", "sharma2022"),
    "HyperReduction": ("chaturantabut2010", "drmac2016"),
    "InterpolatedOperatorInference": ("peherstorfer2016",),
    "InvariantODE": ("celledoni2023",),
    "KernelModel": ("rasmussen2006",),
    "LinearInverseModel": ("penland1995",),
    "LocalModel": ("pathak2018",),
    "LowRankODE": ("schotthofer2022low",),
    "MidpointSINDy": ("brunton2016", "celledoni2025"),
    "NVAR": ("gauthier2021",),
    "NeuralODE": ("chen2018",),
    "OperatorInference": ("peherstorfer2016",),
    "OptimisedDMD": ("schmid2010", "askham2018"),
    "POD": ("lumley1967", "sirovich1987"),
    "PortHamiltonianODE": ("eidnes2024", "vanderschaft2014"),
    "QuadraticManifold": ("geelen2023",),
    "RecurrentModel": ("hochreiter1997", "cho2014"),
    "SINDy": ("brunton2016",),
    "SeasonalModel": ("penland1995", "ortizbevia1997"),
    "ShiftedPOD": ("reiss2018",),
    "SparseODE": ("bungert2022",),
    "StableOperatorInference": ("peherstorfer2016", "goyal2025"),
    "TrappingSINDy": ("brunton2016", "schlegel2015", "kaptanoglu2021"),
    "WeakSINDy": ("messenger2021",),
}
# By the figures of a check: the variable, attribute or part of one, what it is, and its sources.
CHECKS = (
    ("reliable_time", "reliable time", ("vovk2005",)),
    ("skill", "skill scores", ("murphy1988",)),
    ("anomaly_correlation", "anomaly correlation", ("murphy1989",)),
    (
        "error_bound",
        "error bound from the residual and the logarithmic norm",
        ("soderlind2006", "strom1975"),
    ),
    ("perturbation_growth", "worst perturbation", ("lorenz1965", "mu2003")),
    ("trapping region", "trapping region", ("schlegel2015", "goulart2012", "goulart2024")),
    ("basin", "trapping region of a basin", ("kramer2021", "goulart2024")),
    (
        "band_radius",
        "simultaneous conformal bands",
        ("vovk2005", "diquigiovanni2022", "lee2023", "korn1998"),
    ),
    ("running_coverage", "bands that adapt to drift", ("gibbs2021",)),
    ("distance", "sampling error of statistics", ("politis1999",)),
    ("spectrum_model", "power spectra", ("welch1967",)),
    ("lyapunov_model", "Lyapunov exponents", ("benettin1980",)),
    ("kaplan_yorke_model", "Kaplan–Yorke dimension", ("frederickson1983",)),
    ("skill_low", "block bootstrap", ("kunsch1989", "gotze1996", "goncalves2011")),
    ("crps", "continuous ranked probability score", ("gneiting2007", "ferro2014")),
    ("seasonal", "seasonal linear forecast", ("ortizbevia1997",)),
    ("hull", "hull of the training states", ("barber1996",)),
)
# By a parameter of a latent model, what it asks for, and its sources.
OPTIONS = (
    ("solver", "sr3", ("zheng2019",)),
    ("solver", "linbreg", ("bungert2022",)),
    ("solver", "subset", ("furnival1974",)),
    ("n_models", "ensemble of fits", ("fasel2022",)),
    ("constraint", "linear constraints", ("loiseau2018",)),
    ("energy", "terms that keep the energy", ("schlegel2015", "kaptanoglu2021")),
)
STEPPERS = {
    "dopri5": ("dormand1980",),
    "dop853": ("hairer1993",),
    "exponential": ("krogstad2005", "balac2013"),
}


def methods_used(model: ROM | None, data: xr.Dataset) -> dict[str, tuple[str, ...]]:
    """Keys of the references, by what they are cited for.

    Parameters
    ----------
    model : ROM or None
        The model checked.
    data : Dataset
        Of its report.

    Returns
    -------
    dict of str to tuple of str
        Keys of :data:`REFERENCES`.
    """
    used: dict[str, tuple[str, ...]] = {}
    if model is not None:
        for part in (model.compressor_, model.dynamics_):
            name = type(part).__name__
            if name in PARTS:
                used[name] = PARTS[name]
        if model.states_per_row > 1:
            used["delay embedding"] = ("takens1981",)
        used |= _options(model.dynamics_)
        if model.dynamics_.time == "continuous":
            lead = data["lead"].values
            method = method_of(model.dynamics_, lead[[0, -1]], len(lead))
            found = {method, "dopri5"} if "n_around" in data.attrs else {method}
            used["Runge-Kutta method"] = sum((STEPPERS[name] for name in sorted(found)), ())
    there = {*data.variables, *data.attrs, *data["baseline"].values, data.attrs.get("range_kind")}
    there |= {*data.attrs.get("certificate_search", "").split(", ")}
    return used | {words: keys for figure, words, keys in CHECKS if figure in there}


def _options(dynamics: Dynamics) -> dict[str, tuple[str, ...]]:
    """What the parameters of a latent model ask for beyond its plain form."""
    chosen = dynamics.get_params(deep=False)
    plain = {name: p.default for name, p in signature(type(dynamics)).parameters.items()}
    return {
        words: keys
        for name, words, keys in OPTIONS
        if name in chosen
        and (chosen[name] == words if name == "solver" else chosen[name] is not plain[name])
    }


def bibtex(keys: list[str]) -> str:
    """Entries of the file of references, in its order.

    Examples
    --------
    >>> print(bibtex(["sirovich1987"]))
    @article{sirovich1987,
      author = {Sirovich, Lawrence},
    ...
    """
    return "\n\n".join(entry for key, entry in entries().items() if key in keys)


def entries() -> dict[str, str]:
    """All entries of the file of references, by key."""
    text = REFERENCES.read_text(encoding="utf-8")
    found = re.findall(r"^@\w+\{([^,]+),.*?^\}", text, flags=re.DOTALL | re.MULTILINE)
    return dict(zip(found, (e.strip() for e in re.split(r"\n\n(?=@)", text)), strict=True))
