import numpy as np
import pytest

from rom.fom.log_polar import RADIUS, factorise, laplacian, slope, stream_function


def solved(vorticity, r_max, n_r, n_k=6):
    poisson = factorise(r_max, n_r, n_k)
    modes = np.zeros((n_r, n_k), dtype=complex)
    for k, field in vorticity.items():
        modes[1:, k] = field(np.log(poisson.r / RADIUS))[1:]
    psi = np.zeros_like(modes)
    stream_function(poisson, modes, psi)
    return poisson, modes, psi


def boundary_layers(xi):
    """Exact stream function and vorticity of modes 0, 1, 3 that meet all conditions.

    Modes 1 and 3 are potential flows outside, times 1 − exp(−4 ξ²), so that the wall stops them.
    """
    r = RADIUS * np.exp(xi)
    fade = np.exp(-4 * xi**2)
    psi = {0: -(xi**2 / 2 + xi**3 / 3) / 4}
    vorticity = {0: np.exp(-2 * xi) * (1 + 2 * xi)}
    outside = {
        1: (-0.5j * (r - 0.3j / r), -0.5j * (r + 0.3j / r)),
        3: (r**-3.0, -3 * r**-3.0),
    }
    for k, (potential, its_slope) in outside.items():
        psi[k] = (1 - fade) * potential
        bend = (8 - 64 * xi**2) * fade * potential + 16 * xi * fade * its_slope
        vorticity[k] = -bend / r**2
    return psi, vorticity


@pytest.mark.parametrize("k", [0, 1, 3])
def test_stream_function_converges_with_fourth_order_and_wall_vorticity_with_third(k):
    errors = []
    for n in (129, 257):
        given = {m: (lambda xi, m=m: boundary_layers(xi)[1][m]) for m in (0, 1, 3)}
        poisson, modes, psi = solved(given, 12.0, n)
        exact_psi, exact = boundary_layers(np.log(poisson.r / RADIUS))
        errors.append([abs(modes[0, k] - exact[k][0]), abs(psi[:, k] - exact_psi[k]).max()])
    wall_order, psi_order = np.log2(np.divide(*errors))
    assert wall_order > 2.9
    assert psi_order > 3.9
    assert max(errors[1]) < 1e-3


def test_outer_boundary_is_transparent():
    """The stream function must not know where the grid ends beyond the vorticity."""
    given = {k: lambda xi: np.exp(-((xi - 1.2) ** 2) / 0.08) for k in (0, 1, 3)}
    near, _, psi_near = solved(given, RADIUS * np.exp(3.2), 65)
    far, _, psi_far = solved(given, RADIUS * np.exp(4.8), 97)
    np.testing.assert_allclose(near.h, far.h)
    np.testing.assert_allclose(psi_near, psi_far[:65], atol=1e-11 * abs(psi_far).max())


def test_without_vorticity_off_the_wall_the_mean_flow_does_not_turn():
    poisson = factorise(20.0, 65, 6)
    vorticity, psi = np.zeros((2, 65, 6), dtype=complex)
    stream_function(poisson, vorticity, psi)
    assert np.all(psi[:, 0] == 0)
    # Potential flow, ψ = (r − R²/r) sin θ, up to the thin sheet of wall vorticity.
    np.testing.assert_allclose(
        psi[:, 1].imag, -0.5 * (poisson.r - RADIUS**2 / poisson.r), atol=0.02
    )


@pytest.mark.parametrize(("operator", "power"), [(slope, 1), (laplacian, 2)])
def test_derivatives_have_fourth_order(operator, power):
    errors = []
    for n in (41, 81):
        xi = np.linspace(0, 2, n)
        f = np.repeat(np.exp(1.5j * xi)[:, np.newaxis], 2, axis=1)
        out = np.zeros_like(f)
        operator(f, xi[1], out)
        exact = (1.5j) ** power * f
        if operator is laplacian:
            exact[:, 1] -= f[:, 1]
        errors.append(abs(out - exact)[1:-2].max())
    assert 3.7 < np.log2(errors[0] / errors[1]) < 5.2
