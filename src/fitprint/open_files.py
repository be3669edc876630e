"""A process may have so many files open; the last of them are the program's own."""

from __future__ import annotations

import errno
import os
from itertools import islice

# A data loader's worker, a checkpoint, a socket: what a program opens next, and what it opens meanwhile.
LEFT = 16


def leave_room() -> None:
    """To be called before a file is opened that stays open.

    Raises:
        OSError: If the program could open fewer than LEFT more (``EMFILE``, as if there were none).

    Example:
        >>> leave_room()
    """
    try:
        import resource
    except ImportError:  # Windows, where thousands may be open
        return
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # From the top, where numbers are free unless nearly all are taken; a file opened to see would itself be one.
    free = (number for number in range(most - 1, -1, -1) if not _is_open(number))
    if most != resource.RLIM_INFINITY and len(list(islice(free, LEFT))) < LEFT:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError as error:
        return error.errno != errno.EBADF
    return True
