"""Writing the recipe: whole or not at all, and over nothing that somebody else wrote."""

import difflib
import os
import tempfile
from pathlib import Path
from shlex import quote

from fsft.recipes.problems import Problem, RecipeError
from fsft.wizard.draft import Draft

STDOUT = "-"


class Standing(RecipeError):
    """Another text stands where the recipe should go; a person has to decide."""


def save(draft: Draft, out: str, text: str, *, overwrite: bool = False) -> Path:
    """Write `text` to the file `out`.

    Raises Standing where a file stands there that is not the one that was opened, or no longer the
    same, unless `overwrite`; RecipeError where it cannot be written.
    """
    path = _path(out)
    try:
        standing = _standing(path)
        if standing is not None and standing != text and not overwrite:
            _refuse_unknown(draft, path, standing)
        if standing != text:
            _replace(path, text)
    except OSError as error:
        raise RecipeError(
            Problem(
                file=out,
                reason=f"cannot be written: {error.strerror}. Nothing was changed.",
                example="another file for --out",
            )
        ) from None
    return path


def difference(draft: Draft, out: str, text: str) -> list[str]:
    """What the file on disk would change by, as a unified diff; for a new file, nothing."""
    try:
        before = _standing(_path(out))
    except (OSError, RecipeError):
        before = None
    if before is None:
        before = draft.opened.text if draft.opened else text
    lines = difflib.unified_diff(
        before.splitlines(), text.splitlines(), f"{out} (on disk)", out, lineterm="", n=2
    )
    return list(lines)


def run_command(out: str) -> str:
    """The command that runs the recipe."""
    return f"fsft run {quote(out)}"


def _refuse_unknown(draft: Draft, path: Path, standing: str) -> None:
    opened = draft.opened
    if opened is None or opened.path.resolve() != path.resolve():
        raise Standing(Problem(file=str(path), reason="exists already."))
    if opened.text != standing:
        raise Standing(Problem(file=str(path), reason="was changed since it was opened."))


def _path(out: str) -> Path:
    """`~` is the home folder; raises RecipeError where there is none."""
    try:
        return Path(out).expanduser()
    except RuntimeError:
        raise RecipeError(Problem(file=out, reason="there is no such home folder.")) from None


def _standing(path: Path) -> str | None:
    """The text that is there; None where there is no file.

    Raises RecipeError where something else is there: a folder, a device.
    """
    if path.exists() and not path.is_file():
        raise RecipeError(Problem(file=str(path), reason="is not a file.", example="my-run.toml"))
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _replace(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, never a part; a link stays a link."""
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(mode)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _umask() -> int:
    """What new files are not allowed; it can only be asked for by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
