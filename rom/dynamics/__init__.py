"""Latent dynamics: models of a latent state's time derivative or next value."""

from rom.dynamics.dmd import DMD
from rom.dynamics.library import ConcatLibrary, FourierLibrary, Library, PolynomialLibrary
from rom.dynamics.neural_ode import NeuralODE
from rom.dynamics.opinf import OperatorInference
from rom.dynamics.sindy import SINDy

__all__ = [
    "DMD",
    "ConcatLibrary",
    "FourierLibrary",
    "Library",
    "NeuralODE",
    "OperatorInference",
    "PolynomialLibrary",
    "SINDy",
]
