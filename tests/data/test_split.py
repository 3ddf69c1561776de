from __future__ import annotations

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from rom.data.split import ForwardChaining, LeaveOneTrajectoryOut


def rows(n):
    return np.arange(float(n))[:, None]


@given(st.integers(1, 6), st.integers(1, 20))
def test_one_trajectory_is_split_as_scikit_learn_does(n_splits, length):
    X = rows(length * (n_splits + 1))
    if n_splits == 1:
        return  # scikit-learn wants two
    expected = TimeSeriesSplit(n_splits).split(X)
    for ours, theirs in zip(ForwardChaining(n_splits).split(X), expected, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


@given(st.lists(st.integers(12, 40), min_size=1, max_size=4), st.integers(0, 2))
def test_every_trajectory_trains_on_its_past_only(lengths, gap):
    labels = np.repeat(np.arange(len(lengths)), lengths)
    tested = []
    for train, test in ForwardChaining(3, gap=gap).split(rows(sum(lengths)), trajectory=labels):
        for k in range(len(lengths)):
            past, future = train[labels[train] == k], test[labels[test] == k]
            assert past.max() + gap + 1 == future.min()
            assert (np.diff(past) == 1).all()
            assert (np.diff(future) == 1).all()
        tested.append(test)
    assert len(np.unique(np.concatenate(tested))) == sum(map(len, tested))


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_each_trajectory_is_left_out_once(lengths):
    labels = np.repeat([f"run {k}" for k in range(len(lengths))], lengths)
    folds = list(LeaveOneTrajectoryOut().split(rows(len(labels)), trajectory=labels))
    assert len(folds) == len(lengths) == LeaveOneTrajectoryOut().get_n_splits(trajectory=labels)
    for (train, test), label in zip(folds, dict.fromkeys(labels), strict=True):
        assert set(labels[test]) == {label}
        np.testing.assert_array_equal(np.sort(np.r_[train, test]), np.arange(len(labels)))


def test_too_short_and_too_few_are_refused():
    with pytest.raises(ValueError, match="at least 12 rows, but the shortest has 4"):
        list(ForwardChaining(5, gap=1).split(rows(14), trajectory=[0] * 10 + [1] * 4))
    with pytest.raises(ValueError, match="n_splits >= 1"):
        list(ForwardChaining(0).split(rows(4)))
    with pytest.raises(ValueError, match="there is one"):
        list(LeaveOneTrajectoryOut().split(rows(4), trajectory=[1] * 4))
    with pytest.raises(ValueError, match="needs trajectory"):
        list(LeaveOneTrajectoryOut().split(rows(4)))


class Mean(BaseEstimator):
    """Scores by how far the test rows lie from the mean of the training rows."""

    __metadata_request__fit = {"trajectory": True}  # noqa: RUF012
    __metadata_request__score = {"trajectory": True}  # noqa: RUF012

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, X, y=None, trajectory=None):
        assert len(trajectory) == len(X)
        self.mean_ = X.mean()
        return self

    def score(self, X, y=None, trajectory=None):
        return -abs(X.mean() - self.mean_ - self.shift)


@pytest.mark.parametrize("splitter", [ForwardChaining(2), LeaveOneTrajectoryOut()])
def test_grid_search_routes_trajectories(splitter):
    assert str(clone(splitter)) == str(splitter)
    labels = np.repeat([0, 1, 2], 6)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(Mean(), {"shift": [0.0, 1e6]}, cv=splitter)
        search.fit(rows(18), trajectory=labels)
    assert search.best_params_ == {"shift": 0.0}
    assert search.n_splits_ == splitter.get_n_splits(trajectory=labels)
