"""Balls that rollouts end in and never leave again: the proof, for polynomial models."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgWarning, eig, solve_discrete_lyapunov
from scipy.optimize import minimize
from scipy.special import comb

from rom.base import Dynamics, HasPolynomial, Polynomial
from rom.dynamics.energy import search_energies, search_energy
from rom.dynamics.lmi import is_positive
from rom.dynamics.trapping import most_damped, trapping_region

Array = NDArray[np.float64]

# Numbers in the matrix of a proof past which none is searched for: some seconds. Centres that are
# tried where energy is produced.
LARGEST_PROOF, TRIES = 2e7, 2000
# Energy that quadratic terms may produce in a norm that is tried, over what they could.
NEARLY = (1e-9, 1e-6, 1e-3)
# Decay or growth over the norm of the model, by coordinate, that counts as rounding.
ROUNDING = 64 * np.finfo(np.float64).eps


class Region(NamedTuple):
    """Where rollouts end, if they start in a basin; both are ellipsoids of one shape."""

    certified: bool
    centre: Array
    """m, (rank,)."""
    radius: float
    """Euclidean radius about `centre` of a ball that rollouts end in; NaN if not certified."""
    basin: float
    """Euclidean radius of a ball from which all of them do; infinite for all states."""
    words: str
    """The statement, or "not certified: " and why, or that it is not bounded."""
    growth: float = 0.0
    """Rate, by unit of time, at which a linear model grows for ever; 0 if none is known."""
    search: tuple[str, ...] = ()
    """For what it was searched: a "trapping region", a "basin"; empty if eigenvalues tell."""


def certified_region(dynamics: Dynamics) -> Region:
    """Prove that the rollouts of a latent model stay bounded, if a quadratic energy shows it.

    Energies ``E = (z - m)·P (z - m) / 2`` are tried that fall wherever they are large: with P the
    identity first, then with P and m searched for together, which for a polynomial model is a
    linear matrix inequality. A linear model with an eigenvalue that grows beyond rounding is said
    to grow for ever. Where the quadratic terms of a quadratic model produce energy in every norm P,
    if only by the rounding of its coefficients, it may still fall between two radii: then rollouts
    from inside of the larger one end in the smaller.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model.

    Returns
    -------
    Region

    Notes
    -----
    The proof is of the model, not of the time stepping, and holds up to rounding. That none was
    found proves nothing.

    References
    ----------
    Schlegel & Noack (2015), J. Fluid Mech. 765, 325. Local regions: Kramer (2021), "Stability
    domains for quadratic-bilinear reduced-order models", SIAM J. Appl. Dyn. Syst. 20, 981.

    Examples
    --------
    >>> import rom
    >>> model = rom.OperatorInference.from_operators(A=[[-1.0, 5.0], [0.0, -1.0]])
    >>> certified_region(model).words
    'every rollout ends at one steady state'
    >>> blows = rom.OperatorInference.from_operators(A=[[-1.0]], H=[[0.5]])
    >>> certified_region(blows).words
    'every rollout from within 2 of one steady state ends at it'
    """
    polynomial = dynamics.polynomial() if isinstance(dynamics, HasPolynomial) else None
    rank = dynamics.n_features_in_
    if polynomial is None or len(polynomial.coef) != rank:
        return _none(rank, "the model is not a polynomial")
    used = polynomial.coef.any(axis=0)
    exponents, coef = polynomial.exponents[used], polynomial.coef[:, used]
    if exponents[:, rank:].any():
        return _none(rank, "its inputs may be anything")
    exponents = exponents[:, :rank]
    degree = int(exponents.sum(axis=1).max(initial=0))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", LinAlgWarning)
            step = dynamics.dt_ if np.isfinite(dynamics.dt_) else 1.0
            return _region(dynamics.time, step, Polynomial(exponents, coef), degree)
    except (np.linalg.LinAlgError, LinAlgWarning):  # on the verge of stability, or out of scale
        return _none(rank, "the proof is lost in rounding")


def _region(time: str, step: float, polynomial: Polynomial, degree: int) -> Region:
    exponents, coef = polynomial
    rank = len(coef)
    if degree <= 1:
        return _steady(time, step, *_operators(exponents, coef)[:2])
    if time == "discrete":
        return _none(rank, "only linear maps are treated")
    if degree > 3:
        return _none(rank, f"its degree is {degree}, and only 1 to 3 are treated")
    return _nonlinear(polynomial, degree)


def _nonlinear(polynomial: Polynomial, degree: int) -> Region:
    """By the identity as P, then by any P, then, for quadratic models, between two radii."""
    search: tuple[str, ...] = ()
    coef = polynomial.coef
    rank = len(coef)
    n_monomials = int(comb(rank + degree + 1, rank))
    found, small = None, n_monomials * coef.size < LARGEST_PROOF
    if small:
        search = ("trapping region",)
        found = trapping_region(polynomial)
        if not found.certified and (energy := search_energy(polynomial)) is not None:
            found = trapping_region(polynomial, centre=energy[1], norm=energy[0])
    if found is not None and found.certified:
        radius = found.radius / float(np.sqrt(np.linalg.eigvalsh(found.norm)[0]))
        words = f"trapping region of radius {radius:.4g}: every rollout ends in it"
        return Region(True, found.centre, radius, float("inf"), words, search=search)
    if degree == 2:
        region = _between(polynomial, NEARLY if small else ())
        return region._replace(search=(*search, "basin"))
    if found is None:
        return _none(rank, f"{rank} coordinates are too many to search for a proof")
    why = found.reason[:1].lower() + found.reason[1:].rstrip(".")
    return _none(rank, why)._replace(search=search)


def _between(polynomial: Polynomial, nearly: tuple[float, ...]) -> Region:
    """Between two radii, in the identity as P or one in which little energy is produced."""
    operators = _operators(*polynomial)
    region = _between_radii(*operators, np.eye(len(polynomial.coef)))
    if region.certified:
        return region
    tried = (_between_radii(*operators, P) for P, _ in search_energies(polynomial, nearly))
    return next((found for found in tried if found.certified), region)


def _between_radii(constant: Array, linear: Array, quadratic: Array, P: Array) -> Region:
    """Where dE/dt <= r (c + μ r + q r²) shows that E = r²/2, r² = (z - m)·P (z - m), falls."""
    values, axes = np.linalg.eigh(P)
    widest, narrowest = 1 / np.sqrt(values[[0, -1]])
    # In coordinates in which P is the identity.
    to, back = np.sqrt(values)[:, None] * axes.T, axes / np.sqrt(values)
    constant, linear = to @ constant, to @ linear @ back
    quadratic = np.einsum("ai,ijk,jb,kc->abc", to, quadratic, back, back, optimize=True)
    form = _cubic_form(quadratic)
    q = float(np.linalg.norm(form.reshape(len(form), -1), 2))  # at least w·H(w) for unit w

    def drive(m: Array) -> tuple[float, float]:
        """|f(m)|, and the logarithmic norm of the linear part about m."""
        twice = quadratic @ m
        slope = linear + 2 * twice
        here = constant + linear @ m + twice @ m
        return float(np.linalg.norm(here)), float(np.linalg.eigvalsh((slope + slope.T) / 2)[-1])

    def ratio(m: Array) -> float:
        """That of the radii, or so: least where the ball is small and the basin wide."""
        c, mu = drive(m)
        return 4 * c * q / mu**2 if mu < 0 else 1e300

    start = _most_damped(linear, quadratic, form)
    m = np.asarray(minimize(ratio, start, method="Nelder-Mead", options={"maxfev": TRIES}).x)
    c, mu = drive(m)
    root = mu**2 - 4 * c * q
    if mu >= 0 or root <= 0:
        return _none(len(m), "the quadratic terms produce energy, and no ball is known to hold it")
    # The smaller root, without cancellation.
    basin = float(narrowest * (-mu + np.sqrt(root)) / (2 * q)) if q > 0 else float("inf")
    radius, m = float(widest * 2 * c / (-mu + np.sqrt(root))), back @ m
    if radius <= 1e-12 * float(np.linalg.norm(m)):
        words = f"every rollout from within {basin:.4g} of one steady state ends at it"
    else:
        words = (
            f"trapping region of radius {radius:.4g}: every rollout from within {basin:.4g} of its "
            "centre ends in it"
        )
    return Region(True, m, radius, basin, words)


def _most_damped(linear: Array, quadratic: Array, form: Array) -> Array:
    """The point about which the linear terms would damp most, were no energy produced."""
    kept = 2 * (quadratic - form)
    rate, curved = float(np.linalg.norm(linear)), float(np.linalg.norm(kept))
    if not rate or not curved:
        return np.zeros(len(linear))
    slopes = -(kept + kept.transpose(1, 0, 2)).transpose(2, 0, 1) / 2
    m = most_damped(-(linear + linear.T) / (2 * rate), slopes / curved, np.eye(len(linear)))
    return m * rate / curved


def _cubic_form(quadratic: Array) -> Array:
    """The symmetric tensor of ``w·H(w, w)``: the energy that the quadratic terms produce."""
    swapped = (quadratic.transpose(1, 0, 2), quadratic.transpose(2, 1, 0))
    return np.asarray((quadratic + swapped[0] + swapped[1]) / 3)


def _operators(exponents: NDArray[np.int64], coef: Array) -> tuple[Array, Array, Array]:
    """c, A and H, with ``f(z) = c + A z + H(z, z)`` and H_ijk = H_ikj, of degree 2 or less."""
    rank = len(coef)
    c, A, H = np.zeros(rank), np.zeros((rank, rank)), np.zeros((rank, rank, rank))
    for powers, column in zip(exponents, coef.T, strict=True):
        factors = np.repeat(np.arange(rank), powers)
        if len(factors) == 0:
            c += column
        elif len(factors) == 1:
            A[:, factors[0]] += column
        else:
            H[:, factors[0], factors[1]] += column / 2
            H[:, factors[1], factors[0]] += column / 2
    return c, A, H


def _steady(time: str, dt: float, constant: Array, A: Array) -> Region:
    """Of a linear model, whose energy P solves Lyapunov's equation where it decays."""
    rank = len(A)
    eigenvalues = np.linalg.eigvals(A)
    discrete = time == "discrete"
    decay = 1 - np.abs(eigenvalues).max() if discrete else -eigenvalues.real.max()
    if not decay > ROUNDING * rank * (max(1.0, _rate(A)) if discrete else _rate(A)):
        growth = _growth(A, discrete) / (dt if discrete else 1.0)
        if growth > 0:
            words = f"not bounded: it grows for ever, at rate {growth:.3g}"
            words += f" (e-folding in {1 / growth:.3g})"
            return _none(rank, "")._replace(words=words, growth=growth)
        return _none(rank, "the linear model has a direction that does not decay beyond rounding")
    one = np.eye(rank)
    # A bilinear change of variable makes a map of a flow and keeps the energies that fall.
    step = A if discrete else np.linalg.solve(one - A / _rate(A), one + A / _rate(A))
    P = solve_discrete_lyapunov(step.T, one)
    P = (P + P.T) / 2
    if not (is_positive(P) and is_positive(P - step.T @ P @ step)):
        return _none(rank, "its decay is lost in rounding")
    centre = np.linalg.solve(one - A if discrete else -A, constant).astype(np.float64)
    return Region(True, centre, 0.0, float("inf"), "every rollout ends at one steady state")


def _growth(A: Array, discrete: bool) -> float:
    """The fastest growth beyond rounding, which moves eigenvalues the more the less normal A is."""
    values, left, right = eig(A, left=True)
    growth = np.abs(values) - 1 if discrete else values.real
    cosine = np.abs(np.sum(left.conj() * right, axis=0))  # of unit vectors
    sure = growth * cosine > ROUNDING * len(A) * max(1.0 if discrete else 0.0, _rate(A))
    growth = growth[sure].max(initial=0.0)
    return float(np.log1p(growth) if discrete else growth)


def _rate(A: Array) -> float:
    return float(np.linalg.norm(A, 2))


def _none(rank: int, why: str) -> Region:
    nan = float("nan")
    return Region(False, np.full(rank, nan), nan, nan, f"not certified: {why}")
