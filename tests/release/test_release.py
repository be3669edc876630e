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
from importlib.metadata import distribution, files
from pathlib import Path

import pytest

import fitprint

ROOT = Path(fitprint.__file__).parents[2]
HASHED = ROOT / "requirements" / "hashed.txt"
# What an installation without extras brings along.
NEEDS = ("rich", "platformdirs", "nvidia-ml-py", "markdown-it-py", "mdurl", "Pygments")


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


def interpreter(version):
    """A Python of a version, on the path or installed beside this one; None where there is none."""
    beside = sorted(Path(sys.base_prefix).parent.glob(f"*/bin/python{version}"))
    for path in (shutil.which(f"python{version}"), *beside):
        if path and subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return str(path)
    return None


EVERYTHING = """
import importlib, pkgutil, fitprint
for module in pkgutil.walk_packages(fitprint.__path__, "fitprint."):
    if module.name not in ("fitprint.__main__", "fitprint.contract"):  # which runs, and wants pytest
        importlib.import_module(module.name)
with fitprint.Tracker(region="FR", ledger="off") as tracker:
    list(tracker.epochs(range(2)))
run = tracker.footprint
print(fitprint.__file__, run.status, len(run.epochs), *{row["method"] for row in run.sensors})
"""


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_wheel_that_is_unpacked_is_imported_and_models_on_each_python(built, tmp_path, version):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    site = tmp_path / "site"
    zipfile.ZipFile(built[0]).extractall(site)
    for name in NEEDS:  # pure Python, as they are for this one
        for top in {file.parts[0] for file in files(name)} - {"..", "__pycache__"}:
            (site / top).symlink_to(distribution(name).locate_file(top))
    environ = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "FITPRINT_SYS_ROOT": str(tmp_path / "none")}
    done = subprocess.run([python, "-W", "error", "-c", EVERYTHING], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split()[:3] == [str(site / "fitprint" / "__init__.py"), "completed", "2"], done.stderr
    assert set(done.stdout.split()[3:]) <= {"modelled"}


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
    for name in NEEDS:
        metadata = next(file for file in files(name) if file.name == "METADATA").locate().parent
        shutil.copytree(metadata, site / metadata.name)
    options = re.search(r"cyclonedx-py (environment .*) -o ", (ROOT / "Makefile").read_text())[1]
    file = tmp_path / "bill.json"
    run("cyclonedx_py", *options.split(), "--no-validate", "-o", str(file), str(tmp_path / "installed"))
    bill = json.loads(file.read_text())
    validator = validation.JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"]))
    assert validator.validate_str(file.read_text()) is None
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "fitprint")
    assert {row["name"].lower() for row in bill["components"]} == {name.lower() for name in NEEDS}
    assert all(row["purl"].startswith("pkg:pypi/") and row["licenses"] for row in bill["components"])
    assert str(tmp_path) not in file.read_text()
