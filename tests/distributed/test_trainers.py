"""The Hugging Face Trainer, Accelerate and Keras on two real processes."""

from __future__ import annotations

import pytest
from same_record import check_between, check_one_record, check_one_stop, check_one_writer

pytestmark = pytest.mark.timeout(170)


def test_the_hugging_face_trainer_and_accelerate(torchrun, observer):
    launched = torchrun("trainer_hf.py", "400 J", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    fit = check_one_record(launched, observer, "fit", epochs=2)
    assert fit["phases"]["validate"] > 0
    check_one_stop(launched, observer, limit_j=400.0)
    check_one_writer(launched, "logged")
    check_one_record(launched, observer, "accelerate", epochs=2)


def test_keras_on_torch(torchrun, observer):
    launched = torchrun("keras_ddp.py", "400 J", timeout=160)
    assert launched.returncode == 0, launched.errors[:3000]
    check_one_record(launched, observer, "fit", epochs=2)
    assert launched.ranks["0"]["fit"]["logged"] == launched.ranks["1"]["fit"]["logged"]
    check_one_stop(launched, observer, limit_j=400.0)
    check_one_writer(launched, "logged")


def test_a_loop_with_fabric_that_starts_the_second_process_itself(alone):
    launched = alone("fabric_loop.py", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    fit = check_between(launched.ranks, "fit", least_j=120 * 8 * 0.03)
    assert len(fit["epochs"]) == 2


def test_exchanges_go_over_a_group_of_our_own_where_the_programs_carries_nothing(torchrun):
    launched = torchrun("other_backend.py", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    for rank in launched.ranks.values():
        assert (rank["backend"], rank["summed"]) == ("fake", 1.0)
    check_between(launched.ranks, "fit", least_j=120 * 0.4)
