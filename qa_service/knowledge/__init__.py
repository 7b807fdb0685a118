"""The knowledge base: entries and subjects, read from kb/."""
