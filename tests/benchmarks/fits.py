"""The same training in each framework: steps of a known length, and a stopwatch after all other callbacks."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.tried import sensors
from fitprint import Tracker
from fitprint.clock import SystemClock
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series

EPOCHS = 2
Step = Callable[[], None]


@dataclass
class Stopwatch:
    """From the end of the first step, with which operations are counted once, to the end of the last epoch.

    Attributes:
        wall_s: Time of the training between them.
        cpu_s: CPU time of the whole process, threads that measure included.
        whole_cpu_s: CPU time of all of the training, with its beginning and its end.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    whole_cpu_s: float = 0.0
    _began: tuple[float, float] | None = None

    def step_done(self) -> None:
        if self._began is None:
            self._began = (time.perf_counter(), time.process_time())

    def epoch_done(self) -> None:
        wall_s, cpu_s = self._began or (0.0, 0.0)
        self.wall_s, self.cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s


def busy(seconds: float) -> Step:
    """Computes for so long: CPU time of its own thread, whatever else the machine does meanwhile."""

    def step() -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    return step


def asleep(seconds: float) -> Step:
    """Waits for so long, as for a GPU."""
    return lambda: time.sleep(seconds)


def put_on_sensors(callback, folder: Path):
    """Let a callback read the scripted board and zones in real time."""
    make = partial(Tracker, counters=sensors(folder, 1), around=Surroundings(clock=SystemClock(), environ={}))
    callback.series = Series(callback.series.config, make)
    return callback


def timed(fit: Callable[[], object], watch: Stopwatch) -> Stopwatch:
    began = time.process_time()
    fit()
    watch.whole_cpu_s = time.process_time() - began
    return watch


def lightning(step: Step, steps: int, callbacks: Sequence[object]) -> Stopwatch:
    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer

    watch = Stopwatch()

    class Timing(Callback):
        def on_train_batch_end(self, *_: object) -> None:
            watch.step_done()

        def on_train_epoch_end(self, *_: object) -> None:
            watch.epoch_done()

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            step()
            return self.layer(batch).sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=EPOCHS, accelerator="cpu", callbacks=[*callbacks, Timing()], **quiet)
    loader = torch.utils.data.DataLoader(torch.zeros(steps, 1), batch_size=1)
    return timed(lambda: trainer.fit(Module(), loader), watch)


def keras(step: Step, steps: int, callbacks: Sequence[object]) -> Stopwatch:
    import numpy as np

    import keras

    watch = Stopwatch()

    class Timing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            watch.step_done()

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            watch.epoch_done()

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.layer = keras.layers.Dense(1)

        def call(self, x: object) -> object:
            return self.layer(x)

        def train_step(self, data: object) -> dict[str, float]:
            step()
            return {"loss": 0.0}

    model = Model()
    model.compile("sgd", "mse", run_eagerly=True)
    rows = np.zeros((steps, 1), "float32")
    model(rows[:1])
    fit = partial(model.fit, rows, rows, batch_size=1, epochs=EPOCHS, verbose=0, callbacks=[*callbacks, Timing()])
    return timed(fit, watch)


def transformers(step: Step, steps: int, callbacks: Sequence[object]) -> Stopwatch:
    import torch

    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    watch = Stopwatch()

    class Timing(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            watch.step_done()

        def on_epoch_end(self, *_: object, **__: object) -> None:
            watch.epoch_done()

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            step()
            return {"loss": self.layer(x).sum()}

    quiet = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no", "use_cpu": True}
    options = {"per_device_train_batch_size": 1, "num_train_epochs": EPOCHS, "remove_unused_columns": False, **quiet}
    rows = [{"x": torch.zeros(1)} for _ in range(steps)]
    made = Trainer(Model(), TrainingArguments(output_dir=tempfile.gettempdir(), **options), train_dataset=rows)
    for callback in callbacks:
        if hasattr(callback, "attach"):
            callback.attach(made)
        else:
            made.add_callback(callback)
    made.remove_callback(PrinterCallback)
    made.add_callback(Timing())
    return timed(made.train, watch)
