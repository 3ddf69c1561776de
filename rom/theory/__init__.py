"""Diagnostics of training, one file per idea."""

from rom.theory.width import coordinate_check, width_exponent

__all__ = ["coordinate_check", "width_exponent"]
