"""A pot is never overdrawn, and charges every run once, whatever is killed when."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fitprint import FitprintError
from fitprint.ledger.pot import AHEAD_SHARE, Pot
from fitprint.ledger.schema import RECORDS, VERSION
from fitprint.ledger.store import Store

LIMIT = 1000.0


@pytest.fixture
def store(ledger):
    if "://" not in ledger:
        Path(ledger).parent.mkdir()
    store = Store(ledger)
    yield store
    store.close()


@pytest.fixture
def pot(store):
    pot = Pot(store.database, "sweep", "J")
    pot.open(LIMIT, "first")
    return pot


def journalled(store, run_id, joules, *, project="sweep", status="running", **record):
    run = {"project": project, "energy_j": joules, "status": status, **record}
    store.apply([{"event": "progress", "run_id": run_id, "at": 1.0, "run": run}])


def charged(pot):
    return {charge.run_id: (charge.used, charge.reserved) for charge in pot.charges()}


def test_a_run_gets_what_it_needs_and_a_little_ahead(pot):
    grant = pot.reserve("a", 0.0, 100.0)
    assert grant.granted
    assert grant.reserved == pytest.approx(100.0 + AHEAD_SHARE * 900.0)
    assert (grant.others, grant.limit) == (0.0, LIMIT)


def test_what_one_run_has_reserved_is_not_there_for_another(pot):
    pot.reserve("a", 0.0, 600.0)
    answer = pot.reserve("b", 0.0, 600.0)
    assert not answer.granted
    assert answer.others == pytest.approx(604.0)


def test_settling_gives_back_what_was_not_used(pot):
    pot.reserve("a", 0.0, 600.0)
    pot.settle("a", 50.0)
    assert charged(pot) == {"a": (50.0, 0.0)}
    assert pot.reserve("b", 0.0, 600.0).granted


def test_a_run_that_is_refused_keeps_what_it_had_reserved_for_its_closing_work(pot):
    first = pot.reserve("a", 0.0, 600.0)
    pot.reserve("a", 550.0, 600.0)
    assert charged(pot) == {"a": (550.0, pytest.approx(first.reserved - 550.0))}


def test_a_killed_run_is_charged_what_it_had_reserved_until_it_is_resumed(pot, store):
    pot.reserve("a", 100.0, 200.0)
    journalled(store, "a", 150.0)
    assert sum(charged(pot)["a"]) == pytest.approx(300.0 + AHEAD_SHARE * 700.0)
    assert pot.resume("a", 150.0) == 0.0
    assert charged(pot) == {"a": (150.0, 0.0)}


def test_a_resumed_run_that_forgot_some_of_its_use_stays_charged_for_it(pot, store):
    pot.reserve("a", 300.0, 10.0)
    journalled(store, "a", 320.0)
    assert pot.resume("a", 200.0) == 120.0
    assert charged(pot) == {"a": (320.0, 0.0)}


def test_what_the_ledger_knows_of_a_run_is_charged_once_beside_what_the_pot_knows(pot, store):
    pot.settle("a", 100.0)
    journalled(store, "a", 100.0)
    journalled(store, "never asked", 70.0)
    journalled(store, "elsewhere", 70.0, project="other")
    assert charged(pot) == {"a": (100.0, 0.0), "never asked": (70.0, 0.0)}


def test_a_run_inside_another_is_counted_in_that_one(pot, store):
    journalled(store, "outer", 200.0)
    journalled(store, "inner", 150.0, parent_run_id="outer")
    assert pot.reserve("inner", 150.0, 700.0, parent_run_id="outer").granted
    assert [charge.run_id for charge in pot.charges()] == ["outer"]
    assert pot.reserve("other", 0.0, 700.0).granted


def test_the_limit_is_that_of_the_run_started_last_and_changes_are_kept(pot, store):
    assert pot.open(LIMIT, "second") is None
    assert pot.open(2 * LIMIT, "third") == LIMIT
    assert pot.limit() == 2 * LIMIT
    assert store.database.execute("SELECT run_id, was, most FROM pot_changes") == [("third", LIMIT, 2 * LIMIT)]


def test_grams_and_joules_are_two_pots(pot, store):
    grams = Pot(store.database, "sweep", "g")
    grams.open(5.0, "a")
    journalled(store, "a", 900.0, co2e_g=4.0)
    assert charged(grams) == {"a": (4.0, 0.0)}
    assert charged(pot) == {"a": (900.0, 0.0)}


def test_there_is_no_limit_where_there_is_no_pot(store):
    assert Pot(store.database, "nobody's", "g").limit() is None


def test_a_ledger_of_the_version_before_pots_is_brought_up_to_date(tmp_path):
    path = tmp_path / "old.db"
    db = sqlite3.connect(path)
    for statement in (*RECORDS, "PRAGMA application_id = 0x66707274", "PRAGMA user_version = 1"):
        db.execute(statement)
    record = '{"parent_run_id": "outer"}'
    db.execute("INSERT INTO runs (run_id, project, energy_j, record) VALUES ('inner', 'sweep', 150.0, ?)", (record,))
    db.execute("INSERT INTO runs (run_id, project, energy_j, record) VALUES ('outer', 'sweep', 200.0, '{}')")
    db.commit()
    db.close()
    store = Store(path)
    assert store.database.version() == VERSION
    assert charged(Pot(store.database, "sweep", "J")) == {"outer": (200.0, 0.0)}
    store.close()


def test_a_ledger_of_a_later_version_is_refused(ledger, store):
    store.database.set_version(99)
    with pytest.raises(FitprintError, match=r"later version.*99"):
        Store(ledger)


class Draws(RuleBasedStateMachine):
    """Three runs draw on a pot beside a plain account of what each truly used."""

    runs = st.sampled_from(["a", "b", "c"])
    amounts = st.floats(0.0, 400.0)

    def __init__(self):
        super().__init__()
        self.store = Store(":memory:")
        self.pot = Pot(self.store.database, "sweep", "J")
        self.pot.open(LIMIT, "a")
        # What each run has truly used, up to where it may, and what of it is written down.
        self.true = dict.fromkeys("abc", 0.0)
        self.ceiling = dict.fromkeys("abc", 0.0)
        self.journal = dict.fromkeys("abc", 0.0)

    def teardown(self):
        self.store.close()

    @rule(run=runs, need=amounts)
    def reserve(self, run, need):
        grant = self.pot.reserve(run, self.true[run], need)
        if grant.granted:
            assert need <= grant.reserved
            self.ceiling[run] = self.true[run] + grant.reserved

    @rule(run=runs, share=st.floats(0.0, 1.0))
    def use(self, run, share):
        self.true[run] += share * max(0.0, self.ceiling[run] - self.true[run])

    @rule(run=runs)
    def write_the_journal(self, run):
        self.journal[run] = self.true[run]
        journalled(self.store, run, self.true[run])

    @rule(run=runs)
    def end(self, run):
        self.pot.settle(run, self.true[run])
        self.ceiling[run] = self.true[run]

    @rule(run=runs)
    def kill_and_resume(self, run):
        """What was neither told to the pot nor written down is forgotten: all but the last seconds."""
        self.true[run] = self.journal[run]
        lost = self.pot.resume(run, self.journal[run])
        self.true[run] += lost
        self.ceiling[run] = self.true[run]

    @rule(run=runs)
    def settle_by_hand(self, run):
        """Somebody who knows that a killed run will not go on gives back what it had reserved."""
        self.pot.settle(run)
        used, reserved = charged(self.pot)[run]
        assert reserved == 0.0
        self.true[run] = self.ceiling[run] = used

    @invariant()
    def the_pot_never_reads_less_than_was_used(self):
        charges = charged(self.pot)
        for run, used in self.true.items():
            assert sum(charges.get(run, (0.0, 0.0))) >= used - 1e-6

    @invariant()
    def the_pot_is_never_overdrawn(self):
        assert sum(used + reserved for used, reserved in charged(self.pot).values()) <= LIMIT + 1e-6


TestDraws = Draws.TestCase
TestDraws.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
