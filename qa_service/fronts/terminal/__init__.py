"""The terminal: ask, run, entries, experiments, check."""

from typing import Any

from qa_service.fronts.terminal import ask, check, lists, run


def add_commands(parsers: Any) -> None:
    """Adds each command with its options and the function that carries it out."""
    for command in (ask, run, check, lists):
        command.add_commands(parsers)


__all__ = ["add_commands"]
