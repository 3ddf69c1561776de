"""The best subset of terms of each size, by branch and bound.

Fewer terms never fit better: where a set fits worse than the best subsets found so far, all its
subsets are passed over, so that only a small part of them is looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from rom.dynamics.least_squares import EPS, Problem

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# All monomials of three variables up to degree 4.
MAX_TERMS = 35


def best_subsets(problem: Problem, target: int, offered: Mask) -> list[Mask]:
    """The terms of the best fit to a target with 0, 1, 2, … terms.

    Parameters
    ----------
    problem : Problem
    target : int
    offered : ndarray of bool, shape (n_terms,)
        Terms to choose from, at most 35.

    Returns
    -------
    list of ndarray of bool, shape (n_terms,)

    Raises
    ------
    ValueError
        If there are more terms.

    References
    ----------
    Furnival & Wilson (1974), Technometrics 16, 499.
    """
    places = np.flatnonzero(offered)
    if len(places) > MAX_TERMS:
        raise ValueError(
            f"A search through all subsets takes at most {MAX_TERMS} terms, but there are "
            f"{len(places)}: take a smaller library, or solver='forward'."
        )
    # numba takes about half a second to import: only those who search wait for it.
    from rom.dynamics import leaps

    gram = problem.gram[np.ix_(places, places)]
    values, vectors = linalg.eigh(gram)
    values = np.maximum(values, len(gram) * EPS * values.max(initial=1.0))
    inverse = (vectors / values) @ vectors.T
    cross, square = problem.cross[places, target], problem.squares[target]
    floor = len(gram) * EPS * square
    _, chosen = leaps.search(inverse, np.ascontiguousarray(cross), float(square), float(floor))
    supports = []
    for size in range(len(places) + 1):
        support = np.zeros(len(offered), bool)
        support[places[chosen[size]]] = True
        supports.append(support)
    return supports
