"""From the sensors to the wall, and from the wall to the building: what machine this is and what stands around it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitprint.carbon.chassis import UNKNOWN, Chassis, find_chassis
from fitprint.carbon.clouds import PROVIDERS, find_cloud
from fitprint.carbon.facility import (
    NODE_FACTOR,
    NODE_FACTOR_HIGH,
    NODE_FACTOR_LOW,
    check_node_factor,
    check_pue,
    node_factor_row,
    pue_row,
)
from fitprint.carbon.wall import Wall
from fitprint.clock import NS_PER_S
from fitprint.data import table
from fitprint.energy import Energy
from fitprint.errors import ConfigError
from fitprint.sensors.counter import Sensor

SERVER, DESKTOP, LAPTOP = (Chassis(kind, "test") for kind in ("server", "desktop", "laptop"))
TEN_S = 10 * NS_PER_S


def sensor(name, role="counted", *, low=0.0, high=0.0, at_wall=False):
    part = name.partition(":")[0]
    return Sensor(name, part, "counter", 1.0, low, high, f"source of {name}", role=role, at_wall=at_wall)


def energy(*rows, duration_ns=TEN_S):
    """An energy from sensors, joules and, where it is less than ten, the seconds in which each was seen."""
    sensors, joules, seconds = zip(*(row if len(row) == 3 else (*row, 10) for row in rows), strict=True)
    return Energy(sensors, joules, tuple(round(s * NS_PER_S) for s in seconds), duration_ns)


GPU, CPU, DRAM = sensor("gpu:0"), sensor("cpu:package-0"), sensor("dram:package-0")
BMC = sensor("node:bmc", role="node", low=0.05, high=0.14)
PSYS = sensor("node:psys", role="node", low=0.31, high=0.31)
VM_CPU = sensor("cpu:modelled", at_wall=True)
A_GPU_NODE = [(GPU, 700), (CPU, 250), (DRAM, 50)]


def wall(chassis=SERVER, factor=None, **options):
    return Wall(node_factor_row(factor, "argument", chassis), **options)


@pytest.fixture
def dmi(tmp_path):
    """Writes files of /sys/class/dmi/id; returns what serves as /sys."""

    def write(**files):
        folder = tmp_path / "class" / "dmi" / "id"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(f"{text}\n")
        return tmp_path

    return write


# ---- what machine this is


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("server", (17, 23, 25, 28, 29)),
        ("desktop", (3, 4, 5, 6, 7, 13, 15, 16, 24, 35, 36)),
        ("laptop", (8, 9, 10, 11, 14, 30, 31, 32)),
        ("unknown", (1, 2, 12, 18, 22, 33, 34)),
    ],
)
def test_a_machine_is_known_by_the_number_of_its_chassis(dmi, kind, numbers):
    found = {number: find_chassis(dmi(chassis_type=number), {}) for number in numbers}
    assert {chassis.kind for chassis in found.values()} == {kind}
    if kind != "unknown":
        assert [chassis.found_by for chassis in found.values()] == [f"DMI chassis type {number}" for number in numbers]


def test_a_chassis_that_is_known_beats_every_other_sign(dmi):
    assert find_chassis(dmi(chassis_type=9), {"SLURM_JOB_ID": "7"}, virtual=True, provider="gcp").kind == "laptop"


@pytest.mark.parametrize(
    ("signs", "found_by"),
    [
        ({"virtual": True}, "a hypervisor"),
        ({"provider": "aws"}, "the cloud aws"),
        ({"environ": {"SLURM_JOB_ID": "7"}}, "a scheduler (SLURM_JOB_ID is set)"),
        ({"environ": {"PBS_JOBID": "7.host"}}, "a scheduler (PBS_JOBID is set)"),
        ({"environ": {"LSB_JOBID": "7"}}, "a scheduler (LSB_JOBID is set)"),
        ({"environ": {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}}, "a scheduler (KUBERNETES_SERVICE_HOST is set)"),
    ],
)
def test_an_unknown_chassis_is_a_server_where_only_servers_have_what_is_seen(dmi, signs, found_by):
    environ = signs.pop("environ", {})
    assert find_chassis(dmi(chassis_type=1), environ, **signs) == Chassis("server", found_by)


@pytest.mark.parametrize("text", ["", "two", "-3", "3.0"])
def test_a_chassis_type_that_is_no_number_is_none(dmi, text):
    assert find_chassis(dmi(chassis_type=text), {"SLURM_JOB_ID": ""}) == UNKNOWN


def test_a_machine_without_dmi_is_unknown(tmp_path):
    assert find_chassis(tmp_path, {}) == UNKNOWN


def test_the_desktop_that_hyper_v_shows_its_guests_is_not_believed(dmi):
    root = dmi(chassis_type=3, sys_vendor="Microsoft Corporation", product_name="Virtual Machine")
    assert find_chassis(root, {}, virtual=True) == Chassis("server", "a hypervisor")


def test_the_hypervisor_below_windows_subsystem_for_linux_makes_no_server(tmp_path):
    assert find_chassis(tmp_path, {"WSL_DISTRO_NAME": "Ubuntu"}, virtual=True) == UNKNOWN


# ---- PUE


def test_the_users_pue_wins_and_is_exact():
    row = pue_row(1.3, "environment", SERVER, region="scaleway:fr-par", provider="scaleway")
    assert (row.value, row.low, row.high, row.source) == (1.3, 1.3, 1.3, "given by environment")


def test_the_cloud_regions_own_pue_comes_before_that_of_its_providers_fleet():
    assert pue_row(None, "", SERVER, region="scaleway:fr-par", provider="scaleway").value == 1.35
    assert pue_row(None, "", SERVER, region="FR", provider="scaleway").value == 1.37


@pytest.mark.parametrize(
    ("provider", "pue", "year"), [("gcp", 1.09, 2024), ("aws", 1.14, 2025), ("azure", 1.17, 2025), ("ovh", 1.28, 2023)]
)
def test_a_providers_fleet_figure_comes_with_source_and_year(provider, pue, year):
    row = pue_row(None, "", UNKNOWN, region=f"{provider}:somewhere", provider=provider)
    assert (row.name, row.value, row.year, row.unit) == ("pue", pue, year, "1")
    assert row.source
    assert "fleet mean" in row.basis


@pytest.mark.parametrize("provider", [None, "", "hetzner", "survey"])
def test_a_server_of_which_nothing_is_published_has_the_surveys_mean(provider):
    row = pue_row(None, "", SERVER, region="FR", provider=provider)
    assert (row.value, row.year) == (1.54, 2025)
    assert row.low < 1.1 < 2 < row.high
    assert row.basis.startswith("server (test): ")


def test_every_published_pue_belongs_to_a_cloud_or_a_region_of_one():
    codes = [row["code"] for row in table("pue") if row["code"] != "survey"]
    assert [code for code in codes if code not in PROVIDERS and find_cloud(code) is None] == []


@pytest.mark.parametrize("chassis", [DESKTOP, LAPTOP])
def test_no_data_centre_stands_around_a_desktop_or_a_laptop(chassis):
    row = pue_row(None, "", chassis)
    assert (row.value, row.low, row.high) == (1, 1, 1)
    assert "no data centre" in row.basis
    assert row.source
    assert row.year


def test_an_unknown_machines_factors_are_one_with_room_above_only():
    pue, node = pue_row(None, "default"), node_factor_row(None, "default")
    assert (pue.value, pue.low, pue.high) == (1, 1, 1.54)
    assert (node.value, node.low, node.high) == (1, 1, NODE_FACTOR_HIGH)
    assert UNKNOWN.found_by in pue.basis
    assert UNKNOWN.found_by in node.basis


def test_every_published_pue_lies_inside_its_interval():
    rows = {row["code"]: tuple(float(row[key]) for key in ("low", "pue", "high")) for row in table("pue")}
    assert {code: ends for code, ends in rows.items() if not 1 <= ends[0] <= ends[1] <= ends[2]} == {}


@pytest.mark.parametrize("pue", [1, 1.0, 1.54, 3])
def test_a_pue_from_one_to_three_is_taken(pue):
    assert check_pue(pue) == pue


@pytest.mark.parametrize("value", [0.99, 3.1, -1, 0, float("nan"), float("inf"), 10**400, True, None, "1.2", [1.2]])
@pytest.mark.parametrize(("check", "what"), [(check_pue, "pue"), (check_node_factor, "node_factor")])
def test_a_factor_that_cannot_be_one_is_refused_with_what_was_expected(check, what, value):
    with pytest.raises(ConfigError, match=re.escape(f"{what}={value!r}")) as refused:
        check(value)
    assert "a number from 1 to 3" in str(refused.value)


def test_an_overhead_alone_is_told_how_to_be_written():
    with pytest.raises(ConfigError, match=re.escape("If 0.2 is the overhead alone, write pue=1.2.")):
        check_pue(0.2)


# ---- node factor


@pytest.mark.parametrize("chassis", [SERVER, DESKTOP])
def test_servers_and_desktops_draw_more_at_the_wall_than_their_parts(chassis):
    row = node_factor_row(None, "default", chassis)
    assert (row.value, row.low, row.high) == (1.3, 1.15, 1.5)
    assert row.source
    assert row.year


def test_a_laptops_node_factor_is_one():
    row = node_factor_row(None, "default", LAPTOP)
    assert (row.value, row.low, row.high) == (1, 1, NODE_FACTOR_HIGH)


def test_every_measured_row_in_the_ratios_scope_lies_inside_its_interval():
    ratios = [float(row["wall_over_sensors"]) for row in table("node_ratio") if row["in_scope"] == "yes"]
    assert len(ratios) == 5
    assert NODE_FACTOR_LOW <= min(ratios) < NODE_FACTOR < max(ratios) <= NODE_FACTOR_HIGH


def test_every_measured_row_says_whether_it_is_in_scope_and_why():
    rows = table("node_ratio")
    assert {row["in_scope"] for row in rows} == {"yes", "no"}
    assert [row["name"] for row in rows if not row["why"]] == []
    outside = " ".join(row["basis"] + row["why"] for row in rows if row["in_scope"] == "no")
    assert all(word in outside for word in ("idle", "CPU alone", "CarbonTracker", "BMC"))


# ---- joules at the wall


def test_parts_that_are_read_below_the_wall_are_multiplied_by_the_factor():
    assert wall().ratio(energy(*A_GPU_NODE)) == (1.3, 1.15, 1.5)


def test_a_part_modelled_from_whole_servers_contains_the_rest_already():
    assert wall().ratio(energy((VM_CPU, 1_000))) == (1, 1, 1)


def test_the_effective_factor_weighs_each_part_by_its_joules():
    mixed = energy((GPU, 750), (VM_CPU, 250))
    assert wall().ratio(mixed) == pytest.approx((1.225, 1.1125, 1.375))
    row = wall().row(mixed)
    assert row.value == pytest.approx(1.225)
    assert "1 for parts modelled from figures of whole servers" in row.basis


def test_the_factor_told_before_the_first_joule_is_the_one_that_is_used():
    assert wall().foreseen([GPU]).value == 1.3
    alone = wall().foreseen([VM_CPU, BMC])
    assert (alone.value, alone.low, alone.high) == wall().ratio(energy((VM_CPU, 1_000)))
    mixed = wall().foreseen([GPU, VM_CPU])
    assert mixed.value == 1.3
    assert mixed.basis.endswith("where sensors read below the wall, 1 for parts modelled from figures of whole servers")


def test_a_node_factor_of_ones_own_is_told_as_given():
    assert wall(factor=1.4).foreseen([VM_CPU]).value == wall(factor=1.4).ratio(energy((VM_CPU, 1_000))).value == 1.4


def test_what_is_shown_beside_the_run_weighs_nothing():
    gross = sensor("cpu:package-9", role="gross")
    assert wall().ratio(energy((GPU, 750), (VM_CPU, 250), (gross, 9_000))).value == pytest.approx(1.225)


def test_a_run_without_joules_has_the_factor_itself():
    assert wall().ratio(Energy()) == (1.3, 1.15, 1.5)
    assert wall().ratio(energy((GPU, 0), (VM_CPU, 0))) == (1.3, 1.15, 1.5)


def test_the_users_factor_holds_for_the_sum_whatever_was_measured():
    everything = energy(*A_GPU_NODE, (BMC, 1_900))
    assert wall(factor=1.2).ratio(everything) == (1.2, 1.2, 1.2)
    assert wall(factor=1.2).ratio(energy((VM_CPU, 9))) == (1.2, 1.2, 1.2)
    assert wall(factor=1.2).row(everything).source == "given by argument"


@pytest.mark.parametrize("chassis", [SERVER, LAPTOP, UNKNOWN])
def test_a_wall_sensor_that_feeds_only_counted_parts_takes_the_factors_place(chassis):
    metered = energy(*A_GPU_NODE, (BMC, 1_200))
    assert wall(chassis).ratio(metered) == pytest.approx((1.2, 1.14, 1.368))
    row = wall(chassis).row(metered)
    assert (row.value, row.source) == (pytest.approx(1.2), "measured: source of node:bmc")


def test_several_supplies_add_up_to_the_machine():
    meters = [(sensor(f"node:acpi-power-meter-{i}", role="node", low=0.1, high=0.2), 600) for i in range(2)]
    assert wall().ratio(energy(*A_GPU_NODE, *meters)) == pytest.approx((1.2, 1.08, 1.44))


def test_a_wall_sensors_interval_never_reaches_below_its_parts():
    assert wall().ratio(energy(*A_GPU_NODE, (BMC, 1_010))).low == 1


def test_a_gap_in_the_wall_sensors_readings_does_not_make_the_machine_smaller():
    assert wall().ratio(energy(*A_GPU_NODE, (BMC, 720, 6))).value == pytest.approx(1.2)


def test_a_platform_counter_takes_the_factors_place_where_no_accelerator_draws():
    assert wall(LAPTOP).ratio(energy((CPU, 80), (DRAM, 20), (PSYS, 150))).value == pytest.approx(1.5)


def test_memory_that_another_sensor_covers_is_counted():
    grace = energy((GPU, 700), (CPU, 300), (BMC, 1_200))
    assert wall(covered=("dram",)).ratio(grace).value == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("rows", "options", "why"),
    [
        ([*A_GPU_NODE, (BMC, 1_200)], {"hidden_boards": True}, "boards that are not counted"),
        ([*A_GPU_NODE, (PSYS, 1_200)], {}, "accelerators may be fed past it"),
        ([(GPU, 700), (BMC, 1_200)], {}, "it also feeds what is not counted (cpu, dram)"),
        ([(GPU, 700), (CPU, 300), (BMC, 1_200)], {}, "it also feeds what is not counted (dram)"),
        ([(sensor("gpu:0:share", role="share"), 700), (CPU, 250), (DRAM, 50), (BMC, 1_200)], {}, "only a share"),
        ([*A_GPU_NODE, (BMC, 999)], {}, "it reads below the sum of its parts"),
        ([*A_GPU_NODE, (BMC, 0)], {}, "it reads below the sum of its parts"),
        ([*A_GPU_NODE, (BMC, 480, 4)], {}, "less than half of the time"),
        ([(GPU, 0, 0), (CPU, 250), (DRAM, 50), (BMC, 1_200)], {}, "less than half of the time"),
    ],
)
def test_a_wall_sensor_that_cannot_tell_the_factor_is_only_shown_and_the_report_says_why(rows, options, why):
    metered = energy(*rows)
    assert wall(**options).ratio(metered) == (1.3, 1.15, 1.5)
    row = wall(**options).row(metered)
    assert row.value == 1.3
    assert "is only shown beside it: " in row.basis
    assert why in row.basis


@settings(max_examples=200)
@given(
    joules=st.lists(st.integers(0, 10**9), min_size=4, max_size=4),
    node_j=st.integers(0, 10**10) | st.none(),
    chassis=st.sampled_from([SERVER, DESKTOP, LAPTOP, UNKNOWN]),
    hidden=st.booleans(),
)
def test_the_wall_never_gives_less_than_the_sensors_and_its_interval_holds_it(joules, node_j, chassis, hidden):
    rows = list(zip((GPU, CPU, DRAM, VM_CPU), joules, strict=True))
    rows += [(BMC, node_j)] if node_j is not None else []
    value, low, high = wall(chassis, hidden_boards=hidden).ratio(energy(*rows))
    assert 1 <= low <= value <= high
