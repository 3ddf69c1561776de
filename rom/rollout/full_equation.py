"""A full model's equation as a latent model of its own coordinates, which then runs compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.base import Dynamics, FullModel
from rom.fom.tendency import Rate, tendency_of

Array = NDArray[np.float64]

# Largest dimension of an equation that is written out as a polynomial.
LARGEST = 50
# Coefficients this small, relative to the largest, are rounding; more, and it is no polynomial.
ROUNDING = 1e-12


class FullEquation(NamedTuple):
    """An equation of degree 1 or 2, written out."""

    dynamics: Dynamics
    """Of coordinates of the full states."""
    basis: Array
    """(m, n_space), orthonormal: a state is ``coordinates @ basis``."""


def full_equation(full: FullModel, n_space: int) -> FullEquation | None:
    """The equation that a full model solves, or None where it is not known, large or no polynomial.

    Parameters
    ----------
    full : FullModel
    n_space : int
        Values in a state.

    Examples
    --------
    >>> import rom
    >>> lorenz, _ = full_equation(rom.fom.Lorenz63(), 3)
    >>> for equation in lorenz.equations():
    ...     print(equation)
    dz0/dt = -10 z0 + 10 z1
    dz1/dt = 28 z0 - 1 z1 - 1 z0 z2
    dz2/dt = -2.67 z2 + 1 z0 z1
    """
    from rom.dynamics.opinf import OperatorInference

    equation = tendency_of(full)
    if equation is None or (n_space if equation.basis is None else len(equation.basis)) > LARGEST:
        return None
    basis = np.eye(n_space) if equation.basis is None else equation.basis
    m = len(basis)
    terms = quadratic_terms(equation.rate, np.zeros(m), np.eye(m))
    terms[np.abs(terms) < ROUNDING * np.abs(terms).max()] = 0.0
    c, A, H = terms[0], terms[1 : m + 1].T, terms[m + 1 :].T
    dynamics = OperatorInference.from_operators(c, A, H)
    y = np.random.default_rng(0).normal(size=(1, m))
    rate = equation.rate(y)
    if np.abs(dynamics.predict(y) - rate).max() > 1e3 * ROUNDING * np.abs(rate).max():
        return None
    return FullEquation(dynamics, basis)


def quadratic_terms(rate: Rate, centre: Array, modes: Array) -> Array:
    """Coefficients of ``rate(centre + z @ modes)`` in (1, z, z ⊗ z), if it is quadratic.

    Parameters
    ----------
    rate : callable
        From coordinates (n, m) to their derivatives (n, m).
    centre : ndarray, shape (m,)
    modes : ndarray, shape (rank, m)

    Returns
    -------
    ndarray, shape (1 + rank + rank (rank + 1) / 2, m)
    """
    at_centre = rate(centre[None])[0]
    plus, minus = rate(centre + modes), rate(centre - modes)
    j, k = np.triu_indices(len(modes))
    mixed = rate(centre + modes[j] + modes[k]) - plus[j] - plus[k] + at_centre
    mixed[j == k] = (plus + minus) / 2 - at_centre
    return np.concatenate([at_centre[None], (plus - minus) / 2, mixed])
