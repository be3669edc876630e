"""What TensorBoard imports as it starts. Whatever is broken behind it costs the tab, never TensorBoard."""

from __future__ import annotations

import logging
from typing import Any

from tensorboard.plugins.base_plugin import TBLoader


class CarbonLoader(TBLoader):  # type: ignore[misc]  # TensorBoard is not typed
    """Loads the Carbon tab."""

    def load(self, context: Any) -> Any:
        """Make the plugin; None where it cannot be made, which TensorBoard skips."""
        try:
            from fitprint_tensorboard.plugin import CarbonPlugin

            return CarbonPlugin(context)
        except Exception as error:  # a broken installation, or a TensorBoard that changed
            logging.getLogger("fitprint").warning("TensorBoard starts without the Carbon tab: %s", error)
            return None
