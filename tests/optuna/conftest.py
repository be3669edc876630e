"""Skipped as a whole where Optuna is not installed."""

from __future__ import annotations

import pytest

pytest.importorskip("optuna.study")
