"""Diagnosis of a training run: reads it, says what goes wrong, weighs the causes, and reports."""
