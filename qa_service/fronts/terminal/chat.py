"""numstab chat: a conversation in the terminal, each question in the context of the answer before it."""

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
_FORGOTTEN = Text("好，重新开始。", "Starting afresh.")
_STOPPED = Text("已停下。", "Stopped.")
_UNKNOWN = Text(
    "没有命令 {}。有 /help、/seed N、/new、/quit。", "There is no command {}. There are /help, /seed N, /new, /quit."
)
_NOTHING_YET = Text("还没有问过问题。", "No question has been asked yet.")


def add_commands(parsers: Any) -> None:
    """Adds `chat`."""
    parser: ArgumentParser = parsers.add_parser("chat", help="a conversation in the terminal")
    options.add_lang(parser)
    parser.add_argument("--seed", default="0", help="seed of the random numbers (default 0)")
    parser.add_argument("--no-run", action="store_true", help="text only: run no experiment")
    parser.set_defaults(carry_out=carry_out)


def carry_out(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Until the end of the input; what goes wrong with one question leaves the conversation as it was."""
    with suppress(ImportError):
        import readline  # noqa: F401  # input() then has a history and can be edited
    talk = _Talk(service, lang, defaults=Request(question="", lang=arguments.lang, run=not arguments.no_run))
    talk.seed = options.seed(arguments.seed)
    if sys.stdin.isatty():
        options.say(_WELCOME[lang])
    while True:
        try:
            line = _heard()
            if line is None or not talk.take(line):
                break
        except NumstabError as error:
            options.say(error[talk.lang])
        except KeyboardInterrupt:
            options.say(f"\n{_STOPPED[talk.lang]}")
    return options.DONE


def _heard() -> str | None:
    """The next line, None at the end. At a terminal Ctrl-C empties the line; elsewhere the line is shown again."""
    asks = sys.stdin.isatty()
    while True:
        try:
            line = input("\n? " if asks else "").strip()
        except EOFError:
            return None
        except KeyboardInterrupt:
            options.say("")
            continue
        if line and not asks:
            options.say(f"\n? {line}")
        if line:
            return line


class _Talk:
    def __init__(self, service: Service, lang: Lang, defaults: Request) -> None:
        self.service, self.lang, self.defaults = service, lang, defaults
        self.seed = 0
        self.context: Context | None = None
        self.asked: tuple[str, Context | None] | None = None  # the last question, and what it was asked in

    def take(self, line: str) -> bool:
        """A question or a command; False to leave. Raises `NumstabError`."""
        match line.split():
            case ["/quit" | "/exit"]:
                return False
            case ["/help"]:
                options.say(_HELP[self.lang])
            case ["/new"]:
                self.context = self.asked = None
                options.say(_FORGOTTEN[self.lang])
            case ["/seed", word]:
                self.seed = options.seed(word)
                if self.asked is None:
                    options.say(_NOTHING_YET[self.lang])
                else:
                    self._ask(*self.asked)
            case [str(word), *_] if word.startswith("/"):
                options.say(_UNKNOWN[self.lang].format(word))
            case _:
                self._ask(line, self.context)
        return True

    def _ask(self, question: str, context: Context | None) -> None:
        request = replace(self.defaults, question=question, seed=self.seed, context=context)
        answer = ask.show(request, self.service)
        self.lang, self.context, self.asked = answer.lang, answer.context, (question, context)
