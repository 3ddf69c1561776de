"""Splitters for model selection that never train on what comes after the test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from rom.checks import check_trajectory

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]


class ForwardChaining(BaseEstimator):
    """Train on the past, test on the stretch that follows; then move on.

    The rows of each trajectory are cut into ``n_splits + 1`` stretches; fold ``i`` trains on the
    first ``i`` and tests on the next one.

    Parameters
    ----------
    n_splits : int
        Number of folds.
    gap : int
        Rows left out between training and test, so that memory in the data does not leak.

    Examples
    --------
    >>> import numpy as np
    >>> for train, test in ForwardChaining(n_splits=2).split(np.zeros((6, 1))):
    ...     print(train, test)
    [0 1] [2 3]
    [0 1 2 3] [4 5]
    """

    # Routed by default: GridSearchCV(..., cv=ForwardChaining()).fit(X, trajectory=labels).
    __metadata_request__split: ClassVar = {"trajectory": True}

    def __init__(self, n_splits: int = 5, gap: int = 0) -> None:
        self.n_splits = n_splits
        self.gap = gap

    def split(
        self,
        X: Any,
        y: Any = None,
        groups: ArrayLike | None = None,
        trajectory: ArrayLike | None = None,
    ) -> Iterator[Fold]:
        """Row numbers ``(train, test)`` of each fold; `trajectory` labels the rows of `X`.

        `groups` is the same under the name scikit-learn uses without metadata routing.
        """
        trajectory = groups if trajectory is None else trajectory
        if self.n_splits < 1 or self.gap < 0:
            raise ValueError(
                f"Expected n_splits >= 1 and gap >= 0, but came {self.n_splits} and {self.gap}."
            )
        codes = check_trajectory(trajectory, len(X))
        rows = [np.flatnonzero(codes == code) for code in range(codes[-1] + 1)]
        shortest = min(map(len, rows))
        if shortest // (self.n_splits + 1) <= self.gap:
            raise ValueError(
                f"{self.n_splits} splits with a gap of {self.gap} need trajectories of at least "
                f"{(self.n_splits + 1) * (self.gap + 1)} rows, but the shortest has {shortest}."
            )
        stretches = [np.array_split(r, self.n_splits + 1) for r in rows]
        for i in range(1, self.n_splits + 1):
            train = [np.concatenate(s[:i]) for s in stretches]
            yield (
                np.concatenate([t[: len(t) - self.gap] for t in train]),
                np.concatenate([s[i] for s in stretches]),
            )

    def get_n_splits(
        self, X: Any = None, y: Any = None, groups: Any = None, trajectory: Any = None
    ) -> int:
        """Number of folds."""
        return self.n_splits


class LeaveOneTrajectoryOut(BaseEstimator):
    """Test on one trajectory, train on all others; each in turn.

    Examples
    --------
    >>> import numpy as np
    >>> labels = ["a", "a", "b", "c"]
    >>> for train, test in LeaveOneTrajectoryOut().split(np.zeros((4, 1)), trajectory=labels):
    ...     print(train, test)
    [2 3] [0 1]
    [0 1 3] [2]
    [0 1 2] [3]
    """

    __metadata_request__split: ClassVar = {"trajectory": True}

    def split(
        self,
        X: Any,
        y: Any = None,
        groups: ArrayLike | None = None,
        trajectory: ArrayLike | None = None,
    ) -> Iterator[Fold]:
        """Row numbers ``(train, test)`` of each fold; `trajectory` labels the rows of `X`.

        `groups` is the same under the name scikit-learn uses without metadata routing.
        """
        trajectory = groups if trajectory is None else trajectory
        codes = check_trajectory(trajectory, len(X))
        for code in range(self.get_n_splits(X, y, trajectory)):
            yield np.flatnonzero(codes != code), np.flatnonzero(codes == code)

    def get_n_splits(
        self,
        X: Any = None,
        y: Any = None,
        groups: ArrayLike | None = None,
        trajectory: ArrayLike | None = None,
    ) -> int:
        """Number of trajectories."""
        trajectory = groups if trajectory is None else trajectory
        if trajectory is None:
            raise ValueError("LeaveOneTrajectoryOut needs trajectory, one label per row.")
        n_trajectories = int(check_trajectory(trajectory, len(np.asarray(trajectory)))[-1]) + 1
        if n_trajectories < 2:
            raise ValueError("LeaveOneTrajectoryOut needs two trajectories, but there is one.")
        return n_trajectories
