"""The few constants of the time model, with what they were fitted to."""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True)
class Speeds:
    """Shares of what hardware can do that training reaches, and what the host costs."""

    sustained: float
    """Of the measured matmul ceiling, over a long run."""
    sustained_float8: float
    """The same on devices with float8 units, whose clocks fall under load."""
    float8_gain: float
    """Speed of float8 products relative to bfloat16, casts included."""
    memory: float
    """Of the memory bandwidth, by kernels that move data."""
    unhidden: float
    """Share of the memory traffic of products that their arithmetic does not hide."""
    attention: float
    """Of the published speed of an attention kernel."""
    link: float
    """Of the bandwidth between devices of a node."""
    network: float
    """Of the bandwidth between nodes."""
    overlap: float
    """Share of the time of computing behind which communication hides."""
    overlap_modules: float
    """The same where weights are gathered module by module."""
    interference: float
    """Share of its own time that hidden communication slows down what it hides behind: 19% on
    average (arXiv 2507.03114)."""
    kernel_seconds: float
    """The host's time to launch one."""
    module_seconds: float
    """The host's time to gather and free the weights of one module under ZeRO-3."""
    tensor_seconds: float
    """The host's time at the end of a step for each tensor: its norm, update and bookkeeping."""
    newer_host: float
    """Of the host's time, on machines of devices with float8 units: 1/1.47 is the median over 97 of
    Megatron-LM's functional tests, too small to keep a device busy, that were timed on DGX A100 and
    on DGX H100 (@d98e8a6, golden values)."""
    hop_seconds: float
    """Latency of a collective, for each rank of its ring."""
    host_bandwidth: float
    """Bytes per second that optimizer states are updated with in host memory, per node."""


@lru_cache(maxsize=1)
def fitted_speeds() -> Speeds:
    """The constants as they are shipped."""
    text = files("fsft.recipes.planner").joinpath("speeds.toml").read_text(encoding="utf-8")
    return Speeds(**tomllib.loads(text)["speeds"])
