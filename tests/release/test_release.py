"""What is released, by the tools that do it: a wheel of pure Python, requirements with hashes, a bill of materials."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import files
from pathlib import Path

import pytest

import fitprint

ROOT = Path(fitprint.__file__).parents[2]
HASHED = ROOT / "requirements" / "hashed.txt"


def run(*command):
    """A module of this interpreter as a program."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution, and the wheel that is built from it."""
    for tool in ("build", "hatchling"):
        pytest.importorskip(tool, reason=f"{tool} is not installed: pip install {tool}")
    folder = tmp_path_factory.mktemp("dist")
    run("build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def test_the_wheel_is_pure_and_names_every_package(built):
    wheel, _ = built
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"fitprint/py.typed", "fitprint/contract.py", "fitprint_keras/__init__.py"} <= set(names)
    assert not [name for name in names if name.endswith((".so", ".pyd", ".dylib"))]


def test_the_source_distribution_has_its_tests_and_pages(built):
    _, source = built
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/release/test_release.py", "docs/index.md", "Makefile", "constraints.txt", "requirements/hashed.txt"} <= names


def test_what_is_uploaded_passes_the_uploaders_check(built):
    pytest.importorskip("twine", reason="twine is not installed: pip install twine")
    told = run("twine", "check", "--strict", *map(str, built)).stdout
    assert told.count("PASSED") == 2


def test_a_wheel_that_is_unpacked_measures_without_the_source_tree(built, tmp_path):
    wheel, _ = built
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import fitprint\nwith fitprint.Tracker(region='FR', ledger='off') as t:\n    list(t.epochs(range(2)))\n"
        "print(fitprint.__file__, t.footprint.status)"
    )
    environ = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [str(tmp_path / "site" / "fitprint" / "__init__.py"), "completed"], done.stderr


def test_the_version_is_semantic():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", project["version"])


def test_every_requirement_has_hashes_and_none_an_address():
    text = HASHED.read_text()
    pinned = re.findall(r"^([a-z0-9-]+)==([^\s\\;]+)", text, re.MULTILINE | re.IGNORECASE)
    blocks = [block for block in re.split(r"\n(?=\S)", text) if "==" in block.partition("\n")[0]]
    assert len(pinned) == len(blocks) > 10
    assert [block for block in blocks if "--hash=sha256:" not in block] == []
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", text)
    assert "torch" not in {name for name, _ in pinned}


def test_the_bill_of_materials_is_what_an_installation_has(built, tmp_path):
    """By the command of `make release`, held to CycloneDX's schema."""
    validation = pytest.importorskip("cyclonedx.validation.json", reason="pip install cyclonedx-bom")
    from cyclonedx.schema import SchemaVersion

    venv.create(tmp_path / "installed", with_pip=False)
    (site,) = (tmp_path / "installed").glob("lib/*/site-packages")
    zipfile.ZipFile(built[0]).extractall(site)
    for name in (needs := ("rich", "platformdirs", "nvidia-ml-py", "markdown-it-py", "mdurl", "Pygments")):
        metadata = next(file for file in files(name) if file.name == "METADATA").locate().parent
        shutil.copytree(metadata, site / metadata.name)
    options = re.search(r"cyclonedx-py (environment .*) -o ", (ROOT / "Makefile").read_text())[1]
    file = tmp_path / "bill.json"
    run("cyclonedx_py", *options.split(), "--no-validate", "-o", str(file), str(tmp_path / "installed"))
    bill = json.loads(file.read_text())
    validator = validation.JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"]))
    assert validator.validate_str(file.read_text()) is None
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "fitprint")
    assert {row["name"].lower() for row in bill["components"]} == {name.lower() for name in needs}
    assert all(row["purl"].startswith("pkg:pypi/") and row["licenses"] for row in bill["components"])
    assert str(tmp_path) not in file.read_text()
