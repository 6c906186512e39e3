"""Measures what this machine can do, for the planner."""
