"""Keras: a fit that is started again goes on by its run id, or by the state beside Keras' own backup."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import keras
from fitprint import Footprint, Ledger

LEDGER = "fitprint.db"

# Trains on a machine of 100 W with Keras' own backup; dies where it is told to.
PROGRAM = """
import json, os, sys, time
from functools import partial
import numpy as np
import keras
from fitprint import Tracker
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint_keras import CarbonCallback

clock = FakeClock()
options = json.loads(os.environ["OPTIONS"])
dies_at = int(os.environ.get("DIES_AT", -1))

class Pace(keras.callbacks.Callback):
    epoch = 0
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
    def on_train_batch_begin(self, batch, logs=None):
        clock.advance(1.0)
        if (self.epoch, batch) == (dies_at, 2):
            run = callback.series.open._guard.run
            run._books.meter.snapshot(); run._tick()
            time.sleep(0.5)  # the clerk writes
            print("now", flush=True)
            time.sleep(60)

callback = CarbonCallback(region="FR", **options)
make = partial(Tracker, counters=[ScriptedCounter(clock)], around=Surroundings(clock=clock, environ={}))
callback.series = Series(callback.series.config, make)
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
rows = np.zeros((32, 5), dtype="float32")
model.fit(
    rows[:, :4], rows[:, 4:], batch_size=8, epochs=5, verbose=0,
    callbacks=[callback, Pace(), keras.callbacks.BackupAndRestore("backup")],
)
print(callback.footprint.to_json())
"""


def start(options: str, **environ: str) -> subprocess.Popen:
    environ = {**os.environ, "OPTIONS": options, **environ}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environ)


def killed(options: str) -> None:
    process = start(options, DIES_AT="2")
    while process.stdout.readline().strip() != "now":
        assert process.poll() is None
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    process.stdout.close()


def done(options: str) -> Footprint:
    process = start(options)
    out = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    return Footprint.from_json(out.splitlines()[-1])


@pytest.mark.timeout(240)
def test_a_killed_fit_goes_on_by_its_run_id_with_all_that_it_used():
    killed('{"run_id": "mine"}')
    dead = Ledger(LEDGER).footprint("mine")
    assert (dead.status, dead.energy_j, len(dead.epochs)) == ("lost", 1100.0, 2)
    whole = done('{"run_id": "mine", "budget": "2000 J"}')
    assert (whole.run_id, whole.status) == ("mine", "stopped")
    assert 1500.0 <= whole.energy_j <= 2000.0
    assert [e.index for e in whole.epochs] == [0, 1, 2, 3], "Keras goes on where its backup ends"
    assert sum(e.energy_j for e in whole.epochs) + whole.outside_epochs_j == pytest.approx(whole.energy_j, abs=1e-6)
    assert Ledger(LEDGER).footprint("mine").to_dict() == whole.to_dict()


@pytest.mark.timeout(240)
def test_with_the_ledger_off_a_killed_fit_goes_on_by_the_state_beside_the_backup():
    killed('{"ledger": "off", "backup_dir": "backup"}')
    assert Path("backup.fitprint.json").is_file()
    whole = done('{"ledger": "off", "backup_dir": "backup"}')
    assert [e.index for e in whole.epochs] == [0, 1, 2, 3, 4]
    assert whole.energy_j == 2000.0, "what was used after the last epoch is not known without a ledger"
    assert len(whole.segments) == 2


@pytest.mark.timeout(240)
def test_with_a_ledger_and_a_backup_what_came_after_the_last_epoch_is_spent_too():
    killed('{"backup_dir": "backup"}')
    whole = done('{"backup_dir": "backup"}')
    assert whole.energy_j == 1100.0 + 3 * 400.0
    assert len(Ledger(LEDGER).runs()) == 1


def test_two_fits_under_one_run_id_in_two_callbacks_add_up(carbon, pace, model, data):
    for epochs in (1, 2):
        callback = carbon(run_id="mine", ledger=LEDGER)
        model.fit(**data, epochs=epochs, callbacks=[callback, pace])
    assert (callback.footprint.run_id, len(callback.footprint.epochs)) == ("mine", 3)
    assert Ledger(LEDGER).footprint("mine").to_dict() == callback.footprint.to_dict()


def test_a_backup_that_is_kept_goes_on_with_its_run(carbon, pace, model, data):
    def fit(epochs):
        callback = carbon(backup_dir="backup")
        backup = keras.callbacks.BackupAndRestore("backup", delete_checkpoint=False)
        model.fit(**data, epochs=epochs, callbacks=[callback, pace, backup])
        return callback.footprint

    first, second = fit(2), fit(3)
    assert (second.run_id, [e.index for e in second.epochs]) == (first.run_id, [0, 1, 2])


def test_a_state_that_cannot_be_written_costs_one_line(carbon, pace, model, data, caplog):
    Path("in-the-way").write_text("a file")
    callback = carbon(backup_dir="in-the-way/backup")
    model.fit(**data, epochs=2, callbacks=[callback, pace])
    assert len(callback.footprint.epochs) == 2
    assert sum("writing the run's state failed" in record.getMessage() for record in caplog.records) == 1


def test_a_state_that_is_nonsense_is_not_taken(carbon, pace, model, data):
    Path("backup.fitprint.json").write_text('{"footprint": [1]}')
    callback = carbon(backup_dir="backup")
    model.fit(**data, epochs=1, callbacks=[callback, pace])
    assert len(callback.footprint.epochs) == 1
