"""rom: reduced-order modelling and system identification, from snapshots to a checked rollout.

>>> import numpy as np, rom
>>> t = np.linspace(0, 20, 201)
>>> X = np.c_[np.cos(t), np.sin(t)] @ np.random.default_rng(0).normal(size=(2, 50))
>>> model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X, t=t)
>>> forecast = model.rollout(X[-1], t=np.linspace(20, 200, 181))
>>> forecast.attrs["status"]
'COMPLETED'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rom import datasets as datasets
    from rom import fom as fom
    from rom.compress.autoencoder import Autoencoder as Autoencoder
    from rom.compress.cotangent_lift import CotangentLift as CotangentLift
    from rom.compress.family_pod import FamilyPOD as FamilyPOD
    from rom.compress.gappy_pod import GappyPOD as GappyPOD
    from rom.compress.grassmann_pod import GrassmannPOD as GrassmannPOD
    from rom.compress.hyper_reduction import HyperReduction as HyperReduction
    from rom.compress.identity import Identity as Identity
    from rom.compress.pod import POD as POD
    from rom.compress.quadratic_manifold import QuadraticManifold as QuadraticManifold
    from rom.compress.shifted_pod import ShiftedPOD as ShiftedPOD
    from rom.data.flatten import Flatten as Flatten
    from rom.data.io import open_snapshots as open_snapshots
    from rom.data.scale import Scale as Scale
    from rom.dynamics.closure import Closure as Closure
    from rom.dynamics.contractive import ContractiveODE as ContractiveODE
    from rom.dynamics.convex_closure import ConvexClosure as ConvexClosure
    from rom.dynamics.dissipative_ode import DissipativeODE as DissipativeODE
    from rom.dynamics.dmd import DMD as DMD
    from rom.dynamics.echo_state import EchoState as EchoState
    from rom.dynamics.hamiltonian import HamiltonianODE as HamiltonianODE
    from rom.dynamics.hankel import delays as delays
    from rom.dynamics.invariant_ode import InvariantODE as InvariantODE
    from rom.dynamics.kernel import KernelModel as KernelModel
    from rom.dynamics.library import FourierLibrary as FourierLibrary
    from rom.dynamics.library import FunctionLibrary as FunctionLibrary
    from rom.dynamics.library import PolynomialLibrary as PolynomialLibrary
    from rom.dynamics.lim import LinearInverseModel as LinearInverseModel
    from rom.dynamics.local import LocalModel as LocalModel
    from rom.dynamics.low_rank import LowRankODE as LowRankODE
    from rom.dynamics.midpoint import MidpointSINDy as MidpointSINDy
    from rom.dynamics.neural_ode import NeuralODE as NeuralODE
    from rom.dynamics.nvar import NVAR as NVAR
    from rom.dynamics.opinf import DiscreteOperatorInference as DiscreteOperatorInference
    from rom.dynamics.opinf import OperatorInference as OperatorInference
    from rom.dynamics.optimised_dmd import OptimisedDMD as OptimisedDMD
    from rom.dynamics.parametric import AffineOperatorInference as AffineOperatorInference
    from rom.dynamics.parametric import (
        DiscreteInterpolatedOperatorInference as DiscreteInterpolatedOperatorInference,
    )
    from rom.dynamics.parametric import (
        InterpolatedOperatorInference as InterpolatedOperatorInference,
    )
    from rom.dynamics.pde import WeakPDE as WeakPDE
    from rom.dynamics.port_hamiltonian import PortHamiltonianODE as PortHamiltonianODE
    from rom.dynamics.recurrent import RecurrentModel as RecurrentModel
    from rom.dynamics.seasonal import SeasonalModel as SeasonalModel
    from rom.dynamics.sindy import DiscreteSINDy as DiscreteSINDy
    from rom.dynamics.sindy import SINDy as SINDy
    from rom.dynamics.sparse_ode import SparseODE as SparseODE
    from rom.dynamics.stable_opinf import StableOperatorInference as StableOperatorInference
    from rom.dynamics.trapping import trapping_region as trapping_region
    from rom.dynamics.trapping_sindy import TrappingSINDy as TrappingSINDy
    from rom.dynamics.weak import WeakSINDy as WeakSINDy
    from rom.model import ROM as ROM
    from rom.regularisation import search_ridge as search_ridge
    from rom.rollout.check import StabilityReport as StabilityReport
    from rom.rollout.check import check as check
    from rom.rollout.ensemble import Ensemble as Ensemble
    from rom.rollout.ensemble import ensemble as ensemble
    from rom.rollout.result import Rollout as Rollout
    from rom.rollout.result import Status as Status
    from rom.select import select_model as select_model
    from rom.store import load as load

__version__ = "0.1.0"

# Where each public name lives. Nothing is imported before it is asked for, so that `import rom`
# and `rom --help` stay fast.
_HOME = {
    "AffineOperatorInference": "rom.dynamics.parametric",
    "Autoencoder": "rom.compress.autoencoder",
    "Closure": "rom.dynamics.closure",
    "ContractiveODE": "rom.dynamics.contractive",
    "ConvexClosure": "rom.dynamics.convex_closure",
    "CotangentLift": "rom.compress.cotangent_lift",
    "DMD": "rom.dynamics.dmd",
    "DiscreteInterpolatedOperatorInference": "rom.dynamics.parametric",
    "DiscreteOperatorInference": "rom.dynamics.opinf",
    "DiscreteSINDy": "rom.dynamics.sindy",
    "DissipativeODE": "rom.dynamics.dissipative_ode",
    "EchoState": "rom.dynamics.echo_state",
    "Ensemble": "rom.rollout.ensemble",
    "FamilyPOD": "rom.compress.family_pod",
    "Flatten": "rom.data.flatten",
    "FourierLibrary": "rom.dynamics.library",
    "FunctionLibrary": "rom.dynamics.library",
    "GappyPOD": "rom.compress.gappy_pod",
    "GrassmannPOD": "rom.compress.grassmann_pod",
    "HamiltonianODE": "rom.dynamics.hamiltonian",
    "HyperReduction": "rom.compress.hyper_reduction",
    "Identity": "rom.compress.identity",
    "InterpolatedOperatorInference": "rom.dynamics.parametric",
    "InvariantODE": "rom.dynamics.invariant_ode",
    "KernelModel": "rom.dynamics.kernel",
    "LinearInverseModel": "rom.dynamics.lim",
    "LocalModel": "rom.dynamics.local",
    "LowRankODE": "rom.dynamics.low_rank",
    "MidpointSINDy": "rom.dynamics.midpoint",
    "NVAR": "rom.dynamics.nvar",
    "NeuralODE": "rom.dynamics.neural_ode",
    "OperatorInference": "rom.dynamics.opinf",
    "OptimisedDMD": "rom.dynamics.optimised_dmd",
    "POD": "rom.compress.pod",
    "PolynomialLibrary": "rom.dynamics.library",
    "PortHamiltonianODE": "rom.dynamics.port_hamiltonian",
    "QuadraticManifold": "rom.compress.quadratic_manifold",
    "ROM": "rom.model",
    "RecurrentModel": "rom.dynamics.recurrent",
    "Rollout": "rom.rollout.result",
    "SINDy": "rom.dynamics.sindy",
    "Scale": "rom.data.scale",
    "SeasonalModel": "rom.dynamics.seasonal",
    "ShiftedPOD": "rom.compress.shifted_pod",
    "SparseODE": "rom.dynamics.sparse_ode",
    "StabilityReport": "rom.rollout.check",
    "StableOperatorInference": "rom.dynamics.stable_opinf",
    "Status": "rom.rollout.result",
    "TrappingSINDy": "rom.dynamics.trapping_sindy",
    "WeakPDE": "rom.dynamics.pde",
    "WeakSINDy": "rom.dynamics.weak",
    "check": "rom.rollout.check",
    "delays": "rom.dynamics.hankel",
    "ensemble": "rom.rollout.ensemble",
    "load": "rom.store",
    "open_snapshots": "rom.data.io",
    "search_ridge": "rom.regularisation",
    "select_model": "rom.select",
    "trapping_region": "rom.dynamics.trapping",
}
_MODULES = ("datasets", "fom", "rollout")  # rom.rollout is a package that can be called

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"rom.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'rom' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
