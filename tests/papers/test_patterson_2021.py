"""Patterson et al., Carbon Emissions and Large Neural Network Training (arXiv:2104.10350v3).

Their formulas: kWh = hours x processors x watts x PUE / 1000, tonnes = kWh x kg per kWh / 1000. Every input is
rounded as printed, so an output may be anywhere between those of the lowest and of the highest inputs.
"""

from __future__ import annotations

import math

import pytest
from printed import LB_G, TONNE_G, estimated, exactly, printed

from fitprint.calculator import estimate

HOURS_A_DAY = 24
# Whole chips; days, watts, PUE and kg per kWh (gross, net) as printed; then MWh and tonnes (gross, net).
TABLE_4 = {
    "Evolved Transformer search": (200, "6.8", "208", "1.10", "0.431", "0.431", "7.5", "3.2", "3.2"),
    "T5": (512, "20", "310", "1.12", "0.545", "0.545", "85.7", "46.7", "46.7"),
    "Meena": (1024, "30", "289", "1.09", "0.415", "0.415", "232", "96.4", "96.4"),
    "GShard-600B": (1024, "3.1", "288", "1.09", "0.201", "0.177", "24.1", "4.8", "4.3"),
    "Switch Transformer": (1024, "27", "245", "1.10", "0.403", "0.330", "179", "72.2", "59.1"),
    "GPT-3": (10_000, "14.8", "330", "1.10", "0.429", "0.429", "1,287", "552.1", "552.1"),
}
# The same for Table 1, in kWh; all of eight chips.
TABLE_1 = {
    "Transformer big, P100, US average": ("3.5", "296", "1.59", "0.429", "0.429", "316", "0.1357", "0.1357"),
    "Transformer big, P100, Iowa": ("3.5", "296", "1.11", "0.478", "0.080", "221", "0.1055", "0.0177"),
    "Evolved Transformer, P100, Iowa": ("3.2", "271", "1.11", "0.478", "0.080", "185", "0.0883", "0.0148"),
    "Transformer big, TPU v2, Iowa": ("0.81", "229", "1.11", "0.478", "0.080", "40", "0.0189", "0.0032"),
    "Evolved Transformer, TPU v2, Iowa": ("0.62", "227", "1.11", "0.478", "0.080", "30", "0.0143", "0.0024"),
}
# Strubell et al. 2019 for the same search, and the watts per P100 that follow from it.
STR19 = {"power_w": 1515.43, "hours": 274_120, "pue": 1.58, "intensity": 0.954 * LB_G}
# The search trained for 979 million steps: 10 hours of a TPU v2 for each 300,000, 12 hours of eight P100 for each
# 100,000 of the small model, 84 for each 300,000 of the big one.
STEPS_M = 979


def trained(count, days, watts, pue, kg_per_kwh):
    """The calculator's answer for the printed inputs."""
    hours, grams = HOURS_A_DAY * printed(days), 1000 * printed(kg_per_kwh)
    return estimated(count=count, hours=hours, power_w=watts, pue=pue, intensity=grams)


@pytest.mark.parametrize(
    ("count", "days", "watts", "pue", "gross", "net", "mwh", "gross_t", "net_t"), TABLE_4.values(), ids=TABLE_4
)
def test_table_4_energy_and_tonnes_come_out_within_the_rounding_of_its_inputs(
    count, days, watts, pue, gross, net, mwh, gross_t, net_t
):
    for kg_per_kwh, tonnes in ((gross, gross_t), (net, net_t)):
        answer = trained(count, days, watts, pue, kg_per_kwh)
        assert answer.facility_energy_kwh.meets(1000 * printed(mwh))
        assert answer.co2e_g.meets(TONNE_G * printed(tonnes))


@pytest.mark.parametrize(("days", "watts", "pue", "gross", "net", "kwh", "gross_t", "net_t"), TABLE_1.values(), ids=TABLE_1)
def test_table_1_energy_and_tonnes_come_out_within_the_rounding_of_its_inputs(days, watts, pue, gross, net, kwh, gross_t, net_t):
    for kg_per_kwh, tonnes in ((gross, gross_t), (net, net_t)):
        answer = trained(8, days, watts, pue, kg_per_kwh)
        assert answer.facility_energy_kwh.meets(printed(kwh))
        assert answer.co2e_g.meets(TONNE_G * printed(tonnes))


def searched():
    """The search as it was run, from its printed inputs: TPU v2 hours, watts, PUE and grid of Georgia."""
    return estimated(hours=STEPS_M / 0.3 * 10, power_w="208", pue="1.10", intensity="431")


def test_the_search_really_emitted_3_2_tonnes_or_7096_pounds():
    assert searched().co2e_g.meets(TONNE_G * printed("3.2"))
    assert searched().co2e_g.meets(LB_G * printed("7,096"))


def test_the_estimate_of_2019_was_88_times_too_high():
    claimed = estimate(**STR19).co2e_g
    assert (exactly(claimed) / searched().co2e_g).meets(printed("88"))
    assert round(claimed / (7_096 * LB_G)) == 88


def test_of_the_88_the_wrong_model_is_18_7_and_hardware_and_data_centre_about_5():
    steps, batches = 84 / 300 * 100 / 12, 32_768 / 4_096  # the small model's time per step, and eight times smaller batches
    claimed, proxy = estimate(**STR19), estimate(**{**STR19, "hours": STR19["hours"] / (steps * batches)})
    assert exactly(claimed.co2e_g / proxy.co2e_g).meets(printed("18.7"))
    assert round(proxy.co2e_g / LB_G) == 33_544
    assert exactly(proxy.co2e_g).meets(TONNE_G * printed("15.2"))
    assert (exactly(proxy.co2e_g) / searched().co2e_g).meets(printed("5"))


def test_the_117780_gpu_hours_printed_for_the_small_model_contradict_its_steps_and_the_factor_of_18_7():
    hours = STEPS_M / 0.1 * 12
    assert hours == pytest.approx(117_480)
    assert STR19["hours"] / hours * 8 == pytest.approx(18.67, abs=0.005)
    assert math.isclose(STEPS_M / 0.3 * 84, STR19["hours"])


def test_gpt_3_is_1_944_times_the_estimate_of_2019():
    claimed = estimate(**STR19).co2e_g
    answer = trained(10_000, "14.8", "330", "1.10", "0.429")
    assert (answer.co2e_g / exactly(claimed)).meets(printed("1.944"))


def test_the_fractions_of_a_jet_printed_in_table_4_contradict_the_180_4_tonnes_of_the_text():
    for tonnes, fraction in (("46.7", "0.258"), ("96.4", "0.533"), ("552.1", "3.054")):
        assert not (printed(tonnes) / printed("180.4")).meets(printed(fraction))
        assert (printed(tonnes) / printed("180.8")).meets(printed(fraction))
