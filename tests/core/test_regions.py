"""The same work in other places."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitprint.carbon.grid import find_region, rows
from fitprint.elsewhere import rank_places
from fitprint.errors import ConfigError


def ranked(places):
    return [place for place in places if place.rank is not None]


def by_code(places):
    return {place.code: place for place in places}


def test_places_come_cleanest_first_and_are_numbered_from_one():
    places = ranked(rank_places(10))
    assert [place.rank for place in places] == list(range(1, len(places) + 1))
    grams = [place.co2e_g for place in places]
    assert grams == sorted(grams)
    assert len(places) > 200


def test_grams_are_the_energy_at_the_meter_times_the_intensity_of_the_place():
    france = by_code(rank_places(10))["FR"]
    assert france.g_per_kwh == find_region("FR").g_per_kwh
    assert france.co2e_g == pytest.approx(10 * find_region("FR").g_per_kwh)
    assert france.co2e_low_g < france.co2e_g < france.co2e_high_g


def test_only_places_of_one_basis_are_ranked_and_the_others_stand_after_them():
    places = rank_places(1)
    assert {place.basis_kind for place in ranked(places)} == {"lifecycle"}
    others = places[len(ranked(places)) :]
    assert {place.basis_kind for place in others} == {"direct", "mixed"}
    assert [place for place in others if place.rank is not None] == []


def test_the_basis_is_the_one_that_most_of_the_places_have_or_the_one_asked_for():
    assert {place.basis_kind for place in ranked(rank_places(1, provider="gcp"))} == {"direct"}
    assert {place.basis_kind for place in ranked(rank_places(1, provider="aws"))} == {"lifecycle"}
    states = ranked(rank_places(1, basis="direct"))
    assert {"US-CA", "CN-BJ"} <= set(by_code(states))
    assert "FR" not in by_code(states)


def test_without_a_provider_there_are_countries_and_their_parts_and_no_cloud():
    codes = by_code(rank_places(1))
    assert {"FR", "US-VT", "CA-QC", "SE-SE3"} <= set(codes)
    assert [code for code in codes if ":" in code or "EGRID" in code or code == "WORLD"] == []


@pytest.mark.parametrize(
    ("provider", "prefixes"),
    [("gcp", {"gcp"}), ("Google", {"gcp"}), ("OVHcloud", {"ovh"}), ("all", {"aws", "azure", "gcp", "ovh", "scaleway"})],
)
def test_a_provider_shows_its_regions_alone(provider, prefixes):
    assert {place.code.partition(":")[0] for place in rank_places(1, provider=provider)} == prefixes


def test_a_country_shows_itself_and_its_parts():
    assert set(by_code(rank_places(1, country="Sweden"))) == {"SE", "SE-SE1", "SE-SE2", "SE-SE3", "SE-SE4"}
    american = rank_places(1, country="US", provider="azure")
    assert {"azure:westus", "azure:eastus"} <= set(by_code(american))
    assert len(american) < len(rank_places(1, provider="azure"))


def test_distances_are_along_the_great_circle():
    places = by_code(rank_places(1, provider="all", near="gcp:europe-west9"))
    assert places["aws:eu-west-3"].distance_km == pytest.approx(0, abs=10)  # both in Paris
    assert places["gcp:europe-west2"].distance_km == pytest.approx(344, abs=10)  # London
    assert places["gcp:us-east4"].distance_km == pytest.approx(6_190, abs=60)  # Ashburn
    assert places["aws:ap-southeast-2"].distance_km == pytest.approx(16_960, abs=60)  # Sydney


def test_within_so_many_kilometres_are_only_places_so_near():
    near = rank_places(1, provider="all", near="FR", within_km=1000)
    assert all(place.distance_km <= 1000 for place in near)
    assert {"aws:eu-central-1", "gcp:europe-west2"} <= set(by_code(near))
    assert "aws:eu-north-1" not in by_code(near)  # Stockholm, 1,540 km


def test_no_distance_is_told_where_none_was_asked_for():
    assert {place.distance_km for place in rank_places(1)} == {None}


def test_every_place_has_year_source_and_basis_and_is_json():
    places = rank_places(1, provider="all") + rank_places(1)
    assert [place.code for place in places if not (place.year and place.source and place.basis)] == []
    assert json.loads(json.dumps([place.to_dict() for place in places], allow_nan=False))[0]["rank"] == 1


def test_every_cloud_region_can_be_asked_for_by_the_code_that_is_printed():
    assert [row.code for row in rows("cloud") if find_region(row.code) is not row] == []


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"provider": "gpc"}, "Did you mean 'gcp'?"),
        ({"provider": "a cloud of mine"}, "aws, azure, gcp, ovh, scaleway or all"),
        ({"country": "Frnace"}, "Did you mean 'France'?"),
        ({"country": "US-CA"}, "California is a state"),
        ({"within_km": 100}, "Say where you are with near"),
        ({"near": "FR", "within_km": 0}, "within_km=0"),
        ({"near": "FR", "within_km": math.nan}, "within_km=nan"),
        ({"near": "WORLD"}, "near='WORLD'"),
        ({"near": "Atlantis"}, "region='Atlantis'"),
        ({"basis": "lifecyle"}, "Did you mean 'lifecycle'?"),
        ({"provider": "scaleway", "country": "US"}, "No place fits"),
        ({"provider": "aws", "near": "IS", "within_km": 50}, "No place fits"),
    ],
)
def test_filters_that_make_no_sense_are_refused_with_the_fix(filters, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        rank_places(1, **filters)


@pytest.mark.parametrize("energy_kwh", [0, -1, math.nan, math.inf, "12", True, None])
def test_energy_that_makes_no_sense_is_refused(energy_kwh):
    with pytest.raises(ConfigError, match="energy_kwh="):
        rank_places(energy_kwh)


@given(st.floats(1e-9, 1e9))
def test_the_order_does_not_depend_on_the_energy(energy_kwh):
    places, unit = rank_places(energy_kwh, provider="scaleway"), rank_places(1, provider="scaleway")
    assert [place.code for place in places] == [place.code for place in unit]
    assert [p.co2e_g for p in places] == pytest.approx([energy_kwh * p.co2e_g for p in unit])
