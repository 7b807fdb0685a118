"""The command line, `numstab` or `python -m qa_service`: parses arguments, runs a command, prints errors."""

import atexit
import gc
import os
import re
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn

from qa_service import __version__
from qa_service.errors import BadContent, BadField, MissingPackage, NumstabError
from qa_service.model import Lang

_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
_CHECK_DEADLINE = 60.0  # seconds of a run, at least, in commands that make many

# argparse has English messages only; these are translations of those that users see.
_ARGPARSE_ZH = (
    (r"the following arguments are required: (.+)", r"缺少：\1"),
    (r"unrecognized arguments: (.+)", r"不认识的选项或多余的词：\1"),
    (r"argument (.+): invalid choice: (.+) \(choose from (.+)\)", r"\1 不能是 \2，可选：\3"),
    (r"argument (.+): expected one argument", r"\1 后面要有一个值"),
    (r"argument (.+): ignored explicit argument (.+)", r"\1 不带值，多了 \2"),
    (r"ambiguous option: (.+) could match (.+)", r"\1 不够明确，可能是 \2"),
)


class _BilingualParser(ArgumentParser):
    """Raises `BadField` with the message in both languages instead of exiting."""

    def error(self, message: str) -> NoReturn:
        message_zh = next((re.sub(en, zh, message) for en, zh in _ARGPARSE_ZH if re.fullmatch(en, message)), message)
        raise BadField(zh=f"{message_zh}\n{self.format_usage()}", en=f"{message}\n{self.format_usage()}")


def run() -> NoReturn:
    """The entry point of the program: runs `main` and exits with its status by `os._exit`.

    This skips the deallocation of every object at interpreter shutdown, which takes longer than many a command. Exits
    the ordinary way if a thread that is no daemon is alive, or if the output cannot be flushed.
    """
    status = main()
    if all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        with suppress(OSError):  # a full disk, for example: the ordinary exit below reports it
            sys.stdout.flush()
            sys.stderr.flush()
            atexit._run_exitfuncs()  # noqa: SLF001  # which `os._exit` skips
            os._exit(status)
    sys.exit(status)


def main(argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> int:
    """Runs one command; returns its exit status: 2 for an error, 130 for an interrupt, else the command's."""
    env = os.environ if env is None else env
    if argv is None:
        gc.disable()  # until the command begins: objects made by imports and by reading kb/ stay alive anyway
        argv = sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):  # characters that the terminal cannot encode are escaped
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    lang = _message_language(argv, env)
    try:
        return _run_command(argv, env, lang)
    except BadContent as error:
        print(error[lang], file=sys.stderr)
        return _EXIT_USAGE
    except NumstabError as error:
        print(f"numstab: {error[lang]}", file=sys.stderr)
        return _EXIT_USAGE
    except ModuleNotFoundError as error:  # a package of an extra of numstab-core that is not installed
        if (missing := MissingPackage.from_import(error)) is None:
            raise
        print(f"numstab: {missing[lang]}", file=sys.stderr)
        return _EXIT_USAGE
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # the consumer of our output has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


def _run_command(argv: Sequence[str], env: Mapping[str, str], lang: Lang) -> int:
    """Parses the arguments and runs the command, with a service unless it needs only the settings."""
    from qa_service.app import add_core_commands, fronts
    from qa_service.settings import Settings

    parser = _BilingualParser(
        prog="numstab", description="Questions about numerical stability, answered with live evidence."
    )
    parser.add_argument("--version", action="version", version=f"numstab {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for front in fronts():
        if hasattr(front, "add_commands"):
            front.add_commands(commands)
    add_core_commands(commands)
    arguments = parser.parse_args(argv)
    arguments.env = env
    settings = arguments.settings = Settings.load(env)
    if hasattr(arguments, "run_with_settings"):
        gc.enable()
        return int(arguments.run_with_settings(arguments, settings))
    from qa_service.answering.composition import build
    from qa_service.lab.runner import CLI_PRELOAD, SERVER_PRELOAD

    if is_check := getattr(arguments, "many_runs", False):  # so that no verdict depends on the machine's speed
        settings = replace(settings, deadline=max(settings.deadline, _CHECK_DEADLINE))
    many_runs = is_check or getattr(arguments, "batch", None)
    warm = None if getattr(arguments, "no_run", False) else SERVER_PRELOAD if many_runs else CLI_PRELOAD
    service = build(settings, warm=warm, many_runs=bool(many_runs))
    gc.freeze()
    gc.enable()
    return int(arguments.run_with_service(arguments, service, lang))


def _message_language(argv: Sequence[str], env: Mapping[str, str]) -> Lang:
    """The language of errors: --lang, else Chinese if an argument or the locale is Chinese, else English."""
    for index, argument in enumerate(argv):
        if (argument == "--lang" and argv[index + 1 : index + 2] == ["zh"]) or argument == "--lang=zh":
            return "zh"
        if argument == "--lang" or argument.startswith("--lang="):
            return "en"
    if any("\u3400" <= character <= "\u9fff" for argument in argv for character in argument):
        return "zh"
    locale = env.get("LC_ALL") or env.get("LC_MESSAGES") or env.get("LANG") or ""
    return "zh" if locale.startswith("zh") else "en"


if __name__ == "__main__":
    run()
