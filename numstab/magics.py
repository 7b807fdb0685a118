"""IPython: `%numstab QUESTION`, `%%numstab` with the question in the cell, and completion of experiments' names.

%numstab why does the loss become nan
%numstab --lang zh --seed 3 0.9 连乘 200 次
%numstab run pow_vs_sum n=200 x=0.9
"""

import re
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Iterable
from functools import cache
from typing import Any, NoReturn

import numstab
from numstab.client import bilingual_tracebacks
from numstab.results import Answer, Run
from qa_service.errors import BadField
from qa_service.schemas.allowed import check_seed, check_seeds

_OPTION = re.compile(r"\s*(--no-run|--[a-z]+(?:\s*=\s*|\s+)\S+)(?=\s|$)")
_RUN = re.compile(r"run\s+(\w+)((?:\s+\w+=\S+)*)\s*")
_USAGE = "%numstab [--lang zh|en] [--seed N] [--seeds N] [--entry ID] [--param NAME=VALUE] [--no-run] QUESTION"


class _Parser(ArgumentParser):
    """Raises `ArgumentError` instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise ArgumentError(None, message)


def add_magics(ipython: Any) -> None:
    """Registers the magics and the completers with an IPython shell."""
    ipython.register_magic_function(numstab_magic, magic_kind="line_cell", magic_name="numstab")
    if _keep_questions not in ipython.input_transformers_cleanup:
        ipython.input_transformers_cleanup.append(_keep_questions)
    ipython.set_hook("complete_command", _complete_magic, str_key="%numstab")
    ipython.set_hook("complete_command", _complete_call, re_key=r".*\bnumstab\.(run|compare)\(")


def _keep_questions(lines: list[str]) -> list[str]:
    """Takes the question mark off the end of a magic's line, which IPython would read as a call for help."""
    return [re.sub(r"^(\s*%numstab\s.*\w)\s*\?+\s*$", r"\1\n", line) for line in lines]


@bilingual_tracebacks()
def numstab_magic(line: str, cell: str | None = None) -> Answer | Run:
    """Answers the question of the line, or of the cell; `run EXPERIMENT NAME=VALUE …` runs an experiment.

    Options, before the question: --lang, --seed, --seeds, --entry, --param NAME=VALUE, --no-run.
    """
    options, rest = _read_options(line)
    question = "\n".join(filter(None, [rest, (cell or "").strip()]))
    params = _params(options.param)
    run = _RUN.fullmatch(question)
    if run and run[1] in _slugs():
        return numstab.run(run[1], options.seed, lang=options.lang, **params, **_params(run[2].split()))
    return numstab.ask(
        question,
        lang=options.lang,
        params=params,
        seed=options.seed,
        seeds=options.seeds,
        run=not options.no_run,
        entry=options.entry,
    )


def _read_options(line: str) -> tuple[Namespace, str]:
    """(options, the question behind them); a question may contain quotes and dashes."""
    words = []
    while found := _OPTION.match(line):
        words += re.split(r"\s*=\s*|\s+", found[1], maxsplit=1)
        line = line[found.end() :]
    parser = _Parser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--lang", choices=("zh", "en"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--entry")
    parser.add_argument("--param", action="append", default=[])
    parser.add_argument("--no-run", action="store_true")
    try:
        options = parser.parse_args(words)
    except ArgumentError as error:
        raise BadField(zh=f"选项有误（{error}）：{_USAGE}", en=f"{error}: {_USAGE}", field="%numstab") from None
    check_seed(options.seed)
    check_seeds(options.seeds)
    return options, line.strip()


def _params(pairs: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE pairs as a mapping of texts, which the experiment converts."""
    return dict(pair.partition("=")[::2] for pair in pairs)


def _complete_magic(_shell: Any, event: Any) -> list[str]:
    """Names of experiments behind `%numstab run`, its parameters behind the name; else the options."""
    words = event.line[: len(event.text_until_cursor)].split()
    if words[1:2] != ["run"]:
        return ["run", "--lang", "--seed", "--seeds", "--entry", "--param", "--no-run"]
    if len(words) > 2 and (len(words) > 3 or event.text_until_cursor.endswith(" ")):
        return [f"{name}=" for name in _slugs().get(words[2], ())]
    return list(_slugs())


def _complete_call(_shell: Any, event: Any) -> list[str]:
    """Names of experiments inside numstab.run(" and numstab.compare("."""
    quoted = re.search(r"numstab\.(?:run|compare)\(\s*([\"'])(\w*)$", event.text_until_cursor)
    return [slug for slug in _slugs() if slug.startswith(quoted[2])] if quoted else []


@cache
def _slugs() -> dict[str, tuple[str, ...]]:
    """Experiment → names of its parameters."""
    return {each["slug"]: tuple(each["params"]["properties"]) for each in numstab.experiments()}
