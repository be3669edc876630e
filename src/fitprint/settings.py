"""What a run uses: argument > FITPRINT_* > [tool.fitprint] in pyproject.toml > user file > default."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fitprint.budget import Budget
from fitprint.carbon.chassis import find_chassis
from fitprint.carbon.facility import node_factor_row, pue_row
from fitprint.carbon.factors import Factors
from fitprint.carbon.intensity import Intensity, IntensitySource, given_intensity, yearly_intensity
from fitprint.carbon.intensity_option import asks_the_web, open_source, require_credentials
from fitprint.carbon.place import Place, find_place
from fitprint.clock import Clock
from fitprint.config import Config
from fitprint.errors import ConfigError
from fitprint.layers import checked, outside
from fitprint.location import Location
from fitprint.notices import keep_quiet, logger, warn
from fitprint.options import ATTRIBUTE, OFF
from fitprint.sensors.counter import PARTS
from fitprint.sensors.probe import Surroundings
from fitprint.sinks.sink import Sink

DEFAULT_LEDGER = "fitprint.db"
DEFAULT_BLOCK = 500
# What a process inside a run has in common with it: where it counts and under which name, not what it may use.
PASSED_ON = ("region", "intensity", "allow_network", "token_file", "pue", "node_factor", "project")


class Settings(NamedTuple):
    """What a run uses: every layer resolved.

    Attributes:
        config: The winning values.
        given_by: Which layer each field came from, in words.
        disabled: FITPRINT_DISABLE is set: no measuring, no files.
    """

    config: Config
    given_by: Mapping[str, str]
    disabled: bool = False

    @property
    def budgets(self) -> tuple[Budget, ...]:
        return Budget.several(self.config.budget)

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.config.parts or PARTS)

    @property
    def attribute(self) -> str:
        return self.config.attribute or ATTRIBUTE[0]

    @property
    def calibrate_idle_s(self) -> float:
        return self.config.calibrate_idle or 0.0

    @property
    def sync(self) -> bool:
        return bool(self.config.sync)

    @property
    def save_on_stop(self) -> bool:
        return bool(self.config.save_on_stop)

    @property
    def sinks(self) -> tuple[str | Sink, ...]:
        return tuple(self.config.sinks or ())

    @property
    def flops(self) -> bool:
        return self.config.flops is not False

    @property
    def block(self) -> int:
        return self.config.block or DEFAULT_BLOCK

    @property
    def ledger(self) -> Location | None:
        """The ledger's place, or None where it is switched off."""
        text = self.config.ledger or DEFAULT_LEDGER
        return None if text.casefold() in OFF else Location.of(text)

    @property
    def token_file(self) -> Path | None:
        return Path(self.config.token_file).expanduser() if self.config.token_file else None

    @property
    def sys_root(self) -> Path:
        return Path(self.config.sys_root or "/sys")

    @property
    def proc_root(self) -> Path:
        return Path(self.config.proc_root or "/proc")

    def environment(self) -> dict[str, str]:
        """What a process that is started now needs in its environment, so that its runs count in the same place and ledger."""
        given = {name: getattr(self.config, name) for name in PASSED_ON}
        texts = {name: str(value) for name, value in given.items() if isinstance(value, str | float | bool)}
        place = self.ledger
        texts["ledger"] = OFF[0] if place is None else place.url or str(place.path)
        return {f"FITPRINT_{name.upper()}": text for name, text in texts.items()}

    def surroundings(self, keep: Callable[[dict[str, Any]], None] | None = None) -> Surroundings:
        """This machine, seen through the folders that the settings name.

        Args:
            keep: Takes the raw readings of all counters.
        """
        return Surroundings(sys_root=self.sys_root, proc_root=self.proc_root, keep=keep)

    def factors(self, around: Surroundings, *, hidden_boards: bool = False, covered: Collection[str] = ()) -> Factors:
        """Settle place, intensity, PUE and node factor.

        Args:
            around: The machine, and the process environment.
            hidden_boards: The machine holds boards that draw power and are not counted.
            covered: Parts that are counted inside another part's sensor.
        """
        config, environ = self.config, around.environment()
        place = self._place(around, environ)
        chassis = find_chassis(around.sys_root, environ, virtual=around.machine.virtual, provider=place.provider)
        intensity, source = self._constant(place), self._intensity_source(place, around.clock)
        pue = pue_row(config.pue, self.source_of("pue"), chassis, region=place.code, provider=place.provider)
        node_factor = node_factor_row(config.node_factor, self.source_of("node_factor"), chassis)
        return Factors(
            place, intensity, pue, node_factor, hidden_boards=hidden_boards, covered=covered, chassis=chassis, source=source
        )

    def _place(self, around: Surroundings, environ: Mapping[str, str]) -> Place:
        region, source = self.config.region, self.source_of("region")
        if not self.config.allow_network:
            return find_place(region, source, environ, sys_root=around.sys_root)
        from fitprint.carbon.metadata import ask_region

        return find_place(region, source, environ, sys_root=around.sys_root, ask_cloud=ask_region)

    def _constant(self, place: Place) -> Intensity:
        given = self.config.intensity
        if isinstance(given, Intensity):
            return given
        return given_intensity(given, self.source_of("intensity")) if isinstance(given, float) else yearly_intensity(place)

    def _intensity_source(self, place: Place, clock: Clock) -> IntensitySource | None:
        """Intensities over time, or None where a constant is used. A file may have gone since it was checked."""
        given = self.config.intensity
        if given is None or isinstance(given, float | Intensity):
            return None
        try:
            return open_source(given, place, token_file=self.token_file, clock=clock)
        except ConfigError as error:
            logger().warning("%s The yearly average of %s is used.", error, place.name)
            return None

    def source_of(self, field: str) -> str:
        """Where a field was set, in words that can be printed."""
        return self.given_by.get(field, "default")


def resolve(
    config: Config | None = None, environ: Mapping[str, str] | None = None, folder: Path | None = None, *, quiet: bool = False
) -> Settings:
    """Lay the layers over each other. Only the first layer can raise, and it has been checked already.

    Args:
        config: What the program set.
        environ: The process environment.
        folder: Where the search for pyproject.toml begins; the working folder by default.
        quiet: Warn of nothing: the run itself does, once.
    """
    say = keep_quiet if quiet else warn
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    given_by: dict[str, str] = {}
    for layer, fields in [*outside(environ, folder, say), ("argument", Config.of(config).given())]:
        values.update(fields)
        given_by.update(dict.fromkeys(fields, layer))
    disabled = environ.get("FITPRINT_DISABLE", "").strip().casefold() not in ("", *OFF)
    if "intensity" in values:  # a file may have gone since it was checked
        values |= checked({"intensity": values.pop("intensity")}, given_by["intensity"], say)
    if asks_the_web(values.get("intensity")) and not values.get("allow_network"):
        say("ignored a setting in %s: %s", given_by["intensity"], _offline(values.pop("intensity")))
    return Settings(Config(**values), given_by, disabled)


def check_network(config: Config, environ: Mapping[str, str] | None = None) -> None:
    """Refuse, at construction, an intensity that has to be fetched where that is not allowed or cannot be done.

    Raises:
        ConfigError: If the network is not allowed, or credentials are missing.
        MissingExtraError: If the extra ``[live]`` is not installed.
    """
    if not asks_the_web(config.intensity):
        return
    settings = resolve(dataclasses.replace(config, intensity=None), environ, quiet=True)
    if not settings.config.allow_network:
        raise _offline(config.intensity)
    if not settings.disabled:
        require_credentials(config.intensity, settings.token_file)


def _offline(intensity: Any) -> ConfigError:
    return ConfigError(
        f"intensity={intensity!r} asks a service on the web, and the network is not allowed. "
        "Allow it with Config(allow_network=True) or FITPRINT_ALLOW_NETWORK=1."
    )
