"""Benchmarks, each with an alternative measured in the same run: `python -m bench [NAME …]`.

Machines are shared and noisy: quote medians and ratios, never a single absolute time.
"""
