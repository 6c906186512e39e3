"""The draft on disk, so that nothing typed is lost."""

import hashlib
import json
import os
from pathlib import Path
from types import MappingProxyType

from fsft.wizard.draft import Draft, Opened
from fsft.wizard.questions import BY_KEY


def draft_file(opened: Opened | None) -> Path:
    """Where the draft of a recipe, or of this folder's new one, is kept."""
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    subject = opened.path.resolve() if opened else Path.cwd()
    digest = hashlib.sha256(str(subject).encode()).hexdigest()[:16]
    kind = "recipe" if opened else "new"
    return Path(home).expanduser() / "fsft" / "drafts" / f"{kind}-{digest}.json"


def keep(draft: Draft) -> None:
    """Write the draft down, or forget it where there is nothing to keep. Raises OSError."""
    file = draft_file(draft.opened)
    if not draft.answers:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = {"answers": dict(draft.answers)}
    partial = file.with_suffix(f".{os.getpid()}")
    try:
        # Escaped, for half a character can be typed, and UTF-8 has no form for it.
        partial.write_text(json.dumps(kept), encoding="utf-8")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def kept_draft(opened: Opened | None) -> Draft | None:
    """The draft that was left behind, None where there is none.

    Its answers are laid over the recipe as it is now, whatever it was when they were given.
    """
    try:
        answers = json.loads(draft_file(opened).read_text(encoding="utf-8"))["answers"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(answers, dict):
        return None
    known = {k: v for k, v in answers.items() if k in BY_KEY and isinstance(v, str)}
    return Draft(MappingProxyType(known), opened) if known else None


def is_kept(draft: Draft) -> bool:
    """Whether these answers, and not those of another wizard, are what is kept."""
    kept = kept_draft(draft.opened)
    return kept is not None and kept.answers == draft.answers


def forget(opened: Opened | None) -> None:
    """There is nothing left to go on with. Raises OSError."""
    draft_file(opened).unlink(missing_ok=True)
