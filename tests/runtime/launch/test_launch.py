"""What is started where, what is refused before, and when a run counts as hanging or lost."""

import socket
from pathlib import Path

import pytest

from fsft.recipes.events import EvalLoss, Failed, Step
from fsft.recipes.problems import ExitCode, FsftError, Refused, RunFailed
from fsft.runtime.hardware import Devices
from fsft.runtime.launch.agent import meeting_message, parse_options, torchrun_arguments
from fsft.runtime.launch.hostfile import Host, read_hostfile
from fsft.runtime.launch.network import port_problem
from fsft.runtime.launch.node import Job, node_command
from fsft.runtime.launch.options import Launching, option_problems
from fsft.runtime.launch.signs import Place, behind
from fsft.runtime.launch.slurm import slurm_problems, srun_command
from fsft.runtime.launch.ssh import remote_line, ssh_commands
from fsft.runtime.launch.train import first_error
from fsft.runtime.launch.verdicts import LOST_SECONDS, LostNodes, StepClock, hang_message
from fsft.runtime.run_directory import RunDirectory

JOB = Job(Path("/shared/runs/tiny"), Devices("cpu", per_node=4, nodes=2))


def step(seconds: float) -> Step:
    return Step(
        step=1, loss=1, learning_rate=1, grad_norm=1, tokens=1, flops=1, seconds=seconds,
        memory_bytes=1,
    )  # fmt: skip


def reasons(options: Launching, nodes: int = 2) -> str:
    return "\n".join(str(problem) for problem in option_problems(options, nodes))


def test_one_machine_is_a_standalone_torchrun() -> None:
    command = node_command(Job(JOB.run, Devices("cpu", 4)), node_rank=0)
    arguments = torchrun_arguments(parse_options(command[3:]))
    assert arguments[0] == "--standalone"
    assert arguments[arguments.index("--nproc-per-node") + 1] == "4"


def test_several_machines_meet_at_the_first_in_the_order_of_their_ranks() -> None:
    command = node_command(JOB, master=("a", 29500), node_rank=1)
    text = " ".join(torchrun_arguments(parse_options(command[3:])))
    assert "--nnodes 2 --node-rank 1 --master-addr a --master-port 29500" in text


def test_under_slurm_a_machine_has_the_number_of_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert parse_options(node_command(JOB, master=("a", 29500))[3:]).node_rank == 1


def test_ssh_starts_the_first_machine_without_ssh_and_gives_others_the_variables() -> None:
    environment = {"NCCL_DEBUG": "INFO", "HOME": "/root", "HF_HOME": "/a b"}
    hosts = [Host("a", 4), Host("b", 4)]
    first, second = ssh_commands(JOB, hosts, 4000, Path("/work dir"), environment)
    assert "ssh" not in first[0]
    assert second[-2] == "b"
    assert second[-1].startswith("cd '/work dir' && exec env 'HF_HOME=/a b' NCCL_DEBUG=INFO ")
    assert "HOME=/root" not in second[-1].split()
    assert second[-1].endswith("--master a:4000 --node-rank 1")


def test_a_remote_line_keeps_what_a_shell_would_change() -> None:
    assert remote_line(["say", "$HOME; 'x'"], Path("/"), {}).count("$HOME") == 1
    assert "'$HOME; '\"'\"'x'\"'\"''" in remote_line(["say", "$HOME; 'x'"], Path("/"), {})


def test_srun_starts_one_task_a_machine_with_all_its_cores() -> None:
    environment = {"SLURM_JOB_ID": "12345", "SLURM_CPUS_ON_NODE": "16"}
    command = srun_command(JOB, ["n1", "n2"], environment)
    assert command[:4] == ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1"]
    assert "--nodelist=n1,n2" in command
    assert "--cpus-per-task=16" in command
    assert command[command.index("--master") + 1] == "n1:22345"


def test_slurm_is_refused_outside_an_allocation_and_in_one_too_small() -> None:
    (problem,) = slurm_problems({}, 2)
    assert "SLURM_JOB_ID is not set" in str(problem)
    small = slurm_problems({"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "1"}, 2)
    assert "2 machines are asked for, the allocation has 1" in str(small[0])


def test_a_hostfile_is_read_as_deepspeed_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# the cluster\nworker-1 slots=4\n\nworker-2  slots=8 # new\nc slots=4\n")
    hosts = read_hostfile(path, nodes=2, devices_per_node=4)
    assert hosts == [Host("worker-1", 4), Host("worker-2", 8)]


def test_all_that_is_wrong_with_a_hostfile_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("a slots=2\na slots=4\nb\n-oProxyCommand=x slots=4\n")
    with pytest.raises(Refused) as caught:
        read_hostfile(path, nodes=5, devices_per_node=4)
    text = str(caught.value)
    for part in (
        "hosts:1: a has 2 slots, 4 are needed",
        "hosts:2: a is named twice",
        "hosts:3: `b` is not HOST slots=N",
        "hosts:4: `-oProxyCommand=x slots=4` is not",
        "names 4 machines, hardware.nodes asks for 5",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read: No such file or directory."), (b"\xff", "cannot be read: invalid ")],
)
def test_a_hostfile_that_cannot_be_read_says_what_one_is(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "hosts").write_bytes(content)
    with pytest.raises(Refused, match=r"hosts: cannot be read: .* HOST slots=N") as caught:
        read_hostfile(tmp_path / "hosts", nodes=2, devices_per_node=4)
    assert reason in str(caught.value)


def test_several_machines_need_a_launcher() -> None:
    assert "2 machines need a launcher" in reasons(Launching())
    assert not reasons(Launching(), nodes=1)


def test_what_torchrun_needs_is_asked_for_at_once() -> None:
    text = reasons(Launching("torchrun"))
    assert "--rdzv-endpoint: is missing" in text
    assert "--node-rank: is missing" in text
    wrong = reasons(Launching("torchrun", endpoint="a:b", node_rank=2))
    assert "`a:b` is not HOST:PORT" in wrong
    assert "2 is not one of the recipe's 2 machines" in wrong


def test_an_endpoint_without_a_port_takes_that_of_torchrun() -> None:
    assert Launching("torchrun", endpoint="a").address == ("a", 29500)
    assert Launching("torchrun", endpoint="a:1").address == ("a", 1)


def test_a_taken_port_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert f"port {port}: cannot be listened on" in str(port_problem(port))
    assert port_problem(port) is None


def test_a_port_taken_after_the_start_is_told_apart_from_machines_that_do_not_come() -> None:
    assert "the port of a:1 is taken" in meeting_message("a:1", 0, "EADDRINUSE, address in use")
    assert "machine 1 waited for the others at a:1" in meeting_message("a:1", 1, "timed out")


def test_a_machine_is_lost_when_its_counter_stands_still_but_not_when_it_never_moved() -> None:
    lost = LostNodes()
    assert lost.look({"node-1": "7", "node-2": "3"}, 0.0) == []
    assert lost.look({"node-1": "8", "node-2": "3"}, 1.0) == []
    assert lost.look({"node-1": "8", "node-2": "3"}, 2.0 + LOST_SECONDS) == ["node-1"]
    assert lost.look({"node-2": "3"}, 100.0) == []


def test_a_step_hangs_by_the_median_or_by_the_limit_that_is_given() -> None:
    by_median, given = StepClock(0.0, None), StepClock(0.0, 5.0)
    for clock in (by_median, given):
        assert not clock.is_overdue(600.0, {})
        for _ in range(5):
            clock.hear(step(100.0), 1000.0)
    assert not by_median.is_overdue(2900.0, {})
    assert by_median.is_overdue(3001.0, {})
    assert given.is_overdue(1006.0, {})
    for phase in ("saving", "evaluating"):
        assert not given.is_overdue(1006.0, {0: Place(3, phase)})
    given.hear(EvalLoss(step=5, loss=1.0, is_best=True, seconds=9.0), 1006.0)
    assert not given.is_overdue(1010.0, {})


def test_the_process_that_others_wait_for_is_behind() -> None:
    waiting = Place(5, "computing", is_waiting=True)
    assert behind({0: waiting, 1: Place(5, "rows"), 2: waiting}) == [1]
    assert behind({0: waiting, 1: Place(5, "computing"), 2: waiting}) == [1]
    assert behind({0: waiting, 1: waiting}) == []
    assert "process 1 is behind, at step 5 (rows)" in hang_message(
        9.0, {0: waiting, 1: Place(5, "rows")}
    )


REFUSED = Failed(stage="train", rank=0, message="it cannot be.", exit_code=ExitCode.REFUSED)
FAILED = Failed(stage="train", rank=1, message="it broke.")
KILLED = Failed(stage="train", message="process 1 was killed.")


@pytest.mark.parametrize(
    ("events", "kind", "words"),
    [
        ([REFUSED, FAILED], Refused, "it cannot be."),
        ([FAILED, REFUSED], RunFailed, "it broke. (process 1; log: "),
        ([REFUSED, KILLED], RunFailed, "process 1 was killed."),
        ([], RunFailed, "the training processes could not be started"),
    ],
)
def test_training_ends_with_the_kind_of_its_first_error(
    tmp_path: Path, events: list[Failed], kind: type[FsftError], words: str
) -> None:
    error = first_error([*events], RunDirectory(tmp_path))
    assert type(error) is kind
    assert str(error).startswith(words)
