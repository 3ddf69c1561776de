"""Compressors: snapshots to a few latent coordinates and back, one file each."""

from rom.compress.identity import Identity
from rom.compress.pod import POD

__all__ = ["POD", "Identity"]
