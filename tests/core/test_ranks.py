"""A job of many ranks, simulated: threads for processes, scripted counters, truth known exactly."""

from __future__ import annotations

import json
import logging
import math
import pickle
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint import Budget, Config, Footprint, Ledger, Tracker
from fitprint.energy import Energy
from fitprint.footprint import EpochFootprint
from fitprint.job import Job
from fitprint.ledger.united import united
from fitprint.ownership import owned_alone
from fitprint.pace import Schedule
from fitprint.process_group import torch_peers
from fitprint.ranks import Member, gather_texts, local_rank
from fitprint.sensors.probe import Sensors, Surroundings
from fitprint.telling import CELLS, Facts, Told, cell_of, later, row_of
from fitprint.testing import FakeClock, FakeRanks, ScriptedCounter

pytestmark = pytest.mark.timeout(60)

CPU_W, EPOCH_S = 50.0, 10.0
PROC = Path("/proc")


class Training:
    """Ranks that train in step, each in a thread; rank r has a board of 100 + r watts, and sees its machine's processor.

    Args:
        size: How many ranks.
        per_host: How many of them share a machine.
        regions: Of the machines.
        budgets: Of each rank; the same for all where one is given.
        ledgers: Of the machines.
        awaits_state: A checkpoint may still say which run it is.
        proc_roots: Of the machines.
    """

    def __init__(
        self,
        size,
        *,
        per_host=None,
        regions=("FR",),
        budgets=(None,),
        ledger="off",
        ledgers=(),
        awaits_state=False,
        proc_roots=(PROC,),
    ):
        self.size, self.clock = size, FakeClock()
        self.ranks = FakeRanks(size, per_host=per_host, within_s=5.0)
        self.step = threading.Barrier(size, timeout=5.0)
        self.failures = {}
        self.trackers = []
        for rank in range(size):
            host = rank // (per_host or size)
            counters = [
                ScriptedCounter(self.clock, watts=CPU_W, part="cpu", sensor_id="cpu:package-0"),
                ScriptedCounter(self.clock, watts=100.0 + rank, sensor_id=f"gpu:{rank}"),
            ]
            self.trackers.append(
                Tracker(
                    region=regions[host % len(regions)],
                    ledger=ledgers[host] if ledgers else ledger,
                    budget=budgets[rank % len(budgets)],
                    counters=counters,
                    around=Surroundings(clock=self.clock, environ={}, proc_root=proc_roots[host % len(proc_roots)]),
                    peers=self.ranks.peers[rank],
                    awaits_state=awaits_state,
                )
            )

    def together(self, seconds):
        """All ranks come here, and time passes once."""
        if self.step.wait() == 0:
            self.clock.advance(seconds)
        self.step.wait()

    def run(self, body):
        """Run ``body(rank, tracker)`` on every rank; returns the records."""

        def work(rank):
            try:
                with self.trackers[rank] as tracker:
                    body(rank, tracker)
            except BaseException as error:
                self.failures[rank] = error

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [tracker.footprint for tracker in self.trackers]

    def epochs(self, count):
        def body(rank, tracker):
            for _ in tracker.epochs(range(count)):
                self.together(EPOCH_S)

        return self.run(body)


def test_every_sensor_is_counted_once_and_all_ranks_have_the_same_record():
    records = Training(4, per_host=2).epochs(3)
    watts = 2 * CPU_W + sum(100.0 + rank for rank in range(4))
    for record in records:
        assert record.energy_j == watts * 3 * EPOCH_S
        assert record.by_part == {"cpu": 2 * CPU_W * 30, "gpu": (watts - 2 * CPU_W) * 30}
        assert [epoch.energy_j for epoch in record.epochs] == [watts * EPOCH_S] * 3
        assert record.coverage == 1.0
    assert len({record.run_id for record in records}) == 1
    assert all(record.to_dict() == records[0].to_dict() for record in records[1:])


def test_the_sums_of_a_record_hold_in_a_job_too():
    job = Training(2)

    def body(rank, tracker):
        for _epoch in tracker.epochs(range(3)):
            job.together(EPOCH_S)
            with tracker.phase("validate"):
                job.together(2.0)
        job.together(1.0)

    for record in job.run(body):
        energy_j = math.fsum(epoch.energy_j for epoch in record.epochs) + record.outside_epochs_j
        assert record.energy_j == pytest.approx(energy_j, abs=1e-6)
        assert record.energy_j == pytest.approx(math.fsum(record.phases.values()), abs=1e-6)
        assert record.energy_j == pytest.approx(math.fsum(record.by_part.values()), abs=1e-6)
        assert record.outside_epochs_j == 251.0
        assert record.phases == {"train": 251.0 * 30, "validate": 251.0 * 6, "other": 251.0}


def test_machines_in_two_places_add_their_grams_and_have_a_row_each():
    one = Training(2, per_host=2, regions=("FR",)).epochs(1)[0]
    record = Training(4, per_host=2, regions=("FR", "DE")).epochs(1)[3]
    hosts = record.segments
    assert [(host["host"], host["region"]) for host in hosts] == [("host-1", "FR"), ("host-2", "DE")]
    assert [host["energy_j"] for host in hosts] == [2510.0, 2550.0]
    assert hosts[0]["co2e_g"] == pytest.approx(one.co2e_g, abs=1e-5)
    assert record.co2e_g == pytest.approx(sum(host["co2e_g"] for host in hosts), abs=2e-6)
    assert record.co2e_g == pytest.approx(sum(epoch.co2e_g for epoch in record.epochs), abs=2e-6)
    assert record.co2e_low_g < record.co2e_g < record.co2e_high_g
    mean = (2510.0 * hosts[0]["intensity"] + 2550.0 * hosts[1]["intensity"]) / 5060.0
    assert record.intensity == pytest.approx(mean)
    assert {row["value"] for row in record.assumptions if row["name"] == "region"} == {"FR", "DE"}
    assert [row["id"] for row in record.sensors][-2:] == ["host-2:gpu:2", "host-2:gpu:3"]


def test_a_record_names_the_processor_of_every_machine(tmp_path):
    for name in ("Epyc 9654", "Xeon 8480"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cpuinfo").write_text(f"model name\t: {name}\n")
    records = Training(4, per_host=2, proc_roots=[tmp_path / "Epyc 9654", tmp_path / "Xeon 8480"]).epochs(1)
    for record in records:
        assert [host["cpu"] for host in record.segments] == ["Epyc 9654", "Xeon 8480"]
        assert "CPU (Epyc 9654 or Xeon 8480)" in record.to_markdown()


def test_a_budget_that_one_rank_has_stops_all_for_the_same_reason():
    records = Training(3, budgets=(None, "9 kJ", None)).epochs(20)
    watts = CPU_W + 303.0
    assert [len(record.epochs) for record in records] == [int(9000 / watts / EPOCH_S)] * 3
    assert {record.status for record in records} == {"stopped"}
    assert len({json.dumps(record.stop_reason) for record in records}) == 1
    assert records[0].stop_reason["code"] == "budget"


def test_a_stop_inside_an_epoch_is_at_the_same_batch_on_every_rank():
    job = Training(2, budgets=(Budget("4 kJ", check=1), None))
    stopped_at = {}

    def body(rank, tracker):
        tracker.check_start()
        look_at = tracker.begin_epoch(0, Schedule(epochs=1, batches=100, validation_batches=0))
        for batch in range(1, 101):
            job.together(1.0)
            if batch >= look_at:
                look_at, _ = tracker.look(batch)
            if tracker.should_stop:
                stopped_at[rank] = batch
                break
        tracker.end_epoch(complete=False)

    records = job.run(body)
    assert stopped_at[0] == stopped_at[1] == pytest.approx(4000 / 251, abs=2)
    assert records[0].energy_j == records[1].energy_j <= 4000


def test_ranks_whose_epochs_differ_in_length_do_not_wait_for_each_other_inside_them():
    job = Training(2, budgets=("1 MJ",))

    def body(rank, tracker):
        tracker.check_start()
        for epoch in range(2):
            batches = 5 + rank
            look_at = tracker.begin_epoch(epoch, Schedule(epochs=2, batches=batches))
            for batch in range(1, batches + 1):
                if batch >= look_at:
                    look_at, _ = tracker.look(batch)
            job.together(EPOCH_S)
            tracker.end_epoch()

    records = job.run(body)
    assert not job.failures
    assert [len(record.epochs) for record in records] == [2, 2]


def test_a_plain_loop_whose_ranks_count_batches_stops_inside_a_later_epoch_after_the_same(caplog):
    job = Training(2, budgets=(None, Budget("14 kJ", check=1)))
    done = {}

    def body(rank, tracker):
        done[rank] = 0
        for _ in tracker.epochs(range(5)):
            for _ in range(20):
                with tracker.batch(8):
                    job.together(1.0)
                done[rank] += 1
                if tracker.should_stop:
                    break

    with caplog.at_level(logging.WARNING, logger="fitprint"):
        records = job.run(body)
    assert not job.failures
    assert done[0] == done[1]
    assert 40 < done[0] < 14_000 / 251
    assert [epoch.complete for epoch in records[1].epochs] == [True, True, False]
    assert 13_000 < records[0].energy_j == records[1].energy_j <= 14_000
    assert "exchange no more" not in caplog.text


def test_a_loader_that_is_counted_says_its_length_so_that_the_first_epoch_is_looked_into():
    job = Training(2, budgets=(Budget("4 kJ", check=1), None))
    done = {}

    def body(rank, tracker):
        done[rank] = 0
        batches = tracker.batches(range(100))
        for _ in tracker.epochs(range(5)):
            for _ in batches:
                job.together(1.0)
                done[rank] += 1

    records = job.run(body)
    assert not job.failures
    assert done[0] == done[1] == records[0].energy_j / 251
    # What closes an epoch, a validation perhaps, has never been seen: room is left for it.
    assert 3000 < records[0].energy_j == records[1].energy_j <= 4000
    assert {record.status for record in records} == {"stopped"}


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from([None, 0, 1])),
        min_size=2,
        max_size=4,
    ),
    st.booleans(),
)
def test_plain_loops_of_any_lengths_never_wait_for_a_rank_that_does_not_come(lengths, declared):
    job = Training(2, budgets=(Budget("1 GJ", check=1), None))
    apart = {}

    def body(rank, tracker):
        loader = tracker.batches(range(6)) if declared else None
        for epoch in tracker.epochs(range(len(lengths))):
            job.together(EPOCH_S)
            if lengths[epoch][2] == rank:
                tracker._guard.safely(lambda run: 1 / 0, None)
            for _ in zip(loader or range(6), range(lengths[epoch][rank]), strict=False):
                with tracker.batch(8):
                    pass
        apart[rank] = tracker._meetings.job.apart

    records = job.run(body)
    assert not job.failures
    assert apart == {0: False, 1: False}
    failed = [rank for rank in range(2) if any(broken == rank for *_, broken in lengths)]
    for rank in range(2):
        if rank not in failed:
            assert len(records[rank].epochs) == len(lengths)
            assert records[rank].by_part["gpu"] >= (100.0 + rank) * EPOCH_S * len(lengths)


def test_where_one_rank_alone_counts_batches_nobody_looks_inside(caplog):
    job = Training(2, budgets=(Budget("1 MJ", check=1),))

    def body(rank, tracker):
        for _ in tracker.epochs(range(3)):
            for _ in range(4):
                job.together(1.0)
                if rank == 0:
                    with tracker.batch(8):
                        pass

    with caplog.at_level(logging.WARNING, logger="fitprint"):
        records = job.run(body)
    assert not job.failures
    assert [epoch.energy_j for epoch in records[0].epochs] == [251.0 * 4] * 3 == [e.energy_j for e in records[1].epochs]
    assert "exchange no more" not in caplog.text
    assert caplog.text.count("check=1 cannot look inside an epoch") == 1


def test_a_rank_whose_measuring_failed_goes_on_meeting_the_others_inside_epochs(caplog):
    job = Training(2, budgets=(Budget("10 kJ", check=1),))
    done = {}

    def body(rank, tracker):
        done[rank] = 0
        for epoch in tracker.epochs(range(20)):
            for batch in range(10):
                if (rank, epoch, batch) == (1, 1, 3):
                    tracker._guard.safely(lambda run: 1 / 0, None)
                with tracker.batch(8):
                    job.together(1.0)
                done[rank] += 1
                if tracker.should_stop:
                    break
            if not tracker.should_stop:
                with tracker.phase("validate"), tracker.batch(8):
                    job.together(1.0)

    with caplog.at_level(logging.WARNING, logger="fitprint"):
        records = job.run(body)
    assert not job.failures
    assert done[0] == done[1] > 20
    assert "exchange no more" not in caplog.text
    assert records[0].status == "stopped"


def test_a_rank_whose_measuring_failed_goes_on_taking_part_with_its_last_word(caplog):
    job = Training(2, budgets=("20 kJ",))

    def body(rank, tracker):
        for epoch in tracker.epochs(range(20)):
            job.together(EPOCH_S)
            if rank == 1 and epoch == 2:
                tracker._guard.safely(lambda run: 1 / 0, None)
            assert not (tracker.should_stop and rank == 1 and epoch < 3)

    with caplog.at_level(logging.WARNING, logger="fitprint"):
        records = job.run(body)
    assert not job.failures
    # Its board's 101 W are known of two epochs.
    assert records[0].by_part["gpu"] == 100.0 * EPOCH_S * len(records[0].epochs) + 101.0 * EPOCH_S * 2
    assert records[0].status == "stopped"
    assert job.trackers[1].should_stop


def test_a_rank_that_leaves_with_an_exception_hangs_nobody_and_keeps_what_it_used(caplog):
    job = Training(2)

    def body(rank, tracker):
        for epoch in tracker.epochs(range(4)):
            job.together(EPOCH_S)
            if rank == 1 and epoch == 2:
                raise ValueError("the loss is NaN")
            if rank == 0 and epoch == 2:
                job.step = threading.Barrier(1)

    with caplog.at_level(logging.WARNING, logger="fitprint"):
        records = job.run(body)
    assert isinstance(job.failures[1], ValueError)
    assert records[1].status == "failed"
    # Both know the two epochs that all have told of; the third is each one's own.
    assert records[1].energy_j == 251.0 * 20 + 101.0 * 10
    assert [epoch.complete for epoch in records[1].epochs] == [True, True, False]
    assert records[0].energy_j == 251.0 * 20 + 150.0 * 20
    assert sum("exchange no more" in record.getMessage() for record in caplog.records) == 1


def test_a_break_on_every_rank_is_met_at_the_end(caplog):
    job = Training(2)

    def body(rank, tracker):
        for epoch in tracker.epochs(range(4)):
            job.together(EPOCH_S)
            if epoch == 1:
                break
        job.together(3.0)

    records = job.run(body)
    for record in records:
        assert [(epoch.energy_j, epoch.complete) for epoch in record.epochs] == [(2510.0, True)] * 2
        assert record.outside_epochs_j == 251.0 * 3
        assert record.status == "completed"


def test_a_search_for_sensors_that_fails_on_one_rank_costs_its_sensors_alone():
    ranks = FakeRanks(2)
    kept, failures = {}, {}

    def find(rank):
        if rank == 0:
            raise OSError("no driver")
        return Sensors((ScriptedCounter(FakeClock(), sensor_id="gpu:0"),))

    def work(rank):
        try:
            kept[rank] = Job(ranks.peers[rank]).share_out(lambda: find(rank))
        except OSError as error:
            failures[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [counter.sensor.id for counter in kept[1].counters] == ["gpu:0"]
    assert 0 in failures


def test_one_rank_in_a_job_costs_and_says_nothing_new(clock):
    alone = Tracker(ledger="off", counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))
    with alone:
        clock.advance(1.0)
    assert [segment["host"] for segment in alone.footprint.segments] == ["host-1"]
    assert alone.footprint.energy_j == 100.0


@pytest.mark.parametrize(
    ("environ", "number"),
    [
        ({}, None),
        ({"LOCAL_RANK": "3", "SLURM_LOCALID": "0"}, 3),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "1"}, 1),
        ({"MPI_LOCALRANKID": "2"}, 2),
        ({"SLURM_LOCALID": "0"}, 0),
        ({"LOCAL_RANK": "none", "SLURM_LOCALID": "4"}, 4),
    ],
)
def test_the_launcher_says_which_process_of_its_machine_this_is(environ, number):
    assert local_rank(environ) == number


def test_without_a_process_group_a_later_process_counts_only_a_board_of_its_own():
    clock = FakeClock()
    cpu = ScriptedCounter(clock, part="cpu")
    boards = [ScriptedCounter(clock, sensor_id=f"gpu:{i}") for i in range(2)]
    second = {"LOCAL_RANK": "1"}
    assert owned_alone(Sensors((cpu, *boards)), {}).counters == (cpu, *boards)
    assert owned_alone(Sensors((cpu, *boards)), {"LOCAL_RANK": "0"}).counters == (cpu, *boards)
    assert owned_alone(Sensors((cpu, *boards)), second).counters == ()
    assert owned_alone(Sensors((cpu, boards[1])), second).counters == (boards[1],)


def test_a_process_group_that_cannot_be_talked_through_leaves_each_to_itself(caplog):
    class Broken:
        """A module with a group of two and no store."""

        def __getattr__(self, name):
            return {"is_available": lambda: True, "is_initialized": lambda: True, "get_world_size": lambda: 2}[name]

    with caplog.at_level(logging.WARNING, logger="fitprint"):
        assert torch_peers({"torch": SimpleNamespace(distributed=Broken())}, Member("host", 1)) is None
    assert "each counts for itself" in caplog.text
    assert torch_peers({}, Member("host", 1)) is None


@given(st.text(), st.text())
@settings(max_examples=50)
def test_texts_of_any_length_reach_every_rank(a, b):
    ranks = FakeRanks(2)
    heard = {}

    def work(rank, text):
        heard[rank] = gather_texts(ranks.peers[rank], text)

    other = threading.Thread(target=work, args=(1, b))
    other.start()
    work(0, a)
    other.join()
    assert heard == {0: [a, b], 1: [a, b]}


WORDS = st.lists(st.integers(0, 2**40), min_size=4, max_size=4)


@given(WORDS, WORDS, WORDS)
def test_what_ranks_tell_merges_in_any_order_and_any_number_of_times(a, b, c):
    # A rank's words differ where their numbers do.
    a, b, c = ([number * 3 + i, *rest] for i, (number, *rest) in enumerate((a, b, c)))
    assert later(a, a) == a
    assert later(a, b) == later(b, a)
    assert later(a, later(b, c)) == later(later(a, b), c)
    assert later((), a) == a


SENSORS = tuple(ScriptedCounter(FakeClock(), sensor_id=name).sensor for name in ("gpu:0", "gpu:1"))


@given(st.dictionaries(st.integers(0, len(CELLS) - 1), st.lists(st.integers(0, 2**50), min_size=5, max_size=5)))
def test_a_row_holds_what_was_put_into_it(cells):
    energies = {cell: Energy(SENSORS, (n[0], n[1]), (n[2], n[3]), n[4]) for cell, n in cells.items()}
    row = row_of(Told(number=1), SENSORS, energies)
    for cell in range(len(CELLS)):
        found, energy = cell_of(row, cell), energies.get(cell)
        assert (found is None) == (energy is None)
        if found is not None:
            assert (found[0], tuple(found[1]), tuple(found[2])) == (energy.duration_ns, energy.counts, energy.observed_ns)


def test_facts_survive_being_told():
    facts = Facts("r", SENSORS, "FR", "2026-01-01T00:00:00Z", 1.2, ({"name": "pue"},), ("a note",), {"run_id": "r"})
    assert Facts.from_json(facts.to_json()) == facts
    assert Facts.from_json(facts.to_json()).before == {"run_id": "r"}


def test_a_job_can_be_given_to_no_pickle():
    tracker = Tracker(config=Config(ledger="off"), peers=FakeRanks(1).peers[0])
    assert pickle.loads(pickle.dumps(tracker))._meetings._peers is None


ROWS = st.dictionaries(st.sampled_from(["gpu:0", "gpu:1", "cpu:0"]), st.integers(0, 10**6), min_size=1)


def recorded(joules):
    """A record of so many joules by sensor."""
    rows = tuple({"id": name, "part": name[:3], "energy_j": float(j), "role": "counted"} for name, j in joules.items())
    parts = {}
    for row in rows:
        parts[row["part"]] = parts.get(row["part"], 0.0) + row["energy_j"]
    total_j = math.fsum(parts.values())
    return Footprint(run_id="r", energy_j=total_j, outside_epochs_j=total_j, by_part=parts, phases={"other": total_j}, sensors=rows)


@given(ROWS, ROWS, ROWS)
def test_what_ranks_have_recorded_is_united_by_sensor(a, b, c):
    a, b, c = recorded(a), recorded(b), recorded(c)

    def joules(record):
        return {row["id"]: row["energy_j"] for row in record.sensors if row["energy_j"]}, record.energy_j, dict(record.by_part)

    def same(x, y):
        return joules(x)[0] == joules(y)[0] and x.energy_j == pytest.approx(y.energy_j, abs=1e-6)

    both = united(a, b)
    assert united(a, a) == a
    assert same(both, united(b, a))
    assert same(united(both, c), united(a, united(b, c)))
    most = {name: max(joules(a)[0].get(name, 0), joules(b)[0].get(name, 0)) for name in {*joules(a)[0], *joules(b)[0]}}
    assert both.energy_j == pytest.approx(sum(most.values()), abs=1e-6)
    assert both.energy_j == pytest.approx(math.fsum(both.by_part.values()), abs=1e-6)
    assert both.energy_j == pytest.approx(math.fsum(both.phases.values()), abs=1e-6)


def test_what_a_lost_machine_knew_is_weighed_with_its_own_grams():
    rows = [{"host": "host-1", "energy_j": 100.0, "co2e_g": 1.0}, {"host": "host-2", "energy_j": 50.0, "co2e_g": 5.0}]
    sensors = [{"id": name, "part": "cpu", "energy_j": joules} for name, joules in (("cpu:0", 100.0), ("host-2:cpu:0", 50.0))]
    run = {"run_id": "r", "co2e_low_g": 3.0, "co2e_high_g": 12.0, "by_part": {"cpu": 150.0}, "phases": {"train": 150.0}}
    lost = Footprint(**run, energy_j=150.0, co2e_g=6.0, sensors=tuple(sensors), segments=tuple(rows))
    further = Footprint(
        **{**run, "by_part": {"cpu": 130.0}, "phases": {"train": 130.0}},
        energy_j=130.0,
        co2e_g=1.3,
        sensors=({**sensors[0], "energy_j": 130.0},),
        segments=({**rows[0], "energy_j": 130.0, "co2e_g": 1.3},),
        epochs=(EpochFootprint(index=0, started_at="", duration_s=1.0),),
    )
    both = united(lost, further)
    assert (both.energy_j, both.co2e_g) == (180.0, pytest.approx(1.3 + 5.0))
    assert [(row["host"], row["energy_j"], row["co2e_g"]) for row in both.segments] == [
        ("host-1", 130.0, 1.3),
        ("host-2", 50.0, 5.0),
    ]
    assert both.co2e_high_g == pytest.approx(12.0 + 5.0 * 2)
    assert united(further, lost) == both == united(both, lost)


def test_the_journal_of_a_job_has_each_sensors_row_once_and_its_joules_after_every_epoch(tmp_path):
    records = Training(18, ledger=str(tmp_path / "fitprint.db")).epochs(3)
    (path,) = (tmp_path / "fitprint.d" / records[0].run_id).glob("*.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    # Where the clerk lags, an epoch's event may come without the run, which an event before it has.
    bearing = [event["run"] for event in events if event["event"] == "epoch" and not event.get("rank") and "run" in event]
    assert ["sensors" in run for run in bearing] == [True] + [False] * (len(bearing) - 1)
    after = [sum(epoch.energy_j for epoch in records[0].epochs[:n]) for n in (1, 2, 3)]
    assert all(sum(run["sensor_j"]) in after for run in bearing[1:])
    # As if the program had been killed after the last epoch.
    path.write_text("".join(json.dumps(event) + "\n" for event in events if event["event"] != "end"))
    (tmp_path / "fitprint.db").unlink()
    recorded = Ledger(tmp_path / "fitprint.db").footprint(records[0].run_id)
    assert [row["energy_j"] for row in recorded.sensors] == [row["energy_j"] for row in records[0].sensors]
    assert recorded.energy_j == records[0].energy_j


def test_a_run_whose_first_rank_was_killed_has_what_the_others_wrote(tmp_path, monkeypatch):
    job = Training(2, ledger=str(tmp_path / "fitprint.db"))

    def body(rank, tracker):
        for epoch in tracker.epochs(range(3)):
            job.together(EPOCH_S)
            if epoch == 1:
                raise ValueError("the loss is NaN")

    records = job.run(body)
    ledger = Ledger(tmp_path / "fitprint.db")
    assert [row["status"] for row in ledger.runs()] == ["failed"]
    assert len(list((tmp_path / "fitprint.d" / records[0].run_id).glob("*.jsonl"))) == 1  # threads of one process
    whole = ledger.footprint(records[0].run_id)
    # One epoch of both; of the second each rank knew its own.
    assert whole.energy_j == 251.0 * EPOCH_S + 251.0 * EPOCH_S
    assert whole.energy_j > max(record.energy_j for record in records)


@pytest.mark.parametrize("ticks", [False, True])
def test_a_checkpoint_goes_on_with_what_any_machines_ledger_knows_to_have_been_used_after_it(tmp_path, ticks):
    lasting = str(tmp_path / "two" / "fitprint.db")
    states = {}
    job = Training(2, per_host=1, ledgers=(str(tmp_path / "one" / "fitprint.db"), lasting))

    def first(rank, tracker):
        for epoch in tracker.epochs(range(5)):
            if epoch == 1:
                states[rank] = tracker.state()
            if epoch == 2:
                raise RuntimeError("the job is killed")
            job.together(EPOCH_S)

    before = job.run(first)[1]
    assert before.energy_j == 301.0 * 2 * EPOCH_S
    assert states[0]["footprint"]["energy_j"] == 301.0 * EPOCH_S
    # The first machine has been replaced by one that has never heard of the run.
    again = Training(2, per_host=1, ledgers=(str(tmp_path / "new" / "fitprint.db"), lasting), awaits_state=True)

    def second(rank, tracker):
        tracker.resume(states[0])
        if ticks:
            ticking_between_telling_and_hearing(tracker)
        again.together(1.0)
        for _ in tracker.epochs(range(2, 4)):
            again.together(EPOCH_S)

    one, two = again.run(second)
    assert not again.failures
    assert one.run_id == two.run_id == before.run_id
    assert one.energy_j == two.energy_j == before.energy_j + 301.0 * (1.0 + 2 * EPOCH_S)
    assert [epoch.energy_j for epoch in one.epochs if epoch.complete] == [301.0 * EPOCH_S] * 4
    assert [row["energy_j"] for row in Ledger(tmp_path / "new" / "fitprint.db").runs()] == [one.energy_j]


def ticking_between_telling_and_hearing(tracker):
    """The keeper, which looks every few seconds, may do so there."""
    job = tracker._meetings.job
    exchange = job.exchange

    def then_tick(*args, **options):
        told = exchange(*args, **options)
        tracker._guard.run._tick()
        return told

    job.exchange = then_tick
