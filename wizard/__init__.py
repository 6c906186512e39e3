"""Asks a person about a run and writes the recipe. Never imports torch or the runtime."""

import os

# Textual paints this often in a second at most. At its own 60, a third of the time between a key
# and the repainted plan would be waiting for the next turn.
os.environ.setdefault("TEXTUAL_FPS", "120")
