"""A plan as plain values, for JSON and CSV."""

from dataclasses import asdict
from typing import Any

from fsft.recipes.planner.cost import plan_cost
from fsft.recipes.planner.plan import Plan
from fsft.recipes.planner.ranges import memory_range, time_range
from fsft.recipes.planner.search import Candidate
from fsft.recipes.planner.tables import module_table, strategy_table


def plan_document(plan: Plan) -> dict[str, Any]:
    """The whole plan; memory in bytes, time in seconds."""
    best = plan.best
    return {
        "parameters": plan.job.shape.num_parameters,
        "active_parameters": plan.job.shape.num_active_parameters,
        "devices": plan.cluster.num_devices,
        "accelerator": plan.cluster.accelerator.name,
        "device_memory": plan.cluster.accelerator.memory,
        "global_batch": plan.job.global_batch,
        "sequence_length": plan.job.sequence_length,
        "modules": [asdict(row) for row in module_table(plan.job)],
        "strategies": [
            {
                "zero": row.zero,
                "checkpointing": row.layout.checkpointing,
                "evaluate": row.evaluate,
                "train": row.train._asdict(),
                "fits": row.fits,
            }
            for row in strategy_table(plan)
        ],
        "recommendation": None if best is None else _candidate(plan, best),
        "layouts": [_candidate(plan, candidate) for candidate in plan.search.candidates],
        "rejected": [
            {"layout": rejected.layout._asdict(), "reason": rejected.reason}
            for rejected in plan.search.rejected
        ],
        "remedies": [
            {"change": remedy.change, "layout": remedy.candidate.layout._asdict()}
            | _figures(plan, remedy.candidate)
            for remedy in plan.remedies
        ],
        "warnings": list(plan.warnings),
        "assumptions": list(plan.assumptions),
    }


def layout_rows(plan: Plan) -> list[dict[str, Any]]:
    """One flat row for each layout that fits, the best first, then each that does not."""
    rows = []
    for candidate in plan.search.candidates:
        time = candidate.time
        cost = plan_cost(plan.job, candidate.layout, time, plan.cluster)
        rows.append(
            candidate.layout._asdict()
            | {
                "fits": candidate.fits,
                "memory": candidate.memory.device_total,
                "seconds_per_step": time and time.seconds,
                "tokens_per_second_per_device": time and time.tokens_per_second_per_device,
                "mfu": time and time.mfu,
                "days": None if cost.seconds is None else cost.days,
                "price": cost.price,
                "reason": "",
            }
        )
    blank = dict.fromkeys(
        ("memory", "seconds_per_step", "tokens_per_second_per_device", "mfu", "days", "price")
    )
    rows += [
        rejected.layout._asdict() | {"fits": "no"} | blank | {"reason": rejected.reason}
        for rejected in plan.search.rejected
    ]
    return rows


def _candidate(plan: Plan, candidate: Candidate) -> dict[str, Any]:
    layout = candidate.layout._asdict()
    return {"layout": layout, "fits": candidate.fits} | _figures(plan, candidate)


def _figures(plan: Plan, candidate: Candidate) -> dict[str, Any]:
    memory, time = candidate.memory, candidate.time
    family = plan.job.style.family
    return {
        "memory": {
            "allocated": memory.allocated,
            "reserved": memory.reserved,
            "device_total": memory_range(memory.device_total, family)._asdict(),
            "host": memory.host,
            "host_loading": memory.host_loading,
            "host_converting": memory.host_converting,
            "disk": memory.disk,
            "moments": [moment._asdict() for moment in memory.moments],
        },
        "time": time and time._asdict() | {"range": time_range(time.seconds, family)._asdict()},
        "cost": asdict(plan_cost(plan.job, candidate.layout, time, plan.cluster)),
    }
