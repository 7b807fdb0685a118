"""Default limits of a trial of a user's model, which the command line shows without importing the trial itself."""

DEFAULT_STEPS = 100
"""Training steps."""
DEFAULT_DEADLINE_SECONDS = 120.0
"""Seconds for the whole trial."""
DEFAULT_MEMORY_MIB = 4096
"""MiB of memory of the child process."""
