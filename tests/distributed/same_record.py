"""What holds of every framework's ranks."""

from __future__ import annotations

import math

import pytest


def check_one_record(launched, observer, name, *, epochs=None):
    """All ranks have the same record, of what the observer counted and each sensor once."""
    first, second = launched.ranks["0"][name], launched.ranks["1"][name]
    for field in ("run_id", "energy_j", "co2e_g", "epochs", "phases", "sensors", "status", "stop_reason"):
        assert first[field] == second[field], field
    boards = [f"gpu:GPU-{0xA0 + number:08x}-0000-0000-0000-000000000000" for number in range(2)]
    assert sorted(sensor for sensor, _ in first["sensors"]) == ["cpu:package-0", "dram:package-0", *boards]
    assert first["energy_j"] == pytest.approx(math.fsum(e[0] for e in first["epochs"]) + first["outside_epochs_j"], abs=1e-6)
    assert epochs in (None, len(first["epochs"]))
    observer.check(name, first)
    return first


def check_one_stop(launched, observer, *, limit_j):
    """One rank had the budget: all stopped at the same batch, one check after it was used up at the latest."""
    stop = check_one_record(launched, observer, "stop")
    assert launched.ranks["0"]["stop"]["steps"] == launched.ranks["1"]["stop"]["steps"] > 1
    assert stop["stop_reason"]["code"] == "budget"
    assert stop["status"] == "stopped"
    # A step takes 0.03 s and a little more; then there is the closing work.
    assert 0.4 * limit_j < stop["energy_j"] < limit_j + observer.watts * 0.5


def check_between(ranks, name, least_j):
    """Both ranks have the same record, of what the machine counted meanwhile."""
    first, second = ranks["0"][name], ranks["1"][name]
    for field in ("run_id", "energy_j", "co2e_g", "epochs", "phases", "sensors", "status", "stop_reason"):
        assert first[field] == second[field], field
    assert [sensor for sensor, _ in first["sensors"]] == ["cpu:package-0", "dram:package-0"]
    assert least_j < first["energy_j"] < first["most_j"]
    assert first["energy_j"] == pytest.approx(math.fsum(e[0] for e in first["epochs"]) + first["outside_epochs_j"], abs=1e-6)
    return first


def check_one_writer(launched, name):
    """The sinks of the first process have been told what the job used, those of the others nothing."""
    record, told, others = launched.ranks["0"][name], launched.ranks["0"][f"{name} told"], launched.ranks["1"][f"{name} told"]
    assert others == {"begun": 0, "epochs_wh": {}, "totals": {}, "run_ids": []}
    assert told["begun"] == 1
    assert set(told["run_ids"]) == {record["run_id"]}
    assert list(told["epochs_wh"].values()) == [pytest.approx(epoch[0] / 3600) for epoch in record["epochs"]]
    assert told["totals"] == {"energy_wh": pytest.approx(record["energy_j"] / 3600), "co2e_g": pytest.approx(record["co2e_g"])}
    assert len(record["sensors"]) == 4
