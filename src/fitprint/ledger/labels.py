"""What a run's record says beside its figures: inside which run it is, its tags, why it stopped."""

from __future__ import annotations

from typing import Any

from fitprint.ledger.store import Store

LABELS = ("parent_run_id", "tags", "stop_reason")


def labels(store: Store, run_id: str) -> dict[str, Any]:
    """The labels of one run; of a record that cannot be read, none.

    Args:
        store: What has the record.
        run_id: The run.
    """
    try:
        record = store.record(run_id) or {}
        sentence = (record.get("stop_reason") or {}).get("sentence")
        tags = [str(tag) for tag in record.get("tags") or ()]
        return {"parent_run_id": record.get("parent_run_id"), "tags": tags, "stop_reason": sentence}
    except (ValueError, TypeError, AttributeError, RecursionError):  # what a file says may be wrong in any way
        return {"parent_run_id": None, "tags": [], "stop_reason": None}
