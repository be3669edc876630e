"""Sinks by their names: ours from a table, those of other packages from the entry-point group ``fitprint.sinks``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from fitprint.errors import MissingExtraError, refusal
from fitprint.sinks.sink import Sink

GROUP = "fitprint.sinks"
METHODS = ("begin", "log", "run", "close")

# Name: module here, class in it, and the package that it needs; the extra is called like the module.
SINKS = {
    "mlflow": ("mlflow", "MLflowSink", "mlflow"),
    "wandb": ("wandb", "WandbSink", "wandb"),
    "clearml": ("clearml", "ClearMLSink", "clearml"),
    "prometheus": ("prometheus", "PrometheusFile", "prometheus_client"),
    "prometheus-http": ("prometheus", "PrometheusEndpoint", "prometheus_client"),
    "otel": ("otel", "OTelSink", "opentelemetry"),
}
HINT = "Let its class inherit from fitprint.sinks.Sink, and give an object of it."
EXPECTED = f"{', '.join(SINKS)}, each with its argument after a colon where it takes one, or objects with {', '.join(METHODS)}"


def check_sinks(value: Any) -> tuple[str | Sink, ...]:
    """Return the sinks if each can be made; none is opened.

    Raises:
        ConfigError: If one is no sink, or its argument makes no sense.
        MissingExtraError: If the package that it needs is not installed.
    """
    items = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    for item in items:
        open_sink(item)
    return items


def open_sink(item: str | Sink) -> Sink:
    """The sink that a name stands for, a new one; an object stands for itself."""
    if not isinstance(item, str):
        return _checked(item)
    name, _, argument = item.strip().partition(":")
    return _checked(_factory(name, item)(argument))


def name_of(item: str | Sink) -> str:
    """What it is called in messages: arguments may be private."""
    return item.strip().partition(":")[0] if isinstance(item, str) else type(item).__name__


def _checked(sink: Any) -> Sink:
    if isinstance(sink, type) or not all(callable(getattr(sink, method, None)) for method in METHODS):
        raise refusal("sinks", expected=EXPECTED, came=sink, hint=HINT)
    return sink  # type: ignore[no-any-return]


def _factory(name: str, came: str) -> Callable[[str], Any]:
    """What makes a sink of its argument."""
    if name in SINKS:
        module, kind, package = SINKS[name]
        from importlib.util import find_spec

        if find_spec(package) is None:
            raise MissingExtraError(f"The sink {name!r}", module)
        return getattr(importlib.import_module(f"fitprint.sinks.{module}"), kind)  # type: ignore[no-any-return]
    from importlib.metadata import entry_points

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise refusal("sinks", expected=EXPECTED, came=came, near=(*SINKS, *found))
    return found[name].load()  # type: ignore[no-any-return]
