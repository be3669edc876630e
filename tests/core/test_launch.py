"""Processes that were started together and cannot talk to each other: which launch is theirs, and who counts what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fitprint import Tracker
from fitprint.launch import launch
from fitprint.ownership import Ownership
from fitprint.sensors.probe import Sensors, Surroundings
from fitprint.testing import FakeClock, ScriptedCounter

OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "2", "PMIX_NAMESPACE": "prterun-1@1"}


@pytest.fixture
def around(tmp_path):
    """A machine with a shared memory of its own, as a process of a launch sees it."""
    (tmp_path / "dev" / "shm").mkdir(parents=True)
    return lambda environ=OPEN_MPI: Surroundings(dev_root=tmp_path / "dev", environ=environ, clock=FakeClock())


@pytest.fixture
def another(around, monkeypatch):
    """Makes what another process of the same launch owns."""

    def make(environ=OPEN_MPI):
        ownership = Ownership.of(around(environ))
        ownership._me = b"another process"
        return ownership

    return make


def counters(*names):
    clock = FakeClock()
    return tuple(ScriptedCounter(clock, sensor_id=name, part=name.partition(":")[0]) for name in names)


def ids(sensors):
    return [counter.sensor.id for counter in sensors.counters]


@pytest.mark.parametrize(
    "environ",
    [
        OPEN_MPI,
        {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_MCA_ess_base_jobid": "123"},
        {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"},
        {"WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
    ],
)
def test_processes_of_one_launch_know_it_by_the_same_name_and_others_do_not(environ, tmp_path):
    proc = tmp_path / "proc"
    named = launch(environ, proc)
    assert named == launch({**environ, "RANK": "1", "SLURM_PROCID": "1", "PMI_RANK": "1"}, proc)
    assert named != launch({**environ, **{name: f"{value}1" for name, value in environ.items()}}, proc)


@pytest.mark.parametrize("environ", [{"PMI_SIZE": "2"}, {"MV2_COMM_WORLD_SIZE": "2"}])
def test_a_launch_without_a_name_goes_by_the_process_that_started_it(environ, monkeypatch):
    named = launch(environ, Path("/proc"))
    assert named == launch(environ, Path("/proc"))
    monkeypatch.setattr("os.getppid", os.getpid)
    assert named != launch(environ, Path("/proc"))


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WORLD_SIZE": "1", "MASTER_ADDR": "a"},
        {"OMPI_COMM_WORLD_SIZE": "1"},
        # A batch script's own processes are no tasks of a step.
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
        {"PMI_SIZE": "many"},
    ],
)
def test_a_process_that_was_started_alone_has_none(environ, tmp_path):
    assert launch(environ, tmp_path) is None


def test_the_launcher_of_mpi_inside_a_step_of_slurm_is_the_one_that_counts(tmp_path):
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    assert launch({**step, **OPEN_MPI}, tmp_path) == launch(OPEN_MPI, tmp_path)


def test_each_sensor_is_counted_by_the_first_process_that_sees_it(around, another):
    first, second = Ownership.of(around()), another()
    seen_by_first = first.keep(Sensors(counters("cpu:0", "gpu:0")))
    seen_by_second = second.keep(Sensors(counters("cpu:0", "gpu:0", "gpu:1")))
    assert ids(seen_by_first) == ["cpu:0", "gpu:0"]
    assert ids(seen_by_second) == ["gpu:1"]
    assert seen_by_second.elsewhere == ("cpu:0", "gpu:0")
    assert "counted by another process of this job: cpu:0, gpu:0" in seen_by_second.notes
    assert seen_by_first.launch == seen_by_second.launch
    assert (seen_by_first.of_host, seen_by_second.of_host) == (True, False)


def test_a_sensor_whose_owner_has_gone_is_free_again_and_nothing_is_left_behind(around, another, tmp_path):
    first, second = Ownership.of(around()), another()
    first.keep(Sensors(counters("cpu:0")))
    assert ids(second.keep(Sensors(counters("cpu:0")))) == []
    first.release()
    assert ids(second.keep(Sensors(counters("cpu:0")))) == ["cpu:0"]
    second.release()
    assert list((tmp_path / "dev" / "shm").iterdir()) == []


def test_another_launch_counts_for_itself(around, another):
    Ownership.of(around()).keep(Sensors(counters("cpu:0")))
    assert ids(another({**OPEN_MPI, "PMIX_NAMESPACE": "prterun-2@1"}).keep(Sensors(counters("cpu:0")))) == ["cpu:0"]


def test_a_run_inside_another_one_of_the_same_process_counts_the_same(around):
    outer, inner = Ownership.of(around()), Ownership.of(around())
    assert ids(outer.keep(Sensors(counters("cpu:0")))) == ids(inner.keep(Sensors(counters("cpu:0")))) == ["cpu:0"]
    inner.release()
    outer.release()


def test_a_forked_child_gives_nothing_away(around, another):
    first = Ownership.of(around())
    first.keep(Sensors(counters("cpu:0")))
    child = os.fork()
    if child == 0:
        first.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert ids(another().keep(Sensors(counters("cpu:0")))) == []


def test_where_nothing_can_be_locked_everybody_counts(around, another, tmp_path):
    (tmp_path / "dev" / "shm").rmdir()
    (tmp_path / "dev" / "shm").write_text("no folder")
    ownership = another()
    ownership._folder = tmp_path / "dev" / "shm" / "owned"
    assert ids(ownership.keep(Sensors(counters("cpu:0")))) == ["cpu:0"]


def test_counters_that_are_given_are_nobody_elses(around):
    clock = FakeClock()
    place = around()
    with Tracker(ledger="off", region="FR", counters=[ScriptedCounter(clock)], around=place) as tracker:
        clock.advance(1.0)
    assert tracker.footprint.energy_j == 100.0
    assert tracker.footprint.launch is None
