"""Two machines in one: network namespaces with a cable between them, each with processors, GPUs, a boot and a ledger of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from powered import powered

HERE = Path(__file__).parent
WITHIN_S = 120
PORT = 29731
# What a process of a machine sees as /proc: this one's, in another boot.
AS_ANOTHER_BOOT = (
    'mount --bind /proc "$FITPRINT_PROC_ROOT" && '
    'mount --bind "$BOOT_ID" "$FITPRINT_PROC_ROOT/sys/kernel/random/boot_id" && exec "$@"'
)


@dataclass(frozen=True)
class Hardware:
    """What a machine draws, and where it stands.

    Attributes:
        cpu: Watts by powercap zone.
        gpu: Watts of the boards that its processes may use.
        environ: How they find them; the place, and what else is said to them.
    """

    cpu: Mapping[str, float]
    gpu: float
    environ: Mapping[str, str]


class Host:
    """A machine.

    Args:
        number: 1 or 2.
        folder: Its disk.
        hardware: What it draws.
    """

    def __init__(self, number: int, folder: Path, hardware: Hardware) -> None:
        self.number, self.folder, self.hardware = number, folder, hardware
        self.namespace = self.interface = f"fp{number}x{os.getpid()}"
        self.address = f"10.231.7.{number}"
        (folder / "proc").mkdir(parents=True)
        (folder / "boot_id").write_text(f"boot-of-host-{number}\n")
        self.environ = {
            **hardware.environ,
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": self.interface,
            "FITPRINT_SYS_ROOT": str(folder / "sys"),
            "FITPRINT_PROC_ROOT": str(folder / "proc"),
            "BOOT_ID": str(folder / "boot_id"),
            "FITPRINT_LEDGER": str(folder / "fitprint.db"),
            "FITPRINT_ATTRIBUTE": "all",
            "OUT": str(folder),
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command on this machine; what it says goes to a file."""
        inside = ["ip", "netns", "exec", self.namespace, "sh", "-ec", AS_ANOTHER_BOOT, "host", *command]
        with (self.folder / "said.txt").open("a") as said:
            return subprocess.Popen(
                inside, cwd=self.folder, env={**os.environ, **self.environ}, stdout=said, stderr=said, text=True
            )

    def torchrun(self, *options: str, script: str, args: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start two ranks, as ``torchrun --nproc-per-node=2`` does."""
        return self.start(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *options, str(HERE / script), *args)

    def fitprint(self, *args: str) -> Any:
        """What the command line says on this machine, as JSON."""
        inside = ["ip", "netns", "exec", self.namespace, "sh", "-ec", AS_ANOTHER_BOOT, "host", sys.executable, "-m", "fitprint"]
        environ = {**os.environ, **self.environ}
        done = subprocess.run([*inside, *args, "--json"], cwd=self.folder, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def kill(self) -> None:
        """The machine is gone: every process on it, at once."""
        pids = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, timeout=10).stdout.split()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def said(self) -> str:
        path = self.folder / "said.txt"
        return path.read_text() if path.exists() else ""

    def marks(self, launch: str, local_rank: int) -> dict[str, Any]:
        """What a rank has written down so far."""
        path = self.folder / f"{launch}-{local_rank}.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def wait_for(self, launch: str, mark: str) -> None:
        """Until its first rank has come there."""
        until = time.monotonic() + WITHIN_S
        while mark not in self.marks(launch, 0):
            assert time.monotonic() < until, self.said()[-3000:]
            time.sleep(0.02)

    def joules(self, begin: Mapping[str, float], end: Mapping[str, float]) -> float:
        """What this machine has drawn between two marks: by its own counters, and by its boards' known power."""
        return end["cpu_j"] - begin["cpu_j"] + self.hardware.gpu * (end["s"] - begin["s"])

    def drawn(self, launch: str, begin: str, end: str, *, widest: bool = False) -> float:
        """The same between marks of its two ranks: the stretch that both were in, or the one that either was in."""
        ranks = [self.marks(launch, rank) for rank in (0, 1)]
        first, last = (min, max) if widest else (max, min)
        return self.joules(
            first((rank[begin] for rank in ranks), key=lambda mark: mark["s"]),
            last((rank[end] for rank in ranks), key=lambda mark: mark["s"]),
        )


def missing(folder: Path) -> str:
    """Why there can be no such machines here; empty if there can.

    Args:
        folder: An empty one.
    """
    name = f"fp0x{os.getpid()}"
    script = f"mount --bind /proc {folder} && mount --bind /dev/null {folder}/sys/kernel/random/boot_id"
    try:
        ip("netns", "add", name)
    except FileNotFoundError:
        return "there is no ip command (iproute2)"
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted here ({error.stderr.strip()})"
    try:
        ip("netns", "exec", name, "sh", "-ec", script)
        ip("link", "add", f"{name}v", "netns", name, "type", "veth")
    except subprocess.CalledProcessError as error:
        return f"mounts or cables between network namespaces are not permitted here ({error.stderr.strip()})"
    finally:
        ip("netns", "del", name)
    return ""


def ip(*command: str) -> None:
    subprocess.run(["ip", *command], check=True, capture_output=True, text=True, timeout=10)


@contextmanager
def cabled(hosts: list[Host]) -> Iterator[list[Host]]:
    """Two machines with a cable between them, and the current switched on."""
    one, two = hosts
    try:
        for host in hosts:
            ip("netns", "add", host.namespace)
        ip("link", "add", one.interface, "type", "veth", "peer", "name", two.interface)
        for host in hosts:
            ip("link", "set", host.interface, "netns", host.namespace)
            ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", host.interface)
            for link in ("lo", host.interface):
                ip("-n", host.namespace, "link", "set", link, "up")
        with powered({host.folder / "sys": host.hardware.cpu for host in hosts}):
            yield hosts
    finally:
        for host in hosts:
            host.kill()
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True, timeout=10)
