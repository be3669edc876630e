"""Samples, parameters and floating-point operations, counted while Lightning trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from fitprint import Config

SAMPLES, BATCH, CLASSES = 22, 4, 3
BATCHES = 6  # the last of two samples
IMAGE, CHANNELS = 6, 5
MLP_PARAMETERS = 8 * 16 + 16 + 16 * CLASSES + CLASSES
# A product for the result and one for the weights; the first layer's input needs no gradient.
MLP_FLOPS_A_SAMPLE = 2 * 8 * 16 * 2 + 2 * 16 * CLASSES * 3


@pytest.fixture
def net(pl):
    """Makes modules around a network, and its data."""

    class Module(pl.BoringModel):
        def __init__(self, layers):
            super().__init__()
            self.layer = layers
            self.seen = []

        def step(self, batch):
            return nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

        def training_step(self, batch, batch_idx):
            self.seen.append(watched(self.trainer))
            return self.step(batch)

        def validation_step(self, batch, batch_idx):
            return self.step(batch)

        test_step = predict_step = validation_step

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def make(layers=None, base=Module):
        return base(layers or mlp())

    make.Module = Module
    return make


def watched(trainer):
    """Whether another function stands in the place of the loop's own."""
    return "run" in vars(trainer.fit_loop.epoch_loop.automatic_optimization)


def mlp():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def delicate():
    """What an extra forward pass would change: running statistics, dropout, random states."""
    conv = nn.Conv2d(2, CHANNELS, 3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(CHANNELS), nn.Dropout(0.5), nn.Flatten(), nn.Linear(CHANNELS * IMAGE**2, CLASSES))


def loader(*shape, **options):
    torch.manual_seed(1)
    data = TensorDataset(torch.randn(SAMPLES, *shape), torch.randint(0, CLASSES, (SAMPLES,)))
    return DataLoader(data, **{"batch_size": BATCH, **options})


def fit(trainer, callback, module, data, **options):
    options = {"limit_train_batches": 1.0, "limit_val_batches": 0, "max_epochs": 2, **options}
    trainer(*([callback] if callback else []), **options).fit(module, data)
    return callback.footprint if callback else None


def test_a_multilayer_perceptron_has_the_operations_worked_out_by_hand(carbon, trainer, net):
    footprint = fit(trainer, carbon(), net(), loader(8))
    assert footprint.flops == 2 * SAMPLES * MLP_FLOPS_A_SAMPLE
    assert (footprint.parameters, footprint.batch_size, footprint.samples) == (MLP_PARAMETERS, BATCH, 2 * SAMPLES)
    assert [(epoch.samples, epoch.steps) for epoch in footprint.epochs] == [(SAMPLES, BATCHES)] * 2


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolutional_network_has_the_operations_worked_out_by_hand(carbon, trainer, net, groups):
    layers = nn.Sequential(nn.Conv2d(2, 6, 3, groups=groups), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(16, CLASSES))
    first = 2 * (4 * 4) * (2 // groups * 6 * 9)  # per position of the result, each weight
    second = 2 * (2 * 2) * (6 * 4 * 9)
    footprint = fit(trainer, carbon(), net(layers), loader(2, IMAGE, IMAGE))
    assert footprint.flops == 2 * SAMPLES * (2 * first + 3 * second + 3 * 2 * 16 * CLASSES)


def test_the_result_is_bitwise_the_same_with_and_without_us(carbon, trainer, net):
    states = []
    for callback in (None, carbon()):
        torch.manual_seed(3)
        module = net(delicate())
        fit(trainer, callback, module, loader(2, IMAGE, IMAGE, shuffle=True))
        states.append((module.state_dict(), torch.random.get_rng_state()))
    (plain, plain_state), (watched, watched_state) = states
    assert torch.equal(plain_state, watched_state)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_the_watching_is_gone_after_the_first_step(carbon, trainer, net):
    module = net()
    fit(trainer, carbon(), module, loader(8))
    assert module.seen == [False] * 2 * BATCHES  # taken out before the first step begins


def test_the_watching_is_gone_where_no_step_was_made(carbon, trainer, net):
    class Torn(TensorDataset):
        def __getitem__(self, index):
            raise ZeroDivisionError("of the data")

    module = net()
    with pytest.raises(ZeroDivisionError, match="of the data"):
        fit(trainer, carbon(), module, DataLoader(Torn(torch.zeros(SAMPLES, 8)), batch_size=BATCH))
    assert not watched(module.trainer)


def test_an_exception_in_the_users_step_is_the_users_own(carbon, trainer, net):
    class Broken(net.Module):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            raise ZeroDivisionError("the user's own")

    callback, module = carbon(), net(base=Broken)
    with pytest.raises(ZeroDivisionError, match="the user's own"):
        fit(trainer, callback, module, loader(8), accumulate_grad_batches=3)
    assert not watched(module.trainer)
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    assert (callback.footprint.status, callback.footprint.flops) == ("failed", None)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("accumulated", [1, 3])
def test_precision_and_accumulation_change_no_count(carbon, trainer, net, precision, accumulated):
    footprint = fit(trainer, carbon(), net(), loader(8), precision=precision, accumulate_grad_batches=accumulated)
    assert footprint.flops == 2 * SAMPLES * MLP_FLOPS_A_SAMPLE


def test_what_checkpointing_computes_again_is_counted(carbon, trainer, net):
    class Checkpointed(net.Module):
        def step(self, batch):
            return nn.functional.cross_entropy(checkpoint(self.layer, batch[0], use_reentrant=False), batch[1])

    footprint = fit(trainer, carbon(), net(base=Checkpointed), loader(8), max_epochs=1)
    assert footprint.flops == pytest.approx(SAMPLES * (MLP_FLOPS_A_SAMPLE + 2 * 8 * 16 + 2 * 16 * CLASSES), rel=0.1)
    assert footprint.flops > SAMPLES * MLP_FLOPS_A_SAMPLE


def test_each_evaluation_of_a_closure_is_counted(carbon, trainer, net):
    class Quasi(net.Module):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters(), max_iter=4)

    module = net(base=Quasi)
    footprint = fit(trainer, carbon(), module, loader(8), max_epochs=1, limit_train_batches=1)
    assert footprint.flops >= len(module.seen) * BATCH * MLP_FLOPS_A_SAMPLE  # LBFGS itself has products of vectors
    assert len(module.seen) > 1


def test_manual_optimization_is_counted(carbon, trainer, net):
    class Manual(net.Module):
        automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(self.step(batch))
            optimizer.step()

    assert fit(trainer, carbon(), net(base=Manual), loader(8)).flops == 2 * SAMPLES * MLP_FLOPS_A_SAMPLE


def test_what_is_compiled_cannot_be_counted_and_says_so(carbon, trainer, net):
    layers = mlp()
    layers.compile(backend="eager")
    try:
        footprint = fit(trainer, carbon(), net(layers), loader(8))
    finally:
        torch._dynamo.reset()
    assert footprint.flops is None
    assert "FLOPs are not known: torch.compile is in use" in footprint.notes
    assert footprint.samples == 2 * SAMPLES


def test_a_layer_that_cannot_be_counted_leaves_the_whole_unknown(carbon, trainer, net):
    class Spectrum(nn.Module):
        def forward(self, x):
            return torch.fft.rfft(x).abs()

    footprint = fit(trainer, carbon(), net(nn.Sequential(Spectrum(), nn.Linear(5, CLASSES))), loader(8))
    assert footprint.flops is None
    assert any(note.startswith("FLOPs are not known: aten._fft") for note in footprint.notes)


def test_counting_can_be_switched_off(carbon, trainer, net):
    footprint = fit(trainer, carbon(config=Config(flops=False)), net(), loader(8))
    assert (footprint.flops, footprint.samples, footprint.notes) == (None, 2 * SAMPLES, ())


def test_dropped_and_limited_batches_are_no_samples(carbon, trainer, net):
    assert fit(trainer, carbon(), net(), loader(8, drop_last=True), max_epochs=1).samples == 5 * BATCH
    assert fit(trainer, carbon(), net(), loader(8), max_epochs=1, limit_train_batches=3).samples == 3 * BATCH


def test_a_stream_whose_last_batch_is_not_known_has_unknown_samples_and_operations_by_its_batches(carbon, trainer, net):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(loader(8).dataset)

    footprint = fit(trainer, carbon(), net(), DataLoader(Stream(), batch_size=BATCH), max_epochs=1)
    assert (footprint.samples, footprint.batch_size) == (None, BATCH)
    assert footprint.flops == BATCHES * BATCH * MLP_FLOPS_A_SAMPLE


def test_an_interrupted_epoch_has_the_samples_that_it_trained_on(carbon, trainer, net):
    class Interrupted(net.Module):
        def training_step(self, batch, batch_idx):
            if batch_idx == 3:
                raise RuntimeError("out of memory")
            return super().training_step(batch, batch_idx)

    callback = carbon()
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(trainer, callback, net(base=Interrupted), loader(8))
    assert callback.footprint.samples == 3 * BATCH
    assert callback.footprint.flops == 3 * BATCH * MLP_FLOPS_A_SAMPLE


def test_a_resumed_run_goes_on_counting(pl, carbon, trainer, net, tmp_path):
    saved = pl.ModelCheckpoint(dirpath=tmp_path, filename="last", every_n_epochs=1)
    first = carbon()
    full = {"limit_train_batches": 1.0, "limit_val_batches": 0, "enable_checkpointing": True}
    trainer(first, saved, max_epochs=1, **full).fit(net(), loader(8))
    second = carbon()
    again = trainer(second, max_epochs=3, **full)
    again.fit(net(), loader(8), ckpt_path=tmp_path / "last.ckpt")
    assert second.footprint.run_id == first.footprint.run_id
    assert (second.footprint.samples, second.footprint.flops) == (3 * SAMPLES, 3 * SAMPLES * MLP_FLOPS_A_SAMPLE)


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_stages_outside_fit_count_their_samples(carbon, trainer, net, clock, stage):
    class Slow(net.Module):
        def validation_step(self, batch, batch_idx):
            clock.advance(0.11)
            return super().validation_step(batch, batch_idx)

        test_step = predict_step = validation_step

    callback = carbon()
    whole = {f"limit_{'val' if stage == 'validate' else stage}_batches": 1.0}
    getattr(trainer(callback, **whole), stage)(net(base=Slow), loader(8))
    (footprint,) = callback.footprints
    assert (footprint.samples, footprint.batch_size, footprint.flops) == (SAMPLES, BATCH, None)
    assert footprint.energy_per_sample_j == pytest.approx(100 * 0.11 * BATCHES / SAMPLES)
    assert footprint.co2e_per_1000_samples_g == pytest.approx(footprint.co2e_g / SAMPLES * 1000)
