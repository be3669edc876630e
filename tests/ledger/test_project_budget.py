"""Many runs draw on one pot: what they do at its end, without its database, and after a kill."""

from __future__ import annotations

import subprocess
import time

import pytest
from trials import run_trials

from fitprint import Budget, Config, FitprintError, Tracker
from fitprint.errors import ConfigError
from fitprint.ledger import reservation
from fitprint.ledger.connection import open_pots
from fitprint.ledger.pot import Pot
from fitprint.location import Location
from fitprint.pace import Schedule
from fitprint.process import Process, boot_id
from fitprint.sensors.probe import Surroundings
from fitprint.series import Series
from fitprint.testing import FakeClock, ScriptedCounter

EPOCH_J = 100.0


class Machine:
    """A run of 100 J an epoch of ten batches, driven as an adapter drives it."""

    def __init__(self, ledger, limit="1 kJ", *, check="epoch", on_exceed="stop", more=(), **options):
        self.clock = FakeClock()
        self.gpu = ScriptedCounter(self.clock, watts=0.0)
        budget = [Budget(limit, scope="project", check=check, on_exceed=on_exceed), *more]
        options = {"region": "FR", "project": "sweep", "budget": budget, "ledger": ledger, **options}
        around = Surroundings(clock=self.clock, environ={})
        self.tracker = Tracker(**options, counters=[self.gpu], around=around, awaits_state=True).start()

    def begin(self, epoch=0):
        self._look_at = self.tracker.begin_epoch(epoch, Schedule(epochs=100, batches=10, validation_batches=0))

    def batch(self, done, joules=EPOCH_J / 10):
        self.clock.advance(1.0)
        self.gpu.add(joules)
        if done >= self._look_at:
            self._look_at, _ = self.tracker.look(done)

    def train(self, epochs=100):
        """Until the epochs are done or a budget ends it; returns how many were complete."""
        self.tracker.check_start()
        for epoch in range(epochs):
            if self.tracker.should_stop:
                return epoch
            self.begin(epoch)
            for done in range(1, 11):
                self.batch(done)
                if self.tracker.should_stop:
                    self.tracker.end_epoch(complete=done == 10)
                    return epoch + (done == 10)
            self.tracker.end_epoch()
        return epochs

    def close(self):
        self.tracker.close()
        return self.tracker.footprint


def pot_of(ledger, unit="J", project="sweep"):
    database = open_pots(Location.of(ledger), create=False)
    try:
        pot = Pot(database, project, unit)
        return {charge.run_id: (charge.used, charge.reserved) for charge in pot.charges()}, pot.limit()
    finally:
        database.close()


def test_one_run_uses_the_pot_up_and_says_so(ledger):
    machine = Machine(ledger)
    assert machine.train() in (8, 9)
    footprint = machine.close()
    assert footprint.stop_reason["code"] == "pot_spent"
    assert "of project 'sweep' are used or reserved (this run " in footprint.stop_reason["sentence"]
    assert pot_of(ledger) == ({footprint.run_id: (footprint.energy_j, 0.0)}, 1000.0)


def test_by_batches_the_pot_is_used_to_the_last(ledger):
    machine = Machine(ledger, check=1)
    machine.train()
    assert 950.0 <= machine.close().energy_j <= 1000.0


def test_what_one_run_has_used_the_next_one_cannot(ledger):
    first = Machine(ledger)
    first.train(4)
    first.close()
    second = Machine(ledger)
    second.train()
    footprint = second.close()
    assert 400.0 <= footprint.energy_j <= 600.0
    assert footprint.budget[0]["scope"] == "project"
    assert footprint.budget[0]["used"] == pytest.approx((400.0 + footprint.energy_j) / 1000.0)


def test_two_runs_at_once_share(ledger):
    both = [Machine(ledger), Machine(ledger)]
    for machine in both:
        machine.train(3)
    used, _ = pot_of(ledger)
    assert sum(map(sum, used.values())) <= 1000.0
    assert both[1].tracker.scalars()["carbon/budget_used"] >= 0.6
    for machine in both:
        machine.close()


def test_a_pot_that_is_spent_lets_no_epoch_begin(ledger):
    first = Machine(ledger, check=1)
    first.train()
    first.close()
    last = Machine(ledger, "900 J")
    assert last.train() == 0
    assert last.close().stop_reason["code"] == "pot_spent"


def test_a_run_that_only_warns_goes_on_and_is_charged(ledger):
    machine = Machine(ledger, "300 J", on_exceed="warn")
    assert machine.train(6) == 6
    footprint = machine.close()
    assert footprint.stop_reason is None
    assert pot_of(ledger)[0] == {footprint.run_id: (600.0, 0.0)}


def test_energy_and_co2e_of_run_and_project_hold_together(ledger):
    more = (Budget("1 t", scope="project"), Budget("250 J"))
    machine = Machine(ledger, more=more)
    machine.train()
    footprint = machine.close()
    assert footprint.stop_reason["code"] == "budget"
    assert [(row["scope"], row["unit"]) for row in footprint.budget] == [("project", "J"), ("project", "g"), ("run", "J")]
    assert pot_of(ledger, "g")[0] == {footprint.run_id: (pytest.approx(footprint.co2e_g), 0.0)}


def test_a_changed_limit_is_warned_about_and_holds_for_all(ledger, caplog):
    first = Machine(ledger)
    first.train(3)
    second = Machine(ledger, "600 J")
    second.train(1)
    second.close()
    assert any("was 1,000 J; it is 600 J now" in text for text in caplog.messages)
    first.train()
    footprint = first.close()
    assert footprint.stop_reason["limit"] == 600.0
    assert footprint.energy_j <= 500.0


def gone(proc_root):
    """A process of this machine that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return Process(boot_id(proc_root), ended.pid, "1")


def test_a_killed_run_stays_charged_until_it_is_resumed(ledger, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("fitprint.ledger.recorder.this_process", gone)
        killed = Machine(ledger, run_id="trial-1")
        killed.train(3)
    state = killed.tracker.state()
    killed.tracker._guard.run._recorder.close()  # what was written is written; the process is gone
    charges, _ = pot_of(ledger)
    used, reserved = charges["trial-1"]
    assert used == 300.0
    assert reserved >= 100.0
    again = Machine(ledger)
    again.tracker.resume(state)
    again.tracker.check_start()
    charges, _ = pot_of(ledger)
    assert list(charges) == ["trial-1"]
    again.begin(3)
    again.batch(1)
    again.tracker.end_epoch()
    again.close()
    assert pot_of(ledger)[0] == {"trial-1": (310.0, 0.0)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ledger": "/tmp/fitprint.db"}, "project's name"),
        ({"project": "sweep", "ledger": "off"}, "ledger='off'"),
        ({"project": "sweep", "ledger": "runs/fitprint.db"}, "absolute path"),
        ({"project": "sweep"}, "ledger='fitprint.db'"),
    ],
)
@pytest.mark.parametrize("make", [Tracker, Series])
def test_a_pot_that_other_runs_would_not_find_is_refused_at_construction(make, options, message):
    with pytest.raises(ConfigError, match=message):
        make(budget=Budget("10 kg", scope="project"), **options)


def test_two_limits_of_one_pot_are_refused():
    budgets = [Budget("10 kg", scope="project"), Budget("5 kg", scope="project")]
    with pytest.raises(ConfigError, match="one limit"):
        Tracker(budget=budgets, project="sweep", ledger="/tmp/fitprint.db")


def test_switched_off_nothing_is_asked_of_a_project_budget(monkeypatch):
    monkeypatch.setenv("FITPRINT_DISABLE", "1")
    with Tracker(budget=Budget("10 kg", scope="project")) as tracker:
        assert list(tracker.epochs(range(2))) == [0, 1]


# ---- the database goes away


def test_a_database_that_stops_in_mid_run_ends_it_after_what_was_reserved(server, monkeypatch):
    monkeypatch.setattr(reservation, "PERSIST_S", 1.0)
    machine = Machine(server.create(), check=1)
    machine.train(3)
    server.stop()
    try:
        began = time.monotonic()
        done = machine.train()
        assert time.monotonic() - began < 15.0
        assert done <= 1
        assert machine.tracker.decision.code == "pot_unreachable"
        assert "cannot be reached" in machine.tracker.decision.sentence
    finally:
        server.start()
    machine.close()


def test_with_warn_the_run_goes_on_without_its_pot_and_is_charged_when_it_is_back(server, monkeypatch):
    monkeypatch.setattr(reservation, "PERSIST_S", 0.5)
    url = server.create()
    machine = Machine(url, on_exceed="warn")
    machine.train(2)
    server.stop()
    try:
        assert machine.train(4) == 4
        assert machine.tracker.decision is None
    finally:
        server.start()
    footprint = machine.close()
    assert pot_of(url)[0] == {footprint.run_id: (600.0, 0.0)}


def test_a_server_that_starts_anew_costs_a_moment_and_no_run(server):
    url = server.create()
    machine = Machine(url)
    machine.train(2)
    server.stop()
    server.start()
    assert machine.train(2) == 2
    assert machine.close().status == "completed"
    assert sum(used for used, _ in pot_of(url)[0].values()) == 400.0


def test_a_file_that_vanishes_in_mid_run_is_not_taken_for_an_empty_pot(tmp_path, monkeypatch):
    monkeypatch.setattr(reservation, "PERSIST_S", 0.5)
    ledger = tmp_path / "fitprint.db"
    machine = Machine(str(ledger))
    machine.train(3)
    ledger.unlink()
    machine.train()
    assert machine.tracker.decision.code == "pot_unreachable"
    machine.close()


def in_proc(_):
    return "/proc/no-such-folder/fitprint.db"


def below_a_file(folder):
    (folder / "file").write_text("")
    return str(folder / "file" / "below" / "fitprint.db")


def a_folder(folder):
    (folder / "fitprint.db").mkdir()
    return str(folder / "fitprint.db")


def no_database(folder):
    (folder / "fitprint.db").write_text("not a database, and too long to be an empty one\n" * 100)
    return str(folder / "fitprint.db")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("place", [in_proc, below_a_file, a_folder, no_database])
def test_a_pot_that_can_never_be_made_is_refused_at_once(place, tmp_path):
    began = time.monotonic()
    machine = Machine(place(tmp_path))
    assert machine.train() == 0
    assert time.monotonic() - began < 5.0
    assert machine.close().stop_reason["code"] == "pot_unreachable"


def test_a_password_is_never_shown(server, caplog, monkeypatch):
    monkeypatch.setattr(reservation, "JOIN_S", 0.5)
    url = server.url().replace("postgres@", "postgres:hunter2@").replace(str(server.port), "1")
    machine = Machine(url)
    assert machine.train() == 0
    footprint = machine.close()
    assert footprint.stop_reason["code"] == "pot_unreachable"
    shown = [repr(Config(ledger=url)), footprint.to_json(), str(footprint), *caplog.messages]
    with pytest.raises(FitprintError) as failed:
        open_pots(Location.of(url), create=True)
    assert not any("hunter2" in text for text in [*shown, str(failed.value), repr(Location.of(url))])


# ---- many processes, some of them killed


@pytest.mark.timeout(120)
def test_eight_trials_at_once_with_random_kills_never_overdraw_the_pot(ledger, tmp_path):
    used, codes, victims = run_trials(ledger, tmp_path, 8, 3, limit="20 kJ", seconds=60)
    charges, limit = pot_of(ledger)
    for name, joules in used.items():
        # Of its first epoch a run knows nothing yet: killed in it, it leaves what it had reserved by then.
        told = joules if name not in victims or joules > EPOCH_J else 0.0
        assert sum(charges.get(name, (0.0, 0.0))) >= told - 1e-6
    # A killed run's last epoch was in its log before it was in its journal.
    assert sum(map(sum, charges.values())) <= limit + 1e-6 + 100.0 * 8
    assert {codes[name] for name in used if name not in victims} == {"pot_spent"}
    assert {name: charges[name] for name in used if name not in victims} == {
        name: (pytest.approx(joules), 0.0) for name, joules in used.items() if name not in victims
    }
    assert sum(used.values()) >= limit - 8 * 150.0
