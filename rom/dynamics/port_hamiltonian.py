"""Latent dynamics with a learned energy that is exchanged, dissipated and supplied by inputs."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from rom.dynamics.gradient_ode import GradientODE
from rom.dynamics.hamiltonian import canonical, check_pairs
from rom.dynamics.stages import NEGLIGIBLE

Array = NDArray[np.float64]

# Every direction starts with this much of the largest damping: at zero its gradient vanishes.
DAMPING = 1e-4
# Eigenvectors of a larger condition number give no energy to start from.
DEPENDENT = 1e3
# The energy starts with no curvature below this fraction of the largest.
FLAT = 1e-3


class PortHamiltonianODE(GradientODE):
    """Energy that is exchanged, dissipated and supplied: ``dz/dt = (S - R) ∇H(z) + B u``.

    S is skew and only moves energy between coordinates, R is positive semidefinite and only takes
    energy out, and inputs bring it in or take it out: ``dH/dt = -∇Hᵀ R ∇H + ∇Hᵀ B u``, with any
    parameters. Trained on forced motion, the model can be run without forcing (``u = 0``, or
    :meth:`unforced`): H then never increases. H is a quadratic form, positive definite, plus a
    linear part and a tanh network; it is bounded below and grows in all directions, so that the
    motion without forcing stays bounded for all time.

    The model starts from the linear one nearest to the slopes, split into energy, exchange and
    damping, and is trained on slopes and then on short runs. What training gave is kept if it is
    better on the runs held out by more than a standard error.

    Parameters
    ----------
    hidden : tuple of int, optional
        Widths of the hidden layers of the network; ``()`` for a quadratic energy, so for a linear
        model, which runs compiled.
    structure : {"learned", "canonical"}, optional
        Whether S is found too, or is ``[[0, I], [-I, 0]]``, for positions and then as many
        momenta, as :class:`rom.dynamics.HamiltonianODE` has it.
    window : int, optional
        Sampling steps per training run.
    max_iter : int, optional
        The most optimiser iterations (L-BFGS), in each of the two trainings.
    validation_fraction : float, optional
        Part of the rows held out, in windows spread over all of them.
    patience : int, optional
        Checks in a row, 20 iterations apart, without a better held-out loss before training ends.
    random_state : int, RandomState instance or None, optional
        Seed of the initial weights. With an int, two fits agree to the bit.

    Attributes
    ----------
    S_, R_ : ndarray, shape (rank, rank)
        Skew and positive semidefinite; pure numbers. Only their products with H are determined:
        a multiple of H may go with a fraction of both.
    B_ : ndarray, shape (rank, n_inputs), or None
        dz/dt per unit of input.
    quadratic_, linear_ : ndarray, shapes (rank, rank) and (rank,)
        Quadratic and linear part of the energy of standardised states.
    weights_, biases_ : list of ndarray, shapes (n_in, n_out) and (n_out,)
        Layers of its network; empty where it did not help.
    mean_, scale_ : ndarray, shape (rank,), and float
        Mean of the training states, and the largest standard deviation of one coordinate, by
        which all are divided.
    input_mean_, input_scale_ : ndarray, shape (n_inputs,)
        Mean and standard deviation of the training inputs.
    speed_ : float
        The fastest rate of a coordinate, per unit of time, which slopes are in units of.
    radius_ : float
        Where H gets its wall, in standardised distance, as in
        :class:`rom.dynamics.HamiltonianODE`; infinite unless rounding left K singular.
    history_ : ndarray, shape (n_checks, 3)
        Iterations, training loss and held-out loss of the last training.
    n_iter_ : int
        Iterations of both trainings together.
    stop_reason_ : str
        Why the last training ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the number of coordinates is odd and
        `structure` is canonical, there is not one target for each coordinate, no two rows follow
        each other without a gap, or the data are refused (see :meth:`fit`).

    Notes
    -----
    That H does not increase holds for exact solutions. With a quadratic H the implicit midpoint
    rule (``stepper="midpoint"``) keeps it in steps of any length, to rounding; with a network an
    error of third order in the step stands against the energy dissipated in it. Nothing is
    promised about bounds under forcing unless R is positive definite.

    The force depends on the inputs alone: one that also saw the state could take the place of
    the damping. Where it is not linear in a known signal, or is a function of time, give such
    functions as inputs.

    References
    ----------
    Eidnes & Lye (2024), "Pseudo-Hamiltonian neural networks for learning partial differential
    equations", J. Comput. Phys. 500, 112738. Van der Schaft & Jeltsema (2014), "Port-Hamiltonian
    systems theory", Found. Trends Syst. Control 1, 173.

    Examples
    --------
    A damped oscillator, driven while it is trained on, runs down once it is left alone.

    >>> import rom
    >>> t = np.linspace(0, 20, 201)
    >>> truth = rom.OperatorInference.from_operators(A=[[0, 1], [-1, -0.2]], B=[[0], [1]])
    >>> Z = rom.rollout(truth, [1, 0], t, u=np.sin(2 * t)).z
    >>> model = PortHamiltonianODE((), max_iter=5, random_state=0).fit(Z, t=t, u=np.sin(2 * t))
    >>> model.B_.round(2) + 0.0
    array([[0.],
           [1.]])
    >>> run = rom.rollout(model.unforced(), [1, 0], t, stepper="midpoint")
    >>> bool(np.all(np.diff(model.energy(run.z)) < 0))
    True
    """

    S_: Array
    R_: Array
    B_: Array | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GradientODE._parameter_constraints,
        "structure": [StrOptions({"learned", "canonical"})],
    }

    def __init__(
        self,
        hidden: tuple[int, ...] = (32,),
        *,
        structure: Literal["learned", "canonical"] = "learned",
        window: int = 8,
        max_iter: int = 200,
        validation_fraction: float = 0.15,
        patience: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.structure = structure
        self.window = window
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state

    def unforced(self) -> Self:
        """The fitted model without its forcing: it takes no inputs, and its energy never grows.

        Returns
        -------
        PortHamiltonianODE
        """
        check_is_fitted(self)
        free = copy.copy(self)
        free.n_inputs_, free.B_ = 0, None
        free.input_mean_, free.input_scale_ = np.zeros(0), np.ones(0)
        return free

    def _nearest(self, x: Array, u: Array, slopes: Array) -> list[Array]:
        """From the nearest linear model, split into energy, exchange and damping."""
        if self.structure == "canonical":
            check_pairs(self)
        rank = x.shape[1]
        columns = np.hstack([x, u + self.input_mean_ / self.input_scale_, np.ones((len(x), 1))])
        found = np.linalg.lstsq(columns, slopes, rcond=NEGLIGIBLE)[0]
        A, G, constant = found[:rank].T, found[rank:-1].T, found[-1]
        root = self._root(A)
        M = A @ np.linalg.inv(root @ root.T)
        S = canonical(rank) if self.structure == "canonical" else 0.5 * (M - M.T)
        damping, modes = np.linalg.eigh(-0.5 * (M + M.T))
        L = modes * np.sqrt(np.maximum(damping, DAMPING * max(damping[-1], 1.0)))
        g = np.linalg.lstsq(S - L @ L.T, constant, rcond=NEGLIGIBLE)[0]
        return [root, g, L, G, *([] if self.structure == "canonical" else [S / 2])]

    def _root(self, A: Array) -> Array:
        """A root C of ``K = C Cᵀ`` such that ``A K⁻¹`` is skew but for damping."""
        if self.structure == "canonical":
            K = canonical(len(A)).T @ A
        else:
            vectors = np.linalg.eig(A)[1]
            if np.linalg.cond(vectors) > DEPENDENT:
                return np.eye(len(A))
            inverse = np.linalg.inv(vectors)
            K = (inverse.conj().T @ inverse).real  # the squares of the amplitudes of the modes
        values, modes = np.linalg.eigh(0.5 * (K + K.T))
        largest = abs(values).max() or 1.0
        root: Array = modes * np.sqrt(np.maximum(values, FLAT * largest))
        return root if self.structure == "canonical" else root / np.sqrt(largest)

    def _quadratic(self, K: Any) -> Any:
        return K @ K.T

    def _matrix(self, xp: Any, structure: list[Any]) -> Any:
        L = structure[0]
        S = xp.asarray(canonical(len(L))) if self.structure == "canonical" else structure[2]
        return (S if self.structure == "canonical" else S - S.T) - L @ L.T

    def _force(self, xp: Any, structure: list[Any], u: Any) -> Any:
        zero = xp.asarray(self.input_mean_ / self.input_scale_)
        return (u + zero) @ structure[1].T

    def _keep_structure(self, structure: list[Array]) -> None:
        M = self._matrix(np, structure)
        self.S_, self.R_ = 0.5 * (M - M.T), structure[0] @ structure[0].T
        self.B_ = None
        if self.n_inputs_:
            self.B_ = self.scale_ * self.speed_ * structure[1] / self.input_scale_

    def _M(self) -> Array:
        return self.S_ - self.R_

    def _f(self, u: Array) -> Array:
        if self.B_ is None:
            return np.zeros(self.n_features_in_)
        inputs = u * self.input_scale_ + self.input_mean_
        return np.asarray(inputs @ self.B_.T / (self.scale_ * self.speed_))
