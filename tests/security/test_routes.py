"""The tab's routes hand out the tab's files and nothing else, however a path is written."""

from __future__ import annotations

from urllib.parse import quote

import pytest

pytest.importorskip("tensorboard")

from tensorboard.plugins.base_plugin import TBContext
from werkzeug.test import Client

from fitprint_tensorboard.loader import CarbonLoader

ESCAPES = (
    "../plugin.py",
    "%2e%2e/plugin.py",
    "..%2fplugin.py",
    "%2e%2e%2fplugin.py",
    "%252e%252e%252fplugin.py",
    "..\\plugin.py",
    "%5c..%5cplugin.py",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "....//plugin.py",
    "index.js/../../plugin.py",
    "index.js%00.py",
    ".",
    "",
)


@pytest.fixture(scope="module")
def routes():
    return CarbonLoader().load(TBContext()).get_plugin_apps()


@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_leaves_the_folder_is_no_route(routes, path):
    assert f"/static/{path}" not in routes


@pytest.mark.parametrize("path", ESCAPES)
def test_a_file_hands_out_itself_whatever_path_it_is_asked_under(routes, path):
    whole = Client(routes["/static/index.js"]).get("/static/index.js").get_data()
    for asked in (path, quote(path)):
        answer = Client(routes["/static/index.js"]).get(f"/static/{asked}", query_string={"file": path, "path": path})
        assert answer.get_data() == whole


def test_routes_are_written_out_and_none_has_a_pattern(routes):
    assert all(route.startswith("/") and not set(route) & set("*<>()[]?") for route in routes)
