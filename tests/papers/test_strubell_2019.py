"""Strubell, Ganesh and McCallum, Energy and Policy Considerations for Deep Learning in NLP (ACL 2019).

Their formulas: kWh = 1.58 x hours x watts / 1000, pounds of CO2e = 0.954 x kWh. Powers are printed to a
hundredth of a watt, results to a whole number; hours and factors are exact.
"""

from __future__ import annotations

import math

import pytest
from printed import LB_G, estimated, exactly, printed

from fitprint.calculator import estimate

PUE, LB_PER_KWH = 1.58, 0.954
GRID = {"pue": PUE, "intensity": LB_PER_KWH * LB_G}
# Dollars per device and hour, preemptible and on demand; implied by the printed costs.
P100, V100, TPU_V2, TPU_V3 = (0.43, 1.46), (0.74, 2.48), (1.35, 4.50), (2.40, 8.00)
# BERT ran for 3.3 days; Table 3 prints 79 hours.
BERT_HOURS = 3.3 * 24
# 979 million steps at 300,000 in 10 hours, by the costs in the same row; the table prints 32,623.
NAS_TPU_HOURS = 32_633

TABLE_3 = {
    "Transformer base": ("1415.78", 12, "27", "26"),
    "Transformer big": ("1515.43", 84, "201", "192"),
    "ELMo": ("517.66", 336, "275", "262"),
    "BERT base": ("12041.51", BERT_HOURS, "1,507", "1,438"),
    "NAS": ("1515.43", 274_120, "656,347", "626,155"),
}
COSTS = {
    "Transformer base on P100 x 8": (8, 12, P100, "41", "140"),
    "Transformer big on P100 x 8": (8, 84, P100, "289", "981"),
    "ELMo on P100 x 3": (3, 336, P100, "433", "1,472"),
    "BERT base on V100 x 64": (64, BERT_HOURS, V100, "3,751", "12,571"),
    "BERT base on TPU v2 x 16": (16, 96, TPU_V2, "2,074", "6,912"),
    "NAS on P100 x 8": (8, 274_120, P100, "942,973", "3,201,722"),
    "NAS on TPU v2": (1, NAS_TPU_HOURS, TPU_V2, "44,055", "146,848"),
    "GPT-2 on TPU v3 x 32": (32, 168, TPU_V3, "12,902", "43,008"),
}
# Table 4: what it took to develop the authors' own model, in hours of one GPU.
HOURS_OF_ALL_JOBS, PRICE_PER_KWH = 239_942, 0.12
TABLE_4 = {"one model": (120, "5"), "24 jobs": (2_880, "118"), "4,789 jobs": (HOURS_OF_ALL_JOBS, "9,870")}


@pytest.mark.parametrize(("power", "hours", "kwh", "pounds"), TABLE_3.values(), ids=TABLE_3)
def test_table_3_kilowatt_hours_and_pounds_come_out_as_printed(power, hours, kwh, pounds):
    answer = estimated(power_w=power, hours=hours, **GRID)
    assert answer.facility_energy_kwh.meets(printed(kwh))
    assert answer.co2e_g.meets(LB_G * printed(pounds))


@pytest.mark.parametrize(("count", "hours", "prices", "least", "most"), COSTS.values(), ids=COSTS)
def test_table_3_cloud_costs_come_out_as_printed(count, hours, prices, least, most):
    for price, text in zip(prices, (least, most), strict=True):
        cost = estimate(power_w=1, count=count, hours=hours, price_per_hour=price, currency="USD").cost
        assert exactly(cost).meets(printed(text))


def test_the_79_hours_printed_for_bert_contradict_its_kilowatt_hours_its_pounds_and_its_cost():
    power, _, kwh, pounds = TABLE_3["BERT base"]
    answer = estimated(power_w=power, hours=79, price_per_hour=V100[0] * 64, **GRID)
    assert not answer.facility_energy_kwh.meets(printed(kwh))
    assert not answer.co2e_g.meets(LB_G * printed(pounds))
    assert not answer.cost.meets(printed("3,751"))


def test_the_32623_tpu_hours_printed_for_the_architecture_search_contradict_both_of_its_costs():
    for price, text in zip(TPU_V2, ("44,055", "146,848"), strict=True):
        cost = estimate(power_w=1, hours=32_623, price_per_hour=price).cost
        assert not exactly(cost).meets(printed(text))


def test_the_architecture_search_is_the_famous_626155_pounds_or_284_tonnes():
    answer = estimate(power_w=1515.43, hours=274_120, **GRID)
    assert round(answer.co2e_g / LB_G) == 626_155
    assert round(answer.co2e_g / 1e6) == 284


def watts_of_the_case_study():
    """Mean power of a GPU of the case study with its share of the machine: implied by the 78,468 lb of Table 1."""
    return (1 / (PUE * LB_PER_KWH * HOURS_OF_ALL_JOBS / 1000)) * printed("78,468")


@pytest.mark.parametrize(("hours", "dollars"), TABLE_4.values(), ids=TABLE_4)
def test_table_4_electricity_of_the_case_study_comes_out_as_printed_from_its_pounds(hours, dollars):
    answer = estimated(power_w=watts_of_the_case_study(), hours=hours, price=PRICE_PER_KWH, **GRID)
    assert answer.cost.meets(printed(dollars))


def test_the_case_study_as_a_whole_is_78468_pounds_and_one_model_39():
    watts = watts_of_the_case_study()
    middle = (watts.low + watts.high) / 2
    assert middle == pytest.approx(217, abs=0.1)
    assert round(estimate(power_w=middle, hours=HOURS_OF_ALL_JOBS, **GRID).co2e_g / LB_G) == 78_468
    assert round(estimate(power_w=middle, hours=120, **GRID).co2e_g / LB_G) == 39


@pytest.mark.parametrize(
    ("hours", "least", "most"),
    [(120, "52", "175"), (2_880, "1,238", "4,205"), (HOURS_OF_ALL_JOBS, "103", "350")],
    ids=TABLE_4,
)
def test_table_4_cloud_costs_of_the_case_study_come_out_as_printed(hours, least, most):
    unit = 1000 if hours == HOURS_OF_ALL_JOBS else 1
    for price, text in zip(P100, (least, most), strict=True):
        cost = estimate(power_w=1, hours=hours, price_per_hour=price).cost
        assert exactly(cost).meets(unit * printed(text))


def test_the_52_hours_printed_for_a_mean_job_and_the_60_gpus_contradict_the_hours_of_all_jobs():
    days, jobs = 172, 4_789
    assert math.isclose(HOURS_OF_ALL_JOBS / 24, 9_998, abs_tol=0.5)  # the printed GPU days
    assert not printed("52").meets(exactly(HOURS_OF_ALL_JOBS / jobs))  # 50.1
    assert printed("58").meets(exactly(9_998 / days))  # as section 5 has it; section 4.2 says about 60
