"""A short fit of each framework: epochs of 5 steps of 3.6 s by the clock, in which a GPU of 100 W uses 0.5 Wh."""

from __future__ import annotations

STEP_S = 3.6


def hugging_face(carbon, clock, folder, *, report_to="none", epochs=2):
    """Train with the Trainer; the callback reaches its reporters."""
    import torch

    import transformers

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, x, labels=None):
            return {"loss": ((self.layer(x) - labels) ** 2).mean()}

    class Passing(transformers.TrainerCallback):
        def on_step_begin(self, *_, **__):
            clock.advance(STEP_S)

    rows = [{"x": torch.ones(2), "labels": torch.ones(1)} for _ in range(10)]
    args = transformers.TrainingArguments(
        output_dir=str(folder),
        report_to=report_to,
        num_train_epochs=epochs,
        per_device_train_batch_size=2,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(model=Net(), args=args, train_dataset=rows, callbacks=[Passing()])
    carbon.attach(trainer)
    trainer.train()


def lightning(carbon, clock, folder, *, logger=False, epochs=2, test=False):
    """Train with Lightning's Trainer, and test with it then."""
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.demos.boring_classes import BoringModel

    class Passing(Callback):
        def on_train_batch_start(self, *_):
            clock.advance(STEP_S)

    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    counts = {"max_epochs": epochs, "limit_train_batches": 5, "limit_val_batches": 0, "limit_test_batches": 1}
    trainer = Trainer(logger=logger, callbacks=[carbon, Passing()], default_root_dir=folder, **counts, **quiet)
    model = BoringModel()
    trainer.fit(model)
    if test:
        trainer.test(model, verbose=False)


def keras(carbon, clock, folder, *, epochs=2):
    """Train with Keras on whatever backend there is."""
    import numpy

    from keras import Input, Sequential, callbacks, layers

    class Passing(callbacks.Callback):
        def on_train_batch_end(self, *_, **__):
            clock.advance(STEP_S)

    model = Sequential([Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    ones = numpy.ones((10, 2))
    model.fit(ones, ones[:, :1], batch_size=2, epochs=epochs, callbacks=[carbon, Passing()], verbose=0)
