"""What TensorBoard's own tabs show of a run, without the Carbon tab."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from fitprint import Footprint
from fitprint_tensorboard import CarbonWriter
from fitprint_tensorboard.texts import layout, summary, texts

RUN = Footprint(run_id="r", status="completed", duration_s=60.0, energy_j=7200.0, co2e_g=3.1, co2e_low_g=2.5, co2e_high_g=4.0)


@pytest.fixture
def events():
    def read(footprint, step=0):
        writer = CarbonWriter("logs")
        writer.run(footprint.to_json(epochs=False), step)
        writer.close()
        found = EventAccumulator("logs")
        found.Reload()
        return found

    return read


def string(events, tag):
    return events.Tensors(tag)[-1].tensor_proto.string_val[0]


def test_the_text_tab_has_a_summary_beside_the_record(events):
    found = events(RUN)
    assert string(found, "fitprint/summary/text_summary").startswith(
        b"**3.1 g CO2e** (2.5 g to 4 g, 95 % interval), 2 Wh in 1 min 00 s, completed"
    )
    assert Footprint.from_json(string(found, "fitprint/run/text_summary").decode()).co2e_g == 3.1


def test_the_summary_names_what_is_not_counted_first():
    footprint = Footprint(run_id="r", co2e_g=1.0, notes=("NOT COUNTED: a GPU", "something else"))
    assert summary(footprint).startswith("**NOT COUNTED: a GPU**, ")
    assert "| note | something else |" in summary(footprint)


def test_nothing_in_the_summary_is_read_as_markdown():
    footprint = Footprint(run_id="r", notes=("![x](http://example.org) | <b>*bold*</b>\n# head",))
    assert r"!\[x\](http://example.org) \| \<b\>\*bold\*\</b\> \# head" in summary(footprint)


def test_the_custom_scalars_tab_has_the_interval_as_a_margin_chart(events):
    charts = Layout.FromString(string(events(RUN), "custom_scalars__config__"))
    (category,) = charts.category
    series = category.chart[0].margin.series[0]
    assert category.title == "carbon"
    assert (series.value, series.lower, series.upper) == (
        "carbon/epoch_co2e_g",
        "carbon/epoch_co2e_low_g",
        "carbon/epoch_co2e_high_g",
    )


def test_the_layout_is_the_same_for_writers_of_torch():
    torch_summary = pytest.importorskip("torch.utils.tensorboard.summary")
    value = torch_summary.custom_scalars(layout("train/")).value[0]
    (category,) = Layout.FromString(value.tensor.string_val[0]).category
    assert category.title == "train/carbon"
    assert all("train/carbon/" in str(chart) for chart in category.chart)


def test_hyperparameters_come_with_the_first_record_only():
    writer = CarbonWriter("logs")
    record = Footprint(run_id="r", hparams={"lr": 0.1, "layers": [1, 2], "frozen": True, "none": None}).to_json(epochs=False)
    for step in range(3):
        writer.run(record, step)
    writer.close()
    found = EventAccumulator("logs")
    found.Reload()
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    known = HParamsPluginData.FromString(content).session_start_info.hparams
    assert known["lr"].number_value == pytest.approx(0.1)
    assert known["layers"].string_value == "[1, 2]"
    assert known["frozen"].bool_value is True
    assert "none" not in known
    assert len(found.Tensors("custom_scalars__config__")) == 1


def test_a_record_of_a_later_version_still_gives_a_summary():
    assert set(texts('{"run_id": "r", "schema": 9, "of_tomorrow": 1}')) == {"fitprint/run", "fitprint/summary"}
