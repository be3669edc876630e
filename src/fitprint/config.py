"""Options: argument > FITPRINT_* > [tool.fitprint] in pyproject.toml > user file > default."""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fitprint.budget import Budget
from fitprint.carbon.beside import check_currency, check_market_intensity, check_price, check_water, parse_water
from fitprint.carbon.chassis import find_chassis
from fitprint.carbon.embodied import check_embodied, parse_embodied
from fitprint.carbon.facility import check_node_factor, check_pue, node_factor_row, pue_row
from fitprint.carbon.factors import Factors
from fitprint.carbon.grid import EXPECTED, find_region
from fitprint.carbon.intensity import Intensity, IntensitySource, check_intensity, given_intensity, yearly_intensity
from fitprint.carbon.intensity_option import asks_the_web, check_text, is_source, open_source, require_credentials
from fitprint.carbon.metadata import ask_region
from fitprint.carbon.place import Place, find_place
from fitprint.carbon.sci import check_functional_unit
from fitprint.clock import Clock
from fitprint.errors import ConfigError, MissingExtraError, did_you_mean, refusal
from fitprint.location import EXPECTED as LEDGER_EXPECTED
from fitprint.location import Location, check_url
from fitprint.notices import logger, show_on_console
from fitprint.sensors.counter import PARTS
from fitprint.sensors.probe import Surroundings

DEFAULT_LEDGER = "fitprint.db"
DEFAULT_BLOCK = 500
OFF = ("off", "none", "no", "0", "false")
ON = ("on", "yes", "1", "true")
ATTRIBUTE = ("auto", "all", "share")
LONGEST_CALIBRATION_S = 3600.0
# What a process inside a run has in common with it: where it counts and under which name, not what it may use.
PASSED_ON = ("region", "intensity", "allow_network", "token_file", "pue", "node_factor", "project")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of a run. A field left at None is taken from the next layer.

    Args:
        budget: ``"250 g"``, ``"0.5 kWh"``, a Budget, or a list of these.
        region: Country, part of one or cloud region: ``FR``, ``US-CA``, ``gcp:europe-west1``.
        intensity: Carbon intensity of the electricity: g CO2e per kWh; the path of a CSV file of them over time; a service
            such as ``electricitymaps:FR``, ``electricitymaps`` (the zone of the place), ``watttime:CAISO_NORTH`` or ``ukci``,
            with ``allow_network``; or an object with ``between(start, end)``.
        allow_network: Let the run ask the service that ``intensity`` names, and the metadata service of the cloud
            that the machine belongs to for its region. Without it nothing is sent.
        token_file: File with the credentials of services that are not in the environment, ``NAME=value`` in each
            line, mode 0600.
        pue: Facility power over IT power, from 1 up.
        node_factor: Power at the machine's wall over the sensors' sum, from 1 up.
        project: Name under which runs are kept together.
        name: Name of the run.
        run_id: Identity of the run; a new one by default.
        ledger: Path of the SQLite file that records runs, ``"postgresql://user@host/database"``, or ``"off"``.
        parts: Parts to count, out of gpu, cpu, dram and soc.
        attribute: ``all`` counts devices whole, ``share`` this job's share of them; ``auto`` takes the
            share where the job owns only a part (SLURM, containers, MIG, other processes on the GPU).
        calibrate_idle: Seconds to wait and measure before the run, so that ``above_idle_j`` is known;
            not at all by default. Ten or more are worth something.
        sync: Wait at phase ends until the accelerators have done what was queued, so that each phase
            has its own joules to the last kernel. Totals need no waiting.
        block: Optimizer steps after which a longer epoch is cut into blocks.
        embodied: Count what making the hardware has emitted, beside the grams: True, or a mapping of ``years``,
            ``utilization``, ``gpu_kg``, ``host_kg``.
        water: Litres per kWh of the site and of the grid, such as ``(0.4, 3.1)``.
        market_intensity: g CO2e per kWh by contract, for market-based grams beside the location-based ones.
        price: Of a kWh.
        price_per_hour: Of a device for an hour.
        currency: Of both prices, a text.
        functional_unit: What a score is per, such as ``"1000 samples"`` (ISO/IEC 21031).
        flops: Count the floating-point operations of the first training step; on by default.
        tags: Labels kept with the run.
        save_on_stop: Save the model when a budget ends the run, where the framework itself saves none.
        sys_root: Folder to read instead of ``/sys``.
        proc_root: Folder to read instead of ``/proc``.

    Raises:
        ConfigError: If a value makes no sense; the message says what would.

    Example:
        >>> Config(region="FR", pue=1.2).region
        'FR'
    """

    budget: str | Budget | Sequence[str | Budget] | None = None
    region: str | None = None
    intensity: float | str | IntensitySource | None = None
    allow_network: bool | None = None
    token_file: str | None = None
    pue: float | None = None
    node_factor: float | None = None
    project: str | None = None
    name: str | None = None
    run_id: str | None = None
    # A URL may hold a password.
    ledger: str | None = dataclasses.field(default=None, repr=False)
    parts: Sequence[str] | None = None
    attribute: str | None = None
    calibrate_idle: float | None = None
    sync: bool | None = None
    block: int | None = None
    embodied: bool | Mapping[str, float] | None = None
    water: Sequence[float] | Mapping[str, float] | None = None
    market_intensity: float | None = None
    price: float | None = None
    price_per_hour: float | None = None
    currency: str | None = None
    functional_unit: str | None = None
    flops: bool | None = None
    tags: Sequence[str] | None = None
    save_on_stop: bool | None = None
    sys_root: str | None = None
    proc_root: str | None = None

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            object.__setattr__(self, name, CHECKS[name](value))

    @classmethod
    def of(cls, config: object) -> Config:
        """The argument ``config`` of whatever takes one; None is no options.

        Raises:
            ConfigError: If it is something else.
        """
        if config is None or isinstance(config, Config):
            return config or cls()
        # A mapping's ledger may be a URL with a password, so only what is harmless is shown.
        names = ", ".join(f"{name}={value!r}" for name, value in _known(config).items() if name != "ledger")
        kind = type(config).__name__
        raise ConfigError(
            f"config is not valid. Expected a Config. Received: a {kind}. Write config=Config({names or 'pue=1.2'}) instead."
        )

    def given(self) -> dict[str, Any]:
        """The fields that are set."""
        pairs = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in pairs.items() if value is not None}

    def overridden(self, **arguments: Any) -> Config:
        """A copy in which the arguments that are not None win."""
        return dataclasses.replace(self, **{name: value for name, value in arguments.items() if value is not None})


def _known(options: object) -> dict[str, Any]:
    """What in a mapping names options."""
    return {name: value for name, value in options.items() if name in CHECKS} if isinstance(options, Mapping) else {}


@dataclass(frozen=True)
class Settings:
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
        ask_cloud = ask_region if config.allow_network else None
        place = find_place(config.region, self.source_of("region"), environ, sys_root=around.sys_root, ask_cloud=ask_cloud)
        chassis = find_chassis(around.sys_root, environ, virtual=around.machine.virtual, provider=place.provider)
        intensity, source = self._constant(place), self._intensity_source(place, around.clock)
        pue = pue_row(config.pue, self.source_of("pue"), chassis, region=place.code, provider=place.provider)
        node_factor = node_factor_row(config.node_factor, self.source_of("node_factor"), chassis)
        return Factors(
            place, intensity, pue, node_factor, hidden_boards=hidden_boards, covered=covered, chassis=chassis, source=source
        )

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


def resolve(config: Config | None = None, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Lay the layers over each other. Only the first layer can raise, and it has been checked already.

    Args:
        config: What the program set.
        environ: The process environment.
        folder: Where the search for pyproject.toml begins; the working folder by default.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    given_by: dict[str, str] = {}
    project, user = _project_file(folder), _user_file()
    layers = [
        ("user file", _checked(_read_toml(user), str(user))),
        ("pyproject.toml", _checked(_table(_read_toml(project), "tool", "fitprint"), str(project))),
        ("environment", _from_environment(environ)),
        ("argument", Config.of(config).given()),
    ]
    for layer, fields in layers:
        values.update(fields)
        given_by.update(dict.fromkeys(fields, layer))
    disabled = environ.get("FITPRINT_DISABLE", "").strip().casefold() not in ("", *OFF)
    if "intensity" in values:  # a file may have gone since it was checked
        values |= _checked({"intensity": values.pop("intensity")}, given_by["intensity"])
    if asks_the_web(values.get("intensity")) and not values.get("allow_network"):
        show_on_console()
        logger().warning("ignored a setting in %s: %s", given_by["intensity"], _offline(values.pop("intensity")))
    return Settings(Config(**values), given_by, disabled)


def check_network(config: Config, environ: Mapping[str, str] | None = None) -> None:
    """Refuse, at construction, an intensity that has to be fetched where that is not allowed or cannot be done.

    Raises:
        ConfigError: If the network is not allowed, or credentials are missing.
        MissingExtraError: If the extra ``[live]`` is not installed.
    """
    if not asks_the_web(config.intensity):
        return
    settings = resolve(dataclasses.replace(config, intensity=None), environ)
    if not settings.config.allow_network:
        raise _offline(config.intensity)
    if not settings.disabled:
        require_credentials(config.intensity, settings.token_file)


def _offline(intensity: Any) -> ConfigError:
    return ConfigError(
        f"intensity={intensity!r} asks a service on the web, and the network is not allowed. "
        "Allow it with Config(allow_network=True) or FITPRINT_ALLOW_NETWORK=1."
    )


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    fields = {f.name: environ.get(f"FITPRINT_{f.name.upper()}", "") for f in dataclasses.fields(Config)}
    return _checked({name: _parsed(name, text) for name, text in fields.items() if text.strip()}, "the environment")


def _parsed(name: str, text: str) -> Any:
    """A value from text; what cannot be parsed stays text and is refused by its check."""
    try:
        return PARSERS[name](text) if name in PARSERS else text.strip()
    except ValueError:
        return text


def _parse_list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _parse_switch(text: str) -> bool:
    word = text.strip().casefold()
    if word not in ON + OFF:
        raise ValueError(word)
    return word in ON


def _checked(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The good fields; a bad one is warned about and ignored."""
    good: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            if name not in CHECKS:
                guess = did_you_mean(name, CHECKS)
                raise ConfigError(f"unknown option {name!r}.{f' Did you mean {guess!r}?' if guess else ''}")
            good[name] = CHECKS[name](value)
        except (ConfigError, MissingExtraError, TypeError, ValueError) as error:
            show_on_console()
            logger().warning("ignored a setting in %s: %s", where, error)
    return good


def _table(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """A table inside a TOML document; empty where something else stands in its place."""
    for name in names:
        inner = data.get(name, {})
        if not isinstance(inner, dict):
            logger().warning("ignored %s = %r: expected a table", name, inner)
            return {}
        data = inner
    return data


def _project_file(folder: Path | None) -> Path:
    """The nearest pyproject.toml. The working folder may be gone, and folders above it closed to this user."""
    try:
        folder = folder or Path.cwd()
    except OSError:
        return Path("pyproject.toml")
    candidates = [parent / "pyproject.toml" for parent in (folder, *folder.parents)]
    return next((path for path in candidates if os.path.isfile(path)), candidates[0])  # noqa: PTH113 - Path's raises if denied


def _user_file() -> Path:
    from platformdirs import user_config_path

    return user_config_path("fitprint", appauthor=False) / "config.toml"


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        show_on_console()
        logger().warning("ignored %s: %s", path, error)
        return {}


def _check_number(what: str, check: Callable[[float], float]) -> Callable[[Any], float]:
    def checked(value: Any) -> float:
        try:
            number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
        except OverflowError:
            number = math.nan
        if not math.isfinite(number):
            raise refusal(what, expected="a number", came=value)
        return check(number)

    return checked


def _check_intensity(value: Any) -> float | str | IntensitySource:
    if isinstance(value, str | Path):
        return check_text(value)
    if is_source(value):
        return value  # type: ignore[no-any-return]
    return _check_number("intensity", check_intensity)(value)


def _check_text(what: str) -> Callable[[Any], str]:
    def checked(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise refusal(what, expected="a text that is not empty", came=value)
        return value

    return checked


def _check_path(what: str) -> Callable[[Any], str]:
    return lambda value: _check_text(what)(os.fspath(value) if isinstance(value, Path) else value)


def _check_region(value: Any) -> str:
    if not isinstance(value, str):
        raise refusal("region", expected=EXPECTED, came=value)
    find_region(value)
    return value


def check_run_id(value: Any) -> str:
    """Return the id if it can name a folder: nothing in it leads out.

    Raises:
        ConfigError: If it could.
    """
    allowed = isinstance(value, str) and value.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if not allowed or value.startswith(".") or len(value) > 128:
        raise refusal("run_id", expected="letters, digits, '-', '_' and '.', 128 at most", came=value)
    return str(value)


def _check_parts(value: Any) -> tuple[str, ...]:
    names = _texts("parts", value)
    if not names:
        raise refusal("parts", expected=f"some of {', '.join(PARTS)}", came=value)
    for name in names:
        if name not in PARTS:
            raise refusal("parts", expected=f"some of {', '.join(PARTS)}", came=name, near=PARTS)
    return tuple(dict.fromkeys(names))


def _check_block(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise refusal("block", expected="a number of optimizer steps from 1 up", came=value)
    return int(value)


def _check_attribute(value: Any) -> str:
    if value not in ATTRIBUTE:
        raise refusal("attribute", expected=f"one of {', '.join(ATTRIBUTE)}", came=value, near=ATTRIBUTE)
    return str(value)


def _check_calibration(seconds: float) -> float:
    if not 0 <= seconds <= LONGEST_CALIBRATION_S:
        raise refusal("calibrate_idle", expected=f"seconds from 0 to {LONGEST_CALIBRATION_S:g}", came=seconds)
    return seconds


def _check_switch(what: str) -> Callable[[Any], bool]:
    def checked(value: Any) -> bool:
        if not isinstance(value, bool):
            raise refusal(what, expected="True or False", came=value)
        return value

    return checked


def _check_tags(value: Any) -> tuple[str, ...]:
    return _texts("tags", value)


def _texts(what: str, value: Any) -> tuple[str, ...]:
    items = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(item, str) for item in items):
        raise refusal(what, expected="a text or a list of texts", came=value)
    return items


def _check_ledger(value: Any) -> str:
    text = os.fspath(value) if isinstance(value, str | Path) else ""
    if not text.strip():
        raise refusal("ledger", expected=LEDGER_EXPECTED, came=value)
    if "://" in text:
        return check_url(text)
    try:
        Path(text).expanduser()
    except RuntimeError as error:
        raise refusal("ledger", expected="a path that exists on this machine", came=value) from error
    return text


CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "budget": Budget.several,
    "region": _check_region,
    "intensity": _check_intensity,
    "allow_network": _check_switch("allow_network"),
    "token_file": _check_path("token_file"),
    "pue": _check_number("pue", check_pue),
    "node_factor": _check_number("node_factor", check_node_factor),
    "project": _check_text("project"),
    "name": _check_text("name"),
    "run_id": check_run_id,
    "ledger": _check_ledger,
    "parts": _check_parts,
    "attribute": _check_attribute,
    "calibrate_idle": _check_number("calibrate_idle", _check_calibration),
    "sync": _check_switch("sync"),
    "embodied": check_embodied,
    "water": check_water,
    "market_intensity": check_market_intensity,
    "price": check_price,
    "price_per_hour": partial(check_price, what="price_per_hour"),
    "currency": check_currency,
    "functional_unit": check_functional_unit,
    "flops": _check_switch("flops"),
    "block": _check_block,
    "tags": _check_tags,
    "save_on_stop": _check_switch("save_on_stop"),
    "sys_root": _check_text("sys_root"),
    "proc_root": _check_text("proc_root"),
}
PARSERS: Mapping[str, Callable[[str], Any]] = {
    "budget": _parse_list,
    "allow_network": _parse_switch,
    "pue": float,
    "node_factor": float,
    "parts": _parse_list,
    "calibrate_idle": float,
    "embodied": parse_embodied,
    "water": parse_water,
    "market_intensity": float,
    "price": float,
    "price_per_hour": float,
    "sync": _parse_switch,
    "flops": _parse_switch,
    "block": int,
    "tags": _parse_list,
    "save_on_stop": _parse_switch,
}
