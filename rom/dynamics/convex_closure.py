"""A closure that removes energy and cannot add any: the downhill slope of a convex potential."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from rom.dynamics.learned_term import Base, LearnedTerm
from rom.dynamics.networks import Initial, forward, initial

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]


class ConvexClosure(LearnedTerm):
    """A polynomial base model closed by a convex potential: ``dz/dt = f(z, u) − ∇φ(z, u)``.

    For every input, φ is convex in the state and least at zero, so ``z·∇φ ≥ 0``: by construction
    the term never adds to the energy ``|z|²/2``, whatever its weights. With `backscatter` a term
    ``S(z, u) z`` joins it, with S antisymmetric: it carries energy from some coordinates to others
    and back, and changes the sum of none. The training is that of :class:`Closure`.

    Where the base model cannot produce energy without inputs, neither can the closed one, and its
    energy grows no faster than that of a base model alone would from the same state. Nothing is
    guaranteed of a base model that does produce energy: past ``bound_`` a rollout ends with that
    reason. The energy is measured from ``z = 0``: to make it that of the full state, take
    coordinates that are not centred, such as those of ``POD(center=False)``.

    Parameters
    ----------
    base : Dynamics or Polynomial, optional
        As for :class:`Closure`.
    units : int, optional
        Number of terms of the potential, and width of the network of S.
    backscatter : bool, optional
        Whether there is the energy-neutral term.
    window, n_steps, batch, learning_rate, statistics, max_iter, validation_fraction, random_state
        As for :class:`Closure`.

    Attributes
    ----------
    directions_ : ndarray, shape (rank + n_inputs, units)
        Directions w of the potential's terms ``c log cosh(w·(z, u) + b)``, in standardised
        coordinates; zero, as all weights, where the base alone did best.
    offsets_ : ndarray, shape (units,)
        Their b.
    strengths_ : ndarray, shape (units,)
        Their c, none negative.
    weights_, biases_ : list of ndarray
        Layers of the network that gives the entries of S above its diagonal; empty without.
    base_exponents_, base_coef_, n_iter_, stage_, scores_, history_
        As for :class:`Closure`.
    mean_, scale_ : ndarray, shape (rank + n_inputs,)
        As for :class:`Closure`, but the mean of states is zero.
    term_scale_ : ndarray, shape (rank,)
        Unit of the learned term, the same for all coordinates.

    Raises
    ------
    ValueError
        By a fit: as :class:`Closure` does, or if there is not one target per coordinate.

    References
    ----------
    Schotthöfer, Xiao, Frank & Hauck (2022), "Structure preserving neural networks: a case study
    in the entropy closure of the Boltzmann equation", ICML, PMLR 162, 19406.

    Examples
    --------
    A base model without friction, and data with some that grows with the speed:

    >>> import numpy as np, rom
    >>> from scipy.integrate import solve_ivp
    >>> t = np.linspace(0, 20, 300)
    >>> f = lambda _, z: [z[1], -z[0] - 0.1 * z[1] * abs(z[1])]
    >>> Z = solve_ivp(f, (0, 20), [2, 0], t_eval=t, rtol=1e-9).y.T
    >>> spring = rom.OperatorInference.from_operators(A=[[0, 1], [-1, 0]]).polynomial()
    >>> model = ConvexClosure(spring, 8, n_steps=0, random_state=0).fit(Z, t=t)
    >>> far = 100 * np.random.default_rng(0).normal(size=(1000, 2))
    >>> term = model.predict(far) - far @ [[0, -1], [1, 0]]
    >>> bool((np.sum(far * term, axis=1) <= 0).all())
    True
    """

    _energetic: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **LearnedTerm._parameter_constraints,
        "units": [Interval(Integral, 1, None, closed="left")],
        "backscatter": ["boolean"],
    }

    def __init__(
        self,
        base: Base = None,
        units: int = 32,
        *,
        backscatter: bool = False,
        window: int = 16,
        n_steps: int = 200,
        batch: int = 32,
        learning_rate: float = 3e-3,
        statistics: float = 1.0,
        max_iter: int = 200,
        validation_fraction: float = 0.2,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.base = base
        self.units = units
        self.backscatter = backscatter
        self.window = window
        self.n_steps = n_steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.statistics = statistics
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _start(self, rng: np.random.RandomState, n_targets: int) -> Initial:
        rank, n_in = self.n_features_in_, self.n_features_in_ + self.n_inputs_
        if n_targets != rank:
            raise ValueError(
                "ConvexClosure needs one target per latent coordinate, but there are "
                f"{n_targets} targets for {rank} coordinates."
            )
        units = initial([n_in, self.units, 1], rng)
        # The root of the strengths: their sum over the units is divided by the number of units.
        roots = rng.normal(size=self.units)
        parameters = [*units.parameters[:2], roots]
        multipliers, rates = [1.0, 1.0, self.units**-0.5], [1.0, 1.0, 1.0]
        if self.backscatter and rank > 1:
            net = initial([n_in, self.units, rank * (rank - 1) // 2], rng)
            net.parameters[-2][:] = 0.0  # at first S is zero, and the potential alone acts
            parameters += net.parameters
            multipliers += net.multipliers
            rates += net.rates
        return Initial(parameters, multipliers, rates)

    def _torch_term(self, layers: list[Tensor], x: Tensor) -> Tensor:
        import torch

        from rom.dynamics.shooting import network

        rank = self.n_features_in_
        directions, offsets, roots, *net = layers
        z, there = x[:, :rank], torch.addmm(offsets, x[:, rank:], directions[rank:])
        bend = torch.tanh(torch.addmm(there, z, directions[:rank])) - torch.tanh(there)
        term = -(bend * roots**2) @ directions[:rank].T
        if net:
            turn = network(net, x) @ torch.from_numpy(_antisymmetric(rank))
            term = term + (turn.reshape(-1, rank, rank) @ z[:, :, None])[:, :, 0]
        return term

    def _keep(self, layers: list[Array]) -> None:
        self.directions_, self.offsets_ = layers[:2]
        self.strengths_ = layers[2] ** 2
        self.weights_, self.biases_ = layers[3::2], layers[4::2]

    def _term(self, x: Array) -> Array:
        rank = self.n_features_in_
        z, there = x[:, :rank], x[:, rank:] @ self.directions_[rank:] + self.offsets_
        bend = np.tanh(z @ self.directions_[:rank] + there) - np.tanh(there)
        term: Array = -(bend * self.strengths_) @ self.directions_[:rank].T
        if self.weights_:
            turn = forward(self.weights_, self.biases_, x) @ _antisymmetric(rank)
            term = term + np.einsum("nij,nj->ni", turn.reshape(-1, rank, rank), z)
        return term


def _antisymmetric(rank: int) -> Array:
    """What takes the entries above the diagonal to the rows of an antisymmetric matrix."""
    i, j = np.triu_indices(rank, 1)
    k = np.arange(len(i))
    basis = np.zeros((len(i), rank, rank))
    basis[k, i, j], basis[k, j, i] = 1.0, -1.0
    return basis.reshape(len(i), rank * rank)
