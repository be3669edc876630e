"""How many instructions a hook takes: the same on a busy machine as on an idle one, so that a regression is seen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.counted import CALLS
from benchmarks.rig import HERE

WITHIN_S = 600.0
# In times of the reference, which is counted in the same process: a quarter more than what was counted last. The batch hook
# is what those of the frameworks call.
ROOM = 1.25
LAST = {"batch hook": 0.0201, "boundary, 1 GPU": 4.29, "boundary, 8 GPUs": 8.01, "epoch": 28.6}
LIMITS = {case: ROOM * times for case, times in LAST.items()}
# What instructions are counted of, and the case of it in ``counted.py``.
COUNTED = (
    ("a boundary, 1 GPU and 2 CPU zones", "boundary, 1 GPU"),
    ("a boundary, 8 GPUs and 2 CPU zones", "boundary, 8 GPUs"),
    ("an epoch, 1 GPU and 2 CPU zones", "epoch"),
    ("a batch hook, Lightning", "batch hook, Lightning"),
    ("a batch hook, Keras", "batch hook, Keras"),
    ("a batch hook, Hugging Face", "batch hook, Hugging Face"),
)


def counter_missing() -> str:
    """Why nothing can be counted here; empty where it can be."""
    missing = [tool for tool in ("valgrind", "vgdb") if shutil.which(tool) is None]
    return f"{missing[0]} is not installed" if missing else ""


def instructions(names: Sequence[str]) -> Mapping[str, float]:
    """Instructions of one call of each of the cases of ``counted.py``, in user space, all in one process.

    The difference of two loops, one twice as long: start-up and marks cancel. The loop itself is taken out by that around
    nothing. Hashes are not random, so that dictionaries are the same in every run.

    Raises:
        RuntimeError: If the process has failed.
    """
    cases = list(dict.fromkeys(["nothing", *names]))
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        counter = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-before=getpgid", f"--callgrind-out-file={out}"]
        command = [*counter, sys.executable, "-m", "benchmarks.counted", *cases]
        done = subprocess.run(command, cwd=name, env=_environment(), capture_output=True, text=True, timeout=WITHIN_S)
        sums = [_sum(Path(f"{out}.{i + 1}")) for i in range(4 * len(cases)) if Path(f"{out}.{i + 1}").exists()]
    if done.returncode or len(sums) != 4 * len(cases):
        raise RuntimeError(f"instructions could not be counted:\n{done.stderr[-2000:]}")
    per_call = [(sums[i + 3] - sums[i + 1]) / CALLS for i in range(0, len(sums), 4)]
    return {case: per_call[i] - per_call[0] for i, case in enumerate(cases) if case != "nothing"}


def counted_rows() -> Iterator[list[str]]:
    """Rows of a table of costs: what is counted, instructions and times the reference, the limit, and whether it is kept."""
    if counter_missing():
        yield ["instructions", f"not counted: {counter_missing()}", "-", "-"]
        return
    found = instructions(["reference", *LIMITS])
    hooks = [case for _, case in COUNTED if case not in found]
    found = {**instructions(hooks), **found}  # by themselves: frameworks fill the caches of the interpreter
    yield ["instructions of the reference in plain Python", f"{found['reference']:,.0f}", "-", "-"]
    for what, case in COUNTED:
        ratio, limit = found[case] / found["reference"], LIMITS.get(case)
        kept = ["-", "-"] if limit is None else [f"< {limit:.3g} x", "yes" if ratio < limit else "NO"]
        yield [f"instructions of {what}", f"{found[case]:,.0f} ({ratio:.3g} x)", *kept]


def _environment() -> dict[str, str]:
    path = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}


def _sum(dump: Path) -> int:
    """The instructions between the mark before and this one."""
    found = re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
