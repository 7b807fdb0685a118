"""Measurements, side by side with an alternative in the same run: python -m bench NAME."""
