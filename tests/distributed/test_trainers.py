"""The Hugging Face Trainer, Accelerate and Keras on two real processes."""

from __future__ import annotations

import math

import pytest

pytestmark = pytest.mark.timeout(170)


def check_one_record(launched, name, least_j):
    """Both ranks have the same record, of what the machine counted."""
    first, second = launched.ranks["0"][name], launched.ranks["1"][name]
    for field in ("run_id", "energy_j", "co2e_g", "epochs", "phases", "sensors", "status", "stop_reason"):
        assert first[field] == second[field], field
    assert [sensor for sensor, _ in first["sensors"]] == ["cpu:package-0", "dram:package-0"]
    assert least_j < first["energy_j"] < first.get("most_j", math.inf)
    assert first["energy_j"] == pytest.approx(math.fsum(e[0] for e in first["epochs"]) + first["outside_epochs_j"], abs=1e-6)
    return first


def test_the_hugging_face_trainer_and_accelerate(torchrun):
    launched = torchrun("trainer_hf.py", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    # Four steps of 0.03 s an epoch and an evaluation on each rank, at 120 W.
    fit = check_one_record(launched, "fit", least_j=120 * 10 * 0.03)
    assert len(fit["epochs"]) == 2
    assert fit["phases"]["validate"] > 0
    stop = check_one_record(launched, "stop", least_j=20)
    assert launched.ranks["0"]["stop"]["steps"] == launched.ranks["1"]["stop"]["steps"] < 400
    assert stop["stop_reason"]["code"] == "budget"
    assert stop["energy_j"] < 60 + 120 * 0.5
    check_one_record(launched, "accelerate", least_j=120 * 8 * 0.02)


def test_keras_on_torch(torchrun):
    launched = torchrun("keras_ddp.py", timeout=160)
    assert launched.returncode == 0, launched.errors[:3000]
    fit = check_one_record(launched, "fit", least_j=120 * 16 * 0.03)
    assert launched.ranks["0"]["fit"]["logged"] == launched.ranks["1"]["fit"]["logged"]
    assert len(fit["epochs"]) == 2
    stop = check_one_record(launched, "stop", least_j=20)
    assert stop["stop_reason"]["code"] == "budget"
    assert stop["energy_j"] < 60 + 120 * 0.5


def test_a_loop_with_fabric_that_starts_the_second_process_itself(alone):
    launched = alone("fabric_loop.py", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    fit = check_one_record(launched, "fit", least_j=120 * 8 * 0.03)
    assert len(fit["epochs"]) == 2


def test_exchanges_go_over_a_group_of_our_own_where_the_programs_carries_nothing(torchrun):
    launched = torchrun("other_backend.py", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    for rank in launched.ranks.values():
        assert (rank["backend"], rank["summed"]) == ("fake", 1.0)
    check_one_record(launched, "fit", least_j=120 * 0.4)
