"""A place by any of its names, its figure with all that it rests on, and never a place that nobody meant."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fitprint.carbon.clouds import cloud_regions, find_cloud
from fitprint.carbon.grid import WORLD, find_region, in_basis, rows, spread
from fitprint.carbon.intensity import BASIS_KINDS, given_intensity, yearly_intensity
from fitprint.carbon.place import Place
from fitprint.errors import ConfigError


def intensity_of(code):
    return yearly_intensity(Place(code, "a place", "given by argument"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("FR", "FR"),
        ("fr", "FR"),
        ("FRA", "FR"),
        (" France ", "FR"),
        ("WORLD", "WORLD"),
        ("Côte d\N{RIGHT SINGLE QUOTATION MARK}Ivoire", "CI"),
        ("cote d'ivoire", "CI"),
        ("UNITED   kingdom", "GB"),
        ("us-ca", "US-CA"),
        ("California", "US-CA"),
        ("new york", "US-NY"),
        ("US-EGRID-CAMX", "US-EGRID-CAMX"),
        ("eGRID-CAMX", "US-EGRID-CAMX"),
        ("camx", "US-EGRID-CAMX"),
        ("CA-QC", "CA-QC"),
        ("Québec", "CA-QC"),
        ("CN-GD", "CN-GD"),
        ("Inner Mongolia", "CN-NM"),
        ("SE-SE3", "SE-SE3"),
        ("no1", "NO-NO1"),
    ],
)
def test_a_country_and_a_part_of_one_are_found_by_code_and_by_name(text, code):
    assert find_region(text).code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("UK", "GB"),
        ("England", "GB"),
        ("northern ireland", "GB"),
        ("EL", "GR"),
        ("Holland", "NL"),
        ("Czech Republic", "CZ"),
        ("Turkey", "TR"),
        ("Russia", "RU"),
        ("UAE", "AE"),
        ("Viet Nam", "VN"),
        ("US-PR", "PR"),
        ("CN-HK", "HK"),
    ],
)
def test_a_name_that_people_write_instead_is_understood(text, code):
    assert find_region(text).code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("gcp:europe-west1", "gcp:europe-west1"),
        ("GCP:Europe-West1", "gcp:europe-west1"),
        ("google:us-central1", "gcp:us-central1"),
        (" aws : us-east-1 ", "aws:us-east-1"),
        ("amazon:eu-west-3", "aws:eu-west-3"),
        ("azure:westeurope", "azure:westeurope"),
        ("azure:West Europe", "azure:westeurope"),
        ("ovhcloud:GRA", "ovh:gra"),
        ("scaleway:fr-par", "scaleway:fr-par"),
    ],
)
def test_a_cloud_region_is_found_by_its_cloud_and_its_name(text, code):
    row = find_region(text)
    assert (row.code, row.level) == (code, "cloud")


def test_every_place_is_found_by_its_code_and_by_its_name():
    for row in rows():
        assert find_region(row.code) is row
        if row.level != "cloud" and row.name != "Georgia":
            assert find_region(row.name) is row


def test_a_name_of_two_places_is_refused_with_the_codes_of_both():
    with pytest.raises(ConfigError, match=re.escape("Did you mean 'GE' (country) or 'US-GA' (state)?")):
        find_region("Georgia")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Grece", "Did you mean 'Greece'?"),
        ("Califrnia", "Did you mean 'California'?"),
        ("Korea", "Did you mean 'North Korea' or 'South Korea'?"),
        ("DE-BY", "Did you mean 'DE'? (the whole country; there are no figures for parts of it)"),
        ("uk-sct", "Did you mean 'GB'?"),
        ("US-XX", "Did you mean 'US'? (the whole country; its parts are written like 'US-AK')"),
        ("SE-5", "its parts are written like 'SE-SE1'"),
        ("US-California", "Did you mean 'US-CA'?"),
        ("gcp:europe-wst1", "Did you mean 'gcp:europe-west1'?"),
        ("gcp:us-east-1", "Did you mean 'gcp:us-east1'?"),
        ("gcp:europe-west1-b", "Did you mean 'gcp:europe-west1'?"),
        ("aws:us-east-1a", "Did you mean 'aws:us-east-1'?"),
        ("ovh:gra11", "Did you mean 'ovh:gra'?"),
        ("aws:mars", "AWS has no such region in the table."),
        ("nimbus:north", "Clouds with a table of regions: aws, azure, gcp, ovh, scaleway."),
        ("us-est-1", "Did you mean 'aws:us-east-1' or 'aws:us-west-1'?"),
        ("West Europe", "Did you mean 'azure:westeurope'?"),
    ],
)
def test_an_unknown_region_is_refused_with_the_nearest_one(text, hint):
    with pytest.raises(ConfigError, match=re.escape(hint)):
        find_region(text)


@pytest.mark.parametrize("text", ["XX", "XK", "", "  ", "EU", "Europe", "-", ":", "gcp:", "Atlantis on the Sea"])
def test_what_is_near_to_nothing_gets_no_guess(text):
    with pytest.raises(ConfigError) as refused:
        find_region(text)
    assert "Did you mean" not in str(refused.value)


def test_a_cloud_region_without_its_cloud_is_not_guessed_but_offered():
    for cloud in cloud_regions():
        if cloud.provider != "ovh":  # three letters, as some ISO codes have
            with pytest.raises(ConfigError, match=f"Did you mean '{cloud.code}'"):
                find_region(cloud.region)


@given(st.text() | st.text("abcdefgrsuwAEIOU -:.13é", max_size=12))
@example("us-")
@example("gcp:")
@example("\ud800")
@example("a" * 10_000)
def test_any_text_is_a_place_of_the_table_or_refused_with_what_was_expected(text):
    try:
        row = find_region(text)
    except ConfigError as refused:
        told = str(refused)
    else:
        assert row in rows()
        return
    assert "Expected a country ('FR', 'France')" in told


def test_a_place_comes_with_all_that_its_figure_rests_on():
    row = find_region("FR")
    assert (row.name, row.level, row.parent, row.g_per_kwh, row.year) == ("France", "country", "WORLD", 41.44, 2025)
    assert (row.basis_kind, row.basis, row.licence) == ("lifecycle", "lifecycle, generation average", "CC BY 4.0")
    assert "Ember" in row.source
    assert (row.latitude, row.longitude) == pytest.approx((48.9, 2.4), abs=0.1)


def test_rows_are_told_apart_by_level():
    assert {row.level for row in rows()} == {"world", "country", "state", "subregion", "province", "zone", "cloud"}
    assert [row.code for row in rows("zone")][:2] == ["NO-NO1", "NO-NO2"]


def test_a_cloud_that_publishes_no_figure_has_that_of_the_place_where_it_stands_and_says_so():
    row, place = find_region("aws:us-east-1"), find_region("US-EGRID-SRVC")
    assert (row.g_per_kwh, row.year, row.source, row.basis_kind) == (270.49, 2023, place.source, "direct")
    assert (row.parent, row.figure_of) == ("US-EGRID-SRVC", "US-EGRID-SRVC")
    assert row.basis == f"{place.basis}; of SERC Virginia/Carolina (eGRID SRVC): AWS publishes no figure of its grids"


def test_every_cloud_region_has_a_figure_of_its_cloud_or_of_its_place_and_never_another():
    for cloud in cloud_regions():
        row, place = find_region(cloud.code), find_region(cloud.place)
        assert row.figure_of in (row.code, place.code)
        assert row.figure_of == row.code or (row.g_per_kwh, row.basis_kind) == (place.g_per_kwh, place.basis_kind)


def test_the_figure_of_a_google_region_is_its_own_and_counts_combustion_alone():
    row = find_region("gcp:europe-west9")
    assert (row.g_per_kwh, row.year, row.figure_of, row.parent) == (15.83, 2025, "gcp:europe-west9", "FR")
    assert (row.basis_kind, row.licence) == ("direct", "Apache-2.0")


@pytest.mark.parametrize(
    ("code", "kind", "whose"),
    [
        ("FR", "lifecycle", "FR"),
        ("US-CA", "direct", "US-CA"),
        ("US-CA", "lifecycle", "US"),
        ("gcp:us-central1", "direct", "gcp:us-central1"),
        ("gcp:us-central1", "lifecycle", "US"),
        ("gcp:europe-north2", "lifecycle", "SE-SE3"),
        ("US-EGRID-PRMS", "lifecycle", "PR"),
        ("CA-QC", "direct", None),
        ("FR", "direct", None),
    ],
)
def test_places_are_compared_in_one_basis_by_the_smallest_place_that_has_it(code, kind, whose):
    found = in_basis(find_region(code), kind)
    assert (found.code if found else None) == whose


def test_every_place_but_the_world_can_be_ranked_by_life_cycle():
    assert [row.code for row in rows() if in_basis(row, "lifecycle") is None] == [WORLD]


@pytest.mark.parametrize(
    ("code", "others"),
    [
        ("US", (349.67, 414)),
        ("GB", (176,)),
        ("aws:us-east-1", (343.48, 416, 418)),
        ("azure:westus", (208,)),
        ("US-VA", (270.49, 343.48, 416, 418)),
        ("US-OR", (97.85, 129)),
        ("CA-AB", (385,)),
        ("CA-QC", (41,)),
        ("SE-SE1", (15,)),
        ("SE-SE4", (37,)),
        ("gcp:europe-west9", (16.3, 31, 41.44)),
        ("gcp:northamerica-northeast1", (31.2, 41)),
        ("gcp:us-east4", (323.05, 418)),
    ],
)
def test_the_interval_of_a_place_holds_what_others_publish_for_it(code, others):
    found = intensity_of(code)
    assert [other for other in others if not found.low_g_per_kwh <= other <= found.high_g_per_kwh] == []


def test_every_place_has_an_interval_around_its_figure():
    for row in rows():
        found = intensity_of(row.code)
        assert 0 < found.low_g_per_kwh < found.g_per_kwh == row.g_per_kwh < found.high_g_per_kwh
        assert found.basis_kind == row.basis_kind in BASIS_KINDS


def test_a_figure_that_leaves_the_life_cycle_out_says_so_and_its_interval_reaches_up_to_it():
    found = intensity_of("US-CA")
    row = found.assumption()
    assert row.basis.startswith("direct (combustion) CO2e, generation average of the state")
    assert row.basis.endswith("the interval reaches up to life-cycle figures")
    assert found.high_g_per_kwh == pytest.approx(2 * found.g_per_kwh + 40)


def test_a_cloud_region_with_the_figure_of_its_place_has_the_interval_of_that_place():
    cloud, place = intensity_of("aws:us-west-1"), intensity_of("US-EGRID-CAMX")
    assert (cloud.low_g_per_kwh, cloud.high_g_per_kwh) == (place.low_g_per_kwh, place.high_g_per_kwh)


def test_not_knowing_the_place_means_the_world_average_within_the_range_of_nearly_all_countries():
    found = intensity_of(WORLD)
    assert found.g_per_kwh == find_region(WORLD).g_per_kwh == 458.29
    # 213 countries: 2.5 % of them, five, are left out at either end.
    assert (found.low_g_per_kwh, found.high_g_per_kwh) == spread() == (24.7, 902.24)


def test_a_constant_is_a_source_that_knows_every_time():
    constant, now = given_intensity(50, "argument"), datetime(2026, 1, 1, tzinfo=UTC)
    assert constant.between(now, now + timedelta(days=400)) is constant
    assert constant.basis_kind == "given"


def test_a_region_of_a_cloud_tells_where_it_stands():
    cloud = find_cloud("gcp:europe-west1")
    assert (cloud.provider, cloud.region, cloud.location, cloud.place) == ("gcp", "europe-west1", "Belgium", "BE")
    assert cloud.name == "Belgium (Google Cloud europe-west1)"
    assert (cloud.latitude, cloud.longitude) == pytest.approx((50.4, 3.8), abs=0.1)


@pytest.mark.parametrize("text", ["europe-west1", "FR", "", ":", "aws:europe-west1", "None:None"])
def test_what_is_no_region_of_a_cloud_is_none(text):
    assert find_cloud(text) is None
