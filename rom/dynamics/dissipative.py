"""Least squares among polynomial models that dissipate a quadratic energy.

With v = K (z - m) the right-hand side is K⁻¹ [(J - R) v + Σ_i v_i S_i v], J and all S_i skew,
R = LLᵀ + decay: its energy |v|²/2 is never produced. All is computed in units in which
coordinates, inputs and rates are of order one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_continuous_lyapunov
from scipy.optimize import least_squares, minimize

from rom.dynamics import regression

# Real, or complex where a derivative is taken by a complex step.
Array = NDArray[Any]

# Sharpness of the smooth stand-in for the largest eigenvalue, and the least eigenvalue of R that
# an iteration starts from: at zero the gradient of LLᵀ would vanish.
SHARPNESS, LEAST = 20.0, 1e-3
# Relative change of misfit or parameters that ends the iteration.
TOLERANCE = 1e-12


class Dissipative(NamedTuple):
    """A model found by :func:`fit_dissipative`."""

    operators: dict[str, NDArray[np.float64]]
    """Coefficients (rank, n_terms) by letter."""
    Q: NDArray[np.float64]
    """(rank, rank), the energy's matrix, of largest eigenvalue 1."""
    center: NDArray[np.float64]
    """(rank,)."""
    n_iter: int
    """Evaluations of the misfit."""


class Parts(NamedTuple):
    """What a model is made of."""

    J: Array
    R: Array
    S: Array
    K: Array
    m: Array
    c: Array
    B: Array


def fit_dissipative(
    triangle: NDArray[np.float64],
    blocks: dict[str, NDArray[np.int64]],
    *,
    decay: float,
    learned: bool,
    ridge: float,
    max_iter: int,
) -> Dissipative:
    """The dissipative model of least misfit; if the energy is learned, from the better start.

    Parameters
    ----------
    triangle : ndarray
        That of the rows of terms and targets; see :mod:`rom.dynamics.normal`.
    blocks : dict of str to ndarray
        Exponents by operator, of "A" and some of "c", "H" and "B".
    learned : bool
        Whether the energy is to be found too; otherwise it is Euclidean.
    decay, ridge, max_iter : float, float, int
        As for :class:`rom.dynamics.stable_opinf.StableOperatorInference`.
    """
    problem = Problem(triangle, blocks, decay, learned, ridge)
    starts = [problem.start(K) for K in problem.energies()]
    best = min(starts, key=lambda x: float((problem.residual(x) ** 2).sum()))
    found = least_squares(
        problem.residual, best, "cs", x_scale=1.0, max_nfev=max_iter,
        xtol=TOLERANCE, ftol=TOLERANCE, gtol=TOLERANCE,
    )  # fmt: skip
    return problem.in_units(found.x, int(found.nfev))


class Problem:
    """The misfit as a function of a vector of free parameters, in units of order one."""

    def __init__(
        self,
        triangle: NDArray[np.float64],
        blocks: dict[str, NDArray[np.int64]],
        decay: float,
        learned: bool,
        ridge: float,
    ) -> None:
        self.learned = learned
        self.blocks = blocks
        self.rank = rank = len(blocks["A"])
        self.n_inputs = len(blocks.get("B", ()))
        terms = sum(map(len, blocks.values()))
        exponents = np.concatenate(list(blocks.values()))
        A, Y = triangle[:, :terms], triangle[:, terms:]
        rms = np.sqrt((A**2).sum(axis=0))
        variables = [
            int(np.flatnonzero((exponents == e).all(axis=1))[0])
            for e in np.concatenate([blocks[x] for x in "AB" if x in blocks])
        ]
        self.unit = np.where(rms[variables] > 0, rms[variables], 1.0)
        self.size = self.unit[:rank]
        self.rate = float(np.sqrt((Y**2).sum() / max((self.size**2).sum(), 1e-300))) or 1.0
        self.decay = decay / self.rate
        self.term_unit = np.prod(self.unit**exponents, axis=1)
        # Rows of one unit per coordinate would weigh small coordinates as much as large ones.
        self.weight = self.size / np.sqrt((self.size**2).mean())
        scaled = A / self.term_unit
        penalty = np.sqrt(ridge) * np.diag(rms / self.term_unit)
        self.A = np.concatenate([scaled, penalty])
        target = Y / (self.rate * self.size)
        self.Y = np.concatenate([target, np.zeros((terms, rank))])
        self.free = regression.ridge(self.A, self.Y)
        # Matrices from entries to rank x rank matrices, strictly upper and upper triangular.
        self.upper, self.pairs = np.triu_indices(rank, 1), np.triu_indices(rank)
        places = np.eye(rank**2).reshape(rank, rank, -1)
        self.skew, self.symmetric = places[self.upper], places[self.pairs]
        n = rank * (rank - 1) // 2
        has = blocks.__contains__
        self.shapes = {
            "J": (n,), "L": (rank, rank), "S": (rank * has("H"), n), "k": (rank * learned,),
            "K": (n * learned,), "m": (rank * has("H"),), "c": (rank * has("c"),),
            "B": (rank, self.n_inputs),
        }  # fmt: skip

    def split(self, x: Array) -> dict[str, Array]:
        """The arrays that a vector of parameters holds."""
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        pieces = np.split(x, np.cumsum(sizes)[:-1])
        return {
            name: piece.reshape(shape)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def parts(self, x: Array) -> Parts:
        """The model's parts that a vector of parameters means."""
        p = self.split(x)
        eye = np.eye(self.rank)
        K = np.diag(self.weight)
        if self.learned:
            K = np.diag(np.exp(p["k"])) + self._strict(p["K"])
        J = self._strict(p["J"])
        S = self._strict(p["S"])
        R = p["L"] @ p["L"].T + self.decay * eye
        return Parts(J - J.T, R, S - S.swapaxes(-1, -2), K, p["m"], p["c"], p["B"])

    def _strict(self, values: Array) -> Array:
        """Strictly upper triangular matrices (…, rank, rank) of these entries."""
        return (values @ self.skew).reshape(*values.shape[:-1], self.rank, self.rank)

    def coef(self, parts: Parts) -> Array:
        """Coefficients (rank, n_terms) of the model with these parts."""
        inverse = np.linalg.inv(parts.K)
        A = inverse @ (parts.J - parts.R) @ parts.K
        out = {}
        if "c" in self.blocks:
            out["c"] = parts.c[:, None]
        if "H" in self.blocks:
            T = np.einsum("aj,ijk,ib,kd->abd", inverse, parts.S, parts.K, parts.K)
            T = T + T.swapaxes(1, 2)
            A = A - np.einsum("abd,d->ab", T, parts.m)
            half = np.where(self.pairs[0] == self.pairs[1], 0.5, 1.0)
            out["H"] = T[:, self.pairs[0], self.pairs[1]] * half
        out["A"] = A
        if "B" in self.blocks:
            out["B"] = parts.B
        return np.concatenate([out[letter] for letter in self.blocks], axis=1)

    def residual(self, x: Array) -> Array:
        """Its sum of squares is the misfit."""
        return self._misfit(self.coef(self.parts(x)))

    def _misfit(self, coef: Array) -> Array:
        return ((self.A @ coef.T - self.Y) * self.weight).ravel()

    def energies(self) -> list[NDArray[np.float64]]:
        """Matrices K to start from: the Euclidean energy, and one that the free fit dissipates."""
        found = [np.diag(self.weight)]
        A = self._operators(self.free)["A"]
        if self.learned and np.linalg.eigvals(A).real.max() < 0:
            Q = solve_continuous_lyapunov(A.T, -np.eye(self.rank))
            if np.linalg.eigvalsh((Q + Q.T) / 2)[0] > 0:
                found.append(cholesky((Q + Q.T) / 2))
        return found

    def _operators(self, coef: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        edges = np.cumsum([len(exponents) for exponents in self.blocks.values()])[:-1]
        return dict(zip(self.blocks, np.split(coef, edges, axis=1), strict=True))

    def start(self, K: NDArray[np.float64]) -> NDArray[np.float64]:
        """Parameters near the best for a fixed energy.

        With R free the parts enter linearly: one linear problem. Then m is moved to where the
        linear part dissipates most, and what it still produces is taken off.
        """
        p = {name: np.zeros(shape) for name, shape in self.shapes.items()}
        if self.learned:
            p["k"], p["K"] = np.log(np.diag(K)), K[self.upper]
        p |= self._linear_parts(p)
        R = p.pop("R")
        if "H" in self.blocks:
            p["m"], R, J = self._best_center(R, p, K)
            p["J"] = J[self.upper]
        values, vectors = np.linalg.eigh(R)
        p["L"] = vectors * np.sqrt(np.maximum(values - self.decay, LEAST))
        return np.concatenate([p[name].ravel() for name in self.shapes])

    def _linear_parts(self, p: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        """J, R, S, c and B of least misfit, R any symmetric matrix, for given K and m = 0."""
        names = ["J", "R", "S", "c", "B"]
        shapes = [self.shapes.get(name, (len(self.pairs[0]),)) for name in names]
        sizes = [int(np.prod(shape)) for shape in shapes]
        fixed = self.parts(np.concatenate([p[name].ravel() for name in self.shapes]))

        def found(x: Array) -> dict[str, Array]:
            pieces = np.split(x, np.cumsum(sizes)[:-1])
            return {n: v.reshape(s) for n, v, s in zip(names, pieces, shapes, strict=True)}

        def misfit(x: Array) -> Array:
            q = found(x)
            J, S = self._strict(q["J"]), self._strict(q["S"])
            parts = Parts(
                J - J.T, self._symmetric(q["R"]), S - S.swapaxes(-1, -2), fixed.K, fixed.m,
                q["c"], q["B"],
            )  # fmt: skip
            return self._misfit(self.coef(parts))

        rest = misfit(np.zeros(sum(sizes)))
        slope = np.stack([misfit(e) - rest for e in np.eye(sum(sizes))], axis=1)
        best = found(np.linalg.lstsq(slope, -rest, rcond=None)[0])
        return best | {"R": self._symmetric(best["R"])}

    def _symmetric(self, values: Array) -> Array:
        half = (values @ self.symmetric).reshape(self.rank, self.rank) / 2
        return half + half.T

    def _best_center(
        self, R: NDArray[np.float64], p: dict[str, NDArray[np.float64]], K: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """m, and J and R about it, where the least eigenvalue of R is largest (nearly)."""
        S = self._strict(p["S"])
        S = S - S.swapaxes(-1, -2)
        T = S.transpose(1, 0, 2) + S.transpose(1, 2, 0)  # slope of the quadratic part
        J = self._strict(p["J"])
        linear = J - J.T - R

        def largest(mu: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            values, vectors = np.linalg.eigh(_symmetric_part(linear + T @ mu))
            weights = np.exp(SHARPNESS * (values - values[-1]))
            smooth = values[-1] + np.log(weights.sum()) / SHARPNESS
            G = (vectors * (weights / weights.sum())) @ vectors.T
            return smooth, np.einsum("ab,abd->d", G, T)

        mu = minimize(largest, np.zeros(self.rank), jac=True, method="BFGS").x
        about = linear + T @ mu
        return np.linalg.solve(K, mu), -_symmetric_part(about), (about - about.T) / 2

    def in_units(self, x: NDArray[np.float64], n_iter: int) -> Dissipative:
        """The model with these parameters, in the units of the data."""
        parts = self.parts(x)
        coef = self.rate * self.size[:, None] * self.coef(parts) / self.term_unit
        K = parts.K / self.size
        Q = K.T @ K
        center = np.zeros(self.rank)
        if "H" in self.blocks:
            center = parts.m * self.size
        return Dissipative(self._operators(coef), Q / np.linalg.eigvalsh(Q)[-1], center, n_iter)


def _symmetric_part(A: NDArray[np.float64]) -> NDArray[np.float64]:
    return (A + A.T) / 2
