"""Minimising a loss over the parameters of a small network, with PyTorch.

L-BFGS on all the data at once, or Adam on mini-batches. Both look at held-out data as they go, keep
the best parameters, return to them where the loss is no longer finite, and go on after a kill.

Imported only by a fit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from tqdm import tqdm

from rom.dynamics.checkpoint import Checkpoint

# L-BFGS iterations between two looks at the held-out loss, and those its curvature is built from.
CHECK_EVERY = 20
MEMORY = 50
# What the first training by L-BFGS makes do with: twice as many equations as there are parameters,
# but no fewer samples than this, as to take fewer would save no time.
FEWEST = 1000
# Adam steps between two looks.
STEPS = 50
# Returns to the best parameters, each at half the rate of the one before.
MAX_ROLLBACKS = 6

STALLED = "the held-out loss stopped falling"
NOT_FINITE = "the loss was no longer finite; the best weights before that were kept"
MAX_ITER = "max_iter was reached"

Arrays = list[NDArray[np.float64]]
Data = tuple[NDArray, ...]
# A loss of the parameters on some data, which come as tensors.
Loss = Callable[..., Tensor]
# Takes a random generator and a batch, and returns the batch as it is to be trained on.
Perturb = Callable[[np.random.Generator, tuple[Tensor, ...]], tuple[Tensor, ...]]


class Outcome(NamedTuple):
    """How a minimisation went."""

    parameters: Arrays
    """The best values seen."""
    history: NDArray[np.float64]
    """(n_checks, 3): iterations so far, training loss, held-out loss."""
    n_iter: int
    """Iterations made."""
    reason: str
    """Why it ended."""
    n_rollbacks: int = 0
    """Returns to the best parameters, where the loss was not finite."""
    before: float = math.inf
    """The held-out loss at the start."""
    best: float = math.inf
    """The held-out loss of `parameters`."""
    summary: str = ""
    """All that in a line."""


class Stage(NamedTuple):
    """One of several trainings, each of which starts where the one before ended."""

    name: str
    loss: Loss
    train: Data
    held_out: Data
    perturb: Perturb | None = None
    """Changes what is trained on, such as by noise."""
    whole: bool = False
    """Whether the data cannot be cut into batches."""


def train(
    stages: Iterable[Stage],
    parameters: Arrays,
    *,
    name: str,
    batch_size: int | None,
    learning_rate: float,
    seed: int,
    device: str,
    **options: Any,
) -> list[Outcome]:
    """Go through the stages: with L-BFGS, or, where a batch size is given, with Adam.

    With L-BFGS the data are perturbed once, and the first stage is on some of its samples before it
    is on all. `options` go to :func:`minimise` or :func:`descend`.
    """
    outcomes: list[Outcome] = []
    if batch_size is None:
        stages = _few_first(stages, parameters, seed)
    for number, stage in enumerate(stages, 1):
        common: dict[str, Any] = {"device": device, "label": f"{name} {number}", **options}
        data, start = stage.train, outcomes[-1].parameters if outcomes else parameters
        if batch_size is not None and not stage.whole:
            outcome = descend(
                start, stage.loss, data, stage.held_out, learning_rate=learning_rate,
                batch_size=batch_size, seed=seed, perturb=stage.perturb, **common,
            )  # fmt: skip
        else:
            if stage.perturb is not None:
                tensors = tuple(torch.tensor(values) for values in data)
                shaken = stage.perturb(np.random.default_rng((seed, number)), tensors)
                data = tuple(values.numpy() for values in shaken)
            outcome = minimise(start, stage.loss, data, stage.held_out, **common)
        outcomes.append(outcome._replace(summary=_summary(stage.name, outcome)))
    return outcomes


def _few_first(stages: Iterable[Stage], parameters: Arrays, seed: int) -> Iterator[Stage]:
    """The stages, the first of them on as few samples as determine the network before on all.

    Far from the end they show the way as well as all of them would, at a fraction of the cost. They
    are drawn: every k-th would meet a period of the data at the same phases.
    """
    for number, stage in enumerate(stages):
        n, n_outputs = len(stage.train[0]), len(parameters[-1])
        few = max(FEWEST, 2 * sum(value.size for value in parameters) // n_outputs)
        if number == 0 and not stage.whole and 2 * few <= n:
            drawn = np.sort(np.random.default_rng(seed).choice(n, few, replace=False))
            yield stage._replace(
                name=f"{stage.name}, {few} of {n}",
                train=tuple(values[drawn] for values in stage.train),
            )
        yield stage


def _summary(name: str, outcome: Outcome) -> str:
    back = f", {outcome.n_rollbacks} returns to earlier weights" if outcome.n_rollbacks else ""
    return (
        f"{name}: {outcome.n_iter} iterations, held-out loss {outcome.before:.3g} → "
        f"{outcome.best:.3g}, {outcome.reason}{back}"
    )


def minimise(
    parameters: Arrays,
    loss: Loss,
    train: Data,
    held_out: Data,
    *,
    max_iter: int,
    patience: int,
    device: str,
    label: str,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Minimise `loss` on the data `train`, and keep what did best on the data `held_out`.

    L-BFGS with a strong Wolfe line search (Nocedal & Wright 2006, Numerical Optimization,
    ch. 7.2) on all the data at once: no learning rate to choose, and on problems of this size far
    more accurate than stochastic gradients at equal time. Where the loss is not finite, training
    starts anew from the best parameters, with steps half as long.

    Parameters
    ----------
    parameters : list of ndarray
        Where to start.
    loss : callable
        Takes the parameters and the arrays of `train` or `held_out` as tensors.
    train, held_out : tuple of ndarray
        Data.
    max_iter : int
        The most iterations.
    patience : int
        Ends after this many checks in a row, 20 iterations apart (the last may come sooner),
        without a better held-out loss.
    device : str
        Where to compute.
    label : str
        Name on the progress bar, which shows on a terminal only, and in `checkpoint`.
    checkpoint : Checkpoint, optional
        Written at each check. Where it has been here before, training goes on from there, and
        ends with the same bits as if it had not been interrupted.

    Warns
    -----
    ConvergenceWarning
        If the loss was not finite at some iteration.
    """
    current = [torch.tensor(value, device=device, requires_grad=True) for value in parameters]
    data = [torch.tensor(values, device=device) for values in train]
    return _rounds(
        current, lambda rate: _LBFGS(current, loss, data, rate), loss,
        [torch.tensor(values, device=device) for values in held_out], every=CHECK_EVERY,
        max_iter=max_iter, patience=patience, label=label, checkpoint=checkpoint,
    )  # fmt: skip


def descend(
    parameters: Arrays,
    loss: Loss,
    train: Data,
    held_out: Data,
    *,
    max_iter: int,
    patience: int,
    device: str,
    label: str,
    learning_rate: float = 3e-3,
    rates: list[float] | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    sgd: bool = False,
    perturb: Perturb | None = None,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Minimise as :func:`minimise` does, but by Adam on mini-batches of the rows of `train`.

    Every row comes once before any comes again. The learning rate falls to zero along half a
    cosine over `max_iter` steps. Checks are 50 steps apart. Batches and perturbations are
    functions of the seed and the step number alone, so that training can go on from any step.

    Parameters
    ----------
    parameters, loss, train, held_out, max_iter, patience, device, label, checkpoint
        As in :func:`minimise`; the arrays of `train` have one row per sample.
    learning_rate : float, optional
        The largest.
    rates : list of float, optional
        What it is multiplied by, for each parameter; 1 by default.
    batch_size : int, optional
        Rows per step; all of them by default.
    seed : int, optional
        Draws batches and perturbations.
    sgd : bool, optional
        Take plain gradient steps in place of Adam's.
    perturb : callable, optional
        Changes each batch before it is used, such as by noise.

    References
    ----------
    Kingma & Ba (2015), "Adam: a method for stochastic optimization", ICLR.
    """
    current = [torch.tensor(value, device=device, requires_grad=True) for value in parameters]
    data = [torch.tensor(values, device=device) for values in train]
    n_rows = len(train[0])
    size = n_rows if batch_size is None else min(batch_size, n_rows)
    batches = _Batches(data, size, seed, perturb)
    groups = [
        {"params": [p], "lr": learning_rate * multiplier, "at_first": learning_rate * multiplier}
        for p, multiplier in zip(current, rates or [1.0] * len(current), strict=True)
    ]

    def start(rate: float) -> _Steps:
        own = [dict(group) for group in groups]
        optimiser = torch.optim.SGD(own) if sgd else torch.optim.Adam(own)
        return _Steps(current, loss, batches, optimiser, rate, max_iter)

    return _rounds(
        current, start, loss, [torch.tensor(values, device=device) for values in held_out],
        every=STEPS, max_iter=max_iter, patience=patience, label=label, checkpoint=checkpoint,
    )  # fmt: skip


class _Optimiser(Protocol):
    @property
    def optimiser(self) -> torch.optim.Optimizer: ...

    def advance(self, before: int, after: int) -> float:
        """Make iterations `before` + 1 … `after`; return a training loss."""


class _LBFGS:
    def __init__(self, current: list[Tensor], loss: Loss, data: list[Tensor], rate: float) -> None:
        self.optimiser = torch.optim.LBFGS(
            current, lr=rate, max_iter=CHECK_EVERY, history_size=MEMORY,
            line_search_fn="strong_wolfe", tolerance_grad=0.0, tolerance_change=0.0,
        )  # fmt: skip
        self.current, self.loss, self.data = current, loss, data

    def advance(self, before: int, after: int) -> float:
        self.optimiser.param_groups[0]["max_iter"] = after - before
        return float(self.optimiser.step(self._value).detach())

    def _value(self) -> Tensor:
        self.optimiser.zero_grad()
        value = self.loss(self.current, *self.data)
        if not torch.isfinite(value):  # the line search would trip over it
            raise _NotFiniteError
        value.backward()
        return value


class _Steps:
    """Gradient steps on mini-batches, at a rate that falls along half a cosine."""

    def __init__(
        self, current: list[Tensor], loss: Loss, batches: _Batches,
        optimiser: torch.optim.Optimizer, rate: float, n_steps: int,
    ) -> None:  # fmt: skip
        self.current, self.loss, self.batches = current, loss, batches
        self.optimiser, self.rate, self.n_steps = optimiser, rate, n_steps

    def advance(self, before: int, after: int) -> float:
        total = 0.0
        for step in range(before, after):
            factor = self.rate * 0.5 * (1 + math.cos(math.pi * step / self.n_steps))
            for group in self.optimiser.param_groups:
                group["lr"] = factor * group["at_first"]
            self.optimiser.zero_grad()
            value = self.loss(self.current, *self.batches(step))
            value.backward()
            number = float(value.detach())
            if not math.isfinite(number):
                raise _NotFiniteError
            self.optimiser.step()
            total += number
        return total / (after - before)


class _Batches:
    """The batch of each step: a function of the seed and the step number."""

    def __init__(self, data: list[Tensor], size: int, seed: int, perturb: Perturb | None) -> None:
        self.data, self.size, self.seed, self.perturb = data, size, seed, perturb
        self.per_pass = max(1, len(data[0]) // size)
        self.shuffled = -1, torch.empty(0, dtype=torch.int64)

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        batch = tuple(self.data)
        if self.per_pass > 1:
            rows = self._order(step // self.per_pass).tensor_split(self.per_pass)
            batch = tuple(values[rows[step % self.per_pass]] for values in self.data)
        if self.perturb is None:
            return batch
        return self.perturb(np.random.default_rng((self.seed, 1, step)), batch)

    def _order(self, number: int) -> Tensor:
        if self.shuffled[0] != number:
            random = np.random.default_rng((self.seed, 0, number))
            order = torch.from_numpy(random.permutation(len(self.data[0])))
            self.shuffled = number, order.to(self.data[0].device)
        return self.shuffled[1]


def _rounds(
    current: list[Tensor],
    start: Callable[[float], _Optimiser],
    loss: Loss,
    held_out: list[Tensor],
    *,
    every: int,
    max_iter: int,
    patience: int,
    label: str,
    checkpoint: Checkpoint | None,
) -> Outcome:
    """Train from check to check."""
    state: dict[str, Any] = {
        "n_iter": 0, "before": math.inf, "best": math.inf, "kept": _copies(current),
        "since_best": 0, "rate": 1.0, "n_rollbacks": 0, "reason": "",
        "history": torch.zeros(0, 3, dtype=torch.float64),
    }  # fmt: skip
    training = start(state["rate"])
    found = None if checkpoint is None else checkpoint.load(label)
    if found is not None:
        state = {**found}
        training = start(state["rate"])
        _assign(current, state.pop("current"))
        training.optimiser.load_state_dict(state.pop("optimiser"))
    with _one_thread(), tqdm(total=max_iter, desc=label, disable=None, leave=False) as bar:
        bar.update(state["n_iter"])
        if found is None:  # to start from may be the best there is
            with torch.no_grad():
                value = float(loss(current, *held_out))
            state["before"] = state["best"] = value if math.isfinite(value) else math.inf
        while not state["reason"]:
            before = state["n_iter"]
            state["n_iter"] = min(before - before % every + every, max_iter)
            try:
                now = training.advance(before, state["n_iter"])
            except _NotFiniteError:
                state["n_iter"] = before
                if state["n_rollbacks"] == MAX_ROLLBACKS:
                    state["reason"] = NOT_FINITE
                    break
                state.update(rate=state["rate"] / 2, n_rollbacks=state["n_rollbacks"] + 1)
                _assign(current, state["kept"])
                training = start(state["rate"])
                continue
            with torch.no_grad():
                held = float(loss(current, *held_out))
            _note(state, now, held, current)
            if state["since_best"] == patience:
                state["reason"] = STALLED
            elif state["n_iter"] == max_iter:
                state["reason"] = MAX_ITER
            bar.update(state["n_iter"] - before)
            bar.set_postfix(loss=f"{now:.2e}", held_out=f"{held:.2e}")
            if checkpoint is not None:
                progress = {
                    "current": _copies(current),
                    "optimiser": training.optimiser.state_dict(),
                }
                checkpoint.save(label, state | progress)
    return _outcome(state, label)


def _note(state: dict[str, Any], now: float, held: float, current: list[Tensor]) -> None:
    """Enter a check in the state."""
    row = torch.tensor([[state["n_iter"], now, held]], dtype=torch.float64)
    state["history"] = torch.cat([state["history"], row])
    state["since_best"] += 1
    if held < state["best"]:
        state.update(best=held, kept=_copies(current), since_best=0)


def _outcome(state: dict[str, Any], label: str) -> Outcome:
    if state["n_rollbacks"]:
        warnings.warn(
            f"{label}: the loss was not finite {state['n_rollbacks']} times; each time the best "
            f"weights before were taken up again, at half the rate. {state['reason']}.",
            ConvergenceWarning,
            stacklevel=5,
        )
    kept = [tensor.cpu().numpy() for tensor in state["kept"]]
    return Outcome(
        kept, state["history"].numpy(), state["n_iter"], state["reason"], state["n_rollbacks"],
        state["before"], state["best"],
    )  # fmt: skip


class _NotFiniteError(ArithmeticError):
    """The training loss is NaN or infinite."""


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def _assign(current: list[Tensor], values: list[Tensor]) -> None:
    with torch.no_grad():
        for tensor, value in zip(current, values, strict=True):
            tensor.copy_(value)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one CPU thread: layers this small lose more to handing out work than they gain.

    The order of sums, and so every bit of the result, then does not depend on the machine's load.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
