"""How fast the wizard answers; `python -m tests.benchmarks.wizard`."""
