"""Accelerators are found by whatever a person or a driver calls them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsft.recipes.hardware.accelerators import accelerator_names, find_accelerator, find_link
from fsft.recipes.problems import RecipeError


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("A100", "A100-80GB-SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB-SXM"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB-SXM"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB-PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100-80GB-SXM"),
        ("NVIDIA H200", "H200-141GB-SXM"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("AMD Instinct MI300X", "MI300X-192GB"),
    ],
)
def test_drivers_names_are_understood(spelling: str, name: str) -> None:
    assert find_accelerator(spelling).name == name


@given(st.sampled_from(accelerator_names()), st.sampled_from(["-", " ", "_", ""]), st.booleans())
def test_every_name_is_found_in_any_case_and_with_any_separator(
    name: str, separator: str, upper: bool
) -> None:
    spelling = name.replace("-", separator)
    spelling = spelling.upper() if upper else spelling.lower()
    assert find_accelerator(spelling).name == name


def test_an_unknown_device_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="A100"):
        find_accelerator("A1000-80GB-SXM")


@pytest.mark.parametrize("name", accelerator_names())
def test_every_row_has_a_peak_and_a_source_and_reaches_less_than_its_peak(name: str) -> None:
    device = find_accelerator(name)
    # The oldest Ascend computes in float16 alone.
    dtype = "bfloat16" if device.peak_tflops("bfloat16") else "float16"
    peak, ceiling = device.peak_tflops(dtype), device.matmul_tflops(dtype)
    assert peak is not None
    assert ceiling is not None
    assert 0 < ceiling <= peak
    assert device.memory_bandwidth is not None
    assert device.memory_bandwidth > 1e11
    assert device.source


def test_bfloat16_is_slow_where_it_is_emulated() -> None:
    old = find_accelerator("T4")
    assert old.peak_tflops("bfloat16") == old.peak_tflops("float32")


@pytest.mark.parametrize(
    ("link", "gigabytes"), [("NDR", 50), ("100GbE", 12.5), ("nvlink4", 450), ("25", 25)]
)
def test_links_are_found_by_name_or_speed(link: str, gigabytes: float) -> None:
    assert find_link(link) == gigabytes * 1e9


@pytest.mark.parametrize("link", ["NDDR", "-3", "0", "nan", "1e99"])
def test_what_is_no_link_is_refused(link: str) -> None:
    with pytest.raises(RecipeError):
        find_link(link)
