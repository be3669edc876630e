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
# A cloud region's name is its cloud's alone; the pair is looked at below.
TABLES = [*KEYS, "cloud_regions"]
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
    "grid": 340,
    "cloud_regions": 160,
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


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("column", ["source", "basis", "licence"])
def test_every_row_says_where_it_is_from_what_it_counts_and_under_which_licence(name, column):
    assert [row for row in table(name) if not row[column].strip()] == []


@pytest.mark.parametrize("name", TABLES)
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


CODES = {
    "world": "WORLD",
    "country": "[A-Z]{2}",
    "state": "US-[A-Z]{2}",
    "subregion": "US-EGRID-[A-Z]{4}",
    "province": "(CA|CN)-[A-Z]{2}",
    "zone": r"(NO-NO|SE-SE)\d",
}
BASES = {
    ("world", "lifecycle"),
    ("country", "lifecycle"),
    ("zone", "lifecycle"),
    ("state", "direct"),
    ("subregion", "direct"),
    ("province", "direct"),
    ("province", "mixed"),
}
# Share-alike, non-commercial and unclear terms stay outside.
LICENCES = {
    "CC BY 4.0",
    "MIT",
    "MIT (underlying official statistics)",
    "US public domain",
    "US public domain (codecarbon file MIT)",
    "Apache-2.0",
    "facts",
}
KG_PER_LB = 0.45359237
# No two points that belong together are further apart: Seattle and Salt Lake City, both in one eGRID subregion.
FAR_KM = 1_700


def places(level):
    return [row for row in table("grid") if row["level"] == level]


def test_every_place_has_the_code_of_its_level():
    assert [row["code"] for row in table("grid") if not re.fullmatch(CODES[row["level"]], row["code"])] == []
    counts = {level: len(places(level)) for level in CODES}
    assert counts == {"world": 1, "country": 213, "state": 51, "subregion": 27, "province": 43, "zone": 9}


def test_only_countries_have_codes_of_three_letters():
    assert [row["code"] for row in places("country") if not re.fullmatch("[A-Z]{3}", row["alpha3"])] == []
    assert [row["code"] for row in table("grid") if row["alpha3"] and row["level"] != "country"] == []
    codes = [row["alpha3"] for row in places("country")]
    assert len(set(codes)) == len(codes)


def test_every_place_of_a_level_has_a_name_of_its_own():
    for level in CODES:
        names = [row["name"].casefold() for row in places(level)]
        assert len(set(names)) == len(names)


def test_every_part_is_a_part_of_its_country_and_every_country_of_the_world():
    levels = {row["code"]: row["level"] for row in table("grid")}
    assert {row["parent"] for row in places("country")} == {"WORLD"}
    assert [row["parent"] for row in places("world")] == [""]
    parts = [row for level in ("state", "subregion", "province", "zone") for row in places(level)]
    assert {levels[row["parent"]] for row in parts} == {"country"}
    strays = [row["code"] for row in parts if row["code"][:2] != row["parent"]]
    assert strays == ["US-EGRID-PRMS"]  # Puerto Rico


def test_every_level_counts_what_it_is_known_to_count_and_says_so_first():
    assert {(row["level"], row["basis_kind"]) for row in table("grid")} == BASES
    assert [row["code"] for row in table("grid") if not row["basis"].startswith(row["basis_kind"])] == []


@pytest.mark.parametrize("name", ["grid", "cloud_regions"])
def test_every_figure_of_a_place_may_be_passed_on(name):
    assert {row["licence"] for row in table(name)} <= LICENCES


def test_the_figures_of_egrid_are_its_pounds_per_megawatt_hour():
    rows = [row for row in table("grid") if row["source"].startswith("US EPA")]
    assert len(rows) == 51 + 27
    for row in rows:
        pounds = float(re.search(r"([\d.]+) lb/MWh", row["source"]).group(1))
        assert float(row["g_per_kwh"]) == pytest.approx(pounds * KG_PER_LB, abs=0.01)


def test_the_parts_of_a_country_lie_around_its_average():
    for country in ("US", "CN", "NO", "SE", "CA"):
        parts = [float(row["g_per_kwh"]) for row in table("grid") if row["parent"] == country]
        (whole,) = (float(row["g_per_kwh"]) for row in places("country") if row["code"] == country)
        assert min(parts) < whole < max(parts) or country == "SE"  # all Swedish zones lie below: another source


def test_no_region_of_a_cloud_stands_twice():
    pairs = [(row["provider"], row["region"]) for row in table("cloud_regions")]
    assert len(set(pairs)) == len(pairs)
    assert [region for _, region in pairs if region != "".join(region.casefold().split())] == []
    counts = {cloud: [provider for provider, _ in pairs].count(cloud) for cloud in sorted(dict(pairs))}
    assert counts == {"aws": 38, "azure": 59, "gcp": 47, "ovh": 14, "scaleway": 3}


def test_every_region_of_a_cloud_stands_in_a_place_of_the_grid():
    codes = {row["code"] for row in table("grid")} - {"WORLD"}
    assert [row["region"] for row in table("cloud_regions") if row["place"] not in codes] == []


def test_only_google_publishes_figures_of_its_grids_and_they_count_combustion():
    rows = table("cloud_regions")
    assert {row["provider"] for row in rows if row["g_per_kwh"]} == {"gcp"}
    assert [row["region"] for row in rows if row["provider"] == "gcp" and not 0 < float(row["g_per_kwh"]) <= 1_000] == []
    assert {row["basis_kind"] for row in rows if row["g_per_kwh"]} == {"direct"}
    assert {row["basis_kind"] for row in rows if not row["g_per_kwh"]} == {""}


def position(row):
    return (float(row["latitude"]), float(row["longitude"])) if row["latitude"] else None


def apart_km(one, other):
    (lat1, lon1), (lat2, lon2) = (map(math.radians, point) for point in (one, other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6_371 * math.asin(math.sqrt(half))


def test_every_place_has_a_position_on_the_globe():
    rows = [*table("grid"), *table("cloud_regions")]
    without = [row.get("code") or row["region"] for row in rows if position(row) is None]
    assert without == ["WORLD", "europe-west5"]  # of which Google tells no city
    assert [row for row in rows if position(row) and not (abs(position(row)[0]) <= 90 and abs(position(row)[1]) <= 180)] == []


def test_every_region_of_a_cloud_is_near_the_largest_city_of_its_place():
    cities = {row["code"]: position(row) for row in table("grid")}
    far = [
        row["region"] for row in table("cloud_regions") if position(row) and apart_km(position(row), cities[row["place"]]) > FAR_KM
    ]
    assert far == []


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
