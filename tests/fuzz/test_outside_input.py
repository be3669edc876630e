"""Whatever comes from outside, only the documented errors leave what reads it, and soon."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fitprint import Budget, Config, Footprint, Ledger
from fitprint.carbon.intensity_option import check_text
from fitprint.carbon.live import LiveIntensity, parse_source
from fitprint.carbon.live_http import retry_after_s
from fitprint.carbon.providers import ElectricityMaps, UkCarbonIntensity, WattTime
from fitprint.carbon.series_file import read_series
from fitprint.errors import ConfigError, FitprintError, LedgerError, SensorError
from fitprint.ledger.claim import _process, _read
from fitprint.ledger.journal import read_events
from fitprint.ledger.schema import prepare
from fitprint.ledger.store import Store
from fitprint.location import Location, check_url
from fitprint.sensors.trace import Trace
from fitprint.sensors.visible import Identity, visible_boards
from fitprint.sidecar import Sidecar
from fitprint.testing import FakeClock
from fitprint.units import parse_quantity
from web_service import Answer, WebService

MANY = settings(max_examples=200, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
FEW = settings(MANY, max_examples=40)
DEEP = "[" * 100_000
HUGE = "9" * 5000
EIGHT = datetime(2027, 1, 15, 8, tzinfo=UTC)

numbers = st.floats() | st.integers(-(10**400), 10**400) | st.sampled_from([2**63, -(2**63) - 1, 1e308, 0])
scalars = st.none() | st.booleans() | numbers | st.text(max_size=20)
keys = st.text(max_size=10)


def trees(*words):
    """JSON of any shape, with the words that the reader looks for among its keys and values."""
    leaves, names = (scalars, keys) if not words else (scalars | st.sampled_from(words), keys | st.sampled_from(words))
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6), max_leaves=12
    )


# ---- budgets and units


@MANY
@given(st.text(max_size=40) | st.from_regex(r"\s*[+-]?[0-9.eE_,]{0,12} ?[a-zA-Zµ²]{0,4}\s*", fullmatch=True))
@example("9" * 5000 + " g")
@example("1e999999999 g")
@example("٣ g")
def test_a_budget_is_read_or_refused(text):
    for reader in (Budget, parse_quantity):
        try:
            reader(text)
        except ConfigError:
            continue


@MANY
@given(st.dictionaries(st.sampled_from(["budget", "region", "intensity", "pue", "run_id", "ledger", "parts", "tags"]), trees()))
def test_options_of_any_type_are_taken_or_refused(options):
    try:
        Config(**options)
    except FitprintError:
        return


@MANY
@given(st.text(max_size=40))
@example("electricitymaps:" + "A" * 10_000)
@example("postgresql://[")
@example("~0")
@example("postgresql://u:p@h:99999999/d")
def test_names_of_services_and_ledgers_are_taken_or_refused(text):
    for reader in (parse_source, check_url, check_text):
        try:
            reader(text)
        except FitprintError:
            continue
    str(Location.of(f"postgresql://{text}"))


# ---- files


CELLS = st.text(alphabet="0123456789.,;:-+TZ eE\"'\t\n\rµabc\0", max_size=20)
ROWS = st.lists(st.lists(CELLS | st.sampled_from(["datetime", "intensity", "2026-01-01T00:00Z", "9999-12-31T23:59", "1e400"])))


@MANY
@given(st.binary(max_size=300) | ROWS.map(lambda rows: "\n".join(",".join(row) for row in rows).encode("utf-8", "replace")))
@example(b"datetime,intensity\n0001-01-01T00:00+23:59,1\n0001-01-01T01:00+23:59,1")
@example(b"datetime,intensity\n9999-12-31T23:59-23:59,1\n9999-12-31T23:58-23:59,1")
@example(b"datetime,intensity\n2026-01-01," + b"9" * 5000)
@example(b'datetime,intensity\n"' + b"x" * 200_000)
def test_a_series_is_read_or_refused(tmp_path, data):
    file = tmp_path / "series.csv"
    file.write_bytes(data)
    try:
        read_series(file, tz="Europe/Paris")
    except ConfigError:
        return


BOARDS = [Identity(f"GPU-{i:08x}", "NVIDIA A100") for i in range(4)]


@MANY
@given(
    st.text(max_size=60) | st.lists(st.sampled_from(["0", "1", "-1", "GPU-", "MIG-", "MIG-GPU-/", "+", " ", HUGE])).map(",".join)
)
def test_any_list_of_devices_names_boards_that_there_are(text):
    found = visible_boards(BOARDS, {"CUDA_VISIBLE_DEVICES": text}, modules={})
    assert set(found.indices) <= set(range(4))
    assert len(set(found.indices)) == len(found.indices)


WORDS = ("event", "start", "epoch", "describe", "metrics", "end", "progress", "run_id", "run", "position", "at", "rank", "sensors")
EVENTS = st.fixed_dictionaries(
    {"event": st.sampled_from(["start", "describe", "epoch", "block", "metrics", "progress", "end"]), "run_id": st.just("r")},
    optional={name: trees(*WORDS) for name in ("at", "run", "position", "epoch", "metrics", "before", "process", "rank", "schema")},
)


@FEW
@given(st.lists((EVENTS | trees(*WORDS)).map(json.dumps) | st.text(max_size=40) | st.sampled_from([DEEP, HUGE, "{}"]), max_size=8))
@example(['{"event": "progress", "run_id": "\\ud800", "at": 1, "run": {"name": "\\ud800"}}'])
@example(['{"event": "epoch", "run_id": "r", "position": 99999999999999999999999, "epoch": {}, "run": {}, "at": 1}'])
def test_what_makes_no_sense_in_a_journal_costs_its_line_alone(tmp_path, lines):
    sound = {"event": "start", "run_id": "sound", "at": 1.0, "run": {"status": "running", "started_at": "", "duration_s": 1.0}}
    file = tmp_path / "journal.jsonl"
    file.write_text("\n".join([*lines, json.dumps(sound)]), encoding="utf-8", errors="surrogatepass")
    with closing(Store(":memory:")) as store:
        store.apply_what_can_be(read_events(file), file)
        assert "sound" in [row["run_id"] for row in store.rows()]


@FEW
@given(trees("run_id", "epochs", "sensors", "status", "started_at").map(json.dumps) | st.text(max_size=30) | st.just(DEEP))
def test_a_record_in_a_ledger_is_read_or_refused(tmp_path, text):
    file = tmp_path / "fitprint.db"
    file.unlink(missing_ok=True)
    with closing(Store(file)) as store:
        prepare(store.database, file)
        text = text.encode("utf-8", "replace").decode()
        store.database.execute("INSERT INTO runs (run_id, record) VALUES ('r', :text)", text=text)
    for read in (Ledger(file).runs, Ledger(file).footprints, lambda: Ledger(file).find("r")):
        try:
            read()
        except LedgerError:
            continue


@FEW
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"SQLite format 3\0" + data))
def test_a_file_that_is_no_ledger_is_refused(tmp_path, data):
    file = tmp_path / "fitprint.db"
    file.write_bytes(data)
    try:
        Ledger(file).runs()
    except LedgerError:
        return


def test_a_ledger_with_columns_of_its_own_is_refused_and_none_of_them_is_run(tmp_path):
    file = tmp_path / "fitprint.db"
    Store(file).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute('ALTER TABLE runs ADD COLUMN "a) VALUES (1); DROP TABLE runs; --" TEXT')
        connection.execute("INSERT INTO runs (run_id, record) VALUES ('r', '{}')")
        connection.commit()
    with pytest.raises(LedgerError, match="columns that no ledger has"):
        Ledger(file).find("r")


@MANY
@given(trees("schema", "footprint", "pid", "host").map(json.dumps) | st.text(max_size=30) | st.sampled_from([DEEP, HUGE]))
@example('{"pid": "x"}')
@example('{"pid": 1e400}')
def test_states_claims_and_records_that_make_no_sense_are_none(tmp_path, text):
    sidecar = Sidecar(tmp_path / "backup")
    for file in (sidecar.path, tmp_path / "1.claim"):
        file.write_text(text, encoding="utf-8", errors="replace")
    assert isinstance(sidecar.load(), dict)
    _process(_read(tmp_path / "1.claim"))
    try:
        Footprint.from_json(text)
    except ConfigError:
        return


@MANY
@given(st.lists(trees("schema", "sensors", "id", "t_ns", "raw", "sensor").map(json.dumps) | st.just(DEEP), max_size=4))
@example(['{"schema": 1, "sensors": []}', '{"t_ns": 1e400}'])
def test_a_trace_is_read_or_refused(lines):
    try:
        Trace.read(lines)
    except SensorError:
        return


# ---- services


@pytest.fixture(scope="module")
def service():
    service = WebService()
    yield service
    service.close()


ANSWERS = trees(
    "zone", "FR", "GB", "history", "data", "datetime", "carbonIntensity", "meta", "region", "units", "point_time", "value", "token"
)
GOOD = st.fixed_dictionaries(
    {"zone": st.just("FR"), "token": st.just("t"), "data": ANSWERS, "meta": ANSWERS},
    optional={
        "history": st.lists(
            st.fixed_dictionaries(
                {
                    "datetime": st.sampled_from(["2027-01-15T08:00:00Z", "9999-12-31T23:59:59Z", ""]) | scalars,
                    "carbonIntensity": scalars,
                }
            ),
            max_size=4,
        )
    },
)


@FEW
@given(
    ANSWERS | GOOD | st.binary(max_size=100),
    st.sampled_from([200, 200, 200, 201, 204, 302, 429, 500]),
    st.text("0123456789 GMT:-", max_size=20),
)
def test_no_answer_of_a_service_breaks_anything(service, tmp_path, monkeypatch, body, status, wait):
    for name in ("ELECTRICITYMAPS_TOKEN", "WATTTIME_USER", "WATTTIME_PASSWORD"):
        monkeypatch.setenv(name, "x")
    answer = Answer(body, status, {"Retry-After": wait})
    service.answers = dict.fromkeys(
        ("/v3/carbon-intensity/history", "/v3/carbon-intensity/latest", "/login", "/v3/historical"), answer
    )
    clock = FakeClock()
    clock.advance(7800)
    for provider in (
        ElectricityMaps("FR", service.base),
        WattTime("CAISO_NORTH", service.base),
        UkCarbonIntensity("GB", service.base),
    ):
        live = LiveIntensity(provider, cache=tmp_path / "cache", clock=clock)
        live.fetch(EIGHT)
        figure = live.between(EIGHT, EIGHT)
        assert figure is None or 0 <= figure.g_per_kwh <= 2000


@MANY
@given(st.text(max_size=30) | st.sampled_from([HUGE, "Fri, 31 Dec 9999 23:59:60 GMT", "²"]))
def test_a_time_to_wait_is_a_number_or_none(text):
    assert isinstance(retry_after_s(text, 0.0), float | None)


# ---- event files


@settings(FEW, max_examples=15)
@given(
    trees("run_id", "co2e_g", "status", "assumptions", "sensors", "stop_reason", "energy_j").map(json.dumps)
    | st.sampled_from([DEEP, HUGE])
)
@example('{"run_id": "r", "co2e_g": ' + "9" * 400 + "}")
@example('{"run_id": "r", "duration_s": 1e308, "co2e_g": 1e308, "facility_energy_kwh": 1e308}')
def test_any_record_in_an_event_file_leaves_the_tab_standing(tmp_path_factory, text):
    pytest.importorskip("tensorboard")
    from board import Board
    from fitprint_tensorboard import CarbonWriter

    logs = tmp_path_factory.mktemp("logs")
    writer = CarbonWriter(logs / "run")
    writer.scalars({"carbon/epoch_co2e_g": 2.0, "carbon/total_co2e_g": 2.0, "loss": float("inf")}, 0)
    writer.text("fitprint/run", text, 0)
    writer.close()
    board = Board(logs)
    assert [row["run"] for row in board.ask("runs")] == ["run"]
    for route in ("series", "metric", "elsewhere"):
        board.ask(route, run="run", metric="loss")


@settings(FEW, max_examples=15)
@given(st.binary(max_size=400), st.booleans())
def test_a_torn_event_file_leaves_the_tab_standing(tmp_path_factory, data, behind):
    pytest.importorskip("tensorboard")
    from board import Board
    from fitprint_tensorboard import CarbonWriter

    logs = tmp_path_factory.mktemp("logs")
    writer = CarbonWriter(logs / "run")
    writer.scalars({"carbon/epoch_co2e_g": 2.0}, 0)
    writer.close()
    (file,) = Path(logs / "run").iterdir()
    file.write_bytes(file.read_bytes() + data if behind else data)
    assert len(Board(logs).ask("runs")) <= 1
