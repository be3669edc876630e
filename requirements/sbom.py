"""Writes a CycloneDX bill of materials of what is installed beside this interpreter: ``python requirements/sbom.py FILE``."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from typing import Any


def purl(name: str, version: str) -> str:
    """A package's URL as the specification of package URLs has it."""
    return f"pkg:pypi/{re.sub('[-_.]+', '-', name).lower()}@{version}"


def component(found: Distribution) -> dict[str, Any]:
    """One distribution as CycloneDX has it."""
    name, licence = found.metadata["Name"], found.metadata.get("License-Expression")
    row = {"type": "library", "bom-ref": purl(name, found.version), "name": name, "version": found.version}
    return row | {"purl": purl(name, found.version)} | ({"licenses": [{"expression": licence}]} if licence else {})


def bill() -> dict[str, Any]:
    """This package and every distribution beside it, sorted, each once."""
    ours = component(distribution("fitprint"))
    rows = {row["purl"]: row for row in map(component, distributions()) if row["name"] != "fitprint"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": ours},
        "components": [rows[key] for key in sorted(rows)],
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(bill(), indent=1) + "\n", encoding="utf-8")
