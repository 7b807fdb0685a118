"""`numstab chat`: a conversation in the terminal, each question asked in the context of the previous answer."""

import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from dataclasses import replace
from typing import Any

from qa_service.answering.service import Service
from qa_service.errors import NumstabError
from qa_service.fronts.terminal import ask, options
from qa_service.model import Context, Lang, Request, Text

_WELCOME = Text(
    "用中文或英文提问，可以接着问（“那换成加法呢”）。/help 看命令，/quit 或 Ctrl-D 离开，Ctrl-C 停下正在跑的实验。",
    "Ask in Chinese or English, and ask on (“and in float16?”). /help lists commands, /quit or Ctrl-D leaves, Ctrl-C "
    "stops the experiment that is running.",
)
_HELP = Text(
    "/seed N  换一个随机种子，把上一个问题再跑一遍\n/new     忘掉前面说过的，重新开始\n/quit    离开\n"
    "候选问题可以用编号选：2，或“第二个”。",
    "/seed N  asks the last question again with another seed\n/new     forgets what was said before\n/quit    leaves\n"
    "Pick one of several candidates by its number: 2, or “the second one”.",
)
_STARTED_AFRESH = Text("好，重新开始。", "Starting afresh.")
_STOPPED = Text("已停下。", "Stopped.")
_UNKNOWN_COMMAND = Text(
    "没有命令 {}。有 /help、/seed N、/new、/quit。", "There is no command {}. There are /help, /seed N, /new, /quit."
)
_NOTHING_YET = Text("还没有问过问题。", "No question has been asked yet.")


def add_commands(parsers: Any) -> None:
    """Adds the command `chat`."""
    parser: ArgumentParser = parsers.add_parser("chat", help="ask in a conversation, with follow-up questions")
    options.add_lang(parser)
    parser.add_argument("--seed", default="0", help="seed of the random numbers (default 0)")
    parser.add_argument("--no-run", action="store_true", help="text only: run no experiment")
    parser.set_defaults(run_with_service=run_with_service)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Reads and answers lines until the end of the input; an error does not change the state of the conversation."""
    with suppress(ImportError):
        import readline  # noqa: F401  # gives input() line editing and a history
    defaults = Request(question="", lang=arguments.lang, run=not arguments.no_run, brief=True)
    conversation = _Conversation(service, lang, defaults)
    conversation.seed = options.parse_seed(arguments.seed)
    if sys.stdin.isatty():
        options.print_line(_WELCOME[lang])
    while True:
        try:
            line = _read_line()
            if line is None or not conversation.handle(line):
                break
        except NumstabError as error:
            options.print_line(error[conversation.lang])
        except KeyboardInterrupt:
            options.print_line(f"\n{_STOPPED[conversation.lang]}")
    return options.EXIT_OK


def _read_line() -> str | None:
    """The next line that is not empty; None at the end of input. Ctrl-C discards the line being typed.

    If the input is not a terminal, the line is echoed, so that the output reads as a conversation.
    """
    interactive = sys.stdin.isatty()
    while True:
        try:
            line = input("\n? " if interactive else "").strip()
        except EOFError:
            return None
        except KeyboardInterrupt:
            options.print_line("")
            continue
        if line and not interactive:
            options.print_line(f"\n? {line}")
        if line:
            return line


class _Conversation:
    """The state between questions: language, seed, context of the last answer, last question."""

    def __init__(self, service: Service, lang: Lang, defaults: Request) -> None:
        self.service, self.lang, self.defaults = service, lang, defaults
        self.seed = 0
        self.context: Context | None = None
        self.last_question: tuple[str, Context | None] | None = None  # with the context in which it was asked

    def handle(self, line: str) -> bool:
        """Answers a question or executes a /command; returns False to quit. Raises `NumstabError`."""
        match line.split():
            case ["/quit" | "/exit"]:
                return False
            case ["/help"]:
                options.print_line(_HELP[self.lang])
            case ["/new"]:
                self.context = self.last_question = None
                options.print_line(_STARTED_AFRESH[self.lang])
            case ["/seed", word]:
                self.seed = options.parse_seed(word)
                if self.last_question is None:
                    options.print_line(_NOTHING_YET[self.lang])
                else:
                    self._ask(*self.last_question)
            case [str(word), *_] if word.startswith("/"):
                options.print_line(_UNKNOWN_COMMAND[self.lang].format(word))
            case _:
                self._ask(line, self.context)
        return True

    def _ask(self, question: str, context: Context | None) -> None:
        request = replace(self.defaults, question=question, seed=self.seed, context=context)
        answer = ask.print_answer(request, self.service)
        self.lang, self.context, self.last_question = answer.lang, answer.context, (question, context)
