"""Two real processes of one launch that have nothing to talk through: each sensor is counted once, and the rows add up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fitprint import Ledger
from fitprint.cli import main
from fitprint.project import launch_total

pytestmark = [pytest.mark.timeout(100), pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")]

# What the launchers set, as far as it is of use here.
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "2", "PMIX_NAMESPACE": "prterun-node-17@1"}
SLURM = {"SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
MPICH = {"PMI_SIZE": "2"}


def ranks(environ, **names):
    return [{**environ, **{name: str(rank) for name in names.values()}, "NAME": str(rank)} for rank in range(2)]


@pytest.mark.parametrize(
    "environs",
    [
        ranks(OPEN_MPI, rank="OMPI_COMM_WORLD_RANK", local="OMPI_COMM_WORLD_LOCAL_RANK"),
        ranks(SLURM, rank="SLURM_PROCID", local="SLURM_LOCALID"),
        ranks(MPICH, rank="PMI_RANK"),
    ],
    ids=["mpirun of Open MPI", "srun", "mpiexec of MPICH"],
)
def test_each_sensor_is_counted_by_one_process_and_their_rows_add_up_to_the_machine(beside, machine, environs, capsys):
    launched = beside("alone_together.py", environs=environs)
    assert launched.returncode == 0, launched.errors[-3000:]
    rows = [launched.ranks["0"], launched.ranks["1"]]
    seen = [name for row in rows for name, _ in row["sensors"]]
    assert sorted(seen) == ["cpu:package-0", "dram:package-0"]
    assert rows[0]["launch"] == rows[1]["launch"] is not None
    least_j, most_j = rows[0]["bounds_j"]
    total = launch_total(rows[0]["run_id"], ledger=machine / "fitprint.db")
    assert total.runs == 2
    assert least_j - 1 <= total.energy_j <= max(most_j, rows[1]["bounds_j"][1]) + 1
    assert total.energy_j == pytest.approx(sum(row["energy_j"] for row in rows))
    assert not any(note.startswith("NOT COUNTED") for note in total.notes)
    assert main(["runs", "--launch", rows[1]["run_id"], "--ledger", str(machine / "fitprint.db")]) == 0
    assert "total: 2 runs" in capsys.readouterr().out


def in_container(machine, name):
    """A command in a process namespace, and with a shared memory, of its own."""
    script = f"mount -t tmpfs tmpfs /dev/shm && exec {sys.executable} {Path(__file__).parent}/alone_together.py"
    inside = ["unshare", "--pid", "--mount", "--ipc", "--fork", "--mount-proc", "sh", "-c", script]
    environ = {**os.environ, **OPEN_MPI, "NAME": name, "OUT": str(machine / "out"), "FITPRINT_LEDGER": str(machine / f"{name}.db")}
    return subprocess.Popen(inside, cwd=machine, env=environ, stderr=subprocess.PIPE, text=True)


def test_two_containers_on_one_machine_count_twice_and_their_union_counts_once(machine):
    allowed = ["unshare", "--pid", "--mount", "--ipc", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
    if subprocess.run(allowed, capture_output=True, timeout=20).returncode != 0:
        pytest.skip("namespaces of processes and mounts are not permitted here")
    (machine / "out").mkdir()
    containers = [in_container(machine, name) for name in ("one", "two")]
    for container in containers:
        _, errors = container.communicate(timeout=80)
        assert container.returncode == 0, errors[-3000:]
    rows = [json.loads((machine / "out" / f"{name}.json").read_text()) for name in ("one", "two")]
    # Neither sees the other: each has charged itself the machine.
    for row in rows:
        assert row["bounds_j"][0] - 1 <= row["energy_j"] <= row["bounds_j"][1] + 1
    assert rows[0]["launch"] == rows[1]["launch"] is not None
    ledgers = [machine / "one.db", machine / "two.db"]
    total = launch_total(rows[0]["run_id"], ledger=ledgers)
    assert total.runs == 2
    # It is one machine, by its boot: what it gave is counted once, but for the moments in which only one was there.
    assert total.energy_j <= max(row["bounds_j"][1] for row in rows) * 1.1
    assert total.energy_j >= max(row["energy_j"] for row in rows) - 1
    assert any("counted once" in note for note in total.notes)
    assert len(Ledger(ledgers[0]).runs()) == 1
