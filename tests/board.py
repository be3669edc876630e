"""The Carbon tab's answers on a log folder, through TensorBoard's own data provider and without a server."""

from __future__ import annotations

import json
from pathlib import Path

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from werkzeug.test import Client

from fitprint_tensorboard.loader import CarbonLoader


class Board:
    """Asks the plugin's routes."""

    def __init__(self, logdir: str | Path):
        runs = EventMultiplexer()
        runs.AddRunsFromDirectory(str(logdir))
        runs.Reload()
        self.provider = MultiplexerDataProvider(runs, str(logdir))
        self.routes = CarbonLoader().load(TBContext(data_provider=self.provider)).get_plugin_apps()

    def ask(self, route: str, **query: str):
        """JSON of a route, None where it has nothing."""
        answer = Client(self.routes[f"/{route}"]).get(f"/{route}", query_string=query)
        return json.loads(answer.get_data()) if answer.status_code == 200 else None

    def run(self, name: str) -> dict:
        """The row of one run."""
        (row,) = [row for row in self.ask("runs") if row["run"] == name]
        return row
