import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.compress import gram, quadratic_manifold
from rom.compress.pod import POD
from rom.compress.quadratic_manifold import QuadraticManifold


def on_manifold(rank=2, n_space=30, seed=0):
    """Snapshots ``mean + V z + W q(z)``, z and -z in pairs, so that POD finds V by itself."""
    rng = np.random.default_rng(seed)
    n_monomials = rank * (rank + 1) // 2
    Z = rng.normal(size=(60, rank))
    Z = np.vstack([Z, -Z])
    i, j = np.triu_indices(rank)
    basis = np.linalg.qr(rng.normal(size=(n_space, rank + n_monomials)))[0].T
    strengths = 0.05 * rng.uniform(0.5, 1, size=(n_monomials, 1))
    X = Z @ basis[:rank] + (Z[:, i] * Z[:, j]) @ (strengths * basis[rank:])
    return X + rng.normal(size=n_space)


def pulse(n_time=40, n_space=60):
    x, t = np.linspace(0, 1, n_space), np.linspace(0, 1, n_time)[:, None]
    return np.exp(-((x - 0.2 - 0.6 * t) ** 2) / 0.005)


def noise(n_time=25, n_space=12, seed=0):
    return np.random.default_rng(seed).normal(size=(n_time, n_space)) * 0.8 ** np.arange(n_space)


def decoded(model, X):
    return model.inverse_transform(model.transform(X))


def lost(model, X):
    return np.linalg.norm(decoded(model, X) - X)


@parametrize_with_checks(
    [QuadraticManifold(1), QuadraticManifold(1, selection="leading", center=False)]
)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("selection", ["greedy", "leading"])
def test_a_quadratic_manifold_is_recovered_to_rounding(rank, selection):
    X = on_manifold(rank)
    model = QuadraticManifold(rank, selection=selection, ridge=1e-14).fit(X)
    assert sorted(model.selected_) == list(range(rank))
    assert_allclose(decoded(model, X), X, atol=1e-11)
    assert lost(POD(rank).fit(X), X) > 0.1


def test_states_off_the_snapshots_are_on_the_recovered_manifold():
    X, unseen = on_manifold(2, seed=3)[:-20], on_manifold(2, seed=3)[-20:]
    X = np.vstack([X[:40], X[60:]])  # whole pairs
    assert_allclose(decoded(QuadraticManifold(2, ridge=1e-14).fit(X), unseen), unseen, atol=1e-10)


def test_the_greedy_selection_finds_the_wave_below_its_stronger_harmonic():
    x = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    phase = x - x[:, None]
    X = 0.9 * np.cos(phase) + np.cos(2 * phase)
    greedy = QuadraticManifold(2, ridge=1e-12).fit(X)
    leading = QuadraticManifold(2, ridge=1e-12, selection="leading").fit(X)
    assert sorted(greedy.selected_) == [2, 3]
    assert lost(greedy, X) < 1e-9
    # Products of the harmonic have twice or none of its wavenumber, and do not tell the wave.
    assert lost(leading, X) == pytest.approx(np.linalg.norm(0.9 * np.cos(phase)), rel=1e-9)


def least_loss(Z, chosen, penalty, center):
    """What is left of the other columns, by a plain ridge regression."""
    i, j = np.triu_indices(len(chosen))
    H = Z[:, chosen][:, i] * Z[:, chosen][:, j]
    H = H - H.mean(axis=0) if center else H
    T = np.delete(Z, chosen, axis=1)
    W = np.linalg.solve(H.T @ H + penalty * np.eye(H.shape[1]), H.T @ T)
    return np.sum((T - H @ W) ** 2) + penalty * np.sum(W**2)


@given(seed=st.integers(0, 10**6), center=st.booleans(), penalty=st.sampled_from([1e-4, 1.0, 50.0]))
@settings(max_examples=25, deadline=None)
def test_each_greedy_step_takes_the_best_candidate(seed, center, penalty):
    Z = noise(n_space=9, seed=seed)
    chosen = quadratic_manifold._greedy(Z, 4, penalty, center)
    for step, mode in enumerate(chosen):
        before = chosen[:step]
        rivals = [
            least_loss(Z, [*before, rival], penalty, center)
            for rival in range(9)
            if rival not in before
        ]
        reached = least_loss(Z, [*before, mode], penalty, center)
        assert reached <= min(rivals) * (1 + 1e-9)


@given(seed=st.integers(0, 10**6), center=st.booleans(), ridge=st.sampled_from([1e-9, 1e-3]))
@settings(max_examples=15, deadline=None)
def test_greedy_is_never_worse_than_leading_on_the_snapshots(seed, center, ridge):
    X = noise(seed=seed)
    model = QuadraticManifold(3, ridge=ridge, center=center).fit(X)
    Z = POD(12, center=center).fit_transform(X)
    Z /= np.sqrt(np.mean(Z[:, 0] ** 2))
    penalty = ridge * len(X)
    reached = least_loss(Z, model.selected_, penalty, center)
    for rival in ([0, 1, 2], quadratic_manifold._greedy(Z, 3, penalty, center)):
        assert reached <= least_loss(Z, rival, penalty, center) * (1 + 1e-9)


@given(
    seed=st.integers(0, 10**6),
    n_time=st.integers(8, 30),
    n_space=st.integers(5, 30),
    selection=st.sampled_from(["greedy", "leading"]),
    ridge=st.sampled_from([1e-12, 1e-6, 1.0]),
)
@settings(max_examples=25, deadline=None)
def test_the_correction_never_makes_the_snapshots_worse(seed, n_time, n_space, selection, ridge):
    X = noise(n_time, n_space, seed)
    model = QuadraticManifold(3, selection=selection, ridge=ridge).fit(X)
    centred = X - X.mean(axis=0)
    V = model.components_
    assert lost(model, X) <= np.linalg.norm(centred - centred @ V.T @ V) + 1e-9


@pytest.mark.parametrize("ridge", [1e-10, 1e-8, 1e-6])
def test_products_tell_most_of_what_pod_misses_of_a_pulse(ridge):
    X = pulse()
    greedy = lost(QuadraticManifold(6, ridge=ridge).fit(X), X)
    leading = lost(QuadraticManifold(6, ridge=ridge, selection="leading").fit(X), X)
    assert greedy <= leading * (1 + 1e-9)
    assert leading < 0.2 * lost(POD(6).fit(X), X)


def test_the_correction_solves_the_normal_equations():
    X = pulse()
    model = QuadraticManifold(4, ridge=1e-3).fit(X)
    Z = model.transform(X)
    i, j = np.triu_indices(4)
    H = Z[:, i] * Z[:, j]
    assert_allclose(model.monomial_means_, H.mean(axis=0), atol=1e-12)
    H = H - H.mean(axis=0)
    first = POD(1).fit(X).singular_values_[0] ** 2 / len(X)  # mean square of the first mode
    penalty = 1e-3 * len(X) * first**2
    missed = X - X.mean(axis=0) - Z @ model.components_
    residual = missed - H @ model.quadratic_
    assert_allclose(H.T @ residual, penalty * model.quadratic_, atol=1e-10)


def test_the_correction_is_orthogonal_to_the_modes_so_encoding_inverts_decoding():
    model = QuadraticManifold(5).fit(pulse())
    size = np.linalg.norm(model.quadratic_)
    assert_allclose(model.components_ @ model.components_.T, np.eye(5), atol=1e-12)
    assert_allclose(model.quadratic_ @ model.components_.T, 0, atol=1e-13 * size)
    Z = np.random.default_rng(0).normal(size=(9, 5))
    assert_allclose(model.transform(model.inverse_transform(Z)), Z, atol=1e-11)


def test_modes_are_those_of_pod():
    X = pulse()
    model, pod = QuadraticManifold(6, n_candidates=20).fit(X), POD(20).fit(X)
    assert_array_equal(model.components_, pod.components_[model.selected_])
    assert_array_equal(model.singular_values_, pod.singular_values_[model.selected_])
    assert len(set(model.selected_)) == 6


@pytest.mark.parametrize("center", [True, False])
def test_the_mean_of_the_snapshots_or_the_origin_is_kept(center):
    X = pulse() + 1.0
    model = QuadraticManifold(3, center=center).fit(X)
    if center:
        assert_allclose(decoded(model, X).mean(axis=0), X.mean(axis=0), atol=1e-12)
    else:
        assert_array_equal(model.inverse_transform(np.zeros((1, 3))), np.zeros((1, X.shape[1])))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(scale):
    X = pulse()
    model, scaled = QuadraticManifold(4).fit(X), QuadraticManifold(4).fit(scale * X)
    assert_array_equal(scaled.selected_, model.selected_)
    assert_allclose(decoded(scaled, scale * X), scale * decoded(model, X), atol=1e-8 * scale)


@pytest.mark.parametrize("chunks", [(13, 60), (40, 11), (7, 9)])
def test_dask_gives_the_same_as_numpy(chunks, monkeypatch):
    monkeypatch.setattr(gram, "BLOCK_BYTES", 8 * 60 * 7)  # several uneven blocks
    X = pulse()
    lazy = da.from_array(X, chunks=chunks)
    model, read = QuadraticManifold(4).fit(X), QuadraticManifold(4).fit(lazy)
    assert_array_equal(read.selected_, model.selected_)
    assert_allclose(read.components_, model.components_, atol=1e-7)
    assert_allclose(decoded(read, lazy), decoded(model, X), atol=1e-6)


def test_float32_stays_float32():
    X = pulse().astype(np.float32)
    model = QuadraticManifold(4, n_candidates=12).fit(X)
    Z = model.transform(X)
    assert Z.dtype == model.inverse_transform(Z).dtype == np.float32
    assert {model.components_.dtype, model.mean_.dtype, model.quadratic_.dtype} == {X.dtype}
    exact = QuadraticManifold(4, n_candidates=12).fit(X.astype(np.float64))
    assert_array_equal(model.selected_, exact.selected_)
    assert_allclose(decoded(model, X), decoded(exact, X.astype(np.float64)), atol=2e-5)


def test_input_is_not_written_to_and_a_refit_gives_the_same_bits():
    X = pulse()
    before = X.copy()
    model = QuadraticManifold(4).fit(X)
    first = {k: np.copy(v) for k, v in vars(model).items() if k.endswith("_")}
    model.transform(X)
    assert_array_equal(X, before)
    for name, value in first.items():
        assert_array_equal(vars(model.fit(X))[name], value, err_msg=name)


@pytest.mark.parametrize(
    ("X", "params", "message"),
    [
        (noise(), {"n_components": 5, "n_candidates": 4}, "n_components=5 .* n_candidates=4"),
        (noise(), {"n_components": 13}, "n_components=13 must be at most .* 12"),
        (np.outer(np.arange(5.0), np.ones(4)), {"n_components": 2}, r"at most .* 1: X is \(5, 4\)"),
        (np.ones((5, 4)), {"n_components": 1}, "constant"),
        (da.ones((5, 4)) * np.nan, {"n_components": 1}, "not finite"),
        (noise(), {"n_components": 2.0}, "n_components"),
        (noise(), {"ridge": 0.0}, "ridge"),
        (noise(), {"selection": "best"}, "selection"),
    ],
)
def test_bad_input_is_named(X, params, message):
    with pytest.raises(ValueError, match=message):
        QuadraticManifold(**params).fit(X)
