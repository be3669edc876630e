"""``fitprint detect --json`` on whole machines, each against what is kept of it in ``detected/``.

What matters about a machine is said in its test; the kept file holds the rest, word for word. After a
wanted change of words write the files anew and look at what has changed::

    WRITE_DETECTED=1 python -m pytest tests/hardware/test_detect.py && git diff tests/hardware/detected
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import machines
import pytest

from fitprint.config import Config
from fitprint.detection import detect
from fitprint.sensors import perf
from fitprint.testing import FakeClock

KEPT = Path(__file__).parent / "detected"
WRITE = "WRITE_DETECTED"
# Stands for the folder that a machine was built in.
FOLDER = "<machine>"
CAN_LOAD_NVML = "import ctypes; ctypes.CDLL('libnvidia-ml.so.1')"
CAN_READ = "import sys; open(sys.argv[1]).close()"
WITHOUT_ROOTS_RIGHTS = ("--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


def environment() -> dict[str, str]:
    """What Python needs, and what the tests' own fixtures set: nothing of a scheduler, a container or a GPU."""
    names = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "TZ", "XDG_CONFIG_HOME")
    return {name: os.environ[name] for name in names if name in os.environ}


def detected(machine: machines.Machine, *prefix: str, **environ: str) -> dict:
    """What the real command prints there; /dev is this machine's, and is only asked for what the folder shows."""
    roots = {f"FITPRINT_{name.upper()}_ROOT": str(machine.root / name) for name in ("sys", "proc")}
    environ = environment() | roots | machine.environ | environ
    command = [*prefix, sys.executable, "-m", "fitprint", "detect", "--json", "--region", "FR"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout.replace(str(machine.root), FOLDER))


def detected_here(machine: machines.Machine, **others) -> dict:
    """What it would print, of a machine whose libraries are stand-ins."""
    text = json.dumps(detect(Config(region="FR"), machine.around(**others)).to_dict())
    return json.loads(text.replace(str(machine.root), FOLDER))


def as_kept(shown: dict, name: str) -> None:
    """Compare with the kept file, or write it where that is asked for."""
    file = KEPT / f"{name}.json"
    if os.environ.get(WRITE):
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(shown, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert shown == json.loads(file.read_text(encoding="utf-8")), f"if this is meant, write {file.name} anew with {WRITE}=1"


def by_role(shown: dict) -> dict[str, dict[str, str]]:
    """Ids and methods of the sensors, by what becomes of their joules."""
    roles: dict[str, dict[str, str]] = {}
    for row in shown["found"]:
        roles.setdefault(row["role"], {})[row["id"]] = row["method"]
    return roles


def remedies(shown: dict) -> dict[str, str]:
    """What would help, by what is absent."""
    return {row["source"]: row["remedy"] for row in shown["absent"]}


def left_out(shown: dict) -> list[str]:
    return [note for note in shown["notes"] if note.startswith("NOT COUNTED")]


@pytest.fixture(autouse=True)
def plain_machine():
    """The kept files are of a Linux machine that adds nothing of its own to what the folders show."""
    if sys.platform != "linux":
        pytest.skip("the machines are Linux's")
    if Path("/dev/ipmi0").exists():
        pytest.skip("this machine has a BMC, which would be shown too")
    if find_spec("amdsmi") is not None:
        pytest.skip("this machine has AMD's library, which would be shown too")


@pytest.fixture(scope="session")
def _nvml_is_here() -> bool:
    done = subprocess.run([sys.executable, "-c", CAN_LOAD_NVML], env=environment(), capture_output=True)
    return done.returncode == 0


@pytest.fixture
def no_nvidia(_nvml_is_here):
    if _nvml_is_here:
        pytest.skip("NVIDIA's library is installed here, and says other things than its absence")


@pytest.mark.usefixtures("no_nvidia")
def test_a_cloud_vm_has_no_sensor_and_is_modelled_by_its_microarchitecture(tmp_path):
    shown = detected(machines.cloud_vm(tmp_path))
    assert by_role(shown) == {"counted": {"cpu:modelled": "modelled", "dram:modelled": "modelled"}}
    assert "hypervisor" in next(row["reason"] for row in shown["absent"] if row["source"] == "RAPL (powercap)")
    assert remedies(shown)["RAPL (powercap)"] == "", "nothing that a user of a cloud could do would help"
    assert left_out(shown) == []
    as_kept(shown, "cloud_vm")


@pytest.mark.usefixtures("no_nvidia")
def test_a_server_counts_packages_and_dram_and_nothing_inside_them(tmp_path):
    shown = detected(machines.server(tmp_path))
    ids = ("cpu:package-0", "dram:package-0", "cpu:package-1", "dram:package-1")
    assert by_role(shown) == {"counted": dict.fromkeys(ids, "counter")}
    assert list(remedies(shown)) == ["NVML total energy counter"]
    assert (left_out(shown), shown["notes"]) == ([], [])
    as_kept(shown, "server")


@pytest.mark.usefixtures("no_nvidia")
def test_zones_that_show_a_servers_packages_again_change_nothing(tmp_path):
    shown = [detected(build(tmp_path / build.__name__)) for build in (machines.server, machines.server_with_twins)]
    assert shown[0] == shown[1]


@pytest.fixture
def denied_server(tmp_path) -> machines.Machine:
    machine = machines.server(tmp_path)
    machine.deny()
    return machine


@pytest.fixture
def unprivileged(denied_server) -> tuple[str, ...]:
    """What is put before a command so that a file's mode holds for it, which it does not for root."""
    file = str(denied_server.root / "sys/class/powercap/intel-rapl:0/energy_uj")
    for prefix in ((), ("setpriv", *WITHOUT_ROOTS_RIGHTS)):
        if prefix and shutil.which(prefix[0]) is None:
            continue
        done = subprocess.run([*prefix, sys.executable, "-c", CAN_READ, file], capture_output=True, text=True)
        if "PermissionError" in done.stderr:
            return prefix
    pytest.skip("nothing here takes root's rights away")


@pytest.mark.usefixtures("no_nvidia")
def test_a_server_whose_counters_are_roots_is_modelled_and_told_the_command_that_helps(denied_server, unprivileged):
    shown = detected(denied_server, *unprivileged)
    assert by_role(shown) == {"counted": {"cpu:modelled": "modelled", "dram:modelled": "modelled"}}
    zones = {f"RAPL (powercap), {part} of package-{number}" for part in ("cpu", "dram") for number in (0, 1)}
    assert zones <= remedies(shown).keys()
    assert {remedies(shown)[zone] for zone in zones} == {f"sudo chmod a+r {FOLDER}/sys/class/powercap/intel-rapl*/energy_uj"}
    assert {row["reason"] for row in shown["absent"] if row["source"] in zones} == {"permission denied"}
    assert "CPU table" in shown["found"][0]["source"], "this CPU's TDP is known"
    assert left_out(shown) == [], "the model makes up for them"
    as_kept(shown, "server_denied")


@pytest.mark.usefixtures("no_nvidia")
def test_the_command_that_helps_does(denied_server, unprivileged):
    absent = detected(denied_server, *unprivileged)["absent"]
    remedy = next(row["remedy"] for row in absent if "powercap" in row["source"]).replace(FOLDER, str(denied_server.root))
    subprocess.run(remedy.removeprefix("sudo "), shell=True, check=True)
    shown = detected(denied_server, *unprivileged)
    assert by_role(shown)["counted"].keys() == {"cpu:package-0", "dram:package-0", "cpu:package-1", "dram:package-1"}


def refuse_events(monkeypatch, number: int) -> None:
    def refused(pmu_type: int, config: int, cpu: int) -> int:
        raise PermissionError(number, os.strerror(number))

    monkeypatch.setattr(perf, "probe", partial(perf.probe, opener=refused))


def refuse_zones(monkeypatch) -> None:
    """Root may read anything, so the refusal is staged."""
    really = os.open

    def open_(path, *arguments, **options):
        if Path(path).name == "energy_uj":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return really(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_)


def test_where_perf_events_are_refused_too_either_command_would_help(tmp_path, monkeypatch):
    machine = machines.server(tmp_path)
    machine.events("0,10", cores=1, pkg=2, ram=3)
    refuse_zones(monkeypatch)
    refuse_events(monkeypatch, errno.EACCES)
    shown = detected_here(machine)
    assert by_role(shown) == {"counted": {"cpu:modelled": "modelled", "dram:modelled": "modelled"}}
    commands = {remedy.split()[1] for source, remedy in remedies(shown).items() if source.startswith("RAPL")}
    assert commands == {"chmod", "sysctl"}
    assert left_out(shown) == []
    as_kept(shown, "server_all_denied")


def test_where_perf_events_are_allowed_they_count_what_the_zones_would(tmp_path, monkeypatch):
    machine = machines.server(tmp_path)
    machine.events("0,10", cores=1, pkg=2, ram=3)
    refuse_zones(monkeypatch)
    count = machine.write("count", "8 bytes at least")
    monkeypatch.setattr(perf, "probe", partial(perf.probe, opener=lambda *_: os.open(count, os.O_RDONLY)))
    shown = detected_here(machine)
    ids = ("cpu:package-0", "dram:package-0", "cpu:package-1", "dram:package-1")
    assert by_role(shown) == {"counted": dict.fromkeys(ids, "counter")}
    assert all("perf" in row["source"] for row in shown["found"])


@pytest.mark.usefixtures("no_nvidia")
def test_a_container_is_charged_its_quota_and_told_how_to_see_the_zones(tmp_path):
    shown = detected(machines.container(tmp_path))
    assert by_role(shown) == {"counted": {"cpu:modelled": "modelled", "dram:modelled": "modelled"}}
    sources = {row["id"]: row["source"] for row in shown["found"]}
    assert "2 of 32 threads" in sources["cpu:modelled"]
    assert "8.59 GB" in sources["dram:modelled"], "its limit of 8 GiB, not the host's memory"
    assert "FITPRINT_SYS_ROOT" in remedies(shown)["RAPL (powercap)"]
    assert "modprobe" not in remedies(shown)["RAPL (powercap)"], "the module is loaded, its zones are masked"
    as_kept(shown, "container")


def test_a_container_is_told_how_to_use_perf_events_too(tmp_path, monkeypatch):
    machine = machines.container(tmp_path)
    machine.events("0", cores=1, pkg=2)
    refuse_events(monkeypatch, errno.EPERM)
    told = [remedy for source, remedy in remedies(detected_here(machine)).items() if source.startswith("RAPL")]
    assert [word in remedy for word, remedy in zip(("FITPRINT_SYS_ROOT", "--cap-add PERFMON"), told, strict=True)] == [True, True]


@pytest.mark.usefixtures("no_nvidia")
def test_a_laptop_counts_its_package_once_and_shows_its_platform_beside_it(tmp_path):
    shown = detected(machines.laptop(tmp_path))
    assert by_role(shown) == {
        "counted": {"cpu:package-0": "counter", "dram:modelled": "modelled"},
        "node": {"node:psys": "counter"},
    }
    assert left_out(shown) == [], "the graphics are inside the package"
    as_kept(shown, "laptop")


@pytest.mark.usefixtures("no_nvidia")
def test_a_slurm_job_is_charged_its_share_and_shows_the_whole_node_beside_it(tmp_path):
    shown = detected(machines.slurm_job(tmp_path))
    ids = ("cpu:package-0", "dram:package-0", "cpu:package-1", "dram:package-1")
    assert by_role(shown) == {
        "gross": dict.fromkeys(ids, "counter"),
        "share": {f"{sensor_id}:share": "counter" for sensor_id in ids},
    }
    by = {row["id"]: row["source"].partition("this job's share by ")[2] for row in shown["found"] if row["role"] == "share"}
    assert by["cpu:package-0:share"] == by["cpu:package-1:share"] == "CPU time"
    assert by["dram:package-0:share"] == by["dram:package-1:share"] == "memory"
    as_kept(shown, "slurm_job")


@pytest.mark.usefixtures("no_nvidia")
def test_a_jetson_is_its_inputs_together_and_none_of_its_rails(tmp_path):
    shown = detected(machines.jetson(tmp_path))
    assert by_role(shown) == {"counted": {"soc:jetson": "integrated"}}
    assert "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0" in shown["found"][0]["source"]
    assert (shown["absent"], shown["notes"]) == ([], []), "CPU, GPU and memory are inside"
    as_kept(shown, "jetson")


def test_a_gpu_server_counts_the_boards_that_this_process_may_use(tmp_path, fake_nvml_library):
    libraries = f"{fake_nvml_library.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}".rstrip(":")
    driver = {"FAKE_NVML_WATTS": "310,320,330,340", "FAKE_NVML_NAME": "NVIDIA H100 80GB HBM3"}
    shown = detected(machines.gpu_server(tmp_path), LD_LIBRARY_PATH=libraries, **driver)
    boards = [f"gpu:GPU-000000a{number}-0000-0000-0000-000000000000" for number in (1, 0)]
    zones = ["cpu:package-0", "dram:package-0", "cpu:package-1", "dram:package-1"]
    assert by_role(shown) == {
        "counted": dict.fromkeys(boards + zones, "counter"),
        "node": {"node:acpi-power-meter-0": "integrated"},
    }
    assert (shown["absent"], shown["notes"]) == ([], [])
    as_kept(shown, "gpu_server")


def test_an_instinct_node_counts_each_board_of_two_dies_once(tmp_path):
    clock = FakeClock()
    library = machines.libraries(amdsmi=machines.AmdSmi(clock))
    shown = detected_here(machines.instinct_node(tmp_path), clock=clock, library=library)
    boards = [f"gpu:pci-0000:{bus}:00.0" for bus in ("c1", "c9", "d1", "d9")]
    assert by_role(shown)["counted"] == {
        **dict.fromkeys(boards, "counter"),
        "cpu:package-0": "counter",
        "dram:modelled": "modelled",
    }
    assert left_out(shown) == []
    as_kept(shown, "instinct_node")


def test_without_amds_library_an_instinct_nodes_boards_are_counted_by_their_power(tmp_path):
    shown = detected_here(machines.instinct_node(tmp_path))
    counted = by_role(shown)["counted"]
    assert {f"gpu:pci-0000:{bus}:00.0": "integrated" for bus in ("c1", "c9", "d1", "d9")}.items() <= counted.items()
    assert left_out(shown) == []


def test_a_mac_counts_what_its_chip_estimates(tmp_path):
    library = machines.libraries(zeus_apple_silicon=machines.AppleSilicon)
    shown = detected_here(machines.Machine(tmp_path), library=library, platform="darwin-arm64")
    assert by_role(shown) == {
        "counted": {"cpu:apple": "counter", "gpu:apple": "integrated", "dram:apple": "counter", "soc:apple": "integrated"}
    }
    assert left_out(shown) == []
    as_kept(shown, "mac")


def test_a_mac_without_the_library_leaves_its_gpu_out_and_says_what_to_install(tmp_path):
    shown = detected_here(machines.Machine(tmp_path), platform="darwin-arm64")
    assert left_out(shown) == ["NOT COUNTED: the Apple GPU"]
    assert remedies(shown)["Apple GPU"] == "pip install 'fitprint[apple]'"
    assert not any(row["part"] == "gpu" for row in shown["found"])


def test_a_cpu_that_prints_a_version_of_0_is_known_by_its_name(tmp_path):
    machine = machines.cloud_vm(tmp_path)
    machine.cpus(machines.Cpu("GenuineIntel", 6, 45, 7, "Intel(R) Xeon(R) CPU E5-2670 0 @ 2.60GHz"), 32, sockets=2)
    assert "CPU table" in detected_here(machine)["found"][0]["source"]


@pytest.mark.parametrize(
    ("platform", "library"),
    [
        ("darwin-arm64", {"zeus_apple_silicon": machines.AppleSilicon}),
        ("darwin-arm64", {}),
        ("win32-AMD64", {}),
        ("linux-aarch64", {}),
    ],
)
def test_nobody_is_told_to_load_a_module_that_the_system_does_not_have(tmp_path, platform, library):
    shown = detected_here(machines.graviton_vm(tmp_path), platform=platform, library=machines.libraries(**library))
    assert "sudo modprobe intel_rapl_msr" not in remedies(shown).values()


BUILDS = [
    machines.cloud_vm,
    machines.graviton_vm,
    machines.server,
    machines.container,
    machines.laptop,
    machines.slurm_job,
    machines.jetson,
    machines.gpu_server,
    machines.instinct_node,
]


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_every_id_is_shown_once_and_every_absence_has_a_reason(tmp_path, build):
    shown = detected_here(build(tmp_path))
    ids = [row["id"] for row in shown["found"]]
    assert len(ids) == len(set(ids))
    assert all(row["source"] and row["reason"] for row in shown["absent"])


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_the_text_says_what_the_json_says(tmp_path, build):
    found = detect(Config(region="FR"), build(tmp_path).around())
    lines = str(found).splitlines()
    for row in found.found:
        assert any(row["id"] in line and row["method"] in line and row["source"] in line for line in lines)
    for row in found.absent:
        assert any(row["source"] in line and row["reason"] in line for line in lines)
        assert not row["remedy"] or any(line.strip() == f"remedy: {row['remedy']}" for line in lines)
    assert [line.strip() for line in lines if "note:" in line] == [f"note: {note}" for note in found.notes]


def test_every_kept_file_is_some_machines():
    names = {file.stem for file in KEPT.glob("*.json")}
    source = Path(__file__).read_text(encoding="utf-8")
    assert {name for name in names if f'as_kept(shown, "{name}")' not in source} == set()
