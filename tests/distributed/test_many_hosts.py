"""Two hosts that train together over a network: one record with a row for each, whatever becomes of one of them."""

from __future__ import annotations

import csv
import sys
import time
from importlib import resources

import pytest
from hosts import PORT, Hardware, Host, cabled, missing

pytestmark = [pytest.mark.timeout(150), pytest.mark.skipif(not sys.platform.startswith("linux"), reason="network namespaces")]

PACKAGE, MEMORY = "intel-rapl:0", "intel-rapl:0:0"
J_PER_KWH = 3_600_000
LAST_CALL_S = 10


def grams_per_kwh(region):
    with (resources.files("fitprint.data") / "grid.csv").open() as file:
        return next(float(row["g_per_kwh"]) for row in csv.DictReader(file) if row["code"] == region)


@pytest.fixture
def hosts(tmp_path, tmp_path_factory, fake_nvml_library):
    """In France, where each rank sees a board of its own; and in Poland, where both ranks see the last two of four."""
    if reason := missing(tmp_path_factory.mktemp("may-i")):
        pytest.skip(reason)
    driver = {"LD_LIBRARY_PATH": str(fake_nvml_library.parent), "FAKE_NVML_PERIOD_MS": "0", "FITPRINT_NODE_FACTOR": "1"}
    a100 = {"FAKE_NVML_NAME": "NVIDIA A100-SXM4-40GB", "FAKE_NVML_WATTS": "300,200", "EACH_ITS_OWN_GPU": "1"}
    h100 = {"FAKE_NVML_NAME": "NVIDIA H100 80GB HBM3", "FAKE_NVML_WATTS": "9,9,600,500", "CUDA_VISIBLE_DEVICES": "2,3"}
    france, poland = {"FITPRINT_REGION": "FR", "FITPRINT_PUE": "1.1"}, {"FITPRINT_REGION": "PL", "FITPRINT_PUE": "1.5"}
    one = Hardware({PACKAGE: 100.0, MEMORY: 20.0}, 500.0, {**driver, **a100, **france})
    two = Hardware({PACKAGE: 60.0, MEMORY: 10.0}, 1100.0, {**driver, **h100, **poland})
    with cabled([Host(1, tmp_path / "one", one), Host(2, tmp_path / "two", two)]) as both:
        yield both


def static(order, *scenes):
    """What torchrun is given where the hosts' numbers are fixed; the first is the master."""
    at = ("--nnodes=2", f"--master-addr={order[0].address}", f"--master-port={PORT}", "--rdzv-id=job-7")
    return [host.torchrun(*at, f"--node-rank={number}", script="many_hosts.py", args=scenes) for number, host in enumerate(order)]


def elastic(hosts):
    """What torchrun is given where hosts may come and go; they meet on the second, and ranks go by address."""
    meeting_place = hosts[1]
    meet = ("--rdzv-backend=c10d", f"--rdzv-endpoint={meeting_place.address}:{PORT}", "--rdzv-id=job-7")
    # Whoever is there first waits so long for the other one, and at the restart for one that does not come.
    patience = f"last_call_timeout={LAST_CALL_S},keep_alive_interval=1,keep_alive_max_attempt=3"
    return [
        host.torchrun(
            *("--nnodes=1:2", "--max-restarts=1", *meet),
            f"--rdzv-conf={patience},is_host={int(host is meeting_place)}",
            f"--local-addr={host.address}",
            script="many_hosts.py",
            args=("carried_on",),
        )
        for host in hosts
    ]


def done(jobs, hosts):
    codes = [job.wait(timeout=120) for job in jobs]
    return codes, "".join(host.said() for host in hosts)[-4000:]


def test_two_hosts_in_two_places_make_one_footprint_with_a_row_each(hosts, tmp_path):
    codes, said = done(static(hosts, "measured"), hosts)
    assert codes == [0, 0], said
    records = [host.marks("measured", rank)["footprint"] for host in hosts for rank in (0, 1)]
    assert all(record == records[0] for record in records)
    rows = records[0]["hosts"]
    assert [(row["host"], row["region"], row["pue"]) for row in rows] == [("host-1", "FR", 1.1), ("host-2", "PL", 1.5)]
    for host, row in zip(hosts, rows, strict=True):
        assert (
            host.drawn("measured", "started", "ending") <= row["energy_j"] <= host.drawn("measured", "before", "after", widest=True)
        )
        assert row["co2e_g"] == pytest.approx(row["energy_j"] / J_PER_KWH * row["pue"] * grams_per_kwh(row["region"]), abs=1e-5)
    assert records[0]["energy_j"] == pytest.approx(sum(row["energy_j"] for row in rows))
    assert records[0]["co2e_g"] == pytest.approx(sum(row["co2e_g"] for row in rows), abs=1e-5)
    boards = ["gpu:GPU-000000a0", "gpu:GPU-000000a1", "host-2:gpu:GPU-000000a2", "host-2:gpu:GPU-000000a3"]
    assert sorted(name.partition("-0000-")[0] for name, _ in records[0]["sensors"] if "gpu:" in name) == boards
    for epoch, (energy_j, _, complete) in enumerate(records[0]["epochs"]):
        least_j = sum(host.drawn("measured", f"began-{epoch}", f"ended-{epoch}") for host in hosts)
        assert complete
        assert least_j <= energy_j <= 1.5 * least_j
    ledgers = [host.fitprint("runs") for host in hosts]
    assert [[(run["run_id"], run["status"], run["epochs"]) for run in runs] for runs in ledgers] == [
        [(records[0]["run_id"], "completed", 4)]
    ] * 2
    assert [runs[0]["energy_j"] for runs in ledgers] == [records[0]["energy_j"]] * 2
    run_id, brought = records[0]["run_id"], str(tmp_path / "brought.db")
    assert [host.fitprint("report", run_id)["energy_j"] for host in hosts] == [records[0]["energy_j"]] * 2
    assert hosts[1].fitprint("runs", "import", str(hosts[1].folder), "--ledger", brought)["new"] == 1
    assert hosts[0].fitprint("runs", "import", str(hosts[0].folder), "--ledger", brought)["new"] == 0
    (row,) = hosts[0].fitprint("runs", "--ledger", brought)
    assert (row["run_id"], row["status"], row["energy_j"], row["epochs"]) == (run_id, "completed", records[0]["energy_j"], 4)


def lost_in_epoch_2(host):
    """Kill it there; returns what it had drawn when the other one last heard of it, at the least and at the most."""
    host.wait_for("launch-0", "began-2")
    time.sleep(0.25)
    host.kill()
    return host.drawn("launch-0", "started", "ended-1"), host.drawn("launch-0", "before", "began-2", widest=True)


def of_host(record, name):
    return sum(row["energy_j"] for row in record["hosts"] if row["host"] == name)


def test_a_host_that_is_lost_ends_the_job_and_the_next_launch_counts_what_it_was_known_to_have_used(hosts):
    one, two = hosts
    jobs = static(hosts, "carried_on")
    known_j = lost_in_epoch_2(two)
    codes, said = done(jobs[:1], hosts)
    assert codes == [1], said
    assert "Connection closed by peer" in said or "Connection reset by peer" in said
    assert "ChildFailedError" in said
    (row,) = one.fitprint("runs")
    survived_j = one.drawn("launch-0", "started", "broken")
    assert (row["status"], row["epochs"]) == ("failed", 3)  # the third is incomplete
    assert row["energy_j"] >= survived_j + known_j[0]

    for host in hosts:
        host.environ["LAUNCH"] = "-again"
    codes, said = done(static([two, one], "carried_on"), hosts)  # the hosts have changed their places
    assert codes == [0, 0], said
    records = [host.marks("launch-0-again", rank)["footprint"] for host in hosts for rank in (0, 1)]
    assert all(record == records[0] for record in records)
    assert records[0]["run_id"] == row["run_id"]
    assert [complete for _, _, complete in records[0]["epochs"]] == [True, True, False, True, True]
    again_j = [host.drawn("launch-0-again", "started", "ending") for host in hosts]
    least_j = (survived_j + again_j[0], known_j[0] + again_j[1])
    again_j = [host.drawn("launch-0-again", "before", "after", widest=True) for host in hosts]
    closing_j = 620.0 * 5  # the survivors, from the broken connection to the end of their run
    most_j = (one.drawn("launch-0", "before", "broken", widest=True) + closing_j + again_j[0], known_j[1] + again_j[1])
    for name, least, most in zip(("host-1", "host-2"), least_j, most_j, strict=True):
        assert least <= of_host(records[0], name) <= most
    assert records[0]["energy_j"] == pytest.approx(sum(row["energy_j"] for row in records[0]["hosts"]))
    for host in hosts:
        (row,) = host.fitprint("runs")
        assert (row["status"], row["epochs"], row["energy_j"]) == ("completed", 5, pytest.approx(records[0]["energy_j"]))


def test_after_an_elastic_restart_the_host_that_is_left_carries_on_and_counts_what_the_lost_one_was_known_to_have_used(hosts):
    one, two = hosts
    jobs = elastic(hosts)
    known_j = lost_in_epoch_2(one)  # rank 0 and the ledger were there
    codes, said = done(jobs[1:], hosts)
    assert codes == [0], said
    records = [two.marks("launch-1", rank)["footprint"] for rank in (0, 1)]
    assert records[0] == records[1]
    assert [complete for _, _, complete in records[0]["epochs"]] == [True, True, False, True, True]
    assert known_j[0] <= of_host(records[0], "host-1") <= known_j[1]
    least_j = two.drawn("launch-0", "started", "broken") + two.drawn("launch-1", "started", "ending")
    closing_j = 1170.0 * 5  # from the broken connection to the end of the first launch
    most_j = two.drawn("launch-0", "before", "broken", widest=True) + two.drawn("launch-1", "before", "after", widest=True)
    assert least_j <= of_host(records[0], "host-2") <= most_j + closing_j
    assert records[0]["energy_j"] == pytest.approx(sum(row["energy_j"] for row in records[0]["hosts"]))
    (row,) = two.fitprint("runs")
    of_one = one.fitprint("runs")
    assert [(run["run_id"], run["status"]) for run in of_one] == [(row["run_id"], "lost")]
    assert (row["run_id"], row["status"], row["epochs"]) == (records[0]["run_id"], "completed", 5)
    assert row["energy_j"] == pytest.approx(records[0]["energy_j"])
