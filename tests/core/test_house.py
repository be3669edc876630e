"""The house's own rules: floors, what an import loads, what is public."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fitprint

SOURCE = Path(fitprint.__file__).parent
INTEGRATIONS = SOURCE.parent.parent / "integrations"

# From the ground up; a module may import from its own storey and those above it in this list only
# where they are the same entry.
FLOORS = [
    {"errors", "clock", "effort", "assumption", "notices", "data", "process", "other_trackers", "deprecation", "nothing"},
    {"files", "open_files"},
    {"units", "location", "shared", "told", "near_misses"},
    {"metrics", "noise", "ranks", "launch"},
    {"process_group"},
    {"coordination"},
    {"timeline", "provenance", "operations"},
    {"sensors"},
    {"energy"},
    {"meter", "account", "flops", "readings"},
    {"carbon"},
    {"report", "footprint", "gains", "drift"},
    {"hardware", "union", "ending"},
    {"pace", "per_batch", "work", "telling"},
    {"blocks", "forecast", "budget"},
    {"sentences", "standing"},
    {"watch"},
    {"efficiency", "tally", "ownership", "batches"},
    {"job"},
    {"sinks"},
    {"options", "scalars"},
    {"config", "layers"},
    {"settings"},
    {"ledger"},
    {"beside", "grid"},
    {"together"},
    {"records"},
    {"earlier", "run_ids"},
    {"resume"},
    {"team"},
    {"books"},
    {"periods"},
    {"outlook", "chronicle"},
    {"assembly"},
    {"opening", "view", "beginning"},
    {"delegate"},
    {"run"},
    {"guard", "status"},
    {"leaving"},
    {"meetings", "publisher"},
    {"configurations"},
    {"comparison", "elsewhere", "timing", "waiting"},
    {"advice"},
    {"parting"},
    {"events"},
    {"loop", "nesting", "display"},
    {"tracker", "detection", "live", "recording", "sidecar"},
    {"lifetime"},
    {"calculator", "regrams", "sweep"},
    {"sensitivity"},
    {"project"},
    {"series", "command", "decorator", "doctor"},
    {"listed"},
    {"commands"},
    {"cli"},
]
FRAMEWORKS = {
    "torch",
    "lightning",
    "pytorch_lightning",
    "keras",
    "tensorflow",
    "jax",
    "transformers",
    "tensorboard",
    "optuna",
    "ray",
}
HEAVY = FRAMEWORKS | {"numpy", "pandas", "matplotlib", "sqlalchemy", "httpx", "requests", "rich", "pynvml", "jinja2"}
HEAVY |= {"mlflow", "wandb", "clearml", "opentelemetry", "prometheus_client"}


# The first is the command's, the others are for tests: they may use everything.
FOR_TESTS = ("__main__.py", "testing.py", "contract.py")


def modules():
    return [path for path in SOURCE.rglob("*.py") if path.name != "__init__.py" and path.name not in FOR_TESTS]


def room(dotted):
    return dotted.split(".")[1] if dotted.count(".") else ""


def imports(path):
    """Absolute imports, those for the type checker alone left out."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for inner in ast.walk(node):
                inner.skip = True
        if getattr(node, "skip", False):
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def floor_of(name):
    return next(i for i, names in enumerate(FLOORS) if name in names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_floor_imports_only_what_lies_below_it(path):
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    above = [name for name in imports(path) if name.startswith("fitprint.") and floor_of(room(name)) > floor_of(own)]
    assert above == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_core_imports_no_framework_and_no_integration(path):
    roots = {name.partition(".")[0] for name in imports(path)}
    assert not roots & FRAMEWORKS
    assert not {root for root in roots if root.startswith("fitprint_")}


@pytest.mark.parametrize("package", sorted(path.name for path in INTEGRATIONS.iterdir() if path.name.startswith("fitprint_")))
def test_an_adapter_imports_no_other_adapter_but_the_writer(package):
    for path in (INTEGRATIONS / package).rglob("*.py"):
        others = {name.partition(".")[0] for name in imports(path) if name.startswith("fitprint_")}
        assert others <= {package, "fitprint_tensorboard"}


def test_importing_fitprint_loads_nothing_heavy_and_starts_no_thread():
    code = (
        "import sys, threading\nbefore = set(sys.modules)\nimport fitprint\nfor name in fitprint.__all__: getattr(fitprint, name)\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
        "print(threading.active_count())"
    )
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    loaded = set(ast.literal_eval(out[0]))
    assert not loaded & HEAVY
    assert out[1] == "1"


# What only some runs need; each would take its share of every start.
OF_SOME_RUNS = {
    *("fitprint.carbon.hourly", "fitprint.carbon.metadata", "fitprint.carbon.over_time", "fitprint.display", "fitprint.job"),
    *("fitprint.ledger.ledger", "fitprint.ledger.pot", "fitprint.ledger.reservation", "fitprint.report.html", "fitprint.team"),
    *("concurrent.futures", "decimal", "importlib.util", "platform", "shutil", "signal", "statistics", "subprocess"),
}


def test_a_tracker_is_imported_without_what_only_some_runs_need():
    code = "import sys; before = set(sys.modules); from fitprint import Tracker; print(sorted(set(sys.modules) - before))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "fitprint.tracker" in out
    assert not set(ast.literal_eval(out)) & OF_SOME_RUNS


def test_what_is_public_is_sorted_and_there():
    assert fitprint.__all__ == sorted(fitprint.__all__) == sorted(fitprint._HOMES)
    for name in fitprint.__all__:
        assert getattr(fitprint, name) is not None


@pytest.mark.parametrize("name", ["CarbonCallback", "EfficiencyStopping"])
def test_what_each_framework_has_of_its_own_says_where_it_is(name):
    with pytest.raises(ImportError, match=rf"from PACKAGE import {name}.*fitprint_lightning, fitprint_keras"):
        exec(f"from fitprint import {name}")
    assert name not in dir(fitprint)


def test_no_public_name_hides_a_module():
    stems = {path.stem for path in SOURCE.iterdir()}
    assert not stems & set(fitprint.__all__)


def test_a_run_has_two_threads_at_most_and_none_before_it_starts(tmp_path):
    code = (
        "import threading\nfrom fitprint import Tracker\n"
        "names = lambda: sorted(t.name for t in threading.enumerate() if t.name.startswith('fitprint'))\n"
        "t = Tracker(region='FR'); print(names())\n"
        "with t:\n"
        "    for _ in t.epochs(range(1)): print(names())\n"
        "print(names())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)
    assert out.stdout.splitlines() == ["[]", "['fitprint-clerk', 'fitprint-keeper']", "[]"]


def test_the_random_state_that_training_uses_is_untouched(tmp_path):
    code = (
        "import random\nfrom fitprint import Tracker\nrandom.seed(1); state = random.getstate()\n"
        "with Tracker(region='FR') as t:\n    list(t.epochs(range(2)))\n"
        "assert random.getstate() == state"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True, cwd=tmp_path)
