"""The Carbon tab in a real browser."""

from __future__ import annotations

import pytest
from written import write_run

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def two_runs(serve, tmp_path_factory):
    logs = tmp_path_factory.mktemp("two") / "logs"
    write_run(logs / "paris", region="FR", budget="5 g", name="small")
    write_run(logs / "warsaw", region="PL", epochs=6)
    return serve(logs, tensorflow=True)


def test_the_tab_shows_the_totals_of_each_run(two_runs, look):
    tab = look(two_runs)
    tab.frame.get_by_role("group", name="Chart: paris (small)").wait_for()
    rows = tab.frame.get_by_role("region", name="Runs", exact=True).get_by_role("row")
    assert rows.count() == 3
    assert tab.said == []
