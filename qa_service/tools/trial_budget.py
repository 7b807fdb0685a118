"""Default limits of a trial of a user's model, which the command line shows without importing the trial itself."""

STEPS = 100
"""Training steps."""
DEADLINE = 120.0
"""Seconds for the whole trial."""
MEMORY = 4096
"""MiB of memory of the child process."""
