"""``python short_of.py FOLDER CASE...``: trains a line through points, with and without us, and runs short of something.

A case is ``fault@epoch``; what is short stays so to the end. Each training is a forked child in a folder of its own below
FOLDER/CASE, which keeps its weights in a file after every epoch. Prints a JSON line for each.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import tensorboard.summary.writer.record_writer  # noqa: F401 - not in the children's time

from fitprint import Tracker
from fitprint.testing import FakePowercap
from fitprint_tensorboard import CarbonWriter

EPOCHS = 6
# The user's own file is smaller, every file of ours is larger in the end.
MOST_BYTES = 6000


def close_the_folder() -> None:
    for path in [Path("ours"), *Path("ours").rglob("*")]:
        if path.is_dir():
            path.chmod(0o555)


def fill_the_logs_disk() -> None:
    with open("log/filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            return


def limit(what: int, most: int) -> None:
    resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def limit_open_files() -> None:
    """Room for one more, which is the user's own."""
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    limit(resource.RLIMIT_NOFILE, number + 1)


FAULTS = {
    "folder": close_the_folder,
    "log": fill_the_logs_disk,
    "size": lambda: limit(resource.RLIMIT_FSIZE, MOST_BYTES),
    "open": limit_open_files,
}


def train(case: str, watched: bool) -> str:
    """A digest of the weights and of the random numbers that come next."""
    fault, _, when = case.partition("@")
    happen = {int(when): FAULTS[fault]}
    writer, weights = CarbonWriter("log") if watched else None, np.zeros(64)
    tracker = Tracker(region="FR", ledger="ours/fitprint.db", budget="1 kg") if watched else None
    happen.get(-1, int)()
    with tracker or nullcontext():
        for epoch in tracker.epochs(range(EPOCHS)) if tracker else range(EPOCHS):
            time.sleep(0.05)  # the clerk has written
            happen.get(epoch, int)()
            x = np.random.random((8, 64)) + random.random()
            weights -= 0.01 * x.T @ (x @ weights - 1.0) / 8
            Path("kept").write_bytes(weights.tobytes())
            if writer is not None:
                writer.scalars(tracker.scalars(), epoch)
                writer.run(tracker.run_text(at_once=True), epoch)
    if writer is not None:
        writer.close()
    return hashlib.sha256(weights.tobytes() + np.random.random(3).tobytes() + repr(random.random()).encode()).hexdigest()


def child(case: str, watched: bool, folder: Path) -> None:
    folder.mkdir(parents=True)
    os.chdir(folder)
    for name in ("ours", "log"):
        Path(name).mkdir()
    os.environ["FITPRINT_SYS_ROOT"] = "sys"
    for package in range(2):
        FakePowercap(Path("sys")).add_zone(f"intel-rapl:{package}", f"package-{package}", 1_000_000)
    if case.startswith("log"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", "log"], check=True)
    with open("said.txt", "w") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    np.random.seed(3)
    random.seed(3)
    sys.stdout.write(train(case, watched))


def main() -> None:
    where, *cases = sys.argv[1:]
    for case in cases:
        for watched in (False, True):
            folder = Path(where, case, "with" if watched else "without")
            began = time.monotonic()
            pid = os.fork()
            if pid == 0:
                return child(case, watched, folder)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            row = {"case": case, "watched": watched, "status": status, "took_s": time.monotonic() - began}
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
    return None


if __name__ == "__main__":
    main()
