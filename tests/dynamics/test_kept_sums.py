"""What a regression keeps of its rows: other parameters, other data, the path of its solver."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import rom
from rom.dynamics import (
    DMD,
    NVAR,
    AffineOperatorInference,
    DiscreteSINDy,
    FourierLibrary,
    FunctionLibrary,
    InterpolatedOperatorInference,
    LinearInverseModel,
    MidpointSINDy,
    OperatorInference,
    PolynomialLibrary,
    SINDy,
    StableOperatorInference,
    WeakSINDy,
)

STEP, N = 0.05, 120
REFITTED = [
    (SINDy(threshold=0.0), {"threshold": 0.3, "solver": "forward"}),
    (SINDy(FourierLibrary(), threshold=0.0), {"threshold": "bic", "solver": "linbreg"}),
    (SINDy(threshold=0.0), {"constraint": (np.eye(30)[:2], [0.5, -0.5])}),
    (WeakSINDy(threshold=0.0), {"threshold": "aicc", "solver": "linbreg"}),
    (SINDy(threshold=0.0, energy=1.0), {"energy": 0.1, "threshold": 0.2}),
    (MidpointSINDy(threshold=0.0), {"threshold": 0.2, "relative_threshold": True}),
    (OperatorInference("cAG"), {"ridge": {"A": 0.1, "G": 2.0}}),
    (AffineOperatorInference("cA"), {"ridge": 0.3}),
    (InterpolatedOperatorInference("cA"), {"ridge": 0.3}),
    (StableOperatorInference("cA"), {"decay": 0.2, "ridge": 0.1}),
    (DMD(constant=True), {"total_least_squares": True, "growth": (-1.0, 0.0)}),
    (NVAR(), {"ridge": 0.2}),
    (LinearInverseModel(), {"names": ["a", "b", "c"]}),
]
IDS = [type(model).__name__ for model, _ in REFITTED]
ENSEMBLES = [
    kind(threshold=0.0, n_models=4, random_state=0)
    for kind in (SINDy, DiscreteSINDy, WeakSINDy, MidpointSINDy)
]
OTHER_ENSEMBLE = {"n_models": 6, "n_dropped": 2, "random_state": 1, "threshold": "bic"}
# Weights that depend on the largest derivative do not add, but stay as they are.
REFITTED_ALONE = [
    *((model, OTHER_ENSEMBLE) for model in ENSEMBLES),
    (SINDy(relative_error=True), {"threshold": 0.3, "solver": "sr3"}),
    (SINDy(relative_error=True, n_models=4, random_state=0), {"n_models": 3}),
]


def records():
    """Two noisy trajectories of three damped coordinates, with a parameter as their input."""
    rng, t = np.random.default_rng(0), STEP * np.arange(N)
    A = np.array([[-0.2, 2.0, 0.0], [-2.0, -0.2, 0.0], [0.3, 0.0, -0.5]])
    values, vectors = np.linalg.eig(A)
    parts = []
    for value in (1.0, 2.0):
        start = np.linalg.solve(vectors, rng.normal(size=3))
        Z = ((np.exp(np.outer(t, values)) * start) @ vectors.T).real
        parts.append(
            {"Z": Z + 0.01 * rng.normal(size=Z.shape), "t": t, "u": np.full((N, 1), value)}
        )
    both = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return parts, both | {"trajectory": np.repeat([0, 1], N)}


def fitted(model, data):
    takes = isinstance(model, AffineOperatorInference | InterpolatedOperatorInference)
    return clone(model).fit(**{k: v for k, v in data.items() if takes or k != "u"})


def slopes(model, data):
    return model.predict(data["Z"], u=data["u"] if model.n_inputs_ else None)


@pytest.mark.parametrize(
    ("model", "other"),
    REFITTED + REFITTED_ALONE,
    ids=[*IDS, *(f"{type(model).__name__} alone" for model, _ in REFITTED_ALONE)],
)
def test_other_parameters_need_no_other_fit(model, other):
    _, both = records()
    again = fitted(model, both).refit(**other)
    fresh = fitted(clone(model).set_params(**other), both)
    assert_allclose(slopes(again, both), slopes(fresh, both), rtol=1e-8, atol=1e-10)
    assert (again.dt_, again.bound_) == (fresh.dt_, fresh.bound_)


@pytest.mark.parametrize("model", [model for model, _ in REFITTED], ids=IDS)
def test_merged_models_are_the_model_of_all_trajectories(model):
    parts, both = records()
    if isinstance(model, WeakSINDy):
        model = clone(model).set_params(width=2.0)
    one, two = (fitted(model, part) for part in parts)
    whole = fitted(model, both)
    for merged in (one.merge(two), two.merge(one)):
        assert_allclose(slopes(merged, both), slopes(whole, both), rtol=1e-6, atol=1e-7)
        assert merged.bound_ == whole.bound_
        assert_array_equal(merged.input_range_, whole.input_range_)
    assert_allclose(slopes(one.merge(), parts[0]), slopes(one, parts[0]), rtol=1e-8, atol=1e-10)


def test_only_what_comes_after_the_sums_is_refitted():
    _, both = records()
    with pytest.raises(ValueError, match=r"refit changes alpha.* for other library the rows"):
        fitted(SINDy(), both).refit(library=PolynomialLibrary(1))
    with pytest.raises(ValueError, match="'threshold' parameter"):
        fitted(SINDy(), both).refit(threshold=-1.0)
    with pytest.raises(ValueError, match="does not go with total_least_squares"):
        fitted(DMD(), both).refit(ridge=1.0, total_least_squares=True)
    for kind in (SINDy, WeakSINDy):
        with pytest.raises(ValueError, match="n_models=3 needs the sums of blocks of rows"):
            fitted(kind(), both).refit(n_models=3)
    with pytest.raises(ValueError, match=r"energy=1 needs sums .* that only a fit with energy > 0"):
        fitted(SINDy(), both).refit(energy=1.0)
    with pytest.raises(ValueError, match="given operators"):
        OperatorInference.from_operators(A=np.eye(2)).refit(ridge=0.1)


def test_unlike_models_are_not_merged():
    (one, two), _ = records()
    first = fitted(SINDy(threshold=0.0), one)
    for other in (SINDy(PolynomialLibrary(1)), MidpointSINDy(threshold=0.0), DiscreteSINDy()):
        with pytest.raises(ValueError, match="merge needs models of one kind"):
            first.merge(fitted(other, two))
    with pytest.raises(ValueError, match="merge needs models of one kind"):
        first.merge(SINDy(threshold=0.0).fit(two["Z"][:, :2], t=two["t"]))
    with pytest.raises(ValueError, match="merge needs models of one kind"):
        fitted(DMD(), one).merge(DMD().fit(two["Z"], two["Z"][:, :2]))
    with pytest.raises(ValueError, match="merge needs models of one kind"):
        fitted(SINDy(threshold=0.0, n_models=3), one).merge(fitted(first, two))
    with pytest.raises(ValueError, match="energy=1 needs sums"):
        fitted(SINDy(threshold=0.0, energy=1.0), one).merge(fitted(first, two))
    relative = fitted(SINDy(relative_error=True), one)
    with pytest.raises(ValueError, match="weights need the largest derivative of all rows"):
        relative.merge(fitted(relative, two))
    slower = two | {"t": 2 * two["t"]}
    with pytest.raises(ValueError, match="maps over one step"):
        fitted(DMD(), one).merge(fitted(DMD(), slower))
    with pytest.raises(ValueError, match="covariances over one lag"):
        fitted(LinearInverseModel(), one).merge(fitted(LinearInverseModel(), slower))
    first.merge(fitted(SINDy(threshold=0.0), slower))  # derivatives do not mind


@pytest.mark.parametrize("model", ENSEMBLES, ids=lambda model: type(model).__name__)
def test_ensembles_keep_their_blocks(model):
    parts, both = records()
    if isinstance(model, WeakSINDy):
        model = clone(model).set_params(width=2.0)
    one, two = (fitted(model, part) for part in parts)
    again = one.refit()
    for name in ("coef_", "inclusion_probability_", "coef_std_", "coef_interval_"):
        assert_array_equal(getattr(again, name), getattr(one, name))
    merged = one.merge(two)
    assert len(merged.normal_[0]) == len(one.normal_[0]) + len(two.normal_[0])
    single = clone(model).set_params(n_models=1)
    whole = fitted(single, both)
    assert_allclose(merged.refit(n_models=1).coef_, whole.coef_, rtol=1e-6, atol=1e-7)
    assert_allclose(merged.path()["error"], whole.path()["error"], rtol=1e-6)
    older = fitted(model, parts[0])  # of a file in which only the sum of the blocks is
    older.normal_ = fitted(single, parts[0]).normal_
    assert len(older.path())
    with pytest.raises(ValueError, match="n_models=4 needs the sums of blocks"):
        older.refit(alpha=0.1)


def test_saved_ensembles_are_refitted(tmp_path):
    (one, _), _ = records()
    rom.ROM(rom.POD(2), clone(ENSEMBLES[0])).fit(one["Z"], t=one["t"]).save(tmp_path / "a.nc")
    model = rom.load(tmp_path / "a.nc").dynamics_
    assert_array_equal(model.refit().coef_std_, model.coef_std_)


@pytest.mark.parametrize("solver", ["stlsq", "sr3", "forward", "subset", "linbreg"])
def test_the_path_leads_to_the_equation(solver):
    x = np.random.default_rng(0).normal(size=(400, 2))
    y = np.stack([x[:, 0] - 0.1 * x[:, 0] ** 3, 2 * x[:, 1]], axis=1)
    y += 1e-3 * np.random.default_rng(1).normal(size=y.shape)
    model = SINDy(PolynomialLibrary(3), solver=solver, threshold=0.05, names=["a", "b"]).fit(x, y)
    path = model.path(precision=1)
    assert set(path.target) == {"a", "b"}
    assert not path.duplicated(["target", "equation", "n_terms"]).any()
    found = path[path.equation.isin(model.equations(precision=1))]
    assert set(found.target) == {"a", "b"}
    assert (found.error < 0.01).all()
    of_b = path[path.target == "b"]
    assert_allclose(of_b.error[of_b.n_terms == 0], 1)
    if solver in ("forward", "subset"):
        assert (np.diff(of_b.n_terms) == 1).all()
        assert (np.diff(of_b.error) <= 0).all()


@pytest.mark.parametrize("kind", [WeakSINDy, MidpointSINDy])
@pytest.mark.parametrize("threshold", [0.05, "bic"])
def test_ensembles_need_no_derivatives(kind, threshold):
    t = np.arange(0, 30, 0.02)
    z = np.exp((-0.05 + 2j) * t)
    Z = np.stack([z.real, z.imag], axis=1)
    Z += 0.01 * np.random.default_rng(0).normal(size=Z.shape)
    model = kind(PolynomialLibrary(2), threshold=threshold, n_models=20, random_state=0)
    model.fit(Z, t=t)
    true = np.zeros((2, 6), bool)
    true[:, 1:3] = True
    strong = [(0, 2), (1, 1)]
    for where in strong:
        assert model.inclusion_probability_[where] == 1
        low, high = model.coef_interval_[:, *where]
        assert low <= model.coef_[where] <= high < low + 0.2
    assert model.inclusion_probability_[~true].max() < 1
    assert_allclose([model.coef_[0, 2], model.coef_[1, 1]], [-2, 2], atol=0.05)
    same = clone(model).fit(Z, t=t)
    assert_array_equal(same.coef_std_, model.coef_std_)
    alone = clone(model).set_params(n_models=1).fit(Z, t=t)
    assert alone.coef_interval_ is None
    fewer = clone(model).set_params(n_dropped=2).fit(Z, t=t)
    assert np.abs(fewer.coef_[0, 2] + 2) < 0.1


def test_weak_intervals_are_as_wide_as_the_scatter_between_records():
    """Blocks shorter than a test function would tell of too little."""
    t, estimates, widths = np.arange(0, 40, 0.04), [], []
    for seed in range(30):
        z = np.exp((-0.02 + 2j) * t)
        Z = np.stack([z.real, z.imag], axis=1)
        Z += 0.05 * np.random.default_rng(seed).normal(size=Z.shape)
        model = WeakSINDy(PolynomialLibrary(1, include_bias=False), threshold=0.0, width=4.0)
        model.set_params(n_models=50, random_state=seed).fit(Z, t=t)
        estimates.append(model.coef_[0, 1])
        widths.append(model.coef_std_[0, 1])
    assert 0.5 < np.mean(widths) / np.std(estimates) < 2


def test_libraries_of_functions_of_this_session_are_merged_too():
    (one, two), both = records()
    model = SINDy(FunctionLibrary({"{}^2": lambda z: z**2}), threshold=0.0)
    merged = fitted(model, one).merge(fitted(model, two))
    assert_allclose(merged.coef_, fitted(model, both).coef_)
    other = SINDy(FunctionLibrary({"{}^2": lambda z: -(z**2)}), threshold=0.0)
    with pytest.raises(ValueError, match="merge needs models of one kind"):
        merged.merge(fitted(other, two))


@pytest.mark.parametrize("kind", [SINDy, WeakSINDy, MidpointSINDy])
def test_constraints_hold_whatever_the_rows_are(kind):
    """An oscillator whose two frequencies are to be one, and whose damping is to be known."""
    _, both = records()
    library = PolynomialLibrary(1, include_bias=False)
    matrix = np.zeros((2, 9))
    matrix[0, [1, 3]] = 1.0  # y in dx/dt, and x in dy/dt
    matrix[1, 0] = 1.0
    model = fitted(kind(library, threshold=0.0, constraint=(matrix, [0.0, -0.2])), both)
    assert_allclose(matrix @ model.coef_.ravel(), [0.0, -0.2], atol=1e-9)
    assert_allclose(model.coef_[0, 1], 2.0, atol=0.1)
    assert_allclose(
        fitted(kind(library, threshold=0.0), both).refit(constraint=(matrix, [0.0, -0.2])).coef_,
        model.coef_,
        atol=1e-9,
    )
    for other in ({"threshold": "bic"}, {"n_models": 3}, {"solver": "sr3"}):
        with pytest.raises(ValueError, match="energy and constraint need"):
            fitted(clone(model).set_params(**other), both)
