import sys

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.compress import autoencoder, gram
from rom.compress.autoencoder import Autoencoder
from rom.compress.pod import POD


def quick(n_components=2, **options):
    return Autoencoder(
        n_components, **{"hidden": (32,), "max_iter": 400, "random_state": 0, **options}
    )


def conv(n_components=2, **options):
    return quick(n_components, **{"layers": "conv", "hidden": (4, 8), "max_iter": 60, **options})


def pulse(n_time=80, n_space=64, width=0.08):
    """A Gaussian pulse that moves by 0.7 of the domain."""
    x, t = np.linspace(0, 1, n_space), np.linspace(0, 1, n_time)[:, None]
    return np.exp(-((x - 0.15 - 0.7 * t) ** 2) / (2 * width**2))


def circle(n_time=120, n_space=40, harmonics=4, seed=0):
    """A closed curve: harmonics of one angle in orthonormal directions, and that angle."""
    angle = np.linspace(0, 2 * np.pi, n_time, endpoint=False)
    k = np.arange(1, harmonics + 1)
    waves = np.hstack([np.cos(angle[:, None] * k) / k, np.sin(angle[:, None] * k) / k])
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(n_space, 2 * harmonics)))[0]
    return waves @ Q.T + 3.0, angle


def spot(n_time=60, ny=12, nx=10):
    """A spot that goes round on a plane grid."""
    y, x = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    angle = np.linspace(0, 2 * np.pi, n_time, endpoint=False)[:, None]
    squares = (x.ravel() - np.cos(angle) / 2) ** 2 + (y.ravel() - np.sin(angle) / 2) ** 2
    return np.exp(-squares / 0.1)


def error(model, X):
    return np.linalg.norm(model.inverse_transform(model.transform(X)) - X) / np.linalg.norm(
        X - X.mean(axis=0)
    )


def arrays(model):
    """All fitted numbers, by name."""
    found = {}
    for name, value in vars(model).items():
        if name.endswith("_"):
            parts = value if isinstance(value, list) else [value]
            found |= {f"{name}{i}": part for i, part in enumerate(parts)}
    return found


def assert_same(a, b):
    a, b = arrays(a), arrays(b)
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert_array_equal(value, b[name], err_msg=name)


@parametrize_with_checks([quick(1, max_iter=3), conv(1, max_iter=2, hidden=(2,))])
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def moving():
    X = pulse()
    return X, quick().fit(X[::2])


def test_states_between_the_snapshots_are_far_nearer_than_by_pod(moving):
    X, model = moving
    assert error(model, X[1::2]) < 0.2 * error(POD(2).fit(X[::2]), X[1::2])


def test_two_latent_states_hold_a_circle_that_pod_needs_eight_for():
    X, angle = circle()
    model = quick().fit(X)
    assert error(model, X) < 0.5 * error(POD(4).fit(X), X)
    assert error(POD(8).fit(X), X) < 1e-12
    # They go round once, as the angle does.
    Z = model.transform(X)
    turned = np.diff(np.unwrap(np.arctan2(Z[:, 1], Z[:, 0])))
    assert abs(turned.sum()) == pytest.approx(np.ptp(angle), rel=0.1)


@pytest.mark.parametrize("make", [quick, conv])
def test_before_training_it_is_pod(make):
    """With a step size of nearly nothing, the latent states are POD's, standardised."""
    X = pulse()
    model, pod = make(3, learning_rate=1e-15, max_iter=1).fit(X), POD(3).fit(X)
    Z = pod.transform(X)
    assert_allclose(model.transform(X), Z / Z.std(axis=0), atol=1e-6)
    assert_allclose(
        model.inverse_transform(model.transform(X)), pod.inverse_transform(Z), atol=1e-6
    )
    expected = np.sqrt(1 - (pod.singular_values_**2).sum() / (model.singular_values_**2).sum())
    everything = make(3, learning_rate=1e-15, max_iter=1, validation_fraction=0).fit(X)
    assert_allclose(everything.history_[0, 1:], expected, rtol=1e-6)


@pytest.mark.parametrize(("seed", "rate"), [(0, 3e-3), (1, 3e-3), (2, 1.0)])
def test_on_held_out_rows_it_is_never_worse_than_pod(seed, rate):
    """Not on noise, where there is nothing to learn, and not when training diverges."""
    X = np.random.default_rng(seed).normal(size=(60, 20)) * 0.8 ** np.arange(20)
    model = quick(3, random_state=seed, learning_rate=rate, n_modes=10, max_iter=100).fit(X)
    held = np.random.RandomState(seed).permutation(60)[:9]
    pod = POD(10).fit(X)
    Z = pod.transform(X[held])
    lost = np.linalg.norm(pod.transform(model.inverse_transform(model.transform(X[held]))) - Z)
    assert lost <= np.linalg.norm(Z[:, 3:]) * (1 + 1e-9)
    assert_allclose(lost / model.scale_ / 3, model.validation_error_, rtol=1e-9)
    assert model.validation_error_ == model.history_[:, 2].min() <= model.history_[0, 2]


def test_training_ends_when_the_held_out_error_stalls():
    X = np.random.default_rng(0).normal(size=(60, 20))
    model = quick(3, patience=2, max_iter=2000).fit(X)
    assert model.stop_reason_ == "the held-out error stopped falling"
    assert model.n_iter_ == model.history_[-1, 0] < 2000
    assert model.history_[:, 2].argmin() == len(model.history_) - 1 - 2
    longer = quick(3, max_iter=60).fit(X)
    assert (longer.stop_reason_, longer.n_iter_) == ("max_iter was reached", 60)
    assert longer.history_[:, 0].tolist() == [0, 50, 60]


def test_a_fitted_dense_model_needs_no_torch(moving, monkeypatch):
    X, model = moving
    Z = model.transform(X)
    for module in ("torch", "rom.compress.network"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it raises
    assert_array_equal(model.transform(X), Z)
    assert np.isfinite(model.inverse_transform(Z)).all()
    with pytest.raises(ImportError):
        quick().fit(X)


@pytest.mark.parametrize("make", [quick, conv])
def test_latent_states_are_standardised(make):
    X = 5 + 3 * pulse(40, 32)
    model = make(max_iter=10)
    Z = model.fit_transform(X)
    assert_allclose(Z.mean(axis=0), 0, atol=1e-10)
    assert_allclose(Z.std(axis=0), 1, rtol=1e-10)
    assert_allclose(model.transform(X), Z, atol=1e-10)


@pytest.mark.parametrize("make", [quick, conv])
def test_same_seed_same_bits_other_seed_other_weights(make):
    X = pulse(40, 32)
    model = make(max_iter=10).fit(X)
    assert_same(model, clone(model).fit(X))
    other = make(max_iter=10, random_state=1).fit(X)
    assert not np.array_equal(model.encoder_weights_[0], other.encoder_weights_[0])


@pytest.mark.parametrize("make", [quick, conv])
def test_fitted_arrays_and_parameters_are_the_whole_model(make):
    X = pulse(40, 32)
    model = make(max_iter=10).fit(X)
    copy = clone(model)
    for name, value in vars(model).items():
        if name.endswith("_"):
            value = [a.copy() for a in value] if isinstance(value, list) else value
            setattr(copy, name, value)
    Z = model.transform(X)
    assert_array_equal(copy.transform(X), Z)
    assert_array_equal(copy.inverse_transform(Z), model.inverse_transform(Z))


@pytest.mark.parametrize("make", [quick, conv])
def test_fit_leaves_its_data_and_the_process_as_they_were(make):
    import torch

    X = pulse(40, 32)
    before = X.copy()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    model = make(max_iter=5).fit(X)
    Z = model.transform(X)
    Z_before = Z.copy()
    model.inverse_transform(Z)
    assert_array_equal(X, before)
    assert_array_equal(Z, Z_before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


@pytest.mark.parametrize(
    ("X", "shape"), [(pulse(60, 63), None), (spot(), (12, 10)), (spot(), (120,))]
)
def test_convolutions_learn_on_grids_of_one_and_two_dimensions(X, shape):
    model = conv(shape=shape, max_iter=60, learning_rate=1e-2).fit(X[::2])
    assert error(model, X[1::2]) < 0.5 * error(POD(2).fit(X[::2]), X[1::2])
    kernels = model.encoder_weights_[:2]
    assert {k.ndim for k in kernels} == {3 if shape is None or len(shape) == 1 else 4}


def test_a_convolution_moves_with_its_field():
    """Away from the edges, a field two cells on gives features one cell on, at stride 2."""
    import torch

    from rom.compress.network import Convolutional

    network = Convolutional(torch.eye(64, dtype=torch.float64), 32, (1,), (64,))
    encoder, _ = network.initial(np.random.RandomState(0))
    encoder[-2] = np.eye(32)
    tensors = [torch.tensor(p) for p in encoder]
    field = torch.zeros(1, 64, dtype=torch.float64)
    field[0, 20:30] = torch.linspace(0, 1, 10, dtype=torch.float64)
    here, there = (network.encode(tensors, q)[0] for q in (field, field.roll(2)))
    assert_allclose(there[1:], here[:-1], atol=1e-14)
    assert here.abs().max() > 0.1


@pytest.mark.parametrize("make", [quick, conv])
def test_dask_gives_the_same(make, monkeypatch):
    X = pulse(60, 48)
    model = make(max_iter=20, n_modes=8).fit(X)
    monkeypatch.setattr(gram, "BLOCK_BYTES", 8 * 48 * 7)
    lazy = da.from_array(X, chunks=(60, 16))
    again = make(max_iter=20, n_modes=8).fit(lazy)
    assert_allclose(again.transform(lazy), model.transform(X), atol=1e-4)
    assert_allclose(again.history_, model.history_, rtol=1e-4)
    assert_allclose(model.transform(lazy), model.transform(X), atol=1e-10)
    assert isinstance(model.transform(lazy), np.ndarray)


@pytest.mark.parametrize("make", [quick, conv])
def test_float32_stays_float32(make):
    X = pulse(60, 48).astype(np.float32)
    model = make(max_iter=20).fit(X)
    Z = model.transform(X)
    assert {a.dtype for a in (model.components_, model.mean_, Z)} == {np.dtype(np.float32)}
    assert model.fit_transform(X).dtype == model.inverse_transform(Z).dtype == np.float32
    assert model.inverse_transform(Z.astype(np.float64)).dtype == np.float64


@pytest.mark.parametrize("max_iter", [1, 2, 51])
@pytest.mark.parametrize("n_time", [2, 3, 65])
def test_few_rows_and_few_steps(n_time, max_iter):
    X = np.random.default_rng(0).normal(size=(n_time, 5))
    model = quick(1, max_iter=max_iter).fit(X)
    assert model.n_iter_ == max_iter
    assert np.isfinite(model.inverse_transform(model.transform(X))).all()


def test_rank_of_the_pod_underneath():
    X, _ = circle(harmonics=3)
    assert len(quick(max_iter=1).fit(X).components_) == 6  # all there are
    assert len(quick(max_iter=1, n_modes=4).fit(X).components_) == 4
    weak = X + 1e-6 * np.random.default_rng(0).normal(size=X.shape)
    assert len(quick(max_iter=1).fit(weak).components_) == 6  # enough energy
    noise = np.random.default_rng(0).normal(size=(150, 100))
    assert len(quick(max_iter=1).fit(noise).components_) == autoencoder.MAX_MODES


def test_each_row_comes_once_before_any_comes_again():
    from rom.compress.network import _batches

    batches = list(_batches(100, 7, np.random.RandomState(0)))
    assert len(batches) == 7
    assert_array_equal(np.sort(np.concatenate(batches[:3])), np.arange(100))
    assert_array_equal(np.sort(np.concatenate(batches[3:6])), np.arange(100))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (quick(9), "n_components=9 must be at most the rank of the snapshots, 8"),
        (quick(3, n_modes=2), "n_modes=2 must be at least n_components=3"),
        (quick(n_modes=9), "n_modes=9 .*numerical rank 8"),
        (quick(n_modes=41), r"n_modes=41 .*at most min\(n_time, n_space\) = 40"),
        (quick(hidden=(8, 0)), r"hidden must hold positive whole numbers, but is \(8, 0\)"),
        (conv(hidden=()), "at least one convolution"),
        (conv(shape=(5, 9)), r"shape=\(5, 9\) has 45 cells, but X has 40 columns.*none masked"),
        (conv(shape=(2, 4, 5)), r"shape must be \(nx,\) or \(ny, nx\)"),
        (conv(shape=(-5, -8)), "shape must hold positive whole numbers"),
        (quick(layers="lstm"), "layers"),
        (quick(validation_fraction=0.6), "validation_fraction"),
        (quick(0), "n_components"),
    ],
)
def test_bad_parameters_are_named(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(np.vstack([np.eye(8, 40)] * 3 + [-np.eye(8, 40)] * 3))  # rank 8


def test_bad_data_are_named():
    with pytest.raises(ValueError, match="constant"):
        quick().fit(np.ones((5, 4)))
    X = pulse(20, 30)
    X[3, 2] = np.nan
    for bad in (X, da.from_array(X, chunks=(20, 10))):
        with pytest.raises(ValueError, match=r"NaN|not finite"):
            quick().fit(bad)
