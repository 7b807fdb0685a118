"""Measurements, each side by side with an alternative in the same run: `python -m bench [NAME …]`.

Machines are shared and noisy: quote medians and ratios, never one absolute time.
"""
