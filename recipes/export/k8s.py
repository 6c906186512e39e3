"""A PyTorchJob of Kubeflow's training operator (kubeflow.org/v1)."""

import re
from typing import Any

from fsft.recipes.export.job import Job

WORKSPACE = "/workspace"
"""Where the volume is mounted that all pods share: recipe, data and runs are relative to it."""
_SAVE_SECONDS = 120
_BACKOFF_LIMIT = 3


def pytorch_job(job: Job, *, image: str, claim: str) -> dict[str, Any]:
    """The manifest: each pod runs the same command, the first leads.

    `image` holds fsft; `claim` is a PersistentVolumeClaim that all pods may write to. The operator
    sets MASTER_ADDR, MASTER_PORT and PET_NODE_RANK, which `--launcher torchrun` reads.
    """
    replicas = {"Master": _replica(1, job, image, claim)}
    if job.nodes > 1:
        replicas["Worker"] = _replica(job.nodes - 1, job, image, claim)
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": kubernetes_name(job.name)},
        "spec": {
            "nprocPerNode": str(job.devices_per_node),
            "runPolicy": {"backoffLimit": _BACKOFF_LIMIT, "cleanPodPolicy": "None"},
            "pytorchReplicaSpecs": replicas,
        },
    }


def kubernetes_name(name: str) -> str:
    """A DNS label (RFC 1123), which names of objects must be."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].rstrip("-")


def _replica(count: int, job: Job, image: str, claim: str) -> dict[str, Any]:
    # Alone, a pod is told of no others.
    launcher = ["--launcher", "torchrun"] if job.nodes > 1 else []
    container: dict[str, Any] = {
        # The operator looks for a container of this name.
        "name": "pytorch",
        "image": image,
        "workingDir": WORKSPACE,
        "command": ["fsft", "run", *job.arguments, *launcher],
        "volumeMounts": [
            {"name": "workspace", "mountPath": WORKSPACE},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ],
    }
    if job.has_gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": job.devices_per_node}}
    return {
        "replicas": count,
        # A pod that saved and left with 75 is started again, and goes on.
        "restartPolicy": "OnFailure",
        "template": {
            "spec": {
                "terminationGracePeriodSeconds": _SAVE_SECONDS,
                "containers": [container],
                "volumes": [
                    {"name": "workspace", "persistentVolumeClaim": {"claimName": claim}},
                    # Docker's 64 MiB are too few for NCCL.
                    {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
                ],
            }
        },
    }
