"""What a run of a full model costs: the operations of its steps as they are written, and memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom import checks
from rom.base import FullModel
from rom.fom.burgers import Burgers
from rom.fom.cylinder_wake import CylinderWake, _Flow
from rom.fom.heat import Heat
from rom.fom.kuramoto_sivashinsky import KuramotoSivashinsky
from rom.fom.lorenz63 import Lorenz63
from rom.fom.lorenz96 import Lorenz96
from rom.fom.states import solve_tightly, substeps

Array = NDArray[np.float64]

# Sums of Dormand and Prince's method of order 8 for each number of a state: 242 in a step of 12
# evaluations, and 230 for its dense output, of 3 more.
DOP853_SUMS = (242 + 230) / (12 + 3)


class Cost(NamedTuple):
    """Of one run."""

    flops: float
    """Floating-point operations."""
    bytes: float
    """What the states that it returns, and the arrays that its steps work with, take."""


def cost_of(
    full: FullModel, x0: ArrayLike, t: ArrayLike, u: ArrayLike | None = None
) -> Cost | None:
    """Operations and memory of a run of a full model, or None where they are not known here.

    Parameters
    ----------
    full : FullModel
    x0, t, u
        The run, as in ``full.simulate``. Of Lorenz's models, whose steps adapt, it is made once
        to count the evaluations.

    Returns
    -------
    Cost or None

    Notes
    -----
    An addition, a product, a quotient and an exponential of real numbers count 1, a sum of complex
    ones 2, their product 6; a Fourier transform of n real numbers counts 2.5 n log₂ n [1]_, and
    one of sines of n numbers is one of 2 (n + 1). What is prepared before the first step is left
    out.

    References
    ----------
    .. [1] M. Frigo and S. G. Johnson (2005), The design and implementation of FFTW3, Proc. IEEE
       93, 216-231: the count by which transforms are compared.

    Examples
    --------
    Twice as many points, of twice as many modes each, but no more steps.

    >>> t = np.linspace(0, 1, 11)
    >>> flops = [cost_of(Burgers(n=n), np.zeros(n), t).flops for n in (256, 512)]
    >>> f"{flops[0]:.3g}", round(flops[1] / flops[0], 2)
    ('5.02e+07', 2.2)
    """
    times = checks.check_times(t, np.size(t))
    inputs = checks.check_inputs(u, len(times))
    n_inputs = 0 if inputs is None else inputs.shape[1]
    if isinstance(full, (Burgers, KuramotoSivashinsky)):
        return _periodic(full.n, _n_steps(times, full.dt), len(times), n_inputs)
    if isinstance(full, Heat):
        return _heat(full.n, len(times), n_inputs)
    if isinstance(full, (Lorenz63, Lorenz96)):
        return _lorenz(full, np.asarray(x0, dtype=np.float64), times)
    if isinstance(full, CylinderWake):
        return _wake(full, _n_steps(times, _Flow(full).longest_step), len(times))
    return None


def real_fft(n: int) -> float:
    """Operations of a Fourier transform of `n` real numbers."""
    return 2.5 * n * float(np.log2(n))


def _n_steps(t: Array, longest: float) -> int:
    return sum(n for n, _ in substeps(t, longest))


def _periodic(n: int, n_steps: int, n_time: int, n_inputs: int) -> Cost:
    """A step of :class:`ETDRK4` has 39 operations a mode and four nonlinear terms."""
    modes, driven = n // 2 + 1, bool(n_inputs)
    nonlinear = 2 * real_fft(n) + n + (6 + 8 * driven) * modes
    force = driven * (real_fft(n) + 2 * n_inputs * n)
    flops = n_steps * (4 * nonlinear + 39 * modes) + n_time * (real_fft(n) + force)
    held = n_time * (n + driven * (n + 2 * modes)) + 3 * n + (6 + 2 * 10) * modes
    return Cost(float(flops), 8.0 * held)


def _heat(n: int, n_time: int, n_inputs: int) -> Cost:
    waves = 13 + 2 * n_inputs if n_inputs else 3
    flops = n_time * (waves * n + real_fft(2 * (n + 1)))
    return Cost(float(flops), 8.0 * (2 + bool(n_inputs)) * n_time * n)


def _lorenz(full: Lorenz63 | Lorenz96, x0: Array, t: Array) -> Cost:
    n, evaluations = x0.size, 0

    def counted(s: float, x: Array) -> Any:
        nonlocal evaluations
        evaluations += 1
        return full._rhs(s, x)

    solve_tightly(counted, x0, t)
    rate = 8 if isinstance(full, Lorenz63) else 4 * n
    return Cost(evaluations * (rate + DOP853_SUMS * n), 8.0 * n * 2 * (len(t) + 16))


def _wake(full: CylinderWake, n_steps: int, n_time: int) -> Cost:
    """Of each mode on each radius: 24 operations in the stream function, 20 in two slopes.

    18 in the Laplacian, 12 in two products with the wavenumber, 10 in the sum, and 3 for each of
    the 3 angles in the products. The wall's row adds as much as some two others.
    """
    modes, points = full.n_theta // 2, 3 * (full.n_theta // 2)
    cells = full.n_r * modes
    at_walls = 54 * modes + 24 * full.n_r
    transforms = 5 * full.n_r * real_fft(points)
    tendency = (24 + 20 + 18 + 12 + 10 + 9) * cells + at_walls + transforms
    output = 24 * cells + full.n_r * real_fft(full.n_theta)
    flops = n_steps * (4 * tendency + 24 * cells) + n_time * output
    return Cost(float(flops), 8.0 * (n_time * full.n_r * full.n_theta + 47 * cells))
