"""Default limits of a trial of a user's model, which the command line shows without importing the trial itself."""

DEFAULT_STEPS = 100
"""The number of training steps."""
DEFAULT_DEADLINE_SECONDS = 120.0
"""The time limit of the whole trial, in seconds."""
DEFAULT_MEMORY_MIB = 4096
"""The memory limit of the child process, in MiB."""
