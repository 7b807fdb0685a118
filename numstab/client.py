"""The client: turns arguments into a request for an engine, local or remote, and its JSON reply into a result."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numstab.json_object import JsonObject
from numstab.results import Answer, Comparison, Diagnosis, Formula, Listing, Run
from qa_service.errors import BadField, NumstabError
from qa_service.model import MAX_RUNS, Lang
from qa_service.model.json_numbers import json_safe

Number = float | int | str
"""A number, or a text such as "1/3" or "inf"."""
_LONGEST_PATH = 4096


class Reply(NamedTuple):
    """The reply of an engine: JSON, and locally the value that it was made from."""

    data: JsonObject
    """The reply as JSON, as in the HTTP API."""
    source: Any = None
    """The value of the model from which the JSON was made, where it is of this process."""


class Engine(Protocol):
    """Answers requests: `LocalEngine` in this process, `HttpEngine` on a server. All may raise `NumstabError`."""

    def ask(self, body: JsonObject, lang: Lang) -> Reply:
        """The answer to a request as the API takes it; `lang` is the language of errors."""

    def run(self, experiment: str, body: JsonObject, lang: Lang) -> Reply:
        """The evidence of one run."""

    def formula(self, body: JsonObject, lang: Lang) -> Reply:
        """The result of measuring a formula."""

    def diagnose(self, data: bytes, name: str, lang: Lang) -> Reply:
        """The diagnosis of a log or trace; `name` is the file's, "" for a text."""

    def entries(self) -> list[JsonObject]:
        """Every entry, as JSON."""

    def experiments(self) -> list[JsonObject]:
        """Every experiment, as JSON."""


@contextmanager
def bilingual_tracebacks() -> Iterator[None]:
    """Adds the Chinese text of a `NumstabError` that the block raises to it as a note, for tracebacks."""
    try:
        yield
    except NumstabError as error:
        if error.zh != error.en and error.zh not in getattr(error, "__notes__", ()):
            error.add_note(error.zh)
        raise


class Client:
    """The functions of the module `numstab` as methods, answered by one engine. May be used from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @bilingual_tracebacks()
    def ask(
        self,
        question: str = "",
        *,
        lang: Lang | None = None,
        params: Mapping[str, Any] | None = None,
        seed: int = 0,
        seeds: int = 1,
        run: bool = True,
        compare: Mapping[str, Sequence[Any]] | Sequence[str] | None = None,
        entry: str | None = None,
        after: Answer | None = None,
    ) -> Answer:
        """As `numstab.ask`."""
        body: JsonObject = {
            "question": question,
            "lang": lang or (None if question else default_language()),
            "reader_lang": default_language(),
            "params": _plain(params or {}),
            "seed": _plain(seed),
            "seeds": _plain(seeds),
            "run": run,
            "compare": _plain(compare or {}),
            "entry": entry,
            "context": after.context if after else None,
        }
        return Answer(*self._engine.ask(_given(body), lang or default_language(question)))

    @bilingual_tracebacks()
    def run(self, experiment: str, seed: int = 0, *, lang: Lang | None = None, **params: Any) -> Run:
        """As `numstab.run`."""
        return self._run(experiment, seed, lang or default_language(), params)

    @bilingual_tracebacks()
    def compare(self, experiment: str, seed: int = 0, *, lang: Lang | None = None, **params: Any) -> Comparison:
        """As `numstab.compare`."""
        from qa_service.answering.planning import combinations

        plain = {name: _plain(value) for name, value in params.items()}
        lists = {name: tuple(value) for name, value in plain.items() if isinstance(value, list) and value}
        fixed = {name: value for name, value in plain.items() if name not in lists}
        if not lists:
            raise BadField(
                zh="没有要比较的参数：把它的值写成列表，例如 x=[0.9, 1.1]",
                en="there is nothing to compare: give the values of a parameter as a list, such as x=[0.9, 1.1]",
                field="compare",
            )
        compared = combinations(lists)
        if len(compared) > MAX_RUNS:
            raise BadField(
                zh=f"这要运行 {len(compared)} 次实验，一次最多 {MAX_RUNS} 次。请少比几个值。",
                en=f"this takes {len(compared)} runs; a comparison may take {MAX_RUNS}. Compare fewer values.",
                field="compare",
            )
        lang = lang or default_language()
        return Comparison([self._run(experiment, seed, lang, fixed | each, each) for each in compared])

    @bilingual_tracebacks()
    def formula(
        self,
        expression: str,
        *,
        dtypes: Sequence[Any] = (),
        gradient: bool = False,
        stable: bool = True,
        lang: Lang | None = None,
        **variables: Number | Sequence[Number],
    ) -> Formula:
        """As `numstab.formula`."""
        values = {name: _plain(value) for name, value in variables.items()}
        body = {
            "expression": expression,
            "at": {name: value for name, value in values.items() if not isinstance(value, list)},
            "over": {name: value for name, value in values.items() if isinstance(value, list)},
            "dtypes": _plain([dtypes] if isinstance(dtypes, str) else dtypes),
            "gradient": gradient,
            "stable": stable,
        }
        lang = lang or default_language()
        return Formula(*self._engine.formula(body, lang), lang=lang)

    @bilingual_tracebacks()
    def diagnose(self, path_or_text: "str | os.PathLike[str] | bytes", *, lang: Lang | None = None) -> Diagnosis:
        """As `numstab.diagnose`."""
        data, name = _file_or_text(path_or_text)
        lang = lang or default_language()
        return Diagnosis(*self._engine.diagnose(data, name, lang), lang=lang)

    @bilingual_tracebacks()
    def entries(self, *, lang: Lang | None = None) -> Listing:
        """As `numstab.entries`."""
        lang = lang or default_language()
        return Listing(self._engine.entries(), lang, {"id": "id", "item": "item", "question": "question"})

    @bilingual_tracebacks()
    def experiments(self, *, lang: Lang | None = None) -> Listing:
        """As `numstab.experiments`."""
        lang = lang or default_language()
        return Listing(self._engine.experiments(), lang, {"slug": "slug", "title": "title", "params": "parameters"})

    def _run(
        self,
        experiment: str,
        seed: int,
        lang: Lang,
        params: Mapping[str, Any],
        compared: Mapping[str, Any] | None = None,
    ) -> Run:
        body = {"params": _plain(params), "seed": _plain(seed), "lang": lang}
        data, source = self._engine.run(experiment, body, lang)
        return Run({**data, "compared": dict(compared or {})}, source, lang=lang)


def default_language(text: str = "") -> Lang:
    """The language of a text with Chinese characters, else that of the environment, else English."""
    if any("\u3400" <= character <= "\u9fff" for character in text):
        return "zh"
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "zh" if locale.startswith("zh") and not text else "en"


def _given(body: JsonObject) -> JsonObject:
    return {name: value for name, value in body.items() if value is not None}


def _plain(value: Any) -> Any:
    """A value as JSON has it: numbers of numpy and torch as Python's, torch.float16 as its name, tuples as lists."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | range | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, str | bool | int | float) or value is None:
        return json_safe(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return str(value).removeprefix("torch.")


def _file_or_text(given: "str | os.PathLike[str] | bytes") -> tuple[bytes, str]:
    """(content, file name or "" for a text). Raises `BadField` for the path of a file that cannot be read."""
    if isinstance(given, bytes):
        return given, ""
    is_text = isinstance(given, str) and ("\n" in given or len(given) > _LONGEST_PATH)
    if is_text:
        return str(given).encode(), ""
    path = Path(given)
    try:
        return path.read_bytes(), path.name
    except (OSError, ValueError) as error:
        if isinstance(given, str) and not path.suffix and " " in given.strip():
            return given.encode(), ""  # one line of a log
        why = getattr(error, "strerror", None) or str(error)
        raise BadField(
            zh=f"读不了文件 {str(given)!r}：{why}", en=f"cannot read the file {str(given)!r}: {why}", field="file"
        ) from error
