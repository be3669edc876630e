"""``python trained.py FRAMEWORK FOLDER CASE...``: trains a tiny model, with and without us, and lets each case happen to it.

A case is ``fault@phase``. Each training is a forked child that goes on to this program's end, in a folder of its own
below FOLDER/CASE, so that a framework is imported once. Prints a JSON line for each: how it ended, and after how long.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, BATCHES, VALIDATION_BATCHES = 3, 4, 2
# Which call of a phase is the one in the middle of the second epoch; a test is a stage of its own, in place of training.
CALLS = {"train": BATCHES + 3, "validate": VALIDATION_BATCHES + 1, "checkpoint": 2, "test": 2, "end": 0}
OPTIONS = {"region": "FR", "budget": "1 kg"}


def fail() -> None:
    raise ZeroDivisionError("the user's own")


def run_out_of_memory() -> None:
    raise MemoryError


FAULTS = {
    "exception": fail,
    "MemoryError": run_out_of_memory,
    "sys.exit": lambda: sys.exit(3),
    "os._exit": lambda: os._exit(9),
    "SIGINT": lambda: os.kill(os.getpid(), signal.SIGINT),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "nothing": lambda: None,
}


def digest(module: nn.Module) -> dict[str, str]:
    """The weights and the random states, shortened."""
    told = {
        "weights": b"".join(value.detach().numpy().tobytes() for value in module.state_dict().values()),
        "torch": torch.random.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state()).encode() + np.random.get_state()[1].tobytes(),
        "python": repr(random.getstate()).encode(),
    }
    return {name: hashlib.sha256(data).hexdigest() for name, data in told.items()}


class Moment:
    """What the user's own code does in each phase: draws random numbers, and once it is time, the fault."""

    def __init__(self, case: str, watched: bool) -> None:
        self.fault, _, self.phase = case.partition("@")
        self.watched = watched
        self.calls = dict.fromkeys(CALLS, 0)

    def __call__(self, phase: str, module: nn.Module) -> float:
        self.calls[phase] += 1
        if phase == self.phase and self.calls[phase] == CALLS[phase]:
            if phase != "test":
                self._wait_for_the_clerk()
            Path("then.json").write_text(json.dumps({**digest(module), "at": time.time()}))
            FAULTS[self.fault]()
        return 1e-3 * (random.random() + np.random.random() + float(torch.rand(())))

    def _wait_for_the_clerk(self) -> None:
        """What is visible within a second survives a kill; a kill right after an epoch says nothing about that."""
        until = time.monotonic() + 20
        while self.watched and time.monotonic() < until:
            if any('"event":"epoch"' in path.read_text() for path in Path("fitprint.d").rglob("*.jsonl")):
                return
            time.sleep(0.02)


class Network(nn.Module):
    def __init__(self, moment: Moment) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.moment = moment

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        noise = self.moment("train" if self.training else "test" if self.moment.phase == "test" else "validate", self)
        out = self.layers(x + noise)
        return {"loss": nn.functional.mse_loss(out, y), "logits": out}


def loader(batches: int, *, shuffle: bool) -> DataLoader:
    rows = torch.arange(batches * 8 * 5, dtype=torch.float32).reshape(-1, 5).sin()
    return DataLoader(TensorDataset(rows[:, :4], rows[:, 4:]), batch_size=8, shuffle=shuffle)


def plain(moment: Moment, watched: bool) -> nn.Module:
    """A loop of one's own."""
    from contextlib import nullcontext

    from fitprint import Tracker

    module = Network(moment)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    tracker = Tracker(**OPTIONS) if watched else None
    with tracker or nullcontext():
        if moment.phase == "test":
            module.eval()
            with tracker.phase("test") if tracker else nullcontext():
                for x, y in loader(BATCHES, shuffle=False):
                    module(x, y)
            return module
        for _ in tracker.epochs(range(EPOCHS)) if tracker else range(EPOCHS):
            for x, y in loader(BATCHES, shuffle=True):
                optimizer.zero_grad()
                module(x, y)["loss"].backward()
                optimizer.step()
            module.eval()
            with tracker.phase("validate") if tracker else nullcontext():
                for x, y in loader(VALIDATION_BATCHES, shuffle=False):
                    module(x, y)
            with tracker.phase("checkpoint") if tracker else nullcontext():
                moment("checkpoint", module)
                torch.save(module.state_dict(), "kept.pt")
            module.train()
    return module


def lightning(moment: Moment, watched: bool) -> nn.Module:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    from fitprint_lightning import CarbonCallback

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = Network(moment)

        def training_step(self, batch, batch_idx):
            return self.network(*batch)["loss"]

        def validation_step(self, batch, batch_idx):
            self.network(*batch)

        test_step = validation_step

        def on_save_checkpoint(self, checkpoint):
            moment("checkpoint", self.network)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Module()
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[ModelCheckpoint("kept"), *([CarbonCallback(**OPTIONS)] if watched else [])],
        logger=CSVLogger("log"),
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    if moment.phase == "test":
        trainer.test(module, loader(BATCHES, shuffle=False), verbose=False)
    else:
        trainer.fit(module, loader(BATCHES, shuffle=True), loader(VALIDATION_BATCHES, shuffle=False))
    return module.network


def keras(moment: Moment, watched: bool) -> nn.Module:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from fitprint_keras import CarbonCallback

    class Model(keras.Sequential):
        def train_step(self, data):
            x, y = data
            return super().train_step((x + moment("train", self), y))

        def test_step(self, data):
            moment("test" if moment.phase == "test" else "validate", self)
            return super().test_step(data)

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            moment("checkpoint", self.model)
            self.model.save_weights("kept.weights.h5")

    keras.utils.set_random_seed(3)
    model = Model([keras.layers.Input((4,)), keras.layers.Dense(8), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    training, validation = (loader(n, shuffle=False).dataset.tensors for n in (BATCHES, VALIDATION_BATCHES))
    callbacks = [CarbonCallback(**OPTIONS, log_dir="log")] if watched else []
    if moment.phase == "test":
        model.evaluate(*(column.numpy() for column in training), batch_size=8, callbacks=callbacks, verbose=0)
        return model
    model.fit(
        *(column.numpy() for column in training),
        batch_size=8,
        epochs=EPOCHS,
        validation_data=tuple(column.numpy() for column in validation),
        validation_batch_size=8,
        callbacks=[*callbacks, Keep()],
        verbose=0,
    )
    return model


def transformers(moment: Moment, watched: bool) -> nn.Module:
    from fitprint_transformers import CarbonCallback
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Keep(TrainerCallback):
        def on_save(self, args, state, control, model=None, **_):
            moment("checkpoint", model)

    arguments = TrainingArguments(
        output_dir="kept",
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=8,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        prediction_loss_only=True,
    )
    module = Network(moment)
    rows = [[{"x": x, "y": y} for x, y in loader(n, shuffle=False).dataset] for n in (BATCHES, VALIDATION_BATCHES)]
    trainer = Trainer(model=module, args=arguments, train_dataset=rows[0], eval_dataset=rows[1], callbacks=[Keep()])
    if watched:
        CarbonCallback(**OPTIONS).attach(trainer)
    if moment.phase == "test":
        trainer.evaluate(rows[0])
    else:
        trainer.train()
    return module


FRAMEWORKS = {train.__name__: train for train in (plain, lightning, keras, transformers)}


def warm(framework: str, folder: Path) -> None:
    """Import what the children need once, by training once without us; no thread is left by it."""
    import fitprint.tracker  # noqa: F401

    if framework != "plain":
        __import__(f"fitprint_{framework}")
    (folder / "warm").mkdir()
    os.chdir(folder / "warm")
    FRAMEWORKS[framework](Moment("nothing@end", False), False)


def child_of(cases: list[str], folder: Path) -> tuple[str, bool]:
    """In each child the case that it is; the parent reports how they ended, and exits. The two of a case run side by side."""
    for case in cases:
        pair = {}
        for watched in (False, True):
            where = folder / case / ("with" if watched else "without")
            where.mkdir(parents=True)
            pid = os.fork()
            if pid == 0:
                begin_in(where)
                return case, watched
            pair[pid] = watched
        for _ in range(2):
            pid, status = os.wait()
            row = {"case": case, "watched": pair[pid], "status": os.waitstatus_to_exitcode(status), "at": time.time()}
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
    os._exit(0)


def begin_in(folder: Path) -> None:
    os.chdir(folder)
    with open("said.txt", "w") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)


def main() -> None:
    framework, folder, *cases = sys.argv[1:]
    os.environ["KERAS_BACKEND"] = "torch"
    torch.set_num_threads(1)
    warm(framework, Path(folder))
    gc.collect()
    gc.freeze()  # what the imports have left is not gone through at each child's end, which is most of the time it takes
    case, watched = child_of(cases, Path(folder))
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(3)
    moment = Moment(case, watched)
    module = FRAMEWORKS[framework](moment, watched)
    Path("end.json").write_text(json.dumps(digest(module)))


if __name__ == "__main__":
    main()
