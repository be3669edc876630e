"""``python -m fitprint``."""

from __future__ import annotations

import sys

from fitprint.cli import main

sys.exit(main())
