"""Published runs as questions to the planner."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsft.recipes.hardware.accelerators import find_accelerator
from fsft.recipes.hardware.cluster import Cluster, make_cluster
from fsft.recipes.planner.job import Job
from fsft.recipes.planner.layout import Checkpointing, Layout
from fsft.recipes.planner.method import Method
from tests.benchmarks.planner.frameworks import network_of, style_of
from tests.benchmarks.planner.shapes import NUM_PATCHES, shape_of


@dataclass(frozen=True)
class Case:
    """A published run: as written, and as the planner is asked."""

    fields: dict[str, Any]
    job: Job
    layout: Layout
    cluster: Cluster

    @property
    def group(self) -> str:
        """Runs of one source."""
        return str(self.fields["group"])


def read_cases(path: Path) -> list[Case]:
    """All cases of a file of the format of published_runs.json."""
    return [to_case(fields) for fields in json.loads(path.read_text(encoding="utf-8"))["cases"]]


def to_case(fields: dict[str, Any]) -> Case:
    """The planner's question for one published run."""
    shape = shape_of(
        fields["hf_config"], dropout=0.1 if "dropout 0.1" in str(fields["notes"]) else 0.0
    )
    num_patches = NUM_PATCHES if shape.vision else 0
    job = Job(
        shape=shape,
        # The language model sees the image's patches besides the text.
        sequence_length=fields["seq_len"] + num_patches,
        method=_method(fields),
        style=style_of(fields),
        global_batch=fields["global_batch"],
        loss_chunk=_loss_chunk(fields),
        num_patches=num_patches,
    )
    return Case(fields, job, _layout(fields), _cluster(fields))


def _cluster(fields: dict[str, Any]) -> Cluster:
    """The machines; the link between them where the notes tell it."""
    # The devices of a GB200 rack are joined as those of a node are.
    is_rack = "GB200" in fields["gpu"]
    nodes = 1 if is_rack else fields["nodes"] or max(1, fields["gpus"] // 8)
    notes = f"{fields['notes']}; {network_of(fields)}"
    generation = fields["gpu"].split("-")[0]
    told = re.search(rf"(?:(\d+)x)?(\d+) ?Gb/?s? \({generation}\)", notes) or re.search(
        r"(?:(\d+)x)?(\d+) ?Gb/?s?", notes
    )
    link = None
    if told:
        per_device = "per GPU" in notes
        lanes = int(told[1] or 1)
        link = int(told[2]) * lanes * 1e9 / 8 / (1 if per_device else 8)
    # The 175B rows without ZeRO keep 44 GB of states on a device, so its 40 GB variant it is not.
    gpu = str(fields["gpu"]).replace("A100-SXM (HBM size not in the repo)", "A100-80GB-SXM")
    return make_cluster(
        find_accelerator(gpu),
        nodes=nodes,
        devices_per_node=max(1, fields["gpus"] // nodes),
        link=link,
    )


def _layout(fields: dict[str, Any]) -> Layout:
    zero, group = _zero(fields)
    tensor, pipeline = fields["tp"] or 1, fields["pp"] or 1
    sequence = (fields["cp"] or 1) * (fields["ulysses_sp"] or 1)
    data = fields["dp"] or max(1, fields["gpus"] // (tensor * pipeline * sequence))
    local = re.search(r"local batch (\d+)", str(fields["notes"]))
    micro = fields["micro_batch"] or 1
    if not fields["micro_batch"] and local:
        # torchtitan cuts the local batch into as many micro batches as there are stages.
        micro = max(1, int(local[1]) // pipeline)
        fields = {**fields, "grad_accum": pipeline}
    if fields["global_batch"]:
        accumulation = fields["grad_accum"] or max(1, fields["global_batch"] // (micro * data))
    else:
        accumulation = fields["grad_accum"] or 1
    return Layout(
        zero=zero,
        data=data,
        tensor=tensor,
        pipeline=pipeline,
        sequence=sequence,
        expert=fields["ep"] or 1,
        micro_batch=micro,
        gradient_accumulation=accumulation,
        checkpointing=_checkpointing(fields),
        sequence_in_tensor=bool(fields["megatron_sp"]) and tensor > 1,
        virtual_stages=fields["vpp"] or 1,
        zero_group=group,
        # torchtitan gathers weights once a step where there is a pipeline.
        reshard=not (pipeline > 1 and "FSDP" in str(fields["zero"])),
        offload_optimizer="cpu" if fields["offload"] else "none",
    )


def _zero(fields: dict[str, Any]) -> tuple[int, int | None]:
    """The ZeRO stage, and the ranks that states are divided over where it is not all of DP."""
    text = str(fields["zero"] or "")
    group = re.search(r"groups of (\d+)", text)
    if "HYBRID" in text:
        return 3, 8
    if "SHARD_GRAD_OP" in text:
        return 2, None
    if "FSDP" in text or "FULL_SHARD" in text:
        return 3, None
    if stage := re.search(r"ZeRO-?(\d)", text):
        return int(stage[1]), int(group[1]) if group else None
    if not text and fields["framework"].startswith("xtuner"):
        # The stage is not in the table; DeepSpeed ZeRO-3 is needed above 30B.
        return 3, None
    return 0, None


def _checkpointing(fields: dict[str, Any]) -> Checkpointing:
    text = str(fields["activation_checkpointing"] or "none").lower()
    if text.startswith("full"):
        return "full"
    if text.startswith(("selective-op", "selective (fraction")):
        return "selective"
    return "none"


def _method(fields: dict[str, Any]) -> Method:
    text = fields["method"]
    if "lora" not in text:
        return Method()
    lora = fields["lora"] or {}
    names = {
        "c_attn": ("q", "k", "v"),
        "c_proj": ("o", "down"),
        "w1": ("up",),
        "w2": ("gate",),
    }
    targets = tuple(part for name in lora.get("targets", ()) for part in names.get(name, (name,)))
    quantization = None
    if fields["quant"]:
        quantization = "nf4-dq" if "dq" in fields["quant"] else "nf4"
    bf16 = "true" in fields["precision"]
    return Method(
        type="qlora" if quantization else "lora",
        rank=lora.get("r", 8),
        targets=targets,
        dropout=lora.get("dropout", 0.05),
        adapter_bytes=2.0 if bf16 else 4.0,
        train_embeddings=bool(lora.get("train_embeddings")),
        quantization=quantization,
    )


def _loss_chunk(fields: dict[str, Any]) -> int | None:
    text = str(fields["loss"] or "")
    chunk = re.search(r"chunked CE \((\d+)\)", text)
    return int(chunk[1]) if chunk and "not chunked" not in text else None
