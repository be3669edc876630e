"""Credentials reach the service they are for, and no message, record, file or report."""

from __future__ import annotations

import logging
import os
import pickle
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fitprint import Config, Ledger, Tracker
from fitprint.carbon.live import LiveIntensity
from fitprint.carbon.providers import ElectricityMaps, WattTime
from fitprint.errors import FitprintError
from fitprint.location import Location
from web_service import Answer, only_this_machine

MARKER = "m4rker-t0ken-9f3"
NAMES = ("ELECTRICITYMAPS_TOKEN", "WATTTIME_USER", "WATTTIME_PASSWORD")
EIGHT = datetime(2027, 1, 15, 8, tzinfo=UTC)
PATHS = ("/v3/carbon-intensity/history", "/v3/carbon-intensity/latest", "/login", "/v3/historical")


@pytest.fixture
def told(monkeypatch, caplog, capfd, tmp_path):
    """Everything that was said and written since: logs of every level and library, output, files."""
    for name in NAMES:
        monkeypatch.setenv(name, MARKER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    only_this_machine(monkeypatch)
    for name in (None, "fitprint", "httpx"):  # the root's level is not that of who has one of its own
        caplog.set_level(logging.DEBUG, name)
    caplog.set_level(logging.INFO, "httpcore")  # at DEBUG it tells all headers of an answer, in which the marker stands here

    def texts() -> str:
        files = [path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
        return "\n".join([caplog.text, *capfd.readouterr(), *files])

    return texts


FAILURES = {
    "refused": Answer(MARKER.encode(), 401, {"WWW-Authenticate": MARKER}),
    "not allowed": Answer(MARKER.encode(), 403),
    "too often": Answer(MARKER.encode(), 429, {"Retry-After": MARKER}),
    "broken": Answer(MARKER.encode(), 500),
    "elsewhere": Answer(status=302, headers={"Location": f"http://127.0.0.1:1/{MARKER}"}),
    "no JSON": Answer(f"<p>{MARKER}</p>".encode()),
    "other JSON": Answer({"token": MARKER, "zone": MARKER, "history": MARKER, "meta": {"region": MARKER}}),
    "a header that is none": Answer(b"{}", headers={"Content-Length": MARKER}),
}


@pytest.mark.parametrize("what", FAILURES)
@pytest.mark.parametrize("provider", [ElectricityMaps, WattTime])
def test_no_failure_of_a_service_tells_its_credentials(service, clock, told, tmp_path, what, provider):
    service.answers = dict.fromkeys(PATHS, FAILURES[what])
    clock.advance(7800)
    live = LiveIntensity(provider("FR" if provider is ElectricityMaps else "CAISO_NORTH", service.base), clock=clock)
    live.fetch(EIGHT)
    assert service.asked
    texts = (repr(live), live.trouble, live.source, str(vars(live)), pickle.dumps(live).decode("latin-1"), told())
    assert not [text for text in texts if MARKER in text]


@pytest.mark.parametrize("text", [f"ELECTRICITYMAPS_TOKEN {MARKER}", f"OTHER={MARKER}", f"={MARKER}", f"{MARKER}\n"])
def test_a_token_file_that_makes_no_sense_is_not_quoted(told, tmp_path, monkeypatch, text):
    for name in NAMES:
        monkeypatch.delenv(name)
    file = tmp_path.parent / f"{tmp_path.name}-tokens"
    file.write_text(text)
    for mode in (0o600, 0o644):
        file.chmod(mode)
        live = LiveIntensity(ElectricityMaps("FR"), token_file=file)
        live.fetch(EIGHT)
        with pytest.raises(FitprintError) as refused:
            live.require()
        shown = "".join(traceback.format_exception(refused.value))
        assert not [words for words in (shown, live.trouble, told()) if MARKER in words]


def test_a_record_and_what_is_made_of_it_hold_no_credentials(told, monkeypatch):
    monkeypatch.setenv("FITPRINT_INTENSITY", "electricitymaps:FR")
    with Tracker(region="FR", ledger="fitprint.db") as tracker:
        tracker.describe(hparams={"api_token": MARKER, "password": MARKER, "lr": 0.1})
        list(tracker.epochs(range(2)))
    run = tracker.footprint
    texts = (run.to_json(), run.to_html(), run.to_markdown(), run.to_latex(), str(run), str(Ledger().runs()), told())
    assert not [text for text in texts if MARKER in text]


# ---- databases

URLS = (
    f"postgresql://ada:{MARKER}@127.0.0.1:1/carbon",
    f"postgresql://ada:{MARKER}@127.0.0.1:1/carbon?sslmode={MARKER}",
    f"postgresql://ada@127.0.0.1:1/carbon?password={MARKER}",
    f"mysql://ada:{MARKER}@127.0.0.1/carbon",
    f"sqlite:///{MARKER}?password={MARKER}",
    f"postgresql://ada:{MARKER}@127.0.0.1:none/carbon",
    f"postgresql://ada:{MARKER}@[/carbon",
)


def attempts(url):
    """Everything that takes a ledger's URL and fails."""
    return (lambda: Config(ledger=url), lambda: Ledger(url).runs(), lambda: Ledger(url).footprint("r"))


@pytest.mark.parametrize("url", [url for url in URLS if not url.startswith("sqlite")])
def test_no_failure_of_a_database_tells_its_password(told, url):
    shown = [repr(Location.of(url)), str(Location.of(url))]
    for attempt in attempts(url):
        try:
            attempt()
        except FitprintError as error:
            shown += traceback.format_exception(error)
    assert len(shown) > 2
    assert MARKER not in "".join([*shown, told()])


def test_a_run_whose_database_is_away_says_so_without_the_password(told, tmp_path):
    with Tracker(region="FR", ledger=URLS[0]) as tracker:
        list(tracker.epochs(range(2)))
    assert tracker.footprint.status == "completed"
    assert MARKER not in tracker.footprint.to_json() + told()


@pytest.mark.skipif(os.name != "posix", reason="there are no modes here")
def test_what_is_written_has_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o077)
    try:
        with Tracker(region="FR", ledger="fitprint.db") as tracker:
            list(tracker.epochs(range(1)))
    finally:
        os.umask(before)
    written = [path for path in Path().rglob("*") if path.is_file()]
    assert len(written) >= 2
    assert [path.name for path in written if path.stat().st_mode & 0o077] == []
