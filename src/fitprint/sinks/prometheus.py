"""Prometheus: a text file for node_exporter, or an endpoint on this machine's loopback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fitprint.errors import refusal
from fitprint.files import home_path
from fitprint.footprint import Footprint
from fitprint.sinks.sink import Sink, powers
from fitprint.units import format_quantity

LOOPBACK = "127.0.0.1"
EXPECTED = "'prometheus:/folder/fitprint.prom', as node_exporter reads *.prom alone, or a folder that exists"
LABELS = ("run_id", "project", "name")


class PrometheusFigures(Sink):
    """Keeps a run's last figures as a collector of ``prometheus_client``. What is unknown has no sample."""

    def __init__(self) -> None:
        self._footprint: Footprint | None = None
        self._powers: dict[str, float] = {}

    def begin(self, before: Footprint | None) -> None:
        self._footprint, self._powers = None, {}

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self._powers = powers(scalars) or self._powers

    def run(self, footprint: Footprint) -> None:
        self._footprint = footprint

    def collect(self) -> Iterator[Any]:
        """The families of metrics, as ``prometheus_client`` asks for them."""
        if self._footprint is None:
            return
        known = self._footprint
        labels = [known.run_id, known.project or "", known.name or ""]
        for kind, name, words, extra, samples in families(known, self._powers):
            family = _family(kind)(name, words, labels=[*LABELS, *extra])
            for more, value in samples:
                family.add_metric([*labels, *more], value)
            yield family

    def _registry(self) -> Any:
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        registry.register(self)
        return registry


class PrometheusFile(PrometheusFigures):
    """Writes a file for node_exporter's textfile collector, replaced at once with each epoch and block.

    Runs at the same time need a file each: a folder is given for that, and holds ``fitprint-<run_id>.prom`` of each.
    The file stays after the end, with ``status`` in ``fitprint_run_info``.

    Args:
        path: File that ends with ``.prom``, or a folder that exists.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        came = f"prometheus:{path}"
        self._path = home_path("sinks", path, expected=EXPECTED, came=came)
        if not path or (self._path.suffix != ".prom" and not self._path.is_dir()):
            raise refusal("sinks", expected=EXPECTED, came=came)

    def run(self, footprint: Footprint) -> None:
        from prometheus_client import write_to_textfile

        super().run(footprint)
        path = self._path / f"fitprint-{footprint.run_id}.prom" if self._path.is_dir() else self._path
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(path), self._registry())


class PrometheusEndpoint(PrometheusFigures):
    """Answers ``http://127.0.0.1:PORT/metrics`` while the run lasts; nobody from another machine.

    Args:
        port: From 1 to 65535, as a text.
    """

    def __init__(self, port: str) -> None:
        super().__init__()
        if not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise refusal("sinks", expected="a port from 1 to 65535, as in 'prometheus-http:9400'", came=f"prometheus-http:{port}")
        self._port = int(port)
        self._server: Any = None

    def begin(self, before: Footprint | None) -> None:
        from prometheus_client import start_http_server

        super().begin(before)
        self._server, _ = start_http_server(self._port, addr=LOOPBACK, registry=self._registry())

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


Samples = Iterable[tuple[tuple[str, ...], float]]


def families(footprint: Footprint, power_w: Mapping[str, float]) -> Iterator[tuple[str, str, str, tuple[str, ...], Samples]]:
    """Kind, name, help, labels beyond the run's, and samples of each family.

    Args:
        footprint: The run as of now.
        power_w: Mean power of each part in its last epoch.
    """
    energy = [((part,), joules) for part, joules in footprint.by_part.items()]
    yield "counter", "fitprint_energy_joules", "Energy at the hardware that the run has used, by part.", ("part",), energy
    power = [((part,), watts) for part, watts in power_w.items()]
    yield "gauge", "fitprint_power_watts", "Mean power in the last epoch, by part.", ("part",), power
    grams = "Operational, location-based CO2e of the run"
    yield "counter", "fitprint_co2e_grams", f"{grams}.", (), _known(footprint.co2e_g)
    yield "gauge", "fitprint_co2e_low_grams", f"{grams}, lower end of the 95 % interval.", (), _known(footprint.co2e_low_g)
    yield "gauge", "fitprint_co2e_high_grams", f"{grams}, upper end of the 95 % interval.", (), _known(footprint.co2e_high_g)
    yield "gauge", "fitprint_measured_ratio", "Share of the energy that sensors measured.", (), _known(footprint.measured_fraction)
    yield "gauge", "fitprint_run_duration_seconds", "How long the run has lasted.", (), _known(footprint.duration_s)
    used = [((format_quantity(row["limit"], row["unit"]), str(row["scope"])), row["used"]) for row in footprint.budget]
    yield "gauge", "fitprint_budget_used_ratio", "Share of a budget's limit that is used.", ("limit", "scope"), used
    state = [((footprint.kind, footprint.status), 1.0)]
    yield "gauge", "fitprint_run_info", "Kind and status of the run.", ("kind", "status"), state


def _known(value: float | None) -> Samples:
    return [] if value is None else [((), value)]


def _family(kind: str) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    return CounterMetricFamily if kind == "counter" else GaugeMetricFamily
