"""DeepSpeed's hostfile: a line `HOST slots=N` for each machine; # begins a comment."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fsft.recipes.problems import Problem, Refused

_LINE = re.compile(r"(?P<host>[^\s=-][^\s=]*)\s+slots=(?P<slots>[1-9]\d*)")


@dataclass(frozen=True)
class Host:
    """A machine, and how many processes it takes."""

    name: str
    slots: int


def read_hostfile(path: Path, *, nodes: int, devices_per_node: int) -> list[Host]:
    """The first `nodes` machines of the file; raises Refused with all that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error.reason
        example = "a file with a line HOST slots=N for each machine"
        raise Refused(
            Problem(file=str(path), reason=f"cannot be read: {why}.", example=example)
        ) from None
    numbered = list(_lines(text.splitlines()))
    problems: list[Problem] = []
    hosts: dict[str, Host] = {}
    for number, line in numbered:
        match = _LINE.fullmatch(line)
        reason = ""
        if match is None:
            reason = f"`{line}` is not HOST slots=N."
        elif match["host"] in hosts:
            reason = f"{match['host']} is named twice."
        elif int(match["slots"]) < devices_per_node:
            reason = f"{match['host']} has {match['slots']} slots, {devices_per_node} are needed."
        if reason:
            example = f"worker-1 slots={devices_per_node}"
            problems.append(Problem(file=str(path), line=number, reason=reason, example=example))
        if match:
            hosts.setdefault(match["host"], Host(match["host"], int(match["slots"])))
    if len(numbered) < nodes:
        problems.append(
            Problem(
                file=str(path),
                reason=f"names {len(numbered)} machines, hardware.nodes asks for {nodes}.",
                example=f"add a line for each, or --set hardware.nodes={len(numbered)}",
            )
        )
    if problems:
        raise Refused(*problems)
    return list(hosts.values())[:nodes]


def _lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=1):
        content = line.partition("#")[0].strip()
        if content:
            yield number, content
