"""Reads the knowledge base: entries and subjects from kb/."""
