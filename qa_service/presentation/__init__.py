"""Formats answers and runs for people: numbers, charts, text."""
