"""The calculator, and the names by which it knows hardware."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.calculator import estimate
from fitprint.carbon.grid import find_region
from fitprint.data import table
from fitprint.errors import ConfigError
from fitprint.hardware import find_hardware
from fitprint.sensors.modelled import model_accelerator

PLAIN = {"power_w": 300.0, "hours": 100.0, "intensity": 400.0, "pue": 1.2, "node_factor": 1.25}


def rows_of(found):
    return {row["name"]: row for row in found.assumptions}


# --- names


@pytest.mark.parametrize(
    ("text", "name", "watts"),
    [
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB", 400),
        ("a100 80gb pcie", "NVIDIA A100 80GB PCIe", 300),
        ("A100 PCIe 40 GB", "NVIDIA A100-PCIE-40GB", 250),
        ("h100 sxm", "NVIDIA H100 80GB HBM3", 700),
        ("H100-SXM5-80GB", "NVIDIA H100 80GB HBM3", 700),
        ("H100 NVL", "NVIDIA H100 NVL", 400),
        ("H200", "NVIDIA H200", 700),
        ("RTX 4090", "NVIDIA GeForce RTX 4090", 450),
        ("rtx4090", "NVIDIA GeForce RTX 4090", 450),
        ("geforce 3090ti", "NVIDIA GeForce RTX 3090 Ti", 450),
        ("GTX 1080 Ti", "GeForce GTX 1080 Ti", 250),
        ("RTX A6000", "NVIDIA RTX A6000", 300),
        ("RTX 6000 Ada", "NVIDIA RTX 6000 Ada Generation", 300),
        ("T4", "Tesla T4", 70),
        ("TPU v3", "Google TPU v3", 450),
        ("tpuv3", "Google TPU v3", 450),
        ("MI300X", "AMD Instinct MI300X", 750),
        ("Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz", "Intel Xeon Gold 6148", 150),
        ("AMD EPYC 7742 64-Core Processor", "AMD EPYC 7742", 225),
        ("epyc-7742", "AMD EPYC 7742", 225),
        ("7742", "AMD EPYC 7742", 225),
        ("i7-8700K", "Intel Core i7-8700K", 95),
        ("Xeon Platinum 8480", "Intel Xeon Platinum 8480+", 350),
        ("M1", "Apple M1", 10),
    ],
)
def test_hardware_is_known_as_drivers_and_people_write_it(text, name, watts):
    found = find_hardware(text)
    assert (found.name, found.tdp_w) == (name, watts)


@pytest.mark.parametrize(
    ("file", "kind", "taken"),
    [
        ("accelerators", "accelerator", []),
        # Names that are also an accelerator's; the other three stand twice, with a blank that does not break.
        ("cpu_tdp", "cpu", ["980", "Intel A100", "Intel Atom\xa0E625CT", "Intel Atom\xa0E645CT", "Intel Atom\xa0E665CT"]),
    ],
)
def test_every_name_of_a_table_finds_itself(file, kind, taken):
    rows = [row for row in table(file) if row["name"] not in taken]
    found = [(row["name"], find_hardware(row["name"]), float(row["tdp_w"])) for row in rows]
    assert [name for name, one, watts in found if (one.kind, one.tdp_w) != (kind, watts)] == []


@pytest.mark.parametrize(
    ("text", "name", "largest_w", "smallest_w", "others"),
    [
        ("A100", "NVIDIA A100-SXM4-80GB", 400, 250, ["A100-PCIE-40GB (250 W)", "A100 80GB PCIe (300 W)"]),
        ("V100", "Tesla V100-SXM2-16GB", 300, 250, ["V100-PCIE-16GB (250 W)"]),
        ("H100", "NVIDIA H100 80GB HBM3", 700, 350, ["H100 PCIe (350 W)", "H100 NVL (400 W)"]),
        ("4090", "NVIDIA GeForce RTX 4090", 450, 425, ["RTX 4090 D (425 W)"]),
    ],
)
def test_a_name_of_several_forms_is_the_largest_says_the_others_and_covers_them_in_its_interval(
    text, name, largest_w, smallest_w, others
):
    found = find_hardware(text)
    assert (found.name, found.tdp_w, found.high_w) == (name, largest_w, largest_w)
    assert found.low_w == pytest.approx(0.43 * smallest_w)
    assert "it may also be" in found.basis
    assert [other for other in others if other not in found.basis] == []


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("RTX 6000", ["NVIDIA RTX 6000 Ada Generation (300 W)", "Quadro RTX 6000 (260 W)"]),
        ("TPU", ["Google TPU v2 (280 W)", "Google TPU v3 (450 W)"]),
        ("EPYC", ["AMD EPYC 4124P (65 W)", "more"]),
    ],
)
def test_a_name_of_different_devices_is_refused_with_what_it_may_be(text, offered):
    with pytest.raises(ConfigError) as refused:
        find_hardware(text)
    assert [text for text in offered if text not in str(refused.value)] == []
    assert "It may be" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "near"),
    [("RTX 4909", "RTX 4090"), ("GH200", "H200"), ("epyc 9x54", "EPYC 9754"), ("A100-SXM4-80BG", "A100-SXM4-80GB")],
)
def test_an_unknown_name_is_refused_with_a_near_one(text, near):
    with pytest.raises(ConfigError, match=re.escape(f"Did you mean '{near}'?")):
        find_hardware(text)


@pytest.mark.parametrize("text", ["", "   ", "gpu", "NVIDIA", "a machine of my own", "?"])
def test_a_name_of_nothing_is_refused_without_a_guess(text):
    with pytest.raises(ConfigError) as refused:
        find_hardware(text)
    assert "Did you mean" not in str(refused.value)


@pytest.mark.parametrize("text", ["TPU v5e", "tpuv5p", "TPU v6e (Trillium)", "Ironwood"])
def test_hardware_without_a_published_tdp_is_refused_with_the_way_out(text):
    with pytest.raises(ConfigError, match=r"No TDP of it has been published\. Give the power that it draws with power_w"):
        find_hardware(text)


def test_a_slice_of_a_board_is_not_taken_for_the_board():
    with pytest.raises(ConfigError, match="Did you mean 'A100-SXM4-40GB'"):
        find_hardware("NVIDIA A100-SXM4-40GB MIG 1g.5gb")


def test_boards_of_several_devices_say_so():
    assert "count boards" in find_hardware("K80").basis


def test_boards_draw_less_than_their_tdp_and_cpus_somewhat_more_or_less():
    board, cpu = find_hardware("A100-SXM4-80GB"), find_hardware("EPYC 7742")
    assert (board.low_w, board.high_w) == (172, 400)
    assert (cpu.low_w, cpu.high_w) == pytest.approx((0.75 * 225, 1.2 * 225))


def test_apple_publishes_no_tdp_and_the_interval_says_so():
    found = find_hardware("Apple M1")
    assert (found.low_w, found.high_w) == (5, 20)
    assert "Apple publishes no TDP" in found.basis


# --- what comes out


def test_grams_are_watts_times_hours_times_node_factor_times_pue_times_intensity():
    found = estimate(**PLAIN)
    assert found.energy_kwh == pytest.approx(30)
    assert found.facility_energy_kwh == pytest.approx(45)
    assert found.co2e_g == found.co2e_low_g == found.co2e_high_g == pytest.approx(18_000)


def test_with_mere_watts_node_factor_and_pue_are_one_with_room_above():
    found = estimate(power_w=300, hours=100, intensity=400)
    assert found.energy_kwh == found.facility_energy_kwh == 30
    assert found.co2e_g == found.co2e_low_g == pytest.approx(12_000)
    assert found.co2e_high_g == pytest.approx(12_000 * (1 + math.hypot(0.5, 0.54)))
    assert {rows_of(found)[name]["value"] for name in ("pue", "node_factor")} == {1}


def test_named_hardware_stands_in_a_server_with_a_servers_factors():
    found = estimate(hardware="A100-SXM4-80GB", hours=100, intensity=400)
    rows = rows_of(found)
    assert (rows["node_factor"]["value"], rows["pue"]["value"]) == (1.3, 1.54)
    assert found.energy_kwh == pytest.approx(40)
    assert found.facility_energy_kwh == pytest.approx(40 * 1.3 * 1.54)


def test_named_hardware_in_a_cloud_region_has_the_pue_of_that_cloud_and_mere_watts_do_not():
    region = "gcp:europe-west4"
    assert rows_of(estimate(hardware="T4", hours=1, region=region))["pue"]["value"] == 1.09
    assert rows_of(estimate(power_w=70, hours=1, region=region))["pue"]["value"] == 1


def test_the_tdp_is_an_upper_bound_and_the_interval_reaches_down_to_what_boards_really_drew():
    found = estimate(hardware="A100-SXM4-80GB", hours=100, intensity=400, pue=1, node_factor=1)
    assert (found.co2e_low_g, found.co2e_g, found.co2e_high_g) == pytest.approx((6_880, 16_000, 16_000))


def test_utilization_multiplies_the_tdp():
    assert estimate(hardware="T4", hours=10, utilization=0.25).energy_kwh == pytest.approx(0.25 * 0.7)


def test_a_missing_region_is_the_world_average_within_the_range_of_countries():
    row = rows_of(estimate(power_w=1000, hours=1))
    world = find_region("WORLD")
    assert row["intensity"]["value"] == world.g_per_kwh
    assert row["region"] == {**row["region"], "value": "WORLD", "basis": "not given: the world average"}
    assert row["intensity"]["low"] < world.g_per_kwh / 10 < 1.5 * world.g_per_kwh < row["intensity"]["high"]


def test_a_region_brings_its_yearly_average_with_year_and_source():
    row = rows_of(estimate(power_w=1000, hours=1, region="france"))
    france = find_region("FR")
    assert (row["region"]["value"], row["intensity"]["value"]) == ("FR", france.g_per_kwh)
    assert (row["intensity"]["year"], row["intensity"]["source"]) == (france.year, france.source)


def test_an_intensity_takes_the_place_of_the_region():
    assert "region" not in rows_of(estimate(power_w=1, hours=1, intensity=50))
    both = rows_of(estimate(power_w=1, hours=1, intensity=50, region="PL"))
    assert (both["region"]["value"], both["intensity"]["value"]) == ("PL", 50)


def test_the_count_multiplies_watts_and_hired_hours():
    one, eight = (estimate(**PLAIN, price_per_hour=2, count=count) for count in (1, 8))
    assert eight.energy_kwh == pytest.approx(8 * one.energy_kwh)
    assert (one.cost, eight.cost) == (200, 1_600)


def test_cost_is_electricity_at_the_meter_and_hired_hours_together():
    assert estimate(**PLAIN).cost is None
    assert estimate(**PLAIN, price=0.3).cost == pytest.approx(13.5)
    found = estimate(**PLAIN, price=0.3, price_per_hour=1, currency="EUR")
    assert (found.cost, found.currency) == (pytest.approx(113.5), "EUR")
    assert rows_of(found)["price"]["unit"] == "EUR/kWh"
    assert "113.50 EUR" in str(found)


def test_making_the_hardware_is_shared_by_time_and_stands_beside_the_grams():
    with_it, without = (estimate(hardware="A100-SXM4-40GB", count=8, hours=100, intensity=400, embodied=e) for e in (True, False))
    assert with_it.co2e_g == without.co2e_g
    assert without.embodied_g is None
    board, host, life = (rows_of(with_it)[f]["value"] for f in ("embodied_accelerator", "embodied_host", "lifetime"))
    assert with_it.embodied_g == pytest.approx(1000 * (8 * board + host) * 100 / life)


def test_what_is_embodied_in_a_cpu_is_that_of_half_a_server_of_two():
    rows = rows_of(estimate(hardware="EPYC 7742", hours=1))
    assert rows["host_share"]["value"] == 0.5
    assert "embodied_accelerator" not in rows


def test_mere_watts_have_nothing_embodied():
    assert estimate(**PLAIN).embodied_g is None


def test_the_dictionary_has_the_documented_keys_and_is_json():
    found = estimate(hardware="A100", hours=1, region="FR", price=1)
    keys = [
        "cost",
        "currency",
        "energy_kwh",
        "facility_energy_kwh",
        "co2e_g",
        "co2e_low_g",
        "co2e_high_g",
        "embodied_g",
        "assumptions",
    ]
    assert list(found.to_dict()) == keys
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) == found.to_dict()


@pytest.mark.parametrize(
    "inputs",
    [
        {"hardware": "A100", "count": 4, "utilization": 0.8, "region": "FR"},
        {"power_w": 250, "region": "gcp:us-central1"},
        {"hardware": "EPYC 7742", "intensity": 300, "pue": 1.1},
    ],
)
def test_every_gram_can_be_worked_out_again_from_the_rows(inputs):
    found = estimate(hours=12.5, **inputs)
    rows = rows_of(found)
    factors = ("power_w", "tdp_w", "utilization", "count", "hours", "node_factor", "pue", "intensity")
    assert math.prod(rows[name]["value"] for name in factors if name in rows) / 1000 == pytest.approx(found.co2e_g)
    assert [row["name"] for row in found.assumptions if not row["source"] or not row["basis"]] == []


def test_the_summary_tells_grams_interval_energy_and_every_figure():
    text = str(estimate(hardware="A100-SXM4-80GB", hours=100, count=8, region="FR"))
    assert text.splitlines()[0].startswith("26.5 kg CO2e (")
    for part in ("320 kWh at the hardware", "400 W (172 to 400;", "41.4 g/kWh", "FR (France; given by argument)", "embodied"):
        assert part in text


@given(st.floats(0.01, 1e5), st.floats(1e-3, 1e6), st.integers(1, 20_000), st.floats(1, 2000), st.floats(1, 3), st.floats(1, 3))
def test_an_estimate_is_as_exact_as_its_inputs(watts, hours, count, intensity, pue, node_factor):
    found = estimate(power_w=watts, hours=hours, count=count, intensity=intensity, pue=pue, node_factor=node_factor)
    assert found.energy_kwh == pytest.approx(watts * hours * count / 1000, rel=1e-12)
    assert found.co2e_g == pytest.approx(found.energy_kwh * node_factor * pue * intensity, rel=1e-12)


@given(
    st.sampled_from(["A100", "T4", "TPU v3", "EPYC 7742"]),
    st.floats(0.01, 1),
    st.sampled_from(["FR", "US-CA", "aws:eu-west-1", None]),
)
def test_the_interval_holds_the_estimate(hardware, utilization, region):
    found = estimate(hardware=hardware, hours=1, utilization=utilization, region=region)
    assert 0 < found.co2e_low_g <= found.co2e_g <= found.co2e_high_g


# --- bad input


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hours": -1}, "hours=-1"),
        ({"hours": 0}, "hours=0"),
        ({"hours": math.nan}, "hours=nan"),
        ({"hours": math.inf}, "hours=inf"),
        ({"hours": 1e300}, "hours=1e+300"),
        ({"hours": "12"}, "hours='12'"),
        ({"hours": True}, "hours=True"),
        ({"power_w": 0}, "power_w=0"),
        ({"power_w": -5}, "power_w=-5"),
        ({"power_w": 1e13}, "power_w="),
        ({"power_w": math.nan}, "power_w=nan"),
        ({"power_w": None}, "Received: neither"),
        ({"hardware": "T4"}, "Received: both"),
        ({"power_w": None, "hardware": "T5000X"}, "hardware='T5000X'"),
        ({"power_w": None, "hardware": 4090}, "hardware=4090"),
        ({"count": 0}, "count=0"),
        ({"count": 1.5}, "count=1.5"),
        ({"count": 10**400}, "count=1000"),
        ({"count": True}, "count=True"),
        ({"utilization": 0.5}, "power_w"),
        ({"utilization": 0}, "utilization=0"),
        ({"utilization": 1.01}, "utilization=1.01"),
        ({"utilization": math.nan}, "utilization=nan"),
        ({"intensity": 0}, "intensity=0"),
        ({"intensity": 5000}, "intensity=5000"),
        ({"intensity": -3}, "intensity=-3"),
        ({"intensity": math.nan}, "intensity=nan"),
        ({"intensity": None, "region": "Frnace"}, "Did you mean 'France'"),
        ({"region": ""}, "region=''"),
        ({"region": 33}, "region=33"),
        ({"pue": 0.2}, "pue=1.2"),
        ({"pue": 9}, "pue=9"),
        ({"node_factor": 0.9}, "node_factor=0.9"),
        ({"price": -1}, "price=-1"),
        ({"price": math.nan}, "price=nan"),
        ({"price_per_hour": -1}, "price_per_hour=-1"),
        ({"price": 1, "currency": " "}, "currency=' '"),
        ({"power_w": None, "hardware": "T4", "embodied": {"years": -1}}, "years"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(changed, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        estimate(**{**PLAIN, **changed})


def test_it_looks_at_nothing_on_this_machine_and_opens_no_socket():
    code = (
        "import sys\nfrom fitprint.calculator import estimate\nseen = []\n"
        "def hook(event, arguments):\n"
        "    path = str(arguments[0]) if arguments else ''\n"
        "    here = event == 'open' and path.startswith(('/sys/', '/proc/', '/etc/', '/dev/'))\n"
        "    if here or event.startswith(('socket', 'subprocess')): seen.append((event, path))\n"
        "sys.addaudithook(hook)\n"
        "estimate(hardware='A100', hours=1, region='FR'); estimate(power_w=1, hours=1)\nprint(seen)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert out.strip() == "[]"


def test_the_two_devices_of_one_board_are_modelled_with_its_power_limit_once(clock):
    before = [found.counters[0] for device in (0, 1) if (found := model_accelerator(f"gpu:{device}", "Tesla K80", clock))]
    start = [counter.read() for counter in before]
    clock.advance(10)
    joules = sum(counter.read() - first for counter, first in zip(before, start, strict=True)) / 1e6
    assert joules <= 10 * find_hardware("Tesla K80").tdp_w
