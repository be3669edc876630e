"""Does each thing many times and marks where it begins and ends: the process whose instructions are counted.

A mark is a call of ``getpgid``, which nothing else here calls: the counter writes down how much it has seen by then.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.tried import core_hook, keras_hook, lightning_hook, started, transformers_hook
from fitprint.pace import Schedule

CALLS = 100
WARM_UP = 50
SCHEDULE = Schedule(batches=10)


def reference() -> dict[str, int]:
    """Plain Python, as hooks are written: tuples, a mapping, arithmetic, calls. What all else is compared with."""
    counts, sums = (1, 2, 3), dict[str, int]()
    for name in ("train", "validate", "test", "train", "validate", "test"):
        counts = tuple([count + 1 for count in counts])
        sums[name] = sums.get(name, 0) + sum(counts)
    return sums


def boundary(folder: Path, gpus: int) -> Callable[[], object]:
    """A phase is entered or left, two boundaries in turn."""
    tracker, inside = started(folder, gpus, ledger="off"), [False]

    def cross() -> None:
        (tracker.leave if inside[0] else tracker.enter)("validate")
        inside[0] = not inside[0]

    return cross


def epoch(folder: Path) -> Callable[[], object]:
    tracker = started(folder, 1, ledger="off")
    return lambda: (tracker.begin_epoch(0, SCHEDULE), tracker.end_epoch(steps=10))


CASES: dict[str, Callable[[Path], Callable[[], object]]] = {
    "nothing": lambda _: lambda: None,
    "reference": lambda _: reference,
    "boundary, 1 GPU": lambda folder: boundary(folder, 1),
    "boundary, 8 GPUs": lambda folder: boundary(folder, 8),
    "epoch": epoch,
    "batch hook": lambda _: core_hook(),
    "batch hook, Lightning": lambda _: lightning_hook(),
    "batch hook, Keras": lambda _: keras_hook(),
    "batch hook, Hugging Face": lambda _: transformers_hook(),
}


def mark() -> None:
    os.getpgid(0)


def repeated(action: Callable[[], object], calls: int) -> None:
    mark()
    for _ in range(calls):
        action()
    mark()


def count_from_here() -> None:
    """Until now nothing was counted, which is many times as fast. Waiting busily: the counter listens between steps."""
    told = subprocess.Popen(["vgdb", f"--pid={os.getpid()}", "instrumentation", "on"], stdout=subprocess.DEVNULL)
    while told.poll() is None:
        pass


def actions(names: list[str], root: Path) -> Iterator[Callable[[], object]]:
    for i, name in enumerate(names):
        folder = root / str(i)
        folder.mkdir()
        yield CASES[name](folder)


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        ready = list(actions(sys.argv[1:], Path(root)))
        for action in ready:
            for _ in range(WARM_UP):
                action()
        gc.collect()
        gc.freeze()  # what the imports have left is not looked through again
        count_from_here()
        for action in ready:
            repeated(action, CALLS)
            repeated(action, 2 * CALLS)


if __name__ == "__main__":
    main()
