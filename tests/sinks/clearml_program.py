"""The program of the page, then a plain loop and a Hugging Face fit in one ClearML task, offline; writes down what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import clearml_alone  # noqa: F401
import known_loop
import small_fits
from clearml import Task
from page import PROGRAMS

from fitprint import Config
from fitprint.contract import measuring
from fitprint.testing import FakeClock, ScriptedCounter
from fitprint_transformers import CarbonCallback

QUIET = {"auto_connect_frameworks": False, "auto_connect_arg_parser": False, "auto_connect_streams": False}


def main():
    """The page's program goes offline; that holds for the process."""
    exec(compile(PROGRAMS["clearml"], "clearml on the page", "exec"), {"__name__": "__main__"})
    task = Task.init("digits", "known", reuse_last_task_id=False, auto_resource_monitoring=False, **QUIET)
    clock, folder = FakeClock(), Path.cwd()
    plain = known_loop.train(clock, "clearml", run_id="r1", project="digits")
    still_open = Task.current_task() is task and task.get_status() != "completed"
    config = Config(sinks=["clearml"], intensity=100.0, ledger="off", project="digits")
    carbon = measuring(CarbonCallback(config=config), [ScriptedCounter(clock, watts=100.0)], clock)
    small_fits.hugging_face(carbon, clock, folder / "out", report_to=["clearml"])
    session = task.get_offline_mode_folder()
    task.close()
    facts = {"session": str(session), "still_open": still_open, "plain": plain.to_dict(), "fit": carbon.footprint.to_dict()}
    (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
