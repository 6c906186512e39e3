"""Asks a person about a run and writes the recipe. Never imports torch or the runtime."""
