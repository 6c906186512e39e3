"""Memory, time and cost of a run, by formula."""
