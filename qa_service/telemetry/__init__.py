"""Logs, traces and timings."""
