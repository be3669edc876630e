"""Makes the pictures of the Carbon tab that README and docs show: ``python tests/browser/screenshots.py docs/images``.

Two real runs of the demo's network are measured with what this machine has, then TensorBoard shows them to Chromium.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from looking import ARGUMENTS, CHROMIUM, Tab, environment, served
from playwright.sync_api import Browser, sync_playwright

from fitprint import Footprint
from fitprint.units import format_co2e

REGION, PROJECT, EPOCHS = "DE", "digits", 12
WIDTHS = {"narrow": 32, "wide": 96}
# The wide network is stopped after about this share of its epochs; the narrow one has cheaper ones.
AFFORDED = 0.7
# What is seen first, wide and narrow; budget and metric in the dark; and the advice.
PICTURES = {
    "carbon_tab_light.png": {"height": 790},
    "carbon_tab_dark.png": {"height": 960, "scheme": "dark", "at": "So far, and the budget"},
    "carbon_tab_advice.png": {"height": 700, "at": "What would have made it smaller"},
    "carbon_tab_narrow.png": {"height": 800, "width": 390},
}


def main(folder: Path) -> None:
    """Train, look, and keep the pictures in a folder."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        logs, tried, site = (Path(scratch) / name for name in ("logs", "tried", "site"))
        site.mkdir()
        budget = format_co2e(AFFORDED * (train(tried, "wide", None).co2e_g or 0.0))
        for name in WIDTHS:
            train(logs, name, budget)
        with served(logs, environment(site)) as url, chromium() as browser:
            for name in PICTURES:
                shot(browser, url, folder / name, **PICTURES[name])


def train(logs: Path, name: str, budget: str | None) -> Footprint:
    """One run, with its events in a folder of its own."""
    import torch
    from lightning.pytorch import Trainer, seed_everything
    from lightning.pytorch.loggers import TensorBoardLogger

    from fitprint_lightning import CarbonCallback
    from fitprint_lightning.demo import SEED, Digits, loaders

    seed_everything(SEED)
    torch.set_num_threads(1)  # what else the machine does is then hardly seen in the epochs
    callback = CarbonCallback(budget=budget, region=REGION, project=PROJECT, ledger="off")
    logger = TensorBoardLogger(logs, name=name, version="")
    logger.log_hyperparams({"width": WIDTHS[name]})
    options = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 10}
    Trainer(max_epochs=EPOCHS, callbacks=[callback], logger=logger, **options).fit(Digits(WIDTHS[name]), *loaders())
    return callback.footprint


@contextmanager
def chromium() -> Iterator[Browser]:
    """Without a window."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def shot(browser: Browser, url: str, file: Path, *, height: int, at: str | None = None, **options: str | int) -> None:
    """A picture of the page, with a section of the tab at its top."""
    tab = Tab(browser, url, whole=True, **options)
    tab.page.set_viewport_size({"width": tab.page.viewport_size["width"], "height": height})
    tab.chart("Mean power at the sensors")
    tab.frame.get_by_role("region", name="Advice for").first.wait_for()
    tab.frame.get_by_role("region", name="Table of places").wait_for()
    if at is not None:
        tab.frame.get_by_role("region", name=at, exact=True).evaluate("section => scrollTo(0, section.offsetTop - 6)")
    tab.page.screenshot(path=file)
    tab.page.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) == 2 else "docs/images"))
