"""The options that a program gives for a run, each checked as it is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fitprint.budget import Budget
from fitprint.carbon.intensity import IntensitySource
from fitprint.errors import ConfigError
from fitprint.options import CHECKS
from fitprint.sinks.sink import Sink


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
        attribute: ``auto`` takes this job's share of devices of which it owns only a part (SLURM, containers, MIG,
            other processes on the GPU), ``share`` that of CPU and memory in any case, ``all`` takes none. Whatever it
            is, runs that overlap on one machine divide its devices.
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
        sinks: Where the figures of epochs and blocks go besides: ``mlflow``, ``wandb``, ``clearml``,
            ``prometheus:/folder/fitprint.prom``, ``prometheus-http:9400``, ``otel``, or objects like ``fitprint.sinks.Sink``.
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
    sinks: Sequence[str | Sink] | None = None
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
