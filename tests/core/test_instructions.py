"""Hooks and boundaries take no more instructions than they did, whatever else the machine does."""

from __future__ import annotations

import pytest

from benchmarks.instructions import LIMITS, counter_missing, instructions


@pytest.mark.timeout(180)
@pytest.mark.skipif(bool(counter_missing()), reason=f"instructions cannot be counted: {counter_missing()}")
def test_a_hook_and_a_boundary_take_as_many_instructions_as_they_did():
    found = instructions(["reference", *LIMITS])
    times = {case: found[case] / found["reference"] for case in LIMITS}
    assert {case: ratio for case, ratio in times.items() if ratio > LIMITS[case]} == {}
    assert all(count > 0 for count in found.values())
