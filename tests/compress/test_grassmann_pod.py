import warnings

import dask.array as da
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.linalg import subspace_angles
from scipy.spatial.distance import pdist
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.compress.grassmann_pod import (
    GrassmannPOD,
    align,
    grassmann_exp,
    grassmann_log,
    interpolation_weights,
)
from rom.compress.pod import POD

ANGLES = np.array([0.0, 0.3, 0.7, 1.0])
SPEEDS = np.array([0.5, 0.6, 0.7, 0.8, 0.9])


def orthonormal(rank, n_space, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n_space, rank)))[0].T


def rotation(mu, seed=0, n_space=6):
    """Snapshots with span {cos(mu) e1 + sin(mu) e2, e3}: a geodesic in mu."""
    modes = np.zeros((2, n_space))
    modes[0, :2] = np.cos(mu), np.sin(mu)
    modes[1, 2] = 1.0
    return np.random.default_rng(seed).normal(size=(8, 2)) @ modes


def rotations(angles=ANGLES, seed=0):
    X = np.concatenate([rotation(a, seed + i) for i, a in enumerate(angles)])
    return X, np.repeat(angles, 8)


def pulse(speed, n_space=120, n_time=25):
    """A pulse that is carried along and spreads: the advection-diffusion equation on the line."""
    x, t = np.linspace(0, 1, n_space), np.linspace(0, 0.4, n_time)[:, None]
    width = 0.01 + 4 * 0.005 * t
    return np.sqrt(0.01 / width) * np.exp(-((x - 0.2 - speed * t) ** 2) / width)


def pulses(speeds=SPEEDS):
    return np.concatenate([pulse(c) for c in speeds]), np.repeat(speeds, 25)


def relative_error(compressor, X):
    return np.linalg.norm(
        X - compressor.inverse_transform(compressor.transform(X))
    ) / np.linalg.norm(X)


@parametrize_with_checks([GrassmannPOD(1), GrassmannPOD(1, center=False)])
def test_sklearn_contract(estimator, check):
    check(estimator)


# -- logarithm and exponential


@given(rank=st.integers(1, 5), extra=st.integers(0, 12), seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_exponential_undoes_the_logarithm(rank, extra, seed):
    base, basis = (orthonormal(rank, rank + extra, seed + i) for i in (0, 1))
    tangent = grassmann_log(base, basis)
    back = grassmann_exp(base, tangent)
    np.testing.assert_allclose(back @ back.T, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose(back.T @ back, basis.T @ basis, atol=1e-9)
    np.testing.assert_allclose(back, align(basis, base), atol=1e-9)  # the basis closest to base


@given(
    rank=st.integers(1, 5),
    extra=st.integers(1, 12),
    size=st.floats(1e-9, 1.5),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_logarithm_undoes_the_exponential_below_a_right_angle(rank, extra, size, seed):
    base = orthonormal(rank, rank + extra, seed)
    tangent = np.random.default_rng(seed + 1).normal(size=base.shape)
    tangent -= tangent @ base.T @ base
    tangent *= size / np.linalg.norm(tangent, 2)
    basis = grassmann_exp(base, tangent)
    np.testing.assert_allclose(grassmann_log(base, basis), tangent, rtol=0, atol=1e-12)


@given(rank=st.integers(1, 5), extra=st.integers(0, 12), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_logarithm_has_the_principal_angles_and_sees_subspaces_only(rank, extra, seed):
    base, basis = (orthonormal(rank, rank + extra, seed + i) for i in (0, 1))
    turn, other_turn = (orthonormal(rank, rank, seed + i) for i in (2, 3))
    tangent = grassmann_log(base, basis)
    np.testing.assert_allclose(tangent @ base.T, 0, atol=1e-12)
    angles = np.linalg.svd(tangent, compute_uv=False)
    np.testing.assert_allclose(angles, subspace_angles(base.T, basis.T), atol=1e-7)
    turned = grassmann_log(turn @ base, other_turn @ basis)
    np.testing.assert_allclose(turned, turn @ tangent, atol=1e-9)


# -- interpolation weights


@given(st.floats(0, 1), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_weights_along_a_line_are_the_natural_cubic_spline(place, seed):
    nodes = np.cumsum(np.random.default_rng(seed).uniform(0.1, 1.0, size=6))
    at = nodes[0] + place * (nodes[-1] - nodes[0])
    expected = CubicSpline(nodes, np.eye(6), bc_type="natural")(at)
    np.testing.assert_allclose(
        interpolation_weights(nodes[:, None], np.array([at])), expected, atol=1e-9
    )


@given(n_runs=st.integers(1, 9), n_params=st.integers(1, 4), seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_weights_are_exact_at_nodes_and_for_linear_functions(n_runs, n_params, seed):
    rng = np.random.default_rng(seed)
    nodes = rng.normal(size=(n_runs, n_params))
    assume(n_runs == 1 or pdist(nodes).min() > 0.03)  # nearer ones cost digits
    nodes *= [1e-3, 1.0, 1e4, 1.0][:n_params]
    np.testing.assert_allclose(
        [interpolation_weights(nodes, node) for node in nodes], np.eye(n_runs), atol=1e-8
    )
    inside = rng.dirichlet(np.ones(n_runs)) @ nodes
    weights = interpolation_weights(nodes, inside)
    assert weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(
        weights @ nodes, inside, rtol=0, atol=1e-8 * max(1e-3, np.abs(nodes).max())
    )


# -- the compressor


def test_rotation_is_interpolated_exactly():
    X, y = rotations()
    fitted = GrassmannPOD(2, center=False).fit(X, y)
    assert fitted.at_ == pytest.approx(0.5)
    for mu in (0.11, 0.5, 0.93):
        angles = subspace_angles(fitted.at_parameter(mu).components_.T, rotation(mu).T[:, :2])
        assert angles.max() < 1e-8
    with pytest.warns(UserWarning, match="extrapolated"):  # still along the geodesic
        beyond = fitted.at_parameter(1.6)
    assert subspace_angles(beyond.components_.T, rotation(1.6).T[:, :2]).max() < 1e-8


@pytest.mark.parametrize("center", [True, False])
def test_trained_parameters_get_their_own_subspace_and_mean(center):
    X, y = pulses()
    family = GrassmannPOD(4, center=center).fit(X, y)
    for j, speed in enumerate(SPEEDS):
        there, own = family.at_parameter(speed), POD(4, center=center).fit(pulse(speed))
        assert subspace_angles(there.components_.T, own.components_.T).max() < 1e-8
        np.testing.assert_allclose(there.mean_, own.mean_, atol=1e-10)
        np.testing.assert_allclose(family.local_means_[j], own.mean_, atol=1e-12)
        local = family.local_components_[4 * j : 4 * j + 4]
        np.testing.assert_allclose(there.components_, local, atol=1e-10)


def test_unseen_parameter_beats_nearest_basis_and_global_basis():
    X, y = pulses()
    family, everything = GrassmannPOD(4).fit(X, y), POD(4).fit(X)
    for speed in (0.545, 0.66, 0.75, 0.855):
        unseen = pulse(speed)
        nearest = POD(4).fit(pulse(SPEEDS[np.abs(SPEEDS - speed).argmin()]))
        best, ours, near, common = (
            relative_error(fitted, unseen)
            for fitted in (POD(4).fit(unseen), family.at_parameter(speed), nearest, everything)
        )
        assert ours - best < 0.1 * (near - best)
        assert ours - best < 0.1 * (common - best)


def test_subspace_converges_as_a_cubic_spline_does():
    own = POD(3).fit(pulse(0.7)).components_
    n_runs, largest = np.array([4, 8, 16]), []
    for n in n_runs:
        X, y = pulses(np.linspace(0.5, 0.9, n))  # 0.7 lies midway between two of them
        basis = GrassmannPOD(3, at=0.7).fit(X, y).components_
        largest.append(subspace_angles(basis.T, own.T).max())
    orders = -np.diff(np.log(largest)) / np.diff(np.log(n_runs - 1))
    assert (orders > 3.5).all()


def test_only_the_subspaces_of_the_runs_matter():
    """Other coefficients give each run other POD modes of the same subspace."""
    (X, y), (other, _) = rotations(seed=0), rotations(seed=60)
    modes, other_modes = (POD(2, center=False).fit(rows[:8]).components_ for rows in (X, other))
    assert np.abs(modes - other_modes).max() > 0.1
    one, two = (GrassmannPOD(2, at=0.4, center=False).fit(rows, y) for rows in (X, other))
    np.testing.assert_allclose(
        one.components_.T @ one.components_, two.components_.T @ two.components_, atol=1e-10
    )


def test_latent_coordinates_move_steadily_with_the_parameter():
    X, y = rotations()
    raw = [POD(2, center=False).fit(X[y == a]).components_ for a in ANGLES]
    assert max(np.abs(np.diff(raw, axis=0)).max(axis=(1, 2))) > 0.3  # the modes themselves jump
    family = GrassmannPOD(2, center=False).fit(X, y)
    bases = np.array([family.at_parameter(a).components_ for a in np.linspace(0, 1, 101)])
    steps = np.linalg.norm(np.diff(bases, axis=0), axis=(1, 2))
    # A plane that turns by 0.01 carries one unit vector along that arc, and keeps the other.
    np.testing.assert_allclose(steps, 2 * np.sin(0.005), rtol=1e-6)


def test_basis_agrees_with_that_of_the_nearest_run():
    X, y = pulses()
    family = GrassmannPOD(4, at=0.66).fit(X, y)
    nearest = family.local_components_.reshape(5, 4, -1)[2]
    np.testing.assert_allclose(align(family.components_, nearest), family.components_, atol=1e-10)
    middle = POD(4).fit(pulse(0.7)).components_
    np.testing.assert_allclose(nearest, middle, atol=1e-10)
    for local in family.local_components_.reshape(5, 4, -1):
        np.testing.assert_allclose(align(local, middle), local, atol=1e-10)


def test_another_parameter_is_the_same_as_fitting_there():
    X, y = pulses()
    family = GrassmannPOD(3).fit(X, y)
    before = family.components_.copy()
    moved, fitted = family.at_parameter(0.62), GrassmannPOD(3, at=[0.62]).fit(X, y)
    np.testing.assert_array_equal(moved.components_, fitted.components_)
    np.testing.assert_array_equal(moved.transform(X), fitted.transform(X))
    np.testing.assert_array_equal(family.components_, before)
    assert (moved.at, moved.at_, family.at) == (0.62, [0.62], None)
    np.testing.assert_allclose(fitted.components_ @ fitted.components_.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(  # the mean by the same spline
        moved.mean_, CubicSpline(SPEEDS, family.local_means_, bc_type="natural")(0.62), atol=1e-10
    )


def test_several_parameters():
    """Two parameters that turn two planes: exact at the nodes, close between them."""

    def run(a, b):
        modes = np.zeros((2, 6))
        modes[0, :2], modes[1, 2:4] = (np.cos(a), np.sin(a)), (np.cos(b), np.sin(b))
        return np.random.default_rng(0).normal(size=(8, 2)) @ modes

    grid = [(a, b) for a in (0.0, 0.5, 1.0) for b in (0.0, 0.5, 1.0)]
    X, y = np.concatenate([run(*g) for g in grid]), np.repeat(grid, 8, axis=0)
    family = GrassmannPOD(2, center=False).fit(X, y * [1.0, 1e6])  # whatever their units
    for a, b in [*grid, (0.2, 0.9), (0.7, 0.35)]:
        basis = family.at_parameter([a, 1e6 * b]).components_
        expected = np.linalg.svd(run(a, b), full_matrices=False)[2][:2]
        assert subspace_angles(basis.T, expected.T).max() < 1e-7


def test_single_run():
    X = pulse(0.7)
    own = POD(3).fit(X)
    for fitted in (GrassmannPOD(3).fit(X), GrassmannPOD(3, at=0.7).fit(X, np.full(25, 0.7))):
        np.testing.assert_allclose(fitted.components_, own.components_, atol=1e-12)
        np.testing.assert_allclose(fitted.transform(X), own.transform(X), atol=1e-10)
    assert np.isnan(GrassmannPOD(3).fit(X).at_).all()
    with pytest.raises(ValueError, match="needs a fit with y"):
        GrassmannPOD(3).fit(X).at_parameter(0.7)


def test_outside_of_the_trained_parameters_it_warns():
    X, y = pulses()
    with pytest.warns(UserWarning, match=r"\[0.95\] is outside .* range from \[0.5\] to \[0.9\]"):
        GrassmannPOD(2, at=0.95).fit(X, y)
    triangle = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
    X = np.concatenate([rotation(0.3 * k) for k in range(3)])
    family = GrassmannPOD(2, center=False).fit(X, np.repeat(triangle, 8, axis=0))
    with pytest.warns(UserWarning, match="convex hull"):
        family.at_parameter([0.9, 0.9])  # in the box, but outside the triangle
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for edge in [*triangle, (0.5, 0.5), (0.2, 0.3)]:
            family.at_parameter(edge)
    together = np.repeat([(0.0, 0.0), (1.0, 10.0), (2.0, 20.0)], 8, axis=0)
    family = GrassmannPOD(2, center=False).fit(X, together)
    assert (
        subspace_angles(
            family.at_parameter([1.5, 15.0]).components_.T, rotation(0.45).T[:, :2]
        ).max()
        < 1e-8
    )
    with pytest.warns(UserWarning, match="convex hull"):
        family.at_parameter([1.5, 10.0])  # off the line that the runs lie on


@pytest.mark.parametrize("shuffle", [False, True])
def test_lazy_arrays_give_the_same(shuffle):
    X, y = pulses()
    order = np.random.default_rng(0).permutation(len(X)) if shuffle else np.arange(len(X))
    direct = GrassmannPOD(3, at=0.66).fit(X, y)
    lazy = GrassmannPOD(3, at=0.66).fit(da.from_array(X[order], chunks=(20, 50)), y[order])
    assert subspace_angles(lazy.components_.T, direct.components_.T).max() < 1e-6
    np.testing.assert_allclose(lazy.mean_, direct.mean_, atol=1e-10)
    Z = lazy.transform(da.from_array(X, chunks=(20, 50)))
    assert isinstance(Z, np.ndarray)
    np.testing.assert_allclose(Z, direct.transform(X), atol=1e-6)


def test_float32_stays_float32_and_input_is_not_written_to():
    X, y = pulses()
    X = X.astype(np.float32)
    before, y_before = X.copy(), y.copy()
    fitted = GrassmannPOD(3, at=0.66).fit(X, y)
    Z = fitted.transform(X)
    for array in (fitted.components_, fitted.mean_, fitted.local_components_, Z):
        assert array.dtype == np.float32
    assert fitted.inverse_transform(Z).dtype == np.float32
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(y, y_before)
    C = fitted.components_.astype(float)
    np.testing.assert_allclose(C @ C.T, np.eye(3), atol=1e-6)
    exact = GrassmannPOD(3, at=0.66).fit(X.astype(float), y)
    np.testing.assert_allclose(Z, exact.transform(X.astype(float)), atol=2e-5)


@pytest.mark.parametrize(
    ("y", "at", "message"),
    [
        (["a", "b"], None, "y must hold the parameters of each row, as numbers"),
        ([1.0, np.inf], None, "y contains NaN or infinity"),
        ([1.0, 2.0], [1.0, 2.0], "The parameter must be 1 finite numbers"),
        ([1.0, 2.0], [np.nan], "The parameter must be 1 finite numbers"),
        ([1.0, 2.0], "middle", "'at' parameter of GrassmannPOD"),
        (
            [1.0, 2.0],
            None,
            r"at y = \[.*\] cannot be interpolated: a direction of one is orthogonal",
        ),
    ],
)
def test_bad_input_is_named(y, at, message):
    X = np.array([[1.0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 3, 0]])
    with pytest.raises(ValueError, match=message):
        GrassmannPOD(1, at=at, center=False).fit(X, np.repeat(y, 2))


def test_run_without_a_basis_is_named():
    X, y = rotations()
    with pytest.raises(
        ValueError, match=r"run at y = \[0.0\] \(8 rows\) has no basis of n_comp.*=3"
    ):
        GrassmannPOD(3, center=False).fit(X, y)
    with pytest.raises(ValueError, match=r"run at y = \[2.0\] \(1 rows\)"):
        GrassmannPOD(1).fit(X, np.r_[np.ones(31), 2.0])
