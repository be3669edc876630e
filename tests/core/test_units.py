"""Quantities are read with their unit and written in plain decimals."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.errors import ConfigError, did_you_mean
from fitprint.units import (
    format_co2e,
    format_duration,
    format_energy,
    format_quantity,
    format_share,
    kwh,
    parse_quantity,
    significant,
    wh,
)

BASE = {
    "mg": (0.001, "g"),
    "g": (1, "g"),
    "kg": (1_000, "g"),
    "t": (1_000_000, "g"),
    "J": (1, "J"),
    "kJ": (1_000, "J"),
    "MJ": (1_000_000, "J"),
    "GJ": (1_000_000_000, "J"),
    "Wh": (3_600, "J"),
    "kWh": (3_600_000, "J"),
    "MWh": (3_600_000_000, "J"),
}
positive = st.floats(min_value=1e-9, max_value=1e12)


@given(value=positive, unit=st.sampled_from(sorted(BASE)), space=st.sampled_from(["", " ", "\t", "  "]))
def test_any_positive_number_with_a_unit_is_read_in_grams_or_joules(value, unit, space):
    read = parse_quantity(f"{space}{value!r}{space}{unit}{space}")
    factor, base = BASE[unit]
    assert read.value == pytest.approx(value * factor, rel=1e-12)
    assert read.unit == base


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("250 g", 250, "g"),
        ("2 KG", 2_000, "g"),
        ("1e3 g", 1_000, "g"),
        ("+.5kwh", 1_800_000, "J"),
        ("5. kg", 5_000, "g"),
        ("900 kJ", 900_000, "J"),
        ("3 kj", 3_000, "J"),
        ("250 g CO2e", 250, "g"),
        ("250 gCO2eq", 250, "g"),
        ("1.5kgCO₂e", 1_500, "g"),
        ("250 grams", 250, "g"),
        ("3 Kilograms", 3_000, "g"),
        ("500 Joules", 500, "J"),
        ("2 kilowatt-hours", 7_200_000, "J"),
    ],
)
def test_case_spaces_and_ways_to_write_a_number_do_not_matter(text, value, unit):
    read = parse_quantity(text)
    assert (read.value, read.unit) == (value, unit)


@pytest.mark.parametrize(
    ("text", "fix"),
    [("2kgs", "'2 kg'"), ("5 kwhs", "'5 kWh'"), ("1.5 kwatth", "'1.5 kWh'"), ("3 GJs", "'3 GJ'")],
)
def test_a_misspelt_unit_is_refused_with_the_fix_in_the_message(text, fix):
    with pytest.raises(ConfigError, match=re.escape(f"Did you mean {fix}?")):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("1 mJ", "'1 MJ'"),
        ("1 mj", "'1 MJ'"),
        ("2 mWh", "'2 MWh'"),
        ("2mwh", "'2 MWh'"),
        ("1 Mg", "'1 mg' or '1 t'"),
        ("1,5 kg", "'1.5 kg'"),
        ("2 kg CO2", "'2 kg CO2e'"),
        ("1,500 g", "'1500 g' or '1.500 g'"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_the_ways_to_write_it(text, fix):
    with pytest.raises(ConfigError, match=re.escape(f"Did you mean {fix}?")):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["0", "-3", "0.0", "0\x1f"])
def test_a_bare_number_that_no_budget_can_be_is_not_offered_again(text):
    with pytest.raises(ConfigError, match=r"Write for example '250 g' or '0\.5 kWh'"):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["", "5", "kg", "1,5 kg", "1_000 g", "2 kg.", "nan kg", "inf g", "two kg", "2 kWh CO2e"])
def test_text_that_is_not_one_number_and_one_unit_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match="such as '250 g'"):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["0 g", "-2 kg", "-0.0 J", "1e400 kg", "1e-400 g"])
def test_an_amount_must_be_finite_and_more_than_zero(text):
    with pytest.raises(ConfigError, match="Expected more than zero"):
        parse_quantity(text)


def test_a_unit_that_resembles_nothing_gets_no_guess():
    with pytest.raises(ConfigError) as refused:
        parse_quantity("3 lbs")
    assert "Did you mean" not in str(refused.value)


def test_the_refusal_names_the_option_the_value_and_is_a_value_error():
    with pytest.raises(ValueError, match=r"^limit='9 apples' is not valid\. .*Received: limit='9 apples'\."):
        parse_quantity("9 apples", what="limit")


def test_did_you_mean_ignores_case_and_keeps_the_accepted_spelling():
    assert did_you_mean("FRANCCE", ["France", "Ghana"]) == "France"
    assert did_you_mean("zzz", ["France", "Ghana"]) is None


def test_a_kilowatt_hour_is_three_million_six_hundred_thousand_joules():
    assert kwh(3_600_000) == 1
    assert wh(3_600_000) == 1_000


@pytest.mark.parametrize(
    ("grams", "text"),
    [
        (None, "unknown"),
        (0.0, "0 mg"),
        (0.0031, "3.1 mg"),
        (3.1, "3.1 g"),
        (999.4, "999 g"),
        (1_240, "1.24 kg"),
        (250_000, "250 kg"),
        (4_290_000, "4.29 t"),
        (-5.0, "-5 g"),
    ],
)
def test_a_mass_is_written_with_three_digits_in_the_unit_that_fits(grams, text):
    assert format_co2e(grams) == text


@pytest.mark.parametrize(
    ("joules", "text"),
    [(None, "unknown"), (0, "0 J"), (12.345, "12.3 J"), (97_560, "27.1 Wh"), (5_400_000, "1.5 kWh")],
)
def test_an_energy_is_written_with_three_digits_in_the_unit_that_fits(joules, text):
    assert format_energy(joules) == text


def test_a_quantity_is_written_as_what_its_unit_says():
    assert format_quantity(1_500, "g") == "1.5 kg"
    assert format_quantity(9_000, "J") == "2.5 Wh"


@given(st.floats(min_value=1e-12, max_value=1e15), st.integers(min_value=1, max_value=6))
def test_a_number_is_never_written_in_scientific_notation_and_keeps_its_digits(value, digits):
    text = significant(value, digits)
    assert re.fullmatch(r"[\d,]+(\.\d+)?", text)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits), abs=0)


@given(positive)
def test_no_formatted_amount_has_an_exponent(value):
    assert re.fullmatch(r"[\d,]+(\.\d+)? (mg|g|kg|t)", format_co2e(value))
    assert re.fullmatch(r"[\d,]+(\.\d+)? (J|Wh|kWh)", format_energy(value))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3_599.6, "1 h 00 min"),
        (11_520, "3 h 12 min"),
    ],
)
def test_a_duration_never_shows_sixty_of_anything(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("share", "text"), [(None, "unknown"), (0.0, "0 %"), (0.914, "91 %"), (1.0, "100 %")])
def test_a_share_is_written_in_whole_percent(share, text):
    assert format_share(share) == text
