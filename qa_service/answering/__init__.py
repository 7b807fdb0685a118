"""A question → an answer and the runs that support it."""
