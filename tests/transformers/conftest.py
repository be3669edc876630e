"""A real Trainer over a tiny model built from a config; nothing is downloaded."""

from __future__ import annotations

import pytest
import torch

import transformers
from fitprint_transformers import CarbonCallback

STEP_S, EVALUATION_S, STEPS = 1.0, 0.5, 4


@pytest.fixture
def carbon(on_one_gpu):
    """Makes callbacks that read one scripted GPU."""
    return lambda **options: on_one_gpu(CarbonCallback(**{"ledger": "off", "region": "FR", **options}))


@pytest.fixture
def model(clock):
    """A classifier whose training steps last a second and whose evaluation batches half of one."""
    config = transformers.BertConfig(
        vocab_size=32,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=8,
    )
    torch.manual_seed(0)

    class Paced(transformers.BertForSequenceClassification):
        def forward(self, input_ids=None, labels=None):
            clock.advance(STEP_S if self.training else EVALUATION_S)
            return super().forward(input_ids=input_ids, labels=labels)

    return lambda: Paced(config)


@pytest.fixture
def data():
    """Eight samples of four tokens: four steps an epoch, two evaluation batches."""
    samples = [{"input_ids": torch.tensor([i, 1, 2, 3]), "labels": torch.tensor(i % 2)} for i in range(8)]
    return {"train_dataset": samples, "eval_dataset": samples[:4]}


@pytest.fixture
def trainer(model, data, tmp_path):
    """Makes small, silent trainers."""

    def make(*callbacks, attach=False, **options):
        arguments = transformers.TrainingArguments(
            **{
                "output_dir": str(tmp_path / "out"),
                "num_train_epochs": 3,
                "per_device_train_batch_size": 2,
                "per_device_eval_batch_size": 2,
                "eval_strategy": "epoch",
                "save_strategy": "no",
                "logging_strategy": "epoch",
                "report_to": [],
                "use_cpu": True,
                "disable_tqdm": True,
                **options,
            }
        )
        made = transformers.Trainer(model=model(), args=arguments, callbacks=[] if attach else list(callbacks), **data)
        for callback in callbacks if attach else ():
            callback.attach(made)
        return made

    return make
