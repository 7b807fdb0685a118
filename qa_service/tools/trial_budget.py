"""What a trial of a reader's model may use unless it is told otherwise."""

STEPS = 100
"""Steps of training."""
DEADLINE = 120.0
"""Seconds for all of it."""
MEMORY = 4096
"""MiB."""
