"""What is released: a wheel of pure Python, requirements with hashes and without addresses, a bill of materials."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import fitprint

ROOT = Path(fitprint.__file__).parents[2]
HASHED = ROOT / "requirements" / "hashed.txt"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the source distribution."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install hatchling")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True, timeout=60
    )
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def test_the_wheel_is_pure_and_names_every_package(built):
    wheel, _ = built
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"fitprint/py.typed", "fitprint/contract.py", "fitprint_keras/__init__.py"} <= set(names)
    assert not [name for name in names if name.endswith((".so", ".pyd", ".dylib"))]


def test_the_source_distribution_builds_its_own_wheel(built, tmp_path):
    _, source = built
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=folder, check=True, capture_output=True, timeout=60
    )
    assert list((folder / "dist").glob("*-py3-none-any.whl"))


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


def test_the_bill_of_materials_is_cyclonedx(tmp_path):
    code = f"import runpy, sys; sys.argv = ['sbom', {str(tmp_path / 'bill.json')!r}]; "
    code += f"runpy.run_path({str(ROOT / 'requirements' / 'sbom.py')!r}, run_name='__main__')"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    bill = json.loads((tmp_path / "bill.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["name"] == "fitprint"
    references = [row["bom-ref"] for row in bill["components"]]
    assert len(references) == len(set(references))
    assert all({"type", "name", "version", "purl"} <= row.keys() for row in bill["components"])
    assert {"rich", "platformdirs", "nvidia-ml-py"} <= {row["name"] for row in bill["components"]}
