"""Accelerators are found by whatever a person or a driver calls them."""

import re
from contextlib import suppress
from random import Random

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
        ("Tesla V100-SXM2-16GB", "V100-SXM2-16GB"),
        ("Ascend 910B3", "Ascend 910B (64GB)"),
    ],
)
def test_drivers_names_are_understood(spelling: str, name: str) -> None:
    assert find_accelerator(spelling).name == name


@given(
    st.sampled_from(accelerator_names()), st.sampled_from(["-", " ", "_", "/", ""]), st.randoms()
)
def test_every_name_is_found_in_any_case_and_with_any_separator(
    name: str, separator: str, random: Random
) -> None:
    spelling = re.sub(r"[- ]", separator, name)
    spelling = "".join(random.choice([letter.upper(), letter.lower()]) for letter in spelling)
    assert find_accelerator(spelling).name == name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("A100 40GB", "A100-40GB-SXM"),
        ("a100-40", "A100-40GB-SXM"),
        ("A100 80 GB", "A100-80GB-SXM"),
        ("A100 PCIe 40", "A100-40GB-PCIe"),
        ("H100 96GB", "H100-96GB-HBM2e-500W"),
        ("V100-16GB", "V100-SXM2-16GB"),
    ],
)
def test_a_memory_size_tells_variants_apart(spelling: str, name: str) -> None:
    assert find_accelerator(spelling).name == name


@pytest.mark.parametrize(
    ("spelling", "nearest"),
    [
        ("A1000-80GB-SXM", "A100-80GB-SXM"),
        ("NVIDIA L40", "L40S"),
        ("NVIDIA GeForce RTX 4080 SUPER", "RTX 4090"),
        ("h1000", "H100-80GB-SXM"),
    ],
)
def test_an_unknown_device_is_refused_with_the_nearest_name(spelling: str, nearest: str) -> None:
    with pytest.raises(RecipeError) as caught:
        find_accelerator(spelling)
    (problem,) = caught.value.problems
    assert problem.nearest == nearest
    assert "fsft hardware" in problem.reason


@pytest.mark.parametrize(
    "name",
    [
        "A100-120GB",
        "NVIDIA A800 80GB PCIe",
        "Tesla V100-PCIE-16GB",
        "NVIDIA H200 NVL",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
    ],
)
def test_a_variant_that_is_not_in_the_table_does_not_get_anothers_figures(name: str) -> None:
    with pytest.raises(RecipeError):
        find_accelerator(name)


@given(st.text(max_size=300))
def test_any_text_names_a_device_or_is_refused(name: str) -> None:
    with suppress(RecipeError):
        assert find_accelerator(name).name in accelerator_names()


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
