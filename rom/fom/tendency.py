"""The right-hand sides of full models, as the ordinary differential equations that they solve."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from rom.base import FullModel
from rom.fom import periodic
from rom.fom.burgers import Burgers
from rom.fom.cylinder_wake import CylinderWake, _Flow
from rom.fom.heat import Heat
from rom.fom.kuramoto_sivashinsky import KuramotoSivashinsky
from rom.fom.lorenz63 import Lorenz63
from rom.fom.lorenz96 import Lorenz96

Array = NDArray[np.float64]
Rate = Callable[[Array], Array]


class Tendency(NamedTuple):
    """``dy/dt = rate(y) + basis @ (u @ force)`` for the full states ``y @ basis``, inputs u."""

    rate: Rate
    """From coordinates (n, m) to their time derivatives (n, m): a polynomial of degree 1 or 2."""
    basis: Array | None
    """(m, n_space), orthonormal; None where the coordinates are the flattened state itself."""
    force: Array | None
    """(n_inputs, n_space): what a unit of each input adds to the state's rate of change; None
    where the model takes no inputs."""


def tendency_of(model: FullModel, n_inputs: int = 0) -> Tendency | None:
    """The equation that a full model solves, or None where it is not known here.

    Parameters
    ----------
    model : FullModel
    n_inputs : int, optional
        Inputs that the model is to take.

    Returns
    -------
    Tendency or None
        Equations on a periodic interval keep the modes below a third of the points: products
        feed no others. In this space no product is aliased, and advection keeps the energy.

    Examples
    --------
    >>> rate, _, force = tendency_of(Heat(n=3), n_inputs=1)
    >>> rate(np.array([[0.0, 1.0, 0.0]])), force
    (array([[ 16., -32.,  16.]]), array([[16.,  0., 16.]]))
    """
    equation = _equation(model)
    if equation is None or not n_inputs or not isinstance(model, (Heat, Burgers)):
        return equation
    return equation._replace(force=model.input_shapes(n_inputs))


def _equation(model: FullModel) -> Tendency | None:
    """That without inputs."""
    if isinstance(model, Heat):
        return Tendency(_heat(model), None, None)
    if isinstance(model, Burgers):
        k = periodic.wavenumbers(model.n, model.length)
        return _periodic(model.n, model.length, -model.viscosity * k**2)
    if isinstance(model, KuramotoSivashinsky):
        k = periodic.wavenumbers(model.n, model.length)
        return _periodic(model.n, model.length, k**2 - k**4)
    if isinstance(model, (Lorenz63, Lorenz96)):
        return Tendency(lambda y: np.array([model._rhs(0.0, state) for state in y]), None, None)
    if isinstance(model, CylinderWake):
        return Tendency(_wake(model), None, None)
    return None


def _heat(model: Heat) -> Rate:
    per_step = model.diffusivity * ((model.n + 1) / model.length) ** 2

    def rate(y: Array) -> Array:
        padded = np.pad(y, ((0, 0), (1, 1)))
        return per_step * (padded[:, 2:] - 2 * y + padded[:, :-2])

    return rate


def _wake(model: CylinderWake) -> Rate:
    """The wall's vorticity follows that inside, which the state's own wall row has no say in."""
    flow, shape = _Flow(model), (model.n_r, model.n_theta)
    stream = flow.field(flow.modes(np.zeros(shape)))

    def rate(y: Array) -> Array:
        changes = [flow.field(flow.tendency(flow.modes(w.reshape(shape)))) - stream for w in y]
        return np.array(changes).reshape(y.shape)

    return rate


def _periodic(n: int, length: float, linear: Array) -> Tendency:
    k, kept = periodic.wavenumbers(n, length), periodic.n_kept(n)
    flux = np.where(np.arange(len(k)) < kept, -0.5j * k, 0)
    waves = np.outer(k[:kept], length / n * np.arange(n))
    basis = np.concatenate([np.cos(waves), np.sin(waves[1:])])
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)

    def rate(y: Array) -> Array:
        u = y @ basis
        change = linear * fft.rfft(u, axis=1) + flux * fft.rfft(u**2, axis=1)
        return np.asarray(fft.irfft(change, n, axis=1) @ basis.T)

    return Tendency(rate, basis, None)
