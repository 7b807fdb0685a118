"""The terminal: one module for each command, or for a few that belong together."""

from typing import Any

from qa_service.fronts.terminal import (
    ask,
    chat,
    check,
    diagnose,
    evaluate,
    export,
    formula,
    gaps,
    kb,
    keys,
    listing,
    replay,
    run,
    trace,
    try_model,
)


def add_commands(parsers: Any) -> None:
    """Adds each command with its options and the function that runs it (`run_with_service` or `run_with_settings`).

    The former needs a service; the latter only the settings.
    """
    for command in (
        ask,
        chat,
        run,
        formula,
        diagnose,
        try_model,
        check,
        replay,
        export,
        evaluate,
        gaps,
        kb,
        keys,
        trace,
        listing,
    ):
        command.add_commands(parsers)


__all__ = ["add_commands"]
