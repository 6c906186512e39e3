"""A Slurm cluster of two nodes on this machine: slurmctld, two slurmd and munge."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsft.runtime.launch.network import free_port

_BINARIES = ("slurmctld", "slurmd", "munged", "sbatch", "scontrol", "srun", "unshare")
NODES = ("worker1", "worker2")


@dataclass(frozen=True)
class SlurmCluster:
    """Where its configuration is, and a view of the machine in which the nodes have names."""

    folder: Path

    def command(self, *command: str | Path) -> list[str]:
        """A command with the cluster's configuration, where worker1 and worker2 are known."""
        line = shlex.join(map(str, command))
        hosts = shlex.quote(str(self.folder / "hosts"))
        return ["unshare", "-m", "sh", "-c", f"mount --bind {hosts} /etc/hosts && exec {line}"]

    def call(self, *command: str | Path, cwd: Path | None = None) -> str:
        """Do a command; returns what it prints."""
        environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        done = subprocess.run(
            self.command(*command),
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[SlurmCluster]:
    """The cluster for the time of a test; skips it where it cannot be made."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    for binary in _BINARIES:
        if shutil.which(binary, path=path) is None:
            pytest.skip(f"{binary} is not installed")
    if os.geteuid() != 0:
        pytest.skip("a Slurm cluster of its own needs root")
    cluster = SlurmCluster(folder)
    _write_configuration(folder)
    daemons: list[subprocess.Popen[bytes]] = []

    def start(*command: str | Path) -> None:
        environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        log = (folder / "daemons.log").open("ab")
        prefixed = cluster.command(*command)
        daemons.append(subprocess.Popen(prefixed, env=environment, stdout=log, stderr=log))

    try:
        _start_munge(folder, daemons)
        start("slurmctld", "-D")
        for node in NODES:
            start("slurmd", "-D", "-N", node)
        _wait_until_idle(cluster)
        yield cluster
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(timeout=30)


def _write_configuration(folder: Path) -> None:
    (folder / "state").mkdir()
    hosts = Path("/etc/hosts").read_text() + "".join(f"127.0.0.1 {node}\n" for node in NODES)
    (folder / "hosts").write_text(hosts)
    nodes = "".join(
        f"NodeName={node} NodeHostname={os.uname().nodename} NodeAddr=127.0.0.1 "
        f"Port={free_port()} CPUs=1\n"
        for node in NODES
    )
    (folder / "slurm.conf").write_text(
        f"ClusterName=trial\nSlurmctldHost={os.uname().nodename}(127.0.0.1)\n"
        f"SlurmctldPort={free_port()}\nAuthType=auth/munge\n"
        f"AuthInfo=socket={folder}/munge/socket\nSlurmUser=root\nSlurmdUser=root\n"
        "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n"
        "SelectTypeParameters=CR_CPU\nMpiDefault=none\nReturnToService=2\n"
        "SlurmdParameters=config_overrides\nKillWait=5\n"
        f"StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/%n\n"
        f"SlurmctldPidFile={folder}/ctld.pid\nSlurmdPidFile={folder}/%n.pid\n"
        f"SlurmctldLogFile={folder}/ctld.log\nSlurmdLogFile={folder}/%n.log\n"
        f"{nodes}PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
    )


def _start_munge(folder: Path, daemons: "list[subprocess.Popen[bytes]]") -> None:
    own = folder / "munge"
    own.mkdir()
    (own / "key").write_bytes(os.urandom(64))
    (own / "key").chmod(0o600)
    for path in (own, own / "key"):
        shutil.chown(path, "munge", "munge")
    own.chmod(0o755)
    for parent in folder.parents:
        with suppress(PermissionError):
            if parent.is_relative_to("/tmp/") and parent != Path("/tmp"):
                parent.chmod(0o755)
    command = [
        "munged",
        "--foreground",
        "--force",
        f"--socket={own}/socket",
        f"--key-file={own}/key",
    ]
    command += [f"--log-file={own}/log", f"--pid-file={own}/pid", f"--seed-file={own}/seed"]
    daemons.append(subprocess.Popen(command, user="munge", group="munge", extra_groups=[]))
    deadline = time.monotonic() + 10
    while not (own / "socket").exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def _wait_until_idle(cluster: SlurmCluster) -> None:
    deadline = time.monotonic() + 40
    seen = ""
    while time.monotonic() < deadline:
        try:
            seen = cluster.call("sinfo", "-h", "-o", "%D %t")
        except AssertionError as error:
            seen = str(error)
        if seen.strip() == "2 idle":
            return
        time.sleep(0.5)
    pytest.skip(f"no Slurm cluster comes up here: {seen.strip()}")
