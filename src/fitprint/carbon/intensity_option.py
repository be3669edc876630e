"""What the option ``intensity`` can be: grams per kWh, a file or a service that tells them over time, or the user's own source.

Files and services are imported where one is given: most runs have a constant.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitprint.carbon.intensity import IntensitySource, check_intensity
from fitprint.carbon.place import Place
from fitprint.clock import Clock
from fitprint.errors import ConfigError, refusal
from fitprint.files import home_path

if TYPE_CHECKING:
    from fitprint.carbon.hourly import HourlySeries

EXPECTED = (
    "grams of CO2e per kWh, the path of a CSV file of them over time, a service such as 'electricitymaps:FR', "
    "'watttime:CAISO_NORTH' or 'ukci', or an object with between(start, end)"
)


def is_source(value: Any) -> bool:
    """Whether it is an object that tells intensities over time."""
    return callable(getattr(value, "between", None))


def check_text(value: str | Path) -> float | str:
    """A number that came as text, a service by its name, or the path of a series, which is read to see whether it can be.

    Raises:
        ConfigError: If it is none of these; the message says what is wrong with the file where there is one.
    """
    from fitprint.carbon.provider_names import find_provider

    text = str(value).strip()
    try:
        return check_intensity(float(text))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
    if find_provider(text) is not None:
        return text
    path = home_path("intensity", text, expected=EXPECTED).absolute()
    if not text or not path.is_file():
        raise refusal("intensity", expected=EXPECTED, came=text, hint="There is no such file." if text else "")
    _read(path)
    return str(path)


def asks_the_web(value: Any) -> bool:
    """Whether such an intensity has to be fetched from a service on the web."""
    if value is None or isinstance(value, float | int):
        return False
    from fitprint.carbon.live import LiveIntensity
    from fitprint.carbon.provider_names import find_provider

    return find_provider(value) is not None if isinstance(value, str) else isinstance(value, LiveIntensity)


def require_credentials(value: Any, token_file: Path | None) -> None:
    """Check, without asking anybody, that a service can be asked.

    Raises:
        MissingExtraError: If the extra ``[live]`` is not installed.
        ConfigError: If the credentials are not there.
    """
    from fitprint.carbon.live import LiveIntensity, parse_source

    live = parse_source(value, token_file=token_file) if isinstance(value, str) else value
    if isinstance(live, LiveIntensity):
        live.require()


def open_source(value: str | IntensitySource, place: Place, *, token_file: Path | None, clock: Clock) -> IntensitySource:
    """The source that a checked option stands for. Nothing is sent.

    Args:
        value: As the option came out of its check.
        place: Settles the zone where the option names none.
        token_file: Credentials of services.
        clock: The run's.

    Raises:
        ConfigError: If a file cannot be read any more.
    """
    if not isinstance(value, str):
        return value
    from fitprint.carbon.live import parse_source

    live = parse_source(value, token_file=token_file, clock=clock)
    return live.for_place(place) if live is not None else _read(Path(value))


def _read(path: Path) -> HourlySeries:
    try:
        about = path.stat()
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    return _read_once(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def _read_once(path: Path, _written_ns: int, _bytes: int) -> HourlySeries:
    """Options are checked more than once; a file that has not changed is read once."""
    from fitprint.carbon.series_file import read_series

    return read_series(path)
