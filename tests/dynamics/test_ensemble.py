import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rom.dynamics.ensemble import (
    bags,
    draws,
    fewer,
    fit_ensemble,
    offers,
    stack,
    summarise,
    unstack,
)
from rom.dynamics.normal import normal, sum_normals
from rom.dynamics.regression import fit_ridge
from rom.threads import slices


def blocks(exact=False):
    rng = np.random.default_rng(0)
    A, Y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    rows = slices(60, 6)
    return [normal(A[s], Y[s], exact=exact) for s in rows], A, Y, rows


@pytest.mark.parametrize("exact", [False, True])
def test_a_bag_is_the_fit_to_the_rows_that_it_drew(exact):
    parts, A, Y, rows = blocks(exact)
    counts = np.array([[0, 2, 1, 0, 3, 0], [1, 1, 1, 1, 1, 1]])
    for bag, count in zip(bags(stack(parts), counts), counts, strict=True):
        drawn = np.concatenate(
            [np.arange(60)[s] for s, n in zip(rows, count, strict=True) for _ in range(n)]
        )
        assert_allclose(fit_ridge(bag), np.linalg.lstsq(A[drawn], Y[drawn])[0].T, rtol=1e-10)
        assert bag.n_rows == len(drawn)
        assert (bag.root is not None) == exact


@pytest.mark.parametrize("exact", [False, True])
def test_stacked_blocks_are_the_blocks(exact):
    """Whose roots have as many rows as they need."""
    parts, *_ = blocks(exact)
    rng = np.random.default_rng(1)
    parts.append(normal(rng.normal(size=(2, 3)), rng.normal(size=(2, 2)), exact=exact))
    for found, block in zip(unstack(stack(parts)), parts, strict=True):
        for one, other in zip(found.arrays()[:4], block.arrays()[:4], strict=True):
            assert_array_equal(one, other)
        if exact:
            assert_allclose(found.root.T @ found.root, block.root.T @ block.root, atol=1e-12)
    total = sum_normals(parts)
    (found,) = unstack(total.arrays())
    assert_array_equal(found.gram, total.gram)
    assert len(stack([*parts, parts[0]._replace(root=None)])) == 4  # not of some rows only


def test_the_smallest_neighbours_are_summed():
    parts, *_ = blocks()
    left = fewer([*parts, *fewer(parts, 1)], 4)
    assert [block.n_rows for block in left] == [20, 20, 20, 60]
    assert_allclose(sum_normals(left).gram, 2 * sum_normals(parts).gram)
    assert fewer(parts, 6) == parts


def test_each_model_draws_as_many_blocks_as_there_are():
    counts = draws(50, 200, np.random.default_rng(0))
    assert_array_equal(counts.sum(axis=1), 50)
    assert abs((counts == 0).mean() - (1 - 1 / 50) ** 50) < 0.02


def test_terms_are_left_out_at_random():
    rng = np.random.default_rng(0)
    offered = np.stack([offers(5, 2, rng) for _ in range(500)])
    assert_array_equal(offered.sum(axis=1), 3)
    assert_allclose(offered.mean(axis=0), 0.6, atol=0.1)


def test_statistics_are_over_the_models_with_the_term():
    coefs = np.array([[[1.0, 5.0]], [[0.0, 3.0]], [[2.0, 0.0]]])
    offered = np.array([[True, True], [True, True], [True, False]])
    found = summarise(coefs, offered)
    assert_allclose(found.coef, [[1.0, 4.0]])
    assert_allclose(found.inclusion_probability, [[2 / 3, 1.0]])
    assert_allclose(found.std, [[np.std([1, 0, 2]), 1.0]])
    assert_allclose(found.interval[:, 0, 1], [3.1, 4.9])
    never = summarise(coefs, np.array([[True, False]] * 3))
    assert not never.inclusion_probability[0, 1]
    assert_allclose(never.coef, [[1.0, 0.0]])


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 90 % intervals from independent rows, over many repetitions."""
    rng = np.random.default_rng(0)
    held = []
    for seed in range(60):
        A = rng.normal(size=(400, 3))
        Y = A @ [[1.0], [-2.0], [0.5]] + rng.normal(size=(400, 1))
        parts = [normal(A[s], Y[s]) for s in slices(400, 50)]
        found = fit_ensemble(stack(parts), lambda bag, *_: fit_ridge(bag), 100, seed=seed)
        low, high = found.interval
        held.append((low <= [[1.0, -2.0, 0.5]]) & (high >= [[1.0, -2.0, 0.5]]))
    assert 0.8 < np.mean(held) < 0.97


def test_models_are_judged_on_what_they_did_not_see():
    parts, *_ = blocks()
    whole = sum_normals(parts)

    def fit(bag, offered, others):
        assert others is not None
        assert 0 < others.n_rows < whole.n_rows
        return fit_ridge(bag)

    fit_ensemble(stack(parts), fit, 10, judged=True)


def test_no_terms_left_is_refused():
    parts, *_ = blocks()
    with pytest.raises(ValueError, match="n_dropped=3 must be less than the 3 terms"):
        fit_ensemble(stack(parts), lambda bag, *_: fit_ridge(bag), 2, n_dropped=3)
