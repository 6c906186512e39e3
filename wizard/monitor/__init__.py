"""Watching a run from a terminal."""
