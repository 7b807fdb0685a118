"""Runs experiments in child processes."""
