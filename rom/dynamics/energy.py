"""The energy that the nonlinear terms of a polynomial model produce."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rom.dynamics.library import monomials
from rom.dynamics.regression import rms


def energy_production(exponents: NDArray[np.int64], Z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix from coefficients to the energy production of the nonlinear terms.

    With nonlinear terms N(z) the energy |z|²/2 changes by z·N(z), a polynomial whose coefficients
    are sums of those of N. Each is taken times the root mean square of its monomial over the
    training rows and divided by that of |z|, so that it has the unit of dz/dt.

    Parameters
    ----------
    exponents : ndarray, shape (n_terms, rank + n_inputs)
        Powers of the terms. Linear terms, and those with inputs, count as no nonlinearity.
    Z : ndarray, shape (n_time, rank)
        Training states.

    Returns
    -------
    ndarray, shape (n_monomials, rank * n_terms)
        It acts on ``coef.ravel()``, coef (rank, n_terms). Its kernel preserves energy exactly.

    Examples
    --------
    The terms z1² and -z0 z1 in the two equations exchange energy and produce none.

    >>> from rom.dynamics.library import powers
    >>> G = energy_production(powers(2, 2), np.random.default_rng(0).normal(size=(50, 2)))
    >>> bool(np.allclose(G @ [0.0, 0.0, 1.0, 0.0, -1.0, 0.0], 0))
    True
    """
    rank = Z.shape[1]
    degree, of_inputs = exponents[:, :rank].sum(axis=1), exponents[:, rank:].sum(axis=1)
    terms = np.flatnonzero((degree >= 2) & (of_inputs == 0))
    products = exponents[terms, :rank] + np.eye(rank, dtype=np.int64)[:, None]
    unique, which = np.unique(products.reshape(-1, rank), axis=0, return_inverse=True)
    production = np.zeros((len(unique), rank, len(exponents)))
    production[which.reshape(rank, -1), np.arange(rank)[:, None], terms] = 1.0
    size = rms(monomials(Z, unique)) / np.sqrt(np.mean((Z**2).sum(axis=1)))
    return (size[:, None, None] * production).reshape(len(unique), -1)
