"""fsft: plan a fine-tuning run, write it down as a recipe, and run it end to end."""

from importlib.metadata import version

__version__ = version("fsft")
