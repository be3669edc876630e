"""The Carbon tab's routes: its own files, and what the event data say, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard.backend import http_util
from tensorboard.plugins.base_plugin import FrontendMetadata, TBPlugin
from werkzeug import wrappers

from fitprint_tensorboard.events import Events
from fitprint_tensorboard.pieces import pieces_of
from fitprint_tensorboard.places import places_of
from fitprint_tensorboard.rows import row_of
from fitprint_tensorboard.windows import metric_of, windows_of
from tensorboard import plugin_util

STATIC = Path(__file__).parent / "static"
# Said explicitly: what the system's table says may be wrong (Windows), and browsers refuse a module with another type.
TYPES = {".js": "text/javascript", ".css": "text/css"}

Answer = Callable[[Events, wrappers.Request], Any]


class CarbonPlugin(TBPlugin):  # type: ignore[misc]  # TensorBoard is not typed
    """The Carbon tab. Reads event data through TensorBoard's data provider and nothing else.

    Args:
        context: What TensorBoard gives its plugins; without a data provider the tab stays empty.
    """

    plugin_name = "fitprint"

    def __init__(self, context: Any) -> None:
        self._provider = context.data_provider

    def get_plugin_apps(self) -> dict[str, Any]:
        """One route for each file that there is, so that no path can leave the folder."""
        files = {f"/static/{file.name}": _file(file) for file in sorted(STATIC.iterdir()) if file.suffix in TYPES}
        answers: dict[str, Answer] = {
            "/runs": _runs,
            "/series": _series,
            "/metric": _metric,
            "/elsewhere": _elsewhere,
            "/advice": _advice,
        }
        return files | {route: self._json(answer) for route, answer in answers.items()}

    def is_active(self) -> bool:
        """Asked at every reload: TensorBoard itself knows whether there are scalars."""
        return False

    def data_plugin_names(self) -> tuple[str, ...]:
        return ("scalars",)

    def frontend_metadata(self) -> Any:
        return FrontendMetadata(es_module_path="/static/index.js", tab_name="Carbon")

    def _json(self, answer: Answer) -> Any:
        @wrappers.Request.application
        def respond(request: wrappers.Request) -> wrappers.Response:
            if self._provider is None:
                return _respond(request, None)
            environ = request.environ
            events = Events(self._provider, plugin_util.context(environ), plugin_util.experiment_id(environ))
            return _respond(request, answer(events, request))

        return respond


def _runs(events: Events, request: wrappers.Request) -> list[dict[str, Any]]:
    sources = events.sources()
    last, records = events.last(sources.values()), events.records(list(sources))
    return [row_of(source, last.get(name, {}), records.get(name)) for name, source in sources.items()]


def _series(events: Events, request: wrappers.Request) -> dict[str, Any] | None:
    source = events.sources().get(request.args.get("run", ""))
    return None if source is None else windows_of(source, events)


def _metric(events: Events, request: wrappers.Request) -> dict[str, Any] | None:
    source = events.sources().get(request.args.get("run", ""))
    return None if source is None else metric_of(source, request.args.get("metric", ""), events)


def _elsewhere(events: Events, request: wrappers.Request) -> dict[str, Any] | None:
    run = request.args.get("run", "")
    return places_of(events.records([run]).get(run))


def _advice(events: Events, request: wrappers.Request) -> dict[str, Any] | None:
    return pieces_of(request.args.get("run", ""), events)


def _respond(request: wrappers.Request, answer: Any) -> wrappers.Response:
    """JSON; what is unknown is null, with status 404 where it was asked for by name."""
    code = 404 if answer is None and request.args else 200
    text = json.dumps([] if answer is None and not request.args else answer, allow_nan=False)
    response: wrappers.Response = http_util.Respond(request, text, "application/json", code=code)
    return response


def _file(file: Path) -> Any:
    @wrappers.Request.application
    def respond(request: wrappers.Request) -> wrappers.Response:
        kind = TYPES[file.suffix]
        response: wrappers.Response = http_util.Respond(request, file.read_bytes(), kind)
        return response

    return respond
