"""One reader for each kind of outside input: takes any bytes, and lets nothing but what is documented be raised by them.

What a reader returns is None where it refused. The seeds are sound; ``harness.py`` begins with them.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fitprint import Budget, Footprint, Ledger
from fitprint.carbon.live_http import Unanswered, _get
from fitprint.carbon.providers import ElectricityMaps, UkCarbonIntensity, WattTime
from fitprint.carbon.series_file import read_series
from fitprint.errors import ConfigError, FitprintError, LedgerError
from fitprint.ledger.journal import read_events
from fitprint.ledger.store import Store
from fitprint.location import Location, check_url
from fitprint.sensors.visible import Identity, visible_boards
from fitprint.units import parse_quantity

NOON_S = 1_800_014_400.0
SECRETS = dict.fromkeys(("ELECTRICITYMAPS_TOKEN", "WATTTIME_USER", "WATTTIME_PASSWORD"), "x")
SERVICES = (ElectricityMaps("FR"), WattTime("CAISO_NORTH"), UkCarbonIntensity("GB"))
BOARDS = [Identity(f"GPU-{i:08x}", "NVIDIA A100") for i in range(4)]
USED = {"started_at": "2027-01-15T08:00:00Z", "duration_s": 1.0, "energy_j": 2.0, "co2e_g": 0.1, "by_part": {"gpu": 2.0}}
RECORD = Footprint(run_id="r", status="completed", **USED).to_dict()
EPOCH = {"index": 0, **USED}


class Reader(NamedTuple):
    """``read`` takes the bytes and an empty folder, or one that it has filled itself."""

    read: Callable[[bytes, Path], Any]
    seeds: tuple[bytes, ...]


def budget(data: bytes, folder: Path) -> Any:
    text, found = data.decode("utf-8", "replace"), []
    for reader in (Budget, parse_quantity):
        with suppress(ConfigError):
            found.append(reader(text))
    return found or None


def place(data: bytes, folder: Path) -> Any:
    """Of a ledger: never the password in what is shown."""
    text = data.decode("utf-8", "replace")
    try:
        check_url(text)
    except ConfigError:
        return None
    return str(Location.of(text))


def series(data: bytes, folder: Path) -> Any:
    file = folder / "series.csv"
    file.write_bytes(data)
    try:
        return read_series(file, tz="Europe/Paris")
    except ConfigError:
        return None


def devices(data: bytes, folder: Path) -> Any:
    found = visible_boards(BOARDS, {"CUDA_VISIBLE_DEVICES": data.decode("utf-8", "replace")}, modules={})
    assert set(found.indices) <= set(range(len(BOARDS)))
    assert len(set(found.indices)) == len(found.indices)
    return found


def journal(data: bytes, folder: Path) -> Any:
    """What stands in a run's journal, as the ledger beside it is read."""
    file = folder / "fitprint.d" / "r" / "host-1.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    ledger = Ledger(folder / "fitprint.db")
    rows = ledger.runs()
    for row in rows:
        with suppress(LedgerError):
            ledger.footprint(row["run_id"])
    return rows or None


def events(data: bytes, folder: Path) -> Any:
    """A journal that is brought into a store."""
    file = folder / "journal.jsonl"
    file.write_bytes(data)
    with closing(Store(":memory:")) as store:
        store.apply_what_can_be(read_events(file), file)
        return store.rows() or None


def record(data: bytes, folder: Path) -> Any:
    """A run's JSON, and all that is made of it."""
    try:
        run = Footprint.from_json(data.decode("utf-8", "replace"))
    except ConfigError:
        return None
    for show in (str, Footprint.to_json, Footprint.to_markdown, Footprint.to_latex, Footprint.to_html, Footprint.to_model_card):
        with suppress(FitprintError):  # a model card of unknown grams
            show(run)
    return run


def answer(data: bytes, folder: Path) -> Any:
    """Of a service, to whatever it is asked."""
    import httpx

    async def figures() -> list[dict[float, float]]:
        transport, found = httpx.MockTransport(lambda request: httpx.Response(200, stream=httpx.ByteStream(data))), []
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            for service in SERVICES:
                with suppress(Unanswered):
                    get = partial(_get, client, NOON_S)
                    found.append(await service.figures(get, SECRETS, NOON_S - 7200, NOON_S + 7200, NOON_S))
        return found

    found = asyncio.run(figures())
    assert all(0 <= value <= 2000 for told in found for value in told.values())
    return found or None


def event_file(data: bytes, folder: Path) -> Any:
    """An event that TensorBoard can read, whatever is in it."""
    from google.protobuf.message import DecodeError
    from tensorboard.summary.writer.record_writer import RecordWriter

    from board import Board

    file = folder / "logs" / "run" / "events.out.tfevents.1.fitprint"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as raw:
        RecordWriter(raw).write(data)
    try:
        board = Board(folder / "logs")
    except DecodeError:  # TensorBoard's own: it is no event, though its checksum is right
        return None
    rows = board.ask("runs")
    for row in rows:
        for route in ("series", "elsewhere"):
            board.ask(route, run=row["run"])
    return rows or None


def text_of_a_run(data: bytes, folder: Path) -> Any:
    """What stands as text in a sound event file."""
    from board import Board
    from fitprint_tensorboard import CarbonWriter

    shutil.rmtree(folder / "logs", ignore_errors=True)
    writer = CarbonWriter(folder / "logs" / "run")
    writer.scalars({"carbon/epoch_co2e_g": 2.0, "carbon/total_co2e_g": 2.0}, 0)
    writer.text("fitprint/run", data.decode("utf-8", "replace"), 0)
    writer.close()
    board = Board(writer.log_dir.parent)
    rows = board.ask("runs")
    assert [row["run"] for row in rows] == ["run"]
    for route in ("series", "elsewhere"):
        board.ask(route, run="run")
    return rows


def event(*values: tuple[str, float | str], dtype: int | None = None) -> bytes:
    """What a writer says at a step: scalars and texts by their tags, of a type of tensor that may be none."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    from fitprint_tensorboard.summaries import scalar_value, text_value

    made = [(text_value if isinstance(value, str) else scalar_value)(tag, value) for tag, value in values]
    if dtype is not None:
        made[-1].tensor.dtype = dtype
    return Event(wall_time=NOON_S, step=0, summary=Summary(value=made)).SerializeToString()


def line(event: str, **fields: Any) -> str:
    return json.dumps({"schema": 1, "event": event, "run_id": "r", "at": NOON_S, **fields})


RUN = {name: value for name, value in RECORD.items() if value is not None and name not in ("epochs", "blocks")}
JOURNAL = "\n".join(
    [
        line("start", run=RUN, process={"boot_id": "b", "pid": 1, "started": "1"}),
        line("epoch", position=0, epoch=EPOCH, run={"energy_j": 2.0}),
        line("block", position=0, epoch=EPOCH),
        line("metrics", position=0, metrics={"loss": 0.5}),
        line("progress", rank=1, run={"duration_s": 2.0}),
        line("end", run=RUN),
    ]
).encode()
ANSWERS = (
    b'{"zone": "FR", "history": [{"zone": "FR", "datetime": "2027-01-15T11:00:00.000Z", "carbonIntensity": 30}]}',
    b'{"token": "t", "data": [{"point_time": "2027-01-15T11:55:00Z", "value": 870.5}], "meta": {"units": "lbs_co2_per_mwh"}}',
    b'{"data": [{"from": "2027-01-15T11:30Z", "to": "2027-01-15T12:00Z", "intensity": {"forecast": 266, "actual": 263}}]}',
)
GRAMS = ("carbon/epoch_co2e_g", 2.0)
READERS = {
    "budget": Reader(budget, (b"250 g", b"0.5 kWh", b"900 kJ", b"10.5 mg")),
    "place": Reader(place, (b"postgresql://u:p@[::1]:5432/d?sslmode=require", b"postgresql+psycopg://h/d")),
    "series": Reader(
        series,
        (
            b"datetime,intensity\n2026-01-01T00:00Z,100\n2026-01-01T01:00Z,90\n",
            b"Datetime (UTC);Carbon intensity gCO2eq/kWh (Life cycle)\n2026-01-01 00:00:00;100,5\n2026-01-01 01:00:00;90\n",
        ),
    ),
    "devices": Reader(devices, (b"0,1", b"GPU-00000001,GPU-00000002", b"MIG-GPU-00000001/1/0", b"-1", b"2,+1")),
    "journal": Reader(journal, (JOURNAL,)),
    "events": Reader(events, (JOURNAL,)),
    "record": Reader(record, (json.dumps({**RECORD, "epochs": [EPOCH]}).encode(),)),
    "answer": Reader(answer, ANSWERS),
    "event_file": Reader(event_file, (event(GRAMS), event(GRAMS, ("fitprint/run", json.dumps(RECORD))))),
    "text_of_a_run": Reader(text_of_a_run, (json.dumps(RECORD).encode(),)),
}
