"""Finds the entries that answer a question: encoder, classifier, index of phrasings."""
