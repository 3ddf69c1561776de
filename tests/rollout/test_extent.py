"""The range of training states: what is inside, exact sizes, and invariance under affine maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rom.rollout.extent import extent, first_outside

KINDS = ("hull", "ellipsoid", "box")


@pytest.fixture(params=[1, 2, 3, 5])
def states(request):
    return np.random.default_rng(0).normal(size=(300, request.param)) + 5


@pytest.mark.parametrize("kind", KINDS)
def test_all_training_states_are_inside_and_some_touch(states, kind):
    before = states.copy()
    size = extent(states, kind).size(states)
    assert size.max() == pytest.approx(1)
    np.testing.assert_array_equal(states, before)


@pytest.mark.parametrize("kind", KINDS)
def test_size_is_how_far_the_set_must_be_stretched(states, kind):
    found = extent(states, kind)
    away = states - found.centre
    np.testing.assert_allclose(
        found.size(found.centre + 3 * away), 3 * found.size(states), rtol=1e-9
    )
    assert found.size(found.centre[None]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_means_of_inside_states_are_inside(states, kind):
    weights = np.random.default_rng(1).dirichlet(np.ones(len(states)), 50)
    assert extent(states, kind).size(weights @ states).max() <= 1


@pytest.mark.parametrize("kind", ["hull", "ellipsoid"])
def test_an_affine_map_changes_no_size(states, kind):
    rng = np.random.default_rng(2)
    map_, shift = rng.normal(size=(2, states.shape[1], states.shape[1]))
    others = 2 * rng.normal(size=(40, states.shape[1])) + 5
    plain = extent(states, kind).size(others)
    mapped = extent(states @ map_ + shift[0], kind).size(others @ map_ + shift[0])
    np.testing.assert_allclose(mapped, plain, rtol=1e-5)


def test_the_hull_is_inside_the_box_and_a_corner_tells_them_apart():
    triangle = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    corner = np.array([[0.9, 0.9]])
    assert extent(triangle, "box").size(corner) == pytest.approx(0.8)
    assert extent(triangle, "hull").size(corner) == pytest.approx(3.4)


def test_the_ellipsoid_of_a_sphere_is_the_sphere():
    sphere = np.concatenate([np.eye(6), -np.eye(6)])
    found = extent(sphere, "ellipsoid")
    points = np.random.default_rng(0).normal(size=(20, 6))
    np.testing.assert_allclose(found.size(points), np.linalg.norm(points, axis=1))


def test_auto_takes_what_the_states_allow():
    rng = np.random.default_rng(0)
    assert extent(rng.normal(size=(100, 4))).kind == "hull"
    assert extent(rng.normal(size=(100, 5))).kind == "ellipsoid"
    assert extent(rng.normal(size=(10, 5))).kind == "box"
    assert extent(rng.normal(size=(100, 1)) * [1.0, 2.0]).kind == "box"  # a line in the plane
    assert extent(np.arange(9.0)[:, None]).kind == "hull"


def test_a_line_in_the_plane_has_no_hull():
    with pytest.raises(ValueError, match=r"10 states of rank 2 have no hull.*kind='box'"):
        extent(np.outer(np.arange(10.0), [1.0, 2.0]), "hull")


@pytest.mark.parametrize("kind", ["ellipsoid", "box"])
def test_rounding_in_a_direction_that_never_moved_is_no_departure(kind):
    circle = np.array([[np.cos(a), np.sin(a), 3.0] for a in np.linspace(0, 6, 50)])
    found = extent(circle, kind)
    assert found.size(circle + np.array([0, 0, 1e-12])).max() <= 1 + 1e-6
    assert found.size(circle + np.array([0, 0, 0.01])).min() > 2


@pytest.mark.parametrize("kind", ["ellipsoid", "box"])
def test_a_direction_that_moves_little_still_has_its_width(kind):
    circle = np.array([[np.cos(a), 1e-4 * np.sin(a)] for a in np.linspace(0, 2 * np.pi, 101)])
    above = np.array([[0.0, 3e-4]])
    assert extent(circle, kind).size(above) == pytest.approx(3, rel=0.02)


def test_the_hull_of_a_cycle_has_few_faces_and_stays_close():
    """Any two of its n states are the ends of an edge: the hull has n (n - 3) / 2 faces."""
    a = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    cycle = np.column_stack([np.cos(a), np.sin(a), np.cos(2 * a), np.sin(2 * a)])
    found = extent(cycle)
    assert found.kind == "hull"
    assert len(found.normals) < 10_000
    size = found.size(cycle)
    assert size.min() > 0.99
    assert size.max() == pytest.approx(1)


def test_the_one_state_above_a_plane_is_found():
    flat = np.zeros((500, 3))
    flat[:, :2] = np.random.default_rng(0).uniform(-1, 1, (500, 2))
    flat[250, 2] = 1
    found = extent(flat)
    assert found.kind == "hull"
    assert found.size(flat[250:251]) == pytest.approx(1)


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=12),
              elements=st.floats(-1e6, 1e6)))  # fmt: skip
def test_any_states_have_an_extent_that_holds_them(states):
    size = extent(states).size(states)
    assert np.all(size <= 1 + 1e-6)
    assert np.all(size >= 0)


def test_the_first_time_outside():
    lead = np.arange(5.0)
    assert first_outside([0.5, 1.05, 1.2, 0.3, 2.0], lead) == 2
    assert first_outside([0.5, 1.05, 1.2, 0.3, 2.0], lead, margin=0.0) == 1
    assert np.isnan(first_outside([0.5, 1.0, 1.0, np.nan, np.nan], lead))


def test_a_rollout_that_leaves_a_limit_cycle_is_flagged_when_it_does():
    t = np.linspace(0, 8 * np.pi, 401)
    circle = np.column_stack([np.cos(t), np.sin(t)])
    spiral = circle * np.exp(0.02 * t)[:, None]
    left = first_outside(extent(circle[:200]).size(spiral), t)
    assert left == pytest.approx(np.log(1.1) / 0.02, abs=0.1)
    assert np.isnan(first_outside(extent(circle[:200]).size(circle), t))


def test_a_state_that_is_not_finite_has_no_size(states):
    bad = states[:3].copy()
    bad[1, 0] = np.nan
    for kind in KINDS:
        np.testing.assert_array_equal(
            np.isnan(extent(states, kind).size(bad)), [False, True, False]
        )


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (np.ones(4), r"shape is \(4,\)"),
        (np.ones((0, 2)), r"shape is \(0, 2\)"),
        (np.array([[1.0, np.nan], [0.0, 0.0]]), "row 0, column 1"),
    ],
)
def test_bad_states_are_refused(states, message):
    with pytest.raises(ValueError, match=message):
        extent(states)
    with pytest.raises(ValueError, match="shape"):
        extent(np.eye(3)).size(np.ones(3))


def test_no_states_have_no_sizes():
    within = extent(np.random.default_rng(0).normal(size=(50, 2)))
    assert within.size(np.empty((0, 2))).shape == (0,)
