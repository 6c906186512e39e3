"""What one device can do: a table of accelerators, found by name."""

import re
import statistics
import tomllib
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Any

from fsft.recipes.problems import Problem, RecipeError

GIB = 2**30


@dataclass(frozen=True, eq=False)
class Accelerator:
    """One device. Memory in bytes, bandwidths in bytes per second, peaks in dense TFLOPS.

    `memory` is what the driver reports. `link_bandwidth` counts one direction between devices of a
    node, PCIe where there is no other link.
    """

    name: str
    memory: float
    peaks: dict[str, float] = field(default_factory=dict)
    """By dtype: bfloat16, float16, float8, float32."""
    memory_bandwidth: float | None = None
    link_bandwidth: float | None = None
    pcie_bandwidth: float | None = None
    native_bfloat16: bool = True
    measured_matmul: float | None = None
    """TFLOPS that a large bfloat16 product reaches."""
    measured_ceilings: dict[str, float] = field(default_factory=dict)
    """TFLOPS by dtype that this very machine reached."""
    sold_gigabytes: float = 0.0
    """Memory as the vendor counts it."""
    watts: float | None = None
    """The most that the board takes."""
    note: str = ""
    """What a user should know about these figures."""
    source: str = ""

    def peak_tflops(self, dtype: str) -> float | None:
        """The data sheet's peak; None where there is none.

        Devices that compute in bfloat16 do so as fast as in float16; others only emulate it, and
        are no faster than in float32.
        """
        if dtype == "bfloat16" and dtype not in self.peaks:
            dtype = "float16" if self.native_bfloat16 else "float32"
        return self.peaks.get(dtype)

    def matmul_tflops(self, dtype: str) -> float | None:
        """What large products reach: measured, or the peak times what measured devices reach."""
        if dtype in self.measured_ceilings:
            return self.measured_ceilings[dtype]
        peak = self.peak_tflops(dtype)
        if peak is None:
            return None
        measured_peak = self.peak_tflops("bfloat16") or self.peak_tflops("float16")
        if self.measured_matmul and measured_peak:
            return peak * self.measured_matmul / measured_peak
        return peak * typical_share()

    def with_memory(self, memory: float) -> "Accelerator":
        """The same device with `memory` bytes."""
        return replace(self, memory=memory, sold_gigabytes=memory / 1e9)

    @property
    def is_measured(self) -> bool:
        """The matmul ceiling was measured, on this kind of device or on this very machine."""
        return self.measured_matmul is not None or bool(self.measured_ceilings)


def find_accelerator(name: str) -> Accelerator:
    """The accelerator that `name` means, in any spelling: "A100-80GB", "NVIDIA A100-SXM4-80GB".

    Raises RecipeError, with the nearest names, for one that the table does not know.
    """
    wanted = _key(name)
    table = _table()
    for row in table:
        if wanted in {_key(row["name"]), *map(_key, row.get("aliases", ()))}:
            return _from_row(row)
    words = _words(name)
    best, most = None, 0.0
    for row in table:
        for known in (row["name"], *row.get("aliases", ())):
            own = _words(known)
            # An alias is shorter than the name, and contradicts no more than the name does.
            if _model_word(own) in words and not _contradicts(own | _words(row["name"]), words):
                score = len(own & words) - 0.1 * len(own - words)
                if score > most:
                    best, most = row, score
    if best is not None:
        return _from_row(best)
    raise RecipeError(
        Problem(
            key="hardware.accelerator",
            reason=f"`{name[:80]}` is not in the table of {len(table)} accelerators; "
            "`fsft hardware` lists them.",
            nearest=_nearest(name),
            example='accelerator = "A100-80GB-SXM"',
        )
    )


def accelerator_names() -> tuple[str, ...]:
    """The names of all accelerators of the table."""
    return tuple(row["name"] for row in _table())


def find_link(name: str) -> float:
    """Bytes per second, one direction a device, of "NDR", "100GbE", "NVLink4" or "12.5" (GB/s)."""
    try:
        speed = float(name)
    except ValueError:
        links: dict[str, float] = _document()["links"]
        for known, value in links.items():
            if _key(known) == _key(name):
                return value * 1e9
        near = get_close_matches(name, links, n=1, cutoff=0.5)
        raise RecipeError(
            Problem(
                key="hardware.link",
                reason=f"`{name[:80]}` is not a link that fsft knows ({', '.join(links)}).",
                nearest=near[0] if near else "",
                example='link = "NDR", or GB/s a device, as in link = "50"',
            )
        ) from None
    if not 0 < speed < 1e5:
        raise RecipeError(
            Problem(key="hardware.link", reason=f"{name} GB/s is not a speed of a link.")
        )
    return speed * 1e9


@lru_cache(maxsize=1)
def typical_share() -> float:
    """The median of measured over data sheet peaks, over all measured accelerators."""
    shares: list[float] = [
        row["measured_matmul_tflops"] / row["peak_tflops"]["bfloat16"]
        for row in _table()
        if "measured_matmul_tflops" in row
    ]
    return statistics.median(shares)


def _from_row(row: dict[str, Any]) -> Accelerator:
    gigabytes = row["memory_gb"]
    return Accelerator(
        name=row["name"],
        memory=row["usable_gib"] * GIB if "usable_gib" in row else gigabytes * 1e9,
        peaks=row["peak_tflops"],
        memory_bandwidth=row["memory_gb_per_s"] * 1e9,
        link_bandwidth=row.get("link_gb_per_s", row["pcie_gb_per_s"]) * 1e9,
        pcie_bandwidth=row["pcie_gb_per_s"] * 1e9,
        native_bfloat16=row["native_bfloat16"],
        sold_gigabytes=gigabytes,
        measured_matmul=row.get("measured_matmul_tflops"),
        watts=row.get("watts"),
        note=row.get("notes", "") if row["confidence"] == "datasheet" else row["confidence"],
        source=row["source"],
    )


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    text = files("fsft.recipes.hardware").joinpath("accelerators.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _table() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _document()["accelerators"]
    return rows


def _nearest(name: str) -> str:
    """The name of the table that looks most like it, vendors and case aside; "" for none."""
    known = {
        _key(spelling): row["name"]
        for row in _table()
        for spelling in (*row.get("aliases", ()), row["name"])
    }
    plain = " ".join(word for word in name[:80].lower().split() if word not in _NOISE)
    near = get_close_matches(_key(plain), known, n=1, cutoff=0.5)
    return known[near[0]] if near else ""


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())


def _words(name: str) -> frozenset[str]:
    """The parts of a name that matter: model, memory, form."""
    text = name.lower().replace("sxm2", "sxm").replace("sxm4", "sxm").replace("sxm5", "sxm")
    # A size without its unit, as in "A100 40".
    text = re.sub(r"(?<![\w.])(\d\d)(?!\w| ?gb|\.)", r"\1gb", text)
    words = re.findall(r"\d+ ?gb|[a-z]*\d+[a-z]*|[a-z]+", text)
    return frozenset(word.replace(" ", "") for word in words) - _NOISE


_NOISE = {
    "nvidia",
    "tesla",
    "amd",
    "instinct",
    "huawei",
    "intel",
    "geforce",
    "hbm3",
    "hbm2",
    "hbm2e",
}


_VARIANTS = {"ti", "super", "laptop", "mobile", "d"}
"""Words that make another device of the same number."""


def _model_word(words: frozenset[str]) -> str:
    """The word with digits that is neither a memory size nor a power: a100, 4090, mi300x."""
    found = [
        word
        for word in sorted(words)
        if any(map(str.isdigit, word)) and not re.fullmatch(r"\d+(gb|w)", word)
    ]
    return max(found, key=len, default="")


def _contradicts(own: frozenset[str], wanted: frozenset[str]) -> bool:
    """Another memory size or form than the name says."""

    def differ(kind: Any) -> bool:
        mine, theirs = set(filter(kind, own)), set(filter(kind, wanted))
        return bool(mine and theirs and not mine & theirs)

    return (
        bool(_VARIANTS & (wanted - own))
        or differ(lambda word: word.endswith("gb"))
        or differ({"sxm", "pcie", "nvl"}.__contains__)
    )
