"""A real TensorBoard with the Carbon tab, and a real browser to look at it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from looking import ARGUMENTS, CHROMIUM, Tab, environment, served


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; closed soon, for as long as it is open no test can run an event loop of its own."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def serve(tmp_path_factory):
    """Starts a TensorBoard on a log folder; ends them all."""
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    environ = environment(tmp_path_factory.mktemp("site"))
    with contextlib.ExitStack() as stack:

        def start(logdir: Path, *options: str, tensorflow: bool = False) -> str:
            return stack.enter_context(served(logdir, environ, *options, tensorflow=tensorflow))

        yield start


@pytest.fixture
def look(browser):
    """Opens the tab; closes it after the test."""
    tabs = []

    def open_tab(url, **options) -> Tab:
        tabs.append(Tab(browser, url, **options))
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        tab.page.close()
