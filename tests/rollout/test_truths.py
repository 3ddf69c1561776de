import numpy as np
import pytest

import rom
from rom.rollout.cost import break_even
from rom.rollout.truths import windows


def circle(t):
    return np.c_[np.cos(t), np.sin(t)]


@pytest.fixture(scope="module")
def fast_clock():
    """A model that turns 30 % too fast: its error passes 0.4 at lead times from 1.2 on."""
    t = np.arange(0, 60, 0.1)
    operators = rom.OperatorInference("A")
    return rom.ROM(rom.Identity(), operators, preprocess=rom.Scale(center=False, scale=False)).fit(
        circle(1.3 * t), t=t
    )


def stretches(steps, spans):
    """Times of stretches far apart, each with its own step, and their labels."""
    times = [np.arange(0, span + step / 2, step) for step, span in zip(steps, spans, strict=True)]
    labels = np.repeat(np.arange(len(times)), [len(t) for t in times])
    return np.concatenate([1e4 * k + t for k, t in enumerate(times)]), labels


def test_a_stretch_of_few_times_does_not_cut_the_others_short(fast_clock):
    t, labels = stretches([0.1] * 20 + [3.0], [12.0] * 20 + [60.0])
    report = rom.check(fast_clock, circle(t), t=t, trajectory=labels, horizon=6.0, n_starts=20)
    np.testing.assert_allclose(report.data["horizon"], 6.0)
    # |e^{0.3 it} - 1| = 2 sin(0.15 t) passes 0.4 at t = 1.34.
    assert 1.2 - 1e-9 <= report.reliable_time <= 1.4
    assert "uneven" not in str(report)
    assert "too few times in it, and so not tested: 1." in str(report)


def test_levels_hold_for_the_starts_that_were_followed_so_far(fast_clock):
    t, labels = stretches([0.1, 0.1, 0.16] * 10, [9.0] * 30)
    report = rom.check(fast_clock, circle(t), t=t, trajectory=labels, horizon=1.0, n_starts=30)
    horizon = report.data["horizon"].values
    assert horizon.min() < 0.7
    assert horizon.max() > 0.9
    # None fails so soon: each start holds as far as it was compared.
    assert report.data.attrs["held_time"] == pytest.approx(np.sort(horizon)[2])
    assert "starts were compared to lead times from 0.6 to 0.96" in str(report)
    assert f"to lead time {horizon.min():.4g}." in report.reasons[0]


def test_windows_take_every_so_many_rows_but_not_of_inputs():
    t = np.concatenate([np.arange(0, 50, 0.5), 100 + np.arange(0, 50, 1.0)])
    pieces = [slice(0, 100), slice(100, 150)]
    for thin, steps in ((True, {1, 2}), (False, {1})):
        found, n_sparse = windows(t, pieces, 10.0, 30, thin=thin)
        assert n_sparse == 0
        assert {s.step for s in found} == steps
        assert {len(t[s]) for s in found} == {11}
        assert all(t[s][-1] - t[s][0] <= 10.0 for s in found)
        assert all((s.start < 100) == (s.stop <= 100) for s in found)


def test_a_stretch_of_many_times_does_not_push_the_others_out():
    t, labels = stretches([1.0] * 20 + [0.05], [12.0] * 20 + [20.0])
    ends = np.append(np.flatnonzero(np.diff(labels)) + 1, len(t))
    pieces = [slice(*ends_) for ends_ in zip([0, *ends[:-1]], ends, strict=True)]
    found, n_sparse = windows(t, pieces, 6.0, 30)
    assert n_sparse == 0
    assert len({labels[s.start] for s in found}) > 10
    assert all(t[s][-1] - t[s][0] == pytest.approx(6.0) for s in found)


def test_maps_go_by_their_step_whatever_rounding_says():
    t = np.arange(0, 60, 0.1).astype(np.float32)
    model = rom.ROM(rom.Identity(), rom.DMD()).fit(circle(t[:300]), t=t[:300])
    report = rom.check(model, circle(t[300:]), t=t[300:], horizon=0.2, n_starts=20)
    assert report.verdict.startswith("stable and accurate")


def test_histories_at_another_step_are_refused():
    t = np.arange(0, 60, 0.1)
    delayed = rom.ROM(rom.Identity(), rom.OperatorInference("A", ridge=1e-10), n_delays=4)
    delayed.fit(circle(t), t=t)
    t, labels = stretches([0.1] * 12 + [0.05] * 8, [12.0] * 20)
    with pytest.raises(ValueError, match=r"4 snapshots 0.1 apart.* reference are 0.05 to 0.1"):
        rom.check(delayed, circle(t), t=t, trajectory=labels, horizon=6.0)


def test_training_states_as_starts_are_neither_new_nor_independent():
    chaos = rom.fom.Lorenz63()
    t = np.arange(0, 1.2, 0.01)
    X = chaos.simulate(chaos.initial_state(), t)
    model = rom.ROM(rom.Identity(), rom.OperatorInference("cA")).fit(X)
    report = rom.check(model, chaos, t=t[:41], n_starts=100, thorough=True)
    assert report.data.attrs["n_seen"] == np.sum(report.data["start_time"] + 0.4 <= t[-1])
    assert "checked on data that the model was fitted to" in report.verdict
    assert report.data.attrs["n_apart"] == 3  # 1.2 / 0.4
    assert "band_radius" not in report.data
    again = rom.check(model, chaos, starts=X.values[:60:10], t=t[:41])
    assert again.data.attrs["n_seen"] == 6
    stronger = rom.check(model, rom.fom.Lorenz63(rho=40.0), t=t[:41])
    assert stronger.data.attrs["n_seen"] == 0
    others = chaos.simulate(X.values[-1], np.arange(0, 40, 2.0)).values[1:]
    report = rom.check(model, chaos, starts=others, t=t[:41], thorough=True)
    assert report.data.attrs["n_seen"] == 0
    assert report.data.attrs["n_apart"] == len(others)
    assert "band_radius" in report.data


def test_training_is_paid_for_by_the_length_of_its_trajectories():
    """Of uneven times, and not across the seam of two trajectories."""
    chaos = rom.fom.Lorenz63()
    times = 1 + np.geomspace(0.01, 2, 60), 50 + np.geomspace(0.01, 3, 60)
    X = np.concatenate([chaos.simulate(chaos.initial_state(), t).values for t in times])
    model = rom.ROM(rom.Identity(), rom.OperatorInference("cA")).fit(
        X, t=np.concatenate(times), trajectory=np.repeat([0, 1], 60)
    )
    report = rom.check(model, chaos, starts=X[:3], t=np.arange(0, 0.5, 0.01), thorough=True)
    full, reduced = (float(report.data[f"{n}_seconds"].median()) for n in ("full", "reduced"))
    made = report.data.attrs["fit_seconds"] + (1.99 + 2.99) / 0.49 * full
    assert report.data.attrs["break_even_runs"] == pytest.approx(break_even(made, full, reduced))
