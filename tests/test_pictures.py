"""The pictures of the screens are those of today's program; `make pictures` takes them anew."""

import pytest

from tests.pictures import (
    README_FOLDER,
    TEST_FOLDER,
    Picture,
    compared_pictures,
    readme_pictures,
    take,
)


@pytest.mark.parametrize(
    ("name", "picture"), compared_pictures().items(), ids=list(compared_pictures())
)
def test_a_screen_looks_as_it_did(name: str, picture: Picture) -> None:
    before = (TEST_FOLDER / name).read_text()
    assert take(picture, as_text=name.endswith(".txt")) == before, "look at it: make pictures"


@pytest.mark.parametrize(
    ("name", "picture"), readme_pictures().items(), ids=list(readme_pictures())
)
def test_a_picture_in_the_readme_is_not_stale(name: str, picture: Picture) -> None:
    before = (README_FOLDER / name).read_text()
    assert take(picture, as_text=False) == before, "take it anew: make pictures"


def test_the_readme_shows_every_picture_that_is_taken_for_it() -> None:
    pages = (README_FOLDER.parents[1] / "README.md", README_FOLDER.parent / "wizard.md")
    text = "".join(page.read_text() for page in pages)
    assert {name for name in readme_pictures() if f"screens/{name}" not in text} == set()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_without_colour_everything_is_still_said(size: tuple[int, int]) -> None:
    name = f"strategy-no-color-{size[0]}x{size[1]}.svg"
    coloured = (TEST_FOLDER / name.replace("no-color", "dark")).read_text()
    plain = (TEST_FOLDER / name).read_text()
    assert _words(plain) == _words(coloured)
    assert {"✓", "▸", "●", "┃"} <= set(plain)


def _words(svg: str) -> list[str]:
    """What is written in a picture, without its colours and places."""
    import re

    return re.sub(r"\s+|&#160;", "", "".join(re.findall(r">([^<]+)</text>", svg))).split("│")
