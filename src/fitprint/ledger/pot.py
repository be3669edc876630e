"""A pot: one budget on which all runs of a project draw, at once and from many machines.

A run reserves before it spends and settles after. What a run is charged is the most of what it told the
pot with what it has reserved, and what the ledger has recorded of it: so each joule is charged once, by
run id, whether it came through the pot, a journal or an import. No clock is asked: those of the machines
may differ.
"""

from __future__ import annotations

from typing import NamedTuple

from fitprint.ledger.database import Database

COLUMNS = {"g": "co2e_g", "J": "energy_j"}
# Beyond what a run needs now it gets this share of what is left, so that it need not ask at every look.
AHEAD_SHARE = 0.01

# One row a run; one that is counted inside its parent is left out.
CHARGES = """
WITH entries AS (
    SELECT run_id, parent_run_id, used, reserved, 0.0 AS recorded FROM pot_runs WHERE project = :project AND unit = :unit
    UNION ALL
    SELECT run_id, parent_run_id, 0.0, 0.0, COALESCE({recorded}, 0.0) FROM runs WHERE project = :project
), merged AS (
    SELECT run_id, MAX(parent_run_id) AS parent_run_id, MAX(used) AS told, MAX(reserved) AS reserved, MAX(recorded) AS recorded
    FROM entries GROUP BY run_id
), charges AS (
    SELECT run_id, CASE WHEN told > recorded THEN told ELSE recorded END AS used,
        CASE WHEN told + reserved > recorded THEN told + reserved ELSE recorded END AS charged
    FROM merged WHERE parent_run_id IS NULL OR parent_run_id NOT IN (SELECT run_id FROM merged)
)
"""


class Grant(NamedTuple):
    """The pot's answer to a run.

    Attributes:
        granted: Whether what it needs fits.
        reserved: What it may use from now on, before it asks again.
        others: What all other runs are charged, with what they have reserved.
        limit: The pot's limit.
    """

    granted: bool
    reserved: float
    others: float
    limit: float


class Charge(NamedTuple):
    """What one run takes of the pot.

    Attributes:
        run_id: The run.
        used: What it is known to have used.
        reserved: What it may have used beyond that, until it settles, is resumed or is settled by hand.
    """

    run_id: str
    used: float
    reserved: float


class Pot:
    """One project's budget of one quantity, kept in the ledger's database.

    Args:
        database: The ledger's, with its tables.
        project: The project.
        unit: ``g`` (of CO2e) or ``J``.
    """

    def __init__(self, database: Database, project: str, unit: str) -> None:
        self._db = database
        self._key = {"project": project, "unit": unit}
        self._charges = CHARGES.format(recorded=COLUMNS[unit])

    def open(self, limit: float, run_id: str) -> float | None:
        """Set the limit, which is that of the run started last.

        Args:
            limit: In the pot's unit.
            run_id: Who sets it.

        Returns:
            The limit before, where it was another; the change is recorded.
        """
        with self._db.transaction():
            # An insert that loses a race waits for the winner and then does nothing.
            self._db.execute(
                "INSERT INTO pots VALUES (:project, :unit, :limit) ON CONFLICT (project, unit) DO NOTHING", **self._key, limit=limit
            )
            was = self._lock()
            if was == limit:
                return None
            self._db.execute("UPDATE pots SET most = :limit WHERE project = :project AND unit = :unit", **self._key, limit=limit)
            self._db.execute(
                "INSERT INTO pot_changes (project, unit, position, run_id, was, most) SELECT :project, :unit, count(*), :run_id, "
                ":was, :limit FROM pot_changes WHERE project = :project AND unit = :unit",
                **self._key, run_id=run_id, was=was, limit=limit,
            )  # fmt: skip
            return was

    def reserve(self, run_id: str, used: float, need: float, *, parent_run_id: str | None = None) -> Grant:
        """Settle what a run has used and reserve what it needs next, in one step.

        Args:
            run_id: The run.
            used: All that it has used so far.
            need: Upper bound of what it uses before it asks again.
            parent_run_id: The run inside which it is counted, or None.

        Returns:
            The answer; where it is no, what the run had reserved before stays reserved.
        """
        with self._db.transaction():
            limit = self._lock()
            others = self._others(run_id)
            left = limit - others - (0.0 if self._is_charged(parent_run_id) else used)
            granted = left > 0 and need <= left
            kept = max(0.0, self._ceiling(run_id) - used)
            reserved = need + AHEAD_SHARE * (left - need) if granted else kept
            self._write(run_id, used, reserved, parent_run_id)
        return Grant(granted, reserved, others, limit)

    def settle(self, run_id: str, used: float | None = None) -> None:
        """Give back what is reserved: the run has ended.

        Args:
            run_id: The run.
            used: All that it has used; where it cannot tell, what is known of it.
        """
        with self._db.transaction():
            self._lock()
            self._write(run_id, self._known(run_id) if used is None else used, 0.0)

    def resume(self, run_id: str, used: float) -> float:
        """A run begins, or goes on after it was killed: its open reservation is given back.

        Args:
            run_id: The run.
            used: What the run itself believes to have used.

        Returns:
            What it was charged beyond that; it stays charged, so the run adds it to what it reports.
        """
        with self._db.transaction():
            self._lock()
            known = max(used, self._known(run_id))
            self._write(run_id, known, 0.0)
        return known - used

    def limit(self) -> float | None:
        """The limit; None where there is no such pot."""
        rows = self._db.execute("SELECT most FROM pots WHERE project = :project AND unit = :unit", **self._key)
        return float(rows[0][0]) if rows else None

    def charges(self) -> list[Charge]:
        """What every run takes, those that never asked the pot included."""
        rows = self._db.execute(f"{self._charges} SELECT run_id, used, charged - used FROM charges ORDER BY run_id", **self._key)
        return [Charge(run_id, float(used), float(reserved)) for run_id, used, reserved in rows]

    # ---- inside a transaction

    def _lock(self) -> float:
        """One run at a time; returns the limit."""
        query = f"SELECT most FROM pots WHERE project = :project AND unit = :unit{self._db.locking}"
        rows = self._db.execute(query, **self._key)
        return float(rows[0][0]) if rows else 0.0

    def _others(self, run_id: str) -> float:
        query = f"{self._charges} SELECT COALESCE(SUM(charged), 0.0) FROM charges WHERE run_id <> :run_id"
        return float(self._db.execute(query, **self._key, run_id=run_id)[0][0])

    def _is_charged(self, run_id: str | None) -> bool:
        query = f"{self._charges} SELECT count(*) FROM merged WHERE run_id = :run_id"
        return run_id is not None and bool(self._db.execute(query, **self._key, run_id=run_id)[0][0])

    def _known(self, run_id: str) -> float:
        """The most that is known to have been used by a run, whether it is counted inside another or not."""
        query = f"{self._charges} SELECT CASE WHEN told > recorded THEN told ELSE recorded END FROM merged WHERE run_id = :run_id"
        rows = self._db.execute(query, **self._key, run_id=run_id)
        return float(rows[0][0]) if rows else 0.0

    def _ceiling(self, run_id: str) -> float:
        query = "SELECT used + reserved FROM pot_runs WHERE project = :project AND unit = :unit AND run_id = :run_id"
        rows = self._db.execute(query, **self._key, run_id=run_id)
        return float(rows[0][0]) if rows else 0.0

    def _write(self, run_id: str, used: float, reserved: float, parent_run_id: str | None = None) -> None:
        self._db.execute(
            "INSERT INTO pot_runs (project, unit, run_id, parent_run_id, used, reserved) "
            "VALUES (:project, :unit, :run_id, :parent, :used, :reserved) ON CONFLICT (project, unit, run_id) DO UPDATE SET "
            "used = excluded.used, reserved = excluded.reserved, "
            "parent_run_id = COALESCE(excluded.parent_run_id, pot_runs.parent_run_id)",
            **self._key, run_id=run_id, parent=parent_run_id, used=used, reserved=reserved,
        )  # fmt: skip
