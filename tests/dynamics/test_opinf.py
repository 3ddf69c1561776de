import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import rom
from rom.dynamics import OperatorInference


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
    given = {letter: getattr(found, f"{letter}_") for letter in "cAHB"}
    known = OperatorInference.from_operators(**given, bound=found.bound_)
    assert known.get_params() == found.get_params()
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


def test_operators_are_copied():
    A = np.eye(2)
    OperatorInference.from_operators(A=A).A_[0, 0] = 7
    assert A[0, 0] == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "at least one of c, A and H"),
        ({"B": np.eye(2)}, "at least one of c, A and H"),
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
