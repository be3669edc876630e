"""``python tests/fuzz/harness.py READER [libFuzzer's options]``: bytes that reach every corner, guided by what they reach.

It wants ``atheris`` beside what the tests need (``pip install atheris``). For example two minutes, from the reader's seeds and
what an earlier time has kept in a folder::

    python tests/fuzz/harness.py series -max_total_time=120 corpus/

What ends it is in ``crash-*``, and ``python tests/fuzz/harness.py series crash-...`` shows it again: it becomes a row of
``FOUND`` in ``test_readers.py``.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
with atheris.instrument_imports(include=["fitprint", "fitprint_tensorboard"]):
    from readers import READERS

    import fitprint_tensorboard.loader  # noqa: F401 - else it comes later, and unseen


def main() -> None:
    _, name, *options = sys.argv
    logging.disable(logging.CRITICAL)
    seeds, files = (Path(tempfile.gettempdir(), "fitprint-fuzz", name, kind) for kind in ("seeds", "files"))
    shutil.rmtree(seeds.parent, ignore_errors=True)
    for folder in (seeds, files):
        folder.mkdir(parents=True)
    for number, seed in enumerate(READERS[name].seeds):
        (seeds / str(number)).write_bytes(seed)
    again = any(Path(option).is_file() for option in options)
    atheris.Setup([sys.argv[0], *options, *([] if again else [str(seeds)])], lambda data: READERS[name].read(data, files))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
