"""fitprint measures the energy and CO2e of every epoch that a model trains, and stops on a budget."""

from __future__ import annotations

from fitprint.budget import Budget, Decision
from fitprint.config import Config
from fitprint.detection import detect
from fitprint.energy import Energy
from fitprint.errors import FitprintError
from fitprint.footprint import EpochFootprint, Footprint
from fitprint.ledger.store import Ledger
from fitprint.meter import Meter
from fitprint.tracker import Tracker, track

__all__ = [
    "Budget",
    "Config",
    "Decision",
    "Energy",
    "EpochFootprint",
    "FitprintError",
    "Footprint",
    "Ledger",
    "Meter",
    "Tracker",
    "detect",
    "track",
]
