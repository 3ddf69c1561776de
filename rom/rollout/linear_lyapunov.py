"""Lyapunov exponents of linear models, which are exact and need no run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rom.base import Dynamics, HasPolynomial
from rom.rollout.growth_rates import Lyapunov, check_number, if_known, kaplan_yorke
from rom.rollout.result import Status
from rom.rollout.trapping import ROUNDING

Array = NDArray[np.float64]


def linear_part(dynamics: Dynamics) -> Array | None:
    """The matrix A of a linear model, continuous or discrete.

    Constants and inputs may be added to ``A z``: they change no perturbation.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model.

    Returns
    -------
    ndarray, shape (rank, rank), or None
        None where the model is not linear.

    Examples
    --------
    >>> import rom
    >>> linear_part(rom.OperatorInference.from_operators(A=[[-2.0]], B=[[1.0]]))
    array([[-2.]])
    >>> linear_part(rom.OperatorInference.from_operators(A=[[-2.0]], H=[[1.0]])) is None
    True
    """
    from rom.rollout.exponential import split  # which imports numba

    polynomial = dynamics.polynomial() if isinstance(dynamics, HasPolynomial) else None
    if polynomial is None:
        return None
    linear, (exponents, coef) = split(polynomial)
    return None if exponents[coef.any(axis=0), : len(coef)].any() else linear


def linear_lyapunov(dynamics: Dynamics, *, n_exponents: int | None = None) -> Lyapunov | None:
    """Lyapunov exponents of a linear model, which are exact and the same everywhere.

    They are the real parts of the eigenvalues of its matrix; of a map, the logarithms of their
    absolute values, over its step. Those that rounding may have made are zero: such directions are
    neutral, and each adds one to the Kaplan-Yorke dimension. It is 0 where all decay.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model.
    n_exponents : int, optional
        How many exponents, the largest first; by default all.

    Returns
    -------
    Lyapunov or None
        None where the model is not linear.

    Raises
    ------
    ValueError
        If `n_exponents` is not within 1 and the rank.

    Examples
    --------
    >>> import rom
    >>> turns = rom.OperatorInference.from_operators(A=[[0.0, 1.0], [-1.0, 0.0]])
    >>> found = linear_lyapunov(turns)
    >>> found.exponents, found.kaplan_yorke
    (array([0., 0.]), 2.0)
    """
    A = linear_part(dynamics)
    if A is None:
        return None
    rank = len(A)
    n_exponents = check_number(n_exponents, rank)
    eigenvalues, size = np.linalg.eigvals(A), float(np.linalg.norm(A, 2))
    if dynamics.time == "continuous":
        rates = eigenvalues.real
        rates[np.abs(rates) <= ROUNDING * rank * size] = 0.0
    else:
        moduli, rounding = np.abs(eigenvalues), ROUNDING * rank * max(1.0, size)
        moduli[np.abs(moduli - 1) <= rounding] = 1.0
        moduli[moduli <= rounding] = 0.0
        with np.errstate(divide="ignore"):  # a direction that the map loses
            rates = np.log(moduli) / dynamics.dt_
    largest = np.array(np.sort(rates)[::-1][:n_exponents], dtype=np.float64)
    dimension, error = if_known(kaplan_yorke(largest), 0.0, n_exponents, rank)
    time = float(1 / largest[0]) if largest[0] > 0 else float("nan")
    return Lyapunov(largest, np.zeros(n_exponents), dimension, error, time, Status.COMPLETED, True)
