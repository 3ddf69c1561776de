"""What to cite for a check: every method that the model and its check made use of, as BibTeX."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

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
# By the figures of a check: the variable or attribute, what it is, and its sources.
CHECKS = (
    ("reliable_time", "reliable time", ("vovk2005",)),
    ("skill", "skill scores", ("murphy1988",)),
    ("error_bound", "error bound from the residual and the logarithmic norm", ("soderlind2006",)),
    ("certificate", "trapping region", ("schlegel2015",)),
    ("band_radius", "simultaneous conformal bands", ("vovk2005", "diquigiovanni2022")),
    ("running_coverage", "bands that adapt to drift", ("gibbs2021",)),
    ("spectrum_model", "power spectra", ("welch1967",)),
    ("lyapunov_model", "Lyapunov exponents", ("benettin1980",)),
    ("kaplan_yorke_model", "Kaplan–Yorke dimension", ("frederickson1983",)),
    ("skill_low", "block bootstrap", ("kunsch1989",)),
    ("crps", "continuous ranked probability score", ("gneiting2007", "ferro2014")),
)


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
        if model.dynamics_.time == "continuous":
            used["Runge-Kutta method"] = ("dormand1980", "hairer1993")
    for figure, words, keys in CHECKS:
        if figure in data or figure in data.attrs:
            used[words] = keys
    return used


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
