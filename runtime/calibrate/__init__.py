"""Measures what this machine can do, for the planner: one file for each measurement."""
