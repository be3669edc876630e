"""One real local cluster; skipped as a whole where Ray is not installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("ray.tune")

import ray

PAGE = Path(__file__).parents[2] / "docs" / "sweeps.md"


@pytest.fixture
def page(cluster, tmp_path):
    """Executes the Python under a title of the page about sweeps; returns its names."""

    def execute(title):
        section = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        places = {"LEDGER": str(tmp_path / "fitprint.db"), "RESULTS": str(tmp_path / "ray")}
        names = {"train_an_epoch": lambda lr: 1 - lr, **places, "__name__": "__main__"}
        for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            exec(compile(block, str(PAGE), "exec"), names)
        return names

    return execute


@pytest.fixture(scope="module")
def cluster(request, tmp_path_factory):
    """Started by the first module of this folder that wants it, and ended after the last."""
    ray.cloudpickle.register_pickle_by_value(request.module)  # workers cannot import a test
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("FITPRINT_REGION", "FR")
        patch.setenv("FITPRINT_PARTS", "cpu")
        patch.chdir(tmp_path_factory.mktemp("started-here"))
        if not ray.is_initialized():
            ray.init(num_cpus=2, include_dashboard=False, object_store_memory=150 * 2**20, log_to_driver=False)
        yield
    here = [item.path for item in request.session.items if item.path.parent == Path(__file__).parent]
    if request.path == here[-1]:
        ray.shutdown()
