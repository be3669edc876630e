"""A series that a service on the web tells, for commands that take one from a file too."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from fitprint.carbon.hourly import HourlySeries
from fitprint.carbon.intensity_option import EXPECTED
from fitprint.carbon.live import parse_source
from fitprint.config import Config
from fitprint.errors import FitprintError, refusal
from fitprint.settings import check_network, resolve


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options without which nothing is sent."""
    parser.add_argument("--allow-network", action="store_true", default=None, help="let the service be asked")
    parser.add_argument("--token-file", metavar="FILE", help="credentials of the service, NAME=value in each line, mode 0600")


def fetched(text: str, options: argparse.Namespace, start_s: float, end_s: float) -> HourlySeries:
    """Ask a service once for a stretch of time, in seconds since 1970.

    Args:
        text: The service and its zone, such as ``electricitymaps:FR``.
        options: Of the command.
        start_s: The stretch's beginning.
        end_s: Its end; where it lies ahead, the forecast is asked for too.

    Raises:
        ConfigError: If the network is not allowed, the credentials are missing, or no such service is known.
        FitprintError: If it tells nothing.
    """
    config = Config(intensity=text, allow_network=options.allow_network, token_file=options.token_file)
    check_network(config)
    live = parse_source(text, token_file=resolve(config).token_file)
    if live is None or not live.provider.zone:
        raise refusal("intensity", expected=EXPECTED, came=text, hint="Name the service and its zone.")
    live.fetch(datetime.fromtimestamp(start_s, UTC), datetime.fromtimestamp(end_s, UTC))
    if live.series is None:
        raise FitprintError(f"{live.source} told nothing: {live.trouble}.")
    return live.series
