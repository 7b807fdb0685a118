"""Experiments run in child processes."""
