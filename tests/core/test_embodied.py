"""What stands beside the operational grams: embodied ones, the SCI score, water, market-based grams, money."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint.carbon.beside import (
    beside_rows,
    check_currency,
    check_market_intensity,
    check_price,
    check_water,
    cost,
    market_based_g,
    parse_water,
    water_l,
)
from fitprint.carbon.embodied import (
    Embodied,
    accelerator_kg,
    check_embodied,
    embodied,
    host_kg,
    host_share,
    life_row,
    parse_embodied,
    reserved,
)
from fitprint.carbon.sci import FunctionalUnit, check_functional_unit, parse_functional_unit, sci_g
from fitprint.clock import NS_PER_S
from fitprint.data import table
from fitprint.energy import Energy
from fitprint.errors import ConfigError
from fitprint.sensors.counter import Sensor

FOUR_YEARS_S = 35_040 * 3_600
H100 = "NVML energy counter, NVIDIA H100 80GB HBM3"
NOT_NUMBERS = [True, None, "1", [1], float("nan"), float("inf"), 10**400]


def board(name, role="counted", source=H100):
    return Sensor(name, "gpu", "counter", 1.0, 0.0, 0.0, source, role=role)


# ---- what is embodied in a device


@pytest.mark.parametrize(
    ("name", "kg"),
    [
        ("NVIDIA H100 80GB HBM3", 164),
        ("nvidia h100 pcie", 164),
        (H100, 164),
        ("NVIDIA A100-SXM4-40GB", 127.6),
        ("NVIDIA B200", 284.25),
        ("model, Google TPU v5p: 0.8 x 450 W", 1_101),
        ("Google TPU v2", 692),
        ("NVIDIA GH100", 150),
        ("NVIDIA GB200", 150),
        ("NVIDIA RTX A1000", 150),
        ("AMD Instinct MI300X", 150),
        ("", 150),
    ],
)
def test_an_accelerator_is_known_by_the_name_that_its_sensor_gives(name, kg):
    assert accelerator_kg(name).value == kg


def test_an_accelerator_of_which_nothing_is_published_has_the_widest_interval():
    row = accelerator_kg("an accelerator of tomorrow")
    assert (row.low, row.high) == (60, 318)
    assert "nothing is published" in row.basis


@pytest.mark.parametrize("kind", ["server", "desktop", "laptop", "unknown"])
def test_every_kind_of_machine_has_a_sourced_figure_around_its_accelerators(kind):
    row = host_kg(kind)
    assert row.unit == "kg CO2e"
    assert row.source
    assert row.year


def test_a_machine_of_unknown_kind_may_be_a_server():
    assert host_kg("unknown").high == host_kg("server").high


def test_every_embodied_figure_lies_inside_its_interval_and_says_where_it_is_from():
    rows = table("embodied")
    assert [row["name"] for row in rows if not 0 < float(row["low"]) <= float(row["kg"]) <= float(row["high"])] == []
    assert [row["name"] for row in rows if not (row["source"] and row["basis"] and row["licence"] and row["year"])] == []


# ---- M = TE x TS x RS


def test_a_device_that_is_reserved_for_its_whole_life_brings_all_that_is_embodied_in_it():
    assert embodied(FOUR_YEARS_S, accelerators=[(H100, 1.0)]).g == pytest.approx(164_000)


def test_time_and_share_divide_it():
    assert embodied(FOUR_YEARS_S / 8, accelerators=[(H100, 0.5)]).g == pytest.approx(164_000 / 16)


def test_devices_and_their_machine_add_up_with_their_widths():
    both = embodied(FOUR_YEARS_S, accelerators=[(H100, 1.0)] * 8, host="server", options={"years": 4})
    assert both.g == pytest.approx((8 * 164 + 2_500) * 1_000)
    assert both.low_g == pytest.approx((8 * 82 + 1_000) * 1_000)
    assert both.high_g == pytest.approx((8 * 246 + 3_750) * 1_000)


def test_a_longer_life_than_assumed_makes_less_of_it():
    run = embodied(FOUR_YEARS_S, accelerators=[(H100, 1.0)], options={"gpu_kg": 164})
    assert (run.g, run.low_g, run.high_g) == pytest.approx((164_000, 164_000 * 4 / 6, 164_000))


def test_the_grams_that_bloom_reports_come_out_of_its_own_figures():
    # Luccioni et al. 2022: 1,082,990 GPU hours, six years in use for 85 % of the time; 3.64 t and 7.57 t.
    years = {"years": 6, "utilization": 0.85}
    gpus = embodied(1_082_990 * 3_600, accelerators=[("A100", 1.0)], options={**years, "gpu_kg": 150})
    servers = embodied(1_082_990 / 8 * 3_600, host="server", options={**years, "host_kg": 2_500})
    assert gpus.g / 1e6 == pytest.approx(3.64, abs=0.005)
    assert servers.g / 1e6 == pytest.approx(7.57, abs=0.006)
    assert (gpus.g + servers.g) / 1e6 == pytest.approx(11.2, abs=0.05)


def test_no_hardware_and_no_time_bring_nothing():
    assert embodied(3_600).g == embodied(0, accelerators=[(H100, 1.0)]).g == embodied(-5, host="server").g == 0


def test_devices_of_one_kind_are_one_row_that_says_how_many():
    rows = embodied(60, accelerators=[(H100, 1.0)] * 8 + [("NVIDIA A100-SXM4-40GB", 1.0)], host="server").assumptions
    assert [row.name for row in rows] == [
        "embodied_accelerator",
        "embodied_accelerator",
        "embodied_host",
        "host_share",
        "lifetime",
    ]
    assert rows[0].basis.startswith("8 of them; NVIDIA H100")
    assert all(row.source and row.basis for row in rows)


def test_what_the_user_sets_is_exact_and_said_to_be_given():
    rows = embodied(60, accelerators=[(H100, 1.0)], host="server", options={"gpu_kg": 200, "host_kg": 900, "years": 5}).assumptions
    given_rows = {row.name: (row.value, row.low, row.high, row.source) for row in rows if row.name != "host_share"}
    assert given_rows == {
        "embodied_accelerator": (200, 200, 200, "given"),
        "embodied_host": (900, 900, 900, "given"),
        "lifetime": (43_800, 43_800, 43_800, "given"),
    }


def test_the_life_of_hardware_is_four_years_and_may_be_six():
    row = life_row()
    assert (row.value, row.low, row.high, row.unit) == (35_040, 35_040, 52_560, "h")


@settings(max_examples=100)
@given(
    duration_s=st.floats(0, 1e9),
    shares=st.lists(st.floats(0, 1), max_size=8),
    name=st.sampled_from([H100, "NVIDIA B200", "unheard of"]),
    host=st.sampled_from([None, "server", "laptop", "unknown"]),
    threads=st.integers(1, 256),
    virtual=st.booleans(),
)
def test_embodied_grams_lie_inside_their_interval_and_grow_with_time(duration_s, shares, name, host, threads, virtual):
    def of(seconds):
        boards = [(name, share) for share in shares]
        return embodied(seconds, accelerators=boards, host=host, share=host_share(threads, 256, virtual=virtual))

    run, longer = of(duration_s), of(2 * duration_s)
    assert 0 <= run.low_g <= run.g * (1 + 1e-9)
    assert run.g <= run.high_g * (1 + 1e-9)
    assert longer.g == pytest.approx(2 * run.g)


# ---- what a run had reserved


def test_a_job_reserves_its_share_of_the_threads():
    row = host_share(16, 64, virtual=False)
    assert (row.value, row.low, row.high) == (0.25, 0.25, 0.25)


def test_how_large_the_host_of_a_virtual_machine_is_is_an_assumption():
    row = host_share(12, 12, virtual=True)
    assert (row.value, row.low, row.high) == pytest.approx((12 / 96, 12 / 208, 12 / 64))
    assert host_share(96, 96, virtual=True).value == 1
    assert host_share(208, 208, virtual=True).low == 1


def test_the_accelerators_of_a_run_are_its_boards_whole_or_by_the_share_that_it_was_charged():
    shared = board("gpu:1:share", "share"), board("gpu:1", "gross")
    cpu = Sensor("cpu:0", "cpu", "counter", 1.0, 0.0, 0.0, "RAPL")
    run = Energy((board("gpu:0"), *shared, cpu), (500, 30, 120, 99), (NS_PER_S,) * 4, NS_PER_S)
    assert reserved(run) == [(H100, 1.0), (H100, 0.25)]


def test_a_shared_board_of_which_nothing_is_known_yet_is_left_out():
    run = Energy((board("gpu:1:share", "share"), board("gpu:1", "gross")), (0, 0), (0, 0), 0)
    assert reserved(run) == []
    assert reserved(Energy()) == []


# ---- the option


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("on", True),
        (" Off ", False),
        ("years=6, utilization=0.85", {"years": 6.0, "utilization": 0.85}),
        ("gpu_kg=150", {"gpu_kg": 150.0}),
    ],
)
def test_embodied_is_switched_or_given_figures_by_text_too(text, option):
    assert check_embodied(parse_embodied(text)) == option


@pytest.mark.parametrize("text", ["perhaps", "years=long", "years"])
def test_text_that_is_neither_is_no_option(text):
    with pytest.raises(ValueError, match="could not convert"):
        parse_embodied(text)


@pytest.mark.parametrize("value", [None, 4, "on", {}, [("years", 4)]])
def test_an_option_that_says_nothing_of_embodied_grams_is_refused(value):
    with pytest.raises(ConfigError, match=re.escape("Expected True, False, or some of years, utilization, gpu_kg, host_kg")):
        check_embodied(value)


def test_an_unknown_figure_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError, match=re.escape("Did you mean 'years'?")):
        check_embodied({"year": 4})


@pytest.mark.parametrize("name", ["years", "utilization", "gpu_kg", "host_kg"])
@pytest.mark.parametrize("value", [0, -1, 1e6, *NOT_NUMBERS])
def test_a_figure_that_cannot_be_is_refused(name, value):
    with pytest.raises(ConfigError, match="a number above 0 and at most"):
        check_embodied({name: value})


# ---- SCI


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1000 samples", FunctionalUnit(1_000, "sample")),
        ("1,000 samples", FunctionalUnit(1_000, "sample")),
        ("1_000_000 Samples", FunctionalUnit(1_000_000, "sample")),
        ("1e3 sample", FunctionalUnit(1_000, "sample")),
        ("epoch", FunctionalUnit(1, "epoch")),
        (" 2.5hours ", FunctionalUnit(2.5, "hour")),
        ("run", FunctionalUnit(1, "run")),
        ("100 steps", FunctionalUnit(100, "step")),
    ],
)
def test_a_functional_unit_is_a_number_of_what_a_run_counts(text, unit):
    assert parse_functional_unit(text) == unit
    assert parse_functional_unit(check_functional_unit(text)) == unit


def test_a_functional_unit_is_written_as_one_says_it():
    assert str(FunctionalUnit(1_000, "sample")) == "1,000 samples"
    assert str(FunctionalUnit(1, "epoch")) == "epoch"


@pytest.mark.parametrize(
    "text", ["", "1000", "0 samples", "-1 samples", "1e999 runs", "10 tokens", "5 percent", 7, None, "samples 10"]
)
def test_what_a_run_does_not_count_is_no_functional_unit(text):
    with pytest.raises(ConfigError, match="Expected a number and one of run, epoch, step, sample, hour"):
        parse_functional_unit(text)


def test_a_slip_in_a_functional_unit_gets_the_nearest_one():
    with pytest.raises(ConfigError, match=re.escape("Did you mean 'epoch'?")):
        parse_functional_unit("epoche")


def test_the_score_is_operational_and_embodied_grams_per_unit():
    counts = {"run": 1, "sample": 50_000}
    assert sci_g(900, 100, FunctionalUnit(1_000, "sample"), counts) == pytest.approx(20)
    assert sci_g(900, 100, FunctionalUnit(1, "run"), counts) == 1_000


@pytest.mark.parametrize(
    ("operational_g", "embodied_g", "counts"),
    [(None, 1, {"sample": 9}), (1, None, {"sample": 9}), (1, 1, {"sample": None}), (1, 1, {"sample": 0}), (1, 1, {})],
)
def test_a_score_of_which_a_part_is_unknown_is_unknown(operational_g, embodied_g, counts):
    assert sci_g(operational_g, embodied_g, FunctionalUnit(1_000, "sample"), counts) is None


# ---- water


def test_water_is_that_of_the_site_and_that_of_the_electricity():
    assert water_l(wall_j=7_200_000, pue=1.5, water=(0.4, 3.0)) == pytest.approx(2 * (0.4 + 1.5 * 3.0))


@pytest.mark.parametrize(
    "value", [(0.4, 3.1), [0.4, 3.1], {"wue": 0.4, "ewif": 3.1}, {"ewif": 3.1, "wue": 0.4}, parse_water("0.4, 3.1")]
)
def test_both_figures_of_water_are_given_in_any_plain_form(value):
    assert check_water(value) == (0.4, 3.1)


@pytest.mark.parametrize(
    "value",
    [
        0.4,
        "0.4,3",
        (0.4,),
        (1, 2, 3),
        {"wue": 1},
        {"wue": 1, "ewif": 2, "pue": 1},
        (-0.1, 3),
        (0.4, 201),
        *[(0.4, x) for x in NOT_NUMBERS],
    ],
)
def test_half_of_the_figures_of_water_or_impossible_ones_are_refused(value):
    with pytest.raises(ConfigError, match=re.escape("Expected the litres per kWh of the site (wue) and of the grid (ewif), both")):
        check_water(value)


# ---- market-based grams and money


def test_market_based_grams_are_those_of_the_contract():
    assert market_based_g(3.0, 50.0) == 150
    assert market_based_g(3.0, check_market_intensity(0)) == 0


@pytest.mark.parametrize("value", [-1, 2_001, *NOT_NUMBERS])
def test_a_contract_that_cannot_be_is_refused(value):
    with pytest.raises(ConfigError, match="grams of CO2e per kWh of the contract, from 0 to 2000"):
        check_market_intensity(value)


@pytest.mark.parametrize(
    ("price", "per_hour", "money"), [(0.30, None, 0.9), (None, 2.48, 19.84), (0.30, 2.48, 20.74), (0, None, 0), (None, None, None)]
)
def test_money_is_that_of_the_electricity_and_that_of_the_hired_devices(price, per_hour, money):
    assert cost(3.0, 8.0, price, per_hour) == (money if money is None else pytest.approx(money))


@pytest.mark.parametrize("value", [-0.01, *NOT_NUMBERS])
def test_a_price_that_cannot_be_is_refused_under_its_own_name(value):
    with pytest.raises(ConfigError, match="price_per_hour="):
        check_price(value, "price_per_hour")


def test_a_currency_is_any_text():
    assert check_currency(" EUR ") == "EUR"
    for value in ("", "  ", 978, None):
        with pytest.raises(ConfigError, match="currency"):
            check_currency(value)


def test_each_of_these_figures_is_a_row_that_says_who_gave_it():
    given_by = {"water": "environment", "price": "pyproject.toml"}
    rows = beside_rows(given_by, water=(0.4, 3.1), market_intensity=0.0, price=0.3, price_per_hour=2.5, currency="EUR")
    assert [(row.name, row.value, row.unit, row.source) for row in rows] == [
        ("wue", 0.4, "L/kWh", "given by environment"),
        ("ewif", 3.1, "L/kWh", "given by environment"),
        ("market_intensity", 0.0, "g/kWh", "given by argument"),
        ("price", 0.3, "EUR/kWh", "given by pyproject.toml"),
        ("price_per_hour", 2.5, "EUR/h", "given by argument"),
    ]
    assert all(row.basis for row in rows)
    assert beside_rows({}) == ()


def test_embodied_grams_are_plain_values():
    assert embodied(0) == Embodied(0, 0, 0, (life_row(),))
