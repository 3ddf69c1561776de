"""Latent dynamics: models of a latent state's time derivative or next value."""

from rom.dynamics.closure import Closure
from rom.dynamics.contractive import ContractiveODE
from rom.dynamics.convex_closure import ConvexClosure
from rom.dynamics.dissipative_ode import DissipativeODE
from rom.dynamics.dmd import DMD
from rom.dynamics.echo_state import EchoState
from rom.dynamics.hamiltonian import HamiltonianODE
from rom.dynamics.hankel import delays
from rom.dynamics.invariant_ode import InvariantODE
from rom.dynamics.kernel import KernelModel
from rom.dynamics.library import (
    ChosenLibrary,
    ConcatLibrary,
    FourierLibrary,
    FunctionLibrary,
    Library,
    PolynomialLibrary,
    ProductLibrary,
)
from rom.dynamics.lim import LinearInverseModel
from rom.dynamics.local import LocalModel
from rom.dynamics.low_rank import LowRankODE
from rom.dynamics.midpoint import MidpointSINDy
from rom.dynamics.neural_ode import NeuralODE
from rom.dynamics.nvar import NVAR
from rom.dynamics.opinf import DiscreteOperatorInference, OperatorInference
from rom.dynamics.optimised_dmd import OptimisedDMD
from rom.dynamics.parametric import (
    AffineOperatorInference,
    DiscreteInterpolatedOperatorInference,
    InterpolatedOperatorInference,
)
from rom.dynamics.pde import WeakPDE
from rom.dynamics.port_hamiltonian import PortHamiltonianODE
from rom.dynamics.recurrent import RecurrentModel
from rom.dynamics.seasonal import SeasonalModel, season
from rom.dynamics.sindy import DiscreteSINDy, SINDy
from rom.dynamics.sparse_ode import SparseODE
from rom.dynamics.stable_opinf import StableOperatorInference
from rom.dynamics.trapping import TrappingRegion, trapping_region
from rom.dynamics.trapping_sindy import TrappingSINDy
from rom.dynamics.weak import WeakSINDy

__all__ = [
    "DMD",
    "NVAR",
    "AffineOperatorInference",
    "ChosenLibrary",
    "Closure",
    "ConcatLibrary",
    "ContractiveODE",
    "ConvexClosure",
    "DiscreteInterpolatedOperatorInference",
    "DiscreteOperatorInference",
    "DiscreteSINDy",
    "DissipativeODE",
    "EchoState",
    "FourierLibrary",
    "FunctionLibrary",
    "HamiltonianODE",
    "InterpolatedOperatorInference",
    "InvariantODE",
    "KernelModel",
    "Library",
    "LinearInverseModel",
    "LocalModel",
    "LowRankODE",
    "MidpointSINDy",
    "NeuralODE",
    "OperatorInference",
    "OptimisedDMD",
    "PolynomialLibrary",
    "PortHamiltonianODE",
    "ProductLibrary",
    "RecurrentModel",
    "SINDy",
    "SeasonalModel",
    "SparseODE",
    "StableOperatorInference",
    "TrappingRegion",
    "TrappingSINDy",
    "WeakPDE",
    "WeakSINDy",
    "delays",
    "season",
    "trapping_region",
]
