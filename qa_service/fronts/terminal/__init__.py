"""The terminal: ask, chat, run, formula, check, replay, export, eval, gaps, kb, keys, entries, experiments, try."""

from typing import Any

from qa_service.fronts.terminal import (
    ask,
    chat,
    check,
    evaluate,
    export,
    formula,
    gaps,
    kb,
    keys,
    listing,
    replay,
    run,
    try_model,
)


def add_commands(parsers: Any) -> None:
    """Adds each command with its options and the function that runs it (`run_with_service` or `run_with_settings`)."""
    for command in (ask, chat, run, formula, check, replay, export, evaluate, gaps, kb, keys, listing, try_model):
        command.add_commands(parsers)


__all__ = ["add_commands"]
