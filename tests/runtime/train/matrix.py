"""`python -m tests.runtime.train.matrix > docs/equivalence.md`: each layout and one process."""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

from fsft.runtime.run_directory import RunDirectory
from tests.runtime.train.deviations import BOUNDS, Deviations, deviations
from tests.runtime.train.layouts import (
    DTYPES,
    GLOBAL_BATCH,
    LAYOUTS,
    SUBJECTS,
    Layout,
    Subject,
    matrix,
)
from tests.runtime.train.training import trained

TEXT = f"""\
# Layouts, proven equal to one process

Each cell is a real training of three steps on CPU: {GLOBAL_BATCH} rows a step, gradients
accumulated and clipped, AdamW, a tiny model. It is held against one process without ZeRO, on the
same seed and data. The number is the largest relative deviation found, of any step's loss or
gradient norm or of a final weight matrix; 0 is equal to the last bit. `make test-all` runs them
all and demands at most
{BOUNDS["float32"].loss:.0e} of losses, {BOUNDS["float32"].grad_norm:.0e} of gradient norms and \
{BOUNDS["float32"].weights:.0e} of weights in float32
({BOUNDS["bfloat16"].loss:.0e}, {BOUNDS["bfloat16"].grad_norm:.0e} and \
{BOUNDS["bfloat16"].weights:.0e} in bfloat16, where sums in another order round otherwise).

This page is written by `python -m tests.runtime.train.matrix`. `--only` and `--subject` leave some
out: – was not run for this page. An empty cell is not legal, or one in which routers of experts
choose otherwise because sums are rounded otherwise.
"""


def main() -> None:
    """Train all of them, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="layouts whose name holds this")
    parser.add_argument("--subject", default="", help='as in "llama, packed"; all by default')
    options = parser.parse_args()
    found: dict[tuple[Layout, Subject], Deviations] = {}
    with tempfile.TemporaryDirectory() as folder:
        references = {}
        for number, (layout, subject) in enumerate(matrix()):
            if options.only not in layout.name or options.subject not in subject.name:
                continue
            if subject not in references:
                references[subject] = _run(Path(folder) / f"alone-{number}", subject.alone, subject)
            run = _run(Path(folder) / f"run-{number}", layout, subject)
            # DeepSpeed tells on standard output what it reads.
            with redirect_stdout(sys.stderr):
                found[layout, subject] = deviations(references[subject], run)
            print(layout.name, "|", subject.name, "|", *found[layout, subject], file=sys.stderr)
    print(page(found), end="")


def page(found: Mapping[tuple[Layout, Subject], Deviations]) -> str:
    """The page, as markdown."""
    parts, legal = [TEXT], set(matrix())
    for dtype in DTYPES:
        own = {subject for _, subject in found if subject.dtype == dtype}
        subjects = [subject for subject in SUBJECTS if subject in own]
        heads = [f"{subject.model}, {subject.rows}" for subject in subjects]
        if not subjects:
            continue
        parts += [f"\n## {dtype}\n", "| layout | processes | " + " | ".join(heads) + " |"]
        parts.append("|---" * (len(heads) + 2) + "|")
        for layout in LAYOUTS:
            cells = [
                _cell(found.get((layout, subject)), is_legal=(layout, subject) in legal)
                for subject in subjects
            ]
            if any(cells):
                shown = " | ".join(cells)
                parts.append(f"| {layout.name} | {layout.num_processes} | {shown} |")
    return "\n".join(parts) + "\n"


def _run(folder: Path, layout: Layout, subject: Subject) -> RunDirectory:
    overrides = (*layout.overrides, *subject.overrides)
    return trained(folder, *overrides, num_processes=layout.num_processes)


def _cell(found: Deviations | None, *, is_legal: bool) -> str:
    if found is None:
        return "–" if is_legal else ""
    return f"{max(found):.0e}" if max(found) else "0"


if __name__ == "__main__":
    main()
