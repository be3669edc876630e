"""The tools that are compared, as their documentation recommends to measure one epoch after another.

Imports nothing but the tool, when it is made: each lives in an environment of its own.
"""

from __future__ import annotations

import os

J_PER_KWH = 3.6e6


class Fitprint:
    """A Tracker with its ledger on, as by default; the region is said, and only the GPU is read, as in the others."""

    def __init__(self, epochs: int) -> None:
        from fitprint import Config, Tracker
        from fitprint.pace import Schedule

        self.schedule = Schedule(batches=1)
        self.tracker = Tracker(region="FR", config=Config(parts=["gpu"])).start()
        if not self.tracker.measuring:
            raise RuntimeError("fitprint does not measure")

    def begin(self, index: int) -> None:
        self.tracker.begin_epoch(index, self.schedule)

    def end(self, index: int) -> None:
        self.tracker.end_epoch()

    def joules(self) -> list[float]:
        return [epoch.energy_j for epoch in self.tracker.footprint.epochs]

    def close(self) -> None:
        self.tracker.close()


class Zeus:
    """Windows on the GPU; execution is not synchronised because no framework is there to be."""

    def __init__(self, epochs: int) -> None:
        from zeus.monitor import ZeusMonitor

        self.monitor = ZeusMonitor(gpu_indices=list(range(int(os.environ.get("RIG_BOARDS", "1")))))
        self.results: list[float] = []

    def begin(self, index: int) -> None:
        self.monitor.begin_window("epoch", sync_execution=False)

    def end(self, index: int) -> None:
        self.results.append(self.monitor.end_window("epoch", sync_execution=False).total_energy)

    def joules(self) -> list[float]:
        return self.results

    def close(self) -> None:
        """Nothing has to be."""


class CodeCarbon:
    """Tasks, offline with the country given: no look-up of the place. Its GPU energy alone is compared."""

    def __init__(self, epochs: int) -> None:
        self.tracker = self.make()
        self.results: list[float] = []

    def make(self):
        from codecarbon import OfflineEmissionsTracker

        return OfflineEmissionsTracker(country_iso_code="FRA", log_level="error")

    def begin(self, index: int) -> None:
        self.tracker.start_task(f"epoch {index}")

    def end(self, index: int) -> None:
        self.results.append(self.tracker.stop_task().gpu_energy * J_PER_KWH)

    def joules(self) -> list[float]:
        return self.results

    def close(self) -> None:
        self.tracker.stop()


class CodeCarbonOnline(CodeCarbon):
    """The default tracker, which looks up where it is."""

    def make(self):
        from codecarbon import EmissionsTracker

        return EmissionsTracker(log_level="error")


class CarbonTracker:
    """Epochs, GPU only, power every second as by default; its fixed PUE is taken out again."""

    def __init__(self, epochs: int) -> None:
        from carbontracker.tracker import CarbonTracker as Tracker

        self.tracker = Tracker(epochs=epochs + 1, components="gpu", verbose=0)

    def begin(self, index: int) -> None:
        self.tracker.epoch_start()

    def end(self, index: int) -> None:
        self.tracker.epoch_end()

    def joules(self) -> list[float]:
        from carbontracker import constants

        return [float(kwh) * J_PER_KWH / constants.PUE_2023 for kwh in self.tracker.tracker.total_energy_per_epoch()]

    def close(self) -> None:
        self.tracker.stop()


TOOLS = {
    "fitprint": Fitprint,
    "zeus": Zeus,
    "codecarbon": CodeCarbon,
    "codecarbon (online)": CodeCarbonOnline,
    "carbontracker": CarbonTracker,
}
IMPORTS = {
    "fitprint": "from fitprint import Tracker",
    "zeus": "from zeus.monitor import ZeusMonitor",
    "codecarbon": "from codecarbon import OfflineEmissionsTracker",
    "codecarbon (online)": "from codecarbon import EmissionsTracker",
    "carbontracker": "from carbontracker.tracker import CarbonTracker",
}
