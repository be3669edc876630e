"""The total of many runs: what several of them saw is counted once."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint import Config, Footprint, Ledger, Tracker
from fitprint.project import project_total
from fitprint.sensors.probe import Surroundings
from fitprint.testing import FakeClock, FakePowercap
from fitprint.union import union

WATTS = 100.0
G_PER_J = 1e-4


def run(
    name: str, start_s: float, end_s: float, *, part: float = 1.0, machine: str = "m", device: str = "cpu", **fields
) -> Footprint:
    """A run that saw a device of 100 W, and was charged a part of it."""
    marks = [start_s + (end_s - start_s) * i / 10 for i in range(11)]
    whole_j = [WATTS * (time_s - start_s) for time_s in marks]
    own_j = [part * joules for joules in whole_j]
    readings = {"machine": machine, "boot_s": marks, "devices": {device: {"id": device, "whole_j": whole_j, "own_j": own_j}}}
    energy_j = own_j[-1]
    grams = {"co2e_g": energy_j * G_PER_J, "co2e_low_g": energy_j * G_PER_J / 2, "co2e_high_g": energy_j * G_PER_J * 2}
    return Footprint(run_id=name, energy_j=energy_j, duration_s=end_s - start_s, **grams, **{"readings": (readings,), **fields})


def test_runs_one_after_the_other_are_added_up():
    total = union([run("a", 0, 100), run("b", 100, 150)])
    assert (total.energy_j, total.twice_j) == (pytest.approx(15_000), 0.0)


def test_eight_runs_that_each_were_charged_the_whole_machine_are_one_machine():
    total = union([run(f"trial-{i}", 0, 100) for i in range(8)])
    assert total.energy_j == pytest.approx(10_000)
    assert total.twice_j == pytest.approx(70_000)
    assert total.co2e_g == pytest.approx(10_000 * G_PER_J)
    assert [counted.energy_j for counted in total.runs] == pytest.approx([1250] * 8)
    assert sum(counted.co2e_g for counted in total.runs) == pytest.approx(total.co2e_g)


def test_what_runs_divided_while_they_lasted_is_left_as_it_is():
    total = union([run("a", 0, 100, part=0.7), run("b", 0, 100, part=0.3)])
    assert (total.energy_j, total.twice_j) == (pytest.approx(10_000), pytest.approx(0, abs=1e-6))
    assert [counted.energy_j for counted in total.runs] == pytest.approx([7000, 3000])


def test_what_others_outside_of_the_set_were_charged_is_not_taken_back():
    assert union([run("a", 0, 100, part=0.2), run("b", 50, 150, part=0.2)]).energy_j == pytest.approx(4000)


def test_only_the_time_in_which_runs_overlapped_is_divided():
    total = union([run("a", 0, 100), run("b", 60, 160)])
    assert total.energy_j == pytest.approx(16_000, rel=0.02)
    assert [counted.energy_j for counted in total.runs] == pytest.approx([8000, 8000], rel=0.02)


def test_the_same_device_of_two_machines_or_boots_is_two_devices():
    assert union([run("a", 0, 100), run("b", 0, 100, machine="other")]).energy_j == pytest.approx(20_000)
    assert union([run("a", 0, 100), run("b", 0, 100, device="other")]).energy_j == pytest.approx(20_000)


def test_a_run_inside_another_is_counted_inside_it_and_a_forked_one_beside_it():
    outer, inner = run("outer", 0, 100), run("inner", 20, 80, parent_run_id="outer")
    total = union([inner, outer])
    assert (total.energy_j, total.inside) == (pytest.approx(10_000), ("inner",))
    assert [counted.run_id for counted in total.runs] == ["outer"]
    assert union([inner]).energy_j == pytest.approx(6000), "on its own it is all that there is"
    assert union([outer, run("fork", 100, 150, forked_from="outer")]).energy_j == pytest.approx(15_000)


def test_a_run_of_unknown_energy_is_named_and_is_not_zero():
    total = union([run("a", 0, 100), Footprint(run_id="b")])
    assert (total.energy_j, total.unknown) == (pytest.approx(10_000), ("b",))
    nothing = union([Footprint(run_id="b")])
    assert (nothing.energy_j, nothing.co2e_g, nothing.facility_energy_kwh) == (None, None, None)
    assert union([]).energy_j is None


def test_a_run_of_which_only_the_sum_is_known_is_counted_and_named():
    total = union([run("a", 0, 100), run("b", 0, 100, readings=())])
    assert (total.energy_j, total.unchecked) == (pytest.approx(20_000), ("b",))


def test_readings_that_cannot_be_understood_cost_the_comparison_only():
    odd = [{}, {"machine": "m", "boot_s": ["x"], "devices": {"cpu": {}}}, {"machine": "m", "boot_s": [0, 1], "devices": None}]
    assert union([run("a", 0, 100), run("b", 0, 100, readings=tuple(odd))]).energy_j == pytest.approx(20_000)


def test_a_resumed_run_is_compared_on_both_of_its_machines():
    a = run("a", 0, 100)
    elsewhere = run("a", 0, 50, machine="other")
    resumed = replace(a, energy_j=15_000.0, duration_s=150.0, readings=a.readings + elsewhere.readings)
    assert union([resumed, run("b", 0, 100), run("c", 0, 50, machine="other")]).energy_j == pytest.approx(15_000, rel=0.02)


SPANS = st.tuples(st.integers(0, 300), st.integers(20, 300), st.sampled_from([0.25, 0.5, 1.0]))


@given(spans=st.lists(SPANS, min_size=1, max_size=8), order=st.randoms())
def test_a_union_is_the_same_in_any_order_and_twice_and_lies_between_its_largest_run_and_the_counter(spans, order):
    runs = [run(f"{i}", start, start + length, part=part) for i, (start, length, part) in enumerate(spans)]
    total = union(runs)
    shuffled = [*runs, *runs]
    order.shuffle(shuffled)
    assert union(shuffled) == total
    ends = sorted({end for start, length, _ in spans for end in (start, start + length)})
    covered_s = sum(b - a for a, b in pairwise(ends) if any(start <= a and b <= start + length for start, length, _ in spans))
    assert total.energy_j <= covered_s * WATTS + 1e-6
    assert total.energy_j >= max(r.energy_j for r in runs) - 1e-6
    assert total.energy_j + total.twice_j == pytest.approx(sum(r.energy_j for r in runs))
    assert sum(counted.energy_j for counted in total.runs) == pytest.approx(total.energy_j)


@given(spans=st.lists(SPANS, min_size=2, max_size=6), cut=st.integers(1, 5))
def test_a_union_never_shrinks_when_runs_are_added(spans, cut):
    runs = [run(f"{i}", start, start + length, part=part) for i, (start, length, part) in enumerate(spans)]
    assert union(runs).energy_j >= union(runs[:cut]).energy_j - 1e-6


def test_what_the_ledger_keeps_is_enough_to_count_runs_of_one_package_once(tmp_path):
    clock, powercap = FakeClock(), FakePowercap(tmp_path / "sys")
    powercap.add_zone("intel-rapl:0", "package-0")
    config = Config(region="FR", project="sweep", ledger=str(tmp_path / "f.db"), parts=["cpu"], attribute="all")

    def tracker(container: str) -> Tracker:
        """Runs that cannot see each other."""
        (tmp_path / container / "shm").mkdir(parents=True)
        around = Surroundings(sys_root=tmp_path / "sys", dev_root=tmp_path / container, clock=clock, environ={})
        return Tracker(around=around, config=config)

    def go(seconds: float) -> None:
        clock.advance(seconds)
        powercap.write("intel-rapl:0", round((clock.monotonic_ns() / 1e9 - 1000) * 360e6))

    first = tracker("a").start()
    for _ in first.epochs(range(5)):
        go(10.0)
    second = tracker("b").start()
    go(50.0)
    first.close()
    go(50.0)
    second.close()
    ledger = Ledger(tmp_path / "f.db")
    total = union(ledger.footprint(row["run_id"]) for row in ledger.runs())
    assert total.energy_j == pytest.approx(150 * 360.0, rel=0.01)
    assert total.twice_j == pytest.approx(50 * 360.0, rel=0.05)
    assert total.unchecked == ()
    of_project = project_total("sweep", ledger=str(tmp_path / "f.db"))
    assert of_project.energy_j == pytest.approx(total.energy_j)
    assert any("are counted once" in note for note in of_project.notes)
