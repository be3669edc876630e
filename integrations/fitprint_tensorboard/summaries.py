"""Values of event files as TensorBoard's protocol buffers, which are imported when one is made."""

from __future__ import annotations

from typing import Any

from fitprint.footprint import Footprint
from fitprint_tensorboard.texts import Layout


def scalar_value(tag: str, value: float) -> Any:
    """A point of a series."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=value)


def text_value(tag: str, text: str) -> Any:
    """A text for the text tab, which reads Markdown."""
    return _of_plugin("text", f"{tag}/text_summary", text.encode(), size=1)


def layout_value(charts: Layout) -> Any:
    """Charts for the custom scalars tab."""
    from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Layout
    from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG, PLUGIN_NAME

    categories = [Category(title=title, chart=[_chart(name, *chart) for name, chart in of.items()]) for title, of in charts.items()]
    return _of_plugin(PLUGIN_NAME, CONFIG_SUMMARY_TAG, Layout(category=categories).SerializeToString())


def hparams_values(record: str) -> list[Any]:
    """Hyperparameters for the HParams tab, which takes our scalars as its metrics; nothing where none are known."""
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    known = {name: value for name, value in (Footprint.from_json(record).hparams or {}).items() if value is not None}
    plain = {name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in known.items()}
    return list(hparams_pb(plain).value) if plain else []


def _chart(title: str, kind: str, tags: list[str]) -> Any:
    from tensorboard.plugins.custom_scalar.layout_pb2 import Chart, MarginChartContent, MultilineChartContent

    if kind == "Multiline":
        return Chart(title=title, multiline=MultilineChartContent(tag=tags))
    value, lower, upper = tags
    series = MarginChartContent.Series(value=value, lower=lower, upper=upper)
    return Chart(title=title, margin=MarginChartContent(series=[series]))


def _of_plugin(plugin: str, tag: str, content: bytes, size: int | None = None) -> Any:
    """A string for one of TensorBoard's plugins: a scalar, or an array of one."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    shape = TensorShapeProto(dim=[] if size is None else [TensorShapeProto.Dim(size=size)])
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=[content])
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
    return Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
