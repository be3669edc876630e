"""The Hugging Face adapter keeps what every adapter keeps."""

from __future__ import annotations

import torch

import transformers
from fitprint.contract import STEPS, AdapterContract
from fitprint_transformers import CarbonCallback

CONFIG = {"vocab_size": 32, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


class TestContract(AdapterContract):
    def callback(self, **options):
        return CarbonCallback(**options)

    def train(self, callback, epochs, step):
        class Paced(transformers.BertForSequenceClassification):
            def forward(self, input_ids=None, labels=None):
                step()
                return super().forward(input_ids=input_ids, labels=labels)

        torch.manual_seed(0)
        model = Paced(transformers.BertConfig(max_position_embeddings=8, **CONFIG))
        samples = [{"input_ids": torch.tensor([i, 1, 2, 3]), "labels": torch.tensor(i % 2)} for i in range(2 * STEPS)]
        arguments = transformers.TrainingArguments(
            output_dir="out",
            num_train_epochs=epochs,
            per_device_train_batch_size=2,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        callbacks = [] if callback is None else [callback]
        transformers.Trainer(model=model, args=arguments, train_dataset=samples, callbacks=callbacks).train()
        return [value for parameter in model.parameters() for value in parameter.flatten().tolist()]
