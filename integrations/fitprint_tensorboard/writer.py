"""Writes TensorBoard event files with TensorBoard's own record format and nothing else."""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fitprint.errors import MissingExtraError
from fitprint.notices import logger
from fitprint.open_files import leave_room
from fitprint_tensorboard.summaries import hparams_values, layout_value, scalar_value, text_value
from fitprint_tensorboard.texts import layout, texts

_NUMBERS = itertools.count()


class CarbonWriter:
    """Writes scalars and texts into a log folder, where TensorBoard finds them beside other runs.

    A folder that cannot be written costs one warning, never the training. The file's name holds no
    host name.

    Args:
        log_dir: Folder of the run; created at the first write.

    Raises:
        MissingExtraError: If TensorBoard is not installed.

    Example::

        writer = CarbonWriter("logs/train")
        writer.scalars({"carbon/epoch_co2e_g": 3.1}, step=0)
        writer.close()
    """

    def __init__(self, log_dir: str | Path) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise MissingExtraError("Writing TensorBoard events", "tensorboard")
        self.log_dir = Path(log_dir)
        self._file: Any = None
        self._failed = self._begun = False

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write one point of each series."""
        self._write(lambda: [scalar_value(tag, value) for tag, value in values.items()], step)

    def text(self, tag: str, text: str, step: int) -> None:
        """Write a text for the text tab."""
        self._write(lambda: [text_value(tag, text)], step)

    def run(self, record: str, step: int) -> None:
        """Write what a run has to show: its record, a summary, and with the first of them charts and hyperparameters.

        Args:
            record: The run's Footprint as JSON, as ``Tracker.run_text`` gives it.
            step: Where it stands in the run.
        """
        begins, self._begun = not self._begun, True
        if begins:
            self._write(lambda: [layout_value(layout()), *hparams_values(record)], step)
        self._write(lambda: [text_value(tag, text) for tag, text in texts(record).items()], step)

    def close(self) -> None:
        """Flush and close; may be called twice, and writing again opens a new file."""
        file, self._file, self._begun = self._file, None, False
        if file is None:
            return
        try:
            file.close()
        except OSError as error:  # what a full disk did not take is tried once more, and the file is closed whatever comes
            self._give_up(error)

    def _write(self, make: Callable[[], list[Any]], step: int) -> None:
        if self._failed:
            return
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary

            self._file = self._file or self._open()
            self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=make())))
            self._file.flush()
        except Exception as error:  # a full disk, or a TensorBoard that is broken here
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if self._failed:
            return
        self._failed = True
        logger().warning(
            "TensorBoard events cannot be written to %s (%s); training goes on without them. Choose another log_dir.",
            self.log_dir,
            error,
        )

    def _open(self) -> Any:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        leave_room()
        self.log_dir.mkdir(parents=True, exist_ok=True)
        # Files are read in the order of their names: after one that a framework began in this second and has closed.
        name = f"events.out.tfevents.{math.ceil(time.time())}.fitprint.{os.getpid()}.{next(_NUMBERS)}"
        self._file = RecordWriter((self.log_dir / name).open("wb"))
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        return self._file

    def _append(self, event: Any) -> None:
        self._file.write(event.SerializeToString())
