"""Parses the declarations of demo files, and validates values for the parameters of their experiments."""
