"""The Hugging Face Trainer, Accelerate and Keras on two real processes."""

from __future__ import annotations

import pytest
from same_record import check_one_record, check_one_stop

pytestmark = pytest.mark.timeout(170)


def test_the_hugging_face_trainer_and_accelerate(torchrun, observer):
    launched = torchrun("trainer_hf.py", "400 J", timeout=160)
    assert launched.returncode == 0, launched.errors[-3000:]
    fit = check_one_record(launched, observer, "fit", epochs=2)
    assert fit["phases"]["validate"] > 0
    check_one_stop(launched, observer, limit_j=400.0)
    check_one_record(launched, observer, "accelerate", epochs=2)


def test_keras_on_torch(torchrun, observer):
    launched = torchrun("keras_ddp.py", "400 J", timeout=160)
    assert launched.returncode == 0, launched.errors[:3000]
    check_one_record(launched, observer, "fit", epochs=2)
    assert launched.ranks["0"]["fit"]["logged"] == launched.ranks["1"]["fit"]["logged"]
    check_one_stop(launched, observer, limit_j=400.0)
