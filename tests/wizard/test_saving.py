"""The recipe on disk: whole or not at all."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsft.recipes.problems import RecipeError
from fsft.wizard.draft import Draft, open_recipe
from fsft.wizard.saving import Standing, difference, run_command, save

OLD, NEW = "name = 'old'\r\n", "name = 'new'\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A recipe that stands there."""
    file = tmp_path / "r.toml"
    file.write_bytes(OLD.encode())
    return file


def refused(out: Path | str, *, overwrite: bool = False) -> str:
    """Why a recipe cannot be written there."""
    with pytest.raises(RecipeError) as caught:
        save(Draft(), str(out), NEW, overwrite=overwrite)
    return str(caught.value)


def test_a_new_file_holds_the_text_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = save(Draft(), str(tmp_path / "r.toml"), OLD)
    assert path.read_bytes() == OLD.encode()
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_text_is_not_written_again(file: Path) -> None:
    os.utime(file, (1, 1))
    inode = file.stat().st_ino
    save(Draft(), str(file), OLD)
    assert (file.stat().st_mtime, file.stat().st_ino) == (1, inode)


def test_another_file_that_stands_there_is_not_written_over_unless_asked(file: Path) -> None:
    with pytest.raises(Standing, match="exists already"):
        save(Draft(), str(file), NEW)
    assert file.read_bytes() == OLD.encode()
    save(Draft(), str(file), NEW, overwrite=True)
    assert file.read_text() == NEW


def test_the_opened_file_is_written_over_unless_it_was_changed_since(file: Path) -> None:
    draft = Draft(opened=open_recipe(file))
    file.write_text("name = 'theirs'")
    with pytest.raises(Standing, match="changed since"):
        save(draft, str(file), NEW)
    assert file.read_text() == "name = 'theirs'"
    file.write_bytes(OLD.encode())
    save(draft, str(file), NEW)
    assert file.read_text() == NEW


def test_a_file_that_is_no_text_is_not_written_over(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\0")
    assert "exists already" in refused(file)
    assert file.read_bytes() == b"\xff\xfe\0"


def test_a_link_stays_a_link_and_a_file_keeps_its_mode(file: Path) -> None:
    link = file.with_name("link.toml")
    link.symlink_to(file)
    file.chmod(0o600)
    save(Draft(), str(link), NEW, overwrite=True)
    assert link.is_symlink()
    assert file.read_text() == NEW
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_opened_file_may_be_reached_by_another_name(file: Path) -> None:
    link = file.with_name("link.toml")
    link.symlink_to(file)
    save(Draft(opened=open_recipe(link)), str(file), NEW)
    assert file.read_text() == NEW


@pytest.mark.parametrize("overwrite", [True, False])
def test_where_no_file_can_be_the_reason_is_told_and_nothing_is_left(
    file: Path, *, overwrite: bool
) -> None:
    folder = file.parent
    assert "No such file or directory" in refused(folder / "none" / "r.toml", overwrite=overwrite)
    assert "Not a directory" in refused(file / "r.toml", overwrite=overwrite)
    assert "File name too long" in refused(folder / ("x" * 300), overwrite=overwrite)
    assert "is not a file" in refused(folder, overwrite=overwrite)
    assert "is not a file" in refused("/dev/null", overwrite=overwrite)
    assert "home folder" in refused("~nobody-at-all/r.toml", overwrite=overwrite)
    assert list(folder.iterdir()) == [file]


def test_a_folder_that_may_not_be_written_to_is_named(file: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    file.parent.chmod(0o500)
    try:
        assert "Permission denied" in refused(file.parent / "new.toml")
    finally:
        file.parent.chmod(0o700)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with no space left."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "full"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_on_a_full_disk_the_old_file_stays_whole(full_disk: Path) -> None:
    file = full_disk / "r.toml"
    file.write_bytes(OLD.encode())
    (full_disk / "ballast").write_bytes(b"\0" * shutil.disk_usage(full_disk).free)
    with pytest.raises(RecipeError, match="No space left on device"):
        save(Draft(), str(file), "x" * 100_000, overwrite=True)
    assert file.read_bytes() == OLD.encode()
    assert len(list(full_disk.iterdir())) == 2


def test_the_difference_is_told_from_the_file_on_disk(file: Path, tmp_path: Path) -> None:
    lines = difference(Draft(), str(file), NEW)
    assert "-name = 'old'" in lines
    assert "+name = 'new'" in lines
    assert difference(Draft(), str(tmp_path / "none.toml"), NEW) == []
    assert difference(Draft(), "~nobody-at-all/r.toml", NEW) == []
    other = difference(Draft(opened=open_recipe(file)), str(tmp_path / "none.toml"), NEW)
    assert "-name = 'old'" in other


def test_a_file_with_spaces_is_quoted_in_the_command() -> None:
    assert run_command("my run.toml") == "fsft run 'my run.toml'"
