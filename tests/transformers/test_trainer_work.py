"""Samples, parameters and floating-point operations of the Hugging Face Trainer."""

from __future__ import annotations

import math

import pytest
import torch

from fitprint import Config

SAMPLES, TOKENS, HIDDEN, CLASSES = 8, 4, 8, 2
# Each product once for the result and once for each of two gradients: four of the attention and two of the feed-forward net for
# each token, scores and values of all pairs of tokens, the pooler and the classifier for the first token.
A_SAMPLE = 3 * 2 * (TOKENS * 6 * HIDDEN**2 + 2 * TOKENS**2 * HIDDEN + HIDDEN**2 + HIDDEN * CLASSES)


@pytest.mark.parametrize("accumulated", [1, 2, 3])
def test_an_attached_trainer_has_the_operations_worked_out_by_hand(carbon, trainer, accumulated):
    callback = carbon()
    made = trainer(callback, attach=True, gradient_accumulation_steps=accumulated)
    made.model.config._attn_implementation = "eager"  # whose backward computes no scores again
    made.train()
    if made.state.global_step < 3 * math.ceil(SAMPLES / 2 / accumulated):
        pytest.skip("this version of transformers ends early where an epoch does not fill its last step")
    footprint = callback.footprint
    assert footprint.flops == pytest.approx(3 * SAMPLES * A_SAMPLE, rel=1e-12)
    assert (footprint.samples, footprint.batch_size) == (3 * SAMPLES, 2)
    assert [epoch.samples for epoch in footprint.epochs] == [SAMPLES] * 3
    assert footprint.parameters == sum(p.numel() for p in made.model.parameters())
    assert "training_step" not in vars(made)


def test_the_weights_are_bitwise_the_same_with_and_without_counting(carbon, trainer):
    weights = []
    for flops in (False, True):
        torch.manual_seed(0)
        made = trainer(carbon(config=Config(flops=flops)), attach=True)
        made.train()
        weights.append(made.model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_callback_that_does_not_know_the_trainer_says_what_would_help(carbon, trainer):
    callback = carbon()
    trainer(callback).train()
    assert (callback.footprint.flops, callback.footprint.samples) == (None, 3 * SAMPLES)
    assert "FLOPs are not known: call carbon.attach(trainer) before training" in callback.footprint.notes
