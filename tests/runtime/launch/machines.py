"""Two machines as network namespaces of this one, which share its file system."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

FIRST, SECOND = "10.77.0.1", "10.77.0.2"


@dataclass(frozen=True)
class TwoMachines:
    """Namespaces joined by a cable, with sshd on the second."""

    names: tuple[str, str]
    folder: Path

    def on(self, index: int, *command: str | Path) -> list[str]:
        """A command as one of the machines does it."""
        return ["ip", "netns", "exec", self.names[index], *map(str, command)]

    def cut(self) -> None:
        """Pull the cable."""
        for name in self.names:
            link = ["ip", "-n", name, "link", "set", "cable", "down"]
            subprocess.run(link, check=True)


@contextmanager
def two_machines(folder: Path) -> Iterator[TwoMachines]:
    """Two machines for the time of a test; skips it where they cannot be made."""
    for binary in ("ip", "ssh", "ssh-keygen", "/usr/sbin/sshd"):
        if shutil.which(binary) is None:
            pytest.skip(f"{binary} is not installed")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    tag = f"fsft{os.getpid()}"
    machines = TwoMachines((f"{tag}a", f"{tag}b"), folder)
    try:
        _connect(*machines.names)
    except subprocess.CalledProcessError as error:
        _remove(*machines.names)
        pytest.skip(f"no network namespaces can be made here: {error.stderr.strip()}")
    sshd = _start_sshd(machines, folder)
    try:
        yield machines
    finally:
        sshd.send_signal(signal.SIGTERM)
        sshd.wait()
        _remove(*machines.names)


def _connect(first: str, second: str) -> None:
    _ip("netns", "add", first)
    _ip("netns", "add", second)
    _ip("link", "add", "cable", "netns", first, "type", "veth", "peer", "cable", "netns", second)
    for name, address in ((first, FIRST), (second, SECOND)):
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
        _ip("-n", name, "link", "set", "cable", "up")
        _ip("-n", name, "link", "set", "lo", "up")


def _remove(*names: str) -> None:
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _start_sshd(machines: TwoMachines, folder: Path) -> "subprocess.Popen[bytes]":
    """An sshd with keys of its own, and an `ssh` in front of the path that knows them."""
    Path("/run/sshd").mkdir(exist_ok=True)
    for key in ("host_key", "user_key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key]
        subprocess.run(make, check=True)
    (folder / "sshd_config").write_text(
        f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/user_key.pub\nStrictModes no\n"
        "PermitRootLogin yes\nUsePAM no\nPidFile none\n"
    )
    known = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"{SECOND} {known}")
    (folder / "bin").mkdir()
    shim = folder / "bin" / "ssh"
    shim.write_text(
        f"#!/bin/sh\nexec {shutil.which('ssh')} -F none -i {folder}/user_key "
        f'-o UserKnownHostsFile={folder}/known_hosts "$@"\n'
    )
    shim.chmod(0o755)
    return subprocess.Popen(
        machines.on(1, "/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config"),
        stderr=(folder / "sshd.log").open("ab"),
    )
