"""What a full equation says of the errors of a reduced model, once for all of its rollouts.

The error e = y - x of a lifted state x(t) = centre + z(t) @ modes, y being a solution of
dy/dt = F(y) + u @ force with F quadratic and inputs u, obeys
``de/dt = DF(x) e + B(e, e) + residual``, residual = F(x) + u @ force - dx/dt, exactly. Here stand
the residual and DF as polynomials in z and u, and the sizes of B, all with the least dimension.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from rom.base import Compressor, FullModel
from rom.fom.tendency import Rate, tendency_of
from rom.rollout.full_equation import quadratic_terms

Array = NDArray[np.float64]

# Largest dimension of a full equation: matrices of this size are decomposed.
LARGEST, LARGEST_QUADRATIC = 2000, 300
# What may lie outside of the full equation's space, relative to the whole: rounding.
OUTSIDE = 1e-9


class Split(NamedTuple):
    """Errors in groups of directions: the norm of each part obeys a scalar inequality."""

    parts: tuple[slice, ...]
    """Directions of each part: all in one, or the modes and the rest."""
    quadratic: Array
    """(n_parts,): the part of B(e, e) along e is at most this times |e|²."""


class Certificate(NamedTuple):
    """What bounds the errors of the rollouts of one reduced model against one full equation."""

    frame: Array
    """Directions of errors, orthonormal, (m, m): those of the modes first."""
    centre: Array
    modes: Array
    """The lifted state, in coordinates of the full equation, is ``centre + z @ modes``."""
    residual: tuple[Array, Array]
    """From the :func:`features` to the residual along the modes, and to the rest."""
    linear: Array
    """(1 + rank, m, m): DF at the centre, and its change with each z."""
    splits: tuple[Split, ...]
    degree: int
    """Of the full equation."""
    reach: float
    """The norm of an error, as the check measures it, is at most this times that in `frame`."""
    to_full: Array
    """From a row of the compressor's numbers, less its mean, to coordinates of the equation."""
    from_full: Array
    """And back."""


def certify(model: Any, full: FullModel) -> Certificate | str:
    """Prepare bounds on the errors of a reduced model against the full one.

    Parameters
    ----------
    model : ROM
        Fitted, with a linear compressor and without a climatology.
    full : FullModel
        One whose equation is known, of degree 1 or 2, and that takes the inputs of the reduced one.

    Returns
    -------
    Certificate, or str
        Why there is none.

    Examples
    --------
    >>> import numpy as np, rom
    >>> heat = rom.fom.Heat(n=31)
    >>> t = np.linspace(0, 0.1, 50)
    >>> model = rom.ROM(rom.POD(3), rom.OperatorInference("A"))
    >>> model = model.fit(heat.simulate(heat.initial_state(), t))
    >>> certificate = certify(model, heat)
    >>> certificate.degree, certificate.splits[0].quadratic
    (1, array([0.]))
    >>> mu = np.linalg.eigvalsh(certificate.linear[0])[-1]
    >>> bool(np.isclose(mu, heat.eigenvalues()[0]))
    True
    """
    name, n_inputs = type(full).__name__, model.dynamics_.n_inputs_
    equation = tendency_of(full, n_inputs)
    if equation is None:
        return f"The equation of {name} is not known here."
    if n_inputs and equation.force is None:
        return f"{name} takes no inputs, but the reduced model has {n_inputs}."
    if model.states_per_row > 1:
        return "A latent state holds several states of the full equation."
    compressor, scale = model.compressor_, model.preprocess_
    mean, components = lift_of(compressor)
    Z = model.latent_[np.linspace(0, len(model.latent_) - 1, 5).astype(int)]
    lifted = compressor.inverse_transform(Z)
    if np.abs(mean + Z @ components - lifted).max() > OUTSIDE * np.abs(lifted).max():
        return f"{type(compressor).__name__} does not lift states linearly, in double precision."
    if len(scale.offset_) != 1 or not np.isfinite(scale.offset_).all():
        return "A climatology moves the states besides the equation."
    n_space = len(mean)
    if equation.basis is None and n_space > LARGEST:
        return _too_large(n_space, LARGEST)
    basis = np.eye(n_space) if equation.basis is None else equation.basis
    if basis.shape[1] != n_space:
        return (
            f"The full equation has {basis.shape[1]} values in a state, the reduced model "
            f"{n_space}."
        )
    centre = mean / scale.factor_ + scale.offset_[0]
    rows = np.concatenate([centre[None], components / scale.factor_])
    force = np.zeros((0, n_space)) if equation.force is None else equation.force
    for name, shapes in (("modes", rows), ("inputs", force)):
        outside = np.linalg.norm(shapes @ basis.T @ basis - shapes, axis=1)
        if np.any(outside > OUTSIDE * np.linalg.norm(shapes, axis=1).max(initial=0.0)):
            return f"The {name} hold waves that the full equation does not resolve."
    inside = rows @ basis.T
    known = certificate(equation.rate, inside[0], inside[1:], force @ basis.T)
    if isinstance(known, str):
        return known
    return known._replace(
        reach=float(np.abs(scale.factor_).max()),
        to_full=basis.T / scale.factor_[:, None],
        from_full=basis * scale.factor_,
    )


def certificate(
    rate: Rate, centre: Array, modes: Array, force: Array | None = None
) -> Certificate | str:
    """The certificate of lifted states ``centre + z @ modes``.

    Against solutions of ``dy/dt = rate(y) + u @ force``.

    Parameters
    ----------
    rate : callable
        From coordinates (n, m) to their derivatives (n, m): a polynomial of degree 1 or 2.
    centre : ndarray, shape (m,)
    modes : ndarray, shape (rank, m)
    force : ndarray, shape (n_inputs, m), optional
        For an equation with inputs.

    Returns
    -------
    Certificate, or str
        Why there is none.
    """
    rank, m = modes.shape
    degree = _degree(rate, centre, modes)
    if degree is None:
        return "The full equation is no polynomial of degree 1 or 2."
    largest = LARGEST if degree == 1 else LARGEST_QUADRATIC
    if m > largest:
        return _too_large(m, largest)
    frame = _frame(modes)
    here = _slope(rate, centre, frame)
    slopes = [here]
    if degree == 1:
        slopes += [np.zeros_like(here)] * rank
        sizes = np.zeros(3)
    else:
        slopes += [_slope(rate, centre + mode, frame) - here for mode in modes]
        sizes = _quadratic_sizes(rate, frame, rank)
    splits = [Split((slice(0, m),), sizes[:1])]
    if rank < m:
        splits.append(Split((slice(0, rank), slice(rank, m)), sizes[1:]))
    return Certificate(
        frame=frame,
        centre=centre,
        modes=modes,
        residual=_residual(
            rate, centre, modes, np.zeros((0, m)) if force is None else force, frame
        ),
        linear=np.array(slopes),
        splits=tuple(splits),
        degree=degree,
        reach=1.0,
        to_full=np.eye(m),
        from_full=np.eye(m),
    )


def lift_of(compressor: Compressor) -> tuple[Array, Array]:
    """The lifted states of zero, and of each latent coordinate's unit less that."""
    lifted = compressor.inverse_transform(np.eye(compressor.rank_ + 1, compressor.rank_, -1))
    return lifted[0].astype(np.float64), (lifted[1:] - lifted[0]).astype(np.float64)


def _too_large(m: int, largest: int) -> str:
    return f"The full equation has dimension {m}; matrices of up to {largest} are decomposed."


def features(z: Array, slope: Array, u: Array) -> Array:
    """(1, z, z ⊗ z, dz/dt, u) of each row: (n, 1 + 2 rank + rank (rank + 1) / 2 + n_inputs)."""
    j, k = np.triu_indices(z.shape[1])
    return np.concatenate([np.ones((len(z), 1)), z, z[:, j] * z[:, k], slope, u], axis=1)


def _degree(rate: Rate, centre: Array, modes: Array) -> int | None:
    """1 or 2, by finite differences along a line, which vanish for a polynomial of that degree."""
    rng = np.random.default_rng(0)
    step = 2 * np.linalg.norm(modes, axis=1).max() * rng.standard_normal(len(centre))
    values = rate(centre + np.arange(-2.0, 3.0)[:, None] * step)
    size = np.linalg.norm(values, axis=1).max()
    for degree in (1, 2):
        if np.linalg.norm(np.diff(values, degree + 1, axis=0), axis=1).max() <= 1e-10 * size:
            return degree
    return None


def _frame(modes: Array) -> Array:
    """Orthonormal rows (m, m), the first of which span the modes."""
    return np.asarray(qr(modes.T)[0].T)


def _slope(rate: Rate, at: Array, frame: Array) -> Array:
    """DF in the frame: central differences, exact for degree 2."""
    return np.asarray(((rate(at + frame) - rate(at - frame)) / 2 @ frame.T).T)


def _quadratic_sizes(rate: Rate, frame: Array, rank: int) -> Array:
    """Bounds over unit e: e·B(e, e), and the sizes of B(e, e) along the modes and the rest.

    With B_k = B(frame_k, ·), that of Σ e_k B_k is at most the root of that of Σ B_k B_kᵀ. The
    first is of the form symmetrised over all three of its places: zero if the energy is kept.
    """
    m = len(frame)
    slope = _slope(rate, np.zeros(m), frame)
    B = np.array([(_slope(rate, e, frame) - slope) / 2 for e in frame])  # (k, i, j)
    form = (B + B.transpose(1, 0, 2) + B.transpose(0, 2, 1)) / 3  # B is symmetric in k and j
    sizes = [form.reshape(m, m * m)]
    flat = B.transpose(1, 0, 2).reshape(m, m * m)
    sizes += [flat[:rank], flat[rank:]]
    return np.array(
        [np.sqrt(np.linalg.norm(rows @ rows.T, 2)) if len(rows) else 0.0 for rows in sizes]
    )


def _residual(
    rate: Rate, centre: Array, modes: Array, force: Array, frame: Array
) -> tuple[Array, Array]:
    """The residual as a matrix on :func:`features`, along the modes and, compressed, the rest."""
    terms = np.concatenate([quadratic_terms(rate, centre, modes), -modes, force])
    columns = (terms @ frame.T).T
    along, rest = columns[: len(modes)], columns[len(modes) :]
    return along, np.asarray(np.linalg.qr(rest, mode="r") if len(rest) else rest)
