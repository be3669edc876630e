"""``fit`` of Keras on PyTorch in two processes, made data-parallel by hand as Keras documents it."""

from __future__ import annotations

import os
import time

os.environ["KERAS_BACKEND"] = "torch"

import numpy as np
import torch.distributed as dist
from ranks_of import counted_j, record, report

import keras
from fitprint_keras import CarbonCallback


class Slow(keras.callbacks.Callback):
    """A step takes a while, and no rank runs ahead."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.03)
        dist.barrier()


def fitted(budget: str | None, epochs: int) -> dict:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    carbon = CarbonCallback(budget=budget)
    before_j = counted_j()
    history = model.fit(np.ones((32, 4)), np.ones(32), batch_size=4, epochs=epochs, verbose=0, callbacks=[carbon, Slow()])
    return {**record(carbon.footprint), "logged": history.history["total_co2e_g"], "most_j": counted_j() - before_j}


if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    report(rank, {"fit": fitted(None, 2), "stop": fitted("60 J" if rank == 1 else None, 100)})
    dist.barrier()
    dist.destroy_process_group()
