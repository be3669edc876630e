"""Where a run is: what was said, what a cloud left on the machine, a guess, or the world. Nothing asks the network."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fitprint.carbon.clouds import cloud_regions
from fitprint.carbon.grid import find_region
from fitprint.carbon.place import Place, find_place
from fitprint.errors import ConfigError

EC2 = {"sys_vendor": "Amazon EC2", "product_name": "g5.xlarge", "bios_vendor": "Amazon EC2"}
XEN_EC2 = {"sys_vendor": "Xen", "product_name": "HVM domU", "bios_version": "4.11.amazon"}
GCE = {"sys_vendor": "Google", "product_name": "Google Compute Engine"}
AZURE_VM = {
    "sys_vendor": "Microsoft Corporation",
    "product_name": "Virtual Machine",
    "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77",
}
SCALEWAY = {"sys_vendor": "Scaleway", "product_name": "SCW-GP1-XS"}
LAPTOP = {"sys_vendor": "LENOVO", "product_name": "21CB"}
CHROMEBOOK = {"sys_vendor": "Google", "product_name": "Eve"}
HYPER_V = {"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine", "chassis_asset_tag": "0000-0000"}
ECS = {"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "AWS_REGION": "eu-west-3"}


@pytest.fixture
def find(tmp_path):
    """Finds the place of a machine that is built here: its firmware, cloud-init's answer, its environment."""

    def find(region=None, given_by="argument", *, dmi=None, cloud_init=None, ask_cloud=None, **environ):
        for name, text in (dmi or {}).items():
            write(tmp_path / "sys" / "class" / "dmi" / "id" / name, f"{text}\n")
        if cloud_init is not None:
            write(tmp_path / "run" / "cloud-init" / "instance-data.json", cloud_init)
        return find_place(region, given_by, environ, tmp_path / "etc", sys_root=tmp_path / "sys", ask_cloud=ask_cloud)

    return find


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def instance_data(cloud, region):
    return json.dumps({"base64_encoded_keys": [], "v1": {"cloud_name": cloud, "region": region, "availability_zone": None}})


def test_a_region_that_was_set_beats_everything_on_the_machine(find):
    place = find("uk", "environment", dmi=LAPTOP, TZ="Europe/Paris")
    assert place == Place("GB", "United Kingdom", "given by environment")


def test_a_cloud_region_that_was_set_names_its_cloud(find):
    place = find("GCP:europe-west1", dmi=EC2)
    assert place == Place("gcp:europe-west1", "Belgium (Google Cloud europe-west1)", "given by argument", "gcp", "europe-west1")


def test_a_country_that_was_set_leaves_the_machine_in_its_cloud(find):
    assert find("FR", dmi=EC2) == Place("FR", "France", "given by argument", provider="aws")


def test_a_region_that_does_not_exist_is_refused(find):
    with pytest.raises(ConfigError, match="Did you mean 'Greece'"):
        find("Grece")


@pytest.mark.parametrize(
    ("cloud", "region", "code"),
    [
        ("aws", "us-east-2", "aws:us-east-2"),
        ("gce", "europe-west9", "gcp:europe-west9"),
        ("azure", "westeurope", "azure:westeurope"),
    ],
)
def test_the_region_that_cloud_init_wrote_down_is_believed(find, cloud, region, code):
    place = find(cloud_init=instance_data(cloud, region), TZ="Europe/Warsaw")
    assert (place.code, place.found_by) == (code, "told by cloud-init")
    assert f"{place.provider}:{place.region}" == code


@pytest.mark.parametrize(
    "written",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        '{"v1": []}',
        '{"v1": {"cloud_name": null, "region": ["a"]}}',
        instance_data("openstack", "GRA11"),
        instance_data("aws", "mars-1"),
    ],
)
def test_what_cloud_init_cannot_have_meant_is_ignored(find, written):
    assert find(cloud_init=written, TZ="Europe/Paris") == Place("FR", "France", "guessed from the time zone Europe/Paris")


@pytest.mark.parametrize(
    ("cloud", "region", "code"),
    [
        ("AWS", "us-west-2", "aws:us-west-2"),
        ("GCP", "us-central1", "gcp:us-central1"),
        ("Azure", "eastus", "azure:eastus"),
    ],
)
def test_a_scheduler_that_rents_machines_in_clouds_is_believed(find, cloud, region, code):
    cluster = {"cluster_name": "train", "cloud": cloud, "region": region, "zone": None}
    place = find(SKYPILOT_CLUSTER_INFO=json.dumps(cluster))
    assert (place.code, place.found_by) == (code, "told by SKYPILOT_CLUSTER_INFO")


def test_a_scheduler_on_machines_of_ones_own_tells_no_place(find):
    cluster = {"cloud": "Kubernetes", "region": "my-cluster"}
    assert find(SKYPILOT_CLUSTER_INFO=json.dumps(cluster)).code == "WORLD"


def test_a_container_that_aws_started_is_believed(find):
    assert find(**ECS) == Place("aws:eu-west-3", find_region("aws:eu-west-3").name, "told by AWS_REGION", "aws", "eu-west-3")


@pytest.mark.parametrize(
    ("dmi", "environ", "code", "told_by"),
    [
        (EC2, {"AWS_REGION": "us-east-1"}, "aws:us-east-1", "AWS_REGION on a machine of AWS"),
        (XEN_EC2, {"AWS_DEFAULT_REGION": "eu-west-1"}, "aws:eu-west-1", "AWS_DEFAULT_REGION on a machine of AWS"),
        (GCE, {"CLOUD_ML_REGION": "us-central1"}, "gcp:us-central1", "CLOUD_ML_REGION on a machine of Google Cloud"),
        (GCE, {"CLOUD_ML_REGION": "global", "GOOGLE_CLOUD_REGION": "us-east5"}, "gcp:us-east5", "GOOGLE_CLOUD_REGION on a machine"),
        (AZURE_VM, {"REGION_NAME": "West Europe"}, "azure:westeurope", "REGION_NAME on a machine of Azure"),
        (AZURE_VM, {"AZUREML_SERVICE_ENDPOINT": "https://eastus.api.azureml.ms"}, "azure:eastus", "AZUREML_SERVICE_ENDPOINT"),
        (AZURE_VM, {"AZ_BATCH_ACCOUNT_URL": "https://me.uksouth.batch.azure.com/"}, "azure:uksouth", "AZ_BATCH_ACCOUNT_URL"),
        (SCALEWAY, {"SCW_DEFAULT_REGION": "fr-par"}, "scaleway:fr-par", "SCW_DEFAULT_REGION on a machine of Scaleway"),
    ],
)
def test_a_variable_that_clients_of_a_cloud_read_is_a_guess_on_a_machine_of_that_cloud(find, dmi, environ, code, told_by):
    place = find(dmi=dmi, **environ)
    assert place.code == code
    assert place.found_by.startswith(f"guessed from {told_by}")


@pytest.mark.parametrize("dmi", [LAPTOP, CHROMEBOOK, HYPER_V, GCE, None])
def test_the_same_variable_on_any_other_machine_says_nothing(find, dmi):
    place = find(dmi=dmi, AWS_REGION="us-east-1", AWS_DEFAULT_REGION="us-east-1", REGION_NAME="West Europe", TZ="Europe/Paris")
    assert place.code == "FR"
    assert place.provider == ("gcp" if dmi is GCE else None)


@pytest.mark.parametrize(
    "marks",
    [ECS, {"SKYPILOT_CLUSTER_INFO": '{"cloud": "AWS", "region": "eu-west-3"}'}],
    ids=["ECS", "SkyPilot"],
)
def test_what_a_cloud_starts_on_a_machine_of_ones_own_is_not_in_that_cloud(find, marks):
    assert find(dmi=LAPTOP, TZ="Europe/Warsaw", **marks) == Place("PL", "Poland", "guessed from the time zone Europe/Warsaw")


def test_a_clouds_machine_of_unknown_region_is_placed_by_its_time_zone_and_keeps_its_cloud(find):
    place = find(dmi=EC2, TZ="Europe/Paris")
    assert (place.code, place.provider, place.region) == ("FR", "aws", "")
    assert place.found_by == "guessed from the time zone Europe/Paris; the machine is one of AWS, its region is unknown"


@pytest.mark.parametrize(
    ("dmi", "provider"),
    [
        (EC2, "aws"),
        (XEN_EC2, "aws"),
        (GCE, "gcp"),
        (AZURE_VM, "azure"),
        (SCALEWAY, "scaleway"),
        ({"sys_vendor": "QEMU", "chassis_asset_tag": "OracleCloud.com"}, "oracle"),
        ({"sys_vendor": "Alibaba Cloud", "product_name": "Alibaba Cloud ECS"}, "alibaba"),
        ({"sys_vendor": "Hetzner", "product_name": "vServer"}, "hetzner"),
        (LAPTOP, None),
        (CHROMEBOOK, None),
        (HYPER_V, None),
        ({"sys_vendor": "\xff\x00", "product_name": ""}, None),
        (None, None),
    ],
)
def test_a_cloud_is_recognised_by_the_firmware_of_its_machines(find, dmi, provider):
    place = find(dmi=dmi, TZ="Etc/UTC")
    assert (place.code, place.provider) == ("WORLD", provider)


def test_a_cloud_region_that_no_table_has_is_not_replaced_by_another(find):
    place = find(dmi=EC2, AWS_REGION="eu-south-9")
    assert (place.code, place.provider) == ("WORLD", "aws")
    assert "the machine is one of AWS, its region is unknown" in place.found_by


def asked(answer, calls):
    def ask(provider):
        calls.append(provider)
        return answer

    return ask


def test_the_clouds_own_service_is_asked_where_that_is_allowed(find):
    calls = []
    place = find(dmi=EC2, ask_cloud=asked("eu-north-1", calls), AWS_REGION="us-east-1", TZ="Europe/Paris")
    assert (place.code, place.found_by) == ("aws:eu-north-1", "told by the metadata service of AWS")
    assert calls == ["aws"]


@pytest.mark.parametrize("answer", [None, "", "mars-1"])
def test_a_service_that_does_not_answer_leaves_the_guess(find, answer):
    place = find(dmi=EC2, ask_cloud=asked(answer, []), AWS_REGION="us-east-1")
    assert (place.code, place.found_by) == ("aws:us-east-1", "guessed from AWS_REGION on a machine of AWS")


@pytest.mark.parametrize(
    "machine",
    [
        {"region": "FR", "dmi": EC2},
        {"dmi": LAPTOP},
        {},
        {"dmi": EC2, "cloud_init": instance_data("aws", "us-east-2")},
        ECS,
    ],
    ids=["region set", "laptop", "nothing known", "region told", "container"],
)
def test_nobody_is_asked_where_the_answer_is_known_or_no_cloud_is_recognised(find, machine):
    calls = []
    find(ask_cloud=asked("eu-north-1", calls), **machine)
    assert calls == []


def test_no_socket_is_opened_for_a_place(find, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert find(dmi=EC2, AWS_REGION="us-east-1").code == "aws:us-east-1"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["SKYPILOT_CLUSTER_INFO", "AWS_EXECUTION_ENV", "AWS_REGION", "TZ", "REGION_NAME"]),
        st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")) | st.just('{"cloud": {}, "region": 3}'),
    )
)
def test_no_environment_makes_a_place_that_no_table_has(find, environ):
    place = find(dmi=AZURE_VM, **environ)
    assert find_region(place.code).code == place.code
    assert place.provider == "azure"


def test_every_cloud_region_can_be_told(find):
    for cloud in cloud_regions():
        assert find(cloud_init=instance_data(cloud.provider, cloud.region)).code == cloud.code


def test_the_time_zone_in_tz_is_a_guess_and_beats_the_machine(find, tmp_path):
    write(tmp_path / "etc" / "timezone", "Europe/Warsaw\n")
    assert find(TZ=":Europe/Paris") == Place("FR", "France", "guessed from the time zone Europe/Paris")


def test_the_localtime_link_tells_the_time_zone_before_the_timezone_file(find, tmp_path):
    write(tmp_path / "etc" / "timezone", "Europe/Paris\n")
    (tmp_path / "etc" / "localtime").symlink_to("../usr/share/zoneinfo/America/Argentina/Ushuaia")
    assert find().code == "AR"


def test_the_timezone_file_is_read_where_localtime_is_no_link(find, tmp_path):
    write(tmp_path / "etc" / "timezone", "Europe/Paris\n")
    write(tmp_path / "etc" / "localtime", "TZif2")
    assert find(TZ="").found_by == "guessed from the time zone Europe/Paris"


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "time zone not set names no country"),
        ({"TZ": "Etc/UTC"}, "time zone Etc/UTC names no country"),
        ({"TZ": "Europe/Vaduz"}, "time zone Europe/Vaduz is in LI, for which there is no figure"),
    ],
)
def test_an_unknown_place_is_the_world_and_says_why(find, environ, why):
    assert find(**environ) == Place("WORLD", "World", f"unknown ({why}); the world average is used")
