"""Rows done, and the time that is left."""

import pytest

from fsft.cli import row_progress


def test_without_a_terminal_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 0.0, 5.0, 20.0, 20.0, 31.0])
    monkeypatch.setattr(row_progress.time, "monotonic", lambda: next(clock))
    with row_progress.row_progress() as tell:
        tell("read", 0, 4_000_000)
        tell("read", 500_000, 4_000_000)
        tell("read", 1_000_000, 4_000_000)
        tell("write", 100, 4_000_000)
        tell("write", 2_000_000, 4_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["read: 1M of 4M rows, 60 s left", "write: 2M of 4M rows, 11 s left"]
