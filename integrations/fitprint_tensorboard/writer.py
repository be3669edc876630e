"""Writes TensorBoard event files with TensorBoard's own record format and nothing else."""

from __future__ import annotations

import importlib.util
import itertools
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fitprint.errors import MissingExtraError
from fitprint.notices import logger

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
        self._failed = False

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write one point of each series."""
        self._write(lambda: [_scalar(tag, value) for tag, value in values.items()], step)

    def text(self, tag: str, text: str, step: int) -> None:
        """Write a text for the text tab."""
        self._write(lambda: [_text(tag, text)], step)

    def close(self) -> None:
        """Flush and close; may be called twice, and writing again opens a new file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

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
            self._failed = True
            logger().warning(
                "TensorBoard events cannot be written to %s (%s); training goes on without them. Choose another log_dir.",
                self.log_dir,
                error,
            )

    def _open(self) -> Any:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.log_dir.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.fitprint.{os.getpid()}.{next(_NUMBERS)}"
        self._file = RecordWriter((self.log_dir / name).open("wb"))
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        return self._file

    def _append(self, event: Any) -> None:
        self._file.write(event.SerializeToString())


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=value)


def _text(tag: str, text: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=[text.encode()])
    plugin = SummaryMetadata.PluginData(plugin_name="text")
    return Summary.Value(tag=f"{tag}/text_summary", tensor=tensor, metadata=SummaryMetadata(plugin_data=plugin))
