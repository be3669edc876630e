"""A real TensorBoard with the Carbon tab, and a real browser to look at it."""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("tensorboard")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = next((path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if path.exists()), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# TensorBoard without TensorFlow, which it would import for seconds: what it does itself where there is none.
WITHOUT_TENSORFLOW = (
    "import sys, types; sys.modules['tensorboard.compat.notf'] = types.ModuleType('notf')\n"
    "from tensorboard.main import run_main; run_main()"
)
ENTRY_POINT = "[tensorboard_plugins]\nfitprint = fitprint_tensorboard.loader:CarbonLoader\n"
START_S = 60


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def with_tab(tmp_path_factory) -> dict[str, str]:
    """The environment in which TensorBoard finds the tab, where an older installation does not name it yet."""
    paths = [path for path in sys.path if path]
    points = importlib.metadata.entry_points(group="tensorboard_plugins")
    if "fitprint" not in points.names:
        folder = tmp_path_factory.mktemp("site") / "fitprint_tab-0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: fitprint-tab\nVersion: 0\n")
        (folder / "entry_points.txt").write_text(ENTRY_POINT)
        paths.append(str(folder.parent))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="session")
def serve(with_tab):
    """Starts a TensorBoard on a log folder; ends them all."""
    with contextlib.ExitStack() as stack:

        def start(logdir: Path, *options: str, tensorflow: bool = False) -> str:
            return stack.enter_context(_served(logdir, options, with_tab, tensorflow))

        yield start


@contextlib.contextmanager
def _served(logdir, options, environ, tensorflow):
    port = _free_port()
    how = ["-m", "tensorboard.main"] if tensorflow else ["-c", WITHOUT_TENSORFLOW]
    said = logdir.parent / f"{logdir.name}-{port}.log"
    command = [sys.executable, *how, "--logdir", str(logdir), "--host", "127.0.0.1", "--port", str(port), *options]
    with said.open("wb") as out:
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=out)
    try:
        prefix = next((option.partition("=")[2] for option in options if option.startswith("--path_prefix")), "")
        _await(process, port, f"{prefix}/data/plugins_listing", said)
        yield f"http://127.0.0.1:{port}{prefix}/"
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def _await(process, port, path, said):
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"TensorBoard does not answer:\n{said.read_text()}")


class Tab:
    """The Carbon tab in a page of TensorBoard, and what the browser had to say."""

    def __init__(self, browser, url, width=1280, scheme="light"):
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.said = []
        self.page.on("console", lambda message: self._hear(message))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("requestfailed", lambda request: self.said.append(f"failed: {request.url}"))
        self.page.on("response", lambda response: response.status >= 400 and self.said.append(f"{response.status}: {response.url}"))
        self.page.goto(f"{url}#fitprint")
        self.frame = self.page.frame_locator("iframe")
        self.frame.locator("section, pre").first.wait_for()

    def _hear(self, message):
        if message.type == "error":
            self.said.append(message.text)


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
