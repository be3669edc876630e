"""Luccioni, Viguier and Ligozat, Estimating the Carbon Footprint of BLOOM (arXiv:2211.02001)."""

from __future__ import annotations

import math

import pytest
from printed import TONNE_G, exactly, printed

from fitprint.calculator import estimate
from fitprint.carbon.embodied import S_PER_HOUR, embodied

GPU_HOURS, GPUS, TDP_W, GRID_G = 1_082_990, 384, 400, 57
# The machine beside its GPUs' own work, in watts: infrastructure and idling nodes.
INFRASTRUCTURE_W, IDLE_W = 27_000, 64_000
GPUS_A_SERVER = 8
# A server of 2,500 kg without its GPUs of 150 kg each; six years, in use for 85 % of them.
MADE = {"host_kg": 2500, "gpu_kg": 150, "years": 6, "utilization": 0.85}
# Table 5: kWh and tonnes of all models of the project.
TABLE_5 = {
    "176B": (433_196, "24.69"),
    "104B": (266_522, "15.19"),
    "1B": (158_972, "9.06"),
    "13B": (87_210, "4.97"),
    "other models": (64_257, "3.66"),
    "miscellaneous": (57_961, "3.30"),
    "6B": (51_686, "2.95"),
    "evaluation": (43_172, "2.46"),
}


def dynamic():
    return estimate(hardware="A100-SXM4-80GB", hours=GPU_HOURS, intensity=GRID_G, pue=1, node_factor=1)


def idle():
    return estimate(power_w=INFRASTRUCTURE_W + IDLE_W, hours=GPU_HOURS / GPUS, intensity=GRID_G)


def test_dynamic_energy_is_gpu_hours_at_the_tdp_433196_kwh_and_24_69_tonnes():
    assert round(dynamic().energy_kwh) == 433_196
    assert exactly(dynamic().co2e_g).meets(TONNE_G * printed("24.69"))


def test_with_the_pue_of_1_2_these_are_the_30_tonnes_of_the_comparison_table():
    answer = estimate(power_w=TDP_W, hours=GPU_HOURS, intensity=GRID_G, pue=1.2)
    assert exactly(answer.co2e_g).meets(TONNE_G * printed("30"))


def test_idle_energy_is_infrastructure_and_idle_power_over_the_gpu_hours_256646_kwh_and_14_6_tonnes():
    assert round(idle().energy_kwh) == 256_646
    assert exactly(idle().co2e_g).meets(TONNE_G * printed("14.6"))


def test_the_printed_118_days_contradict_the_gpu_hours_and_the_idle_energy():
    printed_hours = 118 * 24 + 5 + 41 / 60
    assert printed_hours * GPUS / GPU_HOURS > 1.006
    too_much = estimate(power_w=INFRASTRUCTURE_W + IDLE_W, hours=printed_hours, intensity=GRID_G)
    assert round(too_much.energy_kwh) == 258_229


def test_embodied_is_11_2_tonnes_of_384_gpus_in_48_servers_in_use_85_percent_of_six_years():
    answer = estimate(hardware="A100-SXM4-80GB", count=GPUS, hours=GPU_HOURS / GPUS, intensity=GRID_G, embodied=MADE)
    assert exactly(answer.embodied_g).meets(TONNE_G * printed("11.2"))


def test_of_the_embodied_tonnes_3_64_are_of_the_gpus():
    share = embodied(GPU_HOURS * S_PER_HOUR, accelerators=[("A100-SXM4-80GB", 1.0)], options=MADE)
    assert exactly(share.g).meets(TONNE_G * printed("3.64"))


def test_the_printed_7_57_tonnes_of_the_servers_are_7_575_cut_and_not_rounded():
    share = embodied(GPU_HOURS / GPUS_A_SERVER * S_PER_HOUR, host="server", options=MADE)
    assert share.g / TONNE_G == pytest.approx(7.5753, abs=5e-5)
    assert not exactly(share.g).meets(TONNE_G * printed("7.57"))


def test_in_all_it_is_50_5_tonnes():
    making = estimate(hardware="A100-SXM4-80GB", count=GPUS, hours=GPU_HOURS / GPUS, intensity=GRID_G, embodied=MADE).embodied_g
    assert exactly(dynamic().co2e_g + idle().co2e_g + making).meets(TONNE_G * printed("50.5"))


@pytest.mark.parametrize(("kwh", "tonnes"), TABLE_5.values(), ids=TABLE_5)
def test_table_5_tonnes_are_its_energy_at_57_grams(kwh, tonnes):
    answer = estimate(power_w=1000, hours=kwh, intensity=GRID_G)
    assert exactly(answer.co2e_g).meets(TONNE_G * printed(tonnes))


def test_the_printed_sum_of_table_5_contradicts_its_rows_and_its_own_tonnes():
    total_kwh = math.fsum(kwh for kwh, _ in TABLE_5.values())
    assert total_kwh == 1_162_976  # printed: 1,163,088
    assert exactly(GRID_G * total_kwh).meets(TONNE_G * printed("66.29"))
    assert not exactly(GRID_G * 1_163_088).meets(TONNE_G * printed("66.29"))
