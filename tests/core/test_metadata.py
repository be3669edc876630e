"""The metadata service of the machine's own cloud: one service, one second, no proxy."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fitprint.carbon import metadata
from fitprint.carbon.cloud_hints import FIRMWARE
from fitprint.carbon.clouds import find_cloud
from fitprint.carbon.metadata import ask_region
from fitprint.carbon.place import find_place
from web_service import Answer, WebService, only_this_machine

AWS_TOKEN, AWS_REGION = "/latest/api/token", "/latest/meta-data/placement/region"
AZURE = "/metadata/instance/compute/location"
GCP = "/computeMetadata/v1/instance/zone"
SCALEWAY = "/conf"
LAST_PATH = {"aws": AWS_REGION, "azure": AZURE, "gcp": GCP, "scaleway": SCALEWAY}
REGION = {"aws": "eu-west-3", "azure": "westeurope", "gcp": "europe-west1", "scaleway": "fr-par"}
GOOGLE = {"Metadata-Flavor": "Google"}


def when(header, value, answer):
    """The answer to those who send the header; others are refused, as the clouds document it."""
    return lambda asked: answer if asked.headers.get(header) == value else Answer(status=401)


@pytest.fixture
def elsewhere(monkeypatch):
    return only_this_machine(monkeypatch)


@pytest.fixture
def cloud(elsewhere):
    """All clouds at once, as they document themselves."""
    service = WebService()
    token = Answer(b"AQAEAK==")
    service.answers = {
        AWS_TOKEN: lambda asked: (
            token
            if (asked.method, asked.headers.get("x-aws-ec2-metadata-token-ttl-seconds")) == ("PUT", "60")
            else Answer(status=405)
        ),
        AWS_REGION: when("x-aws-ec2-metadata-token", "AQAEAK==", Answer(b"eu-west-3")),
        AZURE: when("metadata", "true", Answer(b"westeurope")),
        GCP: when("metadata-flavor", "Google", Answer(b"projects/123456789/zones/europe-west1-b", headers=GOOGLE)),
        SCALEWAY: Answer({"id": "11111111-1111", "location": {"platform_id": "13", "zone_id": "fr-par-2"}}),
    }
    yield service
    service.close()


def ask(service, provider, **options):
    host, port = service.address
    return ask_region(provider, host=host, port=port, **options)


@pytest.mark.parametrize("provider", sorted(LAST_PATH))
def test_a_cloud_tells_the_region_of_its_machine(cloud, provider):
    assert ask(cloud, provider) == REGION[provider]
    assert find_cloud(f"{provider}:{REGION[provider]}") is not None


@pytest.mark.parametrize(("provider", "count"), [("aws", 2), ("azure", 1), ("gcp", 1), ("scaleway", 1)])
def test_it_is_asked_for_nothing_else(cloud, provider, count):
    ask(cloud, provider)
    assert cloud.paths == [AWS_TOKEN, AWS_REGION][-count:] if provider == "aws" else [LAST_PATH[provider]]
    assert len(cloud.asked) == count


def test_azure_is_asked_in_a_version_and_for_plain_text(cloud):
    ask(cloud, "azure")
    assert cloud.asked[0].query == {"api-version": "2021-02-01", "format": "text"}


@pytest.mark.parametrize(("zone", "region"), [("par1", "fr-par"), ("ams1", "nl-ams"), ("pl-waw-3", "pl-waw")])
def test_scaleway_has_two_ways_to_name_a_zone(cloud, zone, region):
    cloud.answers[SCALEWAY] = Answer({"location": {"zone_id": zone}})
    assert ask(cloud, "scaleway") == region


@pytest.mark.parametrize("provider", ["ovh", "hetzner", "oracle", "", "AWS", "my-company"])
def test_a_cloud_without_a_service_that_tells_regions_is_not_asked(cloud, provider):
    assert ask(cloud, provider) is None
    assert cloud.asked == []


def test_every_service_is_link_local():
    assert {address.rpartition(".")[0].rpartition(".")[0] for address, _ in metadata.SERVICES.values()} == {"169.254"}


def test_clouds_with_a_service_can_be_recognised_by_their_firmware():
    assert set(metadata.SERVICES) <= {provider for _, _, provider in FIRMWARE}


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 405, 429, 500, 503])
@pytest.mark.parametrize("provider", sorted(LAST_PATH))
def test_a_refusal_tells_nothing(cloud, provider, status):
    cloud.answers[LAST_PATH[provider]] = Answer(b"eu-west-3", status, GOOGLE)
    assert ask(cloud, provider) is None


def test_without_a_session_token_aws_is_asked_no_further(cloud):
    cloud.answers[AWS_TOKEN] = Answer(status=403)
    assert ask(cloud, "aws") is None
    assert cloud.paths == [AWS_TOKEN]


def test_what_does_not_say_that_it_is_google_is_not_believed(cloud):
    cloud.answers[GCP] = Answer(b"projects/1/zones/europe-west1-b")
    assert ask(cloud, "gcp") is None


def test_a_redirect_is_not_followed(cloud):
    other = WebService()
    cloud.answers[AZURE] = Answer(status=302, headers={"Location": f"{other.base}/"})
    assert ask(cloud, "azure") is None
    other.close()
    assert other.asked == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Welcome to the hotel's network</body></html>",
        b"\xff\xfe\x00",
        "région".encode(),
        b"{",
        b"[" * 60_000,
        b"x" * 10_000_000,
        b"../../etc/passwd",
        b"null",
        b"42",
        b'{"location": []}',
        b'{"location": {"zone_id": ["fr-par-1"]}}',
        b'{"location": {"zone_id": 7}}',
    ],
    ids=lambda body: body[:16].decode(errors="replace"),
)
@pytest.mark.parametrize("provider", sorted(LAST_PATH))
def test_garbage_tells_no_region(cloud, provider, body):
    cloud.answers[LAST_PATH[provider]] = Answer(body, headers=GOOGLE)
    region = ask(cloud, provider)
    assert region is None or find_cloud(f"{provider}:{region}") is None


@pytest.mark.parametrize("raw", [b"", b"no HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"])
def test_half_an_answer_tells_nothing(cloud, raw):
    class Broken(Answer):
        raw = None

    Broken.raw = raw
    cloud.answers[AZURE] = Broken()
    assert ask(cloud, "azure") is None


def test_a_token_that_would_be_another_header_is_not_sent(cloud):
    cloud.answers[AWS_TOKEN] = Answer(b"a\r\nX-Evil: 1")
    assert ask(cloud, "aws") is None
    assert cloud.paths == [AWS_TOKEN]


def test_a_silent_service_costs_the_time_limit_and_no_more(cloud):
    cloud.silent = {AWS_TOKEN}
    started = time.monotonic()
    assert ask(cloud, "aws", timeout_s=0.2) is None
    assert time.monotonic() - started < 0.6


def test_the_time_limit_holds_for_a_byte_now_and_then(cloud):
    cloud.answers[AZURE] = replace(cloud.answers[SCALEWAY], drip_s=0.05)
    started = time.monotonic()
    assert ask(cloud, "azure", timeout_s=0.3) is None
    assert time.monotonic() - started < 0.7


def test_the_time_limit_is_one_second():
    assert metadata.TIMEOUT_S == 1.0


def test_nobody_there_tells_nothing(cloud):
    host, port = cloud.address
    cloud.close()
    assert ask_region("aws", host=host, port=port) is None


def test_no_proxy_is_used(cloud, monkeypatch):
    proxy = WebService()
    monkeypatch.setenv("http_proxy", proxy.base)
    monkeypatch.setenv("HTTP_PROXY", proxy.base)
    assert ask(cloud, "azure") == "westeurope"
    proxy.close()
    assert proxy.asked == []


def test_by_default_the_documented_address_is_asked_and_no_name_is_looked_up(elsewhere):
    assert [ask_region(provider) for provider in ("aws", "azure", "gcp", "scaleway", "ovh")] == [None] * 5
    assert elsewhere == [("169.254.169.254", 80)] * 3 + [("169.254.42.42", 80)]


# ---- as the finder of places uses it


def a_machine_of_ec2(tmp_path):
    folder = tmp_path / "sys" / "class" / "dmi" / "id"
    folder.mkdir(parents=True)
    (folder / "sys_vendor").write_text("Amazon EC2\n")
    return tmp_path / "sys"


def test_on_a_machine_of_a_cloud_its_service_settles_the_place(cloud, tmp_path):
    place = find_place(
        None, "", {}, tmp_path / "etc", sys_root=a_machine_of_ec2(tmp_path), ask_cloud=lambda provider: ask(cloud, provider)
    )
    assert (place.code, place.found_by) == ("aws:eu-west-3", "told by the metadata service of AWS")


def test_on_any_other_machine_nobody_is_asked(cloud, tmp_path):
    find_place(None, "", {}, tmp_path / "etc", sys_root=tmp_path / "sys", ask_cloud=lambda provider: ask(cloud, provider))
    assert cloud.asked == []


def test_without_leave_to_use_the_network_no_connection_is_tried(elsewhere, tmp_path):
    find_place(None, "", {}, tmp_path / "etc", sys_root=a_machine_of_ec2(tmp_path), ask_cloud=None)
    assert elsewhere == []
