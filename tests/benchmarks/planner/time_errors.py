"""Predicted against measured speed."""

from dataclasses import dataclass

from fsft.recipes.planner.speeds import Speeds
from fsft.recipes.planner.time import plan_time
from tests.benchmarks.planner.cases import Case


@dataclass(frozen=True)
class SpeedError:
    """One case, in tokens per second and device."""

    case: Case
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """Predicted over measured, minus one."""
        return self.predicted / self.measured - 1


def speed_errors(cases: list[Case], speeds: Speeds | None = None) -> list[SpeedError]:
    """All cases whose speed was measured; `speeds` other than the shipped ones if given."""
    found = []
    for case in cases:
        measured = measured_speed(case)
        if measured:
            predicted = predicted_speed(case, speeds)
            found.append(SpeedError(case, predicted, measured))
    return found


def predicted_speed(case: Case, speeds: Speeds | None = None) -> float:
    """The planner's tokens per second and device."""
    time = plan_time(case.job, case.layout, case.cluster, speeds=speeds)
    # Tokens of text, of which the published figures tell.
    return time.tokens_per_second_per_device * case.fields["seq_len"] / case.job.sequence_length


def measured_speed(case: Case) -> float | None:
    """Tokens per second and device; from the step time where only that was published."""
    fields = case.fields
    if fields["measured_tokens_per_s_per_gpu"]:
        return float(fields["measured_tokens_per_s_per_gpu"])
    if fields["measured_step_time_s"] and fields["global_batch"]:
        tokens = fields["global_batch"] * fields["seq_len"]
        return float(tokens / fields["measured_step_time_s"] / fields["gpus"])
    return None
