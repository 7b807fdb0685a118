"""Answers questions: decides which entry answers, plans its runs and executes them."""
