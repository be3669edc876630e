"""A real TensorBoard with the Carbon tab, and a page of a real browser that looks at it."""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

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
NOT_OURS = re.compile(r"/font-roboto/|favicon")


def environment(folder: Path) -> dict[str, str]:
    """The environment in which TensorBoard finds the tab, where an older installation does not name it yet.

    Args:
        folder: An empty one, for what names it then.
    """
    paths = [path for path in sys.path if path]
    points = importlib.metadata.entry_points(group="tensorboard_plugins")
    if "fitprint" not in points.names:
        named = folder / "fitprint_tab-0.dist-info"
        named.mkdir()
        (named / "METADATA").write_text("Metadata-Version: 2.1\nName: fitprint-tab\nVersion: 0\n")
        (named / "entry_points.txt").write_text(ENTRY_POINT)
        paths.append(str(folder))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@contextlib.contextmanager
def served(logdir: Path, environ: Mapping[str, str], *options: str, tensorflow: bool = False) -> Iterator[str]:
    """A TensorBoard on a log folder, and its address; ended with the context."""
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
    """The Carbon tab, by itself or as a tab of TensorBoard's page, and what the browser had to say against it."""

    def __init__(self, browser, url, *, whole=False, width=1280, scheme="light"):
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.set_default_timeout(15_000)
        self.said = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("requestfailed", lambda request: self._note(f"failed: {request.url}", request.url))
        self.page.goto(f"{url}#fitprint" if whole else f"{url}data/plugin_entry.html?name=fitprint", timeout=30_000)
        self.frame = self.page.frame_locator("iframe") if whole else self.page
        self.frame.locator("section, pre").first.wait_for()

    def _hear(self, message):
        if message.type == "error":
            self._note(message.text, message.location["url"])

    def _note(self, text, url):
        """All but files of TensorBoard's own that it does not find below a path prefix, or for a page of ours."""
        if not NOT_OURS.search(url):
            self.said.append(f"{text} {url}")

    def chart(self, title):
        """The figure with that title, once it is drawn."""
        caption = self.frame.locator("figcaption", has_text=re.compile(f"^{re.escape(title)}$"))
        figure = self.frame.locator("figure").filter(has=caption)
        figure.locator("svg.canvas text").first.wait_for()
        return figure
