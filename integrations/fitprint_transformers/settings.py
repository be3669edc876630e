"""What of the TrainingArguments says how a model is trained, apart from where its files go and what is logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainingArguments

NAMES = (
    "optim", "learning_rate", "lr_scheduler_type", "warmup_ratio", "warmup_steps", "weight_decay", "max_grad_norm",
    "adam_beta1", "adam_beta2", "adam_epsilon", "label_smoothing_factor", "neftune_noise_alpha", "num_train_epochs", "max_steps",
    "per_device_train_batch_size", "gradient_accumulation_steps", "gradient_checkpointing", "bf16", "fp16", "tf32",
    "torch_compile",
)  # fmt: skip


def hparams_of(args: TrainingArguments) -> dict[str, Any]:
    """The hyperparameters that this version of transformers knows and that are set."""
    values = {name: getattr(args, name, None) for name in NAMES}
    return {name: value for name, value in values.items() if value is not None}
