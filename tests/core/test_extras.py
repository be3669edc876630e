"""What is said where something is not installed names an extra that exists and brings it."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import fitprint
from fitprint.errors import MissingExtraError
from fitprint.sinks.names import SINKS

ROOT = Path(fitprint.__file__).parents[2]
SOURCES = [*ROOT.glob("src/fitprint/**/*.py"), *ROOT.glob("integrations/**/*.py")]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# Which package is imported for the one that is installed, where the names differ.
INSTALLED_AS = {"mlflow": "mlflow-skinny"}


def named():
    """Each extra that the program names, with where."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("MissingExtraError", "pip_line"):
                extra = node.args[-1]
                if isinstance(extra, ast.Constant):
                    yield str(path.relative_to(ROOT)), extra.value


def test_every_extra_that_is_named_exists():
    found = list(named())
    assert {extra for _, extra in found} >= {"amd", "apple", "keras", "lightning", "live", "postgres", "report", "tensorboard"}
    assert [(place, extra) for place, extra in found if extra not in EXTRAS] == []


def test_the_line_stands_in_one_place():
    holders = [path.name for path in SOURCES if re.search(r"pip install '?fitprint\[", path.read_text(encoding="utf-8"))]
    assert holders == ["errors.py"]


@pytest.mark.parametrize("name", SINKS)
def test_a_sinks_extra_brings_the_package_that_it_looks_for(name, monkeypatch):
    module, kind, package = SINKS[name]
    wanted = INSTALLED_AS.get(package, package).replace("_", "-")
    assert any(requirement.startswith(wanted) for requirement in EXTRAS[module])
    monkeypatch.setitem(SINKS, name, (module, kind, "no_such_package"))
    with pytest.raises(MissingExtraError, match=rf"The sink '{name}' needs .* Run: pip install 'fitprint\[{module}\]'$"):
        fitprint.Config(sinks=[name])


def test_one_extra_brings_all():
    everything = re.search(r"\[(.*)\]", EXTRAS["all"][0])
    assert everything
    assert set(everything[1].split(",")) == set(EXTRAS) - {"all"}
