"""TOML in colour."""

import re

from textual.content import Content

from fsft.wizard.widgets.text import visible

_LINE = re.compile(r"^(?P<key>[\w.\"-]+) = (?P<value>.*)$")


def toml_lines(text: str) -> list[Content]:
    """Each line of a TOML text: comments dim, headings bold, values in colour."""
    return [_line(visible(line)) for line in text.splitlines()]


def diff_lines(lines: list[str]) -> list[Content]:
    """Each line of a unified diff; the signs at the front say the same without colour."""
    if not lines:
        return [Content.styled("No difference from the file on disk.", "dim")]
    colours = {"+": "$success", "-": "$error", "@": "$primary"}
    return [Content.styled(visible(line), colours.get(line[:1], "")) for line in lines]


def _line(line: str) -> Content:
    if line.startswith("#"):
        return Content.styled(line, "dim")
    if line.startswith("["):
        return Content.styled(line, "bold $primary")
    if match := _LINE.match(line):
        return Content.assemble(match["key"], " = ", (match["value"], "$accent"))
    return Content(line)
