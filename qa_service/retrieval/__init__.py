"""A question → the entries that answer it."""
