"""All that can be known about a run without running it. Imports neither torch nor textual."""
