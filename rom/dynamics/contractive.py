"""A network whose trajectories never move apart."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_continuous_lyapunov
from sklearn.utils._param_validation import Interval, StrOptions

from rom.dynamics.structured import TRUSTED, StructuredODE

Array = NDArray[np.float64]

# What the linear damping starts from, in units of the data's rate: at zero its gradient vanishes.
DAMPING = 0.3
# A linear model that decays no faster than this, in the same units, tells nothing of a metric.
SLOWEST = 1e-6


class ContractiveODE(StructuredODE):
    """A neural ODE that is non-expansive by construction: no two trajectories move apart.

    In coordinates v = K (z - mean), and with inputs u,

        dv/dt = (S - L Lᵀ - λ I) v - W diag(g) tanh(Wᵀ v + Vᵀ u + b) + B u + c,

    S skew, g >= 0. The network is minus the gradient of a convex function, so that with any
    parameters the symmetric part of the Jacobian is at most -λ I: under the same inputs, the
    distance |K (z₁ - z₂)| of two trajectories never grows, and shrinks at least like exp(-λ t). An
    error in the start, or noise on it, is never amplified, and errors of the model add up at most
    linearly in time. Beyond one and a half times the largest training state a pull to the mean is
    added, the gradient of another convex function: it keeps the distances, and every rollout
    bounded for bounded inputs.

    What cannot be had with this: chaos, a limit cycle that trajectories leave an unstable state
    for, two stable states. Data that show these are fitted badly, not followed apart. Nor does the
    constant S let rotation change with the state.

    Parameters
    ----------
    width : int, optional
        Number of units N of the one hidden layer. Its sum is divided by N, so that g and the
        best settings do not depend on it.
    decay : float, optional
        λ, a rate per unit of time.
    metric : {"euclidean", "learned"}, optional
        Whether K is the identity, so that distances are those of the latent states, or found too,
        upper triangular: more models, contractive in a norm of their own.
    window : int, optional
        Sampling steps per training run.
    max_iter : int, optional
        The most optimiser iterations (L-BFGS), in each of the two trainings: on time derivatives,
        then on runs.
    validation_fraction : float, optional
        Part of the rows held out, in windows spread over all of them, to stop early and to choose
        the weights kept.
    patience : int, optional
        Checks in a row, 20 iterations apart, without a better held-out loss before training ends.
    random_state : int, RandomState instance or None, optional
        Seed of the initial weights. With an int, two fits agree to the bit.

    Attributes
    ----------
    root_ : ndarray, shape (rank, rank)
        K: the distance that never grows is ``|root_ @ (z1 - z2)|``.
    linear_ : ndarray, shape (rank, rank)
        S - L Lᵀ - λ I, in units of ``speed_``.
    weights_, biases_, gains_ : ndarray, shapes (rank, width), (width,), (width,)
        W, b and g.
    input_weights_, input_linear_ : ndarray, shapes (n_inputs, width), (n_inputs, rank)
        V and B.
    constant_ : ndarray, shape (rank,)
        c.
    mean_ : ndarray, shape (rank,)
        Mean of the training states.
    scale_ : float
        The largest standard deviation of a coordinate; the network sees v / scale.
    input_mean_, input_scale_ : ndarray, shape (n_inputs,)
        Mean and standard deviation of the training inputs.
    speed_ : float
        The fastest rate of a coordinate, per unit of time, which all rates are in units of.
    radius_ : float
        Where the pull begins, in units of ``|v| / scale_``.
    history_ : ndarray, shape (n_checks, 3)
        Iterations, training loss and held-out loss of the last training.
    n_iter_ : int
        Iterations of both trainings together.
    stop_reason_ : str
        Why the last training ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, there is not one target for each coordinate,
        no two rows follow each other without a gap, or the data are refused (see :meth:`fit`).

    Notes
    -----
    The distances shrink along exact solutions. ``rollout(..., stepper="midpoint")`` keeps that for
    steps of any length, to rounding: the implicit midpoint rule is B-stable. The default, adaptive
    steps keep it to their tolerance.

    References
    ----------
    Sherry, Celledoni, Ehrhardt, Murari, Owren & Schönlieb (2024), "Designing stable neural
    networks using convex analysis and ODEs", Physica D 463, 134159. Celledoni, Murari, Owren,
    Schönlieb & Sherry (2023), "Dynamical systems-based neural networks", SIAM J. Sci. Comput. 45,
    A3071. Midpoint: Butcher (1975), "A stability property of implicit Runge-Kutta methods", BIT
    15, 358.

    Examples
    --------
    >>> t = np.linspace(0, 4, 100)
    >>> Z = np.exp(-0.5 * t)[:, None] * np.stack([np.cos(2 * t), np.sin(2 * t)], axis=1)
    >>> model = ContractiveODE(width=8, max_iter=60, random_state=0).fit(Z, t=t)
    >>> bool(np.abs(model.predict(Z[:1]) - [[-0.5, 2.0]]).max() < 0.02)
    True
    """

    root_: Array

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **StructuredODE._parameter_constraints,
        "width": [Interval(Integral, 1, None, closed="left")],
        "decay": [Interval(Real, 0, None, closed="left")],
        "metric": [StrOptions({"euclidean", "learned"})],
    }

    def __init__(
        self,
        width: int = 32,
        *,
        decay: float = 0.0,
        metric: Literal["euclidean", "learned"] = "euclidean",
        window: int = 8,
        max_iter: int = 200,
        validation_fraction: float = 0.15,
        patience: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.width = width
        self.decay = decay
        self.metric = metric
        self.window = window
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state

    def _initial(self, rng: np.random.RandomState) -> list[Array]:
        rank, n_inputs, width = self.n_features_in_, self.n_inputs_, self.width
        n_in = rank + n_inputs
        first = rng.normal(scale=n_in**-0.5, size=(n_in, width))
        return [
            0.1 * rng.normal(size=(rank, rank)), DAMPING**0.5 * np.eye(rank),
            first[:rank], first[rank:], rng.uniform(-1, 1, size=width), np.ones(width),
            np.zeros((n_inputs, rank)), np.zeros(rank),
        ]  # fmt: skip

    def _start(self, x: Array, u: Array, slopes: Array) -> list[Array]:
        parameters = super()._start(x, u, slopes)
        if self.metric == "euclidean":
            return parameters
        K = _metric(x, u, slopes)
        return [*parameters, np.triu(K, 1) + np.diag(np.log(np.diag(K)))]

    def _parts(self, xp: Any, parameters: list[Any]) -> list[Any]:
        """The right-hand side of x: what acts on it, and K."""
        M, L, W, V, b, a, B, c, *metric = parameters
        eye = xp.eye(len(c), dtype=c.dtype)
        linear = M - M.T - L @ L.T - self.decay / self.speed_ * eye
        gains = a**2 / len(a)
        if not metric:
            return [linear.T, W, V, b, gains[:, None] * W.T, B, c, eye]
        K = xp.triu(metric[0], 1) + xp.diag(xp.exp(xp.diag(metric[0])))
        K = K * (len(c) / (K * K).sum()) ** 0.5  # its size means nothing, and could run away
        back = xp.linalg.inv(K).T
        return [
            K.T @ linear.T @ back, K.T @ W, V, b, gains[:, None] * (W.T @ back), B @ back, c @ back,
            K,
        ]  # fmt: skip

    def _field(self, xp: Any, parts: list[Any], x: Any, u: Any) -> Any:
        linear, W, V, b, out, B, c, _ = parts
        slope = x @ linear - xp.tanh(x @ W + (u @ V + b)) @ out + c
        return slope + u @ B if self.n_inputs_ else slope

    def _keep(self, parameters: list[Array], x: Array) -> None:
        *parts, K = self._parts(np, parameters)
        self.linear_, self.weights_, self.input_weights_, self.biases_ = parts[:4]
        self.output_weights_, self.input_linear_, self.constant_ = parts[4:]
        self.root_ = K
        self.radius_ = TRUSTED * float(np.linalg.norm(x @ K.T, axis=1).max()) or 1.0

    def _predict(self, Z: Array, u: Array | None) -> Array:
        x, inputs = self._standardised(Z, u)
        parts = [
            self.linear_, self.weights_, self.input_weights_, self.biases_, self.output_weights_,
            self.input_linear_, self.constant_, self.root_,
        ]  # fmt: skip
        distance2 = ((x @ self.root_.T) ** 2).sum(axis=1, keepdims=True)
        pull = np.maximum(distance2 / self.radius_**2 - 1, 0) * x
        return self.scale_ * self.speed_ * (self._field(np, parts, x, inputs) - pull)


def _metric(x: Array, u: Array, slopes: Array) -> Array:
    """An upper triangular K in whose norm the linear model of the rows is contractive, if any is.

    Where A is that model and stable, KᵀK solves the Lyapunov equation; else it is the identity.
    """
    rank = x.shape[1]
    rows = np.hstack([x, u, np.ones((len(x), 1))])
    A = np.linalg.lstsq(rows, slopes, rcond=None)[0][:rank].T
    if np.linalg.eigvalsh(A + A.T)[-1] <= 0 or np.linalg.eigvals(A).real.max() > -SLOWEST:
        return np.eye(rank)
    P = solve_continuous_lyapunov(A.T, -np.eye(rank))
    return np.asarray(cholesky((P + P.T) / 2))
