"""``fit`` of Keras on PyTorch in two processes, made data-parallel by hand as Keras documents it."""

from __future__ import annotations

import os
import sys
import time

os.environ["KERAS_BACKEND"] = "torch"

import numpy as np
import torch.distributed as dist
from ranks_of import Keeping, observed, own_board, record, report

import keras
from fitprint import Budget, Config
from fitprint_keras import CarbonCallback


class Slow(keras.callbacks.Callback):
    """A step takes a while, and no rank runs ahead."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.03)
        dist.barrier()


def fitted(name: str, budget: Budget | None, epochs: int, **options) -> dict:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    carbon = CarbonCallback(budget=budget, **options)
    callbacks = [*observed(name, carbon, keras.callbacks.Callback, "on_train_begin", "on_train_end"), Slow()]
    history = model.fit(np.ones((48, 4)), np.ones(48), batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks)
    steps = int(model.optimizer.iterations)
    return {**record(carbon.footprint), "logged": history.history["total_co2e_g"], "steps": steps}


if __name__ == "__main__":
    own_board()
    dist.init_process_group("gloo")
    rank, limit = dist.get_rank(), sys.argv[1]
    sink = Keeping()
    fits = {"fit": fitted("fit", None, 2), "stop": fitted("stop", Budget(limit, check=1) if rank == 1 else None, 100)}
    report(rank, {**fits, "logged": fitted("logged", None, 1, config=Config(sinks=[sink])), "logged told": vars(sink)})
    dist.barrier()
    dist.destroy_process_group()
