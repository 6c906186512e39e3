"""Image files are known from their headers, and whatever is wrong with one names it."""

import base64
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from fsft.recipes.schema import Source
from fsft.runtime.data.images.files import (
    image_folder,
    image_size,
    is_image,
    load_image,
    located,
    places_of,
)
from tests.runtime.data.images.models import picture

ENDINGS = ("png", "jpg", "webp", "gif", "bmp", "tiff")


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_size_is_that_of_the_image(ending: str, tmp_path: Path) -> None:
    place = str(picture(tmp_path / f"一 张.{ending}", 50, 30))
    assert image_size(place) == (50, 30)
    assert load_image(place).size == (50, 30)
    assert load_image(place).mode == "RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
def test_images_are_counted_the_right_side_up(
    ending: str, orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    place = str(picture(tmp_path / f"one.{ending}", 50, 30, exif=exif))
    assert image_size(place) == load_image(place).size
    assert image_size(place) == ((30, 50) if orientation >= 5 else (50, 30))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_was_cut_off_is_named(ending: str, tmp_path: Path) -> None:
    path = picture(tmp_path / f"cut.{ending}", 100, 100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"the image `.*cut\.{ending}` cannot be read"):
        image_size(str(path))
    assert not is_image(str(path))


def test_an_image_with_something_behind_it_is_read(tmp_path: Path) -> None:
    path = picture(tmp_path / "long.jpg", 20, 20)
    path.write_bytes(path.read_bytes() + b"\0" * 5000)
    assert image_size(str(path)) == (20, 20)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "it is no image"), (b"GIF is what I am not", "it is no image"), (None, "No such file")],
)
def test_what_is_no_image_is_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    if content is not None:
        path.write_bytes(content)
    for read in (image_size, load_image):
        with pytest.raises(ValueError, match=rf"one\.png` cannot be read: .*{reason}"):
            read(str(path))


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        image_size(str(tmp_path))


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [20_000, 14_000, 100_000])
def test_a_gigantic_image_is_named_before_it_unfolds(side: int, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(_png(side, side))
    with pytest.raises(ValueError, match=r"bomb\.png` is gigantic: more than 178,956,970 pixels"):
        image_size(str(tmp_path / "bomb.png"))


def test_a_large_image_is_no_gigantic_one(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(_png(13_000, 13_000))
    assert image_size(str(tmp_path / "large.png")) == (13_000, 13_000)


def test_an_image_without_pixels_is_named(tmp_path: Path) -> None:
    (tmp_path / "flat.png").write_bytes(_png(0, 10))
    with pytest.raises(ValueError, match=r"flat\.png`"):
        image_size(str(tmp_path / "flat.png"))


def test_images_in_urls_are_read(tmp_path: Path) -> None:
    path = picture(tmp_path / "one.png", 5, 7)
    inside = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    assert image_size(inside) == (5, 7)
    assert load_image(f"file://{path}").size == (5, 7)
    with pytest.raises(ValueError, match="the image given as data: cannot be read"):
        image_size(inside[:-5])
    with pytest.raises(ValueError, match=r"the image `file://.*none\.png`: there is no such"):
        image_size(f"file://{tmp_path}/none.png")


@pytest.mark.parametrize(
    ("path", "images", "file", "place"),
    [
        ("/d/a.jsonl", None, "/d/a.jsonl", "/d/x/1.jpg"),
        ("/d/a.jsonl", "/pics", "/d/a.jsonl", "/pics/x/1.jpg"),
        ("s3://b/d/a.jsonl", None, "s3://b/d/a.jsonl", "s3://b/d/x/1.jpg"),
        ("s3://b/d/a.jsonl", "gs://p", "s3://b/d/a.jsonl", "gs://p/x/1.jpg"),
    ],
)
def test_names_are_relative_to_the_folder_of_the_file_or_of_images(
    path: str, images: str | None, file: str, place: str
) -> None:
    source = Source(path=path, images=images)
    assert places_of(["x/1.jpg"], file, source) == (place,)
    for whole in ("/else/1.jpg", "https://h/1.jpg", "data:image/png;base64,AA"):
        assert places_of([whole], file, source) == (whole,)


def test_names_in_a_file_of_a_folder_are_relative_to_that_file(tmp_path: Path) -> None:
    source = Source(path=str(tmp_path))
    (place,) = places_of(["1.jpg"], f"{tmp_path}/deep/er/a.jsonl", source)
    assert place == f"{tmp_path}/deep/er/1.jpg"
    assert place == located("deep/er/1.jpg", image_folder(source))


def test_pixels_are_not_read_to_know_a_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("pixels were read")

    place = str(picture(tmp_path / "one.jpg", 300, 200))
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert image_size(place) == (300, 200)
