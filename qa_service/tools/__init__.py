"""What authors and operators use: check, replay, export, eval, gaps, doctor."""
