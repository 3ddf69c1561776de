"""Compressors: snapshots to a few latent coordinates and back, one file each."""

from rom.compress.autoencoder import Autoencoder
from rom.compress.cotangent_lift import CotangentLift
from rom.compress.family_pod import FamilyPOD
from rom.compress.gappy_pod import GappyPOD
from rom.compress.grassmann_pod import GrassmannPOD
from rom.compress.hyper_reduction import HyperReduction
from rom.compress.identity import Identity
from rom.compress.pod import POD
from rom.compress.quadratic_manifold import QuadraticManifold
from rom.compress.shifted_pod import ShiftedPOD

__all__ = [
    "POD",
    "Autoencoder",
    "CotangentLift",
    "FamilyPOD",
    "GappyPOD",
    "GrassmannPOD",
    "HyperReduction",
    "Identity",
    "QuadraticManifold",
    "ShiftedPOD",
]
