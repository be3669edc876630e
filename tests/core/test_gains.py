"""What the last stretch of a run bought."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.footprint import EpochFootprint, Footprint
from fitprint.gains import last_stretch


def run(values, metric="val_acc", g_per_epoch=2.0, **changes):
    epochs = tuple(
        EpochFootprint(
            index=i,
            started_at="",
            duration_s=1.0,
            co2e_g=g_per_epoch,
            energy_j=1.0,
            metrics={} if value is None else {metric: value, "lr": 0.1},
        )
        for i, value in enumerate(values)
    )
    return Footprint(**{"run_id": "a", "epochs": epochs, "co2e_g": g_per_epoch * len(epochs), "energy_j": 1.0, **changes})


def plateau(at, epochs, step=0.0):
    """Rises to 0.9 by epoch ``at``, and by ``step`` in all after it."""
    rise = [0.5 + 0.4 * i / at for i in range(at + 1)]
    flat = [0.9 + step * (i + 1) / (epochs - at - 1) for i in range(epochs - at - 1)]
    return rise + flat


def test_a_plateau_is_told_with_its_price_and_what_it_bought():
    stretch = last_stretch(run(plateau(at=10, epochs=30, step=0.001)))
    assert str(stretch) == (
        "epochs 11-29 cost 63 % of the CO2e and raised val_acc by 0.1 points; stopping after epoch 10 would have saved 38 g"
    )


def test_a_loss_is_lowered_and_is_no_share():
    losses = [2.0 - 1.5 * (value - 0.5) / 0.4 for value in plateau(at=5, epochs=20, step=0.0016)]
    assert "lowered val_loss by 0.006;" in str(last_stretch(run(losses, metric="val_loss")))


def test_what_did_not_improve_at_all_is_said_so():
    assert "did not raise val_acc; stopping after epoch 4" in str(last_stretch(run([0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.89, 0.88])))
    overfitted = last_stretch(run([1.0, 0.5, 0.6, 0.7, 0.8, 0.9], metric="val_loss"))
    assert "epochs 2-5 cost 67 % of the CO2e and did not lower val_loss" in str(overfitted)


def test_a_gain_within_the_noise_is_not_claimed_as_one():
    noisy = [*plateau(at=10, epochs=11), 0.89, 0.903, 0.888, 0.905, 0.887, 0.904, 0.89, 0.901, 0.9]
    stretch = last_stretch(run(noisy))
    assert stretch.gain == pytest.approx(0.005)
    assert "by 0.5 points, within its noise" in str(stretch)


def test_a_run_that_still_improves_has_no_such_stretch():
    assert last_stretch(run([0.5 + 0.01 * i for i in range(30)])) is None


@pytest.mark.parametrize(
    "footprint",
    [
        run([]),
        run([0.5, 0.9, 0.9, 0.9]),
        run([0.9] * 9, metric="lr"),
        run([math.nan] * 9),
        run([None] * 9),
        run(plateau(10, 30), co2e_g=None),
        run(plateau(10, 30), g_per_epoch=0.0),
    ],
)
def test_where_too_little_is_known_nothing_is_said(footprint):
    assert last_stretch(footprint) is None


def test_epochs_between_two_values_of_the_metric_belong_to_the_stretch():
    values = [0.5, None, 0.7, None, 0.9, None, 0.9, None, 0.9, None]
    stretch = last_stretch(run(values))
    assert (stretch.stop_at, stretch.last, stretch.co2e_g) == (4, 9, 10.0)


def test_it_is_in_the_summary_and_on_the_page_and_not_in_the_json():
    footprint = run(plateau(at=10, epochs=30, step=0.001))
    sentence = str(last_stretch(footprint))
    assert f"  last part  {sentence}" in str(footprint)
    assert sentence in footprint.to_html()
    assert "would have saved" not in footprint.to_json()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_stretch_is_always_a_part_of_the_run(values):
    stretch = last_stretch(run(values))
    if stretch is not None:
        assert 0.2 <= stretch.share <= 1
        assert stretch.share == pytest.approx((stretch.last - stretch.stop_at) / len(values))
        assert 0 <= stretch.gain <= 0.02 * (max(values) - values[0]) + 1e-12
        assert max(values) - max(values[: stretch.stop_at + 1]) == pytest.approx(stretch.gain)
