"""Tools for authors and operators, behind the commands check, replay, export, eval, gaps and doctor."""
