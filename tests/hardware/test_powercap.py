"""RAPL through a powercap tree that a writer keeps up to date, as the kernel does, wrapping and all."""

from __future__ import annotations

import threading
import time

import pytest

from fitprint import Config, Tracker
from fitprint.testing import FakePowercap
from fitprint_lightning import CarbonCallback

pl = pytest.importorskip("lightning.pytorch")
boring = pytest.importorskip("lightning.pytorch.demos.boring_classes")

WATTS = {"intel-rapl:0": 100.0, "intel-rapl:0:0": 20.0, "intel-rapl:1": 130.0}
PSYS = "intel-rapl:2"
WRITE_EVERY_S = 0.01


class Kernel:
    """Rewrites the counters every 10 ms and knows the true totals."""

    def __init__(self, tree: FakePowercap, watts=WATTS) -> None:
        self.tree = tree
        self.watts = watts
        self.written_j = 0.0
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def joules(self) -> float:
        """What package and DRAM counters have really counted by now; psys is not among them."""
        return sum(self.watts.values()) * (time.monotonic() - self._began)

    def _write(self) -> None:
        while not self._stop.wait(WRITE_EVERY_S):
            seconds = time.monotonic() - self._began
            for zone, watts in {**self.watts, PSYS: 400.0}.items():
                self.tree.write(zone, round(watts * seconds * 1e6))
            self.written_j = sum(self.watts.values()) * seconds

    def __enter__(self) -> Kernel:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def kernel(tmp_path):
    """Two packages, one with DRAM, that wrap every 200 J, and a psys zone that holds them all."""
    tree = FakePowercap(tmp_path / "sys", range_uj=200_000_000)
    tree.add_zone("intel-rapl:0", "package-0")
    tree.add_zone("intel-rapl:0:0", "dram")
    tree.add_zone("intel-rapl:1", "package-1")
    tree.add_zone("intel-rapl:2", "psys")
    with Kernel(tree) as running:
        yield running


class Truth(pl.Callback):
    """Reads the kernel's own totals at the hooks."""

    def __init__(self, kernel):
        self.kernel, self.epochs = kernel, []

    def on_train_epoch_start(self, trainer, pl_module):
        self.began = self.kernel.joules()

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs.append(self.kernel.joules() - self.began)


class Slow(boring.BoringModel):
    def training_step(self, batch, batch_idx):
        time.sleep(0.25)
        return super().training_step(batch, batch_idx)


def test_epochs_over_which_every_zone_wraps_are_counted_in_full(kernel, tmp_path):
    config = Config(parts=["cpu", "dram"], sys_root=str(tmp_path / "sys"), ledger="off", region="FR")
    callback, truth = CarbonCallback(config=config), Truth(kernel)
    trainer = pl.Trainer(
        max_epochs=2,
        limit_train_batches=14,
        limit_val_batches=0,
        callbacks=[truth, callback],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Slow())
    footprint = callback.footprint
    assert min(truth.epochs) > 2 * 200 * 2, "every package wrapped at least once in each epoch"
    assert [epoch.energy_j for epoch in footprint.epochs] == pytest.approx(truth.epochs, rel=0.03)
    counted = {s["id"] for s in footprint.sensors if s["role"] == "counted"}
    assert counted == {"cpu:package-0", "dram:package-0", "cpu:package-1"}
    assert footprint.measured_fraction == 1.0
    assert footprint.coverage == pytest.approx(1.0, abs=0.02)
    cpu, dram = footprint.by_part["cpu"], footprint.by_part["dram"]
    assert cpu / dram == pytest.approx(230 / 20, rel=0.02)


def test_a_long_epoch_over_a_counter_that_wraps_every_two_seconds_is_the_writers_own_total(tmp_path):
    tree = FakePowercap(tmp_path / "sys", range_uj=200_000_000)
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:2", "psys")):
        tree.add_zone(zone, name)
    config = Config(parts=["cpu"], sys_root=str(tmp_path / "sys"), ledger="off", region="FR")
    with Kernel(tree, {"intel-rapl:0": 100.0}) as kernel, Tracker(config=config) as tracker, tracker.epoch(0):
        before_j = kernel.written_j
        time.sleep(14.0)
        after_j = kernel.written_j
    assert after_j - before_j > 6 * 200, "the counter wrapped six times"
    assert tracker.footprint.epochs[0].energy_j == pytest.approx(after_j - before_j, rel=0.01)
    assert tracker.footprint.node_energy_j == pytest.approx(4 * tracker.footprint.energy_j, rel=0.02)
