"""Answers and runs as people read them: numbers, charts, text."""
