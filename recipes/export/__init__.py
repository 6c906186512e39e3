"""A recipe as the job file of a scheduler."""
