"""Names of hosts and users, and paths, are in nothing that is handed on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorboard")
pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

MARKERS = ("h0st-of-mine", "ludmilla-9f3", "secret-project-dir")
# Says the markers wherever a program can ask, then trains and makes everything that can be handed on.
PROGRAM = """
import os, platform, socket, sys
HOST = "h0st-of-mine"
socket.gethostname = socket.getfqdn = lambda *a: HOST
platform.node = lambda: HOST
real = platform.uname()
platform.uname = lambda: platform.uname_result(real.system, HOST, real.release, real.version, real.machine)
os.uname = lambda: os.uname_result((real.system, HOST, real.release, real.version, real.machine))
from fitprint import Ledger, Tracker
from fitprint_tensorboard import CarbonWriter
with Tracker(region="FR", name="run", ledger="fitprint.db") as tracker:
    writer = CarbonWriter("handed/logs")
    tracker.describe(hparams={"lr": 0.1, "data_dir": os.getcwd(), "root": os.path.expanduser("~")})
    for epoch in tracker.epochs(range(2)):
        pass
    writer.scalars(tracker.scalars(), 1)
    writer.text("fitprint/run", tracker.run_text(at_once=True) or "", 1)
    writer.close()
run = Ledger("fitprint.db").footprints()[0]
for name, make in dict(json=run.to_json, html=run.to_html, md=run.to_markdown, tex=run.to_latex, txt=lambda: str(run)).items():
    open(f"handed/run.{name}", "w").write(make())
from fitprint.cli import main
main(["report", "--format", "csv", "--output", "handed/run.csv"])
main(["report", "--format", "card", "--output", "handed/card.md"])
main(["runs", "--json"])
"""


@pytest.fixture(scope="module")
def handed(tmp_path_factory):
    """Files and output of a program that ran where every name is a marker."""
    home = tmp_path_factory.mktemp("home") / "ludmilla-9f3"
    work = home / "secret-project-dir"
    (work / "handed").mkdir(parents=True)
    names = {"HOSTNAME": "h0st-of-mine", "USER": "ludmilla-9f3", "LOGNAME": "ludmilla-9f3", "HOME": str(home)}
    unset = ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
    environ = {name: value for name, value in os.environ.items() if name not in unset} | names
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=work, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return work / "handed", done.stdout


def test_reports_cards_and_event_files_name_no_host_user_or_path(handed):
    folder, out = handed
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".json", ".html", ".md", ".tex", ".txt", ".csv"}
    assert [path for path in files if "tfevents" in path.name]
    said = {str(path.relative_to(folder)): path.read_bytes().decode(errors="replace") for path in files} | {"stdout": out}
    told = {name: [word for word in MARKERS if word in text] for name, text in said.items()}
    assert {name: words for name, words in told.items() if words} == {}


def test_no_files_name_holds_one(handed):
    folder, _ = handed
    assert [path.name for path in Path(folder).rglob("*") if any(word in path.name for word in MARKERS)] == []
