"""Job files are what their schedulers take."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fsft.recipes.export.job import Job
from fsft.recipes.export.k8s import kubernetes_name, pytorch_job
from fsft.recipes.export.slurm import slurm_script, slurm_time
from tests.support import fsft, write_tiny_recipe

JOB = Job("tiny", ("my recipe.toml", "--set", "hardware.nodes=2"), 2, 8, True, 3600.0)


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    """An object that takes no other fields, as the API server's strict validation."""
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


STRING, INTEGER = {"type": "string"}, {"type": "integer"}
CONTAINER = closed(
    ["name"],
    name=STRING,
    image=STRING,
    workingDir=STRING,
    command={"type": "array", "items": STRING},
    resources=closed(
        [], limits={"type": "object", "additionalProperties": {"type": ["integer", "string"]}}
    ),
    volumeMounts={
        "type": "array",
        "items": closed(["mountPath", "name"], mountPath=STRING, name=STRING),
    },
)
VOLUME = closed(
    ["name"],
    name=STRING,
    emptyDir=closed([], medium={"enum": ["", "Memory"]}),
    persistentVolumeClaim=closed(["claimName"], claimName=STRING),
)
REPLICA = closed(
    [],
    replicas=INTEGER,
    restartPolicy={"enum": ["Always", "OnFailure", "Never", "ExitCode"]},
    template=closed(
        [],
        spec=closed(
            ["containers"],
            terminationGracePeriodSeconds=INTEGER,
            containers={"type": "array", "items": CONTAINER},
            volumes={"type": "array", "items": VOLUME},
        ),
    ),
)
PYTORCH_JOB = closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "kubeflow.org/v1"},
    kind={"const": "PyTorchJob"},
    metadata=closed(
        ["name"], name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
    ),
    spec=closed(
        ["pytorchReplicaSpecs"],
        nprocPerNode=STRING,
        runPolicy=closed(
            [], backoffLimit=INTEGER, cleanPodPolicy={"enum": ["All", "Running", "None"]}
        ),
        pytorchReplicaSpecs={"type": "object", "additionalProperties": REPLICA},
    ),
)
"""Fields, types and what is required of the part that fsft writes, from the openAPIV3Schema of
kubeflow/training-operator 1.9, manifests/base/crds/kubeflow.org_pytorchjobs.yaml."""


@pytest.mark.parametrize("nodes", [1, 2, 4])
@pytest.mark.parametrize("has_gpus", [True, False])
def test_a_pytorch_job_is_valid_by_the_schema_of_its_operator(nodes: int, has_gpus: bool) -> None:
    job = Job("Tiny_1.5", ("r.toml",), nodes, 8, has_gpus, None)
    made = pytorch_job(job, image="registry/fsft:1", claim="work")
    jsonschema.validate(made, PYTORCH_JOB)
    counts = [part["replicas"] for part in made["spec"]["pytorchReplicaSpecs"].values()]
    assert sum(counts) == nodes


def test_a_pod_alone_needs_no_launcher_and_several_meet_by_torchrun() -> None:
    def command(nodes: int) -> list[str]:
        job = Job("a", ("r.toml",), nodes, 8, True, None)
        made = pytorch_job(job, image="i", claim="c")
        replica = made["spec"]["pytorchReplicaSpecs"]["Master"]
        found: list[str] = replica["template"]["spec"]["containers"][0]["command"]
        return found

    assert command(1) == ["fsft", "run", "r.toml"]
    assert command(2) == ["fsft", "run", "r.toml", "--launcher", "torchrun"]


def test_a_name_becomes_one_that_kubernetes_takes() -> None:
    assert kubernetes_name("Qwen2.5-7B_law-") == "qwen2-5-7b-law"


def test_an_sbatch_file_asks_for_the_machines_the_time_and_a_word_before_the_end() -> None:
    script = slurm_script(JOB)
    for line in (
        "#SBATCH --nodes=2",
        "#SBATCH --gpus-per-node=8",
        "#SBATCH --time=0-01:15:00",
        "#SBATCH --signal=B:USR1@120",
        "#SBATCH --requeue",
        "fsft run 'my recipe.toml' --set hardware.nodes=2 --launcher slurm &",
    ):
        assert line in script.splitlines()


@pytest.mark.parametrize(
    ("seconds", "written"), [(1, "0-00:10:00"), (3601, "0-01:01:00"), (90000, "1-01:00:00")]
)
def test_slurm_times_are_whole_minutes(seconds: float, written: str) -> None:
    assert slurm_time(seconds) == written


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (75, True)])
def test_only_a_job_that_saved_is_put_in_the_queue_again(
    tmp_path: Path, code: int, requeued: bool
) -> None:
    stubs = {
        "fsft": f'trap "exit {code}" USR1\necho started\nwhile true; do sleep 0.05; done',
        "scontrol": 'echo "$@" > scontrol.log',
    }
    for name, body in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    job = subprocess.Popen(
        ["bash", "-c", slurm_script(JOB)],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert job.stdout
    assert job.stdout.readline() == "started\n"
    job.send_signal(10)
    assert job.wait(timeout=20) == code
    log = tmp_path / "scontrol.log"
    assert (log.read_text() if log.exists() else "") == ("requeue 7\n" if requeued else "")


def test_the_command_writes_to_the_output_or_to_a_file(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    printed = fsft("export", "slurm", "tiny.toml", cwd=tmp_path)
    assert printed.stdout.startswith("#!/bin/bash\n#SBATCH --job-name=tiny\n"), printed.stderr
    image = ("--image", "i", "--claim", "c", "--out", "job.json")
    written = fsft("export", "k8s", "tiny.toml", *image, cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    jsonschema.validate(json.loads((tmp_path / "job.json").read_text()), PYTORCH_JOB)


def test_devices_that_only_a_machine_could_count_are_asked_for(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path)
    change = ("--set", 'hardware.devices_per_node="auto"')
    done = fsft("export", "slurm", "tiny.toml", *change, cwd=tmp_path)
    assert done.returncode == 2
    assert "a scheduler has to be told a number" in done.stderr
