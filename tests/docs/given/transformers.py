"""A classifier, arguments and data for the Hugging Face Trainer; nothing is downloaded."""

import torch

from transformers import BertConfig, BertForSequenceClassification, TrainingArguments

size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
model = BertForSequenceClassification(BertConfig(vocab_size=32, max_position_embeddings=8, **size))
dataset = [{"input_ids": torch.tensor([i, 1, 2, 3]), "labels": torch.tensor(i % 2)} for i in range(8)]
args = TrainingArguments("out", num_train_epochs=2, report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True)
