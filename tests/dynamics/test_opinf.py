import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import rom
from rom.dynamics import OperatorInference
from rom.dynamics.opinf import DiscreteOperatorInference


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(0, 2),
    st.sampled_from(["c", "A", "H", "cA", "cH", "AH", "cAH"]),
)
def test_operators_are_recovered(seed, rank, n_inputs, operators):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(60, rank))
    u = rng.normal(size=(60, n_inputs)) if n_inputs else None
    i, j = np.triu_indices(rank)
    blocks = {"c": np.ones((60, 1)), "A": Z, "H": Z[:, i] * Z[:, j]}
    true = {letter: rng.normal(size=(rank, blocks[letter].shape[1])) for letter in operators}
    B = rng.normal(size=(rank, n_inputs))
    y = sum(blocks[letter] @ true[letter].T for letter in operators) + (u @ B.T if n_inputs else 0)
    model = OperatorInference(operators).fit(Z, y, u=u)
    assert_allclose(model.predict(Z, u=u), y, atol=1e-8)
    if "c" in operators:
        assert_allclose(model.c_, true["c"][:, 0], atol=1e-8)
    else:
        assert model.c_ is None
    for letter, found in (("A", model.A_), ("H", model.H_)):
        if letter in operators:
            assert_allclose(found, true[letter], atol=1e-8)
        else:
            assert found is None
    if n_inputs:
        assert_allclose(model.B_, B, atol=1e-8)
    else:
        assert model.B_ is None


def test_polynomial_is_the_prediction():
    rng = np.random.default_rng(0)
    Z, u = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    model = OperatorInference().fit(Z, rng.normal(size=(40, 3)), u=u)
    exponents, coef = model.polynomial()
    value = np.prod(np.hstack([Z, u])[:, None] ** exponents, axis=2) @ coef.T
    assert_allclose(value, model.predict(Z, u=u), rtol=1e-10)


def test_intrusive_galerkin_model_is_recovered_from_projected_data():
    """States on an invariant subspace: inference equals projection (Peherstorfer & Willcox)."""
    rng = np.random.default_rng(1)
    modes = np.linalg.qr(rng.normal(size=(30, 3)))[0]
    full = modes @ np.diag([-0.1, -0.5, -2.0]) @ modes.T
    t = np.linspace(0, 3, 200)
    X = np.exp(np.outer(t, [-0.1, -0.5, -2.0])) @ modes.T
    model = OperatorInference("A").fit(X @ modes, t=t)
    assert_allclose(model.A_, modes.T @ full @ modes, atol=1e-6)


def test_ridge_shrinks():
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(50, 2)), rng.normal(size=(50, 2))
    size = [np.linalg.norm(OperatorInference(ridge=r).fit(Z, y).H_) for r in (0.0, 0.1, 10.0)]
    assert size[0] > size[1] > size[2]


def test_equations_name_modes_and_inputs():
    Z = np.random.default_rng(0).normal(size=(20, 2))
    y = np.stack([2 * Z[:, 1], 1e-5 * Z[:, 0] ** 2], axis=1)
    model = OperatorInference("AH", names=["a1", "a2"]).fit(Z, y.round(12))
    latex = model.equations(format="latex", precision=1)
    assert r"\times 10^{-5} a_{1}^{2}" in latex[1]
    assert model.equations()[0].startswith("da1/dt = ")


def test_cubic_and_bilinear_operators_are_recovered():
    rng = np.random.default_rng(0)
    Z, u = rng.normal(size=(200, 3)), rng.normal(size=(200, 2))
    i, j, k = np.array([(i, j, k) for i in range(3) for j in range(i, 3) for k in range(j, 3)]).T
    G, N, B = rng.normal(size=(3, 10)), rng.normal(size=(3, 2, 3)), rng.normal(size=(3, 2))
    y = (Z[:, i] * Z[:, j] * Z[:, k]) @ G.T + np.einsum("tij,nj,ni->nt", N, Z, u) + u @ B.T
    model = OperatorInference("cAHGN").fit(Z, y, u=u)
    assert_allclose(model.G_, G, atol=1e-10)
    assert_allclose(model.N_, N.reshape(3, 6), atol=1e-10)
    assert_allclose(model.B_, B, atol=1e-10)
    assert_allclose(np.hstack([model.c_[:, None], model.A_, model.H_]), 0, atol=1e-10)
    assert_allclose(model.predict(Z, u=u), y, atol=1e-10)


def test_bilinear_terms_need_inputs():
    with pytest.raises(ValueError, match='has an "N", which needs inputs'):
        OperatorInference("AN").fit(np.eye(3), np.eye(3))


def test_ridge_by_operator_is_the_penalty_of_each():
    """The gradient of what is minimised, with the penalties written out, vanishes."""
    rng = np.random.default_rng(0)
    Z, u, y = rng.normal(size=(80, 2)), rng.normal(size=(80, 1)), rng.normal(size=(80, 2))
    model = OperatorInference(ridge={"A": 0.3, "H": 2.0, "B": 0.1}).fit(Z, y, u=u)
    terms = np.stack([np.ones(80), *Z.T, Z[:, 0] ** 2, Z.prod(axis=1), Z[:, 1] ** 2, u[:, 0]])
    coef = np.hstack([model.c_[:, None], model.A_, model.H_, model.B_])
    penalty = np.array([0, 0.3, 0.3, 2, 2, 2, 0.1]) * (terms**2).mean(axis=1)
    misfit = (coef @ terms - y.T) @ terms.T / 80
    assert_allclose(misfit + coef * penalty, 0, atol=1e-12)


@pytest.mark.parametrize("ridge", [{"G": 1.0}, {"A": -1.0}, {"A": np.nan}])
def test_ridge_must_fit_the_operators(ridge):
    with pytest.raises(ValueError, match=r"for the operators \['c', 'A', 'H'\]"):
        OperatorInference(ridge=ridge).fit(np.eye(3), np.eye(3))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.sampled_from(["cAH", "AHN", "G", "cAHGN"]),
    st.sampled_from([0.0, 1e-3]),
)
def test_refit_is_the_fit_of_fewer_coordinates(seed, rank, operators, ridge):
    rng = np.random.default_rng(seed)
    Z, u, y = rng.normal(size=(120, 3)), rng.normal(size=(120, 2)), rng.normal(size=(120, 3))
    large = OperatorInference(operators, ridge=0.5, names=["a", "b", "c", "u", "v"])
    small = large.fit(Z, y, u=u).refit(rank=rank, ridge=ridge)
    fresh = OperatorInference(operators, ridge=ridge).fit(Z[:, :rank], y[:, :rank], u=u)
    assert_allclose(small._coef(), fresh._coef(), atol=1e-10)
    assert small.names == [*["a", "b", "c"][:rank], "u", "v"]
    assert_allclose(small.refit(ridge=0.5)._coef(), large.refit(rank=rank)._coef(), atol=1e-10)


def test_refit_says_what_it_cannot_do():
    model = OperatorInference("A").fit(np.eye(3), np.eye(3)[:, :2])
    with pytest.raises(ValueError, match="rank must be in 1 … 3 and below it needs one target"):
        model.refit(rank=2)
    with pytest.raises(ValueError, match="'ridge' parameter"):
        model.refit(ridge=-1.0)
    with pytest.raises(ValueError, match="given operators"):
        OperatorInference.from_operators(A=np.eye(2)).refit(rank=1)


def test_unknown_operators_are_refused():
    with pytest.raises(ValueError, match="'operators' parameter"):
        OperatorInference("Q").fit(np.eye(2), np.eye(2))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(0, 2),
    st.sampled_from(["c", "A", "H", "cA", "cH", "AH", "cAH"]),
)
def test_known_operators_give_the_model_that_a_fit_finds(seed, rank, n_inputs, operators):
    rng = np.random.default_rng(seed)
    Z, y = rng.normal(size=(60, rank)), rng.normal(size=(60, rank))
    u = rng.normal(size=(60, n_inputs)) if n_inputs else None
    found = OperatorInference(operators).fit(Z, y, u=u)
    given = {letter: getattr(found, f"{letter}_") for letter in "cAHGBN"}
    known = OperatorInference.from_operators(**given, bound=found.bound_)
    assert known.get_params() == found.get_params()
    assert known.normal_ is None
    found.normal_ = None
    assert known.input_range_.shape == found.input_range_.shape
    found.input_range_ = known.input_range_  # the operators do not tell it
    assert set(vars(known)) == set(vars(found))
    for name, value in vars(found).items():
        np.testing.assert_array_equal(getattr(known, name), value)
    np.testing.assert_array_equal(known.predict(Z, u=u), found.predict(Z, u=u))


def test_a_galerkin_model_in_a_rom_is_saved(tmp_path):
    rng = np.random.default_rng(0)
    t = np.linspace(0, 5, 60)
    X = np.c_[np.cos(t), np.sin(t)] @ rng.normal(size=(2, 9))
    scale = rom.Scale(center=False, scale=False)
    model = rom.ROM(rom.POD(2, center=False), OperatorInference("A"), preprocess=scale)
    model.fit(X, t=t)
    model.dynamics_ = OperatorInference.from_operators(A=model.dynamics_.A_, names=["a", "b"])
    model.save(tmp_path / "model.nc")
    loaded = rom.load(tmp_path / "model.nc")
    assert loaded.dynamics_.equations() == model.dynamics_.equations()
    assert loaded.dynamics_.bound_ == np.inf
    assert loaded.rollout(X[0], t).identical(model.rollout(X[0], t))


def test_a_map_between_states_is_recovered_and_rolled_out():
    """A quadratic map, with inputs; smaller ranks and other ridges follow from its sums."""
    z, u = [np.array([0.3, 0.1])], np.random.default_rng(0).uniform(-0.1, 0.1, (60, 1))
    for v in u[:-1]:
        x, y = z[-1]
        z.append(np.array([3.6 * x * (1 - x) - 0.1 * y, 0.5 * y + v[0]]))
    Z, t = np.array(z), 0.5 * np.arange(60)
    model = DiscreteOperatorInference("AH").fit(Z, t=t, u=u)
    assert_allclose(model.A_, [[3.6, -0.1], [0, 0.5]], atol=1e-10)
    assert_allclose(model.H_, [[-3.6, 0, 0], [0, 0, 0]], atol=1e-10)
    assert_allclose(model.B_, [[0], [1]], atol=1e-10)
    assert_allclose(rom.rollout(model, Z[0], t[:20], u=u[:20]).z, Z[:20], atol=1e-6)
    assert model.equations()[1].startswith("z1[n+1] = ")
    assert type(model.refit(rank=1)) is DiscreteOperatorInference


def test_operators_are_copied():
    A = np.eye(2)
    OperatorInference.from_operators(A=A).A_[0, 0] = 7
    assert A[0, 0] == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "at least one of c, A, H, G and N"),
        ({"B": np.eye(2)}, "at least one of c, A, H, G and N"),
        ({"A": np.ones((2, 3))}, r"With 2 latent.*A must have shape \(2, 2\).*is \(2, 3\)"),
        ({"A": np.eye(2), "H": np.eye(2)}, r"H must have shape \(2, 3\), but its shape is \(2, 2"),
        ({"c": np.ones((2, 1))}, r"c must have shape \(2,\)"),
        ({"A": np.eye(2), "B": np.ones((3, 1))}, r"B must have shape \(2, 1\)"),
        ({"A": np.eye(2), "B": np.ones((2, 1, 1))}, r"B must have shape \(2, 1\)"),
        ({"A": [[np.nan]]}, "A must be finite"),
        ({"A": [[1.0]], "names": ["a", "b"]}, "2 names, but there are 1"),
        ({"A": [[1.0]], "bound": 0.0}, r"bound must be a positive number, but it is 0\.0"),
    ],
)
def test_operators_that_do_not_fit_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        OperatorInference.from_operators(**given)
