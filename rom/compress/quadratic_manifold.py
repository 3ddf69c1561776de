"""Quadratic manifolds: a linear encoder, and a decoder with products of latent coordinates."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions

from rom.base import Compressor
from rom.compress import gram
from rom.compress.pod import POD

# Relative error up to which a singular value says that its mode is more than rounding.
KNOWN = 0.1


class QuadraticManifold(Compressor):
    """POD modes, corrected by what products of their coordinates tell about all the others.

    A state is encoded by projection, ``z = V (x - mean)``, and decoded as
    ``x ≈ mean + Vᵀ z + Wᵀ (q(z) - q̄)``, where ``q`` holds the products ``z_i z_j``, ``i ≤ j``, and
    ``q̄`` their mean over the snapshots. W solves a ridge regression. Its rows are orthogonal to
    the modes, so that encoding is the left inverse of decoding and the correction never makes the
    error on the snapshots larger. This is for data whose weak modes follow the strong ones, as in
    transport; on other data the products have nothing to tell.

    Parameters
    ----------
    n_components : int, default=10
        The rank. The decoder holds ``n_components (n_components + 1) / 2`` further fields.
    selection : {"greedy", "leading"}, default="greedy"
        Which POD modes span the linear part: the leading ones, or those taken one by one from
        `n_candidates` leading ones so that the decoder misses least (the leading ones still, if
        they miss less). Transport needs modes of short wavelength too, whose products reach
        further.
    n_candidates : int, default=100
        How many leading POD modes the greedy selection looks at; all that there are if fewer.
    ridge : float, default=1e-6
        Penalty on W: ``ridge`` times the number of snapshots, with latent coordinates in units of
        the root mean square of the first mode. Raise it if states between the snapshots come out
        worse than the snapshots.
    center : bool, default=True
        Remove the mean over time first; without, the products are not centred either, and the
        origin stays on the manifold.

    Attributes
    ----------
    rank_ : int
        Number of latent coordinates, `n_components`.
    components_ : ndarray, shape (rank_, n_space)
        V: orthonormal POD modes in the order of their selection.
    selected_ : ndarray of int, shape (rank_,)
        Which POD modes these are, counted from 0.
    singular_values_ : ndarray, shape (rank_,)
        Their singular values.
    mean_ : ndarray, shape (n_space,)
        Mean over time; zero with ``center=False``.
    quadratic_ : ndarray, shape (n_monomials, n_space)
        W: one field for each product ``z_0², z_0 z_1, …, z_1², z_1 z_2, …``.
    monomial_means_ : ndarray, shape (n_monomials,)
        Means over time of these products; zero with ``center=False``.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, if `n_components` is above `n_candidates`
        or above the numerical rank of the snapshots, or if all snapshots are equal.

    References
    ----------
    Geelen, Wright, Willcox (2023), Operator inference for non-intrusive model reduction with
    quadratic manifolds, Comput. Methods Appl. Mech. Eng. 403. Barnett, Farhat (2022), Quadratic
    approximation manifold for mitigating the Kolmogorov barrier, J. Comput. Phys. 464.
    Schwerdtner, Peherstorfer (2024), Greedy construction of quadratic manifolds for nonlinear
    dimensionality reduction and nonlinear model reduction, arXiv:2403.06732.

    Examples
    --------
    A wave and its weaker harmonic, which is a product of the wave with itself:

    >>> import numpy as np
    >>> x = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    >>> phase = x - x[:, None]  # rows are times
    >>> X = np.cos(phase) + 0.5 * np.cos(2 * phase)
    >>> for model in (POD(2), QuadraticManifold(2)):
    ...     error = model.fit(X).inverse_transform(model.transform(X)) - X
    ...     print(f"{np.abs(error).max():.5f}")
    0.50000
    0.00000
    """

    _over_cells: ClassVar[dict[str, str | None]] = {
        **Compressor._over_cells,
        "quadratic_": "monomial",
    }
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "selection": [StrOptions({"greedy", "leading"})],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "ridge": [Interval(Real, 0, None, closed="neither")],
        "center": ["boolean"],
    }

    def __init__(
        self,
        n_components: int = 10,
        *,
        selection: Literal["greedy", "leading"] = "greedy",
        n_candidates: int = 100,
        ridge: float = 1e-6,
        center: bool = True,
    ) -> None:
        self.n_components = n_components
        self.selection = selection
        self.n_candidates = n_candidates
        self.ridge = ridge
        self.center = center

    def _fit(self, X: Any) -> None:
        pod = self._candidates(X)
        mean, modes = pod.mean_.astype(np.float64), pod.components_.astype(np.float64)
        Z = np.vstack([(block - mean) @ modes.T for _, block in gram.row_blocks(X)])
        Z /= (scale := float(np.sqrt(np.mean(Z[:, 0] ** 2))))
        penalty = self.ridge * len(Z)
        chosen = list(range(self.n_components))
        if self.selection == "greedy":  # one step at a time can end up worse than no search
            greedy = _greedy(Z, self.n_components, penalty, self.center)
            chosen = min(greedy, chosen, key=lambda some: _loss(Z, some, penalty, self.center))
        Z, V = Z[:, chosen], modes[chosen]

        means = _products(Z).mean(axis=0) * self.center
        project, triangle = _ridge_factors(_products(Z) - means, penalty)
        W = np.zeros((len(means), X.shape[1]))
        for rows, block in gram.row_blocks(X):
            W += project[:, rows] @ (block - mean - scale * Z[rows] @ V)
        W = linalg.solve_triangular(triangle, W, overwrite_b=True)

        self.rank_ = int(self.n_components)
        self.selected_ = np.array(chosen)
        self.components_ = pod.components_[chosen]
        self.singular_values_ = pod.singular_values_[chosen]
        self.mean_ = pod.mean_.astype(X.dtype)
        self.quadratic_ = (W / scale**2).astype(X.dtype)
        self.monomial_means_ = (means * scale**2).astype(X.dtype)

    def _candidates(self, X: Any) -> POD:
        """The leading POD modes to choose from."""
        n_time, n_space = X.shape
        if self.selection == "greedy" and self.n_components > self.n_candidates:
            raise ValueError(
                f"n_components={self.n_components} modes cannot be chosen from "
                f"n_candidates={self.n_candidates}: give at least as many candidates."
            )
        wanted = self.n_candidates if self.selection == "greedy" else self.n_components
        wanted = max(1, min(wanted, n_time - bool(self.center), n_space))
        with warnings.catch_warnings():
            # Weak candidates may well be inaccurate: those that are noise are left out below.
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                pod = POD(wanted, center=self.center).fit(X)
            except ValueError:  # the snapshots have a lower rank, or what is wrong is said again
                pod = POD(center=self.center).fit(X)
        known = int(np.sum(pod.singular_value_error_ < KNOWN * pod.singular_values_))
        if self.n_components > known:
            raise ValueError(
                f"n_components={self.n_components} must be at most the number of POD modes that "
                f"can be told from rounding, {known}: X is ({n_time}, {n_space})."
            )
        return pod.truncated(known)

    def _transform(self, X: Any) -> NDArray:
        return np.asarray(X @ self.components_.T) - self.mean_ @ self.components_.T

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        correction = (_products(Z) - self.monomial_means_) @ self.quadratic_
        return Z @ self.components_ + self.mean_ + correction

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _products(Z: NDArray) -> NDArray:
    """All products ``z_i z_j``, ``i ≤ j``, of the columns of `Z`: (n_time, n_monomials)."""
    i, j = np.triu_indices(Z.shape[1])
    products: NDArray = Z[:, i] * Z[:, j]
    return products


def _ridge_factors(H: NDArray, penalty: float) -> tuple[NDArray, NDArray]:
    """``P`` and triangular ``R`` with ``R⁻¹ P T = argmin_W ‖T - H W‖² + penalty ‖W‖²``."""
    n_monomials = H.shape[1]
    augmented = np.vstack([H, np.sqrt(penalty) * np.eye(n_monomials)])
    Q, R = linalg.qr(augmented, mode="economic", overwrite_a=True)
    return Q[: len(H)].T, R


def _loss(Z: NDArray, chosen: list[int], penalty: float, center: bool) -> float:
    """Least of ``‖T - H W‖² + penalty ‖W‖²``; T the columns not chosen, H products of the rest."""
    H, T = _products(Z[:, chosen]), np.delete(Z, chosen, axis=1)
    project, _ = _ridge_factors(H - H.mean(axis=0) * center, penalty)
    return float((T**2).sum() - ((project @ T) ** 2).sum())


def _greedy(Z: NDArray, n_components: int, penalty: float, center: bool) -> list[int]:
    """Columns of `Z`, one by one, whose products leave least of the others in ridge regression.

    Each product has a row of its own below those of the snapshots, which holds the root of the
    penalty: so the ridge regression is a projection onto an orthonormal basis that grows.
    """
    n_time, n_modes = Z.shape
    n_rows = n_time + n_components * (n_components + 1) // 2
    basis = np.zeros((n_rows, 0))
    residual = np.zeros((n_rows, n_modes))
    residual[:n_time] = Z
    chosen: list[int] = []

    def directions(mode: int) -> NDArray:
        """Orthonormal basis of what the products with `mode` add."""
        products = Z[:, [*chosen, mode]] * Z[:, [mode]]
        new = np.arange(products.shape[1])
        block = np.zeros((n_rows, len(new)))
        block[:n_time] = products - products.mean(axis=0) * center
        block[n_time + basis.shape[1] + new, new] = np.sqrt(penalty)
        block -= basis @ (basis.T @ block)
        Q: NDArray = linalg.qr(block, mode="economic", overwrite_a=True, check_finite=False)[0]
        return Q

    def left(mode: int) -> float:
        missed = (residual**2).sum(axis=0) - ((directions(mode).T @ residual) ** 2).sum(axis=0)
        missed[[*chosen, mode]] = 0.0
        return float(missed.sum())

    for _ in range(n_components):
        best = min((mode for mode in range(n_modes) if mode not in chosen), key=left)
        added = directions(best)
        residual -= added @ (added.T @ residual)
        basis = np.hstack([basis, added])
        chosen.append(best)
    return chosen
