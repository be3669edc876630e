"""One base class that both published names of Lightning accept as their own Callback."""

from __future__ import annotations

import importlib
import importlib.util
import sys

from fitprint.errors import MissingExtraError
from fitprint.notices import logger

PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def callback_base() -> type:
    """Build a class that inherits from the Callback of every Lightning package that works here.

    The two packages publish the same code twice, and isinstance checks (LightningCLI, the order of
    callbacks) know only their own. A package that is broken does not hurt the other.

    Raises:
        MissingExtraError: If neither can be imported.
    """
    names = sorted(PACKAGES, key=lambda name: name not in sys.modules)
    bases = tuple(base for base in map(_callback, names) if base is not None)
    if not bases:
        raise MissingExtraError("fitprint_lightning", "lightning")
    return type("LightningCallback", bases, {"__module__": __name__})


def _callback(package: str) -> type | None:
    try:
        if importlib.util.find_spec(package.partition(".")[0]) is None:
            return None
        callback: type = importlib.import_module(f"{package}.callbacks").Callback
    except Exception as error:  # whatever is wrong with it, the other package may do
        logger().debug("%s cannot be used: %r", package, error)
        return None
    return callback


LightningCallback = callback_base()
