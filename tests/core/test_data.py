"""Every figure that ships with the package can be traced, and can be read."""

from __future__ import annotations

import math
import re

import pytest

from fitprint.data import table

KEYS = {
    "accelerators": "name",
    "cpu_arch": "name",
    "grid": "code",
    "cpu_model": "name",
    "cpu_tdp": "name",
    "equivalences": "id",
    "time_zones": "zone",
}
NUMBERS = [
    ("grid", "g_per_kwh"),
    ("equivalences", "g_co2e"),
    ("accelerators", "tdp_w"),
    ("cpu_arch", "idle_w_per_vcpu"),
    ("cpu_arch", "full_w_per_vcpu"),
    ("cpu_tdp", "tdp_w"),
    ("cpu_model", "value"),
    ("cpu_model", "low"),
    ("cpu_model", "high"),
]
ROWS_AT_LEAST = {
    "accelerators": 100,
    "cpu_arch": 10,
    "grid": 200,
    "cpu_model": 5,
    "cpu_tdp": 4_000,
    "equivalences": 5,
    "time_zones": 400,
}


@pytest.mark.parametrize(("name", "least"), ROWS_AT_LEAST.items())
def test_a_table_is_complete_and_no_row_has_more_or_fewer_cells_than_its_head(name, least):
    rows = table(name)
    assert len(rows) >= least
    assert all(None not in row and None not in row.values() for row in rows)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("column", ["source", "basis", "licence"])
def test_every_row_says_where_it_is_from_what_it_counts_and_under_which_licence(name, column):
    assert [row for row in table(name) if not row[column].strip()] == []


@pytest.mark.parametrize("name", KEYS)
def test_every_row_says_which_year_it_describes(name):
    assert [row for row in table(name) if not 2000 <= int(row["year"]) <= 2030] == []


@pytest.mark.parametrize(("name", "column"), NUMBERS)
def test_every_figure_is_a_positive_number(name, column):
    figures = [float(row[column]) for row in table(name)]
    assert [figure for figure in figures if not (math.isfinite(figure) and figure > 0)] == []


@pytest.mark.parametrize(("name", "key"), KEYS.items())
def test_no_key_stands_twice_or_with_blanks_around_it(name, key):
    keys = [row[key] for row in table(name)]
    assert sorted(set(keys)) == sorted(keys)
    assert [text for text in keys if not text or text != text.strip()] == []


def test_the_interval_of_a_figure_holds_the_figure():
    rows = table("cpu_model")
    assert [row["name"] for row in rows if not float(row["low"]) <= float(row["value"]) <= float(row["high"])] == []


def test_every_country_has_both_codes_and_a_name_of_its_own():
    countries = [row for row in table("grid") if row["code"] != "WORLD"]
    assert [row["code"] for row in countries if not re.fullmatch("[A-Z]{2}", row["code"])] == []
    assert [row["code"] for row in countries if not re.fullmatch("[A-Z]{3}", row["alpha3"])] == []
    for column in ("alpha3", "name"):
        values = [row[column].casefold() for row in countries]
        assert len(set(values)) == len(values)


def test_no_grid_is_dirtier_than_an_option_may_say():
    assert max(float(row["g_per_kwh"]) for row in table("grid")) <= 2_000


def test_every_time_zone_is_in_a_country_with_a_two_letter_code():
    assert [row for row in table("time_zones") if not re.fullmatch("[A-Z]{2}", row["country"])] == []


@pytest.mark.parametrize(
    ("zone", "country"),
    [
        ("Europe/Paris", "FR"),
        ("Asia/Kolkata", "IN"),
        ("Asia/Calcutta", "IN"),
        ("US/Pacific", "US"),
        ("America/Sao_Paulo", "BR"),
        ("Australia/Sydney", "AU"),
    ],
)
def test_well_known_time_zones_are_in_their_countries(zone, country):
    assert {row["zone"]: row["country"] for row in table("time_zones")}[zone] == country


def test_the_world_average_stands_once_among_the_grids():
    assert [row["name"] for row in table("grid") if row["code"] == "WORLD"] == ["World"]


def test_a_row_cannot_be_changed_by_its_reader():
    with pytest.raises(TypeError):
        table("grid")[0]["g_per_kwh"] = "0"
