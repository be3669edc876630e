"""What any sink is told, and what a bad one costs."""

from __future__ import annotations

import copy
import importlib.util
import logging
import pickle
import threading
import time

import pytest

from fitprint import Config, Tracker, publisher
from fitprint.errors import ConfigError
from fitprint.publisher import CLOSE_WITHIN_S
from fitprint.sinks import Sink, names
from fitprint.sinks.outlet import MOST_WAITING, Outlet


class Keeping(Sink):
    """Keeps what it is told."""

    def __init__(self):
        self.told, self.records, self.before, self.closed = [], [], [], 0

    def begin(self, before):
        self.before.append(before)

    def log(self, scalars, step):
        self.told.append((step, dict(scalars), threading.current_thread()))

    def run(self, footprint):
        self.records.append(footprint)

    def close(self):
        self.closed += 1


def test_a_sink_gets_each_epoch_under_the_public_tags_and_the_totals_at_the_end(train):
    sink = Keeping()
    footprint = train(sink)
    assert [step for step, _, _ in sink.told] == [0, 1, 1]
    first, second, last = (scalars for _, scalars, _ in sink.told)
    assert first["carbon/epoch_energy_wh"] == pytest.approx(1.1)
    assert first["carbon/part/dram_wh"] == pytest.approx(0.1)
    assert first["carbon/forecast_co2e_g"] == pytest.approx(0.22)
    assert second["carbon/total_co2e_g"] == pytest.approx(0.22)
    assert last == {
        "carbon/total_co2e_g": footprint.co2e_g,
        "carbon/total_energy_wh": pytest.approx(2.2),
        "carbon/measured_fraction": 1.0,
    }


def test_a_sink_gets_the_run_with_each_epoch_and_the_whole_record_at_the_end(train):
    sink = Keeping()
    footprint = train(sink)
    assert [record.status for record in sink.records] == ["running", "running", "completed"]
    assert [record.energy_j for record in sink.records] == [3960.0, 7920.0, 7920.0]
    assert sink.records[-1] == footprint


def test_an_epoch_that_an_exception_ends_is_told_too(train):
    sink = Keeping()

    def break_off():
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        train(sink, after_epoch=break_off)
    assert sink.told[0][1]["carbon/epoch_energy_wh"] == pytest.approx(1.1)
    assert sink.records[-1].status == "failed"
    assert sink.closed == 1


def test_blocks_are_told_under_their_number(clock, on_one_gpu):
    from fitprint.pace import Schedule

    class Callback:
        from fitprint.series import Series

        series = Series(Config(block=2, sinks=[Keeping()], ledger="off", intensity=100.0))

    callback = on_one_gpu(Callback())
    sink = callback.series.config.sinks[0]
    tracker = callback.series.begin("fit")
    tracker.begin_epoch(0, Schedule(epochs=1, batches=4))
    for batch in range(1, 5):
        clock.advance(18.0)
        tracker.look(batch)
    tracker.end_epoch(steps=4)
    callback.series.end()
    blocks = [(step, scalars["carbon/block_energy_wh"]) for step, scalars, _ in sink.told if "carbon/block_energy_wh" in scalars]
    assert blocks == [(0, pytest.approx(1.0)), (1, pytest.approx(1.0))]


def test_a_sink_works_in_a_thread_of_its_own_that_ends_with_the_run(train):
    sink = Keeping()
    train(sink)
    threads = {thread for _, _, thread in sink.told}
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    assert not next(iter(threads)).is_alive()


def test_without_sinks_there_is_no_thread_for_them(train):
    seen = []
    train(after_epoch=lambda: seen.extend(thread.name for thread in threading.enumerate()))
    assert not [name for name in seen if name.startswith("fitprint-sink")]


def test_one_object_serves_the_later_runs_of_a_callback(train):
    sink = Keeping()
    train(sink)
    train(sink)
    assert sink.before == [None, None]
    assert sink.closed == 2


def test_a_run_that_goes_on_tells_what_was_used_before(train, tmp_path):
    first, second = Keeping(), Keeping()
    options = {"ledger": str(tmp_path / "fitprint.db"), "run_id": "again"}
    train(first, epochs=range(1), **options)
    train(second, epochs=range(1, 2), **options)
    assert first.before == [None]
    assert second.before[0].energy_j == pytest.approx(3960.0)
    assert second.records[-1].energy_j == pytest.approx(7920.0)


def test_a_sink_that_fails_is_named_once_and_hurts_neither_training_nor_other_sinks(train, caplog):
    class Failing(Keeping):
        def log(self, scalars, step):
            super().log(scalars, step)
            raise OSError("no route to host")

    failing, good = Failing(), Keeping()
    with caplog.at_level(logging.WARNING, "fitprint"):
        footprint = train(failing, good)
    assert footprint.status == "completed"
    assert len(failing.told) == len(good.told) == 3
    said = [record.getMessage() for record in caplog.records if "sink" in record.getMessage()]
    assert said == [
        "the sink Failing failed (OSError('no route to host')); training goes on",
        "the sink Failing has not taken 3 of 6 records; the run's Footprint has them all",
    ]


def test_a_sink_that_cannot_begin_is_named_and_left_out(train, caplog):
    class Closed(Keeping):
        def begin(self, before):
            raise ConnectionError("closed today")

    sink = Closed()
    footprint = train(sink)
    assert footprint.energy_j == pytest.approx(7920.0)
    assert sink.told == []
    assert "the sink Closed gets nothing: closed today" in caplog.text


@pytest.mark.timeout(30)
def test_a_sink_that_hangs_costs_less_than_a_second_in_all(train, caplog):
    release = threading.Event()

    class Hanging(Sink):
        def log(self, scalars, step):
            release.wait(20)

    good = Keeping()
    began = time.monotonic()
    train(Hanging(), good, epochs=range(50))
    took_s = time.monotonic() - began
    release.set()
    assert len(good.told) == 51
    assert CLOSE_WITHIN_S <= took_s < CLOSE_WITHIN_S + 1.0
    assert "the sink Hanging has not taken 102 of 102 records in time" in caplog.text


def test_what_waits_for_a_sink_that_hangs_has_an_end_and_what_is_dropped_is_counted(caplog):
    begun, release, calls = threading.Event(), threading.Event(), []
    outlet = Outlet(Keeping(), "slow")
    outlet.start()
    outlet.put(lambda sink: (begun.set(), release.wait(20)))
    begun.wait(20)
    for number in range(MOST_WAITING + 50):
        outlet.put(lambda sink, number=number: calls.append(number))
    release.set()
    outlet.close()
    outlet.wait(10.0)
    assert calls == list(range(50, MOST_WAITING + 50))
    assert f"the sink slow has not taken 50 of {MOST_WAITING + 51} records;" in caplog.text


def test_a_sink_that_takes_all_but_does_not_close_is_told_apart(train, caplog, monkeypatch):
    monkeypatch.setattr(publisher, "CLOSE_WITHIN_S", 0.2)
    release = threading.Event()

    class Open(Keeping):
        def close(self):
            release.wait(20)

    sink = Open()
    train(sink)
    release.set()
    assert len(sink.told) == 3
    assert "the sink Open has taken all records, but was not closed in time" in caplog.text


def test_an_object_that_is_no_sink_is_refused():
    with pytest.raises(ConfigError, match="Let its class inherit"):
        Config(sinks=[print])
    with pytest.raises(ConfigError, match="give an object"):
        Config(sinks=[Keeping])


def test_a_name_that_nobody_knows_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'mlflow'"):
        Config(sinks=["mlflo"])


BAD = ["prometheus", "prometheus:figures.txt", "prometheus-http", "prometheus-http:70000", "wandb:x", "clearml:x", "otel:x"]


@pytest.mark.parametrize("text", BAD)
def test_an_argument_that_makes_no_sense_is_refused(text):
    package = names.SINKS[text.partition(":")[0]][2]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    with pytest.raises(ConfigError, match="is not valid"):
        Config(sinks=[text])


def test_another_package_brings_a_sink_by_an_entry_point(train, tmp_path, monkeypatch):
    about = tmp_path / "their-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[fitprint.sinks]\ntheirs = their_sink:Theirs\n")
    (tmp_path / "their_sink.py").write_text(
        "from fitprint.sinks import Sink\nclass Theirs(Sink):\n"
        "    told = []\n    def __init__(self, argument): self.argument = argument\n"
        "    def log(self, scalars, step): self.told.append((self.argument, step))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    train("theirs:left")
    import their_sink

    assert their_sink.Theirs.told == [("left", 0), ("left", 1), ("left", 1)]


def test_sinks_come_from_the_environment(monkeypatch, tmp_path):
    from fitprint.settings import resolve

    pytest.importorskip("prometheus_client")
    text = f"prometheus:{tmp_path}/a.prom, prometheus:{tmp_path}/b.prom"
    settings = resolve(environ={"FITPRINT_SINKS": text})
    assert settings.sinks == (f"prometheus:{tmp_path}/a.prom", f"prometheus:{tmp_path}/b.prom")


def test_a_switched_off_run_tells_sinks_nothing(clock, monkeypatch):
    monkeypatch.setenv("FITPRINT_DISABLE", "1")
    sink = Keeping()
    with Tracker(config=Config(sinks=[sink]), ledger="off") as tracker:
        list(tracker.epochs(range(2)))
    assert sink.told == sink.records == []


def test_trackers_with_named_sinks_are_copied_and_pickled(tmp_path):
    pytest.importorskip("prometheus_client")
    tracker = Tracker(config=Config(sinks=[f"prometheus:{tmp_path}/a.prom"]), ledger="off")
    for again in (copy.deepcopy(tracker), pickle.loads(pickle.dumps(tracker))):
        with again:
            list(again.epochs(range(1)))
        assert (tmp_path / "a.prom").exists()
        (tmp_path / "a.prom").unlink()
