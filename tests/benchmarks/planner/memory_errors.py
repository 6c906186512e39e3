"""Predicted against measured peaks."""

from dataclasses import dataclass

from fsft.recipes.planner.memory import Memory, Moment, plan_memory
from fsft.recipes.planner.ranges import memory_range
from tests.benchmarks.planner.cases import Case


@dataclass(frozen=True)
class PeakError:
    """One case; bytes in the metric of its source."""

    case: Case
    predicted: float
    measured: float
    peak: Moment
    says_it_does_not_fit: bool

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.predicted / self.measured - 1


def memory_errors(cases: list[Case]) -> list[PeakError]:
    """All cases with a measured peak."""
    return [_error(case) for case in cases if case.fields["measured_peak_gib"]]


def predicted_peak(case: Case) -> float:
    """Bytes in the metric that the case was measured in, of the rank that it names."""
    return _in_metric(_memory(case), str(case.fields["memory_metric"]))


def _error(case: Case) -> PeakError:
    memory = _memory(case)
    predicted = _in_metric(memory, str(case.fields["memory_metric"]))
    measured = case.fields["measured_peak_gib"] * 2**30
    low, _, _ = memory_range(predicted, case.job.style.family)
    return PeakError(case, predicted, measured, memory.peak, low > case.cluster.accelerator.memory)


def _memory(case: Case) -> Memory:
    is_last = "last" in str(case.fields["memory_metric"])
    return plan_memory(case.job, case.layout, stage=case.layout.pipeline - 1 if is_last else None)


def _in_metric(memory: Memory, metric: str) -> float:
    """Bytes, as the source measured them."""
    if "does not say allocated" in metric or "reserved" in metric:
        return memory.reserved
    if "allocated" in metric:
        return memory.allocated
    return memory.device_total
